/*
 * pawl._native: the Python extension over libpawl's calls that do not block.
 *
 * One class, Handle, which is the Handle of pawl._types: named tuples in, named tuples out. A
 * submit reads its request into libpawl's structs (reader.c, requests.c); process() lets libpawl
 * call back, makes an answer of what it lends (answers.c) and returns the list of them (handle.c).
 * Words and classes are looked up once, when the module is loaded (module.c).
 *
 * The GIL is held throughout but for looking up host names: nothing else here waits. Only the
 * limited API of Python 3.9 is used. State is that of the module, so every interpreter of a
 * process that shares the GIL may load it.
 */
#ifndef PAWL_NATIVE_H
#define PAWL_NATIVE_H

#include <Python.h>

#include "pawl/pawl.h"

#define NATIVE_ITEMS_MAX 64 /* items of a check, ids of an unrevoke */
#define NATIVE_KEY_PARTS 8
#define NATIVE_TEXTS_MAX 16 /* strings of a request that are not an item's */

/* ---- classes and words ------------------------------------------------------------------- */

/** The named tuples of pawl._types, in the order of the table in module.c. */
enum native_class {
    CLASS_RATE,
    CLASS_ITEM,
    CLASS_TOKEN,
    CLASS_CHECK_REQUEST,
    CLASS_TOKEN_CHECK_REQUEST,
    CLASS_REFUND_ITEM,
    CLASS_REFUND_REQUEST,
    CLASS_RESET_REQUEST,
    CLASS_RESERVE_REQUEST,
    CLASS_COMMIT_REQUEST,
    CLASS_CANCEL_REQUEST,
    CLASS_REVOKE_REQUEST,
    CLASS_FACT_NAME,
    CLASS_UNREVOKE_REQUEST,
    CLASS_FAMILY_OPEN_REQUEST,
    CLASS_FAMILY_END_REQUEST,
    CLASS_ROTATE_REQUEST,
    CLASS_LIMITS_REQUEST,
    CLASS_STATS_REQUEST,
    CLASS_PING_REQUEST,
    CLASS_INFO,
    CLASS_RATE_ANSWER,
    CLASS_CLAIMS,
    CLASS_TOKEN_ANSWER,
    CLASS_CHECK_ANSWER,
    CLASS_TOKEN_CHECK_ANSWER,
    CLASS_REFUND_ANSWER,
    CLASS_RESET_ANSWER,
    CLASS_RESERVE_ANSWER,
    CLASS_COMMIT_ANSWER,
    CLASS_REVOKE_ANSWER,
    CLASS_UNREVOKE_ANSWER,
    CLASS_FAMILY_OPEN_ANSWER,
    CLASS_ROTATE_ANSWER,
    CLASS_LIMIT_INFO,
    CLASS_LIMITS_ANSWER,
    CLASS_STATS_ANSWER,
    CLASS_PING_ANSWER,
    CLASS_HANDLE_OPTIONS,
    CLASS_COUNT,
};

/** Lists of words, each by the value of an enum of libpawl. */
enum native_list {
    WORDS_OUTCOME,
    WORDS_FAIL,
    WORDS_SOURCE,
    WORDS_EFFECT,
    WORDS_TOKEN_STATE,
    WORDS_SCOPE,
    WORDS_WHY,
    WORDS_LEVEL,
    WORDS_REFRESH,
    WORDS_ALGORITHM,
    WORDS_CAUSE, /* by the return code with its sign turned */
    WORDS_COUNT,
};

#define NATIVE_WORDS_MAX 32 /* of one list */
#define NATIVE_CALLS     15 /* kinds of calls that a handle has */

/** What belongs to the module of one interpreter. Strong references, NULL until made. */
struct native_state {
    PyObject *tuple_new; /* tuple.__new__: makes a named tuple without its Python code */
    PyObject *classes[CLASS_COUNT];
    PyObject *words[WORDS_COUNT][NATIVE_WORDS_MAX];
    PyObject *info_good[3];            /* of the daemon, by effect: what nearly all answers say */
    PyObject *no_memory[NATIVE_CALLS]; /* the answer where none could be made */
    PyObject *handle_type;
};

/** A word of pawl._types: a new reference, NULL with an exception. Unknown values say so. */
PyObject *native_word(struct native_state *state, enum native_list list, unsigned value);

/** Make @which of the tuple @values, whose reference is taken; NULL passes an exception on. */
PyObject *native_make(struct native_state *state, enum native_class which, PyObject *values);

/* ---- reading requests -------------------------------------------------------------------- */

/** Where the parts of one item are while its call is submitted. */
struct native_item {
    struct pawl_str key[NATIVE_KEY_PARTS];
    struct pawl_rate_spec rates[PAWL_TEXT_RATES];
    uint64_t charges[PAWL_TEXT_RATES];
};

/**
 * A request on its way into libpawl's structs, which point into the request's own bytes and into
 * the UTF-8 that is held here. native_reader_deinit() on every path.
 */
struct native_reader {
    struct native_state *state;
    const char *list; /* where an error is: NULL, or "items" with ... */
    Py_ssize_t index; /* ... which of them */
    uint32_t deadline_ms;
    uint64_t now_ms;
    struct pawl_token token;
    unsigned text_count;
    unsigned text_max;
    PyObject **texts; /* UTF-8 of each str; in texts_here, or in memory */
    PyObject *texts_here[NATIVE_TEXTS_MAX];
    struct native_item *spaces; /* one for each item */
    union {
        struct pawl_check_item *check;
        struct pawl_refund_item *refund;
        struct pawl_fact_name *names;
    } items;
    void *memory; /* of all three */
};

void native_reader_init(struct native_reader *reader, struct native_state *state);
/** Room for @count items, names or strings more. false: MemoryError. */
bool native_reader_room(struct native_reader *reader, size_t count);
void native_reader_deinit(struct native_reader *reader);

/*
 * Each reads field @at of the named tuple @from, called @name in errors. false: an exception is
 * set, a ValueError that names the field where its value is not possible, a TypeError where its
 * type is wrong. No Python code runs on the way to a good answer.
 */

/** @object itself, an int from 0 to @max. */
bool native_take_u64(struct native_reader *reader, PyObject *object, const char *name, uint64_t max,
                     uint64_t *value);
bool native_read_u64(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                     uint64_t max, uint64_t *value);
bool native_read_u32(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                     uint32_t *value);
bool native_read_bool(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                      bool *value);
/** A str, as UTF-8. */
bool native_read_text(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                      struct pawl_str *value);
/** A str for C: NULL where it is empty; a NUL inside is refused. @is_path: a file's name. */
bool native_read_c_string(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                          const char *name, bool is_path, const char **value);
bool native_read_bytes(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                       const char *name, struct pawl_str *value);
/** Exactly @size bytes. */
bool native_read_exactly(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                         const char *name, void *value, size_t size);
/** A tuple of @min to @max elements, borrowed; NULL with an exception. */
PyObject *native_read_tuple(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                            const char *name, Py_ssize_t min, Py_ssize_t max, Py_ssize_t *count);
/** A word of a list that @from_text knows; "" is 0. */
bool native_read_word(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                      unsigned (*from_text)(const char *text), unsigned *value);
/** Whether @object is a @which; else a TypeError. */
bool native_is(struct native_reader *reader, PyObject *object, const char *name,
               enum native_class which);
/** Raise a ValueError about field @name. Returns false. */
bool native_refuse(struct native_reader *reader, const char *name, const char *text);

/* ---- calls ------------------------------------------------------------------------------- */

union native_call {
    struct pawl_check_call check;
    struct pawl_token_check_call token_check;
    struct pawl_refund_call refund;
    struct pawl_reset_call reset;
    struct pawl_reserve_call reserve;
    struct pawl_commit_call commit;
    struct pawl_cancel_lease_call cancel_lease;
    struct pawl_revoke_call revoke;
    struct pawl_unrevoke_call unrevoke;
    struct pawl_family_open_call family_open;
    struct pawl_family_end_call family_end;
    struct pawl_rotate_call rotate;
    struct pawl_limits_call limits;
    struct pawl_stats_call stats;
    struct pawl_ping_call ping;
};

/** For the size of the largest. */
union native_result {
    struct pawl_check_result check;
    struct pawl_token_check_result token_check;
    struct pawl_refund_result refund;
    struct pawl_reset_result reset;
    struct pawl_reserve_result reserve;
    struct pawl_commit_result commit;
    struct pawl_revoke_result revoke;
    struct pawl_unrevoke_result unrevoke;
    struct pawl_family_open_result family_open;
    struct pawl_rotate_result rotate;
    struct pawl_limits_result limits;
    struct pawl_stats_result stats;
    struct pawl_ping_result ping;
};

/** One kind of call: its request, how that is read and submitted, and what answers it. */
struct native_kind {
    enum native_class request;
    bool (*read)(struct native_reader *reader, PyObject *request, union native_call *call);
    int (*submit)(struct pawl_client *client, const union native_call *call,
                  pawl_on_answer on_answer, void *data, uint64_t *id);
    /** A new reference, or NULL with an exception. */
    PyObject *(*answer)(struct native_state *state, const struct pawl_answer *answer);
    size_t info_at; /* of struct pawl_info in the result */
};

/** In the order of native_state.no_memory. */
enum native_kind_index {
    KIND_CHECK,
    KIND_TOKEN_CHECK,
    KIND_REFUND,
    KIND_RESET,
    KIND_RESERVE,
    KIND_COMMIT,
    KIND_CANCEL_LEASE,
    KIND_REVOKE,
    KIND_UNREVOKE,
    KIND_FAMILY_OPEN,
    KIND_FAMILY_END,
    KIND_ROTATE,
    KIND_LIMITS,
    KIND_STATS,
    KIND_PING,
};

extern const struct native_kind native_kinds[NATIVE_CALLS];

#define NATIVE_READ(name)                                                    \
    bool native_read_##name(struct native_reader *reader, PyObject *request, \
                            union native_call *call)

NATIVE_READ(check);
NATIVE_READ(token_check);
NATIVE_READ(refund);
NATIVE_READ(reset);
NATIVE_READ(reserve);
NATIVE_READ(commit);
NATIVE_READ(cancel_lease);
NATIVE_READ(revoke);
NATIVE_READ(unrevoke);
NATIVE_READ(family_open);
NATIVE_READ(family_end);
NATIVE_READ(rotate);
NATIVE_READ(limits);
NATIVE_READ(stats);
NATIVE_READ(ping);

#define NATIVE_ANSWER(name) \
    PyObject *native_answer_##name(struct native_state *state, const struct pawl_answer *answer)

NATIVE_ANSWER(check);
NATIVE_ANSWER(token_check);
NATIVE_ANSWER(refund);
NATIVE_ANSWER(reset);
NATIVE_ANSWER(reserve);
NATIVE_ANSWER(commit);
NATIVE_ANSWER(revoke);
NATIVE_ANSWER(unrevoke);
NATIVE_ANSWER(family_open);
NATIVE_ANSWER(rotate);
NATIVE_ANSWER(limits);
NATIVE_ANSWER(stats);
NATIVE_ANSWER(ping);

/** Info of pawl._types. */
PyObject *native_info(struct native_state *state, const struct pawl_info *info);

/** Make the class Handle and put it into the module and its state. 0, or -1 with an exception. */
int native_add_handle(PyObject *module, struct native_state *state);

#endif
