// Options of a conversation. An empty field is left to the server, whose default it shows.

import { $, el } from "./dom.js";

const FIELDS = [
  { name: "system", label: "System prompt", kind: "text", rows: 3, hint: "Said before everything else." },
  {
    name: "temperature",
    label: "Temperature",
    kind: "number",
    min: 0,
    max: 2,
    step: 0.1,
    hint: "0 takes the likeliest token each time.",
  },
  { name: "top_p", label: "Top p", kind: "number", min: 0.01, max: 1, step: 0.01 },
  {
    name: "max_tokens",
    label: "Tokens of an answer, at most",
    kind: "number",
    min: 1,
    step: 1,
    empty: "as many as fit",
  },
  {
    name: "seed",
    label: "Seed",
    kind: "number",
    min: 0,
    step: 1,
    empty: "a new one each time",
    hint: "The same seed draws the same answer.",
  },
  {
    name: "pixels",
    label: "Pixels of a picture or frame, at most",
    kind: "number",
    min: 1,
    step: 1,
    takes: ["image", "video"],
  },
  {
    name: "frames",
    label: "Frames of a clip",
    kind: "number",
    min: 1,
    step: 1,
    takes: ["video"],
    empty: "as the model samples",
  },
  {
    name: "schema",
    label: "JSON schema of the answer",
    kind: "json",
    rows: 4,
    of: "object",
    empty: '{"type": "object", …}',
  },
  {
    name: "tools",
    label: "Tools, as a JSON list",
    kind: "json",
    rows: 4,
    of: "array",
    empty: '[{"type": "function", …}]',
  },
];

/** Fills the panel for a server and a conversation; `changed` is called with each new value. */
export function showOptions(about, options, changed) {
  const fields = FIELDS.filter((field) => offered(field, about));
  $("option-fields").replaceChildren(...fields.map((field) => row(field, about, options, changed)));
}

function offered(field, about) {
  if (field.name === "pixels" && !about.defaults.pixels) return false;
  return !field.takes || field.takes.some((kind) => about.takes.includes(kind));
}

function row(field, about, options, changed) {
  const id = `option-${field.name}`;
  const fault = el("p", { class: "fault", id: `${id}-fault`, hidden: true });
  const input = inputOf(field, id, about, options[field.name]);
  const hint = field.hint ? [el("p", { class: "hint", id: `${id}-hint` }, field.hint)] : [];
  input.setAttribute("aria-describedby", `${id}-fault${field.hint ? ` ${id}-hint` : ""}`);
  input.addEventListener("input", () => {
    const wrong = faultOf(field, input);
    fault.textContent = wrong;
    fault.hidden = !wrong;
    input.setAttribute("aria-invalid", String(Boolean(wrong)));
    if (!wrong) changed(field.name, input.value.trim());
  });
  return el("div", { class: "option" }, el("label", { htmlFor: id }, field.label), input, fault, ...hint);
}

function inputOf(field, id, about, value) {
  const more = {
    id,
    name: field.name,
    value: value ?? "",
    placeholder: usual(field, about),
    autocomplete: "off",
  };
  if (field.kind === "number") {
    const { min, max, step } = field;
    return el("input", { type: "number", inputMode: "decimal", min, max, step, ...more });
  }
  return el("textarea", { rows: field.rows, spellcheck: field.kind === "text", class: field.kind, ...more });
}

/** The server's default in words. */
function usual(field, about) {
  const { defaults } = about;
  if (field.name === "pixels") return defaults.pixels[1].toLocaleString("en");
  if (field.name === "frames" && defaults.num_frames) return String(defaults.num_frames);
  const told = defaults[field.name];
  return field.empty ?? (told === undefined || told === null ? "" : String(told));
}

function faultOf(field, input) {
  if (field.kind === "number" && (input.validity.badInput || !input.checkValidity()))
    return input.validationMessage;
  if (field.kind !== "json" || !input.value.trim()) return "";
  try {
    const value = JSON.parse(input.value);
    const kind = Array.isArray(value) ? "array" : typeof value;
    return kind === field.of ? "" : `This must be a JSON ${field.of}.`;
  } catch {
    return "This is not JSON yet.";
  }
}
