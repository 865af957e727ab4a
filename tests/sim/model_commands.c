/* What a modelled server does with a command, and what it answers. */
#include "sim/model_inside.h"

#include <stdlib.h>
#include <string.h>

#define READ_ENTRIES_MAX 512 /* of all origins in one answer */

/* ---- answers ---- */

static struct model_answer *answer_make(const struct model_message *message, size_t room)
{
    struct model_answer *answer = sim_grow(NULL, sizeof(*answer) + room);

    memset(answer, 0, sizeof(*answer));
    answer->id = message->id;
    if (message->command != NULL) {
        answer->reply.verb = message->command->command.verb;
        answer->reply.part = message->command->command.part;
        answer->reply.tag = message->command->command.tag;
    }
    answer->reply.result = PAWL_ENGINE_WON;
    return answer;
}

static uint8_t *room_of(struct model_answer *answer)
{
    return (uint8_t *)(answer + 1);
}

static struct pawl_bytes place(uint8_t **at, const struct blob *blob)
{
    struct pawl_bytes bytes = { *at, blob != NULL ? blob->size : 0 };

    if (blob != NULL) {
        memcpy(*at, blob->bytes, blob->size);
        *at += (blob->size + 7) & ~(size_t)7;
    }
    return bytes;
}

static size_t sized(const struct blob *blob)
{
    return blob != NULL ? (blob->size + 7) & ~(size_t)7 : 0;
}

static struct model_answer *answer_announce(struct model_server *server,
                                            const struct model_message *message)
{
    const struct model_state *state = &server->state;
    bool has_ready = pawl_epoch_equal(state->ready_epoch, server->epoch);
    size_t room = sized(state->view) + state->member_count * sizeof(struct pawl_announced) +
                  state->stream_count * sizeof(struct pawl_origin_top) + sizeof(state->ready) + 8;
    struct pawl_announced *members;
    struct pawl_origin_top *tops;
    struct model_answer *answer;
    uint8_t *at;

    for (uint32_t i = 0; i < state->member_count; i++) {
        room += sized(state->members[i].info);
    }
    answer = answer_make(message, room);
    at = room_of(answer);
    members = (struct pawl_announced *)(void *)at;
    at += state->member_count * sizeof(*members);
    tops = (struct pawl_origin_top *)(void *)at;
    at += state->stream_count * sizeof(*tops);
    for (uint32_t i = 0; i < state->stream_count; i++) {
        tops[i].origin = state->streams[i].origin;
        tops[i].first = state->streams[i].count > 0 ? state->streams[i].first : 0;
        tops[i].top = state->streams[i].top;
    }
    memcpy(at, state->ready, state->ready_count * sizeof(state->ready[0]));
    answer->reply.announce.ready = (const struct pawl_member_id *)(const void *)at;
    answer->reply.announce.ready_count = has_ready ? state->ready_count : 0;
    at += state->ready_count * sizeof(state->ready[0]);
    for (uint32_t i = 0; i < state->member_count; i++) {
        members[i].id = state->members[i].id;
        members[i].mark = state->members[i].mark;
        members[i].info = place(&at, state->members[i].info);
    }
    answer->reply.announce.view = place(&at, state->view);
    answer->reply.announce.engine_ms = model_server_clock_ms(server);
    answer->reply.announce.replicas = model_server_replicas(server);
    answer->reply.announce.members = members;
    answer->reply.announce.member_count = state->member_count;
    answer->reply.announce.tops = tops;
    answer->reply.announce.top_count = state->stream_count;
    answer->reply.announce.gate = state->gate;
    return answer;
}

static uint32_t first_after(const struct model_stream *stream, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = stream->count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;

        if (stream->entries[middle].position > position) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* The entries behind the cursors; NULL when there is none. */
static struct model_answer *answer_read(struct model_server *server,
                                        const struct model_message *message)
{
    const struct pawl_engine_command *command = &message->command->command;
    struct {
        const struct model_stream *stream;
        uint32_t from, count;
    } found[64];
    uint32_t streams = 0;
    uint32_t total = 0;
    size_t bytes = 0;
    struct model_answer *answer;
    struct pawl_log_entry *entries;
    uint8_t *at;

    for (uint32_t i = 0; i < command->read.count && streams < 64; i++) {
        const struct pawl_log_cursor *cursor = &command->read.cursors[i];
        const struct model_stream *stream = model_state_stream(&server->state, &cursor->origin);
        uint32_t from;

        if (stream == NULL || stream->top <= cursor->position) {
            continue;
        }
        from = first_after(stream, cursor->position);
        if (from == stream->count || total >= READ_ENTRIES_MAX) {
            continue;
        }
        found[streams].stream = stream;
        found[streams].from = from;
        found[streams].count = stream->count - from < command->read.entries_max
                                   ? stream->count - from
                                   : command->read.entries_max;
        for (uint32_t k = 0; k < found[streams].count; k++) {
            bytes += sized(stream->entries[from + k].bytes);
        }
        total += found[streams++].count;
    }
    if (total == 0) {
        return NULL;
    }
    answer = answer_make(message, total * sizeof(*entries) + bytes);
    entries = (struct pawl_log_entry *)(void *)room_of(answer);
    at = (uint8_t *)(entries + total);
    answer->reply.read.entries = entries;
    answer->reply.read.count = total;
    for (uint32_t i = 0; i < streams; i++) {
        for (uint32_t k = 0; k < found[i].count; k++) {
            const struct model_entry *entry = &found[i].stream->entries[found[i].from + k];

            entries->origin = found[i].stream->origin;
            entries->position = entry->position;
            entries->bytes = place(&at, entry->bytes);
            entries++;
        }
    }
    return answer;
}

static struct model_answer *answer_family(const struct model_message *message,
                                          const struct model_family *family)
{
    struct model_answer *answer = answer_make(message, family != NULL ? sized(family->value) : 0);
    uint8_t *at = room_of(answer);

    if (family != NULL) {
        answer->reply.family.version = family->version;
        answer->reply.family.value = place(&at, family->value);
    }
    return answer;
}

static struct model_answer *answer_load(struct model_server *server,
                                        const struct model_message *message)
{
    const struct model_slot *slot =
        model_state_slot(&server->state, message->command->command.slot.slot,
                         model_server_clock_ms(server));
    const struct model_watch *watch = &server->engine->watch;
    size_t room = 0;
    struct model_answer *answer;
    struct pawl_slot_entry *entries;
    uint8_t *at;

    if (watch->loaded != NULL) {
        watch->loaded(watch->self, server->index, message->conn->node,
                      message->command->command.slot.slot, slot);
    }
    for (uint32_t i = 0; slot != NULL && i < slot->count; i++) {
        room += sizeof(*entries) + sized(slot->records[i].value);
    }
    answer = answer_make(message, room);
    if (slot == NULL) {
        return answer;
    }
    entries = (struct pawl_slot_entry *)(void *)room_of(answer);
    at = (uint8_t *)(entries + slot->count);
    for (uint32_t i = 0; i < slot->count; i++) {
        entries[i].id = slot->records[i].id;
        entries[i].value = place(&at, slot->records[i].value);
    }
    answer->reply.slot.entries = entries;
    answer->reply.slot.count = slot->count;
    answer->reply.slot.view = slot->view;
    return answer;
}

static struct model_answer *answer_failed(const struct model_message *message, const char *text)
{
    struct model_answer *answer = answer_make(message, 0);

    answer->reply.result = PAWL_ENGINE_FAILED;
    answer->reply.error = pawl_bytes_of(text, strlen(text));
    return answer;
}

static struct model_answer *answer_refused(struct model_server *server,
                                           const struct model_message *message,
                                           const struct model_outcome *outcome)
{
    struct model_answer *answer;
    uint8_t *at;

    switch (message->command->command.verb) {
    case PAWL_ENGINE_VIEW_SET:
        answer = answer_make(message, sized(server->state.view));
        at = room_of(answer);
        answer->reply.view_set.view = place(&at, server->state.view);
        break;
    case PAWL_ENGINE_FAMILY_SET:
        answer = answer_family(message, outcome->family);
        answer->reply.family.closed = outcome->closed;
        break;
    default:
        answer = answer_make(message, 0);
        answer->reply.slot.view = outcome->slot_view;
        break;
    }
    answer->reply.result = PAWL_ENGINE_REFUSED;
    return answer;
}

/* ---- WAIT ---- */

static void wait_over(void *context, uint64_t argument);

static unsigned holders(struct model_server *server, uint64_t offset)
{
    unsigned count = 0;

    for (unsigned i = 0; i < server->engine->server_count; i++) {
        if (i != server->index && server->index == server->engine->primary &&
            model_replica_acknowledges_us(&server->engine->servers[i], offset) <=
                server->engine->kernel->now_us) {
            count++;
        }
    }
    return count;
}

/* When WAIT is worth another look: its end, or when enough replicas will have it. */
static uint64_t wait_until(struct model_server *server, uint64_t offset, unsigned wanted,
                           uint64_t end_us)
{
    uint64_t best[MODEL_SERVERS];
    unsigned count = 0;

    if (server->index != server->engine->primary) {
        return end_us;
    }
    for (unsigned i = 0; i < server->engine->server_count; i++) {
        uint64_t at = i != server->index
                          ? model_replica_acknowledges_us(&server->engine->servers[i], offset)
                          : UINT64_MAX;
        unsigned place_at = count;

        if (at == UINT64_MAX) {
            continue;
        }
        while (place_at > 0 && best[place_at - 1] > at) {
            best[place_at] = best[place_at - 1];
            place_at--;
        }
        best[place_at] = at;
        count++;
    }
    return wanted > 0 && wanted <= count && best[wanted - 1] < end_us ? best[wanted - 1] : end_us;
}

static void wait_answer(struct model_conn *conn, struct model_message *message)
{
    struct model_answer *answer = answer_make(message, 0);

    answer->reply.wait.replicas = holders(model_conn_server(conn), conn->seen_offset);
    model_answer_send(conn, answer);
    model_message_free(message);
}

static void wait_begin(struct model_conn *conn, struct model_message *message)
{
    struct model_server *server = model_conn_server(conn);
    const struct pawl_engine_command *command = &message->command->command;
    uint64_t now = conn->engine->kernel->now_us;

    if (holders(server, conn->seen_offset) >= command->wait.replicas ||
        command->wait.timeout_ms == 0) {
        wait_answer(conn, message);
        return;
    }
    conn->blocked = true;
    kernel_at(conn->engine->kernel,
              wait_until(server, conn->seen_offset, command->wait.replicas,
                         now + command->wait.timeout_ms * UINT64_C(1000)),
              wait_over, message, now + command->wait.timeout_ms * UINT64_C(1000));
}

static void wait_over(void *context, uint64_t end_us)
{
    struct model_message *message = context;
    struct model_conn *conn = message->conn;
    struct kernel *kernel = conn->engine->kernel;
    struct model_server *server = model_conn_server(conn);

    if (conn->broken || conn->life != server->life) {
        conn->references++;
        model_messages_forget(&conn->queued);
        conn->queued_end = &conn->queued;
        model_message_free(message);
        model_conn_drop(conn); /* NOLINT(clang-analyzer-unix.Malloc): the reference of above */
        return;
    }
    if (holders(server, conn->seen_offset) < message->command->command.wait.replicas &&
        kernel->now_us < end_us) {
        kernel_at(kernel, end_us, wait_over, message, end_us);
        return;
    }
    conn->references++;
    conn->blocked = false;
    wait_answer(conn, message);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it has the reference of above */
    while (conn->queued != NULL && !conn->blocked) {
        struct model_message *next = conn->queued;

        conn->queued = next->next;
        if (conn->queued == NULL) {
            conn->queued_end = &conn->queued;
        }
        model_take(conn, next);
    }
    model_conn_drop(conn);
}

/* ---- READ that blocks ---- */

static void read_over(void *context, uint64_t argument)
{
    struct model_read *read = context;
    struct model_server *server = read->server;
    struct model_read **link = &server->reads;

    (void)argument;
    while (*link != read) {
        link = &(*link)->next;
    }
    *link = read->next;
    if (read->message != NULL) {
        if (read->message->conn->client != NULL && !server->stopped) {
            model_answer_send(read->message->conn, answer_make(read->message, 0));
        }
        model_message_free(read->message);
    }
    free(read);
}

static void read_begin(struct model_server *server, struct model_message *message)
{
    struct model_answer *answer = answer_read(server, message);
    uint32_t block_ms = message->command->command.read.block_ms;
    struct model_read *read;

    if (answer != NULL || block_ms == 0) {
        model_answer_send(message->conn, answer != NULL ? answer : answer_make(message, 0));
        model_message_free(message);
        return;
    }
    read = sim_take(sizeof(*read));
    read->server = server;
    read->message = message;
    read->next = server->reads;
    server->reads = read;
    kernel_at(server->engine->kernel, server->engine->kernel->now_us + block_ms * UINT64_C(1000),
              read_over, read, 0);
}

static bool reads_origin(const struct model_message *message, const struct pawl_origin *origin)
{
    const struct pawl_engine_command *command = &message->command->command;

    for (uint32_t i = 0; i < command->read.count; i++) {
        if (memcmp(&command->read.cursors[i].origin, origin, sizeof(*origin)) == 0) {
            return true;
        }
    }
    return false;
}

void model_server_wake(struct model_server *server, const struct pawl_origin *origin)
{
    for (struct model_read *read = server->reads; read != NULL; read = read->next) {
        struct model_answer *answer;

        if (read->message == NULL || !reads_origin(read->message, origin)) {
            continue;
        }
        answer = answer_read(server, read->message);
        if (answer != NULL) {
            model_answer_send(read->message->conn, answer);
            model_message_free(read->message);
            read->message = NULL;
        }
    }
}

/* ---- commands ---- */

static struct model_answer *write_now(struct model_server *server,
                                      const struct model_message *message)
{
    const struct pawl_engine_command *command = &message->command->command;
    struct model_outcome outcome = { .result = PAWL_ENGINE_FAILED };
    struct model_answer *answer;

    if (server->out_of_memory && model_verb_grows(command->verb)) {
        answer = answer_failed(message, "OOM command not allowed when used memory > 'maxmemory'.");
    } else if (!model_server_may_write(server)) {
        answer = answer_failed(message, "NOREPLICAS Not enough good replicas to write.");
    } else {
        uint64_t clock_ms = model_server_clock_ms(server);

        outcome = model_state_write(&server->state, command, clock_ms, message->emitted_us);
        if (outcome.result == PAWL_ENGINE_WON) {
            model_log_push(server, message->command, clock_ms, message->emitted_us);
            answer = command->verb == PAWL_ENGINE_ANNOUNCE ? answer_announce(server, message)
                                                           : answer_make(message, 0);
            if (command->verb == PAWL_ENGINE_VIEW_SET) {
                answer->reply.view_set.replaced = outcome.replaced;
            }
        } else {
            answer = answer_refused(server, message, &outcome);
        }
    }
    if (server->engine->watch.executed != NULL) {
        server->engine->watch.executed(server->engine->watch.self, server->index,
                                       message->conn->node, command, message->emitted_us, &outcome);
    }
    return answer;
}

static void hello(struct model_server *server, struct model_message *message)
{
    struct model_answer *answer = answer_make(message, 0);

    answer->is_hello = true;
    answer->is_primary = server->is_primary;
    answer->epoch = server->epoch;
    answer->replicas = model_server_replicas(server);
    model_answer_send(message->conn, answer);
    model_message_free(message);
}

static void execute(struct model_server *server, struct model_message *message)
{
    const struct pawl_engine_command *command = &message->command->command;
    bool is_append = command->verb == PAWL_ENGINE_APPEND;

    server->engine->commands++;
    if (command->verb == PAWL_ENGINE_READ) {
        read_begin(server, message);
        return;
    }
    if (command->verb == PAWL_ENGINE_WAIT) {
        wait_begin(message->conn, message);
        return;
    }
    if (command->verb == PAWL_ENGINE_FAMILY_GET) {
        model_answer_send(message->conn,
                          answer_family(message,
                                        model_state_family(&server->state, command->family.key,
                                                           model_server_clock_ms(server))));
    } else if (command->verb == PAWL_ENGINE_SLOT_LOAD) {
        model_answer_send(message->conn, answer_load(server, message));
    } else {
        model_answer_send(message->conn, write_now(server, message));
    }
    /* WAIT waits for what its connection has seen, too, not only for what it wrote. */
    message->conn->seen_offset = model_log_end(server);
    if (is_append && server->reads != NULL) {
        model_server_wake(server, &command->append.origin);
    }
    model_message_free(message);
}

void model_take(struct model_conn *conn, struct model_message *message)
{
    if (conn->blocked) {
        message->next = NULL;
        *conn->queued_end = message;
        conn->queued_end = &message->next;
        return;
    }
    if (message->command == NULL) {
        hello(model_conn_server(conn), message);
    } else {
        execute(model_conn_server(conn), message);
    }
}

void model_server_resume(struct model_server *server)
{
    struct model_message **backlog = server->backlog;
    uint32_t count = server->backlog_count;

    server->backlog = NULL;
    server->backlog_count = 0;
    server->backlog_capacity = 0;
    for (uint32_t i = 0; i < count; i++) {
        model_take(backlog[i]->conn, backlog[i]);
    }
    free(backlog);
}

void model_server_forget_backlog(struct model_server *server)
{
    for (uint32_t i = 0; i < server->backlog_count; i++) {
        model_message_free(server->backlog[i]);
    }
    free(server->backlog);
    server->backlog = NULL;
    server->backlog_count = 0;
    server->backlog_capacity = 0;
}
