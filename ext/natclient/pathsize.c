/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/pathsize.h"

#include <string.h>

#define TRIES    3
#define RETRY_US (700 * 1000)
#define SMALL    192 /* bytes: as any Binding */

/* UDP payloads that links of our time take, less IPv6 and UDP headers: Ethernet, PPPoE, common tunnels, what IPv6
 * promises, and what IPv4 does. */
static const guint sizes[] = {
    528, 1032, 1152, 1200, 1232, 1280, 1312, 1352, 1372, 1392, 1412, 1432, 1452};

void
nat_path_size_reset (NatPathSize *p)
{
  memset (p, 0, sizeof *p);
  p->due_us = G_MAXINT64;
}

static void
try (NatPathSize *p, guint bytes, gint64 now_us)
{
  p->trying = bytes;
  p->tries = 0;
  p->due_us = bytes > 0 ? now_us : G_MAXINT64;
}

/* The middle one of those that are left; 0: the answer is found. */
static guint
next_size (const NatPathSize *p)
{
  guint left[G_N_ELEMENTS (sizes)], n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    if (sizes[i] > p->passes && sizes[i] < p->fails)
      left[n++] = sizes[i];
  return n > 0 ? left[n / 2] : 0;
}

static void
go_on (NatPathSize *p, gint64 now_us)
{
  if (p->fails == 0) {
    try (p, 0, now_us);
    return;
  }
  try (p, next_size (p), now_us);
  if (p->trying == 0 && p->passes > 0)
    p->limit = p->passes;
}

void
nat_path_size_sent (NatPathSize *p, guint bytes, gint64 now_us)
{
  if (bytes <= p->wanted)
    return;
  p->wanted = bytes;
  if (p->trying == 0 && p->fails == 0)
    try (p, bytes, now_us);
}

guint
nat_path_size_due (NatPathSize *p, gint64 alive_us, gint64 now_us)
{
  if (now_us < p->due_us)
    return 0;
  p->due_us = now_us + RETRY_US;
  if (p->tries == TRIES) {
    /* Was nothing at all answered meanwhile? Then something that fits is asked, until the path is alive. */
    if (alive_us <= now_us - TRIES * RETRY_US)
      return SMALL;
    p->fails = p->trying;
    go_on (p, now_us);
    if (p->trying == 0)
      return 0;
    p->due_us = now_us + RETRY_US;
  }
  p->tries++;
  return p->trying;
}

void
nat_path_size_answered (NatPathSize *p, guint bytes, gint64 now_us)
{
  p->passes = MAX (p->passes, bytes);
  if (bytes != p->trying)
    return;
  /* What is sent meanwhile may be larger. */
  if (p->fails == 0 && p->wanted > bytes)
    try (p, p->wanted, now_us);
  else
    go_on (p, now_us);
}

void
nat_path_size_told (NatPathSize *p, guint bytes)
{
  if (bytes >= p->wanted || (p->limit > 0 && bytes >= p->limit))
    return;
  p->limit = bytes;
  p->fails = bytes + 1;
  p->trying = 0;
  p->due_us = G_MAXINT64;
}
