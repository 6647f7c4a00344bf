/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A session with somebody who writes down what it calls back, and can be asked to wait. */

#include "natclient/session.h"
#include "relayprocess.h"

typedef struct {
  NatSession *session;
  NatSessionConfig config;
  GMutex lock;
  GCond cond;

  NatSessionState state;
  GString *states; /* nicks, one blank after each */
  NatCause *cause; /* of the last state that had one */
  guint documents;
  NatSessionDocument document; /* of the last: version, publisher, boot_id; sdp below */
  char *sdp;
  guint described; /* of the last callback; a lower one than the one before is a failure */
  NatAddress mapped;
  guint n_mapped;
  GArray *rtp; /* guint32: first payload word of each packet */
  guint n_rtcp;
  guint8 rtcp[256];
  guint rtcp_len;
  guint token_calls, token_seconds;
  gboolean has_no_other; /* who is asked for a token gives the one that there is */
  gboolean accept;       /* answer of accept_certificate */
  guint accept_calls;
  gboolean done; /* after stop: a callback now is a failure */
} Watcher;

#define WATCHER_SDP                                                                                \
  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"                                              \
  "m=video 9 RTP/AVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 H264/90000\r\n"                        \
  "a=ssrc:305419896 cname:test\r\n"
#define WATCHER_SSRC 305419896u

void watcher_init (Watcher *w, NatRole role, const RelayProcess *relay);
void watcher_start (Watcher *w);
/* Stopping waits for no network: what does, waits for a timeout of many seconds. */
#define WATCHER_AT_ONCE_US (5 * G_USEC_PER_SEC)
void watcher_stop (Watcher *w, gboolean ended);
void watcher_clear (Watcher *w); /* stops first */
/* FALSE after timeout_ms. */
gboolean watcher_wait_state (Watcher *w, NatSessionState state, guint timeout_ms);
gboolean watcher_wait_cause (Watcher *w, NatCauseKind kind, guint timeout_ms);
typedef gboolean (*WatcherTest) (Watcher *w); /* called with lock */
gboolean watcher_wait (Watcher *w, WatcherTest test, guint timeout_ms);
/* One RTP packet of the SDP's SSRC: seq and a payload of word and zeros. Returns packets sent. */
guint watcher_send_rtp (Watcher *w, guint16 seq, guint32 word, gsize len);
guint watcher_n_rtp (Watcher *w);
guint watcher_n_documents (Watcher *w);
