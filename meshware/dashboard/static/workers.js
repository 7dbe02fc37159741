// Every worker of every workload; what is out of step with the mesh stands out, and comes first.

import { get } from "./api.js";
import { el, empty } from "./dom.js";
import * as format from "./format.js";

const EVERY = 2; // ticks between two fetches
const SOON_S = 600; // a certificate that ends sooner should have been renewed: rotation is at half its life
const LAGS_S = 0.1; // a request that waits this long for its thread or loop is felt

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
      this.#root.replaceChildren(empty("No workers", "Start an app with `meshware run -- …` or add the middleware and set MESHWARE_RUN_DIR: each process reports here as it starts."));
      return;
    }
    const rows = workers.map((worker) => ({ worker, troubles: troubles(worker, generation) }));
    rows.sort((a, b) => b.troubles.length - a.troubles.length || name(a.worker).localeCompare(name(b.worker)));
    const out = rows.filter((row) => row.troubles.length).length;
    this.#root.replaceChildren(
      el("h2", {}, "Workers", el("small", {}, `${workers.length} running, ${out ? `${out} need a look` : "all in step"}; the mesh is at generation ${generation}`)),
      el("div", { class: "scroll card", tabindex: "0", role: "region", "aria-label": "Workers" }, el("table", {},
        el("thead", {}, el("tr", {}, ...["Workload", "Process", "State", "Policy", "Certificate ends", "Lag", "Memory", "Address", "Started"].map((head) =>
          el("th", { scope: "col", class: head === "Lag" || head === "Memory" ? "number" : null }, head)))),
        el("tbody", {}, ...rows.map((row) => line(row, generation))))),
    );
  }
}

function line({ worker, troubles: found }, generation) {
  const behind = generation - worker.generation;
  const state = found.length
    ? el("td", {}, ...found.map((text) => el("div", { class: "mark warn" }, el("span", { class: "glyph", "aria-hidden": "true" }, "▲"), text)), refusals(worker))
    : el("td", {}, el("span", { class: "mark good" }, el("span", { class: "glyph", "aria-hidden": "true" }, "●"), worker.state || "in step"));
  return el("tr", { class: found.length ? "behind" : null, "data-worker": worker.id },
    el("td", {}, worker.workload, el("small", {}, worker.namespace)),
    el("td", {}, `pid ${worker.pid}`, el("small", {}, worker.version ? `meshware ${worker.version}` : worker.id)),
    state,
    el("td", { class: "nowrap" }, String(worker.generation ?? "–"), behind > 0 ? el("small", {}, `${behind} behind`) : null),
    el("td", { class: "nowrap" }, worker.certificate_until ? format.time(worker.certificate_until) : "none"),
    el("td", { class: "number" }, format.ms(format.isNumber(worker.lag_s) ? worker.lag_s * 1000 : null)),
    el("td", { class: "number" }, format.bytes(worker.memory_bytes)),
    el("td", { class: "code nowrap" }, worker.address ? `${worker.address}${worker.port ? `:${worker.port}` : ""}` : "–"),
    el("td", { class: "nowrap" }, format.time(worker.started_at)));
}

function refusals(worker) {
  if (!worker.refusals?.length) return null;
  return el("details", {}, el("summary", {}, "What it refused"), el("ul", {}, ...worker.refusals.map((item) => el("li", {}, text(item)))));
}

function text(item) {
  if (typeof item !== "object" || item === null) return String(item);
  return item.message ?? item.reason ?? JSON.stringify(item);
}

function troubles(worker, generation) {
  const found = [];
  if (worker.generation < generation) found.push("out of step");
  if (worker.refusals?.length) found.push("refused policy");
  const until = format.instant(worker.certificate_until);
  if (until !== null && until - Date.now() / 1000 < SOON_S) found.push(until * 1000 < Date.now() ? "certificate ended" : "certificate ends soon");
  if (worker.lag_s > LAGS_S) found.push("slow to answer");
  if (["stopped", "dead", "lost", "refused"].includes(worker.state)) found.push(worker.state);
  return found;
}

function name(worker) {
  return `${worker.namespace}/${worker.workload} ${worker.pid}`;
}
