/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What is beyond a limit of what may come in is dropped, under the limit's name. */

#include <string.h>

#include "datarelay.h"

/* 200 packets; how many of them were taken. */
static guint
taken_of_200 (DataRelay *r, NatProbe *publisher, guint first, NatSessionCounters *c)
{
  guint64 before = nat_counter_get (&c->packets_received);

  for (guint i = first; i < first + 200; i++)
    nat_probe_send_rtp (publisher, VIDEO_SSRC, (guint16)i);
  data_relay_sync (r);
  g_assert_cmpuint (
      nat_counter_get (&c->packets_received) + nat_counter_get (&c->rtp_refused), ==, first + 200);
  return (guint)(nat_counter_get (&c->packets_received) - before);
}

/* A lower limit from control holds at once, also where the client goes on with its older username. */
static void
test_rate (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = data_relay_join (r, &t, &c);
  g_autofree char *hints = NULL;
  guint taken;

  data_relay_describe (r, 1, &t);
  g_assert_cmpuint (taken_of_200 (r, publisher, 0, c), ==, 200);
  t.max_kbps = 80; /* 10,000 bytes a second, and as many at once: 50 packets of 200 */
  t.expires_s -= 100;
  g_assert_true (nat_dataplane_renew_session (r->dp, &t));
  g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
  taken = taken_of_200 (r, publisher, 200, c);
  g_assert_cmpuint (taken, >=, 50);
  g_assert_cmpuint (taken, <, 150);
  /* Under the limit's name. */
  g_assert_cmpuint (nat_counter_get (&c->rtp_over_limit), ==, 200 - taken);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, drop_max_kbps_per_subject), ==, 200 - taken);
  hints = nat_dataplane_poll_hints (r->dp);
  g_assert_nonnull (strstr (hints, "max-kbps of a token"));
  g_assert_null (nat_dataplane_poll_hints (r->dp));
  nat_session_counters_unref (c);
}

/* The relay's own limits, for who is there already. */
static void
test_relay_rates (void)
{
  NatRate rates[NAT_LIMITS] = {[NAT_LIMIT_ADDRESS] = {0, 50}};
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = data_relay_join (r, &t, &c);
  guint taken = 200;

  data_relay_describe (r, 1, &t);
  g_assert_cmpuint (taken_of_200 (r, publisher, 0, c), ==, 200);
  nat_dataplane_set_rates (r->dp, rates);
  for (guint first = 200; taken == 200; first += 200) /* until every session was looked at */
    taken = taken_of_200 (r, publisher, first, c);
  g_assert_cmpuint (nat_counter_get (&c->rtp_over_limit), ==, 200 - taken);
  g_assert_cmpuint (DATA_RELAY_COUNT (r, drop_max_packets_per_address), ==, 200 - taken);
  nat_session_counters_unref (c);
}

/* What is beyond a limit is not asked for again, also where the next packet shows that it is missing: it would be beyond it
 * once more. A test that was held up begins anew. */
static void
test_over_is_not_asked_for (void)
{
  g_autoptr (DataRelay) r = data_relay_new ("127.0.0.1", FALSE, NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_PUBLISHER);
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = NULL;
  guint64 asked, taken;
  guint first = 0;
  gint64 start;

  t.max_kbps = 80;
  publisher = data_relay_join (r, &t, &c);
  data_relay_describe (r, 1, &t);
  do {
    asked = nat_counter_get (&c->repairs_asked);
    start = g_get_monotonic_time ();
    taken_of_200 (r, publisher, first, c);
    taken = nat_counter_get (&c->packets_received);
    first += 200;
    g_usleep (100 * 1000); /* five packets' worth */
    nat_probe_send_rtp (publisher, VIDEO_SSRC, (guint16)first++);
    g_usleep (50 * 1000); /* within 10 ms it would be asked for */
    data_relay_sync (r);
  } while (g_get_monotonic_time () - start > 500 * 1000 ||
           nat_counter_get (&c->packets_received) == taken);
  g_assert_cmpuint (nat_counter_get (&c->repairs_asked), ==, asked);
  nat_session_counters_unref (c);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/rates/token", test_rate);
  g_test_add_func ("/rates/over-is-not-asked-for", test_over_is_not_asked_for);
  g_test_add_func ("/rates/relay", test_relay_rates);
  return g_test_run ();
}
