/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/udphint.h"

#include <errno.h>
#include <string.h>

#include "natproto/error.h"

void
nat_udphint_bind_error (GError **error, const NatAddress *address, int code)
{
  char text[NAT_ADDRESS_TEXT_MAX];
  char *colon;

  nat_address_to_text (address, text);
  colon = strrchr (text, ':');
  if (colon)
    *colon = '\0';
  switch (code) {
  case EADDRINUSE:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "UDP port %u on %s is taken by another program; stop it (\"ss -lunp\" shows which it is) "
        "or choose another port",
        address->port, text);
    break;
  case EADDRNOTAVAIL:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "this machine has no address %s; listen on one that \"ip address\" shows, or on 0.0.0.0 "
        "or [::] for all",
        text);
    break;
  case EACCES:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "no permission to open UDP port %u on %s; ports below 1024 need CAP_NET_BIND_SERVICE "
        "(systemd: AmbientCapabilities=)",
        address->port, text);
    break;
  case EAFNOSUPPORT:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT,
        "this machine does not do IPv%u, so %s cannot be listened on", address->family, text);
    break;
  default:
    g_set_error (error, NAT_ERROR, NAT_ERROR_ARGUMENT, "cannot open UDP port %u on %s: %s",
        address->port, text, g_strerror (code));
  }
}

static void
add_line (GString *lines, const char *line)
{
  if (strstr (lines->str, line) == NULL)
    g_string_append_printf (lines, "%s%s", lines->len ? "\n" : "", line);
}

static void
add_buffer (GString *lines, const char *what, const char *sysctl, gsize got, gsize wanted)
{
  if (got >= wanted || strstr (lines->str, sysctl) != NULL)
    return;
  g_string_append_printf (lines,
      "%sthe system limits UDP %s buffers to %" G_GSIZE_FORMAT " KiB (%" G_GSIZE_FORMAT
      " KiB wanted), so bursts may be lost; allow more with: sysctl -w %s=%" G_GSIZE_FORMAT,
      lines->len ? "\n" : "", what, got / 1024, wanted / 1024, sysctl, wanted);
}

void
nat_udphint_buffers (GString *lines, gsize receive, gsize send, gsize wanted)
{
  add_buffer (lines, "receive", "net.core.rmem_max", receive, wanted);
  add_buffer (lines, "send", "net.core.wmem_max", send, wanted);
}

void
nat_udphint_offload (GString *lines, gboolean joins, gboolean cuts)
{
  if (!joins)
    add_line (lines,
        "this system does not join datagrams that arrive together (UDP_GRO, since Linux "
        "5.0): each is read by itself, which costs more CPU");
  if (!cuts)
    add_line (lines, "this system does not cut a message into datagrams (UDP_SEGMENT, since Linux "
                     "4.18): each is sent by itself, which costs more CPU");
}

static const struct {
  NatUdphintFinding finding;
  const char *line;
} findings_lines[] = {
    {NAT_UDPHINT_NO_OFFLOAD,
        "the system does not cut messages to some receiver into datagrams (EIO or EINVAL: its "
        "network "
        "device lacks checksum offload, the way to it is through IPsec, or its MTU is small): such "
        "receivers are sent single datagrams, which costs more CPU"},
    {NAT_UDPHINT_LONG,
        "datagrams are longer than the MTU of the path to some receiver (EMSGSIZE): it is sent "
        "single "
        "datagrams, which IP fragments; let publishers send shorter ones (natrelaysink: mtu)"},
    {NAT_UDPHINT_NO_MEMORY,
        "the system had no memory for a datagram (ENOBUFS or ENOMEM), so it was tried again or "
        "dropped: give the machine more, or sockets less (socket-buffer in natrelay-server.conf)"},
};

static void
add_full (GString *lines, gsize buffer)
{
  g_string_append_printf (lines,
      "%sa UDP send buffer (%" G_GSIZE_FORMAT
      " KiB) was full, so media was dropped, video first: the "
      "network is slower than the streams; if only bursts are lost, double it "
      "(socket-buffer=%" G_GSIZE_FORMAT
      " in natrelay-server.conf, and sysctl -w net.core.wmem_max=%" G_GSIZE_FORMAT ")",
      lines->len ? "\n" : "", buffer / 1024, 2 * buffer, 2 * buffer);
}

static void
add_overflow (GString *lines, gsize buffer)
{
  g_string_append_printf (lines,
      "%sa UDP receive buffer ran over, so datagrams were lost before they were read: the relay's "
      "core is "
      "busy (more workers), or bursts are longer than the buffer (socket-buffer=%" G_GSIZE_FORMAT
      " in natrelay-server.conf, and sysctl -w net.core.rmem_max=%" G_GSIZE_FORMAT ")",
      lines->len ? "\n" : "", 2 * buffer, 2 * buffer);
}

char *
nat_udphint_findings (guint findings, gsize buffer)
{
  GString *lines = g_string_new (NULL);

  for (guint i = 0; i < G_N_ELEMENTS (findings_lines); i++) {
    if (findings & findings_lines[i].finding)
      add_line (lines, findings_lines[i].line);
  }
  if (findings & NAT_UDPHINT_SEND_FULL)
    add_full (lines, buffer);
  if (findings & NAT_UDPHINT_OVERFLOW)
    add_overflow (lines, buffer);
  return g_string_free (lines, FALSE);
}
