/* SPDX-License-Identifier: Apache-2.0
 * Scores against numbers worked out by hand from the formulas. */
#include "ks_test.h"

static int64_t WEIGHTS[] = {1, 1};

static ks_engine *one_node(int64_t cpu_used, int64_t memory_used) {
    ks_engine *e;
    int32_t id, done, node[] = {0};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 1), KS_OK); /* 8000 m, 16 GiB */
    CHECK_EQ(add_plain_class(e, cpu_used, memory_used, &id), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &id, node, NULL, &done), KS_OK);
    return e;
}

static int64_t score(ks_engine *e, ks_score s, int64_t cpu, int64_t memory) {
    int32_t id;
    CHECK_EQ(add_plain_class(e, cpu, memory, &id), KS_OK);
    int32_t resources[] = {KS_CPU, KS_MEMORY};
    s.n_resources = 2;
    s.resource = resources;
    s.resource_weight = WEIGHTS;
    return ks_score_one(e, &s, &e->classes.at[id], 0);
}

static void test_fit_strategies(void) {
    ks_engine *e = one_node(2000, 4 * GIB);
    ks_score s = {.plugin = KS_SCORE_NODE_RESOURCES_FIT, .variant = KS_FIT_LEAST_ALLOCATED};
    /* cpu (8000-3000)*100/8000 = 62, memory (16-6)*100/16 = 62 */
    CHECK_EQ(score(e, s, 1000, 2 * GIB), 62);
    CHECK_EQ(score(e, s, 7000, 2 * GIB), 31); /* cpu is over: 0; (0 + 62) / 2 */
    s.variant = KS_FIT_MOST_ALLOCATED;
    CHECK_EQ(score(e, s, 1000, 2 * GIB), 37); /* 37.5 truncated in both */
    CHECK_EQ(score(e, s, 7000, 2 * GIB), 68); /* cpu capped at 100; (100 + 37) / 2 */
    int64_t utilization[] = {0, 100}, shape[] = {0, 100};
    s.variant = KS_FIT_REQUESTED_TO_CAPACITY_RATIO;
    s.n_points = 2;
    s.utilization = utilization;
    s.shape_score = shape;
    CHECK_EQ(score(e, s, 1000, 2 * GIB), 37);
    CHECK_EQ(score(e, s, 1000, 12 * GIB), 69); /* (37 + 100) / 2 rounded half away */
    ks_engine_free(e);
}

static void test_balanced_allocation_formulas(void) {
    ks_engine *e = one_node(4000, 4 * GIB);
    ks_score s = {.plugin = KS_SCORE_BALANCED_ALLOCATION, .variant = KS_BALANCED_V135};
    /* with the pod: 0.5 and 0.5: deviation 0 */
    CHECK_EQ(score(e, s, 0, 4 * GIB), 100);
    /* 0.75 and 0.25: deviation 0.25 */
    CHECK_EQ(score(e, s, 2000, 0), 75);
    s.variant = KS_BALANCED_V136;          /* without the pod: 0.5 and 0.25: deviation 0.125, 87 */
    CHECK_EQ(score(e, s, 0, 4 * GIB), 81); /* 50 + (50 + 100 - 87) / 2 */
    CHECK_EQ(score(e, s, 2000, 0), 69);    /* 50 + (50 + 75 - 87) / 2 */
    ks_engine_free(e);
}

static void test_normalisation(void) {
    CHECK_EQ(ks_normalize_taint(0, 0), 100);
    CHECK_EQ(ks_normalize_taint(1, 3), 67); /* 100 - 33 */
    CHECK_EQ(ks_normalize_taint(3, 3), 0);
    CHECK_EQ(ks_normalize_up(5, 0), 5);
    CHECK_EQ(ks_normalize_up(1, 3), 33);
}

static void test_huge_quantities_do_not_overflow(void) {
    ks_engine *e;
    int64_t amount[4] = {KS_MAX_QUANTITY, KS_MAX_QUANTITY, 0, 10};
    int32_t first;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    ks_node_rows rows = {.n = 1, .allocatable = amount};
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_OK);
    ks_score s = {.plugin = KS_SCORE_NODE_RESOURCES_FIT, .variant = KS_FIT_LEAST_ALLOCATED};
    CHECK_EQ(score(e, s, 1, 1), 99);
    s.variant = KS_FIT_MOST_ALLOCATED;
    CHECK_EQ(score(e, s, KS_MAX_QUANTITY, KS_MAX_QUANTITY), 100);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_fit_strategies);
    RUN(test_balanced_allocation_formulas);
    RUN(test_normalisation);
    RUN(test_huge_quantities_do_not_overflow);
    return REPORT();
}
