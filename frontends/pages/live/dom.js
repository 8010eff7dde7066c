// Elements made without HTML, and lists whose elements stay when their data change.

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A text that did not change is not written: a selection in it stays, and nothing is announced.
export function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

// The children of `parent`, one for each of `data` and in their order, known again by `keyOf`.
export function keep(parent, data, keyOf, make, update) {
  const known = new Map();
  for (const child of [...parent.children]) {
    known.get(child.dataset.key)?.remove(); // the data have had it twice
    known.set(child.dataset.key, child);
  }
  let before = null;
  for (const one of data) {
    const key = String(keyOf(one));
    let child = known.get(key);
    known.delete(key);
    if (child === undefined) {
      child = make(one);
      child.dataset.key = key;
    }
    update(child, one);
    const place = before === null ? parent.firstElementChild : before.nextElementSibling;
    if (place !== child) parent.insertBefore(child, place);
    before = child;
  }
  for (const gone of known.values()) gone.remove();
}

export const $ = (id) => document.getElementById(id);
