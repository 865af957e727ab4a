#include "progress.h"

#include "commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define BAR_CELLS   30
#define REDRAW_MS   100
#define MS_PER_S    1000
#define PERCENT_MAX 100

void progress_begin(struct progress *progress, const char *what, uint64_t total, bool asked)
{
    progress->on = asked || isatty(STDERR_FILENO) == 1;
    progress->what = what;
    progress->total = total;
    progress->drawn_ms = 0;
    progress->began_ms = ctl_monotonic_ms();
}

static void draw(const struct progress *progress, uint64_t done, uint64_t count, uint64_t now_ms)
{
    uint64_t took_ms = now_ms - progress->began_ms;
    uint64_t rate = took_ms > 0 ? count * MS_PER_S / took_ms : 0;

    if (progress->total > 0) {
        uint64_t part = done < progress->total ? done : progress->total;
        double share = (double)part / (double)progress->total;
        int cells = (int)(share * BAR_CELLS);

        fprintf(stderr, "\r[%.*s%.*s] %3d%%", cells, "##############################",
                BAR_CELLS - cells, "                              ", (int)(share * PERCENT_MAX));
    } else {
        fputs("\r", stderr);
    }
    fprintf(stderr, " %" PRIu64 " %s, %" PRIu64 "/s ", count, progress->what, rate);
    (void)fflush(stderr);
}

void progress_step(struct progress *progress, uint64_t done, uint64_t count)
{
    uint64_t now_ms;

    if (!progress->on) {
        return;
    }
    now_ms = ctl_monotonic_ms();
    if (now_ms - progress->drawn_ms >= REDRAW_MS) {
        progress->drawn_ms = now_ms;
        draw(progress, done, count, now_ms);
    }
}

void progress_end(struct progress *progress, uint64_t done, uint64_t count)
{
    if (progress->on) {
        draw(progress, done, count, ctl_monotonic_ms());
        fputs("\n", stderr);
    }
}
