/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A publisher, a relay and a receiver on a virtual clock, with natproto's list of missing packets and its NACKs between them, over links that
 * lose in both directions: how many access units are whole when they are due.
 *
 *   publisher --media--> relay --media--> receiver        20 ms each way on each leg
 *             <--NACK--        <--NACK--
 *
 * "repair-sim --table [SECONDS]" prints the figures of all links. */

#include "natproto/missing.h"
#include "natproto/rtcp.h"
#include "natproto/seqnum.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS(n)        ((gint64)(n)*1000)
#define TICK         250 /* us */
#define ONE_WAY      MS (20)
#define RTT          (2 * ONE_WAY)
#define LATENCY      MS (300)
#define CACHE        MS (1000)
#define FRAME        MS (40)
#define PACKETS      8 /* of an access unit; every 25th is a key frame of 10 times as many */
#define RING         8192
#define LINK_PACKETS 16384
#define MEDIA_SSRC   7

/* ---- links --------------------------------------------------------------- */

typedef struct {
  gint64 at;
  guint16 len; /* 0: media */
  guint16 seq;
  guint8 bytes[100]; /* of a NACK */
} Datagram;

typedef struct {
  GRand *rand;
  gdouble enter, leave; /* the bad state, for each datagram; leave 0: loss is random */
  gboolean bad;
  Datagram *queue;
  guint first, n;
  guint sent, lost;
} Link;

static void
link_init (Link *link, guint32 seed, gdouble loss, gdouble burst)
{
  link->rand = g_rand_new_with_seed (seed);
  link->leave = burst > 0 ? 1 / burst : 0;
  link->enter = burst > 0 ? link->leave * loss / (1 - loss) : loss;
  link->bad = FALSE;
  link->queue = g_new (Datagram, LINK_PACKETS);
  link->first = link->n = link->sent = link->lost = 0;
}

static void
link_clear (Link *link)
{
  g_rand_free (link->rand);
  g_free (link->queue);
}

static gboolean
link_loses (Link *link)
{
  if (link->bad && link->leave > 0)
    link->bad = g_rand_double (link->rand) >= link->leave;
  else
    link->bad = g_rand_double (link->rand) < link->enter;
  return link->bad;
}

static void
link_send (Link *link, gint64 now, guint16 seq, const guint8 *bytes, gsize len)
{
  Datagram *d;

  link->sent++;
  if (link_loses (link)) {
    link->lost++;
    return;
  }
  g_assert_cmpuint (link->n, <, LINK_PACKETS);
  d = &link->queue[(link->first + link->n++) % LINK_PACKETS];
  d->at = now + ONE_WAY;
  d->seq = seq;
  d->len = (guint16)len;
  if (len > 0)
    memcpy (d->bytes, bytes, len);
}

static const Datagram *
link_take (Link *link, gint64 now)
{
  const Datagram *d = &link->queue[link->first];

  if (link->n == 0 || d->at > now)
    return NULL;
  link->first = (link->first + 1) % LINK_PACKETS;
  link->n--;
  return d;
}

/* ---- who repairs, who asks ----------------------------------------------- */

/* What was sent, by sequence number. */
typedef struct {
  gint64 had_us[RING];  /* since when; 0 = never */
  gint64 sent_us[RING]; /* last */
  guint64 seqs[RING];
  guint resent;
} Cache;

static void
cache_put (Cache *cache, guint64 seq, gint64 now)
{
  cache->seqs[seq % RING] = seq;
  cache->had_us[seq % RING] = now;
  cache->sent_us[seq % RING] = now; /* nobody who asks within a round trip can have missed it */
}

static void
cache_answer_one (Cache *cache, guint16 seq, gint64 now, Link *to)
{
  guint at = seq % RING;

  if ((guint16)cache->seqs[at] != seq || cache->had_us[at] == 0 ||
      now - cache->had_us[at] > CACHE || now - cache->sent_us[at] < RTT * 3 / 4)
    return;
  cache->sent_us[at] = now;
  cache->resent++;
  link_send (to, now, seq, NULL, 0);
}

static void
cache_answer (Cache *cache, const Datagram *nack, gint64 now, Link *to)
{
  NatRtcpPacket packet;
  NatRtcpNackEntry entry;
  NatRtcpIter it;

  g_assert_true (nat_rtcp_iter_init (&it, nack->bytes, nack->len));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  for (guint i = 0; nat_rtcp_nack_entry (&packet, i, &entry); i++) {
    cache_answer_one (cache, entry.first, now, to);
    for (guint bit = 0; bit < 16; bit++) {
      if (entry.following & 1 << bit)
        cache_answer_one (cache, (guint16)(entry.first + 1 + bit), now, to);
    }
  }
}

typedef struct {
  NatSeqCounter counter;
  NatMissingPacket memory[1024];
  NatMissing missing;
  guint nacks;
} Asker;

static void
asker_init (Asker *asker, gint64 life)
{
  nat_seq_counter_init (&asker->counter);
  nat_missing_init (&asker->missing, asker->memory, G_N_ELEMENTS (asker->memory));
  nat_missing_set_pace (&asker->missing, RTT, life);
  asker->nacks = 0;
}

static guint64
asker_take (Asker *asker, guint16 seq, gint64 now)
{
  guint64 extended;

  g_assert_cmpint (
      nat_seq_counter_update (&asker->counter, seq, G_MAXINT16, &extended), !=, NAT_SEQ_BAD);
  nat_missing_receive (&asker->missing, extended, now);
  return extended - 65536;
}

static void
asker_ask (Asker *asker, gint64 now, Link *to)
{
  guint16 seqs[256];
  guint n = nat_missing_due (&asker->missing, now, seqs, G_N_ELEMENTS (seqs));

  for (guint done = 0; done < n;) {
    guint8 bytes[sizeof ((Datagram *)NULL)->bytes];
    guint some = n - done;
    gsize len = nat_rtcp_write_nack (bytes, sizeof bytes, 1, MEDIA_SSRC, seqs + done, &some);

    link_send (to, now, 0, bytes, len);
    asker->nacks++;
    done += some;
  }
}

/* ---- a film -------------------------------------------------------------- */

typedef struct {
  gdouble whole; /* share of access units that were whole in time */
  gdouble extra; /* media packets on the last leg beyond the film's, share */
  gdouble nacks_per_s;
} Result;

typedef struct {
  Link up, up_back, down, down_back;
  Cache publisher, relay;
  Asker relay_asks, receiver_asks;
  guint64 sent;    /* next sequence number */
  gint64 *due;     /* by sequence number: when it is of use at the latest */
  guint8 *missing; /* by access unit: packets that did not come in time */
  guint *unit;     /* by sequence number */
} Film;

static void
film_publish (Film *f, guint unit, gint64 now)
{
  guint n = unit % 25 == 0 ? 10 * PACKETS : PACKETS;

  f->missing[unit] = (guint8)n;
  for (guint i = 0; i < n; i++, f->sent++) {
    f->due[f->sent] = now + 2 * ONE_WAY + LATENCY;
    f->unit[f->sent] = unit;
    cache_put (&f->publisher, f->sent, now);
    link_send (&f->up, now, (guint16)f->sent, NULL, 0);
  }
}

static void
film_relay (Film *f, gint64 now)
{
  const Datagram *d;

  while ((d = link_take (&f->up, now)) != NULL) {
    guint64 seq = asker_take (&f->relay_asks, d->seq, now);

    if (f->relay.had_us[seq % RING] != 0 && f->relay.seqs[seq % RING] == seq)
      continue;
    cache_put (&f->relay, seq, now);
    link_send (&f->down, now, d->seq, NULL, 0);
  }
  while ((d = link_take (&f->down_back, now)) != NULL)
    cache_answer (&f->relay, d, now, &f->down);
  asker_ask (&f->relay_asks, now, &f->up_back);
}

static void
film_receive (Film *f, gint64 now)
{
  const Datagram *d;

  while ((d = link_take (&f->down, now)) != NULL) {
    guint64 seq = asker_take (&f->receiver_asks, d->seq, now);

    if (f->due[seq] >= now)
      f->missing[f->unit[seq]]--;
    f->due[seq] = 0;
  }
  asker_ask (&f->receiver_asks, now, &f->down_back);
}

static void
film_run (Film *f, guint units)
{
  gint64 end = (gint64)units * FRAME;

  for (gint64 now = TICK; now < end + MS (3000); now += TICK) {
    const Datagram *d;

    if (now < end && now % FRAME == TICK)
      film_publish (f, (guint)(now / FRAME), now);
    while ((d = link_take (&f->up_back, now)) != NULL)
      cache_answer (&f->publisher, d, now, &f->up);
    film_relay (f, now);
    film_receive (f, now);
  }
}

static Result
film (guint32 seed, guint seconds, gdouble loss, gdouble burst)
{
  Film *f = g_new0 (Film, 1);
  guint units = seconds * 25, whole = 0;
  gsize packets = (gsize)(units / 25 + 1) * 34 * PACKETS + RING;
  Result r;

  link_init (&f->up, seed, loss, burst);
  link_init (&f->up_back, seed + 1, loss, burst);
  link_init (&f->down, seed + 2, loss, burst);
  link_init (&f->down_back, seed + 3, loss, burst);
  asker_init (&f->relay_asks, CACHE);
  asker_init (&f->receiver_asks, LATENCY);
  f->due = g_new0 (gint64, packets);
  f->unit = g_new0 (guint, packets);
  f->missing = g_new0 (guint8, units);
  film_run (f, units);
  /* The film's last packets have nothing behind them that would tell of their loss. */
  for (guint i = 0; i < units - 1; i++)
    whole += f->missing[i] == 0;
  r.whole = (gdouble)whole / (units - 1);
  r.extra = (gdouble)f->down.sent / (gdouble)f->sent - 1;
  r.nacks_per_s = (gdouble)f->receiver_asks.nacks / seconds;
  link_clear (&f->up);
  link_clear (&f->up_back);
  link_clear (&f->down);
  link_clear (&f->down_back);
  g_free (f->due);
  g_free (f->unit);
  g_free (f->missing);
  g_free (f);
  return r;
}

/* ---- tests --------------------------------------------------------------- */

static const struct {
  gdouble loss, burst, least;
} goals[] = {
    {0, 0, 1},
    {.01, 0, 1},
    {.05, 0, 1},
    {.10, 0, .999},
    {.01, 5, .999},
    {.05, 5, .995},
    {.10, 5, .98},
};

static void
test_goals (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (goals); i++) {
    Result r =
        film (100 * (i + 1), 300, /* the sequence number wraps */ goals[i].loss, goals[i].burst);

    g_test_message ("loss %.2f burst %.0f: %.5f whole, %.3f extra, %.1f NACKs/s", goals[i].loss,
        goals[i].burst, r.whole, r.extra, r.nacks_per_s);
    g_assert_cmpfloat (r.whole, >=, goals[i].least);
    /* Each loss is mended by one packet, two in some cases: little is sent in vain. */
    g_assert_cmpfloat (r.extra, <=, 1.6 * goals[i].loss);
  }
}

static int
print_table (guint seconds)
{
  printf ("loss  burst  whole     extra  NACKs/s\n");
  for (guint i = 0; i < G_N_ELEMENTS (goals); i++) {
    Result r = film (100 * (i + 1), seconds, goals[i].loss, goals[i].burst);

    printf ("%3.0f%%  %5.0f  %8.4f%%  %4.1f%%  %7.1f\n", 100 * goals[i].loss, goals[i].burst,
        100 * r.whole, 100 * r.extra, r.nacks_per_s);
  }
  return 0;
}

int
main (int argc, char **argv)
{
  if (argc > 1 && strcmp (argv[1], "--table") == 0)
    return print_table (argc > 2 ? (guint)atoi (argv[2]) : 1000);
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/repair/goals", test_goals);
  return g_test_run ();
}
