/*
 * The envelope passed on, against protobuf-c: bit 0 of the first byte says request or reply, the
 * rest is the message.
 *
 * What the hot reader takes is passed on where it fits, and what comes out reads as the same
 * message with the new envelope: protobuf-c unpacks both, the replaced fields are set alike, and
 * both pack to the same bytes. What the hot reader refuses may be passed on only if what is wrong
 * is inside a body; reading what comes out is then as wrong.
 */
#include "fuzz/require.h"
#include "pawl/v1/cold.h"
#include "pawl/v1/envelope.h"
#include "pawl/v1/frame.h"
#include "pawl/v1/hot.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t out[PAWL_REPLY_BYTES_MAX + 4096];
static uint8_t packed[2][4 * PAWL_REPLY_BYTES_MAX];

static struct pawl_bytes written(size_t size)
{
    struct pawl_bytes message = { NULL, 0 };

    require(pawl_frame_next(out, size, PAWL_REPLY_BYTES_MAX, &message, NULL) == PAWL_OK);
    require(message.size + PAWL_FRAME_HEADER_BYTES == size);
    return message;
}

/* Unpack, normalise by the given packer, compare. */
static void same(size_t a, size_t b)
{
    require(a == b);
    require(memcmp(packed[0], packed[1], a) == 0);
}

static void request_is_kept(struct pawl_bytes before, struct pawl_bytes after,
                            const struct pawl_envelope *with)
{
    Pawl__V1__Request *old = pawl__v1__request__unpack(NULL, before.size, before.data);
    Pawl__V1__Request *new = pawl__v1__request__unpack(NULL, after.size, after.data);

    require(old == NULL || new != NULL); /* a bad hello is left out */
    if (old == NULL) {
        if (new != NULL) {
            pawl__v1__request__free_unpacked(new, NULL);
        }
        return;
    }
    require(new->id == with->id &&new->view == with->view &&new->forwarded);
    require(new->deadline_ms == with->deadline_ms &&new->hello == NULL);
    require(new->namespace_.len == with->namespace_.size);
    struct {
        Pawl__V1__Hello *hello;
        ProtobufCBinaryData ns;
    } kept = { old->hello, old->namespace_ };

    old->id = new->id;
    old->view = new->view;
    old->forwarded = true;
    old->deadline_ms = new->deadline_ms;
    old->hello = NULL;
    old->namespace_ = new->namespace_;
    same(pawl__v1__request__pack(old, packed[0]), pawl__v1__request__pack(new, packed[1]));
    old->hello = kept.hello;
    old->namespace_ = kept.ns;
    pawl__v1__request__free_unpacked(old, NULL);
    pawl__v1__request__free_unpacked(new, NULL);
}

static void try_request(struct pawl_bytes message)
{
    static struct pawl_wire_request hot;
    const struct pawl_envelope with = {
        .id = 9, .view = 10, .deadline_ms = 11, .namespace_ = pawl_bytes_of("ns", 2)
    };
    size_t size = pawl_envelope_forward(out, sizeof(out), message, &with);

    if (size == 0) {
        require(pawl_wire_read_request(&hot, message) != PAWL_OK ||
                message.size + PAWL_ENVELOPE_FORWARD_BYTES > PAWL_REQUEST_BYTES_MAX);
        return;
    }
    request_is_kept(message, written(size), &with);
}

static void reply_is_kept(struct pawl_bytes before, struct pawl_bytes after)
{
    Pawl__V1__Reply *old = pawl__v1__reply__unpack(NULL, before.size, before.data);
    Pawl__V1__Reply *new = pawl__v1__reply__unpack(NULL, after.size, after.data);

    require(old == NULL || new != NULL); /* a bad hello or goaway is left out */
    if (old != NULL) {
        Pawl__V1__HelloReply *hello = old->hello;
        Pawl__V1__GoAway *goaway = old->goaway;

        require(new->id == 9 && new->hello == NULL &&new->goaway == NULL &&new->view_number == 0);
        old->id = 9;
        old->view_number = 0;
        old->hello = NULL;
        old->goaway = NULL;
        same(pawl__v1__reply__pack(old, packed[0]), pawl__v1__reply__pack(new, packed[1]));
        old->hello = hello;
        old->goaway = goaway;
        pawl__v1__reply__free_unpacked(old, NULL);
    }
    if (new != NULL) {
        pawl__v1__reply__free_unpacked(new, NULL);
    }
}

static void try_reply(struct pawl_bytes message)
{
    static struct pawl_wire_result results[PAWL_RESULTS_MAX];
    struct pawl_wire_reply hot = { .results = results };
    struct pawl_envelope_reply read;
    enum pawl_status envelope = pawl_envelope_read_reply(&read, message);
    enum pawl_status status = pawl_wire_read_reply(&hot, message);
    size_t size = pawl_envelope_reply(out, sizeof(out), message, 9, pawl_bytes_of(NULL, 0));

    if (status == PAWL_OK) {
        require(envelope == PAWL_OK);
        require(read.id == hot.id && read.status == hot.status);
        require(read.view_number == hot.view_number && read.error.size == hot.error.size);
        require(size > 0 || message.size + PAWL_ENVELOPE_REPLY_BYTES > PAWL_REPLY_BYTES_MAX);
    }
    if (size > 0) {
        reply_is_kept(message, written(size));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        try_request(pawl_bytes_of(data + 1, size - 1));
    } else {
        try_reply(pawl_bytes_of(data + 1, size - 1));
    }
    return 0;
}
