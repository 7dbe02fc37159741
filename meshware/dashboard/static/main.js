// The frame of the page: which view is shown (the hash says so), whether it is live, the theme.
//
// A view is an object with `title`, `show(main, path)`, `hide()` and, where it cares,
// `on<Kind>(detail)` for server-sent events. Only the one that is shown hears of events.

import { Calls } from "./calls.js";
import { el, setText } from "./dom.js";
import * as format from "./format.js";
import { Graph } from "./graph.js";
import { Live } from "./live.js";
import { Policy } from "./policy.js";
import { startTheme } from "./theme.js";
import { Traces } from "./traces.js";
import { Workers } from "./workers.js";

const main = document.getElementById("main");
const notice = document.getElementById("notice");
const live = new Live();
const views = {
  graph: new Graph(live),
  workers: new Workers(),
  policy: new Policy(),
  calls: new Calls(),
  traces: new Traces(),
};
let shown = null;
let missed = 0; // calls that were refused or failed since they were looked at

function route() {
  const [name, ...path] = location.hash.replace(/^#\/?/, "").split("/").map(decode);
  const key = Object.hasOwn(views, name) ? name : "graph";
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.dataset.view === key;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (key === "calls") badge("calls", (missed = 0));
  if (shown !== views[key]) {
    shown?.hide();
    main.replaceChildren();
    shown = views[key];
    document.title = `${shown.title} – meshware`;
    main.className = `view-${key}`;
  }
  shown.show(main, path);
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a hash typed by hand, with a bare percent sign
  }
}

const BADGES = { policy: "findings and refusals of policy", calls: "refused or failed since you looked" };

function badge(key, count) {
  const element = document.querySelector(`nav a[data-view="${key}"] .badge`);
  const text = count > 99 ? "99+" : String(count);
  if (element.dataset.count === text) return;
  element.dataset.count = text;
  element.hidden = count === 0;
  element.title = BADGES[key];
  element.replaceChildren(text, el("span", { class: "unseen" }, ` ${BADGES[key]}`));
}

function showState() {
  const element = document.getElementById("live");
  element.dataset.state = live.state;
  setText(element, { connecting: "connecting", live: "live", lost: "not live" }[live.state]);
  document.body.classList.toggle("stale", live.state === "lost");
  notice.hidden = live.state !== "lost";
  if (live.state === "lost") {
    const since = format.span((Date.now() - live.since) / 1000);
    setText(notice, `Not live for ${since}: what you see is the last that was heard. Trying again. Is the daemon running?`);
  }
}

live.addEventListener("state", () => {
  showState();
  shown?.onState?.(live.state);
});
for (const kind of ["tick", "graph", "layout", "policy", "call"]) {
  const method = `on${kind[0].toUpperCase()}${kind.slice(1)}`;
  live.addEventListener(kind, (event) => {
    shown?.[method]?.(event.detail);
    if (kind === "tick" && event.detail) {
      setText(document.getElementById("generation"), `generation ${event.detail.generation}`);
      badge("policy", event.detail.findings);
    }
    if (kind === "call" && shown !== views.calls) badge("calls", (missed += event.detail.count));
  });
}
setInterval(() => {
  if (document.hidden) return;
  format.freshen(main);
  showState();
}, 1000);

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the hash is the route
  main.focus();
});
window.addEventListener("hashchange", route);
startTheme(() => shown?.onTheme?.());
route();
live.start();
