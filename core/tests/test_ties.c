/* SPDX-License-Identifier: Apache-2.0
 * Drawing among many rows that tie: the row that the dense driver draws, whatever changes in between. */
#include "ks_test.h"

enum { ROWS = 3000, MOST = 4000 };

static uint64_t seed;
static int32_t draw(uint32_t n) { return (int32_t)ks_random_below(&seed, n); }

static void test_finding_the_kth_of_several_sets(void) {
    ks_memory mem;
    ks_memory_default(&mem);
    ks_ties sets[3] = {0};
    const ks_ties *all[] = {&sets[0], &sets[1], &sets[2]};
    static int8_t of[40000];
    seed = 5;
    for (int32_t i = 0; i < 3; i++)
        CHECK_EQ(ks_ties_open(&mem, &sets[i], 40000), KS_OK);
    uint32_t n = 0;
    for (int32_t row = 0; row < 40000; row++) {
        of[row] = (int8_t)(draw(row < 20000 ? 5 : 300) < 3 ? draw(3) + 1 : 0);
        if (of[row] != 0)
            ks_ties_count(&sets[of[row] - 1], row, 1);
        n += of[row] != 0;
    }
    for (uint32_t wanted = 0, row = 0; wanted < n; wanted++, row++) {
        while (of[row] == 0)
            row++;
        uint32_t left = wanted;
        uint32_t at = (uint32_t)ks_ties_find(all, 3, &left);
        CHECK_EQ(at, row / KS_TIE_BLOCK * KS_TIE_BLOCK);
        for (; at < row; at++)
            left -= of[at] != 0;
        CHECK_EQ(left, 0);
    }
    for (int32_t i = 0; i < 3; i++)
        ks_ties_discard(&mem, &sets[i]);
    CHECK_EQ(mem.bytes, 0);
}

static int32_t decide_both(ks_engine *e, int32_t profile, int32_t class_id, int64_t *n_indexed) {
    int32_t node[2], ties[2], done;
    uint64_t rng = seed;
    for (int32_t i = 0; i < 2; i++) {
        ks_options o = {.profile = profile,
                        .driver = i == 0 ? KS_DRIVER_DENSE : KS_DRIVER_INDEXED,
                        .tie = KS_TIE_UNIFORM,
                        .rng = rng};
        ks_decisions out = {.node = &node[i], .ties = &ties[i]};
        CHECK_EQ(ks_place(e, &o, 1, &class_id, &out, &done), KS_OK);
        *n_indexed += o.n_indexed;
        seed = o.rng;
    }
    CHECK_EQ(node[1], node[0]);
    CHECK_EQ(ties[1], ties[0]);
    return node[0];
}

/* Pods come and go, rows are removed, come back and are added. */
static void churn(ks_engine *e, int32_t profile, const int32_t *class_id, int32_t n_classes) {
    static int32_t held_row[MOST], held_class[MOST];
    int32_t n_held = 0, done, n_asked = 0;
    int64_t n_indexed = 0;
    for (int32_t i = 0; i < 400; i++) {
        int32_t of = class_id[draw((uint32_t)n_classes)], row = draw((uint32_t)e->n_rows), what = draw(20);
        if (what == 0 && n_held > 0) {
            int32_t at = draw((uint32_t)n_held);
            CHECK_EQ(ks_release(e, 1, &held_class[at], &held_row[at], NULL, &done), KS_OK);
            held_row[at] = held_row[--n_held];
            held_class[at] = held_class[n_held];
        } else if (what == 1 && e->live.at[row] && e->pods.at[row].n == 0) {
            CHECK_EQ(ks_nodes_remove(e, 1, &row), KS_OK);
        } else if (what == 2 && i % 3 == 0) {
            CHECK_EQ(add_plain_nodes(e, 1 + draw(40)), KS_OK);
        } else {
            int32_t node = decide_both(e, profile, of, &n_indexed);
            n_asked++;
            CHECK_EQ(ks_bind(e, 1, &of, &node, NULL, &done), KS_OK);
            held_row[n_held] = node;
            held_class[n_held++] = of;
        }
    }
    CHECK_EQ(n_indexed, n_asked);
}

static void test_lanes_draw_as_dense_does(void) {
    ks_engine *e;
    int32_t profile, id[3];
    seed = 11;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, ROWS), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    for (int32_t i = 0; i < 3; i++)
        CHECK_EQ(add_plain_class(e, 500 + 700 * i, GIB, &id[i]), KS_OK);
    churn(e, profile, id, 3);
    ks_engine_free(e);
}

static void test_cells_draw_as_dense_does(void) {
    ks_engine *e;
    int32_t profile, zone, counter, id[2];
    seed = 12;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, ROWS), KS_OK);
    for (int32_t row = 0; row < ROWS; row++)
        e->hostname_value.at[row] = 1 + row % 3; /* stands for a zone */
    CHECK_EQ(ks_topology_add(e, KS_KEY_HOSTNAME, 0, &zone), KS_OK);
    ks_score_spec scores[] = {
        {.plugin = KS_SCORE_NODE_RESOURCES_FIT,
         .weight = 1,
         .n_resources = 2,
         .resource = (int32_t[]){KS_CPU, KS_MEMORY},
         .resource_weight = (int64_t[]){1, 1}},
        {.plugin = KS_SCORE_INTER_POD_AFFINITY, .weight = 2},
    };
    ks_profile_spec spec = {.filters = 0x3f | 1u << KS_FILTER_POD_TOPOLOGY_SPREAD | 1u << KS_FILTER_INTER_POD_AFFINITY,
                            .n_scores = 2,
                            .scores = scores};
    CHECK_EQ(ks_profile_add(e, &spec, &profile), KS_OK);
    CHECK_EQ(ks_counter_add(e, &counter), KS_OK);
    for (int32_t i = 0; i < 2; i++) {
        int32_t skew = 2, least = 1, flags = KS_SPREAD_HARD, kind = KS_TERM_OWN;
        int64_t weight = i == 0 ? 3 : -3;
        ks_pairwise_spec rules = {.n_spread = i,
                                  .spread_counter = &counter,
                                  .spread_topology = &zone,
                                  .spread_max_skew = &skew,
                                  .spread_min_domains = &least,
                                  .spread_flags = &flags,
                                  .n_scored = 1,
                                  .scored_counter = &counter,
                                  .scored_topology = &zone,
                                  .scored_kind = &kind,
                                  .scored_weight = &weight};
        CHECK_EQ(add_plain_class(e, 500 + 700 * i, GIB, &id[i]), KS_OK);
        CHECK_EQ(ks_counter_join(e, counter, id[i]), KS_OK);
        CHECK_EQ(ks_class_pairwise(e, id[i], &rules), KS_OK);
    }
    churn(e, profile, id, 2);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_finding_the_kth_of_several_sets);
    RUN(test_lanes_draw_as_dense_does);
    RUN(test_cells_draw_as_dense_does);
    return REPORT();
}
