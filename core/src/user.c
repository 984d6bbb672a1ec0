/* SPDX-License-Identifier: Apache-2.0
 * user.c: filters and scores that a user brings as a function pointer.
 *
 * A function judges many pairs in one call: several rows with one class (the dense driver, explain), or one row with
 * several classes (a lane group of the index). It is asked only about pairs that pass every built-in filter, so that
 * it never meets a node that is too full for the pod. What it reads is gathered here into columns of doubles.
 *
 * A score counts as an integer, as upstream's do: the fraction is cut off. Scores that are not normalised stay in
 * 0..100 and depend on the row and the class alone, so that the index can add them to its bytes; `max` and `min-max`
 * need all feasible rows and are left to the dense driver.
 *
 * A function that fails ends the call with KS_EPLUGIN; `failure` remembers where. */
#include "internal.h"

#include <math.h>   /* isnan */
#include <string.h> /* memcpy */

enum {
    CHUNK = 256,     /* rows a call; arbitrary: the gathered columns stay in the first-level cache */
    MAX_INPUTS = 256 /* arbitrary; bounds the buffers */
};

static const double GREATEST_RAW = 9007199254740992.0; /* 2^53: integers are exact, and 100 times it fits int64 */

/* ---- reading ---- */

static double label_number(const ks_engine *e, int32_t label_set, int32_t key) {
    const ks_sets *s = &e->sets;
    for (int32_t i = s->label_start.at[label_set]; i < s->label_start.at[label_set + 1]; i++)
        if (s->label.at[i].key == key)
            return s->label.at[i].is_number ? (double)s->label.at[i].number : (double)NAN;
    return (double)NAN;
}

static double free_milli(const ks_engine *e, int32_t row) {
    int64_t sum = 0;
    for (int32_t d = 0; d < e->device_count.at[row]; d++)
        sum += e->device_free.at[(int64_t)row * e->device_stride + d];
    return (double)sum;
}

static double node_input(const ks_engine *e, int32_t input, int32_t which, int32_t row) {
    switch (input) {
    case KS_INPUT_ALLOCATABLE:
        return (double)e->allocatable[which][row];
    case KS_INPUT_USED:
        return (double)e->used[which][row];
    case KS_INPUT_NONZERO_USED:
        return (double)(which == KS_CPU ? e->nonzero_cpu.at[row] : e->nonzero_memory.at[row]);
    case KS_INPUT_COLUMN:
        return e->column.at[(int64_t)row * e->n_columns + which];
    case KS_INPUT_LABEL:
        return label_number(e, e->label_set.at[row], which);
    case KS_INPUT_DEVICES:
        return (double)e->device_count.at[row];
    default:
        return free_milli(e, row);
    }
}

static double pod_input(const ks_class *c, int32_t input, int32_t which) {
    switch (input) {
    case KS_INPUT_REQUEST:
        return which == KS_PODS ? 1.0 : (double)ks_amount_of(c->request, c->n_request, which);
    case KS_INPUT_NONZERO_REQUEST:
        return (double)(which == KS_CPU ? c->nonzero_cpu : c->nonzero_memory);
    case KS_INPUT_ASKED_DEVICES:
        return (double)c->device_count;
    default:
        return (double)c->device_milli;
    }
}

static void gather_rows(const ks_engine *e, const ks_user *u, int32_t n, const int32_t *row, double *out) {
    for (int32_t i = 0; i < u->n_node; i++)
        for (int32_t r = 0; r < n; r++)
            out[i * n + r] = node_input(e, u->input[i], u->which[i], row[r]);
}

static void gather_class(const ks_user *u, const ks_class *c, int32_t n, int32_t at, double *out) {
    for (int32_t i = 0; i < u->n_pod; i++)
        out[i * n + at] = pod_input(c, u->input[u->n_node + i], u->which[u->n_node + i]);
}

/* ---- judging ---- */

static ks_status fail(const ks_engine *e, int32_t user, int32_t row, int32_t class_id, bool raised, double value) {
    double *node = e->failed_node.at, *pod = e->failed_pod.at;
    gather_rows(e, &e->users.at[user], 1, &row, node);
    gather_class(&e->users.at[user], &e->classes.at[class_id], 1, 0, pod);
    e->failure.at[0] = (ks_user_failure){user, row, class_id, raised, value, node, pod};
    return KS_EPLUGIN;
}

static int32_t id_of(const ks_engine *e, const ks_class *c) { return (int32_t)(c - e->classes.at); }

static bool is_answer(const ks_user *u, double v) {
    if (u->is_filter || u->normalize == KS_NORMALIZE_CLAMP)
        return !isnan(v);
    if (u->normalize == KS_NORMALIZE_NONE)
        return v >= 0 && v <= 100;
    return v <= GREATEST_RAW && v >= (u->normalize == KS_NORMALIZE_MIN_MAX ? -GREATEST_RAW : 0);
}

/* One class on n <= CHUNK rows; the answers are in e->user_out. */
static ks_status ask_rows(const ks_engine *e, int32_t user, const ks_class *c, int32_t n, const int32_t *row) {
    const ks_user *u = &e->users.at[user];
    double *node = e->user_node.at, *pod = e->user_pod.at, *out = e->user_out.at;
    gather_rows(e, u, n, row, node);
    gather_class(u, c, 1, 0, pod);
    int32_t at = u->function(u->context, n, 1, node, pod, out);
    if (at != 0)
        return fail(e, user, row[at > 0 && at <= n ? at - 1 : 0], id_of(e, c), true, 0);
    for (int32_t i = 0; i < n; i++)
        if (!is_answer(u, out[i]))
            return fail(e, user, row[i], id_of(e, c), false, out[i]);
    return KS_OK;
}

/* Feasible rows from *at on; returns how many, at most CHUNK. */
static int32_t next_rows(const ks_engine *e, const uint8_t *feasible, int32_t *at, int32_t *row) {
    int32_t n = 0;
    for (; *at < e->n_rows && n < CHUNK; (*at)++)
        if (feasible[*at])
            row[n++] = *at;
    return n;
}

ks_status ks_user_filter_rows(const ks_engine *e, const ks_profile *p, const ks_class *c, uint8_t *feasible,
                              int32_t *failed, int64_t *rejected) {
    int32_t row[CHUNK], n;
    for (int32_t i = 0; i < p->n_user_filters; i++)
        for (int32_t at = 0; (n = next_rows(e, feasible, &at, row)) > 0;) {
            KS_TRY(ask_rows(e, p->user_filter[i] - KS_N_FILTERS, c, n, row));
            for (int32_t k = 0; k < n; k++) {
                if (e->user_out.at[k] != 0)
                    continue;
                feasible[row[k]] = 0;
                if (failed != NULL)
                    failed[row[k]] = p->user_filter[i];
                if (rejected != NULL)
                    rejected[p->user_filter[i] * KS_N_DETAILS + KS_DETAIL_USER]++;
            }
        }
    return KS_OK;
}

ks_status ks_user_score_rows(const ks_engine *e, int32_t plugin, const ks_class *c, const uint8_t *feasible,
                             int64_t *raw) {
    int32_t row[CHUNK], n;
    for (int32_t at = 0; (n = next_rows(e, feasible, &at, row)) > 0;) {
        KS_TRY(ask_rows(e, plugin - KS_N_SCORES, c, n, row));
        for (int32_t k = 0; k < n; k++) {
            double v = e->user_out.at[k];
            v = v > GREATEST_RAW ? GREATEST_RAW : v < -GREATEST_RAW ? -GREATEST_RAW : v;
            raw[row[k]] = (int64_t)v;
        }
    }
    return KS_OK;
}

static int64_t clamp(int64_t v) { return v < 0 ? 0 : v > 100 ? 100 : v; }

/* Source of `max` and `max-reverse`: helper.DefaultNormalizeScore, v1.36. */
void ks_user_normalize(const ks_engine *e, int32_t plugin, const uint8_t *feasible, int64_t *raw) {
    int32_t how = e->users.at[plugin - KS_N_SCORES].normalize;
    int64_t max = INT64_MIN, min = INT64_MAX;
    if (how == KS_NORMALIZE_NONE)
        return;
    for (int32_t row = 0; row < e->n_rows; row++) {
        if (!feasible[row])
            continue;
        max = raw[row] > max ? raw[row] : max;
        min = raw[row] < min ? raw[row] : min;
    }
    for (int32_t row = 0; row < e->n_rows; row++) {
        if (!feasible[row])
            continue;
        if (how == KS_NORMALIZE_CLAMP)
            raw[row] = clamp(raw[row]);
        else if (how == KS_NORMALIZE_MAX)
            raw[row] = ks_normalize_up(raw[row], max);
        else if (how == KS_NORMALIZE_MAX_REVERSE)
            raw[row] = ks_normalize_taint(raw[row], max);
        else
            raw[row] = max == min ? 0 : 100 * (raw[row] - min) / (max - min);
    }
}

ks_status ks_user_add_scores(ks_engine *e, const ks_profile *p, const ks_class *c, const uint8_t *feasible,
                             int64_t *total) {
    if (p->n_user_scores == 0)
        return KS_OK;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.user, e->n_rows));
    int64_t *score = e->scratch.user.at;
    for (int32_t i = 0; i < p->n_scores; i++) {
        if (!ks_is_user_score(p->scores[i].plugin))
            continue;
        KS_TRY(ks_user_score_rows(e, p->scores[i].plugin, c, feasible, score));
        ks_user_normalize(e, p->scores[i].plugin, feasible, score);
        for (int32_t row = 0; row < e->n_rows; row++)
            if (feasible[row])
                total[row] += p->scores[i].weight * score[row];
    }
    return KS_OK;
}

/* ---- lanes: one row, the classes of a lane group ---- */

/* The plugins of a profile in the order in which lanes are asked: filters, then scores. -1 behind the last. */
static int32_t nth_user(const ks_profile *p, int32_t n, int64_t *weight) {
    if (n < p->n_user_filters)
        return p->user_filter[n] - KS_N_FILTERS;
    n -= p->n_user_filters;
    for (int32_t i = 0; i < p->n_scores; i++)
        if (p->scores[i].plugin >= KS_N_SCORES && n-- == 0) {
            *weight = p->scores[i].weight;
            return p->scores[i].plugin - KS_N_SCORES;
        }
    return -1;
}

int64_t ks_user_lanes_size(const ks_engine *e, const ks_profile *p, int32_t n) {
    int64_t size = 0, weight;
    int32_t user;
    for (int32_t i = 0; (user = nth_user(p, i, &weight)) >= 0; i++)
        size += (int64_t)e->users.at[user].n_pod * n;
    return size;
}

void ks_user_lanes_fill(const ks_engine *e, const ks_profile *p, int32_t n, const int32_t *lane_class, double *out) {
    int64_t weight;
    int32_t user;
    for (int32_t i = 0; (user = nth_user(p, i, &weight)) >= 0; i++) {
        const ks_user *u = &e->users.at[user];
        for (int32_t l = 0; l < n; l++)
            gather_class(u, &e->classes.at[lane_class[l]], n, l, out);
        out += (int64_t)u->n_pod * n;
    }
}

/* All n lanes at once. Returns false if an answer is none. */
KS_WIDE static bool add_all(const double *restrict v, int32_t n, bool clamped, int32_t weight, uint8_t *restrict out) {
    int32_t bad = 0;
    for (int32_t l = 0; l < n; l++) {
        double x = v[l], low = x > 0 ? x : 0, in = low < 100 ? low : 100;
        bad |= clamped ? x != x : !(x == in);
        out[l] = (uint8_t)(out[l] + (uint8_t)(weight * (int32_t)in));
    }
    return bad == 0;
}

/* Pods of the lanes in `lane`, from the columns of all n lanes. */
static void pick_lanes(const ks_user *u, const double *all, int32_t n, const int32_t *lane, int32_t n_open,
                       double *out) {
    for (int32_t i = 0; i < u->n_pod; i++)
        for (int32_t k = 0; k < n_open; k++)
            out[i * n_open + k] = all[i * n + lane[k]];
}

static ks_status apply(const ks_engine *e, int32_t user, int64_t weight, int32_t row, const int32_t *lane_class,
                       int32_t n_open, const int32_t *lane, uint8_t *bytes) {
    const ks_user *u = &e->users.at[user];
    for (int32_t k = 0; k < n_open; k++) {
        double v = e->user_out.at[k];
        if (!is_answer(u, v))
            return fail(e, user, row, lane_class[lane[k]], false, v);
        if (u->is_filter)
            bytes[lane[k]] = v != 0 ? bytes[lane[k]] : 0;
        else
            bytes[lane[k]] = (uint8_t)(bytes[lane[k]] + weight * (int64_t)(v < 0 ? 0 : v > 100 ? 100 : v));
    }
    return KS_OK;
}

/* One plugin on the lanes that are open. */
static ks_status ask_lanes(const ks_engine *e, int32_t user, int64_t weight, int32_t row, int32_t n,
                           const int32_t *lane_class, const double *pod, uint8_t *bytes) {
    const ks_user *u = &e->users.at[user];
    int32_t lane[KS_LANES], n_open = 0;
    for (int32_t l = 0; l < n; l++) {
        lane[n_open] = l;
        n_open += bytes[l] > 0;
    }
    if (n_open == 0)
        return KS_OK;
    gather_rows(e, u, 1, &row, e->user_node.at);
    if (n_open < n) {
        pick_lanes(u, pod, n, lane, n_open, e->user_pod.at);
        pod = e->user_pod.at;
    }
    int32_t at = u->function(u->context, 1, n_open, e->user_node.at, pod, e->user_out.at);
    if (at != 0)
        return fail(e, user, row, lane_class[lane[at > 0 && at <= n_open ? at - 1 : 0]], true, 0);
    bool clamped = u->normalize == KS_NORMALIZE_CLAMP;
    if (n_open == n && !u->is_filter) {
        uint8_t sum[KS_LANES];
        memcpy(sum, bytes, (size_t)n);
        if (add_all(e->user_out.at, n, clamped, (int32_t)weight, sum)) {
            memcpy(bytes, sum, (size_t)n);
            return KS_OK;
        }
    }
    return apply(e, user, weight, row, lane_class, n_open, lane, bytes);
}

ks_status ks_user_lanes(const ks_engine *e, const ks_profile *p, int32_t row, int32_t n, const int32_t *lane_class,
                        const double *pod, uint8_t *bytes) {
    int64_t weight = 0;
    int32_t user;
    for (int32_t i = 0; (user = nth_user(p, i, &weight)) >= 0; i++) {
        KS_TRY(ask_lanes(e, user, weight, row, n, lane_class, pod, bytes));
        pod += (int64_t)e->users.at[user].n_pod * n;
    }
    return KS_OK;
}

/* ---- one row ---- */

ks_status ks_user_filter(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row, int32_t *filter) {
    *filter = KS_NONE;
    for (int32_t i = 0; i < p->n_user_filters && *filter == KS_NONE; i++) {
        KS_TRY(ask_rows(e, p->user_filter[i] - KS_N_FILTERS, c, 1, &row));
        *filter = e->user_out.at[0] == 0 ? p->user_filter[i] : KS_NONE;
    }
    return KS_OK;
}

/* ---- adding ---- */

static bool takes_resource(int32_t input) {
    return input == KS_INPUT_ALLOCATABLE || input == KS_INPUT_USED || input == KS_INPUT_REQUEST;
}

static ks_status check_input(const ks_engine *e, int32_t input, int32_t which, bool of_node) {
    if (input < (of_node ? 0 : KS_INPUT_REQUEST) || input >= (of_node ? KS_INPUT_REQUEST : KS_N_INPUTS) || which < 0)
        return KS_EINVAL;
    if (takes_resource(input))
        return which < e->n_resources ? KS_OK : KS_ERANGE;
    if (input == KS_INPUT_NONZERO_USED || input == KS_INPUT_NONZERO_REQUEST)
        return which <= KS_MEMORY ? KS_OK : KS_ERANGE;
    if (input == KS_INPUT_COLUMN)
        return which < e->n_columns ? KS_OK : KS_ERANGE;
    return KS_OK;
}

static ks_status check_user(const ks_engine *e, const ks_user_spec *s) {
    if (s->function == NULL || s->n_node < 0 || s->n_pod < 0 || s->n_node > MAX_INPUTS || s->n_pod > MAX_INPUTS)
        return KS_EINVAL;
    if (s->n_node + s->n_pod > 0 && (s->input == NULL || s->which == NULL))
        return KS_EINVAL;
    if (s->normalize < KS_NORMALIZE_NONE || s->normalize > KS_NORMALIZE_MIN_MAX)
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n_node + s->n_pod; i++)
        KS_TRY(check_input(e, s->input[i], s->which[i], i < s->n_node));
    return KS_OK;
}

static ks_status add(ks_engine *e, const ks_user_spec *s, bool is_filter, int32_t *out_user) {
    KS_TRY(check_user(e, s));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->users, e->users.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->failure, 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->user_node, (int64_t)s->n_node * CHUNK));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->user_pod, (int64_t)s->n_pod * KS_LANES));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->user_out, CHUNK));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->failed_node, s->n_node));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->failed_pod, s->n_pod));
    ks_user made = {.function = s->function,
                    .context = s->context,
                    .is_filter = is_filter,
                    .normalize = s->normalize,
                    .n_node = s->n_node,
                    .n_pod = s->n_pod};
    size_t n = (size_t)s->n_node + (size_t)s->n_pod;
    KS_TRY(ks_reserve(&e->mem, &made.block, &made.block_bytes, (int64_t)(2 * n * sizeof(int32_t)), 1));
    made.input = made.block;
    made.which = made.input + n;
    if (n > 0) {
        memcpy(made.input, s->input, n * sizeof(int32_t));
        memcpy(made.which, s->which, n * sizeof(int32_t));
    }
    if (e->users.n == 0)
        e->failure.at[0].row = KS_NONE;
    *out_user = (int32_t)e->users.n;
    e->users.at[e->users.n++] = made;
    return KS_OK;
}

ks_status ks_user_filter_add(ks_engine *e, const ks_user_spec *spec, int32_t *out_filter) {
    if (e == NULL || spec == NULL || out_filter == NULL || spec->normalize != KS_NORMALIZE_NONE)
        return KS_EINVAL;
    int32_t user;
    KS_TRY(add(e, spec, true, &user));
    *out_filter = KS_N_FILTERS + user;
    return KS_OK;
}

ks_status ks_user_score_add(ks_engine *e, const ks_user_spec *spec, int32_t *out_score) {
    if (e == NULL || spec == NULL || out_score == NULL)
        return KS_EINVAL;
    int32_t user;
    KS_TRY(add(e, spec, false, &user));
    *out_score = KS_N_SCORES + user;
    return KS_OK;
}

bool ks_is_user(const ks_engine *e, int32_t user, bool is_filter) {
    return user >= 0 && user < e->users.n && e->users.at[user].is_filter == is_filter;
}

ks_status ks_user_failed(const ks_engine *e, ks_user_failure *out) {
    if (e == NULL || out == NULL)
        return KS_EINVAL;
    if (e->failure.cap == 0 || e->failure.at[0].row < 0)
        return KS_ESTATE;
    *out = e->failure.at[0];
    return KS_OK;
}

ks_status ks_user_inputs(const ks_engine *e, int32_t user, int32_t row, int32_t class_id, double *node, double *pod) {
    if (e == NULL || node == NULL || pod == NULL)
        return KS_EINVAL;
    if (user < 0 || user >= e->users.n || row < 0 || row >= e->n_rows || !ks_has_class(e, class_id))
        return KS_ERANGE;
    gather_rows(e, &e->users.at[user], 1, &row, node);
    gather_class(&e->users.at[user], &e->classes.at[class_id], 1, 0, pod);
    return KS_OK;
}

/* ---- columns that users add to nodes: [row][column], so that a row's values share a cache line ---- */

ks_status ks_columns_reserve(ks_engine *e, int64_t rows, int32_t n_columns) {
    return KS_VEC_RESERVE(&e->mem, &e->column, rows * n_columns);
}

void ks_columns_clear(ks_engine *e, int32_t row) {
    for (int32_t i = 0; i < e->n_columns; i++)
        e->column.at[(int64_t)row * e->n_columns + i] = (double)NAN;
}

ks_status ks_node_column_add(ks_engine *e, int32_t *out_column) {
    if (e == NULL || out_column == NULL)
        return KS_EINVAL;
    int32_t n = e->n_columns;
    if (n >= MAX_INPUTS)
        return KS_EOVERFLOW;
    KS_TRY(ks_columns_reserve(e, e->n_rows, n + 1));
    for (int64_t row = (int64_t)e->n_rows - 1; row >= 0; row--) { /* last row first: nothing is overwritten unread */
        if (n > 0)
            memmove(&e->column.at[row * (n + 1)], &e->column.at[row * n], (size_t)n * sizeof(double));
        e->column.at[row * (n + 1) + n] = (double)NAN;
    }
    *out_column = e->n_columns++;
    return KS_OK;
}

ks_status ks_node_column_set(ks_engine *e, int32_t column, int32_t n, const int32_t *row, const double *value) {
    if (e == NULL || n < 0 || (n > 0 && (row == NULL || value == NULL)))
        return KS_EINVAL;
    if (column < 0 || column >= e->n_columns)
        return KS_ERANGE;
    for (int32_t i = 0; i < n; i++)
        if (row[i] < 0 || row[i] >= e->n_rows || !e->live.at[row[i]])
            return KS_ERANGE;
    bool few = n <= 64 || n <= e->n_rows / 4;
    KS_TRY(ks_log_reserve(e, few ? n : 1));
    for (int32_t i = 0; i < n; i++) {
        e->column.at[(int64_t)row[i] * e->n_columns + column] = value[i];
        if (few)
            ks_log_row(e, row[i], false);
    }
    if (!few)
        ks_log_all(e);
    return KS_OK;
}

void ks_users_free(ks_engine *e) {
    for (int64_t i = 0; i < e->users.n; i++)
        ks_discard(&e->mem, &e->users.at[i].block, &e->users.at[i].block_bytes, 1);
    KS_VEC_DISCARD(&e->mem, &e->users);
    KS_VEC_DISCARD(&e->mem, &e->failure);
    KS_VEC_DISCARD(&e->mem, &e->user_node);
    KS_VEC_DISCARD(&e->mem, &e->user_pod);
    KS_VEC_DISCARD(&e->mem, &e->user_out);
    KS_VEC_DISCARD(&e->mem, &e->failed_node);
    KS_VEC_DISCARD(&e->mem, &e->failed_pod);
    KS_VEC_DISCARD(&e->mem, &e->column);
}
