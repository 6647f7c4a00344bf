/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An encoder that follows the estimate, a link of known rate with a queue, and the relay's feedback, on a
 * virtual clock. The link's rate is what the estimate is held against. */
#include "natclient/congestion.h"

#include <string.h>

#define PACKET      1200
#define FRAME_US    33333
#define REPORT_US   100000
#define PROPAGATION 20000
#define SSRC        0x1234
#define PENDING     8192

typedef struct {
  guint16 seq;
  gint64 arrival_us; /* -1 = lost */
} Arriving;

typedef struct {
  /* The link. */
  gdouble capacity; /* bits/s; 0 = endless */
  gdouble loss;     /* share lost at random */
  gint64 jitter_us;
  gint64 queue_us;  /* longer than that, and it drops */
  gint64 detour_us; /* longer than PROPAGATION */
  gint64 free_us;   /* when the last packet has left it */

  /* The encoder: the estimate's share, at most most. */
  gdouble most, least;
  guint frame;
  gboolean key_frames; /* every 60th is five times as large */

  GRand *rand;
  NatCongestion *c;
  guint16 seq, reported;
  Arriving pending[PENDING]; /* by sequence number */
  gint64 now_us, report_us;
  gint64 clock_us; /* of the relay, ahead of ours */
  gdouble worst_queue_us, sum_queue_us;
  guint packets, dropped;
} Sim;

static Sim *
sim_new (gdouble capacity, gdouble most)
{
  Sim *s = g_new0 (Sim, 1);

  s->capacity = capacity;
  s->most = most;
  s->least = 200000;
  s->queue_us = 300000;
  s->now_us = s->free_us = 5 * G_USEC_PER_SEC;
  s->report_us = s->now_us;
  s->rand = g_rand_new_with_seed (7);
  s->c = nat_congestion_new ();
  return s;
}

static void
sim_free (Sim *s)
{
  nat_congestion_free (s->c);
  g_rand_free (s->rand);
  g_free (s);
}

static void
note_sent (NatCongestion *c, guint32 ssrc, guint16 seq, gsize len, gint64 now_us)
{
  guint8 packet[PACKET] = {0x80, 96, (guint8)(seq >> 8), (guint8)seq};

  packet[8] = (guint8)(ssrc >> 24);
  packet[9] = (guint8)(ssrc >> 16);
  packet[10] = (guint8)(ssrc >> 8);
  packet[11] = (guint8)ssrc;
  nat_congestion_sent (c, packet, len, now_us);
}

static void
send_packet (Sim *s)
{
  Arriving *a = &s->pending[s->seq % PENDING];
  gint64 queue = MAX (s->free_us - s->now_us, 0);

  *a = (Arriving){s->seq, -1};
  note_sent (s->c, SSRC, s->seq++, PACKET, s->now_us);
  s->packets++;
  s->worst_queue_us = MAX (s->worst_queue_us, (gdouble)queue);
  s->sum_queue_us += (gdouble)queue;
  if (s->capacity > 0 && queue > s->queue_us) {
    s->dropped++;
    return;
  }
  if (s->capacity > 0)
    s->free_us = MAX (s->free_us, s->now_us) + (gint64)(PACKET * 8e6 / s->capacity);
  if (g_rand_double (s->rand) < s->loss)
    return;
  a->arrival_us = MAX (s->free_us, s->now_us) + PROPAGATION + s->detour_us +
                  (s->jitter_us ? g_rand_int_range (s->rand, 0, (gint32)s->jitter_us) : 0);
}

static gdouble
target (const Sim *s)
{
  gdouble estimate = (gdouble)nat_congestion_bitrate (s->c);

  return CLAMP (estimate > 0 ? 0.95 * estimate : 500000, s->least, s->most);
}

static void
send_frame (Sim *s)
{
  gdouble size = target (s) / 8 / 30 * g_rand_double_range (s->rand, 0.8, 1.2);
  guint n;

  if (s->key_frames)
    size *= s->frame++ % 60 == 0 ? 5 : 55.0 / 59;
  n = MAX ((guint)(size / PACKET + 0.5), 1);
  for (guint i = 0; i < n; i++)
    send_packet (s);
}

/* What arrived by the time of the report; the sender has it one propagation later. */
static void
report (Sim *s)
{
  gint64 at = s->now_us - PROPAGATION;
  guint32 timestamp = (guint32)((at + s->clock_us) * 65536 / G_USEC_PER_SEC);
  NatCcfbMetric metrics[PENDING];
  guint8 buf[20000];
  NatRtcpPacket packet;
  NatCcfbWriter w;
  NatRtcpIter it;
  guint n = 0;
  guint16 end = s->reported;

  for (guint16 q = s->reported; q != s->seq; q++) {
    if (s->pending[q % PENDING].arrival_us >= 0 && s->pending[q % PENDING].arrival_us <= at)
      end = (guint16)(q + 1);
  }
  for (guint16 q = s->reported; q != end; q++) {
    gint64 arrival = s->pending[q % PENDING].arrival_us;
    gboolean here = arrival >= 0 && arrival <= at;

    metrics[n++] =
        (NatCcfbMetric){here, 0, here ? (guint16)((at - arrival) * 1024 / G_USEC_PER_SEC) : 0};
  }
  if (n == 0)
    return;
  nat_ccfb_writer_init (&w, buf, sizeof buf, 1);
  g_assert_cmpuint (nat_ccfb_write_block (&w, SSRC, s->reported, metrics, n), ==, n);
  g_assert_true (nat_rtcp_iter_init (&it, buf, nat_ccfb_writer_end (&w, timestamp)));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  g_assert_true (nat_congestion_feedback (s->c, &packet, s->now_us));
  s->reported = end;
}

/* Seconds go by; mean estimate in bits per second of them. */
static gdouble
run (Sim *s, gdouble seconds)
{
  gint64 end = s->now_us + (gint64)(seconds * G_USEC_PER_SEC);
  gdouble sum = 0;
  guint n = 0;

  s->worst_queue_us = s->sum_queue_us = 0;
  s->packets = s->dropped = 0;
  for (; s->now_us < end; s->now_us += FRAME_US) {
    if (s->now_us - s->report_us >= REPORT_US) {
      s->report_us = s->now_us;
      report (s);
    }
    send_frame (s);
    sum += (gdouble)nat_congestion_bitrate (s->c);
    n++;
  }
  g_test_message ("mean estimate %.0f, now %" G_GUINT64_FORMAT
                  " bits/s; queue mean %.0f ms, worst %.0f ms; %u of %u dropped; loss seen %.3f",
      sum / n, nat_congestion_bitrate (s->c), s->sum_queue_us / s->packets / 1000,
      s->worst_queue_us / 1000, s->dropped, s->packets, nat_congestion_loss (s->c));
  return sum / n;
}

static void
test_finds_capacity (void)
{
  static const gdouble capacities[] = {0.7e6, 2e6, 5e6, 12e6};

  for (guint i = 0; i < G_N_ELEMENTS (capacities); i++) {
    Sim *s = sim_new (capacities[i], 50e6);
    gdouble mean;

    g_test_message ("%.1f Mbit/s", capacities[i] / 1e6);
    run (s, 20);
    mean = run (s, 30);
    g_assert_cmpfloat (mean, >, 0.65 * capacities[i]);
    g_assert_cmpfloat (mean, <, 1.1 * capacities[i]);
    g_assert_cmpuint (s->dropped * 100, <=, s->packets);
    g_assert_cmpfloat (s->sum_queue_us / s->packets, <, 100000);
    sim_free (s);
  }
}

static void
test_key_frames (void)
{
  Sim *s = sim_new (4e6, 50e6);
  gdouble mean;

  s->key_frames = TRUE;
  run (s, 20);
  mean = run (s, 30);
  g_assert_cmpfloat (mean, >, 0.55 * 4e6);
  g_assert_cmpfloat (mean, <, 1.1 * 4e6);
  sim_free (s);
}

/* The link falls to a fifth, and comes back. */
static void
test_follows (void)
{
  Sim *s = sim_new (5e6, 50e6);

  run (s, 30);
  s->capacity = 1e6;
  run (s, 2);
  g_assert_cmpuint (nat_congestion_bitrate (s->c), <, 1300000);
  run (s, 5);
  g_assert_cmpfloat (run (s, 10), <, 1.1e6);
  g_assert_cmpuint (s->dropped, ==, 0);
  s->capacity = 5e6;
  run (s, 25);
  g_assert_cmpfloat (run (s, 10), >, 0.6 * 5e6);
  sim_free (s);
}

/* A camera of constant rate on a link that has room: never below what it sends, and more is said to be there. */
static void
test_room (void)
{
  Sim *endless = sim_new (0, 1e6), *wide = sim_new (10e6, 1e6);

  endless->least = wide->least = 1e6;
  run (endless, 10);
  g_assert_cmpfloat (run (endless, 20), >, 1.3e6);
  g_assert_cmpuint (nat_congestion_bitrate (endless->c), <, 5000000);
  sim_free (endless);
  run (wide, 20);
  /* Bursts of four packets and fewer say nothing of the link's own rate. */
  g_assert_cmpfloat (run (wide, 20), >, 1.3e6);
  g_assert_cmpfloat (wide->worst_queue_us, <, 50000);
  sim_free (wide);
}

/* 3 Mbit/s leave in bursts of ten, and so they show that 10 could. */
static void
test_bursts_show_the_link (void)
{
  Sim *s = sim_new (10e6, 3e6);

  s->least = 3e6;
  run (s, 20);
  g_assert_cmpfloat (run (s, 10), >, 6e6);
  g_assert_cmpuint (nat_congestion_bitrate (s->c), <, 11000000);
  sim_free (s);
}

static void
test_random_loss_is_no_queue (void)
{
  Sim *s = sim_new (4e6, 50e6);

  s->loss = 0.05;
  s->jitter_us = 5000;
  run (s, 20);
  g_assert_cmpfloat (run (s, 20), >, 0.6 * 4e6);
  g_assert_cmpfloat (nat_congestion_loss (s->c), >, 0.02);
  sim_free (s);
}

/* A tenth and more, as over a bad radio link, whatever is sent: sending less would not help. */
static void
test_heavy_random_loss (void)
{
  Sim *s = sim_new (4e6, 50e6);

  s->loss = 0.12;
  s->jitter_us = 5000;
  run (s, 30);
  g_assert_cmpfloat (run (s, 20), >, 0.4 * 4e6);
  g_assert_cmpuint (nat_congestion_bitrate (s->c), <, 5000000);
  sim_free (s);
}

/* So short a queue that nothing but loss tells that it is full. */
static void
test_loss_of_a_short_queue (void)
{
  Sim *s = sim_new (3e6, 50e6);

  s->queue_us = 30000;
  run (s, 30);
  g_assert_cmpfloat (run (s, 20), <, 3.6e6);
  g_assert_cmpfloat (run (s, 20), >, 0.5e6);
  g_assert_cmpuint (s->dropped * 10, <, s->packets);
  sim_free (s);
}

/* Another relay of the cluster goes on, whose clock is hours off in either direction: the link is what it was. */
static void
test_clock_jumps (void)
{
  Sim *s = sim_new (0, 2e6);
  guint64 before;

  s->least = 2e6;
  run (s, 20);
  for (guint i = 0; i < 2; i++) {
    before = nat_congestion_bitrate (s->c);
    s->clock_us += (i == 0 ? 3 : -2) * G_GINT64_CONSTANT (3600) * G_USEC_PER_SEC;
    run (s, 5);
    g_assert_cmpuint (nat_congestion_bitrate (s->c), >, before * 9 / 10);
  }
  sim_free (s);
}

/* A still picture needs a fraction of what the link was found to take; when things move again, it is there. */
static void
test_little_to_send (void)
{
  static const gdouble capacities[] = {0, 4e6};

  for (guint i = 0; i < G_N_ELEMENTS (capacities); i++) {
    Sim *s = sim_new (capacities[i], capacities[i] > 0 ? 50e6 : 3e6);
    guint64 before;

    s->least = 50000;
    run (s, 30);
    before = nat_congestion_bitrate (s->c);
    g_assert_cmpuint (before, >, 2000000);
    s->most = 100000;
    run (s, 30);
    g_assert_cmpuint (nat_congestion_bitrate (s->c), >=, before * 8 / 10);
    s->most = 50e6;
    run (s, 5);
    if (capacities[i] > 0)
      g_assert_cmpfloat (run (s, 20), <, 1.1 * 4e6);
    g_assert_cmpuint (s->dropped, ==, 0);
    sim_free (s);
  }
}

/* Another network, of another delay and width: neither is a change of the old one. */
static void
test_path_changes (void)
{
  Sim *s = sim_new (0, 2e6);

  s->least = 2e6;
  run (s, 20);
  s->detour_us = 40000;
  nat_congestion_path_changed (s->c, s->now_us);
  g_assert_cmpuint (nat_congestion_bitrate (s->c), ==, 0);
  run (s, 2);
  g_assert_cmpuint (nat_congestion_bitrate (s->c), >, 2000000); /* no queue was seen */
  s->least = 200000;
  s->most = 50e6;
  s->capacity = 1e6;
  nat_congestion_path_changed (s->c, s->now_us);
  run (s, 5);
  g_assert_cmpfloat (run (s, 10), <, 1.3e6);
  sim_free (s);
}

/* What was on its way when the network went is lost; that is not the new one's loss. */
static void
test_loss_of_the_old_path (void)
{
  Sim *s = sim_new (0, 2e6);

  s->least = 2e6;
  run (s, 10);
  s->loss = 1;
  run (s, 2);
  s->loss = 0;
  nat_congestion_path_changed (s->c, s->now_us);
  run (s, 3);
  g_assert_cmpfloat (nat_congestion_loss (s->c), ==, 0);
  sim_free (s);
}

static void
test_nothing_known (void)
{
  g_autoptr (NatCongestion) c = nat_congestion_new ();

  g_assert_cmpuint (nat_congestion_bitrate (c), ==, 0);
  note_sent (c, 1, 2, 1200, 0);
  note_sent (c, 1, 2, 1200, 10000);
  note_sent (c, 1, 3, 11, 10000);
  g_assert_cmpuint (nat_congestion_bitrate (c), ==, 0);
}

/* Reports of a relay that lies: streams and packets that never were, ages of the future, clocks that jump. */
static void
test_lies (void)
{
  g_autoptr (NatCongestion) c = nat_congestion_new ();
  GRand *rand = g_rand_new_with_seed (3);

  for (guint round = 0; round < 3000; round++) {
    NatCcfbMetric metrics[64];
    guint8 buf[256];
    NatRtcpPacket packet;
    NatCcfbWriter w;
    NatRtcpIter it;

    for (guint i = 0; i < 40; i++)
      note_sent (c, g_rand_int_range (rand, 1, 40), (guint16)g_rand_int (rand),
          g_rand_int (rand) % PACKET, round * 10000);
    for (guint i = 0; i < 64; i++)
      metrics[i] = (NatCcfbMetric){g_rand_boolean (rand), 0, g_rand_int (rand) & 0x1fff};
    nat_ccfb_writer_init (&w, buf, sizeof buf, 1);
    nat_ccfb_write_block (
        &w, g_rand_int_range (rand, 1, 40), (guint16)g_rand_int (rand), metrics, 64);
    g_assert_true (nat_rtcp_iter_init (&it, buf, nat_ccfb_writer_end (&w, g_rand_int (rand))));
    g_assert_true (nat_rtcp_iter_next (&it, &packet));
    nat_congestion_feedback (c, &packet, round * 10000);
    g_assert_cmpfloat (nat_congestion_loss (c), <=, 1);
    g_assert_cmpuint (nat_congestion_bitrate (c), <, G_GUINT64_CONSTANT (1) << 40);
  }
  g_rand_free (rand);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/congestion/nothing-known", test_nothing_known);
  g_test_add_func ("/congestion/finds-capacity", test_finds_capacity);
  g_test_add_func ("/congestion/key-frames", test_key_frames);
  g_test_add_func ("/congestion/follows", test_follows);
  g_test_add_func ("/congestion/room", test_room);
  g_test_add_func ("/congestion/bursts-show-the-link", test_bursts_show_the_link);
  g_test_add_func ("/congestion/random-loss", test_random_loss_is_no_queue);
  g_test_add_func ("/congestion/heavy-random-loss", test_heavy_random_loss);
  g_test_add_func ("/congestion/short-queue", test_loss_of_a_short_queue);
  g_test_add_func ("/congestion/clock-jumps", test_clock_jumps);
  g_test_add_func ("/congestion/little-to-send", test_little_to_send);
  g_test_add_func ("/congestion/path-changes", test_path_changes);
  g_test_add_func ("/congestion/loss-of-the-old-path", test_loss_of_the_old_path);
  g_test_add_func ("/congestion/lies", test_lies);
  return g_test_run ();
}
