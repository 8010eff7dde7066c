// The two panels at the sides. Where there is little room they lie over the conversation, one at a time.

import { $ } from "./dom.js";

const PANELS = [
  ["side", "open-side"],
  ["options", "open-options"],
];
const narrow = matchMedia("(max-width: 860px)");

export function startPanels() {
  for (const [panel, button] of PANELS) {
    $(button).addEventListener("click", () => {
      const opening = !isOpen(panel);
      if (narrow.matches) closePanels();
      set(panel, opening);
      if (opening) $(panel).querySelector("button, input, textarea")?.focus();
    });
  }
  for (const close of document.querySelectorAll(".close-panel")) {
    close.addEventListener("click", () => {
      const [panel, button] = PANELS.find(([id]) => $(id).contains(close));
      set(panel, false);
      $(button).focus();
    });
  }
  $("veil").addEventListener("click", closePanels);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && narrow.matches) closePanels();
  });
  narrow.addEventListener("change", settle);
  settle();
}

/** As it is usual for the width of the window. */
function settle() {
  set("side", !narrow.matches);
  set("options", false);
}

/** Of those that lie over the conversation. */
export function closePanels() {
  if (narrow.matches) for (const [panel] of PANELS) set(panel, false);
}

const isOpen = (panel) => $(panel).dataset.open === "true";

function set(panel, open) {
  const [, button] = PANELS.find(([id]) => id === panel);
  $(panel).dataset.open = String(open);
  $(button).setAttribute("aria-expanded", String(open));
  $("veil").hidden = !narrow.matches || !PANELS.some(([id]) => isOpen(id));
}
