/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Three lines: two patterns and a name. What the relay says of them is held against a plain reading of
 * docs/PROTOCOL.md, and against itself: a pattern that covers another takes all that the other takes. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "natproto/messages.h"
#include "natproto/streamname.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* ---- The plain reading ------------------------------------------------- */

static gboolean
is_word (const char *segment)
{
  if (*segment == '\0' || strcmp (segment, ".") == 0 || strcmp (segment, "..") == 0)
    return FALSE;
  for (; *segment != '\0'; segment++) {
    if (!g_ascii_isalnum (*segment) && *segment != '.' && *segment != '_' && *segment != '~' &&
        *segment != '-')
      return FALSE;
  }
  return TRUE;
}

static gboolean
reads_as (const char *text, gboolean pattern)
{
  g_auto (GStrv) segments = g_strsplit (text, "/", -1);

  if (*text == '\0' || strlen (text) > NAT_STREAM_NAME_MAX)
    return FALSE;
  for (guint i = 0; segments[i] != NULL; i++) {
    gboolean star = strcmp (segments[i], "*") == 0;
    gboolean rest = strcmp (segments[i], "**") == 0 && segments[i + 1] == NULL;

    if (!is_word (segments[i]) && !(pattern && (star || rest)))
      return FALSE;
  }
  return TRUE;
}

static gboolean
takes (char *const *pattern, char *const *name)
{
  if (*pattern != NULL && strcmp (*pattern, "**") == 0)
    return TRUE;
  if (*pattern == NULL || *name == NULL)
    return *pattern == NULL && *name == NULL;
  return (strcmp (*pattern, "*") == 0 || strcmp (*pattern, *name) == 0) &&
         takes (pattern + 1, name + 1);
}

static gboolean
matches (const char *pattern, const char *name)
{
  g_auto (GStrv) p = g_strsplit (pattern, "/", -1);
  g_auto (GStrv) n = g_strsplit (name, "/", -1);

  return reads_as (pattern, TRUE) && reads_as (name, FALSE) && takes (p, n);
}

/* ---- Against it -------------------------------------------------------- */

static void
check_one (const char *pattern, const char *name)
{
  g_assert (nat_stream_glob_valid (pattern) == reads_as (pattern, TRUE));
  g_assert (nat_stream_name_valid (name) == reads_as (name, FALSE));
  g_assert (nat_stream_glob_match (pattern, name) == matches (pattern, name));
  g_assert (!nat_stream_name_valid (pattern) || !nat_stream_is_glob (pattern));
  if (nat_stream_glob_valid (pattern))
    g_assert (
        nat_stream_glob_covers (pattern, pattern) && nat_stream_globs_meet (pattern, pattern));
}

/* A name that it matches, and hardly anything else does. */
static char *
example_of (const char *pattern)
{
  g_auto (GStrv) segments = g_strsplit (pattern, "/", -1);

  for (guint i = 0; segments[i] != NULL; i++) {
    if (segments[i][0] != '*')
      continue;
    g_free (segments[i]);
    segments[i] = g_strdup ("~");
  }
  return g_strjoinv ("/", segments);
}

static void
check_two (const char *a, const char *b, const char *name)
{
  gboolean both_match = nat_stream_glob_match (a, name) && nat_stream_glob_match (b, name);

  g_assert (nat_stream_globs_meet (a, b) == nat_stream_globs_meet (b, a));
  g_assert (!both_match || nat_stream_globs_meet (a, b));
  if (!nat_stream_glob_covers (a, b))
    return;
  g_assert (nat_stream_globs_meet (a, b));
  g_assert (!nat_stream_glob_match (b, name) || nat_stream_glob_match (a, name));
  {
    g_autofree char *example = example_of (b);

    g_assert (nat_stream_glob_match (a, example));
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_auto (GStrv) lines = g_strsplit (text, "\n", 3);
  const char *a = lines[0] ? lines[0] : "";
  const char *b = a == lines[0] && lines[1] ? lines[1] : "";
  const char *name = *b != '\0' && lines[2] ? lines[2] : "";

  check_one (a, name);
  check_one (b, a);
  check_two (a, b, name);
  check_two (b, a, name);
  return 0;
}
