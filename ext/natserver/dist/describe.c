/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* describe example|man|completion [TEMPLATE]: what is installed beside natrelay-server, made of its table of
 * options. Of the template, the line @OPTIONS@ is replaced. Runs while natrelay is built. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "natserver/configdoc.h"

static char *
middle (const char *what)
{
  if (strcmp (what, "example") == 0)
    return nat_config_example ();
  if (strcmp (what, "man") == 0)
    return nat_config_man ();
  if (strcmp (what, "completion") == 0)
    return nat_config_words ();
  return NULL;
}

int
main (int argc, char **argv)
{
  g_autofree char *text = argc > 1 ? middle (argv[1]) : NULL;
  g_autofree char *template = NULL;
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) parts = NULL;

  if (!text) {
    fprintf (stderr, "usage: describe example|man|completion [TEMPLATE]\n");
    return EXIT_FAILURE;
  }
  if (argc == 2) {
    fputs (text, stdout);
    return EXIT_SUCCESS;
  }
  if (!g_file_get_contents (argv[2], &template, NULL, &error)) {
    fprintf (stderr, "describe: %s\n", error->message);
    return EXIT_FAILURE;
  }
  parts = g_strsplit (template, "@OPTIONS@\n", 2);
  if (g_strv_length (parts) != 2) {
    fprintf (stderr, "describe: %s has no line @OPTIONS@\n", argv[2]);
    return EXIT_FAILURE;
  }
  printf ("%s%s%s", parts[0], text, parts[1]);
  return EXIT_SUCCESS;
}
