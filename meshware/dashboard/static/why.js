// One refused or failed call: its decision record, and the answer of `meshware explain` beside it.

import { el } from "./dom.js";
import * as format from "./format.js";

const FACTS = [
  ["Answer", (c) => `${c.status || "none"}${c.flags && c.flags !== "-" ? ` ${c.flags}` : ""}, ${c.outcome}${c.outcome === "refused" ? " by the mesh" : ""}`],
  ["Reason", (c) => c.reason], ["Policy", (c) => c.policy], ["Rule", (c) => c.rule], ["Written at", (c) => c.place],
  ["Exception", (c) => c.exception], ["Caller", (c) => c.principal && `${c.principal}${c.proved_by ? ` (by ${c.proved_by})` : ""}`],
  ["User", (c) => c.request_principal], ["Address", (c) => c.source_ip], ["Request", (c) => `${c.method} ${c.scheme}://${c.host}${c.path}`],
  ["Paths decided on", (c) => c.candidates.join("\n")], ["Handler", (c) => c.direction === "inbound" && c.route],
  ["Service", (c) => c.service], ["Route", (c) => c.direction === "outbound" && c.route], ["Cluster", (c) => c.cluster], ["Endpoint", (c) => c.endpoint],
  ["Audited by", (c) => c.audited.join(", ")], ["On trial", (c) => c.shadow && `${c.shadow}${c.shadow_policy ? ` by ${c.shadow_policy}` : ""}`],
  ["Generation", (c) => c.generation], ["Took", (c) => format.ms(c.duration_s * 1000)], ["Request id", (c) => c.request_id],
  ["Told by", (c) => `${c.namespace}/${c.workload}, worker ${c.worker}`],
];

/** The record as names and values, with the attempts of a call that went out. */
export function record(call) {
  const facts = FACTS.map(([name, value]) => [name, value(call)]).filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
  return [
    el("dl", {}, el("dt", {}, "At"), el("dd", {}, format.absolute(call.at)),
      ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]),
      ...(call.trace_id ? [el("dt", {}, "Trace"), el("dd", {}, el("a", { href: `#/traces/${encodeURIComponent(call.trace_id)}` }, call.trace_id))] : [])),
    ...attempts(call.tries),
  ];
}

function attempts(tries) {
  if (!tries.length) return [];
  return [el("div", { class: "scroll" }, el("table", { class: "tries" },
    el("caption", {}, "Attempts"),
    el("thead", {}, el("tr", {}, ...["#", "Endpoint", "After", "Took", "Came back"].map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...tries.map((t) => el("tr", {},
      el("td", {}, String(t.number)), el("td", {}, t.endpoint || "–"), el("td", { class: "nowrap" }, format.ms(t.began_s * 1000)), el("td", { class: "nowrap" }, format.ms(t.duration_s * 1000)),
      el("td", {}, t.failure ? `${t.failure}${t.detail ? `: ${t.detail}` : ""}` : String(t.status || "nothing")))))))];
}

/** What policy says of the same question now, with what to make of it. */
export function explanation(answer) {
  const changed = answer.is_same_policy === false;
  return [
    el("ul", { class: "notes" }, ...answer.notes.map((note, i) => el("li", { class: i === 0 && changed ? "changed" : "" }, note))),
    ...(answer.text.length ? [el("pre", { tabindex: "0", role: "region", "aria-label": "Answer of meshware explain" }, answer.text.join("\n"))] : []),
    el("details", { class: "question" }, el("summary", {}, "The question, for meshware explain"),
      el("pre", { tabindex: "0" }, JSON.stringify(answer.question))),
  ];
}
