/* SPDX-License-Identifier: Apache-2.0
 * Life of an engine and its resources. */
#include "ks_test.h"

static void test_new_refuses_bad_sizes(void) {
    ks_engine *e = (ks_engine *)1;
    CHECK_EQ(ks_engine_new(3, &e), KS_EINVAL);
    CHECK(e == NULL);
    CHECK_EQ(ks_engine_new(KS_MAX_RESOURCES + 1, &e), KS_EINVAL);
    CHECK_EQ(ks_engine_new(4, NULL), KS_EINVAL);
    ks_engine_free(NULL);
}

static void test_grown_resources_are_zero(void) {
    ks_engine *e;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(ks_engine_grow_resources(e, 3), KS_EINVAL);
    CHECK_EQ(ks_engine_grow_resources(e, 7), KS_OK);
    ks_columns c;
    CHECK_EQ(ks_engine_columns(e, &c), KS_OK);
    CHECK_EQ(c.n_resources, 7);
    CHECK_EQ(c.n_rows, 3);
    CHECK_EQ(c.allocatable[6][2], 0);
    CHECK_EQ(c.allocatable[KS_CPU][2], 8000);
    CHECK_EQ(ks_engine_columns(NULL, &c), KS_EINVAL);
    CHECK(ks_engine_bytes(e) > 0);
    CHECK_EQ(ks_engine_bytes(NULL), 0);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_new_refuses_bad_sizes);
    RUN(test_grown_resources_are_zero);
    return REPORT();
}
