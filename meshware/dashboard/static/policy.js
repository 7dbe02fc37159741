// Policy: what was refused, what `meshware check` finds, what changed, and all resources.

import { get } from "./api.js";
import { el, empty } from "./dom.js";
import * as format from "./format.js";
import { policyText } from "./policytext.js";

const GLYPH = { error: "◆", warning: "▲", info: "○" };
const CLASS = { error: "bad", warning: "warn", info: "idle" };

export class Policy {
  title = "Policy";
  #root = null;
  #top = el("div");
  #list = el("div", { class: "card", id: "resources" });
  #count = el("span", { class: "count", role: "status" });
  #search = el("input", { type: "search", placeholder: "Kind, name, file or text", "aria-label": "Find a resource", oninput: () => this.#filter() });
  #resources = [];
  #told = "";

  show(main) {
    this.#root ??= el("div", { class: "page" }, this.#top, el("h2", {}, "Resources"), el("div", { class: "tools" }, this.#search, this.#count), this.#list);
    if (this.#root.parentNode !== main) main.append(this.#root);
    this.#fetch();
  }

  hide() {}

  onPolicy() {
    this.#fetch();
  }

  onState(state) {
    if (state === "live") this.#fetch();
  }

  async #fetch() {
    let answer;
    try {
      answer = await get("policy");
    } catch (error) {
      this.#top.replaceChildren(empty("No policy to show", error.message));
      return;
    }
    this.#top.replaceChildren(...refused(answer.refused), ...findings(answer.findings), ...changes(answer.changes, answer.generation));
    const told = JSON.stringify(answer.resources);
    if (told === this.#told) return; // what is unfolded stays so
    this.#told = told;
    const open = new Set([...this.#list.querySelectorAll("details[open]")].map((item) => item.dataset.key));
    this.#resources = answer.resources.map((resource) => ({ resource, element: policyText(resource) }));
    this.#list.replaceChildren(...this.#resources.map((item) => item.element));
    for (const { element } of this.#resources) element.open = open.has(element.dataset.key);
    if (!this.#resources.length) this.#list.append(empty("No policy", "Put YAML of Istio's kinds where `meshware sync` reads (see `meshware init`); it is published when the file is saved."));
    this.#filter();
  }

  #filter() {
    const query = this.#search.value.trim().toLowerCase();
    let shown = 0;
    for (const { resource, element } of this.#resources) {
      const text = `${resource.kind} ${resource.namespace}/${resource.name} ${resource.file} ${resource.text}`.toLowerCase();
      element.hidden = !text.includes(query);
      shown += element.hidden ? 0 : 1;
    }
    this.#count.textContent = shown === this.#resources.length ? `${shown}` : `${shown} of ${this.#resources.length}`;
  }
}

function refused(refusal) {
  if (!refusal) return [];
  const { problems } = refusal;
  return [el("section", { class: "alert", role: "alert" },
    el("h2", {}, "The newest policy was refused"),
    el("p", {}, "Since ", format.time(refusal.since), `: ${refusal.reason}. The one before it is still in force. Mend what is named here and save.`),
    problems.length ? el("ul", {}, ...problems.map((problem) => el("li", {}, `${where(problem)}: ${problem.message}`))) : null)];
}

function findings(found) {
  const head = el("h2", {}, "Findings", el("small", {}, found.length ? "as `meshware check` prints them" : ""));
  if (!found.length) return [head, el("p", { class: "none" }, "None: `meshware check` has nothing to say.")];
  return [head, el("ul", { class: "findings card" }, ...found.map((problem) =>
    el("li", { "data-code": problem.code },
      el("span", { class: `mark ${CLASS[problem.severity] ?? "idle"}` }, el("span", { class: "glyph", "aria-hidden": "true" }, GLYPH[problem.severity] ?? "○"), problem.severity),
      el("span", {}, problem.message),
      el("span", { class: "where" }, [where(problem), problem.field, place(problem), problem.code].filter(Boolean).join(" · ")))))];
}

function where(problem) {
  return `${problem.kind ?? ""} ${problem.namespace ? `${problem.namespace}/` : ""}${problem.name ?? ""}`.trim();
}

function place(problem) {
  return problem.file ? `${problem.file}${problem.line ? `:${problem.line}` : ""}` : "";
}

function changes(list, generation) {
  const head = el("h2", {}, "Changes", el("small", {}, `generation ${generation}`));
  if (!list.length) return [head, el("p", { class: "none" }, "Nothing has changed since the daemon started.")];
  const newest = [...list].sort((a, b) => b.generation - a.generation);
  return [head, el("ol", { class: "changes card" }, ...newest.slice(0, 20).map((change) =>
    el("li", { "data-generation": change.generation }, el("b", {}, `${change.generation}`), format.time(change.at),
      el("span", {}, ...["added", "changed", "removed"].flatMap((what) => change[what].map((item) =>
        el("span", { class: `change ${what}` }, el("b", {}, { added: "+", changed: "~", removed: "−" }[what]), item, el("small", {}, ` ${what}`))))))))];
}
