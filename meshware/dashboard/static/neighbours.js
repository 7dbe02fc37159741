// What is near: the node an arrow key leads to, the edge below the pointer.

import { at } from "./curves.js";

const STEPS = 16; // straight pieces of a curve: within a pixel of it

/** The nearest node in a direction ([dx, dy], one of them 0): ahead first, little to the side. */
export function nearest(from, [dx, dy], nodes) {
  let best = null;
  let least = Infinity;
  for (const node of nodes) {
    if (node === from || node.hidden) continue;
    const x = node.at.x - from.at.x;
    const y = node.at.y - from.at.y;
    const ahead = x * dx + y * dy;
    const aside = Math.abs(x * dy) + Math.abs(y * dx);
    if (ahead <= 1) continue;
    const cost = ahead + 2.2 * aside;
    if (cost < least) {
      least = cost;
      best = node;
    }
  }
  return best;
}

/**
 * The edge nearest to a point, no farther than `within`; null where there is none.
 *
 * Done here because a browser that looks for the stroke below the pointer among 2,000 curves takes
 * 150 ms for each move; this takes less than one.
 */
export function edgeAt(edges, point, within) {
  let best = null;
  let least = within;
  for (const edge of edges) {
    if (edge.hidden) continue;
    const far = distance(edge, point, least);
    if (far < least) {
      least = far;
      best = edge;
    }
  }
  return best;
}

function distance({ curve: c }, point, enough) {
  const xs = [c[0], c[2], c[4], c[6]];
  const ys = [c[1], c[3], c[5], c[7]];
  if (point.x < Math.min(...xs) - enough || point.x > Math.max(...xs) + enough) return Infinity;
  if (point.y < Math.min(...ys) - enough || point.y > Math.max(...ys) + enough) return Infinity;
  let least = Infinity;
  let from = at(c, 0);
  for (let i = 1; i <= STEPS; i += 1) {
    const to = at(c, i / STEPS);
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    const along = ((point.x - from.x) * dx + (point.y - from.y) * dy) / (dx * dx + dy * dy || 1);
    const t = Math.min(1, Math.max(0, along));
    least = Math.min(least, Math.hypot(point.x - from.x - t * dx, point.y - from.y - t * dy));
    from = to;
  }
  return least;
}
