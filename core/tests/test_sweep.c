/* SPDX-License-Identifier: Apache-2.0
 * Deciding column by column: the dense driver's answer, whatever runs; test_index.c has classes with more rules. */
#include "ks_test.h"

static ks_class *class_of(ks_engine *e, int32_t id) { return &e->classes.at[id]; }

/* The dense answer, after a check that the sweep gives the same. */
static ks_choice decide(ks_engine *e, int32_t profile, int32_t id, int32_t tie) {
    ks_choice dense, swept;
    uint64_t a = 7, b = 7;
    CHECK_EQ(ks_class_prepare(e, class_of(e, id)), KS_OK);
    CHECK_EQ(ks_dense_decide(e, profile, class_of(e, id), tie, &a, &dense), KS_OK);
    CHECK_EQ(ks_sweep_decide(e, profile, class_of(e, id), tie, &b, &swept), KS_OK);
    CHECK_EQ(swept.node, dense.node);
    CHECK_EQ(swept.score, dense.score);
    CHECK_EQ(swept.ties, dense.ties);
    CHECK_EQ(swept.feasible, dense.feasible);
    CHECK_EQ(a, b); /* ties are drawn from the same place */
    return dense;
}

static void test_same_answer_until_nothing_fits(void) {
    ks_engine *e;
    int32_t profile, id[3], done;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 37), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1500, 3 * GIB, &id[0]), KS_OK);
    CHECK_EQ(add_plain_class(e, 0, 0, &id[1]), KS_OK); /* skips balanced allocation */
    CHECK_EQ(add_plain_class(e, 100, GIB, &id[2]), KS_OK);
    int32_t n_full = 0;
    for (int32_t i = 0; i < 400; i++) {
        ks_choice c = decide(e, profile, id[i % 3], i % 2);
        n_full += c.feasible == 0;
        if (c.node != KS_NONE)
            CHECK_EQ(ks_bind(e, 1, &id[i % 3], &c.node, NULL, &done), KS_OK);
    }
    CHECK(n_full > 0);
    ks_engine_free(e);
}

/* More rows than a block, few of which are feasible, then none. */
static void test_few_rows_of_many(void) {
    ks_engine *e;
    int32_t profile, filler, id, done;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3000), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 7000, GIB, &filler), KS_OK);
    CHECK_EQ(add_plain_class(e, 2000, GIB, &id), KS_OK);
    for (int32_t row = 0; row < 3000; row++)
        if (row != 5 && row != 1024 && row != 2999)
            CHECK_EQ(ks_bind(e, 1, &filler, &row, NULL, &done), KS_OK);
    ks_choice c = decide(e, profile, id, 0);
    CHECK_EQ(c.feasible, 3);
    CHECK_EQ(c.ties, 3);
    CHECK_EQ(c.node, 5);
    const int32_t gone[] = {5, 1024, 2999};
    CHECK_EQ(ks_nodes_remove(e, 3, gone), KS_OK);
    CHECK_EQ(decide(e, profile, id, 0).node, KS_NONE);
    ks_engine_free(e);
}

/* Classes that differ in what no score looks at share a column, while rows come, go, change and fill up. */
static void test_kept_columns_follow_changes(void) {
    ks_engine *e;
    int32_t profile, other, id[4], done;
    CHECK_EQ(ks_engine_new(5, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 200), KS_OK);
    for (int32_t row = 0; row < 200; row++)
        e->allocatable[KS_FIRST_EXTENDED][row] = 4;
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_default_profile(e, &other), KS_OK);
    for (int32_t i = 0; i < 4; i++) {
        plain_class p;
        make_plain_class(&p, i < 3 ? 700 : 800, GIB);
        ask_extended(&p, 1 + i % 2);
        CHECK_EQ(ks_class_add(e, &p.spec, &id[i]), KS_OK);
    }
    for (int32_t i = 0; i < 300; i++) {
        int32_t of = id[i % 9 == 0 ? 3 : i % 3], row = (i * 7) % 200, n_many = i % 50 == 0 ? 40 : 1;
        ks_choice c = decide(e, i % 31 == 0 ? other : profile, of, i % 2);
        for (int32_t k = 0; k < n_many && c.node != KS_NONE; k++) { /* many: more than are scored one by one */
            int32_t at = k == 0 ? c.node : k;
            CHECK_EQ(ks_bind(e, e->live.at[at] != 0, &of, &at, NULL, &done), KS_OK);
        }
        if (i % 20 == 0)
            CHECK_EQ(ks_nodes_remove(e, e->live.at[row] != 0, &row), KS_OK);
        if (i % 25 == 0)
            CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    }
    ks_engine_free(e);
}

static void test_no_rows(void) {
    ks_engine *e;
    int32_t profile, id;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1, 1, &id), KS_OK);
    CHECK_EQ(decide(e, profile, id, 0).node, KS_NONE);
    ks_engine_free(e);
}

static void test_other_scores_are_left_to_dense(void) {
    ks_engine *e;
    int32_t profile, id;
    ks_choice out;
    uint64_t rng = 1;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(add_policy(e, KS_SCORE_BEST_FIT, 0, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1, 1, &id), KS_OK);
    CHECK_EQ(ks_class_prepare(e, class_of(e, id)), KS_OK);
    CHECK_EQ(ks_sweep_decide(e, profile, class_of(e, id), 0, &rng, &out), KS_EUNSUPPORTED);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_same_answer_until_nothing_fits);
    RUN(test_few_rows_of_many);
    RUN(test_kept_columns_follow_changes);
    RUN(test_no_rows);
    RUN(test_other_scores_are_left_to_dense);
    return REPORT();
}
