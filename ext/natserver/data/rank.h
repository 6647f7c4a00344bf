/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* In the order in which they are served, and in the reverse of which they are given up where there is no
 * room (docs/design/overload.md). */
typedef enum {
  NAT_RANK_CONTROL, /* STUN, RTCP */
  NAT_RANK_AUDIO,
  NAT_RANK_VIDEO, /* and whatever else is no audio */
  NAT_RANKS,
} NatRank;

G_END_DECLS
