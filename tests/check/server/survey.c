/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* All sessions counted in turns, while others come and go; and lists of them. The data plane is played by the test. */

#include "registryworld.h"

#include <string.h>

#include "natserver/control/registry-private.h"

#define AT_ONCE NAT_REGISTRY_SURVEYED_AT_ONCE

/* The linker puts these in the place of the data plane's. */
gboolean __wrap_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes);
gboolean __wrap_nat_dataplane_end_session (
    NatDataplane *dp, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s);
gboolean __wrap_nat_dataplane_set_description (NatDataplane *dp, const char *stream,
    const NatTracks *tracks, guint32 version, const guint8 *publisher_id);
gboolean __wrap_nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event);
/* And this in the place of what a survey does with a session, twice, and with a stream. */
void __real_nat_sums_add (NatSums *sums, const NatSessionCounters *c);
void __wrap_nat_sums_add (NatSums *sums, const NatSessionCounters *c);

static const NatEvent *to_come; /* NULL: none */
static guint work;

gboolean
__wrap_nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes)
{
  return TRUE;
}

gboolean
__wrap_nat_dataplane_end_session (
    NatDataplane *dp, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s)
{
  return TRUE;
}

gboolean
__wrap_nat_dataplane_set_description (NatDataplane *dp, const char *stream, const NatTracks *tracks,
    guint32 version, const guint8 *publisher_id)
{
  return TRUE;
}

gboolean
__wrap_nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event)
{
  if (to_come == NULL)
    return FALSE;
  *event = *to_come;
  to_come = NULL;
  return TRUE;
}

void
__wrap_nat_sums_add (NatSums *sums, const NatSessionCounters *c)
{
  work++;
  __real_nat_sums_add (sums, c);
}

/* ---- A town ------------------------------------------------------------ */

#define STREAMS  1500
#define SESSIONS 4000

typedef struct {
  NatTicket ticket;
  NatSessionCounters *counters;
} Gone;

typedef struct {
  World *world;
  GRand *rand;
  GPtrArray *there; /* of NatRegistered */
  GArray *gone;     /* of Gone */
} Town;

static NatRegistered *
come (Town *t, const char *stream)
{
  NatCaller caller = {.open = TRUE, .token.expires_s = G_MAXINT64};
  NatRegistered *session = world_subscribe (t->world, stream, &caller, NULL);

  nat_counter_add (&session->counters->bytes_sent, g_rand_int_range (t->rand, 1, 1000));
  g_ptr_array_add (t->there, session);
  return session;
}

static void
come_anywhere (Town *t)
{
  g_autofree char *stream = g_strdup_printf ("s%04d", g_rand_int_range (t->rand, 0, STREAMS));

  come (t, stream);
}

static void
go (Town *t)
{
  gint i = g_rand_int_range (t->rand, 0, (gint)t->there->len);
  NatRegistered *session = g_ptr_array_steal_index_fast (t->there, (guint)i);
  Gone gone = {session->ticket, nat_session_counters_ref (session->counters)};

  g_array_append_val (t->gone, gone);
  nat_registry_end (t->world->registry, t->world->now, session, NAT_REASON_ENDED, FALSE);
}

static void
hear (Town *t, const NatTicket *ticket, NatSessionCounters *counters)
{
  NatEvent event = {.type = NAT_EVENT_REVIVED, .ticket = *ticket, .counters = counters};

  to_come = &event;
  nat_registry_poll (t->world->registry, t->world->now);
  g_assert_null (to_come);
}

/* By his ticket, with the counters that he had: the data plane knew him all the time. */
static void
come_back (Town *t)
{
  Gone gone;

  if (t->gone->len == 0)
    return;
  gone = g_array_index (t->gone, Gone, t->gone->len - 1);
  g_array_set_size (t->gone, t->gone->len - 1);
  hear (t, &gone.ticket, gone.counters);
  g_ptr_array_add (t->there, nat_registry_find (t->world->registry, gone.ticket.session_id));
}

/* The data plane had forgotten him, we had not. */
static void
begin_anew (Town *t)
{
  NatRegistered *session =
      g_ptr_array_index (t->there, g_rand_int_range (t->rand, 0, (gint)t->there->len));
  NatSessionCounters *counters = nat_session_counters_new ();

  nat_counter_add (&counters->bytes_sent, 7);
  hear (t, &session->ticket, counters);
}

static void
something_happens (Town *t)
{
  switch (g_rand_int_range (t->rand, 0, 5)) {
  case 0: come_anywhere (t); break;
  case 1: come_back (t); break;
  case 2: begin_anew (t); break;
  default: go (t); break;
  }
}

static Town *
town_new (guint32 seed, guint sessions)
{
  Town *t = g_new0 (Town, 1);

  t->world = world_new (NULL);
  t->rand = g_rand_new_with_seed (seed);
  t->there = g_ptr_array_new ();
  t->gone = g_array_new (FALSE, FALSE, sizeof (Gone));
  world_start_registry (t->world, NULL);
  for (guint i = 0; i < sessions; i++)
    come_anywhere (t);
  return t;
}

static void
town_free (Town *t)
{
  for (guint i = 0; i < t->gone->len; i++)
    nat_session_counters_unref (g_array_index (t->gone, Gone, i).counters);
  world_free (t->world);
  g_rand_free (t->rand);
  g_ptr_array_unref (t->there);
  g_array_unref (t->gone);
  g_free (t);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Town, town_free)

/* ---- What a survey shall say ------------------------------------------- */

typedef struct {
  guint streams, sessions;
  guint64 all, of_streams; /* bytes that were sent */
} Truth;

static Truth
truth (const Town *t)
{
  NatRegistry *r = t->world->registry;
  Truth truth = {g_hash_table_size (r->streams), g_hash_table_size (r->sessions),
      nat_counter_get (&r->past->bytes_sent), 0};
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, r->streams);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    truth.of_streams += nat_counter_get (&((NatStream *)value)->past->bytes_sent);
  g_hash_table_iter_init (&iter, r->sessions);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    guint64 sent = nat_counter_get (&((NatRegistered *)value)->counters->bytes_sent);

    truth.all += sent;
    truth.of_streams += sent;
  }
  return truth;
}

static void
check (NatSurvey *survey, const Truth *truth)
{
  const NatSnapshot *s = nat_survey_snapshot (survey);
  guint64 of_streams = s->rest.bytes_sent;

  for (guint i = 0; i < s->streams->len; i++)
    of_streams += ((NatStreamSnapshot *)g_ptr_array_index (s->streams, i))->sums.bytes_sent;
  g_assert_cmpuint (nat_snapshot_all_streams (s), ==, truth->streams);
  g_assert_cmpuint (nat_snapshot_all_sessions (s), ==, truth->sessions);
  g_assert_cmpuint (s->all.bytes_sent, ==, truth->all);
  g_assert_cmpuint (of_streams, ==, truth->of_streams);
  g_assert_cmpuint (s->streams->len, ==, MIN (truth->streams, NAT_SNAPSHOT_STREAMS));
}

/* ---- Surveys ----------------------------------------------------------- */

static void
test_turns_are_bounded (void)
{
  g_autoptr (Town) t = town_new (1, 0);
  g_autoptr (NatSurvey) survey = NULL;
  guint turns = 1;
  Truth now;

  for (guint i = 0; i < 3 * AT_ONCE; i++)
    come (t, i % 2 ? "one" : "other");
  now = truth (t);
  work = 0;
  survey = nat_registry_survey (t->world->registry);
  g_assert_cmpuint (work, <=, NAT_SNAPSHOT_STREAMS + 1);
  for (work = 0; nat_survey_go_on (survey); work = 0, turns++)
    g_assert_cmpuint (work, <=, 2 * AT_ONCE);
  g_assert_cmpuint (work, <=, 2 * AT_ONCE);
  g_assert_cmpuint (turns, ==, 4);
  check (survey, &now);
}

static void
test_who_comes_and_goes (void)
{
  for (guint32 seed = 1; seed <= 10; seed++) {
    g_autoptr (Town) t = town_new (seed, SESSIONS);

    for (guint i = 0; i < 3; i++) {
      Truth before = truth (t);
      g_autoptr (NatSurvey) survey = nat_registry_survey (t->world->registry);

      do {
        for (guint k = 0; k < 200; k++)
          something_happens (t);
        work = 0;
      } while (nat_survey_go_on (survey));
      check (survey, &before);
    }
  }
}

/* Nobody is left to be counted, the cursor was at one of them, and so it is with their streams. */
static void
test_all_go (void)
{
  for (guint turns = 0; turns < 3; turns++) {
    g_autoptr (Town) t = town_new (turns, SESSIONS);
    Truth before = truth (t);
    g_autoptr (NatSurvey) survey = nat_registry_survey (t->world->registry);

    for (guint i = 0; i < turns; i++)
      g_assert_true (nat_survey_go_on (survey));
    while (t->there->len > 0)
      go (t);
    g_assert_cmpuint (g_hash_table_size (t->world->registry->streams), ==, 0);
    come (t, "late");
    while (nat_survey_go_on (survey))
      continue;
    check (survey, &before);
  }
}

static void
test_two_share_one (void)
{
  g_autoptr (Town) t = town_new (1, SESSIONS);
  Truth before = truth (t);
  NatSurvey *one = nat_registry_survey (t->world->registry);
  g_autoptr (NatSurvey) two = NULL;

  g_assert_true (nat_survey_go_on (one));
  two = nat_registry_survey (t->world->registry);
  g_assert_true (one == two);
  nat_survey_unref (one);
  while (nat_survey_go_on (two))
    continue;
  check (two, &before);
}

static void
test_given_up_in_the_middle (void)
{
  g_autoptr (Town) t = town_new (1, SESSIONS);
  NatSurvey *given_up = nat_registry_survey (t->world->registry);
  g_autoptr (NatSurvey) survey = NULL;
  Truth before;

  g_assert_true (nat_survey_go_on (given_up));
  nat_survey_unref (given_up);
  g_assert_null (t->world->registry->survey);
  for (guint k = 0; k < 200; k++)
    something_happens (t);
  before = truth (t);
  survey = world_survey (t->world);
  check (survey, &before);
}

/* ---- Lists ------------------------------------------------------------- */

static NatSessionList *
list (const Town *t, const char *stream, guint from, guint most)
{
  return nat_registry_list (t->world->registry, t->world->now, stream, from, most);
}

static void
publish (Town *t, const char *stream)
{
  NatCaller caller = {.open = TRUE, .token.expires_s = G_MAXINT64};
  NatRegistered *session;

  g_assert_cmpint (world_publish (t->world, stream, &caller, WORLD_SDP ("1"), FALSE, &session), ==,
      NAT_PROBLEM_NONE);
}

static void
test_pages_of_a_list (void)
{
  g_autoptr (Town) t = town_new (1, 100);
  g_autoptr (GHashTable) ids = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autofree char *last = g_strdup ("");

  for (guint from = 0; from < 100; from += 30) {
    g_autoptr (NatSessionList) page = list (t, NULL, from, 30);

    g_assert_cmpuint (page->total, ==, 100);
    g_assert_cmpuint (page->sessions->len, ==, MIN (30, 100 - from));
    for (guint i = 0; i < page->sessions->len; i++) {
      NatSessionSnapshot *s = g_ptr_array_index (page->sessions, i);

      g_assert_true (g_hash_table_add (ids, g_strdup (s->id)));
      g_assert_cmpstr (s->stream, >=, last);
      g_free (last);
      last = g_strdup (s->stream);
    }
  }
}

static void
test_list_of_a_stream (void)
{
  g_autoptr (Town) t = town_new (1, 100);
  g_autoptr (NatSessionList) all = NULL, rest = NULL, none = NULL, beyond = NULL;
  NatSessionSnapshot *first;

  come (t, "s0700/a");
  for (guint i = 0; i < 5; i++)
    come (t, "room");
  publish (t, "room");
  all = list (t, "room", 0, 1000);
  first = g_ptr_array_index (all->sessions, 0);
  g_assert_cmpint (first->role, ==, NAT_ROLE_PUBLISHER);
  g_assert_cmpuint (all->total, ==, 6);
  g_assert_cmpuint (all->sessions->len, ==, 6);
  for (guint i = 0; i < 6; i++)
    g_assert_cmpstr (
        ((NatSessionSnapshot *)g_ptr_array_index (all->sessions, i))->stream, ==, "room");
  rest = list (t, "room", 4, 1000);
  g_assert_cmpuint (rest->total, ==, 6);
  g_assert_cmpuint (rest->sessions->len, ==, 2);
  none = list (t, "nobody", 0, 1000);
  g_assert_cmpuint (none->total, ==, 0);
  g_assert_cmpuint (none->sessions->len, ==, 0);
  beyond = list (t, "room", G_MAXUINT, 1000);
  g_assert_cmpuint (beyond->sessions->len, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define T(name) g_test_add_func ("/survey/" #name, test_##name)
  T (turns_are_bounded);
  T (who_comes_and_goes);
  T (all_go);
  T (two_share_one);
  T (given_up_in_the_middle);
  T (pages_of_a_list);
  T (list_of_a_stream);
  return g_test_run ();
}
