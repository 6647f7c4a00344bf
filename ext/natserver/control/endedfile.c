/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/endedfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <gio/gio.h>

#include "natproto/ticket.h"

#define AGAIN_MAX_S   60   /* while a disk fails */
#define COMPACT_LINES 4096 /* at least, and twice what was left last time: written anew */

/* Memory holds only what the file does not have yet: whoever asks often for sessions and ends them fills
 * the disk with 45 bytes for each, for an hour, and nothing else. */
struct _NatEndedFile {
  char *path;
  GArray *found;       /* NatEnded; at the start, until somebody takes them */
  GThreadPool *writer; /* one thread, which alone has to do with the file once it is open */
  GMutex lock;         /* of what follows, up to error */
  GArray *coming;      /* NatEnded, for the thread */
  gint64 now_s;
  gboolean sync_asked;
  gboolean called; /* the thread, and it did not see yet that nothing waits for it */
  GError *error;   /* the first that nobody was told */
  /* The thread's. */
  int fd;                     /* -1 = none, until it is written anew */
  GArray *unwritten;          /* NatEnded */
  guint lines, compact_lines; /* in the file; when it is written anew */
  gboolean dirty;             /* the disk may not have it all yet */
  gboolean
      doubtful; /* it may never have it: what a sync failed for may not be tried again by the next */
  gint64 again_s, wait_s; /* then it is written anew: not before, and how long after that */
};

static const struct {
  NatReason reason;
  const char *text;
} reasons[] = {{NAT_REASON_ENDED, "ended"}, {NAT_REASON_SUPERSEDED, "superseded"},
    {NAT_REASON_REVOKED, "revoked"}, {NAT_REASON_EXPIRED, "expired"}};

/* line: without its line feed. */
static gboolean
parse_line (const char *line, gsize len, NatEnded *out)
{
  char words[3][32] = {"", "", ""}, *end;
  guint n = 0, at = 0;

  for (gsize i = 0; i < len; i++) {
    if (line[i] == ' ' && n < 2) {
      n++;
      at = 0;
    } else if (at == sizeof words[n] - 1) {
      return FALSE;
    } else {
      words[n][at++] = line[i];
    }
  }
  out->until_s = g_ascii_strtoll (words[2], &end, 10);
  if (!g_ascii_isdigit (*words[2]) || *end != '\0' ||
      !nat_session_id_from_text (words[0], -1, out->id))
    return FALSE;
  for (guint i = 0; i < G_N_ELEMENTS (reasons); i++) {
    if (strcmp (words[1], reasons[i].text) == 0) {
      out->reason = reasons[i].reason;
      return TRUE;
    }
  }
  return FALSE;
}

static void
append_line (GString *out, const NatEnded *e)
{
  char id[NAT_SESSION_ID_TEXT + 1];
  const char *reason = reasons[0].text;

  for (guint i = 0; i < G_N_ELEMENTS (reasons); i++) {
    if (reasons[i].reason == e->reason)
      reason = reasons[i].text;
  }
  nat_session_id_to_text (e->id, id);
  g_string_append_printf (out, "%s %s %" G_GINT64_FORMAT "\n", id, reason, e->until_s);
}

/* What the file says and is not past. TRUE for a file that is not there. */
static gboolean
read_lines (NatEndedFile *file, gint64 now_s, GArray *out, GError **error)
{
  g_autofree char *text = NULL;
  g_autoptr (GError) cause = NULL;
  gsize len = 0;

  if (!g_file_get_contents (file->path, &text, &len, &cause) &&
      !g_error_matches (cause, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  for (const char *line = text, *end; line != NULL && line < text + len; line = end + 1) {
    NatEnded e;

    end = memchr (line, '\n', (gsize)(text + len - line));
    if (end == NULL)
      end = text + len;
    if (parse_line (line, (gsize)(end - line), &e) && e.until_s > now_s)
      g_array_append_val (out, e);
  }
  return TRUE;
}

/* Of what was just written, or of none: nobody will read the one before any more. */
static gboolean
open_file (NatEndedFile *file, GError **error)
{
  if (file->fd >= 0)
    close (file->fd);
  file->fd = open (file->path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (file->fd < 0)
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "%s cannot be opened: %s",
        file->path, g_strerror (errno));
  return file->fd >= 0;
}

static gboolean
replace_file (NatEndedFile *file, const GArray *entries, GError **error)
{
  g_autoptr (GString) text = g_string_new (NULL);

  for (guint i = 0; i < entries->len; i++)
    append_line (text, &g_array_index (entries, NatEnded, i));
  if (!g_file_set_contents_full (
          file->path, text->str, (gssize)text->len, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error) ||
      !open_file (file, error))
    return FALSE;
  file->lines = entries->len;
  file->compact_lines = MAX (COMPACT_LINES, 2 * file->lines);
  return TRUE;
}

static void
drop_past (GArray *entries, gint64 now_s)
{
  for (guint i = entries->len; i > 0; i--) {
    if (g_array_index (entries, NatEnded, i - 1).until_s <= now_s)
      g_array_remove_index_fast (entries, i - 1);
  }
}

/* entries: gets all that is in the file then. On failure what is not in it stays unwritten. */
static gboolean
write_anew (NatEndedFile *file, gint64 now_s, GArray *entries, GError **error)
{
  drop_past (file->unwritten, now_s); /* a disk may be full for days */
  if (!read_lines (file, now_s, entries, error))
    return FALSE;
  g_array_append_vals (entries, file->unwritten->data, file->unwritten->len);
  if (!replace_file (file, entries, error))
    return FALSE;
  g_array_set_size (file->unwritten, 0);
  file->doubtful = FALSE;
  file->wait_s = 1;
  return TRUE;
}

/* ---- In the thread ----------------------------------------------------- */

static void
set_write_error (NatEndedFile *file, int code, GError **error)
{
  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (code), "%s cannot be written: %s",
      file->path, g_strerror (code));
}

static guint
count_lines (const char *text, gsize len)
{
  guint n = 0;

  for (gsize i = 0; i < len; i++)
    n += text[i] == '\n';
  return n;
}

/* A line behind half a line would be lost as well: from that one on they wait until the file is written anew. */
static gboolean
append (NatEndedFile *file, const GArray *entries, GError **error)
{
  g_autoptr (GString) text = g_string_new (NULL);
  guint done;
  gssize n;

  for (guint i = 0; i < entries->len; i++)
    append_line (text, &g_array_index (entries, NatEnded, i));
  /* One write: another start of the relay never sees half a line of ours, except after a crash. */
  n = write (file->fd, text->str, text->len);
  if (n < 0)
    set_write_error (file, errno, error);
  else if (n < (gssize)text->len)
    set_write_error (file, ENOSPC, error);
  done = count_lines (text->str, (gsize)MAX (n, 0));
  file->lines += done;
  file->dirty |= done > 0;
  g_array_append_vals (
      file->unwritten, &g_array_index (entries, NatEnded, done), entries->len - done);
  return done == entries->len;
}

static gboolean
compact (NatEndedFile *file, gint64 now_s, GError **error)
{
  g_autoptr (GArray) entries = g_array_new (FALSE, FALSE, sizeof (NatEnded));
  gboolean ok = write_anew (file, now_s, entries, error);

  file->dirty |= ok; /* GLib does not see to that where the file was empty */
  return ok;
}

static gboolean
has_to_be_anew (const NatEndedFile *file)
{
  return file->unwritten->len > 0 || file->fd < 0;
}

static gboolean
write_coming (NatEndedFile *file, const GArray *coming, gint64 now_s, GError **error)
{
  gboolean waits = has_to_be_anew (file);

  if (coming->len == 0)
    return TRUE;
  if (!waits && file->lines + coming->len <= file->compact_lines)
    return append (file, coming, error);
  g_array_append_vals (file->unwritten, coming->data, coming->len);
  /* The whole file for each session that ends, while the disk is full, is more than it is worth. */
  return waits || compact (file, now_s, error);
}

static gboolean
sync_lines (NatEndedFile *file, gint64 now_s, GError **error)
{
  if (has_to_be_anew (file))
    return compact (file, now_s, error);
  if (file->doubtful && now_s >= file->again_s) {
    file->again_s = now_s + file->wait_s;
    file->wait_s = MIN (2 * file->wait_s, AGAIN_MAX_S);
    return compact (file, now_s, error);
  }
  if (!file->dirty)
    return TRUE;
  file->dirty = FALSE;
  if (fdatasync (file->fd) == 0)
    return TRUE;
  set_write_error (file, errno, error);
  if (!file->doubtful)
    file->again_s = now_s;
  file->doubtful = TRUE;
  return FALSE;
}

/* FALSE: nothing waits. */
static gboolean
take_work (NatEndedFile *file, GArray **coming, gint64 *now_s, gboolean *sync)
{
  g_mutex_lock (&file->lock);
  file->called = file->coming->len > 0 || file->sync_asked;
  if (file->called) {
    *coming = file->coming;
    file->coming = g_array_new (FALSE, FALSE, sizeof (NatEnded));
    *now_s = file->now_s;
    *sync = file->sync_asked;
    file->sync_asked = FALSE;
  }
  g_mutex_unlock (&file->lock);
  return *coming != NULL;
}

static void
keep_error (NatEndedFile *file, GError *error)
{
  g_mutex_lock (&file->lock);
  if (file->error == NULL)
    file->error = g_steal_pointer (&error);
  g_mutex_unlock (&file->lock);
  g_clear_error (&error);
}

static void
write_in_thread (gpointer data, gpointer user)
{
  NatEndedFile *file = data;

  for (;;) {
    g_autoptr (GArray) coming = NULL;
    GError *error = NULL;
    gboolean sync, ok;
    gint64 now_s;

    if (!take_work (file, &coming, &now_s, &sync))
      return;
    ok = write_coming (file, coming, now_s, &error);
    if (ok && sync)
      sync_lines (file, now_s, &error);
    if (error != NULL)
      keep_error (file, error);
  }
}

/* ---- On the main loop -------------------------------------------------- */

/* Where there is just no room, the relay starts all the same: what the file says it knows, and what comes waits, as it does
 * when the disk is full later. */
static gboolean
begin (NatEndedFile *file, gint64 now_s, GError **error)
{
  g_autoptr (GError) cause = NULL;

  if (!read_lines (file, now_s, file->found, error))
    return FALSE;
  file->wait_s = 1;
  if (replace_file (file, file->found, &cause))
    return TRUE;
  file->fd = open (file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (file->fd < 0) {
    g_propagate_error (error, g_steal_pointer (&cause));
    return FALSE;
  }
  file->doubtful = TRUE; /* and no line fits any more: it is written anew before one goes in */
  file->error = g_steal_pointer (&cause);
  return TRUE;
}

NatEndedFile *
nat_ended_file_open (const char *path, gint64 now_s, GError **error)
{
  NatEndedFile *file = g_new0 (NatEndedFile, 1);
  GError *no_thread = NULL; /* of which there is a pool all the same */

  file->path = g_strdup (path);
  file->fd = -1;
  g_mutex_init (&file->lock);
  file->coming = g_array_new (FALSE, FALSE, sizeof (NatEnded));
  file->unwritten = g_array_new (FALSE, FALSE, sizeof (NatEnded));
  file->found = g_array_new (FALSE, FALSE, sizeof (NatEnded));
  file->writer = g_thread_pool_new (write_in_thread, NULL, 1, TRUE, &no_thread);
  if (no_thread != NULL)
    g_propagate_error (error, no_thread);
  if (no_thread != NULL || !begin (file, now_s, error))
    g_clear_pointer (&file, nat_ended_file_free);
  return file;
}

void
nat_ended_file_free (NatEndedFile *file)
{
  g_thread_pool_free (file->writer, FALSE, TRUE);
  g_mutex_lock (&file->lock); /* GLib waited for the thread; for sanitizers, which do not see how */
  g_mutex_unlock (&file->lock);
  if (file->fd >= 0)
    close (file->fd);
  g_array_unref (file->coming);
  g_array_unref (file->unwritten);
  if (file->found != NULL)
    g_array_unref (file->found);
  g_clear_error (&file->error);
  g_mutex_clear (&file->lock);
  g_free (file->path);
  g_free (file);
}

GArray *
nat_ended_file_take_found (NatEndedFile *file)
{
  GArray *found = g_steal_pointer (&file->found);

  return found ? found : g_array_new (FALSE, FALSE, sizeof (NatEnded));
}

/* With the lock. TRUE: the thread is to be called. */
static gboolean
has_to_call (NatEndedFile *file, gint64 now_s)
{
  gboolean called = file->called;

  file->now_s = now_s;
  file->called = TRUE;
  return !called;
}

void
nat_ended_file_add (NatEndedFile *file, const NatEnded *ended, gint64 now_s)
{
  gboolean call;

  g_mutex_lock (&file->lock);
  g_array_append_val (file->coming, *ended);
  call = has_to_call (file, now_s);
  g_mutex_unlock (&file->lock);
  if (call)
    g_thread_pool_push (file->writer, file, NULL);
}

gboolean
nat_ended_file_sync (NatEndedFile *file, gint64 now_s, GError **error)
{
  GError *before;
  gboolean call;

  g_mutex_lock (&file->lock);
  file->sync_asked = TRUE;
  call = has_to_call (file, now_s);
  before = g_steal_pointer (&file->error);
  g_mutex_unlock (&file->lock);
  if (call)
    g_thread_pool_push (file->writer, file, NULL);
  if (before == NULL)
    return TRUE;
  g_propagate_error (error, before);
  return FALSE;
}
