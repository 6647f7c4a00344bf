/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/ticket.h"

#include <string.h>

#include "natproto/crypto.h"

#define NOW G_GINT64_CONSTANT (1790000000) /* Unix time of these tests */

typedef struct {
  NatSecrets *secrets;
  NatTicket ticket;
  guint8 iv[12];
  char text[NAT_TICKET_TEXT_MAX + 1];
  gsize len;
} Fixture;

static void
add_secret (NatSecrets *s, guint32 number, char fill)
{
  guint8 secret[32];

  memset (secret, fill, sizeof secret);
  nat_secrets_add (s, number, secret);
}

static void
setup (Fixture *f, gconstpointer data)
{
  f->secrets = nat_secrets_new ();
  add_secret (f->secrets, 1, 'a');
  add_secret (f->secrets, 3, 'c');
  add_secret (f->secrets, 2, 'b');
  memset (f->ticket.session_id, 0x5a, NAT_SESSION_ID_SIZE);
  f->ticket.role = NAT_ROLE_PUBLISHER;
  f->ticket.password_secret = 2;
  f->ticket.expires_s = NOW + NAT_TICKET_LIFETIME_S;
  f->ticket.token_expires_s = G_MAXINT64;
  f->ticket.max_kbps = 0xdeadbeef;
  f->ticket.max_packets = 0xfeedface;
  f->ticket.takeover = 1;
  nat_voucher_make (&f->ticket.voucher, NAT_VOUCHER_STATIC, "x", 1);
  strcpy (f->ticket.subject, "camera-7");
  strcpy (f->ticket.stream, "house/door");
  memset (f->iv, 7, sizeof f->iv);
  f->len = nat_ticket_seal (f->secrets, &f->ticket, f->iv, f->text);
}

static void
teardown (Fixture *f, gconstpointer data)
{
  nat_secrets_free (f->secrets);
}

static void
assert_same (const NatTicket *a, const NatTicket *b)
{
  g_assert_cmpmem (a->session_id, NAT_SESSION_ID_SIZE, b->session_id, NAT_SESSION_ID_SIZE);
  g_assert_cmpint (a->role, ==, b->role);
  g_assert_cmpuint (a->password_secret, ==, b->password_secret);
  g_assert_cmpint (a->expires_s, ==, b->expires_s);
  g_assert_cmpint (a->token_expires_s, ==, b->token_expires_s);
  g_assert_cmpuint (a->max_kbps, ==, b->max_kbps);
  g_assert_cmpuint (a->max_packets, ==, b->max_packets);
  g_assert_cmpuint (a->takeover, ==, b->takeover);
  g_assert_true (nat_voucher_equal (&a->voucher, &b->voucher));
  g_assert_cmpstr (a->subject, ==, b->subject);
  g_assert_cmpstr (a->stream, ==, b->stream);
}

static void
test_round (Fixture *f, gconstpointer data)
{
  NatTicket back;

  g_assert_cmpuint (f->len, ==, strlen (f->text));
  g_assert_cmpint (nat_ticket_open (f->secrets, f->text, f->len, NOW, &back), ==, NAT_TICKET_GOOD);
  assert_same (&back, &f->ticket);
  /* The number of the secret that sealed it stands in front: the highest, 3. */
  g_assert_cmpuint (nat_secrets_current (f->secrets), ==, 3);
  g_assert_true (g_str_has_prefix (f->text, "AAAAAw"));
  /* Neither stream nor subject can be read. */
  g_assert_null (strstr (f->text, "door"));
}

static void
test_largest (Fixture *f, gconstpointer data)
{
  NatTicket back;

  memset (f->ticket.subject, 's', sizeof f->ticket.subject - 1);
  memset (f->ticket.stream, 't', sizeof f->ticket.stream - 1);
  f->ticket.role = NAT_ROLE_SUBSCRIBER;
  f->ticket.token_expires_s = f->ticket.expires_s;
  f->len = nat_ticket_seal (f->secrets, &f->ticket, f->iv, f->text);
  g_test_message ("the largest ticket has %" G_GSIZE_FORMAT " bytes", f->len);
  g_assert_cmpuint (f->len, <=, NAT_TICKET_TEXT_MAX);
  g_assert_cmpint (nat_ticket_open (f->secrets, f->text, f->len, NOW, &back), ==, NAT_TICKET_GOOD);
  assert_same (&back, &f->ticket);
}

static void
test_smallest (Fixture *f, gconstpointer data)
{
  NatTicket back;

  memset (&f->ticket, 0, sizeof f->ticket);
  f->ticket.role = NAT_ROLE_SUBSCRIBER;
  f->ticket.expires_s = NOW + 1;
  f->ticket.token_expires_s = NOW + 1;
  f->len = nat_ticket_seal (f->secrets, &f->ticket, f->iv, f->text);
  g_assert_cmpint (nat_ticket_open (f->secrets, f->text, f->len, NOW, &back), ==, NAT_TICKET_GOOD);
  assert_same (&back, &f->ticket);
}

static void
test_expiry (Fixture *f, gconstpointer data)
{
  NatTicket back;

  g_assert_cmpint (nat_ticket_open (f->secrets, f->text, f->len, f->ticket.expires_s - 1, &back),
      ==, NAT_TICKET_GOOD);
  memset (&back, 0, sizeof back);
  g_assert_cmpint (nat_ticket_open (f->secrets, f->text, f->len, f->ticket.expires_s, &back), ==,
      NAT_TICKET_EXPIRED);
  assert_same (&back, &f->ticket);
  /* A ticket never outlives its permission. */
  f->ticket.token_expires_s = NOW + 10;
  f->len = nat_ticket_seal (f->secrets, &f->ticket, f->iv, f->text);
  g_assert_cmpint (
      nat_ticket_open (f->secrets, f->text, f->len, NOW + 9, &back), ==, NAT_TICKET_GOOD);
  g_assert_cmpint (back.expires_s, ==, NOW + 10);
  g_assert_cmpint (
      nat_ticket_open (f->secrets, f->text, f->len, NOW + 10, &back), ==, NAT_TICKET_EXPIRED);
}

static void
test_changed (Fixture *f, gconstpointer data)
{
  NatTicket back;

  for (gsize i = 0; i < f->len; i++) {
    char kept = f->text[i];

    for (int bit = 0; bit < 8; bit++) {
      f->text[i] = (char)(kept ^ 1 << bit);
      g_assert_cmpint (
          nat_ticket_open (f->secrets, f->text, f->len, NOW, &back), ==, NAT_TICKET_FOREIGN);
    }
    f->text[i] = kept;
  }
  for (gsize len = 0; len < f->len; len++)
    g_assert_cmpint (
        nat_ticket_open (f->secrets, f->text, len, NOW, &back), ==, NAT_TICKET_FOREIGN);
}

/* Longer than any ticket: what a stranger may send in USERNAME */
static void
test_long (Fixture *f, gconstpointer data)
{
  g_autofree char *text = g_strnfill (5000, 'A');
  NatTicket back;

  for (gsize len = 0; len <= 5000; len++)
    g_assert_cmpint (nat_ticket_open (f->secrets, text, len, NOW, &back), ==, NAT_TICKET_FOREIGN);
}

static void
test_secrets (Fixture *f, gconstpointer data)
{
  g_autoptr (NatSecrets) other = nat_secrets_new ();
  NatTicket back;

  /* none; the wrong ones; the right one under another number; the right one */
  g_assert_cmpuint (nat_secrets_current (other), ==, 0);
  g_assert_cmpint (nat_ticket_open (other, f->text, f->len, NOW, &back), ==, NAT_TICKET_FOREIGN);
  add_secret (other, 3, 'x');
  add_secret (other, 4, 'c');
  g_assert_cmpint (nat_ticket_open (other, f->text, f->len, NOW, &back), ==, NAT_TICKET_FOREIGN);
  add_secret (other, 3, 'c');
  g_assert_cmpint (nat_ticket_open (other, f->text, f->len, NOW, &back), ==, NAT_TICKET_GOOD);
  assert_same (&back, &f->ticket);
}

/* The derivations, spelled out with HKDF alone: a cluster's relays must agree on them. */
static void
test_derivation (Fixture *f, gconstpointer data)
{
  guint8 secret[32], bytes[32], info[20 + 16], sealed[400], plain[400], ticket_key[32];
  char password[NAT_PASSWORD_TEXT + 1], want[NAT_PASSWORD_TEXT + 1];
  g_autoptr (NatAead) aead = NULL;
  gssize n;

  memset (secret, 'b', sizeof secret);
  memcpy (info, "natrelay password v1", 20);
  memset (info + 20, 0x5a, 16);
  nat_crypto_hkdf (secret, 32, NULL, 0, info, sizeof info, bytes, sizeof bytes);
  nat_base64url_encode (bytes, sizeof bytes, want);
  g_assert_true (nat_ticket_password (f->secrets, 2, f->ticket.session_id, password));
  g_assert_cmpstr (password, ==, want);
  g_assert_true (nat_ticket_password (f->secrets, 3, f->ticket.session_id, password));
  g_assert_cmpstr (password, !=, want);
  g_assert_false (nat_ticket_password (f->secrets, 9, f->ticket.session_id, password));

  memset (secret, 'c', sizeof secret);
  nat_crypto_hkdf (secret, 32, NULL, 0, "natrelay ticket v1", 18, ticket_key, 32);
  aead = nat_aead_new (ticket_key, 32);
  n = nat_base64url_decode (f->text, f->len, sealed, sizeof sealed);
  g_assert_cmpint (n, >, 32);
  g_assert_cmpmem (sealed + 4, 12, f->iv, 12);
  g_assert_true (nat_aead_open (aead, sealed + 4, sealed, 4, sealed + 16, (gsize)n - 16, plain));
  g_assert_cmpuint (plain[0], ==, 2);
  g_assert_cmpmem (plain + 1, 16, f->ticket.session_id, 16);
}

/* Genuine seals around bytes that our packer would not write: another version's, or a fault. */
static void
test_odd_plaintext (Fixture *f, gconstpointer data)
{
  guint8 secret[32], ticket_key[32], sealed[400], plain[400] = {0};
  g_autoptr (NatAead) aead = NULL;
  gsize len = (gsize)nat_base64url_decode (f->text, f->len, sealed, sizeof sealed) - 32;
  NatTicket back;

  memset (secret, 'c', sizeof secret);
  nat_crypto_hkdf (secret, 32, NULL, 0, "natrelay ticket v1", 18, ticket_key, 32);
  aead = nat_aead_new (ticket_key, 32);
  g_assert_true (nat_aead_open (aead, sealed + 4, sealed, 4, sealed + 16, len + 16, plain));
  /* format; role; subject's length; a zero within the stream's name */
  static const struct {
    gsize at;
    guint8 value;
  } cases[] = {{0, 1}, {0, 3}, {17, 0}, {17, 3}, {63, 0}, {63, 255}, {63, 65}, {73, 0}};
  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    guint8 kept = plain[cases[i].at];

    g_test_message ("case %" G_GSIZE_FORMAT, i);
    plain[cases[i].at] = cases[i].value;
    g_assert_true (nat_aead_seal (aead, sealed + 4, sealed, 4, plain, len, sealed + 16));
    nat_base64url_encode (sealed, len + 32, f->text);
    g_assert_cmpint (
        nat_ticket_open (f->secrets, f->text, f->len, NOW, &back), ==, NAT_TICKET_FOREIGN);
    plain[cases[i].at] = kept;
  }
  /* Every length, short and long, of genuine bytes */
  for (gsize cut = 0; cut < sizeof plain - 40; cut++) {
    char text[600];
    gsize n;

    g_assert_true (nat_aead_seal (aead, sealed + 4, sealed, 4, plain, cut, sealed + 16));
    n = nat_base64url_encode (sealed, cut + 32, text);
    g_assert_cmpint (nat_ticket_open (f->secrets, text, n, NOW, &back), ==,
        cut == len ? NAT_TICKET_GOOD : NAT_TICKET_FOREIGN);
  }
}

static void
test_session_id (void)
{
  guint8 id[16], back[16];
  char text[NAT_SESSION_ID_TEXT + 1];

  for (int i = 0; i < 16; i++)
    id[i] = (guint8)(i * 17);
  nat_session_id_to_text (id, text);
  g_assert_cmpstr (text, ==, "ABEiM0RVZneImaq7zN3u_w");
  g_assert_true (nat_session_id_from_text (text, -1, back));
  g_assert_cmpmem (id, 16, back, 16);
  g_assert_true (nat_session_id_from_text ("ABEiM0RVZneImaq7zN3u_w/description", 22, back));
  g_assert_false (nat_session_id_from_text ("ABEiM0RVZneImaq7zN3u_", -1, back));
  g_assert_false (nat_session_id_from_text ("ABEiM0RVZneImaq7zN3u_x", -1, back));
  g_assert_false (nat_session_id_from_text ("ABEiM0RVZneImaq7zN3u_wA", -1, back));
  g_assert_false (nat_session_id_from_text ("", -1, back));
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*func) (Fixture *f, gconstpointer data);
  } tests[] = {{"/ticket/round", test_round}, {"/ticket/largest", test_largest},
      {"/ticket/smallest", test_smallest}, {"/ticket/expiry", test_expiry},
      {"/ticket/changed", test_changed}, {"/ticket/long", test_long},
      {"/ticket/secrets", test_secrets}, {"/ticket/derivation", test_derivation},
      {"/ticket/odd-plaintext", test_odd_plaintext}};

  g_test_init (&argc, &argv, NULL);
  for (gsize i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].name, Fixture, NULL, setup, tests[i].func, teardown);
  g_test_add_func ("/ticket/session-id", test_session_id);
  return g_test_run ();
}
