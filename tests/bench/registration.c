/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "registration.h"

#include <string.h>
#include "natproto/crypto.h"
#include "natproto/error.h"
#include "natproto/negotiation.h"
#include "traffic.h"

static char *
body_for (NatRole role, guint32 ssrc)
{
  NatDescription d = {0};
  char *body;

  if (role == NAT_ROLE_SUBSCRIBER)
    return g_strdup ("{}");
  d.sdp = g_strdup_printf ("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=bench\r\nt=0 0\r\n"
                           "m=video 9 RTP/AVPF %d\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:%d H264/90000\r\n"
                           "a=ssrc:%u cname:bench\r\na=sendonly\r\n",
      BENCH_PAYLOAD_TYPE, BENCH_PAYLOAD_TYPE, ssrc);
  body = nat_description_to_json (&d);
  nat_description_clear (&d);
  return body;
}

static gboolean
take_document (const char *json, BenchCredential *c, GError **error)
{
  NatSessionDocument d = {0};

  if (!nat_session_document_from_json (&d, json, -1, error))
    return FALSE;
  c->username = g_strdup (d.username);
  nat_stun_key (d.username, strlen (d.username), d.realm, d.password, c->key);
  nat_crypto_random (c->epoch, sizeof c->epoch);
  nat_session_document_clear (&d);
  return TRUE;
}

gboolean
bench_negotiate (BenchHttps *relay, NatRole role, const char *stream, guint32 ssrc,
    BenchCredential *credential, GError **error)
{
  const char *name = role == NAT_ROLE_PUBLISHER ? "publishers" : "subscribers";
  g_autofree char *path = g_strdup_printf ("/v1/streams/%s/%s", stream, name);
  g_autofree char *body = body_for (role, ssrc);
  const char *document = bench_https_post (relay, path, body, error);

  return document && take_document (document, credential, error);
}

void
bench_credential_clear (BenchCredential *c)
{
  g_clear_pointer (&c->username, g_free);
  nat_crypto_wipe (c->key, sizeof c->key);
}

static gboolean
fail (GError **error, const char *what, const NatAddress *relay, const NatStunMessage *m)
{
  char text[NAT_ADDRESS_TEXT_MAX];

  g_set_error (error, NAT_ERROR, NAT_ERROR_PROTOCOL, "%s from %s%s", what,
      nat_address_to_text (relay, text), m ? "" : ": no answer");
  if (m)
    g_prefix_error (error, "STUN error %u: ", nat_stun_error_code (m, NULL));
  return FALSE;
}

/* The exchange and its parse; an empty message when nothing came. */
static gboolean
transact (
    int fd, const NatAddress *to, NatStunWriter *w, guint8 *reply, gsize cap, NatStunMessage *m)
{
  gsize len = nat_stun_writer_finish (w);

  len = len ? bench_stun_exchange (fd, to, w->buf, len, reply, cap) : 0;
  return len && nat_stun_parse (m, reply, len) == NAT_STUN_OK;
}

static void
begin (NatStunWriter *w, guint8 *buf, gsize cap, guint16 type)
{
  guint8 id[12];

  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (w, buf, cap, type, id);
}

gboolean
bench_register (int fd, const NatAddress *relay, const BenchCredential *c, GError **error)
{
  guint8 buf[1400], challenge[NAT_DATAGRAM_MAX], reply[NAT_DATAGRAM_MAX];
  NatStunWriter w;
  NatStunMessage m;
  NatStunAuthChallenge asked;

  begin (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST);
  nat_stun_writer_pad_to (&w, 200, NAT_STUN_FINGERPRINT_SIZE);
  if (!transact (fd, relay, &w, challenge, sizeof challenge, &m))
    return fail (error, "no challenge", relay, NULL);
  if (!nat_stunauth_challenge (&m, &asked))
    return fail (error, "no challenge", relay, &m);

  begin (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST);
  nat_stunauth_add_answer (&w, c->username, &asked);
  nat_stun_writer_add (&w, NAT_ATTR_EPOCH, c->epoch, sizeof c->epoch);
  nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  nat_stun_writer_add_integrity (&w, c->key, sizeof c->key);
  if (!transact (fd, relay, &w, reply, sizeof reply, &m))
    return fail (error, "no registration", relay, NULL);
  if (m.type != NAT_STUN_BINDING_SUCCESS || !nat_stun_verify (&m, c->key, sizeof c->key))
    return fail (error, "no registration", relay, &m);
  return TRUE;
}

/* ---- TURN (RFC 8656) ------------------------------------------------------------------ */

enum {
  TURN_ALLOCATE = 0x0003,
  TURN_CHANNEL_BIND = 0x0009,
  TURN_SUCCESS = 0x0100,
  TURN_ATTR_CHANNEL_NUMBER = 0x000c,
  TURN_ATTR_XOR_PEER_ADDRESS = 0x0012,
  TURN_ATTR_REQUESTED_TRANSPORT = 0x0019,
};

static void
add_peer (NatStunWriter *w, const NatAddress *peer)
{
  guint16 family = g_htons (1), port = g_htons (peer->port ^ (NAT_STUN_MAGIC_COOKIE >> 16));
  guint32 cookie = g_htonl (NAT_STUN_MAGIC_COOKIE);
  guint8 value[8];

  memcpy (value, &family, 2);
  memcpy (value + 2, &port, 2);
  for (guint i = 0; i < 4; i++)
    value[4 + i] = peer->ip[i] ^ ((const guint8 *)&cookie)[i];
  nat_stun_writer_add (w, TURN_ATTR_XOR_PEER_ADDRESS, value, sizeof value);
}

gboolean
bench_turn_bind (int fd, const NatAddress *server, const NatAddress *peer, GError **error)
{
  guint8 buf[256], reply[NAT_DATAGRAM_MAX];
  NatStunWriter w;
  NatStunMessage m;

  begin (&w, buf, sizeof buf, TURN_ALLOCATE);
  nat_stun_writer_add_u32 (&w, TURN_ATTR_REQUESTED_TRANSPORT, 17u << 24);
  if (!transact (fd, server, &w, reply, sizeof reply, &m))
    return fail (error, "no TURN allocation", server, NULL);
  if (m.type != (TURN_ALLOCATE | TURN_SUCCESS))
    return fail (error, "no TURN allocation", server, &m);

  begin (&w, buf, sizeof buf, TURN_CHANNEL_BIND);
  nat_stun_writer_add_u32 (&w, TURN_ATTR_CHANNEL_NUMBER, (guint32)BENCH_TURN_CHANNEL << 16);
  add_peer (&w, peer);
  if (!transact (fd, server, &w, reply, sizeof reply, &m))
    return fail (error, "no TURN channel", server, NULL);
  if (m.type != (TURN_CHANNEL_BIND | TURN_SUCCESS))
    return fail (error, "no TURN channel", server, &m);
  return TRUE;
}
