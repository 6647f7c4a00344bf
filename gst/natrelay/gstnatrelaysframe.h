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

/* Packets under one key until another is asked for: far below the 2^32 that one may seal. */
#define GST_NAT_RELAY_SEAL_ROLL_PACKETS (G_GUINT64_CONSTANT (1) << 31)

typedef enum {
  GST_NAT_RELAY_SEAL_WEARS_OUT, /* once, when a key has sealed that many: gst_nat_relay_seal_roll_to another */
  GST_NAT_RELAY_SEAL_TOOK_KEY,       /* what roll_to gave is in use */
  GST_NAT_RELAY_SEAL_OLD_KEY_IS_OLD, /* and has been for as long as the one before was to be kept */
} GstNatRelaySealEvent;
/* On the streaming thread, no lock held, as packets pass. */
typedef void (*GstNatRelaySealHook) (GstNatRelaySealEvent event, gpointer user);

/* Before the first state change. */
void gst_nat_relay_seal_set_hook (GstNatRelaySeal *seal, GstNatRelaySealHook hook, gpointer user);
/* Any thread. NULL: packets pass in clear. */
void gst_nat_relay_seal_set_key (GstNatRelaySeal *seal, const NatMediaKey *key);
/* Without a key, packets wait until there is one (or reset) instead of being dropped. */
void gst_nat_relay_seal_set_held (GstNatRelaySeal *seal, gboolean held);
/* GST_NAT_RELAY_SEAL_ROLL_PACKETS unless set. */
void gst_nat_relay_seal_set_roll_packets (GstNatRelaySeal *seal, guint64 roll_packets);
/* key is used once delay has passed, when the audience has it; the hook hears when the old one has not been used for keep. */
void gst_nat_relay_seal_roll_to (
    GstNatRelaySeal *seal, const NatMediaKey *key, GstClockTime delay, GstClockTime keep);
/* Forgets keys (wiped) and lets nothing pass until the next set_key. */
void gst_nat_relay_seal_reset (GstNatRelaySeal *seal);
guint64 gst_nat_relay_seal_get_dropped (GstNatRelaySeal *seal);

/* What a source may let in, from the session's document. Any thread. n_keys 0: packets are in clear. */
void gst_nat_relay_open_set_keys (GstNatRelayOpen *open, const NatMediaKey *keys, guint n_keys);
/* Packets of other SSRCs are dropped. */
void gst_nat_relay_open_set_ssrcs (GstNatRelayOpen *open, const guint32 *ssrcs, guint n_ssrcs);
/* Lets in nothing until the next set_ssrcs, and returns when all that was let in has reached the jitterbuffers, or does not get
 * there. No lock held: who brings it may wait for rtpbin's, whose holder may want the caller's. */
void gst_nat_relay_open_shut (GstNatRelayOpen *open);
/* Forgets all; nothing passes until both were set again. */
void gst_nat_relay_open_reset (GstNatRelayOpen *open);
/* After a reset: returns when all that was let in before is through, as shut does. */
void gst_nat_relay_open_flush (GstNatRelayOpen *open);

/* On the streaming thread, no lock held, for every packet that is opened. FALSE: it is not passed on; whoever wants to
 * keep it takes a reference. */
typedef gboolean (*GstNatRelayOpenTap) (
    gpointer user, guint32 ssrc, guint16 seq, GstBuffer *packet);
/* Before the first state change. */
void gst_nat_relay_open_set_tap (GstNatRelayOpen *open, GstNatRelayOpenTap tap, gpointer user);

/* On the streaming thread: a packet that the tap kept goes on, if its SSRC may (still). Takes it. */
void gst_nat_relay_open_push (GstNatRelayOpen *open, guint32 ssrc, GstBuffer *packet);

typedef struct {
  guint64 opened;      /* passed on, in clear or opened */
  guint64 unannounced; /* of an SSRC that the description does not have */
  guint64 unknown_key;
  guint64 refused;  /* malformed, forged */
  guint64 replayed; /* came before: repairs that crossed, repeated ends, or an attack */
} GstNatRelayOpenStats;
void gst_nat_relay_open_get_stats (GstNatRelayOpen *open, GstNatRelayOpenStats *stats);

G_END_DECLS
