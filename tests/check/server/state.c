/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the relay keeps in files, and what it says in its log. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <signal.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <glib/gstdio.h>

#include "natproto/crypto.h"
#include "natserver/control/endedfile.h"
#include "natserver/control/secretfile.h"
#include "natserver/control/tls.h"
#include "natserver/observe/log.h"

#define NOW 1700000000

static char *
temporary (void)
{
  return g_strdup_printf ("%s/natrelay-test-%08x", g_get_tmp_dir (), g_random_int ());
}

static NatEnded
ended (guint8 n, NatReason reason, gint64 until_s)
{
  NatEnded e = {.reason = reason, .until_s = until_s};

  memset (e.id, n, sizeof e.id);
  return e;
}

/* ---- ended ------------------------------------------------------------- */

static guint
count (const char *path, gint64 now_s)
{
  NatEndedFile *file = nat_ended_file_open (path, now_s, NULL);
  g_autoptr (GArray) found = NULL;

  g_assert_nonnull (file);
  found = nat_ended_file_take_found (file);
  nat_ended_file_free (file);
  return found->len;
}

static void
test_ended_survive (void)
{
  g_autofree char *path = temporary ();
  NatEndedFile *file = nat_ended_file_open (path, NOW, NULL);
  NatEnded a = ended (1, NAT_REASON_ENDED, NOW + 10),
           b = ended (2, NAT_REASON_SUPERSEDED, NOW + 20);
  g_autoptr (GArray) found = NULL;
  const NatEnded *second;
  struct stat st;

  g_assert_nonnull (file);
  found = nat_ended_file_take_found (file);
  g_assert_cmpuint (found->len, ==, 0);
  g_clear_pointer (&found, g_array_unref);
  nat_ended_file_add (file, &a, NOW);
  nat_ended_file_add (file, &b, NOW);
  nat_ended_file_free (file);
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpuint (st.st_mode & 0777, ==, 0600);

  file = nat_ended_file_open (path, NOW, NULL);
  found = nat_ended_file_take_found (file);
  g_assert_cmpuint (found->len, ==, 2);
  second = &g_array_index (found, NatEnded, 1);
  g_assert_cmpmem (second->id, NAT_SESSION_ID_SIZE, b.id, NAT_SESSION_ID_SIZE);
  g_assert_cmpint (second->reason, ==, NAT_REASON_SUPERSEDED);
  g_assert_cmpint (second->until_s, ==, NOW + 20);
  nat_ended_file_free (file);
  g_assert_cmpuint (count (path, NOW + 10), ==, 1); /* what is past goes */
  g_unlink (path);
}

static void
test_ended_cut_lines (void)
{
  g_autofree char *path = temporary ();

  g_assert_true (g_file_set_contents (path,
      "AAAAAAAAAAAAAAAAAAAAAA ended 1800000000\n"
      "rubbish\n"
      "AAAAAAAAAAAAAAAAAAAAAA vanished 1800000000\n"
      "AAAAAAAAAAAAAAAAAAAAAA ended x\n"
      "AAAAAAAAAAAAAAAAAAAAAA ended 1800000000 x\n"
      "AAAAAAAAAAAAAAAAAAAAAA  ended 1800000000\n"
      "AAAAAAAAAAAAAAAAAAAAAA ended 18000000000000000000000000000000000000000\n"
      "AAAAAAAAAAAAAAAAAAAAAA ended -1\n"
      " \n\n"
      "AAAAAAAAAAAAAAAAAAAAAQ revoked 1800000000\n"
      "AAAAAAAAAAAAAAAAAAAAAQ supersed",
      -1, NULL));
  g_assert_cmpuint (count (path, NOW), ==, 2);
  g_unlink (path);
}

static void
test_ended_does_not_grow (void)
{
  g_autofree char *path = temporary ();
  NatEndedFile *file = nat_ended_file_open (path, NOW, NULL);
  struct stat st;

  for (guint i = 0; i < 20000; i++) {
    NatEnded e = ended ((guint8)i, NAT_REASON_ENDED, NOW + i / 10 + 10);

    nat_ended_file_add (file, &e, NOW + i / 10);
  }
  nat_ended_file_free (file);
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpint (st.st_size, <, 9000 * 50);
  g_assert_cmpuint (count (path, NOW + 1999), ==, 100);
  g_unlink (path);
}

/* ---- A disk that takes its time ---------------------------------------- */

/* The linker puts these in the place of the system's. */
int __wrap_fdatasync (int fd);
int __wrap_open64 (const char *path, int flags, mode_t mode);
int __real_open64 (const char *path, int flags, mode_t mode);

static struct {
  GMutex lock;
  GCond changed;
  gboolean stuck;
  guint begun;
  int error; /* 0 = none */
} disk;

int
__wrap_fdatasync (int fd)
{
  int error;

  g_assert_cmpint (fcntl (fd, F_GETFD), ==, FD_CLOEXEC);
  g_mutex_lock (&disk.lock);
  disk.begun++;
  g_cond_broadcast (&disk.changed);
  while (disk.stuck)
    g_cond_wait (&disk.changed, &disk.lock);
  error = disk.error;
  g_mutex_unlock (&disk.lock);
  errno = error;
  return error == 0 ? 0 : -1;
}

static gint refusing, refused; /* atomic: whether nothing can be opened, and how often that was */

int
__wrap_open64 (const char *path, int flags, mode_t mode)
{
  if (!g_atomic_int_get (&refusing))
    return __real_open64 (path, flags, mode);
  g_atomic_int_inc (&refused);
  errno = EMFILE;
  return -1;
}

static void
set_disk (gboolean stuck, int error)
{
  g_mutex_lock (&disk.lock);
  disk.stuck = stuck;
  disk.error = error;
  g_cond_broadcast (&disk.changed);
  g_mutex_unlock (&disk.lock);
}

static void
wait_until_begun (guint n)
{
  g_mutex_lock (&disk.lock);
  while (disk.begun < n)
    g_cond_wait (&disk.changed, &disk.lock);
  g_mutex_unlock (&disk.lock);
}

static guint
n_begun (void)
{
  guint n;

  g_mutex_lock (&disk.lock);
  n = disk.begun;
  g_mutex_unlock (&disk.lock);
  return n;
}

static guint
n_lines (const char *path)
{
  g_autofree char *text = NULL;
  guint n = 0;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  for (const char *p = text; (p = strchr (p, '\n')) != NULL; p++)
    n++;
  return n;
}

static ino_t
inode (const char *path)
{
  GStatBuf st;

  g_assert_cmpint (g_stat (path, &st), ==, 0);
  return st.st_ino;
}

static void
wait_for_lines (const char *path, guint n)
{
  while (n_lines (path) != n)
    g_usleep (1000);
}

/* until it was written anew */
static void
sync_until_new (NatEndedFile *file, const char *path, ino_t before, gint64 now_s)
{
  while (inode (path) == before) {
    nat_ended_file_sync (file, now_s, NULL);
    g_usleep (1000);
  }
}

static void
wait_for_failure (NatEndedFile *file, gint64 now_s, GError **error)
{
  while (nat_ended_file_sync (file, now_s, error))
    g_usleep (1000);
}

static struct rlimit
limit_files (rlim_t bytes)
{
  struct rlimit before, full;

  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &before), ==, 0);
  full = before;
  full.rlim_cur = bytes;
  signal (SIGXFSZ, SIG_IGN);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &full), ==, 0);
  return before;
}

/* A disk that is full for a while, from the middle of what is written at once. */
static void
test_ended_when_the_disk_is_full (void)
{
  g_autofree char *path = temporary ();
  NatEndedFile *file = nat_ended_file_open (path, NOW, NULL);
  NatEnded e[] = {ended (1, NAT_REASON_ENDED, NOW + 10), ended (2, NAT_REASON_ENDED, NOW + 10),
      ended (3, NAT_REASON_ENDED, NOW + 10), ended (4, NAT_REASON_ENDED, NOW + 10),
      ended (5, NAT_REASON_ENDED, NOW + 10)};
  g_autoptr (GError) error = NULL;
  guint begun = n_begun ();
  struct rlimit before;

  set_disk (TRUE, 0);
  nat_ended_file_add (file, &e[0], NOW);
  nat_ended_file_sync (file, NOW, NULL);
  wait_until_begun (begun + 1);
  before = limit_files (100); /* two lines and a part of the next */
  for (guint i = 1; i < 4; i++)
    nat_ended_file_add (file, &e[i], NOW);
  set_disk (FALSE, 0);
  wait_for_failure (file, NOW, &error);
  g_assert_nonnull (strstr (error->message, path));
  g_assert_nonnull (strstr (error->message, g_strerror (ENOSPC)));
  g_assert_cmpuint (n_lines (path), ==, 2);
  g_clear_error (&error);
  wait_for_failure (file, NOW, &error); /* it was tried again */
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);
  while (n_lines (path) != 4) {
    nat_ended_file_sync (file, NOW, NULL);
    g_usleep (1000);
  }
  nat_ended_file_add (file, &e[4], NOW);
  nat_ended_file_free (file);
  g_assert_cmpuint (count (path, NOW), ==, G_N_ELEMENTS (e));
  g_unlink (path);
}

/* What is past by then needs no room any more, neither in memory nor on the disk. */
static void
test_ended_while_the_disk_is_full (void)
{
  g_autofree char *path = temporary ();
  NatEndedFile *file = nat_ended_file_open (path, NOW, NULL);
  ino_t first = inode (path);
  struct rlimit before = limit_files (10);

  for (guint i = 0; i < 100; i++) {
    NatEnded e = ended ((guint8)i, NAT_REASON_ENDED, NOW + 10);

    nat_ended_file_add (file, &e, NOW);
  }
  wait_for_failure (file, NOW + 9, NULL);
  wait_for_failure (file, NOW + 9, NULL);
  g_assert_cmpuint (inode (path), ==, first);
  sync_until_new (file, path, first, NOW + 10);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);
  nat_ended_file_free (file);
  g_assert_cmpuint (count (path, NOW), ==, 0);
  g_unlink (path);
}

/* A relay that starts then knows what was, and keeps what comes until there is room. */
static void
test_ended_opened_when_the_disk_is_full (void)
{
  g_autofree char *path = temporary ();
  NatEndedFile *file = nat_ended_file_open (path, NOW, NULL);
  NatEnded e[] = {ended (1, NAT_REASON_ENDED, NOW + 10), ended (2, NAT_REASON_ENDED, NOW + 10)};
  g_autoptr (GArray) found = NULL;
  g_autoptr (GError) error = NULL;
  struct rlimit before;

  nat_ended_file_add (file, &e[0], NOW);
  nat_ended_file_free (file);
  before = limit_files (10);
  file = nat_ended_file_open (path, NOW, &error);
  g_assert_no_error (error);
  found = nat_ended_file_take_found (file);
  g_assert_cmpuint (found->len, ==, 1);
  wait_for_failure (file, NOW, &error);
  g_assert_nonnull (strstr (error->message, path));
  nat_ended_file_add (file, &e[1], NOW);
  wait_for_failure (file, NOW + 1, NULL);
  g_assert_cmpuint (n_lines (path), ==, 1);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);
  for (gint64 now_s = NOW + 1; n_lines (path) != 2; now_s = NOW + 2) {
    nat_ended_file_sync (file, now_s, NULL);
    g_usleep (1000);
  }
  nat_ended_file_free (file);
  g_assert_cmpuint (count (path, NOW), ==, 2);
  g_unlink (path);
}

/* Nobody waits for it, and nothing is written beside it: what comes meanwhile is written when it is done, and synced once. */
static void
test_ended_while_the_disk_is_slow (void)
{
  g_autofree char *path = temporary ();
  NatEndedFile *file = nat_ended_file_open (path, NOW, NULL);
  NatEnded e = ended (1, NAT_REASON_ENDED, NOW + 10);
  guint before = n_begun ();

  set_disk (TRUE, 0);
  nat_ended_file_add (file, &e, NOW);
  g_assert_true (nat_ended_file_sync (file, NOW, NULL));
  wait_until_begun (before + 1);
  for (guint i = 0; i < 5000; i++) { /* more than a file has before it is written anew */
    e = ended ((guint8)i, NAT_REASON_ENDED, NOW + 10);
    nat_ended_file_add (file, &e, NOW);
    g_assert_true (nat_ended_file_sync (file, NOW, NULL));
  }
  g_assert_cmpuint (n_lines (path), ==, 1);
  g_assert_cmpuint (n_begun (), ==, before + 1);
  set_disk (FALSE, 0);
  wait_for_lines (path, 5001);
  nat_ended_file_free (file);
  g_assert_cmpuint (n_begun (), ==, before + 2);
  g_unlink (path);
}

/* Who asks next is told, once. The file is another then: the disk would not be asked again for what it failed to take. */
static void
test_ended_when_the_disk_fails (void)
{
  g_autofree char *path = temporary ();
  NatEndedFile *file = nat_ended_file_open (path, NOW, NULL);
  NatEnded e = ended (1, NAT_REASON_ENDED, NOW + 10);
  g_autoptr (GError) error = NULL;
  ino_t first = inode (path), second;
  guint begun = n_begun ();

  set_disk (FALSE, EIO);
  nat_ended_file_add (file, &e, NOW);
  g_assert_true (nat_ended_file_sync (file, NOW, NULL));
  wait_until_begun (begun + 1);
  set_disk (FALSE, 0);
  wait_for_failure (file, NOW, &error);
  g_assert_nonnull (strstr (error->message, path));
  g_assert_nonnull (strstr (error->message, g_strerror (EIO)));
  sync_until_new (file, path, first, NOW);
  second = inode (path);
  g_assert_cmpuint (n_lines (path), ==, 1);
  g_assert_true (nat_ended_file_sync (file, NOW + 100, NULL));
  nat_ended_file_add (file, &e, NOW);
  nat_ended_file_free (file);
  g_assert_cmpuint (inode (path), ==, second);
  g_assert_cmpuint (n_lines (path), ==, 2);
  g_unlink (path);
}

/* The new file is there, but not in our hands: what comes now is not for the one before, which nobody will read. */
static void
test_ended_when_the_new_file_cannot_be_opened (void)
{
  g_autofree char *path = temporary ();
  NatEndedFile *file = nat_ended_file_open (path, NOW, NULL);
  NatEnded e[] = {ended (1, NAT_REASON_ENDED, NOW + 10), ended (2, NAT_REASON_ENDED, NOW + 10)};
  guint begun = n_begun ();

  set_disk (FALSE, EIO);
  nat_ended_file_add (file, &e[0], NOW);
  g_assert_true (nat_ended_file_sync (file, NOW, NULL));
  wait_until_begun (begun + 1);
  set_disk (FALSE, 0);
  g_atomic_int_set (&refusing, TRUE);
  while (g_atomic_int_get (&refused) == 0) {
    nat_ended_file_sync (file, NOW, NULL);
    g_usleep (1000);
  }
  g_atomic_int_set (&refusing, FALSE);
  nat_ended_file_add (file, &e[1], NOW);
  nat_ended_file_sync (file, NOW, NULL);
  nat_ended_file_free (file);
  g_assert_cmpuint (count (path, NOW), ==, G_N_ELEMENTS (e));
  g_unlink (path);
}

static void
test_ended_where_nothing_can_be_written (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (nat_ended_file_open ("/nonexistent/ended", NOW, &error));
  g_assert_nonnull (strstr (error->message, "/nonexistent/ended"));
}

/* ---- secrets ----------------------------------------------------------- */

static void
test_secrets (void)
{
  g_autofree char *path = temporary ();
  NatSecrets *secrets = nat_secret_file_load (path, NULL);
  char first[NAT_PASSWORD_TEXT + 1], again[NAT_PASSWORD_TEXT + 1];
  g_autofree char *text = NULL;
  g_autofree char *two = NULL;
  guint8 id[NAT_SESSION_ID_SIZE] = {1};
  struct stat st;

  g_assert_nonnull (secrets);
  g_assert_cmpuint (nat_secrets_current (secrets), ==, 1);
  g_assert_true (nat_ticket_password (secrets, 1, id, first));
  nat_secrets_free (secrets);
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpuint (st.st_mode & 0777, ==, 0600);

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  two = g_strconcat (
      text, "7 0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef\n", NULL);
  g_assert_true (g_file_set_contents (path, two, -1, NULL));
  secrets = nat_secret_file_load (path, NULL);
  g_assert_cmpuint (nat_secrets_current (secrets), ==, 7);
  g_assert_true (nat_ticket_password (secrets, 1, id, again));
  g_assert_cmpstr (first, ==, again);
  g_assert_true (nat_ticket_password (secrets, 7, id, again));
  g_assert_cmpstr (first, !=, again);
  nat_secrets_free (secrets);
  g_unlink (path);
}

static void
test_spoilt_secrets (void)
{
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"
  static const char *const texts[] = {"", "\n", "1\n", "1 " HEX "\n", "1 " HEX "g\n",
      "0 " HEX "f\n", "x " HEX "f\n", "-1 " HEX "f\n", "4294967296 " HEX "f\n", "1 " HEX "ff\n",
      "1  " HEX "f\n", HEX "f\n", "1 " HEX "f\nrubbish\n"};

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autofree char *path = temporary ();
    g_autoptr (GError) error = NULL;

    g_assert_true (g_file_set_contents (path, texts[i], -1, NULL));
    g_assert_null (nat_secret_file_load (path, &error));
    g_assert_nonnull (strstr (error->message, path));
    g_assert_null (strstr (error->message, "0123456789abcdef"));
    g_unlink (path);
  }
}

/* ---- certificates ------------------------------------------------------ */

static void
test_self_signed (void)
{
  static const char *const addresses[] = {"192.0.2.1", "2001:db8::1", NULL};
  static const char *const wrong[] = {"relay.example.org", NULL};
  g_autofree char *long_name = g_strnfill (200, 'a');
  g_autofree char *certificate = NULL;
  g_autofree char *key = NULL;
  char *paths[] = {temporary (), temporary ()};
  NatTlsIdentity *identity;

  g_assert_true (
      nat_tls_make_self_signed ("relay.example.org", addresses, NOW, &certificate, &key, NULL));
  g_assert_true (g_file_set_contents (paths[0], certificate, -1, NULL));
  g_assert_true (g_file_set_contents (paths[1], key, -1, NULL));
  identity = nat_tls_identity_load (paths[0], paths[1], NULL);
  g_assert_nonnull (identity);
  g_assert_cmpuint (strlen (nat_tls_identity_fingerprint (identity)), ==, 64);
  g_assert_cmpint (nat_tls_identity_expires_s (identity), >, NOW + 9 * 31557600ll);
  nat_tls_identity_unref (identity);
  g_clear_pointer (&certificate, g_free);
  g_clear_pointer (&key, g_free);
  g_assert_true (nat_tls_make_self_signed (long_name, NULL, NOW, &certificate, &key, NULL));
  g_clear_pointer (&certificate, g_free);
  g_clear_pointer (&key, g_free);
  g_assert_false (nat_tls_make_self_signed ("x", wrong, NOW, &certificate, &key, NULL));
  g_unlink (paths[0]);
  g_unlink (paths[1]);
  g_free (paths[0]);
  g_free (paths[1]);
}

/* ---- log --------------------------------------------------------------- */

static void
test_log_is_limited (void)
{
  NatLogGate gate = {0};
  guint said = 0, held;
  gint64 now = 5;

  for (guint i = 0; i < 1000; i++) {
    g_autofree char *text = g_strdup_printf ("something about port %u", i);

    said += nat_log_gate_allows (&gate, text, now + i, &held);
  }
  g_assert_cmpuint (said, ==, NAT_LOG_BURST);
  g_assert_true (nat_log_gate_allows (&gate, "something else", now, &held));
  g_assert_true (
      nat_log_gate_allows (&gate, "something about port 7", now + NAT_LOG_WINDOW_US, &held));
  g_assert_cmpuint (held, ==, 1000 - NAT_LOG_BURST);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/ended/survive", test_ended_survive);
  g_test_add_func ("/ended/cut-lines", test_ended_cut_lines);
  g_test_add_func ("/ended/does-not-grow", test_ended_does_not_grow);
  g_test_add_func ("/ended/full-disk", test_ended_when_the_disk_is_full);
  g_test_add_func ("/ended/long-full-disk", test_ended_while_the_disk_is_full);
  g_test_add_func ("/ended/opened-full-disk", test_ended_opened_when_the_disk_is_full);
  g_test_add_func ("/ended/slow-disk", test_ended_while_the_disk_is_slow);
  g_test_add_func ("/ended/failing-disk", test_ended_when_the_disk_fails);
  g_test_add_func ("/ended/new-file-refused", test_ended_when_the_new_file_cannot_be_opened);
  g_test_add_func ("/ended/nowhere", test_ended_where_nothing_can_be_written);
  g_test_add_func ("/secrets/load", test_secrets);
  g_test_add_func ("/secrets/spoilt", test_spoilt_secrets);
  g_test_add_func ("/certificates/self-signed", test_self_signed);
  g_test_add_func ("/log/limited", test_log_is_limited);
  return g_test_run ();
}
