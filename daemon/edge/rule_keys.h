/*
 * The keys of a limit that are treated apart: those with rates of their own (overrides), and those
 * that are never limited (bypass). A limit without any has none of this, and costs nothing.
 *
 * Keys are compared as text, the parts of a key with '|' between them: in a part a '|' reads "\|"
 * and a backslash "\\", so that ("a|b") and ("a", "b") never meet. In the settings a backslash
 * before anything else stands for itself. A bypass entry means the key of this text, or any key
 * with this first part; one that ends in '*' ("\*" is a plain star) any key whose text begins so.
 *
 * Immutable once made: any thread.
 */
#ifndef PAWL_EDGE_RULE_KEYS_H
#define PAWL_EDGE_RULE_KEYS_H

#include "core/keyhash.h"
#include "ops/settings.h"

/** A key as text: for both look-ups. */
struct pawl_key_text {
    size_t first; /* bytes of the first part */
    size_t size;
    char data[2 * 1024 + 16];
};

struct pawl_rule_keys;

/**
 * Build what @from says.
 *
 * @key   for placement in the table.
 * @out   NULL where the limit has neither overrides nor a bypass list.
 * Returns PAWL_OK, PAWL_ENOMEM, or PAWL_EINVAL with @error naming limit and entry.
 */
PAWL_MUST_USE enum pawl_status pawl_rule_keys_create(const struct pawl_limit_settings *from,
                                                     const struct pawl_subkey *key,
                                                     struct pawl_rule_keys **out,
                                                     struct pawl_error *error);

/** NULL is allowed. */
void pawl_rule_keys_destroy(struct pawl_rule_keys *keys);

/** The text of a key; false when it is longer than any key may be: nothing is said of it. */
bool pawl_key_text_make(struct pawl_key_text *text, const struct pawl_bytes *parts, size_t count);

/** Whether the key is never limited. */
bool pawl_rule_keys_bypass(const struct pawl_rule_keys *keys, const struct pawl_key_text *text);

/** The rates of this key, as many as its limit has, or NULL. Lent as long as @keys. */
const struct pawl_rate *pawl_rule_keys_rates(const struct pawl_rule_keys *keys,
                                             const struct pawl_key_text *text);

/** How many there are; @keys may be NULL. */
unsigned pawl_rule_keys_overrides(const struct pawl_rule_keys *keys);
unsigned pawl_rule_keys_bypasses(const struct pawl_rule_keys *keys);

#endif
