/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/nat64.h"

#include <string.h>

/* RFC 6052 section 2.4: 192.0.2.33 behind each length of prefix. */
static const struct {
  const char *prefix;
  guint length;
  const char *mapped;
} rows[] = {
    {"2001:db8::", 32, "[2001:db8:c000:221::]:8443"},
    {"2001:db8:100::", 40, "[2001:db8:1c0:2:21::]:8443"},
    {"2001:db8:122::", 48, "[2001:db8:122:c000:2:2100::]:8443"},
    {"2001:db8:122:300::", 56, "[2001:db8:122:3c0:0:221::]:8443"},
    {"2001:db8:122:344::", 64, "[2001:db8:122:344:c0:2:2100::]:8443"},
    {"2001:db8:122:344::", 96, "[2001:db8:122:344::c000:221]:8443"},
    {"64:ff9b::", 96, "[64:ff9b::c000:221]:8443"},
};

static NatAddress
address (const char *text)
{
  NatAddress a;

  g_assert_true (nat_address_from_text (&a, text, 0));
  return a;
}

static NatNat64
prefix_of (guint row)
{
  g_autofree char *text = g_strdup_printf ("[%s]", rows[row].prefix);
  NatAddress a = address (text);
  NatNat64 prefix = {.length = (guint8)rows[row].length};

  memcpy (prefix.bytes, a.ip, sizeof a.ip);
  return prefix;
}

static void
test_vectors (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    NatAddress v4 = address ("192.0.2.33:8443"), mapped, wanted = address (rows[i].mapped);
    NatNat64 prefix = prefix_of (i);

    g_assert_true (nat_nat64_map (&prefix, &v4, &mapped));
    g_assert_true (nat_address_equal (&mapped, &wanted));
  }
}

/* What a name server makes of ipv4only.arpa tells its prefix, whichever of the two addresses it took. */
static void
test_find (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    NatNat64 prefix = prefix_of (i), found;

    for (guint k = 170; k < 172; k++) {
      g_autofree char *known = g_strdup_printf ("192.0.0.%u", k);
      NatAddress v4 = address (known), named;

      g_assert_true (nat_nat64_map (&prefix, &v4, &named));
      g_assert_true (nat_nat64_find (&found, &named));
      g_assert_cmpuint (found.length, ==, rows[i].length);
      g_assert_cmpmem (found.bytes, 16, prefix.bytes, 16);
    }
  }
}

static void
test_none (void)
{
  static const char *const strangers[] = {"[2001:db8::1]", "192.0.0.170", "[64:ff9b::c000:ac]",
      "[2001:db8:122:344:ffc0:0:aa00::]" /* the reserved byte is used */};
  NatNat64 prefix;
  NatAddress mapped, v4 = address ("192.0.2.33:8443"), v6 = address ("[2001:db8::1]:8443");

  for (guint i = 0; i < G_N_ELEMENTS (strangers); i++) {
    NatAddress a = address (strangers[i]);

    g_assert_false (nat_nat64_find (&prefix, &a));
    g_assert_cmpuint (prefix.length, ==, 0);
    g_assert_false (nat_nat64_map (&prefix, &v4, &mapped));
    g_assert_cmpuint (mapped.family, ==, 0);
  }
  prefix = prefix_of (6);
  g_assert_false (nat_nat64_map (&prefix, &v6, &mapped));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/nat64/vectors", test_vectors);
  g_test_add_func ("/nat64/find", test_find);
  g_test_add_func ("/nat64/none", test_none);
  return g_test_run ();
}
