/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Numbered datagrams over a link, and what became of them:
 *
 *     linkprobe send ADDRESS PORT COUNT RATE    RATE a second, each of 1000 bytes
 *     linkprobe receive PORT COUNT              "ready"; ends 1 s after the last that came
 *
 * The receiver prints got, lost, bursts (runs of numbers that never came), overtaken (arrived after
 * a higher number), twice, and the least, median, 99th percentile and greatest delay in
 * microseconds, from before the send call to the kernel's time stamp at arrival: both clocks are one. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <glib.h>

#define SECOND G_GINT64_CONSTANT (1000000000)
#define SIZE   1000 /* bytes */

typedef struct {
  gint64 number, sent; /* sent: ns, wall clock */
} Stamp;

static gint64
now_of (clockid_t id)
{
  struct timespec now;

  clock_gettime (id, &now);
  return now.tv_sec * SECOND + now.tv_nsec;
}

static int
send_all (const char *address, int port, gint64 count, gint64 rate)
{
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons (port)};
  int fd = socket (AF_INET, SOCK_DGRAM, 0);
  char data[SIZE] = {0};
  gint64 begin = now_of (CLOCK_MONOTONIC);

  inet_pton (AF_INET, address, &to.sin_addr);
  for (gint64 i = 0; i < count; i++) {
    gint64 due = begin + i * SECOND / rate;
    struct timespec when = {due / SECOND, due % SECOND};

    while (clock_nanosleep (CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) != 0)
      ;
    Stamp stamp = {i, now_of (CLOCK_REALTIME)};
    memcpy (data, &stamp, sizeof stamp);
    if (sendto (fd, data, sizeof data, 0, (struct sockaddr *)&to, sizeof to) < 0)
      perror ("linkprobe: send");
  }
  return 0;
}

static gint64
arrival (struct msghdr *header)
{
  struct timespec stamp = {0};

  for (struct cmsghdr *c = CMSG_FIRSTHDR (header); c != NULL; c = CMSG_NXTHDR (header, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS)
      memcpy (&stamp, CMSG_DATA (c), sizeof stamp);
  }
  return stamp.tv_sec * SECOND + stamp.tv_nsec;
}

static int
compare_delays (gconstpointer a, gconstpointer b)
{
  gint64 difference = *(const gint64 *)a - *(const gint64 *)b;

  return difference < 0 ? -1 : difference > 0;
}

static void
report (const guint8 *seen, gint64 count, GArray *delays, gint64 overtaken)
{
  gint64 got = 0, twice = 0, bursts = 0;

  for (gint64 i = 0; i < count; i++) {
    got += seen[i] > 0;
    twice += seen[i] > 1;
    bursts += seen[i] == 0 && (i == 0 || seen[i - 1] > 0);
  }
  printf ("got=%" G_GINT64_FORMAT "\nlost=%" G_GINT64_FORMAT "\nbursts=%" G_GINT64_FORMAT
          "\novertaken=%" G_GINT64_FORMAT "\ntwice=%" G_GINT64_FORMAT "\n",
      got, count - got, bursts, overtaken, twice);
  if (delays->len == 0)
    return;
  g_array_sort (delays, compare_delays);
  const double shares[] = {0, 0.5, 0.99, 1};
  const char *const names[] = {"least", "median", "p99", "greatest"};
  for (guint i = 0; i < G_N_ELEMENTS (shares); i++)
    printf ("%s=%" G_GINT64_FORMAT "\n", names[i],
        g_array_index (delays, gint64, (guint)(shares[i] * (delays->len - 1))) / 1000);
}

static int
receive_all (int port, gint64 count)
{
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons (port)};
  struct timeval patience = {1, 0};
  int fd = socket (AF_INET, SOCK_DGRAM, 0), on = 1, space = 8 << 20;
  g_autofree guint8 *seen = g_new0 (guint8, count);
  g_autoptr (GArray) delays = g_array_new (FALSE, FALSE, sizeof (gint64));
  gint64 overtaken = 0, highest = -1;

  setsockopt (fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  if (setsockopt (fd, SOL_SOCKET, SO_RCVBUFFORCE, &space, sizeof space) < 0)
    setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
  if (bind (fd, (struct sockaddr *)&own, sizeof own) < 0)
    return 1;
  puts ("ready");
  fflush (stdout);
  for (;;) {
    char data[SIZE], control[CMSG_SPACE (sizeof (struct timespec))];
    struct iovec vector = {data, sizeof data};
    struct msghdr header = {.msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control};
    Stamp stamp;

    if (recvmsg (fd, &header, 0) < 0) {
      if (delays->len > 0)
        break;
      continue;
    }
    setsockopt (fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    memcpy (&stamp, data, sizeof stamp);
    if (stamp.number < 0 || stamp.number >= count)
      continue;
    gint64 delay = arrival (&header) - stamp.sent;
    g_array_append_val (delays, delay);
    if (seen[stamp.number]++ == 0)
      overtaken += stamp.number < highest;
    highest = MAX (highest, stamp.number);
  }
  report (seen, count, delays, overtaken);
  return 0;
}

int
main (int argc, char **argv)
{
  if (argc == 6 && strcmp (argv[1], "send") == 0)
    return send_all (argv[2], atoi (argv[3]), atoll (argv[4]), atoll (argv[5]));
  if (argc == 4 && strcmp (argv[1], "receive") == 0)
    return receive_all (atoi (argv[2]), atoll (argv[3]));
  fputs ("usage: linkprobe send ADDRESS PORT COUNT RATE | receive PORT COUNT\n", stderr);
  return 2;
}
