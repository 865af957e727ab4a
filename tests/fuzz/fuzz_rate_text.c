/*
 * Rates as text.
 *
 * What must hold: rates or an error with a position inside the text; rates within their bounds, no
 * window twice; what is written for them reads to the same rates and is written the same again;
 * no byte behind the text is read (the copy has exactly its size).
 */
#include "core/rate_text.h"
#include "fuzz/require.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rates(const struct pawl_rate *rates, size_t count)
{
    char text[PAWL_RATE_TEXT_MAX + 1];
    char again_text[PAWL_RATE_TEXT_MAX + 1];
    struct pawl_rate again[PAWL_RATES_MAX];
    size_t again_count;
    size_t size;

    require(count >= 1 && count <= PAWL_RATES_MAX);
    for (size_t i = 0; i < count; i++) {
        require(rates[i].count <= PAWL_COUNT_MAX);
        require(rates[i].window_ms >= 1 && rates[i].window_ms <= PAWL_WINDOW_MS_MAX);
        for (size_t j = 0; j < i; j++) {
            require(rates[i].window_ms != rates[j].window_ms);
        }
    }
    size = pawl_rate_text_format(rates, count, text, sizeof(text));
    require(size < sizeof(text) && strlen(text) == size);
    require(pawl_rate_text_parse(pawl_bytes_of(text, size), again, &again_count, NULL) == PAWL_OK);
    require(again_count == count);
    for (size_t i = 0; i < count; i++) {
        require(again[i].count == rates[i].count && again[i].window_ms == rates[i].window_ms);
    }
    require(pawl_rate_text_format(again, count, again_text, sizeof(again_text)) == size);
    require(strcmp(text, again_text) == 0);
}

static void check_calendar(struct pawl_bytes bytes)
{
    char text[PAWL_RATE_TEXT_MAX + 1];
    struct pawl_rate rates[PAWL_RATES_MAX];
    struct pawl_rate again[PAWL_RATES_MAX];
    struct pawl_rate_error error = { .position = SIZE_MAX };
    size_t count = 77;
    size_t again_count;

    if (pawl_rate_text_parse_calendar(bytes, rates, &count, &error) != PAWL_OK) {
        require(count == 0 && error.position <= bytes.size && error.text[0] != '\0');
        return;
    }
    require(count >= 1 && count <= PAWL_PERIOD_YEAR);
    size_t size = pawl_rate_text_format(rates, count, text, sizeof(text));

    require(pawl_rate_text_parse_calendar(pawl_bytes_of(text, size), again, &again_count, NULL) ==
            PAWL_OK);
    require(again_count == count);
    for (size_t i = 0; i < count; i++) {
        require(rates[i].count <= PAWL_COUNT_MAX && rates[i].window_ms == 0);
        require(again[i].count == rates[i].count && again[i].period == rates[i].period);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pawl_rate rates[PAWL_RATES_MAX];
    struct pawl_rate_error error = { .position = SIZE_MAX };
    uint8_t *copy = malloc(size > 0 ? size : 1);
    size_t count = 77;
    enum pawl_status status;

    require(copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    status = pawl_rate_text_parse(pawl_bytes_of(copy, size), rates, &count, &error);
    require(status == PAWL_OK || status == PAWL_EINVAL);
    if (status == PAWL_OK) {
        check_rates(rates, count);
    } else {
        require(count == 0 && error.position <= size);
        require(memchr(error.text, '\0', sizeof(error.text)) != NULL && error.text[0] != '\0');
    }
    check_calendar(pawl_bytes_of(copy, size));
    free(copy);
    return 0;
}
