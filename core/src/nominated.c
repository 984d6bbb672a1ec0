/* SPDX-License-Identifier: Apache-2.0
 * nominated.c: pods that wait for a node on which others were evicted for them.
 *
 * A pod must yield to those of its own or higher priority: a node passes only if it passes with them on it, and without
 * them. Few rows hold one, so they are judged beforehand, each with its nominated pods bound for a moment; the others
 * are nobody's business. Source: framework/runtime RunFilterPluginsWithNominatedPods, v1.36. */
#include "internal.h"

ks_status ks_nominate(ks_engine *e, int32_t n, const int32_t *class_id, const int32_t *node, const int32_t *priority,
                      int32_t *handle) {
    if (e == NULL || n < 0 || (n > 0 && (!class_id || !node || !priority || !handle)))
        return KS_EINVAL;
    for (int32_t i = 0; i < n; i++)
        if (!ks_has_class(e, class_id[i]) || node[i] < 0 || node[i] >= e->n_rows)
            return KS_ERANGE;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->nominated, e->nominated.n + n));
    KS_TRY(ks_log_reserve(e, n));
    for (int32_t i = 0; i < n; i++) {
        handle[i] = (int32_t)e->nominated.n;
        e->nominated.at[e->nominated.n++] = (ks_nominated){class_id[i], node[i], priority[i]};
        ks_log_row(e, node[i], false);
    }
    return KS_OK;
}

/* The list is short; handles at its end are given out again. */
ks_status ks_unnominate(ks_engine *e, int32_t n, const int32_t *handle) {
    if (e == NULL || n < 0 || (n > 0 && handle == NULL))
        return KS_EINVAL;
    for (int32_t i = 0; i < n; i++)
        if (handle[i] < 0 || handle[i] >= e->nominated.n)
            return KS_ERANGE;
    KS_TRY(ks_log_reserve(e, n));
    for (int32_t i = 0; i < n; i++) {
        ks_nominated *of = &e->nominated.at[handle[i]];
        if (of->row != KS_NONE)
            ks_log_row(e, of->row, false);
        of->row = KS_NONE;
        ks_holds_drop(e, KS_HOLDS_NOMINATED, handle[i]);
    }
    while (e->nominated.n > 0 && e->nominated.at[e->nominated.n - 1].row == KS_NONE)
        e->nominated.n--;
    return KS_OK;
}

ks_status ks_asking(ks_engine *e, int32_t priority, int32_t nominated) {
    if (e == NULL)
        return KS_EINVAL;
    if (nominated != KS_NONE && (nominated < 0 || nominated >= e->nominated.n))
        return KS_ERANGE;
    e->asking = (ks_asker){true, priority, nominated};
    return ks_holds_ask(e, NULL, 0, 0, false);
}

ks_status ks_asked(ks_engine *e) {
    if (e == NULL)
        return KS_EINVAL;
    e->asking = (ks_asker){false, 0, KS_NONE};
    return ks_holds_ask(e, NULL, 0, 0, false);
}

static bool must_yield(const ks_engine *e, int32_t handle, int32_t row) {
    const ks_nominated *of = &e->nominated.at[handle];
    return of->row == row && of->priority >= e->asking.priority && handle != e->asking.nominated;
}

bool ks_has_nominated(const ks_engine *e, int32_t row) {
    for (int32_t i = 0; e->asking.is_on && i < e->nominated.n; i++)
        if (must_yield(e, i, row))
            return true;
    return false;
}

/* ---- one row, as it is now ---- */

/* Upstream's PreFilter lets InterPodAffinity out where nothing that runs rejects the pod and it has no terms; pods that
 * are thought onto a node afterwards do not bring it back. Before anything is moved. */
static void note_skips(ks_engine *e, const ks_class *c) {
    const ks_pairwise *w = &c->pairwise;
    e->skips_pods = w->n_affinity + w->n_anti == 0;
    for (int32_t i = 0; e->skips_pods && i < w->n_existing; i++)
        e->skips_pods = e->tallies.at[w->existing[i].tally].total == 0;
}

ks_status ks_start_judging(ks_engine *e, ks_class *c) {
    KS_TRY(ks_class_prepare(e, c));
    KS_TRY(ks_pairwise_prepare(e, c));
    note_skips(e, c);
    return KS_VEC_RESERVE(&e->mem, &e->scratch.bits, (e->n_resources + 63) / 64);
}

/* Volumes whose say depends on who is on the row: columns tell it as long as nobody moved. */
static bool follows_holds(const ks_engine *e, int32_t filter, const ks_moved *moved) {
    return moved->n_gone + moved->n_come > 0 && e->holds.asker.n > 0 &&
           (filter == KS_FILTER_VOLUME_RESTRICTIONS || filter == KS_FILTER_NODE_VOLUME_LIMITS);
}

/* First failing filter of the row without regard to nominated pods. */
static ks_status judge_once(ks_engine *e, const ks_profile *p, ks_class *c, int32_t row, const ks_moved *moved,
                            ks_verdict *out) {
    if (ks_has_pairwise(c))
        KS_TRY(ks_pairwise_prepare(e, c));
    out->filter = KS_NONE;
    for (int32_t i = 0; i < p->n_filters && out->filter == KS_NONE; i++) {
        int32_t filter = p->filter[i];
        if (filter == KS_FILTER_INTER_POD_AFFINITY && e->skips_pods)
            continue;
        out->detail =
            follows_holds(e, filter, moved) ? ks_holds_fail(e, filter, row, moved) : ks_filter_fails(e, c, row, filter);
        if (out->detail != KS_DETAIL_NONE)
            out->filter = filter;
    }
    if (out->filter == KS_NONE) {
        KS_TRY(ks_user_filter(e, p, c, row, &out->filter));
        out->detail = out->filter == KS_NONE ? KS_DETAIL_NONE : KS_DETAIL_USER;
    }
    out->unresolvable = out->filter != KS_NONE && ks_is_unresolvable(e, c, row, out->filter, out->detail);
    if (out->filter == KS_FILTER_NODE_RESOURCES_FIT)
        ks_fit_explain(e, c, row, out->insufficient);
    return KS_OK;
}

static ks_status bind_nominated(ks_engine *e, int32_t row, ks_moved *moved) {
    for (int32_t i = 0; i < e->nominated.n; i++) {
        if (!must_yield(e, i, row))
            continue;
        KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.come, moved->n_come + 1));
        e->scratch.come.at[moved->n_come++] = i;
        KS_TRY(ks_account(e, e->nominated.at[i].class_id, row, 0, true));
    }
    moved->come = e->scratch.come.at;
    return KS_OK;
}

/* What is done meanwhile is taken back to the bit, so nobody need hear of it. */
static ks_status judge_with_nominated(ks_engine *e, const ks_profile *p, ks_class *c, int32_t row, ks_moved moved,
                                      ks_verdict *out) {
    int64_t mark;
    bool was_quiet = e->quiet;
    KS_TRY(ks_speculate(e, &mark));
    e->quiet = true;
    ks_status status = bind_nominated(e, row, &moved);
    if (status == KS_OK)
        status = judge_once(e, p, c, row, &moved, out);
    ks_status back = ks_rollback(e, mark);
    e->quiet = was_quiet;
    return status == KS_OK ? back : status;
}

ks_status ks_judge_row(ks_engine *e, const ks_profile *p, ks_class *c, int32_t row, const ks_moved *moved,
                       ks_verdict *out) {
    ks_moved nothing = {0, NULL, 0, NULL};
    moved = moved == NULL ? &nothing : moved;
    if (ks_has_nominated(e, row)) {
        KS_TRY(judge_with_nominated(e, p, c, row, *moved, out));
        if (out->filter != KS_NONE)
            return KS_OK;
    }
    return judge_once(e, p, c, row, moved, out);
}

/* ---- before a decision ---- */

static ks_status add_veto(ks_engine *e, const ks_profile *p, ks_class *c, int32_t row) {
    int64_t words = (e->n_resources + 63) / 64;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->vetoes, e->vetoes.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->veto_bits, (e->vetoes.n + 1) * words));
    ks_verdict verdict = {.insufficient = &e->veto_bits.at[e->vetoes.n * words]};
    KS_TRY(judge_with_nominated(e, p, c, row, (ks_moved){0, NULL, 0, NULL}, &verdict));
    if (verdict.filter == KS_NONE)
        return KS_OK;
    e->vetoes.at[e->vetoes.n++] = (ks_veto){row, verdict.filter, verdict.detail, verdict.unresolvable};
    return KS_OK;
}

static bool is_first_on_row(const ks_engine *e, int32_t at) {
    for (int32_t i = 0; i < at; i++)
        if (must_yield(e, i, e->nominated.at[at].row))
            return false;
    return true;
}

ks_status ks_find_vetoes(ks_engine *e, const ks_profile *p, ks_class *c) {
    e->vetoes.n = 0;
    if (!e->asking.is_on || e->nominated.n == 0)
        return KS_OK;
    KS_TRY(ks_start_judging(e, c));
    for (int32_t i = 0; i < e->nominated.n; i++) {
        int32_t row = e->nominated.at[i].row;
        if (row != KS_NONE && e->live.at[row] && must_yield(e, i, row) && is_first_on_row(e, i))
            KS_TRY(add_veto(e, p, c, row));
    }
    return ks_pairwise_prepare(e, c); /* the trials compared with other numbers */
}

const ks_veto *ks_veto_of(const ks_engine *e, int32_t row) {
    for (int64_t i = 0; i < e->vetoes.n; i++)
        if (e->vetoes.at[i].row == row)
            return &e->vetoes.at[i];
    return NULL;
}

const uint64_t *ks_veto_insufficient(const ks_engine *e, const ks_veto *veto) {
    return &e->veto_bits.at[(veto - e->vetoes.at) * ((e->n_resources + 63) / 64)];
}

/* ---- the pod's own node ---- */

ks_status ks_own_node_of(ks_engine *e, int32_t profile, int32_t class_id, int32_t *node) {
    if (e == NULL || node == NULL)
        return KS_EINVAL;
    if (profile < 0 || profile >= e->profiles.n || !ks_has_class(e, class_id))
        return KS_ERANGE;
    return ks_own_node(e, &e->profiles.at[profile], &e->classes.at[class_id], node);
}

ks_status ks_own_node(ks_engine *e, const ks_profile *p, ks_class *c, int32_t *out) {
    *out = KS_NONE;
    if (!e->asking.is_on || e->asking.nominated == KS_NONE)
        return KS_OK;
    int32_t row = e->nominated.at[e->asking.nominated].row;
    if (row == KS_NONE || !e->live.at[row] || !ks_is_within(e, row))
        return KS_OK;
    KS_TRY(ks_start_judging(e, c));
    ks_verdict verdict = {.insufficient = e->scratch.bits.at};
    KS_TRY(ks_judge_row(e, p, c, row, NULL, &verdict));
    *out = verdict.filter == KS_NONE ? row : KS_NONE;
    return KS_OK;
}

void ks_nominated_free(ks_engine *e) {
    KS_VEC_DISCARD(&e->mem, &e->nominated);
    KS_VEC_DISCARD(&e->mem, &e->vetoes);
    KS_VEC_DISCARD(&e->mem, &e->veto_bits);
}
