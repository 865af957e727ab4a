/*
 * The smallest use: may alice log in from this address? Both limits at once, all or none.
 *
 *     blocking_check USER ADDRESS
 *
 * Exits 0: yes, 1: no, 3: cannot tell.
 */
#include <pawl/pawl.h>

#include <stdio.h>

static void print_rate(const struct pawl_rate_result *rate)
{
    printf("  limit %u: %llu of %llu in %u ms%s\n", rate->item, (unsigned long long)rate->count,
           (unsigned long long)rate->limit_count, rate->window_ms, rate->allowed ? "" : ": no");
}

static int ask(struct pawl_client *client, const char *user, const char *address)
{
    struct pawl_str by_user[] = { pawl_str("user"), pawl_str(user) };
    struct pawl_str by_address[] = { pawl_str("address"), pawl_str(address) };
    struct pawl_check_item items[] = {
        { .rates = "5/minute", .key = by_user, .key_count = 2, .on_error = PAWL_FAIL_CLOSED },
        { .rates = "20/minute", .key = by_address, .key_count = 2, .on_error = PAWL_FAIL_OPEN },
    };
    struct pawl_rate_result rates[PAWL_CHECK_RATES];
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = items,
                                     .item_count = 2 };
    struct pawl_check_result result = { .struct_size = sizeof(result),
                                        .rates = rates,
                                        .rates_max = PAWL_CHECK_RATES };

    (void)pawl_client_check(client, &check, &result);

    printf("%s, by %s\n", pawl_outcome_text(result.outcome), pawl_source_text(result.info.source));
    if (result.info.cause != PAWL_RC_OK) {
        printf("  %s\n", result.info.text);
    }
    for (size_t i = 0; i < result.rate_count; i++) {
        print_rate(&rates[i]);
    }
    return result.outcome == PAWL_OUTCOME_ALLOW ? 0 : result.outcome == PAWL_OUTCOME_DENY ? 1 : 3;
}

int main(int argc, char **argv)
{
    struct pawl_client *client = NULL;
    char error[PAWL_TEXT_BYTES] = "";
    char address[PAWL_TEXT_IP_BYTES];
    int code;

    if (argc != 3 || pawl_key_from_ip(argv[2], address) != PAWL_RC_OK) {
        (void)fprintf(stderr, "usage: blocking_check USER ADDRESS\n");
        return 2;
    }
    if (pawl_client_create(NULL, &client, error, sizeof(error)) != PAWL_RC_OK) {
        (void)fprintf(stderr, "%s\n", error);
        return 2;
    }
    code = ask(client, argv[1], address);
    pawl_client_destroy(client);
    return code;
}
