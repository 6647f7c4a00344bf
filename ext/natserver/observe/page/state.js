/* natrelay. SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the page knows. */

export const KEEP = 150; // samples, five minutes of them
export const CARDS = 24; // shown at first

export const state = {
  token: sessionStorage.getItem("natrelay-token"), started: 0, tick: 0, etag: null, answered: 0, failed: 0,
  relay: null, streams: new Map(), order: [], sessions: [], total: 0, asked: 0, picked: null, find: "",
  sort: { key: "stream", down: false }, cards: CARDS,
};

export const found = (...texts) => !state.find || texts.some((t) => t && t.toLowerCase().includes(state.find));
