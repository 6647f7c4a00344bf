/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A relay address that may answer: the arbitrary word that it last gave us, the requests that are under way to it,
 * and how a request is written and its success read. When one is sent is the prober's business. No socket, thread or clock. */

#include <glib.h>
#include "natproto/address.h"
#include "natproto/messages.h"
#include "natproto/stun.h"
#include "natproto/stunauth.h"

G_BEGIN_DECLS

#define NAT_CANDIDATE_REQUEST_MAX  1280 /* bytes, what every path takes */
#define NAT_CANDIDATE_NONCE_MAX    160  /* bytes of NONCE and of PASSWORD-ALGORITHMS that we keep */
#define NAT_CANDIDATE_TRANSACTIONS 16   /* probes under way: 4 s of round trip at 250 ms */

typedef struct {
  guint8 id[12];
  gint64 sent_us; /* first transmission; 0 = slot is free */
  gboolean done;  /* answered; what comes after is the answer to a repetition */
  gboolean authenticated;
  gboolean answer;   /* sent at once for a challenge: its nonce is fresh */
  gboolean repeated; /* its round trip tells nothing (Karn) */
  guint size;        /* bytes, of one that tries how large a datagram may be; 0 = none such */
  guint nonce_serial;
} NatTransaction;

typedef struct {
  NatAddress relay; /* all zero: the place is free */
  gint64 begin_us;  /* when its (next) first request goes; G_MAXINT64 = not */
  gint64 resend_us; /* G_MAXINT64 = nothing to repeat */
  guint sends;
  guint8 request[NAT_CANDIDATE_REQUEST_MAX]; /* kept for repetitions */
  gsize request_len;
  NatTransaction *current; /* of request */

  guint nonce_serial; /* 0 = no nonce */
  guint8 nonce[NAT_CANDIDATE_NONCE_MAX], algorithms[NAT_CANDIDATE_NONCE_MAX];
  guint16 nonce_len, algorithms_len;
  guint answers;    /* in a row, without success */
  guint refusals;   /* 401s to fresh answers, in a row */
  gboolean asked;   /* not selected, but it may become so: its challenge is answered */
  gboolean disowns; /* it is another relay's address, or that of one that lost its secrets */

  NatTransaction ring[NAT_CANDIDATE_TRANSACTIONS];
  guint next;
} NatCandidate;

/* What a request says of us. */
typedef struct {
  char *username;
  char realm[32];
  guint8 key[NAT_STUN_KEY_SIZE];
  const guint8 *epoch; /* NAT_EPOCH_SIZE bytes that others keep, and may change */
} NatLogin;

gboolean nat_candidate_is_free (const NatCandidate *c);
gboolean nat_candidate_is_stream (const NatCandidate *c); /* the WebSocket */
/* Of n in a row: the one of that address, or NULL; and a free place, which may make it one more, or NULL. */
NatCandidate *nat_candidate_at (const NatCandidate *row, guint n, const NatAddress *relay);
NatCandidate *nat_candidate_free_place (NatCandidate *row, guint *n, guint max);
guint nat_candidate_n_udp (const NatCandidate *row, guint n);
gboolean nat_candidate_has_stream (const NatCandidate *row, guint n);
/* Nothing is sent there until the prober says so. */
void nat_candidate_quiet (NatCandidate *c);
/* And nothing is known of it but its address. */
void nat_candidate_forget (NatCandidate *c);

/* A transaction without an id, which the caller draws. */
NatTransaction *nat_candidate_next (NatCandidate *c, gint64 now_us);
NatTransaction *nat_candidate_find (NatCandidate *c, const guint8 id[12]);
/* The request of t: with the nonce that there is, or else without credentials. size: bytes that it has at
 * least, if that is more than the shortest. Returns its length, 0 = cap is too small. */
gsize nat_candidate_write (const NatCandidate *c, const NatTransaction *t, const NatLogin *login,
    guint size, guint8 *out, gsize cap);
/* A success: FALSE if it is not from whoever knows our key, or does not say all that it must. */
gboolean nat_candidate_succeeded (const NatLogin *login, const NatStunMessage *msg,
    NatAddress *mapped, guint8 boot_id[NAT_BOOT_ID_SIZE], guint32 *version);
/* A 401 or 438. FALSE: it is not of our profile, or of another realm. */
gboolean nat_candidate_challenged (
    NatCandidate *c, const NatStunMessage *msg, const char *realm, guint serial);

G_END_DECLS
