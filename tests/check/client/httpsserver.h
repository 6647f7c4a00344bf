/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* An HTTPS server that answers every request with the same bytes, for all that a relay does not say.
 * In a thread of its own. */

#include <gio/gio.h>

typedef enum {
  HTTPS_ANSWERS, /* TLS, then the answer */
  HTTPS_HANGS,   /* takes connections and says nothing, not even TLS */
  HTTPS_SLOW,    /* TLS, and then nothing */
  HTTPS_LATE,    /* answers, but TLS waits for longer than a client does before it asks others */
  HTTPS_ENDLESS, /* an answer whose body does not end */
  HTTPS_STALLS,  /* says again and again that an answer will come */
  HTTPS_PLAIN,   /* the answer without TLS */
  HTTPS_CLOSES,  /* closes each connection at once */
  HTTPS_PROXY,   /* CONNECT, then copies bytes; the answer is used as refusal */
} HttpsManner;

typedef struct _HttpsServer HttpsServer;

/* pem: certificate and key; NULL makes a new one. answer may be NULL. */
HttpsServer *https_server_new (HttpsManner manner, const char *answer, const char *pem);
/* At another address than 127.0.0.1. */
HttpsServer *https_server_new_at (
    const char *ip, HttpsManner manner, const char *answer, const char *pem);
/* At a port that somebody else had, or has at another address. */
HttpsServer *https_server_new_on (
    const char *ip, guint16 port, HttpsManner manner, const char *answer, const char *pem);
/* To connections that are taken from now on. */
void https_server_set_manner (HttpsServer *s, HttpsManner manner);
/* To the requests that are read from now on. */
void https_server_set_answer (HttpsServer *s, const char *answer);
/* A proxy leads to this port all the same, after a while. */
void https_server_let_through (HttpsServer *s, guint16 port, guint after_ms);
/* LATE: for so long. */
void https_server_set_late (HttpsServer *s, guint ms);
guint16 https_server_port (HttpsServer *s);
const char *https_server_fingerprint (HttpsServer *s);
guint https_server_n_requests (HttpsServer *s);
guint https_server_n_calls (HttpsServer *s); /* connections that it took */
/* Head and body of the last request, as it came. */
char *https_server_dup_request (HttpsServer *s);
void https_server_free (HttpsServer *s);

/* For https_server_new: the document of this session, whose UDP is at that port of 127.0.0.1. */
#define HTTPS_SESSION "AAECAwQFBgcICQoLDA0ODw"
char *https_session_answer (guint16 udp_port);
/* The machine's own are none of a test's business. */
void https_forget_proxies (void);

/* A self-signed certificate with its key, for 127.0.0.1, ::1 and localhost; or with expired for 1970. */
char *https_make_certificate (gboolean expired);
/* Good in so many seconds, for two hours. */
char *https_make_certificate_from (gint64 in_s);
/* One that somebody else signed, as an inspecting proxy does. authority: the signer's certificate, or NULL. */
char *https_make_forged_certificate (char **authority);
