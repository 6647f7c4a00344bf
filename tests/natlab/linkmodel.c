/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <math.h>
#include <string.h>
#include "linkmodel.h"

#define MS              G_GINT64_CONSTANT (1000000)
#define SECOND          (1000 * MS)
#define USUAL_QUEUE     250000
#define USUAL_REORDERBY (10 * MS)

enum { CHANCE_LOSS, CHANCE_DUPLICATE, CHANCE_REORDER, CHANCE_JITTER };

/* ---- frames --------------------------------------------------------------- */

/* A link has few frames under way and many in its life: they are used again. */
static LinkFrame *unused;

LinkFrame *
link_frame_new (void)
{
  LinkFrame *frame = unused;

  if (frame != NULL)
    unused = frame->next;
  else
    frame = g_new (LinkFrame, 1);
  frame->next = NULL;
  frame->refs = 1;
  frame->length = 0;
  frame->spared = FALSE;
  return frame;
}

LinkFrame *
link_frame_ref (LinkFrame *frame)
{
  frame->refs++;
  return frame;
}

void
link_frame_unref (LinkFrame *frame)
{
  if (--frame->refs > 0)
    return;
  frame->next = unused;
  unused = frame;
}

/* ---- departures: a heap, the soonest first --------------------------------- */

static gboolean
sooner (const LinkDeparture *a, const LinkDeparture *b)
{
  return a->due != b->due ? a->due < b->due : a->number < b->number;
}

static void
swap (LinkDeparture *a, LinkDeparture *b)
{
  LinkDeparture other = *a;

  *a = *b;
  *b = other;
}

static void
add_departure (LinkModel *self, LinkFrame *frame, gint64 due)
{
  LinkDeparture departure = {due, self->numbers++, frame};
  LinkDeparture *all;
  guint i = self->departures->len;

  g_array_append_val (self->departures, departure);
  all = (LinkDeparture *)self->departures->data;
  for (; i > 0 && sooner (&all[i], &all[(i - 1) / 2]); i = (i - 1) / 2)
    swap (&all[i], &all[(i - 1) / 2]);
}

static LinkDeparture
take_departure (LinkModel *self)
{
  LinkDeparture *all = (LinkDeparture *)self->departures->data;
  LinkDeparture first = all[0];
  guint n = self->departures->len - 1;

  all[0] = all[n];
  g_array_set_size (self->departures, n);
  for (guint i = 0, child = 1; child < n; child = 2 * i + 1) {
    if (child + 1 < n && sooner (&all[child + 1], &all[child]))
      child++;
    if (!sooner (&all[child], &all[i]))
      break;
    swap (&all[child], &all[i]);
    i = child;
  }
  return first;
}

/* ---- chance ---------------------------------------------------------------- */

static double
draw (LinkModel *self, guint what)
{
  return g_rand_double (self->chance[what]);
}

/* Gilbert and Elliott's chain leaves the bad state after `burst` frames on average, and enters it
 * so often that the share of `loss` is lost in all. */
static gboolean
is_lost (LinkModel *self)
{
  double loss = self->settings.loss, burst = self->settings.burst,
         chance = draw (self, CHANCE_LOSS);

  if (burst <= 0 || loss >= 1)
    self->bad = chance < loss;
  else if (self->bad)
    self->bad = chance >= 1 / burst;
  else
    self->bad = chance < loss / (burst * (1 - loss));
  return self->bad;
}

static void
count_loss (LinkModel *self)
{
  self->counters.lost++;
  self->counters.bursts += self->run == 0;
  self->run++;
  self->counters.longest = MAX (self->counters.longest, self->run);
}

/* ---- the wire -------------------------------------------------------------- */

/* @frame has gone onto the wire at @now. */
static void
travel (LinkModel *self, LinkFrame *frame, gint64 now)
{
  const LinkSettings *s = &self->settings;
  gint64 due = now + s->delay;

  if (frame->spared) {
    add_departure (self, frame, due);
    return;
  }
  gboolean lost = is_lost (self);
  gboolean doubled = draw (self, CHANCE_DUPLICATE) < s->duplicate;
  gboolean held = draw (self, CHANCE_REORDER) < s->reorder;
  due += (gint64)(draw (self, CHANCE_JITTER) * s->jitter);
  if (lost) {
    count_loss (self);
    link_frame_unref (frame);
    return;
  }
  self->run = 0;
  due = MAX (due, self->last_due);
  if (held) {
    self->counters.reordered++;
    due += s->reorder_by;
  } else {
    self->last_due = due;
  }
  if (doubled) {
    self->counters.duplicated++;
    add_departure (self, link_frame_ref (frame), due);
  }
  add_departure (self, frame, due);
}

static gint64
wire_time (LinkModel *self, LinkFrame *frame)
{
  return self->settings.rate > 0 ? frame->length * 8 * SECOND / self->settings.rate : 0;
}

/* Lets the wire work until @now. */
static void
work (LinkModel *self, gint64 now)
{
  while (self->head != NULL) {
    LinkFrame *frame = self->head;
    gint64 sent = self->wire_free + wire_time (self, frame);

    if (sent > now)
      return;
    self->head = frame->next;
    if (self->head == NULL)
      self->tail = &self->head;
    self->waiting -= frame->length;
    self->wire_free = sent;
    travel (self, frame, sent);
  }
}

void
link_model_push (LinkModel *self, LinkFrame *frame, gint64 now)
{
  work (self, now);
  self->counters.arrived += !frame->spared;
  if (now < self->out_until && !frame->spared) {
    self->counters.out++;
    link_frame_unref (frame);
    return;
  }
  if (self->head != NULL && self->waiting + frame->length > self->settings.queue) {
    self->counters.full++;
    link_frame_unref (frame);
    return;
  }
  if (self->head == NULL)
    self->wire_free = MAX (self->wire_free, now);
  frame->next = NULL;
  *self->tail = frame;
  self->tail = &frame->next;
  self->waiting += frame->length;
  work (self, now);
}

gint64
link_model_next (LinkModel *self)
{
  gint64 next = LINK_NEVER;

  if (self->departures->len > 0)
    next = g_array_index (self->departures, LinkDeparture, 0).due;
  if (self->head != NULL)
    next = MIN (next, self->wire_free + wire_time (self, self->head));
  return next;
}

LinkFrame *
link_model_pull (LinkModel *self, gint64 now, gint64 *due)
{
  LinkDeparture departure;

  work (self, now);
  if (self->departures->len == 0 || g_array_index (self->departures, LinkDeparture, 0).due > now)
    return NULL;
  departure = take_departure (self);
  self->counters.departed += !departure.frame->spared;
  *due = departure.due;
  return departure.frame;
}

void
link_model_out (LinkModel *self, gint64 now, gint64 duration)
{
  self->out_until = now + duration;
}

void
link_model_stall (LinkModel *self, gint64 now, gint64 duration)
{
  work (self, now);
  self->wire_free = MAX (self->wire_free, now) + duration;
}

/* ---- settings -------------------------------------------------------------- */

void
link_model_init (LinkModel *self, guint32 seed)
{
  memset (self, 0, sizeof *self);
  for (guint32 i = 0; i < G_N_ELEMENTS (self->chance); i++) {
    const guint32 seeds[] = {seed, i};
    self->chance[i] = g_rand_new_with_seed_array (seeds, G_N_ELEMENTS (seeds));
  }
  self->tail = &self->head;
  self->settings.queue = USUAL_QUEUE;
  self->settings.reorder_by = USUAL_REORDERBY;
  self->out_until = self->wire_free = self->last_due = G_MININT64 / 2;
  self->departures = g_array_new (FALSE, FALSE, sizeof (LinkDeparture));
}

void
link_model_clear (LinkModel *self)
{
  while (self->departures->len > 0)
    link_frame_unref (take_departure (self).frame);
  while (self->head != NULL) {
    LinkFrame *frame = self->head;
    self->head = frame->next;
    link_frame_unref (frame);
  }
  g_array_unref (self->departures);
  for (guint i = 0; i < G_N_ELEMENTS (self->chance); i++)
    g_rand_free (self->chance[i]);
}

/* What one text asks of one direction. */
typedef struct {
  LinkSettings settings;
  gint64 outage, stall; /* ns; negative: not asked for */
} Wish;

enum { SHARE, NUMBER, TIME, RATE, BYTES };

static const struct {
  const char *name;
  guint unit;
  gsize offset;
} names[] = {
    {"loss", SHARE, G_STRUCT_OFFSET (Wish, settings.loss)},
    {"burst", NUMBER, G_STRUCT_OFFSET (Wish, settings.burst)},
    {"duplicate", SHARE, G_STRUCT_OFFSET (Wish, settings.duplicate)},
    {"reorder", SHARE, G_STRUCT_OFFSET (Wish, settings.reorder)},
    {"reorder-by", TIME, G_STRUCT_OFFSET (Wish, settings.reorder_by)},
    {"delay", TIME, G_STRUCT_OFFSET (Wish, settings.delay)},
    {"jitter", TIME, G_STRUCT_OFFSET (Wish, settings.jitter)},
    {"rate", RATE, G_STRUCT_OFFSET (Wish, settings.rate)},
    {"queue", BYTES, G_STRUCT_OFFSET (Wish, settings.queue)},
    {"outage", TIME, G_STRUCT_OFFSET (Wish, outage)},
    {"stall", TIME, G_STRUCT_OFFSET (Wish, stall)},
};

static gboolean
put_value (Wish *wish, guint name, double value)
{
  gpointer field = G_STRUCT_MEMBER_P (wish, names[name].offset);

  switch (names[name].unit) {
  case SHARE: *(double *)field = value / 100; return value <= 100;
  case NUMBER: *(double *)field = value; return TRUE;
  case TIME: *(gint64 *)field = (gint64)(value * MS); return value < 1e7;
  case RATE: *(gint64 *)field = (gint64)(value * 1000); return value < 1e8;
  default: *(gsize *)field = (gsize)value; return value < 1e9;
  }
}

/* "NAME=VALUE" of one direction or both. */
static gboolean
parse_item (Wish wishes[2], const char *item, GError **error)
{
  gboolean up = !g_str_has_prefix (item, "down."), down = !g_str_has_prefix (item, "up.");
  const char *name = up && down ? item : strchr (item, '.') + 1;
  const char *equals = strchr (name, '=');
  char *end = NULL;
  double value = equals != NULL ? g_ascii_strtod (equals + 1, &end) : -1;
  gboolean good = value >= 0 && isfinite (value) && end > equals + 1 && *end == '\0';

  for (guint i = 0; good && i < G_N_ELEMENTS (names); i++) {
    if (strncmp (names[i].name, name, equals - name) != 0 || names[i].name[equals - name] != '\0')
      continue;
    if ((!up || put_value (&wishes[0], i, value)) && (!down || put_value (&wishes[1], i, value)))
      return TRUE;
  }
  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "a link cannot have '%s'", item);
  return FALSE;
}

gboolean
link_models_set (LinkModel both[2], const char *text, gint64 now, GError **error)
{
  g_auto (GStrv) items = g_strsplit (text, ",", -1);
  Wish wishes[2] = {{both[0].settings, -1, -1}, {both[1].settings, -1, -1}};

  for (guint i = 0; items[i] != NULL; i++) {
    if (items[i][0] != '\0' && !parse_item (wishes, items[i], error))
      return FALSE;
  }
  for (guint i = 0; i < 2; i++) {
    /* What waits has had the old rate until now. */
    work (&both[i], now);
    both[i].settings = wishes[i].settings;
    if (wishes[i].outage >= 0)
      link_model_out (&both[i], now, wishes[i].outage);
    if (wishes[i].stall >= 0)
      link_model_stall (&both[i], now, wishes[i].stall);
  }
  return TRUE;
}
