/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who gives way when a worker cannot follow: a worker in numbers, and a real one that one stream to a large
 * audience overwhelms. */

#include "natserver/data/fairness.h"

#include <string.h>

#include "bareworker.h"
#include "datarelay.h"
#include "natproto/sframekeys.h"
#include "natserver/data/command.h"
#include "natserver/data/rtcpagg.h"

/* ---- In numbers -------------------------------------------------------- */

#define WINDOW_US 50000
#define ROOM      2000 /* packets that wait to be read, at most; what comes behind them is lost */
#define STREAMS   21

/* A stream that wants packets in each window, each of which goes to receivers. */
typedef struct {
  guint packets, receivers;
  NatRank rank;
  NatShare share;
  guint sent, served; /* packets so far */
} Stream;

/* The worker has time for capacity datagrams in a window; junk takes its part of that. */
typedef struct {
  NatFairness f;
  Stream streams[STREAMS];
  guint n, capacity, junk;
  guint8 waiting[ROOM]; /* whose packets */
  guint n_waiting;
  gboolean overflow;
  gint64 now_us;
} World;

static void
world_init (World *w, guint capacity)
{
  memset (w, 0, sizeof *w);
  nat_fairness_init (&w->f);
  w->capacity = capacity;
}

static Stream *
world_add (World *w, guint packets, guint receivers, NatRank rank)
{
  w->streams[w->n] = (Stream){.packets = packets, .receivers = receivers, .rank = rank};
  return &w->streams[w->n++];
}

/* All that they send, mixed as if it came evenly. */
static void
arrive (World *w)
{
  for (guint step = 0; step < 10000; step++) {
    for (guint i = 0; i < w->n; i++) {
      Stream *s = &w->streams[i];

      if ((step + 1) * s->packets / 10000 == step * s->packets / 10000)
        continue;
      s->sent++;
      w->overflow |= w->n_waiting == ROOM;
      if (w->n_waiting < ROOM)
        w->waiting[w->n_waiting++] = (guint8)i;
    }
  }
}

/* Returns what it costs to read it, and to send it if it is sent. */
static guint
serve_one (World *w, Stream *s)
{
  guint cost = s->receivers + 1;

  if (nat_fairness_wants_costs (&w->f))
    nat_fairness_note (&w->f, &s->share, cost);
  if (nat_fairness_limits (&w->f) && !nat_fairness_takes (&w->f, &s->share, s->rank, cost))
    return 1;
  s->served++;
  return cost;
}

static void
window (World *w)
{
  guint left = w->capacity - w->junk, i = 0;

  w->overflow = FALSE;
  arrive (w);
  for (; i < w->n_waiting && left > 0; i++)
    left -= MIN (left, serve_one (w, &w->streams[w->waiting[i]]));
  w->n_waiting -= i;
  memmove (w->waiting, w->waiting + i, w->n_waiting);
  w->now_us += WINDOW_US;
  w->f.sending_us = (gint64)(w->capacity - w->junk - left) * WINDOW_US / w->capacity;
  nat_fairness_turn (&w->f, w->overflow || w->n_waiting > ROOM / 4, w->now_us);
}

/* Some windows that nobody counts, and a hundred that are. */
static void
run (World *w)
{
  for (guint i = 0; i < 20; i++)
    window (w);
  for (guint i = 0; i < w->n; i++)
    w->streams[i].sent = w->streams[i].served = 0;
  for (guint i = 0; i < 100; i++)
    window (w);
}

static void
assert_whole (const Stream *s)
{
  g_assert_cmpuint (s->sent, >, 0);
  g_assert_cmpuint (s->served, >=, s->sent - s->sent / 100);
}

/* One wants many times what the worker can, twenty want little: they have all of it, and the one has most of the rest. */
static void
test_one_of_many (void)
{
  Stream *hog;
  World w;

  world_init (&w, 20000);
  hog = world_add (&w, 2000, 100, NAT_RANK_VIDEO);
  for (guint i = 1; i < STREAMS; i++)
    world_add (&w, 5 + i, i % 3, i % 2 ? NAT_RANK_AUDIO : NAT_RANK_VIDEO);
  run (&w);
  for (guint i = 1; i < STREAMS; i++)
    assert_whole (&w.streams[i]);
  g_assert_cmpuint (hog->served * 100, >, 20000 * 100 / 2);
  g_assert_cmpuint (hog->served, <, hog->sent);
  hog->packets = 20; /* now all can be had */
  run (&w);
  assert_whole (hog);
  g_assert_false (nat_fairness_limits (&w.f));
}

/* Three want too much, and their sound is little. */
static void
test_some_of_many (void)
{
  Stream *sound;
  World w;

  world_init (&w, 20000);
  for (guint i = 0; i < 3; i++)
    world_add (&w, 400, 50, NAT_RANK_VIDEO);
  for (guint i = 0; i < 10; i++)
    world_add (&w, 50, 3, NAT_RANK_VIDEO);
  sound = world_add (&w, 50, 50, NAT_RANK_AUDIO);
  run (&w);
  for (guint i = 3; i < 13; i++)
    assert_whole (&w.streams[i]);
  assert_whole (sound);
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (w.streams[i].served * 50, >, 20000 / 8 * 100);
}

/* Whoever is alone takes nothing from others, and where all want the same nobody wants too much; nor does anybody if
 * it is not the sending that takes the time. */
static void
test_nobody_gives_way (void)
{
  World w;

  world_init (&w, 20000);
  world_add (&w, 2000, 100, NAT_RANK_VIDEO);
  run (&w);
  g_assert_false (nat_fairness_limits (&w.f));
  world_init (&w, 20000);
  for (guint i = 0; i < STREAMS; i++)
    world_add (&w, 100, 20, NAT_RANK_VIDEO);
  run (&w);
  for (guint i = 0; i < STREAMS; i++)
    g_assert_cmpuint (w.streams[i].served * 21, >, 20000 / STREAMS * 100 * 9 / 10);
  world_init (&w, 20000);
  for (guint i = 0; i < 4; i++)
    world_add (&w, 160 + 20 * i, 50, NAT_RANK_VIDEO);
  run (&w);
  g_assert_false (nat_fairness_limits (&w.f));
  world_init (&w, 20000);
  world_add (&w, 300, 50, NAT_RANK_VIDEO);
  world_add (&w, 50, 1, NAT_RANK_VIDEO);
  w.junk = 15000;
  run (&w);
  g_assert_false (nat_fairness_limits (&w.f));
}

/* ---- Where media is verified ------------------------------------------- */

#define SEALED (NAT_PROBE_RTP + NAT_SFRAME_HEADER_MAX + NAT_SFRAME_TAG_SIZE)

typedef struct {
  NatWorker *w;
  NatDataSession *publisher;
  NatSframeSealer *sealer;
} Scene;

static void
scene_init (Scene *s)
{
  NatAddress from;
  NatMediaKey key;

  s->w = bare_worker_new ("127.0.0.1", 65536);
  g_assert_true (nat_address_from_text (&from, "127.0.0.1", 9));
  s->publisher = bare_worker_join (s->w, STREAM, NAT_ROLE_PUBLISHER, &from);
  nat_media_key_generate (&key, NAT_SFRAME_AES_128_GCM_SHA256_128);
  s->sealer = nat_sframe_sealer_new (&key);
  s->publisher->stream->verifier = nat_verifier_new (&key, 1);
  s->w->fairness.most = 4; /* packets to nobody, of which video may have three */
}

static void
scene_clear (Scene *s)
{
  nat_sframe_sealer_free (s->sealer);
  nat_worker_free (s->w);
}

/* Returns how many packets of the publisher were taken so far. */
static guint64
receive (Scene *s, guint8 *data, gsize len)
{
  nat_forward_receive (s->w, s->publisher->selected, data, len);
  nat_worker_flush (s->w);
  return nat_counter_get (&s->publisher->counters->packets_received);
}

static gsize
seal (Scene *s, guint16 seq, guint8 *out)
{
  guint8 rtp[NAT_PROBE_RTP];

  nat_probe_write_rtp (rtp, sizeof rtp, BARE_VIDEO_SSRC, seq, seq);
  return nat_sframe_sealer_seal (s->sealer, rtp, sizeof rtp, out);
}

/* What gave way and is repeated is no replay. */
static void
test_repeated (void)
{
  guint8 sealed[SEALED];
  gsize len = 0;
  Scene s;

  scene_init (&s);
  for (guint16 seq = 1; seq <= 4; seq++) {
    len = seal (&s, seq, sealed);
    g_assert_cmpuint (receive (&s, sealed, len), ==, MIN (seq, 3));
  }
  g_assert_cmpuint (nat_counter_get (&s.w->counters->drop_unfair), ==, 1);
  s.w->fairness.most = G_MAXUINT32;
  g_assert_cmpuint (receive (&s, sealed, len), ==, 4);
  g_assert_cmpuint (nat_counter_get (&s.w->counters->drop_unverified), ==, 0);
  scene_clear (&s);
}

/* What somebody sends from the publisher's address takes nothing of its share. */
static void
test_forged (void)
{
  guint8 sealed[SEALED];
  gsize len;
  Scene s;

  scene_init (&s);
  for (guint i = 0; i < 100; i++) {
    nat_probe_write_rtp (sealed, NAT_PROBE_RTP, BARE_VIDEO_SSRC, (guint16)i, i);
    g_assert_cmpuint (receive (&s, sealed, NAT_PROBE_RTP), ==, 0);
  }
  g_assert_cmpuint (nat_counter_get (&s.w->counters->drop_unverified), ==, 100);
  for (guint16 seq = 1; seq <= 3; seq++) {
    len = seal (&s, seq, sealed);
    g_assert_cmpuint (receive (&s, sealed, len), ==, seq);
  }
  scene_clear (&s);
}

/* ---- Reports ----------------------------------------------------------- */

#define REPORTS 10

static NatDataSession *
join_with_keys (NatWorker *w, NatRole role, guint16 port)
{
  NatDataSession *s;
  NatAddress from;

  g_assert_true (nat_address_from_text (&from, "127.0.0.1", port));
  s = bare_worker_join (w, STREAM, role, &from);
  s->password_secret = 1;
  s->has_epoch = TRUE;
  return s;
}

/* A sender report goes to every receiver, too, at more than what a packet costs. */
static void
test_reports (void)
{
  static const guint8 secret[32] = {1};
  g_autoptr (NatSecrets) secrets = nat_secrets_new ();
  NatWorker *w = bare_worker_new ("127.0.0.1", 65536);
  NatDataSession *publisher = join_with_keys (w, NAT_ROLE_PUBLISHER, 9);
  NatDataSession *subscriber = join_with_keys (w, NAT_ROLE_SUBSCRIBER, 10);
  char password[NAT_PASSWORD_TEXT + 1];
  guint8 sr[128 + NAT_SRTCP_OVERHEAD];
  NatSrtcp *srtcp;

  nat_secrets_add (secrets, 1, secret);
  w->secrets = secrets;
  g_assert_true (nat_ticket_password (secrets, 1, publisher->id, password));
  srtcp = nat_srtcp_new (password, NAT_SRTCP_CLIENT_TO_RELAY, w->boot_id, publisher->epoch);
  for (guint limited = 0; limited < 2; limited++) {
    guint64 before = nat_counter_get (&subscriber->counters->rtcp_sent);

    w->now_us += G_USEC_PER_SEC;                  /* not beyond what may come at once */
    w->fairness.most = limited ? 4 : G_MAXUINT32; /* of two messages, one of which comes in */
    for (guint i = 0; i < REPORTS; i++) {
      gsize len = nat_srtcp_protect (srtcp, sr, nat_probe_write_sr (sr, BARE_VIDEO_SSRC, 1 + i));

      nat_rtcpagg_receive (w, publisher->selected, sr, len);
    }
    g_assert_cmpuint (
        nat_counter_get (&subscriber->counters->rtcp_sent) - before, ==, limited ? 2 : REPORTS);
  }
  g_assert_cmpuint (nat_counter_get (&w->counters->reports_limited), ==, REPORTS - 2);
  nat_srtcp_free (srtcp);
  nat_worker_free (w);
}

/* ---- Descriptions ------------------------------------------------------ */

#define WATCHERS 50
#define CHANGES  100

/* A publisher that describes its stream anew without end has everybody told that once, and once more when that is paid for. */
static void
test_descriptions (void)
{
  NatCommand c = {.type = NAT_COMMAND_DESCRIBE, .describe.stream = STREAM};
  NatWorker *w = bare_worker_new ("127.0.0.1", 65536);
  guint64 told;
  NatAddress from;

  g_assert_true (nat_address_from_text (&from, "127.0.0.1", 9));
  bare_worker_join (w, STREAM, NAT_ROLE_PUBLISHER, &from);
  for (guint i = 0; i < WATCHERS; i++) {
    from.port++;
    bare_worker_join (w, STREAM, NAT_ROLE_SUBSCRIBER, &from);
  }
  w->now_us += G_USEC_PER_SEC;
  told = nat_counter_get (&w->counters->datagrams_sent);
  for (guint i = 0; i < CHANGES; i++) {
    c.describe.version++;
    nat_command_apply (w, &c);
  }
  told += WATCHERS + 1;
  g_assert_cmpuint (nat_counter_get (&w->counters->datagrams_sent), ==, told);
  nat_rtcpagg_tick (w);
  g_assert_cmpuint (nat_counter_get (&w->counters->datagrams_sent), ==, told);
  w->now_us += 20 * (WATCHERS + 1);
  told += WATCHERS + 1;
  for (guint i = 0; i < 2; i++) {
    nat_rtcpagg_tick (w);
    g_assert_cmpuint (nat_counter_get (&w->counters->datagrams_sent), ==, told);
    w->now_us += G_USEC_PER_SEC;
  }
  nat_worker_free (w);
}

/* ---- Lists of receivers ------------------------------------------------ */

/* A list that is not paid for yet is waited for, without turning round and round; and then it is built. */
static void
test_waits_for_list (void)
{
  NatWorker *w = bare_worker_new ("127.0.0.1", 65536);
  gint64 end = g_get_monotonic_time () + NAT_PROBE_WAIT_MS * 1000;
  NatDataSession *s;
  NatAddress from;
  guint built;

  g_assert_true (nat_address_from_text (&from, "127.0.0.1", 9));
  s = bare_worker_join (w, STREAM, NAT_ROLE_SUBSCRIBER, &from);
  s->binding_us = w->now_us;
  built = w->roster->n_built;
  nat_roster_mark_stale (w->roster, s->stream);
  w->tick_us = g_get_monotonic_time ();
  w->roster->paid_us = w->tick_us + 40 * 1000;
  g_assert_true (nat_worker_start (w, NULL));
  while (nat_counter_get (&w->counters->wakeups) == 0 && g_get_monotonic_time () < end)
    g_usleep (1000);
  nat_worker_ask_to_stop (w, NAT_REASON_GOING_AWAY);
  nat_worker_join (w);
  g_assert_cmpuint (w->roster->n_built, ==, built + 1);
  g_assert_cmpuint (nat_counter_get (&w->counters->wakeups), <, 10);
  nat_worker_free (w);
}

/* ---- A worker ---------------------------------------------------------- */

#define QUIET    "quiet"
#define AUDIENCE 200
#define BURST    20
#define LEN      1200
#define ASKED    100 /* packets of the quiet stream in a try */
#define TRIES    40 /* while others have the worker's core, the system drops for it, and not fairly */

typedef struct {
  NatProbe *publisher;
  gint stop;
} Flood;

/* More than any core sends on. */
static gpointer
flood (gpointer data)
{
  Flood *f = data;
  guint8 rtp[LEN];
  guint16 seq = 0;

  while (!g_atomic_int_get (&f->stop)) {
    for (guint i = 0; i < BURST; i++, seq++) {
      nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, seq, seq);
      nat_probe_send (f->publisher, rtp, sizeof rtp);
    }
    g_usleep (200);
  }
  return NULL;
}

static NatProbe *
publish_quietly (DataRelay *r, NatSessionCounters **c)
{
  const NatTracks tracks = {1, {{AUDIO_SSRC, 97, 48000, "audio"}}};
  NatTicket ticket = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  NatProbe *p;

  strcpy (ticket.stream, QUIET);
  p = data_relay_join (r, &ticket, c);
  g_assert_true (nat_dataplane_set_description (r->dp, QUIET, &tracks, 1, ticket.session_id));
  g_assert_cmpint (nat_probe_indication (p, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  return p;
}

/* How many of the next packets the worker got. */
static guint64
pass (NatProbe *quiet, const NatSessionCounters *c, guint16 *seq)
{
  guint64 before = nat_counter_get (&c->packets_received);

  for (guint i = 0; i < ASKED; i++) {
    nat_probe_send_rtp (quiet, AUDIO_SSRC, (*seq)++);
    g_usleep (2000);
  }
  g_usleep (200 * 1000);
  return nat_counter_get (&c->packets_received) - before;
}

/* Without fairness it gets a tenth. */
static void
test_overwhelmed_worker (void)
{
  g_autoptr (DataRelay) r =
      data_relay_new_with (&(NatDataplaneConfig){.socket_buffer = 4 * 1024 * 1024});
  NatTicket ticket;
  NatSessionCounters *hog, *c;
  Flood f = {data_relay_publish (r, &ticket, &hog), FALSE};
  g_autoptr (NatProbe) quiet = publish_quietly (r, &c);
  NatProbe *audience[AUDIENCE];
  gint64 end = g_get_monotonic_time () + 60 * G_USEC_PER_SEC;
  guint64 got = 0;
  guint16 seq = 0;
  GThread *thread;

  for (guint i = 0; i < AUDIENCE; i++)
    audience[i] = data_relay_subscribe (r, &ticket, NULL);
  thread = g_thread_new ("flood", flood, &f);
  while (DATA_RELAY_COUNT (r, drop_unfair) == 0 && g_get_monotonic_time () < end)
    pass (quiet, c, &seq); /* who is alone takes nothing from anybody */
  g_assert_cmpuint (DATA_RELAY_COUNT (r, drop_unfair), >, 0);
  for (guint i = 0; i < TRIES && got < ASKED / 2; i++)
    got = pass (quiet, c, &seq);
  g_test_message ("%" G_GUINT64_FORMAT " of %u, and of the flood %" G_GUINT64_FORMAT, got, ASKED,
      nat_counter_get (&hog->packets_received));
  g_atomic_int_set (&f.stop, TRUE);
  g_thread_join (thread);
  for (guint i = 0; i < AUDIENCE; i++)
    nat_probe_free (audience[i]);
  nat_probe_free (f.publisher);
  g_assert_cmpuint (nat_counter_get (&hog->packets_received), >, 0);
  nat_session_counters_unref (hog);
  nat_session_counters_unref (c);
  g_assert_cmpuint (got, >=, ASKED / 2);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/fairness/one-of-many", test_one_of_many);
  g_test_add_func ("/fairness/some-of-many", test_some_of_many);
  g_test_add_func ("/fairness/nobody-gives-way", test_nobody_gives_way);
  g_test_add_func ("/fairness/repeated", test_repeated);
  g_test_add_func ("/fairness/forged", test_forged);
  g_test_add_func ("/fairness/reports", test_reports);
  g_test_add_func ("/fairness/descriptions", test_descriptions);
  g_test_add_func ("/fairness/waits-for-list", test_waits_for_list);
  g_test_add_func ("/fairness/overwhelmed-worker", test_overwhelmed_worker);
  return g_test_run ();
}
