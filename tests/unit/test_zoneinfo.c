/* Files of time zones: which names are read, and what is said of the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapter/sys/zoneinfo.h"

static char folder[64];
static struct pawl_zones zones;
static struct pawl_error error;
static uint8_t out[64];
static size_t size;

static void put_file(const char *name, const char *text)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    char path[80];

    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/pawl-zones-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/Europe", folder);
    if (mkdir(path, 0700) != 0) {
        return -1;
    }
    put_file("Europe/Vienna", "TZif of Vienna");
    put_file("secret", "not a zone");
    pawl_zoneinfo_init(&zones, folder);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = { "Europe/Vienna", "secret", "Europe", "" };
    char path[128];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)remove(path);
    }
    return 0;
}

static enum pawl_status read_name(const char *name, size_t capacity)
{
    memset(&error, 0, sizeof(error));
    return zones.read(zones.self, name, out, capacity, &size, &error);
}

static void a_zone_is_read_whole(void **state)
{
    (void)state;
    assert_int_equal(read_name("Europe/Vienna", sizeof(out)), PAWL_OK);
    assert_int_equal(size, 14);
    assert_memory_equal(out, "TZif of Vienna", 14);
}

static void a_zone_that_is_not_there_says_where_it_was_looked_for(void **state)
{
    (void)state;
    assert_int_equal(read_name("Europe/Wien", sizeof(out)), PAWL_ENOENT);
    assert_non_null(strstr(error.text, "Europe/Wien"));
    assert_non_null(strstr(error.text, "tzdata"));
    assert_int_equal(read_name("Europe/Vienna/Inner", sizeof(out)), PAWL_ENOENT);
}

static void names_that_leave_the_folder_are_refused(void **state)
{
    static const char *const names[] = {
        "",        "/etc/passwd", "../secret", "Europe/../secret", "Europe//Vi",
        "Europe/", ".",           "a b",       "Europe/Vienna\n"
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(read_name(names[i], sizeof(out)), PAWL_EINVAL);
        assert_non_null(strstr(error.text, "Europe/Vienna"));
    }
    char long_name[PAWL_ZONE_NAME_MAX + 2];

    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_int_equal(read_name(long_name, sizeof(out)), PAWL_EINVAL);
    long_name[PAWL_ZONE_NAME_MAX] = '\0';
    assert_int_equal(read_name(long_name, sizeof(out)), PAWL_ENOENT);
}

static void a_folder_is_no_zone_and_a_long_file_is_refused(void **state)
{
    (void)state;
    assert_int_equal(read_name("Europe", sizeof(out)), PAWL_EINVAL);
    assert_int_equal(read_name("Europe/Vienna", 15), PAWL_OK);
    assert_int_equal(read_name("Europe/Vienna", 14), PAWL_ETOOBIG);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_zone_is_read_whole),
        TEST(a_zone_that_is_not_there_says_where_it_was_looked_for),
        TEST(names_that_leave_the_folder_are_refused),
        TEST(a_folder_is_no_zone_and_a_long_file_is_refused),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
