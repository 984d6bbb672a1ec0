/* SPDX-License-Identifier: Apache-2.0
 * Cells must answer as the dense driver does, whatever happens to rows, pods and rules in between. */
#include "ks_test.h"

enum { ZONE = 1, RACK = 2, EMPTY = 0, NODES = 14, CLASSES = 4, SETS = 12, MOST_PODS = 200 };

typedef struct world {
    ks_engine *e;
    uint64_t rng;
    int32_t profile, set[SETS], zone, rack, host, counter[CLASSES], id[CLASSES];
    int32_t n_pods, pod_class[MOST_PODS], pod_row[MOST_PODS];
} world;

static int32_t any(world *w, uint32_t n) { return (int32_t)ks_random_below(&w->rng, n); }

static void random_rows(world *w, int32_t n, int64_t *amount, int32_t *labels, int32_t *hostname) {
    for (int32_t i = 0; i < n; i++) {
        amount[KS_CPU * n + i] = 2000 + 1000 * any(w, 3);
        amount[KS_MEMORY * n + i] = 8 * GIB;
        amount[KS_EPHEMERAL_STORAGE * n + i] = 0;
        amount[KS_PODS * n + i] = 12;
        labels[i] = any(w, 6) == 0 ? 0 : w->set[any(w, SETS)];
        hostname[i] = any(w, 8) == 0 ? KS_NONE : 200 + any(w, 400);
    }
}

static void add_rows(world *w, int32_t n) {
    int64_t amount[4 * NODES];
    int32_t labels[NODES], hostname[NODES], first;
    random_rows(w, n, amount, labels, hostname);
    ks_node_rows rows = {.n = n, .allocatable = amount, .label_set = labels, .hostname_value = hostname};
    CHECK_EQ(ks_nodes_add(w->e, &rows, &first), KS_OK);
}

/* A rule set with up to two of each kind. */
static void set_rules(world *w, int32_t at) {
    int32_t topology[2], counter[2], skew[2], domains[2], flags[2], kind[2];
    int64_t weight[2];
    for (int32_t i = 0; i < 2; i++) {
        topology[i] = (int32_t[]){w->zone, w->rack, w->host}[any(w, 3)];
        counter[i] = w->counter[any(w, CLASSES)];
        skew[i] = 1 + any(w, 3);
        domains[i] = 1 + any(w, 3);
        flags[i] = any(w, 16);
        kind[i] = any(w, 3);
        weight[i] = any(w, 21) - 10;
    }
    ks_pairwise_spec spec = {.n_spread = any(w, 3),
                             .spread_counter = counter,
                             .spread_topology = topology,
                             .spread_max_skew = skew,
                             .spread_min_domains = domains,
                             .spread_flags = flags,
                             .spread_needs_all = any(w, 2),
                             .n_affinity = any(w, 4) == 0,
                             .affinity_counter = counter[0],
                             .affinity_topology = topology,
                             .affinity_self = any(w, 2),
                             .n_anti = any(w, 3) == 0,
                             .anti_counter = counter,
                             .anti_topology = topology,
                             .n_existing = any(w, 3) == 0,
                             .existing_counter = &counter[1],
                             .existing_topology = &topology[1],
                             .n_scored = any(w, 3),
                             .scored_counter = counter,
                             .scored_topology = topology,
                             .scored_kind = kind,
                             .scored_weight = weight};
    CHECK_EQ(ks_class_pairwise(w->e, w->id[at], &spec), KS_OK);
}

static void open_world(world *w, uint64_t seed) {
    *w = (world){.rng = seed};
    CHECK_EQ(ks_engine_new(4, &w->e), KS_OK);
    for (int32_t i = 0; i < SETS; i++) {
        int32_t key[] = {ZONE, RACK}, value[] = {10 + i % 3, 100 + i % 5};
        int64_t number[] = {0, 0};
        uint8_t is_number[] = {0, 0};
        CHECK_EQ(ks_label_set_add(w->e, 1 + i % 2, key, value, number, is_number, &w->set[i]), KS_OK);
    }
    add_rows(w, NODES / 2);
    CHECK_EQ(ks_topology_add(w->e, ZONE, EMPTY, &w->zone), KS_OK);
    CHECK_EQ(ks_topology_add(w->e, RACK, EMPTY, &w->rack), KS_OK);
    CHECK_EQ(ks_topology_add(w->e, KS_KEY_HOSTNAME, EMPTY, &w->host), KS_OK);
    for (int32_t i = 0; i < CLASSES; i++) {
        CHECK_EQ(add_plain_class(w->e, 100 * (i + 1), GIB / 2, &w->id[i]), KS_OK);
        CHECK_EQ(ks_counter_add(w->e, &w->counter[i]), KS_OK);
        CHECK_EQ(ks_counter_join(w->e, w->counter[i], w->id[i]), KS_OK);
    }
    for (int32_t i = 0; i < CLASSES; i++)
        set_rules(w, i);
    ks_score_spec scores[] = {
        {.plugin = KS_SCORE_NODE_RESOURCES_FIT,
         .weight = 1,
         .n_resources = 2,
         .resource = (int32_t[]){KS_CPU, KS_MEMORY},
         .resource_weight = (int64_t[]){1, 1}},
        {.plugin = KS_SCORE_POD_TOPOLOGY_SPREAD, .weight = 2},
        {.plugin = KS_SCORE_INTER_POD_AFFINITY, .weight = 2},
        {.plugin = KS_SCORE_DYNAMIC_RESOURCES, .weight = 2},
    };
    ks_profile_spec spec = {.filters = (1u << KS_N_FILTERS) - 1, .n_scores = 4, .scores = scores, .required_weight = 1};
    CHECK_EQ(ks_profile_add(w->e, &spec, &w->profile), KS_OK);
}

/* Its pods go with it. */
static void remove_row(world *w, int32_t row) {
    CHECK_EQ(ks_nodes_remove(w->e, 1, &row), KS_OK);
    int32_t n = 0;
    for (int32_t i = 0; i < w->n_pods; i++)
        if (w->pod_row[i] != row) {
            w->pod_class[n] = w->pod_class[i];
            w->pod_row[n++] = w->pod_row[i];
        }
    w->n_pods = n;
}

static void change_rows(world *w, uint32_t what) {
    int32_t row = any(w, (uint32_t)w->e->n_rows), labels[1], hostname[1];
    int64_t amount[4], raw = any(w, 4);
    uint8_t code = (uint8_t)any(w, 2);
    random_rows(w, 1, amount, labels, hostname);
    ks_node_rows one = {.n = 1, .allocatable = amount, .label_set = labels, .hostname_value = hostname};
    if (what == 0 && w->e->n_rows < NODES)
        add_rows(w, 1);
    else if (what == 1)
        CHECK_EQ(ks_nodes_update(w->e, &row, &one), KS_OK);
    else if (what == 5 && w->e->live.at[row] && w->e->n_live > NODES / 3)
        remove_row(w, row);
    else if (what == 2)
        set_rules(w, any(w, CLASSES));
    else if (what == 3)
        CHECK_EQ(ks_class_verdicts(w->e, w->id[any(w, CLASSES)], KS_FILTER_VOLUME_BINDING, 1, &row, &code), KS_OK);
    else if (what == 4)
        CHECK_EQ(ks_class_raw(w->e, w->id[0], KS_SCORE_DYNAMIC_RESOURCES, 1, &row, &raw), KS_OK);
}

static void change_pods(world *w, int32_t class_id, int32_t node) {
    int32_t done;
    if (node != KS_NONE && w->n_pods < MOST_PODS && any(w, 5) > 0) {
        w->pod_class[w->n_pods] = class_id;
        w->pod_row[w->n_pods++] = node;
        CHECK_EQ(ks_bind(w->e, 1, &class_id, &node, NULL, &done), KS_OK);
    } else if (w->n_pods > 0) {
        int32_t at = any(w, (uint32_t)w->n_pods);
        CHECK_EQ(ks_release(w->e, 1, &w->pod_class[at], &w->pod_row[at], NULL, &done), KS_OK);
        w->n_pods--;
        w->pod_class[at] = w->pod_class[w->n_pods];
        w->pod_row[at] = w->pod_row[w->n_pods];
    }
}

static int64_t compare(world *w) {
    int32_t class_id = w->id[any(w, CLASSES)], tie = any(w, 2) ? KS_TIE_UNIFORM : KS_TIE_LOWEST;
    uint64_t before = w->rng, after;
    ks_choice dense, cells;
    CHECK_EQ(ks_class_prepare(w->e, &w->e->classes.at[class_id]), KS_OK);
    CHECK_EQ(ks_dense_decide(w->e, w->profile, &w->e->classes.at[class_id], tie, &w->rng, &dense), KS_OK);
    after = w->rng;
    w->rng = before;
    CHECK_EQ(ks_cells_decide(w->e, w->profile, KS_DRIVER_INDEXED, class_id, tie, &w->rng, &cells), KS_OK);
    CHECK_EQ(w->rng, after);
    CHECK_EQ(cells.node, dense.node);
    CHECK_EQ(cells.score, dense.score);
    CHECK_EQ(cells.ties, dense.ties);
    CHECK_EQ(cells.feasible, dense.feasible);
    w->rng = before;
    CHECK_EQ(ks_sweep_decide(w->e, w->profile, &w->e->classes.at[class_id], tie, &w->rng, &cells), KS_OK);
    CHECK_EQ(w->rng, after);
    CHECK_EQ(cells.node, dense.node);
    CHECK_EQ(cells.score, dense.score);
    CHECK_EQ(cells.ties, dense.ties);
    CHECK_EQ(cells.feasible, dense.feasible);
    change_pods(w, class_id, dense.node);
    return dense.feasible;
}

static void test_same_answer_as_dense(void) {
    int64_t feasible = 0;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        world w;
        open_world(&w, seed);
        for (int32_t step = 0; step < 400; step++) {
            change_rows(&w, (uint32_t)any(&w, 24));
            feasible += compare(&w);
        }
        ks_engine_free(w.e);
    }
    CHECK(feasible > 5000);
}

/* Speculation moves rows to and fro: heaps hold rows that left and came back. */
static void test_heaps_forget_what_left(void) {
    world w;
    open_world(&w, 5);
    for (int32_t step = 0; step < 2000; step++) {
        int64_t mark;
        CHECK_EQ(ks_speculate(w.e, &mark), KS_OK);
        int32_t pods = w.n_pods;
        compare(&w);
        CHECK_EQ(ks_rollback(w.e, mark), KS_OK);
        w.n_pods = pods;
        w.n_pods = 0;
        compare(&w);
        if (w.n_pods > 0 && step % 8 != 0) {
            int32_t done;
            CHECK_EQ(ks_release(w.e, 1, w.pod_class, w.pod_row, NULL, &done), KS_OK);
        }
        w.n_pods = 0;
    }
    ks_engine_free(w.e);
}

/* A scored profile with more classes than are cheap: the first questions are the dense driver's. */
static void test_shy_and_by_profile(void) {
    world w;
    ks_choice out;
    int32_t other;
    open_world(&w, 9);
    for (int32_t ask = 1; ask <= 3; ask++)
        CHECK_EQ(ks_cells_decide(w.e, w.profile, KS_DRIVER_AUTO, w.id[0], KS_TIE_LOWEST, &w.rng, &out),
                 ask <= 2 ? KS_EUNSUPPORTED : KS_OK);
    ks_score_spec heavy = {.plugin = KS_SCORE_IMAGE_LOCALITY, .weight = 3};
    ks_profile_spec spec = {.filters = 0x3f, .n_scores = 1, .scores = &heavy};
    CHECK_EQ(ks_profile_add(w.e, &spec, &other), KS_OK);
    CHECK_EQ(ks_cells_decide(w.e, other, KS_DRIVER_AUTO, w.id[0], KS_TIE_LOWEST, &w.rng, &out), KS_OK);
    CHECK_EQ(out.score, 0);
    CHECK_EQ(out.feasible, w.e->n_live);
    ks_engine_free(w.e);
}

int main(void) {
    RUN(test_same_answer_as_dense);
    RUN(test_heaps_forget_what_left);
    RUN(test_shy_and_by_profile);
    return REPORT();
}
