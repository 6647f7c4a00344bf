/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/hex.h"

static void
test_encode (void)
{
  char out[9] = "xxxxxxxx";

  nat_hex_encode ("\x00\x7f\x80\xff", 4, out);
  g_assert_cmpstr (out, ==, "007f80ff");
  nat_hex_encode ("", 0, out);
  g_assert_cmpstr (out, ==, "");
}

static void
test_decode (void)
{
  guint8 out[4];

  g_assert_true (nat_hex_decode ("007F80ffzz", out, 4));
  g_assert_cmpmem (out, 4, "\x00\x7f\x80\xff", 4);
  g_assert_true (nat_hex_decode ("", out, 0));
}

static void
test_all (void)
{
  for (guint i = 0; i < 256; i++) {
    guint8 in = (guint8)i, back;
    char text[3];

    nat_hex_encode (&in, 1, text);
    g_assert_true (nat_hex_decode (text, &back, 1));
    g_assert_cmpuint (back, ==, i);
  }
}

static void
test_not_hex (void)
{
  static const char *const texts[] = {
      "", "0", "000", "0g00", "g000", "00 0", " 000", "0x00", "-100"};
  guint8 out[2];

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    /* Exactly as long as it says: a reader that goes on behind the end is seen by the sanitizer. */
    g_autofree char *copy = g_strdup (texts[i]);

    if (nat_hex_decode (copy, out, sizeof out))
      g_error ("row %u", i);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/hex/encode", test_encode);
  g_test_add_func ("/hex/decode", test_decode);
  g_test_add_func ("/hex/all", test_all);
  g_test_add_func ("/hex/not-hex", test_not_hex);
  return g_test_run ();
}
