/* SPDX-License-Identifier: Apache-2.0
 *
 * ks_test.h: a small harness and the fixtures that the C tests share.
 *
 * A test is a function; RUN calls it. CHECK counts a failure and goes on, so that one run shows all of them. */
#ifndef KS_TEST_H
#define KS_TEST_H

#include "internal.h"

#include <stdio.h>  /* printf */
#include <stdlib.h> /* calloc: fixtures must not use the allocator under test */
#include <string.h> /* memset */

static int checks_failed, tests_passed, tests_failed;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            checks_failed++;                                                                                           \
            printf("%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #condition);                                       \
        }                                                                                                              \
    } while (0)

#define CHECK_EQ(got, expected)                                                                                        \
    do {                                                                                                               \
        long long got_ = (long long)(got), expected_ = (long long)(expected);                                          \
        if (got_ != expected_) {                                                                                       \
            checks_failed++;                                                                                           \
            printf("%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #got, got_, expected_);                   \
        }                                                                                                              \
    } while (0)

#define RUN(test)                                                                                                      \
    do {                                                                                                               \
        int before_ = checks_failed;                                                                                   \
        test();                                                                                                        \
        if (checks_failed == before_)                                                                                  \
            tests_passed++;                                                                                            \
        else                                                                                                           \
            tests_failed++, printf("FAILED %s\n", #test);                                                              \
    } while (0)

#define REPORT() (printf("%d passed, %d failed\n", tests_passed, tests_failed), tests_failed != 0)

#define GIB ((int64_t)1 << 30)

/* n nodes with 8 cores, 16 GiB and 10 pods each; every second one has 4 devices of model 1. */
static inline ks_status add_plain_nodes(ks_engine *e, int32_t n) {
    int64_t *amount = calloc((size_t)n * (size_t)e->n_resources, sizeof *amount);
    int32_t *devices = calloc((size_t)n, sizeof *devices), *model = calloc((size_t)n, sizeof *model), first;
    for (int32_t i = 0; i < n; i++) {
        amount[KS_CPU * n + i] = 8000;
        amount[KS_MEMORY * n + i] = 16 * GIB;
        amount[KS_PODS * n + i] = 10;
        devices[i] = i % 2 == 0 ? 0 : 4;
        model[i] = i % 2 == 0 ? KS_NONE : 1;
    }
    ks_node_rows rows = {.n = n, .allocatable = amount, .device_count = devices, .device_model = model};
    ks_status status = ks_nodes_add(e, &rows, &first);
    free(amount);
    free(devices);
    free(model);
    return status;
}

/* A class that asks for cpu and memory only; change the specification before adding it where a test needs more. */
typedef struct plain_class {
    int32_t resource[3];
    int64_t amount[3];
    ks_class_spec spec;
} plain_class;

static inline void make_plain_class(plain_class *p, int64_t cpu, int64_t memory) {
    memset(p, 0, sizeof *p);
    p->resource[1] = KS_MEMORY; /* behind KS_CPU, which is 0 */
    p->resource[2] = KS_FIRST_EXTENDED;
    p->amount[0] = cpu;
    p->amount[1] = memory;
    p->spec.request = p->spec.fit_request = (ks_amounts){2, p->resource, p->amount};
    p->spec.nonzero_cpu = cpu;
    p->spec.nonzero_memory = memory;
    p->spec.node_name = KS_NONE;
}

/* It asks for the first extended resource, too. */
static inline void ask_extended(plain_class *p, int64_t amount) {
    p->amount[2] = amount;
    p->spec.request.n = p->spec.fit_request.n = 3;
}

static inline ks_status add_plain_class(ks_engine *e, int64_t cpu, int64_t memory, int32_t *id) {
    plain_class p;
    make_plain_class(&p, cpu, memory);
    return ks_class_add(e, &p.spec, id);
}

/* All node-local filters; LeastAllocated and balanced allocation, TaintToleration, NodeAffinity, ImageLocality. */
static inline ks_status add_default_profile(ks_engine *e, int32_t *id) {
    static const int32_t resources[] = {KS_CPU, KS_MEMORY};
    static const int64_t weights[] = {1, 1};
    ks_score_spec scores[] = {
        {.plugin = KS_SCORE_TAINT_TOLERATION, .weight = 3},
        {.plugin = KS_SCORE_NODE_AFFINITY, .weight = 2},
        {.plugin = KS_SCORE_NODE_RESOURCES_FIT,
         .weight = 1,
         .n_resources = 2,
         .resource = resources,
         .resource_weight = weights},
        {.plugin = KS_SCORE_BALANCED_ALLOCATION, .weight = 1, .n_resources = 2, .resource = resources},
        {.plugin = KS_SCORE_IMAGE_LOCALITY, .weight = 1},
    };
    ks_profile_spec spec = {.filters = 0x3f, .n_scores = 5, .scores = scores};
    return ks_profile_add(e, &spec, id);
}

/* One policy and the device filter. */
static inline ks_status add_policy(ks_engine *e, int32_t plugin, int32_t select, int32_t *id) {
    ks_score_spec score = {.plugin = plugin, .weight = 1};
    ks_profile_spec spec = {
        .filters = 0x3f | 1u << KS_FILTER_GPU_SHARE, .n_scores = 1, .scores = &score, .device_select = select};
    return ks_profile_add(e, &spec, id);
}

/* Of everything that a bind changes: columns, lists in their order, counters and the tallies that are up to date. */
static inline int64_t fingerprint(const ks_engine *e) {
    uint64_t h = 14695981039346656037u; /* FNV-1a */
#define MIX(block, count)                                                                                              \
    for (size_t i_ = 0; i_ < (size_t)(count) * sizeof *(block); i_++)                                                  \
    h = (h ^ ((const uint8_t *)(block))[i_]) * 1099511628211u
    for (int32_t r = 0; r < e->n_resources; r++)
        MIX(e->used[r], e->n_rows);
    MIX(e->nonzero_cpu.at, e->n_rows);
    MIX(e->nonzero_memory.at, e->n_rows);
    MIX(e->device_free.at, e->n_rows * e->device_stride);
    MIX(e->device_kinds.at, e->device_stride > 0 ? e->n_rows * KS_KINDS(e) : 0);
    for (int32_t row = 0; row < e->n_rows; row++) {
        MIX(e->ports.at[row].at, e->ports.at[row].n);
        MIX(e->pods.at[row].at, e->pods.at[row].n);
    }
    for (int64_t i = 0; i < e->classes.n; i++)
        MIX(&e->classes.at[i].n_pods, 1);
    for (int64_t i = 0; i < e->counters.n; i++)
        MIX(e->counters.at[i].pods.at, e->counters.at[i].is_gone ? 0 : e->n_rows);
    for (int64_t i = 0; i < e->tallies.n; i++) {
        const ks_tally *t = &e->tallies.at[i];
        MIX(&t->total, t->version == e->rows_version);
        MIX(t->pods.at, t->version == e->rows_version ? t->pods.cap : 0);
    }
    MIX(&e->undo.n, 1);
    MIX(&e->n_marks, 1);
#undef MIX
    return (int64_t)h;
}

/* One requirement as one term. */
typedef struct one_requirement {
    int32_t term_start[2], key[1], op[1], value_start[2], value[8], weight[1];
    int64_t number[1];
    uint8_t is_number[1];
} one_requirement;

static inline ks_selector require(one_requirement *r, int32_t key, int32_t op, int32_t n_values,
                                  const int32_t *values) {
    *r =
        (one_requirement){.term_start = {0, 1}, .key = {key}, .op = {op}, .value_start = {0, n_values}, .weight = {10}};
    for (int32_t i = 0; i < n_values; i++)
        r->value[i] = values[i];
    return (ks_selector){.n_terms = 1,
                         .term_start = r->term_start,
                         .n_requirements = 1,
                         .key = r->key,
                         .op = r->op,
                         .number = r->number,
                         .is_number = r->is_number,
                         .value_start = r->value_start,
                         .value = r->value};
}

#endif
