#include "adapter/jwt/key_json.h"

#include <string.h>

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
