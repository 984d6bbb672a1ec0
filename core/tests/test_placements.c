/* SPDX-License-Identifier: Apache-2.0
 * Placements: which rows they hold, how full they are, and which is best. */
#include "ks_test.h"

enum { RACK_KEY = 1, ROWS = 6 };

static ks_engine *e;
static int32_t profile, small, rack;

/* Rows 0 and 2 in one rack, 1, 3 and 5 in another, 4 in none; 8 cores and 16 GiB each. */
static void set_up(void) {
    int32_t key[] = {RACK_KEY}, set[2], first;
    int64_t number[] = {0}, amount[4 * ROWS] = {0};
    uint8_t is_number[] = {0};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    for (int32_t v = 1; v <= 2; v++)
        CHECK_EQ(ks_label_set_add(e, 1, key, &v, number, is_number, &set[v - 1]), KS_OK);
    for (int32_t i = 0; i < ROWS; i++) {
        amount[KS_CPU * ROWS + i] = 8000;
        amount[KS_MEMORY * ROWS + i] = 16 * GIB;
        amount[KS_PODS * ROWS + i] = 10;
    }
    int32_t labels[] = {set[0], set[1], set[0], set[1], 0, set[1]};
    ks_node_rows rows = {.n = ROWS, .allocatable = amount, .label_set = labels};
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_OK);
    CHECK_EQ(ks_topology_add(e, RACK_KEY, 0, &rack), KS_OK);
    const int32_t resources[] = {KS_CPU, KS_MEMORY};
    const int64_t weights[] = {1, 1};
    ks_score_spec fit = {.plugin = KS_SCORE_NODE_RESOURCES_FIT,
                         .weight = 1,
                         .variant = KS_FIT_MOST_ALLOCATED,
                         .n_resources = 2,
                         .resource = resources,
                         .resource_weight = weights};
    ks_profile_spec spec = {.filters = 0x3f, .placement_fit = &fit, .placement_pods_weight = 1};
    CHECK_EQ(ks_profile_add(e, &spec, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1000, GIB, &small), KS_OK);
}

static void test_rows_of_a_placement(void) {
    set_up();
    int32_t n;
    const int32_t *row;
    CHECK_EQ(ks_placements(e, rack, &n, &row), KS_OK);
    CHECK_EQ(n, 2);
    CHECK(row[0] == 0 && row[1] == 1);
    CHECK_EQ(ks_within(e, rack, 3, &n), KS_OK);
    CHECK_EQ(n, 3);
    CHECK(ks_is_within(e, 5) && !ks_is_within(e, 0) && !ks_is_within(e, 4));
    CHECK_EQ(ks_within(e, KS_NONE, KS_NONE, &n), KS_OK);
    CHECK_EQ(n, ROWS);
    CHECK_EQ(ks_nodes_remove(e, 1, (int32_t[]){0}), KS_OK);
    CHECK_EQ(ks_placements(e, rack, &n, &row), KS_OK);
    CHECK(n == 2 && row[0] == 1 && row[1] == 2);
    ks_engine_free(e);
}

static void test_how_full_and_which_is_best(void) {
    set_up();
    int32_t classes[] = {small, small, small}, node[] = {0, 2, KS_NONE}, at, ties, done;
    int64_t score;
    CHECK_EQ(ks_bind(e, 1, classes, node, NULL, &done), KS_OK);
    CHECK_EQ(ks_within(e, rack, 0, NULL), KS_OK);
    CHECK_EQ(ks_placement_fit(e, profile, 3, classes, node, &score), KS_OK);
    CHECK_EQ(score, (3000 * 100 / 16000 + 3 * 100 / 32) / 2);
    ks_options o = {.profile = profile, .tie = KS_TIE_UNIFORM, .rng = 1};
    CHECK_EQ(ks_placement_choose(e, &o, 3, (int32_t[]){2, 4, 4}, (int64_t[]){60, 9, 11}, &at, &ties), KS_OK);
    CHECK(at == 2 && ties == 1 && o.rng == 1); /* 50 + 60 against 100 + 9 and 100 + 11 */
    CHECK_EQ(ks_placement_choose(e, &o, 3, (int32_t[]){2, 4, 4}, (int64_t[]){60, 10, 9}, &at, &ties), KS_OK);
    CHECK(at < 2 && ties == 2 && o.rng != 1);
    ks_engine_free(e);
}

static void test_bad_arguments_are_refused(void) {
    set_up();
    int32_t classes[] = {small}, none[] = {0}, n, at, ties;
    int64_t fit[] = {50}, score;
    const int32_t *row;
    CHECK_EQ(ks_placements(e, 9, &n, &row), KS_ERANGE);
    CHECK_EQ(ks_within(e, rack, 4, &n), KS_ERANGE); /* the row has no such label */
    CHECK_EQ(ks_within(e, 9, 0, &n), KS_ERANGE);
    CHECK_EQ(ks_placement_fit(e, 7, 1, classes, none, &score), KS_ERANGE);
    ks_options o = {.profile = profile};
    CHECK_EQ(ks_placement_choose(e, &o, 1, none, fit, &at, &ties), KS_EINVAL);
    ks_groups groups = {.n = 1};
    CHECK_EQ(ks_place_groups(e, &o, &groups, classes, NULL, &n), KS_EINVAL);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_rows_of_a_placement);
    RUN(test_how_full_and_which_is_best);
    RUN(test_bad_arguments_are_refused);
    return REPORT();
}
