/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A worker without a thread: the test says what is in a batch and when it is sent. */

#include "natserver/data/forward.h"
#include "natserver/data/worker.h"

G_BEGIN_DECLS

#define BARE_VIDEO_SSRC 0x11223344u
#define BARE_AUDIO_SSRC 0x55667788u

/* Listens on listen ("127.0.0.1"); buffer: bytes. Freed by nat_worker_free. */
NatWorker *bare_worker_new (const char *listen, gsize buffer);
/* One of several, on a socket of its own: who hears what the test says (NatUdpSource.worker). */
NatWorker *bare_worker_new_of_several (NatMesh *mesh, guint index);
/* A registered session whose selected path is from there. The stream's publisher must come first, and is
 * described with a video and an audio track. */
NatDataSession *bare_worker_join (
    NatWorker *w, const char *stream, NatRole role, const NatAddress *from);
/* The same, to an address of ours that is not the socket's. */
NatDataSession *bare_worker_join_at (NatWorker *w, const char *stream, NatRole role,
    const NatAddress *from, const NatAddress *local);
/* An RTP packet of len bytes at data, as if publisher had sent it. data stays until the flush. */
void bare_worker_receive (
    NatWorker *w, NatDataSession *publisher, guint32 ssrc, guint16 seq, guint8 *data, gsize len);

G_END_DECLS
