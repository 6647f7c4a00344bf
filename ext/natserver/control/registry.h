/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What the relay knows, in memory: streams, their publishers and descriptions, and sessions. It turns
 * requests into commands for the data plane and the data plane's events into knowledge; it alone
 * decides who publishes a stream and when that changes.
 *
 * A stream exists while it has a session or a publisher's place to keep. Its publisher is
 *
 *   none --publish--> live --gone, left--> grace --10 s--> none (ended, if it left with "ended")
 *
 * and each arrow gives the stream's document a new version, which the data plane tells all its sessions.
 * Time is an argument everywhere. */

#include <glib.h>
#include "natproto/negotiation.h"
#include "natserver/control/admission.h"
#include "natserver/control/auth.h"
#include "natserver/control/endedfile.h"
#include "natserver/control/memory.h"
#include "natserver/data/dataplane.h"
#include "natserver/observe/snapshot.h"

G_BEGIN_DECLS

#define NAT_REGISTER_WITHIN_US (30 * G_USEC_PER_SEC) /* from POST to the first Binding */

typedef struct {
  gint64 us; /* monotonic */
  gint64 s;  /* Unix time */
} NatTime;

typedef struct {
  NatDataplane *dataplane;
  NatSecrets *secrets;
  NatAdmission *admission;
  NatEndedFile *ended; /* NULL: nothing is kept over a restart */
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  gboolean verify_media; /* packets of streams whose keys are known */
  NatAuth *auth;         /* asked about sessions that come back by their tickets; NULL: all may */
  NatMemory *memory;     /* NULL: there is no bound */
} NatRegistryConfig;

#define NAT_REGISTRY_SOON_MS          25
#define NAT_REGISTRY_LOOKS_AT_ONCE    8192 /* sessions: a millisecond or two */
#define NAT_REGISTRY_MEASURED_AT_ONCE 4096 /* sessions and streams: one or two */
#define NAT_REGISTRY_SURVEYED_AT_ONCE 2048 /* sessions and streams: one or two */
#define NAT_REGISTRY_HEARD_AT_ONCE    256  /* events of the data plane: one or two */
#define NAT_REGISTRY_ENDS_AT_ONCE                                                                  \
  512 /* of these: some five, and what they may have of a worker's ring */

typedef struct _NatRegistry NatRegistry;
typedef struct _NatRegistered
    NatRegistered; /* a session; valid until it ends or the registry is polled */

NatRegistry *nat_registry_new (const NatRegistryConfig *config);
void nat_registry_free (NatRegistry *r);

/* Takes in what the data plane says, as much as may be heard at once. To be called before every request, and when its events
 * wait. TRUE: some may wait still. */
gboolean nat_registry_poll (NatRegistry *r, NatTime now);
/* Deadlines, and commands that found the ring full; about once a second. TRUE: there is so much that some of it waits.
 * nat_registry_go_on should have it NAT_REGISTRY_SOON_MS from now. */
gboolean nat_registry_tick (NatRegistry *r, NatTime now);
/* What waits, and no more sessions than may be looked at and ended at once. TRUE: as above. */
gboolean nat_registry_go_on (NatRegistry *r, NatTime now);
/* TRUE: no command waits for room in the ring. */
gboolean nat_registry_flush (NatRegistry *r);

typedef struct {
  const char *stream; /* valid; of a subscriber a glob as well */
  const NatCaller *caller;
  const NatAddress *peer;
  gboolean takeover;           /* the publisher asks for another's place */
  NatDescription *description; /* publishers: taken over (and zeroed) on success */
  const NatTracks *tracks;     /* publishers: of description */
  gboolean instant_start;      /* the subscriber wants a picture at once */
  const char *exclude; /* of a pattern's streams, the subscriber does not want that one; or NULL */
  const char **
      limit; /* set to the name of the option that it was refused for, if it was for one; may be NULL */
} NatAsk;
/* NAT_PROBLEM_NONE: *session is set. */
NatProblemKind nat_registry_publish (
    NatRegistry *r, NatTime now, const NatAsk *ask, NatRegistered **session);
NatProblemKind nat_registry_subscribe (
    NatRegistry *r, NatTime now, const NatAsk *ask, NatRegistered **session);

NatRegistered *nat_registry_find (NatRegistry *r, const guint8 id[NAT_SESSION_ID_SIZE]);
/* The same for who may have come back, so that an event that waits tells of it: takes in up to a ring of them. */
NatRegistered *nat_registry_find_waiting (
    NatRegistry *r, NatTime now, const guint8 id[NAT_SESSION_ID_SIZE]);
const NatTicket *nat_registered_ticket (NatRegistered *session);
/* Of its document, as "boot id and version" go into the ETag. */
guint32 nat_registered_version (NatRegistered *session);
/* Fills all but the addresses. A username with less than half of its life left is renewed first.
 * FALSE: the data plane is too busy to be told; ask again. */
gboolean nat_registry_document (
    NatRegistry *r, NatTime now, NatRegistered *session, NatSessionDocument *out);
/* Of a publisher that is its stream's. description is taken over (and zeroed) on NAT_PROBLEM_NONE. */
NatProblemKind nat_registry_describe (NatRegistry *r, NatTime now, NatRegistered *session,
    NatDescription *description, const NatTracks *tracks);
/* A fresh token: its permission replaces the old one. FALSE: as above. */
gboolean nat_registry_renew (
    NatRegistry *r, NatTime now, NatRegistered *session, const NatCaller *caller);
/* ended: the publisher's stream is over, not just its session. */
void nat_registry_end (
    NatRegistry *r, NatTime now, NatRegistered *session, NatReason reason, gboolean ended);

guint nat_registry_n_sessions (NatRegistry *r);
/* What vouches for sessions is another: ends every one for which nothing does any more (nat_auth_vouches), since its key,
 * its static token, its secret is gone. Those whose permission was made shorter end when it does. Polls first. TRUE: as
 * nat_registry_tick. */
gboolean nat_registry_revoke (NatRegistry *r, NatTime now);

const char *nat_registry_boot_id (NatRegistry *r); /* hex */
/* How often it was measured what passes: every two seconds, less often where there is too much to compare in that time. */
guint64 nat_registry_trend_tick (NatRegistry *r);
/* Those of a stream, or of all if that is NULL, from the so-and-so-manieth on; at most so many. */
NatSessionList *nat_registry_list (
    NatRegistry *r, NatTime now, const char *stream, guint from, guint most);

/* A survey of all streams and sessions, which takes several turns. Whoever is there when it begins is counted once, if he
 * leaves meanwhile with what he has then; who comes later is not. */
typedef struct _NatSurvey NatSurvey;

/* The one that is under way, or else a new one. A reference; the last one's end is also the survey's. */
NatSurvey *nat_registry_survey (NatRegistry *r);
void nat_survey_unref (NatSurvey *survey);
/* So many streams and sessions as are counted at once. TRUE: some wait. */
gboolean nat_survey_go_on (NatSurvey *survey);
/* When none waits any more: of streams and sessions all is there. */
NatSnapshot *nat_survey_snapshot (NatSurvey *survey);

G_END_DECLS
