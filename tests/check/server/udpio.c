/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/udpio.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "natproto/error.h"
#include "natserver/data/udphint.h"
#include "childtry.h"
#include "probe.h"

#define BUFFER  (1024 * 1024)
#define WAIT_MS 20000

static NatWorkerCounters counters;

static NatUdpio *
listen_on (const char *a, const char *b)
{
  NatAddress list[2];
  g_autoptr (GError) error = NULL;
  NatUdpio *io;

  g_assert_true (nat_address_from_text (&list[0], a, 0));
  if (b)
    g_assert_true (nat_address_from_text (&list[1], b, 0));
  io = nat_udpio_new (list, b ? 2 : 1, BUFFER, &counters, NULL, &error);
  g_assert_no_error (error);
  return io;
}

static NatUdpSuper *
wait_super (NatUdpio *io, guint socket)
{
  NatUdpSuper *supers;

  g_assert_cmpint (
      poll (&(struct pollfd){nat_udpio_fd (io, socket), POLLIN, 0}, 1, WAIT_MS), ==, 1);
  g_assert_cmpuint (nat_udpio_receive (io, socket, NAT_UDPIO_SLOTS, &supers), ==, 1);
  return supers;
}

/* The probe itself fails if the answer comes from another address than the one addressed. */
static void
echo_over (NatUdpio *io, guint socket, const char *client, const char *address)
{
  g_autoptr (NatProbe) probe = NULL;
  NatAddress relay;
  NatUdpSuper *super;
  NatUdpDest dest;
  guint8 buf[NAT_DATAGRAM_MAX], rtp[100];

  g_assert_true (nat_address_from_text (&relay, address, nat_udpio_local (io, socket)->port));
  probe = nat_probe_new (client, &relay);
  nat_probe_write_rtp (rtp, sizeof rtp, 1, 2, 3);
  nat_probe_send (probe, rtp, sizeof rtp);
  super = wait_super (io, socket);
  g_assert_true (nat_address_equal (&super->source.key.remote, &probe->local));
  g_assert_true (nat_address_equal (&super->source.key.local, &relay));
  g_assert_cmpuint (super->source.socket, ==, socket);
  g_assert_cmpmem (super->data, super->len, rtp, sizeof rtp);
  nat_udpio_dest_init (io, &dest, &super->source);
  g_assert_true (nat_udpio_send_one (io, &dest, rtp, sizeof rtp));
  g_assert_cmpint (nat_probe_receive (probe, NAT_PACKET_RTP, buf, WAIT_MS), ==, sizeof rtp);
  g_assert_cmpmem (buf, sizeof rtp, rtp, sizeof rtp);
}

static gboolean
has_ipv6 (void)
{
  NatAddress list;
  NatUdpio *io;

  g_assert_true (nat_address_from_text (&list, "[::1]", 0));
  io = nat_udpio_new (&list, 1, BUFFER, &counters, NULL, NULL);
  nat_udpio_free (io);
  return io != NULL;
}

static void
test_addressed (void)
{
  g_autoptr (NatUdpio) io = listen_on ("0.0.0.0", has_ipv6 () ? "[::]" : NULL);

  echo_over (io, 0, "127.0.0.1", "127.0.0.1");
  echo_over (io, 0, "127.0.0.1", "127.0.0.2");
  echo_over (io, 0, "127.0.0.3", "127.0.0.4");
  if (nat_udpio_n_sockets (io) > 1)
    echo_over (io, 1, "[::1]", "[::1]");
  else
    g_test_message ("no IPv6 here: IPv6 not tried");
}

static void
test_specific (void)
{
  g_autoptr (NatUdpio) io = listen_on ("127.0.0.2", "127.0.0.3");

  echo_over (io, 0, "127.0.0.1", "127.0.0.2");
  echo_over (io, 1, "127.0.0.1", "127.0.0.3");
}

/* IPV6_V6ONLY: both families share a port number. One that is free for IPv6 may be another program's for
 * IPv4. */
static void
test_same_port (void)
{
  NatUdpio *v4 = NULL;

  if (!has_ipv6 ()) {
    g_test_skip ("no IPv6 here");
    return;
  }
  for (guint i = 0; i < 20 && !v4; i++) {
    g_autoptr (NatUdpio) v6 = listen_on ("[::]", NULL);
    NatAddress same;

    g_assert_true (nat_address_from_text (&same, "0.0.0.0", nat_udpio_local (v6, 0)->port));
    v4 = nat_udpio_new (&same, 1, BUFFER, &counters, NULL, NULL);
  }
  g_assert_nonnull (v4);
  nat_udpio_free (v4);
}

static void
test_taken (void)
{
  g_autoptr (NatUdpio) first = listen_on ("127.0.0.1", NULL);
  g_autoptr (NatUdpio) second = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *port =
      g_strdup_printf ("port %u on 127.0.0.1", nat_udpio_local (first, 0)->port);

  second = nat_udpio_new (nat_udpio_local (first, 0), 1, BUFFER, &counters, NULL, &error);
  g_assert_null (second);
  g_assert_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT);
  g_assert_nonnull (strstr (error->message, port));
  g_assert_nonnull (strstr (error->message, "taken by another program"));
}

static void
test_foreign_address (void)
{
  NatAddress address;
  g_autoptr (NatUdpio) io = NULL;
  g_autoptr (GError) error = NULL;

  g_assert_true (nat_address_from_text (&address, "192.0.2.1:40000", 0));
  io = nat_udpio_new (&address, 1, BUFFER, &counters, NULL, &error);
  g_assert_null (io);
  g_assert_nonnull (strstr (error->message, "no address 192.0.2.1"));
}

/* More than any system gives without asking: the hint names the sysctl. */
static void
test_hint (void)
{
  NatAddress address;
  g_autoptr (NatUdpio) io = NULL;
  g_autofree char *hints = NULL;
  int got;
  socklen_t len = sizeof got;

  g_assert_true (nat_address_from_text (&address, "127.0.0.1", 0));
  io = nat_udpio_new (&address, 1, 512 * 1024 * 1024, &counters, &hints, NULL);
  g_assert_nonnull (io);
  g_assert_cmpint (getsockopt (nat_udpio_fd (io, 0), SOL_SOCKET, SO_RCVBUF, &got, &len), ==, 0);
  if (got / 2 >= 512 * 1024 * 1024)
    g_assert_null (hints);
  else
    g_assert_nonnull (strstr (hints, "net.core.rmem_max=536870912"));
}

#define SEGMENT 1200

/* One message of many datagrams: they arrive apart, whole and in order, at a plain socket; and as
 * super-packets, or apart, at one of ours. */
static void
test_run (void)
{
  g_autoptr (NatUdpio) io = listen_on ("127.0.0.1", NULL);
  g_autoptr (NatProbe) probe = nat_probe_new ("127.0.0.1", nat_udpio_local (io, 0));
  guint8 data[20 * SEGMENT], buf[NAT_DATAGRAM_MAX];
  struct iovec iov[2] = {{data, 7 * SEGMENT}, {data + 7 * SEGMENT, 12 * SEGMENT + 100}};
  NatUdpRun run = {iov, 2, 20, SEGMENT, 19 * SEGMENT + 100};
  NatUdpSource source = {0};
  NatUdpDest dest;
  NatUdpMessage message = {.dest = &dest, .run = &run, .n_sent = 99};

  for (guint i = 0; i < 20; i++)
    nat_probe_write_rtp (data + i * SEGMENT, SEGMENT, 5, (guint16)i, 0);
  source.key.remote = probe->local;
  source.key.local = *nat_udpio_local (io, 0);
  nat_udpio_dest_init (io, &dest, &source);
  nat_udpio_send (io, &message, 1);
  g_assert_cmpuint (message.n_sent, ==, 20);
  for (guint i = 0; i < 20; i++) {
    gsize len = i < 19 ? SEGMENT : 100;
    g_assert_cmpint (nat_probe_receive (probe, NAT_PACKET_RTP, buf, WAIT_MS), ==, (gssize)len);
    g_assert_cmpmem (buf, len, data + i * SEGMENT, len);
  }

  source.key.remote = *nat_udpio_local (io, 0); /* to ourselves */
  nat_udpio_dest_init (io, &dest, &source);
  nat_udpio_send (io, &message, 1);
  for (gsize at = 0; at < run.bytes;) {
    NatUdpSuper *super = wait_super (io, 0);

    g_assert_true (super->segment == super->len || super->segment == SEGMENT);
    g_assert_cmpuint (at + super->len, <=, run.bytes);
    g_assert_cmpmem (super->data, super->len, data + at, super->len);
    at += super->len;
  }
}

/* From now on this process is on a kernel without UDP_SEGMENT (103) and UDP_GRO (104). */
static gboolean
refuse_offloads (gconstpointer unused)
{
#define ARG(n) (offsetof (struct seccomp_data, args[n]) + (G_BYTE_ORDER == G_BIG_ENDIAN ? 4 : 0))
  struct sock_filter filter[] = {
      BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr)),
      BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 6),
      BPF_STMT (BPF_LD | BPF_W | BPF_ABS, ARG (1)),
      BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 4),
      BPF_STMT (BPF_LD | BPF_W | BPF_ABS, ARG (2)),
      BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, 103, 1, 0),
      BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, 104, 0, 1),
      BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOPROTOOPT),
      BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
#undef ARG
  struct sock_fprog program = {G_N_ELEMENTS (filter), filter};

  return prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

static void
send_run (NatUdpio *io, NatProbe *probe)
{
  guint8 data[20 * SEGMENT], buf[NAT_DATAGRAM_MAX];
  struct iovec iov = {data, sizeof data};
  NatUdpRun run = {&iov, 1, 20, SEGMENT, sizeof data, NAT_RANK_VIDEO};
  NatUdpSource source = {.key = {probe->local, *nat_udpio_local (io, 0)}};
  NatUdpDest dest;
  NatUdpMessage message = {.dest = &dest, .run = &run};

  for (guint i = 0; i < 20; i++)
    nat_probe_write_rtp (data + i * SEGMENT, SEGMENT, 5, (guint16)i, 0);
  nat_udpio_dest_init (io, &dest, &source);
  nat_udpio_send (io, &message, 1);
  g_assert_cmpuint (message.n_sent, ==, 20);
  for (guint i = 0; i < 20; i++) {
    g_assert_cmpint (nat_probe_receive (probe, NAT_PACKET_RTP, buf, WAIT_MS), ==, SEGMENT);
    g_assert_cmpmem (buf, SEGMENT, data + i * SEGMENT, SEGMENT);
  }
}

/* A kernel that knows neither: a person is told, once for all sockets, and everything works. */
static void
test_old_kernel (void)
{
  g_autoptr (NatUdpio) io = NULL;
  g_autoptr (NatProbe) probe = NULL;
  g_autofree char *hints = NULL;
  NatAddress list[2];
  NatUdpSuper *supers;
  guint n = 0;

  if (!g_test_subprocess ()) {
    if (!works_in_child (refuse_offloads, NULL)) {
      g_test_skip ("seccomp is not to be had here");
      return;
    }
    g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
    g_test_trap_assert_passed ();
    return;
  }
  g_assert_true (refuse_offloads (NULL));
  g_assert_true (nat_address_from_text (&list[0], "127.0.0.1", 0));
  g_assert_true (nat_address_from_text (&list[1], "127.0.0.2", 0));
  io = nat_udpio_new (list, 2, 65536, &counters, &hints, NULL);
  g_assert_nonnull (io);
  g_assert_nonnull (strstr (hints, "UDP_GRO"));
  g_assert_true (strstr (hints, "UDP_SEGMENT") == g_strrstr (hints, "UDP_SEGMENT"));
  probe = nat_probe_new ("127.0.0.1", nat_udpio_local (io, 0));
  send_run (io, probe);
  g_assert_cmpuint (nat_counter_get (&counters.send_apart), ==, 20);
  for (guint i = 0; i < 3; i++)
    nat_probe_send (probe, "12345", 5);
  while (n < 3 && poll (&(struct pollfd){nat_udpio_fd (io, 0), POLLIN, 0}, 1, WAIT_MS) == 1)
    n += nat_udpio_receive (io, 0, NAT_UDPIO_SLOTS, &supers);
  g_assert_cmpuint (n, ==, 3);
}

/* What the system would not cut is sent apart. */
static void
test_refused_segments (void)
{
  g_autoptr (NatUdpio) io = listen_on ("127.0.0.1", NULL);
  NatUdpSource source = {0};
  NatUdpDest dest;
  static guint8 data[2048];
  struct iovec iov = {data, sizeof data};
  /* More datagrams than any kernel cuts a message into. */
  NatUdpRun run = {&iov, 1, 2048, 1, sizeof data};
  NatUdpMessage message = {&dest, &run, NULL, 0};
  guint64 failed = nat_counter_get (&counters.send_failed);

  source.key.remote = *nat_udpio_local (io, 0);
  source.key.local = *nat_udpio_local (io, 0);
  nat_udpio_dest_init (io, &dest, &source);
  nat_udpio_send (io, &message, 1);
  g_assert_cmpuint (message.n_sent, ==, 2048);
  g_assert_cmpuint (nat_counter_get (&counters.send_failed), ==, failed);
  g_assert_cmpuint (nat_udpio_findings (io), ==, NAT_UDPHINT_NO_OFFLOAD);
}

/* A destination that the system refuses hurts no other. */
static void
test_refused_neighbour (void)
{
  g_autoptr (NatUdpio) io = listen_on ("127.0.0.1", NULL);
  g_autoptr (NatProbe) probe = nat_probe_new ("127.0.0.1", nat_udpio_local (io, 0));
  NatUdpSource good = {0}, bad = {0};
  NatUdpDest dests[3];
  guint8 rtp[50], buf[NAT_DATAGRAM_MAX];
  struct iovec iov = {rtp, sizeof rtp};
  NatUdpRun run = {&iov, 1, 1, sizeof rtp, sizeof rtp};
  NatUdpMessage messages[3];

  nat_probe_write_rtp (rtp, sizeof rtp, 5, 1, 0);
  good.key.remote = probe->local;
  bad.key.remote = probe->local;
  bad.key.remote.port = 0; /* EINVAL */
  good.key.local = bad.key.local = *nat_udpio_local (io, 0);
  for (guint i = 0; i < 3; i++) {
    nat_udpio_dest_init (io, &dests[i], i == 1 ? &bad : &good);
    messages[i] = (NatUdpMessage){&dests[i], &run, NULL, 0};
  }
  nat_udpio_send (io, messages, 3);
  g_assert_cmpuint (messages[0].n_sent, ==, 1);
  g_assert_cmpuint (messages[1].n_sent, ==, 0);
  g_assert_cmpuint (messages[2].n_sent, ==, 1);
  for (guint i = 0; i < 2; i++)
    g_assert_cmpint (nat_probe_receive (probe, NAT_PACKET_RTP, buf, WAIT_MS), ==, sizeof rtp);
}

/* Whoever waits for news of a socket reads until nothing is left, and an error of it is not that. */
static void
test_error_before_datagram (void)
{
  g_autoptr (NatUdpio) io = listen_on ("127.0.0.1", NULL);
  g_autoptr (NatProbe) probe = nat_probe_new ("127.0.0.1", nat_udpio_local (io, 0));
  g_autoptr (NatUdpio) nobody = listen_on ("127.0.0.1", NULL);
  NatUdpSource source = {.key = {*nat_udpio_local (nobody, 0), *nat_udpio_local (io, 0)}};
  NatUdpSuper *supers;
  NatUdpDest dest;
  guint8 rtp[100];
  struct pollfd error = {nat_udpio_fd (io, 0), 0, 0};
  struct sockaddr_storage other;
  socklen_t len = sizeof other;
  gint64 end = g_get_monotonic_time () + 5 * G_USEC_PER_SEC;
  guint tries = 0;

  /* Connected to somebody else it hears nothing of us, and nobody takes its port meanwhile. */
  g_assert_cmpint (getsockname (error.fd, (struct sockaddr *)&other, &len), ==, 0);
  ((struct sockaddr_in *)&other)->sin_port = g_htons (9);
  g_assert_cmpint (connect (nat_udpio_fd (nobody, 0), (struct sockaddr *)&other, len), ==, 0);
  g_assert_cmpint (setsockopt (error.fd, IPPROTO_IP, IP_RECVERR, &(int){1}, sizeof (int)), ==, 0);
  nat_probe_write_rtp (rtp, sizeof rtp, 1, 2, 3);
  nat_udpio_dest_init (io, &dest, &source);
  /* The system answers a thousand a second, for all programs, and others' floods may want them all. */
  do {
    nat_udpio_send_one (io, &dest, rtp, sizeof rtp);
    if (g_get_monotonic_time () > end) {
      g_test_skip ("the system has no ICMP left for us");
      return;
    }
  } while (poll (&error, 1, tries++ % 100 == 0 ? 1 : 0) != 1);
  g_assert_true (error.revents & POLLERR);
  nat_probe_send (probe, rtp, sizeof rtp);
  g_assert_cmpint (poll (&(struct pollfd){error.fd, POLLIN, 0}, 1, WAIT_MS), ==, 1);
  g_assert_cmpuint (nat_udpio_receive (io, 0, NAT_UDPIO_SLOTS, &supers), ==, 1);
  g_assert_cmpmem (supers->data, supers->len, rtp, sizeof rtp);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/udpio/addressed", test_addressed);
  g_test_add_func ("/udpio/specific", test_specific);
  g_test_add_func ("/udpio/same-port", test_same_port);
  g_test_add_func ("/udpio/taken", test_taken);
  g_test_add_func ("/udpio/foreign-address", test_foreign_address);
  g_test_add_func ("/udpio/hint", test_hint);
  g_test_add_func ("/udpio/error-before-datagram", test_error_before_datagram);
  g_test_add_func ("/udpio/run", test_run);
  g_test_add_func ("/udpio/old-kernel", test_old_kernel);
  g_test_add_func ("/udpio/refused-segments", test_refused_segments);
  g_test_add_func ("/udpio/refused-neighbour", test_refused_neighbour);
  return g_test_run ();
}
