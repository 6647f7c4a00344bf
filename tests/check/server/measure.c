/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What passes, as the registry measures it: counters that the test moves, as workers would, and a clock of its own. */

#include <string.h>

#include "natproto/crypto.h"
#include "natserver/control/registry.h"
#include "natserver/observe/trend.h"

#define SDP                                                                                        \
  "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=x\r\nt=0 0\r\nm=audio 9 RTP/AVPF 97\r\n"                     \
  "a=rtpmap:97 OPUS/48000\r\na=ssrc:1 cname:x\r\nm=video 9 RTP/AVPF 96\r\n"                        \
  "a=rtpmap:96 H264/90000\r\na=ssrc:2 cname:x\r\n"

/* The data plane is not started: nobody else writes counters. */
typedef struct {
  NatDataplane *dp;
  NatSecrets *secrets;
  NatAdmission *admission;
  NatRegistry *registry;
  NatAddress peer;
  NatTime now;
  NatRegistered *publisher, *viewer;
  NatSessionCounters *in, *out;
} World;

static void
pass (World *w, guint seconds)
{
  w->now.us += seconds * G_USEC_PER_SEC;
  w->now.s += seconds;
  nat_registry_tick (w->registry, w->now);
}

static NatSnapshot *
look (World *w)
{
  NatSnapshot *snapshot = nat_snapshot_new ();

  nat_registry_snapshot (w->registry, snapshot);
  return snapshot;
}

static NatSessionCounters *
counters_of (World *w, NatRegistered *session)
{
  NatSnapshot *snapshot = look (w);
  NatSessionCounters *found = NULL;
  char text[NAT_SESSION_ID_TEXT + 1];

  nat_session_id_to_text (nat_registered_ticket (session)->session_id, text);
  for (guint i = 0; i < snapshot->sessions->len; i++) {
    NatSessionSnapshot *s = g_ptr_array_index (snapshot->sessions, i);

    if (strcmp (s->id, text) == 0)
      found = s->counters; /* the registry's, as long as the session lives */
  }
  nat_snapshot_free (snapshot);
  g_assert_nonnull (found);
  return found;
}

static void
join (World *w)
{
  NatCaller caller = {.open = TRUE, .token.expires_s = G_MAXINT64};
  NatDescription d = {.sdp = g_strdup (SDP)};
  NatTracks tracks;
  NatAsk publish = {
      .stream = "cam", .caller = &caller, .peer = &w->peer, .description = &d, .tracks = &tracks};
  NatAsk subscribe = {.stream = "cam", .caller = &caller, .peer = &w->peer};

  g_assert_true (nat_tracks_from_sdp (&tracks, SDP, NULL));
  g_assert_cmpint (
      nat_registry_publish (w->registry, w->now, &publish, &w->publisher), ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (
      nat_registry_subscribe (w->registry, w->now, &subscribe, &w->viewer), ==, NAT_PROBLEM_NONE);
  w->in = counters_of (w, w->publisher);
  w->out = counters_of (w, w->viewer);
}

static World *
world_new (void)
{
  NatDataplaneConfig config = {.n_listen = 1, .workers = 1, .socket_buffer = 65536};
  NatRegistryConfig registry = {0};
  NatAdmissionLimits none = {0};
  World *w = g_new0 (World, 1);
  guint8 secret[32];

  nat_crypto_random (secret, sizeof secret);
  w->secrets = nat_secrets_new ();
  nat_secrets_add (w->secrets, 1, secret);
  w->admission = nat_admission_new (&none);
  g_assert_true (nat_address_from_text (&w->peer, "192.0.2.1:1", 0));
  g_assert_true (nat_address_from_text (&config.listen[0], "127.0.0.1:0", 0));
  config.secrets = w->secrets;
  w->dp = nat_dataplane_new (&config, NULL, NULL);
  g_assert_nonnull (w->dp);
  registry.dataplane = w->dp;
  registry.secrets = w->secrets;
  registry.admission = w->admission;
  w->registry = nat_registry_new (&registry);
  w->now.us = 1000 * G_USEC_PER_SEC;
  w->now.s = 1700000000;
  join (w);
  pass (w, 1);
  return w;
}

static void
world_free (World *w)
{
  nat_registry_free (w->registry);
  nat_dataplane_free (w->dp);
  nat_admission_free (w->admission);
  nat_secrets_free (w->secrets);
  g_free (w);
}

static void
check (World *w, guint64 in_bps, guint64 out_bps, guint32 loss_in_ppm, guint32 loss_out_ppm)
{
  NatSnapshot *snapshot = look (w);
  NatStreamSnapshot *stream = g_ptr_array_index (snapshot->streams, 0);
  NatFlow kept;

  g_assert_cmpuint (stream->flow.in_bps, ==, in_bps);
  g_assert_cmpuint (stream->flow.out_bps, ==, out_bps);
  g_assert_cmpuint (stream->flow.loss_in_ppm, ==, loss_in_ppm);
  g_assert_cmpuint (stream->flow.loss_out_ppm, ==, loss_out_ppm);
  g_assert_true (nat_trend_get (stream->trend, snapshot->trend_tick, &kept));
  g_assert_cmpuint (kept.in_bps, ==, in_bps);
  g_assert_cmpuint (kept.loss_out_ppm, ==, loss_out_ppm);
  nat_snapshot_free (snapshot);
}

static void
test_bitrates_and_losses (void)
{
  World *w = world_new ();

  nat_counter_add (&w->in->bytes_received, 500000);
  nat_counter_add (&w->in->packets_received, 480);
  nat_counter_add (&w->in->packets_lost, 20);
  nat_counter_add (&w->out->bytes_sent, 1000000);
  nat_counter_add (&w->out->packets_sent, 510); /* 500 at first */
  nat_counter_add (&w->out->repairs_sent, 10);
  pass (w, 2);
  check (w, 2000000, 4000000, 40000, 20000);
  pass (w, 4); /* by the time that passed, whatever that was */
  check (w, 0, 0, 0, 0);
  nat_counter_add (&w->in->bytes_received, 500000);
  pass (w, 4);
  check (w, 1000000, 0, 0, 0);
  world_free (w);
}

static void
test_repaired_is_not_lost_again (void)
{
  World *w = world_new ();

  nat_counter_add (&w->in->packets_received, 980);
  nat_counter_add (&w->in->packets_lost, 20);
  pass (w, 2);
  check (w, 0, 0, 20000, 0);
  nat_counter_add (&w->in->packets_received, 20);
  nat_counter_add (&w->in->repairs_received, 20);
  atomic_store (&w->in->packets_lost, 0);
  pass (w, 2);
  check (w, 0, 0, 0, 0);
  /* Nor is it forgotten where all came again before anybody looked. */
  nat_counter_add (&w->in->packets_received, 1000);
  nat_counter_add (&w->in->repairs_received, 30);
  pass (w, 2);
  check (w, 0, 0, 30000, 0);
  world_free (w);
}

static void
test_who_does_not_ask_tells (void)
{
  World *w = world_new ();

  nat_counter_add (&w->out->bytes_sent, 1000);
  nat_counter_add (&w->out->packets_sent, 1);
  atomic_store (&w->out->fraction_lost, 64);
  pass (w, 2);
  check (w, 0, 4000, 0, 250000);
  world_free (w);
}

static void
test_who_left_counts_once (void)
{
  World *w = world_new ();

  nat_counter_add (&w->out->bytes_sent, 250000);
  nat_registry_end (w->registry, w->now, w->viewer, NAT_REASON_ENDED, FALSE);
  pass (w, 2);
  check (w, 0, 1000000, 0, 0);
  pass (w, 2);
  check (w, 0, 0, 0, 0);
  world_free (w);
}

static void
test_what_is_told_of_a_stream (void)
{
  World *w = world_new ();
  NatSnapshot *snapshot = look (w);
  NatStreamSnapshot *stream = g_ptr_array_index (snapshot->streams, 0);

  g_assert_cmpstr (stream->media, ==, "audio, video");
  g_assert_cmpint (stream->since_s, ==, 1700000000);
  g_assert_false (stream->pattern);
  nat_snapshot_free (snapshot);
  nat_registry_end (w->registry, w->now, w->publisher, NAT_REASON_ENDED, FALSE);
  snapshot = look (w);
  stream = g_ptr_array_index (snapshot->streams, 0);
  g_assert_cmpint (stream->since_s, ==, 0);
  nat_snapshot_free (snapshot);
  world_free (w);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define T(name) g_test_add_func ("/measure/" #name, test_##name)
  T (bitrates_and_losses);
  T (repaired_is_not_lost_again);
  T (who_does_not_ask_tells);
  T (who_left_counts_once);
  T (what_is_told_of_a_stream);
  return g_test_run ();
}
