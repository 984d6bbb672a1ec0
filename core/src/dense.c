/* SPDX-License-Identifier: Apache-2.0
 * dense.c: the driver that looks at every row (of the placement at hand, where there is one). It defines the answer;
 * the indexed driver must give the same.
 *
 * Two passes over the rows: filter and score the feasible ones, keeping the greatest raw values that normalisation
 * needs; then normalise, weigh, and find the best total, how many reach it, and the first (or a uniform) one of them.
 */
#include "internal.h"

#include <string.h> /* memset */

/* Greatest raw values over the feasible rows, and normalised columns of the pairwise plugins, NULL where absent. */
typedef struct maxima {
    int64_t taint, affinity, claim;
    int32_t feasible;
    const int64_t *spread, *pods;
} maxima;

ks_status ks_dense_reserve(ks_engine *e) {
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.feasible, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.local, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.taint, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.affinity, e->n_rows));
    return KS_VEC_RESERVE(&e->mem, &e->scratch.image, e->n_rows);
}

/* ---- scores ---- */

static ks_status filter_rows(ks_engine *e, const ks_profile *p, const ks_class *c) {
    uint8_t detail;
    if (e->within.is_on)
        memset(e->scratch.feasible.at, 0, (size_t)e->n_rows);
    for (int32_t i = 0; i < ks_n_within(e); i++) {
        int32_t row = ks_row_within(e, i);
        e->scratch.feasible.at[row] =
            e->live.at[row] && ks_veto_of(e, row) == NULL && ks_filter(e, p, c, row, &detail) == KS_NONE;
    }
    return ks_user_filter_rows(e, p, c, e->scratch.feasible.at, NULL, NULL);
}

static maxima score_rows(ks_engine *e, const ks_profile *p, const ks_class *c) {
    maxima m = {0};
    ks_scratch *s = &e->scratch;
    for (int32_t i = 0; i < ks_n_within(e); i++) {
        int32_t row = ks_row_within(e, i);
        if (!s->feasible.at[row])
            continue;
        s->local.at[row] = ks_score_local(e, p, c, row);
        s->taint.at[row] = c->taint_pref[e->taint_set.at[row]];
        s->affinity.at[row] = c->preferred.n_terms > 0 ? ks_affinity_weight(e, c, row) : 0;
        s->image.at[row] = c->image_score[e->image_set.at[row]];
        m.taint = s->taint.at[row] > m.taint ? s->taint.at[row] : m.taint;
        m.affinity = s->affinity.at[row] > m.affinity ? s->affinity.at[row] : m.affinity;
        m.claim = ks_raw_of(c, row) > m.claim ? ks_raw_of(c, row) : m.claim;
        m.feasible++;
    }
    return m;
}

static ks_status score_pairwise(ks_engine *e, const ks_profile *p, ks_class *c, maxima *m) {
    const uint8_t *feasible = e->scratch.feasible.at;
    if (p->spread_weight > 0 && c->pairwise.n_soft > 0) {
        KS_TRY(ks_spread_score(e, c, feasible));
        ks_normalize_spread_column(feasible, e->scratch.spread.at, e->n_rows);
        m->spread = e->scratch.spread.at;
    }
    if (p->pods_weight > 0 && !ks_pods_score_skips(e, p, c)) {
        KS_TRY(ks_pods_score(e, p, c, feasible));
        ks_normalize_pods_column(feasible, e->scratch.pods.at, e->n_rows);
        m->pods = e->scratch.pods.at;
    }
    return KS_OK;
}

static int64_t total_of(const ks_engine *e, const ks_profile *p, const ks_class *c, const maxima *m, int32_t row) {
    const ks_scratch *s = &e->scratch;
    int64_t total = s->local.at[row];
    if (p->taint_weight > 0)
        total += p->taint_weight * ks_normalize_taint(s->taint.at[row], m->taint);
    if (p->affinity_weight > 0)
        total += p->affinity_weight * ks_normalize_up(s->affinity.at[row], m->affinity);
    if (m->claim > 0)
        total += p->claim_weight * ks_normalize_up(ks_raw_of(c, row), m->claim);
    if (m->spread != NULL)
        total += p->spread_weight * m->spread[row];
    if (m->pods != NULL)
        total += p->pods_weight * m->pods[row];
    return total + p->image_weight * s->image.at[row];
}

static int32_t nth_with_total(const ks_engine *e, const ks_profile *p, const ks_class *c, const maxima *m,
                              int64_t total, uint32_t wanted) {
    for (int32_t i = 0; i < ks_n_within(e); i++) {
        int32_t row = ks_row_within(e, i);
        if (e->scratch.feasible.at[row] && total_of(e, p, c, m, row) == total && wanted-- == 0)
            return row;
    }
    return KS_NONE;
}

ks_status ks_dense_choose(ks_engine *e, const ks_profile *p, ks_class *c, int32_t tie, uint64_t *rng, ks_choice *out) {
    maxima m = score_rows(e, p, c);
    KS_TRY(ks_user_add_scores(e, p, c, e->scratch.feasible.at, e->scratch.local.at));
    KS_TRY(score_pairwise(e, p, c, &m));
    *out = (ks_choice){INT64_MIN, KS_NONE, 0, m.feasible}; /* policies go below 0 on machines beyond their scale */
    for (int32_t i = 0; i < ks_n_within(e); i++) {
        int32_t row = ks_row_within(e, i);
        if (!e->scratch.feasible.at[row])
            continue;
        int64_t total = total_of(e, p, c, &m, row);
        if (total > out->score)
            *out = (ks_choice){total, row, 1, m.feasible};
        else if (total == out->score)
            out->ties++;
    }
    if (out->node == KS_NONE)
        out->score = -1;
    if (tie == KS_TIE_UNIFORM && out->ties > 1)
        out->node = nth_with_total(e, p, c, &m, out->score, ks_random_below(rng, (uint32_t)out->ties));
    return KS_OK;
}

ks_status ks_dense_decide(ks_engine *e, int32_t profile, ks_class *c, int32_t tie, uint64_t *rng, ks_choice *out) {
    const ks_profile *p = &e->profiles.at[profile];
    KS_TRY(ks_dense_reserve(e));
    KS_TRY(ks_pairwise_prepare(e, c));
    KS_TRY(filter_rows(e, p, c));
    return ks_dense_choose(e, p, c, tie, rng, out);
}
