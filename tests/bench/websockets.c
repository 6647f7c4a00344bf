/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * websockets: one publisher, viewers over WebSocket and viewers over UDP beside them, all of one relay in this
 * process. What each kind got and how late, and what the relay's threads took.
 */
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "../check/server/wsclient.h"
#include "../check/server/wsrelay.h"
#include "histogram.h"
#include "udpsocket.h"

#define FPS  30
#define SIZE 1200

static struct {
  int viewers, udp, kbps;
  double seconds;
} opt = {.viewers = 100, .udp = 10, .kbps = 2000, .seconds = 10};

static const GOptionEntry entries[] = {
    {"viewers", 0, 0, G_OPTION_ARG_INT, &opt.viewers, "over WebSocket", "N"},
    {"udp", 0, 0, G_OPTION_ARG_INT, &opt.udp, "over UDP", "N"},
    {"kbps", 0, 0, G_OPTION_ARG_INT, &opt.kbps, "of the stream", "N"},
    {"seconds", 't', 0, G_OPTION_ARG_DOUBLE, &opt.seconds, "to go on", "S"},
    {NULL},
};

typedef struct {
  const char *name;
  int epoll;
  guint n;
  guint64 got;
  BenchHistogram late_ns;
} Kind;

static gint stop; /* atomic */

static void
watch (Kind *k, NatProbe *p)
{
  struct epoll_event event = {.events = EPOLLIN, .data.fd = p->fd};

  g_assert_cmpint (epoll_ctl (k->epoll, EPOLL_CTL_ADD, p->fd, &event), ==, 0);
}

static void
take (Kind *k, int fd)
{
  guint8 got[NAT_DATAGRAM_MAX];
  gint64 sent_ns;
  gssize n;

  while ((n = recv (fd, got, sizeof got, MSG_DONTWAIT)) > 0) {
    if (n != SIZE)
      continue;
    memcpy (&sent_ns, got + 12, sizeof sent_ns);
    bench_histogram_add (&k->late_ns, MAX (bench_now_ns () - sent_ns, 0));
    k->got++;
  }
}

static gpointer
drain (gpointer data)
{
  Kind *k = data;
  struct epoll_event events[64];

  while (!g_atomic_int_get (&stop)) {
    int n = epoll_wait (k->epoll, events, G_N_ELEMENTS (events), 50);

    for (int i = 0; i < n; i++)
      take (k, events[i].data.fd);
  }
  return NULL;
}

/* Seconds of processor that the thread of that name took so far. */
static double
cpu_of (const char *thread)
{
  g_autoptr (GDir) dir = g_dir_open ("/proc/self/task", 0, NULL);
  const char *tid;
  double sum = 0;

  while (dir && (tid = g_dir_read_name (dir))) {
    g_autofree char *path = g_strdup_printf ("/proc/self/task/%s/stat", tid);
    g_autofree char *wanted = g_strdup_printf ("(%s)", thread);
    g_autofree char *stat = NULL;
    unsigned long user, system;
    const char *behind;

    if (!g_file_get_contents (path, &stat, NULL, NULL) || !strstr (stat, wanted))
      continue;
    behind = strrchr (stat, ')') + 2;
    if (sscanf (behind, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
      sum += (double)(user + system) / (double)sysconf (_SC_CLK_TCK);
  }
  return sum;
}

static guint
publish (NatProbe *publisher)
{
  guint packets = (guint)MAX ((opt.kbps * 125 + FPS * SIZE / 2) / (FPS * SIZE), 1), n = 0;
  gint64 start = g_get_monotonic_time ();
  guint8 rtp[SIZE];

  for (guint frame = 0; frame < (guint)(opt.seconds * FPS); frame++) {
    gint64 due = start + (gint64)frame * G_USEC_PER_SEC / FPS, now;

    while ((now = g_get_monotonic_time ()) < due)
      g_usleep ((gulong)(due - now));
    for (guint i = 0; i < packets; i++) {
      gint64 now_ns = bench_now_ns ();

      n++;
      nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, (guint16)n, frame * 3000);
      memcpy (rtp + 12, &now_ns, sizeof now_ns);
      nat_probe_send (publisher, rtp, sizeof rtp);
    }
  }
  return n;
}

static void
report (const Kind *k, guint sent)
{
  guint64 wanted = (guint64)k->n * sent;

  if (k->n == 0)
    return;
  printf ("%s: %u viewers, %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
          " packets (%.3f %% missing), p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
      k->name, k->n, k->got, wanted, 100.0 * (double)(wanted - MIN (k->got, wanted)) / wanted,
      bench_histogram_us (&k->late_ns, 0.5) / 1e3, bench_histogram_us (&k->late_ns, 0.99) / 1e3,
      bench_histogram_us (&k->late_ns, 1) / 1e3);
}

static void
join (WsRelay *f, Kind *k, NatProbe **probes, gboolean websocket)
{
  for (guint i = 0; i < k->n; i++) {
    NatTicket t = data_relay_ticket (f->r, NAT_ROLE_SUBSCRIBER);

    probes[i] =
        websocket ? ws_client_probe (&f->address) : nat_probe_new ("127.0.0.1", &f->r->address);
    ws_relay_register (f, probes[i], &t);
    watch (k, probes[i]);
  }
}

static void
run (WsRelay *f, Kind *ws, Kind *udp)
{
  g_autofree NatProbe **probes = g_new0 (NatProbe *, ws->n + udp->n);
  NatTicket tp;
  NatProbe *publisher = data_relay_publish (f->r, &tp, NULL);
  GThread *threads[2];
  double data, websocket;
  guint sent;

  join (f, ws, probes, TRUE);
  join (f, udp, probes + ws->n, FALSE);
  threads[0] = g_thread_new ("drain-ws", drain, ws);
  threads[1] = g_thread_new ("drain-udp", drain, udp);
  data = cpu_of ("nat-data");
  websocket = cpu_of ("nat-websocket");
  sent = publish (publisher);
  g_usleep (G_USEC_PER_SEC / 2);
  data = cpu_of ("nat-data") - data;
  websocket = cpu_of ("nat-websocket") - websocket;
  g_atomic_int_set (&stop, 1);
  g_thread_join (threads[0]);
  g_thread_join (threads[1]);
  report (ws, sent);
  report (udp, sent);
  printf ("worker %.1f %% of a core, WebSocket thread %.1f %%; late %" G_GUINT64_FORMAT
          ", no room %" G_GUINT64_FORMAT "\n",
      100 * data / opt.seconds, 100 * websocket / opt.seconds,
      nat_counter_get (&f->counters->websocket_late_video),
      nat_counter_get (&f->counters->websocket_beyond) + DATA_RELAY_COUNT (f->r, send_tunnel_full));
  for (guint i = 0; i < ws->n + udp->n; i++)
    nat_probe_free (probes[i]);
  nat_probe_free (publisher);
}

int
main (int argc, char **argv)
{
  static const NatWsLimits limits = {
      10000, 10000, 10000, 60 * G_USEC_PER_SEC, 3600 * (gint64)G_USEC_PER_SEC};
  g_autoptr (GOptionContext) context = g_option_context_new ("- WebSocket viewers beside UDP's");
  g_autoptr (GError) error = NULL;
  Kind ws = {.name = "WebSocket"}, udp = {.name = "UDP"};
  WsRelay f = {0};

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    fprintf (stderr, "%s\n", error->message);
    return 2;
  }
  bench_many_descriptors ();
  ws.n = (guint)opt.viewers;
  udp.n = (guint)opt.udp;
  ws.epoll = epoll_create1 (EPOLL_CLOEXEC);
  udp.epoll = epoll_create1 (EPOLL_CLOEXEC);
  ws_relay_start (&f, &limits);
  run (&f, &ws, &udp);
  ws_relay_stop (&f);
  close (ws.epoll);
  close (udp.epoll);
  return udp.got == 0 && udp.n > 0;
}
