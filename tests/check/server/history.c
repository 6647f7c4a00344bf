/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/history.h"

#include <string.h>

#include "natproto/messages.h"
#include "natserver/data/historypool.h"
#include "natserver/data/historyreader.h"

#define MS    1000
#define VIDEO 0x11111111u
#define AUDIO 0x22222222u

typedef struct {
  NatHistoryPool *pool;
  NatHistory h;
  NatHistorySource *video, *audio;
  gint64 now_us;
} Fixture;

static void
set_up (Fixture *f, gsize bytes)
{
  memset (f, 0, sizeof *f);
  f->pool = nat_history_pool_new (bytes);
  g_assert_nonnull (f->pool);
  nat_history_set_pool (&f->h, f->pool);
  f->video = nat_history_add_source (&f->h, VIDEO);
  f->audio = nat_history_add_source (&f->h, AUDIO);
  f->now_us = G_USEC_PER_SEC;
}

static void
tear_down (Fixture *f)
{
  nat_history_dispose (&f->h);
  g_assert_cmpuint (nat_history_pool_used (f->pool), ==, 0);
  nat_history_pool_free (f->pool);
}

/* Bytes that only this packet has. */
static void
fill (guint8 *data, gsize len, guint32 ssrc, guint64 seq)
{
  for (gsize i = 0; i < len; i++)
    data[i] = (guint8)(ssrc + seq * 31 + i * 7);
}

/* From a buffer that is used again at once. */
static gboolean
keep (NatHistory *h, NatHistorySource *s, guint64 seq, gsize len, gboolean starts, gint64 now_us)
{
  guint8 data[NAT_DATAGRAM_MAX];
  gboolean kept;

  fill (data, len, s->ssrc, seq);
  kept = nat_history_append (h, s, seq, data, len, starts, now_us);
  nat_history_settle (h->pool);
  return kept;
}

static gboolean
append (Fixture *f, NatHistorySource *s, guint64 seq, gsize len, gboolean starts)
{
  return keep (&f->h, s, seq, len, starts, f->now_us);
}

static void
assert_packet (const NatHistoryPacket *p, guint32 ssrc, guint64 seq, gsize len)
{
  guint8 data[NAT_DATAGRAM_MAX];

  fill (data, len, ssrc, seq);
  g_assert_cmpuint (p->ssrc, ==, ssrc);
  g_assert_cmpuint (p->seq, ==, seq);
  g_assert_cmpmem (p->data, p->len, data, len);
}

static gboolean
has (Fixture *f, NatHistorySource *s, guint64 seq, gsize len)
{
  NatHistoryPacket p;

  if (!nat_history_find (&f->h, s, seq, &p))
    return FALSE;
  assert_packet (&p, s->ssrc, seq, len);
  return TRUE;
}

static void
test_find (void)
{
  Fixture f;

  set_up (&f, 1024 * 1024);
  g_assert_false (has (&f, f.video, 65536, 0));
  for (guint64 seq = 131000; seq < 131200; seq++) {
    g_assert_true (append (&f, f.video, seq, seq % 1300, FALSE));
    if (seq % 4 == 0)
      g_assert_true (append (&f, f.audio, seq / 4, 100, FALSE));
  }
  for (guint64 seq = 130990; seq < 131210; seq++) {
    gboolean there = seq >= 131000 && seq < 131200;
    g_assert_true (has (&f, f.video, seq, seq % 1300) == there);
    g_assert_true (has (&f, f.audio, seq / 4, 100) == (seq / 4 >= 32750 && seq / 4 < 32800));
  }
  /* A gap stays one until its packet comes, late. */
  g_assert_true (append (&f, f.video, 131300, 50, FALSE));
  g_assert_false (has (&f, f.video, 131250, 60));
  g_assert_true (append (&f, f.video, 131250, 60, FALSE));
  g_assert_true (has (&f, f.video, 131250, 60));
  g_assert_true (has (&f, f.video, 131199, 131199 % 1300));
  /* Longest and too long. */
  g_assert_true (append (&f, f.video, 131301, NAT_DATAGRAM_MAX, FALSE));
  g_assert_true (has (&f, f.video, 131301, NAT_DATAGRAM_MAX));
  g_assert_false (
      nat_history_append (&f.h, f.video, 131302, NULL, NAT_DATAGRAM_MAX + 1, FALSE, f.now_us));
  tear_down (&f);
}

static void
test_span (void)
{
  const guint64 first = 100000, n = 3 * NAT_HISTORY_SPAN;
  gsize most = 0;
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  for (guint64 seq = first; seq < first + n; seq++) {
    g_assert_true (append (&f, f.video, seq, 1000, FALSE));
    most = MAX (most, nat_history_bytes (&f.h));
  }
  for (guint64 seq = first; seq < first + n; seq++)
    g_assert_true (has (&f, f.video, seq, 1000) == (seq + NAT_HISTORY_SPAN >= first + n));
  /* Not much more memory than that is worth: 1024 bytes a packet, and a block of index. */
  g_assert_cmpuint (most, <=, (NAT_HISTORY_SPAN + 100) * 1100 + 2 * NAT_HISTORY_BLOCK);
  g_assert_false (append (&f, f.video, first + n - 1 - NAT_HISTORY_SPAN, 1000, FALSE));
  /* A leap: whatever stood in the index is another's by now. */
  g_assert_true (append (&f, f.video, first + n + 60000, 1000, FALSE));
  for (guint64 seq = first + n + 60000 - NAT_HISTORY_SPAN; seq < first + n + 60000; seq++)
    g_assert_false (has (&f, f.video, seq, 1000));
  tear_down (&f);
}

/* A picture that is long gets an index that is: all of it is found, though it came before the index grew. */
static void
test_grows (void)
{
  const guint64 first = 65536 + 1000, n = NAT_HISTORY_SPAN_MAX - 100;
  gsize before;
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  for (guint64 seq = first; seq < first + n; seq++, f.now_us += MS) {
    if (seq % 100 != 50)
      g_assert_true (append (&f, f.video, seq, 200 + seq % 50, seq == first));
    if (seq % 100 == 90) /* late */
      g_assert_true (append (&f, f.video, seq - 40, 200 + (seq - 40) % 50, FALSE));
    if (seq % 50 == 0)
      nat_history_grow (&f.h, f.now_us);
  }
  for (guint64 seq = first; seq < first + n; seq++)
    g_assert_true (has (&f, f.video, seq, 200 + seq % 50));
  g_assert_false (has (&f, f.video, first - 1, 0));
  /* No longer than that: the oldest cannot be found any more. */
  for (guint64 seq = first + n; seq < first + n + 1000; seq++, f.now_us += MS) {
    g_assert_true (append (&f, f.video, seq, 200 + seq % 50, FALSE));
    nat_history_grow (&f.h, f.now_us);
  }
  g_assert_false (has (&f, f.video, first + n + 999 - NAT_HISTORY_SPAN_MAX, 0));
  g_assert_true (has (&f, f.video, first + n + 1000 - NAT_HISTORY_SPAN_MAX,
      200 + (first + n + 1000 - NAT_HISTORY_SPAN_MAX) % 50));
  /* A leap, and the index is as long but empty; without packets it is gone. */
  before = nat_history_bytes (&f.h);
  g_assert_true (append (&f, f.video, first + n + 60000, 100, FALSE));
  g_assert_false (has (&f, f.video, first + n + 999, 0));
  g_assert_cmpuint (nat_history_bytes (&f.h), <=, before + NAT_HISTORY_BLOCK);
  nat_history_clear (&f.h);
  g_assert_cmpuint (nat_history_pool_used (f.pool), ==, 0);
  tear_down (&f);
}

/* Without a picture, as many as come in two seconds. */
static void
test_grows_by_rate (void)
{
  guint64 seq = 100000;
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  for (guint i = 0; i < 100; i++, f.now_us += 50 * MS) { /* 5000 a second for five */
    for (guint k = 0; k < 250; k++)
      g_assert_true (append (&f, f.video, seq++, 100, FALSE));
    append (&f, f.audio, 1000 + i, 100, FALSE);
    nat_history_grow (&f.h, f.now_us);
  }
  g_assert_true (has (&f, f.video, seq - 9900, 100));
  g_assert_cmpuint (f.video->span, ==, NAT_HISTORY_SPAN_MAX);
  g_assert_cmpuint (f.audio->span, ==, NAT_HISTORY_SPAN);
  tear_down (&f);
}

/* Where memory is short the index stays as it is, or takes what others have least need of; nothing is lost on the way. */
static void
test_grows_where_memory_is_short (void)
{
  Fixture f;

  set_up (&f, 16 * NAT_HISTORY_BLOCK);
  for (guint64 seq = 1; seq < 8000; seq++, f.now_us += MS) {
    g_assert_true (append (&f, f.video, seq, 40, seq == 1));
    if (seq % 50 == 0)
      nat_history_grow (&f.h, f.now_us);
    g_assert_true (has (&f, f.video, seq, 40));
    g_assert_cmpuint (nat_history_pool_used (f.pool), <=, 16 * NAT_HISTORY_BLOCK);
  }
  tear_down (&f);
}

/* ---- The bound --------------------------------------------------------- */

/* Less memory from now on: the biggest give theirs, it goes back to the system, and comes again when there is more. */
static void
test_limit (void)
{
  NatHistory small = {0};
  NatHistorySource *s;
  NatHistoryPacket p;
  Fixture f;

  set_up (&f, 200 * NAT_HISTORY_BLOCK);
  nat_history_set_pool (&small, f.pool);
  s = nat_history_add_source (&small, AUDIO);
  g_assert_true (keep (&small, s, 7, 100, FALSE, f.now_us));
  for (guint64 seq = 1; seq <= 3000; seq++)
    g_assert_true (append (&f, f.video, seq, 1200, seq == 1));
  g_assert_cmpuint (nat_history_pool_used (f.pool), ==, 200 * NAT_HISTORY_BLOCK);
  g_assert_cmpuint (nat_history_pool_resident (f.pool), ==, 200 * NAT_HISTORY_BLOCK);
  nat_history_pool_set_limit (f.pool, 20 * NAT_HISTORY_BLOCK + 1);
  nat_history_pool_trim (f.pool);
  g_assert_cmpuint (nat_history_pool_used (f.pool), ==, 20 * NAT_HISTORY_BLOCK);
  g_assert_cmpuint (nat_history_pool_resident (f.pool), ==, 20 * NAT_HISTORY_BLOCK);
  g_assert_true (nat_history_find (&small, s, 7, &p));
  assert_packet (&p, AUDIO, 7, 100);
  for (guint64 seq = 3001; seq <= 4000; seq++) {
    g_assert_true (append (&f, f.video, seq, 1200, FALSE));
    g_assert_true (has (&f, f.video, seq, 1200));
  }
  g_assert_cmpuint (nat_history_pool_resident (f.pool), ==, 20 * NAT_HISTORY_BLOCK);
  nat_history_pool_set_limit (f.pool, 1000 * NAT_HISTORY_BLOCK); /* more than there is */
  for (guint64 seq = 4001; seq <= 8000; seq++)
    g_assert_true (append (&f, f.video, seq, 1200, FALSE));
  g_assert_cmpuint (nat_history_pool_used (f.pool), ==, 200 * NAT_HISTORY_BLOCK);
  nat_history_clear (&f.h);
  nat_history_pool_set_limit (f.pool, 10 * NAT_HISTORY_BLOCK);
  nat_history_pool_trim (f.pool);
  g_assert_cmpuint (nat_history_pool_resident (f.pool), ==, 10 * NAT_HISTORY_BLOCK);
  g_assert_true (nat_history_find (&small, s, 7, &p));
  nat_history_dispose (&small);
  tear_down (&f);
}

/* A far lower limit takes many turns: what comes meanwhile is kept, and nothing is taken for it. */
static void
test_limit_in_turns (void)
{
  guint64 seq = 0;
  gsize used;
  Fixture f;

  set_up (&f, 1000 * NAT_HISTORY_BLOCK);
  while (nat_history_pool_used (f.pool) < 1000 * NAT_HISTORY_BLOCK) {
    seq++;
    g_assert_true (append (&f, f.video, seq, 1400, seq == 1));
  }
  nat_history_pool_set_limit (f.pool, 20 * NAT_HISTORY_BLOCK);
  for (used = 1000 * NAT_HISTORY_BLOCK; used > 20 * NAT_HISTORY_BLOCK;) {
    for (guint i = 0; i < 100; i++) {
      g_assert_true (append (&f, f.video, ++seq, 1400, FALSE));
      g_assert_true (has (&f, f.video, seq, 1400));
    }
    g_assert_cmpuint (nat_history_pool_used (f.pool), <=, used);
    nat_history_pool_trim (f.pool);
    g_assert_cmpuint (nat_history_pool_used (f.pool), <, used);
    used = nat_history_pool_used (f.pool);
  }
  g_assert_cmpuint (used, ==, 20 * NAT_HISTORY_BLOCK);
  tear_down (&f);
}

static void
test_time (void)
{
  Fixture f;

  set_up (&f, 1024 * 1024);
  for (guint64 seq = 0; seq < 200; seq++, f.now_us += 20 * MS)
    g_assert_true (append (&f, f.audio, seq, 900, FALSE));
  g_assert_true (has (&f, f.audio, 199, 900));
  g_assert_true (has (&f, f.audio, 120, 900));
  g_assert_false (has (&f, f.audio, 60, 900)); /* 2.8 s ago, and not in a block with younger ones */
  nat_history_expire (&f.h, f.now_us);
  g_assert_true (has (&f, f.audio, 110, 900));
  nat_history_expire (&f.h, f.now_us + 1970 * MS);
  g_assert_true (has (&f, f.audio, 199, 900));
  nat_history_expire (&f.h, f.now_us + 2100 * MS);
  g_assert_false (has (&f, f.audio, 199, 900));
  g_assert_cmpuint (nat_history_bytes (&f.h), ==, 0);
  tear_down (&f);
}

static void
test_sources (void)
{
  Fixture f;

  set_up (&f, 1024 * 1024);
  g_assert_true (nat_history_add_source (&f.h, VIDEO) == f.video);
  g_assert_true (append (&f, f.video, 70000, 500, TRUE));
  g_assert_true (append (&f, f.audio, 70000, 100, FALSE));
  nat_history_remove_source (&f.h, VIDEO);
  f.video = nat_history_add_source (&f.h, VIDEO);
  g_assert_false (has (&f, f.video, 70000, 500));
  g_assert_true (has (&f, f.audio, 70000, 100));
  nat_history_clear (&f.h);
  g_assert_cmpuint (nat_history_pool_used (f.pool), ==, 0);
  g_assert_false (has (&f, f.audio, 70000, 100));
  g_assert_true (append (&f, f.audio, 5, 100, FALSE));
  g_assert_true (has (&f, f.audio, 5, 100));
  tear_down (&f);
}

/* Without a pool, and with one that holds nothing. */
static void
test_nothing (void)
{
  guint8 data[100] = {0};
  NatHistory h = {0};
  NatHistorySource *s = nat_history_add_source (&h, VIDEO);
  NatHistoryPacket p;
  NatHistoryReader reader;
  Fixture f;

  g_assert_false (nat_history_append (&h, s, 1, data, sizeof data, TRUE, 0));
  g_assert_false (nat_history_find (&h, s, 1, &p));
  g_assert_false (nat_history_read_picture (&h, s, &reader));
  nat_history_expire (&h, 0);
  nat_history_dispose (&h);
  set_up (&f, NAT_HISTORY_BLOCK); /* enough for an index, not for a packet */
  g_assert_false (append (&f, f.video, 1, 100, TRUE));
  g_assert_false (append (&f, f.audio, 1, 100, TRUE));
  g_assert_false (has (&f, f.video, 1, 100));
  tear_down (&f);
}

/* ---- Fairness ---------------------------------------------------------- */

#define SMALL 20

/* One stream that would fill everything, and 20 small ones, in a pool for about 60 blocks: the small ones
 * lose nothing. */
static void
test_fair (void)
{
  NatHistory small[SMALL] = {{0}};
  NatHistorySource *s[SMALL];
  NatHistoryPacket p;
  Fixture f;

  set_up (&f, 62 * NAT_HISTORY_BLOCK);
  for (guint i = 0; i < SMALL; i++) {
    nat_history_set_pool (&small[i], f.pool);
    s[i] = nat_history_add_source (&small[i], AUDIO);
  }
  for (guint64 seq = 1; seq <= 3000; seq++, f.now_us += 300) {
    guint i = seq % SMALL;
    g_assert_true (append (&f, f.video, seq, 1200, FALSE));
    if (seq <= 600)
      g_assert_true (keep (&small[i], s[i], seq, 200, FALSE, f.now_us));
  }
  g_assert_cmpuint (nat_history_pool_evictions (f.pool), >, 0);
  for (guint64 seq = 1; seq <= 600; seq++) {
    g_assert_true (nat_history_find (&small[seq % SMALL], s[seq % SMALL], seq, &p));
    assert_packet (&p, AUDIO, seq, 200);
  }
  g_assert_true (has (&f, f.video, 3000, 1200));
  g_assert_false (has (&f, f.video, 2000, 1200));
  g_assert_cmpuint (nat_history_pool_used (f.pool), <=, 62 * NAT_HISTORY_BLOCK);
  /* Two big ones come to the same size. */
  for (guint64 seq = 1; seq <= 3000; seq++) {
    append (&f, f.video, 3000 + seq, 1200, FALSE);
    keep (&small[0], s[0], 10000 + seq, 1000, FALSE, f.now_us);
  }
  g_assert_cmpint (ABS ((gint)f.h.n_blocks - (gint)small[0].n_blocks), <=, 2);
  for (guint i = 0; i < SMALL; i++)
    nat_history_dispose (&small[i]);
  tear_down (&f);
}

/* ---- Pictures ---------------------------------------------------------- */

/* Reads to the edge; returns how many, and that they come one after another from first on. */
static guint
read_all (Fixture *f, NatHistoryReader *reader, guint64 first)
{
  NatHistoryPacket p;
  NatHistoryStep step;
  guint n = 0;

  while ((step = nat_history_read (&f->h, reader, &p)) == NAT_HISTORY_PACKET) {
    assert_packet (&p, VIDEO, first + n, 1200);
    g_assert_true (p.starts_picture == (p.seq % 1000 == 0));
    n++;
  }
  g_assert_cmpint (step, ==, NAT_HISTORY_EDGE);
  return n;
}

static void
test_picture (void)
{
  NatHistoryReader reader, old;
  NatHistoryPacket p;
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  g_assert_false (nat_history_read_picture (&f.h, f.video, &reader));
  /* A picture in ten seconds, far more than is kept for repair. */
  for (guint64 seq = 900; seq < 1990; seq++, f.now_us += 10 * MS) {
    g_assert_true (append (&f, f.video, seq, 1200, seq % 1000 == 0));
    append (&f, f.audio, seq, 80, FALSE);
  }
  g_assert_false (has (&f, f.video, 950, 1200));
  g_assert_true (nat_history_read_picture (&f.h, f.video, &reader));
  old = reader;
  g_assert_cmpuint (read_all (&f, &reader, 1000), ==, 990);
  /* More came: the reader goes on. */
  append (&f, f.video, 1990, 1200, FALSE);
  g_assert_cmpuint (read_all (&f, &reader, 1990), ==, 1);
  nat_history_expire (&f.h, f.now_us);
  g_assert_true (nat_history_read_picture (&f.h, f.video, &reader));
  /* The next start releases what was before it, and who still reads there hears of it. */
  for (guint64 seq = 1991; seq < 2400; seq++, f.now_us += 10 * MS)
    append (&f, f.video, seq, 1200, seq % 1000 == 0);
  g_assert_cmpint (nat_history_read (&f.h, &old, &p), ==, NAT_HISTORY_GONE);
  g_assert_true (nat_history_read_picture (&f.h, f.video, &reader));
  g_assert_cmpuint (read_all (&f, &reader, 2000), ==, 400);
  g_assert_false (has (&f, f.video, 1950, 1200));
  /* Half a minute without another: nobody wants it any more. */
  nat_history_expire (&f.h, f.now_us + 25 * G_USEC_PER_SEC);
  g_assert_true (nat_history_read_picture (&f.h, f.video, &reader));
  nat_history_expire (&f.h, f.now_us + 31 * G_USEC_PER_SEC);
  g_assert_false (nat_history_read_picture (&f.h, f.video, &reader));
  g_assert_cmpuint (nat_history_bytes (&f.h), ==, 0);
  tear_down (&f);
}

/* Whoever is still reading when the next picture starts gets the rest; for as long as it says so. */
static void
test_pin (void)
{
  NatHistoryReader reader, slow;
  NatHistoryPacket p;
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  for (guint64 seq = 1000; seq < 1990; seq++, f.now_us += 10 * MS)
    append (&f, f.video, seq, 1200, seq == 1000);
  g_assert_true (nat_history_read_picture (&f.h, f.video, &reader));
  slow = reader;
  for (guint i = 0; i < 100; i++)
    g_assert_cmpint (nat_history_read (&f.h, &reader, &p), ==, NAT_HISTORY_PACKET);
  for (guint64 seq = 1990; seq < 2400; seq++, f.now_us += 10 * MS) {
    nat_history_pin (&f.h, &slow, f.now_us);
    nat_history_pin (&f.h, &reader, f.now_us);
    append (&f, f.video, seq, 1200, seq % 1000 == 0);
    nat_history_expire (&f.h, f.now_us);
  }
  g_assert_cmpuint (read_all (&f, &slow, 1000), ==, 1400);
  f.now_us += 200 * MS;
  nat_history_expire (&f.h, f.now_us);
  g_assert_cmpint (nat_history_read (&f.h, &reader, &p), ==, NAT_HISTORY_GONE);
  tear_down (&f);
}

/* Readers need not say so at the same time. When the slowest is through, nothing of the others' goes with what was his. */
static void
test_pin_in_turn (void)
{
  NatHistoryReader first, second;
  NatHistoryPacket p;
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  for (guint64 seq = 1000; seq < 4000; seq++, f.now_us += 10 * MS) {
    append (&f, f.video, seq, 1200, seq % 1000 == 0);
    if (seq == 1500)
      g_assert_true (nat_history_read_picture (&f.h, f.video, &first));
    if (seq == 2500)
      g_assert_true (nat_history_read_picture (&f.h, f.video, &second));
    if (seq >= 1500 && seq < 3500 && seq % 4 == 0)
      nat_history_pin (&f.h, &first, f.now_us);
    if (seq >= 2500 && seq % 4 == 1)
      nat_history_pin (&f.h, &second, f.now_us);
    if (seq % 4 == 2)
      nat_history_expire (&f.h, f.now_us);
    g_assert_true (has (&f, f.video, 1000, 1200) || seq >= 3500);
  }
  g_assert_cmpint (nat_history_read (&f.h, &first, &p), ==, NAT_HISTORY_GONE);
  g_assert_cmpuint (read_all (&f, &second, 2000), ==, 2000);
  tear_down (&f);
}

/* The slowest of three is through, and the quickest one's turn comes first: the second's stays. */
static void
test_pin_out_of_turn (void)
{
  static const guint turns[3] = {3, 8, 5};
  NatHistoryReader readers[3];
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  for (guint64 seq = 1000; seq < 5000; seq++, f.now_us += 5 * MS) {
    append (&f, f.video, seq, 1200, seq % 1000 == 0);
    for (guint i = 0; i < 3; i++) {
      if (seq == 1500 + 1000 * i)
        g_assert_true (nat_history_read_picture (&f.h, f.video, &readers[i]));
    }
    for (guint i = 0; i < 3; i++) {
      if (seq >= 3500 && seq % 10 == turns[i] && (i > 0 || seq < 4000))
        nat_history_pin (&f.h, &readers[i], f.now_us);
    }
    if (seq < 3500)
      nat_history_pin (&f.h, &readers[seq < 2500 ? 0 : seq % 2], f.now_us);
    nat_history_expire (&f.h, f.now_us);
    g_assert_true (seq < 2000 || has (&f, f.video, 2000, 1200));
  }
  tear_down (&f);
}

/* Also those of its packets are found that were read already, whatever follows. */
static void
test_pin_finds (void)
{
  const guint64 first = 1000, n = NAT_HISTORY_SPAN * 2 / 3;
  NatHistoryReader reader;
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  for (guint64 seq = first; seq < first + 2 * n; seq++, f.now_us += MS) {
    append (&f, f.video, seq, 200, (seq - first) % n == 0);
    if (seq == first)
      g_assert_true (nat_history_read_picture (&f.h, f.video, &reader));
    nat_history_pin (&f.h, &reader, f.now_us);
    if (seq % 50 == 0)
      nat_history_grow (&f.h, f.now_us);
  }
  for (guint64 seq = first; seq < first + 2 * n; seq++)
    g_assert_true (has (&f, f.video, seq, 200));
  tear_down (&f);
}

/* The first packet of the picture was lost, and came after some of the others. */
static void
test_late_start (void)
{
  static const guint64 order[] = {995, 996, 999, 1002, 1003, 997, 1000, 1001, 1004};
  static const guint64 wanted[] = {1002, 1003, 1000, 1001, 1004};
  NatHistoryReader reader;
  NatHistoryPacket p;
  Fixture f;

  set_up (&f, 1024 * 1024);
  for (guint i = 0; i < G_N_ELEMENTS (order); i++)
    append (&f, f.video, order[i], 1200, order[i] == 1000);
  g_assert_true (nat_history_read_picture (&f.h, f.video, &reader));
  for (guint i = 0; i < G_N_ELEMENTS (wanted); i++) {
    g_assert_cmpint (nat_history_read (&f.h, &reader, &p), ==, NAT_HISTORY_PACKET);
    assert_packet (&p, VIDEO, wanted[i], 1200);
  }
  g_assert_cmpint (nat_history_read (&f.h, &reader, &p), ==, NAT_HISTORY_EDGE);
  /* An older start that comes later still changes nothing. */
  append (&f, f.video, 998, 1200, TRUE);
  g_assert_true (nat_history_read_picture (&f.h, f.video, &reader));
  g_assert_cmpuint (reader.from, ==, 1000);
  tear_down (&f);
}

/* A picture that outgrows what one stream may have is not kept; memory is. */
static void
test_endless_picture (void)
{
  NatHistoryReader reader;
  Fixture f;

  set_up (&f, 64 * 1024 * 1024);
  for (guint64 seq = 1000; seq < 1000 + NAT_HISTORY_STREAM_MAX / 1200 + 2000;
       seq++, f.now_us += 100)
    g_assert_true (append (&f, f.video, seq, 1200, seq == 1000));
  g_assert_cmpuint (nat_history_bytes (&f.h), <=, NAT_HISTORY_STREAM_MAX + NAT_HISTORY_BLOCK);
  g_assert_false (nat_history_read_picture (&f.h, f.video, &reader));
  tear_down (&f);
}

/* ---- Runs -------------------------------------------------------------- */

/* Neighbours in a buffer, of two streams, more than a block holds: each is there when the buffer is another's, and
 * before that if somebody asks. */
static void
test_runs (void)
{
  guint8 batch[40 * 500];
  NatHistorySource *s;
  Fixture f;

  set_up (&f, 1024 * 1024);
  for (guint round = 0; round < 20; round++) {
    for (guint i = 0; i < 40; i++) {
      guint64 seq = 40 * round + i + 1;

      s = i % 7 == 6 ? f.audio : f.video;
      fill (batch + i * 500, 500, s->ssrc, seq);
      g_assert_true (nat_history_append (&f.h, s, seq, batch + i * 500, 500, FALSE, f.now_us));
      g_assert_true (seq % 9 || has (&f, s, seq, 500));
    }
    nat_history_settle (f.pool);
    memset (batch, 0, sizeof batch);
  }
  for (guint seq = 1; seq <= 800; seq++)
    g_assert_true (has (&f, (seq - 1) % 40 % 7 == 6 ? f.audio : f.video, seq, 500));
  tear_down (&f);
}

/* What is let go before it was copied is not copied over what is there by then: the other's index. */
static void
test_run_of_nobody (void)
{
  guint8 data[1000];
  NatHistory second = {0};
  NatHistorySource *s;
  NatHistoryPacket p;
  Fixture f;

  set_up (&f, 3 * NAT_HISTORY_BLOCK);
  nat_history_set_pool (&second, f.pool);
  s = nat_history_add_source (&second, AUDIO);
  fill (data, sizeof data, VIDEO, 1);
  g_assert_true (nat_history_append (&f.h, f.video, 1, data, sizeof data, FALSE, f.now_us));
  nat_history_remove_source (&f.h, VIDEO);
  nat_history_expire (&f.h, f.now_us + 2 * NAT_HISTORY_KEEP_US);
  g_assert_true (keep (&second, s, 1, 900, FALSE, f.now_us));
  g_assert_true (nat_history_find (&second, s, 1, &p));
  assert_packet (&p, AUDIO, 1, 900);
  nat_history_dispose (&second);
  tear_down (&f);
}

/* ---- Twin -------------------------------------------------------------- */

#define STREAMS 3
#define BATCH   (16 * NAT_DATAGRAM_MAX)

/* Whatever happens, what is found is what was kept under that number; and what was kept last and is
 * within bounds is found. */
static void
test_twin (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (20110);
  GHashTable *kept[STREAMS * 2];
  NatHistory h[STREAMS] = {{0}};
  NatHistorySource *s[STREAMS * 2];
  guint64 highest[STREAMS * 2] = {0};
  NatHistoryPool *pool = nat_history_pool_new (40 * NAT_HISTORY_BLOCK);
  guint8 *batch = g_malloc (BATCH);
  gsize at = 0; /* packets came behind one another, up to here */
  guint found = 0;

  for (guint i = 0; i < STREAMS * 2; i++) {
    nat_history_set_pool (&h[i / 2], NULL);
    nat_history_set_pool (&h[i / 2], pool);
    s[i] = nat_history_add_source (&h[i / 2], 1000 + i);
    kept[i] = g_hash_table_new (NULL, NULL);
    highest[i] = 70000;
  }
  for (guint n = 0; n < 200000; n++) {
    guint i = (guint)g_rand_int_range (rand, 0, STREAMS * 2);
    guint kind = (guint)g_rand_int_range (rand, 0, 1000);
    guint64 seq = kind < 900   ? highest[i] + 1
                  : kind < 950 ? highest[i] + (guint)g_rand_int_range (rand, 1, 40)
                  : kind < 999 ? highest[i] - (guint)g_rand_int_range (rand, 0, 300)
                               : highest[i] + (guint)g_rand_int_range (rand, 1, 9000);
    gsize len = (gsize)g_rand_int_range (rand, 12, i % 2 ? 200 : NAT_DATAGRAM_MAX);
    gint64 now_us = (gint64)n * 100;
    gpointer key = GSIZE_TO_POINTER (seq), was = g_hash_table_lookup (kept[i], key);
    NatHistoryPacket p;

    if (!was) {
      if (at + len > BATCH || kind % 50 == 49) {
        nat_history_settle (pool);
        memset (batch, 0xff, BATCH);
        at = 0;
      }
      fill (batch + at, len, s[i]->ssrc, seq);
      if (nat_history_append (&h[i / 2], s[i], seq, batch + at, len, kind == 500, now_us)) {
        g_hash_table_insert (kept[i], key, GSIZE_TO_POINTER (len));
        if (kind % 8 == 0)
          g_assert_true (nat_history_find (&h[i / 2], s[i], seq, &p));
      }
      at += len;
      highest[i] = MAX (highest[i], seq);
    }
    seq = highest[i] - (guint)g_rand_int_range (rand, 0, 500);
    if (kind % 3 == 0 && nat_history_find (&h[i / 2], s[i], seq, &p)) {
      len = GPOINTER_TO_SIZE (g_hash_table_lookup (kept[i], GSIZE_TO_POINTER (seq)));
      assert_packet (&p, s[i]->ssrc, seq, len);
      found++;
    }
    if (kind == 777)
      nat_history_expire (&h[i / 2], now_us);
    if (kind == 778)
      nat_history_grow (&h[i / 2], now_us);
    if (n % 20011 == 0)
      nat_history_clear (&h[i / 2]);
    g_assert_cmpuint (nat_history_pool_used (pool), <=, 40 * NAT_HISTORY_BLOCK);
  }
  g_assert_cmpuint (found, >, 10000);
  for (guint i = 0; i < STREAMS * 2; i++) {
    nat_history_dispose (&h[i / 2]);
    g_hash_table_unref (kept[i]);
  }
  g_assert_cmpuint (nat_history_pool_used (pool), ==, 0);
  nat_history_pool_free (pool);
  g_free (batch);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/history/find", test_find);
  g_test_add_func ("/history/span", test_span);
  g_test_add_func ("/history/grows", test_grows);
  g_test_add_func ("/history/grows-by-rate", test_grows_by_rate);
  g_test_add_func ("/history/grows-where-memory-is-short", test_grows_where_memory_is_short);
  g_test_add_func ("/history/limit", test_limit);
  g_test_add_func ("/history/limit-in-turns", test_limit_in_turns);
  g_test_add_func ("/history/time", test_time);
  g_test_add_func ("/history/sources", test_sources);
  g_test_add_func ("/history/nothing", test_nothing);
  g_test_add_func ("/history/fair", test_fair);
  g_test_add_func ("/history/picture", test_picture);
  g_test_add_func ("/history/pin", test_pin);
  g_test_add_func ("/history/pin-in-turn", test_pin_in_turn);
  g_test_add_func ("/history/pin-out-of-turn", test_pin_out_of_turn);
  g_test_add_func ("/history/pin-finds", test_pin_finds);
  g_test_add_func ("/history/late-start", test_late_start);
  g_test_add_func ("/history/endless-picture", test_endless_picture);
  g_test_add_func ("/history/runs", test_runs);
  g_test_add_func ("/history/run-of-nobody", test_run_of_nobody);
  g_test_add_func ("/history/twin", test_twin);
  return g_test_run ();
}
