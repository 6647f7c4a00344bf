/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* One client session with a relay: it negotiates over HTTPS, answers the challenge, keeps the
 * mapping open, notices silence, comes back after anything, and carries datagrams. It has a
 * thread and a GMainContext of its own; no call here waits for the network. */

#include <gio/gio.h>
#include "natproto/address.h"
#include "natproto/messages.h"
#include "natproto/negotiation.h"

G_BEGIN_DECLS

typedef struct _NatSession NatSession;

/* Bytes of UDP payload that a publisher may count upon where nobody says otherwise. */
#define NAT_PATH_SIZE_MIN 1200

/* The public connection-state of the elements, nick in quotes. */
typedef enum {
  NAT_SESSION_DISCONNECTED, /* "disconnected": not started, or stopped */
  NAT_SESSION_NEGOTIATING, /* "negotiating": HTTPS under way (or waiting for a description to offer) */
  NAT_SESSION_CHALLENGING, /* "challenging": STUN under way, no answer accepted yet */
  NAT_SESSION_CONNECTED,   /* "connected": the mapping is registered; media flows */
  NAT_SESSION_SUSPECT,     /* "suspect": silence; probing; media still sent */
  NAT_SESSION_WAITING,     /* "waiting": backing off until the next attempt */
  NAT_SESSION_FAILED,      /* "failed": final; a person must change something */
} NatSessionState;
const char *nat_session_state_nick (NatSessionState state);

/* Why an attempt failed; kinds are chosen so that each maps to one GStreamer error code. */
typedef enum {
  NAT_CAUSE_NONE,
  NAT_CAUSE_UNKNOWN_HOST, /* DNS */
  NAT_CAUSE_UNREACHABLE,  /* refused, no route, connection lost */
  NAT_CAUSE_TIMEOUT,      /* HTTPS did not answer in time */
  NAT_CAUSE_TLS,   /* handshake or certificate; text says fingerprint mismatch where it is one */
  NAT_CAUSE_PROXY, /* a 4xx/5xx that is not the relay's own, or CONNECT refused */
  NAT_CAUSE_NOT_AUTHORIZED, /* 401, 403 */
  NAT_CAUSE_NOT_FOUND,      /* 404, 410: no such stream or session */
  NAT_CAUSE_BUSY,           /* 409: another publisher is live */
  NAT_CAUSE_SSRC_IN_USE,    /* 409: another stream has one of our SSRCs */
  NAT_CAUSE_SERVER,         /* 5xx, 429 of the relay */
  NAT_CAUSE_PROTOCOL,       /* an answer that we do not understand; other 4xx */
  NAT_CAUSE_NO_UDP,         /* HTTPS works, no UDP answer */
  NAT_CAUSE_SOCKET,         /* no local socket (bind address or port taken) */
  NAT_CAUSE_SUPERSEDED,     /* another publisher took our place */
  NAT_CAUSE_ENDED,          /* an operator ended the session, or its permission ran out */
  NAT_CAUSE_GOING_AWAY,     /* the relay stops */
  NAT_CAUSE_SILENCE,        /* the relay does not answer any more */
} NatCauseKind;
typedef struct {
  NatCauseKind kind;
  guint http_status; /* 0 = none */
  gboolean final;    /* not retried */
  guint attempt;     /* 1 = first since connected */
  guint retry_ms;    /* until the next attempt; 0 if final */
  char *text;        /* one sentence for a person, with what to do */
  char *detail;      /* for a log: addresses, codes, the library's words; never a secret */
} NatCause;
NatCause *nat_cause_copy (const NatCause *cause);
void nat_cause_free (NatCause *cause);

typedef struct {
  guint8 *data; /* may be changed in place by the receiver */
  gsize len;
} NatDatagram;

/* All on the session's thread, no lock held; none after nat_session_stop returned (which waits for
 * a callback that runs). Every one may be NULL. */
typedef struct {
  /* cause is NULL or what led here (SUSPECT, WAITING, FAILED); valid during the call. */
  void (*state) (NatSession *s, NatSessionState state, const NatCause *cause, gpointer user);
  /* The session's document changed: first answer, new version. Publisher state, SDP, keys. */
  void (*document) (NatSession *s, const NatSessionDocument *document, gpointer user);
  /* Of a publisher: the relay has the description that nat_session_set_description gave this serial, or hands it out from
   * now on. Again after each time that the relay had to be told anew. */
  void (*described) (NatSession *s, guint serial, gpointer user);
  /* Of a publisher: another stream has one of its SSRCs. It is to draw others, and describe those. */
  void (*ssrc_in_use) (NatSession *s, const NatCause *cause, gpointer user);
  /* Mapping learned or changed: y and z. */
  void (*mapped) (NatSession *s, const NatAddress *local, const NatAddress *mapped,
      const NatAddress *relay, gpointer user);
  /* A batch of RTP packets as they came, in order of arrival. Memory is the session's. */
  void (*rtp) (NatSession *s, NatDatagram *packets, guint n, gpointer user);
  /* One RTCP compound, opened and genuine. */
  void (*rtcp) (NatSession *s, guint8 *data, gsize len, gpointer user);
  /* Of a publisher: what the link to the relay can take, bits per second, after each notable change; loss is the
   * share of packets lost on it lately, 0 to 1. */
  void (*bitrate) (NatSession *s, guint64 bits_per_s, gdouble loss, gpointer user);
  /* Datagrams of more than so many bytes do not reach the relay in one piece; 0 = that is not so any more, as far as is
   * known. Told of sizes that are sent, or, to a subscriber, of less than NAT_PATH_SIZE_MIN. */
  void (*path_size) (NatSession *s, guint bytes, gpointer user);
  /* The permission ends in seconds_left; nat_session_set_auth_token with a fresh one extends it. */
  void (*token_expires) (NatSession *s, guint seconds_left, gpointer user);
  /* As GTlsConnection::accept-certificate: TRUE accepts a certificate that did not verify. */
  gboolean (*accept_certificate) (
      NatSession *s, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user);
} NatSessionCallbacks;

/* What carries the datagrams. The public transport of the elements. */
typedef enum {
  NAT_TRANSPORT_CHOICE_AUTO,      /* UDP; the WebSocket where UDP does not get through */
  NAT_TRANSPORT_CHOICE_UDP,       /* UDP only */
  NAT_TRANSPORT_CHOICE_WEBSOCKET, /* the WebSocket only */
} NatTransportChoice;

typedef struct {
  NatRole role;
  char *host;          /* name or literal address, without brackets */
  guint16 port;        /* of HTTPS */
  guint16 second_port; /* where HTTPS is tried if that leads nowhere; 443; 0 = nowhere */
  char *stream;        /* of subscribers a pattern as well */
  char *auth_token;    /* NULL or "" = none */
  char *tls_ca_file;   /* NULL = system's */
  char *
      tls_fingerprint; /* hex SHA-256, colons allowed; NULL = none. Holds also when the chain verifies;
                                 * a self-signed certificate with this fingerprint is accepted */
  GTlsDatabase *tls_database; /* NULL = default */
  GTlsCertificateFlags tls_validation_flags;
  NatTransportChoice transport;
  char *proxy;        /* URI, with user and password; NULL = system's resolver */
  char *bind_address; /* NULL = any */
  guint16 bind_port;  /* 0 = any */
  gint qos_dscp;      /* -1 = untouched */
  guint buffer_size;  /* bytes for the UDP socket; 0 = system's */
  guint timeout_ms;   /* one HTTPS exchange, and the wait for the first STUN answer; 15000 */
  gboolean auto_reconnect;
  gint retries;           /* -1 = for ever */
  gdouble backoff_factor; /* seconds: first wait, doubled each time; 0.25 */
  gdouble backoff_max;    /* seconds; 10 */
  gboolean takeover;
  gboolean instant_start; /* subscribers: packets of the past are welcome when it starts */
  char *exclude;          /* of a pattern: the stream that is not to come; NULL = all are */
} NatSessionConfig;
void nat_session_config_init (NatSessionConfig *config); /* defaults */
void nat_session_config_clear (NatSessionConfig *config);

/* Once, before anything in the process uses the network, if that can be: no session's first connection then waits for
 * another library's, and that for ours, for ever. */
void nat_session_load_types (void);

/* Copies config and callbacks. */
NatSession *nat_session_new (
    const NatSessionConfig *config, const NatSessionCallbacks *callbacks, gpointer user);
NatSession *nat_session_ref (NatSession *s);
void nat_session_unref (NatSession *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatSession, nat_session_unref)

/* Starts the thread. A publisher negotiates once it has a description. */
void nat_session_start (NatSession *s);
/* Cancels everything and returns; the goodbye (DELETE if ended, else nothing but what tells the relay that we
 * left) is sent in the background, for at most 1 s. ended: the stream is over (EOS), not just this client. */
void nat_session_stop (NatSession *s, gboolean ended);

/* Any thread. What a publisher offers; a change is PUT while connected. d is copied. Returns its serial, which counts
 * up; the relay may be told of the last one alone. */
guint nat_session_set_description (NatSession *s, const NatDescription *d);
/* Any thread. Used from the next request on; a live session is extended at once. A session that failed for
 * want of permission tries again. */
void nat_session_set_auth_token (NatSession *s, const char *token);

/* Any thread, typically a streaming thread. Sends what the socket takes at once; the rest is dropped
 * and counted (media waits for nobody), as is all while no mapping is registered. Returns packets sent. */
guint nat_session_send_rtp (NatSession *s, const NatDatagram *packets, guint n);
/* One plain compound; sealed and sent. data is not changed. */
gboolean nat_session_send_rtcp (NatSession *s, const guint8 *data, gsize len);

typedef struct {
  NatSessionState state;
  NatAddress local, mapped, relay; /* y, z; "none" until known */
  gboolean via_proxy;
  guint64 packets_sent, bytes_sent, packets_dropped; /* RTP */
  guint64 packets_received, bytes_received;
  guint64 rtcp_sent, rtcp_received, rtcp_refused;
  guint64 datagrams_refused; /* malformed, from a stranger */
  guint64 estimated_bitrate; /* of the link to the relay, bits per second; 0 = unknown */
  gdouble loss;              /* on that link, lately, 0 to 1 */
  guint rtt_us;              /* smoothed, of Bindings; 0 = unknown */
  guint rebinds;             /* times z changed */
  guint reconnects;          /* times CONNECTED was reached again after it was lost */
  guint attempts;            /* HTTPS negotiations begun */
  NatCause *last_cause;      /* owned by the caller, or NULL */
} NatSessionStats;
void nat_session_get_stats (NatSession *s, NatSessionStats *stats);
void nat_session_stats_clear (NatSessionStats *stats);
/* stats.rtt_us alone, for those who pace by it. */
guint nat_session_get_rtt_us (NatSession *s);

G_END_DECLS
