/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * natblast: RTP-shaped load, its sink and its meter in one busy thread, so that one clock
 * stamps both ends and nothing sleeps. Prints one JSON object a measurement.
 */
#include <glib.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "phase.h"
#include "registration.h"

#define GENTLE_S   0.3
#define APPROACH_S 0.1 /* of load before each slice: whoever slept has a warm cache again */

static struct {
  int publishers, subscribers, size, burst, cpu, relay_cpu;
  double rate, seconds, warm, probe_seconds, latency_limit_ms;
  gboolean no_segment, sink_gro, verify, turn, negotiate, beside, slices;
  char *from, *sink, *label, *stream, *search, *pids, *kernel_pids;
  char **to;
} opt = {
    .publishers = 1,
    .subscribers = 1,
    .size = 1200,
    .burst = 1,
    .cpu = -1,
    .relay_cpu = -1,
    .rate = 10000,
    .seconds = 2,
    .warm = 0.3,
    .probe_seconds = 0.8,
    .latency_limit_ms = 20,
};

static const GOptionEntry entries[] = {
    {"publishers", 'p', 0, G_OPTION_ARG_INT, &opt.publishers, "publishers", "N"},
    {"subscribers", 's', 0, G_OPTION_ARG_INT, &opt.subscribers, "subscribers of each", "N"},
    {"size", 0, 0, G_OPTION_ARG_INT, &opt.size, "bytes of an RTP packet", "BYTES"},
    {"burst", 'b', 0, G_OPTION_ARG_INT, &opt.burst, "packets sent at once (1 = smooth)", "N"},
    {"rate", 'r', 0, G_OPTION_ARG_DOUBLE, &opt.rate, "packets in per second, all publishers",
        "RATE"},
    {"seconds", 't', 0, G_OPTION_ARG_DOUBLE, &opt.seconds, "of measurement", "S"},
    {"warm", 0, 0, G_OPTION_ARG_DOUBLE, &opt.warm, "seconds of the load before it", "S"},
    {"slices", 0, 0, G_OPTION_ARG_NONE, &opt.slices,
        "say ready, then measure once for each line on the standard input", NULL},
    {"no-segment", 0, 0, G_OPTION_ARG_NONE, &opt.no_segment,
        "send bursts as single datagrams, without UDP_SEGMENT", NULL},
    {"sink-gro", 0, 0, G_OPTION_ARG_NONE, &opt.sink_gro, "receive with UDP_GRO", NULL},
    {"verify", 0, 0, G_OPTION_ARG_NONE, &opt.verify, "compare every byte that arrives", NULL},
    {"from", 0, 0, G_OPTION_ARG_STRING, &opt.from, "of the first publisher; others count up",
        "ADDRESS:PORT"},
    {"to", 0, 0, G_OPTION_ARG_STRING_ARRAY, &opt.to, "where publishers send; repeat for one each",
        "ADDRESS:PORT"},
    {"sink", 0, 0, G_OPTION_ARG_STRING, &opt.sink, "of the first subscriber; others count up",
        "ADDRESS:PORT"},
    {"negotiate", 0, 0, G_OPTION_ARG_NONE, &opt.negotiate,
        "--to is natrelay: negotiate there over HTTPS, and register", NULL},
    {"beside", 0, 0, G_OPTION_ARG_NONE, &opt.beside,
        "something else uses this core: sleep between packets, take arrivals from the kernel's "
        "stamps",
        NULL},
    {"stream", 0, 0, G_OPTION_ARG_STRING, &opt.stream, "name before the publisher's number",
        "NAME"},
    {"turn", 0, 0, G_OPTION_ARG_NONE, &opt.turn, "--to is a TURN server: bind channels", NULL},
    {"pid", 0, 0, G_OPTION_ARG_STRING, &opt.pids, "of the relay", "PID,…"},
    {"kernel-pid", 0, 0, G_OPTION_ARG_STRING, &opt.kernel_pids,
        "of kernel threads on the relay's core", "PID,…"},
    {"cpu", 0, 0, G_OPTION_ARG_INT, &opt.cpu, "to run on", "N"},
    {"relay-cpu", 0, 0, G_OPTION_ARG_INT, &opt.relay_cpu, "the relay's, to see strangers on it",
        "N"},
    {"search", 0, 0, G_OPTION_ARG_STRING, &opt.search,
        "find the highest rate without loss, between these", "MIN:MAX"},
    {"probe-seconds", 0, 0, G_OPTION_ARG_DOUBLE, &opt.probe_seconds, "of each probe of it", "S"},
    {"latency-limit-ms", 0, 0, G_OPTION_ARG_DOUBLE, &opt.latency_limit_ms,
        "p99 above which a probe counts as failed", "MS"},
    {"label", 0, 0, G_OPTION_ARG_STRING, &opt.label, "printed with the results", "TEXT"},
    {NULL},
};

static BenchField field;
static BenchCredential *credentials; /* publishers first */
static gint64 registered_ns;

static void
die (GError *error)
{
  g_printerr ("natblast: %s\n", error->message);
  exit (1);
}

static GArray *
parse_pids (const char *text)
{
  GArray *pids = g_array_new (FALSE, FALSE, sizeof (int));
  g_auto (GStrv) parts = g_strsplit (text ? text : "", ",", -1);

  for (guint i = 0; parts[i]; i++) {
    int pid = atoi (parts[i]);

    if (pid > 0)
      g_array_append_val (pids, pid);
  }
  return pids;
}

static BenchMeter *
make_meter (void)
{
  g_autoptr (GArray) pids = parse_pids (opt.pids);
  g_autoptr (GArray) kernel_pids = parse_pids (opt.kernel_pids);
  GError *error = NULL;
  BenchMeter *m = bench_meter_new (pids, kernel_pids, opt.relay_cpu, &error);

  if (!m)
    die (error);
  return m;
}

static int
open_socket (const char *base, guint offset)
{
  NatAddress a = bench_address (base, offset);
  GError *error = NULL;
  int fd = bench_udp_socket (&a, &error);

  if (fd < 0)
    die (error);
  return fd;
}

static NatAddress
relay_of (guint publisher)
{
  return bench_address (opt.to[publisher % g_strv_length (opt.to)], 0);
}

static void
make_subscribers (void)
{
  GError *error = NULL;

  field.fan = (guint)opt.subscribers;
  field.n_subscribers = (guint)(opt.publishers * opt.subscribers);
  field.subscribers = g_new0 (BenchSubscriber, field.n_subscribers);
  for (guint i = 0; i < field.n_subscribers; i++) {
    BenchSubscriber *s = &field.subscribers[i];

    s->fd = open_socket (opt.sink, i);
    s->publisher = i / field.fan;
    if ((opt.sink_gro && !bench_enable_gro (s->fd, &error)) ||
        (opt.beside && !bench_enable_stamps (s->fd, &error)))
      die (error);
  }
}

static void
make_publishers (void)
{
  field.n_publishers = (guint)opt.publishers;
  field.publishers = g_new0 (BenchPublisher, field.n_publishers);
  for (guint i = 0; i < field.n_publishers; i++) {
    NatAddress to = relay_of (i);

    bench_publisher_init (&field.publishers[i], open_socket (opt.from, i), i, &to, (gsize)opt.size,
        (guint)opt.burst, opt.turn ? BENCH_TURN_CHANNEL : 0);
  }
}

static void
bind_channels (void)
{
  GError *error = NULL;

  for (guint i = 0; i < field.n_publishers; i++) {
    NatAddress to = relay_of (i), peer = bench_socket_local (field.subscribers[i].fd);

    if (!bench_turn_bind (field.publishers[i].fd, &to, &peer, &error))
      die (error);
  }
}

/* A publisher and its subscribers. */
static void
negotiate_stream (BenchHttps *relay, guint publisher)
{
  g_autofree char *stream = g_strdup_printf ("%s/%u", opt.stream ? opt.stream : "bench", publisher);
  BenchCredential *subscribers = credentials + field.n_publishers + publisher * field.fan;
  GError *error = NULL;

  if (!bench_negotiate (relay, NAT_ROLE_PUBLISHER, stream, field.publishers[publisher].ssrc,
          &credentials[publisher], &error))
    die (error);
  for (guint i = 0; i < field.fan; i++)
    if (!bench_negotiate (relay, NAT_ROLE_SUBSCRIBER, stream, 0, &subscribers[i], &error))
      die (error);
}

static void
negotiate (void)
{
  NatAddress to = relay_of (0);
  BenchHttps *relay = bench_https_new (&to, (BenchHttpsReuse){TRUE, TRUE});

  credentials = g_new0 (BenchCredential, field.n_publishers + field.n_subscribers);
  for (guint i = 0; i < field.n_publishers; i++)
    negotiate_stream (relay, i);
  bench_https_free (relay);
}

/* A mapping lives 30 s without it, longer than one measurement. */
static gboolean
refresh (gpointer data)
{
  GError *error = NULL;

  if (!credentials ||
      (registered_ns && bench_now_ns () - registered_ns < 5 * G_GINT64_CONSTANT (1000000000)))
    return TRUE;
  for (guint i = 0; i < field.n_publishers + field.n_subscribers; i++) {
    guint subscriber = i - field.n_publishers;
    gboolean publishes = i < field.n_publishers;
    int fd = publishes ? field.publishers[i].fd : field.subscribers[subscriber].fd;
    NatAddress to = relay_of (publishes ? i : subscriber / field.fan);

    if (!bench_register (fd, &to, &credentials[i], &error))
      die (error);
  }
  registered_ns = bench_now_ns ();
  return TRUE;
}

static void
print_result (const char *kind, const char *limit, const BenchResult *r)
{
  double packets = r->received ? (double)r->received : 1;

  printf ("{\"label\": \"%s\", \"kind\": \"%s\", \"limit\": \"%s\", \"rate_in\": %.0f, "
          "\"achieved\": %.0f, \"rate_out\": %.0f, \"publishers\": %u, \"fan\": %u, "
          "\"burst\": %u, \"size\": %d, ",
      opt.label ? opt.label : "", kind, limit, r->load.rate, r->achieved, r->load.rate * field.fan,
      field.n_publishers, field.fan, r->load.burst, opt.size);
  printf ("\"sent\": %" G_GUINT64_FORMAT ", \"expected\": %" G_GUINT64_FORMAT
          ", \"received\": %" G_GUINT64_FORMAT ", \"lost\": %" G_GUINT64_FORMAT
          ", \"duplicates\": %" G_GUINT64_FORMAT ", \"reordered\": %" G_GUINT64_FORMAT ", ",
      r->sent, r->expected, r->received, r->lost, r->duplicates, r->reordered);
  printf ("\"damaged\": %" G_GUINT64_FORMAT ", \"misrouted\": %" G_GUINT64_FORMAT
          ", \"other\": %" G_GUINT64_FORMAT ", \"stale\": %" G_GUINT64_FORMAT ", ",
      r->strays.damaged, r->strays.misrouted, r->strays.other, r->strays.stale);
  printf ("\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"cpu_us\": %.4f, "
          "\"process_us\": %.4f, \"kernel_us\": %.4f, \"softirq_us\": %.4f, "
          "\"foreign_share\": %.3f, \"softirq_apart\": %s, \"receive_buffer\": %d}\n",
      r->p50_us, r->p99_us, r->max_us, bench_result_cpu_us (r), r->usage.process_s * 1e6 / packets,
      r->usage.kernel_s * 1e6 / packets, r->usage.softirq_s * 1e6 / packets,
      r->wall_s > 0 ? r->usage.foreign_s / r->wall_s : 0,
      bench_meter_softirq_is_apart (field.meter) ? "true" : "false",
      bench_receive_buffer (field.subscribers[0].fd));
  fflush (stdout);
}

static BenchLoad
load_of (double rate, double seconds)
{
  return (BenchLoad){rate, (guint)opt.burst, seconds, !opt.no_segment};
}

/* Caches, first packets, the relay's own start: not part of what is measured. Gently at first, since a
 * relay that is slow with the first packets of a stream may never come out of its backlog. */
static void
warm_up (double rate)
{
  BenchLoad gentle = load_of (MAX (rate / 10, opt.burst * 20), MIN (opt.warm, GENTLE_S));
  BenchLoad load = load_of (rate, opt.warm);
  BenchResult r;

  refresh (NULL);
  bench_phase_run (&field, &gentle);
  r = bench_phase_run (&field, &load);
  if (r.received == 0) {
    print_result ("dead", "loses", &r);
    g_printerr ("natblast: nothing of %" G_GUINT64_FORMAT " packets arrived\n", r.sent);
    exit (3);
  }
}

static void
measure_once (double latency_limit_us)
{
  BenchLoad load = load_of (opt.rate, opt.seconds);
  BenchResult r = bench_phase_run (&field, &load);

  print_result ("fixed", bench_verdict_name (bench_result_verdict (&r, latency_limit_us)), &r);
}

/* Between two slices nothing flows: another relay has its turn on the same cores. */
static void
measure_slices (double latency_limit_us)
{
  BenchLoad approach = load_of (opt.rate, APPROACH_S);
  char line[16];

  puts ("ready");
  fflush (stdout);
  while (fgets (line, sizeof line, stdin)) {
    refresh (NULL);
    bench_phase_run (&field, &approach);
    measure_once (latency_limit_us);
  }
}

static void
measure (void)
{
  BenchSearch search = {.latency_limit_us = opt.latency_limit_ms * 1000, .refinements = 5};

  if (opt.search) {
    BenchLoad load = load_of (0, opt.probe_seconds);
    BenchVerdict limit = BENCH_FITS;
    BenchResult r;

    if (sscanf (opt.search, "%lf:%lf", &search.from, &search.to) != 2 || search.from <= 0) {
      g_printerr ("natblast: --search wants MIN:MAX\n");
      exit (2);
    }
    warm_up (MIN (search.from, opt.rate));
    r = bench_search (&field, &load, &search, refresh, NULL, &limit);
    print_result ("search", bench_verdict_name (limit), &r);
    return;
  }
  warm_up (opt.rate);
  if (opt.slices)
    measure_slices (search.latency_limit_us);
  else
    measure_once (search.latency_limit_us);
}

static void
parse (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- RTP load, sink and meter");
  GError *error = NULL;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error))
    die (error);
  if (!opt.from || !opt.to || !opt.sink || opt.publishers < 1 || opt.subscribers < 1 ||
      opt.burst < 1 || opt.burst > BENCH_BURST_MAX || opt.size < (int)BENCH_SIZE_MIN ||
      opt.size > BENCH_SIZE_MAX || opt.rate <= 0) {
    g_printerr ("natblast: --from, --to and --sink are needed; --burst 1 to %d, --size %d to %d\n",
        BENCH_BURST_MAX, (int)BENCH_SIZE_MIN, BENCH_SIZE_MAX);
    exit (2);
  }
}

static void
take_core (void)
{
  cpu_set_t set;

  bench_come_first ();
  if (opt.cpu < 0)
    return;
  CPU_ZERO (&set);
  CPU_SET ((size_t)opt.cpu, &set);
  if (sched_setaffinity (0, sizeof set, &set) < 0)
    g_printerr ("natblast: cannot run on CPU %d only\n", opt.cpu);
}

int
main (int argc, char **argv)
{
  parse (argc, argv);
  alarm (300); /* never left behind, whatever the relay does */
  take_core ();
  bench_many_descriptors ();
  make_subscribers ();
  make_publishers ();
  field.receiver = bench_receiver_new (
      (gsize)opt.size, (BenchReceiverMode){opt.verify, opt.sink_gro, opt.beside});
  field.nap = opt.beside;
  field.meter = make_meter ();
  if (opt.turn)
    bind_channels ();
  if (opt.negotiate)
    negotiate ();
  measure ();

  for (guint i = 0; credentials && i < field.n_publishers + field.n_subscribers; i++)
    bench_credential_clear (&credentials[i]);
  for (guint i = 0; i < field.n_publishers; i++)
    bench_publisher_clear (&field.publishers[i]);
  bench_receiver_free (field.receiver);
  bench_meter_free (field.meter);
  g_free (credentials);
  g_free (field.publishers);
  g_free (field.subscribers);
  return 0;
}
