// The row above the graph: namespace, search, table, zoom; and the legend.

import { GLYPHS, WORDS, el, setText } from "./dom.js";

/** Make the controls; each of `does` is called when its control is used. */
export function controls(does) {
  const namespace = el("select", { "aria-label": "Namespace", onchange: does.filter }, el("option", { value: "" }, "All namespaces"));
  const search = el("input", {
    type: "search", placeholder: "Find a service", "aria-label": "Find a service", autocomplete: "off",
    oninput: does.filter,
    onkeydown: (event) => event.key === "Enter" && does.found(),
  });
  const count = el("span", { class: "count", role: "status" });
  const table = el("button", {
    type: "button", "aria-pressed": "false",
    onclick: () => {
      const on = table.getAttribute("aria-pressed") !== "true";
      table.setAttribute("aria-pressed", String(on));
      does.table(on);
    },
  }, "Table");
  const button = (label, text, action) =>
    el("button", { type: "button", class: "square", "aria-label": label, title: label, onclick: action }, text);
  const element = el(
    "div",
    { class: "controls" },
    namespace, search, count,
    el("span", { class: "spring" }),
    table,
    el("span", { class: "zoom", role: "group", "aria-label": "Zoom" },
      button("Zoom out", "−", () => does.zoom(0.8)),
      button("Zoom in", "+", () => does.zoom(1.25)),
      button("Show all", "⤢", does.fit)),
  );
  return {
    element,
    values: () => ({ namespace: namespace.value, query: search.value.trim().toLowerCase() }),
    count: (shown, all) => setText(count, shown === all ? `${all} services` : `${shown} of ${all}`),
    load: (nodes) => loadNamespaces(namespace, nodes),
  };
}

function loadNamespaces(select, nodes) {
  const names = [...new Set(nodes.map((node) => node.namespace).filter(Boolean))].sort();
  const have = [...select.options].slice(1).map((option) => option.value);
  if (names.join("\n") === have.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => el("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : "";
}

/** What the marks mean. */
export function legend() {
  return el(
    "ul",
    { class: "legend", "aria-label": "Legend" },
    ...["good", "warn", "bad", "idle"].map((health) =>
      el("li", { class: `mark ${health}` }, el("span", { class: "glyph", "aria-hidden": "true" }, GLYPHS[health]), WORDS[health])),
  );
}
