/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * natloops: the least that a relay in user space can do, without any look-up, registration or
 * check: what comes in goes to COUNT addresses. It says where the limit is.
 *
 *   plain      recvfrom, sendto
 *   batch      recvmmsg, sendmmsg
 *   segments   the same with UDP_GRO in and UDP_SEGMENT out, neighbours joined
 *   faulty     plain, with losses, duplicates, swaps and delays on purpose: proves the meter
 */
#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include "udpsocket.h"

#define SMALL_BATCH 64 /* datagrams of 2048 bytes */
#define BIG_BATCH   16 /* super-packets of 64 KiB: 1 MiB, which fits an L2 */
#define OUT_BATCH   1024
#define CONTROL     64

static struct {
  char *listen, *to;
  int count, nap_us, seconds, drop_every, repeat_every, swap_every, damage_every, delay_ms;
} opt = {.count = 1, .seconds = 600};

static const GOptionEntry entries[] = {
    {"listen", 0, 0, G_OPTION_ARG_STRING, &opt.listen, "where packets come in", "ADDRESS:PORT"},
    {"to", 0, 0, G_OPTION_ARG_STRING, &opt.to, "the first receiver; others count up",
        "ADDRESS:PORT"},
    {"count", 0, 0, G_OPTION_ARG_INT, &opt.count, "receivers", "N"},
    {"nap", 0, 0, G_OPTION_ARG_INT, &opt.nap_us, "while packets flow, read only so often", "US"},
    {"seconds", 0, 0, G_OPTION_ARG_INT, &opt.seconds, "until it ends by itself", "S"},
    {"drop-every", 0, 0, G_OPTION_ARG_INT, &opt.drop_every, "faulty: lose every Nth", "N"},
    {"repeat-every", 0, 0, G_OPTION_ARG_INT, &opt.repeat_every, "faulty: send every Nth twice",
        "N"},
    {"swap-every", 0, 0, G_OPTION_ARG_INT, &opt.swap_every,
        "faulty: send every Nth after its successor", "N"},
    {"damage-every", 0, 0, G_OPTION_ARG_INT, &opt.damage_every,
        "faulty: change the last byte of every Nth", "N"},
    {"delay-ms", 0, 0, G_OPTION_ARG_INT, &opt.delay_ms, "faulty: hold everything so long", "MS"},
    {NULL},
};

static int fd;
static BenchSockaddr *receivers;

static void
die (const char *what)
{
  g_printerr ("natloops: %s: %s\n", what, g_strerror (errno));
  exit (1);
}

/* ---- plain ------------------------------------------------------------------------------ */

static void
send_to_all (const guint8 *data, gsize len)
{
  for (int i = 0; i < opt.count; i++)
    while (sendto (fd, data, len, 0, (struct sockaddr *)&receivers[i].sa, receivers[i].len) < 0 &&
           (errno == EAGAIN || errno == ENOBUFS))
      ;
}

static void
run_plain (void)
{
  static guint8 data[65536];

  for (;;) {
    gssize n = recv (fd, data, sizeof data, 0);

    if (n > 0)
      send_to_all (data, (gsize)n);
  }
}

static gboolean
turn_of (int every, guint64 i)
{
  return every > 0 && i % (guint)every == 0;
}

/* A read that ends after a quiet moment, so that a packet that waits for its successor goes
 * out in the end. */
static void
use_timeout (void)
{
  struct timeval t = {.tv_usec = 50000};

  if (setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t) < 0)
    die ("SO_RCVTIMEO");
}

static void
run_faulty (void)
{
  static guint8 data[2048], held[2048];
  gsize n_held = 0;

  use_timeout ();
  for (guint64 i = 0;;) {
    gssize n = recv (fd, data, sizeof data, 0);

    if (n > 0)
      i++;
    if (n > 0 && opt.delay_ms)
      g_usleep ((gulong)opt.delay_ms * 1000);
    if (n > 0 && turn_of (opt.damage_every, i))
      data[n - 1] ^= 0xff;
    if (n > 0 && turn_of (opt.drop_every, i))
      continue;
    if (n > 0 && !n_held && turn_of (opt.swap_every, i)) {
      memcpy (held, data, (gsize)n);
      n_held = (gsize)n;
      continue;
    }
    for (int copies = n <= 0 ? 0 : turn_of (opt.repeat_every, i) ? 2 : 1; copies > 0; copies--)
      send_to_all (data, (gsize)n);
    if (n_held)
      send_to_all (held, n_held);
    n_held = 0;
  }
}

/* ---- batch and segments ----------------------------------------------------------------- */

typedef struct {
  struct mmsghdr messages[SMALL_BATCH];
  struct iovec iov[SMALL_BATCH];
  guint8 control[SMALL_BATCH][CONTROL];
  guint n;
  gsize capacity;
  gboolean gro;
  guint idle; /* empty reads in a row, while napping */
} Inlet;

/* Neighbours of one size, to leave as one message. */
typedef struct {
  struct iovec iov[SMALL_BATCH];
  guint n_iov, n_segments;
  gsize bytes, segment;
  gboolean closed; /* its last segment is short: nothing may follow */
  guint8 control[CMSG_SPACE (sizeof (guint16))];
} Train;

typedef struct {
  struct mmsghdr messages[OUT_BATCH];
  guint n;
} Outlet;

static Inlet in;
static Outlet out;
static Train trains[SMALL_BATCH];

static void
inlet_init (gboolean gro)
{
  in.gro = gro;
  in.n = gro ? BIG_BATCH : SMALL_BATCH;
  in.capacity = gro ? 65536 : 2048;
  for (guint i = 0; i < in.n; i++) {
    in.iov[i].iov_base = g_malloc0 (in.capacity);
    in.messages[i].msg_hdr.msg_iov = &in.iov[i];
    in.messages[i].msg_hdr.msg_iovlen = 1;
  }
}

static void
nap (void)
{
  struct timespec t = {0, opt.nap_us * 1000L};

  nanosleep (&t, NULL);
}

/* With --nap: never wakes for a single packet while there is traffic, and sleeps properly after
 * 16 naps in vain. */
static int
inlet_read (void)
{
  gboolean block = !opt.nap_us || in.idle > 16;
  int n;

  for (guint i = 0; i < in.n; i++) {
    in.iov[i].iov_len = in.capacity;
    in.messages[i].msg_hdr.msg_control = in.gro ? in.control[i] : NULL;
    in.messages[i].msg_hdr.msg_controllen = in.gro ? CONTROL : 0;
  }
  n = recvmmsg (fd, in.messages, in.n, block ? MSG_WAITFORONE : MSG_DONTWAIT, NULL);
  in.idle = n > 0 ? 0 : in.idle + 1;
  if (opt.nap_us && n <= 0)
    nap ();
  return MAX (n, 0);
}

static void
outlet_flush (void)
{
  for (guint done = 0; done < out.n;) {
    int n = sendmmsg (fd, out.messages + done, out.n - done, 0);

    if (n > 0)
      done += (guint)n;
    else if (errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
      done++;
  }
  out.n = 0;
}

static void
outlet_add (BenchSockaddr *to, struct iovec *iov, guint n_iov, guint8 *control, gsize control_len)
{
  out.messages[out.n++].msg_hdr = (struct msghdr){
      .msg_name = &to->sa,
      .msg_namelen = to->len,
      .msg_iov = iov,
      .msg_iovlen = n_iov,
      .msg_control = control,
      .msg_controllen = control_len,
  };
  if (out.n == OUT_BATCH)
    outlet_flush ();
}

static void
run_batch (void)
{
  inlet_init (FALSE);
  for (;;) {
    int n = inlet_read ();

    for (int i = 0; i < n; i++)
      in.iov[i].iov_len = in.messages[i].msg_len;
    for (int r = 0; r < opt.count; r++)
      for (int i = 0; i < n; i++)
        outlet_add (&receivers[r], &in.iov[i], 1, NULL, 0);
    outlet_flush ();
  }
}

static gsize
segment_of (struct msghdr *m, gsize len)
{
  struct cmsghdr *c = CMSG_FIRSTHDR (m);
  int segment;

  if (!c || c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO)
    return len;
  memcpy (&segment, CMSG_DATA (c), sizeof segment);
  return segment > 0 && (gsize)segment < len ? (gsize)segment : len;
}

static gboolean
train_takes (const Train *t, gsize len, gsize segment, guint n_segments)
{
  return !t->closed && (t->segment == segment || (n_segments == 1 && len <= t->segment)) &&
         t->n_segments + n_segments <= BENCH_GSO_SEGMENTS && t->bytes + len <= BENCH_GSO_BYTES &&
         t->n_iov < SMALL_BATCH;
}

static void
train_begin (Train *t, gsize segment)
{
  struct cmsghdr *c = (struct cmsghdr *)t->control;
  guint16 value = (guint16)segment;

  t->n_iov = t->n_segments = 0;
  t->bytes = 0;
  t->segment = segment;
  c->cmsg_level = SOL_UDP;
  c->cmsg_type = UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN (sizeof value);
  memcpy (CMSG_DATA (c), &value, sizeof value);
}

/* Joins what was read into as few messages as the kernel allows. */
static guint
couple (int n)
{
  guint n_trains = 0;

  for (int i = 0; i < n; i++) {
    gsize len = in.messages[i].msg_len, segment = segment_of (&in.messages[i].msg_hdr, len);
    guint n_segments = len ? (guint)((len + segment - 1) / segment) : 0;
    Train *t = n_trains ? &trains[n_trains - 1] : NULL;

    if (!len)
      continue;
    if (!t || !train_takes (t, len, segment, n_segments)) {
      t = &trains[n_trains++];
      train_begin (t, segment);
    }
    t->iov[t->n_iov++] = (struct iovec){in.iov[i].iov_base, len};
    t->n_segments += n_segments;
    t->bytes += len;
    t->closed = len % t->segment != 0;
  }
  return n_trains;
}

static void
run_segments (void)
{
  GError *error = NULL;

  if (!bench_enable_gro (fd, &error)) {
    g_printerr ("natloops: %s\n", error->message);
    exit (1);
  }
  inlet_init (TRUE);
  for (;;) {
    guint n = couple (inlet_read ());

    for (int r = 0; r < opt.count; r++)
      for (guint i = 0; i < n; i++) {
        Train *t = &trains[i];
        gboolean many = t->n_segments > 1;

        outlet_add (&receivers[r], t->iov, t->n_iov, many ? t->control : NULL,
            many ? sizeof t->control : 0);
      }
    outlet_flush ();
  }
}

/* ---- start ------------------------------------------------------------------------------ */

typedef struct {
  const char *name;
  void (*run) (void);
} Mode;

static const Mode modes[] = {
    {"plain", run_plain},
    {"batch", run_batch},
    {"segments", run_segments},
    {"faulty", run_faulty},
};

static const Mode *
find_mode (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    if (g_strcmp0 (modes[i].name, name) == 0)
      return &modes[i];
  return NULL;
}

static const Mode *
parse (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("plain|batch|segments|faulty");
  GError *error = NULL;
  const Mode *mode;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    g_printerr ("natloops: %s\n", error->message);
    exit (2);
  }
  mode = argc == 2 ? find_mode (argv[1]) : NULL;
  if (!mode || !opt.listen || !opt.to || opt.count < 1) {
    g_printerr ("natloops: a mode, --listen and --to are needed; see --help\n");
    exit (2);
  }
  return mode;
}

int
main (int argc, char **argv)
{
  const Mode *mode = parse (argc, argv);
  NatAddress local = bench_address (opt.listen, 0);
  char text[NAT_ADDRESS_TEXT_MAX];
  GError *error = NULL;

  prctl (PR_SET_TIMERSLACK, 1000);
  alarm ((guint)opt.seconds);
  receivers = g_new0 (BenchSockaddr, opt.count);
  for (int i = 0; i < opt.count; i++) {
    NatAddress to = bench_address (opt.to, (guint)i);

    receivers[i] = bench_sockaddr (&to);
  }
  fd = bench_udp_socket (&local, &error);
  if (fd < 0) {
    g_printerr ("natloops: %s\n", error->message);
    return 1;
  }
  local = bench_socket_local (fd);
  printf ("listening=%s\nready\n", nat_address_to_text (&local, text));
  fflush (stdout);
  mode->run ();
  die ("ended");
  return 1;
}
