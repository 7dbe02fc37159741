// The same edges as a table: for screen readers always, for everybody when asked for.

import { el, mark, setText } from "./dom.js";
import * as format from "./format.js";
import { security } from "./scene.js";

const HIDDEN_EVERY = 10; // updates, while only screen readers could meet the table

export class EdgeTable {
  #body = el("tbody");
  #rows = new Map();
  #open;
  #shown = false;
  #waiting = new Set();
  #skipped = 0;

  constructor(open) {
    this.#open = open;
    const heads = ["Caller", "Service", "Health", "Rate", "Errors", "p50", "p95", "p99", "Security"];
    this.element = el(
      "div",
      { class: "edge-table unseen", role: "region", "aria-label": "Calls between services, as a table" },
      el("table", {}, el("caption", {}, "Calls between services"),
        el("thead", {}, el("tr", {}, ...heads.map((head, i) => el("th", { scope: "col", class: i > 2 && i < 8 ? "number" : null }, head)))),
        this.#body),
    );
  }

  show(on, root) {
    this.#shown = on;
    this.element.classList.toggle("unseen", !on);
    root.classList.toggle("with-table", on);
    for (const row of this.#rows.values()) row.button.tabIndex = on ? 0 : -1;
    if (on) {
      this.element.tabIndex = 0; // it scrolls, so the keyboard must reach it
      this.#flush();
    } else this.element.removeAttribute("tabindex");
  }

  load(edges) {
    const sorted = [...edges].sort((a, b) => (b.rate || 0) - (a.rate || 0));
    this.#rows.clear();
    this.#body.replaceChildren(...sorted.map((edge) => this.#make(edge)));
  }

  /** Write the numbers of these edges anew. */
  update(ids) {
    for (const id of ids) this.#waiting.add(id);
    if (this.#shown || (this.#skipped += 1) >= HIDDEN_EVERY) this.#flush();
  }

  filter(keep) {
    for (const row of this.#rows.values()) row.element.hidden = !keep(row.edge);
  }

  #flush() {
    this.#skipped = 0;
    for (const id of this.#waiting) {
      const row = this.#rows.get(id);
      if (row) write(row);
    }
    this.#waiting.clear();
  }

  #make(edge) {
    const button = el("button", { type: "button", class: "link", tabindex: this.#shown ? "0" : "-1", onclick: () => this.#open(edge.id) }, edge.target);
    const cells = Array.from({ length: 6 }, (_, i) => el("td", { class: i > 0 ? "number" : null }));
    const element = el("tr", { "data-edge": edge.id }, el("td", {}, edge.source), el("td", {}, button), cells, el("td", { title: security(edge) }, edge.mtls === true ? "mTLS" : edge.mtls === false ? "plain text" : "not known"));
    const row = { edge, button, cells, element, health: null };
    this.#rows.set(edge.id, row);
    write(row);
    return element;
  }
}

function write(row) {
  const { edge, cells } = row;
  if (row.health !== edge.health) {
    row.health = edge.health;
    cells[0].replaceChildren(mark(edge.health));
  }
  setText(cells[1], format.rate(edge.rate));
  setText(cells[2], format.share(edge.error_share));
  setText(cells[3], format.ms(edge.p50_ms));
  setText(cells[4], format.ms(edge.p95_ms));
  setText(cells[5], format.ms(edge.p99_ms));
}
