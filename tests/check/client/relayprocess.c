/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "relayprocess.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

static void
take_line (RelayProcess *r, const char *line)
{
  const char *value = strchr (line, '=');
  char **target = NULL;

  if (value == NULL)
    return;
  if (g_str_has_prefix (line, "listening=")) {
    char *colon = strrchr (line, ':');

    g_free (r->host);
    g_free (r->listen);
    r->host = g_strndup (value + 1, (gsize)(colon - value - 1));
    r->listen = g_strdup (value + 1);
    r->port = (guint16)g_ascii_strtoull (colon + 1, NULL, 10);
    if (*r->host == '[') { /* IPv6 without its brackets */
      memmove (r->host, r->host + 1, strlen (r->host));
      r->host[strlen (r->host) - 1] = '\0';
    }
  } else if (g_str_has_prefix (line, "tls-fingerprint="))
    target = &r->fingerprint;
  else if (g_str_has_prefix (line, "publish-token="))
    target = &r->publish_token;
  else if (g_str_has_prefix (line, "subscribe-token="))
    target = &r->subscribe_token;
  if (target != NULL) {
    g_free (*target);
    *target = g_strdup (value + 1);
  }
}

/* A test that fails leaves no relay behind. */
static void
end_with_test (gpointer user)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
}

static void
spawn (RelayProcess *r)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (
      G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE);
  GError *error = NULL;
  char *line;

  g_subprocess_launcher_set_child_setup (launcher, end_with_test, NULL, NULL);
  r->process = g_subprocess_launcher_spawn (launcher, &error, g_getenv ("NATRELAY_SERVER"),
      "--listen", r->listen, "--state-dir", r->state_dir, NULL);
  g_assert_no_error (error);
  r->out = g_data_input_stream_new (g_subprocess_get_stdout_pipe (r->process));
  do {
    line = g_data_input_stream_read_line (r->out, NULL, NULL, &error);
    g_assert_no_error (error);
    if (line == NULL)
      g_error ("the relay ended before it was ready");
    take_line (r, line);
    if (strcmp (line, "ready") == 0)
      break;
    g_free (line);
  } while (TRUE);
  g_free (line);
}

void
relay_process_start (RelayProcess *r)
{
  relay_process_start_at (r, "127.0.0.1:0");
}

void
relay_process_start_at (RelayProcess *r, const char *listen)
{
  GError *error = NULL;

  memset (r, 0, sizeof *r);
  r->listen = g_strdup (listen);
  g_assert_nonnull (g_getenv ("NATRELAY_SERVER"));
  r->state_dir = g_dir_make_tmp ("natrelay-client-XXXXXX", &error);
  g_assert_no_error (error);
  spawn (r);
}

static void
reap (RelayProcess *r)
{
  g_subprocess_wait (r->process, NULL, NULL);
  g_clear_object (&r->process);
  g_clear_object (&r->out);
}

void
relay_process_kill (RelayProcess *r)
{
  g_subprocess_send_signal (r->process, SIGKILL);
  reap (r);
}

void
relay_process_terminate (RelayProcess *r)
{
  g_subprocess_send_signal (r->process, SIGTERM);
  reap (r);
}

void
relay_process_restart (RelayProcess *r)
{
  spawn (r);
}

static void
remove_tree (const char *path)
{
  GDir *dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL) {
    g_autofree char *child = g_build_filename (path, name, NULL);

    remove_tree (child);
  }
  if (dir != NULL)
    g_dir_close (dir);
  g_remove (path);
}

void
relay_process_forget (RelayProcess *r)
{
  remove_tree (r->state_dir);
  g_assert_cmpint (g_mkdir (r->state_dir, 0700), ==, 0);
}

void
relay_process_clear (RelayProcess *r)
{
  if (r->process != NULL)
    relay_process_kill (r);
  remove_tree (r->state_dir);
  g_free (r->state_dir);
  g_free (r->listen);
  g_free (r->host);
  g_free (r->fingerprint);
  g_free (r->publish_token);
  g_free (r->subscribe_token);
}
