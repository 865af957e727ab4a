/* Answers: libpawl's results into named tuples. They are lent, so everything is copied here. */
#include "native.h"

/* Whatever the bytes are, the same text sent back is the same bytes: as in reader.c. */
static PyObject *text_of(const char *data, size_t size)
{
    return PyUnicode_DecodeUTF8(data, (Py_ssize_t)size, "surrogateescape");
}

static PyObject *identifier(const struct pawl_text *text)
{
    return text_of(text->data, text->size);
}

static PyObject *chars(const char *text, size_t capacity)
{
    return text_of(text, strnlen(text, capacity));
}

static PyObject *bytes(const void *data, size_t size)
{
    return PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
}

static PyObject *truth(bool value)
{
    return value ? Py_True : Py_False; /* borrowed */
}

static PyObject *word(struct native_state *state, enum native_list list, unsigned value)
{
    return native_word(state, list, value);
}

PyObject *native_info(struct native_state *state, const struct pawl_info *info)
{
    if (info->source == PAWL_SOURCE_DAEMON && info->cause == PAWL_RC_OK &&
        (unsigned)info->effect < 3 && info->text[0] == '\0') {
        Py_INCREF(state->info_good[info->effect]);
        return state->info_good[info->effect];
    }
    return native_make(state, CLASS_INFO,
                       Py_BuildValue("(NNNN)", word(state, WORDS_SOURCE, info->source),
                                     word(state, WORDS_CAUSE, (unsigned)-(int)info->cause),
                                     word(state, WORDS_EFFECT, info->effect),
                                     chars(info->text, sizeof(info->text))));
}

static PyObject *fact_name(struct native_state *state, const struct pawl_fact_name *name)
{
    return native_make(state, CLASS_FACT_NAME,
                       Py_BuildValue("(NK)", bytes(name->origin, name->origin_size),
                                     (unsigned long long)name->sequence));
}

/* ---- rates and tokens -------------------------------------------------------------------- */

static PyObject *rate_answer(struct native_state *state, const struct pawl_rate_result *rate)
{
    return native_make(
        state, CLASS_RATE_ANSWER,
        Py_BuildValue("(IIIKKKKKKKOOOOOOON)", rate->item, rate->rate_index, rate->window_ms,
                      (unsigned long long)rate->limit_count, (unsigned long long)rate->count,
                      (unsigned long long)rate->remaining, (unsigned long long)rate->oldest_age_ms,
                      (unsigned long long)rate->reset_after_ms,
                      (unsigned long long)rate->retry_after_ms, (unsigned long long)rate->charge,
                      truth(rate->never), truth(rate->allowed), truth(rate->shadow),
                      truth(rate->overflow), truth(rate->contended), truth(rate->bypass),
                      truth(rate->full), word(state, WORDS_FAIL, rate->on_error)));
}

static PyObject *rate_answers(struct native_state *state, const struct pawl_rate_result *rates,
                              size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);

    for (size_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *one = rate_answer(state, &rates[i]);

        if (one == NULL || PyTuple_SetItem(tuple, (Py_ssize_t)i, one) != 0) {
            Py_CLEAR(tuple);
        }
    }
    return tuple;
}

static PyObject *claims_of(struct native_state *state, const struct pawl_token_answer *token)
{
    const struct pawl_claims *claims = token->claims;

    if (!token->has_claims || claims == NULL) {
        Py_INCREF(Py_None);
        return Py_None;
    }
    return native_make(state, CLASS_CLAIMS,
                       Py_BuildValue("(NNNNNNKK)", identifier(&claims->issuer),
                                     identifier(&claims->jti), identifier(&claims->subject),
                                     identifier(&claims->client), identifier(&claims->key),
                                     identifier(&claims->sid), (unsigned long long)claims->iat_s,
                                     (unsigned long long)claims->exp_s));
}

static PyObject *token_answer(struct native_state *state, const struct pawl_token_answer *token)
{
    return native_make(
        state, CLASS_TOKEN_ANSWER,
        Py_BuildValue("(NNNOKNN)", word(state, WORDS_TOKEN_STATE, token->status),
                      word(state, WORDS_WHY, token->reason), word(state, WORDS_SCOPE, token->scope),
                      truth(token->fresh), (unsigned long long)token->staleness_ms,
                      chars(token->detail, sizeof(token->detail)), claims_of(state, token)));
}

/* ---- by kind ----------------------------------------------------------------------------- */

NATIVE_ANSWER(check)
{
    const struct pawl_check_result *check = answer->of.check;
    PyObject *token;

    if (check->has_token) {
        token = token_answer(state, &check->token);
    } else {
        token = Py_None;
        Py_INCREF(token);
    }
    return native_make(state, CLASS_CHECK_ANSWER,
                       Py_BuildValue("(NNNNKO)", word(state, WORDS_OUTCOME, check->outcome),
                                     native_info(state, &check->info),
                                     rate_answers(state, check->rates, check->rate_count), token,
                                     (unsigned long long)check->retry_after_ms,
                                     truth(check->retry_never != 0)));
}

NATIVE_ANSWER(token_check)
{
    const struct pawl_token_check_result *check = answer->of.token_check;

    return native_make(state, CLASS_TOKEN_CHECK_ANSWER,
                       Py_BuildValue("(NN)", native_info(state, &check->info),
                                     token_answer(state, &check->token)));
}

NATIVE_ANSWER(refund)
{
    const struct pawl_refund_result *refund = answer->of.refund;
    PyObject *counts = PyTuple_New((Py_ssize_t)refund->item_count);

    for (uint32_t i = 0; counts != NULL && i < refund->item_count; i++) {
        PyObject *one = PyLong_FromUnsignedLongLong(refund->refunded[i]);

        if (one == NULL || PyTuple_SetItem(counts, (Py_ssize_t)i, one) != 0) {
            Py_CLEAR(counts);
        }
    }
    return native_make(state, CLASS_REFUND_ANSWER,
                       Py_BuildValue("(NN)", native_info(state, &refund->info), counts));
}

NATIVE_ANSWER(reset)
{
    const struct pawl_reset_result *reset = answer->of.reset;

    return native_make(state, CLASS_RESET_ANSWER,
                       Py_BuildValue("(NI)", native_info(state, &reset->info), reset->records));
}

NATIVE_ANSWER(reserve)
{
    const struct pawl_reserve_result *reserve = answer->of.reserve;
    size_t lease_size = reserve->granted > 0 ? PAWL_LEASE_BYTES : 0;

    return native_make(state, CLASS_RESERVE_ANSWER,
                       Py_BuildValue("(NNKNINKO)", word(state, WORDS_OUTCOME, reserve->outcome),
                                     native_info(state, &reserve->info),
                                     (unsigned long long)reserve->granted,
                                     bytes(reserve->lease, lease_size), reserve->lease_ms,
                                     rate_answers(state, reserve->rates, reserve->rate_count),
                                     (unsigned long long)reserve->retry_after_ms,
                                     truth(reserve->retry_never != 0)));
}

NATIVE_ANSWER(commit)
{
    const struct pawl_commit_result *commit = answer->of.commit;

    return native_make(state, CLASS_COMMIT_ANSWER,
                       Py_BuildValue("(NK)", native_info(state, &commit->info),
                                     (unsigned long long)commit->refunded));
}

NATIVE_ANSWER(revoke)
{
    const struct pawl_revoke_result *revoke = answer->of.revoke;

    return native_make(state, CLASS_REVOKE_ANSWER,
                       Py_BuildValue("(NNNNK)", native_info(state, &revoke->info),
                                     word(state, WORDS_LEVEL, revoke->acknowledged),
                                     word(state, WORDS_LEVEL, revoke->asked),
                                     fact_name(state, &revoke->id),
                                     (unsigned long long)revoke->until_s));
}

NATIVE_ANSWER(unrevoke)
{
    const struct pawl_unrevoke_result *unrevoke = answer->of.unrevoke;

    return native_make(state, CLASS_UNREVOKE_ANSWER,
                       Py_BuildValue("(NNIN)", native_info(state, &unrevoke->info),
                                     word(state, WORDS_LEVEL, unrevoke->acknowledged),
                                     unrevoke->canceled, fact_name(state, &unrevoke->id)));
}

NATIVE_ANSWER(family_open)
{
    const struct pawl_family_open_result *open = answer->of.family_open;

    return native_make(state, CLASS_FAMILY_OPEN_ANSWER,
                       Py_BuildValue("(NNNNKK)", native_info(state, &open->info),
                                     word(state, WORDS_LEVEL, open->acknowledged),
                                     identifier(&open->sid), identifier(&open->jti),
                                     (unsigned long long)open->exp_s,
                                     (unsigned long long)open->family_exp_s));
}

NATIVE_ANSWER(rotate)
{
    const struct pawl_rotate_result *rotate = answer->of.rotate;
    size_t digest_size = rotate->successor_is_opaque ? sizeof(rotate->successor_sha256) : 0;

    return native_make(
        state, CLASS_ROTATE_ANSWER,
        Py_BuildValue(
            "(NNNKNKKNNNOIIKNN)", native_info(state, &rotate->info),
            word(state, WORDS_REFRESH, rotate->result), word(state, WORDS_WHY, rotate->reason),
            (unsigned long long)rotate->generation, identifier(&rotate->successor),
            (unsigned long long)rotate->successor_iat_s,
            (unsigned long long)rotate->successor_exp_s, identifier(&rotate->sid),
            identifier(&rotate->subject), identifier(&rotate->proposed), truth(rotate->superseded),
            rotate->row, rotate->retry_after_ms, (unsigned long long)rotate->family_exp_s,
            bytes(rotate->successor_sha256, digest_size),
            bytes(rotate->successor_seed.data, rotate->successor_seed.size)));
}

/* ---- listings ---------------------------------------------------------------------------- */

static PyObject *limit_rates(struct native_state *state, const struct pawl_limit_info *limit)
{
    PyObject *rates = PyTuple_New((Py_ssize_t)limit->rate_count);

    for (uint32_t i = 0; rates != NULL && i < limit->rate_count; i++) {
        PyObject *rate =
            native_make(state, CLASS_RATE,
                        Py_BuildValue("(KI)", (unsigned long long)limit->rates[i].count,
                                      limit->rates[i].window_ms));

        if (rate == NULL || PyTuple_SetItem(rates, (Py_ssize_t)i, rate) != 0) {
            Py_CLEAR(rates);
        }
    }
    return rates;
}

static PyObject *limit_info(struct native_state *state, const struct pawl_limit_info *limit)
{
    return native_make(state, CLASS_LIMIT_INFO,
                       Py_BuildValue("(NNNINOONN)", chars(limit->name, sizeof(limit->name)),
                                     chars(limit->ns, sizeof(limit->ns)), limit_rates(state, limit),
                                     limit->precision, word(state, WORDS_FAIL, limit->on_error),
                                     truth(limit->count_denied), truth(limit->shadow),
                                     word(state, WORDS_ALGORITHM, limit->algorithm),
                                     chars(limit->when_full, sizeof(limit->when_full))));
}

NATIVE_ANSWER(limits)
{
    const struct pawl_limits_result *limits = answer->of.limits;
    PyObject *listed = PyTuple_New((Py_ssize_t)limits->limit_count);

    for (size_t i = 0; listed != NULL && i < limits->limit_count; i++) {
        PyObject *one = limit_info(state, &limits->limits[i]);

        if (one == NULL || PyTuple_SetItem(listed, (Py_ssize_t)i, one) != 0) {
            Py_CLEAR(listed);
        }
    }
    return native_make(state, CLASS_LIMITS_ANSWER,
                       Py_BuildValue("(NNO)", native_info(state, &limits->info), listed,
                                     truth(limits->more)));
}

static PyObject *figure(const struct pawl_stat_entry *stat)
{
    if (stat->is_text) {
        return chars(stat->text, sizeof(stat->text));
    }
    if (stat->is_flag) {
        return PyBool_FromLong(stat->value != 0);
    }
    return PyLong_FromUnsignedLongLong(stat->value);
}

NATIVE_ANSWER(stats)
{
    const struct pawl_stats_result *stats = answer->of.stats;
    PyObject *figures = PyDict_New();

    for (size_t i = 0; figures != NULL && i < stats->stat_count; i++) {
        PyObject *name = chars(stats->stats[i].name, sizeof(stats->stats[i].name));
        PyObject *value = name != NULL ? figure(&stats->stats[i]) : NULL;

        if (value == NULL || PyDict_SetItem(figures, name, value) != 0) {
            Py_CLEAR(figures);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return native_make(state, CLASS_STATS_ANSWER,
                       Py_BuildValue("(NN)", native_info(state, &stats->info), figures));
}

NATIVE_ANSWER(ping)
{
    return native_make(state, CLASS_PING_ANSWER,
                       Py_BuildValue("(N)", native_info(state, &answer->of.ping->info)));
}
