/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The packet path allocates nothing and takes no lock, also where one worker hears for another: calls
 * of malloc and its kin and of pthread_mutex_lock are counted in all threads but the test's own while
 * packets flow. (Not under sanitizers, which bring their own.) */

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "carrier.h"
#include "datarelay.h"
#include "natproto/rtcp.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTING 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTING 0
#endif
#endif
#ifndef COUNTING
#ifdef __GLIBC__
#define COUNTING 1
#else
#define COUNTING 0
#endif
#endif

static _Atomic guint allocations, locks;
static _Thread_local gboolean uncounted; /* the test's own thread */

#if COUNTING
void *__libc_malloc (size_t n);
void *__libc_calloc (size_t n, size_t size);
void *__libc_realloc (void *p, size_t n);

void *
malloc (size_t n)
{
  allocations += !uncounted;
  return __libc_malloc (n);
}

void *
calloc (size_t n, size_t size)
{
  allocations += !uncounted;
  return __libc_calloc (n, size);
}

void *
realloc (void *p, size_t n)
{
  allocations += !uncounted;
  return __libc_realloc (p, n);
}

int
pthread_mutex_lock (pthread_mutex_t *mutex)
{
  static int (*_Atomic real) (pthread_mutex_t *);

  if (!real)
    real = (int (*) (pthread_mutex_t *))dlsym (RTLD_NEXT, "pthread_mutex_lock");
  locks += !uncounted;
  return real (mutex);
}
#endif

#define PACKETS 2000

/* Waits by counters, not by receiving: the probe's inbox allocates. */
static void
send_and_wait (NatProbe *p, const NatSessionCounters *c, guint n)
{
  guint64 before = nat_counter_get (&c->packets_received) + nat_counter_get (&c->rtp_refused);
  guint8 rtp[1200];

  for (guint i = 0; i < n; i++) {
    nat_probe_write_rtp (rtp, sizeof rtp, i % 10 ? VIDEO_SSRC : 0xdeadbeef, (guint16)i, i);
    nat_probe_send (p, rtp, sizeof rtp);
    while (
        i % 50 == 49 &&
        nat_counter_get (&c->packets_received) + nat_counter_get (&c->rtp_refused) < before + i + 1)
      g_thread_yield ();
  }
}

/* What is counted is counted: in any thread that is not this one. */
static gpointer
count_one (gpointer mutex)
{
  g_free (g_malloc (100));
  pthread_mutex_lock (mutex);
  pthread_mutex_unlock (mutex);
  return NULL;
}

static void
assert_counting (void)
{
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  guint allocated = allocations, locked = locks;

  g_thread_join (g_thread_new ("count", count_one, &mutex));
  g_assert_cmpuint (allocations, >, allocated);
  g_assert_cmpuint (locks, >, locked);
}

/* One that this worker hears. */
static NatProbe *
subscribe_at (DataRelay *r, guint worker)
{
  NatProbe *p = data_relay_heard_by (r, worker);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);
  NatSessionCounters *c = nat_session_counters_new ();

  nat_probe_set_ticket (p, r->secrets, &t);
  g_assert_true (nat_dataplane_add_session (r->dp, &t, c, NULL));
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  nat_session_counters_unref (c);
  return p;
}

/* Keepalives and reports of registered addresses: GnuTLS may take memory for them, nobody takes a lock. */
static void
assert_no_lock_for_control (DataRelay *r, NatProbe *const *subscribers, guint n)
{
  guint locked;
  guint8 rr[NAT_DATAGRAM_MAX];

  for (guint i = 0; i < n; i++) { /* answers need room among the media */
    while (nat_probe_receive (subscribers[i], NAT_PACKET_RTP, rr, 0) >= 0)
      ;
  }
  for (guint round = 0; round < 2; round++) { /* contexts of SRTCP are made in the first */
    locked = locks;
    for (guint i = 0; i < n; i++) {
      g_assert_cmpint (nat_probe_bind (subscribers[i], NAT_PROBE_SELECT), ==, 0);
      nat_probe_send_rtcp (subscribers[i], rr, nat_rtcp_write_rr (rr, sizeof rr, 99, NULL, 0));
    }
    for (guint i = 0; i < n; i++) /* and behind them */
      g_assert_cmpint (nat_probe_bind (subscribers[i], NAT_PROBE_SELECT), ==, 0);
  }
  g_assert_cmpuint (locks - locked, ==, 0);
}

/* Its thread stands for that of the WebSockets, which may. */
static void
begin_carrier (void)
{
  uncounted = TRUE;
}

static NatProbe *
subscribe_carried (DataRelay *r, Carrier *carrier)
{
  NatProbe *p = carrier_connect (carrier, "198.51.100.7:4000", NULL);
  NatTicket t = data_relay_ticket (r, NAT_ROLE_SUBSCRIBER);

  nat_probe_set_ticket (p, r->secrets, &t);
  g_assert_cmpint (nat_probe_bind (p, NAT_PROBE_SELECT), ==, 0);
  return p;
}

static void
test_packet_path (void)
{
  NatDataTimes times;
  g_autoptr (DataRelay) r = NULL;
  NatTicket tp;
  NatSessionCounters *c;
  g_autoptr (NatProbe) publisher = NULL;
  g_autoptr (NatProbe) carried = NULL;
  g_autoptr (Carrier) carrier = NULL;
  NatProbe *subscribers[NAT_WORKERS_MAX];
  guint n = data_relay_workers (), passed = 0;
  guint8 rtp[NAT_DATAGRAM_MAX];

  if (!COUNTING) {
    g_test_skip ("malloc cannot be counted here");
    return;
  }
  assert_counting ();
  /* Without receiver reports: GnuTLS, which seals them, may take memory of its own. The stream stays
   * where it is, so that all but one worker hear for its owner. */
  data_relay_default_times (&times);
  times.report_us = times.move_us = (gint64)3600 * G_USEC_PER_SEC;
  r = data_relay_new ("127.0.0.1", FALSE, &times);
  publisher = data_relay_publish (r, &tp, &c);
  for (guint i = 0; i < n; i++)
    subscribers[i] = subscribe_at (r, i);
  carrier = carrier_new (r->dp, begin_carrier);
  carried = subscribe_carried (r, carrier);
  send_and_wait (publisher, c, 100);
  g_assert_true (n == 1 || locks > 0);
  for (guint worker = 0; worker < n; worker++) {
    guint allocated, locked;
    guint64 before;

    data_relay_move (r, publisher, worker);
    g_assert_cmpint (nat_probe_bind (publisher, NAT_PROBE_SELECT), ==, 0);
    send_and_wait (publisher, c, 100);
    before = DATA_RELAY_COUNT (r, passed_on);
    allocated = allocations;
    locked = locks;
    send_and_wait (publisher, c, PACKETS);
    g_assert_cmpuint (allocations - allocated, ==, 0);
    g_assert_cmpuint (locks - locked, ==, 0);
    passed += DATA_RELAY_COUNT (r, passed_on) - before == PACKETS;
  }
  g_assert_cmpuint (passed, ==, n - 1);
  g_assert_cmpint (nat_probe_receive (carried, NAT_PACKET_RTP, rtp, NAT_PROBE_WAIT_MS), ==, 1200);
  assert_no_lock_for_control (r, subscribers, n);
  for (guint i = 0; i < n; i++)
    nat_probe_free (subscribers[i]);
  nat_session_counters_unref (c);
}

int
main (int argc, char **argv)
{
  uncounted = TRUE;
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/allocation/packet-path", test_packet_path);
  return g_test_run ();
}
