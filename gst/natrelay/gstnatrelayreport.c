/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gstnatrelayintake.h"
#include "gstnatrelayreport.h"

GST_DEBUG_CATEGORY_EXTERN (gst_nat_relay_debug);
#define GST_CAT_DEFAULT gst_nat_relay_debug

/* ---- causes -------------------------------------------------------------- */

/* LOST stands for READ in a source and WRITE in a sink. */
#define LOST GST_RESOURCE_ERROR_NUM_ERRORS

static const struct {
  const gchar *nick;
  GstResourceError code;
} causes[] = {
    [NAT_CAUSE_NONE] = {"none", GST_RESOURCE_ERROR_FAILED},
    [NAT_CAUSE_UNKNOWN_HOST] = {"unknown-host", GST_RESOURCE_ERROR_NOT_FOUND},
    [NAT_CAUSE_UNREACHABLE] = {"unreachable", GST_RESOURCE_ERROR_OPEN_READ_WRITE},
    [NAT_CAUSE_TIMEOUT] = {"timeout", GST_RESOURCE_ERROR_OPEN_READ_WRITE},
    [NAT_CAUSE_TLS] = {"tls", GST_RESOURCE_ERROR_OPEN_READ_WRITE},
    [NAT_CAUSE_PROXY] = {"proxy", GST_RESOURCE_ERROR_OPEN_READ_WRITE},
    [NAT_CAUSE_NOT_AUTHORIZED] = {"not-authorized", GST_RESOURCE_ERROR_NOT_AUTHORIZED},
    [NAT_CAUSE_NOT_FOUND] = {"not-found", GST_RESOURCE_ERROR_NOT_FOUND},
    [NAT_CAUSE_BUSY] = {"busy", GST_RESOURCE_ERROR_BUSY},
    [NAT_CAUSE_SSRC_IN_USE] = {"ssrc-in-use", GST_RESOURCE_ERROR_BUSY},
    [NAT_CAUSE_SERVER] = {"server", GST_RESOURCE_ERROR_OPEN_READ_WRITE},
    [NAT_CAUSE_PROTOCOL] = {"protocol", GST_RESOURCE_ERROR_FAILED},
    [NAT_CAUSE_NO_UDP] = {"no-udp", GST_RESOURCE_ERROR_OPEN_READ_WRITE},
    [NAT_CAUSE_SOCKET] = {"socket", GST_RESOURCE_ERROR_SETTINGS},
    [NAT_CAUSE_SUPERSEDED] = {"superseded", GST_RESOURCE_ERROR_BUSY},
    [NAT_CAUSE_ENDED] = {"ended", LOST},
    [NAT_CAUSE_GOING_AWAY] = {"going-away", LOST},
    [NAT_CAUSE_SILENCE] = {"silence", LOST},
};

/* "busy", "no-udp"...: what messages and stats call a cause. */
static const gchar *
cause_nick (NatCauseKind kind)
{
  return (guint)kind < G_N_ELEMENTS (causes) ? causes[kind].nick : "unknown";
}

static GstResourceError
resource_code (NatCauseKind kind, NatRole role)
{
  GstResourceError code =
      (guint)kind < G_N_ELEMENTS (causes) ? causes[kind].code : GST_RESOURCE_ERROR_FAILED;

  if (code != LOST)
    return code;
  return role == NAT_ROLE_PUBLISHER ? GST_RESOURCE_ERROR_WRITE : GST_RESOURCE_ERROR_READ;
}

/**
 * message natrelay-cause: (both)
 * @cause: string: one of unknown-host, unreachable, timeout, tls, proxy, not-authorized, not-found, busy, ssrc-in-use, server,
 *   protocol, no-udp, socket, superseded, ended, going-away, silence
 * @text: string: a sentence for people
 * @detail: string: what else is known, or NULL
 * @http-status: guint: the relay's, or 0
 * @attempt: guint: how many there were in a row
 * @retry-ms: guint: milliseconds until the next one
 *
 * No element message, but the details of the ERROR or WARNING that says the same
 * (gst_message_parse_error_details(), gst_message_parse_warning_details()). An ERROR is final: "superseded" and "not-authorized" take a
 * person, others may work when the pipeline is started anew. A WARNING is not: the element tries again by itself,
 * and says so once for each cause.
 */
static GstStructure *
cause_to_structure (const NatCause *cause, const gchar *name)
{
  return gst_structure_new (name, "cause", G_TYPE_STRING, cause_nick (cause->kind), "text",
      G_TYPE_STRING, cause->text, "detail", G_TYPE_STRING, cause->detail, "http-status",
      G_TYPE_UINT, cause->http_status, "attempt", G_TYPE_UINT, cause->attempt, "retry-ms",
      G_TYPE_UINT, cause->retry_ms, NULL);
}

static void
post_cause (GstNatRelayReport *report, const NatCause *cause, GstMessageType type)
{
  gst_element_message_full_with_details (report->element, type, GST_RESOURCE_ERROR,
      (gint)resource_code (cause->kind, report->role), g_strdup (cause->text),
      g_strdup (cause->detail), __FILE__, GST_FUNCTION, __LINE__,
      cause_to_structure (cause, "natrelay-cause"));
}

/* ---- states -------------------------------------------------------------- */

void
gst_nat_relay_report_init (GstNatRelayReport *report, GstElement *element, NatRole role)
{
  g_mutex_init (&report->lock);
  report->element = element;
  report->role = role;
}

void
gst_nat_relay_report_clear (GstNatRelayReport *report)
{
  g_mutex_clear (&report->lock);
}

static void
post_progress (
    GstNatRelayReport *report, GstProgressType type, const gchar *code, const gchar *text)
{
  gst_element_post_message (
      report->element, gst_message_new_progress (GST_OBJECT (report->element), type, code, text));
}

/* Ends the progress under way, if any. */
static void
close_progress (GstNatRelayReport *report, GstProgressType type, const gchar *text)
{
  const gchar *code;

  g_mutex_lock (&report->lock);
  code = report->progress;
  report->progress = NULL;
  g_mutex_unlock (&report->lock);
  if (code != NULL)
    post_progress (report, type, code, text);
}

static void
open_progress (GstNatRelayReport *report, const gchar *code, const gchar *text)
{
  g_mutex_lock (&report->lock);
  report->progress = code;
  g_mutex_unlock (&report->lock);
  post_progress (report, GST_PROGRESS_TYPE_START, code, text);
}

void
gst_nat_relay_report_start (GstNatRelayReport *report)
{
  g_mutex_lock (&report->lock);
  report->state = NAT_SESSION_DISCONNECTED;
  report->ready = report->role == NAT_ROLE_SUBSCRIBER;
  report->progress = NULL;
  report->warned = 0;
  report->connected = FALSE;
  report->deserted = FALSE;
  g_mutex_unlock (&report->lock);
}

/* While it has no description, the session of a publisher only waits for one: that is no progress. */
void
gst_nat_relay_report_set_ready (GstNatRelayReport *report)
{
  gboolean begin;

  g_mutex_lock (&report->lock);
  begin = !report->ready && report->state == NAT_SESSION_NEGOTIATING;
  report->ready = TRUE;
  g_mutex_unlock (&report->lock);
  if (begin)
    open_progress (report, "negotiate", "Negotiating with the relay");
}

void
gst_nat_relay_report_set_deserted (GstNatRelayReport *report, gboolean deserted)
{
  g_mutex_lock (&report->lock);
  report->deserted = deserted;
  g_mutex_unlock (&report->lock);
}

static const gchar *
transport_nick (const NatAddress *relay)
{
  return relay->transport == NAT_TRANSPORT_WEBSOCKET ? "websocket" : "udp";
}

/**
 * message natrelay-connected: (both)
 * @local-address: string: where it sends from, as this machine sees it
 * @mapped-address: string: the same, as the relay sees it through the NATs
 * @relay-address: string: where it sends to
 * @transport: string: udp or websocket
 * @reconnects: guint: how often the connection was lost and came back
 *
 * The relay knows this client: media flows.
 */
static void
post_connected (GstNatRelayReport *report, NatSession *session)
{
  gchar local[NAT_ADDRESS_TEXT_MAX], mapped[NAT_ADDRESS_TEXT_MAX], relay[NAT_ADDRESS_TEXT_MAX];
  NatSessionStats stats;
  gboolean deserted;
  gchar *text;

  g_mutex_lock (&report->lock);
  deserted = report->deserted;
  g_mutex_unlock (&report->lock);
  nat_session_get_stats (session, &stats);
  /* A stream's name with a typo looks like this, and like nothing else. */
  text = g_strdup_printf ("Registered at the relay as %s, by %s%s",
      nat_address_to_text (&stats.mapped, mapped),
      stats.relay.transport == NAT_TRANSPORT_WEBSOCKET ? "WebSocket" : "UDP",
      deserted ? "; nobody publishes this stream now, waiting for it" : "");
  open_progress (report, "register", "Registering");
  close_progress (report, GST_PROGRESS_TYPE_COMPLETE, text);
  g_free (text);
  gst_element_post_message (report->element,
      gst_message_new_element (GST_OBJECT (report->element),
          gst_structure_new ("natrelay-connected", "local-address", G_TYPE_STRING,
              nat_address_to_text (&stats.local, local), "mapped-address", G_TYPE_STRING, mapped,
              "relay-address", G_TYPE_STRING, nat_address_to_text (&stats.relay, relay),
              "transport", G_TYPE_STRING, transport_nick (&stats.relay), "reconnects", G_TYPE_UINT,
              stats.reconnects, NULL)));
  nat_session_stats_clear (&stats);
}

/**
 * message natrelay-connection-lost: (both)
 * @cause: string: as of natrelay-cause
 * @text: string: a sentence for people
 * @detail: string: what else is known, or NULL
 * @http-status: guint: the relay's, or 0
 * @attempt: guint: how many there were in a row
 * @retry-ms: guint: milliseconds until the next one
 *
 * The connection is lost. It is tried again, without end unless "retries" or "auto-reconnect" say otherwise.
 */
/**
 * message natrelay-connection-attempt: (both)
 * @cause: string: as of natrelay-cause
 * @text: string: a sentence for people
 * @detail: string: what else is known, or NULL
 * @http-status: guint: the relay's, or 0
 * @attempt: guint: how many there were in a row
 * @retry-ms: guint: milliseconds until the next one
 *
 * An attempt failed, and there will be another.
 */
/* Something went wrong that will be tried again: once as a WARNING per kind, each time as
 * an element message. */
static void
post_setback (GstNatRelayReport *report, const NatCause *cause)
{
  gboolean lost, warn;

  g_mutex_lock (&report->lock);
  lost = report->connected;
  report->connected = FALSE;
  warn = (report->warned & (1u << cause->kind)) == 0;
  report->warned |= 1u << cause->kind;
  g_mutex_unlock (&report->lock);
  close_progress (report, GST_PROGRESS_TYPE_ERROR, cause->text);
  if (warn)
    post_cause (report, cause, GST_MESSAGE_WARNING);
  gst_element_post_message (
      report->element, gst_message_new_element (GST_OBJECT (report->element),
                           cause_to_structure (cause,
                               lost ? "natrelay-connection-lost" : "natrelay-connection-attempt")));
}

/* What ends the progress under way when the relay answers our Binding. One may be answered of a session that was taken for lost,
 * while another is negotiated, as where the relay was started again. */
static const gchar *
answered_text (NatSessionState before)
{
  return before == NAT_SESSION_NEGOTIATING
             ? "The relay answers again; the session goes on, and needs no new negotiation"
             : "Challenge answered";
}

static void
post_failure (GstNatRelayReport *report, const NatCause *cause)
{
  close_progress (report, GST_PROGRESS_TYPE_ERROR, cause->text);
  g_mutex_lock (&report->lock);
  report->connected = FALSE;
  g_mutex_unlock (&report->lock);
  post_cause (report, cause, GST_MESSAGE_ERROR);
}

void
gst_nat_relay_report_state (
    GstNatRelayReport *report, NatSession *session, NatSessionState state, const NatCause *cause)
{
  static const NatCause unexplained = {
      NAT_CAUSE_PROTOCOL, 0, TRUE, 0, 0, (char *)"The session failed", NULL};
  gboolean ready, was_connected;
  NatSessionState before;

  g_mutex_lock (&report->lock);
  before = report->state;
  report->state = state;
  ready = report->ready;
  was_connected = report->connected;
  if (state == NAT_SESSION_CONNECTED)
    report->connected = TRUE;
  g_mutex_unlock (&report->lock);

  switch (state) {
  case NAT_SESSION_NEGOTIATING:
    if (ready)
      open_progress (report, "negotiate", "Negotiating with the relay");
    break;
  case NAT_SESSION_CHALLENGING:
    close_progress (report, GST_PROGRESS_TYPE_COMPLETE, "Negotiated");
    open_progress (report, "challenge", "Answering the relay's challenge");
    break;
  case NAT_SESSION_CONNECTED:
    close_progress (report, GST_PROGRESS_TYPE_COMPLETE, answered_text (before));
    if (!was_connected)
      post_connected (report, session);
    break;
  case NAT_SESSION_WAITING:
    if (cause != NULL)
      post_setback (report, cause);
    break;
  case NAT_SESSION_FAILED: post_failure (report, cause != NULL ? cause : &unexplained); break;
  case NAT_SESSION_SUSPECT:
  case NAT_SESSION_DISCONNECTED: break;
  }
}

/**
 * message natrelay-transport: (both)
 * @transport: string: udp or websocket
 *
 * While connected, media moved to the other transport: UDP stopped getting through, or does again.
 */
void
gst_nat_relay_report_mapped (GstNatRelayReport *report, const NatAddress *relay)
{
  gboolean moved;

  g_mutex_lock (&report->lock);
  moved = report->connected && report->transport != relay->transport;
  report->transport = relay->transport;
  g_mutex_unlock (&report->lock);
  if (!moved)
    return;
  open_progress (report, "register", "Registering on another transport");
  close_progress (report, GST_PROGRESS_TYPE_COMPLETE,
      relay->transport == NAT_TRANSPORT_WEBSOCKET
          ? "Media goes over a WebSocket, as UDP does not get through"
          : "Media goes over UDP again");
  gst_element_post_message (
      report->element, gst_message_new_element (GST_OBJECT (report->element),
                           gst_structure_new ("natrelay-transport", "transport", G_TYPE_STRING,
                               transport_nick (relay), NULL)));
}

/**
 * message natrelay-bitrate: (natrelaysink)
 * @estimated-bitrate: guint: bits per second that the link to the relay can take
 * @loss: gdouble: share of packets lost on it, 0 to 1
 *
 * The property estimated-bitrate changed notably. Set the encoder to some 90 % of it.
 */
void
gst_nat_relay_report_bitrate (GstNatRelayReport *report, guint64 bits_per_s, gdouble loss)
{
  GstStructure *s = gst_structure_new ("natrelay-bitrate", "estimated-bitrate", G_TYPE_UINT,
      (guint)MIN (bits_per_s, G_MAXUINT), "loss", G_TYPE_DOUBLE, loss, NULL);

  gst_element_post_message (
      report->element, gst_message_new_element (GST_OBJECT (report->element), s));
}

/**
 * message natrelay-path-size: (both)
 * @bytes: guint: the largest datagram that gets through
 * @mtu: guint: the same, as what natrelaysink's property mtu can be
 *
 * Larger datagrams vanish between here and the relay. natrelaysink cuts encoded input to fit by itself.
 */
void
gst_nat_relay_report_path_size (GstNatRelayReport *report, guint bytes)
{
  GstElement *element = report->element;

  if (report->role == NAT_ROLE_PUBLISHER)
    GST_ELEMENT_WARNING (element, RESOURCE, SETTINGS,
        ("Datagrams of more than %u bytes do not reach the relay in one piece; encoded input is "
         "cut to fit, "
         "RTP is not: set mtu=%u where it is made",
            bytes, bytes - GST_NAT_RELAY_RESERVED),
        (NULL));
  else
    GST_ELEMENT_WARNING (element, RESOURCE, SETTINGS,
        ("Datagrams of more than %u bytes do not get through between here and the relay in one "
         "piece; if packets "
         "are missing, set mtu=%u at the stream's natrelaysink",
            bytes, bytes),
        (NULL));
  gst_element_post_message (element, gst_message_new_element (GST_OBJECT (element),
                                         gst_structure_new ("natrelay-path-size", "bytes",
                                             G_TYPE_UINT, bytes, "mtu", G_TYPE_UINT, bytes, NULL)));
}

void
gst_nat_relay_report_stop (GstNatRelayReport *report)
{
  close_progress (report, GST_PROGRESS_TYPE_CANCELED, "Stopped");
}

/**
 * message natrelay-latency-short: (natrelaysrc)
 * @latency-ms: guint: as it is set
 * @needed-ms: guint: what would be enough: set the property latency to that
 * @rtt-ms: guint: round trip to the relay
 *
 * Posted once: what is lost cannot come again in time.
 */
void
gst_nat_relay_report_latency (
    GstNatRelayReport *report, guint latency_ms, guint needed_ms, guint rtt_ms)
{
  GstElement *element = report->element;

  GST_ELEMENT_WARNING (element, RESOURCE, SETTINGS,
      ("A latency of %u ms is too short to have lost packets sent again; set the property latency "
       "to "
       "%u",
          latency_ms, needed_ms),
      ("the round trip to the relay takes %u ms", rtt_ms));
  gst_element_post_message (element,
      gst_message_new_element (GST_OBJECT (element),
          gst_structure_new ("natrelay-latency-short", "latency-ms", G_TYPE_UINT, latency_ms,
              "needed-ms", G_TYPE_UINT, needed_ms, "rtt-ms", G_TYPE_UINT, rtt_ms, NULL)));
}

/* ---- stats --------------------------------------------------------------- */

static void
set_address (GstStructure *s, const gchar *field, const NatAddress *address)
{
  gchar text[NAT_ADDRESS_TEXT_MAX];

  if (address->family != 0)
    gst_structure_set (s, field, G_TYPE_STRING, nat_address_to_text (address, text), NULL);
}

GstStructure *
gst_nat_relay_report_stats (NatSession *session, NatRole role)
{
  GstStructure *s = gst_structure_new_empty ("application/x-natrelay-statistics");
  NatSessionStats stats;

  if (session == NULL)
    return s;
  nat_session_get_stats (session, &stats);
  if (role == NAT_ROLE_PUBLISHER)
    gst_structure_set (s, "packets-sent", G_TYPE_UINT64, stats.packets_sent, "bytes-sent",
        G_TYPE_UINT64, stats.bytes_sent, "packets-sent-dropped", G_TYPE_UINT64,
        stats.packets_dropped, "estimated-bitrate", G_TYPE_UINT64, stats.estimated_bitrate, "loss",
        G_TYPE_DOUBLE, stats.loss, NULL);
  else
    gst_structure_set (s, "packets-received", G_TYPE_UINT64, stats.packets_received,
        "bytes-received", G_TYPE_UINT64, stats.bytes_received, NULL);
  set_address (s, "local-address", &stats.local);
  set_address (s, "mapped-address", &stats.mapped);
  set_address (s, "relay-address", &stats.relay);
  if (stats.relay.family != 0 || stats.relay.transport != NAT_TRANSPORT_UDP)
    gst_structure_set (s, "transport", G_TYPE_STRING, transport_nick (&stats.relay), NULL);
  gst_structure_set (s, "rtt-ms", G_TYPE_DOUBLE, stats.rtt_us / 1000.0, "rtcp-packets-sent",
      G_TYPE_UINT64, stats.rtcp_sent, "rtcp-packets-received", G_TYPE_UINT64, stats.rtcp_received,
      "rtcp-packets-refused", G_TYPE_UINT64, stats.rtcp_refused, "datagrams-refused", G_TYPE_UINT64,
      stats.datagrams_refused, "rebinds", G_TYPE_UINT, stats.rebinds, "reconnects", G_TYPE_UINT,
      stats.reconnects, "attempts", G_TYPE_UINT, stats.attempts, NULL);
  if (stats.last_cause != NULL)
    gst_structure_set (s, "last-error", G_TYPE_STRING, stats.last_cause->text, "last-error-cause",
        G_TYPE_STRING, cause_nick (stats.last_cause->kind), NULL);
  nat_session_stats_clear (&stats);
  return s;
}
