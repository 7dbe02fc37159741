// What part of the graph is seen: pan and zoom by mouse, touch and keys.
//
// One transform (x, y, k) from graph units to pixels of the stage. Whoever draws listens to
// `onChange`, which is called at most once for each frame.

const NEAREST = 3;
const FARTHEST = 0.08; // by hand; all of a larger mesh is shown smaller still

export class Camera {
  x = 0;
  y = 0;
  k = 1;
  #stage;
  #pointers = new Map();
  #pending = false;
  #moved = 0;
  #onChange;

  constructor(stage, onChange) {
    this.#stage = stage;
    this.#onChange = onChange;
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const kind of ["pointerup", "pointercancel", "pointerleave"]) {
      stage.addEventListener(kind, (event) => this.#pointers.delete(event.pointerId));
    }
  }

  /** Whether the press that just ended moved the view, so that it was no click. */
  get dragged() {
    return this.#moved > 5;
  }

  get pressed() {
    return this.#pointers.size > 0;
  }

  get width() {
    return this.#stage.clientWidth;
  }

  get height() {
    return this.#stage.clientHeight;
  }

  /** The rectangle of the graph that is in view, widened by a margin in pixels. */
  view(margin = 0) {
    return {
      left: (-margin - this.x) / this.k,
      top: (-margin - this.y) / this.k,
      right: (this.width + margin - this.x) / this.k,
      bottom: (this.height + margin - this.y) / this.k,
    };
  }

  /** What is left of the stage within margins: `around` it, and `below` for what lies there. */
  room({ around, below }) {
    return { width: this.width - 2 * around, height: this.height - 2 * around - below };
  }

  /** How large a box can be shown within margins; a little larger than life at the most. */
  scaleOf(box, margins) {
    const room = this.room(margins);
    const width = Math.max(1, box.right - box.left);
    const height = Math.max(1, box.bottom - box.top);
    return Math.min(room.width / width, room.height / height, 1.15);
  }

  /** Show all of a box, in the middle of the room within margins. */
  fit(box, margins) {
    this.k = this.scaleOf(box, margins);
    this.x = (this.width - (box.left + box.right) * this.k) / 2;
    this.y = (this.height - margins.below - (box.top + box.bottom) * this.k) / 2;
    this.changed();
  }

  /** Bring a point into view without zooming, if it is not well inside. */
  reveal(x, y, margin = 90) {
    const left = x * this.k + this.x;
    const top = y * this.k + this.y;
    this.x += clamp(left, margin, Math.max(margin, this.width - margin)) - left;
    this.y += clamp(top, margin, Math.max(margin, this.height - margin)) - top;
    this.changed();
  }

  pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.changed();
  }

  zoom(factor, atX = this.width / 2, atY = this.height / 2) {
    const k = clamp(this.k * factor, Math.min(FARTHEST, this.k), NEAREST);
    this.x = atX - ((atX - this.x) * k) / this.k;
    this.y = atY - ((atY - this.y) * k) / this.k;
    this.k = k;
    this.changed();
  }

  changed() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      this.#onChange();
    });
  }

  #wheel(event) {
    event.preventDefault();
    const box = this.#stage.getBoundingClientRect();
    const lines = event.deltaMode === 1 ? 16 : 1;
    this.zoom(Math.exp(-event.deltaY * lines * 0.0016), event.clientX - box.left, event.clientY - box.top);
  }

  #down(event) {
    if (event.button !== 0) return;
    if (this.#pointers.size === 0) this.#moved = 0;
    this.#pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const others = [...this.#pointers.entries()].filter(([id]) => id !== event.pointerId);
    const now = { x: event.clientX, y: event.clientY };
    this.#pointers.set(event.pointerId, now);
    this.#moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (others.length === 0) {
      if (this.dragged) this.pan(now.x - before.x, now.y - before.y);
      return;
    }
    const fixed = others[0][1];
    const was = Math.hypot(before.x - fixed.x, before.y - fixed.y);
    const is = Math.hypot(now.x - fixed.x, now.y - fixed.y);
    const box = this.#stage.getBoundingClientRect();
    if (was > 1) this.zoom(is / was, (now.x + fixed.x) / 2 - box.left, (now.y + fixed.y) / 2 - box.top);
  }
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
