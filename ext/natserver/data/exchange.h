/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One worker's dealings with the others (docs/design/workers.md). There is none, and no cost, with
 * a single worker. */

#include "natserver/data/worker.h"

G_BEGIN_DECLS

gsize nat_exchange_letter_size (void);
NatExchange *nat_exchange_new (NatMesh *mesh, guint index);
void nat_exchange_free (NatExchange *x);
int nat_exchange_fd (NatExchange *x);

/* ---- Hearing for others ---- */

/* Who gets what comes from there, as far as we heard of it; -1: nobody, or the datagram went round
 * long enough. */
gint nat_exchange_route (NatWorker *w, const NatUdpSource *source);
/* Copies the datagram into the mailbox of to, or counts it as lost. */
void nat_exchange_forward (
    NatWorker *w, guint to, const NatUdpSource *source, const guint8 *data, gsize len);
/* A good Binding came on the path: whoever heard it sends us what comes from there next. */
void nat_exchange_heard (NatWorker *w, const NatUdpSource *source, NatPath *path);

/* What comes from there is nobody's any more. */
void nat_exchange_forget (NatWorker *w, const NatPathKey *key);

/* ---- Whose is it? ---- */

/* The worker whose stream that is, perhaps this one; -1: nobody's yet. */
gint nat_exchange_owner (NatWorker *w, const char *stream);
/* A session of the stream is about to be made here. FALSE: it is another's, or just became ours with
 * sessions that were not looked at; the client will ask again. */
gboolean nat_exchange_claim (NatWorker *w, const char *stream);
/* Takes in the streams that were handed over to us; in one turn, so much of their histories as one heirloom may have. */
void nat_exchange_adopt (NatWorker *w);

/* ---- Turns ---- */

gboolean nat_exchange_has_mail (NatWorker *w);
/* Serves what others heard for us. Not while packets are under way. Returns the datagrams. */
guint nat_exchange_drain (NatWorker *w);
void nat_exchange_clear (NatWorker *w); /* the descriptor */
/* Wakes those that got letters since. */
void nat_exchange_flush (NatWorker *w);
/* What may be taken in in one turn counts from nothing again. */
void nat_exchange_end_turn (NatWorker *w);
/* Hands over streams whose publishers another worker hears. Quiescent. */
void nat_exchange_tick (NatWorker *w);
void nat_exchange_prune (NatWorker *w);
guint nat_exchange_n_routes (const NatWorker *w);
/* Of the changes that nat_mesh_homes counts, those that are seen to. */
guint nat_exchange_homes (const NatWorker *w);

G_END_DECLS
