/*
 * A check and a token check in one round trip, from a libuv loop.
 *
 *     libuv_check USER JTI
 */
#include <pawl/uv.h>

#include <stdio.h>

static void on_stopped(struct pawl_uv *pawl)
{
    pawl_client_destroy(pawl->client);
}

static void on_answer(void *data, const struct pawl_answer *answer)
{
    const struct pawl_check_result *result = answer->of.check;

    printf("%s, token %s\n", pawl_outcome_text(result->outcome),
           pawl_token_state_text(result->token.status));
    pawl_uv_stop(data, on_stopped);
}

static int submit(struct pawl_uv *pawl, const char *user, const char *jti)
{
    struct pawl_str key = pawl_str(user);
    struct pawl_token token = { .struct_size = sizeof(token), .jti = pawl_str(jti) };
    struct pawl_check_item item = {
        .rates = "60/minute", .key = &key, .key_count = 1, .on_error = PAWL_FAIL_OPEN
    };
    struct pawl_check_call check = {
        .struct_size = sizeof(check), .items = &item, .item_count = 1, .token = &token
    };

    token.subject = pawl_str(user);
    return pawl_client_submit_check(pawl->client, &check, on_answer, pawl, NULL);
}

int main(int argc, char **argv)
{
    struct pawl_client *client = NULL;
    struct pawl_uv pawl;
    uv_loop_t loop;

    if (argc != 3 || pawl_client_create(NULL, &client, NULL, 0) != PAWL_RC_OK) {
        (void)fprintf(stderr, "usage: libuv_check USER JTI\n");
        return 2;
    }
    (void)uv_loop_init(&loop);
    if (pawl_uv_start(&pawl, &loop, client) != 0 || submit(&pawl, argv[1], argv[2]) != PAWL_RC_OK) {
        pawl_uv_stop(&pawl, on_stopped);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}
