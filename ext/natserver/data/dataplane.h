/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The border between control and data. They share nothing mutable: control posts commands
 * into one ring, the data plane posts events into another and writes counters. Everything here
 * is called on the control thread and returns at once. Times are monotonic microseconds
 * (g_get_monotonic_time) unless the name ends in _s (Unix seconds). */

#include <glib.h>
#include "natproto/address.h"
#include "natproto/messages.h"
#include "natproto/negotiation.h"
#include "natproto/ticket.h"
#include "natserver/counters.h"
#include "natserver/data/meter.h"
#include "natserver/data/tunnel.h"
#include "natserver/data/verify.h"

G_BEGIN_DECLS

typedef struct _NatDataplane NatDataplane;

#define NAT_LISTEN_MAX 8

typedef struct {
  NatAddress listen[NAT_LISTEN_MAX]; /* UDP; port 0 = any, see nat_dataplane_local */
  guint n_listen;
  guint workers;     /* at most 64; 0 = one for each core that we may run on */
  gsize cache_bytes; /* for packets that are kept for repair, all workers together; 0 = none */
  guint dormant_max; /* sessions that are kept though their clients are gone; 0 = as many as ever */
  gboolean busy_poll;        /* workers never sleep */
  NatRate rates[NAT_LIMITS]; /* of what publishers may send */
  gsize socket_buffer;       /* bytes for SO_RCVBUF and SO_SNDBUF; 0 = 8 MiB */
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  NatSecrets *secrets; /* read by all threads; outlives the data plane */
} NatDataplaneConfig;

/* Binds the sockets; the GError says which address and why (and what to do about a port that
 * is taken). Hints for people (a socket buffer that the system capped, with the sysctl) are
 * returned in *hints, one line each, to be logged; may be NULL. */
NatDataplane *nat_dataplane_new (const NatDataplaneConfig *config, char **hints, GError **error);
/* Hints of the same kind about what was found out since, each once in the life of the data plane: lines,
 * allocated, or NULL. */
char *nat_dataplane_poll_hints (NatDataplane *dp);
/* The address that listen[index] really got. */
const NatAddress *nat_dataplane_local (NatDataplane *dp, guint index);
gboolean nat_dataplane_start (NatDataplane *dp, GError **error);
/* Tells every registered client that the relay goes away (reason), stops the workers, joins
 * them: within 300 ms. */
void nat_dataplane_stop (NatDataplane *dp, NatReason reason);
void nat_dataplane_free (NatDataplane *dp);
guint nat_dataplane_n_workers (NatDataplane *dp);
/* For who carries datagrams by another transport; lives as long as the data plane. What workers say when they
 * stop is to be fetched after nat_dataplane_stop. */
NatTunnel *nat_dataplane_tunnel (NatDataplane *dp);
guint nat_dataplane_default_workers (void);
NatWorkerCounters *const *nat_dataplane_worker_counters (NatDataplane *dp);
/* What the process may come to touch of rings and queues that are there from the start, in bytes. */
gsize nat_dataplane_reserved (NatDataplane *dp);
/* What the cache may have from now on, in bytes; is_full: sessions that only a ticket knows are refused. */
void nat_dataplane_set_memory (NatDataplane *dp, gsize cache_bytes, gboolean is_full);
/* From now on, for those that are there as well. */
void nat_dataplane_set_rates (NatDataplane *dp, const NatRate rates[NAT_LIMITS]);

/* ---- Commands: FALSE if the ring is full (counted; the caller tries again later) --------
 * Ends leave half of it to others, descriptions and verifiers a quarter. */

/* What a subscriber may wish. */
typedef struct {
  gboolean headstart; /* a picture at once (headstart.h) */
  const char
      *exclude; /* of a pattern's streams, the one of that name is not sent to it; NULL = all are */
} NatWishes;

/* A session that control made. It is expected, not yet registered: its first authenticated Binding
 * registers it. Password and key follow from ticket and secrets. counters: a reference is taken. wishes: NULL = none. */
gboolean nat_dataplane_add_session (NatDataplane *dp, const NatTicket *ticket,
    NatSessionCounters *counters, const NatWishes *wishes);
/* New ticket for a session (PUT token): later ends. The old username stays good until its own end. */
gboolean nat_dataplane_renew_session (NatDataplane *dp, const NatTicket *ticket);
/* Ends it: mapping forgotten, client told by an indication, and Bindings with its tickets are answered
 * by 403 with reason until until_s (also if the session was never seen: ids ended before a restart). */
gboolean nat_dataplane_end_session (NatDataplane *dp, const guint8 session_id[NAT_SESSION_ID_SIZE],
    NatReason reason, gint64 until_s);
/* What a stream's publisher may send (tracks) and the version of its document. All its sessions are
 * told "description changed", and Binding responses carry version from now on. tracks NULL: keep the
 * SSRCs, only the version (publisher's state) changed. publisher_id: whose datagrams are forwarded; NULL
 * keeps it. */
gboolean nat_dataplane_set_description (NatDataplane *dp, const char *stream,
    const NatTracks *tracks, guint32 version, const guint8 *publisher_id);
/* From now on the stream's packets are verified, or not (NULL). verifier is taken, whatever comes of it. */
gboolean nat_dataplane_set_verifier (NatDataplane *dp, const char *stream, NatVerifier *verifier);

/* ---- Events ---------------------------------------------------------------------------- */

typedef enum {
  NAT_EVENT_REGISTERED, /* first valid answer on a path: mapped is the client's z */
  NAT_EVENT_REVIVED,    /* a ticket brought back a session that this process did not know: ticket
                                 * and counters (a reference, given) are set; then REGISTERED follows */
  NAT_EVENT_MOVED,      /* the selected path is now mapped */
  NAT_EVENT_SILENT,     /* publisher: no datagram for NAT_TAKEOVER_SILENCE_US */
  NAT_EVENT_ACTIVE,     /* publisher: datagrams again after SILENT */
  NAT_EVENT_GONE,       /* consent ran out (30 s without a valid Binding); the session was removed;
                                 * its ticket can still revive it. Or control ended it */
} NatEventType;

typedef struct {
  NatEventType type;
  guint8 session_id[NAT_SESSION_ID_SIZE];
  NatAddress mapped;
  NatTicket ticket;             /* REVIVED */
  NatSessionCounters *counters; /* REVIVED: the receiver owns this reference */
} NatEvent;

/* A descriptor that is readable while events wait (eventfd; poll clears it). */
int nat_dataplane_event_fd (NatDataplane *dp);
gboolean nat_dataplane_poll_event (NatDataplane *dp, NatEvent *event);

G_END_DECLS
