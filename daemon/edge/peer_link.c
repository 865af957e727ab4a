#include "edge/peer_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/handler.h"
#include "pawl/v1/cold.h"
#include "pawl/v1/envelope.h"
#include "pawl/v1/frame.h"

#define REST_MS     50
#define REST_MS_MAX 2000
#define SERVED_MS   1000 /* open so long: what ends it then is no failure of the address */
#define WHY_BYTES   480
#define HELLO_BYTES 128
#define ARENA_BYTES 4096
#define INPUT_FIRST 4096
#define INPUT_MAX   (PAWL_FRAME_HEADER_BYTES + PAWL_REPLY_BYTES_MAX)
#define CALL_MASK   (PAWL_PEER_IN_FLIGHT_MAX - 1)
#define NEVER       UINT64_MAX

struct pawl_peer_link {
    struct pawl_peer_link_options options;
    struct pawl_address address;
    char text[PAWL_ADDRESS_TEXT_MAX];
    enum pawl_peer_link_state state;
    struct pawl_stream *stream; /* NULL: there is none */
    struct pawl_timer *timer;
    uint64_t timer_ms; /* when it runs; NEVER: it does not */
    uint64_t random;
    uint64_t opening_until_ms;
    uint64_t opened_ms;
    uint64_t rest_until_ms;
    unsigned failures; /* in a row */
    char why[WHY_BYTES];
    uint64_t next_id;
    unsigned outstanding; /* the hello among them */
    unsigned depth;       /* of our events on the stack */
    bool dead;
    uint8_t *input; /* of a frame that is not whole */
    size_t input_size, input_capacity;
    struct pawl_peer_call calls[PAWL_PEER_IN_FLIGHT_MAX];
};

/* ---- life ---------------------------------------------------------------------------------- */

static void free_if_over(struct pawl_peer_link *link)
{
    if (link->dead && link->stream == NULL && link->depth == 0) {
        free(link->input);
        free(link);
    }
}

static void on_timer(void *ctx);

struct pawl_peer_link *pawl_peer_link_create(const struct pawl_peer_link_options *options)
{
    struct pawl_peer_link *link = calloc(1, sizeof(*link));
    size_t size = strlen(options->address);

    if (link == NULL || size >= sizeof(link->text) ||
        pawl_address_parse(pawl_bytes_of(options->address, size), &link->address, NULL) !=
            PAWL_OK) {
        free(link);
        return NULL;
    }
    link->options = *options;
    memcpy(link->text, options->address, size);
    link->options.address = link->text;
    link->timer_ms = NEVER;
    link->random = options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    link->next_id = 1;
    link->timer = options->net.ops->timer(options->net.self, on_timer, link);
    if (link->timer == NULL) {
        free(link);
        return NULL;
    }
    return link;
}

static uint64_t now_of(const struct pawl_peer_link *link)
{
    return link->options.net.ops->now_ms(link->options.net.self);
}

/* ---- requests ------------------------------------------------------------------------------ */

static struct pawl_peer_call *find_call(struct pawl_peer_link *link, uint64_t id)
{
    struct pawl_peer_call *call = &link->calls[id & CALL_MASK];

    return id != 0 && call->id == id ? call : NULL;
}

static void end_call(struct pawl_peer_link *link, struct pawl_peer_call *call,
                     enum pawl_peer_outcome outcome, struct pawl_bytes reply, const char *why)
{
    struct pawl_peer_call ended = *call;

    memset(call, 0, sizeof(*call));
    link->outstanding--;
    free(ended.held);
    ended.done(ended.ctx, outcome, reply, why);
}

static void fail_call(struct pawl_peer_link *link, struct pawl_peer_call *call, const char *why)
{
    end_call(link, call, call->held != NULL ? PAWL_PEER_UNSENT : PAWL_PEER_UNKNOWN,
             pawl_bytes_of(NULL, 0), why);
}

/* Those that are outstanding now; what their askers ask anew meanwhile stays. */
static void fail_all(struct pawl_peer_link *link, const char *why)
{
    uint64_t before = link->next_id;

    for (unsigned i = 0; i < PAWL_PEER_IN_FLIGHT_MAX; i++) {
        if (link->calls[i].id != 0 && link->calls[i].id < before) {
            fail_call(link, &link->calls[i], why);
        }
    }
}

static void arm(struct pawl_peer_link *link, uint64_t due_ms, uint64_t now_ms)
{
    if (due_ms < link->timer_ms && !link->dead) {
        uint64_t in_ms = due_ms > now_ms ? due_ms - now_ms : 1;

        link->timer_ms = due_ms;
        link->options.net.ops->start(link->timer,
                                     in_ms < UINT32_MAX ? (uint32_t)in_ms : UINT32_MAX);
    }
}

/* ---- ends ---------------------------------------------------------------------------------- */

static uint64_t rest_ms(struct pawl_peer_link *link)
{
    unsigned doublings = link->failures < 7 ? link->failures - 1 : 6;
    uint64_t whole = (uint64_t)REST_MS << doublings;

    whole = whole < REST_MS_MAX ? whole : REST_MS_MAX;
    link->random ^= link->random << 13; /* xorshift64 (Marsaglia, 2003): jitter, no secret */
    link->random ^= link->random >> 7;
    link->random ^= link->random << 17;
    return whole / 2 + link->random % (whole / 2 + 1);
}

static void tell(struct pawl_peer_link *link, bool open, const char *why)
{
    bool is_news = open || link->failures <= 1; /* of an outage its beginning */

    if (link->options.changed != NULL && !link->dead && is_news) {
        link->options.changed(link->options.ctx, &link->options.member, open, why);
    }
}

/* The connection is over, or never was; what waits for it ends. */
static void come_down(struct pawl_peer_link *link, const char *why)
{
    uint64_t now_ms = now_of(link);
    bool served = link->state == PAWL_PEER_LINK_PARTING ||
                  (link->state == PAWL_PEER_LINK_OPEN && now_ms - link->opened_ms >= SERVED_MS);

    if (link->state == PAWL_PEER_LINK_IDLE || link->state == PAWL_PEER_LINK_RESTING) {
        return;
    }
    (void)snprintf(link->why, sizeof(link->why), "%s: %.200s", link->text, why);
    link->input_size = 0;
    if (served) {
        link->failures = 0;
        link->state = PAWL_PEER_LINK_IDLE;
    } else {
        link->failures++;
        link->rest_until_ms = now_ms + rest_ms(link);
        link->state = PAWL_PEER_LINK_RESTING;
    }
    tell(link, false, link->why);
    fail_all(link, link->why);
}

/* We end the connection: its `closed` finds nothing left to do. */
static void hang_up(struct pawl_peer_link *link, const char *why)
{
    if (link->stream != NULL) {
        link->options.net.ops->close(link->stream);
    }
    come_down(link, why);
}

static void part_if_done(struct pawl_peer_link *link)
{
    if (link->state == PAWL_PEER_LINK_PARTING && link->outstanding == 0) {
        hang_up(link, "it is draining");
    }
}

void pawl_peer_link_destroy(struct pawl_peer_link *link)
{
    if (link == NULL) {
        return;
    }
    link->dead = true;
    link->depth++;
    link->options.net.ops->release(link->timer);
    if (link->stream != NULL) {
        link->options.net.ops->close(link->stream);
    }
    fail_all(link, "the link is given up");
    link->depth--;
    free_if_over(link);
}

/* ---- what comes ---------------------------------------------------------------------------- */

/* Why the hello's answer is not that of the member meant; NULL where it is. */
static const char *hello_fault(const struct pawl_peer_link *link, const Pawl__V1__Reply *reply)
{
    if (reply == NULL || reply->status != PAWL__V1__STATUS__STATUS_OK || reply->hello == NULL) {
        return "hello was refused";
    }
    if (!link->options.anybody && (reply->hello->node.len != sizeof(link->options.member.bytes) ||
                                   memcmp(reply->hello->node.data, link->options.member.bytes,
                                          sizeof(link->options.member.bytes)) != 0)) {
        return "another member answers there";
    }
    for (size_t i = 0; i < reply->hello->n_roles; i++) {
        if (reply->hello->roles[i] == PAWL__V1__ROLE__ROLE_PEER) {
            return NULL;
        }
    }
    return "it does not give this node the role peer: see tls.clients and listen in its settings";
}

/* What waited, oldest first as far as the table tells: a request may lie among later ones. */
static void send_held(struct pawl_peer_link *link)
{
    uint64_t first = link->next_id;

    for (unsigned i = 0; i < PAWL_PEER_IN_FLIGHT_MAX && link->state == PAWL_PEER_LINK_OPEN; i++) {
        struct pawl_peer_call *call = &link->calls[(first + i) & CALL_MASK];

        if (call->id == 0 || call->held == NULL) {
            continue;
        }
        if (link->options.net.ops->write(link->stream, call->held, call->held_size) != PAWL_OK) {
            fail_call(link, call, "its output is full");
            continue;
        }
        free(call->held);
        call->held = NULL;
    }
}

static void on_hello(void *ctx, enum pawl_peer_outcome outcome, struct pawl_bytes message,
                     const char *why)
{
    struct pawl_peer_link *link = ctx;
    uint64_t memory[ARENA_BYTES / sizeof(uint64_t)];
    struct pawl_cold_arena arena;
    Pawl__V1__Reply *reply = NULL;

    (void)why; /* come_down() said it */
    if (outcome != PAWL_PEER_REPLY || link->state != PAWL_PEER_LINK_OPENING) {
        return;
    }
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    if (pawl_cold_read_reply(&arena, message, &reply) != PAWL_OK) {
        reply = NULL;
    }
    const char *fault = hello_fault(link, reply);

    if (fault != NULL) {
        hang_up(link, fault);
        return;
    }
    link->state = PAWL_PEER_LINK_OPEN;
    link->opened_ms = now_of(link);
    link->failures = 0;
    link->why[0] = '\0';
    tell(link, true, NULL);
    send_held(link);
}

/* "Send nothing new", and at the end "what came behind this id was not begun". */
static void on_goaway(struct pawl_peer_link *link, struct pawl_bytes message)
{
    uint64_t memory[ARENA_BYTES / sizeof(uint64_t)];
    struct pawl_cold_arena arena;
    Pawl__V1__Reply *reply = NULL;

    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    if (pawl_cold_read_reply(&arena, message, &reply) != PAWL_OK || reply->goaway == NULL) {
        hang_up(link, "its goaway cannot be read");
        return;
    }
    if (link->state == PAWL_PEER_LINK_OPENING) {
        hang_up(link, "it is draining");
        return;
    }
    link->state = PAWL_PEER_LINK_PARTING;
    for (unsigned i = 0; i < PAWL_PEER_IN_FLIGHT_MAX; i++) {
        struct pawl_peer_call *call = &link->calls[i];

        if (call->id > reply->goaway->last_id) {
            end_call(link, call, PAWL_PEER_UNSENT, pawl_bytes_of(NULL, 0),
                     "it is draining, and had not begun it");
        }
    }
}

static void on_message(struct pawl_peer_link *link, struct pawl_bytes message)
{
    struct pawl_envelope_reply envelope;

    if (pawl_envelope_read_reply(&envelope, message) != PAWL_OK) {
        hang_up(link, "its reply cannot be read");
        return;
    }
    if (envelope.goaway) {
        on_goaway(link, message);
        return;
    }
    struct pawl_peer_call *call = find_call(link, envelope.id);

    if (call != NULL && call->held == NULL) { /* else it came too late, or for nobody */
        end_call(link, call, PAWL_PEER_REPLY, message, NULL);
    }
}

/* All whole frames in @data; returns the bytes they take, SIZE_MAX when they cannot be. */
static size_t take_frames(struct pawl_peer_link *link, const uint8_t *data, size_t size)
{
    size_t at = 0;

    while (link->stream != NULL && link->state != PAWL_PEER_LINK_IDLE &&
           link->state != PAWL_PEER_LINK_RESTING && !link->dead) {
        struct pawl_bytes message;
        enum pawl_status status =
            pawl_frame_next(data + at, size - at, PAWL_REPLY_BYTES_MAX, &message, NULL);

        if (status == PAWL_EAGAIN) {
            return at;
        }
        if (status != PAWL_OK) {
            return SIZE_MAX;
        }
        at += PAWL_FRAME_HEADER_BYTES + message.size;
        on_message(link, message);
    }
    return size; /* nobody wants the rest */
}

/* Keep @size bytes behind those that are there; false: no memory. */
static bool keep_input(struct pawl_peer_link *link, const uint8_t *data, size_t size)
{
    size_t wanted = link->input_size + size;

    if (wanted > link->input_capacity) {
        size_t capacity = link->input_capacity == 0 ? INPUT_FIRST : link->input_capacity;

        while (capacity < wanted) {
            capacity *= 2;
        }
        uint8_t *input = realloc(link->input, capacity);

        if (input == NULL) {
            return false;
        }
        link->input = input;
        link->input_capacity = capacity;
    }
    if (size > 0) {
        memcpy(link->input + link->input_size, data, size);
    }
    link->input_size = wanted;
    return true;
}

static void take_input(struct pawl_peer_link *link, const uint8_t *data, size_t size)
{
    size_t taken;

    if (link->input_size == 0) {
        taken = take_frames(link, data, size);
        if (taken == SIZE_MAX || !keep_input(link, data + taken, size - taken)) {
            hang_up(link, taken == SIZE_MAX ? "its frame is too long" : "no memory");
        }
        return;
    }
    /* At most one frame more than what a read brings: the cap of a frame bounds both. */
    if (!keep_input(link, data, size)) {
        hang_up(link, "no memory");
        return;
    }
    taken = take_frames(link, link->input, link->input_size);
    if (taken == SIZE_MAX) {
        hang_up(link, "its frame is too long");
        return;
    }
    if (link->input_size >= taken) { /* hang_up() forgets it */
        link->input_size -= taken;
        memmove(link->input, link->input + taken, link->input_size);
    }
    if (link->input_size == 0 && link->input_capacity > INPUT_MAX / 16) {
        free(link->input); /* large ones are rare: pulls */
        link->input = NULL;
        link->input_capacity = 0;
    }
}

static void on_bytes(void *ctx, const uint8_t *data, size_t size)
{
    struct pawl_peer_link *link = ctx;

    if (link->dead || link->state == PAWL_PEER_LINK_IDLE || link->state == PAWL_PEER_LINK_RESTING) {
        return;
    }
    link->depth++;
    take_input(link, data, size);
    if (!link->dead) {
        part_if_done(link);
    }
    link->depth--;
    free_if_over(link);
}

static void on_closed(void *ctx, enum pawl_status status, const char *why)
{
    struct pawl_peer_link *link = ctx;

    (void)status;
    link->stream = NULL;
    link->depth++;
    if (!link->dead) {
        come_down(link, why);
    }
    link->depth--;
    free_if_over(link);
}

/* ---- opening ------------------------------------------------------------------------------- */

static uint64_t free_id(struct pawl_peer_link *link)
{
    for (unsigned i = 0; i < PAWL_PEER_IN_FLIGHT_MAX; i++) {
        if (link->calls[link->next_id & CALL_MASK].id == 0) {
            return link->next_id;
        }
        link->next_id++;
    }
    return 0;
}

static void note_call(struct pawl_peer_link *link, uint64_t id, uint64_t deadline_ms,
                      uint64_t now_ms, pawl_peer_done done, void *ctx)
{
    link->calls[id & CALL_MASK] =
        (struct pawl_peer_call){ .id = id, .deadline_ms = deadline_ms, .done = done, .ctx = ctx };
    link->outstanding++;
    link->next_id = id + 1;
    arm(link, deadline_ms, now_ms);
}

static void on_opened(void *ctx)
{
    struct pawl_peer_link *link = ctx;
    uint8_t frame[HELLO_BYTES];
    Pawl__V1__Hello hello = PAWL__V1__HELLO__INIT;
    Pawl__V1__Ping ping = PAWL__V1__PING__INIT;
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;

    if (link->dead || link->state != PAWL_PEER_LINK_OPENING) {
        return;
    }
    request.id = free_id(link); /* one is always left for it */
    request.hello = &hello;
    request.body_case = PAWL__V1__REQUEST__BODY_PING;
    request.ping = &ping;
    hello.version_min = 1;
    hello.version_max = 1;
    hello.client.data = (uint8_t *)(uintptr_t) "pawld peer " PAWL_VERSION;
    hello.client.len = sizeof("pawld peer " PAWL_VERSION) - 1;
    size_t size = pawl_cold_write_request(frame, sizeof(frame), &request);

    link->depth++;
    if (link->options.net.ops->write(link->stream, frame, size) == PAWL_OK) {
        note_call(link, request.id, link->opening_until_ms, now_of(link), on_hello, link);
    } else {
        hang_up(link, "hello could not be sent");
    }
    link->depth--;
    free_if_over(link);
}

static const struct pawl_stream_events stream_events = { on_opened, on_bytes, on_closed };

/* False: it cannot even begin; why is said in link->why, and the link rests. */
static bool dial(struct pawl_peer_link *link)
{
    bool is_tls = link->address.kind == PAWL_ADDRESS_TLS;
    bool is_unix = link->address.kind == PAWL_ADDRESS_UNIX;
    struct pawl_tls_context *context =
        is_tls && link->options.context != NULL ? link->options.context(link->options.ctx) : NULL;
    struct pawl_dial to = {
        .host = is_unix ? link->address.path : link->address.host,
        .port = is_unix ? 0 : link->address.port,
        .context = context,
        .name = link->options.name,
        .timeout_ms = PAWL_PEER_CONNECT_MS,
        .user_timeout_ms = is_unix ? 0 : PAWL_PEER_USER_TIMEOUT_MS,
        .output_max = PAWL_PEER_OUTPUT_MAX,
    };

    link->state = PAWL_PEER_LINK_OPENING;
    link->opening_until_ms = now_of(link) + PAWL_PEER_CONNECT_MS;
    if (!is_tls || context != NULL) {
        link->stream =
            link->options.net.ops->connect(link->options.net.self, &to, &stream_events, link);
    }
    if (context != NULL) {
        link->options.tls->unref(context);
    }
    if (link->stream == NULL) {
        come_down(link,
                  is_tls && context == NULL ? "no certificate to dial with: see tls" : "no memory");
        return false;
    }
    arm(link, link->opening_until_ms, now_of(link));
    return true;
}

uint64_t pawl_peer_link_next(struct pawl_peer_link *link)
{
    if (link->dead || link->state == PAWL_PEER_LINK_PARTING ||
        link->outstanding >= PAWL_PEER_IN_FLIGHT_MAX - 1) {
        return 0;
    }
    if (link->state == PAWL_PEER_LINK_RESTING && now_of(link) < link->rest_until_ms) {
        return 0;
    }
    /* One that we closed may not have ended yet: its events would be taken for the next one's. */
    if ((link->state == PAWL_PEER_LINK_RESTING || link->state == PAWL_PEER_LINK_IDLE) &&
        link->stream != NULL) {
        return 0;
    }
    return free_id(link);
}

static uint8_t *copy_of(struct pawl_bytes frame)
{
    uint8_t *copy = malloc(frame.size);

    if (copy != NULL) {
        memcpy(copy, frame.data, frame.size);
    }
    return copy;
}

enum pawl_status pawl_peer_link_ask(struct pawl_peer_link *link, uint64_t id,
                                    struct pawl_bytes frame, uint32_t timeout_ms,
                                    pawl_peer_done done, void *ctx)
{
    uint8_t *held = NULL;

    if (id == 0 || id != link->next_id || link->dead) {
        return PAWL_EUNAVAIL;
    }
    if ((link->state == PAWL_PEER_LINK_IDLE || link->state == PAWL_PEER_LINK_RESTING) &&
        !dial(link)) {
        return PAWL_EUNAVAIL;
    }
    if (link->state == PAWL_PEER_LINK_OPENING) {
        held = copy_of(frame);
        if (held == NULL) {
            return PAWL_ENOMEM;
        }
    } else {
        enum pawl_status status =
            link->options.net.ops->write(link->stream, frame.data, frame.size);

        if (status != PAWL_OK) {
            return status == PAWL_EFULL ? PAWL_EFULL : PAWL_EUNAVAIL;
        }
    }
    uint64_t now_ms = now_of(link);

    note_call(link, id, now_ms + timeout_ms, now_ms, done, ctx);
    link->calls[id & CALL_MASK].held = held;
    link->calls[id & CALL_MASK].held_size = frame.size;
    return PAWL_OK;
}

/* ---- time ---------------------------------------------------------------------------------- */

static void on_timer(void *ctx)
{
    struct pawl_peer_link *link = ctx;
    uint64_t now_ms = now_of(link);
    uint64_t due_ms = NEVER;

    link->timer_ms = NEVER;
    link->depth++;
    if (link->state == PAWL_PEER_LINK_OPENING && now_ms >= link->opening_until_ms) {
        hang_up(link, "no answer to hello in time");
    }
    for (unsigned i = 0; i < PAWL_PEER_IN_FLIGHT_MAX && !link->dead; i++) {
        struct pawl_peer_call *call = &link->calls[i];

        if (call->id != 0 && now_ms >= call->deadline_ms) {
            fail_call(link, call, "no answer in time");
        }
        if (!link->dead && call->id != 0 && call->deadline_ms < due_ms) {
            due_ms = call->deadline_ms;
        }
    }
    if (!link->dead) {
        part_if_done(link);
        if (link->state == PAWL_PEER_LINK_OPENING && link->opening_until_ms < due_ms) {
            due_ms = link->opening_until_ms;
        }
        if (due_ms != NEVER) {
            arm(link, due_ms, now_ms);
        }
    }
    link->depth--;
    free_if_over(link);
}

enum pawl_peer_link_state pawl_peer_link_state(const struct pawl_peer_link *link)
{
    return link->state;
}

const char *pawl_peer_link_why(const struct pawl_peer_link *link)
{
    return link->state == PAWL_PEER_LINK_RESTING ? link->why : "";
}

unsigned pawl_peer_link_outstanding(const struct pawl_peer_link *link)
{
    return link->outstanding;
}
