/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#include "padwatcher.h"

#include <string.h>

static void
watcher_tell (Watcher *w, const gchar *format, const gchar *name)
{
  g_mutex_lock (&w->lock);
  g_string_append_printf (w->story, format, name);
  g_cond_broadcast (&w->cond);
  g_mutex_unlock (&w->lock);
}

static void
watcher_no_more_pads (GstElement *src, Watcher *w)
{
  watcher_tell (w, "%s", ". ");
}

static GstPadProbeReturn
watcher_count (GstPad *pad, GstPadProbeInfo *info, gpointer user)
{
  Watcher *w = user;

  g_mutex_lock (&w->lock);
  w->counts[g_str_has_prefix (GST_PAD_NAME (pad), "audio") ? 1 : 0]++;
  g_cond_broadcast (&w->cond);
  g_mutex_unlock (&w->lock);
  return GST_PAD_PROBE_OK;
}

static void
watcher_pad_added (GstElement *src, GstPad *pad, Watcher *w)
{
  if (!GST_PAD_IS_SRC (pad))
    return;
  watcher_tell (w, "+%s ", GST_PAD_NAME (pad));
  if (!w->link)
    return;
  media_drain (w->pipeline, pad);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, watcher_count, w, NULL);
}

static void
watcher_pad_removed (GstElement *src, GstPad *pad, Watcher *w)
{
  watcher_tell (w, "-%s ", GST_PAD_NAME (pad));
}

void
watcher_init (Watcher *w, const gchar *stream, gboolean link)
{
  g_autofree gchar *uri = media_uri (stream, FALSE);

  memset (w, 0, sizeof *w);
  g_mutex_init (&w->lock);
  g_cond_init (&w->cond);
  w->story = g_string_new (NULL);
  w->link = link;
  w->pipeline = media_pipeline_new ();
  w->src = gst_element_factory_make ("natrelaysrc", NULL);
  g_object_set (w->src, "uri", uri, NULL);
  g_signal_connect (w->src, "pad-added", G_CALLBACK (watcher_pad_added), w);
  g_signal_connect (w->src, "pad-removed", G_CALLBACK (watcher_pad_removed), w);
  g_signal_connect (w->src, "no-more-pads", G_CALLBACK (watcher_no_more_pads), w);
  gst_bin_add (GST_BIN (w->pipeline), w->src);
}

void
watcher_clear (Watcher *w)
{
  media_stop (w->pipeline);
  g_string_free (w->story, TRUE);
  g_mutex_clear (&w->lock);
  g_cond_clear (&w->cond);
}

void
watcher_wait_story (Watcher *w, const gchar *story)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;
  gchar *told;

  g_mutex_lock (&w->lock);
  while (ok && strcmp (w->story->str, story) != 0)
    ok = g_cond_wait_until (&w->cond, &w->lock, until);
  told = g_strdup (w->story->str);
  g_mutex_unlock (&w->lock);
  fail_unless_equals_string (told, story);
  g_free (told);
}

static guint
count_char (const gchar *text, gchar c)
{
  guint n = 0;

  for (; *text != '\0'; text++)
    n += *text == c;
  return n;
}

/* called with lock; 0 while they come and go */
static guint
watcher_pads (Watcher *w)
{
  const gchar *story = w->story->str;

  return g_str_has_suffix (story, ". ") ? count_char (story, '+') - count_char (story, '-') : 0;
}

void
watcher_wait_pads (Watcher *w, guint n)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;
  guint pads;

  g_mutex_lock (&w->lock);
  while ((pads = watcher_pads (w)) != n && ok)
    ok = g_cond_wait_until (&w->cond, &w->lock, until);
  g_mutex_unlock (&w->lock);
  fail_unless_equals_int (pads, n);
}

void
watcher_wait_removed (Watcher *w, guint n)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  gboolean ok = TRUE;
  guint removed;

  g_mutex_lock (&w->lock);
  while ((removed = count_char (w->story->str, '-')) < n && ok)
    ok = g_cond_wait_until (&w->cond, &w->lock, until);
  g_mutex_unlock (&w->lock);
  fail_unless (removed >= n, "%u pads went of %u", removed, n);
}

void
watcher_wait_more (Watcher *w, guint video, guint audio)
{
  gint64 until = g_get_monotonic_time () + PATIENCE_S * G_TIME_SPAN_SECOND;
  guint counts[2];
  gboolean ok = TRUE;

  g_mutex_lock (&w->lock);
  video += w->counts[0];
  audio += w->counts[1];
  while (ok && (w->counts[0] < video || w->counts[1] < audio))
    ok = g_cond_wait_until (&w->cond, &w->lock, until);
  memcpy (counts, w->counts, sizeof counts);
  g_mutex_unlock (&w->lock);
  fail_unless (ok, "%u of %u video, %u of %u audio packets", counts[0], video, counts[1], audio);
}
