/* Several nodes and their engine in one thread. README.md says what is asserted, and how to run. */
#include "sim/model_engine.h"

#include <stdio.h>

int main(void)
{
    struct kernel kernel;
    static struct model_engine engine;

    kernel_init(&kernel, 1);
    model_engine_init(&engine, &kernel, 3);
    kernel_run(&kernel, 1000000);
    model_engine_deinit(&engine);
    kernel_deinit(&kernel);
    printf("hash %016llx\n", (unsigned long long)kernel.hash);
    return 0;
}
