/* SPDX-License-Identifier: Apache-2.0
 * explain.c: why each row is or is not feasible, and how its score came about. */
#include "internal.h"

#include <string.h> /* memset */

enum { REMOVED = -2 };

typedef struct outputs {
    int32_t *filter;
    uint8_t *unresolvable;
    uint64_t *insufficient;
    int64_t *raw, *score;
    uint8_t *skipped;
    int64_t *total;
} outputs;

/* Source of what preemption can cure: the status codes of each plugin's Filter, v1.36. */
static bool is_unresolvable(const ks_engine *e, const ks_class *c, int32_t row, int32_t filter, uint64_t *bits) {
    if (filter == KS_FILTER_NODE_RESOURCES_FIT)
        return ks_fit_explain(e, c, row, bits);
    return filter != KS_NONE && filter != KS_FILTER_NODE_PORTS && filter != KS_FILTER_GPU_SHARE;
}

static void explain_filters(const ks_engine *e, const ks_profile *p, const ks_class *c, const outputs *o) {
    int32_t words = (e->n_resources + 63) / 64;
    uint64_t scrap[(KS_MAX_RESOURCES + 63) / 64];
    for (int32_t row = 0; row < e->n_rows; row++) {
        uint64_t *bits = o->insufficient == NULL ? scrap : o->insufficient + (int64_t)row * words;
        memset(bits, 0, (size_t)words * sizeof *bits);
        int32_t filter = e->live.at[row] ? ks_filter(e, p, c, row) : REMOVED;
        bool unresolvable = filter != REMOVED && is_unresolvable(e, c, row, filter, bits);
        o->filter[row] = filter;
        if (o->unresolvable != NULL)
            o->unresolvable[row] = unresolvable;
    }
}

/* Greatest raw value of a plugin over the feasible rows. */
static int64_t greatest(const ks_engine *e, const int32_t *filter, const int64_t *raw) {
    int64_t max = 0;
    for (int32_t row = 0; row < e->n_rows; row++)
        if (filter[row] == KS_NONE && raw[row] > max)
            max = raw[row];
    return max;
}

static int64_t normalized(const ks_score *s, int64_t raw, int64_t max) {
    if (s->plugin == KS_SCORE_TAINT_TOLERATION)
        return ks_normalize_taint(raw, max);
    return s->plugin == KS_SCORE_NODE_AFFINITY ? ks_normalize_affinity(raw, max) : raw;
}

/* One plugin over all feasible rows; `column` is scratch of N entries. */
static void explain_score(ks_engine *e, const ks_score *s, const ks_class *c, int32_t at, int64_t *column,
                          const outputs *o) {
    int64_t offset = (int64_t)at * e->n_rows;
    bool skipped = ks_score_skips(s, c);
    if (o->skipped != NULL)
        o->skipped[at] = skipped;
    for (int32_t row = 0; row < e->n_rows; row++)
        column[row] = o->filter[row] == KS_NONE && !skipped ? ks_score_one(e, s, c, row) : 0;
    int64_t max = greatest(e, o->filter, column);
    for (int32_t row = 0; row < e->n_rows; row++) {
        int64_t score = o->filter[row] == KS_NONE && !skipped ? normalized(s, column[row], max) : 0;
        if (o->raw != NULL)
            o->raw[offset + row] = column[row];
        if (o->score != NULL)
            o->score[offset + row] = score;
        if (o->total != NULL && o->filter[row] == KS_NONE)
            o->total[row] += s->weight * score;
    }
}

ks_status ks_explain(ks_engine *e, int32_t profile, int32_t class_id, int32_t *filter, uint8_t *unresolvable,
                     uint64_t *insufficient, int64_t *raw, int64_t *score, uint8_t *skipped, int64_t *total) {
    if (e == NULL)
        return KS_EINVAL;
    if (profile < 0 || profile >= e->profiles.n || class_id < 0 || class_id >= e->classes.n)
        return KS_ERANGE;
    const ks_profile *p = &e->profiles.at[profile];
    ks_class *c = &e->classes.at[class_id];
    KS_TRY(ks_class_prepare(e, c));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.local, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.taint, e->n_rows));
    outputs o = {filter == NULL ? e->scratch.taint.at : filter, unresolvable, insufficient, raw, score, skipped, total};
    explain_filters(e, p, c, &o);
    for (int32_t row = 0; total != NULL && row < e->n_rows; row++)
        total[row] = o.filter[row] == KS_NONE ? 0 : -1;
    for (int32_t i = 0; i < p->n_scores; i++)
        explain_score(e, &p->scores[i], c, i, e->scratch.local.at, &o);
    return KS_OK;
}
