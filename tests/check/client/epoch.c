/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* No key of SRTCP with one index twice, whatever order the starts of relays and clients come in: as a client walks, with the
 * contexts themselves, and as a register of all that was sealed. (tests/sim looks for the same in whole sessions.) */

#include "natclient/epoch.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/srtcp.h"

#define RESTARTS  1000
#define RELAYS    3 /* that have their secret in common */
#define PASSWORDS 2

typedef struct {
  GRand *random;
  guint8 boots[RELAYS][NAT_BOOT_ID_SIZE];
  guint8 late[NAT_BOOT_ID_SIZE]; /* of a start that is over: its answer may still come */
  guint n_boots;
  char passwords[PASSWORDS][NAT_PASSWORD_TEXT + 1];
  NatEpoch epoch;
  NatSrtcp *up;
  char *key;            /* of up */
  GHashTable *used;     /* "key index" */
  guint changed, fresh; /* steps */
} World;

static void
boot (World *w, guint relay)
{
  memcpy (w->late, w->boots[relay], NAT_BOOT_ID_SIZE);
  nat_write_be (w->boots[relay], ++w->n_boots, 8);
}

static void
make_context (World *w, const char *password, const guint8 *boot_id)
{
  guint8 master[NAT_SRTCP_MASTER_SIZE];

  nat_srtcp_free (w->up);
  g_free (w->key);
  w->up = nat_srtcp_new (password, NAT_SRTCP_CLIENT_TO_RELAY, boot_id, w->epoch.bytes);
  nat_srtcp_master (password, NAT_SRTCP_CLIENT_TO_RELAY, boot_id, w->epoch.bytes, master);
  w->key = g_base64_encode (master, sizeof master);
}

static void
hear (World *w, const char *password, const guint8 *boot_id)
{
  NatEpochStep step = nat_epoch_enter (&w->epoch, password, boot_id);

  if (step != NAT_EPOCH_SAME)
    make_context (w, password, boot_id);
  w->changed += step == NAT_EPOCH_CHANGED;
  w->fresh += step == NAT_EPOCH_FRESH;
}

static void
seal (World *w)
{
  guint8 packet[8 + NAT_SRTCP_OVERHEAD] = {0x80, 201, 0, 1};
  gsize len = nat_srtcp_protect (w->up, packet, 8);
  char *used;

  g_assert_cmpuint (len, ==, sizeof packet);
  used = g_strdup_printf ("%s %08x", w->key, nat_read_u32 (packet + len - 4));
  if (!g_hash_table_add (w->used, used))
    g_error ("used twice: %s", used);
}

static void
step (World *w)
{
  guint what = (guint)g_rand_int_range (w->random, 0, 10);
  guint relay = (guint)g_rand_int_range (w->random, 0, RELAYS);
  const char *password = w->passwords[g_rand_int_range (w->random, 0, PASSWORDS)];

  if (what == 0)
    boot (w, relay);
  else if (what == 1)
    nat_epoch_init (&w->epoch); /* the client starts anew */
  else if (what == 2)
    hear (w, password, w->late);
  else if (what == 3)
    nat_epoch_leave (&w->epoch); /* the mapping is given up; the same may be negotiated again */
  else
    hear (w, password, w->boots[relay]);
  if (what > 3 || what == 2) {
    seal (w);
    seal (w);
  }
}

static void
test_walks (void)
{
  World w = {.random = g_rand_new_with_seed (6)};
  guint restarts = 0;

  w.used = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  for (guint i = 0; i < RELAYS; i++)
    boot (&w, i);
  for (guint i = 0; i < PASSWORDS; i++)
    memset (w.passwords[i], 'a' + (int)i, NAT_PASSWORD_TEXT);
  nat_epoch_init (&w.epoch);
  for (; restarts < RESTARTS; restarts = w.n_boots - RELAYS)
    step (&w);
  g_test_message ("%u packets, %u contexts, %u epochs drawn for a pair that came back",
      g_hash_table_size (w.used), w.changed + w.fresh, w.changed);
  g_assert_cmpuint (w.changed, >, 100);
  g_assert_cmpuint (w.fresh, >, 100);
  nat_srtcp_free (w.up);
  g_free (w.key);
  g_hash_table_unref (w.used);
  g_rand_free (w.random);
}

/* As it mostly is: a session, a relay that restarts, a session after. Nothing is drawn anew, so nobody is asked once more. */
static void
test_usual (void)
{
  guint8 boot_id[NAT_BOOT_ID_SIZE] = {1}, next[NAT_BOOT_ID_SIZE] = {2}, bytes[NAT_EPOCH_SIZE];
  NatEpoch e;

  nat_epoch_init (&e);
  memcpy (bytes, e.bytes, sizeof bytes);
  g_assert_cmpint (nat_epoch_enter (&e, "one", boot_id), ==, NAT_EPOCH_FRESH);
  g_assert_cmpint (nat_epoch_enter (&e, "one", boot_id), ==, NAT_EPOCH_SAME);
  g_assert_cmpint (nat_epoch_enter (&e, "one", next), ==, NAT_EPOCH_FRESH);
  nat_epoch_leave (&e);
  g_assert_cmpint (nat_epoch_enter (&e, "two", next), ==, NAT_EPOCH_FRESH);
  g_assert_cmpmem (bytes, sizeof bytes, e.bytes, sizeof e.bytes);
  /* Contexts that were given up are not made again. */
  nat_epoch_leave (&e);
  g_assert_cmpint (nat_epoch_enter (&e, "two", next), ==, NAT_EPOCH_CHANGED);
  g_assert_cmpint (memcmp (bytes, e.bytes, sizeof bytes), !=, 0);
}

/* More than are remembered are none that could come back unseen. */
static void
test_many (void)
{
  guint8 boot_id[NAT_BOOT_ID_SIZE] = {0};
  guint changed = 0;
  NatEpoch e;

  nat_epoch_init (&e);
  for (guint i = 0; i < 3 * NAT_EPOCH_PAIRS_MAX; i++) {
    boot_id[0] = (guint8)i;
    changed += nat_epoch_enter (&e, "one", boot_id) == NAT_EPOCH_CHANGED;
  }
  g_assert_cmpuint (changed, ==, 2);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/epoch/walks", test_walks);
  g_test_add_func ("/epoch/usual", test_usual);
  g_test_add_func ("/epoch/many", test_many);
  return g_test_run ();
}
