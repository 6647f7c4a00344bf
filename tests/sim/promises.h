/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the relay has promised of its datagrams, held against all that it sends. It knows who may what by its own
 * books, not by the relay's: which nonce went to whom, which request was keyed with which secret.
 *
 * - An answer goes where its request came from, once, and is no longer. Who did not prove himself gets no
 *   more bytes than he sent, and no more datagrams; the relay remembers nothing for him.
 * - A success answers nothing but a request with the right key and a nonce that was given to that place in
 *   the last half minute; nor one whose username has run out, or whose session control has ended.
 * - RTP goes nowhere but to the place that a subscriber selected by such a request, as long as it was renewed in
 *   the last half minute, and is byte for byte what a publisher of that stream sent from a place of his.
 * - RTCP likewise, and opens there, once: no key and index twice. */

#include "smallworld.h"

G_BEGIN_DECLS

void promises_begin (void);
void promises_end (void);

/* A session was made for the actor, or it got a new username. */
void promises_name (SmallActor actor, guint generation, const char *username,
    const guint8 key[NAT_STUN_KEY_SIZE], gint64 expires_s);
/* What the actor says in RTCP, and hears, is keyed with this from now on. */
void promises_epoch (SmallActor actor, const char *password, const guint8 boot_id[NAT_BOOT_ID_SIZE],
    const guint8 epoch[NAT_EPOCH_SIZE]);
/* Control ended the actor's session, and everybody was told. */
void promises_ended (SmallActor actor);
void promises_hung_up (guint place);

/* Around all that the relay does about one delivery. */
void promises_delivery (guint place, const guint8 *data, gsize len, gsize segment);
void promises_delivered (void);
/* The relay sent a datagram there. */
void promises_sent (guint place, const guint8 *data, gsize len);
/* The system refused it. */
void promises_unsent (guint place, const guint8 *data, gsize len);
/* The nonce that the place was given last; "" = none. */
const char *promises_nonce (guint place);
/* Whether the actor may be sent media there, by our books. */
gboolean promises_allow_media (SmallActor actor, guint place);

G_END_DECLS
