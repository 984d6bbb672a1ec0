/* SPDX-License-Identifier: Apache-2.0
 * Growable arrays, and a whole scenario in which every allocation fails in turn. */
#include "ks_test.h"

typedef struct faulty {
    int64_t until_failure; /* allocations that still succeed; negative: all do */
    int64_t live_bytes;
    int64_t calls;
} faulty;

static void *faulty_resize(void *context, void *block, size_t old_size, size_t new_size) {
    faulty *f = context;
    if (new_size == 0) {
        f->live_bytes -= (int64_t)old_size;
        free(block);
        return NULL;
    }
    f->calls++;
    if (f->until_failure == 0)
        return NULL;
    f->until_failure -= f->until_failure > 0;
    f->live_bytes += (int64_t)new_size - (int64_t)old_size;
    return realloc(block, new_size);
}

static void test_reserve_zeroes_what_it_adds(void) {
    ks_memory mem;
    ks_memory_default(&mem);
    int64_t *at = NULL, cap = 0;
    CHECK_EQ(ks_reserve(&mem, (void **)&at, &cap, 3, sizeof *at), KS_OK);
    CHECK(cap >= 3);
    at[2] = 7;
    CHECK_EQ(ks_reserve(&mem, (void **)&at, &cap, 100, sizeof *at), KS_OK);
    CHECK_EQ(at[2], 7);
    CHECK_EQ(at[99], 0);
    CHECK_EQ(mem.bytes, cap * (int64_t)sizeof *at);
    ks_discard(&mem, (void **)&at, &cap, sizeof *at);
    CHECK_EQ(mem.bytes, 0);
}

static void test_reserve_refuses_what_overflows(void) {
    ks_memory mem;
    ks_memory_default(&mem);
    void *at = NULL;
    int64_t cap = 0;
    CHECK_EQ(ks_reserve(&mem, &at, &cap, INT64_MAX / 4, 64), KS_EOVERFLOW);
    CHECK(at == NULL);
}

static int32_t flat(void *context, int32_t n_rows, int32_t n_classes, const double *node, const double *pod,
                    double *out) {
    (void)context, (void)node, (void)pod;
    for (int32_t i = 0; i < n_rows * n_classes; i++)
        out[i] = 1;
    return 0;
}

static ks_status add_user_profile(ks_engine *e, int32_t *profile) {
    int32_t column, filter, score, input[] = {KS_INPUT_COLUMN, KS_INPUT_REQUEST}, which[] = {0, 0};
    KS_TRY(ks_node_column_add(e, &column));
    ks_user_spec user = {flat, NULL, 1, 1, input, which, KS_NORMALIZE_NONE};
    KS_TRY(ks_user_filter_add(e, &user, &filter));
    KS_TRY(ks_user_score_add(e, &user, &score));
    ks_score_spec scored = {.plugin = score, .weight = 1};
    ks_profile_spec spec = {.n_scores = 1, .scores = &scored, .n_user_filters = 1, .user_filter = &filter};
    return ks_profile_add(e, &spec, profile);
}

/* 40 full nodes; two pods of two evict others, and whatever fails, only whole pods have moved. */
static ks_status evict_some(ks_engine *e, int32_t profile) {
    enum { NODES = 40 };
    int32_t large, node[NODES], classes[NODES], priority[NODES], handle[NODES], set, waiting, done;
    int64_t started[NODES];
    KS_TRY(add_plain_class(e, 7000, GIB, &large));
    KS_TRY(ks_budgets_set(e, 1, (int32_t[]){0}));
    KS_TRY(ks_budget_set_add(e, 1, (int32_t[]){0}, &set));
    for (int32_t i = 0; i < NODES; i++) {
        classes[i] = large;
        node[i] = i;
        priority[i] = i % 3;
        started[i] = i;
    }
    KS_TRY(ks_bind(e, NODES, classes, node, NULL, &done));
    ks_known_spec spec = {.n = NODES, .class_id = classes, .node = node, .priority = priority, .started = started};
    KS_TRY(ks_pods_know(e, &spec, handle));
    KS_TRY(ks_nominate(e, 1, &large, node, (int32_t[]){9}, &waiting));
    KS_TRY(ks_asking(e, 5, KS_NONE));
    int32_t found[2], ties[2], feasible[2], placed[2], start[3] = {0};
    int64_t score[2];
    uint64_t devices[2];
    ks_decisions out = {found, score, ties, feasible, devices};
    ks_evicting v = {.priority = (int32_t[]){5, 5},
                     .budgets = (int32_t[]){set, 0},
                     .may_evict = (uint8_t[]){1, 1},
                     .handle = placed,
                     .victim_start = start};
    ks_options o = {.profile = profile, .driver = KS_DRIVER_INDEXED, .commit = 1};
    ks_status status = ks_place_evicting(e, &o, &v, 2, classes, &out, &done);
    CHECK_EQ(e->classes.at[large].n_pods, NODES);
    CHECK_EQ(e->known.pods.n - e->known.free.n, NODES);
    CHECK_EQ(start[done], done);
    CHECK_EQ(e->n_marks, 0);
    return status;
}

/* A group that must share a host name; the plain nodes have none, so one comes that has. */
static ks_status place_near(ks_engine *e, int32_t profile) {
    int32_t host, first, classes[] = {0, 0}, node[2], ints[6], start[] = {0, 2}, minimum[] = {1}, done;
    int64_t amount[6] = {8000, 16 * GIB, 0, 10, 0, 0};
    uint8_t placed[1];
    int32_t hostname = 3;
    ks_node_rows rows = {.n = 1, .allocatable = amount, .hostname_value = &hostname};
    KS_TRY(ks_nodes_add(e, &rows, &first));
    KS_TRY(ks_topology_add(e, KS_KEY_HOSTNAME, 0, &host));
    ks_groups groups = {1,     start, minimum, placed,   ints,     ints + 1, ints + 2,
                        &host, NULL,  NULL,    ints + 3, ints + 4, ints + 5};
    ks_decisions out = {.node = node};
    ks_options o = {.profile = profile, .driver = KS_DRIVER_INDEXED, .commit = 1};
    int64_t before = fingerprint(e);
    ks_status status = ks_place_groups(e, &o, &groups, classes, &out, &done);
    CHECK(status == KS_OK || fingerprint(e) == before);
    CHECK_EQ(e->n_marks, 0);
    CHECK(!e->within.is_on);
    return status;
}

/* Everything that allocates, in one run; the first error ends it. */
static ks_status scenario(ks_engine *e) {
    int32_t key[] = {1}, value[] = {2}, effect[] = {KS_EFFECT_PREFER_NO_SCHEDULE}, set, port, id, done, profile, policy;
    int64_t number[] = {0}, size[] = {GIB}, mark;
    uint8_t is_number[] = {0};
    KS_TRY(ks_label_set_add(e, 1, key, value, number, is_number, &set));
    KS_TRY(ks_taint_set_add(e, 1, key, value, effect, &set));
    KS_TRY(ks_image_set_add(e, 1, key, size, &set));
    KS_TRY(ks_port_add(e, 0, 0, 80, &port));
    KS_TRY(ks_engine_grow_resources(e, 6));
    KS_TRY(add_plain_nodes(e, 40));
    plain_class p;
    make_plain_class(&p, 100, GIB);
    p.spec.n_ports = 1;
    p.spec.port = &port;
    KS_TRY(ks_class_add(e, &p.spec, &id));
    make_plain_class(&p, 100, 0);
    p.spec.device_count = 1;
    p.spec.device_milli = 300;
    KS_TRY(ks_class_add(e, &p.spec, &id));
    KS_TRY(add_default_profile(e, &profile));
    KS_TRY(add_policy(e, KS_SCORE_FGD, KS_DEVICE_FGD, &policy));
    double frequency = 1.0;
    int64_t cpu = 100;
    int32_t one = 1, milli = 500;
    uint64_t any = 0;
    ks_typical_pods typical = {
        .n = 1, .cpu = &cpu, .count = &one, .milli = &milli, .models = &any, .frequency = &frequency};
    KS_TRY(ks_fragmentation_set(e, &typical));
    int32_t classes[] = {0, 1, 0, 1}, node[4];
    ks_decisions out = {.node = node};
    for (int32_t driver = KS_DRIVER_DENSE; driver <= KS_DRIVER_INDEXED; driver++) {
        ks_options o = {.profile = policy, .driver = driver, .commit = 1};
        KS_TRY(ks_speculate(e, &mark));
        ks_status status = ks_place(e, &o, 4, classes, &out, &done);
        CHECK_EQ(ks_rollback(e, mark), KS_OK); /* whatever failed before: taking back needs no memory */
        KS_TRY(status);
        int32_t start[] = {0, 4}, minimum[] = {4}, fitted[1], first_failed[1], n_decided[1];
        uint8_t placed[1];
        ks_groups groups = {.n = 1,
                            .start = start,
                            .minimum = minimum,
                            .placed = placed,
                            .fitted = fitted,
                            .first_failed = first_failed,
                            .n_decided = n_decided};
        int64_t before = fingerprint(e);
        status = ks_place_groups(e, &o, &groups, classes, &out, &done);
        CHECK(status == KS_OK || fingerprint(e) == before);
        CHECK_EQ(e->n_marks, 0);
        KS_TRY(status);
    }
    ks_options o = {.profile = profile, .driver = KS_DRIVER_INDEXED, .commit = 1};
    KS_TRY(ks_place(e, &o, 1, classes, &out, &done));
    KS_TRY(add_user_profile(e, &o.profile));
    for (o.driver = KS_DRIVER_DENSE; o.driver <= KS_DRIVER_INDEXED; o.driver++)
        KS_TRY(ks_place(e, &o, 1, classes, &out, &done));
    int32_t filter[40];
    KS_TRY(ks_explain(e, profile, 0, filter, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    KS_TRY(ks_release(e, 1, classes, node, NULL, &done));
    KS_TRY(evict_some(e, profile));
    KS_TRY(ks_asked(e));
    return place_near(e, profile);
}

static void test_every_allocation_can_fail(void) {
    int64_t failures = 0;
    for (int64_t n = 0;; n++) {
        faulty f = {.until_failure = n};
        ks_allocator allocator = {faulty_resize, &f};
        ks_engine *e = NULL;
        ks_status status = ks_engine_new_with(&allocator, 4, &e);
        CHECK((e == NULL) == (status != KS_OK));
        if (status == KS_OK)
            status = scenario(e);
        ks_engine_free(e);
        CHECK_EQ(f.live_bytes, 0); /* nothing leaks, whatever failed */
        CHECK(status == KS_OK || status == KS_ENOMEM);
        if (status == KS_OK)
            break;
        failures++;
    }
    CHECK(failures > 50); /* the scenario allocates at many places; fewer would mean that it ended early */
}

int main(void) {
    RUN(test_reserve_zeroes_what_it_adds);
    RUN(test_reserve_refuses_what_overflows);
    RUN(test_every_allocation_can_fail);
    return REPORT();
}
