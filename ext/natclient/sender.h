/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The way out for streaming threads: socket, relay and SRTCP context behind one small mutex, which
 * the session's thread takes only to exchange them. Nothing here waits for the network. */

#include "natclient/session.h"
#include "natproto/srtcp.h"

G_BEGIN_DECLS

typedef enum {
  NAT_SENDER_TROUBLE = 1 << 0, /* the network refused what we sent */
  NAT_SENDER_BEGAN = 1 << 1,   /* the first packet after nat_sender_tell_next */
} NatSenderNews;

typedef struct {
  GMutex lock;     /* guards all but the atomics */
  gboolean closed; /* for good */
  GSocket *socket; /* NULL = no mapping: everything is dropped */
  GSocketAddress *relay;
  NatSrtcp *srtcp;
  guint64 packets_sent, bytes_sent, packets_dropped, rtcp_sent;

  gint tell_next;                                   /* atomic */
  gint64 last_us;                                   /* of RTP sent; written under lock */
  void (*news) (gpointer user, NatSenderNews news); /* any thread, lock not held */
  gpointer user;
} NatSender;

void nat_sender_init (
    NatSender *s, void (*news) (gpointer user, NatSenderNews news), gpointer user);
void nat_sender_clear (NatSender *s);
/* NULL, NULL: no way out. */
void nat_sender_set_path (NatSender *s, GSocket *socket, const NatAddress *relay);
/* Takes srtcp, which may be NULL. */
void nat_sender_set_srtcp (NatSender *s, NatSrtcp *srtcp);
void nat_sender_close (NatSender *s);
gint64 nat_sender_last_us (NatSender *s);
void nat_sender_tell_next (NatSender *s);

guint nat_sender_rtp (NatSender *s, const NatDatagram *packets, guint n);
gboolean nat_sender_rtcp (NatSender *s, const guint8 *data, gsize len);

G_END_DECLS
