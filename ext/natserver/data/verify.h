/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Media that the relay has the key of, looked at before it is kept or forwarded: what is not the publisher's goes no further,
 * whoever spoofed its address. Costs what opening costs a client; packets themselves stay as they are. */

#include "natproto/negotiation.h"

G_BEGIN_DECLS

/* Of one stream; one thread at a time, but not always the same. */
typedef struct _NatVerifier NatVerifier;

NatVerifier *nat_verifier_new (const NatMediaKey *keys, guint n);
/* NULL: the description has no keys, or with a passphrase what it has are none. */
NatVerifier *nat_verifier_for (const NatDescription *d);
void nat_verifier_free (NatVerifier *v); /* wipes the keys; NULL is fine */
/* From now on with the keys of other. Under those that stay, what came before does not come again. */
void nat_verifier_change_keys (NatVerifier *v, const NatVerifier *other);
/* The publisher sends these and no others; NULL is fine. */
void nat_verifier_set_ssrcs (NatVerifier *v, const guint32 *ssrcs, guint n);
/* TRUE: a genuine RTP packet, for the first time. Allocates only for an SSRC that had no such packet yet. */
gboolean nat_verifier_check (NatVerifier *v, const guint8 *packet, gsize len);

G_END_DECLS
