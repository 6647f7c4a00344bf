/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A relay whose name leads to several addresses, of which not all lead to a relay: HTTPS finds one that does. */

#include <string.h>

#include "asker.h"
#include "nameserver.h"

#define FIRST      "127.0.0.2"
#define SECOND     "127.0.0.3"
#define TIMEOUT_MS 60000

/* Two servers at one port, and a name that leads to both. */
typedef struct {
  Asker a;
  HttpsServer *first, *second; /* NULL: nothing listens there */
  guint16 port;
} Pair;

static HttpsServer *
listens (Pair *p, const char *ip, HttpsManner manner)
{
  g_autofree char *text = https_session_answer (8443);
  HttpsServer *server = p->port == 0 ? https_server_new_at (ip, manner, text, p->a.pem)
                                     : https_server_new_on (ip, p->port, manner, text, p->a.pem);

  p->port = https_server_port (server);
  return server;
}

static void
pair_init (Pair *p)
{
  memset (p, 0, sizeof *p);
  asker_init (&p->a);
  g_free (p->a.config.host);
  p->a.config.host = g_strdup ("relay.test");
  name_server_begin ();
  name_server_say (FIRST " " SECOND, 0);
}

static void
pair_clear (Pair *p)
{
  asker_clear (&p->a);
  name_server_end ();
  if (p->first != NULL)
    https_server_free (p->first);
  if (p->second != NULL)
    https_server_free (p->second);
}

static void
assert_answered_at (Pair *p, const char *ip)
{
  NatAddress expected;

  g_assert_null (p->a.cause);
  g_assert_true (p->a.has_document);
  g_assert_true (nat_address_from_text (&expected, ip, p->port));
  g_assert_true (nat_address_equal (&p->a.remote, &expected));
}

/* It takes connections, and TLS hangs there. The next time it is not even asked; and asked again once the other is gone. */
static void
test_hangs (void)
{
  guint n_calls;
  Pair p;

  pair_init (&p);
  p.first = listens (&p, FIRST, HTTPS_HANGS);
  p.second = listens (&p, SECOND, HTTPS_ANSWERS);
  asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
  assert_answered_at (&p, SECOND);
  g_assert_cmpuint (https_server_n_requests (p.second), ==, 1);
  n_calls = https_server_n_calls (p.first);
  asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
  assert_answered_at (&p, SECOND);
  g_assert_cmpuint (https_server_n_calls (p.first), ==, n_calls);

  https_server_free (p.first);
  https_server_free (p.second);
  p.second = NULL;
  p.first = listens (&p, FIRST, HTTPS_ANSWERS);
  asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
  assert_answered_at (&p, FIRST);
  pair_clear (&p);
}

/* One that is only slow is not given up before another is ready: there may be no other. */
static void
test_slow (void)
{
  Pair p;

  pair_init (&p);
  p.first = listens (&p, FIRST, HTTPS_LATE);
  asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
  assert_answered_at (&p, FIRST);
  p.second = listens (&p, SECOND, HTTPS_HANGS);
  asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
  assert_answered_at (&p, FIRST);
  g_assert_cmpuint (https_server_n_requests (p.first), ==, 2);
  pair_clear (&p);
}

/* However close to each other two are ready, one gets the request. */
static void
test_once (void)
{
  /* The second is asked after one second. */
  for (guint ms = 980; ms <= 1020; ms += 10) {
    Pair p;

    pair_init (&p);
    p.first = listens (&p, FIRST, HTTPS_LATE);
    p.second = listens (&p, SECOND, HTTPS_ANSWERS);
    https_server_set_late (p.first, ms);
    asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
    g_assert_null (p.a.cause);
    g_assert_true (p.a.has_document);
    g_assert_cmpuint (
        https_server_n_requests (p.first) + https_server_n_requests (p.second), ==, 1);
    pair_clear (&p);
  }
}

/* That it hangs everywhere is told as it is. */
static void
test_all_hang (void)
{
  Pair p;

  pair_init (&p);
  p.first = listens (&p, FIRST, HTTPS_HANGS);
  p.second = listens (&p, SECOND, HTTPS_HANGS);
  for (guint i = 0; i < 2; i++) {
    asker_ask (&p.a, p.port, 0, 1000);
    g_assert_cmpint (p.a.cause->kind, ==, NAT_CAUSE_TIMEOUT);
    g_assert_nonnull (strstr (p.a.cause->text, "took the connection"));
    g_assert_false (p.a.cause->final);
  }
  pair_clear (&p);
}

/* One hangs, and the other is somebody else: that is what a person must hear of. */
static void
test_impostor (void)
{
  g_autofree char *text = https_session_answer (8443);
  Pair p;

  pair_init (&p);
  p.first = listens (&p, FIRST, HTTPS_HANGS);
  p.second = https_server_new_on (SECOND, p.port, HTTPS_ANSWERS, text, NULL);
  asker_ask (&p.a, p.port, 0, 6000);
  g_assert_cmpint (p.a.cause->kind, ==, NAT_CAUSE_TLS);
  g_assert_true (p.a.cause->final);
  g_assert_cmpuint (https_server_n_requests (p.second), ==, 0);
  pair_clear (&p);
}

/* The relay got another address, as behind a line whose provider changes it: a new session is asked for there. */
static void
test_moves (void)
{
  Pair p;

  pair_init (&p);
  name_server_say (FIRST, 0);
  p.first = listens (&p, FIRST, HTTPS_ANSWERS);
  asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
  assert_answered_at (&p, FIRST);
  https_server_free (p.first);
  p.first = NULL;
  p.second = listens (&p, SECOND, HTTPS_ANSWERS);
  name_server_say (SECOND, 0);
  asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
  assert_answered_at (&p, SECOND);
  pair_clear (&p);
}

/* The name leads elsewhere in another network, as inside and outside of the relay's own; a session asks there, too. */
static void
test_another_network (void)
{
  Pair p;

  pair_init (&p);
  name_server_say (FIRST, 0);
  p.first = listens (&p, FIRST, HTTPS_ANSWERS);
  asker_ask (&p.a, p.port, 0, TIMEOUT_MS);
  assert_answered_at (&p, FIRST);
  p.second = listens (&p, SECOND, HTTPS_ANSWERS);
  name_server_say (SECOND, 0);
  asker_fetch (&p.a, TIMEOUT_MS);
  assert_answered_at (&p, FIRST);
  nat_negotiator_network_changed (p.a.n);
  asker_fetch (&p.a, TIMEOUT_MS);
  assert_answered_at (&p, SECOND);
  pair_clear (&p);
}

int
main (int argc, char **argv)
{
  https_forget_proxies ();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/addresses/hangs", test_hangs);
  g_test_add_func ("/addresses/slow", test_slow);
  g_test_add_func ("/addresses/once", test_once);
  g_test_add_func ("/addresses/all-hang", test_all_hang);
  g_test_add_func ("/addresses/impostor", test_impostor);
  g_test_add_func ("/addresses/moves", test_moves);
  g_test_add_func ("/addresses/another-network", test_another_network);
  return g_test_run ();
}
