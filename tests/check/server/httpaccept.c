/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whose connections the HTTPS server takes, and who makes room for them, where strangers have many addresses. They only
 * connect; the test says from where. */

#include "natserver/control/httpserver.h"

#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include "natserver/control/httplisten.h"

/* The linker puts these in the place of tls.c's, and of the system's. */
NatTlsIdentity *__wrap_nat_tls_identity_ref (NatTlsIdentity *identity);
void __wrap_nat_tls_identity_unref (NatTlsIdentity *identity);
int __real_accept4 (int fd, struct sockaddr *sa, socklen_t *len, int flags);
int __wrap_accept4 (int fd, struct sockaddr *sa, socklen_t *len, int flags);

static NatAddress from; /* who connects next */

NatTlsIdentity *
__wrap_nat_tls_identity_ref (NatTlsIdentity *identity)
{
  return identity;
}

void
__wrap_nat_tls_identity_unref (NatTlsIdentity *identity)
{
}

int
__wrap_accept4 (int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
  int conn = __real_accept4 (fd, sa, len, flags);

  if (conn >= 0)
    *len = (socklen_t)nat_address_to_sockaddr (&from, sa);
  return conn;
}

static void
answer (const NatHttpRequest *request, NatHttpResponse *response, gpointer user)
{
}

/* ---- A server, and who comes ------------------------------------------- */

typedef struct {
  NatHttpServer *http;
  NatAddress local;
  GArray *clients; /* their sockets */
} Field;

static Field *
field_new (guint connections, guint per_address, guint handshakes)
{
  NatHttpLimits limits = {connections, per_address, handshakes, 600000, 600000, NULL};
  Field *f = g_new0 (Field, 1);
  NatAddress any;
  int fd;

  f->http = nat_http_server_new (&limits, NULL, answer, f);
  f->clients = g_array_new (FALSE, FALSE, sizeof (int));
  g_assert_true (nat_address_from_text (&any, "127.0.0.1:0", 0));
  fd = nat_http_bind (&any, &f->local, NULL);
  g_assert_true (fd >= 0 && nat_http_server_listen (f->http, fd, NULL));
  return f;
}

static void
field_free (Field *f)
{
  nat_http_server_free (f->http);
  for (guint i = 0; i < f->clients->len; i++)
    close (g_array_index (f->clients, int, i));
  g_array_unref (f->clients);
  g_free (f);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Field, field_free)

static guint64
seen (Field *f)
{
  NatHttpServerStats stats;

  nat_http_server_get_stats (f->http, &stats);
  return stats.connections + stats.refused;
}

/* Returns who it is. */
static guint
come (Field *f, const char *address)
{
  struct sockaddr_storage sa;
  guint64 before = seen (f);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t len = (socklen_t)nat_address_to_sockaddr (&f->local, (struct sockaddr *)&sa);

  g_assert_true (nat_address_from_text (&from, address, 0));
  g_assert_cmpint (connect (fd, (struct sockaddr *)&sa, len), ==, 0);
  g_array_append_val (f->clients, fd);
  while (seen (f) == before)
    g_main_context_iteration (NULL, TRUE);
  return f->clients->len - 1;
}

static void
come_from_net (Field *f, guint n)
{
  g_autofree char *address = g_strdup_printf ("[2001:db8:1:%x::1]:1", n);

  come (f, address);
}

static gboolean
is_there (Field *f, guint who)
{
  char byte;

  return recv (g_array_index (f->clients, int, who), &byte, 1, MSG_DONTWAIT) < 0;
}

/* ---- Tests ------------------------------------------------------------- */

/* A customer may have 65,536 networks of IPv6 (a /48), each of which is one address by the other limit. */
static void
test_one_with_many_networks (void)
{
  g_autoptr (Field) f = field_new (16, 4, 1000);
  guint other, more;

  for (guint i = 0; i < 16; i++)
    come_from_net (f, i);
  other = come (f, "[2001:db8:2::1]:1");
  g_assert_true (is_there (f, other));
  g_assert_false (is_there (f, 0));
  g_assert_true (is_there (f, 1));
  come_from_net (f, 16);
  g_assert_false (is_there (f, 17));
  more = come (f, "192.0.2.1:1");
  g_assert_true (is_there (f, more));
  g_assert_true (is_there (f, other));
  g_assert_false (is_there (f, 1));
}

static void
test_some_with_many_connections (void)
{
  g_autoptr (Field) f = field_new (16, 4, 1000);
  guint other;

  for (guint i = 0; i < 16; i++) {
    g_autofree char *address = g_strdup_printf ("192.0.2.%u:1", i / 4);

    come (f, address);
  }
  other = come (f, "198.51.100.1:1");
  g_assert_true (is_there (f, other));
  g_assert_false (is_there (f, 0));
  come (f, "198.51.100.1:1");
  g_assert_false (is_there (f, 4));
  g_assert_true (is_there (f, other));
}

/* Where nobody has more than whoever comes, he is the one to wait. */
static void
test_equals_stay (void)
{
  g_autoptr (Field) f = field_new (16, 4, 1000);
  guint other;

  for (guint i = 0; i < 16; i++) {
    g_autofree char *address = g_strdup_printf ("192.0.2.%u:1", i);

    come (f, address);
  }
  other = come (f, "198.51.100.1:1");
  g_assert_false (is_there (f, other));
  for (guint i = 0; i < 16; i++)
    g_assert_true (is_there (f, i));
}

/* The same where it is about handshakes. */
static void
test_handshakes_of_one_with_many_networks (void)
{
  g_autoptr (Field) f = field_new (1000, 1000, 8);
  guint other = come (f, "[2001:db8:2::1]:1");

  for (guint i = 0; i < 40; i++)
    come_from_net (f, i);
  g_assert_true (is_there (f, other));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define T(name) g_test_add_func ("/httpaccept/" #name, test_##name)
  T (one_with_many_networks);
  T (some_with_many_connections);
  T (equals_stay);
  T (handshakes_of_one_with_many_networks);
  return g_test_run ();
}
