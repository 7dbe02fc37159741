// Numbers and times as people read them. Absent numbers are a dash, never a zero.

const DASH = "–";

/** Calls per second: "0.4/s", "12/s", "3.4k/s". */
export function rate(value) {
  if (!isNumber(value)) return DASH;
  if (value >= 10000) return `${(value / 1000).toFixed(0)}k/s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)}k/s`;
  if (value >= 10) return `${value.toFixed(0)}/s`;
  if (value >= 0.05) return `${value.toFixed(1)}/s`;
  return value > 0 ? "<0.1/s" : "0/s";
}

/** A share of 0..1 in percent. */
export function share(value) {
  if (!isNumber(value)) return DASH;
  if (value === 0) return "0%";
  if (value < 0.001) return "<0.1%";
  return value < 0.1 ? `${(value * 100).toFixed(1)}%` : `${(value * 100).toFixed(0)}%`;
}

/** Milliseconds: "0.8 ms", "38 ms", "1.2 s". */
export function ms(value) {
  if (!isNumber(value)) return DASH;
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10000 ? 0 : 1)} s`;
  return value >= 10 ? `${value.toFixed(0)} ms` : `${value.toFixed(1)} ms`;
}

/** Bytes in binary units. */
export function bytes(value) {
  if (!isNumber(value)) return DASH;
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

/** Seconds as one or two units: "42 s", "3 min", "2 h 5 min", "4 d". */
export function span(seconds) {
  const whole = Math.round(Math.abs(seconds));
  if (whole < 90) return `${whole} s`;
  if (whole < 5400) return `${Math.round(whole / 60)} min`;
  if (whole < 172800) {
    const minutes = Math.round((whole % 3600) / 60);
    return minutes ? `${Math.floor(whole / 3600)} h ${minutes} min` : `${Math.floor(whole / 3600)} h`;
  }
  return `${Math.round(whole / 86400)} d`;
}

/** An instant of the API (epoch seconds or ISO 8601) as epoch seconds; null where there is none. */
export function instant(at) {
  if (isNumber(at)) return at;
  const parsed = typeof at === "string" ? Date.parse(at) / 1000 : NaN;
  return Number.isFinite(parsed) ? parsed : null;
}

/** "5 s ago" or "in 23 h". */
export function relative(at, now = Date.now() / 1000) {
  const seconds = instant(at);
  if (seconds === null) return DASH;
  if (Math.abs(now - seconds) < 1.5) return "now";
  return seconds > now ? `in ${span(seconds - now)}` : `${span(now - seconds)} ago`;
}

/** The whole date and time, for a title. */
export function absolute(at) {
  const seconds = instant(at);
  return seconds === null ? "" : new Date(seconds * 1000).toISOString().replace("T", " ");
}

/** A <time> that says how long ago, and exactly when in its title. `freshen` keeps it true. */
export function time(at) {
  const element = document.createElement("time");
  const seconds = instant(at);
  element.textContent = relative(at);
  if (seconds !== null) {
    element.dataset.at = String(seconds);
    element.dateTime = new Date(seconds * 1000).toISOString();
    element.title = absolute(at);
  }
  return element;
}

/** Bring all relative times below `root` up to date. */
export function freshen(root) {
  const now = Date.now() / 1000;
  for (const element of root.querySelectorAll("time[data-at]")) {
    const text = relative(Number(element.dataset.at), now);
    if (element.textContent !== text) element.textContent = text;
  }
}

/** Cut in the middle: both ends of a name tell names apart. */
export function shorten(text, length) {
  if (text.length <= length) return text;
  const head = Math.ceil((length - 1) * 0.6);
  return `${text.slice(0, head)}…${text.slice(text.length - (length - 1 - head))}`;
}

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
