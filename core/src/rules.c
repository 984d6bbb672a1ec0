/* SPDX-License-Identifier: Apache-2.0
 *
 * rules.c: what the rules about other pods say: topology spreading and inter-pod affinity.
 *
 * Everything is judged from one vector: the pods that each rule counts near a place, KS_NONE where the place lacks the
 * rule's topology key. The dense driver gathers it for a row; cells.c for all rows that cannot be told apart. Rules
 * stand in the order hard, soft, affinity, anti, existing, scored (ks_pairwise). Sources: plugins/podtopologyspread,
 * plugins/interpodaffinity, v1.36. */
#include "internal.h"

#include <math.h>   /* log, round */
#include <string.h> /* memset */

/* ---- gathering for a row ---- */

static int32_t spread_near(const ks_engine *e, const ks_spread *s, int32_t row) {
    int32_t domain = e->topologies.at[s->topology].domain.at[row];
    if (domain == KS_NONE)
        return KS_NONE;
    int32_t pods =
        s->tally == KS_NONE ? e->counters.at[s->counter].pods.at[row] : e->tallies.at[s->tally].pods.at[domain];
    return pods < 0 ? 0 : pods; /* pods in thought that were not counted: their domain has the fewest, and lets in */
}

static void gather_spread(const ks_engine *e, const ks_spread *s, int32_t n, int32_t row, int32_t *near) {
    for (int32_t i = 0; i < n; i++)
        near[i] = spread_near(e, &s[i], row);
}

static void gather_pairs(const ks_engine *e, const ks_pair *pair, int32_t n, int32_t row, int32_t *near) {
    for (int32_t i = 0; i < n; i++) {
        int32_t domain = e->topologies.at[pair[i].topology].domain.at[row];
        near[i] = domain == KS_NONE ? KS_NONE : e->tallies.at[pair[i].tally].pods.at[domain];
    }
}

/* ---- filters ---- */

uint8_t ks_spread_verdict(const ks_pairwise *w, const int32_t *near) {
    for (int32_t i = 0; i < w->n_hard; i++) {
        const ks_spread *s = &w->hard[i];
        if (near[i] == KS_NONE)
            return KS_DETAIL_NO_TOPOLOGY;
        if (near[i] + (int64_t)s->self - s->fewest > s->max_skew)
            return KS_DETAIL_SKEW;
    }
    return KS_DETAIL_NONE;
}

/* The first pod of a series that has affinity to itself may go anywhere that has the keys. */
static bool affinity_fails(const ks_pairwise *w, const int32_t *near) {
    bool all = true;
    for (int32_t i = 0; i < w->n_affinity; i++) {
        if (near[i] == KS_NONE)
            return true;
        all &= near[i] > 0;
    }
    return !all && (w->affinity_any || !w->affinity_self);
}

static bool any_above_zero(const int32_t *near, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        if (near[i] > 0)
            return true;
    return false;
}

uint8_t ks_pods_verdict(const ks_pairwise *w, const int32_t *near) {
    const int32_t *affinity = near + w->n_hard + w->n_soft, *anti = affinity + w->n_affinity;
    if (affinity_fails(w, affinity))
        return KS_DETAIL_AFFINITY;
    if (any_above_zero(anti, w->n_anti))
        return KS_DETAIL_ANTI_AFFINITY;
    return any_above_zero(anti + w->n_anti, w->n_existing) ? KS_DETAIL_EXISTING : KS_DETAIL_NONE;
}

uint8_t ks_spread_filter(const ks_engine *e, const ks_class *c, int32_t row) {
    if (c->pairwise.n_hard == 0)
        return KS_DETAIL_NONE;
    gather_spread(e, c->pairwise.hard, c->pairwise.n_hard, row, e->scratch.near.at);
    return ks_spread_verdict(&c->pairwise, e->scratch.near.at);
}

uint8_t ks_pods_filter(const ks_engine *e, const ks_class *c, int32_t row) {
    const ks_pairwise *w = &c->pairwise;
    int32_t n = w->n_affinity + w->n_anti + w->n_existing; /* one after another in the block, too */
    if (n == 0)
        return KS_DETAIL_NONE;
    gather_pairs(e, w->affinity, n, row, e->scratch.near.at + w->n_hard + w->n_soft);
    return ks_pods_verdict(w, e->scratch.near.at);
}

/* ---- scores ---- */

int64_t ks_spread_raw(const ks_pairwise *w, const int32_t *near) {
    double sum = 0.0;
    near += w->n_hard;
    for (int32_t i = 0; i < w->n_soft; i++) {
        if (near[i] != KS_NONE)
            sum += (double)near[i] * w->soft[i].weight + (double)(w->soft[i].max_skew - 1);
        else if (w->needs_all)
            return KS_IGNORED;
    }
    return (int64_t)round(sum);
}

/* What a pod of the rule is worth under a profile, or 0 if the profile does not look at it. */
static int64_t worth(const ks_profile *p, const ks_pairwise *w, const ks_pair *pair) {
    if (pair->kind != KS_TERM_OWN && p->ignore_existing && !w->has_own)
        return 0;
    return pair->kind == KS_TERM_REQUIRED ? pair->weight * p->required_weight : pair->weight;
}

int64_t ks_pods_raw(const ks_profile *p, const ks_pairwise *w, const int32_t *near) {
    int64_t sum = 0;
    near += ks_n_rules(w) - w->n_scored;
    for (int32_t i = 0; i < w->n_scored; i++)
        if (near[i] > 0)
            sum += worth(p, w, &w->scored[i]) * near[i];
    return sum;
}

bool ks_pods_score_skips(const ks_engine *e, const ks_profile *p, const ks_class *c) {
    const ks_pairwise *w = &c->pairwise;
    for (int32_t i = 0; i < w->n_scored; i++) {
        const ks_pair *pair = &w->scored[i];
        bool is_out = (pair->kind != KS_TERM_OWN && p->ignore_existing && !w->has_own) ||
                      (pair->kind == KS_TERM_REQUIRED && p->required_weight == 0);
        if (!is_out && e->tallies.at[pair->tally].total > 0)
            return false;
    }
    return true;
}

int64_t ks_normalize_spread(int64_t raw, int64_t min, int64_t max) {
    return raw == KS_IGNORED ? 0 : max == 0 ? 100 : 100 * (max + min - raw) / max;
}

int64_t ks_normalize_pods(int64_t raw, int64_t min, int64_t max) {
    return max <= min ? 0 : (int64_t)(100.0 * ((double)(raw - min) / (double)(max - min)));
}

double ks_spread_weight(int32_t n_domains) { return log((double)n_domains + 2); }

/* ---- whole columns, for the dense driver and explanations ---- */

static bool has_keys(const ks_engine *e, const ks_spread *s, int32_t n, int32_t row) {
    for (int32_t i = 0; i < n; i++)
        if (e->topologies.at[s[i].topology].domain.at[row] == KS_NONE)
            return false;
    return true;
}

/* Domains of the rows that are scored; a missing key is the domain "". */
static int32_t count_domains(const ks_engine *e, const ks_pairwise *w, const ks_spread *s, const uint8_t *feasible) {
    const int32_t *of = e->topologies.at[s->topology].domain.at;
    int32_t n = 0;
    memset(e->scratch.seen.at, 0, (size_t)e->scratch.seen.cap);
    for (int32_t row = 0; row < e->n_rows; row++) {
        if (!feasible[row] || (w->needs_all && !has_keys(e, w->soft, w->n_soft, row)))
            continue;
        int32_t domain = of[row] == KS_NONE ? 0 : of[row];
        n += s->by_host || !e->scratch.seen.at[domain]; /* every node is a domain of its own */
        e->scratch.seen.at[domain] = 1;
    }
    return n;
}

ks_status ks_spread_score(ks_engine *e, ks_class *c, const uint8_t *feasible) {
    ks_pairwise *w = &c->pairwise;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.spread, e->n_rows));
    for (int32_t i = 0; i < w->n_soft; i++) {
        KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.seen, e->topologies.at[w->soft[i].topology].n_domains));
        w->soft[i].weight = ks_spread_weight(count_domains(e, w, &w->soft[i], feasible));
    }
    for (int32_t row = 0; row < e->n_rows; row++) {
        if (!feasible[row])
            continue;
        gather_spread(e, w->soft, w->n_soft, row, e->scratch.near.at + w->n_hard);
        e->scratch.spread.at[row] = ks_spread_raw(w, e->scratch.near.at);
    }
    return KS_OK;
}

ks_status ks_pods_score(ks_engine *e, const ks_profile *p, const ks_class *c, const uint8_t *feasible) {
    const ks_pairwise *w = &c->pairwise;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.pods, e->n_rows));
    int32_t *near = e->scratch.near.at + ks_n_rules(w) - w->n_scored;
    for (int32_t row = 0; row < e->n_rows; row++) {
        if (!feasible[row])
            continue;
        gather_pairs(e, w->scored, w->n_scored, row, near);
        e->scratch.pods.at[row] = ks_pods_raw(p, w, e->scratch.near.at);
    }
    return KS_OK;
}

static ks_range range_of(const uint8_t *feasible, const int64_t *raw, int32_t n, int64_t least_max) {
    ks_range r = {INT64_MAX, least_max};
    for (int32_t row = 0; row < n; row++)
        if (feasible[row] && raw[row] != KS_IGNORED) {
            r.min = raw[row] < r.min ? raw[row] : r.min;
            r.max = raw[row] > r.max ? raw[row] : r.max;
        }
    return r;
}

void ks_normalize_spread_column(const uint8_t *feasible, int64_t *raw, int32_t n) {
    ks_range r = range_of(feasible, raw, n, 0);
    for (int32_t row = 0; row < n; row++)
        if (feasible[row])
            raw[row] = ks_normalize_spread(raw[row], r.min, r.max);
}

void ks_normalize_pods_column(const uint8_t *feasible, int64_t *raw, int32_t n) {
    ks_range r = range_of(feasible, raw, n, INT64_MIN);
    for (int32_t row = 0; row < n; row++)
        if (feasible[row])
            raw[row] = ks_normalize_pods(raw[row], r.min, r.max);
}
