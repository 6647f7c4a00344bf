/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* RTCP through the data plane: what goes on, what ends here, and what the relay says itself. */

#include <string.h>

#include "datarelay.h"
#include "natproto/crypto.h"
#include "natproto/rtcp.h"
#include "natproto/rtcpapp.h"

#define QUIET_MS 150
#define REPORTS  4           /* in a row, in time */
#define RECEIVER 0xabcdef01u /* a subscriber's own SSRC */

static void
put_u32 (guint8 *p, guint32 value)
{
  value = GUINT32_TO_BE (value);
  memcpy (p, &value, 4);
}

/* Sender report with one report block about nobody, SDES and BYE. */
static gsize
write_sr (guint8 *buf, guint32 ssrc, guint64 ntp)
{
  gsize len = 52;

  memset (buf, 0, len);
  buf[0] = 0x81;
  buf[1] = NAT_RTCP_SR;
  buf[3] = 12;
  put_u32 (buf + 4, ssrc);
  put_u32 (buf + 8, (guint32)(ntp >> 32));
  put_u32 (buf + 12, (guint32)ntp);
  put_u32 (buf + 16, 90000);
  put_u32 (buf + 20, 10);
  put_u32 (buf + 24, 1000);
  put_u32 (buf + 28, 0x12345678);
  len += nat_rtcp_write_sdes_cname (buf + len, 100, ssrc, "camera");
  return len + nat_rtcp_write_bye (buf + len, 100, ssrc);
}

static gsize
write_nack (guint8 *buf, guint32 media_ssrc)
{
  static const guint8 head[4] = {0x80 | NAT_RTCP_FMT_NACK, NAT_RTCP_RTPFB, 0, 3};

  memcpy (buf, head, sizeof head);
  put_u32 (buf + 4, RECEIVER);
  put_u32 (buf + 8, media_ssrc);
  put_u32 (buf + 12, 17 << 16); /* packet 17, no more */
  return 16;
}

static void
send_pli (NatProbe *p, guint32 media_ssrc)
{
  guint8 buf[64];
  gsize len = nat_rtcp_write_rr (buf, sizeof buf, RECEIVER, NULL, 0);

  len += nat_rtcp_write_pli (buf + len, sizeof buf - len, RECEIVER, media_ssrc);
  nat_probe_send_rtcp (p, buf, len);
}

typedef struct {
  guint32 sender;
  guint n_blocks;
  NatRtcpReportBlock blocks[31];
  gboolean cname;
  guint n_pli;
  guint32 pli_ssrc;
  guint n_nack;
} Heard;

/* The next compound from the relay; FALSE: none in time. */
static gboolean
hear (NatProbe *p, Heard *heard, guint timeout_ms)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gssize len = nat_probe_receive_rtcp (p, buf, timeout_ms);
  NatRtcpIter it;
  NatRtcpPacket packet;

  memset (heard, 0, sizeof *heard);
  if (len == -1)
    return FALSE;
  g_assert_cmpint (len, >, 0);
  g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
  while (nat_rtcp_iter_next (&it, &packet)) {
    if (packet.type == NAT_RTCP_RR) {
      heard->sender = nat_rtcp_sender_ssrc (&packet);
      while (nat_rtcp_report_block (&packet, heard->n_blocks, &heard->blocks[heard->n_blocks]))
        heard->n_blocks++;
    }
    heard->cname |= packet.type == NAT_RTCP_SDES;
    heard->n_nack += packet.type == NAT_RTCP_RTPFB;
    if (packet.type == NAT_RTCP_PSFB) {
      g_assert_cmpuint (packet.count, ==, NAT_RTCP_FMT_PLI);
      g_assert_true (nat_rtcp_media_ssrc (&packet, &heard->pli_ssrc));
      heard->n_pli++;
    }
  }
  return TRUE;
}

static gboolean
hear_pli (NatProbe *p, Heard *heard, guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;

  do {
    gint64 left = MAX (end - g_get_monotonic_time (), 0);
    if (!hear (p, heard, (guint)(left / 1000)))
      return FALSE;
  } while (heard->n_pli == 0);
  return TRUE;
}

/* What is lost is asked for, apart from reports. */
static gboolean
hear_report (NatProbe *p, Heard *heard, guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;

  do {
    gint64 left = MAX (end - g_get_monotonic_time (), 0);
    if (!hear (p, heard, (guint)(left / 1000)))
      return FALSE;
  } while (heard->n_nack > 0);
  return TRUE;
}

/* About all up to the highest: the test leaves out 5, 15, 25... A stream that moves may have one on its way. */
static void
assert_block (const NatRtcpReportBlock *block, guint16 sent)
{
  gint lost = (gint)(block->highest_seq + 5) / 10;

  g_assert_cmpuint (block->ssrc, ==, VIDEO_SSRC);
  g_assert_cmphex (block->lsr, ==, 0x33445566);
  g_assert_cmpuint (block->dlsr, >, 0);
  g_assert_cmpuint (block->highest_seq, <=, sent);
  g_assert_cmpint (block->cumulative_lost, >=, lost);
  g_assert_cmpint (block->cumulative_lost, <=, lost + 1);
}

/* Also without an audience, and while RTP arrives never more than 400 ms apart. A busy machine holds up relay
 * and test as it likes, but not all the time: what counts is that some reports in a row are in time. */
static void
test_receiver_report (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  gint64 start = g_get_monotonic_time (), last = start;
  guint in_time = 0, n = 0;
  guint8 sr[200];
  guint32 sender = 0;
  Heard heard;

  nat_probe_send_rtcp (
      publisher, sr, write_sr (sr, VIDEO_SSRC, G_GUINT64_CONSTANT (0x1122334455667788)));
  for (guint16 seq = 1; in_time < REPORTS; seq++) {
    g_assert_cmpint (g_get_monotonic_time () - start, <, 60 * G_USEC_PER_SEC);
    if (seq % 10 != 5)
      nat_probe_send_rtp (publisher, VIDEO_SSRC, seq);
    if (!hear_report (publisher, &heard, 10))
      continue;
    in_time =
        g_get_monotonic_time () - last <= 450000 ? in_time + 1 : 0; /* 400, and the way here */
    last = g_get_monotonic_time ();
    g_assert_true (heard.cname);
    g_assert_true (sender == 0 || sender == heard.sender);
    sender = heard.sender;
    g_assert_cmpuint (heard.n_blocks, ==, 1); /* the audio was not heard */
    assert_block (&heard.blocks[0], seq);
  }
  g_assert_true (sender != VIDEO_SSRC && sender != AUDIO_SSRC);
  /* At most one more for what came last; then silence, as nothing arrives. */
  data_relay_sync (r);
  while (hear_report (publisher, &heard, 1))
    continue;
  while (hear_report (publisher, &heard, 700))
    n++;
  g_assert_cmpuint (n, <=, 1);
}

static void
test_sender_report (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) one = data_relay_subscribe (r, NULL, NULL);
  g_autoptr (NatProbe) two = data_relay_subscribe (r, NULL, NULL);
  NatProbe *both[] = {one, two};
  guint8 buf[NAT_DATAGRAM_MAX], sr[200];

  nat_probe_send_rtcp (publisher, sr, write_sr (sr, 0xdeadbeef, 1));
  nat_probe_send_rtcp (
      publisher, sr, write_sr (sr, VIDEO_SSRC, G_GUINT64_CONSTANT (0x1122334455667788)));
  for (guint i = 0; i < 2; i++) {
    gssize len = nat_probe_receive_rtcp (both[i], buf, NAT_PROBE_WAIT_MS);
    NatRtcpSenderInfo info;
    NatRtcpPacket packet;
    NatRtcpIter it;

    g_assert_cmpint (len, >, 0);
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    g_assert_true (nat_rtcp_iter_next (&it, &packet));
    g_assert_cmpuint (packet.type, ==, NAT_RTCP_SR);
    g_assert_cmpuint (packet.count, ==, 0); /* its block was about us */
    g_assert_cmpuint (nat_rtcp_sender_ssrc (&packet), ==, VIDEO_SSRC);
    g_assert_true (nat_rtcp_sender_info (&packet, &info));
    g_assert_cmphex (info.ntp, ==, G_GUINT64_CONSTANT (0x1122334455667788));
    g_assert_cmpuint (info.rtp_time, ==, 90000);
    g_assert_true (nat_rtcp_iter_next (&it, &packet));
    g_assert_cmpuint (packet.type, ==, NAT_RTCP_SDES);
    g_assert_false (nat_rtcp_iter_next (&it, &packet)); /* BYE is withheld */
    g_assert_cmpint (nat_probe_receive_rtcp (both[i], buf, QUIET_MS), ==, -1);
  }
}

/* Sender reports that wait for the subscriber; the last one's time, in the middle 32 bits that a receiver quotes. */
static guint
count_reports (NatProbe *p, guint32 *middle)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  NatRtcpSenderInfo info;
  NatRtcpPacket packet;
  NatRtcpIter it;
  gssize len;
  guint n = 0;

  while ((len = nat_probe_receive_rtcp (p, buf, 0)) != -1) {
    g_assert_cmpint (len, >, 0);
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    while (nat_rtcp_iter_next (&it, &packet)) {
      if (!nat_rtcp_sender_info (&packet, &info))
        continue;
      *middle = (guint32)(info.ntp >> 16);
      n++;
    }
  }
  return n;
}

/* A publisher that sends nothing but reports makes the relay work for each receiver; so many of them go on as honest
 * ones send, and what a receiver quotes is one that did. */
static void
test_sender_report_flood (void)
{
  const guint flood = 1000, per_second = 8, burst = 16; /* of two tracks */
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  NatSessionCounters *cp, *c;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, &cp);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, &c);
  NatRtcpReportBlock block = {.ssrc = VIDEO_SSRC};
  gint64 start = g_get_monotonic_time (), took;
  guint8 buf[200];
  guint n = 0;

  for (guint i = 1; i <= flood; i++) {
    nat_probe_send_rtcp (publisher, buf, write_sr (buf, VIDEO_SSRC, (guint64)i << 16));
    if (i % 50 == 0) {
      data_relay_sync (r);
      n += count_reports (subscriber, &block.lsr);
    }
  }
  took = g_get_monotonic_time () - start;
  g_assert_cmpuint (n, >=, burst);
  g_assert_cmpuint (n, <=, burst + (guint)(took * per_second / G_USEC_PER_SEC) + 1);
  g_assert_cmpuint (
      DATA_RELAY_COUNT (r, reports_limited), ==, nat_counter_get (&cp->rtcp_received) - n);
  nat_probe_send_rtcp (subscriber, buf, nat_rtcp_write_rr (buf, sizeof buf, RECEIVER, &block, 1));
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&c->rtt_us), >, 0);
  nat_session_counters_unref (cp);
  nat_session_counters_unref (c);
}

/* As many tracks as there can be, and each with some reports at once: the limit is not for them. */
static void
test_sender_reports_of_many (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTracks tracks = {.n_tracks = NAT_TRACKS_MAX};
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, NULL);
  const guint rounds = 4;
  guint32 middle;
  guint8 buf[200];
  guint n = 0;

  for (guint i = 0; i < NAT_TRACKS_MAX; i++)
    tracks.tracks[i] = (NatTrack){VIDEO_SSRC + i, 96, 90000, "video"};
  g_assert_true (nat_dataplane_set_description (r->dp, STREAM, &tracks, 2, tp.session_id));
  g_assert_cmpint (nat_probe_indication (publisher, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  for (guint i = 0; i < rounds * NAT_TRACKS_MAX; i++) {
    nat_probe_send_rtcp (
        publisher, buf, write_sr (buf, VIDEO_SSRC + i % NAT_TRACKS_MAX, (guint64)(i + 1) << 16));
    data_relay_sync (r);
    n += count_reports (subscriber, &middle);
  }
  g_assert_cmpuint (n, ==, rounds * NAT_TRACKS_MAX);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, reports_limited), ==, 0);
}

/* What a subscriber says about itself goes to nobody; counters learn from its report. */
static void
test_reports_end_here (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, &c);
  NatRtcpReportBlock block = {.ssrc = VIDEO_SSRC, .fraction_lost = 64, .lsr = 0x33445566};
  guint8 buf[NAT_DATAGRAM_MAX], sr[200];
  gint64 before;
  Heard heard;
  gsize len;

  g_assert_true (hear_pli (publisher, &heard, NAT_PROBE_WAIT_MS)); /* of the join */
  before = g_get_monotonic_time ();
  nat_probe_send_rtcp (
      publisher, sr, write_sr (sr, VIDEO_SSRC, G_GUINT64_CONSTANT (0x1122334455667788)));
  g_assert_cmpint (nat_probe_receive_rtcp (subscriber, buf, NAT_PROBE_WAIT_MS), >, 0);
  g_usleep (20000);
  len = nat_rtcp_write_rr (buf, sizeof buf, RECEIVER, &block, 1);
  len += write_nack (buf + len, VIDEO_SSRC);
  nat_probe_send_rtcp (subscriber, buf, len);
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&c->repair_requests), ==, 1);
  g_assert_cmpuint (nat_counter_get (&c->fraction_lost), ==, 64);
  g_assert_cmpuint (nat_counter_get (&c->rtt_us), >=, 20000);
  g_assert_cmpuint (
      nat_counter_get (&c->rtt_us), <=, (guint64)(g_get_monotonic_time () - before) + 1000);
  g_assert_cmpuint (nat_counter_get (&c->rtcp_received), ==, 1);
  g_assert_false (hear (publisher, &heard, QUIET_MS));
  /* Forged, replayed, cut: refused and counted. */
  len = nat_rtcp_write_rr (buf, sizeof buf, RECEIVER, &block, 1);
  len = nat_srtcp_protect (subscriber->to_relay, buf, len);
  nat_probe_send (subscriber, buf, len);
  nat_probe_send (subscriber, buf, len);
  buf[12] ^= 1;
  nat_probe_send (subscriber, buf, len);
  nat_probe_send (subscriber, buf, 20);
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&c->rtcp_received), ==, 2);
  g_assert_cmpuint (nat_counter_get (&c->rtcp_refused), ==, 3);
  nat_session_counters_unref (c);
}

/* However many ask: one PLI at once, and one after the interval for those that came in it. */
static void
test_picture_limit (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) one = NULL, two = NULL;
  gint64 before = g_get_monotonic_time ();
  guint n = 1;
  Heard heard;

  one = data_relay_subscribe (r, NULL, &c);
  g_assert_true (hear_pli (publisher, &heard, NAT_PROBE_WAIT_MS)); /* it joined: video only */
  g_assert_cmpuint (heard.n_pli, ==, 1);
  g_assert_cmpuint (heard.pli_ssrc, ==, VIDEO_SSRC);
  two = data_relay_subscribe (r, NULL, NULL);
  for (guint i = 0; i < 10; i++) {
    send_pli (one, VIDEO_SSRC);
    send_pli (two, VIDEO_SSRC);
  }
  /* The second. More come only if the machine took longer than the interval for those few requests. */
  while (hear_pli (publisher, &heard, n == 1 ? NAT_PROBE_WAIT_MS : 700)) {
    g_assert_cmpuint (heard.n_pli, ==, 1);
    g_assert_cmpint (g_get_monotonic_time () - before, >=, n++ * (gint64)500000);
  }
  g_assert_cmpuint (n, >=, 2);
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&c->keyframe_requests), ==, 10);
  /* After a pause at once; another source has a limit of its own; an unknown one is ignored. */
  send_pli (one, 0xdeadbeef);
  send_pli (one, VIDEO_SSRC);
  data_relay_sync (r); /* it was served, and so its request was sent */
  g_assert_true (hear_pli (publisher, &heard, 450));
  g_assert_cmpuint (heard.pli_ssrc, ==, VIDEO_SSRC);
  send_pli (one, AUDIO_SSRC);
  data_relay_sync (r);
  g_assert_true (hear_pli (publisher, &heard, 450));
  g_assert_cmpuint (heard.pli_ssrc, ==, AUDIO_SSRC);
  g_assert_cmpuint (nat_counter_get (&c->keyframe_requests), ==, 12);
  nat_session_counters_unref (c);
}

/* A compound may hold a hundred requests and more, and no receiver has as many sources. */
static void
test_feedback_limit (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  NatSessionCounters *c;
  NatProbe *publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, &c);
  guint8 buf[1500];
  gsize len = 0;

  for (guint i = 0; i < 60; i++)
    len += nat_rtcp_write_pli (buf + len, sizeof buf - len, RECEIVER, VIDEO_SSRC);
  for (guint i = 0; i < 40; i++)
    len += write_nack (buf + len, VIDEO_SSRC);
  nat_probe_send_rtcp (subscriber, buf, len);
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&c->keyframe_requests), ==, 60);
  g_assert_cmpuint (nat_counter_get (&c->repair_requests), ==, 4);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, feedback_limited), ==, 36);
  nat_session_counters_unref (c);
  nat_probe_free (publisher);
}

/* Those who wait when the publisher comes get a picture as soon as it can be asked for. */
static void
test_picture_waits (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, NULL);
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  Heard heard;

  g_assert_true (hear_pli (publisher, &heard, NAT_PROBE_WAIT_MS));
  g_assert_cmpuint (heard.pli_ssrc, ==, VIDEO_SSRC);
  data_relay_assert_passes (publisher, subscriber, VIDEO_SSRC, 1);
}

/* Gone for want of consent and revived under the same boot id and epoch: no index comes twice, so the
 * client's context, which refuses repeats, opens what it gets. */
static void
test_indices_go_on (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp;
  g_autoptr (NatProbe) publisher = NULL, subscriber = NULL;
  guint8 buf[NAT_DATAGRAM_MAX], sr[200];
  NatEvent event;

  data_relay_default_times (&times);
  times.consent_us = 2 * G_USEC_PER_SEC; /* a busy machine must do a round in it */
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  subscriber = data_relay_subscribe (r, NULL, NULL);
  publisher = data_relay_publish (r, &tp, NULL);
  for (guint round = 0; round < 3; round++) {
    g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 0);
    g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
    nat_probe_send_rtcp (publisher, sr, write_sr (sr, VIDEO_SSRC, 1));
    g_assert_cmpint (nat_probe_receive_rtcp (subscriber, buf, NAT_PROBE_WAIT_MS), >, 0);
    g_assert_true (data_relay_event (r, NAT_EVENT_GONE, &event, NAT_PROBE_WAIT_MS));
    g_assert_true (data_relay_event (r, NAT_EVENT_GONE, &event, NAT_PROBE_WAIT_MS));
  }
}

/* A client that starts anew draws a new epoch: both directions begin again. */
static void
test_new_epoch (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  g_autoptr (NatProbe) subscriber = data_relay_subscribe (r, NULL, &c);
  guint8 buf[NAT_DATAGRAM_MAX], sr[200];

  for (guint i = 0; i < 3; i++) {
    nat_probe_send_rtcp (publisher, sr, write_sr (sr, VIDEO_SSRC, 1));
    g_assert_cmpint (nat_probe_receive_rtcp (subscriber, buf, NAT_PROBE_WAIT_MS), >, 0);
    send_pli (subscriber, VIDEO_SSRC);
    data_relay_sync (r);
    g_assert_cmpuint (nat_counter_get (&c->rtcp_received), ==, i + 1);
    nat_crypto_random (subscriber->epoch, sizeof subscriber->epoch);
    g_clear_pointer (&subscriber->to_relay, nat_srtcp_free);
    g_clear_pointer (&subscriber->from_relay, nat_srtcp_free);
    g_assert_cmpint (nat_probe_bind (subscriber, NAT_PROBE_SELECT), ==, 0);
  }
  g_assert_cmpuint (nat_counter_get (&c->rtcp_refused), ==, 0);
  nat_session_counters_unref (c);
}

/* Whoever asked is told of each packet once, with its arrival; who did not is told nothing. */
static void
test_congestion_control_feedback (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTracks tracks = {2, {{VIDEO_SSRC, 96, 90000, "video"}, {AUDIO_SSRC, 97, 48000, "audio"}}};
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  guint told[300] = {0}, n_told = 0;
  guint8 buf[NAT_DATAGRAM_MAX];
  gint64 start;

  tracks.tracks[0].ccfb = TRUE;
  g_assert_true (nat_dataplane_set_description (r->dp, STREAM, &tracks, 2, tp.session_id));
  g_assert_cmpint (nat_probe_indication (publisher, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  start = g_get_monotonic_time ();
  for (guint16 seq = 1; seq < 200; seq++) {
    if (seq % 10 != 5)
      nat_probe_send_rtp (publisher, VIDEO_SSRC, seq);
    nat_probe_send_rtp (publisher, AUDIO_SSRC, seq);
    g_usleep (1000);
  }
  while (n_told < 199) {
    gssize len = nat_probe_receive_rtcp (publisher, buf, NAT_PROBE_WAIT_MS);
    guint32 timestamp;
    NatRtcpPacket packet;
    NatCcfbBlock block;
    NatCcfbIter ccfb;
    NatRtcpIter it;

    g_assert_cmpint (len, >, 0);
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    g_assert_true (nat_rtcp_iter_next (&it, &packet));
    if (!nat_ccfb_iter_init (&ccfb, &packet, &timestamp))
      continue;
    while (nat_ccfb_iter_next (&ccfb, &block)) {
      g_assert_cmphex (block.ssrc, ==, VIDEO_SSRC);
      for (guint i = 0; i < block.n_metrics; i++) {
        guint16 seq = (guint16)(block.begin_seq + i);
        NatCcfbMetric m = nat_ccfb_metric (&block, i);

        g_assert_cmpuint (seq, <, 200);
        g_assert_cmpuint (told[seq]++, ==, 0);
        g_assert_cmpint (m.received, ==, seq % 10 != 5);
        g_assert_cmpuint (
            m.age, <=, (guint)((g_get_monotonic_time () - start) * 1024 / G_USEC_PER_SEC + 1));
        n_told++;
      }
    }
  }
}

/* What three receivers tell comes to the publisher as one line. */
static void
test_audience (void)
{
  static const guint8 losses[] = {0, 20, 90};
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp;
  g_autoptr (NatProbe) publisher = data_relay_publish (r, &tp, NULL);
  NatProbe *receivers[3];
  NatAudience a = {0};

  for (guint i = 0; i < 3; i++) {
    NatRtcpReportBlock block = {.ssrc = VIDEO_SSRC, .fraction_lost = losses[i]};
    guint8 buf[64];

    receivers[i] = data_relay_subscribe (r, NULL, NULL);
    nat_probe_send_rtcp (
        receivers[i], buf, nat_rtcp_write_rr (buf, sizeof buf, RECEIVER + i, &block, 1));
    /* Before a question by itself, say; what was told before still holds. */
    nat_probe_send_rtcp (
        receivers[i], buf, nat_rtcp_write_rr (buf, sizeof buf, RECEIVER + i, NULL, 0));
  }
  data_relay_sync (r);
  for (guint16 seq = 1; a.worst_loss != 90; seq++) {
    guint8 buf[NAT_DATAGRAM_MAX];
    gssize len;
    NatRtcpPacket packet;
    NatRtcpIter it;

    g_assert_cmpuint (seq, <, 300);
    nat_probe_send_rtp (publisher, VIDEO_SSRC, seq);
    len = nat_probe_receive_rtcp (publisher, buf, 20);
    if (len < 0 || !nat_rtcp_iter_init (&it, buf, (gsize)len))
      continue;
    while (nat_rtcp_iter_next (&it, &packet))
      nat_rtcp_audience (&packet, &a);
  }
  g_assert_cmpuint (a.receivers, ==, 3);
  g_assert_cmpuint (a.joined, ==, 3);
  g_assert_cmpuint (a.left, ==, 0);
  g_assert_cmpuint (a.median_loss, ==, 20);
  for (guint i = 0; i < 3; i++)
    nat_probe_free (receivers[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/feedback/receiver-report", test_receiver_report);
  g_test_add_func ("/feedback/sender-report", test_sender_report);
  g_test_add_func ("/feedback/sender-report-flood", test_sender_report_flood);
  g_test_add_func ("/feedback/sender-reports-of-many", test_sender_reports_of_many);
  g_test_add_func ("/feedback/reports-end-here", test_reports_end_here);
  g_test_add_func ("/feedback/picture-limit", test_picture_limit);
  g_test_add_func ("/feedback/feedback-limit", test_feedback_limit);
  g_test_add_func ("/feedback/picture-waits", test_picture_waits);
  g_test_add_func ("/feedback/indices-go-on", test_indices_go_on);
  g_test_add_func ("/feedback/new-epoch", test_new_epoch);
  g_test_add_func ("/feedback/audience", test_audience);
  g_test_add_func ("/feedback/congestion-control", test_congestion_control_feedback);
  return g_test_run ();
}
