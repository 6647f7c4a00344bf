/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/stun.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"

#define ATTRIBUTE_HEADER       4
#define LENGTH_MAX             65532 /* of the header's length field: 16 bits, a multiple of 4 */
#define COMPREHENSION_OPTIONAL 0x8000
#define REASON_MAX             763 /* bytes of a reason phrase, RFC 8489 section 14.8 */

static gsize
padded (gsize len)
{
  return (len + 3) & ~(gsize)3;
}

/* ---- FINGERPRINT ------------------------------------------------------- */

/* The CRC of ITU V.42, a byte at a time. It is linear: the entries of the eight single bits
 * make the other 248, so the compiler writes the table and nobody has to proofread it. */
#define BIT(i, n, entry) ((((i) >> (n)) & 1u) * (entry))
#define ENTRY(i)                                                                                   \
  (BIT (i, 0, 0x77073096u) ^ BIT (i, 1, 0xee0e612cu) ^ BIT (i, 2, 0x076dc419u) ^                   \
      BIT (i, 3, 0x0edb8832u) ^ BIT (i, 4, 0x1db71064u) ^ BIT (i, 5, 0x3b6e20c8u) ^                \
      BIT (i, 6, 0x76dc4190u) ^ BIT (i, 7, 0xedb88320u))
#define ENTRIES_4(i)  ENTRY (i), ENTRY ((i) + 1), ENTRY ((i) + 2), ENTRY ((i) + 3)
#define ENTRIES_16(i) ENTRIES_4 (i), ENTRIES_4 ((i) + 4), ENTRIES_4 ((i) + 8), ENTRIES_4 ((i) + 12)
#define ENTRIES_64(i)                                                                              \
  ENTRIES_16 (i), ENTRIES_16 ((i) + 16), ENTRIES_16 ((i) + 32), ENTRIES_16 ((i) + 48)

static const guint32 crc_table[256] = {
    ENTRIES_64 (0u), ENTRIES_64 (64u), ENTRIES_64 (128u), ENTRIES_64 (192u)};

static guint32
fingerprint (const guint8 *data, gsize len)
{
  guint32 crc = G_MAXUINT32;

  for (gsize i = 0; i < len; i++)
    crc = crc_table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
  return ~crc ^ NAT_STUN_FINGERPRINT_XOR;
}

/* ---- Reading ----------------------------------------------------------- */

gboolean
nat_stun_is_message (const guint8 *data, gsize len)
{
  if (len < NAT_STUN_HEADER_SIZE || (data[0] & 0xc0) != 0)
    return FALSE;
  if (nat_read_u32 (data + 4) != NAT_STUN_MAGIC_COOKIE)
    return FALSE;
  return len % 4 == 0 && (gsize)nat_read_u16 (data + 2) + NAT_STUN_HEADER_SIZE == len;
}

/* What we know of an attribute: where its slice goes, and which lengths can be. */
typedef struct {
  guint16 type;
  guint16 slice;    /* offset in NatStunMessage; 0: none is kept */
  guint16 min, max; /* bytes, without padding */
} AttributeRule;

#define RULE(name, member, min, max)                                                               \
  {                                                                                                \
    NAT_ATTR_##name, G_STRUCT_OFFSET (NatStunMessage, member), min, max                            \
  }

static const AttributeRule rules[] = {
    RULE (USERNAME, username, 0, 508),
    RULE (MESSAGE_INTEGRITY, integrity, 20, 20),
    RULE (ERROR_CODE, error_code, 4, 4 + REASON_MAX),
    RULE (UNKNOWN_ATTRIBUTES, unknown_attributes, 0, G_MAXUINT16),
    RULE (REALM, realm, 0, 763),
    RULE (NONCE, nonce, 0, 763),
    RULE (MESSAGE_INTEGRITY_SHA256, integrity_sha256, 16, 32),
    RULE (PASSWORD_ALGORITHM, password_algorithm, 4, G_MAXUINT16),
    RULE (USERHASH, userhash, 32, 32),
    RULE (XOR_MAPPED_ADDRESS, xor_mapped_address, 8, 20),
    {NAT_ATTR_USE_CANDIDATE, 0, 0, 0},
    {NAT_ATTR_PADDING, 0, 0, G_MAXUINT16},
    RULE (PASSWORD_ALGORITHMS, password_algorithms, 4, G_MAXUINT16),
    RULE (SOFTWARE, software, 0, 763),
    {NAT_ATTR_FINGERPRINT, 0, 4, 4},
    RULE (BOOT_ID, boot_id, NAT_BOOT_ID_SIZE, NAT_BOOT_ID_SIZE),
    RULE (EPOCH, epoch, NAT_EPOCH_SIZE, NAT_EPOCH_SIZE),
    RULE (VERSION, version, 4, 4),
    RULE (REASON, reason, 4, 4),
};

static const AttributeRule *
find_rule (guint16 type)
{
  for (gsize i = 0; i < G_N_ELEMENTS (rules); i++) {
    if (rules[i].type == type)
      return &rules[i];
  }
  return NULL;
}

/* Our own numbers are not registered. Somebody else's attribute under one of them is
 * an optional one that we do not know, not an error. */
static gboolean
is_ours (guint16 type)
{
  return type >= NAT_ATTR_BOOT_ID && type <= NAT_ATTR_REASON;
}

static void
note_unknown (NatStunMessage *msg, guint16 type)
{
  for (guint i = 0; i < msg->n_unknown_required; i++) {
    if (msg->unknown_required[i] == type)
      return;
  }
  if (msg->n_unknown_required < G_N_ELEMENTS (msg->unknown_required))
    msg->unknown_required[msg->n_unknown_required++] = type;
}

/* What follows an integrity attribute is not covered by it, so anybody could have put it
 * there (RFC 8489 sections 14.5 and 14.6). */
static gboolean
is_behind_integrity (const NatStunMessage *msg, guint16 type)
{
  if (type == NAT_ATTR_FINGERPRINT)
    return FALSE;
  if (msg->integrity_sha256.data != NULL)
    return TRUE;
  return msg->integrity.data != NULL && type != NAT_ATTR_MESSAGE_INTEGRITY_SHA256;
}

static NatStunStatus
check_fingerprint (NatStunMessage *msg, const guint8 *value)
{
  gsize offset = (gsize)(value - msg->bytes) - ATTRIBUTE_HEADER;

  /* The header's length counts up to here only if FINGERPRINT is the last, as it must be. */
  if (value + 4 != msg->bytes + msg->len ||
      fingerprint (msg->bytes, offset) != nat_read_u32 (value))
    return NAT_STUN_BAD_FINGERPRINT;
  msg->has_fingerprint = TRUE;
  return NAT_STUN_OK;
}

static NatStunStatus
take_attribute (NatStunMessage *msg, guint16 type, const guint8 *value, guint16 len)
{
  const AttributeRule *rule = find_rule (type);
  NatStunSlice *slice;

  if (is_behind_integrity (msg, type))
    return NAT_STUN_OK;
  if (rule == NULL) {
    if (type < COMPREHENSION_OPTIONAL)
      note_unknown (msg, type);
    return NAT_STUN_OK;
  }
  if (len < rule->min || len > rule->max)
    return is_ours (type) ? NAT_STUN_OK : NAT_STUN_BAD_ATTRIBUTE;
  if (type == NAT_ATTR_FINGERPRINT)
    return check_fingerprint (msg, value);
  if (type == NAT_ATTR_USE_CANDIDATE)
    msg->use_candidate = TRUE;
  if (rule->slice == 0)
    return NAT_STUN_OK;
  slice = G_STRUCT_MEMBER_P (msg, rule->slice);
  if (slice->data == NULL) {
    slice->data = value;
    slice->len = len;
  }
  return NAT_STUN_OK;
}

NatStunStatus
nat_stun_parse (NatStunMessage *msg, const guint8 *data, gsize len)
{
  gsize at = NAT_STUN_HEADER_SIZE;

  memset (msg, 0, sizeof *msg);
  if (!nat_stun_is_message (data, len))
    return NAT_STUN_NOT_STUN;
  msg->bytes = data;
  msg->len = len;
  msg->type = nat_read_u16 (data);
  msg->transaction_id = data + 8;
  /* len and every step are multiples of 4, so an attribute's header is either whole or absent. */
  while (at < len) {
    guint16 type = nat_read_u16 (data + at), size = nat_read_u16 (data + at + 2);
    NatStunStatus status;

    at += ATTRIBUTE_HEADER;
    if (padded (size) > len - at)
      return NAT_STUN_BAD_ATTRIBUTE;
    status = take_attribute (msg, type, data + at, size);
    if (status != NAT_STUN_OK)
      return status;
    at += padded (size);
  }
  return NAT_STUN_OK;
}

guint
nat_stun_error_code (const NatStunMessage *msg, NatStunSlice *reason)
{
  const guint8 *p = msg->error_code.data;
  guint hundreds, rest;

  if (reason != NULL)
    memset (reason, 0, sizeof *reason);
  if (p == NULL || msg->error_code.len < 4)
    return 0;
  hundreds = p[2] & 7;
  rest = p[3];
  if (hundreds < 3 || hundreds > 6 || rest > 99)
    return 0;
  if (reason != NULL) {
    reason->data = p + 4;
    reason->len = msg->error_code.len - 4;
  }
  return hundreds * 100 + rest;
}

/* The port is masked with the cookie's first half, the address with the cookie and, for
 * IPv6, the transaction id behind it: just as the bytes stand in the header from 4 on. */
static void
mask_address (guint8 *ip, gsize len, const guint8 *header)
{
  for (gsize i = 0; i < len; i++)
    ip[i] ^= header[4 + i];
}

gboolean
nat_stun_mapped_address (const NatStunMessage *msg, NatAddress *out)
{
  const NatStunSlice *slice = &msg->xor_mapped_address;
  gsize size;
  guint8 ip[16] = {0};

  memset (out, 0, sizeof *out);
  if (slice->data == NULL || slice->len < 4)
    return FALSE;
  size = slice->len - 4u;
  if (!(slice->data[1] == 1 && size == 4) && !(slice->data[1] == 2 && size == 16))
    return FALSE;
  memcpy (ip, slice->data + 4, size);
  mask_address (ip, sizeof ip,
      msg->bytes); /* all of it: a size that varies makes compilers see an overflow */
  return nat_address_from_ip (
      out, ip, size, nat_read_u16 (slice->data + 2) ^ (NAT_STUN_MAGIC_COOKIE >> 16));
}

gboolean
nat_stun_slice_u32 (const NatStunSlice *slice, guint32 *out)
{
  if (slice->data == NULL || slice->len != 4)
    return FALSE;
  *out = nat_read_u32 (slice->data);
  return TRUE;
}

gboolean
nat_stun_slice_equal (const NatStunSlice *slice, const char *text)
{
  return slice->data != NULL && slice->len == strlen (text) &&
         memcmp (slice->data, text, slice->len) == 0;
}

/* ---- Writing ----------------------------------------------------------- */

static void
set_length (NatStunWriter *w)
{
  nat_write_u16 (w->buf + 2, (guint16)(w->len - NAT_STUN_HEADER_SIZE));
}

/* Room for one attribute, its header written and its padding zero; NULL when it does not fit. */
static guint8 *
open_attribute (NatStunWriter *w, guint16 attribute, gsize len)
{
  guint8 *p;

  if (w->overflow || len > LENGTH_MAX || w->len + ATTRIBUTE_HEADER + padded (len) > w->cap ||
      w->len + ATTRIBUTE_HEADER + padded (len) > LENGTH_MAX + NAT_STUN_HEADER_SIZE) {
    w->overflow = TRUE;
    return NULL;
  }
  p = w->buf + w->len;
  nat_write_u16 (p, attribute);
  nat_write_u16 (p + 2, (guint16)len);
  memset (p + ATTRIBUTE_HEADER + len, 0, padded (len) - len);
  w->len += ATTRIBUTE_HEADER + padded (len);
  set_length (w);
  return p + ATTRIBUTE_HEADER;
}

void
nat_stun_writer_init (
    NatStunWriter *w, guint8 *buf, gsize cap, guint16 type, const guint8 transaction_id[12])
{
  memset (w, 0, sizeof *w);
  w->buf = buf;
  w->cap = cap;
  if (cap < NAT_STUN_HEADER_SIZE) {
    w->overflow = TRUE;
    return;
  }
  w->len = NAT_STUN_HEADER_SIZE;
  nat_write_u16 (buf, type);
  set_length (w);
  nat_write_u32 (buf + 4, NAT_STUN_MAGIC_COOKIE);
  memcpy (buf + 8, transaction_id, 12);
}

void
nat_stun_writer_add (NatStunWriter *w, guint16 attribute, gconstpointer data, gsize len)
{
  guint8 *value = open_attribute (w, attribute, len);

  if (value != NULL && len > 0)
    memcpy (value, data, len);
}

void
nat_stun_writer_add_text (NatStunWriter *w, guint16 attribute, const char *text)
{
  nat_stun_writer_add (w, attribute, text, strlen (text));
}

void
nat_stun_writer_add_u32 (NatStunWriter *w, guint16 attribute, guint32 value)
{
  guint8 bytes[4];

  nat_write_u32 (bytes, value);
  nat_stun_writer_add (w, attribute, bytes, sizeof bytes);
}

void
nat_stun_writer_add_flag (NatStunWriter *w, guint16 attribute)
{
  nat_stun_writer_add (w, attribute, NULL, 0);
}

void
nat_stun_writer_add_error (NatStunWriter *w, guint code, const char *reason)
{
  gsize len = MIN (strlen (reason), REASON_MAX);
  guint8 *value = open_attribute (w, NAT_ATTR_ERROR_CODE, 4 + len);

  if (value == NULL)
    return;
  nat_write_u16 (value, 0);
  value[2] = (guint8)(code / 100);
  value[3] = (guint8)(code % 100);
  memcpy (value + 4, reason, len);
}

void
nat_stun_writer_add_mapped_address (NatStunWriter *w, const NatAddress *address)
{
  gsize size = address->family == 4 ? 4 : 16;
  guint8 *value;

  g_return_if_fail (address->family != 0);
  value = open_attribute (w, NAT_ATTR_XOR_MAPPED_ADDRESS, 4 + size);
  if (value == NULL)
    return;
  value[0] = 0;
  value[1] = address->family == 4 ? 1 : 2;
  nat_write_u16 (value + 2, address->port ^ (NAT_STUN_MAGIC_COOKIE >> 16));
  memcpy (value + 4, address->ip, size);
  mask_address (value + 4, size, w->buf);
}

void
nat_stun_writer_add_integrity (NatStunWriter *w, gconstpointer key, gsize key_len)
{
  gsize before = w->len;
  guint8 *value = open_attribute (w, NAT_ATTR_MESSAGE_INTEGRITY_SHA256, NAT_SHA256_SIZE);

  /* The header's length already counts this attribute, the hashed bytes end before it
   * (RFC 8489 section 14.6). */
  if (value != NULL)
    nat_crypto_hmac (key, key_len, w->buf, before, value);
}

void
nat_stun_writer_pad_to (NatStunWriter *w, gsize total, gsize tail_len)
{
  gsize missing = total > w->len + tail_len ? total - w->len - tail_len : 0;
  gsize len = missing > ATTRIBUTE_HEADER ? padded (missing - ATTRIBUTE_HEADER) : 0;
  guint8 *value;

  if (missing == 0)
    return;
  value = open_attribute (w, NAT_ATTR_PADDING, len);
  if (value != NULL)
    memset (value, 0, len);
}

gsize
nat_stun_writer_finish (NatStunWriter *w)
{
  gsize before = w->len;
  guint8 *value = open_attribute (w, NAT_ATTR_FINGERPRINT, 4);

  if (value == NULL)
    return 0;
  nat_write_u32 (value, fingerprint (w->buf, before));
  return w->len;
}
