/*
 * Times and durations of pawlctl: the first 8 bytes are "now" (the rest is the text).
 *
 * What must hold: a text is read or refused with a hint; a moment is never negative and, in whole
 * seconds up to the year 9999, writes a text that reads to the same; a duration stays below its
 * maximum, and what is written for it reads to no more than it.
 */
#include "ctl/time_text.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DURATION_MAX (UINT64_C(1000000) * 86400000)
#define YEAR_10000   INT64_C(253402300800)

static void check_moment(const char *text, int64_t now_ms)
{
    char out[TIME_TEXT_BYTES];
    const char *hint = NULL;
    int64_t ms = -7;
    int64_t again = -1;

    if (!time_text_parse(text, now_ms, &ms, &hint)) {
        require(hint != NULL && hint[0] != '\0');
        return;
    }
    require(ms >= 0);
    time_text_format((uint64_t)ms / 1000, out);
    require(memchr(out, '\0', sizeof(out)) != NULL);
    if (ms / 1000 < YEAR_10000) {
        require(time_text_parse(out, 0, &again, &hint) && again == ms / 1000 * 1000);
    }
}

static void check_duration(const char *text, uint64_t any_ms)
{
    char out[DURATION_TEXT_BYTES];
    uint64_t ms = 7;
    uint64_t again = UINT64_MAX;

    if (!duration_text_parse(text, &ms)) {
        require(ms == 7);
        ms = any_ms % (DURATION_MAX + 1);
    }
    require(ms <= DURATION_MAX);
    duration_text_format(ms, out);
    require(memchr(out, '\0', sizeof(out)) != NULL);
    require(duration_text_parse(out, &again) && again <= ms);
    require(ms < 1000 ? again == ms : ms - again < (ms >= 86400000 ? 3600000u : 60000u));
    duration_text_format(any_ms, out); /* far above any that is read */
    require(memchr(out, '\0', sizeof(out)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t now_ms = 0;
    size_t head = size < sizeof(now_ms) ? size : sizeof(now_ms);
    char *text = malloc(size - head + 1);

    require(text != NULL);
    memcpy(&now_ms, data, head);
    memcpy(text, data + head, size - head);
    text[size - head] = '\0';
    check_moment(text, (int64_t)(now_ms >> 2)); /* the clock of a machine is never beyond this */
    check_duration(text, now_ms);
    time_text_format(now_ms, (char[TIME_TEXT_BYTES]){ 0 });
    free(text);
    return 0;
}
