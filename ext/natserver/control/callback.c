/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/callback.h"

#include <string.h>

#include "natproto/crypto.h"
#include "natproto/json.h"

#define ANSWER_MAX 16384 /* bytes */
#define TEXT_MAX   255   /* bytes of reason and sub */

/* Each kind has its places, so that a flood of one does not keep out the others. */
typedef enum {
  OF_CALLERS,   /* whom the relay knows, or who may ask only so often */
  OF_STRANGERS, /* with tokens for the callback, as often as they like: fewer than connections */
  OF_SESSIONS,  /* nobody waits for them */
  KINDS,
} Kind;

static const guint open_max[KINDS] = {
    NAT_CALLBACK_OPEN, NAT_CALLBACK_OPEN_STRANGERS, NAT_CALLBACK_OPEN_SESSIONS};

/* A question is known by the hash of its text: the same text, the same answer. */
typedef struct {
  guint8 hash[NAT_SHA256_SIZE];
  NatDecision decision;
  NatCallback *callback;
  Kind kind;
  GList link; /* in callback->kept; not while pending */
} Entry;

struct _NatCallback {
  NatFetcher *fetcher;
  char *url;
  guint timeout_ms;
  GHashTable *entries; /* hash -> Entry */
  GQueue kept;         /* answered, oldest first */
  guint open[KINDS];   /* pending */
  NatDecision busy;    /* for questions that find too many open */
  void (*answered) (gconstpointer what, gpointer user);
  gpointer user;
};

static guint
hash_hash (gconstpointer hash)
{
  guint h;

  memcpy (&h, hash, sizeof h);
  return h;
}

static gboolean
hash_equal (gconstpointer a, gconstpointer b)
{
  return memcmp (a, b, NAT_SHA256_SIZE) == 0;
}

static void
decision_clear (NatDecision *d)
{
  g_free (d->why);
  g_free (d->subject);
  memset (d, 0, sizeof *d);
}

static void
entry_free (gpointer data)
{
  Entry *e = data;

  decision_clear (&e->decision);
  g_free (e);
}

NatCallback *
nat_callback_new (void (*answered) (gconstpointer what, gpointer user), gpointer user)
{
  NatCallback *c = g_new0 (NatCallback, 1);

  c->entries = g_hash_table_new_full (hash_hash, hash_equal, NULL, entry_free);
  g_queue_init (&c->kept);
  c->busy.kind = NAT_DECISION_FAILED;
  c->busy.why = g_strdup ("too many questions are open already");
  c->answered = answered;
  c->user = user;
  return c;
}

void
nat_callback_free (NatCallback *c)
{
  if (c == NULL)
    return;
  g_hash_table_unref (c->entries);
  decision_clear (&c->busy);
  g_free (c->url);
  g_free (c);
}

gboolean
nat_callback_is_set (const NatCallback *c)
{
  return c->url != NULL;
}

gboolean
nat_callback_has_room (const NatCallback *c)
{
  return c->open[OF_SESSIONS] < open_max[OF_SESSIONS];
}

void
nat_callback_set (NatCallback *c, NatFetcher *fetcher, const char *url, guint timeout_ms)
{
  g_autoptr (GHashTable) old = c->entries;
  GHashTableIter iter;
  gpointer value;

  c->entries = g_hash_table_new_full (hash_hash, hash_equal, NULL, entry_free);
  g_queue_init (&c->kept);
  memset (c->open, 0, sizeof c->open);
  c->fetcher = fetcher;
  g_free (c->url);
  c->url = g_strdup (url);
  c->timeout_ms = timeout_ms;
  g_hash_table_iter_init (&iter, old);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    Entry *e = value;

    if (e->decision.kind == NAT_DECISION_PENDING)
      c->answered (&e->decision, c->user);
  }
}

/* ---- The question as text ---------------------------------------------- */

static void
add_text (JsonBuilder *b, const char *member, const char *value)
{
  if (value != NULL && *value != '\0')
    nat_json_add_string (b, member, value);
}

/* Without the port, which is another each time. */
static void
add_address (JsonBuilder *b, const NatAddress *from)
{
  char text[NAT_ADDRESS_TEXT_MAX];
  char *ip = text;

  if (from == NULL || from->family == 0)
    return;
  nat_address_to_text (from, text);
  *strrchr (text, ':') = '\0';
  if (*ip == '[') {
    ip++;
    *strrchr (text, ']') = '\0';
  }
  nat_json_add_string (b, "address", ip);
}

static void
add_claims (JsonBuilder *b, const NatToken *token)
{
  g_autofree char *text = nat_token_to_claims (token);
  g_autoptr (JsonObject) claims = nat_json_parse (text, -1, NAT_TOKEN_MAX * 2, "Claims", NULL);
  JsonNode *node;

  if (claims == NULL)
    return;
  node = json_node_init_object (json_node_alloc (), claims);
  json_builder_set_member_name (b, "claims");
  json_builder_add_value (b, node);
}

static void
add_session (JsonBuilder *b, const NatTicket *ticket)
{
  char id[NAT_SESSION_ID_TEXT + 1];

  nat_session_id_to_text (ticket->session_id, id);
  nat_json_add_string (b, "session", id);
  add_text (b, "subject", ticket->subject);
  add_text (b, "by", nat_voucher_word (&ticket->voucher));
}

static char *
question_to_json (const NatQuestion *q)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  nat_json_add_string (b, "action", q->action);
  add_text (b, "stream", q->stream);
  add_address (b, q->from);
  if (q->ticket != NULL)
    add_session (b, q->ticket);
  else if (q->token != NULL)
    add_text (b, "token", q->token);
  else if (!q->caller->open) {
    add_text (b, "subject", q->caller->subject);
    add_text (b, "by", nat_voucher_word (&q->caller->token.voucher));
    add_claims (b, &q->caller->token);
  }
  json_builder_end_object (b);
  return nat_json_builder_to_text (b);
}

/* ---- The answer -------------------------------------------------------- */

static void
set_failed (NatDecision *d, const char *why)
{
  d->kind = NAT_DECISION_FAILED;
  d->why = g_strdup (why);
  d->until_us = g_get_monotonic_time () + NAT_CALLBACK_FAIL_S * G_USEC_PER_SEC;
}

static gboolean
read_answer (JsonObject *object, NatDecision *d, gint64 *cache_s, GError **error)
{
  const char *why = NULL, *subject = NULL;
  gboolean allow = FALSE, takeover = FALSE;
  gint64 kbps = 0;

  if (!nat_json_get_boolean (object, "allow", NAT_JSON_REQUIRED, &allow, error) ||
      !nat_json_get_boolean (object, "takeover", NAT_JSON_OPTIONAL, &takeover, error) ||
      !nat_json_get_string (object, "reason", NAT_JSON_OPTIONAL, TEXT_MAX, &why, error) ||
      !nat_json_get_string (object, "subject", NAT_JSON_OPTIONAL, TEXT_MAX, &subject, error) ||
      !nat_json_get_integer (object, "max-kbps", NAT_JSON_OPTIONAL, 0, G_MAXUINT32, &kbps, error))
    return FALSE;
  *cache_s = allow ? NAT_CALLBACK_ALLOW_S : NAT_CALLBACK_DENY_S;
  if (!nat_json_get_integer (
          object, "cache-s", NAT_JSON_OPTIONAL, 0, NAT_JSON_INTEGER_MAX, cache_s, error))
    return FALSE;
  d->kind = allow ? NAT_DECISION_ALLOWED : NAT_DECISION_DENIED;
  d->why = g_strdup (why);
  d->subject = g_strdup (subject);
  d->max_kbps = (guint32)kbps;
  d->takeover = takeover;
  return TRUE;
}

static void
decide (NatDecision *d, const NatFetched *answer)
{
  g_autoptr (JsonObject) object = NULL;
  g_autoptr (GError) error = NULL;
  g_autofree char *why = NULL;
  gint64 cache_s = NAT_CALLBACK_DENY_S;

  if (answer->failure != NULL) {
    set_failed (d, answer->failure);
    return;
  }
  if (answer->status == 403) {
    d->kind = NAT_DECISION_DENIED;
  } else if (answer->status != 200) {
    why = g_strdup_printf ("the answer is HTTP status %u", answer->status);
    set_failed (d, why);
    return;
  } else {
    object = nat_json_parse (answer->body, (gssize)answer->len, ANSWER_MAX, "Its answer", &error);
    if (object == NULL || !read_answer (object, d, &cache_s, &error)) {
      set_failed (d, error->message);
      return;
    }
  }
  d->until_us = g_get_monotonic_time () + CLAMP (cache_s, 1, NAT_CALLBACK_MAX_S) * G_USEC_PER_SEC;
}

static void
forget (NatCallback *c, Entry *e)
{
  g_queue_unlink (&c->kept, &e->link);
  g_hash_table_remove (c->entries, e->hash);
}

static void
fetched (const NatFetched *answer, gpointer user)
{
  Entry *e = user;
  NatCallback *c = e->callback;

  c->open[e->kind]--;
  decide (&e->decision, answer);
  if (e->decision.kind == NAT_DECISION_FAILED)
    g_warning ("the access callback did not decide: %s. What it does not allow, is refused",
        e->decision.why);
  while (c->kept.length >= NAT_CALLBACK_CACHE)
    forget (c, c->kept.head->data);
  g_queue_push_tail_link (&c->kept, &e->link);
  c->answered (&e->decision, c->user);
}

static Kind
kind_of (const NatQuestion *question)
{
  if (question->ticket != NULL)
    return OF_SESSIONS;
  return question->token != NULL && !question->limited ? OF_STRANGERS : OF_CALLERS;
}

const NatDecision *
nat_callback_ask (NatCallback *c, const NatQuestion *question, gint64 now_us)
{
  char *text = question_to_json (question);
  Kind kind = kind_of (question);
  guint8 hash[NAT_SHA256_SIZE];
  Entry *e;

  nat_crypto_sha256 (text, strlen (text), hash);
  e = g_hash_table_lookup (c->entries, hash);
  if (e != NULL && e->decision.kind != NAT_DECISION_PENDING && now_us >= e->decision.until_us) {
    forget (c, e);
    e = NULL;
  }
  if (e == NULL && c->open[kind] < open_max[kind]) {
    e = g_new0 (Entry, 1);
    memcpy (e->hash, hash, sizeof hash);
    e->callback = c;
    e->kind = kind;
    e->link.data = e;
    c->open[kind]++;
    g_hash_table_insert (c->entries, e->hash, e);
    nat_fetch (c->fetcher, c->url, text, c->timeout_ms, ANSWER_MAX, fetched, e);
  }
  nat_crypto_wipe_free (text);
  return e != NULL ? &e->decision : &c->busy;
}
