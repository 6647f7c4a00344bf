/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/sender.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define PACKETS 10
#define TAKEN   4

/* ---- a system that takes some, and then refuses ---------------------------- */

static guint room;
static int refusal;

/* In the place of the C library's, for GIO as well. */
int
sendmmsg (int fd, struct mmsghdr *messages, unsigned int n, int flags)
{
  if (room == 0) {
    errno = refusal;
    return -1;
  }
  n = MIN (n, room);
  room -= n;
  for (guint i = 0; i < n; i++)
    messages[i].msg_len = (unsigned int)messages[i].msg_hdr.msg_iov[0].iov_len;
  return (int)n;
}

/* ---- tests ----------------------------------------------------------------- */

static void
on_news (gpointer user, NatSenderNews news)
{
  *(guint *)user |= news;
}

static const struct {
  const char *name;
  int refusal;
  gboolean trouble; /* the network is to be looked at */
} refusals[] = {
    {"/sender/socket-full", EAGAIN, FALSE},
    /* IP_RECVERR has Linux tell what the interface's queue drops. */
    {"/sender/queue-full", ENOBUFS, FALSE},
    {"/sender/too-large", EMSGSIZE, FALSE},
    {"/sender/no-network", ENETUNREACH, TRUE},
    {"/sender/no-address", EADDRNOTAVAIL, TRUE},
    {"/sender/forbidden", EPERM, TRUE},
};

/* What was taken is sent, the rest is dropped and counted; a full queue is no reason to look at the network. */
static void
test_refused (gconstpointer data)
{
  guint i = GPOINTER_TO_UINT (data), news = 0;
  guint8 bytes[100] = {0x80};
  NatDatagram packets[PACKETS];
  NatAddress relay;
  GSocket *socket =
      g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_DATAGRAM, G_SOCKET_PROTOCOL_UDP, NULL);
  NatSender s;

  g_assert_nonnull (socket);
  g_socket_set_blocking (socket, FALSE);
  g_assert_true (nat_address_from_text (&relay, "127.0.0.1:9", 0));
  for (guint k = 0; k < PACKETS; k++)
    packets[k] = (NatDatagram){bytes, sizeof bytes};
  nat_sender_init (&s, TRUE, on_news, &news);
  nat_sender_set_path (&s, socket, &relay);
  room = TAKEN;
  refusal = refusals[i].refusal;
  g_assert_cmpuint (nat_sender_rtp (&s, packets, PACKETS), ==, TAKEN);
  g_assert_cmpuint (s.packets_sent, ==, TAKEN);
  g_assert_cmpuint (s.packets_dropped, ==, PACKETS - TAKEN);
  g_assert_cmpuint (news, ==, refusals[i].trouble ? NAT_SENDER_TROUBLE : 0);
  nat_sender_clear (&s);
  g_object_unref (socket);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (refusals); i++)
    g_test_add_data_func (refusals[i].name, GUINT_TO_POINTER (i), test_refused);
  return g_test_run ();
}
