/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Caps to SDP and back, by what payloaders really say; and what a track does to packets and caps. */

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <string.h>

#include "gstnatrelaysdp.h"
#include "gstnatrelaytrack.h"
#include "natproto/negotiation.h"

static const GstNatRelaySdpOrigin origin = {"camera@example", 4711, 1};

static GPtrArray *
caps_array (const gchar *const *texts)
{
  GPtrArray *caps = g_ptr_array_new_with_free_func ((GDestroyNotify)gst_caps_unref);

  for (; *texts != NULL; texts++) {
    GstCaps *one = gst_caps_from_string (*texts);

    fail_unless (one != NULL, "%s", *texts);
    g_ptr_array_add (caps, one);
  }
  return caps;
}

static gchar *
to_sdp (const gchar *const *texts)
{
  GPtrArray *caps = caps_array (texts);
  GError *error = NULL;
  gchar *sdp =
      gst_nat_relay_sdp_from_caps ((GstCaps *const *)caps->pdata, caps->len, &origin, &error);

  fail_unless (sdp != NULL, "%s", error != NULL ? error->message : "");
  g_ptr_array_unref (caps);
  return sdp;
}

#define H264                                                                                       \
  "application/x-rtp, media=(string)video, clock-rate=(int)90000, encoding-name=(string)H264, "    \
  "packetization-mode=(string)1, "                                                                 \
  "sprop-parameter-sets=(string)\"Z0LAHtkAoD2hAAADAAEAAAMAMA8WLkg\\=\\,aMuDyyA\\=\", "             \
  "profile-level-id=(string)42c01e, profile=(string)constrained-baseline, payload=(int)96, "       \
  "ssrc=(uint)1000, timestamp-offset=(uint)123, seqnum-offset=(uint)45, a-framerate=(string)30"
#define OPUS                                                                                       \
  "application/x-rtp, media=(string)audio, encoding-name=(string)OPUS, payload=(int)97, "          \
  "sprop-stereo=(string)1, encoding-params=(string)2, clock-rate=(int)48000, ssrc=(uint)2000"
#define MP2T                                                                                       \
  "application/x-rtp, media=(string)video, payload=(int)33, clock-rate=(int)90000, "               \
  "encoding-name=(string)MP2T, ssrc=(uint)3000"
#define TEXT                                                                                       \
  "application/x-rtp, media=(string)application, payload=(int)98, clock-rate=(int)90000, "         \
  "encoding-name=(string)X-GST, ssrc=(uint)4000"

static const gchar *const av[] = {H264, OPUS, NULL};

static gboolean
has_line (const gchar *sdp, const gchar *line)
{
  gchar **lines = g_strsplit (sdp, "\r\n", -1);
  gboolean found = g_strv_contains ((const gchar *const *)lines, line);

  g_strfreev (lines);
  return found;
}

GST_START_TEST (test_offer_text)
{
  static const gchar *const lines[] = {"v=0", "o=- 4711 1 IN IP4 0.0.0.0", "s=-", "t=0 0",
      "a=group:BUNDLE 0 1", "m=video 9 RTP/AVPF 96", "a=rtpmap:96 H264/90000",
      "a=rtcp-fb:96 nack pli", "a=rtcp-mux", "a=mid:0", "a=mid:1",
      "a=ssrc:1000 cname:camera@example", "a=sendonly", "m=audio 9 RTP/AVPF 97",
      "a=rtpmap:97 OPUS/48000/2", "a=ssrc:2000 cname:camera@example", NULL};
  gchar *sdp = to_sdp (av);

  for (guint i = 0; lines[i] != NULL; i++)
    fail_unless (has_line (sdp, lines[i]), "\"%s\" is not in\n%s", lines[i], sdp);
  fail_unless (
      strstr (sdp, "sprop-parameter-sets=Z0LAHtkAoD2hAAADAAEAAAMAMA8WLkg=,aMuDyyA=") != NULL);
  fail_unless (strstr (sdp, "rtcp-fb:97") == NULL, "sound has no pictures to ask for");
  g_free (sdp);
}
GST_END_TEST;

/* What the relay reads of it. */
/* As rtspsrc has them. */
#define CAMERA                                                                                     \
  "application/x-rtp, media=(string)video, payload=(int)96, clock-rate=(int)90000, "               \
  "encoding-name=(string)H264, packetization-mode=(string)1, a-tool=(string)LIVE, "                \
  "a-control=(string)\"rtsp://10.0.0.7/secret/trackID=1\", a-range=(string)\"npt=0-\", "           \
  "a-recvonly=(string)\"\", a-framerate=(string)25, npt-start=(guint64)0, "                        \
  "ssrc-1-cname=(string)\"user@camera\", a-ts-refclk=(string)local, ssrc=(uint)1"

/* Neither the camera's address nor its names go to those who watch. */
GST_START_TEST (test_offer_of_a_camera)
{
  static const gchar *const texts[] = {CAMERA, NULL};
  gchar *sdp = to_sdp (texts);

  fail_unless (strstr (sdp, "a=framerate:25\r\n") != NULL, "%s", sdp);
  fail_unless (strstr (sdp, "packetization-mode=1") != NULL, "%s", sdp);
  fail_if (strstr (sdp, "10.0.0.7") != NULL, "%s", sdp);
  fail_if (strstr (sdp, "user@camera") != NULL, "%s", sdp);
  fail_if (strstr (sdp, "recvonly") != NULL, "%s", sdp);
  fail_if (strstr (sdp, "LIVE") != NULL || strstr (sdp, "refclk") != NULL, "%s", sdp);
  g_free (sdp);
}
GST_END_TEST;

GST_START_TEST (test_offer_tracks)
{
  static const gchar *const all[] = {H264, OPUS, MP2T, TEXT, NULL};
  gchar *sdp = to_sdp (all);
  GError *error = NULL;
  NatTracks tracks;

  fail_unless (
      nat_tracks_from_sdp (&tracks, sdp, &error), "%s", error != NULL ? error->message : "");
  fail_unless_equals_int (tracks.n_tracks, 4);
  fail_unless_equals_int (tracks.tracks[0].ssrc, 1000);
  fail_unless_equals_int (tracks.tracks[0].payload_type, 96);
  fail_unless_equals_int (tracks.tracks[0].clock_rate, 90000);
  fail_unless_equals_int (tracks.tracks[1].clock_rate, 48000);
  fail_unless_equals_int (tracks.tracks[2].payload_type, 33);
  fail_unless_equals_int (tracks.tracks[2].clock_rate, 90000);
  fail_unless_equals_int (tracks.tracks[3].ssrc, 4000);
  g_free (sdp);
}
GST_END_TEST;

static GstNatRelaySdpTrack *
track_at (GPtrArray *tracks, guint i)
{
  fail_unless (i < tracks->len);
  return tracks->pdata[i];
}

static void
assert_field (GstCaps *caps, const gchar *field, const gchar *value)
{
  const gchar *is = gst_structure_get_string (gst_caps_get_structure (caps, 0), field);

  fail_unless (g_strcmp0 (is, value) == 0, "%s is %s, not %s", field, is, value);
}

/* Video comes first, whatever the order of the publisher's pads; all a depayloader needs is there. */
GST_START_TEST (test_round_trip)
{
  static const gchar *const mixed[] = {OPUS, TEXT, H264, MP2T, NULL};
  gchar *sdp = to_sdp (mixed);
  GError *error = NULL;
  GPtrArray *tracks = gst_nat_relay_sdp_to_tracks (sdp, &error);
  static const guint32 order[] = {1000, 3000, 2000, 4000};
  gboolean pli = FALSE;
  gint number;

  fail_unless (tracks != NULL, "%s", error != NULL ? error->message : "");
  fail_unless_equals_int (tracks->len, 4);
  for (guint i = 0; i < 4; i++) {
    guint ssrc = 0;

    fail_unless_equals_int (track_at (tracks, i)->ssrc, order[i]);
    gst_structure_get_uint (gst_caps_get_structure (track_at (tracks, i)->caps, 0), "ssrc", &ssrc);
    fail_unless_equals_int (ssrc, order[i]);
  }
  fail_unless_equals_int (track_at (tracks, 0)->media, GST_NAT_RELAY_VIDEO);
  fail_unless_equals_int (track_at (tracks, 2)->media, GST_NAT_RELAY_AUDIO);
  fail_unless_equals_int (track_at (tracks, 3)->media, GST_NAT_RELAY_DATA);
  assert_field (track_at (tracks, 0)->caps, "media", "video");
  assert_field (track_at (tracks, 0)->caps, "encoding-name", "H264");
  assert_field (track_at (tracks, 0)->caps, "packetization-mode", "1");
  assert_field (track_at (tracks, 0)->caps, "sprop-parameter-sets",
      "Z0LAHtkAoD2hAAADAAEAAAMAMA8WLkg=,aMuDyyA=");
  gst_structure_get_boolean (
      gst_caps_get_structure (track_at (tracks, 0)->caps, 0), "rtcp-fb-nack-pli", &pli);
  fail_unless (pli, "receivers ask for pictures only where caps say that they may");
  fail_unless (gst_structure_get_int (
      gst_caps_get_structure (track_at (tracks, 0)->caps, 0), "payload", &number));
  fail_unless_equals_int (number, 96);
  assert_field (track_at (tracks, 1)->caps, "encoding-name", "MP2T");
  assert_field (track_at (tracks, 2)->caps, "encoding-name", "OPUS");
  assert_field (track_at (tracks, 2)->caps, "encoding-params", "2");
  g_ptr_array_unref (tracks);
  g_free (sdp);
}
GST_END_TEST;

/* The depayloaders of GStreamer take these caps. */
GST_START_TEST (test_depayloaders_take_caps)
{
  gchar *sdp = to_sdp (av);
  GPtrArray *tracks = gst_nat_relay_sdp_to_tracks (sdp, NULL);
  static const gchar *const depayloaders[] = {"rtph264depay", "rtpopusdepay"};

  for (guint i = 0; i < G_N_ELEMENTS (depayloaders); i++) {
    GstHarness *h = gst_harness_new (depayloaders[i]);

    gst_harness_set_src_caps (h, gst_caps_ref (track_at (tracks, i)->caps));
    fail_unless (
        gst_pad_has_current_caps (GST_PAD_PEER (h->srcpad)), "%s refused %s", depayloaders[i], sdp);
    gst_harness_teardown (h);
  }
  g_ptr_array_unref (tracks);
  g_free (sdp);
}
GST_END_TEST;

/* Header extensions go there and back; the relay learns under which id frames are marked. */
GST_START_TEST (test_extmap)
{
  static const gchar *const marked[] = {H264
      ", extmap-14=(string)urn:ietf:params:rtp-hdrext:framemarking, "
      "extmap-1=(string)urn:ietf:params:rtp-hdrext:sdes:mid",
      OPUS, NULL};
  gchar *sdp = to_sdp (marked);
  GPtrArray *tracks = gst_nat_relay_sdp_to_tracks (sdp, NULL);
  NatTracks read;

  fail_unless (has_line (sdp, "a=extmap:14 urn:ietf:params:rtp-hdrext:framemarking"), "%s", sdp);
  fail_unless (nat_tracks_from_sdp (&read, sdp, NULL));
  fail_unless_equals_int (read.tracks[0].framemarking_id, 14);
  fail_unless_equals_int (read.tracks[1].framemarking_id, 0);
  assert_field (track_at (tracks, 0)->caps, "extmap-14", "urn:ietf:params:rtp-hdrext:framemarking");
  assert_field (track_at (tracks, 0)->caps, "extmap-1", "urn:ietf:params:rtp-hdrext:sdes:mid");
  assert_field (track_at (tracks, 1)->caps, "extmap-14", NULL);
  g_ptr_array_unref (tracks);
  g_free (sdp);
}
GST_END_TEST;

static const gchar *const bad_sdp[] = {
    "",
    "nonsense",
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 RTP/AVPF 96\r\n",
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 RTP/AVPF 96\r\na=rtpmap:96 "
    "H264/90000\r\n",
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 RTP/AVPF 96\r\na=ssrc:1 "
    "cname:x\r\n",
};

GST_START_TEST (test_bad_sdp)
{
  GError *error = NULL;

  fail_unless (gst_nat_relay_sdp_to_tracks (bad_sdp[__i__], &error) == NULL, "%s", bad_sdp[__i__]);
  fail_unless (error != NULL);
  g_error_free (error);
}
GST_END_TEST;

GST_START_TEST (test_missing_field)
{
  static const struct {
    const gchar *caps, *missing;
  } cases[] = {
      {"application/x-rtp", "media"},
      {"application/x-rtp,media=video", "encoding-name"},
      {"application/x-rtp,media=video,encoding-name=H264", "clock-rate"},
      {"application/x-rtp,media=video,encoding-name=H264,clock-rate=90000", NULL},
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstCaps *caps = gst_caps_from_string (cases[i].caps);

    fail_unless (
        g_strcmp0 (gst_nat_relay_sdp_missing_field (caps), cases[i].missing) == 0, "row %u", i);
    gst_caps_unref (caps);
  }
}
GST_END_TEST;

/* ---- tracks -------------------------------------------------------------- */

static gboolean
settle (GstNatRelayTrack *track, const gchar *text, const GstNatRelayTrackId *others, guint n)
{
  GstCaps *caps = gst_caps_from_string (text);
  gboolean ok = gst_nat_relay_track_settle (track, caps, others, n);

  gst_caps_unref (caps);
  return ok;
}

static GstBuffer *
rtp_packet (guint8 payload_type, guint32 ssrc)
{
  guint8 data[] = {0x80, (guint8)(0x80 | payload_type), 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0xab, 0xcd};

  GST_WRITE_UINT32_BE (data + 8, ssrc);
  return gst_buffer_new_memdup (data, sizeof data);
}

static void
assert_packet (GstBuffer *buffer, guint8 payload_type, guint32 ssrc)
{
  GstBuffer *expected = rtp_packet (payload_type, ssrc);
  GstMapInfo map;

  gst_buffer_map (expected, &map, GST_MAP_READ);
  fail_unless_equals_int (gst_buffer_get_size (buffer), map.size);
  fail_unless_equals_int (gst_buffer_memcmp (buffer, 0, map.data, map.size), 0);
  gst_buffer_unmap (expected, &map);
  gst_buffer_unref (expected);
}

static void
assert_take (GstNatRelayTrack *track, guint8 payload_type, guint32 ssrc, gint64 now,
    GstNatRelayTrackStatus status)
{
  GstBuffer *buffer = rtp_packet (payload_type, ssrc);

  fail_unless_equals_int (gst_nat_relay_track_take (track, &buffer, now), status);
  if (status == GST_NAT_RELAY_TRACK_OK)
    assert_packet (buffer, track->id.payload_type, track->id.ssrc);
  gst_buffer_unref (buffer);
}

GST_START_TEST (test_track_alone_is_not_changed)
{
  GstNatRelayTrack track;
  GstBuffer *buffer = rtp_packet (96, 1000), *same = buffer;

  gst_nat_relay_track_init (&track);
  fail_unless (settle (&track, H264, NULL, 0));
  fail_unless_equals_int (track.id.payload_type, 96);
  fail_unless_equals_int (track.id.ssrc, 1000);
  fail_unless_equals_int (gst_nat_relay_track_take (&track, &buffer, 1), GST_NAT_RELAY_TRACK_OK);
  fail_unless (buffer == same, "nothing to change, nothing to copy");
  gst_buffer_unref (buffer);
  gst_nat_relay_track_clear (&track);
}
GST_END_TEST;

/* Two payloaders at 96, with one SSRC. */
GST_START_TEST (test_track_clash)
{
  const GstNatRelayTrackId taken = {96, 1000};
  GstNatRelayTrack track;
  guint32 ssrc;

  gst_nat_relay_track_init (&track);
  fail_unless (settle (&track, H264, &taken, 1));
  fail_unless_equals_int (track.id.payload_type, 97);
  fail_if (track.id.ssrc == 1000);
  assert_take (&track, 96, 1000, 1, GST_NAT_RELAY_TRACK_OK);
  /* Told the same again: announced numbers stay. */
  ssrc = track.id.ssrc;
  fail_unless (settle (&track, H264, &taken, 1));
  fail_unless_equals_int (track.id.ssrc, ssrc);
  fail_unless_equals_int (track.id.payload_type, 97);
  gst_nat_relay_track_clear (&track);
}
GST_END_TEST;

/* RFC 5761: 64-95 look like RTCP on a shared port. Static types stay. */
GST_START_TEST (test_track_payload_types)
{
  GstNatRelayTrackId all[32];
  GstNatRelayTrack track;

  gst_nat_relay_track_init (&track);
  fail_unless (settle (&track,
      "application/"
      "x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=72,ssrc=("
      "uint)5",
      NULL, 0));
  fail_unless_equals_int (track.id.payload_type, 96);
  assert_take (&track, 72, 5, 1, GST_NAT_RELAY_TRACK_DROP); /* looks like a sender report */
  gst_nat_relay_track_clear (&track);
  fail_unless (settle (&track, MP2T, NULL, 0));
  fail_unless_equals_int (track.id.payload_type, 33);
  gst_nat_relay_track_clear (&track);
  for (guint i = 0; i < 32; i++)
    all[i] = (GstNatRelayTrackId){(guint8)(96 + i), i + 1};
  fail_if (settle (&track, H264, all, 32));
  all[31].payload_type = 96;
  fail_unless (settle (&track, H264, all, 32));
  fail_unless_equals_int (track.id.payload_type, 127);
  gst_nat_relay_track_clear (&track);
}
GST_END_TEST;

/* Caps from a capsfilter know neither payload nor SSRC. */
GST_START_TEST (test_track_learns_from_packets)
{
  GstNatRelayTrack track;
  guint32 ssrc;

  gst_nat_relay_track_init (&track);
  fail_unless (settle (
      &track, "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000", NULL, 0));
  ssrc = track.id.ssrc;
  fail_if (ssrc == 0);
  assert_take (&track, 111, 77, 1000, GST_NAT_RELAY_TRACK_OK);
  fail_unless_equals_int (track.id.payload_type, 96);
  assert_take (&track, 112, 77, 2000, GST_NAT_RELAY_TRACK_DROP);
  /* Another source mixed in is none of ours; after a silence it is our source, restarted. */
  assert_take (&track, 111, 78, 3000, GST_NAT_RELAY_TRACK_DROP);
  assert_take (&track, 111, 78, G_USEC_PER_SEC, GST_NAT_RELAY_TRACK_NEW_SOURCE);
  fail_unless (settle (&track,
      "application/"
      "x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,ssrc=(uint)78",
      NULL, 0));
  fail_unless_equals_int (track.id.ssrc, 78);
  assert_take (&track, 111, 78, G_USEC_PER_SEC, GST_NAT_RELAY_TRACK_OK);
  gst_nat_relay_track_clear (&track);
}
GST_END_TEST;

GST_START_TEST (test_track_not_rtp)
{
  static const gchar *const texts[] = {"", "\x80\x60", "hello, this is text", "\x80\x60 short"};
  GstNatRelayTrack track;

  gst_nat_relay_track_init (&track);
  fail_unless (settle (&track, H264, NULL, 0));
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    gsize len = strlen (texts[i]);
    GstBuffer *buffer = len > 0 ? gst_buffer_new_memdup (texts[i], len) : gst_buffer_new ();

    fail_unless_equals_int (
        gst_nat_relay_track_take (&track, &buffer, 1), GST_NAT_RELAY_TRACK_NOT_RTP);
    gst_buffer_unref (buffer);
  }
  gst_nat_relay_track_clear (&track);
}
GST_END_TEST;

/* Header in one memory, payload in another, the whole shared: the owner's bytes stay as they are. */
GST_START_TEST (test_track_leaves_shared_buffers_alone)
{
  const GstNatRelayTrackId taken = {96, 1000};
  GstBuffer *header = rtp_packet (96, 1000), *buffer, *kept;
  GstNatRelayTrack track;

  gst_nat_relay_track_init (&track);
  fail_unless (settle (&track, H264, &taken, 1));
  buffer = gst_buffer_append (header, gst_buffer_new_memdup ("payload", 7));
  kept = gst_buffer_ref (buffer);
  fail_unless_equals_int (gst_nat_relay_track_take (&track, &buffer, 1), GST_NAT_RELAY_TRACK_OK);
  fail_if (buffer == kept);
  gst_buffer_set_size (kept, 14);
  assert_packet (kept, 96, 1000);
  fail_unless_equals_int (gst_buffer_get_size (buffer), 21);
  gst_buffer_set_size (buffer, 14);
  assert_packet (buffer, track.id.payload_type, track.id.ssrc);
  gst_buffer_unref (kept);
  gst_buffer_unref (buffer);
  gst_nat_relay_track_clear (&track);
}
GST_END_TEST;

static Suite *
natrelaysdp_suite (void)
{
  Suite *s = suite_create ("natrelaysdp");
  TCase *tc = tcase_create ("sdp"), *tracks = tcase_create ("tracks");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_offer_text);
  tcase_add_test (tc, test_offer_of_a_camera);
  tcase_add_test (tc, test_offer_tracks);
  tcase_add_test (tc, test_round_trip);
  tcase_add_test (tc, test_depayloaders_take_caps);
  tcase_add_test (tc, test_extmap);
  tcase_add_loop_test (tc, test_bad_sdp, 0, G_N_ELEMENTS (bad_sdp));
  tcase_add_test (tc, test_missing_field);
  suite_add_tcase (s, tracks);
  tcase_add_test (tracks, test_track_alone_is_not_changed);
  tcase_add_test (tracks, test_track_clash);
  tcase_add_test (tracks, test_track_payload_types);
  tcase_add_test (tracks, test_track_learns_from_packets);
  tcase_add_test (tracks, test_track_not_rtp);
  tcase_add_test (tracks, test_track_leaves_shared_buffers_alone);
  return s;
}

GST_CHECK_MAIN (natrelaysdp);
