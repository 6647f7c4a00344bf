/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "traffic.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

guint8
bench_filler (gsize offset)
{
  return (guint8)(offset * 7 + 3);
}

void
bench_publisher_init (BenchPublisher *p, int fd, guint32 index, const NatAddress *to, gsize size,
    guint burst, guint16 channel)
{
  gsize prefix = channel ? 4 : 0;

  memset (p, 0, sizeof *p);
  p->fd = fd;
  p->index = index;
  /* Unique at a relay, where another generator's may not be forgotten yet. */
  p->ssrc = (guint32)getpid () << 16 | (index & 0xffff);
  p->to = bench_sockaddr (to);
  p->size = size;
  p->frame = size + prefix;
  p->burst = MIN (burst, BENCH_BURST_MAX);
  p->frames = g_malloc0 (p->burst * p->frame);
  for (guint i = 0; i < p->burst; i++) {
    guint8 *b = p->frames + i * p->frame;
    guint32 ssrc = g_htonl (p->ssrc);
    guint16 head[2] = {g_htons (channel), g_htons ((guint16)size)};

    memcpy (b, head, prefix);
    b += prefix;
    b[0] = 0x80;
    memcpy (b + 8, &ssrc, 4);
    for (gsize k = BENCH_SIZE_MIN; k < size; k++)
      b[k] = bench_filler (k);
  }
}

void
bench_publisher_clear (BenchPublisher *p)
{
  g_clear_pointer (&p->frames, g_free);
}

static void
stamp (BenchPublisher *p, guint n, guint32 phase)
{
  BenchProbe probe = {BENCH_PROBE_MAGIC, phase, p->index, p->sequence, bench_now_ns ()};
  guint32 ticks = g_htonl ((guint32)(probe.sent_ns / 11111)); /* 90 kHz */

  for (guint i = 0; i < n; i++, probe.sequence++) {
    guint8 *b = p->frames + i * p->frame + (p->frame - p->size);
    guint16 sequence = g_htons ((guint16)(p->rtp_sequence + i));

    b[1] = BENCH_PAYLOAD_TYPE | (i == n - 1 ? 0x80 : 0);
    memcpy (b + 2, &sequence, 2);
    memcpy (b + 4, &ticks, 4);
    memcpy (b + BENCH_RTP_HEADER, &probe, sizeof probe);
  }
}

static guint
send_segmented (BenchPublisher *p, guint n)
{
  guint8 control[CMSG_SPACE (sizeof (guint16))] = {0};
  struct iovec iov = {p->frames, n * p->frame};
  struct msghdr m = {
      .msg_name = &p->to.sa,
      .msg_namelen = p->to.len,
      .msg_iov = &iov,
      .msg_iovlen = 1,
      .msg_control = control,
      .msg_controllen = sizeof control,
  };
  struct cmsghdr *c = CMSG_FIRSTHDR (&m);
  guint16 segment = (guint16)p->frame;

  c->cmsg_level = SOL_UDP;
  c->cmsg_type = UDP_SEGMENT;
  c->cmsg_len = CMSG_LEN (sizeof segment);
  memcpy (CMSG_DATA (c), &segment, sizeof segment);
  return sendmsg (p->fd, &m, MSG_DONTWAIT) < 0 ? 0 : n;
}

static guint
send_each (BenchPublisher *p, guint n)
{
  struct mmsghdr m[BENCH_BURST_MAX] = {0};
  struct iovec iov[BENCH_BURST_MAX];
  int taken;

  for (guint i = 0; i < n; i++) {
    iov[i] = (struct iovec){p->frames + i * p->frame, p->frame};
    m[i].msg_hdr.msg_name = &p->to.sa;
    m[i].msg_hdr.msg_namelen = p->to.len;
    m[i].msg_hdr.msg_iov = &iov[i];
    m[i].msg_hdr.msg_iovlen = 1;
  }
  taken = sendmmsg (p->fd, m, n, MSG_DONTWAIT);
  return taken < 0 ? 0 : (guint)taken;
}

guint
bench_publisher_send (BenchPublisher *p, guint n, guint32 phase, gboolean segment)
{
  guint taken;

  n = MIN (n, p->burst);
  stamp (p, n, phase);
  taken = segment && n > 1 ? send_segmented (p, n) : send_each (p, n);
  if (taken == 0 && errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED) {
    g_printerr ("publisher %u cannot send: %s\n", p->index, g_strerror (errno));
    exit (1);
  }
  p->sequence += taken;
  p->rtp_sequence = (guint16)(p->rtp_sequence + taken);
  return taken;
}
