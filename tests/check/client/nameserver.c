/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "nameserver.h"

static GMutex lock;
static char *said; /* under lock, as the next; NULL = nothing */
static guint after;
static GResolver *usual; /* the system's, meanwhile */

typedef struct {
  GResolver parent;
} NameServer;
typedef struct {
  GResolverClass parent;
} NameServerClass;
static GType name_server_get_type (void);
G_DEFINE_FINAL_TYPE (NameServer, name_server, G_TYPE_RESOLVER)

static gboolean
is_wanted (GInetAddress *address, GResolverNameLookupFlags flags)
{
  if (g_inet_address_get_family (address) == G_SOCKET_FAMILY_IPV6)
    return (flags & G_RESOLVER_NAME_LOOKUP_FLAGS_IPV4_ONLY) == 0;
  return (flags & G_RESOLVER_NAME_LOOKUP_FLAGS_IPV6_ONLY) == 0;
}

static GList *
addresses_of (const char *text, GResolverNameLookupFlags flags)
{
  g_auto (GStrv) words = g_strsplit (text, " ", 0);
  GList *list = NULL;

  for (guint i = 0; words[i] != NULL; i++) {
    GInetAddress *address = g_inet_address_new_from_string (words[i]);

    g_assert_nonnull (address);
    if (is_wanted (address, flags))
      list = g_list_append (list, address);
    else
      g_object_unref (address);
  }
  return list;
}

static void
free_addresses (gpointer list)
{
  g_resolver_free_addresses (list);
}

static gboolean
on_time (gpointer user)
{
  GTask *task = user;
  GList *list = g_task_get_task_data (task);

  if (list == NULL)
    g_task_return_new_error (task, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND, "none such");
  else
    g_task_return_pointer (task,
        g_list_copy_deep (list, (GCopyFunc)(void (*) (void))g_object_ref, NULL), free_addresses);
  return G_SOURCE_REMOVE;
}

static gboolean
on_cancelled (GCancellable *cancellable, gpointer user)
{
  g_task_return_error_if_cancelled (user);
  return G_SOURCE_REMOVE;
}

static void
look_up (GResolver *resolver, const gchar *name, GResolverNameLookupFlags flags,
    GCancellable *cancellable, GAsyncReadyCallback callback, gpointer user)
{
  g_autoptr (GTask) task = g_task_new (resolver, cancellable, callback, user);
  g_autoptr (GSource) source = NULL;

  g_mutex_lock (&lock);
  if (said != NULL) {
    g_task_set_task_data (task, addresses_of (said, flags), free_addresses);
    source = g_timeout_source_new (after);
    g_task_attach_source (task, source, on_time);
  } else {
    source = g_cancellable_source_new (cancellable);
    g_task_attach_source (task, source, G_SOURCE_FUNC (on_cancelled));
  }
  g_mutex_unlock (&lock);
}

static void
look_up_all (GResolver *resolver, const gchar *name, GCancellable *cancellable,
    GAsyncReadyCallback callback, gpointer user)
{
  look_up (resolver, name, 0, cancellable, callback, user);
}

static GList *
found (GResolver *resolver, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

static void
name_server_class_init (NameServerClass *klass)
{
  G_RESOLVER_CLASS (klass)->lookup_by_name_async = look_up_all;
  G_RESOLVER_CLASS (klass)->lookup_by_name_finish = found;
  G_RESOLVER_CLASS (klass)->lookup_by_name_with_flags_async = look_up;
  G_RESOLVER_CLASS (klass)->lookup_by_name_with_flags_finish = found;
}

static void
name_server_init (NameServer *self)
{
}

void
name_server_begin (void)
{
  g_autoptr (GResolver) own = g_object_new (name_server_get_type (), NULL);

  usual = g_resolver_get_default ();
  g_resolver_set_default (own);
}

void
name_server_say (const char *addresses, guint after_ms)
{
  g_mutex_lock (&lock);
  g_free (said);
  said = g_strdup (addresses);
  after = after_ms;
  g_mutex_unlock (&lock);
}

void
name_server_end (void)
{
  g_resolver_set_default (usual);
  g_clear_object (&usual);
  name_server_say (NULL, 0);
}
