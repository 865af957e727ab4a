/*
 * All figures of the daemon as one list, for the Stats reply: modules hand theirs out through
 * port/stats.h, this collects them.
 */
#ifndef PAWL_OPS_STATUS_H
#define PAWL_OPS_STATUS_H

#include "port/stats.h"

#define PAWL_STATS_MAX           512
#define PAWL_STAT_NAME_BYTES_MAX 64
#define PAWL_STAT_TEXT_BYTES_MAX 256

enum pawl_stat_kind {
    PAWL_STAT_NONE = 0,
    PAWL_STAT_NUMBER,
    PAWL_STAT_FLAG,
    PAWL_STAT_TEXT,
};

struct pawl_stat {
    enum pawl_stat_kind kind;
    char name[PAWL_STAT_NAME_BYTES_MAX];
    uint64_t value;       /* NUMBER; FLAG: 0 or 1 */
    uint32_t text_offset; /* TEXT: in pawl_stat_list.texts */
    uint32_t text_size;
};

/** The caller's storage (about 60 KiB); pawl_stat_list_init before use. One thread. */
struct pawl_stat_list {
    const char *prefix; /* lent; only names that begin so are kept */
    unsigned count;
    unsigned dropped; /* did not fit: the caps above are too low */
    uint32_t texts_size;
    struct pawl_stat items[PAWL_STATS_MAX];
    char texts[16384];
};

/** Empty @list; @prefix "" or NULL keeps all. */
void pawl_stat_list_init(struct pawl_stat_list *list, const char *prefix);

/**
 * The sink that fills @list. A name given twice keeps the sum of numbers (workers hand out the
 * same names), of flags whether any is true, of texts the first. A name that is too long is cut.
 */
struct pawl_stats_sink pawl_stat_list_sink(struct pawl_stat_list *list);

/** The text of @stat of @list; empty where it is none. Lent as long as @list is unchanged. */
struct pawl_bytes pawl_stat_text(const struct pawl_stat_list *list, const struct pawl_stat *stat);

#endif
