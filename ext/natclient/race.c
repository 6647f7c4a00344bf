/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/race.h"

#include <string.h>

#define MS(n) ((gint64)(n)*1000)

#define HEAD_START_MIN_US MS (250) /* RFC 8305's Connection Attempt Delay */
#define HEAD_START_MAX_US MS (750)
#define SILENCE_US        MS (500)  /* most NATs' new mappings are registered by then */
#define STALL_US          MS (4000) /* less than the relay's patience with strangers */
#define GRACE_US          MS (3000)
#define RETRY_US          MS (250) /* doubled after every RETRIES failures */
#define RETRIES           4
#define UNANSWERED_US     MS (1000) /* who is away refuses; this port is blocked */
#define RETRY_SHIFT_MAX   5         /* 8 s */
#define ASK_US            MS (1000)
#define ASK_MAX_US        MS (15000)
#define FLAP_MAX_US       MS (300000) /* a stream that stumbles each time is worse than TCP */
#define STABLE_US         MS (60000)  /* UDP that lasted so long is trusted anew */

void
nat_race_init (NatRace *r, NatTransportChoice choice)
{
  memset (r, 0, sizeof *r);
  r->choice = choice;
  nat_race_end (r);
}

void
nat_race_end (NatRace *r)
{
  r->running = r->registered = FALSE;
  r->stream = NAT_STREAM_CLOSED;
  r->open_us = r->close_us = r->ask_us = G_MAXINT64;
}

void
nat_race_begin (NatRace *r, gint64 now_us, gint64 head_start_us)
{
  nat_race_end (r);
  r->running = TRUE;
  r->transport = NAT_TRANSPORT_UDP;
  r->failures = 0;
  r->other_port = FALSE;
  r->ask_wait_us = ASK_US;
  r->udp_since_us = 0;
  if (r->choice == NAT_TRANSPORT_CHOICE_WEBSOCKET)
    r->open_us = now_us;
  else if (r->choice == NAT_TRANSPORT_CHOICE_AUTO)
    r->open_us = now_us + CLAMP (head_start_us, HEAD_START_MIN_US, HEAD_START_MAX_US);
}

static gboolean
is_on (const NatRace *r, NatTransport transport)
{
  return r->registered && r->transport == transport;
}

static gboolean
wants_stream (const NatRace *r)
{
  return r->running && r->choice != NAT_TRANSPORT_CHOICE_UDP && !is_on (r, NAT_TRANSPORT_UDP);
}

/* Media is in it, or a Binding, by which the relay goes over to it: closed by then, it would leave the relay without a way
 * to us. */
static gboolean
may_be_in_use (const NatRace *r)
{
  return is_on (r, NAT_TRANSPORT_WEBSOCKET) || r->stream == NAT_STREAM_OPEN;
}

/* ---- Facts ------------------------------------------------------------- */

static void
on_udp (NatRace *r, gint64 now_us)
{
  if (!is_on (r, NAT_TRANSPORT_UDP) && r->udp_since_us == 0)
    r->udp_since_us = now_us;
  r->open_us = r->ask_us = G_MAXINT64;
  if (r->stream != NAT_STREAM_CLOSED && !is_on (r, NAT_TRANSPORT_UDP))
    r->close_us = may_be_in_use (r) ? now_us + GRACE_US : now_us;
}

/* A UDP that comes and goes is asked less and less, or the stream would stumble each time. */
static void
on_stream (NatRace *r, gint64 now_us)
{
  gboolean flaps = r->udp_since_us != 0 && now_us - r->udp_since_us < STABLE_US;

  r->failures = 0;
  r->other_port = FALSE;
  r->open_us = r->close_us = G_MAXINT64;
  if (is_on (r, NAT_TRANSPORT_WEBSOCKET) || r->choice != NAT_TRANSPORT_CHOICE_AUTO)
    return;
  if (r->transport == NAT_TRANSPORT_UDP)
    r->ask_wait_us = flaps ? MIN (2 * r->ask_wait_us, FLAP_MAX_US) : ASK_US;
  r->udp_since_us = 0;
  r->ask_us = now_us + r->ask_wait_us;
}

void
nat_race_registered (NatRace *r, gint64 now_us, NatTransport transport)
{
  if (!r->running)
    return;
  if (transport == NAT_TRANSPORT_UDP)
    on_udp (r, now_us);
  else
    on_stream (r, now_us);
  r->registered = TRUE;
  r->transport = transport;
}

void
nat_race_silent (NatRace *r, gint64 now_us)
{
  if (!r->running)
    return;
  r->registered = FALSE;
  r->ask_us = G_MAXINT64; /* the prober asks everywhere now */
  if (r->choice == NAT_TRANSPORT_CHOICE_UDP)
    return;
  if (r->stream == NAT_STREAM_CLOSED)
    r->open_us = MIN (r->open_us, now_us + SILENCE_US);
  else if (r->stream == NAT_STREAM_OPEN)
    r->close_us = now_us + STALL_US;
}

void
nat_race_opened (NatRace *r, gint64 now_us)
{
  r->stream = NAT_STREAM_OPEN;
  r->close_us = wants_stream (r) ? now_us + STALL_US : now_us;
}

void
nat_race_closed (NatRace *r, gint64 now_us, guint32 random)
{
  gint64 wait = RETRY_US << MIN (r->failures / RETRIES, RETRY_SHIFT_MAX);
  gboolean unanswered = r->stream == NAT_STREAM_OPENING && now_us - r->opening_us >= UNANSWERED_US;

  r->stream = NAT_STREAM_CLOSED;
  r->close_us = G_MAXINT64;
  r->failures++;
  r->other_port = !r->other_port && (unanswered || r->failures >= RETRIES);
  if (wants_stream (r))
    r->open_us = now_us + wait - (gint64)(((guint64)(wait / 2) * random) >> 32);
}

void
nat_race_network_changed (NatRace *r, gint64 now_us)
{
  r->failures = 0; /* they were the old one's */
  r->other_port = FALSE;
  if (r->stream != NAT_STREAM_CLOSED)
    r->close_us = now_us;
  else if (r->open_us != G_MAXINT64)
    r->open_us = MIN (r->open_us, now_us + HEAD_START_MIN_US);
  if (r->ask_us == G_MAXINT64)
    return;
  r->ask_us = now_us;
  r->ask_wait_us = ASK_US;
}

/* ---- Timers ------------------------------------------------------------ */

gint64
nat_race_deadline (const NatRace *r)
{
  return MIN (r->open_us, MIN (r->close_us, r->ask_us));
}

guint
nat_race_tick (NatRace *r, gint64 now_us)
{
  guint actions = 0;

  if (now_us >= r->close_us) {
    actions |= NAT_RACE_CLOSE;
    r->close_us = G_MAXINT64;
    r->stream = NAT_STREAM_CLOSED;
    if (wants_stream (r))
      r->open_us = now_us;
  }
  if (now_us >= r->open_us) {
    actions |= NAT_RACE_OPEN;
    r->open_us = G_MAXINT64;
    r->stream = NAT_STREAM_OPENING;
    r->opening_us = now_us;
  }
  if (now_us >= r->ask_us) {
    actions |= NAT_RACE_ASK;
    if (r->ask_wait_us < ASK_MAX_US)
      r->ask_wait_us = MIN (2 * r->ask_wait_us, ASK_MAX_US);
    r->ask_us = now_us + r->ask_wait_us;
  }
  return actions;
}
