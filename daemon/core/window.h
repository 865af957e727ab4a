/*
 * The sliding window: one record that counts one key at one rate.
 *
 * A record lies in bytes that the caller owns (8-byte aligned, PAWL_WINDOW_BYTES_MIN or more) and
 * is plain data: it may be copied with memcpy to a place of the same size. It holds at most
 * `precision` entries (time, count) in a ring, oldest first:
 *
 *   narrow  5 bytes: low 32 bits of the time in ms, count below 255
 *   wide    9 bytes: low 32 bits of the time in ms, count below 2^40; from the first count >= 255
 *
 * Time is an argument. An event's time rounds up to a ms and "now" rounds down when entries
 * leave, so rounding is late, never early. A time before the last one seen by the record counts
 * as no time passed. An event exactly one window old has left. Sums saturate, they never wrap.
 *
 * Until more than `precision` distinct ms lie in the window the record is an exact log. When it
 * is full, entries in the same cell of the grid cell(t) = floor(t * (precision - 1) / window_ms)
 * merge into one with the time of the newest. The live part of a window is never longer than
 * window_ms and so touches at most `precision` cells: a full record that meets one event more
 * always has a pair to merge. Never over; room opens less than window_ms / (precision - 1) late.
 *
 * Life: pawl_window_init, then any number of (advance, ask, charge | refund). Nothing here
 * allocates or can fail. A record has no lock: one thread at a time.
 */
#ifndef PAWL_CORE_WINDOW_H
#define PAWL_CORE_WINDOW_H

#include "core/status.h"
#include "core/types.h"

#define PAWL_WINDOW_MS_MAX     UINT32_C(3888000000)      /* 45 days: ages fit in 32 bits */
#define PAWL_COUNT_MAX         ((UINT64_C(1) << 40) - 1) /* of a limit, a cost, an entry */
#define PAWL_PRECISION_MIN     2
#define PAWL_PRECISION_MAX     4096
#define PAWL_PRECISION_DEFAULT 64
#define PAWL_WINDOW_BYTES_MIN  64 /* three narrow entries, or a wide one */
#define PAWL_WINDOW_HEAD_BYTES 48

/** What a record is; the high 4 bits of its first byte. The low 4 bits are a version. */
enum pawl_record_kind {
    PAWL_RECORD_NONE = 0,
    PAWL_RECORD_SLIDING = 1,
    PAWL_RECORD_GCRA = 2,        /* gcra.h */
    PAWL_RECORD_CALENDAR = 3,    /* quota.h */
    PAWL_RECORD_CONCURRENCY = 4, /* slots.h */
    PAWL_RECORD_RESERVE = 5,     /* kept free */
};

#define PAWL_RECORD_VERSION      1
#define PAWL_RECORD_BYTE_SLIDING ((PAWL_RECORD_SLIDING << 4) | PAWL_RECORD_VERSION)

enum pawl_record_flag {
    PAWL_RECORD_WIDE = 1,   /* entries of 9 bytes */
    PAWL_RECORD_CELL = 2,   /* an overflow cell, not one key */
    PAWL_RECORD_DIRTY = 4,  /* changed since it was last handed to the saver */
    PAWL_RECORD_RESET = 8,  /* forgotten by request; the saver has to hear of it */
    PAWL_RECORD_PINNED = 16 /* in use by the check that is being decided */
};

/** A period of civil time; the numbers of the wire. */
enum pawl_period {
    PAWL_PERIOD_NONE = 0,
    PAWL_PERIOD_HOUR = 1,
    PAWL_PERIOD_DAY = 2,
    PAWL_PERIOD_WEEK = 3,
    PAWL_PERIOD_MONTH = 4,
    PAWL_PERIOD_YEAR = 5,
};

/** Count per window. */
struct pawl_rate {
    uint64_t count;     /* 0 (nothing is ever allowed) to PAWL_COUNT_MAX */
    uint32_t window_ms; /* 1 to PAWL_WINDOW_MS_MAX; 0 where there is a period */
    uint32_t period;    /* enum pawl_period: of a calendar quota; else 0 */
};

/** A record. Private to window.c and limiter*.c, but for tests that look inside. */
struct pawl_window {
    uint8_t kind;      /* enum pawl_record_kind << 4 | version; 0: nothing here */
    uint8_t flags;     /* enum pawl_record_flag */
    uint16_t units;    /* size of the whole record in 8 bytes */
    uint16_t head;     /* place of the oldest entry in the ring */
    uint16_t length;   /* entries in the ring */
    struct pawl_id id; /* whose it is */
    uint64_t seen_ns;  /* the latest "now" seen */
    uint64_t total;    /* sum of the counts of all entries */
    uint32_t window_ms;
    uint32_t spare;    /* of kinds other than sliding */
    uint8_t entries[]; /* the ring */
};

_Static_assert(sizeof(struct pawl_window) == PAWL_WINDOW_HEAD_BYTES, "the head is 48 bytes");

/** What a record says about a rate and a cost. */
struct pawl_window_answer {
    uint64_t count;          /* in the window now */
    uint64_t remaining;      /* limit - count, never below 0 */
    uint64_t oldest_age_ms;  /* 0 when empty */
    uint64_t reset_after_ms; /* until the window is empty, if nothing is charged */
    uint64_t retry_after_ms; /* until the cost fits, if nothing is charged; 0: now, or never */
    bool allowed;            /* the cost fits now */
    bool never;              /* cost above the limit */
};

/** The size in bytes of a record with room for @entries. */
size_t pawl_window_size(unsigned entries, bool wide);

/**
 * Begin an empty record in @bytes bytes (a multiple of 8, PAWL_WINDOW_BYTES_MIN to 512 KiB less
 * 8; more is not used). @now is its first "seen".
 */
void pawl_window_init(struct pawl_window *window, size_t bytes, struct pawl_id id,
                      uint32_t window_ms, struct pawl_instant now);

/**
 * Let time pass: entries older than @window_ms leave. @window_ms becomes the window of the record
 * from now on; another one than before keeps the entries that are still there.
 */
PAWL_HOT void pawl_window_advance(struct pawl_window *window, uint32_t window_ms,
                                  struct pawl_instant now);

/** True when a pawl_window_advance() to @now would leave no entry. Does not change anything. */
bool pawl_window_is_spent(const struct pawl_window *window, struct pawl_instant now);

/**
 * Would @cost fit at the time of the last advance? Fills @answer and returns answer->allowed.
 * A rate with a window shorter than the record's (overflow cells) counts only what lies in its
 * own window. @cost is 0 to PAWL_COUNT_MAX.
 */
PAWL_HOT bool pawl_window_ask(const struct pawl_window *window, const struct pawl_rate *rate,
                              uint64_t cost, struct pawl_window_answer *answer);

/** Only the decision of pawl_window_ask(), in constant time but for overflow cells. */
PAWL_HOT bool pawl_window_fits(const struct pawl_window *window, const struct pawl_rate *rate,
                               uint64_t cost);

/** What pawl_window_ask() says about a record that does not exist. */
bool pawl_window_ask_empty(const struct pawl_rate *rate, uint64_t cost,
                           struct pawl_window_answer *answer);

/**
 * Charge as pawl_window_charge() does, if that needs neither another form nor more room nor a
 * merge of several entries: nearly always. @event_ms  out, as returned there.
 *
 * Returns false, with nothing changed, when it is not so simple.
 */
PAWL_MUST_USE PAWL_HOT bool pawl_window_charge_simply(struct pawl_window *window,
                                                      unsigned precision, uint64_t cost,
                                                      uint64_t *event_ms);

/**
 * A check that is allowed, in one go: pawl_window_advance() to @now, does @cost (>= 1) fit @rate,
 * pawl_window_charge_simply(), pawl_window_ask() about nothing more. @event_ms and @answer are out.
 *
 * Returns false where one of them says no, or where @rate has not the record's window: then time
 * has passed at most, nothing is charged, and the long way is due.
 */
PAWL_MUST_USE PAWL_HOT bool pawl_window_hit(struct pawl_window *window,
                                            const struct pawl_rate *rate, unsigned precision,
                                            uint64_t cost, struct pawl_instant now,
                                            uint64_t *event_ms, struct pawl_window_answer *answer);

/**
 * The size in bytes the record would like to have before @cost (>= 1) is charged at @precision,
 * and in @wide the form; 0 if it is big enough. Move it first (pawl_window_move) or charge anyway.
 */
PAWL_HOT size_t pawl_window_wants(const struct pawl_window *window, unsigned precision,
                                  uint64_t cost, bool *wide);

/**
 * Record @cost at the time of the last advance. Does not ask whether it fits. A record that is
 * too small merges harder (later, never over), as if its precision were what it has room for; one
 * with room for a single entry empties only as a whole.
 *
 * Returns the event's time in ms on the record's own scale: what refund wants. Never 0.
 */
PAWL_HOT uint64_t pawl_window_charge(struct pawl_window *window, unsigned precision, uint64_t cost);

/**
 * Take back up to @cost. @event_ms as pawl_window_charge() returned it: lowers the oldest entry
 * not older than it; nothing if the event is already out of @window_ms. @event_ms 0: lowers the
 * oldest entry, then the next oldest. Call after advance. Returns how much was taken back.
 */
uint64_t pawl_window_refund(struct pawl_window *window, uint32_t window_ms, uint64_t event_ms,
                            uint64_t cost);

/** Forget all entries; the record itself stays. */
void pawl_window_clear(struct pawl_window *window);

/**
 * Copy @from into the @bytes bytes at @to, which do not overlap and have room for all its
 * entries; to wide form when @wide.
 */
void pawl_window_move(struct pawl_window *to, size_t bytes, const struct pawl_window *from,
                      bool wide);

/*
 * The serialized record, little endian, no padding. It carries ages, no times: a record leaves
 * the process only so.
 *
 *   0   1  kind << 4 | version
 *   1   1  flags: 1 wide, 2 overflow cell; others 0
 *   2   2  number of entries, 0 to 4096; 0: a tombstone, the record is gone
 *   4   4  window_ms, 1 to PAWL_WINDOW_MS_MAX
 *   8   16 id (lo, hi)
 *   24  .. entries, oldest first: age in ms (4; never growing from one to the next), count (1 or
 *          5; >= 1); other kinds have their own form here: gcra.h, quota.h, slots.h
 */
#define PAWL_RECORD_HEAD_BYTES 24
#define PAWL_RECORD_BYTES_MAX  (PAWL_RECORD_HEAD_BYTES + PAWL_PRECISION_MAX * 14)

/** The head of a serialized record, checked. */
struct pawl_record_head {
    uint8_t kind; /* enum pawl_record_kind */
    bool known;   /* else only the head is */
    bool wide;
    bool cell;
    uint16_t entries;
    uint32_t window_ms;
    struct pawl_id id;
};

/**
 * Serialize with ages as of @now (earlier than last seen: as of then); entries that have left are
 * left out. @out has room for PAWL_RECORD_BYTES_MAX. Returns the size, at least
 * PAWL_RECORD_HEAD_BYTES.
 */
size_t pawl_window_save(const struct pawl_window *window, struct pawl_instant now, uint8_t *out);

/** Are the @size bytes behind the head the entries of a sliding record with @head? */
bool pawl_window_check(const uint8_t *entries, size_t size, const struct pawl_record_head *head);

/**
 * Check every byte of the serialized record, of whatever kind. Returns PAWL_OK; PAWL_ECORRUPT if it
 * is malformed; PAWL_EVERSION if it is of a later version of a kind. Only the head of a kind of the
 * future is looked at.
 */
PAWL_MUST_USE enum pawl_status pawl_record_check(struct pawl_bytes bytes,
                                                 struct pawl_record_head *head);

/**
 * Begin a record in @bytes bytes (room for all its entries) from what pawl_record_check()
 * accepted. Ages grow by @elapsed_ms; what has left its window then is dropped, and nothing gets
 * older than it was. A kind of the future becomes a record that the first rate that meets it finds
 * used up. Not for the kinds of gcra.h, quota.h and slots.h: pawl_record_load() is for all.
 */
void pawl_window_load(struct pawl_window *window, size_t bytes, struct pawl_bytes record,
                      const struct pawl_record_head *head, uint64_t elapsed_ms,
                      struct pawl_instant now);

#endif
