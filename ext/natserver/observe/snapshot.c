/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/snapshot.h"

static void
free_session (gpointer data)
{
  NatSessionSnapshot *s = data;

  nat_session_counters_unref (s->counters);
  g_free (s->stream);
  g_free (s->subject);
  g_free (s);
}

NatSessionList *
nat_session_list_new (void)
{
  NatSessionList *list = g_new0 (NatSessionList, 1);

  list->sessions = g_ptr_array_new_with_free_func (free_session);
  return list;
}

void
nat_session_list_free (NatSessionList *list)
{
  if (!list)
    return;
  g_ptr_array_unref (list->sessions);
  g_free (list);
}

static void
free_stream (gpointer data)
{
  NatStreamSnapshot *s = data;

  if (s->trend != NULL)
    nat_trend_unref (s->trend);
  g_free (s->name);
  g_free (s);
}

NatSnapshot *
nat_snapshot_new (void)
{
  NatSnapshot *s = g_new0 (NatSnapshot, 1);

  s->streams = g_ptr_array_new_with_free_func (free_stream);
  return s;
}

void
nat_snapshot_free (NatSnapshot *s)
{
  if (!s)
    return;
  g_ptr_array_unref (s->streams);
  g_free (s);
}

guint
nat_snapshot_all_streams (const NatSnapshot *s)
{
  return s->n_streams[0] + s->n_streams[1] + s->n_streams[2] + s->n_streams[3];
}

guint
nat_snapshot_all_sessions (const NatSnapshot *s)
{
  return s->n_sessions[0][0] + s->n_sessions[0][1] + s->n_sessions[1][0] + s->n_sessions[1][1];
}
