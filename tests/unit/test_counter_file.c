#include "support/store_rig.h"

#include "adapter/sys/counter_file.h"

static const struct pawl_counter_anchor anchor = { .boot_id = { 1 },
                                                   .boottime_ns = 5000000000,
                                                   .wall_us = UINT64_C(1700000000000000) };
static const uint8_t birth[PAWL_BIRTH_BYTES] = { 9 };

struct seen {
    unsigned count;
    uint64_t elapsed_ms;
    char all[256];
};

static void on_record(void *data, struct pawl_bytes record, uint64_t elapsed_ms)
{
    struct seen *seen = data;
    size_t used = strlen(seen->all);

    seen->count++;
    seen->elapsed_ms = elapsed_ms;
    if (used + record.size < sizeof(seen->all)) {
        memcpy(seen->all + used, record.data, record.size);
        seen->all[used + record.size] = '\0';
    }
}

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    rig_init(rig);
    *state = rig;
    return 0;
}

static int teardown(void **state)
{
    rig_deinit(*state);
    free(*state);
    return 0;
}

/* Size-prefixed records, one for each letter of @text. */
static struct pawl_bytes payload(const char *text, uint8_t *out)
{
    size_t size = 0;

    for (const char *c = text; *c != '\0'; c++) {
        const uint8_t record[] = { 1, 0, 0, 0, (uint8_t)*c };

        memcpy(out + size, record, sizeof(record));
        size += sizeof(record);
    }
    return pawl_bytes_of(out, size);
}

static enum pawl_status open_file(struct rig *rig, struct pawl_counter_file *file,
                                  const struct pawl_counter_anchor *now, struct seen *seen,
                                  struct pawl_counter_report *report)
{
    memset(seen, 0, sizeof(*seen));
    return pawl_counter_file_open(file, rig->dir_fd, rig->keys, rig->keys_count, birth, 77, now,
                                  on_record, seen, report, &rig->error);
}

static void append(struct pawl_counter_file *file, const char *text)
{
    uint8_t buffer[256];
    struct pawl_bytes bytes = payload(text, buffer);

    assert_int_equal(
        pawl_counter_file_append(file, &anchor, 3, bytes, (uint32_t)strlen(text), NULL), PAWL_OK);
    assert_int_equal(pawl_counter_file_sync(file, NULL), PAWL_OK);
}

static void write_three_blocks(struct rig *rig)
{
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;

    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    append(&file, "ab");
    append(&file, "cd");
    append(&file, "ef");
    pawl_counter_file_close(&file);
}

static void blocks_come_back_in_their_order(void **state)
{
    struct rig *rig = *state;
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;

    write_three_blocks(rig);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_string_equal(seen.all, "abcdef");
    assert_int_equal(report.blocks, 3);
    assert_int_equal(report.commits, 3);
    assert_int_equal(report.damage, PAWL_OK);
    append(&file, "g");
    pawl_counter_file_close(&file);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_string_equal(seen.all, "abcdefg");
    pawl_counter_file_close(&file);
}

static void a_snapshot_takes_the_journals_place_and_keeps_what_came_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;
    uint8_t buffer[64];

    write_three_blocks(rig);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_int_equal(pawl_counter_snapshot_begin(&file, 5, NULL), PAWL_OK);
    assert_int_equal(
        pawl_counter_snapshot_append(&file, &anchor, 3, payload("xy", buffer), 2, NULL), PAWL_OK);
    append(&file, "z");
    assert_int_equal(pawl_counter_snapshot_commit(&file, NULL), PAWL_OK);
    append(&file, "!");
    pawl_counter_file_close(&file);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_string_equal(seen.all, "xyz!");
    assert_false(rig_exists(rig, PAWL_COUNTER_FILE_TEMP));
    pawl_counter_file_close(&file);
}

static void a_snapshot_that_is_dropped_leaves_the_journal(void **state)
{
    struct rig *rig = *state;
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;

    write_three_blocks(rig);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_int_equal(pawl_counter_snapshot_begin(&file, 5, NULL), PAWL_OK);
    append(&file, "g");
    pawl_counter_file_close(&file);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_string_equal(seen.all, "abcdefg");
    pawl_counter_file_close(&file);
}

static void every_length_loads_a_prefix_and_goes_on(void **state)
{
    struct rig *rig = *state;
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;
    uint8_t data[1024];

    write_three_blocks(rig);
    size_t size = rig_read_file(rig, PAWL_COUNTER_FILE, data, sizeof(data));

    for (size_t length = 0; length <= size; length++) {
        rig_empty(rig);
        rig_write_file(rig, PAWL_COUNTER_FILE, data, length);
        assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
        assert_memory_equal(seen.all, "abcdef", strlen(seen.all));
        assert_int_equal(strlen(seen.all) % 2, 0);
        assert_int_equal(report.damage,
                         length < PAWL_COUNTER_HEADER_BYTES ? PAWL_ECORRUPT : PAWL_OK);
        append(&file, "g");
        pawl_counter_file_close(&file);
        size_t before = strlen(seen.all);

        assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
        assert_int_equal(strlen(seen.all), before + 1);
        pawl_counter_file_close(&file);
    }
}

static void nothing_of_a_long_torn_block_is_left_behind_a_short_new_one(void **state)
{
    struct rig *rig = *state;
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;
    uint8_t data[1024];

    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    append(&file, "0123456789012345678901234567890123456789");
    pawl_counter_file_close(&file);
    size_t size = rig_read_file(rig, PAWL_COUNTER_FILE, data, sizeof(data));

    rig_write_file(rig, PAWL_COUNTER_FILE, data, size - 1);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_int_equal(seen.count, 0);
    append(&file, "g");
    pawl_counter_file_close(&file);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_string_equal(seen.all, "g");
    assert_int_equal(report.damage, PAWL_OK);
    assert_int_equal(report.torn_bytes, 0);
    pawl_counter_file_close(&file);
}

static void every_flipped_bit_is_noticed_and_the_file_kept(void **state)
{
    struct rig *rig = *state;
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;
    uint8_t data[1024];

    write_three_blocks(rig);
    size_t size = rig_read_file(rig, PAWL_COUNTER_FILE, data, sizeof(data));

    for (size_t bit = 0; bit < 8 * size; bit += 3) {
        rig_empty(rig);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        rig_write_file(rig, PAWL_COUNTER_FILE, data, size);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
        assert_memory_equal(seen.all, "abcdef", strlen(seen.all));
        assert_true(strlen(seen.all) < 6); /* the block of the flip is not used */
        assert_true(report.damage != PAWL_OK || report.torn_bytes > 0);
        if (report.damage != PAWL_OK) {
            assert_true(rig_exists(rig, report.set_aside));
        }
        pawl_counter_file_close(&file);
    }
}

static void another_secret_and_a_newer_version_are_told_apart_and_set_aside(void **state)
{
    struct rig *rig = *state;
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;
    uint8_t data[1024];
    struct pawl_store_keys first = rig->keys[0];

    write_three_blocks(rig);
    rig->keys[0] = rig->keys[1];
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_int_equal(report.damage, PAWL_ESECRET);
    assert_int_equal(seen.count, 0);
    assert_true(rig_exists(rig, report.set_aside));
    pawl_counter_file_close(&file);
    rig->keys[0] = first;
    rig_empty(rig);
    write_three_blocks(rig);
    size_t size = rig_read_file(rig, PAWL_COUNTER_FILE, data, sizeof(data));

    data[8] = 2;
    rig_write_file(rig, PAWL_COUNTER_FILE, data, size);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_int_equal(report.damage, PAWL_EVERSION);
    pawl_counter_file_close(&file);
}

static void an_older_secret_that_is_listed_still_reads(void **state)
{
    struct rig *rig = *state;
    struct pawl_counter_file file;
    struct pawl_counter_report report;
    struct seen seen;
    struct pawl_store_keys first = rig->keys[0];

    write_three_blocks(rig);
    rig->keys[0] = rig->keys[1];
    rig->keys[1] = first;
    rig->keys_count = 2;
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_string_equal(seen.all, "abcdef");
    append(&file, "g");
    pawl_counter_file_close(&file);
    assert_int_equal(open_file(rig, &file, &anchor, &seen, &report), PAWL_OK);
    assert_string_equal(seen.all, "abcdefg");
    pawl_counter_file_close(&file);
}

static void ages_are_never_too_old(void **state)
{
    struct pawl_counter_anchor now = anchor;

    (void)state;
    now.boottime_ns += 7000000000;
    assert_int_equal(pawl_counter_elapsed_ms(&anchor, &now), 7000);
    now.wall_us += UINT64_C(3600) * 1000000; /* a civil clock an hour on changes nothing */
    assert_int_equal(pawl_counter_elapsed_ms(&anchor, &now), 7000);
    now.boottime_ns = 1;
    assert_int_equal(pawl_counter_elapsed_ms(&anchor, &now), 0);
    now = anchor;
    now.boot_id[0] = 2; /* another boot: nothing is certain */
    now.boottime_ns += 7000000000;
    now.wall_us += UINT64_C(3600) * 1000000;
    assert_int_equal(pawl_counter_elapsed_ms(&anchor, &now), 0);
    now.wall_us = 0;
    assert_int_equal(pawl_counter_elapsed_ms(&anchor, &now), 0);
    struct pawl_counter_anchor unknown = { .boottime_ns = 0 };
    struct pawl_counter_anchor later = { .boottime_ns = 7000000000 };

    assert_int_equal(pawl_counter_elapsed_ms(&unknown, &later), 0);
}

/* ---- through the store ---- */

#define KEYS 1000

struct source {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    unsigned dirty;  /* records changed and not handed out */
    unsigned rounds; /* dirty rounds that came */
    unsigned value;
};

/* A limiter of KEYS records "kkkkvvvv". */
static size_t collect(void *self, uint64_t *cursor, bool all, uint8_t *out, size_t capacity,
                      struct pawl_now now)
{
    struct source *source = self;
    size_t size = 0;

    (void)now;
    (void)pthread_mutex_lock(&source->lock);
    unsigned end = all ? KEYS : source->dirty;

    while (*cursor < end && capacity - size >= 12) {
        const uint32_t words[] = { 8, (uint32_t)*cursor, source->value };

        memcpy(out + size, words, sizeof(words));
        size += sizeof(words);
        (*cursor)++;
    }
    if (*cursor >= end) {
        *cursor = 0;
        if (!all) {
            source->dirty = 0;
            source->rounds++;
            (void)pthread_cond_broadcast(&source->wake);
        }
    }
    (void)pthread_mutex_unlock(&source->lock);
    return size;
}

static void wait_rounds(struct source *source, unsigned more)
{
    (void)pthread_mutex_lock(&source->lock);
    unsigned goal = source->rounds + more;

    while (source->rounds < goal) {
        (void)pthread_cond_wait(&source->wake, &source->lock);
    }
    (void)pthread_mutex_unlock(&source->lock);
}

static void counters_are_saved_in_rounds_and_whole_at_the_end(void **state)
{
    struct rig *rig = *state;
    struct rig crashed;
    struct source source = { .value = 5, .dirty = 3 };

    rig_init(&crashed);
    (void)pthread_mutex_init(&source.lock, NULL);
    (void)pthread_cond_init(&source.wake, NULL);
    rig->options.counters = (struct pawl_counter_source){ collect, NULL, &source };
    rig_must_open(rig);
    while (rig_stat(rig, "counter_saved_records") < 3) {
        atomic_fetch_add(&rig->boottime_ns, 60000000);
        wait_rounds(&source, 1);
    }
    wait_rounds(&source, 1); /* the round before it is synced */
    rig_copy(rig, &crashed);
    rig_must_open(&crashed);
    assert_int_equal(crashed.counters, 3);
    rig_close(&crashed);
    rig_close(rig);
    rig->options.counters.collect = NULL;
    rig_must_open(rig);
    assert_int_equal(rig->counters, KEYS);
    rig_close(rig);
    rig_deinit(&crashed);
}

static void an_exact_counter_is_on_disk_before_its_answer(void **state)
{
    struct rig *rig = *state;
    struct rig crashed;
    struct rig_job job = { .finished = false };

    rig_init(&crashed);
    rig_must_open(rig);
    job.job.kind = PAWL_JOB_COUNTER;
    job.job.record = rig_text("exactly"); /* no size in front */
    assert_int_equal(rig_submit(rig, &job), PAWL_EINVAL);
    job.job.record = pawl_bytes_of("\x07\0\0\0exactly", 11);
    assert_int_equal(rig_run(rig, &job), PAWL_OK);
    assert_int_equal(job.job.reached, PAWL_ACK_DURABLE);
    rig_copy(rig, &crashed);
    atomic_fetch_add(&crashed.boottime_ns, UINT64_C(2500000000));
    rig_must_open(&crashed);
    assert_int_equal(crashed.counters, 1);
    assert_memory_equal(crashed.counter, "exactly", 7);
    assert_int_equal(crashed.elapsed_ms, 2500);
    rig_close(&crashed);
    rig_close(rig);
    rig_deinit(&crashed);
}

static void a_damaged_counter_file_is_set_aside_and_nothing_freezes(void **state)
{
    struct rig *rig = *state;

    rig_must_open(rig);
    rig_close(rig);
    rig_write_file(rig, PAWL_COUNTER_FILE, (const uint8_t *)"garbage", 7);
    rig_must_open(rig);
    assert_false(rig->frozen);
    assert_true(rig_has_prefix(rig, "counters.bad-"));
    assert_string_equal(rig->last_event, "counters_set_aside");
    rig_close(rig);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(blocks_come_back_in_their_order),
        TEST(a_snapshot_takes_the_journals_place_and_keeps_what_came_meanwhile),
        TEST(a_snapshot_that_is_dropped_leaves_the_journal),
        TEST(every_length_loads_a_prefix_and_goes_on),
        TEST(nothing_of_a_long_torn_block_is_left_behind_a_short_new_one),
        TEST(every_flipped_bit_is_noticed_and_the_file_kept),
        TEST(another_secret_and_a_newer_version_are_told_apart_and_set_aside),
        TEST(an_older_secret_that_is_listed_still_reads),
        TEST(ages_are_never_too_old),
        TEST(counters_are_saved_in_rounds_and_whole_at_the_end),
        TEST(an_exact_counter_is_on_disk_before_its_answer),
        TEST(a_damaged_counter_file_is_set_aside_and_nothing_freezes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
