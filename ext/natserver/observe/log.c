/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "natserver/observe/logwriter.h"

#define FIELD       "NATRELAY_" /* what our fields in the journal begin with */
#define PATIENCE_MS 1000        /* at the end, with whoever reads */

static gint verbose_log; /* atomic */
static gint no_audit;    /* atomic */
static gboolean installed;
static gboolean journal;    /* standard error leads there ... */
static gboolean structured; /* ... and it takes messages with fields */
static NatLogGate gate;
static NatLogGate
    audit_gate;     /* its own: however many strangers are refused, they hold back nothing else */
static GMutex lock; /* of the gates, and so that lines stay whole */
static NatLogWriter
    *writer; /* with the lock; NULL: whoever has something to say writes it himself */

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

/* Controls behind ASCII's steer terminals as well, and characters of direction or without width let a line look
 * like another. */
static gboolean
is_hidden (gunichar c)
{
  switch (g_unichar_type (c)) {
  case G_UNICODE_CONTROL:
  case G_UNICODE_FORMAT:
  case G_UNICODE_LINE_SEPARATOR:
  case G_UNICODE_PARAGRAPH_SEPARATOR: return TRUE;
  default: return FALSE;
  }
}

/* A stranger's bytes may stand in a message: nothing may start a line of its own or steer a
 * terminal. */
static void
make_printable (char *text)
{
  const char *end;

  while (!g_utf8_validate (text, -1, &end))
    text[end - text] = '?';
  while (*text != '\0') {
    char *next = g_utf8_next_char (text);

    if (is_hidden (g_utf8_get_char (text)))
      memset (text, '?', (gsize)(next - text));
    text = next;
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
add_field (GLogField *fields, gsize *n, const char *key, const char *value)
{
  fields[(*n)++] = (GLogField){key, value, -1};
}

/* FALSE: the journal does not take it. */
static gboolean
tell_journal (const NatLogLine *line, int level)
{
  GLogField fields[NAT_LOG_FIELDS_MAX + 3];
  char priority[2] = {(char)('0' + level), '\0'};
  gsize n = 0;

  add_field (fields, &n, "MESSAGE", line->text);
  add_field (fields, &n, "PRIORITY", priority);
  add_field (fields, &n, "SYSLOG_IDENTIFIER", "natrelay-server");
  for (guint i = 0; i < line->n_fields; i++)
    add_field (fields, &n, line->fields[i].key, line->fields[i].value);
  return g_log_writer_journald (line->flags, fields, n, NULL) == G_LOG_WRITER_HANDLED;
}

/* Without stdio: a thread that waits in there for whoever reads would hold up the process's end. */
static void
write_text (const char *text)
{
  for (gsize left = strlen (text); left > 0;) {
    gssize n = write (STDERR_FILENO, text, left);

    if (n < 0 && errno != EINTR)
      return;
    text += MAX (n, 0);
    left -= (gsize)MAX (n, 0);
  }
}

static void
write_line (const NatLogLine *line)
{
  int level = syslog_level (line->flags);
  g_autofree char *text = NULL;

  if (structured && tell_journal (line, level))
    return;
  if (journal)
    text = g_strdup_printf ("<%d>%s\n", level, line->text);
  else
    text = g_strdup_printf ("natrelay-server: %s%s\n", level_name (level), line->text);
  write_text (text);
}

/* Our own fields as they came, which are few; a stranger's text among them is made printable. */
static NatLogLine *
make_line (GLogLevelFlags flags, const char *text, const GLogField *given, gsize n)
{
  NatLogLine *line = nat_log_line_new (flags, text);

  for (gsize i = 0; i < n && line->n_fields < NAT_LOG_FIELDS_MAX; i++) {
    if (!g_str_has_prefix (given[i].key, FIELD) || given[i].length >= 0)
      continue;
    line->fields[line->n_fields].key = given[i].key;
    line->fields[line->n_fields].value = g_strdup (given[i].value);
    make_printable (line->fields[line->n_fields++].value);
  }
  return line;
}

/* With the lock. Last words are not left to a thread that may not have the time for them. */
static void
send_line (NatLogLine *line)
{
  if (writer != NULL && (line->flags & (G_LOG_FLAG_FATAL | G_LOG_LEVEL_ERROR)) == 0) {
    nat_log_writer_put (writer, line);
    return;
  }
  write_line (line);
  nat_log_line_free (line);
}

static void
say (NatLogGate *budget, GLogLevelFlags flags, const char *message, gboolean always,
    const GLogField *fields, gsize n)
{
  g_autofree char *text = g_strdup (message);
  guint held = 0;

  if (syslog_level (flags) == 7 && !g_atomic_int_get (&verbose_log))
    return;
  make_printable (text);
  g_mutex_lock (&lock);
  if (nat_log_gate_allows (budget, text, g_get_monotonic_time (), &held) || always) {
    if (held > 0) {
      char *more = g_strdup_printf ("%s (%u more of this kind were not shown)", text, held);

      g_free (text);
      text = more;
    }
    send_line (make_line (flags, text, fields, n));
  }
  g_mutex_unlock (&lock);
}

/* Both of GLib's ways to log end here. */
static GLogWriterOutput
write_log (GLogLevelFlags flags, const GLogField *fields, gsize n_fields, gpointer user)
{
  for (gsize i = 0; i < n_fields; i++) {
    if (strcmp (fields[i].key, "MESSAGE") == 0 && fields[i].length < 0)
      say (&gate, flags, fields[i].value, (flags & (G_LOG_FLAG_FATAL | G_LOG_LEVEL_ERROR)) != 0,
          fields, n_fields);
  }
  return G_LOG_WRITER_HANDLED;
}

void
nat_log_audit (const char *line, gboolean budgeted)
{
  if (installed && !g_atomic_int_get (&no_audit))
    say (&audit_gate, G_LOG_LEVEL_INFO, line, !budgeted, NULL, 0);
}

void
nat_log_set_audit (gboolean on)
{
  g_atomic_int_set (&no_audit, !on);
}

void
nat_log_error (const char *text)
{
  say (&gate, G_LOG_LEVEL_CRITICAL, text, TRUE, NULL, 0);
}

void
nat_log_event (GLogLevelFlags level, const NatLogEvent *event, const char *format, ...)
{
  g_autofree char *text = NULL, *session = g_strndup (event->session ? event->session : "", 8);
  const char *const pairs[][2] = {{FIELD "EVENT", event->event}, {FIELD "STREAM", event->stream},
      {FIELD "ROLE", event->role}, {FIELD "SUBJECT", event->subject},
      {FIELD "ADDRESS", event->address}, {FIELD "SESSION", session}};
  GLogField fields[G_N_ELEMENTS (pairs) + 1];
  gsize n = 0;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  add_field (fields, &n, "MESSAGE", text);
  for (gsize i = 0; i < G_N_ELEMENTS (pairs); i++) {
    if (pairs[i][1] != NULL && *pairs[i][1] != '\0')
      add_field (fields, &n, pairs[i][0], pairs[i][1]);
  }
  g_log_structured_array (level, fields, n);
}

void
nat_log_begin_thread (void)
{
  g_mutex_lock (&lock);
  if (writer == NULL)
    writer = nat_log_writer_new (write_line);
  g_mutex_unlock (&lock);
}

void
nat_log_end_thread (void)
{
  NatLogWriter *old;

  g_mutex_lock (&lock);
  old = g_steal_pointer (&writer);
  g_mutex_unlock (&lock);
  if (old != NULL)
    nat_log_writer_free (old, PATIENCE_MS);
}

void
nat_log_init (gboolean verbose)
{
  g_atomic_int_set (&verbose_log, verbose);
  if (installed) /* other threads read what follows */
    return;
  installed = TRUE;
  journal = nat_log_is_journal (STDERR_FILENO);
  structured = journal && g_log_writer_is_journald (STDERR_FILENO);
  setvbuf (stderr, NULL, _IOLBF, 0);
  g_log_set_writer_func (write_log, NULL, NULL);
}
