/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Plots of the last minutes: bitrates in and out, and losses. */
import { KEEP } from "./state.js";
import { loss, rateText, roundRate } from "./words.js";

export const SVG = "http://www.w3.org/2000/svg";

function shape(svg, name, attributes, text) {
  const e = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  svg.append(e);
  return e;
}

function ceiling(v) { // a round number above
  if (v <= 0) return 1;
  const ten = 10 ** Math.floor(Math.log10(v));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((m) => m * ten).find((m) => m >= v);
}

function linePath(values, x, y) {
  let d = "", pen = false;
  values.forEach((v, k) => {
    if (!Number.isNaN(v)) d += (pen ? "L" : "M") + x(k).toFixed(1) + " " + y(v).toFixed(1);
    pen = !Number.isNaN(v);
  });
  return d;
}

function areaPath(values, x, y, base) {
  const from = values.findIndex((v) => !Number.isNaN(v));
  if (from < 0) return "";
  const known = values.slice(from).map((v) => (Number.isNaN(v) ? 0 : v));
  return linePath(known, (k) => x(k + from), y) + `L${x(values.length - 1).toFixed(1)} ${base}L${x(from).toFixed(1)} ${base}Z`;
}

// One bar a sample; a tenth is as high as it gets, and the root shows small losses, too.
function bars(values, x, base, height) {
  let d = "";
  values.forEach((v, k) => {
    const h = v > 0 ? Math.max(1.5, Math.sqrt(Math.min(v, 1e5) / 1e5) * Math.abs(height)) : 0;
    if (h) d += `M${x(k).toFixed(1)} ${base}v${(height < 0 ? -h : h).toFixed(1)}`;
  });
  return d;
}

function lane(svg, kind, values, x, top, height, label) {
  const most = ceiling(Math.max(...values.filter((v) => !Number.isNaN(v)), 1000));
  const base = top + height, y = (v) => base - (v / most) * (height - 2);
  shape(svg, "path", { class: "grid", d: `M${x(0)} ${base}H${x(KEEP - 1)}` });
  shape(svg, "path", { class: kind + "-area", d: areaPath(values, x, y, base) });
  shape(svg, "path", { class: kind + "-line", d: linePath(values, x, y) });
  if (label) {
    shape(svg, "path", { class: "grid", d: `M${x(0)} ${top + 1}H${x(KEEP - 1)}`, "stroke-dasharray": "2 5" });
    shape(svg, "text", { x: x(0) - 8, y: top + 8, "text-anchor": "end" }, roundRate(most));
    shape(svg, "text", { x: x(0) - 8, y: base, "text-anchor": "end" }, label);
  }
}

function losses(svg, trend, x, base, height) {
  const width = Math.max(1, (x(1) - x(0)) * 0.7);
  shape(svg, "path", { class: "loss-base", d: `M${x(0)} ${base}H${x(KEEP - 1)}` });
  for (const [which, h] of [[2, -height], [3, height]])
    shape(svg, "path", { stroke: "var(--loss)", "stroke-width": width, fill: "none", d: bars(trend.series(which), x, base, h) });
}

export function drawCard(svg, trend, width) {
  const height = 68, x = (k) => (k / (KEEP - 1)) * width;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  lane(svg, "in", trend.series(0), x, 0, 46);
  losses(svg, trend, x, 58, 9);
}

export function drawWide(figure, trend, name) {
  const width = Math.max(240, figure.clientWidth - 36), height = Math.max(140, figure.clientHeight - 20);
  const left = 84, x = (k) => left + (k / (KEEP - 1)) * (width - left), tall = (height - 62) / 2;
  let svg = figure.querySelector("svg");
  if (!svg) {
    figure.append((svg = document.createElementNS(SVG, "svg")));
    svg.setAttribute("role", "img");
  }
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  lane(svg, "in", trend.series(0), x, 2, tall, "in");
  lane(svg, "out", trend.series(1), x, tall + 12, tall, "out");
  losses(svg, trend, x, height - 29, 11);
  shape(svg, "text", { x: left - 8, y: height - 33, "text-anchor": "end" }, "lost in");
  shape(svg, "text", { x: left - 8, y: height - 19, "text-anchor": "end" }, "out");
  for (let m = 0; m <= 4; m++) {
    const at = x(KEEP - 1 - m * 30);
    shape(svg, "text", { x: at, y: height - 2, "text-anchor": m ? "middle" : "end" }, m ? `−${m} min` : "now");
  }
  const known = (which) => trend.series(which).filter((v) => !Number.isNaN(v));
  const say = (which) => rateText(known(which).at(-1) || 0) + " now, at most " + rateText(Math.max(0, ...known(which)));
  svg.setAttribute("aria-label", `The last five minutes of ${name}: in ${say(0)}; out ${say(1)}; at most ${loss(Math.max(0, ...known(2)))} lost on the way in and ${loss(Math.max(0, ...known(3)))} on the way out`);
}
