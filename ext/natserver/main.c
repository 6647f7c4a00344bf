/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* natrelay-server: settings, signals and the main loop. What it does in between stands in relay.c. */

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <glib-unix.h>

#include <config.h>

#include "natserver/config.h"
#include "natserver/configdoc.h"
#include "natserver/confinement.h"
#include "natserver/credentials.h"
#include "natserver/notify.h"
#include "natserver/observe/log.h"
#include "natserver/permissions.h"
#include "natserver/relay.h"
#include "natserver/status/command.h"

#define MAPPED_FROM (128 * 1024) /* bytes; glibc's own, to begin with */

typedef struct {
  NatConfig config;
  int argc;
  char **argv;
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
reload (Program *program, GError **error)
{
  NatConfig *config = &program->config, fresh;
  g_autofree char *names = NULL;
  gboolean ok = nat_config_load (&fresh, program->argc, program->argv, error);

  if (ok) {
    names = nat_config_changed_start (config, &fresh);
    if (names)
      g_warning ("read at a start only, and so as before until the relay is restarted: %s", names);
    nat_config_swap_reloads (config, &fresh);
    ok = nat_relay_reload (program->relay, error);
    if (!ok)
      nat_config_swap_reloads (config, &fresh);
  }
  nat_config_clear (&fresh);
  nat_log_init (config->verbose);
  nat_log_set_audit (config->audit);
  return ok;
}

static gboolean
on_reload (gpointer user)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *reloading =
      g_strdup_printf ("RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time ());

  nat_notify (reloading);
  if (reload (user, &error))
    g_message ("settings, certificate and token keys were read anew");
  else
    g_warning ("all settings stay as they were: %s", error->message);
  nat_notify ("READY=1");
  return G_SOURCE_CONTINUE;
}

static void
on_drained (gpointer user)
{
  g_message ("the last session is over");
  on_stop (user);
}

static gboolean
on_drain (gpointer user)
{
  Program *program = user;

  g_message ("no new sessions from now on; the relay ends with the last one");
  nat_relay_drain (program->relay, on_drained, program);
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
run (Program *program, GError **error)
{
  gboolean ok = FALSE;

  if (!nat_confine (program->config.core_dumps))
    g_message ("this system lets no process refuse itself calls (seccomp): should the relay ever "
               "be taken over, "
               "it can start other programs");
  nat_log_begin_thread ();
  program->loop = g_main_loop_new (NULL, FALSE);
  program->relay = nat_relay_new (&program->config, error);
  if (program->relay != NULL) {
    g_unix_signal_add (SIGTERM, on_stop, program);
    g_unix_signal_add (SIGINT, on_stop, program);
    g_unix_signal_add (SIGHUP, on_reload, program);
    g_unix_signal_add (SIGUSR1, on_drain, program);
    ok = announce (program->relay, error);
    if (ok)
      g_main_loop_run (program->loop);
    nat_relay_free (program->relay);
  }
  g_main_loop_unref (program->loop);
  nat_log_end_thread ();
  return ok;
}

static gboolean
check (const NatConfig *config, GError **error)
{
  NatPermissions permissions = {NULL};
  gboolean ok = nat_credentials_check (config, error) &&
                nat_permissions_load (&permissions, config, NULL, error);

  nat_permissions_clear (&permissions);
  if (!ok)
    return FALSE;
  puts ("the settings are good");
  return TRUE;
}

static void
print_help (void)
{
  g_autofree char *help = nat_config_help ();

  fputs (help, stdout);
}

/* Tables grow, move and are thrown away for months. Left to itself, glibc raises the size from which a
 * block has a mapping of its own with each such block that is freed, and then keeps them in heaps that
 * never shrink again. */
static void
give_memory_back (void)
{
#ifdef M_MMAP_THRESHOLD
  mallopt (M_MMAP_THRESHOLD, MAPPED_FROM);
  mallopt (M_TRIM_THRESHOLD, 4 * MAPPED_FROM);
#endif
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  Program program = {.argc = argc, .argv = argv};
  const NatConfig *config = &program.config;
  gboolean ok;

  give_memory_back ();
  signal (SIGPIPE, SIG_IGN);
  signal (
      SIGXFSZ, SIG_IGN); /* as on a full disk: what cannot be written is said, and tried again */
  if (argc > 1 && strcmp (argv[1], "status") == 0)
    return nat_status_command (argc - 1, argv + 1);
  ok = nat_config_load (&program.config, argc, argv, &error);
  nat_log_init (config->verbose);
  nat_log_set_audit (config->audit);
  if (ok && config->help)
    print_help ();
  else if (ok && config->version)
    puts ("natrelay-server " PACKAGE_VERSION);
  else if (ok && config->check)
    ok = check (config, &error);
  else if (ok)
    ok = run (&program, &error);
  if (!ok)
    nat_log_error (error->message);
  nat_config_clear (&program.config);
  return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
