/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What an application does with the messages of natrelaysink and natrelaysrc; the same for both. */

#include <gst/gst.h>

G_BEGIN_DECLS

typedef struct {
  GMainLoop *loop;
  GstElement *pipeline;
  GstElement *end;       /* natrelaysink or natrelaysrc */
  GstElement *other_end; /* of a pipeline that has both; else NULL */
  gboolean finishes;     /* ends by EOS when it is interrupted, so that files are complete */
  gboolean connected;    /* to the relay, once */
  int code;              /* what main() returns */
} Connection;

/* Plays until EOS, an error, SIGINT, SIGTERM, or for some seconds (0 = until then). Ends with EOS, so that
 * nothing that was sent is left out. Prints what happens and, at the end, what stats says if it was connected. */
void connection_run (Connection *connection, double seconds);

G_END_DECLS
