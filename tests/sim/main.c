/* Several nodes and their engine in one thread. README.md says what is asserted, and how to run. */
#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NOTES_SHOWN   60
#define CONTROL_SEEDS 60 /* within so many each control has to be objected to */

static const struct {
    const char *name, *invariant;
} controls[] = {
#define X(name, text, invariant) { text, invariant },
    WORLD_CONTROLS(X)
#undef X
};

struct options {
    uint64_t seeds, first;
    double minutes;
    bool one_seed, trace, controls, hash, names;
    enum world_control control;
};

static struct world world; /* some megabytes */

static double wall_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

const char *world_control_name(enum world_control control)
{
    return controls[control].name;
}

/* One run; prints what went wrong. Returns whether it was good. */
static bool run_one(uint64_t seed, const struct options *options, uint64_t *hash,
                    uint64_t *simulated_us)
{
    bool good = world_run(&world, seed, options->control, options->trace);

    *hash = world.run_hash;
    *simulated_us += world.simulated_us;
    if (!good) {
        if (!options->trace) {
            kernel_print_notes(&world.kernel, NOTES_SHOWN);
        }
        printf("FAILED seed %llu: %s\n", (unsigned long long)seed, world.kernel.why);
    } else if (options->one_seed) {
        printf("seed %llu: %u nodes, %u servers, %.0f s, %llu steps, %llu faults, %llu events, "
               "%llu commands\n"
               "  checks: %llu denials looked at, %llu admissions lost within the bound; heap at "
               "most %zu\n"
               "  revocations: %u, acknowledged %llu %llu %llu %llu, excused %llu, "
               "reads %llu (%llu hits, %llu fresh and valid)\n"
               "  rotations: %llu won, %llu reuses, %llu raced, %llu unknown, %llu unavailable, "
               "%llu excused\n",
               (unsigned long long)seed, world.profile.nodes, world.profile.servers,
               (double)world.simulated_us / 1e6, (unsigned long long)world.steps,
               (unsigned long long)world.faults_done, (unsigned long long)world.kernel.events_run,
               (unsigned long long)world.engine.commands,
               (unsigned long long)world.counts.checked_denials,
               (unsigned long long)world.counts.certain_lost, world.heap_max, world.facts.count,
               (unsigned long long)world.facts.acknowledged[1],
               (unsigned long long)world.facts.acknowledged[2],
               (unsigned long long)world.facts.acknowledged[3],
               (unsigned long long)world.facts.acknowledged[4],
               (unsigned long long)world.facts.excused, (unsigned long long)world.facts.reads,
               (unsigned long long)world.facts.hits, (unsigned long long)world.facts.fresh_reads,
               (unsigned long long)world.logins.rotated, (unsigned long long)world.logins.reuses,
               (unsigned long long)world.logins.raced, (unsigned long long)world.logins.unknown,
               (unsigned long long)world.logins.unavailable,
               (unsigned long long)world.logins.excused);
    }
    world_free(&world);
    return good;
}

static bool run_seeds(const struct options *options)
{
    double begun = wall_s();
    uint64_t simulated_us = 0;
    uint64_t all = 0;
    uint64_t runs = 0;
    uint64_t failed = 0;
    size_t heap_max = 0;

    for (uint64_t seed = options->first;; seed++) {
        uint64_t hash;
        uint64_t again;
        double spent = wall_s() - begun;

        if (options->minutes > 0 ? spent >= 60 * options->minutes : runs >= options->seeds) {
            break;
        }
        failed += !run_one(seed, options, &hash, &simulated_us);
        heap_max = world.heap_max > heap_max ? world.heap_max : heap_max;
        if (options->hash) {
            (void)world_run(&world, seed, options->control, false);
            again = world.run_hash;
            world_free(&world);
            if (again != hash) {
                printf("FAILED seed %llu: two runs, two traces\n", (unsigned long long)seed);
                failed++;
            }
        }
        all = (all ^ hash) * UINT64_C(0x9e3779b97f4a7c15);
        runs++;
        (void)fflush(stdout);
    }
    printf("%llu seeds from %llu, %llu failed, hash %016llx, %.1f simulated hours, %.0f a minute "
           "(%.0f a minute of the processor), heap at most %zu\n",
           (unsigned long long)runs, (unsigned long long)options->first, (unsigned long long)failed,
           (unsigned long long)all, (double)simulated_us / 3.6e9,
           (double)simulated_us / 3.6e9 / ((wall_s() - begun) / 60),
           (double)simulated_us / 3.6e9 / ((double)clock() / CLOCKS_PER_SEC / 60), heap_max);
    return failed == 0;
}

/* Each protection taken away: a checker has to object, or it is no checker. */
static bool run_controls(const struct options *options)
{
    unsigned silent = 0;

    for (unsigned control = CONTROL_NONE + 1; control < CONTROL_COUNT; control++) {
        bool objected = false;

        if (options->control != CONTROL_NONE && options->control != control) {
            continue;
        }
        for (uint64_t i = 0; i < CONTROL_SEEDS && !objected; i++) {
            /* The checker of that very promise: others may object, too, and earlier. */
            objected = !world_run(&world, options->first + i, (enum world_control)control, false) &&
                       strstr(world.kernel.why, controls[control].invariant) != NULL;
            if (objected) {
                printf("control %s (%s): objected with seed %llu: %s\n", controls[control].name,
                       controls[control].invariant, (unsigned long long)options->first + i,
                       world.kernel.why);
            }
            world_free(&world);
        }
        if (!objected) {
            printf("FAILED control %s (%s): nobody objects in %d seeds\n", controls[control].name,
                   controls[control].invariant, CONTROL_SEEDS);
            silent++;
        }
        (void)fflush(stdout);
    }
    return silent == 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: sim_cluster [--seeds N | --minutes M | --seed S] [--first S] [--trace]"
                    " [--hash] [--control NAME] [--controls] [--names]\n");
    return 2;
}

static bool parse(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--trace") == 0) {
            options->trace = true;
        } else if (strcmp(argv[i], "--hash") == 0) {
            options->hash = true;
        } else if (strcmp(argv[i], "--names") == 0) {
            options->names = true;
        } else if (strcmp(argv[i], "--controls") == 0) {
            options->controls = true;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            options->seeds = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--first") == 0) {
            options->first = strtoull(value, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            options->first = strtoull(value, NULL, 10);
            options->seeds = 1;
            options->one_seed = true;
            i++;
        } else if (strcmp(argv[i], "--minutes") == 0) {
            options->minutes = strtod(value, NULL);
            i++;
        } else if (strcmp(argv[i], "--control") == 0) {
            for (unsigned c = 1; c < CONTROL_COUNT; c++) {
                if (strcmp(controls[c].name, value) == 0) {
                    options->control = (enum world_control)c;
                }
            }
            if (options->control == CONTROL_NONE) {
                return false;
            }
            i++;
        } else {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = { .seeds = 100, .first = 1 };
    bool good;

    if (!parse(argc, argv, &options)) {
        return usage();
    }
    if (options.names) {
        for (unsigned control = CONTROL_NONE + 1; control < CONTROL_COUNT; control++) {
            puts(controls[control].name);
        }
        return 0;
    }
    good = options.controls ? run_controls(&options) : run_seeds(&options);
    return good ? 0 : 1;
}
