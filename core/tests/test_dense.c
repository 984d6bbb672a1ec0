/* SPDX-License-Identifier: Apache-2.0
 * The dense driver: best node, ties, normalisation over feasible rows only. */
#include "ks_test.h"

static ks_choice decide(ks_engine *e, int32_t profile, int32_t class_id, int32_t tie, uint64_t *rng) {
    ks_choice choice;
    CHECK_EQ(ks_class_prepare(e, &e->classes.at[class_id]), KS_OK);
    CHECK_EQ(ks_dense_decide(e, profile, &e->classes.at[class_id], false, tie, rng, &choice), KS_OK);
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

/* What is kept must answer as what is computed anew, whatever happens to rows in between. */
static void test_what_is_kept_follows_every_change(void) {
    enum { NODES = 12, CLASSES = 3, STEPS = 3000 };
    ks_engine *e;
    int32_t profile, id[CLASSES], done, placed_class[STEPS], placed_row[STEPS], n_placed = 0;
    uint64_t rng = 7;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, NODES), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    for (int32_t i = 0; i < CLASSES; i++)
        CHECK_EQ(add_plain_class(e, 300 * (i + 1), GIB / 2 * (3 - i), &id[i]), KS_OK);
    for (int32_t step = 0; step < STEPS; step++) {
        int32_t class_id = id[ks_random_below(&rng, CLASSES)], row = (int32_t)ks_random_below(&rng, NODES);
        ks_class *c = &e->classes.at[class_id];
        ks_choice anew, kept;
        CHECK_EQ(ks_class_prepare(e, c), KS_OK);
        CHECK_EQ(ks_dense_decide(e, profile, c, false, KS_TIE_LOWEST, &rng, &anew), KS_OK);
        CHECK_EQ(ks_dense_decide(e, profile, c, true, KS_TIE_LOWEST, &rng, &kept), KS_OK);
        CHECK_EQ(kept.node, anew.node);
        CHECK_EQ(kept.score, anew.score);
        CHECK_EQ(kept.ties, anew.ties);
        CHECK_EQ(kept.feasible, anew.feasible);
        uint8_t code = (uint8_t)ks_random_below(&rng, 2), unschedulable = (uint8_t)ks_random_below(&rng, 2);
        int64_t amount[] = {4000 + 1000 * (int64_t)ks_random_below(&rng, 4), 8 * GIB, 0, 10};
        ks_node_rows rows = {.n = 1, .allocatable = amount, .unschedulable = &unschedulable};
        uint32_t what = ks_random_below(&rng, 20);
        if (what == 0)
            CHECK_EQ(ks_nodes_update(e, &row, &rows), KS_OK);
        else if (what == 1)
            CHECK_EQ(ks_class_verdicts(e, class_id, KS_FILTER_VOLUME_BINDING, 1, &row, &code), KS_OK);
        else if (what < 9 && n_placed > 0) {
            n_placed--;
            CHECK_EQ(ks_release(e, 1, &placed_class[n_placed], &placed_row[n_placed], NULL, &done), KS_OK);
        } else if (anew.node != KS_NONE) {
            placed_class[n_placed] = class_id;
            placed_row[n_placed++] = anew.node;
            CHECK_EQ(ks_bind(e, 1, &class_id, &anew.node, NULL, &done), KS_OK);
        }
    }
    CHECK(n_placed > NODES);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_lowest_row_wins_ties);
    RUN(test_nothing_feasible);
    RUN(test_taints_are_normalised_over_feasible_rows);
    RUN(test_what_is_kept_follows_every_change);
    return REPORT();
}
