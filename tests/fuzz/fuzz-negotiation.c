/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as each document of the negotiation, as SDP and as a stream name. What is taken must
 * come out again the same when it is written and read once more. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/negotiation.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
try_description (const char *json, gssize len)
{
  NatDescription d, again;
  g_autofree char *text = NULL;
  NatTracks tracks;

  if (!nat_description_from_json (&d, json, len, NULL))
    return;
  nat_tracks_from_sdp (&tracks, d.sdp, NULL);
  text = nat_description_to_json (&d);
  /* Escapes may make it longer than what is taken. */
  if (strlen (text) <= NAT_DOCUMENT_MAX) {
    g_assert (nat_description_from_json (&again, text, -1, NULL));
    g_assert (strcmp (d.sdp, again.sdp) == 0 && d.n_media_keys == again.n_media_keys);
    nat_description_clear (&again);
  }
  nat_description_clear (&d);
}

static void
try_session (const char *json, gssize len)
{
  NatSessionDocument d, again;
  g_autofree char *text = NULL;

  if (!nat_session_document_from_json (&d, json, len, NULL))
    return;
  text = nat_session_document_to_json (&d);
  if (strlen (text) <= NAT_DOCUMENT_MAX) {
    g_assert (nat_session_document_from_json (&again, text, -1, NULL));
    g_assert (strcmp (d.username, again.username) == 0 && d.n_udp == again.n_udp);
    nat_session_document_clear (&again);
  }
  nat_session_document_clear (&d);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  const char *json = size > 0 ? (const char *)data : "";
  NatTracks tracks;
  NatProblem p;

  try_description (json, (gssize)size);
  try_session (json, (gssize)size);
  if (nat_problem_from_json (&p, json, (gssize)size))
    nat_problem_clear (&p);
  nat_tracks_from_sdp (&tracks, text, NULL);
  if (nat_stream_name_valid (text)) {
    g_assert (nat_stream_glob_valid (text) && nat_stream_glob_match (text, text));
    g_assert (nat_stream_glob_match ("**", text));
  }
  nat_stream_glob_match (text, "house/door");
  return 0;
}
