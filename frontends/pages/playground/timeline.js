// Where the time of an answer went, as bars: one line for each stage, in the order of their starts.

import { el } from "./dom.js";

/** The server's account as one list: [{name, start, seconds}], in seconds. */
export function stagesOf({ stages, items }) {
  const ofItems = items.flatMap(({ kind, hit, stages: own }, index) => {
    const label = `${kind} ${index + 1}${hit ? " (known)" : ""}`;
    return own.map((stage) => ({ ...stage, name: `${label} · ${stage.name}` }));
  });
  return [...ordered(stages), ...ordered(ofItems)];
}

function ordered(stages) {
  return stages
    .map(({ name, start, seconds }) => ({ name: name.replaceAll("_", " "), start, seconds }))
    .sort((a, b) => a.start - b.start);
}

/** Those that follow one another under the same name are one line. */
function lines(stages) {
  const byName = new Map();
  for (const stage of stages) {
    if (!byName.has(stage.name)) byName.set(stage.name, []);
    byName.get(stage.name).push(stage);
  }
  return byName;
}

/** Folded: a line of figures; open: the bars. */
export function timelineOf(turn) {
  const figures = el("span", { class: "figures" }, figuresOf(turn));
  const stages = turn.stages ?? [];
  if (!stages.length) return el("p", { class: "timeline" }, figures);
  const end = Math.max(...stages.map(({ start, seconds }) => start + seconds), 1e-6);
  const rows = [...lines(stages)].map(([name, pieces]) => rowOf(name, pieces, end));
  const unfolded = (event) => event.target.open && event.target.scrollIntoView({ block: "nearest" });
  return el(
    "details",
    { class: "timeline", on: { toggle: unfolded } },
    el(
      "summary",
      {},
      figures,
      strip(
        stages.filter(({ name }) => !name.includes("·")),
        end,
      ),
    ),
    el("ul", { class: "bars", "aria-label": "Timeline" }, rows),
  );
}

function rowOf(name, pieces, end) {
  const spent = pieces.reduce((sum, { seconds }) => sum + seconds, 0);
  return el(
    "li",
    {},
    el("span", { class: "bar-name" }, name),
    el(
      "span",
      { class: "bar-track" },
      pieces.map((piece) => bar(piece, end)),
    ),
    el("span", { class: "bar-time" }, timeText(spent)),
  );
}

const strip = (stages, end) =>
  el(
    "span",
    { class: "strip", "aria-hidden": "true" },
    stages.map((one) => bar(one, end)),
  );

function bar({ name, start, seconds }, end) {
  const node = el("span", { class: `bar ${shade(name)}`, title: `${name} ${timeText(seconds)}` });
  node.style.left = `${(100 * start) / end}%`;
  node.style.width = `${(100 * seconds) / end}%`;
  return node;
}

/** Waiting is pale, media are in between, the model's own work is full. */
function shade(name) {
  if (/queue|wait/.test(name)) return "waiting";
  return /fetch|media|encode|prep|·/.test(name) ? "preparing" : "working";
}

function figuresOf({ first, seconds, usage, finish, stages = [] }) {
  const told = [];
  const decode = stages.find(({ name }) => name === "decode");
  const spent = decode?.seconds ?? seconds - first; // the server's own clock, where it tells
  if (first !== undefined) told.push(`first token ${timeText(first)}`);
  const tokens = usage?.completion_tokens;
  if (tokens > 1 && spent > 0) told.push(`${((tokens - 1) / spent).toFixed(1)} tokens/s`);
  if (usage) told.push(`${usage.prompt_tokens} → ${tokens} tokens`);
  if (usage?.prompt_tokens_details?.cached_tokens)
    told.push(`${usage.prompt_tokens_details.cached_tokens} cached`);
  if (finish === "length") told.push("cut off at the limit");
  return told.join(" · ");
}

export function timeText(seconds) {
  return seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(2)} s`;
}
