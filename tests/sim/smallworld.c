/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "smallworld.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"
#include "natproto/stun.h"
#include "natserver/data/exchange.h"
#include "promises.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define START_US    G_GINT64_CONSTANT (1000000000)
#define WALL_US     (G_GINT64_CONSTANT (1700000000) * G_USEC_PER_SEC)
#define TICK_US     (50 * 1000) /* the worker's own, and a little */
#define SETTLE_US   (600 * 1000)
#define SPINS_MAX   1000
#define INBOX_BYTES 65536
#define CACHE       (1u << 20)
#define TOO_OLD_US  (G_GINT64_CONSTANT (3700) * G_USEC_PER_SEC)
#define FORGOTTEN   (G_GINT64_CONSTANT (131) * G_USEC_PER_SEC)

SmallWorld small;

/* A worker's socket: what arrived and was not read, one super-packet at a time. */
typedef struct {
  int fd;
  gboolean full;
  guint place;
  gsize len, segment;
  guint8 data[INBOX_BYTES];
} Door;

typedef struct {
  NatRole role;
  const char *stream;
  guint generation; /* sessions that control made for it */
  gboolean known;   /* control has it */
  NatTicket ticket;
  char username[2][NAT_TICKET_TEXT_MAX + 1]; /* now, and before */
  char password[NAT_PASSWORD_TEXT + 1];
  guint8 epoch[NAT_EPOCH_SIZE];
  NatSrtcp *to_relay; /* of this epoch; NULL = not yet */
} Client;

static Door doors[SMALL_WORKERS_MAX];
static guint n_doors;
static Client clients[SMALL_ACTORS];
static NatAddress places[SMALL_PLACES], relay_address;
static guint32 connections[SMALL_PLACES], last_connection; /* 0 = none */
static guint8 boot_id[NAT_BOOT_ID_SIZE];
static guint64 chance;

/* ---- Instead of the system --------------------------------------------- */

gint64 __wrap_g_get_monotonic_time (void);
gint64
__wrap_g_get_monotonic_time (void)
{
  return small.now_us;
}

gint64 __wrap_g_get_real_time (void);
gint64
__wrap_g_get_real_time (void)
{
  return small.now_us - START_US + WALL_US;
}

gint64 __wrap_nat_udpio_clock_ns (void);
gint64
__wrap_nat_udpio_clock_ns (void)
{
  return (small.now_us - START_US + WALL_US) * 1000;
}

/* Unlike each other, and the same in every run. */
void __wrap_nat_crypto_random (gpointer out, gsize len);
void
__wrap_nat_crypto_random (gpointer out, gsize len)
{
  for (gsize i = 0; i < len; i++) {
    chance = chance * G_GUINT64_CONSTANT (6364136223846793005) + 1442695040888963407u;
    ((guint8 *)out)[i] = (guint8)(chance >> 56);
  }
}

gboolean __wrap_nat_worker_start (NatWorker *w, GError **error);
gboolean
__wrap_nat_worker_start (NatWorker *w, GError **error)
{
  w->now_us = w->started_us = small.now_us;
  w->running = TRUE;
  small.workers[w->index] = w;
  return TRUE;
}

void __wrap_nat_worker_join (NatWorker *w);
void
__wrap_nat_worker_join (NatWorker *w)
{
  if (!w->running)
    return;
  nat_worker_drain_commands (w);
  if (w->exchange)
    nat_exchange_adopt (w);
  w->running = FALSE;
}

int __wrap_bind (int fd, const struct sockaddr *name, socklen_t len);
int
__wrap_bind (int fd, const struct sockaddr *name, socklen_t len)
{
  g_assert_cmpuint (n_doors, <, SMALL_WORKERS_MAX);
  doors[n_doors].full = FALSE;
  doors[n_doors++].fd = fd;
  return 0;
}

int __wrap_getsockname (int fd, struct sockaddr *name, socklen_t *len);
int
__wrap_getsockname (int fd, struct sockaddr *name, socklen_t *len)
{
  *len = (socklen_t)nat_address_to_sockaddr (&relay_address, name);
  return 0;
}

static void
put_control (
    struct msghdr *h, struct cmsghdr **at, int level, int type, gconstpointer data, gsize len)
{
  (*at)->cmsg_level = level;
  (*at)->cmsg_type = type;
  (*at)->cmsg_len = CMSG_LEN (len);
  memcpy (CMSG_DATA (*at), data, len);
  h->msg_controllen += CMSG_SPACE (len);
  *at = (struct cmsghdr *)((guint8 *)*at + CMSG_SPACE (len));
}

static Door *
door_of (int fd)
{
  for (guint i = 0; i < n_doors; i++) {
    if (doors[i].fd == fd)
      return &doors[i];
  }
  g_assert_not_reached ();
}

int __wrap_recvmmsg (
    int fd, struct mmsghdr *messages, guint n, int flags, struct timespec *timeout);
int
__wrap_recvmmsg (int fd, struct mmsghdr *messages, guint n, int flags, struct timespec *timeout)
{
  Door *door = door_of (fd);
  struct msghdr *h = &messages[0].msg_hdr;
  struct cmsghdr *at = h->msg_control;
  gint64 us = __wrap_g_get_real_time ();
  struct timespec stamp = {us / G_USEC_PER_SEC, us % G_USEC_PER_SEC * 1000};
  int segment = (int)door->segment;

  if (!door->full) {
    errno = EAGAIN;
    return -1;
  }
  door->full = FALSE;
  messages[0].msg_len = (guint)door->len;
  memcpy (h->msg_iov[0].iov_base, door->data, door->len);
  h->msg_namelen = (socklen_t)nat_address_to_sockaddr (&places[door->place], h->msg_name);
  h->msg_controllen = 0;
  put_control (h, &at, SOL_SOCKET, SCM_TIMESTAMPNS, &stamp, sizeof stamp);
  if (door->segment < door->len)
    put_control (h, &at, IPPROTO_UDP, UDP_GRO, &segment, sizeof segment);
  return 1;
}

/* ---- What the relay sends ---------------------------------------------- */

static void
sent (guint place, const guint8 *data, gsize len)
{
  SmallDatagram *kept = &small.sent[small.n_sent++ % SMALL_HISTORY];

  g_assert_cmpuint (len, <=, NAT_DATAGRAM_MAX);
  memcpy (kept->data, data, len);
  kept->len = len;
  promises_sent (place, data, len);
}

static guint
place_of (const struct msghdr *h)
{
  NatAddress to;

  g_assert_true (nat_address_from_sockaddr (&to, h->msg_name, h->msg_namelen));
  for (guint i = 0; i < SMALL_UDP; i++) {
    if (nat_address_equal (&to, &places[i]))
      return i;
  }
  g_error ("a datagram went to an address that nobody has");
}

static gsize
segment_of (const struct msghdr *h, gsize len)
{
  struct msghdr copy = *h;

  for (struct cmsghdr *c = copy.msg_controllen ? CMSG_FIRSTHDR (&copy) : NULL; c;
       c = CMSG_NXTHDR (&copy, c)) {
    guint16 segment;

    if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_SEGMENT)
      continue;
    memcpy (&segment, CMSG_DATA (c), sizeof segment);
    return segment;
  }
  return len;
}

/* FALSE: the system refuses. */
static gboolean
send_message (const struct msghdr *h)
{
  static guint8 bytes[2 * INBOX_BYTES];
  guint place = place_of (h);
  gsize len = 0, segment;

  for (gsize i = 0; i < h->msg_iovlen; i++) {
    g_assert_cmpuint (len + h->msg_iov[i].iov_len, <=, sizeof bytes);
    memcpy (bytes + len, h->msg_iov[i].iov_base, h->msg_iov[i].iov_len);
    len += h->msg_iov[i].iov_len;
  }
  if (small.refusals > 0) {
    small.refusals--;
    promises_unsent (place, bytes, len);
    errno = small.refusal;
    return FALSE;
  }
  segment = segment_of (h, len);
  g_assert_cmpuint (segment, >, 0);
  for (gsize at = 0; at < len; at += segment)
    sent (place, bytes + at, MIN (segment, len - at));
  return TRUE;
}

int __wrap_sendmmsg (int fd, struct mmsghdr *messages, guint n, int flags);
int
__wrap_sendmmsg (int fd, struct mmsghdr *messages, guint n, int flags)
{
  guint done = 0;

  while (done < n && send_message (&messages[done].msg_hdr))
    done++;
  return done > 0 ? (int)done : -1;
}

gssize __wrap_sendmsg (int fd, const struct msghdr *message, int flags);
gssize
__wrap_sendmsg (int fd, const struct msghdr *message, int flags)
{
  return send_message (message) ? (gssize)message->msg_iov[0].iov_len : -1;
}

static guint
place_of_connection (guint32 connection)
{
  for (guint i = SMALL_UDP; i < SMALL_PLACES; i++) {
    if (connections[i] == connection)
      return i;
  }
  g_error ("a datagram went to a connection that is no more");
}

static void
read_letter (const NatTunnelLetter *letter)
{
  const guint8 *data = nat_tunnel_letter_data (letter);

  if (letter->kind == NAT_TUNNEL_BOUND)
    return;
  for (guint i = 0; i < letter->n_to; i++) {
    for (gsize at = 0; at < letter->bytes; at += letter->segment)
      sent (place_of_connection (letter->to[i]), data + at,
          MIN (letter->segment, letter->bytes - at));
  }
}

/* ---- Turning ----------------------------------------------------------- */

static gboolean
has_work (void)
{
  for (guint i = 0; i < small.n_workers; i++) {
    NatWorker *w = small.workers[i];

    if (doors[i].full || nat_ring_waiting (w->commands) || nat_lane_waiting (w->lane) > 0)
      return TRUE;
    for (guint k = 0; k < small.n_workers; k++) {
      if (i != k && nat_mailbox_waiting (nat_mesh_mailbox (w->mesh, i, k)) > 0)
        return TRUE;
    }
  }
  return FALSE;
}

/* As the registry: who is gone is forgotten, until a ticket brings him back. */
static void
hear_event (const NatEvent *event)
{
  for (guint i = 0; i < SMALL_ACTORS; i++) {
    if (memcmp (event->session_id, clients[i].ticket.session_id, NAT_SESSION_ID_SIZE) != 0)
      continue;
    if (event->type == NAT_EVENT_GONE || event->type == NAT_EVENT_REVIVED)
      clients[i].known = event->type == NAT_EVENT_REVIVED;
  }
  if (event->type == NAT_EVENT_REVIVED)
    nat_session_counters_unref (event->counters);
}

static void
turn (void)
{
  NatTunnel *tunnel = nat_dataplane_tunnel (small.dp);
  const NatTunnelLetter *letter;
  NatEvent event;
  guint spins = 0;

  do {
    for (guint i = 0; i < small.n_workers; i++)
      nat_worker_spin (small.workers[i]);
    if (++spins > SPINS_MAX)
      g_error ("the workers come to no end");
    /* What one handed over in its tick, the one before it takes in the next round. */
  } while (has_work () || spins < small.n_workers);
  while ((letter = nat_tunnel_next (tunnel)))
    read_letter (letter);
  nat_tunnel_rest (tunnel);
  while (!small.others_poll && nat_dataplane_poll_event (small.dp, &event))
    hear_event (&event);
}

void
small_pass (gint64 us)
{
  gint64 jump_us = MAX (us - SETTLE_US, 0);

  /* What is due at the moment of waking is sent by what was known before. */
  small.consent_us = small.now_us;
  small.now_us += jump_us;
  turn ();
  for (gint64 left = us - jump_us; left > 0; left -= TICK_US) {
    small.now_us += MIN (left, TICK_US);
    turn ();
  }
  small.consent_us = small.now_us;
}

/* ---- Control ----------------------------------------------------------- */

static void
take_username (SmallActor actor)
{
  Client *c = &clients[actor];
  guint8 iv[12], key[NAT_STUN_KEY_SIZE];

  memcpy (c->username[1], c->username[0], sizeof c->username[1]);
  nat_crypto_random (iv, sizeof iv);
  g_assert_cmpuint (nat_ticket_seal (small.secrets, &c->ticket, iv, c->username[0]), >, 0);
  nat_stun_key (c->username[0], strlen (c->username[0]), NAT_REALM, c->password, key);
  promises_name (actor, c->generation, c->username[0], key, c->ticket.expires_s);
}

void
small_new_epoch (SmallActor actor)
{
  Client *c = &clients[actor];

  nat_crypto_random (c->epoch, sizeof c->epoch);
  g_clear_pointer (&c->to_relay, nat_srtcp_free);
  promises_epoch (actor, c->password, boot_id, c->epoch);
}

/* An id is never given twice. */
static void
make_session (SmallActor actor, guint max_kbps)
{
  Client *c = &clients[actor];

  promises_ended (actor); /* it negotiates anew, and forgets what it had */
  c->generation++;
  c->known = TRUE;
  memset (&c->ticket, 0, sizeof c->ticket);
  c->ticket.role = c->role;
  c->ticket.password_secret = nat_secrets_current (small.secrets);
  c->ticket.max_kbps = max_kbps;
  c->ticket.token_expires_s = G_MAXINT64;
  c->ticket.expires_s = g_get_real_time () / G_USEC_PER_SEC + NAT_TICKET_LIFETIME_S;
  nat_crypto_random (c->ticket.session_id, sizeof c->ticket.session_id);
  strcpy (c->ticket.stream, c->stream);
  g_assert_true (nat_ticket_password (
      small.secrets, c->ticket.password_secret, c->ticket.session_id, c->password));
  take_username (actor);
  memcpy (c->username[1], c->username[0], sizeof c->username[1]);
  small_new_epoch (actor);
}

void
small_add (SmallActor actor, guint max_kbps, gboolean headstart)
{
  Client *c = &clients[actor];
  NatWishes wishes = {.headstart = headstart};
  NatSessionCounters *counters;

  if (c->known)
    return;
  make_session (actor, max_kbps);
  counters = nat_session_counters_new ();
  nat_dataplane_add_session (
      small.dp, &c->ticket, counters, c->role == NAT_ROLE_SUBSCRIBER ? &wishes : NULL);
  nat_session_counters_unref (counters);
  turn ();
}

void
small_renew (SmallActor actor)
{
  Client *c = &clients[actor];

  if (!c->known)
    return;
  c->ticket.expires_s = g_get_real_time () / G_USEC_PER_SEC + NAT_TICKET_LIFETIME_S;
  take_username (actor);
  nat_dataplane_renew_session (small.dp, &c->ticket);
  turn ();
}

void
small_end_session (SmallActor actor, NatReason reason)
{
  Client *c = &clients[actor];

  if (!c->known)
    return;
  nat_dataplane_end_session (small.dp, c->ticket.session_id, reason, c->ticket.expires_s);
  turn ();
  c->known = FALSE;
  promises_ended (actor);
}

void
small_describe (SmallActor publisher, guint which, guint32 version, gboolean name_publisher)
{
  static const NatTrack all[] = {{.ssrc = SMALL_A_VIDEO,
                                     .payload_type = 96,
                                     .clock_rate = 90000,
                                     .media = "video",
                                     .ccfb = TRUE,
                                     .framemarking_id = 1},
      {.ssrc = SMALL_A_AUDIO, .payload_type = 97, .clock_rate = 48000, .media = "audio"},
      {.ssrc = SMALL_B_VIDEO, .payload_type = 96, .clock_rate = 90000, .media = "video"}};
  const Client *c = &clients[publisher];
  NatTracks tracks = {0};

  for (guint i = 0; i < G_N_ELEMENTS (all); i++) {
    if ((which & (1u << i)) && (i == 2) == (publisher == SMALL_OTHER))
      tracks.tracks[tracks.n_tracks++] = all[i];
  }
  nat_dataplane_set_description (small.dp, c->stream, which != 0 ? &tracks : NULL, version,
      name_publisher && c->known && c->role == NAT_ROLE_PUBLISHER ? c->ticket.session_id : NULL);
  turn ();
}

const NatTicket *
small_ticket (SmallActor actor)
{
  return &clients[actor].ticket;
}

gboolean
small_is_known (SmallActor actor)
{
  return clients[actor].known;
}

/* ---- Datagrams --------------------------------------------------------- */

const NatAddress *
small_place (guint place)
{
  return &places[place];
}

static void
tunnel_end (guint place, NatTunnelEnd *end)
{
  if (connections[place] == 0)
    connections[place] = ++last_connection;
  nat_tunnel_end_init (end, connections[place], &places[place], &relay_address);
}

static void
deliver_to_tunnel (guint place, const guint8 *data, gsize len, gsize segment)
{
  NatTunnel *tunnel = nat_dataplane_tunnel (small.dp);
  NatTunnelEnd end;

  tunnel_end (place, &end);
  for (gsize at = 0; at < len; at += segment) {
    if (MIN (segment, len - at) <= NAT_DATAGRAM_MAX)
      nat_tunnel_deliver (tunnel, &end, data + at, MIN (segment, len - at));
  }
  nat_tunnel_flush (tunnel);
}

void
small_deliver (guint place, const guint8 *data, gsize len, gsize segment)
{
  Door *door = &doors[place % small.n_workers];
  SmallDatagram *kept = &small.heard[small.n_heard++ % SMALL_HISTORY];

  g_assert_true (len <= INBOX_BYTES && segment > 0);
  kept->len = MIN (len, MIN (segment, NAT_DATAGRAM_MAX));
  memcpy (kept->data, data, kept->len);
  promises_delivery (place, data, len, segment);
  if (place >= SMALL_UDP) {
    deliver_to_tunnel (place, data, len, segment);
  } else {
    door->place = place;
    door->len = len;
    door->segment = segment;
    memcpy (door->data, data, len);
    door->full = TRUE;
  }
  turn ();
  promises_delivered ();
}

void
small_hang_up (guint place)
{
  NatTunnelEnd end;

  if (place < SMALL_UDP || connections[place] == 0)
    return;
  tunnel_end (place, &end);
  g_assert_true (nat_tunnel_hang_up (nat_dataplane_tunnel (small.dp), &end));
  turn ();
  connections[place] = 0;
  promises_hung_up (place);
}

void
small_challenge (guint place, gsize size)
{
  guint8 buf[NAT_DATAGRAM_MAX], id[12];
  NatStunWriter w;

  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST, id);
  nat_stun_writer_pad_to (&w, size, NAT_STUN_FINGERPRINT_SIZE);
  size = nat_stun_writer_finish (&w);
  if (size > 0)
    small_deliver (place, buf, size, size);
}

gsize
small_request (SmallActor actor, guint place, guint flags, guint8 *buf)
{
  static const guint8 algorithms[4] = {0, NAT_STUN_PASSWORD_ALGORITHM_SHA256, 0, 0};
  const Client *c = &clients[actor];
  const char *username = c->username[flags & SMALL_OLD_NAME ? 1 : 0];
  const char *nonce = promises_nonce (place);
  NatStunAuthChallenge challenge = {
      {(const guint8 *)NAT_REALM, strlen (NAT_REALM)},
      {(const guint8 *)nonce, strlen (nonce)},
      {algorithms, sizeof algorithms},
  };
  guint8 key[NAT_STUN_KEY_SIZE], id[12];
  NatStunWriter w;

  nat_stun_key (username, strlen (username), NAT_REALM, c->password, key);
  key[0] ^= flags & SMALL_WRONG_KEY ? 1 : 0;
  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (&w, buf, NAT_DATAGRAM_MAX, NAT_STUN_BINDING_REQUEST, id);
  nat_stunauth_add_answer (&w, username, &challenge);
  if (!(flags & SMALL_NO_EPOCH))
    nat_stun_writer_add (&w, NAT_ATTR_EPOCH, c->epoch, sizeof c->epoch);
  if (flags & SMALL_SELECT)
    nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  if (flags & SMALL_UNKNOWN)
    nat_stun_writer_add_u32 (&w, 0x7f01, 1);
  nat_stun_writer_add_integrity (&w, key, sizeof key);
  return nat_stun_writer_finish (&w);
}

void
small_bind (SmallActor actor, guint place, guint flags, gboolean fresh)
{
  guint8 buf[NAT_DATAGRAM_MAX];
  gsize len;

  if (fresh)
    small_challenge (place, 200);
  len = small_request (actor, place, flags, buf);
  if (len > 0)
    small_deliver (place, buf, len, len);
}

gsize
small_write_rtp (guint8 *buf, gsize len, guint32 ssrc, guint16 seq, gboolean marker)
{
  len = CLAMP (len, 24, NAT_DATAGRAM_MAX);
  memset (buf, (guint8)seq, len);
  buf[0] = 0x90; /* with an extension */
  buf[1] = (guint8)((ssrc == SMALL_A_AUDIO ? 97 : 96) | (marker ? 0x80 : 0));
  nat_write_u16 (buf + 2, seq);
  nat_write_u32 (buf + 4, seq / 4 * 3000u);
  nat_write_u32 (buf + 8, ssrc);
  memcpy (buf + 12, "\xbe\xde\x00\x01\x12", 5);
  buf[17] = (guint8)(seq % 4 == 0 ? 0x80 | (seq % 32 == 0 ? 0x20 : 0) : 0); /* start, independent */
  return len;
}

void
small_feedback (SmallActor actor, guint place, guint8 *data, gsize len)
{
  Client *c = &clients[actor];

  if (c->generation == 0)
    return;
  if (!c->to_relay)
    c->to_relay = nat_srtcp_new (c->password, NAT_SRTCP_CLIENT_TO_RELAY, boot_id, c->epoch);
  len = nat_srtcp_protect (c->to_relay, data, len);
  if (len > 0)
    small_deliver (place, data, len, len);
}

/* ---- Begin and end ----------------------------------------------------- */

static void
make_addresses (void)
{
  g_assert_true (nat_address_from_text (&relay_address, "192.0.2.1:8443", 0));
  for (guint i = 0; i < SMALL_PLACES; i++) {
    /* Two ports of one address, then the next. */
    guint8 ip[4] = {198, 51, 100, (guint8)(1 + i / 2)};

    nat_address_from_ip (&places[i], ip, 4, (guint16)(20000 + i));
    connections[i] = 0;
  }
}

static void
make_clients (void)
{
  static const struct {
    NatRole role;
    const char *stream;
  } who[SMALL_ACTORS] = {
      [SMALL_CAMERA] = {NAT_ROLE_PUBLISHER, "room/a"},
      [SMALL_VIEWER] = {NAT_ROLE_SUBSCRIBER, "room/a"},
      [SMALL_RIVAL] = {NAT_ROLE_PUBLISHER, "room/a"},
      [SMALL_OTHER] = {NAT_ROLE_PUBLISHER, "room/b"},
      [SMALL_GUEST] = {NAT_ROLE_SUBSCRIBER, "room/*"},
  };

  for (guint i = 0; i < SMALL_ACTORS; i++) {
    memset (&clients[i], 0, sizeof clients[i]);
    clients[i].role = who[i].role;
    clients[i].stream = who[i].stream;
  }
}

void
small_begin (guint n_workers)
{
  static const guint8 secret[32] = {7};
  NatDataplaneConfig config = {
      .n_listen = 1, .workers = n_workers, .cache_bytes = CACHE, .socket_buffer = INBOX_BYTES};

  memset (&small, 0, sizeof small);
  small.now_us = small.consent_us = START_US;
  small.n_workers = n_workers;
  chance = n_doors = last_connection = 0;
  make_addresses ();
  make_clients ();
  promises_begin ();
  small.secrets = nat_secrets_new ();
  nat_secrets_add (small.secrets, 1, secret);
  nat_crypto_random (boot_id, sizeof boot_id);
  memcpy (config.boot_id, boot_id, sizeof boot_id);
  config.secrets = small.secrets;
  config.listen[0] = relay_address;
  small.dp = nat_dataplane_new (&config, NULL, NULL);
  g_assert_nonnull (small.dp);
  g_assert_true (nat_dataplane_start (small.dp, NULL));
}

void
small_end (void)
{
  for (guint i = 0; i < SMALL_ACTORS; i++)
    g_clear_pointer (&clients[i].to_relay, nat_srtcp_free);
  g_clear_pointer (&small.dp, nat_dataplane_free);
  nat_secrets_free (small.secrets);
  promises_end ();
}

/* ---- Leaving every state ----------------------------------------------- */

static void
check_nobody_is_live (const NatRoster *r)
{
  GHashTableIter it;
  gpointer stream;

  for (guint i = 0; i < r->live->len; i++) {
    const NatDataSession *s = r->live->pdata[i];

    if (s->state == NAT_DATA_REGISTERED || s->selected || s->paths)
      g_error ("a session of %s lives on without a Binding", s->stream->name);
  }
  g_hash_table_iter_init (&it, r->streams);
  while (g_hash_table_iter_next (&it, NULL, &stream)) {
    if (((NatDataStream *)stream)->receivers->n > 0)
      g_error (
          "%s has a receiver that said nothing for half a minute", ((NatDataStream *)stream)->name);
  }
  g_assert_cmpuint (nat_table_size (r->paths), ==, 0);
}

static void
check_all_is_forgotten (const NatRoster *r)
{
  g_assert_cmpuint (g_hash_table_size (r->sessions), ==, 0);
  g_assert_cmpuint (r->live->len + r->dormant->len, ==, 0);
  g_assert_cmpuint (nat_ended_set_size (r->ended), ==, 0);
  g_assert_cmpuint (g_hash_table_size (r->forgotten), ==, 0);
  g_assert_cmpuint (g_hash_table_size (r->streams), ==, 0);
  g_assert_cmpuint (g_hash_table_size (r->ssrcs), ==, 0);
  g_assert_cmpuint (r->patterns->len + r->active.length, ==, 0);
}

void
small_finish (void)
{
  small.refusals = 0;
  small_pass (NAT_CONSENT_US + G_USEC_PER_SEC);
  for (guint i = 0; i < small.n_workers; i++)
    check_nobody_is_live (small.workers[i]->roster);
  small_pass (TOO_OLD_US);
  for (guint i = 0; i < 3; i++)
    small_pass (FORGOTTEN);
  for (guint i = 0; i < small.n_workers; i++)
    check_all_is_forgotten (small.workers[i]->roster);
}
