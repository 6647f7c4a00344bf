/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

static gboolean verbose_log;
static gboolean journal;
static NatLogGate gate;
static GMutex lock; /* of gate, and so that lines stay whole */

gboolean
nat_log_is_journal (int fd)
{
  const char *stream = g_getenv ("JOURNAL_STREAM");
  g_autofree char *own = NULL;
  struct stat st;

  if (stream == NULL || fstat (fd, &st) != 0)
    return FALSE;
  own = g_strdup_printf (
      "%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT, (guint64)st.st_dev, (guint64)st.st_ino);
  return strcmp (own, stream) == 0;
}

gboolean
nat_log_gate_allows (NatLogGate *g, const char *text, gint64 now_us, guint *held)
{
  gsize len = strcspn (text, "0123456789:\"'(");
  guint hash = 5381;
  guint i;

  for (gsize at = 0; at < len; at++)
    hash = hash * 33 + (guchar)text[at];
  i = hash % NAT_LOG_KINDS;
  *held = 0;
  if (g->kinds[i].count == 0 || now_us - g->kinds[i].window_us >= NAT_LOG_WINDOW_US) {
    if (g->kinds[i].count > NAT_LOG_BURST)
      *held = g->kinds[i].count - NAT_LOG_BURST;
    g->kinds[i].window_us = now_us;
    g->kinds[i].count = 0;
  }
  g->kinds[i].count++;
  return g->kinds[i].count <= NAT_LOG_BURST;
}

/* A stranger's bytes may stand in a message: nothing may start a line of its own or steer a
 * terminal. Terminals also obey the controls behind ASCII's, as a byte or as UTF-8. */
static void
make_printable (char *text)
{
  const char *end;

  while (!g_utf8_validate (text, -1, &end))
    text[end - text] = '?';
  for (; *text != '\0'; text++) {
    gboolean beyond = text[0] == '\xc2' && (guchar)text[1] < 0xa0;

    if (g_ascii_iscntrl (*text) || beyond)
      *text = '?';
    if (beyond)
      *++text = '?';
  }
}

static int
syslog_level (GLogLevelFlags flags)
{
  if (flags & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
    return 3;
  if (flags & G_LOG_LEVEL_WARNING)
    return 4;
  return flags & G_LOG_LEVEL_DEBUG ? 7 : 6;
}

static const char *
level_name (int level)
{
  switch (level) {
  case 3: return "error: ";
  case 4: return "warning: ";
  case 7: return "debug: ";
  default: return "";
  }
}

static void
say (GLogLevelFlags flags, const char *message, gboolean always)
{
  g_autofree char *text = g_strdup (message);
  int level = syslog_level (flags);
  guint held = 0;

  if (level == 7 && !verbose_log)
    return;
  make_printable (text);
  g_mutex_lock (&lock);
  if (nat_log_gate_allows (&gate, text, g_get_monotonic_time (), &held) || always) {
    if (journal)
      fprintf (stderr, "<%d>%s", level, text);
    else
      fprintf (stderr, "natrelay-server: %s%s", level_name (level), text);
    if (held > 0)
      fprintf (stderr, " (%u more of this kind were not shown)", held);
    fputc ('\n', stderr);
  }
  g_mutex_unlock (&lock);
}

/* Both of GLib's ways to log end here. */
static GLogWriterOutput
write_log (GLogLevelFlags flags, const GLogField *fields, gsize n_fields, gpointer user)
{
  for (gsize i = 0; i < n_fields; i++) {
    if (strcmp (fields[i].key, "MESSAGE") == 0 && fields[i].length < 0)
      say (flags, fields[i].value, (flags & (G_LOG_FLAG_FATAL | G_LOG_LEVEL_ERROR)) != 0);
  }
  return G_LOG_WRITER_HANDLED;
}

void
nat_log_error (const char *text)
{
  say (G_LOG_LEVEL_CRITICAL, text, TRUE);
}

void
nat_log_init (gboolean verbose)
{
  verbose_log = verbose;
  journal = nat_log_is_journal (STDERR_FILENO);
  setvbuf (stderr, NULL, _IOLBF, 0);
  g_log_set_writer_func (write_log, NULL, NULL);
}
