/*
 * Concurrency as one kind of record: so many slots, each held until it is released or expires.
 *
 * The record holds one entry for each charge that still has slots, oldest first: when it was taken,
 * how many slots, and under which handle. Handles are given by the caller and never come twice; one
 * finds its own entry and nothing else, so releasing twice, or of an expired charge, takes nothing
 * from anybody. Times round as those of window.h do: an entry leaves one window after its time,
 * never early.
 *
 * A record that can neither grow nor get another entry puts the charge into its newest one, which
 * then has no handle: it is released by expiry alone. Late, never over.
 *
 * In the record's head: length is the number of entries, total the number of slots. Functions as
 * those of window.h; one thread at a time.
 */
#ifndef PAWL_CORE_SLOTS_H
#define PAWL_CORE_SLOTS_H

#include "core/window.h"

#define PAWL_RECORD_BYTE_SLOTS ((PAWL_RECORD_CONCURRENCY << 4) | PAWL_RECORD_VERSION)

#define PAWL_SLOTS_MAX 4096 /* of one record; a rate's count above it counts as it */

/** Make @record (of any kind) an empty one of this kind. */
void pawl_slots_clear(struct pawl_window *record);

/** The size in bytes of a record with room for @entries. */
size_t pawl_slots_size(unsigned entries);

/** Let time pass: entries older than @window_ms leave. */
void pawl_slots_advance(struct pawl_window *record, uint32_t window_ms, struct pawl_instant now);

/** True when an advance to @now would leave no entry. */
bool pawl_slots_is_spent(const struct pawl_window *record, struct pawl_instant now);

/** How many slots are free as of the last advance. @record NULL: an empty one. */
uint64_t pawl_slots_room(const struct pawl_window *record, const struct pawl_rate *rate);

/**
 * Would @cost fit? retry_after_ms is until enough of the oldest have expired: a release may make
 * room before. @record NULL: an empty one.
 */
void pawl_slots_ask(const struct pawl_window *record, const struct pawl_rate *rate, uint64_t cost,
                    struct pawl_window_answer *answer);

/** The size the record would like to have before one more charge; 0 if it is big enough. */
size_t pawl_slots_wants(const struct pawl_window *record);

/**
 * Take @cost slots (1 to PAWL_SLOTS_MAX) under @handle (not 0) at the time of the last advance.
 * Does not ask whether they are free. Returns false if the charge could not get a name.
 */
bool pawl_slots_charge(struct pawl_window *record, uint64_t handle, uint64_t cost);

/**
 * Release up to @cost slots of charge @handle; 0: the oldest, from as many charges as needed.
 * What is left of a charge keeps its handle. Returns how many.
 */
uint64_t pawl_slots_release(struct pawl_window *record, uint64_t handle, uint64_t cost);

/** As pawl_window_move(). */
void pawl_slots_move(struct pawl_window *to, size_t bytes, const struct pawl_window *from);

/*
 * Serialized, behind the head of every record: for each entry, oldest first, age in ms (4, never
 * growing), slots (2, 1 to PAWL_SLOTS_MAX), handle (8). Handles stay good over a restart.
 */
#define PAWL_SLOTS_SAVED_BYTES 14

size_t pawl_slots_save(const struct pawl_window *record, struct pawl_instant now, uint8_t *out);
bool pawl_slots_check(const uint8_t *saved, size_t size, unsigned entries, uint32_t window_ms);
void pawl_slots_load(struct pawl_window *record, const uint8_t *saved, unsigned entries,
                     uint64_t elapsed_ms, struct pawl_instant now);

#endif
