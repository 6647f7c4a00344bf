/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What passes, as the registry measures it: counters that the test moves, as workers would, and a clock of its own. */

#include "registryworld.h"

#include <string.h>

#include "natserver/observe/trend.h"

#define BEGIN_S 1700000000
#define SDP                                                                                        \
  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=audio 9 RTP/AVPF 97\r\n"                     \
  "a=rtpmap:97 OPUS/48000\r\na=ssrc:1 cname:x\r\nm=video 9 RTP/AVPF 96\r\n"                        \
  "a=rtpmap:96 H264/90000\r\na=ssrc:2 cname:x\r\n"

/* One publisher and one viewer. The data plane is not started: nobody else writes counters. */
typedef struct {
  World *world;
  NatRegistered *publisher, *viewer;
  NatSessionCounters *in, *out;
} Measured;

static NatSessionCounters *
counters_of (World *w, NatRegistered *session)
{
  g_autoptr (NatSessionList) list = nat_registry_list (w->registry, w->now, NULL, 0, G_MAXUINT);
  NatSessionCounters *found = NULL;
  char text[NAT_SESSION_ID_TEXT + 1];

  nat_session_id_to_text (nat_registered_ticket (session)->session_id, text);
  for (guint i = 0; i < list->sessions->len; i++) {
    NatSessionSnapshot *s = g_ptr_array_index (list->sessions, i);

    if (strcmp (s->id, text) == 0)
      found = s->counters; /* the registry's, as long as the session lives */
  }
  g_assert_nonnull (found);
  return found;
}

static const NatStreamSnapshot *
first_stream (NatSurvey *survey)
{
  return g_ptr_array_index (nat_survey_snapshot (survey)->streams, 0);
}

static void
join (Measured *m)
{
  NatCaller caller = {.open = TRUE, .token.expires_s = G_MAXINT64};

  g_assert_cmpint (
      world_publish (m->world, "cam", &caller, SDP, FALSE, &m->publisher), ==, NAT_PROBLEM_NONE);
  m->viewer = world_subscribe (m->world, "cam", &caller, NULL);
  m->in = counters_of (m->world, m->publisher);
  m->out = counters_of (m->world, m->viewer);
}

static Measured *
measured_new (void)
{
  Measured *m = g_new0 (Measured, 1);

  m->world = world_new (NULL);
  m->world->now.us = 1000 * G_USEC_PER_SEC;
  m->world->now.s = BEGIN_S;
  world_start_registry (m->world, NULL);
  join (m);
  world_pass (m->world, 1);
  return m;
}

static void
measured_free (Measured *m)
{
  world_free (m->world);
  g_free (m);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Measured, measured_free)

static void
check (Measured *m, guint64 in_bps, guint64 out_bps, guint32 loss_in_ppm, guint32 loss_out_ppm)
{
  g_autoptr (NatSurvey) survey = world_survey (m->world);
  const NatStreamSnapshot *stream = first_stream (survey);
  NatFlow kept;

  g_assert_cmpuint (stream->flow.in_bps, ==, in_bps);
  g_assert_cmpuint (stream->flow.out_bps, ==, out_bps);
  g_assert_cmpuint (stream->flow.loss_in_ppm, ==, loss_in_ppm);
  g_assert_cmpuint (stream->flow.loss_out_ppm, ==, loss_out_ppm);
  g_assert_true (nat_trend_get (stream->trend, nat_survey_snapshot (survey)->trend_tick, &kept));
  g_assert_cmpuint (kept.in_bps, ==, in_bps);
  g_assert_cmpuint (kept.loss_out_ppm, ==, loss_out_ppm);
}

static void
test_bitrates_and_losses (void)
{
  g_autoptr (Measured) m = measured_new ();

  nat_counter_add (&m->in->bytes_received, 500000);
  nat_counter_add (&m->in->packets_received, 480);
  nat_counter_add (&m->in->packets_lost, 20);
  nat_counter_add (&m->out->bytes_sent, 1000000);
  nat_counter_add (&m->out->packets_sent, 510); /* 500 at first */
  nat_counter_add (&m->out->repairs_sent, 10);
  world_pass (m->world, 2);
  check (m, 2000000, 4000000, 40000, 20000);
  world_pass (m->world, 4); /* by the time that passed, whatever that was */
  check (m, 0, 0, 0, 0);
  nat_counter_add (&m->in->bytes_received, 500000);
  world_pass (m->world, 4);
  check (m, 1000000, 0, 0, 0);
}

static void
test_repaired_is_not_lost_again (void)
{
  g_autoptr (Measured) m = measured_new ();

  nat_counter_add (&m->in->packets_received, 980);
  nat_counter_add (&m->in->packets_lost, 20);
  world_pass (m->world, 2);
  check (m, 0, 0, 20000, 0);
  nat_counter_add (&m->in->packets_received, 20);
  nat_counter_add (&m->in->repairs_received, 20);
  atomic_store (&m->in->packets_lost, 0);
  world_pass (m->world, 2);
  check (m, 0, 0, 0, 0);
  /* Nor is it forgotten where all came again before anybody looked. */
  nat_counter_add (&m->in->packets_received, 1000);
  nat_counter_add (&m->in->repairs_received, 30);
  world_pass (m->world, 2);
  check (m, 0, 0, 30000, 0);
}

static void
test_who_does_not_ask_tells (void)
{
  g_autoptr (Measured) m = measured_new ();

  nat_counter_add (&m->out->bytes_sent, 1000);
  nat_counter_add (&m->out->packets_sent, 1);
  atomic_store (&m->out->fraction_lost, 64);
  world_pass (m->world, 2);
  check (m, 0, 4000, 0, 250000);
}

static void
test_who_left_counts_once (void)
{
  g_autoptr (Measured) m = measured_new ();

  nat_counter_add (&m->out->bytes_sent, 250000);
  nat_registry_end (m->world->registry, m->world->now, m->viewer, NAT_REASON_ENDED, FALSE);
  world_pass (m->world, 2);
  check (m, 0, 1000000, 0, 0);
  world_pass (m->world, 2);
  check (m, 0, 0, 0, 0);
}

static void
test_what_is_told_of_a_stream (void)
{
  g_autoptr (Measured) m = measured_new ();
  g_autoptr (NatSurvey) before = world_survey (m->world), after = NULL;
  const NatStreamSnapshot *stream = first_stream (before);

  g_assert_cmpstr (stream->media, ==, "audio, video");
  g_assert_cmpint (stream->since_s, ==, BEGIN_S);
  g_assert_false (stream->pattern);
  nat_registry_end (m->world->registry, m->world->now, m->publisher, NAT_REASON_ENDED, FALSE);
  after = world_survey (m->world);
  g_assert_cmpint (first_stream (after)->since_s, ==, 0);
}

/* ---- More than in one turn --------------------------------------------- */

/* The linker puts this in the place of the data plane's. */
gboolean __wrap_nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event);

static const NatEvent *to_come; /* NULL: none */

gboolean
__wrap_nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event)
{
  if (to_come == NULL)
    return FALSE;
  *event = *to_come;
  to_come = NULL;
  return TRUE;
}

/* Two sessions and the streams are measured in the second turn. last: of these. */
static Measured *
crowd_new (NatRegistered **last)
{
  Measured *m = measured_new ();
  NatCaller caller = {.open = TRUE, .token.expires_s = G_MAXINT64};

  for (guint i = 0; i < NAT_REGISTRY_MEASURED_AT_ONCE; i++)
    *last = world_subscribe (m->world, "cam", &caller, NULL);
  return m;
}

/* Up to the middle of a measure. */
static void
begin (Measured *m)
{
  World *w = m->world;
  guint64 before = nat_registry_trend_tick (w->registry);

  w->now.us += 2 * G_USEC_PER_SEC;
  w->now.s += 2;
  g_assert_true (nat_registry_tick (w->registry, w->now));
  g_assert_cmpuint (nat_registry_trend_tick (w->registry), ==, before);
}

static void
finish (Measured *m, guint64 out_bps)
{
  World *w = m->world;
  guint64 before = nat_registry_trend_tick (w->registry);

  while (nat_registry_go_on (w->registry, w->now))
    continue;
  g_assert_cmpuint (nat_registry_trend_tick (w->registry), ==, before + 1);
  check (m, 0, out_bps, 0, 0);
}

static void
test_who_leaves_in_the_middle (void)
{
  for (guint measured = 0; measured < 2; measured++) {
    NatRegistered *last;
    g_autoptr (Measured) m = crowd_new (&last);
    NatRegistered *leaves = measured ? m->viewer : last;

    nat_counter_add (&counters_of (m->world, leaves)->bytes_sent, 250000);
    begin (m);
    nat_registry_end (m->world->registry, m->world->now, leaves, NAT_REASON_ENDED, FALSE);
    finish (m, 1000000);
    begin (m);
    finish (m, 0);
  }
}

static void
come_back (Measured *m, gboolean known, NatSessionCounters *counters)
{
  NatEvent event = {.type = NAT_EVENT_REVIVED,
      .ticket = *nat_registered_ticket (m->viewer),
      .counters = nat_session_counters_ref (counters)};

  if (!known)
    memset (event.ticket.session_id, 1, sizeof event.ticket.session_id);
  to_come = &event;
  nat_registry_poll (m->world->registry, m->world->now);
  g_assert_null (to_come);
}

/* Whose bytes were counted before he came; what comes then is measured the next time. */
static void
test_who_comes_in_the_middle (void)
{
  NatRegistered *last;
  g_autoptr (Measured) m = crowd_new (&last);
  NatSessionCounters *counters = nat_session_counters_new ();

  nat_counter_add (&counters->bytes_sent, 1000000);
  begin (m);
  come_back (m, FALSE, counters);
  nat_counter_add (&counters->bytes_sent, 250000);
  finish (m, 0);
  begin (m);
  finish (m, 1000000);
  nat_session_counters_unref (counters);
}

/* The data plane forgot him, and then counts from the beginning. */
static void
test_who_comes_back_in_the_middle (void)
{
  NatRegistered *last;
  g_autoptr (Measured) m = crowd_new (&last);
  NatSessionCounters *counters = nat_session_counters_new ();

  nat_counter_add (&m->out->bytes_sent, 250000);
  begin (m);
  come_back (m, TRUE, counters);
  finish (m, 1000000);
  nat_counter_add (&counters->bytes_sent, 500000);
  begin (m);
  finish (m, 2000000);
  nat_session_counters_unref (counters);
}

/* A stream that nobody has any more by then, and one that nobody had. */
static void
test_streams_in_the_middle (void)
{
  NatRegistered *last, *alone;
  g_autoptr (Measured) m = crowd_new (&last);
  NatCaller caller = {.open = TRUE, .token.expires_s = G_MAXINT64};

  alone = world_subscribe (m->world, "other", &caller, NULL);
  begin (m);
  nat_registry_end (m->world->registry, m->world->now, alone, NAT_REASON_ENDED, FALSE);
  world_subscribe (m->world, "third", &caller, NULL);
  nat_counter_add (&m->out->bytes_sent, 250000);
  finish (m, 0);
  begin (m);
  finish (m, 1000000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define T(name) g_test_add_func ("/measure/" #name, test_##name)
  T (bitrates_and_losses);
  T (repaired_is_not_lost_again);
  T (who_does_not_ask_tells);
  T (who_left_counts_once);
  T (what_is_told_of_a_stream);
  T (who_leaves_in_the_middle);
  T (who_comes_in_the_middle);
  T (who_comes_back_in_the_middle);
  T (streams_in_the_middle);
  return g_test_run ();
}
