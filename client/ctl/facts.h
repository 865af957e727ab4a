/*
 * Revocations as lines of JSON, one object each: what watch and export print and import reads.
 *
 *   {"id": "...", "scope": "token", "namespace": "default", "issuer": "", "value": "jti",
 *    "sha256": "...", "before_ms": 0, "exp": 0, "until": 0, "reason": "logout", "actor": "",
 *    "at_ms": 0}
 *
 * A signed or opaque token has "sha256" (hex) in place of "value". A cancel has "cancels", a list
 * of ids, in place of scope and value.
 */
#ifndef PAWL_CTL_FACTS_H
#define PAWL_CTL_FACTS_H

#include <jansson.h>
#include <pawl/pawl.h>

#define FACT_SHA256_BYTES 32

json_t *fact_json(const struct pawl_fact_info *fact);

/** A revocation to submit, with what it lends from. */
struct fact_line {
    struct pawl_revoke_call call;
    json_t *object; /* owned until fact_line_end() */
    uint8_t digest[FACT_SHA256_BYTES];
};

/**
 * Read one line. Returns true; @line->object is NULL for a line that holds nothing to revoke
 * (blank, a heading of an export, a cancel). On false @error (PAWL_TEXT_BYTES) says what is wrong.
 */
bool fact_line_read(struct fact_line *line, const char *text, size_t size, char *error);
void fact_line_end(struct fact_line *line);

#endif
