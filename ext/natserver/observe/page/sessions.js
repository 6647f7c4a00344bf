/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The table of sessions: only the rows that are in view exist. */
import { found, state } from "./state.js";
import { $, isBad, loss, make, ms, number, put, rateText, since } from "./words.js";

export const PHONE = matchMedia("(max-width: 760px)");

export const label = (s) => s.subject.startsWith("token:") ? "token " + s.subject.slice(6, 12) + "…" : s.subject || "session " + s.session.slice(0, 8);
export const bitrate = (s) => (s.role === "publisher" ? s["in-bps"] : s["out-bps"]);
export const lossOf = (s) => (s.role === "publisher" ? s["loss-in-ppm"] : s["loss-out-ppm"]);
const resent = (s) => (s.role === "publisher" ? s.repairs_received : s.repairs_sent);
const columns = [
  ["who", "Who", label], ["stream", "Stream", (s) => s.stream], ["path", "Path", (s) => s.mapped || ""],
  ["rtt", "Round trip", (s) => s.rtt_us, true], ["jitter", "Jitter", (s) => s.jitter_us, true], ["loss", "Lost", lossOf, true],
  ["rate", "Bitrate", bitrate, true], ["resent", "Resent", resent, true], ["since", "For", (s) => -s["created-s"], true],
];
let rows = [], pool = [], view = { height: 0, row: PHONE.matches ? 84 : 44 };

export function makeHeads() {
  columns.forEach(([key, title, , right], k) => {
    const h = make("div", `head-${key}` + (right ? " n" : "")), b = make("button", "", title);
    h.setAttribute("role", "columnheader");
    h.setAttribute("aria-colindex", k + 1);
    b.type = "button";
    b.addEventListener("click", () => {
      state.sort = { key, down: state.sort.key === key ? !state.sort.down : Boolean(right) };
      drawSessions();
    });
    h.append(b);
    $("heads").append(h);
  });
}

function newRow() {
  const e = make("div"), cells = {};
  e.setAttribute("role", "row");
  columns.forEach(([key, , , right], k) => {
    const c = make("div", `cell ${key}` + (right ? " n" : ""));
    c.setAttribute("role", "cell");
    c.setAttribute("aria-colindex", k + 1);
    cells[key] = c;
    e.append(c);
  });
  const mark = make("span", "role"), spoken = make("span", "unseen"), name = make("span");
  mark.setAttribute("aria-hidden", "true");
  cells.who.append(mark, spoken, name);
  $("rows").append(e);
  return { e, cells, mark, spoken, name, session: null, at: -1 };
}

function fillRow(r, s, at) {
  const c = r.cells, bad = isBad(lossOf(s));
  if (r.at !== at) {
    r.e.style.transform = `translateY(${at * view.row}px)`;
    r.e.setAttribute("aria-rowindex", at + 2);
    r.at = at;
  }
  if (r.session === s) return;
  r.session = s;
  r.mark.className = "role " + s.role;
  put(r.spoken, s.role + " ");
  put(r.name, label(s));
  put(c.stream, s.stream);
  put(c.path, s.registered ? (s.transport === "websocket" ? "WebSocket " : "UDP ") + s.mapped + (s.moves ? ` · moved ${s.moves}×` : "") : "not registered yet");
  put(c.rtt, ms(s.rtt_us));
  put(c.jitter, ms(s.jitter_us));
  if (c.loss.textContent !== loss(lossOf(s)) || c.loss.dataset.bad !== String(bad)) {
    c.loss.replaceChildren(make("span", bad ? "bad" : "", loss(lossOf(s))));
    c.loss.dataset.bad = bad;
  }
  put(c.rate, bitrate(s) ? rateText(bitrate(s)) : "–");
  put(c.resent, resent(s) ? number(resent(s)) : "–");
  put(c.since, since(s["created-s"]));
}

export function drawRows() {
  const first = Math.max(0, Math.floor($("scroll").scrollTop / view.row) - 4);
  const n = Math.min(rows.length, Math.ceil(view.height / view.row) + 8);
  while (pool.length < n) pool.push(newRow());
  pool.forEach((r) => { r.used = false; });
  for (let at = first; at < Math.min(first + n, rows.length); at++) {
    const r = pool[at % pool.length];
    fillRow(r, rows[at], at);
    r.used = true;
  }
  pool.forEach((r) => {
    if (r.e.hidden === r.used) r.e.hidden = !r.used;
  });
}

export function drawSessions() {
  const column = columns.find((c) => c[0] === state.sort.key), sign = state.sort.down ? -1 : 1, of = column[2];
  rows = state.sessions.filter((s) => found(s.stream, s.subject, s.mapped));
  rows.sort((a, b) => {
    const x = of(a), y = of(b);
    return x < y ? -sign : x > y ? sign : a.stream !== b.stream ? (a.stream < b.stream ? -1 : 1) : a.role !== b.role ? (a.role < b.role ? -1 : 1) : a.session < b.session ? -1 : 1;
  });
  [...$("heads").children].forEach((h, k) => h.setAttribute("aria-sort", columns[k][0] === state.sort.key ? (state.sort.down ? "descending" : "ascending") : "none"));
  $("table").setAttribute("aria-rowcount", rows.length + 1);
  $("rows").style.height = rows.length * view.row + "px";
  const more = state.sessionsTotal > state.sessions.length ? `, the first ${number(state.sessions.length)} of ${number(state.sessionsTotal)}` : "";
  put($("sessions-count"), number(rows.length) + more);
  drawRows();
}

export function measureRows() {
  view = { height: $("scroll").clientHeight, row: PHONE.matches ? 84 : 44 };
  pool.forEach((r) => { r.at = -1; });
  drawSessions();
}
