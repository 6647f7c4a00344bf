/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaytrack.h"
#include "natproto/demux.h"

#define FIXED_HEADER_SIZE 12
/* Payload types of RFC 3551: below 64 they have a fixed meaning, 64-95 collide with RTCP on one port (RFC
 * 5761), the rest is free. */
#define FIRST_FORBIDDEN   64
#define FIRST_DYNAMIC     96
#define LAST_PAYLOAD_TYPE 127
/* An SSRC that was silent for so long may be replaced by another (a camera that started anew); sooner, two
 * sources are mixed on one pad. */
#define SOURCE_SILENCE_US (500 * 1000)

void
gst_nat_relay_track_init (GstNatRelayTrack *track)
{
  *track = (GstNatRelayTrack){.in_payload_type = -1};
}

void
gst_nat_relay_track_clear (GstNatRelayTrack *track)
{
  gst_clear_caps (&track->caps);
  gst_nat_relay_track_init (track);
}

static gboolean
payload_type_free (gint payload_type, const GstNatRelayTrackId *others, guint n)
{
  if (payload_type < 0 || payload_type > LAST_PAYLOAD_TYPE ||
      (payload_type >= FIRST_FORBIDDEN && payload_type < FIRST_DYNAMIC))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    if (others[i].payload_type == payload_type)
      return FALSE;
  }
  return TRUE;
}

/* wanted, else the first dynamic one; -1 if there is none. */
static gint
choose_payload_type (gint wanted, const GstNatRelayTrackId *others, guint n)
{
  if (payload_type_free (wanted, others, n))
    return wanted;
  for (gint pt = FIRST_DYNAMIC; pt <= LAST_PAYLOAD_TYPE; pt++) {
    if (payload_type_free (pt, others, n))
      return pt;
  }
  return -1;
}

static gboolean
ssrc_free (guint32 ssrc, const GstNatRelayTrackId *others, guint n)
{
  for (guint i = 0; i < n; i++) {
    if (others[i].ssrc == ssrc)
      return FALSE;
  }
  /* 0 means "not announced" in our tables. */
  return ssrc != 0;
}

static guint32
choose_ssrc (gboolean wanted_known, guint32 wanted, const GstNatRelayTrackId *others, guint n)
{
  if (wanted_known && ssrc_free (wanted, others, n))
    return wanted;
  do
    wanted = g_random_int ();
  while (!ssrc_free (wanted, others, n));
  return wanted;
}

/* Keeps what is announced where the input stays the same: fewer descriptions, fewer new caps. */
static gboolean
same_codec (GstCaps *a, GstCaps *b)
{
  const gchar *name_a = gst_structure_get_string (gst_caps_get_structure (a, 0), "encoding-name");
  const gchar *name_b = gst_structure_get_string (gst_caps_get_structure (b, 0), "encoding-name");

  return g_strcmp0 (name_a, name_b) == 0;
}

gboolean
gst_nat_relay_track_settle (
    GstNatRelayTrack *track, GstCaps *caps, const GstNatRelayTrackId *others, guint n)
{
  const GstStructure *s = gst_caps_get_structure (caps, 0);
  gboolean keep = track->caps != NULL && same_codec (track->caps, caps);
  gint in_payload_type = -1, payload_type;
  gboolean ssrc_known, keep_ssrc;
  guint ssrc = 0;

  gst_structure_get_int (s, "payload", &in_payload_type);
  ssrc_known = gst_structure_get_uint (s, "ssrc", &ssrc);
  payload_type = choose_payload_type (keep ? track->id.payload_type : in_payload_type, others, n);
  if (payload_type < 0)
    return FALSE;
  keep_ssrc = keep && (!ssrc_known || (track->in_ssrc_known && ssrc == track->in_ssrc));
  if (track->redraw)
    track->id.ssrc = choose_ssrc (FALSE, 0, others, n);
  else if (keep_ssrc)
    track->id.ssrc = choose_ssrc (TRUE, track->id.ssrc, others, n);
  else
    track->id.ssrc = choose_ssrc (ssrc_known, ssrc, others, n);
  track->redraw = FALSE;
  track->id.payload_type = (guint8)payload_type;
  track->in_payload_type = in_payload_type;
  if (ssrc_known) {
    track->in_ssrc_known = TRUE;
    track->in_ssrc = ssrc;
  }
  gst_clear_caps (&track->caps);
  track->caps = gst_caps_copy (caps);
  gst_caps_set_simple (
      track->caps, "payload", G_TYPE_INT, payload_type, "ssrc", G_TYPE_UINT, track->id.ssrc, NULL);
  return TRUE;
}

static void
rewrite (GstNatRelayTrack *track, GstBuffer **buffer, const guint8 *header)
{
  guint8 second = (guint8)((header[1] & 0x80) | track->id.payload_type);
  guint8 ssrc[4];

  if (second == header[1] && track->id.ssrc == track->in_ssrc)
    return;
  GST_WRITE_UINT32_BE (ssrc, track->id.ssrc);
  *buffer = gst_buffer_make_writable (*buffer);
  gst_buffer_fill (*buffer, 1, &second, 1);
  gst_buffer_fill (*buffer, 8, ssrc, sizeof ssrc);
}

GstNatRelayTrackStatus
gst_nat_relay_track_take (GstNatRelayTrack *track, GstBuffer **buffer, gint64 now)
{
  guint8 header[FIXED_HEADER_SIZE];
  gsize len = gst_buffer_extract (*buffer, 0, header, sizeof header);
  NatPacketKind kind = nat_demux (header, len);
  guint32 ssrc;

  if (kind == NAT_PACKET_RTCP)
    return GST_NAT_RELAY_TRACK_DROP;
  if (kind != NAT_PACKET_RTP || len < sizeof header)
    return GST_NAT_RELAY_TRACK_NOT_RTP;
  if (track->in_payload_type < 0)
    track->in_payload_type = header[1] & 0x7f;
  if ((header[1] & 0x7f) != track->in_payload_type)
    return GST_NAT_RELAY_TRACK_DROP;
  ssrc = GST_READ_UINT32_BE (header + 8);
  if (!track->in_ssrc_known) {
    track->in_ssrc_known = TRUE;
    track->in_ssrc = ssrc;
  } else if (ssrc != track->in_ssrc) {
    return now - track->last_packet > SOURCE_SILENCE_US ? GST_NAT_RELAY_TRACK_NEW_SOURCE
                                                        : GST_NAT_RELAY_TRACK_DROP;
  }
  track->last_packet = now;
  rewrite (track, buffer, header);
  return GST_NAT_RELAY_TRACK_OK;
}
