/* adapter/sys/control_group: limits of both versions, of the least group above, and none where
 * nothing can be read. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapter/sys/control_group.h"

static char root[64];
static struct pawl_control_group group;

static void put(const char *name, const char *text)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int drop(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/pawl-groups-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(root, drop, 8, FTW_DEPTH | FTW_PHYS);
}

static void expect(uint32_t processors_milli, uint64_t memory_max_bytes)
{
    pawl_control_group_read(&group, root);
    assert_int_equal(group.processors_milli, processors_milli);
    assert_int_equal(group.memory_max_bytes, memory_max_bytes);
}

static void without_groups_there_is_no_limit(void **state)
{
    (void)state;
    expect(0, 0);
    put("proc/self/cgroup", "");
    expect(0, 0);
    put("proc/self/cgroup", "0::/gone\n");
    expect(0, 0);
}

static void a_container_reads_its_own_group(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/cpu.max", "150000 100000\n");
    put("sys/fs/cgroup/memory.max", "268435456\n");
    expect(1500, 268435456);
}

static void no_limit_is_written_as_a_word(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/memory.max", "max\n");
    expect(0, 0);
}

static void the_least_of_all_groups_above_counts(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/a/b/memory.max", "2000\n");
    put("sys/fs/cgroup/a/memory.max", "1000\n");
    put("sys/fs/cgroup/memory.max", "3000\n");
    expect(500, 1000);
}

static void a_group_of_the_host_that_a_container_cannot_see_is_its_own(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/kubepods/pod1/abc\n");
    put("sys/fs/cgroup/cpu.max", "200000 100000\n");
    expect(2000, 0);
    put("proc/self/cgroup", "0::/../../abc\n");
    expect(2000, 0);
}

static void version_one_has_files_and_folders_of_its_own(void **state)
{
    (void)state;
    put("proc/self/cgroup", "9:name=systemd:/x\n4:memory:/m\n2:cpu,cpuacct:/c\n0::/\n");
    put("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "250000\n");
    put("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "1048576\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    expect(2500, 1048576);
}

static void what_makes_no_sense_is_no_limit(void **state)
{
    static const char *const texts[] = { "",       "\n",       "0 100000",
                                         "1000 0", "100000",   "99999999999999999999999 1",
                                         "-1 5",   "x 100000", "18446744073709551615 1" };

    (void)state;
    put("proc/self/cgroup", "0::/\n");
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        put("sys/fs/cgroup/cpu.max", texts[i]);
        expect(0, 0);
    }
    put("sys/fs/cgroup/cpu.max", "1 100000\n");
    expect(1, 0);
    put("proc/self/cgroup", "nonsense\n:\n::\n0::nowhere\n");
    expect(0, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_groups_there_is_no_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_container_reads_its_own_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_limit_is_written_as_a_word, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_least_of_all_groups_above_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_of_the_host_that_a_container_cannot_see_is_its_own,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_one_has_files_and_folders_of_its_own, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_no_limit, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
