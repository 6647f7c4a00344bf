/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the relay reads of an SDP, what it passes over, and a clear error for each way in which one can be wrong. */

#include "natproto/sdp.h"

#include <string.h>

#include "natproto/error.h"

#define V       "v=0\r\n"
#define VIDEO   "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:1111 cname:x\r\n"
#define AUDIO   "m=audio 9 RTP/AVPF 97\r\na=rtpmap:97 OPUS/48000/2\r\na=ssrc:2222\r\n"
#define SESSION "o=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ssrc:9999\r\na=rtpmap:96 X/1\r\n"

static void
test_tracks (void)
{
  NatTracks t;

  g_assert_true (nat_tracks_from_sdp (&t, V SESSION VIDEO AUDIO, NULL));
  g_assert_cmpuint (t.n_tracks, ==, 2);
  g_assert_cmpstr (t.tracks[0].media, ==, "video");
  g_assert_cmpuint (t.tracks[0].ssrc, ==, 1111);
  g_assert_cmpuint (t.tracks[0].payload_type, ==, 96);
  g_assert_cmpuint (t.tracks[0].clock_rate, ==, 90000);
  g_assert_cmpstr (t.tracks[1].media, ==, "audio");
  g_assert_cmpuint (t.tracks[1].ssrc, ==, 2222);
  g_assert_cmpuint (t.tracks[1].payload_type, ==, 97);
  g_assert_cmpuint (t.tracks[1].clock_rate, ==, 48000);
}

static void
test_liberties (void)
{
  NatTracks t;

  /* Bare newlines, a format list, a=ssrc before a=rtpmap and repeated, a long media name. */
  g_assert_true (nat_tracks_from_sdp (&t,
      "v=0\nm=application 9/2 RTP/SAVPF 96 97 98\na=ssrc:4294967295 cname:x\n"
      "a=ssrc:4294967295 msid:a b\na=rtpmap:97 RTX/1\na=rtpmap:96 SMPTE336M/90000\n",
      NULL));
  g_assert_cmpstr (t.tracks[0].media, ==, "applica");
  g_assert_cmpuint (t.tracks[0].ssrc, ==, G_MAXUINT32);
  g_assert_cmpuint (t.tracks[0].clock_rate, ==, 90000);
}

#define FRAMEMARKING "urn:ietf:params:rtp-hdrext:framemarking"

/* The id under which the video's frames are marked; the line follows m=video. */
static const struct {
  const char *line;
  guint8 id;
} extmaps[] = {
    /*  0 */ {"a=extmap:3 " FRAMEMARKING, 3},
    /*  1 */ {"a=extmap:14/sendonly " FRAMEMARKING, 14},
    /*  2 */ {"a=extmap:1/sendrecv  " FRAMEMARKING " some attribute", 1},
    /*  3 */ {"a=extmap:255 " FRAMEMARKING, 255},
    /*  4 what the publisher does not send */ {"a=extmap:3/recvonly " FRAMEMARKING, 0},
    /*  5 */ {"a=extmap:3/inactive " FRAMEMARKING, 0},
    /*  6 for an offer to choose from (RFC 8285 section 7), not for packets */
    {"a=extmap:4096 " FRAMEMARKING, 0},
    /*  7 */ {"a=extmap:3 " FRAMEMARKING "info", 0},
    /*  8 */ {"a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid", 0},
    /*  9 */ {"a=extmap:3", 0},
    /* 10 */ {"a=extmap:", 0},
    /* 11 */ {"a=extmap:x " FRAMEMARKING, 0},
    /* 12 */ {"a=extmap:99999999999999999999 " FRAMEMARKING, 0},
    /* 13 one among others */
    {"a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:2 " FRAMEMARKING
     "\r\na=extmap:3 urn:3gpp:video-orientation",
        2},
};

/* The first three ask for it. */
static void
test_feedback (void)
{
  static const char *const lines[] = {"96 ack ccfb", "* ack ccfb",
      "* nack\r\na=rtcp-fb:* ack ccfb\r\na=rtcp-fb:* nack pli", "* ack ccfb2", "* ack", "ccfb", ""};

  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autofree char *sdp = g_strconcat (V SESSION VIDEO "a=rtcp-fb:", lines[i], "\r\n" AUDIO, NULL);
    NatTracks t;

    g_assert_true (nat_tracks_from_sdp (&t, sdp, NULL));
    g_assert_cmpint (t.tracks[0].ccfb, ==, i < 3);
    g_assert_false (t.tracks[1].ccfb);
  }
}

static void
test_extmap (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (extmaps); i++) {
    g_autofree char *sdp = g_strconcat (
        V SESSION "a=extmap:9 " FRAMEMARKING "\r\n" VIDEO, extmaps[i].line, "\r\n" AUDIO, NULL);
    NatTracks t;

    g_assert_true (nat_tracks_from_sdp (&t, sdp, NULL));
    if (t.tracks[0].framemarking_id != extmaps[i].id)
      g_error ("row %u: id %u", i, t.tracks[0].framemarking_id);
    g_assert_cmpuint (t.tracks[1].framemarking_id, ==, 0);
  }
}

/* RFC 3551 tables 4 and 5, once more. */
static void
test_static_types (void)
{
  static const guint rates[][2] = {{0, 8000}, {3, 8000}, {4, 8000}, {5, 8000}, {6, 16000},
      {7, 8000}, {8, 8000}, {9, 8000}, {10, 44100}, {11, 44100}, {12, 8000}, {13, 8000},
      {14, 90000}, {15, 8000}, {16, 11025}, {17, 22050}, {18, 8000}, {25, 90000}, {26, 90000},
      {28, 90000}, {31, 90000}, {32, 90000}, {33, 90000}, {34, 90000}};
  guint known = 0;

  for (guint pt = 0; pt < 128; pt++) {
    g_autofree char *sdp = g_strdup_printf ("v=0\r\nm=audio 9 RTP/AVP %u\r\na=ssrc:5\r\n", pt);
    gboolean is_static = known < G_N_ELEMENTS (rates) && rates[known][0] == pt;
    NatTracks t;

    if (nat_tracks_from_sdp (&t, sdp, NULL) != is_static)
      g_error ("payload type %u", pt);
    if (is_static)
      g_assert_cmpuint (t.tracks[0].clock_rate, ==, rates[known++][1]);
  }
  g_assert_cmpuint (known, ==, G_N_ELEMENTS (rates));
  /* rtpmap has the last word, also for a static type. */
  {
    NatTracks t;

    g_assert_true (nat_tracks_from_sdp (
        &t, V "m=audio 9 RTP/AVP 0\r\na=rtpmap:0 PCMU/16000\r\na=ssrc:5\r\n", NULL));
    g_assert_cmpuint (t.tracks[0].clock_rate, ==, 16000);
  }
}

/* The error must say what the text names. */
static const struct {
  const char *sdp, *says;
} bad_sdp[] = {
    /*  0 */ {"", "v=0"},
    /*  1 */ {"hello", "v=0"},
    /*  2 */ {VIDEO, "v=0"},
    /*  3 */ {"v=1\r\n" VIDEO, "v=0"},
    /*  4 */ {V SESSION, "no media section"},
    /*  5 */ {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\n", "no a=ssrc"},
    /*  6 */ {V "m=video 9 RTP/AVPF 96\r\na=ssrc:1\r\n", "no a=rtpmap for its payload type 96"},
    /*  7 */ {V VIDEO AUDIO "a=ssrc:1111\r\n", "more than one SSRC"},
    /*  8 */ {V VIDEO VIDEO, "Media sections 1 and 2 of the SDP have the same SSRC"},
    /*  9 */ {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:0\r\n", "a=ssrc"},
    /* 10 */
    {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:4294967296\r\n", "a=ssrc"},
    /* 11 */ {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:-1\r\n", "a=ssrc"},
    /* 12 */ {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:12x\r\n", "a=ssrc"},
    /* 13 */ {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:\r\n", "a=ssrc"},
    /* 14 */ {V "m=video 9 RTP/AVPF\r\n", "no payload type"},
    /* 15 */ {V "m=\r\n", "no payload type"},
    /* 16 */ {V "m=application 9 UDP/BFCP *\r\n", "payload type that cannot be used"},
    /* 17 */ {V "m=video 9 RTP/AVPF 128\r\n", "payload type that cannot be used"},
    /* 18 RFC 5761: would look like RTCP */
    {V "m=video 9 RTP/AVPF 72\r\na=rtpmap:72 H264/90000\r\na=ssrc:1\r\n", "cannot be used"},
    /* 19 */
    {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264\r\na=ssrc:1\r\n", "without a clock rate"},
    /* 20 */
    {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/0\r\na=ssrc:1\r\n", "without a clock rate"},
    /* 21 */ {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/9e9\r\na=ssrc:1\r\n", "clock rate"},
    /* 22 */
    {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/99999999999\r\na=ssrc:1\r\n", "clock rate"},
    /* 23 */
    {V "m=video 9 RTP/AVPF 96\r\na=rtpmap:x H264/90000\r\na=ssrc:1\r\n", "unreadable a=rtpmap"},
};

static void
test_bad (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (bad_sdp); i++) {
    g_autoptr (GError) error = NULL;
    NatTracks t;

    if (nat_tracks_from_sdp (&t, bad_sdp[i].sdp, &error))
      g_error ("row %u was taken", i);
    if (!g_error_matches (error, NAT_ERROR, NAT_ERROR_MALFORMED) ||
        strstr (error->message, bad_sdp[i].says) == NULL)
      g_error ("row %u: %s", i, error->message);
  }
}

static void
test_limits (void)
{
  g_autoptr (GString) sdp = g_string_new (V);
  g_autofree char *blanks = g_strnfill (NAT_SDP_MAX + 1, '\n');
  g_autoptr (GError) error = NULL;
  NatTracks t;

  for (guint i = 1; i <= NAT_TRACKS_MAX; i++)
    g_string_append_printf (sdp, "m=audio 9 RTP/AVP 0\r\na=ssrc:%u\r\n", i);
  g_assert_true (nat_tracks_from_sdp (&t, sdp->str, NULL));
  g_assert_cmpuint (t.n_tracks, ==, NAT_TRACKS_MAX);
  g_string_append (sdp, "m=audio 9 RTP/AVP 0\r\na=ssrc:99\r\n");
  g_assert_false (nat_tracks_from_sdp (&t, sdp->str, &error));
  g_assert_nonnull (strstr (error->message, "16"));
  g_assert_false (nat_tracks_from_sdp (&t, blanks, NULL));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sdp/tracks", test_tracks);
  g_test_add_func ("/sdp/liberties", test_liberties);
  g_test_add_func ("/sdp/feedback", test_feedback);
  g_test_add_func ("/sdp/extmap", test_extmap);
  g_test_add_func ("/sdp/static-types", test_static_types);
  g_test_add_func ("/sdp/bad", test_bad);
  g_test_add_func ("/sdp/limits", test_limits);
  return g_test_run ();
}
