// Building elements. Text from the API only ever enters through textContent or attributes, so that
// a service, path or policy with markup in its name stays text.

const SVG = "http://www.w3.org/2000/svg";

/** Make an HTML element: attributes (null and false are left out), then children or strings. */
export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** Make an SVG element, likewise. */
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

/** Write text only where it differs: an unchanged cell costs no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute only where it differs. */
export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** A place that is empty on purpose: what is missing, and what to do about it. */
export function empty(title, advice) {
  return el("div", { class: "empty" }, el("p", { class: "empty-title" }, title), el("p", {}, advice));
}

/** A health mark: shape and colour, with its word for those who see neither. */
export function mark(health) {
  return el(
    "span",
    { class: `mark ${health}` },
    el("span", { class: "glyph", "aria-hidden": "true" }, GLYPHS[health] ?? GLYPHS.idle),
    el("span", {}, WORDS[health] ?? health),
  );
}

export const GLYPHS = { good: "●", warn: "▲", bad: "◆", idle: "○" };
export const WORDS = { good: "healthy", warn: "degraded", bad: "failing", idle: "idle" };
