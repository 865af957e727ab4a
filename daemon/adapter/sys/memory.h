/*
 * Memory taken from the system in one piece: the limiter's table, and the revocation table that
 * other processes map. Pages cost nothing until they are touched, and go back
 * one by one. Lives until pawl_region_unmap(). Setting up is for one thread; giving pages back
 * for any.
 */
#ifndef PAWL_ADAPTER_SYS_MEMORY_H
#define PAWL_ADAPTER_SYS_MEMORY_H

#include "core/status.h"

struct pawl_region {
    void *data; /* zeroed, page aligned; NULL: no region */
    size_t size;
    int fd; /* of a shared region, else -1; ours */
};

/** Map @size bytes of private zeroed memory without reserving it. PAWL_OK or PAWL_ENOMEM. */
PAWL_MUST_USE enum pawl_status pawl_region_map(struct pawl_region *region, size_t size,
                                               struct pawl_error *error);

/**
 * Map @size bytes of shared zeroed memory as a sealed memfd of mode 0400: its size is fixed for
 * ever, and only we write (others of our user can open it for reading only).
 * @name  shows up in /proc; PAWL_OK, PAWL_ENOMEM or PAWL_EIO.
 */
PAWL_MUST_USE enum pawl_status pawl_region_map_shared(struct pawl_region *region, const char *name,
                                                      size_t size, struct pawl_error *error);

/** A new descriptor of a shared region that can only be read; the caller closes it. -1: refused. */
int pawl_region_reader_fd(const struct pawl_region *region);

/**
 * Give back whole pages inside @size bytes at @ptr of private memory: they read as zero afterwards.
 * Fits struct pawl_arena's release.
 */
void pawl_region_release(void *ptr, size_t size);

/**
 * Give back [offset, offset + size) of a shared region (punch a hole; parts of pages are cleared).
 * Returns whether it reads as zero now.
 */
bool pawl_region_punch(const struct pawl_region *region, size_t offset, size_t size);

/** Unmap and close; leaves @region empty. */
void pawl_region_unmap(struct pawl_region *region);

#endif
