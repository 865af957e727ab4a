/*
 * What an engine, or something that is none, answers: RESP2 to trees, trees to the replies of each
 * verb, errors to what they mean, INFO to what matters of it.
 *
 * The first byte is the verb that was asked, 0 for all of them in turn; the second one how the rest
 * is cut into pieces. The rest is what comes.
 *
 * What must hold: cut or whole, the same replies are read, and the reader ends at the same one;
 * what is taken for an answer has a result, and its lists and texts are within the contract's caps
 * and can be read (ASan); what is no answer says so.
 */
#include "adapter/redis/codec.h"
#include "fuzz/require.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void touch(struct pawl_bytes bytes, size_t max)
{
    uint8_t sum = 0;

    require(bytes.size <= max);
    for (size_t i = 0; i < bytes.size; i++) {
        sum = (uint8_t)(sum + bytes.data[i]);
    }
    sink = sum;
}

static void check_announce(const struct pawl_engine_reply *reply)
{
    require(reply->announce.member_count <= PAWL_MEMBERS_MAX);
    require(reply->announce.top_count <= PAWL_ORIGINS_MAX);
    require(reply->announce.ready_count <= PAWL_MEMBERS_MAX);
    touch(reply->announce.view, PAWL_VIEW_BYTES_MAX);
    for (uint32_t i = 0; i < reply->announce.member_count; i++) {
        touch(reply->announce.members[i].info, PAWL_MEMBER_INFO_MAX);
        touch(pawl_bytes_of(reply->announce.members[i].id.bytes, 16), 16);
    }
    for (uint32_t i = 0; i < reply->announce.top_count; i++) {
        touch(pawl_bytes_of(reply->announce.tops[i].origin.bytes, 16), 16);
    }
    for (uint32_t i = 0; i < reply->announce.ready_count; i++) {
        touch(pawl_bytes_of(reply->announce.ready[i].bytes, 16), 16);
    }
}

static void check_reply(const struct pawl_engine_reply *reply)
{
    require(reply->result == PAWL_ENGINE_WON || reply->result == PAWL_ENGINE_REFUSED ||
            reply->result == PAWL_ENGINE_FAILED);
    touch(reply->error, 200);
    switch (reply->verb) {
    case PAWL_ENGINE_ANNOUNCE:
        require(reply->result == PAWL_ENGINE_WON);
        check_announce(reply);
        break;
    case PAWL_ENGINE_VIEW_SET:
        touch(reply->view_set.view, PAWL_VIEW_BYTES_MAX);
        break;
    case PAWL_ENGINE_READ:
        for (uint32_t i = 0; i < reply->read.count; i++) {
            touch(reply->read.entries[i].bytes, PAWL_RESP_REPLY_MAX);
        }
        break;
    case PAWL_ENGINE_FAMILY_GET:
    case PAWL_ENGINE_FAMILY_SET:
        require(!reply->family.closed || reply->result == PAWL_ENGINE_REFUSED);
        touch(reply->family.value, PAWL_FAMILY_SEALED_MAX);
        break;
    case PAWL_ENGINE_SLOT_LOAD:
        for (uint32_t i = 0; i < reply->slot.count; i++) {
            require(reply->slot.entries[i].value.size > 0);
            touch(reply->slot.entries[i].value, PAWL_RESP_REPLY_MAX);
        }
        break;
    default:
        break;
    }
}

static void check_value(struct pawl_resp_reader *reader, unsigned verb,
                        const struct pawl_resp *value)
{
    struct pawl_redis_decoded decoded;
    struct pawl_redis_info info;

    if (value->type == PAWL_RESP_ERROR) {
        require(pawl_redis_trouble_of(value->text) <= PAWL_TROUBLE_UNBLOCKED);
        return;
    }
    if (value->type == PAWL_RESP_STRING) {
        memset(&info, 0, sizeof(info));
        pawl_redis_info_parse(&info, value->text);
        require(strlen(info.run_id) <= PAWL_REDIS_RUN_ID);
        require(strlen(info.policy) < sizeof(info.policy));
        require(strlen(info.flavour) < sizeof(info.flavour));
        (void)pawl_redis_info_epoch(&info);
    }
    for (unsigned i = PAWL_ENGINE_ANNOUNCE; i <= PAWL_ENGINE_WAIT; i++) {
        if ((verb == 0 || verb == i) &&
            pawl_redis_decode(reader, (enum pawl_engine_verb)i, value, &decoded) == PAWL_OK) {
            require(decoded.reply.verb == (enum pawl_engine_verb)i);
            check_reply(&decoded.reply);
        }
    }
}

/* How many replies there are in it, and how it ends. */
static unsigned read_all(const uint8_t *data, size_t size, size_t piece, unsigned verb,
                         enum pawl_status *end)
{
    struct pawl_resp_reader *reader = pawl_resp_reader_create();
    const struct pawl_resp *value = NULL;
    unsigned count = 0;

    require(reader != NULL);
    *end = PAWL_EAGAIN;
    for (size_t at = 0; at < size && *end == PAWL_EAGAIN; at += piece) {
        struct pawl_bytes rest = { data + at, size - at < piece ? size - at : piece };

        while ((*end = pawl_resp_next(reader, &rest, &value)) == PAWL_OK) {
            count++;
            check_value(reader, verb, value);
        }
        require(*end != PAWL_EAGAIN || rest.size == 0);
    }
    pawl_resp_reader_destroy(reader);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum pawl_status whole;
    enum pawl_status cut;
    unsigned verb;
    size_t piece;

    if (size < 2) {
        return 0;
    }
    verb = data[0] % (PAWL_ENGINE_WAIT + 1);
    unsigned count = read_all(data + 2, size - 2, size, verb, &whole);

    piece = data[1] % 64 + 1 + size / 128; /* of long ones longer pieces: for the speed's sake */
    require(read_all(data + 2, size - 2, piece, verb, &cut) == count);
    require((whole == PAWL_EAGAIN) == (cut == PAWL_EAGAIN));
    return 0;
}
