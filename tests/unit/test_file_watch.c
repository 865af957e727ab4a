/* adapter/sys/file_watch: what counts as a change of a file, and when. Time is an argument; the
 * kernel queues the signs before the calls that cause them return. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapter/sys/file_watch.h"

#define QUIET_MS 250
#define MAX_MS   2000
#define POLL_MS  60000

struct rig {
    char root[64];
    struct pawl_file_watch *watch;
    uint64_t now_ms;
};

/* Lent until the fourth call after this one. */
static const char *at(const struct rig *rig, const char *name)
{
    static char paths[4][192];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", rig->root, name);
    return path;
}

static void put(struct rig *rig, const char *name, const char *text)
{
    FILE *file = fopen(at(rig, name), "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void make_folder(struct rig *rig, const char *name)
{
    assert_int_equal(mkdir(at(rig, name), 0700), 0);
}

static void link_to(struct rig *rig, const char *target, const char *name)
{
    assert_int_equal(symlink(target, at(rig, name)), 0);
}

static void move(struct rig *rig, const char *from, const char *to)
{
    assert_int_equal(rename(at(rig, from), at(rig, to)), 0);
}

static void watch_one(struct rig *rig, const char *name)
{
    pawl_file_watch_begin(rig->watch);
    assert_int_equal(pawl_file_watch_add(rig->watch, at(rig, name)), PAWL_OK);
    pawl_file_watch_use(rig->watch);
    assert_false(pawl_file_watch_step(rig->watch, rig->now_ms));
}

static bool step(struct rig *rig, uint64_t ms)
{
    rig->now_ms += ms;
    return pawl_file_watch_step(rig->watch, rig->now_ms);
}

/* Signs are heard, then it is quiet for long enough: far less than the poll. */
static bool is_told(struct rig *rig)
{
    bool early = step(rig, 100);

    return !early && !step(rig, QUIET_MS - 1) && step(rig, 1);
}

static void open_watch(struct rig *rig, bool no_inotify)
{
    const struct pawl_file_watch_options options = { QUIET_MS, MAX_MS, POLL_MS, no_inotify, 0 };

    pawl_file_watch_close(rig->watch);
    assert_int_equal(pawl_file_watch_open(&options, &rig->watch), PAWL_OK);
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    if (rig == NULL) {
        return -1;
    }
    (void)snprintf(rig->root, sizeof(rig->root), "/tmp/pawl-watch-XXXXXX");
    assert_non_null(mkdtemp(rig->root));
    rig->now_ms = 1000;
    open_watch(rig, false);
    *state = rig;
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_all(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    pawl_file_watch_close(rig->watch);
    remove_all(rig->root);
    free(rig);
    return 0;
}

static void an_edit_in_place_is_a_change_once(void **state)
{
    struct rig *rig = *state;

    put(rig, "f", "one");
    watch_one(rig, "f");
    put(rig, "f", "another");
    assert_true(is_told(rig));
    assert_false(step(rig, MAX_MS));
    assert_true(pawl_file_watch_is_whole(rig->watch));
}

static void a_file_renamed_over_it_is_a_change(void **state)
{
    struct rig *rig = *state;

    put(rig, "f", "one");
    watch_one(rig, "f");
    put(rig, "g", "two");
    move(rig, "g", "f");
    assert_true(is_told(rig));
}

static void deleting_it_and_making_it_again_are_changes(void **state)
{
    struct rig *rig = *state;

    put(rig, "f", "one");
    watch_one(rig, "f");
    assert_int_equal(unlink(at(rig, "f")), 0);
    assert_true(is_told(rig));
    put(rig, "f", "one");
    assert_true(is_told(rig));
}

static void a_mode_that_lets_us_read_it_is_a_change(void **state)
{
    struct rig *rig = *state;

    put(rig, "f", "one");
    watch_one(rig, "f");
    assert_int_equal(chmod(at(rig, "f"), 0400), 0);
    assert_true(is_told(rig));
}

static void traffic_beside_it_is_no_change(void **state)
{
    struct rig *rig = *state;

    put(rig, "f", "one");
    watch_one(rig, "f");
    put(rig, "g", "one");
    assert_false(is_told(rig));
    assert_false(step(rig, MAX_MS));
}

static void a_kubernetes_swap_of_the_data_link_is_a_change(void **state)
{
    struct rig *rig = *state;

    make_folder(rig, "mount");
    make_folder(rig, "mount/..2024_1");
    make_folder(rig, "mount/..2024_2");
    put(rig, "mount/..2024_1/pawld.yaml", "one");
    put(rig, "mount/..2024_2/pawld.yaml", "two");
    link_to(rig, "..2024_1", "mount/..data");
    link_to(rig, "..data/pawld.yaml", "mount/pawld.yaml");
    watch_one(rig, "mount/pawld.yaml");
    link_to(rig, "..2024_2", "mount/..data_tmp");
    move(rig, "mount/..data_tmp", "mount/..data");
    assert_true(is_told(rig));
    /* The folders that count now are those of the new way. */
    put(rig, "mount/..2024_2/pawld.yaml", "two and a half");
    assert_true(is_told(rig));
    put(rig, "mount/..2024_1/pawld.yaml", "old news");
    assert_false(is_told(rig));
}

static void a_link_anywhere_on_the_way_counts(void **state)
{
    struct rig *rig = *state;

    make_folder(rig, "v1");
    make_folder(rig, "v2");
    make_folder(rig, "v1/tls");
    make_folder(rig, "v2/tls");
    put(rig, "v1/tls/f", "one");
    put(rig, "v2/tls/f", "two");
    link_to(rig, at(rig, "v1"), "current");
    watch_one(rig, "current/tls/f");
    link_to(rig, at(rig, "v2"), "next");
    move(rig, "next", "current");
    assert_true(is_told(rig));
}

static void links_in_a_ring_end(void **state)
{
    struct rig *rig = *state;

    link_to(rig, "b", "a");
    link_to(rig, "a", "b");
    watch_one(rig, "a/f");
    assert_false(is_told(rig));
}

static void a_folder_that_vanishes_and_returns_is_seen_both_times(void **state)
{
    struct rig *rig = *state;

    make_folder(rig, "d");
    put(rig, "d/f", "one");
    watch_one(rig, "d/f");
    move(rig, "d", "gone");
    assert_true(is_told(rig));
    make_folder(rig, "d");
    assert_false(is_told(rig));
    put(rig, "d/f", "two");
    assert_true(is_told(rig));
    remove_all(at(rig, "d"));
    assert_true(is_told(rig));
    move(rig, "gone", "d");
    assert_true(is_told(rig));
    put(rig, "d/f", "and edits of it too");
    assert_true(is_told(rig));
}

static void a_folder_that_is_not_there_yet_is_waited_for(void **state)
{
    struct rig *rig = *state;

    watch_one(rig, "a/b/f");
    make_folder(rig, "a");
    assert_false(is_told(rig));
    make_folder(rig, "a/b");
    assert_false(is_told(rig));
    put(rig, "a/b/f", "one");
    assert_true(is_told(rig));
}

static void entries_of_a_watched_folder_count(void **state)
{
    struct rig *rig = *state;

    make_folder(rig, "jwks");
    watch_one(rig, "jwks");
    put(rig, "jwks/a.json", "{}");
    assert_true(is_told(rig));
    put(rig, "jwks/a.json", "{\"keys\":[]}");
    assert_true(is_told(rig));
    assert_int_equal(unlink(at(rig, "jwks/a.json")), 0);
    assert_true(is_told(rig));
}

static void it_waits_until_it_is_quiet_but_not_for_ever(void **state)
{
    struct rig *rig = *state;
    unsigned steps = 0;

    put(rig, "f", "");
    watch_one(rig, "f");
    put(rig, "f", "x");
    while (!step(rig, 100)) {
        FILE *file = fopen(at(rig, "f"), "a"); /* somebody is still writing */

        assert_non_null(file);
        (void)fputs("more", file);
        (void)fclose(file);
        assert_true(++steps <= MAX_MS / 100 + 1);
    }
    assert_true(steps >= MAX_MS / 100 - 1);
}

static void without_inotify_files_are_looked_at_now_and_then(void **state)
{
    struct rig *rig = *state;

    open_watch(rig, true);
    put(rig, "f", "one");
    watch_one(rig, "f");
    assert_false(pawl_file_watch_is_whole(rig->watch));
    put(rig, "f", "another");
    assert_false(step(rig, POLL_MS - 1));
    assert_true(step(rig, 1));
    assert_false(step(rig, POLL_MS));
    pawl_file_watch_set_poll(rig->watch, 500);
    put(rig, "f", "a third");
    assert_true(step(rig, 500));
}

static void without_inotify_they_are_looked_at_more_often(void **state)
{
    struct rig *rig = *state;
    const struct pawl_file_watch_options options = { QUIET_MS, MAX_MS, POLL_MS, true, 1000 };

    pawl_file_watch_close(rig->watch);
    assert_int_equal(pawl_file_watch_open(&options, &rig->watch), PAWL_OK);
    put(rig, "f", "one");
    watch_one(rig, "f");
    put(rig, "f", "another");
    assert_false(step(rig, 999));
    assert_true(step(rig, 1));
    pawl_file_watch_set_poll(rig->watch, 500); /* and not later than asked for */
    put(rig, "f", "a third");
    assert_true(step(rig, 500));
}

static void after_a_refusal_both_sets_are_watched(void **state)
{
    struct rig *rig = *state;

    make_folder(rig, "new");
    put(rig, "f", "one");
    watch_one(rig, "f");
    pawl_file_watch_begin(rig->watch);
    assert_int_equal(pawl_file_watch_add(rig->watch, at(rig, "new/key")), PAWL_OK);
    pawl_file_watch_also(rig->watch);
    put(rig, "new/key", "that was missing");
    assert_true(is_told(rig));
    put(rig, "f", "another");
    assert_true(is_told(rig));
    /* And the set that is taken at last is the only one. */
    watch_one(rig, "f");
    put(rig, "new/key", "changed");
    assert_false(is_told(rig));
    assert_int_equal(pawl_file_watch_folders(rig->watch), 1);
}

static void what_changed_while_it_was_loaded_is_not_lost(void **state)
{
    struct rig *rig = *state;

    put(rig, "f", "one");
    watch_one(rig, "f");
    pawl_file_watch_look(rig->watch);
    put(rig, "f", "another"); /* between reading it and taking the next set */
    pawl_file_watch_begin(rig->watch);
    assert_int_equal(pawl_file_watch_add(rig->watch, at(rig, "f")), PAWL_OK);
    pawl_file_watch_use(rig->watch);
    assert_true(is_told(rig));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_edit_in_place_is_a_change_once),
        T(a_file_renamed_over_it_is_a_change),
        T(deleting_it_and_making_it_again_are_changes),
        T(a_mode_that_lets_us_read_it_is_a_change),
        T(traffic_beside_it_is_no_change),
        T(a_kubernetes_swap_of_the_data_link_is_a_change),
        T(a_link_anywhere_on_the_way_counts),
        T(links_in_a_ring_end),
        T(a_folder_that_vanishes_and_returns_is_seen_both_times),
        T(a_folder_that_is_not_there_yet_is_waited_for),
        T(entries_of_a_watched_folder_count),
        T(it_waits_until_it_is_quiet_but_not_for_ever),
        T(without_inotify_files_are_looked_at_now_and_then),
        T(without_inotify_they_are_looked_at_more_often),
        T(after_a_refusal_both_sets_are_watched),
        T(what_changed_while_it_was_loaded_is_not_lost),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
