/* SPDX-License-Identifier: Apache-2.0
 * What pods hold of volumes, where others leave a row: attachments against limits, disks, claims for one pod. */
#include "ks_test.h"

enum { DRIVER = 3, CLAIM = 7, DISK = 9, DISK_CODE = 1, IN_USE = 2, TOO_MANY = 3, MOST_PODS = 4 };

static ks_engine *e;
static int32_t class_id, handle[MOST_PODS];

static ks_status know(int32_t n, int32_t row) {
    static const int64_t started[MOST_PODS];
    int32_t classes[MOST_PODS], node[MOST_PODS], priority[MOST_PODS] = {0}, done;
    for (int32_t i = 0; i < n; i++) {
        classes[i] = class_id;
        node[i] = row;
    }
    ks_known_spec spec = {.n = n, .class_id = classes, .node = node, .priority = priority, .started = started};
    CHECK_EQ(ks_bind(e, n, classes, node, NULL, &done), KS_OK);
    return ks_pods_know(e, &spec, handle);
}

static void set_up(int32_t n_pods) {
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    CHECK_EQ(add_plain_class(e, 100, GIB, &class_id), KS_OK);
    CHECK_EQ(know(n_pods, 1), KS_OK);
    CHECK_EQ(ks_holds_codes(e, DISK_CODE, IN_USE, TOO_MANY), KS_OK);
}

static ks_status set_one(int32_t of, int32_t at, int32_t item, int32_t kind) {
    ks_holds_spec spec = {(int32_t[]){0, 1}, &item, &kind};
    return ks_holds_set(e, of, 1, &at, &spec);
}

static ks_status ask(int32_t item, int32_t kind, int32_t in_use) {
    ks_holds_spec spec = {(int32_t[]){0, 1}, &item, &kind};
    return ks_asking_holds(e, &spec, in_use, 0);
}

static int32_t fails(int32_t filter, int32_t n_gone) {
    ks_moved moved = {n_gone, handle, 0, NULL};
    return ks_holds_fail(e, filter, 1, &moved);
}

/* Two pods share a volume: it goes with the second of them. An attachment that is nobody's stays. */
static void test_shared_volumes_count_once(void) {
    set_up(3);
    CHECK_EQ(set_one(KS_HOLDS_LIMIT, 1, DRIVER, 2), KS_OK);
    CHECK_EQ(set_one(KS_HOLDS_POD, handle[0], 0, DRIVER), KS_OK);
    CHECK_EQ(set_one(KS_HOLDS_POD, handle[1], 0, DRIVER), KS_OK);
    CHECK_EQ(set_one(KS_HOLDS_POD, handle[2], 1, DRIVER), KS_OK);
    CHECK_EQ(ask(2, DRIVER, 0), KS_OK);
    CHECK_EQ(fails(KS_FILTER_NODE_VOLUME_LIMITS, 1), TOO_MANY);
    CHECK_EQ(fails(KS_FILTER_NODE_VOLUME_LIMITS, 2), 0);
    CHECK_EQ(set_one(KS_HOLDS_ATTACHED, 1, 4, DRIVER), KS_OK);
    CHECK_EQ(fails(KS_FILTER_NODE_VOLUME_LIMITS, 2), TOO_MANY);
    CHECK_EQ(fails(KS_FILTER_NODE_VOLUME_LIMITS, 3), 0);
    CHECK_EQ(ask(1, DRIVER, 0), KS_OK); /* a pod that stays has it */
    CHECK_EQ(fails(KS_FILTER_NODE_VOLUME_LIMITS, 2), 0);
    CHECK_EQ(ask(2, DRIVER + 1, 0), KS_OK); /* a driver without a limit */
    CHECK_EQ(fails(KS_FILTER_NODE_VOLUME_LIMITS, 1), 0);
    ks_engine_free(e);
}

static void test_disks_and_claims(void) {
    set_up(2);
    CHECK_EQ(set_one(KS_HOLDS_POD, handle[0], DISK, KS_HOLD_DISK_READ), KS_OK);
    CHECK_EQ(set_one(KS_HOLDS_POD, handle[1], CLAIM, KS_HOLD_ONE_POD), KS_OK);
    CHECK_EQ(ask(DISK, KS_HOLD_DISK_READ, 0), KS_OK);
    CHECK_EQ(fails(KS_FILTER_VOLUME_RESTRICTIONS, 0), 0);
    CHECK_EQ(ask(DISK, KS_HOLD_DISK_WRITTEN, 0), KS_OK);
    CHECK_EQ(fails(KS_FILTER_VOLUME_RESTRICTIONS, 0), DISK_CODE);
    CHECK_EQ(fails(KS_FILTER_VOLUME_RESTRICTIONS, 1), 0);
    CHECK_EQ(ask(CLAIM, KS_HOLD_ONE_POD, 1), KS_OK);
    CHECK_EQ(fails(KS_FILTER_VOLUME_RESTRICTIONS, 1), IN_USE);
    CHECK_EQ(fails(KS_FILTER_VOLUME_RESTRICTIONS, 2), 0);
    ks_engine_free(e);
}

static void test_lists_end_with_their_pods_and_rows(void) {
    set_up(1);
    CHECK_EQ(set_one(KS_HOLDS_POD, handle[0], DISK, KS_HOLD_DISK_WRITTEN), KS_OK);
    CHECK_EQ(set_one(KS_HOLDS_LIMIT, 1, DRIVER, 0), KS_OK);
    CHECK(ks_holds_are_near(e, 1, 1));
    CHECK_EQ(ks_nodes_remove(e, 1, (int32_t[]){1}), KS_OK);
    CHECK(!ks_holds_are_near(e, 1, 1));
    CHECK_EQ(ks_pods_forget(e, 1, handle), KS_OK);
    CHECK_EQ(e->holds.of[KS_HOLDS_POD].at[handle[0]].n, 0);
    ks_engine_free(e);
}

static void test_wrong_lists_are_refused(void) {
    set_up(1);
    CHECK_EQ(set_one(KS_N_HOLDS, 0, 0, 0), KS_EINVAL);
    CHECK_EQ(set_one(KS_HOLDS_POD, 1, 0, 0), KS_ERANGE);
    CHECK_EQ(set_one(KS_HOLDS_POD, 0, -1, 0), KS_ERANGE);
    CHECK_EQ(set_one(KS_HOLDS_POD, 0, 0, KS_HOLD_ONE_POD - 1), KS_ERANGE);
    CHECK_EQ(set_one(KS_HOLDS_LIMIT, 2, 0, 0), KS_ERANGE);
    ks_holds_spec spec = {(int32_t[]){0, 2}, NULL, NULL};
    CHECK_EQ(ks_holds_set(e, KS_HOLDS_POD, 1, handle, &spec), KS_EINVAL);
    CHECK_EQ(ks_holds_codes(e, 0, 1, 1), KS_EINVAL);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_shared_volumes_count_once);
    RUN(test_disks_and_claims);
    RUN(test_lists_end_with_their_pods_and_rows);
    RUN(test_wrong_lists_are_refused);
    return REPORT();
}
