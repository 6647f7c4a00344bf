/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelay-server: settings, signals and the main loop. What it does in between stands in relay.c. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <glib-unix.h>

#include <config.h>

#include "natserver/config.h"
#include "natserver/notify.h"
#include "natserver/observe/log.h"
#include "natserver/relay.h"

typedef struct {
  NatRelay *relay;
  GMainLoop *loop;
} Program;

static gboolean
on_stop (gpointer user)
{
  Program *program = user;

  /* Whoever is in a hurry asks twice: the second signal then ends the process at once. */
  signal (SIGTERM, SIG_DFL);
  signal (SIGINT, SIG_DFL);
  nat_notify ("STOPPING=1");
  g_message ("stopping");
  nat_relay_stop (program->relay);
  g_main_loop_quit (program->loop);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_reload (gpointer user)
{
  Program *program = user;
  g_autoptr (GError) error = NULL;
  g_autofree char *reloading =
      g_strdup_printf ("RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time ());

  nat_notify (reloading);
  if (nat_relay_reload (program->relay, &error))
    g_message ("certificate and token keys were read anew");
  else
    g_warning ("certificate and token keys stay as they were: %s", error->message);
  nat_notify ("READY=1");
  return G_SOURCE_CONTINUE;
}

/* On a terminal, or for a script. A journal keeps what it gets for many eyes: no tokens there. */
static gboolean
announce (NatRelay *relay, GError **error)
{
  setvbuf (stdout, NULL, _IOLBF, 0);
  if (!nat_relay_print (relay, stdout, !nat_log_is_journal (STDOUT_FILENO), error))
    return FALSE;
  printf ("ready\n");
  nat_notify ("READY=1");
  return TRUE;
}

static gboolean
run (const NatConfig *config, GError **error)
{
  Program program = {NULL, g_main_loop_new (NULL, FALSE)};
  gboolean ok = FALSE;

  program.relay = nat_relay_new (config, error);
  if (program.relay != NULL) {
    g_unix_signal_add (SIGTERM, on_stop, &program);
    g_unix_signal_add (SIGINT, on_stop, &program);
    g_unix_signal_add (SIGHUP, on_reload, &program);
    ok = announce (program.relay, error);
    if (ok)
      g_main_loop_run (program.loop);
    nat_relay_free (program.relay);
  }
  g_main_loop_unref (program.loop);
  return ok;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *help = NULL;
  NatConfig config;
  gboolean ok;

  signal (SIGPIPE, SIG_IGN);
  ok = nat_config_load (&config, argc, argv, &error);
  nat_log_init (config.verbose);
  if (ok && config.help) {
    help = nat_config_help ();
    fputs (help, stdout);
  } else if (ok && config.version) {
    puts ("natrelay-server " PACKAGE_VERSION);
  } else if (ok) {
    ok = run (&config, &error);
  }
  if (!ok)
    nat_log_error (error->message);
  nat_config_clear (&config);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
