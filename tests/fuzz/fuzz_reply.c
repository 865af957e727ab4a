/*
 * What a daemon, or something that is none, answers to libpawl: all kinds of calls are under way,
 * the input is what comes. Real sockets, a clock of our own.
 *
 * The first byte: bit 0 another round of calls behind the answers, bit 1 all arrives at once. Then
 * pieces: u8 which, u16 size, bytes. Which: 0 a frame as it is; 1 to 15 a frame that answers that
 * call (its id is put behind the message, where the last one wins); 16 one that answers the hello;
 * 17 one that answers the 16th call; above, bytes without a frame around them.
 *
 * What must hold: every call that was taken is called back once; its result is whole and within
 * bounds; what is not the daemon's word is never an allowance that the policy does not give, nor a
 * valid token, nor a rotation; nothing is read outside (ASan).
 */
#include "fuzz/require.h"
#include "private.h"
#include "support/client_calls.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WAITING_MAX 16
#define OUT_MAX     65536

static uint64_t now_ns;

static uint64_t fake_clock(void)
{
    return now_ns;
}

/* ---- the other side ---- */

static int listen_fd = -1;
static char address[64];

static void listen_once(void)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };

    if (listen_fd >= 0) {
        return;
    }
    int length =
        snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "pawl-fuzz-%d", (int)getpid());

    (void)snprintf(address, sizeof(address), "unix:@%.50s", name.sun_path + 1);
    listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    require(listen_fd >= 0);
    require(bind(listen_fd, (const struct sockaddr *)&name,
                 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0);
    require(listen(listen_fd, WAITING_MAX) == 0);
}

/* Whoever waits is taken; the last one stays. Returns its socket, or @before. */
static int accept_all(int before)
{
    for (;;) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0) {
            return before;
        }
        if (before >= 0) {
            (void)close(before);
        }
        before = fd;
    }
}

/* Take what the client sent, so that it never waits for room. */
static void drain(int fd)
{
    uint8_t sink[65536];

    while (fd >= 0 && recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0) {
    }
}

/* ---- this side ---- */

struct pending {
    enum client_call call;
    unsigned answers;
};

static bool is_word(const char *text, size_t capacity)
{
    return memchr(text, '\0', capacity) != NULL;
}

static void check_info(const struct pawl_info *info)
{
    require(is_word(info->text, sizeof(info->text)));
    require(info->source <= PAWL_SOURCE_FALLBACK && info->effect <= PAWL_EFFECT_UNKNOWN);
}

static void check_verdict(const struct pawl_token_answer *token, const struct pawl_info *info)
{
    require(token->status <= PAWL_TOKEN_STATE_UNDECIDED);
    require(is_word(token->detail, sizeof(token->detail)));
    require(info->source == PAWL_SOURCE_DAEMON || token->status == PAWL_TOKEN_STATE_UNDECIDED);
    require(!token->has_claims || token->claims != NULL);
    if (token->has_claims) {
        require(token->claims->jti.size <= PAWL_TEXT_ID_MAX &&
                token->claims->subject.size <= PAWL_TEXT_ID_MAX);
    }
}

static void check_check(const struct pawl_check_result *result, enum client_call call)
{
    check_info(&result->info);
    require(result->outcome >= PAWL_OUTCOME_ALLOW && result->outcome <= PAWL_OUTCOME_UNDECIDED);
    require(result->rate_count <= result->rates_max);
    for (size_t i = 0; i < result->rate_count; i++) {
        require(result->rates[i].count <= UINT64_MAX && result->rates[i].item <= UINT32_MAX);
    }
    if (result->info.source != PAWL_SOURCE_DAEMON && call == CLIENT_CHECK) {
        require(result->outcome != PAWL_OUTCOME_ALLOW); /* on_error is closed */
    }
    if (result->info.source != PAWL_SOURCE_DAEMON && call == CLIENT_ADMIT) {
        require(result->outcome != PAWL_OUTCOME_ALLOW); /* nobody knows the token */
    }
    if (result->has_token) {
        check_verdict(&result->token, &result->info);
    }
}

static void check_answer(const struct pawl_answer *answer, enum client_call call)
{
    switch (answer->kind) {
    case PAWL_CALL_CHECK:
        check_check(answer->of.check, call);
        break;
    case PAWL_CALL_TOKEN_CHECK:
        check_info(&answer->of.token_check->info);
        check_verdict(&answer->of.token_check->token, &answer->of.token_check->info);
        break;
    case PAWL_CALL_REFUND:
        check_info(&answer->of.refund->info);
        require(answer->of.refund->item_count <= PAWL_CHECK_ITEMS);
        break;
    case PAWL_CALL_ROTATE:
        check_info(&answer->of.rotate->info);
        require(answer->of.rotate->result <= PAWL_REFRESH_UNAVAILABLE);
        require(answer->of.rotate->info.source == PAWL_SOURCE_DAEMON ||
                answer->of.rotate->result >= PAWL_REFRESH_INVALID);
        require(answer->of.rotate->successor.size <= PAWL_TEXT_ID_MAX);
        break;
    case PAWL_CALL_LIMITS:
        check_info(&answer->of.limits->info);
        for (size_t i = 0; i < answer->of.limits->limit_count; i++) {
            require(is_word(answer->of.limits->limits[i].name,
                            sizeof(answer->of.limits->limits[i].name)));
            require(answer->of.limits->limits[i].rate_count <= PAWL_TEXT_RATES);
        }
        break;
    case PAWL_CALL_MEMBERS:
        check_info(&answer->of.members->info);
        for (size_t i = 0; i < answer->of.members->member_count; i++) {
            const struct pawl_member_info *member = &answer->of.members->members[i];

            require(is_word(member->address, sizeof(member->address)));
            require(is_word(member->state, sizeof(member->state)));
            require(is_word(member->version, sizeof(member->version)));
        }
        break;
    case PAWL_CALL_STATS:
        check_info(&answer->of.stats->info);
        for (size_t i = 0; i < answer->of.stats->stat_count; i++) {
            require(
                is_word(answer->of.stats->stats[i].name, sizeof(answer->of.stats->stats[i].name)));
        }
        break;
    default:
        check_info(&answer->of.ping->info); /* info comes second in all */
        break;
    }
}

static void on_answer(void *data, const struct pawl_answer *answer)
{
    struct pending *pending = data;

    require(++pending->answers == 1);
    check_answer(answer, pending->call);
}

static void submit_all(struct pawl_client *client, struct pending *pending)
{
    for (unsigned i = 0; i < CLIENT_CALLS; i++) {
        pending[i].call = (enum client_call)i;
        pending[i].answers = 0;
        require(client_submit_call(client, (enum client_call)i, on_answer, &pending[i]) ==
                PAWL_RC_OK);
    }
}

static void require_answered(const struct pending *pending)
{
    for (unsigned i = 0; i < CLIENT_CALLS; i++) {
        require(pending[i].answers == 1);
    }
}

/* ---- what comes ---- */

static size_t put_id(uint8_t *out, uint64_t id)
{
    size_t size = 1;

    out[0] = 8; /* field 1, a number */
    for (; id > 127; id >>= 7) {
        out[size++] = (uint8_t)(id | 128);
    }
    out[size++] = (uint8_t)id;
    return size;
}

/* The next piece as bytes of the stream; its size. */
static size_t put_piece(uint8_t *out, const uint8_t **at, const uint8_t *end)
{
    unsigned which = (*at)[0];
    size_t size = (size_t)((*at)[1] << 8 | (*at)[2]);
    size_t head = which <= 17 ? PAWL_FRAME_HEADER_BYTES : 0;
    unsigned call = which == 17 ? 16 : which == 16 ? 0 : which;
    size_t tail = 0;

    *at += 3;
    size = size < (size_t)(end - *at) ? size : (size_t)(end - *at);
    memcpy(out + head, *at, size);
    *at += size;
    if (call >= 1 && call <= 16) {
        tail = put_id(out + head + size, (uint64_t)call << CLIENT_SLOT_BITS | (uint64_t)(call - 1));
    } else if (which == 16) {
        tail = put_id(out + head + size, (uint64_t)(CLIENT_CALLS + 1) << CLIENT_SLOT_BITS);
    }
    if (head > 0) {
        pawl_frame_header(out, size + tail);
    }
    return head + size + tail;
}

static void feed(struct pawl_client *client, int *fd, const uint8_t *at, const uint8_t *end,
                 bool at_once)
{
    static uint8_t out[OUT_MAX + 64];
    size_t size = 0;

    while (end - at >= 3) {
        size += put_piece(out + size, &at, end);
        if (!at_once || end - at < 3 || size + (size_t)(end - at) + 32 > OUT_MAX) {
            ssize_t sent = *fd < 0 ? 0 : send(*fd, out, size, MSG_NOSIGNAL | MSG_DONTWAIT);

            (void)sent; /* who has been closed takes nothing */
            size = 0;
            require(pawl_client_process(client, 0) >= 0);
            *fd = accept_all(*fd);
            drain(*fd);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pawl_client_options options = { .struct_size = sizeof(options),
                                           .flags = PAWL_CLIENT_NO_BREAKER,
                                           .in_flight_max = 2 * CLIENT_CALLS,
                                           .local_keys_max = 16,
                                           .check_deadline_ms = 1000 };
    struct pending pending[2][CLIENT_CALLS];
    struct pawl_client *client = NULL;

    if (size < 4 || size > OUT_MAX / 2) {
        return 0;
    }
    listen_once();
    options.addresses = address;
    now_ns = UINT64_C(1) << 40;
    require(pawl_client_create(&options, &client, NULL, 0) == PAWL_RC_OK);
    client->clock_ns = fake_clock;
    submit_all(client, pending[0]);
    require(pawl_client_process(client, 0) == 0);
    int fd = accept_all(-1);

    require(fd >= 0);
    drain(fd);
    feed(client, &fd, data + 1, data + size, (data[0] & 2) != 0);
    if ((data[0] & 1) != 0) { /* with what was learned from the answers */
        now_ns += 2000 * NS_PER_MS;
        (void)pawl_client_process(client, 0);
        submit_all(client, pending[1]);
        (void)pawl_client_process(client, 0);
    }
    fd = accept_all(fd);
    if (fd >= 0) {
        (void)close(fd);
    }
    (void)pawl_client_process(client, 0);
    (void)close(accept_all(-1));
    now_ns += 5000 * NS_PER_MS;
    (void)pawl_client_process(client, 0);
    pawl_client_destroy(client);
    require_answered(pending[0]);
    if ((data[0] & 1) != 0) {
        require_answered(pending[1]);
    }
    return 0;
}
