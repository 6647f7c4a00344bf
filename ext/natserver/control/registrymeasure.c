/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What passes now: every two seconds the counters of all sessions are compared with what they were. A stream's
 * sums hold those of its sessions that are over, so that nothing is missed of who came and went in between. */

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

void
nat_registry_measure_from (NatRegistered *session)
{
  session->measured = (NatMeasured){0};
  add (&session->measured, session->counters);
  add_sums (&session->stream->measured, &session->measured);
}

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
    nat_trend_add (stream->trend, r->trend_tick, &stream->flow);
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

void
nat_registry_measure (NatRegistry *r, NatTime now)
{
  gint64 us = now.us - r->measured_us;
  GHashTableIter iter;
  gpointer value;

  if (r->measured_us == 0)
    r->measured_us = now.us;
  if (us < NAT_TREND_STEP_US - NAT_TREND_STEP_US / 8 || r->measured_us == now.us)
    return;
  r->measured_us = now.us;
  r->measure_us = us;
  r->trend_tick++;
  g_hash_table_iter_init (&iter, r->sessions);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    measure_session (value, us);
  g_hash_table_iter_init (&iter, r->streams);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    measure_stream (r, value, us);
}

guint64
nat_registry_trend_tick (NatRegistry *r)
{
  return r->trend_tick;
}
