/*
 * Memory of the command line programs: they ask for little, and cannot go on without it.
 */
#ifndef PAWL_CTL_MEMORY_H
#define PAWL_CTL_MEMORY_H

#include <stddef.h>

/**
 * @count zeroed elements of @size bytes. Never NULL: without memory it says so on standard error
 * and ends the program with exit code 3. Freed with memory_release().
 */
void *memory_zeroed(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/** Give back what memory_zeroed() gave; NULL is allowed. */
void memory_release(void *memory);

#endif
