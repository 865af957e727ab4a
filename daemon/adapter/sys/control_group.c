#include "adapter/sys/control_group.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIST_MAX    4096
#define TEXT_MAX    128
#define LEVELS_MAX  32
#define MEMORY_NONE (UINT64_C(1) << 60) /* version 1 writes "all there can be" as a number */
#define PROC_MAX    1000000             /* thousandths; more is none that a machine has */

static bool read_text(const char *path, char *text, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t size = fd < 0 ? -1 : read(fd, text, capacity - 1);

    if (fd >= 0) {
        (void)close(fd);
    }
    text[size > 0 ? size : 0] = '\0';
    return size > 0;
}

/* The number that *@at begins with, and what is behind it and its space; false: none. */
static bool take_number(const char **at, uint64_t *value)
{
    const char *text = *at;

    if (*text < '0' || *text > '9') {
        return false;
    }
    for (*value = 0; *text >= '0' && *text <= '9'; text++) {
        if (*value > (UINT64_MAX - 9) / 10) {
            return false;
        }
        *value = *value * 10 + (uint64_t)(*text - '0');
    }
    *at = *text == ' ' ? text + 1 : text;
    return true;
}

static void take_quota(struct pawl_control_group *group, uint64_t quota_us, uint64_t period_us)
{
    if (period_us == 0 || quota_us == 0 || quota_us > UINT64_MAX / 1000) {
        return;
    }
    uint64_t milli = quota_us * 1000 / period_us;

    milli = milli == 0 ? 1 : milli;
    if (milli < PROC_MAX && (group->processors_milli == 0 || milli < group->processors_milli)) {
        group->processors_milli = (uint32_t)milli;
    }
}

static void take_memory(struct pawl_control_group *group, uint64_t bytes)
{
    if (bytes < MEMORY_NONE && (group->memory_max_bytes == 0 || bytes < group->memory_max_bytes)) {
        group->memory_max_bytes = bytes;
    }
}

/* The numbers of @file in the folder @path; how many there were, at most two. */
static unsigned read_numbers(const char *path, const char *file, uint64_t numbers[2])
{
    char full[PATH_MAX];
    char text[TEXT_MAX];
    const char *at = text;
    int size = snprintf(full, sizeof(full), "%s/%s", path, file);
    unsigned count = 0;

    if (size <= 0 || (size_t)size >= sizeof(full) || !read_text(full, text, sizeof(text))) {
        return 0;
    }
    while (count < 2 && take_number(&at, &numbers[count])) {
        count++;
    }
    return count;
}

static void read_level(struct pawl_control_group *group, const char *path)
{
    uint64_t quota[2];
    uint64_t period[2];

    if (read_numbers(path, "cpu.max", quota) == 2) { /* "max 100000": none */
        take_quota(group, quota[0], quota[1]);
    }
    if (read_numbers(path, "cpu.cfs_quota_us", quota) > 0 && /* "-1": none */
        read_numbers(path, "cpu.cfs_period_us", period) > 0) {
        take_quota(group, quota[0], period[0]);
    }
    if (read_numbers(path, "memory.max", quota) > 0) {
        take_memory(group, quota[0]);
    }
    if (read_numbers(path, "memory.limit_in_bytes", quota) > 0) {
        take_memory(group, quota[0]);
    }
}

/* @name below @mount and each group above it. In a container the group's own name may be one of the
 * host that is not there: the levels that are count, and the last is what the container sees. */
static void read_levels(struct pawl_control_group *group, const char *root, const char *mount,
                        const char *name)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof(path), "%s%s%s", root, mount, name);
    size_t bottom = strlen(root) + strlen(mount);

    if (size <= 0 || (size_t)size >= sizeof(path) || strstr(name, "..") != NULL) {
        size = snprintf(path, sizeof(path), "%s%s", root, mount);
        if (size <= 0 || (size_t)size >= sizeof(path)) {
            return;
        }
    }
    for (unsigned level = 0; level < LEVELS_MAX; level++) {
        char *slash = strrchr(path, '/');

        read_level(group, path);
        if (slash == NULL || (size_t)(slash - path) < bottom) {
            return;
        }
        *slash = '\0';
    }
}

/* A line of /proc/self/cgroup is id:controllers:name; version 2 has no controllers. */
static void read_line(struct pawl_control_group *group, const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *name = controllers == NULL ? NULL : strchr(controllers + 1, ':');

    if (name == NULL || name[1] != '/') {
        return;
    }
    *name++ = '\0';
    controllers++;
    if (controllers[0] == '\0') {
        read_levels(group, root, "/sys/fs/cgroup", name);
    } else if (strcmp(controllers, "memory") == 0) {
        read_levels(group, root, "/sys/fs/cgroup/memory", name);
    } else if (strcmp(controllers, "cpu") == 0 || strncmp(controllers, "cpu,", 4) == 0) {
        read_levels(group, root, "/sys/fs/cgroup/cpu", name);
    }
}

void pawl_control_group_read(struct pawl_control_group *group, const char *root)
{
    char path[PATH_MAX];
    char list[LIST_MAX];
    char *rest = list;
    char *line;
    int size;

    memset(group, 0, sizeof(*group));
    root = root == NULL ? "" : root;
    size = snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (size <= 0 || (size_t)size >= sizeof(path) || !read_text(path, list, sizeof(list))) {
        return;
    }
    while ((line = strsep(&rest, "\n")) != NULL) {
        read_line(group, root, line);
    }
}
