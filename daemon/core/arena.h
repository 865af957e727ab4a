/*
 * Memory of the limiter: one region given by the caller, a ceiling that nothing grows past.
 *
 * A buddy allocator hands out blocks of 4 KiB << order. Its bookkeeping (12 bytes for a page) lies
 * at the start of the region; free blocks themselves are never written to, so memory that was
 * given back to the system stays given back. Freed runs of PAWL_ARENA_RELEASE bytes or more are
 * reported to @release, which the caller may answer with madvise(MADV_DONTNEED).
 *
 * Slabs (limiter_slab.h) cut pages of 4 KiB into records of one size.
 *
 * Life: pawl_arena_init once, over a region that is all zero and outlives it; pawl_arena_deinit.
 * Any thread may call take and give: one mutex, held for some hundred ns, innermost of all locks.
 */
#ifndef PAWL_CORE_ARENA_H
#define PAWL_CORE_ARENA_H

#include "core/status.h"
#include "core/types.h"

#include <pthread.h>

#define PAWL_ARENA_PAGE      4096
#define PAWL_ARENA_ORDERS    24 /* the biggest block is 4 KiB << 23 = 32 GiB */
#define PAWL_ARENA_NONE      UINT32_MAX
#define PAWL_ARENA_RELEASE   65536 /* smallest run that is given back to the system */
#define PAWL_ARENA_BYTES_MIN 65536
#define PAWL_ARENA_BYTES_MAX                                            \
    (UINT64_C(32) << 30) /* references are 32 bits, in units of 8 bytes \
                          */

/** Called under the arena's mutex with a run that nobody uses; must not call back. */
typedef void (*pawl_arena_release)(void *ptr, size_t size);

struct pawl_arena_page; /* private */

struct pawl_arena {
    /* private */
    pthread_mutex_t lock;
    uint8_t *base;                 /* of page 0, which holds the bookkeeping */
    struct pawl_arena_page *pages; /* one for each page */
    uint32_t pages_count;
    uint32_t pages_free; /* read by others without the lock, as a hint */
    uint32_t pages_own;  /* of the bookkeeping */
    uint32_t free_heads[PAWL_ARENA_ORDERS];
    pawl_arena_release release;
};

/**
 * Take over @size zero bytes at @region (fresh from mmap; aligned to 4 KiB; PAWL_ARENA_BYTES_MIN to
 * PAWL_ARENA_BYTES_MAX; a rest below 4 KiB is not used). @release may be NULL.
 *
 * Returns PAWL_OK, or PAWL_EINVAL for a region outside those bounds.
 */
PAWL_MUST_USE enum pawl_status pawl_arena_init(struct pawl_arena *arena, void *region, size_t size,
                                               pawl_arena_release release);

/** Forget the region; nothing in it is touched. */
void pawl_arena_deinit(struct pawl_arena *arena);

/**
 * Take a block of 4 KiB << @order, not zeroed, if at least @reserve pages stay free after it.
 * Returns the number of its first page, or PAWL_ARENA_NONE.
 */
uint32_t pawl_arena_take(struct pawl_arena *arena, unsigned order, uint32_t reserve);

/** Give a block back: @page and @order as they were taken. */
void pawl_arena_give(struct pawl_arena *arena, uint32_t page, unsigned order);

/** Bytes that nobody holds now. */
uint64_t pawl_arena_free_bytes(const struct pawl_arena *arena);

static inline void *pawl_arena_at(const struct pawl_arena *arena, uint32_t page)
{
    return arena->base + (size_t)page * PAWL_ARENA_PAGE;
}

static inline uint32_t pawl_arena_page_of(const struct pawl_arena *arena, const void *ptr)
{
    return (uint32_t)((size_t)((const uint8_t *)ptr - arena->base) / PAWL_ARENA_PAGE);
}

/** The order of the smallest block of at least @size bytes. */
static inline unsigned pawl_arena_order(size_t size)
{
    unsigned order = 0;

    while (((size_t)PAWL_ARENA_PAGE << order) < size) {
        order++;
    }
    return order;
}

#endif
