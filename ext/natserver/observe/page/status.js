/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The relay at a glance. Every second it is asked whether there are new figures (they are measured every two seconds);
 * what is drawn is never older than what is said about it. */
import { drawWide } from "./plots.js";
import { PHONE, drawRows, drawSessions, makeHeads, measureRows } from "./sessions.js";
import { drawSky, nearest, pointAt, pointAway, repaint } from "./sky.js";
import { CARDS, KEEP, state } from "./state.js";
import { drawStreams } from "./streams.js";
import { Trend, takeTrend, whole } from "./trend.js";
import { $, clock, loss, now, number, put, putRate, setClock, span } from "./words.js";

const ASK_MS = 1000, LATE_MS = 6000, ANSWER_MS = 8000; // between questions; until we say so; for one answer

// ---- All of it ----

function drawFigures() {
  const r = state.relay, t = state.trend;
  put($("f-live"), number(r.live));
  put($("f-known"), r.live === state.total ? "all that are known" : `of ${number(state.total)} known`);
  put($("f-receivers"), number(r.subscribers));
  put($("f-sessions"), `${number(r.publishers)} publishing, ${number(r.sessions - r.publishers - r.subscribers)} on their way`);
  putRate($("f-in"), r["in-bps"]);
  putRate($("f-out"), r["out-bps"]);
  put($("f-in-loss"), loss(t.at(state.tick, 2) || 0) + " lost on the way in");
  put($("f-out-loss"), loss(t.at(state.tick, 3) || 0) + " lost on the way out");
  put($("about"), `natrelay ${r["program-version"]}, up for ${span(now() - r["started-s"])}.`);
}

function draw() {
  if (!state.relay) return;
  const s = state.picked && state.streams.get(state.picked), empty = state.total === 0 && state.relay.sessions === 0;
  state.trend = whole();
  $("empty").hidden = !empty;
  $("now").hidden = $("halves").hidden = $("sessions-part").hidden = empty;
  $("halves").classList.toggle("single", state.streams.size < 3);
  drawFigures();
  drawWide($("whole"), s ? s.trend : state.trend, s ? s.entry.name : "the relay");
  drawStreams();
  drawSessions();
  drawSky();
  document.title = state.relay.live ? `${state.relay.live} live · natrelay` : "natrelay";
}

function tell(s, before) { // to those who do not see it; not of what was there when the page came
  if (before === s.publisher || !state.relay) return;
  if (s.publisher === "live") $("say").textContent = `${s.name} is live`;
  else if (before === "live") $("say").textContent = `${s.name} lost its publisher`;
}

function takeStreams(answer) {
  if (answer.relay["started-s"] !== state.started) {
    state.streams.clear();
    $("streams").replaceChildren();
    state.started = answer.relay["started-s"];
  }
  const names = new Set();
  for (const e of answer.streams) {
    let s = state.streams.get(e.name);
    names.add(e.name);
    if (!s) state.streams.set(e.name, (s = { trend: new Trend(), entry: {}, card: null }));
    tell(e, s.entry.publisher);
    s.entry = e;
    takeTrend(s.trend, e.trend, answer.tick);
  }
  for (const [name, s] of state.streams) {
    if (names.has(name)) continue;
    if (s.card) s.card.li.remove();
    state.streams.delete(name);
  }
  state.tick = answer.tick;
  state.relay = answer.relay;
  state.total = answer.total;
}

function choose(name) {
  state.picked = name;
  $("all").hidden = !name;
  put($("all"), name ? `${name} ×` : "");
  $("all").setAttribute("aria-label", "Show all streams again");
  state.asked = 0;
  state.sessions = [];
  $("scroll").scrollTop = 0;
  draw();
  askNow();
}

// ---- Asking ----

async function ask(path, etag) {
  const headers = {};
  if (state.token) headers.Authorization = "Bearer " + state.token;
  if (etag) headers["If-None-Match"] = etag;
  const reply = await fetch(path, { headers, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(ANSWER_MS) });
  if (reply.status === 304) return null;
  if (!reply.ok) throw Object.assign(new Error(reply.status), { reply: await reply.json().catch(() => ({})), status: reply.status });
  const date = Date.parse(reply.headers.get("Date"));
  if (date) setClock(date);
  return { body: await reply.json(), etag: reply.headers.get("ETag") };
}

function gate(said) {
  state.relay = null;
  $("world").hidden = true;
  $("gate").hidden = false;
  $("leave").hidden = true;
  put($("gate-said"), said);
  pulse("wait", "waits for a token");
  $("token").focus();
}

function refused(error) {
  const had = state.token;
  state.token = null;
  state.etag = null;
  sessionStorage.removeItem("natrelay-token");
  const detail = error.reply.detail || error.reply.title || "";
  gate(had ? (error.status === 403 ? "The relay knows this token, but it may not look. " : "The relay does not take this token. ") + detail : error.status === 403 ? detail : "");
}

function pulse(kind, text) {
  $("pulse").dataset.state = kind;
  put($("pulse-text"), text);
}

function lost() {
  const quiet = performance.now() - state.answered;
  $("world").classList.toggle("stale", quiet > LATE_MS);
  if (state.answered && quiet <= LATE_MS) return;
  pulse("lost", "no connection");
  $("banner").hidden = false;
  put($("banner"), state.answered ? `No answer from the relay since ${clock(Date.now() - quiet)}. What is shown is from then; it is asked again and again.` : "The relay does not answer. It is asked again and again.");
}

function well() {
  state.answered = performance.now();
  state.failed = 0;
  $("banner").hidden = true;
  $("gate").hidden = true;
  $("world").hidden = false;
  $("world").classList.remove("stale");
  $("leave").hidden = !state.token;
  pulse("live", "live");
}

async function refresh() {
  const first = !state.relay, streams = await ask("/v1/streams?trend=" + (first ? KEEP : 12), first ? null : state.etag);
  if (streams) {
    if (!first && streams.body.tick - state.tick > 10) { // we slept
      state.relay = null;
      return refresh();
    }
    state.etag = streams.etag;
    takeStreams(streams.body);
  }
  well();
  let fresh = Boolean(streams);
  // A long list is long to send: then not every time.
  const pause = state.sessions.length > 300 ? 5000 : 0;
  if ((streams || !state.asked) && performance.now() - state.asked >= pause) {
    const picked = state.picked;
    const sessions = await ask("/v1/sessions" + (picked ? "?stream=" + encodeURIComponent(picked) : ""));
    if (picked !== state.picked) return;
    state.asked = performance.now();
    state.sessions = sessions.body.sessions;
    state.sessionsTotal = sessions.body.total;
    fresh = true;
  }
  if (fresh) draw();
}

let timer = 0, busy = false;
async function askNow() {
  clearTimeout(timer);
  if (busy) return;
  busy = true;
  let wait = ASK_MS;
  try {
    await refresh();
  } catch (error) {
    if (error.status === 401 || error.status === 403) {
      refused(error);
      wait = 0;
    } else {
      wait = Math.min(15000, ASK_MS * 2 ** Math.min(4, state.failed++));
      lost();
    }
  }
  busy = false;
  if (wait && !document.hidden) timer = setTimeout(askNow, wait);
}

// ---- Hands ----

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = $("token").value.trim();
  $("token").value = "";
  put($("gate-said"), "");
  sessionStorage.setItem("natrelay-token", state.token);
  askNow();
});
$("leave").addEventListener("click", () => {
  sessionStorage.removeItem("natrelay-token");
  location.reload();
});
$("streams").addEventListener("click", (event) => {
  const card = event.target.closest("h3 button") && event.target.closest("li");
  if (card) choose(state.picked === card.dataset.name ? null : card.dataset.name);
});
$("all").addEventListener("click", () => {
  choose(null);
  $("scroll").focus();
});
$("more").addEventListener("click", () => {
  state.cards += 2 * CARDS;
  drawStreams();
});
$("find").addEventListener("input", () => {
  state.find = $("find").value.trim().toLowerCase();
  $("scroll").scrollTop = 0;
  drawStreams();
  drawSessions();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.picked) choose(null);
  if (event.key === "/" && !/INPUT|TEXTAREA/.test(document.activeElement.tagName) && !$("world").hidden) {
    event.preventDefault();
    $("find").focus();
  }
});
let moving = false;
$("scroll").addEventListener("scroll", () => {
  if (moving) return;
  moving = true;
  requestAnimationFrame(() => {
    moving = false;
    drawRows();
  });
}, { passive: true });
$("sky").addEventListener("pointermove", pointAt);
$("sky").addEventListener("pointerleave", pointAway);
$("sky").addEventListener("click", (event) => {
  const d = nearest(event);
  if (d) choose(state.picked ? null : d.s.stream);
});
document.addEventListener("visibilitychange", () => document.hidden || askNow());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
PHONE.addEventListener("change", measureRows);
new ResizeObserver(measureRows).observe($("scroll"));
let wide = 0;
new ResizeObserver((entries) => {
  const width = Math.round(entries[0].contentRect.width);
  if (!state.relay || width === wide) return; // what we draw changes its height
  wide = width;
  draw();
}).observe($("world"));

put($("host"), location.host);
put($("try"), `gst-launch-1.0 videotestsrc is-live=true ! x264enc tune=zerolatency ! \\\n  natrelaysink uri=natrelay://${location.host}/test auth-token=…`);
makeHeads();
askNow();
