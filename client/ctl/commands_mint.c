/*
 * token mint: signed tokens for tests and demos. Nobody is asked; the key never leaves this
 * process.
 */
#include "adapter/jwt/mint.h"
#include "commands.h"
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define KEY_FILE_MAX 65536
#define LIFE_S       300 /* without --exp */

/* Read @path into @buffer; says what is wrong. */
static int key_read(const struct ctl *ctl, const char *path, uint8_t *buffer, size_t capacity,
                    struct pawl_bytes *key)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    size_t size = 0;
    ssize_t got = fd >= 0 ? 1 : -1;
    char what[160];

    while (got > 0 && size < capacity) {
        got = read(fd, buffer + size, capacity - size);
        size += got > 0 ? (size_t)got : 0;
    }
    if (got < 0 || size == capacity) {
        snprintf(what, sizeof(what), "token mint: %.80s: %s", path,
                 got < 0 ? strerrordesc_np(errno) : "longer than 64 KiB");
    }
    if (fd >= 0) {
        close(fd);
    }
    *key = pawl_bytes_of(buffer, size);
    return got < 0 || size == capacity ? ctl_usage(ctl, what, "") : EXIT_YES;
}

static void put_text(json_t *claims, const struct ctl *ctl, enum option_id id, const char *name)
{
    struct pawl_str text = ctl_str(ctl, id);

    if (option_given(&ctl->options, id)) {
        json_object_set_new(claims, name, output_text(text.data, text.size));
    }
}

static void put_times(json_t *claims, const struct ctl *ctl)
{
    struct timespec now;
    uint64_t now_s = ctl->now_ms / 1000;
    uint64_t iat_s;

    clock_gettime(CLOCK_REALTIME, &now);
    now_s = ctl->now_ms != 0 ? now_s : (uint64_t)now.tv_sec;
    iat_s = option_given(&ctl->options, OPTION_IAT_ID)
                ? option_seconds(&ctl->options, OPTION_IAT_ID)
                : now_s;
    json_object_set_new(claims, "iat", output_number(iat_s));
    json_object_set_new(claims, "exp",
                        output_number(option_given(&ctl->options, OPTION_EXP_ID)
                                          ? option_seconds(&ctl->options, OPTION_EXP_ID)
                                          : now_s + LIFE_S));
}

/* "k=v": v as JSON where it is, else as text; null takes the claim away. */
static bool put_pair(json_t *claims, const char *pair)
{
    const char *equals = strchr(pair, '=');
    char name[128];
    json_t *value;

    if (equals == NULL || equals == pair || (size_t)(equals - pair) >= sizeof(name)) {
        return false;
    }
    snprintf(name, sizeof(name), "%.*s", (int)(equals - pair), pair);
    value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
    if (value == NULL) {
        value = output_text(equals + 1, strlen(equals + 1));
    }
    if (json_is_null(value)) {
        json_decref(value);
        json_object_del(claims, name);
        return true;
    }
    return json_object_set_new(claims, name, value) == 0;
}

static int claims_make(const struct ctl *ctl, json_t *claims)
{
    put_text(claims, ctl, OPTION_ISS_ID, "iss");
    put_text(claims, ctl, OPTION_SUB_ID, "sub");
    put_text(claims, ctl, OPTION_AUD_ID, "aud");
    put_text(claims, ctl, OPTION_JTI_ID, "jti");
    put_text(claims, ctl, OPTION_SID_ID, "sid");
    put_text(claims, ctl, OPTION_CLIENT_ID, "client_id");
    put_times(claims, ctl);
    for (uint32_t i = 0; i < ctl->options.list_count; i++) {
        if (!put_pair(claims, ctl->options.list[i])) {
            return ctl_usage(ctl, "--claim: not a claim",
                             "write name=value, the value in JSON or as text");
        }
    }
    return EXIT_YES;
}

static int mint(const struct ctl *ctl, struct pawl_bytes key, const char *claims)
{
    char token[PAWL_JWT_MINT_BYTES_MAX + 1];
    struct pawl_error error = { PAWL_OK, 0, "" };
    struct pawl_jwt_mint ask = {
        .alg = option_text(&ctl->options, OPTION_ALG_ID),
        .kid = option_text(&ctl->options, OPTION_KID_ID),
        .typ = option_text(&ctl->options, OPTION_TYP_ID),
        .key = key,
        .claims = pawl_bytes_of(claims, strlen(claims)),
    };

    if (pawl_jwt_mint(&ask, token, sizeof(token), NULL, &error) != PAWL_OK) {
        return ctl_usage(ctl, error.text, "");
    }
    if (ctl->json) {
        output_json(json_pack("{s:s}", "token", token));
    } else {
        puts(token);
    }
    explicit_bzero(token, sizeof(token));
    return EXIT_YES;
}

int command_token_mint(struct ctl *ctl)
{
    static uint8_t buffer[KEY_FILE_MAX];
    const char *key_file = option_text(&ctl->options, OPTION_KEY_ID);
    const char *secret_file = option_text(&ctl->options, OPTION_SECRET_FILE_ID);
    struct pawl_bytes key;
    json_t *claims = NULL;
    char *text = NULL;
    int code;

    if ((key_file == NULL) == (secret_file == NULL)) {
        return ctl_usage(ctl, "token mint: signed with what?",
                         "give --key FILE, or --secret-file FILE for HS256 and kin");
    }
    code = key_read(ctl, key_file != NULL ? key_file : secret_file, buffer, sizeof(buffer), &key);
    if (secret_file != NULL) {
        key = pawl_jwt_secret_trim(key);
    }
    claims = json_object();
    code = code == EXIT_YES ? claims_make(ctl, claims) : code;
    text = code == EXIT_YES ? json_dumps(claims, JSON_COMPACT) : NULL;
    if (text != NULL) {
        code = mint(ctl, key, text);
    } else if (code == EXIT_YES) {
        code = ctl_usage(ctl, "token mint: out of memory", "");
    }
    free(text);
    json_decref(claims);
    explicit_bzero(buffer, sizeof(buffer));
    return code;
}
