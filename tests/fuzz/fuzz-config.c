/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Any bytes as natrelay-server.conf, and their lines as the command line. Settings that are taken are inside their limits,
 * say the same when they are read once more, and a refusal has a sentence for a person. */

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "natserver/config.h"
#include "natserver/optiontable.h"

int LLVMFuzzerTestOneInput (const guint8 *data, gsize size);

static void
check_settings (NatConfig *config)
{
  g_assert_cmpuint (config->n_listen, <=, NAT_LISTEN_MAX);
  g_assert_cmpuint (config->n_public, <=, NAT_LISTEN_MAX);
  for (guint i = 0; i < nat_n_options; i++) {
    const NatOption *option = &nat_options[i];
    guint value = *(const guint *)((const guint8 *)config + option->offset);

    if (option->kind == NAT_OPTION_NUMBER)
      g_assert_true (value == option->def || (value >= option->min && value <= option->max));
  }
  for (guint i = 0; i < config->n_listen; i++) {
    if (config->open == NAT_OPEN_LOOPBACK)
      g_assert_true (nat_address_is_loopback (&config->listen_addresses[i]));
  }
}

/* NULL-terminated. */
static void
load (char **line)
{
  NatConfig config, again;
  g_autoptr (GError) error = NULL;
  int n = (int)g_strv_length (line);

  if (nat_config_load (&config, n, line, &error)) {
    g_autofree char *changed = NULL;

    check_settings (&config);
    g_assert_true (nat_config_load (&again, n, line, NULL));
    changed = nat_config_changed_start (&config, &again);
    g_assert_null (changed);
    nat_config_swap_reloads (&config, &again);
    nat_config_clear (&again);
  } else {
    g_assert_true (error != NULL && strlen (error->message) > 10);
  }
  nat_config_clear (&config);
}

static void
as_file (const guint8 *data, gsize size)
{
  static int fd = -1;
  static char path[64];
  char *line[] = {(char *)"natrelay-server", (char *)"--config", path, NULL};

  if (fd < 0) {
    fd = memfd_create ("natrelay-server.conf", MFD_CLOEXEC);
    g_assert_cmpint (fd, >=, 0);
    g_snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  }
  g_assert_cmpint (ftruncate (fd, 0), ==, 0);
  g_assert_cmpint (pwrite (fd, data, size, 0), ==, (gssize)size);
  load (line);
}

/* No file of this machine is read. */
static void
as_line (const guint8 *data, gsize size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_autofree char *all = g_strconcat ("natrelay-server\n", text, NULL);
  g_auto (GStrv) words = g_strsplit (all, "\n", 32);

  if (strstr (text, "config") == NULL)
    load (words);
}

int
LLVMFuzzerTestOneInput (const guint8 *data, gsize size)
{
  as_file (data, size);
  as_line (data, size);
  return 0;
}
