/* SPDX-License-Identifier: Apache-2.0
 *
 * cells.c: deciding without looking at rows where a placement changes the verdict or score of many of them: rules about
 * other pods, or more groups than lanes (index.c) hold. Same answer as dense.c.
 *
 * Idea. Rows that no rule and no normalised plugin can tell apart form a cell: the same domain of every topology that
 * rows share, the same number of counted pods on the node itself where every node is a domain of its own (hostname),
 * the same untolerated taints, preferred affinity, images and caller's raw score. Inside a cell rows differ by the
 * scores that depend on the row alone; a slot is one such score in one cell, and holds its rows in a heap:
 *
 *     cell (zone a, 0 pods here)   scores 81 79 78 ...      slot (cell, 81): rows 3 17 40 ...
 *     cell (zone a, 1 pod here)    scores 80 77 ...         slot (cell, 80): rows 5 9 ...
 *     cell (zone b, 0 pods here)   ...
 *
 * A decision judges each cell once (rules.c), normalises over the feasible ones, and takes the best slot. A placement
 * moves one row to another slot, which the change log (log.c) tells; sums over domains are the tallies' business.
 *
 * Cost of a decision: O(cells x rules) + O(log N) a changed row; choosing evenly among ties adds a scan of N numbers.
 * Bytes: 8 to 16 a row and class, about 1.1 kB a cell. */
#include "internal.h"

#include <string.h> /* memset, memcpy, memcmp */

enum {
    SHY_ASKS = 2,        /* KS_DRIVER_AUTO answers a class's first questions densely: most are asked once or twice */
    MOST_CELLS = 4096,   /* beyond, looking at every row is not much slower (arbitrary: bounds a class at 5 MB) */
    MOST_DOMAINS = 4096, /* of a topology whose domains hold more than one row (as many cells at least) */
    VALUES = 256,        /* scores of a row alone: a byte, as in lanes */
    WORD = 64,
    FEW_WINNERS = 64, /* slots that tie; beyond, ties are drawn row by row (arbitrary) */
};

static const int64_t MOST_ENTRIES = (int64_t)1 << 26; /* rows times classes that have cells: about 1 GB */

/* What tells rows apart. */
enum { BY_TAINT, BY_AFFINITY, BY_IMAGE, BY_CLAIM, BY_DOMAIN, BY_PODS, BY_ANY_POD, BY_PODS_HERE };

typedef struct component {
    int32_t kind, of; /* of: the topology, tally or counter */
} component;

typedef struct cell {
    int32_t n_open; /* rows that pass every filter of their own */
    bool feasible;
    int64_t spread, pods; /* raw scores of the decision at hand */
    uint64_t shown[VALUES / WORD];
    int32_t slot[VALUES]; /* + 1; 0: none yet */
} cell;

typedef struct slot {
    int32_t cell, value, n; /* n: rows */
    ks_row_list rows;       /* a heap, lowest row first; may hold rows that have left */
    ks_ties ties;           /* its rows, once it was drawn from */
} slot;

struct ks_cells {
    int32_t profile;
    int32_t asked;
    bool refused; /* too many cells */
    int64_t position, last_asked, joins, image_version, rows_version;
    int64_t n_entries;
    KS_VEC(component) components;
    KS_VEC(component) planned;
    KS_VEC(int32_t) of_rule; /* [rule] its component */
    KS_VEC(int32_t) keys;    /* [cell][component] */
    KS_VEC(int32_t) table;   /* cells by hash of their key, + 1 */
    KS_VEC(int32_t) near;    /* [cell][rule] of the decision at hand */
    KS_VEC(cell) cells;
    KS_VEC(slot) slots;
    KS_VEC(int32_t) slot_of; /* [row] KS_NONE: does not pass its own filters */
    KS_VEC(int32_t) key;     /* of the row at hand */
    KS_VEC(int32_t) winners; /* slots */
    KS_VEC(uint8_t) wins;    /* [slot] */
};

typedef struct ks_cells ks_cells;

/* ---- which components ---- */

static ks_status need(ks_engine *e, ks_cells *k, int32_t kind, int32_t of, int32_t *out) {
    int32_t at = 0;
    while (at < k->planned.n && (k->planned.at[at].kind != kind || k->planned.at[at].of != of))
        at++;
    if (out != NULL)
        *out = at;
    if (at < k->planned.n)
        return KS_OK;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->planned, at + 1));
    k->planned.at[k->planned.n++] = (component){kind, of};
    return KS_OK;
}

/* Every row a domain of its own: then what its domain counts changes with the row only. A node that names the domain ""
 * would be mixed up with those that name none. */
static bool is_own_domain(const ks_topology *t) { return t->n_shared == 0 && t->rows.at[0] == 0; }

/* A rule that counts in the row's domain. */
static ks_status need_domain(ks_engine *e, ks_cells *k, int32_t topology, int32_t tally, bool any, int32_t *out) {
    const ks_topology *t = &e->topologies.at[topology];
    if (is_own_domain(t))
        return need(e, k, any ? BY_ANY_POD : BY_PODS, tally, out);
    return t->n_domains > MOST_DOMAINS ? KS_EUNSUPPORTED : need(e, k, BY_DOMAIN, topology, out);
}

static ks_status need_spread(ks_engine *e, ks_cells *k, const ks_spread *s, int32_t n, int32_t *at) {
    for (int32_t i = 0; i < n; i++)
        KS_TRY(s[i].tally == KS_NONE ? need(e, k, BY_PODS_HERE, s[i].counter, &at[i])
                                     : need_domain(e, k, s[i].topology, s[i].tally, false, &at[i]));
    return KS_OK;
}

static ks_status need_pairs(ks_engine *e, ks_cells *k, const ks_pair *pair, int32_t n, bool any, int32_t *at) {
    for (int32_t i = 0; i < n; i++)
        KS_TRY(need_domain(e, k, pair[i].topology, pair[i].tally, any, &at[i]));
    return KS_OK;
}

static ks_status plan(ks_engine *e, const ks_profile *p, const ks_class *c, ks_cells *k) {
    const ks_pairwise *w = &c->pairwise;
    int32_t n_any = w->n_affinity + w->n_anti + w->n_existing; /* filters: one pod is as good as many */
    k->planned.n = 0;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->of_rule, ks_n_rules(w)));
    if (p->taint_weight > 0)
        KS_TRY(need(e, k, BY_TAINT, 0, NULL));
    if (p->affinity_weight > 0 && c->preferred.n_terms > 0)
        KS_TRY(need(e, k, BY_AFFINITY, 0, NULL));
    if (p->image_weight > 0 && c->n_images > 0)
        KS_TRY(need(e, k, BY_IMAGE, 0, NULL));
    if (p->claim_weight > 0 && c->raw.n > 0)
        KS_TRY(need(e, k, BY_CLAIM, 0, NULL));
    int32_t *at = k->of_rule.at;
    KS_TRY(need_spread(e, k, w->hard, w->n_hard, at));
    KS_TRY(need_spread(e, k, w->soft, w->n_soft, at + w->n_hard));
    at += w->n_hard + w->n_soft;
    KS_TRY(need_pairs(e, k, w->affinity, n_any, true, at));
    KS_TRY(need_pairs(e, k, w->scored, w->n_scored, false, at + n_any));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->key, k->planned.n + 1));
    return KS_VEC_RESERVE(&e->mem, &k->components, k->planned.n);
}

/* ---- cells and slots ---- */

static int32_t pods_in_domain(const ks_engine *e, int32_t tally, int32_t row) {
    const ks_tally *t = &e->tallies.at[tally];
    int32_t domain = e->topologies.at[t->topology].domain.at[row];
    return domain == KS_NONE ? KS_NONE : t->pods.at[domain];
}

static int32_t value_of(const ks_engine *e, const ks_class *c, component of, int32_t row) {
    switch (of.kind) {
    case BY_TAINT:
        return c->taint_pref[e->taint_set.at[row]];
    case BY_AFFINITY:
        return ks_affinity_weight(e, c, row);
    case BY_IMAGE:
        return c->image_score[e->image_set.at[row]];
    case BY_CLAIM:
        return (int32_t)ks_raw_of(c, row); /* at most MOST_RAW, verdicts.c */
    case BY_DOMAIN:
        return e->topologies.at[of.of].domain.at[row];
    case BY_PODS_HERE:
        return e->hostname_value.at[row] == KS_NONE ? KS_NONE : e->counters.at[of.of].pods.at[row];
    case BY_PODS:
        return pods_in_domain(e, of.of, row);
    default: { /* BY_ANY_POD */
        int32_t pods = pods_in_domain(e, of.of, row);
        return pods > 1 ? 1 : pods;
    }
    }
}

static uint32_t hash_of(const int32_t *key, int64_t n) {
    uint32_t hash = 2166136261u; /* FNV-1a over words */
    for (int64_t i = 0; i < n; i++)
        hash = (hash ^ (uint32_t)key[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* Place of the key in the table: of its cell, or free. */
static int64_t find_key(const ks_cells *k, const int32_t *key) {
    int64_t n = k->components.n, mask = k->table.n - 1;
    int64_t at = hash_of(key, n) & mask;
    while (k->table.at[at] != 0 && memcmp(&k->keys.at[(k->table.at[at] - 1) * n], key, (size_t)n * sizeof *key) != 0)
        at = (at + 1) & mask;
    return at;
}

static ks_status find_cell(ks_engine *e, ks_cells *k, int32_t *out) {
    int64_t n = k->components.n, at = find_key(k, k->key.at);
    *out = k->table.at[at] - 1;
    if (*out != KS_NONE)
        return KS_OK;
    if (k->cells.n == MOST_CELLS)
        return KS_EUNSUPPORTED;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->cells, k->cells.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->keys, (k->cells.n + 1) * n + 1));
    memset(&k->cells.at[k->cells.n], 0, sizeof *k->cells.at);
    memcpy(&k->keys.at[k->cells.n * n], k->key.at, (size_t)n * sizeof *k->key.at);
    *out = (int32_t)k->cells.n++;
    k->table.at[at] = *out + 1;
    return KS_OK;
}

static ks_status find_slot(ks_engine *e, ks_cells *k, int32_t cell_id, int32_t value, int32_t *out) {
    *out = k->cells.at[cell_id].slot[value] - 1;
    if (*out != KS_NONE)
        return KS_OK;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->slots, k->slots.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->winners, k->slots.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->wins, k->slots.n + 1));
    slot *s = &k->slots.at[k->slots.n];
    s->cell = cell_id;
    s->value = value;
    s->n = 0;
    s->rows.n = 0; /* keeps its memory from before a rebuild */
    s->ties.is_on = false;
    *out = (int32_t)k->slots.n++;
    k->cells.at[cell_id].slot[value] = *out + 1;
    return KS_OK;
}

/* ---- heaps ---- */

static void sift_up(ks_row_list *h, int64_t at) {
    int32_t row = h->at[at];
    for (; at > 0 && h->at[(at - 1) / 2] > row; at = (at - 1) / 2)
        h->at[at] = h->at[(at - 1) / 2];
    h->at[at] = row;
}

static void sift_down(ks_row_list *h, int64_t at) {
    int32_t row = h->at[at];
    for (int64_t child = 2 * at + 1; child < h->n; child = 2 * at + 1) {
        child += child + 1 < h->n && h->at[child + 1] < h->at[child];
        if (h->at[child] >= row)
            break;
        h->at[at] = h->at[child];
        at = child;
    }
    h->at[at] = row;
}

/* Drops rows that have left, and second entries of those that came back. */
static void tidy(ks_cells *k, int32_t slot_id) {
    ks_row_list *h = &k->slots.at[slot_id].rows;
    int32_t n = 0;
    for (int32_t i = 0; i < h->n; i++)
        if (k->slot_of.at[h->at[i]] == slot_id) {
            h->at[n++] = h->at[i];
            k->slot_of.at[h->at[i]] = -2 - slot_id; /* seen; put right below */
        }
    h->n = n;
    for (int64_t i = 0; i < n; i++)
        k->slot_of.at[h->at[i]] = slot_id;
    for (int64_t i = n / 2 - 1; i >= 0; i--)
        sift_down(h, i);
}

static ks_status push(ks_engine *e, ks_cells *k, int32_t slot_id, int32_t row) {
    slot *s = &k->slots.at[slot_id];
    if (s->rows.n >= 2 * (int64_t)s->n + WORD)
        tidy(k, slot_id);
    KS_TRY(ks_row_list_reserve(&e->mem, &s->rows, (int64_t)s->rows.n + 1));
    s->rows.at[s->rows.n++] = row;
    sift_up(&s->rows, s->rows.n - 1);
    return KS_OK;
}

static int32_t lowest_row(ks_cells *k, int32_t slot_id) {
    ks_row_list *h = &k->slots.at[slot_id].rows;
    while (k->slot_of.at[h->at[0]] != slot_id) {
        h->at[0] = h->at[--h->n];
        sift_down(h, 0);
    }
    return h->at[0];
}

/* ---- following the rows ---- */

static void leave(ks_cells *k, int32_t row) {
    if (k->slot_of.at[row] == KS_NONE)
        return;
    slot *s = &k->slots.at[k->slot_of.at[row]];
    cell *of = &k->cells.at[s->cell];
    of->n_open--;
    if (s->ties.is_on)
        ks_ties_count(&s->ties, row, -1);
    if (--s->n == 0)
        of->shown[s->value / WORD] &= ~((uint64_t)1 << s->value % WORD);
    k->slot_of.at[row] = KS_NONE;
}

static ks_status enter(ks_engine *e, ks_cells *k, int32_t row, int32_t slot_id) {
    KS_TRY(push(e, k, slot_id, row));
    slot *s = &k->slots.at[slot_id];
    cell *of = &k->cells.at[s->cell];
    of->n_open++;
    s->n++;
    if (s->ties.is_on)
        ks_ties_count(&s->ties, row, 1);
    of->shown[s->value / WORD] |= (uint64_t)1 << s->value % WORD;
    k->slot_of.at[row] = slot_id;
    return KS_OK;
}

static ks_status judge_row(ks_engine *e, const ks_profile *p, const ks_class *c, ks_cells *k, int32_t row) {
    int32_t cell_id, slot_id;
    if (!e->live.at[row] || !ks_passes_local(e, p, c, row)) {
        leave(k, row);
        return KS_OK;
    }
    for (int64_t i = 0; i < k->components.n; i++)
        k->key.at[i] = value_of(e, c, k->components.at[i], row);
    KS_TRY(find_cell(e, k, &cell_id));
    KS_TRY(find_slot(e, k, cell_id, (int32_t)ks_score_local(e, p, c, row), &slot_id));
    if (k->slot_of.at[row] == slot_id)
        return KS_OK;
    leave(k, row);
    return enter(e, k, row, slot_id);
}

static ks_status build(ks_engine *e, const ks_profile *p, const ks_class *c, ks_cells *k) {
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->table, 4 * MOST_CELLS));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->slot_of, e->n_rows));
    k->table.n = 4 * MOST_CELLS; /* a power of two */
    memset(k->table.at, 0, (size_t)k->table.n * sizeof *k->table.at);
    k->cells.n = k->slots.n = 0;
    k->components.n = k->planned.n;
    if (k->planned.n > 0)
        memcpy(k->components.at, k->planned.at, (size_t)k->planned.n * sizeof *k->planned.at);
    for (int32_t row = 0; row < e->n_rows; row++) {
        k->slot_of.at[row] = KS_NONE;
        KS_TRY(judge_row(e, p, c, k, row));
    }
    k->slot_of.n = e->n_rows;
    return KS_OK;
}

static ks_status read_log(ks_engine *e, const ks_profile *p, const ks_class *c, ks_cells *k, int64_t from) {
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->slot_of, e->n_rows));
    for (int64_t i = 0; k->slot_of.n < e->n_rows && i < k->slots.n; i++)
        k->slots.at[i].ties.is_on = false; /* they are counted for fewer rows */
    for (; k->slot_of.n < e->n_rows; k->slot_of.n++)
        k->slot_of.at[k->slot_of.n] = KS_NONE; /* its own log entry follows */
    bool is_static;
    for (int32_t row; (row = ks_log_next(e, &from, &is_static)) != KS_NONE;)
        KS_TRY(judge_row(e, p, c, k, row));
    return KS_OK;
}

static bool has_same_plan(const ks_cells *k) {
    return k->planned.n == k->components.n &&
           (k->planned.n == 0 ||
            memcmp(k->planned.at, k->components.at, (size_t)k->planned.n * sizeof *k->planned.at) == 0);
}

/* Brings the cells up to date; the class and its tallies are. */
static ks_status follow(ks_engine *e, const ks_profile *p, ks_class *c, ks_cells *k) {
    bool is_known = k->position >= e->log_base && k->joins == e->joins &&
                    (c->n_images == 0 || k->image_version == e->sets.image_version);
    if (!is_known || k->rows_version != e->rows_version) {
        KS_TRY(plan(e, p, c, k));
        is_known = is_known && has_same_plan(k);
    }
    int64_t from = k->position;
    k->position = -1; /* until all went well */
    ks_status status = is_known ? read_log(e, p, c, k, from) : build(e, p, c, k);
    if (status == KS_EUNSUPPORTED && is_known) /* cells that lost their rows make room */
        status = build(e, p, c, k);
    KS_TRY(status);
    k->position = ks_log_end(e);
    k->joins = e->joins;
    k->image_version = e->sets.image_version;
    k->rows_version = e->rows_version;
    return KS_OK;
}

/* ---- deciding ---- */

/* Greatest and smallest raw values over the feasible cells. */
typedef struct bounds {
    int32_t feasible;
    int32_t greatest[BY_DOMAIN]; /* [kind] of the components that are raw scores */
    ks_range spread, pods;
    bool has_spread, has_pods;
} bounds;

static void gather(const ks_engine *e, const ks_pairwise *w, const ks_cells *k, const int32_t *key, int32_t *near) {
    int32_t n = ks_n_rules(w);
    for (int32_t i = 0; i < n; i++) {
        component of = k->components.at[k->of_rule.at[i]];
        int32_t value = key[k->of_rule.at[i]];
        if (of.kind == BY_DOMAIN && value != KS_NONE)
            value = e->tallies.at[ks_rule_tally(w, i)].pods.at[value];
        near[i] = value;
    }
}

static void filter_cells(const ks_engine *e, const ks_profile *p, const ks_class *c, ks_cells *k, bounds *b) {
    const ks_pairwise *w = &c->pairwise;
    bool spread_on = ks_filter_is_on(p, KS_FILTER_POD_TOPOLOGY_SPREAD);
    bool pods_on = ks_filter_is_on(p, KS_FILTER_INTER_POD_AFFINITY);
    int64_t width = k->components.n, n = ks_n_rules(w);
    for (int64_t i = 0; i < k->cells.n; i++) {
        cell *of = &k->cells.at[i];
        const int32_t *key = &k->keys.at[i * width];
        int32_t *near = &k->near.at[i * n];
        of->feasible = false;
        if (of->n_open == 0)
            continue;
        gather(e, w, k, key, near);
        of->feasible = (!spread_on || ks_spread_verdict(w, near) == KS_DETAIL_NONE) &&
                       (!pods_on || ks_pods_verdict(w, near) == KS_DETAIL_NONE);
        if (!of->feasible)
            continue;
        b->feasible += of->n_open;
        for (int64_t j = 0; j < width; j++)
            if (k->components.at[j].kind < BY_DOMAIN && key[j] > b->greatest[k->components.at[j].kind])
                b->greatest[k->components.at[j].kind] = key[j];
    }
}

static bool is_scored(const ks_pairwise *w, const int32_t *near) {
    for (int32_t i = 0; w->needs_all && i < w->n_soft; i++)
        if (near[w->n_hard + i] == KS_NONE)
            return false;
    return true;
}

/* Domains of soft constraint `at` over the rows that are scored; a missing key is the domain "", which is number 0. */
static int32_t count_domains(const ks_engine *e, const ks_pairwise *w, const ks_cells *k, int32_t at) {
    int32_t component_id = k->of_rule.at[w->n_hard + at], n = 0;
    bool by_domain = k->components.at[component_id].kind == BY_DOMAIN, missing = false;
    if (by_domain)
        memset(e->scratch.seen.at, 0, (size_t)e->topologies.at[w->soft[at].topology].n_domains);
    for (int64_t i = 0; i < k->cells.n; i++) {
        if (!k->cells.at[i].feasible || !is_scored(w, &k->near.at[i * ks_n_rules(w)]))
            continue;
        int32_t value = k->keys.at[i * k->components.n + component_id];
        if (by_domain) {
            int32_t domain = value == KS_NONE ? 0 : value;
            n += !e->scratch.seen.at[domain];
            e->scratch.seen.at[domain] = 1;
        } else if (value != KS_NONE || w->soft[at].by_host) {
            n += k->cells.at[i].n_open;
        } else {
            missing = true;
        }
    }
    return n + missing;
}

static void widen(ks_range *r, int64_t raw) {
    if (raw == KS_IGNORED)
        return;
    r->min = raw < r->min ? raw : r->min;
    r->max = raw > r->max ? raw : r->max;
}

static ks_status score_cells(ks_engine *e, const ks_profile *p, ks_class *c, ks_cells *k, bounds *b) {
    ks_pairwise *w = &c->pairwise;
    b->has_spread = p->spread_weight > 0 && w->n_soft > 0;
    b->has_pods = p->pods_weight > 0 && !ks_pods_score_skips(e, p, c);
    b->spread = (ks_range){INT64_MAX, 0};
    b->pods = (ks_range){INT64_MAX, INT64_MIN};
    for (int32_t i = 0; b->has_spread && i < w->n_soft; i++) {
        KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.seen, e->topologies.at[w->soft[i].topology].n_domains));
        w->soft[i].weight = ks_spread_weight(count_domains(e, w, k, i));
    }
    for (int64_t i = 0; i < k->cells.n; i++) {
        cell *of = &k->cells.at[i];
        if (!of->feasible)
            continue;
        const int32_t *near = &k->near.at[i * ks_n_rules(w)];
        of->spread = b->has_spread ? ks_spread_raw(w, near) : 0;
        of->pods = b->has_pods ? ks_pods_raw(p, w, near) : 0;
        widen(&b->spread, of->spread);
        widen(&b->pods, of->pods);
    }
    return KS_OK;
}

static int64_t score_of_cell(const ks_profile *p, const ks_cells *k, int64_t cell_id, const bounds *b) {
    const int32_t *key = &k->keys.at[cell_id * k->components.n];
    const cell *of = &k->cells.at[cell_id];
    int64_t total = 0;
    for (int64_t i = 0; i < k->components.n; i++) {
        int32_t kind = k->components.at[i].kind;
        if (kind == BY_TAINT)
            total += p->taint_weight * ks_normalize_taint(key[i], b->greatest[BY_TAINT]);
        else if (kind == BY_AFFINITY)
            total += p->affinity_weight * ks_normalize_up(key[i], b->greatest[BY_AFFINITY]);
        else if (kind == BY_IMAGE)
            total += p->image_weight * key[i];
        else if (kind == BY_CLAIM && b->greatest[BY_CLAIM] > 0)
            total += p->claim_weight * ks_normalize_up(key[i], b->greatest[BY_CLAIM]);
    }
    if (b->has_spread)
        total += p->spread_weight * ks_normalize_spread(of->spread, b->spread.min, b->spread.max);
    if (b->has_pods)
        total += p->pods_weight * ks_normalize_pods(of->pods, b->pods.min, b->pods.max);
    return total;
}

static int32_t greatest_shown(const cell *of) {
    int32_t word = VALUES / WORD - 1;
    while (of->shown[word] == 0)
        word--;
    return word * WORD + WORD - 1 - __builtin_clzll(of->shown[word]);
}

/* Counts the rows of a slot, unless they are counted already. O(N) once for a slot. */
static ks_status count_ties(ks_engine *e, ks_cells *k, int32_t slot_id) {
    ks_ties *t = &k->slots.at[slot_id].ties;
    if (t->is_on)
        return KS_OK;
    KS_TRY(ks_ties_open(&e->mem, t, k->slot_of.n));
    for (int32_t row = 0; row < k->slot_of.n; row++)
        if (k->slot_of.at[row] == slot_id)
            ks_ties_count(t, row, 1);
    return KS_OK;
}

/* Where to look for the wanted-th row of the winning slots; *wanted: which it is from there. */
static int32_t skip_ties(ks_engine *e, ks_cells *k, uint32_t *wanted) {
    const ks_ties *sets[FEW_WINNERS];
    if (k->winners.n > FEW_WINNERS)
        return 0;
    for (int64_t i = 0; i < k->winners.n; i++) {
        if (count_ties(e, k, k->winners.at[i]) != KS_OK)
            return 0; /* no memory: it takes longer */
        sets[i] = &k->slots.at[k->winners.at[i]].ties;
    }
    return ks_ties_find(sets, (int32_t)k->winners.n, wanted);
}

/* The wanted-th row, in row order, that is in a winning slot. */
static int32_t nth_row(ks_engine *e, ks_cells *k, uint32_t wanted) {
    int64_t row = skip_ties(e, k, &wanted);
    memset(k->wins.at, 0, (size_t)k->slots.n);
    for (int64_t i = 0; i < k->winners.n; i++)
        k->wins.at[k->winners.at[i]] = 1;
    for (;; row++)
        if (k->slot_of.at[row] != KS_NONE && k->wins.at[k->slot_of.at[row]] && wanted-- == 0)
            return (int32_t)row;
}

static void find_best(const ks_profile *p, ks_cells *k, const bounds *b, ks_choice *out) {
    *out = (ks_choice){-1, KS_NONE, 0, b->feasible};
    k->winners.n = 0;
    for (int64_t i = 0; i < k->cells.n; i++) {
        const cell *of = &k->cells.at[i];
        if (!of->feasible)
            continue;
        int32_t value = greatest_shown(of);
        int64_t total = score_of_cell(p, k, i, b) + value;
        if (total < out->score)
            continue;
        if (total > out->score) {
            *out = (ks_choice){total, KS_NONE, 0, b->feasible};
            k->winners.n = 0;
        }
        int32_t slot_id = of->slot[value] - 1;
        out->ties += k->slots.at[slot_id].n;
        k->winners.at[k->winners.n++] = slot_id;
    }
}

static void choose(ks_engine *e, ks_cells *k, int32_t tie, uint64_t *rng, ks_choice *out) {
    if (tie == KS_TIE_UNIFORM && out->ties > 1) {
        out->node = nth_row(e, k, ks_random_below(rng, (uint32_t)out->ties));
        return;
    }
    for (int64_t i = 0; i < k->winners.n; i++) {
        int32_t row = lowest_row(k, k->winners.at[i]);
        if (out->node == KS_NONE || row < out->node)
            out->node = row;
    }
}

/* ---- which classes have cells ---- */

static void discard(ks_engine *e, ks_cells *k) {
    for (int64_t i = 0; i < k->slots.cap; i++) {
        ks_row_list_discard(&e->mem, &k->slots.at[i].rows);
        ks_ties_discard(&e->mem, &k->slots.at[i].ties);
    }
    KS_VEC_DISCARD(&e->mem, &k->slots);
    KS_VEC_DISCARD(&e->mem, &k->components);
    KS_VEC_DISCARD(&e->mem, &k->planned);
    KS_VEC_DISCARD(&e->mem, &k->of_rule);
    KS_VEC_DISCARD(&e->mem, &k->keys);
    KS_VEC_DISCARD(&e->mem, &k->table);
    KS_VEC_DISCARD(&e->mem, &k->near);
    KS_VEC_DISCARD(&e->mem, &k->cells);
    KS_VEC_DISCARD(&e->mem, &k->slot_of);
    KS_VEC_DISCARD(&e->mem, &k->key);
    KS_VEC_DISCARD(&e->mem, &k->winners);
    KS_VEC_DISCARD(&e->mem, &k->wins);
    e->n_cell_entries -= k->n_entries;
    k->n_entries = 0;
    k->slots.n = k->components.n = k->planned.n = k->cells.n = k->slot_of.n = 0;
    k->position = -1;
}

void ks_cells_forget(ks_class *c) {
    if (c->cells == NULL)
        return;
    c->cells->position = -1;
    c->cells->refused = false;
}

void ks_cells_free(ks_engine *e, ks_class *c) {
    if (c->cells == NULL)
        return;
    discard(e, c->cells);
    ks_discard(&e->mem, (void **)&c->cells, &c->cells_bytes, 1);
}

/* Counts the class's rows against the limit; classes that were not asked for longest make room. */
static void admit(ks_engine *e, ks_cells *k) {
    k->last_asked = ++e->cell_clock;
    e->n_cell_entries += e->n_rows - k->n_entries;
    k->n_entries = e->n_rows;
    while (e->n_cell_entries > MOST_ENTRIES) {
        ks_cells *oldest = NULL;
        for (int64_t i = 0; i < e->classes.n; i++) {
            ks_cells *of = e->classes.at[i].cells;
            if (of != NULL && of != k && of->n_entries > 0 && (oldest == NULL || of->last_asked < oldest->last_asked))
                oldest = of;
        }
        if (oldest == NULL)
            return;
        discard(e, oldest);
    }
}

static ks_status open_cells(ks_engine *e, const ks_profile *p, ks_class *c, ks_cells **out) {
    if (p->local_bound >= VALUES || ks_has_users(p) || (p->has_scale && e->beyond_scale))
        return KS_EUNSUPPORTED;
    if (c->cells == NULL) {
        KS_TRY(ks_reserve(&e->mem, (void **)&c->cells, &c->cells_bytes, (int64_t)sizeof(ks_cells), 1));
        c->cells->position = -1;
    }
    *out = c->cells;
    return KS_OK;
}

static ks_status decide(ks_engine *e, const ks_profile *p, ks_class *c, ks_cells *k, int32_t tie, uint64_t *rng,
                        ks_choice *out) {
    bounds b = {0};
    admit(e, k);
    KS_TRY(ks_class_prepare(e, c));
    KS_TRY(ks_pairwise_prepare(e, c));
    KS_TRY(follow(e, p, c, k));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->near, k->cells.n * ks_n_rules(&c->pairwise) + 1));
    filter_cells(e, p, c, k, &b);
    KS_TRY(score_cells(e, p, c, k, &b));
    find_best(p, k, &b, out);
    choose(e, k, tie, rng, out);
    return KS_OK;
}

ks_status ks_cells_decide(ks_engine *e, int32_t profile, int32_t driver, int32_t class_id, int32_t tie, uint64_t *rng,
                          ks_choice *out) {
    const ks_profile *p = &e->profiles.at[profile];
    ks_class *c = &e->classes.at[class_id];
    ks_cells *k;
    KS_TRY(open_cells(e, p, c, &k));
    if (k->profile != profile)
        ks_cells_forget(c);
    k->profile = profile;
    k->asked += k->asked <= SHY_ASKS;
    if (k->refused || (driver == KS_DRIVER_AUTO && k->asked <= SHY_ASKS))
        return KS_EUNSUPPORTED;
    ks_status status = decide(e, p, c, k, tie, rng, out);
    if (status == KS_EUNSUPPORTED) {
        discard(e, k);
        k->refused = true;
    }
    return status;
}
