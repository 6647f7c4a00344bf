/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A registry on a data plane, without HTTPS before it, and a clock that the test moves. */

#include "natserver/control/registry.h"
#include "natserver/data/worker.h"
#include "probe.h"

G_BEGIN_DECLS

/* A track of H.264. */
#define WORLD_SDP(ssrc)                                                                            \
  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=video 9 RTP/AVPF 96\r\n"                     \
  "a=rtpmap:96 H264/90000\r\na=ssrc:" ssrc " cname:x\r\n"

typedef struct {
  NatSecrets *secrets;
  NatAdmission *admission;
  NatAuth *auth; /* the test may set it before the relay starts; freed here */
  char *path;    /* where sessions that ended are kept */
  NatAddress peer;
  NatTime now;
  /* while the relay is up */
  NatDataplane *dp;
  NatEndedFile *ended;
  NatRegistry *registry;
} World;

/* A client that is silent for 300 ms is gone: fast enough to wait for. */
extern const NatDataTimes world_fast;

/* The relay is down. limits: NULL for none. */
World *world_new (const NatAdmissionLimits *limits);
void world_free (World *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (World, world_free)
/* times: NULL for the relay's own. */
void world_start (World *w, const NatDataTimes *times);
/* All but the data plane's threads: nobody registers. */
void world_start_registry (World *w, const NatDataTimes *times);
void world_stop (World *w);
void world_pass (World *w, gdouble seconds);

/* The publisher's media key is made of its subject's first letter. */
NatProblemKind world_publish (World *w, const char *stream, const NatCaller *caller,
    const char *sdp, gboolean takeover, NatRegistered **session);
/* It may not be refused. exclude may be NULL. */
NatRegistered *world_subscribe (
    World *w, const char *stream, const NatCaller *caller, const char *exclude);
/* All turns of one. */
NatSurvey *world_survey (World *w);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSurvey, nat_survey_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSessionList, nat_session_list_free)
/* A client that has not said anything yet. */
NatProbe *world_probe (World *w, const NatTicket *ticket);

G_END_DECLS
