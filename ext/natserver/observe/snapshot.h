/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What observers (metrics, GET /v1/streams and /v1/sessions, and who reads those) see: copies, made and used on the
 * control thread. */

#include "natproto/address.h"
#include "natproto/messages.h"
#include "natserver/observe/trend.h"

G_BEGIN_DECLS

#define NAT_SNAPSHOT_STREAMS 1000 /* that are told one by one, first by name */

typedef struct {
  char id[NAT_SESSION_ID_TEXT + 1];
  NatRole role;
  char *stream;
  char *subject;               /* "" = none */
  NatAddress mapped;           /* "none" until registered */
  gint64 created_s, expires_s; /* Unix time */
  gboolean registered;
  NatFlow flow;
  NatSessionCounters *counters; /* a reference */
} NatSessionSnapshot;

/* A part of all sessions, in their order: by stream, publishers first. */
typedef struct {
  GPtrArray *sessions; /* of NatSessionSnapshot */
  guint total;         /* of how many */
  gint64 now_us;       /* monotonic, the clock of last_received_us */
  guint64 trend_tick;  /* of their flows */
} NatSessionList;
NatSessionList *nat_session_list_new (void);
void nat_session_list_free (NatSessionList *list);

typedef struct {
  char *name;
  const char *publisher; /* "none", "live", "grace", "ended" */
  guint subscribers;
  guint32 version;
  char media[48];   /* of its description: "video, audio", or "" */
  gint64 since_s;   /* Unix time: when its publisher came; 0 = there is none */
  gboolean pattern; /* no stream, but those that its name matches */
  gboolean heard;   /* its publisher is registered: what follows is his */
  NatTransport transport;
  guint64 rtt_us, jitter_us;
  NatFlow flow;
  NatTrend *trend; /* a reference; NULL = none is kept */
  NatSums sums;    /* of all its sessions, also those that are over */
} NatStreamSnapshot;

/* Numbers of streams and sessions are in the order of the texts: none, live, grace, ended; and publishers, subscribers,
 * not registered yet and registered. */
typedef struct {
  gint64 started_s; /* Unix time */
  const char *program_version;
  guint https_connections;
  guint64 https_requests, https_refused;
  guint64 trend_tick;                                    /* of the newest samples of all trends */
  gint64 trend_us;                                       /* for how long those were measured */
  guint64 memory_bound, memory_resident, memory_refused; /* bytes, bytes, times; 0: not known */
  guint n_streams[4], n_sessions[2][2];
  guint64 in_bps, out_bps; /* of all streams */
  NatSums all;             /* of all sessions that there were */
  NatSums rest;            /* of all streams that are not told one by one */
  GPtrArray *streams;      /* of NatStreamSnapshot */
  guint n_workers;
  NatWorkerCounters *const *workers; /* live blocks, valid while the data plane is */
  NatWebsocketCounters *websockets;  /* as long as their thread; NULL = there is none */
} NatSnapshot;
NatSnapshot *nat_snapshot_new (void);
void nat_snapshot_free (NatSnapshot *s);
guint nat_snapshot_all_streams (const NatSnapshot *s); /* how many there are */
guint nat_snapshot_all_sessions (const NatSnapshot *s);

G_END_DECLS
