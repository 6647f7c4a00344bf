/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "natclient/cause.h"

#include <string.h>

#define TEXT_MAX 900 /* bytes; a relay's reason is a sentence, a stranger's may be anything */

/* Much of it are the words of whoever answered: they go to terminals, and into messages that take UTF-8 alone. Takes text. */
static char *
plain (char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, (gssize)strnlen (text, TEXT_MAX));
  GString *out = g_string_sized_new (strlen (valid));

  for (const char *c = valid; *c != '\0'; c = g_utf8_next_char (c)) {
    gunichar unichar = g_utf8_get_char (c);

    g_string_append_unichar (out, g_unichar_iscntrl (unichar) ? '?' : unichar);
  }
  g_free (text);
  return g_string_free (out, FALSE);
}

NatCause *
nat_cause_new (NatCauseKind kind, const char *format, ...)
{
  NatCause *cause = g_new0 (NatCause, 1);
  va_list args;

  cause->kind = kind;
  va_start (args, format);
  cause->text = plain (g_strdup_vprintf (format, args));
  va_end (args);
  return cause;
}

void
nat_cause_set_detail (NatCause *cause, const char *format, ...)
{
  va_list args;

  g_free (cause->detail);
  va_start (args, format);
  cause->detail = plain (g_strdup_vprintf (format, args));
  va_end (args);
}

NatCause *
nat_cause_copy (const NatCause *cause)
{
  NatCause *copy;

  if (cause == NULL)
    return NULL;
  copy = g_new (NatCause, 1);
  *copy = *cause;
  copy->text = g_strdup (cause->text);
  copy->detail = g_strdup (cause->detail);
  return copy;
}

void
nat_cause_free (NatCause *cause)
{
  if (cause == NULL)
    return;
  g_free (cause->text);
  g_free (cause->detail);
  g_free (cause);
}

const char *
nat_session_state_nick (NatSessionState state)
{
  switch (state) {
  case NAT_SESSION_DISCONNECTED: return "disconnected";
  case NAT_SESSION_NEGOTIATING: return "negotiating";
  case NAT_SESSION_CHALLENGING: return "challenging";
  case NAT_SESSION_CONNECTED: return "connected";
  case NAT_SESSION_SUSPECT: return "suspect";
  case NAT_SESSION_WAITING: return "waiting";
  case NAT_SESSION_FAILED: return "failed";
  }
  return "unknown";
}
