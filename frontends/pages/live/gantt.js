// Requests as bars of their stages. What is said in colours is said in words beside them.

import { $, element, keep, shape, write } from "./dom.js";
import { number, plural, seconds } from "./words.js";

const WIDTH = 1000;
const ENDED = 12; // ended requests that are shown
const MAIN = { y: 3, height: 11 };
const BESIDE = { y: 16, height: 4 };
const LEGEND = [
  ["accepted", "accepted"],
  ["fetch", "fetch"],
  ["preprocess", "text"],
  ["media", "media"],
  ["encode", "encode"],
  ["queue", "queue"],
  ["prefill", "prefill"],
  ["decode", "decode"],
  ["recompute", "computed again"],
];
const DOING = {
  accepted: "accepted",
  fetch: "fetching media",
  template: "rendering its template",
  media: "waiting for media",
  grammar: "waiting for its grammar",
  preprocess: "being prepared",
  queue: "queued",
  "encode wait": "waiting for the encoder",
  prefill: "prefill",
  decode: "decode",
  recompute: "computed again",
};
const CLASSES = new Set(LEGEND.map(([name]) => name));

const OF = { recall: "media", "encode wait": "encode" };
const classOf = (stage) => (CLASSES.has(stage) ? stage : (OF[stage] ?? "preprocess"));

export function showLegend() {
  const entry = ([name, text]) =>
    element(
      "li",
      {},
      shape("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, shape("rect", { width: 10, height: 10, class: `stage ${name}` })),
      text,
    );
  $("legend").replaceChildren(...LEGEND.map(entry));
}

export function showRequests(snapshot, span) {
  const { now, requests = [], ended = [], events = [], left_out: more = 0 } = snapshot;
  const begin = now - span;
  const shown = [...requests, ...ended.filter((one) => one.end > begin).slice(0, ENDED)];
  write($("count"), requests.length + more ? `(${number(requests.length + more)} under way)` : "");
  $("no-requests").hidden = shown.length > 0;
  $("axis").hidden = shown.length === 0;
  const marks = events.filter((event) => event.when > begin);
  keep($("requests"), shown, (one) => one.id, make, (row, one) => update(row, one, { now, begin, span, marks }));
  const ticks = [3, 2, 1, 0].map((thirds) => element("span", {}, thirds ? `−${number((span * thirds) / 3)} s` : "now"));
  if ($("axis").dataset.span !== String(span)) {
    $("axis").replaceChildren(...ticks);
    $("axis").dataset.span = span;
  }
}

function make() {
  return element(
    "li",
    {},
    element("span", { class: "id" }),
    element("span", { class: "doing" }),
    shape("svg", { viewBox: `0 0 ${WIDTH} 22`, preserveAspectRatio: "none", "aria-hidden": "true" }),
  );
}

function update(row, one, scale) {
  const [id, doing, svg] = row.children;
  write(id, one.id.slice(0, 8));
  id.title = one.id;
  write(doing, said(one, scale.now));
  row.classList.toggle("over", Boolean(one.outcome));
  row.classList.toggle("failed", Boolean(one.outcome) && one.outcome !== "done");
  svg.replaceChildren(...bars(one, scale));
}

function said(one, now) {
  const stage = one.stages.at(-1)?.[0];
  const words = [];
  if (one.outcome) words.push(one.outcome === "done" ? "done" : `failed (${one.outcome})`);
  else if (one.of) words.push(`${DOING[stage] ?? stage} ${number(one.done ?? 0)} of ${number(one.of)}`);
  else words.push(DOING[stage] ?? stage);
  words.push(seconds((one.end ?? now) - one.arrival));
  if (one.outcome && one.prompt) words.push(`${number(one.prompt)} + ${plural(one.output ?? 0, "token")}`);
  else if (one.prompt) words.push(`prompt ${number(one.prompt)}`);
  if (one.media) words.push(plural(one.media, "item"));
  if (one.attempt) words.push(`attempt ${one.attempt + 1}`);
  if (one.key) words.push(`key ${one.key}`);
  if (one.client) words.push(one.client);
  return words.join(" · ");
}

function bars(one, { now, begin, span, marks }) {
  const x = (when) => Math.max(0, Math.min(1, (when - begin) / span)) * WIDTH;
  const end = one.end ?? now;
  const bar = (from, to, at, kind, text) => {
    const [left, right] = [x(Math.max(from, one.arrival)), x(to)];
    if (to < begin || right < left) return [];
    const width = Math.max(right - left, 2); // what took no time is seen, too
    return [shape("rect", { x: left.toFixed(1), width: width.toFixed(1), ...at, class: kind }, shape("title", {}, text))];
  };
  const stage = ([name, from, to, beside]) =>
    bar(from, to ?? end, beside ? BESIDE : MAIN, `stage ${classOf(name)}`, `${DOING[name] ?? name}: ${seconds((to ?? end) - from)}`);
  const gap = ([from, to]) => bar(from, to ?? end, MAIN, "stage recompute", `computed again: ${seconds((to ?? end) - from)}`);
  const mark = (event) => shape("line", { x1: x(event.when), x2: x(event.when), y1: 0, y2: 22, class: `mark ${event.what}` });
  return [
    ...bar(one.arrival, end, { y: 8, height: 1 }, "way", "from its arrival"),
    ...one.stages.flatMap(stage),
    ...(one.gaps ?? []).flatMap(gap),
    ...marks.filter((event) => event.when >= one.arrival && event.when <= end).map(mark),
  ];
}
