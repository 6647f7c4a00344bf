/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The link's model on a clock of the test's own: bounds are four standard deviations or exact. */

#include <math.h>
#include <string.h>
#include "linkmodel.h"

#define MS      G_GINT64_CONSTANT (1000000)
#define MANY    100000
#define SPACING MS

static void
set (LinkModel both[2], const char *text, gint64 now)
{
  GError *error = NULL;

  link_models_set (both, text, now, &error);
  g_assert_no_error (error);
}

static void
push (LinkModel *model, guint number, guint length, gint64 now)
{
  LinkFrame *frame = link_frame_new ();

  memcpy (frame->data, &number, sizeof number);
  frame->length = length;
  link_model_push (model, frame, now);
}

/* The number of the frame that departs by @now; -1: none does. */
static int
pull (LinkModel *model, gint64 now, gint64 *due)
{
  LinkFrame *frame = link_model_pull (model, now, due);
  int number = -1;

  if (frame != NULL) {
    memcpy (&number, frame->data, sizeof number);
    link_frame_unref (frame);
  }
  return number;
}

static void
start (LinkModel both[2], guint32 seed, const char *text)
{
  for (guint i = 0; i < 2; i++)
    link_model_init (&both[i], seed + i);
  set (both, text, 0);
}

static void
stop (LinkModel both[2])
{
  link_model_clear (&both[0]);
  link_model_clear (&both[1]);
}

/* Passes MANY frames; @came counts how often each departed. */
static void
pass_many (LinkModel *model, guint8 *came)
{
  gint64 due;
  int number;

  memset (came, 0, MANY);
  for (guint i = 0; i < MANY; i++)
    push (model, i, 1000, i * SPACING);
  while ((number = pull (model, LINK_NEVER - 1, &due)) >= 0)
    came[number]++;
}

static void
test_loss (void)
{
  static guint8 came[MANY];
  LinkModel both[2];
  guint lost = 0;

  start (both, 1, "loss=10");
  pass_many (&both[0], came);
  for (guint i = 0; i < MANY; i++)
    lost += came[i] == 0;
  g_assert_cmpuint (both[0].counters.lost, ==, lost);
  g_assert_cmpfloat (fabs (lost - MANY * 0.1), <, 4 * sqrt (MANY * 0.1 * 0.9));
  /* Each by itself: a run of lost ones is 1 / (1 - 0.1) long. */
  g_assert_cmpfloat (fabs ((double)lost / both[0].counters.bursts - 1 / 0.9), <, 0.02);
  stop (both);
}

static void
test_bursts (void)
{
  static guint8 came[MANY];
  const struct {
    const char *text;
    double loss, burst;
  } cases[] = {{"loss=1,burst=5", 0.01, 5}, {"loss=5,burst=5", 0.05, 5},
      {"loss=10,burst=3", 0.1, 3}, {"loss=5,burst=1", 0.05, 1}};

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    LinkModel both[2];
    start (both, 2, cases[i].text);
    pass_many (&both[0], came);
    LinkCounters *c = &both[0].counters;
    double mean = (double)c->lost / c->bursts;
    /* Lengths are geometric, with variance burst * (burst - 1); so is the share's error. */
    double deviation = sqrt (cases[i].burst * (cases[i].burst - 1) / c->bursts);
    g_assert_cmpfloat (fabs (mean - cases[i].burst), <=, 4 * deviation);
    g_assert_cmpfloat (fabs ((double)c->lost / MANY - cases[i].loss), <,
        4 * sqrt (cases[i].loss * 2 * cases[i].burst / MANY));
    stop (both);
  }
}

/* The n-th frame's fate hangs on the seed and on n alone. */
static void
test_seeds (void)
{
  static guint8 a[MANY], b[MANY];
  const char *const other[] = {"loss=5", "loss=5,delay=20,jitter=7,duplicate=0,rate=100000"};
  LinkModel both[2];

  start (both, 7, other[0]);
  pass_many (&both[0], a);
  pass_many (&both[1], b);
  g_assert_cmpint (memcmp (a, b, MANY), !=, 0);
  stop (both);
  start (both, 7, other[1]);
  both[0].settings.queue = G_MAXUINT32;
  pass_many (&both[0], b);
  g_assert_cmpmem (a, MANY, b, MANY);
  stop (both);
}

static void
test_delay (void)
{
  LinkModel both[2];
  gint64 due, before = 0;

  start (both, 3, "delay=20");
  push (&both[0], 1, 1000, 5 * MS);
  g_assert_cmpint (link_model_next (&both[0]), ==, 25 * MS);
  g_assert_cmpint (pull (&both[0], 25 * MS - 1, &due), ==, -1);
  g_assert_cmpint (pull (&both[0], 25 * MS, &due), ==, 1);
  g_assert_cmpint (link_model_next (&both[0]), ==, LINK_NEVER);

  /* Jitter stays in its bounds and keeps the order. */
  set (both, "jitter=10", 0);
  for (guint i = 0; i < 1000; i++)
    push (&both[0], i, 1000, (100 + i) * MS);
  for (guint i = 0; i < 1000; i++) {
    g_assert_cmpint (pull (&both[0], LINK_NEVER - 1, &due), ==, i);
    g_assert_cmpint (due - (100 + i) * MS, >=, 20 * MS);
    g_assert_cmpint (due - (100 + i) * MS, <=, 30 * MS);
    g_assert_cmpint (due, >=, before);
    before = due;
  }
  stop (both);
}

static void
test_order (void)
{
  static guint8 came[MANY];
  LinkModel both[2];
  gint64 due;
  int number, highest = -1;
  guint overtaken = 0;

  start (both, 4, "reorder=2,reorder-by=5");
  for (guint i = 0; i < MANY; i++)
    push (&both[0], i, 1000, i * SPACING);
  while ((number = pull (&both[0], LINK_NEVER - 1, &due)) >= 0) {
    overtaken += number < highest;
    highest = MAX (highest, number);
  }
  g_assert_cmpfloat (
      fabs (both[0].counters.reordered - MANY * 0.02), <, 4 * sqrt (MANY * 0.02 * 0.98));
  /* One that is held back is overtaken, unless all within 5 ms after it are held back, too, which
   * is the fate of the very last alone. */
  g_assert_cmpint (both[0].counters.reordered - overtaken, <=, 5);
  stop (both);

  start (both, 4, "duplicate=2");
  pass_many (&both[0], came);
  for (guint i = 0, twice = 0; i < MANY; i++) {
    twice += came[i] == 2;
    if (i == MANY - 1)
      g_assert_cmpuint (twice, ==, both[0].counters.duplicated);
  }
  g_assert_cmpfloat (fabs (both[0].counters.duplicated - MANY * 0.02), <, 4 * sqrt (MANY * 0.02));
  g_assert_cmpuint (both[0].counters.departed, ==, MANY + both[0].counters.duplicated);
  stop (both);
}

static void
test_rate (void)
{
  LinkModel both[2];
  gint64 due;

  /* 1000 bytes at 8 Mbit/s take 1 ms; one is on the wire, three may wait with it. */
  start (both, 5, "rate=8000,queue=4000,delay=1");
  for (guint i = 0; i < 10; i++)
    push (&both[0], i, 1000, 0);
  g_assert_cmpuint (both[0].counters.full, ==, 6);
  for (int i = 0; i < 4; i++) {
    g_assert_cmpint (link_model_next (&both[0]), ==, (i + 1) * MS);
    /* The first goes onto the wire's delay; from then on two things happen at each time. */
    g_assert_cmpint (pull (&both[0], (i + 1) * MS, &due), ==, i - 1);
  }
  g_assert_cmpint (pull (&both[0], 5 * MS, &due), ==, 3);
  g_assert_cmpint (due, ==, 5 * MS);

  /* A rate that changes is that of what waits, too. */
  for (guint i = 0; i < 3; i++)
    push (&both[0], i, 1000, 10 * MS);
  set (both, "rate=4000", 11 * MS);
  for (int i = 0; i < 3; i++)
    g_assert_cmpint (pull (&both[0], LINK_NEVER - 1, &due), ==, i);
  g_assert_cmpint (due, ==, 16 * MS);
  stop (both);
}

static void
test_outage (void)
{
  LinkModel both[2];
  gint64 due;

  start (both, 6, "delay=10");
  push (&both[0], 0, 1000, 0);
  set (both, "up.outage=50", 5 * MS);
  push (&both[0], 1, 1000, 6 * MS);
  push (&both[1], 7, 1000, 6 * MS);
  push (&both[0], 2, 1000, 55 * MS);
  g_assert_cmpint (pull (&both[0], LINK_NEVER - 1, &due), ==, 0);
  g_assert_cmpint (pull (&both[0], LINK_NEVER - 1, &due), ==, 2);
  g_assert_cmpint (pull (&both[1], LINK_NEVER - 1, &due), ==, 7);
  g_assert_cmpuint (both[0].counters.out, ==, 1);

  /* In a stall nothing is lost, and all comes at its end. */
  set (both, "stall=200", 100 * MS);
  for (guint i = 0; i < 3; i++) {
    push (&both[0], i, 1000, (110 + i) * MS);
    g_assert_cmpint (pull (&both[0], (200 + i) * MS, &due), ==, -1);
  }
  for (int i = 0; i < 3; i++) {
    g_assert_cmpint (pull (&both[0], 310 * MS, &due), ==, i);
    g_assert_cmpint (due, ==, 310 * MS);
  }
  stop (both);
}

/* What nobody can lose is not counted among the others, whose fate stays as it was. */
static void
test_spared (void)
{
  LinkModel both[2];
  LinkFrame *frame = link_frame_new ();
  gint64 due;

  start (both, 8, "loss=100,delay=3");
  frame->spared = TRUE;
  frame->length = 60;
  link_model_push (&both[0], frame, 0);
  push (&both[0], 1, 1000, 0);
  g_assert_true (link_model_pull (&both[0], 3 * MS, &due) == frame);
  link_frame_unref (frame);
  g_assert_cmpint (pull (&both[0], LINK_NEVER - 1, &due), ==, -1);
  g_assert_cmpuint (both[0].counters.lost, ==, 1);
  stop (both);
}

static void
test_settings (void)
{
  const char *const wrong[] = {"loss", "loss=", "loss=x", "loss=101", "loss=-1", "loss=nan",
      "los=1", "losses=1", "up.=1", "sideways.loss=1", "loss=1;delay=2", "=1"};
  LinkModel both[2];

  start (both, 9, "loss=1,up.delay=20,down.delay=30.5,rate=1000,,queue=99");
  g_assert_cmpfloat (both[0].settings.loss, ==, 0.01);
  g_assert_cmpfloat (both[1].settings.loss, ==, 0.01);
  g_assert_cmpint (both[0].settings.delay, ==, 20 * MS);
  g_assert_cmpint (both[1].settings.delay, ==, 30 * MS + MS / 2);
  g_assert_cmpint (both[1].settings.rate, ==, 1000000);
  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *text = g_strconcat ("delay=1,", wrong[i], NULL);
    g_test_message ("%s", text);
    g_assert_false (link_models_set (both, text, 0, &error));
    g_assert_nonnull (error);
    g_assert_cmpint (both[0].settings.delay, ==, 20 * MS);
  }
  stop (both);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/linkmodel/loss", test_loss);
  g_test_add_func ("/linkmodel/bursts", test_bursts);
  g_test_add_func ("/linkmodel/seeds", test_seeds);
  g_test_add_func ("/linkmodel/delay", test_delay);
  g_test_add_func ("/linkmodel/order", test_order);
  g_test_add_func ("/linkmodel/rate", test_rate);
  g_test_add_func ("/linkmodel/outage", test_outage);
  g_test_add_func ("/linkmodel/spared", test_spared);
  g_test_add_func ("/linkmodel/settings", test_settings);
  return g_test_run ();
}
