/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/payloadformat.h"

#include <string.h>

#include "natproto/bytes.h"

NatPayloadFormat
nat_payload_format_from_name (const char *name)
{
  static const struct {
    const char *name;
    NatPayloadFormat format;
  } formats[] = {
      {"H264", NAT_PAYLOAD_FORMAT_H264},
      {"H265", NAT_PAYLOAD_FORMAT_H265},
      {"VP8", NAT_PAYLOAD_FORMAT_VP8},
      {"VP9", NAT_PAYLOAD_FORMAT_VP9},
      {"AV1", NAT_PAYLOAD_FORMAT_AV1},
  };

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    if (g_ascii_strcasecmp (formats[i].name, name) == 0)
      return formats[i].format;
  }
  return NAT_PAYLOAD_FORMAT_OTHER;
}

/* ---- NAL units ----------------------------------------------------------- */

/* Reads one NAL unit's bytes into out. FALSE: it is of the picture, and no other need be asked. */
typedef gboolean (*ReadNal) (NatPayload *out, const guint8 *nal, gsize len);

/* NAL units with a length of two bytes before each. */
static void
read_aggregate (NatPayload *out, const guint8 *p, gsize len, ReadNal read_nal)
{
  while (len > 2) {
    gsize size = nat_read_u16 (p);

    if (size == 0 || size > len - 2)
      break;
    if (!read_nal (out, p + 2, size))
      return;
    p += 2 + size;
    len -= 2 + size;
  }
}

/* ---- H.264 --------------------------------------------------------------- */

enum {
  H264_SLICE = 1,
  H264_PARTITION_A = 2,
  H264_IDR = 5,
  H264_SEI = 6, /* to 18: what is not of a picture. RFC 6184 table 1, H.264 table 7-1 */
  H264_LAST_NON_VCL = 18,
  H264_STAP_A = 24,
  H264_STAP_B = 25,
  H264_FU_A = 28,
  H264_FU_B = 29,
};

#define FU_START 0x80

/* type: NAL unit type; ref_idc: its nal_ref_idc in place; first: the byte behind the NAL unit's header, if that is
 * here, else 0. */
static gboolean
h264_unit (NatPayload *out, guint8 type, guint8 ref_idc, guint8 first)
{
  if (type >= H264_SEI && type <= H264_LAST_NON_VCL) {
    out->part = NAT_PAYLOAD_PREFIX;
    return TRUE;
  }
  /* A slice's header begins with first_mb_in_slice, whose code for 0 is a bit 1. */
  if ((type == H264_SLICE || type == H264_PARTITION_A || type == H264_IDR) && (first & 0x80))
    out->part = NAT_PAYLOAD_BEGIN;
  else
    out->part = NAT_PAYLOAD_INSIDE;
  out->independent = type == H264_IDR;
  out->discardable = type <= H264_IDR && ref_idc == 0;
  return FALSE;
}

static gboolean
h264_nal (NatPayload *out, const guint8 *nal, gsize len)
{
  return h264_unit (out, nal[0] & 0x1f, nal[0] & 0x60, len > 1 ? nal[1] : 0);
}

static void
read_h264 (NatPayload *out, const guint8 *p, gsize len)
{
  guint8 type = len > 0 ? p[0] & 0x1f : 0;

  switch (type) {
  case 0: break;
  case H264_STAP_A: read_aggregate (out, p + 1, len - 1, h264_nal); break;
  case H264_STAP_B: /* a decoding order number first */
    if (len > 3)
      read_aggregate (out, p + 3, len - 3, h264_nal);
    break;
  case H264_FU_A:
  case H264_FU_B:
    if (len > 2) {
      gsize data = type == H264_FU_A ? 2 : 4;
      gboolean start = (p[1] & FU_START) != 0 && len > data;

      h264_unit (out, p[1] & 0x1f, p[0] & 0x60, start ? p[data] : 0);
    }
    break;
  default: h264_nal (out, p, len); break;
  }
}

/* ---- H.265 --------------------------------------------------------------- */

enum {
  H265_FIRST_IRAP = 16, /* BLA, IDR, CRA; RFC 7798 section 1.1.4, H.265 table 7-1 */
  H265_LAST_IRAP = 23,
  H265_LAST_VCL = 31,
  H265_AP = 48,
  H265_FU = 49,
};

/* header: the two bytes of a NAL unit; first: the byte behind them, if that is here, else 0. */
static gboolean
h265_unit (NatPayload *out, guint8 type, const guint8 header[2], guint8 first)
{
  gboolean base_layer = (header[0] & 1) == 0 && header[1] >> 3 == 0;

  if (type > H265_LAST_VCL && type < H265_AP) {
    out->part = NAT_PAYLOAD_PREFIX;
    return TRUE;
  }
  /* first_slice_segment_in_pic_flag */
  out->part = base_layer && type <= H265_LAST_VCL && (first & 0x80) ? NAT_PAYLOAD_BEGIN
                                                                    : NAT_PAYLOAD_INSIDE;
  out->independent = base_layer && type >= H265_FIRST_IRAP && type <= H265_LAST_IRAP;
  /* Below the IRAP types the even ones are those that no picture of their sub-layer refers to. */
  out->discardable = type < H265_FIRST_IRAP && type % 2 == 0;
  out->temporal_id = (guint8)MAX ((header[1] & 7) - 1, 0);
  return FALSE;
}

static gboolean
h265_nal (NatPayload *out, const guint8 *nal, gsize len)
{
  if (len < 2)
    return TRUE;
  return h265_unit (out, nal[0] >> 1 & 0x3f, nal, len > 2 ? nal[2] : 0);
}

static void
read_h265 (NatPayload *out, const guint8 *p, gsize len)
{
  guint8 type = len > 2 ? p[0] >> 1 & 0x3f : H265_AP;

  if (type == H265_AP && len > 2)
    read_aggregate (out, p + 2, len - 2, h265_nal);
  else if (type == H265_FU)
    h265_unit (out, p[2] & 0x3f, p, (p[2] & FU_START) != 0 && len > 3 ? p[3] : 0);
  else if (type < H265_AP)
    h265_nal (out, p, len);
}

/* ---- VP8 ----------------------------------------------------------------- */

/* Length of the payload descriptor (RFC 7741 section 4.2); len if it is cut. */
static gsize
vp8_descriptor (const guint8 *p, gsize len)
{
  gsize n = 1;
  guint8 extension;

  if ((p[0] & 0x80) == 0 || len < 2)
    return MIN (n, len);
  extension = p[n++];
  if (extension & 0x80)
    n += n < len && (p[n] & 0x80) ? 2 : 1;
  n += (extension & 0x40) != 0;
  n += (extension & 0x30) != 0;
  return MIN (n, len);
}

static void
read_vp8 (NatPayload *out, const guint8 *p, gsize len)
{
  gsize n = len > 0 ? vp8_descriptor (p, len) : 0;

  if (n == len)
    return;
  out->discardable = (p[0] & 0x20) != 0;
  /* S, and partition 0: the frame's header is next, and its first bit is 0 in a key frame. */
  if ((p[0] & 0x17) == 0x10) {
    out->part = NAT_PAYLOAD_BEGIN;
    out->independent = (p[n] & 1) == 0;
  }
}

/* ---- VP9 ----------------------------------------------------------------- */

#define VP9_I 0x80 /* picture id */
#define VP9_P 0x40 /* inter-picture predicted */
#define VP9_L 0x20 /* layer indices */
#define VP9_F 0x10 /* flexible mode */
#define VP9_B 0x08 /* begins a frame */
#define VP9_V 0x02 /* scalability structure */

/* Steps over a scalability structure at n (RFC 9628 section 4.2.1); len if it is cut. */
static gsize
vp9_structure (const guint8 *p, gsize n, gsize len)
{
  guint8 head, pictures;

  if (n >= len)
    return len;
  head = p[n++];
  if (head & 0x10)
    n += 4 * ((gsize)(head >> 5) + 1);
  if ((head & 0x08) == 0)
    return MIN (n, len);
  if (n >= len)
    return len;
  pictures = p[n++];
  for (; pictures > 0 && n < len; pictures--)
    n += 1 + (gsize)(p[n] >> 2 & 3);
  return MIN (n, len);
}

/* Length of the payload descriptor (section 4.2); len if it is cut. spatial_id: 0 if it does not say. */
static gsize
vp9_descriptor (const guint8 *p, gsize len, guint8 *spatial_id)
{
  gsize n = 1;

  *spatial_id = 0;
  if (p[0] & VP9_I)
    n += n < len && (p[n] & 0x80) ? 2 : 1;
  if (p[0] & VP9_L) {
    *spatial_id = n < len ? p[n] >> 1 & 7 : 0;
    n += p[0] & VP9_F ? 1 : 2;
  }
  /* At most three reference indices; each says whether another follows. */
  if ((p[0] & (VP9_F | VP9_P)) == (VP9_F | VP9_P)) {
    for (guint i = 0; i < 3 && n < len && (p[n++] & 1); i++)
      ;
  }
  if (p[0] & VP9_V)
    n = vp9_structure (p, n, len);
  return MIN (n, len);
}

/* The first bits of the uncompressed header (VP9 bitstream specification, section 6.2). */
static void
vp9_frame (NatPayload *out, const guint8 *p, gsize len)
{
  guint8 bytes[4] = {0};
  guint32 bits, refresh;
  gboolean error_resilient, shown;

  memcpy (bytes, p, MIN (len, sizeof bytes));
  bits = nat_read_u32 (bytes);
  if (bits >> 30 != 2) /* frame_marker */
    return;
  /* Profile 3 has a reserved bit more. */
  bits <<= (bits >> 28 & 3) == 3 ? 5 : 4;
  if (bits >> 31) /* show_existing_frame */
    return;
  out->independent = (bits >> 30 & 1) == 0;
  shown = bits >> 29 & 1;
  error_resilient = bits >> 28 & 1;
  /* A frame that is shown has no intra_only bit; then reset_frame_context, refresh_frame_flags. */
  refresh = bits << (error_resilient ? 4 : 6) >> 24;
  out->discardable = !out->independent && shown && len >= sizeof bytes && refresh == 0;
}

static void
read_vp9 (NatPayload *out, const guint8 *p, gsize len)
{
  guint8 spatial_id = 0;
  gsize n = len > 0 ? vp9_descriptor (p, len, &spatial_id) : 0;

  if (n == len || (p[0] & VP9_B) == 0 || spatial_id != 0)
    return;
  out->part = NAT_PAYLOAD_BEGIN;
  vp9_frame (out, p + n, len - n);
}

/* ---- AV1 ----------------------------------------------------------------- */

enum {
  OBU_SEQUENCE_HEADER = 1, /* AV1 specification, section 6.2.2 */
  OBU_TEMPORAL_DELIMITER = 2,
  OBU_FRAME_HEADER = 3,
  OBU_METADATA = 5,
  OBU_FRAME = 6,
  OBU_PADDING = 15,
};

#define AV1_Z 0x80 /* the first element continues one of the packet before */
#define AV1_N 0x08 /* first packet of a coded video sequence */

typedef struct {
  const guint8 *p;
  gsize len;
  guint count; /* W: how many elements, the last without its length; 0: each has one */
} Obus;

/* leb128; 0 bytes read: cut, or more than a packet could hold. */
static gsize
read_leb128 (const guint8 *p, gsize len, gsize *value)
{
  *value = 0;
  for (gsize i = 0; i < MIN (len, 4); i++) {
    *value |= (gsize)(p[i] & 0x7f) << 7 * i;
    if ((p[i] & 0x80) == 0)
      return i + 1;
  }
  return 0;
}

static gboolean
next_obu (Obus *o, const guint8 **obu, gsize *size)
{
  gsize n = 0;

  if (o->len == 0)
    return FALSE;
  *size = o->len;
  if (o->count != 1 && ((n = read_leb128 (o->p, o->len, size)) == 0 || *size > o->len - n))
    return FALSE;
  *obu = o->p + n;
  o->p += n + *size;
  o->len -= n + *size;
  if (o->count > 0 && --o->count == 0)
    o->len = 0;
  return TRUE;
}

/* TRUE: a frame header that says: a key frame, to be shown. */
static gboolean
obu_is_key_frame (const guint8 *obu, gsize size)
{
  gsize n = obu[0] & 0x04 ? 2 : 1, ignored;

  if (obu[0] & 0x02)
    n += n < size ? read_leb128 (obu + n, size - n, &ignored) : 0;
  /* show_existing_frame 0, frame_type KEY_FRAME (0), show_frame 1 */
  return n < size && obu[n] >> 4 == 1;
}

static void
read_av1 (NatPayload *out, const guint8 *p, gsize len)
{
  Obus obus = {p + 1, len > 0 ? len - 1 : 0, len > 0 ? p[0] >> 4 & 3 : 0};
  gboolean sequence_header = FALSE;
  const guint8 *obu;
  gsize size;

  if (len == 0 || (p[0] & AV1_Z))
    return;
  while (next_obu (&obus, &obu, &size)) {
    guint8 type = size > 0 ? obu[0] >> 3 & 0x0f : OBU_PADDING;

    switch (type) {
    case OBU_SEQUENCE_HEADER: sequence_header = TRUE; break;
    case OBU_TEMPORAL_DELIMITER:
    case OBU_METADATA:
    case OBU_PADDING: break;
    case OBU_FRAME_HEADER:
    case OBU_FRAME:
      out->part = NAT_PAYLOAD_BEGIN;
      out->independent = (p[0] & AV1_N) || (sequence_header && obu_is_key_frame (obu, size));
      return;
    default: out->part = NAT_PAYLOAD_INSIDE; return;
    }
    out->part = NAT_PAYLOAD_PREFIX;
    out->independent = (p[0] & AV1_N) != 0;
  }
}

/* -------------------------------------------------------------------------- */

void
nat_payload_read (NatPayload *out, NatPayloadFormat format, const guint8 *payload, gsize len)
{
  memset (out, 0, sizeof *out);
  switch (format) {
  case NAT_PAYLOAD_FORMAT_H264: read_h264 (out, payload, len); break;
  case NAT_PAYLOAD_FORMAT_H265: read_h265 (out, payload, len); break;
  case NAT_PAYLOAD_FORMAT_VP8: read_vp8 (out, payload, len); break;
  case NAT_PAYLOAD_FORMAT_VP9: read_vp9 (out, payload, len); break;
  case NAT_PAYLOAD_FORMAT_AV1: read_av1 (out, payload, len); break;
  default: break;
  }
}
