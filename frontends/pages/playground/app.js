// The page as a whole: who the server is, which conversation is open, and what each deed does to it.

import { ask, split } from "./answer.js";
import * as api from "./api.js";
import { add, draft, fill, offerMedia, startComposer, taken } from "./composer.js";
import { book, load, retake, save, titleOf } from "./conversations.js";
import { refresh } from "./cost.js";
import { askForKey } from "./dialogs.js";
import { $, announce, el, icon, newId, toast } from "./dom.js";
import { keep } from "./media.js";
import { showOptions } from "./options.js";
import { bodyOf } from "./request.js";
import { showSidebar, startSidebar } from "./sidebar.js";
import { showSnippets } from "./snippets.js";
import { startTheme } from "./theme.js";
import { fillAnswer, turnNode } from "./turns.js";
import { startPanels, closePanels } from "./panels.js";
import { welcome } from "./welcome.js";

const ANEW = 3000; // milliseconds until a server that was not reached is asked again
let about = null; // what the server has told of itself
let keyed = false;
const running = new Map(); // of conversations to which an answer comes: what stops it
const drafts = new WeakMap(); // of conversations that are not open: the message that was begun
let shown = null; // the conversation to which the message in hand belongs

async function start() {
  for (const node of document.querySelectorAll("[data-icon]")) node.prepend(icon(node.dataset.icon));
  startTheme();
  startPanels();
  startComposer({
    send,
    stop,
    editLast,
    leaveEdit,
    busy,
    takes: () => about?.takes ?? [],
    changed: () => refresh(now),
  });
  startSidebar(() => {
    closePanels();
    $("prompt").focus();
  });
  book.changed = show;
  keepEnd();
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && busy() && !document.querySelector("dialog[open]")) stop();
  });
  await load();
  await meet();
}

const busy = () => running.has(book.current);

/** Learns who the server is, with a key where it asks for one. Waits for one that is not there. */
async function meet() {
  while (about === null) {
    try {
      ({ keyed } = await api.getJson("playground/door"));
      if (keyed && !api.key.get()) await askForKey(false);
      about = await api.getJson("playground/about").catch(refusedKey);
    } catch (error) {
      const passes = error.status === 0 || error.status === 429 || error.status >= 500;
      $("model").textContent = "not reached";
      const words = passes ? `${error.message} It is asked again every few seconds.` : error.message;
      $("log").replaceChildren(el("p", { class: "note", role: "status" }, words));
      if (!passes) return;
      await new Promise((resolve) => setTimeout(resolve, ANEW));
    }
  }
  $("model").textContent = about.model;
  $("version").textContent = `Thespis ${about.version}`;
  $("live").hidden = !about.live_view;
  document.title = `${about.model} · Thespis`;
  offerMedia(about.takes);
  $("prompt").disabled = $("send").disabled = about.output !== "token";
  show();
}

async function refusedKey(error) {
  if (error.status !== 401) throw error;
  api.key.forget();
  await askForKey(true);
  return null;
}

/** The open conversation, from the beginning. */
function show() {
  showSidebar();
  const { turns, options } = book.current;
  for (const [conversation, end] of running) if (!book.all.includes(conversation)) end(); // it was deleted
  takeUp(book.current);
  if (draft.editing && !turns.includes(draft.editing)) leaveEdit();
  $("title").textContent = titleOf(book.current);
  if (about === null) return;
  $("log").replaceChildren(...turns.map((turn) => turnNode(turn, deeds)));
  if (!turns.length) $("log").append(welcome(about, tryExample));
  showOptions(about, options, (name, value) => {
    options[name] = value;
    save(book.current);
    refresh(now);
  });
  toEnd();
  showBusy();
}

/** Lays the message in hand aside for the one that was begun in `conversation`. */
function takeUp(conversation) {
  const before = shown;
  shown = conversation;
  if (before === null || before === conversation) return;
  drafts.set(before, { ...draft });
  const { text = "", media, editing } = drafts.get(conversation) ?? {};
  fill(text, media, editing);
}

const now = () => ({
  about,
  draft: { role: "user", ...draft },
  options: book.current.options,
  turns: turnsBefore(draft.editing),
});

function turnsBefore(turn) {
  const { turns } = book.current;
  return turn ? turns.slice(0, turns.indexOf(turn)) : turns;
}

const deeds = {
  edit: (turn) => !busy() && fill(turn.text, turn.media, turn),
  again(turn) {
    if (busy()) return;
    retake(book.current, turnsBefore(turn));
    answerTo(book.current);
  },
  async code(turn) {
    try {
      await showSnippets(await bodyOf(about, turnsBefore(turn), book.current.options), keyed);
    } catch (error) {
      toast(error.message);
    }
  },
};

async function tryExample(file, question) {
  if (busy()) return;
  await add([file]);
  $("prompt").value = draft.text = question;
  book.current.options.temperature ||= "0"; // its likeliest answer is the one that it was taught
  send();
}

function send() {
  if (about === null || busy()) return;
  const conversation = book.current;
  const before = turnsBefore(draft.editing);
  const { text, media } = taken();
  retake(conversation, [...before, { id: newId(), role: "user", text, media }]);
  for (const item of media) keep(item).catch(() => toast(`This browser has no room to keep ${item.name}.`));
  answerTo(conversation);
}

async function answerTo(conversation) {
  const turn = { id: newId(), role: "assistant", text: "", state: "streaming" };
  const before = [...conversation.turns];
  conversation.turns.push(turn);
  save(conversation);
  const stopping = new AbortController();
  running.set(conversation, () => stopping.abort());
  show();
  announce("The answer is coming.");
  const drawn = drawing(turn);
  await ask({
    about,
    turns: before,
    options: conversation.options,
    turn,
    signal: stopping.signal,
    changed: drawn,
  });
  running.delete(conversation);
  save(conversation);
  redraw(turn);
  showBusy();
  showSidebar();
  const words = turn.state === "failed" ? turn.error.message : `Answer: ${split(turn).text || "empty"}`;
  announce(conversation === book.current ? words : `The answer in “${titleOf(conversation)}” has ended.`);
  if (turn.error?.code === "model_not_found") return meetAnother(conversation, turn);
  if (turn.error?.status === 401) {
    api.key.forget();
    await askForKey(true);
  }
}

/** The server was started again, with another model: that one is asked. */
async function meetAnother(conversation, turn) {
  const before = about?.model;
  about = null;
  await meet();
  const isLast = conversation === book.current && turn === conversation.turns.at(-1);
  if (about && about.model !== before && isLast) deeds.again(turn);
}

/** Draws at most once a frame, and what takes long less often: each time reads the whole text. */
function drawing(turn) {
  let due = false;
  let took = 0; // milliseconds, the last time
  return () => {
    if (due) return;
    due = true;
    const draw = () => {
      const began = performance.now();
      due = false;
      redraw(turn);
      took = performance.now() - began;
    };
    if (took > 16 || turn.text.length > 20_000) setTimeout(draw, Math.max(300, 4 * took));
    else requestAnimationFrame(draw);
  };
}

function redraw(turn) {
  const node = $("log").querySelector(`[data-id="${turn.id}"]`);
  if (!node) return; // another conversation is open
  const atEnd = isAtEnd();
  fillAnswer(node, turn, deeds);
  if (atEnd) toEnd();
}

/** The end stays in sight when the message below grows. */
function keepEnd() {
  let ended = true;
  $("log").addEventListener("scroll", () => (ended = isAtEnd()));
  new ResizeObserver(() => ended && toEnd()).observe($("log"));
}

const isAtEnd = () => $("log").scrollHeight - $("log").scrollTop - $("log").clientHeight < 80;

function toEnd() {
  $("log").scrollTop = $("log").scrollHeight;
}

function stop() {
  running.get(book.current)?.();
}

function editLast() {
  const last = book.current.turns.findLast(({ role }) => role === "user");
  if (last) deeds.edit(last);
}

function leaveEdit() {
  fill("");
}

function showBusy() {
  const button = $("send");
  const words = busy() ? "Stop" : "Send";
  button.replaceChildren(icon(busy() ? "stop" : "send"));
  button.setAttribute("aria-label", words);
  button.title = busy() ? "Stop (Esc)" : "Send (Enter)";
  $("log").setAttribute("aria-busy", String(busy()));
  document.body.classList.toggle("busy", busy());
}

$("leave-edit").addEventListener("click", leaveEdit);
start();
