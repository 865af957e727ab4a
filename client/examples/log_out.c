/*
 * Log-out: one family (this browser), or everything of a subject from before now.
 *
 *     log_out family SID
 *     log_out everywhere SUBJECT
 */
#include <pawl/pawl.h>

#include <stdio.h>

static int end_family(struct pawl_client *client, const char *sid,
                      struct pawl_revoke_result *result)
{
    struct pawl_family_end_call end = { .struct_size = sizeof(end),
                                        .sid = pawl_str(sid),
                                        .reason = PAWL_WHY_LOGOUT };

    return pawl_client_family_end(client, &end, result);
}

static int end_all(struct pawl_client *client, const char *subject,
                   struct pawl_revoke_result *result)
{
    struct pawl_revoke_call revoke = { .struct_size = sizeof(revoke),
                                       .scope = PAWL_REVOKE_SUBJECT,
                                       .value = pawl_str(subject),
                                       .reason = PAWL_WHY_LOGOUT_ALL };

    return pawl_client_revoke(client, &revoke, result);
}

int main(int argc, char **argv)
{
    struct pawl_client *client = NULL;
    struct pawl_revoke_result result = { .struct_size = sizeof(result) };
    int rc;

    if (argc != 3 || pawl_client_create(NULL, &client, NULL, 0) != PAWL_RC_OK) {
        (void)fprintf(stderr, "usage: log_out family SID | log_out everywhere SUBJECT\n");
        return 2;
    }
    rc = strcmp(argv[1], "family") == 0 ? end_family(client, argv[2], &result)
                                        : end_all(client, argv[2], &result);
    if (rc == PAWL_RC_OK) {
        printf("revoked, %s\n", pawl_level_text(result.acknowledged));
    } else { /* not acknowledged: tell the user that the log-out has to be tried again */
        printf("not revoked for sure: %s\n", result.info.text);
    }
    pawl_client_destroy(client);
    return rc == PAWL_RC_OK ? 0 : 3;
}
