/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/whereabouts.h"

#include <string.h>
#include <unistd.h>

#include "natserver/statedir.h"

/* The first that others can reach too, if there is one. */
static const NatAddress *
address_for_uri (const NatWhereabouts *w)
{
  for (guint i = 0; i < w->n_listen; i++) {
    if (!nat_address_is_loopback (&w->local[i]))
      return &w->local[i];
  }
  return &w->local[0];
}

/* What can be pasted on this machine and, where possible, on others. */
static char *
host_for_uri (const NatWhereabouts *w, const NatAddress *address)
{
  char text[NAT_ADDRESS_TEXT_MAX];

  if (w->config->n_public > 0 || nat_address_is_any (address))
    return nat_credentials_host (w->config);
  nat_address_to_text (address, text);
  *strrchr (text, ':') = '\0';
  return g_strdup (text);
}

static char *
make_uri (const NatWhereabouts *w, const char *token)
{
  const NatAddress *address = address_for_uri (w);
  g_autofree char *host = host_for_uri (w, address);
  GString *uri = g_string_new ("natrelay://");

  g_string_append (uri, host);
  if (address->port != NAT_DEFAULT_PORT)
    g_string_append_printf (uri, ":%u", address->port);
  g_string_append_printf (
      uri, "/test?tls-fingerprint=%s", nat_tls_identity_fingerprint (w->identity));
  if (token != NULL)
    g_string_append_printf (uri, "&auth-token=%s", token);
  return g_string_free (uri, FALSE);
}

static void
print_launch_lines (const NatWhereabouts *w, FILE *out, const char *publish, const char *subscribe)
{
  g_autofree char *to = make_uri (w, publish);
  g_autofree char *from = make_uri (w, subscribe);

  fprintf (out,
      "gst-launch-1.0 videotestsrc is-live=true ! videoconvert ! x264enc tune=zerolatency "
      "key-int-max=60 ! natrelaysink uri='%s'\n",
      to);
  fprintf (out, "gst-launch-1.0 natrelaysrc uri='%s' ! decodebin ! videoconvert ! autovideosink\n",
      from);
}

gboolean
nat_whereabouts_print (const NatWhereabouts *w, FILE *out, gboolean secrets, GError **error)
{
  g_autofree char *publish = NULL;
  g_autofree char *subscribe = NULL;

  for (guint i = 0; i < w->n_listen; i++) {
    char text[NAT_ADDRESS_TEXT_MAX];

    fprintf (out, "listening=%s\n", nat_address_to_text (&w->local[i], text));
  }
  fprintf (out, "tls-fingerprint=%s\n", nat_tls_identity_fingerprint (w->identity));
  if (w->config->open == NAT_OPEN_NO) {
    publish = nat_credentials_default_token (w->dir, w->token_key, NAT_ROLE_PUBLISHER, error);
    subscribe =
        publish ? nat_credentials_default_token (w->dir, w->token_key, NAT_ROLE_SUBSCRIBER, error)
                : NULL;
    if (subscribe == NULL)
      return FALSE;
    if (!secrets) {
      fprintf (out, "tokens are in %s: publish-token, subscribe-token\n", w->dir);
      return TRUE;
    }
    fprintf (out, "publish-token=%s\nsubscribe-token=%s\n", publish, subscribe);
  }
  print_launch_lines (w, out, publish, subscribe);
  return TRUE;
}

/* An address at which this machine reaches us. */
gboolean
nat_whereabouts_leave (const NatWhereabouts *w, GError **error)
{
  g_autofree char *path = g_build_filename (w->dir, NAT_STATE_RUNNING, NULL);
  g_autofree char *text = NULL;
  NatAddress address = w->local[0];
  char where[NAT_ADDRESS_TEXT_MAX];

  for (guint i = 0; i < w->n_listen; i++) {
    if (nat_address_is_any (&w->local[i]) || nat_address_is_loopback (&w->local[i])) {
      address = w->local[i];
      break;
    }
  }
  nat_address_to_text (&address, where);
  if (nat_address_is_any (&address))
    g_snprintf (
        where, sizeof where, "%s:%u", address.family == 6 ? "[::1]" : "127.0.0.1", address.port);
  text = g_strdup_printf (
      "address=%s\ntls-fingerprint=%s\n", where, nat_tls_identity_fingerprint (w->identity));
  return g_file_set_contents_full (path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error);
}

void
nat_whereabouts_remove (const char *dir)
{
  g_autofree char *path = g_build_filename (dir, NAT_STATE_RUNNING, NULL);

  unlink (path);
}
