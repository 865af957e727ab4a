/*
 * What the operator wants where pawl cannot tell (P5): outages, stale data, tokens older than the
 * store. Zero is the safe meaning of every field. Pure.
 */
#ifndef PAWL_CORE_POLICY_H
#define PAWL_CORE_POLICY_H

#include "core/status.h"
#include "core/types.h"

#define PAWL_TOKEN_SKEW_DEFAULT_S     5
#define PAWL_TOKEN_SKEW_MAX_S         60
#define PAWL_TOKEN_LIFETIME_DEFAULT_S UINT64_C(2592000)  /* 30 days */
#define PAWL_TOKEN_LIFETIME_MAX_S     UINT64_C(34560000) /* 400 days */
#define PAWL_STALENESS_DEFAULT_MS     5000

/** tokens.when_stale: what a token verdict is when the data under it is older than allowed. */
enum pawl_when_stale {
    PAWL_STALE_UNDECIDED = 0,
    PAWL_STALE_OPEN = 1,       /* valid, and said to be not fresh */
    PAWL_STALE_OPEN_UNTIL = 2, /* the same up to `stale_open_ms`, then undecided */
};

/** tokens.older_than_store: tokens from before the store's birth. */
enum pawl_older_than_store {
    PAWL_OLDER_UNDECIDED = 0,
    PAWL_OLDER_ACCEPT = 1,
};

struct pawl_token_policy {
    uint64_t max_lifetime_s;   /* longer lives are invalid */
    uint64_t skew_s;           /* of exp and iat */
    uint64_t staleness_max_ms; /* older data is not fresh */
    uint64_t stale_open_ms;    /* for PAWL_STALE_OPEN_UNTIL */
    uint64_t store_birth_ms;   /* fleet clock; 0: not known, nothing counts as older by time */
    enum pawl_when_stale when_stale;
    enum pawl_older_than_store older_than_store;
};

/** How fresh an answer is, and whether it may be given at all. */
struct pawl_freshness {
    bool fresh;  /* within staleness_max_ms */
    bool usable; /* "valid" may be answered */
};

/** The defaults of the settings; older_than_store is accept there. */
struct pawl_token_policy pawl_token_policy_default(void);

/** Refuse values beyond the caps. @error says which and what is allowed; may be NULL. */
PAWL_MUST_USE enum pawl_status pawl_token_policy_check(const struct pawl_token_policy *policy,
                                                       struct pawl_error *error);

/**
 * Make a verdict of an outage, the only place that does: open allows, closed denies; local is
 * counted by the process that asked, and a policy that nobody stated is none: both UNDECIDED.
 */
enum pawl_verdict pawl_outage_verdict(enum pawl_on_error on_error);

/** Judge data of age @staleness_ms (UINT64_MAX: not known) by @policy. */
struct pawl_freshness pawl_stale_verdict(const struct pawl_token_policy *policy,
                                         uint64_t staleness_ms);

/**
 * Whether a token is from before the store's birth: it was issued in or before that second and
 * its family was not born later. Neither known: older.
 *
 * @birth_ms  its family's birth time, 0: none. @iat_s whole seconds; ignored unless @has_iat.
 */
bool pawl_token_is_older(const struct pawl_token_policy *policy, uint64_t birth_ms, bool has_iat,
                         int64_t iat_s);

/**
 * The issuer that a request means: what it says, else the only configured one, else "".
 * @configured  may be NULL when @count is 0. The result lends from the arguments.
 */
struct pawl_bytes pawl_issuer_default(struct pawl_bytes given, const struct pawl_bytes *configured,
                                      size_t count);

#endif
