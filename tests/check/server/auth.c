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
  /* In the second in which its sessions end, nobody opens another with it. */
  token.expires_s = NOW - NAT_TOKEN_LEEWAY_S;
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

/* ---- Other ways than keys ---------------------------------------------- */

static NatTicket
ticket_of (const NatCaller *c, NatRole role, const char *stream)
{
  NatTicket t = {.role = role, .voucher = c->token.voucher, .token_expires_s = G_MAXINT64};

  g_strlcpy (t.subject, c->subject, sizeof t.subject);
  g_strlcpy (t.stream, stream, sizeof t.stream);
  return t;
}

static NatTokenKeys *
one_key (World *w)
{
  NatTokenKeys *keys = nat_token_keys_new ();

  nat_token_keys_add (keys, "one", w->key);
  return keys;
}

static void
test_key_withdrawn (void)
{
  NatToken token = {.subject = (char *)"a", .expires_s = G_MAXINT64, .not_before_s = G_MININT64};
  World w = world_new ();
  g_autofree char *text = bearer (&w, "Bearer ", &token);
  NatTicket ticket, nobody = {.role = NAT_ROLE_SUBSCRIBER};
  NatTokenKeys *same = nat_token_keys_new ();
  NatCaller c;

  g_assert_cmpint (check (&w, text, &c), ==, NAT_PROBLEM_NONE);
  ticket = ticket_of (&c, NAT_ROLE_PUBLISHER, "door");
  nat_caller_clear (&c);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  g_assert_cmpint (nat_auth_vouches (w.auth, &nobody), ==, 0);
  nat_auth_take_keys (w.auth, nat_token_keys_new ());
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  /* It could be among those that are still to come. */
  nat_auth_take_fetched (w.auth, nat_token_keys_new (), FALSE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  nat_auth_take_fetched (w.auth, nat_token_keys_new (), TRUE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  nat_token_keys_add (same, "by another name", w.key);
  nat_auth_take_fetched (w.auth, same, TRUE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  /* It was here while others were still to come, so it is none of those: taken out, from a file or a set, it is gone. */
  nat_auth_take_fetched (w.auth, nat_token_keys_new (), FALSE);
  nat_auth_take_keys (w.auth, one_key (&w));
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  nat_auth_take_keys (w.auth, nat_token_keys_new ());
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  nat_auth_take_fetched (w.auth, one_key (&w), FALSE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  nat_auth_take_fetched (w.auth, nat_token_keys_new (), FALSE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  world_clear (&w);
}

/* After a restart, while another set is still missing. */
static void
test_key_withdrawn_by_its_issuer (void)
{
  NatToken token = {.subject = (char *)"a", .expires_s = G_MAXINT64, .not_before_s = G_MININT64};
  g_autoptr (NatSignKey) next = nat_sign_key_generate (NAT_SIGN_ES256, NULL);
  World w = world_new ();
  g_autofree char *text = bearer (&w, "Bearer ", &token);
  NatTokenKeys *set = one_key (&w), *other = nat_token_keys_new (),
               *without = nat_token_keys_new ();
  NatTicket ticket, of_before;
  NatCaller c;

  g_assert_cmpint (check (&w, text, &c), ==, NAT_PROBLEM_NONE);
  of_before = ticket_of (&c, NAT_ROLE_PUBLISHER, "door"); /* when no ticket said whose set it was */
  nat_caller_clear (&c);
  nat_auth_take_keys (w.auth, nat_token_keys_new ());
  nat_token_keys_set_issuer (set, "https://one.example/");
  nat_auth_take_fetched (w.auth, set, TRUE);
  g_assert_cmpint (check (&w, text, &c), ==, NAT_PROBLEM_NONE);
  ticket = ticket_of (&c, NAT_ROLE_PUBLISHER, "door");
  g_assert_cmpstr (nat_voucher_word (&ticket.voucher), ==, "key");
  nat_caller_clear (&c);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  g_assert_cmpint (nat_auth_vouches (w.auth, &of_before), ==, G_MAXINT64);

  nat_auth_free (w.auth);
  w.auth = nat_auth_new (FALSE);
  nat_auth_take_fetched (w.auth, nat_token_keys_new (), FALSE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  nat_token_keys_add (other, NULL, next);
  nat_token_keys_set_issuer (other, "https://two.example/");
  nat_auth_take_fetched (w.auth, other, FALSE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  nat_token_keys_add (without, NULL, next);
  nat_token_keys_set_issuer (without, "https://one.example/");
  nat_auth_take_fetched (w.auth, without, FALSE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  g_assert_cmpint (nat_auth_vouches (w.auth, &of_before), ==, G_MAXINT64);
  /* It is the key that counts, wherever it is now. */
  nat_auth_take_keys (w.auth, one_key (&w));
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  g_assert_cmpint (nat_auth_vouches (w.auth, &of_before), ==, G_MAXINT64);
  world_clear (&w);
}

static void
test_lacks_key (void)
{
  NatToken token = {.expires_s = G_MAXINT64, .not_before_s = G_MININT64};
  World w = world_new ();
  g_autoptr (NatSignKey) stranger = nat_sign_key_generate (NAT_SIGN_ES256, NULL);
  g_autofree char *named = nat_token_sign (&token, "new", stranger, NULL);
  g_autofree char *field = g_strconcat ("Bearer ", named, NULL);
  g_autofree char *nameless = bearer (&w, "Bearer ", &token);
  NatTokenKeys *keys = nat_token_keys_new ();

  g_assert_true (nat_auth_lacks_key (w.auth, field));
  g_assert_false (nat_auth_lacks_key (w.auth, nameless));
  g_assert_false (nat_auth_lacks_key (w.auth, "Bearer nonsense"));
  g_assert_false (nat_auth_lacks_key (w.auth, "Basic nonsense"));
  g_assert_false (nat_auth_lacks_key (w.auth, NULL));
  nat_token_keys_add (keys, "new", stranger);
  nat_auth_take_fetched (w.auth, keys, TRUE);
  g_assert_false (nat_auth_lacks_key (w.auth, field));
  world_clear (&w);
}

static NatStaticTokens *
list_of (const char *token, const char *glob, gint64 expires_s)
{
  char *globs[] = {(char *)glob, NULL};
  NatToken claims = {.subject = (char *)"camera",
      .publish = globs,
      .expires_s = expires_s,
      .not_before_s = G_MININT64};
  g_autofree char *line = nat_static_token_line (token, &claims, NULL);
  NatStaticTokens *tokens = nat_static_tokens_parse (line, NULL);

  g_assert_nonnull (tokens);
  return tokens;
}

static void
test_static_tokens (void)
{
  char token[NAT_STATIC_TOKEN_LEN + 1], other[NAT_STATIC_TOKEN_LEN + 1];
  World w = world_new ();
  g_autofree char *field = NULL, *wrong = NULL, *basic = NULL;
  NatTicket ticket;
  NatCaller c;

  nat_static_token_make (token);
  nat_static_token_make (other);
  field = g_strconcat ("Bearer ", token, NULL);
  wrong = g_strconcat ("Bearer ", other, NULL);
  basic = g_strconcat ("Basic ", token, NULL);
  g_assert_cmpint (check (&w, field, &c), ==, NAT_PROBLEM_TOKEN_INVALID);
  nat_auth_take_static (w.auth, list_of (token, "door", G_MAXINT64));
  g_assert_cmpint (check (&w, wrong, &c), ==, NAT_PROBLEM_TOKEN_INVALID);
  g_assert_cmpint (check (&w, basic, &c), ==, NAT_PROBLEM_TOKEN_MISSING);
  g_assert_cmpint (check (&w, field, &c), ==, NAT_PROBLEM_NONE);
  g_assert_cmpstr (c.subject, ==, "camera");
  g_assert_true (nat_caller_may (&c, NAT_ROLE_PUBLISHER, "door"));
  g_assert_false (nat_caller_may (&c, NAT_ROLE_SUBSCRIBER, "door"));
  ticket = ticket_of (&c, NAT_ROLE_PUBLISHER, "door");
  nat_caller_clear (&c);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  /* What its line allows now is what counts: a shorter time, another stream, nothing. */
  nat_auth_take_static (w.auth, list_of (token, "*", NOW + 60));
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, NOW + 60 + NAT_TOKEN_LEEWAY_S);
  nat_auth_take_static (w.auth, list_of (token, "yard", G_MAXINT64));
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  nat_auth_take_static (w.auth, list_of (other, "door", G_MAXINT64));
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  nat_auth_take_static (w.auth, NULL);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  world_clear (&w);
}

static void
unref_key (gpointer key)
{
  nat_sign_key_unref (key);
}

static void
take_secret (World *w, NatSignKey *secret, const char *publish)
{
  char *globs[] = {(char *)publish, NULL};
  NatRestGrants grants = {globs, NULL};
  GPtrArray *secrets = g_ptr_array_new_with_free_func (unref_key);

  g_ptr_array_add (secrets, nat_sign_key_ref (secret));
  g_ptr_array_add (secrets, NULL);
  nat_auth_take_secrets (w->auth, secrets, &grants);
}

static void
test_credentials (void)
{
  World w = world_new ();
  g_autoptr (NatSignKey) secret = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatSignKey) other = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autofree char *username = NULL, *password = NULL, *word = NULL, *basic = NULL, *field = NULL;
  NatTicket ticket;
  NatCaller c;

  g_assert_true (
      nat_rest_credential_make (secret, NOW + 60, "door", &username, &password, &word, NULL));
  basic = g_strconcat ("Basic ", word, NULL);
  field = g_strconcat ("Bearer ", word, NULL);
  g_assert_cmpint (check (&w, basic, &c), ==, NAT_PROBLEM_TOKEN_MISSING);
  g_assert_cmpint (check (&w, field, &c), ==, NAT_PROBLEM_TOKEN_INVALID);
  take_secret (&w, secret, "cameras/{name}");
  for (guint i = 0; i < 2; i++) {
    g_assert_cmpint (check (&w, i == 0 ? basic : field, &c), ==, NAT_PROBLEM_NONE);
    g_assert_cmpstr (c.subject, ==, "door");
    g_assert_true (nat_caller_may (&c, NAT_ROLE_PUBLISHER, "cameras/door"));
    g_assert_false (nat_caller_may (&c, NAT_ROLE_PUBLISHER, "cameras/yard"));
    g_assert_cmpint (nat_caller_expires_s (&c), ==, NOW + 60 + NAT_TOKEN_LEEWAY_S);
    ticket = ticket_of (&c, NAT_ROLE_PUBLISHER, "cameras/door");
    nat_caller_clear (&c);
  }
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  take_secret (&w, secret, "{name}");
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  take_secret (&w, other, "cameras/{name}");
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  g_assert_cmpint (check (&w, basic, &c), ==, NAT_PROBLEM_TOKEN_INVALID);
  world_clear (&w);
}

/* With a callback that knows more than we do, only what has run out is refused here. */
static void
test_unknown (void)
{
  NatToken token = {.subject = (char *)"a", .expires_s = NOW - 999, .not_before_s = G_MININT64};
  World w = world_new ();
  g_autofree char *late = bearer (&w, "Bearer ", &token);
  NatTicket ticket;
  NatCaller c;

  g_assert_cmpint (check (&w, "Bearer opaque", &c), ==, NAT_PROBLEM_TOKEN_INVALID);
  nat_auth_set_unknown (w.auth, TRUE);
  g_assert_cmpint (check (&w, "Bearer opaque", &c), ==, NAT_PROBLEM_NONE);
  g_assert_true (c.unknown);
  g_assert_false (nat_caller_may (&c, NAT_ROLE_PUBLISHER, "a"));
  g_assert_false (nat_caller_is_named (&c));
  g_assert_true (g_str_has_prefix (c.subject, NAT_SUBJECT_OF_TOKEN));
  nat_caller_take_subject (&c, "ann");
  g_assert_cmpstr (c.subject, ==, "ann");
  g_assert_true (nat_caller_is_named (&c));
  ticket = ticket_of (&c, NAT_ROLE_PUBLISHER, "a");
  nat_caller_clear (&c);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, G_MAXINT64);
  g_assert_cmpint (check (&w, late, &c), ==, NAT_PROBLEM_TOKEN_EXPIRED);
  g_assert_cmpint (check (&w, "Basic opaque", &c), ==, NAT_PROBLEM_TOKEN_MISSING);
  g_assert_cmpint (check (&w, NULL, &c), ==, NAT_PROBLEM_TOKEN_MISSING);
  nat_auth_set_unknown (w.auth, FALSE);
  g_assert_cmpint (nat_auth_vouches (w.auth, &ticket), ==, 0);
  world_clear (&w);
}

/* Signed with our key, whatever it says. */
static char *
bearer_of_claims (World *w, const char *claims)
{
  g_autofree char *body = g_malloc (NAT_BASE64URL_LEN (strlen (claims)) + 1), *input = NULL;
  char text[NAT_BASE64URL_LEN (64) + 1];
  guint8 signature[64];
  gsize len;

  nat_base64url_encode (claims, strlen (claims), body);
  input = g_strconcat ("eyJhbGciOiJFUzI1NiJ9." /* {"alg":"ES256"} */, body, NULL);
  g_assert_true (nat_sign_key_sign (w->key, input, strlen (input), signature, &len, NULL));
  nat_base64url_encode (signature, len, text);
  return g_strconcat ("Bearer ", input, ".", text, NULL);
}

/* Takes field over. */
static void
assert_left_to_callback (World *w, char *field, gboolean left)
{
  NatCaller c;

  g_assert_cmpint (check (w, field, &c), ==, left ? NAT_PROBLEM_NONE : NAT_PROBLEM_TOKEN_INVALID);
  g_assert_cmpint (c.unknown, ==, left);
  nat_caller_clear (&c);
  g_free (field);
}

/* What our own key signed is for us to judge, and what looks like ours where there are such. */
static void
test_unknown_is_none_of_ours (void)
{
  NatToken token = {.subject = (char *)"a", .expires_s = G_MAXINT64, .not_before_s = G_MININT64};
  World w = world_new (), stranger = world_new ();
  g_autoptr (NatSignKey) secret = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  g_autoptr (NatSignKey) old = nat_sign_key_generate (NAT_SIGN_HS256, NULL);
  char known[NAT_STATIC_TOKEN_LEN + 1], withdrawn[NAT_STATIC_TOKEN_LEN + 1];
  g_autofree char *username = NULL, *password = NULL, *word = NULL;

  nat_static_token_make (known);
  nat_static_token_make (withdrawn);
  g_assert_true (
      nat_rest_credential_make (old, NOW + 60, "door", &username, &password, &word, NULL));
  nat_auth_set_unknown (w.auth, TRUE);
  assert_left_to_callback (&w, bearer_of_claims (&w, "{\"aud\":\"mail\"}"), FALSE);
  assert_left_to_callback (&w, bearer_of_claims (&w, "{\"publish\":1}"), FALSE);
  assert_left_to_callback (&w, bearer_of_claims (&w, "[]"), FALSE);
  assert_left_to_callback (&w, bearer (&stranger, "Bearer ", &token), TRUE);
  assert_left_to_callback (&w, g_strconcat ("Bearer ", withdrawn, NULL), TRUE);
  assert_left_to_callback (&w, g_strconcat ("Bearer ", word, NULL), TRUE);
  nat_auth_take_static (w.auth, list_of (known, "door", G_MAXINT64));
  take_secret (&w, secret, "cameras/{name}");
  assert_left_to_callback (&w, g_strconcat ("Bearer ", withdrawn, NULL), FALSE);
  assert_left_to_callback (&w, g_strconcat ("Bearer ", word, NULL), FALSE);
  world_clear (&w);
  world_clear (&stranger);
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

/* Whoever makes and ends sessions for hours stays within what an hour allows, however he spreads it. */
static void
test_hour (void)
{
  NatAdmissionLimits limits = {
      .requests_per_second = 50, .requests_burst = 500, .requests_per_hour = 3600};
  NatAdmission *a = nat_admission_new (&limits);
  NatAddress one = address ("192.0.2.1"), two = address ("192.0.2.2");
  guint taken = 0, retry = 0;

  for (gint64 tick = 0; tick < 2 * 3600 * 10; tick++) {
    gint64 now = 1000000 + tick * G_USEC_PER_SEC / 10;

    while (nat_admission_take (a, &one, now, &retry))
      taken++;
    g_assert_cmpuint (retry, >=, 1);
    g_assert_cmpuint (taken, <=, 3600 + tick / 10 + 1);
  }
  g_assert_cmpuint (taken, >=, 3 * 3600 - 2);
  g_assert_true (nat_admission_take (a, &two, G_GINT64_CONSTANT (9000) * G_USEC_PER_SEC, &retry));
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

/* The linker puts this in the place of GLib's. */
gboolean __real_g_hash_table_remove (GHashTable *table, gconstpointer key);
gboolean __wrap_g_hash_table_remove (GHashTable *table, gconstpointer key);

static guint removed;

gboolean
__wrap_g_hash_table_remove (GHashTable *table, gconstpointer key)
{
  removed++;
  return __real_g_hash_table_remove (table, key);
}

/* Those of a flood are good for nothing any more, all at once: who comes then does not wait until all are forgotten. */
static void
test_a_flood_is_forgotten_in_turns (void)
{
  NatAdmissionLimits limits = {.requests_per_second = 1, .requests_burst = 100};
  NatAdmission *a = nat_admission_new (&limits);
  NatAddress peer = address ("10.0.0.0");
  guint retry, takes = 0;

  for (guint i = 0; i < 1000; i++) {
    guint32 ip = GUINT32_TO_BE (i);

    memcpy (peer.ip, &ip, 4);
    g_assert_true (nat_admission_take (a, &peer, 1, &retry));
  }
  do {
    removed = 0;
    g_assert_true (nat_admission_take (a, &peer, 1000 * G_USEC_PER_SEC, &retry));
    g_assert_cmpuint (removed, <=, 16);
    takes++;
  } while (removed > 0);
  g_assert_cmpuint (takes, >, 1000 / 16);
  nat_admission_free (a);
}

/* NULL: it may; else the limit's name. */
static const char *
enter (NatAdmission *a, const NatAddress *peer, const char *subject, NatRole role)
{
  const char *limit = "unset";
  NatProblemKind problem = nat_admission_enter (a, &(NatEntrant){peer, subject, role}, &limit);

  g_assert_true ((problem == NAT_PROBLEM_NONE) == (limit == NULL));
  if (limit != NULL)
    g_assert_cmpint (problem, ==,
        strchr (limit + 4, '-') ? NAT_PROBLEM_TOO_MANY_SESSIONS : NAT_PROBLEM_RELAY_FULL);
  return limit;
}

static void
test_quotas (void)
{
  NatAdmissionLimits limits = {.sessions = 4, .sessions_per_subject = 2, .sessions_per_address = 3};
  NatAdmission *a = nat_admission_new (&limits);
  NatAddress one = address ("192.0.2.1"), two = address ("192.0.2.2");
  const NatRole role = NAT_ROLE_SUBSCRIBER;

  g_assert_null (enter (a, &one, "ann", role));
  g_assert_null (enter (a, &one, "ann", role));
  g_assert_cmpstr (enter (a, &two, "ann", role), ==, "max-sessions-per-subject");
  g_assert_null (enter (a, &one, "bob", role));
  g_assert_cmpstr (enter (a, &one, "cat", role), ==, "max-sessions-per-address");
  g_assert_null (enter (a, &two, "", role));
  g_assert_cmpstr (enter (a, &two, "", role), ==, "max-sessions");
  g_assert_null (enter (a, NULL, "ann", role)); /* came back */
  nat_admission_leave (a, &(NatEntrant){NULL, "ann", role});
  nat_admission_leave (a, &(NatEntrant){&one, "ann", role});
  g_assert_null (enter (a, &two, "ann", role));
  nat_admission_free (a);
}

/* Of streams only publishers are counted, and they are sessions as well. */
static void
test_stream_quotas (void)
{
  NatAdmissionLimits limits = {.streams = 4, .streams_per_subject = 2, .streams_per_address = 3};
  NatAdmission *a = nat_admission_new (&limits);
  NatAddress one = address ("192.0.2.1"), two = address ("192.0.2.2");
  const NatRole role = NAT_ROLE_PUBLISHER;

  for (guint i = 0; i < 10; i++)
    g_assert_null (enter (a, &one, "ann", NAT_ROLE_SUBSCRIBER));
  g_assert_null (enter (a, &one, "ann", role));
  g_assert_null (enter (a, &one, "ann", role));
  g_assert_cmpstr (enter (a, &two, "ann", role), ==, "max-streams-per-subject");
  g_assert_null (enter (a, &one, "bob", role));
  g_assert_cmpstr (enter (a, &one, "cat", role), ==, "max-streams-per-address");
  g_assert_null (enter (a, &two, "cat", role));
  g_assert_cmpstr (enter (a, &two, "dot", role), ==, "max-streams");
  nat_admission_leave (a, &(NatEntrant){&one, "ann", role});
  g_assert_null (enter (a, &two, "ann", role));
  g_assert_null (enter (a, &two, "ann", NAT_ROLE_SUBSCRIBER));
  nat_admission_free (a);
}

/* What a subject may ask for in an hour, from however many addresses. */
static void
test_subject_hour (void)
{
  NatAdmissionLimits limits = {.requests_per_hour_per_subject = 3600};
  NatAdmission *a = nat_admission_new (&limits);
  gint64 now = 1000000;
  guint retry = 0;

  for (guint i = 0; i < 3600; i++)
    g_assert_true (nat_admission_take_subject (a, "ann", now, &retry));
  g_assert_false (nat_admission_take_subject (a, "ann", now, &retry));
  g_assert_cmpuint (retry, ==, 1);
  g_assert_true (nat_admission_take_subject (a, "bob", now, &retry));
  g_assert_true (nat_admission_take_subject (a, "ann", now + 1000000, &retry));
  g_assert_false (nat_admission_take_subject (a, "ann", now + 1000000, &retry));
  for (guint i = 0; i < 10000; i++)
    g_assert_true (nat_admission_take_subject (a, "", now, &retry));
  nat_admission_free (a);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/auth/key_withdrawn", test_key_withdrawn);
  g_test_add_func ("/auth/key_withdrawn_by_its_issuer", test_key_withdrawn_by_its_issuer);
  g_test_add_func ("/auth/lacks_key", test_lacks_key);
  g_test_add_func ("/auth/static_tokens", test_static_tokens);
  g_test_add_func ("/auth/credentials", test_credentials);
  g_test_add_func ("/auth/unknown", test_unknown);
  g_test_add_func ("/auth/unknown_is_none_of_ours", test_unknown_is_none_of_ours);
  g_test_add_func ("/auth/tokens", test_tokens);
  g_test_add_func ("/auth/never-expires", test_never_expires);
  g_test_add_func ("/auth/owners", test_owners);
  g_test_add_func ("/auth/open", test_open);
  g_test_add_func ("/admission/buckets", test_buckets);
  g_test_add_func ("/admission/hour", test_hour);
  g_test_add_func ("/admission/many-addresses", test_many_addresses);
  g_test_add_func ("/admission/flood-in-turns", test_a_flood_is_forgotten_in_turns);
  g_test_add_func ("/admission/quotas", test_quotas);
  g_test_add_func ("/admission/stream-quotas", test_stream_quotas);
  g_test_add_func ("/admission/subject-hour", test_subject_hour);
  return g_test_run ();
}
