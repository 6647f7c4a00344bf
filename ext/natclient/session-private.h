/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The inside of a session, for its six files: session.c (what others call, the thread), sessionrun.c
 * (the state table set to work: negotiation, challenge), sessionpath.c (the ways to the relay, and the
 * datagrams that come by them), sessionnet.c (networks that change under it), sessionsize.c (how large
 * datagrams may be) and sessionsync.c (document, token and user name kept in step in the background). */

#include "natclient/backoff.h"
#include "natclient/epoch.h"
#include "natclient/negotiator.h"
#include "natclient/netwatch.h"
#include "natclient/pathsize.h"
#include "natclient/prober.h"
#include "natclient/race.h"
#include "natclient/resume.h"
#include "natclient/sender.h"
#include "natclient/session.h"
#include "natclient/sessionfsm.h"
#include "natclient/source.h"
#include "natclient/udp.h"
#include "natclient/websocket.h"
#include "natproto/nat64.h"
#include "natproto/srtcp.h"

G_BEGIN_DECLS

/* A goodbye takes TCP, TLS and DELETE: three or four round trips, over a satellite 2.5 s. Who leaves unheard stands
 * still before his audience for 40 s. */
#define NAT_GOODBYE_MS  4000
#define NAT_SESSION_OWN 3 /* addresses of ours that are watched */

/* What other threads want of the session's; bits of NatSession.wishes. */
typedef enum {
  NAT_WISH_START = 1 << 0,
  NAT_WISH_STOP = 1 << 1,
  NAT_WISH_DESCRIPTION = 1 << 2,
  NAT_WISH_TOKEN = 1 << 3,
  NAT_WISH_TROUBLE = 1 << 4,
  NAT_WISH_SENT = 1 << 5,
  NAT_WISH_QUEUED = 1 << 6,
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
  NatRace race;
  NatWebsocket *websocket;      /* NULL until it is wanted for the first time */
  NatAddress stream;            /* the relay's end of it, while it is open */
  NatCause *stream_cause;       /* why the last one ended or did not open; or NULL */
  gint64 asked_us, answered_us; /* the last POST that was answered */
  NatBackoff backoff;
  guint attempt;              /* failed ones in a row */
  guint retry_after_ms;       /* that the last refusal asked for */
  gint64 failed_us, retry_us; /* the last attempt, and when the next one is due */
  gboolean was_connected;     /* since the last retry was planned */
  gboolean ever_connected;
  gint64 unsure_until_us; /* a POST without an answer may have ended our older session */
  gint64
      relay_ahead_s; /* of the seconds that elapsed here, by its last answer; 0 = none came yet */
  gint64 warn_s;     /* the relay's Unix time of token_expires; G_MAXINT64 = it is not due */
  gint64 warn_pause_us; /* not before */
  NatBackoff warn_backoff;
  gint64 connected_us;  /* since when; the last time if it is not now */
  guint64 bitrate_told; /* what the last callback said; 0 = none yet */
  NatCauseKind failure; /* kind of the last cause */
  NatCause *usurper;    /* somebody took our place while we negotiate for it; or NULL */
  GSource *probe_timer, *retry_timer, *renew_timer, *expiry_timer, *sync_timer, *race_timer;

  NatRequest *open; /* the POST under way */
  guint open_token_serial, open_description_serial;

  gboolean have_document;
  NatSessionDocument document;
  NatAddress reached;                         /* where HTTPS ended; "none" through a proxy */
  NatAddress relay;                           /* that answers our Bindings; "none" = no mapping */
  NatAddress resolved[NAT_UDP_ADDRESSES_MAX]; /* all that the host's name leads to, without ports */
  guint n_resolved;
  GCancellable *resolving; /* NULL = nobody asks */
  NatNat64 nat64;          /* of this network, where it is needed for the relay */
  gboolean nat64_known;    /* it was asked about, for the attempt that is to begin */
  GSource *nat64_timer;    /* how long that may take */
  NatNetwatch *netwatch;   /* NULL = nobody tells */
  NatResume resume;
  NatPathSize path_size;
  guint size_told;     /* to the application; 0 = no limit */
  gint64 size_seen_us; /* last answer */
  GSource *size_timer;
  NatAddress own[NAT_SESSION_OWN]; /* as seen last, without ports; "none" = no way there */
  NatSrtcp *srtcp;                 /* opens what comes in; NULL = no mapping */
  NatEpoch epoch;                  /* of it and of the sender's */

  NatRequest *background;
  guint background_description; /* serial of the description in it */
  guint background_token;       /* and of the token */
  guint background_want;        /* what it brings */
  guint wants;
  guint denied;      /* wants for which it takes another token */
  gboolean in_doubt; /* a Binding came while a request was out: ask again after it */
  NatBackoff sync_backoff;
  gint64 sync_not_before_us; /* what was refused is not asked for earlier */
  guint unknown;             /* 404s in a row: a relay that restarted may need a moment */
  gboolean renewing;         /* FETCH is to bring another user name */

  gboolean leaving; /* the goodbye is said */
  guint goodbye_ms; /* that it may take */
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
/* On the session's thread: an RTCP compound of the relay's, opened. */
void nat_session_feedback (NatSession *s, const guint8 *data, gsize len);

/* sessionrun.c */
void nat_session_run_begin (NatSession *s); /* on the thread, first */
void nat_session_run_end (NatSession *s);   /* on the thread, last */
void nat_session_feed (NatSession *s, NatFsmEvent event, NatCause *cause); /* takes cause */
/* An attempt failed: takes cause, decides whether it can pass, and feeds. */
void nat_session_fail (NatSession *s, NatCause *cause);
/* Not final what can pass in the middle of a session. */
void nat_session_may_pass (const NatSession *s, NatCause *cause);
/* The relay answers but does not know us. Takes cause. */
void nat_session_lost (NatSession *s, NatCause *cause);
void nat_session_negotiate (NatSession *s);
/* NEGOTIATING, on a way that is no more: begins again. */
void nat_session_renegotiate (NatSession *s);
/* WAITING: not any more. */
void nat_session_retry_now (NatSession *s);
/* WAITING: not for long any more; it may be in vain. */
void nat_session_retry_soon (NatSession *s);
void nat_session_note_cause (NatSession *s, const NatCause *cause);
void nat_session_plan_probe (NatSession *s);
void nat_session_on_wishes (NatSession *s, guint wishes);

/* sessionpath.c */
void nat_session_path_begin (NatSession *s);
void nat_session_path_end (NatSession *s);
/* Opens sockets for what the document names. NULL: at least one address family works. */
NatCause *nat_session_path_open (NatSession *s);
guint nat_session_path_candidates (NatSession *s, NatAddress out[NAT_CANDIDATES_MAX]);
/* The challenge begins, or what it led to is given up: UDP races the WebSocket, or nothing does. */
void nat_session_path_begin_race (NatSession *s);
void nat_session_path_close (NatSession *s);
void nat_session_path_network_changed (NatSession *s);
/* The relay answered on this path: streaming threads send there from now on. */
void nat_session_path_use (NatSession *s, const NatAddress *relay);
void nat_session_path_registered (NatSession *s, const NatAddress *relay);
void nat_session_path_silent (NatSession *s);
/* Another port too, where bind-port leaves it open: then sockets are made anew in any case. */
void nat_session_path_change_socket (NatSession *s);
/* FALSE: the network refused it. */
gboolean nat_session_path_send (
    NatSession *s, const NatAddress *relay, const guint8 *data, gsize len);
/* Our own end of the path to this relay. */
void nat_session_path_local (NatSession *s, const NatAddress *relay, NatAddress *local);
void nat_session_path_on_race_timer (NatSession *s);
/* Neither UDP nor the WebSocket led to the relay. */
NatCause *nat_session_path_cause (NatSession *s);

/* sessionnet.c */
void nat_session_net_begin (NatSession *s);
void nat_session_net_end (NatSession *s);
/* Asks for all addresses of the relay's name, in the background. */
void nat_session_net_resolve (NatSession *s);
/* The relay is silent for long: its name may lead elsewhere by now, for all that goes there. */
void nat_session_net_look_anew (NatSession *s);
/* FALSE: how this network leads to the relay is yet to be found out; nat_session_negotiate is called again then. */
gboolean nat_session_net_is_ready (NatSession *s);
/* What the name server was asked is of another network. FALSE: it was asked nothing. */
gboolean nat_session_net_stop_asking (NatSession *s);
/* The way to the relay works as it is now. */
void nat_session_net_note (NatSession *s);
/* Something says that it may be another: looks, and acts if it is. */
void nat_session_net_look (NatSession *s);
/* Now and then, at least each time that something is to be done. */
void nat_session_net_check_sleep (NatSession *s);

/* sessionsize.c */
void nat_session_size_begin (NatSession *s);
void nat_session_size_end (NatSession *s);
/* Another path: what was found is of the old one. */
void nat_session_size_reset (NatSession *s);
/* A Binding was answered; size as in NatProberReport. */
void nat_session_size_seen (NatSession *s, guint size);
/* The system may know something new. */
void nat_session_size_look (NatSession *s);

/* sessionsync.c */
void nat_session_sync_want (NatSession *s, guint wants);
void nat_session_sync_run (NatSession *s);
void nat_session_sync_cancel (NatSession *s);
/* Another network: what is under way is begun again. */
void nat_session_sync_again (NatSession *s);
/* There is another token. */
void nat_session_sync_let_in (NatSession *s);
void nat_session_sync_seen (NatSession *s, const guint8 boot_id[NAT_BOOT_ID_SIZE], guint32 version);
/* Takes the contents of document. */
void nat_session_sync_take_document (NatSession *s, NatSessionDocument *document);
void nat_session_sync_token (NatSession *s); /* plans the warning of its end */
void nat_session_sync_plan_warning (
    NatSession *s); /* anew, after time that the timer did not see */
/* The relay's Unix time in an answer; 0 = it said nothing. */
void nat_session_sync_clock (NatSession *s, gint64 date_s);
void nat_session_on_renew_timer (NatSession *s);
void nat_session_on_expiry_timer (NatSession *s);

G_END_DECLS
