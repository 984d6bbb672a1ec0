/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep.c: deciding a class that is asked for once or twice, for which lanes and cells would not pay. It looks at every
 * row as dense.c does, and gives the same answer, but column by column: what a class does not ask for costs nothing,
 * and the rest are loops over plain columns. Profiles with other scores than ks_plain has are left to dense.c.
 *
 * Exactness of the doubles: as in index.c, under the same bounds; beyond them rows take ks_score_local. */
#include "internal.h"

#include <math.h>   /* fabs */
#include <string.h> /* memcpy */

enum { FEW = 16 }; /* one row in so many: scored one by one, without columns (arbitrary) */

static const uint32_t KNOWN_FILTERS = (2u << KS_FILTER_GPU_SHARE) - 1;

/* ---- filters ---- */

KS_WIDE static void shut_short(uint8_t *restrict open, const int64_t *restrict alloc, const int64_t *restrict used,
                               int64_t amount, int32_t n) {
    for (int32_t row = 0; row < n; row++)
        open[row] &= alloc[row] - used[row] >= amount;
}

KS_WIDE static void shut_flagged(uint8_t *restrict open, const uint8_t *restrict flag, int32_t n) {
    for (int32_t row = 0; row < n; row++)
        open[row] &= flag[row] == 0;
}

static void shut_set(uint8_t *restrict open, const uint8_t *restrict pass, const int32_t *restrict set, int32_t n) {
    for (int32_t row = 0; row < n; row++)
        open[row] &= pass[set[row]] != 0;
}

/* Filters whose verdict is more than a look into a column. */
static bool has_more_filters(const ks_class *c) {
    return c->node_name != KS_NONE || c->by_node || c->n_ports > 0 || c->device_count > 0 || c->verdicts.n > 0;
}

static int32_t filter_rows(const ks_engine *e, const ks_profile *p, const ks_class *c, uint8_t *open) {
    int32_t n = e->n_rows, feasible = 0;
    memcpy(open, e->live.at, (size_t)n);
    if (ks_filter_is_on(p, KS_FILTER_NODE_RESOURCES_FIT)) {
        shut_short(open, e->allocatable[KS_PODS], e->used[KS_PODS], 1, n);
        for (int32_t i = 0; i < c->n_request; i++) {
            int32_t r = c->request[i].resource;
            shut_short(open, e->allocatable[r], e->used[r], c->request[i].amount, n);
        }
    }
    if (ks_filter_is_on(p, KS_FILTER_NODE_UNSCHEDULABLE) && !c->tolerates_unschedulable)
        shut_flagged(open, e->unschedulable.at, n);
    if (ks_filter_is_on(p, KS_FILTER_TAINT_TOLERATION))
        shut_set(open, c->taint_pass, e->taint_set.at, n);
    if (ks_filter_is_on(p, KS_FILTER_NODE_AFFINITY) && !c->by_node)
        shut_set(open, c->label_pass, e->label_set.at, n);
    bool more = has_more_filters(c), pairwise = ks_has_pairwise(c);
    for (int32_t row = 0; row < n; row++) {
        if (open[row] && (more || pairwise))
            open[row] = (!more || ks_passes_local(e, p, c, row)) && (!pairwise || ks_passes_pairwise(e, p, c, row));
        feasible += open[row];
    }
    return feasible;
}

/* ---- scores of the row alone ---- */

KS_WIDE static bool is_narrow_column(const int64_t *restrict alloc, const int64_t *restrict used, int32_t n) {
    int64_t alloc_bits = 0, used_bits = 0;
    for (int32_t row = 0; row < n; row++) {
        alloc_bits |= alloc[row];
        used_bits |= used[row];
    }
    return alloc_bits < KS_NARROW_ALLOC && used_bits < KS_NARROW_USED; /* negative amounts do not occur */
}

KS_WIDE static void add_fit(const int64_t *restrict alloc, const int64_t *restrict used, double request, double weight,
                            bool most, double *restrict sum, double *restrict weights, int32_t n) {
    for (int32_t row = 0; row < n; row++) {
        double there = alloc[row] == 0 ? 0.0 : weight, all = alloc[row] == 0 ? 1.0 : (double)alloc[row];
        double with_pod = (double)used[row] + request;
        double spare = with_pod > all ? 0.0 : all - with_pod, taken = with_pod > all ? all : with_pod;
        sum[row] += there * (double)(int32_t)((most ? taken : spare) * 100.0 / all);
        weights[row] += there;
    }
}

KS_WIDE static void end_fit(const double *restrict sum, const double *restrict weights, int64_t weight,
                            int64_t *restrict local, int32_t n) {
    for (int32_t row = 0; row < n; row++)
        local[row] += weight * (int64_t)(int32_t)(sum[row] / (weights[row] == 0 ? 1.0 : weights[row]));
}

static inline double capped(double part, double all) { return part / all > 1 ? 1.0 : part / all; }

KS_WIDE static void add_balance(const int64_t *restrict alloc0, const int64_t *restrict used0, double request0,
                                const int64_t *restrict alloc1, const int64_t *restrict used1, double request1,
                                int64_t weight, bool improvement, int64_t *restrict local, int32_t n) {
    for (int32_t row = 0; row < n; row++) {
        bool both = alloc0[row] != 0 && alloc1[row] != 0;
        double a0 = both ? (double)alloc0[row] : 1.0, a1 = both ? (double)alloc1[row] : 1.0;
        double u0 = (double)used0[row], u1 = (double)used1[row];
        double apart = fabs((capped(u0 + request0, a0) - capped(u1 + request1, a1)) / 2);
        double before = fabs((capped(u0, a0) - capped(u1, a1)) / 2);
        double with_pod = both ? (double)(int32_t)((1 - apart) * 100.0) : 100.0;
        double without = both ? (double)(int32_t)((1 - before) * 100.0) : 100.0;
        double improved = 50.0 + (double)(int32_t)((50.0 + with_pod - without) / 2);
        local[row] += weight * (int64_t)(int32_t)(improvement ? improved : with_pod);
    }
}

static const int64_t *used_column(const ks_engine *e, int32_t resource, bool nonzero) {
    if (nonzero && resource == KS_CPU)
        return e->nonzero_cpu.at;
    return nonzero && resource == KS_MEMORY ? e->nonzero_memory.at : e->used[resource];
}

static ks_status score_fit(ks_engine *e, const ks_score *s, const ks_class *c, int64_t *local) {
    int32_t n = e->n_rows;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.sums, 2 * (int64_t)n));
    double *sum = e->scratch.sums.at, *weights = sum + n;
    memset(sum, 0, 2 * (size_t)n * sizeof *sum);
    for (int32_t i = 0; i < s->n_resources; i++) {
        int32_t r = s->resource[i];
        double request = (double)ks_amount_of(c->fit_request, c->n_fit_request, r);
        add_fit(e->allocatable[r], used_column(e, r, true), request, (double)s->resource_weight[i],
                s->variant == KS_FIT_MOST_ALLOCATED, sum, weights, n);
    }
    end_fit(sum, weights, s->weight, local, n);
    return KS_OK;
}

static void score_balanced(const ks_engine *e, const ks_score *s, const ks_class *c, int64_t *local) {
    int32_t r0 = s->resource[0], r1 = s->n_resources > 1 ? s->resource[1] : r0;
    add_balance(e->allocatable[r0], e->used[r0], (double)ks_amount_of(c->request, c->n_request, r0), e->allocatable[r1],
                e->used[r1], (double)ks_amount_of(c->request, c->n_request, r1), s->weight,
                s->variant == KS_BALANCED_V136, local, e->n_rows);
}

static bool are_narrow(const ks_engine *e, const ks_score *s, bool nonzero) {
    for (int32_t i = 0; s != NULL && i < s->n_resources; i++) {
        int32_t r = s->resource[i];
        if (!is_narrow_column(e->allocatable[r], used_column(e, r, nonzero), e->n_rows))
            return false;
    }
    return true;
}

static ks_status score_local(ks_engine *e, const ks_profile *p, const ks_plain *plain, const ks_class *c,
                             int32_t feasible) {
    int64_t *local = e->scratch.local.at;
    const uint8_t *open = e->scratch.feasible.at;
    memset(local, 0, (size_t)e->n_rows * sizeof *local);
    if (feasible <= e->n_rows / FEW || !ks_is_narrow(c) || !are_narrow(e, plain->fit, true) ||
        !are_narrow(e, plain->balanced, false)) {
        for (int32_t row = 0; row < e->n_rows; row++)
            local[row] = open[row] ? ks_score_local(e, p, c, row) : 0;
        return KS_OK;
    }
    if (plain->fit != NULL)
        KS_TRY(score_fit(e, plain->fit, c, local));
    if (plain->balanced != NULL && !ks_score_skips(e, p, plain->balanced, c))
        score_balanced(e, plain->balanced, c, local);
    return KS_OK;
}

/* ---- normalised scores ---- */

/* Adds weight * normalised raw, raw being looked up by set. Reversed: fewer is better, as for taints. */
static void add_by_set(const ks_engine *e, const int32_t *raw, const int32_t *set, int64_t weight, bool reversed,
                       int64_t *total) {
    const uint8_t *open = e->scratch.feasible.at;
    int64_t max = 0;
    for (int32_t row = 0; row < e->n_rows; row++)
        max = open[row] && raw[set[row]] > max ? raw[set[row]] : max;
    for (int32_t row = 0; row < e->n_rows; row++)
        total[row] +=
            weight * (reversed ? ks_normalize_taint(raw[set[row]], max) : ks_normalize_up(raw[set[row]], max));
}

static void add_by_node(const ks_engine *e, const ks_class *c, int64_t weight, int64_t *total) {
    int32_t *raw = e->scratch.affinity.at;
    int64_t max = 0;
    for (int32_t row = 0; row < e->n_rows; row++) {
        raw[row] = e->scratch.feasible.at[row] ? ks_affinity_weight(e, c, row) : 0;
        max = raw[row] > max ? raw[row] : max;
    }
    for (int32_t row = 0; row < e->n_rows; row++)
        total[row] += weight * ks_normalize_up(raw[row], max);
}

static void add_claims(const ks_engine *e, const ks_class *c, int64_t weight, int64_t *total) {
    int64_t max = 0;
    for (int32_t row = 0; row < e->n_rows; row++)
        max = e->scratch.feasible.at[row] && ks_raw_of(c, row) > max ? ks_raw_of(c, row) : max;
    for (int32_t row = 0; max > 0 && row < e->n_rows; row++)
        total[row] += weight * ks_normalize_up(ks_raw_of(c, row), max);
}

static void add_column(const ks_engine *e, const int64_t *column, int64_t weight, int64_t *total) {
    for (int32_t row = 0; row < e->n_rows; row++)
        total[row] += e->scratch.feasible.at[row] ? weight * column[row] : 0;
}

static void add_grouped(ks_engine *e, const ks_profile *p, const ks_class *c, int64_t *total) {
    if (p->taint_weight > 0)
        add_by_set(e, c->taint_pref, e->taint_set.at, p->taint_weight, true, total);
    if (p->affinity_weight > 0 && c->preferred.n_terms > 0) {
        if (c->by_node)
            add_by_node(e, c, p->affinity_weight, total);
        else
            add_by_set(e, c->label_pref, e->label_set.at, p->affinity_weight, false, total);
    }
    for (int32_t row = 0; p->image_weight > 0 && c->n_images > 0 && row < e->n_rows; row++)
        total[row] += p->image_weight * c->image_score[e->image_set.at[row]];
    if (p->claim_weight > 0 && c->raw.n > 0)
        add_claims(e, c, p->claim_weight, total);
}

static ks_status add_pairwise(ks_engine *e, const ks_profile *p, ks_class *c, int64_t *total) {
    const uint8_t *open = e->scratch.feasible.at;
    if (p->spread_weight > 0 && c->pairwise.n_soft > 0) {
        KS_TRY(ks_spread_score(e, c, open));
        ks_normalize_spread_column(open, e->scratch.spread.at, e->n_rows);
        add_column(e, e->scratch.spread.at, p->spread_weight, total);
    }
    if (p->pods_weight > 0 && !ks_pods_score_skips(e, p, c)) {
        KS_TRY(ks_pods_score(e, p, c, open));
        ks_normalize_pods_column(open, e->scratch.pods.at, e->n_rows);
        add_column(e, e->scratch.pods.at, p->pods_weight, total);
    }
    return KS_OK;
}

/* ---- the best ---- */

KS_WIDE static int64_t greatest(const uint8_t *restrict open, int64_t *restrict total, int32_t n) {
    int64_t best = INT64_MIN;
    for (int32_t row = 0; row < n; row++) {
        total[row] = open[row] ? total[row] : INT64_MIN;
        best = total[row] > best ? total[row] : best;
    }
    return best;
}

KS_WIDE static int32_t count(const int64_t *restrict total, int64_t best, int32_t n) {
    int32_t ties = 0;
    for (int32_t row = 0; row < n; row++)
        ties += total[row] == best;
    return ties;
}

static void choose(const ks_engine *e, int32_t tie, uint64_t *rng, ks_choice *out) {
    const int64_t *total = e->scratch.local.at;
    out->score = greatest(e->scratch.feasible.at, e->scratch.local.at, e->n_rows);
    out->ties = count(total, out->score, e->n_rows);
    uint32_t wanted = tie == KS_TIE_UNIFORM && out->ties > 1 ? ks_random_below(rng, (uint32_t)out->ties) : 0;
    for (int32_t row = 0; out->node == KS_NONE; row++)
        if (total[row] == out->score && wanted-- == 0)
            out->node = row;
}

ks_status ks_sweep_decide(ks_engine *e, int32_t profile, ks_class *c, int32_t tie, uint64_t *rng, ks_choice *out) {
    const ks_profile *p = &e->profiles.at[profile];
    ks_plain plain;
    if (!ks_scores_are_plain(p, &plain) || (p->filters & ~KNOWN_FILTERS) != 0)
        return KS_EUNSUPPORTED;
    *out = (ks_choice){-1, KS_NONE, 0, 0};
    if (e->n_rows == 0)
        return KS_OK;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.feasible, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.local, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.affinity, e->n_rows));
    KS_TRY(ks_class_prepare(e, c));
    KS_TRY(ks_pairwise_prepare(e, c));
    out->feasible = filter_rows(e, p, c, e->scratch.feasible.at);
    if (out->feasible == 0)
        return KS_OK;
    KS_TRY(score_local(e, p, &plain, c, out->feasible));
    add_grouped(e, p, c, e->scratch.local.at);
    KS_TRY(add_pairwise(e, p, c, e->scratch.local.at));
    choose(e, tie, rng, out);
    return KS_OK;
}
