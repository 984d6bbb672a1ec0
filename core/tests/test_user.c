/* SPDX-License-Identifier: Apache-2.0
 * Users' plugins: what they read, both drivers, normalisation, failures. */
#include "ks_test.h"

#include <math.h> /* NAN */

enum { N = 40 };

static const int32_t INPUT[] = {KS_INPUT_ALLOCATABLE, KS_INPUT_USED, KS_INPUT_COLUMN, KS_INPUT_REQUEST};
static const int32_t WHICH[] = {KS_CPU, KS_CPU, 0, KS_CPU};

typedef struct told {
    int32_t calls, most_rows, most_classes;
    double fail_at; /* value of the column at which the function says it failed */
} told;

static void note(told *t, int32_t n_rows, int32_t n_classes) {
    t->calls++;
    t->most_rows = n_rows > t->most_rows ? n_rows : t->most_rows;
    t->most_classes = n_classes > t->most_classes ? n_classes : t->most_classes;
}

/* Percent of the cpu that is left, plus the column. */
static int32_t left(void *context, int32_t n_rows, int32_t n_classes, const double *node, const double *pod,
                    double *out) {
    told *t = context;
    note(t, n_rows, n_classes);
    for (int32_t r = 0; r < n_rows; r++)
        for (int32_t c = 0; c < n_classes; c++) {
            double alloc = node[r], used = node[n_rows + r], column = node[2 * n_rows + r];
            if (column == t->fail_at)
                return 1 + r + c;
            out[r + c] = 50 * (alloc - used - pod[c]) / alloc + column;
        }
    return 0;
}

/* Column is not negative. */
static int32_t open_to(void *context, int32_t n_rows, int32_t n_classes, const double *node, const double *pod,
                       double *out) {
    (void)pod;
    note(context, n_rows, n_classes);
    for (int32_t i = 0; i < n_rows * n_classes; i++)
        out[i] = node[2 * n_rows + (n_rows > 1 ? i : 0)] >= 0;
    return 0;
}

static ks_user_spec spec_of(ks_user_function function, told *t, int32_t normalize) {
    return (ks_user_spec){function, t, 3, 1, INPUT, WHICH, normalize};
}

typedef struct world {
    ks_engine *e;
    told score_told, filter_told;
    int32_t column, score, filter, profile, classes[3];
} world;

static ks_status fill_column(world *w, double (*value)(int32_t)) {
    int32_t row[N];
    double at[N];
    for (int32_t i = 0; i < N; i++) {
        row[i] = i;
        at[i] = value(i);
    }
    return ks_node_column_set(w->e, w->column, N, row, at);
}

static ks_status profile_of(world *w, bool with_filter, int64_t weight, int32_t *out) {
    static const int32_t resources[] = {KS_CPU, KS_MEMORY};
    ks_score_spec scores[] = {
        {.plugin = KS_SCORE_BALANCED_ALLOCATION, .weight = 1, .n_resources = 2, .resource = resources},
        {.plugin = w->score, .weight = weight}};
    ks_profile_spec spec = {
        .filters = 0x3f, .n_scores = 2, .scores = scores, .n_user_filters = with_filter, .user_filter = &w->filter};
    return ks_profile_add(w->e, &spec, out);
}

static double by_three(int32_t row) { return row % 3 == 0 ? -1 : row % 7; }
static double three_bad(int32_t row) { return row == 3 ? 1000 : 1; }

static void open_world(world *w, int32_t normalize) {
    memset(w, 0, sizeof *w);
    w->score_told.fail_at = 77;
    CHECK_EQ(ks_engine_new(4, &w->e), KS_OK);
    CHECK_EQ(add_plain_nodes(w->e, N), KS_OK);
    CHECK_EQ(ks_node_column_add(w->e, &w->column), KS_OK);
    CHECK_EQ(fill_column(w, by_three), KS_OK);
    ks_user_spec score = spec_of(left, &w->score_told, normalize), filter = spec_of(open_to, &w->filter_told, 0);
    CHECK_EQ(ks_user_score_add(w->e, &score, &w->score), KS_OK);
    CHECK_EQ(ks_user_filter_add(w->e, &filter, &w->filter), KS_OK);
    CHECK_EQ(profile_of(w, true, 1, &w->profile), KS_OK);
    for (int32_t i = 0; i < 3; i++)
        CHECK_EQ(add_plain_class(w->e, i * 700, i * GIB, &w->classes[i]), KS_OK);
}

static void place_all(world *w, int32_t driver, int32_t n, int32_t *node, int64_t *score, ks_options *o) {
    int32_t classes[N * 12], done;
    for (int32_t i = 0; i < n; i++)
        classes[i] = w->classes[i % 3];
    *o = (ks_options){.profile = w->profile, .driver = driver, .commit = 1};
    ks_decisions out = {.node = node, .score = score};
    CHECK_EQ(ks_place(w->e, o, n, classes, &out, &done), KS_OK);
}

static void test_drivers_agree_until_the_cluster_is_full(void) {
    world dense, indexed;
    int32_t a[N * 12], b[N * 12], placed = 0;
    int64_t x[N * 12], y[N * 12];
    ks_options o;
    open_world(&dense, KS_NORMALIZE_CLAMP);
    open_world(&indexed, KS_NORMALIZE_CLAMP);
    place_all(&dense, KS_DRIVER_DENSE, N * 12, a, x, &o);
    place_all(&indexed, KS_DRIVER_INDEXED, N * 12, b, y, &o);
    CHECK_EQ(o.n_dense, 0);
    CHECK_EQ(memcmp(a, b, sizeof a), 0);
    CHECK_EQ(memcmp(x, y, sizeof x), 0);
    for (int32_t i = 0; i < N * 12; i++) {
        placed += a[i] != KS_NONE;
        CHECK(a[i] == KS_NONE || a[i] % 3 != 0); /* the filter holds */
    }
    CHECK_EQ(placed, 26 * 10);
    CHECK(dense.score_told.most_rows > 20);
    CHECK_EQ(dense.score_told.most_classes, 1);
    CHECK_EQ(indexed.score_told.most_rows, 1);
    CHECK_EQ(indexed.score_told.most_classes, 3);
    ks_engine_free(dense.e);
    ks_engine_free(indexed.e);
}

static void test_explain_agrees_with_the_decision(void) {
    static const int32_t how[] = {KS_NORMALIZE_NONE, KS_NORMALIZE_CLAMP, KS_NORMALIZE_MAX, KS_NORMALIZE_MAX_REVERSE,
                                  KS_NORMALIZE_MIN_MAX};
    static const int64_t first[] = {51, 51, 100, 0, 100}; /* 45.6 + 6, the greatest */
    static const int64_t other[] = {45, 45, 88, 12, 0};
    for (int32_t i = 0; i < 5; i++) {
        world w;
        int32_t node, filter[N], done;
        int64_t best, raw[2][N], score[2][N], total[N], top = 0;
        open_world(&w, how[i]);
        CHECK_EQ(
            ks_explain(w.e, w.profile, w.classes[1], filter, NULL, NULL, NULL, &raw[0][0], &score[0][0], NULL, total),
            KS_OK);
        ks_options o = {.profile = w.profile, .driver = KS_DRIVER_INDEXED};
        ks_decisions out = {.node = &node, .score = &best};
        CHECK_EQ(ks_place(w.e, &o, 1, &w.classes[1], &out, &done), KS_OK);
        CHECK_EQ(o.n_dense, how[i] >= KS_NORMALIZE_MAX); /* normalised scores need all rows */
        CHECK_EQ(filter[0], w.filter);
        CHECK_EQ(filter[1], KS_NONE);
        CHECK_EQ(raw[1][1], 46); /* 50 * 7300 / 8000 + 1 = 46.6 */
        for (int32_t row = 0; row < N; row++)
            top = total[row] > top ? total[row] : top;
        CHECK_EQ(best, top);
        CHECK_EQ(total[node], top);
        CHECK_EQ(score[1][13], first[i]);
        CHECK_EQ(score[1][7], other[i]);
        ks_engine_free(w.e);
    }
}

static void test_failures_say_where(void) {
    for (int32_t driver = KS_DRIVER_DENSE; driver <= KS_DRIVER_INDEXED; driver++) {
        world w;
        int32_t row[] = {20}, done;
        double bad[] = {77}, good[] = {5};
        ks_user_failure f;
        open_world(&w, KS_NORMALIZE_NONE);
        CHECK_EQ(ks_user_failed(w.e, &f), KS_ESTATE);
        ks_options o = {.profile = w.profile, .driver = driver};
        ks_decisions none = {0};
        CHECK_EQ(ks_place(w.e, &o, 1, &w.classes[1], &none, &done), KS_OK);
        CHECK_EQ(ks_node_column_set(w.e, w.column, 1, row, bad), KS_OK);
        CHECK_EQ(ks_place(w.e, &o, 1, &w.classes[1], &none, &done), KS_EPLUGIN);
        CHECK_EQ(ks_user_failed(w.e, &f), KS_OK);
        CHECK_EQ(f.raised, 1);
        CHECK_EQ(f.row, 20);
        CHECK_EQ(f.class_id, w.classes[1]);
        CHECK_EQ(f.user, w.score - KS_N_SCORES);
        CHECK_EQ(f.node[2], 77);
        CHECK_EQ(f.pod[0], 700);
        CHECK_EQ(fill_column(&w, three_bad), KS_OK);
        CHECK_EQ(ks_place(w.e, &o, 1, &w.classes[1], &none, &done), KS_EPLUGIN);
        CHECK_EQ(ks_user_failed(w.e, &f), KS_OK);
        CHECK_EQ(f.raised, 0);
        CHECK_EQ(f.row, 3);
        CHECK(f.value > 1000);
        row[0] = 3;
        CHECK_EQ(ks_node_column_set(w.e, w.column, 1, row, good), KS_OK);
        CHECK_EQ(ks_place(w.e, &o, 1, &w.classes[1], &none, &done), KS_OK); /* and goes on afterwards */
        ks_engine_free(w.e);
    }
}

static void test_columns_follow_rows(void) {
    world w;
    int32_t row[] = {5}, second;
    double node[3], pod[1], value[] = {8};
    int64_t amount[4] = {8000, GIB, 0, 10};
    open_world(&w, KS_NORMALIZE_NONE);
    CHECK_EQ(ks_node_column_add(w.e, &second), KS_OK);
    CHECK_EQ(ks_node_column_set(w.e, second, 1, row, value), KS_OK);
    CHECK_EQ(ks_user_inputs(w.e, w.score - KS_N_SCORES, 5, w.classes[2], node, pod), KS_OK);
    CHECK_EQ(node[0], 8000);
    CHECK_EQ(node[2], 5);
    CHECK_EQ(pod[0], 1400);
    CHECK_EQ(ks_nodes_remove(w.e, 1, row), KS_OK);
    CHECK_EQ(ks_node_column_set(w.e, second, 1, row, value), KS_ERANGE);
    ks_node_rows rows = {.n = 1, .allocatable = amount};
    CHECK_EQ(ks_nodes_update(w.e, row, &rows), KS_OK);
    CHECK_EQ(ks_user_inputs(w.e, w.score - KS_N_SCORES, 5, w.classes[2], node, pod), KS_OK);
    CHECK(isnan(node[2]));
    CHECK_EQ(add_plain_nodes(w.e, 100), KS_OK);
    CHECK_EQ(ks_user_inputs(w.e, w.score - KS_N_SCORES, 6, w.classes[2], node, pod), KS_OK);
    CHECK_EQ(node[2], -1);
    CHECK_EQ(ks_user_inputs(w.e, w.score - KS_N_SCORES, 139, w.classes[2], node, pod), KS_OK);
    CHECK(isnan(node[2]));
    ks_engine_free(w.e);
}

static void test_labels_and_devices_are_read(void) {
    static const int32_t input[] = {KS_INPUT_LABEL,       KS_INPUT_LABEL,          KS_INPUT_DEVICES,
                                    KS_INPUT_FREE_MILLI,  KS_INPUT_NONZERO_USED,   KS_INPUT_ASKED_DEVICES,
                                    KS_INPUT_ASKED_MILLI, KS_INPUT_NONZERO_REQUEST};
    static const int32_t which[] = {4, 5, 0, 0, KS_MEMORY, 0, 0, KS_CPU};
    world w;
    int32_t key[] = {4, 5}, value[] = {1, 2}, set, id, row[] = {1};
    int64_t number[] = {-12, 0}, amount[4] = {8000, GIB, 0, 10};
    uint8_t is_number[] = {1, 0};
    double node[5], pod[3];
    open_world(&w, KS_NORMALIZE_NONE);
    CHECK_EQ(ks_label_set_add(w.e, 2, key, value, number, is_number, &set), KS_OK);
    int32_t four = 4;
    ks_node_rows rows = {.n = 1, .allocatable = amount, .label_set = &set, .device_count = &four};
    CHECK_EQ(ks_nodes_update(w.e, row, &rows), KS_OK);
    ks_user_spec spec = {left, &w.score_told, 5, 3, input, which, KS_NORMALIZE_NONE};
    CHECK_EQ(ks_user_score_add(w.e, &spec, &id), KS_OK);
    CHECK_EQ(ks_user_inputs(w.e, id - KS_N_SCORES, 1, w.classes[1], node, pod), KS_OK);
    CHECK_EQ(node[0], -12);
    CHECK(isnan(node[1]));
    CHECK_EQ(node[2], 4);
    CHECK_EQ(node[3], 4000);
    CHECK_EQ(node[4], 0);
    CHECK_EQ(pod[0], 0);
    CHECK_EQ(pod[2], 700);
    ks_engine_free(w.e);
}

static void test_bad_arguments_are_refused(void) {
    world w;
    int32_t id, input[] = {KS_INPUT_ALLOCATABLE}, which[] = {4};
    open_world(&w, KS_NORMALIZE_NONE);
    ks_user_spec s = {left, NULL, 1, 0, input, which, KS_NORMALIZE_NONE};
    CHECK_EQ(ks_user_score_add(w.e, &s, &id), KS_ERANGE); /* no such resource */
    which[0] = 1;
    input[0] = KS_INPUT_COLUMN;
    CHECK_EQ(ks_user_score_add(w.e, &s, &id), KS_ERANGE); /* no such column */
    input[0] = KS_INPUT_REQUEST;
    CHECK_EQ(ks_user_score_add(w.e, &s, &id), KS_EINVAL); /* of the pod, where nodes' come */
    input[0] = KS_INPUT_USED;
    s.normalize = KS_NORMALIZE_MIN_MAX + 1;
    CHECK_EQ(ks_user_score_add(w.e, &s, &id), KS_EINVAL);
    s.normalize = KS_NORMALIZE_CLAMP;
    CHECK_EQ(ks_user_filter_add(w.e, &s, &id), KS_EINVAL);
    s.function = NULL;
    CHECK_EQ(ks_user_score_add(w.e, &s, &id), KS_EINVAL);
    CHECK_EQ(w.e->users.n, 2);
    int32_t filter = w.filter;
    w.filter = w.score - KS_N_SCORES + KS_N_FILTERS; /* a score is no filter */
    CHECK_EQ(profile_of(&w, true, 1, &id), KS_EINVAL);
    w.score = filter - KS_N_FILTERS + KS_N_SCORES;
    CHECK_EQ(profile_of(&w, false, 1, &id), KS_EINVAL);
    ks_engine_free(w.e);
}

static void test_heavy_scores_are_decided_densely(void) {
    world w;
    int32_t done;
    open_world(&w, KS_NORMALIZE_NONE);
    CHECK_EQ(profile_of(&w, true, 3, &w.profile), KS_OK); /* 50 + 300: more than a byte */
    ks_options o = {.profile = w.profile, .driver = KS_DRIVER_INDEXED};
    ks_decisions none = {0};
    CHECK_EQ(ks_place(w.e, &o, 1, &w.classes[1], &none, &done), KS_OK);
    CHECK_EQ(o.n_dense, 1);
    CHECK_EQ(profile_of(&w, true, 2, &o.profile), KS_OK);
    CHECK_EQ(ks_place(w.e, &o, 1, &w.classes[1], &none, &done), KS_OK);
    CHECK_EQ(o.n_dense, 1);
    ks_engine_free(w.e);
}

/* Half of the cpu may be asked for. */
static int32_t half(void *context, int32_t n_rows, int32_t n_classes, const double *node, const double *pod,
                    double *out) {
    note(context, n_rows, n_classes);
    for (int32_t r = 0; r < n_rows; r++)
        for (int32_t c = 0; c < n_classes; c++)
            out[r + c] = 2 * (node[n_rows + r] + pod[c]) <= node[r];
    return 0;
}

/* All nodes run one pod of 3,000m; another of 1,400m is more than half. */
static void open_half_full(world *w, int32_t *running, int32_t *handle) {
    int32_t class_id[N], row[N], priority[N], done;
    int64_t started[N];
    open_world(w, KS_NORMALIZE_NONE);
    ks_user_spec spec = spec_of(half, &w->filter_told, 0);
    CHECK_EQ(ks_user_filter_add(w->e, &spec, &w->filter), KS_OK);
    CHECK_EQ(profile_of(w, true, 1, &w->profile), KS_OK);
    CHECK_EQ(add_plain_class(w->e, 3000, 0, running), KS_OK);
    for (int32_t i = 0; i < N; i++) {
        class_id[i] = *running;
        row[i] = i;
        priority[i] = i == 7 ? 1 : 2;
        started[i] = i;
    }
    ks_known_spec known = {.n = N, .class_id = class_id, .node = row, .priority = priority, .started = started};
    CHECK_EQ(ks_bind(w->e, N, class_id, row, NULL, &done), KS_OK);
    CHECK_EQ(ks_pods_know(w->e, &known, handle), KS_OK);
}

static void test_summaries_and_evictions_ask_users_filters(void) {
    world w;
    int32_t running, handle[N];
    int64_t rejected[(KS_N_FILTERS + 3) * KS_N_DETAILS], insufficient[4];
    open_half_full(&w, &running, handle);
    ks_summary sum = {.rejected = rejected, .insufficient = insufficient};
    CHECK_EQ(ks_summarize(w.e, w.profile, w.classes[2], &sum), KS_OK);
    CHECK_EQ(sum.feasible, 0);
    CHECK_EQ(rejected[w.filter * KS_N_DETAILS + 1], N);
    CHECK_EQ(ks_summarize(w.e, w.profile, w.classes[1], &sum), KS_OK); /* 700m still go */
    CHECK_EQ(sum.feasible, N);
    ks_preemption io = {.profile = w.profile, .class_id = w.classes[2], .priority = 9};
    CHECK_EQ(ks_preempt(w.e, &io), KS_OK);
    CHECK_EQ(io.n_candidates, N);
    CHECK_EQ(io.node, 7); /* the victim of lowest priority */
    CHECK_EQ(io.n_victims, 1);
    CHECK_EQ(io.victim[0], handle[7]);
    ks_engine_free(w.e);
}

static void test_nominated_pods_count_for_users_filters(void) {
    world w;
    int32_t running, handle[N], nominated, row = 0, priority = 5, filter[N], node, done;
    open_half_full(&w, &running, handle);
    CHECK_EQ(ks_nominate(w.e, 1, &w.classes[1], &row, &priority, &nominated), KS_OK);
    CHECK_EQ(ks_asking(w.e, 5, KS_NONE), KS_OK);
    CHECK_EQ(ks_explain(w.e, w.profile, w.classes[1], filter, NULL, NULL, NULL, NULL, NULL, NULL, NULL), KS_OK);
    CHECK_EQ(filter[0], w.filter); /* 3,000m + 700m + 700m */
    CHECK_EQ(filter[1], KS_NONE);
    for (int32_t driver = KS_DRIVER_DENSE; driver <= KS_DRIVER_INDEXED; driver++) {
        ks_options o = {.profile = w.profile, .driver = driver};
        ks_decisions out = {.node = &node};
        CHECK_EQ(ks_place(w.e, &o, 1, &w.classes[1], &out, &done), KS_OK);
        CHECK(node > 0);
    }
    ks_engine_free(w.e);
}

int main(void) {
    RUN(test_drivers_agree_until_the_cluster_is_full);
    RUN(test_explain_agrees_with_the_decision);
    RUN(test_failures_say_where);
    RUN(test_columns_follow_rows);
    RUN(test_labels_and_devices_are_read);
    RUN(test_bad_arguments_are_refused);
    RUN(test_heavy_scores_are_decided_densely);
    RUN(test_summaries_and_evictions_ask_users_filters);
    RUN(test_nominated_pods_count_for_users_filters);
    return REPORT();
}
