#include "core/rate_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct reader {
    const uint8_t *data;
    size_t size;
    size_t at;
    struct pawl_rate_error *error;
    bool calendar; /* periods of the calendar, not windows */
};

struct unit {
    const char *name;
    uint32_t ms;
};

static const struct unit units[] = {
    { "ms", 1 },          { "millisecond", 1 }, { "milliseconds", 1 }, { "s", 1000 },
    { "sec", 1000 },      { "secs", 1000 },     { "second", 1000 },    { "seconds", 1000 },
    { "m", 60000 },       { "min", 60000 },     { "mins", 60000 },     { "minute", 60000 },
    { "minutes", 60000 }, { "h", 3600000 },     { "hr", 3600000 },     { "hrs", 3600000 },
    { "hour", 3600000 },  { "hours", 3600000 }, { "d", 86400000 },     { "day", 86400000 },
    { "days", 86400000 }, { "w", 604800000 },   { "week", 604800000 }, { "weeks", 604800000 },
};

#define MONTH_HINT                                                                     \
    "months differ in length: a calendar quota is for that (algorithm: calendar), or " \
    "write 30 days"
#define YEAR_HINT                                                                     \
    "a sliding window has at most 45 days: a calendar quota is for that (algorithm: " \
    "calendar)"

/* Words that people write and mean something by. */
static const struct {
    const char *word;
    const char *hint;
} hints[] = {
    { "month", MONTH_HINT },
    { "months", MONTH_HINT },
    { "mon", MONTH_HINT },
    { "mo", MONTH_HINT },
    { "quarter", YEAR_HINT },
    { "year", YEAR_HINT },
    { "years", YEAR_HINT },
    { "y", YEAR_HINT },
    { "fortnight", "did you mean 2w?" },
    { "msec", "did you mean ms?" },
    { "us", "the shortest window is 1 ms" },
    { "ns", "the shortest window is 1 ms" },
    { "req", "write only the number: 100/minute" },
    { "requests", "write only the number: 100/minute" },
};

static enum pawl_status refuse(struct reader *reader, size_t position, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum pawl_status refuse(struct reader *reader, size_t position, const char *format, ...)
{
    struct pawl_rate_error *error = reader->error;
    va_list args;

    if (error == NULL) {
        return PAWL_EINVAL;
    }
    error->position = position;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return PAWL_EINVAL;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int peek(const struct reader *reader)
{
    return reader->at < reader->size ? reader->data[reader->at] : -1;
}

static void skip_space(struct reader *reader)
{
    while (peek(reader) == ' ' || peek(reader) == '\t') {
        reader->at++;
    }
}

static enum pawl_status read_number(struct reader *reader, uint64_t max, const char *what,
                                    uint64_t *number)
{
    size_t start = reader->at;
    uint64_t value = 0;

    while (reader->at < reader->size && is_digit(reader->data[reader->at])) {
        unsigned digit = (unsigned)(reader->data[reader->at] - '0');

        if (value > (max - digit) / 10) {
            return refuse(reader, start, "%s is above %llu", what, (unsigned long long)max);
        }
        value = value * 10 + digit;
        reader->at++;
    }
    *number = value;
    return PAWL_OK;
}

#define WORD_MAX 16

/* Read letters into @word in lower case, cut at WORD_MAX; their number. */
static size_t read_word(struct reader *reader, char word[WORD_MAX + 1])
{
    size_t start = reader->at;
    size_t length = 0;

    while (reader->at < reader->size && is_letter(reader->data[reader->at])) {
        if (length < WORD_MAX) {
            word[length] = (char)(reader->data[reader->at] | 0x20);
            length++;
        }
        reader->at++;
    }
    word[length] = '\0';
    return reader->at - start;
}

/* The unit that shares the longest beginning with @word, or NULL. */
static const char *nearest_unit(const char *word)
{
    const char *nearest = NULL;
    size_t best = 1;

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t same = 0;

        while (word[same] != '\0' && word[same] == units[i].name[same]) {
            same++;
        }
        if (same > best) {
            best = same;
            nearest = units[i].name;
        }
    }
    return nearest;
}

static enum pawl_status refuse_word(struct reader *reader, size_t position, const char *word)
{
    for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
        if (strcmp(hints[i].word, word) == 0) {
            return refuse(reader, position, "\"%s\" is not a period: %s", word, hints[i].hint);
        }
    }
    const char *nearest = nearest_unit(word);

    if (nearest != NULL) {
        return refuse(reader, position, "\"%s\" is not a period: did you mean \"%s\"?", word,
                      nearest);
    }
    return refuse(reader, position,
                  "\"%s\" is not a period: write second, minute, hour, day or week", word);
}

static enum pawl_status read_unit(struct reader *reader, uint32_t *unit_ms)
{
    char word[WORD_MAX + 1];
    size_t position = reader->at;
    size_t length = read_word(reader, word);

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (length <= WORD_MAX && strcmp(units[i].name, word) == 0) {
            *unit_ms = units[i].ms;
            return PAWL_OK;
        }
    }
    return refuse_word(reader, position, word);
}

static enum pawl_status read_period(struct reader *reader, uint32_t *window_ms)
{
    size_t start = reader->at;
    uint64_t number = 1;
    uint32_t unit_ms = 1000;
    bool has_number = peek(reader) >= 0 && is_digit((uint8_t)peek(reader));
    enum pawl_status status = PAWL_OK;

    if (has_number) {
        status = read_number(reader, PAWL_WINDOW_MS_MAX, "the period", &number);
        skip_space(reader);
    }
    if (status == PAWL_OK && peek(reader) >= 0 && is_letter((uint8_t)peek(reader))) {
        status = read_unit(reader, &unit_ms);
    } else if (status == PAWL_OK && !has_number) {
        return refuse(reader, start, "a period is missing: 100/minute, 100/5m, 100/60");
    }
    if (status != PAWL_OK) {
        return status;
    }
    if (number == 0) {
        return refuse(reader, start, "a period of 0 has no end");
    }
    if (number * unit_ms > PAWL_WINDOW_MS_MAX) { /* both below 2^32 */
        return refuse(reader, start,
                      "a sliding window has at most 45 days: a calendar quota is "
                      "for more (algorithm: calendar)");
    }
    *window_ms = (uint32_t)(number * unit_ms);
    return PAWL_OK;
}

/* "/" or "per" between count and period. */
static enum pawl_status read_separator(struct reader *reader)
{
    char word[WORD_MAX + 1];
    size_t position = reader->at;

    if (peek(reader) == '/') {
        reader->at++;
        return PAWL_OK;
    }
    if (read_word(reader, word) > 0) {
        return strcmp(word, "per") == 0
                   ? PAWL_OK
                   : refuse(reader, position, "\"%s\" here: write 100/minute or 100 per minute",
                            word);
    }
    return refuse(reader, position, "a \"/\" is missing after the count: 100/minute");
}

static const struct {
    const char *word;
    const char *many;
    enum pawl_period period;
} periods[] = {
    { "hour", "hours", PAWL_PERIOD_HOUR }, { "day", "days", PAWL_PERIOD_DAY },
    { "week", "weeks", PAWL_PERIOD_WEEK }, { "month", "months", PAWL_PERIOD_MONTH },
    { "year", "years", PAWL_PERIOD_YEAR },
};

/* The period of a calendar quota: one word. */
static enum pawl_status read_calendar(struct reader *reader, struct pawl_rate *rate)
{
    char word[WORD_MAX + 1];
    size_t position = reader->at;

    if (peek(reader) >= 0 && is_digit((uint8_t)peek(reader))) {
        return refuse(reader, position,
                      "a calendar quota is for one hour, day, week, month or year: no number");
    }
    if (read_word(reader, word) == 0) {
        return refuse(reader, position, "a period is missing: 1000/month");
    }
    for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
        if (strcmp(word, periods[i].word) == 0 || strcmp(word, periods[i].many) == 0) {
            rate->window_ms = 0;
            rate->period = periods[i].period;
            return PAWL_OK;
        }
    }
    return refuse(reader, position,
                  "\"%s\" is not a period of the calendar: write hour, day, week, month or year",
                  word);
}

static enum pawl_status read_rate(struct reader *reader, struct pawl_rate *rate)
{
    enum pawl_status status;

    skip_space(reader);
    if (peek(reader) < 0 || !is_digit((uint8_t)peek(reader))) {
        return refuse(reader, reader->at, "a rate begins with its count: 100/minute");
    }
    status = read_number(reader, PAWL_COUNT_MAX, "the count", &rate->count);
    if (status != PAWL_OK) {
        return status;
    }
    skip_space(reader);
    status = read_separator(reader);
    if (status != PAWL_OK) {
        return status;
    }
    skip_space(reader);
    if (reader->calendar) {
        return read_calendar(reader, rate);
    }
    rate->period = PAWL_PERIOD_NONE;
    return read_period(reader, &rate->window_ms);
}

static enum pawl_status check_double(struct reader *reader, size_t position,
                                     const struct pawl_rate *rates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (rates[i].window_ms == rates[count].window_ms &&
            rates[i].period == rates[count].period) {
            return refuse(reader, position, "rates %zu and %zu have the same %s", i + 1, count + 1,
                          reader->calendar ? "period" : "window");
        }
    }
    return PAWL_OK;
}

static enum pawl_status read_list(struct reader *reader, struct pawl_rate *rates, size_t *count)
{
    size_t read = 0;

    for (;;) {
        size_t position = reader->at;

        if (read == PAWL_RATES_MAX) {
            return refuse(reader, position, "more than %d rates", PAWL_RATES_MAX);
        }
        enum pawl_status status = read_rate(reader, &rates[read]);

        if (status == PAWL_OK) {
            status = check_double(reader, position, rates, read);
        }
        if (status != PAWL_OK) {
            return status;
        }
        read++;
        skip_space(reader);
        if (peek(reader) < 0) {
            *count = read;
            return PAWL_OK;
        }
        if (peek(reader) != ',') {
            return refuse(reader, reader->at, "more after a rate: a \",\" divides rates");
        }
        reader->at++;
    }
}

static enum pawl_status parse(struct pawl_bytes text, bool calendar, struct pawl_rate *rates,
                              size_t *count, struct pawl_rate_error *error)
{
    struct reader reader = { text.data, text.size, 0, error, calendar };

    *count = 0;
    if (text.size > PAWL_RATE_TEXT_MAX) {
        return refuse(&reader, PAWL_RATE_TEXT_MAX, "longer than %d bytes", PAWL_RATE_TEXT_MAX);
    }
    return read_list(&reader, rates, count);
}

enum pawl_status pawl_rate_text_parse(struct pawl_bytes text, struct pawl_rate *rates,
                                      size_t *count, struct pawl_rate_error *error)
{
    return parse(text, false, rates, count, error);
}

enum pawl_status pawl_rate_text_parse_calendar(struct pawl_bytes text, struct pawl_rate *rates,
                                               size_t *count, struct pawl_rate_error *error)
{
    return parse(text, true, rates, count, error);
}

const char *pawl_period_name(enum pawl_period kind)
{
    for (size_t i = 0; i < sizeof(periods) / sizeof(periods[0]); i++) {
        if (periods[i].period == kind) {
            return periods[i].word;
        }
    }
    return "";
}

/* The biggest unit that divides the window. */
static size_t format_rate(const struct pawl_rate *rate, const char *before, char *out,
                          size_t capacity)
{
    static const struct {
        uint32_t ms;
        const char *one;
        const char *many;
    } names[] = {
        { 604800000, "week", "w" }, { 86400000, "day", "d" }, { 3600000, "hour", "h" },
        { 60000, "minute", "m" },   { 1000, "second", "s" },  { 1, "ms", "ms" },
    };
    size_t i = 0;

    if (rate->period != PAWL_PERIOD_NONE) {
        int size = snprintf(out, capacity, "%s%llu/%s", before, (unsigned long long)rate->count,
                            pawl_period_name((enum pawl_period)rate->period));

        return size > 0 ? (size_t)size : 0;
    }
    while (rate->window_ms % names[i].ms != 0) {
        i++;
    }
    uint32_t number = rate->window_ms / names[i].ms;
    int length = number == 1 ? snprintf(out, capacity, "%s%llu/%s", before,
                                        (unsigned long long)rate->count, names[i].one)
                             : snprintf(out, capacity, "%s%llu/%u%s", before,
                                        (unsigned long long)rate->count, number, names[i].many);

    return length > 0 ? (size_t)length : 0;
}

size_t pawl_rate_text_format(const struct pawl_rate *rates, size_t count, char *out,
                             size_t capacity)
{
    size_t length = 0;

    if (capacity > 0) {
        out[0] = '\0';
    }
    for (size_t i = 0; i < count; i++) {
        size_t left = length < capacity ? capacity - length : 0;

        length += format_rate(&rates[i], i == 0 ? "" : ", ", left > 0 ? out + length : NULL, left);
    }
    return length;
}
