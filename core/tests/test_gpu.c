/* SPDX-License-Identifier: Apache-2.0
 * Devices: filter, choice, policies, fragmentation; numbers worked out by hand. */
#include "ks_test.h"

static ks_engine *e;

/* Two nodes; the second has 4 devices of model 1, of which two are taken by 600 and 1000 thousandths. */
static void set_up(void) {
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    e->device_free.at[1 * e->device_stride + 0] = 400;
    e->device_free.at[1 * e->device_stride + 1] = 0;
}

/* Valid until the next class is added. */
static const ks_class *device_class(int32_t count, int32_t milli, uint64_t models) {
    plain_class p;
    int32_t id;
    make_plain_class(&p, 1000, 0);
    p.spec.device_count = count;
    p.spec.device_milli = milli;
    p.spec.device_models = models;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    return &e->classes.at[id];
}

static bool fits(int32_t count, int32_t milli, uint64_t models, int32_t row) {
    return ks_devices_fit(e, device_class(count, milli, models), row);
}

static uint64_t choose(int32_t select, int32_t count, int32_t milli, uint64_t *rng) {
    return ks_devices_choose(e, select, device_class(count, milli, 0), 1, rng);
}

static void test_filter(void) {
    set_up();
    CHECK(fits(1, 400, 0, 1));
    CHECK(fits(2, 1000, 0, 1));
    CHECK(!fits(3, 1000, 0, 1));
    CHECK(!fits(1, 1, 0, 0)); /* no devices */
    CHECK(fits(1, 1, 1u << 1, 1));
    CHECK(!fits(1, 1, 1u << 2, 1)); /* another model */
    ks_engine_free(e);
}

static void test_choice(void) {
    set_up();
    uint64_t rng = 7, seen = 0;
    CHECK_EQ(choose(KS_DEVICE_BEST_FIT, 1, 300, &rng), 1u << 0); /* the tightest */
    CHECK_EQ(choose(KS_DEVICE_BEST_FIT, 1, 500, &rng), 1u << 2); /* the first whole one */
    CHECK_EQ(choose(KS_DEVICE_BEST_FIT, 2, 1000, &rng), 1u << 2 | 1u << 3);
    CHECK_EQ(choose(KS_DEVICE_BEST_FIT, 3, 1000, &rng), 0);
    CHECK_EQ(rng, 7); /* nothing was drawn */
    for (int32_t i = 0; i < 64; i++)
        seen |= choose(KS_DEVICE_RANDOM, 1, 300, &rng);
    CHECK_EQ(seen, 1u << 0 | 1u << 2 | 1u << 3); /* each that fits, sooner or later */
    ks_engine_free(e);
}

static void set_typical(void) {
    int64_t cpu[] = {1000, 0};
    int32_t count[] = {1, 2}, milli[] = {500, 1000};
    uint64_t models[] = {0, 0};
    double frequency[] = {0.75, 0.25};
    ks_typical_pods t = {.n = 2, .cpu = cpu, .count = count, .milli = milli, .models = models, .frequency = frequency};
    CHECK_EQ(ks_fragmentation_set(e, &t), KS_OK);
}

static void test_fragmentation(void) {
    set_up();
    set_typical();
    double out[2];
    CHECK_EQ(ks_fragmentation(e, out), KS_OK);
    CHECK(out[0] == 0.0);
    /* both fit; devices below 500 (400) are lost to the first, devices below 1000 (400) to the second */
    CHECK(out[1] == 0.75 * 400 + 0.25 * 400);
    e->used[KS_CPU][1] = 7500; /* no cpu left for the first: all 2400 are lost to it */
    CHECK_EQ(ks_fragmentation(e, out), KS_OK);
    CHECK(out[1] == 0.75 * 2400 + 0.25 * 400);
    ks_engine_free(e);
}

static void test_fgd_prefers_the_step_that_fragments_least(void) {
    set_up();
    set_typical();
    uint64_t rng = 0;
    /* a share of 400 fills the device with 400 and removes its fragments; on a whole one it would make new ones */
    CHECK_EQ(choose(KS_DEVICE_FGD, 1, 400, &rng), 1u << 0);
    const ks_class *c = device_class(1, 400, 0);
    /* before 400, after 0: sigmoid(0.4) * 100 */
    CHECK_EQ(ks_policy_score(e, KS_SCORE_FGD, c, 1), 59);
    ks_engine_free(e);
}

static void test_policies(void) {
    set_up();
    const ks_class *share = device_class(1, 300, 0);
    CHECK_EQ(ks_policy_score(e, KS_SCORE_GPU_PACKING, share, 1), 96); /* 100 - 400 * 100 / 1000 / 10 */
    CHECK_EQ(ks_policy_score(e, KS_SCORE_GPU_CLUSTERING, share, 1), 25 + 25 * (8000 - 2400) / 8000);
    e->device_kinds.at[1 * KS_KINDS(e) + 0] = 1; /* a sharing pod runs there */
    CHECK_EQ(ks_policy_score(e, KS_SCORE_GPU_CLUSTERING, share, 1), 75 + 25 * (8000 - 2400) / 8000);
    e->device_kinds.at[1 * KS_KINDS(e) + 2] = 1; /* and one of another kind */
    CHECK_EQ(ks_policy_score(e, KS_SCORE_GPU_CLUSTERING, share, 1), 50 + 25 * (8000 - 2400) / 8000);
    /* 1 - (7000 / 128000 / 2 + 2100 / 8000 / 2) */
    CHECK_EQ(ks_policy_score(e, KS_SCORE_BEST_FIT, share, 1), 84);
    CHECK_EQ(ks_policy_score(e, KS_SCORE_DOT_PRODUCT, share, 1), 99);
    CHECK_EQ(ks_policy_score(e, KS_SCORE_GPU_PACKING, device_class(1, 1000, 0), 1), 49);
    ks_engine_free(e);
}

static void test_bad_typical_pods_are_refused(void) {
    set_up();
    int64_t cpu = 1;
    int32_t count = 1, milli = 1001;
    uint64_t models = 0;
    double frequency = 1;
    ks_typical_pods t = {
        .n = 1, .cpu = &cpu, .count = &count, .milli = &milli, .models = &models, .frequency = &frequency};
    CHECK_EQ(ks_fragmentation_set(e, &t), KS_EINVAL);
    milli = 1000;
    frequency = 0.0 / 0.0;
    CHECK_EQ(ks_fragmentation_set(e, &t), KS_EINVAL);
    t.n = -1;
    CHECK_EQ(ks_fragmentation_set(e, &t), KS_EINVAL);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_filter);
    RUN(test_choice);
    RUN(test_fragmentation);
    RUN(test_fgd_prefers_the_step_that_fragments_least);
    RUN(test_policies);
    RUN(test_bad_typical_pods_are_refused);
    return REPORT();
}
