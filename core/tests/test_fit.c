/* SPDX-License-Identifier: Apache-2.0
 * Filters: order, resources, what is unresolvable. */
#include "ks_test.h"

static void test_filters_fail_in_order(void) {
    ks_engine *e;
    int32_t profile, id, row[] = {0}, name[] = {5}, key[] = {1}, value[] = {1}, effect[] = {KS_EFFECT_NO_SCHEDULE}, set;
    int64_t amount[4] = {100, 100, 0, 1};
    uint8_t unschedulable[] = {1}, detail;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 1), KS_OK);
    CHECK_EQ(ks_taint_set_add(e, 1, key, value, effect, &set), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    plain_class p;
    make_plain_class(&p, 1000, 0);
    p.spec.node_name = 6;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    ks_class *c = &e->classes.at[id];
    const ks_profile *of = &e->profiles.at[profile];
    ks_node_rows rows = {
        .n = 1, .allocatable = amount, .name_id = name, .taint_set = &set, .unschedulable = unschedulable};
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_OK);
    CHECK_EQ(ks_class_prepare(e, c), KS_OK);
    CHECK_EQ(ks_filter(e, of, c, 0, &detail), KS_FILTER_NODE_UNSCHEDULABLE);
    unschedulable[0] = 0;
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_OK);
    CHECK_EQ(ks_filter(e, of, c, 0, &detail), KS_FILTER_NODE_NAME);
    c->node_name = KS_NONE;
    CHECK_EQ(ks_filter(e, of, c, 0, &detail), KS_FILTER_TAINT_TOLERATION);
    rows.taint_set = NULL;
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_OK);
    CHECK_EQ(ks_filter(e, of, c, 0, &detail), KS_FILTER_NODE_RESOURCES_FIT);
    ks_engine_free(e);
}

static void test_a_zero_request_passes_an_overcommitted_node(void) {
    ks_engine *e;
    int32_t big, cpu, none, done, node[] = {0};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 1), KS_OK);
    CHECK_EQ(add_plain_class(e, 9000, 1, &big), KS_OK);
    CHECK_EQ(add_plain_class(e, 1, 0, &cpu), KS_OK);
    CHECK_EQ(add_plain_class(e, 0, 1, &none), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &big, node, NULL, &done), KS_OK);
    CHECK(!ks_fit_passes(e, &e->classes.at[cpu], 0));
    CHECK(ks_fit_passes(e, &e->classes.at[none], 0));
    ks_engine_free(e);
}

static void test_explains_every_short_resource(void) {
    ks_engine *e;
    int32_t id;
    uint64_t bits;
    CHECK_EQ(ks_engine_new(5, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 1), KS_OK);
    plain_class p;
    make_plain_class(&p, 4000, 17 * GIB);
    p.request[4] = 1; /* a resource that the node does not have */
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    ks_fit_explain(e, &e->classes.at[id], 0, &bits);
    CHECK(ks_is_unresolvable(e, &e->classes.at[id], 0, KS_FILTER_NODE_RESOURCES_FIT, 1)); /* exceeds the empty node */
    CHECK_EQ(bits, 1u << KS_MEMORY | 1u << 4);
    e->used[KS_PODS][0] = 10;
    e->used[KS_CPU][0] = 5000;
    CHECK_EQ(add_plain_class(e, 4000, 1, &id), KS_OK);
    ks_fit_explain(e, &e->classes.at[id], 0, &bits);
    CHECK(!ks_is_unresolvable(e, &e->classes.at[id], 0, KS_FILTER_NODE_RESOURCES_FIT, 1)); /* evicting would help */
    CHECK_EQ(bits, 1u << KS_CPU | 1u << KS_PODS);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_filters_fail_in_order);
    RUN(test_a_zero_request_passes_an_overcommitted_node);
    RUN(test_explains_every_short_resource);
    return REPORT();
}
