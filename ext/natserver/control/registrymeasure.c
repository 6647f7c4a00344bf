/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What passes now: every two seconds the counters of all sessions are compared with what they were. A stream's
 * sums hold those of its sessions that are over, so that nothing is missed of who came and went in between.
 *
 * Of very many sessions only some are compared in one turn of the main loop, then the streams. Meanwhile they come and go: who was
 * measured is in the sum of those that live, so is who came, and who goes is taken out of it again. */

#include "natserver/control/registry-private.h"

static void
add (NatMeasured *sums, const NatSessionCounters *c)
{
  guint64 lost = nat_counter_get (&c->packets_lost);

  sums->bytes_in += nat_counter_get (&c->bytes_received);
  sums->bytes_out += nat_counter_get (&c->bytes_sent);
  sums->in += nat_counter_get (&c->packets_received);
  sums->out += nat_counter_get (&c->packets_sent);
  sums->lost += lost;
  sums->missed += lost + nat_counter_get (&c->repairs_received);
  sums->asked += nat_counter_get (&c->repairs_sent) + nat_counter_get (&c->repairs_unknown) +
                 nat_counter_get (&c->repairs_limited);
  sums->again += nat_counter_get (&c->repairs_sent);
}

static void
add_sums (NatMeasured *sums, const NatMeasured *more)
{
  sums->bytes_in += more->bytes_in;
  sums->bytes_out += more->bytes_out;
  sums->in += more->in;
  sums->out += more->out;
  sums->lost += more->lost;
  sums->missed += more->missed;
  sums->asked += more->asked;
  sums->again += more->again;
}

static void
take_sums (NatMeasured *sums, const NatMeasured *less)
{
  sums->bytes_in -= less->bytes_in;
  sums->bytes_out -= less->bytes_out;
  sums->in -= less->in;
  sums->out -= less->out;
  sums->lost -= less->lost;
  sums->missed -= less->missed;
  sums->asked -= less->asked;
  sums->again -= less->again;
}

/* ---- Who comes and goes ------------------------------------------------ */

/* Once a measure is over all streams have its number. */
static gboolean
is_in_live (const NatRegistry *r, const NatRegistered *session)
{
  return session->measure.number == r->measuring && session->stream->measure.number != r->measuring;
}

static void
join_row (NatRegistry *r, GQueue *row, NatMeasurePlace *place, gpointer who)
{
  place->link.data = who;
  place->number = r->measuring;
  g_queue_push_tail_link (row, &place->link);
}

void
nat_registry_measure_from (NatRegistry *r, NatRegistered *session)
{
  session->measured = (NatMeasured){0};
  add (&session->measured, session->counters);
  add_sums (&session->stream->measured, &session->measured);
  join_row (r, &r->sessions_to_measure, &session->measure, session);
  if (is_in_live (r, session))
    add_sums (&session->stream->live, &session->measured);
}

void
nat_registry_measure_leave (NatRegistry *r, NatRegistered *session)
{
  if (is_in_live (r, session))
    take_sums (&session->stream->live, &session->measured);
  g_queue_unlink (&r->sessions_to_measure, &session->measure.link);
}

void
nat_registry_measure_stream (NatRegistry *r, NatStream *stream)
{
  join_row (r, &r->streams_to_measure, &stream->measure, stream);
}

void
nat_registry_measure_no_more (NatRegistry *r, NatStream *stream)
{
  g_queue_unlink (&r->streams_to_measure, &stream->measure.link);
}

/* ---- Measuring --------------------------------------------------------- */

/* Counters fall when a gap is filled, and when a session that was summed up comes back. */
static guint64
since (guint64 now, guint64 before)
{
  return now > before ? now - before : 0;
}

static guint32
share_ppm (guint64 part, guint64 all)
{
  return all == 0 ? 0 : (guint32)(MIN (part, all) * 1000000 / all);
}

static void
compare (NatMeasured *before, const NatMeasured *now, gint64 us, NatFlow *flow)
{
  guint64 sent = since (now->in, before->in) + since (now->lost, before->lost);
  guint64 forwarded = since (now->out - now->again, before->out - before->again);

  flow->in_bps = since (now->bytes_in, before->bytes_in) * 8 * G_USEC_PER_SEC / (guint64)us;
  flow->out_bps = since (now->bytes_out, before->bytes_out) * 8 * G_USEC_PER_SEC / (guint64)us;
  flow->loss_in_ppm = share_ppm (since (now->missed, before->missed), sent);
  flow->loss_out_ppm = share_ppm (since (now->asked, before->asked), forwarded);
  *before = *now;
}

static void
measure_session (NatRegistered *session, gint64 us)
{
  NatStream *stream = session->stream;
  NatMeasured now = {0};

  add (&now, session->counters);
  add_sums (&stream->live, &now);
  compare (&session->measured, &now, us, &session->flow);
  if (session->ticket.role != NAT_ROLE_SUBSCRIBER || session->flow.out_bps == 0)
    return;
  /* Whoever does not ask again tells in his reports what he lost. */
  session->flow.loss_out_ppm = MAX (session->flow.loss_out_ppm,
      (guint32)(nat_counter_get (&session->counters->fraction_lost) * 1000000 / 256));
  stream->loss_ppm += session->flow.loss_out_ppm;
  stream->served++;
}

static void
keep_trend (NatRegistry *r, NatStream *stream)
{
  if (stream->trend == NULL && stream->state == NAT_PUBLISHER_LIVE &&
      r->n_trends < NAT_TREND_STREAMS) {
    stream->trend = nat_trend_new ();
    r->n_trends++;
  }
  if (stream->trend != NULL)
    nat_trend_add (stream->trend, r->measuring, &stream->flow);
}

static void
measure_stream (NatRegistry *r, NatStream *stream, gint64 us)
{
  NatMeasured now = stream->live;

  add (&now, stream->past);
  compare (&stream->measured, &now, us, &stream->flow);
  /* The mean of its receivers: each is a leg of its own. */
  stream->flow.loss_out_ppm = stream->served > 0 ? (guint32)(stream->loss_ppm / stream->served) : 0;
  stream->live = (NatMeasured){0};
  stream->loss_ppm = stream->served = 0;
  keep_trend (r, stream);
}

/* Who comes next, and goes to the end; NULL: all were measured. */
static gpointer
next_in_row (const NatRegistry *r, GQueue *row)
{
  NatMeasurePlace *first = (NatMeasurePlace *)row->head;

  if (first == NULL || first->number == r->measuring)
    return NULL;
  first->number = r->measuring;
  g_queue_unlink (row, &first->link);
  g_queue_push_tail_link (row, &first->link);
  return first->link.data;
}

gboolean
nat_registry_measure_on (NatRegistry *r)
{
  for (guint n = 0; n < NAT_REGISTRY_MEASURED_AT_ONCE; n++) {
    NatRegistered *session = next_in_row (r, &r->sessions_to_measure);
    NatStream *stream = session == NULL ? next_in_row (r, &r->streams_to_measure) : NULL;

    if (session != NULL) {
      measure_session (session, r->measure_us);
    } else if (stream != NULL) {
      measure_stream (r, stream, r->measure_us);
    } else {
      r->trend_tick = r->measuring;
      return FALSE;
    }
  }
  return TRUE;
}

void
nat_registry_measure (NatRegistry *r, NatTime now)
{
  gint64 us = now.us - r->measured_us;

  if (r->measured_us == 0)
    r->measured_us = now.us;
  if (us < NAT_TREND_STEP_US - NAT_TREND_STEP_US / 8 || r->measured_us == now.us ||
      r->trend_tick != r->measuring)
    return;
  r->measured_us = now.us;
  r->measure_us = us;
  r->measuring++;
}

guint64
nat_registry_trend_tick (NatRegistry *r)
{
  return r->trend_tick;
}
