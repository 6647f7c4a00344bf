/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How much anybody may ask for: how often an address and a token subject may POST, and how many sessions and streams may be
 * at a time in all, per token subject and per address. The limits for an hour, a ticket's life, bound what sessions
 * leave behind when they end before their tickets: at most two and a half times as many ids for an
 * address or a subject (data/endedset.h keeps one for up to an hour and a half).
 *
 * Whoever is refused hears the name of the limit, which is an option's. */

#include <glib.h>
#include "natproto/address.h"
#include "natproto/messages.h"
#include "natserver/control/problem.h"

G_BEGIN_DECLS

typedef struct {
  guint requests_per_second; /* per address, sustained; 0 = no limit, as for all of these */
  guint requests_burst;      /* per address, at once */
  guint requests_per_hour;   /* per address, sustained and at once; not without the first */
  guint sessions;            /* in all */
  guint sessions_per_subject;
  guint sessions_per_address;
  guint requests_per_hour_per_subject;
  guint streams; /* that are published */
  guint streams_per_subject;
  guint streams_per_address;
  guint subscribers_per_stream; /* these three are the registry's to see to */
  guint patterns;
  guint patterns_per_stream;
} NatAdmissionLimits;

/* Buckets for addresses, and as many for subjects; the longest unused one makes room. */
#define NAT_ADMISSION_ADDRESSES_MAX 65536

typedef struct _NatAdmission NatAdmission;
NatAdmission *nat_admission_new (const NatAdmissionLimits *limits);
void nat_admission_free (NatAdmission *a);
/* From now on; sessions that are there stay, be they too many by it. */
void nat_admission_set_limits (NatAdmission *a, const NatAdmissionLimits *limits);

const NatAdmissionLimits *nat_admission_limits (const NatAdmission *a);

/* One token out of the address's bucket. FALSE: none is left before *retry_s seconds. */
gboolean nat_admission_take (
    NatAdmission *a, const NatAddress *peer, gint64 now_us, guint *retry_s);
/* The same for the subject; "" is nobody, and has no limit. */
gboolean nat_admission_take_subject (
    NatAdmission *a, const char *subject, gint64 now_us, guint *retry_s);

typedef struct {
  const NatAddress *
      peer; /* NULL: not known (it came back by its ticket); it is counted without a limit, since it
                           * was let in before */
  const char *subject;
  NatRole role;
} NatEntrant;

/* Counts a session, and a publisher's stream. NAT_PROBLEM_NONE, or why not, and then *limit is an option's name. */
NatProblemKind nat_admission_enter (NatAdmission *a, const NatEntrant *who, const char **limit);
void nat_admission_leave (NatAdmission *a, const NatEntrant *who);

G_END_DECLS
