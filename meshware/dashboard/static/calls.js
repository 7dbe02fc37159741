// Refused and failed calls, newest first, each with why.

import { get } from "./api.js";
import { el, empty } from "./dom.js";
import * as format from "./format.js";

const AT_MOST = 300;
const FACTS = [
  ["Reason", "reason"], ["Policy", "policy"], ["Rule", "rule"], ["Place", "place"], ["Caller", "principal"],
  ["Host", "host"], ["Request id", "request_id"], ["Trace", "trace_id"], ["Reported by", "reporter"],
];

export class Calls {
  title = "Calls";
  #root = null;
  #list = el("div", { class: "calls card" });
  #count = el("span", { class: "count", role: "status" });
  #search = el("input", { type: "search", placeholder: "Workload, path, policy, reason…", "aria-label": "Find calls", oninput: () => this.#filter() });
  #rows = new Map(); // key -> {element, text}
  #stale = false;

  show(main) {
    this.#root ??= el("div", { class: "page" }, el("h2", {}, "Refused and failed calls", el("small", {}, "newest first")), el("div", { class: "tools" }, this.#search, this.#count), this.#list);
    if (this.#root.parentNode !== main) main.append(this.#root);
    this.#fetch();
  }

  hide() {}

  onCall() {
    this.#stale = true; // fetched once with the next tick, however many there were
  }

  onTick() {
    if (this.#stale) this.#fetch();
  }

  onState(state) {
    if (state === "live") this.#fetch();
  }

  async #fetch() {
    this.#stale = false;
    let answer;
    try {
      answer = await get("calls");
    } catch (error) {
      this.#rows.clear();
      this.#list.replaceChildren(empty("No calls to show", error.message));
      return;
    }
    const rows = new Map();
    for (const call of answer.calls.slice(0, AT_MOST)) {
      const id = key(call);
      rows.set(id, this.#rows.get(id) ?? { element: row(call), text: words(call) });
    }
    this.#rows = rows;
    if (!rows.size) this.#list.replaceChildren(empty("No call was refused or failed", "When one is, it stands here with the rule that decided."));
    else place(this.#list, [...rows.values()].map((item) => item.element));
    this.#filter();
  }

  #filter() {
    const query = this.#search.value.trim().toLowerCase();
    let shown = 0;
    for (const { element, text } of this.#rows.values()) {
      element.hidden = !text.includes(query);
      shown += element.hidden ? 0 : 1;
    }
    this.#count.textContent = shown === this.#rows.size ? `${shown}` : `${shown} of ${this.#rows.size}`;
  }
}

/** Bring children into this order, moving only what is not in its place: focus and folds stay. */
function place(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((element, i) => {
    if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
  });
}

function key(call) {
  return [call.at, call.reporter, call.request_id, call.workload, call.status, call.path].join("|");
}

function words(call) {
  return Object.values(call).map((value) => (typeof value === "object" ? JSON.stringify(value) : String(value))).join(" ").toLowerCase();
}

function row(call) {
  const flags = Array.isArray(call.flags) ? call.flags.join(",") : call.flags;
  const details = el("details", {},
    el("summary", {},
      format.time(call.at),
      el("span", { class: `status ${call.status >= 500 || !call.status ? "bad" : "warn"}` }, String(call.status || "–")),
      el("span", { class: "flags", title: "response flags, as in Envoy's access log" }, flags || "–"),
      el("span", { title: call.direction }, `${call.direction === "outbound" ? "from" : "to"} ${call.workload}`),
      el("span", { class: "code", title: `${call.method} ${call.path}` }, `${call.method} ${call.path}`),
      el("span", { title: call.reason ?? "" }, [call.reason, call.policy].filter(Boolean).join(" · "))));
  details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(why(call)));
  return details;
}

function why(call) {
  const facts = FACTS.filter(([, field]) => call[field] !== null && call[field] !== undefined && call[field] !== "");
  return el("div", { class: "why" },
    el("dl", {}, el("dt", {}, "At"), el("dd", {}, format.absolute(call.at)),
      ...facts.flatMap(([name, field]) => [el("dt", {}, name), el("dd", {}, field === "trace_id" ? el("a", { href: `#/traces/${encodeURIComponent(call.trace_id)}` }, call.trace_id) : String(call[field]))])),
    ...reasons(call.why));
}

/** The decision record: text as it is, lists line by line, records as names and values. */
function reasons(record) {
  if (record === null || record === undefined || record === "") return [];
  if (typeof record === "string") return [el("pre", {}, record)];
  if (Array.isArray(record)) return [el("pre", {}, record.map((item) => (typeof item === "string" ? item : JSON.stringify(item))).join("\n"))];
  return [el("dl", {}, ...Object.entries(record).flatMap(([name, value]) => [
    el("dt", {}, name.replaceAll("_", " ")),
    el("dd", {}, typeof value === "object" && value !== null ? el("pre", {}, JSON.stringify(value, null, 2)) : String(value)),
  ]))];
}
