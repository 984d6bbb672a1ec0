/* SPDX-License-Identifier: Apache-2.0
 * Running pods that can be told apart, and the budgets that they count for. */
#include "ks_test.h"

enum { PODS = 6 };

static ks_engine *e;
static int32_t class_id, handle[PODS];

static ks_status know(int32_t n, const int32_t *node, const int32_t *priority, const int32_t *budgets) {
    static const int32_t classes[PODS];
    static const int64_t started[PODS] = {1, 2, 3, 4, 5, 6};
    ks_known_spec spec = {
        .n = n, .class_id = classes, .node = node, .priority = priority, .started = started, .budgets = budgets};
    return ks_pods_know(e, &spec, handle);
}

static void set_up(void) {
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 3), KS_OK);
    CHECK_EQ(add_plain_class(e, 100, GIB, &class_id), KS_OK);
}

static void check_row(int32_t row, int32_t n, const int32_t *pods) {
    const ks_row_list *on = &e->known.on.at[row];
    CHECK_EQ(on->n, n);
    for (int32_t i = 0; i < n && i < on->n; i++)
        CHECK_EQ(on->at[i], pods[i]);
}

/* The last takes the place of one that leaves, and a handle that is free is given out again. */
static void test_rows_list_their_pods(void) {
    static const int32_t node[] = {1, 1, 2, 1, 1, 2}, priority[PODS];
    set_up();
    CHECK_EQ(know(PODS, node, priority, NULL), KS_OK);
    check_row(1, 4, (int32_t[]){handle[0], handle[1], handle[3], handle[4]});
    CHECK_EQ(ks_pods_forget(e, 2, (int32_t[]){handle[1], handle[1]}), KS_OK); /* twice is once */
    check_row(1, 3, (int32_t[]){handle[0], handle[4], handle[3]});
    int32_t freed = handle[1];
    CHECK_EQ(know(1, node, priority, NULL), KS_OK);
    CHECK_EQ(handle[0], freed);
    check_row(1, 4, (int32_t[]){0, 4, 3, freed});
    ks_engine_free(e);
}

static void test_a_removed_row_forgets(void) {
    static const int32_t node[] = {1, 2}, priority[PODS];
    set_up();
    CHECK_EQ(know(2, node, priority, NULL), KS_OK);
    CHECK_EQ(ks_nodes_remove(e, 1, (int32_t[]){1}), KS_OK);
    check_row(1, 0, NULL);
    CHECK_EQ(e->known.pods.at[handle[0]].row, KS_NONE);
    CHECK_EQ(ks_pods_forget(e, 2, handle), KS_OK); /* its handle is still there to be given back */
    CHECK_EQ(e->known.free.n, 2);
    ks_engine_free(e);
}

static void test_wrong_pods_are_refused(void) {
    static const int32_t beyond[] = {1, 3}, node[] = {1, 1}, priority[PODS], no_set[] = {0, 1};
    set_up();
    CHECK_EQ(know(2, beyond, priority, NULL), KS_ERANGE);
    CHECK_EQ(know(2, node, priority, no_set), KS_ERANGE);
    CHECK_EQ(e->known.pods.n, 0);
    CHECK_EQ(ks_pods_forget(e, 1, (int32_t[]){0}), KS_ERANGE);
    CHECK_EQ(know(1, node, priority, NULL), KS_OK);
    CHECK_EQ(ks_pods_forget(e, 1, (int32_t[]){-1}), KS_ERANGE);
    CHECK_EQ(ks_nodes_remove(e, 1, (int32_t[]){2}), KS_OK);
    CHECK_EQ(know(1, (int32_t[]){2}, priority, NULL), KS_ERANGE);
    CHECK_EQ(ks_pods_know(e, NULL, handle), KS_EINVAL);
    ks_engine_free(e);
}

/* A set may name a budget that another set names, too; each pod takes one from all of its budgets. */
static void test_budgets_run_out(void) {
    int32_t none, first, both;
    set_up();
    CHECK_EQ(ks_budget_set_add(e, 1, (int32_t[]){0}, &first), KS_ERANGE);
    CHECK_EQ(ks_budgets_set(e, 2, (int32_t[]){1, 2}), KS_OK);
    CHECK_EQ(ks_budget_set_add(e, 1, (int32_t[]){0}, &first), KS_OK);
    CHECK_EQ(ks_budget_set_add(e, 2, (int32_t[]){0, 1}, &both), KS_OK);
    CHECK_EQ(ks_budget_set_add(e, 0, NULL, &none), KS_OK);
    CHECK_EQ(ks_budgets_set(e, 1, (int32_t[]){1}), KS_ESTATE);
    e->known.left.at[0] = 1;
    e->known.left.at[1] = 2;
    CHECK(!ks_budgets_take(e, both));
    CHECK(!ks_budgets_take(e, none));
    CHECK(!ks_budgets_take(e, 0));
    CHECK(ks_budgets_take(e, first));
    CHECK(ks_budgets_take(e, both));
    CHECK_EQ(e->known.left.at[0], -2);
    CHECK_EQ(e->known.left.at[1], 0);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_rows_list_their_pods);
    RUN(test_a_removed_row_forgets);
    RUN(test_wrong_pods_are_refused);
    RUN(test_budgets_run_out);
    return REPORT();
}
