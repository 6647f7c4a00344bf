/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/endedset.h"

#include <string.h>

#include "natproto/crypto.h"

#define NOW       1800000000
#define MANY      100000
#define EACH_MOST 22 /* bytes for an id in a table that does not grow right now */

typedef struct {
  guint8 bytes[NAT_SESSION_ID_SIZE];
} Id;

static Id
draw (void)
{
  Id id;

  nat_crypto_random (id.bytes, sizeof id.bytes);
  return id;
}

static void
test_add_and_find (void)
{
  NatEndedSet *set = nat_ended_set_new ();
  Id a = draw (), b = draw (), none = {{0}};

  g_assert_cmpint (nat_ended_set_find (set, a.bytes), ==, NAT_REASON_NONE);
  nat_ended_set_add (set, a.bytes, NAT_REASON_ENDED, NOW + 10);
  nat_ended_set_add (set, b.bytes, NAT_REASON_REVOKED, NOW + 20);
  g_assert_cmpint (nat_ended_set_find (set, a.bytes), ==, NAT_REASON_ENDED);
  g_assert_cmpint (nat_ended_set_find (set, b.bytes), ==, NAT_REASON_REVOKED);
  g_assert_cmpint (nat_ended_set_find (set, none.bytes), ==, NAT_REASON_NONE);
  nat_ended_set_add (set, none.bytes, NAT_REASON_EXPIRED, NOW + 20); /* all bits 0 is an id, too */
  g_assert_cmpint (nat_ended_set_find (set, none.bytes), ==, NAT_REASON_EXPIRED);
  nat_ended_set_add (set, a.bytes, NAT_REASON_SUPERSEDED, NOW + 20);
  g_assert_cmpint (nat_ended_set_find (set, a.bytes), ==, NAT_REASON_SUPERSEDED);
  g_assert_cmpuint (nat_ended_set_size (set), ==, 3);
  b = draw ();
  nat_ended_set_add (set, b.bytes, NAT_REASON_EXPIRED, 0);
  g_assert_cmpint (nat_ended_set_find (set, b.bytes), ==, NAT_REASON_EXPIRED);
  g_assert_cmpuint (nat_ended_set_size (set), ==, 4);
  nat_ended_set_prune (set, NOW);
  g_assert_cmpint (nat_ended_set_find (set, b.bytes), ==, NAT_REASON_NONE);
  g_assert_cmpuint (nat_ended_set_size (set), ==, 3);
  nat_ended_set_free (set);
}

/* Each is known until its end at least, and not for long after it. */
static void
test_ends (void)
{
  NatEndedSet *set = nat_ended_set_new ();
  Id ids[300];

  for (guint i = 0; i < G_N_ELEMENTS (ids); i++) {
    gint64 now = NOW + 60 * (gint64)i;

    ids[i] = draw ();
    nat_ended_set_prune (set, now);
    nat_ended_set_add (set, ids[i].bytes, NAT_REASON_ENDED, now + NAT_TICKET_LIFETIME_S);
    for (guint k = 0; k <= i; k++) {
      gint64 since_end = now - (NOW + 60 * (gint64)k + NAT_TICKET_LIFETIME_S);
      NatReason reason = nat_ended_set_find (set, ids[k].bytes);

      if (since_end < 0)
        g_assert_cmpint (reason, ==, NAT_REASON_ENDED);
      else if (since_end >= NAT_TICKET_LIFETIME_S / 2)
        g_assert_cmpint (reason, ==, NAT_REASON_NONE);
    }
  }
  g_assert_cmpuint (nat_ended_set_size (set), <=, 90);
  nat_ended_set_prune (set, NOW + 300 * 60 + NAT_TICKET_LIFETIME_S);
  g_assert_cmpuint (nat_ended_set_size (set), ==, 0);
  g_assert_cmpuint (nat_ended_set_bytes (set), ==, 0);
  nat_ended_set_free (set);
}

/* A clock that jumps about loses nobody before the end. */
static void
test_jumping_clock (void)
{
  static const gint64 ends[] = {0, 100000, 200000, 300000, 5, 400000};
  NatEndedSet *set = nat_ended_set_new ();
  Id ids[G_N_ELEMENTS (ends)];

  for (guint i = 0; i < G_N_ELEMENTS (ends); i++) {
    ids[i] = draw ();
    nat_ended_set_add (set, ids[i].bytes, NAT_REASON_ENDED, NOW + ends[i] + 1);
  }
  for (guint now = 0; now < G_N_ELEMENTS (ends); now++) {
    nat_ended_set_prune (set, NOW + ends[now]);
    for (guint i = 0; i < G_N_ELEMENTS (ends); i++) {
      if (ends[i] >= MAX (ends[now], 300000))
        g_assert_cmpint (nat_ended_set_find (set, ids[i].bytes), ==, NAT_REASON_ENDED);
    }
  }
  nat_ended_set_prune (set, NOW + 400001);
  g_assert_cmpuint (nat_ended_set_size (set), ==, 0);
  nat_ended_set_free (set);
}

static void
test_many (void)
{
  NatEndedSet *set = nat_ended_set_new ();
  g_autofree Id *ids = g_new (Id, MANY);

  for (guint i = 0; i < MANY; i++) {
    ids[i] = draw ();
    nat_ended_set_add (set, ids[i].bytes, NAT_REASON_ENDED + i % 4, NOW + i / 100);
    if (i > 100)
      g_assert_cmpuint (nat_ended_set_bytes (set), <=, (i + 1) * EACH_MOST);
  }
  for (guint i = 0; i < MANY; i++)
    g_assert_cmpint (nat_ended_set_find (set, ids[i].bytes), ==, NAT_REASON_ENDED + (gint)(i % 4));
  g_assert_cmpuint (nat_ended_set_size (set), ==, MANY);
  for (guint i = 0; i < MANY; i++) {
    Id other = draw ();

    g_assert_cmpint (nat_ended_set_find (set, other.bytes), ==, NAT_REASON_NONE);
  }
  nat_ended_set_free (set);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/endedset/add-and-find", test_add_and_find);
  g_test_add_func ("/endedset/ends", test_ends);
  g_test_add_func ("/endedset/jumping-clock", test_jumping_clock);
  g_test_add_func ("/endedset/many", test_many);
  return g_test_run ();
}
