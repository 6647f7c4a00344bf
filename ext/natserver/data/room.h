/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Rooms: subscribers of a pattern ("room/\*"), who get every stream that it matches (docs/design/rooms.md). In a
 * roster a pattern is a stream without a publisher. It is tied to the streams that it matches, in the same roster, and
 * those have its subscribers among their receivers: guests. A packet is forwarded as ever; all here happens when
 * somebody comes or goes, and when RTCP does. */

#include "natserver/data/roster.h"

G_BEGIN_DECLS

/* ---- Ties ---- */

/* The stream or pattern is new in the roster, or is described for the first time: tied to what is there. */
void nat_room_enter (NatRoster *r, NatDataStream *stream);
/* It goes. Nobody's receivers are up to date before the next settle. */
void nat_room_leave (NatRoster *r, NatDataStream *stream);
void nat_room_free (NatDataStream *stream);
/* A pattern's: what it gives changed, or may have. Marks all of that as stale. */
void nat_room_changed (NatRoster *r, NatDataStream *pattern);
/* One of its sessions can be sent to, or not any more, or elsewhere. */
void nat_room_session_changed (NatRoster *r, NatDataSession *s);
/* All that was stale was built. */
void nat_rooms_settled (NatRoster *r);
/* Another publisher, or none. */
void nat_room_published (NatRoster *r, NatDataStream *stream);

/* ---- Tastes ---- */

guint64 nat_room_name_hash (const char *name);
/* 0: the token names nobody, and may be in many hands. */
guint64 nat_room_subject_hash (const char *subject);
/* A session of the pattern was added. Streams of the same token subject are not given to it. */
void nat_room_add_session (NatDataSession *s, const char *subject);
/* The stream whose name has that hash is not given to it; 0 = none. */
void nat_room_set_exclude (NatDataSession *s, guint64 exclude);

/* ---- Who gets what ---- */

typedef void (*NatRoomVisit) (NatDataSession *s, gpointer user);
/* All sessions that the stream is sent to, its own first. */
void nat_room_visit_receivers (const NatDataStream *stream, NatRoomVisit visit, gpointer user);
/* Brings the audience that the publisher is told of in step. After the receivers were built. */
void nat_room_count_guests (NatDataStream *stream);
/* What the session is counted as in the stream's audience; NULL: it is none of it. */
NatAudienceMember *nat_room_member (NatDataStream *stream, NatDataSession *s);

/* The n-th stream that the session gets, from 0; NULL: there are no more. */
NatDataStream *nat_room_stream (const NatDataSession *s, guint n);
/* The track of that SSRC among all that the session gets, and its stream. */
NatDataTrack *nat_room_track (
    NatRoster *r, const NatDataSession *s, guint32 ssrc, NatDataStream **stream);
/* Bytes per second of all of them. */
gint64 nat_room_rate (const NatDataSession *s);

G_END_DECLS
