// Refused and failed calls, newest first, each with why: what was decided, and what policy says now.

import { get } from "./api.js";
import { el, empty } from "./dom.js";
import * as format from "./format.js";
import { explanation, record } from "./why.js";

const AT_MOST = 300;

export class Calls {
  title = "Calls";
  #root = null;
  #list = el("div", { class: "calls card" });
  #count = el("span", { class: "count", role: "status" });
  #search = el("input", { type: "search", placeholder: "Workload, path, policy, reason…", "aria-label": "Find calls", oninput: () => this.#filter() });
  #namespace = el("select", { "aria-label": "Namespace", onchange: () => this.#filter() });
  #outcome = el("select", { "aria-label": "What happened", onchange: () => this.#filter() },
    el("option", { value: "" }, "Refused and failed"), el("option", { value: "refused" }, "Refused by the mesh"), el("option", { value: "failed" }, "Failed"));
  #rows = new Map(); // id -> {call, element, text}
  #cursor = "";
  #leftOut = 0; // since the newest
  #stale = false;
  #asking = false;

  show(main) {
    this.#root ??= el("div", { class: "page" }, el("h2", {}, "Refused and failed calls", el("small", {}, "newest first")), el("div", { class: "tools" }, this.#search, this.#namespace, this.#outcome, this.#count), this.#list);
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

  onPolicy() {
    // What stands open is asked anew: it says what policy says now.
    for (const open of this.#list.querySelectorAll("details[open] > .why")) open.dispatchEvent(new Event("ask"));
  }

  onState(state) {
    if (state === "live") this.#fetch();
  }

  async #fetch() {
    if (this.#asking) {
      this.#stale = true;
      return;
    }
    this.#stale = false;
    this.#asking = true;
    try {
      this.#take(await get("calls", { limit: AT_MOST, ...(this.#cursor ? { since: this.#cursor } : {}) }));
    } catch (error) {
      this.#cursor = "";
      this.#list.replaceChildren(empty("No calls to show", error.message));
      this.#count.textContent = "";
    } finally {
      this.#asking = false;
    }
  }

  /** Take up what came since, or everything where the daemon is another one. */
  #take(answer) {
    const before = this.#rows;
    if (!this.#cursor || answer.is_whole) this.#rows = new Map();
    this.#cursor = answer.cursor;
    this.#leftOut = answer.left_out;
    for (const call of answer.calls) this.#rows.set(call.id, before.get(call.id) ?? { call, element: row(call), text: words(call) }); // what stands open stays so
    const newest = [...this.#rows.entries()].sort(([, a], [, b]) => b.call.at - a.call.at || b.call.seen - a.call.seen);
    this.#rows = new Map(newest.slice(0, AT_MOST));
    if (!this.#rows.size) this.#list.replaceChildren(empty("No call was refused or failed", "When one is, it stands here with the rule that decided."));
    else place(this.#list, [...this.#rows.values()].map((item) => item.element));
    this.#offerNamespaces();
    this.#filter();
  }

  #offerNamespaces() {
    const names = [...new Set([...this.#rows.values()].map(({ call }) => call.namespace))].sort();
    const told = names.join(" ");
    if (this.#namespace.dataset.told === told) return;
    this.#namespace.dataset.told = told;
    const chosen = this.#namespace.value;
    this.#namespace.replaceChildren(el("option", { value: "" }, "All namespaces"), ...names.map((name) => el("option", { value: name }, name)));
    this.#namespace.value = names.includes(chosen) ? chosen : "";
  }

  #filter() {
    const query = this.#search.value.trim().toLowerCase();
    let shown = 0;
    for (const { call, element, text } of this.#rows.values()) {
      element.hidden = !text.includes(query) ||
        (this.#namespace.value !== "" && call.namespace !== this.#namespace.value) ||
        (this.#outcome.value !== "" && call.outcome !== this.#outcome.value);
      shown += element.hidden ? 0 : 1;
    }
    const since = this.#leftOut ? ` · ${this.#leftOut} more since were not kept one by one` : "";
    this.#count.textContent = (shown === this.#rows.size ? `${shown}` : `${shown} of ${this.#rows.size}`) + since;
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

function words(call) {
  return Object.values(call).map((value) => (typeof value === "object" ? JSON.stringify(value) : String(value))).join(" ").toLowerCase();
}

function row(call) {
  const outbound = call.direction === "outbound";
  const what = `${call.method} ${outbound ? call.service ?? call.host : ""}${call.path}`;
  const because = reasons(call).filter(Boolean).join(" · ");
  const details = el("details", { "data-id": call.id },
    el("summary", {},
      format.time(call.at),
      el("span", { class: `status ${call.status >= 500 || !call.status ? "bad" : "warn"}` }, String(call.status || "–")),
      el("span", { class: "flags", title: "response flags, as in Envoy's access log" }, call.flags && call.flags !== "-" ? call.flags : call.outcome),
      el("span", { title: `${call.namespace}/${call.workload}` }, `${outbound ? "from" : "to"} ${call.workload}`),
      el("span", { class: "code", title: what }, what),
      el("span", { title: because }, because)));
  if (call.left_out) details.querySelector("summary").append(el("span", { class: "left-out" }, `${call.left_out} more before it were not kept one by one`));
  details.addEventListener("toggle", () => details.open && details.children.length === 1 && details.append(why(call)));
  return details;
}

/** Why, in as few words as there are. */
function reasons(call) {
  if (call.direction === "inbound" && call.outcome === "failed") return [call.exception ?? "answered so by the app", call.route];
  if (call.direction === "inbound") return [call.policy && `${call.policy} rule ${call.rule ?? "–"}`, call.reason];
  const last = call.tries.at(-1);
  return [call.reason, last?.failure && [last.failure, last.detail].filter(Boolean).join(": "), call.attempts > 1 && `${call.attempts} attempts`, call.route && `route ${call.route}`];
}

/** Record and explanation side by side; the daemon is asked when somebody looks. */
function why(call) {
  const head = el("h3", {}, "What policy says now");
  const now = el("section", { class: "now", "aria-label": "What policy says now" }, head, el("p", { class: "none" }, "Asking policy…"));
  const ask = () => {
    now.setAttribute("aria-busy", "true");
    get("why", { id: call.id }).then(
      (answer) => now.replaceChildren(head, ...explanation(answer)),
      (error) => now.replaceChildren(head, el("p", { class: "none" }, error.message)),
    ).finally(() => now.removeAttribute("aria-busy"));
  };
  ask();
  return el("div", { class: "why", onask: ask }, el("section", { "aria-label": "What was decided" }, el("h3", {}, "What was decided"), ...record(call)), now);
}
