/* Loading: the classes and words of pawl._types, looked up once. */
#include "native.h"

#include <stddef.h>

/*
 * Fields are read and made by their place. So both sides have to be of one release, which is
 * looked at here: a module of another one is refused, rather than misread.
 */
static const struct {
    const char *name;
    const char *fields;
} classes[CLASS_COUNT] = {
    [CLASS_RATE] = { "Rate", "count window_ms" },
    [CLASS_ITEM] = { "Item", "key rates limit cost on_error precision tier algorithm burst" },
    [CLASS_TOKEN] = { "Token", "issuer jti subject client key sid iat_s exp_s opaque signed_text "
                               "raw audience type" },
    [CLASS_CHECK_REQUEST] = { "CheckRequest", "items token peek each namespace" },
    [CLASS_TOKEN_CHECK_REQUEST] = { "TokenCheckRequest", "token namespace" },
    [CLASS_REFUND_ITEM] = { "RefundItem", "item charges" },
    [CLASS_REFUND_REQUEST] = { "RefundRequest", "items namespace" },
    [CLASS_RESET_REQUEST] = { "ResetRequest", "item namespace" },
    [CLASS_RESERVE_REQUEST] = { "ReserveRequest", "items min max lease_ms namespace" },
    [CLASS_COMMIT_REQUEST] = { "CommitRequest", "lease used namespace" },
    [CLASS_CANCEL_REQUEST] = { "CancelRequest", "lease namespace" },
    [CLASS_REVOKE_REQUEST] = { "RevokeRequest", "scope value reason issuer before_ms exp_s actor "
                                                "level hashed namespace" },
    [CLASS_FACT_NAME] = { "FactName", "origin sequence" },
    [CLASS_UNREVOKE_REQUEST] = { "UnrevokeRequest", "ids actor level namespace" },
    [CLASS_FAMILY_OPEN_REQUEST] = { "FamilyOpenRequest",
                                    "subject exp_s jti opaque issuer client binding iat_s level "
                                    "namespace" },
    [CLASS_FAMILY_END_REQUEST] = { "FamilyEndRequest",
                                   "sid issuer reason actor exp_s level namespace" },
    [CLASS_ROTATE_REQUEST] = { "RotateRequest",
                               "presented next_exp_s next_jti next_opaque next_seed next_iat_s "
                               "generation leeway_ms adopt verified binding request_id level "
                               "namespace" },
    [CLASS_LIMITS_REQUEST] = { "LimitsRequest", "limit after namespace" },
    [CLASS_STATS_REQUEST] = { "StatsRequest", "prefix namespace" },
    [CLASS_PING_REQUEST] = { "PingRequest", "namespace" },
    [CLASS_INFO] = { "Info", "source cause effect text" },
    [CLASS_RATE_ANSWER] = { "RateAnswer",
                            "item rate_index window_ms limit count remaining oldest_age_ms "
                            "reset_after_ms retry_after_ms charge never allowed shadow overflow "
                            "contended bypass full on_error" },
    [CLASS_CLAIMS] = { "Claims", "issuer jti subject client key sid iat_s exp_s" },
    [CLASS_TOKEN_ANSWER] = { "TokenAnswer",
                             "status reason scope fresh staleness_ms detail claims" },
    [CLASS_CHECK_ANSWER] = { "CheckAnswer", "outcome info rates token retry_after_ms never" },
    [CLASS_TOKEN_CHECK_ANSWER] = { "TokenCheckAnswer", "info token" },
    [CLASS_REFUND_ANSWER] = { "RefundAnswer", "info refunded" },
    [CLASS_RESET_ANSWER] = { "ResetAnswer", "info records" },
    [CLASS_RESERVE_ANSWER] = { "ReserveAnswer",
                               "outcome info granted lease lease_ms rates retry_after_ms never" },
    [CLASS_COMMIT_ANSWER] = { "CommitAnswer", "info refunded" },
    [CLASS_REVOKE_ANSWER] = { "RevokeAnswer", "info acknowledged asked id until_s" },
    [CLASS_UNREVOKE_ANSWER] = { "UnrevokeAnswer", "info acknowledged canceled id" },
    [CLASS_FAMILY_OPEN_ANSWER] = { "FamilyOpenAnswer",
                                   "info acknowledged sid jti exp_s family_exp_s" },
    [CLASS_ROTATE_ANSWER] = { "RotateAnswer",
                              "info result reason generation successor successor_iat_s "
                              "successor_exp_s sid subject proposed superseded row "
                              "retry_after_ms family_exp_s successor_sha256 successor_seed" },
    [CLASS_LIMIT_INFO] = { "LimitInfo",
                           "name namespace rates precision on_error count_denied shadow "
                           "algorithm when_full" },
    [CLASS_LIMITS_ANSWER] = { "LimitsAnswer", "info limits more" },
    [CLASS_STATS_ANSWER] = { "StatsAnswer", "info figures" },
    [CLASS_PING_ANSWER] = { "PingAnswer", "info" },
    [CLASS_HANDLE_OPTIONS] = { "HandleOptions",
                               "addresses namespace name check_deadline_ms durable_deadline_ms "
                               "in_flight_max tls_ca tls_certificate tls_key tls_name "
                               "credential_id credential credential_file insecure" },
};

static const char *const algorithms[] = { "sliding", "gcra", "calendar", "concurrency" };

/** libpawl's word; where 0 means that there is none, Python says "" or what nothing amounts to. */
static const char *text_of(enum native_list list, unsigned value)
{
    switch (list) {
    case WORDS_OUTCOME:
        return value == 0 ? "undecided" : pawl_outcome_text((enum pawl_outcome)value);
    case WORDS_FAIL:
        return value == 0 ? "" : pawl_fail_text((enum pawl_fail)value);
    case WORDS_SOURCE:
        return pawl_source_text((enum pawl_source)value);
    case WORDS_EFFECT:
        return pawl_effect_text((enum pawl_effect)value);
    case WORDS_TOKEN_STATE:
        return value == 0 ? "undecided" : pawl_token_state_text((enum pawl_token_state)value);
    case WORDS_SCOPE:
        return value == 0 ? "" : pawl_revoke_scope_text((enum pawl_revoke_scope)value);
    case WORDS_WHY:
        return value == 0 ? "" : pawl_why_text((enum pawl_why)value);
    case WORDS_LEVEL:
        return value == 0 ? "" : pawl_level_text((enum pawl_level)value);
    case WORDS_REFRESH:
        return value == 0 ? "unavailable" : pawl_refresh_text((enum pawl_refresh)value);
    case WORDS_ALGORITHM:
        return value < sizeof(algorithms) / sizeof(algorithms[0]) ? algorithms[value] : "unknown";
    case WORDS_CAUSE: /* one of a later libpawl: those of today are in the table */
    case WORDS_COUNT:
        break;
    }
    return "unavailable";
}

PyObject *native_word(struct native_state *state, enum native_list list, unsigned value)
{
    if (value < NATIVE_WORDS_MAX && state->words[list][value] != NULL) {
        Py_INCREF(state->words[list][value]);
        return state->words[list][value];
    }
    return PyUnicode_FromString(text_of(list, value));
}

PyObject *native_make(struct native_state *state, enum native_class which, PyObject *values)
{
    PyObject *made;

    if (values == NULL) {
        return NULL;
    }
    made = PyObject_CallFunctionObjArgs(state->tuple_new, state->classes[which], values, NULL);
    Py_DECREF(values);
    return made;
}

/* ---- looking up -------------------------------------------------------------------------- */

static int check_fields(PyObject *class, const char *name, const char *wanted)
{
    PyObject *fields = PyObject_GetAttrString(class, "_fields");
    PyObject *space = PyUnicode_FromString(" ");
    PyObject *joined = fields != NULL && space != NULL ? PyUnicode_Join(space, fields) : NULL;
    int good = -1;

    if (joined != NULL) {
        good = PyUnicode_CompareWithASCIIString(joined, wanted) == 0 ? 0 : -1;
        if (good != 0) {
            PyErr_Format(PyExc_ImportError,
                         "pawl._native and pawl._types are of different releases: %s has (%U), "
                         "built for (%s); build the extension again",
                         name, joined, wanted);
        }
    }
    Py_XDECREF(fields);
    Py_XDECREF(space);
    Py_XDECREF(joined);
    return good;
}

static int find_classes(struct native_state *state)
{
    PyObject *types = PyImport_ImportModule("pawl._types");

    for (unsigned i = 0; types != NULL && i < CLASS_COUNT; i++) {
        PyObject *class = PyObject_GetAttrString(types, classes[i].name);

        state->classes[i] = class;
        if (class == NULL || check_fields(class, classes[i].name, classes[i].fields) != 0) {
            Py_CLEAR(types);
        }
    }
    Py_XDECREF(types);
    state->tuple_new = PyObject_GetAttrString((PyObject *)&PyTuple_Type, "__new__");
    return types != NULL && state->tuple_new != NULL ? 0 : -1;
}

/* Words of one list until libpawl knows no further one. */
static int find_words(struct native_state *state, enum native_list list)
{
    for (unsigned value = 0; value < NATIVE_WORDS_MAX; value++) {
        const char *text = text_of(list, value);

        if (strcmp(text, "unknown") == 0 && list != WORDS_REFRESH && list != WORDS_EFFECT) {
            break;
        }
        state->words[list][value] = PyUnicode_InternFromString(text);
        if (state->words[list][value] == NULL) {
            return -1;
        }
    }
    return 0;
}

/* Causes are pawl.errors.CAUSES: errors look them up there, by the same words. */
static int find_causes(struct native_state *state)
{
    PyObject *errors = PyImport_ImportModule("pawl.errors");
    PyObject *causes = errors != NULL ? PyObject_GetAttrString(errors, "CAUSES") : NULL;
    int good = causes != NULL ? 0 : -1;

    for (int i = 0; good == 0 && i < NATIVE_WORDS_MAX; i++) {
        PyObject *code = PyLong_FromLong(-i);
        PyObject *word = code != NULL ? PyDict_GetItemWithError(causes, code) : NULL;

        Py_XDECREF(code);
        Py_XINCREF(word);
        state->words[WORDS_CAUSE][i] = word;
        good = PyErr_Occurred() == NULL ? 0 : -1;
    }
    if (good == 0 && state->words[WORDS_CAUSE][0] == NULL) {
        PyErr_SetString(PyExc_ImportError, "pawl.errors.CAUSES has no word for 0");
        good = -1;
    }
    Py_XDECREF(causes);
    Py_XDECREF(errors);
    return good;
}

static int make_infos(struct native_state *state)
{
    for (unsigned effect = 0; effect < 3; effect++) {
        PyObject *values =
            Py_BuildValue("(NNNs)", native_word(state, WORDS_SOURCE, PAWL_SOURCE_DAEMON),
                          native_word(state, WORDS_CAUSE, 0),
                          native_word(state, WORDS_EFFECT, effect), "");

        state->info_good[effect] = native_make(state, CLASS_INFO, values);
        if (state->info_good[effect] == NULL) {
            return -1;
        }
    }
    return 0;
}

/* Answers that need no memory, for when there is none: what a result of all zeros says. */
static int make_no_memory(struct native_state *state)
{
    for (unsigned i = 0; i < NATIVE_CALLS; i++) {
        union native_result result;
        struct pawl_info info;
        struct pawl_answer answer;

        memset(&result, 0, sizeof(result));
        memset(&info, 0, sizeof(info));
        memset(&answer, 0, sizeof(answer));
        info.cause = PAWL_RC_NOMEM;
        info.effect = PAWL_EFFECT_UNKNOWN;
        (void)snprintf(info.text, sizeof(info.text), "no memory for the answer");
        memcpy((uint8_t *)&result + native_kinds[i].info_at, &info, sizeof(info));
        answer.of.check = &result.check;
        state->no_memory[i] = native_kinds[i].answer(state, &answer);
        if (state->no_memory[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

/* ---- the module -------------------------------------------------------------------------- */

static int module_exec(PyObject *module)
{
    struct native_state *state = PyModule_GetState(module);

    if (find_classes(state) != 0 || find_causes(state) != 0) {
        return -1;
    }
    for (unsigned list = 0; list < WORDS_CAUSE; list++) {
        if (find_words(state, (enum native_list)list) != 0) {
            return -1;
        }
    }
    if (make_infos(state) != 0 || make_no_memory(state) != 0 ||
        native_add_handle(module, state) != 0) {
        return -1;
    }
    return PyModule_AddStringConstant(module, "libpawl_version", pawl_client_version());
}

/* The state is nothing but references. */
static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct native_state *state = PyModule_GetState(module);
    PyObject **references = (PyObject **)state;

    for (size_t i = 0; state != NULL && i < sizeof(*state) / sizeof(PyObject *); i++) {
        Py_VISIT(references[i]);
    }
    return 0;
}

static void module_free(void *module)
{
    struct native_state *state = PyModule_GetState(module);
    PyObject **references = (PyObject **)state;

    for (size_t i = 0; state != NULL && i < sizeof(*state) / sizeof(PyObject *); i++) {
        Py_CLEAR(references[i]);
    }
}

static PyModuleDef_Slot slots[] = {
    { Py_mod_exec, module_exec },
    { 0, NULL },
};

/*
 * No m_clear: a handle that is garbage together with the module may still be asked something, and
 * its classes have to be there then. The cycle with the type is broken by the type.
 */
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pawl._native",
    .m_doc = "libpawl for Python: a handle that never blocks. Use pawl.Client or pawl.AsyncClient.",
    .m_size = sizeof(struct native_state),
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
