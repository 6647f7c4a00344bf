/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "config.h"
#include "natclient/negotiator-private.h"

#include "natclient/cause.h"
#include "natclient/source.h"

/* Where a port leads nowhere, the other one is tried (docs/design/transports.md): with a port that was never seen to work after
 * the first of these, or a quarter of all the time; with the other one, twice as long after each time that a proxy was not waited
 * for. The first is also how long TLS may take until somebody else is asked beside it (docs/design/client-session.md). */
#define PATIENCE_MS       1000
#define OTHER_PATIENCE_MS 2000u
#define SLOW_PROXY_MAX    2 /* 8 s */
#define INFORMATIONAL_MAX 8 /* of status 1xx; a relay sends none */
#define DOUBT             4 /* requests in a row, after which a port that did work may not any more */

/* ---- Other addresses, and two ports ------------------------------------- */

static void attempt_begin (NatRequest *r, guint16 port);

gboolean
nat_attempt_is_detour (const NatAttempt *a)
{
  return a->port != a->r->usual;
}

/* A port that was seen to work is not blocked: the relay is away, and back in a moment. */
static gboolean
may_detour (const NatRequest *r)
{
  return !r->detoured && !r->cancelled && !r->timed_out && r->kind != NAT_REQUEST_CLOSE &&
         r->kind != NAT_REQUEST_END && nat_negotiator_other_port (r->n, r->usual) != r->usual &&
         (!r->n->proved || r->n->failures >= DOUBT);
}

static void
detour (NatRequest *r)
{
  guint16 port = nat_negotiator_other_port (r->n, r->usual);

  r->detoured = TRUE;
  nat_relay_host_forgive (r->n->relay, port);
  attempt_begin (r, port);
}

void
nat_attempt_free (NatAttempt *a)
{
  g_signal_handlers_disconnect_by_data (a->message, a);
  nat_shown_clear (&a->shown);
  g_object_unref (a->message);
  g_object_unref (a->cancellable);
  g_object_unref (a->soup);
  nat_negotiator_unref (a->n);
  g_free (a);
}

static void
attempt_leave (NatAttempt *a)
{
  if (a->r->attempt == a)
    a->r->attempt = NULL;
  a->r->hanging = g_list_remove (a->r->hanging, a);
}

/* Libsoup let go of it. */
static void
attempt_drop (NatAttempt *a)
{
  attempt_leave (a);
  nat_attempt_free (a);
}

/* Its memory goes when libsoup lets go of it. */
static void
attempt_abandon (NatAttempt *a)
{
  a->r = NULL;
  a->n->n_given_up++;
  g_cancellable_cancel (a->cancellable);
}

static void
attempt_give_up (NatAttempt *a)
{
  attempt_leave (a);
  attempt_abandon (a);
}

/* It is ready first, and gets the request, of which nobody else has got anything. */
static void
attempt_ready (NatAttempt *a)
{
  NatRequest *r = a->r;
  GList *others;

  a->secure = TRUE;
  if (r == NULL)
    return;
  nat_relay_host_answers (r->n->relay, &a->remote);
  nat_source_drop (&r->patience);
  others = g_steal_pointer (&r->hanging);
  if (r->attempt != NULL)
    others = g_list_prepend (others, r->attempt);
  r->attempt = a;
  for (GList *l = others; l != NULL; l = l->next)
    if (l->data != a)
      attempt_abandon (l->data);
  g_list_free (others);
}

/* Nothing is left to try beside those that hang. FALSE: nobody does. */
static gboolean
wait_for_hanging (NatRequest *r)
{
  if (r->hanging == NULL)
    return FALSE;
  r->attempt = r->hanging->data;
  r->hanging = g_list_delete_link (r->hanging, r->hanging);
  return TRUE;
}

/* The other port is not the relay's, either: what is told is of the usual one, which may have been slow. */
static void
detour_failed (NatRequest *r)
{
  if (wait_for_hanging (r))
    return;
  if (r->blocked != NULL)
    nat_request_done (r, g_steal_pointer (&r->blocked), NULL);
  else
    attempt_begin (r, r->usual);
}

/* A proxy may yet have led there: what it said of the usual port is no last word. */
static void
hurry (NatRequest *r)
{
  r->n->slow_proxy++;
  if (r->blocked != NULL)
    r->blocked->final = FALSE;
}

/* Somebody took the connection, and TLS is not ready. Others are asked beside him: whoever else the name leads to, or at the usual
 * port, if it was only slow. */
static void
attempt_hangs (NatAttempt *a)
{
  NatRequest *r = a->r;
  guint16 port = nat_attempt_is_detour (a) && r->blocked == NULL ? r->usual : a->port;

  if (a->remote.family == 0)
    return; /* by a proxy, which chooses the address */
  nat_relay_host_hangs (r->n->relay, &a->remote);
  r->hanging = g_list_prepend (r->hanging, a);
  attempt_begin (r, port);
}

static void
attempt_unreached (NatAttempt *a)
{
  NatRequest *r = a->r;

  if (nat_attempt_is_detour (a)) {
    if (a->via_proxy)
      hurry (r);
    attempt_give_up (a);
    detour_failed (r);
  } else if (may_detour (r)) {
    attempt_give_up (a);
    detour (r);
  }
}

static gboolean
on_patience (gpointer user)
{
  NatRequest *r = user;

  g_clear_pointer (&r->patience, g_source_unref);
  if (r->attempt == NULL || r->attempt->secure || r->cancelled || r->timed_out)
    return G_SOURCE_REMOVE;
  if (r->attempt->reached)
    attempt_hangs (r->attempt);
  else
    attempt_unreached (r->attempt);
  return G_SOURCE_REMOVE;
}

static void
arm_patience (NatAttempt *a)
{
  NatRequest *r = a->r;
  guint ms = MIN (PATIENCE_MS, r->timeout_ms / 4);

  if (r->attempt != a)
    return;
  nat_source_drop (&r->patience);
  if (!a->reached && nat_attempt_is_detour (a))
    ms = OTHER_PATIENCE_MS << MIN (r->n->slow_proxy, SLOW_PROXY_MAX);
  else if (!a->reached && !may_detour (r))
    return;
  r->patience = g_timeout_source_new (ms);
  g_source_set_callback (r->patience, on_patience, r, NULL);
  g_source_attach (r->patience, g_main_context_get_thread_default ());
}

/* How long the name server takes is neither port's fault, and asking it anew is no quicker. */
static void
attempt_begun (NatAttempt *a)
{
  if (a->r != NULL && !a->begun)
    arm_patience (a);
  a->begun = TRUE;
}

static void
attempt_reached (NatAttempt *a)
{
  a->reached = TRUE;
  if (a->r != NULL)
    arm_patience (a);
}

/* The port did not lead to anybody whose answer counts. */
static gboolean
leads_nowhere (const NatAttempt *a, const GError *error)
{
  if (a->secure || a->shown.refused || error->domain == G_RESOLVER_ERROR)
    return FALSE;
  return error->domain != G_IO_ERROR ||
         (error->code != G_IO_ERROR_HOST_NOT_FOUND && error->code != G_IO_ERROR_PROXY_AUTH_FAILED &&
             error->code != G_IO_ERROR_PROXY_NEED_AUTH && error->code != G_IO_ERROR_CANCELLED);
}

/* Those that are left are no better: whoever hung before may not any more. */
static gboolean
may_forgive (NatRequest *r, guint16 port)
{
  if (r->forgave || r->hanging != NULL)
    return FALSE;
  r->forgave = nat_relay_host_forgive (r->n->relay, port);
  return r->forgave;
}

/* Others go on. What is told, if they lead nowhere, is of the usual port, and not that all hang there. Takes cause. */
static void
attempt_ended (NatAttempt *a, NatCause *cause)
{
  NatRequest *r = a->r;

  if (nat_attempt_is_detour (a) || (!a->begun && r->hanging != NULL)) {
    nat_cause_free (cause);
  } else {
    nat_cause_free (r->blocked);
    r->blocked = cause;
  }
  attempt_drop (a);
}

static NatCause *
cause_of (const NatAttempt *a, const GError *error)
{
  NatHttpsStory story = nat_request_story (a);

  if (a->n_informational <= INFORMATIONAL_MAX)
    return nat_https_cause_of_error (&story, error);
  return nat_https_cause_of_stranger (
      &story, a->informational, soup_status_get_phrase (a->informational));
}

static void
attempt_failed (NatAttempt *a, const GError *error)
{
  NatRequest *r = a->r;
  NatCause *cause = cause_of (a, error);
  gboolean nowhere = leads_nowhere (a, error);
  guint16 port = a->port;

  if (a != r->attempt) {
    attempt_ended (a, cause);
  } else if (nat_attempt_is_detour (a) && !a->secure && !r->cancelled &&
             (!r->timed_out || r->blocked != NULL || r->hanging != NULL)) {
    attempt_ended (a, cause);
    detour_failed (r);
  } else if (nowhere && may_forgive (r, port)) {
    nat_cause_free (cause);
    attempt_drop (a);
    attempt_begin (r, port);
  } else if (nowhere && may_detour (r)) {
    attempt_ended (a, cause);
    detour (r);
  } else if (r->hanging != NULL) {
    attempt_ended (a, cause);
    wait_for_hanging (r);
  } else if (r->timed_out && r->blocked != NULL) {
    nat_cause_free (cause);
    nat_request_done (r, g_steal_pointer (&r->blocked), NULL);
  } else {
    nat_request_done (r, cause, NULL);
  }
}

void
nat_request_met_stranger (NatRequest *r)
{
  attempt_drop (r->attempt);
  detour_failed (r);
}

/* ---- A connection ------------------------------------------------------ */

/* On the negotiator's thread: GIO brings the question back from its handshake thread. */
static gboolean
on_accept_certificate (
    SoupMessage *message, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user)
{
  NatAttempt *a = user;

  return a->r != NULL && !a->r->cancelled &&
         nat_trust_accepts (a->n->trust, certificate, errors, &a->shown);
}

/* The address that a connection is being made to tells whether it leads through a proxy; the one
 * that it reached is the relay's own, and the first to try by UDP. */
static void
on_network_event (
    SoupMessage *message, GSocketClientEvent event, GIOStream *connection, gpointer user)
{
  NatAttempt *a = user;
  g_autoptr (GSocketAddress) address = NULL;
  guint8 native[128];

  switch (event) {
  case G_SOCKET_CLIENT_RESOLVING: a->stage = NAT_HTTPS_RESOLVING; return;
  case G_SOCKET_CLIENT_CONNECTING:
    a->stage = NAT_HTTPS_CONNECTING;
    attempt_begun (a);
    break;
  case G_SOCKET_CLIENT_CONNECTED: a->stage = NAT_HTTPS_ANSWER; break;
  case G_SOCKET_CLIENT_PROXY_NEGOTIATING: a->via_proxy = TRUE; return;
  case G_SOCKET_CLIENT_TLS_HANDSHAKING:
    a->stage = NAT_HTTPS_TLS;
    attempt_reached (a);
    nat_trust_hide_literal (a->n->trust, connection);
    return;
  case G_SOCKET_CLIENT_TLS_HANDSHAKED:
    a->stage = NAT_HTTPS_ANSWER;
    attempt_ready (a);
    return;
  default: return;
  }
  if (!G_IS_SOCKET_CONNECTION (connection))
    return;
  address = g_socket_connection_get_remote_address (G_SOCKET_CONNECTION (connection), NULL);
  if (address == NULL)
    return;
  if (G_IS_PROXY_ADDRESS (address))
    a->via_proxy = TRUE;
  else if (event == G_SOCKET_CLIENT_CONNECTED && !a->via_proxy &&
           g_socket_address_to_native (address, native, sizeof native, NULL))
    nat_address_from_sockaddr (&a->remote, (const struct sockaddr *)native,
        (gsize)g_socket_address_get_native_size (address));
}

/* Who sends nothing else would be listened to for ever: as long as something comes, libsoup reads, and no timer has its turn. */
static void
on_informational (SoupMessage *message, gpointer user)
{
  NatAttempt *a = user;

  a->informational = soup_message_get_status (message);
  if (++a->n_informational > INFORMATIONAL_MAX)
    g_cancellable_cancel (a->cancellable);
}

static void
on_head (GObject *source, GAsyncResult *result, gpointer user)
{
  NatAttempt *a = user;
  NatRequest *r = a->r;
  g_autoptr (GError) error = NULL;
  GInputStream *body = soup_session_send_finish (SOUP_SESSION (source), result, &error);

  if (r == NULL) {
    g_clear_object (&body);
    a->n->n_given_up--;
    nat_attempt_free (a);
    return;
  }
  if (body == NULL) {
    attempt_failed (a, error);
    return;
  }
  nat_request_read (r, body);
}

static SoupSession *
soup_for (const NatNegotiator *n, guint16 port)
{
  g_autoptr (GSocketConnectable) at = nat_relay_host_at (n->relay, port);
  SoupSession *soup = soup_session_new_with_options ("remote-connectable", at, "timeout",
      n->timeout_s, "user-agent", "natrelay/" PACKAGE_VERSION, NULL);

  soup_session_remove_feature_by_type (soup, SOUP_TYPE_CONTENT_DECODER);
  soup_session_set_tls_database (soup, nat_trust_database (n->trust));
  soup_session_set_proxy_resolver (soup, n->proxy);
  return soup;
}

static void
attempt_begin (NatRequest *r, guint16 port)
{
  NatAttempt *a = g_new0 (NatAttempt, 1);

  r->attempt = a;
  a->r = r;
  a->n = r->n;
  a->n->refs++;
  a->port = port;
  a->soup = soup_for (r->n, port);
  a->cancellable = g_cancellable_new ();
  a->message = nat_request_message (r, port);
  g_signal_connect (a->message, "accept-certificate", G_CALLBACK (on_accept_certificate), a);
  g_signal_connect (a->message, "network-event", G_CALLBACK (on_network_event), a);
  g_signal_connect (a->message, "got-informational", G_CALLBACK (on_informational), a);
  nat_source_drop (&r->patience); /* that was with the attempt before */
  soup_session_send_async (a->soup, a->message, G_PRIORITY_DEFAULT, a->cancellable, on_head, a);
}

void
nat_request_connect (NatRequest *r)
{
  attempt_begin (r, r->usual);
}

void
nat_request_cancel_attempts (NatRequest *r)
{
  if (r->attempt != NULL)
    g_cancellable_cancel (r->attempt->cancellable);
  for (GList *l = r->hanging; l != NULL; l = l->next)
    g_cancellable_cancel (((NatAttempt *)l->data)->cancellable);
}
