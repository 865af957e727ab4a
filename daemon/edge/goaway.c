#include "edge/goaway.h"

#include <string.h>

#include "pawl/v1/cold.h"

size_t pawl_goaway_write(uint8_t *out, bool refused, uint64_t last_id, const char *reason,
                         uint32_t drain_ms)
{
    Pawl__V1__GoAway goaway = PAWL__V1__GO_AWAY__INIT;
    Pawl__V1__Reply reply = PAWL__V1__REPLY__INIT;
    uint8_t text[PAWL_GOAWAY_REASON_MAX];
    size_t size = strnlen(reason, sizeof(text));

    memcpy(text, reason, size);
    goaway.last_id = last_id;
    goaway.drain_ms = drain_ms;
    goaway.reason.data = text;
    goaway.reason.len = size;
    reply.goaway = &goaway;
    reply.status = refused ? PAWL__V1__STATUS__STATUS_UNAVAILABLE : PAWL__V1__STATUS__STATUS_OK;
    if (refused) {
        reply.error = goaway.reason;
    }
    return pawl_cold_write_reply(out, PAWL_GOAWAY_BYTES_MAX, &reply);
}
