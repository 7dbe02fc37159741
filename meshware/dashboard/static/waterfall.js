// One trace: spans in the order of their tree, as bars along its time or as a table.

import { el, svg } from "./dom.js";
import * as format from "./format.js";

/** Bars along the time of the trace; each row unfolds to what its span says. */
export function waterfall(trace) {
  const rows = ordered(trace.spans);
  const start = Math.min(...rows.map(({ span }) => span.start_s));
  const end = Math.max(start + 1e-6, ...rows.map(({ span }) => span.start_s + span.duration_s));
  return el("ol", { onkeydown: move }, ...rows.map(({ span, depth }) => line(span, depth, start, end - start)));
}

/** The same for those who read and do not look. */
export function table(trace) {
  const heads = ["Span", "Workload", "Kind", "Attempt", "Starts", "Takes", "Answer", "Flags", "Error"];
  return el("div", { class: "scroll" }, el("table", { class: "spans" },
    el("caption", {}, "Spans in the order of their tree"),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...ordered(trace.spans).map(({ span, depth }) => {
      const name = el("th", { scope: "row" }, isBad(span) ? "◆ " : "", span.label);
      name.style.paddingLeft = `${indent(depth) + 12}px`;
      return el("tr", { class: isBad(span) ? "out" : "" }, name, ...[
        `${span.namespace ? `${span.namespace}/` : ""}${span.workload}`, span.kind, span.attempt ?? "–", format.ms(span.start_s * 1000), format.ms(span.duration_s * 1000),
        span.code ?? "–", span.flags ?? "–", span.error ?? (isBad(span) ? "error" : "–"),
      ].map((value) => el("td", { class: "nowrap" }, String(value))));
    }))));
}

function line(span, depth, start, length) {
  const left = ((span.start_s - start) / length) * 1000;
  const width = Math.max(3, (span.duration_s / length) * 1000);
  const kind = isBad(span) ? "bad" : span.kind === "server" || span.kind === "client" ? span.kind : "other";
  const after = left + width < 800;
  const bar = svg("svg", { "aria-hidden": "true" },
    ...[0, 25, 50, 75, 100].map((part) => svg("line", { class: "guide", x1: `${part}%`, x2: `${part}%`, y1: 0, y2: 22 })),
    svg("rect", { class: `bar-${kind}${isNumber(span.attempt) ? " attempt" : ""}`, x: `${left / 10}%`, width: `${width / 10}%`, y: 5, height: 12, rx: 2 }),
    svg("text", { x: `${(after ? left + width : left) / 10}%`, dx: after ? 5 : -5, y: 15, "text-anchor": after || left < 80 ? "start" : "end" }, after || left >= 80 ? format.ms(span.duration_s * 1000) : ""));
  const name = el("span", { title: `${span.workload}: ${span.name}` }, isBad(span) ? el("span", { class: "bad", "aria-hidden": "true" }, "◆ ") : "", span.label, ...tags(span), el("small", {}, ` ${span.workload} · ${span.kind}`));
  name.style.paddingLeft = `${indent(depth)}px`;
  const button = el("button", { type: "button", class: "row", "aria-expanded": "false", "data-depth": depth, "data-span": span.span_id, "aria-label": label(span) }, name, bar);
  const facts = el("dl", { hidden: true }, ...Object.entries({ name: span.name, status: span.status, ...span.attributes }).flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, String(value ?? "–"))]));
  button.addEventListener("click", () => {
    facts.hidden = !facts.hidden;
    button.setAttribute("aria-expanded", String(!facts.hidden));
  });
  return el("li", {}, button, facts);
}

/** What stands beside the name: answer, flags and error, where there are any. */
function tags(span) {
  const words = [span.code, span.flags, span.error && String(span.error) !== String(span.code) ? span.error : null];
  return words.filter((word) => word !== null && word !== undefined && word !== "").map((word) => el("span", { class: `tag${isBad(span) ? " bad" : ""}` }, String(word)));
}

function label(span) {
  const words = [`${span.workload}: ${span.label}`, span.kind];
  words.push(`starts at ${format.ms(span.start_s * 1000)}`, `takes ${format.ms(span.duration_s * 1000)}`);
  if (span.code) words.push(`answer ${span.code}`);
  if (span.flags) words.push(`flags ${span.flags}`);
  if (span.error) words.push(`error ${span.error}`);
  if (isBad(span)) words.push("failed");
  return words.join(", ");
}

function move(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const rows = [...event.currentTarget.querySelectorAll(".row")];
  const at = rows.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  rows[Math.max(0, Math.min(rows.length - 1, at + step))].focus();
}

function indent(depth) {
  return Math.min(depth, 8) * 14;
}

function isNumber(value) {
  return typeof value === "number";
}

/** Spans in the order of the tree, each with its depth; one whose parent is missing is a root. */
export function ordered(spans) {
  const known = new Set(spans.map((span) => span.span_id));
  const children = group(spans, known);
  const rows = [];
  const seen = new Set(); // reports are claims: a circle of parents must not hang the page
  const todo = [...(children.get(null) ?? [])].sort(byStart).reverse().map((span) => ({ span, depth: 0 }));
  while (todo.length) {
    const { span, depth } = todo.pop();
    if (seen.has(span.span_id)) continue;
    seen.add(span.span_id);
    rows.push({ span, depth });
    for (const child of [...(children.get(span.span_id) ?? [])].sort(byStart).reverse()) todo.push({ span: child, depth: depth + 1 });
  }
  for (const span of spans) if (!seen.has(span.span_id)) rows.push({ span, depth: 0 });
  return rows;
}

function byStart(a, b) {
  return a.start_s - b.start_s;
}

function group(spans, known) {
  const groups = new Map();
  for (const span of spans) {
    const parent = known.has(span.parent_id) ? span.parent_id : null;
    if (!groups.has(parent)) groups.set(parent, []);
    groups.get(parent).push(span);
  }
  return groups;
}

export function isBad(span) {
  return span.status === "error" || Number(span.code) >= 500;
}
