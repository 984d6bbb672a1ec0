/* SPDX-License-Identifier: Apache-2.0
 * Searches that end early: quota, order, where the next one begins. */
#include "ks_test.h"

static int32_t quota(int32_t percentage, int32_t n) {
    ks_profile p = {.node_percentage = percentage, .n_scores = 1};
    return ks_search_quota(&p, n);
}

static void test_quota(void) {
    CHECK_EQ(quota(0, 5000), 5000);
    CHECK_EQ(quota(100, 5000), 5000);
    CHECK_EQ(quota(1, 99), 99);
    CHECK_EQ(quota(1, 100), 100);
    CHECK_EQ(quota(1, 5000), 100);
    CHECK_EQ(quota(30, 1001), 300);
    CHECK_EQ(quota(KS_ADAPTIVE, 150), 100);
    CHECK_EQ(quota(KS_ADAPTIVE, 1000), 420);
    CHECK_EQ(quota(KS_ADAPTIVE, 5000), 500);
    CHECK_EQ(quota(KS_ADAPTIVE, 1000000), 50000);
    CHECK_EQ(quota(100, 1 << 30), 1 << 30);
    ks_profile bare = {.node_percentage = 100};
    CHECK_EQ(ks_search_quota(&bare, 5000), 1);
}

/* 200 nodes in falling order; every tenth is full. */
static ks_engine *world(int32_t percentage, int32_t *profile, int32_t *id) {
    static const int32_t resource[] = {KS_CPU};
    static const int64_t weight[] = {1};
    ks_engine *e;
    int32_t order[200], full, done;
    ks_score_spec score = {.plugin = KS_SCORE_NODE_RESOURCES_FIT,
                           .weight = 1,
                           .n_resources = 1,
                           .resource = resource,
                           .resource_weight = weight};
    ks_profile_spec spec = {.filters = 0x3f, .n_scores = 1, .scores = &score, .node_percentage = percentage};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 200), KS_OK);
    CHECK_EQ(ks_profile_add(e, &spec, profile), KS_OK);
    CHECK_EQ(add_plain_class(e, 1000, GIB, id), KS_OK);
    CHECK_EQ(add_plain_class(e, 8000, GIB, &full), KS_OK);
    for (int32_t i = 0; i < 200; i++)
        order[i] = 199 - i;
    for (int32_t row = 0; row < 200; row += 10)
        CHECK_EQ(ks_bind(e, 1, &full, &row, NULL, &done), KS_OK);
    CHECK_EQ(ks_node_order_set(e, 200, order), KS_OK);
    return e;
}

static ks_status place(ks_engine *e, ks_options *o, int32_t id, int32_t *node, int32_t *feasible) {
    int32_t done;
    ks_decisions out = {.node = node, .feasible = feasible};
    return ks_place(e, o, 1, &id, &out, &done);
}

static void test_search_goes_on_where_it_ended(void) {
    int32_t profile, id, node, feasible;
    ks_engine *e = world(10, &profile, &id);
    ks_options o = {.profile = profile, .commit = 1};
    CHECK_EQ(place(e, &o, id, &node, &feasible), KS_OK);
    CHECK_EQ(feasible, 100);
    CHECK_EQ(o.next_node, 111); /* 199 .. 89 are 100 feasible and 11 full rows: the next one, 88, is the one too many */
    CHECK_EQ(node, 89);         /* all are equal: the lowest row that was looked at */
    CHECK_EQ(o.n_partial, 1);
    CHECK_EQ(place(e, &o, id, &node, &feasible), KS_OK);
    CHECK_EQ(feasible, 100);
    CHECK_EQ(node, 1);
    CHECK_EQ(o.next_node, (111 + 111) % 200);
    ks_engine_free(e);
}

static void test_nothing_moves_without_commit(void) {
    int32_t profile, id, node, feasible;
    ks_engine *e = world(10, &profile, &id);
    ks_options o = {.profile = profile, .next_node = 7};
    CHECK_EQ(place(e, &o, id, &node, &feasible), KS_OK);
    CHECK_EQ(o.next_node, 7);
    ks_engine_free(e);
}

static void test_whole_searches_do_not_move(void) {
    int32_t profile, id, node, feasible;
    ks_engine *e = world(100, &profile, &id);
    ks_options o = {.profile = profile, .commit = 1, .next_node = 7};
    CHECK_EQ(place(e, &o, id, &node, &feasible), KS_OK);
    CHECK_EQ(feasible, 180);
    CHECK_EQ(o.next_node, 7);
    CHECK_EQ(o.n_partial, 0);
    ks_engine_free(e);
}

static void test_groups_that_fail_move_it(void) {
    int32_t profile, id, big, start[] = {0, 3}, minimum[] = {3}, node[3], fitted, failed, decided, done;
    uint8_t placed;
    ks_engine *e = world(10, &profile, &id);
    CHECK_EQ(add_plain_class(e, 9000, GIB, &big), KS_OK);
    int32_t class_id[] = {big, id, id};
    ks_groups g = {.n = 1,
                   .start = start,
                   .minimum = minimum,
                   .placed = &placed,
                   .fitted = &fitted,
                   .first_failed = &failed,
                   .n_decided = &decided};
    ks_options o = {.profile = profile, .commit = 1};
    ks_decisions out = {.node = node};
    CHECK_EQ(ks_place_groups(e, &o, &g, class_id, &out, &done), KS_OK);
    CHECK_EQ(placed, 0);
    CHECK_EQ(decided, 3); /* not given up: 0 places on for the first, which looks at every node */
    CHECK_EQ(o.next_node, (111 + 111) % 200);
    ks_engine_free(e);
}

/* Asks for a pod that waits for a row, and looks again for others. */
static int32_t next_after_nominated(int32_t row, int32_t cpu_on_it, int32_t *node) {
    int32_t profile, id, more, feasible, handle, done, priority = 1;
    ks_engine *e = world(10, &profile, &id);
    CHECK_EQ(add_plain_class(e, cpu_on_it, GIB, &more), KS_OK);
    if (cpu_on_it > 0)
        CHECK_EQ(ks_bind(e, 1, &more, &row, NULL, &done), KS_OK);
    CHECK_EQ(ks_nominate(e, 1, &id, &row, &priority, &handle), KS_OK);
    CHECK_EQ(ks_asking(e, 1, handle), KS_OK);
    ks_options o = {.profile = profile, .commit = 1};
    CHECK_EQ(place(e, &o, id, node, &feasible), KS_OK);
    ks_engine_free(e);
    return o.next_node;
}

static void test_a_nominated_node_counts_once(void) {
    int32_t node;
    CHECK_EQ(next_after_nominated(5, 0, &node), 0); /* taken without a search */
    CHECK_EQ(node, 5);
    CHECK_EQ(next_after_nominated(5, 8000, &node), 111 + 1); /* in vain, and the search does not come so far */
    CHECK_EQ(next_after_nominated(150, 0, &node), 111);      /* full, and met again */
}

static void test_lists_of_names_move_it_by_their_length(void) {
    int32_t profile, named, id, node, feasible, names[200];
    int32_t start[] = {0, 1}, key[] = {KS_KEY_NODE_NAME}, op[] = {KS_OP_IN}, values[] = {0, 2}, value[] = {150, 149};
    int64_t number[] = {0}, amount[200 * 4];
    uint8_t is_number[] = {0};
    ks_engine *e = world(10, &profile, &id);
    for (int32_t i = 0; i < 200; i++) {
        names[i] = i;
        amount[i] = 8000;
        amount[200 + i] = 16 * GIB;
        amount[400 + i] = 0;
        amount[600 + i] = 10;
    }
    ks_node_rows rows = {.n = 200, .allocatable = amount, .name_id = names};
    int32_t devices[200];
    for (int32_t i = 0; i < 200; i++)
        devices[i] = i % 2 == 0 ? 0 : 4;
    rows.device_count = devices;
    CHECK_EQ(ks_nodes_update(e, names, &rows), KS_OK);
    plain_class p;
    make_plain_class(&p, 1000, GIB);
    p.spec.has_required = 1;
    p.spec.required = (ks_selector){1, start, NULL, 1, key, op, number, is_number, values, value};
    CHECK_EQ(ks_class_add(e, &p.spec, &named), KS_OK);
    ks_options o = {.profile = profile, .commit = 1, .next_node = 199};
    CHECK_EQ(place(e, &o, named, &node, &feasible), KS_OK);
    CHECK_EQ(node, 149);
    CHECK_EQ(feasible, 1); /* 150 is full */
    CHECK_EQ(o.next_node, 1);
    CHECK_EQ(o.n_partial, 0);
    ks_engine_free(e);
}

static void test_without_scores_the_first_will_do(void) {
    int32_t profile, bare, id, node, feasible;
    ks_engine *e = world(10, &profile, &id);
    ks_profile_spec spec = {.filters = 0x3f, .node_percentage = 100};
    CHECK_EQ(ks_profile_add(e, &spec, &bare), KS_OK);
    ks_options o = {.profile = bare, .commit = 1, .next_node = 9};
    CHECK_EQ(place(e, &o, id, &node, &feasible), KS_OK);
    CHECK_EQ(node, 189); /* place 9 is row 190, which is full */
    CHECK_EQ(feasible, 1);
    CHECK_EQ(o.next_node, 11);
    ks_engine_free(e);
}

static void test_order_is_checked_and_forgotten(void) {
    int32_t profile, id, node, feasible, row = 3, twice[200] = {0};
    ks_engine *e = world(10, &profile, &id);
    CHECK_EQ(ks_node_order_set(e, 200, twice), KS_EINVAL);
    CHECK_EQ(ks_node_order_set(e, 199, twice), KS_EINVAL);
    twice[0] = 200;
    CHECK_EQ(ks_node_order_set(e, 200, twice), KS_ERANGE);
    ks_options o = {.profile = profile, .commit = 1};
    CHECK_EQ(place(e, &o, id, &node, &feasible), KS_OK); /* what was refused changed nothing */
    CHECK_EQ(ks_nodes_remove(e, 1, &row), KS_OK);
    CHECK_EQ(place(e, &o, id, &node, &feasible), KS_ESTATE);
    o.next_node = -1;
    CHECK_EQ(place(e, &o, id, &node, &feasible), KS_EINVAL);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_quota);
    RUN(test_search_goes_on_where_it_ended);
    RUN(test_nothing_moves_without_commit);
    RUN(test_whole_searches_do_not_move);
    RUN(test_groups_that_fail_move_it);
    RUN(test_a_nominated_node_counts_once);
    RUN(test_lists_of_names_move_it_by_their_length);
    RUN(test_without_scores_the_first_will_do);
    RUN(test_order_is_checked_and_forgotten);
    return REPORT();
}
