/*
 * The strict JSON reader of headers and payloads: RFC 8259, one object and nothing behind it,
 * within caps, in place and without the heap. jansson takes 6 us for a usual payload, a third of an
 * RSA verification; this takes a tenth of that. It is held against jansson by fuzzing
 * (tests/fuzz/fuzz_jwt.c): what it takes, jansson takes, and reads the same; key files, which are
 * read once, are jansson's.
 *
 * Refused besides what is no JSON: a NUL in a text, a member that stands twice at any depth (by its
 * text, however it is written), whole numbers beyond 64 bits, fractions beyond a double or of more
 * than 63 characters.
 */
#ifndef PAWL_ADAPTER_JWT_JSON_H
#define PAWL_ADAPTER_JWT_JSON_H

#include "core/types.h"
#include "port/jwt.h"

#define PAWL_JWT_DEPTH_MAX   8   /* of a header or a payload; itself is 1 */
#define PAWL_JWT_MEMBERS_MAX 64  /* in all of it */
#define PAWL_JWT_VALUES_MAX  512 /* in all of it: members, elements, and itself */

enum pawl_json_type {
    PAWL_JSON_NULL = 1,
    PAWL_JSON_FALSE,
    PAWL_JSON_TRUE,
    PAWL_JSON_INTEGER,
    PAWL_JSON_REAL,
    PAWL_JSON_STRING,
    PAWL_JSON_ARRAY,
    PAWL_JSON_OBJECT,
};

struct pawl_json_value {
    enum pawl_json_type type;
    uint16_t end;           /* the place behind it and all that is in it */
    struct pawl_bytes name; /* of a member */
    struct pawl_bytes text; /* of a STRING: UTF-8 without escapes */
    int64_t integer;        /* of an INTEGER */
};

/** Values in the order of the text; [0] is the object, what is in a value follows it. */
struct pawl_json {
    struct pawl_json_value value[PAWL_JWT_VALUES_MAX];
    uint16_t count;

    /* ---- private ---- */
    uint8_t *at, *limit;
    unsigned depth, members;
    bool twice;
};

/**
 * Read @text, @size bytes that are changed (escapes are resolved in place); values point into it.
 * OK, JSON or DUPLICATE. Cannot fail otherwise.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_json_read(struct pawl_json *json, uint8_t *text,
                                                  size_t size);

/** The member @name of the object that was read; NULL: not there. */
const struct pawl_json_value *pawl_json_member(const struct pawl_json *json, const char *name);

#endif
