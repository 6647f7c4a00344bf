/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/looks.h"

#include "natserver/observe/listing.h"
#include "natserver/observe/metrics.h"

struct _NatLooks {
  NatLooksConfig config;
  GQueue row;   /* of looks, the head is next */
  guint source; /* runs while there are any */
};

struct _NatLook {
  NatLooks *looks;
  GList link; /* in their row, unless whole */
  NatLookKind kind;
  guint samples;
  gboolean whole_id, whole;
  NatSurvey *survey;    /* of all */
  NatSessionList *list; /* of sessions; then there is no survey */
  guint64 tick;
  NatListing listing;
};

NatLooks *
nat_looks_new (const NatLooksConfig *config)
{
  NatLooks *looks = g_new0 (NatLooks, 1);

  looks->config = *config;
  return looks;
}

void
nat_looks_free (NatLooks *looks)
{
  g_return_if_fail (looks->row.head == NULL);
  g_clear_handle_id (&looks->source, g_source_remove);
  g_free (looks);
}

/* ---- Turns ------------------------------------------------------------- */

/* TRUE: it is not whole yet. */
static gboolean
write_survey (NatLook *look)
{
  NatSnapshot *snapshot = nat_survey_snapshot (look->survey);

  look->tick = snapshot->trend_tick;
  look->looks->config.fill (snapshot, look->looks->config.user);
  if (look->kind == NAT_LOOK_STREAMS)
    return nat_listing_streams (&look->listing, snapshot, look->samples);
  nat_metrics_append (look->listing.text, snapshot);
  return FALSE;
}

static gboolean
have_turn (NatLook *look)
{
  gboolean more;

  if (look->survey != NULL)
    more = nat_survey_go_on (look->survey) || write_survey (look);
  else
    more = nat_listing_sessions (&look->listing, look->list, look->whole_id);
  look->whole = !more;
  return more;
}

/* One of them: requests have theirs in between. */
static gboolean
take_turns (gpointer user)
{
  NatLooks *looks = user;
  NatLook *look = looks->row.head->data;

  g_queue_unlink (&looks->row, &look->link);
  if (have_turn (look))
    g_queue_push_tail_link (&looks->row, &look->link);
  else
    looks->config.whole (look, looks->config.user);
  if (looks->row.head != NULL)
    return G_SOURCE_CONTINUE;
  looks->source = 0;
  return G_SOURCE_REMOVE;
}

static void
join_row (NatLook *look)
{
  NatLooks *looks = look->looks;

  g_queue_push_tail_link (&looks->row, &look->link);
  /* Beside the requests, not behind them: who floods the relay with those shall not blind whoever looks. */
  if (looks->source == 0)
    looks->source = g_idle_add_full (G_PRIORITY_DEFAULT, take_turns, looks, NULL);
}

/* ---- A look ------------------------------------------------------------ */

NatLook *
nat_look_new (NatLooks *looks, NatTime now, const NatLookAsk *ask)
{
  NatLook *look = g_new0 (NatLook, 1);
  NatRegistry *registry = looks->config.registry;

  look->looks = looks;
  look->link.data = look;
  look->kind = ask->kind;
  look->samples = ask->samples;
  look->whole_id = ask->whole_id;
  look->listing.text = g_string_new (NULL);
  if (ask->kind == NAT_LOOK_SESSIONS) {
    look->list = nat_registry_list (registry, now, ask->stream, ask->from, NAT_LISTING_MAX);
    look->tick = look->list->trend_tick;
  } else {
    look->survey = nat_registry_survey (registry);
  }
  if (have_turn (look))
    join_row (look);
  return look;
}

void
nat_look_free (gpointer data)
{
  NatLook *look = data;
  NatLooks *looks = look->looks;

  if (!look->whole)
    g_queue_unlink (&looks->row, &look->link);
  if (looks->row.head == NULL)
    g_clear_handle_id (&looks->source, g_source_remove);
  g_clear_pointer (&look->survey, nat_survey_unref);
  nat_session_list_free (look->list);
  if (look->listing.text != NULL)
    g_string_free (look->listing.text, TRUE);
  g_free (look);
}

gboolean
nat_look_is_whole (const NatLook *look)
{
  return look->whole;
}

guint64
nat_look_tick (const NatLook *look)
{
  return look->tick;
}

char *
nat_look_take_text (NatLook *look)
{
  return g_string_free (g_steal_pointer (&look->listing.text), FALSE);
}
