/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Who takes part: sessions with their paths, streams with their tracks and receivers. It is one
 * worker's memory, changed in place by that worker alone; a stream goes to another roster as a whole.
 *
 * What a stream's packets are sent to, its receivers, is an immutable generation that is replaced
 * as a whole. A change only marks the stream; nat_roster_settle_some, called at the quiescent point after
 * each batch, when no packet is under way, builds the new generation and frees the old one, and
 * sessions that left, with it. A lock around a shared list was refused: it would be taken for every
 * packet. */

#include "natproto/missing.h"
#include "natproto/negotiation.h"
#include "natproto/srtcp.h"
#include "natproto/stunauth.h"
#include "natproto/ticket.h"
#include "natserver/counters.h"
#include "natserver/data/arrival.h"
#include "natserver/data/audience.h"
#include "natserver/data/heirloom.h"
#include "natserver/data/endedset.h"
#include "natserver/data/fairness.h"
#include "natserver/data/limiter.h"
#include "natserver/data/meter.h"
#include "natserver/data/reception.h"
#include "natserver/data/roundtrip.h"
#include "natserver/data/silence.h"
#include "natserver/data/ssrcfilter.h"
#include "natserver/data/table.h"
#include "natserver/data/udpio.h"
#include "natserver/data/verify.h"

G_BEGIN_DECLS

typedef struct _NatRoster NatRoster;
typedef struct _NatDataSession NatDataSession;
typedef struct _NatDataStream NatDataStream;
typedef struct _NatDataEnded NatDataEnded;
typedef struct _NatRepairQuota NatRepairQuota;
typedef struct _NatRoom NatRoom;
typedef struct _NatTaste NatTaste;

#define NAT_PATHS_MAX 4
/* Bytes of a compound: a sender report, and a name of 60 characters. */
#define NAT_TRACK_REPORT_MAX 100

/* Dormant sessions at a time, some 200 MB; less where memory is. They are not control's any more, so its limits do not hold
 * them: whoever registers and leaves again and again would fill the memory. */
#define NAT_DORMANT_MAX 65536

/* 72 bytes, of its own so that its key stays where it is. What a message to it looks like is made
 * when one is sent (nat_roster_dest): receivers have theirs ready, the rest is rare. */
typedef struct _NatPath NatPath;
struct _NatPath {
  NatPathKey key; /* first: what nat_table_find gives is a NatPath */
  NatDataSession *session;
  NatPath *next;   /* of the session */
  gint64 valid_us; /* last valid Binding */
  guint32 scope;   /* as of NatUdpSource */
  guint8 socket;
  guint8 heard;       /* the worker whose socket hears it */
  guint8 many_locals; /* the socket has many addresses: a message names its own */
  guint8 apart : 6;   /* as of NatUdpDest, which finds it out */
};

typedef enum {
  NAT_DATA_EXPECTED, /* control made it, no Binding yet */
  NAT_DATA_REGISTERED,
  /* Consent ran out. Its ticket can revive it, and then SRTCP must go on where it was: the same boot id and
   * epoch give the same keys, and an index that came twice would break them. So it is kept until its
   * ticket has run out, without paths. */
  NAT_DATA_DORMANT,
} NatDataState;

/* The last characters of a username hold most of its ticket's tag. */
#define NAT_USERNAME_TAIL 16

/* Bytes on 64-bit, with the allocator's own: session 256, path 80, its place in the receivers 88, in the
 * tables of paths and ids about 80: 500 for a mapping (tests/check/server/roster.c measures it), and a
 * route of 114 at the worker that hears it, if that is not the owner. Besides, the
 * counters (192, which control and observers share), and once RTCP came or went two SRTCP contexts (848
 * each, GnuTLS's handle included). */
struct _NatDataSession {
  guint8 id[NAT_SESSION_ID_SIZE];
  NatDataStream *stream;
  NatDataSession *next,
      *prev; /* in the stream's list; next also in the roster's list of the retired */
  NatSessionCounters *counters; /* a reference */
  guint8 role;                  /* NatRole */
  guint8 state;                 /* NatDataState */
  guint8 has_epoch : 1;
  guint8 told_silent : 1;     /* like told_mapped */
  guint8 governed : 1;        /* its limits are control's, not a ticket's */
  guint8 has_claim : 1;       /* its budget heard of one */
  guint8 wants_headstart : 1; /* and had none yet */
  guint8 has_headstart : 1;   /* perhaps: headstart.c has a record of it */
  guint8 changed : 1;         /* room.c has it among those that did */
  NatAudienceMember member;   /* of the stream's audience */
  guint16 username_len;       /* 0 = none yet */
  guint32 password_secret;
  guint index; /* in the roster's array of live or of dormant ones */

  gint64 expires_s; /* Unix time: end of its newest ticket */
  union {
    NatBudget *budget; /* of a publisher: what it may send */
    NatTaste *taste;   /* of a pattern's subscriber: room.h's; of others NULL */
  };
  NatRepairQuota *repairs; /* made with its first NACK */

  /* Credentials that were right last time: saves opening the ticket and deriving the key, which
   * is bound to the whole username. */
  char username_tail[NAT_USERNAME_TAIL];
  guint8 key[NAT_STUN_KEY_SIZE];
  gint64 username_expires_s;

  NatPath *paths;      /* NAT_PATHS_MAX at most */
  NatPath *selected;   /* NULL = none */
  gint64 nonce_us;     /* latest nonce of an accepted Binding */
  gint64 selection_us; /* nonce of the last accepted selection */
  gint64 binding_us;   /* last valid Binding */
  gint64 active_us;    /* last valid datagram */

  /* The contexts of this epoch, made when the first RTCP comes or goes. Never a second of either for one
   * epoch, so they go where the session goes. */
  guint8 epoch[NAT_EPOCH_SIZE];
  NatSrtcp *from_client, *to_client;

  /* What control was told last: events are posted when the facts differ from it. */
  NatAddress told_mapped;
};
G_STATIC_ASSERT (sizeof (gpointer) != 8 || sizeof (NatDataSession) <= 248);
G_STATIC_ASSERT (sizeof (gpointer) != 8 || sizeof (NatPath) <= 72);

typedef struct {
  NatTrack info;
  NatRank rank;
  NatReception reception;
  NatArrivals *arrivals;   /* NULL: the publisher did not ask for them */
  gint64 picture_us;       /* when the last PLI for it went to the publisher; 0 = never */
  gboolean picture_wanted; /* asked for, not sent yet */
  NatMissing missing;      /* its memory is the track's */
  guint64 given_up;        /* of missing.lost, as counted for the publisher */
  guint64 lost_counted;    /* of reception, the same */
  NatSilence silence;
  NatHistorySource *kept; /* the stream's history owns it */
  gboolean obeys;         /* its last picture came soon after one was asked for */
  /* The last sender report, as it went to the subscribers. */
  gint64 report_us;
  guint16 report_len; /* 0 = none */
  guint8 report[NAT_TRACK_REPORT_MAX];
} NatDataTrack;

typedef struct {
  NatUdpDest dest;
  NatDataSession *session;
  NatSessionCounters *counters;
} NatReceiver;

typedef struct _NatReceivers NatReceivers;
struct _NatReceivers {
  NatReceivers *next; /* once retired */
  guint n;
  NatReceiver list[]; /* neighbours share a socket where they can */
};

struct _NatDataStream {
  char *name;
  NatDataSession *sessions; /* dormant ones included */
  gint64 empty_us;          /* since when there are none */
  guint n_forgotten;        /* those of whom the roster knows the id alone */

  guint32 version; /* 0: control has not said anything yet */
  guint n_tracks;
  NatDataTrack *tracks;
  gboolean has_publisher;
  guint8 publisher_id[NAT_SESSION_ID_SIZE];
  gboolean untold; /* its sessions have still to hear of that version, when tell_us has come */
  gint64 tell_us;
  NatDataSession *publisher; /* the session of that id, while there is one and it is not dormant */
  NatVerifier *verifier;     /* of its packets; NULL: they are not verified */

  /* room.h's. */
  NatRoom *room;    /* its name is a pattern; else NULL */
  GPtrArray *rooms; /* NatDataStream: patterns that match it; NULL = none so far */
  GHashTable
      *guests;     /* NatDataSession: receivers that subscribe to a pattern; NULL = none so far */
  guint64 hash;    /* of its name */
  guint64 subject; /* of its publisher's token; 0 = unnamed */
  gint64 since_us; /* when this publisher came; 0 = none so far */

  NatAudienceCounts *audience; /* NULL: nobody came yet */
  NatReceivers *receivers;     /* never NULL */
  guint turn;       /* who is served first: moves on, so that a full buffer hits all alike */
  gboolean stale;   /* receivers are to be rebuilt, */
  gboolean recount; /* and all guests looked at, not only those that changed */
  NatDataStream *next_stale; /* also in the mesh's list of those that change owners */

  guint32 relay_ssrc; /* of what the relay itself says */
  char cname[32];
  gboolean active; /* in the roster's queue of streams with timers */
  GList active_link;
  gboolean rtp_arrived; /* since the last receiver report */
  gint64 report_us;     /* when that was sent */
  gint64 ccfb_us;       /* when congestion control feedback was */
  gint64 over_us;       /* when a packet was beyond a limit; 0 = never */
  NatMeter meter;       /* of what comes in, whoever publishes */
  NatLimiter reports;   /* the publisher's, to the receivers */
  gint64 asking_us;     /* until then all NACKs to the publisher are paid for */
  NatShare share;       /* of the worker */

  /* Another worker hears the publisher: which, since when; 0 = the owner hears it. */
  gint64 steered_us;
  guint steered_to;
  gint64 moved_us; /* when it last changed owners; 0 = never */
  gint home;       /* with several workers: where it must be, -1 = anywhere; */
  guint homes;     /* as it was when nat_mesh_homes said this */

  NatHistory history;
  NatRoundTrip round_trip; /* to the publisher and back */
  guint64 bytes;           /* of RTP since rate_us */
  gint64 rate_us, rate;    /* when the rate was measured; bytes per second */

  /* While it is between two rosters. */
  NatDataEnded *forgotten;
  NatHeirloom *heirloom; /* NULL: its history stayed behind */

  /* Jobs of the batch under way, as indices of forward.c; -1 = none. */
  gint jobs[NAT_RANKS];
};

struct _NatRoster {
  NatTable *paths;      /* NatPath by NatPathKey */
  GHashTable *sessions; /* NatDataSession by id */
  GHashTable *streams;  /* NatDataStream by name */
  NatEndedSet *ended;   /* what ended before its tickets did */
  /* The same, but dormant sessions that were one too many: known to their stream's owner only. They go with it, and it
   * stays while they do. */
  GHashTable *forgotten;
  GHashTable *ssrcs; /* announced SSRC -> number of streams that announce it */
  GHashTable
      *sources; /* SSRC -> NatDataStream: of those in this roster, who was described with it last */
  GPtrArray *patterns; /* NatDataStream, those whose names are */
  GPtrArray *live;     /* NatDataSession, not dormant, in no order */
  GPtrArray *dormant;
  guint dormant_max;
  guint prune_live, prune_dormant; /* where in them pruning goes on */
  guint forget;                    /* where the next of the dormant goes that are one too many */
  GQueue active;                   /* NatDataStream */
  NatHistoryPool *pool;            /* of the streams' histories; NULL = keep none */
  NatMeters *meters;               /* of what publishers may send; a reference, never NULL */
  NatSsrcFilter *all_ssrcs;        /* of all workers; NULL = this one is alone */
  /* Asked before a stream that has no sessions is forgotten; NULL = yes. */
  gboolean (*may_forget) (gpointer user, const char *name);
  gpointer user;
  NatDataStream *stale, *last_stale; /* who waits longest first */
  NatReceivers *retired_receivers;
  NatDataSession *retired_sessions;
  guint n_waiting;        /* of these */
  gboolean rooms_changed; /* or some of their sessions, since all was settled */
  guint n_built;          /* lists of receivers, ever */
  gint64 paid_us; /* until then all of those that were built are paid for; the next waits for it */
};

NatRoster *nat_roster_new (void);
void nat_roster_free (NatRoster *r);
/* Those that it shares with other rosters, in place of its own. Before the first session. */
void nat_roster_share_meters (NatRoster *r, NatMeters *meters);

/* ---- Sessions ---- */
NatDataSession *nat_roster_find (NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE]);
/* The id must be new. Takes a reference to counters. */
NatDataSession *nat_roster_add (
    NatRoster *r, const NatTicket *ticket, NatSessionCounters *counters, gint64 now_us);
/* A ticket that the client showed: adopts a later end, and its limits unless control said others. */
void nat_roster_renew (NatDataSession *s, const NatTicket *ticket);
/* What control says of a session holds at once, and whatever older tickets say. */
void nat_roster_govern (NatDataSession *s, const NatTicket *ticket);
/* Dormant. If too many are, another is ended as expired, so that its client negotiates anew; it is freed at the next
 * settle. */
void nat_roster_sleep (NatRoster *r, NatDataSession *s, gint64 now_us);
void nat_roster_wake (NatRoster *r, NatDataSession *s);
/* Freed at the next settle. */
void nat_roster_remove (NatRoster *r, NatDataSession *s, gint64 now_us);
/* Replaces the credentials that were right last time. */
gboolean nat_roster_remembers (const NatDataSession *s, const NatStunSlice *username);
void nat_roster_remember (NatDataSession *s, const NatStunSlice *username, gint64 expires_s,
    const guint8 key[NAT_STUN_KEY_SIZE]);

/* ---- Paths ---- */
NatPath *nat_roster_find_path (NatRoster *r, const NatPathKey *key);
/* The session's path with this source; a new one replaces its oldest that is not selected, and takes the
 * address from any session that had it before. */
NatPath *nat_roster_validate_path (
    NatRoster *r, NatDataSession *s, const NatUdpSource *source, const NatUdpio *io, gint64 now_us);
void nat_roster_drop_path (NatRoster *r, NatPath *path); /* frees it */
/* What to send to it looks like. */
void nat_roster_dest (const NatPath *path, NatUdpDest *dest);
void nat_roster_select (NatRoster *r, NatPath *path);

/* ---- Streams ---- */
/* Makes it if there is none. */
NatDataStream *nat_roster_stream (NatRoster *r, const char *name, gint64 now_us);
NatDataTrack *nat_roster_track (const NatDataStream *stream, guint32 ssrc);
/* Tracks whose SSRC stays keep their counts, unless the publisher is another one. */
void nat_roster_describe (NatRoster *r, NatDataStream *stream, const NatTracks *tracks);
void nat_roster_set_publisher (
    NatRoster *r, NatDataStream *stream, const guint8 id[NAT_SESSION_ID_SIZE]);
gboolean nat_roster_ssrc_announced (NatRoster *r, guint32 ssrc);
gboolean nat_roster_has_stream (NatRoster *r, const char *name);
/* Takes the stream out with all that belongs to it, as it is, for another roster; only its history stays
 * behind, as memory of this one's pool, but for what is in the heirloom. Quiescent. */
void nat_roster_detach (NatRoster *r, NatDataStream *stream);
/* Where two claim one address, the path that was valid last stays. */
void nat_roster_attach (NatRoster *r, NatDataStream *stream);
/* Puts the stream into the queue of those that have timers. */
void nat_roster_activate (NatRoster *r, NatDataStream *stream);
void nat_roster_deactivate (NatRoster *r, NatDataStream *stream);

/* Its receivers are built anew by the next settle. */
void nat_roster_mark_stale (NatRoster *r, NatDataStream *stream);

/* ---- Ended ids ---- */
void nat_roster_end (
    NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE], NatReason reason, gint64 until_s);
/* NAT_REASON_NONE: it has not ended. */
NatReason nat_roster_ended (NatRoster *r, const guint8 id[NAT_SESSION_ID_SIZE]);

/* Quiescent point: no packet is under way. */
void nat_roster_settle (NatRoster *r);
/* The same, but lists of not many more than so many receivers, and none before those of before are paid for (paid_us). If one is
 * left to be built, stale says so. */
#define NAT_SETTLE_SOME 4096
void nat_roster_settle_some (NatRoster *r, gint64 now_us);
void nat_data_session_free (NatDataSession *s); /* in no roster any more */
/* Forgets sessions without a client whose ticket is over. Looks at one in share of all, and goes on there at
 * the next call. */
void nat_roster_prune_sessions (NatRoster *r, guint share, gint64 now_us, gint64 now_s);
/* Forgets the rest of what has run out: ended ids, and streams that have had no session for two minutes, and of which none
 * is forgotten. */
void nat_roster_prune (NatRoster *r, gint64 now_us, gint64 now_s);

G_END_DECLS
