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

/* One SRTCP compound on a registered path; data is changed. */
void nat_rtcpagg_receive (NatWorker *w, NatPath *path, guint8 *data, gsize len);
/* A session has a selected path, and had none: a subscriber wants a picture; a publisher gets what
 * waited for it. */
void nat_rtcpagg_joined (NatWorker *w, NatDataSession *s);
/* The stream's tracks may be new: whoever waits for it needs a picture of each video. */
void nat_rtcpagg_described (NatWorker *w, NatDataStream *stream);
/* Sends what is due to the streams' publishers. */
void nat_rtcpagg_tick (NatWorker *w);

G_END_DECLS
