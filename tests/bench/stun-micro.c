/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the relay spends on STUN, without sockets: the challenge, the answer to a returning client
 * (whose key it remembers), and to a new one (whose ticket it opens first).
 */
#include <string.h>
#include "micro.h"
#include "natproto/challenge.h"
#include "natproto/crypto.h"
#include "natproto/stunauth.h"
#include "natproto/ticket.h"

typedef struct {
  NatSecrets *secrets;
  NatChallenge *challenge;
  NatAddress remote, local;
  guint8 first[256], request[1400], reply[1400];
  gsize first_len, request_len;
  guint8 key[NAT_STUN_KEY_SIZE];
  gint64 now_us;
} Scene;

static gsize
challenge_reply (Scene *s, const NatStunMessage *m, char nonce[NAT_NONCE_LEN + 1])
{
  NatStunWriter w;
  gsize len;

  nat_challenge_issue (s->challenge, s->now_us, &s->remote, &s->local, nonce);
  nat_stun_writer_init (&w, s->reply, sizeof s->reply, NAT_STUN_BINDING_ERROR, m->transaction_id);
  nat_stun_writer_add_error (&w, 401, "Unauthorized");
  nat_stunauth_add_challenge (&w, nonce);
  len = nat_stun_writer_finish (&w);
  bench_require (len > 0, "the challenge fits");
  return len;
}

static void
run_challenge (gpointer data)
{
  Scene *s = data;
  NatStunMessage m;
  char nonce[NAT_NONCE_LEN + 1];

  bench_require (nat_stun_parse (&m, s->first, s->first_len) == NAT_STUN_OK, "request is read");
  bench_require (nat_stunauth_inspect (&m) == NAT_STUNAUTH_NONE, "request is unauthenticated");
  challenge_reply (s, &m, nonce);
}

static void
answer (Scene *s, const NatStunMessage *m, const guint8 *key)
{
  static const guint8 boot_id[NAT_BOOT_ID_SIZE];
  gint64 issued_us;
  NatStunWriter w;

  bench_require (nat_challenge_check (s->challenge, s->now_us, &s->remote, &s->local, m->nonce.data,
                     m->nonce.len, &issued_us) == NAT_CHALLENGE_GOOD,
      "the nonce is good");
  bench_require (nat_stun_verify (m, key, NAT_STUN_KEY_SIZE), "the integrity fits");
  nat_stun_writer_init (&w, s->reply, sizeof s->reply, NAT_STUN_BINDING_SUCCESS, m->transaction_id);
  nat_stun_writer_add_mapped_address (&w, &s->remote);
  nat_stun_writer_add (&w, NAT_ATTR_BOOT_ID, boot_id, sizeof boot_id);
  nat_stun_writer_add_u32 (&w, NAT_ATTR_VERSION, 1);
  nat_stun_writer_add_integrity (&w, key, NAT_STUN_KEY_SIZE);
  bench_require (nat_stun_writer_finish (&w) > 0, "the answer fits");
}

static void
run_answer (gpointer data)
{
  Scene *s = data;
  NatStunMessage m;

  bench_require (nat_stun_parse (&m, s->request, s->request_len) == NAT_STUN_OK, "it is read");
  bench_require (nat_stunauth_inspect (&m) == NAT_STUNAUTH_COMPLETE, "it is complete");
  answer (s, &m, s->key);
}

static void
run_newcomer (gpointer data)
{
  Scene *s = data;
  NatStunMessage m;
  NatTicket ticket;
  char password[NAT_PASSWORD_TEXT + 1];
  guint8 key[NAT_STUN_KEY_SIZE];

  bench_require (nat_stun_parse (&m, s->request, s->request_len) == NAT_STUN_OK, "it is read");
  bench_require (nat_stunauth_inspect (&m) == NAT_STUNAUTH_COMPLETE, "it is complete");
  bench_require (nat_ticket_open (s->secrets, (const char *)m.username.data, m.username.len, 0,
                     &ticket) == NAT_TICKET_GOOD,
      "the ticket opens");
  bench_require (
      nat_ticket_password (s->secrets, ticket.password_secret, ticket.session_id, password),
      "the password is there");
  nat_stun_key ((const char *)m.username.data, m.username.len, NAT_REALM, password, key);
  answer (s, &m, key);
}

static void
make_ticket (Scene *s, char *username)
{
  NatTicket t = {.role = NAT_ROLE_SUBSCRIBER,
      .password_secret = 1,
      .expires_s = 3600,
      .token_expires_s = 3600,
      .stream = "bench/0"};
  guint8 secret[32], iv[12];
  char password[NAT_PASSWORD_TEXT + 1];

  nat_crypto_random (secret, sizeof secret);
  nat_crypto_random (iv, sizeof iv);
  nat_crypto_random (t.session_id, sizeof t.session_id);
  s->secrets = nat_secrets_new ();
  nat_secrets_add (s->secrets, 1, secret);
  nat_ticket_seal (s->secrets, &t, iv, username);
  nat_ticket_password (s->secrets, 1, t.session_id, password);
  nat_stun_key (username, strlen (username), NAT_REALM, password, s->key);
}

static void
make_requests (Scene *s, const char *username)
{
  static const guint8 id[12] = {1}, epoch[NAT_EPOCH_SIZE] = {2};
  char nonce[NAT_NONCE_LEN + 1];
  NatStunWriter w;
  NatStunMessage m;
  NatStunAuthChallenge asked;
  gsize len;

  nat_stun_writer_init (&w, s->first, sizeof s->first, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_pad_to (&w, 160, NAT_STUN_FINGERPRINT_SIZE);
  s->first_len = nat_stun_writer_finish (&w);
  bench_require (nat_stun_parse (&m, s->first, s->first_len) == NAT_STUN_OK, "request is read");
  len = challenge_reply (s, &m, nonce);
  bench_require (
      nat_stun_parse (&m, s->reply, len) == NAT_STUN_OK && nat_stunauth_challenge (&m, &asked),
      "the challenge is read");
  nat_stun_writer_init (&w, s->request, sizeof s->request, NAT_STUN_BINDING_REQUEST, id);
  nat_stunauth_add_answer (&w, username, &asked);
  nat_stun_writer_add (&w, NAT_ATTR_EPOCH, epoch, sizeof epoch);
  nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  nat_stun_writer_add_integrity (&w, s->key, sizeof s->key);
  s->request_len = nat_stun_writer_finish (&w);
}

int
main (int argc, char **argv)
{
  static Scene s;
  char username[NAT_TICKET_TEXT_MAX + 1];
  guint8 key[32];
  double seconds = bench_micro_seconds (argc, argv);

  nat_crypto_random (key, sizeof key);
  s.challenge = nat_challenge_new (key);
  s.now_us = G_USEC_PER_SEC;
  nat_address_from_text (&s.remote, "198.51.100.7:40000", 0);
  nat_address_from_text (&s.local, "203.0.113.1:8443", 0);
  make_ticket (&s, username);
  make_requests (&s, username);
  bench_micro_report ("stun-challenge", seconds, run_challenge, &s, 1);
  bench_micro_report ("stun-answer", seconds, run_answer, &s, 1);
  bench_micro_report ("stun-answer-newcomer", seconds, run_newcomer, &s, 1);
  nat_challenge_free (s.challenge);
  nat_secrets_free (s.secrets);
  return 0;
}
