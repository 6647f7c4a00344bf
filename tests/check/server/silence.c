/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/data/silence.h"

#define MS 1000

static void
test_pause (void)
{
  NatSilence s = {0};
  gint64 now_us = 5 * G_USEC_PER_SEC;

  g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), ==, G_MAXINT64);
  nat_silence_heard (&s, now_us);
  g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), ==, now_us + 60 * MS);
  nat_silence_heard (&s, now_us + 20 * MS);
  g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), ==, now_us + 80 * MS);
  nat_silence_heard (&s, now_us + 70 * MS);
  g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), ==, now_us + 170 * MS);
  s.noticed = TRUE;
  g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), ==, G_MAXINT64);
  nat_silence_heard (&s, now_us + 3000 * MS);
  g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), ==, now_us + 4000 * MS);
}

/* Ten pictures a second, each of 5 packets a millisecond apart: the pauses between pictures are usual. */
static void
test_pictures (void)
{
  gint64 now_us = 5 * G_USEC_PER_SEC, last = 0;
  NatSilence s = {0};

  for (guint i = 0; i < 100; i++, now_us += 96 * MS) {
    for (guint k = 0; k < 5; k++, now_us += MS) {
      if (i > 1)
        g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), >, now_us);
      nat_silence_heard (&s, last = now_us);
    }
  }
  g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), >=, last + 140 * MS);
  g_assert_cmpint (nat_silence_due (&s, NAT_SILENCE_US), <=, last + 200 * MS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/silence/pause", test_pause);
  g_test_add_func ("/silence/pictures", test_pictures);
  return g_test_run ();
}
