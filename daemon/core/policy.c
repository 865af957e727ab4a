#include "core/policy.h"

struct pawl_token_policy pawl_token_policy_default(void)
{
    struct pawl_token_policy policy = {
        .max_lifetime_s = PAWL_TOKEN_LIFETIME_DEFAULT_S,
        .skew_s = PAWL_TOKEN_SKEW_DEFAULT_S,
        .staleness_max_ms = PAWL_STALENESS_DEFAULT_MS,
        .when_stale = PAWL_STALE_UNDECIDED,
        .older_than_store = PAWL_OLDER_ACCEPT,
    };

    return policy;
}

enum pawl_status pawl_token_policy_check(const struct pawl_token_policy *policy,
                                         struct pawl_error *error)
{
    if (policy->max_lifetime_s == 0 || policy->max_lifetime_s > PAWL_TOKEN_LIFETIME_MAX_S) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "tokens.max_lifetime is %llu s, allowed are 1 s to %llu s",
                              (unsigned long long)policy->max_lifetime_s,
                              (unsigned long long)PAWL_TOKEN_LIFETIME_MAX_S);
    }
    if (policy->skew_s > PAWL_TOKEN_SKEW_MAX_S) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "the clock skew of tokens is %llu s, at most %d s are allowed",
                              (unsigned long long)policy->skew_s, PAWL_TOKEN_SKEW_MAX_S);
    }
    if (policy->when_stale == PAWL_STALE_OPEN_UNTIL &&
        policy->stale_open_ms < policy->staleness_max_ms) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "stale data is accepted for %llu ms, less than "
                              "tokens.staleness_max, %llu ms",
                              (unsigned long long)policy->stale_open_ms,
                              (unsigned long long)policy->staleness_max_ms);
    }
    return PAWL_OK;
}

enum pawl_verdict pawl_outage_verdict(enum pawl_on_error on_error)
{
    switch (on_error) {
    case PAWL_ON_ERROR_OPEN:
        return PAWL_ALLOW;
    case PAWL_ON_ERROR_CLOSED:
        return PAWL_DENY;
    case PAWL_ON_ERROR_LOCAL:
    case PAWL_ON_ERROR_NONE:
        break;
    }
    return PAWL_UNDECIDED;
}

struct pawl_freshness pawl_stale_verdict(const struct pawl_token_policy *policy,
                                         uint64_t staleness_ms)
{
    struct pawl_freshness freshness = { .fresh = staleness_ms <= policy->staleness_max_ms };

    switch (policy->when_stale) {
    case PAWL_STALE_OPEN:
        freshness.usable = true;
        break;
    case PAWL_STALE_OPEN_UNTIL:
        freshness.usable = freshness.fresh || staleness_ms <= policy->stale_open_ms;
        break;
    case PAWL_STALE_UNDECIDED:
    default:
        freshness.usable = freshness.fresh;
        break;
    }
    return freshness;
}

bool pawl_token_is_older(const struct pawl_token_policy *policy, uint64_t birth_ms, bool has_iat,
                         int64_t iat_s)
{
    uint64_t store_s = policy->store_birth_ms / 1000;

    if (birth_ms != 0 && birth_ms >= policy->store_birth_ms) {
        return false;
    }
    /* iat is cut to seconds: in the store's first second a token may be older than the store. */
    return !has_iat || (policy->store_birth_ms != 0 && (iat_s < 0 || (uint64_t)iat_s <= store_s));
}

struct pawl_bytes pawl_issuer_default(struct pawl_bytes given, const struct pawl_bytes *configured,
                                      size_t count)
{
    static const uint8_t none[1] = { 0 };

    if (given.size > 0) {
        return given;
    }
    return count == 1 ? configured[0] : pawl_bytes_of(none, 0);
}
