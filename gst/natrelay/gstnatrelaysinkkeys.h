/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A sink's media keys: drawn at each start, announced before they are used, rolled while packets flow.
 *
 *   roll --> announced in the next description --the relay has it--> 10 s --> sealed with --60 s--> the old one is forgotten
 *
 * so that every subscriber has the next key before its first packet comes, and those that join can
 * open what the relay still keeps from before. */

#include <gst/gst.h>
#include "gstnatrelayelement.h"
#include "gstnatrelaypassphrase.h"
#include "gstnatrelaysframe.h"

G_BEGIN_DECLS

typedef struct {
  GstElement *element; /* not owned: it embeds this */
  GstNatRelaySeal *seal;
  void (*changed) (GstElement *element); /* no lock held; any thread: offer a description anew */

  GMutex lock; /* guards the rest; only the sealer's lock is taken with it held */
  guint run;   /* counts starts and stops */
  gboolean ready;
  NatSframeSuite suite;
  GstNatRelayPassphrase *passphrase; /* NULL: the document has the keys themselves */
  gchar *stream;
  guint8 stretched[NAT_STRETCHED_SIZE]; /* meaningful if passphrase and ready */
  NatMediaKey keys[2];                  /* as the document has them: in use, and another */
  guint n_keys;
  gboolean rolling;      /* keys[1] is not sealed with yet */
  gboolean announced;    /* a description that has it was offered */
  guint announce_serial; /* of that one, as the session counts; 0: none, or the relay has it */
  guint relay_serial;    /* of the description that the relay has */
  guint rolls;           /* of this run, that were used */
} GstNatRelaySinkKeys;

/* seal NULL: the plugin lacks a part, and nothing will ever start. */
void gst_nat_relay_sink_keys_init (GstNatRelaySinkKeys *keys, GstElement *element,
    GstNatRelaySeal *seal, void (*changed) (GstElement *element));
void gst_nat_relay_sink_keys_clear (GstNatRelaySinkKeys *keys);

/* READY->PAUSED, of a connection that is prepared. Its passphrase is stretched in the background; until then packets are dropped,
 * or wait if hold. FALSE: an error was posted. */
gboolean gst_nat_relay_sink_keys_start (GstNatRelaySinkKeys *keys, GstNatRelayConnection *conn,
    GstNatRelayEncryption encryption, gboolean hold);
/* PAUSED->READY, after chaining up. */
void gst_nat_relay_sink_keys_stop (GstNatRelaySinkKeys *keys);

/* All below: any thread. FALSE: the passphrase is still being stretched; changed will be called. */
gboolean gst_nat_relay_sink_keys_are_ready (GstNatRelaySinkKeys *keys);
/* Puts the keys into a description whose sdp is complete, and signs it. */
void gst_nat_relay_sink_keys_fill (GstNatRelaySinkKeys *keys, NatDescription *description);
/* A description that fill made was offered under this serial; the relay has one. */
void gst_nat_relay_sink_keys_offered (
    GstNatRelaySinkKeys *keys, const NatDescription *description, guint serial);
void gst_nat_relay_sink_keys_described (GstNatRelaySinkKeys *keys, guint serial);
/* FALSE: nothing is sealed, or a key is being rolled already. */
gboolean gst_nat_relay_sink_keys_roll (GstNatRelaySinkKeys *keys);
guint gst_nat_relay_sink_keys_get_rolls (GstNatRelaySinkKeys *keys);

G_END_DECLS
