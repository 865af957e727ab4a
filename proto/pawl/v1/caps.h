/*
 * The caps of the wire, all of them, enforced before anything is allocated.
 *
 * They are part of the protocol: raising one is a compatible change for a server, lowering one is
 * not (COMPAT.md).
 */
#ifndef PAWL_V1_CAPS_H
#define PAWL_V1_CAPS_H

#define PAWL_FRAME_HEADER_BYTES 4       /* big-endian length of what follows */
#define PAWL_REQUEST_BYTES_MAX  65536   /* a request's message */
#define PAWL_REPLY_BYTES_MAX    1048576 /* a reply's message */

#define PAWL_ITEMS_MAX      64   /* limits in one check */
#define PAWL_KEY_PARTS_MAX  8    /* parts of one key */
#define PAWL_KEY_BYTES_MAX  1024 /* one part */
#define PAWL_RATES_MAX      8    /* rates of one limit */
#define PAWL_RESULTS_MAX    64   /* limit and rate pairs in one check */
#define PAWL_LIMIT_NAME_MAX 64   /* bytes of a limit's name, tier included */
#define PAWL_NAMESPACE_MAX  64   /* bytes */
#define PAWL_CLAIM_MAX      255  /* issuer, jti, sub, client, kid, sid */
#define PAWL_TOKEN_MAX      8192 /* a raw token */
#define PAWL_ACTOR_MAX      128
#define PAWL_FACT_IDS_MAX   64 /* in one unrevoke */
#define PAWL_NESTING_MAX    4  /* envelope, body, item, rate */

/* What the lines above do not name. */
#define PAWL_FIELD_BYTES_MAX 512   /* any other bytes field */
#define PAWL_FACT_BYTES_MAX  8192  /* one serialized fact in a watch reply */
#define PAWL_CURSORS_MAX     1024  /* origins followed by one watch */
#define PAWL_LIST_MAX        16384 /* entries of any other repeated field */

/* Between members. */
#define PAWL_VIEW_WIRE_MAX 49152   /* a sealed view */
#define PAWL_PUSH_WIRE_MAX 61440   /* records of a Push: within a request */
#define PAWL_PULL_WIRE_MAX 1044480 /* records of a PullReply: within a reply */

/* Features of the hello, bits (COMPAT.md). */
#define PAWL_FEATURE_ROUTING (UINT64_C(1) << 0) /* the client asks the owner of a key by itself */

#define PAWL_PRECISION_MIN     2
#define PAWL_PRECISION_MAX     4096
#define PAWL_PRECISION_DEFAULT 64
#define PAWL_COUNT_MAX         ((UINT64_C(1) << 40) - 1) /* of a rate, and of one cost */
#define PAWL_WINDOW_MS_MAX     UINT32_C(3888000000)      /* 45 days */

#endif
