// One answer: asked, streamed into its turn, and timed.

import * as api from "./api.js";
import { bodyOf } from "./request.js";
import { stagesOf } from "./timeline.js";

/** Fills `turn` until the answer has ended, for whatever reason; `changed` after each piece. */
export async function ask({ about, turns, options, turn, signal, changed }) {
  const began = performance.now();
  const since = () => (performance.now() - began) / 1000;
  try {
    const body = await bodyOf(about, turns, options);
    const asked = { ...body, timeline: true, stream: true, stream_options: { include_usage: true } };
    for await (const chunk of api.stream("v1/chat/completions", asked, signal)) {
      if (take(turn, chunk)) {
        turn.first ??= since();
        turn.seconds = since();
      }
      changed();
    }
    turn.state = "done";
  } catch (error) {
    if (error.name === "AbortError") turn.state = "stopped";
    else {
      turn.state = "failed";
      turn.error = { message: error.message, part: error.part, code: error.code, status: error.status };
    }
  }
  changed();
}

/** Whether the chunk had something to read in it. */
function take(turn, chunk) {
  if (chunk.usage) turn.usage = chunk.usage;
  if (chunk.timeline) turn.stages = stagesOf(chunk.timeline);
  let said = false;
  for (const { delta = {}, finish_reason: finish } of chunk.choices ?? []) {
    const thought = delta.reasoning_content ?? delta.reasoning;
    if (thought) turn.reasoning = (turn.reasoning ?? "") + thought;
    if (delta.content) turn.text += delta.content;
    for (const call of delta.tool_calls ?? []) takeCall((turn.calls ??= []), call);
    if (finish) turn.finish = finish;
    said ||= Boolean(thought || delta.content || delta.tool_calls?.length);
  }
  return said;
}

function takeCall(calls, { index = 0, id, function: called = {} }) {
  calls[index] ??= { id: "", name: "", arguments: "" };
  const call = calls[index];
  if (id) call.id = id;
  call.name += called.name ?? "";
  call.arguments += called.arguments ?? "";
}

/** Thoughts that the server has not split off stand at the beginning, between tags. */
export function split(turn) {
  const found = /^\s*<think>([\s\S]*?)(?:<\/think>|$)/.exec(turn.text);
  if (!found) return { reasoning: turn.reasoning ?? "", text: turn.text };
  return { reasoning: found[1].trim(), text: turn.text.slice(found[0].length).trimStart() };
}
