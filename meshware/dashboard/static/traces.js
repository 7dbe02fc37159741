// Recent sampled traces, and one of them as a waterfall.

import { get } from "./api.js";
import { el, empty, svg } from "./dom.js";
import * as format from "./format.js";

const EVERY = 3; // ticks between two fetches

export class Traces {
  title = "Traces";
  #root = null;
  #list = el("ul", { class: "trace-list card", "aria-label": "Recent traces" });
  #detail = el("section", { class: "waterfall card", "aria-label": "Trace" });
  #traces = [];
  #chosen = null;
  #drawn = null;
  #ticks = 0;

  show(main, [id]) {
    this.#root ??= el("div", { class: "page" }, el("div", { class: "traces" }, this.#list, this.#detail));
    if (this.#root.parentNode !== main) main.append(this.#root);
    this.#chosen = id ?? this.#chosen;
    this.#draw();
    this.#fetch();
  }

  hide() {}

  onTick() {
    this.#ticks += 1;
    if (this.#ticks % EVERY === 0) this.#fetch();
  }

  async #fetch() {
    try {
      this.#traces = (await get("traces")).traces;
    } catch (error) {
      this.#list.hidden = true;
      this.#drawn = null;
      this.#detail.replaceChildren(empty("No traces to show", error.message));
      return;
    }
    this.#draw();
  }

  #draw() {
    this.#list.hidden = this.#traces.length === 0;
    if (!this.#traces.length) {
      this.#drawn = null;
      this.#detail.replaceChildren(empty("No traces yet", "Calls are sampled as a Telemetry resource says: set `tracing: [{randomSamplingPercentage: 10}]`, then send some traffic."));
      return;
    }
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.trace : null;
    this.#chosen ??= this.#traces[0].trace_id;
    this.#list.replaceChildren(...this.#traces.map((trace) => this.#entry(trace)));
    if (focused) this.#list.querySelector(`[data-trace="${CSS.escape(focused)}"]`)?.focus();
    const trace = this.#traces.find((item) => item.trace_id === this.#chosen);
    const version = trace ? `${trace.trace_id} ${trace.spans.length}` : `gone ${this.#chosen}`;
    if (version === this.#drawn) return; // what is unfolded stays so
    this.#drawn = version;
    this.#detail.replaceChildren(...(trace ? waterfall(trace) : [empty("No longer kept", "The daemon keeps the newest traces only, and this one made room. A tracing backend keeps them longer.")]));
  }

  #entry(trace) {
    const root = ordered(trace.spans)[0]?.span;
    const failed = trace.spans.some((span) => isBad(span));
    return el("li", {}, el("button", { type: "button", "data-trace": trace.trace_id, "aria-pressed": String(trace.trace_id === this.#chosen), onclick: () => (location.hash = `#/traces/${trace.trace_id}`) },
      el("b", {}, root ? `${root.workload}: ${root.name}` : trace.trace_id), el("span", {}, format.ms(trace.duration_s * 1000)),
      el("small", {}, format.time(trace.at), ` · ${trace.spans.length} spans`),
      failed ? el("small", { class: "mark bad" }, el("span", { class: "glyph", "aria-hidden": "true" }, "◆"), "error") : el("small", {}, "")));
  }
}

function waterfall(trace) {
  const rows = ordered(trace.spans);
  const start = Math.min(...rows.map(({ span }) => span.start_s));
  const end = Math.max(start + 1e-6, ...rows.map(({ span }) => span.start_s + span.duration_s));
  return [
    el("h2", {}, "Trace", el("small", { class: "code" }, trace.trace_id)),
    el("ol", {}, ...rows.map(({ span, depth }) => line(span, depth, start, end - start))),
  ];
}

function line(span, depth, start, length) {
  const left = ((span.start_s - start) / length) * 1000;
  const width = Math.max(3, (span.duration_s / length) * 1000);
  const kind = isBad(span) ? "bad" : span.kind === "server" || span.kind === "client" ? span.kind : "other";
  const after = left + width < 800;
  const bar = svg("svg", { "aria-hidden": "true" },
    ...[0, 25, 50, 75, 100].map((part) => svg("line", { class: "guide", x1: `${part}%`, x2: `${part}%`, y1: 0, y2: 22 })),
    svg("rect", { class: `bar-${kind}`, x: `${left / 10}%`, width: `${width / 10}%`, y: 5, height: 12, rx: 2 }),
    svg("text", { x: `${(after ? left + width : left) / 10}%`, dx: after ? 5 : -5, y: 15, "text-anchor": after || left < 80 ? "start" : "end" }, after || left >= 80 ? format.ms(span.duration_s * 1000) : ""));
  const name = el("span", { title: `${span.workload}: ${span.name}` }, isBad(span) ? "◆ " : "", span.name, " ", el("small", {}, `${span.workload} · ${span.kind}`));
  name.style.paddingLeft = `${Math.min(depth, 8) * 14}px`;
  const button = el("button", { type: "button", class: "row", "aria-expanded": "false", "aria-label": `${span.workload}: ${span.name}, ${span.kind}, ${format.ms(span.duration_s * 1000)}${isBad(span) ? ", failed" : ""}` }, name, bar);
  const facts = el("dl", { hidden: true }, ...Object.entries({ status: span.status, ...span.attributes }).flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, String(value ?? "–"))]));
  button.addEventListener("click", () => {
    facts.hidden = !facts.hidden;
    button.setAttribute("aria-expanded", String(!facts.hidden));
  });
  return el("li", {}, button, facts);
}

/** Spans in the order of the tree, each with its depth; one whose parent is missing is a root. */
function ordered(spans) {
  const known = new Set(spans.map((span) => span.span_id));
  const children = group(spans, known);
  const rows = [];
  const seen = new Set(); // reports are claims: a circle of parents must not hang the page
  const walk = (parent, depth) => {
    for (const span of [...(children.get(parent) ?? [])].sort((a, b) => a.start_s - b.start_s)) {
      if (seen.has(span.span_id)) continue;
      seen.add(span.span_id);
      rows.push({ span, depth });
      walk(span.span_id, depth + 1);
    }
  };
  walk(null, 0);
  for (const span of spans) if (!seen.has(span.span_id)) rows.push({ span, depth: 0 });
  return rows;
}

function group(spans, known) {
  const groups = new Map();
  for (const span of spans) {
    const parent = known.has(span.parent_id) ? span.parent_id : null;
    groups.set(parent, [...(groups.get(parent) ?? []), span]);
  }
  return groups;
}

function isBad(span) {
  const status = span.status;
  return status === "error" || status === "ERROR" || Number(status) >= 500;
}
