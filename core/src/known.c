/* SPDX-License-Identifier: Apache-2.0
 * known.c: running pods that can be told apart, and the budgets that protect them.
 *
 * Deciding needs no more of a running pod than its class. Evicting does: its priority, when it started, which budgets
 * it counts for. Callers that want to evict make pods known after they were bound or placed, and forget them when they
 * are released; each known pod costs 44 bytes. A row lists its known pods as upstream's NodeInfo does: newest last, and
 * the last takes the place of one that leaves, because equally important pods keep that order. */
#include "internal.h"

static ks_status check_known(const ks_engine *e, const ks_known_spec *s, int32_t i) {
    if (!ks_has_class(e, s->class_id[i]) || s->node[i] < 0 || s->node[i] >= e->n_rows || !e->live.at[s->node[i]])
        return KS_ERANGE;
    int64_t sets = e->known.budget_start.n == 0 ? 1 : e->known.budget_start.n;
    return s->budgets != NULL && (s->budgets[i] < 0 || s->budgets[i] >= sets) ? KS_ERANGE : KS_OK;
}

ks_status ks_known_reserve(ks_engine *e, int32_t row) {
    ks_known_table *k = &e->known;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->on, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->pods, k->pods.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->free, k->pods.n + 1)); /* forgetting needs no memory */
    if (e->holds.asker.n > 0)
        KS_TRY(KS_VEC_RESERVE(&e->mem, &e->holds.of[KS_HOLDS_POD], k->pods.n + 1));
    return ks_row_list_reserve(&e->mem, &k->on.at[row], (int64_t)k->on.at[row].n + 1);
}

int32_t ks_known_add(ks_engine *e, ks_known pod) {
    ks_known_table *k = &e->known;
    int32_t handle = k->free.n > 0 ? k->free.at[--k->free.n] : (int32_t)k->pods.n++;
    k->pods.at[handle] = pod;
    k->on.at[pod.row].at[k->on.at[pod.row].n++] = handle;
    ks_log_surely(e, pod.row); /* what came between may have taken the room that a caller made in the log */
    return handle;
}

void ks_known_drop(ks_engine *e, int32_t handle) {
    ks_known_table *k = &e->known;
    int32_t row = k->pods.at[handle].row;
    if (row != KS_NONE) {
        ks_row_list *list = &k->on.at[row];
        int32_t at = 0;
        while (list->at[at] != handle)
            at++;
        list->at[at] = list->at[--list->n];
    }
    k->pods.at[handle].row = KS_FREE_HANDLE;
    ks_holds_drop(e, KS_HOLDS_POD, handle);
    k->free.at[k->free.n++] = handle;
}

void ks_known_clear(ks_engine *e, int32_t row) {
    ks_holds_drop(e, KS_HOLDS_ATTACHED, row);
    ks_holds_drop(e, KS_HOLDS_LIMIT, row);
    if (row >= e->known.on.cap)
        return;
    ks_row_list *list = &e->known.on.at[row];
    for (int32_t i = 0; i < list->n; i++)
        e->known.pods.at[list->at[i]].row = KS_NONE;
    list->n = 0;
}

static ks_known known_of(const ks_known_spec *s, int32_t i) {
    return (ks_known){.started = s->started[i],
                      .devices = s->devices == NULL ? 0 : s->devices[i],
                      .class_id = s->class_id[i],
                      .row = s->node[i],
                      .priority = s->priority[i],
                      .budgets = s->budgets == NULL ? 0 : s->budgets[i]};
}

ks_status ks_pods_know(ks_engine *e, const ks_known_spec *s, int32_t *handle) {
    if (e == NULL || s == NULL || s->n < 0)
        return KS_EINVAL;
    if (s->n > 0 && (!s->class_id || !s->node || !s->priority || !s->started || !handle))
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n; i++)
        KS_TRY(check_known(e, s, i));
    for (int32_t i = 0; i < s->n; i++) {
        ks_status status = ks_known_reserve(e, s->node[i]);
        if (status != KS_OK) { /* all or none */
            while (i-- > 0)
                ks_known_drop(e, handle[i]);
            return status;
        }
        handle[i] = ks_known_add(e, known_of(s, i));
    }
    return KS_OK;
}

ks_status ks_pods_forget(ks_engine *e, int32_t n, const int32_t *handle) {
    if (e == NULL || n < 0 || (n > 0 && handle == NULL))
        return KS_EINVAL;
    for (int32_t i = 0; i < n; i++)
        if (handle[i] < 0 || handle[i] >= e->known.pods.n)
            return KS_ERANGE;
    KS_TRY(ks_log_reserve(e, n));
    for (int32_t i = 0; i < n; i++) {
        int32_t row = e->known.pods.at[handle[i]].row;
        if (row == KS_FREE_HANDLE)
            continue; /* listed twice */
        ks_known_drop(e, handle[i]);
        if (row != KS_NONE)
            ks_log_row(e, row, false);
    }
    return KS_OK;
}

/* ---- budgets ---- */

ks_status ks_budgets_set(ks_engine *e, int32_t n, const int32_t *allowed) {
    if (e == NULL || n < 0 || (n > 0 && allowed == NULL))
        return KS_EINVAL;
    ks_known_table *k = &e->known;
    if (n < k->allowed.n)
        return KS_ESTATE; /* a set may name the budget */
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->allowed, n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->left, n));
    for (int32_t i = 0; i < n; i++)
        k->allowed.at[i] = allowed[i];
    k->allowed.n = n;
    k->version++;
    return KS_OK;
}

ks_status ks_budget_set_add(ks_engine *e, int32_t n, const int32_t *budget, int32_t *out_id) {
    if (e == NULL || n < 0 || out_id == NULL || (n > 0 && budget == NULL))
        return KS_EINVAL;
    ks_known_table *k = &e->known;
    for (int32_t i = 0; i < n; i++)
        if (budget[i] < 0 || budget[i] >= k->allowed.n)
            return KS_ERANGE;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->budget_start, k->budget_start.n + 2));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->budget, k->budget.n + n));
    if (k->budget_start.n == 0) /* set 0 is empty; the entry behind the last set holds its end, 0 at first */
        k->budget_start.n = 1;
    for (int32_t i = 0; i < n; i++)
        k->budget.at[k->budget.n++] = budget[i];
    *out_id = (int32_t)k->budget_start.n++;
    k->budget_start.at[k->budget_start.n] = (int32_t)k->budget.n;
    return KS_OK;
}

bool ks_budgets_take(ks_engine *e, int32_t set) {
    const ks_known_table *k = &e->known;
    bool broken = false;
    if (set == 0)
        return false;
    for (int32_t i = k->budget_start.at[set]; i < k->budget_start.at[set + 1]; i++)
        broken |= --k->left.at[k->budget.at[i]] < 0;
    return broken;
}

void ks_known_free(ks_engine *e) {
    ks_known_table *k = &e->known;
    for (int64_t i = 0; i < k->on.cap; i++)
        ks_row_list_discard(&e->mem, &k->on.at[i]);
    KS_VEC_DISCARD(&e->mem, &k->on);
    KS_VEC_DISCARD(&e->mem, &k->pods);
    KS_VEC_DISCARD(&e->mem, &k->free);
    KS_VEC_DISCARD(&e->mem, &k->allowed);
    KS_VEC_DISCARD(&e->mem, &k->left);
    KS_VEC_DISCARD(&e->mem, &k->budget_start);
    KS_VEC_DISCARD(&e->mem, &k->budget);
}
