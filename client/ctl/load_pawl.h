/*
 * What the load generator sends to a pawld: checks, token checks or both in one, with random keys.
 *
 * One frame is built at the start; for each request only its id and its key are written into it.
 * An id is the place in flight, so that answers may come in any order.
 */
#ifndef PAWL_CTL_LOAD_PAWL_H
#define PAWL_CTL_LOAD_PAWL_H

#include "load.h"

#define LOAD_PAWL_RATES_MAX 8 /* of one limit */
#define LOAD_PAWL_MARKS_MAX 4

enum load_pawl_mode {
    LOAD_PAWL_CHECK = 0, /* one limit, one key */
    LOAD_PAWL_TOKEN = 1, /* the claims of a token that nobody revoked */
    LOAD_PAWL_ADMIT = 2, /* both in one request */
};

struct load_pawl_options {
    enum load_pawl_mode mode;
    const char *ns;    /* NULL = the daemon's default */
    const char *limit; /* a named limit; NULL = the rates */
    uint64_t rate_counts[LOAD_PAWL_RATES_MAX];
    uint32_t rate_windows_ms[LOAD_PAWL_RATES_MAX];
    uint32_t rate_count;
    uint64_t keys;           /* 1 to 2^32 different ones */
    const uint32_t *numbers; /* of the keys, so many; lent until the end. NULL = 0 to keys - 1 */
    bool sequential;         /* one key after the other instead of random ones */
    uint64_t seed;
    uint64_t now_s; /* civil time: tokens were issued a minute ago and live for an hour */
    bool verify;    /* decode each answer and count its verdict; else only its status is read */
};

/** A frame with places to write into. */
struct load_template {
    uint8_t bytes[LOAD_FRAME_MAX];
    uint32_t size;
    uint32_t marks[LOAD_PAWL_MARKS_MAX]; /* where the 8 characters of a key stand */
    uint32_t mark_count;
};

struct load_pawl {
    /* ---- private ---- */
    struct load_pawl_options options;
    struct load_template frame;
    uint64_t random;
    uint64_t next; /* of sequential keys */
    char refusal[240];
};

/** The 8 characters that stand for a key while a frame is built. */
#define LOAD_MARK "@@key@@@"

/** Ids of requests are this plus the place: two bytes on the wire for every one of them. */
#define LOAD_ID_BASE UINT64_C(128)

/**
 * Take over the frame in template->bytes (@size bytes, its id LOAD_ID_BASE): find its marks.
 * Returns false when the id does not stand where it is expected or there are too many marks.
 */
bool load_template_scan(struct load_template *frame, size_t size);

/** Copy the frame to @out with the id of @place and the text of key number @key. */
size_t load_template_write(const struct load_template *frame, uint32_t place, uint32_t key,
                           uint8_t *out);

/**
 * The first frame of @data: its message, the place it answers and whether its status is good.
 * Returns the bytes it takes, LOAD_MORE or LOAD_BROKEN. An answer with id 0 is a LOAD_NOTICE.
 */
size_t load_frame_read(const uint8_t *data, size_t size, struct load_answer *answer);

/** Build the frame that @options asks for. Returns false when it does not fit. */
bool load_pawl_init(struct load_pawl *pawl, const struct load_pawl_options *options);

/** The protocol to hand to load_run(); @pawl stays in use by it. */
struct load_protocol load_pawl_protocol(struct load_pawl *pawl);

/** What the first refused request was told; "" when none was. */
const char *load_pawl_refusal(const struct load_pawl *pawl);

#endif
