/* SPDX-License-Identifier: Apache-2.0
 * Selectors against labels, tolerations against taints, images. */
#include "ks_test.h"

/* Labels of set 1: key 1 = value 7 (number 5), key 3 = value 8 (no number). */
static ks_engine *with_labels(void) {
    ks_engine *e;
    int32_t key[] = {1, 3}, value[] = {7, 8}, id;
    int64_t number[] = {5, 0};
    uint8_t is_number[] = {1, 0};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(ks_label_set_add(e, 2, key, value, number, is_number, &id), KS_OK);
    return e;
}

static bool matches(ks_engine *e, int32_t key, int32_t op, int32_t n, const int32_t *values, int64_t number) {
    one_requirement r;
    plain_class p;
    int32_t id;
    make_plain_class(&p, 1, 1);
    p.spec.has_required = 1;
    p.spec.required = require(&r, key, op, n, values);
    r.number[0] = number;
    r.is_number[0] = 1;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    return ks_affinity_passes(e, &e->classes.at[id], 1, 20, 30);
}

static void test_operators(void) {
    ks_engine *e = with_labels();
    int32_t seven[] = {7}, nine[] = {9}, host[] = {20}, name[] = {30};
    CHECK(matches(e, 1, KS_OP_IN, 1, seven, 0));
    CHECK(!matches(e, 1, KS_OP_IN, 1, nine, 0));
    CHECK(!matches(e, 2, KS_OP_IN, 1, seven, 0));
    CHECK(matches(e, 2, KS_OP_NOT_IN, 1, seven, 0)); /* a missing label is not in */
    CHECK(!matches(e, 1, KS_OP_NOT_IN, 1, seven, 0));
    CHECK(matches(e, 3, KS_OP_EXISTS, 0, NULL, 0));
    CHECK(!matches(e, 2, KS_OP_EXISTS, 0, NULL, 0));
    CHECK(matches(e, 2, KS_OP_DOES_NOT_EXIST, 0, NULL, 0));
    CHECK(matches(e, 1, KS_OP_GT, 0, NULL, 4));
    CHECK(!matches(e, 1, KS_OP_GT, 0, NULL, 5));
    CHECK(matches(e, 1, KS_OP_LT, 0, NULL, 6));
    CHECK(!matches(e, 3, KS_OP_LT, 0, NULL, 6)); /* not a number */
    CHECK(matches(e, KS_KEY_HOSTNAME, KS_OP_IN, 1, host, 0));
    CHECK(matches(e, KS_KEY_NODE_NAME, KS_OP_IN, 1, name, 0));
    CHECK(!matches(e, KS_KEY_NODE_NAME, KS_OP_NOT_IN, 1, name, 0));
    ks_engine_free(e);
}

static void test_empty_terms_match_nothing(void) {
    ks_engine *e = with_labels();
    int32_t start[] = {0, 0}, id;
    plain_class p;
    make_plain_class(&p, 1, 1);
    p.spec.has_required = 1;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK); /* required without terms */
    CHECK(!ks_affinity_passes(e, &e->classes.at[id], 1, 0, 0));
    p.spec.required = (ks_selector){.n_terms = 1, .term_start = start};
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK); /* one term without requirements */
    CHECK(!ks_affinity_passes(e, &e->classes.at[id], 1, 0, 0));
    ks_engine_free(e);
}

static void test_tolerations(void) {
    ks_engine *e = with_labels();
    int32_t key[] = {1, 2}, value[] = {7, 7}, effect[] = {KS_EFFECT_NO_SCHEDULE, KS_EFFECT_PREFER_NO_SCHEDULE}, set, id;
    CHECK_EQ(ks_taint_set_add(e, 2, key, value, effect, &set), KS_OK);
    int32_t t_key[] = {1}, t_op[] = {KS_TOLERATE_EQUAL}, t_value[] = {7}, t_effect[] = {KS_EFFECT_ANY};
    plain_class p;
    make_plain_class(&p, 1, 1);
    p.spec.n_tolerations = 1;
    p.spec.toleration_key = t_key;
    p.spec.toleration_op = t_op;
    p.spec.toleration_value = t_value;
    p.spec.toleration_effect = t_effect;
    bool passes;
    int32_t preferred;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    ks_taints_judge(e, &e->classes.at[id], set, &passes, &preferred);
    CHECK(passes);
    CHECK_EQ(preferred, 1); /* key 2 is not tolerated */
    t_key[0] = KS_NONE;
    t_op[0] = KS_TOLERATE_EXISTS;
    t_effect[0] = KS_EFFECT_NO_EXECUTE; /* speaks of neither taint */
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    ks_taints_judge(e, &e->classes.at[id], set, &passes, &preferred);
    CHECK(!passes);
    CHECK_EQ(preferred, 1);
    ks_engine_free(e);
}

static void test_image_priority_is_clamped(void) {
    ks_engine *e = with_labels();
    int32_t image[] = {0}, set, id, used[] = {0};
    int64_t size[] = {(int64_t)5000 * 1024 * 1024};
    CHECK_EQ(ks_image_set_add(e, 1, image, size, &set), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    plain_class p;
    make_plain_class(&p, 1, 1);
    p.spec.n_images = 1;
    p.spec.image = used;
    p.spec.n_image_containers = 1;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK_EQ(ks_image_priority(e, &e->classes.at[id], set), 0); /* no node has it: size unknown */
    ks_images_count(e, set, 1);
    CHECK_EQ(ks_image_priority(e, &e->classes.at[id], set), 100); /* half of 5000 MiB is above the upper clamp */
    CHECK_EQ(ks_image_priority(e, &e->classes.at[id], 0), 0);
    ks_images_count(e, set, -1);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_operators);
    RUN(test_empty_terms_match_nothing);
    RUN(test_tolerations);
    RUN(test_image_priority_is_clamped);
    return REPORT();
}
