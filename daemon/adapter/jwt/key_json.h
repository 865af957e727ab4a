/*
 * JSON of key files and of claims to sign, by jansson, within caps that are checked before it sees
 * anything. Tokens are read by json.h.
 */
#ifndef PAWL_ADAPTER_JWT_KEY_JSON_H
#define PAWL_ADAPTER_JWT_KEY_JSON_H

#include "core/types.h"
#include "port/jwt.h"

#include <jansson.h>

struct pawl_json_caps {
    unsigned depth, members, values;
};

/**
 * Whether @text stays within @caps, told from its brackets, colons and commas alone. It need not
 * be JSON.
 */
PAWL_MUST_USE bool pawl_json_within(struct pawl_bytes text, const struct pawl_json_caps *caps);

/**
 * Parse @text, within @caps, as one JSON object: UTF-8 that holds no NUL, no member twice at any
 * depth, nothing behind it. @out is the caller's to json_decref().
 * OK, JSON, DUPLICATE or INTERNAL (no memory); *@out is NULL unless OK.
 */
PAWL_MUST_USE enum pawl_jwt_reason pawl_json_parse(struct pawl_bytes text,
                                                   const struct pawl_json_caps *caps, json_t **out);

#endif
