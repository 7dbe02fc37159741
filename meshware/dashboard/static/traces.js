// Recent sampled traces: a list, and one of them as a waterfall or as a table.

import { get } from "./api.js";
import { el, empty } from "./dom.js";
import * as format from "./format.js";
import { ordered, table, waterfall } from "./waterfall.js";

const EVERY = 2; // ticks between two fetches
const AT_MOST = 200;

export class Traces {
  title = "Traces";
  #root = null;
  #search = el("input", { type: "search", placeholder: "Service, name, trace…", "aria-label": "Find traces", oninput: () => this.#draw() });
  #failed = el("input", { type: "checkbox", onchange: () => this.#draw() });
  #count = el("span", { class: "count", role: "status" });
  #list = el("ul", { class: "trace-list card", "aria-label": "Recent traces", onkeydown: (event) => this.#move(event) });
  #detail = el("section", { class: "waterfall card", "aria-label": "Trace" });
  #traces = new Map(); // id -> trace
  #cursor = "";
  #chosen = null;
  #drawn = null;
  #asTable = false;
  #ticks = 0;
  #asking = false;
  #message = null;

  show(main, [id]) {
    this.#root ??= el("div", { class: "page" },
      el("div", { class: "tools" }, this.#search, el("label", {}, this.#failed, "Failed only"), this.#count),
      el("div", { class: "traces" }, this.#list, this.#detail));
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

  onState(state) {
    if (state === "live") this.#fetch();
  }

  async #fetch() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      const answer = await get("traces", { limit: AT_MOST, ...(this.#cursor ? { since: this.#cursor } : {}) });
      if (!this.#cursor || answer.is_whole) this.#traces.clear();
      this.#cursor = answer.cursor;
      for (const trace of answer.traces) this.#traces.set(trace.trace_id, trace);
      const newest = [...this.#traces.values()].sort((a, b) => b.at - a.at).slice(0, AT_MOST);
      this.#traces = new Map(newest.map((trace) => [trace.trace_id, trace]));
      this.#message = null;
    } catch (error) {
      this.#traces.clear();
      this.#cursor = "";
      this.#message = error.message;
    } finally {
      this.#asking = false;
    }
    this.#draw();
  }

  #draw() {
    const all = [...this.#traces.values()];
    const shown = all.filter((trace) => this.#isWanted(trace));
    this.#list.hidden = shown.length === 0;
    this.#count.textContent = all.length === shown.length ? `${all.length}` : `${shown.length} of ${all.length}`;
    if (!all.length) {
      this.#drawn = null;
      this.#detail.replaceChildren(this.#message === null
        ? empty("No traces yet", "Calls are sampled as a Telemetry resource says. Kept here, sent nowhere: `tracing: [{providers: [{name: meshware}], randomSamplingPercentage: 10}]`. Then send some traffic.")
        : empty("No traces to show", this.#message));
      return;
    }
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.trace : null;
    this.#chosen ??= (shown[0] ?? all[0]).trace_id;
    this.#list.replaceChildren(...shown.map((trace) => this.#entry(trace)));
    if (focused) this.#list.querySelector(`[data-trace="${CSS.escape(focused)}"]`)?.focus();
    this.#drawDetail();
  }

  #drawDetail() {
    const trace = this.#traces.get(this.#chosen);
    const version = `${this.#chosen} ${trace?.spans.length} ${this.#asTable}`;
    if (version === this.#drawn) return; // what is unfolded stays so
    this.#drawn = version;
    if (!trace) {
      this.#detail.replaceChildren(empty("Not kept", "Workers keep the newest sampled calls only: this one was not sampled, or has made room. A tracing backend keeps them longer."));
      return;
    }
    const toggle = el("button", { type: "button", "aria-pressed": String(this.#asTable), onclick: () => {
      this.#asTable = !this.#asTable;
      this.#drawDetail();
      this.#detail.querySelector("h2 button")?.focus();
    } }, "Table");
    this.#detail.replaceChildren(
      el("h2", {}, el("span", {}, "Trace"), el("small", { class: "code" }, trace.trace_id), toggle),
      el("p", { class: "facts" }, `${format.absolute(trace.at)} · ${format.ms(trace.duration_s * 1000)} · ${count(trace.spans.length, "span")} · ${count(trace.services.length, "workload")}${trace.left_out ? ` · ${count(trace.left_out, "more span")} not shown` : ""}`),
      this.#asTable ? table(trace) : waterfall(trace));
  }

  #isWanted(trace) {
    const query = this.#search.value.trim().toLowerCase();
    if (this.#failed.checked && !trace.is_failed) return false;
    if (!query) return true;
    return [trace.trace_id, trace.name, ...trace.services].some((word) => word.toLowerCase().includes(query));
  }

  #entry(trace) {
    const root = ordered(trace.spans)[0]?.span;
    const failed = trace.is_failed;
    return el("li", {}, el("button", { type: "button", "data-trace": trace.trace_id, "aria-pressed": String(trace.trace_id === this.#chosen), onclick: () => (location.hash = `#/traces/${trace.trace_id}`) },
      el("b", {}, root ? `${root.workload}: ${root.label}` : trace.trace_id), el("span", {}, format.ms(trace.duration_s * 1000)),
      el("small", {}, format.time(trace.at), ` · ${count(trace.spans.length, "span")}`),
      failed ? el("small", { class: "mark bad" }, el("span", { class: "glyph", "aria-hidden": "true" }, "◆"), "error") : el("small", {}, "")));
  }

  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...this.#list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, at + step))].focus();
  }
}

function count(number, word) {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}
