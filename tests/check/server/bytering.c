/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Letters in order, whole, in one piece, as many as fit; one thread writing and one reading. */

#include "natserver/data/bytering.h"

#include <string.h>

#define LETTERS 50000u

typedef struct {
  guint32 number, len;
  guint8 bytes[];
} Letter;

/* A length and a content that the number says. */
static guint32
len_of (guint32 number)
{
  return number * 2654435761u >> 22; /* 0 to 1023 */
}

static gboolean
write_letter (NatByteRing *ring, guint32 number, guint32 len, guint32 fill)
{
  Letter *letter = nat_byte_ring_reserve (ring, (guint32)sizeof *letter + len, fill);

  if (!letter)
    return FALSE;
  g_assert_cmpuint (GPOINTER_TO_SIZE (letter) % 8, ==, 0);
  letter->number = number;
  letter->len = len;
  memset (letter->bytes, (int)(number & 0xff), len);
  nat_byte_ring_commit (ring);
  return TRUE;
}

static gboolean
read_letter (NatByteRing *ring, guint32 number, guint32 len)
{
  Letter *letter = nat_byte_ring_peek (ring);

  if (!letter)
    return FALSE;
  g_assert_cmpuint (letter->number, ==, number);
  g_assert_cmpuint (letter->len, ==, len);
  for (guint i = 0; i < len; i++) {
    if (letter->bytes[i] != (number & 0xff))
      g_error ("letter %u has another's byte at %u", number, i);
  }
  nat_byte_ring_release (ring);
  return TRUE;
}

static void
test_full (void)
{
  NatByteRing *ring = nat_byte_ring_new (256);

  /* 8 bytes of header, 8 of Letter, 48: four letters fill it. */
  for (guint round = 0; round < 5; round++) {
    for (guint i = 0; i < 4; i++)
      g_assert_true (write_letter (ring, i, 48, 256));
    g_assert_false (write_letter (ring, 9, 0, 256));
    g_assert_true (read_letter (ring, 0, 48));
    g_assert_true (write_letter (ring, 4, 48, 256));
    for (guint i = 1; i < 5; i++)
      g_assert_true (read_letter (ring, i, 48));
    g_assert_null (nat_byte_ring_peek (ring));
  }
  nat_byte_ring_free (ring);
}

static void
test_fill (void)
{
  NatByteRing *ring = nat_byte_ring_new (256);

  g_assert_true (write_letter (ring, 0, 48, 128));
  g_assert_true (write_letter (ring, 1, 48, 128));
  g_assert_false (write_letter (ring, 2, 0, 128)); /* what may fill half */
  g_assert_true (write_letter (ring, 2, 0, 144));
  g_assert_true (write_letter (ring, 3, 48, 256));
  for (guint i = 0; i < 4; i++)
    g_assert_true (read_letter (ring, i, i == 2 ? 0 : 48));
  nat_byte_ring_free (ring);
}

/* Where a letter does not fit before the end it begins anew, and that end is not lost for good. */
static void
test_wrap (void)
{
  NatByteRing *ring = nat_byte_ring_new (256);

  for (guint i = 0; i < 100; i++) {
    g_assert_true (write_letter (ring, i, 40 + i % 56, 256));
    g_assert_true (write_letter (ring, i + 1000, i % 7, 256));
    g_assert_true (read_letter (ring, i, 40 + i % 56));
    g_assert_true (read_letter (ring, i + 1000, i % 7));
  }
  g_assert_null (nat_byte_ring_reserve (ring, 128, 256)); /* more than half: might never fit */
  g_assert_null (nat_byte_ring_reserve (ring, G_MAXUINT32, 256));
  nat_byte_ring_free (ring);
}

static gpointer
write_all (gpointer ring)
{
  for (guint32 i = 0; i < LETTERS;) {
    if (write_letter (ring, i, len_of (i), 16384))
      i++;
    else
      g_thread_yield ();
  }
  return NULL;
}

static void
test_threads (void)
{
  NatByteRing *ring = nat_byte_ring_new (16384);
  GThread *writer = g_thread_new ("writer", write_all, ring);

  for (guint32 next = 0; next < LETTERS;) {
    if (read_letter (ring, next, len_of (next)))
      next++;
    else
      g_thread_yield ();
  }
  g_thread_join (writer);
  g_assert_null (nat_byte_ring_peek (ring));
  nat_byte_ring_free (ring);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/bytering/full", test_full);
  g_test_add_func ("/bytering/fill", test_fill);
  g_test_add_func ("/bytering/wrap", test_wrap);
  g_test_add_func ("/bytering/threads", test_threads);
  return g_test_run ();
}
