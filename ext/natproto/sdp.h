/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A publisher's SDP (RFC 8866), as far as the relay must understand it. Parsing is strict about what is
 * read: an error names the media section and the line; the rest is passed over. */

#include <glib.h>
#include "natproto/messages.h"

G_BEGIN_DECLS

#define NAT_SDP_MAX (64 * 1024) /* bytes */

/* What one m= section says that the relay must know. */
typedef struct {
  guint32 ssrc; /* of a=ssrc; 0 = not announced */
  guint8 payload_type;
  guint32 clock_rate;     /* Hz */
  char media[8];          /* "video", "audio", or "applica"tion cut */
  gboolean ccfb;          /* of a=rtcp-fb: it wants congestion control feedback (RFC 8888) */
  guint8 framemarking_id; /* of a=extmap (framemarking.h); 0 = packets are not marked */
} NatTrack;
typedef struct {
  guint n_tracks;
  NatTrack tracks[NAT_TRACKS_MAX];
} NatTracks;
/* Reads m=, a=rtpmap, a=ssrc and a=extmap of an SDP (RFC 8866, 5576, 8285); static payload types have their clock rates.
 * Every m= section must announce one SSRC and SSRCs must differ. */
gboolean nat_tracks_from_sdp (NatTracks *tracks, const char *sdp, GError **error);

G_END_DECLS
