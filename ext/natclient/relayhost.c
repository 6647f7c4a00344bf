/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/relayhost.h"

#include <string.h>

#define HANGING_MAX 32 /* addresses; the oldest is forgotten for one more */

struct _NatRelayHost {
  gint refs;
  char *name;
  char *via;       /* or NULL */
  GSList *named;   /* of GNetworkAddress, one for each port: they keep what the name server said */
  GArray *hanging; /* of NatAddress */
};

NatRelayHost *
nat_relay_host_new (const char *name)
{
  NatRelayHost *h = g_new0 (NatRelayHost, 1);

  h->refs = 1;
  h->name = g_strdup (name);
  h->hanging = g_array_new (FALSE, FALSE, sizeof (NatAddress));
  return h;
}

NatRelayHost *
nat_relay_host_ref (NatRelayHost *h)
{
  g_atomic_int_inc (&h->refs);
  return h;
}

void
nat_relay_host_unref (NatRelayHost *h)
{
  if (!g_atomic_int_dec_and_test (&h->refs))
    return;
  nat_relay_host_look_anew (h);
  g_free (h->name);
  g_free (h->via);
  g_array_unref (h->hanging);
  g_free (h);
}

void
nat_relay_host_look_anew (NatRelayHost *h)
{
  g_slist_free_full (g_steal_pointer (&h->named), g_object_unref);
}

void
nat_relay_host_set_via (NatRelayHost *h, const char *via)
{
  g_free (h->via);
  h->via = g_strdup (via);
  nat_relay_host_look_anew (h);
}

static GSocketConnectable *
named (NatRelayHost *h, guint16 port)
{
  GSList *l = h->named;

  while (l != NULL && g_network_address_get_port (l->data) != port)
    l = l->next;
  if (l == NULL)
    l = h->named =
        g_slist_prepend (h->named, g_network_address_new (h->via != NULL ? h->via : h->name, port));
  return l->data;
}

/* ---- Which of them hang ------------------------------------------------ */

void
nat_relay_host_answers (NatRelayHost *h, const NatAddress *address)
{
  for (guint i = h->hanging->len; i-- > 0;)
    if (nat_address_equal (&g_array_index (h->hanging, NatAddress, i), address))
      g_array_remove_index (h->hanging, i);
}

void
nat_relay_host_hangs (NatRelayHost *h, const NatAddress *address)
{
  nat_relay_host_answers (h, address);
  if (h->hanging->len == HANGING_MAX)
    g_array_remove_index (h->hanging, 0);
  g_array_append_val (h->hanging, *address);
}

gboolean
nat_relay_host_forgive (NatRelayHost *h, guint16 port)
{
  gboolean any = FALSE;

  for (guint i = h->hanging->len; i-- > 0;)
    if (g_array_index (h->hanging, NatAddress, i).port == port) {
      g_array_remove_index (h->hanging, i);
      any = TRUE;
    }
  return any;
}

static gboolean
hangs (const NatRelayHost *h, GSocketAddress *address)
{
  guint8 native[128];
  gssize len = g_socket_address_get_native_size (address);
  NatAddress a;

  if (len <= 0 || (gsize)len > sizeof native ||
      !g_socket_address_to_native (address, native, sizeof native, NULL) ||
      !nat_address_from_sockaddr (&a, (const struct sockaddr *)native, (gsize)len))
    return FALSE;
  for (guint i = 0; i < h->hanging->len; i++)
    if (nat_address_equal (&g_array_index (h->hanging, NatAddress, i), &a))
      return TRUE;
  return FALSE;
}

/* ---- One after another ------------------------------------------------- */

#define NAT_TYPE_WAYS (nat_ways_get_type ())
static GType nat_ways_get_type (void);

/* All that another enumerator names, but for those that hang. */
typedef struct {
  GSocketAddressEnumerator parent;
  NatRelayHost *host;
  GSocketAddressEnumerator *inner;
  gboolean began; /* said that there is one, or none */
} NatWays;
typedef struct {
  GSocketAddressEnumeratorClass parent;
} NatWaysClass;
G_DEFINE_FINAL_TYPE (NatWays, nat_ways, G_TYPE_SOCKET_ADDRESS_ENUMERATOR)

static void ask (NatWays *self, GTask *task);

static void
on_next (GObject *inner, GAsyncResult *result, gpointer user)
{
  GTask *task = user;
  NatWays *self = g_task_get_source_object (task);
  GError *error = NULL;
  GSocketAddress *address =
      g_socket_address_enumerator_next_finish (G_SOCKET_ADDRESS_ENUMERATOR (inner), result, &error);

  if (address != NULL && hangs (self->host, address)) {
    g_object_unref (address);
    ask (self, task);
    return;
  }
  /* GSocketClient takes no end for a beginning. */
  if (address == NULL && error == NULL && !self->began)
    error = g_error_new_literal (G_IO_ERROR, G_IO_ERROR_TIMED_OUT, "TLS hangs there");
  self->began = TRUE;
  if (error != NULL)
    g_task_return_error (task, error);
  else
    g_task_return_pointer (task, address, g_object_unref);
  g_object_unref (task);
}

static void
ask (NatWays *self, GTask *task)
{
  g_socket_address_enumerator_next_async (
      self->inner, g_task_get_cancellable (task), on_next, task);
}

static void
next_async (GSocketAddressEnumerator *enumerator, GCancellable *cancellable,
    GAsyncReadyCallback callback, gpointer user)
{
  GTask *task = g_task_new (enumerator, cancellable, callback, user);

  g_task_set_source_tag (task, next_async);
  ask ((NatWays *)enumerator, task);
}

static GSocketAddress *
next_finish (GSocketAddressEnumerator *enumerator, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
nat_ways_finalize (GObject *object)
{
  NatWays *self = (NatWays *)object;

  g_object_unref (self->inner);
  nat_relay_host_unref (self->host);
  G_OBJECT_CLASS (nat_ways_parent_class)->finalize (object);
}

/* Nobody here connects in any other way than asynchronously. */
static void
nat_ways_class_init (NatWaysClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = nat_ways_finalize;
  G_SOCKET_ADDRESS_ENUMERATOR_CLASS (klass)->next_async = next_async;
  G_SOCKET_ADDRESS_ENUMERATOR_CLASS (klass)->next_finish = next_finish;
}

static void
nat_ways_init (NatWays *self)
{
}

/* ---- One port ---------------------------------------------------------- */

#define NAT_TYPE_DOOR (nat_door_get_type ())
static GType nat_door_get_type (void);

/* To TLS and to proxies it is the name, as any; only who asks for its addresses sees the difference. */
typedef struct {
  GNetworkAddress parent;
  NatRelayHost *host;
} NatDoor;
typedef struct {
  GNetworkAddressClass parent;
} NatDoorClass;

static void nat_door_iface_init (GSocketConnectableIface *iface);
G_DEFINE_FINAL_TYPE_WITH_CODE (NatDoor, nat_door, G_TYPE_NETWORK_ADDRESS,
    G_IMPLEMENT_INTERFACE (G_TYPE_SOCKET_CONNECTABLE, nat_door_iface_init))

static GSocketAddressEnumerator *
enumerate (GSocketConnectable *connectable)
{
  NatRelayHost *h = ((NatDoor *)connectable)->host;
  guint16 port = g_network_address_get_port (G_NETWORK_ADDRESS (connectable));
  NatWays *ways = g_object_new (NAT_TYPE_WAYS, NULL);

  ways->host = nat_relay_host_ref (h);
  ways->inner = g_socket_connectable_enumerate (named (h, port));
  return G_SOCKET_ADDRESS_ENUMERATOR (ways);
}

static void
nat_door_iface_init (GSocketConnectableIface *iface)
{
  iface->enumerate = enumerate; /* the rest is GNetworkAddress's */
}

static void
nat_door_finalize (GObject *object)
{
  nat_relay_host_unref (((NatDoor *)object)->host);
  G_OBJECT_CLASS (nat_door_parent_class)->finalize (object);
}

static void
nat_door_class_init (NatDoorClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = nat_door_finalize;
}

static void
nat_door_init (NatDoor *self)
{
}

GSocketConnectable *
nat_relay_host_at (NatRelayHost *h, guint16 port)
{
  /* With the scheme, for proxies are asked for by URI. */
  NatDoor *self = g_object_new (
      NAT_TYPE_DOOR, "hostname", h->name, "port", (guint)port, "scheme", "https", NULL);

  self->host = nat_relay_host_ref (h);
  return G_SOCKET_CONNECTABLE (self);
}
