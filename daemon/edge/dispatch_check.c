#include <stdio.h>
#include <string.h>

#include "edge/forward.h"
#include "pawl/v1/hot_put.h"

/* ---- limits -------------------------------------------------------------------------------- */

/* A server asks for the same rate again and again: it is checked and copied once a batch. */
static bool is_as_before(const struct pawl_limit *before, const struct pawl_wire_item *wire)
{
    unsigned precision = wire->precision != 0 ? wire->precision : PAWL_PRECISION_DEFAULT;

    return before != NULL && wire->limit.size == 0 && wire->rate_count == 1 &&
           before->rates_count == 1 && before->rates[0].count == wire->rates[0].count &&
           before->rates[0].window_ms == wire->rates[0].window_ms &&
           before->precision == precision && before->algorithm == PAWL_ALGORITHM_SLIDING &&
           (wire->rates[0].algorithm | wire->rates[0].burst | wire->rates[0].period) == 0;
}

static unsigned bad_check(struct pawl_dispatch *dispatch, const char *text)
{
    (void)snprintf(dispatch->error, sizeof(dispatch->error), "%s", text);
    return PAWL__V1__STATUS__STATUS_INVALID;
}

static unsigned build_items(struct pawl_dispatch *dispatch, struct pawl_check *check)
{
    const struct pawl_wire_request *request = &dispatch->request;

    if (request->item_count == 0 || request->op > PAWL_OP_PEEK || request->mode > PAWL_MODE_EACH) {
        return bad_check(dispatch, request->item_count == 0 ? "a check needs at least one limit"
                                                            : "op or mode is not known");
    }
    struct pawl_limit *inline_limits = &dispatch->inline_limits[dispatch->batch_limits];

    for (uint32_t i = 0; i < request->item_count; i++) {
        const struct pawl_wire_item *wire = &request->items[i];
        struct pawl_item_kind kind;
        unsigned status;

        if (is_as_before(dispatch->last_inline, wire)) {
            pawl_dispatch_item_fill(dispatch, wire, dispatch->last_inline, &dispatch->items[i]);
            continue;
        }
        status = pawl_dispatch_item(dispatch, wire, &inline_limits[i], &dispatch->items[i], &kind);
        if (PAWL_UNLIKELY(status != 0)) {
            return status;
        }
        check->exact = check->exact || (kind.exact && !kind.bypass);
        check->bypassed |= (uint64_t)kind.bypass << i;
        if (wire->limit.size == 0) {
            dispatch->last_inline = &inline_limits[i];
        }
    }
    return 0;
}

/* ---- answers ------------------------------------------------------------------------------- */

static inline struct pawl_wire_result wire_result(const struct pawl_limit_result *from,
                                                  const struct pawl_limit *limit)
{
    return (struct pawl_wire_result){
        .limit_count = from->limit_count,
        .count = from->count,
        .remaining = from->remaining,
        .oldest_age_ms = from->oldest_age_ms,
        .reset_after_ms = from->reset_after_ms,
        .retry_after_ms = from->retry_after_ms,
        .charge = from->charge,
        .window_ms = from->window_ms,
        .item = from->item,
        .rate_index = from->rate_index,
        .never = from->never,
        .allowed = from->allowed,
        .shadow = from->shadow,
        .overflow = from->overflow,
        .full = from->full,
        .on_error = (uint8_t)limit->on_error,
    };
}

struct pawl_wire_result pawl_dispatch_wire_result(const struct pawl_limit_result *from,
                                                  const struct pawl_limit *limit)
{
    return wire_result(from, limit);
}

/*
 * A denial, for those who look on. The key is read again out of the message, which is there until
 * the batch ends: keeping the keys of all checks for the few that are denied would cost more.
 */
static void note_denied(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_check *check, size_t slot, unsigned item)
{
    struct pawl_wire_request *again = &dispatch->again;
    const struct pawl_limit *limit = check->plan.slots[slot].limit;
    struct pawl_denial denial = {
        .id = check->plan.slots[slot].id,
        .place = pawl_rule_place(limit),
        .ns = check->ns,
    };
    bool wants_key = pawl_dispatch_denied_again(dispatch, &denial);

    if (!wants_key) {
        return;
    }
    if (!check->reread) {
        check->reread = pawl_wire_read_request(again, check->message) == PAWL_OK;
    }
    item = check->bypassed != 0 ? dispatch->asked_index[item] : item;
    if (check->reread && item < again->item_count) {
        denial.parts = again->items[item].key;
        denial.parts_count = again->items[item].key_count;
        pawl_dispatch_denied(dispatch, session, &denial, limit);
    }
}

/* The item with the results @first to before @end counts for its limit's figures. */
static inline void count_item(struct pawl_dispatch *dispatch, struct pawl_session *session,
                              struct pawl_check *check, size_t first, size_t end)
{
    const struct pawl_limit_result *results = dispatch->results;
    const struct pawl_limit *limit = check->plan.slots[first].limit;
    bool refused = !results[first].allowed;
    bool overflow = results[first].overflow;

    for (size_t i = first + 1; i < end; i++) {
        refused = refused || !results[i].allowed;
        overflow = overflow || results[i].overflow;
    }
    pawl_dispatch_count(dispatch, limit, refused, overflow);
    if (PAWL_UNLIKELY(refused && !limit->shadow)) {
        note_denied(dispatch, session, check, first, results[first].item);
    }
}

static void count_items(struct pawl_dispatch *dispatch, struct pawl_session *session,
                        struct pawl_check *check, size_t count)
{
    for (size_t first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && dispatch->results[end].item == dispatch->results[first].item) {
            end++;
        }
        count_item(dispatch, session, check, first, end);
    }
}

/* Whether a denial is due to a charge that may be given back. */
static inline void note_contended(struct pawl_dispatch *dispatch, const struct pawl_check *check,
                                  size_t slot, struct pawl_wire_result *result)
{
    if (PAWL_UNLIKELY(!result->allowed) && PAWL_UNLIKELY(dispatch->forward != NULL)) {
        result->contended = pawl_forward_is_contended(dispatch, check->plan.slots[slot].id);
    }
}

/* The results of the limiter as those of the wire. */
static void fill_results(struct pawl_dispatch *dispatch, const struct pawl_check *check,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dispatch->wire_results[i] = wire_result(&dispatch->results[i], check->plan.slots[i].limit);
        note_contended(dispatch, check, i, &dispatch->wire_results[i]);
    }
}

/* Put the results of bypassed items between those of the limiter; returns how many there are. */
static uint32_t join_bypassed(struct pawl_dispatch *dispatch, const struct pawl_check *check,
                              uint32_t count)
{
    struct pawl_wire_result asked[PAWL_RESULTS_MAX];
    uint32_t at = 0, out = 0;

    memcpy(asked, dispatch->wire_results, count * sizeof(asked[0]));
    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        if ((check->bypassed >> i & 1) != 0) {
            out += pawl_dispatch_bypassed(dispatch, i, check->plan.op == PAWL_OP_CHECK,
                                          &dispatch->wire_results[out]);
            continue;
        }
        while (at < count && dispatch->asked_index[asked[at].item] == i) {
            dispatch->wire_results[out] = asked[at++];
            dispatch->wire_results[out++].item = i;
        }
    }
    return out;
}

static const char *check_error(enum pawl_status status)
{
    return status == PAWL_ETOOBIG
               ? "too many rates in one check, or a key longer than 1024 bytes"
               : "a key needs 1 to 8 parts, a cost lies below 2^40, and no key may stand twice "
                 "under the same limit and rate";
}

/* A check that has to be answered before the items of the next one take the place of its own. */
static bool is_urgent(const struct pawl_check *check)
{
    return check->exact || check->bypassed != 0 || check->hello.size > 0;
}

/* ---- check --------------------------------------------------------------------------------- */

static void send_exact(struct pawl_dispatch *dispatch, struct pawl_session *session,
                       const struct pawl_check *check, const struct pawl_wire_reply *reply)
{
    uint8_t bytes[PAWL_EXACT_REPLY_MAX];
    bool fits = pawl_wire_reply_bound(reply) <= sizeof(bytes);
    size_t size = fits ? pawl_wire_write_reply(bytes, reply) : 0;

    /* Such a check is not put off: its items are still there. */
    pawl_dispatch_exact(dispatch, session, reply->id,
                        check->bypassed != 0 ? dispatch->asked : dispatch->items,
                        dispatch->asked_count, pawl_bytes_of(bytes, size));
}

uint32_t pawl_dispatch_joint_verdict(enum pawl_verdict limits, enum pawl_token_status token)
{
    if (limits == PAWL_DENY || token == PAWL_TOKEN_REVOKED || token == PAWL_TOKEN_EXPIRED ||
        token == PAWL_TOKEN_INVALID) {
        return PAWL_DENY;
    }
    return token == PAWL_TOKEN_VALID ? (uint32_t)limits : PAWL_UNDECIDED;
}

/* The answer to a check that has more to it than limits. */
static __attribute__((noinline)) void send_more(struct pawl_dispatch *dispatch,
                                                struct pawl_session *session,
                                                const struct pawl_check *check, uint32_t verdict,
                                                uint32_t count)
{
    struct pawl_wire_reply reply = {
        .id = check->id,
        .status = PAWL__V1__STATUS__STATUS_OK,
        .hello = check->hello,
        .body = PAWL_BODY_CHECK,
        .has_token = check->has_token,
        .verdict = verdict,
        .results = dispatch->wire_results,
        .result_count = count,
    };

    fill_results(dispatch, check, count);
    if (check->has_token) {
        reply.token = check->token;
    }
    if (check->bypassed != 0) {
        reply.result_count = join_bypassed(dispatch, check, count);
    }
    if (check->exact && check->plan.op == PAWL_OP_CHECK) {
        send_exact(dispatch, session, check, &reply);
        return;
    }
    pawl_reply_hot(session, &reply);
}

static inline void send_limits(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               const struct pawl_check *check, uint32_t verdict, uint32_t count)
{
    uint8_t *out = pawl_session_reserve(session, PAWL_WIRE_CHECK_BYTES(count));

    if (PAWL_UNLIKELY(out == NULL)) {
        return;
    }
    struct pawl_wire_answer answer =
        pawl_wire_answer_begin(out, check->id, PAWL__V1__STATUS__STATUS_OK, verdict);

    for (uint32_t i = 0; i < count; i++) {
        struct pawl_wire_result result =
            wire_result(&dispatch->results[i], check->plan.slots[i].limit);

        note_contended(dispatch, check, i, &result);
        pawl_wire_answer_add(&answer, &result);
    }
    pawl_session_commit(session, pawl_wire_answer_end(&answer));
}

/* Decide one check and answer it. */
static void answer_check(struct pawl_dispatch *dispatch, struct pawl_check *check)
{
    struct pawl_session *session = check->session;
    struct pawl_limit_outcome outcome = { PAWL_ALLOW, 0 }; /* of a check of bypassed keys alone */

    if (PAWL_LIKELY(check->plan.slots_count > 0)) {
        pawl_limiter_decide(dispatch->app->limiter, &check->plan, dispatch->results, &outcome);
    }
    if (PAWL_UNLIKELY(check->held) && outcome.verdict == PAWL_ALLOW) {
        pawl_forward_hold(dispatch, check);
    }
    uint32_t verdict = pawl_dispatch_joint_verdict(outcome.verdict, check->token_status);

    if (PAWL_LIKELY(outcome.results_count == 1 && check->plan.op == PAWL_OP_CHECK)) {
        count_item(dispatch, session, check, 0, 1);
    } else if (check->plan.op == PAWL_OP_CHECK) {
        count_items(dispatch, session, check, outcome.results_count);
    }
    if (verdict == PAWL_DENY) {
        pawl_count(&dispatch->metrics->checks_denied);
    }
    if (PAWL_UNLIKELY(check->has_token || is_urgent(check))) {
        send_more(dispatch, session, check, verdict, (uint32_t)outcome.results_count);
    } else {
        send_limits(dispatch, session, check, verdict, (uint32_t)outcome.results_count);
    }
}

void pawl_dispatch_flush(struct pawl_dispatch *dispatch)
{
    unsigned count = dispatch->batch_count;

    bool is_cold = count > 1 && !pawl_limiter_is_small(dispatch->app->limiter);

    for (unsigned i = 0; is_cold && i < count; i++) {
        pawl_limiter_warm(dispatch->app->limiter, &dispatch->batch[i].plan);
    }
    for (unsigned i = 0; i < count; i++) {
        answer_check(dispatch, &dispatch->batch[i]);
    }
    dispatch->batch_count = 0;
    dispatch->batch_slots = 0;
    dispatch->batch_limits = 0;
    dispatch->last_inline = NULL;
}

/* The items that are counted, together: those of keys that are never limited are left out. Returns
 * how many results there will be. */
static size_t leave_out_bypassed(struct pawl_dispatch *dispatch, const struct pawl_check *check)
{
    size_t rates = 0;

    dispatch->asked_count = 0;
    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        rates += dispatch->items[i].limit->rates_count;
        if ((check->bypassed >> i & 1) == 0) {
            dispatch->asked_index[dispatch->asked_count] = (uint8_t)i;
            dispatch->asked[dispatch->asked_count++] = dispatch->items[i];
        }
    }
    return rates;
}

enum pawl_status pawl_dispatch_prepare_check(struct pawl_dispatch *dispatch,
                                             struct pawl_check *check)
{
    const struct pawl_wire_request *request = &dispatch->request;

    dispatch->asked_count = request->item_count;
    if (PAWL_UNLIKELY(check->bypassed != 0) &&
        leave_out_bypassed(dispatch, check) > PAWL_RESULTS_MAX) {
        return PAWL_ETOOBIG;
    }
    struct pawl_limit_request ask = {
        .items = check->bypassed != 0 ? dispatch->asked : dispatch->items,
        .items_count = dispatch->asked_count,
        .mode = (enum pawl_limiter_mode)request->mode,
        /* A request that its token does not admit costs its caller nothing. */
        .op = check->token_status == PAWL_TOKEN_VALID ? (enum pawl_limiter_op)request->op
                                                      : PAWL_OP_PEEK,
        .now = dispatch->now.instant,
        .wall = dispatch->now.wall,
    };

    check->plan.slots = &dispatch->slots[dispatch->batch_slots];
    check->plan.slots_max = PAWL_LIMITER_SLOTS_MAX;
    check->plan.beginnings = &dispatch->beginnings;
    if (PAWL_UNLIKELY(dispatch->asked_count == 0)) {
        check->plan.slots_count = 0;
        check->plan.op = ask.op;
        return PAWL_OK;
    }
    return pawl_limiter_prepare(dispatch->app->limiter, &ask, &check->plan);
}

static void put_off(struct pawl_dispatch *dispatch, const struct pawl_check *check)
{
    dispatch->batch_count++;
    dispatch->batch_slots += (unsigned)check->plan.slots_count;
    dispatch->batch_limits += dispatch->request.item_count;
    pawl_count(&dispatch->metrics->checks);
    if (dispatch->batch_slots >= PAWL_BATCH_SLOTS || is_urgent(check)) {
        pawl_dispatch_flush(dispatch);
    }
}

void pawl_dispatch_decide_now(struct pawl_dispatch *dispatch, const struct pawl_check *check)
{
    if (check != &dispatch->batch[dispatch->batch_count]) { /* others were decided meanwhile */
        dispatch->batch[dispatch->batch_count] = *check;
        check = &dispatch->batch[dispatch->batch_count];
    }
    put_off(dispatch, check);
    pawl_dispatch_flush(dispatch);
}

static void refuse_check(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         unsigned wire_status, const char *text)
{
    dispatch->last_inline = NULL; /* its place is the next check's */
    pawl_count(&dispatch->metrics->invalid);
    pawl_reply_error(session, dispatch->request.id, wire_status, text);
}

/* The check at hand goes away, and its places are the next one's. What lies in the first of them
 * may be used again: it changes only when that one's first item is made anew, and then it is that.
 */
static void leave_places(struct pawl_dispatch *dispatch)
{
    if (dispatch->last_inline > &dispatch->inline_limits[dispatch->batch_limits]) {
        dispatch->last_inline = NULL;
    }
}

/* In a cluster: prepare @check. False: it is for another member, or was refused. */
static inline bool is_for_here(struct pawl_dispatch *dispatch, struct pawl_session *session,
                               struct pawl_check *check)
{
    enum pawl_status status;

    check->plan.ownership = pawl_forward_stop_at(dispatch, check);
    status = pawl_dispatch_prepare_check(dispatch, check);
    if (PAWL_LIKELY(status == PAWL_OK && pawl_forward_is_ours(dispatch, check))) {
        return true;
    }
    if (status != PAWL_OK && status != PAWL_EAGAIN) {
        refuse_check(dispatch, session, pawl_wire_status(status), check_error(status));
        return false;
    }
    leave_places(dispatch);
    pawl_forward_check(dispatch, session, check);
    return false;
}

void pawl_dispatch_check(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         struct pawl_bytes message, struct pawl_bytes hello_reply)
{
    const struct pawl_wire_request *request = &dispatch->request;

    if (PAWL_UNLIKELY(!pawl_dispatch_may_check(dispatch, session))) {
        return;
    }
    if (request->has_token) {
        pawl_token_make_room(dispatch);
    }
    struct pawl_check *check = &dispatch->batch[dispatch->batch_count];

    check->session = session;
    check->exact = false;
    check->held = request->hold && request->forwarded && request->op == PAWL_OP_CHECK;
    check->bypassed = 0;
    check->reread = false;
    check->ns = dispatch->ns;
    check->message = message;
    unsigned wire_status = build_items(dispatch, check);

    if (PAWL_UNLIKELY(wire_status != 0)) {
        refuse_check(dispatch, session, wire_status, dispatch->error);
        return;
    }
    check->id = request->id;
    check->hello = hello_reply;
    check->has_token = request->has_token;
    check->token_status =
        request->has_token ? pawl_token_judge(dispatch, session, &check->token) : PAWL_TOKEN_VALID;
    if (PAWL_UNLIKELY(dispatch->forward != NULL)) {
        if (!is_for_here(dispatch, session, check)) {
            return;
        }
    } else {
        enum pawl_status status = pawl_dispatch_prepare_check(dispatch, check);

        if (PAWL_UNLIKELY(status != PAWL_OK)) {
            refuse_check(dispatch, session, pawl_wire_status(status), check_error(status));
            return;
        }
    }
    put_off(dispatch, check);
}
