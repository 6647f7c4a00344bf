/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Settings: command line, file, which of them wins, and what they mean. */

#include "natserver/config.h"
#include "natserver/configdoc.h"

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
      {"\n# x\n[server]\n workers = 1\nlisen=1\n", ", line 5: "},
      {"[server]\nworkers=1\n\nworkers=1\n", ", line 4: workers stands in line 2"},
      {"[server]\nworkers=1\n[other]\n", ", line 3: "},
      {"[sever]\n", "[server]"},
      {"workers=1\n", "group"},
      {"[server]\nworkers=many\n", "workers"},
      {"[server]\nconfig=x\n", "no key \"config\""},
      {"[server]\ncheck=true\n", "no key \"check\""},
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

/* Each row of the table, with what stands for it in a text. */
#define NAT_OPTION(kind, field, name, where, when, argument, def, min, max, example, help, more)   \
  {#where, name},
static const struct {
  const char *where, *name;
} all_options[] = {
#include "natserver/options.h"
};
#undef NAT_OPTION

static gboolean
is_in_file (guint i)
{
  return strcmp (all_options[i].where, "LINE") != 0;
}

/* The example that is installed names every key of the file, and is a file with which nothing changes. */
static void
test_example (void)
{
  g_autofree char *text = nat_config_example ();
  g_autofree char *path = write_file (text);
  g_autofree char *line = g_strconcat ("x --config=", path, NULL);
  NatConfig c, plain;

  for (guint i = 0; i < G_N_ELEMENTS (all_options); i++) {
    g_autofree char *key = g_strdup_printf ("\n#%s=", all_options[i].name);

    g_assert_cmpint (strstr (text, key) != NULL, ==, is_in_file (i));
  }
  g_assert_true (load (&c, line, NULL));
  g_assert_true (load (&plain, "x", NULL));
  g_clear_pointer (&c.config, g_free); /* what names the file */
  g_assert_null (nat_config_changed_start (&c, &plain));
  nat_config_clear (&c);
  nat_config_clear (&plain);
  g_unlink (path);
}

/* ... and with all its examples taken, it is a file that can be read. */
static void
test_example_taken (void)
{
  g_autofree char *text = nat_config_example ();
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autofree char *taken = NULL;
  g_autofree char *path = NULL;
  g_autofree char *line = NULL;
  g_autoptr (GError) error = NULL;
  NatConfig c;

  for (guint i = 0; lines[i] != NULL; i++) {
    if (lines[i][0] == '#' && lines[i][1] != ' ')
      lines[i][0] = ' ';
  }
  taken = g_strjoinv ("\n", lines);
  path = write_file (taken);
  line = g_strconcat ("x --config=", path, NULL);
  load (&c, line, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (c.certificate, ==, "/etc/natrelay/fullchain.pem");
  g_assert_cmpuint (c.max_handshakes, ==, 64);
  g_assert_cmpuint (c.n_public, ==, 1);
  nat_config_clear (&c);
  g_unlink (path);
}

static void
test_help (void)
{
  g_autofree char *help = nat_config_help ();
  g_autofree char *man = nat_config_man ();
  g_autofree char *words = nat_config_words ();
  g_auto (GStrv) lines = g_strsplit (help, "\n", -1);

  for (guint i = 0; i < G_N_ELEMENTS (all_options); i++) {
    g_autofree char *word = g_strdup_printf ("--%s ", all_options[i].name);
    g_auto (GStrv) parts = g_strsplit (all_options[i].name, "-", -1);
    g_autofree char *name = g_strjoinv ("\\-", parts);

    g_assert_nonnull (strstr (help, all_options[i].name));
    g_assert_nonnull (strstr (man, name));
    g_assert_cmpint (strstr (words, word) != NULL, ==, strcmp (all_options[i].where, "FILE") != 0);
  }
  for (guint i = 0; lines[i] != NULL; i++)
    g_assert_cmpuint (strlen (lines[i]), <=, 100);
}

/* ---- Environment ------------------------------------------------------- */

static void
test_environment (void)
{
  g_autofree char *path = write_file ("[server]\nworkers=3\nmax-sessions=7\ncache-mb=1\n");
  g_autofree char *line = g_strdup_printf ("x --workers=5 --config %s", path);
  g_autoptr (GError) error = NULL;
  NatConfig c;

  g_setenv ("NATRELAY_WORKERS", "6", TRUE);
  g_setenv ("NATRELAY_MAX_SESSIONS", "8", TRUE);
  g_setenv ("NATRELAY_LISTEN", "192.0.2.1:443;[::1]:444", TRUE);
  g_setenv ("NATRELAY_PORT", "tcp://10.0.0.1:8443", TRUE); /* nobody's */
  g_setenv ("NATRELAY_HELP", "true", TRUE);                /* for the line only */
  g_assert_true (load (&c, line, NULL));
  g_assert_cmpuint (c.workers, ==, 5);
  g_assert_cmpuint (c.max_sessions, ==, 8);
  g_assert_cmpuint (c.cache_mb, ==, 1);
  g_assert_cmpuint (c.n_listen, ==, 2);
  g_assert_false (c.help);
  nat_config_clear (&c);
  g_setenv ("NATRELAY_MAX_SESSIONS", "many", TRUE);
  g_assert_false (load (&c, line, &error));
  g_assert_nonnull (strstr (error->message, "NATRELAY_MAX_SESSIONS in the environment"));
  nat_config_clear (&c);
  g_unsetenv ("NATRELAY_WORKERS");
  g_unsetenv ("NATRELAY_MAX_SESSIONS");
  g_unsetenv ("NATRELAY_LISTEN");
  g_unsetenv ("NATRELAY_PORT");
  g_unsetenv ("NATRELAY_HELP");
  g_unlink (path);
}

/* ---- Reloading --------------------------------------------------------- */

static void
test_reload (void)
{
  NatConfig a, b;
  g_autofree char *names = NULL;

  g_assert_true (load (&a, "x --token-key one --certificate c --private-key k", NULL));
  g_assert_true (load (&b, "x --token-key one --token-key two --verbose", NULL));
  g_assert_null (nat_config_changed_start (&a, &b));
  nat_config_swap_reloads (&a, &b);
  g_assert_cmpuint (g_strv_length (a.token_key), ==, 2);
  g_assert_null (a.certificate);
  g_assert_true (a.verbose);
  g_assert_cmpstr (b.certificate, ==, "c");
  nat_config_clear (&b);
  g_assert_true (load (&b, "x --listen 127.0.0.1:1 --workers 3 --verbose", NULL));
  names = nat_config_changed_start (&a, &b);
  g_assert_cmpstr (names, ==, "listen, workers");
  nat_config_swap_reloads (&a, &b);
  g_assert_null (a.listen);
  nat_config_clear (&a);
  nat_config_clear (&b);
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
  g_test_add_func ("/config/example-taken", test_example_taken);
  g_test_add_func ("/config/help", test_help);
  g_test_add_func ("/config/environment", test_environment);
  g_test_add_func ("/config/reload", test_reload);
  return g_test_run ();
}
