/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A relay whose port firewalls block is found at the second one; where it is only slow or away, it is
 * asked where it always was. */

#include <string.h>

#include "httpsserver.h"
#include "natclient/negotiator.h"

#define NOT_OURS                                                                                   \
  "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 5\r\n"                     \
  "Connection: close\r\n\r\nhello"

typedef struct {
  GMainContext *context;
  NatSessionConfig config;
  NatNegotiator *n;
  char *pem;
  /* The last answer. */
  gboolean answered, has_document;
  NatCause *cause;
  NatAddress remote;
} Asker;

static HttpsServer *
relay (const Asker *a)
{
  g_autofree char *text = https_session_answer (8443);

  return https_server_new (HTTPS_ANSWERS, text, a->pem);
}

static void
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
  server = relay (a);
  a->config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  https_server_free (server);
}

static void
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

static void
on_reply (NatReply *reply, gpointer user)
{
  Asker *a = user;

  g_assert_false (a->answered);
  a->answered = TRUE;
  a->has_document = reply->document != NULL;
  a->cause = g_steal_pointer (&reply->cause);
  a->remote = reply->remote;
}

static void
ask (Asker *a, guint16 port, guint16 second_port, guint timeout_ms)
{
  NatCause *cause = NULL;

  a->config.port = port;
  a->config.second_port = second_port;
  if (a->n == NULL)
    a->n = nat_negotiator_new (&a->config, NULL, NULL, &cause);
  g_assert_nonnull (a->n);
  a->answered = FALSE;
  g_clear_pointer (&a->cause, nat_cause_free);
  nat_negotiator_send (a->n, NAT_REQUEST_OPEN, NULL, NULL, "token", timeout_ms, on_reply, a);
  while (!a->answered || nat_negotiator_n_pending (a->n) > 0)
    g_main_context_iteration (a->context, TRUE);
}

/* ---- Ports that lead nowhere ------------------------------------------- */

/* Nothing listens there. */
static guint16
closed_port (const Asker *a)
{
  HttpsServer *server = relay (a);
  guint16 port = https_server_port (server);

  https_server_free (server);
  return port;
}

/* Its queue is full, so that the system drops who wants to connect, as a firewall does. */
typedef struct {
  GSocket *listener;
  GSocket *callers[8];
  guint16 port;
} Blocked;

static void
blocked_init (Blocked *b)
{
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new_from_string ("127.0.0.1", 0);
  g_autoptr (GSocketAddress) here = NULL;

  b->listener =
      g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
  g_assert_true (g_socket_bind (b->listener, any, FALSE, NULL));
  g_socket_set_listen_backlog (b->listener, 0);
  g_assert_true (g_socket_listen (b->listener, NULL));
  here = g_socket_get_local_address (b->listener, NULL);
  b->port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (here));
  for (guint i = 0; i < G_N_ELEMENTS (b->callers); i++) {
    b->callers[i] =
        g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
    g_socket_set_blocking (b->callers[i], FALSE);
    g_socket_connect (b->callers[i], here, NULL, NULL);
  }
}

static void
blocked_clear (Blocked *b)
{
  for (guint i = 0; i < G_N_ELEMENTS (b->callers); i++)
    g_object_unref (b->callers[i]);
  g_object_unref (b->listener);
}

/* ---- A name server that takes its time --------------------------------- */

#define SLOW_MS 2500
#define NAME    "relay.test"

typedef struct {
  GResolver parent;
} SlowResolver;
typedef struct {
  GResolverClass parent;
} SlowResolverClass;
static GType slow_resolver_get_type (void);
G_DEFINE_TYPE (SlowResolver, slow_resolver, G_TYPE_RESOLVER)

static void
free_addresses (gpointer list)
{
  g_resolver_free_addresses (list);
}

static gboolean
on_found (gpointer user)
{
  GInetAddress *address = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);

  g_task_return_pointer (user, g_list_prepend (NULL, address), free_addresses);
  return G_SOURCE_REMOVE;
}

static void
look_up (GResolver *resolver, const gchar *name, GResolverNameLookupFlags flags,
    GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user)
{
  GTask *task = g_task_new (resolver, cancellable, callback, user);
  GSource *timer = g_timeout_source_new (SLOW_MS);

  g_assert_cmpstr (name, ==, NAME);
  if (flags & G_RESOLVER_NAME_LOOKUP_FLAGS_IPV6_ONLY) {
    g_task_return_new_error (task, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND, "no IPv6");
    g_object_unref (task);
  } else {
    g_source_set_callback (timer, on_found, task, g_object_unref);
    g_source_attach (timer, g_main_context_get_thread_default ());
  }
  g_source_unref (timer);
}

static GList *
found (GResolver *resolver, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
slow_resolver_class_init (SlowResolverClass *klass)
{
  G_RESOLVER_CLASS (klass)->lookup_by_name_with_flags_async = look_up;
  G_RESOLVER_CLASS (klass)->lookup_by_name_with_flags_finish = found;
}

static void
slow_resolver_init (SlowResolver *self)
{
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
  server = relay (&a);
  second = https_server_port (server);
  ask (&a, port, second, 10000);
  assert_found (&a, second, port);
  /* There it is asked from now on. */
  ask (&a, port, second, 10000);
  assert_found (&a, second, port);
  g_assert_cmpuint (https_server_n_requests (server), ==, 2);
  asker_clear (&a);
  https_server_free (server);
}

static void
test_blocked (void)
{
  HttpsServer *server;
  Blocked blocked;
  gint64 begin;
  Asker a;

  asker_init (&a);
  server = relay (&a);
  blocked_init (&blocked);
  begin = g_get_monotonic_time ();
  ask (&a, blocked.port, https_server_port (server), 2000);
  assert_found (&a, https_server_port (server), blocked.port);
  g_assert_cmpint (g_get_monotonic_time () - begin, >=, 500 * 1000); /* a quarter of the time */
  g_assert_cmpuint (https_server_n_requests (server), ==, 1);
  asker_clear (&a);
  blocked_clear (&blocked);
  https_server_free (server);
}

/* Whoever has 443 there is not asked to explain the relay's absence, and is not where the relay is looked for again. */
static void
test_stranger (void)
{
  HttpsServer *stranger;
  Blocked blocked;
  guint16 port;
  Asker a;

  asker_init (&a);
  stranger = https_server_new (HTTPS_ANSWERS, NOT_OURS, a.pem);
  port = closed_port (&a);
  ask (&a, port, https_server_port (stranger), 10000);
  g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_UNREACHABLE);
  g_assert_nonnull (strstr (a.cause->text, "Nothing listens"));
  g_assert_cmpuint (https_server_n_requests (stranger), ==, 1);
  g_assert_cmpuint (nat_negotiator_port (a.n, FALSE), ==, port);
  asker_clear (&a);

  asker_init (&a);
  blocked_init (&blocked);
  ask (&a, blocked.port, https_server_port (stranger), 800);
  g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_TIMEOUT);
  g_assert_nonnull (strstr (a.cause->text, "443"));
  g_assert_cmpuint (nat_negotiator_port (a.n, FALSE), ==, blocked.port);
  asker_clear (&a);
  blocked_clear (&blocked);
  https_server_free (stranger);
}

/* Neither another certificate nor a second port that drops everything changes what is told. */
static void
test_nowhere (void)
{
  Asker a;
  Blocked blocked;
  HttpsServer *impostor;
  guint16 port;

  asker_init (&a);
  impostor = https_server_new (HTTPS_ANSWERS, NOT_OURS, NULL);
  port = closed_port (&a);
  ask (&a, port, https_server_port (impostor), 10000);
  g_assert_nonnull (strstr (a.cause->text, "Nothing listens"));
  g_assert_false (a.cause->final);
  g_assert_cmpuint (https_server_n_requests (impostor), ==, 0);
  asker_clear (&a);
  https_server_free (impostor);

  asker_init (&a);
  blocked_init (&blocked);
  ask (&a, port, blocked.port, 600);
  g_assert_nonnull (strstr (a.cause->text, "Nothing listens"));
  asker_clear (&a);
  blocked_clear (&blocked);
}

/* A relay that was there is away, not blocked; unless that goes on. */
static void
test_away (void)
{
  HttpsServer *first, *second;
  guint16 port;
  Asker a;

  asker_init (&a);
  first = relay (&a);
  second = relay (&a);
  port = https_server_port (first);
  ask (&a, port, https_server_port (second), 10000);
  assert_found (&a, port, https_server_port (second));
  https_server_free (first);
  for (guint i = 0; i < 4; i++) {
    ask (&a, port, https_server_port (second), 10000);
    g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_UNREACHABLE);
  }
  g_assert_cmpuint (https_server_n_requests (second), ==, 0);
  ask (&a, port, https_server_port (second), 10000);
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
  ask (&a, 8443, 443, 10000);
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
  g_autoptr (GResolver) usual = g_resolver_get_default ();
  g_autoptr (GResolver) slow = g_object_new (slow_resolver_get_type (), NULL);
  HttpsServer *server;
  Blocked blocked;
  Asker a;

  asker_init (&a);
  g_free (a.config.host);
  a.config.host = g_strdup (NAME);
  server = relay (&a);
  blocked_init (&blocked);
  g_resolver_set_default (slow);
  ask (&a, blocked.port, https_server_port (server), 15000);
  g_resolver_set_default (usual);
  assert_found (&a, https_server_port (server), blocked.port);
  asker_clear (&a);
  blocked_clear (&blocked);
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
  server = relay (&a);
  https_server_let_through (proxy, https_server_port (server), 3000);
  a.config.proxy = g_strdup_printf ("http://127.0.0.1:%u", https_server_port (proxy));
  ask (&a, 8443, https_server_port (server), 15000);
  g_assert_cmpint (a.cause->kind, ==, NAT_CAUSE_PROXY);
  g_assert_false (a.cause->final);
  ask (&a, 8443, https_server_port (server), 15000);
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
  Blocked blocked;
  HttpsServer *server;
  gint64 end;
  Asker a;

  /* Also when the first attempt was given up, and the second is under way. */
  for (guint i = 0; i < 4; i++) {
    asker_init (&a);
    blocked_init (&blocked);
    server = https_server_new (HTTPS_HANGS, NULL, a.pem);
    a.config.port = blocked.port;
    a.config.second_port = https_server_port (server);
    a.n = nat_negotiator_new (&a.config, NULL, NULL, &a.cause);
    nat_negotiator_send (a.n, NAT_REQUEST_OPEN, NULL, NULL, NULL, 200, on_reply, &a);
    end = g_get_monotonic_time () + i * 25 * 1000;
    while (g_get_monotonic_time () < end)
      g_main_context_iteration (a.context, FALSE);
    nat_negotiator_cancel (a.n);
    while (nat_negotiator_n_pending (a.n) > 0)
      g_main_context_iteration (a.context, TRUE);
    g_assert_false (a.answered);
    asker_clear (&a);
    blocked_clear (&blocked);
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
  g_test_add_func ("/secondport/stranger", test_stranger);
  g_test_add_func ("/secondport/nowhere", test_nowhere);
  g_test_add_func ("/secondport/away", test_away);
  g_test_add_func ("/secondport/proxy", test_proxy);
  g_test_add_func ("/secondport/slow-name-server", test_slow_name_server);
  g_test_add_func ("/secondport/slow-proxy", test_slow_proxy);
  g_test_add_func ("/secondport/cancel", test_cancel);
  return g_test_run ();
}
