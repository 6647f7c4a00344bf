/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as a protected compound, which nobody without the key can have made; and as a plain one,
 * which must come back the same, once. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/srtcp.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static NatSrtcp *
make (void)
{
  static const guint8 boot_id[NAT_BOOT_ID_SIZE] = {1}, epoch[NAT_EPOCH_SIZE] = {2};

  return nat_srtcp_new ("password", NAT_SRTCP_CLIENT_TO_RELAY, boot_id, epoch);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (NatSrtcp) out = make ();
  g_autoptr (NatSrtcp) in = make ();
  g_autofree guint8 *buf = g_malloc (size + NAT_SRTCP_OVERHEAD);
  g_autofree guint8 *again = NULL;
  gsize len = size, sealed;

  if (size > 0)
    memcpy (buf, data, size);
  g_assert (nat_srtcp_unprotect (in, buf, &len) != NAT_SRTCP_OK && len == size);
  if (size > 0)
    memcpy (buf, data, size);
  sealed = nat_srtcp_protect (out, buf, size);
  g_assert (sealed == (size < 8 ? 0 : size + NAT_SRTCP_OVERHEAD));
  if (sealed == 0)
    return 0;
  again = g_memdup2 (buf, sealed);
  len = sealed;
  g_assert (nat_srtcp_unprotect (in, buf, &len) == NAT_SRTCP_OK);
  g_assert (len == size && memcmp (buf, data, size) == 0);
  len = sealed;
  g_assert (nat_srtcp_unprotect (in, again, &len) == NAT_SRTCP_REPLAYED);
  return 0;
}
