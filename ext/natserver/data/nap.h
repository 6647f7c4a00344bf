/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* Thousands of single packets a second cost more in wake-ups than in sending. Then it pays to let a quarter of a
 * millisecond's worth of them gather. Bursts bring their own batches and never nap. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_NAP_WINDOW_US (20 * 1000)
#define NAT_NAP_RATE      100 /* wake-ups in a window: 5,000/s */
#define NAT_NAP_FEW       4   /* datagrams per wake-up */
#define NAT_NAP_NS        (250 * 1000)

typedef struct {
  guint wakeups,
      datagrams; /* in the window that began at window_us; datagrams are counted by the worker */
  gint64 window_us;
  gboolean single; /* the window before was a stream of single packets */
} NatNap;

/* After each wake-up's work. TRUE: rest for NAT_NAP_NS. */
static inline gboolean
nat_nap_is_due (NatNap *nap, gint64 now_us)
{
  nap->wakeups++;
  if (now_us - nap->window_us >= NAT_NAP_WINDOW_US) {
    gboolean many =
        nap->datagrams >= NAT_NAP_RATE && now_us - nap->window_us < 2 * NAT_NAP_WINDOW_US;
    gboolean single = nap->wakeups >= NAT_NAP_RATE && nap->datagrams < NAT_NAP_FEW * nap->wakeups;

    nap->single = many && (nap->single || single);
    nap->wakeups = nap->datagrams = 0;
    nap->window_us = now_us;
  }
  return nap->single;
}

G_END_DECLS
