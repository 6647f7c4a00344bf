/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The first byte chooses what the rest is: the text of a USERNAME, the bytes under a
 * genuine seal (which a cluster's other version may have written), or a nonce. */

#include "natproto/ticket.h"

#include <string.h>

#include "natproto/challenge.h"
#include "natproto/crypto.h"

#define NOW G_GINT64_CONSTANT (1790000000)

int LLVMFuzzerTestOneInput (const guint8 *data, size_t size);

static const guint8 secret[32] = "the secret of this fuzz target.";

static void
open_text (NatSecrets *secrets, const char *text, gsize len)
{
  char again[NAT_TICKET_TEXT_MAX + 1];
  NatTicket ticket, same;
  guint8 iv[12] = {0};

  if (nat_ticket_open (secrets, text, len, NOW, &ticket) == NAT_TICKET_FOREIGN)
    return;
  /* What opened fits its fields, and can be sealed and opened again. */
  if (memchr (ticket.subject, 0, sizeof ticket.subject) == NULL ||
      memchr (ticket.stream, 0, sizeof ticket.stream) == NULL)
    g_error ("a text without its end");
  len = nat_ticket_seal (secrets, &ticket, iv, again);
  if (len == 0 || len > NAT_TICKET_TEXT_MAX ||
      nat_ticket_open (secrets, again, len, G_MININT64, &same) == NAT_TICKET_FOREIGN ||
      strcmp (same.stream, ticket.stream) != 0 || strcmp (same.subject, ticket.subject) != 0)
    g_error ("a ticket that does not come back");
}

static void
open_sealed (NatSecrets *secrets, const guint8 *plain, gsize len)
{
  g_autofree guint8 *sealed = g_malloc0 (16 + len + NAT_AEAD_TAG_SIZE);
  g_autofree char *text = g_malloc (NAT_BASE64URL_LEN (16 + len + NAT_AEAD_TAG_SIZE) + 1);
  g_autoptr (NatAead) aead = NULL;
  guint8 key[32];

  nat_crypto_hkdf (
      secret, sizeof secret, NULL, 0, NAT_LABEL_TICKET, strlen (NAT_LABEL_TICKET), key, sizeof key);
  aead = nat_aead_new (key, sizeof key);
  sealed[3] = 1; /* the secret's number */
  if (!nat_aead_seal (aead, sealed + 4, sealed, 4, plain, len, sealed + 16))
    g_error ("sealing failed");
  len = nat_base64url_encode (sealed, 16 + len + NAT_AEAD_TAG_SIZE, text);
  open_text (secrets, text, len);
}

static void
check_nonce (const guint8 *nonce, gsize len)
{
  g_autoptr (NatChallenge) challenge = nat_challenge_new (secret);
  NatAddress remote, local;
  gint64 issued;

  nat_address_from_text (&remote, "192.0.2.1:5000", 0);
  nat_address_from_text (&local, "203.0.113.9:8443", 0);
  nat_challenge_check (challenge, NOW, &remote, &local, nonce, len, &issued);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, size_t size)
{
  g_autoptr (NatSecrets) secrets = nat_secrets_new ();
  guint8 id[NAT_SESSION_ID_SIZE];

  if (size == 0)
    return 0;
  nat_secrets_add (secrets, 1, secret);
  nat_session_id_from_text ((const char *)data + 1, (gssize)size - 1, id);
  switch (data[0] % 3) {
  case 0: open_text (secrets, (const char *)data + 1, size - 1); break;
  case 1: open_sealed (secrets, data + 1, size - 1); break;
  default: check_nonce (data + 1, size - 1); break;
  }
  return 0;
}
