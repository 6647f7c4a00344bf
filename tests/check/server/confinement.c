/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the relay takes from itself is gone, also in threads that come later; what it needs works. Each in a child,
 * since there is no way back. */

#include "natserver/confinement.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "childtry.h"

static gboolean
exec_works (void)
{
  char *const none[] = {NULL};

  /* A name that there is not: were the call let through, the error would be another. */
  execve ("/nonexistent", none, none);
  return errno != EPERM;
}

static gboolean
no_other_program (gconstpointer unused)
{
  char *const none[] = {NULL};

  return exec_works () && nat_confine (FALSE) && !exec_works () &&
         syscall (SYS_execveat, -1, "/nonexistent", none, none, 0) < 0 && errno == EPERM;
}

static gboolean
no_way_into_the_system (gconstpointer unused)
{
  return nat_confine (FALSE) && syscall (SYS_unshare, 0) < 0 && errno == EPERM &&
         syscall (SYS_bpf, 0, NULL, 0) < 0 && errno == EPERM &&
         syscall (SYS_process_vm_readv, getpid (), NULL, 0, NULL, 0, 0) < 0 && errno == EPERM;
}

/* What does the same as a call that is refused. */
static gboolean
no_newer_way (gconstpointer unused)
{
  gboolean none = nat_confine (FALSE);

#ifdef SYS_fsopen
  none = none && syscall (SYS_fsopen, NULL, 0) < 0 && errno == EPERM &&
         syscall (SYS_open_tree, -1, NULL, 0) < 0 && errno == EPERM;
#endif
#ifdef SYS_pidfd_getfd
  none = none && syscall (SYS_pidfd_getfd, -1, 0, 1) < 0 && errno == EPERM;
#endif
  return none;
}

/* The kernel says EINVAL to all of these, for a thread shares signal handlers: nothing is made. Either order of arguments. */
static int
error_of_clone (unsigned long flags)
{
  flags |= CLONE_THREAD | SIGCHLD;
  return syscall (SYS_clone, flags, flags, NULL, NULL, NULL) < 0 ? errno : 0;
}

static gboolean
no_namespace_by_clone (gconstpointer unused)
{
  static const unsigned long flags[] = {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
      CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};
  gboolean none = nat_confine (FALSE) && error_of_clone (0) == EINVAL;

  for (guint i = 0; i < G_N_ELEMENTS (flags); i++)
    none = none && error_of_clone (flags[i]) == EPERM;
  /* What clone3 is to make stands in memory, where no filter looks. Without it, libraries use clone. */
  return none && syscall (SYS_clone3, NULL, 0) < 0 && errno == ENOSYS;
}

static void *
exec_in_thread (void *worked)
{
  *(gboolean *)worked = exec_works ();
  return NULL;
}

static gboolean
threads_too (gconstpointer unused)
{
  gboolean worked = TRUE;
  pthread_t thread;

  return nat_confine (FALSE) && pthread_create (&thread, NULL, exec_in_thread, &worked) == 0 &&
         pthread_join (thread, NULL) == 0 && !worked;
}

static gboolean
dumpable_only_if_asked (gconstpointer asked)
{
  gboolean dumps = GPOINTER_TO_INT (asked);

  return prctl (PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 && nat_confine (dumps) &&
         prctl (PR_GET_DUMPABLE, 0, 0, 0, 0) == dumps &&
         prctl (PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

static gboolean
needed_calls_work (gconstpointer unused)
{
  cpu_set_t set;

  return nat_confine (FALSE) && socket (AF_INET, SOCK_DGRAM, 0) >= 0 && kill (getpid (), 0) == 0 &&
         prctl (PR_SET_TIMERSLACK, 1000, 0, 0, 0) == 0 &&
         sched_getaffinity (0, sizeof set, &set) == 0 &&
         sched_setaffinity (0, sizeof set, &set) == 0;
}

static gboolean
can_confine (gconstpointer unused)
{
  return nat_confine (FALSE);
}

typedef struct {
  gboolean (*holds) (gconstpointer user);
  gconstpointer user;
} Claim;

static void
test_claim (gconstpointer data)
{
  const Claim *claim = data;

  if (works_in_child (can_confine, NULL))
    g_assert_true (works_in_child (claim->holds, claim->user));
  else
    g_test_skip ("seccomp is not to be had here");
}

int
main (int argc, char **argv)
{
  static const Claim other_program = {no_other_program, NULL},
                     view = {no_way_into_the_system, NULL}, newer = {no_newer_way, NULL},
                     clone = {no_namespace_by_clone, NULL}, threads = {threads_too, NULL},
                     needed = {needed_calls_work, NULL},
                     no_dump = {dumpable_only_if_asked, GINT_TO_POINTER (0)},
                     dump = {dumpable_only_if_asked, GINT_TO_POINTER (1)};

  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/confinement/no-other-program", &other_program, test_claim);
  g_test_add_data_func ("/confinement/no-way-into-the-system", &view, test_claim);
  g_test_add_data_func ("/confinement/no-newer-way", &newer, test_claim);
  g_test_add_data_func ("/confinement/no-namespace-by-clone", &clone, test_claim);
  g_test_add_data_func ("/confinement/threads-too", &threads, test_claim);
  g_test_add_data_func ("/confinement/no-core-dump", &no_dump, test_claim);
  g_test_add_data_func ("/confinement/core-dump-if-asked", &dump, test_claim);
  g_test_add_data_func ("/confinement/needed-calls-work", &needed, test_claim);
  return g_test_run ();
}
