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

#define COMPACT_LINES 4096 /* at least, and twice what was left last time: written anew */

struct _NatEndedFile {
  char *path;
  int fd;
  GArray *entries;
  guint lines, compact_lines; /* in the file; when it is written anew */
  gboolean behind;            /* a line failed to be written, or only a part of it was */
  gboolean dirty;             /* the disk may not have it all yet */
};

static const struct {
  NatReason reason;
  const char *text;
} reasons[] = {{NAT_REASON_ENDED, "ended"}, {NAT_REASON_SUPERSEDED, "superseded"},
    {NAT_REASON_REVOKED, "revoked"}, {NAT_REASON_EXPIRED, "expired"}};

static gboolean
parse_line (const char *line, NatEnded *out)
{
  g_auto (GStrv) words = g_strsplit (line, " ", 4);

  if (g_strv_length (words) != 3 || !nat_session_id_from_text (words[0], -1, out->id) ||
      !g_ascii_string_to_signed (words[2], 10, 0, G_MAXINT64, &out->until_s, NULL))
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

static void
drop_past (NatEndedFile *file, gint64 now_s)
{
  guint kept = 0;

  for (guint i = 0; i < file->entries->len; i++) {
    NatEnded e = g_array_index (file->entries, NatEnded, i);

    if (e.until_s > now_s)
      g_array_index (file->entries, NatEnded, kept++) = e;
  }
  g_array_set_size (file->entries, kept);
}

static gboolean
write_anew (NatEndedFile *file, gint64 now_s, GError **error)
{
  g_autoptr (GString) text = g_string_new (NULL);
  int fd;

  drop_past (file, now_s);
  for (guint i = 0; i < file->entries->len; i++)
    append_line (text, &g_array_index (file->entries, NatEnded, i));
  if (!g_file_set_contents_full (
          file->path, text->str, (gssize)text->len, G_FILE_SET_CONTENTS_CONSISTENT, 0600, error))
    return FALSE;
  fd = open (file->path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) {
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "%s cannot be opened: %s",
        file->path, g_strerror (errno));
    return FALSE;
  }
  if (file->fd >= 0)
    close (file->fd);
  file->fd = fd;
  file->lines = file->entries->len;
  file->compact_lines = MAX (COMPACT_LINES, 2 * file->lines);
  file->behind = FALSE;
  return TRUE;
}

NatEndedFile *
nat_ended_file_open (const char *path, gint64 now_s, GError **error)
{
  NatEndedFile *file = g_new0 (NatEndedFile, 1);
  g_autofree char *text = NULL;
  g_auto (GStrv) lines = NULL;
  GError *cause = NULL;

  file->path = g_strdup (path);
  file->fd = -1;
  file->entries = g_array_new (FALSE, FALSE, sizeof (NatEnded));
  if (!g_file_get_contents (path, &text, NULL, &cause) &&
      !g_error_matches (cause, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
    g_propagate_error (error, cause);
    nat_ended_file_free (file);
    return NULL;
  }
  g_clear_error (&cause);
  lines = g_strsplit (text ? text : "", "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    NatEnded e;

    if (parse_line (lines[i], &e))
      g_array_append_val (file->entries, e);
  }
  if (!write_anew (file, now_s, error))
    g_clear_pointer (&file, nat_ended_file_free);
  return file;
}

void
nat_ended_file_free (NatEndedFile *file)
{
  if (file->fd >= 0)
    close (file->fd);
  g_array_unref (file->entries);
  g_free (file->path);
  g_free (file);
}

const NatEnded *
nat_ended_file_entries (NatEndedFile *file, guint *n)
{
  *n = file->entries->len;
  return (const NatEnded *)(gpointer)file->entries->data;
}

static gboolean
append (NatEndedFile *file, const NatEnded *ended, GError **error)
{
  g_autoptr (GString) line = g_string_new (NULL);
  gssize n;

  append_line (line, ended);
  /* One write: another start of the relay never sees half a line of ours, except after a crash. */
  n = write (file->fd, line->str, line->len);
  if (n == (gssize)line->len) {
    file->lines++;
    file->dirty = TRUE;
    return TRUE;
  }
  /* A line behind half a line would be lost as well. */
  file->behind = TRUE;
  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (n < 0 ? errno : ENOSPC),
      "%s cannot be written: %s", file->path, g_strerror (n < 0 ? errno : ENOSPC));
  return FALSE;
}

gboolean
nat_ended_file_add (NatEndedFile *file, const NatEnded *ended, gint64 now_s, GError **error)
{
  g_array_append_val (file->entries, *ended);
  if (file->behind || file->lines >= file->compact_lines)
    return write_anew (file, now_s, error);
  return append (file, ended, error);
}

gboolean
nat_ended_file_sync (NatEndedFile *file, gint64 now_s, GError **error)
{
  if (file->behind)
    return write_anew (file, now_s, error);
  if (!file->dirty)
    return TRUE;
  file->dirty = FALSE;
  if (fdatasync (file->fd) == 0)
    return TRUE;
  g_set_error (error, G_IO_ERROR, g_io_error_from_errno (errno), "%s cannot be written: %s",
      file->path, g_strerror (errno));
  return FALSE;
}
