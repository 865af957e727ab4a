/*
 * Between verbs of core/cluster/engine.h and RESP: commands.c writes, replies.c reads. No
 * connection and no clock in it.
 */
#ifndef PAWL_ADAPTER_REDIS_CODEC_H
#define PAWL_ADAPTER_REDIS_CODEC_H

#include "core/cluster/engine.h"
#include "info.h"
#include "redis.h"
#include "resp.h"

#define PAWL_REDIS_HEX_ID    32 /* digits of 16 bytes */
#define PAWL_REDIS_HEX_U64   16
#define PAWL_REDIS_ARGS_MAX  (2 * PAWL_SLOT_SAVE_MAX + 16)
#define PAWL_REDIS_SLOT_MAX  32768 /* records in a SLOT_LOAD; their bytes are capped as a reply */
#define PAWL_REDIS_READ_GOAL 32768 /* entries in one READ, of all origins */
#define PAWL_REDIS_KEY_MAX   (PAWL_REDIS_PREFIX_MAX + 64)
#define PAWL_REDIS_SCRATCH   (PAWL_ORIGINS_MAX * (PAWL_REDIS_KEY_MAX + 32) + 4096)

/** Memory for one command's words; reused for each. */
struct pawl_redis_encoder {
    char prefix[PAWL_REDIS_PREFIX_MAX + 1];
    const char *words[PAWL_REDIS_ARGS_MAX];
    size_t sizes[PAWL_REDIS_ARGS_MAX];
    int count;
    char scratch[PAWL_REDIS_SCRATCH];
    size_t used;
    bool overflown; /* something was past its cap: nothing is to be sent */
};

/** What a command's words depend on beside itself. */
struct pawl_redis_context {
    struct pawl_epoch epoch;
    const char *replid;     /* "": not known */
    uint32_t entries_max;   /* READ: of each origin, at most */
    uint32_t wait_replicas; /* WAIT: no more than there are */
};

/**
 * The bytes to send for @command.
 *
 * @out  an sds string of @size bytes, the caller's: redisFreeSdsCommand().
 *
 * Returns PAWL_OK, PAWL_EINVAL (past a cap, or no such verb), PAWL_ENOMEM.
 */
PAWL_MUST_USE enum pawl_status pawl_redis_encode(struct pawl_redis_encoder *encoder,
                                                 const struct pawl_engine_command *command,
                                                 const struct pawl_redis_context *context,
                                                 char **out, size_t *size);

/** The bytes of a command of plain words, up to the NULL; as above. */
PAWL_MUST_USE enum pawl_status pawl_redis_encode_words(const char *const *words, char **out,
                                                       size_t *size);

/** How many entries of each origin a READ of @cursors may ask for; @shrink: halved so often. */
uint32_t pawl_redis_read_share(uint32_t cursors, uint32_t asked, unsigned shrink);

/** 32 digits and an end. */
void pawl_redis_hex(char *out, const uint8_t bytes[16]);

/* ---- replies ---- */

struct pawl_redis_decoded {
    struct pawl_engine_reply reply; /* result and the verb's part of the union */
    struct pawl_redis_info info;    /* ANNOUNCE: what INFO said; has_role false: it may not */
    uint32_t foreign;               /* entries, records, origins that are not pawl's: left out */
};

/**
 * What @value, no ERROR, means as the answer to @verb.
 *
 * @reader  it came from: memory for lists is taken there and lives as long as @value.
 *
 * Returns PAWL_OK, PAWL_EINVAL (not the shape that this verb's answer has), PAWL_ENOMEM.
 */
PAWL_MUST_USE enum pawl_status pawl_redis_decode(struct pawl_resp_reader *reader,
                                                 enum pawl_engine_verb verb,
                                                 const struct pawl_resp *value,
                                                 struct pawl_redis_decoded *decoded);

/** What an error means for who asked. */
enum pawl_redis_trouble {
    PAWL_TROUBLE_COMMAND = 0, /* this command failed, and was not carried out */
    PAWL_TROUBLE_PRIMARY,     /* likewise, and it is no primary, or none that works: look anew */
    PAWL_TROUBLE_UNBLOCKED,   /* no primary any more, in the middle of a blocking command */
};

/** @text of an ERROR. */
enum pawl_redis_trouble pawl_redis_trouble_of(struct pawl_bytes text);

/** Whether @text begins with @word and a blank, or is it. */
bool pawl_redis_begins(struct pawl_bytes text, const char *word);

#endif
