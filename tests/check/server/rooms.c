/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Subscribers of a pattern on a data plane: who gets what, from whichever worker hears it, and to whom what they say
 * goes. */

#include <string.h>

#include "datarelay.h"
#include "natproto/rtcp.h"
#include "natproto/rtcpapp.h"

#define QUIET_MS 150

/* Of all streams: a jump would be no packet of theirs. */
static guint16 next_seq = 1;

static NatTicket
ticket (DataRelay *r, NatRole role, const char *stream, const char *subject)
{
  NatTicket t = data_relay_ticket (r, role);

  g_strlcpy (t.stream, stream, sizeof t.stream);
  g_strlcpy (t.subject, subject, sizeof t.subject);
  return t;
}

static void
describe (DataRelay *r, const NatTicket *t, guint32 ssrc)
{
  NatTracks tracks = {
      2, {{ssrc, 96, 90000, "video", .framemarking_id = 14}, {ssrc + 1, 97, 48000, "audio"}}};

  g_assert_true (nat_dataplane_set_description (r->dp, t->stream, &tracks, 1, t->session_id));
}

/* A publisher with tracks ssrc and ssrc + 1, that worker (modulo how many there are) hears. */
static NatProbe *
publish (DataRelay *r, const char *stream, const char *subject, guint32 ssrc, guint worker)
{
  NatTicket t = ticket (r, NAT_ROLE_PUBLISHER, stream, subject);
  NatSessionCounters *c = nat_session_counters_new ();
  NatProbe *p = data_relay_heard_by (r, worker % nat_dataplane_n_workers (r->dp));

  nat_probe_set_ticket (p, r->secrets, &t);
  g_assert_true (nat_dataplane_add_session (r->dp, &t, c, NULL));
  describe (r, &t, ssrc);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  nat_session_counters_unref (c);
  data_relay_drain_events (r);
  return p;
}

static NatProbe *
subscribe_with (DataRelay *r, const NatTicket *t, const NatWishes *wishes, guint worker,
    NatSessionCounters **counters)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatProbe *p = data_relay_heard_by (r, worker % nat_dataplane_n_workers (r->dp));

  nat_probe_set_ticket (p, r->secrets, t);
  g_assert_true (nat_dataplane_add_session (r->dp, t, c, wishes));
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  if (counters)
    *counters = c;
  else
    nat_session_counters_unref (c);
  data_relay_drain_events (r);
  return p;
}

static NatProbe *
subscribe (DataRelay *r, const char *pattern, const char *subject, guint worker)
{
  NatTicket t = ticket (r, NAT_ROLE_SUBSCRIBER, pattern, subject);

  return subscribe_with (r, &t, &(NatWishes){0}, worker, NULL);
}

#define ANY (-1)

/* Of what comes within ms, that of ssrc with this number; FALSE: nothing did. */
static gboolean
gets_number (NatProbe *to, guint32 ssrc, gint seq, guint ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)ms * 1000;
  guint8 got[NAT_DATAGRAM_MAX];
  NatRtpHeader h;
  gssize len;

  for (gint64 left = ms; left >= 0; left = (end - g_get_monotonic_time ()) / 1000) {
    len = nat_probe_receive (to, NAT_PACKET_RTP, got, (guint)left);
    if (len > 0 && nat_rtp_parse (&h, got, (gsize)len) && h.ssrc == ssrc &&
        (seq == ANY || h.seq == seq))
      return TRUE;
  }
  return FALSE;
}

static gboolean
gets (NatProbe *to, guint32 ssrc, guint ms)
{
  return gets_number (to, ssrc, ANY, ms);
}

/* Sends until it comes: what a stream that changes hands has under way may be lost. Nothing of before is taken for it. */
static void
assert_passes (NatProbe *from, NatProbe *to, guint32 ssrc)
{
  for (guint tries = 0; tries < 20; tries++) {
    guint16 seq = next_seq++;

    nat_probe_send_rtp (from, ssrc, seq);
    if (gets_number (to, ssrc, seq, 500))
      return;
  }
  g_error ("SSRC %x does not pass", ssrc);
}

/* A stream that changes hands may lose what is under way. Sends until it comes. */
static void
assert_comes (DataRelay *r, NatProbe *from, NatProbe *to, guint32 ssrc)
{
  for (guint tries = 0; tries < 200; tries++) {
    data_relay_drain_events (r);
    nat_probe_send_rtp (from, ssrc, next_seq++);
    if (gets (to, ssrc, 100))
      return;
  }
  g_error ("SSRC %x does not come", ssrc);
}

static void
assert_none (DataRelay *r, NatProbe *from, NatProbe *to, guint32 ssrc)
{
  for (guint i = 0; i < 5; i++)
    nat_probe_send_rtp (from, ssrc, next_seq++);
  g_assert_false (gets (to, ssrc, QUIET_MS));
}

/* ---- Who gets what ----------------------------------------------------- */

static void
test_all_pairs (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  static const char *const names[] = {"room/ann", "room/bob", "room/cid", "room/dot"};
  NatProbe *out[4], *in[4];

  /* Half of the streams are there before the room is, and everybody is heard by another worker. */
  for (guint i = 0; i < 4; i++) {
    out[i] = publish (r, names[i], names[i], 1000 * (i + 1), i);
    in[i] = subscribe (r, "room/*", names[i], i + 1);
  }
  for (guint i = 0; i < 4; i++) {
    for (guint k = 0; k < 4; k++) {
      for (guint track = 0; track < 2 && i != k; track++)
        assert_comes (r, out[i], in[k], 1000 * (i + 1) + track);
    }
    assert_none (r, out[i], in[i], 1000 * (i + 1));
  }
  for (guint i = 0; i < 4; i++) {
    nat_probe_free (out[i]);
    nat_probe_free (in[i]);
  }
}

static void
test_other_streams_stay_out (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (NatProbe) in = subscribe (r, "room/*", "x", 0);
  g_autoptr (NatProbe) rest = subscribe (r, "room/**", "y", 0);
  g_autoptr (NatProbe) own = publish (r, "room/ann", "ann", 1000, 0);
  g_autoptr (NatProbe) door = publish (r, "door", "door", 2000, 0);
  g_autoptr (NatProbe) deep = publish (r, "room/ann/screen", "ann", 3000, 0);
  g_autoptr (NatProbe) viewer = subscribe (r, "room/ann", "z", 0);

  assert_comes (r, own, in, 1000);
  assert_comes (r, own, rest, 1000);
  assert_comes (r, own, viewer, 1000);
  assert_comes (r, deep, rest, 3000);
  assert_none (r, deep, in, 3000);
  assert_none (r, door, in, 2000);
  assert_none (r, door, rest, 2000);
}

static void
test_exclude (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = ticket (r, NAT_ROLE_SUBSCRIBER, "room/*", "");
  g_autoptr (NatProbe) ann = publish (r, "room/ann", "token:of-many", 1000, 0);
  g_autoptr (NatProbe) bob = publish (r, "room/bob", "token:of-many", 2000, 1);
  g_autoptr (NatProbe) in = subscribe_with (r, &t, &(NatWishes){.exclude = "room/ann"}, 0, NULL);
  g_autoptr (NatProbe) shared = subscribe (r, "room/*", "token:of-many", 0);

  assert_comes (r, bob, in, 2000);
  assert_none (r, ann, in, 1000);
  /* A token that names nobody may be everybody's. */
  assert_comes (r, ann, shared, 1000);
  assert_comes (r, bob, shared, 2000);
}

/* Two rooms far apart, and then somebody who is in both. */
static void
test_patterns_meet (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (NatProbe) in_a = subscribe (r, "a/*", "x", 0);
  g_autoptr (NatProbe) in_b = subscribe (r, "b/*", "y", 1);
  g_autoptr (NatProbe) a = publish (r, "a/one", "a", 1000, 2);
  g_autoptr (NatProbe) b = publish (r, "b/one", "b", 2000, 3);
  g_autoptr (NatProbe) both = NULL;

  assert_comes (r, a, in_a, 1000);
  assert_comes (r, b, in_b, 2000);
  both = subscribe (r, "*/one", "z", 2);
  assert_comes (r, a, both, 1000);
  assert_comes (r, b, both, 2000);
  assert_comes (r, a, in_a, 1000);
  assert_comes (r, b, in_b, 2000);
}

static void
test_come_and_go (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (NatProbe) out = publish (r, "room/ann", "ann", 1000, 0);
  NatTicket t = ticket (r, NAT_ROLE_SUBSCRIBER, "room/*", "bob");

  for (guint i = 0; i < 20; i++) {
    g_autoptr (NatProbe) in = subscribe_with (r, &t, &(NatWishes){0}, i, NULL);

    assert_comes (r, out, in, 1000);
    g_assert_true (nat_dataplane_end_session (
        r->dp, t.session_id, NAT_REASON_ENDED, g_get_real_time () / G_USEC_PER_SEC + 60));
    g_assert_cmpint (nat_probe_bind (in, NAT_PROBE_SELECT), ==, 403);
    assert_none (r, out, in, 1000);
    t = ticket (r, NAT_ROLE_SUBSCRIBER, "room/*", "bob");
  }
}

/* More streams than a pattern gives: the last one has a place when another publisher goes. */
static void
test_full (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  g_autoptr (NatProbe) in = subscribe (r, "room/*", "x", 0);
  NatTicket first = ticket (r, NAT_ROLE_PUBLISHER, "room/first", "first");
  g_autoptr (NatProbe) first_out = data_relay_join (r, &first, NULL);
  NatProbe *last = NULL;

  describe (r, &first, 7000);
  for (guint i = 0; i < NAT_ROOM_STREAMS_MAX; i++) {
    g_autofree char *name = g_strdup_printf ("room/%02u", i);

    nat_probe_free (last);
    last = publish (r, name, name, 10000 + 10 * i, 0);
  }
  assert_comes (r, first_out, in, 7000);
  assert_none (r, last, in, 10000 + 10 * (NAT_ROOM_STREAMS_MAX - 1));
  g_assert_true (nat_dataplane_end_session (
      r->dp, first.session_id, NAT_REASON_ENDED, g_get_real_time () / G_USEC_PER_SEC + 60));
  assert_comes (r, last, in, 10000 + 10 * (NAT_ROOM_STREAMS_MAX - 1));
  nat_probe_free (last);
}

/* A relay that was restarted knows nobody; tickets bring all back. */
static void
test_restart (void)
{
  DataRelay *r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket tp = ticket (r, NAT_ROLE_PUBLISHER, "room/ann", "ann");
  g_autoptr (NatProbe) out = data_relay_join (r, &tp, NULL);
  g_autoptr (NatProbe) in = subscribe (r, "room/*", "bob", 1);
  g_autoptr (NatProbe) own = subscribe (r, "room/*", "ann", 2);

  describe (r, &tp, 1000);
  assert_comes (r, out, in, 1000);
  r = data_relay_restart (r);
  for (guint tries = 0; nat_probe_bind (own, NAT_PROBE_SELECT) != 0; tries++)
    g_assert_cmpuint (tries, <, 10);
  for (guint tries = 0; nat_probe_bind (in, NAT_PROBE_SELECT) != 0; tries++)
    g_assert_cmpuint (tries, <, 10);
  for (guint tries = 0; nat_probe_bind (out, NAT_PROBE_SELECT) != 0; tries++)
    g_assert_cmpuint (tries, <, 10);
  describe (r, &tp, 1000);
  assert_comes (r, out, in, 1000);
  assert_none (r, out, own, 1000);
  data_relay_free (r);
}

/* ---- What they say ----------------------------------------------------- */

/* Until a picture is asked of ssrc; how many receivers the publisher is told of meanwhile. */
static void
wait_for_picture_request (NatProbe *p, guint32 ssrc, NatAudience *audience)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gssize len;

  while ((len = nat_probe_receive_rtcp (p, buf, NAT_PROBE_WAIT_MS)) > 0) {
    NatRtcpPacket packet;
    NatRtcpIter it;
    guint32 media;
    gboolean asked = FALSE;

    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    while (nat_rtcp_iter_next (&it, &packet)) {
      nat_rtcp_audience (&packet, audience);
      asked |=
          packet.type == NAT_RTCP_PSFB && nat_rtcp_media_ssrc (&packet, &media) && media == ssrc;
    }
    if (asked)
      return;
  }
  g_error ("no picture is asked of SSRC %x", ssrc);
}

static void
test_feedback (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = ticket (r, NAT_ROLE_SUBSCRIBER, "room/*", "x");
  g_autoptr (NatProbe) ann = publish (r, "room/ann", "ann", 1000, 0);
  g_autoptr (NatProbe) bob = publish (r, "room/bob", "bob", 2000, 1);
  NatSessionCounters *c;
  g_autoptr (NatProbe) in = subscribe_with (r, &t, &(NatWishes){0}, 2, &c);
  guint8 buf[NAT_DATAGRAM_MAX];
  NatAudience audience = {0};
  guint16 seqs[1];
  guint n = 1;
  gsize len;

  /* Both were asked when the room was joined, if they were in it already. */
  assert_comes (r, ann, in, 1000);
  assert_comes (r, bob, in, 2000);
  while (nat_probe_receive_rtcp (bob, buf, 0) > 0)
    continue;
  len = nat_rtcp_write_rr (buf, sizeof buf, 99, NULL, 0);
  len += nat_rtcp_write_pli (buf + len, sizeof buf - len, 99, 2000);
  nat_probe_send_rtcp (in, buf, len);
  wait_for_picture_request (bob, 2000, &audience);
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&c->keyframe_requests), ==, 1);
  g_assert_cmpuint (audience.receivers, ==, 1);
  g_assert_cmpuint (audience.joined - audience.left, ==, 1);
  /* Sender reports of either come. */
  nat_probe_send_rtcp (bob, buf, nat_probe_write_sr (buf, 2000, 1));
  do
    g_assert_cmpint (nat_probe_receive_rtcp (in, buf, NAT_PROBE_WAIT_MS), >, 0);
  while (buf[1] != NAT_RTCP_SR);
  g_assert_cmpuint (buf[6], ==, 2000 >> 8);
  /* What went to everybody can be had again, of that stream. */
  seqs[0] = next_seq++;
  nat_probe_send_rtp (bob, 2000, seqs[0]);
  g_assert_true (gets (in, 2000, NAT_PROBE_WAIT_MS));
  len = nat_rtcp_write_rr (buf, sizeof buf, 99, NULL, 0);
  len += nat_rtcp_write_nack (buf + len, sizeof buf - len, 99, 2000, seqs, &n);
  nat_probe_send_rtcp (in, buf, len);
  g_assert_true (gets (in, 2000, NAT_PROBE_WAIT_MS));
  data_relay_sync (r); /* counted after it was sent */
  g_assert_cmpuint (nat_counter_get (&c->repairs_sent), ==, 1);
  g_assert_cmpuint (nat_counter_get (&c->rtcp_refused), ==, 0);
  nat_session_counters_unref (c);
}

/* Whose NAT took another port gets what went to the old one, of each stream. */
static void
test_moved (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = ticket (r, NAT_ROLE_SUBSCRIBER, "room/*", "x");
  g_autoptr (NatProbe) ann = publish (r, "room/ann", "ann", 1000, 0);
  g_autoptr (NatProbe) bob = publish (r, "room/bob", "bob", 2000, 1);
  g_autoptr (NatProbe) other = subscribe (r, "room/*", "y", 1);
  NatSessionCounters *c;
  g_autoptr (NatProbe) in = subscribe_with (r, &t, &(NatWishes){0}, 2, &c);
  guint8 report[NAT_DATAGRAM_MAX];
  gboolean both = FALSE;
  gsize len = nat_rtcp_write_rr (report, sizeof report, 99, NULL, 0);

  assert_comes (r, ann, in, 1000);
  assert_comes (r, bob, in, 2000);
  assert_comes (r, ann, other, 1000);
  assert_comes (r, bob, other, 2000);
  data_relay_sync (r);
  atomic_store_explicit (&c->rtt_us, 1, memory_order_relaxed);
  nat_probe_send_rtcp (in, report, len);
  data_relay_sync (r);
  /* With several workers a stream may still be on its way home, which may leave its history behind. */
  for (guint tries = 0; !both; tries++) {
    g_assert_cmpuint (tries, <, 5);
    nat_probe_rebind (in, "127.0.0.1");
    assert_passes (ann, other, 1000);
    assert_passes (bob, other, 2000);
    g_assert_cmpint (nat_probe_bind (in, NAT_PROBE_SELECT), ==, 0);
    both = gets (in, 1000, 2000);
    both &= gets (in, 2000, 2000);
  }
  data_relay_sync (r);
  g_assert_cmpuint (nat_counter_get (&c->repairs_sent), >=, 2);
  nat_session_counters_unref (c);
}

/* Frame marks: a picture begins with every packet. */
static void
send_picture (NatProbe *from, guint32 ssrc, guint16 seq)
{
  static const guint8 mark[] = {0xbe, 0xde, 0, 1, 0xe0, 0xa0, 0, 0};
  guint8 rtp[200];

  nat_probe_write_rtp (rtp, sizeof rtp, ssrc, seq, seq * 3000u);
  rtp[0] |= 0x10;
  memcpy (rtp + 12, mark, sizeof mark);
  nat_probe_send (from, rtp, sizeof rtp);
}

static void
test_headstart (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = ticket (r, NAT_ROLE_SUBSCRIBER, "room/*", "x");
  g_autoptr (NatProbe) first = subscribe (r, "room/*", "y", 0);
  g_autoptr (NatProbe) ann = publish (r, "room/ann", "ann", 1000, 0);
  g_autoptr (NatProbe) bob = publish (r, "room/bob", "bob", 2000, 1);
  g_autoptr (NatProbe) in = NULL;
  guint8 buf[NAT_DATAGRAM_MAX];
  NatLiveEdge edges[NAT_TRACKS_MAX];
  guint seen = 0;

  assert_comes (r, ann, first, 1000);
  assert_comes (r, bob, first, 2000);
  send_picture (ann, 1000, next_seq++);
  g_assert_true (gets (first, 1000, NAT_PROBE_WAIT_MS));
  send_picture (bob, 2000, next_seq++);
  g_assert_true (gets (first, 2000, NAT_PROBE_WAIT_MS));
  in = subscribe_with (r, &t, &(NatWishes){.headstart = TRUE}, 3, NULL);
  while (seen != 3) {
    gssize len = nat_probe_receive_rtcp (in, buf, NAT_PROBE_WAIT_MS);
    NatRtcpPacket packet;
    NatRtcpIter it;

    g_assert_cmpint (len, >, 0);
    g_assert_true (nat_rtcp_iter_init (&it, buf, (gsize)len));
    while (nat_rtcp_iter_next (&it, &packet)) {
      guint n = nat_rtcp_edges (&packet, edges);

      for (guint i = 0; i < n; i++)
        seen |= edges[i].behind == 1 ? (edges[i].ssrc == 1000 ? 1 : 2) : 0;
    }
  }
  /* The past of both, though nothing is sent any more. */
  g_assert_true (gets (in, 1000, NAT_PROBE_WAIT_MS) || gets (in, 2000, 0));
  g_assert_cmpuint (DATA_RELAY_COUNT (r, headstarts), ==, 2);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define T(name) g_test_add_func ("/rooms/" #name, test_##name)
  T (all_pairs);
  T (other_streams_stay_out);
  T (exclude);
  T (patterns_meet);
  T (come_and_go);
  T (full);
  T (restart);
  T (feedback);
  T (moved);
  T (headstart);
  return g_test_run ();
}
