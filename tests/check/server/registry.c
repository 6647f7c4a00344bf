/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Streams, publishers and sessions over time: a registry on a data plane that runs, probes as its clients,
 * and a clock that the test moves. */

#include "registryworld.h"

#include <poll.h>
#include <string.h>

#include "natserver/control/registry-private.h"

static World *
world_up (const NatDataTimes *times, const NatAdmissionLimits *limits)
{
  World *w = world_new (limits);

  world_start (w, times);
  return w;
}

/* Real time, until what the data plane says has made it so. */
#define UNTIL(w, condition)                                                                        \
  for (guint tries = 0; nat_registry_poll ((w)->registry, (w)->now), !(condition); tries++) {      \
    g_assert_cmpuint (tries, <, 5000);                                                             \
    g_usleep (1000);                                                                               \
  }

static NatCaller
caller (const char *subject)
{
  NatCaller c = {.open = FALSE};

  c.token.expires_s = G_MAXINT64;
  c.token.subject = (char *)subject; /* borrowed */
  g_strlcpy (c.subject, subject, sizeof c.subject);
  return c;
}

static NatProblemKind
ask_publish (
    World *w, const NatCaller *c, const char *sdp, gboolean takeover, NatRegistered **session)
{
  return world_publish (w, "cam", c, sdp, takeover, session);
}

static NatProblemKind
ask_publish_as (
    World *w, const char *stream, const char *subject, const char *sdp, NatRegistered **session)
{
  NatCaller c = caller (subject);

  return world_publish (w, stream, &c, sdp, FALSE, session);
}

static NatRegistered *
publish_as (World *w, const char *stream, const char *subject, const char *sdp)
{
  NatRegistered *session;

  g_assert_cmpint (ask_publish_as (w, stream, subject, sdp, &session), ==, NAT_PROBLEM_NONE);
  return session;
}

static NatRegistered *
publish (World *w, const char *subject)
{
  return publish_as (w, "cam", subject, WORLD_SDP ("1"));
}

static NatRegistered *
subscribe_as (World *w, const char *stream, const char *subject, const char *exclude)
{
  NatCaller c = caller (subject);

  return world_subscribe (w, stream, &c, exclude);
}

static NatRegistered *
subscribe (World *w)
{
  return subscribe_as (w, "cam", "viewer", NULL);
}

static gboolean
is_registered (World *w, const guint8 *id)
{
  g_autoptr (NatSessionList) list = nat_registry_list (w->registry, w->now, NULL, 0, G_MAXUINT);
  gboolean found = FALSE;
  char text[NAT_SESSION_ID_TEXT + 1];

  nat_session_id_to_text (id, text);
  for (guint i = 0; i < list->sessions->len; i++) {
    NatSessionSnapshot *s = g_ptr_array_index (list->sessions, i);

    found |= s->registered && strcmp (s->id, text) == 0;
  }
  return found;
}

/* A client that has answered the challenge, as the registry knows. */
static NatProbe *
join (World *w, NatRegistered *session)
{
  NatProbe *p = world_probe (w, nat_registered_ticket (session));

  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  UNTIL (w, is_registered (w, nat_registered_ticket (session)->session_id));
  return p;
}

static void
check (
    World *w, NatRegistered *session, NatPublisherState state, guint32 version, gboolean described)
{
  NatSessionDocument d;

  g_assert_true (nat_registry_document (w->registry, w->now, session, &d));
  g_assert_cmpint (d.publisher, ==, state);
  g_assert_cmpuint (d.version, ==, version);
  g_assert_cmpint (d.description.sdp != NULL, ==, described);
  nat_session_document_clear (&d);
}

static guint
count (World *w, gboolean streams)
{
  g_autoptr (NatSurvey) survey = world_survey (w);
  const NatSnapshot *s = nat_survey_snapshot (survey);

  return streams ? nat_snapshot_all_streams (s) : nat_snapshot_all_sessions (s);
}

/* ---- Tests ------------------------------------------------------------- */

static void
test_states (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *viewer = subscribe (w);
  g_autoptr (NatProbe) p = join (w, viewer);
  NatRegistered *camera;

  check (w, viewer, NAT_PUBLISHER_NONE, 1, FALSE);
  camera = publish (w, "camera");
  check (w, viewer, NAT_PUBLISHER_LIVE, 2, TRUE);
  nat_registry_end (w->registry, w->now, camera, NAT_REASON_ENDED, FALSE);
  check (w, viewer, NAT_PUBLISHER_GRACE, 3, TRUE);
  world_pass (w, 9);
  check (w, viewer, NAT_PUBLISHER_GRACE, 3, TRUE);
  world_pass (w, 2);
  check (w, viewer, NAT_PUBLISHER_NONE, 4, FALSE);
  camera = publish (w, "camera");
  check (w, viewer, NAT_PUBLISHER_LIVE, 5, TRUE);
  nat_registry_end (w->registry, w->now, camera, NAT_REASON_ENDED, TRUE);
  check (w, viewer, NAT_PUBLISHER_GRACE, 6, TRUE);
  world_pass (w, 11);
  check (w, viewer, NAT_PUBLISHER_ENDED, 7, FALSE);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (p->version, ==, 7);
}

static void
test_return_within_grace_is_one_change (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *viewer = subscribe (w);
  G_GNUC_UNUSED g_autoptr (NatProbe) p = join (w, viewer);
  NatRegistered *camera = publish (w, "camera");

  nat_registry_end (w->registry, w->now, camera, NAT_REASON_ENDED, TRUE);
  publish (w, "another");
  check (w, viewer, NAT_PUBLISHER_LIVE, 4, TRUE);
  world_pass (w, 20); /* the old grace ends nothing */
  check (w, viewer, NAT_PUBLISHER_LIVE, 4, TRUE);
}

static void
test_takeover (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *session, *first = publish (w, "one");
  guint8 first_id[NAT_SESSION_ID_SIZE];
  NatCaller two = caller ("two");
  NatCaller nobody = caller ("");
  NatCaller open = {.open = TRUE};

  memcpy (first_id, nat_registered_ticket (first)->session_id, sizeof first_id);
  g_assert_cmpint (
      ask_publish (w, &two, WORLD_SDP ("2"), FALSE, &session), ==, NAT_PROBLEM_STREAM_BUSY);
  g_assert_cmpint (
      ask_publish (w, &two, WORLD_SDP ("2"), TRUE, &session), ==, NAT_PROBLEM_STREAM_BUSY);
  g_assert_nonnull (nat_registry_find (w->registry, first_id));
  g_assert_cmpuint (count (w, FALSE), ==, 1);
  w->now.us += NAT_TAKEOVER_SILENCE_US - 1;
  g_assert_cmpint (
      ask_publish (w, &two, WORLD_SDP ("2"), FALSE, &session), ==, NAT_PROBLEM_STREAM_BUSY);
  w->now.us += 1;
  g_assert_cmpint (ask_publish (w, &two, WORLD_SDP ("2"), FALSE, &session), ==, NAT_PROBLEM_NONE);
  g_assert_null (nat_registry_find (w->registry, first_id));
  g_assert_cmpuint (nat_registered_version (session), ==, 2);
  /* by permission */
  nobody.token.takeover = TRUE;
  g_assert_cmpint (
      ask_publish (w, &nobody, WORLD_SDP ("3"), FALSE, &session), ==, NAT_PROBLEM_STREAM_BUSY);
  g_assert_cmpint (ask_publish (w, &nobody, WORLD_SDP ("3"), TRUE, &session), ==, NAT_PROBLEM_NONE);
  /* two without a name are not the same */
  g_assert_cmpint (
      ask_publish (w, &nobody, WORLD_SDP ("3"), FALSE, &session), ==, NAT_PROBLEM_STREAM_BUSY);
  g_assert_cmpint (
      ask_publish (w, &open, WORLD_SDP ("4"), FALSE, &session), ==, NAT_PROBLEM_STREAM_BUSY);
  g_assert_cmpint (ask_publish (w, &open, WORLD_SDP ("4"), TRUE, &session), ==, NAT_PROBLEM_NONE);
  g_assert_cmpuint (count (w, FALSE), ==, 1);
}

static void
test_superseded_is_told (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  g_autoptr (NatProbe) p = join (w, publish (w, "camera"));

  publish (w, "camera");
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
  g_assert_true (p->authentic);
  g_assert_cmpint (p->reason, ==, NAT_REASON_SUPERSEDED);
}

static void
test_keys_are_for_subscribers (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *camera = publish (w, "camera");
  NatRegistered *viewer = subscribe (w);
  NatSessionDocument d;

  g_assert_true (nat_registry_document (w->registry, w->now, viewer, &d));
  g_assert_cmpuint (d.description.n_media_keys, ==, 1);
  g_assert_cmpuint (d.description.media_keys[0].key[5], ==, 'c');
  nat_session_document_clear (&d);
  g_assert_true (nat_registry_document (w->registry, w->now, camera, &d));
  g_assert_cmpuint (d.description.n_media_keys, ==, 0);
  g_assert_cmpuint (d.description.media_keys[0].key[5], ==, 0);
  nat_session_document_clear (&d);
}

static void
test_versions_never_repeat (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  guint32 last = 0;

  for (guint i = 0; i < 5; i++) {
    NatRegistered *camera = publish (w, "camera");

    g_assert_cmpuint (nat_registered_version (camera), >, last);
    nat_registry_end (w->registry, w->now, camera, NAT_REASON_ENDED, FALSE);
    g_assert_cmpuint (count (w, TRUE), ==, 1);
    world_pass (w, 11);
    g_assert_cmpuint (count (w, TRUE), ==, 0); /* forgotten, but for its number */
    last += 3;
  }
}

static void
test_who_never_registers_is_dropped (void)
{
  NatAdmissionLimits limits = {.sessions = 3};
  g_autoptr (World) w = world_up (NULL, &limits);
  NatRegistered *viewer = subscribe (w);
  NatRegistered *lazy = subscribe (w);
  G_GNUC_UNUSED g_autoptr (NatProbe) p = join (w, viewer);
  g_autoptr (NatProbe) late = world_probe (w, nat_registered_ticket (lazy));

  publish (w, "camera");
  world_pass (w, 29);
  g_assert_cmpuint (count (w, FALSE), ==, 3);
  world_pass (w, 2);
  g_assert_cmpuint (count (w, FALSE), ==, 1);
  check (w, viewer, NAT_PUBLISHER_GRACE, 3, TRUE);
  subscribe (w); /* there is room again */
  subscribe (w);
  /* and whoever comes after all is sent to negotiate anew */
  UNTIL (w, nat_probe_bind (late, NAT_PROBE_SELECT) == 403);
  g_assert_cmpint (late->reason, ==, NAT_REASON_EXPIRED);
}

static void
test_tokens_end (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatCaller c = caller ("camera");
  NatRegistered *session;
  NatSessionDocument d;
  g_autoptr (NatProbe) p = NULL;

  c.token.expires_s = w->now.s + 100;
  g_assert_cmpint (ask_publish (w, &c, WORLD_SDP ("1"), FALSE, &session), ==, NAT_PROBLEM_NONE);
  p = join (w, session);
  g_assert_true (nat_registry_document (w->registry, w->now, session, &d));
  g_assert_cmpint (d.expires_s, ==, 100 + NAT_TOKEN_LEEWAY_S);
  nat_session_document_clear (&d);
  /* a fresh one in time */
  c.token.expires_s = w->now.s + 5000;
  g_assert_true (nat_registry_renew (w->registry, w->now, session, &c));
  world_pass (w, 131);
  g_assert_cmpuint (count (w, FALSE), ==, 1);
  c.token.expires_s = w->now.s + 50;
  g_assert_true (nat_registry_renew (w->registry, w->now, session, &c));
  world_pass (w, 50 + NAT_TOKEN_LEEWAY_S - 1);
  g_assert_cmpuint (count (w, FALSE), ==, 1);
  world_pass (w, 1);
  g_assert_cmpuint (count (w, FALSE), ==, 0);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
  g_assert_cmpint (p->reason, ==, NAT_REASON_EXPIRED);
}

static void
test_usernames_are_renewed_at_half_life (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *viewer = subscribe (w);
  G_GNUC_UNUSED g_autoptr (NatProbe) p = join (w, viewer);
  NatSessionDocument d;

  world_pass (w, NAT_TICKET_LIFETIME_S / 2 - 1);
  g_assert_true (nat_registry_document (w->registry, w->now, viewer, &d));
  g_assert_cmpint (d.expires_s, ==, NAT_TICKET_LIFETIME_S / 2 + 1);
  nat_session_document_clear (&d);
  world_pass (w, 2);
  g_assert_true (nat_registry_document (w->registry, w->now, viewer, &d));
  g_assert_cmpint (d.expires_s, ==, NAT_TICKET_LIFETIME_S);
  nat_session_document_clear (&d);
}

static void
test_gone_and_back (void)
{
  g_autoptr (World) w = world_up (&world_fast, NULL);
  NatRegistered *camera = publish (w, "camera");
  g_autoptr (NatProbe) p = join (w, camera);
  guint8 id[NAT_SESSION_ID_SIZE];

  memcpy (id, nat_registered_ticket (camera)->session_id, sizeof id);
  UNTIL (w, count (w, FALSE) == 0);
  g_assert_cmpuint (count (w, TRUE), ==, 1); /* in grace */
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  UNTIL (w, is_registered (w, id));
  camera = nat_registry_find (w->registry, id);
  check (w, camera, NAT_PUBLISHER_LIVE, 3, TRUE);
  /* now longer than its place is kept */
  UNTIL (w, count (w, FALSE) == 0);
  world_pass (w, 11);
  g_assert_cmpuint (count (w, TRUE), ==, 0);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  UNTIL (w, nat_registry_find (w->registry, id) != NULL);
  camera = nat_registry_find (w->registry, id);
  g_assert_cmpuint (nat_registered_version (camera), >, 3);
}

/* Its ticket brings it back in the moment in which it is ended. */
static void
test_ended_while_it_comes_back (void)
{
  g_autoptr (World) w = world_up (&world_fast, NULL);
  NatRegistered *viewer = subscribe (w);
  g_autoptr (NatProbe) p = join (w, viewer);
  struct pollfd gone = {nat_dataplane_event_fd (w->dp), POLLIN, 0};

  nat_registry_poll (w->registry, w->now);
  g_assert_cmpint (poll (&gone, 1, 5000), ==, 1);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  nat_registry_end (w->registry, w->now, viewer, NAT_REASON_ENDED, FALSE);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
  nat_registry_poll (w->registry, w->now);
  g_assert_cmpuint (count (w, FALSE), ==, 0);
}

static void
test_who_lost_the_place_does_not_get_it_back (void)
{
  g_autoptr (World) w = world_up (&world_fast, NULL);
  NatRegistered *camera = publish (w, "one");
  g_autoptr (NatProbe) p = join (w, camera);

  UNTIL (w, count (w, FALSE) == 0);
  publish (w, "two");
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0); /* the data plane cannot know */
  for (guint i = 0; i < 1000 && nat_probe_bind (p, NAT_PROBE_SELECT) == 0; i++)
    nat_registry_poll (w->registry, w->now);
  g_assert_cmpint (p->reason, ==, NAT_REASON_SUPERSEDED);
  g_assert_cmpuint (count (w, FALSE), ==, 1);
}

static void
restart (World *w)
{
  world_stop (w);
  world_start (w, NULL);
}

static void
test_restart (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatTicket camera = *nat_registered_ticket (publish (w, "camera"));
  NatTicket viewer = *nat_registered_ticket (subscribe (w));
  NatRegistered *ended = subscribe (w);
  NatTicket gone = *nat_registered_ticket (ended);
  g_autoptr (NatProbe) p = NULL;
  NatDescription d = {.sdp = g_strdup (WORLD_SDP ("9"))};
  NatRegistered *session;
  NatTracks tracks;

  nat_registry_end (w->registry, w->now, ended, NAT_REASON_ENDED, FALSE);
  restart (w);
  p = world_probe (w, &gone);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 403);
  g_assert_cmpint (p->reason, ==, NAT_REASON_ENDED);

  nat_probe_set_ticket (p, w->secrets, &viewer);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (p->version, ==, 0);
  UNTIL (w, is_registered (w, viewer.session_id));
  session = nat_registry_find (w->registry, viewer.session_id);
  check (w, session, NAT_PUBLISHER_GRACE, 1, FALSE); /* its publisher may be a moment behind */

  nat_probe_rebind (p, "127.0.0.1");
  nat_probe_set_ticket (p, w->secrets, &camera);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  UNTIL (w, is_registered (w, camera.session_id));
  check (w, session, NAT_PUBLISHER_LIVE, 1, FALSE);
  g_assert_true (nat_tracks_from_sdp (&tracks, d.sdp, NULL));
  nat_registry_describe (
      w->registry, w->now, nat_registry_find (w->registry, camera.session_id), &d, &tracks);
  g_assert_null (d.sdp);
  check (w, session, NAT_PUBLISHER_LIVE, 2, TRUE);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (p->version, ==, 2);
}

static void
test_restart_without_the_publisher (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatTicket viewer = *nat_registered_ticket (subscribe (w));
  g_autoptr (NatProbe) p = NULL;

  restart (w);
  p = world_probe (w, &viewer);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (p->version, ==, 0);
  UNTIL (w, is_registered (w, viewer.session_id));
  world_pass (w, 11);
  check (w, nat_registry_find (w->registry, viewer.session_id), NAT_PUBLISHER_NONE, 2, FALSE);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (p->version, ==, 2);
}

static void
test_counters_outlive_sessions (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *camera = publish (w, "camera");
  G_GNUC_UNUSED g_autoptr (NatProbe) p = join (w, camera);
  g_autoptr (NatSurvey) survey = NULL;
  const NatStreamSnapshot *stream;

  nat_registry_end (w->registry, w->now, camera, NAT_REASON_ENDED, FALSE);
  survey = world_survey (w);
  stream = g_ptr_array_index (nat_survey_snapshot (survey)->streams, 0);
  g_assert_cmpuint (stream->sums.bindings, ==, 1);
  g_assert_cmpuint (nat_survey_snapshot (survey)->all.bindings, ==, 1);
}

static void
test_counters_of_who_comes_back_count_once (void)
{
  g_autoptr (World) w = world_up (&world_fast, NULL);
  NatRegistered *camera = publish (w, "camera");
  g_autoptr (NatProbe) p = join (w, camera);
  g_autoptr (NatSurvey) survey = NULL;
  guint8 id[NAT_SESSION_ID_SIZE];

  memcpy (id, nat_registered_ticket (camera)->session_id, sizeof id);
  UNTIL (w, count (w, FALSE) == 0);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  UNTIL (w, is_registered (w, id));
  survey = world_survey (w);
  g_assert_cmpuint (nat_survey_snapshot (survey)->all.bindings, ==, 2);
}

/* ---- Rooms ------------------------------------------------------------- */

/* 600 graces that end at one time: the data plane is told of some, media has its turn, then of the rest. */
static void
test_graces_end_in_parts (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *session;

  for (guint i = 0; i < 600; i++) {
    g_autofree char *name = g_strdup_printf ("cam%u", i);
    g_autofree char *sdp = g_strdup_printf (WORLD_SDP ("%u"), i + 1);

    UNTIL (w, ask_publish_as (w, name, "c", sdp, &session) == NAT_PROBLEM_NONE); /* or busy */
    nat_registry_end (w->registry, w->now, session, NAT_REASON_ENDED, FALSE);
  }
  w->now.us += 11 * G_USEC_PER_SEC;
  g_assert_true (nat_registry_tick (w->registry, w->now));
  g_assert_cmpuint (count (w, TRUE), ==, 600 - 512);
  UNTIL (w, !nat_registry_tick (w->registry, w->now) && count (w, TRUE) == 0);
}

/* The linker puts this in the place of the data plane's: how many ends there is room for. */
gboolean __real_nat_dataplane_end_session (
    NatDataplane *dp, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s);
gboolean __wrap_nat_dataplane_end_session (
    NatDataplane *dp, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s);

static guint room = G_MAXUINT;
static gint64 ended_until_s; /* the last one */

gboolean
__wrap_nat_dataplane_end_session (
    NatDataplane *dp, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s)
{
  if (room == 0)
    return FALSE;
  room--;
  ended_until_s = until_s;
  return __real_nat_dataplane_end_session (dp, id, reason, until_s);
}

/* More ends than the data plane takes at once: the rest follows soon, and without a look at all sessions each time. */
static void
test_ends_wait_for_room (void)
{
  g_autoptr (World) w = world_new (NULL);
  NatCaller c = caller ("viewer");
  guint8 id[NAT_SESSION_ID_SIZE] = {0};

  world_start_registry (w, NULL);
  c.token.expires_s = w->now.s - NAT_TOKEN_LEEWAY_S;
  world_subscribe (w, "cam", &c, NULL);
  room = 1024;
  for (guint i = 0; i < 2999; i++) {
    memcpy (id, &i, sizeof i);
    nat_registry_say_ended (w->registry, w->now, id, NAT_REASON_REVOKED, 0);
  }
  g_assert_true (nat_registry_go_on (w->registry, w->now));
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 1);
  g_assert_true (nat_registry_tick (w->registry, w->now));
  g_assert_cmpuint (nat_registry_n_sessions (w->registry), ==, 0);
  room = 1024;
  g_assert_true (nat_registry_go_on (w->registry, w->now));
  g_assert_cmpuint (room, ==, 0);
  room = 1024;
  g_assert_false (nat_registry_go_on (w->registry, w->now));
  g_assert_cmpuint (3 * 1024 - room, ==, 3000);
  room = G_MAXUINT;
}

/* "ann=live bob=grace", without the room, in the document's order; what has no description in brackets. */
static void
check_room (World *w, NatRegistered *session, const char *streams)
{
  g_autoptr (GString) is = g_string_new (NULL);
  NatSessionDocument d;

  g_assert_true (nat_registry_document (w->registry, w->now, session, &d));
  g_assert_true (d.is_room);
  g_assert_null (d.description.sdp);
  for (guint i = 0; i < d.n_streams; i++) {
    const NatRoomStream *s = &d.streams[i];
    const char *state = s->publisher == NAT_PUBLISHER_LIVE ? "live" : "grace";

    g_string_append_printf (is, s->description.sdp ? "%s%s=%s" : "%s(%s=%s)", i > 0 ? " " : "",
        strrchr (s->name, '/') + 1, state);
    g_assert_cmpuint (s->description.n_media_keys, ==, s->description.sdp != NULL);
  }
  g_assert_cmpstr (is->str, ==, streams);
  nat_session_document_clear (&d);
}

static void
test_room (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *bob = publish_as (w, "room/bob", "bob", WORLD_SDP ("1"));
  NatRegistered *in = subscribe_as (w, "room/*", "ann", NULL);
  NatRegistered *other = subscribe_as (w, "other/*", "ann", NULL);
  g_autoptr (NatProbe) p = join (w, in);
  NatRegistered *ann, *cid;

  check_room (w, in, "bob=live");
  check_room (w, other, "");
  ann = publish_as (w, "room/ann", "ann", WORLD_SDP ("2"));
  check_room (w, in, "bob=live");
  cid = publish_as (w, "room/cid", "cid", WORLD_SDP ("3"));
  publish_as (w, "room/cid/screen", "cid", WORLD_SDP ("4"));
  check_room (w, in, "bob=live cid=live");
  check_room (w, subscribe_as (w, "room/*", "dot", "room/cid"), "bob=live ann=live");
  /* Who says goodbye is gone; who does not may come back. */
  nat_registry_end (w->registry, w->now, bob, NAT_REASON_ENDED, FALSE);
  check_room (w, in, "cid=live");
  nat_registry_end (w->registry, w->now, cid, NAT_REASON_EXPIRED, FALSE);
  check_room (w, in, "cid=grace");
  world_pass (w, 11);
  check_room (w, in, "");
  publish_as (w, "room/bob", "bob", WORLD_SDP ("1"));
  check_room (w, in, "bob=live");
  /* Each of these was a version, and its client hears of the last one. */
  g_assert_cmpuint (nat_registered_version (in), ==, 8);
  g_assert_cmpuint (nat_registered_version (other), ==, 1);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (p->version, ==, 8);
  g_assert_nonnull (ann);
}

static void
test_ssrc_in_use (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatRegistered *ann = publish_as (w, "room/ann", "ann", WORLD_SDP ("1")), *session;
  NatRegistered *bob = publish_as (w, "door", "bob", WORLD_SDP ("2"));
  NatDescription d = {.sdp = g_strdup (WORLD_SDP ("1"))};
  NatTracks tracks;

  g_assert_cmpint (ask_publish_as (w, "room/cid", "cid", WORLD_SDP ("1"), &session), ==,
      NAT_PROBLEM_SSRC_IN_USE);
  g_assert_true (nat_tracks_from_sdp (&tracks, d.sdp, NULL));
  g_assert_cmpint (
      nat_registry_describe (w->registry, w->now, bob, &d, &tracks), ==, NAT_PROBLEM_SSRC_IN_USE);
  /* Its own stream's, which it comes back to. */
  ann = publish_as (w, "room/ann", "ann", WORLD_SDP ("1"));
  nat_registry_end (w->registry, w->now, ann, NAT_REASON_ENDED, FALSE);
  g_assert_cmpint (
      nat_registry_describe (w->registry, w->now, bob, &d, &tracks), ==, NAT_PROBLEM_SSRC_IN_USE);
  world_pass (w, 11);
  g_assert_cmpint (
      nat_registry_describe (w->registry, w->now, bob, &d, &tracks), ==, NAT_PROBLEM_NONE);
  nat_description_clear (&d);
  publish_as (w, "room/cid", "cid", WORLD_SDP ("2"));
}

/* The relay was restarted: nobody is told that somebody left before all had time to come back. */
static void
test_room_after_restart (void)
{
  g_autoptr (World) w = world_up (NULL, NULL);
  NatTicket in = *nat_registered_ticket (subscribe_as (w, "room/*", "bob", NULL));
  NatTicket out = *nat_registered_ticket (publish_as (w, "room/ann", "ann", WORLD_SDP ("1")));
  g_autoptr (NatProbe) in_p = NULL;
  g_autoptr (NatProbe) out_p = NULL;

  restart (w);
  in_p = world_probe (w, &in);
  out_p = world_probe (w, &out);
  g_assert_cmpint (nat_probe_bind (in_p, NAT_PROBE_SELECT), ==, 0);
  UNTIL (w, nat_registry_find (w->registry, in.session_id) != NULL);
  g_assert_cmpint (nat_probe_bind (in_p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (in_p->version, ==, 0);
  g_assert_cmpint (nat_probe_bind (out_p, NAT_PROBE_SELECT), ==, 0);
  UNTIL (w, nat_registry_find (w->registry, out.session_id) != NULL);
  check_room (w, nat_registry_find (w->registry, in.session_id), "(ann=live)");
  world_pass (w, 6);
  g_assert_cmpint (nat_probe_bind (in_p, NAT_PROBE_SELECT), ==, 0);
  g_assert_cmpuint (in_p->version, >, 0);
  check_room (w, nat_registry_find (w->registry, in.session_id), "(ann=live)");
}

/* A user name is good until the time that stands in it, whatever the relay's clock says meanwhile: so long the end is
 * known. */
static void
test_ended_with_a_clock_that_was_set_back (void)
{
  g_autoptr (World) w = world_new (NULL);
  NatCaller c = caller ("viewer");
  NatRegistered *session;
  gint64 until_s;

  world_start_registry (w, NULL);
  c.token.expires_s = w->now.s + 1000000;
  session = subscribe (w);
  until_s = nat_registered_ticket (session)->expires_s;
  w->now.s -= 24 * 3600;
  g_assert_true (nat_registry_renew (w->registry, w->now, session, &c));
  g_assert_cmpint (nat_registered_ticket (session)->expires_s, <, until_s);
  nat_registry_end (w->registry, w->now, session, NAT_REASON_ENDED, FALSE);
  g_assert_cmpint (ended_until_s, ==, until_s);
}

/* ---- What the data plane says, in turns -------------------------------- */

gboolean __real_nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event);
gboolean __wrap_nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event);

static guint flood;          /* events that come first: nobody knows whose they are */
static const NatEvent *late; /* what comes behind them; NULL: nothing of ours */

gboolean
__wrap_nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event)
{
  if (flood > 0) {
    flood--;
    *event = (NatEvent){.type = NAT_EVENT_GONE};
    return TRUE;
  }
  if (late == NULL)
    return __real_nat_dataplane_poll_event (dp, event);
  *event = *late;
  late = NULL;
  return TRUE;
}

static void
test_events_in_turns (void)
{
  g_autoptr (World) w = world_new (NULL);

  world_start_registry (w, NULL);
  flood = 2 * NAT_REGISTRY_HEARD_AT_ONCE + 1;
  g_assert_true (nat_registry_poll (w->registry, w->now));
  g_assert_cmpuint (flood, ==, NAT_REGISTRY_HEARD_AT_ONCE + 1);
  nat_registry_tick (w->registry, w->now);
  g_assert_cmpuint (flood, ==, 1);
  g_assert_false (nat_registry_poll (w->registry, w->now));
}

/* Whoever asks for a session that just came back finds it, whatever lies before that event; who asks for none does not
 * hold up the others for ever. */
static void
test_who_just_came_back_is_found (void)
{
  g_autoptr (World) w = world_new (NULL);
  NatEvent event = {.type = NAT_EVENT_REVIVED};
  NatRegistered *session;
  guint8 unknown[NAT_SESSION_ID_SIZE] = {9};

  world_start_registry (w, NULL);
  session = subscribe (w);
  event.ticket = *nat_registered_ticket (session);
  event.ticket.session_id[0] ^= 1;
  event.counters = nat_session_counters_new ();
  flood = 10 * NAT_REGISTRY_HEARD_AT_ONCE;
  late = &event;
  g_assert_null (nat_registry_find (w->registry, event.ticket.session_id));
  g_assert_nonnull (nat_registry_find_waiting (w->registry, w->now, event.ticket.session_id));
  g_assert_null (late);
  flood = 1000 * NAT_REGISTRY_HEARD_AT_ONCE;
  g_assert_null (nat_registry_find_waiting (w->registry, w->now, unknown));
  g_assert_cmpuint (flood, >, 900 * NAT_REGISTRY_HEARD_AT_ONCE);
  flood = 0;
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define T(name) g_test_add_func ("/registry/" #name, test_##name)
  T (states);
  T (return_within_grace_is_one_change);
  T (graces_end_in_parts);
  T (ends_wait_for_room);
  T (takeover);
  T (superseded_is_told);
  T (keys_are_for_subscribers);
  T (versions_never_repeat);
  T (who_never_registers_is_dropped);
  T (tokens_end);
  T (usernames_are_renewed_at_half_life);
  T (gone_and_back);
  T (ended_while_it_comes_back);
  T (who_lost_the_place_does_not_get_it_back);
  T (restart);
  T (restart_without_the_publisher);
  T (counters_outlive_sessions);
  T (counters_of_who_comes_back_count_once);
  T (room);
  T (ssrc_in_use);
  T (room_after_restart);
  T (ended_with_a_clock_that_was_set_back);
  T (events_in_turns);
  T (who_just_came_back_is_found);
  return g_test_run ();
}
