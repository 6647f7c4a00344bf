/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * https-micro ADDRESS:PORT PID SECONDS: negotiates one subscriber after the other with a running relay
 * (PID), each over a new TLS connection, and prints what that costs the relay. Its rate is what one
 * client at a time gets; 1 s divided by the CPU is what a core of the relay could give.
 */
#include <errno.h>
#include <glib.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "micro.h"
#include "natproto/negotiation.h"
#include "udpsocket.h"

static const char request[] = "POST /v1/streams/bench/https/subscribers HTTP/1.1\r\nHost: bench\r\n"
                              "Content-Type: application/json\r\nContent-Length: 2\r\n"
                              "Connection: close\r\n\r\n{}";

static int
connect_to (const BenchSockaddr *to)
{
  struct timeval limit = {.tv_sec = 5};
  int on = 1, fd = socket (to->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

  bench_require (fd >= 0 && connect (fd, (const struct sockaddr *)&to->sa, to->len) == 0,
      "the relay takes TCP connections");
  setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  return fd;
}

static gsize
read_all (gnutls_session_t tls, char *text, gsize cap)
{
  gsize len = 0;

  while (len < cap - 1) {
    gssize n = gnutls_record_recv (tls, text + len, cap - 1 - len);

    if (n == GNUTLS_E_INTERRUPTED)
      continue;
    if (n <= 0)
      break;
    len += (gsize)n;
  }
  text[len] = 0;
  return len;
}

static void
check_answer (const char *text)
{
  const char *body = strstr (text, "\r\n\r\n");
  NatSessionDocument d = {0};
  GError *error = NULL;

  if (!g_str_has_prefix (text, "HTTP/1.1 201") || !body) {
    g_printerr ("the relay said: %s\n", text);
    exit (1);
  }
  if (!nat_session_document_from_json (&d, body + 4, -1, &error)) {
    g_printerr ("the relay's document: %s\n", error->message);
    exit (1);
  }
  nat_session_document_clear (&d);
}

static void
negotiate (const BenchSockaddr *to, gnutls_certificate_credentials_t anyone)
{
  static char text[NAT_DOCUMENT_MAX];
  gnutls_session_t tls;
  int fd = connect_to (to), e;

  bench_require (gnutls_init (&tls, GNUTLS_CLIENT) == 0, "GnuTLS starts");
  gnutls_set_default_priority (tls);
  gnutls_credentials_set (tls, GNUTLS_CRD_CERTIFICATE, anyone);
  gnutls_transport_set_int (tls, fd);
  while ((e = gnutls_handshake (tls)) < 0 && !gnutls_error_is_fatal (e))
    ;
  bench_require (e == 0, "the TLS handshake ends well");
  bench_require (gnutls_record_send (tls, request, sizeof request - 1) == sizeof request - 1,
      "the request goes out");
  bench_require (read_all (tls, text, sizeof text) > 0, "an answer comes");
  check_answer (text);
  gnutls_deinit (tls);
  close (fd);
}

static double
clock_s (clockid_t clock)
{
  struct timespec t = {0};

  clock_gettime (clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void
measure (const BenchSockaddr *to, clockid_t relay, double seconds)
{
  gnutls_certificate_credentials_t anyone;
  double cpu, begin;
  guint n = 0;

  bench_require (gnutls_certificate_allocate_credentials (&anyone) == 0, "GnuTLS starts");
  negotiate (to, anyone); /* the first one warms caches up */
  cpu = clock_s (relay);
  begin = clock_s (CLOCK_MONOTONIC);
  for (; clock_s (CLOCK_MONOTONIC) < begin + seconds; n++)
    negotiate (to, anyone);
  cpu = (clock_s (relay) - cpu) / n;
  printf ("{\"name\": \"https-negotiation\", \"ns\": %.0f, \"per_second\": %.0f, "
          "\"one_client_per_second\": %.0f}\n",
      cpu * 1e9, 1 / cpu, n / (clock_s (CLOCK_MONOTONIC) - begin));
  gnutls_certificate_free_credentials (anyone);
}

int
main (int argc, char **argv)
{
  NatAddress relay;
  BenchSockaddr to;
  clockid_t clock;

  if (argc != 4) {
    g_printerr ("usage: https-micro ADDRESS:PORT PID SECONDS\n");
    return 2;
  }
  relay = bench_address (argv[1], 0);
  to = bench_sockaddr (&relay);
  bench_require (clock_getcpuclockid (atoi (argv[2]), &clock) == 0, "the relay has a CPU clock");
  measure (&to, clock, g_ascii_strtod (argv[3], NULL));
  return 0;
}
