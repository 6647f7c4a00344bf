/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The challenge as a dialogue: what the relay asks, what the client answers, and each way in
 * which somebody on the way, or a program of another kind, may spoil it. */

#include "natproto/stunauth.h"

#include <string.h>

#define NONCE "obMatJos2gAAAexampleNonceexampleNonceexample"

static const guint8 id[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
static const guint8 sha256[4] = {0, 2, 0, 0}, md5[4] = {0, 1, 0, 0};
static const guint8 both[8] = {0, 1, 0, 0, 0, 2, 0, 0};

/* ---- The key ----------------------------------------------------------- */

static void
test_key (void)
{
  /* sha256sum of "sess-0123456789abcdef:natrelay:7yq0Vt6r1mZ2c9sQ4w8uKA" */
  static const guint8 want[4] = {0x4c, 0xe2, 0xa3, 0xeb};
  static const gsize lengths[] = {0, 1, 508, 1010, 1011, 1012, 2000};
  guint8 key[NAT_STUN_KEY_SIZE];

  nat_stun_key ("sess-0123456789abcdef+more", 21, "natrelay", "7yq0Vt6r1mZ2c9sQ4w8uKA", key);
  g_assert_cmpmem (key, 4, want, 4);
  /* Around the size that is done without allocation, and the longest that STUN can carry */
  for (gsize i = 0; i < G_N_ELEMENTS (lengths); i++) {
    g_autofree char *user = g_strnfill (lengths[i], 'u');
    g_autofree char *text = g_strdup_printf ("%s:natrelay:pass", user);
    g_autoptr (GChecksum) twin = g_checksum_new (G_CHECKSUM_SHA256);
    guint8 digest[NAT_STUN_KEY_SIZE];
    gsize digest_len = sizeof digest;

    g_checksum_update (twin, (const guchar *)text, -1);
    g_checksum_get_digest (twin, digest, &digest_len);
    nat_stun_key (user, lengths[i], "natrelay", "pass", key);
    g_assert_cmpmem (key, sizeof key, digest, digest_len);
  }
}

/* ---- The dialogue ------------------------------------------------------ */

static gsize
write_challenge (guint8 *buf, gsize cap, guint code, const char *nonce)
{
  NatStunWriter w;

  nat_stun_writer_init (&w, buf, cap, NAT_STUN_BINDING_ERROR, id);
  nat_stun_writer_add_error (&w, code, "");
  nat_stunauth_add_challenge (&w, nonce);
  return nat_stun_writer_finish (&w);
}

static void
test_dialogue (void)
{
  guint8 ask[256], answer[512], key[NAT_STUN_KEY_SIZE];
  NatStunMessage msg;
  NatStunAuthChallenge challenge;
  NatStunWriter w;
  gsize len;

  nat_stun_key ("a-ticket", 8, NAT_REALM, "a-password", key);
  for (int stale = 0; stale < 2; stale++) {
    len = write_challenge (ask, sizeof ask, stale ? 438 : 401, NONCE);
    g_assert_cmpint (nat_stun_parse (&msg, ask, len), ==, NAT_STUN_OK);
    g_assert_true (nat_stunauth_challenge (&msg, &challenge));
    g_assert_true (nat_stun_slice_equal (&challenge.realm, NAT_REALM));
    g_assert_true (nat_stun_slice_equal (&challenge.nonce, NONCE));

    nat_stun_writer_init (&w, answer, sizeof answer, NAT_STUN_BINDING_REQUEST, id);
    nat_stunauth_add_answer (&w, "a-ticket", &challenge);
    nat_stun_writer_add (&w, NAT_ATTR_EPOCH, "0123456789abcdef", 16);
    nat_stun_writer_add_integrity (&w, key, sizeof key);
    len = nat_stun_writer_finish (&w);
    g_assert_cmpint (nat_stun_parse (&msg, answer, len), ==, NAT_STUN_OK);
    g_assert_cmpint (nat_stunauth_inspect (&msg), ==, NAT_STUNAUTH_COMPLETE);
    g_assert_true (nat_stun_verify (&msg, key, sizeof key));
    g_assert_true (nat_stun_slice_equal (&msg.username, "a-ticket"));
    g_assert_true (nat_stun_slice_equal (&msg.nonce, NONCE));
    key[0] ^= 1;
    g_assert_false (nat_stun_verify (&msg, key, sizeof key));
    key[0] ^= 1;
  }
}

/* ---- The relay inspects ------------------------------------------------ */

typedef struct {
  const char *what;
  const char *username, *realm, *nonce;
  const guint8 *algorithms;
  gsize algorithms_len;
  const guint8 *algorithm;
  gsize sha1_len, sha256_len;
  NatStunAuthStatus status;
} Request;

static const Request requests[] = {
    {"plain", NULL, NULL, NULL, NULL, 0, NULL, 0, 0, NAT_STUNAUTH_NONE},
    {"all but integrity", "u", NAT_REALM, NONCE, sha256, 4, sha256, 0, 0, NAT_STUNAUTH_NONE},
    {"complete", "u", NAT_REALM, NONCE, sha256, 4, sha256, 0, 32, NAT_STUNAUTH_COMPLETE},
    {"both kinds of integrity", "u", NAT_REALM, NONCE, sha256, 4, sha256, 20, 32,
        NAT_STUNAUTH_COMPLETE},
    {"old integrity alone", "u", NAT_REALM, NONCE, sha256, 4, sha256, 20, 0,
        NAT_STUNAUTH_INCOMPLETE},
    {"integrity cut to 28", "u", NAT_REALM, NONCE, sha256, 4, sha256, 0, 28,
        NAT_STUNAUTH_INCOMPLETE},
    {"integrity cut to 16", "u", NAT_REALM, NONCE, sha256, 4, sha256, 0, 16,
        NAT_STUNAUTH_INCOMPLETE},
    {"integrity alone", NULL, NULL, NULL, NULL, 0, NULL, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"no username", NULL, NAT_REALM, NONCE, sha256, 4, sha256, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"empty username", "", NAT_REALM, NONCE, sha256, 4, sha256, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"no realm", "u", NULL, NONCE, sha256, 4, sha256, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"another realm", "u", "example.org", NONCE, sha256, 4, sha256, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"no nonce", "u", NAT_REALM, NULL, sha256, 4, sha256, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"no list", "u", NAT_REALM, NONCE, NULL, 0, sha256, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"another list", "u", NAT_REALM, NONCE, both, 8, sha256, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"weaker list", "u", NAT_REALM, NONCE, md5, 4, md5, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"no choice", "u", NAT_REALM, NONCE, sha256, 4, NULL, 0, 32, NAT_STUNAUTH_INCOMPLETE},
    {"weaker choice", "u", NAT_REALM, NONCE, sha256, 4, md5, 0, 32, NAT_STUNAUTH_INCOMPLETE},
};

static gsize
write_request (guint8 *buf, gsize cap, const Request *r)
{
  static const guint8 zero[32];
  NatStunWriter w;

  nat_stun_writer_init (&w, buf, cap, NAT_STUN_BINDING_REQUEST, id);
  if (r->username != NULL)
    nat_stun_writer_add_text (&w, NAT_ATTR_USERNAME, r->username);
  if (r->realm != NULL)
    nat_stun_writer_add_text (&w, NAT_ATTR_REALM, r->realm);
  if (r->nonce != NULL)
    nat_stun_writer_add_text (&w, NAT_ATTR_NONCE, r->nonce);
  if (r->algorithms != NULL)
    nat_stun_writer_add (&w, NAT_ATTR_PASSWORD_ALGORITHMS, r->algorithms, r->algorithms_len);
  if (r->algorithm != NULL)
    nat_stun_writer_add (&w, NAT_ATTR_PASSWORD_ALGORITHM, r->algorithm, 4);
  if (r->sha1_len > 0)
    nat_stun_writer_add (&w, NAT_ATTR_MESSAGE_INTEGRITY, zero, r->sha1_len);
  if (r->sha256_len > 0)
    nat_stun_writer_add (&w, NAT_ATTR_MESSAGE_INTEGRITY_SHA256, zero, r->sha256_len);
  return nat_stun_writer_finish (&w);
}

static void
test_inspect (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (requests); i++) {
    guint8 buf[512];
    NatStunMessage msg;
    gsize len = write_request (buf, sizeof buf, &requests[i]);

    g_test_message ("%s", requests[i].what);
    g_assert_cmpint (nat_stun_parse (&msg, buf, len), ==, NAT_STUN_OK);
    g_assert_cmpint (nat_stunauth_inspect (&msg), ==, requests[i].status);
  }
}

/* The first n bytes of the right integrity: RFC 8489 lets a server take 16, we do not. */
static void
test_truncated (void)
{
  static const guint8 key[32] = {5};
  guint8 buf[128], mac[32];
  NatStunMessage msg;
  NatStunWriter w;

  for (gsize n = 16; n <= 32; n += 4) {
    /* The right sum depends on the length in the header, so n is tried against its own. */
    nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST, id);
    nat_stun_writer_add_integrity (&w, key, sizeof key);
    memcpy (mac, buf + w.len - 32, 32);
    nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST, id);
    nat_stun_writer_add (&w, NAT_ATTR_MESSAGE_INTEGRITY_SHA256, mac, n);
    g_assert_cmpint (nat_stun_parse (&msg, buf, w.len), ==, NAT_STUN_OK);
    g_assert_cmpint (nat_stun_verify (&msg, key, sizeof key), ==, n == 32);
  }
}

/* A message longer than any datagram we take has no integrity to us; nothing is overrun. */
static void
test_huge (void)
{
  static const guint8 key[32] = {5};
  g_autofree guint8 *buf = g_malloc (8192);
  static const guint8 padding[4096];
  NatStunMessage msg;
  NatStunWriter w;

  for (gsize n = 1900; n < 2200; n += 4) {
    nat_stun_writer_init (&w, buf, 8192, NAT_STUN_BINDING_REQUEST, id);
    nat_stun_writer_add (&w, NAT_ATTR_PADDING, padding, n);
    nat_stun_writer_add_integrity (&w, key, sizeof key);
    g_assert_cmpint (nat_stun_parse (&msg, buf, w.len), ==, NAT_STUN_OK);
    g_assert_cmpint (nat_stun_verify (&msg, key, sizeof key), ==,
        w.len - NAT_STUN_INTEGRITY_SIZE <= NAT_DATAGRAM_MAX);
  }
}

/* ---- The client listens ------------------------------------------------ */

static const struct {
  const char *what;
  guint16 type;
  guint code;
  const char *nonce;
  const guint8 *algorithms;
  gsize algorithms_len;
  gboolean good;
} challenges[] = {
    {"ours", 0x0111, 401, NONCE, sha256, 4, TRUE},
    {"stale", 0x0111, 438, NONCE, sha256, 4, TRUE},
    {"a list with SHA-256 second", 0x0111, 401, NONCE, both, 8, TRUE},
    {"further feature bits", 0x0111, 401, "obMatJos2wAAAx", sha256, 4, TRUE},
    {"all feature bits", 0x0111, 401, "obMatJos2////x", sha256, 4, TRUE},
    {"another error", 0x0111, 400, NONCE, sha256, 4, FALSE},
    {"403", 0x0111, 403, NONCE, sha256, 4, FALSE},
    {"not an error", 0x0101, 401, NONCE, sha256, 4, FALSE},
    {"a request", 0x0001, 401, NONCE, sha256, 4, FALSE},
    {"no list: bid down", 0x0111, 401, NONCE, NULL, 0, FALSE},
    {"MD5 alone: bid down", 0x0111, 401, NONCE, md5, 4, FALSE},
    {"bit 0 off: bid down", 0x0111, 401, "obMatJos2AAAAexample", sha256, 4, FALSE},
    {"bit 1 alone", 0x0111, 401, "obMatJos2QAAAexample", sha256, 4, FALSE},
    {"bits counted from the right", 0x0111, 401, "obMatJos2AAABexample", sha256, 4, FALSE},
    {"no cookie", 0x0111, 401, "exampleNonceexampleNonce", sha256, 4, FALSE},
    {"cookie cut", 0x0111, 401, "obMatJos2gAA", sha256, 4, FALSE},
    {"cookie alone", 0x0111, 401, "obMatJos2", sha256, 4, FALSE},
    {"no base64", 0x0111, 401, "obMatJos2 AAAx", sha256, 4, FALSE},
    {"empty nonce", 0x0111, 401, "", sha256, 4, FALSE},
    {"no nonce", 0x0111, 401, NULL, sha256, 4, FALSE},
};

static void
test_challenge (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (challenges); i++) {
    guint8 buf[512];
    NatStunMessage msg;
    NatStunAuthChallenge out;
    NatStunWriter w;

    g_test_message ("%s", challenges[i].what);
    nat_stun_writer_init (&w, buf, sizeof buf, challenges[i].type, id);
    nat_stun_writer_add_error (&w, challenges[i].code, "because");
    nat_stun_writer_add_text (&w, NAT_ATTR_REALM, NAT_REALM);
    if (challenges[i].nonce != NULL)
      nat_stun_writer_add_text (&w, NAT_ATTR_NONCE, challenges[i].nonce);
    if (challenges[i].algorithms != NULL)
      nat_stun_writer_add (
          &w, NAT_ATTR_PASSWORD_ALGORITHMS, challenges[i].algorithms, challenges[i].algorithms_len);
    g_assert_cmpint (nat_stun_parse (&msg, buf, nat_stun_writer_finish (&w)), ==, NAT_STUN_OK);
    g_assert_cmpint (nat_stunauth_challenge (&msg, &out), ==, challenges[i].good);
    g_assert_cmpint (out.nonce.data != NULL, ==, challenges[i].good);
  }
}

/* Lists with parameters: their lengths are data of a stranger. */
static void
test_lists (void)
{
  static const struct {
    guint8 bytes[16];
    gsize len;
    gboolean good;
  } lists[] = {
      {{0, 9, 0, 3, 1, 2, 3, 0, 0, 2, 0, 0}, 12, TRUE},  /* padded parameters before */
      {{0, 9, 0, 3, 1, 2, 3, 0, 0, 2, 0, 0}, 10, FALSE}, /* cut within ours */
      {{0, 9, 0xff, 0xff, 0, 2, 0, 0}, 8, FALSE},        /* runs over */
      {{0, 9, 0, 4, 0, 2, 0, 0}, 8, FALSE},              /* ours as a parameter */
      {{0, 2, 0, 4, 1, 2, 3, 4}, 8, FALSE},              /* SHA-256 with parameters */
      {{0, 9, 0, 0, 0, 2}, 6, FALSE},
  };

  for (gsize i = 0; i < G_N_ELEMENTS (lists); i++) {
    guint8 buf[512];
    NatStunMessage msg;
    NatStunAuthChallenge out;
    NatStunWriter w;
    gsize len;

    g_test_message ("case %" G_GSIZE_FORMAT, i);
    nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_ERROR, id);
    nat_stun_writer_add_error (&w, 401, "");
    nat_stun_writer_add_text (&w, NAT_ATTR_REALM, NAT_REALM);
    nat_stun_writer_add_text (&w, NAT_ATTR_NONCE, NONCE);
    nat_stun_writer_add (&w, NAT_ATTR_PASSWORD_ALGORITHMS, lists[i].bytes, lists[i].len);
    len = nat_stun_writer_finish (&w);
    g_assert_cmpint (nat_stun_parse (&msg, buf, len), ==, NAT_STUN_OK);
    g_assert_cmpint (nat_stunauth_challenge (&msg, &out), ==, lists[i].good);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/stunauth/key", test_key);
  g_test_add_func ("/stunauth/dialogue", test_dialogue);
  g_test_add_func ("/stunauth/inspect", test_inspect);
  g_test_add_func ("/stunauth/truncated", test_truncated);
  g_test_add_func ("/stunauth/huge", test_huge);
  g_test_add_func ("/stunauth/challenge", test_challenge);
  g_test_add_func ("/stunauth/lists", test_lists);
  return g_test_run ();
}
