/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natproto/streamname.h"

#include <string.h>

#include "natproto/messages.h"

/* Steps over one segment of name characters; 0 if there is none, or it is "." or "..". */
static gsize
segment_length (const char *p)
{
  gsize n = 0;

  while (g_ascii_isalnum (p[n]) || (p[n] != '\0' && strchr ("._~-", p[n]) != NULL))
    n++;
  if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
    return 0;
  return n;
}

/* Length of "*" or "**" as a whole segment; 0 if it is neither. */
static gsize
star_length (const char *p)
{
  gsize n = strspn (p, "*");

  return n <= 2 && (p[n] == '\0' || (p[n] == '/' && n == 1)) ? n : 0;
}

static gboolean
path_valid (const char *p, gboolean stars)
{
  if (strlen (p) > NAT_STREAM_NAME_MAX)
    return FALSE;
  for (;; p++) {
    gsize n = segment_length (p);

    if (n == 0 && stars)
      n = star_length (p);
    if (n == 0)
      return FALSE;
    p += n;
    if (*p == '\0')
      return TRUE;
    if (*p != '/')
      return FALSE;
  }
}

gboolean
nat_stream_name_valid (const char *name)
{
  return path_valid (name, FALSE);
}

gboolean
nat_stream_glob_valid (const char *glob)
{
  return path_valid (glob, TRUE);
}

gboolean
nat_stream_is_glob (const char *text)
{
  return strchr (text, '*') != NULL;
}

static gboolean
is_star (const char *segment, gsize len)
{
  return len == 1 && *segment == '*';
}

static gboolean
is_rest (const char *glob)
{
  return *glob == '\0' || strcmp (glob, "/**") == 0;
}

/* Two pointers and no going back: '**' stands last, so that nothing is ever ambiguous. What it is held against may
 * have stars itself, which only stars cover. */
static gboolean
covers (const char *glob, const char *other)
{
  if (strcmp (glob, "*/**") == 0) /* all: no name is without a segment */
    return TRUE;
  for (;;) {
    gsize n = strcspn (other, "/"), g = strcspn (glob, "/");

    if (strcmp (glob, "**") == 0)
      return TRUE;
    if (strcmp (other, "**") == 0)
      return FALSE;
    if (!is_star (glob, g) && (g != n || memcmp (glob, other, n) != 0))
      return FALSE;
    glob += g;
    other += n;
    if (*other == '\0')
      return is_rest (glob);
    if (*glob == '\0')
      return FALSE;
    glob++;
    other++;
  }
}

gboolean
nat_stream_glob_takes (const char *glob, const char *name)
{
  return covers (glob, name);
}

gboolean
nat_stream_glob_match (const char *glob, const char *name)
{
  return nat_stream_glob_valid (glob) && nat_stream_name_valid (name) && covers (glob, name);
}

gboolean
nat_stream_glob_covers (const char *glob, const char *other)
{
  return nat_stream_glob_valid (glob) && nat_stream_glob_valid (other) && covers (glob, other);
}

gboolean
nat_stream_globs_meet (const char *a, const char *b)
{
  if (!nat_stream_glob_valid (a) || !nat_stream_glob_valid (b))
    return FALSE;
  for (;;) {
    gsize n = strcspn (a, "/"), m = strcspn (b, "/");

    if (strcmp (a, "**") == 0 || strcmp (b, "**") == 0)
      return TRUE;
    if (!is_star (a, n) && !is_star (b, m) && (n != m || memcmp (a, b, n) != 0))
      return FALSE;
    a += n;
    b += m;
    if (*a == '\0' || *b == '\0')
      return is_rest (a) && is_rest (b);
    a++;
    b++;
  }
}
