/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelay-camera: pushes IP cameras to a relay, for ever. What it does with each stands in camera.c. */

#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <glib-unix.h>

#include <config.h>

#include "camera.h"
#include "natproto/error.h"

/* Another publisher took the last stream: a service manager is not to start us again, to take it back. */
#define EXIT_SUPERSEDED 3

#define STOP_S 3 /* for all cameras to go; who stops us does not wait for one that stands still */

typedef struct {
  GMainLoop *loop;
  GPtrArray *cameras;
  guint n_over;
  int code;
} Program;

static char *opt_config, *opt_token_file, *opt_transport;
static int opt_latency = CAMERA_LATENCY_MS;
static gboolean opt_version;

static const GOptionEntry options[] = {
    {"config", 'c', 0, G_OPTION_ARG_FILENAME, &opt_config,
        "read cameras from FILE, a group for each: [door] camera=rtsp://... relay=natrelay://... "
        "and, "
        "if "
        "wanted, auth-token= or auth-token-file=, transport=, latency=",
        "FILE"},
    {"auth-token-file", 0, 0, G_OPTION_ARG_FILENAME, &opt_token_file,
        "the relay's access token is in FILE (default: in the environment, NATRELAY_AUTH_TOKEN)",
        "FILE"},
    {"transport", 0, 0, G_OPTION_ARG_STRING, &opt_transport,
        "how the camera is to send: udp, tcp, or auto (default): udp, and tcp where nothing comes",
        "WORD"},
    {"latency", 0, 0, G_OPTION_ARG_INT, &opt_latency,
        "milliseconds to wait for packets of the camera that come out of order (default 100)",
        "MS"},
    {"version", 0, 0, G_OPTION_ARG_NONE, &opt_version, "print the version", NULL}, {NULL}};

/* ---- Log --------------------------------------------------------------- */

static const char *
level_of (GLogLevelFlags flags, gboolean journal)
{
  if (flags & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
    return journal ? "<3>" : "natrelay-camera: error: ";
  if (flags & G_LOG_LEVEL_WARNING)
    return journal ? "<4>" : "natrelay-camera: ";
  return journal ? "<6>" : "natrelay-camera: ";
}

/* A line for each message, whatever a camera put into it. */
static GLogWriterOutput
write_log (GLogLevelFlags flags, const GLogField *fields, gsize n_fields, gpointer user)
{
  gboolean journal = g_getenv ("JOURNAL_STREAM") != NULL;

  if (flags & (G_LOG_LEVEL_DEBUG | G_LOG_LEVEL_INFO))
    return G_LOG_WRITER_HANDLED;
  for (gsize i = 0; i < n_fields; i++) {
    g_autofree char *text = NULL;

    if (strcmp (fields[i].key, "MESSAGE") != 0 || fields[i].length >= 0)
      continue;
    text = g_utf8_make_valid (fields[i].value, -1);
    for (char *p = text; *p != '\0'; p++)
      *p = g_ascii_iscntrl (*p) ? ' ' : *p;
    fprintf (stderr, "%s%s\n", level_of (flags, journal), text);
  }
  return G_LOG_WRITER_HANDLED;
}

/* ---- Settings ---------------------------------------------------------- */

static CameraConfig *
config_of_line (char **arguments, GError **error)
{
  CameraConfig *config = camera_config_new ("camera", arguments[0], arguments[1], error);
  gboolean ok;

  if (!config)
    return NULL;
  config->latency_ms = (guint)opt_latency;
  if (opt_latency < 0 || opt_latency > CAMERA_LATENCY_MAX_MS)
    ok = nat_error_set (error, NAT_ERROR_ARGUMENT, "--latency must be 0 to %d milliseconds.",
        CAMERA_LATENCY_MAX_MS);
  else
    ok = (!opt_transport || camera_config_set_transport (config, opt_transport, error)) &&
         (!opt_token_file || g_file_get_contents (opt_token_file, &config->token, NULL, error));
  if (!ok) {
    camera_config_free (config);
    return NULL;
  }
  if (config->token)
    g_strstrip (config->token);
  return config;
}

static GPtrArray *
load (int argc, char **argv, GError **error)
{
  GPtrArray *all;
  CameraConfig *config;

  if (opt_config && argc == 1)
    return camera_config_load (opt_config, error);
  if (opt_config || argc != 3) {
    g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
        "give the camera's address (rtsp://...) and the relay's (natrelay://...), or --config "
        "FILE; "
        "see --help");
    return NULL;
  }
  config = config_of_line (argv + 1, error);
  if (!config)
    return NULL;
  all = g_ptr_array_new_with_free_func ((GDestroyNotify)camera_config_free);
  g_ptr_array_add (all, config);
  return all;
}

static gboolean
parse (int *argc, char ***argv, GError **error)
{
  g_autoptr (GOptionContext) context =
      g_option_context_new ("[CAMERA RELAY] - pushes IP cameras to a natrelay relay");

  g_option_context_set_description (context,
      "Picture and sound go to the relay as they are. A camera that vanishes, and a relay that "
      "does, "
      "are tried again\nfor ever.\n\n"
      "  natrelay-camera rtsp://user:password@192.168.1.7/stream1 "
      "natrelay://relay.example.org/door\n\n"
      "Whoever may see the list of processes sees passwords in it: --config keeps them in a "
      "file.\n");
  setlocale (LC_CTYPE, "");
  g_option_context_add_main_entries (context, options, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  return g_option_context_parse (context, argc, argv, error);
}

/* ---- Running ----------------------------------------------------------- */

static gboolean
check_elements (GError **error)
{
  static const struct {
    const char *name, *where;
  } needed[] = {{"rtspsrc", "gstreamer1.0-plugins-good"},
      {"natrelaysink", "natrelay's plugin; GST_PLUGIN_PATH says where it is"}};

  for (guint i = 0; i < G_N_ELEMENTS (needed); i++) {
    GstElementFactory *factory = gst_element_factory_find (needed[i].name);

    if (!factory) {
      g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN,
          "GStreamer's element %s is missing (%s)", needed[i].name, needed[i].where);
      return FALSE;
    }
    gst_object_unref (factory);
  }
  return TRUE;
}

static void
on_over (gpointer user)
{
  Program *program = user;

  if (++program->n_over < program->cameras->len)
    return;
  program->code = EXIT_SUPERSEDED;
  g_main_loop_quit (program->loop);
}

static gboolean
on_stop (gpointer user)
{
  Program *program = user;

  signal (SIGTERM, SIG_DFL); /* whoever is in a hurry asks twice */
  signal (SIGINT, SIG_DFL);
  g_main_loop_quit (program->loop);
  return G_SOURCE_CONTINUE;
}

static guint
count_up (const GPtrArray *cameras)
{
  guint n = 0;

  for (guint i = 0; i < cameras->len; i++)
    n += !camera_is_down (cameras->pdata[i]);
  return n;
}

static gboolean
on_time_is_up (gpointer user)
{
  *(gboolean *)user = TRUE;
  return G_SOURCE_REMOVE;
}

static void
stop_all (const GPtrArray *cameras)
{
  gboolean late = FALSE;
  guint n, timer;

  for (guint i = 0; i < cameras->len; i++)
    camera_stop (cameras->pdata[i]);
  timer = g_timeout_add_seconds (STOP_S, on_time_is_up, &late);
  while ((n = count_up (cameras)) > 0 && !late)
    g_main_context_iteration (NULL, TRUE);
  if (!late)
    g_source_remove (timer);
  if (n > 0)
    g_warning ("%u of the cameras did not let go in %d s; ended all the same", n, STOP_S);
}

static int
run (const GPtrArray *configs)
{
  Program program = {g_main_loop_new (NULL, FALSE),
      g_ptr_array_new_with_free_func ((GDestroyNotify)camera_free), 0, EXIT_SUCCESS};

  g_unix_signal_add (SIGTERM, on_stop, &program);
  g_unix_signal_add (SIGINT, on_stop, &program);
  for (guint i = 0; i < configs->len; i++)
    g_ptr_array_add (program.cameras, camera_new (configs->pdata[i], on_over, &program));
  g_main_loop_run (program.loop);
  stop_all (program.cameras);
  g_ptr_array_unref (program.cameras);
  g_main_loop_unref (program.loop);
  return program.code;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) configs = NULL;

  g_set_prgname ("natrelay-camera");
  g_log_set_writer_func (write_log, NULL, NULL);
  if (!parse (&argc, &argv, &error)) {
    fprintf (stderr, "natrelay-camera: %s\n", error->message);
    return EXIT_FAILURE;
  }
  if (opt_version) {
    puts ("natrelay-camera " PACKAGE_VERSION);
    return EXIT_SUCCESS;
  }
  if (!check_elements (&error) || !(configs = load (argc, argv, &error))) {
    fprintf (stderr, "natrelay-camera: %s\n", error->message);
    return EXIT_FAILURE;
  }
  return run (configs);
}
