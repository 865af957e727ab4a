/*
 * A line of progress on standard error that overwrites itself: only where that is a terminal, or
 * when --progress asks for it.
 */
#ifndef PAWL_CTL_PROGRESS_H
#define PAWL_CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool on;
    const char *what;  /* "facts" */
    uint64_t total;    /* of @unit; 0: not known */
    uint64_t drawn_ms; /* when it was drawn last */
    uint64_t began_ms;
};

/** @asked: drawn even where standard error is no terminal. */
void progress_begin(struct progress *progress, const char *what, uint64_t total, bool asked);
/** @done of total (bytes of a file, say); @count of what. Draws at most ten times a second. */
void progress_step(struct progress *progress, uint64_t done, uint64_t count);
/** The last drawing, and a new line. */
void progress_end(struct progress *progress, uint64_t done, uint64_t count);

#endif
