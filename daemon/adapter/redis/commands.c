/*
 * Verbs as commands of Redis. Keys, with one slot's tag each:
 *
 *   {P:m}:members      zset, member -> microseconds of the engine's clock
 *   {P:m}:info         hash, member -> bytes
 *   {P:m}:view         hash: n number, b bytes
 *   {P:m}:ready:EPOCH  set of members; expires
 *   {P:rl:0}:origins   hash: origin -> top, "f" and origin -> first entry held or 0
 *   {P:rl:0}:o:ORIGIN  stream, "POSITION-0", field d
 *   {P:rt:00}:gate     the epoch that families may be written in; beside them, for their script
 *   {P:rt:00}:f:KEY    hash: v version, r record; expires
 *   {P:c:SS}:s:SLOT    hash: o "VIEW OWNER", 16 bytes of a record's id -> record; expires
 *
 * What must survive has no time to live, so that no eviction policy but allkeys-* takes it.
 */
#include "codec.h"
#include "scripts.h"

#include "core/octets.h"

#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

void pawl_redis_hex(char *out, const uint8_t bytes[16])
{
    for (size_t i = 0; i < 16; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[PAWL_REDIS_HEX_ID] = '\0';
}

/* ---- words ---- */

static void add(struct pawl_redis_encoder *encoder, const void *data, size_t size)
{
    if (encoder->count >= PAWL_REDIS_ARGS_MAX) {
        encoder->overflown = true;
        return;
    }
    encoder->words[encoder->count] = size > 0 ? data : "";
    encoder->sizes[encoder->count++] = size;
}

static void add_word(struct pawl_redis_encoder *encoder, const char *word)
{
    add(encoder, word, strlen(word));
}

static void add_bytes(struct pawl_redis_encoder *encoder, struct pawl_bytes bytes, size_t max)
{
    encoder->overflown = encoder->overflown || bytes.size > max;
    add(encoder, bytes.data, bytes.size);
}

static void add_copy(struct pawl_redis_encoder *encoder, const void *data, size_t size)
{
    char *place = encoder->scratch + encoder->used;

    if (sizeof(encoder->scratch) - encoder->used < size) {
        encoder->overflown = true;
        return;
    }
    memcpy(place, data, size);
    encoder->used += size;
    add(encoder, place, size);
}

static void add_format(struct pawl_redis_encoder *encoder, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add_format(struct pawl_redis_encoder *encoder, const char *format, ...)
{
    char text[PAWL_REDIS_KEY_MAX + 32];
    va_list list;

    va_start(list, format);
    int size = vsnprintf(text, sizeof(text), format, list);

    va_end(list);
    if (size < 0 || (size_t)size >= sizeof(text)) {
        encoder->overflown = true;
        return;
    }
    add_copy(encoder, text, (size_t)size);
}

static void add_u64(struct pawl_redis_encoder *encoder, uint64_t number)
{
    add_format(encoder, "%llu", (unsigned long long)number);
}

static void add_hex64(struct pawl_redis_encoder *encoder, uint64_t number)
{
    add_format(encoder, "%016llx", (unsigned long long)number);
}

static void add_hex(struct pawl_redis_encoder *encoder, const uint8_t bytes[16])
{
    char text[PAWL_REDIS_HEX_ID + 1];

    pawl_redis_hex(text, bytes);
    add_copy(encoder, text, PAWL_REDIS_HEX_ID);
}

/* "{prefix:CLASS}:NAME" */
static void add_key(struct pawl_redis_encoder *encoder, const char *class, const char *name)
{
    add_format(encoder, "{%s:%s}:%s", encoder->prefix, class, name);
}

static void add_hex_key(struct pawl_redis_encoder *encoder, const char *class, const char *name,
                        const uint8_t bytes[16])
{
    char text[PAWL_REDIS_HEX_ID + 1];

    pawl_redis_hex(text, bytes);
    add_format(encoder, "{%s:%s}:%s%s", encoder->prefix, class, name, text);
}

static void add_script(struct pawl_redis_encoder *encoder, const char *text, unsigned keys)
{
    add_word(encoder, "EVAL");
    add_word(encoder, text);
    add_u64(encoder, keys);
}

static void add_stream(struct pawl_redis_encoder *encoder, const struct pawl_origin *origin)
{
    add_hex_key(encoder, "rl:0", "o:", origin->bytes);
}

static void add_family(struct pawl_redis_encoder *encoder, struct pawl_id key)
{
    uint8_t bytes[16];

    pawl_put_le(bytes, key.lo, 8);
    pawl_put_le(bytes + 8, key.hi, 8);
    add_hex_key(encoder, "rt:00", "f:", bytes);
}

static void add_slot(struct pawl_redis_encoder *encoder, uint32_t slot)
{
    encoder->overflown = encoder->overflown || slot >= PAWL_RING_SLOTS;
    add_format(encoder, "{%s:c:%02u}:s:%u", encoder->prefix, (slot / 64) % 64, slot);
}

/* ---- verbs ---- */

static void put_announce(struct pawl_redis_encoder *encoder,
                         const struct pawl_engine_command *command,
                         const struct pawl_redis_context *context)
{
    add_script(encoder, pawl_script_announce, 6);
    add_key(encoder, "m", "members");
    add_key(encoder, "m", "info");
    add_key(encoder, "m", "view");
    add_key(encoder, "rl:0", "origins");
    add_key(encoder, "rt:00", "gate");
    add_hex_key(encoder, "m", "ready:", context->epoch.bytes);
    add_hex(encoder, command->announce.self.bytes);
    add_bytes(encoder, command->announce.info, PAWL_MEMBER_INFO_MAX);
    add_key(encoder, "rl:0", "o:");
}

static void put_view_set(struct pawl_redis_encoder *encoder,
                         const struct pawl_engine_command *command)
{
    add_script(encoder, pawl_script_view_set, 1);
    add_key(encoder, "m", "view");
    add_hex64(encoder, command->view_set.number);
    add_bytes(encoder, command->view_set.view, PAWL_VIEW_BYTES_MAX);
    if (command->view_set.exact) {
        add_hex64(encoder, command->view_set.base);
    } else {
        add_word(encoder, "");
    }
    add_bytes(encoder, command->view_set.over, PAWL_VIEW_BYTES_MAX);
}

static void put_retire(struct pawl_redis_encoder *encoder,
                       const struct pawl_engine_command *command)
{
    add_script(encoder, pawl_script_retire, 2);
    add_key(encoder, "m", "members");
    add_key(encoder, "m", "info");
    add_hex(encoder, command->retire.member.bytes);
}

static void put_append(struct pawl_redis_encoder *encoder,
                       const struct pawl_engine_command *command)
{
    uint64_t position = command->append.position;

    /* Scripts count in doubles. */
    encoder->overflown = position == 0 || position >> 53 != 0 || command->append.after >= position;
    add_script(encoder, pawl_script_append, 2);
    add_stream(encoder, &command->append.origin);
    add_key(encoder, "rl:0", "origins");
    add_u64(encoder, position);
    add_u64(encoder, command->append.after);
    add_bytes(encoder, command->append.bytes, PAWL_LOG_ENTRY_MAX);
    add_hex(encoder, command->append.origin.bytes);
}

static void put_read(struct pawl_redis_encoder *encoder, const struct pawl_engine_command *command,
                     const struct pawl_redis_context *context)
{
    uint32_t count = command->read.count;

    encoder->overflown = count == 0 || count > PAWL_ORIGINS_MAX;
    add_word(encoder, "XREAD");
    add_word(encoder, "COUNT");
    add_u64(encoder, context->entries_max > 0 ? context->entries_max : 1);
    if (command->read.block_ms > 0) {
        add_word(encoder, "BLOCK");
        add_u64(encoder, command->read.block_ms);
    }
    add_word(encoder, "STREAMS");
    for (uint32_t i = 0; i < count && !encoder->overflown; i++) {
        add_stream(encoder, &command->read.cursors[i].origin);
    }
    for (uint32_t i = 0; i < count && !encoder->overflown; i++) {
        add_format(encoder, "%llu-0", (unsigned long long)command->read.cursors[i].position);
    }
}

static void put_trim(struct pawl_redis_encoder *encoder, const struct pawl_engine_command *command)
{
    add_script(encoder, pawl_script_trim, 2);
    add_stream(encoder, &command->trim.origin);
    add_key(encoder, "rl:0", "origins");
    add_u64(encoder, command->trim.position);
    add_hex(encoder, command->trim.origin.bytes);
}

static void put_drop(struct pawl_redis_encoder *encoder, const struct pawl_engine_command *command)
{
    add_script(encoder, pawl_script_drop, 2);
    add_stream(encoder, &command->drop.origin);
    add_key(encoder, "rl:0", "origins");
    add_hex(encoder, command->drop.origin.bytes);
}

static void put_ready(struct pawl_redis_encoder *encoder, const struct pawl_engine_command *command)
{
    add_script(encoder, pawl_script_ready, 1);
    add_hex_key(encoder, "m", "ready:", command->gate.epoch.bytes);
    add_hex(encoder, command->gate.self.bytes);
}

static void put_open(struct pawl_redis_encoder *encoder, const struct pawl_engine_command *command,
                     const struct pawl_redis_context *context)
{
    add_script(encoder, pawl_script_open, 1);
    add_key(encoder, "rt:00", "gate");
    add_hex(encoder, command->gate.epoch.bytes);
    add_word(encoder, context->replid);
}

static void put_family_get(struct pawl_redis_encoder *encoder,
                           const struct pawl_engine_command *command)
{
    add_word(encoder, "HMGET");
    add_family(encoder, command->family.key);
    add_word(encoder, "v");
    add_word(encoder, "r");
}

static void put_family_set(struct pawl_redis_encoder *encoder,
                           const struct pawl_engine_command *command,
                           const struct pawl_redis_context *context)
{
    uint64_t until_s = command->family.until_s;

    encoder->overflown =
        command->family.next <= command->family.version || until_s > INT64_MAX / 1000 / 1000;
    add_script(encoder,
               command->family.version == 0 ? pawl_script_family_new : pawl_script_family_next, 2);
    add_family(encoder, command->family.key);
    add_key(encoder, "rt:00", "gate");
    add_hex64(encoder, command->family.version);
    add_hex64(encoder, command->family.next);
    add_bytes(encoder, command->family.value, PAWL_FAMILY_SEALED_MAX);
    add_u64(encoder, until_s * 1000);
    if (command->family.gated) {
        add_hex(encoder, command->family.epoch.bytes);
        add_word(encoder, context->replid);
    } else {
        add_word(encoder, "");
        add_word(encoder, "");
    }
}

static void add_record_id(struct pawl_redis_encoder *encoder, struct pawl_id id)
{
    uint8_t bytes[16];

    pawl_put_le(bytes, id.lo, 8);
    pawl_put_le(bytes + 8, id.hi, 8);
    add_copy(encoder, bytes, sizeof(bytes));
}

static void put_slot_save(struct pawl_redis_encoder *encoder,
                          const struct pawl_engine_command *command)
{
    const struct pawl_slot_entry *entries = command->slot.entries;
    uint32_t count = command->slot.count;
    uint32_t written = 0;

    encoder->overflown = count > PAWL_SLOT_SAVE_MAX || command->slot.keep_ms == 0 ||
                         command->slot.keep_ms > INT64_MAX / 1000;
    count = encoder->overflown ? 0 : count;
    for (uint32_t i = 0; i < count; i++) {
        written += entries[i].value.size > 0 ? 1 : 0;
    }
    add_script(encoder, pawl_script_slot_save, 1);
    add_slot(encoder, command->slot.slot);
    add_hex64(encoder, command->slot.view);
    add_hex(encoder, command->slot.owner.bytes);
    add_u64(encoder, command->slot.keep_ms);
    add_u64(encoder, written);
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].value.size > 0) {
            add_record_id(encoder, entries[i].id);
            add_bytes(encoder, entries[i].value, PAWL_RESP_REPLY_MAX);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (entries[i].value.size == 0) {
            add_record_id(encoder, entries[i].id);
        }
    }
}

static void put_slot_load(struct pawl_redis_encoder *encoder,
                          const struct pawl_engine_command *command)
{
    add_script(encoder, pawl_script_slot_load, 1);
    add_slot(encoder, command->slot.slot);
    add_u64(encoder, PAWL_REDIS_SLOT_MAX + 1); /* and the fence */
}

static void put_wait(struct pawl_redis_encoder *encoder, const struct pawl_engine_command *command,
                     const struct pawl_redis_context *context)
{
    uint32_t replicas = command->wait.replicas;

    add_word(encoder, "WAIT");
    add_u64(encoder, replicas < context->wait_replicas ? replicas : context->wait_replicas);
    add_u64(encoder, command->wait.timeout_ms > 0 ? command->wait.timeout_ms : 1); /* 0: forever */
}

static void put(struct pawl_redis_encoder *encoder, const struct pawl_engine_command *command,
                const struct pawl_redis_context *context)
{
    switch (command->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        put_announce(encoder, command, context);
        break;
    case PAWL_ENGINE_VIEW_SET:
        put_view_set(encoder, command);
        break;
    case PAWL_ENGINE_RETIRE:
        put_retire(encoder, command);
        break;
    case PAWL_ENGINE_APPEND:
        put_append(encoder, command);
        break;
    case PAWL_ENGINE_READ:
        put_read(encoder, command, context);
        break;
    case PAWL_ENGINE_TRIM:
        put_trim(encoder, command);
        break;
    case PAWL_ENGINE_DROP_ORIGIN:
        put_drop(encoder, command);
        break;
    case PAWL_ENGINE_GATE_READY:
        put_ready(encoder, command);
        break;
    case PAWL_ENGINE_GATE_OPEN:
        put_open(encoder, command, context);
        break;
    case PAWL_ENGINE_FAMILY_GET:
        put_family_get(encoder, command);
        break;
    case PAWL_ENGINE_FAMILY_SET:
        put_family_set(encoder, command, context);
        break;
    case PAWL_ENGINE_SLOT_SAVE:
        put_slot_save(encoder, command);
        break;
    case PAWL_ENGINE_SLOT_LOAD:
        put_slot_load(encoder, command);
        break;
    case PAWL_ENGINE_WAIT:
        put_wait(encoder, command, context);
        break;
    case PAWL_ENGINE_NONE:
        encoder->overflown = true;
        break;
    }
}

static enum pawl_status format(int count, const char **words, const size_t *sizes, char **out,
                               size_t *size)
{
    int length = redisFormatSdsCommandArgv(out, count, words, sizes);

    *size = length < 0 ? 0 : (size_t)length;
    return length < 0 ? PAWL_ENOMEM : PAWL_OK;
}

enum pawl_status pawl_redis_encode(struct pawl_redis_encoder *encoder,
                                   const struct pawl_engine_command *command,
                                   const struct pawl_redis_context *context, char **out,
                                   size_t *size)
{
    encoder->count = 0;
    encoder->used = 0;
    encoder->overflown = false;
    put(encoder, command, context);
    if (encoder->overflown || encoder->count == 0) {
        return PAWL_EINVAL;
    }
    return format(encoder->count, encoder->words, encoder->sizes, out, size);
}

enum pawl_status pawl_redis_encode_words(const char *const *words, char **out, size_t *size)
{
    const char *list[16];
    size_t sizes[16];
    int count = 0;

    for (; count < 16 && words[count] != NULL; count++) {
        list[count] = words[count];
        sizes[count] = strlen(words[count]);
    }
    return format(count, list, sizes, out, size);
}

uint32_t pawl_redis_read_share(uint32_t cursors, uint32_t asked, unsigned shrink)
{
    uint32_t share = cursors > 0 ? PAWL_REDIS_READ_GOAL / cursors : PAWL_REDIS_READ_GOAL;

    share = share < 16 ? 16 : share;
    share = asked > 0 && asked < share ? asked : share;
    share = shrink < 31 ? share >> shrink : 0;
    return share > 0 ? share : 1;
}
