/* See codec.h. A reply that has not the shape its verb's answer has is nobody's answer. */
#include "codec.h"

#include "core/octets.h"

#include <string.h>

/* ---- texts ---- */

static bool unhex(struct pawl_bytes text, uint8_t *out, size_t size)
{
    if (text.size != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        unsigned c = text.data[i];
        unsigned nibble;

        if (c >= '0' && c <= '9') {
            nibble = c - '0';
        } else if (c >= 'a' && c <= 'f') {
            nibble = c - 'a' + 10;
        } else {
            return false;
        }
        out[i / 2] = (uint8_t)(i % 2 == 0 ? nibble << 4 : out[i / 2] | nibble);
    }
    return true;
}

static bool unhex64(struct pawl_bytes text, uint64_t *number)
{
    uint8_t bytes[8];

    if (!unhex(text, bytes, sizeof(bytes))) {
        return false;
    }
    *number = 0;
    for (unsigned i = 0; i < 8; i++) {
        *number = *number << 8 | bytes[i];
    }
    return true;
}

static bool number_of(struct pawl_bytes text, uint64_t *number)
{
    const struct pawl_resp value = { .type = PAWL_RESP_STRING, .text = text };

    return pawl_resp_number(&value, number);
}

/* "POSITION-0" */
static bool position_of(const struct pawl_resp *value, uint64_t *position)
{
    struct pawl_bytes text;

    if (!pawl_resp_text(value, &text) || text.size < 3 ||
        memcmp(text.data + text.size - 2, "-0", 2) != 0) {
        return false;
    }
    return number_of(pawl_bytes_of(text.data, text.size - 2), position);
}

bool pawl_redis_begins(struct pawl_bytes text, const char *word)
{
    size_t size = strlen(word);

    return text.size >= size && memcmp(text.data, word, size) == 0 &&
           (text.size == size || text.data[size] == ' ');
}

/* The bytes of a text, or none for anything else. */
static struct pawl_bytes bytes_of(const struct pawl_resp *value)
{
    struct pawl_bytes text = { NULL, 0 };

    (void)pawl_resp_text(value, &text);
    return text;
}

/* ---- errors ---- */

enum pawl_redis_trouble pawl_redis_trouble_of(struct pawl_bytes text)
{
    static const char *const primary[] = { "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN",
                                           "MOVED",    "ASK",     "NOAUTH" };

    if (pawl_redis_begins(text, "UNBLOCKED")) {
        return PAWL_TROUBLE_UNBLOCKED;
    }
    for (size_t i = 0; i < sizeof(primary) / sizeof(primary[0]); i++) {
        if (pawl_redis_begins(text, primary[i])) {
            return PAWL_TROUBLE_PRIMARY;
        }
    }
    return PAWL_TROUBLE_COMMAND;
}

/* ---- what scripts answer: {code, ...} ---- */

static enum pawl_status script_code(const struct pawl_resp *value, uint64_t *code,
                                    const struct pawl_resp **rest)
{
    const struct pawl_resp *first = pawl_resp_first(value);

    if (!pawl_resp_integer(first, code) || *code > 2) {
        return PAWL_EINVAL;
    }
    *rest = first->next;
    return PAWL_OK;
}

/* {1}, or {0} with nothing to say. */
static enum pawl_status decode_plain(const struct pawl_resp *value,
                                     struct pawl_redis_decoded *decoded)
{
    const struct pawl_resp *rest;
    uint64_t code = 0;
    enum pawl_status status = script_code(value, &code, &rest);

    decoded->reply.result = code == 1 ? PAWL_ENGINE_WON : PAWL_ENGINE_REFUSED;
    return status;
}

static enum pawl_status decode_view_set(const struct pawl_resp *value,
                                        struct pawl_redis_decoded *decoded)
{
    const struct pawl_resp *rest = NULL;
    uint64_t code = 0;
    enum pawl_status status = script_code(value, &code, &rest);

    if (status != PAWL_OK) {
        return status;
    }
    decoded->reply.result = code == 1 ? PAWL_ENGINE_WON : PAWL_ENGINE_REFUSED;
    if (code != 1) {
        decoded->reply.view_set.view = bytes_of(rest);
        return rest != NULL && decoded->reply.view_set.view.size <= PAWL_VIEW_BYTES_MAX
                   ? PAWL_OK
                   : PAWL_EINVAL;
    }
    return rest == NULL || bytes_of(rest).size == 0 ||
                   unhex64(bytes_of(rest), &decoded->reply.view_set.replaced)
               ? PAWL_OK
               : PAWL_EINVAL;
}

/* ---- families ---- */

/* Version and record; both NIL: there is none. */
static enum pawl_status take_family(const struct pawl_resp *version,
                                    struct pawl_engine_reply *reply)
{
    const struct pawl_resp *record = version != NULL ? version->next : NULL;

    if (record == NULL) {
        return PAWL_EINVAL;
    }
    if (version->type == PAWL_RESP_NIL) {
        return PAWL_OK;
    }
    reply->family.value = bytes_of(record);
    return unhex64(bytes_of(version), &reply->family.version) &&
                   reply->family.value.size <= PAWL_FAMILY_SEALED_MAX
               ? PAWL_OK
               : PAWL_EINVAL;
}

static enum pawl_status decode_family_get(const struct pawl_resp *value,
                                          struct pawl_redis_decoded *decoded)
{
    decoded->reply.result = PAWL_ENGINE_WON;
    return take_family(pawl_resp_first(value), &decoded->reply);
}

static enum pawl_status decode_family_set(const struct pawl_resp *value,
                                          struct pawl_redis_decoded *decoded)
{
    const struct pawl_resp *rest = NULL;
    uint64_t code = 0;
    enum pawl_status status = script_code(value, &code, &rest);

    if (status != PAWL_OK) {
        return status;
    }
    decoded->reply.result = code == 1 ? PAWL_ENGINE_WON : PAWL_ENGINE_REFUSED;
    decoded->reply.family.closed = code == 2;
    return code == 0 ? take_family(rest, &decoded->reply) : PAWL_OK;
}

/* ---- announcements ---- */

static enum pawl_status take_members(struct pawl_resp_reader *reader, const struct pawl_resp *list,
                                     const struct pawl_resp *infos,
                                     struct pawl_redis_decoded *decoded)
{
    const struct pawl_resp *info = pawl_resp_first(infos);
    uint32_t count = pawl_resp_count(list) / 2;
    struct pawl_announced *members;

    if (!pawl_resp_is(list, PAWL_RESP_ARRAY) || count > PAWL_MEMBERS_MAX ||
        pawl_resp_count(infos) != count) {
        return PAWL_EINVAL;
    }
    members = pawl_resp_memory(reader, (count + 1) * sizeof(*members));
    if (members == NULL) {
        return PAWL_ENOMEM;
    }
    decoded->reply.announce.members = members;
    for (const struct pawl_resp *id = pawl_resp_first(list); id != NULL && id->next != NULL;
         id = id->next->next, info = info->next) {
        struct pawl_announced *member = &members[decoded->reply.announce.member_count];

        member->info = bytes_of(info);
        if (unhex(bytes_of(id), member->id.bytes, sizeof(member->id.bytes)) &&
            pawl_resp_number(id->next, &member->mark) &&
            member->info.size <= PAWL_MEMBER_INFO_MAX) {
            decoded->reply.announce.member_count++;
        } else {
            decoded->foreign++;
        }
    }
    return PAWL_OK;
}

/* (origin, position of the first entry or 0, of the last one ever)... */
static enum pawl_status take_tops(struct pawl_resp_reader *reader, const struct pawl_resp *list,
                                  struct pawl_redis_decoded *decoded)
{
    uint32_t count = pawl_resp_count(list) / 3;
    struct pawl_origin_top *tops;

    if (!pawl_resp_is(list, PAWL_RESP_ARRAY) || count > PAWL_ORIGINS_MAX) {
        return PAWL_EINVAL;
    }
    tops = pawl_resp_memory(reader, (count + 1) * sizeof(*tops));
    if (tops == NULL) {
        return PAWL_ENOMEM;
    }
    decoded->reply.announce.tops = tops;
    for (const struct pawl_resp *at = pawl_resp_first(list);
         at != NULL && at->next != NULL && at->next->next != NULL; at = at->next->next->next) {
        struct pawl_origin_top *top = &tops[decoded->reply.announce.top_count];

        if (unhex(bytes_of(at), top->origin.bytes, sizeof(top->origin.bytes)) &&
            pawl_resp_number(at->next, &top->first) &&
            pawl_resp_number(at->next->next, &top->top)) {
            decoded->reply.announce.top_count++;
        } else {
            decoded->foreign++;
        }
    }
    return PAWL_OK;
}

static enum pawl_status take_ready(struct pawl_resp_reader *reader, const struct pawl_resp *list,
                                   struct pawl_redis_decoded *decoded)
{
    uint32_t count = pawl_resp_count(list);
    struct pawl_member_id *ready;

    if (!pawl_resp_is(list, PAWL_RESP_ARRAY)) {
        return PAWL_EINVAL;
    }
    count = count > PAWL_MEMBERS_MAX ? PAWL_MEMBERS_MAX : count;
    ready = pawl_resp_memory(reader, (count + 1) * sizeof(*ready));
    if (ready == NULL) {
        return PAWL_ENOMEM;
    }
    decoded->reply.announce.ready = ready;
    for (const struct pawl_resp *at = pawl_resp_first(list);
         at != NULL && decoded->reply.announce.ready_count < count; at = at->next) {
        if (unhex(bytes_of(at), ready[decoded->reply.announce.ready_count].bytes, 16)) {
            decoded->reply.announce.ready_count++;
        } else {
            decoded->foreign++;
        }
    }
    return PAWL_OK;
}

/* [seconds, us, INFO server, INFO replication, view, members, infos, tops, gate, ready] */
static enum pawl_status decode_announce(struct pawl_resp_reader *reader,
                                        const struct pawl_resp *value,
                                        struct pawl_redis_decoded *decoded)
{
    struct pawl_engine_reply *reply = &decoded->reply;
    const struct pawl_resp *parts[10];
    uint64_t seconds;
    uint64_t micros;
    unsigned count = 0;
    enum pawl_status status;

    for (const struct pawl_resp *at = pawl_resp_first(value); at != NULL && count < 10;
         at = at->next) {
        parts[count++] = at;
    }
    if (count != 10 || !pawl_resp_number(parts[0], &seconds) ||
        !pawl_resp_number(parts[1], &micros) || seconds > UINT32_MAX * UINT64_C(1000)) {
        return PAWL_EINVAL;
    }
    reply->announce.engine_ms = seconds * 1000 + micros / 1000;
    pawl_redis_info_parse(&decoded->info, bytes_of(parts[2]));
    pawl_redis_info_parse(&decoded->info, bytes_of(parts[3]));
    reply->announce.replicas = decoded->info.replicas;
    reply->announce.view = bytes_of(parts[4]);
    if (reply->announce.view.size > PAWL_VIEW_BYTES_MAX) {
        return PAWL_EINVAL;
    }
    status = take_members(reader, parts[5], parts[6], decoded);
    if (status == PAWL_OK) {
        status = take_tops(reader, parts[7], decoded);
    }
    if (!unhex(bytes_of(parts[8]), reply->announce.gate.bytes, 16)) {
        memset(&reply->announce.gate, 0, sizeof(reply->announce.gate));
    }
    reply->result = PAWL_ENGINE_WON;
    return status == PAWL_OK ? take_ready(reader, parts[9], decoded) : status;
}

/* ---- entries ---- */

static uint32_t entries_in(const struct pawl_resp *value)
{
    uint32_t count = 0;

    for (const struct pawl_resp *at = pawl_resp_first(value); at != NULL; at = at->next) {
        const struct pawl_resp *name = pawl_resp_first(at);

        count += name != NULL ? pawl_resp_count(name->next) : 0;
    }
    return count;
}

/* "{P:rl:0}:o:ORIGIN" */
static bool origin_of(const struct pawl_resp *key, struct pawl_origin *origin)
{
    struct pawl_bytes text = bytes_of(key);

    if (text.size < PAWL_REDIS_HEX_ID) {
        return false;
    }
    text.data += text.size - PAWL_REDIS_HEX_ID;
    text.size = PAWL_REDIS_HEX_ID;
    return unhex(text, origin->bytes, sizeof(origin->bytes));
}

/* [id, [field, value]]; an entry that is not ours has no bytes, and no seal will hold. */
static bool take_entry(const struct pawl_resp *value, struct pawl_log_entry *entry)
{
    const struct pawl_resp *id = pawl_resp_first(value);
    const struct pawl_resp *field = id != NULL ? pawl_resp_first(id->next) : NULL;
    struct pawl_bytes name = bytes_of(field);

    if (!position_of(id, &entry->position)) {
        return false;
    }
    entry->bytes = pawl_bytes_of(NULL, 0);
    if (field != NULL && name.size == 1 && name.data[0] == 'd') {
        entry->bytes = bytes_of(field->next);
    }
    return true;
}

static enum pawl_status decode_read(struct pawl_resp_reader *reader, const struct pawl_resp *value,
                                    struct pawl_redis_decoded *decoded)
{
    struct pawl_log_entry *entries;
    uint32_t count = 0;

    decoded->reply.result = PAWL_ENGINE_WON;
    if (value->type == PAWL_RESP_NIL) {
        return PAWL_OK; /* nothing came while it waited */
    }
    if (value->type != PAWL_RESP_ARRAY) {
        return PAWL_EINVAL;
    }
    entries = pawl_resp_memory(reader, ((size_t)entries_in(value) + 1) * sizeof(*entries));
    if (entries == NULL) {
        return PAWL_ENOMEM;
    }
    for (const struct pawl_resp *at = value->list.first; at != NULL; at = at->next) {
        const struct pawl_resp *name = pawl_resp_first(at);
        struct pawl_origin origin;

        if (!origin_of(name, &origin)) {
            return PAWL_EINVAL;
        }
        for (const struct pawl_resp *one = pawl_resp_first(name->next); one != NULL;
             one = one->next) {
            entries[count].origin = origin;
            if (take_entry(one, &entries[count])) {
                count++;
            } else {
                decoded->foreign++;
            }
        }
    }
    decoded->reply.read.entries = entries;
    decoded->reply.read.count = count;
    return PAWL_OK;
}

/* ---- slots ---- */

static enum pawl_status decode_slot_save(const struct pawl_resp *value,
                                         struct pawl_redis_decoded *decoded)
{
    const struct pawl_resp *rest = NULL;
    uint64_t code = 0;
    enum pawl_status status = script_code(value, &code, &rest);

    if (status != PAWL_OK) {
        return status;
    }
    decoded->reply.result = code == 1 ? PAWL_ENGINE_WON : PAWL_ENGINE_REFUSED;
    return code == 1 || unhex64(bytes_of(rest), &decoded->reply.slot.view) ? PAWL_OK : PAWL_EINVAL;
}

static enum pawl_status decode_slot_load(struct pawl_resp_reader *reader,
                                         const struct pawl_resp *value,
                                         struct pawl_redis_decoded *decoded)
{
    static const char many[] = "more records in the slot than are loaded";
    const struct pawl_resp *rest = NULL;
    struct pawl_slot_entry *entries;
    uint64_t code = 0;
    uint32_t count = 0;

    if (script_code(value, &code, &rest) != PAWL_OK || rest == NULL) {
        return PAWL_EINVAL;
    }
    if (code != 1) {
        decoded->reply.result = PAWL_ENGINE_FAILED;
        decoded->reply.error = pawl_bytes_of(many, sizeof(many) - 1);
        return PAWL_OK;
    }
    if (rest->type != PAWL_RESP_ARRAY) {
        return PAWL_EINVAL;
    }
    entries = pawl_resp_memory(reader, ((size_t)rest->count / 2 + 1) * sizeof(*entries));
    if (entries == NULL) {
        return PAWL_ENOMEM;
    }
    for (const struct pawl_resp *at = rest->list.first; at != NULL && at->next != NULL;
         at = at->next->next) {
        struct pawl_bytes id = bytes_of(at);
        struct pawl_bytes record = bytes_of(at->next);

        if (id.size == 16 && record.size > 0) {
            entries[count].id.lo = pawl_get_le(id.data, 8);
            entries[count].id.hi = pawl_get_le(id.data + 8, 8);
            entries[count++].value = record;
        } else if (id.size != 1) { /* the fence */
            decoded->foreign++;
        }
    }
    decoded->reply.result = PAWL_ENGINE_WON;
    decoded->reply.slot.entries = entries;
    decoded->reply.slot.count = count;
    return PAWL_OK;
}

static enum pawl_status decode_wait(const struct pawl_resp *value,
                                    struct pawl_redis_decoded *decoded)
{
    uint64_t number;

    if (!pawl_resp_integer(value, &number)) {
        return PAWL_EINVAL;
    }
    decoded->reply.result = PAWL_ENGINE_WON;
    decoded->reply.wait.replicas = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return PAWL_OK;
}

enum pawl_status pawl_redis_decode(struct pawl_resp_reader *reader, enum pawl_engine_verb verb,
                                   const struct pawl_resp *value,
                                   struct pawl_redis_decoded *decoded)
{
    memset(decoded, 0, sizeof(*decoded));
    decoded->reply.verb = verb;
    switch (verb) {
    case PAWL_ENGINE_ANNOUNCE:
        return decode_announce(reader, value, decoded);
    case PAWL_ENGINE_VIEW_SET:
        return decode_view_set(value, decoded);
    case PAWL_ENGINE_APPEND:
    case PAWL_ENGINE_RETIRE:
    case PAWL_ENGINE_TRIM:
    case PAWL_ENGINE_DROP_ORIGIN:
    case PAWL_ENGINE_GATE_READY:
    case PAWL_ENGINE_GATE_OPEN:
        return decode_plain(value, decoded);
    case PAWL_ENGINE_READ:
        return decode_read(reader, value, decoded);
    case PAWL_ENGINE_WAIT:
        return decode_wait(value, decoded);
    case PAWL_ENGINE_FAMILY_GET:
        return decode_family_get(value, decoded);
    case PAWL_ENGINE_FAMILY_SET:
        return decode_family_set(value, decoded);
    case PAWL_ENGINE_SLOT_SAVE:
        return decode_slot_save(value, decoded);
    case PAWL_ENGINE_SLOT_LOAD:
        return decode_slot_load(reader, value, decoded);
    case PAWL_ENGINE_NONE:
        break;
    }
    return PAWL_EINVAL;
}
