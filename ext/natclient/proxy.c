/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/proxy.h"

#include <string.h>

#include "natclient/cause.h"
#include "natproto/crypto.h"

/* A scheme that libsoup takes for none of its own, like SOCKS, so that the connection is through the proxy
 * before libsoup sees it. */
#define OUR_SCHEME "natrelay-connect"

/* ---- The proxy: HTTP's, under another name ----------------------------- */

#define NAT_TYPE_CONNECT_PROXY (nat_connect_proxy_get_type ())
static GType nat_connect_proxy_get_type (void);

typedef struct {
  GObject parent;
} NatConnectProxy;
typedef struct {
  GObjectClass parent;
} NatConnectProxyClass;

static void nat_connect_proxy_iface_init (GProxyInterface *iface);
G_DEFINE_FINAL_TYPE_WITH_CODE (NatConnectProxy, nat_connect_proxy, G_TYPE_OBJECT,
    G_IMPLEMENT_INTERFACE (G_TYPE_PROXY, nat_connect_proxy_iface_init))

static void
nat_connect_proxy_class_init (NatConnectProxyClass *klass)
{
}

static void
nat_connect_proxy_init (NatConnectProxy *self)
{
}

static GIOStream *
connect_through (GProxy *self, GIOStream *connection, GProxyAddress *address,
    GCancellable *cancellable, GError **error)
{
  g_autoptr (GProxy) http = g_proxy_get_default_for_protocol ("http");

  return g_proxy_connect (http, connection, address, cancellable, error);
}

static void
on_connected (GObject *http, GAsyncResult *result, gpointer user)
{
  g_autoptr (GTask) task = user;
  GError *error = NULL;
  GIOStream *stream = g_proxy_connect_finish (G_PROXY (http), result, &error);

  if (stream != NULL)
    g_task_return_pointer (task, stream, g_object_unref);
  else
    g_task_return_error (task, error);
}

static void
connect_through_async (GProxy *self, GIOStream *connection, GProxyAddress *address,
    GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user)
{
  g_autoptr (GProxy) http = g_proxy_get_default_for_protocol ("http");
  GTask *task = g_task_new (self, cancellable, callback, user);

  g_task_set_source_tag (task, connect_through_async);
  g_proxy_connect_async (http, connection, address, cancellable, on_connected, task);
}

static GIOStream *
connect_through_finish (GProxy *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

static gboolean
supports_hostname (GProxy *self)
{
  return TRUE; /* names are the proxy's to resolve */
}

static void
nat_connect_proxy_iface_init (GProxyInterface *iface)
{
  iface->connect = connect_through;
  iface->connect_async = connect_through_async;
  iface->connect_finish = connect_through_finish;
  iface->supports_hostname = supports_hostname;
}

static void
ensure_registered (void)
{
  static gsize done = 0;
  GProxy *http;

  if (!g_once_init_enter (&done))
    return;
  http = g_proxy_get_default_for_protocol ("http"); /* loads GIO's modules */
  g_clear_object (&http);
  g_io_extension_point_implement (
      G_PROXY_EXTENSION_POINT_NAME, NAT_TYPE_CONNECT_PROXY, OUR_SCHEME, 0);
  g_once_init_leave (&done, 1);
}

/* ---- The resolver: another's, with our scheme for HTTP's --------------- */

#define NAT_TYPE_PROXY_RESOLVER (nat_proxy_resolver_get_type ())
static GType nat_proxy_resolver_get_type (void);

typedef struct {
  GObject parent;
  GProxyResolver *inner;
  char *where; /* of the first that was found the last time; NULL = none */
} NatProxyResolver;
typedef struct {
  GObjectClass parent;
} NatProxyResolverClass;

static void nat_proxy_resolver_iface_init (GProxyResolverInterface *iface);
G_DEFINE_FINAL_TYPE_WITH_CODE (NatProxyResolver, nat_proxy_resolver, G_TYPE_OBJECT,
    G_IMPLEMENT_INTERFACE (G_TYPE_PROXY_RESOLVER, nat_proxy_resolver_iface_init))

static void
nat_proxy_resolver_finalize (GObject *object)
{
  NatProxyResolver *self = (NatProxyResolver *)object;

  g_clear_object (&self->inner);
  g_free (self->where);
  G_OBJECT_CLASS (nat_proxy_resolver_parent_class)->finalize (object);
}

static void
nat_proxy_resolver_class_init (NatProxyResolverClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = nat_proxy_resolver_finalize;
}

static void
nat_proxy_resolver_init (NatProxyResolver *self)
{
}

/* What people are told: user and password are left out. */
static char *
where_of (const char *proxy)
{
  g_autoptr (GUri) uri = g_uri_parse (proxy, G_URI_FLAGS_HAS_PASSWORD, NULL);
  const char *host = uri == NULL ? NULL : g_uri_get_host (uri);
  const char *format = host != NULL && strchr (host, ':') != NULL ? "[%s]" : "%s";
  g_autofree char *name = NULL;

  if (host == NULL || *host == '\0')
    return NULL; /* "direct://" */
  name = g_strdup_printf (format, host);
  return g_uri_get_port (uri) < 0 ? g_steal_pointer (&name)
                                  : g_strdup_printf ("%s:%d", name, g_uri_get_port (uri));
}

/* Takes proxies. */
static gchar **
renamed (NatProxyResolver *self, gchar **proxies)
{
  g_free (self->where);
  self->where = proxies != NULL && proxies[0] != NULL ? where_of (proxies[0]) : NULL;
  for (guint i = 0; proxies != NULL && proxies[i] != NULL; i++) {
    gchar *old = proxies[i];

    if (g_ascii_strncasecmp (old, "http://", 7) != 0)
      continue;
    proxies[i] = g_strconcat (OUR_SCHEME, old + 4, NULL);
    nat_crypto_wipe_free (old);
  }
  return proxies;
}

static gboolean
is_supported (GProxyResolver *resolver)
{
  return TRUE;
}

static gchar **
lookup (GProxyResolver *resolver, const gchar *uri, GCancellable *cancellable, GError **error)
{
  NatProxyResolver *self = (NatProxyResolver *)resolver;

  return renamed (self, g_proxy_resolver_lookup (self->inner, uri, cancellable, error));
}

static void
on_looked_up (GObject *inner, GAsyncResult *result, gpointer user)
{
  g_autoptr (GTask) task = user;
  GError *error = NULL;
  gchar **proxies = g_proxy_resolver_lookup_finish (G_PROXY_RESOLVER (inner), result, &error);

  if (proxies != NULL)
    g_task_return_pointer (
        task, renamed (g_task_get_source_object (task), proxies), (GDestroyNotify)g_strfreev);
  else
    g_task_return_error (task, error);
}

static void
lookup_async (GProxyResolver *resolver, const gchar *uri, GCancellable *cancellable,
    GAsyncReadyCallback callback, gpointer user)
{
  GTask *task = g_task_new (resolver, cancellable, callback, user);

  g_task_set_source_tag (task, lookup_async);
  g_proxy_resolver_lookup_async (
      ((NatProxyResolver *)resolver)->inner, uri, cancellable, on_looked_up, task);
}

static gchar **
lookup_finish (GProxyResolver *resolver, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
nat_proxy_resolver_iface_init (GProxyResolverInterface *iface)
{
  iface->is_supported = is_supported;
  iface->lookup = lookup;
  iface->lookup_async = lookup_async;
  iface->lookup_finish = lookup_finish;
}

/* ---- The setting ------------------------------------------------------- */

static gboolean
is_usable (const char *text)
{
  static const char *const schemes[] = {"http", "https", "socks", "socks4", "socks4a", "socks5"};
  g_autoptr (GUri) uri = g_uri_parse (text, G_URI_FLAGS_HAS_PASSWORD, NULL);
  const char *host = uri == NULL ? NULL : g_uri_get_host (uri);

  if (host == NULL || *host == '\0')
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (schemes); i++)
    if (g_ascii_strcasecmp (g_uri_get_scheme (uri), schemes[i]) == 0)
      return TRUE;
  return FALSE;
}

GProxyResolver *
nat_proxy_resolver_new (const NatSessionConfig *config, NatCause **cause)
{
  gboolean set = config->proxy != NULL && *config->proxy != '\0';
  NatProxyResolver *self;

  if (set && !is_usable (config->proxy)) {
    *cause = nat_cause_new (NAT_CAUSE_PROXY,
        "The proxy setting is not a URI; it looks like http://proxy.example.org:3128, or "
        "http://USER:PASSWORD@proxy.example.org:3128.");
    return NULL;
  }
  ensure_registered ();
  self = g_object_new (NAT_TYPE_PROXY_RESOLVER, NULL);
  self->inner = set ? g_simple_proxy_resolver_new (config->proxy, NULL)
                    : g_object_ref (g_proxy_resolver_get_default ());
  return G_PROXY_RESOLVER (self);
}

const char *
nat_proxy_resolver_where (GProxyResolver *resolver)
{
  return ((NatProxyResolver *)resolver)->where;
}
