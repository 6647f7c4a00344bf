/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/challenge.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/messages.h"

#define NOW (1000 * G_USEC_PER_SEC)

typedef struct {
  NatChallenge *challenge;
  NatAddress remote, local;
  char nonce[NAT_NONCE_LEN + 1];
  gint64 issued;
} Fixture;

static const guint8 key[32] = "a key that is known to this test";

static void
setup (Fixture *f, gconstpointer data)
{
  f->challenge = nat_challenge_new (key);
  g_assert_true (nat_address_from_text (&f->remote, "192.0.2.1:5000", 0));
  g_assert_true (nat_address_from_text (&f->local, "203.0.113.9:8443", 0));
  nat_challenge_issue (f->challenge, NOW, &f->remote, &f->local, f->nonce);
  f->issued = -1;
}

static void
teardown (Fixture *f, gconstpointer data)
{
  nat_challenge_free (f->challenge);
}

static NatChallengeStatus
check_at (Fixture *f, gint64 now)
{
  return nat_challenge_check (f->challenge, now, &f->remote, &f->local, (const guint8 *)f->nonce,
      strlen (f->nonce), &f->issued);
}

/* The format, spelled out: other relays of a cluster and later versions must agree. */
static void
test_format (Fixture *f, gconstpointer data)
{
  guint8 input[8 + 2 * 20] = {0}, mac[32], body[24], want[24] = {0};

  g_assert_cmpuint (strlen (f->nonce), ==, NAT_NONCE_LEN);
  g_assert_true (g_str_has_prefix (f->nonce, "obMatJos2gAAA"));
  g_assert_cmpint (nat_base64url_decode (f->nonce + 13, 32, body, sizeof body), ==, 24);
  for (int i = 0; i < 8; i++)
    input[i] = want[i] = (guint8)((guint64)NOW >> (56 - 8 * i));
  memcpy (input + 8, "\xc0\x00\x02\x01", 4);
  memcpy (input + 8 + 16, "\x13\x88\x04\x00", 4);
  memcpy (input + 28, "\xcb\x00\x71\x09", 4);
  memcpy (input + 28 + 16, "\x20\xfb\x04\x00", 4);
  nat_crypto_hmac (key, sizeof key, input, sizeof input, mac);
  memcpy (want + 8, mac, 16);
  g_assert_cmpmem (body, sizeof body, want, sizeof want);
}

static void
test_age (Fixture *f, gconstpointer data)
{
  g_assert_cmpint (check_at (f, NOW), ==, NAT_CHALLENGE_GOOD);
  g_assert_cmpint (f->issued, ==, NOW);
  g_assert_cmpint (check_at (f, NOW + NAT_NONCE_LIFETIME_US), ==, NAT_CHALLENGE_GOOD);
  f->issued = -1;
  g_assert_cmpint (check_at (f, NOW + NAT_NONCE_LIFETIME_US + 1), ==, NAT_CHALLENGE_STALE);
  g_assert_cmpint (f->issued, ==, NOW);
}

/* Another relay's clock may be behind: genuine, but of the future. */
static void
test_future (Fixture *f, gconstpointer data)
{
  g_autoptr (NatChallenge) other = nat_challenge_new (key);
  gint64 issued = -1;

  g_assert_cmpint (nat_challenge_check (other, NOW - 1, &f->remote, &f->local,
                       (const guint8 *)f->nonce, NAT_NONCE_LEN, &issued),
      ==, NAT_CHALLENGE_STALE);
  g_assert_cmpint (issued, ==, NOW);
  g_assert_cmpint (nat_challenge_check (other, NOW, &f->remote, &f->local, (const guint8 *)f->nonce,
                       NAT_NONCE_LEN, &issued),
      ==, NAT_CHALLENGE_GOOD);
}

static void
test_other_path (Fixture *f, gconstpointer data)
{
  NatAddress *ends[] = {&f->remote, &f->local};

  for (gsize i = 0; i < G_N_ELEMENTS (ends); i++) {
    NatAddress kept = *ends[i];

    ends[i]->port++;
    g_assert_cmpint (check_at (f, NOW), ==, NAT_CHALLENGE_FOREIGN);
    *ends[i] = kept;
    ends[i]->ip[3]++;
    g_assert_cmpint (check_at (f, NOW), ==, NAT_CHALLENGE_FOREIGN);
    *ends[i] = kept;
    ends[i]->family = 6;
    g_assert_cmpint (check_at (f, NOW), ==, NAT_CHALLENGE_FOREIGN);
    *ends[i] = kept;
    ends[i]->transport = NAT_TRANSPORT_WEBSOCKET;
    g_assert_cmpint (check_at (f, NOW), ==, NAT_CHALLENGE_FOREIGN);
    *ends[i] = kept;
  }
  g_assert_cmpint (f->issued, ==, -1);
  g_assert_cmpint (check_at (f, NOW), ==, NAT_CHALLENGE_GOOD);
}

static void
test_other_key (Fixture *f, gconstpointer data)
{
  static const guint8 new_key[32] = "the key of the relay's new start";
  g_autoptr (NatChallenge) restarted = nat_challenge_new (new_key);
  gint64 issued;

  g_assert_cmpint (nat_challenge_check (restarted, NOW, &f->remote, &f->local,
                       (const guint8 *)f->nonce, NAT_NONCE_LEN, &issued),
      ==, NAT_CHALLENGE_FOREIGN);
}

/* Every other byte at every place, and every other length */
static void
test_changed (Fixture *f, gconstpointer data)
{
  guint8 longer[NAT_NONCE_LEN + 4];

  for (gsize i = 0; i < NAT_NONCE_LEN; i++) {
    char kept = f->nonce[i];

    for (int c = 1; c < 256; c++) {
      f->nonce[i] = (char)c;
      g_assert_cmpint (
          check_at (f, NOW), ==, f->nonce[i] == kept ? NAT_CHALLENGE_GOOD : NAT_CHALLENGE_FOREIGN);
    }
    f->nonce[i] = kept;
  }
  memset (longer, 'A', sizeof longer);
  memcpy (longer, f->nonce, NAT_NONCE_LEN);
  for (gsize len = 0; len <= sizeof longer; len++)
    g_assert_cmpint (
        nat_challenge_check (f->challenge, NOW, &f->remote, &f->local, longer, len, &f->issued), ==,
        len == NAT_NONCE_LEN ? NAT_CHALLENGE_GOOD : NAT_CHALLENGE_FOREIGN);
}

/* In one microsecond, and with a clock that goes back: each nonce is later than the last. */
static void
test_never_equal (Fixture *f, gconstpointer data)
{
  gint64 last = NOW;

  for (int i = 0; i < 1000; i++) {
    nat_challenge_issue (f->challenge, NOW - i % 3, &f->remote, &f->local, f->nonce);
    g_assert_cmpint (check_at (f, NOW), ==, NAT_CHALLENGE_GOOD);
    g_assert_cmpint (f->issued, ==, last + 1);
    last = f->issued;
  }
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*func) (Fixture *f, gconstpointer data);
  } tests[] = {{"/challenge/format", test_format}, {"/challenge/age", test_age},
      {"/challenge/future", test_future}, {"/challenge/other-path", test_other_path},
      {"/challenge/other-key", test_other_key}, {"/challenge/changed", test_changed},
      {"/challenge/never-equal", test_never_equal}};

  g_test_init (&argc, &argv, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].name, Fixture, NULL, setup, tests[i].func, teardown);
  return g_test_run ();
}
