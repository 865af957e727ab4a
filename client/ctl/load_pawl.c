#include "load_pawl.h"

#include "memory.h"
#include "pawl/v1/hot.h"

#include <stdio.h>
#include <string.h>

#define ID_AT     PAWL_FRAME_HEADER_BYTES /* tag of the id, then two bytes of it */
#define TAG_ID    0x08
#define TAG_STATE 0x10
#define STATE_OK  0x01 /* STATUS_OK */
#define MARK_SIZE 8

_Static_assert(sizeof(LOAD_MARK) - 1 == MARK_SIZE, "a mark has the size of a key");
_Static_assert(LOAD_ID_BASE + LOAD_IN_FLIGHT_MAX <= 1 << 14, "every id takes two bytes");

bool load_template_scan(struct load_template *frame, size_t size)
{
    if (size <= ID_AT + 2 || size > sizeof(frame->bytes) || frame->bytes[ID_AT] != TAG_ID ||
        frame->bytes[ID_AT + 1] != 0x80 || frame->bytes[ID_AT + 2] != 0x01) {
        return false;
    }
    frame->size = (uint32_t)size;
    frame->mark_count = 0;
    for (size_t at = 0; at + MARK_SIZE <= size; at++) {
        if (memcmp(frame->bytes + at, LOAD_MARK, MARK_SIZE) == 0) {
            if (frame->mark_count == LOAD_PAWL_MARKS_MAX) {
                return false;
            }
            frame->marks[frame->mark_count++] = (uint32_t)at;
        }
    }
    return true;
}

size_t load_template_write(const struct load_template *frame, uint32_t place, uint32_t key,
                           uint8_t *out)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t id = LOAD_ID_BASE + place;
    uint8_t text[MARK_SIZE];

    memcpy(out, frame->bytes, frame->size);
    out[ID_AT + 1] = (uint8_t)(0x80 | (id & 0x7f));
    out[ID_AT + 2] = (uint8_t)(id >> 7);
    for (int i = MARK_SIZE - 1; i >= 0; i--) {
        text[i] = (uint8_t)digits[key & 15];
        key >>= 4;
    }
    for (uint32_t i = 0; i < frame->mark_count; i++) {
        memcpy(out + frame->marks[i], text, MARK_SIZE);
    }
    return frame->size;
}

/* The id and the status of an envelope as every pawld writes them: first, and in this order. */
static enum load_outcome envelope_read(const uint8_t *message, size_t size, uint32_t *place)
{
    uint64_t id = 0;
    uint32_t shift = 0;
    size_t at = 1;

    if (size < 2 || message[0] != TAG_ID) {
        return LOAD_NOTICE;
    }
    while (at < size && shift < 64) {
        id |= (uint64_t)(message[at] & 0x7f) << shift;
        shift += 7;
        if ((message[at++] & 0x80) == 0) {
            break;
        }
    }
    if (id == 0) {
        return LOAD_NOTICE;
    }
    *place = id >= LOAD_ID_BASE && id - LOAD_ID_BASE < LOAD_IN_FLIGHT_MAX
                 ? (uint32_t)(id - LOAD_ID_BASE)
                 : UINT32_MAX;
    return at + 1 < size && message[at] == TAG_STATE && message[at + 1] == STATE_OK ? LOAD_ANSWERED
                                                                                    : LOAD_ERROR;
}

size_t load_frame_read(const uint8_t *data, size_t size, struct load_answer *answer)
{
    uint32_t length;

    if (size < PAWL_FRAME_HEADER_BYTES) {
        return LOAD_MORE;
    }
    length = (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
    if (length == 0 || length > LOAD_INPUT_BYTES - PAWL_FRAME_HEADER_BYTES) {
        return LOAD_BROKEN;
    }
    if (size - PAWL_FRAME_HEADER_BYTES < length) {
        return LOAD_MORE;
    }
    answer->outcome = envelope_read(data + PAWL_FRAME_HEADER_BYTES, length, &answer->slot);
    return PAWL_FRAME_HEADER_BYTES + length;
}

static size_t pawl_write(void *state, uint32_t slot, uint32_t place, uint8_t *out)
{
    struct load_pawl *pawl = state;
    uint64_t keys = pawl->options.keys;
    uint64_t key;

    (void)slot;
    if (pawl->options.sequential) {
        key = pawl->next;
        pawl->next = pawl->next + 1 < keys ? pawl->next + 1 : 0;
    } else {
        key = ((load_random(&pawl->random) >> 32) * keys) >> 32;
    }
    if (pawl->options.numbers != NULL) {
        key = pawl->options.numbers[key];
    }
    return load_template_write(&pawl->frame, place, (uint32_t)key, out);
}

static enum load_outcome outcome_of(const struct pawl_wire_reply *reply)
{
    uint32_t token =
        reply->has_token || reply->body == PAWL_BODY_TOKEN_CHECK ? reply->token.status : 0;

    if (reply->body == PAWL_BODY_TOKEN_CHECK) {
        return token == 1   ? LOAD_ALLOWED
               : token == 5 ? LOAD_UNDECIDED
               : token > 1  ? LOAD_DENIED
                            : LOAD_ERROR;
    }
    if (reply->body != PAWL_BODY_CHECK) {
        return LOAD_ERROR;
    }
    return reply->verdict == PAWL_ALLOW       ? LOAD_ALLOWED
           : reply->verdict == PAWL_DENY      ? LOAD_DENIED
           : reply->verdict == PAWL_UNDECIDED ? LOAD_UNDECIDED
                                              : LOAD_ERROR;
}

/* Decode the whole answer: where verdicts are counted, or to hear why it was refused. */
static enum load_outcome reply_read(struct load_pawl *pawl, const uint8_t *frame, size_t size)
{
    struct pawl_wire_result results[PAWL_RESULTS_MAX];
    struct pawl_wire_reply reply = { .results = results };

    if (pawl_wire_read_reply(&reply, pawl_bytes_of(frame + PAWL_FRAME_HEADER_BYTES,
                                                   size - PAWL_FRAME_HEADER_BYTES)) != PAWL_OK) {
        return LOAD_ERROR;
    }
    if (reply.status != STATE_OK) {
        if (pawl->refusal[0] == '\0') {
            snprintf(pawl->refusal, sizeof(pawl->refusal), "refused (status %u): %.*s",
                     reply.status, (int)reply.error.size, (const char *)reply.error.data);
        }
        return LOAD_ERROR;
    }
    return outcome_of(&reply);
}

static size_t pawl_read(void *state, uint32_t base, const uint8_t *data, size_t size,
                        struct load_answer *answer)
{
    struct load_pawl *pawl = state;
    size_t took = load_frame_read(data, size, answer);

    (void)base;
    if (took < LOAD_BROKEN && answer->outcome != LOAD_NOTICE &&
        (pawl->options.verify || answer->outcome == LOAD_ERROR)) {
        answer->outcome = reply_read(pawl, data, took);
    }
    return took;
}

static struct pawl_bytes text_bytes(const char *text)
{
    return pawl_bytes_of(text, text == NULL ? 0 : strlen(text));
}

/* The claims that an API server has at hand: issuer, ids, subject, times, signing key. */
static void token_fill(struct pawl_wire_token *token, uint64_t now_s)
{
    token->issuer = text_bytes("https://auth.example");
    token->jti = text_bytes("6f1c9f0e2b7d4a55a3e0" LOAD_MARK);
    token->subject = text_bytes("user:" LOAD_MARK);
    token->sid = text_bytes("b3f5a1de-90c4-4c11-8f2a-0bd0" LOAD_MARK);
    token->key = text_bytes("r1");
    token->iat = now_s - 60;
    token->exp = now_s + 3600;
}

static void item_fill(struct pawl_wire_item *item, const struct load_pawl_options *options)
{
    item->limit = text_bytes(options->limit);
    item->key[0] = text_bytes("user:" LOAD_MARK);
    item->key_count = 1;
    item->on_error = PAWL_ON_ERROR_CLOSED;
    if (options->limit == NULL) {
        item->rate_count = options->rate_count;
        for (uint32_t i = 0; i < options->rate_count; i++) {
            item->rates[i].count = options->rate_counts[i];
            item->rates[i].window_ms = options->rate_windows_ms[i];
        }
    }
}

bool load_pawl_init(struct load_pawl *pawl, const struct load_pawl_options *options)
{
    struct pawl_wire_request *request = memory_zeroed(1, sizeof(*request));
    bool built;

    memset(pawl, 0, sizeof(*pawl));
    pawl->options = *options;
    pawl->random = options->seed;
    request->id = LOAD_ID_BASE;
    request->namespace_ = text_bytes(options->ns);
    request->body = options->mode == LOAD_PAWL_TOKEN ? PAWL_BODY_TOKEN_CHECK : PAWL_BODY_CHECK;
    if (options->mode != LOAD_PAWL_CHECK) {
        request->has_token = true;
        token_fill(&request->token, options->now_s);
    }
    if (options->mode != LOAD_PAWL_TOKEN) {
        request->item_count = 1;
        item_fill(&request->items[0], options);
    }
    built = pawl_wire_request_bound(request) <= sizeof(pawl->frame.bytes) &&
            load_template_scan(&pawl->frame, pawl_wire_write_request(pawl->frame.bytes, request));
    memory_release(request);
    return built;
}

struct load_protocol load_pawl_protocol(struct load_pawl *pawl)
{
    struct load_protocol protocol = { .state = pawl, .write = pawl_write, .read = pawl_read };

    return protocol;
}

const char *load_pawl_refusal(const struct load_pawl *pawl)
{
    return pawl->refusal;
}
