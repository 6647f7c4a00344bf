/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The network between clients and relay: each client behind a NAT of its own, on a link that loses,
 * delays, reorders, doubles and breaks. Below it the sockets: GSocket for clients, recvmmsg and
 * sendmmsg for the relay. */

#include "natproto/address.h"
#include "world.h"

G_BEGIN_DECLS

#define NET_RELAY_SOCKETS 8

typedef struct {
  NatAddress from, to;
  gsize len;
  guint8 data[];
} Datagram;
Datagram *net_datagram (
    const NatAddress *from, const NatAddress *to, gconstpointer data, gsize len);

/* A client's way to the relay and back. */
typedef struct {
  Host *host;
  guint8 number; /* of the client: inside 10.0.0.NUMBER */
  guint8 site;   /* outside 198.51.100.SITE */
  gdouble loss, twice;
  gint64 delay, jitter;
  gint64 memory; /* of the NAT, without a packet from inside */
  gboolean dark_up, dark_down, no_udp, no_https;
  GArray *mappings;
  GPtrArray *sockets; /* Socket */
} Link;

void net_begin (void);
void net_end (void);

void net_link_init (Link *link, Host *host, guint8 number);
void net_link_clear (Link *link);
void net_link_forget (
    Link *link, gboolean other_site); /* the NAT: whoever sends next gets another port */
/* The link whose outside address this is, or was; NULL = nobody's. */
Link *net_link_of (const NatAddress *outside);
gboolean net_link_is_open (const Link *link, gboolean up, gboolean https);

/* The relay's sockets: those that host binds. Dead ones answer with ICMP, sometimes. */
void net_set_relay (Host *host);
/* The relay's process is gone, and its sockets with it. */
void net_relay_gone (void);
guint net_relay_waiting (void);

/* Puts a datagram before the relay's door, or the client's, whoever sent it. Takes it. */
void net_inject (Datagram *d);
void net_unreachable (Link *link); /* ICMP of something that it sent */

/* What goes by; set by whoever checks. Called for each datagram that reaches the other's socket. */
typedef struct {
  void (*client_sent) (Link *link, guint16 z, const Datagram *d);
  void (*relay_heard) (const Datagram *d);
  void (*relay_sent) (const Datagram *d);
  void (*client_heard) (Link *link, const Datagram *d);
} NetWatch;
extern NetWatch net_watch;

G_END_DECLS
