/* SPDX-License-Identifier: Apache-2.0
 * Explanations add up to the decision. */
#include "ks_test.h"

static void test_scores_add_up(void) {
    ks_engine *e;
    int32_t profile, id, filter[4], row[] = {3}, done, node, ties;
    int64_t score[5][4], total[4], best;
    uint8_t skipped[5], unresolvable[4];
    uint64_t insufficient[4];
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 4), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1000, GIB, &id), KS_OK);
    CHECK_EQ(ks_nodes_remove(e, 1, row), KS_OK);
    e->used[KS_CPU][0] = 7500;
    CHECK_EQ(ks_explain(e, profile, id, filter, unresolvable, NULL, insufficient, NULL, &score[0][0], skipped, total),
             KS_OK);
    CHECK_EQ(filter[0], KS_FILTER_NODE_RESOURCES_FIT);
    CHECK_EQ(insufficient[0], 1u << KS_CPU);
    CHECK_EQ(unresolvable[0], 0);
    CHECK_EQ(filter[1], KS_NONE);
    CHECK_EQ(filter[3], -2);
    CHECK_EQ(total[0], -1);
    CHECK_EQ(skipped[1], 1); /* no preferred terms */
    CHECK_EQ(skipped[2], 0);
    CHECK_EQ(total[1], 3 * score[0][1] + score[2][1] + score[3][1] + score[4][1]);
    ks_options o = {.profile = profile};
    ks_decisions out = {.node = &node, .score = &best, .ties = &ties};
    CHECK_EQ(ks_place(e, &o, 1, &id, &out, &done), KS_OK);
    CHECK_EQ(best, total[node]);
    CHECK_EQ(ties, 2);
    ks_engine_free(e);
}

static void test_bad_ids_are_refused(void) {
    ks_engine *e;
    int32_t profile, filter[1];
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(ks_explain(e, profile, 0, filter, NULL, NULL, NULL, NULL, NULL, NULL, NULL), KS_ERANGE);
    CHECK_EQ(ks_explain(e, 3, 0, filter, NULL, NULL, NULL, NULL, NULL, NULL, NULL), KS_ERANGE);
    CHECK_EQ(ks_explain(NULL, 0, 0, filter, NULL, NULL, NULL, NULL, NULL, NULL, NULL), KS_EINVAL);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_scores_add_up);
    RUN(test_bad_ids_are_refused);
    return REPORT();
}
