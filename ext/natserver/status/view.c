/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/status/view.h"

#include <string.h>

#define GAP       2     /* blanks between columns */
#define BAD_PPM   10000 /* a loss that catches the eye */
#define CELLS_MAX 12

/* ---- Words and numbers ------------------------------------------------- */

static char *
rate_text (gint64 bps)
{
  static const char *const units[] = {"bit/s", "kbit/s", "Mbit/s", "Gbit/s"};
  gdouble value = (gdouble)bps;
  guint unit = 0;

  while (value >= 999.5 && unit + 1 < G_N_ELEMENTS (units)) {
    value /= 1000;
    unit++;
  }
  if (bps == 0)
    return g_strdup ("-");
  return g_strdup_printf (
      unit > 0 && value < 9.995 ? "%.2f %s" : (unit > 0 && value < 99.95 ? "%.1f %s" : "%.0f %s"),
      value, units[unit]);
}

static char *
loss_text (gint64 ppm)
{
  const char *mark = ppm >= BAD_PPM ? "! " : "";

  if (ppm == 0)
    return g_strdup ("0 %");
  if (ppm < 1000)
    return g_strdup ("< 0.1 %");
  return g_strdup_printf ("%s%.1f %%", mark, (gdouble)ppm / 10000);
}

static char *
ms_text (gint64 us)
{
  if (us == 0)
    return g_strdup ("-");
  return g_strdup_printf (us < 9950 ? "%.1f ms" : "%.0f ms", (gdouble)us / 1000);
}

static char *
span_text (gint64 s)
{
  s = MAX (0, s);
  if (s < 60)
    return g_strdup_printf ("%d s", (int)s);
  if (s < 3600)
    return g_strdup_printf ("%d min", (int)(s / 60));
  if (s < 86400)
    return g_strdup_printf ("%d h %d min", (int)(s / 3600), (int)(s / 60 % 60));
  return g_strdup_printf ("%" G_GINT64_FORMAT " d %d h", s / 86400, (int)(s / 3600 % 24));
}

static char *
count_text (gint64 n)
{
  return n == 0 ? g_strdup ("-") : g_strdup_printf ("%" G_GINT64_FORMAT, n);
}

/* The last minute, as high as its highest. */
static char *
plot_text (const gint64 *values, guint n, gboolean unicode)
{
  static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static const char *const ascii[] = {"_", ".", ".", "-", "-", "=", "=", "#"};
  GString *out = g_string_new (NULL);
  gint64 most = 1;

  for (guint i = 0; i < n; i++)
    most = MAX (most, values[i]);
  for (guint i = 0; i < n; i++) {
    guint height = (guint)(MAX (values[i], 0) * 7 / most);

    g_string_append (out, unicode ? blocks[height] : ascii[height]);
  }
  return g_string_free (out, FALSE);
}

/* ---- Tables ------------------------------------------------------------ */

typedef struct {
  const char *title;
  gboolean right;
  guint drop; /* columns with a higher number go first where there is no room; 0 = stays */
  guint most; /* columns of the terminal; 0 = as wide as it must */
} Column;

typedef struct {
  const Column *columns;
  guint n;
  GPtrArray *rows; /* of char *[CELLS_MAX] */
  guint width[CELLS_MAX];
  gboolean gone[CELLS_MAX];
} Table;

static guint
length (const char *text)
{
  return (guint)g_utf8_strlen (text, -1);
}

static void
row_free (gpointer data)
{
  char **cells = data;

  for (guint i = 0; i < CELLS_MAX; i++)
    g_free (cells[i]);
  g_free (cells);
}

static void
table_init (Table *t, const Column *columns, guint n)
{
  *t = (Table){.columns = columns, .n = n};
  t->rows = g_ptr_array_new_with_free_func (row_free);
}

static char **
table_add (Table *t)
{
  char **cells = g_new0 (char *, CELLS_MAX);

  g_ptr_array_add (t->rows, cells);
  return cells;
}

static guint
total_width (const Table *t)
{
  guint all = 0;

  for (guint i = 0; i < t->n; i++)
    all += t->gone[i] ? 0 : t->width[i] + (all > 0 ? GAP : 0);
  return all;
}

/* The least important column that is left; G_MAXUINT: all of them must stay. */
static guint
next_to_go (const Table *t)
{
  guint found = G_MAXUINT, drop = 0;

  for (guint i = 0; i < t->n; i++) {
    if (!t->gone[i] && t->columns[i].drop > drop) {
      drop = t->columns[i].drop;
      found = i;
    }
  }
  return found;
}

static void
table_fit (Table *t, guint columns)
{
  for (guint i = 0; i < t->n; i++) {
    t->width[i] = length (t->columns[i].title);
    for (guint k = 0; k < t->rows->len; k++)
      t->width[i] = MAX (t->width[i], length (((char **)g_ptr_array_index (t->rows, k))[i]));
    if (t->columns[i].most > 0)
      t->width[i] = MIN (t->width[i], t->columns[i].most);
  }
  while (total_width (t) > columns) {
    guint i = next_to_go (t);

    if (i == G_MAXUINT) {
      guint over = total_width (t) - columns;

      t->width[0] -= MIN (over, t->width[0] > 8 ? t->width[0] - 8 : 0);
      return;
    }
    t->gone[i] = TRUE;
  }
}

/* Exactly so wide; what is cut ends with a mark. */
static void
append_cell (GString *out, const char *text, guint width, gboolean right, gboolean unicode)
{
  guint len = length (text);

  if (len > width && width > 0) {
    const char *end = g_utf8_offset_to_pointer (text, (glong)width - 1);

    g_string_append_len (out, text, end - text);
    g_string_append (out, unicode ? "…" : "~");
    return;
  }
  if (right)
    g_string_append_printf (out, "%*s", (int)(width - len), "");
  g_string_append (out, text);
  if (!right)
    g_string_append_printf (out, "%*s", (int)(width - len), "");
}

static char *
table_line (const Table *t, char **cells, gboolean unicode)
{
  GString *out = g_string_new (NULL);

  for (guint i = 0; i < t->n; i++) {
    if (t->gone[i])
      continue;
    if (out->len > 0)
      g_string_append_printf (out, "%*s", GAP, "");
    append_cell (
        out, cells ? cells[i] : t->columns[i].title, t->width[i], t->columns[i].right, unicode);
  }
  return g_strchomp (g_string_free (out, FALSE));
}

static char *
styled (const NatViewStyle *style, const char *sequence, char *text)
{
  char *out;

  if (!style->styled)
    return text;
  out = g_strdup_printf ("\033[%sm%s\033[0m", sequence, text);
  g_free (text);
  return out;
}

static void
table_end (Table *t, NatView *view, const NatViewStyle *style)
{
  table_fit (t, style->columns);
  g_ptr_array_add (view->body, styled (style, "1", table_line (t, NULL, style->unicode)));
  for (guint i = 0; i < t->rows->len; i++)
    g_ptr_array_add (view->body, table_line (t, g_ptr_array_index (t->rows, i), style->unicode));
  g_ptr_array_unref (t->rows);
}

/* ---- What stands in them ----------------------------------------------- */

static void
add_streams (NatView *view, const NatFigures *f, const NatViewStyle *style)
{
  static const Column columns[] = {{"STREAM", FALSE, 0, 40}, {"STATE", FALSE, 0, 0},
      {"IN", TRUE, 0, 0}, {"OUT", TRUE, 0, 0}, {"RECEIVERS", TRUE, 2, 0}, {"LOST IN", TRUE, 1, 0},
      {"LOST OUT", TRUE, 3, 0}, {"RTT", TRUE, 5, 0}, {"JITTER", TRUE, 8, 0}, {"PATH", FALSE, 7, 0},
      {"FOR", TRUE, 6, 0}, {"LAST MINUTE", FALSE, 9, 0}};
  Table t;

  table_init (&t, columns, G_N_ELEMENTS (columns));
  for (guint i = 0; i < f->streams->len; i++) {
    const NatFiguresStream *s = g_ptr_array_index (f->streams, i);
    char **cells = table_add (&t);

    cells[0] = g_strdup (s->name);
    cells[1] = g_strdup (s->pattern ? "room" : s->publisher);
    cells[2] = rate_text (s->in_bps);
    cells[3] = rate_text (s->out_bps);
    cells[4] = count_text (s->subscribers);
    cells[5] = s->transport ? loss_text (s->loss_in_ppm) : g_strdup ("-");
    cells[6] = s->out_bps > 0 ? loss_text (s->loss_out_ppm) : g_strdup ("-");
    cells[7] = ms_text (s->rtt_us);
    cells[8] = ms_text (s->jitter_us);
    cells[9] = g_strdup (s->transport ? s->transport : "-");
    cells[10] = s->since_s > 0 ? span_text (style->now_s - s->since_s) : g_strdup ("-");
    cells[11] = plot_text (s->trend, s->n_trend, style->unicode);
  }
  table_end (&t, view, style);
}

static void
add_sessions (NatView *view, const NatFigures *f, const NatViewStyle *style)
{
  static const Column columns[] = {{"WHO", FALSE, 0, 28}, {"ROLE", FALSE, 2, 0},
      {"STREAM", FALSE, 0, 32}, {"PATH", FALSE, 4, 0}, {"RTT", TRUE, 3, 0}, {"JITTER", TRUE, 8, 0},
      {"LOST", TRUE, 0, 0}, {"BITRATE", TRUE, 0, 0}, {"RESENT", TRUE, 6, 0}, {"FOR", TRUE, 5, 0}};
  Table t;

  table_init (&t, columns, G_N_ELEMENTS (columns));
  for (guint i = 0; i < f->list->len; i++) {
    const NatFiguresSession *s = g_ptr_array_index (f->list, i);
    char **cells = table_add (&t);

    cells[0] = g_strdup (s->who);
    cells[1] = g_strdup (s->role);
    cells[2] = g_strdup (s->stream);
    cells[3] = g_strdup (s->path);
    cells[4] = ms_text (s->rtt_us);
    cells[5] = ms_text (s->jitter_us);
    cells[6] = loss_text (s->loss_ppm);
    cells[7] = rate_text (s->bps);
    cells[8] = count_text (s->resent);
    cells[9] = span_text (style->now_s - s->created_s);
  }
  table_end (&t, view, style);
}

static void
add_cut (NatView *view, gint64 all, guint listed, const char *what)
{
  if (all > listed)
    g_ptr_array_add (
        view->body, g_strdup_printf ("... and %" G_GINT64_FORMAT " more %s", all - listed, what));
}

static void
add_head (NatView *view, const NatFigures *f, const char *where, const char *trouble,
    const NatViewStyle *style)
{
  g_autofree char *in = rate_text (f->in_bps), *out = rate_text (f->out_bps);
  g_autofree char *up = span_text (style->now_s - f->started_s);
  g_autoptr (GString) line = g_string_new (NULL), cut = g_string_new (NULL);

  g_string_printf (line, "natrelay %s at %s, up for %s", f->version, where, up);
  append_cell (cut, line->str, MIN (length (line->str), style->columns), FALSE, style->unicode);
  g_ptr_array_add (view->head, styled (style, "1", g_strdup (cut->str)));
  g_string_printf (line,
      "%" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " streams live, %" G_GINT64_FORMAT
      " receivers, %" G_GINT64_FORMAT " sessions; in %s, out %s",
      f->live, f->n_streams, f->subscribers, f->sessions, in, out);
  g_string_truncate (cut, 0);
  append_cell (cut, line->str, MIN (length (line->str), style->columns), FALSE, style->unicode);
  g_ptr_array_add (view->head, g_strdup (cut->str));
  if (trouble != NULL)
    g_ptr_array_add (view->head, styled (style, "7", g_strdup (trouble)));
  g_ptr_array_add (view->head, g_strdup (""));
}

NatView *
nat_view_new (
    const NatFigures *f, const char *where, const char *trouble, const NatViewStyle *style)
{
  NatView *view = g_new0 (NatView, 1);

  view->head = g_ptr_array_new_with_free_func (g_free);
  view->body = g_ptr_array_new_with_free_func (g_free);
  add_head (view, f, where, trouble, style);
  if (f->streams->len == 0 && f->list->len == 0) {
    g_ptr_array_add (view->body, g_strdup ("Nobody sends or watches at the moment."));
    return view;
  }
  add_streams (view, f, style);
  add_cut (view, f->n_streams, f->streams->len, "streams");
  g_ptr_array_add (view->body, g_strdup (""));
  add_sessions (view, f, style);
  add_cut (view, f->n_sessions, f->list->len, "sessions");
  return view;
}

void
nat_view_free (NatView *view)
{
  g_ptr_array_unref (view->head);
  g_ptr_array_unref (view->body);
  g_free (view);
}
