// Pictures, clips and sounds: what a file is, how it is shown, and how it is sent.

import * as db from "./db.js";
import { el, newId } from "./dom.js";
import { asWav } from "./wav.js";

export const KINDS = { image: "Picture", video: "Clip", audio: "Sound", document: "Document" };
const BY_END = {
  image: /\.(png|jpe?g|webp|gif|bmp|tiff?|avif|heic)$/i,
  video: /\.(mp4|mov|webm|mkv|avi|ogv|m4v|3gp)$/i,
  audio: /\.(wav|mp3|flac|og[ga]|opus|m4a|aac|aiff?|weba)$/i,
  document: /\.(pdf|txt|md|csv)$/i,
};
const SENT_AS_THEY_ARE = /^audio\/(x-)?(wav|wave|vnd\.wave|mpeg|mp3|flac|ogg|aac|m4a|mp4|aiff)/;

const blobs = new Map(); // by id, so that a turn is sent and shown without the database
const urls = new Map();

/** What a file is: image, video, audio, document, or nothing that could be asked about. */
export async function kindOf(file) {
  const [kind] = (file.type || "").split("/");
  if (kind in KINDS) return kind;
  if (file.type === "application/pdf" || kind === "text") return "document";
  const kinds = Object.keys(BY_END);
  return kinds.find((one) => BY_END[one].test(file.name ?? "")) ?? ((await isText(file)) ? "document" : null);
}

/** Whether a file begins as text does: source code, settings and logs have many names. */
async function isText(file) {
  try {
    const bytes = await file.slice(0, 4096).arrayBuffer();
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return bytes.byteLength > 0 && !text.includes("\0");
  } catch {
    return false; // other bytes, or a folder
  }
}

/** An item of a file of that kind: its facts, which go with the turn; its bytes are kept beside. */
export async function itemOf(file, kind) {
  if (kind === null) throw new Error(`${file.name || "This"} is no picture, clip, sound or document.`);
  let blob = file;
  if (kind === "audio" && !SENT_AS_THEY_ARE.test(file.type)) {
    try {
      blob = await asWav(file);
    } catch {
      blob = file; // the server knows more formats than a browser
    }
  }
  const item = {
    id: newId(),
    kind,
    name: file.name || KINDS[kind].toLowerCase(),
    type: blob.type || file.type,
    bytes: blob.size,
  };
  blobs.set(item.id, blob);
  return item;
}

/** Keeps the bytes with the conversation. A browser that has no room for them loses them at the end. */
export async function keep(item) {
  const blob = blobs.get(item.id);
  if (blob) await db.put("media", { id: item.id, blob }); // else it is there, or was dropped
}

export async function forget(item) {
  URL.revokeObjectURL(urls.get(item.id));
  urls.delete(item.id);
  blobs.delete(item.id);
  await db.remove("media", item.id);
}

/** The bytes, or null where the browser has dropped them. */
export async function blobOf(item) {
  if (!blobs.has(item.id)) {
    const kept = await db.get("media", item.id).catch(() => undefined);
    if (!kept) return null;
    blobs.set(item.id, kept.blob);
  }
  return blobs.get(item.id);
}

export async function dataUrl(item) {
  const blob = await blobOf(item);
  if (blob === null)
    throw new Error(`${item.name} is no longer in this browser: take it out, or add it again.`);
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${item.name} cannot be read.`));
    reader.readAsDataURL(blob);
  });
}

/** The item as a part of a message to a model that takes such; with `known` under its name, and without its
 * bytes if it is there. */
export async function partOf(item, takes, known) {
  if (item.kind === "document") {
    const part = { type: "file", file: { file_data: await dataUrl(item), filename: item.name } };
    return takes.includes("image") ? part : { ...part, text: "only" }; // who sees no pages reads them
  }
  const type = `${item.kind}_url`;
  if (known?.has(item.id)) return { type, [type]: null, uuid: item.id };
  const part = { type, [type]: { url: await dataUrl(item) } };
  return known ? { ...part, uuid: item.id } : part;
}

/** The item as one sees or hears it. */
export function shown(item) {
  const node = el("figure", { class: `media ${item.kind}` });
  fill(node, item);
  return node;
}

async function fill(node, item) {
  const blob = await blobOf(item);
  if (blob === null) {
    node.append(el("p", { class: "gone" }, `${item.name}: no longer in this browser`));
    return;
  }
  if (!urls.has(item.id)) urls.set(item.id, URL.createObjectURL(blob));
  const src = urls.get(item.id);
  if (item.kind === "document") node.append(el("p", {}, item.name));
  else if (item.kind === "image") node.append(el("img", { src, alt: item.name }));
  else if (item.kind === "video") {
    node.append(
      el("video", {
        src,
        controls: true,
        muted: true,
        loop: true,
        playsInline: true,
        "aria-label": item.name,
      }),
    );
  } else node.append(el("audio", { src, controls: true, "aria-label": item.name }));
}

export function sizeText(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
