/*
 * Memory that runs out when a test says so. Include it in one source of a program (or of a
 * preloaded library): it defines malloc and its kin for the whole process, shared libraries
 * included, counts their calls, and lets the ones fail that the plan names. What does not fail goes
 * to the sanitizer's allocator where there is one, else to the C library's.
 *
 * The plan may be seen and changed by any thread at any time. Frees never fail.
 */
#ifndef PAWL_TESTS_ALLOC_FAULT_H
#define PAWL_TESTS_ALLOC_FAULT_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct alloc_plan {
    _Atomic uint64_t calls;  /* seen so far, those that failed included */
    _Atomic uint64_t first;  /* the number of the first call to fail, from 1; 0: none */
    _Atomic uint64_t length; /* how many fail from there on; 0: only that one */
    _Atomic uint64_t failed; /* how many did */
};

#define ALLOC_FOR_EVER (UINT64_C(1) << 62)

/* The doors are used before a sanitizer is ready: their code must not ask it. */
#if defined(__clang__)
#define ALLOC_PLAIN __attribute__((disable_sanitizer_instrumentation))
#else
#define ALLOC_PLAIN __attribute__((no_sanitize("address", "undefined", "thread")))
#endif
#define ALLOC_DOOR ALLOC_PLAIN __attribute__((visibility("default"), used, noinline))

static struct alloc_plan alloc_own_plan;
static struct alloc_plan *_Atomic alloc_plan_shared; /* another one, in place of our own */
static _Atomic uintptr_t alloc_thread;               /* the only one that is meant; 0: all */
static _Atomic uintptr_t alloc_spared;               /* the one that is not; 0: none */

ALLOC_PLAIN static inline struct alloc_plan *alloc_plan(void)
{
    struct alloc_plan *shared = atomic_load_explicit(&alloc_plan_shared, memory_order_acquire);

    return shared != NULL ? shared : &alloc_own_plan;
}

/* From now on only the calls of the calling thread count, and fail. */
static inline void alloc_here_only(void)
{
    atomic_store(&alloc_thread, (uintptr_t)pthread_self());
}

/* From now on the calls of the calling thread neither count nor fail. */
static inline void alloc_not_here(void)
{
    atomic_store(&alloc_spared, (uintptr_t)pthread_self());
}

/* Fail the @nth call from now on, from 1, and the @length - 1 behind it; 0: nothing any more. */
static inline void alloc_arm(uint64_t nth, uint64_t length)
{
    struct alloc_plan *plan = alloc_plan();

    atomic_store(&plan->first, 0);
    atomic_store(&plan->failed, 0);
    atomic_store(&plan->length, length);
    atomic_store(&plan->first, nth == 0 ? 0 : atomic_load(&plan->calls) + nth);
}

/* End of the plan; how many calls failed under it. */
static inline uint64_t alloc_disarm(void)
{
    struct alloc_plan *plan = alloc_plan();

    atomic_store(&plan->first, 0);
    return atomic_load(&plan->failed);
}

ALLOC_PLAIN static inline bool alloc_fails(void)
{
    struct alloc_plan *plan = alloc_plan();
    uintptr_t only = atomic_load_explicit(&alloc_thread, memory_order_relaxed);

    if ((only != 0 && only != (uintptr_t)pthread_self()) ||
        atomic_load_explicit(&alloc_spared, memory_order_relaxed) == (uintptr_t)pthread_self()) {
        return false;
    }
    uint64_t number = atomic_fetch_add_explicit(&plan->calls, 1, memory_order_relaxed) + 1;
    uint64_t first = atomic_load_explicit(&plan->first, memory_order_relaxed);
    uint64_t length = atomic_load_explicit(&plan->length, memory_order_relaxed);

    if (first == 0 || number < first || number - first >= (length == 0 ? 1 : length)) {
        return false;
    }
    (void)atomic_fetch_add_explicit(&plan->failed, 1, memory_order_relaxed);
    errno = ENOMEM;
    return true;
}

/* ---- the doors --------------------------------------------------------------------------- */

/* What a sanitizer's run time exports; absent in other builds. */
void *__interceptor_malloc(size_t size) __attribute__((weak));
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *memory, size_t size) __attribute__((weak));
void __interceptor_free(void *memory) __attribute__((weak));
int __interceptor_posix_memalign(void **out, size_t alignment, size_t size) __attribute__((weak));
void *__interceptor_aligned_alloc(size_t alignment, size_t size) __attribute__((weak));

/* The C library's own, under the names that stay when the usual ones are taken. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void __libc_free(void *memory);
void *__libc_memalign(size_t alignment, size_t size);

ALLOC_DOOR void *malloc(size_t size)
{
    if (alloc_fails()) {
        return NULL;
    }
    return __interceptor_malloc != NULL ? __interceptor_malloc(size) : __libc_malloc(size);
}

ALLOC_DOOR void *calloc(size_t count, size_t size)
{
    if (alloc_fails()) {
        return NULL;
    }
    return __interceptor_calloc != NULL ? __interceptor_calloc(count, size)
                                        : __libc_calloc(count, size);
}

ALLOC_DOOR void *realloc(void *memory, size_t size)
{
    if (size > 0 && alloc_fails()) {
        return NULL;
    }
    return __interceptor_realloc != NULL ? __interceptor_realloc(memory, size)
                                         : __libc_realloc(memory, size);
}

ALLOC_DOOR void *reallocarray(void *memory, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(memory, bytes);
}

ALLOC_DOOR void free(void *memory)
{
    if (__interceptor_free != NULL) {
        __interceptor_free(memory);
    } else {
        __libc_free(memory);
    }
}

ALLOC_DOOR int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (alloc_fails()) {
        return ENOMEM;
    }
    if (__interceptor_posix_memalign != NULL) {
        return __interceptor_posix_memalign(out, alignment, size);
    }
    *out = __libc_memalign(alignment, size);
    return *out != NULL ? 0 : ENOMEM;
}

ALLOC_DOOR void *aligned_alloc(size_t alignment, size_t size)
{
    if (alloc_fails()) {
        return NULL;
    }
    return __interceptor_aligned_alloc != NULL ? __interceptor_aligned_alloc(alignment, size)
                                               : __libc_memalign(alignment, size);
}

#endif
