// Small curves of what is full how far, over the last minutes that this page has seen.

import { $, element, keep, shape, write } from "./dom.js";
import { bytes, number, percent } from "./words.js";

const IN_BYTES = new Set(["embeddings", "embeddings on disk", "features", "media bytes"]);
const TITLES = {
  queue: "Waiting for a place",
  running: "In the batch",
  admitted: "Admitted requests",
  "media bytes": "Media of requests",
  "KV blocks": "KV blocks",
  "state slots": "State slots",
  embeddings: "Encoder cache",
  "embeddings on disk": "Encoder cache on disk",
  features: "Processor cache",
};
const KEPT = 600; // snapshots
const [WIDTH, HEIGHT] = [200, 40];
const history = []; // [time, { name: used }], the oldest first

export function showFills(snapshot, span) {
  const used = Object.fromEntries(Object.entries(snapshot.fills ?? {}).map(([name, fill]) => [name, fill.used]));
  history.push([snapshot.now, used]);
  if (history.length > KEPT) history.shift();
  const names = Object.keys(TITLES).filter((name) => snapshot.fills?.[name]);
  keep($("fills"), names, (name) => name, make, (place, name) => update(place, name, snapshot, span));
}

function make(name) {
  return element(
    "li",
    {},
    element("span", { class: "name" }, TITLES[name]),
    element("span", { class: "value" }),
    shape(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      shape("path", { class: "area" }),
      shape("path", { class: "line" }),
    ),
  );
}

function update(place, name, snapshot, span) {
  const { used, of } = snapshot.fills[name];
  const say = IN_BYTES.has(name) ? bytes : number;
  write(place.querySelector(".value"), of ? `${say(used)} of ${say(of)} (${percent(used / of)})` : say(used));
  const points = history.filter(([when, all]) => when >= snapshot.now - span && name in all);
  const most = Math.max(...points.map(([, all]) => all[name]), 1e-9);
  // a cache that is hardly used would be a flat line: the curve is of the most that was seen, at
  // least a twentieth of what there is
  const scale = Math.max(most, of ? of / 20 : 1);
  const at = ([when, all]) =>
    `${((1 - (snapshot.now - when) / span) * WIDTH).toFixed(1)},${(HEIGHT - 2 - (all[name] / scale) * (HEIGHT - 4)).toFixed(1)}`;
  const line = points.map(at);
  const [area, curve] = place.querySelectorAll("path");
  curve.setAttribute("d", `M${line.join("L")}`);
  const first = line[0].split(",")[0];
  area.setAttribute("d", `M${first},${HEIGHT}L${line.join("L")}L${WIDTH},${HEIGHT}Z`);
  place.classList.toggle("full", of > 0 && used / of > 0.95);
}
