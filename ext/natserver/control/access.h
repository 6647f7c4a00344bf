/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* The questions of a request, who asks and whether he may, put to all that can answer: what the relay knows by itself
 * (auth.h), keys that are still to be fetched (jwksurl.h), and the callback (callback.h). Some need an
 * answer from elsewhere: then the request waits, and is looked at from the beginning when it is there. */

#include "natserver/control/callback.h"
#include "natserver/control/http.h"
#include "natserver/control/jwksurl.h"

G_BEGIN_DECLS

typedef struct {
  NatAuth *auth;
  NatJwksUrls *jwks;     /* NULL: there are none */
  NatCallback *callback; /* NULL: there is none */
} NatAccess;             /* all borrowed */

typedef struct {
  NatProblemKind problem; /* NONE: yes, unless wait is set */
  char *detail;           /* a new sentence, with a problem */
  gconstpointer wait;     /* not NULL: ask again when something came of this */
} NatVerdict;

/* Fills *caller if there is no problem. now_us is monotonic. */
NatVerdict nat_access_who (const NatAccess *a, const NatHttpRequest *request, gint64 now_us,
    gint64 now_s, NatCaller *caller);
/* Whether the callback allows it; of a caller whose token we do not know it also says who he is. *until_us: how long that
 * holds; 0: there is no callback. */
NatVerdict nat_access_decide (const NatAccess *a, const NatHttpRequest *request, gint64 now_us,
    NatCaller *caller, const char *action, const char *stream, gint64 *until_us);

G_END_DECLS
