/*
 * A closed-loop load generator: some connections, each with a fixed number of requests in flight;
 * the answer to one sends the next. One thread, epoll, no allocation after the start. Used by
 * `pawlctl bench` and by tests/bench.
 *
 * What is sent and how answers are told apart is a protocol (struct load_protocol); pawl's own is
 * in load_pawl.h.
 */
#ifndef PAWL_CTL_LOAD_H
#define PAWL_CTL_LOAD_H

#include "histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_CONNECTIONS_MAX 4096
#define LOAD_IN_FLIGHT_MAX   4096
#define LOAD_FRAME_MAX       2048  /* one request */
#define LOAD_INPUT_BYTES     65536 /* one answer at least fits */

enum load_outcome {
    LOAD_NOTICE = 0,    /* not an answer to a request: the server speaks by itself */
    LOAD_SETUP = 1,     /* answered, but of the preparation: not counted */
    LOAD_ANSWERED = 2,  /* answered; what it says was not looked at */
    LOAD_ALLOWED = 3,   /* yes: allowed, valid, rotated, durable */
    LOAD_DENIED = 4,    /* no */
    LOAD_UNDECIDED = 5, /* cannot tell */
    LOAD_ERROR = 6,     /* refused, or not what was asked for */
};

#define LOAD_MORE   SIZE_MAX       /* of read(): more bytes are needed */
#define LOAD_BROKEN (SIZE_MAX - 1) /* of read(): nothing behind this can be trusted */

/** One answer as read() found it. */
struct load_answer {
    uint32_t slot; /* in: the oldest one of this connection; out: the one that is answered */
    enum load_outcome outcome;
};

/**
 * What travels. A slot is one place in flight: connection x in_flight + its number there.
 * Functions are called on the thread of load_run() only.
 */
struct load_protocol {
    void *state;
    /**
     * The next request of @slot at @out, which has room for LOAD_FRAME_MAX; @place is the slot's
     * number within its connection. Returns its bytes, never 0.
     */
    size_t (*write)(void *state, uint32_t slot, uint32_t place, uint8_t *out);
    /**
     * The first answer in @data. answer->slot is a place in the connection here; @base is the
     * slot of place 0. Returns the bytes it takes, or LOAD_MORE or LOAD_BROKEN.
     */
    size_t (*read)(void *state, uint32_t base, const uint8_t *data, size_t size,
                   struct load_answer *answer);
};

struct load_options {
    const char *address;        /* unix:/path, tcp:host:port or tls:host:port */
    struct load_secure *secure; /* of tls: addresses; else NULL */
    const uint8_t *hello; /* sent first on each connection; its answer is a notice. NULL = none */
    size_t hello_size;    /* up to LOAD_FRAME_MAX */
    uint32_t connections;
    uint32_t in_flight;   /* of each connection */
    uint64_t requests;    /* stop after so many; 0 = by time */
    uint32_t duration_ms; /* measured time; used where requests is 0 */
    uint32_t warmup_ms;   /* before it, not counted; by time only */
    uint32_t stall_ms;    /* give up when nothing was answered for so long */
};

struct load_result {
    uint64_t answered; /* in the measured time, errors included */
    uint64_t outcomes[LOAD_ERROR + 1];
    uint64_t unanswered; /* in flight when a connection broke or nothing came any more */
    uint64_t elapsed_ns;
    uint64_t request_bytes; /* of the answered, summed */
    uint64_t reply_bytes;
    struct histogram latency; /* nanoseconds */
};

/**
 * Put load on options->address until the end that @options names.
 *
 * @result  filled also after a failure, with what was measured up to it. Big (about 70 KiB).
 * @error   text for a person when it failed: what, where, what to do.
 *
 * Returns false when no connection could be made, an option is out of bounds, an answer could not
 * be read, or requests stayed unanswered. Blocks.
 */
bool load_run(const struct load_options *options, const struct load_protocol *protocol,
              struct load_result *result, char *error, size_t error_size);

/** A well mixed 64-bit number; @state is the seed and goes on. */
uint64_t load_random(uint64_t *state);

#endif
