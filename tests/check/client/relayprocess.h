/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A real natrelay-server as a child, with a state directory that ends with it. */

#include <gio/gio.h>

typedef struct {
  GSubprocess *process;
  GDataInputStream *out;
  char *state_dir;
  char *listen; /* address and port, kept over restarts */
  char *host;
  guint16 port;
  char *fingerprint, *publish_token, *subscribe_token;
} RelayProcess;

/* NATRELAY_SERVER in the environment is the program. */
void relay_process_start (RelayProcess *r); /* at 127.0.0.1 and a free port */
void relay_process_start_at (RelayProcess *r, const char *listen);
void relay_process_kill (RelayProcess *r);      /* with SIGKILL */
void relay_process_terminate (RelayProcess *r); /* with SIGTERM; waits */
void relay_process_restart (RelayProcess *r);   /* same port, same state; to be killed first */
void relay_process_clear (RelayProcess *r);
/* Forgets what the state directory holds. */
void relay_process_forget (RelayProcess *r);
