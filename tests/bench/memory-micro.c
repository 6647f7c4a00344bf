/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a registered mapping takes in the worker's memory, the allocator's share included: 100,000
 * subscribers of 1000 streams. Their counters, which control and observers share, are told apart.
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include "micro.h"
#include "natserver/data/roster.h"

#define MAPPINGS 100000u
#define STREAMS  1000u

static double
allocated (void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  struct mallinfo2 info = mallinfo2 ();

  return (double)(info.uordblks + info.hblkhd);
#else
  return 0;
#endif
}

static NatUdpio *
open_io (void)
{
  static NatWorkerCounters counters;
  NatAddress listen;
  NatUdpio *io;

  nat_address_from_text (&listen, "127.0.0.1", 0);
  io = nat_udpio_new (&listen, 1, 65536, &counters, NULL, NULL);
  bench_require (io != NULL, "a socket can be had");
  return io;
}

static void
join (NatRoster *r, NatUdpio *io, guint i, NatSessionCounters *counters)
{
  NatTicket t = {.role = NAT_ROLE_SUBSCRIBER, .password_secret = 1, .expires_s = 3600};
  NatUdpSource source = {.scope = 1};
  guint32 ip = g_htonl (0x0a000000 + i);
  NatDataSession *s;

  memcpy (t.session_id, &i, sizeof i);
  g_snprintf (t.stream, sizeof t.stream, "stream-%u", i / (MAPPINGS / STREAMS));
  nat_address_from_ip (&source.key.remote, (const guint8 *)&ip, 4, 40000);
  nat_address_from_text (&source.key.local, "127.0.0.1:8443", 0);
  s = nat_roster_add (r, &t, counters, 1);
  s->state = NAT_DATA_REGISTERED;
  nat_roster_select (r, nat_roster_validate_path (r, s, &source, io, 1));
}

int
main (void)
{
  NatSessionCounters *counters = nat_session_counters_new ();
  NatUdpio *io = open_io ();
  double before = allocated ();
  NatRoster *r = nat_roster_new ();

  for (guint i = 0; i < MAPPINGS; i++) {
    join (r, io, i, counters);
    if ((i + 1) % (MAPPINGS / STREAMS) == 0)
      nat_roster_settle (r);
  }
  bench_require (r->live->len == MAPPINGS && nat_table_size (r->paths) == MAPPINGS,
      "all mappings are registered");
  printf ("{\"name\": \"mapping-memory\", \"bytes\": %.0f, \"counters_bytes\": %zu}\n",
      (allocated () - before) / MAPPINGS, sizeof (NatSessionCounters));
  nat_roster_free (r);
  nat_udpio_free (io);
  nat_session_counters_unref (counters);
  return 0;
}
