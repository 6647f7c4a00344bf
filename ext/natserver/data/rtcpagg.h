/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* RTCP ends here on both sides. The publisher's sender reports go on to every subscriber; what
 * the subscribers say is gathered: the publisher hears one voice, the relay's, with its own report
 * and at most one picture request in an interval, whatever the audience. BYE is withheld: whether a
 * publisher is gone for good is control's to say. */

#include "natserver/data/worker.h"

G_BEGIN_DECLS

#define NAT_COMPOUND_MAX NAT_DATAGRAM_MAX
/* Room for the protection behind the plain compound. */
typedef guint8 NatCompound[NAT_COMPOUND_MAX + NAT_SRTCP_OVERHEAD];

/* One SRTCP compound on a registered path; data is changed. */
void nat_rtcpagg_receive (NatWorker *w, NatPath *path, guint8 *data, gsize len);
/* A session has a selected path, and had none: a subscriber wants a picture; a publisher gets what
 * waited for it. */
void nat_rtcpagg_joined (NatWorker *w, NatDataSession *s);
/* A picture of each of the stream's videos that the session was not given one of. */
void nat_rtcpagg_want_pictures (NatWorker *w, NatDataSession *s, NatDataStream *stream);
/* The stream's tracks may be new: whoever waits for it needs a picture of each video. */
void nat_rtcpagg_described (NatWorker *w, NatDataStream *stream);
/* The reports and names that lead a compound of the relay's that has something else to say. Returns its
 * length so far. */
gsize nat_rtcpagg_begin (const NatDataStream *stream, NatCompound compound);
/* Protects the len bytes and sends them on the selected path; FALSE: not now. */
gboolean nat_rtcpagg_send (NatWorker *w, NatDataSession *s, NatCompound compound, gsize len);
/* Sends what is due to the streams' publishers. */
void nat_rtcpagg_tick (NatWorker *w);

G_END_DECLS
