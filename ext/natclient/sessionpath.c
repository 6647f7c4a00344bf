/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/session-private.h"

#include "natclient/cause.h"
#include "natproto/demux.h"

/* To open the WebSocket; then the other port has its turn, where nobody answered yet. */
#define STREAM_TIMEOUT_MS 5000
#define OTHER_TIMEOUT_MS  3000

/* ---- Addresses and sockets --------------------------------------------- */

static void
add_candidate (NatAddress *out, guint *n, const NatAddress *a)
{
  if (a->family == 0 || nat_address_is_any (a) || *n == NAT_CANDIDATES_MAX)
    return;
  for (guint i = 0; i < *n; i++)
    if (nat_address_equal (&out[i], a))
      return;
  out[(*n)++] = *a;
}

/* First where HTTPS got through, at each port that the relay names; then what it names itself. */
guint
nat_session_path_candidates (NatSession *s, NatAddress out[NAT_CANDIDATES_MAX])
{
  guint n = 0;

  if (s->config.transport == NAT_TRANSPORT_CHOICE_WEBSOCKET)
    return 0;
  for (guint i = 0; i < s->document.n_udp; i++) {
    NatAddress a = s->reached;

    a.port = s->document.udp[i].port;
    add_candidate (out, &n, &a);
  }
  for (guint i = 0; i < s->document.n_udp; i++) {
    NatAddress translated;

    add_candidate (out, &n, &s->document.udp[i]);
    nat_nat64_map (&s->nat64, &s->document.udp[i], &translated);
    add_candidate (out, &n, &translated);
  }
  /* And where else its name leads, of another family perhaps; a proxy's name server may know others. */
  for (guint i = 0; i < s->n_resolved * s->document.n_udp && s->reached.family != 0; i++) {
    NatAddress a = s->resolved[i % s->n_resolved];

    a.port = s->document.udp[i / s->n_resolved].port;
    add_candidate (out, &n, &a);
  }
  return n;
}

/* A relay that has no WebSocket is asked for none. */
static NatTransportChoice
choice_of (const NatSession *s)
{
  if (s->document.websocket[0] == '\0' && s->config.transport == NAT_TRANSPORT_CHOICE_AUTO)
    return NAT_TRANSPORT_CHOICE_UDP;
  return s->config.transport;
}

static void
families_of (NatSession *s, gboolean *v4, gboolean *v6)
{
  *v4 = s->reached.family == 4;
  *v6 = s->reached.family == 6 || s->nat64.length > 0;
  for (guint i = 0; i < s->document.n_udp; i++) {
    *v4 = *v4 || s->document.udp[i].family == 4;
    *v6 = *v6 || s->document.udp[i].family == 6;
  }
  for (guint i = 0; i < s->n_resolved && s->reached.family != 0; i++) {
    *v4 = *v4 || s->resolved[i].family == 4;
    *v6 = *v6 || s->resolved[i].family == 6;
  }
}

NatCause *
nat_session_path_open (NatSession *s)
{
  gboolean v4, v6;
  NatCause *cause;

  if (s->config.transport == NAT_TRANSPORT_CHOICE_WEBSOCKET) {
    nat_udp_close (s->udp);
    return NULL;
  }
  families_of (s, &v4, &v6);
  cause = nat_udp_open (s->udp, v4, v6);
  /* A relay without an address for UDP is no mistake in our settings. */
  if (cause != NULL && cause->kind == NAT_CAUSE_NO_UDP && choice_of (s) != NAT_TRANSPORT_CHOICE_UDP)
    g_clear_pointer (&cause, nat_cause_free);
  return cause;
}

/* Some NATs and routers keep sending an old flow where it does not lead any more, for as long as it
 * is kept alive; a flow from another port is a new one to them. */
void
nat_session_path_change_socket (NatSession *s)
{
  NatCause *cause;

  if (s->relay.transport == NAT_TRANSPORT_UDP)
    nat_sender_set_path (&s->sender, NULL, NULL);
  cause = nat_session_path_open (s);
  nat_cause_free (cause); /* the probes go on, and the next change may do better */
  if (s->relay.transport == NAT_TRANSPORT_UDP && s->relay.family != 0 &&
      nat_udp_socket (s->udp, s->relay.family) != NULL)
    nat_session_path_use (s, &s->relay);
  nat_prober_socket_changed (s->prober, g_get_monotonic_time ());
}

/* ---- Datagrams --------------------------------------------------------- */

typedef struct {
  NatDatagram rtp[NAT_UDP_BATCH];
  guint n_rtp;
  guint64 bytes;
  guint n_rtcp, n_rtcp_refused, n_refused, n_packets;
} Arrivals;

static void
deliver_rtp (NatSession *s, Arrivals *a, gint64 now_us)
{
  if (a->n_rtp == 0)
    return;
  a->n_packets += a->n_rtp;
  nat_prober_heard (s->prober, now_us);
  NAT_SESSION_CALL (s, rtp, a->rtp, a->n_rtp);
  a->n_rtp = 0;
}

static void
take_rtp (NatSession *s, Arrivals *a, NatUdpDatagram *d)
{
  if (s->srtcp == NULL || s->config.role == NAT_ROLE_PUBLISHER) {
    a->n_refused++;
    return;
  }
  a->rtp[a->n_rtp].data = d->data;
  a->rtp[a->n_rtp++].len = d->len;
  a->bytes += d->len;
}

static void
take_rtcp (NatSession *s, Arrivals *a, NatUdpDatagram *d, gint64 now_us)
{
  if (s->srtcp == NULL || nat_srtcp_unprotect (s->srtcp, d->data, &d->len) != NAT_SRTCP_OK) {
    a->n_rtcp_refused++;
    return;
  }
  a->n_rtcp++;
  if (s->config.role == NAT_ROLE_PUBLISHER)
    nat_prober_heard (s->prober, now_us);
  nat_session_feedback (s, d->data, d->len);
  NAT_SESSION_CALL (s, rtcp, d->data, d->len);
}

static void
take_stun (NatSession *s, Arrivals *a, const NatUdpDatagram *d, gint64 now_us)
{
  if (nat_prober_input (s->prober, now_us, &d->from, d->data, d->len) != NAT_PROBER_TAKEN)
    a->n_refused++;
}

static void
note_arrivals (NatSession *s, const Arrivals *a)
{
  g_mutex_lock (&s->lock);
  s->stats.packets_received += a->n_packets;
  s->stats.bytes_received += a->bytes;
  s->stats.rtcp_received += a->n_rtcp;
  s->stats.rtcp_refused += a->n_rtcp_refused;
  s->stats.datagrams_refused += a->n_refused;
  g_mutex_unlock (&s->lock);
}

static void
on_datagrams (gpointer user, NatUdpDatagram *batch, guint n, guint n_dropped)
{
  NatSession *s = user;
  gint64 now_us = g_get_monotonic_time ();
  Arrivals a = {.n_refused = n_dropped};

  nat_session_net_check_sleep (s);
  for (guint i = 0; i < n; i++) {
    NatUdpDatagram *d = &batch[i];
    NatPacketKind kind = nat_demux (d->data, d->len);

    if (kind != NAT_PACKET_RTP)
      deliver_rtp (s, &a, now_us);
    if (!nat_prober_is_candidate (s->prober, &d->from))
      kind = NAT_PACKET_OTHER;
    switch (kind) {
    case NAT_PACKET_RTP: take_rtp (s, &a, d); break;
    case NAT_PACKET_RTCP: take_rtcp (s, &a, d, now_us); break;
    case NAT_PACKET_STUN: take_stun (s, &a, d, now_us); break;
    case NAT_PACKET_OTHER: a.n_refused++; break;
    }
  }
  deliver_rtp (s, &a, now_us);
  note_arrivals (s, &a);
  nat_session_plan_probe (s);
}

static void
on_unreachable (gpointer user)
{
  NatSession *s = user;

  nat_prober_hint (s->prober, g_get_monotonic_time ());
  nat_session_net_look (s);
  nat_session_size_look (s); /* "fragmentation needed" comes this way too */
  nat_session_plan_probe (s);
}

/* ---- UDP and the WebSocket --------------------------------------------- */

static void
plan_race (NatSession *s)
{
  gint64 deadline = nat_race_deadline (&s->race);

  g_source_set_ready_time (s->race_timer, deadline == G_MAXINT64 ? -1 : MAX (deadline, 0));
}

static void
on_stream_opened (gpointer user)
{
  NatSession *s = user;
  gint64 now_us = g_get_monotonic_time ();
  NatAddress local;

  nat_websocket_addresses (s->websocket, &s->stream, &local);
  nat_race_opened (&s->race, now_us);
  plan_race (s);
  nat_prober_add (s->prober, now_us, &s->stream);
  nat_session_plan_probe (s);
}

/* Its path is gone, on whichever end that was decided. */
static void
forget_stream (NatSession *s)
{
  if (s->relay.transport == NAT_TRANSPORT_WEBSOCKET)
    nat_sender_set_path (&s->sender, NULL, NULL);
  nat_prober_remove (s->prober, g_get_monotonic_time (), &s->stream);
  nat_session_plan_probe (s);
}

static void
close_stream (NatSession *s)
{
  if (s->websocket == NULL)
    return;
  nat_websocket_close (s->websocket);
  forget_stream (s);
}

static void
on_stream_closed (gpointer user, const NatCause *cause)
{
  NatSession *s = user;

  nat_cause_free (s->stream_cause);
  s->stream_cause = nat_cause_copy (cause);
  nat_race_closed (&s->race, g_get_monotonic_time (), nat_session_random ());
  forget_stream (s);
  plan_race (s);
}

static void
on_stream_late (gpointer user, guint n)
{
  NatSession *s = user;

  nat_sender_note_late (&s->sender, n);
}

/* At the port where HTTPS was spoken, or at the other one. */
static void
open_stream (NatSession *s)
{
  static const NatWebsocketOps ops = {
      on_stream_opened, on_stream_closed, on_datagrams, on_stream_late};
  gboolean other = s->race.other_port;

  if (s->websocket == NULL)
    s->websocket = nat_websocket_new (&s->config, nat_negotiator_trust (s->negotiator),
        nat_negotiator_relay (s->negotiator), nat_negotiator_proxy (s->negotiator), &ops, s);
  nat_websocket_open (s->websocket,
      s->document.websocket[0] != '\0' ? s->document.websocket : NAT_WEBSOCKET_PATH,
      nat_negotiator_port (s->negotiator, other),
      MIN (s->config.timeout_ms, other ? OTHER_TIMEOUT_MS : STREAM_TIMEOUT_MS));
}

void
nat_session_path_on_race_timer (NatSession *s)
{
  gint64 now_us = g_get_monotonic_time ();
  guint actions = nat_race_tick (&s->race, now_us);

  if (actions & NAT_RACE_CLOSE)
    close_stream (s);
  if (actions & NAT_RACE_OPEN)
    open_stream (s);
  if (actions & NAT_RACE_ASK)
    nat_prober_ask (s->prober, now_us, NAT_TRANSPORT_UDP);
  nat_session_plan_probe (s);
  plan_race (s);
}

void
nat_session_path_begin_race (NatSession *s)
{
  gint64 now_us = g_get_monotonic_time ();

  g_clear_pointer (&s->stream_cause, nat_cause_free);
  close_stream (s);
  nat_race_init (&s->race, choice_of (s));
  /* HTTPS took four round trips or more, UDP takes two. */
  nat_race_begin (&s->race, now_us, (s->answered_us - s->asked_us) / 2);
  plan_race (s);
}

void
nat_session_path_network_changed (NatSession *s)
{
  nat_race_network_changed (&s->race, g_get_monotonic_time ());
  plan_race (s);
}

void
nat_session_path_close (NatSession *s)
{
  nat_race_end (&s->race);
  plan_race (s);
  close_stream (s);
  nat_udp_close (s->udp);
}

void
nat_session_path_use (NatSession *s, const NatAddress *relay)
{
  NatOutbox *outbox = s->websocket == NULL ? NULL : nat_websocket_outbox (s->websocket);

  if (relay->transport == NAT_TRANSPORT_UDP)
    nat_sender_set_path (&s->sender, nat_udp_socket (s->udp, relay->family), relay);
  else if (outbox != NULL)
    nat_sender_set_outbox (&s->sender, outbox);
}

void
nat_session_path_registered (NatSession *s, const NatAddress *relay)
{
  nat_race_registered (&s->race, g_get_monotonic_time (), relay->transport);
  plan_race (s);
}

void
nat_session_path_silent (NatSession *s)
{
  nat_race_silent (&s->race, g_get_monotonic_time ());
  plan_race (s);
}

gboolean
nat_session_path_send (NatSession *s, const NatAddress *relay, const guint8 *data, gsize len)
{
  if (relay->transport == NAT_TRANSPORT_UDP)
    return nat_udp_send (s->udp, relay, data, len);
  if (s->websocket != NULL)
    nat_websocket_send (s->websocket, data, len);
  return TRUE;
}

void
nat_session_path_local (NatSession *s, const NatAddress *relay, NatAddress *local)
{
  NatAddress unused;

  if (relay->transport == NAT_TRANSPORT_UDP || s->websocket == NULL)
    nat_udp_local (s->udp, relay, local);
  else
    nat_websocket_addresses (s->websocket, &unused, local);
}

NatCause *
nat_session_path_cause (NatSession *s)
{
  guint16 port = s->document.n_udp > 0 ? s->document.udp[0].port : s->config.port;
  const char *why =
      s->stream_cause != NULL ? s->stream_cause->text : "The relay did not answer on it either.";
  const char *host = s->config.host;

  switch (choice_of (s)) {
  case NAT_TRANSPORT_CHOICE_UDP:
    return nat_cause_new (NAT_CAUSE_NO_UDP,
        "The relay %s answers by HTTPS but not by UDP: let UDP port %u through on every firewall "
        "between here and the relay, in both directions.",
        host, port);
  case NAT_TRANSPORT_CHOICE_WEBSOCKET:
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "The relay %s answers by HTTPS, but no WebSocket leads to it. %s", host, why);
  case NAT_TRANSPORT_CHOICE_AUTO: break;
  }
  return nat_cause_new (NAT_CAUSE_NO_UDP,
      "The relay %s answers by HTTPS but not by UDP: let UDP port %u through on every firewall "
      "between here and the relay, in both directions. The WebSocket, which would do instead, does "
      "not work. %s",
      host, port, why);
}

/* ---- Begin and end ----------------------------------------------------- */

void
nat_session_path_begin (NatSession *s)
{
  static const NatUdpOps udp_ops = {on_datagrams, on_unreachable};

  s->udp = nat_udp_new (&s->config, s->context, &udp_ops, s);
  nat_race_init (&s->race, s->config.transport);
}

void
nat_session_path_end (NatSession *s)
{
  if (s->websocket != NULL)
    nat_websocket_close (s->websocket); /* freed when libsoup let go */
  g_clear_pointer (&s->udp, nat_udp_free);
  g_clear_pointer (&s->stream_cause, nat_cause_free);
}
