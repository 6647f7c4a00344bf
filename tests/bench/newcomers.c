/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * natnewcomers: new sessions at a given rate. Each negotiates over HTTPS, then answers the challenge
 * from a UDP socket of its own. Some threads take turns; how long one takes is counted from when it
 * was due, so that a relay that cannot follow is not measured by those alone that it served.
 */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "histogram.h"
#include "registration.h"
#include "udpsocket.h"

#define STREAMS 100u

static struct {
  char *to;
  double rate, seconds;
  int threads;
  gboolean keep, resume;
} opt = {.rate = 1000, .seconds = 5, .threads = 16};

static const GOptionEntry entries[] = {
    {"to", 0, 0, G_OPTION_ARG_STRING, &opt.to, "the relay", "ADDRESS:PORT"},
    {"rate", 'r', 0, G_OPTION_ARG_DOUBLE, &opt.rate, "new sessions per second", "RATE"},
    {"seconds", 't', 0, G_OPTION_ARG_DOUBLE, &opt.seconds, "to go on", "S"},
    {"threads", 0, 0, G_OPTION_ARG_INT, &opt.threads, "clients at a time", "N"},
    {"keep", 0, 0, G_OPTION_ARG_NONE, &opt.keep, "keep connections, where the relay does", NULL},
    {"resume", 0, 0, G_OPTION_ARG_NONE, &opt.resume, "resume TLS sessions, where the relay does",
        NULL},
    {NULL},
};

typedef struct {
  GThread *thread;
  BenchHttps *https;
  BenchHistogram taken;
  guint done, failed;
  GError *error; /* the first */
} Client;

static NatAddress relay;
static gint64 start_ns;
static guint turn; /* atomic: the next session's number */

static gboolean
join (Client *c, guint number, GError **error)
{
  g_autofree char *stream = g_strdup_printf ("newcomers/%u", number % STREAMS);
  NatAddress ours = relay;
  BenchCredential credential = {0};
  gboolean ok;
  int fd;

  ours.port = 0;
  if (!bench_negotiate (c->https, NAT_ROLE_SUBSCRIBER, stream, 0, &credential, error))
    return FALSE;
  fd = bench_udp_socket (&ours, error);
  ok = fd >= 0 && bench_register (fd, &relay, &credential, error);
  if (fd >= 0)
    close (fd);
  bench_credential_clear (&credential);
  return ok;
}

static gpointer
run_client (gpointer data)
{
  Client *c = data;

  for (;;) {
    guint number = g_atomic_int_add (&turn, 1);
    gint64 due = start_ns + (gint64)(number * 1e9 / opt.rate), now = bench_now_ns ();
    GError *error = NULL;

    if (due >= start_ns + (gint64)(opt.seconds * 1e9) ||
        now >= start_ns + (gint64)(opt.seconds * 1e9))
      return NULL;
    if (due > now)
      g_usleep ((gulong)((due - now) / 1000));
    if (join (c, number, &error)) {
      c->done++;
      bench_histogram_add (&c->taken, bench_now_ns () - due);
      continue;
    }
    c->failed++;
    if (c->error)
      g_error_free (error);
    else
      c->error = error;
  }
}

static void
add_histogram (BenchHistogram *sum, const BenchHistogram *h)
{
  for (guint i = 0; i < BENCH_HISTOGRAM_SLOTS; i++)
    sum->slots[i] += h->slots[i];
  sum->count += h->count;
  sum->max_ns = MAX (sum->max_ns, h->max_ns);
}

static double
own_cpu_s (void)
{
  struct rusage u;

  getrusage (RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void
report (Client *clients, double seconds)
{
  static BenchHistogram taken;
  BenchHttpsCounts sum = {0};
  guint done = 0, failed = 0;
  const char *first = "";

  for (int i = 0; i < opt.threads; i++) {
    BenchHttpsCounts n = bench_https_counts (clients[i].https);

    sum.connections += n.connections;
    sum.resumed += n.resumed;
    done += clients[i].done;
    failed += clients[i].failed;
    if (clients[i].error)
      first = clients[i].error->message;
    add_histogram (&taken, &clients[i].taken);
  }
  if (failed)
    g_printerr ("%u failed, one of them: %s\n", failed, first);
  printf ("{\"asked\": %.0f, \"achieved\": %.1f, \"seconds\": %.2f, \"done\": %u, \"failed\": %u, "
          "\"connections\": %u, \"resumed\": %u, \"p50_us\": %.0f, \"p99_us\": %.0f, "
          "\"max_us\": %.0f, \"own_cpu_us\": %.1f, \"own_share\": %.3f}\n",
      opt.rate, done / seconds, seconds, done, failed, sum.connections, sum.resumed,
      bench_histogram_us (&taken, 0.5), bench_histogram_us (&taken, 0.99),
      (double)taken.max_ns / 1000, own_cpu_s () * 1e6 / MAX (done, 1), own_cpu_s () / seconds);
}

int
main (int argc, char **argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new ("- new sessions");
  GError *error = NULL;
  Client *clients;

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, &argc, &argv, &error) || !opt.to || opt.threads < 1 ||
      opt.rate <= 0) {
    g_printerr ("natnewcomers: %s\n", error ? error->message : "--to is needed");
    return 2;
  }
  bench_come_first ();
  bench_many_descriptors ();
  relay = bench_address (opt.to, 0);
  clients = g_new0 (Client, opt.threads);
  start_ns = bench_now_ns ();
  for (int i = 0; i < opt.threads; i++) {
    clients[i].https = bench_https_new (&relay, (BenchHttpsReuse){opt.keep, opt.resume});
    clients[i].thread = g_thread_new ("client", run_client, &clients[i]);
  }
  for (int i = 0; i < opt.threads; i++)
    g_thread_join (clients[i].thread);
  report (clients, (double)(bench_now_ns () - start_ns) * 1e-9);
  for (int i = 0; i < opt.threads; i++) {
    bench_https_free (clients[i].https);
    g_clear_error (&clients[i].error);
  }
  g_free (clients);
  return 0;
}
