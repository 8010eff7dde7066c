// Dark or light: as the system has it, until somebody chooses.

import { $, icon } from "./dom.js";

const NAME = "thespis.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const SHOWN = { auto: ["auto", "as the system"], light: ["sun", "light"], dark: ["moon", "dark"] };

export function startTheme() {
  set(localStorage.getItem(NAME) ?? "auto");
  $("theme").addEventListener("click", () => set(NEXT[document.documentElement.dataset.theme]));
}

function set(theme) {
  const [picture, words] = SHOWN[theme] ?? SHOWN.auto;
  document.documentElement.dataset.theme = theme in SHOWN ? theme : "auto";
  localStorage.setItem(NAME, theme);
  const label = `Colours: ${words}`;
  $("theme").replaceChildren(icon(picture));
  $("theme").setAttribute("aria-label", label);
  $("theme").title = label;
}
