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
    ask_extended(&p, 1); /* a resource that the node does not have */
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

static void test_unchecked_requests_need_not_fit_but_are_accounted(void) {
    ks_engine *e;
    int32_t id, done, node[] = {0};
    uint8_t unchecked[] = {0, 1, 0}; /* cpu, memory, the extended resource */
    uint64_t bits;
    CHECK_EQ(ks_engine_new(5, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 1), KS_OK);
    plain_class p;
    make_plain_class(&p, 1000, 99 * GIB);
    ask_extended(&p, 1); /* a resource that the node does not have */
    p.spec.unchecked = unchecked;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    ks_fit_explain(e, &e->classes.at[id], 0, &bits);
    CHECK_EQ(bits, (uint64_t)1 << 4);
    CHECK_EQ(e->classes.at[id].n_checked, 2);
    CHECK_EQ(e->classes.at[id].request[1].resource, 4);
    CHECK_EQ(e->classes.at[id].request[2].resource, KS_MEMORY);
    unchecked[2] = 1;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK(ks_fit_passes(e, &e->classes.at[id], 0));
    CHECK_EQ(ks_bind(e, 1, &id, node, NULL, &done), KS_OK);
    CHECK_EQ(e->used[4][0], 1);
    CHECK_EQ(e->used[KS_MEMORY][0], 99 * GIB);
    ks_engine_free(e);
}

static void test_enforced_affinity_fails_first_and_says_so(void) {
    ks_engine *e;
    int32_t id, profile, key[] = {3}, value[] = {7}, wanted[] = {8}, set;
    int64_t number[] = {0};
    uint8_t is_number[] = {0}, detail;
    one_requirement enforced, own;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 1), KS_OK);
    CHECK_EQ(ks_label_set_add(e, 1, key, value, number, is_number, &set), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    e->label_set.at[0] = set;
    plain_class p;
    make_plain_class(&p, 1000, 0);
    p.spec.has_required = p.spec.has_enforced = 1;
    p.spec.required = require(&own, 3, KS_OP_IN, 1, wanted);
    p.spec.enforced = require(&enforced, 3, KS_OP_IN, 1, wanted);
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK_EQ(ks_class_prepare(e, &e->classes.at[id]), KS_OK);
    CHECK_EQ(ks_filter(e, &e->profiles.at[profile], &e->classes.at[id], 0, &detail), KS_FILTER_NODE_AFFINITY);
    CHECK_EQ(detail, KS_DETAIL_ENFORCED);
    p.spec.required = require(&own, 3, KS_OP_IN, 1, value);
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK_EQ(ks_class_prepare(e, &e->classes.at[id]), KS_OK);
    CHECK_EQ(ks_filter(e, &e->profiles.at[profile], &e->classes.at[id], 0, &detail), KS_FILTER_NODE_AFFINITY);
    CHECK_EQ(detail, KS_DETAIL_ENFORCED);
    CHECK(e->classes.at[id].label_own[set]); /* rules about other pods honour the pod's own affinity alone */
    CHECK(!e->classes.at[id].label_pass[set]);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_filters_fail_in_order);
    RUN(test_a_zero_request_passes_an_overcommitted_node);
    RUN(test_explains_every_short_resource);
    RUN(test_unchecked_requests_need_not_fit_but_are_accounted);
    RUN(test_enforced_affinity_fails_first_and_says_so);
    return REPORT();
}
