// The operators' page: one feed of snapshots, shown as it comes.

import { $, write } from "./dom.js";
import { showFills } from "./fills.js";
import { showLegend, showRequests } from "./gantt.js";
import { Feed } from "./stream.js";
import { showEvents, showItems, showProcesses } from "./tables.js";

const KEY = "thespis-live-view-key"; // in this tab's storage only
let last = null;
let paused = false;

function show(snapshot) {
  last = snapshot;
  const span = Number($("window").value);
  write($("model"), snapshot.model);
  showFills(snapshot, span);
  showRequests(snapshot, span);
  showProcesses(snapshot);
  showEvents(snapshot);
  showItems(snapshot);
  document.body.dataset.ready = snapshot.ready;
}

function tell(state, text) {
  $("status").dataset.state = state;
  if (state === "live" && last !== null) {
    if (!last.answered) text = "Live, but the director does not answer";
    else if (last.draining) text = "Live: the engine is shutting down";
    else if (!last.ready) text = "Live: not every process is ready";
  }
  write($("status"), state === "key" ? "A key is needed" : text);
  const asks = state === "key";
  if (asks) sessionStorage.removeItem(KEY);
  if (asks && $("ask").hidden) {
    $("ask").hidden = false;
    $("key").focus();
  }
  const answered = state === "live" && !$("ask").hidden;
  if (answered) $("ask").hidden = true;
  write($("wrong"), asks ? text : "");
  $("board").hidden = !$("ask").hidden;
  $("pause").disabled = asks;
  $("forget").hidden = feed.key === null || asks;
  if (answered) $("pause").focus(); // the field that had it is gone
}

const feed = new Feed("v1/live", tell, show);

// Nobody watches a tab that is hidden: the server is asked for nothing then.
function goOn() {
  if (paused || document.hidden) {
    feed.stop();
    tell("paused", "Paused");
  } else if (!feed.wanted) {
    feed.start();
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  feed.key = $("key").value.trim();
  sessionStorage.setItem(KEY, feed.key);
  $("key").value = "";
  feed.start();
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  goOn();
});
$("forget").addEventListener("click", () => {
  feed.stop();
  feed.key = null;
  last = null;
  tell("key", "");
});
$("window").addEventListener("change", () => {
  if (last !== null) {
    const span = Number($("window").value);
    showRequests(last, span);
  }
});
document.addEventListener("visibilitychange", () => {
  if ($("ask").hidden) goOn();
});

// A question that may be answered without a key, so that a page without one need not fail first.
async function needsKey() {
  try {
    return (await (await fetch("live-view/about")).json()).key;
  } catch {
    return false; // the feed tells that nobody answers
  }
}

feed.key = sessionStorage.getItem(KEY);
showLegend();
if (feed.key === null && (await needsKey())) tell("key", "");
else goOn();
