/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The relay at a glance. Every second it is asked whether there are new figures (they are measured every two seconds);
 * what is drawn is never older than what is said about it. Texts go into the page as texts, never as HTML. */
"use strict";
(() => {
  const ASK_MS = 1000, LATE_MS = 6000, ANSWER_MS = 8000; // between questions; until we say so; for one answer
  const KEEP = 150; // samples, five minutes of them
  const CARDS = 24; // shown at first
  const PHONE = matchMedia("(max-width: 760px)"), DARK = matchMedia("(prefers-color-scheme: dark)");
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";

  const state = {
    token: sessionStorage.getItem("natrelay-token"), started: 0, tick: 0, etag: null, answered: 0, failed: 0,
    relay: null, streams: new Map(), order: [], sessions: [], total: 0, asked: 0, picked: null, find: "",
    sort: { key: "stream", down: false }, cards: CARDS,
  };

  // ---- Words and numbers ----

  const number = (n) => n.toLocaleString("en").replace(/,/g, "\u202f");

  function rate(bps) {
    for (const [unit, size] of [["Gbit/s", 1e9], ["Mbit/s", 1e6], ["kbit/s", 1e3]])
      if (bps >= size * 0.9995) {
        const v = bps / size;
        return [v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v.toFixed(2), unit];
      }
    return [String(Math.round(bps)), "bit/s"];
  }
  const rateText = (bps) => rate(bps).join("\u00a0");
  const roundRate = (bps) => Number(rate(bps)[0]) + "\u00a0" + rate(bps)[1];

  function loss(ppm) {
    const p = ppm / 1e4;
    return p === 0 ? "0\u00a0%" : p < 0.1 ? "<\u202f0.1\u00a0%" : (p < 10 ? p.toFixed(1) : p.toFixed(0)) + "\u00a0%";
  }
  const isBad = (ppm) => ppm >= 1e4;

  function ms(us) {
    if (!us) return "–";
    if (us < 50) return "<\u202f0.1\u00a0ms";
    return (us < 9950 ? (us / 1000).toFixed(1) : Math.round(us / 1000)) + "\u00a0ms";
  }

  function span(s) {
    s = Math.max(0, Math.round(s));
    if (s < 60) return s + "\u00a0s";
    if (s < 3600) return Math.floor(s / 60) + "\u00a0min";
    if (s < 86400) return Math.floor(s / 3600) + "\u00a0h " + Math.floor((s / 60) % 60) + "\u00a0min";
    return Math.floor(s / 86400) + "\u00a0d " + Math.floor((s / 3600) % 24) + "\u00a0h";
  }
  const since = (s) => (s ? span(now() - s) : "–");
  let skew = 0; // of our clock against the relay's
  const now = () => Date.now() / 1000 + skew;
  const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");

  function make(name, className, text) {
    const e = document.createElement(name);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function put(e, text) { // writes only what changed
    if (e.textContent !== text) e.textContent = text;
  }

  function putRate(e, bps) {
    const [v, unit] = rate(bps);
    if (e.dataset.is === v + unit) return;
    e.dataset.is = v + unit;
    e.replaceChildren(v, make("small", "", unit));
  }

  // ---- The last minutes ----

  class Trend {
    constructor() {
      this.first = this.last = 0;
      this.data = new Float64Array(4 * KEEP);
    }
    add(tick, values) {
      if (tick <= this.last) return;
      if (!this.first) this.first = tick;
      for (let t = Math.max(this.last + 1, tick - KEEP + 1); this.last && t < tick; t++) this.data.fill(0, 4 * (t % KEEP), 4 * (t % KEEP) + 4);
      this.data.set(values, 4 * (tick % KEEP));
      this.last = tick;
    }
    at(tick, which) { // NaN: not known
      if (!this.first || tick < this.first || tick > this.last || tick <= this.last - KEEP) return NaN;
      return this.data[4 * (tick % KEEP) + which];
    }
    series(which) {
      const out = [];
      for (let t = state.tick - KEEP + 1; t <= state.tick; t++) out.push(this.at(t, which));
      return out;
    }
  }

  function takeTrend(trend, sent, tick) {
    if (!sent) return;
    const [i, o, li, lo] = ["in-kbps", "out-kbps", "loss-in-ppm", "loss-out-ppm"].map((n) => sent[n]);
    i.forEach((_, k) => trend.add(tick - i.length + 1 + k, [i[k] * 1000, o[k] * 1000, li[k], lo[k]]));
  }

  function whole() { // of all streams, losses weighed by what passed
    const t = new Trend();
    for (let tick = Math.max(1, state.tick - KEEP + 1); tick <= state.tick; tick++) {
      const sum = [0, 0, 0, 0];
      let any = false;
      for (const s of state.streams.values()) {
        const i = s.trend.at(tick, 0), o = s.trend.at(tick, 1);
        if (Number.isNaN(i)) continue;
        any = true;
        sum[0] += i;
        sum[1] += o;
        sum[2] += i * s.trend.at(tick, 2);
        sum[3] += o * s.trend.at(tick, 3);
      }
      if (any) t.add(tick, [sum[0], sum[1], sum[0] && sum[2] / sum[0], sum[1] && sum[3] / sum[1]]);
    }
    return t;
  }

  // ---- Plots ----

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

  function drawCard(svg, trend, width) {
    const height = 68, x = (k) => (k / (KEEP - 1)) * width;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    lane(svg, "in", trend.series(0), x, 0, 46);
    losses(svg, trend, x, 58, 9);
  }

  function drawWide(figure, trend, name) {
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

  // ---- Streams ----

  const words = { live: "live", grace: "gone, its place is kept", ended: "ended", none: "awaited" };

  function newCard(name) {
    const li = make("li", "card"), title = make("div", "title"), h3 = make("h3"), pick = make("button", "", name);
    const c = { li, pick, pill: make("span", "pill"), rate: make("b"), out: make("span"), figure: make("div", "plot"), facts: make("div", "facts"), seen: true };
    pick.type = "button";
    pick.addEventListener("click", () => choose(state.picked === name ? null : name));
    h3.append(pick);
    title.append(h3, c.pill);
    const rates = make("div", "rate");
    rates.append(c.rate, c.out);
    c.svg = document.createElementNS(SVG, "svg");
    c.svg.setAttribute("aria-hidden", "true");
    c.figure.append(c.svg);
    li.append(title, rates, c.figure, c.facts);
    li.dataset.name = name;
    watcher.observe(li);
    return c;
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const e of entries) {
      const s = state.streams.get(e.target.dataset.name);
      if (!s || !s.card) continue;
      s.card.seen = e.isIntersecting;
      if (e.isIntersecting) drawStream(s);
    }
  }, { rootMargin: "200px" });

  function fact(label, text, bad) {
    const e = make("span", bad ? "bad" : ""), b = make("b", "", text);
    e.append(label + " ", b);
    return e;
  }

  let cardWidth = 300;
  function drawStream(s) {
    const c = s.card, e = s.entry;
    c.li.classList.toggle("picked", state.picked === e.name);
    c.pick.setAttribute("aria-pressed", String(state.picked === e.name));
    put(c.pill, e.pattern ? "room" : words[e.publisher]);
    c.pill.className = "pill " + (e.pattern ? "room" : e.publisher);
    put(c.rate, e.pattern ? "" : rateText(e["in-bps"]));
    put(c.out, `${number(e.subscribers)} ${e.subscribers === 1 ? "receiver" : "receivers"}` + (e["out-bps"] ? " · " + rateText(e["out-bps"]) : ""));
    c.figure.hidden = e.pattern || !s.trend.first;
    const facts = [];
    if (e["since-s"]) facts.push(fact("for", since(e["since-s"])));
    if (e.media) facts.push(fact("", e.media));
    if (e.transport) facts.push(fact("by", e.transport === "udp" ? "UDP" : "WebSocket"), fact("round trip", ms(e.rtt_us)), fact("jitter", ms(e.jitter_us)));
    if (e.publisher === "live") facts.push(fact("lost in", loss(e["loss-in-ppm"]), isBad(e["loss-in-ppm"])));
    if (e["out-bps"]) facts.push(fact("lost out", loss(e["loss-out-ppm"]), isBad(e["loss-out-ppm"])));
    c.facts.replaceChildren(...facts);
    if (c.seen && !c.figure.hidden) drawCard(c.svg, s.trend, cardWidth);
  }

  const rank = { live: 0, grace: 1, ended: 2, none: 3 };
  const found = (...texts) => !state.find || texts.some((t) => t && t.toLowerCase().includes(state.find));

  function drawStreams() {
    const list = [...state.streams.values()].filter((s) => found(s.entry.name))
      .sort((a, b) => rank[a.entry.publisher] - rank[b.entry.publisher] || (a.entry.name < b.entry.name ? -1 : 1));
    const shown = list.slice(0, state.cards), ul = $("streams");
    const wanted = new Set(shown);
    for (const s of state.streams.values()) {
      if (s.card && !wanted.has(s)) {
        watcher.unobserve(s.card.li);
        s.card.li.remove();
        s.card = null;
      }
    }
    for (const li of [...ul.children]) if (!state.streams.has(li.dataset.name)) li.remove();
    shown.forEach((s, k) => {
      if (!s.card) s.card = newCard(s.entry.name);
      if (ul.children[k] !== s.card.li) ul.insertBefore(s.card.li, ul.children[k] || null);
    });
    if (shown.length) cardWidth = Math.max(120, shown[0].card.li.clientWidth - 32);
    shown.forEach(drawStream);
    $("more").hidden = list.length <= shown.length;
    put($("more"), `Show more (${number(list.length - shown.length)})`);
    put($("streams-count"), list.length === state.total ? number(list.length) : `${number(list.length)} of ${number(state.total)}`);
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

  // ---- Sessions: only the rows that are in view exist ----

  const label = (s) => s.subject.startsWith("token:") ? "token " + s.subject.slice(6, 12) + "…" : s.subject || "session " + s.session.slice(0, 8);
  const bitrate = (s) => (s.role === "publisher" ? s["in-bps"] : s["out-bps"]);
  const lossOf = (s) => (s.role === "publisher" ? s["loss-in-ppm"] : s["loss-out-ppm"]);
  const resent = (s) => (s.role === "publisher" ? s.repairs_received : s.repairs_sent);
  const columns = [
    ["who", "Who", label], ["stream", "Stream", (s) => s.stream], ["path", "Path", (s) => s.mapped || ""],
    ["rtt", "Round trip", (s) => s.rtt_us, true], ["jitter", "Jitter", (s) => s.jitter_us, true], ["loss", "Lost", lossOf, true],
    ["rate", "Bitrate", bitrate, true], ["resent", "Resent", resent, true], ["since", "For", (s) => -s["created-s"], true],
  ];
  let rows = [], pool = [], view = { height: 0, row: PHONE.matches ? 84 : 44 };

  function makeHeads() {
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

  function drawRows() {
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

  function drawSessions() {
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

  function measureRows() {
    view = { height: $("scroll").clientHeight, row: PHONE.matches ? 84 : 44 };
    pool.forEach((r) => { r.at = -1; });
    drawSessions();
  }

  // ---- The sky: each session at the distance of its round trip ----

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

  function drawSky() {
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

  function nearest(event) {
    const canvas = $("sky"), box = canvas.getBoundingClientRect(), size = Math.min(box.width, box.height);
    const x = event.clientX - box.left - (box.width - size) / 2, y = event.clientY - box.top - (box.height - size) / 2;
    let best = null, least = 16 * 16;
    for (const d of dots) {
      const q = (d.x - x) ** 2 + (d.y - y) ** 2;
      if (q < least) [best, least] = [d, q];
    }
    return best;
  }

  function pointAt(event) {
    const d = nearest(event), s = d && d.s;
    if ((s ? s.session : null) !== over) {
      over = s ? s.session : null;
      drawSky();
    }
    put($("sky-said"), s ? `${s.role} ${label(s)} of ${s.stream} · ${ms(s.rtt_us)} · ${loss(lossOf(s))} lost · ${rateText(bitrate(s))}` : "");
  }

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

  // ---- Asking ----

  async function ask(path, etag) {
    const headers = {};
    if (state.token) headers.Authorization = "Bearer " + state.token;
    if (etag) headers["If-None-Match"] = etag;
    const reply = await fetch(path, { headers, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(ANSWER_MS) });
    if (reply.status === 304) return null;
    if (!reply.ok) throw Object.assign(new Error(reply.status), { reply: await reply.json().catch(() => ({})), status: reply.status });
    const date = Date.parse(reply.headers.get("Date"));
    if (date) skew = Math.abs(date - Date.now()) < 2000 ? 0 : (date - Date.now()) / 1000;
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
  $("sky").addEventListener("pointerleave", () => {
    over = null;
    put($("sky-said"), "");
    drawSky();
  });
  $("sky").addEventListener("click", (event) => {
    const d = nearest(event);
    if (d) choose(state.picked ? null : d.s.stream);
  });
  document.addEventListener("visibilitychange", () => document.hidden || askNow());
  DARK.addEventListener("change", () => {
    paint = null;
    drawSky();
  });
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
})();
