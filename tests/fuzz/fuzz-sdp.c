/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A publisher's SDP, as the relay reads it. What is taken can be served: every track has its own SSRC, a payload type that
 * RTCP cannot be taken for, and a clock. It is the same when it comes inside a description. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/negotiation.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check (const NatTracks *tracks)
{
  g_assert_true (tracks->n_tracks >= 1 && tracks->n_tracks <= NAT_TRACKS_MAX);
  for (guint i = 0; i < tracks->n_tracks; i++) {
    const NatTrack *t = &tracks->tracks[i];

    g_assert_cmpuint (t->ssrc, !=, 0);
    g_assert_true (t->payload_type <= 63 || (t->payload_type >= 96 && t->payload_type <= 127));
    g_assert_cmpuint (t->clock_rate, >, 0);
    g_assert_nonnull (memchr (t->media, 0, sizeof t->media));
    for (guint k = 0; k < i; k++)
      g_assert_cmpuint (t->ssrc, !=, tracks->tracks[k].ssrc);
  }
}

/* As a client would send it, if it is text at all. */
static void
describe (char *sdp, const NatTracks *tracks)
{
  NatDescription d = {.sdp = sdp}, again;
  g_autofree char *json = nat_description_to_json (&d);
  NatTracks same;

  memset (&same, 0, sizeof same);
  if (!nat_description_from_json (&again, json, -1, NULL))
    return;
  g_assert_true (nat_tracks_from_sdp (&same, again.sdp, NULL));
  g_assert_cmpmem (&same, sizeof same, tracks, sizeof *tracks);
  nat_description_clear (&again);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *sdp = g_strndup ((const char *)data, size);
  NatTracks tracks;

  memset (&tracks, 0, sizeof tracks);
  if (!nat_tracks_from_sdp (&tracks, sdp, NULL))
    return 0;
  check (&tracks);
  if (g_utf8_validate (sdp, -1, NULL))
    describe (sdp, &tracks);
  return 0;
}
