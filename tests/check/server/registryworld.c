/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "registryworld.h"

#include <string.h>
#include <glib/gstdio.h>

#include "natproto/crypto.h"

const NatDataTimes world_fast = {300 * 1000, 100 * 1000, 400 * 1000, 500 * 1000, 1};

World *
world_new (const NatAdmissionLimits *limits)
{
  NatAdmissionLimits none = {0};
  World *w = g_new0 (World, 1);
  guint8 secret[32];

  nat_crypto_random (secret, sizeof secret);
  w->secrets = nat_secrets_new ();
  nat_secrets_add (w->secrets, 1, secret);
  w->admission = nat_admission_new (limits ? limits : &none);
  w->path = g_strdup_printf ("%s/natrelay-test-%08x", g_get_tmp_dir (), g_random_int ());
  g_assert_true (nat_address_from_text (&w->peer, "192.0.2.1:1", 0));
  w->now.us = g_get_monotonic_time ();
  w->now.s = g_get_real_time () / G_USEC_PER_SEC;
  return w;
}

void
world_free (World *w)
{
  if (w->registry != NULL)
    world_stop (w);
  nat_admission_free (w->admission);
  nat_secrets_free (w->secrets);
  g_clear_pointer (&w->auth, nat_auth_free);
  g_unlink (w->path);
  g_free (w->path);
  g_free (w);
}

static NatDataplane *
dataplane_new (World *w, const NatDataTimes *times)
{
  NatDataplaneConfig config = {
      .n_listen = 1, .workers = 1, .socket_buffer = 65536, .secrets = w->secrets};
  NatDataplane *dp;

  g_assert_true (nat_address_from_text (&config.listen[0], "127.0.0.1:0", 0));
  dp = nat_dataplane_new (&config, NULL, NULL);
  g_assert_nonnull (dp);
  if (times != NULL)
    nat_dataplane_set_times (dp, times);
  return dp;
}

void
world_start_registry (World *w, const NatDataTimes *times)
{
  NatRegistryConfig config = {.secrets = w->secrets, .admission = w->admission, .auth = w->auth};

  config.dataplane = w->dp = dataplane_new (w, times);
  config.ended = w->ended = nat_ended_file_open (w->path, w->now.s, NULL);
  g_assert_nonnull (w->ended);
  nat_crypto_random (config.boot_id, sizeof config.boot_id);
  w->registry = nat_registry_new (&config);
  g_assert_true (nat_registry_flush (w->registry));
}

void
world_start (World *w, const NatDataTimes *times)
{
  world_start_registry (w, times);
  g_assert_true (nat_dataplane_start (w->dp, NULL));
}

void
world_stop (World *w)
{
  nat_dataplane_stop (w->dp, NAT_REASON_GOING_AWAY);
  g_clear_pointer (&w->registry, nat_registry_free);
  g_clear_pointer (&w->dp, nat_dataplane_free);
  g_clear_pointer (&w->ended, nat_ended_file_free);
}

void
world_pass (World *w, gdouble seconds)
{
  w->now.us += (gint64)(seconds * G_USEC_PER_SEC);
  w->now.s += (gint64)seconds;
  nat_registry_tick (w->registry, w->now);
}

NatProblemKind
world_publish (World *w, const char *stream, const NatCaller *caller, const char *sdp,
    gboolean takeover, NatRegistered **session)
{
  g_auto (NatDescription) d = {.sdp = g_strdup (sdp), .n_media_keys = 1};
  NatTracks tracks;
  NatAsk ask = {stream, caller, &w->peer, takeover, &d, &tracks};

  g_assert_true (nat_tracks_from_sdp (&tracks, sdp, NULL));
  memset (d.media_keys[0].key, caller->subject[0], NAT_MEDIA_KEY_SIZE);
  return nat_registry_publish (w->registry, w->now, &ask, session);
}

NatRegistered *
world_subscribe (World *w, const char *stream, const NatCaller *caller, const char *exclude)
{
  NatAsk ask = {stream, caller, &w->peer, .exclude = exclude};
  NatRegistered *session;

  g_assert_cmpint (
      nat_registry_subscribe (w->registry, w->now, &ask, &session), ==, NAT_PROBLEM_NONE);
  return session;
}

NatSurvey *
world_survey (World *w)
{
  NatSurvey *survey = nat_registry_survey (w->registry);

  while (nat_survey_go_on (survey))
    continue;
  return survey;
}

NatProbe *
world_probe (World *w, const NatTicket *ticket)
{
  NatProbe *p = nat_probe_new ("127.0.0.1", nat_dataplane_local (w->dp, 0));

  nat_probe_set_ticket (p, w->secrets, ticket);
  return p;
}
