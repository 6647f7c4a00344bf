/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A session that meets what can go wrong: which state it goes to, whether it tries again, and what
 * it tells a person. */

#include "watcher.h"

#include <stdlib.h>
#include <string.h>

#include "httpsserver.h"
#include "natproto/token.h"

#define SOON  60000 /* ms */
#define TRIES 5     /* of what a busy machine can make slow */

static const char *program; /* this one */

static void
point_at (Watcher *w, const char *host, guint16 port)
{
  g_free (w->config.host);
  w->config.host = g_strdup (host);
  w->config.port = port;
}

static void
start_at (Watcher *w, const char *host, guint16 port)
{
  watcher_init (w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (w, host, port);
  watcher_start (w);
}

static guint16
closed_port (void)
{
  HttpsServer *server = https_server_new (HTTPS_CLOSES, NULL, NULL);
  guint16 port = https_server_port (server);

  https_server_free (server);
  return port;
}

static gboolean
failed_thrice (Watcher *w)
{
  return w->cause != NULL && w->cause->attempt >= 3;
}

/* A cause that can pass: tried again and again, and the waits are told. */
static void
assert_goes_on (Watcher *w, NatCauseKind kind)
{
  NatSessionStats stats;

  g_assert_true (watcher_wait_cause (w, kind, SOON));
  g_assert_true (watcher_wait (w, failed_thrice, SOON));
  g_mutex_lock (&w->lock);
  g_assert_cmpint (w->cause->kind, ==, kind);
  g_assert_false (w->cause->final);
  g_assert_cmpuint (w->cause->retry_ms, >, 0);
  g_assert_null (strstr (w->states->str, "failed"));
  g_mutex_unlock (&w->lock);
  nat_session_get_stats (w->session, &stats);
  g_assert_cmpuint (stats.attempts, >=, 3);
  g_assert_cmpint (stats.last_cause->kind, ==, kind);
  nat_session_stats_clear (&stats);
}

static void
assert_gives_up (Watcher *w, NatCauseKind kind)
{
  g_assert_true (watcher_wait_state (w, NAT_SESSION_FAILED, SOON));
  g_mutex_lock (&w->lock);
  g_assert_cmpint (w->cause->kind, ==, kind);
  g_assert_true (w->cause->final);
  g_assert_cmpuint (w->cause->retry_ms, ==, 0);
  g_mutex_unlock (&w->lock);
}

/* ---- HTTPS ------------------------------------------------------------- */

static void
test_unknown_host (void)
{
  Watcher w;

  start_at (&w, "relay.invalid", 8443);
  assert_goes_on (&w, NAT_CAUSE_UNKNOWN_HOST);
  watcher_clear (&w);
}

static void
test_refused_port (void)
{
  Watcher w;

  start_at (&w, "127.0.0.1", closed_port ());
  assert_goes_on (&w, NAT_CAUSE_UNREACHABLE);
  watcher_clear (&w);
}

static void
test_never_answers (void)
{
  HttpsServer *server = https_server_new (HTTPS_HANGS, NULL, NULL);
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", https_server_port (server));
  w.config.timeout_ms = 200;
  watcher_start (&w);
  assert_goes_on (&w, NAT_CAUSE_TIMEOUT);
  watcher_clear (&w);
  https_server_free (server);
}

static void
test_html (void)
{
  HttpsServer *server = https_server_new (HTTPS_ANSWERS,
      "HTTP/1.1 500 Oh\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>",
      NULL);
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", https_server_port (server));
  w.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  watcher_start (&w);
  assert_goes_on (&w, NAT_CAUSE_PROXY);
  watcher_clear (&w);
  https_server_free (server);
}

static void
test_bad_fingerprint (void)
{
  RelayProcess relay;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  w.config.tls_fingerprint[0] = w.config.tls_fingerprint[0] == '0' ? '1' : '0';
  watcher_start (&w);
  assert_gives_up (&w, NAT_CAUSE_TLS);
  g_assert_nonnull (strstr (w.cause->text, relay.fingerprint));
  g_assert_cmpuint (w.accept_calls, ==, 0);
  watcher_clear (&w);
  relay_process_clear (&relay);
}

static void
test_untrusted (void)
{
  RelayProcess relay;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  g_clear_pointer (&w.config.tls_fingerprint, g_free);
  watcher_start (&w);
  assert_gives_up (&w, NAT_CAUSE_TLS);
  g_assert_nonnull (strstr (w.cause->text, relay.fingerprint));
  g_assert_cmpuint (w.accept_calls, ==, 1);
  watcher_clear (&w);
  relay_process_clear (&relay);
}

static void
test_retry_after (void)
{
  HttpsServer *server = https_server_new (HTTPS_ANSWERS,
      "HTTP/1.1 429 No\r\nContent-Type: application/problem+json\r\nRetry-After: 7\r\n\r\n"
      "{\"type\":\"about:blank\",\"title\":\"Too many\",\"status\":429,\"detail\":\"Wait.\"}",
      NULL);
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", https_server_port (server));
  w.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  watcher_start (&w);
  g_assert_true (watcher_wait_cause (&w, NAT_CAUSE_SERVER, SOON));
  g_assert_cmpuint (w.cause->retry_ms, ==, 7000);
  watcher_clear (&w);
  https_server_free (server);
}

static gboolean
failed_twice (Watcher *w)
{
  return w->cause != NULL && w->cause->kind == NAT_CAUSE_TLS && w->cause->attempt >= 3;
}

/* In the middle of a session a login page takes the relay's place, and shows its own certificate, until somebody has
 * logged in. */
static void
test_portal (void)
{
  RelayProcess relay;
  HttpsServer *portal;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  w.config.transport = NAT_TRANSPORT_CHOICE_UDP;
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  relay_process_terminate (&relay);
  portal = https_server_new_on ("127.0.0.1", relay.port, HTTPS_ANSWERS,
      "HTTP/1.1 302 Found\r\nLocation: https://portal.example/\r\nContent-Length: 0\r\n\r\n", NULL);
  g_assert_true (watcher_wait (&w, failed_twice, SOON));
  g_assert_null (strstr (w.states->str, "failed"));
  https_server_free (portal);
  relay_process_restart (&relay);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  watcher_clear (&w);
  relay_process_clear (&relay);
}

/* It is the proxy that is not there, whatever there is of the relay; and what he is told has no password. */
static void
assert_misses_proxy (const char *host, guint16 port)
{
  g_autofree char *where = g_strdup_printf ("The proxy %s:%u, ", host, port);
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", 8443);
  w.config.proxy = g_strdup_printf ("http://me:secret@%s:%u", host, port);
  watcher_start (&w);
  assert_goes_on (&w, NAT_CAUSE_PROXY);
  g_assert_true (g_str_has_prefix (w.cause->text, where));
  g_assert_null (strstr (w.cause->text, "secret"));
  watcher_clear (&w);
}

static void
test_absent_proxy (void)
{
  assert_misses_proxy ("127.0.0.1", closed_port ());
  assert_misses_proxy ("proxy.invalid", 3128);
}

static guint expected; /* serial */

static gboolean
is_described (Watcher *w)
{
  return w->described >= expected;
}

/* The proxy wants nobody for a while. What the relay is to be told meanwhile, it is told after. */
static void
test_proxy_for_a_while (void)
{
  HttpsServer *proxy = https_server_new (HTTPS_PROXY, NULL, NULL);
  NatDescription d = {(char *)WATCHER_SDP "a=sendonly\r\n"};
  RelayProcess relay;
  guint before;
  gint64 end;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  w.config.transport = NAT_TRANSPORT_CHOICE_UDP;
  w.config.proxy = g_strdup_printf ("http://127.0.0.1:%u", https_server_port (proxy));
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  before = https_server_n_requests (proxy);
  https_server_set_answer (proxy,
      "HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n");
  expected = nat_session_set_description (w.session, &d);
  end = g_get_monotonic_time () + SOON * 1000;
  while (https_server_n_requests (proxy) < before + 2 && g_get_monotonic_time () < end)
    g_usleep (5000);
  g_assert_cmpuint (https_server_n_requests (proxy), >=, before + 2);
  g_assert_cmpuint (w.described, <, expected);
  https_server_set_answer (proxy, NULL);
  g_assert_true (watcher_wait (&w, is_described, SOON));
  watcher_clear (&w);
  relay_process_clear (&relay);
  https_server_free (proxy);
}

/* ---- How often --------------------------------------------------------- */

static void
test_no_reconnect (void)
{
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", closed_port ());
  w.config.auto_reconnect = FALSE;
  watcher_start (&w);
  assert_gives_up (&w, NAT_CAUSE_UNREACHABLE);
  g_assert_cmpuint (w.cause->attempt, ==, 1);
  watcher_clear (&w);
}

static void
test_retries (void)
{
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", closed_port ());
  w.config.retries = 2;
  watcher_start (&w);
  assert_gives_up (&w, NAT_CAUSE_UNREACHABLE);
  g_assert_cmpuint (w.cause->attempt, ==, 3);
  g_assert_cmpstr (
      w.states->str, ==, "negotiating waiting negotiating waiting negotiating failed ");
  watcher_clear (&w);
}

/* ---- UDP --------------------------------------------------------------- */

static GSocket *
udp_socket (guint16 *port)
{
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new_from_string ("127.0.0.1", 0);
  g_autoptr (GSocketAddress) got = NULL;
  GSocket *socket =
      g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);

  g_assert_true (g_socket_bind (socket, any, FALSE, NULL));
  got = g_socket_get_local_address (socket, NULL);
  *port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (got));
  return socket;
}

static gboolean
challenges_again (Watcher *w)
{
  return g_str_has_prefix (
      w->states->str, "negotiating challenging waiting negotiating challenging ");
}

static void
test_no_udp (void)
{
  guint16 port;
  GSocket *hole = udp_socket (&port);
  g_autofree char *text = https_session_answer (port);
  HttpsServer *server = https_server_new (HTTPS_ANSWERS, text, NULL);
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", https_server_port (server));
  w.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  w.config.timeout_ms = 4000; /* also of HTTPS, which a busy machine holds up */
  watcher_start (&w);
  g_assert_true (watcher_wait_cause (&w, NAT_CAUSE_NO_UDP, SOON));
  g_assert_nonnull (strstr (w.cause->text, "UDP port"));
  g_assert_false (w.cause->final);
  g_assert_true (watcher_wait (&w, challenges_again, SOON));
  watcher_clear (&w);
  https_server_free (server);
  g_object_unref (hole);
}

static void
test_bind (void)
{
  guint16 port;
  GSocket *taken = udp_socket (&port);
  RelayProcess relay;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  w.config.transport = NAT_TRANSPORT_CHOICE_UDP; /* on a busy machine a WebSocket may be quicker */
  w.config.bind_port = port;
  watcher_start (&w);
  g_assert_true (watcher_wait_cause (&w, NAT_CAUSE_SOCKET, SOON));
  g_assert_nonnull (strstr (w.cause->text, "bind-port"));
  g_object_unref (taken); /* and it is free again */
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  {
    NatSessionStats stats;

    nat_session_get_stats (w.session, &stats);
    g_assert_cmpuint (stats.local.port, ==, port);
    g_assert_cmpuint (stats.mapped.port, ==, port);
    nat_session_stats_clear (&stats);
  }
  watcher_clear (&w);

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  w.config.bind_address = g_strdup ("eth0");
  watcher_start (&w);
  assert_gives_up (&w, NAT_CAUSE_SOCKET);
  watcher_clear (&w);
  relay_process_clear (&relay);
}

/* Datagrams of strangers, whatever they look like, reach nobody. */
static void
test_strangers (void)
{
  static const guint8 rtp[40] = {0x80, 96, 0, 1};
  static const guint8 rtcp[40] = {0x80, 201, 0, 1};
  static const guint8 stun[20] = {1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
  static const guint8 noise[3000];
  RelayProcess relay;
  Watcher w;
  NatSessionStats stats;
  guint16 port;
  GSocket *socket = udp_socket (&port);
  g_autoptr (GSocketAddress) to = NULL;
  gint64 end = g_get_monotonic_time () + SOON * 1000;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  w.config.transport = NAT_TRANSPORT_CHOICE_UDP;
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  nat_session_get_stats (w.session, &stats);
  to = g_inet_socket_address_new_from_string ("127.0.0.1", stats.local.port);
  nat_session_stats_clear (&stats);
  for (guint i = 0; i < 10; i++) {
    g_socket_send_to (socket, to, (const char *)rtp, sizeof rtp, NULL, NULL);
    g_socket_send_to (socket, to, (const char *)rtcp, sizeof rtcp, NULL, NULL);
    g_socket_send_to (socket, to, (const char *)stun, sizeof stun, NULL, NULL);
    g_socket_send_to (socket, to, (const char *)noise, sizeof noise, NULL, NULL);
    g_socket_send_to (socket, to, (const char *)noise, 1 + i, NULL, NULL);
  }
  do {
    g_usleep (1000);
    nat_session_get_stats (w.session, &stats);
    nat_session_stats_clear (&stats);
    nat_session_get_stats (w.session, &stats);
  } while (stats.datagrams_refused < 50 && g_get_monotonic_time () < end);
  g_assert_cmpuint (stats.datagrams_refused, ==, 50);
  g_assert_cmpuint (stats.packets_received, ==, 0);
  g_assert_cmpint (stats.state, ==, NAT_SESSION_CONNECTED);
  nat_session_stats_clear (&stats);
  g_assert_cmpuint (watcher_n_rtp (&w), ==, 0);
  watcher_clear (&w);
  relay_process_clear (&relay);
  g_object_unref (socket);
}

/* Whether the kernel says that nobody listens: it may be told not to, or have said so too often of late. */
static gboolean
kernel_tells (void)
{
  guint16 port;
  g_autoptr (GSocket) nobody = udp_socket (&port), socket = udp_socket (&port);
  g_autoptr (GSocketAddress) to = g_socket_get_local_address (nobody, NULL);

  g_assert_true (g_socket_close (nobody, NULL));
  g_assert_true (g_socket_connect (socket, to, NULL, NULL));
  g_socket_send (socket, "?", 1, NULL, NULL);
  return g_socket_condition_timed_wait (
      socket, G_IO_ERR | G_IO_IN, 500 * G_TIME_SPAN_MILLISECOND, NULL, NULL);
}

/* How long it takes until a session notices that its relay is gone. */
static gint64
time_of_suspicion (void)
{
  RelayProcess relay;
  Watcher w;
  gint64 killed, took, end;
  guint i = 2;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_PUBLISHER, &relay);
  w.config.transport = NAT_TRANSPORT_CHOICE_UDP;
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  watcher_send_rtp (&w, 1, 1, 100);
  relay_process_kill (&relay);
  killed = g_get_monotonic_time ();
  end = killed + SOON * 1000;
  for (; !watcher_wait_state (&w, NAT_SESSION_SUSPECT, 10) && g_get_monotonic_time () < end; i++)
    watcher_send_rtp (&w, (guint16)i, i, 100);
  took = g_get_monotonic_time () - killed;
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_SUSPECT, 0));
  watcher_clear (&w);
  relay_process_clear (&relay);
  return took;
}

/* On one machine the kernel says at once that nobody listens any more; no timer is waited for. Where it does not, silence is
 * noticed. Neither a busy machine nor a kernel that has said enough for this second is the session's fault: one time in five
 * tells that it can. */
static void
test_unreachable_is_noticed (void)
{
  gboolean soon = FALSE;

  for (guint i = 0; i < TRIES && !soon; i++) {
    gboolean told = kernel_tells ();
    gint64 took = time_of_suspicion ();

    g_test_message ("noticed after %d ms, %s", (int)(took / 1000), told ? "told" : "not told");
    soon = !told || took < 900 * 1000;
  }
  g_assert_true (soon);
}

/* ---- Tokens ------------------------------------------------------------ */

static gboolean
was_warned (Watcher *w)
{
  return w->token_calls > 0;
}

static void
test_token_expires (void)
{
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  NatToken token = {
      .expires_s = g_get_real_time () / G_USEC_PER_SEC + 4, .not_before_s = G_MININT64};
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", closed_port ());
  w.config.auth_token = nat_token_sign (&token, NULL, key, NULL);
  g_assert_nonnull (w.config.auth_token);
  watcher_start (&w);
  g_assert_true (watcher_wait (&w, was_warned, SOON));
  g_assert_cmpuint (w.token_calls, ==, 1);
  g_assert_cmpuint (w.token_seconds, <=, 3);
  watcher_clear (&w);
}

static gboolean
was_warned_thrice (Watcher *w)
{
  return w->token_calls >= 3;
}

/* Who is asked may have none but the one that is over. He is asked again, and has time for it. */
static void
test_token_stays (void)
{
  g_autoptr (NatSignKey) key = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  NatToken token = {
      .expires_s = g_get_real_time () / G_USEC_PER_SEC - 4, .not_before_s = G_MININT64};
  gint64 first_us;
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  point_at (&w, "127.0.0.1", closed_port ());
  w.config.auth_token = nat_token_sign (&token, NULL, key, NULL);
  w.has_no_other = TRUE;
  watcher_start (&w);
  g_assert_true (watcher_wait (&w, was_warned, SOON));
  first_us = g_get_monotonic_time ();
  g_assert_true (watcher_wait (&w, was_warned_thrice, SOON));
  g_assert_cmpint (g_get_monotonic_time () - first_us, >=, G_USEC_PER_SEC);
  watcher_clear (&w);
}

/* ---- The program's end ------------------------------------------------- */

/* In a child: connects (or hangs), stops, and is gone at once, as gst-launch does. */
static int
leave (char **argv)
{
  Watcher w;

  watcher_init (&w, NAT_ROLE_PUBLISHER, NULL);
  point_at (&w, argv[2], (guint16)atoi (argv[3]));
  w.config.tls_fingerprint = g_strdup (argv[4]);
  w.config.auth_token = g_strdup (argv[5]);
  watcher_start (&w);
  if (*argv[5] != '\0' && !watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON))
    return 3;
  if (*argv[5] == '\0')
    g_usleep (50000);
  nat_session_stop (w.session, FALSE);
  exit (0);
}

static void
run_leaver (const char *host, guint16 port, const char *fingerprint, const char *token)
{
  g_autofree char *text = g_strdup_printf ("%u", port);
  g_autoptr (GSubprocess) child = NULL;
  GError *error = NULL;

  child = g_subprocess_new (
      G_SUBPROCESS_FLAGS_NONE, &error, program, "leave", host, text, fingerprint, token, NULL);
  g_assert_no_error (error);
  g_subprocess_wait_check (child, NULL, &error);
  g_assert_no_error (error);
}

static gboolean
is_in_grace (Watcher *w)
{
  return w->document.publisher == NAT_PUBLISHER_GRACE;
}

/* Whether the audience hears of it sooner than silence would tell: that takes 3 s. */
static gboolean
program_ends (void)
{
  RelayProcess relay;
  gboolean heard;
  Watcher w;

  relay_process_start (&relay);
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, &relay);
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  run_leaver (relay.host, relay.port, relay.fingerprint, relay.publish_token);
  heard = watcher_wait (&w, is_in_grace, 2500);
  g_assert_true (watcher_wait (&w, is_in_grace, SOON));
  watcher_clear (&w);
  relay_process_clear (&relay);
  return heard;
}

static void
test_program_ends (void)
{
  gboolean heard = FALSE;

  for (guint i = 0; i < TRIES && !heard; i++)
    heard = program_ends ();
  g_assert_true (heard);
}

static void
test_program_ends_in_a_hang (void)
{
  HttpsServer *server = https_server_new (HTTPS_HANGS, NULL, NULL);
  gint64 begin = g_get_monotonic_time ();

  run_leaver ("127.0.0.1", https_server_port (server), https_server_fingerprint (server), "");
  g_assert_cmpint (g_get_monotonic_time () - begin, <, 10 * G_USEC_PER_SEC); /* of 15 s */
  https_server_free (server);
}

int
main (int argc, char **argv)
{
  if (argc == 6 && strcmp (argv[1], "leave") == 0)
    return leave (argv);
  program = argv[0];
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/failures/unknown-host", test_unknown_host);
  g_test_add_func ("/failures/refused-port", test_refused_port);
  g_test_add_func ("/failures/never-answers", test_never_answers);
  g_test_add_func ("/failures/html", test_html);
  g_test_add_func ("/failures/bad-fingerprint", test_bad_fingerprint);
  g_test_add_func ("/failures/untrusted", test_untrusted);
  g_test_add_func ("/failures/retry-after", test_retry_after);
  g_test_add_func ("/failures/portal", test_portal);
  g_test_add_func ("/failures/absent-proxy", test_absent_proxy);
  g_test_add_func ("/failures/proxy-for-a-while", test_proxy_for_a_while);
  g_test_add_func ("/failures/no-reconnect", test_no_reconnect);
  g_test_add_func ("/failures/retries", test_retries);
  g_test_add_func ("/failures/no-udp", test_no_udp);
  g_test_add_func ("/failures/bind", test_bind);
  g_test_add_func ("/failures/strangers", test_strangers);
  g_test_add_func ("/failures/unreachable", test_unreachable_is_noticed);
  g_test_add_func ("/failures/token-expires", test_token_expires);
  g_test_add_func ("/failures/token-stays", test_token_stays);
  g_test_add_func ("/failures/program-ends", test_program_ends);
  g_test_add_func ("/failures/program-ends-in-a-hang", test_program_ends_in_a_hang);
  return g_test_run ();
}
