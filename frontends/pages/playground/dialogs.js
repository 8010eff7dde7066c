// What is asked in a window of its own: the key, and whether something may go.

import { key } from "./api.js";
import { $, el } from "./dom.js";

/** Opens a dialog made of `children` and resolves with its return value when it closes. */
export function openDialog(title, children, more = {}) {
  const heading = el("h2", { id: "dialog-title" }, title);
  const dialog = el("dialog", { "aria-labelledby": "dialog-title", ...more }, heading, ...children);
  $("dialogs").append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/** Whether somebody wants it. */
export async function confirmed(title, text, yes) {
  const close = (value) => (event) => event.target.closest("dialog").close(value);
  const answer = await openDialog(title, [
    el("p", {}, text),
    el(
      "div",
      { class: "row end" },
      el("button", { type: "button", class: "small", on: { click: close("") } }, "Cancel"),
      el("button", { type: "button", class: "small main", on: { click: close("yes") } }, yes),
    ),
  ]);
  return answer === "yes";
}

/** Asks for the server's key until one was given. It stays in this tab alone. */
export async function askForKey(refused) {
  const field = el("input", { type: "password", id: "key", autocomplete: "off", required: true });
  const submit = (event) => {
    event.preventDefault();
    key.set(field.value.trim());
    event.target.closest("dialog").close("given");
  };
  const form = el(
    "form",
    { class: "stack", on: { submit } },
    el("p", {}, "This server asks for an API key. It is kept in this tab alone, until you close it."),
    ...(refused ? [el("p", { class: "fault", role: "alert" }, "That key was not accepted.")] : []),
    el("label", { htmlFor: "key" }, "API key"),
    field,
    el("div", { class: "row end" }, el("button", { class: "small main" }, "Continue")),
  );
  await openDialog("API key", [form]);
}
