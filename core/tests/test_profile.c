/* SPDX-License-Identifier: Apache-2.0
 * Profiles: arguments that are refused, plugins that skip a class. */
#include "ks_test.h"

static ks_status add(ks_engine *e, ks_score_spec score) {
    int32_t id;
    ks_profile_spec spec = {.filters = 1, .n_scores = 1, .scores = &score};
    return ks_profile_add(e, &spec, &id);
}

static void test_bad_arguments_are_refused(void) {
    ks_engine *e;
    int32_t resource[] = {KS_CPU}, pods[] = {KS_PODS};
    int64_t weight[] = {1}, zero[] = {0}, points[] = {50, 50}, scores[] = {0, 0};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add(e, (ks_score_spec){.plugin = KS_SCORE_RANDOM, .weight = 0}), KS_EINVAL);
    CHECK_EQ(add(e, (ks_score_spec){.plugin = KS_N_SCORES, .weight = 1}), KS_EINVAL);
    ks_score_spec fit = {.plugin = KS_SCORE_NODE_RESOURCES_FIT, .weight = 1, .n_resources = 1, .resource = resource};
    CHECK_EQ(add(e, fit), KS_EINVAL); /* no weights */
    fit.resource_weight = zero;
    CHECK_EQ(add(e, fit), KS_EINVAL);
    fit.resource_weight = weight;
    CHECK_EQ(add(e, fit), KS_OK);
    fit.resource = pods;
    CHECK_EQ(add(e, fit), KS_ERANGE);
    fit.resource = resource;
    fit.variant = KS_FIT_REQUESTED_TO_CAPACITY_RATIO;
    CHECK_EQ(add(e, fit), KS_EINVAL); /* no shape */
    fit.n_points = 2;
    fit.utilization = points; /* not ascending */
    fit.shape_score = scores;
    CHECK_EQ(add(e, fit), KS_EINVAL);
    int32_t many[KS_MOST_BALANCED + 1] = {0};
    ks_score_spec balanced = {.plugin = KS_SCORE_BALANCED_ALLOCATION, .weight = 1, .resource = many};
    balanced.n_resources = KS_MOST_BALANCED + 1;
    CHECK_EQ(add(e, balanced), KS_EUNSUPPORTED);
    ks_profile_spec pairwise = {.filters = 1u << KS_FILTER_INTER_POD_AFFINITY, .required_weight = 101};
    int32_t id;
    CHECK_EQ(ks_profile_add(e, &pairwise, &id), KS_EINVAL);
    CHECK_EQ(e->profiles.n, 1);
    ks_engine_free(e);
}

static void test_plugins_skip_classes(void) {
    ks_engine *e;
    int32_t profile, none, some;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 0, 0, &none), KS_OK);
    CHECK_EQ(add_plain_class(e, 1, 0, &some), KS_OK);
    const ks_profile *p = &e->profiles.at[profile];
    const ks_score *scores = p->scores;
    CHECK(ks_score_skips(e, p, &scores[1], &e->classes.at[some])); /* NodeAffinity without preferred terms */
    CHECK(ks_score_skips(e, p, &scores[3], &e->classes.at[none])); /* balanced allocation of a best-effort pod */
    CHECK(!ks_score_skips(e, p, &scores[3], &e->classes.at[some]));
    CHECK(!ks_score_skips(e, p, &scores[0], &e->classes.at[none]));
    CHECK_EQ(p->local_bound, 200);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_bad_arguments_are_refused);
    RUN(test_plugins_skip_classes);
    return REPORT();
}
