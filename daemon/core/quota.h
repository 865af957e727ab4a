/*
 * A calendar quota as one kind of record: the period it counts in, and how much was charged there.
 *
 * The wall clock says which period it is. While it stands before the record's period (it went
 * back), the record stays as it is. While it stands within, charges are kept, also when a reload
 * has cut the period anew. Past it, the period that it shows begins, with nothing charged.
 *
 * In the record's head: total is what was charged, length is 1 while there is something, spare is
 * how many seconds of the period were left when it was last seen. Functions as those of window.h;
 * one thread at a time.
 */
#ifndef PAWL_CORE_QUOTA_H
#define PAWL_CORE_QUOTA_H

#include "core/calendar.h"

#define PAWL_RECORD_BYTE_QUOTA ((PAWL_RECORD_CALENDAR << 4) | PAWL_RECORD_VERSION)

/** What a rate asks of its record at one moment. */
struct pawl_quota_time {
    struct pawl_calendar_period period; /* that holds @wall */
    struct pawl_wall wall;
};

/** Make @record (of any kind) an empty one of this kind, of the period before all others. */
void pawl_quota_clear(struct pawl_window *record);

/** Let time pass, as said above. */
void pawl_quota_advance(struct pawl_window *record, const struct pawl_quota_time *time,
                        struct pawl_instant now);

/**
 * True when the period is over by the wall clock and the other one. One with nothing charged is
 * kept until then too: it knows that the period before has ended.
 */
bool pawl_quota_is_spent(const struct pawl_window *record, struct pawl_instant now,
                         struct pawl_wall wall);

/** How much fits as of the last advance. @record NULL: an empty one. */
uint64_t pawl_quota_room(const struct pawl_window *record, const struct pawl_rate *rate);

/**
 * Would @cost fit? reset_after_ms is until the period ends, whatever was charged. @record NULL: an
 * empty one.
 */
void pawl_quota_ask(const struct pawl_window *record, const struct pawl_rate *rate,
                    const struct pawl_quota_time *time, uint64_t cost,
                    struct pawl_window_answer *answer);

/** Add @cost. Does not ask whether it fits. Returns what refund wants: below 2^48, never 0. */
uint64_t pawl_quota_charge(struct pawl_window *record, uint64_t cost);

/** Take back up to @cost, if charge @event was made in the record's period, or is 0. */
uint64_t pawl_quota_refund(struct pawl_window *record, uint64_t event, uint64_t cost);

/*
 * Serialized, behind the head of every record (entries is 1; window_ms is what was left of the
 * period, 1 ms to 45 days): start and end in seconds since 1970 UTC (8 each), count (8), seconds
 * that were left (4). Civil time means the same after a restart, so it is kept as it is.
 */
#define PAWL_QUOTA_SAVED_BYTES 28

size_t pawl_quota_save(const struct pawl_window *record, struct pawl_instant now, uint8_t *out);
bool pawl_quota_check(const uint8_t *saved, size_t size);
void pawl_quota_load(struct pawl_window *record, const uint8_t *saved, uint64_t elapsed_ms);

/**
 * Add a saved quota to @record as of @now. Two periods, of which one had ended before the other
 * began: the earlier one counts with the later until @wall is past its end, and then no more.
 */
void pawl_quota_join(struct pawl_window *record, const uint8_t *saved, uint64_t elapsed_ms,
                     struct pawl_instant now, struct pawl_wall wall);

/** The window_ms of the head of the serialized record. */
uint32_t pawl_quota_saved_window_ms(const uint8_t *saved);

#endif
