/* SPDX-License-Identifier: Apache-2.0
 * search.c: decisions that look at some of the nodes only (percentageOfNodesToScore).
 *
 * Nodes are looked at in the caller's order, from where the last search ended, until one more is feasible than the
 * quota asks for. That one is left out, and the next search begins with it: so upstream's search goes with one worker.
 * With several it may look at a few nodes more, which ones is a race; this is the outcome without one.
 *
 * What counts is what was looked at: a list that PreFilter made shorter moves the place by its own length, even where
 * all of it is wanted. Source: schedule_one.go (findNodesThatFitPod, numFeasibleNodesToFind), v1.36. */
#include "internal.h"

#include <string.h> /* memset */

enum { FEWEST = 100, ADAPTIVE_MOST = 50, ADAPTIVE_STEP = 125, ADAPTIVE_LEAST = 5 }; /* upstream's */

int32_t ks_search_quota(const ks_profile *p, int32_t n) {
    if (p->node_percentage == 0)
        return n;
    if (p->n_scores == 0)
        return 1; /* any feasible node is as good as another */
    if (n < FEWEST)
        return n;
    int32_t percentage = p->node_percentage;
    if (percentage == KS_ADAPTIVE)
        percentage = ADAPTIVE_MOST - n / ADAPTIVE_STEP;
    if (percentage < ADAPTIVE_LEAST && p->node_percentage == KS_ADAPTIVE)
        percentage = ADAPTIVE_LEAST;
    int32_t quota = (int32_t)((int64_t)n * percentage / 100);
    return quota < FEWEST ? FEWEST : quota;
}

bool ks_search_matters(const ks_engine *e, const ks_profile *p) { return p->node_percentage != 0 && e->order.n > 0; }

ks_status ks_node_order_set(ks_engine *e, int32_t n, const int32_t *row) {
    if (e == NULL || n < 0 || (n > 0 && row == NULL) || n != e->n_live)
        return KS_EINVAL;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.feasible, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->order, n));
    uint8_t *seen = e->scratch.feasible.at;
    if (e->n_rows > 0)
        memset(seen, 0, (size_t)e->n_rows);
    for (int32_t i = 0; i < n; i++) {
        if (row[i] < 0 || row[i] >= e->n_rows)
            return KS_ERANGE;
        if (!e->live.at[row[i]] || seen[row[i]]++ != 0)
            return KS_EINVAL;
    }
    if (n > 0)
        memcpy(e->order.at, row, (size_t)n * sizeof *row);
    e->order.n = n;
    return KS_OK;
}

/* ---- what PreFilter leaves ---- */

static bool is_list_of_names(const ks_terms *terms, int32_t q) {
    return terms->key[q] == KS_KEY_NODE_NAME && terms->op[q] == KS_OP_IN;
}

/* Whether every required term lists names of nodes. */
static bool names_nodes(const ks_class *c) {
    const ks_terms *terms = &c->required;
    for (int32_t t = 0; t < terms->n_terms; t++) {
        bool lists = false;
        for (int32_t q = terms->term_start[t]; q < terms->term_start[t + 1]; q++)
            lists |= is_list_of_names(terms, q);
        if (!lists)
            return false;
    }
    return c->has_required && terms->n_terms > 0;
}

static bool has_value(const ks_terms *terms, int32_t q, int32_t value) {
    for (int32_t v = terms->value_start[q]; v < terms->value_start[q + 1]; v++)
        if (terms->value[v] == value)
            return true;
    return false;
}

static bool is_named(const ks_class *c, int32_t name) {
    const ks_terms *terms = &c->required;
    for (int32_t t = 0; t < terms->n_terms; t++) {
        bool everywhere = true;
        for (int32_t q = terms->term_start[t]; q < terms->term_start[t + 1]; q++)
            everywhere &= !is_list_of_names(terms, q) || has_value(terms, q, name);
        if (everywhere)
            return true;
    }
    return false;
}

typedef struct list {
    const int32_t *row;
    int32_t n;
} list;

/* Of the placement at hand, in the order of all nodes; upstream has no order of a list that PreFilter made. */
static ks_status list_rows(ks_engine *e, const ks_profile *p, const ks_class *c, list *out) {
    *out = (list){e->order.at, (int32_t)e->order.n};
    bool named = ks_filter_is_on(p, KS_FILTER_NODE_AFFINITY) && names_nodes(c);
    if (!named && !e->within.is_on)
        return KS_OK;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.listed, e->order.n));
    out->row = e->scratch.listed.at;
    out->n = 0;
    for (int64_t i = 0; i < e->order.n; i++)
        if (ks_is_within(e, e->order.at[i]) && (!named || is_named(c, e->name_id.at[e->order.at[i]])))
            e->scratch.listed.at[out->n++] = e->order.at[i];
    return KS_OK;
}

/* ---- the search ---- */

static ks_status passes(ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row, bool *out) {
    uint8_t detail;
    int32_t filter;
    *out = ks_veto_of(e, row) == NULL && ks_filter(e, p, c, row, &detail) == KS_NONE;
    if (!*out || p->n_user_filters == 0)
        return KS_OK;
    KS_TRY(ks_user_filter(e, p, c, row, &filter));
    *out = filter == KS_NONE;
    return KS_OK;
}

/* Marks feasible rows; *n_seen rows were looked at, the one beyond the quota left out. */
static ks_status walk(ks_engine *e, const ks_profile *p, const ks_class *c, list l, int32_t next, int32_t *n_seen) {
    int32_t quota = ks_search_quota(p, l.n), found = 0;
    memset(e->scratch.feasible.at, 0, (size_t)e->n_rows);
    for (*n_seen = 0; *n_seen < l.n; (*n_seen)++) {
        int32_t row = l.row[((int64_t)next + *n_seen) % l.n];
        bool pass;
        KS_TRY(passes(e, p, c, row, &pass));
        if (pass && found == quota)
            return KS_OK;
        found += pass;
        e->scratch.feasible.at[row] = pass;
    }
    return KS_OK;
}

/* The node that the pod is nominated for was looked at first, in vain, and counts wherever it is not met again. */
static bool own_counts(const ks_engine *e, list l, int32_t next, int32_t n_seen) {
    if (!e->asking.is_on || e->asking.nominated == KS_NONE)
        return false;
    int32_t own = e->nominated.at[e->asking.nominated].row;
    if (own == KS_NONE || !e->live.at[own] || !ks_is_within(e, own))
        return false;
    for (int32_t i = 0; i < n_seen; i++)
        if (l.row[((int64_t)next + i) % l.n] == own)
            return false;
    return true;
}

static void advance(const ks_engine *e, ks_options *o, list l, int32_t n_seen) {
    if (l.n == 0)
        return; /* PreFilter turned the pod down */
    int64_t seen = (int64_t)n_seen + own_counts(e, l, o->next_node, n_seen);
    o->next_node = (int32_t)((o->next_node + seen) % ks_n_nodes_within(e));
}

ks_status ks_search_decide(ks_engine *e, ks_options *o, ks_class *c, ks_choice *out) {
    const ks_profile *p = &e->profiles.at[o->profile];
    if (e->order.n != e->n_live)
        return ks_search_quota(p, e->n_live) < e->n_live ? KS_ESTATE : KS_EUNSUPPORTED;
    list l;
    int32_t n_seen;
    KS_TRY(list_rows(e, p, c, &l));
    if (ks_search_quota(p, l.n) >= l.n) {
        advance(e, o, l, l.n);
        return KS_EUNSUPPORTED;
    }
    KS_TRY(ks_dense_reserve(e));
    KS_TRY(ks_class_prepare(e, c));
    KS_TRY(ks_pairwise_prepare(e, c));
    KS_TRY(walk(e, p, c, l, o->next_node, &n_seen));
    KS_TRY(ks_dense_choose(e, p, c, o->tie, &o->rng, out));
    advance(e, o, l, n_seen);
    o->n_dense++;
    o->n_partial++;
    return KS_OK;
}
