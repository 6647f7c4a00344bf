/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* In which order a batch leaves. The sink reads super-packets as they come, so that it sees messages of
 * all receivers in the order in which they were sent. */

#include "natserver/data/forward.h"

#include <poll.h>
#include <string.h>

#include "bareworker.h"
#include "probe.h"

#define LEN     40
#define BUFFER  (1024 * 1024)
#define WAIT_MS 20000

static NatWorkerCounters sink_counters;

static NatUdpio *
open_sink (void)
{
  NatAddress any;
  NatUdpio *io;

  g_assert_true (nat_address_from_text (&any, "0.0.0.0", 0));
  io = nat_udpio_new (&any, 1, BUFFER, &sink_counters, NULL, NULL);
  g_assert_nonnull (io);
  return io;
}

/* A receiver of its own, whose datagrams come to the sink. */
static NatAddress
sink_address (const NatUdpio *sink, guint i)
{
  g_autofree char *text = g_strdup_printf ("127.1.%u.%u", i / 250, i % 250 + 1);
  NatAddress a;

  g_assert_true (nat_address_from_text (&a, text, nat_udpio_local (sink, 0)->port));
  return a;
}

typedef struct {
  guint32 ssrc;
  guint16 seq;
  NatAddress to;
  guint n; /* datagrams that came as one */
} Seen;

static gboolean
comes (NatUdpio *sink, guint wait_ms)
{
  return poll (&(struct pollfd){nat_udpio_fd (sink, 0), POLLIN, 0}, 1, (int)wait_ms) == 1;
}

/* In order: so many datagrams, and what else is there. */
static GArray *
drain (NatUdpio *sink, guint expected)
{
  GArray *all = g_array_new (FALSE, FALSE, sizeof (Seen));
  NatUdpSuper *supers;
  guint got = 0;

  while (comes (sink, got < expected ? WAIT_MS : 0)) {
    guint n = nat_udpio_receive (sink, 0, NAT_UDPIO_SLOTS, &supers);

    for (guint i = 0; i < n; i++) {
      NatRtpHeader h;
      Seen seen = {.to = supers[i].source.key.local, .n = (guint)(supers[i].len / LEN)};

      g_assert_true (nat_rtp_parse (&h, supers[i].data, MIN (supers[i].segment, supers[i].len)));
      seen.ssrc = h.ssrc;
      seen.seq = h.seq;
      g_array_append_val (all, seen);
      got += seen.n;
    }
  }
  return all;
}

static guint
count_datagrams (GArray *all, guint32 ssrc)
{
  guint n = 0;

  for (guint i = 0; i < all->len; i++) {
    const Seen *seen = &g_array_index (all, Seen, i);
    n += seen->ssrc == ssrc ? seen->n : 0;
  }
  return n;
}

static NatDataSession *
publish (NatWorker *w, const char *stream, guint16 port)
{
  NatAddress from;

  g_assert_true (nat_address_from_text (&from, "127.0.0.1", port));
  return bare_worker_join (w, stream, NAT_ROLE_PUBLISHER, &from);
}

static void
subscribe (NatWorker *w, const char *stream, NatUdpio *sink, guint first, guint n)
{
  for (guint i = first; i < first + n; i++) {
    NatAddress to = sink_address (sink, i);
    bare_worker_join (w, stream, NAT_ROLE_SUBSCRIBER, &to);
  }
}

/* Audio that came last leaves first, of all streams, and each track in its order. */
static void
test_audio_first (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  g_autoptr (NatUdpio) sink = open_sink ();
  NatDataSession *p[2] = {publish (w, "a", 1), publish (w, "b", 2)};
  static guint8 data[2 * 22 * LEN];
  guint audio = 0, k = 0;
  GArray *all;

  subscribe (w, "a", sink, 0, 2);
  subscribe (w, "b", sink, 2, 2);
  for (guint i = 0; i < 2; i++) {
    for (guint16 seq = 0; seq < 20; seq++)
      bare_worker_receive (w, p[i], BARE_VIDEO_SSRC, seq, data + LEN * k++, LEN);
    for (guint16 seq = 0; seq < 2; seq++)
      bare_worker_receive (w, p[i], BARE_AUDIO_SSRC, seq, data + LEN * k++, LEN);
  }
  nat_worker_flush (w);
  all = drain (sink, 2 * 2 * (2 + 20));
  g_assert_cmpuint (count_datagrams (all, BARE_AUDIO_SSRC), ==, 2 * 2 * 2);
  g_assert_cmpuint (count_datagrams (all, BARE_VIDEO_SSRC), ==, 2 * 2 * 20);
  for (guint i = 0; audio < 8; i++) {
    const Seen *seen = &g_array_index (all, Seen, i);

    g_assert_cmpuint (seen->ssrc, ==, BARE_AUDIO_SSRC);
    audio += seen->n;
  }
  g_array_unref (all);
  nat_worker_free (w);
}

/* A burst to a large audience lets another stream of the batch pass after one turn of it. */
static void
test_turns (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  g_autoptr (NatUdpio) sink = open_sink ();
  NatDataSession *large = publish (w, "large", 1), *small = publish (w, "small", 2);
  const guint audience = 100, burst = 64, turn = 1024;
  NatAddress alone = sink_address (sink, audience);
  static guint8 data[65 * LEN];
  guint before = 0, i;
  GArray *all;

  subscribe (w, "large", sink, 0, audience);
  subscribe (w, "small", sink, audience, 1);
  for (guint16 seq = 0; seq < burst; seq++)
    bare_worker_receive (w, large, BARE_VIDEO_SSRC, seq, data + LEN * seq, LEN);
  bare_worker_receive (w, small, BARE_VIDEO_SSRC, 1, data + LEN * burst, LEN);
  nat_worker_flush (w);
  all = drain (sink, audience * burst + 1);
  g_assert_cmpuint (count_datagrams (all, BARE_VIDEO_SSRC), ==, audience * burst + 1);
  for (i = 0; !nat_address_equal (&g_array_index (all, Seen, i).to, &alone); i++)
    before += g_array_index (all, Seen, i).n;
  g_assert_cmpuint (before, >, 0); /* it was not first by luck */
  g_assert_cmpuint (before, <=, turn + burst);
  g_array_unref (all);
  nat_worker_free (w);
}

/* Every datagram that was sent on has its time, by when it came; without an audience there is none. */
static void
test_latency (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  g_autoptr (NatUdpio) sink = open_sink ();
  NatDataSession *p = publish (w, "a", 1);
  NatHistogram *h = &w->counters->forward_latency;
  const gint64 second = 1000000000, hour = 3600 * second;
  static guint8 data[4 * LEN];
  guint64 n = 0, early = 0;

  bare_worker_receive (w, p, BARE_VIDEO_SSRC, 0, data, LEN);
  nat_worker_flush (w);
  g_assert_cmpuint (nat_counter_get (&h->sum_ns), ==, 0);
  subscribe (w, "a", sink, 0, 3);
  for (guint16 seq = 1; seq < 4; seq++) {
    nat_probe_write_rtp (data + LEN * seq, LEN, BARE_VIDEO_SSRC, seq, 0);
    w->arrived_ns = nat_udpio_clock_ns () - (seq == 1 ? hour : 0);
    nat_forward_receive (w, p->selected, data + LEN * seq, LEN);
  }
  nat_worker_flush (w);
  for (guint i = 0; i <= NAT_HISTOGRAM_BUCKETS; i++) {
    n += nat_counter_get (&h->bucket[i]);
    if (i < nat_histogram_bucket ((guint64)second))
      early += nat_counter_get (&h->bucket[i]);
  }
  g_assert_cmpuint (n, ==, 3);
  g_assert_cmpuint (early, <=, 2); /* fewer where the machine stood still */
  g_assert_cmpuint (nat_counter_get (&h->sum_ns), >=, hour);
  g_assert_cmpuint (
      nat_counter_get (&h->sum_ns), <, 2 * hour); /* it alone, though the next lies behind it */
  nat_worker_free (w);
}

/* ---- Pieces ------------------------------------------------------------ */

#define STRETCHES 4

/* Packets of one super-packet. */
typedef struct {
  guint n; /* 0 = there is none */
  gsize len;
  gsize gap; /* bytes that lie before it */
} Stretch;

static void
receive_stretches (NatWorker *w, NatDataSession *p, const Stretch *stretches, guint8 *data)
{
  guint16 seq = 0;

  w->arrived_ns = nat_udpio_clock_ns ();
  for (const Stretch *s = stretches; s < stretches + STRETCHES; s++) {
    data += s->gap;
    for (guint i = 0; i < s->n; i++, data += s->len) {
      memset (data, ++seq, s->len);
      nat_probe_write_rtp (data, s->len, BARE_VIDEO_SSRC, seq, 0);
      nat_forward_receive (w, p->selected, data, s->len);
    }
  }
  nat_worker_flush (w);
}

/* Datagrams as they come, of whatever message. */
typedef struct {
  NatUdpio *sink;
  NatUdpSuper *supers;
  guint n, i;
  gsize at;
} Reader;

static void
expect_datagram (Reader *r, const guint8 *data, gsize len)
{
  const NatUdpSuper *super;

  if (r->i == r->n) {
    g_assert_true (comes (r->sink, WAIT_MS));
    r->n = nat_udpio_receive (r->sink, 0, NAT_UDPIO_SLOTS, &r->supers);
    g_assert_cmpuint (r->n, >, 0);
    r->i = 0;
  }
  super = &r->supers[r->i];
  g_assert_cmpuint (super->len, <=, NAT_UDPIO_SEGMENTS * super->segment);
  g_assert_cmpmem (super->data + r->at, MIN (super->segment, super->len - r->at), data, len);
  r->at += len;
  if (r->at < super->len)
    return;
  r->at = 0;
  r->i++;
}

static void
expect_stretches (NatUdpio *sink, const Stretch *stretches, const guint8 *data)
{
  Reader r = {.sink = sink};

  for (const Stretch *s = stretches; s < stretches + STRETCHES; s++) {
    data += s->gap;
    for (guint i = 0; i < s->n; i++, data += s->len)
      expect_datagram (&r, data, s->len);
  }
  g_assert_false (comes (sink, 0));
}

/* What lies in a row and came at one time is kept as one, and leaves as datagrams of the lengths in which it came, also
 * where a message ends within it, or a batch. */
static void
test_pieces (void)
{
  static const Stretch cases[][STRETCHES] = {
      {{20, LEN}}, {{19, LEN}, {1, LEN - 20}},            /* the last is shorter */
      {{NAT_UDPIO_SEGMENTS, LEN}, {1, LEN - 20}},         /* and one too many */
      {{19, LEN}, {1, LEN - 20}, {5, LEN}, {1, LEN - 1}}, /* and another follows it */
      {{3, LEN}, {2, LEN + 20}, {3, LEN}},                /* a longer one begins a run */
      {{1, LEN}, {4, LEN - 1}},                           /* only one may be shorter */
      {{150, LEN}},                                       /* three messages, full of packets */
      {{3, LEN}, {70, LEN, 8}, {1, LEN - 20, 8}},         /* the second ends the first's */
      {{60, 1200}, {54, 1200, 8}, {1, 100}},              /* full of bytes */
      {{NAT_UDPIO_SLOTS * NAT_UDPIO_SEGMENTS + 30, LEN}}, /* more than a batch */
  };
  static guint8 data[3 * 65536];
  gboolean cuts = TRUE;

  for (guint k = 0; k < G_N_ELEMENTS (cases); k++) {
    NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
    g_autoptr (NatUdpio) sink = open_sink ();
    NatDataSession *p = publish (w, "a", 1);
    guint64 n = 0, bytes = 0, timed = 0;
    const NatSessionCounters *c;

    subscribe (w, "a", sink, 0, 1);
    c = p->stream->receivers->list[0].counters;
    receive_stretches (w, p, cases[k], data);
    expect_stretches (sink, cases[k], data);
    for (guint i = 0; i < STRETCHES; i++) {
      n += cases[k][i].n;
      bytes += cases[k][i].n * cases[k][i].len;
    }
    for (guint i = 0; i <= NAT_HISTOGRAM_BUCKETS; i++)
      timed += nat_counter_get (&w->counters->forward_latency.bucket[i]);
    g_assert_cmpuint (timed, ==, n);
    g_assert_cmpuint (nat_counter_get (&c->packets_sent), ==, n);
    g_assert_cmpuint (nat_counter_get (&c->bytes_sent), ==, bytes);
    /* No message was refused as too long, if the system takes messages at all. */
    cuts &= k > 0 || nat_counter_get (&w->counters->send_apart) == 0;
    g_assert_true (!cuts || nat_counter_get (&w->counters->send_apart) == 0);
    nat_worker_free (w);
  }
}

/* ---- What else there is ------------------------------------------------ */

/* The stamp is the system's: what waited in the socket is in it. */
static void
test_stamp (void)
{
  g_autoptr (NatUdpio) sink = open_sink ();
  NatAddress to = sink_address (sink, 0);
  g_autoptr (NatProbe) probe = nat_probe_new ("127.0.0.1", &to);
  gint64 before = nat_udpio_clock_ns (), waited;
  NatUdpSuper *supers;

  nat_probe_send (probe, "12345", 5);
  g_assert_true (comes (sink, WAIT_MS));
  waited = nat_udpio_clock_ns ();
  g_usleep (2000);
  g_assert_cmpuint (nat_udpio_receive (sink, 0, NAT_UDPIO_SLOTS, &supers), ==, 1);
  g_assert_cmpint (supers[0].source.arrived_ns, >=, before);
  g_assert_cmpint (supers[0].source.arrived_ns, <=, waited);
}

/* That the system does not cut messages to one of them is remembered when others come and go, until the
 * session moves. */
static void
test_ways_are_remembered (void)
{
  g_autoptr (NatUdpio) sink = open_sink ();
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatAddress a[4];
  NatDataSession *s[3];
  NatReceivers *list;
  NatUdpSource source = {.key = {.local = *nat_udpio_local (w->io, 0)}};

  for (guint i = 0; i < 4; i++)
    a[i] = sink_address (sink, i);
  bare_worker_join (w, "a", NAT_ROLE_PUBLISHER, &a[3]);
  for (guint i = 0; i < 2; i++)
    s[i] = bare_worker_join (w, "a", NAT_ROLE_SUBSCRIBER, &a[i]);
  list = s[0]->stream->receivers;
  g_assert_cmpuint (list->n, ==, 2);
  for (guint i = 0; i < 2; i++)
    list->list[i].dest.apart = list->list[i].session == s[0];
  s[2] = bare_worker_join (w, "a", NAT_ROLE_SUBSCRIBER, &a[2]);
  list = s[0]->stream->receivers;
  g_assert_cmpuint (list->n, ==, 3);
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (list->list[i].dest.apart, ==, list->list[i].session == s[0]);
  g_assert_true (nat_address_from_text (&source.key.remote, "127.9.9.9:999", 0));
  nat_roster_select (
      w->roster, nat_roster_validate_path (w->roster, s[0], &source, w->io, w->now_us));
  nat_roster_settle (w->roster);
  list = s[0]->stream->receivers;
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (list->list[i].dest.apart, ==, 0);
  nat_worker_free (w);
}

/* Numbers that jump as those of a sender that starts anew do: what was lost before stays lost. */
static void
test_lost_before_a_jump (void)
{
  static const guint16 seqs[] = {1, 12, 20001, 20002, 20003, 20005};
  static const guint64 lost[] = {0, 10, 10, 10, 10, 11};
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatDataSession *p = publish (w, "a", 1);
  guint8 data[LEN];

  for (guint i = 0; i < G_N_ELEMENTS (seqs); i++) {
    bare_worker_receive (w, p, BARE_VIDEO_SSRC, seqs[i], data, LEN);
    nat_worker_flush (w);
    g_assert_cmpuint (nat_counter_get (&p->counters->packets_lost), ==, lost[i]);
  }
  nat_worker_free (w);
}

static guint
taken_of (NatWorker *w, NatDataSession *p, guint n)
{
  guint64 before = nat_counter_get (&p->counters->packets_received);
  guint8 data[LEN];

  for (guint i = 0; i < n; i++) {
    bare_worker_receive (w, p, BARE_VIDEO_SSRC, (guint16)i, data, LEN);
    nat_worker_flush (w);
  }
  return (guint)(nat_counter_get (&p->counters->packets_received) - before);
}

/* A stream's limit is the stream's, however often somebody takes it over. */
static void
test_limit_outlives_takeover (void)
{
  NatRate rates[NAT_LIMITS] = {[NAT_LIMIT_STREAM] = {0, 100}};
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);

  nat_meters_set_rates (w->roster->meters, rates);
  g_assert_cmpuint (taken_of (w, publish (w, "a", 1), 300), ==, 100);
  g_assert_cmpuint (taken_of (w, publish (w, "b", 2), 300), ==, 100);
  g_assert_cmpuint (taken_of (w, publish (w, "a", 3), 300), ==, 0);
  w->now_us += G_USEC_PER_SEC / 2;
  g_assert_cmpuint (taken_of (w, publish (w, "a", 4), 300), ==, 50);
  nat_worker_free (w);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/forward/audio-first", test_audio_first);
  g_test_add_func ("/forward/turns", test_turns);
  g_test_add_func ("/forward/latency", test_latency);
  g_test_add_func ("/forward/pieces", test_pieces);
  g_test_add_func ("/forward/stamp", test_stamp);
  g_test_add_func ("/forward/limit-outlives-takeover", test_limit_outlives_takeover);
  g_test_add_func ("/forward/lost-before-a-jump", test_lost_before_a_jump);
  g_test_add_func ("/forward/ways-are-remembered", test_ways_are_remembered);
  return g_test_run ();
}
