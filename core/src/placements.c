/* SPDX-License-Identifier: Apache-2.0
 * placements.c: where a group with a topology constraint may go as a whole: the rows that share a domain. Decisions
 * keep to one placement at a time; what rules about other pods count is summed over all rows, as ever. Sources:
 * plugins/topologyaware, plugins/podgrouppodscount, plugins/noderesources (scorePlacement), v1.36. */
#include "internal.h"

static ks_status check_topology(const ks_engine *e, int32_t topology) {
    return topology < 0 || topology >= e->topologies.n ? KS_ERANGE : KS_OK;
}

/* ---- rows by domain ---- */

static ks_status cut_reserve(ks_engine *e, ks_topology *t) {
    KS_TRY(KS_VEC_RESERVE(&e->mem, &t->first, t->n_domains));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &t->begin, (int64_t)t->n_domains + 1));
    return KS_VEC_RESERVE(&e->mem, &t->members, e->n_rows);
}

/* Rows are put in from the last to the first, so that `begin` moves from the end of each domain to its beginning. */
static ks_status cut(ks_engine *e, ks_topology *t) {
    if (t->cut_version == e->rows_version + 1)
        return KS_OK;
    KS_TRY(cut_reserve(e, t));
    int32_t *begin = t->begin.at, n = 0;
    for (int32_t domain = 0; domain < t->n_domains; domain++)
        begin[domain] = n += t->rows.at[domain];
    begin[t->n_domains] = n;
    for (int32_t row = e->n_rows - 1; row >= 0; row--)
        if (t->domain.at[row] != KS_NONE)
            t->members.at[--begin[t->domain.at[row]]] = row;
    t->first.n = 0;
    for (int32_t row = 0; row < e->n_rows; row++)
        if (t->domain.at[row] != KS_NONE && t->members.at[begin[t->domain.at[row]]] == row)
            t->first.at[t->first.n++] = row;
    t->cut_version = e->rows_version + 1;
    return KS_OK;
}

ks_status ks_placements(ks_engine *e, int32_t topology, int32_t *n, const int32_t **row) {
    if (e == NULL || n == NULL || row == NULL)
        return KS_EINVAL;
    KS_TRY(check_topology(e, topology));
    KS_TRY(cut(e, &e->topologies.at[topology]));
    *n = (int32_t)e->topologies.at[topology].first.n;
    *row = e->topologies.at[topology].first.at;
    return KS_OK;
}

static ks_status keep_to(ks_engine *e, int32_t topology, int32_t row) {
    KS_TRY(check_topology(e, topology));
    ks_topology *t = &e->topologies.at[topology];
    if (row < 0 || row >= e->n_rows || t->domain.at[row] == KS_NONE)
        return KS_ERANGE;
    KS_TRY(cut(e, t));
    int32_t domain = t->domain.at[row], begin = t->begin.at[domain];
    e->within = (ks_placement){true, topology, domain, t->rows.at[domain], t->members.at + begin};
    return KS_OK;
}

ks_status ks_within(ks_engine *e, int32_t topology, int32_t row, int32_t *out_n) {
    if (e == NULL)
        return KS_EINVAL;
    e->within.is_on = false;
    KS_TRY(topology == KS_NONE ? KS_OK : keep_to(e, topology, row));
    if (out_n != NULL)
        *out_n = ks_n_nodes_within(e);
    return KS_OK;
}

/* ---- which placement is best ---- */

static const int64_t *used_column(const ks_engine *e, int32_t resource) {
    if (resource == KS_CPU)
        return e->nonzero_cpu.at;
    return resource == KS_MEMORY ? e->nonzero_memory.at : e->used[resource];
}

static ks_status asked_of(const ks_engine *e, int32_t resource, int32_t n, const int32_t *class_id, const int32_t *node,
                          int64_t *out) {
    *out = 0;
    for (int32_t i = 0; i < n; i++) {
        const ks_class *c = &e->classes.at[class_id[i]];
        int64_t amount = node[i] == KS_NONE ? 0 : ks_amount_of(c->fit_request, c->n_fit_request, resource);
        if (__builtin_add_overflow(*out, amount, out))
            return KS_EOVERFLOW;
    }
    return KS_OK;
}

/* What all nodes of the placement have, and what is taken there; those without the resource do not count. */
static ks_status sum_rows(const ks_engine *e, int32_t resource, int64_t *alloc, int64_t *used) {
    const int64_t *all = e->allocatable[resource], *taken = used_column(e, resource);
    *alloc = 0;
    for (int32_t i = 0; i < ks_n_within(e); i++) {
        int32_t row = ks_row_within(e, i);
        if (!e->live.at[row] || all[row] == 0)
            continue;
        if (__builtin_add_overflow(*alloc, all[row], alloc) || __builtin_add_overflow(*used, taken[row], used))
            return KS_EOVERFLOW;
    }
    return KS_OK;
}

static ks_status check_pods(const ks_engine *e, int32_t n, const int32_t *class_id) {
    for (int32_t i = 0; i < n; i++)
        if (!ks_has_class(e, class_id[i]))
            return KS_ERANGE;
    return KS_OK;
}

/* As MostAllocated scores one node. An extended resource that no pod asks for is left out. */
ks_status ks_placement_fit(const ks_engine *e, int32_t profile, int32_t n, const int32_t *class_id, const int32_t *node,
                           int64_t *out) {
    if (e == NULL || out == NULL || n < 0 || (n > 0 && (class_id == NULL || node == NULL)))
        return KS_EINVAL;
    if (profile < 0 || profile >= e->profiles.n)
        return KS_ERANGE;
    KS_TRY(check_pods(e, n, class_id));
    const ks_score *s = e->profiles.at[profile].placement_fit;
    int64_t sum = 0, weights = 0;
    for (int32_t i = 0; s != NULL && i < s->n_resources; i++) {
        int64_t alloc, used, percent;
        KS_TRY(asked_of(e, s->resource[i], n, class_id, node, &used));
        if (s->resource[i] >= KS_FIRST_EXTENDED && used == 0)
            continue;
        KS_TRY(sum_rows(e, s->resource[i], &alloc, &used));
        if (alloc == 0)
            continue;
        if (__builtin_mul_overflow(used > alloc ? alloc : used, 100, &percent))
            return KS_EOVERFLOW;
        sum += percent / alloc * s->resource_weight[i];
        weights += s->resource_weight[i];
    }
    *out = weights == 0 ? 0 : sum / weights;
    return KS_OK;
}

static int64_t total_of(const ks_profile *p, int64_t pods, int64_t most, int64_t fit) {
    int64_t total = p->placement_fit == NULL ? 0 : p->placement_fit->weight * fit;
    return total + (p->placement_pods_weight > 0 ? p->placement_pods_weight * (pods * 100 / most) : 0);
}

ks_status ks_placement_choose(const ks_engine *e, ks_options *o, int32_t n, const int32_t *pods, const int64_t *fit,
                              int32_t *out, int32_t *out_ties) {
    if (e == NULL || o == NULL || out == NULL || out_ties == NULL || n < 1 || pods == NULL || fit == NULL)
        return KS_EINVAL;
    if (o->profile < 0 || o->profile >= e->profiles.n)
        return KS_ERANGE;
    const ks_profile *p = &e->profiles.at[o->profile];
    int64_t most = 0, best = -1;
    for (int32_t i = 0; i < n; i++)
        most = pods[i] > most ? pods[i] : most;
    if (most == 0)
        return KS_EINVAL;
    for (int32_t i = 0; i < n; i++) {
        int64_t total = total_of(p, pods[i], most, fit[i]);
        *out_ties = total > best ? 1 : *out_ties + (total == best);
        best = total > best ? total : best;
    }
    uint32_t wanted = o->tie == KS_TIE_UNIFORM && *out_ties > 1 ? ks_random_below(&o->rng, (uint32_t)*out_ties) : 0;
    for (*out = 0; total_of(p, pods[*out], most, fit[*out]) != best || wanted-- != 0; (*out)++)
        ;
    return KS_OK;
}

void ks_trials_free(ks_engine *e) {
    KS_VEC_DISCARD(&e->mem, &e->trials);
    KS_VEC_DISCARD(&e->mem, &e->trial_pods);
    KS_VEC_DISCARD(&e->mem, &e->trial_fit);
}
