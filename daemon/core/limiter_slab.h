/*
 * Records of one shard: pages of 4 KiB cut into one size each, bigger records in blocks of their
 * own, and the lists that find the changed ones. Private to limiter*.c.
 *
 * Every page and block begins with a head of 48 bytes; records follow it. A record that is in use
 * has a first byte other than zero. All calls under the shard's lock.
 */
#ifndef PAWL_CORE_LIMITER_SLAB_H
#define PAWL_CORE_LIMITER_SLAB_H

#include "core/arena.h"
#include "core/window.h"

#define PAWL_SLAB_HEAD_BYTES 48
#define PAWL_SLAB_CLASSES    65 /* 57 in steps of 8 up to 512, 7 by what a page holds, big */

/** The head of a page. Lists are linked by page numbers, PAWL_ARENA_NONE at the ends. */
struct pawl_slab_page {
    uint32_t next, prev;             /* of pages of this class with room */
    uint32_t all_next, all_prev;     /* of all pages of the shard */
    uint32_t dirty_next, dirty_prev; /* of pages with a changed record */
    uint16_t used;                   /* records in use, and holds of walkers */
    uint16_t free_place;             /* 1 + place of the first freed record; 0: none */
    uint16_t fresh;                  /* places from here on were never used */
    uint8_t class;
    uint8_t order; /* of the block */
    bool has_room;
    bool is_dirty;
    uint8_t spare[14];
};

_Static_assert(sizeof(struct pawl_slab_page) == PAWL_SLAB_HEAD_BYTES, "11 records of 368 fit");

struct pawl_slab {
    struct pawl_arena *arena;
    uint32_t with_room[PAWL_SLAB_CLASSES];
    uint32_t all;
    uint32_t dirty;
    uint32_t walk; /* the next page of collect_all */
    uint64_t bytes;
};

void pawl_slab_init(struct pawl_slab *slab, struct pawl_arena *arena);

/**
 * Take a place for a record of @bytes; @size says how big it is in truth. Pages are taken only
 * while @reserve pages stay free. NULL if there is none. Its first byte is not set yet.
 */
struct pawl_window *pawl_slab_take(struct pawl_slab *slab, size_t bytes, uint32_t reserve,
                                   size_t *size);

/** Give a record back. A page that becomes empty goes back to the arena. */
void pawl_slab_give(struct pawl_slab *slab, struct pawl_window *record);

/** Mark the page of @record as having a changed one. */
void pawl_slab_mark(struct pawl_slab *slab, const struct pawl_window *record);

/** Take the page off the list of changed ones. */
void pawl_slab_unmark(struct pawl_slab *slab, struct pawl_slab_page *page);

/** Keep @page while it is walked / let it go (then it may be gone). */
void pawl_slab_hold(struct pawl_slab_page *page);
void pawl_slab_unhold(struct pawl_slab *slab, struct pawl_slab_page *page);

/** How many places of @page may be in use; the record at one of them, NULL if it is not in use. */
unsigned pawl_slab_places(const struct pawl_slab_page *page);
struct pawl_window *pawl_slab_record(struct pawl_slab_page *page, unsigned place);

static inline struct pawl_slab_page *pawl_slab_page_at(const struct pawl_slab *slab, uint32_t page)
{
    return (struct pawl_slab_page *)pawl_arena_at(slab->arena, page);
}

#endif
