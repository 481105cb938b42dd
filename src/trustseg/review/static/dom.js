// Small helpers: elements by id, new elements, and what a screen reader is told.

export const $ = (id) => document.getElementById(id);

// Text from data is only ever set as text, never as HTML.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name in made && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export function say(text) {
  $("said").textContent = text;
}

export function warn(text) {
  $("banner").textContent = text;
  $("banner").hidden = !text;
}

export function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;
export const wholePercent = (share) => `${(100 * share).toFixed(0)} %`; // of estimates from few patients

// A value with its interval, as { value, low, high } from the server.
export function withInterval(found, format = percent) {
  if (found.value === null) return "undefined";
  return found.low === null ? `${format(found.value)} (no interval)` : `${format(found.value)} [${format(found.low)}, ${format(found.high)}]`;
}
