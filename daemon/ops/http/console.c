/*
 * GET /console: one page, with nothing in it from elsewhere.
 * GET /console/data: what it shows, once a second, as one JSON object.
 *
 * The page's style and script are named to the browser by their hashes, and nothing else may run
 * or load: what a key or a limit's name says cannot become markup, and could do nothing if it did.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/keyhash.h"
#include "ops/http/exchange.h"
#include "ops/json.h"
#include "ops/status.h"

#define KEYS_MAX    50
#define EVENTS_MAX  50
#define LIMIT_BYTES 512 /* of one limit, key or event, its texts escaped */
#define BASE_BYTES  131072
#define HASH_CHARS  44 /* of a SHA-256 in base64 */

/* The page, put into the program by the assembler as it stands. */
__asm__(".section .rodata\n"
        "pawl_console_page:\n"
        ".incbin \"" PAWL_CONSOLE_PAGE "\"\n"
        ".byte 0\n"
        ".previous\n");
extern const char pawl_console_page[];

/* ---- the page ------------------------------------------------------------------------------ */

static void base64(const uint8_t digest[PAWL_SHA256_BYTES], char out[HASH_CHARS + 1])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned have = 0;
    size_t at = 0;

    for (unsigned i = 0; i < PAWL_SHA256_BYTES; i++) {
        bits = bits << 8 | digest[i];
        have += 8;
        while (have >= 6) {
            have -= 6;
            out[at++] = digits[bits >> have & 63];
        }
    }
    out[at++] = digits[bits << (6 - have) & 63];
    out[at++] = '=';
    out[at] = '\0';
}

/* The hash of what stands between <@name> and </@name>; "" where there is none. */
static void hash_of(const char *name, char out[HASH_CHARS + 1])
{
    char open[16], close[16];
    uint8_t digest[PAWL_SHA256_BYTES];
    const char *from, *to;

    (void)snprintf(open, sizeof(open), "<%s>", name);
    (void)snprintf(close, sizeof(close), "</%s>", name);
    out[0] = '\0';
    from = strstr(pawl_console_page, open);
    to = from != NULL ? strstr(from, close) : NULL;
    if (to != NULL) {
        from += strlen(open);
        pawl_sha256(digest, from, (size_t)(to - from));
        base64(digest, out);
    }
}

void pawl_http_console(struct pawl_http_exchange *exchange)
{
    char script[HASH_CHARS + 1], style[HASH_CHARS + 1];
    char policy[320];

    hash_of("script", script);
    hash_of("style", style);
    (void)snprintf(policy, sizeof(policy),
                   "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; "
                   "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                   "frame-ancestors 'none'",
                   script, style);
    pawl_http_set(exchange, "Content-Security-Policy", policy);
    pawl_http_set(exchange, "Referrer-Policy", "no-referrer");
    pawl_http_reply(exchange, 200, "text/html; charset=utf-8",
                    pawl_bytes_of(pawl_console_page, strlen(pawl_console_page)));
}

/* ---- its data ------------------------------------------------------------------------------ */

static void number(struct pawl_json *json, const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    pawl_json_plain(json, name, text);
}

static void text(struct pawl_json *json, const char *name, const char *value)
{
    pawl_json_text(json, name, pawl_bytes_of(value, strlen(value)));
}

/* Begin an object with its first member: each of the others brings its comma along. */
static void begin(struct pawl_json *json, const char *name, uint64_t value)
{
    char member[96];

    (void)snprintf(member, sizeof(member), "{\"%s\":%" PRIu64, name, value);
    pawl_json_raw(json, member);
}

/* The same, as an element of a list. */
static void begin_next(struct pawl_json *json, unsigned *count, const char *name, uint64_t value)
{
    if ((*count)++ > 0) {
        pawl_json_raw(json, ",");
    }
    begin(json, name, value);
}

struct limits {
    struct pawl_json *json;
    unsigned count;
};

static void on_limit(void *ctx, const struct pawl_observed_limit *limit)
{
    struct limits *limits = ctx;
    struct pawl_json *json = limits->json;

    if (json->capacity - json->used < LIMIT_BYTES) {
        return;
    }
    begin_next(json, &limits->count, "allowed", limit->allowed);
    text(json, "limit", limit->limit);
    text(json, "ns", limit->ns);
    number(json, "denied", limit->denied);
    number(json, "shadow_denied", limit->shadow_denied);
    number(json, "bypassed", limit->bypassed);
    number(json, "overflowed", limit->overflowed);
    pawl_json_raw(json, "}");
}

static void put_keys(struct pawl_json *json, const struct pawl_observed *observed,
                     struct pawl_observed_key *keys)
{
    unsigned count = 0;
    size_t held = observed->keys(observed->self, keys, KEYS_MAX);

    for (size_t i = 0; i < held; i++) {
        begin_next(json, &count, "denied", keys[i].denied);
        text(json, "limit", keys[i].limit);
        text(json, "ns", keys[i].ns);
        text(json, "key", keys[i].key);
        number(json, "last_ms", keys[i].last_ms);
        pawl_json_raw(json, "}");
    }
}

static void put_events(struct pawl_json *json, const struct pawl_observed *observed,
                       struct pawl_observed_event *events)
{
    unsigned count = 0;
    size_t held = observed->events(observed->self, events, EVENTS_MAX);

    for (size_t i = 0; i < held; i++) {
        begin_next(json, &count, "at_ms", events[i].at_ms);
        text(json, "scope", pawl_scope_name(events[i].scope));
        text(json, "reason", pawl_reason_name(events[i].reason));
        text(json, "ns", events[i].ns);
        text(json, "value", events[i].value);
        pawl_json_raw(json, "}");
    }
}

static void put_stats(struct pawl_json *json, const struct pawl_stat_list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        const struct pawl_stat *stat = &list->items[i];

        if (stat->kind == PAWL_STAT_TEXT) {
            pawl_json_text(json, stat->name, pawl_stat_text(list, stat));
        } else if (stat->kind == PAWL_STAT_FLAG) {
            pawl_json_plain(json, stat->name, stat->value != 0 ? "true" : "false");
        } else {
            number(json, stat->name, stat->value);
        }
    }
}

static void count_limit(void *ctx, const struct pawl_observed_limit *limit)
{
    (void)limit;
    (*(size_t *)ctx)++;
}

/** What one answer is made from. */
struct pieces {
    struct pawl_stat_list list;
    struct pawl_observed_key keys[KEYS_MAX];
    struct pawl_observed_event events[EVENTS_MAX];
};

static void put_all(struct pawl_json *json, struct pieces *pieces,
                    const struct pawl_observed *observed)
{
    struct limits limits = { json, 0 };

    begin(json, "format", 1);
    pawl_json_raw(json, ",\"stats\":");
    begin(json, "figures", pieces->list.count);
    put_stats(json, &pieces->list);
    pawl_json_raw(json, "},\"keys\":[");
    if (observed != NULL) {
        put_keys(json, observed, pieces->keys);
    }
    pawl_json_raw(json, "],\"revocations\":[");
    if (observed != NULL) {
        put_events(json, observed, pieces->events);
    }
    pawl_json_raw(json, "],\"limits\":[");
    if (observed != NULL) {
        observed->limits(observed->self, on_limit, &limits);
    }
    pawl_json_raw(json, "]}\n");
}

void pawl_http_console_data(struct pawl_http_exchange *exchange)
{
    const struct pawl_http_world *world = pawl_http_world_of(exchange);
    struct pieces *pieces = pawl_http_take(exchange, sizeof(*pieces));
    struct pawl_json json = { .data = NULL };
    size_t limits = 0;

    if (world->observed != NULL) {
        world->observed->limits(world->observed->self, count_limit, &limits);
    }
    json.capacity = BASE_BYTES + limits * LIMIT_BYTES;
    json.data = pawl_http_take(exchange, json.capacity);
    if (pieces == NULL || json.data == NULL) {
        pawl_http_reply_error(exchange, 503, "server_error", "out of memory");
        return;
    }
    pawl_stat_list_init(&pieces->list, "");
    struct pawl_stats_sink sink = pawl_stat_list_sink(&pieces->list);

    world->stats(world->self, &sink);
    put_all(&json, pieces, world->observed);
    pawl_http_reply(exchange, 200, "application/json", pawl_bytes_of(json.data, json.used));
}
