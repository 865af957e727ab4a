/*
 * Packing cold requests: structs of the generated code on the stack, written into a slot's frame.
 * Shared by the encoders alone.
 */
#ifndef PAWL_CLIENT_COLD_PACK_H
#define PAWL_CLIENT_COLD_PACK_H

#include "private.h"

struct packed_rates {
    Pawl__V1__Rate rates[PAWL_RATES_MAX];
    Pawl__V1__Rate *pointers[PAWL_RATES_MAX];
    uint32_t count;
};

/** Say in the handle why the call is not valid. Returns PAWL_RC_INVALID. */
int pawl_cold_refuse(struct pawl_client *client, const char *text);

/** Lent bytes as a field. Packing only reads, but the generated structs hold plain pointers. */
ProtobufCBinaryData pawl_cold_binary(const void *data, size_t size);
ProtobufCBinaryData pawl_cold_binary_of(struct pawl_str str);

/** The envelope of @call. */
void pawl_cold_begin(struct pawl_client *client, const struct slot *slot, const void *call,
                     Pawl__V1__Request *request);

/** Write @request into the slot's frame: PAWL_RC_OK, PAWL_RC_TOO_BIG, PAWL_RC_FULL. */
int pawl_cold_finish(struct pawl_client *client, struct slot *slot,
                     const Pawl__V1__Request *request);

/** What a text of rates leaves open. */
struct rates_kind {
    uint32_t algorithm;
    uint64_t burst;
};

/** Rates from text (of @kind) or list; a key's parts (room for PAWL_KEY_PARTS_MAX). PAWL_RC_OK or
 * INVALID. */
int pawl_cold_pack_rates(struct pawl_client *client, const char *text,
                         const struct pawl_rate_spec *list, size_t count, struct rates_kind kind,
                         struct packed_rates *packed);
int pawl_cold_pack_key(struct pawl_client *client, const struct pawl_str *key, size_t count,
                       ProtobufCBinaryData *packed);

#endif
