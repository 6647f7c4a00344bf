/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A passphrase's keys against figures that Python's hashlib made from the header's formulas, then everything about a
 * description that a relay could change. */

#include "natproto/passphrase.h"

#include "natproto/crypto.h"
#include "vectors.h"

#define PASSPHRASE "correct horse battery"
#define SDP_HEAD   "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\n"
#define SDP_MEDIA  "m=audio 9 RTP/AVPF 96\r\na=rtpmap:96 opus/48000/2\r\na=ssrc:7 cname:a\r\n"
#define MAC_LINE   "a=natrelay-passphrase:1 T99__Plf2hNt8p9H8kDWm85W9juAzrYEAIlT-y6--2U\r\n"

static guint8 stretched[NAT_STRETCHED_SIZE]; /* of PASSPHRASE in the room "meeting" */

static void
assert_hex (const guint8 *data, gsize len, const char *hex)
{
  g_autoptr (GByteArray) want = vectors_unhex (hex);

  g_assert_cmpmem (data, len, want->data, want->len);
}

static void
test_room (void)
{
  g_assert_cmpuint (nat_passphrase_room_len ("door"), ==, 4);
  g_assert_cmpuint (nat_passphrase_room_len ("meeting/alice"), ==, 7);
  g_assert_cmpuint (nat_passphrase_room_len ("meeting/*"), ==, 7);
  g_assert_cmpuint (nat_passphrase_room_len ("a/b/c"), ==, 3);
}

static void
test_keys (void)
{
  NatMediaKey key = {.kid = 300, .suite = NAT_SFRAME_AES_128_GCM_SHA256_128}, other;

  assert_hex (stretched, sizeof stretched,
      "0944b33b4d1886c9f81155c95acd07a5792bbcfebed939e9a67890e0939098b9");
  for (guint i = 0; i < sizeof key.key; i++)
    key.key[i] = (guint8)i;
  other = key;
  nat_passphrase_apply (stretched, "meeting/alice", &key);
  assert_hex (
      key.key, sizeof key.key, "b6153c8bfd4309f96f76e880b4bc77f6f6bdd55bd8fdbba48fefabf4d3008d0c");
  g_assert_cmpuint (key.kid, ==, 300);
  nat_passphrase_apply (stretched, "meeting/bob", &other);
  g_assert_cmpint (memcmp (key.key, other.key, sizeof key.key), !=, 0);
}

/* As a publisher offers it, and what a relay hands out of that. */
static NatDescription
offer (guint n_keys)
{
  NatDescription d = {.sdp = g_strdup (SDP_HEAD SDP_MEDIA), .n_media_keys = n_keys};
  char *text;

  for (guint i = 0; i < n_keys; i++) {
    d.media_keys[i].kid = 300 + i;
    d.media_keys[i].suite = NAT_SFRAME_AES_128_GCM_SHA256_128;
    for (guint j = 0; j < NAT_MEDIA_KEY_SIZE; j++)
      d.media_keys[i].key[j] = (guint8)(i * 100 + j);
  }
  text = nat_passphrase_sign (stretched, "meeting/alice", &d);
  g_free (d.sdp);
  d.sdp = text;
  return d;
}

static void
test_round_trip (void)
{
  for (guint n = 0; n <= NAT_MEDIA_KEYS_MAX; n++) {
    NatDescription d = offer (n), sent = offer (n);

    if (n == 1)
      g_assert_cmpstr (d.sdp, ==, SDP_HEAD MAC_LINE SDP_MEDIA);
    g_assert_true (nat_passphrase_needed (&d));
    g_assert_true (nat_passphrase_verify (stretched, "meeting/alice", &d));
    g_assert_cmpstr (d.sdp, ==, SDP_HEAD SDP_MEDIA);
    g_assert_false (nat_passphrase_needed (&d));
    for (guint i = 0; i < n; i++) {
      nat_passphrase_apply (stretched, "meeting/alice", &sent.media_keys[i]);
      g_assert_cmpmem (d.media_keys[i].key, 32, sent.media_keys[i].key, 32);
    }
    nat_description_clear (&d);
    nat_description_clear (&sent);
  }
}

/* What a log may show: all but the line. */
static void
test_hide (void)
{
  NatDescription d = offer (1);
  g_autofree char *shown = nat_passphrase_hide (d.sdp), *again = nat_passphrase_hide (shown);

  g_assert_cmpstr (shown, ==, SDP_HEAD SDP_MEDIA);
  g_assert_cmpstr (again, ==, shown);
  nat_description_clear (&d);
}

/* No m= section yet, and no end of line at the end: the line comes last. */
static void
test_short_sdp (void)
{
  NatDescription d = {.sdp = g_strdup ("v=0\r\n")};
  g_autofree char *plain = d.sdp;

  d.sdp = nat_passphrase_sign (stretched, "door", &d);
  g_assert_true (g_str_has_suffix (d.sdp, "\r\n"));
  g_assert_true (nat_passphrase_verify (stretched, "door", &d));
  g_assert_cmpstr (d.sdp, ==, plain);
  nat_description_clear (&d);
}

static void
assert_refused (NatDescription *d, const char *stream, const char *what)
{
  g_autofree char *sdp = g_strdup (d->sdp);
  NatMediaKey keys[NAT_MEDIA_KEYS_MAX];

  memcpy (keys, d->media_keys, sizeof keys);
  if (nat_passphrase_verify (stretched, stream, d))
    g_error ("a description was taken %s", what);
  g_assert_cmpstr (d->sdp, ==, sdp);
  g_assert_cmpmem (keys, sizeof keys, d->media_keys, sizeof keys);
  nat_description_clear (d);
}

/* Every byte of the SDP, one by one: the line that proves it as well. */
static void
test_changed_text (void)
{
  NatDescription first = offer (2);
  gsize len = strlen (first.sdp);

  for (gsize i = 0; i < len; i++) {
    NatDescription d = offer (2);

    d.sdp[i] ^= 1;
    assert_refused (&d, "meeting/alice", "with a changed byte");
  }
  for (gsize i = 0; i < len; i++) {
    NatDescription d = offer (2);

    d.sdp[i] = '\0';
    assert_refused (&d, "meeting/alice", "that was cut");
  }
  nat_description_clear (&first);
}

static void
test_changed_keys (void)
{
  NatDescription d = offer (2);

  d.media_keys[1].key[31] ^= 0x80;
  assert_refused (&d, "meeting/alice", "with a changed key");
  d = offer (2);
  d.media_keys[0].kid++;
  d.media_keys[0].kid++;
  assert_refused (&d, "meeting/alice", "with a changed KID");
  d = offer (2);
  d.media_keys[0].suite = NAT_SFRAME_AES_256_GCM_SHA512_128;
  assert_refused (&d, "meeting/alice", "with another suite");
  d = offer (2);
  d.n_media_keys = 1;
  assert_refused (&d, "meeting/alice", "without one of its keys");
  d = offer (2);
  d.media_keys[2] = d.media_keys[0];
  d.media_keys[2].kid = 9;
  d.n_media_keys = 3;
  assert_refused (&d, "meeting/alice", "with one more key");
  d = offer (1);
  d.n_media_keys = 0;
  assert_refused (&d, "meeting/alice", "in clear");
}

static void
test_changed_place (void)
{
  NatDescription d = offer (1);
  char *text;

  assert_refused (&d, "meeting/bob", "under another stream's name");
  d = offer (1);
  text = g_strconcat (SDP_HEAD, SDP_MEDIA, MAC_LINE, NULL);
  g_free (d.sdp);
  d.sdp = text;
  g_assert_false (nat_passphrase_needed (&d));
  assert_refused (&d, "meeting/alice", "with its mac in a media section");
  d = offer (1);
  g_free (d.sdp);
  d.sdp = g_strdup (SDP_HEAD MAC_LINE MAC_LINE SDP_MEDIA);
  assert_refused (&d, "meeting/alice", "with two macs");
  d = offer (1);
  g_free (d.sdp);
  d.sdp = g_strdup (SDP_HEAD SDP_MEDIA);
  assert_refused (&d, "meeting/alice", "without a mac");
  d = (NatDescription){0};
  g_assert_false (nat_passphrase_needed (&d));
  assert_refused (&d, "meeting/alice", "that is none");
}

static void
test_wrong_passphrase (void)
{
  guint8 other[NAT_STRETCHED_SIZE];
  NatDescription d = offer (1);

  nat_passphrase_stretch ((const guint8 *)"correct horse batterY", 21, "meeting/alice", other);
  g_assert_false (nat_passphrase_verify (other, "meeting/alice", &d));
  /* Another room's, of the same words. */
  nat_passphrase_stretch ((const guint8 *)PASSPHRASE, 21, "party/alice", other);
  g_assert_false (nat_passphrase_verify (other, "meeting/alice", &d));
  nat_description_clear (&d);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  nat_passphrase_stretch ((const guint8 *)PASSPHRASE, strlen (PASSPHRASE), "meeting/*", stretched);
  g_test_add_func ("/passphrase/room", test_room);
  g_test_add_func ("/passphrase/keys", test_keys);
  g_test_add_func ("/passphrase/round-trip", test_round_trip);
  g_test_add_func ("/passphrase/hide", test_hide);
  g_test_add_func ("/passphrase/short-sdp", test_short_sdp);
  g_test_add_func ("/passphrase/changed-text", test_changed_text);
  g_test_add_func ("/passphrase/changed-keys", test_changed_keys);
  g_test_add_func ("/passphrase/changed-place", test_changed_place);
  g_test_add_func ("/passphrase/wrong-passphrase", test_wrong_passphrase);
  return g_test_run ();
}
