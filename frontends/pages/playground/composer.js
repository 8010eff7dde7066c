// The message in hand: its text and its media, however they come: picked, dropped, pasted, recorded.

import { $, announce, el, iconButton, listed, toast } from "./dom.js";
import { forget, itemOf, KINDS, kindOf, shown, sizeText } from "./media.js";
import { record } from "./recorder.js";

export const draft = { text: "", media: [], editing: null };
let acts = {
  send() {},
  stop() {},
  editLast() {},
  leaveEdit() {},
  changed() {},
  busy: () => false,
  takes: () => [],
};

export function startComposer(given) {
  acts = given;
  $("composer").addEventListener("submit", submit);
  $("prompt").addEventListener("input", () => {
    draft.text = $("prompt").value;
    grow();
    acts.changed();
  });
  $("prompt").addEventListener("keydown", pressed);
  $("prompt").addEventListener("paste", pasted);
  $("files").addEventListener("change", async () => {
    await add([...$("files").files]);
    $("files").value = "";
  });
  $("attach").addEventListener("click", () => $("files").click());
  for (const [id, kind] of [
    ["mic", "audio"],
    ["camera", "image"],
    ["film", "video"],
  ]) {
    $(id).addEventListener("click", () => recorded(kind));
  }
  startDrop();
}

const ACCEPTED = { document: ".pdf,.txt,.md,.csv" };

/** Only what the model can take is offered. */
export function offerMedia(takes) {
  const kinds = Object.keys(KINDS).filter((kind) => takes.includes(kind));
  $("attach").hidden = !kinds.length;
  $("mic").hidden = !takes.includes("audio");
  $("camera").hidden = !takes.includes("image");
  $("film").hidden = !takes.includes("video");
  const words = listed(kinds.map((kind) => KINDS[kind].toLowerCase()), "or");
  $("prompt").placeholder = kinds.length ? `Ask something, or drop a ${words}` : "Ask something";
  $("attach").title = `Add a ${words}`;
  grow(); // on a phone the placeholder has two lines
  $("files").accept = kinds.map((kind) => ACCEPTED[kind] ?? `${kind}/*`).join(",");
}

function submit(event) {
  event.preventDefault();
  if (acts.busy()) return acts.stop();
  if (draft.text.trim() || draft.media.length) acts.send();
}

function pressed(event) {
  if (event.isComposing) return; // Enter ends a word of an input method
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    if (!acts.busy()) $("composer").requestSubmit();
  }
  if (event.key === "ArrowUp" && !draft.text && !draft.media.length && !acts.busy()) {
    event.preventDefault();
    acts.editLast();
  }
  if (event.key === "Escape" && draft.editing && !acts.busy()) acts.leaveEdit();
}

async function pasted(event) {
  const { files: [...files], types } = event.clipboardData;
  if (!files.length) return;
  // Who copies cells or words from an office program means these, and not the picture of them beside.
  if (types.includes("text/plain") && types.includes("text/html")) return;
  event.preventDefault();
  await add(files);
}

function startDrop() {
  let depth = 0; // of elements that the pointer has entered
  const brings = ({ dataTransfer }) => dataTransfer.types.includes("Files"); // and no words
  const shade = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragenter", (event) => {
    if (!brings(event)) return;
    depth += 1;
    shade(true);
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) shade(false);
  });
  addEventListener("dragover", (event) => brings(event) && event.preventDefault());
  addEventListener("drop", async (event) => {
    if (!brings(event)) return;
    event.preventDefault();
    depth = 0;
    shade(false);
    await add([...event.dataTransfer.files]);
  });
}

/** Files that become items of the message. */
export async function add(files) {
  const takes = acts.takes();
  for (const file of files) {
    const kind = await kindOf(file);
    if (kind && !takes.includes(kind)) {
      toast(`This model takes no ${KINDS[kind].toLowerCase()}s: ${file.name}.`);
      continue;
    }
    try {
      draft.media.push(await itemOf(file, kind));
      announce(`${KINDS[kind]} added: ${file.name}.`);
    } catch (error) {
      toast(error.message);
    }
  }
  showTray();
  acts.changed();
  $("prompt").focus();
}

async function recorded(kind) {
  try {
    const file = await record(kind);
    if (file) await add([file]);
  } catch (error) {
    toast(error.message);
  }
}

/** Puts a message in hand; `editing`: the turn that it will take the place of. */
export function fill(text, media = [], editing = null) {
  Object.assign(draft, { text, media: [...media], editing });
  $("prompt").value = text;
  $("editing").hidden = !editing;
  grow();
  showTray();
  acts.changed();
  $("prompt").focus();
}

/** Takes the message out of the hand. */
export function taken() {
  const { text, media } = draft;
  fill("");
  return { text: text.trim(), media };
}

export function showTray() {
  $("tray").hidden = !draft.media.length;
  $("tray").replaceChildren(...draft.media.map(entry));
}

function entry(item) {
  const drop = () => {
    draft.media = draft.media.filter((one) => one !== item);
    if (!draft.editing?.media?.includes(item)) forget(item).catch(() => {});
    showTray();
    acts.changed();
    $("prompt").focus();
  };
  return el(
    "li",
    {},
    shown(item),
    el(
      "div",
      { class: "item-words" },
      el("span", { class: "item-name", title: item.name }, item.name),
      el("span", { class: "item-size" }, `${KINDS[item.kind]}, ${sizeText(item.bytes)}`),
      el("span", { class: "item-cost" }),
    ),
    iconButton("close", `Take out ${item.name}`, drop),
  );
}

function grow() {
  const field = $("prompt");
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, 240)}px`;
}
