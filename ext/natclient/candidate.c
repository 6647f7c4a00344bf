/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/candidate.h"

#include <string.h>

#include "natproto/stunauth.h"

/* Bytes, more than any challenge: the relay answers no stranger with more than it was sent. */
#define SHORTEST_REQUEST 192

gboolean
nat_candidate_is_free (const NatCandidate *c)
{
  return c->relay.family == 0 && c->relay.transport == NAT_TRANSPORT_UDP;
}

gboolean
nat_candidate_is_stream (const NatCandidate *c)
{
  return c->relay.transport == NAT_TRANSPORT_WEBSOCKET;
}

NatCandidate *
nat_candidate_at (const NatCandidate *row, guint n, const NatAddress *relay)
{
  for (guint i = 0; i < n; i++)
    if (nat_address_equal (&row[i].relay, relay))
      return (NatCandidate *)&row[i];
  return NULL;
}

NatCandidate *
nat_candidate_free_place (NatCandidate *row, guint *n, guint max)
{
  for (guint i = 0; i < *n; i++)
    if (nat_candidate_is_free (&row[i]))
      return &row[i];
  return *n < max ? &row[(*n)++] : NULL;
}

guint
nat_candidate_n_udp (const NatCandidate *row, guint n)
{
  guint n_udp = 0;

  for (guint i = 0; i < n; i++)
    n_udp += !nat_candidate_is_free (&row[i]) && !nat_candidate_is_stream (&row[i]);
  return n_udp;
}

gboolean
nat_candidate_has_stream (const NatCandidate *row, guint n)
{
  for (guint i = 0; i < n; i++)
    if (nat_candidate_is_stream (&row[i]))
      return TRUE;
  return FALSE;
}

void
nat_candidate_quiet (NatCandidate *c)
{
  c->begin_us = c->resend_us = G_MAXINT64;
  c->current = NULL;
}

void
nat_candidate_forget (NatCandidate *c)
{
  c->nonce_serial = 0;
  c->answers = c->refusals = 0;
  c->asked = c->disowns = FALSE;
  memset (c->ring, 0, sizeof c->ring);
  nat_candidate_quiet (c);
}

NatTransaction *
nat_candidate_next (NatCandidate *c, gint64 now_us)
{
  NatTransaction *t = &c->ring[c->next++ % NAT_CANDIDATE_TRANSACTIONS];

  memset (t, 0, sizeof *t);
  t->sent_us = MAX (now_us, 1);
  t->nonce_serial = c->nonce_serial;
  t->authenticated = c->nonce_serial != 0;
  return t;
}

NatTransaction *
nat_candidate_find (NatCandidate *c, const guint8 id[12])
{
  for (guint i = 0; i < NAT_CANDIDATE_TRANSACTIONS; i++)
    if (c->ring[i].sent_us != 0 && memcmp (c->ring[i].id, id, sizeof c->ring[i].id) == 0)
      return &c->ring[i];
  return NULL;
}

gsize
nat_candidate_write (const NatCandidate *c, const NatTransaction *t, const NatLogin *login,
    guint size, guint8 *out, gsize cap)
{
  NatStunAuthChallenge challenge = {{(const guint8 *)login->realm, (guint16)strlen (login->realm)},
      {c->nonce, c->nonce_len}, {c->algorithms, c->algorithms_len}};
  NatStunWriter w;

  size = MAX (size, SHORTEST_REQUEST);
  nat_stun_writer_init (&w, out, cap, NAT_STUN_BINDING_REQUEST, t->id);
  if (!t->authenticated) {
    nat_stun_writer_pad_to (&w, size, NAT_STUN_FINGERPRINT_SIZE);
    return nat_stun_writer_finish (&w);
  }
  nat_stunauth_add_answer (&w, login->username, &challenge);
  nat_stun_writer_add (&w, NAT_ATTR_EPOCH, login->epoch, NAT_EPOCH_SIZE);
  /* Every Binding selects: on the selected path it holds, and after the NAT moved us the answer
   * to the new challenge moves the stream at once. */
  nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  nat_stun_writer_pad_to (&w, size, NAT_STUN_INTEGRITY_SIZE + NAT_STUN_FINGERPRINT_SIZE);
  nat_stun_writer_add_integrity (&w, login->key, sizeof login->key);
  return nat_stun_writer_finish (&w);
}

gboolean
nat_candidate_challenged (
    NatCandidate *c, const NatStunMessage *msg, const char *realm, guint serial)
{
  NatStunAuthChallenge challenge;

  if (!nat_stunauth_challenge (msg, &challenge) || !nat_stun_slice_equal (&challenge.realm, realm))
    return FALSE;
  if (challenge.nonce.len > sizeof c->nonce ||
      challenge.password_algorithms.len > sizeof c->algorithms)
    return FALSE;
  memcpy (c->nonce, challenge.nonce.data, challenge.nonce.len);
  c->nonce_len = challenge.nonce.len;
  memcpy (c->algorithms, challenge.password_algorithms.data, challenge.password_algorithms.len);
  c->algorithms_len = challenge.password_algorithms.len;
  c->nonce_serial = serial;
  return TRUE;
}

gboolean
nat_candidate_succeeded (const NatLogin *login, const NatStunMessage *msg, NatAddress *mapped,
    guint8 boot_id[NAT_BOOT_ID_SIZE], guint32 *version)
{
  if (!nat_stun_verify (msg, login->key, sizeof login->key))
    return FALSE;
  if (msg->boot_id.len != NAT_BOOT_ID_SIZE || !nat_stun_mapped_address (msg, mapped) ||
      !nat_stun_slice_u32 (&msg->version, version))
    return FALSE;
  memcpy (boot_id, msg->boot_id.data, NAT_BOOT_ID_SIZE);
  return TRUE;
}
