/*
 * The address list: parsed once, looked up by pawl_client_create() and pawl_client_resolve(), tried
 * in order. An endpoint that failed waits a jittered, growing while (without a breaker, which means
 * to try always, it comes last for it); one that said goaway comes last for a while; one whose
 * backlog was full is asked again a moment later.
 *
 * A round begins when a connection is wanted and ends when one answers, or when each endpoint has
 * been tried once: then whoever waits is told so.
 */
#include "private.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#define BACKOFF_FIRST_MS 10
#define BACKOFF_MAX_MS   1000

static size_t part_size(const char *list)
{
    const char *comma = strchr(list, ',');

    return comma != NULL ? (size_t)(comma - list) : strlen(list);
}

int pawl_client_parse_addresses(struct pawl_client *client, const char *list, char *error,
                                size_t error_size)
{
    struct pawl_error why;
    const char *at = list;

    for (;;) {
        size_t size = part_size(at);
        struct pawl_address *address = &client->texts[client->text_count];

        if (client->text_count == CLIENT_ADDRESSES_MAX) {
            (void)snprintf(error, error != NULL ? error_size : 0, "addresses: at most %d",
                           CLIENT_ADDRESSES_MAX);
            return PAWL_RC_INVALID;
        }
        if (pawl_address_parse(pawl_bytes_of(at, size), address, &why) != PAWL_OK) {
            (void)snprintf(error, error != NULL ? error_size : 0, "address %u: %s",
                           client->text_count + 1, why.text);
            return PAWL_RC_INVALID;
        }
        if (address->kind != PAWL_ADDRESS_UNIX && address->port == 0) {
            (void)snprintf(error, error != NULL ? error_size : 0,
                           "address %u: a client needs a port from 1 to 65535",
                           client->text_count + 1);
            return PAWL_RC_INVALID;
        }
        client->text_count++;
        if (at[size] == '\0') {
            return PAWL_RC_OK;
        }
        at += size + 1;
    }
}

void pawl_client_add_unix(struct endpoint *endpoint, const struct pawl_address *address)
{
    struct sockaddr_un un;
    size_t length = strlen(address->path);

    memset(&un, 0, sizeof(un));
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path + (address->is_abstract ? 1 : 0), address->path,
           length < sizeof(un.sun_path) - 1 ? length : sizeof(un.sun_path) - 1);
    memcpy(&endpoint->address, &un, sizeof(un));
    endpoint->size = address->is_abstract
                         ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)
                         : (socklen_t)sizeof(un);
}

/* A number is taken as it is; only a name goes to the name server. */
static struct addrinfo *look_up(const struct pawl_address *address)
{
    struct addrinfo hints;
    struct addrinfo *found = NULL;
    char port[8];

    (void)snprintf(port, sizeof(port), "%u", (unsigned)address->port);
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    if (getaddrinfo(address->host, port, &hints, &found) == 0) {
        return found;
    }
    hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
    return getaddrinfo(address->host, port, &hints, &found) == 0 ? found : NULL;
}

static unsigned add_tcp(struct endpoint *endpoints, unsigned room,
                        const struct pawl_address *address)
{
    struct addrinfo *found = look_up(address);
    unsigned count = 0;

    for (const struct addrinfo *one = found; one != NULL && count < room; one = one->ai_next) {
        if (count < CLIENT_PER_NAME_MAX && one->ai_addrlen <= sizeof(endpoints->address)) {
            memcpy(&endpoints[count].address, one->ai_addr, one->ai_addrlen);
            endpoints[count].size = one->ai_addrlen;
            count++;
        }
    }
    if (found != NULL) {
        freeaddrinfo(found);
    }
    return count;
}

/* Copy what an address had before, when its name cannot be resolved now. */
static unsigned keep_old(const struct pawl_client *client, unsigned text, struct endpoint *out,
                         unsigned room)
{
    unsigned count = 0;

    for (unsigned i = 0; i < client->endpoint_count && count < room; i++) {
        if (client->endpoints[i].text == text) {
            out[count++] = client->endpoints[i];
        }
    }
    return count;
}

int pawl_client_lookup(struct pawl_client *client)
{
    struct endpoint fresh[CLIENT_ENDPOINTS_MAX];
    unsigned count = 0;
    int rc = PAWL_RC_OK;

    if (client->connect != NULL) { /* one place to go to, and nothing to look up */
        client->endpoint_count = 1;
        return PAWL_RC_OK;
    }
    memset(fresh, 0, sizeof(fresh));
    for (unsigned text = 0; text < client->text_count && count < CLIENT_ENDPOINTS_MAX; text++) {
        unsigned added = 1;

        if (client->texts[text].kind == PAWL_ADDRESS_UNIX) {
            pawl_client_add_unix(&fresh[count], &client->texts[text]);
        } else {
            added = add_tcp(fresh + count, CLIENT_ENDPOINTS_MAX - count, &client->texts[text]);
            if (added == 0) {
                added = keep_old(client, text, fresh + count, CLIENT_ENDPOINTS_MAX - count);
                rc = added == 0 ? PAWL_RC_CONNECT : rc;
            }
        }
        for (unsigned i = 0; i < added; i++) {
            fresh[count++].text = text;
        }
    }
    memcpy(client->endpoints, fresh, sizeof(fresh));
    client->endpoint_count = count;
    return rc;
}

void pawl_client_new_round(struct pawl_client *client)
{
    for (unsigned i = 0; i < client->endpoint_count; i++) {
        client->endpoints[i].tried = false;
    }
}

int pawl_client_next_endpoint(struct pawl_client *client, uint64_t now_ns, uint64_t *wait_ns)
{
    bool eager = (client->flags & PAWL_CLIENT_NO_BREAKER) != 0;
    int avoided = -1;

    *wait_ns = 0;
    for (unsigned i = 0; i < client->endpoint_count; i++) {
        const struct endpoint *endpoint = &client->endpoints[i];

        if (endpoint->tried || (!eager && endpoint->retry_ns > now_ns)) {
            continue;
        }
        if (endpoint->busy_ns > now_ns) {
            if (*wait_ns == 0 || endpoint->busy_ns < *wait_ns) {
                *wait_ns = endpoint->busy_ns;
            }
        } else if (endpoint->avoid_ns <= now_ns && endpoint->retry_ns <= now_ns) {
            return (int)i;
        } else if (avoided < 0) {
            avoided = (int)i;
        }
    }
    return avoided;
}

void pawl_client_endpoint_failed(struct pawl_client *client, unsigned endpoint, uint64_t now_ns)
{
    struct endpoint *failed = &client->endpoints[endpoint];

    if (endpoint >= client->endpoint_count) { /* the list was looked up anew and is shorter */
        return;
    }
    failed->tried = true;
    failed->backoff_ms = failed->backoff_ms == 0 ? BACKOFF_FIRST_MS : failed->backoff_ms * 2;
    if (failed->backoff_ms > BACKOFF_MAX_MS) {
        failed->backoff_ms = BACKOFF_MAX_MS;
    }
    failed->retry_ns = now_ns + pawl_client_jitter(client, failed->backoff_ms);
    client->figures.connect_fails++;
}
