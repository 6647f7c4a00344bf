/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/sender.h"

#include <string.h>

#include "natclient/udp.h"

#define BATCH 64 /* packets handed over by one system call */

void
nat_sender_init (NatSender *s, gboolean publishes, void (*news) (gpointer user, NatSenderNews news),
    gpointer user)
{
  memset (s, 0, sizeof *s);
  g_mutex_init (&s->lock);
  s->congestion = publishes ? nat_congestion_new () : NULL;
  s->news = news;
  s->user = user;
}

void
nat_sender_clear (NatSender *s)
{
  nat_sender_close (s);
  nat_congestion_free (s->congestion);
  g_mutex_clear (&s->lock);
}

void
nat_sender_set_path (NatSender *s, GSocket *socket, const NatAddress *relay)
{
  GSocketAddress *address = socket == NULL ? NULL : nat_udp_address (relay);

  g_mutex_lock (&s->lock);
  if (!s->closed) {
    if (address != NULL && s->congestion != NULL &&
        (s->socket != socket || !nat_address_equal (&s->to, relay)))
      nat_congestion_path_changed (s->congestion, g_get_monotonic_time ());
    if (address != NULL)
      s->to = *relay;
    g_set_object (&s->socket, socket);
    g_set_object (&s->relay, address);
    g_clear_pointer (&s->outbox, nat_outbox_unref);
  }
  g_mutex_unlock (&s->lock);
  g_clear_object (&address);
}

void
nat_sender_set_outbox (NatSender *s, NatOutbox *outbox)
{
  g_mutex_lock (&s->lock);
  if (!s->closed && s->outbox != outbox) {
    if (s->congestion != NULL)
      nat_congestion_path_changed (s->congestion, g_get_monotonic_time ());
    g_clear_object (&s->socket);
    g_clear_object (&s->relay);
    g_clear_pointer (&s->outbox, nat_outbox_unref);
    s->outbox = nat_outbox_ref (outbox);
  }
  g_mutex_unlock (&s->lock);
}

void
nat_sender_note_late (NatSender *s, guint n)
{
  g_mutex_lock (&s->lock);
  s->packets_sent -= n;
  s->packets_dropped += n;
  g_mutex_unlock (&s->lock);
}

void
nat_sender_set_srtcp (NatSender *s, NatSrtcp *srtcp)
{
  NatSrtcp *old;

  g_mutex_lock (&s->lock);
  old = s->closed ? srtcp : s->srtcp;
  if (!s->closed)
    s->srtcp = srtcp;
  g_mutex_unlock (&s->lock);
  nat_srtcp_free (old);
}

void
nat_sender_close (NatSender *s)
{
  g_mutex_lock (&s->lock);
  s->closed = TRUE;
  g_clear_object (&s->socket);
  g_clear_object (&s->relay);
  g_clear_pointer (&s->outbox, nat_outbox_unref);
  g_clear_pointer (&s->srtcp, nat_srtcp_free);
  g_mutex_unlock (&s->lock);
}

gint64
nat_sender_last_us (NatSender *s)
{
  gint64 last;

  g_mutex_lock (&s->lock);
  last = s->last_us;
  g_mutex_unlock (&s->lock);
  return last;
}

guint
nat_sender_take_largest (NatSender *s)
{
  guint largest;

  g_mutex_lock (&s->lock);
  largest = s->largest;
  s->largest = 0;
  g_mutex_unlock (&s->lock);
  return largest;
}

void
nat_sender_tell_next (NatSender *s)
{
  g_atomic_int_set (&s->tell_next, 1);
}

/* ---- Sending (any thread) ---------------------------------------------- */

typedef enum {
  AGAIN, /* the same once more: the error was of an earlier datagram */
  SKIP,  /* this packet cannot be sent; the next can */
  FULL,  /* the socket, or the interface's queue, takes no more now */
  TROUBLE,
} Reaction;

static Reaction
react (const GError *error)
{
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK) || nat_udp_is_queue_full (error))
    return FULL;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_MESSAGE_TOO_LARGE))
    return SKIP;
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED))
    return AGAIN;
  return TROUBLE;
}

static guint
fill (NatSender *s, GOutputMessage *messages, GOutputVector *vectors, const NatDatagram *packets,
    guint n)
{
  n = MIN (n, BATCH);
  memset (messages, 0, n * sizeof *messages);
  for (guint i = 0; i < n; i++) {
    vectors[i].buffer = packets[i].data;
    vectors[i].size = packets[i].len;
    messages[i].address = s->relay;
    messages[i].vectors = &vectors[i];
    messages[i].num_vectors = 1;
  }
  return n;
}

/* Called with lock. Returns packets sent. */
static guint
send_locked (NatSender *s, const NatDatagram *packets, guint n, gboolean *trouble)
{
  GOutputMessage messages[BATCH];
  GOutputVector vectors[BATCH];
  guint done = 0, sent = 0, refusals = 0;

  while (done < n) {
    guint filled = fill (s, messages, vectors, packets + done, n - done);
    GError *error = NULL;
    gint got = g_socket_send_messages (s->socket, messages, filled, 0, NULL, &error);
    Reaction reaction;

    if (got > 0) {
      for (gint i = 0; i < got; i++)
        s->bytes_sent += packets[done + (guint)i].len;
      done += (guint)got;
      sent += (guint)got;
      continue;
    }
    reaction = error == NULL ? FULL : react (error);
    g_clear_error (&error);
    if (reaction == SKIP)
      done++;
    else if (reaction == AGAIN && refusals++ == 0)
      continue;
    else {
      *trouble = reaction != FULL;
      break;
    }
  }
  return sent;
}

/* Called with lock. Returns packets taken. */
static guint
put_locked (NatSender *s, NatOutboxKind kind, const NatDatagram *packets, guint n, gboolean *queued)
{
  gint64 now_us = g_get_monotonic_time ();
  guint taken = 0;

  for (guint i = 0; i < n; i++) {
    gboolean first;

    if (!nat_outbox_put (s->outbox, now_us, kind, packets[i].data, packets[i].len, &first))
      continue;
    *queued = *queued || first;
    s->bytes_sent += packets[i].len;
    taken++;
  }
  return taken;
}

/* Called with lock. One that the socket refused counts as sent and lost: its queue is a queue, too. */
static void
note_sent (NatSender *s, const NatDatagram *packets, guint n)
{
  gint64 now_us = g_get_monotonic_time ();

  for (guint i = 0; s->congestion != NULL && i < n; i++)
    nat_congestion_sent (s->congestion, packets[i].data, packets[i].len, now_us);
}

guint
nat_sender_rtp (NatSender *s, const NatDatagram *packets, guint n)
{
  guint sent = 0;
  gboolean trouble = FALSE, queued = FALSE;

  g_mutex_lock (&s->lock);
  if (s->socket != NULL) {
    note_sent (s, packets, n);
    sent = send_locked (s, packets, n, &trouble);
  } else if (s->outbox != NULL) {
    note_sent (s, packets, n);
    sent = put_locked (s, NAT_OUTBOX_IS_MEDIA, packets, n, &queued);
  }
  for (guint i = 0; i < n; i++)
    s->largest = MAX (s->largest, (guint)packets[i].len);
  s->packets_sent += sent;
  s->packets_dropped += n - sent;
  if (sent > 0)
    s->last_us = g_get_monotonic_time ();
  g_mutex_unlock (&s->lock);
  if (trouble)
    s->news (s->user, NAT_SENDER_TROUBLE);
  if (queued)
    s->news (s->user, NAT_SENDER_QUEUED);
  if (sent > 0 && g_atomic_int_compare_and_exchange (&s->tell_next, 1, 0))
    s->news (s->user, NAT_SENDER_BEGAN);
  return sent;
}

gboolean
nat_sender_rtcp (NatSender *s, const guint8 *data, gsize len)
{
  guint8 sealed[NAT_DATAGRAM_MAX];
  NatDatagram packet = {sealed, 0};
  gboolean trouble = FALSE, queued = FALSE;
  guint sent = 0;
  guint64 bytes;

  if (len > sizeof sealed - NAT_SRTCP_OVERHEAD)
    return FALSE;
  memcpy (sealed, data, len);
  g_mutex_lock (&s->lock);
  bytes = s->bytes_sent;
  if ((s->socket != NULL || s->outbox != NULL) && s->srtcp != NULL)
    packet.len = nat_srtcp_protect (s->srtcp, sealed, len);
  if (packet.len > 0)
    sent = s->socket != NULL ? send_locked (s, &packet, 1, &trouble)
                             : put_locked (s, NAT_OUTBOX_IS_CONTROL, &packet, 1, &queued);
  s->bytes_sent = bytes; /* of RTP only */
  s->rtcp_sent += sent;
  g_mutex_unlock (&s->lock);
  if (trouble)
    s->news (s->user, NAT_SENDER_TROUBLE);
  if (queued)
    s->news (s->user, NAT_SENDER_QUEUED);
  return sent > 0;
}

/* ---- What the relay says ------------------------------------------------ */

gboolean
nat_sender_feedback (NatSender *s, const guint8 *data, gsize len)
{
  gint64 now_us = g_get_monotonic_time ();
  gboolean news = FALSE;
  NatRtcpPacket packet;
  NatRtcpIter it;

  if (s->congestion == NULL || !nat_rtcp_iter_init (&it, data, len))
    return FALSE;
  g_mutex_lock (&s->lock);
  while (nat_rtcp_iter_next (&it, &packet))
    news = nat_congestion_feedback (s->congestion, &packet, now_us) || news;
  g_mutex_unlock (&s->lock);
  return news;
}

guint64
nat_sender_bitrate (NatSender *s, gdouble *loss)
{
  guint64 bitrate = 0;

  *loss = 0;
  g_mutex_lock (&s->lock);
  if (s->congestion != NULL) {
    bitrate = nat_congestion_bitrate (s->congestion);
    *loss = nat_congestion_loss (s->congestion);
  }
  g_mutex_unlock (&s->lock);
  return bitrate;
}
