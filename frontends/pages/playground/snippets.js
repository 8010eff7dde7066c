// A turn's request as others would send it: curl, Python with OpenAI's client, and the JSON alone.

import { address } from "./api.js";
import { copyButton, el } from "./dom.js";
import { openDialog } from "./dialogs.js";

/** `keyed`: the server asks for a key, which is named and never written out. */
export function curlOf(body, keyed) {
  const key = keyed ? ' \\\n  -H "Authorization: Bearer $THESPIS_API_KEY"' : "";
  const json = JSON.stringify(body, null, 2);
  return `curl -N ${address("v1/chat/completions")} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d @- <<'JSON'\n${json}\nJSON\n`;
}

const OWN = ["mm_processor_kwargs", "media_io_kwargs"]; // which OpenAI's client does not know

export function pythonOf(body, keyed) {
  const known = Object.entries(body).filter(([name]) => !OWN.includes(name));
  const own = Object.fromEntries(Object.entries(body).filter(([name]) => OWN.includes(name)));
  const given = known.map(([name, value]) => `    ${name}=${literal(value, 1)},\n`);
  if (Object.keys(own).length) given.push(`    extra_body=${literal(own, 1)},\n`);
  return `${keyed ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url="${address("v1")}", api_key=${keyed ? 'os.environ["THESPIS_API_KEY"]' : '"none"'})
stream = client.chat.completions.create(
${given.join("")}    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
`;
}

/** A value as Python writes it. */
function literal(value, depth) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = "    ".repeat(depth + 1);
  const list = Array.isArray(value);
  const entries = list
    ? value.map((one) => `${inner}${literal(one, depth + 1)},\n`)
    : Object.entries(value).map(
        ([name, one]) => `${inner}${JSON.stringify(name)}: ${literal(one, depth + 1)},\n`,
      );
  const [open, close] = list ? "[]" : "{}";
  return entries.length ? `${open}\n${entries.join("")}${"    ".repeat(depth)}${close}` : open + close;
}

/** Media are copied whole and shown by their beginnings. */
const short = (text) => text.replace(/(data:[\w/+.-]+;base64,[A-Za-z0-9+/=]{24})[A-Za-z0-9+/=]+/g, "$1…");

export function showSnippets(body, keyed) {
  const forms = {
    curl: curlOf({ ...body, stream: true }, keyed),
    Python: pythonOf(body, keyed),
    JSON: JSON.stringify(body, null, 2),
  };
  const shown = el("code");
  const copy = el("span");
  const tabs = Object.keys(forms).map((name) =>
    el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "snippet" }, name),
  );
  const choose = (tab) => {
    const text = forms[tab.textContent];
    for (const one of tabs) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
    }
    shown.textContent = short(text);
    panel.setAttribute("aria-labelledby", tab.id);
    copy.replaceChildren(copyButton(() => text));
  };
  const panel = el("pre", { id: "snippet", role: "tabpanel", tabIndex: 0 }, shown);
  const walk = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    choose(next);
  };
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab));
  choose(tabs[0]);
  const close = (event) => event.target.closest("dialog").close();
  return openDialog(
    "This request as code",
    [
      el(
        "div",
        { class: "row" },
        el("div", { role: "tablist", class: "tabs", "aria-label": "Form", on: { keydown: walk } }, tabs),
        copy,
      ),
      panel,
      el(
        "div",
        { class: "row end" },
        el("button", { type: "button", class: "small", on: { click: close } }, "Close"),
      ),
    ],
    { class: "wide" },
  );
}
