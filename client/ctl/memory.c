#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

void *memory_zeroed(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);

    if (memory == NULL) {
        fputs("pawlctl: out of memory\n", stderr);
        exit(3);
    }
    return memory;
}

void memory_release(void *memory)
{
    free(memory);
}
