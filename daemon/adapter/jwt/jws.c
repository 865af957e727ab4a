#include "adapter/jwt/jws.h"

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
