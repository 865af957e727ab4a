/*
 * The log sink: an event name and typed fields. The format is of ops/ alone; the core never logs.
 *
 * Identities are passed as keyed hashes (PAWL_FIELD_ID) and never in clear.
 */
#ifndef PAWL_PORT_LOG_H
#define PAWL_PORT_LOG_H

#include "core/types.h"

enum pawl_log_level {
    PAWL_LOG_DEBUG = 0,
    PAWL_LOG_INFO = 1,
    PAWL_LOG_WARN = 2,
    PAWL_LOG_ERROR = 3,
};

enum pawl_field_type {
    PAWL_FIELD_END = 0,
    PAWL_FIELD_U64,
    PAWL_FIELD_I64,
    PAWL_FIELD_TEXT,  /* a C string, escaped by the sink */
    PAWL_FIELD_BYTES, /* printed as text where it is UTF-8, escaped */
    PAWL_FIELD_ID,    /* a masked identity, printed as hex */
    PAWL_FIELD_BOOL,
    PAWL_FIELD_MASKED, /* bytes that name a person: for the audit log, which masks them; the log
                          leaves them out */
};

struct pawl_field {
    const char *name;
    enum pawl_field_type type;
    union {
        uint64_t u64;
        int64_t i64;
        const char *text;
        struct pawl_bytes bytes;
        struct pawl_id id;
        bool flag;
    } value;
};

#define PAWL_F_U64(n, v)    ((struct pawl_field){ (n), PAWL_FIELD_U64, { .u64 = (v) } })
#define PAWL_F_I64(n, v)    ((struct pawl_field){ (n), PAWL_FIELD_I64, { .i64 = (v) } })
#define PAWL_F_TEXT(n, v)   ((struct pawl_field){ (n), PAWL_FIELD_TEXT, { .text = (v) } })
#define PAWL_F_BYTES(n, v)  ((struct pawl_field){ (n), PAWL_FIELD_BYTES, { .bytes = (v) } })
#define PAWL_F_ID(n, v)     ((struct pawl_field){ (n), PAWL_FIELD_ID, { .id = (v) } })
#define PAWL_F_BOOL(n, v)   ((struct pawl_field){ (n), PAWL_FIELD_BOOL, { .flag = (v) } })
#define PAWL_F_MASKED(n, v) ((struct pawl_field){ (n), PAWL_FIELD_MASKED, { .bytes = (v) } })

/** Implemented by ops/. Any thread; never blocks for long, never fails towards the caller. */
struct pawl_log {
    void (*event)(void *self, enum pawl_log_level level, const char *event,
                  const struct pawl_field *fields, unsigned count);
    void *self;
};

/** pawl_log_event(log, PAWL_LOG_WARN, "store_frozen", PAWL_F_TEXT("file", path), ...); */
#define pawl_log_event(log, level, name, ...)                                             \
    do {                                                                                  \
        const struct pawl_field pawl_log_fields_[] = { __VA_ARGS__ };                     \
        (log)->event((log)->self, (level), (name), pawl_log_fields_,                      \
                     (unsigned)(sizeof(pawl_log_fields_) / sizeof(pawl_log_fields_[0]))); \
    } while (0)

#endif
