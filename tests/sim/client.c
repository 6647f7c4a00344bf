/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "client.h"

#include <string.h>

#include "natclient/cause.h"
#include "natproto/bytes.h"
#include "natproto/crypto.h"
#include "natproto/rtcp.h"

#define RING      CLIENT_RING
#define PACKET    100 /* bytes */
#define BURST_MAX 3
#define SETUPS    3 /* round trips of TCP, TLS and HTTP */
#define REPAIR_US MS (1000)
#define REPORT_US MS (1000)

guint64 client_arrows[NAT_FSM_N_STATES * NAT_FSM_N_EVENTS];
guint16 film_next;

static const char sdp[] =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nt=0 0\r\n"
    "m=video 9 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=ssrc:4660 cname:x\r\n";

/* ---- The table's arrows ------------------------------------------------ */

gboolean __real_nat_fsm_step (
    NatSessionState state, NatFsmEvent event, NatSessionState *next, guint *actions);
gboolean __wrap_nat_fsm_step (
    NatSessionState state, NatFsmEvent event, NatSessionState *next, guint *actions);
gboolean
__wrap_nat_fsm_step (
    NatSessionState state, NatFsmEvent event, NatSessionState *next, guint *actions)
{
  gboolean defined = __real_nat_fsm_step (state, event, next, actions);

  if (defined && world.on != NULL) {
    client_arrows[state * NAT_FSM_N_EVENTS + event]++;
    world_note ("%s: %s -> %s", nat_fsm_event_name (event), nat_session_state_nick (state),
        nat_session_state_nick (*next));
  }
  return defined;
}

/* ---- HTTPS ------------------------------------------------------------- */

struct _NatRequest {
  Client *client;
  NatRequestKind kind;
  gint64 asked_us, cancelled_us; /* 0 = was not */
  guint timeout_ms;
  char *head, *body;
  NatReplyFunc func;
  gpointer user;
  guint status, retry_after_s; /* the answer; 0 = none came */
  char *answer;
};

static void
request_free (gpointer data)
{
  NatRequest *r = data;

  g_free (r->head);
  g_free (r->body);
  g_free (r->answer);
  g_free (r);
}

/* As negotiator.c has it. */
static NatCauseKind
kind_of_status (guint status)
{
  switch (status) {
  case 401:
  case 403: return NAT_CAUSE_NOT_AUTHORIZED;
  case 404: return NAT_CAUSE_NOT_FOUND;
  case 409: return NAT_CAUSE_BUSY;
  case 429: return NAT_CAUSE_SERVER;
  default: return status >= 500 ? NAT_CAUSE_SERVER : NAT_CAUSE_PROTOCOL;
  }
}

static NatCause *
cause_of (const NatRequest *r, gboolean timeout)
{
  NatCause *cause;

  if (r->status == 0)
    return nat_cause_new (timeout ? NAT_CAUSE_TIMEOUT : NAT_CAUSE_UNREACHABLE, "no answer");
  cause = nat_cause_new (kind_of_status (r->status), "%s", r->answer);
  cause->http_status = r->status;
  cause->final = r->status < 500 && r->status != 404 && r->status != 409 && r->status != 429;
  return cause;
}

static guint
index_of (const Client *c, const NatRequest *r)
{
  guint index;

  g_assert_true (g_ptr_array_find (c->requests, r, &index));
  return index;
}

/* The end of a request: on the client's host. */
static void
reply (NatRequest *r, gboolean timeout)
{
  Client *c = r->client;
  NatSessionDocument document;
  NatReply reply = {.kind = r->kind, .retry_after_ms = r->retry_after_s * 1000};

  memset (&document, 0, sizeof document);
  reply.remote = c->house->listen[0];
  g_ptr_array_steal_index_fast (c->requests, index_of (c, r));
  world_enter (&c->host);
  if (r->status < 200 || r->status > 299)
    reply.cause = cause_of (r, timeout);
  else if (r->status != 204) {
    reply.document = &document;
    if (!nat_session_document_from_json (&document, r->answer, -1, NULL))
      world_fail ("the client does not read \"%s\"", r->answer);
  }
  if (r->func != NULL)
    r->func (&reply, r->user);
  nat_cause_free (reply.cause);
  nat_session_document_clear (&document);
  world_leave ();
  request_free (r);
}

static void
request_ends (gpointer a, gpointer b)
{
  NatRequest *r = a;
  Client *c = r->client;
  gboolean late = world.now - r->asked_us >= MS (r->timeout_ms);

  if (c->host.stopped_us >= 0) { /* it sees when it runs again */
    world_at (world.now + MS (100), request_ends, r, NULL);
    return;
  }
  if (r->status != 0 && !late && !net_link_is_open (&c->link, FALSE, TRUE)) {
    r->status = 0; /* lost on its way back */
    world_at (r->asked_us + MS (r->timeout_ms), request_ends, r, NULL);
    return;
  }
  reply (r, late);
}

/* A connection that was closed before TLS was ready never carried it. */
static gboolean
was_never_sent (const NatRequest *r)
{
  gint64 ready = world.now - r->client->link.delay;

  return (r->cancelled_us != 0 && r->cancelled_us < ready) ||
         (r->func == NULL && r->cancelled_us == 0 && ready - r->asked_us > MS (r->timeout_ms));
}

static void
request_arrives (gpointer a, gpointer b)
{
  NatRequest *r = a;
  Client *c = r->client;
  NatAddress peer;
  guint8 ip[4] = {198, 51, 100, 0};

  if (was_never_sent (r)) {
    reply (r, FALSE);
    return;
  }
  if (!net_link_is_open (&c->link, TRUE, TRUE) || !net_link_is_open (&c->link, FALSE, TRUE) ||
      c->house->host.asleep) {
    world_at (r->asked_us + MS (r->timeout_ms), request_ends, r, NULL);
    return;
  }
  if (c->house->host.stopped_us >= 0) {
    world_at (world.now + MS (50), request_arrives, r, NULL);
    return;
  }
  ip[3] = c->link.site;
  nat_address_from_ip (&peer, ip, 4, 50000);
  if (c->house->up)
    r->answer = house_request (c->house, &peer, r->head, r->body, &r->status, &r->retry_after_s);
  world_note ("%s: %s %u", c->name, strtok (r->head, "\r"), r->status);
  world_at (world.now + c->link.delay, request_ends, r, NULL);
}

/* What negotiator.c would write. */
static char *
head_of (const Client *c, NatRequestKind kind, const char *session, const char *token, gsize len)
{
  g_autofree char *path = NULL, *authorization = NULL;
  const char *method = "POST";

  if (kind == NAT_REQUEST_OPEN)
    path = g_strdup_printf (
        "/v1/streams/" CLIENT_STREAM "/%s", c->role == NAT_ROLE_SUBSCRIBER ? "subscribers"
                                            : c->config.takeover ? "publishers?takeover=true"
                                                                 : "publishers");
  else
    path = g_strdup_printf ("/v1/sessions/%s%s", session,
        kind == NAT_REQUEST_DESCRIBE ? "/description"
        : kind == NAT_REQUEST_RENEW  ? "/token"
        : kind == NAT_REQUEST_END    ? "?ended=true"
                                     : "");
  if (kind != NAT_REQUEST_OPEN)
    method = kind == NAT_REQUEST_FETCH                                   ? "GET"
             : kind == NAT_REQUEST_DESCRIBE || kind == NAT_REQUEST_RENEW ? "PUT"
                                                                         : "DELETE";
  if (token != NULL && *token != '\0')
    authorization = g_strdup_printf ("Authorization: Bearer %s\r\n", token);
  return g_strdup_printf ("%s %s HTTP/1.1\r\nHost: relay\r\n%s"
                          "Content-Type: application/json\r\nContent-Length: %" G_GSIZE_FORMAT
                          "\r\n\r\n",
      method, path, authorization != NULL ? authorization : "", len);
}

static char *
body_of (const Client *c, NatRequestKind kind, const NatDescription *description)
{
  if (description != NULL)
    return nat_description_to_json (description);
  if (kind == NAT_REQUEST_OPEN)
    return g_strdup (c->config.instant_start ? "{\"instant-start\":true}" : "{}");
  return g_strdup (kind == NAT_REQUEST_RENEW ? "{}" : "");
}

NatRequest *__wrap_nat_negotiator_send (NatNegotiator *n, NatRequestKind kind, const char *session,
    const NatDescription *description, const char *token, guint timeout_ms, NatReplyFunc func,
    gpointer user);
NatRequest *
__wrap_nat_negotiator_send (NatNegotiator *n, NatRequestKind kind, const char *session,
    const NatDescription *description, const char *token, guint timeout_ms, NatReplyFunc func,
    gpointer user)
{
  NatRequest *r = g_new0 (NatRequest, 1);

  r->client = (Client *)n;
  r->kind = kind;
  r->asked_us = world.now;
  r->timeout_ms = timeout_ms;
  r->func = func;
  r->user = user;
  r->body = body_of (r->client, kind, description);
  r->head = head_of (r->client, kind, session, token, strlen (r->body));
  g_ptr_array_add (r->client->requests, r);
  if (kind == NAT_REQUEST_OPEN)
    r->client->posts[r->client->n_posts++ % G_N_ELEMENTS (r->client->posts)] = world.now;
  world_at (world.now + SETUPS * 2 * r->client->link.delay, request_arrives, r, NULL);
  return r;
}

void __wrap_nat_request_cancel (NatRequest *r);
void
__wrap_nat_request_cancel (NatRequest *r)
{
  /* The bytes may be on their way all the same; and the thread stays for its goodbye. */
  r->func = NULL;
  if (r->cancelled_us == 0 && r->kind != NAT_REQUEST_CLOSE && r->kind != NAT_REQUEST_END)
    r->cancelled_us = world.now;
}

/* The negotiator is the client itself. */
NatNegotiator *__wrap_nat_negotiator_new (
    const NatSessionConfig *config, NatAcceptFunc accept, gpointer user, NatCause **cause);
NatNegotiator *
__wrap_nat_negotiator_new (
    const NatSessionConfig *config, NatAcceptFunc accept, gpointer user, NatCause **cause)
{
  return (NatNegotiator *)world.on;
}

void __wrap_nat_negotiator_cancel (NatNegotiator *n);
void
__wrap_nat_negotiator_cancel (NatNegotiator *n)
{
  Client *c = (Client *)n;

  for (guint i = 0; i < c->requests->len; i++)
    __wrap_nat_request_cancel (c->requests->pdata[i]);
}

void __wrap_nat_negotiator_free (NatNegotiator *n);
void
__wrap_nat_negotiator_free (NatNegotiator *n)
{
  __wrap_nat_negotiator_cancel (n);
}

/* Names and ports lead to the relay at any time, and in any network here. */
void __wrap_nat_negotiator_look_anew (NatNegotiator *n);
void
__wrap_nat_negotiator_look_anew (NatNegotiator *n)
{
}

void __wrap_nat_negotiator_network_changed (NatNegotiator *n);
void
__wrap_nat_negotiator_network_changed (NatNegotiator *n)
{
}

guint __wrap_nat_negotiator_n_pending (const NatNegotiator *n);
guint
__wrap_nat_negotiator_n_pending (const NatNegotiator *n)
{
  return ((const Client *)n)->requests->len;
}

/* ---- The thread -------------------------------------------------------- */

static Client *being_started;

GThread *__wrap_g_thread_new (const char *name, GThreadFunc func, gpointer data);
GThread *
__wrap_g_thread_new (const char *name, GThreadFunc func, gpointer data)
{
  nat_session_run_begin (data);
  being_started->running = TRUE;
  return g_thread_ref (g_thread_self ());
}

static void
leave (Client *c)
{
  NatSession *s = c->session;

  c->running = FALSE;
  c->session = NULL;
  nat_session_run_end (s);
  nat_session_document_clear (&s->document); /* of one that is killed: who stops, forgets */
  g_clear_pointer (&s->usurper, nat_cause_free);
  while (g_main_context_iteration (s->context, FALSE))
    ;
  nat_session_unref (s); /* the thread's */
  nat_session_unref (s);
}

static void
run (Host *host)
{
  Client *c = (Client *)host;

  world_ring (host); /* also of a session that is gone */
  if (c->session == NULL)
    return;
  world_enter (host);
  while (g_main_context_iteration (c->session->context, FALSE))
    ;
  if (c->running && c->session->leaving)
    leave (c);
  world_leave ();
  host->ready = FALSE;
}

static gint64
deadline (Host *host)
{
  return world_timer (host);
}

/* ---- What the session tells -------------------------------------------- */

static void
on_state (NatSession *s, NatSessionState state, const NatCause *cause, gpointer user)
{
  Client *c = user;

  c->state = state;
  c->states++;
  if (cause != NULL)
    c->cause = cause->kind;
  world_note ("is %s%s%s", nat_session_state_nick (state), cause != NULL ? ": " : "",
      cause != NULL ? cause->text : "");
}

static void
heard (Client *c)
{
  if (c->heard_us != 0)
    c->worst_gap = MAX (c->worst_gap, world.now - c->heard_us);
  c->heard_us = world.now;
}

static void
on_rtp (NatSession *s, NatDatagram *packets, guint n, gpointer user)
{
  Client *c = user;

  for (guint i = 0; i < n; i++) {
    guint16 seq = nat_read_u16 (packets[i].data + 2);
    guint64 extended;

    g_assert_cmpuint (seq, <, FILM_MAX);
    c->rtp_got++;
    c->rtp_again += c->got[seq] > 0;
    c->got[seq]++;
    if (nat_seq_counter_update (&c->counter, seq, G_MAXINT16, &extended) != NAT_SEQ_BAD)
      nat_missing_receive (&c->missing, extended, world.now);
  }
  heard (c);
}

static guint
write_packet (guint8 *out, guint16 seq)
{
  memset (out, (guint8)seq, PACKET);
  out[0] = 0x80;
  out[1] = 96;
  nat_write_u16 (out + 2, seq);
  nat_write_u32 (out + 4, seq * 900u);
  nat_write_u32 (out + 8, CLIENT_SSRC);
  return PACKET;
}

static void
send_again (Client *c, guint16 seq)
{
  guint8 bytes[PACKET];
  NatDatagram packet = {bytes, PACKET};

  /* As natrelaysink: not within three quarters of a round trip of the last time. */
  if (seq >= film_next || film_next - seq > RING ||
      world.now - c->sent_us[seq % RING] < nat_session_get_rtt_us (c->session) * 3 / 4)
    return;
  c->sent_us[seq % RING] = world.now;
  write_packet (bytes, seq);
  c->rtp_passed++;
  nat_session_send_rtp (c->session, &packet, 1);
}

static void
answer_nack (Client *c, const NatRtcpPacket *packet)
{
  NatRtcpNackEntry entry;

  for (guint i = 0; nat_rtcp_nack_entry (packet, i, &entry); i++) {
    send_again (c, entry.first);
    for (guint bit = 0; bit < 16; bit++) {
      if (entry.following & 1 << bit)
        send_again (c, (guint16)(entry.first + 1 + bit));
    }
  }
}

static void
on_rtcp (NatSession *s, guint8 *data, gsize len, gpointer user)
{
  Client *c = user;
  NatRtcpPacket packet;
  NatRtcpIter it;

  if (c->role != NAT_ROLE_PUBLISHER || !nat_rtcp_iter_init (&it, data, len))
    return;
  while (nat_rtcp_iter_next (&it, &packet)) {
    if (packet.type == NAT_RTCP_RTPFB && packet.count == NAT_RTCP_FMT_NACK)
      answer_nack (c, &packet);
  }
}

/* ---- Media ------------------------------------------------------------- */

static void
send_report (Client *c)
{
  guint8 sr[28] = {0x80, NAT_RTCP_SR, 0, 6};

  nat_write_u32 (sr + 4, CLIENT_SSRC);
  nat_write_u32 (sr + 8, (guint32)(g_get_real_time () / G_USEC_PER_SEC));
  nat_session_send_rtcp (c->session, sr, sizeof sr);
}

void
client_send_film (Client *c)
{
  guint8 bytes[BURST_MAX][PACKET];
  NatDatagram packets[BURST_MAX];
  guint n = 1 + world_pick (BURST_MAX);

  for (guint i = 0; i < n; i++) {
    c->sent_us[film_next % RING] = world.now;
    packets[i] = (NatDatagram){bytes[i], write_packet (bytes[i], film_next++)};
  }
  g_assert_cmpuint (film_next, <, FILM_MAX);
  c->rtp_passed += n;
  nat_session_send_rtp (c->session, packets, n);
  if (world_chance (0.05))
    send_report (c);
}

static void
ask (Client *c)
{
  guint16 seqs[64];
  guint8 nack[256];
  guint n;

  nat_missing_set_pace (&c->missing, nat_session_get_rtt_us (c->session), REPAIR_US);
  n = nat_missing_due (&c->missing, world.now, seqs, G_N_ELEMENTS (seqs));
  if (n == 0)
    return;
  for (guint i = 0; i < n; i++)
    c->asked[seqs[i]]++;
  nat_session_send_rtcp (
      c->session, nack, nat_rtcp_write_nack (nack, sizeof nack, c->number, CLIENT_SSRC, seqs, &n));
}

static void
media (gpointer a, gpointer b)
{
  Client *c = a;

  world_at (world.now + c->gap, media, c, NULL);
  if (c->session == NULL || !c->running || c->host.stopped_us >= 0)
    return;
  world_enter (&c->host);
  if (c->role == NAT_ROLE_SUBSCRIBER)
    ask (c);
  else if (!c->silent && c->state != NAT_SESSION_FAILED)
    client_send_film (c);
  world_leave ();
}

/* ---- Life -------------------------------------------------------------- */

void
client_init (Client *c, House *house, guint8 number, NatRole role)
{
  memset (c, 0, sizeof *c);
  c->house = house;
  c->number = number;
  c->role = role;
  g_snprintf (c->name, sizeof c->name, "%s%u", role == NAT_ROLE_PUBLISHER ? "pub" : "sub", number);
  g_strlcpy (c->subject, c->name, sizeof c->subject);
  c->host.name = c->name;
  c->host.deadline = deadline;
  c->host.run = run;
  world_add (&c->host);
  net_link_init (&c->link, &c->host, number);
  c->requests = g_ptr_array_new_with_free_func (request_free);
  c->gap = MS (50);
  c->got = g_malloc0 (FILM_MAX);
  c->asked = g_malloc0 (FILM_MAX);
  nat_session_config_init (&c->config);
  c->config.role = role;
  c->config.host = g_strdup ("relay");
  c->config.port = 8443;
  c->config.stream = g_strdup (CLIENT_STREAM);
  world_at (world.now + world_between (0, c->gap), media, c, NULL);
}

void
client_set_token (Client *c, gint64 lifetime_s)
{
  g_autofree char *token = NULL;

  if (c->house->open)
    return;
  world_enter (&c->host);
  token = house_token (c->house, c->subject, lifetime_s);
  if (c->session != NULL)
    nat_session_set_auth_token (c->session, token);
  g_free (c->config.auth_token);
  c->config.auth_token = g_steal_pointer (&token);
  world_leave ();
}

void
client_start (Client *c)
{
  static const NatSessionCallbacks callbacks = {.state = on_state, .rtp = on_rtp, .rtcp = on_rtcp};
  NatDescription description = {.sdp = (char *)sdp};

  if (c->session != NULL)
    return;
  world_enter (&c->host);
  c->told_to_fail = FALSE;
  c->n_bindings = c->n_posts = 0; /* what a person does is no storm */
  c->state = NAT_SESSION_DISCONNECTED;
  c->heard_us = 0;
  nat_seq_counter_init (&c->counter);
  nat_missing_init (&c->missing, c->memory, G_N_ELEMENTS (c->memory));
  c->session = nat_session_new (&c->config, &callbacks, c);
  if (c->role == NAT_ROLE_PUBLISHER)
    nat_session_set_description (c->session, &description);
  being_started = c;
  nat_session_start (c->session);
  world_leave ();
}

void
client_stop (Client *c, gboolean ended)
{
  if (c->session == NULL)
    return;
  world_enter (&c->host);
  world_note ("stops%s", ended ? ", its stream is over" : "");
  nat_session_stop (c->session, ended);
  world_leave ();
}

void
client_kill (Client *c)
{
  if (c->session == NULL)
    return;
  world_enter (&c->host);
  if (c->running)
    leave (c);
  world_leave ();
}

void
client_clear (Client *c)
{
  client_kill (c);
  g_ptr_array_unref (c->requests); /* their events do not come any more */
  nat_session_config_clear (&c->config);
  g_free (c->got);
  g_free (c->asked);
  net_link_clear (&c->link);
  world_remove (&c->host);
}
