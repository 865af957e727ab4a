/* adapter/sys/sandbox: what is forbidden is refused. Each case in a child of its own, for nothing
 * of a sandbox can be undone. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapter/sys/sandbox.h"

static char folder[64]; /* holds "inside", and the folder "more" */

static int setup(void **state)
{
    char path[96];
    int fd;

    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/pawl-sandbox-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/inside", folder);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    char path[96];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/inside", folder);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/made", folder);
    (void)unlink(path);
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[96];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/** The errno of opening @path, or 0. */
static int open_errno(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    int code = errno;

    if (fd >= 0) {
        (void)close(fd);
        return 0;
    }
    return code;
}

typedef bool (*child_part)(struct pawl_sandbox *sandbox);

/** The wait status of a child that ran @part and exited with 0 where that gave true. */
static int in_child(child_part part)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        struct pawl_sandbox sandbox;

        pawl_sandbox_init(&sandbox);
        _exit(part(&sandbox) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_holds(child_part part)
{
    int status = in_child(part);

    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("the child ended with status %x", (unsigned)status);
    }
}

static bool has(bool files)
{
    struct pawl_sandbox sandbox;
    bool is_missing;

    pawl_sandbox_init(&sandbox);
    is_missing = files ? sandbox.files_missing[0] != '\0' : sandbox.calls_missing[0] != '\0';
    pawl_sandbox_deinit(&sandbox);
    return !is_missing;
}

/* ---- files --------------------------------------------------------------------------------- */

static bool reads_inside_only(struct pawl_sandbox *sandbox)
{
    pawl_sandbox_allow(sandbox, folder, PAWL_SANDBOX_READ);
    return pawl_sandbox_files(sandbox) && open_errno(in_folder("inside"), O_RDONLY) == 0 &&
           open_errno(in_folder("inside"), O_WRONLY) == EACCES &&
           open_errno(in_folder("made"), O_WRONLY | O_CREAT) == EACCES &&
           open_errno("/etc/passwd", O_RDONLY) == EACCES && open_errno("/", O_RDONLY) == EACCES;
}

static bool writes_where_allowed(struct pawl_sandbox *sandbox)
{
    pawl_sandbox_allow(sandbox, folder, PAWL_SANDBOX_WRITE);
    return pawl_sandbox_files(sandbox) && open_errno(in_folder("made"), O_WRONLY | O_CREAT) == 0 &&
           open_errno(in_folder("made"), O_WRONLY | O_TRUNC) == 0 &&
           unlink(in_folder("made")) == 0 && mkdir(in_folder("sub"), 0700) != 0;
}

static bool allows_what_may_come_beside_a_file(struct pawl_sandbox *sandbox)
{
    pawl_sandbox_allow_file(sandbox, in_folder("not-there-yet"));
    return pawl_sandbox_files(sandbox) && open_errno(in_folder("inside"), O_RDONLY) == 0 &&
           open_errno("/etc/passwd", O_RDONLY) == EACCES;
}

static bool names_the_file_that_lies_outside(struct pawl_sandbox *sandbox)
{
    struct pawl_error error = { PAWL_OK, 0, "" };

    pawl_sandbox_allow(sandbox, folder, PAWL_SANDBOX_READ);
    return pawl_sandbox_files(sandbox) &&
           pawl_sandbox_check_file(sandbox, in_folder("inside"), &error) == PAWL_OK &&
           pawl_sandbox_check_file(sandbox, in_folder("nothing"), &error) == PAWL_OK &&
           pawl_sandbox_check_file(sandbox, "/etc/passwd", &error) == PAWL_EPERM &&
           strstr(error.text, "/etc/passwd") != NULL && strstr(error.text, "restart") != NULL;
}

static bool leaves_no_core(struct pawl_sandbox *sandbox)
{
    struct rlimit limit = { 1, 1 };

    (void)pawl_sandbox_files(sandbox);
    return prctl(PR_GET_DUMPABLE) == 0 && getrlimit(RLIMIT_CORE, &limit) == 0 &&
           limit.rlim_max == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

static void needs_landlock(child_part part)
{
    if (!has(true)) {
        skip();
    }
    assert_holds(part);
}

static void files_outside_of_the_folders_cannot_be_opened(void **state)
{
    (void)state;
    needs_landlock(reads_inside_only);
}

static void files_are_made_and_removed_where_that_is_allowed(void **state)
{
    (void)state;
    needs_landlock(writes_where_allowed);
}

static void a_file_s_folder_is_allowed_with_it(void **state)
{
    (void)state;
    needs_landlock(allows_what_may_come_beside_a_file);
}

static void a_file_outside_is_named_with_what_to_do(void **state)
{
    (void)state;
    needs_landlock(names_the_file_that_lies_outside);
}

static void no_core_is_left_and_no_privilege_gained(void **state)
{
    (void)state;
    if (!has(false)) {
        skip();
    }
    assert_holds(leaves_no_core);
}

/* ---- calls --------------------------------------------------------------------------------- */

static bool restrict_calls(struct pawl_sandbox *sandbox)
{
    (void)pawl_sandbox_files(sandbox);
    return pawl_sandbox_calls(sandbox, false);
}

static bool refuses_sockets(struct pawl_sandbox *sandbox)
{
    return restrict_calls(sandbox) && socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == EPERM &&
           socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == EPERM && connect(0, NULL, 0) == -1 &&
           errno == EPERM;
}

static bool refuses_processes(struct pawl_sandbox *sandbox)
{
    return restrict_calls(sandbox) && fork() == -1 && errno == EPERM && kill(1, 0) == -1 &&
           errno == EPERM && kill(getpid(), 0) == 0;
}

static bool refuses_memory_to_run(struct pawl_sandbox *sandbox)
{
    const int both = PROT_READ | PROT_WRITE | PROT_EXEC;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return restrict_calls(sandbox) &&
           mmap(NULL, 4096, both, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
           mprotect(page, 4096, PROT_READ | PROT_EXEC) == -1 && errno == EPERM;
}

static void *add_one(void *data)
{
    *(int *)data += 1;
    return NULL;
}

static bool still_makes_threads(struct pawl_sandbox *sandbox)
{
    pthread_t thread;
    int value = 0;

    return restrict_calls(sandbox) && pthread_create(&thread, NULL, add_one, &value) == 0 &&
           pthread_join(thread, NULL) == 0 && value == 1;
}

struct earlier {
    pthread_barrier_t barrier;
    int code;
};

static void *ask_for_a_socket(void *data)
{
    struct earlier *earlier = data;

    (void)pthread_barrier_wait(&earlier->barrier); /* the filter is loaded between these two */
    (void)pthread_barrier_wait(&earlier->barrier);
    earlier->code = socket(AF_INET, SOCK_STREAM, 0) == -1 ? errno : 0;
    return NULL;
}

static bool reaches_threads_made_before(struct pawl_sandbox *sandbox)
{
    struct earlier earlier = { .code = 0 };
    pthread_t thread;
    bool done;

    (void)pthread_barrier_init(&earlier.barrier, NULL, 2);
    if (pthread_create(&thread, NULL, ask_for_a_socket, &earlier) != 0) {
        return false;
    }
    (void)pthread_barrier_wait(&earlier.barrier);
    done = restrict_calls(sandbox);
    (void)pthread_barrier_wait(&earlier.barrier);
    (void)pthread_join(thread, NULL);
    return done && earlier.code == EPERM;
}

static bool runs_a_program(struct pawl_sandbox *sandbox)
{
    return restrict_calls(sandbox) && execl("/bin/true", "true", (char *)NULL) == 0;
}

static bool traces(struct pawl_sandbox *sandbox)
{
    return restrict_calls(sandbox) && syscall(SYS_ptrace, 0, 0, 0, 0) == 0;
}

static bool may_connect_where_asked(struct pawl_sandbox *sandbox)
{
    (void)pawl_sandbox_files(sandbox);
    return pawl_sandbox_calls(sandbox, true) && socket(AF_INET, SOCK_STREAM, 0) >= 0 &&
           socket(AF_UNIX, SOCK_STREAM, 0) >= 0 && socket(AF_PACKET, SOCK_RAW, 0) == -1 &&
           errno == EPERM;
}

/** What a thread of the resolver does: a name, an address, a connection. */
static void *reach(void *data)
{
    struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    uint16_t port = *(const uint16_t *)data;
    int fd = -1;

    if (getaddrinfo("localhost", NULL, &hints, &found) != 0) {
        return NULL;
    }
    ((struct sockaddr_in *)(void *)found->ai_addr)->sin_port = port;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        (void)close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd >= 0 ? data : NULL;
}

/** Whether a thread that is made afterwards reaches a socket of this machine by its name. */
static bool reaches(struct pawl_sandbox *sandbox, bool network)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof(at);
    void *reached = NULL;
    pthread_t thread;

    if (bind(listener, (struct sockaddr *)&at, size) != 0 || listen(listener, 4) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &size) != 0) {
        return !network;
    }
    if (network) {
        pawl_sandbox_allow_network(sandbox);
    }
    pawl_sandbox_allow(sandbox, "/usr/lib", PAWL_SANDBOX_READ);
    pawl_sandbox_allow(sandbox, "/etc/ld.so.cache", PAWL_SANDBOX_READ);
    if (!network) {
        pawl_sandbox_allow(sandbox, "/etc/hosts", PAWL_SANDBOX_READ);
        pawl_sandbox_allow(sandbox, "/etc/nsswitch.conf", PAWL_SANDBOX_READ);
    }
    (void)pawl_sandbox_files(sandbox);
    return pawl_sandbox_calls(sandbox, true) &&
           pthread_create(&thread, NULL, reach, &at.sin_port) == 0 &&
           pthread_join(thread, &reached) == 0 && reached != NULL;
}

static bool reaches_the_network(struct pawl_sandbox *sandbox)
{
    return reaches(sandbox, true) && open_errno("/etc/passwd", O_RDONLY) == EACCES;
}

static bool reaches_nothing(struct pawl_sandbox *sandbox)
{
    return !reaches(sandbox, false);
}

static void needs_seccomp(child_part part)
{
    if (!has(false)) {
        skip();
    }
    assert_holds(part);
}

static void no_socket_is_made_or_connected(void **state)
{
    (void)state;
    needs_seccomp(refuses_sockets);
    needs_seccomp(may_connect_where_asked);
}

static void names_are_looked_up_and_connected_in_a_cluster_and_not_without(void **state)
{
    struct pawl_sandbox sandbox;
    unsigned abi;

    (void)state;
    pawl_sandbox_init(&sandbox);
    abi = sandbox.abi;
    pawl_sandbox_deinit(&sandbox);
    if (!has(true) || !has(false)) {
        skip();
    }
    assert_holds(reaches_the_network);
    if (abi >= 4) { /* before, Landlock knew files alone */
        assert_holds(reaches_nothing);
    }
}

static void no_process_is_made_or_signalled(void **state)
{
    (void)state;
    needs_seccomp(refuses_processes);
}

static void no_memory_is_written_and_run(void **state)
{
    (void)state;
    needs_seccomp(refuses_memory_to_run);
}

static void threads_go_on_and_are_made(void **state)
{
    (void)state;
    needs_seccomp(still_makes_threads);
    needs_seccomp(reaches_threads_made_before);
}

static void what_only_an_intruder_asks_for_ends_the_process(void **state)
{
    static const child_part parts[] = { runs_a_program, traces };

    (void)state;
    if (!has(false)) {
        skip();
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int status = in_child(parts[i]);

        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

/* ---- words --------------------------------------------------------------------------------- */

static void what_is_in_force_is_said(void **state)
{
    struct pawl_sandbox sandbox = { .files = true, .calls = true };
    char text[200];

    (void)state;
    pawl_sandbox_text(&sandbox, text, sizeof(text));
    assert_string_equal(text, "seccomp+landlock");
    sandbox.files = false;
    (void)snprintf(sandbox.files_missing, sizeof(sandbox.files_missing), "not in this kernel");
    pawl_sandbox_text(&sandbox, text, sizeof(text));
    assert_string_equal(text, "seccomp (landlock: not in this kernel)");
    sandbox = (struct pawl_sandbox){ .calls_missing = "a build with sanitizers" };
    pawl_sandbox_text(&sandbox, text, sizeof(text));
    assert_string_equal(text, "off (a build with sanitizers)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_outside_of_the_folders_cannot_be_opened),
        cmocka_unit_test(files_are_made_and_removed_where_that_is_allowed),
        cmocka_unit_test(a_file_s_folder_is_allowed_with_it),
        cmocka_unit_test(a_file_outside_is_named_with_what_to_do),
        cmocka_unit_test(no_core_is_left_and_no_privilege_gained),
        cmocka_unit_test(no_socket_is_made_or_connected),
        cmocka_unit_test(names_are_looked_up_and_connected_in_a_cluster_and_not_without),
        cmocka_unit_test(no_process_is_made_or_signalled),
        cmocka_unit_test(no_memory_is_written_and_run),
        cmocka_unit_test(threads_go_on_and_are_made),
        cmocka_unit_test(what_only_an_intruder_asks_for_ends_the_process),
        cmocka_unit_test(what_is_in_force_is_said),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
