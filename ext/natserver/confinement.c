/* natrelay
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A list of calls that are refused, not one of those that are allowed: what libraries need differs with their
 * versions and the processor, and a relay that dies of a new libc is no safer. The narrow list is systemd's, in the unit. */

#include "natserver/confinement.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* Calls by another processor's numbers would not be known again: there all are refused. */
#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__i386__)
#define ARCHITECTURE AUDIT_ARCH_I386
#elif defined(__arm__)
#define ARCHITECTURE AUDIT_ARCH_ARM
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
#define ARCHITECTURE AUDIT_ARCH_PPC64LE
#elif defined(__s390x__)
#define ARCHITECTURE AUDIT_ARCH_S390X
#endif

#ifndef __has_feature
#define __has_feature(x) 0
#endif
/* Sanitizers look for leaks as a debugger would. */
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define DEBUGS_ITSELF 1
#endif

static const int refused[] = {
    /* Other programs: to become one, or to look into one. */
    SYS_execve,
    SYS_execveat,
#ifndef DEBUGS_ITSELF
    SYS_ptrace,
#endif
    SYS_process_vm_readv,
    SYS_process_vm_writev,
#ifdef SYS_pidfd_getfd
    SYS_pidfd_getfd,
#endif
    /* Another view of the system, and other rights in it. */
    SYS_chroot,
    SYS_mount,
    SYS_pivot_root,
    SYS_setns,
    SYS_umount2,
    SYS_unshare,
#ifdef SYS_fsopen /* mounting as it is since Linux 5.2 */
    SYS_fsopen,
    SYS_fspick,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_move_mount,
    SYS_open_tree,
#endif
#ifdef SYS_mount_setattr
    SYS_mount_setattr,
#endif
    SYS_open_by_handle_at,
    SYS_acct,
    SYS_add_key,
    SYS_keyctl,
    SYS_request_key,
    SYS_reboot,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_settimeofday,
    SYS_clock_settime,
#ifdef SYS_clock_settime64 /* where 64 bits of time came later */
    SYS_clock_settime64,
#endif
    SYS_adjtimex,
    SYS_swapon,
    SYS_swapoff,
    SYS_quotactl,
    /* What is most often used to get into the kernel. */
    SYS_bpf,
    SYS_userfaultfd,
    SYS_perf_event_open,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_io_uring_setup
    SYS_io_uring_setup,
#endif
};

/* clone makes threads, and what unshare makes: its flags tell. Those of clone3 are in memory, where a filter cannot look, so
 * there is none: libraries make do with clone then. */
#define NAMESPACES                                                                                 \
  (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |    \
      CLONE_NEWNET)
#ifdef __s390x__
#define CLONE_FLAGS 1 /* which argument they are */
#else
#define CLONE_FLAGS 0
#endif
#ifndef SYS_clone3
#define SYS_clone3 435 /* of Linux 5.3, on all that stand above */
#endif

#define N_REFUSED  G_N_ELEMENTS (refused)
#define BEFORE     5 /* instructions before the list */
#define BEHIND     7 /* and behind it; the last refuses */
#define OFFSET(of) (guint32) offsetof (struct seccomp_data, of)
#define LOW(of)    (OFFSET (of) + (G_BYTE_ORDER == G_BIG_ENDIAN ? 4 : 0))

static gsize
write_end (struct sock_filter *f)
{
  const struct sock_filter end[BEHIND] = {
      BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
      BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 2),
      BPF_STMT (BPF_LD | BPF_W | BPF_ABS, LOW (args[CLONE_FLAGS])),
      BPF_JUMP (BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 1, 0),
      BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };

  memcpy (f, end, sizeof end);
  return BEHIND;
}

static gsize
write_filter (struct sock_filter *f)
{
  gsize n = 0;

#ifdef ARCHITECTURE
  f[n++] = (struct sock_filter)BPF_STMT (BPF_LD | BPF_W | BPF_ABS, OFFSET (arch));
  f[n++] = (struct sock_filter)BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
  f[n++] = (struct sock_filter)BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
#endif
  f[n++] = (struct sock_filter)BPF_STMT (BPF_LD | BPF_W | BPF_ABS, OFFSET (nr));
#ifdef __x86_64__
  /* x32 has the same architecture and numbers of its own. */
  f[n++] = (struct sock_filter)BPF_JUMP (
      BPF_JMP | BPF_JGE | BPF_K, 0x40000000, N_REFUSED + BEHIND - 1, 0);
#endif
  for (gsize i = 0; i < N_REFUSED; i++)
    f[n++] = (struct sock_filter)BPF_JUMP (
        BPF_JMP | BPF_JEQ | BPF_K, (guint32)refused[i], (guint8)(N_REFUSED - i + BEHIND - 2), 0);
  return n + write_end (f + n);
}

gboolean
nat_confine (gboolean core_dumps)
{
  struct sock_filter filter[BEFORE + N_REFUSED + BEHIND];
  struct sock_fprog program = {(unsigned short)write_filter (filter), filter};

  if (!core_dumps)
    prctl (PR_SET_DUMPABLE, 0, 0, 0, 0);
  return prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}
