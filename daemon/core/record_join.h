/*
 * Two histories of one key become one: on serialized records (window.h), of which no event is in
 * both. The result is a serialized record again, for pawl_record_load().
 *
 * Never over: nothing is left out that is still in its window, and nothing gets older than it was.
 */
#ifndef PAWL_CORE_RECORD_JOIN_H
#define PAWL_CORE_RECORD_JOIN_H

#include "core/window.h"

/** A serialized record that pawl_record_check() accepted, saved so long ago. */
struct pawl_join_side {
    struct pawl_bytes bytes;
    const struct pawl_record_head *head;
    uint64_t elapsed_ms;
};

/**
 * Unite the events of two sliding windows in the longer of the two. Events of the same ms become
 * one entry; more than PAWL_PRECISION_MAX entries merge on the grid of that many cells, each with
 * the time of its newest.
 *
 * @out  room for PAWL_RECORD_BYTES_MAX. Returns the size; without entries: a tombstone.
 */
size_t pawl_window_join(const struct pawl_join_side *a, const struct pawl_join_side *b,
                        uint8_t *out);

/**
 * Unite the entries of two records of concurrency in the longer of their windows. A handle that is
 * in both is one charge: its later time and its larger number of slots stay. Of more than
 * PAWL_SLOTS_MAX entries the newest stay: while any older one would live, they fill every limit.
 */
size_t pawl_slots_join(const struct pawl_join_side *a, const struct pawl_join_side *b,
                       uint8_t *out);

/** The sum of what has not left a sliding window. */
uint64_t pawl_window_join_total(const struct pawl_join_side *side);

#endif
