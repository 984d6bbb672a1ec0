/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep.c: deciding a class that is asked for once or twice, for which lanes and cells would not pay. It looks at every
 * row as dense.c does, and gives the same answer, but column by column: what a class does not ask for costs nothing,
 * and the rest are loops over plain columns. Profiles with other scores than ks_plain has are left to dense.c.
 *
 * What the row alone scores is kept from class to class where both ask for the same; see keep_local.
 *
 * Exactness of the doubles: as in index.c, under the same bounds; beyond them rows take ks_score_local. */
#include "internal.h"

#include <math.h>   /* fabs */
#include <string.h> /* memcpy */

enum {
    FEW = 16,    /* one feasible row in so many: scored one by one, without columns (arbitrary) */
    BLOCK = 1024 /* rows whose columns stay in the first cache */
};

static const uint32_t KNOWN_FILTERS = (2u << KS_FILTER_GPU_SHARE) - 1;

/* ---- filters ---- */

/* Which filters turned how many rows down; counted only if somebody asks. */
static void count_shut(ks_summary *out, int32_t filter, uint8_t detail, int64_t n) {
    if (out != NULL && out->rejected != NULL)
        out->rejected[filter * KS_N_DETAILS + detail] += n;
}

/* shut: bit 0: too little is free, bit 1: the request is more than the node has. Returns how many open rows are short.
 */
KS_WIDE static int64_t mark_short(const uint8_t *restrict open, const int64_t *restrict alloc,
                                  const int64_t *restrict used, int64_t amount, uint8_t *restrict shut, int32_t n) {
    int64_t is_short = 0;
    for (int32_t row = 0; row < n; row++) {
        uint8_t low = alloc[row] - used[row]<amount, never = amount> alloc[row];
        is_short += low & open[row];
        shut[row] |= (uint8_t)(low | (low & never) << 1);
    }
    return is_short;
}

/* Closes marked rows; returns how many were open, and of those how many have bit 1. */
KS_WIDE static int64_t close_marked(uint8_t *restrict open, const uint8_t *restrict shut, int32_t n, int64_t *never) {
    int64_t closed = 0, hard = 0;
    for (int32_t row = 0; row < n; row++) {
        uint8_t now = open[row] & (shut[row] & 1u);
        closed += now;
        hard += now & shut[row] >> 1;
        open[row] ^= now;
    }
    *never = hard;
    return closed;
}

static int64_t shut_by_resources(const ks_engine *e, const ks_class *c, uint8_t *open, ks_summary *out) {
    uint8_t *shut = e->scratch.shut.at;
    int32_t n = e->n_rows;
    int64_t never, *of = out == NULL ? NULL : out->insufficient;
    memset(shut, 0, (size_t)n);
    int64_t pods = mark_short(open, e->allocatable[KS_PODS], e->used[KS_PODS], 1, shut, n);
    for (int32_t row = 0; row < n; row++)
        shut[row] &= 1; /* too many pods are always curable */
    if (of != NULL)
        of[KS_PODS] += pods;
    for (int32_t i = 0; i < c->n_checked; i++) {
        int32_t r = c->request[i].resource;
        int64_t is_short = mark_short(open, e->allocatable[r], e->used[r], c->request[i].amount, shut, n);
        if (of != NULL)
            of[r] += is_short;
    }
    int64_t closed = close_marked(open, shut, n, &never);
    count_shut(out, KS_FILTER_NODE_RESOURCES_FIT, 1 | KS_VERDICT_UNRESOLVABLE, never);
    count_shut(out, KS_FILTER_NODE_RESOURCES_FIT, 1, closed - never);
    return closed;
}

KS_WIDE static int64_t shut_flagged(uint8_t *restrict open, const uint8_t *restrict flag, int32_t n) {
    int64_t closed = 0;
    for (int32_t row = 0; row < n; row++) {
        uint8_t now = open[row] & (flag[row] != 0);
        closed += now;
        open[row] ^= now;
    }
    return closed;
}

static int64_t shut_by_set(uint8_t *restrict open, const uint8_t *restrict pass, int64_t n_sets,
                           const int32_t *restrict set, int32_t n) {
    int64_t closed = 0;
    if (memchr(pass, 0, (size_t)n_sets) == NULL)
        return 0; /* as taints mostly do */
    for (int32_t row = 0; row < n; row++) {
        uint8_t now = open[row] & (pass[set[row]] == 0);
        closed += now;
        open[row] ^= now;
    }
    return closed;
}

/* Row by row, for filters whose verdict is more than a look into a column. */
static int64_t shut_by_row(const ks_engine *e, const ks_class *c, int32_t filter, uint8_t *open, ks_summary *out) {
    int64_t closed = 0;
    for (int32_t row = 0; row < e->n_rows; row++) {
        uint8_t detail = open[row] ? ks_filter_fails(e, c, row, filter) : KS_DETAIL_NONE;
        if (detail == KS_DETAIL_NONE)
            continue;
        bool hard = ks_is_unresolvable(e, c, row, filter, detail);
        count_shut(out, filter, (uint8_t)((detail & ~KS_VERDICT_UNRESOLVABLE) | (hard ? KS_VERDICT_UNRESOLVABLE : 0)),
                   1);
        open[row] = 0;
        closed++;
    }
    return closed;
}

/* Whether a filter can turn a pod of this class down at all. */
static bool has_say(const ks_class *c, int32_t filter) {
    const ks_pairwise *w = &c->pairwise;
    switch (filter) {
    case KS_FILTER_NODE_UNSCHEDULABLE:
        return !c->tolerates_unschedulable;
    case KS_FILTER_NODE_NAME:
        return c->node_name != KS_NONE;
    case KS_FILTER_NODE_AFFINITY:
        return c->has_required || c->has_enforced || c->selector.n_terms > 0;
    case KS_FILTER_NODE_PORTS:
        return c->n_ports > 0;
    case KS_FILTER_POD_TOPOLOGY_SPREAD:
        return w->n_hard > 0;
    case KS_FILTER_INTER_POD_AFFINITY:
        return w->n_affinity + w->n_anti + w->n_existing > 0;
    case KS_FILTER_GPU_SHARE:
        return c->device_count > 0;
    case KS_FILTER_TAINT_TOLERATION:
    case KS_FILTER_NODE_RESOURCES_FIT:
        return true;
    default:
        return c->verdicts.n > 0;
    }
}

static int64_t shut_by_filter(const ks_engine *e, const ks_class *c, int32_t filter, uint8_t *open, ks_summary *out) {
    int64_t closed;
    switch (filter) {
    case KS_FILTER_NODE_RESOURCES_FIT:
        return shut_by_resources(e, c, open, out);
    case KS_FILTER_NODE_UNSCHEDULABLE:
        closed = shut_flagged(open, e->unschedulable.at, e->n_rows);
        break;
    case KS_FILTER_TAINT_TOLERATION:
        closed = shut_by_set(open, c->taint_pass, c->n_taint, e->taint_set.at, e->n_rows);
        break;
    case KS_FILTER_NODE_AFFINITY:
        if (!c->by_node && !c->has_enforced) {
            closed = shut_by_set(open, c->label_pass, c->n_label, e->label_set.at, e->n_rows);
            break;
        }
        return shut_by_row(e, c, filter, open, out);
    default:
        return shut_by_row(e, c, filter, open, out);
    }
    count_shut(out, filter, 1 | KS_VERDICT_UNRESOLVABLE, closed); /* as these filters always are */
    return closed;
}

/* Nominated pods come first: upstream filters with them before it filters without. */
static int64_t shut_vetoed(const ks_engine *e, uint8_t *open, ks_summary *out) {
    int64_t closed = 0;
    for (int64_t i = 0; i < e->vetoes.n; i++) {
        const ks_veto *veto = &e->vetoes.at[i];
        if (!open[veto->row])
            continue; /* not in the placement */
        closed++;
        uint8_t hard = veto->unresolvable ? KS_VERDICT_UNRESOLVABLE : 0;
        open[veto->row] = 0;
        count_shut(out, veto->filter, (uint8_t)((veto->detail & ~KS_VERDICT_UNRESOLVABLE) | hard), 1);
        for (int32_t r = 0; out != NULL && veto->filter == KS_FILTER_NODE_RESOURCES_FIT && r < e->n_resources; r++)
            out->insufficient[r] += (int64_t)(ks_veto_insufficient(e, veto)[r / 64] >> (r % 64) & 1u);
    }
    return closed;
}

/* In the profile's order, so that the first failing filter counts. Returns how many rows stay open. */
static int32_t filter_rows(const ks_engine *e, const ks_profile *p, const ks_class *c, uint8_t *open, ks_summary *out) {
    int64_t left = ks_n_nodes_within(e);
    if (e->n_rows > 0 && e->within.is_on)
        memset(open, 0, (size_t)e->n_rows);
    else if (e->n_rows > 0)
        memcpy(open, e->live.at, (size_t)e->n_rows);
    for (int32_t i = 0; i < e->within.n && e->within.is_on; i++)
        open[e->within.row[i]] = 1;
    left -= shut_vetoed(e, open, out);
    for (int32_t i = 0; i < p->n_filters && left > 0; i++)
        if (has_say(c, p->filter[i]))
            left -= shut_by_filter(e, c, p->filter[i], open, out);
    return (int32_t)left;
}

static ks_status filter_all(const ks_engine *e, const ks_profile *p, const ks_class *c, uint8_t *open, ks_summary *out,
                            int32_t *left) {
    *left = filter_rows(e, p, c, open, out);
    if (p->n_user_filters == 0 || *left == 0)
        return KS_OK;
    KS_TRY(ks_user_filter_rows(e, p, c, open, NULL, out == NULL ? NULL : out->rejected));
    *left = 0;
    for (int32_t row = 0; row < e->n_rows; row++)
        *left += open[row];
    return KS_OK;
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

/* A block of rows at a time, so that what one plugin wrote is still near when the next one adds to it. */
typedef struct block {
    int32_t from, n;
} block;

static void score_fit(const ks_engine *e, const ks_score *s, const ks_class *c, block b, int64_t *local) {
    double sum[BLOCK] = {0}, weights[BLOCK] = {0};
    for (int32_t i = 0; i < s->n_resources; i++) {
        int32_t r = s->resource[i];
        double request = (double)ks_amount_of(c->fit_request, c->n_fit_request, r);
        add_fit(e->allocatable[r] + b.from, used_column(e, r, true) + b.from, request, (double)s->resource_weight[i],
                s->variant == KS_FIT_MOST_ALLOCATED, sum, weights, b.n);
    }
    end_fit(sum, weights, s->weight, local, b.n);
}

static void score_balanced(const ks_engine *e, const ks_score *s, const ks_class *c, block b, int64_t *local) {
    int32_t r0 = s->resource[0], r1 = s->n_resources > 1 ? s->resource[1] : r0;
    double request0 = (double)ks_amount_of(c->request, c->n_request, r0);
    double request1 = (double)ks_amount_of(c->request, c->n_request, r1);
    add_balance(e->allocatable[r0] + b.from, e->used[r0] + b.from, request0, e->allocatable[r1] + b.from,
                e->used[r1] + b.from, request1, s->weight, s->variant == KS_BALANCED_V136, local, b.n);
}

static bool are_narrow(const ks_engine *e, const ks_score *s, bool nonzero, block b) {
    for (int32_t i = 0; s != NULL && i < s->n_resources; i++) {
        int32_t r = s->resource[i];
        if (!is_narrow_column(e->allocatable[r] + b.from, used_column(e, r, nonzero) + b.from, b.n))
            return false;
    }
    return true;
}

static void score_block(ks_engine *e, const ks_profile *p, const ks_plain *plain, const ks_class *c, block b,
                        int64_t *local) {
    if (!are_narrow(e, plain->fit, true, b) || !are_narrow(e, plain->balanced, false, b)) {
        for (int32_t i = 0; i < b.n; i++)
            local[i] = ks_score_local(e, p, c, b.from + i);
        return;
    }
    memset(local, 0, (size_t)b.n * sizeof *local);
    if (plain->fit != NULL)
        score_fit(e, plain->fit, c, b, local);
    if (plain->balanced != NULL && !ks_score_skips(e, p, plain->balanced, c))
        score_balanced(e, plain->balanced, c, b, local);
}

/* ---- the column that is kept ---- */

/* Plain scores look at few amounts of a class. Classes that differ elsewhere (each asks for an extended resource of its
 * own, say) have the same column, of which only the rows that changed are scored anew. */
static void read_amounts(ks_kept *k, const ks_plain *plain, const ks_class *c) {
    for (int32_t i = 0; plain->fit != NULL && i < plain->fit->n_resources; i++)
        k->fit[i] = ks_amount_of(c->fit_request, c->n_fit_request, plain->fit->resource[i]);
    for (int32_t i = 0; plain->balanced != NULL && i < plain->balanced->n_resources; i++)
        k->balanced[i] = ks_amount_of(c->request, c->n_request, plain->balanced->resource[i]);
}

static bool is_kept(const ks_engine *e, const ks_kept *wanted) {
    const ks_kept *k = &e->kept;
    return k->position >= e->log_base && k->n_rows == e->n_rows && k->profile == wanted->profile &&
           memcmp(k->fit, wanted->fit, sizeof k->fit) == 0 &&
           memcmp(k->balanced, wanted->balanced, sizeof k->balanced) == 0 &&
           ks_log_end(e) - k->position <= e->n_rows / FEW;
}

static void keep_local(ks_engine *e, int32_t profile, const ks_plain *plain, const ks_class *c) {
    const ks_profile *p = &e->profiles.at[profile];
    int64_t *column = e->scratch.kept.at;
    ks_kept wanted = {.profile = profile, .n_rows = e->n_rows, .position = ks_log_end(e)};
    read_amounts(&wanted, plain, c);
    if (is_kept(e, &wanted)) {
        int64_t at = e->kept.position;
        bool is_static;
        for (int32_t row; (row = ks_log_next(e, &at, &is_static)) != KS_NONE;)
            column[row] = ks_score_local(e, p, c, row);
    } else {
        for (block b = {0, 0}; b.from < e->n_rows; b.from += BLOCK) {
            b.n = e->n_rows - b.from < BLOCK ? e->n_rows - b.from : BLOCK;
            score_block(e, p, plain, c, b, column + b.from);
        }
    }
    e->kept = wanted;
}

static void score_local(ks_engine *e, int32_t profile, const ks_plain *plain, const ks_class *c, int32_t feasible) {
    int64_t *local = e->scratch.local.at;
    if (feasible <= e->n_rows / FEW || !ks_is_narrow(c)) {
        for (int32_t row = 0; row < e->n_rows; row++)
            local[row] = e->scratch.feasible.at[row] ? ks_score_local(e, &e->profiles.at[profile], c, row) : 0;
        return;
    }
    keep_local(e, profile, plain, c);
    memcpy(local, e->scratch.kept.at, (size_t)e->n_rows * sizeof *local);
}

/* ---- normalised scores ---- */

/* Adds weight * normalised raw, raw being looked up by set. Reversed: fewer is better, as for taints. Returns what all
 * rows get alike instead of adding it. */
static int64_t add_by_set(const ks_engine *e, const int32_t *raw, int64_t n_sets, const int32_t *set, int64_t weight,
                          bool reversed, int64_t *total) {
    const uint8_t *open = e->scratch.feasible.at;
    int64_t max = 0;
    for (int64_t i = 0; i < n_sets; i++)
        max |= raw[i]; /* weights are not negative */
    bool is_flat = max == 0;
    max = 0;
    for (int32_t row = 0; !is_flat && row < e->n_rows; row++)
        max = open[row] && raw[set[row]] > max ? raw[set[row]] : max;
    if (max == 0)
        return weight * (reversed ? ks_normalize_taint(0, 0) : ks_normalize_up(0, 0));
    for (int32_t row = 0; row < e->n_rows; row++)
        total[row] +=
            weight * (reversed ? ks_normalize_taint(raw[set[row]], max) : ks_normalize_up(raw[set[row]], max));
    return 0;
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

static int64_t add_grouped(ks_engine *e, const ks_profile *p, const ks_class *c, int64_t *total) {
    int64_t all = 0;
    if (p->taint_weight > 0)
        all += add_by_set(e, c->taint_pref, c->n_taint, e->taint_set.at, p->taint_weight, true, total);
    if (p->affinity_weight > 0 && c->preferred.n_terms > 0) {
        if (c->by_node)
            add_by_node(e, c, p->affinity_weight, total);
        else
            all += add_by_set(e, c->label_pref, c->n_label, e->label_set.at, p->affinity_weight, false, total);
    }
    for (int32_t row = 0; p->image_weight > 0 && c->n_images > 0 && row < e->n_rows; row++)
        total[row] += p->image_weight * c->image_score[e->image_set.at[row]];
    if (p->claim_weight > 0 && c->raw.n > 0)
        add_claims(e, c, p->claim_weight, total);
    return all;
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

static ks_status reserve(ks_engine *e) {
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.feasible, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.local, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.kept, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.shut, e->n_rows));
    return KS_VEC_RESERVE(&e->mem, &e->scratch.affinity, e->n_rows);
}

static ks_status decide(ks_engine *e, int32_t profile, ks_class *c, int32_t tie, uint64_t *rng, ks_choice *out,
                        ks_summary *summary) {
    const ks_profile *p = &e->profiles.at[profile];
    ks_plain plain;
    if (!ks_scores_are_plain(p, &plain) || (p->filters & ~KNOWN_FILTERS) != 0)
        return KS_EUNSUPPORTED;
    if (e->within.is_on && e->within.n <= e->n_rows / FEW)
        return KS_EUNSUPPORTED; /* a few rows one by one are faster than whole columns */
    *out = (ks_choice){-1, KS_NONE, 0, 0};
    if (e->n_rows == 0)
        return KS_OK;
    KS_TRY(reserve(e));
    KS_TRY(ks_class_prepare(e, c));
    KS_TRY(ks_pairwise_prepare(e, c));
    KS_TRY(filter_all(e, p, c, e->scratch.feasible.at, summary, &out->feasible));
    if (out->feasible == 0)
        return KS_OK;
    score_local(e, profile, &plain, c, out->feasible);
    int64_t all = add_grouped(e, p, c, e->scratch.local.at);
    KS_TRY(add_pairwise(e, p, c, e->scratch.local.at));
    KS_TRY(ks_user_add_scores(e, p, c, e->scratch.feasible.at, e->scratch.local.at));
    choose(e, tie, rng, out);
    out->score += all;
    return KS_OK;
}

ks_status ks_sweep_decide(ks_engine *e, int32_t profile, ks_class *c, int32_t tie, uint64_t *rng, ks_choice *out) {
    return decide(e, profile, c, tie, rng, out, NULL);
}

ks_status ks_summarize(ks_engine *e, int32_t profile, int32_t class_id, ks_summary *out) {
    if (e == NULL || out == NULL || out->rejected == NULL || out->insufficient == NULL)
        return KS_EINVAL;
    if (profile < 0 || profile >= e->profiles.n || !ks_has_class(e, class_id))
        return KS_ERANGE;
    ks_choice best;
    memset(out->rejected, 0, (size_t)ks_n_rejected(e) * sizeof *out->rejected);
    memset(out->insufficient, 0, (size_t)e->n_resources * sizeof *out->insufficient);
    ks_class *c = &e->classes.at[class_id];
    KS_TRY(ks_find_vetoes(e, &e->profiles.at[profile], c));
    ks_status status = decide(e, profile, c, KS_TIE_LOWEST, NULL, &best, out);
    if (status == KS_EUNSUPPORTED) { /* other scores: theirs is the dense driver */
        KS_TRY(reserve(e));
        KS_TRY(ks_class_prepare(e, c));
        KS_TRY(ks_dense_decide(e, profile, c, KS_TIE_LOWEST, NULL, &best));
        KS_TRY(filter_all(e, &e->profiles.at[profile], c, e->scratch.feasible.at, out, &best.feasible));
    } else if (status != KS_OK) {
        return status;
    }
    out->feasible = best.feasible;
    out->score = best.score;
    out->ties = best.ties;
    out->node = best.node;
    return KS_OK;
}
