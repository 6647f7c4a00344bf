/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Sorted array, newest last: nearly all packets come in order and never touch it, and the few that are missing at
 * a time are found by halving. A bitmap of all that came (as replay.c's) would cost every packet, and not say
 * when.
 *
 * The first question waits only for what may be reordered. The second waits for the first one's answer, a round trip;
 * the third half of that, all others a quarter: it is likely by then that the way *to* the sender loses, which a burst
 * may do to several questions in a row, while an answerer does not send the same packet twice within a round
 * trip. What sixteen questions did not bring, nobody near may have: then the wait doubles. (tests/sim/repair-sim.c: ten per cent lost at random, 99.999 % of access units whole;
 * with a round trip each time 99.967 %.) */

#include "natproto/missing.h"

#include <string.h>

#define MS(n) ((gint64)(n)*1000)

#define UNKNOWN_RTT_US MS (100)
#define SLACK_US       MS (4) /* jitter of an answer, and the answerer's turn of its loop */
#define TRIES_DENSE    16     /* questions before the wait grows */
#define COALESCE_US    MS (1) /* what is due that soon goes along */
/* How long a packet may be on another way before it is asked for: at least a sixteenth of the round trip, within these;
 * more as learned. But no longer than a question in vain is the lesser evil: a packet that the relay had to ask for
 * itself comes late without having been on another way. */
#define REORDER_MIN_US MS (1)
#define REORDER_MAX_US MS (10)
#define PATIENCE_US    MS (20)

void
nat_missing_init (NatMissing *m, NatMissingPacket *memory, guint capacity)
{
  g_assert (capacity > 0);
  memset (m, 0, sizeof *m);
  m->packets = memory;
  m->capacity = capacity;
  m->next_us = G_MAXINT64;
  nat_missing_set_pace (m, 0, MS (1000));
}

void
nat_missing_reset (NatMissing *m)
{
  m->lost += m->n;
  m->n = 0;
  m->started = FALSE;
  m->next_us = G_MAXINT64;
}

void
nat_missing_set_pace (NatMissing *m, gint64 rtt_us, gint64 life_us)
{
  m->rtt_us = rtt_us > 0 ? rtt_us : UNKNOWN_RTT_US;
  m->life_us = life_us;
}

/* ---- when ---------------------------------------------------------------- */

static gint64
patience (const NatMissing *m)
{
  gint64 least = CLAMP (m->rtt_us / 16, REORDER_MIN_US, REORDER_MAX_US);

  return MIN (MAX (m->reorder_us, least), MAX (m->life_us / 8, REORDER_MIN_US));
}

static gint64
ask_at (const NatMissing *m, const NatMissingPacket *packet)
{
  if (packet->tries == 0)
    return packet->noticed_us + patience (m);
  if (packet->tries > TRIES_DENSE)
    return packet->asked_us + (m->rtt_us << MIN (packet->tries - TRIES_DENSE - 1, 4)) + SLACK_US;
  return packet->asked_us + (m->rtt_us >> MIN (packet->tries - 1, 2)) + SLACK_US;
}

/* An answer to a question after this comes too late. */
static gint64
last_question_at (const NatMissing *m, const NatMissingPacket *packet)
{
  return packet->noticed_us + m->life_us - MIN (m->rtt_us / 2, m->life_us / 2);
}

/* When there is something to do about it: to ask, or to give it up. Whoever calls late may have missed the time of the
 * last question: that one is not due any more. */
static gint64
due_at (const NatMissing *m, const NatMissingPacket *packet, gint64 now_us)
{
  gint64 ask = ask_at (m, packet), last = last_question_at (m, packet);

  return ask <= last && now_us <= last ? ask : packet->noticed_us + 2 * m->life_us;
}

/* ---- what ---------------------------------------------------------------- */

static void
drop_oldest (NatMissing *m, guint n)
{
  n = MIN (n, m->n);
  m->n -= n;
  m->lost += n;
  memmove (m->packets, m->packets + n, m->n * sizeof *m->packets);
}

/* After a silence longer than life, the first of what is missing was due too long ago: packets are taken to have been
 * sent evenly. */
static guint64
worth_asking (const NatMissing *m, guint64 missing, gint64 now_us)
{
  gint64 silence = now_us - m->heard_us;

  if (silence > m->life_us)
    missing = (guint64)((gdouble)missing * (gdouble)m->life_us / (gdouble)silence);
  return MIN (missing, m->capacity);
}

static void
note_missing (NatMissing *m, guint64 extended, gint64 now_us)
{
  guint64 missing = extended - m->highest - 1;
  guint n = (guint)worth_asking (m, missing, now_us);

  m->noticed += missing;
  m->lost += missing - n;
  if (n == 0)
    return;
  if (m->n + n > m->capacity)
    drop_oldest (m, m->n + n - m->capacity);
  for (guint64 seq = extended - n; seq < extended; seq++)
    m->packets[m->n++] = (NatMissingPacket){.seq = seq,
        .noticed_us = now_us,
        .ahead_us = (guint32)((gdouble)MIN (now_us - m->heard_us, G_MAXUINT32) *
                              (gdouble)(extended - seq) / (gdouble)(missing + 1))};
  m->next_us = MIN (m->next_us, now_us + patience (m));
}

/* NULL if it is not missing */
static NatMissingPacket *
find (const NatMissing *m, guint64 seq)
{
  guint low = 0, high = m->n;

  while (low < high) {
    guint middle = (low + high) / 2;

    if (m->packets[middle].seq < seq)
      low = middle + 1;
    else
      high = middle;
  }
  return low < m->n && m->packets[low].seq == seq ? &m->packets[low] : NULL;
}

static void
learn_reordering (NatMissing *m, gint64 took_us)
{
  if (took_us < PATIENCE_US)
    m->reorder_us = MAX (m->reorder_us, MIN (took_us + took_us / 4, PATIENCE_US));
  m->reordered++;
}

static NatMissingStatus
take_missing (NatMissing *m, const NatMissingPacket *packet, gint64 now_us)
{
  gint64 took = now_us - packet->noticed_us;

  m->late_us = took + packet->ahead_us;
  m->answer_us = packet->tries == 1 ? now_us - packet->asked_us : 0;
  /* Half a round trip: the one that is known is smoothed, and may be half as long again as this one. */
  if (packet->tries == 0 || (packet->tries == 1 && now_us - packet->asked_us < m->rtt_us / 2)) {
    learn_reordering (m, took);
    return NAT_MISSING_REORDERED;
  }
  /* Losses teach to ask early, as reordering teaches to wait. */
  m->reorder_us -= m->reorder_us / 16;
  m->latest_us = MAX (m->latest_us, took);
  if (took > m->life_us) {
    m->late++;
    return NAT_MISSING_LATE;
  }
  m->repaired++;
  return NAT_MISSING_REPAIRED;
}

NatMissingStatus
nat_missing_receive (NatMissing *m, guint64 extended, gint64 now_us)
{
  NatMissingStatus status;
  NatMissingPacket *packet;

  m->late_us = 0;
  if (!m->started || extended > m->highest) {
    if (m->started && extended > m->highest + 1)
      note_missing (m, extended, now_us);
    m->started = TRUE;
    m->highest = extended;
    m->heard_us = now_us;
    return NAT_MISSING_NEXT;
  }
  packet = find (m, extended);
  if (packet == NULL)
    return NAT_MISSING_OTHER;
  status = take_missing (m, packet, now_us);
  m->n--;
  memmove (packet, packet + 1, (gsize)((gchar *)(m->packets + m->n) - (gchar *)packet));
  if (m->n == 0)
    m->next_us = G_MAXINT64;
  return status;
}

gboolean
nat_missing_awaits (const NatMissing *m, guint64 extended)
{
  return find (m, extended) != NULL;
}

gint64
nat_missing_deadline (const NatMissing *m)
{
  return m->next_us;
}

void
nat_missing_give_up (NatMissing *m, guint64 extended)
{
  guint n = 0;

  while (n < m->n && m->packets[n].seq <= extended)
    n++;
  drop_oldest (m, n);
  if (m->n == 0)
    m->next_us = G_MAXINT64;
}

/* Those at the head whose time is over. */
static void
drop_expired (NatMissing *m, gint64 now_us)
{
  guint n = 0;

  while (n < m->n && now_us >= m->packets[n].noticed_us + 2 * m->life_us)
    n++;
  if (n > 0)
    drop_oldest (m, n);
}

guint
nat_missing_due (NatMissing *m, gint64 now_us, guint16 *seqs, guint max)
{
  gint64 next = G_MAXINT64;
  guint found = 0;

  if (now_us < m->next_us)
    return 0;
  drop_expired (m, now_us);
  for (guint i = 0; i < m->n; i++) {
    NatMissingPacket *packet = &m->packets[i];

    if (found < max && ask_at (m, packet) <= now_us + COALESCE_US &&
        now_us <= last_question_at (m, packet)) {
      packet->asked_us = now_us;
      packet->tries++;
      m->asked++;
      seqs[found++] = (guint16)packet->seq;
    }
    next = MIN (next, due_at (m, packet, now_us));
  }
  m->next_us = next;
  return found;
}
