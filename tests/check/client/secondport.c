/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A relay whose port firewalls block is found at the second one; where it is only slow or away, it is
 * asked where it always was. */

#include <string.h>

#include "asker.h"
#include "blockedport.h"
#include "nameserver.h"

#define TIMEOUT_MS 60000 /* it ends a hang */
#define NOT_OURS                                                                                   \
  "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 5\r\n"                     \
  "Connection: close\r\n\r\nhello"

/* ---- Ports that lead nowhere ------------------------------------------- */

/* Nothing listens there. */
static guint16
closed_port (const Asker *a)
{
  HttpsServer *server = asker_relay (a);
  guint16 port = https_server_port (server);

  https_server_free (server);
  return port;
}

/* ---- Tests ------------------------------------------------------------- */

static void
assert_found (const Asker *a, guint16 port, guint16 other)
{
  g_assert_null (a->cause);
  g_assert_true (a->has_document);
  g_assert_cmpuint (a->remote.port, ==, port);
  g_assert_cmpuint (nat_negotiator_port (a->n, FALSE), ==, port);
  g_assert_cmpuint (nat_negotiator_port (a->n, TRUE), ==, other);
}

static void
test_refused (void)
{
  HttpsServer *server;
  guint16 port, second;
  Asker a;

  asker_init (&a);
  port = closed_port (&a);
  server = asker_relay (&a);
  second = https_server_port (server);
  asker_ask (&a, port, second, TIMEOUT_MS);
  assert_found (&a, second, port);
  /* There it is asked from now on. */
  asker_ask (&a, port, second, TIMEOUT_MS);
  assert_found (&a, second, port);
  g_assert_cmpuint (https_server_n_requests (server), ==, 2);
  asker_clear (&a);
  https_server_free (server);
}

static void
test_blocked (void)
{
  HttpsServer *server;
  BlockedPort blocked;
  gint64 begin;
  Asker a;

  asker_init (&a);
  server = asker_relay (&a);
  blocked_port_init (&blocked);
  begin = g_get_monotonic_time ();
  asker_ask (&a, blocked.port, https_server_port (server), TIMEOUT_MS);
  assert_found (&a, https_server_port (server), blocked.port);
  g_assert_cmpint (g_get_monotonic_time () - begin, >=, 500 * 1000); /* a quarter of the time */
  g_assert_cmpuint (https_server_n_requests (server), ==, 1);
  asker_clear (&a);
  blocked_port_clear (&blocked);
  https_server_free (server);
}

/* Firewalls that let every connection begin, and nothing in it go on. */
static void
test_hangs (void)
{
  HttpsServer *hangs, *server;
  Asker a;

  asker_init (&a);
  hangs = https_server_new (HTTPS_HANGS, NULL, a.pem);
  server = asker_relay (&a);
  asker_ask (&a, https_server_port (hangs), https_server_port (server), TIMEOUT_MS);
  assert_found (&a, https_server_port (server), https_server_port (hangs));
  g_assert_cmpuint (https_server_n_requests (server), ==, 1);
  asker_clear (&a);
  https_server_free (server);
  https_server_free (hangs);
}

/* That both ports hang is told of the URI's. */
static void
test_both_hang (void)
{
  HttpsServer *hangs, *too;
  Asker a;

  asker_init (&a);
  hangs = https_server_new (HTTPS_HANGS, NULL, a.pem);
  too = https_server_new (HTTPS_HANGS, NULL, a.pem);
  for (guint i = 0; i < 2; i++) {
    asker_ask (&a, https_server_port (hangs), https_server_port (too), 1600);
    g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_TIMEOUT);
    g_assert_nonnull (strstr (a.cause->text, "took the connection"));
  }
  asker_clear (&a);
  https_server_free (too);
  https_server_free (hangs);
}

/* A port that is only slow, while the other hangs. */
static void
test_slow (void)
{
  g_autofree char *text = https_session_answer (8443);
  HttpsServer *slow, *hangs;
  Asker a;

  asker_init (&a);
  slow = https_server_new (HTTPS_LATE, text, a.pem);
  hangs = https_server_new (HTTPS_HANGS, NULL, a.pem);
  asker_ask (&a, https_server_port (slow), https_server_port (hangs), TIMEOUT_MS);
  assert_found (&a, https_server_port (slow), https_server_port (hangs));
  g_assert_cmpuint (https_server_n_requests (slow), ==, 1);
  asker_clear (&a);
  https_server_free (hangs);
  https_server_free (slow);
}

/* Whoever has 443 there is not asked to explain the relay's absence, and is not where the relay is looked for again. */
static void
test_stranger (void)
{
  HttpsServer *stranger;
  BlockedPort blocked;
  guint16 port;
  Asker a;

  asker_init (&a);
  stranger = https_server_new (HTTPS_ANSWERS, NOT_OURS, a.pem);
  port = closed_port (&a);
  asker_ask (&a, port, https_server_port (stranger), TIMEOUT_MS);
  g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_UNREACHABLE);
  g_assert_nonnull (strstr (a.cause->text, "Nothing listens"));
  g_assert_cmpuint (https_server_n_requests (stranger), ==, 1);
  g_assert_cmpuint (nat_negotiator_port (a.n, FALSE), ==, port);
  asker_clear (&a);

  asker_init (&a);
  blocked_port_init (&blocked);
  asker_ask (&a, blocked.port, https_server_port (stranger), 4000);
  g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_TIMEOUT);
  g_assert_nonnull (strstr (a.cause->text, "443"));
  g_assert_cmpuint (nat_negotiator_port (a.n, FALSE), ==, blocked.port);
  asker_clear (&a);
  blocked_port_clear (&blocked);
  https_server_free (stranger);
}

/* Neither another certificate nor a second port that drops everything changes what is told. */
static void
test_nowhere (void)
{
  Asker a;
  BlockedPort blocked;
  HttpsServer *impostor;
  guint16 port;

  asker_init (&a);
  impostor = https_server_new (HTTPS_ANSWERS, NOT_OURS, NULL);
  port = closed_port (&a);
  asker_ask (&a, port, https_server_port (impostor), TIMEOUT_MS);
  g_assert_nonnull (strstr (a.cause->text, "Nothing listens"));
  g_assert_false (a.cause->final);
  g_assert_cmpuint (https_server_n_requests (impostor), ==, 0);
  asker_clear (&a);
  https_server_free (impostor);

  asker_init (&a);
  blocked_port_init (&blocked);
  asker_ask (&a, port, blocked.port, TIMEOUT_MS);
  g_assert_nonnull (strstr (a.cause->text, "Nothing listens"));
  asker_clear (&a);
  blocked_port_clear (&blocked);
}

/* A relay that was there is away, not blocked; unless that goes on. */
static void
test_away (void)
{
  HttpsServer *first, *second;
  guint16 port;
  Asker a;

  asker_init (&a);
  first = asker_relay (&a);
  second = asker_relay (&a);
  port = https_server_port (first);
  asker_ask (&a, port, https_server_port (second), TIMEOUT_MS);
  assert_found (&a, port, https_server_port (second));
  https_server_free (first);
  for (guint i = 0; i < 4; i++) {
    asker_ask (&a, port, https_server_port (second), TIMEOUT_MS);
    g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_UNREACHABLE);
  }
  g_assert_cmpuint (https_server_n_requests (second), ==, 0);
  asker_ask (&a, port, https_server_port (second), TIMEOUT_MS);
  assert_found (&a, https_server_port (second), port);
  asker_clear (&a);
  https_server_free (second);
}

/* In another network the port that worked may be blocked: it is not asked four times until that is thought of. */
static void
test_another_network (void)
{
  HttpsServer *first, *second;
  guint16 port;
  Asker a;

  asker_init (&a);
  first = asker_relay (&a);
  second = asker_relay (&a);
  port = https_server_port (first);
  asker_ask (&a, port, https_server_port (second), TIMEOUT_MS);
  assert_found (&a, port, https_server_port (second));
  https_server_free (first);
  nat_negotiator_network_changed (a.n);
  asker_ask (&a, port, https_server_port (second), TIMEOUT_MS);
  assert_found (&a, https_server_port (second), port);
  asker_clear (&a);
  https_server_free (second);
}

/* A proxy that only lets 443 through says no to the other. */
static void
test_proxy (void)
{
  HttpsServer *proxy = https_server_new (HTTPS_PROXY,
      "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", NULL);
  g_autofree char *request = NULL;
  Asker a;

  asker_init (&a);
  a.config.proxy = g_strdup_printf ("http://127.0.0.1:%u", https_server_port (proxy));
  asker_ask (&a, 8443, 443, TIMEOUT_MS);
  g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_PROXY);
  g_assert_nonnull (strstr (a.cause->text, "8443"));
  g_assert_cmpuint (https_server_n_requests (proxy), ==, 2);
  request = https_server_dup_request (proxy);
  g_assert_true (g_str_has_prefix (request, "CONNECT 127.0.0.1:443 "));
  asker_clear (&a);
  https_server_free (proxy);
}

/* What the name server takes is neither port's fault. */
static void
test_slow_name_server (void)
{
  HttpsServer *server;
  BlockedPort blocked;
  Asker a;

  asker_init (&a);
  g_free (a.config.host);
  a.config.host = g_strdup ("relay.test");
  server = asker_relay (&a);
  blocked_port_init (&blocked);
  name_server_begin ();
  name_server_say ("127.0.0.1", 2500);
  asker_ask (&a, blocked.port, https_server_port (server), TIMEOUT_MS);
  name_server_end ();
  assert_found (&a, https_server_port (server), blocked.port);
  asker_clear (&a);
  blocked_port_clear (&blocked);
  https_server_free (server);
}

/* A proxy that refuses the usual port at once, and has not yet led to the other: that is no refusal for good. The next time it
 * is given longer. */
static void
test_slow_proxy (void)
{
  HttpsServer *proxy = https_server_new (HTTPS_PROXY,
      "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", NULL);
  HttpsServer *server;
  Asker a;

  asker_init (&a);
  server = asker_relay (&a);
  https_server_let_through (proxy, https_server_port (server), 3000);
  a.config.proxy = g_strdup_printf ("http://127.0.0.1:%u", https_server_port (proxy));
  asker_ask (&a, 8443, https_server_port (server), TIMEOUT_MS);
  g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_PROXY);
  g_assert_false (a.cause->final);
  asker_ask (&a, 8443, https_server_port (server), TIMEOUT_MS);
  g_assert_null (a.cause);
  g_assert_true (a.has_document);
  g_assert_cmpuint (nat_negotiator_port (a.n, FALSE), ==, https_server_port (server));
  asker_clear (&a);
  https_server_free (proxy);
  https_server_free (server);
}

static void
test_cancel (void)
{
  BlockedPort blocked;
  HttpsServer *server;
  gint64 end;
  Asker a;

  /* Also when the first attempt was given up, and the second is under way. */
  for (guint i = 0; i < 4; i++) {
    asker_init (&a);
    blocked_port_init (&blocked);
    server = https_server_new (HTTPS_HANGS, NULL, a.pem);
    a.config.port = blocked.port;
    a.config.second_port = https_server_port (server);
    a.n = nat_negotiator_new (&a.config, NULL, NULL, &a.cause);
    nat_negotiator_send (a.n, NAT_REQUEST_OPEN, NULL, NULL, NULL, 200, asker_on_reply, &a);
    end = g_get_monotonic_time () + i * 25 * 1000;
    while (g_get_monotonic_time () < end)
      g_main_context_iteration (a.context, FALSE);
    nat_negotiator_cancel (a.n);
    while (nat_negotiator_n_pending (a.n) > 0)
      g_main_context_iteration (a.context, TRUE);
    g_assert_false (a.answered);
    asker_clear (&a);
    blocked_port_clear (&blocked);
    https_server_free (server);
  }
}

int
main (int argc, char **argv)
{
  https_forget_proxies ();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/secondport/refused", test_refused);
  g_test_add_func ("/secondport/blocked", test_blocked);
  g_test_add_func ("/secondport/hangs", test_hangs);
  g_test_add_func ("/secondport/both-hang", test_both_hang);
  g_test_add_func ("/secondport/slow", test_slow);
  g_test_add_func ("/secondport/stranger", test_stranger);
  g_test_add_func ("/secondport/nowhere", test_nowhere);
  g_test_add_func ("/secondport/away", test_away);
  g_test_add_func ("/secondport/another-network", test_another_network);
  g_test_add_func ("/secondport/proxy", test_proxy);
  g_test_add_func ("/secondport/slow-name-server", test_slow_name_server);
  g_test_add_func ("/secondport/slow-proxy", test_slow_proxy);
  g_test_add_func ("/secondport/cancel", test_cancel);
  return g_test_run ();
}
