/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who may what, by token; how often and how many, by address and subject. */

#include "natserver/control/auth.h"

#include <string.h>

#include "natserver/control/admission.h"

#define NOW 1700000000

typedef struct {
  NatAuth *auth;
  NatSignKey *key;
} World;

static World
world_new (void)
{
  NatTokenKeys *keys = nat_token_keys_new ();
  World w = {nat_auth_new (FALSE), nat_sign_key_generate (NAT_SIGN_ES256, NULL)};

  nat_token_keys_add (keys, NULL, w.key);
  nat_auth_take_keys (w.auth, keys);
  return w;
}

static void
world_clear (World *w)
{
  nat_auth_free (w->auth);
  nat_sign_key_unref (w->key);
}

static char *
bearer (World *w, const char *scheme, const NatToken *token)
{
  g_autofree char *text = nat_token_sign (token, NULL, w->key, NULL);

  g_assert_nonnull (text);
  return g_strconcat (scheme, text, NULL);
}

static NatProblemKind
check (World *w, const char *authorization, NatCaller *caller)
{
  g_autofree char *detail = NULL;
  NatProblemKind kind = nat_auth_check (w->auth, authorization, NOW, caller, &detail);

  g_assert_cmpint (kind != NAT_PROBLEM_NONE, ==, detail != NULL);
  return kind;
}

static void
test_tokens (void)
{
  char *globs[] = {(char *)"house/*", NULL};
  NatToken token = {.subject = (char *)"camera",
      .publish = globs,
      .expires_s = NOW + 60,
      .not_before_s = G_MININT64};
  World w = world_new ();
  g_autofree char *good = bearer (&w, "Bearer ", &token);
  g_autofree char *lower = bearer (&w, "bearer   ", &token);
  g_autofree char *glued = bearer (&w, "Bearer", &token);
  NatCaller c;

  g_assert_cmpint (check (&w, good, &c), ==, NAT_PROBLEM_NONE);
  g_assert_cmpstr (c.subject, ==, "camera");
  g_assert_true (nat_caller_may (&c, NAT_ROLE_PUBLISHER, "house/door"));
  g_assert_false (nat_caller_may (&c, NAT_ROLE_PUBLISHER, "house"));
  g_assert_false (nat_caller_may (&c, NAT_ROLE_SUBSCRIBER, "house/door"));
  g_assert_cmpint (nat_caller_expires_s (&c), ==, NOW + 60 + NAT_TOKEN_LEEWAY_S);
  nat_caller_clear (&c);
  g_assert_cmpint (check (&w, lower, &c), ==, NAT_PROBLEM_NONE);
  nat_caller_clear (&c);
  g_assert_cmpint (check (&w, glued, &c), ==, NAT_PROBLEM_TOKEN_MISSING);
  g_assert_cmpint (check (&w, NULL, &c), ==, NAT_PROBLEM_TOKEN_MISSING);
  g_assert_cmpint (check (&w, "", &c), ==, NAT_PROBLEM_TOKEN_MISSING);
  g_assert_cmpint (check (&w, "Bearer x", &c), ==, NAT_PROBLEM_TOKEN_INVALID);
  token.expires_s = NOW - NAT_TOKEN_LEEWAY_S - 1;
  g_free (good);
  good = bearer (&w, "Bearer ", &token);
  g_assert_cmpint (check (&w, good, &c), ==, NAT_PROBLEM_TOKEN_EXPIRED);
  g_assert_null (c.token.subject);
  world_clear (&w);
}

static void
test_never_expires (void)
{
  NatToken token = {.expires_s = G_MAXINT64, .not_before_s = G_MININT64};
  World w = world_new ();
  g_autofree char *text = bearer (&w, "Bearer ", &token);
  NatCaller c;

  g_assert_cmpint (check (&w, text, &c), ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (nat_caller_expires_s (&c), ==, G_MAXINT64);
  nat_caller_clear (&c);
  world_clear (&w);
}

/* Who the relay takes the holder for. */
static char *
owner (World *w, const char *subject, const char *id)
{
  NatToken token = {.subject = (char *)subject,
      .id = (char *)id,
      .expires_s = G_MAXINT64,
      .not_before_s = G_MININT64};
  g_autofree char *text = bearer (w, "Bearer ", &token);
  char *name;
  NatCaller c;

  g_assert_cmpint (check (w, text, &c), ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (nat_caller_is_named (&c), ==, subject != NULL && *subject != '\0');
  name = g_strdup (c.subject);
  nat_caller_clear (&c);
  return name;
}

static void
assert_owners (World *w, const char *a, const char *b, gboolean same)
{
  g_autofree char *one = owner (w, a, "1");
  g_autofree char *two = owner (w, b, "2");

  g_assert_cmpstr (one, !=, "");
  g_assert_cmpint (strcmp (one, two) == 0, ==, same);
}

static void
test_owners (void)
{
  World w = world_new ();
  g_autofree char *one = g_strdup_printf ("%0200u", 1);
  g_autofree char *two = g_strdup_printf ("%0200u", 2);
  g_autofree char *hashed = owner (&w, one, NULL);
  g_autofree char *nameless = owner (&w, NULL, NULL);

  assert_owners (&w, "camera", "camera", TRUE);
  assert_owners (&w, "camera", "Camera", FALSE);
  assert_owners (&w, one, one, TRUE);
  assert_owners (&w, one, two, FALSE);
  /* Tokens without a subject are strangers to one another. */
  assert_owners (&w, NULL, NULL, FALSE);
  assert_owners (&w, "", "", FALSE);
  /* Nobody takes another's name by writing its hash. */
  assert_owners (&w, one, hashed, FALSE);
  assert_owners (&w, nameless, nameless, TRUE);
  g_assert_true (g_str_has_prefix (nameless, "token:"));
  g_free (one);
  one = owner (&w, nameless, NULL);
  g_assert_cmpstr (one, !=, nameless);
  world_clear (&w);
}

static void
test_open (void)
{
  NatAuth *auth = nat_auth_new (TRUE);
  char *detail;
  NatCaller c;

  g_assert_cmpint (
      nat_auth_check (auth, "Bearer nonsense", NOW, &c, &detail), ==, NAT_PROBLEM_NONE);
  g_assert_true (c.open);
  g_assert_false (c.token.admin);
  g_assert_true (nat_caller_may (&c, NAT_ROLE_PUBLISHER, "any/thing"));
  nat_caller_clear (&c);
  nat_auth_free (auth);
}

/* ---- Admission --------------------------------------------------------- */

static NatAddress
address (const char *text)
{
  NatAddress a;

  g_assert_true (nat_address_from_text (&a, text, 1));
  return a;
}

static void
test_buckets (void)
{
  NatAdmissionLimits limits = {.requests_per_second = 2, .requests_burst = 3};
  NatAdmission *a = nat_admission_new (&limits);
  NatAddress one = address ("192.0.2.1"), two = address ("192.0.2.2");
  NatAddress six = address ("[2001:db8::1]"), same = address ("[2001:db8::ffff:1]"),
             other = address ("[2001:db8:0:1::1]");
  gint64 now = 1000000;
  guint retry;

  for (guint i = 0; i < 3; i++)
    g_assert_true (nat_admission_take (a, &one, now, &retry));
  g_assert_false (nat_admission_take (a, &one, now, &retry));
  g_assert_cmpuint (retry, ==, 1);
  one.port = 77; /* no matter */
  g_assert_false (nat_admission_take (a, &one, now, &retry));
  g_assert_true (nat_admission_take (a, &two, now, &retry));
  now += G_USEC_PER_SEC / 2;
  g_assert_true (nat_admission_take (a, &one, now, &retry));
  g_assert_false (nat_admission_take (a, &one, now, &retry));
  now += 3600 * (gint64)G_USEC_PER_SEC; /* never more than full */
  for (guint i = 0; i < 3; i++)
    g_assert_true (nat_admission_take (a, &one, now, &retry));
  g_assert_false (nat_admission_take (a, &one, now, &retry));
  for (guint i = 0; i < 3; i++)
    g_assert_true (nat_admission_take (a, i % 2 ? &six : &same, now, &retry));
  g_assert_false (nat_admission_take (a, &six, now, &retry));
  g_assert_true (nat_admission_take (a, &other, now, &retry));
  nat_admission_free (a);
}

static void
test_many_addresses (void)
{
  NatAdmissionLimits limits = {.requests_per_second = 1, .requests_burst = 100};
  NatAdmission *a = nat_admission_new (&limits);
  NatAddress peer = address ("10.0.0.0");
  guint retry;

  for (guint i = 0; i < 3 * NAT_ADMISSION_ADDRESSES_MAX; i++) {
    guint32 ip = GUINT32_TO_BE (i);

    memcpy (peer.ip, &ip, 4);
    g_assert_true (nat_admission_take (a, &peer, 1, &retry));
  }
  nat_admission_free (a);
}

static void
test_quotas (void)
{
  NatAdmissionLimits limits = {.sessions = 4, .sessions_per_subject = 2, .sessions_per_address = 3};
  NatAdmission *a = nat_admission_new (&limits);
  NatAddress one = address ("192.0.2.1"), two = address ("192.0.2.2");

  g_assert_cmpint (nat_admission_enter (a, &one, "ann"), ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (nat_admission_enter (a, &one, "ann"), ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (nat_admission_enter (a, &two, "ann"), ==, NAT_PROBLEM_TOO_MANY_SESSIONS);
  g_assert_cmpint (nat_admission_enter (a, &one, "bob"), ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (nat_admission_enter (a, &one, "cat"), ==, NAT_PROBLEM_TOO_MANY_SESSIONS);
  g_assert_cmpint (nat_admission_enter (a, &two, ""), ==, NAT_PROBLEM_NONE);
  g_assert_cmpint (nat_admission_enter (a, &two, ""), ==, NAT_PROBLEM_RELAY_FULL);
  g_assert_cmpint (nat_admission_enter (a, NULL, "ann"), ==, NAT_PROBLEM_NONE); /* came back */
  nat_admission_leave (a, NULL, "ann");
  nat_admission_leave (a, &one, "ann");
  g_assert_cmpint (nat_admission_enter (a, &two, "ann"), ==, NAT_PROBLEM_NONE);
  nat_admission_free (a);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/auth/tokens", test_tokens);
  g_test_add_func ("/auth/never-expires", test_never_expires);
  g_test_add_func ("/auth/owners", test_owners);
  g_test_add_func ("/auth/open", test_open);
  g_test_add_func ("/admission/buckets", test_buckets);
  g_test_add_func ("/admission/many-addresses", test_many_addresses);
  g_test_add_func ("/admission/quotas", test_quotas);
  return g_test_run ();
}
