/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/audit.h"

#include "natproto/ticket.h"
#include "natserver/observe/log.h"

#define SESSION_SHOWN                                                                              \
  8 /* characters, as in the lists: the whole is a key where there are no tokens */

const char *
nat_audit_action (NatRole role)
{
  return role == NAT_ROLE_PUBLISHER ? "publish" : "subscribe";
}

static void
add_word (GString *out, const char *name, const char *value)
{
  if (value != NULL && *value != '\0')
    g_string_append_printf (out, " %s=%s", name, value);
}

/* The log itself makes control characters harmless. */
static void
add_quoted (GString *out, const char *name, const char *value)
{
  if (value == NULL || *value == '\0')
    return;
  g_string_append_printf (out, " %s=\"", name);
  for (; *value != '\0'; value++) {
    if (*value == '"' || *value == '\\')
      g_string_append_c (out, '\\');
    g_string_append_c (out, *value);
  }
  g_string_append_c (out, '"');
}

void
nat_audit (const NatAudit *line, NatAuditVerdict verdict, const char *why)
{
  static const char *const words[] = {"granted", "ended", "refused"};
  g_autoptr (GString) out = g_string_new ("access ");
  char address[NAT_ADDRESS_TEXT_MAX];

  g_string_append_printf (out, "%s: action=%s", words[verdict], line->action);
  add_word (out, "stream", line->stream);
  add_quoted (out, "who", line->who);
  add_word (out, "by", line->by);
  add_quoted (out, "id", line->id);
  if (line->from != NULL && line->from->family != 0)
    add_word (out, "from", nat_address_to_text (line->from, address));
  if (line->session != NULL) {
    char id[NAT_SESSION_ID_TEXT + 1];

    nat_session_id_to_text (line->session, id);
    id[SESSION_SHOWN] = '\0';
    add_word (out, "session", id);
  }
  add_quoted (out, "why", why);
  nat_log_audit (out->str, verdict == NAT_AUDIT_REFUSED);
}
