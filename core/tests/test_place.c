/* SPDX-License-Identifier: Apache-2.0
 * Batches and event runs. */
#include "ks_test.h"

static ks_engine *e;
static int32_t profile, plain, device, done;

static void set_up(void) {
    plain_class p;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 3000, GIB, &plain), KS_OK);
    make_plain_class(&p, 0, 0);
    p.spec.device_count = 1;
    p.spec.device_milli = 600;
    CHECK_EQ(ks_class_add(e, &p.spec, &device), KS_OK);
}

static void test_a_batch_fills_and_then_fails(void) {
    set_up();
    int32_t classes[6], node[6], feasible[6];
    for (int32_t i = 0; i < 6; i++)
        classes[i] = plain;
    ks_options o = {.profile = profile, .commit = 1};
    ks_decisions out = {.node = node, .feasible = feasible};
    CHECK_EQ(ks_place(e, &o, 6, classes, &out, &done), KS_OK);
    CHECK_EQ(done, 6);
    CHECK_EQ(node[0], 0);
    CHECK_EQ(node[1], 1);
    CHECK_EQ(node[4], KS_NONE); /* two of 3000 m fit on 8000 m */
    CHECK_EQ(feasible[4], 0);
    CHECK_EQ(e->used[KS_CPU][0], 6000);
    CHECK_EQ(e->used[KS_PODS][1], 2);
    ks_engine_free(e);
}

static void test_without_commit_nothing_changes(void) {
    set_up();
    int32_t classes[] = {plain, plain}, node[2];
    ks_options o = {.profile = profile};
    ks_decisions out = {.node = node};
    CHECK_EQ(ks_place(e, &o, 2, classes, &out, &done), KS_OK);
    CHECK_EQ(node[0], 0);
    CHECK_EQ(node[1], 0);
    CHECK_EQ(e->used[KS_CPU][0], 0);
    ks_engine_free(e);
}

static void test_bad_batches_are_refused(void) {
    set_up();
    int32_t classes[] = {99}, node[1];
    ks_options o = {.profile = profile};
    ks_decisions out = {.node = node};
    CHECK_EQ(ks_place(e, &o, 1, classes, &out, &done), KS_ERANGE);
    classes[0] = plain;
    o.profile = 7;
    CHECK_EQ(ks_place(e, &o, 1, classes, &out, &done), KS_ERANGE);
    o.profile = profile;
    o.driver = 9;
    CHECK_EQ(ks_place(e, &o, 1, classes, &out, &done), KS_EINVAL);
    o.driver = 0;
    CHECK_EQ(ks_place(e, &o, -1, classes, &out, &done), KS_EINVAL);
    CHECK_EQ(ks_place(e, NULL, 1, classes, &out, &done), KS_EINVAL);
    ks_engine_free(e);
}

static void test_runs_arrive_and_leave(void) {
    set_up();
    int32_t policy, event[] = {1, 2, -1, 3, -3}, classes[] = {device, device, device}, node[] = {-1, -1, -1};
    uint64_t devices[3];
    int64_t used[5];
    double fragmented[5];
    CHECK_EQ(add_policy(e, KS_SCORE_GPU_PACKING, KS_DEVICE_BEST_FIT, &policy), KS_OK);
    ks_options o = {.profile = policy};
    ks_decisions out = {.node = node, .devices = devices};
    ks_series series = {used, fragmented};
    ks_tape tape = {.n_events = 5, .event = event, .n_pods = 3, .pod_class = classes};
    CHECK_EQ(ks_run(e, &o, &tape, &out, &series, &done), KS_OK);
    CHECK_EQ(used[0], 600);
    CHECK_EQ(used[1], 1200);
    CHECK_EQ(used[2], 600);
    CHECK_EQ(used[3], 1200);
    CHECK_EQ(used[4], 600);
    CHECK_EQ(node[0], 1);
    CHECK_EQ(devices[0], 1);
    CHECK_EQ(devices[2], 1); /* the device that the first gave back */
    tape.n_events = 1;
    event[0] = 9;
    CHECK_EQ(ks_run(e, &o, &tape, &out, NULL, &done), KS_ERANGE);
    event[0] = 2;
    CHECK_EQ(ks_run(e, &o, &tape, &out, NULL, &done), KS_ESTATE); /* is already there */
    ks_engine_free(e);
}

/* Pod 0 runs and becomes pod 1, which keeps its device; pod 2 goes to the node where the change made room. */
static void test_runs_change_a_pod_where_it_is(void) {
    set_up();
    int32_t half, event[] = {2, 3, -2}, node[] = {1, -1, -1}, instead[] = {-1, 0, -1};
    uint64_t devices[] = {1, 0, 0};
    plain_class p;
    make_plain_class(&p, 0, 0);
    p.spec.device_count = 1;
    p.spec.device_milli = 300;
    CHECK_EQ(ks_class_add(e, &p.spec, &half), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &device, node, devices, &done), KS_OK);
    int64_t used[3];
    int32_t policy, classes[] = {device, half, device};
    CHECK_EQ(add_policy(e, KS_SCORE_GPU_PACKING, KS_DEVICE_BEST_FIT, &policy), KS_OK);
    ks_options o = {.profile = policy};
    ks_decisions out = {.node = node, .devices = devices};
    ks_series series = {.used_device_milli = used};
    ks_tape tape = {.n_events = 3, .event = event, .n_pods = 3, .pod_class = classes, .instead = instead};
    CHECK_EQ(ks_run(e, &o, &tape, &out, &series, &done), KS_OK);
    CHECK_EQ(done, 3);
    CHECK_EQ(node[1], 1);
    CHECK_EQ(devices[1], 1);
    CHECK_EQ(used[0], 300);
    CHECK_EQ(used[1], 900);
    CHECK_EQ(devices[2], 1); /* 600 beside 300 */
    CHECK_EQ(used[2], 600);
    instead[1] = 1;
    CHECK_EQ(ks_run(e, &o, &tape, &out, NULL, &done), KS_ERANGE);
    ks_engine_free(e);
}

static void test_runs_stop_behind_a_pod_that_finds_no_node(void) {
    set_up();
    int32_t event[] = {1, 2, 3, 4, 5, 6}, classes[6], node[6];
    for (int32_t i = 0; i < 6; i++)
        classes[i] = plain, node[i] = KS_NONE;
    ks_options o = {.profile = profile};
    ks_decisions out = {.node = node};
    ks_tape tape = {.n_events = 6, .event = event, .n_pods = 6, .pod_class = classes, .stop = 1};
    CHECK_EQ(ks_run(e, &o, &tape, &out, NULL, &done), KS_OK);
    CHECK_EQ(done, 5);
    CHECK_EQ(node[3], 1);
    CHECK_EQ(node[4], KS_NONE);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_a_batch_fills_and_then_fails);
    RUN(test_without_commit_nothing_changes);
    RUN(test_bad_batches_are_refused);
    RUN(test_runs_arrive_and_leave);
    RUN(test_runs_change_a_pod_where_it_is);
    RUN(test_runs_stop_behind_a_pod_that_finds_no_node);
    return REPORT();
}
