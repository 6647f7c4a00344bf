/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/address.h"

#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Tables hash and compare the bytes of the struct. */
G_STATIC_ASSERT (sizeof (NatAddress) == 20);

gboolean
nat_address_from_ip (NatAddress *out, const guint8 *ip, gsize len, guint16 port)
{
  static const guint8 mapped[12] = {[10] = 0xff, [11] = 0xff};

  memset (out, 0, sizeof *out);
  if (len == 16 && memcmp (ip, mapped, sizeof mapped) == 0) {
    ip += sizeof mapped;
    len = 4;
  }
  if (len != 4 && len != 16)
    return FALSE;
  memcpy (out->ip, ip, len);
  out->port = port;
  out->family = len == 4 ? 4 : 6;
  return TRUE;
}

gboolean
nat_address_from_sockaddr (NatAddress *out, const struct sockaddr *sa, gsize len)
{
  memset (out, 0, sizeof *out);
  if (len < sizeof sa->sa_family)
    return FALSE;
  if (sa->sa_family == AF_INET && len >= sizeof (struct sockaddr_in)) {
    const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

    return nat_address_from_ip (out, (const guint8 *)&in->sin_addr, 4, ntohs (in->sin_port));
  }
  if (sa->sa_family == AF_INET6 && len >= sizeof (struct sockaddr_in6)) {
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

    return nat_address_from_ip (out, (const guint8 *)&in6->sin6_addr, 16, ntohs (in6->sin6_port));
  }
  return FALSE;
}

gsize
nat_address_to_sockaddr (const NatAddress *a, struct sockaddr *out)
{
  if (a->family == 4) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons (a->port)};

    memcpy (&in.sin_addr, a->ip, 4);
    memcpy (out, &in, sizeof in);
    return sizeof in;
  }
  if (a->family == 6) {
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons (a->port)};

    memcpy (&in6.sin6_addr, a->ip, 16);
    memcpy (out, &in6, sizeof in6);
    return sizeof in6;
  }
  return 0;
}

const char *
nat_address_to_text (const NatAddress *a, char text[NAT_ADDRESS_TEXT_MAX])
{
  char ip[INET6_ADDRSTRLEN];

  if (a->family == 4)
    g_snprintf (
        text, NAT_ADDRESS_TEXT_MAX, "%s:%u", inet_ntop (AF_INET, a->ip, ip, sizeof ip), a->port);
  else if (a->family == 6)
    g_snprintf (
        text, NAT_ADDRESS_TEXT_MAX, "[%s]:%u", inet_ntop (AF_INET6, a->ip, ip, sizeof ip), a->port);
  else
    g_strlcpy (text, "none", NAT_ADDRESS_TEXT_MAX);
  return text;
}

static gboolean
port_from_text (const char *text, guint16 *port)
{
  guint value = 0;

  if (*text == '\0' || strlen (text) > 5)
    return FALSE;
  for (; g_ascii_isdigit (*text); text++)
    value = value * 10 + (guint)(*text - '0');
  if (*text != '\0' || value > G_MAXUINT16)
    return FALSE;
  *port = (guint16)value;
  return TRUE;
}

static gboolean
ip_from_text (NatAddress *out, const char *text, gsize len, guint16 port)
{
  char copy[INET6_ADDRSTRLEN];
  guint8 ip[16];

  if (len >= sizeof copy)
    return FALSE;
  memcpy (copy, text, len);
  copy[len] = '\0';
  if (inet_pton (AF_INET6, copy, ip) == 1)
    return nat_address_from_ip (out, ip, 16, port);
  if (inet_pton (AF_INET, copy, ip) == 1)
    return nat_address_from_ip (out, ip, 4, port);
  return FALSE;
}

/* "[V6]" or "[V6]:PORT" */
static gboolean
bracketed_from_text (NatAddress *out, const char *text, guint16 port)
{
  const char *end = strchr (text, ']');

  if (end == NULL || memchr (text, ':', end - text) == NULL)
    return FALSE;
  if (end[1] != '\0' && (end[1] != ':' || !port_from_text (end + 2, &port)))
    return FALSE;
  return ip_from_text (out, text + 1, end - text - 1, port);
}

gboolean
nat_address_from_text (NatAddress *out, const char *text, guint16 default_port)
{
  const char *colon = strchr (text, ':');
  guint16 port = default_port;

  memset (out, 0, sizeof *out);
  if (text[0] == '[')
    return bracketed_from_text (out, text, port);
  /* More than one colon: IPv6 without brackets, which leaves no room for a port. */
  if (colon == NULL || strchr (colon + 1, ':') != NULL)
    return ip_from_text (out, text, strlen (text), port);
  return port_from_text (colon + 1, &port) && ip_from_text (out, text, colon - text, port);
}

gboolean
nat_address_equal (const NatAddress *a, const NatAddress *b)
{
  return memcmp (a, b, sizeof *a) == 0;
}

gboolean
nat_address_is_loopback (const NatAddress *a)
{
  static const guint8 v6[16] = {[15] = 1};

  if (a->family == 4)
    return a->ip[0] == 127;
  return a->family == 6 && memcmp (a->ip, v6, sizeof v6) == 0;
}

gboolean
nat_address_is_any (const NatAddress *a)
{
  static const guint8 zero[16];

  return a->family != 0 && memcmp (a->ip, zero, sizeof zero) == 0;
}
