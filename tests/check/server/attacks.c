/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Attacks by datagram, each a test of its own name; docs/SECURITY.md lists them with what comes of them. Whoever
 * attacks here has seen every packet, and may send from any address: "from the publisher's address" is from its very
 * socket, without its keys. Noise by the thousand is abuse.c's. */

#include <string.h>
#include <sys/socket.h>

#include "attackfield.h"
#include "natproto/crypto.h"
#include "natproto/rtcp.h"

/* ---- Whose mapping is it? ---------------------------------------------- */

/* A nonce is of the address that it was sent to: not even the right password makes it good elsewhere. */
static void
test_nonce_elsewhere (AttackField *f, gconstpointer unused)
{
  guint8 request[NAT_DATAGRAM_MAX];
  gsize len;

  nat_probe_set_credentials (f->stranger, f->subscriber->username, f->subscriber->password);
  memcpy (f->stranger->nonce, f->subscriber->nonce, sizeof f->stranger->nonce);
  memcpy (f->stranger->epoch, f->subscriber->epoch, sizeof f->stranger->epoch);
  len = nat_probe_request (f->stranger, NAT_PROBE_SELECT, request);
  g_assert_cmpint (nat_probe_exchange (f->stranger, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  g_assert_cmpuint (f->stranger->answer_len, <=, len);
  attack_assert_nothing_moved (f);
}

/* One subscriber with its own password and another's user name, and the other way round. */
static void
test_username_of_another (AttackField *f, gconstpointer unused)
{
  NatTicket t;
  g_autoptr (NatProbe) thief = data_relay_subscribe (f->r, &t, NULL);
  g_autofree char *username = g_strdup (thief->username);
  g_autofree char *password = g_strdup (thief->password);
  guint64 success = DATA_RELAY_COUNT (f->r, stun_success);

  nat_probe_set_credentials (thief, f->subscriber->username, password);
  g_assert_cmpint (nat_probe_bind (thief, NAT_PROBE_SELECT), ==, 401);
  nat_probe_set_credentials (thief, username, f->subscriber->password);
  g_assert_cmpint (nat_probe_bind (thief, NAT_PROBE_SELECT), ==, 401);
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, stun_success), ==, success);
  attack_assert_nothing_moved (f);
}

/* None of them registers a client that would be registered by the straight one. */
static void
assert_refused (AttackField *f, const AttackBend *bends, guint n)
{
  NatTicket t = data_relay_ticket (f->r, NAT_ROLE_SUBSCRIBER);
  g_autoptr (NatProbe) p = data_relay_probe (f->r, &t);
  guint64 success = DATA_RELAY_COUNT (f->r, stun_success);
  guint8 buf[NAT_DATAGRAM_MAX];
  NatEvent event;

  g_assert_cmpint (nat_probe_challenge (p, 200, NAT_PROBE_WAIT_MS), ==, 401);
  for (guint i = 0; i < n; i++)
    nat_probe_send (p, buf, attack_write_bent (p, &bends[i], buf));
  data_relay_sync (f->r);
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, stun_success), ==, success);
  attack_assert_nothing_moved (f);
  g_assert_cmpint (
      nat_probe_exchange (p, buf, attack_write_bent (p, &attack_straight, buf), NAT_PROBE_WAIT_MS),
      ==, 0);
  g_assert_true (data_relay_event (f->r, NAT_EVENT_REGISTERED, &event, NAT_PROBE_WAIT_MS));
}

/* RFC 8489 would take 16 bytes of the 32; four can be guessed. SHA-1's attribute, and none at all. */
static void
test_integrity_truncated (AttackField *f, gconstpointer unused)
{
  static const gsize sizes[] = {0, 4, 12, 16, 20, 24, 28, 31};
  AttackBend bends[G_N_ELEMENTS (sizes) + 3];
  guint n = 0;

  for (; n < G_N_ELEMENTS (sizes); n++) {
    bends[n] = attack_straight;
    bends[n].mac = sizes[n];
  }
  bends[n] = attack_straight;
  bends[n].hash = G_CHECKSUM_SHA1;
  bends[n].attribute = NAT_ATTR_MESSAGE_INTEGRITY;
  bends[n++].mac = 20;
  bends[n] = attack_straight;
  bends[n].attribute = NAT_ATTR_MESSAGE_INTEGRITY; /* the right bytes under the other name */
  bends[n++].mac = 20;
  bends[n] = attack_straight;
  bends[n++].attribute = 0;
  assert_refused (f, bends, n);
}

/* Less than was offered: MD5, no algorithm, a nonce whose feature bits were taken out. */
static void
test_bid_down (AttackField *f, gconstpointer unused)
{
  static const struct {
    const char *algorithms, *algorithm, *nonce;
  } rows[] = {
      {NULL, NULL, NULL},
      {attack_sha256, NULL, NULL},
      {NULL, attack_sha256, NULL},
      {attack_sha256, "\0\1\0\0", NULL},
      {"\0\1\0\0", "\0\1\0\0", NULL},
      {"\0\1\0\0", attack_sha256, NULL},
      {attack_sha256, attack_sha256, "obMatJos2AAA"},
      {NULL, NULL, "obMatJos2AAA"},
      {attack_sha256, attack_sha256, "xxxxxxxxx"},
  };
  AttackBend bends[G_N_ELEMENTS (rows)];

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    bends[i] = attack_straight;
    bends[i].algorithms = rows[i].algorithms;
    bends[i].algorithm = rows[i].algorithm;
    bends[i].nonce = rows[i].nonce;
  }
  assert_refused (f, bends, G_N_ELEMENTS (rows));
}

/* A flag that was hung on behind the integrity, where anybody on the path can: it selects nothing. */
static void
test_flag_behind_integrity (AttackField *f, gconstpointer unused)
{
  g_autoptr (NatProbe) second = data_relay_probe (f->r, &f->ts);
  AttackBend bend = attack_straight;
  guint8 buf[NAT_DATAGRAM_MAX];

  memcpy (second->epoch, f->subscriber->epoch, sizeof second->epoch);
  g_assert_cmpint (nat_probe_challenge (second, 200, NAT_PROBE_WAIT_MS), ==, 401);
  bend.select_behind = TRUE;
  g_assert_cmpint (
      nat_probe_exchange (second, buf, attack_write_bent (second, &bend, buf), NAT_PROBE_WAIT_MS),
      ==, 0);
  attack_assert_nothing_moved (f);
  attack_assert_no_rtp (second);
}

/* With all that was seen on the path, but no password: as it is, with a nonce of one's own, without integrity. */
static void
test_mapping_theft (AttackField *f, gconstpointer unused)
{
  NatProbe *const victims[] = {f->subscriber, f->publisher};

  for (guint i = 0; i < G_N_ELEMENTS (victims); i++) {
    NatProbe *victim = victims[i];
    guint8 request[NAT_DATAGRAM_MAX];
    gsize len = attack_capture_registration (victim, request);
    AttackBend bare = attack_straight;
    guint8 *nonce;

    g_assert_cmpint (nat_probe_exchange (f->stranger, request, len, NAT_PROBE_WAIT_MS), ==, 438);
    nonce = memmem (request, len, victim->nonce, strlen (victim->nonce));
    g_assert_nonnull (nonce);
    memcpy (nonce, f->stranger->nonce, strlen (victim->nonce));
    /* FINGERPRINT needs no key, and is left out so that it is not what tells. */
    attack_put_u16 (request + 2, len - NAT_STUN_FINGERPRINT_SIZE - NAT_STUN_HEADER_SIZE);
    g_assert_cmpint (nat_probe_exchange (
                         f->stranger, request, len - NAT_STUN_FINGERPRINT_SIZE, NAT_PROBE_WAIT_MS),
        ==, 401);
    nat_probe_set_credentials (f->stranger, victim->username, "");
    bare.attribute = 0;
    g_assert_cmpint (nat_probe_exchange (f->stranger, request,
                         attack_write_bent (f->stranger, &bare, request), NAT_PROBE_WAIT_MS),
        ==, 401);
    attack_assert_nothing_moved (f);
  }
}

/* Registrations of before, from the very addresses that they came from: after a move, an end, and a restart. */
static void
test_registration_replayed (AttackField *f, gconstpointer unused)
{
  g_autoptr (NatProbe) moved = data_relay_probe (f->r, &f->ts);
  guint8 request[NAT_DATAGRAM_MAX];
  gsize len = attack_capture_registration (f->subscriber, request);
  NatEvent event;

  memcpy (moved->epoch, f->subscriber->epoch, sizeof moved->epoch);
  g_assert_cmpint (nat_probe_bind (moved, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (data_relay_event (f->r, NAT_EVENT_MOVED, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpint (nat_probe_exchange (f->subscriber, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  g_assert_cmpint (nat_probe_exchange (moved, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  data_relay_sync (f->r);
  data_relay_no_event (f->r);
  data_relay_assert_passes (f->publisher, moved, VIDEO_SSRC, f->seq++);
  attack_assert_no_rtp (f->subscriber);
  g_assert_cmpuint (nat_counter_get (&f->sc->moves), ==, 1);
  g_assert_true (
      nat_dataplane_end_session (f->r->dp, f->ts.session_id, NAT_REASON_ENDED, f->ts.expires_s));
  g_assert_true (data_relay_event (f->r, NAT_EVENT_GONE, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpint (nat_probe_exchange (f->subscriber, request, len, NAT_PROBE_WAIT_MS), ==, 403);
  len = attack_capture_registration (f->publisher, request);
  f->r = data_relay_restart (f->r);
  g_assert_cmpint (nat_probe_exchange (f->publisher, request, len, NAT_PROBE_WAIT_MS), ==, 438);
  data_relay_no_event (f->r);
}

/* User names of another relay, and this relay's with one character changed, by whoever knows the password. */
static void
test_forged_ticket (AttackField *f, gconstpointer unused)
{
  g_autofree char *username = g_strdup (f->subscriber->username);
  guint64 success = DATA_RELAY_COUNT (f->r, stun_success);
  NatSecrets *theirs = nat_secrets_new ();
  guint8 request[NAT_DATAGRAM_MAX], secret[32];

  nat_crypto_random (secret, sizeof secret);
  nat_secrets_add (theirs, f->ts.password_secret, secret);
  nat_probe_set_ticket (f->stranger, theirs, &f->ts);
  nat_secrets_free (theirs);
  g_assert_cmpint (nat_probe_bind (f->stranger, NAT_PROBE_SELECT), ==, 401);
  for (gsize i = 0; username[i]; i++) {
    char was = username[i];

    username[i] = was == 'A' ? 'B' : 'A';
    nat_probe_set_credentials (f->stranger, username, f->subscriber->password);
    username[i] = was;
    nat_probe_send (
        f->stranger, request, nat_probe_request (f->stranger, NAT_PROBE_SELECT, request));
    if (i % 50 == 49)
      data_relay_sync (f->r);
  }
  data_relay_sync (f->r);
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, stun_success), ==, success);
  attack_assert_nothing_moved (f);
}

/* ---- Whose media is it? ------------------------------------------------ */

/* The publisher's own packets once more, from anywhere but where it is. */
static void
test_media_replayed (AttackField *f, gconstpointer unused)
{
  guint64 received = nat_counter_get (&f->pc->packets_received);

  for (guint i = 0; i < 20; i++)
    data_relay_assert_passes (f->publisher, f->subscriber, VIDEO_SSRC, f->seq++);
  for (guint16 seq = 1; seq < f->seq; seq++) {
    attack_send_rtp (f->stranger, VIDEO_SSRC, seq);
    attack_send_rtp (f->subscriber, VIDEO_SSRC, seq);
  }
  attack_assert_nothing_moved (f);
  g_assert_cmpuint (nat_counter_get (&f->pc->packets_received), ==, received + 21);
}

/* The stream's SSRCs from a stranger, its subscriber and the publisher of another stream; and an SSRC that the
 * publisher did not announce. */
static void
test_ssrc_theft (AttackField *f, gconstpointer unused)
{
  static const guint32 ssrcs[] = {VIDEO_SSRC, AUDIO_SSRC};
  NatTicket other = data_relay_ticket (f->r, NAT_ROLE_PUBLISHER);
  NatTicket rival = data_relay_ticket (f->r, NAT_ROLE_PUBLISHER);
  g_autoptr (NatProbe) neighbour = NULL, second = NULL;
  guint64 before;

  strcpy (other.stream, "another");
  neighbour = data_relay_join (f->r, &other, NULL);
  second =
      data_relay_join (f->r, &rival, NULL); /* may publish here, but did not take the stream over */
  before = nat_counter_get (&f->pc->packets_received);
  for (guint16 seq = 1; seq < 10; seq++) {
    for (guint i = 0; i < G_N_ELEMENTS (ssrcs); i++) {
      attack_send_rtp (f->stranger, ssrcs[i], seq);
      attack_send_rtp (f->subscriber, ssrcs[i], seq);
      attack_send_rtp (neighbour, ssrcs[i], seq);
      attack_send_rtp (second, ssrcs[i], seq);
    }
    attack_send_rtp (f->publisher, VIDEO_SSRC + seq, seq);
  }
  attack_assert_nothing_moved (f);
  g_assert_cmpuint (nat_counter_get (&f->pc->packets_received), ==, before + 1);
  g_assert_cmpuint (nat_counter_get (&f->pc->rtp_refused), ==, 9);
  g_assert_cmpuint (nat_counter_get (&f->sc->rtp_refused), ==, 18);
}

/* ---- Feedback ---------------------------------------------------------- */

/* A sender report that moves the stream's clock, were it believed. */
static gsize
write_sr (guint8 *buf, guint32 ssrc)
{
  memset (buf, 0, 28);
  buf[0] = 0x80;
  buf[1] = NAT_RTCP_SR;
  buf[3] = 6;
  attack_put_u32 (buf + 4, ssrc);
  attack_put_u32 (buf + 8, 0xeeeeeeee);
  attack_put_u32 (buf + 16, 0xeeeeeeee);
  return 28 + nat_rtcp_write_sdes_cname (buf + 28, 100, ssrc, "camera");
}

static gsize
write_pli (guint8 *buf, guint32 ssrc)
{
  gsize len = nat_rtcp_write_rr (buf, 100, ATTACKER, NULL, 0);

  return len + nat_rtcp_write_pli (buf + len, 100, ATTACKER, ssrc);
}

/* Under keys of nobody's, as whoever has no password must make them. */
static void
send_under_wrong_keys (NatProbe *p, const guint8 *data, gsize len)
{
  static const char password[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
  g_autoptr (NatSrtcp) wrong =
      nat_srtcp_new (password, NAT_SRTCP_CLIENT_TO_RELAY, p->boot_id, p->epoch);
  guint8 buf[NAT_DATAGRAM_MAX];

  memcpy (buf, data, len);
  nat_probe_send (p, buf, nat_srtcp_protect (wrong, buf, len));
}

static guint
rtcp_waiting (NatProbe *p)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  guint n = 0;

  while (nat_probe_receive_rtcp (p, buf, 0) != -1)
    n++;
  return n;
}

typedef gsize (*WriteRtcp) (guint8 *buf, guint32 ssrc);

/* In clear, and under wrong keys, from everywhere; and the relay's own back to it. Nothing of it is genuine. */
static void
forge_rtcp (AttackField *f, WriteRtcp write)
{
  NatProbe *const from[] = {f->stranger, f->subscriber, f->publisher};
  guint8 buf[NAT_DATAGRAM_MAX], seen[NAT_DATAGRAM_MAX];
  guint64 genuine = nat_counter_get (&f->pc->rtcp_received);
  gsize len = write (buf, VIDEO_SSRC);
  gssize n;

  for (guint i = 0; i < G_N_ELEMENTS (from); i++) {
    nat_probe_send (from[i], buf, len);
    if (i > 0)
      send_under_wrong_keys (from[i], buf, len);
  }
  while ((n = nat_probe_receive (f->publisher, NAT_PACKET_RTCP, seen, 0)) > 0)
    nat_probe_send (f->publisher, seen, (gsize)n);
  data_relay_sync (f->r);
  g_assert_cmpuint (nat_counter_get (&f->pc->rtcp_received), ==, genuine);
  g_assert_cmpuint (nat_counter_get (&f->pc->rtcp_refused), >=, 2);
  g_assert_cmpuint (nat_counter_get (&f->sc->rtcp_refused), >=, 2);
}

/* Nobody but the publisher ends its stream: neither forged, nor by a subscriber in the publisher's name. */
static void
test_bye_forged (AttackField *f, gconstpointer unused)
{
  g_autoptr (NatProbe) other = data_relay_subscribe (f->r, NULL, NULL);
  guint8 buf[NAT_DATAGRAM_MAX];

  forge_rtcp (f, attack_write_bye);
  nat_probe_send_rtcp (f->subscriber, buf, attack_write_bye (buf, VIDEO_SSRC));
  data_relay_sync (f->r);
  g_assert_cmpuint (rtcp_waiting (f->subscriber) + rtcp_waiting (other), ==, 0);
  data_relay_assert_passes (f->publisher, other, VIDEO_SSRC, f->seq++);
  g_assert_cmpint (
      nat_probe_receive (f->subscriber, NAT_PACKET_RTP, buf, NAT_PROBE_WAIT_MS), ==, ATTACK_SIZE);
  attack_assert_nothing_moved (f);
}

/* Lip sync is the publisher's alone to tell. */
static void
test_sender_report_forged (AttackField *f, gconstpointer unused)
{
  g_autoptr (NatProbe) other = data_relay_subscribe (f->r, NULL, NULL);
  guint8 buf[NAT_DATAGRAM_MAX];
  gsize len;

  forge_rtcp (f, write_sr);
  nat_probe_send_rtcp (f->subscriber, buf, write_sr (buf, VIDEO_SSRC));
  data_relay_sync (f->r);
  g_assert_cmpuint (rtcp_waiting (f->subscriber) + rtcp_waiting (other), ==, 0);
  /* The publisher's own goes to both, once: sent again by somebody it is a replay. */
  len = nat_srtcp_protect (f->publisher->to_relay, buf, write_sr (buf, VIDEO_SSRC));
  for (guint i = 0; i < 3; i++)
    nat_probe_send (f->publisher, buf, len);
  data_relay_sync (f->r);
  g_assert_cmpuint (rtcp_waiting (f->subscriber), ==, 1);
  g_assert_cmpuint (rtcp_waiting (other), ==, 1);
}

/* Picture requests that the publisher got in all; its reports are taken out of the way. */
static guint
plis_waiting (NatProbe *p)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  NatRtcpPacket packet;
  NatRtcpIter it;
  gssize len;
  guint n = 0;

  while ((len = nat_probe_receive_rtcp (p, buf, 0)) != -1) {
    g_assert_cmpint (len, >, 0);
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    while (nat_rtcp_iter_next (&it, &packet))
      n += packet.type == NAT_RTCP_PSFB;
  }
  return n;
}

/* A subscriber that asks for a picture thousands of times, and others in its name: one in 500 ms goes up. */
static void
test_pli_flood (AttackField *f, gconstpointer unused)
{
  gint64 start = g_get_monotonic_time ();
  guint8 buf[NAT_DATAGRAM_MAX];
  guint got = 0;

  for (guint i = 0; i < 3000; i++) {
    gsize len = write_pli (buf, VIDEO_SSRC);

    nat_probe_send_rtcp (f->subscriber, buf, len);
    send_under_wrong_keys (f->subscriber, buf, len);
    if (i % 50 != 49)
      continue;
    data_relay_sync (f->r);
    got += plis_waiting (f->publisher);
  }
  /* One when the flood began and for who joined before it, then one for each interval. */
  g_assert_cmpuint (got, >=, 1);
  g_assert_cmpuint (got, <=, 2 + (guint)((g_get_monotonic_time () - start) / NAT_PLI_INTERVAL_US));
  g_assert_cmpuint (nat_counter_get (&f->sc->keyframe_requests), ==, 3000);
  attack_assert_nothing_moved (f);
}

/* A subscriber that asks for everything, again and again: it gets its share, the publisher hears nothing of it, and
 * the one beside it misses nothing. */
static void
test_nack_flood (AttackField *f, gconstpointer unused)
{
  g_autoptr (NatProbe) other = data_relay_subscribe (f->r, NULL, NULL);
  gint64 start = g_get_monotonic_time ();
  guint8 buf[NAT_DATAGRAM_MAX];
  guint64 bytes;

  for (guint i = 0; i < 2000; i++) {
    nat_probe_send_rtcp (f->subscriber, buf, attack_write_nack (buf, f->seq));
    if (i % 10 != 9)
      continue;
    data_relay_assert_passes (f->publisher, other, VIDEO_SSRC, f->seq++);
    while (recv (f->subscriber->fd, buf, sizeof buf, MSG_DONTWAIT) >= 0)
      continue;
  }
  data_relay_sync (f->r);
  bytes = nat_counter_get (&f->sc->repairs_sent) * ATTACK_SIZE;
  g_assert_cmpuint (bytes, >, 0);
  /* 128 kB at once and 32 kB in a second: half of a stream this thin is less. */
  g_assert_cmpuint (bytes, <=,
      128 * 1024 + 32 * 1024 * (guint64)(1 + (g_get_monotonic_time () - start) / G_USEC_PER_SEC));
  g_assert_cmpuint (nat_counter_get (&f->pc->repairs_asked), ==, 0);
}

/* A NACK that a subscriber once sent, from its own address, by somebody else; and one under wrong keys. */
static void
test_nack_replayed (AttackField *f, gconstpointer unused)
{
  guint8 buf[NAT_DATAGRAM_MAX], again[NAT_DATAGRAM_MAX];
  gsize len;

  for (guint i = 0; i < 5; i++)
    data_relay_assert_passes (f->publisher, f->subscriber, VIDEO_SSRC, f->seq++);
  len = attack_write_nack (again, 1);
  send_under_wrong_keys (f->subscriber, again, len);
  len = nat_srtcp_protect (f->subscriber->to_relay, again, len);
  nat_probe_send (f->subscriber, again, len);
  g_assert_cmpint (
      nat_probe_receive (f->subscriber, NAT_PACKET_RTP, buf, NAT_PROBE_WAIT_MS), ==, ATTACK_SIZE);
  for (guint i = 0; i < 20; i++) {
    g_usleep (2000); /* longer than a round trip, in which it would be one that crossed */
    nat_probe_send (f->subscriber, again, len);
    nat_probe_send (f->stranger, again, len);
  }
  attack_assert_nothing_moved (f);
  g_assert_cmpuint (nat_counter_get (&f->sc->repairs_sent), ==, 1);
  g_assert_cmpuint (nat_counter_get (&f->sc->rtcp_refused), ==, 21);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, func)                                                                            \
  g_test_add ("/attacks/" path, AttackField, NULL, attack_set_up, func, attack_tear_down)
  ADD ("nonce-elsewhere", test_nonce_elsewhere);
  ADD ("username-of-another", test_username_of_another);
  ADD ("integrity-truncated", test_integrity_truncated);
  ADD ("bid-down", test_bid_down);
  ADD ("flag-behind-integrity", test_flag_behind_integrity);
  ADD ("mapping-theft", test_mapping_theft);
  ADD ("registration-replayed", test_registration_replayed);
  ADD ("forged-ticket", test_forged_ticket);
  ADD ("media-replayed", test_media_replayed);
  ADD ("ssrc-theft", test_ssrc_theft);
  ADD ("bye-forged", test_bye_forged);
  ADD ("sender-report-forged", test_sender_report_forged);
  ADD ("pli-flood", test_pli_flood);
  ADD ("nack-flood", test_nack_flood);
  ADD ("nack-replayed", test_nack_replayed);
  return g_test_run ();
}
