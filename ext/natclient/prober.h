/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The client's side of the challenge: STUN Bindings, when to send them, and what their answers
 * mean. Callers report facts (a datagram came, media was sent, an address is unreachable) and this
 * module alone decides on timers:
 *
 *  challenge   CHALLENGING: the first request to each candidate, 100 ms apart, repeated after 100,
 *              200, 400 and 800 ms; the whole has a limit (NO_ANSWER)
 *  keepalive   REGISTERED: a Binding every 0.8 to 1 interval
 *  suspicion   REGISTERED, a Binding is out: no answer in time -> PROBING (SILENT)
 *  flow        REGISTERED: media stopped coming -> a Binding at once
 *  probe       PROBING: six times 100 ms apart, then every 250 ms; SEEKING: backing off to 2 s
 *  consent     PROBING: 30 s without a valid answer, or 1 s after GOING_AWAY -> SEEKING (LOST)
 *
 * No socket, thread or clock: now_us is an argument (microseconds, never goes back), randomness and
 * sending are callbacks, so tests run days of it in seconds. */

#include <glib.h>
#include "natproto/address.h"
#include "natproto/messages.h"
#include "natproto/negotiation.h"

G_BEGIN_DECLS

#define NAT_CANDIDATES_MAX (2 * NAT_UDP_ADDRESSES_MAX)
#define NAT_PROBE_US       (250 * 1000)         /* PROBING: between two Bindings */
#define NAT_SEEK_US        (2 * G_USEC_PER_SEC) /* SEEKING: the longest wait between two Bindings */

typedef enum {
  NAT_PROBER_IDLE,
  NAT_PROBER_CHALLENGING,
  NAT_PROBER_REGISTERED,
  NAT_PROBER_PROBING,
  NAT_PROBER_SEEKING,
} NatProberPhase;

typedef enum {
  NAT_PROBER_ACCEPTED,  /* CHALLENGING, PROBING or SEEKING ended well: REGISTERED */
  NAT_PROBER_UPDATED,   /* another good answer while REGISTERED */
  NAT_PROBER_SILENT,    /* REGISTERED -> PROBING */
  NAT_PROBER_STUCK,     /* PROBING goes on: another socket may help */
  NAT_PROBER_LOST,      /* PROBING -> SEEKING: consent ran out, or the relay went as it had said */
  NAT_PROBER_NO_ANSWER, /* CHALLENGING -> IDLE: nobody answered */
  NAT_PROBER_DISOWNED,  /* -> IDLE: two answers to fresh nonces were refused with 401, by the
                         * candidate that served us or by all */
  NAT_PROBER_FORBIDDEN, /* -> IDLE: authenticated 403; report's reason says why */
} NatProberEvent;

typedef struct {
  NatAddress relay;  /* where it answered */
  NatAddress mapped; /* z */
  gboolean moved;    /* z changed while the socket did not: a NAT forgot us */
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  guint32 version;
  guint size;       /* ACCEPTED, UPDATED: of the request, if it was to try that size; else 0 */
  NatReason reason; /* FORBIDDEN */
} NatProberReport;

/* event may call anything here but nat_prober_free. report is NULL for events without an answer. */
typedef struct {
  void (*send) (gpointer user, const NatAddress *relay, const guint8 *data, gsize len);
  void (*event) (gpointer user, NatProberEvent event, const NatProberReport *report);
  void (*random) (gpointer user, gpointer out, gsize len);
} NatProberOps;

typedef struct _NatProber NatProber;

/* epoch is read for each Binding: it outlives the prober, and may change. */
NatProber *nat_prober_new (
    NatRole role, const guint8 epoch[NAT_EPOCH_SIZE], const NatProberOps *ops, gpointer user);
void nat_prober_free (NatProber *p); /* wipes the key */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatProber, nat_prober_free)

/* From the session's document. While running: a renewed username (same session, same password). */
void nat_prober_set_credentials (NatProber *p, gint64 now_us, const char *username,
    const char *realm, const char *password, guint keepalive_ms);
/* IDLE or any other phase -> CHALLENGING. Nothing is known of the candidates' nonces. */
void nat_prober_start (
    NatProber *p, gint64 now_us, const NatAddress *candidates, guint n, guint timeout_ms);
void nat_prober_stop (NatProber *p); /* -> IDLE; no event */
/* A way that opened, or closed: the WebSocket. While another way is registered, a new one is only kept
 * in reserve; otherwise it is tried at once. The end of the selected one is silence. Not while IDLE. */
void nat_prober_add (NatProber *p, gint64 now_us, const NatAddress *relay);
void nat_prober_remove (NatProber *p, gint64 now_us, const NatAddress *relay);
/* REGISTERED: asks the ways of this transport that are not selected; whichever answers is selected then. */
void nat_prober_ask (NatProber *p, gint64 now_us, NatTransport transport);
/* REGISTERED, by UDP: one Binding of so many bytes. That it is not answered has no consequence. */
void nat_prober_try_size (NatProber *p, gint64 now_us, guint bytes);
/* Another socket: nonces are for the old one, and that z differs now is no sign of a NAT's memory. */
void nat_prober_socket_changed (NatProber *p, gint64 now_us);

typedef enum {
  NAT_PROBER_TAKEN,
  NAT_PROBER_REFUSED, /* malformed, a stranger's, not an answer to us, or not genuine */
} NatProberVerdict;
NatProberVerdict nat_prober_input (
    NatProber *p, gint64 now_us, const NatAddress *from, const guint8 *data, gsize len);

/* Monotonic microseconds; G_MAXINT64 = nothing to wait for. Changes with every call here. */
gint64 nat_prober_deadline (const NatProber *p);
void nat_prober_tick (NatProber *p, gint64 now_us);

/* Subscriber: RTP came. Publisher: RTCP came. */
void nat_prober_heard (NatProber *p, gint64 now_us);
/* Publisher: RTP was sent at this time, which may lie in the past. */
void nat_prober_sent (NatProber *p, gint64 when_us);
/* TRUE while nothing is waited for because nothing was sent lately: tell the next one at once. */
gboolean nat_prober_wants_sent (const NatProber *p);
/* ICMP unreachable, a network that went away: no more than a hint, at most one Binding a second. */
void nat_prober_hint (NatProber *p, gint64 now_us);

NatProberPhase nat_prober_phase (const NatProber *p);
guint nat_prober_rtt_us (const NatProber *p); /* smoothed; 0 = unknown */
/* PROBING and SEEKING: the relay had said that it goes. */
gboolean nat_prober_was_told (const NatProber *p);
gboolean nat_prober_is_candidate (const NatProber *p, const NatAddress *address);

G_END_DECLS
