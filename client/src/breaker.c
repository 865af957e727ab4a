/*
 * The breaker: after several failures in a row nobody is asked for a while, then one request
 * probes, and the while doubles with each probe that fails.
 */
#include "private.h"

uint64_t pawl_client_jitter(struct pawl_client *client, uint32_t ms)
{
    uint64_t span = (uint64_t)ms * NS_PER_MS / 2;

    client->random ^= client->random << 13; /* xorshift: spreads herds, guards nothing */
    client->random ^= client->random >> 7;
    client->random ^= client->random << 17;
    return span + span / 2 + client->random % (span + 1);
}

bool pawl_client_breaker_admit(struct pawl_client *client, struct slot *slot, uint64_t now_ns)
{
    struct breaker *breaker = &client->breaker;

    if (slot->admitted || breaker->state == BREAKER_CLOSED) {
        slot->admitted = true;
        return true;
    }
    if (breaker->state == BREAKER_PROBING || now_ns < breaker->open_until_ns) {
        return false;
    }
    breaker->state = BREAKER_PROBING;
    slot->probe = true;
    slot->admitted = true;
    return true;
}

void pawl_client_breaker_success(struct pawl_client *client)
{
    client->breaker.state = BREAKER_CLOSED;
    client->breaker.failures = 0;
    client->breaker.wait_ms = 0;
}

bool pawl_client_breaker_failure(struct pawl_client *client, uint64_t now_ns)
{
    struct breaker *breaker = &client->breaker;

    if (breaker->failures < UINT32_MAX) {
        breaker->failures++;
    }
    if (breaker->state == BREAKER_OPEN ||
        (breaker->state == BREAKER_CLOSED && breaker->failures < client->breaker_failures)) {
        return false;
    }
    if ((client->flags & PAWL_CLIENT_NO_BREAKER) != 0) { /* never opens, but is left all the same */
        breaker->failures = 0;
        return true;
    }
    breaker->wait_ms = breaker->wait_ms == 0 ? client->breaker_open_ms : breaker->wait_ms * 2;
    if (breaker->wait_ms > client->breaker_open_max_ms) {
        breaker->wait_ms = client->breaker_open_max_ms;
    }
    breaker->open_until_ns = now_ns + pawl_client_jitter(client, breaker->wait_ms);
    breaker->state = BREAKER_OPEN;
    client->figures.breaker_opens++;
    return true;
}

void pawl_client_breaker_forget(struct pawl_client *client, const struct slot *slot)
{
    if (slot->probe && client->breaker.state == BREAKER_PROBING) {
        client->breaker.state = BREAKER_OPEN; /* a canceled probe says nothing: let another try */
    }
}
