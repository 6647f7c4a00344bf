/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/configdoc.h"

#include <string.h>

#include "natserver/config.h"
#include "natserver/optiontable.h"

#define HELP_COLUMN 34
#define HELP_WIDTH  98

/* ---- Text -------------------------------------------------------------- */

/* Breaks text at blanks into lines of at most width columns; lines after the first begin with prefix, which
 * is as wide as what stands before text in the first. */
static void
append_wrapped (GString *out, const char *text, const char *prefix, gsize width)
{
  g_auto (GStrv) words = g_strsplit (text, " ", -1);
  gsize indent = strlen (prefix), column = indent;

  for (guint i = 0; words[i] != NULL; i++) {
    if (i > 0 && column + 1 + strlen (words[i]) > width) {
      g_string_append_printf (out, "\n%s", prefix);
      column = indent;
    } else if (i > 0) {
      g_string_append_c (out, ' ');
      column++;
    }
    g_string_append (out, words[i]);
    column += strlen (words[i]);
  }
  g_string_append_c (out, '\n');
}

/* As --name ARGUMENT, or name=ARGUMENT. */
static char *
usage (const NatOption *option, gboolean on_line)
{
  const char *dashes = on_line ? "--" : "";

  if (option->kind == NAT_OPTION_OPEN)
    return g_strdup_printf ("%s%s[=%s]", dashes, option->name, option->argument);
  if (option->argument == NULL)
    return g_strconcat (dashes, option->name, NULL);
  return g_strdup_printf ("%s%s%c%s", dashes, option->name, on_line ? ' ' : '=', option->argument);
}

static char *
phrase (const NatOption *option)
{
  if (option->kind == NAT_OPTION_NUMBER)
    return g_strdup_printf ("%s (default %u)", option->help, option->def);
  return g_strdup (option->help);
}

/* The phrase as a sentence, and what follows it. */
static char *
paragraph (const NatOption *option)
{
  g_autofree char *text = phrase (option);

  *text = g_ascii_toupper (*text);
  return g_strconcat (text, ".", *option->more ? " " : "", option->more, NULL);
}

/* ---- --help ------------------------------------------------------------ */

static void
append_help (GString *out, const NatOption *option, gboolean on_line)
{
  g_autofree char *left = usage (option, on_line);
  g_autofree char *text = phrase (option);
  g_autofree char *blanks = g_strnfill (HELP_COLUMN, ' ');

  if (strlen (left) > HELP_COLUMN - 4)
    g_string_append_printf (out, "  %s\n%s", left, blanks);
  else
    g_string_append_printf (out, "  %-*s  ", HELP_COLUMN - 4, left);
  append_wrapped (out, text, blanks, HELP_WIDTH);
}

char *
nat_config_help (void)
{
  GString *out = g_string_new (
      "Usage: natrelay-server [OPTION...]\n"
      "       natrelay-server status [--help] [URL]    streams and sessions, in a terminal\n\n"
      "Relays RTP from publishers to subscribers that sit behind NATs and firewalls. Without any\n"
      "option it starts, makes its certificate and keys, and prints what clients need.\n\n"
      "Options (all but config, check, version and help are keys of natrelay-server.conf as "
      "well):\n");

  for (guint i = 0; i < nat_n_options; i++) {
    if (nat_options[i].where & NAT_OPTION_LINE)
      append_help (out, &nat_options[i], TRUE);
  }
  g_string_append (out, "\nKeys of natrelay-server.conf only:\n");
  for (guint i = 0; i < nat_n_options; i++) {
    if (nat_options[i].where == NAT_OPTION_FILE)
      append_help (out, &nat_options[i], FALSE);
  }
  g_string_append (out,
      "\nEvery key can be set in the environment, too: max-sessions is NATRELAY_MAX_SESSIONS.\n"
      "The command line wins over the environment, and that over the file.\n\n"
      "SIGHUP reads the settings anew, without losing a session; SIGUSR1 takes no new sessions "
      "and\n"
      "ends the relay when the last one is over; SIGTERM ends it now, which clients are told.\n");
  return g_string_free (out, FALSE);
}

/* ---- natrelay-server.conf ---------------------------------------------- */

static void
append_example (GString *out, const NatOption *option)
{
  g_autofree char *text = paragraph (option);

  g_string_append (out, "\n# ");
  append_wrapped (out, text, "# ", HELP_WIDTH);
  if (!option->reloads)
    g_string_append (out, "# Read at a start only.\n");
  if (option->example != NULL)
    g_string_append_printf (out, "#%s=%s\n", option->name, option->example);
  else if (option->kind == NAT_OPTION_NUMBER)
    g_string_append_printf (out, "#%s=%u\n", option->name, option->def);
  else
    g_string_append_printf (out, "#%s=false\n", option->name);
}

char *
nat_config_example (void)
{
  GString *out = g_string_new (
      "# Settings of natrelay-server. Every key stands here with its default or an example, "
      "commented\n"
      "# out; remove the '#' to change one. What is given on the command line or in the "
      "environment\n"
      "# (NATRELAY_...) wins. Several values are separated by ';'. \"systemctl reload "
      "natrelay-server\"\n"
      "# (SIGHUP) reads this file anew; no session is lost, not even by a restart.\n\n"
      "[" NAT_CONFIG_GROUP "]\n");

  for (guint i = 0; i < nat_n_options; i++) {
    if (nat_options[i].where & NAT_OPTION_FILE)
      append_example (out, &nat_options[i]);
  }
  return g_string_free (out, FALSE);
}

/* ---- Man page ---------------------------------------------------------- */

/* For troff a hyphen that is to be copied is \-, and a line must not begin with a dot or a quote. */
static char *
troff (const char *text)
{
  GString *out = g_string_new (NULL);

  for (const char *p = text; *p != '\0'; p++) {
    if (*p == '-')
      g_string_append (out, "\\-");
    else if (*p == '\\')
      g_string_append (out, "\\e");
    else
      g_string_append_c (out, *p);
  }
  return g_string_free (out, FALSE);
}

static void
append_item (GString *out, const NatOption *option, gboolean on_line)
{
  g_autofree char *left = usage (option, on_line);
  g_autofree char *text = paragraph (option);
  g_autofree char *left_troff = troff (left);
  g_autofree char *text_troff = troff (text);

  g_string_append_printf (out, ".TP\n.B %s\n", left_troff);
  append_wrapped (out, text_troff, "", HELP_WIDTH);
}

static void
append_names (GString *out, gboolean reloads)
{
  const char *separator = "";

  for (guint i = 0; i < nat_n_options; i++) {
    g_autofree char *name = troff (nat_options[i].name);

    if (!(nat_options[i].where & NAT_OPTION_FILE) || nat_options[i].reloads != reloads)
      continue;
    g_string_append_printf (out, "%s\\fB%s\\fR", separator, name);
    separator = ",\n";
  }
  g_string_append (out, ".\n");
}

char *
nat_config_man (void)
{
  GString *out = g_string_new (".SH OPTIONS\n");

  for (guint i = 0; i < nat_n_options; i++) {
    if (nat_options[i].where & NAT_OPTION_LINE)
      append_item (out, &nat_options[i], TRUE);
  }
  g_string_append (out,
      ".SH CONFIGURATION FILE\n"
      "The file that \\fB\\-\\-config\\fR names has one group, \\fB[" NAT_CONFIG_GROUP
      "]\\fR. Its keys\n"
      "are the options above, without the dashes, and these:\n");
  for (guint i = 0; i < nat_n_options; i++) {
    if (nat_options[i].where == NAT_OPTION_FILE)
      append_item (out, &nat_options[i], FALSE);
  }
  g_string_append (out,
      ".PP\nAn unknown key, a key that stands there twice and a value that cannot be are refused,\n"
      "with their line. SIGHUP reads anew\n");
  append_names (out, TRUE);
  g_string_append (out, "Only a restart changes\n");
  append_names (out, FALSE);
  g_string_append (out,
      ".SH ENVIRONMENT\n"
      "Every key of the file has its variable:\n"
      "\\fBmax\\-sessions\\fR is \\fBNATRELAY_MAX_SESSIONS\\fR. The command line wins over\n"
      "the environment, and the environment over the file.\n");
  return g_string_free (out, FALSE);
}

/* ---- bash -------------------------------------------------------------- */

char *
nat_config_words (void)
{
  GString *out = g_string_new (NULL);

  for (guint i = 0; i < nat_n_options; i++) {
    if (nat_options[i].where & NAT_OPTION_LINE)
      g_string_append_printf (out, "--%s %s\n", nat_options[i].name,
          nat_options[i].kind == NAT_OPTION_OPEN || !nat_options[i].argument
              ? ""
              : nat_options[i].argument);
  }
  return g_string_free (out, FALSE);
}
