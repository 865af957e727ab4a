#include "core/verdict.h"

struct hit {
    enum pawl_scope scope; /* NONE: no hit */
    enum pawl_reason reason;
};

const char *pawl_token_status_name(enum pawl_token_status status)
{
    switch (status) {
    case PAWL_TOKEN_VALID:
        return "valid";
    case PAWL_TOKEN_REVOKED:
        return "revoked";
    case PAWL_TOKEN_EXPIRED:
        return "expired";
    case PAWL_TOKEN_INVALID:
        return "invalid";
    case PAWL_TOKEN_UNDECIDED:
        return "undecided";
    case PAWL_TOKEN_NONE:
        break;
    }
    return "none";
}

const char *pawl_token_cause_name(enum pawl_token_cause cause)
{
    switch (cause) {
#define X(name, value, text)      \
    case PAWL_TOKEN_CAUSE_##name: \
        return text;
        PAWL_TOKEN_CAUSE_MAP(X)
#undef X
    }
    return "none";
}

bool pawl_cutoff_hits(uint64_t cutoff_ms, uint64_t birth_ms, bool has_iat, int64_t iat_s)
{
    if (cutoff_ms == 0) {
        return false;
    }
    if (cutoff_ms == PAWL_CUTOFF_ALL_MS || !has_iat) {
        return cutoff_ms == PAWL_CUTOFF_ALL_MS || birth_ms <= cutoff_ms;
    }
    if (birth_ms > cutoff_ms) {
        return false;
    }
    return iat_s < 0 || (uint64_t)iat_s <= cutoff_ms / 1000;
}

static bool claims_are_well_formed(const struct pawl_token_claims *claims)
{
    bool hashes =
        (claims->signed_hash.size == 0 || claims->signed_hash.size == PAWL_SHA256_BYTES) &&
        (claims->opaque.size == 0 || claims->opaque.size == PAWL_SHA256_BYTES);
    size_t named = claims->jti.size | claims->signed_hash.size | claims->opaque.size |
                   claims->sid.size | claims->subject.size;

    return hashes && named != 0 && claims->ns.size != 0 && claims->ns.size <= PAWL_NS_MAX &&
           claims->issuer.size <= PAWL_NAME_MAX && claims->jti.size <= PAWL_NAME_MAX &&
           claims->subject.size <= PAWL_NAME_MAX && claims->client.size <= PAWL_NAME_MAX &&
           claims->kid.size <= PAWL_NAME_MAX && claims->sid.size <= PAWL_NAME_MAX;
}

static uint64_t birth_of(const struct pawl_token_view *view, const struct pawl_token_claims *claims)
{
    if (claims->sid.size == 0) {
        return 0;
    }
    return pawl_sid_birth_ms(view->keys, claims->ns, claims->sid, view->stamp,
                             view->policy->skew_s * 1000);
}

/*
 * Entries past their time are no hits, whether or not a cleaning has dropped them. By the clock of
 * the cleaning: a civil clock that jumps ahead must not make a revoked token valid again.
 */
static bool entry_is_over(const struct pawl_revocation *entry, uint64_t slow_s)
{
    return entry->until_s < slow_s;
}

static struct hit probes_judge(const struct pawl_token_probes *probes,
                               const struct pawl_token_view *view,
                               const struct pawl_token_claims *claims)
{
    struct hit hit = { PAWL_SCOPE_NONE, PAWL_REASON_NONE };
    uint64_t birth_ms = 0;
    bool birth_known = false;

    for (unsigned i = 0; i < probes->count; i++) {
        uint64_t word = pawl_revocations_probe(view->table, probes->id[i]);
        struct pawl_revocation entry;

        if (PAWL_LIKELY(word == 0) || hit.scope != PAWL_SCOPE_NONE) {
            continue;
        }
        entry = pawl_revocation_unpack(word);
        if (entry_is_over(&entry, view->slow_s)) {
            continue;
        }
        if (pawl_scope_has_cutoff(probes->scope[i])) {
            if (!birth_known) {
                birth_ms = birth_of(view, claims);
                birth_known = true;
            }
            if (!pawl_cutoff_hits(entry.cutoff_ms, birth_ms, claims->has_iat, claims->iat_s)) {
                continue;
            }
        }
        hit.scope = probes->scope[i];
        hit.reason = entry.reason;
    }
    if (hit.scope == PAWL_SCOPE_NONE) {
        uint64_t floor_ms = pawl_revocations_floor_ms(view->table);

        if (PAWL_UNLIKELY(floor_ms != 0) &&
            pawl_cutoff_hits(floor_ms, birth_of(view, claims), claims->has_iat, claims->iat_s)) {
            hit.scope = PAWL_SCOPE_NAMESPACE;
            hit.reason = PAWL_REASON_THAW;
        }
    }
    return hit;
}

/* What exp and iat say by themselves. */
static enum pawl_token_cause judge_times(const struct pawl_token_view *view,
                                         const struct pawl_token_claims *claims)
{
    int64_t now_s = view->now.unix_s;
    int64_t skew_s = (int64_t)view->policy->skew_s;
    int64_t life_s = (int64_t)view->policy->max_lifetime_s;

    if (claims->has_exp && claims->exp_s <= now_s - skew_s) {
        return PAWL_TOKEN_CAUSE_EXPIRED;
    }
    if (claims->has_iat && claims->iat_s > now_s + skew_s) {
        return PAWL_TOKEN_CAUSE_NOT_YET_VALID;
    }
    if (claims->has_exp && (claims->exp_s > now_s + skew_s + life_s ||
                            (claims->has_iat && claims->exp_s > claims->iat_s + life_s))) {
        return PAWL_TOKEN_CAUSE_LIFETIME;
    }
    return PAWL_TOKEN_CAUSE_NONE;
}

static enum pawl_token_cause judge_miss(const struct pawl_token_view *view,
                                        const struct pawl_token_claims *claims,
                                        enum pawl_revocations_mode mode, bool usable)
{
    if (mode != PAWL_REVOCATIONS_SERVING) {
        return PAWL_TOKEN_CAUSE_LOADING;
    }
    if (view->policy->older_than_store != PAWL_OLDER_ACCEPT &&
        pawl_token_is_older(view->policy, birth_of(view, claims), claims->has_iat, claims->iat_s)) {
        return PAWL_TOKEN_CAUSE_OLDER_THAN_STORE;
    }
    return usable ? PAWL_TOKEN_CAUSE_NONE : PAWL_TOKEN_CAUSE_STALE;
}

/* Hash what is needed and start loading it: scopes without a claim or without a fact cost nothing.
 */
void pawl_token_prepare(const struct pawl_token_view *view, const struct pawl_token_claims *claims,
                        struct pawl_token_probes *probes)
{
    const struct pawl_bytes values[PAWL_SCOPES] = {
        [PAWL_SCOPE_TOKEN] = claims->jti,       [PAWL_SCOPE_SIGNED] = claims->signed_hash,
        [PAWL_SCOPE_OPAQUE] = claims->opaque,   [PAWL_SCOPE_FAMILY] = claims->sid,
        [PAWL_SCOPE_SUBJECT] = claims->subject, [PAWL_SCOPE_CLIENT] = claims->client,
        [PAWL_SCOPE_KEY] = claims->kid,
    };
    struct pawl_scope_keyer keyer;

    probes->count = 0;
    if (!claims_are_well_formed(claims)) {
        return;
    }
    pawl_scope_keyer_init(&keyer, &view->keys->facts, claims->ns, claims->issuer);
    for (enum pawl_scope scope = PAWL_SCOPE_TOKEN; scope < PAWL_SCOPES; scope++) {
        unsigned at = probes->count;

        if ((values[scope].size == 0 && scope != PAWL_SCOPE_NAMESPACE) ||
            !pawl_revocations_has_scope(view->table, scope)) {
            continue;
        }
        probes->scope[at] = scope;
        probes->id[at] = pawl_scope_keyer_id(&keyer, scope, values[scope]);
        pawl_revocations_prefetch(view->table, probes->id[at]);
        probes->count++;
    }
}

static void decide(struct pawl_token_verdict *verdict, const struct pawl_token_view *view,
                   const struct pawl_token_claims *claims, const struct pawl_token_probes *probes,
                   enum pawl_revocations_mode mode, bool usable)
{
    enum pawl_token_cause times = judge_times(view, claims);
    struct hit hit;

    if (times != PAWL_TOKEN_CAUSE_NONE && mode != PAWL_REVOCATIONS_FROZEN) {
        verdict->status =
            times == PAWL_TOKEN_CAUSE_EXPIRED ? PAWL_TOKEN_EXPIRED : PAWL_TOKEN_INVALID;
        verdict->cause = times;
        return;
    }
    hit = probes_judge(probes, view, claims);
    if (hit.scope != PAWL_SCOPE_NONE) {
        verdict->status = PAWL_TOKEN_REVOKED;
        verdict->scope = hit.scope;
        verdict->reason = hit.reason;
        return;
    }
    verdict->cause = mode == PAWL_REVOCATIONS_FROZEN ? PAWL_TOKEN_CAUSE_FROZEN
                                                     : judge_miss(view, claims, mode, usable);
    verdict->status =
        verdict->cause == PAWL_TOKEN_CAUSE_NONE ? PAWL_TOKEN_VALID : PAWL_TOKEN_UNDECIDED;
}

struct pawl_token_verdict pawl_token_finish(const struct pawl_token_view *view,
                                            const struct pawl_token_claims *claims,
                                            const struct pawl_token_probes *probes)
{
    enum pawl_revocations_mode mode = pawl_revocations_get_mode(view->table);
    struct pawl_freshness freshness = pawl_stale_verdict(view->policy, view->staleness_ms);
    struct pawl_token_verdict verdict = { .status = PAWL_TOKEN_INVALID,
                                          .cause = PAWL_TOKEN_CAUSE_MALFORMED };

    verdict.staleness_ms = view->staleness_ms;
    verdict.fresh = freshness.fresh && mode == PAWL_REVOCATIONS_SERVING;
    if (claims_are_well_formed(claims)) {
        verdict.cause = PAWL_TOKEN_CAUSE_NONE;
        decide(&verdict, view, claims, probes, mode, freshness.usable);
    }
    return verdict;
}

struct pawl_token_verdict pawl_token_verdict(const struct pawl_token_view *view,
                                             const struct pawl_token_claims *claims)
{
    struct pawl_token_probes probes;

    pawl_token_prepare(view, claims, &probes);
    return pawl_token_finish(view, claims, &probes);
}
