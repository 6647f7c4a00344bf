/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Words and numbers, and how they get into the page: texts as texts, never as HTML. */

export const $ = (id) => document.getElementById(id);

export const number = (n) => n.toLocaleString("en").replace(/,/g, "\u202f");

function rate(bps) {
  for (const [unit, size] of [["Gbit/s", 1e9], ["Mbit/s", 1e6], ["kbit/s", 1e3]])
    if (bps >= size * 0.9995) {
      const v = bps / size;
      return [v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2), unit];
    }
  return [String(Math.round(bps)), "bit/s"];
}
export const rateText = (bps) => rate(bps).join("\u00a0");
export const roundRate = (bps) => Number(rate(bps)[0]) + "\u00a0" + rate(bps)[1];

export function loss(ppm) {
  const p = ppm / 1e4;
  return p === 0 ? "0\u00a0%" : p < 0.1 ? "<\u202f0.1\u00a0%" : (p < 10 ? p.toFixed(1) : p.toFixed(0)) + "\u00a0%";
}
export const isBad = (ppm) => ppm >= 1e4;

export function ms(us) {
  if (!us) return "–";
  if (us < 50) return "<\u202f0.1\u00a0ms";
  return (us < 9950 ? (us / 1000).toFixed(1) : Math.round(us / 1000)) + "\u00a0ms";
}

export function span(s) {
  s = Math.max(0, Math.round(s));
  if (s < 60) return s + "\u00a0s";
  if (s < 3600) return Math.floor(s / 60) + "\u00a0min";
  if (s < 86400) return Math.floor(s / 3600) + "\u00a0h " + Math.floor((s / 60) % 60) + "\u00a0min";
  return Math.floor(s / 86400) + "\u00a0d " + Math.floor((s / 3600) % 24) + "\u00a0h";
}
export const since = (s) => (s ? span(now() - s) : "–");
let skew = 0; // of our clock against the relay's
export const now = () => Date.now() / 1000 + skew;

export function setClock(date) { // the relay's, in ms
  skew = Math.abs(date - Date.now()) < 2000 ? 0 : (date - Date.now()) / 1000;
}

export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

export function make(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

export function put(e, text) { // writes only what changed
  if (e.textContent !== text) e.textContent = text;
}

export function putRate(e, bps) {
  const [v, unit] = rate(bps);
  if (e.dataset.is === v + unit) return;
  e.dataset.is = v + unit;
  e.replaceChildren(v, make("small", "", unit));
}
