/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "asker.h"

#include <string.h>

HttpsServer *
asker_relay (const Asker *a)
{
  g_autofree char *text = https_session_answer (8443);

  return https_server_new (HTTPS_ANSWERS, text, a->pem);
}

void
asker_init (Asker *a)
{
  HttpsServer *server;

  memset (a, 0, sizeof *a);
  a->context = g_main_context_new ();
  g_main_context_push_thread_default (a->context);
  a->pem = https_make_certificate (FALSE);
  nat_session_config_init (&a->config);
  a->config.host = g_strdup ("127.0.0.1");
  a->config.stream = g_strdup ("house/door");
  server = asker_relay (a);
  a->config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  https_server_free (server);
}

void
asker_clear (Asker *a)
{
  nat_negotiator_free (a->n);
  while (g_main_context_iteration (a->context, FALSE))
    ;
  g_main_context_pop_thread_default (a->context);
  g_main_context_unref (a->context);
  nat_session_config_clear (&a->config);
  nat_cause_free (a->cause);
  g_free (a->pem);
}

void
asker_on_reply (NatReply *reply, gpointer user)
{
  Asker *a = user;

  g_assert_false (a->answered);
  a->answered = TRUE;
  a->has_document = reply->document != NULL;
  a->cause = g_steal_pointer (&reply->cause);
  a->remote = reply->remote;
}

static void
ask (Asker *a, NatRequestKind kind, guint timeout_ms)
{
  a->answered = FALSE;
  g_clear_pointer (&a->cause, nat_cause_free);
  nat_negotiator_send (a->n, kind, kind == NAT_REQUEST_OPEN ? NULL : HTTPS_SESSION, NULL, "token",
      timeout_ms, asker_on_reply, a);
  while (!a->answered || nat_negotiator_n_pending (a->n) > 0)
    g_main_context_iteration (a->context, TRUE);
}

void
asker_fetch (Asker *a, guint timeout_ms)
{
  ask (a, NAT_REQUEST_FETCH, timeout_ms);
}

void
asker_ask (Asker *a, guint16 port, guint16 second_port, guint timeout_ms)
{
  NatCause *cause = NULL;

  a->config.port = port;
  a->config.second_port = second_port;
  if (a->n == NULL)
    a->n = nat_negotiator_new (&a->config, NULL, NULL, &cause);
  g_assert_nonnull (a->n);
  ask (a, NAT_REQUEST_OPEN, timeout_ms);
}
