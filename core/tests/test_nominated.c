/* SPDX-License-Identifier: Apache-2.0
 * Pods that wait for a node: who yields to them, and who does not. */
#include "ks_test.h"

static ks_engine *e;
static int32_t profile, small, large, waiting;

/* Three nodes of 8 cores; five cores are wanted on node 1 by a pod of priority 10 that is not there yet. */
static void set_up(void) {
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1000, GIB, &small), KS_OK);
    CHECK_EQ(add_plain_class(e, 5000, GIB, &large), KS_OK);
    CHECK_EQ(ks_nominate(e, 1, &large, (int32_t[]){1}, (int32_t[]){10}, &waiting), KS_OK);
}

static int32_t feasible(int32_t class_id, int32_t driver) {
    int32_t n = 0, done, node;
    ks_options o = {.profile = profile, .driver = driver};
    ks_decisions out = {.node = &node, .feasible = &n};
    CHECK_EQ(ks_place(e, &o, 1, &class_id, &out, &done), KS_OK);
    return n;
}

static void check_feasible(int32_t class_id, int32_t expected) {
    CHECK_EQ(feasible(class_id, KS_DRIVER_DENSE), expected);
    int64_t before = fingerprint(e); /* what rules count has been added up now */
    CHECK_EQ(feasible(class_id, KS_DRIVER_DENSE), expected);
    CHECK_EQ(feasible(class_id, KS_DRIVER_INDEXED), expected);
    CHECK_EQ(fingerprint(e), before);
}

static void test_who_yields(void) {
    set_up();
    check_feasible(large, 3); /* nobody asks by priority */
    CHECK_EQ(ks_asking(e, 10, KS_NONE), KS_OK);
    check_feasible(large, 2); /* to an equal */
    check_feasible(small, 3); /* both fit */
    CHECK_EQ(ks_asking(e, 11, KS_NONE), KS_OK);
    check_feasible(large, 3);
    CHECK_EQ(ks_asking(e, 0, waiting), KS_OK); /* not to itself, and then nothing else is looked at */
    check_feasible(large, 1);
    CHECK_EQ(ks_asking(e, 0, KS_NONE), KS_OK);
    CHECK_EQ(ks_unnominate(e, 1, &waiting), KS_OK);
    check_feasible(large, 3);
    CHECK_EQ(ks_asked(e), KS_OK);
    ks_engine_free(e);
}

static void test_the_pods_own_node(void) {
    int32_t node, done;
    set_up();
    CHECK_EQ(ks_asking(e, 0, waiting), KS_OK);
    CHECK_EQ(ks_own_node_of(e, profile, large, &node), KS_OK);
    CHECK_EQ(node, 1);
    CHECK_EQ(ks_bind(e, 1, &large, (int32_t[]){1}, NULL, &done), KS_OK);
    CHECK_EQ(ks_own_node_of(e, profile, large, &node), KS_OK);
    CHECK_EQ(node, KS_NONE); /* no longer: the others are looked at */
    check_feasible(large, 2);
    ks_engine_free(e);
}

static void test_why_a_row_is_shut(void) {
    int32_t filter[3];
    uint8_t unresolvable[3];
    uint64_t insufficient[3];
    int64_t rejected[KS_N_FILTERS * KS_N_DETAILS], missing[4];
    ks_summary sum = {.rejected = rejected, .insufficient = missing};
    set_up();
    CHECK_EQ(ks_asking(e, 0, KS_NONE), KS_OK);
    CHECK_EQ(ks_explain(e, profile, large, filter, unresolvable, NULL, insufficient, NULL, NULL, NULL, NULL), KS_OK);
    CHECK_EQ(filter[0], KS_NONE);
    CHECK_EQ(filter[1], KS_FILTER_NODE_RESOURCES_FIT);
    CHECK_EQ(insufficient[1], 1u << KS_CPU);
    CHECK_EQ(unresolvable[1], 0);
    CHECK_EQ(ks_summarize(e, profile, large, &sum), KS_OK);
    CHECK_EQ(rejected[KS_FILTER_NODE_RESOURCES_FIT * KS_N_DETAILS + 1], 1);
    CHECK_EQ(missing[KS_CPU], 1);
    CHECK_EQ(sum.feasible, 2);
    ks_engine_free(e);
}

/* Affinity to a pod that is not there yet does not help: the row must pass without it, too. */
static void test_affinity_to_a_nominated_pod(void) {
    int32_t topology, counter, done;
    set_up();
    CHECK_EQ(ks_topology_add(e, KS_KEY_HOSTNAME, 100, &topology), KS_OK);
    CHECK_EQ(ks_counter_add(e, &counter), KS_OK);
    CHECK_EQ(ks_counter_join(e, counter, large), KS_OK);
    static const int64_t amounts[] = {8000, 8000, 8000, 16 * GIB, 16 * GIB, 16 * GIB, 0, 0, 0, 10, 10, 10};
    ks_node_rows rows = {.n = 3, .allocatable = amounts, .hostname_value = (int32_t[]){1, 2, 3}};
    CHECK_EQ(ks_nodes_remove(e, 3, (int32_t[]){0, 1, 2}), KS_OK);
    CHECK_EQ(ks_nodes_update(e, (int32_t[]){0, 1, 2}, &rows), KS_OK);
    ks_pairwise_spec near = {.n_affinity = 1, .affinity_counter = counter, .affinity_topology = &topology};
    CHECK_EQ(ks_class_pairwise(e, small, &near), KS_OK);
    int32_t with_affinity;
    ks_profile_spec spec = {.filters = 0x3f | 1u << KS_FILTER_INTER_POD_AFFINITY};
    CHECK_EQ(ks_profile_add(e, &spec, &with_affinity), KS_OK);
    profile = with_affinity;
    CHECK_EQ(ks_asking(e, 0, KS_NONE), KS_OK);
    check_feasible(small, 0);
    CHECK_EQ(ks_bind(e, 1, &large, (int32_t[]){2}, NULL, &done), KS_OK);
    check_feasible(small, 1);
    ks_engine_free(e);
}

static void test_wrong_pods_are_refused(void) {
    int32_t handle;
    set_up();
    CHECK_EQ(ks_nominate(e, 1, &large, (int32_t[]){3}, (int32_t[]){0}, &handle), KS_ERANGE);
    CHECK_EQ(ks_nominate(e, 1, (int32_t[]){7}, (int32_t[]){0}, (int32_t[]){0}, &handle), KS_ERANGE);
    CHECK_EQ(ks_unnominate(e, 1, (int32_t[]){1}), KS_ERANGE);
    CHECK_EQ(ks_asking(e, 0, 1), KS_ERANGE);
    CHECK_EQ(ks_own_node_of(e, profile, 9, &handle), KS_ERANGE);
    CHECK_EQ(e->nominated.n, 1);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_who_yields);
    RUN(test_the_pods_own_node);
    RUN(test_why_a_row_is_shut);
    RUN(test_affinity_to_a_nominated_pod);
    RUN(test_wrong_pods_are_refused);
    return REPORT();
}
