/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "natserver/status/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <sys/ioctl.h>

#define ENTER "\033[?1049h\033[?25l\033[2J" /* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"

static struct termios before;
static gboolean inside;
static volatile sig_atomic_t ended;
static sigset_t blocked, unblocked;

gboolean
nat_terminal_is_one (void)
{
  return isatty (STDIN_FILENO) && isatty (STDOUT_FILENO);
}

void
nat_terminal_size (guint *columns, guint *rows)
{
  struct winsize size;

  *columns = 120;
  *rows = 40;
  if (ioctl (STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0)
    return;
  *columns = size.ws_col;
  *rows = size.ws_row;
}

static void
on_end (int number)
{
  ended = 1;
}

static void
on_size (int number)
{
}

/* They come while we wait for keys, and at no other time. */
static void
watch_signals (void)
{
  const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
  struct sigaction end = {.sa_handler = on_end}, size = {.sa_handler = on_size};

  sigemptyset (&blocked);
  for (guint i = 0; i < G_N_ELEMENTS (ends); i++) {
    sigaction (ends[i], &end, NULL);
    sigaddset (&blocked, ends[i]);
  }
  sigaction (SIGWINCH, &size, NULL);
  sigaddset (&blocked, SIGWINCH);
  sigprocmask (SIG_BLOCK, &blocked, &unblocked);
}

void
nat_terminal_enter (void)
{
  struct termios raw;

  watch_signals ();
  tcgetattr (STDIN_FILENO, &before);
  raw = before;
  raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  tcsetattr (STDIN_FILENO, TCSANOW, &raw);
  fputs (ENTER, stdout);
  fflush (stdout);
  inside = TRUE;
}

void
nat_terminal_leave (void)
{
  if (!inside)
    return;
  inside = FALSE;
  fputs (LEAVE, stdout);
  fflush (stdout);
  tcsetattr (STDIN_FILENO, TCSAFLUSH, &before);
  sigprocmask (SIG_SETMASK, &unblocked, NULL);
}

static NatKey
read_key (void)
{
  static const struct {
    const char *text;
    NatKey key;
  } keys[] = {{"q", NAT_KEY_QUIT}, {"Q", NAT_KEY_QUIT}, {"\004", NAT_KEY_QUIT},
      {"\003", NAT_KEY_QUIT}, {"\033[A", NAT_KEY_UP}, {"\033OA", NAT_KEY_UP}, {"k", NAT_KEY_UP},
      {"\033[B", NAT_KEY_DOWN}, {"\033OB", NAT_KEY_DOWN}, {"j", NAT_KEY_DOWN},
      {"\033[5~", NAT_KEY_PAGE_UP}, {"\033[6~", NAT_KEY_PAGE_DOWN}, {" ", NAT_KEY_PAGE_DOWN},
      {"\033[H", NAT_KEY_HOME}, {"\033[1~", NAT_KEY_HOME}, {"g", NAT_KEY_HOME},
      {"\033[F", NAT_KEY_END}, {"\033[4~", NAT_KEY_END}, {"G", NAT_KEY_END}};
  char text[16];
  ssize_t n = read (STDIN_FILENO, text, sizeof text - 1);

  if (n == 0) /* the terminal is gone */
    return NAT_KEY_QUIT;
  if (n < 0)
    return errno == EAGAIN || errno == EINTR ? NAT_KEY_OTHER : NAT_KEY_QUIT;
  text[n] = '\0';
  for (guint i = 0; i < G_N_ELEMENTS (keys); i++) {
    if (strcmp (keys[i].text, text) == 0)
      return keys[i].key;
  }
  /* Typed faster than we read. */
  return strchr (text, 'q') != NULL && *text != '\033' ? NAT_KEY_QUIT : NAT_KEY_OTHER;
}

NatKey
nat_terminal_wait (gint64 until_us)
{
  gint64 left = MAX (0, until_us - g_get_monotonic_time ());
  struct timespec limit = {left / G_USEC_PER_SEC, left % G_USEC_PER_SEC * 1000};
  struct pollfd in = {STDIN_FILENO, POLLIN, 0};
  int n = ppoll (&in, 1, &limit, &unblocked);

  if (ended || (in.revents & (POLLERR | POLLNVAL)) != 0)
    return NAT_KEY_QUIT;
  if (n < 0)
    return NAT_KEY_OTHER;
  return n == 0 ? NAT_KEY_NONE : read_key ();
}

void
nat_terminal_show (const char *const *lines, guint n, guint rows)
{
  GString *out = g_string_new ("\033[H");

  for (guint i = 0; i < MIN (n, rows); i++)
    g_string_append_printf (out, "%s\033[K%s", lines[i], i + 1 < rows ? "\r\n" : "");
  if (n < rows)
    g_string_append (out, "\033[J");
  fwrite (out->str, 1, out->len, stdout);
  fflush (stdout);
  g_string_free (out, TRUE);
}
