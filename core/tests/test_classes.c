/* SPDX-License-Identifier: Apache-2.0
 * Pod classes: what is refused, and caches that follow new sets. */
#include "ks_test.h"

static ks_status add(ks_engine *e, const plain_class *p) {
    int32_t id;
    return ks_class_add(e, &p->spec, &id);
}

static void test_bad_specifications_are_refused(void) {
    ks_engine *e;
    plain_class p;
    int32_t port[] = {0}, values[] = {1};
    one_requirement r;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    make_plain_class(&p, 1, 1);
    p.resource[1] = KS_PODS; /* every pod takes one: it is not asked for */
    CHECK_EQ(add(e, &p), KS_EINVAL);
    make_plain_class(&p, 1, 1);
    p.resource[0] = KS_MEMORY; /* twice */
    CHECK_EQ(add(e, &p), KS_EINVAL);
    make_plain_class(&p, 1, 1);
    ask_extended(&p, 1); /* which the engine does not have */
    CHECK_EQ(add(e, &p), KS_ERANGE);
    make_plain_class(&p, -1, 1);
    CHECK_EQ(add(e, &p), KS_EINVAL);
    make_plain_class(&p, KS_MAX_QUANTITY + 1, 1);
    CHECK_EQ(add(e, &p), KS_EOVERFLOW);
    make_plain_class(&p, 1, 1);
    p.spec.n_ports = 1;
    p.spec.port = port;
    CHECK_EQ(add(e, &p), KS_ERANGE);
    make_plain_class(&p, 1, 1);
    p.spec.device_count = 2;
    p.spec.device_milli = 500; /* a share of several devices does not exist */
    CHECK_EQ(add(e, &p), KS_EINVAL);
    make_plain_class(&p, 1, 1);
    p.spec.required = require(&r, 1, 99, 1, values);
    CHECK_EQ(add(e, &p), KS_EINVAL);
    p.spec.required = require(&r, KS_KEY_HOSTNAME, KS_OP_GT, 1, values);
    CHECK_EQ(add(e, &p), KS_EUNSUPPORTED);
    p.spec.required = require(&r, 1, KS_OP_IN, 1, values);
    r.term_start[1] = 5; /* beyond the requirements */
    CHECK_EQ(add(e, &p), KS_EINVAL);
    CHECK_EQ(e->classes.n, 0);
    ks_engine_free(e);
}

static void test_zero_requests_are_left_out(void) {
    ks_engine *e;
    int32_t id;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_class(e, 0, 5, &id), KS_OK);
    CHECK_EQ(e->classes.at[id].n_request, 1); /* memory; pods are counted apart */
    CHECK_EQ(ks_amount_of(e->classes.at[id].request, 1, KS_MEMORY), 5);
    CHECK_EQ(ks_amount_of(e->classes.at[id].request, 1, KS_CPU), 0);
    ks_engine_free(e);
}

static void test_caches_follow_new_sets(void) {
    ks_engine *e;
    int32_t id, key[] = {1}, value[] = {2}, set, values[] = {2};
    int64_t number[] = {0};
    uint8_t is_number[] = {0};
    one_requirement r;
    plain_class p;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    make_plain_class(&p, 1, 1);
    p.spec.node_selector = require(&r, 1, KS_OP_IN, 1, values);
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK_EQ(ks_class_prepare(e, &e->classes.at[id]), KS_OK);
    CHECK_EQ(e->classes.at[id].label_pass[0], 0);
    CHECK_EQ(ks_label_set_add(e, 1, key, value, number, is_number, &set), KS_OK);
    CHECK_EQ(ks_class_prepare(e, &e->classes.at[id]), KS_OK);
    CHECK_EQ(e->classes.at[id].label_pass[set], 1);
    ks_engine_free(e);
}

/* One pod of the class, decided and taken off again. */
static void come_and_go(ks_engine *e, int32_t profile, int32_t driver, int32_t id) {
    int32_t node, done;
    ks_options o = {.profile = profile, .driver = driver, .commit = 1};
    ks_decisions out = {.node = &node};
    CHECK_EQ(ks_place(e, &o, 1, &id, &out, &done), KS_OK);
    CHECK(node != KS_NONE);
    CHECK_EQ(ks_classes_remove(e, 1, &id), KS_ESTATE); /* it runs */
    CHECK_EQ(ks_release(e, 1, &id, &node, NULL, &done), KS_OK);
}

static int64_t bytes_beside_log(const ks_engine *e) {
    return ks_engine_bytes(e) - e->log.cap * (int64_t)sizeof(int32_t); /* which has a bound of its own */
}

/* A stream of classes with rules of their own leaves nothing behind. */
static void test_classes_and_counters_are_given_up(void) {
    ks_engine *e;
    int32_t profile, topology, stays, id, first = KS_NONE, counter, zero = 0;
    int64_t bytes = 0;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 50), KS_OK);
    for (int32_t row = 0; row < 50; row++)
        e->hostname_value.at[row] = row;
    ks_profile_spec all = {.filters = 0x3f | 1u << KS_FILTER_INTER_POD_AFFINITY | 1u << KS_FILTER_POD_TOPOLOGY_SPREAD};
    CHECK_EQ(ks_profile_add(e, &all, &profile), KS_OK);
    CHECK_EQ(ks_topology_add(e, KS_KEY_HOSTNAME, 0, &topology), KS_OK);
    CHECK_EQ(add_plain_class(e, 1, 1, &stays), KS_OK);
    for (int32_t i = 0; i < 200; i++) {
        CHECK_EQ(add_plain_class(e, 100 + i, 1, &id), KS_OK);
        CHECK_EQ(ks_counter_add(e, &counter), KS_OK);
        CHECK_EQ(ks_counter_join(e, counter, id), KS_OK);
        int32_t skew = 1, least = 1, flags = KS_SPREAD_HARD;
        ks_pairwise_spec rules = {.n_anti = 1, .anti_counter = &counter, .anti_topology = &topology};
        if (i % 3 == 0) {
            rules.n_spread = 1;
            rules.spread_counter = &counter, rules.spread_topology = &topology, rules.spread_max_skew = &skew;
            rules.spread_min_domains = &least, rules.spread_flags = &flags;
        }
        CHECK_EQ(ks_class_pairwise(e, id, &rules), KS_OK);
        come_and_go(e, profile, i % 2 == 0 ? KS_DRIVER_INDEXED : KS_DRIVER_DENSE, id);
        come_and_go(e, profile, KS_DRIVER_INDEXED, stays);
        CHECK_EQ(ks_counters_remove(e, 1, &counter), KS_ESTATE); /* a rule is about it */
        CHECK_EQ(ks_classes_remove(e, 1, &id), KS_OK);
        CHECK_EQ(ks_classes_remove(e, 1, &id), KS_ERANGE);
        CHECK_EQ(ks_bind(e, 1, &id, &zero, NULL, &zero), KS_ERANGE);
        CHECK_EQ(ks_counters_remove(e, 1, &counter), KS_OK);
        CHECK_EQ(ks_counter_join(e, counter, stays), KS_ERANGE);
        zero = 0;
        first = i == 0 ? id : first;
        CHECK_EQ(id, first);
        bytes = i == 12 ? bytes_beside_log(e) : bytes;
    }
    CHECK_EQ(e->counters.n, 1);
    CHECK_EQ(bytes_beside_log(e), bytes);
    ks_engine_free(e);
}

static void test_a_speculation_keeps_its_classes(void) {
    ks_engine *e;
    int32_t id, counter;
    int64_t mark;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_class(e, 1, 1, &id), KS_OK);
    CHECK_EQ(ks_counter_add(e, &counter), KS_OK);
    CHECK_EQ(ks_speculate(e, &mark), KS_OK);
    CHECK_EQ(ks_classes_remove(e, 1, &id), KS_ESTATE);
    CHECK_EQ(ks_counters_remove(e, 1, &counter), KS_ESTATE);
    CHECK_EQ(ks_keep(e, mark), KS_OK);
    CHECK_EQ(ks_classes_remove(e, 1, &id), KS_OK);
    ks_engine_free(e);
}

static void test_running_pods_change_their_class(void) {
    ks_engine *e;
    int32_t from, to, other, counter, seen, done, node[] = {1, 1, 2};
    int64_t mark;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(add_plain_class(e, 5, 1, &from), KS_OK);
    CHECK_EQ(add_plain_class(e, 5, 1, &to), KS_OK);
    CHECK_EQ(add_plain_class(e, 6, 1, &other), KS_OK);
    CHECK_EQ(ks_counter_add(e, &counter), KS_OK);
    CHECK_EQ(ks_counter_add(e, &seen), KS_OK);
    CHECK_EQ(ks_counter_join(e, counter, to), KS_OK);
    CHECK_EQ(ks_counter_join(e, seen, from), KS_OK);
    int32_t all[] = {from, from, from}, now[] = {to, to, to}, wrong[] = {other};
    CHECK_EQ(ks_bind(e, 3, all, node, NULL, &done), KS_OK);
    int64_t before = fingerprint(e);
    CHECK_EQ(ks_reclass(e, &(ks_reclass_spec){.n = 1, .from = all, .to = wrong, .node = node}), KS_EINVAL);
    CHECK_EQ(ks_speculate(e, &mark), KS_OK);
    CHECK_EQ(ks_release(e, 1, all, node, NULL, &done), KS_OK);
    CHECK_EQ(ks_reclass(e, &(ks_reclass_spec){.n = 2, .from = all, .to = now, .node = node + 1}), KS_OK);
    CHECK_EQ(e->counters.at[counter].pods.at[1], 1);
    CHECK_EQ(e->counters.at[counter].pods.at[2], 1);
    CHECK_EQ(e->counters.at[seen].pods.at[1], 0);
    CHECK_EQ(e->classes.at[from].n_pods, 0);
    CHECK_EQ(e->used[KS_CPU][1], 5);
    CHECK_EQ(ks_reclass(e, &(ks_reclass_spec){.n = 1, .from = all, .to = now, .node = node}), KS_ESTATE);
    CHECK_EQ(ks_bind(e, 1, now, node, NULL, &done), KS_OK);
    CHECK_EQ(ks_rollback(e, mark), KS_OK);
    CHECK_EQ(fingerprint(e), before);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_bad_specifications_are_refused);
    RUN(test_zero_requests_are_left_out);
    RUN(test_caches_follow_new_sets);
    RUN(test_classes_and_counters_are_given_up);
    RUN(test_a_speculation_keeps_its_classes);
    RUN(test_running_pods_change_their_class);
    return REPORT();
}
