/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Packets that are verified before they are kept and forwarded: what somebody else sends from the publisher's own address gets
 * nowhere, and what is the publisher's goes through byte for byte. */

#include "natserver/data/verify.h"

#include <string.h>

#include "datarelay.h"

#define PACKET     200
#define SEALED_MAX (PACKET + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE)

typedef struct {
  DataRelay *r;
  NatTicket publisher_ticket, subscriber_ticket;
  NatProbe *publisher, *subscriber;
  NatMediaKey key;
  NatSframeSealer *sealer;
} Scene;

static void
set_up (Scene *s)
{
  memset (s, 0, sizeof *s);
  s->r = data_relay_new ("127.0.0.1", FALSE, NULL);
  s->publisher = data_relay_publish (s->r, &s->publisher_ticket, NULL);
  s->subscriber = data_relay_subscribe (s->r, &s->subscriber_ticket, NULL);
  nat_media_key_generate (&s->key, NAT_SFRAME_AES_128_GCM_SHA256_128);
  s->sealer = nat_sframe_sealer_new (&s->key);
  g_assert_true (nat_dataplane_set_verifier (s->r->dp, STREAM, nat_verifier_new (&s->key, 1)));
  data_relay_sync (s->r);
}

static void
tear_down (Scene *s)
{
  nat_sframe_sealer_free (s->sealer);
  nat_probe_free (s->publisher);
  nat_probe_free (s->subscriber);
  data_relay_free (s->r);
}

static gsize
seal (NatSframeSealer *sealer, guint16 seq, guint8 *out)
{
  guint8 rtp[PACKET];

  nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, seq, seq * 3000u);
  return nat_sframe_sealer_seal (sealer, rtp, sizeof rtp, out);
}

/* The next packet that comes is this one: none before it came through. */
static void
assert_next (Scene *s, const guint8 *packet, gsize len)
{
  guint8 got[NAT_DATAGRAM_MAX];

  g_assert_cmpint (
      nat_probe_receive (s->subscriber, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, (gssize)len);
  g_assert_cmpmem (got, len, packet, len);
}

static void
test_forged (void)
{
  NatMediaKey other_key;
  guint8 sealed[SEALED_MAX], first[SEALED_MAX], forged[SEALED_MAX];
  NatSframeSealer *other;
  gsize len, sent = 0;
  Scene s;

  set_up (&s);
  len = seal (s.sealer, 1, first);
  nat_probe_send (s.publisher, first, len);
  assert_next (&s, first, len);
  /* In clear; under another key; the same again; a bit of each byte changed, but for the SSRC and the version, which end
   * elsewhere. */
  nat_probe_write_rtp (forged, PACKET, VIDEO_SSRC, 2, 6000);
  nat_probe_send (s.publisher, forged, PACKET);
  nat_media_key_generate_next (&other_key, &s.key);
  other = nat_sframe_sealer_new (&other_key);
  nat_probe_send (s.publisher, forged, seal (other, 2, forged));
  nat_probe_send (s.publisher, first, len);
  sent = 3;
  len = seal (s.sealer, 2, sealed);
  for (gsize i = 1; i < len; i++) {
    if (i >= 8 && i < 12)
      continue;
    memcpy (forged, sealed, len);
    forged[i] ^= i == 1 ? 0x01 : 0x10;
    nat_probe_send (s.publisher, forged, len);
    sent++;
    if (sent % 32 == 0)
      data_relay_sync (s.r);
  }
  data_relay_sync (s.r);
  g_assert_cmpuint (DATA_RELAY_COUNT (s.r, drop_unverified), ==, sent);
  nat_probe_send (s.publisher, sealed, len);
  assert_next (&s, sealed, len);
  nat_sframe_sealer_free (other);
  tear_down (&s);
}

/* What is forged uses up nothing of what the publisher may send, however much it is. */
static void
test_forged_uses_up_nothing (void)
{
  guint8 sealed[SEALED_MAX], forged[PACKET];
  gsize len;
  Scene s;

  set_up (&s);
  s.publisher_ticket.max_kbps = 80; /* 10,000 bytes at once */
  g_assert_true (nat_dataplane_renew_session (s.r->dp, &s.publisher_ticket));
  for (guint16 seq = 0; seq < 1000; seq++) {
    nat_probe_write_rtp (forged, PACKET, VIDEO_SSRC, seq, seq);
    nat_probe_send (s.publisher, forged, PACKET);
    if (seq % 32 == 0)
      data_relay_sync (s.r);
  }
  for (guint16 seq = 1; seq <= 40; seq++) {
    len = seal (s.sealer, seq, sealed);
    nat_probe_send (s.publisher, sealed, len);
    assert_next (&s, sealed, len);
  }
  g_assert_cmpuint (DATA_RELAY_COUNT (s.r, drop_unverified), ==, 1000);
  g_assert_cmpuint (DATA_RELAY_COUNT (s.r, drop_max_kbps_per_subject), ==, 0);
  tear_down (&s);
}

static void
assert_passes (Scene *s, guint16 seq, guint8 *sealed, gsize *len)
{
  *len = seal (s->sealer, seq, sealed);
  nat_probe_send (s->publisher, sealed, *len);
  assert_next (s, sealed, *len);
}

/* The same keys are told anew with each change of the document: somebody took the last place in front of a camera, or left. What was
 * captured before is a replay all the same. */
static void
test_told_again (void)
{
  guint8 first[SEALED_MAX], sealed[SEALED_MAX];
  gsize len, n;
  Scene s;

  set_up (&s);
  assert_passes (&s, 1, first, &len);
  g_assert_true (nat_dataplane_set_verifier (s.r->dp, STREAM, nat_verifier_new (&s.key, 1)));
  nat_probe_send (s.publisher, first, len);
  assert_passes (&s, 2, sealed, &n);
  g_assert_cmpuint (DATA_RELAY_COUNT (s.r, drop_unverified), ==, 1);
  tear_down (&s);
}

/* However many sources a publisher had, one after the other, under one key: those that it announces have a place. */
static void
test_other_sources (void)
{
  NatTracks tracks = {1, {{VIDEO_SSRC, 96, 90000, "video"}}};
  NatSframeSealer *sealer = NULL;
  guint8 rtp[PACKET], sealed[SEALED_MAX];
  gsize len;
  Scene s;

  set_up (&s);
  for (guint i = 1; i <= NAT_TRACKS_MAX + 2; i++) {
    nat_sframe_sealer_free (sealer);
    sealer = nat_sframe_sealer_new (&s.key);
    tracks.tracks[0].ssrc = i;
    g_assert_true (nat_dataplane_set_verifier (s.r->dp, STREAM, nat_verifier_new (&s.key, 1)));
    g_assert_true (nat_dataplane_set_description (s.r->dp, STREAM, &tracks, i + 1, NULL));
    nat_probe_write_rtp (rtp, sizeof rtp, i, 1, 1);
    len = nat_sframe_sealer_seal (sealer, rtp, sizeof rtp, sealed);
    nat_probe_send (s.publisher, sealed, len);
    assert_next (&s, sealed, len);
  }
  nat_sframe_sealer_free (sealer);
  tear_down (&s);
}

/* Both keys of a roll, then one alone; then a stream that nobody verifies. */
static void
test_keys_change (void)
{
  NatMediaKey keys[2];
  guint8 sealed[SEALED_MAX];
  NatSframeSealer *next;
  gsize len;
  Scene s;

  set_up (&s);
  keys[0] = s.key;
  nat_media_key_generate_next (&keys[1], &keys[0]);
  next = nat_sframe_sealer_new (&keys[1]);
  g_assert_true (nat_dataplane_set_verifier (s.r->dp, STREAM, nat_verifier_new (keys, 2)));
  for (guint16 seq = 1; seq < 5; seq++) {
    len = seal (seq % 2 ? s.sealer : next, seq, sealed);
    nat_probe_send (s.publisher, sealed, len);
    assert_next (&s, sealed, len);
  }
  g_assert_true (nat_dataplane_set_verifier (s.r->dp, STREAM, nat_verifier_new (&keys[1], 1)));
  nat_probe_send (s.publisher, sealed, seal (s.sealer, 5, sealed));
  len = seal (next, 6, sealed);
  nat_probe_send (s.publisher, sealed, len);
  assert_next (&s, sealed, len);
  g_assert_true (nat_dataplane_set_verifier (s.r->dp, STREAM, NULL));
  data_relay_sync (s.r);
  data_relay_assert_passes (s.publisher, s.subscriber, VIDEO_SSRC, 7);
  g_assert_cmpuint (DATA_RELAY_COUNT (s.r, drop_unverified), ==, 1);
  nat_sframe_sealer_free (next);
  tear_down (&s);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/verify/forged", test_forged);
  g_test_add_func ("/verify/forged-uses-up-nothing", test_forged_uses_up_nothing);
  g_test_add_func ("/verify/told-again", test_told_again);
  g_test_add_func ("/verify/other-sources", test_other_sources);
  g_test_add_func ("/verify/keys-change", test_keys_change);
  return g_test_run ();
}
