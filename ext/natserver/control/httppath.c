/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/control/http.h"

#include <string.h>

static gboolean
segment_matches (const char *word, gsize len, const char *segment)
{
  if (len == 1 && *word == '*')
    return *segment != '\0';
  return strncmp (word, segment, len) == 0 && segment[len] == '\0';
}

static guint
words_behind (const char *at)
{
  guint n = 0;

  for (; *at != '\0'; at++)
    n += *at == '/';
  return n;
}

gboolean
nat_http_path_matches (const NatHttpRequest *rq, const char *pattern)
{
  guint at = 0;

  for (const char *word = pattern; word != NULL; word = *word ? word + 1 : NULL) {
    gsize len = strcspn (word, "/");

    if (at >= rq->n_path)
      return FALSE;
    if (len == 2 && memcmp (word, "**", 2) == 0) {
      guint behind = words_behind (word);

      if (rq->n_path < at + 1 + behind)
        return FALSE;
      at = rq->n_path - behind;
    } else if (!segment_matches (word, len, rq->path[at++])) {
      return FALSE;
    }
    word += len;
  }
  return at == rq->n_path;
}
