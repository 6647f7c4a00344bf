/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One data plane on a clock of ours, its workers turned by hand, and a few clients of which whoever drives
 * this makes every datagram: a fuzzer, or a walk through all states. The relay's code is as it is: what it asks
 * of the system is answered from here, as in world.h, but there is no network in between and no client of
 * ours that thinks. All that the relay sends is held against what it has promised (promises.h). */

#include "natproto/rtcp.h"
#include "natserver/data/worker.h"

G_BEGIN_DECLS

#define SMALL_WORKERS_MAX 2
#define SMALL_UDP         8  /* places 0 to 7 send UDP */
#define SMALL_PLACES      12 /* 8 to 11 are connections of the tunnel */
#define SMALL_HISTORY     16 /* datagrams that are remembered, each way */

typedef enum {
  SMALL_CAMERA, /* publishes room/a */
  SMALL_VIEWER, /* of room/a */
  SMALL_RIVAL,  /* publishes room/a, too */
  SMALL_OTHER,  /* publishes room/b */
  SMALL_GUEST,  /* of every stream of the room */
  SMALL_ACTORS
} SmallActor;

#define SMALL_A_VIDEO 0xa1a1a1a1u
#define SMALL_A_AUDIO 0xa2a2a2a2u
#define SMALL_B_VIDEO 0xb1b1b1b1u

typedef enum {
  SMALL_SELECT = 1 << 0,    /* USE-CANDIDATE */
  SMALL_NO_EPOCH = 1 << 1,  /* left out */
  SMALL_UNKNOWN = 1 << 2,   /* an attribute that must be understood and is not */
  SMALL_OLD_NAME = 1 << 3,  /* the username before the last renewal */
  SMALL_WRONG_KEY = 1 << 4, /* as one who does not know the password */
} SmallBinding;

typedef struct {
  guint8 data[NAT_DATAGRAM_MAX];
  gsize len;
} SmallDatagram;

typedef struct {
  gint64 now_us;
  gint64 consent_us; /* the clock by which consent is judged: see small_pass */
  NatDataplane *dp;
  NatSecrets *secrets;
  guint n_workers;
  NatWorker *workers[SMALL_WORKERS_MAX];
  gboolean others_poll; /* the data plane's events: who has a registry */
  int refusal;          /* the next sends fail with that errno ... */
  guint refusals;
  guint64 rtp_sent, rtcp_sent, answers_sent; /* all that left since the begin */
  SmallDatagram heard[SMALL_HISTORY], sent[SMALL_HISTORY];
  guint n_heard, n_sent; /* in all; the last ones are kept */
} SmallWorld;
extern SmallWorld small;

void small_begin (guint n_workers);
void small_end (void);

/* ---- Control ---- */
void small_add (SmallActor actor, guint max_kbps, gboolean headstart);
void small_renew (SmallActor actor);
void small_end_session (SmallActor actor, NatReason reason);
/* tracks: bits of A_VIDEO, A_AUDIO, or B_VIDEO for OTHER; 0 keeps them. */
void small_describe (SmallActor publisher, guint tracks, guint32 version, gboolean name_publisher);
const NatTicket *small_ticket (SmallActor actor);
gboolean small_is_known (SmallActor actor); /* to control */

/* ---- Time ---- */
/* As if the relay were held up for all of it but the last half second, in which it ticks. */
void small_pass (gint64 us);

/* ---- Datagrams ---- */
const NatAddress *small_place (guint place); /* its outside address */
/* One that arrives; or several of one system call: segment bytes each but the last. data is copied. */
void small_deliver (guint place, const guint8 *data, gsize len, gsize segment);
/* The TCP connection of a place in the tunnel ends; what comes from there next is of a new one. */
void small_hang_up (guint place);
/* A first Binding of size bytes. If it is answered, the place has a nonce. */
void small_challenge (guint place, gsize size);
/* Writes a Binding with the nonce that the place was given last; buf holds NAT_DATAGRAM_MAX. */
gsize small_request (SmallActor actor, guint place, guint flags, guint8 *buf);
/* That, delivered; fresh: after a challenge. */
void small_bind (SmallActor actor, guint place, guint flags, gboolean fresh);
void small_new_epoch (SmallActor actor);
gsize small_write_rtp (guint8 *buf, gsize len, guint32 ssrc, guint16 seq, gboolean marker);
/* Protects a compound as the actor does and delivers it; data has room for NAT_SRTCP_OVERHEAD more. */
void small_feedback (SmallActor actor, guint place, guint8 *data, gsize len);

/* ---- The end of everything ---- */
/* Lets time pass until nothing is left to be remembered, and fails if something is: there is no state that
 * cannot be left. */
void small_finish (void);

G_END_DECLS
