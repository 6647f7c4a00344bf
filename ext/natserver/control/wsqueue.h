/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What waits for one WebSocket connection. TCP would keep it, and everything behind it, however old it
 * is; so it waits here, where it is sent by rank and where media that is late is dropped. Control is not
 * dropped. Datagrams that go to many are kept once. */

#include <glib.h>
#include "natserver/data/dataplane.h"

G_BEGIN_DECLS

#define NAT_WS_CONTROL_MAX (64 * 1024)        /* bytes that wait for one connection */
#define NAT_WS_MEDIA_MAX   (2 * 1024 * 1024)  /* the same; 250 ms of 64 Mbit/s */
#define NAT_WS_STORE_MAX   (64 * 1024 * 1024) /* media for all of them */
#define NAT_WS_LATE_US     (250 * 1000)       /* media that is older is not sent */

/* All memory of datagrams that wait, and how many were dropped: of one thread. */
typedef struct {
  gsize bytes;               /* and what says where they are */
  guint64 late[NAT_RANKS];   /* datagrams that waited too long */
  guint64 beyond[NAT_RANKS]; /* datagrams that did not fit */
} NatWsStore;

/* Datagrams of one letter; counted. */
typedef struct _NatWsBlock NatWsBlock;
/* NULL: it is media, and there is no room in the store. Free by unref. */
NatWsBlock *nat_ws_block_new (NatWsStore *store, NatRank rank, const guint8 *data, gsize len);
void nat_ws_block_unref (NatWsStore *store, NatWsBlock *block);

typedef struct {
  NatWsBlock *block;
  guint32 at, len; /* in it */
  gint64 time_us;  /* when it was posted */
} NatWsItem;

/* First in, first out; grows as needed and shrinks when it runs empty. */
typedef struct {
  NatWsItem *items;
  guint first, n, room;
  gsize bytes;
} NatWsLine;

typedef struct {
  NatWsLine lines[NAT_RANKS];
  guint64 dropped; /* media that was late or did not fit, since it was cleared */
} NatWsQueue;      /* all zero: empty */

void nat_ws_queue_clear (NatWsQueue *q, NatWsStore *store);
/* FALSE: control that does not fit. Media that does not is dropped and counted. */
gboolean nat_ws_queue_push (NatWsQueue *q, NatWsStore *store, NatRank rank, NatWsBlock *block,
    gsize at, gsize len, gint64 time_us);
/* The datagram that is to be sent next, NULL if there is none; stays until it is dropped. */
const guint8 *nat_ws_queue_peek (NatWsQueue *q, NatWsStore *store, gint64 now_us, gsize *len);
void nat_ws_queue_drop (NatWsQueue *q, NatWsStore *store); /* what peek gave */
/* Throws away what is late. */
void nat_ws_queue_prune (NatWsQueue *q, NatWsStore *store, gint64 now_us);

G_END_DECLS
