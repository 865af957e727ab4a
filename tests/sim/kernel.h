/*
 * Time, chance and order of a simulated run: one queue of events, one generator of numbers, a hash
 * over everything that was noted. One seed is one run.
 *
 * Notes are numbers, not text: they go into the hash and into a ring from which the last ones are
 * printed when a run fails. Nothing that is noted may depend on an address of memory.
 */
#ifndef PAWL_SIM_KERNEL_H
#define PAWL_SIM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_NOTES 4096 /* kept for the print after a failure; a power of two */
#define KERNEL_WHY   512

#define SIM_NOBODY 255

typedef void kernel_call(void *context, uint64_t argument);

struct kernel_event {
    uint64_t at_us;
    uint64_t order; /* events of one moment run in the order in which they were made */
    kernel_call *call;
    void *context;
    uint64_t argument;
};

struct kernel_note {
    uint64_t at_us;
    const char *what; /* a literal; hashed by its bytes */
    uint8_t who;      /* node, SIM_NOBODY for none */
    uint64_t a, b, c;
};

struct kernel {
    uint64_t seed;
    uint64_t now_us; /* since the beginning of the run: true time, nobody's clock */
    bool failed;
    bool print_notes;
    char why[KERNEL_WHY];
    uint64_t hash;
    uint64_t events_run;
    uint64_t notes_count;
    /* private */
    uint64_t random[2];
    uint64_t order;
    struct kernel_event *events; /* a binary heap */
    size_t count, capacity;
    struct kernel_note *notes;
};

void kernel_init(struct kernel *kernel, uint64_t seed);
void kernel_deinit(struct kernel *kernel);

/** Run @call at @at_us (the past is now). */
void kernel_at(struct kernel *kernel, uint64_t at_us, kernel_call *call, void *context,
               uint64_t argument);

/** Run events until @until_us, or until the run failed. */
void kernel_run(struct kernel *kernel, uint64_t until_us);

/** The run breaks a promise: keep the first reason, stop. */
__attribute__((format(printf, 2, 3))) void kernel_fail(struct kernel *kernel, const char *format,
                                                       ...);

void kernel_note(struct kernel *kernel, const char *what, unsigned who, uint64_t a, uint64_t b,
                 uint64_t c);
void kernel_print_notes(const struct kernel *kernel, unsigned count);

/* ---- chance ---- */

uint64_t kernel_random(struct kernel *kernel);

/** 0 to @bound - 1; @bound at least 1. */
static inline uint64_t kernel_below(struct kernel *kernel, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)kernel_random(kernel) * bound) >> 64);
}

static inline uint64_t kernel_between(struct kernel *kernel, uint64_t low, uint64_t high)
{
    return low + kernel_below(kernel, high - low + 1);
}

/** True in @percent of 100 cases. */
static inline bool kernel_chance(struct kernel *kernel, unsigned percent)
{
    return kernel_below(kernel, 100) < percent;
}

/* ---- memory that never fails ---- */

void *sim_take(size_t size);            /* zeroed */
void *sim_grow(void *old, size_t size); /* as realloc */
void *sim_copy(const void *data, size_t size);

/** Bytes with an owner count. */
struct blob {
    uint32_t references;
    uint32_t size;
    uint8_t bytes[];
};

struct blob *blob_make(const void *data, size_t size);
struct blob *blob_keep(struct blob *blob); /* NULL is nothing */
void blob_drop(struct blob *blob);

#endif
