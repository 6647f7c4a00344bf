/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The way out for streaming threads: socket and relay, or the WebSocket's outbox, and the SRTCP context,
 * behind one small mutex, which the session's thread takes only to exchange them. Nothing here waits for the network. */

#include "natclient/congestion.h"
#include "natclient/outbox.h"
#include "natclient/session.h"
#include "natproto/srtcp.h"

G_BEGIN_DECLS

typedef enum {
  NAT_SENDER_TROUBLE = 1 << 0, /* the network refused what we sent */
  NAT_SENDER_BEGAN = 1 << 1,   /* the first packet after nat_sender_tell_next */
  NAT_SENDER_QUEUED = 1 << 2,  /* the outbox was empty, and is not any more */
} NatSenderNews;

typedef struct {
  GMutex lock;     /* guards all but the atomics */
  gboolean closed; /* for good */
  GSocket *socket; /* NULL = no mapping by UDP */
  GSocketAddress *relay;
  NatAddress to;     /* the same, or what it was last */
  NatOutbox *outbox; /* NULL = none by WebSocket; without either everything is dropped */
  NatSrtcp *srtcp;
  NatCongestion *congestion; /* NULL = what arrives of it is nobody's concern */
  guint64 packets_sent, bytes_sent, packets_dropped, rtcp_sent;

  gint tell_next;                                   /* atomic */
  gint64 last_us;                                   /* of RTP sent; written under lock */
  guint largest;                                    /* bytes of an RTP datagram so far */
  void (*news) (gpointer user, NatSenderNews news); /* any thread, lock not held */
  gpointer user;
} NatSender;

/* publishes: RTP is sent, and the relay reports how it arrives. */
void nat_sender_init (NatSender *s, gboolean publishes,
    void (*news) (gpointer user, NatSenderNews news), gpointer user);
void nat_sender_clear (NatSender *s);
/* NULL, NULL: no way out. */
void nat_sender_set_path (NatSender *s, GSocket *socket, const NatAddress *relay);
void nat_sender_set_outbox (NatSender *s, NatOutbox *outbox);
/* So much of what the outbox took was not sent. */
void nat_sender_note_late (NatSender *s, guint n);
/* Takes srtcp, which may be NULL. */
void nat_sender_set_srtcp (NatSender *s, NatSrtcp *srtcp);
void nat_sender_close (NatSender *s);
gint64 nat_sender_last_us (NatSender *s);
/* Bytes of the largest RTP datagram since that was asked last; 0 = none. */
guint nat_sender_take_largest (NatSender *s);
void nat_sender_tell_next (NatSender *s);

guint nat_sender_rtp (NatSender *s, const NatDatagram *packets, guint n);
gboolean nat_sender_rtcp (NatSender *s, const guint8 *data, gsize len);

/* What the relay says of what was sent: an RTCP compound, opened. TRUE: the estimate may have changed. */
gboolean nat_sender_feedback (NatSender *s, const guint8 *data, gsize len);
/* Bits per second, 0 = unknown; and the share lost. */
guint64 nat_sender_bitrate (NatSender *s, gdouble *loss);

G_END_DECLS
