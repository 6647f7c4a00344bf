/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A look at the relay: what /metrics and the lists answer. That of many streams and sessions takes many turns of the main
 * loop, in each of which a bounded number is counted or written, however many look. The first is had at once, so that most
 * relays have answered then. */

#include "natserver/control/registry.h"

G_BEGIN_DECLS

typedef enum {
  NAT_LOOK_METRICS,
  NAT_LOOK_STREAMS,
  NAT_LOOK_SESSIONS,
} NatLookKind;

typedef struct {
  NatLookKind kind;
  guint samples;      /* of streams: of each trend, as many as there are */
  const char *stream; /* of sessions: of that stream alone; NULL = of all */
  guint from;         /* ... leaves out that many */
  gboolean whole_id;  /* ... see observe/listing.h */
} NatLookAsk;

/* Those that are not whole, taking turns. */
typedef struct _NatLooks NatLooks;
typedef struct _NatLook NatLook;

typedef struct {
  NatRegistry *registry;
  /* What the registry does not know; user is theirs. */
  void (*fill) (NatSnapshot *snapshot, gpointer user);
  /* The look is whole now. It may be freed in there. */
  void (*whole) (gconstpointer look, gpointer user);
  gpointer user;
} NatLooksConfig;

NatLooks *nat_looks_new (const NatLooksConfig *config);
/* None is left. */
void nat_looks_free (NatLooks *looks);

NatLook *nat_look_new (NatLooks *looks, NatTime now, const NatLookAsk *ask);
void nat_look_free (gpointer look); /* also in the middle */
gboolean nat_look_is_whole (const NatLook *look);
/* When it is whole. */
guint64 nat_look_tick (const NatLook *look); /* of the figures in it */
char *nat_look_take_text (NatLook *look);

G_END_DECLS
