/* SPDX-License-Identifier: Apache-2.0
 *
 * index.c: the driver that keeps the maximum while the state changes. Same answer as dense.c, O(log N) a decision.
 *
 * Idea. total = local(row) + group(row). `local` are the integers that depend on the row alone (resources, devices).
 * `group` is what normalised and other static plugins can tell apart: untolerated-taint count, preferred-affinity
 * weight, image score; few distinct combinations exist. A lane is one (class, group): in it a row shows local + 1 if
 * it is feasible and of that group, else 0; what `local` is at least (ks_local_base) is left out. 64 lanes lie side by
 * side, one byte each, one cache line a row:
 *
 *     leaf    row 0   [ c0g0 c0g1 c1g0 ... 64 bytes ]      level 0   max of rows  0..15, byte by byte
 *             row 1   [ ...                         ]                max of rows 16..31
 *             ...                                          level 1   max of 16 rows of level 0 ... up to one root row
 *
 * A placement changes one row: its 64 bytes are computed at once, then one row a level is the maximum of 16, until
 * nothing changes any more. A histogram per lane (how many rows show which byte) gives the number of ties and of
 * feasible rows without looking at rows. The answer for a class is the best of its lanes' group score + root byte.
 *
 * Exactness of the doubles in score_lanes: all integers there are below 2^53 (gather_* and ks_is_narrow see to it)
 * and so exact. A truncated quotient fl(a / b) with a <= 100 b, b < 2^46 equals the integer quotient: it could only
 * differ if a / b lay within half an ulp below an integer k <= 100, but the distance of a / b from k is at least
 * 1 / b > 2^-46, and half an ulp of 100 is 2^-47. Rows or classes outside these bounds take ks_score_local.
 *
 * Cost. Bytes: 64 a row and group of lanes, 1/15 of that for the levels, 8 for the static mask. A changed row costs
 * one score_lanes and about five levels for each group of lanes that is asked for; groups that are not asked for
 * read the change log later (log.c). */
#include "internal.h"

#include <math.h>   /* fabs */
#include <string.h> /* memcpy, memset, memcmp */

enum {
    LANES = KS_LANES,     /* one cache line of bytes */
    FAN = 16,             /* rows under one row of the level above; 8 and 32 were not faster */
    MAX_LEVELS = 8,       /* 16^8 rows */
    FEW_TIES = 32,        /* so many are looked at one after another (arbitrary) */
    MAX_CLASS_LANES = 16, /* more groups than this: cells.c answers (arbitrary) */
    MAX_GROUPS = 64,      /* 4,096 lanes (arbitrary: bounds memory at 4.6 kB a row) */
    SHY_ASKS = 2          /* KS_DRIVER_AUTO answers a class's first questions densely: building lanes costs more */
};

/* What normalised plugins can tell apart. */
typedef struct group_key {
    int32_t taint, affinity, image;
} group_key;

/* Classes of a lane group: lanes first .. first + n - 1. */
typedef struct member {
    int32_t class_id, first, n;
} member;

/* Requests of all lanes, one array a resource, so that loops run over lanes. */
typedef struct lane_requests {
    int32_t n_filter, n_fit, n_balanced;
    int32_t filter_resource[LANES]; /* resources that any lane asks for */
    int64_t *filter;                /* [n_filter][LANES], INT64_MIN: does not ask */
    double fit[KS_MOST_PLAIN][LANES];
    double balanced[KS_MOST_PLAIN][LANES];
    double balanced_on[LANES]; /* 1, or 0 where the plugin skips the class */
    double base[LANES];        /* what `local` is at least */
    uint64_t with_ports, with_devices, with_verdicts;
    bool narrow; /* all requests are inside the bounds of score_lanes */
} lane_requests;

typedef struct lane_group {
    int64_t position; /* of the change log up to which this group is current; -1: build anew */
    int64_t prepared; /* version of the interned sets that its classes have judged */
    int32_t n_rows, n_lanes, n_members, n_levels;
    member members[LANES];
    group_key key[LANES];
    int32_t lane_class[LANES];
    lane_requests requests;
    int64_t filter_cap;
    void *block; /* leaf rows and levels, 64-byte aligned inside */
    int64_t block_bytes;
    int64_t row_cap;
    uint8_t *leaf;
    uint8_t *level[MAX_LEVELS];
    int64_t level_rows[MAX_LEVELS];
    KS_VEC(double) user_pod;    /* what users' plugins read of the classes */
    KS_VEC(uint64_t) fixed;     /* [row] lanes whose static filters pass and whose group is the row's */
    uint32_t (*histogram)[256]; /* [LANES] */
    int64_t histogram_cap;
    ks_ties ties[LANES]; /* rows that show tied[lane], of lanes that were drawn from */
    uint8_t tied[LANES];
} lane_group;

typedef struct class_entry {
    int32_t asked;  /* how often, before it was indexed */
    int32_t group;  /* KS_NONE: not indexed */
    int32_t member; /* in the group */
    bool wanted;    /* indexed from now on */
    bool refused;   /* too many groups of rows */
} class_entry;

static const class_entry NEW_ENTRY = {0, KS_NONE, 0, false, false};

struct ks_index {
    int32_t profile;
    int64_t image_version;
    bool vector; /* score_lanes knows all local plugins of the profile */
    ks_plain plain;
    int32_t n_groups;
    lane_group *groups[MAX_GROUPS];
    KS_VEC(class_entry) entries; /* by class */
};

/* ---- kernels: loops over 64 lanes, compiled for three instruction sets ---- */

/* parent = byte-wise maximum of n rows. Returns whether it changed. */
KS_WIDE static bool max_rows(const uint8_t *restrict child, int64_t n, uint8_t *restrict parent) {
    uint8_t max[LANES] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int32_t l = 0; l < LANES; l++)
            max[l] = child[i * LANES + l] > max[l] ? child[i * LANES + l] : max[l];
    bool changed = memcmp(max, parent, LANES) != 0;
    memcpy(parent, max, LANES);
    return changed;
}

/* Everything of a row that the loops need, gathered once. */
typedef struct row_state {
    int64_t free[LANES]; /* of filter_resource[i] */
    uint64_t allowed;    /* lanes that pass everything but resources */
    int32_t n_filter;
    double fit_alloc[KS_MOST_PLAIN], fit_used[KS_MOST_PLAIN], fit_weight[KS_MOST_PLAIN], fit_weights;
    double bal_alloc[KS_MOST_PLAIN], bal_used[KS_MOST_PLAIN];
    int32_t fit_from[KS_MOST_PLAIN], bal_from[KS_MOST_PLAIN]; /* which resource of lane_requests */
    int32_t n_fit, n_bal;
    double balance_without; /* 0 with the formula of 1.35 */
    bool most, improvement;
    double fit_plugin_weight, bal_plugin_weight;
} row_state;

/* local += weight * balance of two resources (deviation 0 with fewer). */
static inline void add_balance(const lane_requests *restrict q, const row_state *restrict s, double *restrict local) {
    double deviation[LANES] = {0};
    const double *q0 = q->balanced[s->bal_from[0]], *q1 = q->balanced[s->bal_from[1]];
    double used0 = s->bal_used[0], used1 = s->bal_used[1], alloc0 = s->bal_alloc[0], alloc1 = s->bal_alloc[1];
    for (int32_t l = 0; s->n_bal == 2 && l < LANES; l++) {
        double f0 = (used0 + q0[l]) / alloc0, f1 = (used1 + q1[l]) / alloc1;
        f0 = f0 > 1 ? 1 : f0;
        f1 = f1 > 1 ? 1 : f1;
        deviation[l] = fabs((f0 - f1) / 2);
    }
    double weight = s->bal_plugin_weight, without = s->balance_without;
    for (int32_t l = 0; l < LANES; l++) {
        double with_pod = (double)(int32_t)((1 - deviation[l]) * 100.0);
        double improved = 50.0 + (double)(int32_t)((50.0 + with_pod - without) / 2);
        local[l] += weight * q->balanced_on[l] * (s->improvement ? improved : with_pod);
    }
}

KS_WIDE static void score_lanes(const lane_requests *restrict q, const row_state *restrict s, uint8_t *restrict out) {
    int64_t shut[LANES];
    double sum[LANES] = {0}, local[LANES];
    for (int32_t l = 0; l < LANES; l++)
        shut[l] = (int64_t)(s->allowed >> l & 1u) - 1;
    for (int32_t i = 0; i < s->n_filter; i++)
        for (int32_t l = 0; l < LANES; l++)
            shut[l] |= q->filter[i * LANES + l] > s->free[i] ? -1 : 0;
    for (int32_t i = 0; i < s->n_fit; i++) {
        const double *request = q->fit[s->fit_from[i]];
        double alloc = s->fit_alloc[i], used = s->fit_used[i], weight = s->fit_weight[i];
        for (int32_t l = 0; l < LANES; l++) {
            double with_pod = used + request[l];
            double spare = with_pod > alloc ? 0.0 : alloc - with_pod;
            double taken = with_pod > alloc ? alloc : with_pod;
            sum[l] += weight * (double)(int32_t)((s->most ? taken : spare) * 100.0 / alloc);
        }
    }
    for (int32_t l = 0; l < LANES; l++)
        local[l] = s->n_fit == 0 ? 0.0 : s->fit_plugin_weight * (double)(int32_t)(sum[l] / s->fit_weights);
    if (s->bal_plugin_weight > 0)
        add_balance(q, s, local);
    for (int32_t l = 0; l < LANES; l++)
        out[l] = (uint8_t)(((int32_t)(local[l] - q->base[l]) + 1) & ~(int32_t)shut[l]);
}

/* ---- one row ---- */

static bool gather_fit(const ks_engine *e, const ks_score *f, int32_t row, row_state *s) {
    s->n_fit = 0;
    s->fit_weights = 0;
    for (int32_t i = 0; f != NULL && i < f->n_resources; i++) {
        int32_t r = f->resource[i];
        int64_t alloc = e->allocatable[r][row], used = e->used[r][row];
        if (r == KS_CPU || r == KS_MEMORY)
            used = r == KS_CPU ? e->nonzero_cpu.at[row] : e->nonzero_memory.at[row];
        if (alloc >= KS_NARROW_ALLOC || used >= KS_NARROW_USED)
            return false;
        if (alloc == 0)
            continue;
        s->fit_from[s->n_fit] = i;
        s->fit_alloc[s->n_fit] = (double)alloc;
        s->fit_used[s->n_fit] = (double)used;
        s->fit_weight[s->n_fit++] = (double)f->resource_weight[i];
        s->fit_weights += (double)f->resource_weight[i];
    }
    s->most = f != NULL && f->variant == KS_FIT_MOST_ALLOCATED;
    s->fit_plugin_weight = f == NULL ? 0.0 : (double)f->weight;
    return true;
}

static bool gather_balanced(const ks_engine *e, const ks_score *b, int32_t row, row_state *s) {
    double fraction[KS_MOST_PLAIN];
    s->n_bal = 0;
    s->bal_from[0] = s->bal_from[1] = 0;
    s->bal_alloc[0] = s->bal_alloc[1] = 1.0;
    s->bal_used[0] = s->bal_used[1] = 0.0;
    for (int32_t i = 0; b != NULL && i < b->n_resources; i++) {
        int32_t r = b->resource[i];
        int64_t alloc = e->allocatable[r][row], used = e->used[r][row];
        if (alloc >= KS_NARROW_ALLOC || used >= KS_NARROW_USED)
            return false;
        if (alloc == 0)
            continue;
        s->bal_from[s->n_bal] = i;
        s->bal_alloc[s->n_bal] = (double)alloc;
        s->bal_used[s->n_bal] = (double)used;
        fraction[s->n_bal] = (double)used / (double)alloc;
        fraction[s->n_bal] = fraction[s->n_bal] > 1 ? 1 : fraction[s->n_bal];
        s->n_bal++;
    }
    double deviation = s->n_bal == 2 ? fabs((fraction[0] - fraction[1]) / 2) : 0.0;
    s->improvement = b != NULL && b->variant == KS_BALANCED_V136;
    s->balance_without = (double)(int32_t)((1 - deviation) * 100.0);
    s->bal_plugin_weight = b == NULL ? 0.0 : (double)b->weight;
    return true;
}

static bool passes_verdicts(const ks_profile *p, const ks_class *c, int32_t row) {
    for (int64_t i = 0; i < c->verdicts.n; i++) {
        const ks_verdicts *v = &c->verdicts.at[i];
        if (row < v->code.n && v->code.at[row] != 0 && ks_filter_is_on(p, v->filter))
            return false;
    }
    return true;
}

/* Lanes that static filters, ports, devices and the caller's verdicts leave open; resources come in score_lanes. */
static uint64_t allowed_lanes(const ks_engine *e, const ks_profile *p, const lane_group *g, int32_t row) {
    uint64_t allowed = g->fixed.at[row]; /* 0 on removed rows */
    uint64_t ports = allowed & g->requests.with_ports, devices = allowed & g->requests.with_devices;
    if ((p->filters >> KS_FILTER_NODE_PORTS & 1u) == 0 || (ports != 0 && e->ports.at[row].n == 0))
        ports = 0;
    if ((p->filters >> KS_FILTER_GPU_SHARE & 1u) == 0)
        devices = 0;
    for (; ports != 0; ports &= ports - 1) {
        int32_t l = __builtin_ctzll(ports);
        if (ks_ports_in_use(e, &e->classes.at[g->lane_class[l]], row))
            allowed &= ~((uint64_t)1 << l);
    }
    for (; devices != 0; devices &= devices - 1) {
        int32_t l = __builtin_ctzll(devices);
        if (!ks_devices_fit(e, &e->classes.at[g->lane_class[l]], row))
            allowed &= ~((uint64_t)1 << l);
    }
    for (uint64_t verdicts = allowed & g->requests.with_verdicts; verdicts != 0; verdicts &= verdicts - 1) {
        int32_t l = __builtin_ctzll(verdicts);
        if (!passes_verdicts(p, &e->classes.at[g->lane_class[l]], row))
            allowed &= ~((uint64_t)1 << l);
    }
    return allowed;
}

static void score_lanes_slowly(ks_engine *e, const ks_profile *p, const lane_group *g, int32_t row, uint64_t allowed,
                               uint8_t *out) {
    bool fit_on = (p->filters >> KS_FILTER_NODE_RESOURCES_FIT & 1u) != 0;
    memset(out, 0, LANES);
    for (; allowed != 0; allowed &= allowed - 1) {
        int32_t l = __builtin_ctzll(allowed);
        const ks_class *c = &e->classes.at[g->lane_class[l]];
        if (!fit_on || ks_fit_passes(e, c, row))
            out[l] = (uint8_t)(ks_score_local(e, p, c, row) - (int64_t)g->requests.base[l] + 1);
    }
}

static void score_built_in(ks_engine *e, const ks_index *ix, const lane_group *g, int32_t row, uint8_t *out) {
    const ks_profile *p = &e->profiles.at[ix->profile];
    row_state s;
    s.allowed = allowed_lanes(e, p, g, row);
    if (s.allowed == 0) {
        memset(out, 0, LANES);
        return;
    }
    if (!ix->vector || !g->requests.narrow || !gather_fit(e, ix->plain.fit, row, &s) ||
        !gather_balanced(e, ix->plain.balanced, row, &s)) {
        score_lanes_slowly(e, p, g, row, s.allowed, out);
        return;
    }
    s.n_filter = (p->filters >> KS_FILTER_NODE_RESOURCES_FIT & 1u) != 0 ? g->requests.n_filter : 0;
    for (int32_t i = 0; i < s.n_filter; i++) {
        int32_t r = g->requests.filter_resource[i];
        s.free[i] = e->allocatable[r][row] - e->used[r][row];
    }
    score_lanes(&g->requests, &s, out);
}

static ks_status score_row(ks_engine *e, const ks_index *ix, const lane_group *g, int32_t row, uint8_t *out) {
    const ks_profile *p = &e->profiles.at[ix->profile];
    score_built_in(e, ix, g, row, out);
    if (p->n_user_filters + p->n_user_scores == 0)
        return KS_OK;
    return ks_user_lanes(e, p, row, g->n_lanes, g->lane_class, g->user_pod.at, out);
}

/* ---- groups of rows ---- */

static group_key key_of(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row) {
    group_key k = {0, 0, 0};
    if (p->taint_weight > 0)
        k.taint = c->taint_pref[e->taint_set.at[row]];
    if (p->affinity_weight > 0 && c->preferred.n_terms > 0)
        k.affinity = ks_affinity_weight(e, c, row);
    if (p->image_weight > 0)
        k.image = c->image_score[e->image_set.at[row]];
    return k;
}

static bool same_key(group_key a, group_key b) {
    return a.taint == b.taint && a.affinity == b.affinity && a.image == b.image;
}

/* True if the class's static side is the same on rows that share their sets. */
static bool same_sets(const ks_engine *e, int32_t a, int32_t b) {
    return e->label_set.at[a] == e->label_set.at[b] && e->taint_set.at[a] == e->taint_set.at[b] &&
           e->image_set.at[a] == e->image_set.at[b] && e->unschedulable.at[a] == e->unschedulable.at[b] &&
           e->live.at[a] == e->live.at[b];
}

static bool is_by_node(const ks_class *c) { return c->by_node || c->node_name != KS_NONE; }

/* Distinct groups among the rows that pass the static filters. Returns their number, or -1 if too many. */
static int32_t find_keys(const ks_engine *e, const ks_profile *p, const ks_class *c, group_key *key) {
    int32_t n = 0, last = KS_NONE;
    for (int32_t row = 0; row < e->n_rows; row++) {
        if (!e->live.at[row] || (last != KS_NONE && !is_by_node(c) && same_sets(e, row, last)))
            continue;
        last = row;
        if (!ks_passes_static(e, p, c, row))
            continue;
        group_key k = key_of(e, p, c, row);
        int32_t i = 0;
        while (i < n && !same_key(key[i], k))
            i++;
        if (i < n)
            continue;
        if (n == MAX_CLASS_LANES)
            return -1;
        key[n++] = k;
    }
    if (n == 0)
        key[n++] = (group_key){0, 0, 0}; /* nothing passes: one lane that stays empty */
    return n;
}

/* Lanes open on this row. *stale is set if a class sees a group here that has no lane. */
static uint64_t fixed_lanes(const ks_engine *e, const ks_profile *p, const lane_group *g, int32_t row, bool *stale) {
    uint64_t fixed = 0;
    if (!e->live.at[row])
        return 0;
    for (int32_t m = 0; m < g->n_members; m++) {
        const member *of = &g->members[m];
        const ks_class *c = &e->classes.at[of->class_id];
        if (!ks_passes_static(e, p, c, row))
            continue;
        group_key k = key_of(e, p, c, row);
        int32_t l = of->first;
        while (l < of->first + of->n && !same_key(g->key[l], k))
            l++;
        if (l < of->first + of->n)
            fixed |= (uint64_t)1 << l;
        else
            *stale = true;
    }
    return fixed;
}

/* ---- building a lane group ---- */

static int64_t rows_above(int64_t rows) { return (rows + FAN - 1) / FAN; }

static ks_status lay_out(ks_engine *e, lane_group *g) {
    if (g->block != NULL && g->row_cap >= e->n_rows)
        return KS_OK;
    int64_t cap = (int64_t)e->n_rows + e->n_rows / 8 + FAN, total = cap;
    for (int64_t rows = cap; rows > 1; total += rows)
        rows = rows_above(rows);
    ks_discard(&e->mem, &g->block, &g->block_bytes, 1);
    g->row_cap = 0;
    g->position = -1;
    KS_TRY(ks_reserve(&e->mem, &g->block, &g->block_bytes, (total + 1) * LANES, 1));
    uint8_t *at = (uint8_t *)(((uintptr_t)g->block + LANES - 1) & ~(uintptr_t)(LANES - 1));
    g->leaf = at;
    g->n_levels = 0;
    at += cap * LANES;
    for (int64_t rows = cap; rows > 1;) {
        rows = rows_above(rows);
        g->level_rows[g->n_levels] = rows;
        g->level[g->n_levels++] = at;
        at += rows * LANES;
    }
    g->row_cap = cap;
    return KS_OK;
}

static int32_t filter_slot(lane_requests *q, int32_t resource) {
    int32_t i = 0;
    while (i < q->n_filter && q->filter_resource[i] != resource)
        i++;
    if (i == q->n_filter && i < LANES) {
        q->filter_resource[q->n_filter++] = resource;
        for (int32_t l = 0; l < LANES; l++)
            q->filter[i * LANES + l] = INT64_MIN;
    }
    return i;
}

static void fill_lane(const ks_engine *e, const ks_index *ix, lane_requests *q, const ks_class *c, int32_t l) {
    q->narrow &= ks_is_narrow(c);
    q->filter[filter_slot(q, KS_PODS) * LANES + l] = 1;
    for (int32_t i = 0; i < c->n_checked; i++) {
        int32_t slot = filter_slot(q, c->request[i].resource);
        if (slot < LANES)
            q->filter[slot * LANES + l] = c->request[i].amount;
        else
            q->narrow = false; /* more distinct resources than slots: decided one lane at a time */
    }
    for (int32_t i = 0; ix->plain.fit != NULL && ix->vector && i < ix->plain.fit->n_resources; i++)
        q->fit[i][l] = (double)ks_amount_of(c->fit_request, c->n_fit_request, ix->plain.fit->resource[i]);
    for (int32_t i = 0; ix->plain.balanced != NULL && ix->vector && i < ix->plain.balanced->n_resources; i++)
        q->balanced[i][l] = (double)ks_amount_of(c->request, c->n_request, ix->plain.balanced->resource[i]);
    q->balanced_on[l] =
        ix->plain.balanced != NULL && !ks_score_skips(e, &e->profiles.at[ix->profile], ix->plain.balanced, c) ? 1.0
                                                                                                              : 0.0;
    q->base[l] = (double)ks_local_base(e, &e->profiles.at[ix->profile], c);
    q->with_ports |= c->n_ports > 0 ? (uint64_t)1 << l : 0;
    q->with_devices |= c->device_count > 0 ? (uint64_t)1 << l : 0;
    q->with_verdicts |= c->verdicts.n > 0 ? (uint64_t)1 << l : 0;
}

static ks_status fill_requests(ks_engine *e, const ks_index *ix, lane_group *g) {
    lane_requests *q = &g->requests;
    int64_t *filter = q->filter;
    KS_TRY(ks_reserve(&e->mem, (void **)&filter, &g->filter_cap, (int64_t)LANES * LANES, sizeof *filter));
    memset(q, 0, sizeof *q);
    q->filter = filter;
    q->narrow = true;
    for (int32_t l = 0; l < g->n_lanes; l++)
        fill_lane(e, ix, q, &e->classes.at[g->lane_class[l]], l);
    const ks_profile *p = &e->profiles.at[ix->profile];
    KS_TRY(KS_VEC_RESERVE(&e->mem, &g->user_pod, ks_user_lanes_size(e, p, g->n_lanes)));
    ks_user_lanes_fill(e, p, g->n_lanes, g->lane_class, g->user_pod.at);
    return KS_OK;
}

static void count_row(lane_group *g, const uint8_t *bytes) {
    for (int32_t l = 0; l < g->n_lanes; l++)
        g->histogram[l][bytes[l]]++;
}

static void build_levels(lane_group *g) {
    const uint8_t *child = g->leaf;
    int64_t rows = g->row_cap;
    for (int32_t k = 0; k < g->n_levels; k++) {
        for (int64_t i = 0; i < g->level_rows[k]; i++) {
            int64_t left = rows - i * FAN;
            max_rows(child + i * FAN * LANES, left < FAN ? left : FAN, g->level[k] + i * LANES);
        }
        child = g->level[k];
        rows = g->level_rows[k];
    }
}

static bool any_by_node(const ks_engine *e, const lane_group *g) {
    for (int32_t m = 0; m < g->n_members; m++)
        if (is_by_node(&e->classes.at[g->members[m].class_id]))
            return true;
    return false;
}

static ks_status build(ks_engine *e, const ks_index *ix, lane_group *g, bool *stale) {
    const ks_profile *p = &e->profiles.at[ix->profile];
    KS_TRY(lay_out(e, g));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &g->fixed, g->row_cap));
    KS_TRY(ks_reserve(&e->mem, (void **)&g->histogram, &g->histogram_cap, LANES, sizeof *g->histogram));
    KS_TRY(fill_requests(e, ix, g));
    memset(g->histogram, 0, LANES * sizeof *g->histogram);
    g->position = -1; /* until all of it is done */
    for (int32_t l = 0; l < LANES; l++)
        g->ties[l].is_on = false;
    bool by_node = any_by_node(e, g);
    for (int32_t row = 0; row < e->n_rows; row++) {
        bool repeat = row > 0 && !by_node && same_sets(e, row, row - 1);
        g->fixed.at[row] = repeat ? g->fixed.at[row - 1] : fixed_lanes(e, p, g, row, stale);
        KS_TRY(score_row(e, ix, g, row, g->leaf + (int64_t)row * LANES));
        count_row(g, g->leaf + (int64_t)row * LANES);
    }
    memset(g->leaf + (int64_t)e->n_rows * LANES, 0, (size_t)(g->row_cap - e->n_rows) * LANES);
    build_levels(g);
    g->n_rows = e->n_rows;
    g->position = ks_log_end(e);
    return KS_OK;
}

/* ---- following changes ---- */

static void raise_levels(lane_group *g, int32_t row) {
    const uint8_t *child = g->leaf;
    int64_t rows = g->row_cap, i = row;
    for (int32_t k = 0; k < g->n_levels; k++) {
        i /= FAN;
        int64_t left = rows - i * FAN;
        if (!max_rows(child + i * FAN * LANES, left < FAN ? left : FAN, g->level[k] + i * LANES))
            return;
        child = g->level[k];
        rows = g->level_rows[k];
    }
}

static uint64_t changed_lanes(const uint8_t *restrict a, const uint8_t *restrict b) {
    uint64_t changed = 0;
    for (int32_t w = 0; w < LANES / 8; w++) {
        uint64_t x, y;
        memcpy(&x, a + 8 * w, 8);
        memcpy(&y, b + 8 * w, 8);
        x ^= y;
        /* one bit for each byte that differs, gathered by a multiplication */
        x |= x >> 4;
        x |= x >> 2;
        x |= x >> 1;
        changed |= ((x & 0x0101010101010101u) * 0x0102040810204080u >> 56) << (8 * w);
    }
    return changed;
}

static ks_status refresh_row(ks_engine *e, const ks_index *ix, lane_group *g, int32_t row) {
    uint8_t now[LANES], *leaf = g->leaf + (int64_t)row * LANES;
    KS_TRY(score_row(e, ix, g, row, now));
    uint64_t changed = changed_lanes(now, leaf);
    if (changed == 0)
        return KS_OK;
    for (; changed != 0; changed &= changed - 1) {
        int32_t l = __builtin_ctzll(changed);
        g->histogram[l][leaf[l]]--;
        g->histogram[l][now[l]]++;
        if (g->ties[l].is_on && (leaf[l] == g->tied[l] || now[l] == g->tied[l]))
            ks_ties_count(&g->ties[l], row, now[l] == g->tied[l] ? 1 : -1);
    }
    memcpy(leaf, now, LANES);
    raise_levels(g, row);
    return KS_OK;
}

/* Reads the change log. Rows that joined since are appended while there is room. */
static ks_status follow(ks_engine *e, const ks_index *ix, lane_group *g, bool *stale) {
    const ks_profile *p = &e->profiles.at[ix->profile];
    if (g->position < e->log_base || e->n_rows > g->row_cap)
        return build(e, ix, g, stale);
    for (; g->n_rows < e->n_rows; g->n_rows++) {
        g->fixed.at[g->n_rows] = 0; /* its own log entry follows */
        count_row(g, g->leaf + (int64_t)g->n_rows * LANES);
    }
    int64_t at = g->position;
    bool is_static;
    for (int32_t row; (row = ks_log_next(e, &at, &is_static)) != KS_NONE;) {
        if (is_static)
            g->fixed.at[row] = fixed_lanes(e, p, g, row, stale);
        ks_status status = refresh_row(e, ix, g, row);
        if (status != KS_OK) {
            g->position = -1; /* rows before this one are done, later ones are not */
            return status;
        }
    }
    g->position = ks_log_end(e);
    return KS_OK;
}

/* ---- which classes are indexed ---- */

static void drop_member(ks_index *ix, lane_group *g, int32_t at) {
    ix->entries.at[g->members[at].class_id].group = KS_NONE;
    int32_t gone = g->members[at].n, first = g->members[at].first;
    int32_t moved = g->n_lanes - first - gone;
    memmove(&g->key[first], &g->key[first + gone], (size_t)moved * sizeof g->key[0]);
    memmove(&g->lane_class[first], &g->lane_class[first + gone], (size_t)moved * sizeof g->lane_class[0]);
    for (int32_t m = at; m + 1 < g->n_members; m++) {
        g->members[m] = g->members[m + 1];
        g->members[m].first -= gone;
        ix->entries.at[g->members[m].class_id].member = m;
    }
    g->n_members--;
    g->n_lanes -= gone;
    g->position = -1;
}

static ks_status find_group(ks_engine *e, ks_index *ix, int32_t lanes, int32_t *out) {
    for (int32_t i = 0; i < ix->n_groups; i++)
        if (ix->groups[i]->n_lanes + lanes <= LANES) {
            *out = i;
            return KS_OK;
        }
    if (ix->n_groups == MAX_GROUPS)
        return KS_EUNSUPPORTED;
    void *block = e->mem.allocator.resize(e->mem.allocator.context, NULL, 0, sizeof(lane_group));
    if (block == NULL)
        return KS_ENOMEM;
    e->mem.bytes += (int64_t)sizeof(lane_group);
    memset(block, 0, sizeof(lane_group));
    *out = ix->n_groups;
    ix->groups[ix->n_groups++] = block;
    return KS_OK;
}

/* Gives a class its lanes; they are filled when the group is next asked. */
static ks_status add_class(ks_engine *e, ks_index *ix, int32_t class_id) {
    class_entry *entry = &ix->entries.at[class_id];
    ks_class *c = &e->classes.at[class_id];
    group_key key[MAX_CLASS_LANES];
    int32_t at = 0;
    if (entry->refused)
        return KS_EUNSUPPORTED;
    KS_TRY(ks_class_prepare(e, c));
    int32_t n = find_keys(e, &e->profiles.at[ix->profile], c, key);
    if (n < 0) {
        entry->refused = true;
        return KS_EUNSUPPORTED;
    }
    KS_TRY(find_group(e, ix, n, &at));
    lane_group *g = ix->groups[at];
    entry->group = at;
    entry->member = g->n_members;
    g->members[g->n_members++] = (member){class_id, g->n_lanes, n};
    for (int32_t i = 0; i < n; i++) {
        g->key[g->n_lanes] = key[i];
        g->lane_class[g->n_lanes++] = class_id;
    }
    g->position = -1;
    g->prepared = -1;
    return KS_OK;
}

/* After a change that can give rows new groups, the classes that see them get their lanes anew. */
static void drop_stale(ks_engine *e, ks_index *ix, lane_group *g) {
    const ks_profile *p = &e->profiles.at[ix->profile];
    group_key key[MAX_CLASS_LANES];
    for (int32_t m = g->n_members - 1; m >= 0; m--) {
        const member *of = &g->members[m];
        int32_t n = find_keys(e, p, &e->classes.at[of->class_id], key);
        bool covered = n >= 0 && n <= of->n;
        for (int32_t i = 0; covered && i < n; i++) {
            int32_t l = of->first;
            while (l < of->first + of->n && !same_key(g->key[l], key[i]))
                l++;
            covered = l < of->first + of->n;
        }
        if (!covered)
            drop_member(ix, g, m);
    }
}

/* Image scores depend on how many nodes there are: when that changed, classes with images start again. */
static void check_images(ks_engine *e, ks_index *ix) {
    if (ix->image_version == e->sets.image_version || e->profiles.at[ix->profile].image_weight == 0)
        return;
    for (int32_t i = 0; i < ix->n_groups; i++)
        for (int32_t m = ix->groups[i]->n_members - 1; m >= 0; m--)
            if (e->classes.at[ix->groups[i]->members[m].class_id].n_images > 0)
                drop_member(ix, ix->groups[i], m);
    ix->image_version = e->sets.image_version;
}

static ks_status open_index(ks_engine *e, int32_t profile, ks_index **out) {
    const ks_profile *p = &e->profiles.at[profile];
    if (p->local_bound - p->base_bound > 254 || p->user_normalized || (p->has_scale && e->beyond_scale))
        return KS_EUNSUPPORTED; /* a lane is one byte */
    *out = e->indexes.at[profile];
    if (*out == NULL) {
        ks_index *ix = e->mem.allocator.resize(e->mem.allocator.context, NULL, 0, sizeof *ix);
        if (ix == NULL)
            return KS_ENOMEM;
        e->mem.bytes += (int64_t)sizeof *ix;
        memset(ix, 0, sizeof *ix);
        ix->profile = profile;
        ix->image_version = e->sets.image_version;
        ix->vector = ks_scores_are_plain(p, &ix->plain);
        e->indexes.at[profile] = *out = ix;
    }
    int64_t known = (*out)->entries.n;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &(*out)->entries, e->classes.n));
    for (; known < e->classes.n; known++)
        (*out)->entries.at[known] = NEW_ENTRY;
    (*out)->entries.n = e->classes.n;
    return KS_OK;
}

/* ---- asking ---- */

/* Lowest row of the lane that shows `value`, which its root shows. */
static int32_t first_row(const lane_group *g, int32_t lane, uint8_t value) {
    int64_t i = 0;
    for (int32_t k = g->n_levels - 2; k >= -1; k--) {
        const uint8_t *row = k >= 0 ? g->level[k] : g->leaf;
        i *= FAN;
        while (row[i * LANES + lane] != value)
            i++;
    }
    return (int32_t)i;
}

/* A lane that reaches the best total shows `value` in the rows that tie. */
typedef struct winner {
    int32_t lane;
    uint8_t value;
} winner;

static bool shows(const uint8_t *row, const winner *w, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        if (row[w[i].lane] == w[i].value)
            return true;
    return false;
}

/* The wanted-th row from `from` on, in row order, that shows a winner. O(blocks of 16 rows on the way). */
static int32_t nth_row(const lane_group *g, const winner *w, int32_t n, int32_t from, uint32_t wanted) {
    for (int64_t block = from / FAN; block * FAN < g->n_rows; block++) {
        const uint8_t *over = g->n_levels > 0 ? g->level[0] + block * LANES : g->leaf;
        bool holds = false;
        for (int32_t i = 0; i < n; i++) /* a block's maximum may hide smaller winners only of other lanes */
            holds |= over[w[i].lane] == w[i].value;
        int64_t end = (block + 1) * FAN < g->n_rows ? (block + 1) * FAN : g->n_rows;
        for (int64_t row = block * FAN; holds && row < end; row++)
            if (shows(g->leaf + row * LANES, w, n) && wanted-- == 0)
                return (int32_t)row;
    }
    return KS_NONE;
}

/* Lowest row from `row` on that shows the winner; KS_NONE: none does. O(levels), up and down again. */
static int32_t next_row(const lane_group *g, const winner *w, int64_t row) {
    int32_t k = -1; /* level of row i; -1: leaves */
    for (int64_t i = row;;) {
        const uint8_t *of = k < 0 ? g->leaf : g->level[k];
        int64_t n = k < 0 ? g->row_cap : g->level_rows[k], end = (i / FAN + 1) * FAN;
        end = end < n ? end : n;
        while (i < end && of[i * LANES + w->lane] != w->value)
            i++;
        if (i < end && k < 0)
            return (int32_t)i;
        if (i < end) {
            k--;
            i *= FAN;
        } else if (end == n) {
            return KS_NONE;
        } else {
            k++;
            i /= FAN;
        }
    }
}

/* Counts the rows that show the winner, unless they are counted already. O(rows that do). */
static ks_status count_ties(ks_engine *e, lane_group *g, const winner *w) {
    ks_ties *t = &g->ties[w->lane];
    if (t->is_on && g->tied[w->lane] == w->value)
        return KS_OK;
    t->is_on = false;
    KS_TRY(ks_ties_open(&e->mem, t, g->row_cap));
    g->tied[w->lane] = w->value;
    for (int32_t row = next_row(g, w, 0); row != KS_NONE; row = next_row(g, w, (int64_t)row + 1))
        ks_ties_count(t, row, 1);
    return KS_OK;
}

/* One of few ties; their rows one after another, so that counts of many that come again are kept. */
static int32_t draw_few(const lane_group *g, const winner *w, int32_t n, uint32_t wanted) {
    int64_t at[MAX_CLASS_LANES];
    for (int32_t i = 0; i < n; i++)
        at[i] = next_row(g, &w[i], 0);
    for (;; wanted--) {
        int32_t first = KS_NONE;
        for (int32_t i = 0; i < n; i++)
            if (at[i] != KS_NONE && (first == KS_NONE || at[i] < at[first]))
                first = i;
        if (wanted == 0)
            return (int32_t)at[first];
        at[first] = next_row(g, &w[first], at[first] + 1);
    }
}

/* The wanted-th of the rows that tie, in row order. */
static int32_t draw(ks_engine *e, lane_group *g, const winner *w, int32_t n, int32_t ties, uint32_t wanted) {
    const ks_ties *sets[MAX_CLASS_LANES];
    if (ties <= FEW_TIES)
        return draw_few(g, w, n, wanted);
    for (int32_t i = 0; i < n; i++) {
        if (count_ties(e, g, &w[i]) != KS_OK)
            return nth_row(g, w, n, 0, wanted); /* no memory: the same row, later */
        sets[i] = &g->ties[w[i].lane];
    }
    int32_t from = ks_ties_find(sets, n, &wanted);
    return nth_row(g, w, n, from, wanted);
}

static uint8_t root_of(const lane_group *g, int32_t lane) {
    return g->n_levels > 0 ? g->level[g->n_levels - 1][lane] : g->leaf[lane];
}

static int64_t group_score(const ks_profile *p, group_key k, group_key max) {
    int64_t score = p->image_weight * k.image;
    if (p->taint_weight > 0)
        score += p->taint_weight * ks_normalize_taint(k.taint, max.taint);
    if (p->affinity_weight > 0)
        score += p->affinity_weight * ks_normalize_up(k.affinity, max.affinity);
    return score;
}

/* Greatest raw values over the groups that have a feasible row, and the number of feasible rows. */
static group_key greatest_keys(const lane_group *g, const member *of, int32_t *feasible) {
    group_key max = {0, 0, 0};
    *feasible = 0;
    for (int32_t l = of->first; l < of->first + of->n; l++) {
        int32_t n = g->n_rows - (int32_t)g->histogram[l][0];
        *feasible += n;
        if (n == 0)
            continue;
        max.taint = g->key[l].taint > max.taint ? g->key[l].taint : max.taint;
        max.affinity = g->key[l].affinity > max.affinity ? g->key[l].affinity : max.affinity;
    }
    return max;
}

static void answer(ks_engine *e, const ks_profile *p, lane_group *g, const member *of, int32_t tie, uint64_t *rng,
                   ks_choice *out) {
    winner winners[MAX_CLASS_LANES];
    int32_t n = 0, feasible;
    group_key max = greatest_keys(g, of, &feasible);
    *out = (ks_choice){-1, KS_NONE, 0, feasible};
    for (int32_t l = of->first; l < of->first + of->n; l++) {
        uint8_t value = root_of(g, l);
        if (value == 0)
            continue;
        int64_t total = group_score(p, g->key[l], max) + (int64_t)g->requests.base[l] + value - 1;
        if (total < out->score)
            continue;
        if (total > out->score) {
            *out = (ks_choice){total, KS_NONE, 0, feasible};
            n = 0;
        }
        out->ties += (int32_t)g->histogram[l][value];
        winners[n++] = (winner){l, value};
    }
    if (tie == KS_TIE_UNIFORM && out->ties > 1) {
        out->node = draw(e, g, winners, n, out->ties, ks_random_below(rng, (uint32_t)out->ties));
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        int32_t row = first_row(g, winners[i].lane, winners[i].value);
        if (out->node == KS_NONE || row < out->node)
            out->node = row;
    }
}

/* Pairwise rules see every placement change the verdict of many rows, and the caller's raw scores are normalised over
 * all of them: lanes cannot follow that. */
static bool is_beyond_lanes(const ks_engine *e, int32_t profile, int32_t class_id) {
    const uint32_t pairwise = 1u << KS_FILTER_POD_TOPOLOGY_SPREAD | 1u << KS_FILTER_INTER_POD_AFFINITY;
    const ks_profile *p = &e->profiles.at[profile];
    if (p->claim_weight > 0 && e->classes.at[class_id].raw.n > 0)
        return true;
    return ks_has_pairwise(&e->classes.at[class_id]) &&
           ((p->filters & pairwise) != 0 || p->spread_weight > 0 || p->pods_weight > 0);
}

void ks_indexes_forget(ks_engine *e, int32_t class_id) {
    for (int64_t i = 0; i < e->indexes.n; i++) {
        ks_index *ix = e->indexes.at[i];
        const class_entry *entry = ix == NULL || class_id >= ix->entries.n ? NULL : &ix->entries.at[class_id];
        if (entry != NULL && entry->group != KS_NONE)
            drop_member(ix, ix->groups[entry->group], entry->member);
    }
}

void ks_indexes_lose(ks_engine *e, int32_t class_id) {
    ks_indexes_forget(e, class_id);
    for (int64_t i = 0; i < e->indexes.n; i++)
        if (e->indexes.at[i] != NULL && class_id < e->indexes.at[i]->entries.n)
            e->indexes.at[i]->entries.at[class_id] = NEW_ENTRY;
}

ks_status ks_index_expect(ks_engine *e, int32_t profile, int32_t driver, int32_t n, const int32_t *class_id) {
    ks_index *ix;
    ks_status status = open_index(e, profile, &ix);
    if (status != KS_OK)
        return status == KS_EUNSUPPORTED ? KS_OK : status;
    check_images(e, ix);
    for (int32_t i = 0; i < n; i++) {
        class_entry *entry = &ix->entries.at[class_id[i]];
        if (entry->group != KS_NONE || entry->refused || is_beyond_lanes(e, profile, class_id[i]))
            continue;
        if (driver == KS_DRIVER_AUTO && ++entry->asked <= SHY_ASKS)
            continue;
        entry->wanted = true;
        status = add_class(e, ix, class_id[i]);
        if (status != KS_OK && status != KS_EUNSUPPORTED)
            return status;
    }
    return KS_OK;
}

static ks_status prepare_members(ks_engine *e, lane_group *g) {
    if (g->prepared == e->sets.version)
        return KS_OK;
    for (int32_t m = 0; m < g->n_members; m++)
        KS_TRY(ks_class_prepare(e, &e->classes.at[g->members[m].class_id]));
    g->prepared = e->sets.version;
    return KS_OK;
}

ks_status ks_index_decide(ks_engine *e, int32_t profile, int32_t class_id, int32_t tie, uint64_t *rng, ks_choice *out) {
    ks_index *ix;
    if (is_beyond_lanes(e, profile, class_id))
        return KS_EUNSUPPORTED;
    KS_TRY(open_index(e, profile, &ix));
    check_images(e, ix);
    class_entry *entry = &ix->entries.at[class_id];
    /* Two rounds: following the log may show that the class needs other lanes. */
    for (int32_t round = 0; round < 2; round++) {
        if (!entry->wanted)
            return KS_EUNSUPPORTED;
        if (entry->group == KS_NONE)
            KS_TRY(add_class(e, ix, class_id));
        lane_group *g = ix->groups[entry->group];
        bool stale = false;
        KS_TRY(prepare_members(e, g));
        KS_TRY(follow(e, ix, g, &stale));
        if (stale)
            drop_stale(e, ix, g);
        if (entry->group != KS_NONE && ix->groups[entry->group]->position >= 0) {
            answer(e, &e->profiles.at[profile], g, &g->members[entry->member], tie, rng, out);
            return KS_OK;
        }
    }
    return KS_EUNSUPPORTED;
}

void ks_indexes_free(ks_engine *e) {
    for (int64_t i = 0; i < e->indexes.n; i++) {
        ks_index *ix = e->indexes.at[i];
        if (ix == NULL)
            continue;
        for (int32_t k = 0; k < ix->n_groups; k++) {
            lane_group *g = ix->groups[k];
            ks_discard(&e->mem, &g->block, &g->block_bytes, 1);
            KS_VEC_DISCARD(&e->mem, &g->user_pod);
            for (int32_t l = 0; l < LANES; l++)
                ks_ties_discard(&e->mem, &g->ties[l]);
            KS_VEC_DISCARD(&e->mem, &g->fixed);
            ks_discard(&e->mem, (void **)&g->histogram, &g->histogram_cap, sizeof *g->histogram);
            ks_discard(&e->mem, (void **)&g->requests.filter, &g->filter_cap, sizeof(int64_t));
            e->mem.allocator.resize(e->mem.allocator.context, g, sizeof *g, 0);
        }
        KS_VEC_DISCARD(&e->mem, &ix->entries);
        e->mem.allocator.resize(e->mem.allocator.context, ix, sizeof *ix, 0);
    }
    KS_VEC_DISCARD(&e->mem, &e->indexes);
}
