/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* docs/PROTOCOL.md shows one registration in bytes. This test makes the four messages from fixed
 * inputs, finds each of them in the page, and verifies what the page says about them.
 * With --print it prints the blocks that belong there. */

#include <stdio.h>
#include <string.h>

#include "natproto/challenge.h"
#include "natproto/stunauth.h"
#include "natproto/ticket.h"

#define SECTION     "### 3.4 One registration in bytes"
#define MESSAGE_MAX 1024

typedef struct {
  const char *title;
  guint8 bytes[MESSAGE_MAX];
  gsize len;
} Message;

enum { FIRST, CHALLENGE, ANSWER, SUCCESS, N_MESSAGES };

typedef struct {
  NatSecrets *secrets;
  char username[NAT_TICKET_TEXT_MAX + 1];
  char password[NAT_PASSWORD_TEXT + 1];
  guint8 key[NAT_STUN_KEY_SIZE];
  guint8 boot_id[NAT_BOOT_ID_SIZE], epoch[NAT_EPOCH_SIZE];
  NatAddress client, relay;
  Message messages[N_MESSAGES];
} Example;

static void
fill (guint8 *out, gsize len, guint8 first)
{
  for (gsize i = 0; i < len; i++)
    out[i] = (guint8)(first + i);
}

static void
make_credentials (Example *e)
{
  NatTicket ticket = {.role = NAT_ROLE_PUBLISHER,
      .password_secret = 1,
      .expires_s = 1893456000,
      .token_expires_s = G_MAXINT64,
      .subject = "publisher",
      .stream = "door"};
  guint8 secret[32], iv[12];

  fill (secret, sizeof secret, 0x00);
  fill (iv, sizeof iv, 0x40);
  fill (ticket.session_id, sizeof ticket.session_id, 0x60);
  fill (e->boot_id, sizeof e->boot_id, 0x80);
  fill (e->epoch, sizeof e->epoch, 0xa0);
  nat_address_from_text (&e->client, "198.51.100.7:40000", 0);
  nat_address_from_text (&e->relay, "203.0.113.1:8443", 0);
  e->secrets = nat_secrets_new ();
  nat_secrets_add (e->secrets, 1, secret);
  nat_ticket_seal (e->secrets, &ticket, iv, e->username);
  g_assert_true (nat_ticket_password (e->secrets, 1, ticket.session_id, e->password));
  nat_stun_key (e->username, strlen (e->username), NAT_REALM, e->password, e->key);
}

static void
begin (NatStunWriter *w, Message *m, const char *title, guint16 type, guint8 transaction)
{
  guint8 id[12];

  m->title = title;
  fill (id, sizeof id, transaction);
  nat_stun_writer_init (w, m->bytes, sizeof m->bytes, type, id);
}

static void
make_challenge (Example *e)
{
  guint8 key[32];
  char nonce[NAT_NONCE_LEN + 1];
  NatStunWriter w;

  begin (&w, &e->messages[FIRST], "1. The client's first request", NAT_STUN_BINDING_REQUEST, 0x10);
  nat_stun_writer_pad_to (&w, 160, NAT_STUN_FINGERPRINT_SIZE);
  e->messages[FIRST].len = nat_stun_writer_finish (&w);

  fill (key, sizeof key, 0x20);
  {
    g_autoptr (NatChallenge) challenge = nat_challenge_new (key);
    nat_challenge_issue (challenge, 1000000, &e->client, &e->relay, nonce);
  }
  begin (&w, &e->messages[CHALLENGE], "2. The relay's challenge", NAT_STUN_BINDING_ERROR, 0x10);
  nat_stun_writer_add_error (&w, 401, "Unauthenticated");
  nat_stunauth_add_challenge (&w, nonce);
  e->messages[CHALLENGE].len = nat_stun_writer_finish (&w);
}

static void
make_answer (Example *e)
{
  NatStunMessage msg;
  NatStunAuthChallenge challenge;
  NatStunWriter w;

  g_assert_cmpint (nat_stun_parse (&msg, e->messages[CHALLENGE].bytes, e->messages[CHALLENGE].len),
      ==, NAT_STUN_OK);
  g_assert_true (nat_stunauth_challenge (&msg, &challenge));
  begin (&w, &e->messages[ANSWER], "3. The client's answer", NAT_STUN_BINDING_REQUEST, 0x30);
  nat_stunauth_add_answer (&w, e->username, &challenge);
  nat_stun_writer_add (&w, NAT_ATTR_EPOCH, e->epoch, sizeof e->epoch);
  nat_stun_writer_add_flag (&w, NAT_ATTR_USE_CANDIDATE);
  nat_stun_writer_add_integrity (&w, e->key, sizeof e->key);
  e->messages[ANSWER].len = nat_stun_writer_finish (&w);

  begin (&w, &e->messages[SUCCESS], "4. The relay's success", NAT_STUN_BINDING_SUCCESS, 0x30);
  nat_stun_writer_add_mapped_address (&w, &e->client);
  nat_stun_writer_add (&w, NAT_ATTR_BOOT_ID, e->boot_id, sizeof e->boot_id);
  nat_stun_writer_add_u32 (&w, NAT_ATTR_VERSION, 1);
  nat_stun_writer_add_integrity (&w, e->key, sizeof e->key);
  e->messages[SUCCESS].len = nat_stun_writer_finish (&w);
}

static void
print_message (const Message *m)
{
  printf ("%s, %" G_GSIZE_FORMAT " bytes:\n", m->title, m->len);
  for (gsize i = 0; i < m->len; i++)
    printf ("%s%02x", i % 32 == 0 ? "\n    " : i % 4 == 0 ? " " : "", m->bytes[i]);
  printf ("\n\n");
}

/* The hex digits of the section, in one run, so that line breaks do not matter. */
static char *
page_digits (const char *page)
{
  const char *start = strstr (page, SECTION);
  const char *end = start == NULL ? NULL : strstr (start, "\n## ");
  GString *digits = g_string_new (NULL);
  g_auto (GStrv) lines = NULL;

  g_assert_nonnull (end);
  {
    g_autofree char *section = g_strndup (start, end - start);
    lines = g_strsplit (section, "\n", -1);
  }
  for (char **line = lines; *line != NULL; line++) {
    if (!g_str_has_prefix (*line, "    "))
      g_string_append_c (digits, '/');
    else
      for (const char *c = *line; *c != '\0'; c++)
        if (*c != ' ')
          g_string_append_c (digits, *c);
  }
  return g_string_free (digits, FALSE);
}

static Example example;

static void
test_page (void)
{
  g_autofree char *path =
      g_build_filename (g_getenv ("MESON_SOURCE_ROOT"), "docs", "PROTOCOL.md", NULL);
  g_autofree char *page = NULL, *digits = NULL;
  g_autoptr (GError) error = NULL;

  g_file_get_contents (path, &page, NULL, &error);
  g_assert_no_error (error);
  digits = page_digits (page);
  g_assert_nonnull (strstr (page, example.password));
  for (guint i = 0; i < N_MESSAGES; i++) {
    GString *hex = g_string_new ("/");
    for (gsize b = 0; b < example.messages[i].len; b++)
      g_string_append_printf (hex, "%02x", example.messages[i].bytes[b]);
    g_string_append_c (hex, '/');
    if (strstr (digits, hex->str) == NULL)
      g_error ("PROTOCOL.md lacks message %u; run this test with --print", i + 1);
    g_string_free (hex, TRUE);
  }
}

static void
test_verifies (void)
{
  NatStunMessage msg;

  for (guint i = ANSWER; i <= SUCCESS; i++) {
    Message *m = &example.messages[i];
    g_assert_cmpint (nat_stun_parse (&msg, m->bytes, m->len), ==, NAT_STUN_OK);
    g_assert_true (nat_stun_verify (&msg, example.key, sizeof example.key));
  }
  g_assert_cmpuint (example.messages[CHALLENGE].len, <=, example.messages[FIRST].len);
}

int
main (int argc, char **argv)
{
  make_credentials (&example);
  make_challenge (&example);
  make_answer (&example);
  if (argc > 1 && strcmp (argv[1], "--print") == 0) {
    printf ("password %s\n\n", example.password);
    for (guint i = 0; i < N_MESSAGES; i++)
      print_message (&example.messages[i]);
    return 0;
  }
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/protocol-example/page", test_page);
  g_test_add_func ("/protocol-example/verifies", test_verifies);
  return g_test_run ();
}
