// A turn as it is shown: what was asked, or an answer with its thoughts, calls, errors and timeline.

import { split } from "./answer.js";
import { copyButton, el, icon, textButton } from "./dom.js";
import { rendered } from "./markdown.js";
import { shown } from "./media.js";
import { timelineOf } from "./timeline.js";

/** `acts`: {edit(turn), again(turn), code(turn)}. */
export function turnNode(turn, acts) {
  return turn.role === "user" ? question(turn, acts) : answer(turn, acts);
}

function question(turn, acts) {
  const media = turn.media?.length ? [el("div", { class: "shelf" }, turn.media.map(shown))] : [];
  return el(
    "article",
    { class: "turn user", "data-id": turn.id, "aria-label": "You" },
    ...media,
    ...(turn.text ? [el("div", { class: "bubble" }, turn.text)] : []),
    el(
      "div",
      { class: "deeds" },
      textButton("edit", "Edit", () => acts.edit(turn)),
      copyButton(() => turn.text),
    ),
  );
}

function answer(turn, acts) {
  const node = el("article", { class: "turn answer", "data-id": turn.id, "aria-label": "Answer" });
  fillAnswer(node, turn, acts);
  return node;
}

/** Shows an answer as far as it has come. */
export function fillAnswer(node, turn, acts) {
  const streaming = turn.state === "streaming";
  const { reasoning, text } = split(turn);
  const wasOpen = new Set([...node.querySelectorAll("details[open]")].map((one) => one.dataset.name));
  const parts = [];
  if (reasoning)
    parts.push(folded("Reasoning", "reasoning", el("div", { class: "prose" }, rendered(reasoning))));
  if (text) parts.push(el("div", { class: "prose" }, rendered(text)));
  for (const call of turn.calls ?? []) parts.push(callNode(call));
  if (streaming && !text)
    parts.push(el("p", { class: "waiting-dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")));
  if (turn.state === "failed") parts.push(errorNode(turn.error));
  if (turn.state === "stopped") parts.push(el("p", { class: "note" }, "Stopped."));
  if (turn.state === "done" && !text && !turn.calls?.length)
    parts.push(el("p", { class: "note" }, "The answer is empty."));
  if (!streaming) parts.push(...ending(turn, acts));
  node.setAttribute("aria-busy", String(streaming));
  node.replaceChildren(...parts);
  for (const one of node.querySelectorAll("details")) one.open = wasOpen.has(one.dataset.name);
}

function ending(turn, acts) {
  const timeline = timelineOf(turn);
  timeline.dataset.name = "timeline";
  return [
    ...(timeline.textContent ? [timeline] : []),
    el(
      "div",
      { class: "deeds" },
      ...(turn.text ? [copyButton(() => split(turn).text)] : []),
      textButton("again", "Regenerate", () => acts.again(turn)),
      textButton("code", "As code", () => acts.code(turn)),
    ),
  ];
}

function folded(title, name, ...children) {
  return el("details", { class: "fold", "data-name": name }, el("summary", {}, title), ...children);
}

function callNode({ id, name, arguments: given }) {
  return folded(
    `Calls ${name || "a tool"}`,
    `call-${id}`,
    el(
      "pre",
      { tabIndex: 0, role: "region", "aria-label": `Arguments of ${name}` },
      el("code", {}, pretty(given)),
    ),
  );
}

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json; // not whole yet
  }
}

function errorNode({ message, part, code, status }) {
  const place = part && !message.startsWith(part) && `at ${part}`;
  const told = [code, place, status && `status ${status}`].filter(Boolean).join(" · ");
  return el(
    "div",
    { class: "error", role: "alert" },
    icon("warn"),
    el("div", {}, el("p", {}, message), ...(told ? [el("p", { class: "where" }, told)] : [])),
  );
}
