/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a link does to the frames of one direction:
 *
 *     arrival -> [ queue, as long as `rate` allows ] -> wire: lost, doubled, held back? -> `delay` -> departure
 *
 * No socket and no clock in here: time is an argument, in nanoseconds of any one clock, and must
 * not run backwards. Every kind of chance has a generator of its own that is asked once for each
 * frame, so that the fate of the n-th frame depends on the seed and on n alone: not on when it
 * comes, nor on what else is set. */

#pragma once

#include <glib.h>

#define LINK_FRAME_SPACE 2048 /* Ethernet's 1514, and some */
#define LINK_NEVER       G_MAXINT64

typedef struct LinkFrame LinkFrame;

struct LinkFrame {
  LinkFrame *next; /* in a queue, or among those to be used again */
  guint refs;      /* a doubled frame is twice in the model */
  guint length;    /* bytes, Ethernet's header included */
  gboolean spared; /* ARP and its kin: delayed as all, but never lost, and not counted */
  guint8 data[LINK_FRAME_SPACE];
};

typedef struct {
  double loss;                      /* share of frames, 0 to 1 */
  double burst;                     /* mean length of a run of lost frames; 0: each by itself */
  double duplicate, reorder;        /* shares of frames */
  gint64 delay, jitter, reorder_by; /* ns; jitter is evenly spread from 0 and keeps the order */
  gint64 rate;                      /* bit/s of Ethernet frames; 0: as quick as they come */
  gsize queue;                      /* bytes that may wait for the wire */
} LinkSettings;

typedef struct {
  guint64 arrived, departed; /* frames; a doubled one departs twice */
  guint64 lost, bursts;      /* by `loss`; runs of lost frames */
  guint64 longest;           /* of those runs */
  guint64 full, out;         /* dropped because the queue was full, or in an outage */
  guint64 reordered, duplicated;
} LinkCounters;

typedef struct {
  gint64 due;
  guint64 number; /* keeps the order of frames with the same time */
  LinkFrame *frame;
} LinkDeparture;

typedef struct {
  LinkSettings settings;
  LinkCounters counters;
  GRand *chance[4];
  gboolean bad;     /* Gilbert and Elliott's state: in the bad one all is lost */
  guint64 run;      /* length of the present run of lost frames */
  gint64 out_until; /* end of an outage */
  gint64 wire_free; /* when the wire has sent what it sends */
  LinkFrame *head;  /* of the queue for the wire */
  LinkFrame **tail;
  gsize waiting;      /* bytes in it */
  gint64 last_due;    /* of the last frame that was not held back */
  GArray *departures; /* LinkDeparture, a heap: the first is the next */
  guint64 numbers;
} LinkModel;

void link_model_init (LinkModel *self, guint32 seed);
void link_model_clear (LinkModel *self);

/* Takes @frame, which arrived at @now. */
void link_model_push (LinkModel *self, LinkFrame *frame, gint64 now);

/* When the model wants to be asked again, or LINK_NEVER. */
gint64 link_model_next (LinkModel *self);

/* A frame that departs by @now, with the time when it was to; NULL if there is none yet. The
 * caller gives it back with link_frame_unref. */
LinkFrame *link_model_pull (LinkModel *self, gint64 now, gint64 *due);

/* Nothing passes for @duration from @now on; what is under way arrives. */
void link_model_out (LinkModel *self, gint64 now, gint64 duration);

/* All waits for @duration from @now on, as far as the queue is long. */
void link_model_stall (LinkModel *self, gint64 now, gint64 duration);

/* "loss=5,burst=5,delay=20,jitter=5,reorder=1,reorder-by=10,duplicate=1,rate=4000,queue=64000,
 * outage=5000,stall=200": per cent, milliseconds, kbit/s and bytes; "up." or "down." before a name
 * means that direction (index 0 or 1 of @both), else both. All or nothing is done. */
gboolean link_models_set (LinkModel both[2], const char *text, gint64 now, GError **error);

LinkFrame *link_frame_new (void);
LinkFrame *link_frame_ref (LinkFrame *frame);
void link_frame_unref (LinkFrame *frame);
