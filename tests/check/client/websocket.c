/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/websocket.h"

#include <libsoup/soup.h>
#include <string.h>
#include <sys/socket.h>

#include "httpsserver.h"
#include "nameserver.h"

#define PATIENCE_MS 60000 /* it ends a hang; all takes less than a second */

/* ---- The other end ------------------------------------------------------ */

/* A WebSocket server in a thread of its own that sends back what comes, or does worse. */
typedef enum {
  PEER_ECHOES,
  PEER_CLOSES, /* after the first message, with 1001 */
  PEER_TEXTS,  /* answers with a text message, and then with the echo */
  PEER_LONG,   /* answers with more than a datagram */
} Manner;

typedef struct {
  Manner manner;
  GMainContext *context;
  GMainLoop *loop;
  GThread *thread;
  SoupServer *server;
  guint16 port;
  char *fingerprint;
  GPtrArray *connections;
  GMutex lock;
  GCond cond;
  gboolean ready;
  gint stalled; /* atomic: reads nothing meanwhile */
  GArray *seen; /* under lock: guint32, first word of each message */
} Peer;

static void
on_peer_message (SoupWebsocketConnection *c, gint type, GBytes *bytes, gpointer user)
{
  static const guint8 too_long[NAT_DATAGRAM_MAX + 1];
  Peer *p = user;
  gsize len;
  const guint8 *data = g_bytes_get_data (bytes, &len);
  guint32 word = 0;

  g_assert_cmpint (type, ==, SOUP_WEBSOCKET_DATA_BINARY);
  g_assert_cmpuint (len, <=, NAT_DATAGRAM_MAX);
  memcpy (&word, data, MIN (len, sizeof word));
  g_mutex_lock (&p->lock);
  g_array_append_val (p->seen, word);
  g_cond_broadcast (&p->cond);
  g_mutex_unlock (&p->lock);
  while (g_atomic_int_get (&p->stalled))
    g_usleep (1000);
  if (p->manner == PEER_CLOSES &&
      soup_websocket_connection_get_state (c) == SOUP_WEBSOCKET_STATE_OPEN)
    soup_websocket_connection_close (c, 1001, NULL);
  if (p->manner == PEER_TEXTS)
    soup_websocket_connection_send_text (c, "no datagram");
  if (p->manner == PEER_LONG)
    soup_websocket_connection_send_binary (c, too_long, sizeof too_long);
  else if (p->manner != PEER_CLOSES)
    soup_websocket_connection_send_binary (c, data, len);
}

static void
on_peer_connection (SoupServer *server, SoupServerMessage *message, const char *path,
    SoupWebsocketConnection *c, gpointer user)
{
  Peer *p = user;

  g_assert_cmpstr (soup_websocket_connection_get_protocol (c), ==, NAT_WEBSOCKET_PROTOCOL);
  g_ptr_array_add (p->connections, g_object_ref (c));
  g_signal_connect (c, "message", G_CALLBACK (on_peer_message), p);
}

static gpointer
peer_run (gpointer data)
{
  static char *protocols[] = {(char *)NAT_WEBSOCKET_PROTOCOL, NULL};
  Peer *p = data;
  g_autofree char *pem = https_make_certificate (FALSE);
  g_autoptr (GTlsCertificate) certificate = g_tls_certificate_new_from_pem (pem, -1, NULL);
  g_autoptr (GSocket) socket =
      g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new_from_string ("127.0.0.1", 0);
  g_autoptr (GSocketAddress) got = NULL;
  GByteArray *der = NULL;

  g_main_context_push_thread_default (p->context);
  g_object_get (certificate, "certificate", &der, NULL);
  p->fingerprint = g_compute_checksum_for_data (G_CHECKSUM_SHA256, der->data, der->len);
  g_byte_array_unref (der);
  /* What waits in this end's kernel is beyond the client's reach: little of it. */
  g_socket_set_option (socket, SOL_SOCKET, SO_RCVBUF, 8192, NULL);
  g_assert_true (g_socket_bind (socket, any, TRUE, NULL));
  g_assert_true (g_socket_listen (socket, NULL));
  got = g_socket_get_local_address (socket, NULL);
  p->port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (got));
  p->server = soup_server_new (NULL, NULL);
  soup_server_set_tls_certificate (p->server, certificate);
  soup_server_add_websocket_handler (
      p->server, "/v1/websocket", NULL, protocols, on_peer_connection, p, NULL);
  g_assert_true (soup_server_listen_socket (p->server, socket, SOUP_SERVER_LISTEN_HTTPS, NULL));
  g_mutex_lock (&p->lock);
  p->ready = TRUE;
  g_cond_broadcast (&p->cond);
  g_mutex_unlock (&p->lock);
  g_main_loop_run (p->loop);
  g_ptr_array_unref (p->connections);
  soup_server_disconnect (p->server);
  g_object_unref (p->server);
  while (g_main_context_iteration (p->context, FALSE))
    ;
  g_main_context_pop_thread_default (p->context);
  return NULL;
}

static void
peer_init (Peer *p, Manner manner)
{
  memset (p, 0, sizeof *p);
  p->manner = manner;
  p->context = g_main_context_new ();
  p->loop = g_main_loop_new (p->context, FALSE);
  p->connections = g_ptr_array_new_with_free_func (g_object_unref);
  p->seen = g_array_new (FALSE, FALSE, sizeof (guint32));
  g_mutex_init (&p->lock);
  g_cond_init (&p->cond);
  p->thread = g_thread_new ("peer", peer_run, p);
  g_mutex_lock (&p->lock);
  while (!p->ready)
    g_cond_wait (&p->cond, &p->lock);
  g_mutex_unlock (&p->lock);
}

static void
peer_clear (Peer *p)
{
  g_atomic_int_set (&p->stalled, 0);
  g_main_loop_quit (p->loop);
  g_thread_join (p->thread);
  g_main_loop_unref (p->loop);
  g_main_context_unref (p->context);
  g_array_unref (p->seen);
  g_free (p->fingerprint);
  g_mutex_clear (&p->lock);
  g_cond_clear (&p->cond);
}

/* ---- Our end ------------------------------------------------------------ */

typedef struct {
  NatSessionConfig config;
  GMainContext *context;
  NatTrust *trust;
  NatRelayHost *relay;
  NatWebsocket *w;
  guint opened, closed, late, refused;
  NatCause *cause;
  GPtrArray *got; /* of GBytes */
  gboolean close_on_message;
  Peer *peer;
  guint32 last; /* that it is to have seen */
} End;

static void
on_opened (gpointer user)
{
  ((End *)user)->opened++;
}

static void
on_closed (gpointer user, const NatCause *cause)
{
  End *e = user;

  e->closed++;
  nat_cause_free (e->cause);
  e->cause = nat_cause_copy (cause);
  if (cause != NULL)
    g_test_message ("%s [%s]", cause->text, cause->detail);
}

static void
on_received (gpointer user, NatUdpDatagram *batch, guint n, guint n_refused)
{
  End *e = user;
  NatAddress relay, local;

  nat_websocket_addresses (e->w, &relay, &local);
  for (guint i = 0; i < n; i++) {
    g_assert_true (nat_address_equal (&batch[i].from, &relay));
    g_ptr_array_add (e->got, g_bytes_new (batch[i].data, batch[i].len));
  }
  e->refused += n_refused;
  if (e->close_on_message)
    nat_websocket_close (e->w);
}

static void
on_late (gpointer user, guint n)
{
  ((End *)user)->late += n;
}

static void
end_init (End *e, guint16 port, const char *fingerprint)
{
  memset (e, 0, sizeof *e);
  nat_session_config_init (&e->config);
  e->config.host = g_strdup ("127.0.0.1");
  e->config.port = port;
  e->config.tls_fingerprint = g_strdup (fingerprint);
  e->context = g_main_context_new ();
  e->got = g_ptr_array_new_with_free_func ((GDestroyNotify)g_bytes_unref);
  g_main_context_push_thread_default (e->context);
}

static void
end_make (End *e, GProxyResolver *proxy)
{
  static const NatWebsocketOps ops = {on_opened, on_closed, on_received, on_late};
  NatCause *cause = NULL;

  e->trust = nat_trust_new (&e->config, NULL, NULL, &cause);
  g_assert_nonnull (e->trust);
  e->relay = nat_relay_host_new (e->config.host);
  e->w = nat_websocket_new (&e->config, e->trust, e->relay, proxy, &ops, e);
}

static void
end_open (End *e, guint timeout_ms)
{
  nat_websocket_open (e->w, "/v1/websocket", e->config.port, timeout_ms);
}

static gboolean
on_nudge (gpointer user)
{
  return G_SOURCE_CONTINUE;
}

/* Turns the context until test says so; FALSE after PATIENCE_MS. */
static gboolean
end_wait (End *e, gboolean (*test) (End *e))
{
  gint64 limit = g_get_monotonic_time () + PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
  GSource *nudge = g_timeout_source_new (10);
  gboolean good;

  g_source_set_callback (nudge, on_nudge, NULL, NULL);
  g_source_attach (nudge, e->context);
  while (!(good = test (e)) && g_get_monotonic_time () < limit)
    g_main_context_iteration (e->context, TRUE);
  g_source_destroy (nudge);
  g_source_unref (nudge);
  return good;
}

static gboolean
is_decided (End *e)
{
  return e->opened + e->closed > 0;
}

static gboolean
is_opened (End *e)
{
  return e->opened > 0;
}

static gboolean
is_closed (End *e)
{
  return e->closed > 0;
}

static gboolean
is_quiet (End *e)
{
  return nat_websocket_n_pending (e->w) == 0;
}

static void
end_clear (End *e)
{
  nat_websocket_close (e->w);
  g_assert_true (end_wait (e, is_quiet)); /* libsoup lets go of everything */
  nat_websocket_free (e->w);
  g_object_unref (e->trust);
  nat_relay_host_unref (e->relay);
  while (g_main_context_iteration (e->context, FALSE))
    ;
  g_main_context_pop_thread_default (e->context);
  g_main_context_unref (e->context);
  g_ptr_array_unref (e->got);
  nat_cause_free (e->cause);
  nat_session_config_clear (&e->config);
}

/* What was put then is never late, however busy the machine. */
static gint64
in_an_hour (void)
{
  return g_get_monotonic_time () + G_TIME_SPAN_HOUR;
}

static void
put_media_at (End *e, gint64 put_us, guint32 word, gsize len)
{
  guint8 data[NAT_DATAGRAM_MAX] = {0};
  gboolean first;

  memcpy (data, &word, sizeof word);
  nat_outbox_put (nat_websocket_outbox (e->w), put_us, NAT_OUTBOX_IS_MEDIA, data, len, &first);
  if (first)
    nat_websocket_kick (e->w);
}

static void
put_media (End *e, guint32 word, gsize len)
{
  put_media_at (e, g_get_monotonic_time (), word, len);
}

/* ---- Datagrams ---------------------------------------------------------- */

#define N_DATAGRAMS 500

static gboolean
has_all (End *e)
{
  return e->got->len >= N_DATAGRAMS;
}

/* Of every size there is: as they went, one for one. */
static void
test_datagrams (void)
{
  Peer p;
  End e;
  guint8 data[NAT_DATAGRAM_MAX];
  NatAddress relay, local;

  peer_init (&p, PEER_ECHOES);
  end_init (&e, p.port, p.fingerprint);
  end_make (&e, NULL);
  g_assert_null (nat_websocket_outbox (e.w));
  nat_websocket_send (e.w, data, 10); /* not open: nothing happens */
  end_open (&e, PATIENCE_MS);
  g_assert_true (end_wait (&e, is_decided));
  g_assert_cmpuint (e.opened, ==, 1);
  nat_websocket_addresses (e.w, &relay, &local);
  g_assert_cmpuint (relay.transport, ==, NAT_TRANSPORT_WEBSOCKET);
  g_assert_cmpuint (relay.port, ==, p.port);
  g_assert_true (nat_address_is_loopback (&local));
  for (guint i = 0; i < N_DATAGRAMS; i++) {
    gboolean first;

    memset (data, (int)i, sizeof data);
    while (!nat_outbox_put (nat_websocket_outbox (e.w), in_an_hour (),
        i % 7 == 0 ? NAT_OUTBOX_IS_CONTROL : NAT_OUTBOX_IS_MEDIA, data, 1 + i * 4, &first))
      g_main_context_iteration (e.context, TRUE);
    nat_websocket_kick (e.w);
    g_main_context_iteration (e.context, FALSE);
  }
  g_assert_true (end_wait (&e, has_all));
  g_assert_cmpuint (e.late, ==, 0);
  {
    guint sizes[NAT_DATAGRAM_MAX + 1] = {0};

    for (guint i = 0; i < N_DATAGRAMS; i++) {
      gsize len;
      const guint8 *bytes = g_bytes_get_data (g_ptr_array_index (e.got, i), &len);

      sizes[len]++;
      for (gsize at = 0; at < len; at++)
        g_assert_cmpuint (bytes[at], ==, (guint8)((len - 1) / 4));
    }
    for (guint i = 0; i < N_DATAGRAMS; i++)
      g_assert_cmpuint (sizes[1 + i * 4], ==, 1);
  }
  end_clear (&e);
  peer_clear (&p);
}

static gboolean
peer_has_seen_last (End *e)
{
  Peer *p = e->peer;
  gboolean seen;

  g_mutex_lock (&p->lock);
  seen = p->seen->len > 0 && g_array_index (p->seen, guint32, p->seen->len - 1) == e->last;
  g_mutex_unlock (&p->lock);
  return seen;
}

/* The other end reads nothing for a while. What it then reads is what came last: the rest was left out
 * here. Control is all there, and nothing of it came after newer media had gone. */
static void
test_stall (void)
{
  Peer p;
  End e;
  gint64 end;
  guint32 n = 0, oldest_after = 0;
  guint n_control = 0, before;

  peer_init (&p, PEER_ECHOES);
  end_init (&e, p.port, p.fingerprint);
  end_make (&e, NULL);
  end_open (&e, PATIENCE_MS);
  g_assert_true (end_wait (&e, is_decided));
  g_assert_cmpuint (e.opened, ==, 1);
  g_atomic_int_set (&p.stalled, 1);
  end = g_get_monotonic_time () + 2 * G_USEC_PER_SEC;
  while (g_get_monotonic_time () < end || n < 1000) {
    put_media (&e, ++n, 1200); /* about 10 Mbit/s */
    if (n % 100 == 0) {
      guint32 word = 0x80000000u + n_control++;

      nat_websocket_send (e.w, (const guint8 *)&word, sizeof word);
    }
    g_usleep (1000);
    while (g_main_context_iteration (e.context, FALSE))
      ;
  }
  put_media_at (&e, in_an_hour (), ++n, 1200);
  before = n;
  g_atomic_int_set (&p.stalled, 0);
  e.peer = &p;
  e.last = n;
  g_assert_true (end_wait (&e, peer_has_seen_last));
  g_test_message ("%u packets, %u late, %u seen", n, e.late, p.seen->len);
  g_assert_cmpuint (e.late, >, 0);
  g_mutex_lock (&p.lock);
  {
    guint control = 0, jumps = 0;
    guint32 last = 0, widest = 1;

    for (guint i = 0; i < p.seen->len; i++) {
      guint32 word = g_array_index (p.seen, guint32, i);

      if (word & 0x80000000u) {
        g_assert_cmpuint (word & 0x7fffffffu, ==, control);
        control++;
        continue;
      }
      g_assert_cmpuint (word, >, last);
      if (word > last + 1)
        jumps++;
      if (word - last > widest) {
        widest = word - last;
        oldest_after = word;
      }
      last = word;
    }
    g_assert_cmpuint (control, ==, n_control);
    /* A hole, and behind it the newest quarter of a second. A pause of this machine may make a small one before. */
    g_assert_cmpuint (jumps, >=, 1);
    g_assert_cmpuint (last, ==, before);
    g_assert_cmpuint (oldest_after, >, before / 2);
    /* TCP held no more than its windows: a few packets, not seconds of them. */
    g_assert_cmpuint (p.seen->len - n_control, <, before / 2);
  }
  g_mutex_unlock (&p.lock);
  end_clear (&e);
  peer_clear (&p);
}

/* ---- Ends --------------------------------------------------------------- */

static void
test_closed_by_peer (void)
{
  Peer p;
  End e;

  peer_init (&p, PEER_CLOSES);
  end_init (&e, p.port, p.fingerprint);
  end_make (&e, NULL);
  end_open (&e, PATIENCE_MS);
  g_assert_true (end_wait (&e, is_decided));
  nat_websocket_send (e.w, (const guint8 *)"x", 1);
  g_assert_true (end_wait (&e, is_closed));
  g_assert_false (nat_websocket_is_open (e.w));
  g_assert_nonnull (strstr (e.cause->detail, "1001"));
  g_assert_false (e.cause->final);
  end_clear (&e);
  g_assert_cmpuint (e.closed, ==, 1);
  peer_clear (&p);
}

/* Media goes on until it is closed: none of it is handed to a connection whose other end said goodbye. */
static gboolean
is_closed_while_sending (End *e)
{
  for (guint i = 0; e->closed == 0 && i < 4; i++)
    put_media (e, 1, 1200);
  return is_closed (e);
}

static void
test_closed_while_sending (void)
{
  for (guint i = 0; i < 20; i++) {
    Peer p;
    End e;

    peer_init (&p, PEER_CLOSES);
    end_init (&e, p.port, p.fingerprint);
    end_make (&e, NULL);
    end_open (&e, PATIENCE_MS);
    g_assert_true (end_wait (&e, is_decided));
    g_assert_true (end_wait (&e, is_closed_while_sending));
    end_clear (&e);
    peer_clear (&p);
  }
}

static gboolean
has_one_and_refused (End *e)
{
  return e->got->len == 1 && e->refused == 1;
}

static void
test_no_datagrams (void)
{
  Peer p;
  End e;

  peer_init (&p, PEER_TEXTS);
  end_init (&e, p.port, p.fingerprint);
  end_make (&e, NULL);
  end_open (&e, PATIENCE_MS);
  g_assert_true (end_wait (&e, is_decided));
  nat_websocket_send (e.w, (const guint8 *)"x", 1);
  g_assert_true (end_wait (&e, has_one_and_refused));
  end_clear (&e);
  peer_clear (&p);

  peer_init (&p, PEER_LONG);
  end_init (&e, p.port, p.fingerprint);
  end_make (&e, NULL);
  end_open (&e, PATIENCE_MS);
  g_assert_true (end_wait (&e, is_decided));
  nat_websocket_send (e.w, (const guint8 *)"x", 1);
  g_assert_true (end_wait (&e, is_closed));
  g_assert_cmpuint (e.got->len, ==, 0);
  end_clear (&e);
  peer_clear (&p);
}

/* At every stage of its life, and from within a callback; nothing is called back afterwards. */
static void
test_close_at_any_moment (void)
{
  Peer p;

  peer_init (&p, PEER_ECHOES);
  for (guint i = 0; i < 60; i++) {
    End e;
    guint closed;

    end_init (&e, p.port, p.fingerprint);
    end_make (&e, NULL);
    end_open (&e, PATIENCE_MS);
    for (guint turn = 0; turn < 3 * i; turn++)
      if (!g_main_context_iteration (e.context, FALSE))
        g_usleep (200);
    if (nat_websocket_is_open (e.w))
      nat_websocket_send (e.w, (const guint8 *)"x", 1);
    if (i % 2 == 0)
      end_open (&e, PATIENCE_MS); /* in the place of the first */
    closed = e.closed;
    nat_websocket_close (e.w);
    g_assert_true (end_wait (&e, is_quiet));
    g_assert_cmpuint (e.closed, ==, closed);
    end_clear (&e);
  }
  {
    End e;

    end_init (&e, p.port, p.fingerprint);
    end_make (&e, NULL);
    e.close_on_message = TRUE;
    end_open (&e, PATIENCE_MS);
    g_assert_true (end_wait (&e, is_decided));
    for (guint i = 0; i < 10; i++)
      nat_websocket_send (e.w, (const guint8 *)"x", 1);
    g_assert_true (end_wait (&e, is_quiet));
    g_assert_cmpuint (e.closed, ==, 0);
    end_clear (&e);
  }
  peer_clear (&p);
}

/* ---- Refusals ----------------------------------------------------------- */

static void
refused (HttpsManner manner, const char *answer, const char *pin, NatCauseKind kind, gboolean final,
    const char *word)
{
  HttpsServer *server = https_server_new (manner, answer, NULL);
  End e;

  end_init (&e, https_server_port (server), pin != NULL ? pin : https_server_fingerprint (server));
  end_make (&e, NULL);
  end_open (&e, manner == HTTPS_HANGS ? 300 : PATIENCE_MS);
  g_assert_true (end_wait (&e, is_decided));
  g_assert_cmpuint (e.closed, ==, 1);
  g_assert_cmpint (e.cause->kind, ==, kind);
  g_assert_cmpint (e.cause->final, ==, final);
  g_assert_nonnull (strstr (e.cause->text, word));
  end_clear (&e);
  https_server_free (server);
}

static void
test_refused (void)
{
  refused (HTTPS_ANSWERS,
      "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", NULL,
      NAT_CAUSE_PROTOCOL, FALSE, "503");
  refused (HTTPS_ANSWERS, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", NULL,
      NAT_CAUSE_UNREACHABLE, FALSE, "WebSocket");
  refused (HTTPS_HANGS, NULL, NULL, NAT_CAUSE_TIMEOUT, FALSE, "within");
  refused (HTTPS_CLOSES, NULL, NULL, NAT_CAUSE_UNREACHABLE, FALSE, "WebSocket");
  refused (HTTPS_ANSWERS, "", "0000000000000000000000000000000000000000000000000000000000000000",
      NAT_CAUSE_TLS, TRUE, "tls-fingerprint");
}

static gboolean
has_one (End *e)
{
  return e->got->len == 1;
}

static void
test_proxy (void)
{
  HttpsServer *proxy = https_server_new (HTTPS_PROXY, NULL, NULL);
  g_autofree char *uri = g_strdup_printf ("http://127.0.0.1:%u", https_server_port (proxy));
  GProxyResolver *resolver = g_simple_proxy_resolver_new (uri, NULL);
  g_autofree char *request = NULL;
  NatAddress relay, local;
  Peer p;
  End e;

  peer_init (&p, PEER_ECHOES);
  end_init (&e, p.port, p.fingerprint);
  end_make (&e, resolver);
  end_open (&e, PATIENCE_MS);
  g_assert_true (end_wait (&e, is_decided));
  g_assert_cmpuint (e.opened, ==, 1);
  request = https_server_dup_request (proxy);
  g_assert_true (g_str_has_prefix (request, "CONNECT 127.0.0.1:"));
  nat_websocket_addresses (e.w, &relay, &local);
  g_assert_cmpuint (relay.family, ==, 0); /* the proxy is no relay */
  g_assert_cmpuint (relay.transport, ==, NAT_TRANSPORT_WEBSOCKET);
  nat_websocket_send (e.w, (const guint8 *)"x", 1);
  g_assert_true (end_wait (&e, has_one));
  end_clear (&e);
  peer_clear (&p);
  g_object_unref (resolver);
  https_server_free (proxy);
}

/* One address of the name takes the connection, and TLS hangs there: the next attempt is made to the other. That one gone, the
 * first has its turn again. */
static void
test_hanging_address (void)
{
  HttpsServer *hangs;
  Peer p;
  End e;

  peer_init (&p, PEER_ECHOES);
  hangs = https_server_new_on ("127.0.0.2", p.port, HTTPS_HANGS, NULL, NULL);
  end_init (&e, p.port, p.fingerprint);
  g_free (e.config.host);
  e.config.host = g_strdup ("relay.test");
  name_server_begin ();
  name_server_say ("127.0.0.2 127.0.0.1", 0);
  end_make (&e, NULL);
  end_open (&e, 500);
  g_assert_true (end_wait (&e, is_decided));
  g_assert_cmpint (e.cause->kind, ==, NAT_CAUSE_TIMEOUT);
  end_open (&e, PATIENCE_MS);
  g_assert_true (end_wait (&e, is_opened));
  nat_websocket_send (e.w, (const guint8 *)"x", 1);
  g_assert_true (end_wait (&e, has_one));
  g_assert_cmpuint (https_server_n_calls (hangs), ==, 1);
  name_server_say ("127.0.0.2", 0);
  nat_relay_host_look_anew (e.relay);
  for (guint i = 0; i < 2; i++) {
    e.closed = 0;
    end_open (&e, 500);
    g_assert_true (end_wait (&e, is_closed));
  }
  g_assert_cmpuint (https_server_n_calls (hangs), ==, 2);
  end_clear (&e);
  name_server_end ();
  peer_clear (&p);
  https_server_free (hangs);
}

/* Who says again and again that an answer will come is left alone. */
static void
test_stalls (void)
{
  HttpsServer *server = https_server_new (HTTPS_STALLS, "", NULL);
  End e;

  end_init (&e, https_server_port (server), https_server_fingerprint (server));
  end_make (&e, NULL);
  end_open (&e, PATIENCE_MS);
  g_assert_true (end_wait (&e, is_closed));
  g_assert_nonnull (strstr (e.cause->text, "100 Continue"));
  end_clear (&e);
  https_server_free (server);
}

/* libsoup tells of every frame; and its server warns of whoever hangs up early. */
static void
say_nothing (const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer user)
{
}

int
main (int argc, char **argv)
{
  https_forget_proxies ();
  g_test_init (&argc, &argv, NULL);
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  g_log_set_handler ("libsoup", G_LOG_LEVEL_DEBUG | G_LOG_LEVEL_WARNING, say_nothing, NULL);
  g_test_add_func ("/websocket/datagrams", test_datagrams);
  g_test_add_func ("/websocket/stall", test_stall);
  g_test_add_func ("/websocket/closed-by-peer", test_closed_by_peer);
  g_test_add_func ("/websocket/closed-while-sending", test_closed_while_sending);
  g_test_add_func ("/websocket/no-datagrams", test_no_datagrams);
  g_test_add_func ("/websocket/close-at-any-moment", test_close_at_any_moment);
  g_test_add_func ("/websocket/refused", test_refused);
  g_test_add_func ("/websocket/proxy", test_proxy);
  g_test_add_func ("/websocket/hanging-address", test_hanging_address);
  g_test_add_func ("/websocket/stalls", test_stalls);
  return g_test_run ();
}
