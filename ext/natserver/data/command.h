/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What control asks of a worker: posted by dataplane.c into the worker's ring, applied by the worker between two batches. What
 * a command was given belongs to whoever applies or clears it. */

#include "natserver/data/worker.h"

G_BEGIN_DECLS

#define NAT_COMMANDS 1024 /* that control may be ahead; a power of two */

typedef enum {
  NAT_COMMAND_ADD,
  NAT_COMMAND_RENEW,
  NAT_COMMAND_END,
  NAT_COMMAND_DESCRIBE,
  NAT_COMMAND_VERIFY,
} NatCommandType;

typedef struct {
  NatCommandType type;
  union {
    struct {
      NatTicket ticket;
      gboolean headstart;           /* ADD */
      guint64 exclude;              /* ADD: nat_room_name_hash of a stream; 0 = none */
      NatSessionCounters *counters; /* ADD: a reference, given */
    } session;
    struct {
      guint8 id[NAT_SESSION_ID_SIZE];
      NatReason reason; /* NONE: as ENDED */
      gint64 until_s;   /* Unix time: its last ticket's end, until when its id is remembered */
    } end;
    struct {
      char stream[NAT_STREAM_NAME_MAX + 1];
      gboolean has_tracks, has_publisher; /* tracks, publisher_id are set; else they stay */
      NatTracks tracks;
      guint32 version; /* of the description */
      guint8 publisher_id[NAT_SESSION_ID_SIZE];
    } describe;
    struct {
      char stream[NAT_STREAM_NAME_MAX + 1];
      NatVerifier *verifier; /* given; NULL: not verified */
    } verify;
  };
} NatCommand;

/* The worker's thread, or any while that does not run. Not while packets are under way. */
void nat_command_apply (NatWorker *w, const NatCommand *command);
/* Of one that nobody applies. */
void nat_command_clear (NatCommand *command);

G_END_DECLS
