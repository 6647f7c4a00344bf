/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A bad link between two network devices: takes Ethernet frames from either, does to them what
 * linkmodel.h describes and puts them onto the other.
 *
 *     natlab-link run NEAR FAR SOCKET SEED [SETTINGS]    "ready" on stdout when it works
 *     natlab-link set SOCKET SETTINGS                    from now on
 *     natlab-link counters SOCKET                        up.lost=17 …, one a line
 *
 * "up" is from NEAR to FAR. The devices are ends of veth pairs in a namespace of the link's own,
 * with segmentation and checksum offloads off at both ends, so that a frame is what a cable would
 * carry. Packet sockets need no device of /dev, which a user namespace may not have.
 *
 * Delays count from the kernel's time stamp of a frame, not from when this program came to read
 * it: a machine that is slow shows only in lateness at departure, which is counted. */

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "linkmodel.h"

#define BATCH        32
#define SECOND       G_GINT64_CONSTANT (1000000000)
#define LATE         1000000   /* ns: a departure later than this is counted */
#define SOCKET_SPACE (8 << 20) /* bytes */

typedef struct {
  int fds[2];          /* of the near and the far device: frames that come from it */
  LinkModel models[2]; /* [0] carries what comes from near */
  LinkFrame *fresh[BATCH];
  guint64 late[2], unsent[2], missed[2];
  gint64 latest[2]; /* ns, the greatest lateness of a departure */
  int control;
} Link;

static gint64
now_of (clockid_t id)
{
  struct timespec now;

  clock_gettime (id, &now);
  return now.tv_sec * SECOND + now.tv_nsec;
}

static void
fail (const char *what)
{
  fprintf (stderr, "natlab-link: %s: %s\n", what, strerror (errno));
  exit (1);
}

/* ---- devices --------------------------------------------------------------- */

static int
open_device (const char *name)
{
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons (ETH_P_ALL)};
  int fd = socket (AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int on = 1, space = SOCKET_SPACE;

  address.sll_ifindex = (int)if_nametoindex (name);
  if (fd < 0 || address.sll_ifindex == 0)
    fail (name);
  if (setsockopt (fd, SOL_SOCKET, SO_RCVBUFFORCE, &space, sizeof space) < 0)
    setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &space, sizeof space);
  if (setsockopt (fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0 ||
      setsockopt (fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) < 0 ||
      bind (fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail (name);
  return fd;
}

/* Who has this address, who wants this group: asked and told whenever the kernels like, and no
 * link of this kind loses it. */
static gboolean
is_neighbour_talk (const LinkFrame *frame)
{
  const guint8 *data = frame->data;
  guint type = data[12] << 8 | data[13];

  if (type == ETH_P_IPV6 && frame->length > 54 && data[20] == IPPROTO_HOPOPTS)
    return TRUE; /* groups: nothing else of ours has hop-by-hop options */
  if (type == ETH_P_IPV6 && frame->length > 54 && data[20] == IPPROTO_ICMPV6)
    return data[54] >= 130 && data[54] <= 143;
  return type != ETH_P_IP && type != ETH_P_IPV6;
}

static gint64
time_of (struct msghdr *header, gint64 otherwise)
{
  struct cmsghdr *c = CMSG_FIRSTHDR (header);

  for (; c != NULL; c = CMSG_NXTHDR (header, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
      struct timespec stamp;
      memcpy (&stamp, CMSG_DATA (c), sizeof stamp);
      return stamp.tv_sec * SECOND + stamp.tv_nsec;
    }
  }
  return otherwise;
}

/* What the kernel has of one device goes into its model. TRUE if there may be more. */
static gboolean
receive (Link *self, guint side)
{
  struct mmsghdr messages[BATCH] = {0};
  struct iovec vectors[BATCH];
  union {
    struct cmsghdr align;
    char space[CMSG_SPACE (sizeof (struct timespec))];
  } controls[BATCH];
  int n;

  for (guint i = 0; i < BATCH; i++) {
    if (self->fresh[i] == NULL)
      self->fresh[i] = link_frame_new ();
    vectors[i] = (struct iovec){self->fresh[i]->data, LINK_FRAME_SPACE};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i],
        .msg_iovlen = 1,
        .msg_control = &controls[i],
        .msg_controllen = sizeof controls[i]};
  }
  n = recvmmsg (self->fds[side], messages, BATCH, MSG_DONTWAIT, NULL);
  /* In this order, or frames would leave early by the time between the two. */
  gint64 wall = now_of (CLOCK_REALTIME), now = now_of (CLOCK_MONOTONIC);
  for (int i = 0; i < n; i++) {
    LinkFrame *frame = g_steal_pointer (&self->fresh[i]);
    gint64 age = wall - time_of (&messages[i].msg_hdr, wall);

    frame->length = messages[i].msg_len;
    frame->spared = is_neighbour_talk (frame);
    /* A wall clock that is set meanwhile makes no frame older than a second, nor younger than now. */
    link_model_push (&self->models[side], frame, now - CLAMP (age, 0, SECOND));
  }
  return n == BATCH;
}

static void
deliver (Link *self, guint side)
{
  gint64 now = now_of (CLOCK_MONOTONIC), due;
  LinkFrame *frame;

  while ((frame = link_model_pull (&self->models[side], now, &due)) != NULL) {
    if (send (self->fds[!side], frame->data, frame->length, 0) < 0)
      self->unsent[side]++;
    self->latest[side] = MAX (self->latest[side], now - due);
    self->late[side] += now - due > LATE;
    link_frame_unref (frame);
  }
}

/* ---- control --------------------------------------------------------------- */

static void
tell_counters (Link *self, guint side, GString *text)
{
  static const char *const names[] = {
      "arrived", "departed", "lost", "bursts", "longest", "full", "out", "reordered", "duplicated"};
  const guint64 *values = (const guint64 *)&self->models[side].counters;
  const char *direction = side == 0 ? "up" : "down";
  struct tpacket_stats kernel = {0};
  socklen_t length = sizeof kernel;

  G_STATIC_ASSERT (sizeof (LinkCounters) == G_N_ELEMENTS (names) * sizeof (guint64));
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    g_string_append_printf (text, "%s.%s=%" G_GUINT64_FORMAT "\n", direction, names[i], values[i]);
  /* The kernel counts from one question to the next. */
  if (getsockopt (self->fds[side], SOL_PACKET, PACKET_STATISTICS, &kernel, &length) == 0)
    self->missed[side] += kernel.tp_drops;
  g_string_append_printf (text,
      "%s.missed=%" G_GUINT64_FORMAT "\n%s.unsent=%" G_GUINT64_FORMAT "\n%s.late=%" G_GUINT64_FORMAT
      "\n%s.latest-us=%" G_GINT64_FORMAT "\n",
      direction, self->missed[side], direction, self->unsent[side], direction, self->late[side],
      direction, self->latest[side] / 1000);
}

/* A datagram is settings, or "counters"; the answer begins with "ok" or says what is wrong. */
static void
obey (Link *self)
{
  g_autoptr (GString) answer = g_string_new ("ok\n");
  g_autoptr (GError) error = NULL;
  struct sockaddr_un from;
  socklen_t length = sizeof from;
  char text[512];
  gssize n = recvfrom (self->control, text, sizeof text - 1, 0, (struct sockaddr *)&from, &length);

  if (n < 0)
    return;
  text[n] = '\0';
  if (strcmp (text, "counters") == 0) {
    tell_counters (self, 0, answer);
    tell_counters (self, 1, answer);
  } else if (!link_models_set (self->models, text, now_of (CLOCK_MONOTONIC), &error)) {
    g_string_printf (answer, "%s\n", error->message);
  }
  if (sendto (self->control, answer->str, answer->len, 0, (struct sockaddr *)&from, length) < 0)
    fprintf (stderr, "natlab-link: nobody wants the answer: %s\n", strerror (errno));
}

static int
open_control (const char *path)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  unlink (path);
  if (fd < 0 || bind (fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail (path);
  return fd;
}

/* The other side of it: says @text to the link at @path and prints the answer. */
static int
ask (const char *path, const char *text)
{
  g_autofree char *own = g_strdup_printf ("%s.%d", path, (int)getpid ());
  struct sockaddr_un link = {.sun_family = AF_UNIX};
  int fd = open_control (own);
  char answer[4096];
  gssize n;

  g_strlcpy (link.sun_path, path, sizeof link.sun_path);
  n = sendto (fd, text, strlen (text), 0, (struct sockaddr *)&link, sizeof link);
  if (n >= 0)
    n = recv (fd, answer, sizeof answer - 1, 0);
  unlink (own);
  if (n < 0)
    fail (path);
  answer[n] = '\0';
  if (!g_str_has_prefix (answer, "ok\n")) {
    fprintf (stderr, "natlab-link: %s", answer);
    return 1;
  }
  fputs (answer + 3, stdout);
  return 0;
}

/* ---- the loop -------------------------------------------------------------- */

static void
wait_for_something (Link *self)
{
  struct pollfd polls[] = {
      {self->fds[0], POLLIN, 0}, {self->fds[1], POLLIN, 0}, {self->control, POLLIN, 0}};
  gint64 up = link_model_next (&self->models[0]), down = link_model_next (&self->models[1]);
  gint64 next = MIN (up, down), now = now_of (CLOCK_MONOTONIC);
  gint64 left = MAX (next, now) - now;
  struct timespec timeout = {left / SECOND, left % SECOND};

  if (ppoll (polls, G_N_ELEMENTS (polls), next == LINK_NEVER ? NULL : &timeout, NULL) < 0 &&
      errno != EINTR)
    fail ("poll");
  for (guint side = 0; side < 2; side++) {
    if (polls[side].revents != 0 && !(polls[side].revents & POLLIN))
      exit (0); /* the device is gone, and the lab with it */
    while ((polls[side].revents & POLLIN) && receive (self, side))
      ;
  }
  if (polls[2].revents & POLLIN)
    obey (self);
}

static int
run (char **argument, int count)
{
  g_autoptr (GError) error = NULL;
  guint32 seed = (guint32)g_ascii_strtoull (argument[3], NULL, 10);
  struct sched_param first = {.sched_priority = 1};
  Link self = {0};

  for (guint side = 0; side < 2; side++) {
    link_model_init (&self.models[side], seed + side);
    self.fds[side] = open_device (argument[side]);
  }
  self.control = open_control (argument[2]);
  if (count > 4 && !link_models_set (self.models, argument[4], now_of (CLOCK_MONOTONIC), &error)) {
    fprintf (stderr, "natlab-link: %s\n", error->message);
    return 2;
  }
  /* A link does not wait for the programs that use it. Allowed to root only, and well without. */
  sched_setscheduler (0, SCHED_RR, &first);
  puts ("ready");
  fflush (stdout);
  for (;;) {
    wait_for_something (&self);
    deliver (&self, 0);
    deliver (&self, 1);
  }
}

int
main (int argc, char **argv)
{
  if (argc >= 6 && strcmp (argv[1], "run") == 0)
    return run (argv + 2, argc - 2);
  if (argc == 4 && strcmp (argv[1], "set") == 0)
    return ask (argv[2], argv[3]);
  if (argc == 3 && strcmp (argv[1], "counters") == 0)
    return ask (argv[2], "counters");
  fputs ("usage: natlab-link run NEAR FAR SOCKET SEED [SETTINGS]\n"
         "       natlab-link set SOCKET SETTINGS\n"
         "       natlab-link counters SOCKET\n",
      stderr);
  return 2;
}
