// What a message will cost, before it is sent: the server reads headers and decodes nothing.

import * as api from "./api.js";
import { $, debounced, el } from "./dom.js";
import { bodyOf } from "./request.js";

let asking = null;
const known = new Set(); // ids of items that the server has read: it is sent their names alone

/** Ask again in a moment; `now()`: {about, turns, options, draft}, draft being the turn in hand. */
export const refresh = debounced(350, (now) => show(now()));

async function show({ about, turns, options, draft }) {
  const line = $("cost");
  asking?.abort();
  asking = null;
  if (!about || (!draft.text && !draft.media.length)) return clear(line);
  const signal = (asking = new AbortController()).signal;
  try {
    tell(line, await preview(about, [...turns, draft], options, signal), draft);
  } catch (error) {
    if (error.name === "AbortError") return;
    clear(line);
    if (error.code === "cost_unknown") line.textContent = "Its cost is not known beforehand.";
    else if (draft.media.length || error.code === "context_length_exceeded") {
      const words = error.part ? `${error.message} (${error.part})` : error.message;
      line.replaceChildren(el("span", { class: "fault" }, words));
    }
  }
}

/** Whatever the server says against names that it may have forgotten, it is then sent all of it. */
async function preview(about, turns, options, signal) {
  const items = turns.flatMap((turn) => turn.media ?? []).filter(({ kind }) => kind !== "document");
  const ask = async () => api.postJson("v1/media/preview", await bodyOf(about, turns, options, known), signal);
  const named = items.some(({ id }) => known.has(id));
  const answer = await ask().catch((error) => {
    if (error.name === "AbortError" || !named) throw error;
    for (const { id } of items) known.delete(id);
    return ask();
  });
  for (const { id } of items) known.add(id);
  return answer;
}

function clear(line) {
  line.replaceChildren();
  for (const node of document.querySelectorAll("#tray .item-cost")) node.textContent = "";
}

function tell(line, answer, draft) {
  clear(line);
  const last = Math.max(-1, ...answer.items.map(({ message }) => message));
  const mine = draft.media.length ? answer.items.filter(({ message }) => message === last) : [];
  draft.media.forEach((_, index) => {
    const node = document.querySelectorAll("#tray .item-cost")[index];
    const its = mine.filter(({ part }) => part === index);
    if (node && its.length) node.textContent = its[0].page ? pagesText(its) : itemText(its[0]);
  });
  const { prompt_tokens: tokens, max_model_len: room, fits } = answer;
  const words = `${tokens.toLocaleString("en")} of ${room.toLocaleString("en")} tokens`;
  line.replaceChildren(
    el("span", { class: fits ? "" : "fault" }, fits ? words : `${words}: this does not fit`),
  );
}

/** `1,200 tokens · 3 pages`. */
function pagesText(pages) {
  const tokens = pages.reduce((sum, page) => sum + page.tokens, 0);
  return `${tokens.toLocaleString("en")} tokens · ${pages.length} page${pages.length > 1 ? "s" : ""}`;
}

/** `144 tokens · 640×480 → 336×336`, and of a clip its frames. */
function itemText(item) {
  const told = [`${item.tokens.toLocaleString("en")} tokens`];
  const { width, height, resized_width: w, resized_height: h, times, seconds } = item;
  if (w && h && (w !== width || h !== height)) told.push(`${width}×${height} → ${w}×${h}`);
  else if (width && height) told.push(`${width}×${height}`);
  if (times?.length) told.push(`${times.length} frames`);
  if (seconds) told.push(`${seconds.toFixed(1)} s`);
  return told.join(" · ");
}
