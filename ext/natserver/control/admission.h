/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* How much anybody may ask for: how often an address may POST, and how many sessions may be at a time
 * in all, per token subject and per address. */

#include <glib.h>
#include "natproto/address.h"
#include "natserver/control/problem.h"

G_BEGIN_DECLS

typedef struct {
  guint requests_per_second; /* per address, sustained; 0 = no limit, as for all of these */
  guint requests_burst;      /* per address, at once */
  guint sessions;            /* in all */
  guint sessions_per_subject;
  guint sessions_per_address;
} NatAdmissionLimits;

#define NAT_ADMISSION_ADDRESSES_MAX 65536 /* buckets; the longest unused one makes room */

typedef struct _NatAdmission NatAdmission;
NatAdmission *nat_admission_new (const NatAdmissionLimits *limits);
void nat_admission_free (NatAdmission *a);

/* One token out of the address's bucket. FALSE: none is left before *retry_s seconds. */
gboolean nat_admission_take (
    NatAdmission *a, const NatAddress *peer, gint64 now_us, guint *retry_s);

/* Counts a session. peer NULL: its address is not known (it came back by its ticket); it is counted
 * without a limit, since it was let in before. NAT_PROBLEM_NONE, or why not. */
NatProblemKind nat_admission_enter (NatAdmission *a, const NatAddress *peer, const char *subject);
void nat_admission_leave (NatAdmission *a, const NatAddress *peer, const char *subject);

G_END_DECLS
