// The page: logging in, what is shown, keys, the stop switch.

import { Refused, get, remember, send, write } from "./api.js";
import * as cases from "./caseview.js";
import { $, say, warn } from "./dom.js";
import { arrange, refresh, rows, stopped } from "./list.js";
import { prepare } from "./threshold.js";

const EVERY = 20000; // milliseconds between two looks at what others have done

let session = null;

function show(id) {
  for (const section of ["login", "list", "case"]) $(section).hidden = section !== id;
  $("account").hidden = id === "login";
  $("to-list").hidden = id !== "case";
}

// --- logging in -------------------------------------------------------------------------------------------------------

async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) {
    history.replaceState(null, "", "/"); // the token stays in no history
    return enter({ token });
  }
  try {
    await begin(remember(await get("session")));
  } catch {
    await showLogin();
  }
}

async function showLogin() {
  session = null;
  const { password } = await get("login");
  for (const part of document.querySelectorAll(".by-token")) part.hidden = password;
  for (const part of document.querySelectorAll(".by-name")) part.hidden = !password;
  cases.close();
  show("login");
}

async function enter(credentials) {
  try {
    await begin(remember(await send("POST", "session", credentials)));
  } catch (error) {
    await showLogin();
    $("login-error").textContent = error.message;
  }
}

async function begin(known) {
  session = known;
  $("password").value = "";
  $("token").value = "";
  $("login-error").textContent = "";
  $("who").textContent = `${session.name} (${session.role})`;
  if (session.target) for (const place of document.querySelectorAll(".target")) place.textContent = session.target;
  $("score-about").textContent = `Score: ${session.aggregation} of ${session.measure}, the uncertainty of the image. Higher is less sure.`.replaceAll("_", " ");
  tellPolicy(session.policy);
  await refresh();
  if (!session.policy || !rows().some((row) => row.flagged)) {
    $("only").value = "all";
    arrange();
  }
  await prepare(session.policy);
  tellStop();
  await go();
}

function tellPolicy(policy) {
  $("policy").hidden = !policy;
  if (!policy) return;
  if (policy.promises_nothing) {
    document.querySelector("#policy summary").textContent = "! The policy promises nothing";
    $("policy-text").textContent = policy.statement;
    return;
  }
  const broken = policy.guarantee === "void";
  document.querySelector("#policy summary").textContent = broken ? "! The policy's promise is void for these images" : "What the policy promises";
  const why = broken ? "These images differ from those that the policy was fitted on, so its promise does not hold: " : "";
  const held = " It is for clean images of new patients like those that it was fitted on; attack, shift and other populations void it.";
  $("policy-text").textContent = why + policy.statement + held;
}

$("log-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const filled = (id) => (id === "password" ? $(id).value : $(id).value.trim());
  enter({ token: filled("token"), name: filled("name"), password: filled("password") });
});

$("log-out").addEventListener("click", async () => {
  await send("DELETE", "session").catch(() => {});
  location.hash = "";
  $("name").value = ""; // somebody else may log in now
  await showLogin();
});

// --- which view -------------------------------------------------------------------------------------------------------

async function go() {
  if (!session) return;
  const id = Number(new URLSearchParams(location.hash.slice(1)).get("case"));
  try {
    if (id) {
      show("case");
      await cases.open(id);
    } else {
      cases.close();
      await refresh();
      show("list");
    }
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return showLogin();
    warn(error instanceof Refused ? error.message : "No connection to the server; try again.");
  }
}

const openCase = (id) => {
  if (id) location.hash = `case=${id}`;
  else say("no further case in this list");
};
const step = (by) => openCase(cases.neighbour(by));
const back = () => {
  location.hash = "";
};

addEventListener("hashchange", go);
$("to-list").addEventListener("click", back);
$("next").addEventListener("click", () => step(1));
$("previous").addEventListener("click", () => step(-1));

// --- the stop switch --------------------------------------------------------------------------------------------------

function tellStop() {
  const mayResume = session.role !== "reader";
  $("stop").textContent = stopped() ? "Let the policy apply again" : "Stop: all cases to a human";
  $("stop").disabled = Boolean(stopped()) && !mayResume;
}

$("stop").addEventListener("click", () => {
  const stop = !stopped();
  $("stop-title").textContent = stop ? "Send every case to a human?" : "Let the policy apply again?";
  $("stop-text").textContent = stop
    ? "From now on every case is flagged, whatever its score, until an adjudicator or admin ends it. It is written into the log."
    : "Only the cases that the policy flags go to a human again. It is written into the log.";
  $("stop-yes").textContent = stop ? "Stop" : "Resume";
  $("stop-dialog").showModal();
});
$("stop-no").addEventListener("click", () => $("stop-dialog").close());
$("stop-yes").addEventListener("click", async () => {
  try {
    await write("switch", { stop: !stopped(), reason: $("stop-reason").value });
    $("stop-reason").value = "";
    await refresh();
    tellStop();
  } catch (error) {
    warn(error.message);
  }
  $("stop-dialog").close();
});

// --- keys -------------------------------------------------------------------------------------------------------------

const toggle = (id) => {
  $(id).checked = !$(id).checked;
  $(id).dispatchEvent(new Event("change"));
  say(`${id} ${$(id).checked ? "on" : "off"}`);
};
const afterRating = (work) => () => (cases.shownCase().sees_mask ? work() : say("rate the image first, 1 to 5"));

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  a: afterRating(() => cases.decide("accept")),
  r: afterRating(() => cases.decide("reject")),
  e: afterRating(cases.edit),
  z: afterRating(cases.withdraw),
  m: afterRating(() => toggle("contour")),
  u: afterRating(() => toggle("uncertainty")),
  b: () => cases.editing() && cases.tool(true),
  x: () => cases.editing() && cases.tool(false),
  "+": () => cases.viewer.zoomBy(1.3),
  "-": () => cases.viewer.zoomBy(1 / 1.3),
  0: () => cases.viewer.fit(),
};

function number(value) {
  if (cases.shownCase().sees_mask) cases.choose(value);
  else cases.rate(value);
}

addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=checkbox]):not([type=range]), textarea, select");
  if (!session || typing || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "?") return $("help").showModal();
  if (!cases.shownCase()) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "z" && cases.editing()) {
    event.preventDefault();
    cases.viewer.undo();
  }
  if (event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") return cases.editing() ? cases.cancel() : back();
  if (event.key === "Enter" && cases.editing() && !event.target.matches("button")) return cases.save();
  if (/^[1-5]$/.test(event.key)) return number(Number(event.key));
  const work = KEYS[event.key];
  if (work) {
    event.preventDefault();
    work();
  }
});

$("show-help").addEventListener("click", () => $("help").showModal());
$("close-help").addEventListener("click", () => $("help").close());

setInterval(() => {
  if (session && !document.hidden) refresh().then(tellStop).catch((error) => error instanceof Refused && error.status === 401 && showLogin());
}, EVERY);

start();
