// Numbers beside edges. Two thousand of them are neither legible nor cheap, so only those are
// drawn that are in view when zoomed in, with room; and always what is hovered or selected.

import { NODE_HEIGHT, NODE_WIDTH, at } from "./curves.js";
import { setAttribute, setText, svg } from "./dom.js";
import * as format from "./format.js";
import { security } from "./scene.js";

const ZOOMED_IN = 0.5;
const SPOTS = [0.5, 0.4, 0.6, 0.3, 0.7]; // along the curve, tried in this order
const AT_MOST = 70;
const HEIGHT = 19;
const CLOSED = "M-4-1h8v6h-8zM-2.5-1v-2a2.5 2.5 0 0 1 5 0v2";
const OPEN = "M-4-1h8v6h-8zM-2.5-1v-3a2.5 2.5 0 0 1 4.8-1";

export class Labels {
  layer = svg("g", { class: "labels", "aria-hidden": "true" });
  #drawn = new Map();

  /** Choose what gets a label and draw those. `wanted` are ids that get one in any case. */
  update(scene, camera, wanted) {
    // Far away, a label is drawn larger than life, to be read.
    const scale = Math.max(1, 0.8 / camera.k);
    const chosen = this.#choose(scene, camera, wanted, scale);
    for (const [id, label] of this.#drawn) {
      if (!chosen.has(id)) {
        label.group.remove();
        this.#drawn.delete(id);
      }
    }
    for (const [id, spot] of chosen) this.#draw(id, scene.edges.get(id).data, spot, scale);
  }

  #choose(scene, camera, wanted, scale) {
    const chosen = new Map();
    const taken = [];
    const view = camera.view(-10);
    const inside = (p) => p.x > view.left && p.x < view.right && p.y > view.top && p.y < view.bottom;
    const put = (edge, must) => {
      for (const t of SPOTS) {
        const spot = at(edge.curve, t);
        const place = box(spot, edge.data, scale);
        if (!inside(spot) || taken.some((other) => overlap(place, other))) continue;
        chosen.set(edge.data.id, spot);
        taken.push(place);
        return;
      }
      if (must) chosen.set(edge.data.id, at(edge.curve, 0.5));
    };
    for (const id of wanted) {
      const edge = scene.edges.get(id);
      if (edge && !edge.hidden) put(edge, wanted.length === 1);
    }
    if (camera.k < ZOOMED_IN) return chosen;
    for (const node of scene.nodes.values()) {
      if (!node.hidden && inside(node.at)) {
        taken.push([node.at.x - NODE_WIDTH / 2, node.at.y - NODE_HEIGHT / 2, NODE_WIDTH, NODE_HEIGHT]);
      }
    }
    const edges = [...scene.edges.values()].filter((edge) => !edge.hidden && !chosen.has(edge.data.id));
    // What is in trouble is told first, then what carries most.
    edges.sort((a, b) => order(b.data) - order(a.data));
    for (const edge of edges) {
      if (chosen.size >= AT_MOST) break;
      put(edge, false);
    }
    return chosen;
  }

  #draw(id, data, spot, scale) {
    let label = this.#drawn.get(id);
    if (!label) {
      const title = svg("title");
      const back = svg("rect", { y: -HEIGHT / 2, height: HEIGHT, rx: 5 });
      const lock = svg("path", { class: "lock" });
      const text = svg("text", { y: 4 });
      const group = svg("g", { class: "label", "data-id": id }, title, back, lock, text);
      label = { group, title, back, lock, text };
      this.#drawn.set(id, label);
      this.layer.append(group);
    }
    const width = widthOf(data);
    setAttribute(label.group, "transform", `translate(${spot.x} ${spot.y}) scale(${scale})`);
    setAttribute(label.group, "data-health", data.health);
    setAttribute(label.group, "data-mtls", String(data.mtls));
    setAttribute(label.back, "x", String(-width / 2));
    setAttribute(label.back, "width", String(width));
    setAttribute(label.lock, "d", data.mtls === true ? CLOSED : data.mtls === false ? OPEN : "M-3 0h6");
    setAttribute(label.lock, "transform", `translate(${-width / 2 + 10} 0)`);
    setAttribute(label.text, "x", String(-width / 2 + 20));
    setText(label.text, words(data));
    setText(label.title, security(data));
  }
}

function words(data) {
  if (data.health === "idle") return "idle";
  const parts = [format.rate(data.rate)];
  if (data.error_share > 0) parts.push(`${format.share(data.error_share)} err`);
  if (format.isNumber(data.p95_ms)) parts.push(format.ms(data.p95_ms));
  return parts.join(" · ");
}

function widthOf(data) {
  return 28 + words(data).length * 5.9;
}

function order(data) {
  return (data.health === "bad" ? 1e9 : data.health === "warn" ? 1e8 : 0) + (data.rate || 0);
}

function box(spot, data, scale) {
  const width = (widthOf(data) + 4) * scale;
  const height = (HEIGHT + 4) * scale;
  return [spot.x - width / 2, spot.y - height / 2, width, height];
}

function overlap(a, b) {
  return a[0] < b[0] + b[2] && b[0] < a[0] + a[2] && a[1] < b[1] + b[3] && b[1] < a[1] + a[3];
}
