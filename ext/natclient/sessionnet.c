/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/session-private.h"

#include "natclient/cause.h"

/* Addresses that only a default route leads to; nothing is sent. */
#define SOMEBODY_V4 "192.0.2.1"
#define SOMEBODY_V6 "[2001:db8::1]"

/* ---- All addresses of a name ------------------------------------------- */

static void
add_resolved (NatSession *s, GInetAddress *address)
{
  NatAddress *a = &s->resolved[s->n_resolved];

  if (s->n_resolved < G_N_ELEMENTS (s->resolved) &&
      nat_address_from_ip (
          a, g_inet_address_to_bytes (address), g_inet_address_get_native_size (address), 0))
    s->n_resolved++;
}

/* They came when the challenge was under way, or after it. */
static void
offer_resolved (NatSession *s)
{
  NatAddress candidates[NAT_CANDIDATES_MAX];
  guint n;

  if (nat_prober_phase (s->prober) == NAT_PROBER_IDLE || !s->have_document)
    return;
  n = nat_session_path_candidates (s, candidates);
  for (guint i = 0; i < n; i++) {
    nat_udp_add (s->udp, candidates[i].family);
    nat_prober_add (s->prober, g_get_monotonic_time (), &candidates[i]);
  }
  nat_session_plan_probe (s);
}

static void
on_resolved (GObject *resolver, GAsyncResult *result, gpointer user)
{
  g_autoptr (GError) error = NULL;
  GList *list = g_resolver_lookup_by_name_finish (G_RESOLVER (resolver), result, &error);
  NatSession *s = user;

  /* Then the session may be no more. */
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  g_clear_object (&s->resolving);
  if (list == NULL)
    return;
  s->n_resolved = 0;
  for (GList *l = list; l != NULL; l = l->next)
    add_resolved (s, l->data);
  g_resolver_free_addresses (list);
  offer_resolved (s);
}

void
nat_session_net_resolve (NatSession *s)
{
  g_autoptr (GResolver) resolver = NULL;

  if (s->resolving != NULL || g_hostname_is_ip_address (s->config.host))
    return;
  resolver = g_resolver_get_default ();
  s->resolving = g_cancellable_new ();
  g_resolver_lookup_by_name_async (resolver, s->config.host, s->resolving, on_resolved, s);
}

void
nat_session_net_look_anew (NatSession *s)
{
  if (s->negotiator != NULL)
    nat_negotiator_look_anew (s->negotiator);
  nat_session_net_resolve (s);
}

/* ---- NAT64 ------------------------------------------------------------- */

/* A host that is an IPv4 address, in a network that has only IPv6: names are translated by its name server, but nobody
 * is asked about an address. So that name server is asked how it does it (RFC 7050). */

static void
use_nat64 (NatSession *s, const NatNat64 *prefix)
{
  NatAddress host, mapped;
  g_autoptr (GInetAddress) address = NULL;
  g_autofree char *via = NULL;

  s->nat64 = *prefix;
  if (nat_address_from_text (&host, s->config.host, s->config.port) &&
      nat_nat64_map (prefix, &host, &mapped)) {
    address = g_inet_address_new_from_bytes (mapped.ip, G_SOCKET_FAMILY_IPV6);
    via = g_inet_address_to_string (address);
  }
  nat_relay_host_set_via (nat_negotiator_relay (s->negotiator), via);
}

static void
on_nat64 (GObject *resolver, GAsyncResult *result, gpointer user)
{
  g_autoptr (GError) error = NULL;
  GList *list = g_resolver_lookup_by_name_with_flags_finish (G_RESOLVER (resolver), result, &error);
  NatNat64 prefix = {.length = 0};
  NatSession *s = user;

  /* Then the session may be no more. */
  if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    return;
  g_clear_object (&s->resolving);
  nat_session_timer_set (s->nat64_timer, -1);
  for (GList *l = list; l != NULL && prefix.length == 0; l = l->next) {
    GInetAddress *address = l->data;
    NatAddress a;

    if (nat_address_from_ip (
            &a, g_inet_address_to_bytes (address), g_inet_address_get_native_size (address), 0))
      nat_nat64_find (&prefix, &a);
  }
  g_resolver_free_addresses (list);
  use_nat64 (s, &prefix);
  s->nat64_known = s->state == NAT_SESSION_NEGOTIATING;
  if (s->nat64_known)
    nat_session_negotiate (s);
}

static void
on_nat64_timeout (NatSession *s)
{
  if (!nat_session_net_stop_asking (s) || s->state != NAT_SESSION_NEGOTIATING)
    return;
  nat_session_fail (s,
      nat_cause_new (NAT_CAUSE_TIMEOUT,
          "No way leads to %s by IPv4, and the name server (DNS) did not say within %u s how this "
          "network translates such addresses to IPv6 (NAT64): check the network connection.",
          s->config.host, (s->config.timeout_ms + 999) / 1000));
}

/* IPv4 does not lead there, but IPv6 leads somewhere. */
static gboolean
needs_nat64 (const NatSession *s)
{
  NatAddress host, somebody, own;

  /* A proxy has a network of its own. */
  return s->config.proxy == NULL && nat_address_from_text (&host, s->config.host, s->config.port) &&
         host.family == 4 && !nat_udp_scout (&host, &own) &&
         nat_address_from_text (&somebody, SOMEBODY_V6, 1) && nat_udp_scout (&somebody, &own);
}

gboolean
nat_session_net_is_ready (NatSession *s)
{
  static const NatNat64 none = {.length = 0};
  g_autoptr (GResolver) resolver = NULL;

  if (s->nat64_known || !needs_nat64 (s)) {
    if (!s->nat64_known && s->nat64.length > 0)
      use_nat64 (s, &none);
    s->nat64_known = FALSE;
    return TRUE;
  }
  if (s->resolving != NULL)
    return FALSE;
  resolver = g_resolver_get_default ();
  s->resolving = g_cancellable_new ();
  nat_session_timer_set (s->nat64_timer, s->config.timeout_ms);
  g_resolver_lookup_by_name_with_flags_async (
      resolver, NAT_NAT64_NAME, G_RESOLVER_NAME_LOOKUP_FLAGS_IPV6_ONLY, s->resolving, on_nat64, s);
  return FALSE;
}

gboolean
nat_session_net_stop_asking (NatSession *s)
{
  gboolean asked = s->resolving != NULL;

  if (asked)
    g_cancellable_cancel (s->resolving);
  g_clear_object (&s->resolving);
  nat_session_timer_set (s->nat64_timer, -1);
  return asked;
}

/* ---- Another network --------------------------------------------------- */

/* An address of the relay's, or none is known. */
static const NatAddress *
somewhere (const NatSession *s)
{
  if (s->relay.family != 0)
    return &s->relay;
  if (s->reached.family != 0)
    return &s->reached;
  if (s->have_document && s->document.n_udp > 0)
    return &s->document.udp[0];
  return NULL;
}

/* Our own address towards the relay. While none of its addresses is known: towards the host, if that is an address, and
 * towards somebody of either family, for there is no other sign that a change concerns us. FALSE: no way to any. */
static gboolean
scout (const NatSession *s, NatAddress *own)
{
  const char *const somebody[NAT_SESSION_OWN] = {s->config.host, SOMEBODY_V4, SOMEBODY_V6};
  const NatAddress *relay = somewhere (s);
  NatAddress address;
  gboolean way = FALSE;

  memset (own, 0, NAT_SESSION_OWN * sizeof *own);
  if (relay != NULL)
    return nat_udp_scout (relay, own);
  for (guint i = 0; i < NAT_SESSION_OWN; i++)
    if (nat_address_from_text (&address, somebody[i], 1))
      way = nat_udp_scout (&address, &own[i]) || way;
  return way;
}

static gboolean
are_equal (const NatAddress *a, const NatAddress *b)
{
  for (guint i = 0; i < NAT_SESSION_OWN; i++)
    if (!nat_address_equal (&a[i], &b[i]))
      return FALSE;
  return TRUE;
}

/* What was under way is of the old network. The session is as good as before. */
static void
begin_anew (NatSession *s)
{
  if (nat_prober_phase (s->prober) != NAT_PROBER_IDLE)
    nat_session_path_change_socket (s);
  if (s->negotiator != NULL)
    nat_negotiator_network_changed (s->negotiator);
  nat_session_path_network_changed (s);
  nat_session_renegotiate (s);
  nat_session_sync_again (s);
  nat_session_retry_now (s);
  nat_session_plan_probe (s);
}

void
nat_session_net_note (NatSession *s)
{
  scout (s, s->own);
}

void
nat_session_net_look (NatSession *s)
{
  NatAddress own[NAT_SESSION_OWN];
  gboolean way = scout (s, own);

  if (are_equal (own, s->own)) {
    /* Without a default route a relay's name may lead somewhere all the same, and nothing says when. */
    if (!way && somewhere (s) == NULL)
      nat_session_retry_soon (s);
    return;
  }
  memcpy (s->own, own, sizeof own);
  nat_session_size_reset (s);
  if (way) {
    begin_anew (s);
    return;
  }
  nat_prober_hint (s->prober, g_get_monotonic_time ());
  nat_session_plan_probe (s);
}

void
nat_session_net_check_sleep (NatSession *s)
{
  if (nat_resume_check (&s->resume, g_get_monotonic_time (), nat_resume_boottime_us ()) == 0)
    return;
  if (s->have_document)
    nat_session_timer_set (s->renew_timer, 0); /* which did not see the time pass */
  nat_session_sync_plan_warning (s);
  begin_anew (s);
}

/* A machine that wakes up has news of its interfaces; while we wait for an answer or until the next attempt there may be no
 * other occasion to see that it slept. */
static void
on_change (gpointer user)
{
  nat_session_net_check_sleep (user);
  nat_session_net_look (user);
}

/* ---- Begin and end ----------------------------------------------------- */

void
nat_session_net_begin (NatSession *s)
{
  s->netwatch = nat_netwatch_new (s->context, on_change, s);
  s->nat64_timer = nat_session_timer_new (s, on_nat64_timeout);
  nat_session_net_note (s);
  nat_session_net_check_sleep (s);
}

void
nat_session_net_end (NatSession *s)
{
  nat_session_net_stop_asking (s);
  nat_source_drop (&s->nat64_timer);
  g_clear_pointer (&s->netwatch, nat_netwatch_free);
}
