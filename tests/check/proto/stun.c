/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The RFCs' vectors first (tests/vectors/stun.json), written again and compared byte for byte,
 * then read; then the rules, one by one; then thousands of spoilt messages. */

#include "natproto/stun.h"

#include <string.h>
#include <json-glib/json-glib.h>

#include "natproto/crypto.h"
#include "natproto/stunauth.h"

static const guint8 id[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

/* ---- Helpers ----------------------------------------------------------- */

static GBytes *
unhex (const char *hex)
{
  GByteArray *bytes = g_byte_array_new ();

  for (; hex[0] != '\0'; hex += 2) {
    guint8 b = (guint8)(g_ascii_xdigit_value (hex[0]) << 4 | g_ascii_xdigit_value (hex[1]));

    g_byte_array_append (bytes, &b, 1);
  }
  return g_byte_array_free_to_bytes (bytes);
}

static JsonNode *
load (const char *name)
{
  g_autofree char *path = g_build_filename (VECTORS_DIR, name, NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;

  json_parser_load_from_file (parser, path, &error);
  g_assert_no_error (error);
  return json_parser_steal_root (parser);
}

/* Parses a copy of exactly len bytes on the heap, so that the address sanitizer sees a step
 * beyond. The caller frees *copy after use. */
static NatStunStatus
parse_copy (NatStunMessage *msg, const guint8 *data, gsize len, guint8 **copy)
{
  *copy = g_malloc (len);
  if (len > 0)
    memcpy (*copy, data, len);
  return nat_stun_parse (msg, *copy, len);
}

/* ---- The vectors ------------------------------------------------------- */

static const NatStunSlice *
slice_of (const NatStunMessage *msg, guint type)
{
  switch (type) {
  case NAT_ATTR_USERNAME: return &msg->username;
  case NAT_ATTR_REALM: return &msg->realm;
  case NAT_ATTR_NONCE: return &msg->nonce;
  case NAT_ATTR_SOFTWARE: return &msg->software;
  case NAT_ATTR_USERHASH: return &msg->userhash;
  case NAT_ATTR_PASSWORD_ALGORITHM: return &msg->password_algorithm;
  case NAT_ATTR_PASSWORD_ALGORITHMS: return &msg->password_algorithms;
  case NAT_ATTR_XOR_MAPPED_ADDRESS: return &msg->xor_mapped_address;
  case NAT_ATTR_MESSAGE_INTEGRITY: return &msg->integrity;
  case NAT_ATTR_MESSAGE_INTEGRITY_SHA256: return &msg->integrity_sha256;
  default: return NULL;
  }
}

typedef struct {
  guint type;
  GBytes *value;
} Attribute;

static Attribute
attribute_at (JsonArray *list, guint i)
{
  JsonArray *one = json_array_get_array_element (list, i);
  Attribute a = {.value = unhex (json_array_get_string_element (one, 2))};

  a.type = (guint)g_ascii_strtoull (json_array_get_string_element (one, 0), NULL, 16);
  g_assert_cmpuint (json_array_get_int_element (one, 1), ==, g_bytes_get_size (a.value));
  return a;
}

/* Writes one attribute as an application would. */
static void
write_attribute (NatStunWriter *w, JsonObject *vector, const Attribute *a, GBytes *key)
{
  gsize len;
  gconstpointer data = g_bytes_get_data (a->value, &len);

  if (a->type == NAT_ATTR_MESSAGE_INTEGRITY_SHA256) {
    nat_stun_writer_add_integrity (w, g_bytes_get_data (key, NULL), g_bytes_get_size (key));
  } else if (a->type == NAT_ATTR_XOR_MAPPED_ADDRESS) {
    NatAddress address;

    g_assert_true (
        nat_address_from_text (&address, json_object_get_string_member (vector, "mapped_address"),
            (guint16)json_object_get_int_member (vector, "mapped_port")));
    nat_stun_writer_add_mapped_address (w, &address);
  } else {
    nat_stun_writer_add (w, (guint16)a->type, data, len);
  }
}

/* A vector's attributes as text, then as wire bytes again: padding is the one thing that the
 * writer has no word for (RFC 5769 pads with blanks), so it is copied before anything is
 * computed over it. */
static void
check_encode (JsonObject *vector, GBytes *wire, GBytes *key)
{
  JsonArray *list = json_object_get_array_member (vector, "attributes");
  const guint8 *want = g_bytes_get_data (wire, NULL);
  guint8 buf[512];
  NatStunWriter w;
  gsize len = 0;

  nat_stun_writer_init (&w, buf, sizeof buf, (guint16)(want[0] << 8 | want[1]), want + 8);
  for (guint i = 0; i < json_array_get_length (list); i++) {
    Attribute a = attribute_at (list, i);
    gsize before = w.len, value_len = g_bytes_get_size (a.value);

    if (a.type == NAT_ATTR_FINGERPRINT) {
      len = nat_stun_writer_finish (&w);
    } else {
      write_attribute (&w, vector, &a, key);
      len = w.len;
    }
    memcpy (
        buf + before + 4 + value_len, want + before + 4 + value_len, len - before - 4 - value_len);
    g_bytes_unref (a.value);
  }
  g_assert_false (w.overflow);
  g_assert_cmpmem (buf, len, want, g_bytes_get_size (wire));
}

static void
check_decode (JsonObject *vector, GBytes *wire, GBytes *key)
{
  JsonArray *list = json_object_get_array_member (vector, "attributes");
  gboolean fingerprint = FALSE, sha256 = FALSE;
  NatStunMessage msg;
  gsize len;
  const guint8 *data = g_bytes_get_data (wire, &len);
  g_autofree guint8 *copy = NULL;

  g_assert_cmpint (parse_copy (&msg, data, len, &copy), ==, NAT_STUN_OK);
  g_assert_cmpmem (msg.transaction_id, 12, data + 8, 12);
  for (guint i = 0; i < json_array_get_length (list); i++) {
    Attribute a = attribute_at (list, i);
    const NatStunSlice *slice = slice_of (&msg, a.type);

    fingerprint |= a.type == NAT_ATTR_FINGERPRINT;
    sha256 |= a.type == NAT_ATTR_MESSAGE_INTEGRITY_SHA256;
    if (slice != NULL)
      g_assert_cmpmem (
          slice->data, slice->len, g_bytes_get_data (a.value, NULL), g_bytes_get_size (a.value));
    g_bytes_unref (a.value);
  }
  g_assert_cmpint (msg.has_fingerprint, ==, fingerprint);
  g_assert_cmpint (
      nat_stun_verify (&msg, g_bytes_get_data (key, NULL), g_bytes_get_size (key)), ==, sha256);
  if (json_object_has_member (vector, "mapped_address")) {
    NatAddress want, got;

    g_assert_true (
        nat_address_from_text (&want, json_object_get_string_member (vector, "mapped_address"),
            (guint16)json_object_get_int_member (vector, "mapped_port")));
    g_assert_true (nat_stun_mapped_address (&msg, &got));
    g_assert_true (nat_address_equal (&want, &got));
  }
}

static void
check_key (JsonObject *vector, GBytes *key)
{
  const char *user;
  guint8 out[NAT_STUN_KEY_SIZE];

  if (g_strcmp0 (json_object_get_string_member (vector, "cred"), "long-term-sha256") != 0)
    return;
  user = json_object_get_string_member (vector, "username");
  nat_stun_key (user, strlen (user), json_object_get_string_member (vector, "realm"),
      json_object_get_string_member (vector, "password"), out);
  g_assert_cmpmem (out, sizeof out, g_bytes_get_data (key, NULL), g_bytes_get_size (key));
}

static void
test_vectors (void)
{
  g_autoptr (JsonNode) root = load ("stun.json");
  JsonArray *vectors = json_object_get_array_member (json_node_get_object (root), "vectors");
  guint failing = 0, good = 0;

  for (guint i = 0; i < json_array_get_length (vectors); i++) {
    JsonObject *vector = json_array_get_object_element (vectors, i);
    g_autoptr (GBytes) wire = unhex (json_object_get_string_member (vector, "hex"));
    g_autoptr (GBytes) key = unhex (json_object_get_string_member (vector, "hmac_key"));

    g_test_message ("%s", json_object_get_string_member (vector, "name"));
    if (json_object_has_member (vector, "expect")) {
      NatStunMessage msg;
      g_autofree guint8 *copy = NULL;

      g_assert_cmpint (
          parse_copy (&msg, g_bytes_get_data (wire, NULL), g_bytes_get_size (wire), &copy), !=,
          NAT_STUN_OK);
      failing++;
      continue;
    }
    check_encode (vector, wire, key);
    check_decode (vector, wire, key);
    check_key (vector, key);
    good++;
  }
  g_assert_cmpuint (good, >=, 6);
  g_assert_cmpuint (failing, >=, 1);
}

/* Every bit of a message of our profile, turned over. FINGERPRINT notices all of them; without
 * one, what still parses is not genuine. */
static void
test_every_bit (void)
{
  guint8 buf[256], key[32] = {1, [31] = 3};
  gsize bare, whole;
  NatStunMessage msg;
  NatStunWriter w;

  nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_add_text (&w, NAT_ATTR_USERNAME, "padded with 3");
  nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  nat_stun_writer_add_integrity (&w, key, sizeof key);
  bare = w.len;
  g_assert_cmpint (nat_stun_parse (&msg, buf, bare), ==, NAT_STUN_OK);
  g_assert_true (nat_stun_verify (&msg, key, sizeof key));
  g_assert_false (nat_stun_verify (&msg, key, sizeof key - 1));
  for (gsize bit = 0; bit < bare * 8; bit++) {
    buf[bit / 8] ^= 1u << bit % 8;
    if (nat_stun_parse (&msg, buf, bare) == NAT_STUN_OK)
      g_assert_false (nat_stun_verify (&msg, key, sizeof key));
    buf[bit / 8] ^= 1u << bit % 8;
  }

  whole = nat_stun_writer_finish (&w);
  g_assert_cmpuint (whole, ==, bare + NAT_STUN_FINGERPRINT_SIZE);
  g_assert_cmpint (nat_stun_parse (&msg, buf, whole), ==, NAT_STUN_OK);
  g_assert_true (msg.has_fingerprint);
  g_assert_true (nat_stun_verify (&msg, key, sizeof key));
  for (gsize bit = 0; bit < whole * 8; bit++) {
    buf[bit / 8] ^= 1u << bit % 8;
    /* A turned bit in FINGERPRINT's own header makes an unknown attribute of it: then there
     * is none to be wrong, and whoever demands one misses it. */
    if (nat_stun_parse (&msg, buf, whole) == NAT_STUN_OK)
      g_assert_false (msg.has_fingerprint);
    buf[bit / 8] ^= 1u << bit % 8;
  }
}

/* ---- Reading, rule by rule --------------------------------------------- */

/* A message from attributes in hex; the header is put in front, right. */
static NatStunStatus
parse_attributes (NatStunMessage *msg, const char *hex, guint8 **copy)
{
  g_autoptr (GBytes) attributes = unhex (hex);
  gsize len = g_bytes_get_size (attributes);
  guint8 buf[2048] = {0x01, 0x01, (guint8)(len >> 8), (guint8)len, 0x21, 0x12, 0xa4, 0x42};

  memcpy (buf + 8, id, 12);
  if (len > 0)
    memcpy (buf + 20, g_bytes_get_data (attributes, NULL), len);
  return parse_copy (msg, buf, len + 20, copy);
}

static void
test_header (void)
{
  guint8 good[24] = {0x00, 0x01, 0x00, 0x04, 0x21, 0x12, 0xa4, 0x42};
  guint8 bad[28];
  NatStunMessage msg;

  good[20] = 0x80; /* an empty optional attribute, 0x8000 */
  g_assert_true (nat_stun_is_message (good, sizeof good));
  g_assert_cmpint (nat_stun_parse (&msg, good, sizeof good), ==, NAT_STUN_OK);
  g_assert_cmpuint (msg.type, ==, NAT_STUN_BINDING_REQUEST);
  for (gsize len = 0; len < sizeof good; len++)
    g_assert_false (nat_stun_is_message (good, len));
  /* one byte changed: class bits up, length, cookie */
  static const struct {
    gsize at;
    guint8 value;
  } changes[] = {{0, 0x40}, {0, 0x80}, {0, 0xc0}, {2, 1}, {3, 0}, {3, 3}, {3, 5}, {3, 8}, {4, 0x20},
      {7, 0x43}};
  for (gsize i = 0; i < G_N_ELEMENTS (changes); i++) {
    memcpy (bad, good, sizeof good);
    bad[changes[i].at] = changes[i].value;
    g_test_message ("change %" G_GSIZE_FORMAT, i);
    g_assert_false (nat_stun_is_message (bad, sizeof good));
    g_assert_cmpint (nat_stun_parse (&msg, bad, sizeof good), ==, NAT_STUN_NOT_STUN);
  }
  /* A length that is not of 4, though it is the datagram's */
  memset (bad, 0, sizeof bad);
  memcpy (bad, good, sizeof good);
  bad[3] = 6;
  g_assert_false (nat_stun_is_message (bad, 26));
}

/* attributes in hex, and what becomes of them */
static const struct {
  const char *what, *hex;
  NatStunStatus status;
} attribute_cases[] = {
    {"none", "", NAT_STUN_OK},
    {"runs over the end", "00060005aaaaaaaa", NAT_STUN_BAD_ATTRIBUTE},
    {"runs far over the end", "0006ffff", NAT_STUN_BAD_ATTRIBUTE},
    {"padding missing", "0006000161", NAT_STUN_NOT_STUN},
    {"padding of any value", "0006000161ffffff", NAT_STUN_OK},
    {"ERROR-CODE of 3", "0009000300000400", NAT_STUN_BAD_ATTRIBUTE},
    {"XOR-MAPPED-ADDRESS of 4", "0020000400010000", NAT_STUN_BAD_ATTRIBUTE},
    {"MESSAGE-INTEGRITY of 4", "0008000400000000", NAT_STUN_BAD_ATTRIBUTE},
    {"MESSAGE-INTEGRITY-SHA256 of 36",
        "001c0024"
        "000000000000000000000000000000000000000000000000000000000000000000000000",
        NAT_STUN_BAD_ATTRIBUTE},
    {"MESSAGE-INTEGRITY-SHA256 of 12", "001c000c000000000000000000000000", NAT_STUN_BAD_ATTRIBUTE},
    {"USE-CANDIDATE of 4", "0025000400000000", NAT_STUN_BAD_ATTRIBUTE},
    {"USERHASH of 4", "001e000400000000", NAT_STUN_BAD_ATTRIBUTE},
    {"FINGERPRINT of 0", "80280000", NAT_STUN_BAD_ATTRIBUTE},
    {"FINGERPRINT wrong", "8028000400000000", NAT_STUN_BAD_FINGERPRINT},
    {"FINGERPRINT not last", "802800040000000080220000", NAT_STUN_BAD_FINGERPRINT},
    {"BOOT-ID of another size: somebody else's", "ce41000400000000", NAT_STUN_OK},
    {"VERSION runs over the end", "ce43000800000000", NAT_STUN_BAD_ATTRIBUTE},
    {"VERSION of another size: somebody else's", "ce4300080000000000000000", NAT_STUN_OK},
};

static void
test_attributes (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (attribute_cases); i++) {
    g_autofree guint8 *copy = NULL;
    NatStunMessage msg;

    g_test_message ("%s", attribute_cases[i].what);
    g_assert_cmpint (
        parse_attributes (&msg, attribute_cases[i].hex, &copy), ==, attribute_cases[i].status);
    g_assert_null (msg.boot_id.data);
    g_assert_null (msg.version.data);
    g_assert_false (msg.has_fingerprint);
  }
}

static void
test_long_username (void)
{
  guint8 buf[1200];
  char name[510];
  NatStunMessage msg;
  NatStunWriter w;

  memset (name, 'n', sizeof name);
  for (gsize len = 507; len <= 509; len++) {
    nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST, id);
    nat_stun_writer_add (&w, NAT_ATTR_USERNAME, name, len);
    g_assert_cmpint (nat_stun_parse (&msg, buf, nat_stun_writer_finish (&w)), ==,
        len <= 508 ? NAT_STUN_OK : NAT_STUN_BAD_ATTRIBUTE);
  }
}

static void
test_first_counts (void)
{
  g_autofree guint8 *copy = NULL;
  NatStunMessage msg;

  g_assert_cmpint (parse_attributes (&msg,
                       "0014000461626364"
                       "0014000465666768",
                       &copy),
      ==, NAT_STUN_OK);
  g_assert_true (nat_stun_slice_equal (&msg.realm, "abcd"));
  g_assert_false (nat_stun_slice_equal (&msg.realm, "abc"));
  g_assert_false (nat_stun_slice_equal (&msg.realm, "abcde"));
  g_assert_false (nat_stun_slice_equal (&msg.nonce, ""));
}

/* Empty is there, absent is not. */
static void
test_empty (void)
{
  g_autofree guint8 *copy = NULL;
  NatStunMessage msg;

  g_assert_cmpint (parse_attributes (&msg, "00140000", &copy), ==, NAT_STUN_OK);
  g_assert_nonnull (msg.realm.data);
  g_assert_true (nat_stun_slice_equal (&msg.realm, ""));
  g_assert_null (msg.username.data);
}

#define SHA1_MAC                                                                                   \
  "00080014"                                                                                       \
  "0000000000000000000000000000000000000000"
#define SHA256_MAC                                                                                 \
  "001c0020"                                                                                       \
  "0000000000000000000000000000000000000000000000000000000000000000"

/* What is not covered is not there: nor the unknown, nor the impossible. */
static void
test_behind_integrity (void)
{
  static const struct {
    const char *hex;
    gboolean sha1, sha256, realm;
  } cases[] = {
      {SHA1_MAC "0014000461626364", TRUE, FALSE, FALSE},
      {SHA256_MAC "0014000461626364", FALSE, TRUE, FALSE},
      {SHA1_MAC SHA256_MAC "0014000461626364", TRUE, TRUE, FALSE},
      {SHA256_MAC SHA1_MAC, FALSE, TRUE, FALSE}, /* weaker behind stronger */
      {SHA256_MAC "00240004000000000025000400000000", FALSE, TRUE, FALSE},
      {"0014000461626364" SHA1_MAC SHA256_MAC, TRUE, TRUE, TRUE},
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree guint8 *copy = NULL;
    NatStunMessage msg;

    g_test_message ("case %" G_GSIZE_FORMAT, i);
    g_assert_cmpint (parse_attributes (&msg, cases[i].hex, &copy), ==, NAT_STUN_OK);
    g_assert_cmpint (msg.integrity.data != NULL, ==, cases[i].sha1);
    g_assert_cmpint (msg.integrity_sha256.data != NULL, ==, cases[i].sha256);
    g_assert_cmpint (msg.realm.data != NULL, ==, cases[i].realm);
    g_assert_cmpuint (msg.n_unknown_required, ==, 0);
    g_assert_false (msg.use_candidate);
  }
}

static void
test_unknown (void)
{
  g_autofree guint8 *copy = NULL, *copy2 = NULL;
  g_autoptr (GString) many = g_string_new (NULL);
  NatStunMessage msg;

  /* PRIORITY twice, an optional one, another required one */
  g_assert_cmpint (parse_attributes (&msg,
                       "0024000400000001"
                       "0024000400000001"
                       "80290000"
                       "7fff0000",
                       &copy),
      ==, NAT_STUN_OK);
  g_assert_cmpuint (msg.n_unknown_required, ==, 2);
  g_assert_cmpuint (msg.unknown_required[0], ==, 0x0024);
  g_assert_cmpuint (msg.unknown_required[1], ==, 0x7fff);
  for (int i = 0; i < 100; i++)
    g_string_append_printf (many, "70%02x0000", i);
  g_assert_cmpint (parse_attributes (&msg, many->str, &copy2), ==, NAT_STUN_OK);
  g_assert_cmpuint (msg.n_unknown_required, ==, G_N_ELEMENTS (msg.unknown_required));
}

static void
test_error_code (void)
{
  static const struct {
    const char *hex;
    guint code;
    gsize reason_len;
  } cases[] = {{"0009000400000401", 401, 0}, {"00090008000004266e6f7065", 438, 4},
      {"00090004fffffc01", 401, 0}, /* reserved bits are not looked at */
      {"0009000400000300", 300, 0}, {"0009000400000663", 699, 0}, {"0009000400000200", 0, 0},
      {"0009000400000700", 0, 0}, {"0009000400000464", 0, 0}, {"", 0, 0}};

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree guint8 *copy = NULL;
    NatStunSlice reason;
    NatStunMessage msg;

    g_test_message ("%s", cases[i].hex);
    g_assert_cmpint (parse_attributes (&msg, cases[i].hex, &copy), ==, NAT_STUN_OK);
    g_assert_cmpuint (nat_stun_error_code (&msg, &reason), ==, cases[i].code);
    g_assert_cmpuint (nat_stun_error_code (&msg, NULL), ==, cases[i].code);
    g_assert_cmpuint (reason.len, ==, cases[i].reason_len);
  }
}

static void
test_mapped_address (void)
{
  static const struct {
    const char *hex;
    const char *address;
  } cases[] = {
      {"002000080001a147e112a643", "192.0.2.1:32853"},
      {"00200008ff01a147e112a643", "192.0.2.1:32853"}, /* the first byte is not looked at */
      {"002000080002a147e112a643", NULL},              /* says IPv6, has 4 bytes */
      {"002000080003a147e112a643", NULL},
      {"002000140001a1470113a9faa5d3f179bc25f4b5bed2b9d9", NULL},
      {"0020000c0001a147e112a64300000000", NULL},
      {"", NULL},
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree guint8 *copy = NULL;
    char text[NAT_ADDRESS_TEXT_MAX];
    NatAddress address;
    NatStunMessage msg;

    g_test_message ("%s", cases[i].hex);
    g_assert_cmpint (parse_attributes (&msg, cases[i].hex, &copy), ==, NAT_STUN_OK);
    g_assert_cmpint (nat_stun_mapped_address (&msg, &address), ==, cases[i].address != NULL);
    g_assert_cmpstr (nat_address_to_text (&address, text), ==,
        cases[i].address != NULL ? cases[i].address : "none");
  }
}

/* ---- Writing ----------------------------------------------------------- */

/* Every kind of attribute once */
static gsize
write_all (NatStunWriter *w, guint8 *buf, gsize cap, const char *address_text)
{
  static const guint8 key[32] = {9};
  NatAddress address;

  g_assert_true (nat_address_from_text (&address, address_text, 0));
  nat_stun_writer_init (w, buf, cap, NAT_STUN_BINDING_SUCCESS, id);
  nat_stun_writer_add_error (w, 438, "Stale Nonce");
  nat_stun_writer_add_mapped_address (w, &address);
  nat_stun_writer_add (w, NAT_ATTR_BOOT_ID, "0123456789abcdef", 16);
  nat_stun_writer_add_u32 (w, NAT_ATTR_VERSION, 0xfedcba98);
  nat_stun_writer_add_text (w, NAT_ATTR_SOFTWARE, "natrelay");
  nat_stun_writer_add_flag (w, NAT_ATTR_USE_CANDIDATE);
  nat_stun_writer_pad_to (w, 300, NAT_STUN_INTEGRITY_SIZE + NAT_STUN_FINGERPRINT_SIZE);
  nat_stun_writer_add_integrity (w, key, sizeof key);
  return nat_stun_writer_finish (w);
}

static void
test_round (void)
{
  static const char *const addresses[] = {"192.0.2.9:1", "[2001:db8::9]:65535"};
  static const guint8 key[32] = {9};

  for (gsize i = 0; i < G_N_ELEMENTS (addresses); i++) {
    guint8 buf[512];
    char text[NAT_ADDRESS_TEXT_MAX];
    NatAddress address;
    NatStunSlice reason;
    NatStunMessage msg;
    NatStunWriter w;
    guint32 version;

    g_assert_cmpuint (write_all (&w, buf, sizeof buf, addresses[i]), ==, 300);
    g_assert_cmpint (nat_stun_parse (&msg, buf, 300), ==, NAT_STUN_OK);
    g_assert_cmpuint (msg.type, ==, NAT_STUN_BINDING_SUCCESS);
    g_assert_cmpuint (nat_stun_error_code (&msg, &reason), ==, 438);
    g_assert_true (nat_stun_slice_equal (&reason, "Stale Nonce"));
    g_assert_true (nat_stun_mapped_address (&msg, &address));
    g_assert_cmpstr (nat_address_to_text (&address, text), ==, addresses[i]);
    g_assert_cmpmem (msg.boot_id.data, msg.boot_id.len, "0123456789abcdef", 16);
    g_assert_true (nat_stun_slice_u32 (&msg.version, &version));
    g_assert_cmphex (version, ==, 0xfedcba98);
    g_assert_false (nat_stun_slice_u32 (&msg.reason, &version));
    g_assert_false (nat_stun_slice_u32 (&msg.boot_id, &version));
    g_assert_true (nat_stun_slice_equal (&msg.software, "natrelay"));
    g_assert_true (msg.use_candidate && msg.has_fingerprint);
    g_assert_cmpuint (msg.n_unknown_required, ==, 0);
    g_assert_true (nat_stun_verify (&msg, key, sizeof key));
  }
}

/* A buffer of every size below: no byte behind it is touched, and the end says so. */
static void
test_overflow (void)
{
  for (gsize cap = 0; cap <= 300; cap++) {
    g_autofree guint8 *buf = g_malloc (cap);
    NatStunWriter w;

    g_assert_cmpuint (write_all (&w, buf, cap, "192.0.2.9:1"), ==, cap == 300 ? 300 : 0);
    g_assert_cmpint (w.overflow, ==, cap < 300);
  }
}

/* 16 bits of length, whatever the buffer holds */
static void
test_too_long (void)
{
  g_autofree guint8 *buf = g_malloc (140000);
  g_autofree guint8 *zero = g_malloc0 (140000);
  NatStunMessage msg;
  NatStunWriter w;
  gsize len;

  nat_stun_writer_init (&w, buf, 140000, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_add (&w, NAT_ATTR_PADDING, zero, 65532 - 4 - 8);
  len = nat_stun_writer_finish (&w);
  g_assert_cmpuint (len, ==, 65552);
  g_assert_cmpint (nat_stun_parse (&msg, buf, len), ==, NAT_STUN_OK);
  nat_stun_writer_init (&w, buf, 140000, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_add (&w, NAT_ATTR_PADDING, zero, 65532 - 4 - 8 + 1);
  g_assert_cmpuint (nat_stun_writer_finish (&w), ==, 0);
  nat_stun_writer_init (&w, buf, 140000, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_add (&w, NAT_ATTR_PADDING, zero, G_MAXSIZE - 2);
  g_assert_cmpuint (nat_stun_writer_finish (&w), ==, 0);
}

static void
test_pad_to (void)
{
  for (gsize total = 0; total < 200; total++) {
    guint8 buf[256];
    NatStunMessage msg;
    NatStunWriter w;
    gsize len;

    nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST, id);
    nat_stun_writer_pad_to (&w, total, NAT_STUN_FINGERPRINT_SIZE);
    len = nat_stun_writer_finish (&w);
    g_assert_cmpint (nat_stun_parse (&msg, buf, len), ==, NAT_STUN_OK);
    g_assert_cmpuint (len, >=, MAX (total, 28));
    g_assert_cmpuint (len, <=, MAX (total + 3, 28));
  }
}

/* ---- Spoilt messages --------------------------------------------------- */

static void
assert_inside (const NatStunMessage *msg, const NatStunSlice *slice)
{
  if (slice->data == NULL) {
    g_assert_cmpuint (slice->len, ==, 0);
    return;
  }
  g_assert_true (slice->data >= msg->bytes + 24);
  g_assert_true (slice->data + slice->len <= msg->bytes + msg->len);
}

/* Uses a datagram in each way that the programs do. TRUE if it parsed. */
static gboolean
use (const guint8 *data, gsize len)
{
  static const guint8 key[32] = {7};
  g_autofree guint8 *copy = NULL;
  NatStunAuthChallenge challenge;
  NatStunMessage msg;
  NatStunSlice reason;
  NatAddress address;
  guint32 value;

  if (parse_copy (&msg, data, len, &copy) != NAT_STUN_OK)
    return FALSE;
  const NatStunSlice *const slices[] = {&msg.username, &msg.realm, &msg.nonce, &msg.software,
      &msg.userhash, &msg.password_algorithm, &msg.password_algorithms, &msg.error_code,
      &msg.xor_mapped_address, &msg.unknown_attributes, &msg.boot_id, &msg.epoch, &msg.version,
      &msg.reason, &msg.integrity, &msg.integrity_sha256};
  for (gsize i = 0; i < G_N_ELEMENTS (slices); i++)
    assert_inside (&msg, slices[i]);
  if (nat_stun_error_code (&msg, &reason) != 0)
    assert_inside (&msg, &reason);
  nat_stun_mapped_address (&msg, &address);
  nat_stun_slice_u32 (&msg.version, &value);
  nat_stun_verify (&msg, key, sizeof key);
  nat_stunauth_inspect (&msg);
  nat_stunauth_challenge (&msg, &challenge);
  return TRUE;
}

static void
collect (GPtrArray *seeds, const char *file, const char *member)
{
  g_autoptr (JsonNode) root = load (file);
  JsonArray *list = json_object_get_array_member (json_node_get_object (root), member);

  for (guint i = 0; i < json_array_get_length (list); i++)
    g_ptr_array_add (seeds,
        unhex (json_object_get_string_member (json_array_get_object_element (list, i), "hex")));
}

static GPtrArray *
all_seeds (void)
{
  GPtrArray *seeds = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);
  guint8 buf[512];
  NatStunWriter w;

  collect (seeds, "fuzz/stun-seeds.json", "inputs");
  collect (seeds, "fuzz/stun-browsers.json", "messages");
  collect (seeds, "stun.json", "vectors");
  g_ptr_array_add (
      seeds, g_bytes_new (buf, write_all (&w, buf, sizeof buf, "[2001:db8::9]:65535")));
  return seeds;
}

static void
test_seeds (void)
{
  g_autoptr (GPtrArray) seeds = all_seeds ();
  guint parsed = 0;

  for (guint i = 0; i < seeds->len; i++)
    parsed += use (g_bytes_get_data (seeds->pdata[i], NULL), g_bytes_get_size (seeds->pdata[i]));
  g_test_message ("%u of %u seeds are messages", parsed, seeds->len);
  g_assert_cmpuint (parsed, >=, 20);
}

/* What FINGERPRINT or the header alone would refuse is put right, so that the spoilt part is
 * reached. */
static gsize
repair (guint8 *data, gsize len, gsize cap)
{
  NatStunWriter w = {.buf = data, .cap = cap, .len = len & ~(gsize)3};

  if (w.len < 20)
    return len;
  data[0] &= 0x3f;
  memcpy (data + 4, "\x21\x12\xa4\x42", 4);
  data[2] = (guint8)((w.len - 20) >> 8);
  data[3] = (guint8)(w.len - 20);
  if (w.len >= 28 && data[w.len - 8] == 0x80 && data[w.len - 7] == 0x28) {
    w.len -= 8;
    return nat_stun_writer_finish (&w);
  }
  return w.len;
}

static void
test_mutations (void)
{
  g_autoptr (GPtrArray) seeds = all_seeds ();
  guint parsed = 0;

  for (int round = 0; round < 60000; round++) {
    GBytes *seed = seeds->pdata[g_test_rand_int_range (0, (gint32)seeds->len)];
    gsize len = g_bytes_get_size (seed);
    guint8 buf[2048];

    if (len == 0 || len > sizeof buf - 16)
      continue;
    memcpy (buf, g_bytes_get_data (seed, NULL), len);
    for (gint32 n = g_test_rand_int_range (1, 6); n > 0; n--) {
      gsize at = (gsize)g_test_rand_int_range (0, (gint32)len);

      switch (g_test_rand_int_range (0, 4)) {
      case 0: buf[at] ^= 1u << g_test_rand_int_range (0, 8); break;
      case 1: buf[at] = (guint8)g_test_rand_int (); break;
      case 2: buf[at] = g_test_rand_bit () ? 0xff : 0; break;
      default: len = at > 0 && g_test_rand_int_range (0, 4) == 0 ? at : len; break;
      }
    }
    if (round % 8 != 0)
      len = repair (buf, len, sizeof buf);
    parsed += use (buf, len);
  }
  g_test_message ("%u of 60000 still were messages", parsed);
  g_assert_cmpuint (parsed, >, 5000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stun/vectors", test_vectors);
  g_test_add_func ("/stun/every-bit", test_every_bit);
  g_test_add_func ("/stun/header", test_header);
  g_test_add_func ("/stun/attributes", test_attributes);
  g_test_add_func ("/stun/long-username", test_long_username);
  g_test_add_func ("/stun/first-counts", test_first_counts);
  g_test_add_func ("/stun/empty", test_empty);
  g_test_add_func ("/stun/behind-integrity", test_behind_integrity);
  g_test_add_func ("/stun/unknown", test_unknown);
  g_test_add_func ("/stun/error-code", test_error_code);
  g_test_add_func ("/stun/mapped-address", test_mapped_address);
  g_test_add_func ("/stun/round", test_round);
  g_test_add_func ("/stun/overflow", test_overflow);
  g_test_add_func ("/stun/too-long", test_too_long);
  g_test_add_func ("/stun/pad-to", test_pad_to);
  g_test_add_func ("/stun/seeds", test_seeds);
  g_test_add_func ("/stun/mutations", test_mutations);
  return g_test_run ();
}
