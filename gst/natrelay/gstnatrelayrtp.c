/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayrtp.h"
#include "gstnatrelaybundle.h"
#include "natproto/crypto.h"

#include <gst/video/video.h>

/* rtpsession sends feedback early only if its share of the bandwidth allows: with the real rate three in four
 * losses were never asked for, with this (documented as bytes/s) all were. */
#define SESSION_BANDWIDTH 1e6
/* Older than the newest by more, a packet is dropped as one of a sender that began anew. rtpsession and rtpjitterbuffer turn it into
 * packets by a rate that they take for two a second until the third frame is here: with their own 2000 ms, what is sent
 * again of the first frames is dropped if ten packets came since. */
#define MISORDER_MAX_MS 30000
#define CNAME_SIZE      12
/* Sender reports align sound and picture at those who join: 5 s is long to wait. */
#define RTCP_MIN_INTERVAL GST_SECOND

static GstElement *
make (GstNatRelayRtp *rtp, const gchar *factory, const gchar *name)
{
  GstElement *element = gst_element_factory_make (factory, name);

  if (element == NULL)
    rtp->missing = factory;
  return element;
}

static void
set_session_limits (GstElement *rtpbin)
{
  GObject *session = NULL;

  g_signal_emit_by_name (rtpbin, "get-internal-session", 0, &session);
  g_return_if_fail (session != NULL);
  /* No probation either: what is not announced does not come so far, and the first packet counts. */
  g_object_set (session, "bandwidth", SESSION_BANDWIDTH, "rtcp-min-interval",
      (guint64)RTCP_MIN_INTERVAL, "probation", 0, NULL);
  g_object_unref (session);
}

static gboolean
build_rtpbin (GstNatRelayRtp *rtp, GstBin *bin, gboolean named)
{
  gchar cname[NAT_BASE64URL_LEN (CNAME_SIZE) + 1];
  guint8 random[CNAME_SIZE];
  GstStructure *sdes;

  nat_crypto_random (random, sizeof random);
  nat_base64url_encode (random, sizeof random, cname);
  rtp->rtpbin = make (rtp, "rtpbin", named ? "rtpbin" : NULL);
  if (rtp->rtpbin == NULL)
    return FALSE;
  gst_util_set_object_arg (G_OBJECT (rtp->rtpbin), "rtp-profile", "avpf");
  /* rtpbin's own would tell the world the names of user and machine; RFC 7022 has a random one. */
  sdes = gst_structure_new ("application/x-rtp-source-sdes", "cname", G_TYPE_STRING, cname, NULL);
  g_object_set (rtp->rtpbin, "sdes", sdes, NULL);
  gst_structure_free (sdes);
  /* A report's times are those of capture, so that a slow encoder shifts no track against another. */
  g_object_set (rtp->rtpbin, "rtcp-sync-send-time", FALSE, NULL);
  gst_bin_add (bin, rtp->rtpbin);
  return TRUE;
}

static void
build_rtcp (GstNatRelayRtp *rtp, GstBin *bin, gboolean named)
{
  GstElement *sink = gst_nat_relay_transport_sink_new (named ? "rtcpsink" : NULL, TRUE);
  GstElement *src = gst_nat_relay_transport_src_new (named ? "rtcpsrc" : NULL, TRUE);

  rtp->rtcp_sink = GST_NAT_RELAY_TRANSPORT_SINK (sink);
  rtp->rtcp_src = GST_NAT_RELAY_TRANSPORT_SRC (src);
  gst_bin_add_many (bin, sink, src, NULL);
  gst_element_link_pads (rtp->rtpbin, "send_rtcp_src_0", sink, "sink");
  gst_element_link_pads (src, "src", rtp->rtpbin, "recv_rtcp_sink_0");
}

/*
 *  sink_%u -> intake -> marker -> clocksync -.                       ,-> seal -> rtpsink    (RTP out)
 *                                             +-> bundle -> rtpbin -+
 *  sink_%u -> intake -> marker -> clocksync -'        ^             `-> rtcpsink            (RTCP out)
 *                                                     |
 *                                                  rtcpsrc                                  (RTCP in)
 *
 * A payloader may be plugged before an intake (gstnatrelaysinkpad.c). The session of rtpbin is its number 0.
 * rtpsink, rtcpsink and rtcpsrc share the client session's one UDP socket.
 */
void
gst_nat_relay_rtp_build_sink (GstNatRelayRtp *rtp, GstBin *bin)
{
  GstElement *seal, *sink;

  if (!build_rtpbin (rtp, bin, TRUE))
    return;
  rtp->bundle = g_object_new (GST_TYPE_NAT_RELAY_BUNDLE, "name", "bundle", NULL);
  seal = g_object_new (GST_TYPE_NAT_RELAY_SEAL, "name", "seal", NULL);
  sink = gst_nat_relay_transport_sink_new ("rtpsink", FALSE);
  rtp->seal = GST_NAT_RELAY_SEAL (seal);
  rtp->rtp_sink = GST_NAT_RELAY_TRANSPORT_SINK (sink);
  gst_bin_add_many (bin, rtp->bundle, seal, sink, NULL);
  gst_element_link_pads (rtp->bundle, "src", rtp->rtpbin, "send_rtp_sink_0");
  gst_element_link_pads (rtp->rtpbin, "send_rtp_src_0", seal, "sink");
  gst_element_link_pads (seal, "src", sink, "sink");
  build_rtcp (rtp, bin, TRUE);
  set_session_limits (rtp->rtpbin);
}

static guint64
structure_get_count (const GstStructure *s, const gchar *field)
{
  guint64 n = 0;

  gst_structure_get_uint64 (s, field, &n);
  return n;
}

static void
add_counts (GstNatRelayRtpStats *sum, GstElement *jitterbuffer)
{
  GstStructure *s = NULL;

  g_object_get (jitterbuffer, "stats", &s, NULL);
  sum->lost += structure_get_count (s, "num-lost");
  sum->late += structure_get_count (s, "num-late");
  sum->duplicates += structure_get_count (s, "num-duplicates");
  gst_structure_free (s);
}

/* Whoever removed it, what it counted stays. */
static void
element_removed (GstBin *rtpbin, GstElement *element, GstNatRelayRtp *rtp)
{
  g_mutex_lock (&rtp->lock);
  if (g_ptr_array_find (rtp->jitterbuffers, element, NULL)) {
    add_counts (&rtp->gone, element);
    g_ptr_array_remove_fast (rtp->jitterbuffers, element);
  }
  g_mutex_unlock (&rtp->lock);
}

static void
new_jitterbuffer (
    GstElement *rtpbin, GstElement *jitterbuffer, guint session, guint ssrc, GstNatRelayRtp *rtp)
{
  g_mutex_lock (&rtp->lock);
  g_ptr_array_add (rtp->jitterbuffers, gst_object_ref (jitterbuffer));
  g_mutex_unlock (&rtp->lock);
  /* The first packet starts the stream: it was in sequence where it was sent. What comes too late, or finds no room
   * with drop-on-latency, is told on the bus ("drop-msg"). */
  g_object_set (jitterbuffer, "faststart-min-packets", 1, "post-drop-messages", TRUE, NULL);
}

/* There is one, as there is one session. Not while packets come: what they have rtpbin add disturbs the search. */
static GstElement *
find_ssrc_demux (const GstNatRelayRtp *rtp)
{
  GstIterator *it =
      gst_bin_iterate_all_by_element_factory_name (GST_BIN (rtp->rtpbin), "rtpssrcdemux");
  GValue found = G_VALUE_INIT;
  GstElement *demux = NULL;

  if (gst_iterator_next (it, &found) == GST_ITERATOR_OK) {
    demux = g_value_get_object (&found);
    g_value_unset (&found);
  }
  gst_iterator_free (it);
  return demux;
}

/* With the stream locks of both ways into the session: a packet of that very SSRC, RTCP included, would
 * bring it back while it goes. */
void
gst_nat_relay_rtp_forget_ssrc (
    const GstNatRelayRtp *rtp, guint32 ssrc, void (*gone) (gpointer user), gpointer user)
{
  GstPad *rtp_pad = gst_element_get_static_pad (rtp->rtpbin, "recv_rtp_sink_0");
  GstPad *rtcp_pad = gst_element_get_static_pad (rtp->rtpbin, "recv_rtcp_sink_0");

  GST_PAD_STREAM_LOCK (rtp_pad);
  GST_PAD_STREAM_LOCK (rtcp_pad);
  g_signal_emit_by_name (rtp->ssrc_demux, "clear-ssrc", ssrc);
  if (gone != NULL)
    gone (user);
  GST_PAD_STREAM_UNLOCK (rtcp_pad);
  GST_PAD_STREAM_UNLOCK (rtp_pad);
  gst_object_unref (rtp_pad);
  gst_object_unref (rtcp_pad);
}

/*
 *  rtpsrc -> open -> rtpbin (session 0) -> one pad for each SSRC, the target of video_%u, audio_%u, data_%u
 *                      ^      |
 *                   rtcpsrc   `-> rtcpsink
 */
void
gst_nat_relay_rtp_build_src (GstNatRelayRtp *rtp, GstBin *bin, gboolean named)
{
  GstElement *open, *src;

  if (!build_rtpbin (rtp, bin, named))
    return;
  /* Reports that are a second ahead of the last packet are not believed, which GStreamer 1.26 does not see to by itself any
   * more: a quiet source's last packet goes in as if it came now, and sound would be held back for it. */
  g_object_set (rtp->rtpbin, "do-lost", TRUE, "max-rtcp-rtp-time-diff", 1000, "max-misorder-time",
      MISORDER_MAX_MS, NULL);
  g_mutex_init (&rtp->lock);
  rtp->jitterbuffers = g_ptr_array_new_with_free_func (gst_object_unref);
  g_signal_connect (rtp->rtpbin, "new-jitterbuffer", G_CALLBACK (new_jitterbuffer), rtp);
  g_signal_connect (rtp->rtpbin, "element-removed", G_CALLBACK (element_removed), rtp);
  src = gst_nat_relay_transport_src_new (named ? "rtpsrc" : NULL, FALSE);
  open = g_object_new (GST_TYPE_NAT_RELAY_OPEN, "name", named ? "open" : NULL, NULL);
  rtp->rtp_src = GST_NAT_RELAY_TRANSPORT_SRC (src);
  rtp->open = GST_NAT_RELAY_OPEN (open);
  gst_bin_add_many (bin, src, open, NULL);
  gst_element_link_pads (src, "src", open, "sink");
  gst_element_link_pads (open, "src", rtp->rtpbin, "recv_rtp_sink_0");
  build_rtcp (rtp, bin, named);
  set_session_limits (rtp->rtpbin);
  rtp->ssrc_demux = find_ssrc_demux (rtp);
}

/* From the sinks up, so that nothing comes where nobody is ready. */
void
gst_nat_relay_rtp_sync_src (const GstNatRelayRtp *rtp)
{
  gst_element_sync_state_with_parent (GST_ELEMENT (rtp->rtcp_sink));
  gst_element_sync_state_with_parent (rtp->rtpbin);
  gst_element_sync_state_with_parent (GST_ELEMENT (rtp->open));
  gst_element_sync_state_with_parent (GST_ELEMENT (rtp->rtcp_src));
  gst_element_sync_state_with_parent (GST_ELEMENT (rtp->rtp_src));
}

static void
remove_element (GstBin *bin, GstElement *element)
{
  gst_element_set_locked_state (element, TRUE);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_bin_remove (bin, element);
}

void
gst_nat_relay_rtp_remove_src (GstNatRelayRtp *rtp, GstBin *bin)
{
  remove_element (bin, GST_ELEMENT (rtp->rtp_src));
  remove_element (bin, GST_ELEMENT (rtp->rtcp_src));
  remove_element (bin, GST_ELEMENT (rtp->open));
  remove_element (bin, rtp->rtpbin);
  remove_element (bin, GST_ELEMENT (rtp->rtcp_sink));
}

void
gst_nat_relay_rtp_hold_src (GstNatRelayRtp *rtp)
{
  gst_object_ref (rtp->rtp_src);
  gst_object_ref (rtp->rtcp_src);
  gst_object_ref (rtp->open);
  gst_object_ref (rtp->rtpbin);
  gst_object_ref (rtp->rtcp_sink);
}

void
gst_nat_relay_rtp_release_src (GstNatRelayRtp *rtp)
{
  g_signal_handlers_disconnect_by_data (rtp->rtpbin, rtp);
  gst_object_unref (rtp->rtp_src);
  gst_object_unref (rtp->rtcp_src);
  gst_object_unref (rtp->open);
  gst_object_unref (rtp->rtpbin);
  gst_object_unref (rtp->rtcp_sink);
  g_ptr_array_unref (rtp->jitterbuffers);
  g_mutex_clear (&rtp->lock);
}

gboolean
gst_nat_relay_rtp_check (const GstNatRelayRtp *rtp, GstElement *element)
{
  if (rtp->missing == NULL)
    return TRUE;
  GST_ELEMENT_ERROR (element, CORE, MISSING_PLUGIN,
      ("The GStreamer element \"%s\" is not installed; it comes with GStreamer's \"good\" plugins",
          rtp->missing),
      (NULL));
  return FALSE;
}

guint32
gst_nat_relay_rtp_own_ssrc (const GstNatRelayRtp *rtp)
{
  GObject *session = NULL;
  guint ssrc = 0;

  g_signal_emit_by_name (rtp->rtpbin, "get-internal-session", 0, &session);
  if (session != NULL)
    g_object_get (session, "internal-ssrc", &ssrc, NULL);
  g_clear_object (&session);
  return ssrc;
}

gchar *
gst_nat_relay_rtp_cname (const GstNatRelayRtp *rtp)
{
  GstStructure *sdes = NULL;
  gchar *cname = NULL;

  g_object_get (rtp->rtpbin, "sdes", &sdes, NULL);
  if (sdes != NULL)
    cname = g_strdup (gst_structure_get_string (sdes, "cname"));
  g_clear_pointer (&sdes, gst_structure_free);
  return cname != NULL ? cname : g_strdup ("natrelay");
}

gboolean
gst_nat_relay_rtp_request_key_unit (GstPad *rtpbin_src_pad)
{
  return gst_pad_send_event (
      rtpbin_src_pad, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE, 0));
}

void
gst_nat_relay_rtp_sink_stats (const GstNatRelayRtp *rtp, GstStructure *s)
{
  guint64 dropped = gst_nat_relay_bundle_get_dropped (GST_NAT_RELAY_BUNDLE (rtp->bundle));

  dropped += structure_get_count (s, "packets-sent-dropped");
  gst_structure_set (s, "packets-sent-dropped", G_TYPE_UINT64, dropped, NULL);
}

void
gst_nat_relay_rtp_start (GstNatRelayRtp *rtp)
{
  g_mutex_lock (&rtp->lock);
  rtp->gone = (GstNatRelayRtpStats){0};
  g_mutex_unlock (&rtp->lock);
}

void
gst_nat_relay_rtp_add_stats (GstNatRelayRtp *rtp, GstNatRelayRtpStats *sum)
{
  g_mutex_lock (&rtp->lock);
  sum->lost += rtp->gone.lost;
  sum->late += rtp->gone.late;
  sum->duplicates += rtp->gone.duplicates;
  for (guint i = 0; i < rtp->jitterbuffers->len; i++)
    add_counts (sum, rtp->jitterbuffers->pdata[i]);
  g_mutex_unlock (&rtp->lock);
}
