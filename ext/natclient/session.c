/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/session-private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "natclient/sessionconfig.h"
#include "natproto/crypto.h"

/* Who holds a session, and why that ends: the application (until nat_session_unref) and its thread
 * (until stop was asked for and the goodbye is said, at most NAT_GOODBYE_MS later, or DRAIN_MS more if a
 * library does not let go). Sources on its context hold no reference: they end with the thread.
 * Streaming threads call under the application's reference. The last reference frees, on whatever
 * thread that is; nothing of what is freed there belongs to a thread. */

#define DRAIN_MS     500
#define BITRATE_STEP 20 /* changes of the estimate by less than one part in this are not told */

/* ---- Sources ----------------------------------------------------------- */

typedef struct {
  GSource source;
  NatSession *session;
  void (*func) (NatSession *s);
} Timer;

static gboolean
timer_dispatch (GSource *source, GSourceFunc callback, gpointer user)
{
  Timer *t = (Timer *)source;

  g_source_set_ready_time (source, -1);
  t->func (t->session);
  return G_SOURCE_CONTINUE;
}

GSource *
nat_session_timer_new (NatSession *s, void (*func) (NatSession *s))
{
  static GSourceFuncs funcs = {NULL, NULL, timer_dispatch, NULL, NULL, NULL};
  GSource *source = g_source_new (&funcs, sizeof (Timer));
  Timer *t = (Timer *)source;

  t->session = s;
  t->func = func;
  g_source_attach (source, s->context);
  return source;
}

void
nat_session_timer_set (GSource *timer, gint64 in_ms)
{
  g_source_set_ready_time (timer, in_ms < 0 ? -1 : g_get_monotonic_time () + in_ms * 1000);
}

static void
on_wake (NatSession *s)
{
  guint wishes = g_atomic_int_and ((guint *)&s->wishes, 0);

  if (wishes != 0)
    nat_session_on_wishes (s, wishes);
}

/* Any thread. The bit goes first: whoever clears it looks at what it stands for after that. */
void
nat_session_wish (NatSession *s, NatWish wish)
{
  g_atomic_int_or ((guint *)&s->wishes, wish);
  g_source_set_ready_time (s->wake, 0);
}

guint32
nat_session_random (void)
{
  guint32 random;

  nat_crypto_random (&random, sizeof random);
  return random;
}

/* ---- Types ------------------------------------------------------------- */

/* GObject registers a type under one lock and initialises a class under another. Whoever is first to make a
 * GInetSocketAddress takes the first and then wants the second, as that type has an interface; whoever is first to make a
 * GSocketClient takes the second and then wants the first, as that class names the type. Two threads that do so at once,
 * a session's and rtspsrc's, say, stay there. */
void
nat_session_load_types (void)
{
  const GType classes[] = {G_TYPE_SOCKET_ADDRESS, G_TYPE_INET_ADDRESS, G_TYPE_INET_SOCKET_ADDRESS,
      G_TYPE_PROXY_ADDRESS, G_TYPE_NETWORK_ADDRESS, G_TYPE_NETWORK_SERVICE, G_TYPE_RESOLVER,
      G_TYPE_SOCKET, G_TYPE_SOCKET_CLIENT, G_TYPE_TCP_CONNECTION, G_TYPE_TLS_CERTIFICATE,
      G_TYPE_TLS_CONNECTION, G_TYPE_TLS_DATABASE};

  g_type_ensure (G_TYPE_PROXY);
  g_type_ensure (G_TYPE_PROXY_RESOLVER);
  g_type_ensure (G_TYPE_TLS_CLIENT_CONNECTION);
  for (guint i = 0; i < G_N_ELEMENTS (classes); i++)
    g_type_class_ref (classes[i]); /* for ever, as GObject itself does */
}

/* ---- Life -------------------------------------------------------------- */

static void
on_sender_news (gpointer user, NatSenderNews news)
{
  switch (news) {
  case NAT_SENDER_TROUBLE: nat_session_wish (user, NAT_WISH_TROUBLE); break;
  case NAT_SENDER_BEGAN: nat_session_wish (user, NAT_WISH_SENT); break;
  case NAT_SENDER_QUEUED: nat_session_wish (user, NAT_WISH_QUEUED); break;
  }
}

NatSession *
nat_session_new (
    const NatSessionConfig *config, const NatSessionCallbacks *callbacks, gpointer user)
{
  NatSession *s = g_new0 (NatSession, 1);

  s->refs = 1;
  nat_session_config_copy (&s->config, config);
  s->token = g_steal_pointer (&s->config.auth_token);
  s->callbacks = *callbacks;
  s->user = user;
  nat_epoch_init (&s->epoch);
  g_rec_mutex_init (&s->calling);
  g_mutex_init (&s->lock);
  nat_sender_init (&s->sender, s->config.role == NAT_ROLE_PUBLISHER, on_sender_news, s);
  s->context = g_main_context_new ();
  s->wake = nat_session_timer_new (s, on_wake);
  return s;
}

NatSession *
nat_session_ref (NatSession *s)
{
  g_atomic_int_inc (&s->refs);
  return s;
}

void
nat_session_unref (NatSession *s)
{
  if (!g_atomic_int_dec_and_test (&s->refs))
    return;
  nat_source_drop (&s->wake);
  g_main_context_unref (s->context);
  nat_sender_clear (&s->sender);
  nat_crypto_wipe_free (s->token);
  nat_description_clear (&s->description);
  nat_session_stats_clear (&s->stats);
  nat_session_config_clear (&s->config);
  g_mutex_clear (&s->lock);
  g_rec_mutex_clear (&s->calling);
  nat_crypto_wipe (s, sizeof *s);
  g_free (s);
}

/* ---- Goodbyes at the program's end ------------------------------------- */

/* gst-launch stops its pipeline and exits in the same breath. Without this, the relay would hold the
 * place of a client that said goodbye to nobody, and libraries would be torn down under a thread that
 * uses them. */
static struct {
  GMutex lock;
  GCond cond;
  guint n;   /* threads that say goodbye */
  pid_t pid; /* a forked child has none of them */
  gboolean installed;
} goodbyes;

static void
await_goodbyes (void)
{
  gint64 end = g_get_monotonic_time () + (NAT_GOODBYE_MS + DRAIN_MS) * 1000;

  if (goodbyes.pid != getpid ())
    return;
  g_mutex_lock (&goodbyes.lock);
  while (goodbyes.n > 0 && g_cond_wait_until (&goodbyes.cond, &goodbyes.lock, end))
    ;
  g_mutex_unlock (&goodbyes.lock);
}

static void
goodbye_begins (void)
{
  g_mutex_lock (&goodbyes.lock);
  goodbyes.n++;
  if (!goodbyes.installed)
    goodbyes.installed = atexit (await_goodbyes) == 0;
  goodbyes.pid = getpid ();
  g_mutex_unlock (&goodbyes.lock);
}

static void
goodbye_ends (void)
{
  g_mutex_lock (&goodbyes.lock);
  goodbyes.n--;
  g_cond_broadcast (&goodbyes.cond);
  g_mutex_unlock (&goodbyes.lock);
}

/* ---- The thread -------------------------------------------------------- */

static void
on_time_is_up (NatSession *s)
{
  /* The loop below looks at the clock. */
}

static gboolean
has_business (NatSession *s)
{
  return (s->negotiator != NULL && nat_negotiator_n_pending (s->negotiator) > 0) ||
         (s->websocket != NULL && nat_websocket_n_pending (s->websocket) > 0);
}

/* Turns the context until nothing is under way, or the time is up. */
static void
turn_until_quiet (NatSession *s, guint ms)
{
  gint64 end = g_get_monotonic_time () + (gint64)ms * 1000;
  GSource *timer = nat_session_timer_new (s, on_time_is_up);

  nat_session_timer_set (timer, ms);
  while (has_business (s) && g_get_monotonic_time () < end)
    g_main_context_iteration (s->context, TRUE);
  nat_source_drop (&timer);
}

static gpointer
run (gpointer data)
{
  NatSession *s = data;

  g_main_context_push_thread_default (s->context);
  nat_session_run_begin (s);
  while (!s->leaving)
    g_main_context_iteration (s->context, TRUE);
  turn_until_quiet (s, s->goodbye_ms);
  nat_session_run_end (s);
  turn_until_quiet (s, DRAIN_MS);
  g_clear_pointer (&s->websocket, nat_websocket_free);
  g_clear_pointer (&s->negotiator, nat_negotiator_free);
  while (g_main_context_iteration (s->context, FALSE))
    ;
  g_main_context_pop_thread_default (s->context);
  nat_session_unref (s);
  goodbye_ends ();
  return NULL;
}

void
nat_session_start (NatSession *s)
{
  gboolean begin;

  g_rec_mutex_lock (&s->calling);
  begin = !s->started && !s->stopped;
  s->started = TRUE;
  g_rec_mutex_unlock (&s->calling);
  if (!begin)
    return;
  nat_session_wish (s, NAT_WISH_START);
  g_thread_unref (g_thread_new ("natrelay", run, nat_session_ref (s)));
}

void
nat_session_stop (NatSession *s, gboolean ended)
{
  gboolean running;

  g_rec_mutex_lock (&s->calling);
  running = s->started && !s->stopped;
  if (!s->stopped)
    s->ended = ended;
  s->stopped = TRUE;
  g_rec_mutex_unlock (&s->calling);
  nat_sender_close (&s->sender);
  g_mutex_lock (&s->lock);
  s->stats.state = NAT_SESSION_DISCONNECTED;
  g_mutex_unlock (&s->lock);
  if (!running)
    return;
  goodbye_begins ();
  nat_session_wish (s, NAT_WISH_STOP);
}

/* ---- What others set --------------------------------------------------- */

static void
copy_description (NatDescription *to, const NatDescription *from)
{
  *to = *from;
  to->sdp = g_strdup (from->sdp);
}

guint
nat_session_set_description (NatSession *s, const NatDescription *d)
{
  guint serial;

  g_mutex_lock (&s->lock);
  nat_description_clear (&s->description);
  copy_description (&s->description, d);
  serial = ++s->description_serial;
  g_mutex_unlock (&s->lock);
  nat_session_wish (s, NAT_WISH_DESCRIPTION);
  return serial;
}

void
nat_session_set_auth_token (NatSession *s, const char *token)
{
  char *old;

  g_mutex_lock (&s->lock);
  old = s->token;
  s->token = g_strdup (token);
  s->token_serial++;
  g_mutex_unlock (&s->lock);
  nat_crypto_wipe_free (old);
  nat_session_wish (s, NAT_WISH_TOKEN);
}

char *
nat_session_dup_token (NatSession *s, guint *serial)
{
  char *token;

  g_mutex_lock (&s->lock);
  token = g_strdup (s->token);
  *serial = s->token_serial;
  g_mutex_unlock (&s->lock);
  return token;
}

/* ---- Media and statistics ---------------------------------------------- */

guint
nat_session_send_rtp (NatSession *s, const NatDatagram *packets, guint n)
{
  return nat_sender_rtp (&s->sender, packets, n);
}

gboolean
nat_session_send_rtcp (NatSession *s, const guint8 *data, gsize len)
{
  return nat_sender_rtcp (&s->sender, data, len);
}

guint
nat_session_get_rtt_us (NatSession *s)
{
  guint rtt_us;

  g_mutex_lock (&s->lock);
  rtt_us = s->stats.rtt_us;
  g_mutex_unlock (&s->lock);
  return rtt_us;
}

/* Small steps are not worth a message. */
void
nat_session_feedback (NatSession *s, const guint8 *data, gsize len)
{
  guint64 now, told = s->bitrate_told;
  gdouble loss;

  if (!nat_sender_feedback (&s->sender, data, len))
    return;
  now = nat_sender_bitrate (&s->sender, &loss);
  if (now == 0 || (now > told ? now - told : told - now) * BITRATE_STEP < MAX (told, 1))
    return;
  s->bitrate_told = now;
  NAT_SESSION_CALL (s, bitrate, now, loss);
}

void
nat_session_get_stats (NatSession *s, NatSessionStats *stats)
{
  g_mutex_lock (&s->lock);
  *stats = s->stats;
  stats->last_cause = nat_cause_copy (s->stats.last_cause);
  g_mutex_unlock (&s->lock);
  g_mutex_lock (&s->sender.lock);
  stats->packets_sent = s->sender.packets_sent;
  stats->bytes_sent = s->sender.bytes_sent;
  stats->packets_dropped = s->sender.packets_dropped;
  stats->rtcp_sent = s->sender.rtcp_sent;
  g_mutex_unlock (&s->sender.lock);
  stats->estimated_bitrate = nat_sender_bitrate (&s->sender, &stats->loss);
}
