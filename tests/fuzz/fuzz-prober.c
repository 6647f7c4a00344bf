/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as a client's life: time that passes, answers of its relay that come, late, twice, changed or from elsewhere,
 * indications of liars, ways that open and close. Whatever happens, the client believes nothing but what its relay
 * answered to it, byte for byte; it asks no oftener than its rules allow; and it always waits for something. */

#include <string.h>

#include "natclient/prober.h"
#include "natproto/stun.h"
#include "relaymodel.h"

#define OPERATIONS_MAX 400
#define WAYS           3 /* two addresses, and a WebSocket */
#define KEPT           16
#define REQUESTS_PER_S 40 /* of three ways, challenges answered and sizes tried besides */
#define SPINS_MAX      64 /* deadlines in a row without time passing */
#define START_US       G_GINT64_CONSTANT (1000000)
/* race.c and pathsize.c ask for more no oftener; a network changes so, at worst. */
#define PACE_US G_GINT64_CONSTANT (250000)

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);

typedef struct {
  guint8 data[NAT_DATAGRAM_MAX];
  gsize len;
  NatAddress from, mapped;
} Answer;

static const guint8 *input;
static gsize left;

static NatProber *prober;
static RelayModel relay;
static NatAddress ways[WAYS], outside;
static gint64 now_us;
static Answer answers[KEPT]; /* that the relay gave, all genuine */
static guint n_answers;
static gint64 sent_us[REQUESTS_PER_S];
static guint n_sent;
static gint64 more_us; /* when there may be more than the prober does by itself */
static guint64 chance;

/* What is under way to the client. */
static gboolean arriving, is_success, is_forbidden;
static const Answer *genuine; /* or NULL */

static guint8
byte (void)
{
  if (left == 0)
    return 0;
  left--;
  return *input++;
}

/* ---- What the client does ---------------------------------------------- */

static void
on_send (gpointer user, const NatAddress *to, const guint8 *data, gsize len)
{
  gint64 *slot = &sent_us[n_sent++ % REQUESTS_PER_S];
  Answer a = {.from = *to, .mapped = outside};

  g_assert_cmpuint (len, <=, NAT_DATAGRAM_MAX);
  if (n_sent > REQUESTS_PER_S && now_us - *slot < G_USEC_PER_SEC)
    g_error ("more than %d requests in a second", REQUESTS_PER_S);
  *slot = now_us;
  a.len = relay_model_input (&relay, now_us, &outside, to, data, len, a.data, sizeof a.data);
  if (a.len > 0)
    answers[n_answers++ % KEPT] = a;
}

static void
on_event (gpointer user, NatProberEvent event, const NatProberReport *report)
{
  switch (event) {
  case NAT_PROBER_ACCEPTED:
  case NAT_PROBER_UPDATED:
    if (!arriving || !genuine || !is_success)
      g_error ("the client believes what its relay did not say");
    g_assert_cmpmem (report->mapped.ip, 16, genuine->mapped.ip, 16);
    g_assert_cmpuint (report->mapped.port, ==, genuine->mapped.port);
    break;
  case NAT_PROBER_FORBIDDEN:
    if (!arriving || !genuine || !is_forbidden)
      g_error ("the client gives up at the word of a stranger");
    break;
  default: break;
  }
}

static void
on_random (gpointer user, gpointer out, gsize len)
{
  for (gsize i = 0; i < len; i++) {
    chance = chance * G_GUINT64_CONSTANT (6364136223846793005) + 1442695040888963407u;
    ((guint8 *)out)[i] = (guint8)(chance >> 56);
  }
}

/* ---- What befalls it --------------------------------------------------- */

static void
arrive (const NatAddress *from, const guint8 *data, gsize len, const Answer *as_it_was)
{
  NatStunMessage m;

  arriving = TRUE;
  genuine = as_it_was;
  is_success = is_forbidden = FALSE;
  if (nat_stun_parse (&m, data, len) == NAT_STUN_OK) {
    is_success = m.type == NAT_STUN_BINDING_SUCCESS;
    is_forbidden = m.type == NAT_STUN_BINDING_ERROR && nat_stun_error_code (&m, NULL) == 403;
  }
  nat_prober_input (prober, now_us, from, data, len);
  arriving = FALSE;
}

static void
op_answer (void)
{
  guint back = byte ();
  Answer a; /* the client's next request may take its place */

  if (n_answers == 0)
    return;
  a = answers[(n_answers - 1 - back % MIN (n_answers, KEPT)) % KEPT];
  arrive (&a.from, a.data, a.len, &a);
}

/* Changed by somebody on the path, or from somebody off it. */
static void
op_forge (void)
{
  guint back = byte (), at = 8u * byte (), change = byte (), where = byte ();
  Answer a;

  if (n_answers == 0)
    return;
  a = answers[(n_answers - 1 - back % MIN (n_answers, KEPT)) % KEPT];
  at += change & 7;
  a.data[at % a.len] ^= (guint8)(change | 1);
  arrive (where % 4 == 3 ? &a.from : &ways[where % WAYS], a.data, a.len, NULL);
}

static void
op_indication (void)
{
  guint8 buf[64];
  NatReason reason = (NatReason)(byte () % 8);
  gsize len = relay_model_indication (&relay, reason, buf, sizeof buf);

  if (len > 0)
    arrive (&ways[byte () % WAYS], buf, len, NULL);
}

static void
op_raw (void)
{
  guint8 buf[256];
  const NatAddress *from = &ways[byte () % WAYS];
  gsize n = byte ();

  n = MIN (n, left);
  if (n > 0)
    memcpy (buf, input, n);
  input += n;
  left -= n;
  arrive (from, buf, n, NULL);
}

/* To the next deadline, and over those that come with it. */
static void
op_wait (void)
{
  gint64 last = now_us;
  guint spins = 0;

  for (guint n = 1 + byte () % 8; n > 0; n--) {
    gint64 deadline = nat_prober_deadline (prober);

    if (deadline == G_MAXINT64)
      break;
    now_us = MAX (now_us, deadline);
    relay.unix_s = 1700000000 + now_us / G_USEC_PER_SEC;
    nat_prober_tick (prober, now_us);
    spins = now_us > last ? 0 : spins + 1;
    last = now_us;
    g_assert_cmpuint (spins, <, SPINS_MAX);
  }
}

static void
op_time (void)
{
  static const gint64 spans_ms[] = {1, 10, 50, 100, 300, 1000, 4000, 31000};

  now_us += spans_ms[byte () % G_N_ELEMENTS (spans_ms)] * 1000;
  relay.unix_s = 1700000000 + now_us / G_USEC_PER_SEC;
  nat_prober_tick (prober, now_us);
}

/* Behind each is a negotiation over HTTPS: what is counted is what datagrams make of it. */
static void
op_start (void)
{
  n_sent = 0;
  nat_prober_start (prober, now_us, ways, 1 + byte () % 2, 10000);
}

static void
op_way (void)
{
  guint how = byte ();

  if (how & 1)
    nat_prober_add (prober, now_us, &ways[WAYS - 1]);
  else
    nat_prober_remove (prober, now_us, &ways[WAYS - 1]);
}

static void
op_move (void)
{
  outside.port = (guint16)(20000 + byte ());
}

static void
op_relay (void)
{
  switch (byte () % 4) {
  case 0: relay_model_restart (&relay, byte ()); break;
  case 1: relay_model_lose_secrets (&relay, byte ()); break;
  case 2: relay.refuse = (NatReason)(byte () % 8); break;
  default: relay.foreign_is_401 = byte () & 1; break;
  }
}

static gboolean
may_be_more (void)
{
  if (now_us < more_us)
    return FALSE;
  more_us = now_us + PACE_US;
  return TRUE;
}

static void
op_client (void)
{
  guint how = byte ();

  if ((how % 6 == 0 || how % 6 >= 4) && !may_be_more ())
    return;
  switch (how % 6) {
  case 0: nat_prober_socket_changed (prober, now_us); break;
  case 1: nat_prober_heard (prober, now_us); break;
  case 2: nat_prober_sent (prober, now_us); break;
  case 3: nat_prober_hint (prober, now_us); break;
  case 4: nat_prober_try_size (prober, now_us, 300 + how * 5); break;
  default: nat_prober_ask (prober, now_us, (NatTransport)(how / 6 % 2)); break;
  }
}

static void (*const operations[]) (void) = {
    op_answer,
    op_answer,
    op_wait,
    op_wait,
    op_forge,
    op_indication,
    op_raw,
    op_time,
    op_start,
    op_way,
    op_move,
    op_relay,
    op_client,
};

/* ---- ------------------------------------------------------------------- */

static void
begin (NatRole role)
{
  static const guint8 epoch[NAT_EPOCH_SIZE] = {1};
  static const NatProberOps ops = {on_send, on_event, on_random};
  char username[NAT_TICKET_TEXT_MAX + 1], password[NAT_PASSWORD_TEXT + 1];

  now_us = START_US;
  n_answers = n_sent = 0;
  more_us = 0;
  chance = 0;
  relay_model_init (&relay, 1);
  relay.unix_s = 1700000000;
  nat_address_from_text (&ways[0], "192.0.2.1:8443", 0);
  nat_address_from_text (&ways[1], "[2001:db8::1]:8443", 0);
  nat_address_from_text (&ways[2], "192.0.2.1:443", 0);
  ways[2].transport = NAT_TRANSPORT_WEBSOCKET;
  nat_address_from_text (&outside, "198.51.100.7:20000", 0);
  relay_model_open (&relay, 3600, username, password);
  prober = nat_prober_new (role, epoch, &ops, NULL);
  nat_prober_set_credentials (prober, now_us, username, NAT_REALM, password, 4000);
  nat_prober_start (prober, now_us, ways, 2, 10000);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  input = data;
  left = size;
  begin (byte () & 1 ? NAT_ROLE_PUBLISHER : NAT_ROLE_SUBSCRIBER);
  for (guint i = 0; i < OPERATIONS_MAX && left > 0; i++) {
    operations[byte () % G_N_ELEMENTS (operations)]();
    /* Who is not idle waits for something, be it for what others send. */
    g_assert_true (
        nat_prober_phase (prober) == NAT_PROBER_IDLE || nat_prober_deadline (prober) < G_MAXINT64);
  }
  nat_prober_free (prober);
  relay_model_clear (&relay);
  return 0;
}
