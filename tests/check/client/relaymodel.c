/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "relaymodel.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/stun.h"
#include "natproto/stunauth.h"

static void
fill (guint8 *out, gsize len, guint32 seed, const char *what)
{
  char *text = g_strdup_printf ("%s %u", what, seed);

  nat_crypto_hkdf (text, strlen (text), NULL, 0, "model", 5, out, len);
  g_free (text);
}

static void
start (RelayModel *r, guint32 seed)
{
  guint8 key[32];

  fill (key, sizeof key, seed, "nonce key");
  fill (r->boot_id, sizeof r->boot_id, seed, "boot id");
  g_clear_pointer (&r->challenge, nat_challenge_free);
  r->challenge = nat_challenge_new (key);
  memset (&r->selected, 0, sizeof r->selected);
  r->selected_nonce_us = -1;
  r->binding_us = G_MININT64 / 2;
  r->version = 1;
}

static void
draw_secrets (RelayModel *r, guint32 seed)
{
  guint8 secret[32];

  fill (secret, sizeof secret, seed, "secret");
  g_clear_pointer (&r->secrets, nat_secrets_free);
  r->secrets = nat_secrets_new ();
  nat_secrets_add (r->secrets, 1, secret);
}

void
relay_model_init (RelayModel *r, guint32 seed)
{
  memset (r, 0, sizeof *r);
  r->unix_s = 1700000000;
  draw_secrets (r, seed);
  start (r, seed);
}

void
relay_model_clear (RelayModel *r)
{
  g_clear_pointer (&r->challenge, nat_challenge_free);
  g_clear_pointer (&r->secrets, nat_secrets_free);
}

void
relay_model_restart (RelayModel *r, guint32 seed)
{
  start (r, seed);
}

void
relay_model_lose_secrets (RelayModel *r, guint32 seed)
{
  draw_secrets (r, seed);
  start (r, seed);
}

void
relay_model_open (RelayModel *r, gint64 lifetime_s, char username[NAT_TICKET_TEXT_MAX + 1],
    char password[NAT_PASSWORD_TEXT + 1])
{
  static guint serial;
  NatTicket t = {.role = NAT_ROLE_PUBLISHER, .password_secret = 1, .stream = "door"};
  guint8 iv[12];

  fill (iv, sizeof iv, ++serial, "iv");
  fill (t.session_id, sizeof t.session_id, serial, "session");
  t.expires_s = r->unix_s + lifetime_s;
  t.token_expires_s = G_MAXINT64;
  nat_ticket_seal (r->secrets, &t, iv, username);
  g_assert_true (nat_ticket_password (r->secrets, 1, t.session_id, password));
}

/* ---- Answers ----------------------------------------------------------- */

typedef struct {
  RelayModel *r;
  gint64 now_us;
  const NatAddress *from, *local;
  const NatStunMessage *msg;
  const guint8 *key; /* NULL = cannot sign */
  guint8 *out;
  gsize cap;
} Question;

static gsize
finish (const Question *q, NatStunWriter *w)
{
  if (q->key != NULL)
    nat_stun_writer_add_integrity (w, q->key, NAT_STUN_KEY_SIZE);
  return nat_stun_writer_finish (w);
}

static gsize
answer_error (const Question *q, guint code)
{
  NatStunWriter w;
  char nonce[NAT_NONCE_LEN + 1];

  nat_stun_writer_init (&w, q->out, q->cap, NAT_STUN_BINDING_ERROR, q->msg->transaction_id);
  nat_stun_writer_add_error (&w, code, "No");
  if (code == 401 || code == 438) {
    nat_challenge_issue (q->r->challenge, q->now_us, q->from, q->local, nonce);
    nat_stunauth_add_challenge (&w, nonce);
  }
  if (code == 403) {
    nat_stun_writer_add_u32 (&w, NAT_ATTR_REASON, q->r->refuse);
    nat_stun_writer_add (&w, NAT_ATTR_BOOT_ID, q->r->boot_id, NAT_BOOT_ID_SIZE);
  }
  *(code == 401     ? &q->r->n_401
      : code == 438 ? &q->r->n_438
      : code == 403 ? &q->r->n_403
                    : &q->r->n_400) += 1;
  return finish (q, &w);
}

static gsize
answer_success (const Question *q)
{
  NatStunWriter w;

  q->r->n_success++;
  q->r->binding_us = q->now_us;
  if (q->msg->epoch.len == NAT_EPOCH_SIZE)
    memcpy (q->r->epoch, q->msg->epoch.data, NAT_EPOCH_SIZE);
  nat_stun_writer_init (&w, q->out, q->cap, NAT_STUN_BINDING_SUCCESS, q->msg->transaction_id);
  nat_stun_writer_add_mapped_address (&w, q->from);
  nat_stun_writer_add (&w, NAT_ATTR_BOOT_ID, q->r->boot_id, NAT_BOOT_ID_SIZE);
  nat_stun_writer_add_u32 (&w, NAT_ATTR_VERSION, q->r->version);
  return finish (q, &w);
}

/* A selection counts with a nonce younger than the last one's; on the selected path it holds, and that one counts then. */
static gboolean
may_select (const Question *q, gint64 issued_us)
{
  if (!q->msg->use_candidate)
    return TRUE;
  if (nat_address_equal (&q->r->selected, q->from)) {
    q->r->selected_nonce_us = MAX (q->r->selected_nonce_us, issued_us);
    return TRUE;
  }
  if (issued_us <= q->r->selected_nonce_us)
    return FALSE;
  q->r->selected = *q->from;
  q->r->selected_nonce_us = issued_us;
  return TRUE;
}

static gsize
answer_complete (Question *q)
{
  RelayModel *r = q->r;
  const NatStunMessage *m = q->msg;
  NatTicket ticket;
  char password[NAT_PASSWORD_TEXT + 1];
  guint8 key[NAT_STUN_KEY_SIZE];
  gint64 issued_us = 0;
  NatTicketStatus status = nat_ticket_open (
      r->secrets, (const char *)m->username.data, m->username.len, r->unix_s, &ticket);
  NatChallengeStatus nonce;

  if (status == NAT_TICKET_FOREIGN ||
      !nat_ticket_password (r->secrets, ticket.password_secret, ticket.session_id, password))
    return answer_error (q, 401);
  nat_stun_key ((const char *)m->username.data, m->username.len, NAT_REALM, password, key);
  if (!nat_stun_verify (m, key, sizeof key))
    return answer_error (q, 401);
  nonce = nat_challenge_check (
      r->challenge, q->now_us, q->from, q->local, m->nonce.data, m->nonce.len, &issued_us);
  if (nonce == NAT_CHALLENGE_FOREIGN && r->foreign_is_401)
    return answer_error (q, 401);
  q->key = key;
  if (status == NAT_TICKET_EXPIRED) {
    r->refuse = NAT_REASON_EXPIRED;
    return answer_error (q, 403);
  }
  if (r->refuse != NAT_REASON_NONE)
    return answer_error (q, 403);
  if (nonce != NAT_CHALLENGE_GOOD || !may_select (q, issued_us))
    return answer_error (q, 438);
  return answer_success (q);
}

gsize
relay_model_input (RelayModel *r, gint64 now_us, const NatAddress *from, const NatAddress *local,
    const guint8 *data, gsize len, guint8 *out, gsize cap)
{
  NatStunMessage msg;
  Question q = {r, now_us, from, local, &msg, NULL, out, cap};
  gsize n;

  g_assert_cmpint (nat_stun_parse (&msg, data, len), ==, NAT_STUN_OK);
  g_assert_cmpuint (msg.type, ==, NAT_STUN_BINDING_REQUEST);
  g_assert_true (msg.has_fingerprint);
  g_assert_cmpuint (msg.n_unknown_required, ==, 0);
  switch (nat_stunauth_inspect (&msg)) {
  case NAT_STUNAUTH_COMPLETE: n = answer_complete (&q); break;
  case NAT_STUNAUTH_NONE: n = answer_error (&q, 401); break;
  default: n = answer_error (&q, 400); break;
  }
  if (n > len && q.key == NULL) {
    r->n_silent++;
    return 0;
  }
  return n;
}

gsize
relay_model_indication (RelayModel *r, NatReason reason, guint8 *out, gsize cap)
{
  NatStunWriter w;
  guint8 id[12];

  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (&w, out, cap, NAT_STUN_BINDING_INDICATION, id);
  nat_stun_writer_add_u32 (&w, NAT_ATTR_REASON, reason);
  return nat_stun_writer_finish (&w);
}
