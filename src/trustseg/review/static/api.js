// Talks to the server: reads, and writes that are sent again until they have arrived. A key made here lets the server
// know a write that it has had already, so that none is lost and none is counted twice.

import { warn } from "./dom.js";

const PAUSE = 2000; // milliseconds between two attempts
let csrf = "";
let waiting = 0;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function remember(session) {
  csrf = session.csrf;
  return session;
}

async function ask(method, path, body) {
  const headers = method === "GET" ? {} : { "content-type": "application/json", "x-csrf-token": csrf };
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const answer = await fetch(`/api/${path}`, { method, headers, body: sent, credentials: "same-origin" });
  if (answer.ok) return answer;
  const found = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, found.detail || `the server answered ${answer.status}`);
}

export const get = async (path) => (await ask("GET", path)).json();
export const picture = async (path) => (await ask("GET", path)).blob();

// The values of a deep image before they became grey levels; null of an image of 8 bits.
export async function deepValues(path) {
  const answer = await ask("GET", path);
  if (answer.status === 204) return null;
  return { ...JSON.parse(answer.headers.get("trustseg-values")), stored: new Uint16Array(await answer.arrayBuffer()) };
}

export const send = async (method, path, body) => (await ask(method, path, body)).json();

// Sends a write until the server has answered; what it refuses is thrown.
export async function write(path, content) {
  const body = { key: crypto.randomUUID(), ...content }; // on secure pages only: 127.0.0.1 is one, a proxy has TLS
  let warned = false;
  waiting += 1;
  try {
    for (;;) {
      try {
        const answer = await send("POST", path, body);
        if (warned) warn("");
        return answer;
      } catch (error) {
        if (error instanceof Refused && error.status < 500) throw error;
        warned = true;
        warn("No connection to the server. What you did is kept here and sent again; leave this page open.");
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
  } finally {
    waiting -= 1;
  }
}

addEventListener("beforeunload", (event) => {
  if (waiting) event.preventDefault();
});
