/*
 * Records of any kind: what the limiter's table does with one whatever it counts.
 *
 * Every record begins with struct pawl_window and says in its first byte which kind it is; length
 * is 0 exactly when it holds nothing. Kinds of later versions, loaded by an older one, are kept as
 * a window that the first rate finds used up. The sliding window, which nearly everything is, does
 * not come through here on its way to a decision.
 */
#ifndef PAWL_CORE_RECORD_H
#define PAWL_CORE_RECORD_H

#include "core/gcra.h"
#include "core/quota.h"
#include "core/slots.h"
#include "core/window.h"

/** What a rate asks of its record at one moment. */
struct pawl_terms {
    enum pawl_record_kind kind;
    struct pawl_rate rate;
    uint64_t burst;              /* GCRA */
    struct pawl_quota_time time; /* CALENDAR */
};

/** The first byte of a record of @kind in this version. */
static inline uint8_t pawl_record_byte(enum pawl_record_kind kind)
{
    return (uint8_t)((unsigned)kind << 4 | PAWL_RECORD_VERSION);
}

bool pawl_record_is_spent_other(const struct pawl_window *record, struct pawl_instant now,
                                struct pawl_wall wall);

/** True when nothing that @record holds counts any more. */
static inline bool pawl_record_is_spent(const struct pawl_window *record, struct pawl_instant now,
                                        struct pawl_wall wall)
{
    if (PAWL_LIKELY(record->kind == PAWL_RECORD_BYTE_SLIDING)) {
        return pawl_window_is_spent(record, now);
    }
    return pawl_record_is_spent_other(record, now, wall);
}

/**
 * Let time pass on @record for a rate that asks by @terms. A record of another kind becomes one of
 * theirs: an empty one if it was spent, else one in which everything is used up from now on. @wall:
 * as for pawl_record_is_spent(). Returns true if it was changed so that it has to be saved.
 */
bool pawl_record_touch(struct pawl_window *record, const struct pawl_terms *terms,
                       struct pawl_instant now, struct pawl_wall wall);

/** How much fits as of the last touch. @record NULL: there is none. */
uint64_t pawl_record_room(const struct pawl_window *record, const struct pawl_terms *terms);

/** What a rate with @terms says about @cost. @record NULL: there is none. */
void pawl_record_ask(const struct pawl_window *record, const struct pawl_terms *terms,
                     uint64_t cost, struct pawl_window_answer *answer);

/** What the answer names as the limit: the most that fits into an empty record. */
uint64_t pawl_record_limit(const struct pawl_terms *terms);

/** Copy @from into the @bytes bytes at @to, as pawl_window_move(). */
void pawl_record_move(struct pawl_window *to, size_t bytes, const struct pawl_window *from,
                      bool wide);

/** Make @record (of any kind) an empty sliding one. */
void pawl_record_clear(struct pawl_window *record);

/** As pawl_window_save(), for every kind. */
size_t pawl_record_save(const struct pawl_window *record, struct pawl_instant now, uint8_t *out);

/** The size of the record that pawl_record_load() needs for what pawl_record_check() accepted. */
size_t pawl_record_size(const struct pawl_record_head *head);

/** As pawl_window_load(), for every kind. */
void pawl_record_load(struct pawl_window *record, size_t bytes, struct pawl_bytes saved,
                      const struct pawl_record_head *head, uint64_t elapsed_ms,
                      struct pawl_instant now);

#endif
