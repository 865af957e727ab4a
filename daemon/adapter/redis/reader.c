/* See resp.h. The arena is a list of chunks; one is kept from reply to reply. */
#include "resp.h"

#include <hiredis/read.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define FEED_BYTES  ((size_t)16 << 10) /* handed to hiredis at once */
#define CHUNK_BYTES ((size_t)16 << 10)
#define HEADER_MAX  32 /* bytes of a length and its end of line */
/* Texts, their elements, and as much again for what is decoded out of them. */
#define ARENA_MAX (2 * (PAWL_RESP_REPLY_MAX + PAWL_RESP_ELEMENTS_MAX * sizeof(struct pawl_resp)))

struct chunk {
    struct chunk *next;
    size_t size;
    size_t used;
    alignas(16) uint8_t bytes[];
};

struct pawl_resp_reader {
    redisReader *parser;
    struct chunk *chunks; /* the newest first; the last one is kept */
    size_t arena;         /* bytes taken in this reply */
    size_t texts;         /* of them in texts */
    uint32_t elements;
    enum pawl_status status; /* why a create function gave NULL */
    bool fresh;              /* the next byte begins a reply */
};

/* ---- the arena ---- */

static void drop_chunks(struct pawl_resp_reader *reader, bool all)
{
    while (reader->chunks != NULL && (all || reader->chunks->next != NULL)) {
        struct chunk *chunk = reader->chunks;

        reader->chunks = chunk->next;
        free(chunk);
    }
    if (reader->chunks != NULL) {
        reader->chunks->used = 0;
    }
}

void *pawl_resp_memory(struct pawl_resp_reader *reader, size_t size)
{
    struct chunk *chunk = reader->chunks;
    void *memory;

    if (size > ARENA_MAX || reader->arena + size > ARENA_MAX) {
        return NULL;
    }
    size = (size + 15) & ~(size_t)15;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;

        chunk = malloc(sizeof(*chunk) + room);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->size = room;
        chunk->used = 0;
        chunk->next = reader->chunks;
        reader->chunks = chunk;
    }
    memory = chunk->bytes + chunk->used;
    chunk->used += size;
    reader->arena += size;
    return memory;
}

/* ---- hiredis's object functions: NULL ends the reader ---- */

static struct pawl_resp *add(const redisReadTask *task, enum pawl_resp_type type)
{
    struct pawl_resp_reader *reader = task->privdata;
    struct pawl_resp *parent = task->parent != NULL ? task->parent->obj : NULL;
    struct pawl_resp *value;

    if (++reader->elements > PAWL_RESP_ELEMENTS_MAX) {
        reader->status = PAWL_ETOOBIG;
        return NULL;
    }
    value = pawl_resp_memory(reader, sizeof(*value));
    if (value == NULL) {
        reader->status = PAWL_ENOMEM;
        return NULL;
    }
    memset(value, 0, sizeof(*value));
    value->type = type;
    if (parent != NULL) {
        if (parent->list.last != NULL) {
            parent->list.last->next = value;
        } else {
            parent->list.first = value;
        }
        parent->list.last = value;
        parent->count++;
    }
    return value;
}

static void *create_string(const redisReadTask *task, char *text, size_t size)
{
    struct pawl_resp_reader *reader = task->privdata;
    struct pawl_resp *value;
    uint8_t *copy;

    reader->texts += size;
    if (reader->texts > PAWL_RESP_REPLY_MAX ||
        (task->type != REDIS_REPLY_STRING && size > PAWL_RESP_LINE_MAX)) {
        reader->status = PAWL_ETOOBIG;
        return NULL;
    }
    value = add(task, task->type == REDIS_REPLY_ERROR    ? PAWL_RESP_ERROR
                      : task->type == REDIS_REPLY_STATUS ? PAWL_RESP_STATUS
                                                         : PAWL_RESP_STRING);
    copy = value == NULL ? NULL : pawl_resp_memory(reader, size + 1);
    if (copy == NULL) {
        reader->status = reader->status == PAWL_OK ? PAWL_ENOMEM : reader->status;
        return NULL;
    }
    memcpy(copy, text, size);
    copy[size] = '\0'; /* for the eyes of a debugger; texts have a size */
    value->text = pawl_bytes_of(copy, size);
    return value;
}

static void *create_array(const redisReadTask *task, int elements)
{
    struct pawl_resp_reader *reader = task->privdata;

    if (elements < 0 || (uint32_t)elements > PAWL_RESP_ELEMENTS_MAX) {
        reader->status = PAWL_ETOOBIG;
        return NULL;
    }
    return add(task, PAWL_RESP_ARRAY);
}

static void *create_integer(const redisReadTask *task, long long number)
{
    struct pawl_resp *value = add(task, PAWL_RESP_INTEGER);

    if (value != NULL) {
        value->integer = number;
    }
    return value;
}

static void *create_nil(const redisReadTask *task)
{
    return add(task, PAWL_RESP_NIL);
}

static void free_nothing(void *object)
{
    (void)object; /* it lies in the arena */
}

static redisReplyObjectFunctions functions = { create_string, create_array, create_integer,
                                               create_nil, free_nothing };

struct pawl_resp_reader *pawl_resp_reader_create(void)
{
    struct pawl_resp_reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL) {
        return NULL;
    }
    reader->parser = redisReaderCreateWithFunctions(&functions);
    if (reader->parser == NULL) {
        free(reader);
        return NULL;
    }
    reader->parser->privdata = reader;
    reader->fresh = true;
    return reader;
}

void pawl_resp_reader_destroy(struct pawl_resp_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    redisReaderFree(reader->parser);
    drop_chunks(reader, true);
    free(reader);
}

/* ---- reading ---- */

/*
 * hiredis keeps what it has no end of yet, however long. A line ends within LINE_MAX; of a bulk
 * text the length has to come at once, and to be one that is taken.
 */
static enum pawl_status check_kept(const struct pawl_resp_reader *reader)
{
    const redisReader *parser = reader->parser;
    size_t kept = parser->len - parser->pos;
    const char *at = parser->buf + parser->pos;
    uint64_t size = 0;

    if (parser->ridx < 0 || kept == 0) {
        return PAWL_OK;
    }
    if (parser->rstack[parser->ridx].type != REDIS_REPLY_STRING) {
        return kept > PAWL_RESP_LINE_MAX + 1 ? PAWL_ETOOBIG : PAWL_OK;
    }
    for (size_t i = 0; i < kept && at[i] >= '0' && at[i] <= '9'; i++) {
        size = i < 12 ? size * 10 + (uint64_t)(at[i] - '0') : UINT64_MAX / 2;
    }
    if (size > PAWL_RESP_REPLY_MAX - reader->texts) {
        return PAWL_ETOOBIG;
    }
    if (kept > HEADER_MAX && memchr(at, '\r', HEADER_MAX) == NULL) {
        return PAWL_EINVAL;
    }
    return PAWL_OK;
}

static enum pawl_status parse(struct pawl_resp_reader *reader, const struct pawl_resp **value)
{
    void *reply = NULL;

    if (reader->fresh) {
        drop_chunks(reader, false);
        reader->arena = 0;
        reader->texts = 0;
        reader->elements = 0;
        reader->fresh = false;
    }
    if (redisReaderGetReply(reader->parser, &reply) != REDIS_OK) {
        return reader->status != PAWL_OK ? reader->status : PAWL_EINVAL;
    }
    if (reply != NULL) {
        reader->fresh = true;
        *value = reply;
        return PAWL_OK;
    }
    reader->status = check_kept(reader);
    return reader->status == PAWL_OK ? PAWL_EAGAIN : reader->status;
}

enum pawl_status pawl_resp_next(struct pawl_resp_reader *reader, struct pawl_bytes *data,
                                const struct pawl_resp **value)
{
    for (;;) {
        enum pawl_status status = parse(reader, value);
        size_t size = data->size < FEED_BYTES ? data->size : FEED_BYTES;

        if (status != PAWL_EAGAIN || size == 0) {
            return status;
        }
        if (redisReaderFeed(reader->parser, (const char *)data->data, size) != REDIS_OK) {
            reader->status = PAWL_ENOMEM;
            return PAWL_ENOMEM;
        }
        data->data += size;
        data->size -= size;
    }
}

/* ---- looking ---- */

bool pawl_resp_text(const struct pawl_resp *value, struct pawl_bytes *text)
{
    if (!pawl_resp_is(value, PAWL_RESP_STRING) && !pawl_resp_is(value, PAWL_RESP_STATUS)) {
        return false;
    }
    *text = value->text;
    return true;
}

bool pawl_resp_integer(const struct pawl_resp *value, uint64_t *number)
{
    if (!pawl_resp_is(value, PAWL_RESP_INTEGER) || value->integer < 0) {
        return false;
    }
    *number = (uint64_t)value->integer;
    return true;
}

bool pawl_resp_number(const struct pawl_resp *value, uint64_t *number)
{
    struct pawl_bytes text;
    uint64_t sum = 0;

    if (pawl_resp_integer(value, number)) {
        return true;
    }
    if (!pawl_resp_text(value, &text) || text.size == 0 || text.size > 20) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';

        if (digit > 9 || sum > (UINT64_MAX - digit) / 10) {
            return false;
        }
        sum = sum * 10 + digit;
    }
    *number = sum;
    return true;
}
