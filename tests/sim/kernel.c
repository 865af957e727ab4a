#include "sim/kernel.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *sim_take(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);

    if (memory == NULL) {
        abort();
    }
    return memory;
}

void *sim_grow(void *old, size_t size)
{
    void *memory = realloc(old, size > 0 ? size : 1);

    if (memory == NULL) {
        abort();
    }
    return memory;
}

void *sim_copy(const void *data, size_t size)
{
    void *memory = sim_grow(NULL, size);

    if (size > 0) {
        memcpy(memory, data, size);
    }
    return memory;
}

struct blob *blob_make(const void *data, size_t size)
{
    struct blob *blob = sim_grow(NULL, sizeof(*blob) + size);

    blob->references = 1;
    blob->size = (uint32_t)size;
    if (size > 0) {
        memcpy(blob->bytes, data, size);
    }
    return blob;
}

struct blob *blob_keep(struct blob *blob)
{
    if (blob != NULL) {
        blob->references++;
    }
    return blob;
}

void blob_drop(struct blob *blob)
{
    if (blob != NULL && --blob->references == 0) {
        free(blob);
    }
}

/* ---- chance: xorshift128+ (Vigna, 2014), seeded by splitmix64 ---- */

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t kernel_random(struct kernel *kernel)
{
    uint64_t x = kernel->random[0];
    uint64_t y = kernel->random[1];

    kernel->random[0] = y;
    x ^= x << 23;
    kernel->random[1] = x ^ y ^ x >> 18 ^ y >> 5;
    return kernel->random[1] + y;
}

void kernel_init(struct kernel *kernel, uint64_t seed)
{
    uint64_t state = seed;

    memset(kernel, 0, sizeof(*kernel));
    kernel->seed = seed;
    kernel->random[0] = splitmix(&state);
    kernel->random[1] = splitmix(&state);
    kernel->capacity = 1024;
    kernel->events = sim_grow(NULL, kernel->capacity * sizeof(*kernel->events));
    kernel->notes = sim_take(KERNEL_NOTES * sizeof(*kernel->notes));
}

void kernel_deinit(struct kernel *kernel)
{
    free(kernel->events);
    free(kernel->notes);
    memset(kernel, 0, sizeof(*kernel));
}

/* ---- order ---- */

static bool is_before(const struct kernel_event *a, const struct kernel_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void kernel_at(struct kernel *kernel, uint64_t at_us, kernel_call *call, void *context,
               uint64_t argument)
{
    struct kernel_event event = { at_us < kernel->now_us ? kernel->now_us : at_us, kernel->order++,
                                  call, context, argument };
    size_t place;

    if (kernel->count == kernel->capacity) {
        kernel->capacity *= 2;
        kernel->events = sim_grow(kernel->events, kernel->capacity * sizeof(*kernel->events));
    }
    place = kernel->count++;
    while (place > 0 && is_before(&event, &kernel->events[(place - 1) / 2])) {
        kernel->events[place] = kernel->events[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    kernel->events[place] = event;
}

static struct kernel_event first_event(struct kernel *kernel)
{
    struct kernel_event first = kernel->events[0];
    struct kernel_event last = kernel->events[--kernel->count];
    size_t place = 0;

    for (;;) {
        size_t child = 2 * place + 1;

        if (child >= kernel->count) {
            break;
        }
        if (child + 1 < kernel->count &&
            is_before(&kernel->events[child + 1], &kernel->events[child])) {
            child++;
        }
        if (!is_before(&kernel->events[child], &last)) {
            break;
        }
        kernel->events[place] = kernel->events[child];
        place = child;
    }
    kernel->events[place] = last;
    return first;
}

void kernel_run(struct kernel *kernel, uint64_t until_us)
{
    while (!kernel->failed && kernel->count > 0 && kernel->events[0].at_us <= until_us) {
        struct kernel_event event = first_event(kernel);

        kernel->now_us = event.at_us;
        kernel->events_run++;
        event.call(event.context, event.argument);
    }
    if (!kernel->failed && kernel->now_us < until_us) {
        kernel->now_us = until_us;
    }
}

/* ---- what is noted ---- */

void kernel_fail(struct kernel *kernel, const char *format, ...)
{
    va_list arguments;

    if (kernel->failed) {
        return;
    }
    kernel->failed = true;
    va_start(arguments, format);
    (void)vsnprintf(kernel->why, sizeof(kernel->why), format, arguments);
    va_end(arguments);
}

static void mix(struct kernel *kernel, uint64_t value)
{
    uint64_t h = (kernel->hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);

    kernel->hash = h ^ h >> 32;
}

static void print_note(const struct kernel_note *note)
{
    char who[8] = "-";

    if (note->who != SIM_NOBODY) {
        (void)snprintf(who, sizeof(who), "n%u", note->who);
    }
    printf("%10.3f ms %-4s %-28s %llu %llu %llu\n", (double)note->at_us / 1000.0, who, note->what,
           (unsigned long long)note->a, (unsigned long long)note->b, (unsigned long long)note->c);
}

void kernel_note(struct kernel *kernel, const char *what, unsigned who, uint64_t a, uint64_t b,
                 uint64_t c)
{
    struct kernel_note *note = &kernel->notes[kernel->notes_count++ % KERNEL_NOTES];

    note->at_us = kernel->now_us;
    note->what = what;
    note->who = (uint8_t)who;
    note->a = a;
    note->b = b;
    note->c = c;
    mix(kernel, kernel->now_us ^ (uint64_t)who << 56);
    mix(kernel, (uint64_t)(uint8_t)what[0] << 16 ^ (uint64_t)strlen(what));
    mix(kernel, a);
    mix(kernel, b ^ c << 32 ^ c >> 32);
    if (kernel->print_notes) {
        print_note(note);
    }
}

void kernel_print_notes(const struct kernel *kernel, unsigned count)
{
    uint64_t kept = kernel->notes_count < KERNEL_NOTES ? kernel->notes_count : KERNEL_NOTES;
    uint64_t from = kernel->notes_count - (count < kept ? count : kept);

    for (uint64_t i = from; i < kernel->notes_count; i++) {
        print_note(&kernel->notes[i % KERNEL_NOTES]);
    }
}
