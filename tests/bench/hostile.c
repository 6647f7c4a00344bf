/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * nathostile: floods of one hostile kind at a rate, from addresses all over 127.0.0.0/8; and, with --reader, what they
 * are compared with: a socket that is read as plainly as can be, from which the live streams' packets go on to their
 * receivers. Prints one JSON object at the end, which SIGTERM brings on.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "natproto/challenge.h"
#include "natproto/crypto.h"
#include "natproto/rtcp.h"
#include "probe.h"
#include "traffic.h"

#define BATCH    64
#define LONGEST  512         /* bytes of a hostile datagram */
#define FIRST_IP 0x7f100000u /* 127.16.0.0 */
#define IPS      0x100000u   /* a million of them, none that anybody listens at */
#define HALVES   512         /* TLS connections that are open at a time */
#define NAP_US   200

static struct {
  const char *kind;
  char *to, *send_to, *secrets, *stream, *sink;
  double rate, seconds;
  gint64 ssrc;
  int streams;
  gboolean reader;
} opt = {.kind = "rubbish", .rate = 100000, .seconds = 10, .streams = 20};

static const GOptionEntry entries[] = {
    {"kind", 'k', 0, G_OPTION_ARG_STRING, &opt.kind,
        "rubbish, bindings, integrity, rtp, rtcp, nack or tls", "KIND"},
    {"to", 0, 0, G_OPTION_ARG_STRING, &opt.to, "the relay", "ADDRESS:PORT"},
    {"send-to", 0, 0, G_OPTION_ARG_STRING, &opt.send_to,
        "where the flood goes, if not to the relay that the session is of", "ADDRESS:PORT"},
    {"rate", 'r', 0, G_OPTION_ARG_DOUBLE, &opt.rate, "a second", "N"},
    {"seconds", 't', 0, G_OPTION_ARG_DOUBLE, &opt.seconds, "at most", "S"},
    {"ssrc", 0, 0, G_OPTION_ARG_INT64, &opt.ssrc, "of the first live stream; others count up", "N"},
    {"streams", 0, 0, G_OPTION_ARG_INT, &opt.streams, "that are live", "N"},
    {"secrets", 0, 0, G_OPTION_ARG_STRING, &opt.secrets,
        "of the relay's state directory, for tickets as clients have them", "FILE"},
    {"stream", 0, 0, G_OPTION_ARG_STRING, &opt.stream, "one that is live", "NAME"},
    {"reader", 0, 0, G_OPTION_ARG_NONE, &opt.reader, "read, at a port that is told", NULL},
    {"sink", 0, 0, G_OPTION_ARG_STRING, &opt.sink, "--reader: where the first stream goes on to",
        "ADDRESS:PORT"},
    {NULL},
};

static volatile sig_atomic_t stop;
static NatProbe *probe; /* of whoever has a session, or had one */
static gint64 started_ns;

static void
on_term (int number)
{
  stop = 1;
}

static void
die (const char *what)
{
  g_printerr ("nathostile: %s: %s\n", what, g_strerror (errno));
  exit (1);
}

/* ---- A session, as a client has one ------------------------------------------------- */

static NatSecrets *
read_secrets (void)
{
  NatSecrets *secrets = nat_secrets_new ();
  FILE *f = opt.secrets ? fopen (opt.secrets, "r") : NULL;
  guint32 number;
  char hex[65];

  if (!f)
    die ("--secrets");
  while (fscanf (f, "%u %64[0-9a-f]", &number, hex) == 2) {
    guint8 secret[32];

    for (guint i = 0; i < sizeof secret; i++)
      secret[i] =
          (guint8)(g_ascii_xdigit_value (hex[2 * i]) << 4 | g_ascii_xdigit_value (hex[2 * i + 1]));
    nat_secrets_add (secrets, number, secret);
  }
  fclose (f);
  return secrets;
}

/* A subscriber of the stream; registered if it is to send feedback. */
static void
make_session (gboolean registered)
{
  NatTicket t = {.role = NAT_ROLE_SUBSCRIBER};
  NatSecrets *secrets = read_secrets ();
  NatAddress relay = bench_address (opt.to, 0);

  t.password_secret = nat_secrets_current (secrets);
  nat_crypto_random (t.session_id, sizeof t.session_id);
  t.expires_s = t.token_expires_s = time (NULL) + 3000;
  g_strlcpy (t.stream, opt.stream ? opt.stream : "x", sizeof t.stream);
  probe = nat_probe_new ("127.0.0.1", &relay);
  nat_probe_set_ticket (probe, secrets, &t);
  nat_secrets_free (secrets);
  if (registered && nat_probe_bind (probe, NAT_PROBE_SELECT) != 0)
    die ("no registration");
  if (!registered && nat_probe_challenge (probe, 200, 2000) != 401)
    die ("no challenge");
}

/* ---- Kinds --------------------------------------------------------------------------- */

typedef gsize (*Write) (guint8 *buf, guint64 n);

static gsize
write_rubbish (guint8 *buf, guint64 n)
{
  gsize len = 1 + (gsize)g_random_int_range (0, 300);

  for (gsize i = 0; i < len; i += 4)
    memcpy (buf + i, &(guint32){g_random_int ()}, 4);
  return len;
}

static gsize
write_binding (guint8 *buf, guint64 n)
{
  NatStunWriter w;
  guint8 id[12] = {0};

  memcpy (id, &n, sizeof n);
  nat_stun_writer_init (&w, buf, LONGEST, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_pad_to (&w, 200, NAT_STUN_FINGERPRINT_SIZE);
  return nat_stun_writer_finish (&w);
}

/* With a user name that the relay has to open, and an integrity that does not fit. */
static gsize
write_integrity (guint8 *buf, guint64 n)
{
  static guint8 good[NAT_DATAGRAM_MAX];
  static gsize len;

  if (len == 0) {
    probe->key[0] ^= 1;
    len = nat_probe_request (probe, NAT_PROBE_SELECT, good) - NAT_STUN_FINGERPRINT_SIZE;
    good[2] = (guint8)((len - NAT_STUN_HEADER_SIZE) >> 8);
    good[3] = (guint8)(len - NAT_STUN_HEADER_SIZE);
  }
  memcpy (buf, good, len);
  memcpy (buf + 8, &n, sizeof n);
  return len;
}

static guint32
known_ssrc (guint64 n)
{
  return (guint32)opt.ssrc + (guint32)(n % (guint)opt.streams);
}

static gsize
write_rtp (guint8 *buf, guint64 n)
{
  nat_probe_write_rtp (buf, 200, known_ssrc (n), (guint16)n, (guint32)n);
  buf[1] = BENCH_PAYLOAD_TYPE;
  return 200;
}

static gsize
write_rtcp (guint8 *buf, guint64 n)
{
  gsize len = write_rubbish (buf, n) | 32;
  guint32 ssrc = GUINT32_TO_BE (known_ssrc (n));

  buf[0] = (guint8)(0x80 | (n % 32));
  buf[1] = (guint8)(200 + n % 8);
  if (n % 2) {
    buf[2] = 0;
    buf[3] = (guint8)(len / 4 - 1);
  }
  memcpy (buf + 4, &ssrc, 4);
  return len;
}

/* Genuine: 17 packets of the last two seconds, of which the stream has 500 in each. */
static gsize
write_nack (guint8 *buf, guint64 n)
{
  guint last = (guint)((bench_now_ns () - started_ns) / 2000000);
  guint16 seqs[17];
  guint n_seqs = G_N_ELEMENTS (seqs);
  gsize len = nat_rtcp_write_rr (buf, 100, 0xbad, NULL, 0);

  for (guint i = 0; i < n_seqs; i++)
    seqs[i] = (guint16)(last - (guint)(n % 1000) + i);
  len += nat_rtcp_write_nack (buf + len, 200, 0xbad, (guint32)opt.ssrc, seqs, &n_seqs);
  return nat_srtcp_protect (probe->to_relay, buf, len);
}

static const struct {
  const char *name;
  Write write;
  gboolean session, registered;
} kinds[] = {
    {"rubbish", write_rubbish, FALSE, FALSE},
    {"bindings", write_binding, FALSE, FALSE},
    {"integrity", write_integrity, TRUE, FALSE},
    {"rtp", write_rtp, FALSE, FALSE},
    {"rtcp", write_rtcp, FALSE, FALSE},
    {"nack", write_nack, TRUE, TRUE},
};

/* ---- Datagrams ----------------------------------------------------------------------- */

typedef struct {
  int fd;
  struct mmsghdr messages[BATCH];
  struct iovec iov[BATCH];
  guint8 data[BATCH][LONGEST];
  union {
    struct cmsghdr head;
    guint8 bytes[CMSG_SPACE (sizeof (struct in_pktinfo))];
  } control[BATCH];
} Flood;

static void
name_source (Flood *f, guint slot)
{
  struct cmsghdr *c = &f->control[slot].head;
  struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl (FIRST_IP + g_random_int () % IPS)};

  c->cmsg_level = IPPROTO_IP;
  c->cmsg_type = IP_PKTINFO;
  c->cmsg_len = CMSG_LEN (sizeof info);
  memcpy (CMSG_DATA (c), &info, sizeof info);
}

/* A socket of its own, small, for what comes back is not read; or the session's, whose address is its own. */
static void
prepare (Flood *f, BenchSockaddr *to, gboolean session)
{
  int small = 4096;

  f->fd = session ? probe->fd : socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (f->fd < 0)
    die ("socket");
  setsockopt (f->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  for (guint i = 0; i < BATCH; i++) {
    f->iov[i].iov_base = f->data[i];
    f->messages[i].msg_hdr = (struct msghdr){&to->sa, to->len, &f->iov[i], 1, NULL, 0, 0};
    if (session)
      continue;
    f->messages[i].msg_hdr.msg_control = &f->control[i];
    f->messages[i].msg_hdr.msg_controllen = sizeof f->control[i];
  }
}

static guint
send_batch (Flood *f, Write write, guint n, guint64 number, gboolean session, guint64 *bytes)
{
  int taken;

  for (guint i = 0; i < n; i++) {
    f->iov[i].iov_len = write (f->data[i], number + i);
    if (!session)
      name_source (f, i);
  }
  taken = sendmmsg (f->fd, f->messages, n, MSG_DONTWAIT);
  if (taken < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR && errno != ECONNREFUSED)
    die ("cannot send");
  for (int i = 0; i < taken; i++)
    *bytes += f->iov[i].iov_len;
  return taken < 0 ? 0 : (guint)taken;
}

static guint64
due (void)
{
  return (guint64)((double)(bench_now_ns () - started_ns) * 1e-9 * opt.rate);
}

static gboolean
is_over (void)
{
  return stop || (double)(bench_now_ns () - started_ns) * 1e-9 >= opt.seconds;
}

static void
tell (guint64 sent, guint64 bytes)
{
  double s = (double)(bench_now_ns () - started_ns) * 1e-9;

  printf ("{\"kind\": \"%s\", \"sent\": %" G_GUINT64_FORMAT ", \"bytes\": %" G_GUINT64_FORMAT
          ", \"seconds\": %.3f, \"rate\": %.0f}\n",
      opt.kind, sent, bytes, s, (double)sent / s);
}

static void
flood (Write write, gboolean session)
{
  NatAddress target = bench_address (opt.send_to ? opt.send_to : opt.to, 0);
  BenchSockaddr to = bench_sockaddr (&target);
  guint64 sent = 0, bytes = 0;
  Flood *f = g_new0 (Flood, 1);

  prepare (f, &to, session);
  started_ns = bench_now_ns ();
  while (!is_over ()) {
    guint64 waiting = due () - MIN (due (), sent);

    if (waiting < BATCH / 4)
      g_usleep (NAP_US);
    else
      sent += send_batch (f, write, (guint)MIN (waiting, BATCH), sent, session, &bytes);
  }
  tell (sent, bytes);
}

/* ---- TLS connections that nobody goes on with --------------------------------------------- */

static int
half_open (const BenchSockaddr *to)
{
  static const guint8 half[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
  struct sockaddr_in own = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl (FIRST_IP + g_random_int () % IPS)};
  struct linger reset = {1, 0};
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  if (fd < 0)
    die ("socket");
  setsockopt (fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (bind (fd, (struct sockaddr *)&own, sizeof own) < 0)
    die ("bind");
  if (connect (fd, (const struct sockaddr *)&to->sa, to->len) == 0 || errno == EINPROGRESS)
    send (fd, half, sizeof half, MSG_NOSIGNAL); /* what of it the system takes */
  return fd;
}

static void
flood_tls (void)
{
  NatAddress relay = bench_address (opt.to, 0);
  BenchSockaddr to = bench_sockaddr (&relay);
  int open[HALVES];
  guint64 sent = 0;

  bench_many_descriptors ();
  started_ns = bench_now_ns ();
  while (!is_over ()) {
    if (sent >= due ()) {
      g_usleep (NAP_US);
      continue;
    }
    if (sent >= HALVES)
      close (open[sent % HALVES]);
    open[sent++ % HALVES] = half_open (&to);
  }
  tell (sent, 0);
}

/* ---- The control ------------------------------------------------------------------------ */

static void
pass_on (int fd, const guint8 *data, gsize len)
{
  BenchProbe live;
  NatAddress sink;
  BenchSockaddr to;

  if (len < BENCH_SIZE_MIN)
    return;
  memcpy (&live, data + BENCH_RTP_HEADER, sizeof live);
  if (live.magic != BENCH_PROBE_MAGIC)
    return;
  sink = bench_address (opt.sink, live.publisher);
  to = bench_sockaddr (&sink);
  sendto (fd, data, len, MSG_DONTWAIT, (struct sockaddr *)&to.sa, to.len);
}

static void
read_plainly (void)
{
  static guint8 data[BATCH][NAT_DATAGRAM_MAX];
  struct mmsghdr messages[BATCH] = {0};
  struct iovec iov[BATCH];
  NatAddress own = bench_address ("127.0.0.1:0", 0);
  char text[NAT_ADDRESS_TEXT_MAX];
  GError *error = NULL;
  int fd = bench_udp_socket (&own, &error);

  if (fd < 0)
    g_error ("%s", error->message);
  own = bench_socket_local (fd);
  printf ("listening=%s\nready\n", nat_address_to_text (&own, text));
  fflush (stdout);
  for (guint i = 0; i < BATCH; i++) {
    iov[i] = (struct iovec){data[i], sizeof data[i]};
    messages[i].msg_hdr.msg_iov = &iov[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  while (!stop) {
    int n = recvmmsg (fd, messages, BATCH, MSG_WAITFORONE, NULL);

    for (int i = 0; i < n; i++)
      pass_on (fd, data[i], messages[i].msg_len);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- hostile floods");
  struct sigaction term = {.sa_handler = on_term};
  GError *error = NULL;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) ||
      (opt.reader ? !opt.sink : !opt.to || opt.rate <= 0 || opt.streams < 1)) {
    g_printerr ("nathostile: %s\n", error ? error->message : "--to, or --reader and --sink");
    return 2;
  }
  sigaction (SIGTERM, &term, NULL);
  alarm (300); /* never left behind */
  if (opt.reader) {
    read_plainly ();
    return 0;
  }
  if (strcmp (opt.kind, "tls") == 0) {
    flood_tls ();
    return 0;
  }
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++) {
    if (strcmp (opt.kind, kinds[i].name) != 0)
      continue;
    if (kinds[i].session)
      make_session (kinds[i].registered);
    started_ns = bench_now_ns ();
    flood (kinds[i].write, kinds[i].registered);
    return 0;
  }
  g_printerr ("nathostile: no kind \"%s\"\n", opt.kind);
  return 2;
}
