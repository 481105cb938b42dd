// The work list: sorted and filtered here, so that no choice asks the server.

import { get } from "./api.js";
import { $, element, percent, say, warn } from "./dom.js";

const STATUS = { open: "○ open", "in progress": "◐ one of two", disagreement: "≠ disagreement", done: "● done" };
const OWN = { accept: "✓ accept", edit: "✎ edit", reject: "✗ reject" };
const NEXT = 20; // open cases of which the expected failures are told
const BATCH = 100; // rows that are put into the table at once
const collator = new Intl.Collator(undefined, { numeric: true });

let found = { rows: [], stopped: null, pace: { cases: 0, seconds: null } };
let byId = new Map();
const lines = new Map(); // id -> { tr, cells }, of the rows that were shown
let shown = []; // ids in the order of the page
let sorting = { key: "score", falling: true };
let limit = Infinity; // the slider's threshold

export const order = () => shown;
export const rows = () => found.rows;
export const stopped = () => found.stopped;

export async function refresh() {
  found = await get("cases");
  byId = new Map(found.rows.map((row) => [row.id, row]));
  for (const [id, line] of lines) fill(line, byId.get(id));
  $("head").textContent = `Log: ${found.head}`;
  warn(found.stopped ? `Stopped by ${found.stopped.reviewer}: every case goes to a human. ${found.stopped.reason || ""}` : "");
  arrange({ changed: false });
}

// The line of a case, made when it is first shown.
function lineOf(id) {
  if (!lines.has(id)) {
    lines.set(id, makeLine(byId.get(id)));
    fill(lines.get(id), byId.get(id));
  }
  return lines.get(id);
}

function makeLine(row) {
  const cells = {
    id: element("td", { class: "number", "data-name": "Case" }, String(row.id)),
    score: element("td", { class: "number", "data-name": "Score" }, row.score === null ? "none" : row.score.toPrecision(3)),
    chance: element("td", { class: "number chance", "data-name": "Similar that failed" }, ...similar(row.similar)),
    area: element("td", { class: "number", "data-name": "Area" }),
    reason: element("td", { class: "reason", "data-name": "Why flagged" }),
    status: element("td", { class: "state", "data-name": "Status" }),
    own: element("td", { class: "state", "data-name": "My decision" }),
  };
  const link = element("a", { href: `#case=${row.id}`, "data-testid": `open-${row.id}` }, row.name);
  const thumb = element("img", { src: `/api/cases/${row.id}/thumbnail`, alt: "", loading: "lazy", decoding: "async" });
  const tr = element("tr", { "data-testid": `row-${row.id}` }, element("td", { class: "thumb" }, thumb), cells.id,
    element("td", { class: "name" }, link), cells.score, cells.chance, cells.area, cells.reason, cells.status, cells.own);
  return { tr, cells };
}

// What became of the validation images with a similar score, and the range in which the chance of failure lies.
function similar(found) {
  if (found === null) return [];
  const ends = [found.low, found.high].map((share) => (100 * share).toFixed(0)).join(" to ");
  return [`${found.failed} of ${found.images}`, element("small", {}, `95 %: ${ends} %`)];
}

function fill(line, row) {
  line.cells.area.textContent = row.area === null ? "hidden" : percent(row.area);
  line.cells.reason.textContent = row.reasons.join("; ");
  line.cells.status.textContent = row.status === "open" && !row.flagged ? "not flagged" : STATUS[row.status];
  line.cells.own.textContent = row.own ? OWN[row.own] : row.rated ? "rated" : "";
}

const TESTS = {
  all: () => true,
  flagged: (row) => row.flagged,
  mine: (row) => row.flagged && row.own === null && row.status !== "done",
  disagreement: (row) => row.status === "disagreement",
  done: (row) => row.status === "done",
  above: (row) => row.score === null || row.score > limit,
};

function value(row, key) {
  if (key === "reason") return row.reasons.join("; ");
  const held = row[key];
  return held === null ? (typeof row.id === "number" && ["score", "chance", "area"].includes(key) ? -Infinity : "") : held;
}

export function arrange({ changed = true } = {}) {
  const words = $("find").value.toLowerCase();
  const test = TESTS[$("only").value];
  const wanted = found.rows.filter((row) => test(row) && row.name.toLowerCase().includes(words));
  const sign = sorting.falling ? -1 : 1;
  wanted.sort((first, second) => {
    const [one, other] = [value(first, sorting.key), value(second, sorting.key)];
    if (one === other) return first.id - second.id;
    return sign * (typeof one === "string" ? collator.compare(one, other) : one - other);
  });
  shown = wanted.map((row) => row.id);
  const many = Math.max(BATCH, changed ? 0 : $("rows").children.length); // a look at what others did keeps the place
  $("rows").replaceChildren();
  lengthen(many);
  $("shown").textContent = `${shown.length} of ${found.rows.length} cases`;
  tellProgress();
}

// Puts more rows into the table: all of 2,000 at once would take the browser a second.
function lengthen(many) {
  const drawn = $("rows").children.length;
  $("rows").append(...shown.slice(drawn, drawn + many).map((id) => lineOf(id).tr));
  $("more").hidden = $("rows").children.length === shown.length;
}

function tellProgress() {
  const flagged = found.rows.filter((row) => row.flagged);
  const done = flagged.filter((row) => row.status === "done").length;
  const disputed = found.rows.filter((row) => row.status === "disagreement").length;
  const others = found.rows.filter((row) => !row.flagged && row.status === "done").length;
  const told = flagged.length ? `${done} of ${flagged.length} flagged cases done.` : noneFlagged();
  const more = others ? ` Done without being flagged: ${others}.` : "";
  $("progress").textContent = told + more + (disputed ? ` Disagreements to settle: ${disputed}.` : "");
  $("progress-bar").hidden = !flagged.length;
  $("progress-bar").value = flagged.length ? done / flagged.length : 0;
  const open = shown.map((id) => byId.get(id)).filter((row) => row.status !== "done" && row.own === null).slice(0, NEXT);
  $("pace").textContent = paceOf(open, found.pace);
  $("note").textContent = found.note ?? "";
}

function noneFlagged() {
  if (found.no_promise) return `No case is flagged, which is no sign that all is well: the policy was fitted on too few patients to promise anything. ${found.no_promise}`;
  return "No case is flagged: no score is above the policy's threshold. Masks may have failed all the same.";
}

function unknown(open) {
  if (found.validation_images === null) return "that takes records of validation images (trustseg review --records RUN)";
  if (open.some((row) => row.score === null)) return "some of these cases have no score";
  return `the records hold ${found.validation_images} validation images, and at least 10 are needed`;
}

// Expected failures found per minute of reading, in the order of the page.
function paceOf(open, pace) {
  if (!open.length) return "Nothing of what is shown is left to decide for you.";
  if (open.some((row) => row.chance === null)) return `Expected failures are not known: ${unknown(open)}.`;
  const expected = open.reduce((sum, row) => sum + row.chance, 0);
  const start = `The next ${open.length} open cases in this order: ${expected.toFixed(1)} failed masks expected`;
  if (pace.seconds === null) return `${start}; how many per minute is told after 5 cases of yours.`;
  const minutes = (open.length * Math.max(pace.seconds, 0.1)) / 60;
  return `${start}, ${(expected / minutes).toFixed(1)} per minute of reading at your ${pace.seconds.toFixed(0)} s a case.`;
}

export function setLimit(threshold) {
  limit = threshold;
  if ($("only").value === "above") arrange();
}

function sortBy(th) {
  const key = th.dataset.key;
  sorting = { key, falling: sorting.key === key ? !sorting.falling : ["score", "chance", "area"].includes(key) };
  for (const other of document.querySelectorAll("th[data-key]")) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", sorting.falling ? "descending" : "ascending");
  arrange();
  say(`sorted by ${th.textContent}, ${sorting.falling ? "falling" : "rising"}`);
}

for (const th of document.querySelectorAll("th[data-key]")) th.querySelector("button").addEventListener("click", () => sortBy(th));
$("find").addEventListener("input", () => arrange());
$("only").addEventListener("change", () => arrange());
$("more").addEventListener("click", () => lengthen(BATCH));
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && lengthen(BATCH)).observe($("more"));
$("filters").addEventListener("submit", (event) => event.preventDefault());
