/* SPDX-License-Identifier: Apache-2.0
 * verdicts.c: filters and scores of a class that the caller computes: plugins with more state than the engine knows,
 * such as claims. A column per class and plugin; whoever owns that state sets the rows that changed. */
#include "internal.h"

static const int64_t MOST_RAW = 1000000; /* arbitrary: 100 times it stays far inside int64 */

static bool is_callers(int32_t filter) {
    return (filter >= KS_FILTER_VOLUME_RESTRICTIONS && filter <= KS_FILTER_VOLUME_ZONE) ||
           filter == KS_FILTER_DYNAMIC_RESOURCES || filter == KS_FILTER_NODE_DECLARED_FEATURES;
}

static ks_status check_rows(const ks_engine *e, int32_t class_id, int32_t n, const int32_t *row) {
    if (n < 0)
        return KS_EINVAL;
    if (!ks_has_class(e, class_id) || (row == NULL && n != e->n_rows))
        return KS_ERANGE;
    for (int32_t i = 0; row != NULL && i < n; i++)
        if (row[i] < 0 || row[i] >= e->n_rows)
            return KS_ERANGE;
    return KS_OK;
}

static ks_status find_column(ks_engine *e, int32_t class_id, int32_t filter, ks_verdicts **out) {
    ks_class *c = &e->classes.at[class_id];
    for (int64_t i = 0; i < c->verdicts.n; i++)
        if (c->verdicts.at[i].filter == filter) {
            *out = &c->verdicts.at[i];
            return KS_OK;
        }
    KS_TRY(KS_VEC_RESERVE(&e->mem, &c->verdicts, c->verdicts.n + 1));
    *out = &c->verdicts.at[c->verdicts.n];
    (*out)->filter = filter;
    return KS_OK;
}

ks_status ks_class_verdicts(ks_engine *e, int32_t class_id, int32_t filter, int32_t n, const int32_t *row,
                            const uint8_t *code) {
    if (e == NULL || (n > 0 && code == NULL) || !is_callers(filter))
        return KS_EINVAL;
    KS_TRY(check_rows(e, class_id, n, row));
    ks_verdicts *v;
    KS_TRY(find_column(e, class_id, filter, &v));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &v->code, e->n_rows));
    KS_TRY(ks_log_reserve(e, n));
    ks_class *c = &e->classes.at[class_id];
    if (v == &c->verdicts.at[c->verdicts.n]) {
        c->verdicts.n++;
        ks_indexes_forget(e, class_id);
    }
    v->code.n = e->n_rows;
    for (int32_t i = 0; i < n; i++) {
        int32_t at = row == NULL ? i : row[i];
        if (v->code.at[at] == code[i])
            continue;
        v->code.at[at] = code[i];
        ks_log_row(e, at, false);
    }
    return KS_OK;
}

ks_status ks_class_raw(ks_engine *e, int32_t class_id, int32_t score, int32_t n, const int32_t *row,
                       const int64_t *raw) {
    if (e == NULL || (n > 0 && raw == NULL) || score != KS_SCORE_DYNAMIC_RESOURCES)
        return KS_EINVAL;
    KS_TRY(check_rows(e, class_id, n, row));
    for (int32_t i = 0; i < n; i++)
        if (raw[i] < 0 || raw[i] > MOST_RAW)
            return KS_EINVAL;
    ks_class *c = &e->classes.at[class_id];
    KS_TRY(KS_VEC_RESERVE(&e->mem, &c->raw, e->n_rows));
    KS_TRY(ks_log_reserve(e, n));
    if (c->raw.n == 0)
        ks_cells_forget(c); /* from now on rows differ by it */
    c->raw.n = e->n_rows;
    for (int32_t i = 0; i < n; i++) {
        int32_t at = row == NULL ? i : row[i];
        if (c->raw.at[at] == raw[i])
            continue;
        c->raw.at[at] = raw[i];
        ks_log_row(e, at, false);
    }
    return KS_OK;
}

void ks_class_verdicts_free(ks_engine *e, ks_class *c) {
    for (int64_t i = 0; i < c->verdicts.cap; i++)
        KS_VEC_DISCARD(&e->mem, &c->verdicts.at[i].code);
    KS_VEC_DISCARD(&e->mem, &c->verdicts);
    KS_VEC_DISCARD(&e->mem, &c->raw);
}
