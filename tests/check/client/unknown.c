/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A relay that has just started: it knows a session once that was sent its Binding, and HTTPS says 404 of it until then.
 * HTTPS and UDP of this one are here in the test, so that each begins when the test says. */

#include "httpsserver.h"
#include "nameserver.h"
#include "relaymodel.h"
#include "watcher.h"

#include <string.h>

#include "natclient/resume.h"
#include "natproto/demux.h"
#include "natproto/hex.h"

#define SOON 60000 /* ms */
#define UNKNOWN                                                                                    \
  "{\"type\":\"urn:natrelay:problem:session-unknown\",\"status\":404,\"title\":\"No\"}"

static gint slept_s; /* the machine, for so long */

gint64 __real_nat_resume_boottime_us (void);
gint64 __wrap_nat_resume_boottime_us (void);
gint64
__wrap_nat_resume_boottime_us (void)
{
  return __real_nat_resume_boottime_us () + (gint64)g_atomic_int_get (&slept_s) * G_USEC_PER_SEC;
}

typedef struct {
  HttpsServer *https;
  char *document; /* what HTTPS answers when it knows the session */
  GSocket *udp;
  NatAddress local;
  GThread *thread;
  GCancellable *stop;
  GMutex lock;
  RelayModel model;       /* under lock */
  guint n_asked;          /* under lock: Bindings */
  gboolean mute;          /* under lock: UDP does not answer */
  gboolean busy;          /* under lock: HTTPS says what it says, whatever UDP hears */
  GSocketAddress *client; /* under lock: who sent the last datagram */
} Relay;

/* ---- The relay --------------------------------------------------------- */

static char *
http (const char *status, const char *json)
{
  return g_strdup_printf (
      "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %u\r\n\r\n%s", status,
      (guint)strlen (json), json);
}

static char *
make_document (Relay *r)
{
  char username[NAT_TICKET_TEXT_MAX + 1];
  NatSessionDocument d = {.session = "AAECAwQFBgcICQoLDA0ODw",
      .username = username,
      .realm = NAT_REALM,
      .n_udp = 1,
      .keepalive_ms = 15000,
      .expires_s = 3600,
      .version = 1,
      .publisher = NAT_PUBLISHER_NONE};
  g_autofree char *json = NULL;

  relay_model_open (&r->model, 3600, username, d.password);
  nat_hex_encode (r->model.boot_id, NAT_BOOT_ID_SIZE, d.boot_id);
  d.udp[0] = r->local;
  json = nat_session_document_to_json (&d);
  return http ("201 Created", json);
}

static void
know (Relay *r, gboolean known)
{
  g_autofree char *text = known ? g_strdup (r->document) : http ("404 Not Found", UNKNOWN);

  https_server_set_answer (r->https, text);
}

static void
answer (Relay *r, GSocketAddress *from, const guint8 *data, gsize len)
{
  guint8 native[128], out[NAT_DATAGRAM_MAX];
  gsize size = (gsize)g_socket_address_get_native_size (from), n = 0;
  NatAddress address;
  guint before;

  g_assert_true (g_socket_address_to_native (from, native, sizeof native, NULL));
  nat_address_from_sockaddr (&address, (const struct sockaddr *)native, size);
  g_mutex_lock (&r->lock);
  r->n_asked++;
  g_set_object (&r->client, from);
  before = r->model.n_success;
  if (!r->mute)
    n = relay_model_input (
        &r->model, g_get_monotonic_time (), &address, &r->local, data, len, out, sizeof out);
  if (r->model.n_success > before && !r->busy)
    know (r, TRUE); /* before the client hears that it is known */
  if (n > 0)
    g_socket_send_to (r->udp, from, (char *)out, n, NULL, NULL);
  g_mutex_unlock (&r->lock);
}

static gpointer
serve_udp (gpointer data)
{
  Relay *r = data;
  guint8 buf[NAT_DATAGRAM_MAX];

  for (;;) {
    GSocketAddress *from = NULL;
    gssize n = g_socket_receive_from (r->udp, &from, (char *)buf, sizeof buf, r->stop, NULL);

    if (n < 0)
      return NULL;
    if (nat_demux (buf, (gsize)n) == NAT_PACKET_STUN)
      answer (r, from, buf, (gsize)n);
    g_clear_object (&from);
  }
}

static void
relay_init (Relay *r)
{
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new_from_string ("127.0.0.1", 0);
  g_autoptr (GSocketAddress) got = NULL;

  memset (r, 0, sizeof *r);
  g_mutex_init (&r->lock);
  r->stop = g_cancellable_new ();
  r->udp = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);
  g_assert_true (g_socket_bind (r->udp, any, FALSE, NULL));
  got = g_socket_get_local_address (r->udp, NULL);
  g_assert_true (nat_address_from_text (
      &r->local, "127.0.0.1", g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (got))));
  relay_model_init (&r->model, 1);
  r->document = make_document (r);
  r->https = https_server_new (HTTPS_ANSWERS, r->document, NULL);
  r->thread = g_thread_new ("udp", serve_udp, r);
}

static void
relay_clear (Relay *r)
{
  g_cancellable_cancel (r->stop);
  g_thread_join (r->thread);
  https_server_free (r->https);
  g_object_unref (r->udp);
  g_object_unref (r->stop);
  g_clear_object (&r->client);
  relay_model_clear (&r->model);
  g_mutex_clear (&r->lock);
  g_free (r->document);
}

/* Another process, of which UDP may come later than HTTPS. */
static void
restart (Relay *r, gboolean mute)
{
  g_mutex_lock (&r->lock);
  relay_model_restart (&r->model, 2);
  r->mute = mute;
  know (r, FALSE);
  g_mutex_unlock (&r->lock);
}

/* Another process that has nothing of the one before, and says so to whoever asks. */
static void
forget (Relay *r, guint32 seed)
{
  g_mutex_lock (&r->lock);
  relay_model_lose_secrets (&r->model, seed);
  g_free (r->document);
  r->document = make_document (r);
  know (r, TRUE);
  g_mutex_unlock (&r->lock);
}

/* As a relay does that does not know who sends to it: the client sends a Binding. */
static void
ask_for_binding (Relay *r)
{
  guint8 out[256];
  gsize n;

  g_mutex_lock (&r->lock);
  n = relay_model_indication (&r->model, NAT_REASON_NONE, out, sizeof out);
  g_socket_send_to (r->udp, r->client, (char *)out, n, NULL, NULL);
  g_mutex_unlock (&r->lock);
}

/* What follows a connection (how large datagrams may be) is over: nothing was asked for three seconds. */
static void
wait_for_calm (Relay *r)
{
  guint before, now = G_MAXUINT;

  do {
    before = now;
    g_usleep (3 * G_USEC_PER_SEC);
    g_mutex_lock (&r->lock);
    now = r->n_asked;
    g_mutex_unlock (&r->lock);
  } while (now != before);
}

static void
speak (Relay *r)
{
  g_mutex_lock (&r->lock);
  r->mute = FALSE;
  g_mutex_unlock (&r->lock);
}

/* ---- The client -------------------------------------------------------- */

static void
watcher_configure (Watcher *w, Relay *r)
{
  watcher_init (w, NAT_ROLE_SUBSCRIBER, NULL);
  w->config.host = g_strdup ("127.0.0.1");
  w->config.port = https_server_port (r->https);
  w->config.transport = NAT_TRANSPORT_CHOICE_UDP;
  w->config.tls_fingerprint = g_strdup (https_server_fingerprint (r->https));
}

static void
connect_to (Watcher *w, Relay *r)
{
  watcher_configure (w, r);
  watcher_start (w);
  g_assert_true (watcher_wait_state (w, NAT_SESSION_CONNECTED, SOON));
}

static void
wait_for_requests (Relay *r, guint n)
{
  gint64 end = g_get_monotonic_time () + SOON * 1000;

  while (https_server_n_requests (r->https) < n && g_get_monotonic_time () < end)
    g_usleep (5000);
  g_assert_cmpuint (https_server_n_requests (r->https), >=, n);
}

static guint
n_asked (Relay *r)
{
  guint n;

  g_mutex_lock (&r->lock);
  n = r->n_asked;
  g_mutex_unlock (&r->lock);
  return n;
}

static gboolean
has_second_document (Watcher *w)
{
  return w->documents >= 2;
}

/* Refused, and the session knows of it. */
static gboolean
is_denied (Watcher *w)
{
  NatSessionStats stats;
  gboolean denied;

  nat_session_get_stats (w->session, &stats);
  denied = stats.last_cause != NULL && stats.last_cause->kind == NAT_CAUSE_NOT_AUTHORIZED;
  nat_session_stats_clear (&stats);
  return denied;
}

static void
wait_until_denied (Watcher *w)
{
  gint64 end = g_get_monotonic_time () + SOON * 1000;

  while (!is_denied (w) && g_get_monotonic_time () < end)
    g_usleep (5000);
  g_assert_true (is_denied (w));
}

static void
assert_same_session (Watcher *w)
{
  NatSessionStats stats;

  nat_session_get_stats (w->session, &stats);
  g_assert_cmpuint (stats.attempts, ==, 1);
  nat_session_stats_clear (&stats);
  g_mutex_lock (&w->lock);
  g_assert_null (strstr (w->states->str, "connected negotiating"));
  g_assert_null (strstr (w->states->str, "suspect negotiating"));
  g_mutex_unlock (&w->lock);
}

/* It is suspect when it hears 404: it waits until a Binding is answered, and asks again then. */
static void
test_while_suspect (void)
{
  Relay r;
  Watcher w;
  guint n;

  relay_init (&r);
  connect_to (&w, &r);
  restart (&r, TRUE);
  ask_for_binding (&r);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_SUSPECT, SOON));
  n = https_server_n_requests (r.https);
  nat_session_set_auth_token (w.session, "another");
  wait_for_requests (&r, n + 1);
  g_usleep (1500 * 1000); /* three requests 300 ms apart would be over */
  assert_same_session (&w);
  speak (&r);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  g_assert_true (watcher_wait (&w, has_second_document, SOON));
  assert_same_session (&w);
  watcher_clear (&w);
  relay_clear (&r);
}

/* It has not noticed the restart: 404 is the first that it hears of it, long before the next keepalive. */
static void
test_while_connected (void)
{
  Relay r;
  Watcher w;

  relay_init (&r);
  connect_to (&w, &r);
  wait_for_calm (&r);
  restart (&r, FALSE);
  nat_session_set_auth_token (w.session, "another");
  g_assert_true (watcher_wait (&w, has_second_document, SOON));
  assert_same_session (&w);
  watcher_clear (&w);
  relay_clear (&r);
}

static void
wait_for_reconnects (Watcher *w, guint n)
{
  gint64 end = g_get_monotonic_time () + SOON * 1000;
  NatSessionStats stats = {0};

  do {
    g_usleep (5000);
    nat_session_stats_clear (&stats);
    nat_session_get_stats (w->session, &stats);
  } while (stats.reconnects < n && g_get_monotonic_time () < end);
  g_assert_cmpuint (stats.reconnects, ==, n);
  g_assert_cmpint (stats.state, ==, NAT_SESSION_CONNECTED);
  nat_session_stats_clear (&stats);
}

/* How long it waits, lost again and again, is forgotten once a session has held, however the next one ends. */
static void
test_again_and_again (void)
{
  Relay r;
  Watcher w;
  guint n = 0, waited_ms;

  relay_init (&r);
  watcher_configure (&w, &r);
  w.config.backoff_factor = 0.2;
  w.config.backoff_max = 30;
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  for (; n < 6; n++) {
    if (n == 4)
      g_usleep (6 * G_USEC_PER_SEC);
    forget (&r, 10 + n);
    ask_for_binding (&r);
    wait_for_reconnects (&w, n + 1);
  }
  g_mutex_lock (&w.lock);
  waited_ms = w.cause->retry_ms;
  g_mutex_unlock (&w.lock);
  /* The last loss was the first that came too early since; the fifth in all would have waited for 1600 ms at least. */
  g_assert_cmpuint (waited_ms, >, 0);
  g_assert_cmpuint (waited_ms, <=, 800);
  watcher_clear (&w);
  relay_clear (&r);
}

#define DENIED "{\"type\":\"urn:natrelay:problem:token-invalid\",\"status\":401,\"title\":\"No\"}"

static gboolean
is_described_anew (Watcher *w)
{
  return w->described >= 2;
}

static void
publish (Relay *r, Watcher *w)
{
  relay_init (r);
  watcher_configure (w, r);
  w->config.role = NAT_ROLE_PUBLISHER;
  watcher_start (w);
  g_assert_true (watcher_wait_state (w, NAT_SESSION_CONNECTED, SOON));
  wait_for_calm (r);
}

/* The token is no good any more, and all are told so, until it is another one's turn. */
static void
deny (Relay *r)
{
  g_autofree char *denied = http ("401 Unauthorized", DENIED);

  g_mutex_lock (&r->lock);
  r->busy = TRUE;
  g_mutex_unlock (&r->lock);
  https_server_set_answer (r->https, denied);
}

static void
assert_described_anew (Relay *r, Watcher *w)
{
  g_assert_true (watcher_wait (w, is_described_anew, SOON));
  assert_same_session (w);
  watcher_clear (w);
  relay_clear (r);
}

/* Another description is refused for the token. With the next one it is told. */
static void
test_another_token (void)
{
  NatDescription d = {.sdp = (char *)WATCHER_SDP};
  Relay r;
  Watcher w;

  publish (&r, &w);
  deny (&r);
  nat_session_set_description (w.session, &d);
  wait_until_denied (&w);
  know (&r, TRUE);
  nat_session_set_auth_token (w.session, "another");
  assert_described_anew (&r, &w);
}

/* The next one came while the answer was under way. */
static void
test_another_token_meanwhile (void)
{
  NatDescription d = {.sdp = (char *)WATCHER_SDP};
  gint64 end = g_get_monotonic_time () + SOON * 1000;
  guint n_calls;
  Relay r;
  Watcher w;

  publish (&r, &w);
  deny (&r);
  n_calls = https_server_n_calls (r.https);
  https_server_set_manner (r.https, HTTPS_LATE);
  nat_session_set_description (w.session, &d);
  while (https_server_n_calls (r.https) == n_calls && g_get_monotonic_time () < end)
    g_usleep (5000);
  nat_session_set_auth_token (w.session, "another");
  wait_until_denied (&w);
  know (&r, TRUE);
  assert_described_anew (&r, &w);
}

/* The machine slept while it asked for something: nobody answers that any more, and it is asked for again at once. */
static void
test_sleep (void)
{
  Relay r;
  Watcher w;
  guint n;

  relay_init (&r);
  watcher_configure (&w, &r);
  w.config.timeout_ms = 10 * SOON;
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  wait_for_calm (&r);
  n = https_server_n_requests (r.https);
  https_server_set_manner (r.https, HTTPS_SLOW);
  nat_session_set_auth_token (w.session, "another");
  wait_for_requests (&r, n + 1);
  https_server_set_manner (r.https, HTTPS_ANSWERS);
  g_atomic_int_set (&slept_s, 3600);
  ask_for_binding (&r);
  g_assert_true (watcher_wait (&w, has_second_document, SOON));
  assert_same_session (&w);
  watcher_clear (&w);
  relay_clear (&r);
}

#define PATIENCE                                                                                   \
  "HTTP/1.1 503 No\r\nContent-Type: application/problem+json\r\nRetry-After: 300\r\n\r\n"          \
  "{\"type\":\"about:blank\",\"title\":\"Full\",\"status\":503,\"detail\":\"Wait.\"}"

/* There is news, which HTTPS does not give out now, and every Binding says so again: it is asked for once, as the relay wants
 * it; and at once for whoever has something to say himself. */
static void
test_patience (void)
{
  Relay r;
  Watcher w;
  guint asked, n;

  relay_init (&r);
  connect_to (&w, &r);
  n = https_server_n_requests (r.https);
  g_mutex_lock (&r.lock);
  r.model.version++;
  r.busy = TRUE;
  g_mutex_unlock (&r.lock);
  https_server_set_answer (r.https, PATIENCE);
  ask_for_binding (&r);
  wait_for_requests (&r, n + 1);
  asked = n_asked (&r);
  while (n_asked (&r) < asked + 5) {
    ask_for_binding (&r); /* heard once a second */
    g_usleep (100000);
  }
  g_assert_cmpuint (https_server_n_requests (r.https), ==, n + 1);
  nat_session_set_auth_token (w.session, "another");
  wait_for_requests (&r, n + 2);
  watcher_clear (&w);
  relay_clear (&r);
}

/* The relay goes on at another address. */
static void
move_to (Relay *r, const char *ip)
{
  g_autoptr (GSocketAddress) there = g_inet_socket_address_new_from_string (ip, r->local.port);

  g_cancellable_cancel (r->stop);
  g_thread_join (r->thread);
  g_cancellable_reset (r->stop);
  g_object_unref (r->udp);
  r->udp = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);
  g_assert_true (g_socket_bind (r->udp, there, FALSE, NULL));
  r->thread = g_thread_new ("udp", serve_udp, r);
}

/* As behind a line whose provider changes its address in the night: it is found by its name, and knows the session. */
static void
test_moves (void)
{
  Relay r;
  Watcher w;

  relay_init (&r);
  watcher_configure (&w, &r);
  g_free (w.config.host);
  w.config.host = g_strdup ("relay.test");
  name_server_begin ();
  name_server_say ("127.0.0.1", 0);
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  name_server_say ("127.0.0.2", 0);
  move_to (&r, "127.0.0.2");
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_SUSPECT, SOON));
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_CONNECTED, SOON));
  assert_same_session (&w);
  watcher_clear (&w);
  name_server_end ();
  relay_clear (&r);
}

int
main (int argc, char **argv)
{
  https_forget_proxies ();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/unknown/while-suspect", test_while_suspect);
  g_test_add_func ("/unknown/while-connected", test_while_connected);
  g_test_add_func ("/unknown/again-and-again", test_again_and_again);
  g_test_add_func ("/unknown/patience", test_patience);
  g_test_add_func ("/unknown/another-token", test_another_token);
  g_test_add_func ("/unknown/another-token-meanwhile", test_another_token_meanwhile);
  g_test_add_func ("/unknown/sleep", test_sleep);
  g_test_add_func ("/unknown/moves", test_moves);
  return g_test_run ();
}
