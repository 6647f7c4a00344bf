/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */
#pragma once

/* What a relay's lists say (docs/PROTOCOL.md section 2.8), as far as a terminal shows it. */

#include <glib.h>

G_BEGIN_DECLS

#define NAT_FIGURES_TREND 30        /* samples: a minute */
#define NAT_FIGURES_MAX   (8 << 20) /* bytes of a list */

typedef struct {
  char *name, *publisher, *transport; /* transport NULL: no publisher is registered */
  gboolean pattern;
  gint64 subscribers, since_s, in_bps, out_bps, loss_in_ppm, loss_out_ppm, rtt_us, jitter_us;
  gint64 trend[NAT_FIGURES_TREND]; /* kbit/s in, oldest first */
  guint n_trend;
} NatFiguresStream;

typedef struct {
  char *who, *role, *stream, *path;
  gint64 created_s, bps, loss_ppm, rtt_us, jitter_us, resent;
} NatFiguresSession;

typedef struct {
  char *version;
  gint64 started_s, live, subscribers, sessions, in_bps, out_bps; /* of the relay */
  gint64 n_streams, n_sessions; /* also of those that are not listed */
  GPtrArray *streams;           /* of NatFiguresStream */
  GPtrArray *list;              /* of NatFiguresSession */
} NatFigures;

/* Both lists as the relay sent them. Text comes out printable: no control characters. */
NatFigures *nat_figures_parse (const char *streams, const char *sessions, GError **error);
void nat_figures_free (NatFigures *figures);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatFigures, nat_figures_free)

/* What others say of themselves, or of why not, may not steer a terminal: a copy with ? for what would. */
char *nat_figures_printable (const char *text);

G_END_DECLS
