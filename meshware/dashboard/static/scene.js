// The drawing of the graph: one SVG group for each node, one path for each edge.
// Numbers are changed in place; elements are made anew only when nodes or edges come or go.

import { GLYPHS, WORDS, setAttribute, setText, svg } from "./dom.js";
import { NODE_HEIGHT, NODE_WIDTH, curve, path, place } from "./curves.js";
import * as format from "./format.js";

const KINDS = { service: "", version: "version", outside: "outside", unknown: "caller", ingress: "ingress" };
const SHAPES = {
  good: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z",
  warn: "M0-6L6 5H-6Z",
  bad: "M0-6.5L6.5 0L0 6.5L-6.5 0Z",
  idle: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z",
};

export class Scene {
  nodes = new Map(); // id -> {data, at, group, ...}
  edges = new Map(); // id -> {data, curve, group, line, from, to}
  root = svg("g", { class: "world" });
  focusing = false; // whether some of it is brought out, and the rest steps back
  #upright = false;
  #edgeLayer = svg("g", { class: "edges" });
  #nodeLayer = svg("g", { class: "nodes", role: "group", "aria-label": "Services" });

  constructor(labelLayer) {
    this.root.append(this.#edgeLayer, this.#nodeLayer, labelLayer);
  }

  /** Draw a graph of the API; elements of what stays are kept, and so is focus. */
  load(graph, upright) {
    this.#upright = upright;
    this.#loadNodes(graph.nodes);
    this.#loadEdges(graph.edges);
  }

  #loadNodes(nodes) {
    const seen = new Set(nodes.map((node) => node.id));
    for (const [id, drawn] of this.nodes) {
      if (!seen.has(id)) {
        drawn.group.remove();
        this.nodes.delete(id);
      }
    }
    for (const data of nodes) {
      let drawn = this.nodes.get(data.id);
      if (!drawn) {
        drawn = this.#makeNode(data);
        this.nodes.set(data.id, drawn);
        this.#nodeLayer.append(drawn.group);
      }
      drawn.data = data;
      drawn.at = place(data, this.#upright);
      setAttribute(drawn.group, "transform", `translate(${drawn.at.x} ${drawn.at.y})`);
      this.updateNode(data.id);
    }
  }

  #makeNode(data) {
    const shape = svg("path", { class: "shape", transform: `translate(${-NODE_WIDTH / 2 + 14} 0)` });
    const numbers = svg("text", { class: "numbers", x: -NODE_WIDTH / 2 + 28, y: 13 });
    const label = data.kind === "version" ? `${data.name} ${data.version ?? ""}`.trim() : data.name;
    const title = svg("title");
    const group = svg(
      "g",
      { class: `node ${data.kind}`, tabindex: "-1", role: "button", "data-id": data.id },
      title,
      svg("rect", {
        x: -NODE_WIDTH / 2, y: -NODE_HEIGHT / 2, width: NODE_WIDTH, height: NODE_HEIGHT,
        rx: data.kind === "outside" ? NODE_HEIGHT / 2 : 8,
      }),
      shape,
      svg("text", { class: "name", x: -NODE_WIDTH / 2 + 28, y: -3 }, format.shorten(label, data.kind === "outside" ? 14 : 15)),
      numbers,
    );
    return { data, group, shape, numbers, title, label };
  }

  #loadEdges(edges) {
    const seen = new Set(edges.map((edge) => edge.id));
    for (const [id, drawn] of this.edges) {
      if (!seen.has(id)) {
        drawn.group.remove();
        this.edges.delete(id);
      }
    }
    for (const data of edges) {
      const from = this.nodes.get(data.source);
      const to = this.nodes.get(data.target);
      if (!from || !to) continue;
      let drawn = this.edges.get(data.id);
      if (!drawn) {
        const line = svg("path", { class: "line" });
        const group = svg("g", { class: "edge", "data-id": data.id }, line);
        drawn = { group, line };
        this.edges.set(data.id, drawn);
        this.#edgeLayer.append(group);
      }
      Object.assign(drawn, { data, from, to, curve: curve(from.at, to.at, this.#upright) });
      setAttribute(drawn.line, "d", path(drawn.curve));
      this.updateEdge(data.id);
    }
  }

  /** Show a node's numbers as they are in its data. */
  updateNode(id) {
    const { data, group, shape, numbers, title, label } = this.nodes.get(id);
    const idle = data.health === "idle";
    setAttribute(group, "data-health", data.health);
    setAttribute(shape, "d", SHAPES[data.health] ?? SHAPES.idle);
    const kind = KINDS[data.kind] ? `${KINDS[data.kind]} · ` : "";
    const errors = data.error_share > 0 ? ` · ${format.share(data.error_share)} errors` : "";
    setText(numbers, idle ? `${kind}idle` : `${kind}${format.rate(data.rate)}${kind ? errors.replace(" errors", "") : errors}`);
    const words = `${label}${data.namespace ? `, namespace ${data.namespace}` : ""}: ${WORDS[data.health] ?? data.health}, ${format.rate(data.rate)}, ${format.share(data.error_share)} errors`;
    setAttribute(group, "aria-label", words);
    setText(title, `${GLYPHS[data.health] ?? ""} ${words}`);
  }

  /** Show an edge's numbers as they are in its data. */
  updateEdge(id) {
    const { data, group, line } = this.edges.get(id);
    setAttribute(group, "data-health", data.health);
    setAttribute(line, "stroke-width", String(weight(data.rate)));
  }

  /** The box around what is shown; null where nothing is. */
  bounds() {
    const shown = this.#shown();
    return shown.length ? around(shown) : null;
  }

  /** The box around as much of what is shown as a room of graph units holds: where most is called. */
  busiest({ width, height }) {
    const shown = this.#shown();
    let best = [];
    let most = -1;
    for (const { at } of shown) {
      const near = shown.filter((other) =>
        2 * Math.abs(other.at.x - at.x) + NODE_WIDTH <= width && 2 * Math.abs(other.at.y - at.y) + NODE_HEIGHT <= height);
      const rate = near.reduce((sum, node) => sum + (node.data.rate || 0), 0);
      if (rate > most) [best, most] = [near, rate];
    }
    return around(best);
  }

  #shown() {
    return [...this.nodes.values()].filter((node) => !node.hidden);
  }

  /** Hide what a filter leaves out: `keep` says of each node's data whether it stays. */
  filter(keep) {
    for (const node of this.nodes.values()) node.hidden = !keep(node.data);
    for (const edge of this.edges.values()) {
      edge.hidden = edge.from.hidden && edge.to.hidden;
    }
    // The other end of a shown edge stays, dimmed: a call to nowhere tells nothing.
    const ends = new Set();
    for (const edge of this.edges.values()) if (!edge.hidden) ends.add(edge.from).add(edge.to);
    for (const node of this.nodes.values()) {
      node.group.classList.toggle("aside", node.hidden && ends.has(node));
      node.group.classList.toggle("gone", node.hidden && !ends.has(node));
      node.hidden = node.hidden && !ends.has(node);
    }
    for (const edge of this.edges.values()) edge.group.classList.toggle("gone", edge.hidden);
  }
}

/** The box around some nodes. */
function around(nodes) {
  const xs = nodes.map((node) => node.at.x);
  const ys = nodes.map((node) => node.at.y);
  return {
    left: Math.min(...xs) - NODE_WIDTH / 2, right: Math.max(...xs) + NODE_WIDTH / 2,
    top: Math.min(...ys) - NODE_HEIGHT / 2, bottom: Math.max(...ys) + NODE_HEIGHT / 2,
  };
}

/** Whether an edge is mutual TLS, and between whom. */
export function security(edge) {
  if (edge.mtls === true) {
    return `mTLS: ${edge.source_principal || "unknown"} → ${edge.target_principal || "unknown"}`;
  }
  return edge.mtls === false ? "Plain text: neither end is authenticated" : "Security not known";
}

function weight(rate) {
  return Math.round((1.2 + Math.min(2.4, Math.log10(1 + Math.max(0, rate || 0)))) * 10) / 10;
}
