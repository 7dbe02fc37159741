// One resource of policy: what it is, where it stands, and its text with numbered lines.

import { el } from "./dom.js";

/** A line that unfolds to the text. The numbers are those of the file. */
export function policyText(policy) {
  const name = `${policy.kind} ${policy.namespace ? `${policy.namespace}/` : ""}${policy.name}`;
  const place = `${policy.file}:${policy.line}`;
  const details = el("details", { class: "policy", "data-key": name },
    el("summary", {}, el("span", { class: "kind" }, policy.kind), el("span", { class: "title" }, `${policy.namespace ? `${policy.namespace}/` : ""}${policy.name}`), el("span", { class: "place" }, place)));
  // The text is made when it is looked at: a mesh has hundreds of them.
  details.addEventListener("toggle", () => details.open && fill(details, policy), { once: false });
  return details;
}

function fill(details, policy) {
  if (details.querySelector("pre")) return;
  const lines = policy.text.replace(/\n$/, "").split("\n");
  details.append(el("pre", { tabindex: "0", role: "region", "aria-label": `${policy.kind} ${policy.name}` },
    ...lines.map((line, i) => el("span", { class: "line", "data-line": policy.line + i }, `${line}\n`))));
}
