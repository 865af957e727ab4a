#include "memory.h"
#include "protocols.h"

#include "pawl/v1/cold.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ARENA_BYTES 16384
#define SID_MAX     64
#define LIFE_S      UINT64_C(604800)

struct bench_family {
    char sid[SID_MAX];
    size_t sid_size; /* 0 = not opened yet */
    uint64_t generation;
};

static ProtobufCBinaryData text_field(const char *text)
{
    /* protobuf-c has no const; packing only reads */
    ProtobufCBinaryData field = { strlen(text), (uint8_t *)(uintptr_t)text };

    return field;
}

static void keep_refusal(char *refusal, size_t size, const char *what, const Pawl__V1__Reply *reply)
{
    if (refusal[0] == '\0') {
        snprintf(refusal, size, "%s (status %d): %.*s", what, (int)reply->status,
                 (int)reply->error.len, (const char *)reply->error.data);
    }
}

/* Find a frame as load_frame_read() does and unpack it; NULL where there is no whole answer. */
static Pawl__V1__Reply *unpack(struct pawl_cold_arena *arena, const uint8_t *data, size_t took,
                               struct load_answer *answer)
{
    Pawl__V1__Reply *reply = NULL;

    if (took >= LOAD_BROKEN || answer->outcome == LOAD_NOTICE) {
        return NULL;
    }
    answer->outcome = LOAD_ERROR;
    if (pawl_cold_read_reply(
            arena, pawl_bytes_of(data + PAWL_FRAME_HEADER_BYTES, took - PAWL_FRAME_HEADER_BYTES),
            &reply) != PAWL_OK) {
        return NULL;
    }
    return reply;
}

bool bench_revoke_init(struct bench_revoke *revoke, uint64_t first, uint64_t keys, uint64_t now_s)
{
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__Revoke body = PAWL__V1__REVOKE__INIT;

    memset(revoke, 0, sizeof(*revoke));
    revoke->first = first;
    revoke->keys = keys;
    body.scope = PAWL__V1__SCOPE__SCOPE_TOKEN;
    body.issuer = text_field("https://auth.example");
    body.value = text_field("6f1c9f0e2b7d4a55a3e0" LOAD_MARK);
    body.exp = now_s + LIFE_S;
    body.reason = PAWL__V1__REASON__REASON_LOGOUT;
    body.ack = PAWL__V1__ACK__ACK_DURABLE;
    request.id = LOAD_ID_BASE;
    request.body_case = PAWL__V1__REQUEST__BODY_REVOKE;
    request.revoke = &body;
    return load_template_scan(&revoke->frame,
                              pawl_cold_write_request(revoke->frame.bytes,
                                                      sizeof(revoke->frame.bytes), &request));
}

static size_t revoke_write(void *state, uint32_t slot, uint32_t place, uint8_t *out)
{
    struct bench_revoke *revoke = state;
    uint64_t key = revoke->first + revoke->next;

    (void)slot;
    revoke->next = revoke->next + 1 < revoke->keys ? revoke->next + 1 : 0;
    return load_template_write(&revoke->frame, place, (uint32_t)key, out);
}

static size_t revoke_read(void *state, uint32_t base, const uint8_t *data, size_t size,
                          struct load_answer *answer)
{
    struct bench_revoke *revoke = state;
    uint8_t memory[ARENA_BYTES] __attribute__((aligned(16)));
    struct pawl_cold_arena arena;
    size_t took = load_frame_read(data, size, answer);
    const Pawl__V1__Reply *reply;

    (void)base;
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    reply = unpack(&arena, data, took, answer);
    if (reply == NULL) {
        return took;
    }
    if (reply->status == PAWL__V1__STATUS__STATUS_OK &&
        reply->body_case == PAWL__V1__REPLY__BODY_REVOKE &&
        reply->revoke->acknowledged >= PAWL__V1__ACK__ACK_DURABLE) {
        answer->outcome = LOAD_ALLOWED;
    } else {
        keep_refusal(revoke->refusal, sizeof(revoke->refusal), "revoke", reply);
    }
    return took;
}

struct load_protocol bench_revoke_protocol(struct bench_revoke *revoke)
{
    struct load_protocol protocol = { .state = revoke, .write = revoke_write, .read = revoke_read };

    return protocol;
}

void bench_rotate_init(struct bench_rotate *rotate, uint32_t slots, uint64_t run, uint64_t now_s)
{
    memset(rotate, 0, sizeof(*rotate));
    rotate->slots = slots;
    rotate->run = run;
    rotate->exp_s = now_s + LIFE_S;
    rotate->families = memory_zeroed(slots, sizeof(*rotate->families));
}

void bench_rotate_deinit(struct bench_rotate *rotate)
{
    memory_release(rotate->families);
    rotate->families = NULL;
}

static void jti_text(const struct bench_rotate *rotate, uint32_t slot, uint64_t generation,
                     char *text, size_t size)
{
    snprintf(text, size, "%016" PRIx64 "%08x%08" PRIx64, rotate->run, slot, generation);
}

static size_t rotate_write(void *state, uint32_t slot, uint32_t place, uint8_t *out)
{
    const struct bench_rotate *rotate = state;
    struct bench_family *family = &rotate->families[slot];
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__FamilyOpen opening = PAWL__V1__FAMILY_OPEN__INIT;
    Pawl__V1__Rotate body = PAWL__V1__ROTATE__INIT;
    Pawl__V1__Token presented = PAWL__V1__TOKEN__INIT;
    char now_jti[64];
    char next_jti[64];

    jti_text(rotate, slot, family->generation, now_jti, sizeof(now_jti));
    jti_text(rotate, slot, family->generation + 1, next_jti, sizeof(next_jti));
    request.id = LOAD_ID_BASE + place;
    if (family->sid_size == 0) {
        opening.issuer = text_field("https://auth.example");
        opening.subject = text_field("user:1");
        opening.jti = text_field(now_jti);
        opening.exp = rotate->exp_s;
        request.body_case = PAWL__V1__REQUEST__BODY_FAMILY_OPEN;
        request.family_open = &opening;
    } else {
        presented.issuer = text_field("https://auth.example");
        presented.subject = text_field("user:1");
        presented.jti = text_field(now_jti);
        presented.sid.data = (uint8_t *)family->sid;
        presented.sid.len = family->sid_size;
        body.presented = &presented;
        body.next_jti = text_field(next_jti);
        body.next_exp = rotate->exp_s;
        body.ack = PAWL__V1__ACK__ACK_DURABLE;
        request.body_case = PAWL__V1__REQUEST__BODY_ROTATE;
        request.rotate = &body;
    }
    return pawl_cold_write_request(out, LOAD_FRAME_MAX, &request);
}

static enum load_outcome rotate_outcome(struct bench_rotate *rotate, struct bench_family *family,
                                        const Pawl__V1__Reply *reply)
{
    if (reply->status == PAWL__V1__STATUS__STATUS_OK &&
        reply->body_case == PAWL__V1__REPLY__BODY_FAMILY_OPEN &&
        reply->family_open->sid.len <= sizeof(family->sid)) {
        memcpy(family->sid, reply->family_open->sid.data, reply->family_open->sid.len);
        family->sid_size = reply->family_open->sid.len;
        return LOAD_SETUP;
    }
    if (reply->status == PAWL__V1__STATUS__STATUS_OK &&
        reply->body_case == PAWL__V1__REPLY__BODY_ROTATE &&
        reply->rotate->result == PAWL__V1__ROTATE_RESULT__ROTATE_ROTATED) {
        family->generation++;
        return LOAD_ALLOWED;
    }
    keep_refusal(rotate->refusal, sizeof(rotate->refusal), "rotate", reply);
    return LOAD_ERROR;
}

static size_t rotate_read(void *state, uint32_t base, const uint8_t *data, size_t size,
                          struct load_answer *answer)
{
    struct bench_rotate *rotate = state;
    uint8_t memory[ARENA_BYTES] __attribute__((aligned(16)));
    struct pawl_cold_arena arena;
    size_t took = load_frame_read(data, size, answer);
    const Pawl__V1__Reply *reply;

    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    reply = unpack(&arena, data, took, answer);
    if (reply != NULL && answer->slot < LOAD_IN_FLIGHT_MAX && base + answer->slot < rotate->slots) {
        answer->outcome = rotate_outcome(rotate, &rotate->families[base + answer->slot], reply);
    }
    return took;
}

struct load_protocol bench_rotate_protocol(struct bench_rotate *rotate)
{
    struct load_protocol protocol = { .state = rotate, .write = rotate_write, .read = rotate_read };

    return protocol;
}
