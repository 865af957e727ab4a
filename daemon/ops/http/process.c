#include "ops/http/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void pawl_process_open(struct pawl_process_reader *reader)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    reader->start_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    reader->stat_fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    reader->fds = opendir("/proc/self/fd");
}

/* proc(5): field 14 utime, 15 stime, 20 num_threads, 23 vsize, 24 rss; 3 stands behind the name,
 * which is in brackets and may hold anything. */
static void read_stat(int fd, struct pawl_process *process)
{
    char text[1024];
    ssize_t size = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : -1;
    uint64_t user = 0;
    uint64_t system = 0;
    uint64_t pages = 0;
    const char *rest;

    if (size <= 0) {
        return;
    }
    text[size] = '\0';
    rest = strrchr(text, ')');
    if (rest == NULL ||
        sscanf(rest + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
               " %*d %*d %*d %*d %" SCNu64 " %*d %*u %" SCNu64 " %" SCNu64,
               &user, &system, &process->threads, &process->virtual_bytes, &pages) != 5) {
        return;
    }
    process->cpu_ms = (user + system) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    process->resident_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void pawl_process_read(struct pawl_process_reader *reader, struct pawl_process *process)
{
    struct rlimit limit = { 0, 0 };

    memset(process, 0, sizeof(*process));
    process->start_ms = reader->start_ms;
    read_stat(reader->stat_fd, process);
    if (reader->fds != NULL) {
        rewinddir(reader->fds);
        while (readdir(reader->fds) != NULL) {
            process->fds++;
        }
        process->fds -= process->fds >= 2 ? 2 : process->fds; /* . and .. */
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        process->fds_max = limit.rlim_cur;
    }
}

void pawl_process_close(struct pawl_process_reader *reader)
{
    if (reader->stat_fd >= 0) {
        (void)close(reader->stat_fd);
        reader->stat_fd = -1;
    }
    if (reader->fds != NULL) {
        (void)closedir(reader->fds);
        reader->fds = NULL;
    }
}
