#include "ops/http/process.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "ops/http/parse.h"

void pawl_process_open(struct pawl_process_reader *reader)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    reader->start_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    reader->stat_fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    reader->fds = opendir("/proc/self/fd");
}

/* Field @number of proc(5)'s stat as a number; @rest begins at field 3. 0: there is none. */
static uint64_t field(const char *rest, unsigned number)
{
    uint64_t value = 0;

    for (unsigned at = 3; at < number && rest != NULL; at++) {
        rest = strchr(rest, ' ');
        rest = rest != NULL ? rest + 1 : NULL;
    }
    if (rest == NULL ||
        !pawl_http_number(pawl_bytes_of(rest, strspn(rest, "0123456789")), UINT64_MAX, &value)) {
        return 0;
    }
    return value;
}

static void read_stat(int fd, struct pawl_process *process)
{
    char text[1024];
    ssize_t size = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : -1;
    const char *rest;

    if (size <= 0) {
        return;
    }
    text[size] = '\0';
    rest = strrchr(text, ')'); /* of the name, which may hold anything */
    if (rest == NULL || rest[1] != ' ') {
        return;
    }
    rest += 2;
    process->cpu_ms = (field(rest, 14) + field(rest, 15)) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    process->threads = field(rest, 20);
    process->virtual_bytes = field(rest, 23);
    process->resident_bytes = field(rest, 24) * (uint64_t)sysconf(_SC_PAGESIZE);
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
