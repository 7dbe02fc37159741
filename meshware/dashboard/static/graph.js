// The graph view: fetches the graph, keeps the drawing and its table in step with events, and lets
// people move about in it. What is drawn is in scene.js, labels.js and motion.js.

import { get } from "./api.js";
import { Camera } from "./camera.js";
import { el, empty, svg } from "./dom.js";
import { EdgeKeys } from "./edgekeys.js";
import { EdgeTable } from "./edgetable.js";
import { Labels } from "./labels.js";
import { Motion } from "./motion.js";
import { Panel } from "./panel.js";
import { Scene } from "./scene.js";
import { controls, legend } from "./graphcontrols.js";
import { edgeAt, nearest } from "./neighbours.js";

const LEGIBLE = 0.5; // on a phone: smaller, names could not be read, so a part is shown to start with
const WIDE = { around: 36, below: 22 }; // pixels that stay free of the graph
const NARROW = { around: 12, below: 36 }; // the legend lies below

const MANY = 400; // edges: drawing more in each frame of a gesture is felt (130 ms for 2,000)
const RESTS_MS = 140;

export class Graph {
  title = "Graph";
  #labels = new Labels();
  #scene = new Scene(this.#labels.layer);
  #edgeKeys = new EdgeKeys(this.#scene);
  #live;
  #root = null;
  #dirty = { nodes: new Set(), edges: new Set() };
  #frame = 0;
  #hovered = null;
  #selected = null;
  #current = null; // the node that takes part in the tab order
  #fetching = 0;
  #meanwhile = []; // changes that were told since the first of those was asked for
  #moved = false; // whether the reader chose the view, which is then left alone
  #partly = false; // whether a part is shown that was chosen once, and stays while services come and go

  constructor(live) {
    this.#live = live;
  }

  show(main, path) {
    if (!this.#root) this.#build();
    if (this.#root.parentNode !== main) {
      main.append(this.#root);
      this.#motion.shown = true;
      this.onState(this.#live.state);
      this.#fetch();
      new ResizeObserver(() => this.#camera.changed()).observe(this.#stage);
    }
    const [kind, id] = path;
    this.#select(kind === "node" || kind === "edge" ? { kind, id } : null);
  }

  hide() {
    this.#motion.shown = false;
    this.#panel.close();
    this.#selected = null;
  }

  onState(state) {
    this.#motion.live = state === "live";
    this.#motion.wake();
    if (state === "live") this.#fetch();
  }

  onTheme() {
    this.#motion.wake();
  }

  onLayout() {
    this.#fetch();
  }

  onPolicy() {
    this.#panel.refresh();
  }

  onTick() {
    this.#panel.tick();
  }

  /** Numbers that changed: kept until the next frame, whichever number of events come before. */
  onGraph(change) {
    if (this.#fetching) this.#meanwhile.push(change);
    this.#apply(change);
  }

  #apply(change) {
    for (const [id, rate, errors, health] of change.nodes) {
      const node = this.#scene.nodes.get(id);
      if (!node) continue;
      Object.assign(node.data, { rate, error_share: errors, health });
      this.#dirty.nodes.add(id);
    }
    for (const [id, rate, errors, p50, p95, p99, health] of change.edges) {
      const edge = this.#scene.edges.get(id);
      if (!edge) continue;
      Object.assign(edge.data, { rate, error_share: errors, p50_ms: p50, p95_ms: p95, p99_ms: p99, health });
      this.#dirty.edges.add(id);
    }
    this.#frame ||= requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    this.#frame = 0;
    for (const id of this.#dirty.nodes) if (this.#scene.nodes.has(id)) this.#scene.updateNode(id);
    for (const id of this.#dirty.edges) if (this.#scene.edges.has(id)) this.#scene.updateEdge(id);
    this.#table.update(this.#dirty.edges);
    this.#dirty.nodes.clear();
    this.#dirty.edges.clear();
    this.#relabel();
  }

  async #fetch() {
    let graph;
    this.#fetching += 1;
    try {
      graph = await get("graph", { window: 60 });
    } catch (error) {
      this.#fetched();
      if (this.#scene.nodes.size === 0) this.#say("No graph", error.message);
      return;
    }
    const first = this.#scene.nodes.size === 0;
    this.#scene.load(graph, this.#isNarrow());
    this.#table.load(graph.edges);
    for (const change of this.#meanwhile) this.#apply(change); // an answer may be older than these
    this.#fetched();
    this.#controls.load(graph.nodes);
    if (graph.nodes.length === 0) {
      this.#say("No traffic yet", "Start an app with `meshware run`, or call one of its services: what calls what appears here within a second.");
    } else {
      this.#message.hidden = true;
    }
    this.#filter(first || !this.#partly);
    this.#makeCurrent(this.#scene.nodes.get(this.#current) ?? this.#scene.nodes.values().next().value);
    this.#highlight();
  }

  #fetched() {
    this.#fetching -= 1;
    if (!this.#fetching) this.#meanwhile = [];
  }

  #say(title, advice) {
    this.#message.hidden = false;
    this.#message.replaceChildren(empty(title, advice));
  }

  #build() {
    this.#drawing = svg("svg", { class: "drawing", role: "group", "aria-label": "Service graph: arrow keys move between services, Enter opens one, E goes through its calls" }, this.#scene.root);
    const canvas = el("canvas", { class: "motion", "aria-hidden": "true" });
    this.#message = el("div", { class: "message", hidden: true });
    this.#stage = el("div", { class: "stage" }, canvas, this.#drawing, this.#message, legend());
    this.#camera = new Camera(this.#stage, () => this.#look());
    this.#motion = new Motion(canvas, this.#scene, this.#camera);
    this.#table = new EdgeTable((id) => this.#open("edge", id));
    this.#panel = new Panel({ close: () => this.#close(), open: (kind, id) => this.#open(kind, id), scene: this.#scene });
    this.#controls = controls({
      filter: () => this.#filter(),
      found: () => this.#goToFound(),
      table: (on) => this.#table.show(on, this.#root),
      zoom: (factor) => {
        this.#moved = true;
        this.#camera.zoom(factor);
      },
      fit: () => this.#fit(true),
    });
    this.#root = el("div", { class: "graph" }, this.#controls.element, el("div", { class: "split" }, this.#stage, this.#table.element, this.#panel.element));
    this.#listen();
  }

  #listen() {
    const target = (event) => event.target.closest?.("[data-id]");
    const under = (event) => target(event)?.dataset.id ?? this.#edgeUnder(event);
    this.#stage.addEventListener("pointermove", (event) => {
      if (this.#camera.pressed || this.#pointing) return;
      this.#pointing = requestAnimationFrame(() => {
        this.#pointing = 0;
        const id = under(event);
        this.#stage.classList.toggle("over-edge", this.#scene.edges.has(id));
        this.#hover(id);
      });
    });
    this.#stage.addEventListener("pointerleave", () => this.#hover(null));
    this.#stage.addEventListener("pointerdown", () => (this.#moved = true));
    this.#stage.addEventListener("wheel", () => (this.#moved = true), { passive: true });
    this.#stage.addEventListener("click", (event) => {
      if (this.#camera.dragged) return;
      const id = under(event);
      if (!id) return this.#close();
      this.#open(this.#scene.nodes.has(id) ? "node" : "edge", id);
    });
    this.#drawing.addEventListener("focusin", (event) => {
      const id = target(event)?.dataset.id;
      const node = this.#scene.nodes.get(id);
      if (!node) return this.#scene.edges.has(id) ? this.#hover(id) : undefined;
      this.#makeCurrent(node);
      if (!event.target.matches(":focus-visible")) return;
      this.#camera.reveal(node.at.x, node.at.y);
      this.#hover(node.data.id);
    });
    this.#drawing.addEventListener("focusout", () => {
      this.#edgeKeys.left();
      this.#hover(null);
    });
    this.#drawing.addEventListener("keydown", (event) => this.#key(event));
    this.#root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#selected && !event.defaultPrevented) this.#close();
    });
  }

  #edgeUnder(event) {
    const box = this.#stage.getBoundingClientRect();
    const { x, y, k } = this.#camera;
    const point = { x: (event.clientX - box.left - x) / k, y: (event.clientY - box.top - y) / k };
    return edgeAt(this.#scene.edges.values(), point, 7 / k)?.data.id ?? null;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const node = this.#scene.nodes.get(this.#current);
    const edge = this.#edgeKeys.current;
    if (edge && event.key === "Enter") this.#open("edge", edge);
    if (edge && (event.key === "Enter" || this.#edgeKeys.key(event.key))) return event.preventDefault();
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step && event.shiftKey) this.#camera.pan(-step[0] * 60, -step[1] * 60);
    else if (step && node) nearest(node, step, this.#scene.nodes.values())?.group.focus();
    else if (node && (event.key === "Enter" || event.key === " ")) this.#open("node", node.data.id);
    else if (node && event.key.toLowerCase() === "e") this.#edgeKeys.enter(node);
    else if (event.key === "+" || event.key === "=") this.#camera.zoom(1.25);
    else if (event.key === "-") this.#camera.zoom(0.8);
    else if (event.key === "0") this.#fit(true);
    else return;
    this.#moved = event.key !== "0";
    event.preventDefault();
  }

  #makeCurrent(node) {
    this.#scene.nodes.get(this.#current)?.group.setAttribute("tabindex", "-1");
    node?.group.setAttribute("tabindex", "0");
    this.#current = node?.data.id ?? null;
  }

  /** Follow the camera. A large graph is moved as a picture meanwhile, and drawn once it rests. */
  #look() {
    clearTimeout(this.#resting);
    if (this.#scene.edges.size <= MANY || !this.#drawnAt) return this.#redraw();
    const { x, y, k } = this.#camera;
    const was = this.#drawnAt;
    const scale = k / was.k;
    this.#drawing.style.transform = `translate(${x - was.x * scale}px, ${y - was.y * scale}px) scale(${scale})`;
    this.#resting = setTimeout(() => this.#redraw(), RESTS_MS);
  }

  #redraw() {
    const { x, y, k } = this.#camera;
    this.#drawnAt = { x, y, k };
    this.#drawing.style.transform = "";
    this.#scene.root.setAttribute("transform", `translate(${x} ${y}) scale(${k})`);
    this.#drawing.classList.toggle("far", k < 0.45);
    this.#drawing.classList.toggle("dense", this.#scene.edges.size > MANY);
    this.#relabel();
  }

  /** On a phone layers go down instead of to the right. */
  #isNarrow() {
    return this.#stage.clientWidth < 600;
  }

  /** Show the whole graph; on a phone, where names could not be read, the part that is called most. */
  #fit(whatever = false) {
    const box = this.#scene.bounds();
    this.#moved = false;
    this.#partly = false;
    if (!box) return;
    const margins = this.#isNarrow() ? NARROW : WIDE;
    this.#partly = this.#isNarrow() && !whatever && this.#camera.scaleOf(box, margins) < LEGIBLE;
    const { width, height } = this.#camera.room(margins);
    const shown = this.#partly ? this.#scene.busiest({ width: width / LEGIBLE, height: height / LEGIBLE }) : box;
    this.#camera.fit(shown, margins);
  }

  /** Show what the controls choose; `anew` where the view is to follow, unless the reader chose it. */
  #filter(anew = true) {
    const { namespace, query } = this.#controls.values();
    const keep = (node) =>
      (!namespace || node.namespace === namespace) && (!query || node.id.toLowerCase().includes(query) || node.name.toLowerCase().includes(query));
    this.#scene.filter(keep);
    this.#table.filter((edge) => !this.#scene.edges.get(edge.id)?.hidden);
    const shown = [...this.#scene.nodes.values()].filter((node) => keep(node.data)).length;
    this.#controls.count(shown, this.#scene.nodes.size);
    if (anew && !this.#moved) this.#fit();
    this.#camera.changed();
  }

  #goToFound() {
    const found = [...this.#scene.nodes.values()].find((node) => !node.hidden && !node.group.classList.contains("aside"));
    found?.group.focus();
  }

  #hover(id) {
    if (id === this.#hovered || this.#camera.pressed) return;
    this.#hovered = id;
    this.#highlight();
  }

  /** Bring out what is hovered or selected with all that it touches; the rest steps back. */
  #highlight() {
    const id = this.#hovered ?? this.#selected?.id ?? null;
    const on = new Set();
    for (const [edgeId, edge] of this.#scene.edges) {
      if (edgeId === id || edge.data.source === id || edge.data.target === id) {
        on.add(edgeId).add(edge.data.source).add(edge.data.target);
      }
    }
    if (id) on.add(id);
    this.#scene.focusing = on.size > 1 || this.#scene.nodes.has(id);
    this.#drawing.classList.toggle("focusing", this.#scene.focusing);
    for (const drawn of [this.#scene.nodes, this.#scene.edges]) {
      for (const [key, item] of drawn) {
        if (item.on !== on.has(key)) {
          item.on = on.has(key);
          item.group.classList.toggle("on", item.on);
        }
        if (item.selected !== (key === this.#selected?.id)) {
          item.selected = key === this.#selected?.id;
          item.group.classList.toggle("selected", item.selected);
        }
      }
    }
    this.#relabel();
  }

  #relabel() {
    const wanted = [];
    for (const [id, edge] of this.#scene.edges) if (edge.on && wanted.length < 24) wanted.push(id);
    this.#labels.update(this.#scene, this.#camera, wanted);
  }

  #open(kind, id) {
    location.hash = `#/graph/${kind}/${encodeURIComponent(id)}`;
  }

  #close() {
    if (this.#selected) location.hash = "#/graph";
  }

  #select(selection) {
    if (selection?.id === this.#selected?.id) return;
    const was = this.#selected;
    this.#selected = selection;
    if (selection) this.#panel.open(selection.kind, selection.id);
    else {
      this.#panel.close();
      const nodes = this.#scene.nodes; // of an edge, where one came from
      (nodes.get(was?.id) ?? nodes.get(this.#current))?.group.focus({ preventScroll: true });
    }
    this.#highlight();
  }

  #stage;
  #drawnAt = null;
  #resting = 0;
  #pointing = 0;
  #drawing;
  #message;
  #camera;
  #motion;
  #table;
  #panel;
  #controls;
}
