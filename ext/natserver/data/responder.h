/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Answers STUN: challenges, registers, moves. Binding requests only. */

#include "natserver/data/worker.h"

G_BEGIN_DECLS

/* path: the registered one of this source, or NULL. */
void nat_responder_receive (
    NatWorker *w, const NatUdpSource *source, NatPath *path, const guint8 *data, gsize len);

/* A hint to a client, without authority: it makes it send a Binding. */
void nat_responder_indicate (NatWorker *w, const NatUdpDest *dest, NatReason reason);
/* The same to a session that has a mapping: on the selected path, or else the freshest. */
void nat_responder_indicate_session (NatWorker *w, NatDataSession *s, NatReason reason);
/* Of the stream: its document has a new version. Not before the last time is paid for; then a tick does it, as untold says. */
void nat_responder_tell_version (NatWorker *w, NatDataStream *stream);
/* RTP or RTCP (kind) from an address that is no mapping: perhaps a client whose mapping moved, or one
 * of before our start. */
void nat_responder_stranger (
    NatWorker *w, const NatUdpSource *source, gboolean rtcp, const guint8 *data, gsize len);

G_END_DECLS
