/* Fields of named tuples as what C wants, or an exception that names the field. */
#include "native.h"

void native_reader_init(struct native_reader *reader, struct native_state *state)
{
    memset(reader, 0, sizeof(*reader));
    reader->state = state;
    reader->texts = reader->texts_here;
    reader->text_max = NATIVE_TEXTS_MAX;
}

bool native_reader_room(struct native_reader *reader, size_t count)
{
    const size_t texts = NATIVE_TEXTS_MAX + 2 * count; /* an item has a limit and a tier */
    const size_t item = sizeof(struct pawl_check_item) > sizeof(struct pawl_refund_item)
                            ? sizeof(struct pawl_check_item)
                            : sizeof(struct pawl_refund_item);
    uint8_t *memory =
        PyMem_Malloc(count * (sizeof(struct native_item) + item) + texts * sizeof(PyObject *));

    if (memory == NULL) {
        (void)PyErr_NoMemory();
        return false;
    }
    reader->memory = memory;
    reader->spaces = (void *)memory;
    memory += count * sizeof(struct native_item);
    reader->items.check = (void *)memory;
    memset(memory, 0, count * item);
    memory += count * item;
    reader->texts = (void *)memory;
    reader->text_max = (unsigned)texts;
    return true;
}

void native_reader_deinit(struct native_reader *reader)
{
    for (unsigned i = 0; i < reader->text_count; i++) {
        Py_DECREF(reader->texts[i]);
    }
    PyMem_Free(reader->memory);
}

/* ---- errors ------------------------------------------------------------------------------ */

static bool fail(struct native_reader *reader, PyObject *exception, const char *name,
                 PyObject *text)
{
    if (text == NULL) {
        return false;
    }
    if (reader->list != NULL) {
        PyErr_Format(exception, "%s[%zd].%s: %U", reader->list, reader->index, name, text);
    } else {
        PyErr_Format(exception, "%s: %U", name, text);
    }
    Py_DECREF(text);
    return false;
}

bool native_refuse(struct native_reader *reader, const char *name, const char *text)
{
    return fail(reader, PyExc_ValueError, name, PyUnicode_FromString(text));
}

static bool wrong_type(struct native_reader *reader, const char *name, const char *wanted,
                       PyObject *object)
{
    return fail(reader, PyExc_TypeError, name,
                PyUnicode_FromFormat("%s is wanted, not %R", wanted, (PyObject *)Py_TYPE(object)));
}

bool native_is(struct native_reader *reader, PyObject *object, const char *name,
               enum native_class which)
{
    PyObject *class = reader->state->classes[which];

    if (PyObject_TypeCheck(object, (PyTypeObject *)class)) {
        return true;
    }
    return fail(reader, PyExc_TypeError, name,
                PyUnicode_FromFormat("%R is wanted, not %R", class, (PyObject *)Py_TYPE(object)));
}

/* ---- numbers ----------------------------------------------------------------------------- */

bool native_take_u64(struct native_reader *reader, PyObject *object, const char *name, uint64_t max,
                     uint64_t *value)
{
    if (!PyLong_Check(object)) {
        return wrong_type(reader, name, "an int", object);
    }
    *value = PyLong_AsUnsignedLongLong(object);
    if (PyErr_Occurred() != NULL) { /* negative, or above 64 bits */
        PyErr_Clear();
    } else if (*value <= max) {
        return true;
    }
    return fail(reader, PyExc_ValueError, name,
                PyUnicode_FromFormat("%R is out of range (0 to %llu)", object,
                                     (unsigned long long)max));
}

bool native_read_u64(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                     uint64_t max, uint64_t *value)
{
    PyObject *object = PyTuple_GetItem(from, at);

    return object != NULL && native_take_u64(reader, object, name, max, value);
}

bool native_read_u32(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                     uint32_t *value)
{
    uint64_t wide = 0;

    if (!native_read_u64(reader, from, at, name, UINT32_MAX, &wide)) {
        return false;
    }
    *value = (uint32_t)wide;
    return true;
}

bool native_read_bool(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                      bool *value)
{
    PyObject *object = PyTuple_GetItem(from, at);

    if (object == NULL) {
        return false;
    }
    if (!PyBool_Check(object)) {
        return wrong_type(reader, name, "a bool", object);
    }
    *value = object == Py_True;
    return true;
}

/* ---- strings ----------------------------------------------------------------------------- */

/* Keep @bytes, whose reference is taken, until the reader's end, and lend what is in it. */
static bool keep(struct native_reader *reader, PyObject *bytes, struct pawl_str *value)
{
    if (bytes == NULL) {
        return false;
    }
    if (reader->text_count == reader->text_max) {
        Py_DECREF(bytes);
        PyErr_SetString(PyExc_SystemError, "pawl._native: a request with too many strings");
        return false;
    }
    reader->texts[reader->text_count++] = bytes;
    value->data = PyBytes_AsString(bytes);
    value->size = (size_t)PyBytes_Size(bytes);
    return true;
}

/* A str of @from, borrowed; NULL with an exception. */
static PyObject *str_at(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                        const char *name)
{
    PyObject *object = PyTuple_GetItem(from, at);

    if (object != NULL && !PyUnicode_Check(object)) {
        (void)wrong_type(reader, name, "a str", object);
        return NULL;
    }
    return object;
}

bool native_read_text(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                      struct pawl_str *value)
{
    PyObject *object = str_at(reader, from, at, name);

    value->data = NULL;
    value->size = 0;
    if (object == NULL) {
        return false;
    }
    if (PyUnicode_GetLength(object) == 0) {
        return true;
    }
    if (keep(reader, PyUnicode_AsEncodedString(object, "utf-8", "surrogateescape"), value)) {
        return true;
    }
    if (PyErr_ExceptionMatches(PyExc_UnicodeError)) {
        PyErr_Clear();
        return native_refuse(reader, name, "a lone surrogate cannot be written as UTF-8");
    }
    return false;
}

bool native_read_c_string(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                          const char *name, bool is_path, const char **value)
{
    struct pawl_str text = { NULL, 0 };
    PyObject *object;

    *value = NULL;
    if (!is_path) {
        if (!native_read_text(reader, from, at, name, &text)) {
            return false;
        }
    } else {
        object = str_at(reader, from, at, name);
        if (object == NULL) {
            return false;
        }
        if (PyUnicode_GetLength(object) > 0 &&
            !keep(reader, PyUnicode_EncodeFSDefault(object), &text)) {
            return false;
        }
    }
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL) {
        return native_refuse(reader, name, "a NUL character inside");
    }
    *value = text.data;
    return true;
}

bool native_read_word(struct native_reader *reader, PyObject *from, Py_ssize_t at, const char *name,
                      unsigned (*from_text)(const char *text), unsigned *value)
{
    struct pawl_str text;

    *value = 0;
    if (!native_read_text(reader, from, at, name, &text) || text.size == 0) {
        return PyErr_Occurred() == NULL;
    }
    if (strlen(text.data) == text.size) {
        *value = from_text(text.data);
    }
    if (*value != 0) {
        return true;
    }
    return fail(reader, PyExc_ValueError, name,
                PyUnicode_FromFormat("%R is no such word", PyTuple_GetItem(from, at)));
}

bool native_read_bytes(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                       const char *name, struct pawl_str *value)
{
    PyObject *object = PyTuple_GetItem(from, at);

    value->data = NULL;
    value->size = 0;
    if (object == NULL) {
        return false;
    }
    if (!PyBytes_Check(object)) {
        return wrong_type(reader, name, "bytes", object);
    }
    value->size = (size_t)PyBytes_Size(object);
    value->data = value->size > 0 ? PyBytes_AsString(object) : NULL;
    return true;
}

bool native_read_exactly(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                         const char *name, void *value, size_t size)
{
    struct pawl_str bytes;

    if (!native_read_bytes(reader, from, at, name, &bytes)) {
        return false;
    }
    if (bytes.size != size) {
        return fail(reader, PyExc_ValueError, name,
                    PyUnicode_FromFormat("%zu bytes are wanted, not %zu", size, bytes.size));
    }
    if (size > 0) {
        memcpy(value, bytes.data, size);
    }
    return true;
}

PyObject *native_read_tuple(struct native_reader *reader, PyObject *from, Py_ssize_t at,
                            const char *name, Py_ssize_t min, Py_ssize_t max, Py_ssize_t *count)
{
    PyObject *object = PyTuple_GetItem(from, at);

    if (object == NULL) {
        return NULL;
    }
    if (!PyTuple_Check(object)) {
        (void)wrong_type(reader, name, "a tuple", object);
        return NULL;
    }
    *count = PyTuple_Size(object);
    if (*count < min || *count > max) {
        (void)fail(reader, PyExc_ValueError, name,
                   PyUnicode_FromFormat("%zd to %zd are wanted, not %zd", min, max, *count));
        return NULL;
    }
    return object;
}
