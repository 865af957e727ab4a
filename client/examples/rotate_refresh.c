/*
 * A login and one refresh: the family opens, its first refresh token is exchanged for a second.
 * What an API server signs into the tokens is printed as name=value.
 *
 *     rotate_refresh SUBJECT
 */
#include <pawl/pawl.h>

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define LIFE_S (UINT64_C(14) * 86400)

static int refresh(struct pawl_client *client, const struct pawl_token *presented, uint64_t exp_s)
{
    struct pawl_rotate_call rotate = { .struct_size = sizeof(rotate),
                                       .presented = presented,
                                       .next_exp_s = exp_s,
                                       .flags = PAWL_ROTATE_VERIFIED };
    struct pawl_rotate_result result = { .struct_size = sizeof(result) };

    if (pawl_client_rotate(client, &rotate, &result) == PAWL_RC_OK &&
        result.result == PAWL_REFRESH_UNAVAILABLE) {
        /* the same call once more, with the same proposal: pawld sees that it is the same */
        struct pawl_text proposed = result.proposed;

        rotate.next_jti.data = proposed.data;
        rotate.next_jti.size = proposed.size;
        result.struct_size = sizeof(result);
        (void)pawl_client_rotate(client, &rotate, &result);
    }
    printf("result=%s\n", pawl_refresh_text(result.result));
    switch (result.result) {
    case PAWL_REFRESH_ROTATED:
    case PAWL_REFRESH_GRACE:
    case PAWL_REFRESH_ADOPTED:
        printf("jti=%s exp=%" PRIu64 " generation=%" PRIu64 "\n", result.successor.data,
               result.successor_exp_s, result.generation);
        return 0;
    case PAWL_REFRESH_UNAVAILABLE: /* 503; the browser keeps its cookie */
        return 3;
    default: /* 401: a known fact */
        return 1;
    }
}

int main(int argc, char **argv)
{
    struct pawl_client *client = NULL;
    struct pawl_family_open_result opened = { .struct_size = sizeof(opened) };
    struct pawl_family_open_call open = { .struct_size = sizeof(open) };
    struct pawl_token presented = { .struct_size = sizeof(presented) };
    uint64_t exp_s = (uint64_t)time(NULL) + LIFE_S;
    int code = 3;

    if (argc != 2 || pawl_client_create(NULL, &client, NULL, 0) != PAWL_RC_OK) {
        (void)fprintf(stderr, "usage: rotate_refresh SUBJECT\n");
        return 2;
    }
    open.subject = pawl_str(argv[1]);
    open.exp_s = exp_s;
    if (pawl_client_family_open(client, &open, &opened) == PAWL_RC_OK) {
        printf("sid=%s jti=%s\n", opened.sid.data, opened.jti.data);
        presented.sid = pawl_str(opened.sid.data);
        presented.jti = pawl_str(opened.jti.data);
        presented.subject = open.subject;
        code = refresh(client, &presented, exp_s);
    } else {
        (void)fprintf(stderr, "no login: %s\n", opened.info.text);
    }
    pawl_client_destroy(client);
    return code;
}
