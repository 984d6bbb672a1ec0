/* SPDX-License-Identifier: Apache-2.0
 * verdicts.c: filters and scores of a class that the caller computes: plugins with more state than the engine knows,
 * such as claims. A column per class and plugin; whoever owns that state sets the rows that changed. And two columns
 * for each extended resource that devices stand in for, which NodeResourcesFit and BalancedAllocation score. */
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

/* ---- devices in place of extended resources ---- */

static ks_status find_stand_in(ks_engine *e, int32_t resource, ks_stand_in **out) {
    for (int64_t i = 0; i < e->stand_ins.n; i++)
        if (e->stand_ins.at[i].resource == resource) {
            *out = &e->stand_ins.at[i];
            return KS_OK;
        }
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->stand_ins, e->stand_ins.n + 1));
    *out = &e->stand_ins.at[e->stand_ins.n];
    return KS_OK;
}

static bool is_amount(int64_t amount) { return amount >= 0 && amount <= KS_MAX_QUANTITY; }

ks_status ks_stand_in_set(ks_engine *e, int32_t resource, int32_t n, const int32_t *row, const int64_t *total,
                          const int64_t *taken) {
    if (e == NULL || n < 0 || (n > 0 && (row == NULL || total == NULL || taken == NULL)))
        return KS_EINVAL;
    if (resource < KS_FIRST_EXTENDED || resource >= e->n_resources)
        return KS_ERANGE;
    for (int32_t i = 0; i < n; i++) {
        if (row[i] < 0 || row[i] >= e->n_rows)
            return KS_ERANGE;
        if (!is_amount(total[i]) || !is_amount(taken[i]))
            return KS_EINVAL;
    }
    ks_stand_in *s;
    KS_TRY(find_stand_in(e, resource, &s));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->total, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->taken, e->n_rows));
    KS_TRY(ks_log_reserve(e, n));
    if (s == &e->stand_ins.at[e->stand_ins.n])
        e->stand_ins.n++;
    s->resource = resource;
    s->total.n = s->taken.n = e->n_rows;
    for (int32_t i = 0; i < n; i++) {
        if (s->total.at[row[i]] == total[i] && s->taken.at[row[i]] == taken[i])
            continue;
        s->total.at[row[i]] = total[i];
        s->taken.at[row[i]] = taken[i];
        ks_log_row(e, row[i], false);
    }
    return KS_OK;
}

void ks_stand_in_of(const ks_engine *e, int32_t resource, int32_t row, int64_t *total, int64_t *taken) {
    *total = *taken = 0;
    for (int64_t i = 0; i < e->stand_ins.n; i++) {
        const ks_stand_in *s = &e->stand_ins.at[i];
        if (s->resource == resource && row < s->total.n) {
            *total = s->total.at[row];
            *taken = s->taken.at[row];
        }
    }
}

void ks_stand_ins_free(ks_engine *e) {
    for (int64_t i = 0; i < e->stand_ins.cap; i++) {
        KS_VEC_DISCARD(&e->mem, &e->stand_ins.at[i].total);
        KS_VEC_DISCARD(&e->mem, &e->stand_ins.at[i].taken);
    }
    KS_VEC_DISCARD(&e->mem, &e->stand_ins);
}
