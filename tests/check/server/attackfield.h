/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A stream with a subscriber, and a stranger; what attacks on them have in common. */

#include "datarelay.h"

#define ATTACK_SIZE 200         /* bytes of an RTP packet here */
#define ATTACKER    0xbadbad01u /* the SSRC that an attacker calls its own */

typedef struct {
  DataRelay *r;
  NatTicket tp, ts;
  NatProbe *publisher, *subscriber, *stranger;
  NatSessionCounters *pc, *sc;
  guint16 seq;
} AttackField;

void attack_set_up (AttackField *f, gconstpointer unused);
void attack_tear_down (AttackField *f, gconstpointer unused);
/* The end of every attack: the stream goes where it went, and to nobody else. */
void attack_assert_nothing_moved (AttackField *f);
void attack_assert_no_rtp (NatProbe *p);
void attack_put_u16 (guint8 *p, gsize value);
void attack_put_u32 (guint8 *p, guint32 value);
void attack_send_rtp (NatProbe *p, guint32 ssrc, guint16 seq);
/* What somebody on the path has seen: a probe's next registration. request holds NAT_DATAGRAM_MAX. */
gsize attack_capture_registration (NatProbe *p, guint8 *request);
/* Compounds in clear; buf holds NAT_DATAGRAM_MAX. */
gsize attack_write_bye (guint8 *buf, guint32 ssrc);
gsize attack_write_nack (guint8 *buf, guint16 last); /* for all up to last, 1000 at most */

/* What a registration has that is not as RFC 8489 and the relay want it. */
typedef struct {
  const char *algorithms, *algorithm; /* four bytes each; NULL: the attribute is left out */
  const char *nonce;                  /* in front of the nonce's own; NULL: as it is */
  GChecksumType hash;
  guint16 attribute; /* of the integrity; 0: none */
  gsize mac;         /* bytes of it that are sent */
  gboolean select_behind;
} AttackBend;

extern const char attack_sha256[];       /* as a list of algorithms, and as one */
extern const AttackBend attack_straight; /* all as it should be */
/* A registration by whoever has p's key and nonce. */
gsize attack_write_bent (NatProbe *p, const AttackBend *bend, guint8 *buf);
