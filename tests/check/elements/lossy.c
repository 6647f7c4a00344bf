/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "lossy.h"

#include <string.h>

#define CLIENTS 8

/* A client's UDP address, and our socket that stands for it towards the relay. */
typedef struct {
  Lossy *lossy;
  GSocketAddress *address;
  GSocket *socket;
} Client;

struct _Lossy {
  LossyFunc lose;
  gpointer user;
  GMainContext *context;
  GMainLoop *loop;
  GThread *thread;
  GSocketListener *listener;
  GSocket *socket; /* UDP, to the clients */
  GSocketAddress *relay;
  GCancellable *cancellable;
  Client clients[CLIENTS];
  guint n_clients;
  GHashTable *seen[2]; /* by direction: SSRC and sequence number as one */
  gint lost[2], passed[2];
};

/* ---- TCP ----------------------------------------------------------------- */

static void
connected (GObject *object, GAsyncResult *result, gpointer user)
{
  GSocketConnection *client = user;
  GSocketConnection *relay =
      g_socket_client_connect_finish (G_SOCKET_CLIENT (object), result, NULL);
  Lossy *self = g_object_get_data (object, "lossy");

  if (relay != NULL)
    g_io_stream_splice_async (G_IO_STREAM (client), G_IO_STREAM (relay),
        G_IO_STREAM_SPLICE_CLOSE_STREAM1 | G_IO_STREAM_SPLICE_CLOSE_STREAM2, G_PRIORITY_DEFAULT,
        self->cancellable, NULL, NULL);
  g_clear_object (&relay);
  g_object_unref (client);
}

static void
accepted (GObject *object, GAsyncResult *result, gpointer user)
{
  Lossy *self = user;
  GSocketConnection *client =
      g_socket_listener_accept_finish (G_SOCKET_LISTENER (object), result, NULL, NULL);
  GSocketClient *connector;

  if (client == NULL)
    return;
  connector = g_socket_client_new ();
  g_object_set_data (G_OBJECT (connector), "lossy", self);
  g_socket_client_connect_async (
      connector, G_SOCKET_CONNECTABLE (self->relay), self->cancellable, connected, client);
  g_object_unref (connector);
  g_socket_listener_accept_async (self->listener, self->cancellable, accepted, self);
}

/* ---- UDP ----------------------------------------------------------------- */

static gboolean
is_lost (Lossy *self, gboolean up, guint8 *data, gsize len)
{
  LossyDatagram d = {up, data, len, FALSE, FALSE};
  gboolean lost;

  d.rtp = len >= 12 && data[0] >> 6 == 2 && !(data[1] >= 192 && data[1] <= 223);
  if (d.rtp) {
    guint64 key = 0;

    memcpy (&key, data + 2, 2);
    memcpy ((guint8 *)&key + 2, data + 8, 4);
    d.repeat = !g_hash_table_add (self->seen[up], g_memdup2 (&key, sizeof key));
  }
  lost = self->lose (&d, self->user);
  if (d.rtp && !lost)
    g_atomic_int_inc (&self->passed[up]);
  else if (d.rtp && g_atomic_int_get (&self->passed[up]) > 0)
    g_atomic_int_inc (&self->lost[up]);
  return lost;
}

static gboolean
from_relay (GSocket *socket, GIOCondition condition, gpointer user)
{
  Client *client = user;
  Lossy *self = client->lossy;
  gchar data[2048];
  gssize n = g_socket_receive (socket, data, sizeof data, NULL, NULL);

  if (n > 0 && !is_lost (self, FALSE, (guint8 *)data, (gsize)n))
    g_socket_send_to (self->socket, client->address, data, (gsize)n, NULL, NULL);
  return G_SOURCE_CONTINUE;
}

static void
watch (Lossy *self, GSocket *socket, GSocketSourceFunc func, gpointer user)
{
  GSource *source = g_socket_create_source (socket, G_IO_IN, NULL);

  g_source_set_callback (source, (GSourceFunc)(void (*) (void))func, user, NULL);
  g_source_attach (source, self->context);
  g_source_unref (source);
}

static GSocket *
udp_socket (GSocketAddress *address)
{
  GSocket *socket =
      g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);

  g_socket_set_blocking (socket, FALSE);
  g_assert_true (g_socket_bind (socket, address, FALSE, NULL));
  return socket;
}

static gboolean
is_same (GSocketAddress *a, GSocketAddress *b)
{
  return g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (a)) ==
         g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (b));
}

static Client *
need_client (Lossy *self, GSocketAddress *address)
{
  GSocketAddress *any;
  Client *client;

  for (guint i = 0; i < self->n_clients; i++) {
    if (is_same (self->clients[i].address, address))
      return &self->clients[i];
  }
  g_assert_cmpuint (self->n_clients, <, CLIENTS);
  client = &self->clients[self->n_clients++];
  client->lossy = self;
  client->address = g_object_ref (address);
  any = g_inet_socket_address_new_from_string ("127.0.0.1", 0);
  client->socket = udp_socket (any);
  g_object_unref (any);
  watch (self, client->socket, from_relay, client);
  return client;
}

static gboolean
from_client (GSocket *socket, GIOCondition condition, gpointer user)
{
  Lossy *self = user;
  GSocketAddress *address = NULL;
  gchar data[2048];
  gssize n = g_socket_receive_from (socket, &address, data, sizeof data, NULL, NULL);

  if (n > 0 && !is_lost (self, TRUE, (guint8 *)data, (gsize)n))
    g_socket_send_to (need_client (self, address)->socket, self->relay, data, (gsize)n, NULL, NULL);
  g_clear_object (&address);
  return G_SOURCE_CONTINUE;
}

/* ---- the whole ----------------------------------------------------------- */

static gpointer
run (gpointer user)
{
  Lossy *self = user;

  g_main_context_push_thread_default (self->context);
  g_socket_listener_accept_async (self->listener, self->cancellable, accepted, self);
  watch (self, self->socket, from_client, self);
  g_main_loop_run (self->loop);
  /* What was cancelled ends before its memory goes. */
  while (g_main_context_iteration (self->context, FALSE))
    ;
  g_main_context_pop_thread_default (self->context);
  return NULL;
}

Lossy *
lossy_new (const char *address, guint16 port, LossyFunc lose, gpointer user)
{
  GSocketAddress *here = g_inet_socket_address_new_from_string (address, port);
  Lossy *self = g_new0 (Lossy, 1);

  self->lose = lose;
  self->user = user;
  self->relay = g_inet_socket_address_new_from_string ("127.0.0.1", port);
  for (guint i = 0; i < 2; i++)
    self->seen[i] = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  self->listener = g_socket_listener_new ();
  g_assert_true (g_socket_listener_add_address (
      self->listener, here, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL, NULL, NULL));
  self->socket = udp_socket (here);
  g_object_unref (here);
  self->context = g_main_context_new ();
  self->loop = g_main_loop_new (self->context, FALSE);
  self->cancellable = g_cancellable_new ();
  self->thread = g_thread_new ("lossy", run, self);
  return self;
}

void
lossy_count (Lossy *self, gboolean up, guint *lost, guint *passed)
{
  *lost = (guint)g_atomic_int_get (&self->lost[up]);
  *passed = (guint)g_atomic_int_get (&self->passed[up]);
}

static gboolean
quit (gpointer user)
{
  Lossy *self = user;

  g_cancellable_cancel (self->cancellable);
  g_main_loop_quit (self->loop);
  return G_SOURCE_REMOVE;
}

void
lossy_free (Lossy *self)
{
  g_main_context_invoke (self->context, quit, self);
  g_thread_join (self->thread);
  g_socket_listener_close (self->listener);
  g_object_unref (self->listener);
  for (guint i = 0; i < self->n_clients; i++) {
    g_object_unref (self->clients[i].address);
    g_object_unref (self->clients[i].socket);
  }
  g_object_unref (self->socket);
  g_object_unref (self->relay);
  g_object_unref (self->cancellable);
  g_main_loop_unref (self->loop);
  g_main_context_unref (self->context);
  for (guint i = 0; i < 2; i++)
    g_hash_table_unref (self->seen[i]);
  g_free (self);
}
