/* SPDX-License-Identifier: Apache-2.0
 * engine.c: life of an engine, its resources, views of its columns. */
#include "internal.h"

#include <string.h> /* memset */

ks_status ks_engine_new_with(const ks_allocator *allocator, int32_t n_resources, ks_engine **out) {
    if (out == NULL)
        return KS_EINVAL;
    *out = NULL;
    if (n_resources < KS_FIRST_EXTENDED || n_resources > KS_MAX_RESOURCES || (allocator && !allocator->resize))
        return KS_EINVAL;
    ks_memory mem;
    ks_memory_default(&mem);
    if (allocator != NULL)
        mem.allocator = *allocator;
    ks_engine *e = mem.allocator.resize(mem.allocator.context, NULL, 0, sizeof *e);
    if (e == NULL)
        return KS_ENOMEM;
    memset(e, 0, sizeof *e);
    e->mem = mem;
    e->mem.bytes = (int64_t)sizeof *e;
    ks_status status = ks_sets_init(e);
    if (status == KS_OK)
        status = ks_engine_grow_resources(e, n_resources);
    if (status != KS_OK) {
        ks_engine_free(e);
        return status;
    }
    *out = e;
    return KS_OK;
}

ks_status ks_engine_new(int32_t n_resources, ks_engine **out) { return ks_engine_new_with(NULL, n_resources, out); }

void ks_engine_free(ks_engine *e) {
    if (e == NULL)
        return;
    ks_indexes_free(e);
    ks_profiles_free(e);
    ks_typical_free(e);
    ks_classes_free(e);
    ks_pairwise_free(e);
    ks_known_free(e);
    ks_holds_free(e);
    ks_nominated_free(e);
    ks_preempt_free(e);
    ks_users_free(e);
    ks_stand_ins_free(e);
    ks_nodes_free(e);
    ks_sets_free(e);
    KS_VEC_DISCARD(&e->mem, &e->order);
    ks_trials_free(e);
    KS_VEC_DISCARD(&e->mem, &e->log);
    KS_VEC_DISCARD(&e->mem, &e->last_log);
    KS_VEC_DISCARD(&e->mem, &e->undo);
    KS_VEC_DISCARD(&e->mem, &e->scratch.feasible);
    KS_VEC_DISCARD(&e->mem, &e->scratch.local);
    KS_VEC_DISCARD(&e->mem, &e->scratch.kept);
    KS_VEC_DISCARD(&e->mem, &e->scratch.user);
    KS_VEC_DISCARD(&e->mem, &e->scratch.taint);
    KS_VEC_DISCARD(&e->mem, &e->scratch.affinity);
    KS_VEC_DISCARD(&e->mem, &e->scratch.image);
    KS_VEC_DISCARD(&e->mem, &e->scratch.spread);
    KS_VEC_DISCARD(&e->mem, &e->scratch.pods);
    KS_VEC_DISCARD(&e->mem, &e->scratch.shut);
    KS_VEC_DISCARD(&e->mem, &e->scratch.near);
    KS_VEC_DISCARD(&e->mem, &e->scratch.listed);
    KS_VEC_DISCARD(&e->mem, &e->scratch.seen);
    ks_allocator allocator = e->mem.allocator;
    allocator.resize(allocator.context, e, sizeof *e, 0);
}

ks_status ks_engine_grow_resources(ks_engine *e, int32_t n_resources) {
    if (e == NULL || n_resources < e->n_resources || n_resources > KS_MAX_RESOURCES)
        return KS_EINVAL;
    KS_TRY(ks_reserve(&e->mem, (void **)&e->allocatable, &e->resource_cap_a, n_resources, sizeof(int64_t *)));
    KS_TRY(ks_reserve(&e->mem, (void **)&e->used, &e->resource_cap_u, n_resources, sizeof(int64_t *)));
    KS_TRY(ks_reserve(&e->mem, (void **)&e->column_cap, &e->column_cap_cap, 2 * (int64_t)n_resources, sizeof(int64_t)));
    for (int32_t r = e->n_resources; r < n_resources; r++) {
        KS_TRY(ks_reserve(&e->mem, (void **)&e->allocatable[r], &e->column_cap[2 * r], e->n_rows, sizeof(int64_t)));
        KS_TRY(ks_reserve(&e->mem, (void **)&e->used[r], &e->column_cap[2 * r + 1], e->n_rows, sizeof(int64_t)));
    }
    e->n_resources = n_resources;
    return KS_OK;
}

ks_status ks_engine_columns(const ks_engine *e, ks_columns *out) {
    if (e == NULL || out == NULL)
        return KS_EINVAL;
    out->n_rows = e->n_rows;
    out->n_resources = e->n_resources;
    out->device_stride = e->device_stride;
    out->allocatable = (const int64_t *const *)e->allocatable;
    out->used = (const int64_t *const *)e->used;
    out->nonzero_cpu_used = e->nonzero_cpu.at;
    out->nonzero_memory_used = e->nonzero_memory.at;
    out->name_id = e->name_id.at;
    out->label_set = e->label_set.at;
    out->taint_set = e->taint_set.at;
    out->image_set = e->image_set.at;
    out->unschedulable = e->unschedulable.at;
    out->live = e->live.at;
    out->device_count = e->device_count.at;
    out->device_model = e->device_model.at;
    out->device_free = e->device_free.at;
    out->n_columns = e->n_columns;
    out->column = e->column.at;
    return KS_OK;
}

int64_t ks_engine_bytes(const ks_engine *e) { return e == NULL ? 0 : e->mem.bytes; }
