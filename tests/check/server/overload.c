/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A network that takes less than the streams send, receivers that are gone, paths that take only short
 * datagrams: in a network namespace of the test's own, whose loopback is made so. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "../ownnetwork.h"
#include "bareworker.h"
#include "childtry.h"
#include "natserver/data/historypool.h"
#include "natserver/data/repair.h"
#include "natserver/data/udphint.h"
#include "probe.h"

#define VIDEO_LEN 1200
#define AUDIO_LEN 100
#define BURST     20
#define BUFFER    (128 * 1024)
#define WAIT_MS   20000

static guint8 video[BURST * VIDEO_LEN], audio[AUDIO_LEN];

static NatDataSession *
join (NatWorker *w, const char *stream, NatRole role, const char *address, guint16 port)
{
  NatAddress a;

  g_assert_true (nat_address_from_text (&a, address, port));
  return bare_worker_join (w, stream, role, &a);
}

static NatProbe *
receiver (NatWorker *w, const char *stream)
{
  NatAddress relay;
  NatProbe *p;

  g_assert_true (nat_address_from_text (&relay, "127.0.0.1", nat_udpio_local (w->io, 0)->port));
  p = nat_probe_new ("127.0.0.1", &relay);
  bare_worker_join (w, stream, NAT_ROLE_SUBSCRIBER, &p->local);
  return p;
}

static void
receive_burst (NatWorker *w, NatDataSession *publisher, guint16 seq)
{
  for (guint16 i = 0; i < BURST; i++)
    bare_worker_receive (w, publisher, BARE_VIDEO_SSRC, (guint16)(seq * BURST + i),
        video + i * VIDEO_LEN, VIDEO_LEN);
}

static gboolean
arrives (NatProbe *p, guint32 ssrc, guint16 seq)
{
  guint8 got[NAT_DATAGRAM_MAX];
  NatRtpHeader h;

  for (;;) {
    gssize n = nat_probe_receive (p, NAT_PACKET_RTP, got, WAIT_MS);

    if (n < 0)
      return FALSE;
    g_assert_true (nat_rtp_parse (&h, got, (gsize)n));
    if (h.ssrc == ssrc && h.seq == seq)
      return TRUE;
  }
}

/* The network is far too slow. Video is given up, while every packet of audio arrives and every answer
 * leaves. */
static void
test_slow_network (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatDataSession *publisher = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  g_autoptr (NatProbe) p = receiver (w, "a");
  NatWorkerCounters *c = w->counters;
  NatUdpSource source = {.key = {p->local, *nat_udpio_local (w->io, 0)}};
  NatUdpDest dest;
  guint16 seq = 0;

  for (guint i = 1; i < 10; i++)
    join (w, "a", NAT_ROLE_SUBSCRIBER, "127.0.0.1", (guint16)(10 + i));
  nat_udpio_dest_init (w->io, &dest, &source);
  while (nat_counter_get (&c->send_held_back) == 0) {
    receive_burst (w, publisher, seq++);
    nat_worker_flush (w);
    g_assert_cmpuint (seq, <, 1000);
  }
  g_assert_cmpuint (nat_udpio_findings (w->io) & NAT_UDPHINT_SEND_FULL, !=, 0);
  g_assert_cmpuint (nat_counter_get (&c->send_retried), >, 0);
  for (guint16 i = 0; i < 10; i++) {
    guint64 held = nat_counter_get (&c->send_held_back);

    /* Again if the machine took so long that the network was fast enough. */
    do {
      receive_burst (w, publisher, seq++);
      bare_worker_receive (w, publisher, BARE_AUDIO_SSRC, i, audio, AUDIO_LEN);
      nat_worker_flush (w);
      g_assert_cmpuint (seq, <, 1000);
    } while (nat_counter_get (&c->send_held_back) == held);
    g_assert_true (nat_udpio_send_one (w->io, &dest, "\0\1", 2));
    g_assert_true (arrives (p, BARE_AUDIO_SSRC, i));
  }
  g_assert_cmpuint (nat_counter_get (&c->unsent_audio), ==, 0);
  g_assert_cmpuint (nat_counter_get (&c->unsent_control), ==, 0);
  g_assert_cmpuint (nat_counter_get (&c->send_buffer_full), ==, 0);
  g_assert_cmpuint (nat_counter_get (&c->unsent_video), ==, nat_counter_get (&c->send_held_back));
  nat_worker_free (w);
}

/* For the n packets before that. */
static void
ask_again (NatWorker *w, NatDataSession *s, guint16 before, guint n)
{
  guint8 nack[NAT_DATAGRAM_MAX];
  NatRtcpPacket packet;
  guint16 seqs[1000];
  NatRtcpIter it;

  for (guint i = 0; i < n; i++)
    seqs[i] = (guint16)(before - n + i);
  g_assert_true (nat_rtcp_iter_init (
      &it, nack, nat_rtcp_write_nack (nack, sizeof nack, 1, BARE_VIDEO_SSRC, seqs, &n)));
  g_assert_true (nat_rtcp_iter_next (&it, &packet));
  nat_repair_answer (w, s, &packet);
}

/* Whoever loses asks, and a full network loses: what is sent again takes no more room than what it is sent for. */
static void
test_repairs (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatDataSession *publisher, *receivers[20];
  NatWorkerCounters *c = w->counters;
  NatUdpSource source;
  NatUdpDest dest;
  guint16 seq = 0;

  w->roster->pool = w->pool = nat_history_pool_new (4 * 1024 * 1024);
  publisher = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  source = (NatUdpSource){.key = {publisher->selected->key.remote, *nat_udpio_local (w->io, 0)}};
  nat_udpio_dest_init (w->io, &dest, &source);
  for (guint i = 0; i < G_N_ELEMENTS (receivers); i++)
    receivers[i] = join (w, "a", NAT_ROLE_SUBSCRIBER, "127.0.0.1", (guint16)(10 + i));
  while (seq < 3 || nat_counter_get (&c->send_held_back) == 0) {
    receive_burst (w, publisher, seq++);
    nat_worker_flush (w);
    g_assert_cmpuint (seq, <, 1000);
  }
  for (guint i = 0; i < G_N_ELEMENTS (receivers); i++)
    ask_again (w, receivers[i], (guint16)(seq * BURST), 60);
  g_assert_true (nat_udpio_send_one (w->io, &dest, "\0\1", 2));
  g_assert_cmpuint (nat_counter_get (&c->unsent_control), ==, 0);
  g_assert_cmpuint (nat_counter_get (&c->send_buffer_full), ==, 0);
  g_assert_cmpuint (nat_counter_get (&c->unsent_video), ==, nat_counter_get (&c->send_held_back));
  nat_worker_free (w);
}

/* Whoever asks without end is heard only so often in a second, also for what nobody has. */
static void
test_questions (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatDataSession *publisher = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  NatDataSession *s = join (w, "a", NAT_ROLE_SUBSCRIBER, "127.0.0.1", 10);
  NatSessionCounters *c = s->counters;
  guint64 before;

  bare_worker_receive (w, publisher, BARE_VIDEO_SSRC, 30000, video, VIDEO_LEN);
  nat_worker_flush (w);
  for (guint i = 0; i < 40; i++)
    ask_again (w, s, 20000, 1000);
  before = nat_counter_get (&c->repairs_unknown);
  g_assert_cmpuint (before, >=, 10000);
  g_assert_cmpuint (before, <=, 20000);
  g_assert_cmpuint (before + nat_counter_get (&c->repairs_limited), ==, 40000);
  w->now_us += G_USEC_PER_SEC / 2;
  ask_again (w, s, 20000, 1000);
  g_assert_cmpuint (nat_counter_get (&c->repairs_unknown), ==, before + 1000);
  nat_worker_free (w);
}

/* Short datagrams in one message, of which the system charges each by itself: control has its room still. */
static void
test_short_datagrams (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatDataSession *publisher = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  NatUdpSource source = {.key = {publisher->selected->key.remote, *nat_udpio_local (w->io, 0)}};
  NatUdpDest dest;

  for (guint i = 0; i < 20; i++)
    join (w, "a", NAT_ROLE_SUBSCRIBER, "127.0.0.1", (guint16)(10 + i));
  for (guint16 i = 0; i < 60; i++)
    bare_worker_receive (w, publisher, BARE_VIDEO_SSRC, i, video + i * AUDIO_LEN, AUDIO_LEN);
  nat_worker_flush (w);
  g_assert_cmpuint (nat_counter_get (&w->counters->send_held_back), >, 0);
  g_assert_cmpuint (nat_counter_get (&w->counters->send_buffer_full), ==, 0);
  nat_udpio_dest_init (w->io, &dest, &source);
  g_assert_true (nat_udpio_send_one (w->io, &dest, "\0\1", 2));
  nat_worker_free (w);
}

/* What the system dropped in queues behind the sockets of this network. */
static guint64
dropped_by_system (void)
{
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL, names = NULL, values = NULL;

  g_assert_true (g_file_get_contents ("/proc/self/net/snmp", &text, NULL, NULL));
  lines = g_strsplit (strstr (text, "Udp: "), "\n", 3);
  names = g_strsplit (lines[0], " ", -1);
  values = g_strsplit (lines[1], " ", -1);
  for (guint i = 0; names[i] && values[i]; i++) {
    if (strcmp (names[i], "SndbufErrors") == 0)
      return g_ascii_strtoull (values[i], NULL, 10);
  }
  g_assert_not_reached ();
}

/* A device's queue that is full drops, and says so to nobody: it is no refusal, and nothing is sent twice. */
static void
test_full_queue (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", 8 * 1024 * 1024);
  NatDataSession *publisher = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  NatWorkerCounters *c = w->counters;
  guint16 n = 0;

  join (w, "a", NAT_ROLE_SUBSCRIBER, "127.0.0.1", 10);
  while (dropped_by_system () == 0) {
    receive_burst (w, publisher, n++);
    nat_worker_flush (w);
    g_assert_cmpuint (n, <, 1000);
  }
  g_assert_cmpuint (nat_counter_get (&c->datagrams_sent), ==, n * BURST);
  g_assert_cmpuint (nat_counter_get (&c->send_retried), ==, 0);
  g_assert_cmpuint (nat_counter_get (&c->unsent_video), ==, 0);
  nat_worker_free (w);
}

/* A receiver whose host vanished from the local network: what is sent there waits for an address that
 * nobody gives. The other receiver, and another stream, lose nothing. */
static void
test_vanished_neighbour (void)
{
  NatWorker *w = bare_worker_new ("0.0.0.0", 1024 * 1024);
  NatDataSession *a = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  NatDataSession *b = join (w, "b", NAT_ROLE_PUBLISHER, "127.0.0.1", 10);
  g_autoptr (NatProbe) one = receiver (w, "a");
  g_autoptr (NatProbe) two = receiver (w, "b");
  NatWorkerCounters *c = w->counters;

  join (w, "a", NAT_ROLE_SUBSCRIBER, "10.77.0.2", 4000);
  for (guint16 i = 0; i < 100; i++) {
    receive_burst (w, a, i);
    bare_worker_receive (w, b, BARE_AUDIO_SSRC, i, audio, AUDIO_LEN);
    nat_worker_flush (w);
    for (guint16 k = 0; k < BURST; k++)
      g_assert_true (arrives (one, BARE_VIDEO_SSRC, (guint16)(i * BURST + k)));
    g_assert_true (arrives (two, BARE_AUDIO_SSRC, i));
  }
  g_assert_cmpuint (nat_counter_get (&c->unsent_audio), ==, 0);
  g_assert_cmpuint (nat_counter_get (&c->unsent_video), ==, 0);
  nat_worker_free (w);
}

/* A receiver that closed its socket: each datagram to it comes back as an ICMP error. */
static void
test_closed_port (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatDataSession *a = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  NatProbe *gone = receiver (w, "a");
  g_autoptr (NatProbe) p = receiver (w, "a");
  int on = 1;

  nat_probe_free (gone);
  /* With this the system reports ICMP errors to whoever sends next; by itself it does not. */
  for (guint round = 0; round < 2; round++) {
    for (guint16 i = 0; i < 100; i++) {
      guint16 seq = (guint16)(round * 100 + i);

      bare_worker_receive (w, a, BARE_AUDIO_SSRC, seq, audio, AUDIO_LEN);
      nat_worker_flush (w);
      g_assert_true (arrives (p, BARE_AUDIO_SSRC, seq));
    }
    g_assert_cmpuint (nat_counter_get (&w->counters->unsent_audio), ==, 0);
    g_assert_cmpint (
        setsockopt (nat_udpio_fd (w->io, 0), IPPROTO_IP, IP_RECVERR, &on, sizeof on), ==, 0);
  }
  nat_worker_free (w);
}

static void
send_burst (NatWorker *w, NatDataSession *publisher, NatProbe *to, guint16 seq)
{
  receive_burst (w, publisher, seq);
  nat_worker_flush (w);
  for (guint16 k = 0; k < BURST; k++)
    g_assert_true (arrives (to, BARE_VIDEO_SSRC, (guint16)(seq * BURST + k)));
}

/* Shorter than our datagrams: the system does not cut, we send apart, and IP fragments. */
static void
test_small_mtu (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatDataSession *a = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  g_autoptr (NatProbe) p = receiver (w, "a");

  for (guint16 i = 0; i < 3; i++) {
    send_burst (w, a, p, i);
    g_assert_cmpuint (nat_counter_get (&w->counters->send_apart), ==, (i + 1) * BURST);
  }
  g_assert_cmpuint (nat_counter_get (&w->counters->unsent_video), ==, 0);
  g_assert_cmpuint (
      nat_udpio_findings (w->io) & (NAT_UDPHINT_LONG | NAT_UDPHINT_NO_OFFLOAD), !=, 0);
  nat_worker_free (w);
}

/* A path that was narrow for a while is not taken for narrow for ever, also when the audience changed meanwhile, or after. */
static void
test_mtu_grows (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", BUFFER);
  NatDataSession *a = join (w, "a", NAT_ROLE_PUBLISHER, "127.0.0.1", 9);
  g_autoptr (NatProbe) p = receiver (w, "a");
  guint64 before = 0;
  guint16 i = 0;

  g_assert_true (own_network_run ("ip link set lo mtu 1000"));
  send_burst (w, a, p, i++);
  g_assert_cmpuint (nat_counter_get (&w->counters->send_apart), ==, BURST);
  g_assert_true (own_network_run ("ip link set lo mtu 65536"));
  join (w, "a", NAT_ROLE_SUBSCRIBER, "127.0.0.1", 10);
  while (before != nat_counter_get (&w->counters->send_apart)) {
    before = nat_counter_get (&w->counters->send_apart);
    send_burst (w, a, p, i++);
    g_assert_cmpuint (i, <, 200);
  }
  g_assert_cmpuint (i, >, 10);
  join (w, "a", NAT_ROLE_SUBSCRIBER, "127.0.0.1", 11);
  send_burst (w, a, p, i);
  g_assert_cmpuint (nat_counter_get (&w->counters->send_apart), ==, before);
  nat_worker_free (w);
}

/* An address of ours goes, and comes back: what was sent from there meanwhile is refused, each message for itself. It
 * is not the cutting that the system refuses, so afterwards messages are whole as before. */
static void
test_address_gone (void)
{
  NatWorker *w = bare_worker_new ("[::]", BUFFER);
  NatDataSession *a = join (w, "a", NAT_ROLE_PUBLISHER, "[::1]", 9);
  NatWorkerCounters *c = w->counters;
  g_autoptr (NatProbe) p = NULL;
  NatAddress relay;

  g_assert_true (nat_address_from_text (&relay, "[fd77::1]", nat_udpio_local (w->io, 0)->port));
  p = nat_probe_new ("[::1]", &relay);
  bare_worker_join_at (w, "a", NAT_ROLE_SUBSCRIBER, &p->local, &relay);
  for (guint16 i = 0; i < 3; i++) {
    if (i == 1)
      g_assert_true (own_network_run ("ip address del fd77::1/128 dev lo"));
    if (i == 2)
      g_assert_true (own_network_run ("ip address add fd77::1/128 dev lo nodad"));
    receive_burst (w, a, i);
    nat_worker_flush (w);
    if (i == 1) {
      g_assert_cmpuint (nat_counter_get (&c->send_failed), ==, BURST);
      g_assert_cmpuint (nat_counter_get (&c->unsent_video), ==, BURST);
    }
  }
  g_assert_true (arrives (p, BARE_VIDEO_SSRC, 3 * BURST - 1));
  g_assert_cmpuint (nat_counter_get (&c->send_apart), ==, 0);
  g_assert_cmpuint (nat_udpio_findings (w->io), ==, 0);
  nat_worker_free (w);
}

/* What nobody reads in time is counted. */
static void
test_receive_overflow (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", 16 * 1024);
  g_autoptr (NatProbe) p = nat_probe_new ("127.0.0.1", nat_udpio_local (w->io, 0));
  gint64 end = g_get_monotonic_time () + WAIT_MS * 1000;
  NatUdpSuper *supers;
  guint read = 0;

  for (guint i = 0; i < 500; i++)
    nat_probe_send (p, video, VIDEO_LEN);
  /* What was sent may be under way for a moment. */
  do {
    nat_udpio_count_overflow (w->io);
    for (guint n; (n = nat_udpio_receive (w->io, 0, NAT_UDPIO_SLOTS, &supers)) > 0;)
      read += n;
  } while (nat_counter_get (&w->counters->receive_overflow) + read < 500 &&
           g_get_monotonic_time () < end);
  g_assert_cmpuint (nat_counter_get (&w->counters->receive_overflow), ==, 500 - read);
  g_assert_cmpuint (read, <, 500);
  nat_udpio_count_overflow (w->io); /* once */
  g_assert_cmpuint (nat_counter_get (&w->counters->receive_overflow), ==, 500 - read);
  g_assert_cmpuint (nat_udpio_findings (w->io), ==, NAT_UDPHINT_OVERFLOW);
  nat_worker_free (w);
}

/* Runs the test where the network is as the commands make it. */
typedef struct {
  const char *name, *commands;
  void (*run) (void);
} Row;

static const Row rows[] = {
    {"/overload/slow-network", "tc qdisc add dev lo root tbf rate 16mbit burst 70kb limit 8mb",
        test_slow_network},
    {"/overload/repairs", "tc qdisc add dev lo root tbf rate 8bit burst 2kb limit 8mb",
        test_repairs},
    {"/overload/questions", "true", test_questions},
    {"/overload/short-datagrams", "tc qdisc add dev lo root tbf rate 8bit burst 2kb limit 8mb",
        test_short_datagrams},
    {"/overload/full-queue", "tc qdisc add dev lo root tbf rate 16mbit burst 70kb limit 100kb",
        test_full_queue},
    {"/overload/vanished-neighbour",
        "ip link add v0 type veth peer name v1 && ip address add 10.77.0.1/24 dev v0 && "
        "ip link set v0 up && ip link set v1 up",
        test_vanished_neighbour},
    {"/overload/closed-port", "true", test_closed_port},
    {"/overload/small-mtu", "ip link set lo mtu 1000", test_small_mtu},
    {"/overload/mtu-grows", "true", test_mtu_grows},
    {"/overload/address-gone", "ip address add fd77::1/128 dev lo nodad", test_address_gone},
    {"/overload/receive-overflow", "true", test_receive_overflow},
};

static gboolean
has_network (gconstpointer commands)
{
  return own_network_enter () && own_network_run (commands);
}

/* A namespace each: in a process of its own. */
static void
run_row (gconstpointer data)
{
  const Row *row = data;

  if (!g_test_subprocess ()) {
    if (!works_in_child (has_network, row->commands)) {
      g_test_skip ("this system makes no such network for tests");
      return;
    }
    g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_test_trap_assert_passed ();
    return;
  }
  g_assert_true (has_network (row->commands));
  row->run ();
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (rows); i++)
    g_test_add_data_func (rows[i].name, &rows[i], run_row);
  return g_test_run ();
}
