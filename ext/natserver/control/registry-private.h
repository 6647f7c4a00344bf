/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The inside of the registry, for its files: registry.c (sessions, what requests and the data plane do), registrystream.c (a
 * stream's publisher and document), rooms.c (what streams have to do with each other), revocation.c (who may no longer),
 * registrymeasure.c (what passes), registrysurvey.c and registrysnapshot.c (for observers). */

#include "natserver/control/registry.h"

G_BEGIN_DECLS

/* Sums of counters at one moment: bytes and packets, in: from publishers, out: to subscribers. */
typedef struct {
  guint64 bytes_in, bytes_out, in, out;
  guint64 lost;   /* of publishers' packets, missing now */
  guint64 missed; /* the same and those that were repaired */
  guint64 asked;  /* packets that subscribers asked for again */
  guint64 again;  /* those that they got again, part of out */
} NatMeasured;

/* In a row, whose head waits longest to be measured. */
typedef struct {
  GList link;     /* first; its data is who is measured */
  guint64 number; /* of the measure that was the last, or under way when it came */
} NatMeasurePlace;

/* In an order that observers see. */
typedef struct {
  GSequenceIter *iter;
  guint64 number; /* of the survey that counted it, or that was the last when it came */
} NatSurveyPlace;

typedef struct {
  char *name;
  gboolean is_pattern; /* no stream: all that its name matches */
  guint32 version;
  NatPublisherState state;
  NatRegistered *publisher;                 /* NULL unless live */
  guint8 publisher_id[NAT_SESSION_ID_SIZE]; /* whose the description is */
  char subject[NAT_SUBJECT_MAX + 1];        /* his */
  guint64 since; /* counts publishers of all streams: when this one came */
  NatDescription description;
  NatTracks tracks;
  gboolean described; /* description and tracks are set */
  gboolean
      unknown; /* came back by tickets: clients know more than we do; version 0 in the data plane */
  gboolean untold; /* the data plane's ring was full: tell it again */
  gboolean over;   /* in grace: the publisher left with "ended" */
  gboolean left;   /* in grace: he said so himself, he was not just lost */
  gint64 grace_until_us;
  guint sessions, subscribers;
  gint64 since_s;      /* Unix time: when its publisher came */
  guint meets;         /* of a pattern: others that can match what it matches */
  GHashTable *members; /* of a pattern: NatStream that it matches, a set; else NULL */
  NatSessionCounters *past;
  NatSurveyPlace survey;
  NatStreamSnapshot *row; /* in the survey that counted it; NULL: it has none */
  NatMeasurePlace measure;
  NatMeasured measured,
      live; /* all its sessions, at the last measure; while one is made, those that live and were measured */
  guint64 loss_ppm,
      served; /* while one is made: the sum of receivers' losses, and how many there are */
  NatFlow flow;
  NatTrend *trend; /* NULL: none is kept */
} NatStream;

struct _NatRegistered {
  NatTicket ticket;
  NatStream *stream;
  char *exclude; /* of a pattern: the stream that it does not want; NULL = none */
  NatSessionCounters *counters;
  NatAddress peer, mapped;
  gboolean has_peer; /* came by POST: counted for its address */
  gboolean registered;
  gint64 recheck_us;    /* when the access callback is asked again, if there is one */
  gint64 unanswered_us; /* since when it does not answer; 0 = it did */
  gint64 created_us, created_s;
  gint64 usernames_until_s; /* the last of those that it was given is good */
  GList in_turn;            /* in the registry's, of which it is the data */
  guint64 looked_at;        /* in which round; when it came, in that one */
  NatSurveyPlace survey;
  NatMeasurePlace measure;
  NatMeasured measured; /* at the last measure */
  NatFlow flow;
};

struct _NatRegistry {
  NatRegistryConfig config;
  char boot_id[2 * NAT_BOOT_ID_SIZE + 1];
  GHashTable *streams;   /* name -> NatStream */
  GPtrArray *patterns;   /* those of them that are */
  GHashTable *ssrcs;     /* announced SSRC -> NatStream */
  guint64 publishers;    /* that there were */
  GHashTable *sessions;  /* id -> NatRegistered */
  GQueue in_turn;        /* of NatRegistered, from who was looked at longest ago on */
  guint64 round;         /* of looks at all of them; 0 before the first */
  guint64 judging;       /* the round since which what vouches for sessions is as it is now */
  guint revoked;         /* since then */
  gboolean streams_wait; /* for a look at all of them */
  GArray *unsaid;        /* NatEnded that found the ring full */
  guint said;            /* of these, from the first on */
  guint32
      version_floor; /* versions of streams that are forgotten: never used again in this start */
  NatSessionCounters *past;
  GSequence *streams_in_order, *sessions_in_order; /* by name; by stream, role and id */
  GSequenceIter *recheck_at; /* in these, whom recheck.c looks at next; NULL: at nobody */
  NatSurvey *survey;         /* that is under way; NULL: none is */
  guint64 surveys;           /* counts those that were begun */
  GQueue sessions_to_measure, streams_to_measure; /* of NatMeasurePlace */
  guint64 measuring;                              /* counts measures that were begun */
  gint64 measured_us;                             /* when the last one was; 0 = never */
  gint64 measure_us;                              /* how long before that the one before was */
  guint64 trend_tick;                             /* counts those that are over */
  guint n_trends;
};

/* registrystream.c */

NatStream *nat_registry_stream_get (NatRegistry *r, const char *name); /* makes it */
void nat_registry_stream_free (gpointer stream);
/* Nobody is there, and no place is kept. */
void nat_registry_stream_forget_if_idle (NatRegistry *r, NatStream *stream);
/* Its document, to the data plane, as it is. */
void nat_registry_stream_tell (NatRegistry *r, NatStream *stream);
/* Gives it a new version, and tells that. */
void nat_registry_changed (NatRegistry *r, NatStream *stream);
/* description is taken over, and zeroed. */
void nat_registry_stream_describe (
    NatRegistry *r, NatStream *stream, NatDescription *description, const NatTracks *tracks);
void nat_registry_stream_undescribe (NatRegistry *r, NatStream *stream);
void nat_registry_stream_set_publisher (NatRegistry *r, NatStream *stream, NatRegistered *session);
/* The publisher's place is kept for a while. over: he left with "ended". */
void nat_registry_stream_enter_grace (
    NatRegistry *r, NatStream *stream, NatTime now, gboolean over);
void nat_registry_stream_end_grace (NatRegistry *r, NatStream *stream);
/* To the log. what: as in "stream NAME is live". */
void nat_registry_say (
    GLogLevelFlags level, const NatRegistered *session, const char *event, const char *what);

/* registry.c. Begins a round of looks at all sessions. Where one is under way they are merged: those that it did not come to
 * yet are first. */
void nat_registry_look_anew (NatRegistry *r);
/* The data plane, and the state directory, shall know that this session is over. usernames_until_s: how long those are good
 * that it was given, as far as that is known. */
void nat_registry_say_ended (NatRegistry *r, NatTime now, const guint8 id[NAT_SESSION_ID_SIZE],
    NatReason reason, gint64 usernames_until_s);

/* revocation.c */

/* Ends it for a reason that was not its client's, with a line in the log. */
void nat_registry_put_out (
    NatRegistry *r, NatTime now, NatRegistered *session, NatReason reason, const char *why);
/* Ends it if nothing vouches for it any more, and brings its end forward if need be. TRUE: it is gone. */
gboolean nat_registry_judge (NatRegistry *r, NatTime now, NatRegistered *session);
/* All were judged. */
void nat_registry_judged (NatRegistry *r);
/* Whether a session that comes back by its ticket still may; its end is brought forward if need be. If not, all that
 * should know it is told. */
gboolean nat_registry_may_return (NatRegistry *r, NatTime now, NatTicket *ticket);

/* registrymeasure.c */

/* A session begins with what its counters say: it may have come back. */
void nat_registry_measure_from (NatRegistry *r, NatRegistered *session);
/* It goes, and its counters are added to its stream's past. */
void nat_registry_measure_leave (NatRegistry *r, NatRegistered *session);
/* A stream is new, and goes. */
void nat_registry_measure_stream (NatRegistry *r, NatStream *stream);
void nat_registry_measure_no_more (NatRegistry *r, NatStream *stream);
/* Often enough; it looks itself whether it is time to begin. */
void nat_registry_measure (NatRegistry *r, NatTime now);
/* As many as may be at once. TRUE: some wait. */
gboolean nat_registry_measure_on (NatRegistry *r);

/* registrysnapshot.c: what is told of them; *out is zeroed before. */

gint nat_registry_compare_streams (gconstpointer a, gconstpointer b, gpointer unused);
gint nat_registry_compare_sessions (gconstpointer a, gconstpointer b, gpointer unused);
/* All but its sums. */
NatStreamSnapshot *nat_registry_snapshot_stream (const NatStream *stream);

/* registrysurvey.c */

/* They come, and go. A session that goes is counted before the sums of its stream's past are others. */
void nat_registry_survey_stream (NatRegistry *r, NatStream *stream);
void nat_registry_survey_no_more (NatRegistry *r, NatStream *stream);
void nat_registry_survey_session (NatRegistry *r, NatRegistered *session);
void nat_registry_survey_leave (NatRegistry *r, NatRegistered *session);
/* Is counted now, if it was not yet: what it has will be another's. */
void nat_registry_survey_count (NatRegistry *r, NatRegistered *session);
void nat_registry_survey_count_stream (NatRegistry *r, NatStream *stream);

/* registrylimits.c */

#define NAT_SESSION_BYTES 4096 /* that a session takes at once, about */
#define NAT_TRACK_LATER                                                                            \
  (20 * 1024) /* and a track later: the list of what is missing of it, most of all */
/* What the session may come to take beyond that. */
gint64 nat_registry_later (const NatRegistered *session);
guint64 nat_registry_bytes (const NatAsk *ask, NatRole role); /* all that a new one may */
/* Returns problem, and tells who asked the limit's name. */
NatProblemKind nat_registry_refuse (const NatAsk *ask, const char *limit, NatProblemKind problem);
/* One subscriber more of that stream, or one pattern more. */
NatProblemKind nat_registry_check_stream (NatRegistry *r, const NatAsk *ask);

/* rooms.c */

/* What the stream's document says is another, or it is gone: so are those of the patterns that match it. */
void nat_rooms_changed (NatRegistry *r, const NatStream *stream);
/* The stream or pattern is new, and goes. */
void nat_rooms_enter (NatRegistry *r, NatStream *stream);
void nat_rooms_leave (NatRegistry *r, NatStream *stream);
/* The name of the limit that one more pattern would break; NULL: none. */
const char *nat_rooms_limit (NatRegistry *r, const char *pattern, NatProblemKind *problem);
/* Into the document of a pattern's session. */
void nat_rooms_fill (const NatRegistered *session, NatSessionDocument *out);
/* Another stream announces one of these SSRCs. */
gboolean nat_rooms_ssrc_in_use (NatRegistry *r, const char *stream, const NatTracks *tracks);
/* The stream announces its tracks' SSRCs, or does so no more. */
void nat_rooms_claim (NatRegistry *r, NatStream *stream);
void nat_rooms_release (NatRegistry *r, NatStream *stream);

G_END_DECLS
