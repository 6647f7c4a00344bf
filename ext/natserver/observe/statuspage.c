/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/observe/statuspage.h"

#include <string.h>

#include "natserver/observe/pagefiles.h"

static const NatPageFile files[] = {
    {"", "text/html; charset=utf-8", (const char *)nat_page_status_html},
    {"status.css", "text/css; charset=utf-8", (const char *)nat_page_status_css},
    {"status.js", "text/javascript; charset=utf-8", (const char *)nat_page_status_js},
    {"status.svg", "image/svg+xml", (const char *)nat_page_status_svg},
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
