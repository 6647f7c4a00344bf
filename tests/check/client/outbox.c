/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/outbox.h"

#include <malloc.h>
#include <string.h>

static gboolean
put (NatOutbox *o, gint64 now_us, NatOutboxKind kind, guint number)
{
  guint8 data[100];
  gboolean first;

  memset (data, 0, sizeof data);
  memcpy (data, &number, sizeof number);
  return nat_outbox_put (o, now_us, kind, data, sizeof data, &first);
}

/* G_MAXUINT = nothing there. */
static guint
take (NatOutbox *o, gint64 now_us, guint *late)
{
  guint8 data[NAT_DATAGRAM_MAX];
  guint number;

  if (nat_outbox_take (o, now_us, data, late) == 0)
    return G_MAXUINT;
  memcpy (&number, data, sizeof number);
  return number;
}

static void
test_order (void)
{
  NatOutbox *o = nat_outbox_new ();
  guint late = 0;

  for (guint round = 0; round < 5; round++) {
    for (guint i = 0; i < 600; i++)
      g_assert_true (put (o, 0, NAT_OUTBOX_IS_MEDIA, i));
    g_assert_true (put (o, 0, NAT_OUTBOX_IS_CONTROL, 1000));
    g_assert_cmpuint (take (o, 0, &late), ==, 1000);
    for (guint i = 0; i < 600; i++)
      g_assert_cmpuint (take (o, 0, &late), ==, i);
    g_assert_cmpuint (take (o, 0, &late), ==, G_MAXUINT);
  }
  g_assert_cmpuint (late, ==, 0);
  nat_outbox_unref (o);
}

/* Whoever finds it empty is to say so, so that somebody looks. */
static void
test_first (void)
{
  NatOutbox *o = nat_outbox_new ();
  const guint8 byte = 1;
  gboolean first;
  guint late = 0;

  g_assert_true (nat_outbox_put (o, 0, NAT_OUTBOX_IS_MEDIA, &byte, 1, &first));
  g_assert_true (first);
  g_assert_true (nat_outbox_put (o, 0, NAT_OUTBOX_IS_CONTROL, &byte, 1, &first));
  g_assert_false (first);
  take (o, 0, &late);
  take (o, 0, &late);
  g_assert_true (nat_outbox_put (o, 0, NAT_OUTBOX_IS_CONTROL, &byte, 1, &first));
  g_assert_true (first);
  nat_outbox_unref (o);
}

/* Old media is left out, in one go; control is not, however old. */
static void
test_age (void)
{
  NatOutbox *o = nat_outbox_new ();
  guint late = 0;

  put (o, 0, NAT_OUTBOX_IS_CONTROL, 1);
  for (guint i = 0; i < 10; i++)
    put (o, i * 10000, NAT_OUTBOX_IS_MEDIA, 10 + i);
  g_assert_cmpuint (take (o, NAT_OUTBOX_AGE_US + 50001, &late), ==, 1);
  g_assert_cmpuint (late, ==, 0);
  g_assert_cmpuint (take (o, NAT_OUTBOX_AGE_US + 50001, &late), ==, 16);
  g_assert_cmpuint (late, ==, 6);
  g_assert_cmpuint (take (o, 10 * NAT_OUTBOX_AGE_US, &late), ==, G_MAXUINT);
  g_assert_cmpuint (late, ==, 9);
  /* Nobody takes anything, and it is full of what is old: what is new has the place. */
  for (guint i = 0; i < NAT_OUTBOX_MEDIA; i++)
    g_assert_true (put (o, 0, NAT_OUTBOX_IS_MEDIA, i));
  g_assert_true (put (o, NAT_OUTBOX_AGE_US + 1, NAT_OUTBOX_IS_MEDIA, 5000));
  late = 0;
  g_assert_cmpuint (take (o, NAT_OUTBOX_AGE_US + 1, &late), ==, 5000);
  g_assert_cmpuint (late, ==, NAT_OUTBOX_MEDIA);
  nat_outbox_unref (o);
}

static void
test_bounds (void)
{
  NatOutbox *o = nat_outbox_new ();
  guint8 data[NAT_DATAGRAM_MAX + 1] = {0};
  gboolean first;
  guint late = 0;

  g_assert_false (nat_outbox_put (o, 0, NAT_OUTBOX_IS_MEDIA, data, 0, &first));
  g_assert_false (nat_outbox_put (o, 0, NAT_OUTBOX_IS_MEDIA, data, sizeof data, &first));
  g_assert_true (nat_outbox_put (o, 0, NAT_OUTBOX_IS_MEDIA, data, sizeof data - 1, &first));
  g_assert_cmpuint (nat_outbox_take (o, 0, data, &late), ==, NAT_DATAGRAM_MAX);
  for (guint i = 0; i < NAT_OUTBOX_MEDIA; i++)
    g_assert_true (put (o, 0, NAT_OUTBOX_IS_MEDIA, i));
  g_assert_false (put (o, 0, NAT_OUTBOX_IS_MEDIA, 0));
  for (guint i = 0; i < NAT_OUTBOX_CONTROL; i++) /* media takes no room from control */
    g_assert_true (put (o, 0, NAT_OUTBOX_IS_CONTROL, i));
  g_assert_false (put (o, 0, NAT_OUTBOX_IS_CONTROL, 0));
  g_assert_cmpuint (nat_outbox_close (o), ==, NAT_OUTBOX_MEDIA);
  g_assert_cmpuint (take (o, 0, &late), ==, G_MAXUINT);
  g_assert_false (put (o, 0, NAT_OUTBOX_IS_MEDIA, 0));
  g_assert_cmpuint (nat_outbox_close (o), ==, 0);
  nat_outbox_unref (o);
}

/* Bytes that the C library's allocator has given out; 0 where it does not say. */
static gsize
in_use (void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  struct mallinfo2 info = mallinfo2 ();

  return info.uordblks + info.hblkhd;
#else
  return 0;
#endif
}

/* Under a sanitizer or valgrind others give memory out. */
static gboolean
in_use_counts (void)
{
  gsize before = in_use (), with;
  char *block = g_malloc0 (1 << 20);

  with = in_use ();
  g_free (block);
  return with >= before + (1 << 20);
}

static void
assert_took (gsize before, gsize least, gsize most)
{
  if (!in_use_counts ())
    return;
  g_assert_cmpuint (in_use (), >=, before + least);
  g_assert_cmpuint (in_use (), <, before + most);
}

/* A client has one for each WebSocket, which nearly always is empty: it costs nothing worth a word, also after
 * many went through it, and gives back what it took for those that had to wait. */
static void
test_memory (void)
{
  const gsize small = 32 * 1024;
  NatOutbox *o;
  gsize before = in_use ();
  guint late = 0;

  o = nat_outbox_new ();
  for (guint i = 0; i < 3 * NAT_OUTBOX_MEDIA; i++) {
    g_assert_true (put (o, 0, NAT_OUTBOX_IS_MEDIA, i));
    g_assert_cmpuint (take (o, 0, &late), ==, i);
  }
  assert_took (before, 0, small);
  for (guint i = 0; i < NAT_OUTBOX_MEDIA; i++)
    g_assert_true (put (o, 0, NAT_OUTBOX_IS_MEDIA, i));
  assert_took (before, NAT_OUTBOX_MEDIA * 100, NAT_OUTBOX_MEDIA * 200);
  nat_outbox_close (o); /* a sender may hold it for longer */
  assert_took (before, 0, small);
  nat_outbox_unref (o);
}

#define THREADS 3
#define EACH    20000

static gpointer
put_many (gpointer data)
{
  NatOutbox *o = data;
  guint put_n = 0;

  for (guint i = 0; i < EACH; i++)
    put_n += put (o, 0, NAT_OUTBOX_IS_MEDIA, i) ? 1 : 0;
  return GUINT_TO_POINTER (put_n);
}

/* From several threads: what was taken in comes out, once. */
static void
test_threads (void)
{
  NatOutbox *o = nat_outbox_new ();
  GThread *threads[THREADS];
  guint in = 0, out = 0, late = 0, idle = 0;

  for (guint i = 0; i < THREADS; i++)
    threads[i] = g_thread_new ("put", put_many, o);
  while (idle < 200) {
    if (take (o, 0, &late) != G_MAXUINT) {
      out++;
      idle = 0;
    } else {
      idle++;
      g_usleep (1000);
    }
  }
  for (guint i = 0; i < THREADS; i++)
    in += GPOINTER_TO_UINT (g_thread_join (threads[i]));
  while (take (o, 0, &late) != G_MAXUINT)
    out++;
  g_assert_cmpuint (in, ==, out);
  g_assert_cmpuint (in, >, 0);
  nat_outbox_unref (o);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/outbox/order", test_order);
  g_test_add_func ("/outbox/first", test_first);
  g_test_add_func ("/outbox/age", test_age);
  g_test_add_func ("/outbox/bounds", test_bounds);
  g_test_add_func ("/outbox/memory", test_memory);
  g_test_add_func ("/outbox/threads", test_threads);
  return g_test_run ();
}
