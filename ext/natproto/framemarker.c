/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/framemarker.h"

#include <string.h>

void
nat_framemarker_init (NatFramemarker *marker, NatPayloadFormat format)
{
  memset (marker, 0, sizeof *marker);
  marker->format = format;
}

/* TRUE: a prefix of a frame whose picture is still to come. Time stamps tell frames apart. Those of some cameras
 * give parameter sets a time of their own: then these, too, go with the next picture. Where time stands still the
 * RTP marker ends a frame; it alone would not do, because some cameras set it on parameter sets. */
static gboolean
must_wait (const NatFramemarker *m, const NatPayload *payload, gboolean same_time)
{
  if (payload->part != NAT_PAYLOAD_PREFIX || m->n_pending == NAT_FRAMEMARKER_PENDING_MAX)
    return FALSE;
  return !same_time || !m->decided || m->ended;
}

static void
wait_for_picture (NatFramemarker *m, const NatPayload *payload)
{
  if (m->n_pending++ == 0)
    m->independent = FALSE;
  m->independent |= payload->independent;
  m->decided = FALSE;
}

/* A frame whose beginning was lost before it came here is none to start with. */
static void
decide (NatFramemarker *m, const NatPayload *payload)
{
  gboolean announced = m->n_pending > 0 && m->independent;

  m->decided = TRUE;
  m->ended = FALSE;
  m->independent = payload->part == NAT_PAYLOAD_BEGIN && (payload->independent || announced);
  /* Frames of higher temporal layers may need one that its own layer does not need. */
  m->highest_temporal_id = MAX (m->highest_temporal_id, payload->temporal_id);
  m->discardable = payload->discardable && payload->temporal_id == m->highest_temporal_id;
}

gboolean
nat_framemarker_take (
    NatFramemarker *m, const NatRtpHeader *header, const guint8 *payload, NatFramemarkerStep *step)
{
  gboolean same_time = m->begun && header->timestamp == m->timestamp, begins;
  NatPayload read;

  nat_payload_read (&read, m->format, payload, header->payload_len);
  m->begun = TRUE;
  m->timestamp = header->timestamp;
  if (must_wait (m, &read, same_time)) {
    wait_for_picture (m, &read);
    return FALSE;
  }
  begins = m->n_pending > 0 || !same_time || (m->ended && read.part == NAT_PAYLOAD_BEGIN);
  if (begins)
    decide (m, &read);
  m->ended |= header->marker;

  memset (step, 0, sizeof *step);
  step->release = m->n_pending > 0;
  step->waiting.independent = step->mark.independent = m->independent;
  step->waiting.discardable = step->mark.discardable = m->discardable;
  step->mark.start = begins && !step->release && read.part == NAT_PAYLOAD_BEGIN;
  step->mark.end = header->marker;
  m->n_pending = 0;
  return TRUE;
}
