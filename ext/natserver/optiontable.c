/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/optiontable.h"

#include <string.h>

#include "natserver/config.h"

#define NAT_WHEN_START  FALSE
#define NAT_WHEN_SIGHUP TRUE

const NatOption nat_options[] = {
#define NAT_OPTION(kind, field, name, where, when, argument, def, min, max, example, help, more)   \
  {NAT_OPTION_##kind, NAT_OPTION_##where, name, argument, example, help, more, def, min, max,      \
      G_STRUCT_OFFSET (NatConfig, field), NAT_WHEN_##when},
#include "natserver/options.h"
#undef NAT_OPTION
};
const guint nat_n_options = G_N_ELEMENTS (nat_options);

const NatOption *
nat_option_find (const char *name, NatOptionWhere where)
{
  for (guint i = 0; i < nat_n_options; i++) {
    if ((nat_options[i].where & where) && strcmp (nat_options[i].name, name) == 0)
      return &nat_options[i];
  }
  return NULL;
}

/* Single edits from one word to the other (Levenshtein). */
static guint
distance (const char *a, const char *b)
{
  gsize n = strlen (b);
  g_autofree guint *row = g_new (guint, n + 1);

  for (gsize k = 0; k <= n; k++)
    row[k] = (guint)k;
  for (gsize i = 0; a[i] != '\0'; i++) {
    guint diagonal = row[0];

    row[0] = (guint)i + 1;
    for (gsize k = 0; k < n; k++) {
      guint replaced = diagonal + (a[i] != b[k]);

      diagonal = row[k + 1];
      row[k + 1] = MIN (replaced, MIN (row[k], row[k + 1]) + 1);
    }
  }
  return row[n];
}

char *
nat_option_guess (const char *name, NatOptionWhere where)
{
  const NatOption *best = NULL;
  guint least = 3 + (guint)MIN (strlen (name), 40) / 4;

  if (strlen (name) > 60)
    return g_strdup ("");
  for (guint i = 0; i < nat_n_options; i++) {
    guint d = distance (name, nat_options[i].name);

    if ((nat_options[i].where & where) && d < least) {
      least = d;
      best = &nat_options[i];
    }
  }
  if (best == NULL)
    return g_strdup ("");
  return g_strdup_printf (" Did you mean %s%s?", where == NAT_OPTION_LINE ? "--" : "", best->name);
}

char *
nat_option_variable (const NatOption *option)
{
  g_autofree char *upper = g_ascii_strup (option->name, -1);

  return g_strconcat ("NATRELAY_", g_strdelimit (upper, "-", '_'), NULL);
}
