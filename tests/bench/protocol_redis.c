#include "load_socket.h"
#include "protocols.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEY_TEXT  "user:00000000"
#define KEY_SIZE  (sizeof(KEY_TEXT) - 1)
#define SHA_BYTES 40

/*
 * A sliding log as it is commonly written for Redis: the server's clock, one sorted set for each
 * key, members told apart by microseconds and a counter. The answer: allowed, count, retry (us).
 */
static const char script[] = "local t = redis.call('TIME') "
                             "local now = t[1] * 1000000 + t[2] "
                             "local window = tonumber(ARGV[2]) * 1000 "
                             "local limit = tonumber(ARGV[1]) "
                             "redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - window) "
                             "local count = redis.call('ZCARD', KEYS[1]) "
                             "if count < limit then "
                             "  redis.call('ZADD', KEYS[1], now, t[1] .. t[2] .. ':' .. count) "
                             "  redis.call('PEXPIRE', KEYS[1], ARGV[2]) "
                             "  return {1, count + 1, 0} "
                             "end "
                             "local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES') "
                             "return {0, count, tonumber(oldest[2]) + window - now}";

static bool redis_fail(struct bench_redis *redis, const char *address, const char *what)
{
    snprintf(redis->refusal, sizeof(redis->refusal), "%s: %s", address, what);
    return false;
}

/* Send @request and read up to one line break past @want bytes; both are small. */
static bool ask(int fd, const char *request, size_t size, char *reply, size_t want)
{
    struct pollfd ready = { .fd = fd, .events = POLLIN };
    size_t have = 0;

    if (send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size) {
        return false;
    }
    while (have < want && poll(&ready, 1, 5000) == 1) {
        ssize_t got = recv(fd, reply + have, want - have, 0);

        if (got <= 0) {
            return false;
        }
        have += (size_t)got;
        if (reply[0] == '-') {
            return false;
        }
    }
    return have == want;
}

bool bench_redis_init(struct bench_redis *redis, const char *address, uint64_t count,
                      uint32_t window_ms, uint64_t keys, uint64_t seed)
{
    char text[sizeof(script) + 64];
    char sha[5 + SHA_BYTES + 2]; /* $40, the digest, both with their line ends */
    char count_text[24];
    char window_text[16];
    int fd;
    int size;

    memset(redis, 0, sizeof(*redis));
    redis->keys = keys;
    redis->random = seed;
    fd = load_connect(address, redis->refusal, sizeof(redis->refusal));
    if (fd < 0) {
        return false;
    }
    size = snprintf(text, sizeof(text), "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$%zu\r\n%s\r\n",
                    sizeof(script) - 1, script);
    if (!ask(fd, text, (size_t)size, sha, sizeof(sha))) {
        close(fd);
        return redis_fail(redis, address, "does not take the script; is it a Redis?");
    }
    close(fd);
    snprintf(count_text, sizeof(count_text), "%llu", (unsigned long long)count);
    snprintf(window_text, sizeof(window_text), "%u", window_ms);
    size = snprintf(redis->frame, sizeof(redis->frame),
                    "*6\r\n$7\r\nEVALSHA\r\n$40\r\n%.40s\r\n$1\r\n1\r\n$%zu\r\n" KEY_TEXT
                    "\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n",
                    sha + 5, KEY_SIZE, strlen(count_text), count_text, strlen(window_text),
                    window_text);
    redis->size = (size_t)size;
    redis->key_at = (size_t)(strstr(redis->frame, KEY_TEXT) - redis->frame) + 5;
    return true;
}

static size_t redis_write(void *state, uint32_t slot, uint32_t place, uint8_t *out)
{
    struct bench_redis *redis = state;
    uint64_t key = ((load_random(&redis->random) >> 32) * redis->keys) >> 32;

    (void)slot;
    (void)place;
    memcpy(out, redis->frame, redis->size);
    for (size_t i = 8; i-- > 0; key >>= 4) {
        out[redis->key_at + i] = (uint8_t) "0123456789abcdef"[key & 15];
    }
    return redis->size;
}

/* "*3" and three ":n" lines, or one "-" line. */
static size_t redis_read(void *state, uint32_t base, const uint8_t *data, size_t size,
                         struct load_answer *answer)
{
    struct bench_redis *redis = state;
    int lines = data[0] == '-' ? 1 : 4;
    const uint8_t *at = data;

    (void)base;
    if (data[0] != '-' && data[0] != '*') {
        return LOAD_BROKEN;
    }
    for (; lines > 0; lines--) {
        at = memchr(at, '\n', size - (size_t)(at - data));
        if (at == NULL) {
            return LOAD_MORE;
        }
        at++;
    }
    answer->outcome = data[0] == '-' ? LOAD_ERROR : LOAD_ANSWERED;
    if (answer->outcome == LOAD_ERROR && redis->refusal[0] == '\0') {
        snprintf(redis->refusal, sizeof(redis->refusal), "%.*s", (int)(at - data - 2),
                 (const char *)data);
    } else if (data[5] == '1' || data[5] == '0') {
        answer->outcome = data[5] == '1' ? LOAD_ALLOWED : LOAD_DENIED;
    }
    return (size_t)(at - data);
}

struct load_protocol bench_redis_protocol(struct bench_redis *redis)
{
    struct load_protocol protocol = { .state = redis, .write = redis_write, .read = redis_read };

    return protocol;
}
