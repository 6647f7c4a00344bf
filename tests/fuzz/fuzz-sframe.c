/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes to be opened, as an RTP packet and as a bare SFrame header; and to be sealed, after
 * which they must open again. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/rtp.h"
#include "natproto/sframekeys.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
seal_and_open (NatSframeSealer *sealer, NatSframeOpener *opener, const uint8_t *data, size_t size)
{
  g_autofree guint8 *out = g_malloc (size + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE);
  gsize len = nat_sframe_sealer_seal (sealer, data, size, out);
  NatRtpHeader h;

  if (len == 0)
    return;
  g_assert (len <= size + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE);
  g_assert (nat_sframe_opener_open (opener, out, &len) == NAT_OPEN_OK);
  g_assert (nat_rtp_parse (&h, data, size));
  g_assert (len == size - h.padding_len);
  g_assert (memcmp (out + h.header_len, data + h.header_len, h.payload_len) == 0);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static const NatMediaKey key = {.kid = 0, .suite = NAT_SFRAME_AES_128_GCM_SHA256_128, .key = {1}};
  g_autoptr (NatSframeSealer) sealer = nat_sframe_sealer_new (&key);
  g_autoptr (NatSframeOpener) opener = nat_sframe_opener_new ();
  g_autofree guint8 *copy = g_memdup2 (data, size);
  guint8 buf[NAT_SFRAME_HEADER_MAX];
  NatSframeHeader h;
  gsize len = size;

  nat_sframe_opener_set_keys (opener, &key, 1);
  g_assert (nat_sframe_opener_open (opener, copy, &len) != NAT_OPEN_OK);
  seal_and_open (sealer, opener, data, size);
  /* Each header has one spelling only. */
  if (nat_sframe_header_parse (&h, data, size))
    g_assert (
        nat_sframe_header_write (buf, h.kid, h.ctr) == h.len && memcmp (buf, data, h.len) == 0);
  return 0;
}
