/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The sky: each session at the distance of its round trip. */
import { bitrate, label, lossOf } from "./sessions.js";
import { state } from "./state.js";
import { $, isBad, loss, ms, put, rateText } from "./words.js";

let paint = null, dots = [], over = null;
const colours = () => {
  const css = getComputedStyle(document.documentElement), get = (n) => css.getPropertyValue(n).trim();
  return { in: get("--in"), out: get("--out"), loss: get("--loss"), line: get("--line"), soft: get("--soft"), card: get("--card"), ink: get("--ink") };
};

const reach = (us) => (us ? 0.15 + 0.8 * Math.min(1, Math.max(0, Math.log10(us / 500) / Math.log10(2e6 / 500))) : 0.985);

function layOut(size) { // a sector for each stream, as wide as its sessions need
  const groups = new Map(), half = size / 2;
  for (const s of state.sessions) {
    if (!groups.has(s.stream)) groups.set(s.stream, []);
    groups.get(s.stream).push(s);
  }
  const names = [...groups.keys()].sort();
  const need = names.map((n) => Math.sqrt(groups.get(n).length)), all = need.reduce((a, b) => a + b, 0);
  let angle = -Math.PI / 2;
  dots = [];
  names.forEach((name, g) => {
    const wide = (need[g] / all) * 2 * Math.PI, list = groups.get(name).sort((a, b) => (a.role === b.role ? (a.session < b.session ? -1 : 1) : a.role === "publisher" ? -1 : 1));
    const others = list.filter((s) => s.role !== "publisher").length;
    let k = 0;
    for (const s of list) {
      // Receivers to both sides of their publisher, who has the middle to himself.
      const part = s.role === "publisher" ? 0.5 : (k++ + 0.5) / others;
      const a = angle + wide * (s.role === "publisher" ? 0.5 : 0.06 + 0.88 * part), r = reach(s.rtt_us) * half * 0.94;
      dots.push({ s, x: half + r * Math.cos(a), y: half + r * Math.sin(a) });
    }
    angle += wide;
  });
}

function drawDot(g, d, c, scale) {
  const s = d.s, bad = isBad(lossOf(s)), publisher = s.role === "publisher", r = (publisher ? 6 : 3.4) * scale;
  g.beginPath();
  if (publisher) {
    g.moveTo(d.x, d.y - r);
    g.lineTo(d.x + r, d.y);
    g.lineTo(d.x, d.y + r);
    g.lineTo(d.x - r, d.y);
    g.closePath();
  } else if (s.transport === "websocket") {
    g.rect(d.x - r, d.y - r, 2 * r, 2 * r);
  } else {
    g.arc(d.x, d.y, r, 0, 7);
  }
  if (!s.registered) {
    g.strokeStyle = c.soft;
    g.lineWidth = 1.2;
    g.stroke();
    return;
  }
  g.fillStyle = bad ? c.loss : publisher ? c.in : c.out;
  g.fill();
  if (bad) {
    g.beginPath();
    g.arc(d.x, d.y, r + 3, 0, 7);
    g.strokeStyle = c.loss;
    g.lineWidth = 1.2;
    g.stroke();
  }
}

export function drawSky() {
  const canvas = $("sky"), size = Math.min(canvas.clientWidth, canvas.clientHeight), ratio = window.devicePixelRatio || 1;
  if (!size) return;
  paint = paint || colours();
  const c = paint, g = canvas.getContext("2d"), half = size / 2, wide = canvas.clientWidth;
  if (canvas.width !== Math.round(wide * ratio)) canvas.width = Math.round(wide * ratio);
  if (canvas.height !== Math.round(canvas.clientHeight * ratio)) canvas.height = Math.round(canvas.clientHeight * ratio);
  layOut(size);
  g.setTransform(ratio, 0, 0, ratio, ((wide - size) / 2) * ratio, ((canvas.clientHeight - size) / 2) * ratio);
  g.clearRect(-wide, -wide, 3 * wide, 3 * wide);
  g.font = "11px " + getComputedStyle(document.body).fontFamily;
  const rings = [];
  for (const [us, text] of [[1e3, "1 ms"], [1e4, "10 ms"], [1e5, "100 ms"], [1e6, "1 s"]]) {
    const r = reach(us) * half * 0.94;
    g.beginPath();
    g.arc(half, half, r, 0, 7);
    g.strokeStyle = c.line;
    g.lineWidth = 1;
    g.stroke();
    rings.push([text, half + r * 0.64, half + r * 0.77]);
  }
  drawSpokes(g, c, half);
  const scale = dots.length > 600 ? 0.75 : dots.length > 150 ? 0.9 : 1.25;
  for (const d of dots) if (d.s.role !== "publisher") drawDot(g, d, c, scale);
  for (const d of dots) if (d.s.role === "publisher") drawDot(g, d, c, scale);
  g.textAlign = "center";
  g.textBaseline = "middle";
  g.lineWidth = 4;
  g.strokeStyle = c.card;
  g.fillStyle = c.soft;
  for (const [text, x, y] of rings) {
    g.strokeText(text, x, y);
    g.fillText(text, x, y);
  }
  g.beginPath();
  g.arc(half, half, 11, 0, 7);
  g.fillStyle = c.ink;
  g.fill();
  g.beginPath();
  g.arc(half, half, 4, 0, 7);
  g.fillStyle = c.card;
  g.fill();
  if (over) {
    const d = dots.find((o) => o.s.session === over);
    if (d) {
      g.beginPath();
      g.arc(d.x, d.y, 12, 0, 7);
      g.strokeStyle = c.ink;
      g.lineWidth = 2;
      g.stroke();
    }
  }
  const n = state.sessions.length;
  put($("sky-count"), state.picked ? state.picked : "distance is the round trip");
  canvas.setAttribute("aria-label", `${n} sessions around the relay, each at the distance of its round trip; the table below has the same as text`);
}

function drawSpokes(g, c, half) { // as thick as what passes
  const faint = dots.length > 300 ? 0.05 : dots.length > 60 ? 0.14 : 0.32;
  for (const d of dots) {
    const bps = bitrate(d.s);
    if (!bps) continue;
    g.beginPath();
    g.moveTo(half, half);
    g.lineTo(d.x, d.y);
    g.globalAlpha = d.s.role === "publisher" ? 0.65 : faint;
    g.strokeStyle = d.s.role === "publisher" ? c.in : c.out;
    g.lineWidth = Math.min(5, 0.6 + Math.log2(1 + bps / 4e5) * 0.7) * (d.s.role === "publisher" ? 1 : 0.6);
    g.stroke();
  }
  g.globalAlpha = 1;
}

export function nearest(event) {
  const canvas = $("sky"), box = canvas.getBoundingClientRect(), size = Math.min(box.width, box.height);
  const x = event.clientX - box.left - (box.width - size) / 2, y = event.clientY - box.top - (box.height - size) / 2;
  let best = null, least = 16 * 16;
  for (const d of dots) {
    const q = (d.x - x) ** 2 + (d.y - y) ** 2;
    if (q < least) [best, least] = [d, q];
  }
  return best;
}

export function pointAt(event) {
  const d = nearest(event), s = d && d.s;
  if ((s ? s.session : null) !== over) {
    over = s ? s.session : null;
    drawSky();
  }
  put($("sky-said"), s ? `${s.role} ${label(s)} of ${s.stream} · ${ms(s.rtt_us)} · ${loss(lossOf(s))} lost · ${rateText(bitrate(s))}` : "");
}

export function pointAway() {
  over = null;
  put($("sky-said"), "");
  drawSky();
}

export function repaint() { // in other colours
  paint = null;
  drawSky();
}
