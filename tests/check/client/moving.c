/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/prober.h"
#include "natclient/resume.h"

#include <string.h>

#include "../ownnetwork.h"
#include "../server/childtry.h"
#include "httpsserver.h"
#include "nameserver.h"
#include "relaymodel.h"
#include "watcher.h"

#define MS(n) ((gint64)(n)*1000)
#define RTT   MS (20)
#define SOON  60000 /* ms, in real time */

static gint slept_s; /* the machine, for so long */

gint64 __real_nat_resume_boottime_us (void);
gint64 __wrap_nat_resume_boottime_us (void);
gint64
__wrap_nat_resume_boottime_us (void)
{
  return __real_nat_resume_boottime_us () + (gint64)g_atomic_int_get (&slept_s) * G_USEC_PER_SEC;
}

/* One prober, and a relay behind each of its addresses, of which each may be cut off. */
typedef struct {
  gint64 at_us;
  guint to;
  guint8 data[NAT_DATAGRAM_MAX];
  gsize len;
} Flight;

typedef struct {
  NatProber *prober;
  RelayModel relays[2];
  NatAddress address[2], z;
  guint serves[2]; /* which relay answers there */
  gboolean cut[2];
  guint asked[2]; /* requests that were sent there */
  gint64 now;
  GArray *flights; /* answers on their way, of Flight */
  guint events[NAT_PROBER_FORBIDDEN + 1];
  NatProberReport report;
  char username[NAT_TICKET_TEXT_MAX + 1], password[NAT_PASSWORD_TEXT + 1];
} Ways;

static void
on_send (gpointer user, const NatAddress *relay, const guint8 *data, gsize len)
{
  Ways *w = user;
  Flight f = {w->now + RTT, nat_address_equal (relay, &w->address[1]) ? 1 : 0, {0}, 0};

  w->asked[f.to]++;
  if (w->cut[f.to])
    return;
  f.len = relay_model_input (
      &w->relays[w->serves[f.to]], w->now, &w->z, relay, data, len, f.data, sizeof f.data);
  if (f.len > 0)
    g_array_append_val (w->flights, f);
}

static void
on_event (gpointer user, NatProberEvent event, const NatProberReport *report)
{
  Ways *w = user;

  w->events[event]++;
  if (report != NULL)
    w->report = *report;
}

static void
on_random (gpointer user, gpointer out, gsize len)
{
  for (gsize i = 0; i < len; i++)
    ((guint8 *)out)[i] = (guint8)g_test_rand_int ();
}

static void
ways_init (Ways *w, NatRole role, guint n)
{
  static const NatProberOps ops = {on_send, on_event, on_random};
  static const guint8 epoch[NAT_EPOCH_SIZE] = "epoch of a test";

  memset (w, 0, sizeof *w);
  w->now = 1000 * G_USEC_PER_SEC;
  w->flights = g_array_new (FALSE, FALSE, sizeof (Flight));
  relay_model_init (&w->relays[0], 1);
  relay_model_init (&w->relays[1], 2);
  w->relays[1].foreign_is_401 = TRUE;
  relay_model_open (&w->relays[0], 3600, w->username, w->password);
  g_assert_true (nat_address_from_text (&w->address[0], "192.0.2.1:8443", 0));
  g_assert_true (nat_address_from_text (&w->address[1], "[2001:db8::1]:8443", 0));
  g_assert_true (nat_address_from_text (&w->z, "198.51.100.7:40000", 0));
  w->prober = nat_prober_new (role, epoch, &ops, w);
  nat_prober_set_credentials (
      w->prober, w->now, w->username, NAT_REALM, w->password, NAT_KEEPALIVE_MS);
  nat_prober_start (w->prober, w->now, w->address, n, 15000);
}

static void
ways_clear (Ways *w)
{
  nat_prober_free (w->prober);
  relay_model_clear (&w->relays[0]);
  relay_model_clear (&w->relays[1]);
  g_array_unref (w->flights);
}

static void
run_for (Ways *w, gint64 us)
{
  gint64 until = w->now + us;

  for (;;) {
    gint64 arrival = w->flights->len > 0 ? g_array_index (w->flights, Flight, 0).at_us : G_MAXINT64;
    gint64 next = MIN (arrival, nat_prober_deadline (w->prober));

    if (next > until)
      break;
    w->now = MAX (w->now, next);
    if (arrival <= w->now) {
      Flight f = g_array_index (w->flights, Flight, 0);

      g_array_remove_index (w->flights, 0);
      nat_prober_input (w->prober, w->now, &w->address[f.to], f.data, f.len);
    } else {
      nat_prober_tick (w->prober, w->now);
    }
  }
  w->now = until;
}

static void
register_at (Ways *w, guint which)
{
  run_for (w, MS (500));
  g_assert_cmpuint (w->events[NAT_PROBER_ACCEPTED], ==, 1);
  g_assert_true (nat_address_equal (&w->report.relay, &w->address[which]));
}

static void
indicate (Ways *w, NatReason reason)
{
  guint8 data[256];
  gsize n = relay_model_indication (&w->relays[0], reason, data, sizeof data);

  nat_prober_input (w->prober, w->now, &w->address[0], data, n);
}

/* ---- Addresses --------------------------------------------------------- */

/* IPv4 breaks in the middle of a stream: IPv6 has it within one probe and two round trips of the silence, and keeps it. */
static void
test_family_breaks (void)
{
  Ways w;
  guint before;

  ways_init (&w, NAT_ROLE_SUBSCRIBER, 2);
  register_at (&w, 0);
  for (guint i = 0; i < 50; i++) {
    run_for (&w, MS (20));
    nat_prober_heard (w.prober, w.now);
  }
  w.cut[0] = TRUE;
  run_for (&w, MS (60 + 250)); /* three gaps, and the suspicion */
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 1);
  run_for (&w, NAT_PROBE_US + 2 * RTT);
  g_assert_cmpuint (w.events[NAT_PROBER_ACCEPTED], ==, 2);
  g_assert_true (nat_address_equal (&w.report.relay, &w.address[1]));
  /* The old one comes back, and is left alone. */
  w.cut[0] = FALSE;
  before = w.asked[0];
  run_for (&w, MS (20000));
  g_assert_true (nat_address_equal (&w.report.relay, &w.address[1]));
  g_assert_cmpuint (w.asked[0], ==, before);
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 1);
  ways_clear (&w);
}

/* Both answer again after an outage of both: the one that we had goes on. */
static void
test_family_stays (void)
{
  Ways w;

  ways_init (&w, NAT_ROLE_PUBLISHER, 2);
  register_at (&w, 0);
  w.cut[0] = w.cut[1] = TRUE;
  run_for (&w, MS (8100));
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 1);
  w.cut[0] = w.cut[1] = FALSE;
  run_for (&w, MS (5000));
  g_assert_cmpint (nat_prober_phase (w.prober), ==, NAT_PROBER_REGISTERED);
  g_assert_cmpuint (w.events[NAT_PROBER_ACCEPTED], ==, 2);
  ways_clear (&w);
}

/* The name's other address is another relay's, which does not know the session: nothing is lost by that. But if the one that
 * knew it is silent for more than five seconds, it may be this one that forgot: we negotiate anew, and ask on. */
static void
test_another_relay (void)
{
  Ways w;
  guint before;

  ways_init (&w, NAT_ROLE_PUBLISHER, 1);
  w.serves[1] = 1;
  nat_prober_add (w.prober, w.now, &w.address[1]);
  register_at (&w, 0);
  w.cut[0] = TRUE;
  run_for (&w, MS (8500)); /* four of them until it is noticed */
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 1);
  g_assert_cmpuint (w.events[NAT_PROBER_LOST], ==, 0);
  run_for (&w, MS (3500));
  g_assert_cmpuint (w.events[NAT_PROBER_LOST], ==, 1);
  g_assert_cmpuint (w.events[NAT_PROBER_DISOWNED], ==, 0);
  before = w.asked[1];
  g_assert_cmpuint (before, >=, 2);
  run_for (&w, MS (5000)); /* nor is it asked again */
  g_assert_cmpuint (w.asked[1], ==, before);
  w.cut[0] = FALSE;
  run_for (&w, MS (500));
  g_assert_cmpint (nat_prober_phase (w.prober), ==, NAT_PROBER_REGISTERED);
  /* But that the one that served us disowns us is believed. */
  relay_model_lose_secrets (&w.relays[0], 99);
  w.relays[0].foreign_is_401 = TRUE;
  run_for (&w, MS (4200));
  g_assert_cmpuint (w.events[NAT_PROBER_DISOWNED], ==, 1);
  ways_clear (&w);
}

/* The way that served us was a WebSocket, and ended; one address does not know us, and one never answers. */
static void
test_connection_ends (void)
{
  NatAddress nobody;
  Ways w;

  ways_init (&w, NAT_ROLE_PUBLISHER, 1);
  w.serves[1] = 1;
  g_assert_true (nat_address_from_text (&nobody, "192.0.2.9:8443", 0));
  nat_prober_add (w.prober, w.now, &w.address[1]);
  nat_prober_add (w.prober, w.now, &nobody);
  register_at (&w, 0);
  w.cut[0] = TRUE;
  nat_prober_remove (w.prober, w.now, &w.address[0]);
  run_for (&w, MS (900));
  g_assert_cmpuint (w.events[NAT_PROBER_LOST], ==, 0);
  run_for (&w, MS (2000));
  g_assert_cmpuint (w.events[NAT_PROBER_LOST], ==, 1);
  g_assert_cmpuint (w.events[NAT_PROBER_DISOWNED], ==, 0);
  ways_clear (&w);
}

static void
test_all_disown (void)
{
  Ways w;

  ways_init (&w, NAT_ROLE_PUBLISHER, 2);
  w.serves[0] = w.serves[1] = 1;
  run_for (&w, MS (2000));
  g_assert_cmpuint (w.events[NAT_PROBER_DISOWNED], ==, 1);
  g_assert_cmpint (nat_prober_phase (w.prober), ==, NAT_PROBER_IDLE);
  ways_clear (&w);
}

/* ---- A relay that says it goes ----------------------------------------- */

static void
test_goes (void)
{
  Ways w;
  guint before;

  ways_init (&w, NAT_ROLE_SUBSCRIBER, 1);
  register_at (&w, 0);
  indicate (&w, NAT_REASON_GOING_AWAY);
  run_for (&w, MS (100)); /* it answers once more */
  w.cut[0] = TRUE;
  run_for (&w, MS (550));
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 1);
  g_assert_true (nat_prober_was_told (w.prober));
  g_assert_cmpuint (w.events[NAT_PROBER_LOST], ==, 0);
  run_for (&w, MS (1000));
  g_assert_cmpuint (w.events[NAT_PROBER_LOST], ==, 1);
  /* It is asked as often as before, until consent is over. */
  before = w.asked[0];
  run_for (&w, MS (20000));
  g_assert_cmpuint (w.asked[0] - before, >=, 78);
  w.cut[0] = FALSE;
  run_for (&w, NAT_PROBE_US + 2 * RTT);
  g_assert_cmpuint (w.events[NAT_PROBER_ACCEPTED], ==, 2);
  g_assert_false (nat_prober_was_told (w.prober));
  ways_clear (&w);
}

/* Said by a liar: as long as the relay answers, nothing comes of it; and a silence long after is a silence. */
static void
test_does_not_go (void)
{
  Ways w;

  ways_init (&w, NAT_ROLE_SUBSCRIBER, 1);
  register_at (&w, 0);
  indicate (&w, NAT_REASON_GOING_AWAY);
  run_for (&w, MS (3500));
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 0);
  w.cut[0] = TRUE;
  run_for (&w, MS (20000));
  g_assert_cmpuint (w.events[NAT_PROBER_SILENT], ==, 1);
  g_assert_false (nat_prober_was_told (w.prober));
  g_assert_cmpuint (w.events[NAT_PROBER_LOST], ==, 0);
  ways_clear (&w);
}

/* Whoever is long lost asks every two seconds; on another network at once, and often. */
static void
test_another_network (void)
{
  Ways w;
  guint before;

  ways_init (&w, NAT_ROLE_SUBSCRIBER, 2);
  register_at (&w, 0);
  w.cut[0] = w.cut[1] = TRUE;
  run_for (&w, MS (60000));
  g_assert_cmpuint (w.events[NAT_PROBER_LOST], ==, 1);
  before = w.asked[0] + w.asked[1];
  nat_prober_socket_changed (w.prober, w.now);
  run_for (&w, MS (600));
  g_assert_cmpuint (w.asked[0] + w.asked[1] - before, >=, 4);
  w.cut[1] = FALSE;
  run_for (&w, MS (1100));
  g_assert_cmpuint (w.events[NAT_PROBER_ACCEPTED], ==, 2);
  g_assert_true (nat_address_equal (&w.report.relay, &w.address[1]));
  ways_clear (&w);
}

/* A name that leads elsewhere each time it is asked about takes no place away from the WebSocket, the last way there is. */
static void
test_place_for_stream (void)
{
  NatAddress stream;
  Ways w;

  ways_init (&w, NAT_ROLE_SUBSCRIBER, 1);
  w.cut[0] = w.cut[1] = TRUE;
  g_assert_true (nat_address_from_text (&stream, "192.0.2.1:8443", 0));
  stream.transport = NAT_TRANSPORT_WEBSOCKET;
  for (guint i = 0; i < 2; i++) {
    for (guint j = 0; j < NAT_CANDIDATES_MAX + 4; j++) {
      NatAddress a = w.address[0];

      a.ip[3] = (guint8)(10 + j);
      nat_prober_add (w.prober, w.now, &a);
    }
    nat_prober_add (w.prober, w.now, &stream);
    g_assert_true (nat_prober_is_candidate (w.prober, &stream));
    nat_prober_remove (w.prober, w.now, &stream); /* it ended, and is opened again */
  }
  ways_clear (&w);
}

/* ---- Sleep ------------------------------------------------------------- */

static void
test_sleep (void)
{
  NatResume r = {0};

  /* The machine slept before we began: that is no news. */
  g_assert_cmpint (nat_resume_check (&r, MS (1000), MS (500000)), ==, 0);
  g_assert_cmpint (nat_resume_check (&r, MS (2000), MS (501000)), ==, 0);
  /* The two are never read in the same moment. */
  g_assert_cmpint (nat_resume_check (&r, MS (3000), MS (502900)), ==, 0);
  g_assert_cmpint (nat_resume_check (&r, MS (4000), MS (503000)), ==, 0);
  g_assert_cmpint (nat_resume_check (&r, MS (4001), MS (503001 + 120000)), ==, MS (120000));
  g_assert_cmpint (nat_resume_check (&r, MS (4002), MS (503002 + 120000)), ==, 0);
  /* Half a second now and then adds up. */
  g_assert_cmpint (nat_resume_check (&r, MS (5000), MS (504000 + 120500)), ==, 0);
  g_assert_cmpint (nat_resume_check (&r, MS (6000), MS (505000 + 121000)), ==, MS (1000));
  g_assert_cmpint (nat_resume_check (&r, MS (7000), -1), ==, 0);
}

/* ---- Before the first success ------------------------------------------ */

#define COMES_AND_GOES "ip link add v2 type veth peer name v3 && ip link delete v2"
#define LEADS_AWAY                                                                                 \
  "ip link add v0 type veth peer name v1 && ip address add 10.77.0.1/24 dev v0 && "                \
  "ip link set v1 up && ip link set v0 up && ip route add default via 10.77.0.2"
#define LEADS_AWAY_BY_IPV6_ALONE                                                                   \
  "ip link add v0 type veth peer name v1 && ip link set v1 up && ip link set v0 up "               \
  "&& " LEADS_AWAY_BY_IPV6
#define LEADS_AWAY_BY_IPV6                                                                         \
  "ip address add fd00:77::1/64 dev v0 nodad && ip route add default via fd00:77::2"

static gboolean
has_network (gconstpointer commands)
{
  return own_network_enter () && own_network_run (commands);
}

static gboolean
failed_twice (Watcher *w)
{
  return w->cause != NULL && w->cause->attempt >= 2;
}

static void
wait_for_requests (HttpsServer *server, guint n)
{
  gint64 end = g_get_monotonic_time () + MS (SOON);

  while (https_server_n_requests (server) < n && g_get_monotonic_time () < end)
    g_usleep (5000);
  g_assert_cmpuint (https_server_n_requests (server), >=, n);
}

/* A relay that is full asks for patience. Containers that come and go beside us do not end it; another way out of the
 * machine does, be it of the other family. */
static void
wait_through_changes (void)
{
  HttpsServer *server = https_server_new (HTTPS_ANSWERS,
      "HTTP/1.1 503 No\r\nContent-Type: application/problem+json\r\nRetry-After: 300\r\n\r\n"
      "{\"type\":\"about:blank\",\"title\":\"Full\",\"status\":503,\"detail\":\"Wait.\"}",
      NULL);
  Watcher w;

  g_assert_true (own_network_run (LEADS_AWAY));
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  w.config.host = g_strdup ("localhost");
  w.config.port = https_server_port (server);
  w.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  watcher_start (&w);
  g_assert_true (watcher_wait_cause (&w, NAT_CAUSE_SERVER, SOON));
  for (guint i = 0; i < 10; i++) {
    g_assert_true (own_network_run (COMES_AND_GOES));
    g_usleep (100000); /* else several are one piece of news */
  }
  g_assert_cmpuint (https_server_n_requests (server), ==, 1);
  g_assert_true (own_network_run (LEADS_AWAY_BY_IPV6));
  wait_for_requests (server, 2);
  g_assert_cmpuint (https_server_n_requests (server), ==, 2);
  watcher_clear (&w);
  https_server_free (server);
}

/* The request that was out when the machine went to sleep is answered by nobody any more. */
static void
sleep_while_asking (void)
{
  HttpsServer *server = https_server_new (HTTPS_SLOW, "", NULL);
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  w.config.host = g_strdup ("127.0.0.1");
  w.config.port = https_server_port (server);
  w.config.timeout_ms = 5 * SOON;
  w.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  watcher_start (&w);
  wait_for_requests (server, 1);
  g_atomic_int_set (&slept_s, 3600);
  g_assert_true (own_network_run (COMES_AND_GOES));
  wait_for_requests (server, 2);
  watcher_clear (&w);
  https_server_free (server);
}

/* Without any way out, each sign may be one of a way to the relay's name; but those of containers may go on all day. */
static void
tries_through_changes (void)
{
  NatSessionStats stats = {0};
  gint64 begin = g_get_monotonic_time (), end = begin + MS (SOON);
  Watcher w;

  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  w.config.host = g_strdup ("192.0.2.1");
  w.config.port = 8443;
  w.config.backoff_factor = w.config.backoff_max = 3600;
  watcher_start (&w);
  g_assert_true (watcher_wait_cause (&w, NAT_CAUSE_UNREACHABLE, SOON));
  for (guint i = 0; i < 10; i++) {
    g_assert_true (own_network_run (COMES_AND_GOES));
    g_usleep (100000);
  }
  do {
    g_usleep (10000);
    nat_session_stats_clear (&stats);
    nat_session_get_stats (w.session, &stats);
  } while (stats.attempts < 2 && g_get_monotonic_time () < end);
  g_assert_cmpuint (stats.attempts, >=, 2);
  g_assert_cmpint (stats.attempts, <=, 1 + (g_get_monotonic_time () - begin) / G_USEC_PER_SEC);
  nat_session_stats_clear (&stats);
  watcher_clear (&w);
}

/* IPv6 is all there is, and its name server does not say what becomes of IPv4. */
static void
nobody_tells_nat64 (void)
{
  HttpsServer *server = https_server_new_at ("0.0.0.0", HTTPS_SLOW, "", NULL);
  Watcher w;

  g_assert_true (own_network_run (LEADS_AWAY_BY_IPV6_ALONE));
  name_server_begin ();
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  w.config.host = g_strdup ("10.77.0.1");
  w.config.port = https_server_port (server);
  w.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  w.config.timeout_ms = 300;
  watcher_start (&w);
  g_assert_true (watcher_wait (&w, failed_twice, SOON));
  g_assert_cmpint (w.cause->kind, ==, NAT_CAUSE_TIMEOUT);
  g_assert_nonnull (strstr (w.cause->text, "NAT64"));
  g_assert_false (w.cause->final);
  watcher_clear (&w);
  name_server_end ();
  https_server_free (server);
}

/* While it is asked, there is IPv4 again: that the old network's name server is silent does not matter any more. */
static void
home_while_asking_nat64 (void)
{
  HttpsServer *server = https_server_new_at ("0.0.0.0", HTTPS_SLOW, "", NULL);
  Watcher w;

  g_assert_true (own_network_run (LEADS_AWAY_BY_IPV6_ALONE));
  name_server_begin ();
  watcher_init (&w, NAT_ROLE_SUBSCRIBER, NULL);
  w.config.host = g_strdup ("10.77.0.1");
  w.config.port = https_server_port (server);
  w.config.tls_fingerprint = g_strdup (https_server_fingerprint (server));
  w.config.timeout_ms = 5 * SOON;
  watcher_start (&w);
  g_assert_true (watcher_wait_state (&w, NAT_SESSION_NEGOTIATING, SOON));
  g_usleep (100000);
  g_assert_true (own_network_run ("ip address add 10.77.0.1/24 dev v0"));
  wait_for_requests (server, 1);
  watcher_clear (&w);
  name_server_end ();
  https_server_free (server);
}

/* In a network namespace, so in a process of its own. */
static void
in_own_network (void (*test) (void))
{
  if (!g_test_subprocess ()) {
    if (!works_in_child (has_network, COMES_AND_GOES " && " LEADS_AWAY " && " LEADS_AWAY_BY_IPV6)) {
      g_test_skip ("this system makes no such network for tests");
      return;
    }
    g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_test_trap_assert_passed ();
    return;
  }
  g_assert_true (own_network_enter ());
  test ();
}

static void
test_no_relay_yet (void)
{
  in_own_network (wait_through_changes);
}

static void
test_sleep_while_asking (void)
{
  in_own_network (sleep_while_asking);
}

static void
test_tries_through_changes (void)
{
  in_own_network (tries_through_changes);
}

static void
test_nobody_tells_nat64 (void)
{
  in_own_network (nobody_tells_nat64);
}

static void
test_home_while_asking_nat64 (void)
{
  in_own_network (home_while_asking_nat64);
}

int
main (int argc, char **argv)
{
  https_forget_proxies ();
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/moving/family-breaks", test_family_breaks);
  g_test_add_func ("/moving/family-stays", test_family_stays);
  g_test_add_func ("/moving/another-relay", test_another_relay);
  g_test_add_func ("/moving/all-disown", test_all_disown);
  g_test_add_func ("/moving/connection-ends", test_connection_ends);
  g_test_add_func ("/moving/goes", test_goes);
  g_test_add_func ("/moving/does-not-go", test_does_not_go);
  g_test_add_func ("/moving/another-network", test_another_network);
  g_test_add_func ("/moving/place-for-stream", test_place_for_stream);
  g_test_add_func ("/moving/sleep", test_sleep);
  g_test_add_func ("/moving/no-relay-yet", test_no_relay_yet);
  g_test_add_func ("/moving/sleep-while-asking", test_sleep_while_asking);
  g_test_add_func ("/moving/tries-through-changes", test_tries_through_changes);
  g_test_add_func ("/moving/nobody-tells-nat64", test_nobody_tells_nat64);
  g_test_add_func ("/moving/home-while-asking-nat64", test_home_while_asking_nat64);
  return g_test_run ();
}
