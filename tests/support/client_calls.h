/*
 * One valid call of each kind that libpawl has, for tests that go through all of them: with faults
 * of memory, with answers that are no answers.
 */
#ifndef PAWL_TESTS_CLIENT_CALLS_H
#define PAWL_TESTS_CLIENT_CALLS_H

#include "pawl/pawl.h"

#include <string.h>

/** In the order in which client_submit_call() knows them. */
enum client_call {
    CLIENT_CHECK = 0,   /* inline rate, on_error closed */
    CLIENT_CHECK_LOCAL, /* named limit with rates beside it, on_error local */
    CLIENT_ADMIT,       /* the same with a token, each for itself */
    CLIENT_TOKEN_CHECK,
    CLIENT_REFUND,
    CLIENT_RESET,
    CLIENT_REVOKE,
    CLIENT_UNREVOKE,
    CLIENT_ROTATE,
    CLIENT_FAMILY_OPEN,
    CLIENT_FAMILY_END,
    CLIENT_LIMITS,
    CLIENT_STATS,
    CLIENT_THAW,
    CLIENT_PING,
    CLIENT_MEMBERS,
    CLIENT_CALLS
};

static inline int client_submit_check(struct pawl_client *client, enum client_call call,
                                      pawl_on_answer on_answer, void *data)
{
    struct pawl_str key = pawl_str("user");
    struct pawl_token token = { .struct_size = sizeof(token),
                                .jti = pawl_str("jti"),
                                .sid = pawl_str("family"),
                                .opaque = pawl_str("opaque") };
    struct pawl_check_item items[2] = {
        { .rates = "5/minute, 100/day", .key = &key, .key_count = 1, .on_error = PAWL_FAIL_CLOSED },
        { .limit = pawl_str("api"),
          .rates = "7/s, 1000/h",
          .key = &key,
          .key_count = 1,
          .cost = 2,
          .on_error = PAWL_FAIL_LOCAL },
    };
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = call == CLIENT_CHECK ? &items[0] : &items[1],
                                     .item_count = 1 };

    if (call == CLIENT_ADMIT) {
        check.token = &token;
        check.flags = PAWL_CHECK_EACH;
    }
    return pawl_client_submit_check(client, &check, on_answer, data, NULL);
}

static inline int client_submit_token(struct pawl_client *client, enum client_call call,
                                      pawl_on_answer on_answer, void *data)
{
    struct pawl_token token = { .struct_size = sizeof(token),
                                .sid = pawl_str("family"),
                                .jti = pawl_str("jti"),
                                .exp_s = 4000000000 };
    struct pawl_token_check_call check = { .struct_size = sizeof(check), .token = &token };
    struct pawl_rotate_call rotate = { .struct_size = sizeof(rotate),
                                       .presented = &token,
                                       .next_exp_s = 4000000000 };

    return call == CLIENT_TOKEN_CHECK
               ? pawl_client_submit_token_check(client, &check, on_answer, data, NULL)
               : pawl_client_submit_rotate(client, &rotate, on_answer, data, NULL);
}

static inline int client_submit_limits(struct pawl_client *client, enum client_call call,
                                       pawl_on_answer on_answer, void *data)
{
    struct pawl_str key = pawl_str("user");
    uint64_t charge = 77;
    struct pawl_refund_item item = {
        .rates = "5/minute", .key = &key, .key_count = 1, .charges = &charge, .charge_count = 1
    };
    struct pawl_refund_call refund = { .struct_size = sizeof(refund),
                                       .items = &item,
                                       .item_count = 1 };
    struct pawl_reset_call reset = {
        .struct_size = sizeof(reset), .rates = "5/minute", .key = &key, .key_count = 1
    };
    struct pawl_limits_call limits = { .struct_size = sizeof(limits) };

    return call == CLIENT_REFUND ? pawl_client_submit_refund(client, &refund, on_answer, data, NULL)
           : call == CLIENT_RESET
               ? pawl_client_submit_reset(client, &reset, on_answer, data, NULL)
               : pawl_client_submit_limits(client, &limits, on_answer, data, NULL);
}

static inline int client_submit_fact(struct pawl_client *client, enum client_call call,
                                     pawl_on_answer on_answer, void *data)
{
    struct pawl_fact_name name = { .origin_size = 16, .sequence = 1 };
    struct pawl_revoke_call revoke = { .struct_size = sizeof(revoke),
                                       .scope = PAWL_REVOKE_TOKEN,
                                       .value = pawl_str("jti"),
                                       .exp_s = 4000000000 };
    struct pawl_unrevoke_call unrevoke = { .struct_size = sizeof(unrevoke),
                                           .ids = &name,
                                           .id_count = 1 };

    return call == CLIENT_REVOKE
               ? pawl_client_submit_revoke(client, &revoke, on_answer, data, NULL)
               : pawl_client_submit_unrevoke(client, &unrevoke, on_answer, data, NULL);
}

static inline int client_submit_family(struct pawl_client *client, enum client_call call,
                                       pawl_on_answer on_answer, void *data)
{
    struct pawl_family_open_call open = { .struct_size = sizeof(open),
                                          .subject = pawl_str("ann"),
                                          .exp_s = 4000000000 };
    struct pawl_family_end_call end = { .struct_size = sizeof(end), .sid = pawl_str("family") };

    return call == CLIENT_FAMILY_OPEN
               ? pawl_client_submit_family_open(client, &open, on_answer, data, NULL)
               : pawl_client_submit_family_end(client, &end, on_answer, data, NULL);
}

static inline int client_submit_node(struct pawl_client *client, enum client_call call,
                                     pawl_on_answer on_answer, void *data)
{
    struct pawl_stats_call stats = { .struct_size = sizeof(stats) };
    struct pawl_thaw_call thaw = { .struct_size = sizeof(thaw), .lost_since_s = 1 };
    struct pawl_members_call members = { .struct_size = sizeof(members) };

    if (call == CLIENT_MEMBERS) {
        return pawl_client_submit_members(client, &members, on_answer, data, NULL);
    }
    return call == CLIENT_STATS  ? pawl_client_submit_stats(client, &stats, on_answer, data, NULL)
           : call == CLIENT_THAW ? pawl_client_submit_thaw(client, &thaw, on_answer, data, NULL)
                                 : pawl_client_submit_ping(client, NULL, on_answer, data, NULL);
}

/** Submit it; returns what submit returned. */
static inline int client_submit_call(struct pawl_client *client, enum client_call call,
                                     pawl_on_answer on_answer, void *data)
{
    switch (call) {
    case CLIENT_CHECK:
    case CLIENT_CHECK_LOCAL:
    case CLIENT_ADMIT:
        return client_submit_check(client, call, on_answer, data);
    case CLIENT_TOKEN_CHECK:
    case CLIENT_ROTATE:
        return client_submit_token(client, call, on_answer, data);
    case CLIENT_REFUND:
    case CLIENT_RESET:
    case CLIENT_LIMITS:
        return client_submit_limits(client, call, on_answer, data);
    case CLIENT_REVOKE:
    case CLIENT_UNREVOKE:
        return client_submit_fact(client, call, on_answer, data);
    case CLIENT_FAMILY_OPEN:
    case CLIENT_FAMILY_END:
        return client_submit_family(client, call, on_answer, data);
    default:
        return client_submit_node(client, call, on_answer, data);
    }
}

#endif
