#include "adapter/sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "adapter/sys/syscalls.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BUILD_CANNOT "a build with sanitizers"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BUILD_CANNOT "a build with sanitizers"
#endif
#endif
#if !defined(BUILD_CANNOT) && defined(PAWL_COVERAGE_BUILD)
#define BUILD_CANNOT "a build that counts its coverage"
#endif

/* ---- Landlock, as the kernel has it: headers may be older than the kernel ------------------- */

#define NR_CREATE_RULESET 444 /* the same on every architecture */
#define NR_ADD_RULE       445
#define NR_RESTRICT_SELF  446

#define CREATE_VERSION  1U
#define RULE_PATH       1
#define FS_EXECUTE      (UINT64_C(1) << 0)
#define FS_WRITE_FILE   (UINT64_C(1) << 1)
#define FS_READ_FILE    (UINT64_C(1) << 2)
#define FS_READ_DIR     (UINT64_C(1) << 3)
#define FS_REMOVE_FILE  (UINT64_C(1) << 5)
#define FS_MAKE_REG     (UINT64_C(1) << 8)
#define FS_MAKE_SOCK    (UINT64_C(1) << 9)
#define FS_ALL_1        ((UINT64_C(1) << 13) - 1) /* what version 1 knows */
#define FS_REFER        (UINT64_C(1) << 13)       /* 2 */
#define FS_TRUNCATE     (UINT64_C(1) << 14)       /* 3 */
#define FS_IOCTL_DEV    (UINT64_C(1) << 15)       /* 5 */
#define NET_CONNECT_TCP (UINT64_C(1) << 1)        /* 4 */
#define SCOPE_SIGNAL    (UINT64_C(1) << 1)        /* 6 */

#define OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

struct ruleset_attributes {
    uint64_t handled_fs;
    uint64_t handled_net; /* from 4 on */
    uint64_t scoped;      /* from 6 on */
};

struct path_attributes {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

static uint64_t handled_fs(unsigned abi)
{
    return FS_ALL_1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) |
           (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static int create_ruleset(unsigned abi, bool may_connect)
{
    const struct ruleset_attributes attributes = { handled_fs(abi),
                                                   may_connect ? 0 : NET_CONNECT_TCP,
                                                   SCOPE_SIGNAL };
    size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;

    return (int)syscall(NR_CREATE_RULESET, &attributes, size, 0);
}

void pawl_sandbox_init(struct pawl_sandbox *sandbox)
{
    long abi;

    memset(sandbox, 0, sizeof(*sandbox));
    sandbox->ruleset = -1;
#ifdef BUILD_CANNOT
    (void)snprintf(sandbox->files_missing, sizeof(sandbox->files_missing), "%s", BUILD_CANNOT);
    (void)snprintf(sandbox->calls_missing, sizeof(sandbox->calls_missing), "%s", BUILD_CANNOT);
    return;
#endif
    abi = syscall(NR_CREATE_RULESET, NULL, 0, CREATE_VERSION);
    if (abi <= 0) {
        (void)snprintf(sandbox->files_missing, sizeof(sandbox->files_missing), "%s",
                       abi < 0 && errno == EPERM        ? "forbidden here"
                       : abi < 0 && errno == EOPNOTSUPP ? "turned off in this kernel"
                                                        : "not in this kernel");
        return;
    }
    sandbox->abi = (unsigned)abi;
    sandbox->ruleset = create_ruleset(sandbox->abi, false);
    if (sandbox->ruleset < 0) {
        (void)snprintf(sandbox->files_missing, sizeof(sandbox->files_missing), "%s",
                       strerror(errno));
        return;
    }
    (void)fcntl(sandbox->ruleset, F_SETFD, FD_CLOEXEC);
}

static uint64_t rights_of(enum pawl_sandbox_use use)
{
    switch (use) {
    case PAWL_SANDBOX_WRITE:
        return FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG |
               FS_REMOVE_FILE;
    case PAWL_SANDBOX_SOCKETS:
        return FS_READ_DIR | FS_MAKE_SOCK | FS_REMOVE_FILE;
    case PAWL_SANDBOX_READ:
    default:
        return FS_READ_FILE | FS_READ_DIR;
    }
}

void pawl_sandbox_allow(struct pawl_sandbox *sandbox, const char *path, enum pawl_sandbox_use use)
{
    struct path_attributes rule = { rights_of(use) & handled_fs(sandbox->abi), -1 };
    struct stat info;

    if (sandbox->ruleset < 0) {
        return;
    }
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0) {
        return; /* not there, or not for us: nothing to allow */
    }
    if (fstat(rule.parent_fd, &info) == 0 && !S_ISDIR(info.st_mode)) {
        rule.allowed &= OF_FILES;
    }
    (void)syscall(NR_ADD_RULE, sandbox->ruleset, RULE_PATH, &rule, 0);
    (void)close(rule.parent_fd);
}

/* The folder that @path names its last part in; "/" for that of a part at the root. */
static void allow_parent(struct pawl_sandbox *sandbox, const char *path)
{
    char folder[PATH_MAX];
    size_t size = strlen(path);

    while (size > 1 && path[size - 1] == '/') {
        size--;
    }
    while (size > 0 && path[size - 1] != '/') {
        size--;
    }
    if (size < 2 || size >= sizeof(folder)) {
        return; /* of the root: all files there are would be too many */
    }
    memcpy(folder, path, size);
    folder[size] = '\0';
    pawl_sandbox_allow(sandbox, folder, PAWL_SANDBOX_READ);
}

void pawl_sandbox_allow_file(struct pawl_sandbox *sandbox, const char *path)
{
    char real[PATH_MAX];
    struct stat info;

    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        pawl_sandbox_allow(sandbox, path, PAWL_SANDBOX_READ);
        return;
    }
    pawl_sandbox_allow(sandbox, path, PAWL_SANDBOX_READ); /* at the root: the file alone */
    allow_parent(sandbox, path);
    if (realpath(path, real) != NULL) {
        allow_parent(sandbox, real);
    }
}

/* A list of CAs is a folder of links into another one; those of a name service are rewritten by
 * whoever configures the network, so the folder where links lead is allowed. */
void pawl_sandbox_allow_network(struct pawl_sandbox *sandbox)
{
    static const char *const files[] = {
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/host.conf",
        "/etc/gai.conf",
        "/etc/services",
        "/run/systemd/resolve",
        "/run/NetworkManager",
        "/run/resolvconf",
        "/etc/ssl/certs",
        "/etc/pki",
        "/etc/ca-certificates",
        "/usr/share/ca-certificates",
        "/usr/share/pki",
        "/usr/local/share/ca-certificates",
    };
    char real[PATH_MAX];

    if (sandbox->ruleset < 0) {
        return;
    }
    (void)close(sandbox->ruleset);
    sandbox->ruleset = create_ruleset(sandbox->abi, true);
    if (sandbox->ruleset < 0) {
        (void)snprintf(sandbox->files_missing, sizeof(sandbox->files_missing), "%s",
                       strerror(errno));
        return;
    }
    (void)fcntl(sandbox->ruleset, F_SETFD, FD_CLOEXEC);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        pawl_sandbox_allow(sandbox, files[i], PAWL_SANDBOX_READ);
    }
    if (realpath(files[0], real) != NULL && strcmp(real, files[0]) != 0) {
        allow_parent(sandbox, real);
    }
}

static void forbid_cores(void)
{
    const struct rlimit none = { 0, 0 };

    /* The first also where cores go to a pipe, and against a debugger of our user. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &none);
}

bool pawl_sandbox_files(struct pawl_sandbox *sandbox)
{
#ifdef BUILD_CANNOT
    return false;
#endif
    forbid_cores();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        (void)snprintf(sandbox->files_missing, sizeof(sandbox->files_missing), "no_new_privs: %s",
                       strerror(errno));
    } else if (sandbox->ruleset >= 0) {
        sandbox->files = syscall(NR_RESTRICT_SELF, sandbox->ruleset, 0) == 0;
        if (!sandbox->files) {
            (void)snprintf(sandbox->files_missing, sizeof(sandbox->files_missing), "%s",
                           strerror(errno));
        }
    }
    pawl_sandbox_deinit(sandbox);
    return sandbox->files;
}

bool pawl_sandbox_calls(struct pawl_sandbox *sandbox, bool may_connect)
{
#ifdef BUILD_CANNOT
    (void)may_connect;
    return false;
#endif
    int code = pawl_syscalls_restrict(may_connect);

    sandbox->calls = code == 0;
    if (code != 0) {
        (void)snprintf(sandbox->calls_missing, sizeof(sandbox->calls_missing), "%s",
                       strerror(code));
    }
    return sandbox->calls;
}

enum pawl_status pawl_sandbox_check_file(const struct pawl_sandbox *sandbox, const char *path,
                                         struct pawl_error *error)
{
    int fd;
    int code;

    /* Landlock rules opening and not asking: what may be read and not opened is its doing. */
    if (!sandbox->files || access(path, R_OK) != 0) {
        return PAWL_OK;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    code = errno;
    if (fd >= 0) {
        (void)close(fd);
        return PAWL_OK;
    }
    if (code != EACCES) {
        return PAWL_OK; /* its reader will say */
    }
    return pawl_error_set(error, PAWL_EPERM, code,
                          "%s lies outside of the folders that the sandbox allowed at start; "
                          "restart pawld to take it in, or put it beside the files before",
                          path);
}

void pawl_sandbox_text(const struct pawl_sandbox *sandbox, char *out, size_t capacity)
{
    const char *calls =
        sandbox->calls_missing[0] != '\0' ? sandbox->calls_missing : "not asked for";
    const char *files =
        sandbox->files_missing[0] != '\0' ? sandbox->files_missing : "not asked for";

    if (sandbox->calls && sandbox->files) {
        (void)snprintf(out, capacity, "seccomp+landlock");
    } else if (sandbox->calls) {
        (void)snprintf(out, capacity, "seccomp (landlock: %s)", files);
    } else if (sandbox->files) {
        (void)snprintf(out, capacity, "landlock (seccomp: %s)", calls);
    } else {
        (void)snprintf(out, capacity, "off (%s)", calls);
    }
}

void pawl_sandbox_deinit(struct pawl_sandbox *sandbox)
{
    if (sandbox->ruleset >= 0) {
        (void)close(sandbox->ruleset);
    }
    sandbox->ruleset = -1;
}
