/* The class Handle: a pawl_client, what is pending on it, and what is answered. */
#include "native.h"

#include <unistd.h>

/* A request from its submit until process() hands out its answer. */
struct pending {
    struct pending *next;
    struct pending *previous;
    struct handle *handle;
    unsigned kind;
    uint64_t id;
    PyObject *answer; /* NULL while it is waited for */
};

struct pending_list {
    struct pending *first;
    struct pending *last;
    Py_ssize_t count;
};

/** What the handle is in the middle of; see enter(). */
enum busy {
    BUSY_NOT,
    BUSY_PROCESSING, /* answers are being made: that may run finalizers, and so anything */
    BUSY_RESOLVING,  /* the GIL is released */
};

struct handle {
    PyObject_HEAD struct pawl_client *client; /* NULL: closed */
    PyObject *module;                         /* whose state we use */
    pid_t pid;
    enum busy busy;
    bool ending; /* what libpawl calls back now is for nobody */
    struct pending_list waiting;
    struct pending_list ready;
};

static void list_add(struct pending_list *list, struct pending *pending)
{
    pending->next = NULL;
    pending->previous = list->last;
    if (list->last != NULL) {
        list->last->next = pending;
    } else {
        list->first = pending;
    }
    list->last = pending;
    list->count++;
}

static void list_remove(struct pending_list *list, struct pending *pending)
{
    if (pending->previous != NULL) {
        pending->previous->next = pending->next;
    } else {
        list->first = pending->next;
    }
    if (pending->next != NULL) {
        pending->next->previous = pending->previous;
    } else {
        list->last = pending->previous;
    }
    list->count--;
}

/* The list is emptied first: giving up an answer may run code that looks at the handle. */
static void list_free(struct pending_list *list)
{
    struct pending *pending = list->first;

    memset(list, 0, sizeof(*list));
    while (pending != NULL) {
        struct pending *next = pending->next;

        Py_XDECREF(pending->answer);
        PyMem_Free(pending);
        pending = next;
    }
}

static struct native_state *state_of(const struct handle *self)
{
    return PyModule_GetState(self->module);
}

static PyObject *none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

/* ---- entering ---------------------------------------------------------------------------- */

/*
 * In a child, libpawl forgets the parent's requests with the first call, and so do we. A thread of
 * the parent that looked up names is not here; one that made answers is, and returns to it.
 */
static void forget_parent(struct handle *self)
{
    pid_t pid = getpid();

    if (self->pid != pid) {
        self->pid = pid;
        self->busy = self->busy == BUSY_RESOLVING ? BUSY_NOT : self->busy;
        list_free(&self->waiting);
        list_free(&self->ready);
    }
}

/*
 * Begin a call. false: an exception says that the handle is closed or in use.
 *
 * The GIL keeps threads apart but in two places. While host names are looked up it is released:
 * then nobody may enter. While answers are made, the garbage collector may run finalizers, of which
 * another thread may take over: then what libpawl allows from inside a callback is allowed
 * (@nests), and process(), resolve() and close() are not.
 */
static bool enter(struct handle *self, bool nests)
{
    if (self->client == NULL) {
        PyErr_SetString(PyExc_ValueError, "the handle is closed");
        return false;
    }
    forget_parent(self);
    if (self->busy == BUSY_RESOLVING || (self->busy == BUSY_PROCESSING && !nests)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the handle is in use: it belongs to one thread at a time, and its "
                        "process() may not be called from inside itself");
        return false;
    }
    return true;
}

/* ---- answers ----------------------------------------------------------------------------- */

/* The answer is lost to nobody: without memory for it there is one that was made beforehand. */
static void on_answer(void *data, const struct pawl_answer *answer)
{
    struct pending *pending = data;
    struct handle *self = pending->handle;
    struct native_state *state = state_of(self);

    list_remove(&self->waiting, pending);
    if (!self->ending) {
        pending->answer = native_kinds[pending->kind].answer(state, answer);
        if (pending->answer == NULL) {
            PyErr_Clear();
            pending->answer = state->no_memory[pending->kind];
            Py_INCREF(pending->answer);
        }
    }
    list_add(&self->ready, pending);
}

/*
 * All that is ready, or NULL with MemoryError: then it is still ready for the next time. Meanwhile
 * it is nobody else's: making the list may run a finalizer that forks, and a child forgets.
 */
static PyObject *take_ready(struct handle *self)
{
    PyObject *list = PyList_New(0);
    struct pending_list taken = self->ready;

    memset(&self->ready, 0, sizeof(self->ready));
    for (struct pending *pending = taken.first; list != NULL && pending != NULL;
         pending = pending->next) {
        PyObject *pair = Py_BuildValue("(KO)", (unsigned long long)pending->id, pending->answer);

        if (pair == NULL || PyList_Append(list, pair) != 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    if (list != NULL) {
        list_free(&taken);
    } else {
        struct pending *later = self->ready.first; /* canceled by a finalizer meanwhile */

        self->ready = taken;
        while (later != NULL) {
            struct pending *next = later->next;

            list_add(&self->ready, later);
            later = next;
        }
    }
    return list;
}

PyDoc_STRVAR(process_doc,
             "process() -> list of (id, answer)\n\n"
             "Do what can be done without waiting: connect, send, receive, let deadlines pass.");

static PyObject *handle_process(struct handle *self, PyObject *Py_UNUSED(nothing))
{
    PyObject *list;

    if (!enter(self, false)) {
        return NULL;
    }
    self->busy = BUSY_PROCESSING; /* until the list is taken: that too makes objects */
    (void)pawl_client_process(self->client, 0);
    list = take_ready(self);
    self->busy = BUSY_NOT;
    return list;
}

/* ---- submits ----------------------------------------------------------------------------- */

static PyObject *refused(int rc, const char *refusal)
{
    switch (rc) {
    case PAWL_RC_FULL:
        PyErr_SetString(PyExc_BufferError, "too many requests in flight");
        break;
    case PAWL_RC_NOMEM:
        (void)PyErr_NoMemory();
        break;
    default:
        PyErr_Format(PyExc_ValueError, "%s", refusal[0] != '\0' ? refusal : pawl_rc_text(rc));
        break;
    }
    return NULL;
}

static PyObject *submit_read(struct handle *self, unsigned kind, const union native_call *call)
{
    struct pawl_client *client = self->client;
    struct pending *pending = PyMem_Malloc(sizeof(*pending));
    PyObject *id = NULL;
    int rc;

    if (pending == NULL) {
        return PyErr_NoMemory();
    }
    memset(pending, 0, sizeof(*pending));
    pending->handle = self;
    pending->kind = kind;
    rc = native_kinds[kind].submit(client, call, on_answer, pending, &pending->id);
    if (rc != PAWL_RC_OK) {
        PyMem_Free(pending);
        return refused(rc, pawl_client_refusal(client));
    }
    list_add(&self->waiting, pending);
    id = PyLong_FromUnsignedLongLong(pending->id);
    if (id == NULL) { /* nobody will know it, but it was not sent yet: take it back */
        (void)pawl_client_cancel(client, pending->id);
    }
    return id;
}

/* The optional arguments deadline_ms and now_ms. */
static bool read_times(struct native_reader *reader, PyObject *deadline_ms, PyObject *now_ms)
{
    uint64_t wide = 0;

    if (deadline_ms != NULL &&
        !native_take_u64(reader, deadline_ms, "deadline_ms", UINT32_MAX, &wide)) {
        return false;
    }
    reader->deadline_ms = (uint32_t)wide;
    return now_ms == NULL || native_take_u64(reader, now_ms, "now_ms", UINT64_MAX, &reader->now_ms);
}

static PyObject *submit(struct handle *self, PyObject *args, PyObject *kwargs, unsigned kind)
{
    static char *keywords[] = { "request", "deadline_ms", "now_ms", NULL };
    struct native_reader reader;
    union native_call call;
    PyObject *request = NULL;
    PyObject *deadline_ms = NULL;
    PyObject *now_ms = NULL;
    PyObject *id = NULL;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|OO", keywords, &request, &deadline_ms,
                                     &now_ms)) {
        return NULL;
    }
    native_reader_init(&reader, state_of(self));
    memset(&call, 0, sizeof(call));
    if (enter(self, true) && read_times(&reader, deadline_ms, now_ms) &&
        native_is(&reader, request, "request", native_kinds[kind].request) &&
        native_kinds[kind].read(&reader, request, &call)) {
        id = submit_read(self, kind, &call);
    }
    native_reader_deinit(&reader);
    return id;
}

#define SUBMIT_METHOD(name, kind)                                                                \
    static PyObject *handle_submit_##name(struct handle *self, PyObject *args, PyObject *kwargs) \
    {                                                                                            \
        return submit(self, args, kwargs, (kind));                                               \
    }

SUBMIT_METHOD(check, KIND_CHECK)
SUBMIT_METHOD(token_check, KIND_TOKEN_CHECK)
SUBMIT_METHOD(refund, KIND_REFUND)
SUBMIT_METHOD(reset, KIND_RESET)
SUBMIT_METHOD(reserve, KIND_RESERVE)
SUBMIT_METHOD(commit, KIND_COMMIT)
SUBMIT_METHOD(cancel_lease, KIND_CANCEL_LEASE)
SUBMIT_METHOD(revoke, KIND_REVOKE)
SUBMIT_METHOD(unrevoke, KIND_UNREVOKE)
SUBMIT_METHOD(family_open, KIND_FAMILY_OPEN)
SUBMIT_METHOD(family_end, KIND_FAMILY_END)
SUBMIT_METHOD(rotate, KIND_ROTATE)
SUBMIT_METHOD(limits, KIND_LIMITS)
SUBMIT_METHOD(stats, KIND_STATS)
SUBMIT_METHOD(ping, KIND_PING)

/* ---- the other methods ------------------------------------------------------------------- */

PyDoc_STRVAR(fileno_doc,
             "fileno() -> int\n\n"
             "The descriptor that is readable when there is something to process. The same for the "
             "handle's life, but for a child process, where it is another one.");

static PyObject *handle_fileno(struct handle *self, PyObject *Py_UNUSED(nothing))
{
    int fd;

    if (!enter(self, true)) {
        return NULL;
    }
    fd = pawl_client_fd(self->client);
    return fd >= 0 ? PyLong_FromLong(fd) : PyErr_SetFromErrno(PyExc_OSError);
}

PyDoc_STRVAR(timeout_doc,
             "timeout_ms() -> int\n\n"
             "Milliseconds until process() has something to do though the descriptor is silent; -1 "
             "when nothing is pending.");

static PyObject *handle_timeout_ms(struct handle *self, PyObject *Py_UNUSED(nothing))
{
    if (!enter(self, true)) {
        return NULL;
    }
    if (self->ready.first != NULL) {
        return PyLong_FromLong(0);
    }
    return PyLong_FromLong(pawl_client_timeout_ms(self->client));
}

PyDoc_STRVAR(flush_doc, "flush()\n\n"
                        "Send what was submitted, as far as that goes without waiting.");

static PyObject *handle_flush(struct handle *self, PyObject *Py_UNUSED(nothing))
{
    if (!enter(self, true)) {
        return NULL;
    }
    pawl_client_flush(self->client);
    return none();
}

PyDoc_STRVAR(cancel_doc,
             "cancel(call_id) -> bool\n\n"
             "Give a request up: process() hands out an answer whose info.cause is \"canceled\". "
             "False when it is not pending any more.");

static PyObject *handle_cancel(struct handle *self, PyObject *call_id)
{
    struct native_reader reader;
    uint64_t id = 0;

    native_reader_init(&reader, state_of(self));
    if (!native_take_u64(&reader, call_id, "call_id", UINT64_MAX, &id) || !enter(self, true)) {
        return NULL;
    }
    return PyBool_FromLong(pawl_client_cancel(self->client, id) == PAWL_RC_OK);
}

PyDoc_STRVAR(resolve_doc,
             "resolve()\n\n"
             "Look the host names of the addresses up again. May block for as long as the name "
             "server takes, without the GIL; the handle may not be used meanwhile. OSError when a "
             "name has no address at all; it keeps what it had.");

static PyObject *handle_resolve(struct handle *self, PyObject *Py_UNUSED(nothing))
{
    PyThreadState *thread;
    int rc;

    if (!enter(self, false)) {
        return NULL;
    }
    self->busy = BUSY_RESOLVING;
    thread = PyEval_SaveThread();
    rc = pawl_client_resolve(self->client);
    PyEval_RestoreThread(thread);
    self->busy = BUSY_NOT;
    if (rc != PAWL_RC_OK) {
        PyErr_SetString(PyExc_OSError, "a host name of the address list has no address");
        return NULL;
    }
    return none();
}

PyDoc_STRVAR(figures_doc,
             "figures() -> dict\n\n"
             "Counts since the handle was made: requests, answers, timeouts, lost, connects, "
             "connect_fails, goaways, protocol_errors, moved; in_flight now, and in_flight_max.");

static PyObject *handle_figures(struct handle *self, PyObject *Py_UNUSED(nothing))
{
    struct pawl_client_figures figures = { .struct_size = sizeof(figures) };

    if (!enter(self, true)) {
        return NULL;
    }
    pawl_client_figures(self->client, &figures);
    return Py_BuildValue(
        "{sKsKsKsKsKsKsKsKsKsIsI}", "requests", (unsigned long long)figures.requests, "answers",
        (unsigned long long)figures.answers, "timeouts", (unsigned long long)figures.timeouts,
        "lost", (unsigned long long)figures.lost, "connects", (unsigned long long)figures.connects,
        "connect_fails", (unsigned long long)figures.connect_fails, "goaways",
        (unsigned long long)figures.goaways, "protocol_errors",
        (unsigned long long)figures.protocol_errors, "moved", (unsigned long long)figures.moved,
        "in_flight", figures.in_flight, "in_flight_max", figures.in_flight_max);
}

/* ---- life -------------------------------------------------------------------------------- */

/* In a child it closes the copies without sending a byte. */
static void end(struct handle *self)
{
    struct pawl_client *client = self->client;

    self->client = NULL;
    self->ending = true;
    pawl_client_destroy(client);
    list_free(&self->waiting);
    list_free(&self->ready);
}

PyDoc_STRVAR(close_doc,
             "close()\n\n"
             "End the connection; answers that were not handed out are dropped. Once is enough, "
             "twice is fine. Every other method raises ValueError from then on.");

static PyObject *handle_close(struct handle *self, PyObject *Py_UNUSED(nothing))
{
    if (self->client != NULL) {
        if (!enter(self, false)) {
            return NULL;
        }
        end(self);
    }
    return none();
}

/* @options as libpawl's struct, which points into them and into @reader. */
static bool read_options(struct native_reader *reader, PyObject *options,
                         struct pawl_client_options *to)
{
    bool insecure = false;

    if (!native_is(reader, options, "options", CLASS_HANDLE_OPTIONS) ||
        !native_read_c_string(reader, options, 0, "addresses", false, &to->addresses) ||
        !native_read_c_string(reader, options, 1, "namespace", false, &to->ns) ||
        !native_read_c_string(reader, options, 2, "name", false, &to->name) ||
        !native_read_u32(reader, options, 3, "check_deadline_ms", &to->check_deadline_ms) ||
        !native_read_u32(reader, options, 4, "durable_deadline_ms", &to->durable_deadline_ms) ||
        !native_read_u32(reader, options, 5, "in_flight_max", &to->in_flight_max) ||
        !native_read_c_string(reader, options, 6, "tls_ca", true, &to->tls_ca) ||
        !native_read_c_string(reader, options, 7, "tls_certificate", true, &to->tls_certificate) ||
        !native_read_c_string(reader, options, 8, "tls_key", true, &to->tls_key) ||
        !native_read_c_string(reader, options, 9, "tls_name", false, &to->tls_name) ||
        !native_read_c_string(reader, options, 10, "credential_id", false, &to->credential_id) ||
        !native_read_bytes(reader, options, 11, "credential", &to->credential) ||
        !native_read_c_string(reader, options, 12, "credential_file", true, &to->credential_file) ||
        !native_read_bool(reader, options, 13, "insecure", &insecure)) {
        return false;
    }
    to->struct_size = sizeof(*to);
    to->flags =
        PAWL_CLIENT_NO_FALLBACK | PAWL_CLIENT_NO_BREAKER | (insecure ? PAWL_CLIENT_INSECURE : 0);
    return true;
}

/* Reads files and looks up names, both of which may wait: without the GIL. */
static bool create(struct handle *self, const struct pawl_client_options *options)
{
    char error[PAWL_TEXT_BYTES] = "";
    struct pawl_client *client = NULL;
    PyThreadState *thread;
    int rc;

    thread = PyEval_SaveThread();
    rc = pawl_client_create(options, &client, error, sizeof(error));
    PyEval_RestoreThread(thread);
    if (rc == PAWL_RC_NOMEM) {
        (void)PyErr_NoMemory();
    } else if (rc != PAWL_RC_OK) {
        PyErr_Format(PyExc_ValueError, "%s", error[0] != '\0' ? error : pawl_rc_text(rc));
    }
    self->client = client;
    self->pid = getpid();
    return rc == PAWL_RC_OK;
}

static PyObject *handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = { "options", NULL };
    struct pawl_client_options to;
    struct native_reader reader;
    struct handle *self;
    PyObject *options = NULL;
    bool made;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", keywords, &options)) {
        return NULL;
    }
    self = (struct handle *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->module = PyObject_GetAttrString((PyObject *)type, "_module");
    if (self->module == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    memset(&to, 0, sizeof(to));
    native_reader_init(&reader, state_of(self));
    made = read_options(&reader, options, &to) && create(self, &to);
    native_reader_deinit(&reader);
    if (!made) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int handle_traverse(struct handle *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->module);
    for (struct pending *pending = self->ready.first; pending != NULL; pending = pending->next) {
        Py_VISIT(pending->answer);
    }
    return 0;
}

static void handle_dealloc(struct handle *self)
{
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

    PyObject_GC_UnTrack(self);
    end(self);
    Py_XDECREF(self->module);
    release(self);
    Py_DECREF(type);
}

/* ---- the type ---------------------------------------------------------------------------- */

#define METHOD(function) (PyCFunction)(void (*)(void))(function)
#define SUBMITS(name, what)                                                          \
    {                                                                                \
        "submit_" #name, METHOD(handle_submit_##name), METH_VARARGS | METH_KEYWORDS, \
            "submit_" #name "(request, deadline_ms=0, now_ms=0) -> id\n\n" what      \
    }

static PyMethodDef methods[] = {
    SUBMITS(check, "Ask, and charge unless request.peek: a CheckRequest, answered by CheckAnswer."),
    SUBMITS(token_check, "A TokenCheckRequest, answered by TokenCheckAnswer."),
    SUBMITS(refund, "Take charges back: a RefundRequest, answered by RefundAnswer."),
    SUBMITS(reset, "Forget a key of a limit: a ResetRequest, answered by ResetAnswer."),
    SUBMITS(reserve, "Take between min and max now: a ReserveRequest, answered by ReserveAnswer."),
    SUBMITS(commit, "How much was used of it: a CommitRequest, answered by CommitAnswer."),
    SUBMITS(cancel_lease, "Nothing was used of it: a CancelRequest, answered by CommitAnswer."),
    SUBMITS(revoke, "A RevokeRequest, answered by RevokeAnswer."),
    SUBMITS(unrevoke, "Cancel revocations of tokens: an UnrevokeRequest, UnrevokeAnswer."),
    SUBMITS(family_open, "A login: a FamilyOpenRequest, answered by FamilyOpenAnswer."),
    SUBMITS(family_end, "A log-out: a FamilyEndRequest, answered by RevokeAnswer."),
    SUBMITS(rotate, "Exchange a refresh token: a RotateRequest, answered by RotateAnswer."),
    SUBMITS(limits, "List named limits: a LimitsRequest, answered by LimitsAnswer."),
    SUBMITS(stats, "The daemon's figures: a StatsRequest, answered by StatsAnswer."),
    SUBMITS(ping, "Does somebody answer? A PingRequest, answered by PingAnswer."),
    { "process", METHOD(handle_process), METH_NOARGS, process_doc },
    { "fileno", METHOD(handle_fileno), METH_NOARGS, fileno_doc },
    { "timeout_ms", METHOD(handle_timeout_ms), METH_NOARGS, timeout_doc },
    { "flush", METHOD(handle_flush), METH_NOARGS, flush_doc },
    { "cancel", METHOD(handle_cancel), METH_O, cancel_doc },
    { "resolve", METHOD(handle_resolve), METH_NOARGS, resolve_doc },
    { "figures", METHOD(handle_figures), METH_NOARGS, figures_doc },
    { "close", METHOD(handle_close), METH_NOARGS, close_doc },
    { NULL, NULL, 0, NULL },
};

PyDoc_STRVAR(
    handle_doc,
    "Handle(options)\n--\n\n"
    "A connection to a daemon that never blocks, over libpawl; see pawl._types.Handle.\n\n"
    "options is a HandleOptions; ValueError says which one is wrong. Host names are looked\n"
    "up here, without the GIL; the connection is made by the first request. A submit\n"
    "raises TypeError or ValueError for a request that is wrong (the field is named),\n"
    "BufferError when too many are in flight. One thread at a time: another one that\n"
    "enters meanwhile gets RuntimeError. A child process may go on using it.");

static PyType_Slot slots[] = {
    { Py_tp_doc, (void *)handle_doc }, { Py_tp_new, handle_new },
    { Py_tp_dealloc, handle_dealloc }, { Py_tp_traverse, handle_traverse },
    { Py_tp_methods, methods },        { 0, NULL },
};

/* No tp_clear: the module that a handle refers to breaks no cycle; its type does. */
static PyType_Spec spec = {
    .name = "pawl._native.Handle",
    .basicsize = sizeof(struct handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

int native_add_handle(PyObject *module, struct native_state *state)
{
    state->handle_type = PyType_FromSpec(&spec);
    if (state->handle_type == NULL ||
        PyObject_SetAttrString(state->handle_type, "_module", module) != 0) {
        return -1;
    }
    return PyObject_SetAttrString(module, "Handle", state->handle_type);
}
