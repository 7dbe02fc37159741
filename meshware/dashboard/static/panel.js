// The panel beside the graph (a sheet on a phone): one node or edge with its time series,
// endpoints, policies, and its neighbours.

import { get } from "./api.js";
import { chart } from "./chart.js";
import { el, empty, mark } from "./dom.js";
import * as format from "./format.js";
import { policyText } from "./policytext.js";
import { security } from "./scene.js";

const EVERY = 5; // ticks between two fetches of what is open
const RANGES = [["live", "Live"], [3600, "1 h"], [21600, "6 h"], [86400, "24 h"]];

export class Panel {
  #does;
  #open = null;
  #ticks = 0;
  #range = "live";
  #abort = null;
  #title = el("h2", { tabindex: "-1", id: "panel-title" });
  #facts = el("div", { class: "facts" });
  #ranges = el("div", { class: "ranges", role: "group", "aria-label": "Time shown" });
  #charts = el("div", { class: "charts" });
  #rest = el("div");

  constructor(does) {
    this.#does = does;
    this.element = el(
      "aside", { class: "panel", "aria-labelledby": "panel-title", hidden: true },
      el("header", {}, this.#title,
        el("button", { type: "button", class: "square", "aria-label": "Close", title: "Close (Escape)", onclick: does.close }, "×")),
      this.#facts, this.#ranges, this.#charts, this.#rest,
    );
    for (const [range, text] of RANGES) {
      this.#ranges.append(el("button", { type: "button", "data-range": range, "aria-pressed": String(range === this.#range), onclick: () => this.#choose(range) }, text));
    }
  }

  open(kind, id) {
    this.#open = { kind, id };
    this.element.hidden = false;
    const [from, to] = id.split("->");
    this.#title.textContent = kind === "edge" ? `${from} → ${to}` : id;
    this.#charts.replaceChildren(el("p", { class: "none" }, "Loading…"));
    this.#rest.replaceChildren();
    this.#ticks = 0;
    this.#showFacts();
    this.refresh();
    this.#title.focus({ preventScroll: true });
  }

  close() {
    this.#abort?.abort();
    this.#open = null;
    this.element.hidden = true;
  }

  tick() {
    if (!this.#open) return;
    this.#showFacts();
    this.#ticks += 1;
    // A policy that somebody has unfolded or selects text in is left as it is.
    if (this.#ticks % EVERY === 0) this.refresh(false);
  }

  #choose(range) {
    this.#range = range;
    for (const button of this.#ranges.children) button.setAttribute("aria-pressed", String(button.dataset.range === String(range)));
    this.refresh();
  }

  async refresh(whole = true) {
    if (!this.#open) return;
    this.#abort?.abort();
    const abort = (this.#abort = new AbortController());
    const { kind, id } = this.#open;
    try {
      const detail = await get(kind, { id }, abort.signal);
      if (abort.signal.aborted) return;
      if (this.#range === "live") this.#showCharts(detail.series);
      if (whole || !this.#rest.contains(document.activeElement)) this.#showRest(detail, kind, id, whole);
      if (this.#range !== "live" && whole) await this.#showHistory(id, abort.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#charts.replaceChildren(empty("Nothing to show", error.message));
    }
  }

  async #showHistory(id, signal) {
    const to = Math.floor(Date.now() / 1000);
    const history = await get("history", { id, from: to - this.#range, to }, signal);
    if (!signal.aborted) this.#showCharts(history.series);
  }

  #showFacts() {
    const { kind, id } = this.#open;
    const data = (kind === "edge" ? this.#does.scene.edges : this.#does.scene.nodes).get(id)?.data;
    if (!data) {
      this.#facts.replaceChildren(el("p", { class: "none" }, "No longer in the graph: nothing called it lately."));
      return;
    }
    const facts = [mark(data.health), fact("rate", format.rate(data.rate)), fact("errors", format.share(data.error_share))];
    if (kind === "edge") {
      facts.push(fact("p50", format.ms(data.p50_ms)), fact("p95", format.ms(data.p95_ms)), fact("p99", format.ms(data.p99_ms)));
      facts.push(el("p", { class: `security ${data.mtls === false ? "plain" : ""}` }, security(data)));
    } else facts.push(fact("kind", data.kind), data.version ? fact("version", data.version) : null);
    this.#facts.replaceChildren(...facts.filter(Boolean));
  }

  #showCharts(series) {
    const extra = sum(zip(series.attempts, series.calls, (tries, calls) => Math.max(0, tries - calls)));
    this.#charts.replaceChildren(
      chart("Rate", series, [{ name: "calls", values: series.rate, style: "a" }], format.rate),
      chart("Errors", series, [{ name: "share", values: series.error_share, style: "bad" }], format.share, 0.01),
      chart("Latency", series, [
        { name: "p50", values: series.p50_ms, style: "a" },
        { name: "p95", values: series.p95_ms, style: "b" },
        { name: "p99", values: series.p99_ms, style: "c" },
      ], format.ms),
      chart("Attempts against calls", series, [
        { name: "calls", values: series.calls, style: "a" },
        { name: "attempts", values: series.attempts, style: "b" },
      ], short),
      chart("Success", series, [
        { name: "of calls", values: series.error_share.map((share) => (format.isNumber(share) ? 1 - share : null)), style: "a" },
        { name: "of attempts", values: ofAttempts(series), style: "b" },
      ], format.share, 1),
    );
    if (extra >= 0.5) this.#charts.append(el("p", { class: "none" }, `${short(extra)} attempts more than calls in this time: retries hide failures from callers.`));
  }

  #showRest(detail, kind, id, whole) {
    const open = new Set([...this.#rest.querySelectorAll("details[open]")].map((item) => item.dataset.key));
    this.#rest.replaceChildren(
      ...section("Endpoints", detail.endpoints, endpoints, "No caller of the mesh tells of one yet."),
      ...section("Policies that apply", detail.policies, (policies) => el("div", {}, ...policies.map((policy) => policyText(policy))), "No policy names this: Istio's defaults hold."),
      ...this.#neighbours(kind, id),
    );
    if (!whole) for (const item of this.#rest.querySelectorAll("details")) item.open = open.has(item.dataset.key);
  }

  #neighbours(kind, id) {
    if (kind !== "node") return [];
    const edges = [...this.#does.scene.edges.values()].map((edge) => edge.data);
    const list = (title, found, end) =>
      section(title, found, () => el("ul", { class: "neighbours" }, ...found.map((edge) =>
        el("li", {}, el("button", { type: "button", class: "link", onclick: () => this.#does.open("edge", edge.id) }, edge[end]), ` ${format.rate(edge.rate)}`, mark(edge.health)))), "None.");
    return [
      ...list("Called by", edges.filter((edge) => edge.target === id), "source"),
      ...list("Calls", edges.filter((edge) => edge.source === id), "target"),
    ];
  }
}

function section(title, items, draw, none) {
  return [el("h3", {}, title), items.length ? draw(items) : el("p", { class: "none" }, none)];
}

function endpoints(items) {
  const rows = items.map((item) =>
    el("tr", { class: item.ejected ? "out" : null }, el("td", { class: "code" }, item.address), el("td", { class: "number" }, format.rate(item.rate)),
      el("td", { class: "number" }, format.share(item.error_share)),
      el("td", {}, item.ejected ? el("span", { class: "mark bad" }, el("span", { class: "glyph", "aria-hidden": "true" }, "⏏"), el("span", { title: "workers that have it ejected now; each decides for itself" }, `ejected by ${item.ejected_by}`)) : "in")));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Endpoints" }, el("table", {},
    el("thead", {}, el("tr", {}, ...["Address", "Attempts", "Failed", "State"].map((head, i) => el("th", { scope: "col", class: i > 0 && i < 3 ? "number" : null }, head)))),
    el("tbody", {}, ...rows)));
}

function fact(name, value) {
  return el("span", { class: "fact" }, el("span", {}, name), el("b", {}, value));
}

/** Of each step the share of attempts that were answered well: each good call has one of those. */
function ofAttempts({ calls, attempts, error_share: errors }) {
  return zip(attempts, calls, (tries, count, i) => (tries > 0 && format.isNumber(errors[i]) ? Math.min(1, (count * (1 - errors[i])) / tries) : null));
}

function zip(some = [], others = [], join) {
  return some.map((value, i) => (format.isNumber(value) && format.isNumber(others[i]) ? join(value, others[i], i) : null));
}

function sum(values) {
  return values.filter(format.isNumber).reduce((total, value) => total + value, 0);
}

function short(value) {
  return format.isNumber(value) ? (value >= 100 ? value.toFixed(0) : String(Math.round(value * 10) / 10)) : "–";
}
