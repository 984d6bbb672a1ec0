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

int main(void) {
    RUN(test_bad_specifications_are_refused);
    RUN(test_zero_requests_are_left_out);
    RUN(test_caches_follow_new_sets);
    return REPORT();
}
