#include "adapter/sqlite/walcheck.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define FRAME (24 + 4096)

static uint8_t wal[1 << 20];
static size_t wal_size;

/* A log that SQLite wrote: 5 transactions of 2 frames or more. */
static int make_log(void **state)
{
    char dir[] = "/tmp/pawl-wal-XXXXXX";
    char path[64];
    sqlite3 *db = NULL;

    (void)state;
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/x", dir);
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode = WAL; CREATE TABLE a(x); CREATE TABLE b(x);"
                     "BEGIN; INSERT INTO a VALUES(1); INSERT INTO b VALUES(1); COMMIT;"
                     "BEGIN; INSERT INTO a VALUES(2); INSERT INTO b VALUES(2); COMMIT;"
                     "BEGIN; INSERT INTO a VALUES(3); INSERT INTO b VALUES(3); COMMIT",
                     NULL, NULL, NULL) != SQLITE_OK) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/x-wal", dir);
    FILE *file = fopen(path, "rb");

    wal_size = file != NULL ? fread(wal, 1, sizeof(wal), file) : 0;
    if (file != NULL) {
        (void)fclose(file);
    }
    (void)sqlite3_close(db);
    (void)snprintf(path, sizeof(path), "%s/x", dir);
    (void)unlink(path);
    (void)rmdir(dir);
    return wal_size > 32 + 6 * FRAME ? 0 : -1;
}

static enum pawl_status check(struct pawl_walcheck *out)
{
    return pawl_walcheck(pawl_bytes_of(wal, wal_size), out);
}

static void a_whole_log_is_good(void **state)
{
    struct pawl_walcheck out;

    (void)state;
    assert_int_equal(check(&out), PAWL_OK);
    assert_int_equal(out.frames, (wal_size - 32) / FRAME);
    assert_int_equal(out.commits, 5);
}

static void every_flip_before_the_last_transaction_is_noticed(void **state)
{
    struct pawl_walcheck out;
    size_t last = wal_size - 2 * FRAME;

    (void)state;
    for (size_t at = 0; at < last; at += at % FRAME < 64 ? 1 : 61) {
        wal[at] ^= 0x10;
        enum pawl_status status = check(&out);

        wal[at] ^= 0x10;
        /* The frame that ends the transaction before the last: if its own head is what is
         * damaged, it may pass for a torn last transaction. The mark tells then. */
        bool head_of_end = at >= last - FRAME && at < last - FRAME + 24;

        if (!head_of_end && status != PAWL_ECORRUPT) {
            fail_msg("a flip at %zu of %zu was not noticed", at, wal_size);
        }
    }
}

static void damage_to_the_last_transaction_passes_for_a_torn_one(void **state)
{
    struct pawl_walcheck out;

    (void)state;
    wal[wal_size - 100] ^= 1;
    assert_int_equal(check(&out), PAWL_OK);
    wal[wal_size - 100] ^= 1;
    assert_int_equal(out.frames, (wal_size - 32) / FRAME - 1);
    assert_int_equal(out.commits, 4);
}

static void every_length_is_good_for_what_it_holds(void **state)
{
    struct pawl_walcheck out;

    (void)state;
    for (size_t length = 0; length < wal_size; length += 511) {
        assert_int_equal(pawl_walcheck(pawl_bytes_of(wal, length), &out), PAWL_OK);
        assert_int_equal(out.frames, length < 32 ? 0 : (length - 32) / FRAME);
    }
}

static void frames_of_an_older_life_of_the_log_do_not_count(void **state)
{
    static uint8_t kept[1 << 20];
    struct pawl_walcheck out;

    (void)state;
    memcpy(kept, wal, wal_size);
    for (size_t at = 32 + 4 * FRAME; at < wal_size; at += FRAME) {
        wal[at + 8] ^= 0x55; /* another salt */
    }
    assert_int_equal(check(&out), PAWL_OK);
    assert_int_equal(out.frames, 4);
    assert_int_equal(out.frames_after, 0);
    memcpy(wal, kept, wal_size);
}

static void an_empty_or_zeroed_log_is_good(void **state)
{
    static const uint8_t zero[64];
    struct pawl_walcheck out;

    (void)state;
    assert_int_equal(pawl_walcheck(pawl_bytes_of(NULL, 0), &out), PAWL_OK);
    assert_int_equal(pawl_walcheck(pawl_bytes_of(zero, sizeof(zero)), &out), PAWL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_log_is_good),
        cmocka_unit_test(every_flip_before_the_last_transaction_is_noticed),
        cmocka_unit_test(damage_to_the_last_transaction_passes_for_a_torn_one),
        cmocka_unit_test(every_length_is_good_for_what_it_holds),
        cmocka_unit_test(frames_of_an_older_life_of_the_log_do_not_count),
        cmocka_unit_test(an_empty_or_zeroed_log_is_good),
    };

    return cmocka_run_group_tests(tests, make_log, NULL);
}
