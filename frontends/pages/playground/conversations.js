// The conversations of this browser: which there are, which is open, and that they are kept.

import * as db from "./db.js";
import { newId } from "./dom.js";
import * as media from "./media.js";

export const book = { all: [], current: null, changed: () => {} };

/** Reads them; a browser that keeps nothing (private windows, some policies) begins anew each time. */
export async function load() {
  book.all = (await db.all("conversations").catch(() => [])).sort((a, b) => b.updated - a.updated);
  for (const turn of book.all.flatMap(({ turns }) => turns)) {
    if (turn.state === "streaming") turn.state = "stopped"; // by the end of the page
  }
  if (book.all.length) book.current = book.all[0];
  else create();
}

export function create() {
  const empty = book.all.find(({ turns }) => !turns.length);
  if (empty) return select(empty.id);
  const options = { ...(book.current?.options ?? {}) };
  const made = { id: newId(), title: "", updated: Date.now(), options, turns: [] };
  book.all.unshift(made);
  return select(made.id);
}

export function select(id) {
  book.current = book.all.find((one) => one.id === id) ?? book.all[0];
  book.changed();
  return book.current;
}

export function rename(conversation, title) {
  conversation.title = title.trim();
  save(conversation);
  book.changed();
}

/** Takes other turns; media that went with the old ones are kept no longer. */
export function retake(conversation, turns) {
  const kept = new Set(itemsOf(turns).map(({ id }) => id));
  const gone = itemsOf(conversation.turns).filter(({ id }) => !kept.has(id));
  conversation.turns = turns;
  return forgetAll(gone);
}

const itemsOf = (turns) => turns.flatMap((turn) => turn.media ?? []);

async function forgetAll(items) {
  for (const item of items) await media.forget(item).catch(() => {});
}

export async function remove(conversation) {
  book.all = book.all.filter((one) => one !== conversation);
  await forgetAll(itemsOf(conversation.turns));
  await db.remove("conversations", conversation.id).catch(() => {});
  if (book.current === conversation) {
    if (book.all.length) select(book.all[0].id);
    else create();
  } else book.changed();
}

export function save(conversation) {
  conversation.updated = Date.now();
  if (!conversation.turns.length || !book.all.includes(conversation)) return; // none, or deleted
  db.put("conversations", conversation).catch(() => {});
}

export function titleOf({ title, turns }) {
  if (title) return title;
  const [first] = turns;
  if (!first) return "New conversation";
  return first.text.trim().slice(0, 60) || first.media?.[0]?.name || "Untitled";
}

/** All of it in one file, media included. */
export async function exported(conversation) {
  const turns = [];
  for (const { stages, ...turn } of conversation.turns) {
    const items = await Promise.all((turn.media ?? []).map(withBytes));
    turns.push({ ...turn, ...(items.length ? { media: items } : {}) });
  }
  const { title, updated, options } = { ...conversation, title: titleOf(conversation) };
  return new Blob(
    [JSON.stringify({ title, updated: new Date(updated).toISOString(), options, turns }, null, 2)],
    {
      type: "application/json",
    },
  );
}

const withBytes = async ({ id, ...item }) => ({
  ...item,
  url: await media.dataUrl({ id, ...item }).catch(() => null),
});
