/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/statuspage.h"

#include <string.h>

#include "natserver/observe/pagefiles.h"

/* The page's scripts: status.js is the first, and says which others it wants. */
#define SCRIPT(name)                                                                               \
  {                                                                                                \
#name ".js", "text/javascript; charset=utf-8", (const char *)nat_page_##name##_js              \
  }

static const NatPageFile files[] = {
    {"", "text/html; charset=utf-8", (const char *)nat_page_status_html},
    {"status.css", "text/css; charset=utf-8", (const char *)nat_page_status_css},
    {"status.svg", "image/svg+xml", (const char *)nat_page_status_svg},
    SCRIPT (status),
    SCRIPT (plots),
    SCRIPT (sessions),
    SCRIPT (sky),
    SCRIPT (state),
    SCRIPT (streams),
    SCRIPT (trend),
    SCRIPT (words),
};

const NatPageFile *
nat_statuspage_file (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    if (strcmp (files[i].name, name) == 0)
      return &files[i];
  }
  return NULL;
}
