/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* All sessions counted and their counters summed up, in turns of the main loop: HTTPS is served in between, and sessions
 * come and go. A cursor goes through the streams, then through the sessions. Whoever comes meanwhile has the survey's
 * number from the beginning and is passed over; whoever goes is counted right then, and his stream before him, so that no
 * sum of the past has him twice. So all counters are of one set of sessions, and never less than in the survey before. */

#include "natserver/control/registry-private.h"

struct _NatSurvey {
  NatRegistry *registry; /* NULL: it is over */
  guint references;
  NatSnapshot *snapshot;
  GSequenceIter *stream, *session; /* that come next */
};

/* ---- Counting ---------------------------------------------------------- */

static gboolean
take_number (NatRegistry *r, NatSurveyPlace *place)
{
  if (place->number == r->surveys)
    return FALSE;
  place->number = r->surveys;
  return TRUE;
}

/* row: where it is told by itself; NULL: nowhere. */
static void
count_stream (NatSurvey *s, NatStream *stream, NatStreamSnapshot *row)
{
  NatSnapshot *all = s->snapshot;

  if (!take_number (s->registry, &stream->survey))
    return;
  all->n_streams[stream->state]++;
  all->in_bps += stream->flow.in_bps;
  all->out_bps += stream->flow.out_bps;
  stream->row = row;
  nat_sums_add (row != NULL ? &row->sums : &all->rest, stream->past);
}

static void
count_session (NatSurvey *s, NatRegistered *session)
{
  NatSnapshot *all = s->snapshot;
  NatStreamSnapshot *row = session->stream->row;

  if (!take_number (s->registry, &session->survey))
    return;
  all->n_sessions[session->ticket.role == NAT_ROLE_SUBSCRIBER][session->registered != FALSE]++;
  nat_sums_add (&all->all, session->counters);
  nat_sums_add (row != NULL ? &row->sums : &all->rest, session->counters);
}

/* ---- Who comes and goes ------------------------------------------------ */

static void
pass_by (GSequenceIter **cursor, NatSurveyPlace *place)
{
  if (*cursor == place->iter)
    *cursor = g_sequence_iter_next (place->iter);
}

void
nat_registry_survey_count_stream (NatRegistry *r, NatStream *stream)
{
  if (r->survey != NULL)
    count_stream (r->survey, stream, NULL);
}

void
nat_registry_survey_count (NatRegistry *r, NatRegistered *session)
{
  if (r->survey == NULL)
    return;
  count_stream (r->survey, session->stream, NULL);
  count_session (r->survey, session);
}

void
nat_registry_survey_stream (NatRegistry *r, NatStream *stream)
{
  stream->survey.number = r->surveys;
  stream->survey.iter =
      g_sequence_insert_sorted (r->streams_in_order, stream, nat_registry_compare_streams, NULL);
}

void
nat_registry_survey_no_more (NatRegistry *r, NatStream *stream)
{
  nat_registry_survey_count_stream (r, stream);
  if (r->survey != NULL)
    pass_by (&r->survey->stream, &stream->survey);
  g_sequence_remove (stream->survey.iter);
}

void
nat_registry_survey_session (NatRegistry *r, NatRegistered *session)
{
  session->survey.number = r->surveys;
  session->survey.iter =
      g_sequence_insert_sorted (r->sessions_in_order, session, nat_registry_compare_sessions, NULL);
}

void
nat_registry_survey_leave (NatRegistry *r, NatRegistered *session)
{
  nat_registry_survey_count (r, session);
  if (r->survey != NULL)
    pass_by (&r->survey->session, &session->survey);
  pass_by (&r->recheck_at, &session->survey);
  g_sequence_remove (session->survey.iter);
}

/* ---- Its turns --------------------------------------------------------- */

/* The first streams are told one by one; the cursor goes on from there. */
static void
begin (NatSurvey *s)
{
  NatRegistry *r = s->registry;

  r->surveys++;
  s->snapshot->trend_tick = r->trend_tick;
  s->snapshot->trend_us = r->measure_us;
  nat_sums_add (&s->snapshot->all, r->past);
  s->stream = g_sequence_get_begin_iter (r->streams_in_order);
  s->session = g_sequence_get_begin_iter (r->sessions_in_order);
  while (s->snapshot->streams->len < NAT_SNAPSHOT_STREAMS && !g_sequence_iter_is_end (s->stream)) {
    NatStream *stream = g_sequence_get (s->stream);
    NatStreamSnapshot *row = nat_registry_snapshot_stream (stream);

    g_ptr_array_add (s->snapshot->streams, row);
    count_stream (s, stream, row);
    s->stream = g_sequence_iter_next (s->stream);
  }
}

static void
finish (NatSurvey *s)
{
  if (s->registry != NULL)
    s->registry->survey = NULL;
  s->registry = NULL;
}

NatSurvey *
nat_registry_survey (NatRegistry *r)
{
  if (r->survey == NULL) {
    NatSurvey *s = r->survey = g_new0 (NatSurvey, 1);

    s->registry = r;
    s->snapshot = nat_snapshot_new ();
    begin (s);
  }
  r->survey->references++;
  return r->survey;
}

void
nat_survey_unref (NatSurvey *s)
{
  if (--s->references > 0)
    return;
  finish (s);
  nat_snapshot_free (s->snapshot);
  g_free (s);
}

static gpointer
next (GSequenceIter **cursor)
{
  gpointer data = g_sequence_iter_is_end (*cursor) ? NULL : g_sequence_get (*cursor);

  *cursor = g_sequence_iter_next (*cursor);
  return data;
}

gboolean
nat_survey_go_on (NatSurvey *s)
{
  for (guint n = 0; n < NAT_REGISTRY_SURVEYED_AT_ONCE && s->registry != NULL; n++) {
    NatStream *stream = next (&s->stream);
    NatRegistered *session = stream == NULL ? next (&s->session) : NULL;

    if (stream != NULL)
      count_stream (s, stream, NULL);
    else if (session != NULL)
      count_session (s, session);
    else
      finish (s);
  }
  return s->registry != NULL;
}

NatSnapshot *
nat_survey_snapshot (NatSurvey *s)
{
  g_return_val_if_fail (s->registry == NULL, NULL);
  return s->snapshot;
}
