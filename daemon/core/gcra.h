/*
 * The generic cell rate algorithm (ITU-T I.371 Annex A) as one kind of record: so much flows in a
 * window, so much may come at once.
 *
 * Kept as the continuous-state leaky bucket, which that annex shows to decide as virtual scheduling
 * does: the theoretical arrival time is seen + level / count. The level is exact: it is counted in
 * parts of an event of which a whole one has as many as the window has nanoseconds, and `count` of
 * them flow away in each nanosecond. So nothing is rounded but what is answered in ms, and that
 * late. 128 bits: 2^40 events of 2^52 parts, and 2^40 parts over 2^64 ns, do not wrap.
 *
 * In any stretch of time t at most burst + count * t / window are admitted. A clock that steps back
 * counts as no time passed.
 *
 * Taking back. A charge is at the end of the queue when it is made; its handle says when its last
 * part will have flowed, in us. Of an earlier charge only what has not flowed comes back, to the
 * us: what flowed made room that others may have used. Time for handles runs ahead of the clock by
 * what was taken back of earlier charges (`ahead_us`), for all behind them has moved up by that; it
 * comes back to the clock when the bucket is idle. A record is kept until then.
 *
 * In the record's head: total is the count it flows with, head and spare are ahead_us, length is 1
 * while there is a level. Functions as those of window.h; one thread at a time.
 */
#ifndef PAWL_CORE_GCRA_H
#define PAWL_CORE_GCRA_H

#include "core/window.h"

#define PAWL_RECORD_BYTE_GCRA ((PAWL_RECORD_GCRA << 4) | PAWL_RECORD_VERSION)

/** The longest time that is answered, in ms; what takes longer is answered so too. */
#define PAWL_WAIT_MS_MAX ((UINT64_C(1) << 53) - 1)

/** Make @record (of any kind) an empty one of this kind. */
void pawl_gcra_clear(struct pawl_window *record);

/**
 * Let time pass, at @rate from now on; another window than before keeps what is in the bucket in
 * events, rounded up. A rate of 0 changes nothing.
 */
void pawl_gcra_advance(struct pawl_window *record, const struct pawl_rate *rate,
                       struct pawl_instant now);

/** True when an advance to @now would find nothing in the bucket, and no handle that is alive. */
bool pawl_gcra_is_spent(const struct pawl_window *record, struct pawl_instant now);

/** How much may come at once: @burst, or the rate's count where it is 0; nothing at a rate of 0. */
static inline uint64_t pawl_gcra_capacity(const struct pawl_rate *rate, uint64_t burst)
{
    return rate->count == 0 || burst == 0 ? rate->count : burst;
}

/** How much fits at the time of the last advance. @record NULL: an empty one. */
uint64_t pawl_gcra_room(const struct pawl_window *record, const struct pawl_rate *rate,
                        uint64_t burst);

/**
 * Would @cost fit? count is what is in the bucket, rounded up; count + remaining is the capacity.
 * oldest_age_ms is always 0. @record NULL: an empty one.
 */
void pawl_gcra_ask(const struct pawl_window *record, const struct pawl_rate *rate, uint64_t burst,
                   uint64_t cost, struct pawl_window_answer *answer);

/** Add @cost. Does not ask whether it fits. Returns what refund wants: below 2^48, never 0. */
uint64_t pawl_gcra_charge(struct pawl_window *record, uint64_t cost);

/**
 * Take back up to @cost of charge @event, once for each charge; 0: of the newest ones. Returns how
 * much, rounded up.
 */
uint64_t pawl_gcra_refund(struct pawl_window *record, uint64_t event, uint64_t cost);

/*
 * Serialized, behind the head of every record (entries is 1): level (16 bytes, low first), count
 * (8). The level is as of the moment of saving.
 */
#define PAWL_GCRA_SAVED_BYTES 24

size_t pawl_gcra_save(const struct pawl_window *record, struct pawl_instant now, uint8_t *out);
bool pawl_gcra_check(const uint8_t *saved, size_t size, uint32_t window_ms);
void pawl_gcra_load(struct pawl_window *record, const uint8_t *saved, uint64_t elapsed_ms);

/**
 * Add a saved level, of a bucket with @window_ms, to @record as of @now. From then on both flow
 * together, with the slower of the two rates. Handles stay what they were.
 */
void pawl_gcra_join(struct pawl_window *record, const uint8_t *saved, uint32_t window_ms,
                    uint64_t elapsed_ms, struct pawl_instant now);

#endif
