/* SPDX-License-Identifier: Apache-2.0
 * Gangs: all or nothing, given up early, and without a trace when they fail. */
#include "ks_test.h"

enum { MAX_PODS = 64 };

static ks_engine *e;
static int32_t profile, small, large, done;
static int32_t node[MAX_PODS], ties[MAX_PODS], fitted[8], first_failed[8], n_decided[8];
static int64_t score[MAX_PODS];
static uint8_t placed[8];
static ks_decisions out = {.node = node, .score = score, .ties = ties};
static ks_options options;

/* Three nodes of 8 cores; a small pod takes one core, a large one five. */
static void set_up(int32_t driver) {
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1000, GIB, &small), KS_OK);
    CHECK_EQ(add_plain_class(e, 5000, GIB, &large), KS_OK);
    options = (ks_options){.profile = profile, .driver = driver, .commit = 1};
}

static ks_status place(int32_t n, const int32_t *start, const int32_t *minimum, const int32_t *class_id) {
    ks_groups groups = {.n = n,
                        .start = start,
                        .minimum = minimum,
                        .placed = placed,
                        .fitted = fitted,
                        .first_failed = first_failed,
                        .n_decided = n_decided};
    return ks_place_groups(e, &options, &groups, class_id, &out, &done);
}

static void test_all_or_nothing(int32_t driver) {
    set_up(driver);
    int32_t classes[] = {large, large, large, large, small, small, large};
    int32_t start[] = {0, 4, 6, 7}, minimum[] = {4, 2, 0};
    CHECK_EQ(place(3, start, minimum, classes), KS_OK);
    CHECK_EQ(done, 3);
    CHECK_EQ(placed[0], 0); /* three nodes hold three large pods */
    CHECK_EQ(fitted[0], 3);
    CHECK_EQ(first_failed[0], 3);
    CHECK_EQ(placed[1], 1);
    CHECK_EQ(fitted[1], 2);
    CHECK_EQ(first_failed[1], KS_NONE);
    CHECK_EQ(placed[2], 1);
    CHECK_EQ(e->classes.at[large].n_pods, 1);
    CHECK_EQ(e->classes.at[small].n_pods, 2);
    ks_engine_free(e);
}

static void test_drivers_agree(void) {
    test_all_or_nothing(KS_DRIVER_DENSE);
    test_all_or_nothing(KS_DRIVER_INDEXED);
}

/* More than the minimum may be placed, and pods of a placed group may fail. */
static void test_minimum_below_the_size(void) {
    set_up(KS_DRIVER_AUTO);
    int32_t classes[] = {large, large, large, large, small}, start[] = {0, 5}, minimum[] = {3};
    CHECK_EQ(place(1, start, minimum, classes), KS_OK);
    CHECK_EQ(placed[0], 1);
    CHECK_EQ(fitted[0], 4);
    CHECK_EQ(first_failed[0], 3);
    CHECK_EQ(node[3], KS_NONE);
    CHECK(node[4] != KS_NONE);
    ks_engine_free(e);
}

static void test_given_up_early(void) {
    set_up(KS_DRIVER_AUTO);
    int32_t classes[] = {large, large, large, large, small, small}, start[] = {0, 6}, minimum[] = {6};
    int64_t before = fingerprint(e);
    CHECK_EQ(place(1, start, minimum, classes), KS_OK);
    CHECK_EQ(placed[0], 0);
    CHECK_EQ(n_decided[0], 4);
    CHECK_EQ(fingerprint(e), before);
    minimum[0] = 7; /* more than there are: not even looked at */
    CHECK_EQ(place(1, start, minimum, classes), KS_OK);
    CHECK_EQ(n_decided[0], 0);
    CHECK_EQ(fingerprint(e), before);
    ks_engine_free(e);
}

/* A failed group draws no number: what is decided after it is what would have been decided without it. */
static void test_failure_leaves_no_trace(void) {
    int32_t classes[] = {small, large, large, large, large, small}, start[] = {0, 1, 5, 6}, minimum[] = {0, 4, 0};
    int32_t alone[] = {small, small}, alone_start[] = {0, 2}, expected[2];
    set_up(KS_DRIVER_AUTO);
    options.tie = KS_TIE_UNIFORM;
    options.rng = 7;
    CHECK_EQ(place(1, alone_start, minimum, alone), KS_OK);
    memcpy(expected, node, sizeof expected);
    uint64_t rng = options.rng;
    int64_t print = fingerprint(e);
    ks_engine_free(e);
    set_up(KS_DRIVER_AUTO);
    options.tie = KS_TIE_UNIFORM;
    options.rng = 7;
    CHECK_EQ(place(3, start, minimum, classes), KS_OK);
    CHECK_EQ(placed[1], 0);
    CHECK_EQ(node[0], expected[0]);
    CHECK_EQ(node[5], expected[1]);
    CHECK(options.rng == rng);
    CHECK_EQ(fingerprint(e), print);
    ks_engine_free(e);
}

static void test_nothing_stays_without_commit(void) {
    set_up(KS_DRIVER_AUTO);
    options.commit = 0;
    int32_t classes[] = {large, large, large, small}, start[] = {0, 3, 4}, minimum[] = {3, 1};
    int64_t before = fingerprint(e);
    CHECK_EQ(place(2, start, minimum, classes), KS_OK);
    CHECK_EQ(placed[0], 1);
    CHECK(node[0] != node[1] && node[1] != node[2]);
    CHECK_EQ(placed[1], 1);
    CHECK_EQ(fingerprint(e), before);
    ks_engine_free(e);
}

static void test_inside_a_speculation(void) {
    set_up(KS_DRIVER_AUTO);
    int32_t classes[] = {small, small, large, large, large, large}, start[] = {0, 2, 6}, minimum[] = {2, 4};
    int64_t before = fingerprint(e), mark;
    CHECK_EQ(ks_speculate(e, &mark), KS_OK);
    CHECK_EQ(place(2, start, minimum, classes), KS_OK);
    CHECK_EQ(placed[0], 1);
    CHECK_EQ(placed[1], 0);
    CHECK_EQ(e->classes.at[small].n_pods, 2);
    CHECK_EQ(ks_rollback(e, mark), KS_OK);
    CHECK_EQ(fingerprint(e), before);
    ks_engine_free(e);
}

/* Two racks of three rows each; in each, one row has 16 cores instead of 8. */
static int32_t rack;

static void set_up_racks(int32_t driver) {
    int32_t key[] = {1}, set[2], first;
    int64_t number[] = {0}, amount[4 * 6];
    uint8_t is_number[] = {0};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    for (int32_t v = 1; v <= 2; v++)
        CHECK_EQ(ks_label_set_add(e, 1, key, &v, number, is_number, &set[v - 1]), KS_OK);
    for (int32_t i = 0; i < 6; i++) {
        amount[KS_CPU * 6 + i] = i < 2 ? 16000 : 8000;
        amount[KS_MEMORY * 6 + i] = 16 * GIB;
        amount[KS_EPHEMERAL_STORAGE * 6 + i] = 0;
        amount[KS_PODS * 6 + i] = 10;
    }
    int32_t labels[] = {set[0], set[1], set[0], set[1], 0, set[1]};
    ks_node_rows rows = {.n = 6, .allocatable = amount, .label_set = labels};
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_OK);
    CHECK_EQ(ks_topology_add(e, 1, 0, &rack), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    e->profiles.at[profile].placement_pods_weight = 1;
    CHECK_EQ(add_plain_class(e, 1000, GIB, &small), KS_OK);
    CHECK_EQ(add_plain_class(e, 5000, GIB, &large), KS_OK);
    options = (ks_options){.profile = profile, .driver = driver, .commit = 1};
}

static int32_t placement[8], n_placements[8], placement_ties[8];

static ks_status place_racks(int32_t n, const int32_t *start, const int32_t *minimum, const int32_t *topology,
                             const int32_t *class_id) {
    ks_groups groups = {n,        start, minimum, placed,    fitted,       first_failed,  n_decided,
                        topology, NULL,  NULL,    placement, n_placements, placement_ties};
    return ks_place_groups(e, &options, &groups, class_id, &out, &done);
}

/* Rack 1 has rows 0 and 2, rack 2 rows 1, 3 and 5: four or five large pods. */
static void test_a_topology(int32_t driver) {
    set_up_racks(driver);
    int32_t classes[13], start[] = {0, 6, 7, 13}, minimum[] = {6, 0, 1}, topology[] = {rack, KS_NONE, rack};
    for (int32_t i = 0; i < 13; i++)
        classes[i] = i == 6 ? small : large;
    int64_t before = fingerprint(e);
    CHECK_EQ(place_racks(3, start, minimum, topology, classes), KS_OK);
    CHECK_EQ(placed[0], 0);
    CHECK_EQ(fitted[0], 4); /* of the first rack */
    CHECK_EQ(placement[0], 0);
    CHECK_EQ(n_placements[0], 2);
    CHECK_EQ(placement_ties[0], 0);
    CHECK_EQ(n_placements[1], 0);
    CHECK_EQ(placed[2], 1);
    CHECK_EQ(placement[2], 1);
    CHECK_EQ(fitted[2], 5);
    for (int32_t i = 7; i < 13; i++)
        CHECK(node[i] == KS_NONE || node[i] % 2 == 1);
    CHECK_EQ(e->classes.at[large].n_pods, 5);
    CHECK(!e->within.is_on);
    CHECK_EQ(ks_release(e, 6, classes + 6, node + 6, NULL, &done), KS_OK);
    CHECK_EQ(fingerprint(e), before);
    ks_engine_free(e);
}

static void test_topologies_by_all_drivers(void) {
    test_a_topology(KS_DRIVER_DENSE);
    test_a_topology(KS_DRIVER_INDEXED);
    test_a_topology(KS_DRIVER_AUTO);
}

static void test_bad_groups_are_refused(void) {
    set_up(KS_DRIVER_AUTO);
    int32_t classes[] = {small, 99}, start[] = {0, 2}, minimum[] = {2};
    CHECK_EQ(place(1, start, minimum, classes), KS_ERANGE);
    classes[1] = small;
    minimum[0] = -1;
    CHECK_EQ(place(1, start, minimum, classes), KS_EINVAL);
    minimum[0] = 1;
    start[0] = 1;
    CHECK_EQ(place(1, start, minimum, classes), KS_EINVAL);
    int32_t back[] = {0, 2, 1}, two[] = {1, 1};
    CHECK_EQ(place(2, back, two, classes), KS_EINVAL);
    CHECK_EQ(ks_place_groups(e, &options, NULL, classes, &out, &done), KS_EINVAL);
    start[0] = 0;
    ks_groups groups = {.n = 1,
                        .start = start,
                        .minimum = minimum,
                        .fitted = fitted,
                        .first_failed = first_failed,
                        .n_decided = n_decided};
    CHECK_EQ(ks_place_groups(e, &options, &groups, classes, &out, &done), KS_EINVAL);
    CHECK_EQ(place(0, start, NULL, NULL), KS_OK);
    CHECK_EQ(e->classes.at[small].n_pods, 0);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_drivers_agree);
    RUN(test_minimum_below_the_size);
    RUN(test_given_up_early);
    RUN(test_failure_leaves_no_trace);
    RUN(test_nothing_stays_without_commit);
    RUN(test_inside_a_speculation);
    RUN(test_topologies_by_all_drivers);
    RUN(test_bad_groups_are_refused);
    return REPORT();
}
