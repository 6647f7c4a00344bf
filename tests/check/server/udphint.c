/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/udphint.h"

#include <errno.h>
#include <string.h>

#include "natproto/error.h"

#define MIB ((gsize)1024 * 1024)

static guint
count_lines (const char *text)
{
  guint n = *text != '\0';

  for (; *text; text++)
    n += *text == '\n';
  return n;
}

/* What to do about it is in each message. */
static void
test_bind_errors (void)
{
  static const struct {
    int code;
    const char *says;
  } table[] = {
      {EADDRINUSE, "ss -lunp"},
      {EADDRNOTAVAIL, "ip address"},
      {EACCES, "CAP_NET_BIND_SERVICE"},
      {EAFNOSUPPORT, "IPv4"},
      {EMFILE, "Too many open files"},
  };
  NatAddress address;

  g_assert_true (nat_address_from_text (&address, "192.0.2.1:443", 0));
  for (guint i = 0; i < G_N_ELEMENTS (table); i++) {
    g_autoptr (GError) error = NULL;

    nat_udphint_bind_error (&error, &address, table[i].code);
    g_assert_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT);
    g_assert_nonnull (strstr (error->message, table[i].says));
    g_assert_nonnull (strstr (error->message, "192.0.2.1"));
  }
}

static void
test_buffers (void)
{
  g_autoptr (GString) lines = g_string_new (NULL);

  nat_udphint_buffers (lines, 8 * MIB, 8 * MIB, 8 * MIB);
  g_assert_cmpstr (lines->str, ==, "");
  nat_udphint_buffers (lines, 212992, 8 * MIB, 8 * MIB);
  g_assert_cmpuint (count_lines (lines->str), ==, 1);
  g_assert_nonnull (strstr (lines->str, "sysctl -w net.core.rmem_max=8388608"));
  nat_udphint_buffers (lines, 212992, 212992, 8 * MIB); /* another socket */
  g_assert_cmpuint (count_lines (lines->str), ==, 2);
  g_assert_nonnull (strstr (lines->str, "sysctl -w net.core.wmem_max=8388608"));
}

static void
test_offload (void)
{
  g_autoptr (GString) lines = g_string_new (NULL);

  nat_udphint_offload (lines, TRUE, TRUE);
  g_assert_cmpstr (lines->str, ==, "");
  for (guint socket = 0; socket < 2; socket++)
    nat_udphint_offload (lines, FALSE, FALSE);
  g_assert_cmpuint (count_lines (lines->str), ==, 2);
  g_assert_nonnull (strstr (lines->str, "UDP_GRO"));
  g_assert_nonnull (strstr (lines->str, "UDP_SEGMENT"));
}

/* Each has a line of its own, and those about buffers have the number to set. */
static void
test_findings (void)
{
  static const struct {
    guint finding;
    const char *says;
  } table[] = {
      {NAT_UDPHINT_NO_OFFLOAD, "EIO"},
      {NAT_UDPHINT_LONG, "EMSGSIZE"},
      {NAT_UDPHINT_SEND_FULL, "net.core.wmem_max=16777216"},
      {NAT_UDPHINT_NO_MEMORY, "ENOBUFS"},
      {NAT_UDPHINT_OVERFLOW, "net.core.rmem_max=16777216"},
  };
  g_autofree char *none = nat_udphint_findings (0, 8 * MIB);
  guint all = 0;

  g_assert_cmpstr (none, ==, "");
  for (guint i = 0; i < G_N_ELEMENTS (table); i++) {
    g_autofree char *text = nat_udphint_findings (table[i].finding, 8 * MIB);

    all |= table[i].finding;
    g_assert_cmpuint (count_lines (text), ==, 1);
    g_assert_nonnull (strstr (text, table[i].says));
  }
  g_free (none);
  none = nat_udphint_findings (all, 8 * MIB);
  g_assert_cmpuint (count_lines (none), ==, G_N_ELEMENTS (table));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/udphint/bind-errors", test_bind_errors);
  g_test_add_func ("/udphint/buffers", test_buffers);
  g_test_add_func ("/udphint/offload", test_offload);
  g_test_add_func ("/udphint/findings", test_findings);
  return g_test_run ();
}
