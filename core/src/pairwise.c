/* SPDX-License-Identifier: Apache-2.0
 *
 * pairwise.c: what rules that look at other pods count: topology spreading and inter-pod affinity (rules.c judges).
 *
 * All of it is one mechanism. A counter counts, per row, the running pods of the classes that joined it (the caller
 * matched the selectors); a topology gives each row a domain; a tally adds a counter up by domain, over the rows that
 * a class admits; a rule looks a row's domain up in a tally:
 *
 *     spread            matching pods in the node's domain, against the fewest in any domain
 *     required affinity some pod that matches all terms, in the node's domain of every term
 *     anti-affinity     no pod that matches in the node's domain, either way round
 *     preferred terms   weights times pods in the node's domain
 *
 * A placement changes one entry of each tally that its class counts in: O(tallies). Rows that come, change or go make
 * all tallies stale; each is added up again, O(N), when it is next asked for.
 * Sources: plugins/podtopologyspread, plugins/interpodaffinity, v1.36. */
#include "internal.h"

#include <string.h> /* memset */

/* ---- topologies ---- */

static int32_t value_of(const ks_engine *e, int32_t label_key, int32_t label_set, int32_t hostname) {
    if (label_key == KS_KEY_HOSTNAME)
        return hostname;
    for (int32_t i = e->sets.label_start.at[label_set]; i < e->sets.label_start.at[label_set + 1]; i++)
        if (e->sets.label.at[i].key == label_key)
            return e->sets.label.at[i].value;
    return KS_NONE;
}

static ks_status reserve_value(ks_engine *e, ks_topology *t, int32_t value) {
    return value == KS_NONE ? KS_OK : KS_VEC_RESERVE(&e->mem, &t->of_value, (int64_t)value + 1);
}

ks_status ks_domains_reserve(ks_engine *e, int64_t rows, const ks_node_rows *in) {
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->pods, rows));
    for (int64_t k = 0; k < e->counters.n; k++)
        if (!e->counters.at[k].is_gone)
            KS_TRY(KS_VEC_RESERVE(&e->mem, &e->counters.at[k].pods, rows));
    for (int64_t k = 0; k < e->topologies.n; k++) {
        ks_topology *t = &e->topologies.at[k];
        KS_TRY(KS_VEC_RESERVE(&e->mem, &t->domain, rows));
        KS_TRY(KS_VEC_RESERVE(&e->mem, &t->rows, (int64_t)t->n_domains + in->n));
        for (int32_t i = 0; i < in->n; i++) {
            int32_t label_set = in->label_set == NULL ? 0 : in->label_set[i];
            int32_t hostname = in->hostname_value == NULL ? KS_NONE : in->hostname_value[i];
            KS_TRY(reserve_value(e, t, value_of(e, t->label_key, label_set, hostname)));
        }
    }
    return KS_OK;
}

static int32_t domain_of(const ks_engine *e, ks_topology *t, int32_t row) {
    int32_t value = value_of(e, t->label_key, e->label_set.at[row], e->hostname_value.at[row]);
    if (value == KS_NONE || !e->live.at[row])
        return KS_NONE;
    if (t->of_value.at[value] == 0)
        t->of_value.at[value] = ++t->n_domains;
    return t->of_value.at[value] - 1;
}

static void set_domain(ks_engine *e, ks_topology *t, int32_t row) {
    int32_t domain = domain_of(e, t, row), before = row < t->domain.n ? t->domain.at[row] : KS_NONE;
    t->domain.n = row < t->domain.n ? t->domain.n : row + 1;
    if (before != KS_NONE)
        t->n_shared -= t->rows.at[before]-- == 2;
    if (domain != KS_NONE)
        t->n_shared += ++t->rows.at[domain] == 2;
    t->domain.at[row] = domain;
}

void ks_domains_set(ks_engine *e, int32_t row) {
    e->rows_version++;
    e->within.is_on = false;
    for (int64_t k = 0; k < e->topologies.n; k++)
        set_domain(e, &e->topologies.at[k], row);
}

ks_status ks_topology_add(ks_engine *e, int32_t label_key, int32_t empty_value, int32_t *out_id) {
    if (e == NULL || out_id == NULL || (label_key < 0 && label_key != KS_KEY_HOSTNAME) || empty_value < 0)
        return KS_EINVAL;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->topologies, e->topologies.n + 1));
    ks_topology *t = &e->topologies.at[e->topologies.n];
    t->label_key = label_key;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &t->domain, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &t->rows, (int64_t)e->n_rows + 1));
    KS_TRY(reserve_value(e, t, empty_value));
    for (int32_t row = 0; row < e->n_rows; row++)
        KS_TRY(reserve_value(e, t, value_of(e, label_key, e->label_set.at[row], e->hostname_value.at[row])));
    t->n_domains = 1;
    t->of_value.at[empty_value] = 1;
    for (int32_t row = 0; row < e->n_rows; row++)
        set_domain(e, t, row);
    *out_id = (int32_t)e->topologies.n++;
    return KS_OK;
}

/* ---- counters ---- */

ks_status ks_counter_add(ks_engine *e, int32_t *out_id) {
    if (e == NULL || out_id == NULL)
        return KS_EINVAL;
    bool again = e->free_counters.n > 0;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->counters, e->counters.n + 1));
    *out_id = again ? e->free_counters.at[e->free_counters.n - 1] : (int32_t)e->counters.n;
    ks_counter *made = &e->counters.at[*out_id];
    KS_TRY(KS_VEC_RESERVE(&e->mem, &made->pods, e->n_rows));
    if (again)
        e->free_counters.n--;
    else
        e->counters.n++;
    made->is_gone = false;
    return KS_OK;
}

static bool has_counter(const ks_engine *e, int32_t counter) {
    return counter >= 0 && counter < e->counters.n && !e->counters.at[counter].is_gone;
}

ks_status ks_counter_join(ks_engine *e, int32_t counter, int32_t class_id) {
    if (e == NULL)
        return KS_EINVAL;
    if (!has_counter(e, counter) || !ks_has_class(e, class_id))
        return KS_ERANGE;
    ks_class *c = &e->classes.at[class_id];
    for (int64_t i = 0; i < c->counters.n; i++)
        if (c->counters.at[i] == counter)
            return KS_ESTATE; /* its pods would count twice */
    KS_TRY(KS_VEC_RESERVE(&e->mem, &c->counters, c->counters.n + 1));
    c->counters.at[c->counters.n++] = counter;
    e->joins += c->n_pods > 0;
    ks_counter *of = &e->counters.at[counter];
    for (int64_t i = 0; i < of->tallies.n; i++)
        e->tallies.at[of->tallies.at[i]].version = -1;
    for (int32_t row = 0; c->n_pods > 0 && row < e->n_rows; row++)
        for (int64_t i = 0; i < e->pods.at[row].n; i++)
            of->pods.at[row] += e->pods.at[row].at[i] == class_id;
    return KS_OK;
}

ks_status ks_counter_join_moved(ks_engine *e, int32_t counter, int32_t class_id) {
    if (e == NULL)
        return KS_EINVAL;
    if (!has_counter(e, counter) || !ks_has_class(e, class_id))
        return KS_ERANGE;
    ks_class *c = &e->classes.at[class_id];
    KS_TRY(KS_VEC_RESERVE(&e->mem, &c->moved, c->moved.n + 1));
    c->moved.at[c->moved.n++] = counter;
    e->joins += c->n_pods > 0;
    return KS_OK;
}

/* ---- tallies ---- */

static const int32_t *domains_of(const ks_engine *e, const ks_tally *t) {
    return t->class_id == KS_NONE ? e->topologies.at[t->topology].domain.at : t->domain.at;
}

/* Keeps the fewest pods of a domain and how many domains have so few; unknown (0 domains) once the last one grew. */
static void watch_fewest(ks_tally *t, int32_t domain, int32_t sign) {
    int64_t pods = t->pods.at[domain];
    if (t->rows.at[domain] == 0 || t->n_fewest == 0)
        return;
    if (sign > 0)
        t->n_fewest -= pods - sign == t->fewest;
    else if (pods < t->fewest) {
        t->fewest = pods;
        t->n_fewest = 1;
    } else
        t->n_fewest += pods == t->fewest;
}

static void count_in(ks_engine *e, int32_t counter, int32_t row, int32_t sign) {
    ks_counter *of = &e->counters.at[counter];
    of->pods.at[row] += sign;
    for (int64_t i = 0; i < of->tallies.n; i++) {
        ks_tally *t = &e->tallies.at[of->tallies.at[i]];
        if (t->version != e->rows_version)
            continue; /* it will be added up anew */
        int32_t domain = domains_of(e, t)[row];
        if (domain == KS_NONE)
            continue;
        t->pods.at[domain] += sign;
        t->total += sign;
        watch_fewest(t, domain, sign);
    }
}

int64_t ks_pods_find(const ks_engine *e, int32_t class_id, int32_t row) {
    const ks_row_list *list = &e->pods.at[row];
    int64_t i = 0;
    while (i < list->n && list->at[i] != class_id)
        i++;
    return i;
}

void ks_pods_count(ks_engine *e, int32_t class_id, int32_t row, int32_t sign, int64_t at) {
    ks_class *c = &e->classes.at[class_id];
    c->n_pods += sign;
    ks_row_list *list = &e->pods.at[row];
    if (sign > 0) { /* the one that was there makes room */
        list->at[list->n++] = list->at[at];
        list->at[at] = class_id;
    } else if (at < list->n) {
        list->at[at] = list->at[--list->n];
    }
    for (int64_t k = 0; k < c->counters.n; k++)
        count_in(e, c->counters.at[k], row, sign);
    for (int64_t k = 0; e->quiet && k < c->moved.n; k++)
        count_in(e, c->moved.at[k], row, sign);
}

void ks_pods_reclass(ks_engine *e, int32_t from, int32_t to, int32_t row, int64_t at) {
    ks_class *was = &e->classes.at[from], *now = &e->classes.at[to];
    e->pods.at[row].at[at] = to;
    was->n_pods--;
    now->n_pods++;
    for (int64_t k = 0; k < was->counters.n; k++)
        count_in(e, was->counters.at[k], row, -1);
    for (int64_t k = 0; k < now->counters.n; k++)
        count_in(e, now->counters.at[k], row, 1);
}

void ks_pods_clear(ks_engine *e, int32_t row) {
    for (int64_t i = 0; i < e->pods.at[row].n; i++)
        e->classes.at[e->pods.at[row].at[i]].n_pods--;
    e->pods.at[row].n = 0;
    for (int64_t k = 0; k < e->counters.n; k++)
        if (!e->counters.at[k].is_gone)
            e->counters.at[k].pods.at[row] = 0;
}

static bool has_keys(const ks_engine *e, const ks_spread *s, int32_t n, int32_t row) {
    for (int32_t i = 0; i < n; i++)
        if (e->topologies.at[s[i].topology].domain.at[row] == KS_NONE)
            return false;
    return true;
}

static bool is_admitted(const ks_engine *e, const ks_class *c, int32_t flags, int32_t row) {
    const ks_pairwise *w = &c->pairwise;
    if (!e->live.at[row] || ((flags & KS_TALLY_HARD_KEYS) != 0 && !has_keys(e, w->hard, w->n_hard, row)) ||
        ((flags & KS_TALLY_SOFT_KEYS) != 0 && !has_keys(e, w->soft, w->n_soft, row)))
        return false;
    if ((flags & KS_SPREAD_HONOR_TAINTS) != 0 && !c->taint_pass[e->taint_set.at[row]])
        return false;
    if ((flags & KS_SPREAD_HONOR_AFFINITY) == 0)
        return true;
    if (!c->by_node)
        return c->label_own[e->label_set.at[row]] != 0;
    return ks_affinity_passes(e, c, e->label_set.at[row], e->hostname_value.at[row], e->name_id.at[row]);
}

static void admit_rows(ks_engine *e, ks_tally *t) {
    const ks_class *c = &e->classes.at[t->class_id];
    const int32_t *domain = e->topologies.at[t->topology].domain.at;
    for (int32_t row = 0; row < e->n_rows; row++) {
        int32_t d = domain[row] == KS_NONE && (t->flags & KS_TALLY_MISSING) != 0 ? 0 : domain[row];
        t->domain.at[row] = d != KS_NONE && is_admitted(e, c, t->flags, row) ? d : KS_NONE;
    }
}

/* The class, if there is one, must be prepared. */
static ks_status add_up(ks_engine *e, ks_tally *t) {
    if (t->version == e->rows_version)
        return KS_OK;
    int32_t n_domains = e->topologies.at[t->topology].n_domains;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &t->pods, n_domains));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &t->rows, n_domains));
    if (t->class_id != KS_NONE) {
        KS_TRY(KS_VEC_RESERVE(&e->mem, &t->domain, e->n_rows));
        admit_rows(e, t);
    }
    memset(t->pods.at, 0, (size_t)t->pods.cap * sizeof *t->pods.at);
    memset(t->rows.at, 0, (size_t)t->rows.cap * sizeof *t->rows.at);
    t->n_fewest = 0;
    t->total = 0;
    t->n_domains = 0;
    const int32_t *domain = domains_of(e, t), *pods = e->counters.at[t->counter].pods.at;
    for (int32_t row = 0; row < e->n_rows; row++) {
        if (domain[row] == KS_NONE)
            continue;
        t->n_domains += t->rows.at[domain[row]]++ == 0;
        t->pods.at[domain[row]] += pods[row];
        t->total += pods[row];
    }
    t->version = e->rows_version;
    return KS_OK;
}

static ks_status find_tally(ks_engine *e, int32_t counter, int32_t topology, int32_t class_id, int32_t flags,
                            int32_t *out) {
    ks_counter *of = &e->counters.at[counter];
    for (int64_t i = 0; i < of->tallies.n; i++) {
        *out = of->tallies.at[i];
        const ks_tally *t = &e->tallies.at[*out];
        if (t->topology == topology && t->class_id == class_id && t->flags == flags)
            return KS_OK;
    }
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->tallies, e->tallies.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->free_tallies, e->tallies.n + 1)); /* giving up needs no memory */
    KS_TRY(KS_VEC_RESERVE(&e->mem, &of->tallies, of->tallies.n + 1));
    *out = e->free_tallies.n > 0 ? e->free_tallies.at[--e->free_tallies.n] : (int32_t)e->tallies.n++;
    e->tallies.at[*out] =
        (ks_tally){.counter = counter, .topology = topology, .class_id = class_id, .flags = flags, .version = -1};
    of->tallies.at[of->tallies.n++] = *out;
    return KS_OK;
}

/* ---- rules of a class ---- */

static ks_status check_pairs(const ks_engine *e, int32_t n, const int32_t *counter, const int32_t *topology) {
    if (n < 0 || (n > 0 && (counter == NULL || topology == NULL)))
        return KS_EINVAL;
    for (int32_t i = 0; i < n; i++)
        if (!has_counter(e, counter[i]) || topology[i] < 0 || topology[i] >= e->topologies.n)
            return KS_ERANGE;
    return KS_OK;
}

static ks_status check_spread(const ks_engine *e, const ks_pairwise_spec *s) {
    KS_TRY(check_pairs(e, s->n_spread, s->spread_counter, s->spread_topology));
    if (s->n_spread > 0 && (!s->spread_max_skew || !s->spread_min_domains || !s->spread_flags))
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n_spread; i++)
        if (s->spread_max_skew[i] < 1 || s->spread_min_domains[i] < 1 || s->spread_flags[i] < 0 ||
            s->spread_flags[i] > 15)
            return KS_EINVAL;
    return KS_OK;
}

static ks_status check_rules(const ks_engine *e, const ks_pairwise_spec *s) {
    const int64_t most = 1000000; /* arbitrary, far above 100 terms of weight 100: keeps sums inside int64 */
    KS_TRY(check_spread(e, s));
    KS_TRY(check_pairs(e, s->n_anti, s->anti_counter, s->anti_topology));
    KS_TRY(check_pairs(e, s->n_existing, s->existing_counter, s->existing_topology));
    KS_TRY(check_pairs(e, s->n_scored, s->scored_counter, s->scored_topology));
    if (s->n_affinity < 0 || (s->n_affinity > 0 && s->affinity_topology == NULL))
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n_affinity; i++)
        KS_TRY(check_pairs(e, 1, &s->affinity_counter, &s->affinity_topology[i]));
    if (s->n_scored > 0 && (s->scored_kind == NULL || s->scored_weight == NULL))
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n_scored; i++)
        if (s->scored_kind[i] < KS_TERM_OWN || s->scored_kind[i] > KS_TERM_REQUIRED || s->scored_weight[i] < -most ||
            s->scored_weight[i] > most)
            return KS_EINVAL;
    return KS_OK;
}

static ks_status fill_pair(ks_engine *e, ks_pair **at, int32_t counter, int32_t topology, int32_t kind,
                           int64_t weight) {
    **at = (ks_pair){0, topology, kind, weight};
    KS_TRY(find_tally(e, counter, topology, KS_NONE, 0, &(*at)->tally));
    (*at)++;
    return KS_OK;
}

static ks_status fill_spread(ks_engine *e, ks_spread *out, int32_t class_id, const ks_pairwise_spec *s, int32_t i) {
    bool hard = (s->spread_flags[i] & KS_SPREAD_HARD) != 0;
    int32_t topology = s->spread_topology[i];
    int32_t rows = hard ? KS_TALLY_HARD_KEYS : s->spread_needs_all ? KS_TALLY_SOFT_KEYS : KS_TALLY_MISSING;
    int32_t policies = s->spread_flags[i] & (KS_SPREAD_HONOR_AFFINITY | KS_SPREAD_HONOR_TAINTS);
    *out = (ks_spread){.counter = s->spread_counter[i],
                       .topology = topology,
                       .tally = KS_NONE,
                       .max_skew = s->spread_max_skew[i],
                       .min_domains = s->spread_min_domains[i],
                       .self = (s->spread_flags[i] & KS_SPREAD_SELF) != 0,
                       .by_host = e->topologies.at[topology].label_key == KS_KEY_HOSTNAME};
    if (!hard && out->by_host)
        return KS_OK; /* scored by the pods on the node itself */
    return find_tally(e, out->counter, topology, class_id, rows | policies, &out->tally);
}

static ks_status fill_rules(ks_engine *e, int32_t class_id, const ks_pairwise_spec *s, ks_pairwise *w) {
    w->affinity = w->block;
    ks_pair *at = w->affinity;
    for (int32_t i = 0; i < s->n_affinity; i++)
        KS_TRY(fill_pair(e, &at, s->affinity_counter, s->affinity_topology[i], 0, 1));
    w->anti = at;
    for (int32_t i = 0; i < s->n_anti; i++)
        KS_TRY(fill_pair(e, &at, s->anti_counter[i], s->anti_topology[i], 0, 1));
    w->existing = at;
    for (int32_t i = 0; i < s->n_existing; i++)
        KS_TRY(fill_pair(e, &at, s->existing_counter[i], s->existing_topology[i], 0, 1));
    w->scored = at;
    for (int32_t i = 0; i < s->n_scored; i++)
        KS_TRY(fill_pair(e, &at, s->scored_counter[i], s->scored_topology[i], s->scored_kind[i], s->scored_weight[i]));
    w->hard = (ks_spread *)at;
    w->soft = w->hard + w->n_hard;
    for (int32_t i = 0, hard = 0, soft = 0; i < s->n_spread; i++) {
        bool is_hard = (s->spread_flags[i] & KS_SPREAD_HARD) != 0;
        KS_TRY(fill_spread(e, is_hard ? &w->hard[hard++] : &w->soft[soft++], class_id, s, i));
    }
    return KS_OK;
}

ks_status ks_class_pairwise(ks_engine *e, int32_t class_id, const ks_pairwise_spec *s) {
    if (e == NULL || s == NULL)
        return KS_EINVAL;
    if (!ks_has_class(e, class_id))
        return KS_ERANGE;
    KS_TRY(check_rules(e, s));
    int64_t pairs = (int64_t)s->n_affinity + s->n_anti + s->n_existing + s->n_scored;
    ks_pairwise made = {.n_affinity = s->n_affinity,
                        .n_anti = s->n_anti,
                        .n_existing = s->n_existing,
                        .n_scored = s->n_scored,
                        .needs_all = s->spread_needs_all != 0,
                        .affinity_self = s->affinity_self != 0};
    for (int32_t i = 0; i < s->n_spread; i++)
        made.n_hard += (s->spread_flags[i] & KS_SPREAD_HARD) != 0;
    for (int32_t i = 0; i < s->n_scored; i++)
        made.has_own |= s->scored_kind[i] == KS_TERM_OWN;
    made.n_soft = s->n_spread - made.n_hard;
    int64_t bytes = pairs * (int64_t)sizeof(ks_pair) + s->n_spread * (int64_t)sizeof(ks_spread);
    KS_TRY(ks_reserve(&e->mem, &made.block, &made.block_bytes, bytes, 1));
    ks_status status = fill_rules(e, class_id, s, &made);
    ks_class *c = &e->classes.at[class_id];
    if (status != KS_OK) {
        ks_discard(&e->mem, &made.block, &made.block_bytes, 1);
        return status;
    }
    ks_discard(&e->mem, &c->pairwise.block, &c->pairwise.block_bytes, 1);
    c->pairwise = made;
    ks_cells_forget(c);
    ks_class_evictions_forget(c);
    /* Which rows a spread tally admits depends on the other constraints of its class. */
    for (int64_t i = 0; i < e->tallies.n; i++)
        if (e->tallies.at[i].class_id == class_id)
            e->tallies.at[i].version = -1;
    return KS_OK;
}

/* ---- giving up ---- */

static void drop_tally(ks_engine *e, int32_t tally) {
    ks_tally *t = &e->tallies.at[tally];
    KS_VEC_DISCARD(&e->mem, &t->pods);
    KS_VEC_DISCARD(&e->mem, &t->rows);
    KS_VEC_DISCARD(&e->mem, &t->domain);
    *t = (ks_tally){.counter = KS_NONE, .class_id = KS_NONE, .version = -1};
    e->free_tallies.at[e->free_tallies.n++] = tally;
}

/* Tallies of rows that only a class that is gone admitted. */
void ks_tallies_drop_gone(ks_engine *e) {
    for (int64_t k = 0; k < e->counters.n; k++) {
        ks_counter *of = &e->counters.at[k];
        int64_t left = 0;
        for (int64_t i = 0; i < of->tallies.n; i++) {
            int32_t tally = of->tallies.at[i], owner = e->tallies.at[tally].class_id;
            if (owner != KS_NONE && e->classes.at[owner].is_gone)
                drop_tally(e, tally);
            else
                of->tallies.at[left++] = tally;
        }
        of->tallies.n = left;
    }
}

static bool is_used(const ks_engine *e, const ks_class *c) {
    const ks_pairwise *w = &c->pairwise;
    const ks_pair *pair = w->affinity; /* the lists of pairs lie behind each other */
    for (int32_t i = 0; i < w->n_affinity + w->n_anti + w->n_existing + w->n_scored; i++)
        if (e->counters.at[e->tallies.at[pair[i].tally].counter].is_gone)
            return true;
    for (int32_t i = 0; i < w->n_hard + w->n_soft; i++)
        if (e->counters.at[w->hard[i].counter].is_gone)
            return true;
    return false;
}

static int64_t without_gone(const ks_engine *e, int32_t *counter, int64_t n) {
    int64_t left = 0;
    for (int64_t i = 0; i < n; i++)
        if (!e->counters.at[counter[i]].is_gone)
            counter[left++] = counter[i];
    return left;
}

static ks_status check_counters(ks_engine *e, int32_t n, const int32_t *counter) {
    for (int32_t i = 0; i < n; i++) {
        if (!has_counter(e, counter[i]))
            return KS_ERANGE; /* twice, too */
        e->counters.at[counter[i]].is_gone = true;
    }
    for (int64_t i = 0; i < e->classes.n; i++)
        if (is_used(e, &e->classes.at[i]))
            return KS_ESTATE;
    return KS_OK;
}

ks_status ks_counters_remove(ks_engine *e, int32_t n, const int32_t *counter) {
    if (e == NULL || n < 0 || (n > 0 && counter == NULL))
        return KS_EINVAL;
    if (e->n_marks > 0)
        return KS_ESTATE;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->free_counters, e->counters.n));
    for (int32_t i = 0; i < n; i++)
        if (!has_counter(e, counter[i]))
            return KS_ERANGE;
    ks_status status = check_counters(e, n, counter);
    for (int32_t i = 0; status != KS_OK && i < n; i++)
        e->counters.at[counter[i]].is_gone = false;
    KS_TRY(status);
    for (int64_t i = 0; i < e->classes.n; i++) {
        ks_class *c = &e->classes.at[i];
        c->counters.n = without_gone(e, c->counters.at, c->counters.n);
        c->moved.n = without_gone(e, c->moved.at, c->moved.n);
    }
    for (int32_t i = 0; i < n; i++) {
        ks_counter *of = &e->counters.at[counter[i]];
        for (int64_t k = 0; k < of->tallies.n; k++)
            drop_tally(e, of->tallies.at[k]);
        KS_VEC_DISCARD(&e->mem, &of->tallies);
        KS_VEC_DISCARD(&e->mem, &of->pods);
        *of = (ks_counter){.is_gone = true};
        e->free_counters.at[e->free_counters.n++] = counter[i];
    }
    return KS_OK;
}

void ks_class_pairwise_free(ks_engine *e, ks_class *c) {
    ks_discard(&e->mem, &c->pairwise.block, &c->pairwise.block_bytes, 1);
    KS_VEC_DISCARD(&e->mem, &c->counters);
    KS_VEC_DISCARD(&e->mem, &c->moved);
}

void ks_pairwise_free(ks_engine *e) {
    for (int64_t i = 0; i < e->pods.cap; i++)
        ks_row_list_discard(&e->mem, &e->pods.at[i]);
    KS_VEC_DISCARD(&e->mem, &e->pods);
    for (int64_t i = 0; i < e->topologies.cap; i++) {
        KS_VEC_DISCARD(&e->mem, &e->topologies.at[i].domain);
        KS_VEC_DISCARD(&e->mem, &e->topologies.at[i].of_value);
        KS_VEC_DISCARD(&e->mem, &e->topologies.at[i].rows);
        KS_VEC_DISCARD(&e->mem, &e->topologies.at[i].first);
        KS_VEC_DISCARD(&e->mem, &e->topologies.at[i].begin);
        KS_VEC_DISCARD(&e->mem, &e->topologies.at[i].members);
    }
    KS_VEC_DISCARD(&e->mem, &e->topologies);
    for (int64_t i = 0; i < e->counters.cap; i++) {
        KS_VEC_DISCARD(&e->mem, &e->counters.at[i].pods);
        KS_VEC_DISCARD(&e->mem, &e->counters.at[i].tallies);
    }
    KS_VEC_DISCARD(&e->mem, &e->counters);
    for (int64_t i = 0; i < e->tallies.n; i++) {
        KS_VEC_DISCARD(&e->mem, &e->tallies.at[i].pods);
        KS_VEC_DISCARD(&e->mem, &e->tallies.at[i].rows);
        KS_VEC_DISCARD(&e->mem, &e->tallies.at[i].domain);
    }
    KS_VEC_DISCARD(&e->mem, &e->tallies);
    KS_VEC_DISCARD(&e->mem, &e->free_counters);
    KS_VEC_DISCARD(&e->mem, &e->free_tallies);
}

/* ---- asking ---- */

static void find_fewest(const ks_engine *e, ks_tally *t) {
    int32_t n = e->topologies.at[t->topology].n_domains;
    t->fewest = INT64_MAX;
    for (int32_t d = 0; d < n; d++) {
        if (t->rows.at[d] == 0 || t->pods.at[d] > t->fewest)
            continue;
        t->n_fewest = t->pods.at[d] < t->fewest ? 1 : t->n_fewest + 1;
        t->fewest = t->pods.at[d];
    }
}

/* 0 if there are fewer domains than the constraint wants, so that a pod for a new one is missed. */
static int64_t fewest_of(const ks_engine *e, ks_tally *t, int32_t min_domains) {
    if (t->n_domains < min_domains)
        return 0;
    if (t->n_fewest == 0)
        find_fewest(e, t);
    return t->fewest < 0 ? 0 : t->fewest; /* see spread_near */
}

static ks_status add_up_pairs(ks_engine *e, const ks_pair *pair, int32_t n) {
    for (int32_t i = 0; i < n; i++)
        KS_TRY(add_up(e, &e->tallies.at[pair[i].tally]));
    return KS_OK;
}

ks_status ks_pairwise_prepare(ks_engine *e, ks_class *c) {
    ks_pairwise *w = &c->pairwise;
    for (int32_t i = 0; i < w->n_hard; i++) {
        ks_tally *t = &e->tallies.at[w->hard[i].tally];
        KS_TRY(add_up(e, t));
        w->hard[i].fewest = fewest_of(e, t, w->hard[i].min_domains);
    }
    for (int32_t i = 0; i < w->n_soft; i++)
        if (w->soft[i].tally != KS_NONE)
            KS_TRY(add_up(e, &e->tallies.at[w->soft[i].tally]));
    KS_TRY(add_up_pairs(e, w->affinity, w->n_affinity));
    KS_TRY(add_up_pairs(e, w->anti, w->n_anti));
    KS_TRY(add_up_pairs(e, w->existing, w->n_existing));
    KS_TRY(add_up_pairs(e, w->scored, w->n_scored));
    w->affinity_any = false;
    for (int32_t i = 0; i < w->n_affinity; i++)
        w->affinity_any |= e->tallies.at[w->affinity[i].tally].total > 0;
    return KS_VEC_RESERVE(&e->mem, &e->scratch.near, ks_n_rules(w));
}
