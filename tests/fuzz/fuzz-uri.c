/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any text as natrelay://... What is taken names a host and streams, sets properties of the object's own class or none, and
 * is shown without what may not be read back. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "gstnatrelayuri.h"
#include "natproto/streamname.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);
int __lsan_is_turned_off (void);

/* ---- Something with properties ----------------------------------------- */

#define FUZZ_TYPE_THING (fuzz_thing_get_type ())
G_DECLARE_FINAL_TYPE (FuzzThing, fuzz_thing, FUZZ, THING, GObject)

struct _FuzzThing {
  GObject parent;
  guint set;
};

enum { PROP_URI = 1, PROP_AUTH_TOKEN, PROP_PROXY, PROP_LATENCY, PROP_TAKEOVER, PROP_SEEN };

G_DEFINE_TYPE (FuzzThing, fuzz_thing, G_TYPE_OBJECT)

static void
fuzz_thing_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  g_assert_true (id != PROP_URI && id != PROP_SEEN);
  FUZZ_THING (object)->set++;
}

static void
fuzz_thing_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  g_assert_cmpuint (id, !=, PROP_AUTH_TOKEN);
}

static void
fuzz_thing_init (FuzzThing *thing)
{
}

static void
fuzz_thing_class_init (FuzzThingClass *klass)
{
  GObjectClass *object = G_OBJECT_CLASS (klass);
  GParamFlags text = G_PARAM_STATIC_STRINGS;

  object->set_property = fuzz_thing_set_property;
  object->get_property = fuzz_thing_get_property;
  g_object_class_install_property (
      object, PROP_URI, g_param_spec_string ("uri", NULL, NULL, NULL, G_PARAM_READWRITE | text));
  g_object_class_install_property (object, PROP_AUTH_TOKEN,
      g_param_spec_string ("auth-token", NULL, NULL, NULL, G_PARAM_WRITABLE | text));
  g_object_class_install_property (object, PROP_PROXY,
      g_param_spec_string ("proxy", NULL, NULL, NULL, G_PARAM_READWRITE | text));
  g_object_class_install_property (object, PROP_LATENCY,
      g_param_spec_uint ("latency", NULL, NULL, 0, 10000, 200, G_PARAM_READWRITE | text));
  g_object_class_install_property (object, PROP_TAKEOVER,
      g_param_spec_boolean ("takeover", NULL, NULL, FALSE, G_PARAM_READWRITE | text));
  g_object_class_install_property (
      object, PROP_SEEN, g_param_spec_uint ("seen", NULL, NULL, 0, 9, 0, G_PARAM_READABLE | text));
}

/* ---- ------------------------------------------------------------------- */

static void
check (const GstNatRelayUri *uri, GObject *object)
{
  guint n = g_strv_length (uri->keys);

  g_assert_true (uri->host != NULL && *uri->host != '\0' && uri->port != 0);
  g_assert_true (nat_stream_glob_valid (uri->stream));
  g_assert_cmpuint (n, ==, g_strv_length (uri->values));
  for (guint i = 0; i < n; i++) {
    for (guint k = 0; k < i; k++)
      g_assert_cmpstr (uri->keys[i], !=, uri->keys[k]);
  }
  FUZZ_THING (object)->set = 0;
  if (gst_nat_relay_uri_apply (uri, object, NULL))
    g_assert_cmpuint (FUZZ_THING (object)->set, ==, n);
  else
    g_assert_cmpuint (FUZZ_THING (object)->set, ==, 0);
}

static void
check_public (const char *text, GObject *object)
{
  g_autofree char *shown = gst_nat_relay_uri_public (text, object);
  GstNatRelayUri uri;

  if (!gst_nat_relay_uri_parse (&uri, shown, NULL))
    return;
  g_assert_false (g_strv_contains ((const char *const *)uri.keys, "auth-token"));
  for (guint i = 0; uri.keys[i] != NULL; i++)
    g_assert_true (strcmp (uri.keys[i], "proxy") != 0 || strchr (uri.values[i], '@') == NULL);
  gst_nat_relay_uri_clear (&uri);
}

/* GLib's table of quarks grows by leaving the old one behind, on purpose. */
int
__lsan_is_turned_off (void)
{
  return 1;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  GObject *object;
  GstNatRelayUri uri;

  if (!gst_is_initialized ())
    gst_init (NULL, NULL);
  object = g_object_new (FUZZ_TYPE_THING, NULL);
  if (gst_nat_relay_uri_parse (&uri, text, NULL)) {
    check (&uri, object);
    gst_nat_relay_uri_clear (&uri);
  }
  check_public (text, object);
  g_object_unref (object);
  return 0;
}
