/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Lost packets through the data plane, on both legs. */

#include <string.h>

#include "bareworker.h"
#include "datarelay.h"
#include "natproto/rtcp.h"
#include "natserver/data/repair.h"
#include "natproto/rtcpapp.h"

#define QUIET_MS 150
#define RECEIVER 0xabcdef01u
#define SIZE     NAT_PROBE_RTP
#define ROUNDS   10

typedef struct {
  DataRelay *r;
  NatTicket ticket;
  NatProbe *publisher, *one, *two;
  NatSessionCounters *pc, *c1, *c2;
} Fixture;

/* The stream stays where it is, so that its history does. */
static void
set_up (Fixture *f, gint64 repeat_us)
{
  NatDataTimes times;

  data_relay_default_times (&times);
  times.move_us = (gint64)3600 * G_USEC_PER_SEC;
  times.repeat_us = repeat_us;
  f->r = data_relay_new ("127.0.0.1", FALSE, &times);
  f->publisher = data_relay_publish (f->r, &f->ticket, &f->pc);
  f->one = data_relay_subscribe (f->r, NULL, &f->c1);
  f->two = data_relay_subscribe (f->r, NULL, &f->c2);
}

static void
tear_down (Fixture *f)
{
  nat_probe_free (f->publisher);
  nat_probe_free (f->one);
  nat_probe_free (f->two);
  nat_session_counters_unref (f->pc);
  nat_session_counters_unref (f->c1);
  nat_session_counters_unref (f->c2);
  data_relay_free (f->r);
}

static void
assert_rtp (NatProbe *p, guint32 ssrc, guint16 seq)
{
  guint8 rtp[SIZE], got[NAT_DATAGRAM_MAX];

  nat_probe_write_rtp (rtp, sizeof rtp, ssrc, seq, seq * 3000u);
  g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, SIZE);
  g_assert_cmpmem (got, SIZE, rtp, SIZE);
}

static void
assert_no_rtp (NatProbe *p)
{
  guint8 got[NAT_DATAGRAM_MAX];

  g_assert_cmpint (nat_probe_receive (p, NAT_PACKET_RTP, got, QUIET_MS), ==, -1);
}

static void
pass (Fixture *f, guint32 ssrc, guint16 seq)
{
  nat_probe_send_rtp (f->publisher, ssrc, seq);
  assert_rtp (f->one, ssrc, seq);
  assert_rtp (f->two, ssrc, seq);
}

static void
send_nack (NatProbe *p, guint32 ssrc, const guint16 *seqs, guint n)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gsize len = nat_rtcp_write_rr (buf, sizeof buf, RECEIVER, NULL, 0);

  len += nat_rtcp_write_nack (buf + len, sizeof buf - len, RECEIVER, ssrc, seqs, &n);
  nat_probe_send_rtcp (p, buf, len);
}

static void
send_nack_one (NatProbe *p, guint32 ssrc, guint16 seq)
{
  send_nack (p, ssrc, &seq, 1);
}

/* The numbers of the next NACK that the publisher gets; 0: none in time. */
static guint
hear_nack (NatProbe *p, guint32 *ssrc, guint16 seqs[64], guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;
  guint8 buf[NAT_DATAGRAM_MAX];
  guint n = 0;

  while (n == 0) {
    gint64 left = MAX (end - g_get_monotonic_time (), 0);
    gssize len = nat_probe_receive_rtcp (p, buf, (guint)(left / 1000));
    NatRtcpNackEntry entry;
    NatRtcpPacket packet;
    NatRtcpIter it;

    if (len == -1)
      return 0;
    g_assert_cmpint (len, >, 0);
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    while (nat_rtcp_iter_next (&it, &packet)) {
      for (guint i = 0; nat_rtcp_nack_entry (&packet, i, &entry); i++) {
        g_assert_true (nat_rtcp_media_ssrc (&packet, ssrc));
        seqs[n++] = entry.first;
        for (guint bit = 0; bit < 16; bit++) {
          if (entry.following >> bit & 1)
            seqs[n++] = (guint16)(entry.first + 1 + bit);
        }
      }
    }
  }
  return n;
}

/* The next EDGE's; 0: none in time. */
static guint
hear_edges (NatProbe *p, NatLiveEdge edges[NAT_TRACKS_MAX], guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;
  guint8 buf[NAT_DATAGRAM_MAX];
  guint n = 0;

  while (n == 0) {
    gint64 left = MAX (end - g_get_monotonic_time (), 0);
    gssize len = nat_probe_receive_rtcp (p, buf, (guint)(left / 1000));
    NatRtcpPacket packet;
    NatRtcpIter it;

    if (len == -1)
      return 0;
    g_assert_cmpint (len, >, 0);
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    while (n == 0 && nat_rtcp_iter_next (&it, &packet))
      n = nat_rtcp_edges (&packet, edges);
  }
  return n;
}

/* ---- The publisher's leg ----------------------------------------------- */

/* A gap is asked for, over the wrap, and what comes goes to everybody. */
static void
test_publisher_asked (void)
{
  static const guint16 missing[] = {65534, 65535, 0, 3};
  guint16 seqs[64], more[64];
  guint32 ssrc = 0;
  Fixture f;
  guint n;

  set_up (&f, 0);
  pass (&f, VIDEO_SSRC, 65532);
  pass (&f, VIDEO_SSRC, 65533);
  nat_probe_send_rtp (f.publisher, VIDEO_SSRC, 1);
  nat_probe_send_rtp (f.publisher, VIDEO_SSRC, 2);
  nat_probe_send_rtp (f.publisher, VIDEO_SSRC, 4);
  for (guint16 seq = 1; seq <= 4; seq += 1 + (seq == 2)) {
    assert_rtp (f.one, VIDEO_SSRC, seq);
    assert_rtp (f.two, VIDEO_SSRC, seq);
  }
  n = hear_nack (f.publisher, &ssrc, seqs, NAT_PROBE_WAIT_MS);
  g_assert_cmpuint (ssrc, ==, VIDEO_SSRC);
  if (n == 3) { /* where the packets were read in two batches */
    g_assert_cmpuint (hear_nack (f.publisher, &ssrc, more, NAT_PROBE_WAIT_MS), ==, 1);
    seqs[n++] = more[0];
  }
  g_assert_cmpmem (seqs, n * sizeof seqs[0], missing, sizeof missing);
  for (guint i = 0; i < G_N_ELEMENTS (missing); i++)
    pass (&f, VIDEO_SSRC, missing[i]);
  data_relay_sync (f.r);
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_received), ==, 4);
  g_assert_cmpuint (nat_counter_get (&f.pc->packets_lost), ==, 0);
  /* Nothing is missing: nothing more is asked for, and the sequence goes on. */
  while (hear_nack (f.publisher, &ssrc, seqs, 2 * QUIET_MS) > 0)
    g_assert_cmpuint (nat_counter_get (&f.pc->repairs_asked), <, 20); /* crossed the repairs */
  pass (&f, VIDEO_SSRC, 5);
  g_assert_cmpuint (hear_nack (f.publisher, &ssrc, seqs, QUIET_MS), ==, 0);
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_given_up), ==, 0);
  tear_down (&f);
}

/* What never comes is asked for during a second, no more, and given up after two. */
static void
test_given_up (void)
{
  guint16 seqs[64];
  guint asked = 0;
  guint32 ssrc;
  Fixture f;

  set_up (&f, 0);
  pass (&f, AUDIO_SSRC, 10);
  pass (&f, AUDIO_SSRC, 12);
  for (guint n; (n = hear_nack (f.publisher, &ssrc, seqs, 1500)) > 0; asked++) {
    g_assert_cmpuint (ssrc, ==, AUDIO_SSRC);
    g_assert_cmpuint (n, ==, 1);
    g_assert_cmpuint (seqs[0], ==, 11);
  }
  g_assert_cmpuint (asked, >=, 3);
  g_assert_cmpuint (asked, <=, 60);
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_asked), ==, asked);
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_given_up), ==, 1);
  tear_down (&f);
}

#define GAPS_MS   1000
#define GAPS_STEP 10

/* Bytes of RTCP that came. */
static gsize
hear_all (NatProbe *p)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gsize bytes = 0;
  gssize len;

  while ((len = nat_probe_receive (p, NAT_PACKET_RTCP, buf, 0)) >= 0)
    bytes += (gsize)len;
  return bytes;
}

/* A publisher whose numbers jump with each of its small packets, in all the tracks that there may be, is asked for half a million
 * packets a second and hears no more than 32 KiB at once and 16 KiB in a second of that. */
static void
test_gaps (void)
{
  NatTracks tracks = {.n_tracks = NAT_TRACKS_MAX};
  gint64 start, end;
  gsize heard = 0;
  guint8 rtp[20];
  guint16 seq = 0;
  Fixture f;

  set_up (&f, 0);
  for (guint i = 0; i < NAT_TRACKS_MAX; i++)
    tracks.tracks[i] = (NatTrack){1000 + i, 96, 90000, "video"};
  g_assert_true (nat_dataplane_set_description (f.r->dp, STREAM, &tracks, 2, NULL));
  data_relay_sync (f.r);
  start = g_get_monotonic_time ();
  for (end = start + GAPS_MS * 1000; g_get_monotonic_time () < end; seq += 2900) {
    for (guint i = 0; i < NAT_TRACKS_MAX; i++) {
      nat_probe_write_rtp (rtp, sizeof rtp, 1000 + i, seq, seq);
      nat_probe_send (f.publisher, rtp, sizeof rtp);
    }
    g_usleep (GAPS_STEP * 1000);
    heard += hear_all (f.publisher);
  }
  data_relay_sync (f.r);
  heard += hear_all (f.publisher);
  end = g_get_monotonic_time ();
  g_test_message ("%" G_GSIZE_FORMAT " bytes in %u ms", heard, (guint)((end - start) / 1000));
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_asked), >, 512);
  /* A half more for protection and receiver reports. */
  g_assert_cmpuint (
      heard, <=, (32 * 1024 + 16 * 1024 * (gsize)(end - start) / G_USEC_PER_SEC) * 3 / 2);
  tear_down (&f);
}

/* Whether what is missing is asked for again a quarter of a second after the first question at most. */
static gboolean
is_asked_again_soon (NatProbe *publisher, guint16 seq)
{
  guint16 seqs[64];
  guint32 ssrc;

  nat_probe_send_rtp (publisher, VIDEO_SSRC, seq);
  nat_probe_send_rtp (publisher, VIDEO_SSRC, (guint16)(seq + 2));
  g_assert_cmpuint (hear_nack (publisher, &ssrc, seqs, NAT_PROBE_WAIT_MS), ==, 1);
  g_assert_cmpuint (seqs[0], ==, seq + 1);
  return hear_nack (publisher, &ssrc, seqs, 250) > 0;
}

/* The first answer was held back, as a WebSocket's is while UDP may answer yet; then the publisher moves to a way that answers
 * at once. A question or repair that is lost there is not repeated at the pace of the first. */
static void
test_publisher_moves (void)
{
  gboolean soon = FALSE;

  for (guint i = 0; i < 5 && !soon; i++) {
    g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
    NatTicket ticket = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
    g_autoptr (NatProbe) p = data_relay_probe (r, &ticket);
    NatSessionCounters *c = nat_session_counters_new ();

    g_assert_true (nat_dataplane_add_session (r->dp, &ticket, c, NULL));
    data_relay_describe (r, 1, &ticket);
    g_assert_cmpint (nat_probe_challenge (p, 200, NAT_PROBE_WAIT_MS), ==, 401);
    g_usleep (400 * 1000);
    g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
    g_assert_cmpuint (nat_counter_get (&c->rtt_us), >=, 400000);
    nat_probe_rebind (p, "127.0.0.1");
    g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
    g_assert_cmpuint (nat_counter_get (&c->moves), ==, 1);
    soon = is_asked_again_soon (p, 10);
    nat_session_counters_unref (c);
  }
  g_assert_true (soon);
}

static void
test_reordered (void)
{
  guint16 seqs[64];
  guint32 ssrc;
  Fixture f;

  set_up (&f, 0);
  pass (&f, VIDEO_SSRC, 100);
  for (guint16 seq = 102; seq < 120; seq += 2) {
    nat_probe_send_rtp (f.publisher, VIDEO_SSRC, seq);
    nat_probe_send_rtp (f.publisher, VIDEO_SSRC, seq - 1);
  }
  data_relay_sync (f.r);
  /* A machine that stops between two packets may make a loss of it, once. */
  hear_nack (f.publisher, &ssrc, seqs, QUIET_MS);
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_asked), <=, 1);
  g_assert_cmpuint (nat_counter_get (&f.pc->packets_received), ==, 19);
  g_assert_cmpuint (nat_counter_get (&f.pc->packets_lost), ==, 0);
  tear_down (&f);
}

/* The relay comes late to the publisher's sequence as well: it asks for nothing from before. */
static void
test_late_joiner (void)
{
  g_autoptr (NatProbe) late = NULL;
  guint16 seqs[64];
  guint32 ssrc;
  Fixture f;

  set_up (&f, 0);
  pass (&f, VIDEO_SSRC, 5000);
  g_assert_cmpuint (hear_nack (f.publisher, &ssrc, seqs, QUIET_MS), ==, 0);
  pass (&f, VIDEO_SSRC, 5001);
  late = data_relay_subscribe (f.r, NULL, NULL);
  assert_no_rtp (late);
  nat_probe_send_rtp (f.publisher, VIDEO_SSRC, 5002);
  assert_rtp (late, VIDEO_SSRC, 5002);
  assert_no_rtp (late);
  /* What it asks for from then on it gets. */
  send_nack_one (late, VIDEO_SSRC, 5002);
  assert_rtp (late, VIDEO_SSRC, 5002);
  tear_down (&f);
}

/* ---- The subscribers' leg ---------------------------------------------- */

static void
test_answered (void)
{
  static const guint16 lost[] = {65534, 65535, 0, 1, 30};
  guint16 none[] = {60000, 500, 20000};
  Fixture f;

  set_up (&f, 0);
  for (guint16 seq = 65530; seq != 40; seq++)
    pass (&f, VIDEO_SSRC, seq);
  pass (&f, AUDIO_SSRC, 65535);
  send_nack (f.one, VIDEO_SSRC, lost, G_N_ELEMENTS (lost));
  for (guint i = 0; i < G_N_ELEMENTS (lost); i++)
    assert_rtp (f.one, VIDEO_SSRC, lost[i]);
  send_nack_one (f.one, AUDIO_SSRC, 65535);
  assert_rtp (f.one, AUDIO_SSRC, 65535);
  assert_no_rtp (f.one);
  assert_no_rtp (f.two); /* to whoever asked alone */
  data_relay_sync (f.r);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_sent), ==, 6);
  g_assert_cmpuint (nat_counter_get (&f.c1->repair_requests), ==, 2);
  g_assert_cmpuint (nat_counter_get (&f.c2->repairs_sent), ==, 0);
  g_assert_cmpuint (nat_counter_get (&f.c1->packets_sent), ==, 53);
  g_assert_cmpuint (nat_counter_get (&f.c1->bytes_sent), ==, 53 * SIZE);
  /* Never there, ahead, and of a source that nobody announced. */
  send_nack (f.one, VIDEO_SSRC, none, G_N_ELEMENTS (none));
  send_nack_one (f.one, 0xdeadbeef, 1);
  assert_no_rtp (f.one);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_unknown), ==, 3);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_sent), ==, 6);
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_asked), ==, 0);
  tear_down (&f);
}

/* Again at once: no. After a round trip, of which a slow machine is told that it is long: yes. Both ask: each gets it. */
static void
test_not_twice (void)
{
  Fixture f;

  set_up (&f, 0);
  pass (&f, VIDEO_SSRC, 1);
  pass (&f, VIDEO_SSRC, 2);
  send_nack_one (f.one, VIDEO_SSRC, 1);
  send_nack_one (f.two, VIDEO_SSRC, 1);
  assert_rtp (f.one, VIDEO_SSRC, 1);
  assert_rtp (f.two, VIDEO_SSRC, 1);
  nat_counter_add (&f.c1->rtt_us, 400000);
  for (guint i = 0; i < 2; i++)
    send_nack_one (f.one, VIDEO_SSRC, 1);
  data_relay_sync (f.r);
  g_assert_cmpuint (
      nat_counter_get (&f.c1->repairs_sent) + nat_counter_get (&f.c1->repairs_crossed), ==, 3);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_crossed), >=, 1);
  g_usleep (400000);
  send_nack_one (f.one, VIDEO_SSRC, 1);
  assert_rtp (f.one, VIDEO_SSRC, 1);
  tear_down (&f);
}

/* What just went to all was on its way when it was asked for; half a round trip later it was not. */
static void
test_on_its_way (void)
{
  Fixture f;

  set_up (&f, 0);
  pass (&f, VIDEO_SSRC, 1);
  /* Its reports would say so. */
  nat_counter_add (&f.c1->rtt_us, 400000);
  pass (&f, VIDEO_SSRC, 2);
  send_nack_one (f.one, VIDEO_SSRC, 2);
  assert_no_rtp (f.one);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_crossed), ==, 1);
  g_usleep (200000);
  send_nack_one (f.one, VIDEO_SSRC, 2);
  assert_rtp (f.one, VIDEO_SSRC, 2);
  tear_down (&f);
}

/* FALSE: the machine was so slow that some packets were too old to be kept. */
static gboolean
share_is_kept (void)
{
  const guint n = 1000;
  guint8 rtp[1200], got[NAT_DATAGRAM_MAX];
  guint16 seqs[1000];
  guint64 sent, answered, limited, gone;
  Fixture f;

  set_up (&f, 0);
  for (guint i = 0; i < n; i++) {
    nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, (guint16)i, i);
    nat_probe_send (f.publisher, rtp, sizeof rtp);
    g_assert_cmpint (nat_probe_receive (f.one, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, 1200);
    g_assert_cmpint (nat_probe_receive (f.two, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, 1200);
    seqs[i] = (guint16)i;
  }
  g_usleep (600000); /* a rate was measured */
  data_relay_sync (f.r);
  sent = nat_counter_get (&f.c1->packets_sent);
  for (guint i = 0; i < ROUNDS; i++) {
    send_nack (f.one, VIDEO_SSRC, seqs, n);
    data_relay_sync (f.r);
  }
  answered = nat_counter_get (&f.c1->repairs_sent);
  limited = nat_counter_get (&f.c1->repairs_limited);
  gone = nat_counter_get (&f.c1->repairs_unknown);
  g_assert_cmpuint (
      answered + limited + gone + nat_counter_get (&f.c1->repairs_crossed), ==, ROUNDS * n);
  g_assert_cmpuint (nat_counter_get (&f.c1->packets_sent) - sent, ==, answered);
  g_assert_cmpuint (answered, <, ROUNDS / 2 * n);
  if (gone == 0) {
    g_assert_cmpuint (answered, >=, 128 * 1024 / 1200);
    g_assert_cmpuint (limited, >, n);
  }
  tear_down (&f);
  return gone == 0;
}

/* Whoever asks for everything again and again gets a second's worth of his share, and no more than that
 * goes on. */
static void
test_share (void)
{
  guint tries = 1;

  while (!share_is_kept () && tries < 5)
    tries++;
  g_test_message ("%u tries", tries);
}

/* What the relay itself waits for does not go up again, and comes to all. */
static void
test_awaited (void)
{
  guint16 seqs[64];
  guint32 ssrc;
  gint64 start;
  Fixture f;

  set_up (&f, 0);
  pass (&f, VIDEO_SSRC, 1);
  start = g_get_monotonic_time ();
  pass (&f, VIDEO_SSRC, 3);
  for (guint i = 0; i < 20; i++) {
    send_nack_one (f.one, VIDEO_SSRC, 2);
    send_nack_one (f.two, VIDEO_SSRC, 2);
  }
  g_assert_cmpuint (hear_nack (f.publisher, &ssrc, seqs, NAT_PROBE_WAIT_MS), ==, 1);
  data_relay_sync (f.r);
  /* By itself it asks again, but not more often than every 30 ms. */
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_asked), <=,
      2 + (guint64)(g_get_monotonic_time () - start) / 30000);
  pass (&f, VIDEO_SSRC, 2);
  assert_no_rtp (f.one);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_awaited), ==, 20);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_sent), ==, 0);
  send_nack_one (f.one, VIDEO_SSRC, 2);
  assert_rtp (f.one, VIDEO_SSRC, 2);
  tear_down (&f);
}

/* A late packet that comes twice is forwarded twice: neither suppresses the other, and a repair never
 * starts the sequence anew. */
static void
test_duplicates (void)
{
  Fixture f;

  set_up (&f, 0);
  for (guint16 seq = 1000; seq < 1010; seq++)
    pass (&f, VIDEO_SSRC, seq);
  pass (&f, VIDEO_SSRC, 1005);
  pass (&f, VIDEO_SSRC, 1005);
  for (guint16 seq = 200; seq < 203; seq++)
    pass (&f, VIDEO_SSRC, seq); /* from before the first */
  pass (&f, VIDEO_SSRC, 1010);
  data_relay_sync (f.r);
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_asked), ==, 0);
  send_nack_one (f.one, VIDEO_SSRC, 1005);
  assert_rtp (f.one, VIDEO_SSRC, 1005);
  send_nack_one (f.one, VIDEO_SSRC, 1010);
  assert_rtp (f.one, VIDEO_SSRC, 1010);
  tear_down (&f);
}

/* ---- Changes ----------------------------------------------------------- */

static void
test_new_ssrc (void)
{
  static const NatTracks tracks = {
      2, {{0x99999999, 96, 90000, "video"}, {AUDIO_SSRC, 97, 48000, "audio"}}};
  Fixture f;

  set_up (&f, 0);
  pass (&f, VIDEO_SSRC, 7);
  pass (&f, AUDIO_SSRC, 7);
  g_assert_true (nat_dataplane_set_description (f.r->dp, STREAM, &tracks, 2, NULL));
  g_assert_cmpint (
      nat_probe_indication (f.publisher, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  pass (&f, 0x99999999, 40000); /* no gap to 7 */
  send_nack_one (f.one, VIDEO_SSRC, 7);
  assert_no_rtp (f.one);
  send_nack_one (f.one, AUDIO_SSRC, 7); /* stayed */
  assert_rtp (f.one, AUDIO_SSRC, 7);
  send_nack_one (f.one, 0x99999999, 40000);
  assert_rtp (f.one, 0x99999999, 40000);
  g_assert_cmpuint (nat_counter_get (&f.pc->repairs_asked), ==, 0);
  tear_down (&f);
}

/* Another session with the same SSRCs: what the old one sent is not of its stream. */
static void
test_publisher_restarts (void)
{
  g_autoptr (NatProbe) again = NULL;
  NatLiveEdge edges[NAT_TRACKS_MAX];
  NatTicket ticket;
  guint16 seqs[64];
  guint32 ssrc;
  Fixture f;

  set_up (&f, 0);
  pass (&f, VIDEO_SSRC, 7);
  ticket = data_relay_ticket (f.r, NAT_ROLE_PUBLISHER);
  again = data_relay_join (f.r, &ticket, NULL);
  data_relay_describe (f.r, 2, &ticket);
  g_assert_cmpint (nat_probe_indication (again, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  nat_probe_send_rtp (again, VIDEO_SSRC, 500);
  assert_rtp (f.one, VIDEO_SSRC, 500);
  g_assert_cmpuint (hear_nack (again, &ssrc, seqs, QUIET_MS), ==, 0);
  send_nack_one (f.one, VIDEO_SSRC, 7);
  assert_no_rtp (f.one);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_unknown), ==, 1);
  /* It is told that there is nothing before the new one's first packet, and nobody else is. */
  g_assert_cmpuint (hear_edges (f.one, edges, NAT_PROBE_WAIT_MS), ==, 1);
  g_assert_cmpuint (edges[0].ssrc, ==, VIDEO_SSRC);
  g_assert_cmpuint (edges[0].seq, ==, 499);
  g_assert_cmpuint (edges[0].behind, ==, 0);
  g_assert_cmpuint (hear_edges (f.two, edges, 0), ==, 0);
  send_nack_one (f.one, VIDEO_SSRC, 500);
  assert_rtp (f.one, VIDEO_SSRC, 500);
  g_assert_cmpuint (hear_edges (f.one, edges, QUIET_MS), ==, 0);
  tear_down (&f);
}

/* Where a source began is told while 16 bits tell it from a number a turn later, which may be the next one's. */
static void
test_began_long_ago (void)
{
  NatLiveEdge edges[NAT_TRACKS_MAX];
  Fixture f;

  set_up (&f, 0);
  for (guint i = 0; i <= 23; i++)
    pass (&f, AUDIO_SSRC, (guint16)(10 + i * 2900)); /* no jump is taken for a new beginning */
  pass (&f, VIDEO_SSRC, 1000);
  send_nack_one (f.one, VIDEO_SSRC, 900);
  g_assert_cmpuint (hear_edges (f.one, edges, NAT_PROBE_WAIT_MS), ==, 1);
  g_assert_cmpuint (edges[0].ssrc, ==, VIDEO_SSRC);
  g_assert_cmpuint (edges[0].seq, ==, 999);
  send_nack_one (f.one, AUDIO_SSRC, 9);
  g_assert_cmpuint (hear_edges (f.one, edges, QUIET_MS), ==, 0);
  tear_down (&f);
}

/* ---- Ends -------------------------------------------------------------- */

/* The last packet of each source comes once more, after 60 ms, and then no more. */
static void
test_repeated (void)
{
  gint64 start;
  Fixture f;

  set_up (&f, 60 * 1000);
  start = g_get_monotonic_time ();
  for (guint16 seq = 1; seq <= 5; seq++)
    pass (&f, VIDEO_SSRC, seq);
  if (g_get_monotonic_time () - start > 30000) {
    g_test_skip ("the machine is too slow to tell a pause from an end");
    tear_down (&f);
    return;
  }
  start = g_get_monotonic_time ();
  assert_rtp (f.one, VIDEO_SSRC, 5);
  g_assert_cmpint (g_get_monotonic_time () - start, >=, 50 * 1000);
  assert_rtp (f.two, VIDEO_SSRC, 5);
  assert_no_rtp (f.one);
  g_assert_cmpuint (DATA_RELAY_COUNT (f.r, repeated), ==, 1);
  g_assert_cmpuint (nat_counter_get (&f.c1->packets_sent), ==, 6);
  tear_down (&f);
}

/* Memory is reported, and given back when nothing comes any more. */
static void
test_memory (void)
{
  gint64 end = g_get_monotonic_time () + 10 * G_USEC_PER_SEC;
  Fixture f;

  set_up (&f, 0);
  for (guint16 seq = 0; seq < 100; seq++)
    pass (&f, VIDEO_SSRC, seq);
  while (nat_counter_get (&f.pc->cached_bytes) == 0 && g_get_monotonic_time () < end)
    g_usleep (5000);
  g_assert_cmpuint (nat_counter_get (&f.pc->cached_bytes), >=, 100 * SIZE);
  while (DATA_RELAY_COUNT (f.r, cache_bytes) == 0 && g_get_monotonic_time () < end)
    g_usleep (5000);
  while (DATA_RELAY_COUNT (f.r, cache_bytes) > 0 && g_get_monotonic_time () < end)
    g_usleep (5000);
  g_assert_cmpuint (DATA_RELAY_COUNT (f.r, cache_bytes), ==, 0);
  g_assert_cmpuint (nat_counter_get (&f.pc->cached_bytes), ==, 0);
  tear_down (&f);
}

/* Whose NAT took another port gets what went to the old one without a question, and nothing of before. */
static void
test_moved (void)
{
  guint8 report[NAT_DATAGRAM_MAX];
  gsize len = nat_rtcp_write_rr (report, sizeof report, RECEIVER, NULL, 0);
  Fixture f;

  set_up (&f, 0);
  for (guint16 seq = 65533; seq != 0; seq++)
    pass (&f, VIDEO_SSRC, seq);
  atomic_store_explicit (&f.c1->rtt_us, 1, memory_order_relaxed);
  nat_probe_send_rtcp (f.one, report, len);
  data_relay_sync (f.r);
  nat_probe_rebind (f.one, "127.0.0.1");
  for (guint16 seq = 0; seq < 3; seq++) {
    nat_probe_send_rtp (f.publisher, VIDEO_SSRC, seq);
    assert_rtp (f.two, VIDEO_SSRC, seq);
  }
  nat_probe_send_rtp (f.publisher, AUDIO_SSRC, 7);
  assert_rtp (f.two, AUDIO_SSRC, 7);
  g_assert_cmpint (nat_probe_bind (f.one, NAT_PROBE_SELECT), ==, 0);
  assert_rtp (f.one, AUDIO_SSRC, 7);
  for (guint16 seq = 0; seq < 3; seq++)
    assert_rtp (f.one, VIDEO_SSRC, seq);
  assert_no_rtp (f.one);
  assert_no_rtp (f.two);
  g_assert_cmpuint (nat_counter_get (&f.c1->moves), ==, 1);
  g_assert_cmpuint (nat_counter_get (&f.c1->repairs_sent), ==, 4);
  pass (&f, VIDEO_SSRC, 3);
  tear_down (&f);
}

/* ---- How often all streams are looked at ------------------------------- */

#define STEP_US    500
#define GAP_US     1500
#define SPACING_US 4000
#define STEPS      400

/* Losses all over, each with a time of its own at which it is to be asked for: streams are looked at together all the
 * same, and not for each of them. */
static void
test_spacing (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", 65536);
  NatDataSession *p[2];
  guint8 rtp[NAT_PROBE_RTP];
  guint16 seq[2] = {0};
  gint64 last = 0;
  guint turns = 0;

  for (guint i = 0; i < 2; i++) {
    NatAddress from;

    g_assert_true (nat_address_from_text (&from, "127.0.0.1", (guint16)(i + 1)));
    p[i] = bare_worker_join (w, i == 0 ? "a" : "b", NAT_ROLE_PUBLISHER, &from);
  }
  w->now_us = g_get_monotonic_time ();
  for (guint i = 0; i < STEPS; i++, w->now_us += STEP_US) {
    guint of = i * STEP_US / GAP_US % 2;

    if (i * STEP_US % GAP_US == 0) {
      bare_worker_receive (w, p[of], VIDEO_SSRC, seq[of], rtp, sizeof rtp);
      seq[of] += 2; /* every other one is lost */
      nat_worker_flush (w);
    }
    if (w->now_us >= w->repair_us) {
      if (turns++ > 0)
        g_assert_cmpint (w->now_us - last, >=, SPACING_US);
      last = w->now_us;
    }
    nat_repair_run (w);
  }
  g_assert_cmpuint (turns, >=, 10);
  for (guint i = 0; i < 2; i++)
    g_assert_cmpuint (nat_roster_track (p[i]->stream, VIDEO_SSRC)->missing.asked, >=, 10);
  nat_worker_free (w);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/repair/publisher-asked", test_publisher_asked);
  g_test_add_func ("/repair/given-up", test_given_up);
  g_test_add_func ("/repair/gaps", test_gaps);
  g_test_add_func ("/repair/publisher-moves", test_publisher_moves);
  g_test_add_func ("/repair/reordered", test_reordered);
  g_test_add_func ("/repair/late-joiner", test_late_joiner);
  g_test_add_func ("/repair/answered", test_answered);
  g_test_add_func ("/repair/not-twice", test_not_twice);
  g_test_add_func ("/repair/on-its-way", test_on_its_way);
  g_test_add_func ("/repair/share", test_share);
  g_test_add_func ("/repair/awaited", test_awaited);
  g_test_add_func ("/repair/duplicates", test_duplicates);
  g_test_add_func ("/repair/new-ssrc", test_new_ssrc);
  g_test_add_func ("/repair/publisher-restarts", test_publisher_restarts);
  g_test_add_func ("/repair/began-long-ago", test_began_long_ago);
  g_test_add_func ("/repair/repeated", test_repeated);
  g_test_add_func ("/repair/memory", test_memory);
  g_test_add_func ("/repair/moved", test_moved);
  g_test_add_func ("/repair/spacing", test_spacing);
  return g_test_run ();
}
