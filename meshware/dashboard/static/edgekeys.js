// Edges by keyboard: from a service through its calls, one after the other, and back.
//
// Two thousand edges in the tab order would bury all else, so none is in it. E on a service goes to
// its first call, arrows to the next or the one before, Enter opens it, Escape goes back.

import * as format from "./format.js";
import { WORDS } from "./dom.js";
import { security } from "./scene.js";

const STEPS = { ArrowRight: 1, ArrowDown: 1, e: 1, E: 1, ArrowLeft: -1, ArrowUp: -1 };

export class EdgeKeys {
  #scene;
  #node = null; // whose calls are gone through
  #at = null;

  constructor(scene) {
    this.#scene = scene;
  }

  /** The edge that has focus; null where none has. */
  get current() {
    return this.#at;
  }

  /** Focus the first call of a node, calls that come in first. */
  enter(node) {
    const [first] = this.#calls(node);
    if (first) this.#focus(node, first);
    return Boolean(first);
  }

  /** Go on from the focused edge by a key; false where the key is for somebody else. */
  key(key) {
    const calls = this.#node ? this.#calls(this.#node) : [];
    const index = calls.findIndex((edge) => edge.data.id === this.#at);
    if (index < 0) return false;
    if (key === "Escape") {
      this.#node.group.focus();
      return true;
    }
    if (!(key in STEPS)) return false;
    this.#focus(this.#node, calls[(index + STEPS[key] + calls.length) % calls.length]);
    return true;
  }

  left() {
    this.#at = null;
  }

  #calls(node) {
    const id = node.data.id;
    const shown = [...this.#scene.edges.values()].filter((edge) => !edge.hidden);
    const out = shown.filter((edge) => edge.data.source === id);
    return [...shown.filter((edge) => edge.data.target === id && edge.data.source !== id), ...out];
  }

  #focus(node, edge) {
    const { data, group } = edge;
    // Names are given when somebody comes by: a name on each would be written anew each second.
    group.setAttribute("tabindex", "-1");
    group.setAttribute("role", "button");
    const does = this.#scene.nodes.get(data.target)?.data.kind === "version" ? "has calls answered by" : "calls";
    group.setAttribute("aria-label", `${data.source} ${does} ${data.target}: ${WORDS[data.health] ?? data.health}, ${format.rate(data.rate)}, ${format.share(data.error_share)} errors. ${security(data)}`);
    group.focus();
    this.#node = node;
    this.#at = data.id;
  }
}
