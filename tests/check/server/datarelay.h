/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A data plane on loopback without the HTTPS half: the test plays control. */

#include "natserver/data/dataplane.h"
#include "natserver/data/worker.h"
#include "probe.h"

G_BEGIN_DECLS

#define STREAM     "door"
#define VIDEO_SSRC 0x11223344u
#define AUDIO_SSRC 0x55667788u

typedef struct {
  NatSecrets *secrets;
  NatDataplane *dp;
  NatAddress address;  /* of the first socket, 127.0.0.1 if it is a wildcard */
  NatAddress address6; /* of the second, "none" if there is none */
} DataRelay;

/* times may be NULL. listen: "127.0.0.1", "0.0.0.0"; with 6: also "[::]" if the system can. */
DataRelay *data_relay_new (const char *listen, gboolean with_ipv6, const NatDataTimes *times);
/* On 127.0.0.1; of how only busy_poll and socket_buffer count. */
DataRelay *data_relay_new_with (const NatDataplaneConfig *how);
/* A relay with the same secrets on the same port: it was restarted. Frees old. */
DataRelay *data_relay_restart (DataRelay *old);
void data_relay_free (DataRelay *r);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (DataRelay, data_relay_free)
/* The relay's own, but that last packets are not repeated: most tests count what comes. */
void data_relay_default_times (NatDataTimes *times);

NatTicket data_relay_ticket (DataRelay *r, NatRole role); /* good for an hour */
/* A client with that ticket, on 127.0.0.1. */
NatProbe *data_relay_probe (DataRelay *r, const NatTicket *ticket);
/* Adds a session and registers a client for it, selected. counters may be NULL. */
NatProbe *data_relay_join (DataRelay *r, NatTicket *ticket, NatSessionCounters **counters);
/* Publisher with tracks described; the DESCRIPTION hint is taken. */
NatProbe *data_relay_publish (DataRelay *r, NatTicket *ticket, NatSessionCounters **counters);
NatProbe *data_relay_subscribe (DataRelay *r, NatTicket *ticket, NatSessionCounters **counters);
void data_relay_describe (DataRelay *r, guint32 version, const NatTicket *publisher);

/* The next event of that type; others before it are thrown away. FALSE: not in time. A REVIVED's counters
 * are unreferenced already. */
gboolean data_relay_event (DataRelay *r, NatEventType type, NatEvent *event, guint timeout_ms);
/* Throws away those that are here. */
void data_relay_drain_events (DataRelay *r);
/* No event waits that any of the calls above left. */
void data_relay_no_event (DataRelay *r);
guint data_relay_workers (void);
guint64 data_relay_worker_count (DataRelay *r, guint worker, gsize offset);
/* A client without credentials whose datagrams come to that worker's socket. */
NatProbe *data_relay_heard_by (DataRelay *r, guint worker);
/* The same client with another mapping, which that worker hears; it has still to say so. */
void data_relay_move (DataRelay *r, NatProbe *p, guint worker);
guint64 data_relay_count (DataRelay *r, gsize offset);
#define DATA_RELAY_COUNT(r, name) data_relay_count (r, G_STRUCT_OFFSET (NatWorkerCounters, name))

/* RTP through: sends one and waits for the same bytes. */
void data_relay_assert_passes (NatProbe *from, NatProbe *to, guint32 ssrc, guint16 seq);
/* What went to where the subscriber was, up to that packet, comes to where it is. */
void data_relay_assert_resent (NatProbe *to, guint16 last);
/* Media for a second, and no event of it. A test that was held up for limit_us begins anew; what comes of that is
 * read in the half second before. */
void data_relay_assert_active (DataRelay *r, NatProbe *publisher, gint64 limit_us);
/* Everything sent before was worked off: an answer came behind it. */
void data_relay_sync (DataRelay *r);

G_END_DECLS
