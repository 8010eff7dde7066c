// The server's API, beside which this page lies: every address is relative to the page's own.

import { events } from "./sse.js";

const KEY = "thespis.key";

/** What the server has said against a request, or that it could not be reached. */
export class ApiError extends Error {
  constructor({ message, status = 0, part = null, code = null }) {
    super(message);
    Object.assign(this, { status, part, code });
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** A header has bytes, and a browser sends no other letters in it: those of a key's UTF-8. */
const asBytes = (text) => String.fromCharCode(...new TextEncoder().encode(text));

export const address = (path) => new URL(path, document.baseURI).href;

export async function getJson(path) {
  return (await call(path)).json();
}

export async function postJson(path, body, signal) {
  return (await call(path, body, signal)).json();
}

/** Yields the chunks of a streamed answer. */
export async function* stream(path, body, signal) {
  const response = await call(path, body, signal);
  for await (const { event, data } of events(response.body)) {
    if (data === "[DONE]") return;
    if (!data) continue;
    const chunk = JSON.parse(data);
    if (event === "error" || chunk.error) throw new ApiError(told(chunk, response.status));
    yield chunk;
  }
  throw new ApiError({ message: "The connection ended before the answer did." });
}

async function call(path, body, signal) {
  const headers = key.get() ? { Authorization: `Bearer ${asBytes(key.get())}` } : {};
  const asked = { headers, signal, cache: "no-store" };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    Object.assign(asked, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) });
  }
  let response;
  try {
    response = await fetch(address(path), asked);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError({ message: "The server cannot be reached." });
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => ({}));
  throw new ApiError(told(answer, response.status));
}

function told(answer, status) {
  const { message, param, code } = answer.error ?? {};
  return {
    message: message ?? `The server answered ${status}.`,
    status,
    part: param ?? null,
    code: code ?? null,
  };
}
