/* SPDX-License-Identifier: Apache-2.0
 * Verdicts and raw scores of the caller: both drivers, order of filters, rows that come later. */
#include "ks_test.h"

static int32_t add_profile(ks_engine *e, bool features_first) {
    const int32_t order[] = {KS_FILTER_NODE_DECLARED_FEATURES, KS_FILTER_NODE_RESOURCES_FIT};
    ks_score_spec score = {.plugin = KS_SCORE_DYNAMIC_RESOURCES, .weight = 2};
    ks_profile_spec spec = {.filters = 1u << KS_FILTER_NODE_DECLARED_FEATURES | 1u << KS_FILTER_NODE_RESOURCES_FIT,
                            .filter_order = features_first ? order : NULL,
                            .n_scores = 1,
                            .scores = &score};
    int32_t id = KS_NONE;
    CHECK_EQ(ks_profile_add(e, &spec, &id), KS_OK);
    return id;
}

static int32_t place(ks_engine *e, int32_t profile, int32_t class_id, int32_t driver, int64_t *score) {
    ks_options o = {.profile = profile, .driver = driver};
    int32_t node = KS_NONE, done;
    ks_decisions out = {.node = &node, .score = score};
    CHECK_EQ(ks_place(e, &o, 1, &class_id, &out, &done), KS_OK);
    return node;
}

static void test_both_drivers_follow_verdicts(void) {
    ks_engine *e;
    int32_t id, last[] = {2};
    int64_t score;
    uint8_t all[] = {1, 1 | KS_VERDICT_UNRESOLVABLE, 0}, one[] = {1};
    plain_class p;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    int32_t profile = add_profile(e, false);
    make_plain_class(&p, 1, 1);
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_INDEXED, &score), 0);
    CHECK_EQ(ks_class_verdicts(e, id, KS_FILTER_NODE_DECLARED_FEATURES, 3, NULL, all), KS_OK);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_INDEXED, &score), 2);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_DENSE, &score), 2);
    CHECK_EQ(ks_class_verdicts(e, id, KS_FILTER_NODE_DECLARED_FEATURES, 1, last, one), KS_OK);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_INDEXED, &score), KS_NONE);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_DENSE, &score), KS_NONE);
    CHECK_EQ(add_plain_nodes(e, 1), KS_OK); /* no verdict yet: passes */
    CHECK_EQ(place(e, profile, id, KS_DRIVER_INDEXED, &score), 3);
    ks_engine_free(e);
}

static void test_explain_tells_the_code_in_the_profiles_order(void) {
    ks_engine *e;
    int32_t id, filter[2];
    uint8_t code[] = {5 | KS_VERDICT_UNRESOLVABLE, 0}, detail[2], unresolvable[2];
    plain_class p;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    make_plain_class(&p, 1 << 30, 1);
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK_EQ(ks_class_verdicts(e, id, KS_FILTER_NODE_DECLARED_FEATURES, 2, NULL, code), KS_OK);
    int32_t usual = add_profile(e, false), turned = add_profile(e, true);
    CHECK_EQ(ks_explain(e, usual, id, filter, unresolvable, detail, NULL, NULL, NULL, NULL, NULL), KS_OK);
    CHECK_EQ(filter[0], KS_FILTER_NODE_RESOURCES_FIT);
    CHECK_EQ(ks_explain(e, turned, id, filter, unresolvable, detail, NULL, NULL, NULL, NULL, NULL), KS_OK);
    CHECK_EQ(filter[0], KS_FILTER_NODE_DECLARED_FEATURES);
    CHECK_EQ(detail[0], 5);
    CHECK_EQ(unresolvable[0], 1);
    CHECK_EQ(filter[1], KS_FILTER_NODE_RESOURCES_FIT);
    ks_engine_free(e);
}

static void test_raw_scores_are_normalised(void) {
    ks_engine *e;
    int32_t id;
    int64_t raw[] = {1, 4, 2}, score;
    plain_class p;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    make_plain_class(&p, 1, 1);
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    int32_t profile = add_profile(e, false);
    CHECK_EQ(ks_class_raw(e, id, KS_SCORE_DYNAMIC_RESOURCES, 3, NULL, raw), KS_OK);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_AUTO, &score), 1);
    CHECK_EQ(score, 200);
    ks_engine_free(e);
}

/* Four of five devices are taken on the first node and one of three on the second; the third has none, so that its
 * resource is left out. With the pod 0, 33 and 0 of 100 are free. */
static void test_devices_in_place_of_a_resource_are_scored(void) {
    enum { NODES = 3, RESOURCES = KS_FIRST_EXTENDED + 1 };
    ks_engine *e;
    int32_t id, first, profile, resource[] = {KS_FIRST_EXTENDED}, rows[] = {0, 1}, beyond[] = {NODES};
    int64_t amount[RESOURCES * NODES], weight[] = {1}, total[] = {5, 3}, taken[] = {4, 1}, all[] = {5, 3}, score;
    for (int32_t i = 0; i < RESOURCES * NODES; i++)
        amount[i] = i < KS_FIRST_EXTENDED * NODES ? 1000 : KS_UNLIMITED;
    plain_class p;
    ks_node_rows nodes = {.n = NODES, .allocatable = amount};
    ks_score_spec fit = {.plugin = KS_SCORE_NODE_RESOURCES_FIT,
                         .weight = 1,
                         .n_resources = 1,
                         .resource = resource,
                         .resource_weight = weight};
    ks_profile_spec spec = {.filters = 1u << KS_FILTER_NODE_RESOURCES_FIT, .n_scores = 1, .scores = &fit};
    CHECK_EQ(ks_engine_new(RESOURCES, &e), KS_OK);
    CHECK_EQ(ks_nodes_add(e, &nodes, &first), KS_OK);
    make_plain_class(&p, 1, 1);
    ask_extended(&p, 1);
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK_EQ(ks_profile_add(e, &spec, &profile), KS_OK);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_INDEXED, &score), 0);
    CHECK_EQ(score, 0);
    CHECK_EQ(ks_stand_in_set(e, KS_FIRST_EXTENDED, 2, rows, total, taken), KS_OK);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_INDEXED, &score), 1);
    CHECK_EQ(score, 33);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_DENSE, &score), 1);
    CHECK_EQ(ks_stand_in_set(e, KS_FIRST_EXTENDED, 2, rows, total, all), KS_OK);
    CHECK_EQ(place(e, profile, id, KS_DRIVER_INDEXED, &score), 0);
    CHECK_EQ(score, 0);
    CHECK_EQ(ks_stand_in_set(e, KS_FIRST_EXTENDED, 1, beyond, total, all), KS_ERANGE);
    CHECK_EQ(ks_stand_in_set(e, KS_CPU, 2, rows, total, all), KS_ERANGE);
    all[1] = -1;
    CHECK_EQ(ks_stand_in_set(e, KS_FIRST_EXTENDED, 2, rows, total, all), KS_EINVAL);
    ks_engine_free(e);
}

static void test_wrong_calls_change_nothing(void) {
    ks_engine *e;
    int32_t id, beyond[] = {3}, order[] = {KS_FILTER_NODE_NAME, KS_FILTER_NODE_NAME};
    int64_t score, negative[] = {-1, 0, 0};
    uint8_t code[] = {1, 1, 1};
    plain_class p;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    make_plain_class(&p, 1, 1);
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    int32_t profile = add_profile(e, false);
    CHECK_EQ(ks_class_verdicts(e, id, KS_FILTER_NODE_NAME, 3, NULL, code), KS_EINVAL);
    CHECK_EQ(ks_class_verdicts(e, id, KS_FILTER_VOLUME_BINDING, 2, NULL, code), KS_ERANGE);
    CHECK_EQ(ks_class_verdicts(e, id, KS_FILTER_VOLUME_BINDING, 1, beyond, code), KS_ERANGE);
    CHECK_EQ(ks_class_verdicts(e, id + 1, KS_FILTER_VOLUME_BINDING, 3, NULL, code), KS_ERANGE);
    CHECK_EQ(ks_class_raw(e, id, KS_SCORE_DYNAMIC_RESOURCES, 3, NULL, negative), KS_EINVAL);
    CHECK_EQ(ks_class_raw(e, id, KS_SCORE_IMAGE_LOCALITY, 3, NULL, negative), KS_EINVAL);
    ks_profile_spec twice = {.filters = 3, .filter_order = order};
    CHECK_EQ(ks_profile_add(e, &twice, &id), KS_EINVAL);
    CHECK_EQ(place(e, profile, 0, KS_DRIVER_DENSE, &score), 0);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_both_drivers_follow_verdicts);
    RUN(test_explain_tells_the_code_in_the_profiles_order);
    RUN(test_raw_scores_are_normalised);
    RUN(test_devices_in_place_of_a_resource_are_scored);
    RUN(test_wrong_calls_change_nothing);
    return REPORT();
}
