/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The inside of a session, for its three files: session.c (what others call, the thread),
 * sessionrun.c (the state table set to work: negotiation, challenge, datagrams) and sessionsync.c
 * (document, token and user name kept in step in the background). */

#include "natclient/backoff.h"
#include "natclient/negotiator.h"
#include "natclient/prober.h"
#include "natclient/sender.h"
#include "natclient/session.h"
#include "natclient/sessionfsm.h"
#include "natclient/udp.h"
#include "natproto/srtcp.h"

G_BEGIN_DECLS

/* What other threads want of the session's; bits of NatSession.wishes. */
typedef enum {
  NAT_WISH_START = 1 << 0,
  NAT_WISH_STOP = 1 << 1,
  NAT_WISH_DESCRIPTION = 1 << 2,
  NAT_WISH_TOKEN = 1 << 3,
  NAT_WISH_TROUBLE = 1 << 4,
  NAT_WISH_SENT = 1 << 5,
} NatWish;

/* What sessionsync.c has yet to do; bits of NatSession.wants. In order of urgency. */
typedef enum {
  NAT_WANT_DESCRIBE = 1 << 0,
  NAT_WANT_RENEW = 1 << 1,
  NAT_WANT_FETCH = 1 << 2,
} NatWant;

struct _NatSession {
  gint refs;
  NatSessionConfig config; /* its auth_token is unused: see token */
  NatSessionCallbacks callbacks;
  gpointer user;
  guint8 epoch[NAT_EPOCH_SIZE];
  GMainContext *context;
  GSource *wake; /* ready when there are wishes */
  gint wishes;   /* atomic */

  /* Lock order: calling, then lock, then the sender's. */
  GRecMutex calling;                /* held while a callback runs */
  gboolean started, stopped, ended; /* under calling */

  GMutex lock;                /* guards this block */
  char *token;                /* NULL = none */
  guint token_serial;         /* counts up with each that is set */
  NatDescription description; /* sdp NULL = none yet */
  guint description_serial;
  NatSessionStats stats; /* the sender's own fields are filled in when asked */

  NatSender sender;

  /* From here on the session's thread alone. */
  NatSessionState state;
  NatNegotiator *negotiator;
  NatProber *prober;
  NatUdp *udp;
  NatBackoff backoff;
  guint attempt;          /* failed ones in a row */
  guint retry_after_ms;   /* that the last refusal asked for */
  gboolean was_connected; /* since the backoff began anew */
  gboolean ever_connected;
  gint64 unsure_until_us; /* a POST without an answer may have ended our older session */
  gint64 warn_s;          /* Unix time of token_expires */
  gint64 connected_us;    /* since when; the last time if it is not now */
  NatCauseKind failure;   /* kind of the last cause */
  NatCause *usurper;      /* somebody took our place while we negotiate for it; or NULL */
  GSource *probe_timer, *retry_timer, *renew_timer, *expiry_timer, *sync_timer;

  NatRequest *open; /* the POST under way */
  guint open_token_serial, open_description_serial;

  gboolean have_document;
  NatSessionDocument document;
  NatAddress reached; /* where HTTPS ended; "none" through a proxy */
  NatAddress relay;   /* that answers our Bindings; "none" = no mapping */
  NatSrtcp *srtcp;    /* opens what comes in; NULL = no mapping */
  guint8 srtcp_boot_id[NAT_BOOT_ID_SIZE];
  char srtcp_password[NAT_PASSWORD_TEXT + 1];

  NatRequest *background;
  NatRequestKind background_kind;
  guint background_serial;
  guint wants;
  gboolean in_doubt; /* a Binding came while a request was out: ask again after it */
  NatBackoff sync_backoff;
  guint unknown;     /* 404s in a row: a relay that restarted may need a moment */
  gboolean renewing; /* FETCH is to bring another user name */

  gboolean leaving; /* the goodbye is said */
};

/* Runs statement with the callbacks' lock, unless the session was stopped. */
#define NAT_SESSION_CALL(s, member, ...)                                                           \
  G_STMT_START                                                                                     \
  {                                                                                                \
    g_rec_mutex_lock (&(s)->calling);                                                              \
    if (!(s)->stopped && (s)->callbacks.member != NULL)                                            \
      (s)->callbacks.member ((s), __VA_ARGS__, (s)->user);                                         \
    g_rec_mutex_unlock (&(s)->calling);                                                            \
  }                                                                                                \
  G_STMT_END

/* session.c */
void nat_session_wish (NatSession *s, NatWish wish);
char *nat_session_dup_token (NatSession *s, guint *serial);
/* A timer of the session's thread; ready time -1 = off. */
GSource *nat_session_timer_new (NatSession *s, void (*func) (NatSession *s));
void nat_session_timer_set (GSource *timer, gint64 in_ms); /* -1 = off */
guint32 nat_session_random (void);

/* sessionrun.c */
void nat_session_run_begin (NatSession *s); /* on the thread, first */
void nat_session_run_end (NatSession *s);   /* on the thread, last */
void nat_session_feed (NatSession *s, NatFsmEvent event, NatCause *cause); /* takes cause */
/* An attempt failed: takes cause, decides whether it can pass, and feeds. */
void nat_session_fail (NatSession *s, NatCause *cause);
/* The relay answers but does not know us. Takes cause. */
void nat_session_lost (NatSession *s, NatCause *cause);
void nat_session_negotiate (NatSession *s);
void nat_session_note_cause (NatSession *s, const NatCause *cause);
void nat_session_plan_probe (NatSession *s);
void nat_session_on_wishes (NatSession *s, guint wishes);

/* sessionsync.c */
void nat_session_sync_want (NatSession *s, guint wants);
void nat_session_sync_run (NatSession *s);
void nat_session_sync_cancel (NatSession *s);
void nat_session_sync_seen (NatSession *s, const guint8 boot_id[NAT_BOOT_ID_SIZE], guint32 version);
/* Takes the contents of document. */
void nat_session_sync_take_document (NatSession *s, NatSessionDocument *document);
void nat_session_sync_token (NatSession *s); /* plans the warning of its end */
void nat_session_on_renew_timer (NatSession *s);
void nat_session_on_expiry_timer (NatSession *s);

G_END_DECLS
