/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "connection.h"

#include <stdio.h>
#include <glib-unix.h>

#define FINISH_MS 3000 /* for EOS to reach the end of a pipeline */

static void
say (const char *what, const char *text, const char *more)
{
  printf ("%s: %s%s%s\n", what, text, more != NULL ? "; " : "", more != NULL ? more : "");
  fflush (stdout);
}

/* An ERROR is final: the element says in a sentence what to change. A WARNING is not: it keeps trying, and
 * the pipeline goes on. */
static void
on_error (Connection *connection, GstMessage *message)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *debug = NULL;

  gst_message_parse_error (message, &error, &debug);
  /* Of something that was tried and taken out again, as a window where there is no display. */
  if (!gst_object_has_as_ancestor (GST_MESSAGE_SRC (message), GST_OBJECT (connection->pipeline))) {
    say ("warning", error->message, "it goes on without");
    return;
  }
  say ("error", error->message, debug);
  connection->code = 1;
  g_main_loop_quit (connection->loop);
}

static void
on_warning (GstMessage *message)
{
  g_autoptr (GError) error = NULL;

  gst_message_parse_warning (message, &error, NULL);
  say ("warning", error->message, NULL);
}

/* PROGRESS tells how far the connection has come: negotiate, challenge, register. */
static void
on_progress (GstMessage *message)
{
  GstProgressType type;
  g_autofree char *code = NULL;
  g_autofree char *text = NULL;

  gst_message_parse_progress (message, &type, &code, &text);
  if (type == GST_PROGRESS_TYPE_COMPLETE)
    say (code, text, NULL);
}

/* Each time that the connection is made or lost there is an element message. "local-address" is what
 * this machine sees of the mapping, "mapped-address" what the relay sees of it. */
static void
on_element (Connection *connection, GstMessage *message)
{
  const GstStructure *s = gst_message_get_structure (message);

  connection->connected |= gst_structure_has_name (s, "natrelay-connected");
  if (gst_structure_has_name (s, "natrelay-connected"))
    say ("connected", gst_structure_get_string (s, "local-address"),
        gst_structure_get_string (s, "mapped-address"));
  else if (gst_structure_has_name (s, "natrelay-connection-lost"))
    say ("lost", gst_structure_get_string (s, "text"), "it will be tried again");
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer user)
{
  Connection *connection = user;

  switch (GST_MESSAGE_TYPE (message)) {
  case GST_MESSAGE_ERROR: on_error (connection, message); break;
  case GST_MESSAGE_WARNING: on_warning (message); break;
  case GST_MESSAGE_PROGRESS: on_progress (message); break;
  case GST_MESSAGE_ELEMENT: on_element (connection, message); break;
  case GST_MESSAGE_LATENCY: gst_bin_recalculate_latency (GST_BIN (connection->pipeline)); break;
  case GST_MESSAGE_EOS: g_main_loop_quit (connection->loop); break;
  default: break;
  }
  return G_SOURCE_CONTINUE;
}

static gboolean
on_enough (gpointer user)
{
  Connection *connection = user;

  gst_element_send_event (connection->pipeline, gst_event_new_eos ());
  return G_SOURCE_REMOVE;
}

static gboolean
on_finish_over (gpointer user)
{
  Connection *connection = user;

  g_main_loop_quit (connection->loop);
  return G_SOURCE_REMOVE;
}

/* EOS comes out where something went in: if nobody has sent, there is nothing to finish. The second time is for
 * those who will not wait. */
static gboolean
on_interrupt (gpointer user)
{
  Connection *connection = user;

  if (!connection->finishes) {
    g_main_loop_quit (connection->loop);
    return G_SOURCE_CONTINUE;
  }
  connection->finishes = FALSE;
  gst_element_send_event (connection->pipeline, gst_event_new_eos ());
  g_timeout_add (FINISH_MS, on_finish_over, connection);
  return G_SOURCE_CONTINUE;
}

static void
print_field (const GstStructure *stats, const char *name)
{
  const GValue *value = gst_structure_get_value (stats, name);
  g_autofree char *text = NULL;

  if (G_VALUE_HOLDS_STRING (value))
    text = g_value_dup_string (value);
  else
    text = gst_value_serialize (value);
  if (text != NULL)
    printf ("%s=%s\n", name, text);
}

static void
print_stats (GstElement *end)
{
  GstStructure *stats = NULL;

  g_object_get (end, "stats", &stats, NULL);
  if (stats != NULL) {
    for (int i = 0; i < gst_structure_n_fields (stats); i++)
      print_field (stats, gst_structure_nth_field_name (stats, (guint)i));
    gst_structure_free (stats);
  }
  fflush (stdout);
}

void
connection_run (Connection *connection, double seconds)
{
  GstBus *bus = gst_element_get_bus (connection->pipeline);

  connection->loop = g_main_loop_new (NULL, FALSE);
  gst_bus_add_watch (bus, on_message, connection);
  g_unix_signal_add (SIGINT, on_interrupt, connection);
  g_unix_signal_add (SIGTERM, on_interrupt, connection);
  if (seconds > 0)
    g_timeout_add ((guint)(seconds * 1000), on_enough, connection);

  if (gst_element_set_state (connection->pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE)
    connection->code = 1;
  g_main_loop_run (connection->loop);
  /* Where no relay let us in, the last line is why. */
  if (connection->connected)
    print_stats (connection->end);
  if (connection->connected && connection->other_end != NULL)
    print_stats (connection->other_end);
  gst_element_set_state (connection->pipeline, GST_STATE_NULL);

  gst_bus_remove_watch (bus);
  gst_object_unref (bus);
  g_main_loop_unref (connection->loop);
}
