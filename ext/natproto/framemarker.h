/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Finds the mark (framemarking.h) of each packet of one SSRC, from the payloads in the order in which they were
 * sent.
 *
 * What a frame is, its first packets often do not say: parameter sets, SEI and access unit delimiters come before
 * independent pictures and before others alike (a payloader repeats parameter sets each second, an encoder with
 * intra refresh at each recovery point). But a receiver must begin with them. So their packets wait for the
 * first of the picture itself, which the payloader sends in the same breath, and then all get one answer. */

#include <glib.h>
#include "natproto/framemarking.h"
#include "natproto/payloadformat.h"
#include "natproto/rtp.h"

G_BEGIN_DECLS

/* More packets than any encoder puts before a picture; beyond that they are not waited for. */
#define NAT_FRAMEMARKER_PENDING_MAX 32

typedef struct {
  NatPayloadFormat format;
  /* The frame of the last packet. */
  gboolean begun;   /* there is one */
  gboolean decided; /* its picture has begun: independent and discardable hold */
  gboolean ended;   /* its picture's last packet came, so the RTP marker said */
  guint32 timestamp;
  gboolean independent, discardable;
  guint8 highest_temporal_id; /* that was seen */
  guint n_pending;
} NatFramemarker;

void nat_framemarker_init (NatFramemarker *marker, NatPayloadFormat format);

typedef struct {
  gboolean release;        /* those that waited are decided as well: */
  NatFramemarking waiting; /* of each; the first of them also has start */
  NatFramemarking mark;    /* of the packet itself */
} NatFramemarkerStep;
/* FALSE: the packet waits, and step has no meaning. header was parsed from the packet that payload is in. */
gboolean nat_framemarker_take (NatFramemarker *marker, const NatRtpHeader *header,
    const guint8 *payload, NatFramemarkerStep *step);

G_END_DECLS
