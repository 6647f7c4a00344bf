/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "watcher.h"

#include <string.h>

static void
on_state (NatSession *s, NatSessionState state, const NatCause *cause, gpointer user)
{
  Watcher *w = user;

  g_mutex_lock (&w->lock);
  g_assert_false (w->done);
  w->state = state;
  g_string_append_printf (w->states, "%s ", nat_session_state_nick (state));
  if (cause != NULL) {
    g_assert_nonnull (cause->text);
    nat_cause_free (w->cause);
    w->cause = nat_cause_copy (cause);
    g_test_message ("%s: %s [%s]", nat_session_state_nick (state), cause->text,
        cause->detail != NULL ? cause->detail : "");
  }
  g_cond_broadcast (&w->cond);
  g_mutex_unlock (&w->lock);
}

static void
on_document (NatSession *s, const NatSessionDocument *document, gpointer user)
{
  Watcher *w = user;

  g_mutex_lock (&w->lock);
  g_assert_false (w->done);
  w->documents++;
  w->document.version = document->version;
  w->document.publisher = document->publisher;
  g_strlcpy (w->document.boot_id, document->boot_id, sizeof w->document.boot_id);
  g_strlcpy (w->document.session, document->session, sizeof w->document.session);
  g_free (w->sdp);
  w->sdp = g_strdup (document->description.sdp);
  g_cond_broadcast (&w->cond);
  g_mutex_unlock (&w->lock);
}

static void
on_described (NatSession *s, guint serial, gpointer user)
{
  Watcher *w = user;

  g_mutex_lock (&w->lock);
  g_assert_false (w->done);
  g_assert_cmpuint (serial, >=, w->described);
  w->described = serial;
  g_cond_broadcast (&w->cond);
  g_mutex_unlock (&w->lock);
}

static void
on_mapped (NatSession *s, const NatAddress *local, const NatAddress *mapped,
    const NatAddress *relay, gpointer user)
{
  Watcher *w = user;

  g_mutex_lock (&w->lock);
  g_assert_false (w->done);
  w->mapped = *mapped;
  w->n_mapped++;
  g_mutex_unlock (&w->lock);
}

static void
on_rtp (NatSession *s, NatDatagram *packets, guint n, gpointer user)
{
  Watcher *w = user;

  g_mutex_lock (&w->lock);
  g_assert_false (w->done);
  for (guint i = 0; i < n; i++) {
    guint32 word;

    g_assert_cmpuint (packets[i].len, >=, 16);
    memcpy (&word, packets[i].data + 12, sizeof word);
    word = GUINT32_FROM_BE (word);
    g_array_append_val (w->rtp, word);
  }
  g_cond_broadcast (&w->cond);
  g_mutex_unlock (&w->lock);
}

static void
on_rtcp (NatSession *s, guint8 *data, gsize len, gpointer user)
{
  Watcher *w = user;

  g_mutex_lock (&w->lock);
  g_assert_false (w->done);
  w->n_rtcp++;
  w->rtcp_len = (guint)MIN (len, sizeof w->rtcp);
  memcpy (w->rtcp, data, w->rtcp_len);
  g_cond_broadcast (&w->cond);
  g_mutex_unlock (&w->lock);
}

static void
on_token_expires (NatSession *s, guint seconds_left, gpointer user)
{
  Watcher *w = user;

  g_mutex_lock (&w->lock);
  w->token_calls++;
  w->token_seconds = seconds_left;
  g_cond_broadcast (&w->cond);
  g_mutex_unlock (&w->lock);
  if (w->has_no_other)
    nat_session_set_auth_token (s, w->config.auth_token);
}

static gboolean
on_accept (NatSession *s, GTlsCertificate *certificate, GTlsCertificateFlags errors, gpointer user)
{
  Watcher *w = user;
  gboolean accept;

  g_mutex_lock (&w->lock);
  g_assert_false (w->done);
  w->accept_calls++;
  accept = w->accept;
  g_mutex_unlock (&w->lock);
  return accept;
}

void
watcher_init (Watcher *w, NatRole role, const RelayProcess *relay)
{
  memset (w, 0, sizeof *w);
  g_mutex_init (&w->lock);
  g_cond_init (&w->cond);
  w->states = g_string_new (NULL);
  w->rtp = g_array_new (FALSE, FALSE, sizeof (guint32));
  nat_session_config_init (&w->config);
  w->config.role = role;
  w->config.stream = g_strdup ("house/door");
  w->config.backoff_factor = 0.05;
  w->config.backoff_max = 0.5;
  if (relay == NULL)
    return;
  w->config.host = g_strdup (relay->host);
  w->config.port = relay->port;
  w->config.tls_fingerprint = g_strdup (relay->fingerprint);
  w->config.auth_token =
      g_strdup (role == NAT_ROLE_PUBLISHER ? relay->publish_token : relay->subscribe_token);
}

void
watcher_start (Watcher *w)
{
  static const NatSessionCallbacks callbacks = {
      .state = on_state,
      .document = on_document,
      .described = on_described,
      .mapped = on_mapped,
      .rtp = on_rtp,
      .rtcp = on_rtcp,
      .token_expires = on_token_expires,
      .accept_certificate = on_accept,
  };

  w->session = nat_session_new (&w->config, &callbacks, w);
  if (w->config.role == NAT_ROLE_PUBLISHER) {
    NatDescription d = {(char *)WATCHER_SDP};

    nat_session_set_description (w->session, &d);
  }
  nat_session_start (w->session);
}

void
watcher_stop (Watcher *w, gboolean ended)
{
  nat_session_stop (w->session, ended);
  g_mutex_lock (&w->lock);
  w->done = TRUE;
  g_mutex_unlock (&w->lock);
}

void
watcher_clear (Watcher *w)
{
  if (w->session != NULL) {
    watcher_stop (w, FALSE);
    nat_session_unref (w->session);
  }
  nat_session_config_clear (&w->config);
  g_string_free (w->states, TRUE);
  g_array_unref (w->rtp);
  nat_cause_free (w->cause);
  g_free (w->sdp);
  g_mutex_clear (&w->lock);
  g_cond_clear (&w->cond);
}

gboolean
watcher_wait (Watcher *w, WatcherTest test, guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;
  gboolean good = FALSE;

  g_mutex_lock (&w->lock);
  while (!(good = test (w)) && g_cond_wait_until (&w->cond, &w->lock, end))
    ;
  g_mutex_unlock (&w->lock);
  return good;
}

gboolean
watcher_wait_state (Watcher *w, NatSessionState state, guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;
  gboolean good;

  g_mutex_lock (&w->lock);
  while (w->state != state && g_cond_wait_until (&w->cond, &w->lock, end))
    ;
  good = w->state == state;
  if (!good)
    g_test_message ("states were: %s", w->states->str);
  g_mutex_unlock (&w->lock);
  return good;
}

gboolean
watcher_wait_cause (Watcher *w, NatCauseKind kind, guint timeout_ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)timeout_ms * 1000;
  gboolean good;

  g_mutex_lock (&w->lock);
  while (
      (w->cause == NULL || w->cause->kind != kind) && g_cond_wait_until (&w->cond, &w->lock, end))
    ;
  good = w->cause != NULL && w->cause->kind == kind;
  if (!good)
    g_test_message ("states were: %s", w->states->str);
  g_mutex_unlock (&w->lock);
  return good;
}

guint
watcher_send_rtp (Watcher *w, guint16 seq, guint32 word, gsize len)
{
  guint8 bytes[1400] = {0x80, 96, (guint8)(seq >> 8), (guint8)seq};
  guint32 ssrc = GUINT32_TO_BE (WATCHER_SSRC), big = GUINT32_TO_BE (word);
  guint32 time = GUINT32_TO_BE ((guint32)seq * 3000);
  NatDatagram packet = {bytes, len};

  memcpy (bytes + 4, &time, 4);
  memcpy (bytes + 8, &ssrc, 4);
  memcpy (bytes + 12, &big, 4);
  return nat_session_send_rtp (w->session, &packet, 1);
}

guint
watcher_n_rtp (Watcher *w)
{
  guint n;

  g_mutex_lock (&w->lock);
  n = w->rtp->len;
  g_mutex_unlock (&w->lock);
  return n;
}

guint
watcher_n_documents (Watcher *w)
{
  guint n;

  g_mutex_lock (&w->lock);
  n = w->documents;
  g_mutex_unlock (&w->lock);
  return n;
}
