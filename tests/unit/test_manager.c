/* The service manager's side: adapter/sys/notify, adapter/sys/activation, ops/watchdog. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapter/sys/activation.h"
#include "adapter/sys/notify.h"
#include "ops/watchdog.h"

/* ---- notify -------------------------------------------------------------------------------- */

/** A manager's end at an abstract name of this process; its name goes to the environment. */
static int manager_open(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char name[64];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int size = snprintf(name, sizeof(name), "@pawl-test-manager-%d", (int)getpid());

    memcpy(address.sun_path + 1, name + 1, (size_t)size - 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)size)),
                     0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static const char *heard(int manager)
{
    static char text[PAWL_NOTIFY_BYTES_MAX + 1];
    ssize_t size = recv(manager, text, sizeof(text) - 1, 0);

    text[size > 0 ? size : 0] = '\0';
    return text;
}

static void each_state_is_one_message_in_the_manager_s_words(void **state)
{
    int manager = manager_open();
    struct pawl_notify notify;
    const char reloading[] = "RELOADING=1\nMONOTONIC_USEC=";
    const char *text;

    (void)state;
    assert_int_equal(pawl_notify_open(&notify, NULL), PAWL_OK);
    assert_int_equal(notify.watchdog_ms, 0);
    pawl_notify_ready(&notify, "2 workers");
    assert_string_equal(heard(manager), "READY=1\nSTATUS=2 workers");
    pawl_notify_reloading(&notify);
    text = heard(manager);
    assert_memory_equal(text, reloading, sizeof(reloading) - 1);
    text += sizeof(reloading) - 1;
    assert_true(strspn(text, "0123456789") > 0 && text[strspn(text, "0123456789")] == '\n');
    pawl_notify_watchdog(&notify);
    assert_string_equal(heard(manager), "WATCHDOG=1");
    pawl_notify_stopping(&notify, "draining");
    assert_string_equal(heard(manager), "STOPPING=1\nSTATUS=draining");
    pawl_notify_close(&notify);
    (void)close(manager);
}

static void its_variables_do_not_reach_children(void **state)
{
    int manager = manager_open();
    struct pawl_notify notify;

    (void)state;
    (void)setenv("WATCHDOG_USEC", "3000000", 1);
    assert_int_equal(pawl_notify_open(&notify, NULL), PAWL_OK);
    assert_int_equal(notify.watchdog_ms, 3000);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    pawl_notify_close(&notify);
    (void)close(manager);
}

static void the_watchdog_of_another_process_is_not_ours(void **state)
{
    int manager = manager_open();
    struct pawl_notify notify;

    (void)state;
    (void)setenv("WATCHDOG_USEC", "3000000", 1);
    (void)setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(pawl_notify_open(&notify, NULL), PAWL_OK);
    assert_int_equal(notify.watchdog_ms, 0);
    pawl_notify_close(&notify);
    (void)close(manager);
}

static void without_a_manager_nothing_is_said(void **state)
{
    struct pawl_notify notify;

    (void)state;
    (void)unsetenv("NOTIFY_SOCKET");
    assert_int_equal(pawl_notify_open(&notify, NULL), PAWL_OK);
    pawl_notify_ready(&notify, "here");
    pawl_notify_watchdog(&notify);
    pawl_notify_close(&notify);
}

static void a_manager_s_address_of_another_kind_is_told_and_then_ignored(void **state)
{
    struct pawl_notify notify;
    struct pawl_error error = { PAWL_OK, 0, "" };

    (void)state;
    (void)setenv("NOTIFY_SOCKET", "vsock:2:1234", 1);
    assert_int_equal(pawl_notify_open(&notify, &error), PAWL_EINVAL);
    assert_non_null(strstr(error.text, "NOTIFY_SOCKET"));
    pawl_notify_ready(&notify, "here");
    pawl_notify_close(&notify);
}

/* ---- watchdog ------------------------------------------------------------------------------ */

static void the_watchdog_is_fed_three_times_a_period_while_workers_turn(void **state)
{
    struct pawl_watchdog watchdog;
    unsigned fed = 0;

    (void)state;
    pawl_watchdog_init(&watchdog, 3000);
    for (uint64_t now = 100; now <= 9000; now += 100) {
        enum pawl_watchdog_word word = pawl_watchdog_step(&watchdog, now, now - 50);

        assert_int_not_equal(word, PAWL_WATCHDOG_STUCK);
        fed += word == PAWL_WATCHDOG_FEED;
    }
    assert_int_equal(fed, 9);
}

static void a_stuck_worker_is_told_once_and_stops_the_feeding(void **state)
{
    struct pawl_watchdog watchdog;
    const uint64_t stuck_at = 1000;
    unsigned told = 0;

    (void)state;
    pawl_watchdog_init(&watchdog, 3000);
    for (uint64_t now = 100; now <= stuck_at; now += 100) {
        (void)pawl_watchdog_step(&watchdog, now, now);
    }
    for (uint64_t now = stuck_at + 1600; now <= 60000; now += 100) {
        /* The others turn; the oldest counts. */
        if (now == stuck_at + 1600) {
            (void)pawl_watchdog_step(&watchdog, now - 200, now - 300); /* no pause of the process */
        }
        enum pawl_watchdog_word word = pawl_watchdog_step(&watchdog, now, stuck_at);

        assert_int_not_equal(word, PAWL_WATCHDOG_FEED);
        told += word == PAWL_WATCHDOG_STUCK;
    }
    assert_int_equal(told, 1);
    /* It turns again. */
    assert_int_equal(pawl_watchdog_step(&watchdog, 60100, 60050), PAWL_WATCHDOG_FEED);
}

static void the_edge_of_stale_is_half_the_period(void **state)
{
    struct pawl_watchdog watchdog;

    (void)state;
    pawl_watchdog_init(&watchdog, 3000);
    assert_int_equal(pawl_watchdog_step(&watchdog, 10000, 8500), PAWL_WATCHDOG_FEED);
    pawl_watchdog_init(&watchdog, 3000);
    (void)pawl_watchdog_step(&watchdog, 9900, 9900);
    assert_int_equal(pawl_watchdog_step(&watchdog, 10001, 8500), PAWL_WATCHDOG_STUCK);
}

static void a_machine_that_slept_calls_nobody_stuck(void **state)
{
    struct pawl_watchdog watchdog;

    (void)state;
    pawl_watchdog_init(&watchdog, 3000);
    (void)pawl_watchdog_step(&watchdog, 1000, 1000);
    assert_int_equal(pawl_watchdog_step(&watchdog, 900000, 1000), PAWL_WATCHDOG_WAIT);
    assert_int_equal(pawl_watchdog_step(&watchdog, 900100, 900050), PAWL_WATCHDOG_FEED);
}

static void without_a_period_nothing_is_due(void **state)
{
    struct pawl_watchdog watchdog;

    (void)state;
    pawl_watchdog_init(&watchdog, 0);
    assert_int_equal(pawl_watchdog_step(&watchdog, 1000, 0), PAWL_WATCHDOG_WAIT);
    assert_int_equal(pawl_watchdog_step(&watchdog, UINT64_MAX, 0), PAWL_WATCHDOG_WAIT);
}

/* ---- activation ---------------------------------------------------------------------------- */

#define FIRST 3
#define GOOD  0 /* exit statuses of the child below */
#define WRONG 1

/** What a child with passed sockets does; returns whether all was as it should be. */
typedef bool (*child_part)(unsigned short port, const char *path);

static int tcp_socket(bool listening, unsigned short *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (const struct sockaddr *)&address, size) != 0 ||
        (listening && listen(fd, 4) != 0) ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static int unix_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 4) == 0
               ? fd
               : -1;
}

static void pass_variables(const char *count)
{
    char pid[16];

    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    (void)setenv("LISTEN_PID", pid, 1);
    (void)setenv("LISTEN_FDS", count, 1);
    (void)setenv("LISTEN_FDNAMES", "web:local", 1);
}

/* In a child, as descriptors have to lie at 3 and 4: a TCP listener and a Unix one. */
static void in_child(child_part part, bool listening)
{
    char path[64];
    int status = -1;
    pid_t pid;

    (void)snprintf(path, sizeof(path), "/tmp/pawl-unit-%d.sock", (int)getpid());
    pid = fork();
    if (pid == 0) {
        unsigned short port = 0;
        int web = tcp_socket(listening, &port);
        int local = unix_socket(path);
        bool good = web >= 0 && local >= 0;

        web = fcntl(web, F_DUPFD, 64);
        local = fcntl(local, F_DUPFD, 64);
        good = good && dup2(web, FIRST) == FIRST && dup2(local, FIRST + 1) == FIRST + 1;
        pass_variables("2");
        _exit(good && part(port, path) ? GOOD : WRONG);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    (void)unlink(path);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), GOOD);
}

static struct pawl_address address_of(const char *text)
{
    struct pawl_address address;

    if (pawl_address_parse(pawl_bytes_of(text, strlen(text)), &address, NULL) != PAWL_OK) {
        abort(); /* in a child: cmocka's own way would run the rest of the tests there */
    }
    return address;
}

static struct pawl_address tcp_at(unsigned short port)
{
    char text[64];

    (void)snprintf(text, sizeof(text), "tcp:127.0.0.1:%u", (unsigned)port);
    return address_of(text);
}

static struct pawl_address unix_at(const char *path)
{
    char text[PAWL_ADDRESS_TEXT_MAX];

    (void)snprintf(text, sizeof(text), "unix:%s", path);
    return address_of(text);
}

static bool matches_both(unsigned short port, const char *path)
{
    struct pawl_activation activation;
    struct pawl_address web = tcp_at(port);
    struct pawl_address local = unix_at(path);
    struct pawl_address other = tcp_at((unsigned short)(port ^ 1));

    return pawl_activation_take(&activation, NULL) == PAWL_OK && activation.count == 2 &&
           getenv("LISTEN_FDS") == NULL && (fcntl(FIRST, F_GETFD) & FD_CLOEXEC) != 0 &&
           pawl_activation_match(&activation, &other) == -1 &&
           pawl_activation_match(&activation, &local) == FIRST + 1 &&
           pawl_activation_match(&activation, &web) == FIRST &&
           pawl_activation_match(&activation, &web) == -1 && /* once */
           pawl_activation_end(&activation, NULL) == PAWL_OK && fcntl(FIRST, F_GETFD) >= 0;
}

static bool refuses_what_is_left(unsigned short port, const char *path)
{
    struct pawl_activation activation;
    struct pawl_address local = unix_at(path);
    struct pawl_error error = { PAWL_OK, 0, "" };
    char wanted[32];

    (void)snprintf(wanted, sizeof(wanted), "127.0.0.1:%u (web)", (unsigned)port);
    return pawl_activation_take(&activation, NULL) == PAWL_OK &&
           pawl_activation_match(&activation, &local) == FIRST + 1 &&
           pawl_activation_end(&activation, &error) == PAWL_EINVAL &&
           strstr(error.text, wanted) != NULL && strstr(error.text, "listen") != NULL &&
           fcntl(FIRST, F_GETFD) == -1;
}

static bool refuses_a_socket_that_does_not_listen(unsigned short port, const char *path)
{
    struct pawl_activation activation;
    struct pawl_error error = { PAWL_OK, 0, "" };

    (void)port;
    (void)path;
    return pawl_activation_take(&activation, &error) == PAWL_EINVAL &&
           strstr(error.text, "Accept=no") != NULL && fcntl(FIRST, F_GETFD) == -1;
}

static bool leaves_those_of_another_process(unsigned short port, const char *path)
{
    struct pawl_activation activation;

    (void)port;
    (void)path;
    (void)setenv("LISTEN_PID", "1", 1);
    return pawl_activation_take(&activation, NULL) == PAWL_OK && activation.count == 0 &&
           getenv("LISTEN_PID") == NULL && fcntl(FIRST, F_GETFD) >= 0;
}

static bool refuses_numbers_that_cannot_be(unsigned short port, const char *path)
{
    static const char *const counts[] = { "17", "-1", "", "3x", "99999999999999999999" };
    struct pawl_activation activation;

    (void)port;
    (void)path;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        pass_variables(counts[i]);
        if (pawl_activation_take(&activation, NULL) != PAWL_EINVAL) {
            return false;
        }
    }
    pass_variables("9"); /* more than are open */
    return pawl_activation_take(&activation, NULL) == PAWL_EINVAL;
}

static void passed_sockets_are_matched_by_their_address(void **state)
{
    (void)state;
    in_child(matches_both, true);
}

static void a_passed_socket_that_nothing_names_is_an_error(void **state)
{
    (void)state;
    in_child(refuses_what_is_left, true);
}

static void a_passed_socket_that_does_not_listen_is_an_error(void **state)
{
    (void)state;
    in_child(refuses_a_socket_that_does_not_listen, false);
}

static void sockets_passed_to_another_process_are_not_ours(void **state)
{
    (void)state;
    in_child(leaves_those_of_another_process, true);
}

static void counts_of_sockets_that_cannot_be_are_refused(void **state)
{
    (void)state;
    in_child(refuses_numbers_that_cannot_be, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_is_one_message_in_the_manager_s_words),
        cmocka_unit_test(its_variables_do_not_reach_children),
        cmocka_unit_test(the_watchdog_of_another_process_is_not_ours),
        cmocka_unit_test(without_a_manager_nothing_is_said),
        cmocka_unit_test(a_manager_s_address_of_another_kind_is_told_and_then_ignored),
        cmocka_unit_test(the_watchdog_is_fed_three_times_a_period_while_workers_turn),
        cmocka_unit_test(a_stuck_worker_is_told_once_and_stops_the_feeding),
        cmocka_unit_test(the_edge_of_stale_is_half_the_period),
        cmocka_unit_test(a_machine_that_slept_calls_nobody_stuck),
        cmocka_unit_test(without_a_period_nothing_is_due),
        cmocka_unit_test(passed_sockets_are_matched_by_their_address),
        cmocka_unit_test(a_passed_socket_that_nothing_names_is_an_error),
        cmocka_unit_test(a_passed_socket_that_does_not_listen_is_an_error),
        cmocka_unit_test(sockets_passed_to_another_process_are_not_ours),
        cmocka_unit_test(counts_of_sockets_that_cannot_be_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
