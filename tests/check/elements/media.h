/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The relay of a test, and pipelines around the elements: what went in, what came out, and what the bus said. */

#include <gst/check/gstcheck.h>
#include "../client/relayprocess.h"

/* Seconds. It ends a hang, and judges no speed: on a machine with two cores several tests run at a time. */
#define PATIENCE_S 60

/* ---- giving up ----------------------------------------------------------- */

/* Before a test fails: what the buses of its pipelines say goes to stderr, and the elements' stats. Without forks (CK_FORK=no) the
 * pipelines are stopped, too: what their threads use is gone with the frames that the failure leaves. So whoever
 * fails holds no lock that they take. */
void media_give_up (const gchar *file, gint line);
#define _ck_assert_failed(file, line, ...)                                                         \
  (media_give_up (file, line), (_ck_assert_failed)(file, line, __VA_ARGS__))

/* ---- the relay ----------------------------------------------------------- */

/* There is one while the fixture of the test's case is up. */
extern RelayProcess relay;
void relay_begin (void);
void relay_end (void);

/* "natrelay://127.0.0.1:PORT/STREAM?tls-fingerprint=..." with the token for role in it, and by UDP: where a busy machine takes longer
 * than UDP's head start, the same test would be of the WebSocket. */
gchar *media_uri (const gchar *stream, gboolean publish);

/* Or none: a port of this machine where nobody listens. */
guint16 media_unused_port (void);

/* What waits for the network waits for a timeout of many seconds, or for ever. */
#define AT_ONCE (5 * G_TIME_SPAN_SECOND)

#define LIVE_VIDEO                                                                                 \
  "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=100/1 ! vp8enc "           \
  "deadline=1 ! "                                                                                  \
  "rtpvp8pay mtu=1200"

/* ---- flows --------------------------------------------------------------- */

/* Checksums of what passed an identity, in order. */
typedef struct {
  GMutex lock;
  GCond cond;
  GPtrArray *sums;
  guint nal_codec; /* 264, 265: all NAL units but parameter sets and delimiters, which payloader and
                    * depayloader add and take as they think fit; 0: every byte */
  gsize unit; /* bytes of which each so many are one unit, however they are packed; 0: the buffer */
} Flow;

void flow_init (Flow *flow);
void flow_clear (Flow *flow);
/* Follows pipeline's identity of that name (signal-handoffs=true is set). */
void flow_watch (Flow *flow, GstElement *pipeline, const gchar *identity);
guint flow_count (Flow *flow);
/* Until n passed; FALSE after the given seconds. */
gboolean flow_wait (Flow *flow, guint n, guint seconds);
/* Everything in received is in sent, in the same order without a gap, to the last; and at least n of it. */
void flow_assert_suffix (Flow *received, Flow *sent, guint n);
/* Waits until received has the last of sent. */
gboolean flow_wait_last (Flow *received, Flow *sent, guint seconds);

/* ---- pipelines ----------------------------------------------------------- */

/* A pipeline from launch text. Errors on its bus fail the test unless expected. A natrelaysrc that is to miss nothing is given a
 * latency of a second, to repair what a busy machine loses: only what waits for a repair is later for it. */
GstElement *media_launch (const gchar *format, ...) G_GNUC_PRINTF (1, 2);
GstElement *media_pipeline_new (void);
/* Whatever comes out of a pad of the pipeline goes into a fakesink, at once; that is returned, the pipeline's. */
GstElement *media_drain (GstElement *pipeline, GstPad *pad);
void media_play (GstElement *pipeline);
void media_stop (GstElement *pipeline); /* NULL, and unref */
/* The next message of these types from element (NULL: any) within PATIENCE_S; fails the test on none. */
GstMessage *media_wait (GstElement *pipeline, GstMessageType types, GstObject *from);
/* The next element message of that name; fails the test on none within PATIENCE_S. */
void media_wait_element (GstElement *pipeline, const gchar *name);
void media_wait_eos (GstElement *pipeline);
/* One error from the element of that name; its text contains says. No second one follows from it. */
void media_assert_error (
    GstElement *pipeline, const gchar *element, GQuark domain, gint code, const gchar *says);
/* Until the element's property connection-state has that nick. */
void media_wait_state (GstElement *element, const gchar *nick);
gboolean media_has_state (GstElement *element, const gchar *nick);
/* natrelaysink asks its first track's encoder for key frames: that is noted, and waited for. It does so when the relay is there, and
 * not before. */
void media_watch_wishes (GstElement *sink, guint *wishes);
void media_await_wish (guint *wishes);
guint64 media_stat (GstElement *element, const gchar *field);

/* ---- films --------------------------------------------------------------- */

/* One side of a film, its sender or a receiver. */
typedef struct {
  GstElement *pipeline;
  Flow flow; /* through the identity "tap" */
} Side;

void side_init (Side *side, GstElement *pipeline); /* takes it */
void side_clear (Side *side);                      /* stops it */
/* The receiver is there before the first unit. */
void side_begin (Side *sender, Side *receiver);
/* The sender's film is over. */
void side_end (Side *sender);
/* After the end: from the first unit that the receiver has to the last that was sent, all is there and unchanged; n at least. */
void side_assert_whole (Side *receiver, Side *sender, guint n);
/* Plays a natrelaysink "s" with the tracks that come out of first and second (if that is not ""). */
GstElement *media_publish (const gchar *stream, const gchar *first, const gchar *second);
