#include "fleet_keys.h"

#include "core/ring.h"
#include "load_socket.h"
#include "pawl/v1/caps.h"
#include "pawl/v1/cold.h"
#include "pawl/v1/frame.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARENA_BYTES 65536
#define INPUT_BYTES 65536
#define PATIENCE_MS 10000
#define TRIES_EACH  1024 /* numbers looked at for each that is wanted: shares are no smaller */

/** What the member said. */
struct fleet {
    struct pawl_subkey key;
    struct pawl_member_id self;
    struct pawl_ring ring;
};

static bool refuse(char *error, size_t error_size, const char *text)
{
    snprintf(error, error_size, "keys of members: %s", text);
    return false;
}

static size_t question(uint8_t *out, size_t capacity)
{
    Pawl__V1__Request request = PAWL__V1__REQUEST__INIT;
    Pawl__V1__Hello hello = PAWL__V1__HELLO__INIT;
    Pawl__V1__ViewGet body = PAWL__V1__VIEW_GET__INIT;

    hello.version_min = 1;
    hello.version_max = 1;
    hello.features = PAWL_FEATURE_ROUTING;
    request.id = 1;
    request.hello = &hello;
    request.body_case = PAWL__V1__REQUEST__BODY_VIEW_GET;
    request.view_get = &body;
    return pawl_cold_write_request(out, capacity, &request);
}

/* The message of the first frame with an id; size 0 when none comes. */
static struct pawl_bytes answer(int fd, uint8_t *input)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    size_t have = 0;

    while (have < INPUT_BYTES && poll(&ready, 1, PATIENCE_MS) == 1) {
        struct pawl_bytes message;
        ssize_t got = read(fd, input + have, INPUT_BYTES - have);

        if (got <= 0) {
            break;
        }
        have += (size_t)got;
        if (pawl_frame_next(input, have, INPUT_BYTES, &message, NULL) == PAWL_OK) {
            return message; /* nothing is said before the answer to a hello */
        }
    }
    return pawl_bytes_of(NULL, 0);
}

static bool take_view(struct fleet *fleet, const Pawl__V1__Reply *reply)
{
    struct pawl_member_id ids[PAWL_MEMBERS_MAX];
    const Pawl__V1__HelloReply *hello = reply->hello;
    const Pawl__V1__ViewReply *view = reply->view;

    if (hello == NULL || hello->slots_subkey.len != sizeof(fleet->key.bytes) ||
        hello->node.len != sizeof(fleet->self.bytes) ||
        reply->body_case != PAWL__V1__REPLY__BODY_VIEW || view->n_members > PAWL_MEMBERS_MAX) {
        return false;
    }
    memcpy(fleet->key.bytes, hello->slots_subkey.data, sizeof(fleet->key.bytes));
    memcpy(fleet->self.bytes, hello->node.data, sizeof(fleet->self.bytes));
    for (size_t i = 0; i < view->n_members; i++) {
        if (view->members[i]->node.len != sizeof(ids[i].bytes)) {
            return false;
        }
        memcpy(ids[i].bytes, view->members[i]->node.data, sizeof(ids[i].bytes));
    }
    return pawl_ring_build(&fleet->ring, &fleet->key, view->view, ids, view->n_members) == PAWL_OK;
}

static bool ask(struct fleet *fleet, int fd)
{
    static uint8_t memory[ARENA_BYTES] __attribute__((aligned(16)));
    static uint8_t input[INPUT_BYTES];
    uint8_t frame[256];
    struct pawl_cold_arena arena;
    Pawl__V1__Reply *reply = NULL;
    size_t size = question(frame, sizeof(frame));
    struct pawl_bytes message;

    if (size == 0 || write(fd, frame, size) != (ssize_t)size) {
        return false;
    }
    message = answer(fd, input);
    pawl_cold_arena_init(&arena, memory, sizeof(memory));
    return message.size > 0 && pawl_cold_read_reply(&arena, message, &reply) == PAWL_OK &&
           take_view(fleet, reply);
}

static bool is_own(const struct fleet *fleet, uint16_t self, uint32_t number)
{
    char text[16];
    int size = snprintf(text, sizeof(text), "user:%08x", number);
    struct pawl_bytes part = pawl_bytes_of(text, (size_t)size);
    uint32_t slot = pawl_ring_slot(&fleet->key, pawl_bytes_of("default", 7), &part, 1);

    return fleet->ring.owner[slot] == self;
}

bool bench_keys_find(const char *address, enum bench_whose whose, uint32_t count, uint32_t *numbers,
                     char *error, size_t error_size)
{
    static struct fleet fleet;
    int fd = load_connect(address, error, error_size);
    uint32_t found = 0;
    bool known;

    if (fd < 0) {
        return false;
    }
    known = ask(&fleet, fd);
    close(fd);
    if (!known) {
        return refuse(error, error_size, "this pawld told no view; is it a member of a fleet?");
    }
    uint16_t self = pawl_ring_find(&fleet.ring, &fleet.self);

    for (uint64_t number = 0; found < count && number < (uint64_t)count * TRIES_EACH; number++) {
        if (is_own(&fleet, self, (uint32_t)number) == (whose == BENCH_OWN)) {
            numbers[found++] = (uint32_t)number;
        }
    }
    return found == count || refuse(error, error_size, "none of them is as asked");
}
