/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/reception.h"

#define RATE 90000

static void
receive (NatReception *r, guint16 seq, guint32 timestamp, gint64 now_us)
{
  NatRtpHeader h = {.seq = seq, .timestamp = timestamp, .ssrc = r->ssrc};
  NatReceived received;

  nat_reception_update (r, &h, now_us, &received);
}

/* Perfect arrival: one packet in 20 ms, 1800 units of a 90 kHz clock. */
static void
receive_range (NatReception *r, guint from, guint to)
{
  for (guint i = from; i <= to; i++)
    receive (r, (guint16)i, i * 1800, (gint64)i * 20000);
}

static void
test_clean (void)
{
  NatReception r;
  NatRtcpReportBlock b;

  nat_reception_init (&r, 77, RATE);
  g_assert_false (r.heard);
  g_assert_cmpuint (nat_reception_lost (&r), ==, 0);
  receive_range (&r, 65530, 65545);
  g_assert_true (r.heard);
  nat_reception_report (&r, 0, &b);
  g_assert_false (r.heard);
  g_assert_cmpuint (b.ssrc, ==, 77);
  g_assert_cmpuint (b.highest_seq, ==, 65545); /* one cycle and 9 */
  g_assert_cmpint (b.cumulative_lost, ==, 0);
  g_assert_cmpuint (b.fraction_lost, ==, 0);
  g_assert_cmpuint (b.jitter, ==, 0);
  g_assert_cmpuint (b.lsr, ==, 0);
}

static void
test_loss (void)
{
  NatReception r;
  NatRtcpReportBlock b;

  nat_reception_init (&r, 1, RATE);
  receive_range (&r, 100, 149);
  receive_range (&r, 160, 199);
  g_assert_cmpuint (nat_reception_lost (&r), ==, 10);
  nat_reception_report (&r, 0, &b);
  g_assert_cmpint (b.cumulative_lost, ==, 10);
  g_assert_cmpuint (b.fraction_lost, ==, 10 * 256 / 100);
  /* A repair fills its gap, once. */
  receive (&r, 150, 0, 0);
  receive (&r, 150, 0, 0);
  receive (&r, 149, 0, 0);
  g_assert_cmpuint (nat_reception_lost (&r), ==, 9);
  receive_range (&r, 200, 250);
  nat_reception_report (&r, 0, &b);
  g_assert_cmpint (b.cumulative_lost, ==, 9);
  g_assert_cmpuint (b.fraction_lost, ==, 0);
}

static void
test_restart (void)
{
  NatReception r;

  nat_reception_init (&r, 1, RATE);
  receive_range (&r, 100, 200);
  receive (&r, 40000, 0, 0);
  g_assert_cmpuint (nat_reception_lost (&r), ==, 0);
  receive (&r, 40001, 0, 0);
  receive (&r, 40002, 0, 0);
  g_assert_cmpuint (nat_reception_lost (&r), ==, 0);
  g_assert_cmpuint (r.seq.received, ==, 2);
}

/* RFC 3550 appendix A.8, done by hand: every second packet 10 ms late gives |D| = 900 units each time. */
static void
test_jitter (void)
{
  NatReception r;
  NatRtcpReportBlock b;
  guint32 jitter = 0;

  nat_reception_init (&r, 1, RATE);
  for (guint i = 0; i < 200; i++) {
    receive (&r, (guint16)i, i * 1800, 5000000 + (gint64)i * 20000 + (i % 2) * 10000);
    if (i > 0)
      jitter += 900 - ((jitter + 8) >> 4);
  }
  nat_reception_report (&r, 0, &b);
  g_assert_cmpuint (b.jitter, ==, jitter >> 4);
  g_assert_cmpuint (b.jitter, >, 850);
}

static void
test_round_trip (void)
{
  NatReception r;
  NatRtcpReportBlock b, from_receiver = {0};

  nat_reception_init (&r, 1, RATE);
  receive_range (&r, 1, 2);
  nat_reception_sender_report (&r, G_GUINT64_CONSTANT (0x1122334455667788), 1000000);
  nat_reception_report (&r, 1500000, &b);
  g_assert_cmphex (b.lsr, ==, 0x33445566);
  g_assert_cmpuint (b.dlsr, ==, 32768);
  from_receiver.lsr = 0x33445566;
  from_receiver.dlsr = 65536;
  g_assert_cmpint (nat_reception_round_trip (&r, &from_receiver, 2040000), ==, 40000);
  from_receiver.lsr = 0x33445567;
  g_assert_cmpint (nat_reception_round_trip (&r, &from_receiver, 2040000), ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/reception/clean", test_clean);
  g_test_add_func ("/reception/loss", test_loss);
  g_test_add_func ("/reception/restart", test_restart);
  g_test_add_func ("/reception/jitter", test_jitter);
  g_test_add_func ("/reception/round-trip", test_round_trip);
  return g_test_run ();
}
