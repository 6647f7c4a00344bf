/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The streams, a card for each. */
import { SVG, drawCard } from "./plots.js";
import { found, state } from "./state.js";
import { $, isBad, loss, make, ms, number, put, rateText, since } from "./words.js";

const words = { live: "live", grace: "gone, its place is kept", ended: "ended", none: "awaited" };

function newCard(name) {
  const li = make("li", "card"), title = make("div", "title"), h3 = make("h3"), pick = make("button", "", name);
  const c = { li, pick, pill: make("span", "pill"), rate: make("b"), out: make("span"), figure: make("div", "plot"), facts: make("div", "facts"), seen: true };
  pick.type = "button";
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

export function drawStreams() {
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
