/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* For the files of this folder: one worker, all that it owns, and what passes between it and
 * the control thread. The way of a datagram: udpio reads it, worker tells what it is, table finds whose
 * it is, and responder (STUN), forward (RTP) or rtcpagg (RTCP) does the rest. */

#include <pthread.h>
#include <stdatomic.h>

#include "natproto/challenge.h"
#include "natserver/data/dataplane.h"
#include "natserver/data/lane.h"
#include "natserver/data/mesh.h"
#include "natserver/data/nap.h"
#include "natserver/data/ring.h"
#include "natserver/data/roster.h"
#include "natserver/data/strangers.h"
#include "natserver/data/udpio.h"
#include "natserver/data/waiter.h"

G_BEGIN_DECLS

/* Lifetimes in microseconds, in one place so that a test can live faster. */
typedef struct {
  gint64 consent_us;   /* NAT_CONSENT_US */
  gint64 silence_us;   /* NAT_TAKEOVER_SILENCE_US */
  gint64 report_us;    /* NAT_RECEIVER_REPORT_US */
  gint64 picture_us;   /* NAT_PLI_INTERVAL_US */
  gint64 move_us;      /* another worker hears the publisher since: it gets the stream */
  gint64 repeat_us;    /* NAT_SILENCE_US; 0 = last packets are not repeated */
  gint64 strangers_us; /* after a start, RTP with any SSRC is told to register */
} NatDataTimes;

typedef struct _NatForward NatForward;
typedef struct _NatExchange NatExchange;
typedef struct _NatWorker NatWorker;

struct _NatWorker {
  /* Set before the thread starts, then read only. */
  NatDataTimes times;
  guint8 boot_id[NAT_BOOT_ID_SIZE];
  NatSecrets *secrets;
  NatWorkerCounters *counters;
  NatRing *commands, *events;
  NatMesh *mesh; /* NULL = it is the only worker */
  NatLane *lane; /* NULL = there is no tunnel */
  gint cpu;      /* where it runs; -1 = anywhere */
  gboolean busy_poll;
  pthread_t thread;
  gboolean running; /* the control thread's: the thread is there */

  _Atomic gint stop;         /* 0: go on, else a NatReason + 1 */
  _Atomic gsize cache_limit; /* bytes that the pool may have */
  atomic_bool is_full;       /* nobody is let in whom the worker does not know */

  /* The thread's own. */
  NatUdpio *io;
  NatWaiter *waiter; /* NULL: it never waits */
  guint32 unread;    /* a bit for each socket that may hold more */
  NatRoster *roster;
  NatChallenge *challenge;
  NatHistoryPool *pool; /* NULL: nothing is kept for repair */
  gsize pool_limit;     /* as it was told */
  NatForward *forward;
  NatExchange *exchange; /* NULL as mesh */
  guint8 index;
  gint64 now_us, started_us; /* monotonic; now is read when a batch came, and when it was sent */
  guint batch_size;          /* messages read at once */
  gint64 arrived_ns;         /* the datagram that is served; nat_udpio_clock_ns */
  gint64 tick_us, prune_us;  /* when these were done last */
  gint64 repair_us;          /* when nat_repair_run has something to do, */
  gint64 repair_from_us;     /* and not before, whatever comes */
  GQueue headstarts;         /* headstart.c's */
  guint headstarts_prepared; /* of those: not begun */
  guint headstarts_looked;   /* at the prepared ones, when so many lists were built (NatRoster) */
  gint64 headstart_us;       /* when nat_headstart_run has something to do */
  guint scan;                /* where in roster->live the next tick goes on */
  NatFairness fairness;      /* among streams, while it is behind */
  NatStrangers answers;      /* to the unauthenticated */
  NatStrangers hints;        /* to strangers that send media */
  NatNap nap;
};

/* What makes a worker one of several. */
typedef struct {
  const guint8 *challenge_key; /* 32 bytes, the same for all */
  NatMesh *mesh;               /* NULL = the only one */
  NatUdpio *first;             /* the first worker's; NULL for that one */
  NatTunnel *tunnel;           /* NULL = none; it outlives the worker */
  NatMeters *meters;           /* NULL = its own, without limits */
  guint index, n;
  gint cpu;
} NatWorkerPlace;

NatWorker *nat_worker_new (
    const NatDataplaneConfig *config, const NatWorkerPlace *place, char **hints, GError **error);
void nat_worker_free (NatWorker *w);
gboolean nat_worker_start (NatWorker *w, GError **error);
void nat_worker_ask_to_stop (NatWorker *w, NatReason reason);
void nat_worker_join (NatWorker *w);
/* Everything that is there or due, without ever waiting: the loop of those who have cores to spare, or of
 * whoever has a clock of his own and turns the worker himself. */
void nat_worker_spin (NatWorker *w);

/* Applies what control posted. Not while packets are under way. */
void nat_worker_drain_commands (NatWorker *w);
/* One datagram that another worker heard. data must stay until the flush. */
void nat_worker_serve (NatWorker *w, const NatUdpSource *source, guint8 *data, gsize len);
/* Sends what the batch brought, and settles. */
void nat_worker_flush (NatWorker *w);

/* For tests, before the start: a relay that lives faster. */
void nat_dataplane_set_times (NatDataplane *dp, const NatDataTimes *times);
void nat_dataplane_get_times (NatDataplane *dp, NatDataTimes *times);

/* ---- lifecycle.c: what befalls a session, and telling control of it ---- */

/* TRUE: the events of a new session are sure to fit. */
gboolean nat_lifecycle_has_room (NatWorker *w);
/* A ticket named a session that is not known, or dormant. */
NatDataSession *nat_lifecycle_revive (NatWorker *w, const NatTicket *ticket);
/* Control ended it. Its ticket may have revived it while the command was on its way, which control then
 * hears too late: so it hears that it is gone as well. */
void nat_lifecycle_ended (NatWorker *w, NatDataSession *s);
/* A good Binding came on the path. */
void nat_lifecycle_bound (NatWorker *w, NatPath *path);
/* Any valid datagram came. */
void nat_lifecycle_heard (NatWorker *w, NatDataSession *s);
/* Time passed: consent of paths and session, silence. May make the session dormant. */
void nat_lifecycle_check (NatWorker *w, NatDataSession *s);

G_END_DECLS
