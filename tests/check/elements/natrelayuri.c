/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* URIs: taken apart, applied to an object, and written without secrets. */

#include <gst/check/gstcheck.h>
#include <string.h>

#include "gstnatrelayuri.h"

/* ---- an object with one property of each kind ---------------------------- */

typedef struct {
  GObject parent;
  gchar *text, *secret;
  gint number;
  gboolean flag;
  gint mode;
} Thing;
typedef GObjectClass ThingClass;

enum {
  PROP_0,
  PROP_URI,
  PROP_TEXT,
  PROP_SECRET,
  PROP_NUMBER,
  PROP_FLAG,
  PROP_MODE,
  PROP_READ,
  PROP_OBJECT
};

GType thing_get_type (void);
G_DEFINE_TYPE (Thing, thing, G_TYPE_OBJECT)

static void
thing_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  Thing *self = (Thing *)object;

  switch (id) {
  case PROP_TEXT:
    g_free (self->text);
    self->text = g_value_dup_string (value);
    break;
  case PROP_SECRET:
    g_free (self->secret);
    self->secret = g_value_dup_string (value);
    break;
  case PROP_NUMBER: self->number = g_value_get_int (value); break;
  case PROP_FLAG: self->flag = g_value_get_boolean (value); break;
  case PROP_MODE: self->mode = g_value_get_enum (value); break;
  default: ck_abort_msg ("a URI must not set %s", pspec->name);
  }
}

static void
thing_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
}

static void
thing_finalize (GObject *object)
{
  g_free (((Thing *)object)->text);
  g_free (((Thing *)object)->secret);
  G_OBJECT_CLASS (thing_parent_class)->finalize (object);
}

static void
thing_class_init (ThingClass *klass)
{
  klass->set_property = thing_set_property;
  klass->get_property = thing_get_property;
  klass->finalize = thing_finalize;
  g_object_class_install_property (
      klass, PROP_URI, g_param_spec_string ("uri", "", "", NULL, G_PARAM_READWRITE));
  g_object_class_install_property (
      klass, PROP_TEXT, g_param_spec_string ("text", "", "", NULL, G_PARAM_READWRITE));
  g_object_class_install_property (
      klass, PROP_SECRET, g_param_spec_string ("secret", "", "", NULL, G_PARAM_WRITABLE));
  g_object_class_install_property (
      klass, PROP_NUMBER, g_param_spec_int ("number", "", "", -1, 100, 0, G_PARAM_READWRITE));
  g_object_class_install_property (
      klass, PROP_FLAG, g_param_spec_boolean ("flag", "", "", FALSE, G_PARAM_READWRITE));
  g_object_class_install_property (klass, PROP_MODE,
      g_param_spec_enum ("mode", "", "", GST_TYPE_STATE, GST_STATE_NULL, G_PARAM_READWRITE));
  g_object_class_install_property (
      klass, PROP_READ, g_param_spec_int ("read", "", "", 0, 1, 0, G_PARAM_READABLE));
  g_object_class_install_property (
      klass, PROP_OBJECT, g_param_spec_object ("object", "", "", G_TYPE_OBJECT, G_PARAM_READWRITE));
}

static void
thing_init (Thing *self)
{
}

/* ---- parse --------------------------------------------------------------- */

static const struct {
  const gchar *text, *host, *stream;
  guint16 port;
} good[] = {
    {"natrelay://relay.example.org/door", "relay.example.org", "door", 8443},
    {"natrelay://relay.example.org:443/door", "relay.example.org", "door", 443},
    {"NATRELAY://relay.example.org/door", "relay.example.org", "door", 8443},
    {"natrelay://192.0.2.1:9/a/b/c", "192.0.2.1", "a/b/c", 9},
    {"natrelay://[2001:db8::1]/front.door_2~x-y", "2001:db8::1", "front.door_2~x-y", 8443},
    {"natrelay://[2001:db8::1]:8080/door", "2001:db8::1", "door", 8080},
    {"natrelay://h/d?", "h", "d", 8443},
    {"natrelay://h/%64oor", "h", "door", 8443},
    {"natrelay://h:65535/d", "h", "d", 65535},
    {"natrelay://h/room/*", "h", "room/*", 8443},
    {"natrelay://h/**", "h", "**", 8443},
};

GST_START_TEST (test_parse)
{
  GstNatRelayUri uri;
  GError *error = NULL;

  fail_unless (gst_nat_relay_uri_parse (&uri, good[__i__].text, &error), "%s: %s", good[__i__].text,
      error != NULL ? error->message : "");
  fail_unless_equals_string (uri.host, good[__i__].host);
  fail_unless_equals_string (uri.stream, good[__i__].stream);
  fail_unless_equals_int (uri.port, good[__i__].port);
  fail_unless (uri.keys[0] == NULL);
  gst_nat_relay_uri_clear (&uri);
}
GST_END_TEST;

static const struct {
  const gchar *text;
  GstURIError code;
  const gchar *says;
} bad[] = {
    {"", GST_URI_ERROR_BAD_URI, "not a URI"},
    {"door", GST_URI_ERROR_BAD_URI, "not a URI"},
    {"http://relay.example.org/door", GST_URI_ERROR_UNSUPPORTED_PROTOCOL, "http"},
    {"natrelay:///door", GST_URI_ERROR_BAD_URI, "no relay"},
    {"natrelay:door", GST_URI_ERROR_BAD_URI, "no relay"},
    {"natrelay://h", GST_URI_ERROR_BAD_URI, "no stream"},
    {"natrelay://h/", GST_URI_ERROR_BAD_URI, "no stream"},
    {"natrelay://h:0/d", GST_URI_ERROR_BAD_URI, "Port 0"},
    {"natrelay://h:70000/d", GST_URI_ERROR_BAD_URI, "not a URI"},
    {"natrelay://h:x/d", GST_URI_ERROR_BAD_URI, "not a URI"},
    {"natrelay://user:pw@h/d", GST_URI_ERROR_BAD_URI, "auth-token"},
    {"natrelay://h/d#f", GST_URI_ERROR_BAD_URI, "#"},
    {"natrelay://h/d//e", GST_URI_ERROR_BAD_URI, "not a stream name"},
    {"natrelay://h/d/", GST_URI_ERROR_BAD_URI, "not a stream name"},
    {"natrelay://h/a/../b", GST_URI_ERROR_BAD_URI, "not a stream name"},
    {"natrelay://h/d%20e", GST_URI_ERROR_BAD_URI, "not a stream name"},
    {"natrelay://h/d%00", GST_URI_ERROR_BAD_URI, NULL},
    {"natrelay://h/d*", GST_URI_ERROR_BAD_URI, "not a stream name"},
    {"natrelay://h/**/d", GST_URI_ERROR_BAD_URI, "not a stream name"},
    {"natrelay://h/d?a=1&a=2", GST_URI_ERROR_BAD_URI, "twice"},
    {"natrelay://h/d?a=%zz", GST_URI_ERROR_BAD_URI, NULL},
};

GST_START_TEST (test_parse_bad)
{
  GstNatRelayUri uri;
  GError *error = NULL;

  fail_if (gst_nat_relay_uri_parse (&uri, bad[__i__].text, &error), "%s", bad[__i__].text);
  fail_unless (g_error_matches (error, GST_URI_ERROR, (gint)bad[__i__].code), "%s: %s",
      bad[__i__].text, error->message);
  if (bad[__i__].says != NULL)
    fail_unless (strstr (error->message, bad[__i__].says) != NULL, "%s: %s", bad[__i__].text,
        error->message);
  fail_unless (uri.host == NULL && uri.stream == NULL && uri.keys == NULL && uri.values == NULL);
  g_error_free (error);
}
GST_END_TEST;

GST_START_TEST (test_name_length)
{
  gchar *name = g_strnfill (129, 'a'), *text = g_strdup_printf ("natrelay://h/%s", name);
  GstNatRelayUri uri;
  GError *error = NULL;

  fail_if (gst_nat_relay_uri_parse (&uri, text, &error));
  fail_unless (strstr (error->message, "128") != NULL);
  g_clear_error (&error);
  text[strlen (text) - 1] = '\0';
  fail_unless (gst_nat_relay_uri_parse (&uri, text, NULL));
  fail_unless_equals_int (strlen (uri.stream), 128);
  gst_nat_relay_uri_clear (&uri);
  g_free (name);
  g_free (text);
}
GST_END_TEST;

/* ---- apply --------------------------------------------------------------- */

static gboolean
apply (Thing *thing, const gchar *query, GError **error)
{
  gchar *text = g_strdup_printf ("natrelay://h/d?%s", query);
  GstNatRelayUri uri;
  gboolean ok;

  fail_unless (gst_nat_relay_uri_parse (&uri, text, NULL), "%s", text);
  ok = gst_nat_relay_uri_apply (&uri, G_OBJECT (thing), error);
  gst_nat_relay_uri_clear (&uri);
  g_free (text);
  return ok;
}

GST_START_TEST (test_apply)
{
  Thing *thing = g_object_new (thing_get_type (), NULL);
  GError *error = NULL;

  fail_unless (apply (thing, "text=a%26b%3dc+d&number=7&&flag=true&mode=playing&secret=s", &error),
      "%s", error != NULL ? error->message : "");
  fail_unless_equals_string (thing->text, "a&b=c+d");
  fail_unless_equals_string (thing->secret, "s");
  fail_unless_equals_int (thing->number, 7);
  fail_unless (thing->flag);
  fail_unless_equals_int (thing->mode, GST_STATE_PLAYING);
  fail_unless (apply (thing, "text=", NULL));
  fail_unless_equals_string (thing->text, "");
  g_object_unref (thing);
}
GST_END_TEST;

static const struct {
  const gchar *query, *says;
} refused[] = {
    {"number=1&nonsense=2", "no property \"nonsense\" that the URI may set; gst-inspect-1.0"},
    {"number=1&number2", "number2"},
    {"number=1&uri=x", "uri"},
    {"number=1&read=1", "read"},
    {"number=1&object=x", "object"},
    {"number=1&flag=perhaps", "perhaps"},
    {"number=101", "range"},
    {"number=-2", "range"},
    {"number=seven", "seven"},
    {"number=", "number"},
    {"number=1&mode=flying", "flying"},
};

/* All or nothing: number stays as it was. */
GST_START_TEST (test_apply_refused)
{
  Thing *thing = g_object_new (thing_get_type (), NULL);
  GError *error = NULL;

  fail_if (apply (thing, refused[__i__].query, &error), "%s", refused[__i__].query);
  fail_unless (g_error_matches (error, GST_URI_ERROR, GST_URI_ERROR_BAD_URI));
  fail_unless (strstr (error->message, refused[__i__].says) != NULL, "%s: %s", refused[__i__].query,
      error->message);
  fail_unless_equals_int (thing->number, 0);
  g_error_free (error);
  g_object_unref (thing);
}
GST_END_TEST;

/* ---- public -------------------------------------------------------------- */

static const struct {
  const gchar *text, *public;
} cases[] = {
    {"natrelay://h/d", "natrelay://h/d"},
    {"natrelay://h:1/d?number=1", "natrelay://h:1/d?number=1"},
    {"natrelay://h/d?secret=s", "natrelay://h/d"},
    {"natrelay://h/d?%73ecret=s", "natrelay://h/d"},
    {"natrelay://h/d?number=1&secret=s&text=%26", "natrelay://h/d?number=1&text=%26"},
    {"natrelay://h/d?secret=s&number=1", "natrelay://h/d?number=1"},
};

GST_START_TEST (test_public)
{
  Thing *thing = g_object_new (thing_get_type (), NULL);
  gchar *public = gst_nat_relay_uri_public (cases[__i__].text, G_OBJECT (thing));

  fail_unless_equals_string (public, cases[__i__].public);
  g_free (public);
  g_object_unref (thing);
}
GST_END_TEST;

static Suite *
natrelayuri_suite (void)
{
  Suite *s = suite_create ("natrelayuri");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_parse, 0, G_N_ELEMENTS (good));
  tcase_add_loop_test (tc, test_parse_bad, 0, G_N_ELEMENTS (bad));
  tcase_add_test (tc, test_name_length);
  tcase_add_test (tc, test_apply);
  tcase_add_loop_test (tc, test_apply_refused, 0, G_N_ELEMENTS (refused));
  tcase_add_loop_test (tc, test_public, 0, G_N_ELEMENTS (cases));
  return s;
}

GST_CHECK_MAIN (natrelayuri);
