/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/httplisten.h"

#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <gio/gio.h>

static NatAddress
address (const char *text)
{
  NatAddress a;

  g_assert_true (nat_address_from_text (&a, text, 0));
  return a;
}

static gboolean
connect_to (const NatAddress *to)
{
  struct sockaddr_storage sa;
  socklen_t len = (socklen_t)nat_address_to_sockaddr (to, (struct sockaddr *)&sa);
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  gboolean ok;

  g_assert_cmpint (fd, >=, 0);
  ok = connect (fd, (struct sockaddr *)&sa, len) == 0;
  close (fd);
  return ok;
}

static void
test_bind_then_listen (void)
{
  NatAddress any = address ("127.0.0.1:0"), local;
  g_autoptr (GError) error = NULL;
  int fd = nat_http_bind (&any, &local, &error);

  g_assert_no_error (error);
  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpuint (local.port, >, 0);
  g_assert_false (connect_to (&local)); /* not yet */
  g_assert_true (nat_http_listen (fd, &error));
  g_assert_no_error (error);
  g_assert_true (connect_to (&local));
  close (fd);
}

/* One binds and both do, but one listens; the error names the port and what to do. */
static void
test_taken (void)
{
  NatAddress any = address ("127.0.0.1:0"), local, same;
  g_autoptr (GError) error = NULL;
  int one = nat_http_bind (&any, &local, &error);
  int two = nat_http_bind (&local, &same, &error);
  char text[NAT_ADDRESS_TEXT_MAX];

  g_assert_no_error (error);
  g_assert_true (nat_address_equal (&local, &same));
  g_assert_true (nat_http_listen (one, &error));
  g_assert_false (nat_http_listen (two, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
  g_assert_nonnull (strstr (error->message, nat_address_to_text (&local, text)));
  g_assert_nonnull (strstr (error->message, "--listen"));
  close (one);
  close (two);
}

static void
test_foreign_address (void)
{
  NatAddress elsewhere = address ("192.0.2.1:0"), local;
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (nat_http_bind (&elsewhere, &local, &error), ==, -1);
  g_assert_nonnull (error);
  g_assert_nonnull (strstr (error->message, "192.0.2.1"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/httplisten/bind-then-listen", test_bind_then_listen);
  g_test_add_func ("/httplisten/taken", test_taken);
  g_test_add_func ("/httplisten/foreign-address", test_foreign_address);
  return g_test_run ();
}
