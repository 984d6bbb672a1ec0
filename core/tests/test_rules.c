/* SPDX-License-Identifier: Apache-2.0
 * Rules about other pods: verdicts and scores from the pods that are near, by hand. */
#include "ks_test.h"

#include <math.h> /* log */

enum { NEVER = KS_NONE }; /* the place lacks the rule's key */

static void test_spread_verdicts(void) {
    ks_spread hard[] = {{.max_skew = 1, .self = true, .fewest = 2}, {.max_skew = 3, .fewest = 0}};
    const ks_pairwise w = {.n_hard = 2, .hard = hard};
    CHECK_EQ(ks_spread_verdict(&w, (int32_t[]){2, 3}), KS_DETAIL_NONE);
    CHECK_EQ(ks_spread_verdict(&w, (int32_t[]){3, 3}), KS_DETAIL_SKEW); /* the pod itself is one too many */
    CHECK_EQ(ks_spread_verdict(&w, (int32_t[]){2, 4}), KS_DETAIL_SKEW);
    CHECK_EQ(ks_spread_verdict(&w, (int32_t[]){2, NEVER}), KS_DETAIL_NO_TOPOLOGY);
    CHECK_EQ(ks_spread_verdict(&w, (int32_t[]){3, NEVER}), KS_DETAIL_SKEW); /* the first rule that fails */
}

static void test_skew_beyond_int32(void) {
    ks_spread hard[] = {{.max_skew = INT32_MAX, .self = true, .fewest = 0}};
    const ks_pairwise w = {.n_hard = 1, .hard = hard};
    CHECK_EQ(ks_spread_verdict(&w, (int32_t[]){INT32_MAX - 1}), KS_DETAIL_NONE);
    CHECK_EQ(ks_spread_verdict(&w, (int32_t[]){INT32_MAX}), KS_DETAIL_SKEW);
}

static void test_pod_verdicts(void) {
    ks_pairwise w = {.n_affinity = 2, .n_anti = 1, .n_existing = 1};
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){1, 1, 0, 0}), KS_DETAIL_NONE);
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){1, 1, NEVER, NEVER}), KS_DETAIL_NONE);
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){1, 0, 1, 1}), KS_DETAIL_AFFINITY);
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){1, 1, 1, 1}), KS_DETAIL_ANTI_AFFINITY);
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){1, 1, 0, 1}), KS_DETAIL_EXISTING);
}

static void test_the_first_pod_of_a_series(void) {
    ks_pairwise w = {.n_affinity = 2, .affinity_self = true};
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){0, 0}), KS_DETAIL_NONE);
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){0, NEVER}), KS_DETAIL_AFFINITY);
    w.affinity_any = true; /* somebody matches elsewhere */
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){0, 0}), KS_DETAIL_AFFINITY);
    w.affinity_any = w.affinity_self = false;
    CHECK_EQ(ks_pods_verdict(&w, (int32_t[]){0, 0}), KS_DETAIL_AFFINITY);
}

static void test_spread_scores(void) {
    ks_spread soft[] = {{.max_skew = 1, .weight = 0.5}, {.max_skew = 3, .weight = 1.25}};
    ks_pairwise w = {.n_hard = 1, .n_soft = 2, .soft = soft, .needs_all = true};
    CHECK_EQ(ks_spread_raw(&w, (int32_t[]){9, 1, 0}), 3); /* 0.5 + 2, halves away from zero */
    CHECK_EQ(ks_spread_raw(&w, (int32_t[]){9, 3, 2}), 6);
    CHECK_EQ(ks_spread_raw(&w, (int32_t[]){9, 3, NEVER}), KS_IGNORED);
    w.needs_all = false; /* the system's defaults: a rule without a key says nothing */
    CHECK_EQ(ks_spread_raw(&w, (int32_t[]){9, 3, NEVER}), 2);
    CHECK(ks_spread_weight(3) == log(5.0));
}

static void test_pod_scores(void) {
    ks_pair scored[] = {{.kind = KS_TERM_OWN, .weight = -5},
                        {.kind = KS_TERM_EXISTING, .weight = 7},
                        {.kind = KS_TERM_REQUIRED, .weight = 2}};
    ks_pairwise w = {.n_scored = 3, .scored = scored, .has_own = true};
    ks_profile p = {.required_weight = 10};
    CHECK_EQ(ks_pods_raw(&p, &w, (int32_t[]){2, 1, 3}), -10 + 7 + 60);
    CHECK_EQ(ks_pods_raw(&p, &w, (int32_t[]){2, NEVER, 0}), -10);
    p.ignore_existing = true; /* counts only for pods without wishes of their own */
    CHECK_EQ(ks_pods_raw(&p, &w, (int32_t[]){2, 1, 3}), 57);
    w.has_own = false;
    CHECK_EQ(ks_pods_raw(&p, &w, (int32_t[]){0, 1, 3}), 0);
}

static void test_normalised_scores(void) {
    CHECK_EQ(ks_normalize_spread(KS_IGNORED, 3, 9), 0);
    CHECK_EQ(ks_normalize_spread(0, 0, 0), 100);
    CHECK_EQ(ks_normalize_spread(9, 3, 9), 33);
    CHECK_EQ(ks_normalize_pods(5, 5, 5), 0);
    CHECK_EQ(ks_normalize_pods(-1, -3, 4), 28);                                 /* 100 x 2/7, truncated */
    CHECK_EQ(ks_normalize_pods(29, 0, 100), (int64_t)(100.0 * (29.0 / 100.0))); /* 28: doubles, then truncated */
    const uint8_t feasible[] = {1, 0, 1, 1};
    int64_t spread[] = {2, 99, KS_IGNORED, 4}, pods[] = {-4, 99, 0, 4},
            ignored[] = {KS_IGNORED, 0, KS_IGNORED, KS_IGNORED};
    ks_normalize_spread_column(feasible, spread, 4);
    CHECK_EQ(spread[0], 100);
    CHECK_EQ(spread[1], 99); /* not looked at */
    CHECK_EQ(spread[2], 0);
    CHECK_EQ(spread[3], 50);
    ks_normalize_pods_column(feasible, pods, 4);
    CHECK_EQ(pods[0], 0);
    CHECK_EQ(pods[2], 50);
    CHECK_EQ(pods[3], 100);
    ks_normalize_spread_column(feasible, ignored, 4);
    CHECK_EQ(ignored[0] + ignored[2] + ignored[3], 0);
}

int main(void) {
    RUN(test_spread_verdicts);
    RUN(test_skew_beyond_int32);
    RUN(test_pod_verdicts);
    RUN(test_the_first_pod_of_a_series);
    RUN(test_spread_scores);
    RUN(test_pod_scores);
    RUN(test_normalised_scores);
    return REPORT();
}
