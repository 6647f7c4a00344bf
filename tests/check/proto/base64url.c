/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* RFC 4648's vectors, GLib's base64 as a twin, and what is no base64url. */

#include "natproto/base64url.h"

#include <string.h>

static void
test_vectors (void)
{
  /* RFC 4648 section 10 without the padding, and the two bytes that differ from base64 */
  static const struct {
    const char *plain, *text;
  } cases[] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foob", "Zm9vYg"},
      {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"}};

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    gsize len = strlen (cases[i].plain);
    char text[16];
    guint8 back[16];

    g_assert_cmpuint (nat_base64url_encode (cases[i].plain, len, text), ==, strlen (text));
    g_assert_cmpstr (text, ==, cases[i].text);
    g_assert_cmpuint (NAT_BASE64URL_LEN (len), ==, strlen (text));
    g_assert_cmpint (nat_base64url_decode (text, strlen (text), back, len), ==, (gssize)len);
    g_assert_cmpmem (back, len, cases[i].plain, len);
    if (len > 0)
      g_assert_cmpint (nat_base64url_decode (text, strlen (text), back, len - 1), ==, -1);
  }
}

/* Against GLib's base64, with every byte value and every length to 200. */
static void
test_twin (void)
{
  guint8 data[200], back[200];
  char text[300];

  for (gsize len = 0; len <= sizeof data; len++) {
    g_autofree char *twin = NULL;

    for (gsize i = 0; i < len; i++)
      data[i] = (guint8)g_test_rand_int ();
    nat_base64url_encode (data, len, text);
    twin = g_base64_encode (data, len);
    g_strdelimit (twin, "+", '-');
    g_strdelimit (twin, "/", '_');
    if (strchr (twin, '=') != NULL)
      *strchr (twin, '=') = '\0';
    g_assert_cmpstr (text, ==, twin);
    g_assert_cmpint (
        nat_base64url_decode (text, strlen (text), back, sizeof back), ==, (gssize)len);
    g_assert_cmpmem (back, len, data, len);
  }
}

static void
test_strict (void)
{
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  guint8 out[16];

  /* stray bits, padding, impossible lengths, white space, base64's own two */
  static const char *const bad[] = {
      "Zh", "Zm9", "Zg==", "Zm8=", "Z", "Zm9vY", "Zm 9", "Zm9v\n", "+/+/", "Zm9\xc3"};
  for (gsize i = 0; i < G_N_ELEMENTS (bad); i++)
    g_assert_cmpint (nat_base64url_decode (bad[i], strlen (bad[i]), out, sizeof out), ==, -1);

  for (int c = 0; c < 256; c++) {
    char text[4] = {'A', 'A', 'A', (char)c};
    gboolean good = c != 0 && strchr (alphabet, c) != NULL;

    g_assert_cmpint (nat_base64url_decode (text, 4, out, sizeof out), ==, good ? 3 : -1);
    if (good)
      g_assert_cmpuint (out[2], ==, strchr (alphabet, c) - alphabet);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/base64url/vectors", test_vectors);
  g_test_add_func ("/base64url/twin", test_twin);
  g_test_add_func ("/base64url/strict", test_strict);
  return g_test_run ();
}
