/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * https-micro ADDRESS:PORT PID SECONDS: negotiates one subscriber after the other with a running relay
 * (PID), each over a new TLS connection, and prints what that costs the relay. Its rate is what one
 * client at a time gets; 1 s divided by the CPU is what a core of the relay could give.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "https.h"
#include "micro.h"
#include "natproto/negotiation.h"
#include "udpsocket.h"

static void
negotiate (BenchHttps *h)
{
  GError *error = NULL;
  const char *text = bench_https_post (h, "/v1/streams/bench/https/subscribers", "{}", &error);
  NatSessionDocument d = {0};

  if (!text || !nat_session_document_from_json (&d, text, -1, &error)) {
    g_printerr ("%s\n", error->message);
    exit (1);
  }
  nat_session_document_clear (&d);
}

static double
clock_s (clockid_t clock)
{
  struct timespec t = {0};

  clock_gettime (clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
measure (BenchHttps *h, clockid_t relay, double seconds)
{
  double cpu, begin;
  guint n = 0;

  negotiate (h); /* the first one warms caches up */
  cpu = clock_s (relay);
  begin = clock_s (CLOCK_MONOTONIC);
  for (; clock_s (CLOCK_MONOTONIC) < begin + seconds; n++)
    negotiate (h);
  cpu = (clock_s (relay) - cpu) / n;
  printf ("{\"name\": \"https-negotiation\", \"ns\": %.0f, \"per_second\": %.0f, "
          "\"one_client_per_second\": %.0f}\n",
      cpu * 1e9, 1 / cpu, n / (clock_s (CLOCK_MONOTONIC) - begin));
}

int
main (int argc, char **argv)
{
  NatAddress relay;
  BenchHttps *h;
  clockid_t clock;

  if (argc != 4) {
    g_printerr ("usage: https-micro ADDRESS:PORT PID SECONDS\n");
    return 2;
  }
  relay = bench_address (argv[1], 0);
  bench_require (clock_getcpuclockid (atoi (argv[2]), &clock) == 0, "the relay has a CPU clock");
  h = bench_https_new (&relay, (BenchHttpsReuse){0});
  measure (h, clock, g_ascii_strtod (argv[3], NULL));
  bench_https_free (h);
  return 0;
}
