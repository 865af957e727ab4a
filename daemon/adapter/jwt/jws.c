#include "adapter/jwt/jws.h"

#include <string.h>

static enum pawl_jwt_reason decode(struct pawl_bytes text, uint8_t **buffer, struct pawl_bytes *out)
{
    size_t size;

    if (!pawl_base64url_decode(text, *buffer, &size)) {
        return PAWL_JWT_BASE64;
    }
    *out = pawl_bytes_of(*buffer, size);
    *buffer += size;
    return PAWL_JWT_OK;
}

enum pawl_jwt_reason pawl_jws_split(struct pawl_bytes raw, uint8_t *buffer, struct pawl_jws *jws)
{
    struct pawl_bytes parts[3];
    size_t begin = 0;
    unsigned count = 0;

    if (raw.size > PAWL_JWT_BYTES_MAX) {
        return PAWL_JWT_TOO_BIG;
    }
    for (size_t i = 0; i <= raw.size; i++) {
        if (i < raw.size && raw.data[i] != '.') {
            continue;
        }
        if (i == begin || count == 3) {
            return PAWL_JWT_PARTS;
        }
        parts[count++] = pawl_bytes_of(raw.data + begin, i - begin);
        begin = i + 1;
    }
    if (count != 3) {
        return PAWL_JWT_PARTS;
    }
    jws->signed_part = pawl_bytes_of(raw.data, parts[0].size + 1 + parts[1].size);
    if (decode(parts[0], &buffer, &jws->header) != PAWL_JWT_OK ||
        decode(parts[1], &buffer, &jws->payload) != PAWL_JWT_OK) {
        return PAWL_JWT_BASE64;
    }
    return decode(parts[2], &buffer, &jws->signature);
}

bool pawl_json_within(struct pawl_bytes text, const struct pawl_json_caps *caps)
{
    unsigned depth = 0;
    unsigned members = 0;
    unsigned values = 1;
    bool in_string = false;

    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];

        if (in_string) {
            i += byte == '\\';
            in_string = byte != '"';
            continue;
        }
        in_string = byte == '"';
        depth += byte == '{' || byte == '[';
        members += byte == ':';
        values += byte == ',';
        if (depth > caps->depth || members > caps->members || values > caps->values) {
            return false;
        }
        if (byte == '}' || byte == ']') {
            if (depth == 0) {
                return false;
            }
            depth--;
        }
    }
    return true;
}

static enum pawl_jwt_reason reason_of(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_duplicate_key:
        return PAWL_JWT_DUPLICATE;
    case json_error_out_of_memory:
        return PAWL_JWT_INTERNAL;
    default:
        return PAWL_JWT_JSON;
    }
}

enum pawl_jwt_reason pawl_json_parse(struct pawl_bytes text, const struct pawl_json_caps *caps,
                                     json_t **out)
{
    json_error_t error;

    *out = NULL;
    if (text.size == 0 || !pawl_json_within(text, caps)) {
        return PAWL_JWT_JSON;
    }
    memset(&error, 0, sizeof(error));
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);

    if (root == NULL) {
        return reason_of(&error);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return PAWL_JWT_JSON;
    }
    *out = root;
    return PAWL_JWT_OK;
}
