// Where nodes and edges lie, in pixels at zoom 1. The server says where nodes are, in units of a
// node's width; the curves between them are made here.

export const UNIT = 168; // pixels
export const NODE_WIDTH = 150;
export const NODE_HEIGHT = 44;

// Rows of the server are 1.5 units apart at least, and layers 3. On a phone neighbours in a layer
// stand side by side with a gap of 16 pixels, and layers below one another with room for a label.
const BESIDE = 0.66;
const BELOW = 0.36;

/** The middle of a node; `upright` turns the layers, so that they go down a narrow stage. */
export function place(node, upright = false) {
  if (upright) return { x: node.y * UNIT * BESIDE, y: node.x * UNIT * BELOW };
  return { x: node.x * UNIT, y: node.y * UNIT };
}

/** The four control points of an edge's curve, from border to border. */
export function curve(from, to, upright = false) {
  if (from === to || (from.x === to.x && from.y === to.y)) {
    const right = from.x + NODE_WIDTH / 2;
    return [right, from.y - 8, right + 70, from.y - 60, right + 70, from.y + 60, right, from.y + 8];
  }
  const dx = to.x - from.x;
  const dy = to.y - from.y;
  if (Math.abs(dx) >= NODE_WIDTH * 0.8 && !(upright && Math.abs(dy) > NODE_HEIGHT * 1.5)) {
    const side = Math.sign(dx);
    const x0 = from.x + (side * NODE_WIDTH) / 2;
    const x3 = to.x - (side * (NODE_WIDTH / 2 + 3));
    const bend = Math.max(30, Math.abs(x3 - x0) * 0.45) * side;
    // An edge that goes back is bowed away, so that it does not lie on the one that goes forth.
    const bow = side < 0 ? 56 : 0;
    return [x0, from.y, x0 + bend, from.y + bow, x3 - bend, to.y + bow, x3, to.y];
  }
  const side = Math.sign(dy) || 1;
  const y0 = from.y + (side * NODE_HEIGHT) / 2;
  const y3 = to.y - side * (NODE_HEIGHT / 2 + 3);
  const bend = Math.max(16, Math.abs(y3 - y0) * 0.45) * side;
  const bow = side < 0 ? 60 : -60;
  const far = Math.abs(dy) > NODE_HEIGHT * 2.4 && !upright ? bow : 0; // around what stands between
  return [from.x, y0, from.x + far, y0 + bend, to.x + far, y3 - bend, to.x, y3];
}

/** The path of a curve with its arrow head: one element for both halves the work of painting. */
export function path(c) {
  const angle = Math.atan2(c[7] - c[5], c[6] - c[4]);
  const wing = (turn) =>
    `${round(c[6] - 9 * Math.cos(angle + turn))} ${round(c[7] - 9 * Math.sin(angle + turn))}`;
  const line = `M${round(c[0])} ${round(c[1])}C${c.slice(2).map(round).join(" ")}`;
  return `${line}M${wing(0.45)}L${round(c[6])} ${round(c[7])}L${wing(-0.45)}`;
}

/** The point of a curve at t in 0..1. */
export function at(c, t) {
  const s = 1 - t;
  const [a, b, d, e] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
  return {
    x: a * c[0] + b * c[2] + d * c[4] + e * c[6],
    y: a * c[1] + b * c[3] + d * c[5] + e * c[7],
  };
}

function round(value) {
  return Math.round(value * 10) / 10;
}
