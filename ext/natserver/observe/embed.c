/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* embed FILE...: a header with what is in the files, as zero-terminated arrays: page/status.js becomes nat_page_status_js.
 * Runs while natrelay is built. */

#include <stdio.h>
#include <stdlib.h>
#include <glib.h>

static void
print_array (const char *path, const guint8 *bytes, gsize len)
{
  g_autofree char *name = g_path_get_basename (path);

  g_strdelimit (name, ".-", '_');
  printf ("\nstatic const unsigned char nat_page_%s[] = {", name);
  for (gsize i = 0; i < len; i++)
    printf ("%s%u,", i % 24 == 0 ? "\n" : "", bytes[i]);
  printf ("0};\n");
}

int
main (int argc, char **argv)
{
  puts ("/* Made of the files in page/. */\n#pragma once");
  for (int i = 1; i < argc; i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *text = NULL;
    gsize len;

    if (!g_file_get_contents (argv[i], &text, &len, &error)) {
      fprintf (stderr, "embed: %s\n", error->message);
      return EXIT_FAILURE;
    }
    print_array (argv[i], (const guint8 *)text, len);
  }
  return EXIT_SUCCESS;
}
