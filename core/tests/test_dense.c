/* SPDX-License-Identifier: Apache-2.0
 * The dense driver: best node, ties, normalisation over feasible rows only. */
#include "ks_test.h"

static ks_choice decide(ks_engine *e, int32_t profile, int32_t class_id, int32_t tie, uint64_t *rng) {
    ks_choice choice;
    CHECK_EQ(ks_class_prepare(e, &e->classes.at[class_id]), KS_OK);
    CHECK_EQ(ks_dense_decide(e, profile, &e->classes.at[class_id], tie, rng, &choice), KS_OK);
    return choice;
}

static void test_lowest_row_wins_ties(void) {
    ks_engine *e;
    int32_t profile, id, done, node[] = {0};
    uint64_t rng = 1;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 5), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1000, GIB, &id), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &id, node, NULL, &done), KS_OK);
    ks_choice c = decide(e, profile, id, KS_TIE_LOWEST, &rng);
    CHECK_EQ(c.node, 1);
    CHECK_EQ(c.ties, 4);
    CHECK_EQ(c.feasible, 5);
    CHECK_EQ(rng, 1);
    uint32_t seen = 0;
    for (int32_t i = 0; i < 100; i++)
        seen |= 1u << decide(e, profile, id, KS_TIE_UNIFORM, &rng).node;
    CHECK_EQ(seen, 0x1e); /* every tied row, and no other */
    ks_engine_free(e);
}

static void test_nothing_feasible(void) {
    ks_engine *e;
    int32_t profile, id;
    uint64_t rng = 1;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 9000, 0, &id), KS_OK);
    CHECK_EQ(decide(e, profile, id, KS_TIE_LOWEST, &rng).node, KS_NONE); /* no node at all */
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    ks_choice c = decide(e, profile, id, KS_TIE_UNIFORM, &rng);
    CHECK_EQ(c.node, KS_NONE);
    CHECK_EQ(c.score, -1);
    CHECK_EQ(c.ties, 0);
    CHECK_EQ(c.feasible, 0);
    ks_engine_free(e);
}

static void test_taints_are_normalised_over_feasible_rows(void) {
    ks_engine *e;
    int32_t profile, id, set, row[] = {2}, key[] = {1, 2}, value[] = {1, 1};
    int32_t effect[] = {KS_EFFECT_PREFER_NO_SCHEDULE, KS_EFFECT_PREFER_NO_SCHEDULE};
    int64_t amount[4] = {8000, 16 * GIB, 0, 10};
    uint64_t rng = 1;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(ks_taint_set_add(e, 2, key, value, effect, &set), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1000, 2 * GIB, &id), KS_OK);
    ks_node_rows rows = {.n = 1, .allocatable = amount, .taint_set = &set};
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_OK);
    /* 3*100 + LeastAllocated 87 + balanced 75 */
    CHECK_EQ(decide(e, profile, id, KS_TIE_LOWEST, &rng).score, 300 + 87 + 75);
    CHECK_EQ(decide(e, profile, id, KS_TIE_LOWEST, &rng).ties, 2);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_lowest_row_wins_ties);
    RUN(test_nothing_feasible);
    RUN(test_taints_are_normalised_over_feasible_rows);
    return REPORT();
}
