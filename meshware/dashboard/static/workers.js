// Every worker of every workload; what is out of step with the mesh stands out, and comes first.

import { get } from "./api.js";
import { el, empty } from "./dom.js";
import * as format from "./format.js";

const EVERY = 2; // ticks between two fetches
const HEADS = ["Workload", "State", "Process", "Version", "Policy", "Certificate ends", "Lag", "Memory", "Calls", "Started"];
const NUMBERS = new Set(["Lag", "Memory", "Calls"]);
const LAGS = { loop: "event loop", thread: "threads" }; // of what the lag is

export class Workers {
  title = "Workers";
  #root = null;
  #ticks = 0;

  show(main) {
    if (!this.#root) {
      this.#root = el("div", { class: "page" });
      this.#root.append(el("p", { class: "none" }, "Loading…"));
    }
    if (this.#root.parentNode !== main) main.append(this.#root);
    this.#fetch();
  }

  hide() {}

  onTick() {
    this.#ticks += 1;
    if (this.#ticks % EVERY === 0) this.#fetch();
  }

  onPolicy() {
    this.#fetch();
  }

  async #fetch() {
    let answer;
    try {
      answer = await get("workers");
    } catch (error) {
      this.#root.replaceChildren(empty("No workers to show", error.message));
      return;
    }
    // A refusal that somebody reads is not pulled away.
    if (this.#root.querySelector("details[open]")) return;
    this.#draw(answer);
  }

  #draw({ generation, workers }) {
    if (!workers.length) {
      this.#root.replaceChildren(empty("No workers", "Start an app with `meshware run -- …` or add the middleware and set MESH_CONFIG to the policy.mesh of this daemon: each process reports here as it starts."));
      return;
    }
    const rows = [...workers];
    rows.sort((a, b) => b.troubles.length - a.troubles.length || name(a).localeCompare(name(b)));
    const out = rows.filter((row) => row.troubles.length).length;
    this.#root.replaceChildren(
      el("h2", {}, "Workers", el("small", {}, `${workers.length} running, ${out ? `${out} need a look` : "all in step"}; the mesh is at generation ${generation}`)),
      el("div", { class: "scroll card", tabindex: "0", role: "region", "aria-label": "Workers" }, el("table", {},
        el("thead", {}, el("tr", {}, ...HEADS.map((head) => el("th", { scope: "col", class: NUMBERS.has(head) ? "number" : null }, head)))),
        el("tbody", {}, ...rows.map(line)))),
    );
  }
}

// What is amiss is decided by the daemon, as `meshware status` tells it; here it is only shown.
function line(worker) {
  const { troubles, certificate } = worker;
  const state = troubles.length
    ? el("td", {}, ...troubles.map((text) => el("div", { class: "mark warn" }, el("span", { class: "glyph", "aria-hidden": "true" }, "▲"), text)), refusals(worker))
    : el("td", {}, el("span", { class: "mark good" }, el("span", { class: "glyph", "aria-hidden": "true" }, "●"), worker.state));
  return el("tr", { class: troubles.length ? "behind" : null, "data-worker": worker.id },
    el("td", { class: "nowrap" }, worker.workload ?? "–", el("small", {}, [worker.namespace, address(worker)].filter(Boolean).join(" · "))),
    state,
    el("td", { class: "nowrap" }, `pid ${worker.pid}`, el("small", {}, worker.server ?? worker.id)),
    el("td", { class: "nowrap" }, worker.version ?? "–", worker.python ? el("small", {}, `Python ${worker.python}`) : null),
    el("td", { class: "nowrap" }, worker.generation === null ? "none" : String(worker.generation), worker.applied_at ? el("small", {}, "applied ", format.time(worker.applied_at)) : null),
    el("td", { class: "nowrap", title: certificate?.id }, certificate ? format.time(certificate.until) : "none", certificate ? el("small", {}, certificate.source) : null),
    el("td", { class: "number" }, format.ms(format.isNumber(worker.lag_s) ? worker.lag_s * 1000 : null), worker.lag_of ? el("small", {}, LAGS[worker.lag_of] ?? worker.lag_of) : null),
    el("td", { class: "number" }, format.bytes(worker.memory_bytes)),
    el("td", { class: "number" }, worker.in_flight === null ? "–" : String(worker.in_flight)),
    el("td", { class: "nowrap" }, format.time(worker.started_at)));
}

function address({ address, port }) {
  if (!address && !port) return null;
  return `${address?.includes(":") ? `[${address}]` : address ?? "*"}:${port ?? "?"}`;
}

function refusals(worker) {
  if (!worker.refusals.length) return null;
  return el("details", {}, el("summary", {}, "What it refused"), el("ul", {}, ...worker.refusals.map((item) => el("li", {}, item.reason))));
}

function name(worker) {
  return `${worker.namespace}/${worker.workload} ${worker.pid}`;
}
