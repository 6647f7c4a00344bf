/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A client as it is (session, prober, flow, sender), on a host of the world, without its thread and
 * without TLS; and above it what an element does with media: a publisher that sends a film and
 * answers NACK, or a subscriber that counts what comes and asks for what does not. */

#include "house.h"
#include "natclient/session-private.h"
#include "natproto/missing.h"

G_BEGIN_DECLS

#define CLIENT_SSRC   0x1234u
#define CLIENT_STREAM "door"
#define CLIENT_RING   512   /* packets that a publisher keeps */
#define FILM_MAX      32768 /* packets of a schedule; their numbers do not come round */

typedef struct _Client Client;
struct _Client {
  Host host; /* first */
  Link link;
  House *house;
  char name[8], subject[8];
  NatRole role;
  guint8 number;
  NatSessionConfig config;
  NatSession *session; /* NULL: not started */
  gboolean running;
  GPtrArray *requests; /* HTTPS under way */

  NatSessionState state;
  NatCauseKind cause;    /* of the last failure */
  gboolean told_to_fail; /* somebody's will ended it: it need not come back */
  guint states;          /* changes */

  /* The film. */
  gint64 gap;       /* between two bursts */
  gint64 next_us;   /* on the world's clock */
  gboolean silent;  /* the publisher pauses */
  gint64 heard_us;  /* subscriber: last packet; publisher: its last packet at the relay */
  gint64 worst_gap; /* since somebody cleared it */
  gint64 sent_us[CLIENT_RING]; /* by number: last */
  guint64 rtp_passed;          /* to the session, for sending */
  guint64 rtp_got, rtp_again;  /* from it; again: a number that was there before */
  guint8 *got;                 /* by number: times */
  guint8 *asked;               /* by number: NACKs for it */
  NatMissingPacket memory[256];
  NatMissing missing;
  NatSeqCounter counter;

  gint64 bindings[64], posts[16]; /* when the last were sent */
  guint n_bindings, n_posts;
};

void client_init (Client *c, House *house, guint8 number, NatRole role);
void client_clear (Client *c);
void client_start (Client *c);
void client_stop (Client *c, gboolean ended);
void client_kill (Client *c); /* without a word */
void client_set_token (Client *c, gint64 lifetime_s);
/* Its next burst, from where its film is. */
void client_send_film (Client *c);
/* What every arrow of the table was taken, by all clients so far: state * NAT_FSM_N_EVENTS + event. */
extern guint64 client_arrows[NAT_FSM_N_STATES * NAT_FSM_N_EVENTS];
/* The next number of the film, whoever sends it: one film for each schedule. */
extern guint16 film_next;

G_END_DECLS
