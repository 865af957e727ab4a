/*
 * What the bench sends besides checks: rotations and revocations to pawld, a Lua sliding log to
 * Redis, and plain bytes to the echo server. Each is a struct load_protocol for load_run().
 */
#ifndef PAWL_BENCH_PROTOCOLS_H
#define PAWL_BENCH_PROTOCOLS_H

#include "load.h"
#include "load_pawl.h"

/** The frames of another protocol, answered by an echo of reply_bytes for each. */
struct bench_echo {
    struct load_protocol frames;
    size_t reply_bytes;
};

struct load_protocol bench_echo_protocol(struct bench_echo *echo);

/** Durable revocations of tokens that differ in each request. */
struct bench_revoke {
    struct load_template frame;
    uint64_t first; /* number of the first token; later ones count up */
    uint64_t keys;  /* wrap after so many */
    uint64_t next;
    char refusal[240];
};

/** Build the frame; the tokens live for a week from @now_s. Returns false when it does not fit. */
bool bench_revoke_init(struct bench_revoke *revoke, uint64_t first, uint64_t keys, uint64_t now_s);

struct load_protocol bench_revoke_protocol(struct bench_revoke *revoke);

/** A family for each slot, opened first (LOAD_SETUP) and then rotated again and again. */
struct bench_rotate {
    struct bench_family *families; /* one for each slot */
    uint32_t slots;
    uint64_t run;   /* tells this run's token ids from those of others */
    uint64_t exp_s; /* of every token */
    char refusal[240];
};

void bench_rotate_init(struct bench_rotate *rotate, uint32_t slots, uint64_t run, uint64_t now_s);
void bench_rotate_deinit(struct bench_rotate *rotate);

struct load_protocol bench_rotate_protocol(struct bench_rotate *rotate);

/** EVALSHA of a sliding log; answers are arrays of three integers. */
struct bench_redis {
    char frame[LOAD_FRAME_MAX];
    size_t size;
    size_t key_at;
    uint64_t keys;
    uint64_t random;
    char refusal[240];
};

/**
 * Load the script into the server at @address (unix:PATH or tcp:HOST:PORT) and build the frame
 * for @count per @window_ms. Returns false with a text in redis->refusal.
 */
bool bench_redis_init(struct bench_redis *redis, const char *address, uint64_t count,
                      uint32_t window_ms, uint64_t keys, uint64_t seed);

struct load_protocol bench_redis_protocol(struct bench_redis *redis);

#endif
