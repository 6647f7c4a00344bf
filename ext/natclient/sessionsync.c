/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/session-private.h"

#include <string.h>

#include "natclient/cause.h"
#include "natproto/crypto.h"
#include "natproto/hex.h"
#include "natproto/json.h"
#include "natproto/token.h"

#define TOKEN_WARNING_S  60
#define FRESH_S          10 /* a token of so many seconds is one that can be lived with */
#define CLOCK_STEP_S     2  /* more than seconds that were rounded, and the way of an answer */
#define LONGEST_SLEEP_MS (60 * 1000) /* then the clock is looked at again */
#define UNKNOWN_MAX      3           /* 404s until the session counts as lost */
#define UNKNOWN_WAIT_MS  300

/* ---- Document ---------------------------------------------------------- */

static void
plan_renewal (NatSession *s)
{
  /* A little behind the half: the relay makes a new user name when less than half is left. */
  gint64 ms = CLAMP (s->document.expires_s, 2, 365 * 24 * 3600) * 550;

  nat_session_timer_set (s->renew_timer, ms);
}

/* NULL: the one that is there already is new. */
void
nat_session_sync_take_document (NatSession *s, NatSessionDocument *document)
{
  if (document != NULL) {
    nat_session_document_clear (&s->document);
    s->document = *document;
    memset (document, 0, sizeof *document);
  }
  if (!s->have_document)
    return;
  plan_renewal (s);
  nat_prober_set_credentials (s->prober, g_get_monotonic_time (), s->document.username,
      s->document.realm, s->document.password, s->document.keepalive_ms);
  nat_session_plan_probe (s);
  NAT_SESSION_CALL (s, document, &s->document);
}

/* Each Binding may say once more that there is news, and the relay ask for patience with the request for it. */
static void
want_in_time (NatSession *s, NatWant want)
{
  if (g_get_monotonic_time () < s->sync_not_before_us)
    s->wants |= want;
  else
    nat_session_sync_want (s, want);
}

/* What an authenticated Binding says of boot id and version, against the document that we have. */
void
nat_session_sync_seen (NatSession *s, const guint8 boot_id[NAT_BOOT_ID_SIZE], guint32 version)
{
  char hex[2 * NAT_BOOT_ID_SIZE + 1];
  gboolean same_boot;

  if (!s->have_document)
    return;
  nat_hex_encode (boot_id, NAT_BOOT_ID_SIZE, hex);
  same_boot = strcmp (hex, s->document.boot_id) == 0;
  if (same_boot && version <= s->document.version && version != 0)
    return;
  if (s->background != NULL) {
    s->in_doubt = TRUE; /* the answer under way may already hold it */
    return;
  }
  if (version != 0)
    want_in_time (s, NAT_WANT_FETCH);
  else if (s->config.role == NAT_ROLE_PUBLISHER)
    want_in_time (s, NAT_WANT_DESCRIBE);
  /* A subscriber has nothing to ask for until the publisher is back; then a version is. */
}

/* ---- Requests in the background ---------------------------------------- */

void
nat_session_sync_want (NatSession *s, guint wants)
{
  s->wants |= wants;
  nat_session_sync_run (s);
}

void
nat_session_sync_cancel (NatSession *s)
{
  if (s->background != NULL)
    nat_request_cancel (s->background);
  s->background = NULL;
  s->wants = s->denied = 0;
  s->unknown = 0;
  s->in_doubt = FALSE;
  s->renewing = FALSE;
  s->sync_not_before_us = 0;
  nat_backoff_reset (&s->sync_backoff);
  nat_session_timer_set (s->sync_timer, -1);
}

static NatWant
want_of (NatRequestKind kind)
{
  switch (kind) {
  case NAT_REQUEST_DESCRIBE: return NAT_WANT_DESCRIBE;
  case NAT_REQUEST_RENEW: return NAT_WANT_RENEW;
  default: return NAT_WANT_FETCH;
  }
}

void
nat_session_sync_again (NatSession *s)
{
  if (s->background == NULL)
    return;
  nat_request_cancel (s->background);
  s->background = NULL;
  nat_session_sync_want (s, s->background_want);
}

void
nat_session_sync_let_in (NatSession *s)
{
  guint denied = s->denied;

  s->denied = 0;
  nat_session_sync_want (s, NAT_WANT_RENEW | denied);
}

static void
retry_later (NatSession *s, guint want, guint wait_ms)
{
  s->wants |= want;
  s->sync_not_before_us = g_get_monotonic_time () + (gint64)wait_ms * 1000;
  nat_session_timer_set (s->sync_timer, wait_ms);
}

/* A relay that has just started knows a session once it was sent its Binding: until one is answered, HTTPS says nothing
 * of it, and what is wanted is asked for then. Who has not noticed the restart yet asks for that answer now. */
static void
on_unknown (NatSession *s, guint want)
{
  if (s->state != NAT_SESSION_CONNECTED) {
    s->unknown = 0;
    s->wants |= want;
    return;
  }
  if (++s->unknown < UNKNOWN_MAX) {
    nat_prober_hint (s->prober, g_get_monotonic_time ());
    nat_session_plan_probe (s);
    retry_later (s, want, UNKNOWN_WAIT_MS);
    return;
  }
  nat_session_lost (s, nat_cause_new (NAT_CAUSE_NOT_FOUND,
                           "The relay %s does not know this session any more; a new one is "
                           "negotiated.",
                           s->config.host));
}

/* The session lives as long as its user name does; another token asks again, that came meanwhile perhaps. Takes cause. */
static void
on_denied (NatSession *s, NatCause *cause, guint want)
{
  gboolean another;

  g_mutex_lock (&s->lock);
  another = s->token_serial != s->background_token;
  g_mutex_unlock (&s->lock);
  if (another)
    s->wants |= want;
  else if (cause->kind == NAT_CAUSE_NOT_AUTHORIZED)
    s->denied |= want;
  nat_session_note_cause (s, cause);
  nat_cause_free (cause);
  nat_session_sync_run (s);
}

static void
on_refusal (NatSession *s, NatCause *cause, guint want, guint retry_after_ms)
{
  nat_session_may_pass (s, cause);
  if (cause->kind == NAT_CAUSE_NOT_FOUND) {
    nat_cause_free (cause);
    on_unknown (s, want);
  } else if (!cause->final) {
    guint wait = nat_backoff_next (&s->sync_backoff, nat_session_random ());

    if (cause->kind == NAT_CAUSE_SSRC_IN_USE)
      NAT_SESSION_CALL (s, ssrc_in_use, cause);
    nat_cause_free (cause);
    retry_later (s, want, MAX (wait, retry_after_ms));
  } else if (cause->kind == NAT_CAUSE_PROTOCOL && want == NAT_WANT_DESCRIBE) {
    nat_session_fail (s, cause); /* what we send now cannot be forwarded */
  } else {
    on_denied (s, cause, want);
  }
}

/* GET may bring the user name that we have; then PUT token makes another. */
static void
check_renewal (NatSession *s, NatRequestKind kind, const char *old)
{
  if (!s->renewing || kind == NAT_REQUEST_DESCRIBE)
    return;
  s->renewing = FALSE;
  if (kind == NAT_REQUEST_FETCH && g_strcmp0 (old, s->document.username) == 0)
    s->wants |= NAT_WANT_RENEW;
}

static void
on_background_reply (NatReply *reply, gpointer user)
{
  NatSession *s = user;
  NatCause *cause = g_steal_pointer (&reply->cause);
  g_autofree char *old = g_strdup (s->document.username);

  s->background = NULL;
  nat_session_sync_clock (s, reply->date_s);
  if (cause != NULL) {
    on_refusal (s, cause, want_of (reply->kind), reply->retry_after_ms);
    return;
  }
  s->unknown = 0;
  s->sync_not_before_us = 0;
  nat_backoff_reset (&s->sync_backoff);
  nat_session_sync_take_document (s, reply->document);
  if (reply->kind == NAT_REQUEST_DESCRIBE)
    NAT_SESSION_CALL (s, described, s->background_description);
  check_renewal (s, reply->kind, old);
  if (s->in_doubt) {
    s->in_doubt = FALSE;
    nat_prober_hint (s->prober, g_get_monotonic_time ());
    nat_session_plan_probe (s);
  }
  nat_session_sync_run (s);
}

static NatRequestKind
next_kind (guint wants)
{
  if (wants & NAT_WANT_DESCRIBE)
    return NAT_REQUEST_DESCRIBE;
  return wants & NAT_WANT_RENEW ? NAT_REQUEST_RENEW : NAT_REQUEST_FETCH;
}

void
nat_session_sync_run (NatSession *s)
{
  NatRequestKind kind = next_kind (s->wants);
  NatDescription offer = {0};
  char *token;

  if (s->wants == 0 || s->background != NULL || !s->have_document || s->negotiator == NULL)
    return;
  if (s->state != NAT_SESSION_CONNECTED && s->state != NAT_SESSION_SUSPECT)
    return;
  s->background_want = want_of (kind);
  s->wants &= ~s->background_want;
  g_mutex_lock (&s->lock);
  offer = s->description;
  offer.sdp = g_strdup (s->description.sdp);
  s->background_description = s->description_serial;
  g_mutex_unlock (&s->lock);
  if (kind != NAT_REQUEST_DESCRIBE || offer.sdp != NULL) {
    token = nat_session_dup_token (s, &s->background_token);
    s->background = nat_negotiator_send (s->negotiator, kind, s->document.session,
        kind == NAT_REQUEST_DESCRIBE ? &offer : NULL, token, s->config.timeout_ms,
        on_background_reply, s);
    nat_crypto_wipe_free (token);
  }
  nat_description_clear (&offer);
}

void
nat_session_on_renew_timer (NatSession *s)
{
  s->renewing = TRUE;
  want_in_time (s, NAT_WANT_FETCH);
  /* Should the answer not come, or not help, there is another half to try in. */
  nat_session_timer_set (s->renew_timer, CLAMP (s->document.expires_s, 2, 365 * 24 * 3600) * 100);
}

/* ---- The token's end --------------------------------------------------- */

/* "exp" of a token that is one of ours; G_MAXINT64 for any other. Nothing is decided by it: the
 * relay verifies, we only warn in time. */
static gint64
expiry_of (const char *token)
{
  g_autofree char *claims = NULL;
  g_autoptr (JsonObject) object = NULL;
  gint64 expires_s = G_MAXINT64;

  if (token == NULL || !nat_token_inspect (token, NULL, &claims, NULL))
    return G_MAXINT64;
  object = nat_json_parse (claims, -1, NAT_TOKEN_MAX, "The token", NULL);
  if (object != NULL)
    nat_json_get_integer (object, "exp", NAT_JSON_OPTIONAL, -NAT_JSON_INTEGER_MAX,
        NAT_JSON_INTEGER_MAX, &expires_s, NULL);
  return expires_s;
}

/* Seconds that go on while the machine sleeps, whatever its clock is set to. */
static gint64
elapsed_s (void)
{
  gint64 us = nat_resume_boottime_us ();

  return (us < 0 ? g_get_monotonic_time () : us) / G_USEC_PER_SEC;
}

/* The relay's Unix time, for it is the relay that judges the token; until it told us, our own. */
static gint64
relay_now_s (const NatSession *s)
{
  return s->relay_ahead_s != 0 ? s->relay_ahead_s + elapsed_s ()
                               : g_get_real_time () / G_USEC_PER_SEC;
}

static gint64
seconds_left (NatSession *s)
{
  guint serial;
  char *token = nat_session_dup_token (s, &serial);
  gint64 expires_s = expiry_of (token);

  nat_crypto_wipe_free (token);
  if (expires_s == G_MAXINT64)
    return G_MAXINT64;
  return expires_s - relay_now_s (s);
}

void
nat_session_sync_plan_warning (NatSession *s)
{
  gint64 ms, pause_ms;

  if (s->warn_s == G_MAXINT64) {
    nat_session_timer_set (s->expiry_timer, -1);
    return;
  }
  ms = (s->warn_s - relay_now_s (s)) * 1000;
  pause_ms = (s->warn_pause_us - g_get_monotonic_time ()) / 1000;
  nat_session_timer_set (s->expiry_timer, CLAMP (MAX (ms, pause_ms), 0, LONGEST_SLEEP_MS));
}

void
nat_session_sync_token (NatSession *s)
{
  gint64 left = seconds_left (s);

  /* With tokens that live for less than two minutes the half is early enough, and no minute before
   * the end would ask for the next one without a pause. */
  s->warn_s = left == G_MAXINT64
                  ? G_MAXINT64
                  : relay_now_s (s) + MAX (MAX (left - TOKEN_WARNING_S, left / 2), 0);
  /* Who is asked may have none but one that is over, and gives it again each time. */
  if (left >= FRESH_S) {
    nat_backoff_reset (&s->warn_backoff);
    s->warn_pause_us = 0;
  }
  nat_session_sync_plan_warning (s);
}

void
nat_session_sync_clock (NatSession *s, gint64 date_s)
{
  gint64 before_s = relay_now_s (s);

  if (date_s == 0)
    return;
  s->relay_ahead_s = date_s - elapsed_s ();
  if (ABS (date_s - before_s) > CLOCK_STEP_S)
    nat_session_sync_token (s);
}

void
nat_session_on_expiry_timer (NatSession *s)
{
  gint64 left = seconds_left (s);

  if (relay_now_s (s) < s->warn_s || g_get_monotonic_time () < s->warn_pause_us) {
    nat_session_sync_plan_warning (s);
    return;
  }
  s->warn_s = G_MAXINT64;
  s->warn_pause_us = g_get_monotonic_time () +
                     (gint64)nat_backoff_next (&s->warn_backoff, nat_session_random ()) * 1000;
  if (left != G_MAXINT64)
    NAT_SESSION_CALL (s, token_expires, (guint)MAX (left, 0));
}
