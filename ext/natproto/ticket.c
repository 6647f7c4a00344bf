/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/ticket.h"

#include <string.h>

#include "natproto/bytes.h"
#include "natproto/crypto.h"

/* The bytes under the seal: format 2, then the fields of NatTicket in its order, integers
 * big-endian, the two texts at the end, each with its length in front. */
#define FORMAT      2
#define FIXED_SIZE  (1 + NAT_SESSION_ID_SIZE + 1 + 4 + 8 + 8 + 4 + 4 + 1 + NAT_VOUCHER_SIZE)
#define SUBJECT_MAX (sizeof ((NatTicket *)NULL)->subject - 1)
#define PLAIN_MAX   (FIXED_SIZE + 1 + SUBJECT_MAX + 1 + NAT_STREAM_NAME_MAX)

#define NUMBER_SIZE 4
#define IV_SIZE     NAT_AEAD_NONCE_SIZE
#define HEAD_SIZE   (NUMBER_SIZE + IV_SIZE)
#define SEALED_MAX  (HEAD_SIZE + PLAIN_MAX + NAT_AEAD_TAG_SIZE)

G_STATIC_ASSERT (NAT_BASE64URL_LEN (SEALED_MAX) <= NAT_TICKET_TEXT_MAX);

/* ---- Secrets ----------------------------------------------------------- */

/* A secret is kept as HKDF's pseudo-random key and the ticket key that comes from it; the
 * bytes it came from are not needed again. */
typedef struct {
  guint32 number;
  guint8 prk[NAT_SHA256_SIZE];
  guint8 ticket_key[32];
} Secret;

struct _NatSecrets {
  Secret *list; /* grown by hand, so that no old copy of a key stays in freed memory */
  gsize n;
};

NatSecrets *
nat_secrets_new (void)
{
  return g_new0 (NatSecrets, 1);
}

static void
replace_list (NatSecrets *s, Secret *list, gsize n)
{
  nat_crypto_wipe (s->list, s->n * sizeof *s->list);
  g_free (s->list);
  s->list = list;
  s->n = n;
}

static Secret *
find_secret (NatSecrets *s, guint32 number)
{
  for (gsize i = 0; i < s->n; i++) {
    if (s->list[i].number == number)
      return &s->list[i];
  }
  return NULL;
}

void
nat_secrets_add (NatSecrets *s, guint32 number, const guint8 secret[32])
{
  Secret *entry = find_secret (s, number);

  g_return_if_fail (number != 0);
  if (entry == NULL) {
    Secret *list = g_new0 (Secret, s->n + 1);

    if (s->n > 0)
      memcpy (list, s->list, s->n * sizeof *list);
    replace_list (s, list, s->n + 1);
    entry = &list[s->n - 1];
    entry->number = number;
  }
  nat_crypto_hkdf_extract (NAT_HASH_SHA256, NULL, 0, secret, 32, entry->prk);
  nat_crypto_hkdf_expand (NAT_HASH_SHA256, entry->prk, NAT_LABEL_TICKET, strlen (NAT_LABEL_TICKET),
      entry->ticket_key, sizeof entry->ticket_key);
}

guint32
nat_secrets_current (NatSecrets *s)
{
  guint32 highest = 0;

  for (gsize i = 0; i < s->n; i++)
    highest = MAX (highest, s->list[i].number);
  return highest;
}

void
nat_secrets_free (NatSecrets *s)
{
  if (s == NULL)
    return;
  replace_list (s, NULL, 0);
  g_free (s);
}

/* ---- Fields ------------------------------------------------------------ */

static guint8 *
put (guint8 *p, guint64 value, guint bytes)
{
  nat_write_be (p, value, bytes);
  return p + bytes;
}

static guint8 *
put_text (guint8 *p, const char *text, gsize max)
{
  gsize len = strnlen (text, max);

  *p++ = (guint8)len;
  memcpy (p, text, len);
  return p + len;
}

static guint64
get (const guint8 **p, guint bytes)
{
  guint64 value = nat_read_be (*p, bytes);

  *p += bytes;
  return value;
}

/* FALSE if the text runs over end, is longer than max or would end early as a C string. */
static gboolean
get_text (const guint8 **p, const guint8 *end, char *out, gsize max)
{
  gsize len;

  if (*p == end)
    return FALSE;
  len = *(*p)++;
  if (len > max || len > (gsize)(end - *p) || memchr (*p, 0, len) != NULL)
    return FALSE;
  memcpy (out, *p, len);
  out[len] = '\0';
  *p += len;
  return TRUE;
}

static gsize
pack (const NatTicket *t, guint8 plain[PLAIN_MAX])
{
  guint8 *p = put (plain, FORMAT, 1);

  memcpy (p, t->session_id, NAT_SESSION_ID_SIZE);
  p = put (p + NAT_SESSION_ID_SIZE, t->role, 1);
  p = put (p, t->password_secret, 4);
  p = put (p, (guint64)MIN (t->expires_s, t->token_expires_s), 8);
  p = put (p, (guint64)t->token_expires_s, 8);
  p = put (p, t->max_kbps, 4);
  p = put (p, t->max_packets, 4);
  p = put (p, t->takeover != 0, 1);
  memcpy (p, t->voucher.bytes, NAT_VOUCHER_SIZE);
  p += NAT_VOUCHER_SIZE;
  p = put_text (p, t->subject, SUBJECT_MAX);
  p = put_text (p, t->stream, NAT_STREAM_NAME_MAX);
  return (gsize)(p - plain);
}

/* What comes out of a genuine seal was packed by us, or by another version of us. */
static gboolean
unpack (NatTicket *t, const guint8 *plain, gsize len)
{
  const guint8 *p = plain, *end = plain + len;

  memset (t, 0, sizeof *t);
  if (len < FIXED_SIZE || get (&p, 1) != FORMAT)
    return FALSE;
  memcpy (t->session_id, p, NAT_SESSION_ID_SIZE);
  p += NAT_SESSION_ID_SIZE;
  t->role = (NatRole)get (&p, 1);
  t->password_secret = (guint32)get (&p, 4);
  t->expires_s = (gint64)get (&p, 8);
  t->token_expires_s = (gint64)get (&p, 8);
  t->max_kbps = (guint32)get (&p, 4);
  t->max_packets = (guint32)get (&p, 4);
  t->takeover = (guint8)get (&p, 1);
  memcpy (t->voucher.bytes, p, NAT_VOUCHER_SIZE);
  p += NAT_VOUCHER_SIZE;
  return (t->role == NAT_ROLE_PUBLISHER || t->role == NAT_ROLE_SUBSCRIBER) &&
         get_text (&p, end, t->subject, SUBJECT_MAX) &&
         get_text (&p, end, t->stream, NAT_STREAM_NAME_MAX) && p == end;
}

/* ---- Seal and open ----------------------------------------------------- */

/* A NatAead belongs to one thread and these secrets to all of them. Making one for each
 * ticket costs some 200 ns in GnuTLS, once in a session's life on a relay that forgot it;
 * a lock around a kept one would make every worker wait for the others instead. */
static gboolean
seal (const Secret *secret, guint8 *sealed, const guint8 *plain, gsize len)
{
  g_autoptr (NatAead) aead = nat_aead_new (secret->ticket_key, sizeof secret->ticket_key);

  return nat_aead_seal (
      aead, sealed + NUMBER_SIZE, sealed, NUMBER_SIZE, plain, len, sealed + HEAD_SIZE);
}

static gboolean
open_sealed (const Secret *secret, const guint8 *sealed, gsize len, guint8 *plain)
{
  g_autoptr (NatAead) aead = nat_aead_new (secret->ticket_key, sizeof secret->ticket_key);

  return nat_aead_open (
      aead, sealed + NUMBER_SIZE, sealed, NUMBER_SIZE, sealed + HEAD_SIZE, len - HEAD_SIZE, plain);
}

gsize
nat_ticket_seal (NatSecrets *s, const NatTicket *ticket, const guint8 iv[12], char *text)
{
  const Secret *secret = find_secret (s, nat_secrets_current (s));
  guint8 plain[PLAIN_MAX], sealed[SEALED_MAX];
  gsize len;

  text[0] = '\0';
  g_return_val_if_fail (secret != NULL, 0);
  len = pack (ticket, plain);
  nat_write_u32 (sealed, secret->number);
  memcpy (sealed + NUMBER_SIZE, iv, IV_SIZE);
  if (!seal (secret, sealed, plain, len))
    g_error ("AES-GCM failed to seal a ticket");
  return nat_base64url_encode (sealed, HEAD_SIZE + len + NAT_AEAD_TAG_SIZE, text);
}

NatTicketStatus
nat_ticket_open (NatSecrets *s, const char *text, gsize len, gint64 now_s, NatTicket *ticket)
{
  guint8 sealed[SEALED_MAX], plain[PLAIN_MAX];
  gssize n = nat_base64url_decode (text, len, sealed, sizeof sealed);
  const Secret *secret;

  if (n < (gssize)(HEAD_SIZE + FIXED_SIZE + NAT_AEAD_TAG_SIZE))
    return NAT_TICKET_FOREIGN;
  secret = find_secret (s, nat_read_u32 (sealed));
  if (secret == NULL || !open_sealed (secret, sealed, (gsize)n, plain) ||
      !unpack (ticket, plain, (gsize)n - HEAD_SIZE - NAT_AEAD_TAG_SIZE))
    return NAT_TICKET_FOREIGN;
  return now_s >= ticket->expires_s ? NAT_TICKET_EXPIRED : NAT_TICKET_GOOD;
}

gboolean
nat_ticket_password (NatSecrets *s, guint32 number, const guint8 session_id[NAT_SESSION_ID_SIZE],
    char password[NAT_PASSWORD_TEXT + 1])
{
  const Secret *secret = find_secret (s, number);
  guint8 info[sizeof NAT_LABEL_PASSWORD - 1 + NAT_SESSION_ID_SIZE];
  guint8 bytes[NAT_PASSWORD_SIZE];

  if (secret == NULL)
    return FALSE;
  memcpy (info, NAT_LABEL_PASSWORD, sizeof NAT_LABEL_PASSWORD - 1);
  memcpy (info + sizeof NAT_LABEL_PASSWORD - 1, session_id, NAT_SESSION_ID_SIZE);
  nat_crypto_hkdf_expand (NAT_HASH_SHA256, secret->prk, info, sizeof info, bytes, sizeof bytes);
  nat_base64url_encode (bytes, sizeof bytes, password);
  nat_crypto_wipe (bytes, sizeof bytes);
  return TRUE;
}

/* ---- The id as text ---------------------------------------------------- */

gboolean
nat_subject_is_named (const char *subject)
{
  return *subject != '\0' && !g_str_has_prefix (subject, NAT_SUBJECT_OF_TOKEN);
}

void
nat_session_id_to_text (const guint8 id[NAT_SESSION_ID_SIZE], char text[NAT_SESSION_ID_TEXT + 1])
{
  nat_base64url_encode (id, NAT_SESSION_ID_SIZE, text);
}

gboolean
nat_session_id_from_text (const char *text, gssize len, guint8 id[NAT_SESSION_ID_SIZE])
{
  return nat_base64url_decode (text, len < 0 ? strlen (text) : (gsize)len, id,
             NAT_SESSION_ID_SIZE) == NAT_SESSION_ID_SIZE;
}
