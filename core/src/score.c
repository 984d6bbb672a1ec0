/* SPDX-License-Identifier: Apache-2.0
 * score.c: raw scores of one class on one row.
 *
 * These functions define the scores; index.c computes the two most common ones for 64 classes at once in doubles and
 * must give the same numbers (its comment proves why). Every division here truncates, as Go's does.
 * Source: pkg/scheduler/framework/plugins/noderesources, v1.36. */
#include "internal.h"

#include <math.h> /* fabs, sqrt, llround */

/* What a scored resource looks like with the pod on the node; alloc 0: leave it out. */
typedef struct load {
    int64_t alloc, used, with_pod;
} load;

/* Upstream leaves out a resource that the node does not have, and an extended one that the pod does not ask for. */
static load load_of(const ks_engine *e, int32_t resource, int64_t request, bool nonzero, int32_t row) {
    load l = {0, 0, 0};
    if (resource >= KS_FIRST_EXTENDED && request == 0)
        return l;
    l.alloc = e->allocatable[resource][row];
    l.used = e->used[resource][row];
    if (nonzero && resource == KS_CPU)
        l.used = e->nonzero_cpu.at[row];
    else if (nonzero && resource == KS_MEMORY)
        l.used = e->nonzero_memory.at[row];
    if (resource >= KS_FIRST_EXTENDED && l.alloc == KS_UNLIMITED)
        ks_stand_in_of(e, resource, row, &l.alloc, &l.used);
    l.with_pod = l.used + request;
    return l;
}

/* ---- NodeResourcesFit ---- */

/* Piecewise linear between the points, constant outside. Source: helper.BuildBrokenLinearFunction. */
static int64_t shape_at(const ks_score *s, int64_t utilization) {
    for (int32_t i = 0; i < s->n_points; i++) {
        if (utilization > s->utilization[i])
            continue;
        if (i == 0)
            return s->shape_score[0];
        int64_t x0 = s->utilization[i - 1], x1 = s->utilization[i];
        int64_t y0 = s->shape_score[i - 1], y1 = s->shape_score[i];
        return y0 + (y1 - y0) * (utilization - x0) / (x1 - x0);
    }
    return s->shape_score[s->n_points - 1];
}

static int64_t resource_score(const ks_score *s, load l) {
    switch (s->variant) {
    case KS_FIT_LEAST_ALLOCATED:
        return l.with_pod > l.alloc ? 0 : (l.alloc - l.with_pod) * 100 / l.alloc;
    case KS_FIT_MOST_ALLOCATED:
        return (l.with_pod > l.alloc ? l.alloc : l.with_pod) * 100 / l.alloc;
    default:
        return shape_at(s, l.with_pod > l.alloc ? 100 : l.with_pod * 100 / l.alloc);
    }
}

static int64_t fit_score(const ks_engine *e, const ks_score *s, const ks_class *c, int32_t row) {
    bool ratio = s->variant == KS_FIT_REQUESTED_TO_CAPACITY_RATIO;
    int64_t sum = 0, weights = 0;
    for (int32_t i = 0; i < s->n_resources; i++) {
        int64_t request = ks_amount_of(c->fit_request, c->n_fit_request, s->resource[i]);
        load l = load_of(e, s->resource[i], request, true, row);
        if (l.alloc == 0)
            continue;
        int64_t score = resource_score(s, l);
        if (ratio && score == 0)
            continue; /* upstream counts only resources that score */
        sum += score * s->resource_weight[i];
        weights += s->resource_weight[i];
    }
    if (weights == 0)
        return 0;
    return ratio ? llround((double)sum / (double)weights) : sum / weights;
}

/* ---- NodeResourcesBalancedAllocation ---- */

/* (1 - standard deviation of the used fractions) * 100, truncated; two resources have their own short formula. */
static int64_t balance(const double *fraction, int32_t n, double total) {
    double deviation = 0.0;
    if (n == 2)
        deviation = fabs((fraction[0] - fraction[1]) / 2);
    else if (n > 2) {
        double mean = total / n, sum = 0.0;
        for (int32_t i = 0; i < n; i++)
            sum = sum + (fraction[i] - mean) * (fraction[i] - mean);
        deviation = sqrt(sum / n);
    }
    return (int64_t)((1 - deviation) * 100.0);
}

static int64_t balance_of(const ks_engine *e, const ks_score *s, const ks_class *c, int32_t row, bool with_pod) {
    double fraction[KS_MOST_BALANCED], total = 0.0;
    int32_t n = 0;
    for (int32_t i = 0; i < s->n_resources; i++) {
        load l = load_of(e, s->resource[i], ks_amount_of(c->request, c->n_request, s->resource[i]), false, row);
        if (l.alloc == 0)
            continue;
        double f = (double)(with_pod ? l.with_pod : l.used) / (double)l.alloc;
        fraction[n] = f > 1 ? 1 : f;
        total += fraction[n++];
    }
    return balance(fraction, n, total);
}

/* The formula changed after 1.35: now the improvement over the node without the pod counts. */
static int64_t balanced_score(const ks_engine *e, const ks_score *s, const ks_class *c, int32_t row) {
    int64_t with_pod = balance_of(e, s, c, row, true);
    if (s->variant == KS_BALANCED_V135)
        return with_pod;
    return 50 + (50 + with_pod - balance_of(e, s, c, row, false)) / 2;
}

/* ---- what the fast drivers compute in doubles ---- */

bool ks_scores_are_plain(const ks_profile *p, ks_plain *out) {
    *out = (ks_plain){NULL, NULL};
    for (int32_t i = 0; i < p->n_scores; i++) {
        const ks_score *s = &p->scores[i];
        bool is_fit = s->plugin == KS_SCORE_NODE_RESOURCES_FIT, is_balanced = s->plugin == KS_SCORE_BALANCED_ALLOCATION;
        if (is_fit)
            out->fit = s;
        if (is_balanced)
            out->balanced = s;
        if (!is_fit && !is_balanced && !ks_is_grouped(s->plugin) && !ks_is_pairwise(s->plugin) &&
            !ks_is_user_score(s->plugin) && s->plugin != KS_SCORE_DYNAMIC_RESOURCES && s->plugin != KS_SCORE_RANDOM)
            return false;
        if ((is_fit && (s->variant == KS_FIT_REQUESTED_TO_CAPACITY_RATIO || s->n_resources > KS_MOST_PLAIN)) ||
            (is_balanced && s->n_resources > 2))
            return false;
        for (int32_t r = 0; (is_fit || is_balanced) && r < s->n_resources; r++)
            if (s->resource[r] >= KS_FIRST_EXTENDED)
                return false;
    }
    return true;
}

bool ks_is_narrow(const ks_class *c) {
    for (int32_t i = 0; i < c->n_request; i++)
        if (c->request[i].amount >= KS_NARROW_ALLOC)
            return false;
    for (int32_t i = 0; i < c->n_fit_request; i++)
        if (c->fit_request[i].amount >= KS_NARROW_ALLOC)
            return false;
    return true;
}

/* ---- one plugin, all local plugins, normalisation ---- */

int64_t ks_score_one(ks_engine *e, const ks_score *s, const ks_class *c, int32_t row) {
    switch (s->plugin) {
    case KS_SCORE_TAINT_TOLERATION:
        return c->taint_pref[e->taint_set.at[row]];
    case KS_SCORE_NODE_AFFINITY:
        return ks_affinity_weight(e, c, row);
    case KS_SCORE_NODE_RESOURCES_FIT:
        return fit_score(e, s, c, row);
    case KS_SCORE_BALANCED_ALLOCATION:
        return balanced_score(e, s, c, row);
    case KS_SCORE_IMAGE_LOCALITY:
        return c->image_score[e->image_set.at[row]];
    case KS_SCORE_DYNAMIC_RESOURCES:
        return ks_raw_of(c, row);
    case KS_SCORE_RANDOM:
        return 0;
    default:
        return ks_policy_score(e, s->plugin, c, row);
    }
}

int64_t ks_score_local(ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row) {
    int64_t sum = 0;
    for (int32_t i = 0; i < p->n_scores; i++)
        if (!ks_is_grouped(p->scores[i].plugin) && !ks_is_pairwise(p->scores[i].plugin) &&
            !ks_is_user_score(p->scores[i].plugin) && p->scores[i].plugin != KS_SCORE_DYNAMIC_RESOURCES &&
            !ks_score_skips(e, p, &p->scores[i], c))
            sum += p->scores[i].weight * ks_score_one(e, &p->scores[i], c, row);
    return sum;
}

/* Source: helper.DefaultNormalizeScore, v1.36: reversed for taints, and all 100 if nothing is untolerated. */
int64_t ks_normalize_taint(int64_t raw, int64_t max) { return max == 0 ? 100 : 100 - 100 * raw / max; }

int64_t ks_normalize_up(int64_t raw, int64_t max) { return max == 0 ? raw : 100 * raw / max; }
