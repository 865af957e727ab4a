#include "sim/facts.h"

#include "core/cluster/acks.h"

#include <stdio.h>
#include <string.h>

void facts_init(struct facts *facts, struct kernel *kernel)
{
    memset(facts, 0, sizeof(*facts));
    facts->kernel = kernel;
}

struct pawl_bytes fact_token_name(uint32_t token, char text[16])
{
    int size = snprintf(text, 16, "jti-%08x", token);

    return pawl_bytes_of(text, (size_t)size);
}

uint32_t fact_token_parse(struct pawl_bytes value)
{
    uint32_t token = 0;

    if (value.size != 12 || memcmp(value.data, "jti-", 4) != 0) {
        return UINT32_MAX;
    }
    for (unsigned i = 4; i < 12; i++) {
        uint8_t c = value.data[i];

        token = token << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return token;
}

void facts_read_valid(struct facts *facts, uint32_t index, unsigned node, uint64_t bound_us)
{
    const struct fact_token *token = &facts->tokens[index];
    uint64_t now = facts->kernel->now_us;

    facts->fresh_reads++;
    if (token->said_us == 0 || token->level == 0 || token->canceled_us != 0 || token->excused) {
        return;
    }
    if (token->level == PAWL_ACK_LEVEL_EVERYWHERE) {
        kernel_fail(facts->kernel,
                    "R2: token %u is fresh and valid at node %u, %llu ms after everywhere knew",
                    index, node, (unsigned long long)(now - token->acked_us) / 1000);
    } else if (token->level == PAWL_ACK_LEVEL_QUORUM && bound_us != UINT64_MAX &&
               now > token->acked_us + bound_us) {
        kernel_fail(facts->kernel,
                    "R2: token %u is fresh and valid at node %u, %llu ms after a quorum had it",
                    index, node, (unsigned long long)(now - token->acked_us) / 1000);
    }
}
