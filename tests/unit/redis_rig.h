/*
 * The redis adapter on a loop of poll(), what it says written down, and servers for it to speak to:
 * real ones, started here on free ports. Waits are on conditions, with a deadline that only a hang
 * meets.
 */
#ifndef PAWL_UNIT_REDIS_RIG_H
#define PAWL_UNIT_REDIS_RIG_H

#include "adapter/redis/redis.h"
#include "unit/redis_net.h"

#include <dirent.h>
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define RIG_PATIENCE_MS 20000 /* met only by a hang */
#define RIG_ANSWERS     4096
#define RIG_ENTRIES     256

/** An answer as it came; `bytes` holds the text, view, value or first entry of it. */
struct rig_answer {
    enum pawl_engine_verb verb;
    enum pawl_engine_result result;
    uint64_t tag;
    unsigned times;
    char error[200];
};

struct rig {
    struct net net;
    void (*turn)(void); /* NULL: net's; else a loop of the test's own */
    struct pawl_log log;
    struct pawl_entropy entropy;
    struct pawl_redis *redis;
    struct pawl_engine engine;
    struct pawl_redis_options options;
    struct pawl_redis_address addresses[4];
    bool closed;

    unsigned ups, downs, answers, inside, repeated;
    struct pawl_engine_state state;
    char why[256];     /* of the last down */
    char refused[512]; /* of the last engine_refused */

    struct rig_answer table[RIG_ANSWERS]; /* by tag */
    uint64_t next_tag;
    bool emitting;

    /* copies out of the last answer of each kind */
    struct pawl_engine_reply last;
    struct pawl_announced members[16];
    struct pawl_origin_top tops[64];
    struct pawl_member_id ready[16];
    struct pawl_log_entry entries[RIG_ENTRIES];
    struct pawl_slot_entry records[RIG_ENTRIES];
    uint8_t bytes[1 << 18];
    size_t used;
};

/* ---- what the adapter is given ---- */

static inline void rig_on_log(void *self, enum pawl_log_level level, const char *event,
                              const struct pawl_field *fields, unsigned count)
{
    struct rig *rig = self;

    (void)level;
    if (strcmp(event, "engine_refused") == 0) {
        for (unsigned i = 0; i < count; i++) {
            if (strcmp(fields[i].name, "why") == 0) {
                (void)snprintf(rig->refused, sizeof(rig->refused), "%s", fields[i].value.text);
            }
        }
    }
}

static inline enum pawl_status rig_random(void *self, void *out, size_t size)
{
    (void)self;
    for (size_t i = 0; i < size; i++) {
        ((uint8_t *)out)[i] = (uint8_t)random();
    }
    return PAWL_OK;
}

static inline void rig_on_up(void *self, const struct pawl_engine_state *state)
{
    struct rig *rig = self;

    assert_false(rig->emitting);
    rig->ups++;
    rig->state = *state;
}

static inline void rig_on_down(void *self, const char *why)
{
    struct rig *rig = self;

    assert_false(rig->emitting);
    rig->downs++;
    (void)snprintf(rig->why, sizeof(rig->why), "%s", why);
}

static inline struct pawl_bytes rig_keep(struct rig *rig, struct pawl_bytes bytes)
{
    struct pawl_bytes kept = { rig->bytes + rig->used, bytes.size };

    assert_true(rig->used + bytes.size <= sizeof(rig->bytes));
    if (bytes.size > 0) {
        memcpy(rig->bytes + rig->used, bytes.data, bytes.size);
    }
    rig->used += bytes.size;
    return kept;
}

static inline void rig_keep_announce(struct rig *rig, const struct pawl_engine_reply *reply)
{
    assert_true(reply->announce.member_count <= 16 && reply->announce.top_count <= 64);
    assert_true(reply->announce.ready_count <= 16);
    rig->last.announce.view = rig_keep(rig, reply->announce.view);
    for (uint32_t i = 0; i < reply->announce.member_count; i++) {
        rig->members[i] = reply->announce.members[i];
        rig->members[i].info = rig_keep(rig, rig->members[i].info);
    }
    for (uint32_t i = 0; i < reply->announce.top_count; i++) {
        rig->tops[i] = reply->announce.tops[i];
    }
    for (uint32_t i = 0; i < reply->announce.ready_count; i++) {
        rig->ready[i] = reply->announce.ready[i];
    }
}

static inline void rig_keep_lists(struct rig *rig, const struct pawl_engine_reply *reply)
{
    if (reply->verb == PAWL_ENGINE_READ) {
        for (uint32_t i = 0; i < reply->read.count && i < RIG_ENTRIES; i++) {
            rig->entries[i] = reply->read.entries[i];
            rig->entries[i].bytes = rig_keep(rig, rig->entries[i].bytes);
        }
    } else if (reply->verb == PAWL_ENGINE_SLOT_LOAD) {
        for (uint32_t i = 0; i < reply->slot.count && i < RIG_ENTRIES; i++) {
            rig->records[i] = reply->slot.entries[i];
            rig->records[i].value = rig_keep(rig, rig->records[i].value);
        }
    }
}

static inline void rig_on_reply(void *self, const struct pawl_engine_reply *reply)
{
    struct rig *rig = self;
    struct rig_answer *answer = &rig->table[reply->tag];

    assert_false(rig->emitting);
    assert_true(reply->tag < RIG_ANSWERS);
    assert_int_not_equal(reply->result, PAWL_ENGINE_RESULT_NONE);
    assert_int_equal(answer->verb, reply->verb);
    assert_int_equal(reply->part, PAWL_PART_LOG);
    rig->answers++;
    assert_int_equal(++answer->times, 1);
    answer->result = reply->result;
    rig->used = 0;
    rig->last = *reply;
    if (reply->error.size > 0) {
        (void)snprintf(answer->error, sizeof(answer->error), "%.*s", (int)reply->error.size,
                       (const char *)reply->error.data);
    }
    if (reply->verb == PAWL_ENGINE_ANNOUNCE && reply->result == PAWL_ENGINE_WON) {
        rig_keep_announce(rig, reply);
    } else if (reply->verb == PAWL_ENGINE_FAMILY_GET || reply->verb == PAWL_ENGINE_FAMILY_SET) {
        rig->last.family.value = rig_keep(rig, reply->family.value);
    } else if (reply->verb == PAWL_ENGINE_VIEW_SET) {
        rig->last.view_set.view = rig_keep(rig, reply->view_set.view);
    } else if (reply->result == PAWL_ENGINE_WON) {
        rig_keep_lists(rig, reply);
    }
}

/* ---- life ---- */

/** One turn, which waits for up to @wait_ms. */
static inline void rig_turn(struct rig *rig, int wait_ms)
{
    if (rig->turn != NULL) {
        rig->turn();
    } else {
        net_turn(&rig->net, wait_ms);
    }
}

static inline void rig_init(struct rig *rig, uint16_t port)
{
    memset(rig, 0, sizeof(*rig));
    net_init(&rig->net);
    rig->log.event = rig_on_log;
    rig->log.self = rig;
    rig->entropy.fill = rig_random;
    rig->addresses[0].host = "127.0.0.1";
    rig->addresses[0].port = port;
    rig->options.addresses = rig->addresses;
    rig->options.address_count = 1;
    rig->options.prefix = "t";
    rig->options.command_timeout_ms = 500;
    rig->options.net = &rig->net.port;
    rig->options.log = &rig->log;
    rig->options.entropy = &rig->entropy;
}

static inline void rig_start(struct rig *rig)
{
    const struct pawl_engine_events events = { rig_on_up, rig_on_down, rig_on_reply, rig };
    struct pawl_error error;

    assert_int_equal(pawl_redis_create(&rig->options, &events, &rig->redis, &error), PAWL_OK);
    rig->engine = pawl_redis_engine(rig->redis);
    assert_int_equal(rig->ups, 0);
}

static inline void rig_on_closed(void *ctx)
{
    struct rig *rig = ctx;

    rig->closed = true;
    pawl_redis_destroy(rig->redis);
}

static inline void rig_stop(struct rig *rig)
{
    uint64_t until_ms = net_clock_ms() + RIG_PATIENCE_MS;

    rig->engine.ops->close(rig->engine.self, rig_on_closed, rig);
    assert_false(rig->closed);
    while (!rig->closed) {
        rig_turn(rig, 100);
        assert_true(net_clock_ms() < until_ms);
    }
    for (unsigned i = 0; i < NET_STREAMS; i++) {
        assert_false(rig->net.streams[i].used);
    }
    assert_int_equal(rig->answers, rig->next_tag); /* every command, once */
}

/** Turn until @condition holds. */
#define rig_until(rig, condition)                                 \
    do {                                                          \
        uint64_t rig_until_ms = net_clock_ms() + RIG_PATIENCE_MS; \
        while (!(condition)) {                                    \
            rig_turn((rig), 20);                                  \
            assert_true(net_clock_ms() < rig_until_ms);           \
        }                                                         \
    } while (0)

static inline void rig_turn_for(struct rig *rig, unsigned ms)
{
    uint64_t until_ms = net_clock_ms() + ms;

    while (net_clock_ms() < until_ms) {
        rig_turn(rig, 5);
    }
}

/* ---- commands ---- */

static inline uint64_t rig_emit(struct rig *rig, struct pawl_engine_command command)
{
    uint64_t tag = rig->next_tag++;

    assert_true(tag < RIG_ANSWERS);
    command.tag = tag;
    command.part = PAWL_PART_LOG;
    command.deadline_ms = command.deadline_ms > 0 ? command.deadline_ms : 5000;
    rig->table[tag].verb = command.verb;
    rig->emitting = true;
    rig->engine.ops->emit(rig->engine.self, &command);
    rig->emitting = false;
    return tag;
}

/** Its result, waited for; rig->last has the rest. */
static inline enum pawl_engine_result rig_do(struct rig *rig, struct pawl_engine_command command)
{
    uint64_t tag = rig_emit(rig, command);

    rig_until(rig, rig->table[tag].times > 0);
    return rig->table[tag].result;
}

static inline struct pawl_member_id rig_member(unsigned number)
{
    struct pawl_member_id id = { { 0xab, (uint8_t)number } };

    return id;
}

static inline struct pawl_origin rig_origin(unsigned number)
{
    struct pawl_origin origin = { { 0xcd, (uint8_t)number } };

    return origin;
}

static inline struct pawl_engine_command rig_announce(unsigned number, const char *info)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_ANNOUNCE };

    command.announce.self = rig_member(number);
    command.announce.info = pawl_bytes_of(info, strlen(info));
    return command;
}

static inline struct pawl_engine_command rig_append(unsigned origin, uint64_t position,
                                                    const char *text)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_APPEND };

    command.append.origin = rig_origin(origin);
    command.append.position = position;
    command.append.after = position - 1;
    command.append.bytes = pawl_bytes_of(text, strlen(text));
    return command;
}

static inline struct pawl_engine_command rig_wait(uint32_t replicas, uint32_t timeout_ms)
{
    struct pawl_engine_command command = { .verb = PAWL_ENGINE_WAIT };

    command.wait.replicas = replicas;
    command.wait.timeout_ms = timeout_ms;
    return command;
}

static inline bool rig_bytes_are(struct pawl_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

/* ---- servers ---- */

struct rig_server {
    pid_t pid;
    uint16_t port;
    char folder[64];
    redisContext *admin;
};

static inline bool rig_has_redis(void)
{
    return access("/usr/bin/redis-server", X_OK) == 0;
}

static inline uint16_t rig_free_port(void)
{
    struct sockaddr_in name = { .sin_family = AF_INET };
    socklen_t size = sizeof(name);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)inet_pton(AF_INET, "127.0.0.1", &name.sin_addr);
    assert_int_equal(bind(fd, (const struct sockaddr *)&name, sizeof(name)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    (void)close(fd);
    return ntohs(name.sin_port);
}

static inline redisContext *rig_admin(uint16_t port)
{
    const struct timeval patience = { 5, 0 };
    uint64_t until_ms = net_clock_ms() + RIG_PATIENCE_MS;

    for (;;) {
        redisContext *admin = redisConnectWithTimeout("127.0.0.1", port, patience);
        redisReply *reply = NULL;

        if (admin != NULL && admin->err == 0) {
            reply = redisCommand(admin, "PING");
        }
        if (reply != NULL &&
            (reply->type == REDIS_REPLY_STATUS || strncmp(reply->str, "NOAUTH", 6) == 0)) {
            freeReplyObject(reply);
            return admin;
        }
        if (reply != NULL) {
            freeReplyObject(reply);
        }
        if (admin != NULL) {
            redisFree(admin);
        }
        assert_true(net_clock_ms() < until_ms);
        (void)usleep(10000);
    }
}

/** Start @program with @port, or a free one, and further words up to a NULL. */
static inline void rig_server_run(struct rig_server *server, const char *program, uint16_t port,
                                  const char *const *more)
{
    char number[8];
    const char *words[40] = { program };
    unsigned count = 1;

    server->port = port > 0 ? port : rig_free_port();
    (void)snprintf(number, sizeof(number), "%u", server->port);
    if (server->folder[0] == '\0') {
        (void)snprintf(server->folder, sizeof(server->folder), "/tmp/pawl-redis-XXXXXX");
        assert_non_null(mkdtemp(server->folder));
    }
    for (; more != NULL && *more != NULL && count < 20; more++) {
        words[count++] = *more;
    }
    words[count++] = "--port";
    words[count++] = number;
    words[count++] = "--bind";
    words[count++] = "127.0.0.1";
    words[count++] = "--dir";
    words[count++] = server->folder;
    words[count++] = "--logfile";
    words[count++] = "server.log";
    words[count] = NULL;
    server->pid = fork();
    if (server->pid == 0) {
        (void)execv(program, (char *const *)(uintptr_t)words);
        _exit(127);
    }
    assert_true(server->pid > 0);
    server->admin = rig_admin(server->port);
}

static inline void rig_server_start(struct rig_server *server, uint16_t port,
                                    const char *const *more)
{
    const char *words[20] = { "--save",
                              "",
                              "--appendonly",
                              "no",
                              "--repl-diskless-sync-delay",
                              "0",
                              "--enable-debug-command",
                              "yes" };

    for (unsigned i = 0; more != NULL && more[i] != NULL; i++) {
        words[8 + i] = more[i];
    }
    rig_server_run(server, "/usr/bin/redis-server", port, words);
}

/** Ask as an operator would; fails the test on a lost connection. The answer's text, if any. */
static inline void rig_admin_do(struct rig_server *server, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    redisReply *reply = redisvCommand(server->admin, format, list);
    va_end(list);
    assert_non_null(reply);
    assert_true(reply->type != REDIS_REPLY_ERROR);
    freeReplyObject(reply);
}

static inline long long rig_admin_number(struct rig_server *server, const char *format, ...)
{
    long long number;
    va_list list;

    va_start(list, format);
    redisReply *reply = redisvCommand(server->admin, format, list);
    va_end(list);
    assert_non_null(reply);
    number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    freeReplyObject(reply);
    return number;
}

static inline void rig_server_kill(struct rig_server *server)
{
    if (server->pid > 0) {
        (void)kill(server->pid, SIGKILL);
        (void)waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
    if (server->admin != NULL) {
        redisFree(server->admin);
        server->admin = NULL;
    }
}

static inline void rig_server_end(struct rig_server *server)
{
    DIR *folder = opendir(server->folder);

    rig_server_kill(server);
    for (struct dirent *at; folder != NULL && (at = readdir(folder)) != NULL;) {
        (void)unlinkat(dirfd(folder), at->d_name, 0);
    }
    if (folder != NULL) {
        (void)closedir(folder);
    }
    (void)rmdir(server->folder);
}

#endif
