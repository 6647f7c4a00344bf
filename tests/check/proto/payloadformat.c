/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Payloads as bytes: the beginnings of what encoders and GStreamer's payloaders made, cut short, and by hand what
 * those do not make. */

#include "natproto/payloadformat.h"

#include <string.h>

#include "vectors.h"

enum { I = 1, D = 2 };

#define H264   NAT_PAYLOAD_FORMAT_H264
#define H265   NAT_PAYLOAD_FORMAT_H265
#define VP8    NAT_PAYLOAD_FORMAT_VP8
#define VP9    NAT_PAYLOAD_FORMAT_VP9
#define AV1    NAT_PAYLOAD_FORMAT_AV1
#define INSIDE NAT_PAYLOAD_INSIDE
#define PREFIX NAT_PAYLOAD_PREFIX
#define BEGIN  NAT_PAYLOAD_BEGIN

static const struct {
  NatPayloadFormat format;
  const char *what, *hex;
  NatPayloadPart part;
  guint flags;
} payloads[] = {
    /* ---- H.264 ---- */
    {H264, "AUD", "0910", PREFIX, 0},
    {H264, "SPS", "67f4000d90d9640507ec05a8", PREFIX, 0},
    {H264, "PPS", "68ebcc448440", PREFIX, 0},
    {H264, "SEI", "0605ffffbadc45e9bde6d948", PREFIX, 0},
    {H264, "first slice of an IDR picture", "658884025bfffef7c0ff029b", BEGIN, I},
    {H264, "its second", "6501422210096ffef7c0ff02", INSIDE, I},
    {H264, "first slice of a P picture", "419a3b1026bffedaa6580098", BEGIN, 0},
    {H264, "its second", "41014268ec409afffeda86f8", INSIDE, 0},
    {H264, "a B picture that none needs", "019e836a409bff000019a1ab", BEGIN, D},
    {H264, "openh264's IDR picture", "65b800040000053ffffe1e8a", BEGIN, I},
    {H264, "partition A", "229a3b", BEGIN, 0},
    {H264, "partition B", "239a3b", INSIDE, 0},
    {H264, "a slice of another layer", "749a3b", INSIDE, 0},
    {H264, "a prefix NAL unit of such", "6e40", PREFIX, 0},
    {H264, "filler", "0cffff80", PREFIX, 0},
    {H264, "a slice without its header", "65", INSIDE, I},
    {H264, "STAP-A: AUD, SPS, PPS", "780002091000046742c00d000468ce3c80", PREFIX, 0},
    {H264, "the same and an IDR slice", "780002091000046742c00d000468ce3c80000365b800", BEGIN, I},
    {H264, "SPS, PPS, SEI and a slice of a recovery point",
        "7800046742c00d000468ce3c8000040606019400034188cc", BEGIN, 0},
    {H264, "AUD and two slices of a P picture", "580002093000034198760003410142", BEGIN, 0},
    {H264, "AUD and a B picture", "18000209500003019e83", BEGIN, D},
    {H264, "the rest of an IDR picture", "7800036501420003650122", INSIDE, I},
    {H264, "STAP-A with a length that lies", "780002091000ff6742c00d", PREFIX, 0},
    {H264, "STAP-A with a length of 0", "7800006742c00d", INSIDE, 0},
    {H264, "STAP-A with a byte of a length", "78000209100000", PREFIX, 0},
    {H264, "STAP-A of nothing", "78", INSIDE, 0},
    {H264, "STAP-B", "79000500020910000365b800", BEGIN, I},
    {H264, "STAP-B cut", "790005", INSIDE, 0},
    {H264, "MTAP16", "7a0005000a00000065b800", INSIDE, 0},
    {H264, "FU-A: first of an IDR slice", "7c8588840042", BEGIN, I},
    {H264, "FU-A: middle", "7c0588840042", INSIDE, I},
    {H264, "FU-A: last", "7c4588840042", INSIDE, I},
    {H264, "FU-A: first of a second slice", "7c8501420042", INSIDE, I},
    {H264, "FU-A: first of a P slice", "5c819a3b1026", BEGIN, 0},
    {H264, "FU-A: first of a B slice", "1c819e83", BEGIN, D},
    {H264, "FU-A: SEI", "1c860501", PREFIX, 0},
    {H264, "FU-A: without data", "7c85", INSIDE, 0},
    {H264, "FU-B", "7d85000588840042", BEGIN, I},
    {H264, "FU-B cut", "7d850005", INSIDE, I},
    {H264, "nothing", "", INSIDE, 0},
    {H264, "a type that is not", "60ff", INSIDE, 0},
    {H264, "another", "7fff", INSIDE, 0},
    /* ---- H.265 ---- */
    {H265, "VPS", "40010c01ffff040800000300", PREFIX, 0},
    {H265, "SPS", "420101040800000300980800", PREFIX, 0},
    {H265, "PPS", "4401c172860c4624", PREFIX, 0},
    {H265, "AUD", "460150", PREFIX, 0},
    {H265, "SEI", "4e01050401020304", PREFIX, 0},
    {H265, "suffix SEI", "5001840401020304", PREFIX, 0},
    {H265, "IDR", "2801af0432091047d6d03822", BEGIN, I},
    {H265, "IDR, second slice segment", "28012f0432091047", INSIDE, I},
    {H265, "CRA", "2a01ac28590889c108824440", BEGIN, I},
    {H265, "BLA", "2001ac2859", BEGIN, I},
    {H265, "TRAIL_R", "0201d0097e10c608e412088c", BEGIN, 0},
    {H265, "TRAIL_N", "0001e024bf861390e0beec80", BEGIN, D},
    {H265, "RASL_R", "1201e10225555f7182510480", BEGIN, 0},
    {H265, "RASL_N", "1001e0e6f5d7d22c11882406", BEGIN, D},
    {H265, "IDR of another layer", "2809af04", INSIDE, 0},
    {H265, "IDR of another layer", "2901af04", INSIDE, 0},
    {H265, "FU: first of SEI", "6201a705ffffffff", PREFIX, 0},
    {H265, "FU: last of SEI", "620167726963742d63627220", PREFIX, 0},
    {H265, "FU: first of an IDR", "620193af0432", BEGIN, I},
    {H265, "FU: middle of an IDR", "620113af0432", INSIDE, I},
    {H265, "FU: first of a CRA", "620195ac28", BEGIN, I},
    {H265, "FU: first of a TRAIL_N", "620180e024", BEGIN, D},
    {H265, "FU: first of a second slice segment", "6201932f0432", INSIDE, I},
    {H265, "FU: without data", "620193", INSIDE, I},
    {H265, "FU: cut", "6201", INSIDE, 0},
    {H265, "AP: VPS, SPS, PPS", "6001000340010c00034201010004440 1c172", PREFIX, 0},
    {H265, "AP: PPS and an IDR", "600100044401c172000428 01af04", BEGIN, I},
    {H265, "AP: AUD and a TRAIL_N", "6001000346015000040001e024", BEGIN, D},
    {H265, "AP: a length that lies", "600100034601500009 2801af04", PREFIX, 0},
    {H265, "AP: a NAL unit of a byte", "6001000128", INSIDE, 0},
    {H265, "AP of nothing", "6001", INSIDE, 0},
    {H265, "PACI", "6401a0002801af04", INSIDE, 0},
    {H265, "a byte", "28", INSIDE, 0},
    {H265, "nothing", "", INSIDE, 0},
    /* ---- VP8 ---- */
    {VP8, "key frame", "9080f1733021009d012a4001", BEGIN, I},
    {VP8, "frame", "9080f1741105003711600018", BEGIN, 0},
    {VP8, "frame that none needs", "b080f1741105003711600018", BEGIN, D},
    {VP8, "a later part of it", "a080f174aabb", INSIDE, D},
    {VP8, "no descriptor extension", "103021009d01", BEGIN, I},
    {VP8, "partition 1", "11302100", INSIDE, 0},
    {VP8, "not the start of partition 0", "00302100", INSIDE, 0},
    {VP8, "picture id of a byte", "90807330 21009d", BEGIN, I},
    {VP8, "all fields", "90f0f173050a3021009d", BEGIN, I},
    {VP8, "all fields, frame", "90f0f173050a3121009d", BEGIN, 0},
    {VP8, "TL0PICIDX alone", "9040053021009d", BEGIN, I},
    {VP8, "KEYIDX alone", "90100a3121009d", BEGIN, 0},
    {VP8, "descriptor and no more", "9080f173", INSIDE, 0},
    {VP8, "descriptor cut", "9080f1", INSIDE, 0},
    {VP8, "descriptor cut", "90", INSIDE, 0},
    {VP8, "nothing", "", INSIDE, 0},
    /* ---- VP9 ---- */
    {VP9, "key frame", "0e18014000f0010401b124c1", BEGIN, I},
    {VP9, "frame", "4cb30020494e402520000180", BEGIN, 0},
    {VP9, "key frame with picture id", "8eadf418014000f0010401b124c100", BEGIN, I},
    {VP9, "frame with picture id", "ccadf5b30020497930948000", BEGIN, 0},
    {VP9, "profile 0: key frame", "0882498342", BEGIN, I},
    {VP9, "profile 0: frame", "4886000040", BEGIN, D},
    {VP9, "profile 0: frame that refreshes", "4886010040", BEGIN, 0},
    {VP9, "profile 0: error resilient, none needs it", "48870000 40", BEGIN, D},
    {VP9, "profile 0: error resilient, refreshes", "4887100040", BEGIN, 0},
    {VP9, "profile 0: hidden", "4884000040", BEGIN, 0},
    {VP9, "profile 0: shows another frame", "4888", BEGIN, 0},
    {VP9, "too short to say what it refreshes", "488600", BEGIN, 0},
    {VP9, "not VP9", "0842498342", BEGIN, 0},
    {VP9, "a later part", "44aabbcc", INSIDE, 0},
    {VP9, "a later part of a key frame", "0482498342", INSIDE, 0},
    {VP9, "spatial layer 0, with TL0PICIDX", "28000082498342", BEGIN, I},
    {VP9, "spatial layer 1", "28020082498342", INSIDE, 0},
    {VP9, "flexible mode: layer 0", "380082498342", BEGIN, I},
    {VP9, "flexible mode: three references", "580305068600 0040", BEGIN, D},
    {VP9, "flexible mode: one reference", "5802 86000040", BEGIN, D},
    {VP9, "structure with a picture group", "0a080204040082498342", BEGIN, I},
    {VP9, "structure without sizes", "0a0082498342", BEGIN, I},
    {VP9, "structure cut", "0a18014000f0", INSIDE, 0},
    {VP9, "structure cut", "0a", INSIDE, 0},
    {VP9, "picture group cut", "0a08ff04", INSIDE, 0},
    {VP9, "descriptor and no more", "8810", INSIDE, 0},
    {VP9, "descriptor cut", "88f1", INSIDE, 0},
    {VP9, "nothing", "", INSIDE, 0},
    /* ---- AV1 ---- */
    {AV1, "N, sequence header and key frame", "280a080a0b0000000424f1c630100010", BEGIN, I},
    {AV1, "the same without N", "200a080a0b0000000424f1c630100010", BEGIN, I},
    {AV1, "no key frame", "200a080a0b0000000424f1c630300010", BEGIN, 0},
    {AV1, "sequence header, then a key frame", "20030a0b0c301000", BEGIN, I},
    {AV1, "sequence header, then no key frame", "20030a0b0c303000", BEGIN, 0},
    {AV1, "a hidden key frame", "20030a0b0c300000", BEGIN, 0},
    {AV1, "shows an existing frame", "20030a0b0c308000", BEGIN, 0},
    {AV1, "key frame without sequence header", "10301000", BEGIN, 0},
    {AV1, "frame", "10303000", BEGIN, 0},
    {AV1, "frame with an extension", "10340830 00", BEGIN, 0},
    {AV1, "frames with sizes of their own", "00040a020b0c0332011000", BEGIN, I},
    {AV1, "N and the sequence header alone", "180a0b0c", PREFIX, I},
    {AV1, "sequence header alone", "100a0b0c", PREFIX, 0},
    {AV1, "metadata", "10280104", PREFIX, 0},
    {AV1, "continued", "90301000", INSIDE, 0},
    {AV1, "tile group", "10201000", INSIDE, 0},
    {AV1, "element longer than the packet", "20ff030a", INSIDE, 0},
    {AV1, "element's length cut", "20ff", INSIDE, 0},
    {AV1, "element's length endless", "00ffffffffffff01", INSIDE, 0},
    {AV1, "aggregation header alone", "10", INSIDE, 0},
    {AV1, "nothing", "", INSIDE, 0},
    /* ---- */
    {NAT_PAYLOAD_FORMAT_OTHER, "not looked into", "658884", INSIDE, 0},
};

static GByteArray *
unhex (const char *hex)
{
  g_autoptr (GString) text = g_string_new (hex);

  g_string_replace (text, " ", "", 0);
  return vectors_unhex (text->str);
}

static void
test_payloads (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (payloads); i++) {
    g_autoptr (GByteArray) bytes = unhex (payloads[i].hex);
    g_autofree guint8 *exact = g_memdup2 (bytes->data, bytes->len);
    NatPayload read;

    nat_payload_read (&read, payloads[i].format, exact, bytes->len);
    if (read.part != payloads[i].part || read.independent != ((payloads[i].flags & I) != 0) ||
        read.discardable != ((payloads[i].flags & D) != 0))
      g_error ("row %u, \"%s\": part %d%s%s", i, payloads[i].what, read.part,
          read.independent ? ", independent" : "", read.discardable ? ", discardable" : "");
  }
}

/* Every payload above, cut anywhere: nothing is read behind its end, and what is cut is not taken for more. */
static void
test_cut (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (payloads); i++) {
    g_autoptr (GByteArray) bytes = unhex (payloads[i].hex);

    for (guint len = 0; len < bytes->len; len++) {
      g_autofree guint8 *exact = g_memdup2 (bytes->data, len);
      NatPayload read;

      nat_payload_read (&read, payloads[i].format, exact, len);
      if (read.part == BEGIN && read.independent && !(payloads[i].flags & I))
        g_error ("row %u, \"%s\", of %u bytes", i, payloads[i].what, len);
    }
  }
}

static void
test_temporal_id (void)
{
  static const struct {
    const char *hex;
    guint8 temporal_id;
  } table[] = {{"0201d0", 0}, {"0002d0", 1}, {"0007d0", 6}, {"0000d0", 0}, {"620380e0", 2},
      {"60010004000 3e024", 2}, {"4003", 0}};

  for (guint i = 0; i < G_N_ELEMENTS (table); i++) {
    g_autoptr (GByteArray) bytes = unhex (table[i].hex);
    NatPayload read;

    nat_payload_read (&read, H265, bytes->data, bytes->len);
    if (read.temporal_id != table[i].temporal_id)
      g_error ("row %u: %u", i, read.temporal_id);
  }
}

static void
test_names (void)
{
  g_assert_cmpint (nat_payload_format_from_name ("H264"), ==, H264);
  g_assert_cmpint (nat_payload_format_from_name ("H265"), ==, H265);
  g_assert_cmpint (nat_payload_format_from_name ("VP8"), ==, VP8);
  g_assert_cmpint (nat_payload_format_from_name ("vp9"), ==, VP9);
  g_assert_cmpint (nat_payload_format_from_name ("AV1"), ==, AV1);
  g_assert_cmpint (nat_payload_format_from_name ("H264-SVC"), ==, NAT_PAYLOAD_FORMAT_OTHER);
  g_assert_cmpint (nat_payload_format_from_name ("JPEG"), ==, NAT_PAYLOAD_FORMAT_OTHER);
  g_assert_cmpint (nat_payload_format_from_name (""), ==, NAT_PAYLOAD_FORMAT_OTHER);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/payloadformat/payloads", test_payloads);
  g_test_add_func ("/payloadformat/cut", test_cut);
  g_test_add_func ("/payloadformat/temporal-id", test_temporal_id);
  g_test_add_func ("/payloadformat/names", test_names);
  return g_test_run ();
}
