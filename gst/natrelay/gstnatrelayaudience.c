/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayaudience.h"

#include <string.h>

enum { SIGNAL_ADDED, SIGNAL_REMOVED, N_SIGNALS };
static guint signals[N_SIGNALS];

void
gst_nat_relay_audience_install (GObjectClass *klass)
{
  GType type = G_OBJECT_CLASS_TYPE (klass);

  /**
   * GstNatRelaySink::subscriber-added:
   * @object: the element
   * @subscribers: how many there are now
   *
   * Emitted from a thread of the element's own when subscribers came. Several that came within half a second
   * are told together.
   *
   * Since: 0.1
   */
  signals[SIGNAL_ADDED] = g_signal_new ("subscriber-added", type, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
      NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
  /**
   * GstNatRelaySink::subscriber-removed:
   * @object: the element
   * @subscribers: how many there are now
   *
   * Emitted as #GstNatRelaySink::subscriber-added is, when subscribers left or were silent for 30 s.
   *
   * Since: 0.1
   */
  signals[SIGNAL_REMOVED] = g_signal_new ("subscriber-removed", type, G_SIGNAL_RUN_LAST, 0, NULL,
      NULL, NULL, G_TYPE_NONE, 1, G_TYPE_UINT);
}

void
gst_nat_relay_audience_init (GstNatRelayAudience *self)
{
  g_mutex_init (&self->lock);
}

void
gst_nat_relay_audience_clear (GstNatRelayAudience *self)
{
  g_mutex_clear (&self->lock);
}

void
gst_nat_relay_audience_reset (GstNatRelayAudience *self)
{
  g_mutex_lock (&self->lock);
  self->known = FALSE;
  memset (&self->now, 0, sizeof self->now);
  g_mutex_unlock (&self->lock);
}

static void
set_fields (GstStructure *s, const NatAudience *a)
{
  gst_structure_set (s, "subscribers", G_TYPE_UINT, a->receivers, "subscribers-worst-loss",
      G_TYPE_DOUBLE, a->worst_loss / 256.0, "subscribers-median-loss", G_TYPE_DOUBLE,
      a->median_loss / 256.0, "subscribers-worst-rtt-ms", G_TYPE_UINT, (guint)a->worst_rtt_ms,
      "subscribers-median-rtt-ms", G_TYPE_UINT, (guint)a->median_rtt_ms, NULL);
}

/* The relay counts from when it knows the stream: after its restart, from 0. Then only the difference is known. */
static gboolean
began_anew (const NatAudience *before, const NatAudience *now)
{
  return (gint32)(now->joined - before->joined) < 0 || (gint32)(now->left - before->left) < 0;
}

/**
 * message natrelay-audience: (natrelaysink)
 * @subscribers: guint: who watch now
 * @subscribers-worst-loss: gdouble: share of packets that the worst of them did not get, 0 to 1
 * @subscribers-median-loss: gdouble: the same of the one in the middle
 * @subscribers-worst-rtt-ms: guint: the longest round trip between the relay and one of them
 * @subscribers-median-rtt-ms: guint: the same of the one in the middle
 *
 * The audience, or how it fares, changed; twice a second at most.
 */
static void
tell (GstElement *element, const NatAudience *before, const NatAudience *now)
{
  GstStructure *s = gst_structure_new_empty ("natrelay-audience");

  if (now->joined != before->joined)
    g_signal_emit (element, signals[SIGNAL_ADDED], 0, now->receivers);
  if (now->left != before->left)
    g_signal_emit (element, signals[SIGNAL_REMOVED], 0, now->receivers);
  set_fields (s, now);
  gst_element_post_message (element, gst_message_new_element (GST_OBJECT (element), s));
}

static void
take (GstNatRelayAudience *self, GstElement *element, const NatAudience *now)
{
  NatAudience before;
  gboolean changed;

  g_mutex_lock (&self->lock);
  before = self->now;
  /* Those who were there before us came, for us, now; those who left before are nobody's concern. */
  if (!self->known)
    before = (NatAudience){.joined = now->joined - now->receivers, .left = now->left};
  else if (began_anew (&before, now)) {
    before.joined = now->joined - (now->receivers > before.receivers);
    before.left = now->left - (now->receivers < before.receivers);
  }
  changed = !self->known || memcmp (&before, now, sizeof before) != 0;
  self->known = TRUE;
  self->now = *now;
  g_mutex_unlock (&self->lock);
  if (changed)
    tell (element, &before, now);
}

void
gst_nat_relay_audience_rtcp (
    GstNatRelayAudience *self, GstElement *element, const NatDatagram *packet)
{
  NatRtcpPacket one;
  NatRtcpIter it;

  if (!nat_rtcp_iter_init (&it, packet->data, packet->len))
    return;
  while (nat_rtcp_iter_next (&it, &one)) {
    NatAudience now = {0};

    if (nat_rtcp_audience (&one, &now))
      take (self, element, &now);
  }
}

void
gst_nat_relay_audience_stats (GstNatRelayAudience *self, GstStructure *stats)
{
  NatAudience now;
  gboolean known;

  g_mutex_lock (&self->lock);
  now = self->now;
  known = self->known;
  g_mutex_unlock (&self->lock);
  if (known)
    set_fields (stats, &now);
}
