// A long text in pieces that are read one by one: what marked takes for some texts grows with the
// square of their length, and a browser's tab stands still for as long.

const PIECE = 3000; // characters: longer than the paragraphs that people and models write
const MARKDOWN = 100_000; // of one answer; what comes behind is shown as it was written

const FENCE = /^[ \t]*(`{3,}(?=[^`]*$)|~{3,})/;
const ROW = /^ {0,3}\|/;
const BELOW_HEAD = /^[ \t|:-]*-[ \t|:-]*$/; // the second line of a table

/** `[pieces, rest]`: a piece is Markdown by itself, or a token of long code; the rest is text. */
export function piecesOf(text) {
  if (text.length <= PIECE) return [[text], ""];
  const pieces = [];
  const rest = [];
  let length = 0;
  for (const piece of together(blocksOf(text.split("\n")).flatMap(cut))) {
    if (length < MARKDOWN) pieces.push(piece);
    else rest.push(piece.raw ?? piece);
    length += (piece.raw ?? piece).length;
  }
  return [pieces, rest.join("\n")];
}

/** Neighbours in one piece, as far as they have room in it. */
function together(parts) {
  const found = [];
  for (const part of parts) {
    const last = found.at(-1);
    const room = typeof part === "string" && typeof last === "string" ? PIECE - last.length : 0;
    if (part.length < room) found[found.length - 1] = `${last}\n${part}`;
    else found.push(part);
  }
  return found;
}

/** Lists of lines. A new one begins behind an empty line: not within code, nor where a list goes on. */
function blocksOf(lines) {
  const blocks = [[]];
  let fence = null;
  let empty = false;
  for (const line of lines) {
    if (empty && /^\S/.test(line)) blocks.push([]);
    blocks.at(-1).push(line);
    fence = fenceAfter(fence, line);
    empty = fence === null && !line.trim();
  }
  return blocks;
}

/** The marks of the code in which the next line is, or null. */
function fenceAfter(fence, line) {
  if (fence === null) return FENCE.exec(line)?.[1] ?? null;
  const end = line.trim();
  const ends = end.length >= fence.length && end === fence[0].repeat(end.length);
  return ends ? null : fence;
}

/** A block as texts that are short enough; code stays whole, and nobody looks for Markdown in it. */
function cut(lines) {
  const text = lines.join("\n");
  if (text.length <= PIECE) return [text];
  const found = [];
  for (const { kind, run } of runsOf(lines)) {
    if (kind === "code") found.push(codeOf(run));
    else found.push(...cutRun(run, kind === "table" && BELOW_HEAD.test(run[1] ?? "") ? run.slice(0, 2) : []));
  }
  return found;
}

/** Neighbouring lines of one kind: code, table, or text. */
function runsOf(lines) {
  const runs = [];
  let fence = null;
  for (const line of lines) {
    const before = fence;
    fence = fenceAfter(fence, line);
    const begins = before === null && fence !== null;
    const kind = begins || before !== null ? "code" : ROW.test(line) ? "table" : "text";
    if (begins || runs.at(-1)?.kind !== kind || (runs.at(-1).over && kind === "code")) runs.push({ kind, run: [] });
    runs.at(-1).run.push(line);
    runs.at(-1).over = fence === null;
  }
  return runs;
}

/** A token as marked makes it. Code of a list's item begins where its marks do. */
function codeOf(run) {
  const deep = /^[ \t]*/.exec(run[0])[0].length;
  const lines = run.map((line) => line.slice(Math.min(deep, line.length - line.trimStart().length)));
  const [marks] = FENCE.exec(lines[0]);
  const closed = run.length > 1 && fenceAfter(marks, lines.at(-1)) === null;
  const text = lines.slice(1, closed ? -1 : undefined).join("\n");
  return { type: "code", lang: lines[0].slice(marks.length).trim(), text, raw: run.join("\n") };
}

/** `head`: lines of a table that stand before each of its parts. */
function cutRun(run, head) {
  const start = head.join("\n").length < PIECE / 2 ? head : [];
  const found = [];
  let part = [];
  let length = 0;
  for (const line of run.flatMap(cutLine)) {
    if (length + line.length >= PIECE && part.length > start.length) {
      found.push(part.join("\n"));
      part = [...start];
      length = start.join("\n").length;
    }
    part.push(line);
    length += line.length + 1;
  }
  found.push(part.join("\n"));
  return found;
}

/** A line as lines that are short enough: between words, where there are any. */
function cutLine(line) {
  const found = [];
  let at = 0;
  while (line.length - at > PIECE / 2) {
    let end = line.lastIndexOf(" ", at + PIECE / 2);
    if (end <= at) end = at + PIECE / 2 - (/[\uD800-\uDBFF]/.test(line[at + PIECE / 2 - 1]) ? 1 : 0);
    found.push(line.slice(at, end));
    at = end;
  }
  found.push(line.slice(at));
  return found;
}
