#include "edge/cluster_world.h"

#include <stdio.h>
#include <string.h>

enum pawl_status pawl_world_init(struct pawl_cluster_world *world, struct pawl_member_id self,
                                 const struct pawl_subkey *slots_key, const struct pawl_tls *tls,
                                 const struct pawl_world_calls *calls)
{
    struct pawl_territory *empty = pawl_territory_create(slots_key, 0, self, NULL, 0);

    memset(world, 0, sizeof(*world));
    if (empty == NULL) {
        return PAWL_ENOMEM;
    }
    world->self = self;
    world->slots_key = *slots_key;
    world->tls = *tls;
    world->calls = *calls;
    (void)pthread_mutex_init(&world->dial_lock, NULL);
    pawl_territory_slot_init(&world->territory, empty);
    return PAWL_OK;
}

void pawl_world_deinit(struct pawl_cluster_world *world)
{
    pawl_world_set_context(world, NULL);
    pawl_territory_slot_deinit(&world->territory);
    (void)pthread_mutex_destroy(&world->dial_lock);
    pawl_wipe(&world->slots_key, sizeof(world->slots_key));
}

/* ---- dialing ------------------------------------------------------------------------------- */

void pawl_world_set_context(struct pawl_cluster_world *world, struct pawl_tls_context *context)
{
    struct pawl_tls_context *next = context != NULL ? world->tls.ops->ref(context) : NULL;

    (void)pthread_mutex_lock(&world->dial_lock);
    struct pawl_tls_context *old = world->dial_context;

    world->dial_context = next;
    (void)pthread_mutex_unlock(&world->dial_lock);
    if (old != NULL) {
        world->tls.ops->unref(old);
    }
}

void pawl_world_set_peer_name(struct pawl_cluster_world *world, const char *name)
{
    (void)snprintf(world->peer_name, sizeof(world->peer_name), "%s", name != NULL ? name : "");
}

const char *pawl_world_peer_name(const struct pawl_cluster_world *world)
{
    return world->peer_name[0] != '\0' ? world->peer_name : NULL;
}

struct pawl_tls_context *pawl_world_context(struct pawl_cluster_world *world)
{
    (void)pthread_mutex_lock(&world->dial_lock);
    struct pawl_tls_context *context =
        world->dial_context != NULL ? world->tls.ops->ref(world->dial_context) : NULL;

    (void)pthread_mutex_unlock(&world->dial_lock);
    return context;
}

/* ---- what waits ---------------------------------------------------------------------------- */

static void on_poke(struct pawl_post *post, struct pawl_worker *worker)
{
    struct pawl_world_worker *of = (struct pawl_world_worker *)(void *)post;

    /* Before looking: who changes something from here on posts anew. */
    atomic_store_explicit(&of->posted, false, memory_order_seq_cst);
    of->poked(worker, of->ctx);
}

void pawl_world_poke(struct pawl_cluster_world *world)
{
    for (unsigned i = 0; i < world->worker_count; i++) {
        struct pawl_world_worker *of = &world->workers[i];

        if (atomic_load_explicit(&of->waiting, memory_order_seq_cst) > 0 &&
            !atomic_exchange_explicit(&of->posted, true, memory_order_seq_cst)) {
            pawl_worker_post(of->worker, &of->post);
        }
    }
}

void pawl_world_enter(struct pawl_cluster_world *world, unsigned index, struct pawl_worker *worker,
                      void (*poked)(struct pawl_worker *worker, void *ctx), void *ctx)
{
    struct pawl_world_worker *of = &world->workers[index];

    of->post.run = on_poke;
    of->worker = worker;
    of->poked = poked;
    of->ctx = ctx;
    world->worker_count = index < world->worker_count ? world->worker_count : index + 1;
}

void pawl_world_waiting(struct pawl_cluster_world *world, unsigned index, int change)
{
    /* Told before the states are read once more: a change that was missed sees the waiter. */
    (void)atomic_fetch_add_explicit(&world->workers[index].waiting, (unsigned)change,
                                    memory_order_seq_cst);
}

/* ---- quiescence ---------------------------------------------------------------------------- */

static void on_quiet(struct pawl_post *post, struct pawl_worker *worker)
{
    struct pawl_quiesce *of = ((struct pawl_quiesce_post *)(void *)post)->of;

    (void)worker;
    if (atomic_fetch_sub_explicit(&of->left, 1, memory_order_acq_rel) == 1) {
        of->done(of->ctx);
    }
}

void pawl_quiesce(struct pawl_cluster_world *world, struct pawl_quiesce *quiesce,
                  void (*done)(void *ctx), void *ctx)
{
    unsigned count = world->worker_count;

    quiesce->done = done;
    quiesce->ctx = ctx;
    atomic_store_explicit(&quiesce->left, count, memory_order_release);
    if (count == 0) {
        done(ctx);
    }
    for (unsigned i = 0; i < count; i++) {
        quiesce->posts[i].post.run = on_quiet;
        quiesce->posts[i].of = quiesce;
        pawl_worker_post(world->workers[i].worker, &quiesce->posts[i].post);
    }
}
