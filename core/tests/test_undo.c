/* SPDX-License-Identifier: Apache-2.0
 * Speculation: marks nest, rollback restores every column. */
#include "ks_test.h"

static ks_engine *e;
static int32_t profile, plain, done;

static void set_up(void) {
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 500, GIB, &plain), KS_OK);
}

static void place(int32_t n) {
    int32_t classes[8], node[8];
    for (int32_t i = 0; i < n; i++)
        classes[i] = plain;
    ks_options o = {.profile = profile, .driver = KS_DRIVER_INDEXED, .commit = 1};
    ks_decisions out = {.node = node};
    CHECK_EQ(ks_place(e, &o, n, classes, &out, &done), KS_OK);
}

static int64_t total(void) {
    int64_t sum = 0;
    for (int32_t row = 0; row < e->n_rows; row++)
        sum += e->used[KS_CPU][row];
    return sum;
}

static void test_marks_nest(void) {
    set_up();
    int64_t outer, inner;
    place(1);
    CHECK_EQ(ks_speculate(e, &outer), KS_OK);
    place(2);
    CHECK_EQ(ks_speculate(e, &inner), KS_OK);
    place(3);
    CHECK_EQ(total(), 6 * 500);
    CHECK_EQ(ks_rollback(e, inner), KS_OK);
    CHECK_EQ(total(), 3 * 500);
    CHECK_EQ(ks_speculate(e, &inner), KS_OK);
    place(1);
    CHECK_EQ(ks_keep(e, inner), KS_OK);
    CHECK_EQ(total(), 4 * 500);
    CHECK_EQ(ks_rollback(e, outer), KS_OK); /* takes back what was kept inside it, too */
    CHECK_EQ(total(), 500);
    CHECK_EQ(ks_rollback(e, outer), KS_ESTATE);
    CHECK_EQ(ks_keep(e, 0), KS_ESTATE);
    ks_engine_free(e);
}

static void test_releases_come_back(void) {
    set_up();
    int64_t mark;
    int32_t row[] = {0};
    place(1);
    CHECK_EQ(ks_speculate(e, &mark), KS_OK);
    CHECK_EQ(ks_release(e, 1, &plain, row, NULL, &done), KS_OK);
    CHECK_EQ(total(), 0);
    CHECK_EQ(ks_rollback(e, mark), KS_OK);
    CHECK_EQ(e->used[KS_CPU][0], 500);
    CHECK_EQ(e->used[KS_PODS][0], 1);
    CHECK_EQ(e->nonzero_memory.at[0], GIB);
    ks_engine_free(e);
}

/* Lists that a release reorders come back in their order, ports and all. */
static void test_rollback_is_exact(void) {
    set_up();
    int32_t port[3], ported, big, row[] = {0, 0, 0, 0, 0, 0};
    for (int32_t i = 0; i < 3; i++)
        CHECK_EQ(ks_port_add(e, 0, 0, 80 + i, &port[i]), KS_OK);
    plain_class p;
    make_plain_class(&p, 100, GIB);
    p.spec.n_ports = 3;
    p.spec.port = port;
    CHECK_EQ(ks_class_add(e, &p.spec, &ported), KS_OK);
    CHECK_EQ(add_plain_class(e, 100, 0, &big), KS_OK);
    int32_t there[] = {plain, ported, big, plain, big, ported};
    CHECK_EQ(ks_bind(e, 6, there, row, NULL, &done), KS_OK);
    for (int32_t take = 0; take < 6; take++) {
        int64_t before = fingerprint(e), mark;
        int32_t mixed[] = {there[take], there[(take + 2) % 6], there[(take + 3) % 6]};
        CHECK_EQ(ks_speculate(e, &mark), KS_OK);
        CHECK_EQ(ks_release(e, 3, mixed, row, NULL, &done), KS_OK);
        CHECK_EQ(ks_bind(e, 1, &big, row, NULL, &done), KS_OK);
        CHECK_EQ(ks_release(e, 1, &there[(take + 1) % 6], row, NULL, &done), KS_OK);
        CHECK(fingerprint(e) != before);
        CHECK_EQ(ks_rollback(e, mark), KS_OK);
        CHECK_EQ(fingerprint(e), before);
    }
    CHECK_EQ(ks_release(e, 1, &plain, (int32_t[]){1}, NULL, &done), KS_ESTATE);
    ks_engine_free(e);
}

static void test_nodes_stay_while_speculating(void) {
    set_up();
    int64_t mark, amount[4] = {1, 1, 1, 1};
    int32_t row[] = {0}, first;
    ks_node_rows rows = {.n = 1, .allocatable = amount};
    CHECK_EQ(ks_speculate(e, &mark), KS_OK);
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_ESTATE);
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_ESTATE);
    CHECK_EQ(ks_nodes_remove(e, 1, row), KS_ESTATE);
    CHECK_EQ(ks_keep(e, mark), KS_OK);
    CHECK_EQ(ks_nodes_remove(e, 1, row), KS_OK);
    CHECK_EQ(ks_speculate(e, NULL), KS_EINVAL);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_marks_nest);
    RUN(test_releases_come_back);
    RUN(test_rollback_is_exact);
    RUN(test_nodes_stay_while_speculating);
    return REPORT();
}
