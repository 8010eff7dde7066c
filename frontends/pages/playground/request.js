// What is asked: a conversation and its options as the body of a chat completion.

import { partOf } from "./media.js";

/** The body. `about`: the server; `turns`: those that the model is to see; `known`: ids of items that are
 * named alone, where items have names at all. */
export async function bodyOf(about, turns, options, known = null) {
  const messages = [];
  if (options.system?.trim()) messages.push({ role: "system", content: options.system });
  for (const turn of turns) {
    const message = await messageOf(turn, about.takes, known);
    if (message !== null) messages.push(message);
  }
  const kinds = new Set(turns.flatMap((turn) => (turn.media ?? []).map((item) => item.kind)));
  return { model: about.model, messages, ...settings(options, kinds) };
}

async function messageOf(turn, takes, known) {
  if (turn.role === "user") {
    if (!turn.media?.length) return { role: "user", content: turn.text };
    const parts = await Promise.all(turn.media.map((item) => partOf(item, takes, known)));
    if (turn.text) parts.push({ type: "text", text: turn.text });
    return { role: "user", content: parts };
  }
  if (!turn.text && !turn.calls?.length) return null; // an answer that never came
  const message = { role: "assistant", content: turn.text };
  if (turn.calls?.length) {
    message.tool_calls = turn.calls.map(({ id, name, arguments: given }) => ({
      id,
      type: "function",
      function: { name, arguments: given },
    }));
  }
  return message;
}

const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];

function settings(options, kinds) {
  const given = {};
  for (const name of NUMBERS) if (has(options[name])) given[name] = Number(options[name]);
  if (has(options.schema)) {
    given.response_format = {
      type: "json_schema",
      json_schema: { name: "answer", schema: JSON.parse(options.schema), strict: true },
    };
  }
  if (has(options.tools)) given.tools = JSON.parse(options.tools);
  if (has(options.pixels) && (kinds.has("image") || kinds.has("video"))) {
    given.mm_processor_kwargs = { max_pixels: Number(options.pixels) };
  }
  if (has(options.frames) && kinds.has("video")) {
    given.media_io_kwargs = { video: { num_frames: Number(options.frames) } };
  }
  return given;
}

const has = (value) => value !== undefined && value !== null && String(value).trim() !== "";
