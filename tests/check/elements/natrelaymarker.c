/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The element that marks: what real encoders and payloaders make, against what the encoder itself says of its
 * frames; and packets by hand for all that those do not make. */

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/rtp/rtp.h>
#include <string.h>

#include "gstnatrelaymarker.h"
#include "natproto/framemarking.h"
#include "natproto/rtp.h"
#include "natproto/sframe.h"

#define ID       14
#define OVERHEAD GST_NAT_RELAY_MARKER_OVERHEAD

/* ---- the element and its packets ------------------------------------------- */

static GstHarness *
harness_new (GstCaps *caps)
{
  GstElement *element = gst_object_ref_sink (gst_nat_relay_marker_new ());
  GstHarness *h = gst_harness_new_with_element (element, "sink", "src");
  GstCaps *announced = gst_nat_relay_marker_announce (caps);

  gst_harness_set_src_caps (h, announced);
  gst_object_unref (element);
  return h;
}

static GstHarness *
harness_new_str (const gchar *text)
{
  GstCaps *caps = gst_caps_from_string (text);
  GstHarness *h = harness_new (caps);

  gst_caps_unref (caps);
  return h;
}

static gboolean
mark_of (GstBuffer *buffer, NatFramemarking *mark)
{
  GstMapInfo map;
  gboolean ok;

  gst_buffer_map (buffer, &map, GST_MAP_READ);
  ok = nat_framemarking_find (mark, map.data, map.size, ID);
  gst_buffer_unmap (buffer, &map);
  return ok;
}

/* ---- encoders ---------------------------------------------------------------- */

#define SOURCE                                                                                     \
  "videotestsrc num-buffers=25 pattern=ball ! "                                                    \
  "video/x-raw,format=I420,width=176,height=144,framerate=25/1 ! "
#define TAP   " ! identity name=encoded signal-handoffs=true ! "
#define SINK  " ! appsink name=out sync=false async=false buffer-list=true max-buffers=0"
#define PAY26 "pay mtu=300 "

/* What the encoder says in its buffers' flags is the truth, but for intra refresh. */
static const struct {
  const gchar *text;
  guint
      independent; /* frames; of 25 with a key frame at least in every 10, and after a scene change */
  gboolean discards;
} encoders[] = {
    {"x264enc key-int-max=10 tune=zerolatency" TAP "rtph264" PAY26, 3, FALSE},
    {"x264enc key-int-max=10 bframes=2 aud=false" TAP "rtph264" PAY26 "config-interval=1", 3, TRUE},
    {"x264enc key-int-max=10 tune=zerolatency" TAP "rtph264" PAY26
     "config-interval=-1 aggregate-mode=zero-latency",
        3, FALSE},
    {"x264enc key-int-max=10 bframes=2" TAP "rtph264pay aggregate-mode=max-stap", 3, TRUE},
    {"x264enc key-int-max=10" TAP "h264parse ! video/x-h264,alignment=nal ! rtph264" PAY26, 3,
        TRUE},
    {"x264enc key-int-max=10 intra-refresh=true tune=zerolatency" TAP "rtph264" PAY26
     "config-interval=-1",
        1, FALSE},
    {"openh264enc gop-size=10" TAP "rtph264" PAY26, 3, FALSE},
    {"x265enc key-int-max=10 tune=zerolatency" TAP "rtph265" PAY26 "config-interval=-1", 3, FALSE},
    {"x265enc key-int-max=10" TAP "rtph265pay aggregate-mode=max", 3, TRUE},
    {"vp8enc deadline=1 keyframe-max-dist=9" TAP "rtpvp8" PAY26 "picture-id-mode=2", 3, FALSE},
    {"vp8enc deadline=1 keyframe-max-dist=9" TAP "rtpvp8" PAY26, 3, FALSE},
    {"vp9enc deadline=1 keyframe-max-dist=9" TAP "rtpvp9" PAY26, 3, FALSE},
    {"vp9enc deadline=1 keyframe-max-dist=9 lag-in-frames=10 auto-alt-ref=true" TAP "rtpvp9" PAY26
     "picture-id-mode=1",
        3, FALSE},
};

typedef struct {
  GHashTable *keys;   /* of the frames' PTS: those that are independent */
  GPtrArray *samples; /* of what the payloader pushed, buffers or lists */
  guint packets, marked, starts, independents, discardables;
} Stream;

static void
note_key (GstElement *identity, GstBuffer *buffer, gpointer user)
{
  GstClockTime *pts = g_memdup2 (&GST_BUFFER_PTS (buffer), sizeof (GstClockTime));

  if (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT))
    g_free (pts);
  else
    g_hash_table_add (user, pts);
}

static void
stream_collect (Stream *s, GstElement *pipeline)
{
  GstElement *out = gst_bin_get_by_name (GST_BIN (pipeline), "out");
  GstSample *sample;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (;;) {
    g_signal_emit_by_name (out, "pull-sample", &sample);
    if (sample == NULL)
      break;
    g_ptr_array_add (s->samples, sample);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (out);
}

static void
stream_encode (Stream *s, const gchar *text)
{
  gchar *line = g_strconcat (SOURCE, text, SINK, NULL);
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch (line, &error), *encoded;

  fail_unless (error == NULL, "%s: %s", line, error != NULL ? error->message : "");
  encoded = gst_bin_get_by_name (GST_BIN (pipeline), "encoded");
  g_signal_connect (encoded, "handoff", G_CALLBACK (note_key), s->keys);
  gst_object_unref (encoded);
  stream_collect (s, pipeline);
  gst_object_unref (pipeline);
  g_free (line);
}

static void
stream_init (Stream *s)
{
  *s = (Stream){0};
  s->keys = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  s->samples = g_ptr_array_new_with_free_func ((GDestroyNotify)gst_sample_unref);
}

static void
stream_clear (Stream *s)
{
  g_ptr_array_unref (s->samples);
  g_hash_table_unref (s->keys);
}

static GPtrArray *
packets_of (Stream *s)
{
  GPtrArray *packets = g_ptr_array_new ();

  for (guint i = 0; i < s->samples->len; i++) {
    GstBufferList *list = gst_sample_get_buffer_list (s->samples->pdata[i]);

    if (list == NULL)
      g_ptr_array_add (packets, gst_sample_get_buffer (s->samples->pdata[i]));
    for (guint k = 0; list != NULL && k < gst_buffer_list_length (list); k++)
      g_ptr_array_add (packets, gst_buffer_list_get (list, k));
  }
  return packets;
}

/* As they came: lists as lists. */
static GstHarness *
stream_mark (Stream *s)
{
  GstHarness *h = harness_new (gst_sample_get_caps (s->samples->pdata[0]));

  for (guint i = 0; i < s->samples->len; i++) {
    GstBufferList *list = gst_sample_get_buffer_list (s->samples->pdata[i]);
    GstBuffer *buffer = gst_sample_get_buffer (s->samples->pdata[i]);
    GstFlowReturn ret = list != NULL ? gst_pad_push_list (h->srcpad, gst_buffer_list_ref (list))
                                     : gst_pad_push (h->srcpad, gst_buffer_ref (buffer));

    fail_unless_equals_int (ret, GST_FLOW_OK);
  }
  gst_harness_push_event (h, gst_event_new_eos ());
  return h;
}

/* All else stays: header fields, payload, time. */
static void
assert_same_but_mark (GstBuffer *before, GstBuffer *after)
{
  gsize size = gst_buffer_get_size (before);
  guint8 *copy = g_malloc (size);
  GstMapInfo map;

  gst_buffer_extract (before, 0, copy, size);
  gst_buffer_map (after, &map, GST_MAP_READ);
  fail_unless_equals_int (map.size, size + OVERHEAD);
  fail_unless_equals_int (copy[0] | 0x10, map.data[0]);
  fail_unless_equals_int (memcmp (copy + 1, map.data + 1, 11), 0);
  fail_unless_equals_int (memcmp (copy + 12, map.data + 12 + OVERHEAD, size - 12), 0);
  gst_buffer_unmap (after, &map);
  g_free (copy);
  fail_unless_equals_uint64 (GST_BUFFER_PTS (before), GST_BUFFER_PTS (after));
  fail_unless_equals_int (GST_BUFFER_FLAGS (before), GST_BUFFER_FLAGS (after));
}

static void
stream_check (Stream *s, GstHarness *h, const gchar *text, gboolean flags_are_true)
{
  GPtrArray *packets = packets_of (s);
  GstClockTime frame = GST_CLOCK_TIME_NONE;

  for (guint i = 0; i < packets->len; i++) {
    GstBuffer *before = packets->pdata[i], *after = gst_harness_try_pull (h);
    gboolean first = GST_BUFFER_PTS (before) != frame, key;
    NatFramemarking mark;
    guint8 second;

    fail_unless (after != NULL, "%s: %u of %u packets came out", text, i, packets->len);
    assert_same_but_mark (before, after);
    fail_unless (mark_of (after, &mark), "%s: packet %u has no mark", text, i);
    frame = GST_BUFFER_PTS (before);
    key = g_hash_table_contains (s->keys, &frame);
    gst_buffer_extract (before, 1, &second, 1);
    fail_unless (mark.start == first, "%s: packet %u start %d", text, i, mark.start);
    fail_unless (mark.end == second >> 7, "%s: packet %u end %d", text, i, mark.end);
    if (flags_are_true)
      fail_unless (
          mark.independent == key, "%s: packet %u independent %d", text, i, mark.independent);
    s->independents += mark.start && mark.independent;
    s->discardables += mark.start && mark.discardable;
    gst_buffer_unref (after);
  }
  fail_unless (gst_harness_try_pull (h) == NULL);
  g_ptr_array_unref (packets);
}

/* Each key frame is marked at its first packet, and no other packet is a place to start at. */
GST_START_TEST (test_encoder)
{
  const gchar *text = encoders[__i__].text;
  GstHarness *h;
  Stream s;

  stream_init (&s);
  stream_encode (&s, text);
  h = stream_mark (&s);
  stream_check (&s, h, text, encoders[__i__].independent > 1);
  fail_unless (s.independents == encoders[__i__].independent, "%s: %u independent frames", text,
      s.independents);
  fail_unless ((s.discardables > 0) == encoders[__i__].discards, "%s: %u discardable frames", text,
      s.discardables);
  gst_harness_teardown (h);
  stream_clear (&s);
}
GST_END_TEST;

/* ---- AV1, which GStreamer 1.22 has no payloader for -------------------------- */

typedef struct {
  GstPad *pad;
  guint mtu;
  guint16 seq;
  guint packets;
} Packetiser;

static void
push_av1 (Packetiser *p, guint8 aggregation, const guint8 *data, gsize len, GstClockTime pts,
    gboolean last)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, 13 + len, NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  memset (map.data, 0, 13);
  map.data[0] = 0x80;
  map.data[1] = (guint8)((last ? 0x80 : 0) | 96);
  GST_WRITE_UINT16_BE (map.data + 2, p->seq++);
  GST_WRITE_UINT32_BE (map.data + 4, (guint32)gst_util_uint64_scale (pts, 90000, GST_SECOND));
  map.data[12] = aggregation;
  memcpy (map.data + 13, data, len);
  gst_buffer_unmap (buffer, &map);
  GST_BUFFER_PTS (buffer) = pts;
  p->packets++;
  fail_unless_equals_int (gst_pad_push (p->pad, buffer), GST_FLOW_OK);
}

/* One OBU, in pieces where it is larger than a packet. n: of a new coded video sequence. */
static void
packetise_obu (
    Packetiser *p, const guint8 *obu, gsize len, GstClockTime pts, guint8 n, gboolean last)
{
  for (gsize at = 0; at < len;) {
    gsize size = MIN (len - at, p->mtu);
    gboolean end = at + size == len;

    push_av1 (p, (guint8)((at > 0 ? 0x80 : 0) | (end ? 0 : 0x40) | 0x10 | (at == 0 ? n : 0)),
        obu + at, size, pts, last && end);
    at += size;
  }
}

/* A temporal unit as av1enc makes it: OBUs with their sizes, a temporal delimiter first. A packet for each, and N
 * in those of a key frame. */
static void
packetise_unit (Packetiser *p, GstBuffer *unit, gboolean key)
{
  GstMapInfo map;

  gst_buffer_map (unit, &map, GST_MAP_READ);
  for (gsize at = 0; at < map.size;) {
    guint8 type = map.data[at] >> 3 & 15, header = map.data[at] & 0xfd;
    gsize size = 0, n = 1;
    guint8 *obu;

    fail_unless ((map.data[at] & 0x06) == 0x02, "an OBU with an extension or without a size");
    do
      size |= (gsize)(map.data[at + n] & 0x7f) << 7 * (n - 1);
    while (map.data[at + n++] & 0x80);
    obu = g_malloc (1 + size);
    obu[0] = header;
    memcpy (obu + 1, map.data + at + n, size);
    at += n + size;
    if (type != 2)
      packetise_obu (p, obu, 1 + size, GST_BUFFER_PTS (unit), key ? 0x08 : 0, at == map.size);
    g_free (obu);
  }
  gst_buffer_unmap (unit, &map);
}

GST_START_TEST (test_av1)
{
  GstHarness *h = harness_new_str (
      "application/x-rtp,media=video,encoding-name=AV1,clock-rate=90000,payload=96");
  Packetiser p = {h->srcpad, 300, 0, 0};
  GstClockTime frame = GST_CLOCK_TIME_NONE;
  GstBuffer *buffer;
  Stream s;

  stream_init (&s);
  stream_encode (&s, "av1enc cpu-used=8 keyframe-max-dist=10 usage-profile=realtime" TAP
                     "av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu");
  for (guint i = 0; i < s.samples->len; i++) {
    GstBufferList *list = gst_sample_get_buffer_list (s.samples->pdata[i]);

    buffer =
        list != NULL ? gst_buffer_list_get (list, 0) : gst_sample_get_buffer (s.samples->pdata[i]);
    packetise_unit (&p, buffer, g_hash_table_contains (s.keys, &GST_BUFFER_PTS (buffer)));
  }
  while ((buffer = gst_harness_try_pull (h)) != NULL) {
    gboolean first = GST_BUFFER_PTS (buffer) != frame;
    NatFramemarking mark;

    frame = GST_BUFFER_PTS (buffer);
    fail_unless (mark_of (buffer, &mark));
    fail_unless (mark.start == first);
    fail_unless (mark.independent == g_hash_table_contains (s.keys, &frame));
    s.independents += mark.start && mark.independent;
    s.packets++;
    gst_buffer_unref (buffer);
  }
  fail_unless_equals_int (s.packets, p.packets);
  fail_unless_equals_int (s.independents, g_hash_table_size (s.keys));
  fail_unless (s.independents >= 2, "%u key frames", s.independents);
  gst_harness_teardown (h);
  stream_clear (&s);
}
GST_END_TEST;

/* ---- caps ----------------------------------------------------------------- */

#define VIDEO "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96"
#define URN   "urn:ietf:params:rtp-hdrext:framemarking"

static const struct {
  const gchar *caps, *field; /* the new one; NULL: caps stay as they are */
} announcements[] = {
    {VIDEO, "extmap-14"},
    {VIDEO ",extmap-1=urn:ietf:params:rtp-hdrext:sdes:mid", "extmap-14"},
    {VIDEO ",extmap-14=urn:ietf:params:rtp-hdrext:sdes:mid,extmap-13=urn:3gpp:video-orientation",
        "extmap-12"},
    {VIDEO ",extmap-3=" URN, NULL},
    {VIDEO ",extmap-3=<(string)sendonly,(string)" URN ",(string)\"\">", NULL},
    {"application/x-rtp,media=video,encoding-name=JPEG,clock-rate=90000,payload=26", NULL},
    {"application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=97", NULL},
    {VIDEO ",packetization-mode=(string)1", "extmap-14"},
    {VIDEO ",packetization-mode=(string)2", NULL},
    {VIDEO ",sprop-max-don-diff=(string)0", "extmap-14"},
    {VIDEO ",sprop-max-don-diff=(string)8", NULL},
    /* A name means nothing without its medium. */
    {"application/x-rtp,media=application,encoding-name=VP8,clock-rate=90000,payload=97", NULL},
    {VIDEO ",extmap-1=a:1,extmap-2=a:2,extmap-3=a:3,extmap-4=a:4,extmap-5=a:5,extmap-6=a:6,"
           "extmap-7=a:7,extmap-8=a:8,extmap-9=a:9,extmap-10=a:10,extmap-11=a:11,extmap-12=a:12,"
           "extmap-13=a:13,extmap-14=a:14",
        NULL},
};

GST_START_TEST (test_announce)
{
  GstCaps *before = gst_caps_from_string (announcements[__i__].caps), *after;
  const gchar *field = announcements[__i__].field;

  fail_unless (before != NULL, "%s", announcements[__i__].caps);
  after = gst_nat_relay_marker_announce (before);
  if (field != NULL) {
    fail_unless_equals_string (
        gst_structure_get_string (gst_caps_get_structure (after, 0), field), URN);
    gst_structure_remove_field (gst_caps_get_structure (after, 0), field);
  }
  fail_unless (gst_caps_is_equal (before, after));
  gst_caps_unref (before);
  gst_caps_unref (after);
}
GST_END_TEST;

/* ---- packets by hand -------------------------------------------------------- */

#define FIXED     0x80, 0x60, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9
#define EXTENDED  0x90, 0x60, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9
#define IDR_SLICE 0x65, 0x88, 0x84, 0xaa

static GstBuffer *
bytes_buffer (const guint8 *bytes, gsize len)
{
  return gst_buffer_new_memdup (bytes, len);
}

static void
assert_bytes (GstBuffer *buffer, const guint8 *bytes, gsize len)
{
  fail_unless_equals_int (gst_buffer_get_size (buffer), len);
  fail_unless_equals_int (gst_buffer_memcmp (buffer, 0, bytes, len), 0);
  gst_buffer_unref (buffer);
}

static const struct {
  gsize before_len, after_len;
  guint8 before[40], after[40];
} packets[] = {
    /* 0 the first extension */
    {16, 24, {FIXED, IDR_SLICE}, {EXTENDED, 0xbe, 0xde, 0, 1, 0xe0, 0xa0, 0, 0, IDR_SLICE}},
    /* 1 beside another, in its padding */
    {24, 24, {EXTENDED, 0xbe, 0xde, 0, 1, 0x10, 0xbb, 0, 0, IDR_SLICE},
        {EXTENDED, 0xbe, 0xde, 0, 1, 0x10, 0xbb, 0xe0, 0xa0, IDR_SLICE}},
    /* 2 beside another, a word more */
    {24, 28, {EXTENDED, 0xbe, 0xde, 0, 1, 0x12, 1, 2, 3, IDR_SLICE},
        {EXTENDED, 0xbe, 0xde, 0, 2, 0x12, 1, 2, 3, 0xe0, 0xa0, 0, 0, IDR_SLICE}},
    /* 3 the two-byte form */
    {24, 28, {EXTENDED, 0x10, 0, 0, 1, 1, 1, 0xbb, 0, IDR_SLICE},
        {EXTENDED, 0x10, 0, 0, 2, 1, 1, 0xbb, 14, 1, 0xa0, 0, 0, IDR_SLICE}},
    /* 4 an extension of another profile is kept as it is */
    {24, 24, {EXTENDED, 0xab, 0xac, 0, 1, 1, 2, 3, 4, IDR_SLICE},
        {EXTENDED, 0xab, 0xac, 0, 1, 1, 2, 3, 4, IDR_SLICE}},
    /* 5 a mark that is there is kept as it is */
    {24, 24, {EXTENDED, 0xbe, 0xde, 0, 1, 0xe0, 0x40, 0, 0, IDR_SLICE},
        {EXTENDED, 0xbe, 0xde, 0, 1, 0xe0, 0x40, 0, 0, IDR_SLICE}},
    /* 6 not RTP: others complain */
    {4, 4, {0x80, 0x60, 0, 1}, {0x80, 0x60, 0, 1}},
};

/* Each in one memory, and cut into memories at each place. */
GST_START_TEST (test_packet)
{
  gsize len = packets[__i__].before_len;

  for (gsize cut = 0; cut < len; cut++) {
    GstHarness *h = harness_new_str (VIDEO);
    GstBuffer *buffer = bytes_buffer (packets[__i__].before, cut > 0 ? cut : len);

    if (cut > 0)
      buffer = gst_buffer_append (buffer, bytes_buffer (packets[__i__].before + cut, len - cut));
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    assert_bytes (gst_harness_pull (h), packets[__i__].after, packets[__i__].after_len);
    gst_harness_teardown (h);
  }
}
GST_END_TEST;

/* Payload is not copied, neither a payloader's nor a camera's, which is in one piece with its header. */
GST_START_TEST (test_payload_is_shared)
{
  static const guint8 header[] = {FIXED, 0x65, 0x88};
  GstHarness *h = harness_new_str (VIDEO);
  guint8 *data = g_malloc0 (1200);
  GstBuffer *out;
  GstMapInfo map;

  memcpy (data, header, sizeof header);
  fail_unless_equals_int (gst_harness_push (h, gst_buffer_new_wrapped (data, 1200)), GST_FLOW_OK);
  out = gst_harness_pull (h);
  fail_unless_equals_int (gst_buffer_n_memory (out), 2);
  gst_buffer_map_range (out, 1, 1, &map, GST_MAP_READ);
  fail_unless (map.data == data + 12);
  gst_buffer_unmap (out, &map);
  gst_buffer_unref (out);

  data = g_malloc0 (1000);
  out =
      gst_buffer_append (bytes_buffer (header, sizeof header), gst_buffer_new_wrapped (data, 1000));
  fail_unless_equals_int (gst_harness_push (h, out), GST_FLOW_OK);
  out = gst_harness_pull (h);
  fail_unless_equals_int (gst_buffer_n_memory (out), 2);
  gst_buffer_map_range (out, 1, 1, &map, GST_MAP_READ);
  fail_unless (map.data == data);
  gst_buffer_unmap (out, &map);
  gst_buffer_unref (out);
  gst_harness_teardown (h);
}
GST_END_TEST;

/* The 1200 bytes that natrelaysink asks of payloaders, marked and sealed by the last packet of a key with the
 * longest id that it draws, behind UDP and IPv6: 1280 bytes pass every path. */
GST_START_TEST (test_size_on_the_wire)
{
  guint8 header[NAT_SFRAME_HEADER_MAX];
  gsize sealing = nat_sframe_header_write (header, G_MAXUINT16, G_MAXUINT32) + NAT_SFRAME_TAG_SIZE;

  fail_unless (
      1200 + OVERHEAD + sealing + 8 + 40 <= 1280, "sealing adds %" G_GSIZE_FORMAT, sealing);
}
GST_END_TEST;

/* GStreamer's own reader finds the mark, beside an extension that its own writer put there, and the payload. */
GST_START_TEST (test_gstreamer_reads)
{
  GstHarness *h = harness_new_str (VIDEO);
  GstBuffer *buffer = gst_rtp_buffer_new_allocate (4, 0, 0);
  const guint8 slice[] = {IDR_SLICE}, mid = '0';
  GstRTPBuffer rtp = GST_RTP_BUFFER_INIT;
  gpointer data;
  guint size;

  fail_unless (gst_rtp_buffer_map (buffer, GST_MAP_READWRITE, &rtp));
  memcpy (gst_rtp_buffer_get_payload (&rtp), slice, sizeof slice);
  fail_unless (gst_rtp_buffer_add_extension_onebyte_header (&rtp, 1, &mid, 1));
  gst_rtp_buffer_unmap (&rtp);
  fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
  buffer = gst_harness_pull (h);
  fail_unless (gst_rtp_buffer_map (buffer, GST_MAP_READ, &rtp));
  fail_unless (gst_rtp_buffer_get_extension_onebyte_header (&rtp, ID, 0, &data, &size));
  fail_unless (size == 1 && *(guint8 *)data == 0xa0);
  fail_unless (gst_rtp_buffer_get_extension_onebyte_header (&rtp, 1, 0, &data, &size));
  fail_unless (size == 1 && *(guint8 *)data == mid);
  fail_unless_equals_int (gst_rtp_buffer_get_payload_len (&rtp), sizeof slice);
  fail_unless (memcmp (gst_rtp_buffer_get_payload (&rtp), slice, sizeof slice) == 0);
  gst_rtp_buffer_unmap (&rtp);
  gst_buffer_unref (buffer);
  gst_harness_teardown (h);
}
GST_END_TEST;

/* A buffer that somebody else holds as well (a tee) stays as it is. */
GST_START_TEST (test_shared_buffer)
{
  static const guint8 bytes[] = {FIXED, IDR_SLICE};
  GstHarness *h = harness_new_str (VIDEO);
  GstBuffer *buffer = bytes_buffer (bytes, sizeof bytes);
  NatFramemarking mark;
  GstBuffer *out;

  gst_harness_push (h, gst_buffer_ref (buffer));
  out = gst_harness_pull (h);
  fail_unless (mark_of (out, &mark) && mark.start && mark.independent);
  gst_buffer_unref (out);
  assert_bytes (buffer, bytes, sizeof bytes);
  gst_harness_teardown (h);
}
GST_END_TEST;

static GstBuffer *
nal_packet (guint8 timestamp, guint8 first, guint8 second)
{
  const guint8 bytes[] = {0x80, 0x60, 0, 1, 0, 0, 0, timestamp, 0, 0, 0, 9, first, second};

  return bytes_buffer (bytes, sizeof bytes);
}

static void
pull_mark (GstHarness *h, gboolean start, gboolean independent)
{
  GstBuffer *buffer = gst_harness_try_pull (h);
  NatFramemarking mark;

  fail_unless (buffer != NULL);
  fail_unless (mark_of (buffer, &mark));
  fail_unless (mark.start == start && mark.independent == independent, "start %d independent %d",
      mark.start, mark.independent);
  gst_buffer_unref (buffer);
}

/* Parameter sets wait for their picture, in lists and out of them. */
GST_START_TEST (test_waiting)
{
  GstHarness *h = harness_new_str (VIDEO);
  GstBufferList *list = gst_buffer_list_new ();

  gst_harness_push (h, nal_packet (1, 0x67, 0x42));
  gst_buffer_list_add (list, nal_packet (1, 0x68, 0xce));
  gst_pad_push_list (h->srcpad, list);
  fail_unless (gst_harness_try_pull (h) == NULL);
  list = gst_buffer_list_new ();
  gst_buffer_list_add (list, nal_packet (1, 0x06, 0x05));
  gst_buffer_list_add (list, nal_packet (1, 0x65, 0x88));
  gst_buffer_list_add (list, nal_packet (1, 0x65, 0x01));
  gst_buffer_list_add (list, nal_packet (2, 0x09, 0x30));
  gst_pad_push_list (h->srcpad, list);
  pull_mark (h, TRUE, TRUE);
  for (guint i = 0; i < 4; i++)
    pull_mark (h, FALSE, TRUE);
  fail_unless (gst_harness_try_pull (h) == NULL);
  gst_harness_push (h, nal_packet (2, 0x41, 0x9a));
  pull_mark (h, TRUE, FALSE);
  pull_mark (h, FALSE, FALSE);
  fail_unless (gst_harness_try_pull (h) == NULL);
  gst_harness_teardown (h);
}
GST_END_TEST;

/* None is lost where no picture follows, and none stays behind where it must not come any more. */
GST_START_TEST (test_events)
{
  GstHarness *h = harness_new_str (VIDEO);
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push (h, nal_packet (1, 0x67, 0x42));
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  pull_mark (h, TRUE, FALSE);
  gst_harness_push (h, nal_packet (2, 0x67, 0x42));
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  fail_unless (gst_harness_try_pull (h) == NULL);
  gst_harness_push (h, nal_packet (3, 0x67, 0x42));
  gst_harness_push (h, nal_packet (3, 0x68, 0xce));
  gst_harness_push_event (h, gst_event_new_eos ());
  pull_mark (h, TRUE, FALSE);
  pull_mark (h, FALSE, FALSE);
  gst_harness_teardown (h);

  /* What waits when all stops is freed: the leak checker looks on. */
  h = harness_new_str (VIDEO);
  gst_harness_push (h, nal_packet (1, 0x67, 0x42));
  gst_harness_teardown (h);
}
GST_END_TEST;

/* Sound, and video of other formats: the very same buffers and lists. */
GST_START_TEST (test_others_pass)
{
  GstHarness *h = harness_new_str (
      "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,payload=97");
  GstBuffer *buffer = nal_packet (1, 0x65, 0x88), *out;
  GstBufferList *list = gst_buffer_list_new ();

  gst_harness_push (h, gst_buffer_ref (buffer));
  out = gst_harness_pull (h);
  fail_unless (out == buffer);
  gst_buffer_unref (out);
  gst_buffer_list_add (list, buffer);
  gst_pad_push_list (h->srcpad, list);
  out = gst_harness_pull (h);
  fail_unless (out == buffer);
  gst_buffer_unref (out);
  gst_harness_teardown (h);
}
GST_END_TEST;

static Suite *
natrelaymarker_suite (void)
{
  Suite *s = suite_create ("natrelaymarker");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_encoder, 0, G_N_ELEMENTS (encoders));
  tcase_add_test (tc, test_av1);
  tcase_add_loop_test (tc, test_announce, 0, G_N_ELEMENTS (announcements));
  tcase_add_loop_test (tc, test_packet, 0, G_N_ELEMENTS (packets));
  tcase_add_test (tc, test_payload_is_shared);
  tcase_add_test (tc, test_size_on_the_wire);
  tcase_add_test (tc, test_gstreamer_reads);
  tcase_add_test (tc, test_shared_buffer);
  tcase_add_test (tc, test_waiting);
  tcase_add_test (tc, test_events);
  tcase_add_test (tc, test_others_pass);
  return s;
}

GST_CHECK_MAIN (natrelaymarker);
