/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* flood ADDRESS PORT PACKETS-PER-SECOND SECONDS: rubbish for a relay, from one socket: noise, a well-formed Binding
 * without credentials, RTP and RTCP of nobody. Prints how many went out. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <glib.h>

#define BATCH 50
#define LONG  200

/* The first message of docs/PROTOCOL.md section 3.4. */
static const guint8 binding[160] = {0x00, 0x01, 0x00, 0x8c, 0x21, 0x12, 0xa4, 0x42, 0x10, 0x11,
    0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x00, 0x26, 0x00,
    0x80, [152] = 0x80, 0x28, 0x00, 0x04, 0x7b, 0xa2, 0x90, 0x23};

static gsize
make (guint8 *out, guint kind)
{
  for (guint i = 0; i < LONG; i++)
    out[i] = (guint8)g_random_int ();
  switch (kind % 4) {
  case 0: return (gsize)g_random_int_range (1, LONG);
  case 1: memcpy (out, binding, sizeof binding); return sizeof binding;
  case 2:
    out[0] = 0x80;
    out[1] = 96;
    return LONG;
  default:
    out[0] = 0x80;
    out[1] = 200;
    return LONG;
  }
}

int
main (int argc, char **argv)
{
  static guint8 bytes[BATCH][LONG];
  struct mmsghdr messages[BATCH];
  struct iovec vectors[BATCH];
  struct sockaddr_in to = {.sin_family = AF_INET};
  guint64 sent = 0, rate;
  gint64 begin, end;
  int fd = socket (AF_INET, SOCK_DGRAM, 0);

  if (argc != 5 || fd < 0 || inet_pton (AF_INET, argv[1], &to.sin_addr) != 1)
    return 2;
  to.sin_port = htons ((guint16)atoi (argv[2]));
  rate = (guint64)atoi (argv[3]);
  memset (messages, 0, sizeof messages);
  for (guint i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){bytes[i], make (bytes[i], i)};
    messages[i].msg_hdr = (struct msghdr){
        .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &vectors[i], .msg_iovlen = 1};
  }
  begin = g_get_monotonic_time ();
  end = begin + atoi (argv[4]) * G_USEC_PER_SEC;
  for (gint64 now = begin; now < end; now = g_get_monotonic_time ()) {
    guint64 due = rate * (guint64)(now - begin) / G_USEC_PER_SEC;

    if (sent + BATCH > due) {
      g_usleep (500);
      continue;
    }
    sent += (guint64)MAX (sendmmsg (fd, messages, BATCH, 0), 0);
  }
  printf ("sent %" G_GUINT64_FORMAT "\n", sent);
  return 0;
}
