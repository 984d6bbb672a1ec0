/* SPDX-License-Identifier: Apache-2.0
 * Pairwise rules: counters follow pods and rows, each filter fails for its own reason, scores by hand. */
#include "ks_test.h"

enum { ZONE = 1, EMPTY = 0, A = 1, B = 2 };

/* Six nodes: zones A A B B, one without a zone, one of another zone that is removed again. */
static ks_engine *zoned(int32_t *profile, int32_t *topology, int32_t *host) {
    ks_engine *e;
    int32_t set[3], row[6] = {0, 1, 2, 3, 4, 5}, key[] = {ZONE}, first, gone[] = {5};
    int64_t number[] = {0}, amount[4 * 6];
    uint8_t is_number[] = {0};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    for (int32_t v = 1; v <= 3; v++)
        CHECK_EQ(ks_label_set_add(e, 1, key, &v, number, is_number, &set[v - 1]), KS_OK);
    for (int32_t i = 0; i < 6; i++) {
        amount[KS_CPU * 6 + i] = 8000;
        amount[KS_MEMORY * 6 + i] = 16 * GIB;
        amount[KS_EPHEMERAL_STORAGE * 6 + i] = 0;
        amount[KS_PODS * 6 + i] = 10;
    }
    const int32_t labels[] = {set[0], set[0], set[1], set[1], 0, set[2]};
    ks_node_rows rows = {.n = 6, .allocatable = amount, .label_set = labels, .hostname_value = row};
    CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_OK);
    CHECK_EQ(ks_topology_add(e, ZONE, EMPTY, topology), KS_OK);
    CHECK_EQ(ks_topology_add(e, KS_KEY_HOSTNAME, 100, host), KS_OK);
    CHECK_EQ(ks_nodes_remove(e, 1, gone), KS_OK);
    ks_score_spec scores[] = {{.plugin = KS_SCORE_POD_TOPOLOGY_SPREAD, .weight = 2},
                              {.plugin = KS_SCORE_INTER_POD_AFFINITY, .weight = 2}};
    ks_profile_spec spec = {.filters = 0x3f | 1u << KS_FILTER_POD_TOPOLOGY_SPREAD | 1u << KS_FILTER_INTER_POD_AFFINITY,
                            .n_scores = 2,
                            .scores = scores,
                            .required_weight = 1};
    CHECK_EQ(ks_profile_add(e, &spec, profile), KS_OK);
    return e;
}

static int32_t counted_class(ks_engine *e, int32_t *counter) {
    int32_t id;
    CHECK_EQ(add_plain_class(e, 100, 0, &id), KS_OK);
    CHECK_EQ(ks_counter_add(e, counter), KS_OK);
    CHECK_EQ(ks_counter_join(e, *counter, id), KS_OK);
    return id;
}

static void bind(ks_engine *e, int32_t class_id, int32_t row) {
    int32_t done;
    CHECK_EQ(ks_bind(e, 1, &class_id, &row, NULL, &done), KS_OK);
}

static void explain(ks_engine *e, int32_t profile, int32_t class_id, const int32_t *filters, const uint8_t *details) {
    int32_t filter[6];
    uint8_t unresolvable[6], detail[6];
    CHECK_EQ(ks_explain(e, profile, class_id, filter, unresolvable, detail, NULL, NULL, NULL, NULL, NULL), KS_OK);
    for (int32_t row = 0; row < 5; row++) {
        CHECK_EQ(filter[row], filters[row]);
        CHECK_EQ(detail[row], details[row]);
        CHECK_EQ(unresolvable[row], details[row] == KS_DETAIL_NO_TOPOLOGY || details[row] == KS_DETAIL_AFFINITY);
    }
}

static void test_hard_spread(void) {
    int32_t profile, zone, host, counter, skew[] = {1}, domains[] = {1};
    int32_t flags[] = {KS_SPREAD_HARD | KS_SPREAD_SELF};
    ks_engine *e = zoned(&profile, &zone, &host);
    int32_t id = counted_class(e, &counter);
    ks_pairwise_spec spec = {.n_spread = 1,
                             .spread_counter = &counter,
                             .spread_topology = &zone,
                             .spread_max_skew = skew,
                             .spread_min_domains = domains,
                             .spread_flags = flags};
    CHECK_EQ(ks_class_pairwise(e, id, &spec), KS_OK);
    bind(e, id, 1); /* zone A: one, zone B: none */
    const int32_t spread = KS_FILTER_POD_TOPOLOGY_SPREAD, none = KS_NONE;
    explain(e, profile, id, (int32_t[]){spread, spread, none, none, spread}, (uint8_t[]){2, 2, 0, 0, 1});
    bind(e, id, 2);
    explain(e, profile, id, (int32_t[]){none, none, none, none, spread}, (uint8_t[]){0, 0, 0, 0, 1});
    domains[0] = 3; /* more than there are: the fewest counts as 0 */
    CHECK_EQ(ks_class_pairwise(e, id, &spec), KS_OK);
    explain(e, profile, id, (int32_t[]){spread, spread, spread, spread, spread}, (uint8_t[]){2, 2, 2, 2, 1});
    ks_engine_free(e);
}

static void test_affinity_and_its_first_pod(void) {
    int32_t profile, zone, host, counter;
    ks_engine *e = zoned(&profile, &zone, &host);
    int32_t id = counted_class(e, &counter);
    ks_pairwise_spec spec = {
        .n_affinity = 1, .affinity_counter = counter, .affinity_topology = &zone, .affinity_self = 1};
    CHECK_EQ(ks_class_pairwise(e, id, &spec), KS_OK);
    const int32_t pods = KS_FILTER_INTER_POD_AFFINITY, none = KS_NONE;
    explain(e, profile, id, (int32_t[]){none, none, none, none, pods}, (uint8_t[]){0, 0, 0, 0, 3});
    bind(e, id, 3);
    explain(e, profile, id, (int32_t[]){pods, pods, none, none, pods}, (uint8_t[]){3, 3, 0, 0, 3});
    ks_engine_free(e);
}

static void test_anti_affinity_both_ways(void) {
    int32_t profile, zone, host, matched, owners, other;
    ks_engine *e = zoned(&profile, &zone, &host);
    int32_t id = counted_class(e, &matched);
    CHECK_EQ(ks_counter_add(e, &owners), KS_OK);
    CHECK_EQ(add_plain_class(e, 100, 0, &other), KS_OK);
    bind(e, other, 0); /* before its class joins: it counts all the same */
    CHECK_EQ(ks_counter_join(e, owners, other), KS_OK);
    CHECK_EQ(ks_counter_join(e, owners, other), KS_ESTATE);
    ks_pairwise_spec spec = {.n_anti = 1,
                             .anti_counter = &matched,
                             .anti_topology = &host,
                             .n_existing = 1,
                             .existing_counter = &owners,
                             .existing_topology = &zone};
    CHECK_EQ(ks_class_pairwise(e, id, &spec), KS_OK);
    bind(e, id, 2);
    const int32_t pods = KS_FILTER_INTER_POD_AFFINITY, none = KS_NONE;
    explain(e, profile, id, (int32_t[]){pods, pods, pods, none, none}, (uint8_t[]){5, 5, 4, 0, 0});
    int32_t row = 0, done;
    CHECK_EQ(ks_release(e, 1, &other, &row, NULL, &done), KS_OK);
    explain(e, profile, id, (int32_t[]){none, none, pods, none, none}, (uint8_t[]){0, 0, 4, 0, 0});
    ks_engine_free(e);
}

static void test_scores(void) {
    int32_t profile, zone, host, counter, skew[] = {1, 1}, domains[] = {1, 1}, flags[] = {0, 0};
    int64_t score[2][6], total[6], weight[] = {-7};
    uint8_t skipped[2];
    int32_t filter[6], kind[] = {KS_TERM_OWN};
    ks_engine *e = zoned(&profile, &zone, &host);
    int32_t id = counted_class(e, &counter);
    int32_t counters[] = {counter, counter}, topologies[] = {zone, host};
    ks_pairwise_spec spec = {.n_spread = 2,
                             .spread_counter = counters,
                             .spread_topology = topologies,
                             .spread_max_skew = skew,
                             .spread_min_domains = domains,
                             .spread_flags = flags,
                             .spread_needs_all = 1,
                             .n_scored = 1,
                             .scored_counter = counters,
                             .scored_topology = topologies,
                             .scored_kind = kind,
                             .scored_weight = weight};
    CHECK_EQ(ks_class_pairwise(e, id, &spec), KS_OK);
    CHECK_EQ(ks_explain(e, profile, id, filter, NULL, NULL, NULL, NULL, &score[0][0], skipped, total), KS_OK);
    CHECK_EQ(skipped[0], 0);
    CHECK_EQ(skipped[1], 1); /* no term has a pod */
    for (int32_t row = 0; row < 4; row++)
        CHECK_EQ(total[row], 200);
    CHECK_EQ(total[4], 0); /* without the key: not scored */
    bind(e, id, 0);
    CHECK_EQ(ks_explain(e, profile, id, filter, NULL, NULL, NULL, NULL, &score[0][0], skipped, total), KS_OK);
    /* zone: ln(2 + 2) a pod, hostname: ln(4 + 2): raw 3, 1, 0, 0 */
    const int64_t spread[] = {0, 66, 100, 100, 0}, pods[] = {0, 0, 100, 100, 100};
    for (int32_t row = 0; row < 5; row++) {
        CHECK_EQ(score[0][row], spread[row]);
        CHECK_EQ(score[1][row], pods[row]);
        CHECK_EQ(total[row], 2 * (spread[row] + pods[row]));
    }
    ks_options indexed = {.profile = profile, .driver = KS_DRIVER_INDEXED};
    int32_t node, done;
    CHECK_EQ(ks_place(e, &indexed, 1, &id, &(ks_decisions){.node = &node}, &done), KS_OK);
    CHECK_EQ(node, 2);
    CHECK_EQ(indexed.n_indexed, 1);
    ks_engine_free(e);
}

static void test_counters_follow_rows_and_speculation(void) {
    int32_t profile, zone, host, counter, row[] = {0};
    int64_t mark, amount[] = {8000, 16 * GIB, 0, 10};
    ks_engine *e = zoned(&profile, &zone, &host);
    int32_t id = counted_class(e, &counter);
    bind(e, id, 0);
    CHECK_EQ(ks_speculate(e, &mark), KS_OK);
    bind(e, id, 0);
    CHECK_EQ(e->counters.at[counter].pods.at[0], 2);
    CHECK_EQ(ks_rollback(e, mark), KS_OK);
    CHECK_EQ(e->counters.at[counter].pods.at[0], 1);
    CHECK_EQ(e->classes.at[id].n_pods, 1);
    ks_node_rows moved = {.n = 1, .allocatable = amount};
    CHECK_EQ(ks_nodes_update(e, row, &moved), KS_OK); /* no zone any more, the pod stays */
    CHECK_EQ(e->topologies.at[zone].domain.at[0], KS_NONE);
    CHECK_EQ(e->counters.at[counter].pods.at[0], 1);
    CHECK_EQ(ks_nodes_remove(e, 1, row), KS_OK);
    CHECK_EQ(e->counters.at[counter].pods.at[0], 0);
    CHECK_EQ(e->classes.at[id].n_pods, 0);
    ks_engine_free(e);
}

static void test_bad_arguments_are_refused(void) {
    int32_t profile, zone, host, counter, none = 9, one = 1, zero = 0;
    int64_t weight = 1;
    ks_engine *e = zoned(&profile, &zone, &host);
    int32_t id = counted_class(e, &counter);
    CHECK_EQ(ks_topology_add(e, KS_KEY_NODE_NAME, 0, &none), KS_EINVAL);
    CHECK_EQ(ks_counter_join(e, 9, id), KS_ERANGE);
    CHECK_EQ(ks_counter_join(e, counter, 9), KS_ERANGE);
    CHECK_EQ(ks_class_pairwise(e, 9, &(ks_pairwise_spec){0}), KS_ERANGE);
    none = 9;
    ks_pairwise_spec anti = {.n_anti = 1, .anti_counter = &none, .anti_topology = &zone};
    CHECK_EQ(ks_class_pairwise(e, id, &anti), KS_ERANGE);
    anti.anti_counter = NULL;
    CHECK_EQ(ks_class_pairwise(e, id, &anti), KS_EINVAL);
    ks_pairwise_spec spread = {.n_spread = 1,
                               .spread_counter = &counter,
                               .spread_topology = &zone,
                               .spread_max_skew = &zero,
                               .spread_min_domains = &one,
                               .spread_flags = &one};
    CHECK_EQ(ks_class_pairwise(e, id, &spread), KS_EINVAL);
    ks_pairwise_spec scored = {.n_scored = 1,
                               .scored_counter = &counter,
                               .scored_topology = &zone,
                               .scored_kind = &none,
                               .scored_weight = &weight};
    CHECK_EQ(ks_class_pairwise(e, id, &scored), KS_EINVAL);
    CHECK(!ks_has_pairwise(&e->classes.at[id]));
    ks_engine_free(e);
}

int main(void) {
    RUN(test_hard_spread);
    RUN(test_affinity_and_its_first_pod);
    RUN(test_anti_affinity_both_ways);
    RUN(test_scores);
    RUN(test_counters_follow_rows_and_speculation);
    RUN(test_bad_arguments_are_refused);
    return REPORT();
}
