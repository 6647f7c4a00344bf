/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/recheck.h"

#include "natserver/control/audit.h"
#include "natserver/control/registry-private.h"

#define ROUND         4096 /* sessions that a look at all of them finds; the others have the next round */
#define ASKED_AT_ONCE 64
#define RETRY_US      (5 * G_USEC_PER_SEC)

struct _NatRecheck {
  NatRegistry *registry;
  NatCallback *callback;
  guint grace_s;
  gint64 failing_us; /* since when questions have no answer, whichever they are; 0 = the last had */
  gint64 failed_us;  /* the last one that had none */
  gboolean finding;  /* a look at all of them finds who is due */
  GArray *due;       /* ids, the last is next */
  GHashTable *awaited; /* decision that is pending -> id of the session that it is about */
};

typedef struct {
  guint8 bytes[NAT_SESSION_ID_SIZE];
} Id;

NatRecheck *
nat_recheck_new (NatRegistry *registry, NatCallback *callback)
{
  NatRecheck *c = g_new0 (NatRecheck, 1);

  c->registry = registry;
  c->callback = callback;
  c->due = g_array_new (FALSE, FALSE, sizeof (Id));
  c->awaited = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  return c;
}

void
nat_recheck_free (NatRecheck *c)
{
  g_array_unref (c->due);
  g_hash_table_unref (c->awaited);
  g_free (c);
}

/* ---- What becomes of a session ------------------------------------------ */

static void
put_out (NatRecheck *c, NatTime now, NatRegistered *session, const char *said)
{
  g_autofree char *why = g_strdup_printf (
      "the access callback does not allow it any more%s%s", said ? ": " : "", said ? said : "");

  nat_registry_put_out (c->registry, now, session, NAT_REASON_REVOKED, why);
}

/* EXPIRED: the client asks anew by itself, and is let in when there is somebody again who may say so. */
static void
give_up (NatRecheck *c, NatTime now, NatRegistered *session)
{
  nat_registry_put_out (
      c->registry, now, session, NAT_REASON_EXPIRED, "the access callback does not answer");
}

/* Of a session that is due: since when there is no answer about it. Whoever waits for his turn while there is none about
 * others would have none, either. */
static gint64
unanswered_since (const NatRecheck *c, NatTime now, const NatRegistered *session)
{
  if (session->unanswered_us != 0)
    return session->unanswered_us;
  if (c->failing_us == 0 || c->failed_us < session->recheck_us)
    return now.us;
  return MAX (c->failing_us, MAX (session->recheck_us, session->created_us));
}

static void
no_answer (NatRecheck *c, NatTime now, NatRegistered *session)
{
  gint64 left_us;

  session->unanswered_us = unanswered_since (c, now, session);
  c->failed_us = now.us;
  if (c->failing_us == 0)
    c->failing_us = now.us;
  left_us = session->unanswered_us + (gint64)c->grace_s * G_USEC_PER_SEC - now.us;
  session->recheck_us = now.us + MIN (left_us, RETRY_US);
  if (left_us <= 0)
    give_up (c, now, session);
}

static void
await (NatRecheck *c, NatTime now, NatRegistered *session, gconstpointer what)
{
  session->unanswered_us = unanswered_since (c, now, session);
  session->recheck_us = G_MAXINT64; /* until the answer comes */
  g_hash_table_replace (
      c->awaited, (gpointer)what, g_memdup2 (session->ticket.session_id, sizeof (Id)));
}

static void
heed (NatRecheck *c, NatTime now, NatRegistered *session, const NatDecision *d)
{
  if (d->kind == NAT_DECISION_ALLOWED || d->kind == NAT_DECISION_DENIED)
    c->failing_us = 0;
  switch (d->kind) {
  case NAT_DECISION_PENDING: await (c, now, session, d); break;
  case NAT_DECISION_ALLOWED:
    session->recheck_us = d->until_us;
    session->unanswered_us = 0;
    break;
  case NAT_DECISION_DENIED: put_out (c, now, session, d->why); break;
  default: no_answer (c, now, session); break;
  }
}

static void
recheck (NatRecheck *c, NatTime now, NatRegistered *session)
{
  NatQuestion question = {.action = nat_audit_action (session->ticket.role),
      .stream = session->ticket.stream,
      .from = session->registered ? &session->mapped : NULL,
      .ticket = &session->ticket};

  if (!nat_callback_is_set (c->callback)) {
    session->recheck_us = 0; /* at once, should there be one again */
    session->unanswered_us = 0;
    return;
  }
  heed (c, now, session, nat_callback_ask (c->callback, &question, now.us));
}

/* ---- Whose turn it is -------------------------------------------------- */

/* As many as there may be under way; requests have room beside them. TRUE: some could be asked about at once, for the
 * answers to others were known. */
static gboolean
ask_due (NatRecheck *c, NatTime now)
{
  for (guint n = 0; c->due->len > 0 && nat_callback_has_room (c->callback); n++) {
    Id id = g_array_index (c->due, Id, c->due->len - 1);
    NatRegistered *session = nat_registry_find (c->registry, id.bytes);

    if (n == ASKED_AT_ONCE)
      return TRUE;
    g_array_set_size (c->due, c->due->len - 1);
    if (session != NULL)
      recheck (c, now, session);
  }
  return FALSE;
}

/* Of one who is due. */
static gboolean
is_past_grace (const NatRecheck *c, NatTime now, const NatRegistered *session)
{
  gint64 since_us = MAX (unanswered_since (c, now, session), c->failing_us);

  return c->failed_us - since_us >= (gint64)c->grace_s * G_USEC_PER_SEC;
}

/* If each question takes its time-out, most sessions have their turn long after their grace. What counts is the last
 * failure, not the time: one of long ago says nothing about those that are due now. */
static gboolean
is_grace_over (const NatRecheck *c)
{
  /* Nobody's can be before. */
  return c->failing_us != 0 && c->failed_us - c->failing_us >= (gint64)c->grace_s * G_USEC_PER_SEC;
}

/* All sessions in their order, so many in a turn: who is past his grace is put out, unasked, others who are due have their
 * turn. TRUE: some are not looked at yet. */
static gboolean
look (NatRecheck *c, NatTime now)
{
  NatRegistry *r = c->registry;
  g_autoptr (GPtrArray) over = g_ptr_array_new ();
  gboolean grace_over = is_grace_over (c);

  for (guint n = 0; n < NAT_RECHECK_LOOKS_AT_ONCE && over->len < NAT_REGISTRY_ENDS_AT_ONCE; n++) {
    NatRegistered *session;

    if (g_sequence_iter_is_end (r->recheck_at)) {
      r->recheck_at = NULL;
      break;
    }
    session = g_sequence_get (r->recheck_at);
    r->recheck_at = g_sequence_iter_next (r->recheck_at);
    if (session->recheck_us > now.us)
      continue;
    if (grace_over && is_past_grace (c, now, session))
      g_ptr_array_add (over, session);
    else if (c->finding && c->due->len < ROUND)
      g_array_append_vals (c->due, session->ticket.session_id, 1);
  }
  /* Removing one session never removes another. */
  for (guint i = 0; i < over->len; i++)
    give_up (c, now, over->pdata[i]);
  return r->recheck_at != NULL;
}

gboolean
nat_recheck_go_on (NatRecheck *c, NatTime now)
{
  gboolean more = c->registry->recheck_at != NULL && look (c, now);

  return ask_due (c, now) || more;
}

gboolean
nat_recheck_tick (NatRecheck *c, NatTime now, guint grace_s)
{
  NatRegistry *r = c->registry;

  c->grace_s = grace_s;
  if (!nat_callback_is_set (c->callback)) {
    c->failing_us = 0;
    r->recheck_at = NULL;
    return FALSE;
  }
  if (r->recheck_at == NULL) {
    r->recheck_at = g_sequence_get_begin_iter (r->sessions_in_order);
    c->finding = c->due->len == 0; /* else it would find the same again */
  }
  return nat_recheck_go_on (c, now);
}

void
nat_recheck_answered (NatRecheck *c, NatTime now, gconstpointer what)
{
  const NatDecision *d = what; /* if it is one of ours */
  g_autofree Id *id = NULL;
  NatRegistered *session;

  if (!g_hash_table_steal_extended (c->awaited, what, NULL, (gpointer *)&id))
    return;
  session = nat_registry_find (c->registry, id->bytes);
  /* Asked anew, the question could be another: whoever always has a new address would never hear the no. */
  if (session != NULL && d->kind != NAT_DECISION_PENDING)
    heed (c, now, session, d);
  else if (session != NULL)
    recheck (c, now, session);
  ask_due (c, now);
}
