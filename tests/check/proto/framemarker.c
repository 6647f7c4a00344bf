/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Frames as rows of packets, told in the order in which payloaders and cameras send them; and the mark that each
 * packet gets, at once or when the picture comes. */

#include "natproto/framemarker.h"

#include <string.h>

#include "vectors.h"

/* One packet: time stamp, RTP marker, payload, and the mark as letters; "-" is none of them. */
typedef struct {
  guint32 timestamp;
  gboolean marker;
  const char *payload, *mark;
} Packet;

#define AUD  "0910"
#define SPS  "6742c00d"
#define PPS  "68ce3c80"
#define SEI  "0601c0"
#define IDR  "658884"
#define IDR2 "650142"
#define P    "419a3b"
#define P2   "410142"
#define B    "019e83"

/* x264enc ! rtph264pay */
static const Packet h264_encoder[] = {{1, 0, AUD, "SI"}, {1, 0, SPS, "I"}, {1, 0, PPS, "I"},
    {1, 0, SEI, "I"}, {1, 0, IDR, "I"}, {1, 1, IDR2, "EI"}, {2, 0, AUD, "S"}, {2, 0, P, "-"},
    {2, 1, P2, "E"}, {3, 1, B, "SED"}, {4, 0, AUD, "SD"}, {4, 1, B, "ED"}, {5, 1, IDR, "SEI"}};

/* Parameter sets each second (config-interval=1), and at recovery points: not before IDR pictures alone. */
static const Packet h264_repeated[] = {{1, 0, SPS, "S"}, {1, 0, PPS, "-"}, {1, 1, P, "E"},
    {2, 0, AUD, "S"}, {2, 0, SPS, "-"}, {2, 0, PPS, "-"}, {2, 0, SEI, "-"}, {2, 1, P, "E"}};

/* Fragmented and aggregated. */
static const Packet h264_units[] = {{1, 0, "780002091000046742c00d000468ce3c80", "SI"},
    {1, 0, "7c858884", "I"}, {1, 0, "7c050000", "I"}, {1, 1, "7c450000", "EI"},
    {2, 1, "7800046742c00d000468ce3c80000365b800", "SEI"}, {3, 0, "5c819a3b", "S"},
    {3, 1, "5c410000", "E"}};

/* Cameras that give parameter sets a time of their own, or set the marker on them. */
static const Packet h264_camera[] = {{1, 0, SPS, "SI"}, {1, 0, PPS, "I"}, {2, 1, IDR, "EI"},
    {3, 1, SPS, "SI"}, {3, 1, PPS, "I"}, {3, 1, IDR, "EI"}, {4, 1, P, "SE"}};

/* SEI behind the picture, and a marker on every slice. */
static const Packet h264_suffix[] = {{1, 0, IDR, "SI"}, {1, 1, SEI, "EI"}, {2, 1, P, "SE"},
    {2, 1, P2, "E"}, {3, 1, IDR, "SEI"}, {3, 1, IDR2, "EI"}};

/* Time stands still: the marker ends a frame. */
static const Packet h264_still[] = {{7, 0, AUD, "SI"}, {7, 1, IDR, "EI"}, {7, 0, AUD, "S"},
    {7, 1, P, "E"}, {7, 1, P, "SE"}, {7, 0, SPS, "SI"}, {7, 1, IDR, "EI"}};

/* What was lost on the way here: a frame without its first packet is no start, the next one is. */
static const Packet h264_lost[] = {{1, 1, IDR2, "E"}, {2, 0, "7c050000", "-"},
    {2, 1, "7c450000", "E"}, {3, 0, SPS, "S"}, {3, 0, PPS, "-"}, {3, 0, "7c050000", "-"},
    {3, 1, "7c450000", "E"}, {4, 0, SPS, "SI"}, {4, 1, IDR, "EI"}, {5, 1, P2, "E"},
    {6, 1, P, "SE"}};

/* x265enc ! rtph265pay: parameter sets twice, SEI in two fragments. Then a CRA with its leading pictures. */
static const Packet h265_encoder[] = {{1, 0, "40010c", "SI"}, {1, 0, "420101", "I"},
    {1, 0, "4401c1", "I"}, {1, 0, "6201a705", "I"}, {1, 0, "62016772", "I"}, {1, 0, "40010c", "I"},
    {1, 1, "2801af04", "EI"}, {2, 1, "0201d0", "SE"}, {3, 1, "0001e0", "SED"},
    {4, 1, "2a01ac", "SEI"}, {5, 1, "1201e1", "SE"}, {6, 1, "1001e0", "SED"}};

/* Temporal layers: unreferenced in its own layer means little while there is a higher one. */
static const Packet h265_layers[] = {{1, 1, "2801af", "SEI"}, {2, 1, "0001e0", "SED"},
    {3, 1, "0002e0", "SED"}, {4, 1, "0001e0", "SE"}, {5, 1, "0002e0", "SED"}};

static const Packet vp8[] = {{1, 0, "9080f1733021", "SI"}, {1, 1, "8080f173aabb", "EI"},
    {2, 0, "9080f1741105", "S"}, {2, 0, "9180f1741005", "-"}, {2, 1, "8080f174aabb", "E"},
    {3, 0, "b080f1751105", "SD"}, {3, 1, "a080f175aabb", "ED"}, {4, 1, "9080f1763021", "SEI"}};

static const Packet vp9[] = {{1, 0, "0e18014000f0010401b124c1", "SI"}, {1, 1, "04aabb", "EI"},
    {2, 1, "4cb30020494e40", "SE"}, {3, 1, "4886000040", "SED"},
    /* Two spatial layers are one picture. */
    {4, 0, "28000082498342", "SI"}, {4, 0, "28020082498342", "I"}, {4, 1, "2002aabb", "EI"}};

static const Packet av1[] = {{1, 0, "28030a0b0c301000", "SI"}, {1, 1, "90aabb", "EI"},
    {2, 1, "10303000", "SE"},
    /* N tells it of all that follows in the temporal unit. */
    {3, 0, "180a0b0c", "SI"}, {3, 0, "10301000", "I"}, {3, 1, "90aabb", "EI"},
    {4, 0, "10280104", "S"}, {4, 1, "10303000", "E"}};

#define ROW(format, packets)                                                                       \
  {                                                                                                \
    format, #packets, packets, G_N_ELEMENTS (packets)                                              \
  }
static const struct {
  const char *format, *name;
  const Packet *packets;
  guint n;
} streams[] = {ROW ("H264", h264_encoder), ROW ("H264", h264_repeated), ROW ("H264", h264_units),
    ROW ("H264", h264_camera), ROW ("H264", h264_suffix), ROW ("H264", h264_still),
    ROW ("H264", h264_lost), ROW ("H265", h265_encoder), ROW ("H265", h265_layers),
    ROW ("VP8", vp8), ROW ("VP9", vp9), ROW ("AV1", av1)};

static char *
letters (const NatFramemarking *mark)
{
  GString *s = g_string_new (NULL);

  if (mark->start)
    g_string_append_c (s, 'S');
  if (mark->end)
    g_string_append_c (s, 'E');
  if (mark->independent)
    g_string_append_c (s, 'I');
  if (mark->discardable)
    g_string_append_c (s, 'D');
  if (s->len == 0)
    g_string_append_c (s, '-');
  return g_string_free (s, FALSE);
}

static gboolean
take (NatFramemarker *m, const Packet *packet, NatFramemarkerStep *step)
{
  g_autoptr (GByteArray) bytes = vectors_unhex (packet->payload);
  NatRtpHeader header = {
      .timestamp = packet->timestamp, .marker = packet->marker, .payload_len = bytes->len};

  return nat_framemarker_take (m, &header, bytes->data, step);
}

static void
expect (const char *name, guint row, const Packet *packet, NatFramemarking mark)
{
  g_autofree char *text = letters (&mark);

  if (strcmp (text, packet->mark) != 0)
    g_error ("%s, packet %u: marked %s, not %s", name, row, text, packet->mark);
}

static void
run (const char *format, const char *name, const Packet *packets, guint n)
{
  NatFramemarkerStep step;
  guint first_waiting = 0;
  NatFramemarker m;

  nat_framemarker_init (&m, nat_payload_format_from_name (format));
  for (guint i = 0; i < n; i++) {
    if (!take (&m, &packets[i], &step))
      continue;
    g_assert_true (step.release == (first_waiting < i));
    for (guint k = first_waiting; k < i; k++) {
      NatFramemarking mark = step.waiting;

      mark.start = k == first_waiting;
      expect (name, k, &packets[k], mark);
    }
    expect (name, i, &packets[i], step.mark);
    first_waiting = i + 1;
  }
  g_assert_cmpuint (first_waiting, ==, n);
}

static void
test_streams (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (streams); i++)
    run (streams[i].format, streams[i].name, streams[i].packets, streams[i].n);
}

/* Whatever comes, packets are not kept for ever. */
static void
test_patience (void)
{
  const Packet sei = {5, 0, SEI, ""}, idr = {5, 1, IDR, ""};
  NatFramemarkerStep step;
  NatFramemarker m;

  nat_framemarker_init (&m, NAT_PAYLOAD_FORMAT_H264);
  for (guint i = 0; i < NAT_FRAMEMARKER_PENDING_MAX; i++)
    g_assert_false (take (&m, &sei, &step));
  g_assert_true (take (&m, &sei, &step));
  g_assert_true (step.release && !step.waiting.independent);
  g_assert_true (take (&m, &idr, &step));
  g_assert_false (step.release || step.mark.start);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/framemarker/streams", test_streams);
  g_test_add_func ("/framemarker/patience", test_patience);
  return g_test_run ();
}
