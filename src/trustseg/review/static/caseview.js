// One case: rated from the image alone first, then the mask appears and is accepted, edited or rejected.

import { deepValues, get, picture, write } from "./api.js";
import { $, element, press, say, warn } from "./dom.js";
import { order, refresh } from "./list.js";
import { decode, maskAsBase64, toMask } from "./pixels.js";
import { Viewer } from "./viewer.js";

const RATINGS = ["surely none", "probably none", "cannot say", "probably some", "surely some"];
const CONFIDENCE = ["a guess", "unsure", "fairly sure", "sure", "certain"];
const WORDS = { accept: "accepted", edit: "edit", reject: "rejected" };

export const viewer = new Viewer($("canvas"));

let found = null; // the case as the server shows it
let confidence = null;
let settling = false; // whether a decision is an adjudication
let busy = false;
let seconds = 0; // that the page was looked at since the case, or its mask, appeared
let since = null;
const images = new Map(); // of the case and its neighbours, decoded

export const shownCase = () => found;

export async function open(id) {
  const place = await get(`cases/${id}`);
  const data = await image(id);
  found = place;
  [confidence, settling, seconds, since] = [null, place.settles, 0, null];
  $("comment").value = "";
  viewer.setImage(data);
  fitWindow();
  await appear();
  deepValues(`cases/${id}/values`).then((deep) => {
    if (!deep || found?.id !== id) return;
    viewer.setDeep(deep);
    fitWindow();
  }, () => {}); // then windows act on the 8 bits that are shown
  $("case-title").focus({ preventScroll: true });
  for (const near of [1, -1].map((step) => neighbour(step)).filter(Boolean)) image(near).catch(() => {});
}

export function close() {
  found = null;
  viewer.clear();
}

export function neighbour(step) {
  const ids = order();
  return ids[ids.indexOf(found.id) + step];
}

async function image(id) {
  if (!images.has(id)) {
    images.set(id, picture(`cases/${id}/image`).then(decode));
    images.get(id).catch(() => images.delete(id));
    while (images.size > 8) images.delete(images.keys().next().value);
  }
  return images.get(id);
}

// Shows what may be shown now: called when a case is opened, and after its rating.
async function appear() {
  stopEditing();
  choosePicture("image");
  const { id, attacked } = found;
  if (found.sees_mask) {
    const [mask, heat] = await Promise.all(["mask", "uncertainty"].map((kind) => picture(`cases/${id}/${kind}`).then(decode)));
    const own = found.decision && found.decision.mask ? toMask(await picture(`cases/${id}/drawn/${found.decision.number}`).then(decode)) : null;
    const [before, after, wrong] = await Promise.all(attacked ? ["before", "after", "mask"].map((layer) => picture(`cases/${id}/attacked/${layer}`).then(decode)) : []);
    if (!found || found.id !== id) return;
    viewer.setModel(toMask(mask), heat);
    if (attacked) viewer.setAttacked({ before, after, mask: toMask(wrong) });
    viewer.setDrawn(own);
  }
  fill();
  since = document.hidden ? null : performance.now();
}

function fill() {
  $("case-title").textContent = `Case ${found.id}: ${found.name}`;
  const score = found.score !== null ? `; score ${found.score.toPrecision(3)}` : "";
  const why = found.reasons.join("; ") + score;
  $("case-why").textContent = `${why[0].toUpperCase()}${why.slice(1)}.`;
  const area = found.area === null ? "" : ` Predicted area ${(100 * found.area).toFixed(1)} % of the image.`;
  $("case-state").textContent = `Status: ${found.status}. ${own()}${area}`;
  $("rate").hidden = found.sees_mask;
  $("after").hidden = !found.sees_mask;
  $("layers").hidden = !found.sees_mask;
  $("attack").hidden = !found.attacked;
  if (found.attacked) $("attack-about").textContent = `Recorded by an evaluation: ${found.attacked.attack}. The model sees ${found.attacked.side} x ${found.attacked.side} pixels. You decide on the mask of the image itself.`;
  $("decide-title").textContent = settling ? "You settle this case" : "Your decision on the mask";
  $("withdraw").disabled = !found.decision || found.adjudications.length > 0;
  $("canvas").setAttribute("aria-label", found.sees_mask ? "The image with the contour of the predicted mask" : "The image alone");
  $("others").replaceChildren(...[...found.decisions, ...found.adjudications].map(line));
  const header = Object.entries(found.header);
  $("header").hidden = !header.length;
  $("header-values").replaceChildren(...header.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
  showConfidence();
}

function own() {
  if (!found.decision) return found.rating === null ? "You have not rated it." : `You rated ${found.rating}: ${RATINGS[found.rating - 1]}.`;
  return `You: ${WORDS[found.decision.decision]}.`;
}

function line(entry) {
  const drawn = entry.mask ? ", redrawn" : "";
  const sure = entry.confidence ? `, sure ${entry.confidence} of 5` : "";
  const start = entry.kind === "adjudication" ? "settled: " : "";
  return element("p", {}, `${entry.reviewer} ${start}${WORDS[entry.decision]}${drawn}${sure}${entry.comment ? `: ${entry.comment}` : ""}`);
}

function measured() {
  const now = performance.now();
  const all = seconds + (since === null ? 0 : (now - since) / 1000);
  [seconds, since] = [0, now];
  return Math.min(all, 86400);
}

// Runs one write at a time and says what the server refuses.
async function once(work) {
  if (busy || !found) return;
  busy = true;
  try {
    await work();
  } catch (error) {
    warn(error.message);
  } finally {
    busy = false;
  }
}

// Shows what the server answered about a case, if it is still the one that is open.
async function show(id, answer) {
  if (found?.id !== id) return;
  found = answer;
  await appear();
}

export function rate(rating) {
  return once(async () => {
    await show(found.id, await write(`cases/${found.id}/rating`, { rating, seconds: measured() }));
    say(`rated ${rating}; the mask is shown`);
  });
}

export function decide(decision, mask = null) {
  return once(async () => {
    const { id } = found;
    const content = { decision, confidence, comment: $("comment").value, seconds: measured(), layers: viewer.layers(), mask };
    const answer = await write(`cases/${id}/${settling ? "adjudication" : "decision"}`, content);
    const next = $("go-on").checked && found?.id === id ? neighbour(1) : undefined;
    await refresh();
    say(`case ${id}: ${WORDS[decision]}`);
    if (next) location.hash = `case=${next}`;
    else await show(id, answer);
  });
}

export function withdraw() {
  return once(async () => {
    const { id } = found;
    const answer = await write(`cases/${id}/withdrawal`, {});
    await refresh();
    await show(id, answer);
    say("your decision is taken back");
  });
}

// Shows the image, or what an evaluation recorded of it; windows act on the image alone.
function choosePicture(name) {
  viewer.choose(name);
  $("picture").value = name;
  for (const id of ["level", "window", "reset-window"]) $(id).disabled = name !== "image";
}

export function edit() {
  if (!found || !found.sees_mask) return;
  choosePicture("image");
  viewer.startDrawing();
  $("drawing").hidden = false;
  $("edit").setAttribute("aria-expanded", "true");
  $("undo").disabled = false;
  $("canvas").focus({ preventScroll: true });
  say("drawing: the brush adds to the mask, the eraser takes away");
}

// Gives the sliders the range of the values that they act on, and puts them where the viewer is.
function fitWindow() {
  const { least, most, step } = viewer.scale;
  Object.assign($("level"), { min: least, max: most, step });
  Object.assign($("window"), { min: step, max: 2 * (most - least), step });
  [$("level").value, $("window").value] = [viewer.level, viewer.window];
  tellWindow();
}

function tellWindow() {
  const digits = viewer.scale.step < 1 ? 2 : 0;
  for (const name of ["level", "window"]) $(`${name}-value`).textContent = viewer[name].toFixed(digits);
}

function changeWindow(level, window) {
  viewer.setWindow(level, window);
  tellWindow();
}

export const editing = () => viewer.drawing;

function stopEditing() {
  viewer.stopDrawing();
  $("drawing").hidden = true;
  $("edit").setAttribute("aria-expanded", "false");
}

export function cancel() {
  stopEditing();
  viewer.setDrawn(null);
}

export async function save() {
  const { width, height } = viewer.image;
  const before = viewer.mask;
  const changed = viewer.drawn.some((value, i) => value !== before[i]);
  await decide("edit", changed ? await maskAsBase64(viewer.drawn, width, height) : null);
}

export function tool(on) {
  viewer.brush.on = on;
  press($("brush"), on);
  press($("eraser"), !on);
}

export function choose(value) {
  confidence = confidence === value ? null : value;
  showConfidence();
  say(confidence ? `sure: ${confidence}, ${CONFIDENCE[confidence - 1]}` : "no confidence given");
}

function showConfidence() {
  for (const button of $("confidence").children) press(button, Number(button.value) === confidence);
}

function scale(parent, words, work, testid) {
  words.forEach((word, i) => {
    const button = element("button", { type: "button", value: String(i + 1), "data-testid": `${testid}-${i + 1}` }, `${i + 1} ${word}`);
    button.addEventListener("click", () => work(i + 1));
    parent.append(button);
  });
}

scale($("rate-buttons"), RATINGS, rate, "rate");
scale($("confidence"), CONFIDENCE, choose, "sure");
$("accept").addEventListener("click", () => decide("accept"));
$("reject").addEventListener("click", () => decide("reject"));
$("edit").addEventListener("click", edit);
$("withdraw").addEventListener("click", withdraw);
$("brush").addEventListener("click", () => tool(true));
$("eraser").addEventListener("click", () => tool(false));
$("undo").addEventListener("click", () => viewer.undo());
$("clear").addEventListener("click", () => viewer.wipe());
$("save").addEventListener("click", save);
$("cancel").addEventListener("click", cancel);
for (const name of ["contour", "uncertainty"]) $(name).addEventListener("change", () => viewer.set(name, $(name).checked));
$("opacity").addEventListener("input", () => viewer.set("opacity", $("opacity").value / 100));
$("level").addEventListener("input", () => changeWindow(Number($("level").value), viewer.window));
$("window").addEventListener("input", () => changeWindow(viewer.level, Number($("window").value)));
$("picture").addEventListener("change", () => choosePicture($("picture").value));
$("reset-window").addEventListener("click", () => {
  viewer.resetWindow();
  fitWindow();
});
$("zoom-in").addEventListener("click", () => viewer.zoomBy(1.3));
$("zoom-out").addEventListener("click", () => viewer.zoomBy(1 / 1.3));
$("fit").addEventListener("click", () => viewer.fit());
$("size").addEventListener("input", () => {
  viewer.brush.size = Number($("size").value);
  $("size-value").textContent = `${$("size").value} pixels`;
  viewer.redraw();
});
$("size").dispatchEvent(new Event("input"));

// Time in which the page is hidden does not count.
document.addEventListener("visibilitychange", () => {
  if (!found) return;
  if (document.hidden && since !== null) [seconds, since] = [seconds + (performance.now() - since) / 1000, null];
  else if (!document.hidden && since === null) since = performance.now();
});
