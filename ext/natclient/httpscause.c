/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/httpscause.h"

#include "natclient/cause.h"

#define HTTPS_PORT 443

/* ---- No answer --------------------------------------------------------- */

/* Whoever is looked for by that name, and called at that address, is the proxy. */
static gboolean
proxy_is_away (const NatHttpsStory *story, const GError *error)
{
  return story->proxy != NULL && story->stage <= NAT_HTTPS_CONNECTING &&
         (story->timed_out || error->domain == G_RESOLVER_ERROR ||
             (error->domain == G_IO_ERROR && error->code != G_IO_ERROR_PROXY_FAILED &&
                 error->code != G_IO_ERROR_PROXY_AUTH_FAILED &&
                 error->code != G_IO_ERROR_PROXY_NEED_AUTH &&
                 error->code != G_IO_ERROR_PROXY_NOT_ALLOWED));
}

static NatCause *
cause_of_absent_proxy (const NatHttpsStory *story, const GError *error)
{
#define CHECK_PROXY                                                                                \
  "check the property proxy, or where that is unset the system's setting (as $https_proxy), and "  \
  "this machine's network connection."
  if (story->timed_out || g_error_matches (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT))
    return nat_cause_new (NAT_CAUSE_PROXY,
        "The proxy %s, which is to lead to the relay %s, did not answer within %u s: " CHECK_PROXY,
        story->proxy, story->where, (story->timeout_ms + 999) / 1000);
  return nat_cause_new (NAT_CAUSE_PROXY,
      "The proxy %s, which is to lead to the relay %s, cannot be reached (%s): " CHECK_PROXY,
      story->proxy, story->where, error->message);
#undef CHECK_PROXY
}

static NatCause *
cause_of_timeout (const NatHttpsStory *story)
{
  const char *where = story->where;
  guint s = (story->timeout_ms + 999) / 1000;

  switch (story->stage) {
  case NAT_HTTPS_START:
  case NAT_HTTPS_RESOLVING:
    return nat_cause_new (NAT_CAUSE_TIMEOUT,
        "The name of the relay %s was not resolved within %u s: check the network connection and "
        "the name server (DNS).",
        where, s);
  case NAT_HTTPS_CONNECTING:
    return nat_cause_new (NAT_CAUSE_TIMEOUT,
        "The relay %s did not answer within %u s: check that it runs, and that firewalls let TCP "
        "port %u through%s.",
        where, s, story->port,
        story->port == HTTPS_PORT ? ""
                                  : "; where they let nothing but 443 through, have the relay "
                                    "listen there, too");
  default:
    return nat_cause_new (NAT_CAUSE_TIMEOUT,
        "The relay %s took the connection but said nothing for %u s: check that it is "
        "natrelay-server that listens on this port, and that it is not overloaded.",
        where, s);
  }
}

static NatCause *
cause_of_proxy_error (const NatHttpsStory *story, const GError *error)
{
  const char *where = story->where;
  NatCause *cause;

  if (error->code == G_IO_ERROR_PROXY_NOT_ALLOWED)
    cause = nat_cause_new (NAT_CAUSE_PROXY,
        "The proxy does not lead to the relay %s (%s): it must allow CONNECT to port %u.", where,
        error->message, story->port);
  else
    cause = nat_cause_new (NAT_CAUSE_PROXY,
        "The proxy does not lead to the relay %s (%s). It must allow CONNECT to port %u; and if it "
        "asks for a user and a password, set proxy to http://USER:PASSWORD@HOST:PORT.",
        where, error->message, story->port);
  cause->final = error->code != G_IO_ERROR_PROXY_FAILED;
  return cause;
}

static NatCause *
cause_of_io_error (const NatHttpsStory *story, const GError *error)
{
  const char *where = story->where;

  switch (error->code) {
  case G_IO_ERROR_TIMED_OUT: return cause_of_timeout (story);
  case G_IO_ERROR_CONNECTION_REFUSED:
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "Nothing listens at %s: check that natrelay-server runs there, and that the uri has its "
        "host and port.",
        where);
  case G_IO_ERROR_HOST_UNREACHABLE:
  case G_IO_ERROR_NETWORK_UNREACHABLE:
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "There is no way to %s: check this machine's network connection.", where);
  case G_IO_ERROR_HOST_NOT_FOUND:
    return nat_cause_new (NAT_CAUSE_UNKNOWN_HOST,
        "The relay's name \"%s\" is not known: check the host in the uri.", story->host);
  case G_IO_ERROR_PROXY_FAILED:
  case G_IO_ERROR_PROXY_AUTH_FAILED:
  case G_IO_ERROR_PROXY_NEED_AUTH:
  case G_IO_ERROR_PROXY_NOT_ALLOWED: return cause_of_proxy_error (story, error);
  default:
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "The connection to %s broke: %s. If this goes on, check what stands between.", where,
        error->message);
  }
}

static NatCause *
cause_of_resolver_error (const NatHttpsStory *story, const GError *error)
{
  if (error->code == (int)G_RESOLVER_ERROR_TEMPORARY_FAILURE)
    return nat_cause_new (NAT_CAUSE_UNKNOWN_HOST,
        "The name server did not answer when asked for \"%s\": check this machine's network "
        "connection.",
        story->host);
  return nat_cause_new (NAT_CAUSE_UNKNOWN_HOST,
      "The relay's name \"%s\" is not known: check the host in the uri, and this machine's name "
      "server (DNS).",
      story->host);
}

static NatCause *
cause_of_tls_error (const NatHttpsStory *story, const GError *error)
{
  /* GIO says "not TLS" of a peer that hangs up during the handshake, as a relay that stops does. */
  if (error->code == (int)G_TLS_ERROR_EOF || error->code == (int)G_TLS_ERROR_NOT_TLS)
    return nat_cause_new (NAT_CAUSE_UNREACHABLE,
        "%s closed the connection before it was secure: check that it is natrelay-server that "
        "listens on this port; it may be starting, stopping or busy.",
        story->where);
  return nat_cause_new (NAT_CAUSE_TLS,
      "No secure connection with %s (%s): check that it is natrelay-server that listens on this "
      "port.",
      story->where, error->message);
}

NatCause *
nat_https_cause_of_error (const NatHttpsStory *story, const GError *error)
{
  NatCause *cause;

  if (proxy_is_away (story, error))
    cause = cause_of_absent_proxy (story, error);
  else if (story->timed_out)
    cause = cause_of_timeout (story);
  else if (story->shown->refused)
    return nat_trust_cause (story->trust, story->where, story->shown);
  else if (error->domain == G_RESOLVER_ERROR)
    cause = cause_of_resolver_error (story, error);
  else if (error->domain == G_TLS_ERROR)
    cause = cause_of_tls_error (story, error);
  else if (error->domain == G_IO_ERROR)
    cause = cause_of_io_error (story, error);
  else
    cause = nat_cause_new (NAT_CAUSE_PROXY,
        "What %s answered is not HTTP: check that the uri has the host and port of "
        "natrelay-server.",
        story->where);
  nat_cause_set_detail (
      cause, "%s %d: %s", g_quark_to_string (error->domain), error->code, error->message);
  return cause;
}

/* ---- An answer --------------------------------------------------------- */

/* Whether asking again without a person's help can make sense. */
static gboolean
status_is_final (guint status)
{
  return status >= 400 && status < 500 && status != 404 && status != 408 && status != 409 &&
         status != 410 && status != 421 && status != 425 && status != 429;
}

static NatCauseKind
kind_of_status (guint status)
{
  switch (status) {
  case 401:
  case 403: return NAT_CAUSE_NOT_AUTHORIZED;
  case 404:
  case 410: return NAT_CAUSE_NOT_FOUND;
  case 409: return NAT_CAUSE_BUSY;
  case 408:
  case 429: return NAT_CAUSE_SERVER;
  default: return status >= 500 ? NAT_CAUSE_SERVER : NAT_CAUSE_PROTOCOL;
  }
}

static gboolean
is_about_ssrc (const NatProblem *problem)
{
  return problem->status == 409 && g_str_has_suffix (problem->type, "/ssrc-in-use");
}

static NatCause *
cause_of_problem (const NatHttpsStory *story, guint status, const NatProblem *problem)
{
  const char *detail = problem->detail != NULL ? problem->detail : "";

  if (status == 401 && !story->had_token)
    return nat_cause_new (NAT_CAUSE_NOT_AUTHORIZED,
        "The relay %s asks for an access token: set auth-token (or NATRELAY_AUTH_TOKEN) to one "
        "that natrelay-server printed when it started or that natrelay-token made.",
        story->where);
  return nat_cause_new (is_about_ssrc (problem) ? NAT_CAUSE_SSRC_IN_USE : kind_of_status (status),
      "%s (relay %s): %s", problem->title, story->where, detail);
}

NatCause *
nat_https_cause_of_stranger (const NatHttpsStory *story, guint status, const char *reason)
{
  if (reason == NULL)
    reason = "";
  if (story->via_proxy)
    return nat_cause_new (NAT_CAUSE_PROXY,
        "The proxy answered \"%u %.100s\" instead of the relay %s: it must allow CONNECT to port "
        "%u.",
        status, reason, story->where, story->port);
  return nat_cause_new (NAT_CAUSE_PROXY,
      "%s answered \"%u %.100s\", and not as a relay does: check that the uri has the host and "
      "port of "
      "natrelay-server, and that no proxy or login page stands between.",
      story->where, status, reason);
}

NatCause *
nat_https_cause_of_status (
    const NatHttpsStory *story, guint status, const char *reason, const char *body, gsize len)
{
  NatProblem problem = {0};
  NatCause *cause;

  if (nat_problem_from_json (&problem, body, (gssize)len))
    cause = cause_of_problem (story, status, &problem);
  else
    cause = nat_https_cause_of_stranger (story, status, reason);
  cause->final = status_is_final (status);
  cause->http_status = status;
  nat_cause_set_detail (
      cause, "HTTP %u%s%s", status, problem.type ? ", " : "", problem.type ? problem.type : "");
  nat_problem_clear (&problem);
  return cause;
}
