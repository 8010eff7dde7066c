// Markdown as elements. marked finds what is what; nothing here makes HTML of a text, so that an
// answer can show anything and do nothing: tags are shown as they are written, pictures as links.

import { copyButton, el } from "./dom.js";
import { piecesOf } from "./pieces.js";
import { marked } from "./vendor/marked/marked.esm.js";

const LINKS = /^(https?:|mailto:)/i;

const DEEPEST = 32; // elements within one another: a model that repeats itself may write thousands
let depth = 0;

/** The nodes of a text; what they cost grows as its length does. */
export function rendered(text) {
  const [pieces, rest] = piecesOf(text);
  return [...pieces.flatMap(piece), ...(rest ? [el("p", { class: "plain" }, rest)] : [])];
}

function piece(text) {
  if (typeof text !== "string") return [block(text)];
  try {
    return blocks(marked.lexer(text, { gfm: true, breaks: true }));
  } catch {
    return [el("p", {}, text)]; // it goes deeper than the browser's stack
  }
}

const blocks = (tokens) => within(tokens, block).filter((node) => node !== null);

/** What `make` makes of each, or their text as it was written where they lie too deep. */
function within(tokens, make) {
  if (depth >= DEEPEST) return [tokens.map(({ raw }) => raw).join("")];
  depth += 1;
  try {
    return tokens.map(make);
  } finally {
    depth -= 1;
  }
}

function block(token) {
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return el(`h${Math.min(6, token.depth + 2)}`, {}, spans(token.tokens));
    case "paragraph":
      return el("p", {}, spans(token.tokens));
    case "blockquote":
      return el("blockquote", {}, blocks(token.tokens));
    case "list":
      return list(token);
    case "code":
      return code(token);
    case "hr":
      return el("hr");
    case "table":
      return table(token);
    case "text":
      return el("span", {}, token.tokens ? spans(token.tokens) : plain(token.text));
    default:
      return el("p", {}, token.raw);
  }
}

function list(token) {
  const tag = token.ordered ? "ol" : "ul";
  const start = token.ordered && token.start !== 1 ? { start: token.start } : {};
  return el(
    tag,
    start,
    token.items.map((item) => el("li", {}, task(item), blocks(item.tokens))),
  );
}

/** A box of a list of tasks, which nobody can tick here. */
function task(item) {
  return item.task ? [item.checked ? "☑ " : "☐ "] : [];
}

function code(token) {
  const language = (token.lang ?? "").split(/\s/)[0];
  const text = token.text;
  return el(
    "div",
    { class: "code" },
    el(
      "div",
      { class: "code-head" },
      el("span", {}, language || "text"),
      copyButton(() => text),
    ),
    el(
      "pre",
      { tabIndex: 0, role: "region", "aria-label": `Code, ${language || "text"}` },
      el("code", {}, text),
    ),
  );
}

function table(token) {
  const cell = (tag, one) =>
    el(
      tag,
      { ...(one.align ? { class: `to-${one.align}` } : {}), ...(tag === "th" ? { scope: "col" } : {}) },
      spans(one.tokens),
    );
  return el(
    "div",
    { class: "table", tabIndex: 0, role: "region", "aria-label": "Table" },
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          token.header.map((one) => cell("th", one)),
        ),
      ),
      el(
        "tbody",
        {},
        token.rows.map((row) =>
          el(
            "tr",
            {},
            row.map((one) => cell("td", one)),
          ),
        ),
      ),
    ),
  );
}

const spans = (tokens) => within(tokens ?? [], span);

function span(token) {
  switch (token.type) {
    case "strong":
      return el("strong", {}, spans(token.tokens));
    case "em":
      return el("em", {}, spans(token.tokens));
    case "del":
      return el("del", {}, spans(token.tokens));
    case "codespan":
      return el("code", {}, token.text);
    case "br":
      return el("br");
    case "link":
      return link(token.href, spans(token.tokens));
    case "image":
      return link(token.href, [plain(token.text) || token.href]);
    case "escape":
      return plain(token.text);
    case "text":
      return token.tokens ? el("span", {}, spans(token.tokens)) : plain(token.text);
    default:
      return token.raw; // HTML among them
  }
}

function link(href, children) {
  if (!LINKS.test(href)) return el("span", {}, children);
  return el("a", { href, target: "_blank", rel: "noopener noreferrer" }, children);
}

const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", nbsp: "\u00a0" };

/** A text in which the usual names of characters are those characters, as Markdown has it. */
function plain(text) {
  return text.replace(/&(amp|lt|gt|quot|#39|nbsp);/g, (_, name) => NAMED[name]);
}
