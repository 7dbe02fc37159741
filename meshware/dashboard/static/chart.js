// A small line chart of one to three series over time, as SVG. Gaps (null) stay gaps.

import { el, setText, svg } from "./dom.js";
import * as format from "./format.js";

const WIDTH = 360;
const HEIGHT = 112;
const LEFT = 46;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 18;

/**
 * Draw a chart.
 * @param title what is measured.
 * @param series {start, step_s} of the API.
 * @param lines [{name, values, style}], style one of "a", "b", "c": colour and dashes.
 * @param show how a value is written.
 * @param top the least upper end of the axis.
 */
export function chart(title, series, lines, show, top = 0) {
  const count = Math.max(0, ...lines.map((line) => line.values?.length ?? 0));
  const numbers = lines.flatMap((line) => (line.values ?? []).filter(format.isNumber));
  const figure = el("figure", { class: "chart" });
  figure.append(el("figcaption", {}, el("span", {}, title), legend(lines, show)));
  if (!count || !numbers.length) {
    figure.append(el("p", { class: "none" }, "Nothing measured in this time."));
    return figure;
  }
  const high = nice(Math.max(top, ...numbers));
  const x = (i) => LEFT + (count === 1 ? 0.5 : i / (count - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - (value / high) * (HEIGHT - TOP - BOTTOM);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": summary(title, lines, show) });
  for (const part of [0, 0.5, 1]) {
    drawing.append(
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(high * part), y2: y(high * part) }),
      svg("text", { class: "axis", x: LEFT - 6, y: y(high * part) + 3.5, "text-anchor": "end" }, show(high * part)),
    );
  }
  const end = instantOf(series, count - 1);
  drawing.append(
    svg("text", { class: "axis", x: LEFT, y: HEIGHT - 4 }, clock(instantOf(series, 0))),
    svg("text", { class: "axis", x: WIDTH - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, clock(end)),
  );
  for (const line of lines) drawing.append(svg("path", { class: `series ${line.style}`, d: trace(line.values ?? [], x, y) }));
  const cross = svg("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  drawing.append(cross);
  const note = el("p", { class: "at", "aria-hidden": "true" });
  const point = (event) => {
    const box = drawing.getBoundingClientRect();
    const along = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT);
    const i = Math.max(0, Math.min(count - 1, Math.round(along * (count - 1))));
    cross.setAttribute("x1", x(i));
    cross.setAttribute("x2", x(i));
    cross.setAttribute("visibility", "visible");
    setText(note, `${clock(instantOf(series, i), true)}  ${lines.map((line) => `${line.name} ${show(line.values?.[i])}`).join("  ")}`);
  };
  drawing.addEventListener("pointermove", point);
  drawing.addEventListener("pointerleave", () => {
    cross.setAttribute("visibility", "hidden");
    setText(note, "");
  });
  figure.append(drawing, note);
  return figure;
}

function legend(lines, show) {
  return el("span", { class: "keys" }, ...lines.map((line) =>
    el("span", { class: `key ${line.style}` }, `${line.name} `, el("b", {}, show(last(line.values))))));
}

function last(values) {
  for (let i = (values?.length ?? 0) - 1; i >= 0; i -= 1) if (format.isNumber(values[i])) return values[i];
  return null;
}

function summary(title, lines, show) {
  const parts = lines.map((line) => {
    const numbers = (line.values ?? []).filter(format.isNumber);
    if (!numbers.length) return `${line.name}: nothing`;
    return `${line.name}: now ${show(last(line.values))}, between ${show(Math.min(...numbers))} and ${show(Math.max(...numbers))}`;
  });
  return `${title}. ${parts.join("; ")}`;
}

function trace(values, x, y) {
  let d = "";
  let drawing = false;
  values.forEach((value, i) => {
    if (!format.isNumber(value)) {
      drawing = false;
      return;
    }
    d += `${drawing ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    drawing = true;
  });
  return d;
}

/** The next of 1, 2, 2.5, 5 times a power of ten. */
function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].find((step) => step * power >= value * 0.999) * power;
}

function instantOf(series, i) {
  return (format.instant(series.start) ?? 0) + i * (series.step_s || 1);
}

function clock(seconds, exact = false) {
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (exact) options.second = "2-digit";
  return new Date(seconds * 1000).toLocaleTimeString([], options);
}
