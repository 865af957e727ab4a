/*
 * What was revoked, when, and how safely; asked at every read of a token and at every fault.
 *
 * R1, R4, R5: what was acknowledged durably is never gone from all that hold it, and known by all
 * in the end. R2: no fresh "valid" later than the bound after the acknowledgement; after
 * `everywhere` none at all. R7: a cutoff that was said here is never lowered.
 */
#ifndef PAWL_SIM_FACTS_H
#define PAWL_SIM_FACTS_H

#include "core/fact.h"
#include "sim/kernel.h"

#define FACT_TOKENS   4096 /* of a run */
#define FACT_SUBJECTS 8

struct fact_token {
    struct pawl_fact_id id;
    uint64_t said_us; /* when its caller began; 0: not revoked */
    uint64_t acked_us;
    uint64_t until_s;
    uint64_t canceled_us;
    uint32_t losses; /* faults that may lose something, up to the acknowledgement */
    uint8_t level;   /* enum pawl_ack_level, 0: no answer yet */
    uint8_t node;
    bool excused; /* two failures have destroyed all that held it */
};

struct facts {
    struct kernel *kernel;
    struct fact_token tokens[FACT_TOKENS];
    uint32_t count;                     /* tokens that were revoked, from 0 */
    uint64_t cutoffs_ms[FACT_SUBJECTS]; /* the latest that was said */
    uint64_t acknowledged[5];
    uint64_t excused;
    uint64_t reads, fresh_reads, hits;
};

void facts_init(struct facts *facts, struct kernel *kernel);

/** A read at @node said "valid" and "fresh". @bound_us after a quorum; UINT64_MAX: not bounded. */
void facts_read_valid(struct facts *facts, uint32_t token, unsigned node, uint64_t bound_us);

/** The bytes that stand for a token in facts. */
struct pawl_bytes fact_token_name(uint32_t token, char text[16]);
/** The number of the token that @value names; UINT32_MAX: none of ours. */
uint32_t fact_token_parse(struct pawl_bytes value);

#endif
