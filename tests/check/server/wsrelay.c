/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "wsrelay.h"

#include <gio/gio.h>
#include <glib/gstdio.h>

#include "natserver/control/httplisten.h"
#include "natserver/control/upgrade.h"

static void
answer (const NatHttpRequest *request, NatHttpResponse *response, gpointer user)
{
  nat_upgrade_answer (request, response, nat_ws_server_has_room (((WsRelay *)user)->server));
}

static gpointer
run_control (gpointer user)
{
  g_main_loop_run (((WsRelay *)user)->loop);
  return NULL;
}

static NatTlsIdentity *
make_identity (void)
{
  g_autofree char *dir = g_dir_make_tmp ("natrelay-XXXXXX", NULL);
  g_autofree char *certificate = g_build_filename (dir, "certificate.pem", NULL);
  g_autofree char *key = g_build_filename (dir, "key.pem", NULL);
  g_autofree char *certificate_pem = NULL;
  g_autofree char *key_pem = NULL;
  NatTlsIdentity *identity;

  g_assert_true (nat_tls_make_self_signed (
      "localhost", NULL, g_get_real_time () / G_USEC_PER_SEC, &certificate_pem, &key_pem, NULL));
  g_assert_true (g_file_set_contents (certificate, certificate_pem, -1, NULL));
  g_assert_true (g_file_set_contents (key, key_pem, -1, NULL));
  identity = nat_tls_identity_load (certificate, key, NULL);
  g_assert_nonnull (identity);
  g_unlink (certificate);
  g_unlink (key);
  g_rmdir (dir);
  return identity;
}

void
ws_relay_start (WsRelay *f, const NatWsLimits *limits)
{
  NatHttpLimits http = {1000, 1000, 1000, 20000, 5000, NULL};
  g_autoptr (GError) error = NULL;
  NatAddress any;
  int fd;

  f->r = data_relay_new ("127.0.0.1", FALSE, NULL);
  f->identity = make_identity ();
  f->http = nat_http_server_new (&http, f->identity, answer, f);
  f->server = nat_ws_server_new (limits, nat_dataplane_tunnel (f->r->dp), &error);
  g_assert_no_error (error);
  f->counters = nat_ws_server_counters (f->server);
  nat_http_server_set_taker (f->http, nat_ws_server_take, f->server);
  g_assert_true (nat_address_from_text (&any, "127.0.0.1", 0));
  fd = nat_http_bind (&any, &f->address, &error);
  g_assert_no_error (error);
  g_assert_true (nat_http_server_listen (f->http, fd, &error));
  f->loop = g_main_loop_new (NULL, FALSE);
  f->thread = g_thread_new ("control", run_control, f);
}

static gboolean
quit (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

void
ws_relay_stop (WsRelay *f)
{
  g_idle_add (quit, f->loop);
  g_thread_join (f->thread);
  g_main_loop_unref (f->loop);
  nat_dataplane_stop (f->r->dp, NAT_REASON_GOING_AWAY);
  if (f->server)
    nat_ws_server_free (f->server);
  nat_http_server_free (f->http);
  nat_tls_identity_unref (f->identity);
  data_relay_free (f->r);
}

NatProbe *
ws_relay_register (WsRelay *f, NatProbe *p, NatTicket *ticket)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatEvent event;

  g_assert_true (nat_dataplane_add_session (f->r->dp, ticket, c, NULL));
  nat_session_counters_unref (c);
  nat_probe_set_ticket (p, f->r->secrets, ticket);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (data_relay_event (f->r, NAT_EVENT_REGISTERED, &event, NAT_PROBE_WAIT_MS));
  return p;
}
