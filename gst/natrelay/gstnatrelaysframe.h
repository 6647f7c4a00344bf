/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Two private elements around natproto/sframekeys.h: the sink seals what leaves its RTP session, the
 * source opens what comes before its RTP session sees it. Buffer lists stay lists. */

#include <gst/gst.h>
#include "natproto/sframekeys.h"

G_BEGIN_DECLS

#define GST_TYPE_NAT_RELAY_SEAL (gst_nat_relay_seal_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelaySeal, gst_nat_relay_seal, GST, NAT_RELAY_SEAL, GstElement)

#define GST_TYPE_NAT_RELAY_OPEN (gst_nat_relay_open_get_type ())
G_DECLARE_FINAL_TYPE (GstNatRelayOpen, gst_nat_relay_open, GST, NAT_RELAY_OPEN, GstElement)

/* Packets between the announcement of the next key and its limit: RFC 3711-like headroom, far below
 * the 2^32 that one key may seal. */
#define GST_NAT_RELAY_SEAL_ROLL_PACKETS (G_GUINT64_CONSTANT (1) << 31)

/* Called on the streaming thread, no lock held, when a key nears its end: announce a new one, then
 * gst_nat_relay_seal_roll_to. */
typedef void (*GstNatRelaySealRoll) (gpointer user);

/* Any thread. NULL: packets pass in clear. */
void gst_nat_relay_seal_set_key (GstNatRelaySeal *seal, const NatMediaKey *key);
/* roll is called once after every roll_packets packets under one key. */
void gst_nat_relay_seal_set_roll (
    GstNatRelaySeal *seal, guint64 roll_packets, GstNatRelaySealRoll roll, gpointer user);
/* key is used once delay has passed: the audience has it by then. */
void gst_nat_relay_seal_roll_to (GstNatRelaySeal *seal, const NatMediaKey *key, GstClockTime delay);
/* Forgets keys (wiped) and lets nothing pass until the next set_key. */
void gst_nat_relay_seal_reset (GstNatRelaySeal *seal);
guint64 gst_nat_relay_seal_get_dropped (GstNatRelaySeal *seal);

/* What a source may let in, from the session's document. Any thread. n_keys 0: packets are in clear. */
void gst_nat_relay_open_set_keys (GstNatRelayOpen *open, const NatMediaKey *keys, guint n_keys);
/* Packets of other SSRCs are dropped. */
void gst_nat_relay_open_set_ssrcs (GstNatRelayOpen *open, const guint32 *ssrcs, guint n_ssrcs);
/* Forgets all; nothing passes until both were set again. */
void gst_nat_relay_open_reset (GstNatRelayOpen *open);

typedef struct {
  guint64 opened;      /* passed on, in clear or opened */
  guint64 unannounced; /* of an SSRC that the description does not have */
  guint64 unknown_key;
  guint64 refused; /* malformed, forged, replayed */
} GstNatRelayOpenStats;
void gst_nat_relay_open_get_stats (GstNatRelayOpen *open, GstNatRelayOpenStats *stats);

G_END_DECLS
