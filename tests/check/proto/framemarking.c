/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* RFC 9626's figures as bytes: the short form there and back, the long ones read; and where a picture may
 * begin. */

#include "natproto/framemarking.h"

#include <string.h>

#include "vectors.h"

/* S, E, I, D, B, TID, LID, scalable */
static const struct {
  const char *data;
  gboolean ok;
  NatFramemarking mark;
} forms[] = {
    /*  0 section 3.2: the short form, a bit at a time */
    {"00", TRUE, {0}},
    {"80", TRUE, {.start = TRUE}},
    {"40", TRUE, {.end = TRUE}},
    {"20", TRUE, {.independent = TRUE}},
    {"10", TRUE, {.discardable = TRUE}},
    {"f0", TRUE, {TRUE, TRUE, TRUE, TRUE, FALSE, 0, 0, FALSE}},
    /*  6 its lower half is ignored by receivers */
    {"8f", TRUE, {.start = TRUE}},
    /*  7 section 3.1: the long form, and without TL0PICIDX */
    {"a80102", TRUE, {TRUE, FALSE, TRUE, FALSE, TRUE, 0, 1, TRUE}},
    {"47ff", TRUE, {FALSE, TRUE, FALSE, FALSE, FALSE, 7, 255, TRUE}},
    {"0000", TRUE, {.scalable = TRUE}},
    /* 10 of no form */
    {"", FALSE, {0}},
    {"a8010203", FALSE, {0}},
};

static gboolean
same (const NatFramemarking *a, const NatFramemarking *b)
{
  return a->start == b->start && a->end == b->end && a->independent == b->independent &&
         a->discardable == b->discardable && a->base_layer_sync == b->base_layer_sync &&
         a->temporal_id == b->temporal_id && a->layer_id == b->layer_id &&
         a->scalable == b->scalable;
}

static void
test_forms (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (forms); i++) {
    g_autoptr (GByteArray) bytes = vectors_unhex (forms[i].data);
    g_autofree guint8 *exact = g_memdup2 (bytes->data, bytes->len);
    NatFramemarking mark;

    if (nat_framemarking_parse (&mark, exact, bytes->len) != forms[i].ok)
      g_error ("row %u: %s", i, forms[i].ok ? "refused" : "taken");
    if (forms[i].ok && !same (&mark, &forms[i].mark))
      g_error ("row %u: read otherwise", i);
  }
}

static void
test_there_and_back (void)
{
  for (guint bits = 0; bits < 16; bits++) {
    NatFramemarking mark = {.start = (bits & 8) != 0,
        .end = (bits & 4) != 0,
        .independent = (bits & 2) != 0,
        .discardable = (bits & 1) != 0};
    NatFramemarking back;
    guint8 out[NAT_FRAMEMARKING_SIZE];

    nat_framemarking_write (out, &mark);
    g_assert_cmphex (out[0], ==, bits << 4);
    g_assert_true (nat_framemarking_parse (&back, out, sizeof out));
    g_assert_true (same (&mark, &back));
  }
}

#define HEADER "90600001000000020000000c"

/* Where a picture may begin, by extension id 3. */
static const struct {
  const char *packet;
  gboolean begins;
} packets[] = {
    /*  0 S and I */
    {HEADER "bede000130a00000", TRUE},
    {HEADER "bede000130f00000", TRUE},
    /*  2 one without the other */
    {HEADER "bede000130800000", FALSE},
    {HEADER "bede000130200000", FALSE},
    /*  4 beside another extension, and in the two-byte form */
    {HEADER "bede000211aabb30a0000000", TRUE},
    {HEADER "100000010301a000", TRUE},
    /*  6 the long form: the base layer, and the ones above it */
    {HEADER "bede000132a00009", TRUE},
    {HEADER "bede000131a00000", TRUE},
    {HEADER "bede000132a10009", FALSE},
    {HEADER "bede000132a00109", FALSE},
    /* 10 another id, no mark, no extension, no form of RFC 9626 */
    {HEADER "bede000120a00000", FALSE},
    {HEADER "bede000100000000", FALSE},
    {"80600001000000020000000c", FALSE},
    {HEADER "bede000233a000000000a000", FALSE},
    {HEADER "100000010300a000", FALSE},
    /* 15 cut */
    {HEADER "bede000130", FALSE},
    {"", FALSE},
};

static void
test_begins_picture (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (packets); i++) {
    g_autoptr (GByteArray) bytes = vectors_unhex (packets[i].packet);
    g_autofree guint8 *exact = g_memdup2 (bytes->data, bytes->len);

    if (nat_framemarking_begins_picture (exact, bytes->len, 3) != packets[i].begins)
      g_error ("row %u: %s", i, packets[i].begins ? "not seen" : "seen");
    /* An id of 0 is none, though padding could be taken for it. */
    if (nat_framemarking_begins_picture (exact, bytes->len, 0))
      g_error ("row %u: seen without an id", i);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/framemarking/forms", test_forms);
  g_test_add_func ("/framemarking/there-and-back", test_there_and_back);
  g_test_add_func ("/framemarking/begins-picture", test_begins_picture);
  return g_test_run ();
}
