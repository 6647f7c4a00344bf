/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/statictoken.h"

#include <string.h>

#include "natproto/error.h"
#include "natproto/hex.h"

#define HASH_TEXT (2 * NAT_SHA256_SIZE)

struct _NatStaticTokens {
  GHashTable *by_voucher; /* NatVoucher in the token -> NatToken */
};

void
nat_static_token_make (char text[NAT_STATIC_TOKEN_LEN + 1])
{
  guint8 bytes[32];

  nat_crypto_random (bytes, sizeof bytes);
  memcpy (text, NAT_STATIC_TOKEN_PREFIX, strlen (NAT_STATIC_TOKEN_PREFIX));
  nat_base64url_encode (bytes, sizeof bytes, text + strlen (NAT_STATIC_TOKEN_PREFIX));
  nat_crypto_wipe (bytes, sizeof bytes);
}

char *
nat_static_token_line (const char *text, const NatToken *claims, GError **error)
{
  g_autofree char *json = nat_token_to_claims (claims);
  guint8 hash[NAT_SHA256_SIZE];
  char digits[HASH_TEXT + 1];
  NatToken check;

  /* What the relay would refuse is not written. */
  if (!nat_token_from_claims (&check, json, error))
    return NULL;
  nat_token_clear (&check);
  nat_crypto_sha256 (text, strlen (text), hash);
  nat_hex_encode (hash, sizeof hash, digits);
  return g_strconcat (digits, " ", json, NULL);
}

/* ---- The list ---------------------------------------------------------- */

static guint
voucher_hash (gconstpointer v)
{
  guint h;

  memcpy (&h, &((const NatVoucher *)v)->bytes[1], sizeof h); /* SHA-256 of a random word */
  return h;
}

static gboolean
voucher_equal (gconstpointer a, gconstpointer b)
{
  return nat_voucher_equal (a, b);
}

static void
token_free (gpointer data)
{
  nat_token_clear (data);
  g_free (data);
}

static NatToken *
parse_line (const char *line, GError **error)
{
  guint8 hash[NAT_SHA256_SIZE];
  NatToken *t;

  if (!nat_hex_decode (line, hash, sizeof hash) || line[HASH_TEXT] != ' ') {
    nat_error_set (error, NAT_ERROR_MALFORMED,
        "it must begin with 64 hex digits and a blank, and go on with claims: "
        "{\"publish\":[\"door\"]}");
    return NULL;
  }
  t = g_new0 (NatToken, 1);
  if (!nat_token_from_claims (t, line + HASH_TEXT + 1, error)) {
    g_free (t);
    return NULL;
  }
  nat_voucher_make (&t->voucher, NAT_VOUCHER_STATIC, hash, sizeof hash);
  return t;
}

static gboolean
add_line (NatStaticTokens *tokens, const char *line, GError **error)
{
  NatToken *t;

  if (*line == '\0' || *line == '#')
    return TRUE;
  t = parse_line (line, error);
  if (t == NULL)
    return FALSE;
  if (g_hash_table_contains (tokens->by_voucher, &t->voucher)) {
    token_free (t);
    return nat_error_set (error, NAT_ERROR_MALFORMED, "the same token stands further up");
  }
  g_hash_table_insert (tokens->by_voucher, &t->voucher, t);
  return TRUE;
}

NatStaticTokens *
nat_static_tokens_parse (const char *list, GError **error)
{
  g_autoptr (NatStaticTokens) tokens = g_new0 (NatStaticTokens, 1);
  g_auto (GStrv) lines = g_strsplit (list, "\n", -1);

  tokens->by_voucher = g_hash_table_new_full (voucher_hash, voucher_equal, NULL, token_free);
  for (guint i = 0; lines[i] != NULL; i++) {
    if (!add_line (tokens, g_strstrip (lines[i]), error)) {
      g_prefix_error (error, "line %u: ", i + 1);
      return NULL;
    }
  }
  return g_steal_pointer (&tokens);
}

void
nat_static_tokens_free (NatStaticTokens *tokens)
{
  if (tokens == NULL)
    return;
  g_hash_table_unref (tokens->by_voucher);
  g_free (tokens);
}

const NatToken *
nat_static_tokens_find (NatStaticTokens *tokens, const NatVoucher *voucher)
{
  return g_hash_table_lookup (tokens->by_voucher, voucher);
}

gboolean
nat_static_tokens_check (
    NatStaticTokens *tokens, const char *text, gint64 now_s, NatToken *t, GError **error)
{
  guint8 hash[NAT_SHA256_SIZE];
  const NatToken *known;
  NatVoucher voucher;

  nat_crypto_sha256 (text, strlen (text), hash);
  nat_voucher_make (&voucher, NAT_VOUCHER_STATIC, hash, sizeof hash);
  known = nat_static_tokens_find (tokens, &voucher);
  if (known == NULL)
    return nat_error_set (error, NAT_ERROR_AUTHENTICATION,
        "The access token is refused: it is none of this relay's static tokens; its line is new "
        "and "
        "the relay has not read it yet (reload it), it was withdrawn, or cut when it was copied");
  if (!nat_token_in_force (known, now_s, error))
    return FALSE;
  nat_token_copy (t, known);
  return TRUE;
}
