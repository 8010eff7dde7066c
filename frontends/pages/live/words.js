// Numbers as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(count) {
  let unit = 0;
  while (count >= 1024 && unit < UNITS.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count >= 100 || unit === 0 ? Math.round(count) : count.toFixed(1)} ${UNITS[unit]}`;
}

export function seconds(span) {
  if (span < 1) return `${Math.max(0, Math.round(span * 1000))} ms`;
  return span < 60 ? `${span.toFixed(1)} s` : `${Math.floor(span / 60)} min ${Math.floor(span % 60)} s`;
}

export const percent = (share) => `${Math.round(share * 100)} %`;

export const number = (count) => Math.round(count).toLocaleString("en");

export const clock = (when) => new Date(when * 1000).toLocaleTimeString([], { hour12: false });

export const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
