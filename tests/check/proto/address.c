/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/address.h"

#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* text in, default port, text out; NULL: refused */
static const struct {
  const char *text;
  guint16 port;
  const char *want;
} text_cases[] = {
    {"192.0.2.1:5000", 1, "192.0.2.1:5000"},
    {"192.0.2.1", 8443, "192.0.2.1:8443"},
    {"0.0.0.0:0", 1, "0.0.0.0:0"},
    {"192.0.2.1:65535", 1, "192.0.2.1:65535"},
    {"[2001:db8::1]:5000", 1, "[2001:db8::1]:5000"},
    {"[2001:db8::1]", 8443, "[2001:db8::1]:8443"},
    {"2001:db8::1", 8443, "[2001:db8::1]:8443"},
    {"::", 8443, "[::]:8443"},
    {"[::1]:443", 1, "[::1]:443"},
    {"[::ffff:192.0.2.7]:99", 1, "192.0.2.7:99"},
    {"::ffff:192.0.2.7", 99, "192.0.2.7:99"},
    {"2001:db8:1234:5678:11:2233:4455:6677", 1, "[2001:db8:1234:5678:11:2233:4455:6677]:1"},
    {"", 1, NULL},
    {":5000", 1, NULL},
    {"192.0.2.1:", 1, NULL},
    {"192.0.2.1:65536", 1, NULL},
    {"192.0.2.1:123456", 1, NULL},
    {"192.0.2.1:-1", 1, NULL},
    {"192.0.2.1:+1", 1, NULL},
    {"192.0.2.1: 1", 1, NULL},
    {"192.0.2.1:80x", 1, NULL},
    {"192.0.2", 1, NULL},
    {"192.0.2.256", 1, NULL},
    {"[192.0.2.1]:80", 1, NULL},
    {"[2001:db8::1", 1, NULL},
    {"[2001:db8::1]5000", 1, NULL},
    {"[2001:db8::1]:", 1, NULL},
    {"[]:80", 1, NULL},
    {"[fe80::1%eth0]:80", 1, NULL},
    {"relay.example.org:8443", 1, NULL},
    {"2001:db8:1234:5678:11:2233:4455:6677:8899:aabb:ccdd:eeff", 1, NULL},
};

static void
test_text (void)
{
  for (gsize i = 0; i < G_N_ELEMENTS (text_cases); i++) {
    NatAddress a;
    char text[NAT_ADDRESS_TEXT_MAX];
    gboolean ok = nat_address_from_text (&a, text_cases[i].text, text_cases[i].port);

    g_test_message ("case %" G_GSIZE_FORMAT ": %s", i, text_cases[i].text);
    g_assert_cmpint (ok, ==, text_cases[i].want != NULL);
    g_assert_cmpstr (nat_address_to_text (&a, text), ==,
        text_cases[i].want != NULL ? text_cases[i].want : "none");
    if (!ok)
      g_assert_cmpuint (a.family, ==, 0);
  }
}

static void
test_sockaddr (void)
{
  static const char *const texts[] = {"192.0.2.1:5000", "[2001:db8::1]:443", "127.0.0.1:0"};

  for (gsize i = 0; i < G_N_ELEMENTS (texts); i++) {
    NatAddress a, back;
    struct sockaddr_storage ss;
    gsize len;

    g_assert_true (nat_address_from_text (&a, texts[i], 0));
    len = nat_address_to_sockaddr (&a, (struct sockaddr *)&ss);
    g_assert_cmpuint (
        len, ==, a.family == 4 ? sizeof (struct sockaddr_in) : sizeof (struct sockaddr_in6));
    g_assert_true (nat_address_from_sockaddr (&back, (struct sockaddr *)&ss, len));
    g_assert_true (nat_address_equal (&a, &back));
    /* Cut short, it is nothing. */
    for (gsize cut = 0; cut < len; cut++) {
      g_assert_false (nat_address_from_sockaddr (&back, (struct sockaddr *)&ss, cut));
      g_assert_cmpuint (back.family, ==, 0);
    }
  }
}

/* What recvmsg on a dual-stack socket gives for an IPv4 peer */
static void
test_mapped (void)
{
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons (7000)};
  NatAddress a, want;

  g_assert_cmpint (inet_pton (AF_INET6, "::ffff:198.51.100.4", &in6.sin6_addr), ==, 1);
  g_assert_true (nat_address_from_sockaddr (&a, (struct sockaddr *)&in6, sizeof in6));
  g_assert_true (nat_address_from_text (&want, "198.51.100.4:7000", 0));
  g_assert_true (nat_address_equal (&a, &want));
  g_assert_cmpmem (&a, sizeof a, &want, sizeof want);
}

static void
test_none (void)
{
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  struct sockaddr_storage ss;
  NatAddress a;
  char text[NAT_ADDRESS_TEXT_MAX];

  g_assert_false (nat_address_from_sockaddr (&a, (struct sockaddr *)&un, sizeof un));
  g_assert_cmpstr (nat_address_to_text (&a, text), ==, "none");
  g_assert_cmpuint (nat_address_to_sockaddr (&a, (struct sockaddr *)&ss), ==, 0);
  g_assert_false (nat_address_is_any (&a));
  g_assert_false (nat_address_is_loopback (&a));
  g_assert_false (nat_address_from_ip (&a, (const guint8 *)"12345", 5, 1));
  g_assert_cmpuint (a.family, ==, 0);
}

static void
test_kinds (void)
{
  static const struct {
    const char *text;
    gboolean loopback, any;
  } cases[] = {{"127.0.0.1", TRUE, FALSE}, {"127.255.1.2", TRUE, FALSE}, {"[::1]", TRUE, FALSE},
      {"[::ffff:127.0.0.1]", TRUE, FALSE}, {"0.0.0.0", FALSE, TRUE}, {"[::]", FALSE, TRUE},
      {"128.0.0.1", FALSE, FALSE}, {"[::2]", FALSE, FALSE}, {"[7f00::1]", FALSE, FALSE}};

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    NatAddress a;

    g_test_message ("%s", cases[i].text);
    g_assert_true (nat_address_from_text (&a, cases[i].text, 1));
    g_assert_cmpint (nat_address_is_loopback (&a), ==, cases[i].loopback);
    g_assert_cmpint (nat_address_is_any (&a), ==, cases[i].any);
  }
}

static void
test_equal (void)
{
  NatAddress a, b;

  g_assert_true (nat_address_from_text (&a, "192.0.2.1:5000", 0));
  b = a;
  g_assert_true (nat_address_equal (&a, &b));
  b.transport = NAT_TRANSPORT_WEBSOCKET;
  g_assert_false (nat_address_equal (&a, &b));
  b = a;
  b.port++;
  g_assert_false (nat_address_equal (&a, &b));
  b = a;
  b.ip[3]++;
  g_assert_false (nat_address_equal (&a, &b));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/address/text", test_text);
  g_test_add_func ("/address/sockaddr", test_sockaddr);
  g_test_add_func ("/address/mapped", test_mapped);
  g_test_add_func ("/address/none", test_none);
  g_test_add_func ("/address/kinds", test_kinds);
  g_test_add_func ("/address/equal", test_equal);
  return g_test_run ();
}
