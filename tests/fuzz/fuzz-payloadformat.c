/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as a payload of the format that the first byte chooses, whole and packet by packet: nothing is read
 * beyond them, and what a step says holds together. */

#include <stddef.h>
#include <stdint.h>

#include "natproto/framemarker.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_step (const NatFramemarkerStep *step)
{
  /* One packet alone starts a frame: it, or the first of those that waited. */
  g_assert (!(step->release && step->mark.start));
  g_assert (step->mark.independent == step->waiting.independent);
}

/* Pieces of a length that the data tells, each a packet. */
static void
feed (NatFramemarker *m, const guint8 *data, gsize size)
{
  guint waiting = 0;

  while (size > 2) {
    NatRtpHeader header = {
        .timestamp = data[0] & 3, .marker = data[0] >> 7, .payload_len = MIN (data[1], size - 2)};
    NatFramemarkerStep step;

    if (nat_framemarker_take (m, &header, data + 2, &step)) {
      check_step (&step);
      g_assert (step.release == (waiting > 0));
      waiting = 0;
    } else {
      waiting++;
    }
    g_assert (waiting == m->n_pending && waiting <= NAT_FRAMEMARKER_PENDING_MAX);
    data += 2 + header.payload_len;
    size -= 2 + header.payload_len;
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  NatFramemarker m;
  NatPayload read;

  if (size < 1)
    return 0;
  nat_framemarker_init (&m, (NatPayloadFormat)(NAT_PAYLOAD_FORMAT_H264 + data[0] % 5));
  nat_payload_read (&read, m.format, data + 1, size - 1);
  g_assert (read.part <= NAT_PAYLOAD_BEGIN && read.temporal_id <= 6);
  feed (&m, data + 1, size - 1);
  return 0;
}
