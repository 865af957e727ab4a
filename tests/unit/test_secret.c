#include "support/store_rig.h"

#include "adapter/sys/memory.h"

#include <sys/mman.h>

static uint8_t secret[PAWL_SECRET_BYTES];
static uint8_t again[PAWL_SECRET_BYTES];

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

static enum pawl_status open_secret(struct rig *rig, uint8_t *out)
{
    return pawl_secret_open(rig->dir_fd, "secret", &rig->entropy, out, &rig->error);
}

static void a_secret_is_made_once_with_mode_0600_and_stays(void **state)
{
    struct rig *rig = *state;
    struct stat info;

    assert_int_equal(open_secret(rig, secret), PAWL_OK);
    assert_int_equal(fstatat(rig->dir_fd, "secret", &info, 0), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(open_secret(rig, again), PAWL_OK);
    assert_memory_equal(secret, again, sizeof(secret));
    assert_false(rig_exists(rig, "secret.new"));
}

static void a_secret_that_others_can_read_is_refused(void **state)
{
    struct rig *rig = *state;
    static const mode_t modes[] = { 0604, 0640, 0660, 0602, 0777 };

    assert_int_equal(open_secret(rig, secret), PAWL_OK);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(fchmodat(rig->dir_fd, "secret", modes[i], 0), 0);
        assert_int_equal(open_secret(rig, again), PAWL_EPERM);
        assert_non_null(strstr(rig->error.text, "chmod 0600"));
    }
    assert_int_equal(fchmodat(rig->dir_fd, "secret", 0400, 0), 0);
    assert_int_equal(open_secret(rig, again), PAWL_OK);
}

static void what_root_hands_over_its_group_may_read_and_nobody_else(void **state)
{
    struct rig *rig = *state;
    static const mode_t refused[] = { 0444, 0460, 0441 };

    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(open_secret(rig, secret), PAWL_OK);
    assert_int_equal(fchmod(rig->dir_fd, 0710), 0);
    assert_int_equal(fchmodat(rig->dir_fd, "secret", 0440, 0), 0);
    assert_int_equal(seteuid(65532), 0); /* still of root's group */
    enum pawl_status status = open_secret(rig, again);

    assert_int_equal(seteuid(0), 0);
    assert_int_equal(status, PAWL_OK);
    assert_memory_equal(secret, again, sizeof(secret));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fchmodat(rig->dir_fd, "secret", refused[i], 0), 0);
        assert_int_equal(seteuid(65532), 0);
        status = open_secret(rig, again);
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(status, PAWL_EPERM);
    }
}

static void what_is_no_secret_is_refused_and_left_as_it_is(void **state)
{
    struct rig *rig = *state;
    uint8_t data[200];
    static const size_t sizes[] = { 0, 1, 31, 33, 63, 67, 128 };

    memset(data, 'a', sizeof(data));
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        rig_write_file(rig, "secret", data, sizes[i]);
        assert_int_equal(open_secret(rig, secret), PAWL_EINVAL);
        assert_int_equal(rig_read_file(rig, "secret", data + 0, sizeof(data)), sizes[i]);
    }
}

static void hexadecimal_and_raw_forms_are_both_read(void **state)
{
    struct rig *rig = *state;
    uint8_t data[66];

    memset(data, 'a', 64);
    data[64] = '\n';
    rig_write_file(rig, "secret", data, 65);
    assert_int_equal(open_secret(rig, secret), PAWL_OK);
    assert_int_equal(secret[0], 0xaa);
    rig_write_file(rig, "secret", data, 64);
    assert_int_equal(open_secret(rig, again), PAWL_OK);
    assert_memory_equal(secret, again, sizeof(secret));
    rig_write_file(rig, "secret", data, 32);
    assert_int_equal(open_secret(rig, again), PAWL_OK);
    assert_int_equal(again[0], 'a');
    data[10] = 'x';
    rig_write_file(rig, "secret", data, 65);
    assert_int_equal(open_secret(rig, again), PAWL_EINVAL);
}

static void a_lost_secret_beside_a_store_is_not_made_anew(void **state)
{
    struct rig *rig = *state;

    rig_must_open(rig);
    rig_close(rig);
    assert_int_equal(open_secret(rig, secret), PAWL_ENOENT);
    assert_false(rig_exists(rig, "secret"));
}

static void keys_of_two_secrets_have_nothing_in_common(void **state)
{
    struct rig *rig = *state;

    assert_true(rig->keys[0].check != rig->keys[1].check);
    assert_memory_not_equal(&rig->keys[0].facts, &rig->keys[1].facts, 16);
    assert_memory_not_equal(&rig->keys[0].facts, &rig->keys[0].limits, 16);
}

static void a_data_directory_is_private_and_for_one_daemon(void **state)
{
    struct rig *rig = *state;
    struct pawl_data_dir dir;
    struct pawl_data_dir second;
    struct stat info;
    char path[80];

    (void)snprintf(path, sizeof(path), "%s/data", rig->dir);
    assert_int_equal(pawl_data_dir_open(&dir, path, &rig->error), PAWL_OK);
    assert_int_equal(fchmod(dir.fd, 0755), 0);
    assert_int_equal(pawl_data_dir_open(&second, path, &rig->error), PAWL_EBUSY);
    assert_non_null(strstr(rig->error.text, "another pawld"));
    pawl_data_dir_close(&dir);
    assert_int_equal(pawl_data_dir_open(&dir, path, &rig->error), PAWL_OK);
    assert_int_equal(fstat(dir.fd, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0700);
    (void)unlinkat(dir.fd, PAWL_DATA_DIR_LOCK, 0);
    pawl_data_dir_close(&dir);
    (void)rmdir(path);
    (void)snprintf(path, sizeof(path), "%s/no/parent", rig->dir);
    assert_int_equal(pawl_data_dir_open(&dir, path, &rig->error), PAWL_EIO);
}

static void a_file_that_was_set_aside_is_never_overwritten(void **state)
{
    struct rig *rig = *state;
    char first[256];
    char second[256];

    rig_write_file(rig, "x", (const uint8_t *)"1", 1);
    assert_int_equal(pawl_dir_set_aside(rig->dir_fd, "x", 5, first), PAWL_OK);
    rig_write_file(rig, "x", (const uint8_t *)"22", 2);
    assert_int_equal(pawl_dir_set_aside(rig->dir_fd, "x", 5, second), PAWL_OK);
    assert_string_not_equal(first, second);
    assert_int_equal(rig_read_file(rig, first, again, sizeof(again)), 1);
    assert_int_equal(rig_read_file(rig, second, again, sizeof(again)), 2);
    assert_int_equal(pawl_dir_set_aside(rig->dir_fd, "x", 5, second), PAWL_ENOENT);
}

static void shared_memory_is_sealed_and_readers_can_only_read(void **state)
{
    struct rig *rig = *state;
    struct pawl_region region;
    struct stat info;
    size_t size = 1 << 20;

    assert_int_equal(pawl_region_map_shared(&region, "pawl-test", size, &rig->error), PAWL_OK);
    ((uint8_t *)region.data)[5000] = 42;
    int reader = pawl_region_reader_fd(&region);

    assert_true(reader >= 0);
    assert_true(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0) == MAP_FAILED);
    uint8_t *view = mmap(NULL, size, PROT_READ, MAP_SHARED, reader, 0);

    assert_true(view != MAP_FAILED);
    assert_int_equal(view[5000], 42);
    assert_int_not_equal(ftruncate(region.fd, 0), 0);
    assert_int_not_equal(ftruncate(region.fd, (off_t)(2 * size)), 0);
    assert_int_equal(fstat(region.fd, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0400);
    pawl_region_punch(&region, 4096, 4096);
    assert_int_equal(view[5000], 0);
    (void)munmap(view, size);
    (void)close(reader);
    pawl_region_unmap(&region);
    assert_null(region.data);
}

static void released_memory_reads_as_zero_and_its_neighbours_do_not(void **state)
{
    struct rig *rig = *state;
    struct pawl_region region;

    assert_int_equal(pawl_region_map(&region, 16384, &rig->error), PAWL_OK);
    uint8_t *data = region.data;

    memset(data, 1, 16384);
    pawl_region_release(data + 100, 8192); /* one whole page lies inside */
    assert_int_equal(data[4095], 1);
    assert_int_equal(data[4096], 0);
    assert_int_equal(data[8191], 0);
    assert_int_equal(data[8192], 1);
    pawl_region_unmap(&region);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_secret_is_made_once_with_mode_0600_and_stays),
        TEST(a_secret_that_others_can_read_is_refused),
        TEST(what_root_hands_over_its_group_may_read_and_nobody_else),
        TEST(what_is_no_secret_is_refused_and_left_as_it_is),
        TEST(hexadecimal_and_raw_forms_are_both_read),
        TEST(a_lost_secret_beside_a_store_is_not_made_anew),
        TEST(keys_of_two_secrets_have_nothing_in_common),
        TEST(a_data_directory_is_private_and_for_one_daemon),
        TEST(a_file_that_was_set_aside_is_never_overwritten),
        TEST(shared_memory_is_sealed_and_readers_can_only_read),
        TEST(released_memory_reads_as_zero_and_its_neighbours_do_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
