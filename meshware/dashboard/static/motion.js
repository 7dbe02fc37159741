// Dots that run along edges as calls do, on a canvas over the drawing: animating two thousand SVG
// paths repaints all of them in each frame, while dots are a few hundred small squares.
//
// Nothing moves where the reader asked for less motion, when the page is hidden or not live.

import { at } from "./curves.js";

const FRAME_MS = 33; // 30 frames each second are smooth enough for dots
const AT_MOST = 400;

export class Motion {
  #canvas;
  #context;
  #scene;
  #camera;
  #reduced = matchMedia("(prefers-reduced-motion: reduce)");
  #last = 0;
  #running = false;
  #colours = {};
  live = false;
  shown = true;

  constructor(canvas, scene, camera) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#scene = scene;
    this.#camera = camera;
    this.#reduced.addEventListener("change", () => this.wake());
    document.addEventListener("visibilitychange", () => this.wake());
  }

  /** Take colours anew (after a change of theme) and go on, or stop, as things are. */
  wake() {
    const style = getComputedStyle(document.documentElement);
    this.#colours = { good: style.getPropertyValue("--dot"), bad: style.getPropertyValue("--bad") };
    if (!this.#running && this.#wanted()) {
      this.#running = true;
      requestAnimationFrame((now) => this.#frame(now));
    }
  }

  #wanted() {
    return this.live && this.shown && !this.#reduced.matches && !document.hidden;
  }

  #frame(now) {
    if (!this.#wanted()) {
      this.#running = false;
      this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
      return;
    }
    if (now - this.#last >= FRAME_MS) {
      this.#last = now;
      this.#draw(now / 1000);
    }
    requestAnimationFrame((next) => this.#frame(next));
  }

  #draw(seconds) {
    const { x, y, k, width, height } = this.#camera;
    const ratio = Math.min(2, devicePixelRatio || 1);
    if (this.#canvas.width !== Math.round(width * ratio)) this.#canvas.width = Math.round(width * ratio);
    if (this.#canvas.height !== Math.round(height * ratio)) this.#canvas.height = Math.round(height * ratio);
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const size = Math.max(2, Math.min(5, 4.5 * k));
    let drawn = 0;
    for (const edge of this.#scene.edges.values()) {
      const { rate, error_share: errors } = edge.data;
      if (edge.hidden || !(rate > 0) || (this.#scene.focusing && !edge.on)) continue;
      const dots = Math.min(5, 1 + Math.floor(Math.log10(1 + rate) * 1.5));
      const pace = 0.12 + 0.1 * Math.log10(1 + rate); // lengths of the edge each second
      for (let dot = 0; dot < dots && drawn < AT_MOST; dot += 1) {
        const phase = (seconds * pace + dot / dots + (edge.curve[1] % 97) / 97) % 1;
        const point = at(edge.curve, phase);
        const px = point.x * k + x;
        const py = point.y * k + y;
        if (px < 0 || py < 0 || px > width || py > height) continue;
        context.fillStyle = dot < errors * dots ? this.#colours.bad : this.#colours.good;
        context.fillRect(px - size / 2, py - size / 2, size, size);
        drawn += 1;
      }
    }
  }
}
