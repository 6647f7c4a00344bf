/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The first seconds of a meeting, again and again, at a relay with several workers. Everybody publishes a stream of a room
 * and subscribes to the room, at about the same time; each of his two sockets is heard by some worker. Registry and data plane are
 * as they are, with control and workers as threads on a busy machine: each has its turn when chance says so, one may
 * sleep for long, and whoever looks at the clock may be held up right there, while all others go on.
 *
 * No datagram is lost, so within seconds everybody must get what everybody else sends, and go on to.
 * A failure names its seed; NATRELAY_SIM_SEED=n runs that one alone and tells its story, NATRELAY_SIM_RUNS=n runs more. */

#include <stdio.h>
#include <string.h>

#include "house.h"
#include "natproto/crypto.h"
#include "natproto/demux.h"
#include "natproto/rtp.h"
#include "natproto/stun.h"
#include "natproto/stunauth.h"

#define RUNS       300
#define PEOPLE_MAX 6
#define DEPTH      3 /* who is held up while another is held up */
#define SETTLE_US  MS (6000)
#define GAP_US     MS (500)   /* without a packet: it does not flow */
#define WATCH_US   MS (40000) /* longer than routes and paths live without a Binding */
#define RETRY_US   MS (250)
#define KEEP_US    MS (4000)
#define MEDIA_US   MS (40)

/* One session: of somebody's two. */
typedef struct {
  NatRole role;
  char stream[16], subject[8];
  guint32 ssrc;
  guint16 seq;
  NatAddress address;
  gint64 come_us;     /* when it asks control */
  gboolean asked, in; /* in: it has a ticket */
  gint64 quiet_us;    /* until when it says nothing */
  guint8 id[NAT_SESSION_ID_SIZE];
  char username[NAT_TICKET_TEXT_MAX + 1], nonce[128];
  guint8 key[NAT_STUN_KEY_SIZE], epoch[NAT_EPOCH_SIZE];
  gboolean bound;
  gint64 next_us, media_us;
  gint64 heard_us[PEOPLE_MAX]; /* when somebody's last packet came */
} Client;

typedef struct {
  House house;
  guint n;
  Client in[PEOPLE_MAX], out[PEOPLE_MAX];
  GPtrArray *requests;                   /* Client, whose POST control has not read yet */
  gint64 held_us[HOUSE_WORKERS_MAX + 1]; /* who sleeps, until when; control is the last */
  gboolean busy[HOUSE_WORKERS_MAX + 1];  /* in the middle of something */
  guint depth;
} Meeting;

static Meeting meeting;

/* ---- Who takes part ---------------------------------------------------- */

static void
send_from (const Client *c, gconstpointer data, gsize len)
{
  net_inject (net_datagram (&c->address, &meeting.house.listen[0], data, len));
}

static void
send_binding (Client *c)
{
  static const guint8 algorithms[4] = {0, NAT_STUN_PASSWORD_ALGORITHM_SHA256, 0, 0};
  NatStunAuthChallenge challenge = {
      {(const guint8 *)NAT_REALM, strlen (NAT_REALM)},
      {(const guint8 *)c->nonce, strlen (c->nonce)},
      {algorithms, sizeof algorithms},
  };
  guint8 buf[NAT_DATAGRAM_MAX], id[12];
  NatStunWriter w;

  nat_crypto_random (id, sizeof id);
  nat_stun_writer_init (&w, buf, sizeof buf, NAT_STUN_BINDING_REQUEST, id);
  if (c->nonce[0] == '\0') {
    nat_stun_writer_pad_to (&w, 200, NAT_STUN_FINGERPRINT_SIZE);
  } else {
    nat_stunauth_add_answer (&w, c->username, &challenge);
    nat_stun_writer_add (&w, NAT_ATTR_EPOCH, c->epoch, sizeof c->epoch);
    nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
    nat_stun_writer_add_integrity (&w, c->key, sizeof c->key);
  }
  send_from (c, buf, nat_stun_writer_finish (&w));
}

static void
send_media (Client *c)
{
  guint8 rtp[100] = {0x80, 96, (guint8)(c->seq >> 8), (guint8)c->seq};

  for (guint i = 0; i < 4; i++)
    rtp[8 + i] = (guint8)(c->ssrc >> (24 - 8 * i));
  c->seq++;
  send_from (c, rtp, sizeof rtp);
}

static void
client_turn (Client *c)
{
  if (world.now < c->quiet_us)
    return;
  if (!c->asked && world.now >= c->come_us) {
    c->asked = TRUE;
    g_ptr_array_add (meeting.requests, c);
  }
  if (!c->in)
    return;
  if (world.now >= c->next_us) {
    c->next_us = world.now + (c->bound ? KEEP_US : RETRY_US);
    send_binding (c);
  }
  if (c->bound && c->role == NAT_ROLE_PUBLISHER && world.now >= c->media_us) {
    c->media_us = world.now + MEDIA_US;
    send_media (c);
  }
}

static const char *
role_of (const Client *c)
{
  return c->role == NAT_ROLE_PUBLISHER ? "publisher" : "subscriber";
}

/* A relay that was restarted does not have the description, and says so by version 0. */
static void
succeed (Client *c, const NatStunMessage *m)
{
  guint32 version;

  if (!c->bound)
    world_note ("%s of %s is registered", role_of (c), c->subject);
  c->bound = TRUE;
  c->next_us = world.now + KEEP_US;
  if (c->role == NAT_ROLE_PUBLISHER && nat_stun_slice_u32 (&m->version, &version) && version == 0) {
    g_ptr_array_add (meeting.requests, c);
    c->next_us = world.now + RETRY_US;
  }
}

static void
hear_stun (Client *c, const Datagram *d)
{
  NatStunAuthChallenge challenge;
  NatStunMessage m;

  g_assert_cmpint (nat_stun_parse (&m, d->data, d->len), ==, NAT_STUN_OK);
  if (m.type == NAT_STUN_BINDING_SUCCESS) {
    succeed (c, &m);
  } else if (nat_stunauth_challenge (&m, &challenge)) {
    memcpy (c->nonce, challenge.nonce.data, challenge.nonce.len);
    c->nonce[challenge.nonce.len] = '\0';
    c->next_us = world.now;
  } else if (m.type == NAT_STUN_BINDING_INDICATION) {
    c->next_us = MIN (c->next_us, world.now + RETRY_US);
  } else {
    world_fail ("%s of %s: %u", role_of (c), c->subject, nat_stun_error_code (&m, NULL));
  }
}

static void
hear_media (Client *c, const Datagram *d)
{
  NatRtpHeader h;

  g_assert_true (nat_rtp_parse (&h, d->data, d->len));
  for (guint i = 0; i < meeting.n; i++) {
    if (meeting.out[i].ssrc == h.ssrc)
      c->heard_us[i] = world.now;
  }
}

static void
on_relay_sent (const Datagram *d)
{
  for (guint i = 0; i < 2 * meeting.n; i++) {
    Client *c = i % 2 == 0 ? &meeting.in[i / 2] : &meeting.out[i / 2];

    if (!nat_address_equal (&c->address, &d->to))
      continue;
    if (nat_demux (d->data, d->len) == NAT_PACKET_STUN && c->in)
      hear_stun (c, d);
    else if (nat_demux (d->data, d->len) == NAT_PACKET_RTP)
      hear_media (c, d);
  }
}

/* ---- The relay's threads ----------------------------------------------- */

static NatTime
time_now (void)
{
  NatTime now = {world.now, g_get_real_time () / G_USEC_PER_SEC};

  return now;
}

static void
give_ticket (Client *c, NatRegistered *session)
{
  House *h = &meeting.house;
  const NatTicket *ticket = nat_registered_ticket (session);
  char password[NAT_PASSWORD_TEXT + 1];
  guint8 iv[12];

  nat_crypto_random (iv, sizeof iv);
  g_assert_cmpuint (nat_ticket_seal (h->secrets, ticket, iv, c->username), >, 0);
  g_assert_true (
      nat_ticket_password (h->secrets, ticket->password_secret, ticket->session_id, password));
  nat_stun_key (c->username, strlen (c->username), NAT_REALM, password, c->key);
  memcpy (c->id, ticket->session_id, sizeof c->id);
  c->next_us = world.now + world_between (0, MS (3));
  c->in = TRUE;
}

static NatProblemKind
post (Client *c, NatRegistered **session)
{
  NatRegistry *registry = meeting.house.registry;
  NatCaller caller = {.token = {.expires_s = G_MAXINT64}};
  NatDescription description = {.sdp = g_strdup ("v=0\r\n")};
  NatTracks tracks = {1, {{c->ssrc, 96, 90000, "video"}}};
  NatAsk ask = {.stream = c->stream, .caller = &caller, .peer = &c->address};
  NatProblemKind problem;

  g_strlcpy (caller.subject, c->subject, sizeof caller.subject);
  *session = nat_registry_find (registry, c->id);
  if (c->in) {
    problem = *session == NULL
                  ? NAT_PROBLEM_NONE /* it will be asked again */
                  : nat_registry_describe (registry, time_now (), *session, &description, &tracks);
  } else if (c->role == NAT_ROLE_PUBLISHER) {
    ask.description = &description;
    ask.tracks = &tracks;
    problem = nat_registry_publish (registry, time_now (), &ask, session);
  } else {
    problem = nat_registry_subscribe (registry, time_now (), &ask, session);
  }
  nat_description_clear (&description);
  return problem;
}

static void
read_request (Client *c)
{
  NatRegistered *session;
  NatProblemKind problem;

  world_note (c->in ? "%s describes %s" : "%s asks for %s", c->subject, c->stream);
  problem = post (c, &session);
  if (problem != NAT_PROBLEM_NONE)
    world_fail ("%s is refused %s: %s", c->subject, c->stream, nat_problem_title (problem));
  if (!c->in)
    give_ticket (c, session);
}

static void
turn_control (void)
{
  House *h = &meeting.house;

  nat_registry_poll (h->registry, time_now ());
  if (meeting.requests->len > 0)
    read_request (g_ptr_array_steal_index (meeting.requests, 0));
  if (world.now >= h->tick_us) {
    nat_registry_tick (h->registry, time_now ());
    h->tick_us = world.now + MS (1000);
  }
}

static void
turn (guint who)
{
  if (!meeting.house.up || meeting.busy[who] || world.now < meeting.held_us[who])
    return;
  meeting.busy[who] = TRUE;
  if (who == meeting.house.n_workers)
    turn_control ();
  else
    nat_worker_spin (meeting.house.workers[who]);
  meeting.busy[who] = FALSE;
  if (world_chance (0.01))
    meeting.held_us[who] = world.now + world_between (0, MS (100));
}

static void
moment (gint64 us)
{
  guint n = meeting.house.n_workers + 1;

  for (guint i = 0; i < meeting.n; i++) {
    client_turn (&meeting.out[i]);
    client_turn (&meeting.in[i]);
  }
  world_run_until (world.now + us);
  for (guint i = 0; i < n; i++)
    turn (world_pick (n));
}

/* Somebody is held up where he looks at the clock. */
static void
interrupt (void)
{
  if (meeting.depth >= DEPTH || !world_chance (0.05))
    return;
  meeting.depth++;
  for (guint n = world_chance (0.1) ? 30 : 1 + world_pick (3); n > 0; n--)
    moment (world_between (0, MS (1)));
  meeting.depth--;
}

static void
run_until (gint64 until)
{
  while (world.now < until)
    moment (world_between (0, MS (2)));
}

/* ---- One meeting ------------------------------------------------------- */

static gint64
never (Host *host)
{
  return G_MAXINT64;
}

static void
nothing (Host *host)
{
}

static void
client_init (Client *c, guint person, NatRole role)
{
  static const char *const names[] = {"ann", "bob", "cid", "dot", "eve", "fay"};
  guint8 ip[4] = {203, 0, 113, (guint8)(2 * person + (role == NAT_ROLE_PUBLISHER))};

  memset (c, 0, sizeof *c);
  c->role = role;
  g_strlcpy (c->subject, names[person], sizeof c->subject);
  if (role == NAT_ROLE_PUBLISHER)
    g_snprintf (c->stream, sizeof c->stream, "room/%s", c->subject);
  else
    g_strlcpy (c->stream, world_chance (0.8) ? "room/*" : "**", sizeof c->stream);
  c->ssrc = 1000 * (person + 1) + (guint32)world_pick (1000);
  nat_address_from_ip (&c->address, ip, 4, (guint16)world_between (1024, 65535));
  nat_crypto_random (c->epoch, sizeof c->epoch);
}

/* What he sent and heard before does not count. */
static void
forget (guint person)
{
  for (guint i = 0; i < meeting.n; i++)
    meeting.in[i].heard_us[person] = meeting.in[person].heard_us[i] = 0;
}

/* Within that time. */
static void
come (guint person, gint64 us)
{
  client_init (&meeting.out[person], person, NAT_ROLE_PUBLISHER);
  client_init (&meeting.in[person], person, NAT_ROLE_SUBSCRIBER);
  forget (person);
  meeting.out[person].come_us = world.now + world_between (0, us);
  meeting.in[person].come_us = meeting.out[person].come_us + world_between (-MS (2), MS (4));
}

static void
end_session (Client *c)
{
  House *h = &meeting.house;
  NatRegistered *session;

  nat_registry_poll (h->registry, time_now ());
  session = nat_registry_find (h->registry, c->id);
  if (session != NULL)
    nat_registry_end (h->registry, time_now (), session, NAT_REASON_ENDED, FALSE);
  c->in = FALSE;
}

static void
begin (guint32 seed, gboolean story)
{
  gint64 within;

  memset (&meeting, 0, sizeof meeting);
  world_begin (seed);
  if (story)
    world.story = g_string_new (NULL);
  net_begin ();
  net_watch.relay_sent = on_relay_sent;
  meeting.requests = g_ptr_array_new ();
  house_init (&meeting.house, 2 + world_pick (HOUSE_WORKERS_MAX - 1), 1, TRUE);
  meeting.house.host.deadline = never;
  meeting.house.host.run = nothing;
  house_start (&meeting.house);
  meeting.n = 2 + world_pick (PEOPLE_MAX - 1);
  world_note ("%u workers, %u people", meeting.house.n_workers, meeting.n);
  within = world_chance (0.5) ? MS (10) : MS (300);
  for (guint i = 0; i < meeting.n; i++)
    come (i, within);
  world.interrupt = interrupt;
}

static void
end (void)
{
  world.interrupt = NULL;
  house_clear (&meeting.house);
  g_ptr_array_unref (meeting.requests);
  net_end ();
  world_end ();
}

/* Of what does not flow the first; FALSE: all does. */
static gboolean
find_missing (guint *viewer, guint *publisher)
{
  for (guint i = 0; i < meeting.n * meeting.n; i++) {
    *viewer = i / meeting.n;
    *publisher = i % meeting.n;
    if (*viewer != *publisher && world.now - meeting.in[*viewer].heard_us[*publisher] > GAP_US)
      return TRUE;
  }
  return FALSE;
}

static void
settle (void)
{
  gint64 end = world.now + SETTLE_US;
  guint viewer, publisher;

  while (find_missing (&viewer, &publisher)) {
    if (world.now > end)
      world_fail ("%s does not get %s (%u workers, %u people)", meeting.in[viewer].subject,
          meeting.out[publisher].stream, meeting.house.n_workers, meeting.n);
    run_until (world.now + MS (20));
  }
}

static void
watch (void)
{
  guint viewer, publisher;

  for (gint64 end = world.now + WATCH_US; world.now < end;) {
    run_until (world.now + GAP_US);
    if (find_missing (&viewer, &publisher))
      world_fail (
          "%s does not get %s any more", meeting.in[viewer].subject, meeting.out[publisher].stream);
  }
}

/* ---- What befalls it --------------------------------------------------- */

static void
leaves_and_comes (guint person)
{
  guint control = meeting.house.n_workers;

  world_note ("%s leaves", meeting.in[person].subject);
  meeting.busy[control] = TRUE;
  end_session (&meeting.out[person]);
  end_session (&meeting.in[person]);
  meeting.busy[control] = FALSE;
  run_until (world.now + world_between (0, MS (500)));
  come (person, MS (20));
}

/* Another port, which perhaps another worker hears. */
static void
moves (guint person)
{
  Client *c = world_chance (0.5) ? &meeting.in[person] : &meeting.out[person];

  world_note ("%s of %s moves", role_of (c), c->subject);
  c->address.port = (guint16)world_between (1024, 65535);
  c->next_us = world.now;
  forget (person);
}

/* For longer than consent lasts; his tickets bring him back. */
static void
falls_silent (guint person)
{
  world_note ("%s is silent", meeting.in[person].subject);
  meeting.in[person].quiet_us = meeting.out[person].quiet_us =
      world.now + world_between (MS (25000), MS (45000));
  run_until (meeting.in[person].quiet_us);
  meeting.in[person].next_us = meeting.out[person].next_us = world.now;
  forget (person);
}

/* Tickets bring all back, from whichever worker hears them, and there is no pattern before its first subscriber comes. */
static void
relay_restarts (guint person)
{
  world_note ("the relay starts anew");
  world.interrupt = NULL;
  house_stop (&meeting.house, FALSE);
  g_ptr_array_set_size (meeting.requests, 0);
  house_start (&meeting.house);
  world.interrupt = interrupt;
  for (guint i = 0; i < meeting.n; i++)
    forget (i);
}

static void
run (guint32 seed, gboolean story)
{
  static void (*const events[]) (guint person) = {
      leaves_and_comes, moves, falls_silent, relay_restarts};

  begin (seed, story);
  settle ();
  for (guint rounds = world_pick (4); rounds > 0; rounds--) {
    events[world_pick (G_N_ELEMENTS (events))](world_pick (meeting.n));
    settle ();
  }
  if (world_chance (0.02))
    watch ();
  if (story)
    fprintf (stderr, "%s", world.story->str);
  end ();
}

/* Seeds that failed. */
static const guint32 kept[] = {
    1089, /* a command that made a stream was read after the worker had looked for those that must go home */
};

static guint
number_of (const char *variable, guint otherwise)
{
  const char *text = g_getenv (variable);

  return text != NULL ? (guint)g_ascii_strtoull (text, NULL, 10) : otherwise;
}

static void
test_meetings (void)
{
  guint one = number_of ("NATRELAY_SIM_SEED", 0), runs = number_of ("NATRELAY_SIM_RUNS", RUNS);

  run (1, FALSE); /* the program draws some numbers once in its life */
  if (one != 0) {
    run (one, TRUE);
    return;
  }
  for (guint i = 0; i < G_N_ELEMENTS (kept); i++)
    run (kept[i], FALSE);
  for (guint32 seed = number_of ("NATRELAY_SIM_FIRST", 1); runs > 0; seed++, runs--)
    run (seed, FALSE);
}

/* Not what a relay says of its streams, a thousand times over. */
static GLogWriterOutput
write_log (GLogLevelFlags level, const GLogField *fields, gsize n, gpointer user)
{
  return level & (G_LOG_LEVEL_MESSAGE | G_LOG_LEVEL_DEBUG)
             ? G_LOG_WRITER_HANDLED
             : g_log_writer_default (level, fields, n, user);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (write_log, NULL, NULL);
  g_test_add_func ("/sim/meeting/begins", test_meetings);
  return g_test_run ();
}
