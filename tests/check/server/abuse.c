/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Hostile datagrams by the thousand, from strangers and from registered addresses: a stream beside
 * them flows on, nobody gets more bytes than he sent, and nothing is believed. */

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "datarelay.h"
#include "natproto/crypto.h"

#define ROUNDS 4000

typedef struct {
  DataRelay *r;
  NatTicket tp, ts;
  NatProbe *publisher, *subscriber, *stranger;
  GRand *rand;
  guint16 seq;
} Fixture;

static void
set_up (Fixture *f, gconstpointer unused)
{
  f->r = data_relay_new ("127.0.0.1", FALSE, NULL);
  f->publisher = data_relay_publish (f->r, &f->tp, NULL);
  f->subscriber = data_relay_subscribe (f->r, &f->ts, NULL);
  f->stranger = nat_probe_new ("127.0.0.1", &f->r->address);
  f->rand = g_rand_new_with_seed (g_test_rand_int ());
}

static void
tear_down (Fixture *f, gconstpointer unused)
{
  g_rand_free (f->rand);
  nat_probe_free (f->stranger);
  nat_probe_free (f->subscriber);
  nat_probe_free (f->publisher);
  data_relay_free (f->r);
}

static guint
below (Fixture *f, guint n)
{
  return (guint)g_rand_int_range (f->rand, 0, (gint32)n);
}

/* Every so often the stream is looked at; that also keeps us from overrunning the relay's buffer. */
static void
still_flows (Fixture *f, guint round)
{
  if (round % 50 == 49)
    data_relay_assert_passes (f->publisher, f->subscriber, VIDEO_SSRC, f->seq++);
}

static gsize
bytes_waiting (NatProbe *p)
{
  guint8 buf[65536];
  gsize sum = 0;
  gssize n;

  while ((n = recv (p->fd, buf, sizeof buf, MSG_DONTWAIT)) >= 0)
    sum += (gsize)n;
  return sum;
}

static gsize
random_datagram (Fixture *f, guint8 *buf)
{
  static const guint8 firsts[] = {0, 1, 3, 4, 63, 127, 0x80, 0x90, 0x9f, 0xa0, 0xbf, 192, 255};
  gsize len = below (f, 20) == 0 ? below (f, 9000) : below (f, 300);

  for (gsize i = 0; i < len; i++)
    buf[i] = (guint8)below (f, 256);
  if (len > 0 && below (f, 4) > 0)
    buf[0] = firsts[below (f, G_N_ELEMENTS (firsts))];
  if (len > 1 && below (f, 4) == 0)
    buf[1] = (guint8)(192 + below (f, 32));
  return len;
}

static void
test_random (Fixture *f, gconstpointer from)
{
  NatProbe *p = GPOINTER_TO_INT (from) == 0   ? f->stranger
                : GPOINTER_TO_INT (from) == 1 ? f->subscriber
                                              : f->publisher;
  guint8 buf[9000];
  gsize sent = 0, got = 0;

  for (guint i = 0; i < ROUNDS; i++) {
    gsize len = random_datagram (f, buf);

    nat_probe_send (p, buf, len);
    sent += len;
    still_flows (f, i);
    if (p == f->stranger)
      got += bytes_waiting (p);
  }
  data_relay_sync (f->r);
  g_assert_cmpuint (got + bytes_waiting (f->stranger), <=, sent);
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, drop_oversize), >, 0);
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, drop_unknown), >, 0);
  data_relay_no_event (f->r);
}

/* A good request with some bytes changed, cut or longer, its length field put right or not: never
 * success for a stranger, never a longer answer. */
static void
test_mutated_stun (Fixture *f, gconstpointer unused)
{
  guint8 good[NAT_DATAGRAM_MAX], buf[NAT_DATAGRAM_MAX];
  gsize len, sent = 0, got = 0;
  guint64 success = DATA_RELAY_COUNT (f->r, stun_success);

  nat_probe_set_ticket (f->stranger, f->r->secrets, &f->ts);
  g_assert_cmpint (nat_probe_challenge (f->stranger, 200, NAT_PROBE_WAIT_MS), ==, 401);
  len = nat_probe_request (f->stranger, NAT_PROBE_SELECT, good);
  for (guint i = 0; i < ROUNDS; i++) {
    gsize n = below (f, 4) ? len : 20 + below (f, (guint)len - 20);

    memcpy (buf, good, len);
    for (guint k = 1 + below (f, 3); k > 0; k--)
      buf[20 + below (f, (guint)len - 28)] ^= (guint8)(1 + below (f, 255));
    if (memcmp (buf, good, len) == 0)
      continue; /* two changes that undid each other: that one is good */
    if (below (f, 2)) {
      n &= ~(gsize)3;
      buf[2] = (guint8)((n - 20) >> 8);
      buf[3] = (guint8)(n - 20);
    }
    nat_probe_send (f->stranger, buf, n);
    sent += n;
    still_flows (f, i);
    got += bytes_waiting (f->stranger);
  }
  data_relay_sync (f->r);
  g_assert_cmpuint (got + bytes_waiting (f->stranger), <=, sent);
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, stun_success), ==, success);
  data_relay_no_event (f->r);
}

/* Mutated without FINGERPRINT, so that the bytes get behind that door. */
static void
test_mutated_auth (Fixture *f, gconstpointer unused)
{
  guint8 good[NAT_DATAGRAM_MAX], buf[NAT_DATAGRAM_MAX];
  gsize len, sent = 0, got = 0;
  guint64 success = DATA_RELAY_COUNT (f->r, stun_success);

  nat_probe_set_ticket (f->stranger, f->r->secrets, &f->ts);
  g_assert_cmpint (nat_probe_challenge (f->stranger, 200, NAT_PROBE_WAIT_MS), ==, 401);
  len = nat_probe_request (f->stranger, NAT_PROBE_SELECT, good) - NAT_STUN_FINGERPRINT_SIZE;
  good[2] = (guint8)((len - 20) >> 8);
  good[3] = (guint8)(len - 20);
  for (guint i = 0; i < ROUNDS; i++) {
    memcpy (buf, good, len);
    buf[8 + below (f, (guint)len - 8)] ^= (guint8)(1 + below (f, 255));
    nat_probe_send (f->stranger, buf, len);
    sent += len;
    still_flows (f, i);
    got += bytes_waiting (f->stranger);
  }
  data_relay_sync (f->r);
  g_assert_cmpuint (got + bytes_waiting (f->stranger), <=, sent);
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, stun_forged), >, 0);
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, stun_success), ==, success);
  data_relay_no_event (f->r);
}

/* Genuine protection around nonsense: the compound's own lengths lie. */
static void
test_random_rtcp (Fixture *f, gconstpointer unused)
{
  guint8 buf[NAT_DATAGRAM_MAX];

  for (guint i = 0; i < ROUNDS; i++) {
    NatProbe *p = i % 2 ? f->subscriber : f->publisher;
    gsize len = 8 + below (f, 200);

    for (gsize k = 0; k < len; k++)
      buf[k] = (guint8)below (f, 256);
    buf[0] = (guint8)(0x80 | (buf[0] & 0x3f));
    buf[1] = (guint8)(200 + below (f, 8));
    if (below (f, 2)) {
      len &= ~(gsize)3;
      buf[2] = 0;
      buf[3] = (guint8)(below (f, 3) ? len / 4 - 1 : below (f, (guint)len / 4));
    }
    nat_probe_send_rtcp (p, buf, len);
    still_flows (f, i);
  }
  data_relay_sync (f->r);
}

/* Past twenty thousand a second, the relay is silent to the unknown, and still there for its own. */
static void
test_flood (Fixture *f, gconstpointer unused)
{
  guint8 request[NAT_DATAGRAM_MAX];
  gint64 start = g_get_monotonic_time ();
  guint n = 0;

  nat_probe_set_ticket (f->stranger, f->r->secrets, &f->ts);
  g_strlcpy (f->stranger->nonce, "obMatJos2gAAAnonsense", sizeof f->stranger->nonce);
  f->stranger->username[0] = 'x';
  while (g_get_monotonic_time () - start < 300000) {
    gsize len = nat_probe_request (f->stranger, NAT_PROBE_SELECT, request);
    nat_probe_send (f->stranger, request, len);
    bytes_waiting (f->stranger);
    still_flows (f, n++);
  }
  /* The burst and what the rate gives in that time. */
  g_assert_cmpuint (DATA_RELAY_COUNT (f->r, stun_challenges), <=,
      5000 + 20 * (guint64)(g_get_monotonic_time () - start) / 1000 + 4);
  data_relay_assert_passes (f->publisher, f->subscriber, VIDEO_SSRC, f->seq++);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(path, data, func) g_test_add (path, Fixture, data, set_up, func, tear_down)
  ADD ("/abuse/random/stranger", GINT_TO_POINTER (0), test_random);
  ADD ("/abuse/random/subscriber", GINT_TO_POINTER (1), test_random);
  ADD ("/abuse/random/publisher", GINT_TO_POINTER (2), test_random);
  ADD ("/abuse/mutated-stun", NULL, test_mutated_stun);
  ADD ("/abuse/mutated-auth", NULL, test_mutated_auth);
  ADD ("/abuse/random-rtcp", NULL, test_random_rtcp);
  ADD ("/abuse/flood", NULL, test_flood);
  return g_test_run ();
}
