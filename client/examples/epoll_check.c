/*
 * Many checks at once from an epoll loop: one write, answers as they come.
 *
 *     epoll_check KEY...
 */
#include <pawl/epoll.h>
#include <pawl/pawl.h>

#include <stdio.h>
#include <unistd.h>

struct ask {
    const char *key;
    int *left;
};

static void on_answer(void *data, const struct pawl_answer *answer)
{
    const struct ask *ask = data;

    printf("%s: %s\n", ask->key, pawl_outcome_text(answer->of.check->outcome));
    (*ask->left)--;
}

static int submit(struct pawl_client *client, struct ask *ask)
{
    struct pawl_str key = pawl_str(ask->key);
    struct pawl_check_item item = {
        .rates = "100/minute", .key = &key, .key_count = 1, .on_error = PAWL_FAIL_LOCAL
    };
    struct pawl_check_call check = { .struct_size = sizeof(check),
                                     .items = &item,
                                     .item_count = 1 };

    return pawl_client_submit_check(client, &check, on_answer, ask, NULL);
}

static void run(struct pawl_client *client, int epoll_fd, const int *left)
{
    struct pawl_epoll pawl;
    struct epoll_event event;

    if (pawl_epoll_start(&pawl, epoll_fd, client, NULL) != 0) {
        perror("epoll");
        return;
    }
    while (*left > 0 && pawl_epoll_turn(&pawl) >= 0) {
        if (*left > 0) {
            (void)epoll_wait(epoll_fd, &event, 1, pawl_epoll_timeout(&pawl, -1));
        }
    }
    pawl_epoll_stop(&pawl);
}

int main(int argc, char **argv)
{
    struct pawl_client *client = NULL;
    struct ask asks[64];
    int left = 0;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    if (argc < 2 || argc > 64 || epoll_fd < 0 ||
        pawl_client_create(NULL, &client, NULL, 0) != PAWL_RC_OK) {
        (void)fprintf(stderr, "usage: epoll_check KEY...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        asks[i].key = argv[i];
        asks[i].left = &left;
        left += submit(client, &asks[i]) == PAWL_RC_OK ? 1 : 0;
    }
    run(client, epoll_fd, &left);
    pawl_client_destroy(client);
    (void)close(epoll_fd);
    return 0;
}
