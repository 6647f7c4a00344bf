/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Settings: command line, file, which of them wins, and what they mean. */

#include "natserver/config.h"

#include <string.h>
#include <glib/gstdio.h>

static gboolean
load (NatConfig *config, const char *line, GError **error)
{
  g_auto (GStrv) argv = g_strsplit (line, " ", -1);

  return nat_config_load (config, (int)g_strv_length (argv), argv, error);
}

static char *
write_file (const char *text)
{
  char *path = g_strdup_printf ("%s/natrelay-test-%08x.conf", g_get_tmp_dir (), g_random_int ());

  g_assert_true (g_file_set_contents (path, text, -1, NULL));
  return path;
}

static void
assert_text (const NatAddress *a, const char *text)
{
  char buf[NAT_ADDRESS_TEXT_MAX];

  g_assert_cmpstr (nat_address_to_text (a, buf), ==, text);
}

static void
test_defaults (void)
{
  NatConfig c;

  g_assert_true (load (&c, "x", NULL));
  g_assert_cmpuint (c.n_listen, ==, 2);
  assert_text (&c.listen_addresses[0], "0.0.0.0:8443");
  assert_text (&c.listen_addresses[1], "[::]:8443");
  g_assert_true (c.default_listen);
  g_assert_cmpuint (c.workers, ==, 1);
  g_assert_cmpuint (c.max_sessions, ==, 100000);
  g_assert_cmpuint (c.request_timeout, ==, 10);
  g_assert_cmpint (c.open, ==, NAT_OPEN_NO);
  g_assert_null (c.state_dir);
  nat_config_clear (&c);
}

static void
test_command_line (void)
{
  NatConfig c;

  g_assert_true (load (&c,
      "x --listen 192.0.2.1:443 --listen=[2001:db8::1]:8443 --listen 192.0.2.1 --state-dir /s "
      "--public-address=203.0.113.1 --workers 4 --verbose --token-key a.pem --token-key b.pem",
      NULL));
  g_assert_cmpuint (c.n_listen, ==, 3);
  g_assert_false (c.default_listen);
  assert_text (&c.listen_addresses[0], "192.0.2.1:443");
  assert_text (&c.listen_addresses[1], "[2001:db8::1]:8443");
  assert_text (&c.listen_addresses[2], "192.0.2.1:8443");
  assert_text (&c.public_addresses[0], "203.0.113.1:0");
  g_assert_cmpstr (c.state_dir, ==, "/s");
  g_assert_cmpuint (c.workers, ==, 4);
  g_assert_true (c.verbose);
  g_assert_cmpuint (g_strv_length (c.token_key), ==, 2);
  nat_config_clear (&c);
}

static void
test_file (void)
{
  g_autofree char *path = write_file ("# comment\n[server]\nlisten=192.0.2.1:443; [::1]:444\n"
                                      "workers=3\nverbose=true\nopen=anyone\nmax-sessions = 7 \n");
  g_autofree char *line = g_strdup_printf ("x --workers=5 --config %s --verbose=false", path);
  NatConfig c;

  g_assert_true (load (&c, line, NULL));
  g_assert_cmpuint (c.n_listen, ==, 2);
  assert_text (&c.listen_addresses[1], "[::1]:444");
  g_assert_cmpuint (c.workers, ==, 5);
  g_assert_false (c.verbose);
  g_assert_cmpint (c.open, ==, NAT_OPEN_ANYONE);
  g_assert_cmpuint (c.max_sessions, ==, 7);
  nat_config_clear (&c);
  g_unlink (path);
}

static void
test_open (void)
{
  NatConfig c;

  g_assert_true (load (&c, "x --open", NULL));
  assert_text (&c.listen_addresses[0], "127.0.0.1:8443");
  assert_text (&c.listen_addresses[1], "[::1]:8443");
  nat_config_clear (&c);
  g_assert_true (load (&c, "x --open --listen 127.0.0.5:1", NULL));
  nat_config_clear (&c);
  g_assert_true (load (&c, "x --open=anyone", NULL));
  assert_text (&c.listen_addresses[0], "0.0.0.0:8443");
  nat_config_clear (&c);
  g_assert_false (load (&c, "x --open --listen [::]:1", NULL));
  nat_config_clear (&c);
}

static void
test_refused (void)
{
  static const struct {
    const char *line, *words;
  } rows[] = {
      {"x --listne 1", "--listen"},
      {"x --stat-dir=1", "--state-dir"},
      {"x --zzzzzzzzzz", "--help"},
      {"x -l", "not an option"},
      {"x --", "not an option"},
      {"x --listen", "--listen ADDRESS:PORT"},
      {"x --listen=", NULL}, /* no address at all is the default */
      {"x --listen 1.2.3.4:70000", "numeric"},
      {"x --listen ::1:2:3:4:5:6:7:8:9", "numeric"},
      {"x --workers=65", "0 to 64"},
      {"x --workers=1x", "0 to 64"},
      {"x --workers=-1", "0 to 64"},
      {"x --verbose=maybe", "true or false"},
      {"x --listen 192.0.2.1 --listen 192.0.2.1:8443", "given twice"},
      {"x --state-dir=", "needs a value"},
      {"x --max-connections=5", "natrelay-server.conf"},
      {"x --private-key a", "--certificate"},
      {"x --public-address 0.0.0.0", "wildcard"},
      {"x --config /nonexistent", "/nonexistent"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autoptr (GError) error = NULL;
    NatConfig c;
    gboolean ok = load (&c, rows[i].line, &error);

    if (ok != (rows[i].words == NULL))
      g_error ("row %u", i);
    if (!ok && strstr (error->message, rows[i].words) == NULL)
      g_error ("row %u: %s", i, error->message);
    nat_config_clear (&c);
  }
}

static void
test_refused_files (void)
{
  static const struct {
    const char *text, *words;
  } rows[] = {
      {"[server]\nlisen=1\n", "Did you mean listen?"},
      {"[sever]\n", "[server]"},
      {"workers=1\n", "group"},
      {"[server]\nworkers=many\n", "workers"},
      {"[server]\nconfig=x\n", "no key \"config\""},
      {"[server]\nhelp=true\n", "no key \"help\""},
      {"[server\n", "cannot be read"},
  };

  for (guint i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autofree char *path = write_file (rows[i].text);
    g_autofree char *line = g_strconcat ("x --config=", path, NULL);
    g_autoptr (GError) error = NULL;
    NatConfig c;

    g_assert_false (load (&c, line, &error));
    if (strstr (error->message, rows[i].words) == NULL)
      g_error ("row %u: %s", i, error->message);
    nat_config_clear (&c);
    g_unlink (path);
  }
}

/* The example that is installed names every key of the file, with its default. */
static void
test_example (void)
{
  g_autofree char *path = g_build_filename (
      g_getenv ("MESON_SOURCE_ROOT"), "ext/natserver/dist/natrelay-server.conf", NULL);
  g_autofree char *text = NULL;
  g_autofree char *line = g_strconcat ("x --config=", path, NULL);
  NatConfig c;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
#define LINE(name)
#define FILE(name)                                                          g_assert_nonnull (strstr (text, "\n#" name "="));
#define BOTH(name)                                                          FILE (name)
#define NAT_OPTION(kind, field, name, where, argument, def, min, max, help) where (name)
#include "natserver/options.h"
#undef NAT_OPTION
  g_assert_true (load (&c, line, NULL));
  nat_config_clear (&c);
}

static void
test_help (void)
{
  g_autofree char *help = nat_config_help ();
  g_auto (GStrv) lines = g_strsplit (help, "\n", -1);

#define NAT_OPTION(kind, field, name, where, argument, def, min, max, text)                        \
  g_assert_nonnull (strstr (help, name));
#include "natserver/options.h"
#undef NAT_OPTION
  for (guint i = 0; lines[i] != NULL; i++)
    g_assert_cmpuint (strlen (lines[i]), <=, 100);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/config/defaults", test_defaults);
  g_test_add_func ("/config/command-line", test_command_line);
  g_test_add_func ("/config/file", test_file);
  g_test_add_func ("/config/open", test_open);
  g_test_add_func ("/config/refused", test_refused);
  g_test_add_func ("/config/refused-files", test_refused_files);
  g_test_add_func ("/config/example", test_example);
  g_test_add_func ("/config/help", test_help);
  return g_test_run ();
}
