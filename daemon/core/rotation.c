#include "core/rotation.h"

#include "core/verdict.h"

#include <string.h>

/* One request on its way down the rows. */
struct turn {
    const struct pawl_family *record; /* NULL: not known */
    const struct pawl_rotation_request *request;
    const struct pawl_rotation_hits *hits;
    const struct pawl_rotation_policy *policy;
    const struct pawl_token_keys *keys;
    const struct pawl_rotation_time *now;
    enum pawl_rotation_gate gate;
    struct pawl_rotation_outcome *out;
    /* Filled by row 2, once the names are known to be within their caps. */
    struct pawl_id presented;
    struct pawl_id proposed;
    int position; /* of the presented token in the record's last 8, or -1 */
};

/** A row: whether it applies; if so it has filled the outcome. */
typedef bool rotation_row(struct turn *turn);

const char *pawl_rotation_result_name(enum pawl_rotation_result result)
{
    switch (result) {
#define X(name, value, text)   \
    case PAWL_ROTATION_##name: \
        return text;
        PAWL_ROTATION_MAP(X)
#undef X
    }
    return "none";
}

const char *pawl_rotation_fault_text(enum pawl_rotation_fault fault)
{
    switch (fault) {
#define X(name, value, text)         \
    case PAWL_ROTATION_FAULT_##name: \
        return text;
        PAWL_ROTATION_FAULT_MAP(X)
#undef X
    }
    return "nothing";
}

struct pawl_rotation_policy pawl_rotation_policy_default(void)
{
    struct pawl_rotation_policy policy = {
        .leeway_ms = PAWL_ROTATION_LEEWAY_DEFAULT_MS,
        .skew_s = PAWL_TOKEN_SKEW_DEFAULT_S,
        .max_lifetime_s = PAWL_TOKEN_LIFETIME_DEFAULT_S,
    };

    return policy;
}

enum pawl_status pawl_rotation_policy_check(const struct pawl_rotation_policy *policy, bool *soft,
                                            struct pawl_error *error)
{
    if (soft != NULL) {
        *soft = policy->leeway_ms > PAWL_ROTATION_LEEWAY_SOFT_MS;
    }
    if (policy->leeway_ms > PAWL_ROTATION_LEEWAY_HARD_MS) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "rotation.leeway is %llu ms, at most %d ms are allowed",
                              (unsigned long long)policy->leeway_ms, PAWL_ROTATION_LEEWAY_HARD_MS);
    }
    if (policy->skew_s > PAWL_TOKEN_SKEW_MAX_S) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "the clock skew of tokens is %llu s, at most %d s are allowed",
                              (unsigned long long)policy->skew_s, PAWL_TOKEN_SKEW_MAX_S);
    }
    if (policy->max_lifetime_s == 0 || policy->max_lifetime_s > PAWL_TOKEN_LIFETIME_MAX_S) {
        return pawl_error_set(error, PAWL_EINVAL, 0,
                              "tokens.max_lifetime is %llu s, allowed are 1 s to %llu s",
                              (unsigned long long)policy->max_lifetime_s,
                              (unsigned long long)PAWL_TOKEN_LIFETIME_MAX_S);
    }
    return PAWL_OK;
}

/* ---- small answers ---- */

static bool answer(struct turn *turn, unsigned row, enum pawl_rotation_result result)
{
    turn->out->row = row;
    turn->out->result = result;
    return true;
}

static bool answer_invalid(struct turn *turn, enum pawl_rotation_fault fault)
{
    turn->out->fault = fault;
    return answer(turn, 2, PAWL_ROTATION_INVALID);
}

static bool answer_revoked(struct turn *turn, unsigned row, enum pawl_reason reason)
{
    turn->out->reason = reason;
    return answer(turn, row, PAWL_ROTATION_REVOKED);
}

static bool answer_unavailable(struct turn *turn, unsigned row)
{
    turn->out->retry_after_ms = PAWL_ROTATION_RETRY_MS;
    return answer(turn, row, PAWL_ROTATION_UNAVAILABLE);
}

/* The successor that is in the (new) record, to be minted exactly so. */
static bool answer_successor(struct turn *turn, unsigned row, enum pawl_rotation_result result)
{
    turn->out->has_successor = true;
    turn->out->successor = turn->out->effects.family.cur;
    turn->out->generation = turn->out->effects.family.generation;
    return answer(turn, row, result);
}

static uint64_t stamp_ms(const struct turn *turn)
{
    return turn->now->stamp.us / 1000;
}

static struct pawl_bytes actor_of(const struct turn *turn)
{
    struct pawl_bytes actor = turn->request->actor;

    if (actor.size > PAWL_ACTOR_MAX) {
        actor.size = PAWL_ACTOR_MAX;
    }
    return actor;
}

/* The presented token's times: its own, else those of the record if it still has them. */
static bool presented_exp(const struct turn *turn, int64_t *exp_s)
{
    if (turn->request->has_exp) {
        *exp_s = turn->request->exp_s;
        return true;
    }
    if (turn->position == 0 || turn->position == 1) {
        *exp_s = turn->position == 0 ? turn->record->cur.exp_s : turn->record->prev.exp_s;
        return true;
    }
    return false;
}

static bool presented_iat(const struct turn *turn, int64_t *iat_s)
{
    if (turn->request->has_iat) {
        *iat_s = turn->request->iat_s;
        return true;
    }
    if (turn->position == 0 || turn->position == 1) {
        *iat_s = turn->position == 0 ? turn->record->cur.iat_s : turn->record->prev.iat_s;
        return true;
    }
    return false;
}

/* ---- facts ---- */

static uint64_t fact_until(enum pawl_scope scope, const struct pawl_rotation_time *now,
                           uint64_t max_lifetime_s)
{
    uint64_t now_s = now->stamp.us / 1000000;

    if (now->wall.unix_s > 0 && (uint64_t)now->wall.unix_s > now_s) {
        now_s = (uint64_t)now->wall.unix_s;
    }
    return pawl_fact_until(scope, 0, now_s, max_lifetime_s);
}

/* A fact about @family, lending from it. */
static struct pawl_fact family_fact(const struct pawl_family *family, enum pawl_scope scope,
                                    enum pawl_reason reason, const struct pawl_rotation_time *now,
                                    uint64_t max_lifetime_s)
{
    struct pawl_fact fact = {
        .kind = scope == PAWL_SCOPE_FAMILY ? PAWL_FACT_REVOCATION : PAWL_FACT_CUTOFF,
        .scope = scope,
        .reason = reason,
        .ns = pawl_name_bytes(&family->ns),
        .issuer = pawl_name_bytes(&family->issuer),
        .value = pawl_name_bytes(scope == PAWL_SCOPE_FAMILY ? &family->sid : &family->subject),
        .actor = pawl_name_bytes(&family->actor),
        .cutoff_ms =
            scope == PAWL_SCOPE_FAMILY ? 0 : pawl_cutoff_ms(now->stamp, 0, now->birth_max_ms),
        .at_ms = now->stamp.us / 1000,
        .until_s = fact_until(scope, now, max_lifetime_s),
    };

    return fact;
}

bool pawl_rotation_revoke(struct pawl_family *record, enum pawl_reason reason,
                          struct pawl_bytes actor, const struct pawl_rotation_time *now,
                          uint64_t max_lifetime_s, struct pawl_fact *fact)
{
    bool changed = pawl_family_revoke(record, reason, actor, now->stamp.us / 1000);

    *fact = family_fact(record, PAWL_SCOPE_FAMILY, record->reason, now, max_lifetime_s);
    return changed;
}

/* Revoke the family in the effects, with its fact; the subject too if asked. */
static void effect_revoke(struct turn *turn, enum pawl_reason reason, bool subject)
{
    struct pawl_rotation_effects *effects = &turn->out->effects;
    struct pawl_family *family = &effects->family;

    if (!pawl_family_revoke(family, reason, actor_of(turn), stamp_ms(turn))) {
        return;
    }
    effects->write_family = true;
    effects->facts[effects->facts_count++] =
        family_fact(family, PAWL_SCOPE_FAMILY, reason, turn->now, turn->policy->max_lifetime_s);
    if (subject && family->subject.size > 0) {
        effects->facts[effects->facts_count++] =
            family_fact(family, PAWL_SCOPE_SUBJECT, reason, turn->now,
                        turn->policy->max_lifetime_s);
    }
}

/* Theft, as the policy says, and one event for each family. */
static bool answer_reuse(struct turn *turn, unsigned row)
{
    struct pawl_rotation_effects *effects = &turn->out->effects;

    if (!effects->family.reuse_reported) {
        effects->family.reuse_reported = true;
        effects->write_family = true;
        effects->event = PAWL_ROTATION_EVENT_REUSE;
    }
    if (turn->policy->on_reuse != PAWL_ON_REUSE_DENY) {
        effect_revoke(turn, PAWL_REASON_REUSE,
                      turn->policy->on_reuse == PAWL_ON_REUSE_REVOKE_SUBJECT);
    }
    turn->out->reason = PAWL_REASON_REUSE;
    return answer(turn, row, PAWL_ROTATION_REUSE);
}

/* ---- the rows ---- */

static bool row_1_closed(struct turn *turn)
{
    return turn->gate != PAWL_ROTATION_OPEN && answer_unavailable(turn, 1);
}

static int64_t proposed_iat(const struct turn *turn)
{
    return turn->request->proposed_iat_s != 0 ? turn->request->proposed_iat_s
                                              : turn->now->wall.unix_s;
}

static bool proposed_times_fit(const struct turn *turn)
{
    int64_t now_s = turn->now->wall.unix_s;
    int64_t iat_s = proposed_iat(turn);
    int64_t exp_s = turn->request->proposed_exp_s;

    return iat_s >= 0 && iat_s <= now_s + (int64_t)turn->policy->skew_s && exp_s > now_s &&
           exp_s > iat_s && exp_s - iat_s <= (int64_t)turn->policy->max_lifetime_s;
}

static bool presented_lives_too_long(const struct turn *turn)
{
    const struct pawl_rotation_request *request = turn->request;
    int64_t life_s = (int64_t)turn->policy->max_lifetime_s;
    int64_t last_s = turn->now->wall.unix_s + (int64_t)turn->policy->skew_s + life_s;

    return request->has_exp &&
           (request->exp_s > last_s ||
            (request->has_iat && request->iat_s <= turn->now->wall.unix_s + life_s &&
             request->exp_s > request->iat_s + life_s));
}

/* The successor has to be new, except that a retry proposes what the first call got (row 10). */
static bool proposed_is_known(const struct turn *turn)
{
    int position;

    if (pawl_id_equal(turn->presented, turn->proposed)) {
        return true;
    }
    if (turn->record == NULL) {
        return false;
    }
    position = pawl_family_position(turn->record, turn->proposed);
    return position >= 0 && position != turn->position - 1;
}

static bool row_2_malformed(struct turn *turn)
{
    const struct pawl_rotation_request *request = turn->request;

    if (!request->authorised) {
        return answer(turn, 2, PAWL_ROTATION_DENIED);
    }
    if (request->ns.size == 0 || request->ns.size > PAWL_NS_MAX ||
        (turn->record != NULL &&
         (turn->record->ns.size != request->ns.size ||
          memcmp(turn->record->ns.data, request->ns.data, request->ns.size) != 0))) {
        return answer_invalid(turn, PAWL_ROTATION_FAULT_NAMESPACE);
    }
    if (!pawl_token_ref_is_well_formed(&request->presented)) {
        return answer_invalid(turn, PAWL_ROTATION_FAULT_PRESENTED);
    }
    if (!pawl_token_ref_is_well_formed(&request->proposed)) {
        return answer_invalid(turn, PAWL_ROTATION_FAULT_PROPOSED);
    }
    if (!pawl_rotation_claims_fit(request)) {
        return answer_invalid(turn, PAWL_ROTATION_FAULT_CLAIM);
    }
    turn->presented = pawl_family_jti(request->presented.scope, request->presented.value);
    turn->proposed = pawl_family_jti(request->proposed.scope, request->proposed.value);
    if (turn->record != NULL) {
        turn->position = pawl_family_position(turn->record, turn->presented);
    }
    if (proposed_is_known(turn)) {
        return answer_invalid(turn, PAWL_ROTATION_FAULT_PROPOSED_SAME);
    }
    if (!proposed_times_fit(turn)) {
        return answer_invalid(turn, PAWL_ROTATION_FAULT_PROPOSED_TIMES);
    }
    return presented_lives_too_long(turn) && answer_invalid(turn, PAWL_ROTATION_FAULT_LIFETIME);
}

static bool row_3_expired(struct turn *turn)
{
    int64_t exp_s;

    return presented_exp(turn, &exp_s) &&
           exp_s <= turn->now->wall.unix_s - (int64_t)turn->policy->skew_s &&
           answer(turn, 3, PAWL_ROTATION_EXPIRED);
}

static bool row_4_not_yet_valid(struct turn *turn)
{
    int64_t iat_s;

    if (!presented_iat(turn, &iat_s) ||
        iat_s <= turn->now->wall.unix_s + (int64_t)turn->policy->skew_s) {
        return false;
    }
    turn->out->effects.event = PAWL_ROTATION_EVENT_CLOCK;
    return answer(turn, 4, PAWL_ROTATION_NOT_YET_VALID);
}

/* What either side leaves out is not compared. */
static bool differs(struct pawl_bytes asked, const void *known, size_t known_size)
{
    return asked.size != 0 && known_size != 0 &&
           (asked.size != known_size || memcmp(asked.data, known, known_size) != 0);
}

static bool row_5_mismatch(struct turn *turn)
{
    const struct pawl_rotation_request *request = turn->request;
    const struct pawl_family *record = turn->record;

    if (record == NULL || !(differs(request->issuer, record->issuer.data, record->issuer.size) ||
                            differs(request->subject, record->subject.data, record->subject.size) ||
                            differs(request->client, record->client.data, record->client.size) ||
                            differs(request->binding, record->binding, record->binding_size))) {
        return false;
    }
    turn->out->effects.event = PAWL_ROTATION_EVENT_MISMATCH;
    if (turn->policy->on_mismatch == PAWL_ON_MISMATCH_REVOKE_FAMILY) {
        effect_revoke(turn, PAWL_REASON_MISMATCH, false);
    }
    return answer(turn, 5, PAWL_ROTATION_MISMATCH);
}

static bool presented_is_superseded(const struct turn *turn)
{
    if (turn->record == NULL) {
        return false;
    }
    return turn->position > 0 || (turn->position < 0 && turn->request->has_generation &&
                                  turn->request->generation < turn->record->generation);
}

static bool row_6_family_revoked(struct turn *turn)
{
    turn->out->superseded = presented_is_superseded(turn);
    if (turn->record != NULL && turn->record->state == PAWL_FAMILY_REVOKED) {
        return answer_revoked(turn, 6, turn->record->reason);
    }
    if (turn->hits->family.until_s != 0) { /* the fact may be here before the record is */
        return answer_revoked(turn, 6, turn->hits->family.reason);
    }
    turn->out->superseded = false;
    return false;
}

/*
 * A family that is known is judged by its birth alone: an API node whose clock is ahead mints
 * tokens with an iat after the cutoff, and a family from before it must not live on through them.
 * iat is for strangers.
 */
static bool cutoff_hits(const struct turn *turn, uint64_t cutoff_ms)
{
    int64_t iat_s = 0;
    bool has_iat = presented_iat(turn, &iat_s);

    if (cutoff_ms == 0) {
        return false;
    }
    if (turn->record != NULL) {
        return turn->record->born_ms <= cutoff_ms || cutoff_ms == PAWL_CUTOFF_ALL_MS;
    }
    return pawl_cutoff_hits(cutoff_ms, turn->hits->sid_birth_ms, has_iat, iat_s);
}

static bool row_7_token_revoked(struct turn *turn)
{
    if (turn->hits->token.until_s != 0) {
        return answer_revoked(turn, 7, turn->hits->token.reason);
    }
    for (unsigned scope = PAWL_SCOPE_SUBJECT; scope < PAWL_SCOPES; scope++) {
        const struct pawl_revocation *hit = &turn->hits->cutoffs[scope];

        if (cutoff_hits(turn, hit->cutoff_ms)) {
            return answer_revoked(turn, 7, hit->reason);
        }
    }
    return false;
}

static bool row_8_family_expired(struct turn *turn)
{
    return turn->record != NULL && pawl_family_has_ended(turn->record, turn->now->stamp) &&
           answer(turn, 8, PAWL_ROTATION_FAMILY_EXPIRED);
}

static uint64_t leeway_ms(const struct turn *turn)
{
    uint64_t leeway = turn->policy->leeway_ms;

    if (turn->request->has_leeway && turn->request->leeway_ms < leeway) {
        leeway = turn->request->leeway_ms;
    }
    return leeway < PAWL_ROTATION_LEEWAY_HARD_MS ? leeway : PAWL_ROTATION_LEEWAY_HARD_MS;
}

/* Advance the family in the effects to the proposed successor. */
static void effect_rotate(struct turn *turn)
{
    struct pawl_family *family = &turn->out->effects.family;
    const struct pawl_rotation_request *request = turn->request;

    turn->out->effects.write_family = true;
    family->prev = family->cur;
    family->superseded_ms = stamp_ms(turn);
    family->grace_until_ms = stamp_ms(turn) + leeway_ms(turn);
    family->grace_uses = 0;
    family->rotated_ms = stamp_ms(turn);
    family->generation++;
    family->cur.scope = request->proposed.scope;
    (void)pawl_name_set(&family->cur.value, request->proposed.value);
    family->cur.iat_s = proposed_iat(turn);
    family->cur.exp_s = request->proposed_exp_s;
    memcpy(family->cur.seed, request->proposed_seed, sizeof(family->cur.seed));
    if (family->abs_exp_s != 0 && (uint64_t)family->cur.exp_s > family->abs_exp_s) {
        family->cur.exp_s = (int64_t)family->abs_exp_s;
        turn->out->clamped = true;
    }
    memmove(family->jtis + 1, family->jtis, (PAWL_FAMILY_JTIS - 1) * sizeof(family->jtis[0]));
    family->jtis[0] = turn->proposed;
    if (family->jtis_count < PAWL_FAMILY_JTIS) {
        family->jtis_count++;
    }
}

static bool row_9_current(struct turn *turn)
{
    if (turn->position != 0) {
        return false;
    }
    effect_rotate(turn);
    return answer_successor(turn, 9, PAWL_ROTATION_ROTATED);
}

static bool row_10_retry(struct turn *turn)
{
    if (turn->position <= 0 ||
        !pawl_id_equal(turn->record->jtis[turn->position - 1], turn->proposed)) {
        return false;
    }
    return turn->position == 1 ? answer_successor(turn, 10, PAWL_ROTATION_ROTATED)
                               : answer(turn, 10, PAWL_ROTATION_RACED);
}

static bool is_in_grace(const struct turn *turn)
{
    const struct pawl_family *record = turn->record;
    uint64_t leeway = leeway_ms(turn);
    uint64_t until_ms =
        record->superseded_ms > UINT64_MAX - leeway ? UINT64_MAX : record->superseded_ms + leeway;

    if (record->grace_until_ms < until_ms) { /* as granted then, or less: it only shrinks */
        until_ms = record->grace_until_ms;
    }
    return until_ms > record->superseded_ms && stamp_ms(turn) <= until_ms;
}

static bool row_11_grace(struct turn *turn)
{
    if (turn->position != 1 || !is_in_grace(turn)) {
        return false;
    }
    if (turn->policy->mode == PAWL_ROTATION_SOFT ||
        turn->record->grace_uses >= PAWL_FAMILY_GRACE_MAX) {
        return answer(turn, 11, PAWL_ROTATION_RACED);
    }
    turn->out->effects.family.grace_uses++;
    turn->out->effects.write_family = true;
    return answer_successor(turn, 11, PAWL_ROTATION_GRACE);
}

static bool row_12_reuse(struct turn *turn)
{
    return turn->position > 0 && answer_reuse(turn, 12);
}

static bool carries_sid(const struct turn *turn)
{
    const struct pawl_name *sid = &turn->record->sid;

    return turn->request->sid.size == sid->size &&
           memcmp(turn->request->sid.data, sid->data, sid->size) == 0;
}

static bool row_13_stranger(struct turn *turn)
{
    const struct pawl_rotation_request *request = turn->request;

    if (turn->record == NULL || turn->position >= 0) {
        return false;
    }
    if (!request->has_generation) {
        return request->verified && carries_sid(turn) ? answer_reuse(turn, 13)
                                                      : answer(turn, 13, PAWL_ROTATION_UNKNOWN);
    }
    if (request->generation > turn->record->generation) { /* we lost state: never call it theft */
        turn->out->effects.event = PAWL_ROTATION_EVENT_LOST_STATE;
        return answer_unavailable(turn, 13);
    }
    return turn->record->generation - request->generation > 1
               ? answer_reuse(turn, 13)
               : answer(turn, 13, PAWL_ROTATION_UNKNOWN);
}

/* A token with a sid of ours is not from before pawl: its family was lost. */
static bool may_adopt(const struct turn *turn)
{
    const struct pawl_rotation_request *request = turn->request;

    return turn->record == NULL && turn->policy->adopt_until_s > 0 && request->adopt &&
           request->has_iat && request->iat_s > 0 && request->has_exp && request->exp_s > 0 &&
           request->iat_s <= turn->policy->adopt_until_s && turn->hits->sid_birth_ms == 0;
}

static bool row_14_unknown(struct turn *turn)
{
    return turn->record == NULL && !may_adopt(turn) && answer(turn, 14, PAWL_ROTATION_UNKNOWN);
}

/* A new family with the presented token as generation 0, in the effects. */
static bool effect_adopt(struct turn *turn)
{
    const struct pawl_rotation_request *request = turn->request;
    struct pawl_sid sid;
    struct pawl_family_open open = {
        .ns = request->ns,
        .issuer = request->issuer,
        .subject = request->subject,
        .client = request->client,
        .binding = request->binding,
        .scope = request->presented.scope,
        .value = request->presented.value,
        .iat_s = request->iat_s,
        .exp_s = request->exp_s,
        .born_ms = (uint64_t)request->iat_s * 1000,
        .family_max_s = turn->policy->family_max_s,
        .idle_max_s = turn->policy->idle_max_s,
    };

    pawl_rotation_adopted_sid(request, &turn->keys->adopt[0], &sid);
    open.sid = pawl_bytes_of(sid.text, PAWL_SID_TEXT);
    return pawl_family_init(&turn->out->effects.family, &open, turn->now->stamp, NULL) == PAWL_OK;
}

static bool row_15_adopt(struct turn *turn)
{
    struct pawl_rotation_effects *effects = &turn->out->effects;

    if (!effect_adopt(turn)) { /* cannot be: row 2 has checked every part */
        return answer_invalid(turn, PAWL_ROTATION_FAULT_CLAIM);
    }
    turn->out->sid = effects->family.sid;
    if (pawl_family_has_ended(&effects->family, turn->now->stamp)) {
        return answer(turn, 8, PAWL_ROTATION_FAMILY_EXPIRED);
    }
    effects->create_family = true;
    effect_rotate(turn);
    return answer_successor(turn, 15, PAWL_ROTATION_ADOPTED);
}

/* In the order of the rows; the first that applies answers, and the last one always does. */
static rotation_row *const rows[] = {
    row_1_closed,    row_2_malformed,      row_3_expired,       row_4_not_yet_valid,
    row_5_mismatch,  row_6_family_revoked, row_7_token_revoked, row_8_family_expired,
    row_9_current,   row_10_retry,         row_11_grace,        row_12_reuse,
    row_13_stranger, row_14_unknown,       row_15_adopt,
};

void pawl_rotation_decide(const struct pawl_family *record,
                          const struct pawl_rotation_request *request,
                          const struct pawl_rotation_hits *hits,
                          const struct pawl_rotation_policy *policy,
                          const struct pawl_token_keys *keys, const struct pawl_rotation_time *now,
                          enum pawl_rotation_gate gate, struct pawl_rotation_outcome *out)
{
    struct turn turn = {
        .request = request,
        .hits = hits,
        .policy = policy,
        .keys = keys,
        .now = now,
        .gate = gate,
        .out = out,
        .position = -1,
    };

    memset(out, 0, sizeof(*out));
    if (record != NULL && record->state != PAWL_FAMILY_NONE) {
        turn.record = record;
        out->effects.family = *record;
        out->generation = record->generation;
        out->sid = record->sid;
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i](&turn)) {
            break;
        }
    }
}

void pawl_rotation_unavailable(struct pawl_rotation_outcome *out)
{
    memset(out, 0, sizeof(*out));
    out->result = PAWL_ROTATION_UNAVAILABLE;
    out->row = 1;
    out->retry_after_ms = PAWL_ROTATION_RETRY_MS;
}
