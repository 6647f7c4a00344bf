/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/verify.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/passphrase.h"

struct _NatVerifier {
  NatSframeOpener *opener;
  NatMediaKey keys[NAT_MEDIA_KEYS_MAX];
  guint n_keys;
  guint8
      scratch[NAT_DATAGRAM_MAX]; /* opening is done in place, and others want the packet as it is */
};

NatVerifier *
nat_verifier_new (const NatMediaKey *keys, guint n)
{
  NatVerifier *v = g_new0 (NatVerifier, 1);

  v->n_keys = MIN (n, NAT_MEDIA_KEYS_MAX);
  memcpy (v->keys, keys, v->n_keys * sizeof *keys);
  v->opener = nat_sframe_opener_new ();
  nat_sframe_opener_set_keys (v->opener, keys, v->n_keys);
  return v;
}

NatVerifier *
nat_verifier_for (const NatDescription *d)
{
  if (d->n_media_keys == 0 || nat_passphrase_needed (d))
    return NULL;
  return nat_verifier_new (d->media_keys, d->n_media_keys);
}

void
nat_verifier_free (NatVerifier *v)
{
  if (!v)
    return;
  nat_sframe_opener_free (v->opener);
  nat_crypto_wipe (v, sizeof *v);
  g_free (v);
}

void
nat_verifier_change_keys (NatVerifier *v, const NatVerifier *other)
{
  memcpy (v->keys, other->keys, sizeof v->keys);
  v->n_keys = other->n_keys;
  nat_sframe_opener_set_keys (v->opener, v->keys, v->n_keys);
}

void
nat_verifier_set_ssrcs (NatVerifier *v, const guint32 *ssrcs, guint n)
{
  if (v)
    nat_sframe_opener_set_ssrcs (v->opener, ssrcs, n);
}

gboolean
nat_verifier_check (NatVerifier *v, const guint8 *packet, gsize len)
{
  if (len > sizeof v->scratch)
    return FALSE;
  memcpy (v->scratch, packet, len);
  return nat_sframe_opener_open (v->opener, v->scratch, &len) == NAT_OPEN_OK;
}
