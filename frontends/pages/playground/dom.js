// Elements made by hand: text is only ever text, and no string becomes HTML.

import { PATHS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element. `props`: properties, attributes where there is no such property, and `on`: listeners. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "class") node.className = value;
    else if (name in node && !name.includes("-") && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== undefined && child !== null));
  return node;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  for (const d of PATHS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** A button that shows an icon alone; its name is told to those who do not see it. */
export function iconButton(name, label, click, more = {}) {
  const { class: extra = "", ...props } = more;
  return el(
    "button",
    {
      type: "button",
      class: `quiet ${extra}`.trim(),
      title: label,
      "aria-label": label,
      on: { click },
      ...props,
    },
    icon(name),
  );
}

export function textButton(name, label, click, more = {}) {
  const { class: extra = "", ...props } = more;
  return el(
    "button",
    { type: "button", class: `small ${extra}`.trim(), on: { click }, ...props },
    icon(name),
    el("span", {}, label),
  );
}

export const $ = (id) => document.getElementById(id);

/** Says something to those who listen and do not look. */
export function announce(text) {
  $("status").textContent = text;
}

let toastTimer;

/** Says something for a moment at the bottom of the window. */
export function toast(text) {
  const node = $("toast");
  node.textContent = text;
  node.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (node.hidden = true), 4000);
}

/** Pages that did not come over TLS have no clipboard but by the old command. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = el("textarea", { value: text, class: "unseen", readOnly: true });
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  announce("Copied.");
}

/** A button that copies what `text()` returns, and says that it has. */
export function copyButton(text, label = "Copy") {
  const button = textButton("copy", label, async () => {
    await copyText(text());
    button.replaceChildren(icon("check"), el("span", {}, "Copied"));
    setTimeout(() => button.replaceChildren(icon("copy"), el("span", {}, label)), 1500);
  });
  return button;
}

export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** An id that no other thing of this browser has. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (n) => n.toString(16).padStart(2, "0")).join(
    "",
  );
}

export function debounced(milliseconds, act) {
  let timer;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...args), milliseconds);
  };
}

/** `a, b or c`. */
export function listed(words, last) {
  const before = words.slice(0, -1).join(", ");
  return before ? `${before} ${last} ${words.at(-1)}` : words.join("");
}
