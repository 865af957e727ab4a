#include "adapter/sys/syscalls.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

/* SCMP_A0() and kin leave the last member out where one value is compared, which clang minds. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41 /* glibc names its memory */
#endif

/* Names and no numbers: what an architecture or an older libseccomp does not know is passed over.
 */
static const char *const always[] = {
    /* files that are open, and in the folders that Landlock leaves */
    "read",
    "pread64",
    "readv",
    "preadv",
    "preadv2",
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "open",
    "openat",
    "openat2",
    "close",
    "close_range",
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "fstatfs",
    "statfs",
    "access",
    "faccessat",
    "faccessat2",
    "lseek",
    "fallocate",
    "ftruncate",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "flock",
    "fcntl",
    "dup",
    "dup2",
    "dup3",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "utimensat",
    "getdents64",
    "readlink",
    "readlinkat",
    "getcwd",
    "umask",
    "copy_file_range",
    "sendfile",
    "fadvise64",
    /* memory; mmap and mprotect have rules of their own */
    "munmap",
    "mremap",
    "madvise",
    "brk",
    "msync",
    "mincore",
    "mlock",
    "mlock2",
    "munlock",
    "memfd_create",
    "membarrier",
    /* waiting */
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "eventfd2",
    "pipe",
    "pipe2",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    "nanosleep",
    "clock_nanosleep",
    "restart_syscall",
    /* sockets that are there */
    "accept",
    "accept4",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "shutdown",
    "socketpair", /* reaches nobody: http asks the dispatcher over one */
    /* threads and signals of our own */
    "futex",
    "futex_waitv",
    "set_robust_list",
    "get_robust_list",
    "set_tid_address",
    "rseq",
    "gettid",
    "getpid",
    "getppid",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "sigaltstack",
    "exit",
    "exit_group",
    "sched_yield",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "arch_prctl",
    /* asking */
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "times",
    "getrandom",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "getrusage",
    "getrlimit",
    "sysinfo",
    "uname",
    "getcpu",
    "capget",
    "getpriority",
};

/* Only an intruder asks for these. */
static const char *const deadly[] = {
    "execve",
    "execveat",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "mount",
    "umount2",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "open_by_handle_at",
    "iopl",
    "ioperm",
    "modify_ldt",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setgroups",
    "capset",
};

static const char *const connecting[] = { "connect", "bind" };

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names,
                     size_t count)
{
    int code = 0;

    for (size_t i = 0; i < count && code == 0; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);

        if (number >= 0) {
            code = seccomp_rule_add_array(filter, action, number, 0, NULL);
        }
    }
    return code;
}

/* Allow @name where @compare holds. */
static int add_where(scmp_filter_ctx filter, const char *name, struct scmp_arg_cmp compare)
{
    int number = seccomp_syscall_resolve_name(name);

    return number < 0 ? 0 : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &compare);
}

/* Streams and datagrams of the network, sockets of this machine, and netlink, which the resolver
 * asks for this machine's own addresses. */
static int add_connecting(scmp_filter_ctx filter)
{
    static const scmp_datum_t families[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK };
    int code =
        add_names(filter, SCMP_ACT_ALLOW, connecting, sizeof(connecting) / sizeof(connecting[0]));

    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]) && code == 0; i++) {
        code = add_where(filter, "socket", SCMP_A0(SCMP_CMP_EQ, families[i], 0));
    }
    return code;
}

/* No memory is written and run: code comes from files, and stays as it is. */
static int add_memory(scmp_filter_ctx filter)
{
    const scmp_datum_t both = PROT_WRITE | PROT_EXEC;
    int code = add_where(filter, "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));

    code =
        code != 0 ? code : add_where(filter, "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, both, PROT_EXEC));
    return code != 0 ? code
                     : add_where(filter, "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static int add_ioctls(scmp_filter_ctx filter)
{
    static const unsigned long requests[] = { FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TCGETS };
    int code = 0;

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]) && code == 0; i++) {
        code = add_where(filter, "ioctl", SCMP_A1(SCMP_CMP_EQ, requests[i], 0));
    }
    return code;
}

static int add_prctls(scmp_filter_ctx filter)
{
    static const unsigned long options[] = { PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_SET_VMA,
                                             PR_CAPBSET_READ };
    int code = 0;

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && code == 0; i++) {
        code = add_where(filter, "prctl", SCMP_A0(SCMP_CMP_EQ, options[i], 0));
    }
    return code;
}

/* Threads, and no other process; signals to ourselves, and to nobody else. */
static int add_processes(scmp_filter_ctx filter)
{
    const scmp_datum_t self = (scmp_datum_t)getpid();
    int clone3 = seccomp_syscall_resolve_name("clone3");
    int code = add_where(filter, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));

    /* Its flags lie in memory, where no filter looks: glibc then goes on with clone. */
    if (code == 0 && clone3 >= 0) {
        code = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), clone3, 0, NULL);
    }
    code = code != 0 ? code : add_where(filter, "tgkill", SCMP_A0(SCMP_CMP_EQ, self, 0));
    code = code != 0 ? code : add_where(filter, "kill", SCMP_A0(SCMP_CMP_EQ, self, 0));
    /* Limits are read and not raised. */
    return code != 0 ? code : add_where(filter, "prlimit64", SCMP_A2(SCMP_CMP_EQ, 0, 0));
}

static int fill(scmp_filter_ctx filter, bool may_connect)
{
    int code = add_names(filter, SCMP_ACT_ALLOW, always, sizeof(always) / sizeof(always[0]));

    if (code == 0) {
        code = add_names(filter, SCMP_ACT_KILL_PROCESS, deadly, sizeof(deadly) / sizeof(deadly[0]));
    }
    if (code == 0 && may_connect) {
        code = add_connecting(filter);
    }
    code = code != 0 ? code : add_memory(filter);
    code = code != 0 ? code : add_ioctls(filter);
    code = code != 0 ? code : add_prctls(filter);
    return code != 0 ? code : add_processes(filter);
}

int pawl_syscalls_restrict(bool may_connect)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int code;

    if (filter == NULL) {
        return ENOMEM;
    }
    code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1); /* all threads, or none */
    if (code == 0) {
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree in place of a list */
        /* No code of strangers runs in here: kernels before 5.16 would slow all of it down. */
        (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
        code = fill(filter, may_connect);
    }
    code = code != 0 ? code : seccomp_load(filter);
    seccomp_release(filter);
    return code < 0 ? -code : code;
}
