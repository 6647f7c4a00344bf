/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "attackfield.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/rtcp.h"

const char attack_sha256[] = {0, NAT_STUN_PASSWORD_ALGORITHM_SHA256, 0, 0};
const AttackBend attack_straight = {attack_sha256, attack_sha256, NULL, G_CHECKSUM_SHA256,
    NAT_ATTR_MESSAGE_INTEGRITY_SHA256, 32, FALSE};

void
attack_set_up (AttackField *f, gconstpointer unused)
{
  NatDataTimes times;

  data_relay_default_times (&times);
  /* The stream stays where it is, so that its history does; and a slow machine puts nobody out. */
  times.move_us = times.silence_us = times.consent_us = (gint64)3600 * G_USEC_PER_SEC;
  f->r = data_relay_new ("127.0.0.1", FALSE, &times);
  f->publisher = data_relay_publish (f->r, &f->tp, &f->pc);
  f->subscriber = data_relay_subscribe (f->r, &f->ts, &f->sc);
  f->stranger = nat_probe_new ("127.0.0.1", &f->r->address);
  f->seq = 1;
}

void
attack_tear_down (AttackField *f, gconstpointer unused)
{
  nat_probe_free (f->stranger);
  nat_probe_free (f->subscriber);
  nat_probe_free (f->publisher);
  nat_session_counters_unref (f->pc);
  nat_session_counters_unref (f->sc);
  data_relay_free (f->r);
}

void
attack_assert_no_rtp (NatProbe *p)
{
  guint8 buf[NAT_DATAGRAM_MAX];

  g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, buf, 0), ==, -1);
}

/* The end of every attack: the stream goes where it went, and to nobody else. */
void
attack_assert_nothing_moved (AttackField *f)
{
  data_relay_sync (f->r);
  g_assert_cmpuint (nat_counter_get (&f->pc->moves), ==, 0);
  g_assert_cmpuint (nat_counter_get (&f->sc->moves), ==, 0);
  data_relay_assert_passes (f->publisher, f->subscriber, VIDEO_SSRC, f->seq++);
  attack_assert_no_rtp (f->subscriber);
  attack_assert_no_rtp (f->stranger);
  data_relay_no_event (f->r);
}

void
attack_put_u16 (guint8 *p, gsize value)
{
  p[0] = (guint8)(value >> 8);
  p[1] = (guint8)value;
}

void
attack_put_u32 (guint8 *p, guint32 value)
{
  value = GUINT32_TO_BE (value);
  memcpy (p, &value, 4);
}

void
attack_send_rtp (NatProbe *p, guint32 ssrc, guint16 seq)
{
  guint8 rtp[ATTACK_SIZE];

  nat_probe_write_rtp (rtp, sizeof rtp, ssrc, seq, seq * 3000u);
  nat_probe_send (p, rtp, sizeof rtp);
}

/* What somebody on the path has seen: a probe's next registration. */
gsize
attack_capture_registration (NatProbe *p, guint8 *request)
{
  gsize len = nat_probe_request (p, NAT_PROBE_SELECT, request);

  g_assert_cmpint (nat_probe_exchange (p, request, len, NAT_PROBE_WAIT_MS), ==, 0);
  return len;
}

gsize
attack_write_bye (guint8 *buf, guint32 ssrc)
{
  gsize len = nat_rtcp_write_rr (buf, 100, ssrc, NULL, 0);

  return len + nat_rtcp_write_bye (buf + len, 100, ssrc);
}

gsize
attack_write_nack (guint8 *buf, guint16 last)
{
  guint16 seqs[1000];
  guint n = MIN (last, G_N_ELEMENTS (seqs));
  gsize len = nat_rtcp_write_rr (buf, 100, ATTACKER, NULL, 0);

  for (guint i = 0; i < n; i++)
    seqs[i] = (guint16)(last - n + 1 + i);
  return len + nat_rtcp_write_nack (buf + len, 1000, ATTACKER, VIDEO_SSRC, seqs, &n);
}

/* Over all up to and with the attribute, whose length is in the header by then (RFC 8489 section 14.6). */
static void
add_integrity (NatStunWriter *w, const AttackBend *bend, const guint8 *key)
{
  GHmac *hmac = g_hmac_new (bend->hash, key, NAT_STUN_KEY_SIZE);
  guint8 mac[32] = {0};
  gsize len = sizeof mac;

  attack_put_u16 (w->buf + 2, w->len + 4 + bend->mac - NAT_STUN_HEADER_SIZE);
  g_hmac_update (hmac, w->buf, (gssize)w->len);
  g_hmac_get_digest (hmac, mac, &len);
  g_hmac_unref (hmac);
  nat_stun_writer_add (w, bend->attribute, mac, bend->mac);
}

/* A registration by somebody who has password and nonce, but not as RFC 8489 and the relay want it. */
gsize
attack_write_bent (NatProbe *p, const AttackBend *bend, guint8 *buf)
{
  g_autofree char *nonce = bend->nonce
                               ? g_strconcat (bend->nonce, p->nonce + strlen (bend->nonce), NULL)
                               : g_strdup (p->nonce);
  guint8 id[12];
  NatStunWriter w;

  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (&w, buf, NAT_DATAGRAM_MAX, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_add_text (&w, NAT_ATTR_USERNAME, p->username);
  nat_stun_writer_add_text (&w, NAT_ATTR_REALM, NAT_REALM);
  nat_stun_writer_add_text (&w, NAT_ATTR_NONCE, nonce);
  if (bend->algorithms)
    nat_stun_writer_add (&w, NAT_ATTR_PASSWORD_ALGORITHMS, bend->algorithms, 4);
  if (bend->algorithm)
    nat_stun_writer_add (&w, NAT_ATTR_PASSWORD_ALGORITHM, bend->algorithm, 4);
  nat_stun_writer_add (&w, NAT_ATTR_EPOCH, p->epoch, sizeof p->epoch);
  if (!bend->select_behind)
    nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  if (bend->attribute)
    add_integrity (&w, bend, p->key);
  if (bend->select_behind)
    nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  return nat_stun_writer_finish (&w);
}
