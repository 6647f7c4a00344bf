/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "datarelay.h"

#include <poll.h>
#include <string.h>

#include "natproto/crypto.h"

/* NATRELAY_TEST_WORKERS: the same tests hold with any number. */
guint
data_relay_workers (void)
{
  const char *text = g_getenv ("NATRELAY_TEST_WORKERS");

  return text ? (guint)g_ascii_strtoull (text, NULL, 10) : 1;
}

static void
set_listen (NatDataplaneConfig *config, const char *listen, guint16 port, gboolean with_ipv6)
{
  g_assert_true (nat_address_from_text (&config->listen[0], listen, port));
  config->n_listen = 1;
  if (with_ipv6) {
    g_assert_true (nat_address_from_text (&config->listen[1], "[::]", port));
    config->n_listen = 2;
  }
}

static DataRelay *
start (DataRelay *r, NatDataplaneConfig *config, const NatDataTimes *times)
{
  g_autoptr (GError) error = NULL;
  NatDataTimes own;

  config->secrets = r->secrets;
  config->workers = data_relay_workers ();
  if (config->socket_buffer == 0)
    config->socket_buffer = 1024 * 1024;
  config->cache_bytes = 64 * 1024 * 1024;
  nat_crypto_random (config->boot_id, sizeof config->boot_id);
  r->dp = nat_dataplane_new (config, NULL, &error);
  if (!r->dp && config->n_listen == 2) {
    g_clear_error (&error);
    g_test_message ("no IPv6 here: IPv6 not tried");
    config->n_listen = 1;
    r->dp = nat_dataplane_new (config, NULL, &error);
  }
  g_assert_no_error (error);
  if (!times) {
    nat_dataplane_get_times (r->dp, &own);
    own.repeat_us = 0;
  }
  nat_dataplane_set_times (r->dp, times ? times : &own);
  r->address = *nat_dataplane_local (r->dp, 0);
  if (nat_address_is_any (&r->address))
    g_assert_true (nat_address_from_text (&r->address, "127.0.0.1", r->address.port));
  if (config->n_listen == 2)
    g_assert_true (
        nat_address_from_text (&r->address6, "[::1]", nat_dataplane_local (r->dp, 1)->port));
  g_assert_true (nat_dataplane_start (r->dp, &error));
  g_assert_no_error (error);
  return r;
}

static DataRelay *
with_secrets (void)
{
  DataRelay *r = g_new0 (DataRelay, 1);
  guint8 secret[32];

  r->secrets = nat_secrets_new ();
  nat_crypto_random (secret, sizeof secret);
  nat_secrets_add (r->secrets, 1, secret);
  return r;
}

DataRelay *
data_relay_new (const char *listen, gboolean with_ipv6, const NatDataTimes *times)
{
  NatDataplaneConfig config = {0};

  set_listen (&config, listen, 0, with_ipv6);
  return start (with_secrets (), &config, times);
}

DataRelay *
data_relay_new_with (const NatDataplaneConfig *how)
{
  NatDataplaneConfig config = *how;

  set_listen (&config, "127.0.0.1", 0, FALSE);
  return start (with_secrets (), &config, NULL);
}

DataRelay *
data_relay_restart (DataRelay *old)
{
  DataRelay *r = g_new0 (DataRelay, 1);
  NatDataplaneConfig config = {0};

  config.listen[0] = *nat_dataplane_local (old->dp, 0);
  config.n_listen = 1;
  r->secrets = g_steal_pointer (&old->secrets);
  data_relay_free (old);
  return start (r, &config, NULL);
}

void
data_relay_free (DataRelay *r)
{
  if (!r)
    return;
  nat_dataplane_free (r->dp);
  nat_secrets_free (r->secrets);
  g_free (r);
}

void
data_relay_default_times (NatDataTimes *times)
{
  NatDataplaneConfig config = {0};
  NatDataplane *dp;

  config.workers = 1;
  set_listen (&config, "127.0.0.1", 0, FALSE);
  dp = nat_dataplane_new (&config, NULL, NULL);
  g_assert_nonnull (dp);
  nat_dataplane_get_times (dp, times);
  times->repeat_us = 0;
  nat_dataplane_free (dp);
}

/* ---- Clients ----------------------------------------------------------- */

NatTicket
data_relay_ticket (DataRelay *r, NatRole role)
{
  NatTicket t = {.role = role, .password_secret = nat_secrets_current (r->secrets)};

  nat_crypto_random (t.session_id, sizeof t.session_id);
  t.expires_s = g_get_real_time () / G_USEC_PER_SEC + NAT_TICKET_LIFETIME_S;
  t.token_expires_s = G_MAXINT64;
  strcpy (t.stream, STREAM);
  return t;
}

NatProbe *
data_relay_probe (DataRelay *r, const NatTicket *ticket)
{
  NatProbe *p = nat_probe_new ("127.0.0.1", &r->address);

  nat_probe_set_ticket (p, r->secrets, ticket);
  return p;
}

NatProbe *
data_relay_join (DataRelay *r, NatTicket *ticket, NatSessionCounters **counters)
{
  NatSessionCounters *c = nat_session_counters_new ();
  NatProbe *p = data_relay_probe (r, ticket);
  NatEvent event;

  g_assert_true (nat_dataplane_add_session (r->dp, ticket, c, NULL));
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  g_assert_true (p->authentic);
  g_assert_true (data_relay_event (r, NAT_EVENT_REGISTERED, &event, NAT_PROBE_WAIT_MS));
  g_assert_cmpmem (event.session_id, NAT_SESSION_ID_SIZE, ticket->session_id, NAT_SESSION_ID_SIZE);
  if (counters)
    *counters = c;
  else
    nat_session_counters_unref (c);
  return p;
}

void
data_relay_describe (DataRelay *r, guint32 version, const NatTicket *publisher)
{
  static const NatTracks tracks = {
      2, {{VIDEO_SSRC, 96, 90000, "video"}, {AUDIO_SSRC, 97, 48000, "audio"}}};

  g_assert_true (nat_dataplane_set_description (
      r->dp, STREAM, &tracks, version, publisher ? publisher->session_id : NULL));
}

NatProbe *
data_relay_publish (DataRelay *r, NatTicket *ticket, NatSessionCounters **counters)
{
  NatProbe *p;

  *ticket = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  p = data_relay_join (r, ticket, counters);
  data_relay_describe (r, 1, ticket);
  g_assert_cmpint (nat_probe_indication (p, NAT_PROBE_WAIT_MS), ==, NAT_REASON_DESCRIPTION);
  return p;
}

NatProbe *
data_relay_subscribe (DataRelay *r, NatTicket *ticket, NatSessionCounters **counters)
{
  NatTicket unused, *t = ticket ? ticket : &unused;

  *t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  return data_relay_join (r, t, counters);
}

/* ---- Looking ----------------------------------------------------------- */

gboolean
data_relay_event (DataRelay *r, NatEventType type, NatEvent *event, guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;

  for (;;) {
    gint64 left = end - g_get_monotonic_time ();

    while (nat_dataplane_poll_event (r->dp, event)) {
      if (event->type == NAT_EVENT_REVIVED)
        nat_session_counters_unref (event->counters);
      if (event->type == type)
        return TRUE;
    }
    if (left <= 0)
      return FALSE;
    poll (&(struct pollfd){nat_dataplane_event_fd (r->dp), POLLIN, 0}, 1, (int)(left / 1000 + 1));
  }
}

void
data_relay_drain_events (DataRelay *r)
{
  NatEvent event;

  while (nat_dataplane_poll_event (r->dp, &event)) {
    if (event.type == NAT_EVENT_REVIVED)
      nat_session_counters_unref (event.counters);
  }
}

void
data_relay_no_event (DataRelay *r)
{
  NatEvent event;

  g_assert_false (nat_dataplane_poll_event (r->dp, &event));
}

guint64
data_relay_worker_count (DataRelay *r, guint worker, gsize offset)
{
  NatWorkerCounters *c = nat_dataplane_worker_counters (r->dp)[worker];

  return nat_counter_get (G_STRUCT_MEMBER_P (c, offset));
}

NatProbe *
data_relay_heard_by (DataRelay *r, guint worker)
{
  const gsize answers = G_STRUCT_OFFSET (NatWorkerCounters, stun_challenges);

  for (;;) {
    NatProbe *p = nat_probe_new ("127.0.0.1", &r->address);
    guint64 before = data_relay_worker_count (r, worker, answers);

    /* A flood elsewhere may use up the worker's answers for a moment. Asked again from the same address, so
     * that when an answer comes nothing is under way that another worker may count later. */
    while (nat_probe_challenge (p, 200, 50) != 401)
      continue;
    if (data_relay_worker_count (r, worker, answers) > before) /* counted before it is sent */
      return p;
    nat_probe_free (p);
  }
}

void
data_relay_move (DataRelay *r, NatProbe *p, guint worker)
{
  g_autoptr (NatProbe) other = data_relay_heard_by (r, worker);
  int fd = other->fd;

  other->fd = p->fd;
  p->fd = fd;
  p->local = other->local;
  strcpy (p->nonce, other->nonce);
  while (p->inbox.length > 0)
    g_bytes_unref (g_queue_pop_head (&p->inbox));
}

guint64
data_relay_count (DataRelay *r, gsize offset)
{
  guint64 sum = 0;

  for (guint i = 0; i < nat_dataplane_n_workers (r->dp); i++)
    sum += data_relay_worker_count (r, i, offset);
  return sum;
}

void
data_relay_assert_passes (NatProbe *from, NatProbe *to, guint32 ssrc, guint16 seq)
{
  guint8 rtp[NAT_PROBE_RTP], got[NAT_DATAGRAM_MAX];

  nat_probe_write_rtp (rtp, sizeof rtp, ssrc, seq, seq * 3000u);
  nat_probe_send (from, rtp, sizeof rtp);
  g_assert_cmpint (nat_probe_receive (to, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), ==, sizeof rtp);
  g_assert_cmpmem (got, sizeof rtp, rtp, sizeof rtp);
}

void
data_relay_assert_resent (NatProbe *to, guint16 last)
{
  guint8 got[NAT_DATAGRAM_MAX];

  do
    g_assert_cmpint (nat_probe_receive (to, NAT_PACKET_RTP, got, NAT_PROBE_WAIT_MS), >, 12);
  while ((got[2] << 8 | got[3]) != last);
}

void
data_relay_assert_active (DataRelay *r, NatProbe *publisher, gint64 limit_us)
{
  gint64 start = g_get_monotonic_time (), last = start, now = start;
  NatEvent event;
  guint8 rtp[200];

  for (; now - start < 1500000; last = now) {
    nat_probe_write_rtp (rtp, sizeof rtp, VIDEO_SSRC, 1, 1);
    nat_probe_send (publisher, rtp, sizeof rtp);
    g_usleep (20000);
    now = g_get_monotonic_time ();
    if (now - last > limit_us)
      start = now;
    while (now - start < 500000 && nat_dataplane_poll_event (r->dp, &event))
      continue;
    if (now - start >= 500000)
      data_relay_no_event (r);
  }
}

void
data_relay_sync (DataRelay *r)
{
  /* Each worker answers behind what it heard before; what it heard for others is served before they
   * answer in the next round, and what they passed on once more before they do in the third. */
  for (guint round = 0; round < (data_relay_workers () > 1 ? 3 : 1); round++) {
    for (guint i = 0; i < nat_dataplane_n_workers (r->dp); i++)
      nat_probe_free (data_relay_heard_by (r, i));
  }
}
