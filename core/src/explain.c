/* SPDX-License-Identifier: Apache-2.0
 * explain.c: why each row is or is not feasible, and how its score came about. */
#include "internal.h"

#include <string.h> /* memset */

enum { REMOVED = -2 };

typedef struct outputs {
    int32_t *filter;
    uint8_t *unresolvable, *detail;
    uint64_t *insufficient;
    int64_t *raw, *score;
    uint8_t *skipped;
    int64_t *total;
} outputs;

static void explain_row(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row, ks_verdict *out) {
    size_t bytes = (size_t)((e->n_resources + 63) / 64) * sizeof *out->insufficient;
    const ks_veto *veto = ks_is_within(e, row) ? ks_veto_of(e, row) : NULL;
    if (veto != NULL) {
        out->filter = veto->filter;
        out->detail = veto->detail;
        out->unresolvable = veto->unresolvable;
        memcpy(out->insufficient, ks_veto_insufficient(e, veto), bytes);
        return;
    }
    memset(out->insufficient, 0, bytes);
    out->detail = KS_DETAIL_NONE;
    out->filter = e->live.at[row] && ks_is_within(e, row) ? ks_filter(e, p, c, row, &out->detail) : REMOVED;
    if (out->filter == KS_FILTER_NODE_RESOURCES_FIT)
        ks_fit_explain(e, c, row, out->insufficient);
    out->unresolvable = out->filter >= 0 && ks_is_unresolvable(e, c, row, out->filter, out->detail);
}

static void explain_filters(const ks_engine *e, const ks_profile *p, const ks_class *c, const outputs *o) {
    int32_t words = (e->n_resources + 63) / 64;
    uint64_t scrap[(KS_MAX_RESOURCES + 63) / 64];
    for (int32_t row = 0; row < e->n_rows; row++) {
        ks_verdict verdict = {.insufficient = o->insufficient == NULL ? scrap : o->insufficient + (int64_t)row * words};
        explain_row(e, p, c, row, &verdict);
        o->filter[row] = verdict.filter;
        if (o->detail != NULL)
            o->detail[row] = verdict.detail & (uint8_t)~KS_VERDICT_UNRESOLVABLE;
        if (o->unresolvable != NULL)
            o->unresolvable[row] = verdict.unresolvable;
    }
}

/* Greatest raw value of a plugin over the feasible rows. */
static int64_t greatest(const ks_engine *e, const int64_t *raw) {
    int64_t max = 0;
    for (int32_t row = 0; row < e->n_rows; row++)
        if (e->scratch.feasible.at[row] && raw[row] > max)
            max = raw[row];
    return max;
}

/* Raw scores of all feasible rows; a row that the plugin ignores shows 0. */
static ks_status score_column(ks_engine *e, const ks_profile *p, const ks_score *s, ks_class *c, int64_t *column) {
    const uint8_t *feasible = e->scratch.feasible.at;
    if (s->plugin == KS_SCORE_POD_TOPOLOGY_SPREAD)
        KS_TRY(ks_spread_score(e, c, feasible));
    if (s->plugin == KS_SCORE_INTER_POD_AFFINITY)
        KS_TRY(ks_pods_score(e, p, c, feasible));
    if (ks_is_user_score(s->plugin))
        return ks_user_score_rows(e, s->plugin, c, feasible, column);
    const int64_t *pairwise = s->plugin == KS_SCORE_POD_TOPOLOGY_SPREAD ? e->scratch.spread.at : e->scratch.pods.at;
    for (int32_t row = 0; row < e->n_rows; row++) {
        column[row] = !feasible[row] ? 0 : ks_is_pairwise(s->plugin) ? pairwise[row] : ks_score_one(e, s, c, row);
        column[row] = column[row] == KS_IGNORED ? 0 : column[row];
    }
    return KS_OK;
}

static void normalize_column(ks_engine *e, const ks_score *s, int64_t *column) {
    const uint8_t *feasible = e->scratch.feasible.at;
    const int64_t *pairwise = s->plugin == KS_SCORE_POD_TOPOLOGY_SPREAD ? e->scratch.spread.at : e->scratch.pods.at;
    if (ks_is_user_score(s->plugin)) {
        ks_user_normalize(e, s->plugin, feasible, column);
        return;
    }
    int64_t max = greatest(e, column);
    if (s->plugin == KS_SCORE_POD_TOPOLOGY_SPREAD)
        ks_normalize_spread_column(feasible, e->scratch.spread.at, e->n_rows);
    if (s->plugin == KS_SCORE_INTER_POD_AFFINITY)
        ks_normalize_pods_column(feasible, e->scratch.pods.at, e->n_rows);
    for (int32_t row = 0; row < e->n_rows; row++) {
        if (!feasible[row])
            continue;
        if (ks_is_pairwise(s->plugin))
            column[row] = pairwise[row];
        else if (s->plugin == KS_SCORE_TAINT_TOLERATION)
            column[row] = ks_normalize_taint(column[row], max);
        else if (s->plugin == KS_SCORE_NODE_AFFINITY || s->plugin == KS_SCORE_DYNAMIC_RESOURCES)
            column[row] = ks_normalize_up(column[row], max);
    }
}

/* One plugin over all feasible rows; `column` is scratch of N entries. */
static ks_status explain_score(ks_engine *e, const ks_profile *p, int32_t at, ks_class *c, int64_t *column,
                               const outputs *o) {
    const ks_score *s = &p->scores[at];
    int64_t offset = (int64_t)at * e->n_rows;
    size_t bytes = (size_t)e->n_rows * sizeof *column;
    bool skipped = ks_score_skips(e, p, s, c);
    if (o->skipped != NULL)
        o->skipped[at] = skipped;
    memset(column, 0, bytes);
    if (!skipped)
        KS_TRY(score_column(e, p, s, c, column));
    if (o->raw != NULL && bytes > 0)
        memcpy(o->raw + offset, column, bytes);
    if (!skipped)
        normalize_column(e, s, column);
    if (o->score != NULL && bytes > 0)
        memcpy(o->score + offset, column, bytes);
    for (int32_t row = 0; o->total != NULL && row < e->n_rows; row++)
        if (e->scratch.feasible.at[row])
            o->total[row] += s->weight * column[row];
    return KS_OK;
}

ks_status ks_explain(ks_engine *e, int32_t profile, int32_t class_id, int32_t *filter, uint8_t *unresolvable,
                     uint8_t *detail, uint64_t *insufficient, int64_t *raw, int64_t *score, uint8_t *skipped,
                     int64_t *total) {
    if (e == NULL)
        return KS_EINVAL;
    if (profile < 0 || profile >= e->profiles.n || !ks_has_class(e, class_id))
        return KS_ERANGE;
    const ks_profile *p = &e->profiles.at[profile];
    ks_class *c = &e->classes.at[class_id];
    KS_TRY(ks_class_prepare(e, c));
    KS_TRY(ks_pairwise_prepare(e, c));
    KS_TRY(ks_find_vetoes(e, p, c));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.local, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.taint, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.feasible, e->n_rows));
    outputs o = {
        filter == NULL ? e->scratch.taint.at : filter, unresolvable, detail, insufficient, raw, score, skipped, total};
    explain_filters(e, p, c, &o);
    for (int32_t row = 0; row < e->n_rows; row++) {
        e->scratch.feasible.at[row] = o.filter[row] == KS_NONE;
    }
    KS_TRY(ks_user_filter_rows(e, p, c, e->scratch.feasible.at, o.filter, NULL));
    for (int32_t row = 0; total != NULL && row < e->n_rows; row++)
        total[row] = e->scratch.feasible.at[row] ? 0 : -1;
    for (int32_t i = 0; i < p->n_scores; i++)
        KS_TRY(explain_score(e, p, i, c, e->scratch.local.at, &o));
    return KS_OK;
}
