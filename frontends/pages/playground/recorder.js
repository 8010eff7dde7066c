// A sound, a picture or a clip of this machine's own microphone and camera.

import { openDialog } from "./dialogs.js";
import { $, el } from "./dom.js";

const WANTED = {
  audio: { audio: true },
  video: { audio: true, video: { width: { ideal: 640 } } },
  image: { video: { width: { ideal: 1280 } } },
};
const TITLES = { audio: "Record a sound", video: "Record a clip", image: "Take a picture" };
const MOST_SECONDS = 60;

/** A file, or null where nothing was recorded. Raises Error in words for people. */
export async function record(kind) {
  const stream = await devices(kind);
  try {
    return kind === "image" ? await picture(stream) : await recording(kind, stream);
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}

async function devices(kind) {
  if (!navigator.mediaDevices) {
    throw new Error(
      "A browser lends microphone and camera to pages from this machine (127.0.0.1) or over HTTPS only.",
    );
  }
  try {
    return await navigator.mediaDevices.getUserMedia(WANTED[kind]);
  } catch (error) {
    if (kind === "video" && error.name === "NotFoundError") {
      return navigator.mediaDevices.getUserMedia({ video: WANTED.video.video });
    }
    const device = kind === "audio" ? "microphone" : "camera";
    const denied = error.name === "NotAllowedError";
    throw new Error(
      denied ? `The browser does not let this page use the ${device}.` : `There is no ${device} to use.`,
    );
  }
}

function view(stream) {
  const video = el("video", {
    muted: true,
    autoplay: true,
    playsInline: true,
    class: "viewfinder",
    "aria-label": "Camera",
  });
  video.srcObject = stream;
  return video;
}

const closing = (value) => (event) => event.target.closest("dialog").close(value);

async function picture(stream) {
  const video = view(stream);
  const answer = await openDialog(TITLES.image, [
    video,
    el(
      "div",
      { class: "row end" },
      el("button", { type: "button", class: "small", on: { click: closing("") } }, "Cancel"),
      el("button", { type: "button", class: "small main", on: { click: closing("take") } }, "Take it"),
    ),
  ]);
  if (answer !== "take" || !video.videoWidth) return null;
  const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return new File([blob], "picture.jpg", { type: blob.type });
}

async function recording(kind, stream) {
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  recorder.ondataavailable = (event) => pieces.push(event.data);
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  const clock = el("p", { class: "clock", role: "timer" }, "0.0 s");
  const began = performance.now();
  const ticking = setInterval(() => {
    const seconds = (performance.now() - began) / 1000;
    clock.textContent = `${seconds.toFixed(1)} s`;
    if (seconds > MOST_SECONDS) $("dialogs").querySelector("dialog[open]")?.close("done");
  }, 100);
  recorder.start();
  const answer = await openDialog(TITLES[kind], [
    ...(kind === "video" ? [view(stream)] : []),
    el("p", { class: "recording" }, "Recording"),
    clock,
    el(
      "div",
      { class: "row end" },
      el("button", { type: "button", class: "small", on: { click: closing("") } }, "Discard"),
      el(
        "button",
        { type: "button", class: "small main", autofocus: true, on: { click: closing("done") } },
        "Done",
      ),
    ),
  ]);
  clearInterval(ticking);
  recorder.stop();
  await stopped;
  if (answer !== "done") return null;
  const type = recorder.mimeType.split(";")[0].replace(/^\w+/, kind);
  const end = type.split("/")[1];
  return new File(pieces, kind === "audio" ? "recording" : `recording.${end}`, { type });
}
