/* SPDX-License-Identifier: Apache-2.0
 * Node rows: adding, rewriting, removing, refusing. */
#include "ks_test.h"

static void test_add_refuses_bad_rows(void) {
    ks_engine *e;
    int64_t amount[4] = {1, 1, 1, 1};
    int32_t first, set[] = {3}, many[] = {KS_MAX_DEVICES + 1};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    ks_node_rows rows = {.n = 1, .allocatable = amount};
    amount[1] = -1;
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_EINVAL);
    amount[1] = KS_MAX_QUANTITY + 1;
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_EOVERFLOW);
    amount[1] = KS_MAX_QUANTITY;
    amount[3] = KS_UNLIMITED; /* of extended resources only */
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_EOVERFLOW);
    amount[3] = 1;
    rows.label_set = set;
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_ERANGE);
    rows.label_set = NULL;
    rows.device_count = many;
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_EINVAL);
    rows.n = -1;
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_EINVAL);
    CHECK_EQ(ks_nodes_add(e, NULL, &first), KS_EINVAL);
    CHECK_EQ(e->n_rows, 0);
    ks_engine_free(e);
}

static void test_wider_devices_keep_what_is_there(void) {
    ks_engine *e;
    int64_t amount[4] = {1, 1, 1, 1};
    int32_t first, eight[] = {8};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 4), KS_OK);
    e->device_free.at[1 * e->device_stride + 2] = 250;
    ks_node_rows rows = {.n = 1, .allocatable = amount, .device_count = eight};
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_OK);
    CHECK_EQ(e->device_stride, 8);
    CHECK_EQ(e->device_free.at[1 * 8 + 2], 250);
    CHECK_EQ(e->device_free.at[1 * 8 + 3], KS_DEVICE_WHOLE);
    CHECK_EQ(e->device_free.at[1 * 8 + 4], 0);
    CHECK_EQ(e->device_free.at[4 * 8 + 7], KS_DEVICE_WHOLE);
    ks_engine_free(e);
}

static void test_removed_rows_come_back_empty(void) {
    ks_engine *e;
    int32_t row[] = {1}, class_id, done, node[] = {1};
    int64_t amount[4] = {100, 100, 0, 5};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(add_plain_class(e, 10, 10, &class_id), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &class_id, node, NULL, &done), KS_OK);
    CHECK_EQ(ks_nodes_remove(e, 1, row), KS_OK);
    CHECK_EQ(e->n_live, 2);
    CHECK_EQ(ks_nodes_remove(e, 1, row), KS_ERANGE);
    CHECK_EQ(ks_bind(e, 1, &class_id, node, NULL, &done), KS_ERANGE);
    ks_node_rows rows = {.n = 1, .allocatable = amount};
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_OK);
    CHECK_EQ(e->n_live, 3);
    CHECK_EQ(e->used[KS_CPU][1], 0);
    CHECK_EQ(e->allocatable[KS_CPU][1], 100);
    row[0] = 9;
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_ERANGE);
    ks_engine_free(e);
}

static void test_devices_in_use_cannot_change(void) {
    ks_engine *e;
    int32_t row[] = {1}, class_id, done, two[] = {2};
    int64_t amount[4] = {100, 100, 0, 5};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    plain_class p;
    make_plain_class(&p, 1, 1);
    p.spec.device_count = 1;
    p.spec.device_milli = 100;
    CHECK_EQ(ks_class_add(e, &p.spec, &class_id), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &class_id, row, NULL, &done), KS_OK);
    ks_node_rows rows = {.n = 1, .allocatable = amount, .device_count = two};
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_ESTATE);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_add_refuses_bad_rows);
    RUN(test_wider_devices_keep_what_is_there);
    RUN(test_removed_rows_come_back_empty);
    RUN(test_devices_in_use_cannot_change);
    return REPORT();
}
