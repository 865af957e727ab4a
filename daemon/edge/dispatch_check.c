#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "edge/dispatch.h"
#include "edge/pending.h"

/* ---- limits -------------------------------------------------------------------------------- */

static unsigned item_error(struct pawl_dispatch *dispatch, unsigned status, const char *text,
                           struct pawl_bytes name)
{
    (void)snprintf(dispatch->error, sizeof(dispatch->error), "%s '%.*s'", text,
                   (int)(name.size < 64 ? name.size : 64),
                   name.size > 0 ? (const char *)name.data : "");
    return status;
}

static unsigned inline_item(struct pawl_dispatch *dispatch, const struct pawl_wire_item *wire,
                            struct pawl_limit *inline_limit)
{
    struct pawl_rate *rates = inline_limit->rates;
    struct pawl_error error;

    if (wire->rate_count == 0) {
        return item_error(dispatch, PAWL__V1__STATUS__STATUS_INVALID,
                          "an item needs the name of a limit or a rate; key",
                          wire->key_count > 0 ? wire->key[0] : wire->limit);
    }
    for (unsigned i = 0; i < wire->rate_count; i++) {
        if (wire->rates[i].algorithm != PAWL__V1__ALGORITHM__ALGORITHM_SLIDING) {
            return item_error(dispatch, PAWL__V1__STATUS__STATUS_UNSUPPORTED,
                              "only sliding windows are known; rate of key", wire->key[0]);
        }
        rates[i].count = wire->rates[i].count;
        rates[i].window_ms = wire->rates[i].window_ms;
    }
    if (pawl_limit_init_inline(inline_limit, dispatch->app->limiter, rates, wire->rate_count,
                               wire->precision, &error) != PAWL_OK) {
        (void)snprintf(dispatch->error, sizeof(dispatch->error), "%.200s", error.text);
        return PAWL__V1__STATUS__STATUS_INVALID;
    }
    return 0;
}

static void item_fill(const struct pawl_dispatch *dispatch, const struct pawl_wire_item *wire,
                      const struct pawl_limit *limit, struct pawl_limit_item *item)
{
    item->limit = limit;
    item->ns = dispatch->ns;
    item->parts = wire->key;
    item->parts_count = wire->key_count;
    item->cost = wire->cost == 0 ? 1 : wire->cost;
    item->rates = NULL;
}

unsigned pawl_dispatch_item(struct pawl_dispatch *dispatch, const struct pawl_wire_item *wire,
                            struct pawl_limit *inline_limit, struct pawl_limit_item *item,
                            bool *exact)
{
    if (wire->limit.size > 0) {
        const struct pawl_rule *rule =
            pawl_rules_find(dispatch->rules, dispatch->ns, wire->limit, wire->tier);

        if (rule == NULL) {
            return item_error(dispatch, PAWL__V1__STATUS__STATUS_NOT_FOUND,
                              "no limit of this name in the settings of this namespace:",
                              wire->limit);
        }
        if (wire->rate_count > 0) {
            return item_error(dispatch, PAWL__V1__STATUS__STATUS_INVALID,
                              "rates come with the settings where a limit is named; limit",
                              wire->limit);
        }
        item_fill(dispatch, wire, &rule->limit, item);
        *exact = *exact || rule->exact;
    } else {
        unsigned status = inline_item(dispatch, wire, inline_limit);

        if (status != 0) {
            return status;
        }
        item_fill(dispatch, wire, inline_limit, item);
    }
    return 0;
}

/* A server asks for the same rate again and again: it is checked and copied once a batch. */
static bool is_as_before(const struct pawl_limit *before, const struct pawl_wire_item *wire)
{
    unsigned precision = wire->precision != 0 ? wire->precision : PAWL_PRECISION_DEFAULT;

    return before != NULL && wire->limit.size == 0 && wire->rate_count == 1 &&
           before->rates_count == 1 && before->rates[0].count == wire->rates[0].count &&
           before->rates[0].window_ms == wire->rates[0].window_ms &&
           before->precision == precision &&
           wire->rates[0].algorithm == PAWL__V1__ALGORITHM__ALGORITHM_SLIDING;
}

static unsigned build_items(struct pawl_dispatch *dispatch, bool *exact)
{
    const struct pawl_wire_request *request = &dispatch->request;

    if (request->item_count == 0 || request->op > PAWL_OP_PEEK || request->mode > PAWL_MODE_EACH) {
        return item_error(dispatch, PAWL__V1__STATUS__STATUS_INVALID,
                          request->item_count == 0 ? "a check needs at least one limit"
                                                   : "op or mode is not known",
                          pawl_bytes_of("", 0));
    }
    struct pawl_limit *inline_limits = &dispatch->inline_limits[dispatch->batch_limits];

    for (uint32_t i = 0; i < request->item_count; i++) {
        const struct pawl_wire_item *wire = &request->items[i];
        unsigned status;

        if (is_as_before(dispatch->last_inline, wire)) {
            item_fill(dispatch, wire, dispatch->last_inline, &dispatch->items[i]);
            continue;
        }
        status = pawl_dispatch_item(dispatch, wire, &inline_limits[i], &dispatch->items[i], exact);
        if (PAWL_UNLIKELY(status != 0)) {
            return status;
        }
        if (wire->limit.size == 0) {
            dispatch->last_inline = &inline_limits[i];
        }
    }
    return 0;
}

static void fill_results(struct pawl_dispatch *dispatch, const struct pawl_limiter_plan *plan)
{
    for (size_t i = 0; i < plan->slots_count; i++) {
        const struct pawl_limit_result *from = &dispatch->results[i];

        dispatch->wire_results[i] = (struct pawl_wire_result){
            .item = from->item,
            .rate_index = from->rate_index,
            .window_ms = from->window_ms,
            .limit_count = from->limit_count,
            .count = from->count,
            .remaining = from->remaining,
            .oldest_age_ms = from->oldest_age_ms,
            .reset_after_ms = from->reset_after_ms,
            .retry_after_ms = from->retry_after_ms,
            .charge = from->charge,
            .never = from->never,
            .allowed = from->allowed,
            .shadow = from->shadow,
            .overflow = from->overflow,
            .on_error = (uint8_t)plan->slots[i].limit->on_error,
        };
    }
}

static const char *check_error(enum pawl_status status)
{
    return status == PAWL_ETOOBIG
               ? "too many rates in one check, or a key longer than 1024 bytes"
               : "a key needs 1 to 8 parts, a cost lies below 2^40, and no key may stand twice "
                 "under the same limit and rate";
}

/* ---- consistency: exact -------------------------------------------------------------------- */

/* The answer was made before the job went out, and lies behind the records. */
static void exact_reply(struct pawl_pending *pending, struct pawl_session *session)
{
    const uint8_t *kept = pending->bytes + sizeof(pending->bytes) - pending->as.check.size;
    uint8_t *out;

    if (session == NULL) {
        return;
    }
    if (pending->job.status != PAWL_OK) {
        pawl_reply_error(session, pending->to.id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "charged, but the count could not be saved durably (consistency: exact)");
        return;
    }
    out = pawl_session_reserve(session, pending->as.check.size);
    if (out != NULL) {
        memcpy(out, kept, pending->as.check.size);
        pawl_session_commit(session, pending->as.check.size);
    }
}

static bool collect_exact(struct pawl_dispatch *dispatch, struct pawl_pending *pending)
{
    static _Thread_local uint8_t scratch[PAWL_RECORD_BYTES_MAX];
    struct pawl_record_sink sink = { pending->bytes, pending->used, sizeof(pending->bytes) };

    for (uint32_t i = 0; i < dispatch->request.item_count; i++) {
        if (pawl_limiter_collect_item(dispatch->app->limiter, &dispatch->items[i],
                                      dispatch->now.instant, scratch, pawl_record_append,
                                      &sink) != PAWL_OK) {
            return false;
        }
    }
    pending->used = sink.used;
    return true;
}

/*
 * Of two saved states of one record the later one in the file counts. So states go to the store in
 * the order in which they were taken from the table: a worker that was put aside between the two
 * would put an older state, without a charge that was answered meanwhile, behind a newer one.
 */
static void submit_exact(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         const struct pawl_wire_reply *reply)
{
    struct pawl_pending *pending = pawl_pending_take(dispatch, session, reply->id);
    size_t bound = pawl_wire_reply_bound(reply);

    if (pending == NULL || bound > PAWL_PENDING_BYTES - PAWL_EXACT_BYTES_MAX ||
        !collect_exact(dispatch, pending) || sizeof(pending->bytes) - pending->used < bound) {
        if (pending != NULL) {
            pawl_pending_give(pending);
        }
        pawl_count(&dispatch->metrics->unavailable);
        pawl_reply_error(session, reply->id, PAWL__V1__STATUS__STATUS_UNAVAILABLE,
                         "charged, but too large or too many to save durably at once");
        return;
    }
    uint8_t *end = pending->bytes + sizeof(pending->bytes);
    size_t size = pawl_wire_write_reply(end - bound, reply);

    memmove(end - size, end - bound, size);
    pending->as.check.size = size;
    pending->job.kind = PAWL_JOB_COUNTER;
    pending->job.record = pawl_bytes_of(pending->bytes, pending->used);
    pending->reply = exact_reply;
    (void)pawl_pending_submit(pending, session);
}

static void send_exact(struct pawl_dispatch *dispatch, struct pawl_session *session,
                       const struct pawl_wire_reply *reply)
{
    (void)pthread_mutex_lock(&dispatch->app->exact_order);
    submit_exact(dispatch, session, reply);
    (void)pthread_mutex_unlock(&dispatch->app->exact_order);
}

/* ---- check --------------------------------------------------------------------------------- */

static uint32_t joint_verdict(enum pawl_verdict limits, enum pawl_token_status token)
{
    if (limits == PAWL_DENY || token == PAWL_TOKEN_REVOKED || token == PAWL_TOKEN_EXPIRED ||
        token == PAWL_TOKEN_INVALID) {
        return PAWL_DENY;
    }
    return token == PAWL_TOKEN_VALID ? (uint32_t)limits : PAWL_UNDECIDED;
}

/* Decide one check and answer it. */
static void answer_check(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         struct pawl_check *check)
{
    struct pawl_limit_outcome outcome;
    struct pawl_wire_reply reply = {
        .id = check->id,
        .status = PAWL__V1__STATUS__STATUS_OK,
        .hello = check->hello,
        .body = PAWL_BODY_CHECK,
        .has_token = check->has_token,
        .results = dispatch->wire_results,
    };

    if (check->has_token) {
        reply.token = check->token;
    }
    pawl_limiter_decide(dispatch->app->limiter, &check->plan, dispatch->results, &outcome);
    reply.verdict = joint_verdict(outcome.verdict, check->token_status);
    reply.result_count = (uint32_t)outcome.results_count;
    fill_results(dispatch, &check->plan);
    if (reply.verdict == PAWL_DENY) {
        pawl_count(&dispatch->metrics->checks_denied);
    }
    if (PAWL_UNLIKELY(check->exact && check->plan.op == PAWL_OP_CHECK)) {
        send_exact(dispatch, session, &reply);
        return;
    }
    pawl_reply_hot(session, &reply);
}

void pawl_dispatch_flush(struct pawl_dispatch *dispatch, struct pawl_session *session)
{
    unsigned count = dispatch->batch_count;

    for (unsigned i = 0; count > 1 && i < count; i++) {
        pawl_limiter_warm(dispatch->app->limiter, &dispatch->batch[i].plan);
    }
    for (unsigned i = 0; i < count; i++) {
        answer_check(dispatch, session, &dispatch->batch[i]);
    }
    dispatch->batch_count = 0;
    dispatch->batch_slots = 0;
    dispatch->batch_limits = 0;
    dispatch->last_inline = NULL;
}

/* Hash the limits of the request at hand, behind those that were put off. */
static enum pawl_status prepare_check(struct pawl_dispatch *dispatch, struct pawl_check *check)
{
    const struct pawl_wire_request *request = &dispatch->request;
    struct pawl_limit_request ask = {
        .items = dispatch->items,
        .items_count = request->item_count,
        .mode = (enum pawl_limiter_mode)request->mode,
        /* A request that its token does not admit costs its caller nothing. */
        .op = check->token_status == PAWL_TOKEN_VALID ? (enum pawl_limiter_op)request->op
                                                      : PAWL_OP_PEEK,
        .now = dispatch->now.instant,
    };

    check->plan.slots = &dispatch->slots[dispatch->batch_slots];
    check->plan.slots_max = PAWL_LIMITER_SLOTS_MAX;
    return pawl_limiter_prepare(dispatch->app->limiter, &ask, &check->plan);
}

static void put_off(struct pawl_dispatch *dispatch, struct pawl_session *session,
                    const struct pawl_check *check)
{
    dispatch->batch_count++;
    dispatch->batch_slots += (unsigned)check->plan.slots_count;
    dispatch->batch_limits += dispatch->request.item_count;
    pawl_count(&dispatch->metrics->checks);
    if (dispatch->batch_slots >= PAWL_BATCH_SLOTS || check->exact || check->hello.size > 0) {
        pawl_dispatch_flush(dispatch, session);
    }
}

static void refuse_check(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         unsigned wire_status, const char *text)
{
    dispatch->last_inline = NULL; /* its place is the next check's */
    pawl_count(&dispatch->metrics->invalid);
    pawl_reply_error(session, dispatch->request.id, wire_status, text);
}

void pawl_dispatch_check(struct pawl_dispatch *dispatch, struct pawl_session *session,
                         struct pawl_bytes hello_reply)
{
    const struct pawl_wire_request *request = &dispatch->request;

    if (PAWL_UNLIKELY(!pawl_dispatch_may_check(dispatch, session))) {
        return;
    }
    pawl_token_make_room(dispatch, session);
    struct pawl_check *check = &dispatch->batch[dispatch->batch_count];

    check->exact = false;
    unsigned wire_status = build_items(dispatch, &check->exact);

    if (PAWL_UNLIKELY(wire_status != 0)) {
        refuse_check(dispatch, session, wire_status, dispatch->error);
        return;
    }
    check->id = request->id;
    check->hello = hello_reply;
    check->has_token = request->has_token;
    check->token_status =
        request->has_token ? pawl_token_judge(dispatch, session, &check->token) : PAWL_TOKEN_VALID;
    enum pawl_status status = prepare_check(dispatch, check);

    if (PAWL_UNLIKELY(status != PAWL_OK)) {
        refuse_check(dispatch, session, pawl_wire_status(status), check_error(status));
        return;
    }
    put_off(dispatch, session, check);
}
