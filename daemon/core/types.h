/*
 * The words that every layer shares: views of bytes, the three clocks, verdicts.
 *
 * Zero is always the safe or the invalid meaning, so that a value nobody filled in never reads
 * as "allow".
 */
#ifndef PAWL_CORE_TYPES_H
#define PAWL_CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAWL_MUST_USE    __attribute__((warn_unused_result))
#define PAWL_HOT         __attribute__((hot))
#define PAWL_LIKELY(x)   __builtin_expect(!!(x), 1)
#define PAWL_UNLIKELY(x) __builtin_expect(!!(x), 0)

/** Lent bytes: valid for the call they are passed to, unless a header says otherwise. */
struct pawl_bytes {
    const uint8_t *data; /* may be NULL when size is 0 */
    size_t size;
};

/** A 128-bit keyed hash: who a record belongs to, everywhere. */
struct pawl_id {
    uint64_t lo;
    uint64_t hi;
};

/*
 * Three clocks, three types: the compiler refuses a mix-up.
 */

/** CLOCK_BOOTTIME of this machine; means nothing on another one or after a reboot. Limits. */
struct pawl_instant {
    uint64_t ns;
};

/** Civil time: exp, nbf, iat. Seconds since 1970 UTC. */
struct pawl_wall {
    int64_t unix_s;
};

/** The fleet's clock: milliseconds' worth of microseconds since 1970; never goes back. */
struct pawl_stamp {
    uint64_t us;
};

/** The answer to a check. */
enum pawl_verdict {
    PAWL_VERDICT_NONE = 0, /* nobody decided: invalid */
    PAWL_ALLOW = 1,
    PAWL_DENY = 2,
    PAWL_UNDECIDED = 3, /* cannot tell; the operator's policy decides (P5) */
};

/** What an outage means for a limit; a required field of the client's call too. */
enum pawl_on_error {
    PAWL_ON_ERROR_NONE = 0, /* not said */
    PAWL_ON_ERROR_OPEN = 1,
    PAWL_ON_ERROR_CLOSED = 2,
    PAWL_ON_ERROR_LOCAL = 3, /* count in the process that asks */
};

static inline struct pawl_bytes pawl_bytes_of(const void *data, size_t size)
{
    struct pawl_bytes bytes = { (const uint8_t *)data, size };

    return bytes;
}

static inline bool pawl_id_equal(struct pawl_id a, struct pawl_id b)
{
    return ((a.lo ^ b.lo) | (a.hi ^ b.hi)) == 0;
}

static inline bool pawl_id_is_zero(struct pawl_id id)
{
    return (id.lo | id.hi) == 0;
}

#endif
