/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/sessionfsm.h"

#include <string.h>

/* One arrow as text, the same for drawing and table: "waiting -> failed: refused / forget, ..." */
static char *
arrow (NatSessionState from, NatSessionState to, NatFsmEvent event, guint actions)
{
  GString *s = g_string_new (NULL);
  const char *comma = "";

  g_string_printf (s, "%s -> %s: %s / ", nat_session_state_nick (from), nat_session_state_nick (to),
      nat_fsm_event_name (event));
  for (guint i = 0; i < NAT_FSM_N_ACTIONS; i++) {
    if ((actions & (1u << i)) == 0)
      continue;
    g_string_append_printf (s, "%s%s", comma, nat_fsm_action_name ((NatFsmAction)(1u << i)));
    comma = ", ";
  }
  return g_string_free (s, FALSE);
}

static GHashTable *
arrows_of_table (void)
{
  GHashTable *set = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint state = 0; state < NAT_FSM_N_STATES; state++) {
    for (guint event = 0; event < NAT_FSM_N_EVENTS; event++) {
      NatSessionState next;
      guint actions;

      if (nat_fsm_step ((NatSessionState)state, (NatFsmEvent)event, &next, &actions))
        g_hash_table_add (set, arrow ((NatSessionState)state, next, (NatFsmEvent)event, actions));
    }
  }
  return set;
}

static GHashTable *
arrows_of_drawing (void)
{
  GHashTable *set = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  char *path =
      g_build_filename (g_getenv ("MESON_SOURCE_ROOT"), "docs", "design", "sessionfsm.gv", NULL);
  GRegex *regex = g_regex_new ("^ *([a-z]+) -> ([a-z]+) \\[label=\"([a-z-]+) / ([a-z, -]*)\"\\];$",
      G_REGEX_MULTILINE, 0, NULL);
  char *text, **arrows;
  GMatchInfo *match;
  GError *error = NULL;

  g_assert_true (g_file_get_contents (path, &text, NULL, &error));
  for (g_regex_match (regex, text, 0, &match); g_match_info_matches (match);
       g_match_info_next (match, NULL)) {
    char *from = g_match_info_fetch (match, 1), *to = g_match_info_fetch (match, 2);
    char *event = g_match_info_fetch (match, 3), *actions = g_match_info_fetch (match, 4);

    g_hash_table_add (set, g_strdup_printf ("%s -> %s: %s / %s", from, to, event, actions));
    g_free (from);
    g_free (to);
    g_free (event);
    g_free (actions);
  }
  /* No arrow may hide from the pattern. */
  arrows = g_strsplit (text, "->", -1);
  g_assert_cmpuint (g_hash_table_size (set), ==, g_strv_length (arrows) - 1);
  g_strfreev (arrows);
  g_match_info_free (match);
  g_regex_unref (regex);
  g_free (text);
  g_free (path);
  return set;
}

static void
assert_within (GHashTable *a, GHashTable *b, const char *missing)
{
  GHashTableIter it;
  gpointer key;

  g_hash_table_iter_init (&it, a);
  while (g_hash_table_iter_next (&it, &key, NULL))
    if (!g_hash_table_contains (b, key))
      g_error ("%s lacks the arrow: %s", missing, (const char *)key);
}

static void
test_drawing (void)
{
  GHashTable *table = arrows_of_table (), *drawing = arrows_of_drawing ();

  g_assert_cmpuint (g_hash_table_size (table), >, 20);
  assert_within (table, drawing, "docs/design/sessionfsm.gv");
  assert_within (drawing, table, "ext/natclient/sessionfsm.c");
  g_hash_table_unref (table);
  g_hash_table_unref (drawing);
}

static void
test_stop_ends_all (void)
{
  for (guint state = NAT_SESSION_NEGOTIATING; state < NAT_FSM_N_STATES; state++) {
    NatSessionState next;
    guint actions;

    g_assert_true (nat_fsm_step ((NatSessionState)state, NAT_FSM_STOP, &next, &actions));
    g_assert_cmpint (next, ==, NAT_SESSION_DISCONNECTED);
    g_assert_cmpuint (
        actions, ==, NAT_DO_CANCEL_HTTPS | NAT_DO_CANCEL_RETRY | NAT_DO_FORGET | NAT_DO_GOODBYE);
  }
}

/* Final is final: from FAILED only a person leads away. */
static void
test_failed_is_final (void)
{
  for (guint event = 0; event < NAT_FSM_N_EVENTS; event++) {
    NatSessionState next;
    guint actions;
    gboolean by_person = event == NAT_FSM_STOP || event == NAT_FSM_TOKEN;

    g_assert_cmpint (
        nat_fsm_step (NAT_SESSION_FAILED, (NatFsmEvent)event, &next, &actions), ==, by_person);
    if (!by_person)
      g_assert_cmpint (next, ==, NAT_SESSION_FAILED);
  }
}

/* Every way into WAITING arms the timer that leads out of it. */
static void
test_waiting_ends (void)
{
  for (guint state = 0; state < NAT_FSM_N_STATES; state++) {
    for (guint event = 0; event < NAT_FSM_N_EVENTS; event++) {
      NatSessionState next;
      guint actions;

      if (!nat_fsm_step ((NatSessionState)state, (NatFsmEvent)event, &next, &actions) ||
          state == NAT_SESSION_WAITING)
        continue;
      g_assert_cmpint (next == NAT_SESSION_WAITING, ==, (actions & NAT_DO_ARM_RETRY) != 0);
    }
  }
}

/* ---- All ways through the table ---------------------------------------- */

/* What a session has under way, as the table's actions say. Whatever comes, comes of one of these, or of a person. */
typedef struct {
  NatSessionState state;
  gboolean https;  /* a request that will be answered, or fail */
  gboolean retry;  /* a timer */
  gboolean prober; /* Bindings, and the mapping that they keep */
  gboolean mapped; /* the relay accepted an answer on it */
} Life;

static gboolean
may_come (const Life *l, NatFsmEvent event)
{
  switch (event) {
  case NAT_FSM_START: return l->state == NAT_SESSION_DISCONNECTED;
  case NAT_FSM_STOP:
  case NAT_FSM_TOKEN: return TRUE;
  case NAT_FSM_DOCUMENT: return l->https;
  case NAT_FSM_FAILED:
  case NAT_FSM_REFUSED: return l->https || l->prober;
  case NAT_FSM_RETRY: return l->retry;
  default: return l->prober;
  }
}

static Life
after (const Life *l, NatFsmEvent event, NatSessionState next, guint actions)
{
  Life out = *l;

  out.state = next;
  if (event == NAT_FSM_DOCUMENT || (l->state == NAT_SESSION_NEGOTIATING &&
                                       (event == NAT_FSM_FAILED || event == NAT_FSM_REFUSED)))
    out.https = FALSE;
  out.retry &= event != NAT_FSM_RETRY;
  out.https &= !(actions & NAT_DO_CANCEL_HTTPS);
  out.retry &= !(actions & NAT_DO_CANCEL_RETRY);
  if (actions & (NAT_DO_FORGET | NAT_DO_CHALLENGE))
    out.prober = out.mapped = FALSE;
  g_assert_false (out.https && (actions & NAT_DO_NEGOTIATE)); /* never two at once */
  g_assert_false (out.retry && (actions & NAT_DO_ARM_RETRY));
  out.https |= (actions & NAT_DO_NEGOTIATE) != 0;
  out.retry |= (actions & NAT_DO_ARM_RETRY) != 0;
  out.prober |= (actions & NAT_DO_CHALLENGE) != 0;
  out.mapped |= event == NAT_FSM_REGISTERED;
  return out;
}

/* Something will come that leads on, unless all is over; then nothing is left that could. */
static void
check_life (const Life *l)
{
  switch (l->state) {
  case NAT_SESSION_NEGOTIATING: g_assert_true (l->https && !l->retry); break;
  case NAT_SESSION_WAITING: g_assert_true (l->retry && !l->https); break;
  case NAT_SESSION_CHALLENGING: g_assert_true (l->prober && !l->https && !l->retry); break;
  case NAT_SESSION_CONNECTED:
  case NAT_SESSION_SUSPECT:
    /* Where media flows: not before a valid answer, and not after the mapping was dropped. */
    g_assert_true (l->prober && l->mapped && !l->https && !l->retry);
    break;
  default: g_assert_false (l->https || l->retry || l->prober || l->mapped); break;
  }
}

static guint
number_of (const Life *l)
{
  return (guint)l->state << 4 | (guint)l->https << 3 | (guint)l->retry << 2 |
         (guint)l->prober << 1 | (guint)l->mapped;
}

static void
live_on (const Life *l, gboolean *seen)
{
  if (seen[number_of (l)])
    return;
  seen[number_of (l)] = TRUE;
  check_life (l);
  for (guint event = 0; event < NAT_FSM_N_EVENTS; event++) {
    NatSessionState next;
    guint actions;
    Life then;

    if (!may_come (l, (NatFsmEvent)event) ||
        !nat_fsm_step (l->state, (NatFsmEvent)event, &next, &actions))
      continue;
    then = after (l, (NatFsmEvent)event, next, actions);
    live_on (&then, seen);
  }
}

static void
test_every_life (void)
{
  gboolean seen[NAT_FSM_N_STATES << 4] = {FALSE};
  const Life born = {.state = NAT_SESSION_DISCONNECTED};
  guint n = 0;

  live_on (&born, seen);
  for (guint state = 0; state < NAT_FSM_N_STATES; state++) {
    gboolean reached = FALSE;

    for (guint i = 0; i < 16; i++) {
      reached |= seen[state << 4 | i];
      n += seen[state << 4 | i];
    }
    g_assert_true (reached);
  }
  g_test_message ("%u different lives", n);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sessionfsm/drawing", test_drawing);
  g_test_add_func ("/sessionfsm/stop", test_stop_ends_all);
  g_test_add_func ("/sessionfsm/final", test_failed_is_final);
  g_test_add_func ("/sessionfsm/waiting", test_waiting_ends);
  g_test_add_func ("/sessionfsm/lives", test_every_life);
  return g_test_run ();
}
