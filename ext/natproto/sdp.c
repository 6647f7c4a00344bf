/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/sdp.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/framemarking.h"

#define malformed(error, ...) nat_error_set (error, NAT_ERROR_MALFORMED, __VA_ARGS__)

/* RFC 3551 tables 4 and 5; 0 = no static meaning. (G722's 8000 Hz is history, and right.) */
static const guint32 static_clock_rates[35] = {
    [0] = 8000,
    [3] = 8000,
    [4] = 8000,
    [5] = 8000,
    [6] = 16000,
    [7] = 8000,
    [8] = 8000,
    [9] = 8000,
    [10] = 44100,
    [11] = 44100,
    [12] = 8000,
    [13] = 8000,
    [14] = 90000,
    [15] = 8000,
    [16] = 11025,
    [17] = 22050,
    [18] = 8000,
    [25] = 90000,
    [26] = 90000,
    [28] = 90000,
    [31] = 90000,
    [32] = 90000,
    [33] = 90000,
    [34] = 90000,
};

#define CLOCK_RATE_MAX 1000000 /* Hz; well above any registered one */

/* Reads digits up to max and steps behind them. */
static gboolean
read_number (const char **p, guint64 max, guint64 *out)
{
  const char *start = *p;
  guint64 value = 0;

  for (; g_ascii_isdigit (**p); ++*p) {
    value = value * 10 + (guint64)(**p - '0');
    if (value > max)
      return FALSE;
  }
  *out = value;
  return *p > start;
}

/* "video 9 RTP/SAVPF 96 97": the first format is the one that is sent. */
static gboolean
read_media_line (NatTracks *tracks, const char *value, GError **error)
{
  g_auto (GStrv) words = g_strsplit (value, " ", 5);
  const char *format;
  NatTrack *track;
  guint64 pt;

  if (tracks->n_tracks == NAT_TRACKS_MAX)
    return malformed (
        error, "The SDP has more than the %d media sections (m=) allowed", NAT_TRACKS_MAX);
  if (g_strv_length (words) < 4 || words[0][0] == '\0')
    return malformed (error, "Media section %u of the SDP has no payload type in its m= line",
        tracks->n_tracks + 1);
  format = words[3];
  if (!read_number (&format, 127, &pt) || *format != '\0' || (pt >= 64 && pt <= 95))
    return malformed (error,
        "Media section %u of the SDP has a payload type that cannot be used; it must be 0 to 63 "
        "or 96 to 127",
        tracks->n_tracks + 1);
  track = &tracks->tracks[tracks->n_tracks++];
  g_strlcpy (track->media, words[0], sizeof track->media);
  track->payload_type = pt;
  if (pt < G_N_ELEMENTS (static_clock_rates))
    track->clock_rate = static_clock_rates[pt];
  return TRUE;
}

/* "96 H264/90000"; other payload types than the one that is sent are passed over. */
static gboolean
read_rtpmap (NatTrack *track, guint section, const char *value, GError **error)
{
  guint64 pt, rate;

  if (!read_number (&value, 127, &pt) || *value != ' ')
    return malformed (error, "Media section %u of the SDP has an unreadable a=rtpmap", section);
  if (pt != track->payload_type)
    return TRUE;
  value = strchr (value, '/');
  if (value == NULL || (value++, !read_number (&value, CLOCK_RATE_MAX, &rate)) || rate == 0 ||
      (*value != '\0' && *value != '/'))
    return malformed (
        error, "Media section %u of the SDP has an a=rtpmap without a clock rate", section);
  track->clock_rate = rate;
  return TRUE;
}

/* "1234 cname:x"; several lines may speak of the same SSRC. */
static gboolean
read_ssrc (NatTrack *track, guint section, const char *value, GError **error)
{
  guint64 ssrc;

  if (!read_number (&value, G_MAXUINT32, &ssrc) || ssrc == 0 || (*value != '\0' && *value != ' '))
    return malformed (error, "Media section %u of the SDP has an unreadable a=ssrc", section);
  if (track->ssrc != 0 && track->ssrc != ssrc)
    return malformed (error, "Media section %u of the SDP announces more than one SSRC", section);
  track->ssrc = ssrc;
  return TRUE;
}

/* "3 URI" or "3/sendonly URI attributes" (RFC 8285 section 8): which id the frame marks have. One that the
 * publisher does not send is none, and so is one that no packet can carry. */
static void
read_extmap (NatTrack *track, const char *value)
{
  gsize uri_len = strlen (NAT_FRAMEMARKING_URI);
  guint64 id;

  if (!read_number (&value, 255, &id) || g_str_has_prefix (value, "/recvonly ") ||
      g_str_has_prefix (value, "/inactive "))
    return;
  value += strcspn (value, " ");
  value += strspn (value, " ");
  if (strncmp (value, NAT_FRAMEMARKING_URI, uri_len) == 0 &&
      (value[uri_len] == '\0' || value[uri_len] == ' '))
    track->framemarking_id = (guint8)id;
}

/* "96 ack ccfb" or "* ack ccfb" (RFC 8888 section 6). */
static void
read_feedback (NatTrack *track, const char *value)
{
  const char *kind = strchr (value, ' ');

  if (kind != NULL && (strcmp (kind, " ack ccfb") == 0 || g_str_has_prefix (kind, " ack ccfb ")))
    track->ccfb = TRUE;
}

/* What follows prefix in line; NULL if line does not begin so. */
static const char *
after (const char *line, const char *prefix)
{
  gsize len = strlen (prefix);

  return strncmp (line, prefix, len) == 0 ? line + len : NULL;
}

static gboolean
read_sdp_line (NatTracks *tracks, const char *line, GError **error)
{
  NatTrack *track = tracks->n_tracks > 0 ? &tracks->tracks[tracks->n_tracks - 1] : NULL;
  const char *value;

  if ((value = after (line, "m=")) != NULL)
    return read_media_line (tracks, value, error);
  if (track == NULL)
    return TRUE;
  if ((value = after (line, "a=rtpmap:")) != NULL)
    return read_rtpmap (track, tracks->n_tracks, value, error);
  if ((value = after (line, "a=ssrc:")) != NULL)
    return read_ssrc (track, tracks->n_tracks, value, error);
  if ((value = after (line, "a=rtcp-fb:")) != NULL)
    read_feedback (track, value);
  if ((value = after (line, "a=extmap:")) != NULL)
    read_extmap (track, value);
  return TRUE;
}

static gboolean
check_tracks (const NatTracks *tracks, GError **error)
{
  if (tracks->n_tracks == 0)
    return malformed (error, "The SDP has no media section (m=)");
  for (guint i = 0; i < tracks->n_tracks; i++) {
    const NatTrack *track = &tracks->tracks[i];

    if (track->ssrc == 0)
      return malformed (error, "Media section %u of the SDP has no a=ssrc", i + 1);
    if (track->clock_rate == 0)
      return malformed (error,
          "Media section %u of the SDP has no a=rtpmap for its payload type %u", i + 1,
          track->payload_type);
    for (guint j = 0; j < i; j++) {
      if (tracks->tracks[j].ssrc == track->ssrc)
        return malformed (
            error, "Media sections %u and %u of the SDP have the same SSRC", j + 1, i + 1);
    }
  }
  return TRUE;
}

gboolean
nat_tracks_from_sdp (NatTracks *tracks, const char *sdp, GError **error)
{
  gsize len = strnlen (sdp, NAT_SDP_MAX + 1);
  g_auto (GStrv) lines = NULL;

  memset (tracks, 0, sizeof *tracks);
  if (len > NAT_SDP_MAX)
    return malformed (error, "The SDP is longer than the %d bytes allowed", NAT_SDP_MAX);
  if (strncmp (sdp, "v=0", 3) != 0 || strcspn (sdp, "\r\n") != 3)
    return malformed (error, "The SDP does not begin with v=0");
  lines = g_strsplit (sdp, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    g_strchomp (lines[i]);
    if (!read_sdp_line (tracks, lines[i], error))
      return FALSE;
  }
  return check_tracks (tracks, error);
}
