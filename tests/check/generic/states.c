/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Every element of the plugin through every state, again and again, with and without what it needs; and what
 * the registry says of them. */

#include <gst/check/gstcheck.h>

static GList *
features (void)
{
  GstPlugin *plugin = gst_registry_find_plugin (gst_registry_get (), "natrelay");

  fail_unless (plugin != NULL, "the plugin is not found");
  gst_object_unref (plugin);
  return gst_registry_get_feature_list_by_plugin (gst_registry_get (), "natrelay");
}

static void
each_element (void (*test) (GstElement *element))
{
  GList *all = features ();
  guint n = 0;

  for (GList *l = all; l != NULL; l = l->next) {
    GstElement *element;

    fail_unless (GST_IS_ELEMENT_FACTORY (l->data));
    element = gst_element_factory_create (l->data, NULL);
    fail_unless (element != NULL, "%s", GST_OBJECT_NAME (l->data));
    gst_object_ref_sink (element);
    test (element);
    gst_element_set_state (element, GST_STATE_NULL);
    gst_object_unref (element);
    n++;
  }
  gst_plugin_feature_list_free (all);
  fail_unless_equals_int (n, 2);
}

static void
in_order (GstElement *element)
{
  static const GstState states[] = {GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_PLAYING,
      GST_STATE_PAUSED, GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_READY, GST_STATE_NULL};

  g_object_set (element, "uri", "natrelay://127.0.0.1:9/door", NULL);
  for (guint i = 0; i < G_N_ELEMENTS (states); i++)
    fail_if (gst_element_set_state (element, states[i]) == GST_STATE_CHANGE_FAILURE, "%s to %s",
        GST_ELEMENT_NAME (element), gst_element_state_get_name (states[i]));
}

GST_START_TEST (test_states)
{
  each_element (in_order);
}
GST_END_TEST;

static void
up_and_down (GstElement *element)
{
  g_object_set (element, "uri", "natrelay://127.0.0.1:9/door", NULL);
  for (guint i = 0; i < 10; i++) {
    fail_if (gst_element_set_state (element, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE);
    gst_element_set_state (element, GST_STATE_NULL);
  }
}

GST_START_TEST (test_up_and_down)
{
  each_element (up_and_down);
}
GST_END_TEST;

static void
without_uri (GstElement *element)
{
  fail_unless_equals_int (
      gst_element_set_state (element, GST_STATE_READY), GST_STATE_CHANGE_SUCCESS);
  fail_unless_equals_int (
      gst_element_set_state (element, GST_STATE_PAUSED), GST_STATE_CHANGE_FAILURE);
}

GST_START_TEST (test_states_without_uri)
{
  each_element (without_uri);
}
GST_END_TEST;

static void
never_started (GstElement *element)
{
}

GST_START_TEST (test_never_started)
{
  each_element (never_started);
}
GST_END_TEST;

/* Each property has a nick and a sentence, each factory all its texts. */
static void
described (GstElement *element)
{
  static const gchar *const keys[] = {GST_ELEMENT_METADATA_LONGNAME, GST_ELEMENT_METADATA_KLASS,
      GST_ELEMENT_METADATA_DESCRIPTION, GST_ELEMENT_METADATA_AUTHOR};
  guint n;
  GParamSpec **all = g_object_class_list_properties (G_OBJECT_GET_CLASS (element), &n);

  for (guint i = 0; i < n; i++) {
    if (all[i]->owner_type != G_OBJECT_TYPE (element))
      continue;
    fail_unless (strlen (g_param_spec_get_blurb (all[i])) > 15, "%s says nothing", all[i]->name);
    fail_unless (strlen (g_param_spec_get_nick (all[i])) > 2, "%s has no nick", all[i]->name);
  }
  g_free (all);
  for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
    fail_unless (gst_element_get_metadata (element, keys[i]) != NULL, "no %s", keys[i]);
}

GST_START_TEST (test_described)
{
  each_element (described);
}
GST_END_TEST;

/* What the network needs of GIO is there before a session's thread and another element's, rtspsrc's say, need it for the
 * first time at once: each would wait for the other for ever. */
static void
has_types (GstElement *element)
{
  static const gchar *const classes[] = {
      "GInetSocketAddress", "GSocketClient", "GSocket", "GTlsConnection", "GTlsDatabase"};

  for (guint i = 0; i < G_N_ELEMENTS (classes); i++) {
    GType type = g_type_from_name (classes[i]);

    fail_unless (type != 0, "no %s", classes[i]);
    fail_unless (g_type_class_peek (type) != NULL, "%s has no class", classes[i]);
  }
}

GST_START_TEST (test_types)
{
  each_element (has_types);
}
GST_END_TEST;

static Suite *
states_suite (void)
{
  Suite *s = suite_create ("states");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_states);
  tcase_add_test (tc, test_up_and_down);
  tcase_add_test (tc, test_states_without_uri);
  tcase_add_test (tc, test_never_started);
  tcase_add_test (tc, test_described);
  tcase_add_test (tc, test_types);
  return s;
}

GST_CHECK_MAIN (states);
