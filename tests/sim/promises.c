/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "promises.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/challenge.h"
#include "natproto/demux.h"
#include "natproto/rtp.h"
#include "natproto/stun.h"
#include "natserver/data/exchange.h"

/* Room for whatever one schedule can bring: who drives has to stop before. */
#define NONCES   4096
#define NAMES    512
#define CONTEXTS 512
#define PACKETS  65536
#define BATCH    4096

#define SCAN_US (600 * 1000) /* in which the relay looks at all its sessions once */

typedef struct {
  guint place;
  gint64 us;
  char text[NAT_NONCE_LEN + 1];
} Nonce;

typedef struct {
  SmallActor actor;
  guint generation;
  gint64 expires_s; /* Unix time */
  char text[NAT_TICKET_TEXT_MAX + 1];
  guint8 key[NAT_STUN_KEY_SIZE];
} Name;

typedef struct {
  SmallActor actor;
  NatSrtcp *from_relay;
} Context;

typedef struct {
  guint64 hash;
  gboolean of_a, of_b; /* streams that it may be of */
} Packet;

/* A request that was delivered and not answered yet. */
typedef struct {
  guint8 id[12];
  gsize len;
  gboolean answered;
  gboolean proves; /* by our books it is a right answer */
  gboolean selects;
  SmallActor actor;
} Asked;

typedef struct {
  gint place; /* -1: nothing arrived, time passes */
  gboolean stranger;
  gsize bytes_in, bytes_out;
  guint n_in, n_out;
  guint remembered;
  Asked asked[BATCH];
  guint n_asked;
} Delivery;

/* That an actor is at a place. With several workers a place may be several actors', of streams that different
 * workers own. */
typedef struct {
  gboolean given;
  gint64 us;
} Proof;

static Nonce nonces[NONCES];
static Name names[NAMES];
static Context contexts[CONTEXTS];
static Packet packets[PACKETS];
static guint n_nonces, n_names, n_contexts, n_packets;
static guint generations[SMALL_ACTORS]; /* that are not ended; 0 = none */
static gint selected[SMALL_ACTORS];     /* place; -1 = none */
static Proof proofs[SMALL_PLACES][SMALL_ACTORS];
static Delivery now;

/* ---- Books ------------------------------------------------------------- */

void
promises_begin (void)
{
  n_nonces = n_names = n_contexts = n_packets = 0;
  memset (generations, 0, sizeof generations);
  for (guint i = 0; i < SMALL_ACTORS; i++)
    selected[i] = -1;
  memset (proofs, 0, sizeof proofs);
  now.place = -1;
}

void
promises_end (void)
{
  for (guint i = 0; i < n_contexts; i++)
    nat_srtcp_free (contexts[i].from_relay);
  n_contexts = 0;
}

void
promises_name (SmallActor actor, guint generation, const char *username,
    const guint8 key[NAT_STUN_KEY_SIZE], gint64 expires_s)
{
  Name *name = &names[n_names++];

  g_assert_cmpuint (n_names, <, NAMES);
  name->actor = actor;
  name->generation = generation;
  name->expires_s = expires_s;
  g_strlcpy (name->text, username, sizeof name->text);
  memcpy (name->key, key, sizeof name->key);
  generations[actor] = generation;
}

void
promises_epoch (SmallActor actor, const char *password, const guint8 boot_id[NAT_BOOT_ID_SIZE],
    const guint8 epoch[NAT_EPOCH_SIZE])
{
  Context *c = &contexts[n_contexts++];

  g_assert_cmpuint (n_contexts, <, CONTEXTS);
  c->actor = actor;
  c->from_relay = nat_srtcp_new (password, NAT_SRTCP_RELAY_TO_CLIENT, boot_id, epoch);
}

static void
leave (guint place, guint actor)
{
  if (selected[actor] == (gint)place)
    selected[actor] = -1;
  proofs[place][actor].given = FALSE;
}

void
promises_ended (SmallActor actor)
{
  generations[actor] = 0;
  for (guint i = 0; i < SMALL_PLACES; i++)
    leave (i, actor);
}

void
promises_hung_up (guint place)
{
  for (guint i = 0; i < SMALL_ACTORS; i++)
    leave (place, i);
}

static gboolean
is_here (guint actor, guint place)
{
  const Proof *proof = &proofs[place][actor];

  return proof->given && small.consent_us - proof->us <= NAT_CONSENT_US + SCAN_US;
}

static gboolean
is_stranger (guint place)
{
  for (guint i = 0; i < SMALL_ACTORS; i++) {
    if (proofs[place][i].given)
      return FALSE;
  }
  return TRUE;
}

gboolean
promises_allow_media (SmallActor actor, guint place)
{
  return selected[actor] == (gint)place && is_here (actor, place);
}

const char *
promises_nonce (guint place)
{
  for (guint i = n_nonces; i > 0; i--) {
    if (nonces[i - 1].place == place)
      return nonces[i - 1].text;
  }
  return "";
}

static gboolean
nonce_was_given (guint place, const NatStunSlice *nonce)
{
  for (guint i = 0; i < n_nonces; i++) {
    const Nonce *n = &nonces[i];

    if (n->place == place && nonce->len == strlen (n->text) &&
        memcmp (nonce->data, n->text, nonce->len) == 0)
      return small.now_us - n->us <= NAT_NONCE_LIFETIME_US;
  }
  return FALSE;
}

/* What belongs to whom that knows its key, and is not over. */
static const Name *
name_of (const NatStunMessage *m)
{
  for (guint i = 0; i < n_names; i++) {
    const Name *name = &names[i];

    if (m->username.len == strlen (name->text) &&
        memcmp (m->username.data, name->text, m->username.len) == 0)
      return name->generation == generations[name->actor] &&
                     g_get_real_time () / G_USEC_PER_SEC < name->expires_s &&
                     nat_stun_verify (m, name->key, sizeof name->key)
                 ? name
                 : NULL;
  }
  return NULL;
}

/* ---- What arrives ------------------------------------------------------ */

static guint64
hash_of (const guint8 *data, gsize len)
{
  guint64 hash = G_GUINT64_CONSTANT (14695981039346656037) ^ len;

  for (gsize i = 0; i < len; i++)
    hash = (hash ^ data[i]) * G_GUINT64_CONSTANT (1099511628211);
  return hash;
}

static guint
remembered (void)
{
  guint n = 0;

  for (guint i = 0; i < small.n_workers; i++) {
    const NatRoster *r = small.workers[i]->roster;

    n += nat_table_size (r->paths) + g_hash_table_size (r->sessions) +
         g_hash_table_size (r->streams) + nat_ended_set_size (r->ended) +
         g_hash_table_size (r->forgotten) + g_hash_table_size (r->ssrcs);
    if (small.workers[i]->exchange)
      n += nat_exchange_n_routes (small.workers[i]);
  }
  return n;
}

static void
hear_request (const guint8 *data, gsize len)
{
  Asked *asked = &now.asked[now.n_asked];
  const Name *name;
  NatStunMessage m;

  if (len > NAT_DATAGRAM_MAX || nat_stun_parse (&m, data, len) != NAT_STUN_OK ||
      m.type != NAT_STUN_BINDING_REQUEST || now.n_asked == BATCH)
    return;
  now.n_asked++;
  memcpy (asked->id, m.transaction_id, sizeof asked->id);
  asked->len = len;
  asked->answered = FALSE;
  name = name_of (&m);
  asked->proves = name && nonce_was_given ((guint)now.place, &m.nonce);
  asked->actor = name ? name->actor : 0;
  asked->selects = m.use_candidate;
}

/* A place may prove itself in the same batch, in front of its media. */
static gboolean
may_come_from (SmallActor actor, guint place)
{
  if (proofs[place][actor].given)
    return TRUE;
  for (guint i = 0; i < now.n_asked; i++) {
    if (now.asked[i].proves && now.asked[i].actor == actor)
      return TRUE;
  }
  return FALSE;
}

/* From a publisher's place it may be forwarded, whatever it is. */
static void
hear_media (const guint8 *data, gsize len)
{
  guint place = (guint)now.place;
  gboolean a = may_come_from (SMALL_CAMERA, place) || may_come_from (SMALL_RIVAL, place);
  gboolean b = may_come_from (SMALL_OTHER, place);

  if (!a && !b)
    return;
  g_assert_cmpuint (n_packets, <, PACKETS);
  packets[n_packets++] = (Packet){hash_of (data, len), a, b};
}

static void
hear (const guint8 *data, gsize len)
{
  now.n_in++;
  now.bytes_in += len;
  switch (nat_demux (data, len)) {
  case NAT_PACKET_STUN: hear_request (data, len); break;
  case NAT_PACKET_RTP: hear_media (data, len); break;
  default: break;
  }
}

void
promises_delivery (guint place, const guint8 *data, gsize len, gsize segment)
{
  now.place = (gint)place;
  now.bytes_in = now.bytes_out = 0;
  now.n_in = now.n_out = now.n_asked = 0;
  now.stranger = is_stranger (place);
  now.remembered = remembered ();
  for (gsize at = 0; at < len; at += segment)
    hear (data + at, MIN (segment, len - at));
}

void
promises_delivered (void)
{
  if (now.stranger && is_stranger ((guint)now.place)) {
    if (now.bytes_out > now.bytes_in || now.n_out > now.n_in)
      g_error ("a stranger sent %u datagrams of %u bytes and got %u of %u", now.n_in,
          (guint)now.bytes_in, now.n_out, (guint)now.bytes_out);
    if (remembered () > now.remembered)
      g_error ("the relay remembers a stranger");
  }
  now.place = -1;
}

/* ---- What the relay sends ---------------------------------------------- */

static Asked *
question (const guint8 id[12])
{
  for (guint i = 0; i < now.n_asked; i++) {
    if (!now.asked[i].answered && memcmp (now.asked[i].id, id, 12) == 0)
      return &now.asked[i];
  }
  return NULL;
}

static void
believe (const Asked *asked, guint place)
{
  if (!asked->proves)
    g_error ("the relay believes a request that proves nothing");
  for (guint i = 0; i < SMALL_ACTORS && small.n_workers == 1; i++) {
    if (i != asked->actor)
      leave (place, i); /* an address is one session's */
  }
  proofs[place][asked->actor] = (Proof){TRUE, small.now_us};
  if (asked->selects)
    selected[asked->actor] = (gint)place;
}

static void
note_nonce (guint place, const NatStunMessage *m)
{
  Nonce *n = &nonces[n_nonces];

  if (m->nonce.len == 0)
    return;
  g_assert_cmpuint (m->nonce.len, ==, NAT_NONCE_LEN);
  g_assert_cmpuint (++n_nonces, <, NONCES);
  n->place = place;
  n->us = small.now_us;
  memcpy (n->text, m->nonce.data, NAT_NONCE_LEN);
  n->text[NAT_NONCE_LEN] = '\0';
}

static void
answered (guint place, const NatStunMessage *m)
{
  Asked *asked = question (m->transaction_id);

  if ((gint)place != now.place || !asked)
    g_error ("an answer that nobody asked for");
  if (m->len > asked->len)
    g_error ("an answer of %u bytes to a request of %u", (guint)m->len, (guint)asked->len);
  asked->answered = TRUE;
  small.answers_sent++;
  note_nonce (place, m);
  if (m->type == NAT_STUN_BINDING_SUCCESS)
    believe (asked, place);
}

/* REGISTER goes to where something came from, all else to who proved himself. */
static void
indicated (guint place, const NatStunMessage *m)
{
  guint32 reason = NAT_REASON_NONE;
  gboolean has_part = FALSE;

  nat_stun_slice_u32 (&m->reason, &reason);
  for (guint i = 0; i < SMALL_ACTORS; i++)
    has_part |= is_here (i, place);
  if (reason == NAT_REASON_REGISTER ? (gint)place != now.place : !has_part)
    g_error ("an indication with reason %u went to a place that has no part in it", reason);
}

static void
sent_stun (guint place, const guint8 *data, gsize len)
{
  NatStunMessage m;

  if (nat_stun_parse (&m, data, len) != NAT_STUN_OK || !m.has_fingerprint)
    g_error ("a STUN message that cannot be read");
  if (m.type == NAT_STUN_BINDING_INDICATION)
    indicated (place, &m);
  else
    answered (place, &m);
}

static gboolean
came_from_a_publisher (const guint8 *data, gsize len, gboolean of_b)
{
  guint64 hash = hash_of (data, len);

  for (guint i = n_packets; i > 0; i--) {
    const Packet *p = &packets[i - 1];

    if (p->hash == hash && (p->of_a || (of_b && p->of_b)))
      return TRUE;
  }
  return FALSE;
}

static void
sent_rtp (guint place, const guint8 *data, gsize len)
{
  gboolean viewer = promises_allow_media (SMALL_VIEWER, place);
  gboolean guest = promises_allow_media (SMALL_GUEST, place);

  small.rtp_sent++;
  if (!viewer && !guest)
    g_error ("media went to a place that no subscriber selected by a valid answer");
  if (!came_from_a_publisher (data, len, guest))
    g_error ("media that no publisher of the stream sent");
}

/* Whether it is for the owner of that context, and as it was written. */
static gboolean
opens_with (const Context *c, const guint8 *data, gsize len)
{
  guint8 copy[NAT_DATAGRAM_MAX];
  NatRtcpIter it;

  memcpy (copy, data, len);
  switch (nat_srtcp_unprotect (c->from_relay, copy, &len)) {
  case NAT_SRTCP_OK: return nat_rtcp_iter_init (&it, copy, len);
  case NAT_SRTCP_REPLAYED: g_error ("a key of SRTCP is used twice with one index");
  default: return FALSE;
  }
}

static void
sent_rtcp (guint place, const guint8 *data, gsize len)
{
  small.rtcp_sent++;
  for (guint i = n_contexts; i > 0; i--) {
    if (promises_allow_media (contexts[i - 1].actor, place) &&
        opens_with (&contexts[i - 1], data, len))
      return;
  }
  g_error ("RTCP that nobody can open who selected that place by a valid answer");
}

void
promises_sent (guint place, const guint8 *data, gsize len)
{
  if ((gint)place == now.place) {
    now.bytes_out += len;
    now.n_out++;
  }
  switch (nat_demux (data, len)) {
  case NAT_PACKET_STUN: sent_stun (place, data, len); break;
  case NAT_PACKET_RTP: sent_rtp (place, data, len); break;
  case NAT_PACKET_RTCP: sent_rtcp (place, data, len); break;
  case NAT_PACKET_OTHER: g_error ("a datagram of no kind");
  }
}

/* Nobody hears of it; but what the relay answered with success, it believes. */
void
promises_unsent (guint place, const guint8 *data, gsize len)
{
  NatStunMessage m;
  const Asked *asked;

  if (nat_demux (data, len) != NAT_PACKET_STUN || nat_stun_parse (&m, data, len) != NAT_STUN_OK ||
      m.type != NAT_STUN_BINDING_SUCCESS)
    return;
  asked = question (m.transaction_id);
  if ((gint)place != now.place || !asked)
    g_error ("an answer that nobody asked for");
  believe (asked, place);
}
