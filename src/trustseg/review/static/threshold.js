// The threshold slider: everything comes from one table that was sent once.

import { get } from "./api.js";
import { $, element, percent, wholePercent, withInterval } from "./dom.js";
import { rows, setLimit } from "./list.js";

let risk = null;
let steps = []; // thresholds, rising

export async function prepare(policy) {
  risk = await get("risk");
  const scores = rows().map((row) => row.score).filter((score) => score !== null);
  steps = risk.points ? risk.points.map((point) => point.threshold) : [...new Set(scores)].sort((a, b) => a - b);
  $("slider").max = Math.max(steps.length - 1, 0);
  const fixed = policy && policy.threshold !== null ? policy.threshold : null;
  const start = fixed === null ? steps.length - 1 : steps.findLastIndex((step) => step <= fixed + 1e-12);
  $("slider").value = Math.max(start, 0);
  $("risk-about").textContent = risk.points
    ? `Measured on ${risk.images} validation images of ${risk.patients} patients; intervals of 95 % over patients. A mask has failed if its Dice is below ${risk.tau}. It holds for new patients like those.`
    : `Only the coverage of these cases is shown: ${risk.why}.`;
  show();
}

function show() {
  const place = Number($("slider").value);
  const threshold = steps[place];
  if (threshold === undefined) return;
  const all = rows();
  const kept = all.filter((row) => row.score !== null && row.score <= threshold).length / Math.max(all.length, 1);
  const point = risk.points ? risk.points[place] : null;
  const perDay = Math.max(Number($("per-day").value) || 0, 0);
  const facts = [["Kept without a review, of these cases", percent(kept)]];
  if (point) {
    facts.push(["Kept, of the validation images", wholePercent(point.coverage)]);
    facts.push(["Expected risk of the kept (mean 1 - Dice)", withInterval(point.risk, (share) => share.toFixed(3))]);
    facts.push(["Failed masks among the kept", withInterval(point.failures, wholePercent)]);
  }
  facts.push(["Cases to review a day", (perDay * (1 - (point ? point.coverage : kept))).toFixed(1)]);
  $("slider-value").textContent = threshold.toPrecision(4);
  $("meaning").replaceChildren(...facts.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
  setLimit(threshold);
}

$("slider").addEventListener("input", show);
$("per-day").addEventListener("input", show);
