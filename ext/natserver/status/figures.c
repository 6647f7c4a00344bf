/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/status/figures.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/json.h"

static void
stream_free (gpointer data)
{
  NatFiguresStream *s = data;

  g_free (s->name);
  g_free (s->publisher);
  g_free (s->transport);
  g_free (s);
}

static void
session_free (gpointer data)
{
  NatFiguresSession *s = data;

  g_free (s->who);
  g_free (s->role);
  g_free (s->stream);
  g_free (s->path);
  g_free (s);
}

void
nat_figures_free (NatFigures *f)
{
  g_ptr_array_unref (f->streams);
  g_ptr_array_unref (f->list);
  g_free (f->version);
  g_free (f);
}

/* ---- Members; what is absent is "" and 0 ------------------------------- */

char *
nat_figures_printable (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  GString *out = g_string_new (NULL);

  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);

    g_string_append_unichar (out, g_unichar_isprint (c) ? c : '?');
  }
  return g_string_free (out, FALSE);
}

static char *
text_of (JsonObject *object, const char *member)
{
  const char *text = "";

  if (!nat_json_get_string (object, member, NAT_JSON_OPTIONAL, 4096, &text, NULL))
    text = "?";
  return nat_figures_printable (text);
}

static gint64
number_of (JsonObject *object, const char *member)
{
  gint64 n = 0;

  nat_json_get_integer (object, member, NAT_JSON_OPTIONAL, 0, G_MAXINT64, &n, NULL);
  return n;
}

/* ---- Streams ----------------------------------------------------------- */

static void
read_trend (NatFiguresStream *s, JsonObject *object)
{
  JsonNode *node = json_object_get_member (object, "trend");
  JsonArray *in = NULL;

  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node) ||
      !nat_json_get_array (json_node_get_object (node), "in-kbps", NAT_JSON_OPTIONAL,
          NAT_FIGURES_TREND, &in, NULL) ||
      in == NULL)
    return;
  for (guint i = 0; i < json_array_get_length (in); i++)
    s->trend[s->n_trend++] = json_node_get_int (json_array_get_element (in, i));
}

static void
read_stream (NatFigures *f, JsonObject *object)
{
  NatFiguresStream *s = g_new0 (NatFiguresStream, 1);

  s->name = text_of (object, "name");
  s->publisher = text_of (object, "publisher");
  if (json_object_has_member (object, "transport"))
    s->transport = text_of (object, "transport");
  s->pattern = json_object_has_member (object, "pattern");
  s->subscribers = number_of (object, "subscribers");
  s->since_s = number_of (object, "since-s");
  s->in_bps = number_of (object, "in-bps");
  s->out_bps = number_of (object, "out-bps");
  s->loss_in_ppm = number_of (object, "loss-in-ppm");
  s->loss_out_ppm = number_of (object, "loss-out-ppm");
  s->rtt_us = number_of (object, "rtt_us");
  s->jitter_us = number_of (object, "jitter_us");
  read_trend (s, object);
  g_ptr_array_add (f->streams, s);
}

static gboolean
read_whole (NatFigures *f, JsonObject *list)
{
  JsonNode *node = json_object_get_member (list, "relay");
  JsonObject *relay;

  if (node == NULL || !JSON_NODE_HOLDS_OBJECT (node))
    return FALSE;
  relay = json_node_get_object (node);
  f->version = text_of (relay, "program-version");
  f->started_s = number_of (relay, "started-s");
  f->live = number_of (relay, "live");
  f->subscribers = number_of (relay, "subscribers");
  f->sessions = number_of (relay, "sessions");
  f->in_bps = number_of (relay, "in-bps");
  f->out_bps = number_of (relay, "out-bps");
  f->n_streams = number_of (list, "total");
  return TRUE;
}

/* ---- Sessions ---------------------------------------------------------- */

static char *
path_of (JsonObject *object)
{
  g_autofree char *mapped = text_of (object, "mapped");
  g_autofree char *transport = text_of (object, "transport");

  if (*mapped == '\0')
    return g_strdup ("not registered");
  return g_strdup_printf ("%s %s", strcmp (transport, "websocket") == 0 ? "ws " : "udp", mapped);
}

static char *
who_of (JsonObject *object)
{
  char *subject = text_of (object, "subject");

  if (*subject != '\0')
    return subject;
  g_free (subject);
  return text_of (object, "session");
}

static void
read_session (NatFigures *f, JsonObject *object)
{
  NatFiguresSession *s = g_new0 (NatFiguresSession, 1);
  gboolean publisher;

  s->role = text_of (object, "role");
  publisher = strcmp (s->role, "publisher") == 0;
  s->who = who_of (object);
  s->stream = text_of (object, "stream");
  s->path = path_of (object);
  s->created_s = number_of (object, "created-s");
  s->bps = number_of (object, publisher ? "in-bps" : "out-bps");
  s->loss_ppm = number_of (object, publisher ? "loss-in-ppm" : "loss-out-ppm");
  s->resent = number_of (object, publisher ? "repairs_received" : "repairs_sent");
  s->rtt_us = number_of (object, "rtt_us");
  s->jitter_us = number_of (object, "jitter_us");
  g_ptr_array_add (f->list, s);
}

/* ---- Both -------------------------------------------------------------- */

static gboolean
read_array (NatFigures *f, JsonObject *list, const char *member,
    void (*read) (NatFigures *f, JsonObject *object), GError **error)
{
  JsonArray *array;

  if (!nat_json_get_array (list, member, NAT_JSON_REQUIRED, G_MAXUINT, &array, error))
    return FALSE;
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonObject *object;

    if (!nat_json_array_object (array, i, member, &object, error))
      return FALSE;
    read (f, object);
  }
  return TRUE;
}

static gboolean
read_both (NatFigures *f, const char *streams, const char *sessions, GError **error)
{
  g_autoptr (JsonObject) first =
      nat_json_parse (streams, -1, NAT_FIGURES_MAX, "The list of streams", error);
  g_autoptr (JsonObject) second =
      first ? nat_json_parse (sessions, -1, NAT_FIGURES_MAX, "The list of sessions", error) : NULL;

  if (second == NULL)
    return FALSE;
  if (!read_whole (f, first)) {
    g_set_error_literal (error, NAT_ERROR, NAT_ERROR_MALFORMED,
        "The relay does not tell figures: it is older than this program");
    return FALSE;
  }
  f->n_sessions = number_of (second, "total");
  return read_array (f, first, "streams", read_stream, error) &&
         read_array (f, second, "sessions", read_session, error);
}

NatFigures *
nat_figures_parse (const char *streams, const char *sessions, GError **error)
{
  NatFigures *f = g_new0 (NatFigures, 1);

  f->streams = g_ptr_array_new_with_free_func (stream_free);
  f->list = g_ptr_array_new_with_free_func (session_free);
  if (!read_both (f, streams, sessions, error))
    g_clear_pointer (&f, nat_figures_free);
  return f;
}
