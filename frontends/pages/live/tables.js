// Processes, media items, and the list of deaths and returns.

import { $, element, keep, shape, write } from "./dom.js";
import { bytes, clock, number, percent, plural, seconds } from "./words.js";

function row(heading, ...cells) {
  return element(
    "tr",
    {},
    element("th", { scope: "row", class: heading }),
    ...cells.map((kind) => element("td", { class: kind })),
  );
}

export function showProcesses(snapshot) {
  const make = () => {
    const made = row("role", "state", "number", "number", "number wide", "load", "number wide");
    made.children[5].append(
      shape("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, shape("rect", { class: "back", width: 100, height: 10 }), shape("rect", { class: "used", height: 10 })),
      element("span"),
    );
    return made;
  };
  keep($("actors").tBodies[0], snapshot.processes ?? [], (one) => one.role, make, (place, one) => {
    const here = one.state === "ready";
    const [role, state, epoch, memory, shared, load, pid] = place.children;
    write(role, one.role);
    write(state, one.state);
    write(epoch, String(one.epoch));
    write(memory, one.own_bytes ? bytes(one.own_bytes) : "–");
    write(shared, one.shared_bytes ? bytes(one.shared_bytes) : "–");
    write(load.lastElementChild, one.load === undefined ? "–" : percent(one.load));
    load.querySelector(".used").setAttribute("width", Math.min(100, (one.load ?? 0) * 100));
    write(pid, one.pid ? String(one.pid) : "–");
    place.className = here ? (one.restarts ? "back" : "") : "down";
  });
}

export function showItems(snapshot) {
  const items = snapshot.items ?? [];
  $("no-items").hidden = items.length > 0;
  $("items").hidden = items.length === 0;
  const make = () => row("role", "", "", "number", "number wide", "number", "number wide");
  keep($("items").tBodies[0], items, (one) => one.key, make, (place, one) => {
    const [key, kind, state, hits, rows, size, holders] = place.children;
    write(key, one.key);
    write(kind, one.modality || "–");
    write(state, one.state);
    write(hits, number((one.hits ?? 0) + (one.feature_hits ?? 0)));
    hits.title = `${number(one.feature_hits ?? 0)} times its features were there, ${number(one.hits ?? 0)} times its embedding`;
    write(rows, one.rows ? number(one.rows) : "–");
    write(size, bytes((one.embedding_bytes ?? 0) + (one.features_bytes ?? 0)));
    size.title = `embedding ${bytes(one.embedding_bytes ?? 0)}, features ${bytes(one.features_bytes ?? 0)}`;
    write(holders, number(one.holders ?? 0));
  });
}

export function showEvents(snapshot) {
  const events = snapshot.events ?? [];
  $("no-events").hidden = events.length > 0;
  const make = (one) =>
    element("li", { class: one.what }, element("time"), element("strong"), element("span", { class: "what" }), element("span", { class: "streams" }));
  keep($("events"), events, (one) => `${one.role}.${one.epoch}.${one.what}`, make, (place, one) => {
    const [time, who, what, streams] = place.children;
    write(time, clock(one.when));
    write(who, `${one.role}.${one.epoch}`);
    write(what, one.what === "ended" ? `died (${one.why})` : `is back${one.after === undefined ? "" : `, ${seconds(one.after)} later`}`);
    write(streams, one.streams ? became(one.streams) : "");
  });
}

function became({ caught, went_on: on = 0, failed = 0, seconds: took }) {
  if (!caught) return "nothing was under way";
  const words = [`${plural(caught, "request")} under way`, `${number(on)} went on`];
  if (failed) words.push(`${number(failed)} failed`);
  const waiting = caught - on - failed;
  if (waiting) words.push(`${number(waiting)} waiting`);
  else if (took !== undefined) words.push(`all within ${seconds(took)}`);
  return words.join(", ");
}
