/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelaysdp.h"
#include "natproto/negotiation.h"

#include <gst/sdp/sdp.h>
#include <string.h>

/* ---- caps -> SDP --------------------------------------------------------- */

const gchar *
gst_nat_relay_sdp_missing_field (GstCaps *caps)
{
  const GstStructure *s = gst_caps_get_structure (caps, 0);
  gint clock_rate;

  if (gst_structure_get_string (s, "media") == NULL)
    return "media";
  if (gst_structure_get_string (s, "encoding-name") == NULL)
    return "encoding-name";
  if (!gst_structure_get_int (s, "clock-rate", &clock_rate) || clock_rate <= 0)
    return "clock-rate";
  return NULL;
}

static gboolean
cannot_describe (GError **error, GstCaps *caps)
{
  gchar *text = gst_caps_to_string (caps);

  g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "Cannot describe %s in SDP", text);
  g_free (text);
  return FALSE;
}

/* What rtspsrc's caps tell of the camera and of the way to it: nobody's business beyond the relay, or no longer
 * true there. */
static gboolean
of_another_transport (const gchar *field)
{
  static const gchar *const prefixes[] = {"ssrc-", "a-ssrc", "a-control", "a-range", "a-mid",
      "a-tool", "a-type", "a-rtcp", "a-send", "a-recv", "a-inactive", "a-setup", "a-ts-refclk",
      "a-mediaclk", "npt-", "a-candidate", "a-ice", "a-fingerprint"};

  for (guint i = 0; i < G_N_ELEMENTS (prefixes); i++) {
    if (g_str_has_prefix (field, prefixes[i]))
      return TRUE;
  }
  return FALSE;
}

/* Those who watch may ask for a picture. */
static GstCaps *
caps_to_describe (GstCaps *caps)
{
  GstCaps *out = gst_caps_copy (caps);
  GstStructure *s = gst_caps_get_structure (out, 0);

  for (gint i = gst_structure_n_fields (s) - 1; i >= 0; i--) {
    if (of_another_transport (gst_structure_nth_field_name (s, (guint)i)))
      gst_structure_remove_field (s, gst_structure_nth_field_name (s, (guint)i));
  }
  if (g_strcmp0 (gst_structure_get_string (s, "media"), "video") == 0)
    gst_structure_set (s, "rtcp-fb-nack-pli", G_TYPE_BOOLEAN, TRUE, NULL);
  return out;
}

static void add_attribute (GstSDPMedia *media, const gchar *key, const gchar *format, ...)
    G_GNUC_PRINTF (3, 4);

static void
add_attribute (GstSDPMedia *media, const gchar *key, const gchar *format, ...)
{
  va_list args;
  gchar *value;

  va_start (args, format);
  value = g_strdup_vprintf (format, args);
  va_end (args);
  gst_sdp_media_add_attribute (media, key, value);
  g_free (value);
}

static gboolean
fill_media (GstSDPMedia *media, GstCaps *caps, guint mid, const gchar *cname)
{
  GstCaps *full = caps_to_describe (caps);
  guint ssrc = 0;
  gboolean ok;

  ok = gst_sdp_media_set_media_from_caps (full, media) == GST_SDP_OK &&
       gst_structure_get_uint (gst_caps_get_structure (full, 0), "ssrc", &ssrc);
  gst_caps_unref (full);
  if (!ok)
    return FALSE;
  /* Port 9 and address 0.0.0.0: as RFC 8839 section 4.2.1 does when addresses are found by other means. */
  gst_sdp_media_set_port_info (media, 9, 1);
  gst_sdp_media_set_proto (media, "RTP/AVPF");
  gst_sdp_media_add_connection (media, "IN", "IP4", "0.0.0.0", 0, 0);
  gst_sdp_media_add_attribute (media, "sendonly", NULL);
  gst_sdp_media_add_attribute (media, "rtcp-mux", NULL);
  add_attribute (media, "mid", "%u", mid);
  add_attribute (media, "ssrc", "%u cname:%s", ssrc, cname);
  gst_sdp_media_add_attribute (
      media, "rtcp-fb", "* ack ccfb"); /* to the relay: RFC 8888 section 6 */
  return TRUE;
}

static void
fill_session (GstSDPMessage *message, guint n, const GstNatRelaySdpOrigin *origin)
{
  gchar *id = g_strdup_printf ("%" G_GUINT64_FORMAT, origin->id);
  gchar *version = g_strdup_printf ("%" G_GUINT64_FORMAT, origin->version);
  GString *bundle = g_string_new ("BUNDLE");

  for (guint i = 0; i < n; i++)
    g_string_append_printf (bundle, " %u", i);
  gst_sdp_message_set_version (message, "0");
  gst_sdp_message_set_origin (message, "-", id, version, "IN", "IP4", "0.0.0.0");
  gst_sdp_message_set_session_name (message, "-");
  gst_sdp_message_add_time (message, "0", "0", NULL);
  gst_sdp_message_add_attribute (message, "group", bundle->str);
  g_string_free (bundle, TRUE);
  g_free (id);
  g_free (version);
}

gchar *
gst_nat_relay_sdp_from_caps (
    GstCaps *const *caps, guint n, const GstNatRelaySdpOrigin *origin, GError **error)
{
  GstSDPMessage *message;
  gboolean ok = TRUE;
  gchar *text = NULL;

  gst_sdp_message_new (&message);
  fill_session (message, n, origin);
  for (guint i = 0; ok && i < n; i++) {
    GstSDPMedia *media;

    gst_sdp_media_new (&media);
    ok = fill_media (media, caps[i], i, origin->cname);
    if (ok)
      gst_sdp_message_add_media (message, media);
    else
      cannot_describe (error, caps[i]);
    gst_sdp_media_free (media);
  }
  if (ok)
    text = gst_sdp_message_as_text (message);
  gst_sdp_message_free (message);
  return text;
}

/* ---- SDP -> caps --------------------------------------------------------- */

static void
track_free (GstNatRelaySdpTrack *track)
{
  gst_clear_caps (&track->caps);
  g_free (track);
}

static GstNatRelayMedia
media_of (const gchar *media)
{
  if (g_strcmp0 (media, "video") == 0)
    return GST_NAT_RELAY_VIDEO;
  return g_strcmp0 (media, "audio") == 0 ? GST_NAT_RELAY_AUDIO : GST_NAT_RELAY_DATA;
}

/* Attributes become fields as in rtspsrc, but for those about this very transport. */
static GstCaps *
caps_from_media (const GstSDPMedia *media, const NatTrack *track)
{
  GstCaps *caps = gst_sdp_media_get_caps_from_media (media, track->payload_type);
  GstStructure *s;

  if (caps == NULL)
    return NULL;
  s = gst_caps_get_structure (caps, 0);
  gst_structure_set_name (s, "application/x-rtp");
  gst_sdp_media_attributes_to_caps (media, caps);
  for (gint i = gst_structure_n_fields (s) - 1; i >= 0; i--) {
    const gchar *name = gst_structure_nth_field_name (s, (guint)i);

    if (g_str_has_prefix (name, "a-mid") || g_str_has_prefix (name, "a-rtcp-mux") ||
        g_str_has_prefix (name, "a-sendonly") || g_str_has_prefix (name, "ssrc-"))
      gst_structure_remove_field (s, name);
  }
  gst_structure_set (s, "media", G_TYPE_STRING, gst_sdp_media_get_media (media), "payload",
      G_TYPE_INT, (gint)track->payload_type, "ssrc", G_TYPE_UINT, track->ssrc, NULL);
  return caps;
}

static GPtrArray *
tracks_from_message (const GstSDPMessage *message, const NatTracks *tracks, GError **error)
{
  GPtrArray *out = g_ptr_array_new_with_free_func ((GDestroyNotify)track_free);
  guint n = MIN (gst_sdp_message_medias_len (message), tracks->n_tracks);

  for (guint pass = 0; pass < GST_NAT_RELAY_N_MEDIA; pass++) {
    for (guint i = 0; i < n; i++) {
      const GstSDPMedia *media = gst_sdp_message_get_media (message, i);
      GstNatRelaySdpTrack *track;
      GstCaps *caps;

      if ((guint)media_of (gst_sdp_media_get_media (media)) != pass)
        continue;
      caps = caps_from_media (media, &tracks->tracks[i]);
      if (caps == NULL || gst_nat_relay_sdp_missing_field (caps) != NULL) {
        g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
            "The publisher's description does not say what track %u is", i + 1);
        gst_clear_caps (&caps);
        g_ptr_array_unref (out);
        return NULL;
      }
      track = g_new0 (GstNatRelaySdpTrack, 1);
      track->media = (GstNatRelayMedia)pass;
      track->ssrc = tracks->tracks[i].ssrc;
      track->payload_type = tracks->tracks[i].payload_type;
      track->caps = caps;
      g_ptr_array_add (out, track);
    }
  }
  return out;
}

GPtrArray *
gst_nat_relay_sdp_to_tracks (const gchar *sdp, GError **error)
{
  GstSDPMessage *message;
  GPtrArray *out = NULL;
  NatTracks tracks;

  if (!nat_tracks_from_sdp (&tracks, sdp, error))
    return NULL;
  gst_sdp_message_new (&message);
  if (gst_sdp_message_parse_buffer ((const guint8 *)sdp, (guint)strlen (sdp), message) ==
          GST_SDP_OK &&
      gst_sdp_message_medias_len (message) == tracks.n_tracks)
    out = tracks_from_message (message, &tracks, error);
  else
    g_set_error_literal (
        error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The publisher's description is not SDP");
  gst_sdp_message_free (message);
  return out;
}

gboolean
gst_nat_relay_sdp_same_codec (GstCaps *a, GstCaps *b)
{
  const GstStructure *sa = gst_caps_get_structure (a, 0);
  const GstStructure *sb = gst_caps_get_structure (b, 0);
  gint rate_a = 0, rate_b = 0;

  gst_structure_get_int (sa, "clock-rate", &rate_a);
  gst_structure_get_int (sb, "clock-rate", &rate_b);
  return rate_a == rate_b &&
         g_strcmp0 (
             gst_structure_get_string (sa, "media"), gst_structure_get_string (sb, "media")) == 0 &&
         g_strcmp0 (gst_structure_get_string (sa, "encoding-name"),
             gst_structure_get_string (sb, "encoding-name")) == 0;
}

/* "name id" of "o=name id version ..."; empty if there is none. */
static gchar *
session_of (const gchar *sdp)
{
  const gchar *line = strstr (sdp, "\no=");
  const gchar *end = line != NULL ? strchr (line, ' ') : NULL;

  end = end != NULL ? strchr (end + 1, ' ') : NULL;
  return end != NULL ? g_strndup (line, (gsize)(end - line)) : g_strdup ("");
}

gboolean
gst_nat_relay_sdp_same_session (const gchar *a, const gchar *b)
{
  gchar *session_a = session_of (a), *session_b = session_of (b);
  gboolean same = *session_a != '\0' && strcmp (session_a, session_b) == 0;

  g_free (session_a);
  g_free (session_b);
  return same;
}
