/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The last minutes of a stream, and of all. */
import { KEEP, state } from "./state.js";

export class Trend {
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

export function takeTrend(trend, sent, tick) {
  if (!sent) return;
  const [i, o, li, lo] = ["in-kbps", "out-kbps", "loss-in-ppm", "loss-out-ppm"].map((n) => sent[n]);
  i.forEach((_, k) => trend.add(tick - i.length + 1 + k, [i[k] * 1000, o[k] * 1000, li[k], lo[k]]));
}

export function whole() { // of all streams, losses weighed by what passed
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
