/*
 * RESP2 as trees, read with hiredis's reader into an arena with a ceiling.
 *
 * What a server sends is not trusted: sizes that it declares cost nothing before the bytes are
 * there, and a reply of too many elements, too long a line or too large a whole ends the reader.
 */
#ifndef PAWL_ADAPTER_REDIS_RESP_H
#define PAWL_ADAPTER_REDIS_RESP_H

#include "core/status.h"
#include "core/types.h"

#define PAWL_RESP_LINE_MAX                                                \
    ((size_t)8 << 10) /* a status, an error; scanned anew with each piece \
                       */
#define PAWL_RESP_REPLY_MAX    ((size_t)16 << 20) /* bytes of texts of one reply */
#define PAWL_RESP_ELEMENTS_MAX ((uint32_t)1 << 19)

enum pawl_resp_type {
    PAWL_RESP_NIL = 0,
    PAWL_RESP_STATUS,
    PAWL_RESP_ERROR,
    PAWL_RESP_INTEGER,
    PAWL_RESP_STRING,
    PAWL_RESP_ARRAY,
};

/** An array is a list: a declared count that never comes takes no memory. */
struct pawl_resp {
    enum pawl_resp_type type;
    uint32_t count; /* ARRAY: elements that came */
    union {
        int64_t integer;
        struct pawl_bytes text; /* STATUS, ERROR, STRING */
        struct {
            struct pawl_resp *first, *last;
        } list;
    };
    struct pawl_resp *next; /* in its array */
};

struct pawl_resp_reader; /* opaque */

/** NULL: no memory. */
struct pawl_resp_reader *pawl_resp_reader_create(void);
void pawl_resp_reader_destroy(struct pawl_resp_reader *reader); /* NULL is nothing */

/**
 * The next reply out of what was kept and of @data, which is moved on.
 *
 * @value  out; valid, with what pawl_resp_memory() gave, until the next call.
 *
 * Returns PAWL_OK; PAWL_EAGAIN (all taken, more is needed); PAWL_ETOOBIG (past a cap), PAWL_EINVAL
 * (no RESP2, or nested deeper than 7), PAWL_ENOMEM: the reader can only be destroyed then.
 */
PAWL_MUST_USE enum pawl_status pawl_resp_next(struct pawl_resp_reader *reader,
                                              struct pawl_bytes *data,
                                              const struct pawl_resp **value);

/** Memory that lives as long as the last reply; within its ceiling. NULL: no more. */
void *pawl_resp_memory(struct pawl_resp_reader *reader, size_t size);

/* ---- looking at a value; NULL and other types are answered as if nothing was there ---- */

static inline bool pawl_resp_is(const struct pawl_resp *value, enum pawl_resp_type type)
{
    return value != NULL && value->type == type;
}

/** The elements, one after the other: for (x = pawl_resp_first(v); x != NULL; x = x->next). */
static inline const struct pawl_resp *pawl_resp_first(const struct pawl_resp *value)
{
    return pawl_resp_is(value, PAWL_RESP_ARRAY) ? value->list.first : NULL;
}

static inline uint32_t pawl_resp_count(const struct pawl_resp *value)
{
    return pawl_resp_is(value, PAWL_RESP_ARRAY) ? value->count : 0;
}

/** The bytes of a STRING or STATUS; false: it is none. */
bool pawl_resp_text(const struct pawl_resp *value, struct pawl_bytes *text);

/** An INTEGER of at least 0, or a STRING of decimal digits; false: neither. */
bool pawl_resp_number(const struct pawl_resp *value, uint64_t *number);

/** An INTEGER of at least 0, with no text taken for one; false: it is none. */
bool pawl_resp_integer(const struct pawl_resp *value, uint64_t *number);

#endif
