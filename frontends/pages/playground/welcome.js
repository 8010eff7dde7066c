// What stands where no conversation is yet: what can be asked here and, of the bundled model, what it knows.

import * as api from "./api.js";
import { el, listed } from "./dom.js";
import { KINDS } from "./media.js";

const NAMES = { image: "pictures", video: "clips", audio: "sounds", document: "documents" };
const KNOWN = [
  ["Pictures", "coloured shapes: what they are, where, and how many; digits"],
  ["Clips", "one shape that moves, and where to"],
  ["Sounds", "beeps: how many, rising or falling"],
];

/** `use(file, question)`: asks about an example. */
export function welcome(about, use) {
  const node = el(
    "section",
    { class: "welcome", "aria-labelledby": "welcome" },
    el("h2", { id: "welcome" }, "Ask, show or play something"),
  );
  if (about.output !== "token") {
    node.append(
      el(
        "p",
        {},
        `${about.model} makes vectors and does not answer. Ask it at `,
        el("code", {}, "POST v1/embeddings"),
        ".",
      ),
    );
    return node;
  }
  if (!about.bundled) {
    node.append(el("p", {}, `${about.model} takes ${takes(about)}.`));
    return node;
  }
  node.append(
    el(
      "p",
      {},
      "This is the bundled model: tiny, and trained on a world of its own. It answers what is asked about that in English, and nothing else.",
    ),
    el(
      "dl",
      {},
      KNOWN.map(([name, words]) => el("div", {}, el("dt", {}, name), el("dd", {}, words))),
    ),
  );
  offer(node, use);
  return node;
}

function takes({ takes: kinds }) {
  if (!kinds.length) return "text alone";
  return listed(["text", ...kinds.map((kind) => NAMES[kind])], "and");
}

async function offer(node, use) {
  const examples = await api.getJson("playground/examples/examples.json").catch(() => []);
  if (!examples.length) return;
  node.append(
    el("h3", {}, "Try one"),
    el(
      "ul",
      { class: "examples" },
      examples.map((one) => card(one, use)),
    ),
  );
}

function card({ kind, file, question }, use) {
  const src = api.address(`playground/examples/${file}`);
  const click = async () => {
    const blob = await (await fetch(src)).blob();
    use(new File([blob], file, { type: blob.type }), question);
  };
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "example", on: { click } },
      face(kind, src),
      el("span", {}, el("small", {}, KINDS[kind]), el("span", {}, question)),
    ),
  );
}

function face(kind, src) {
  if (kind === "image") return el("img", { src, alt: "", class: "face" });
  if (kind === "video")
    return el("video", {
      src,
      muted: true,
      preload: "metadata",
      class: "face",
      tabIndex: -1,
      "aria-hidden": "true",
    });
  const wave = [3, 6, 10, 7, 13, 9, 16, 11, 6, 3].map((height) => {
    const line = el("i");
    line.style.height = `${height * 2}px`;
    return line;
  });
  return el("span", { class: "face wave", "aria-hidden": "true" }, wave);
}
