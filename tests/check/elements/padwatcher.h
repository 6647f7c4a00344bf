/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* A natrelaysrc whose pads each get a "fakesink" when they come; what was added and removed, in order. */

#include "media.h"

typedef struct {
  GstElement *pipeline, *src;
  GMutex lock;
  GCond cond;
  GString *story;  /* "+video_0 +audio_0 . -video_0" */
  guint counts[2]; /* buffers on pads video_*, audio_* */
  gboolean link;
} Watcher;

void watcher_init (Watcher *w, const gchar *stream, gboolean link);
void watcher_clear (Watcher *w); /* stops it */
void watcher_wait_story (Watcher *w, const gchar *story);
/* Until there are so many, and no more come. */
void watcher_wait_pads (Watcher *w, guint n);
/* Until so many have gone, whatever came. */
void watcher_wait_removed (Watcher *w, guint n);
/* n more on each kind of pad that is asked for. */
void watcher_wait_more (Watcher *w, guint video, guint audio);
