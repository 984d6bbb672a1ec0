/* SPDX-License-Identifier: Apache-2.0
 * Eviction: by hand, and at random against a slow judgement that is made here from the numbers of the pods alone. */
#include "ks_test.h"

enum { NODES = 7, CLASSES = 4, MOST = 64, PER_NODE = 10, CORES = 8000 };

typedef struct pod {
    int32_t class_id, node, priority, set, handle;
    int64_t started;
    bool runs;
} pod;

static ks_engine *e;
static int32_t profile, class_of[CLASSES], done;
static const int64_t cpu_of[CLASSES] = {500, 1500, 3000, 7000};
static pod pods[MOST];
static int32_t n_pods;
static uint64_t rng;

/* Sets of budgets: 0 none, 1 {0}, 2 {1}, 3 {0, 1}. */
static const int32_t allowed[] = {1, 0};
static const int32_t sets[4][2] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}};

/* Pods of class 2 stay away from the domains of pods of class 1; node i is in domain i % domains; 0: no such rule. */
static int32_t domains;

static void keep_apart(void) {
    int32_t topology, counter, host[NODES], row[NODES];
    int64_t amounts[4 * NODES] = {0};
    for (int32_t i = 0; i < NODES; i++) {
        row[i] = i;
        host[i] = i % domains;
        amounts[i] = CORES;
        amounts[NODES + i] = 16 * GIB;
        amounts[3 * NODES + i] = PER_NODE;
    }
    ks_node_rows rows = {.n = NODES, .allocatable = amounts, .hostname_value = host};
    CHECK_EQ(ks_nodes_update(e, row, &rows), KS_OK);
    CHECK_EQ(ks_topology_add(e, KS_KEY_HOSTNAME, NODES, &topology), KS_OK);
    CHECK_EQ(ks_counter_add(e, &counter), KS_OK);
    CHECK_EQ(ks_counter_join(e, counter, class_of[1]), KS_OK);
    ks_pairwise_spec rules = {.n_anti = 1, .anti_counter = &counter, .anti_topology = &topology};
    CHECK_EQ(ks_class_pairwise(e, class_of[2], &rules), KS_OK);
    ks_profile_spec spec = {.filters = 0x3f | 1u << KS_FILTER_INTER_POD_AFFINITY};
    CHECK_EQ(ks_profile_add(e, &spec, &profile), KS_OK);
    ks_preemption io = {.profile = profile, .class_id = class_of[2]};
    CHECK_EQ(ks_preempt(e, &io), KS_OK); /* adds up what the rules count, which fingerprints show */
}

static void set_up(void) {
    int32_t set;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, NODES), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    for (int32_t i = 0; i < CLASSES; i++)
        CHECK_EQ(add_plain_class(e, cpu_of[i], 0, &class_of[i]), KS_OK);
    CHECK_EQ(ks_budgets_set(e, 2, allowed), KS_OK);
    CHECK_EQ(ks_budget_set_add(e, 1, (int32_t[]){0}, &set), KS_OK);
    CHECK_EQ(ks_budget_set_add(e, 1, (int32_t[]){1}, &set), KS_OK);
    CHECK_EQ(ks_budget_set_add(e, 2, (int32_t[]){0, 1}, &set), KS_OK);
    n_pods = 0;
}

static void run(int32_t class_id, int32_t node, int32_t priority, int64_t started, int32_t set) {
    pod *p = &pods[n_pods++];
    *p = (pod){class_id, node, priority, set, KS_NONE, started, true};
    ks_known_spec spec = {.n = 1,
                          .class_id = &class_of[class_id],
                          .node = &node,
                          .priority = &priority,
                          .started = &started,
                          .budgets = &set};
    CHECK_EQ(ks_bind(e, 1, &class_of[class_id], &node, NULL, &done), KS_OK);
    CHECK_EQ(ks_pods_know(e, &spec, &p->handle), KS_OK);
}

static void end(pod *p) {
    p->runs = false;
    CHECK_EQ(ks_pods_forget(e, 1, &p->handle), KS_OK);
    CHECK_EQ(ks_release(e, 1, &class_of[p->class_id], &p->node, NULL, &done), KS_OK);
}

static ks_preemption ask(int32_t class_id, int32_t priority) {
    int64_t before = fingerprint(e), log = ks_log_end(e);
    ks_preemption io = {.profile = profile, .class_id = class_of[class_id], .priority = priority};
    CHECK_EQ(ks_preempt(e, &io), KS_OK);
    CHECK_EQ(fingerprint(e), before);
    CHECK_EQ(ks_log_end(e), log);
    return io;
}

/* ---- the slow judgement ---- */

typedef struct outcome {
    int32_t broken, n, top, handle[MOST];
    int64_t sum, earliest;
} outcome;

/* Known pods of a node as upstream lists them: the engine's list, which test_known.c checks. */
static int32_t list_lower(int32_t node, int32_t priority, int32_t *at) {
    int32_t n = 0;
    for (int32_t i = 0; node < e->known.on.cap && i < e->known.on.at[node].n; i++)
        for (int32_t k = 0; k < n_pods; k++)
            if (pods[k].runs && pods[k].handle == e->known.on.at[node].at[i] && pods[k].priority < priority)
                at[n++] = k;
    return n;
}

static bool comes_first(const pod *a, const pod *b) {
    return a->priority != b->priority ? a->priority > b->priority : a->started < b->started;
}

static void sort(int32_t *at, int32_t n) {
    for (int32_t pass = 0; pass < n; pass++)
        for (int32_t i = 1; i < n; i++)
            if (comes_first(&pods[at[i]], &pods[at[i - 1]])) {
                int32_t swap = at[i];
                at[i] = at[i - 1];
                at[i - 1] = swap;
            }
}

static bool fits(int32_t node, int32_t class_id, const bool *gone) {
    int64_t used = 0, n = 0;
    bool clash = false;
    for (int32_t k = 0; k < n_pods; k++)
        if (pods[k].runs && !gone[k]) {
            used += pods[k].node == node ? cpu_of[pods[k].class_id] : 0;
            n += pods[k].node == node;
            clash |= domains > 0 && class_id == 2 && pods[k].class_id == 1 && pods[k].node % domains == node % domains;
        }
    return n < PER_NODE && used + cpu_of[class_id] <= CORES && !clash;
}

static bool judge(int32_t node, int32_t class_id, int32_t priority, outcome *out) {
    int32_t lower[MOST], n = list_lower(node, priority, lower), left[] = {allowed[0], allowed[1]};
    int32_t victims[MOST], n_victims = 0;
    bool gone[MOST] = {false}, breaks[MOST] = {false};
    *out = (outcome){.top = INT32_MIN, .earliest = INT64_MAX};
    if (n == 0 || fits(node, class_id, gone))
        return false;
    for (int32_t i = 0; i < n; i++)
        gone[lower[i]] = true;
    if (!fits(node, class_id, gone))
        return false;
    sort(lower, n);
    for (int32_t i = 0; i < n; i++)
        for (int32_t b = 0; b < 2; b++)
            if (sets[pods[lower[i]].set][b] != 0 && --left[b] < 0)
                breaks[lower[i]] = true;
    for (int32_t wanted = 1; wanted >= 0; wanted--)
        for (int32_t i = 0; i < n; i++) {
            if (breaks[lower[i]] != (wanted != 0))
                continue;
            gone[lower[i]] = false;
            if (fits(node, class_id, gone))
                continue;
            gone[lower[i]] = true;
            out->broken += wanted;
            victims[n_victims++] = lower[i];
        }
    sort(victims, n_victims); /* of equals, those whose budget is broken come first */
    for (int32_t i = 0; i < n_victims; i++) {
        const pod *p = &pods[victims[i]];
        out->handle[out->n++] = p->handle;
        out->sum += p->priority + ((int64_t)1 << 31);
        out->top = p->priority > out->top ? p->priority : out->top;
        if (p->priority == out->top && p->started < out->earliest)
            out->earliest = p->started;
    }
    return true;
}

static bool is_better(const outcome *a, const outcome *b) {
    if (a->broken != b->broken)
        return a->broken < b->broken;
    if (a->top != b->top)
        return a->top < b->top;
    if (a->sum != b->sum)
        return a->sum < b->sum;
    return a->n != b->n ? a->n < b->n : a->earliest > b->earliest;
}

static void check_against_slow(int32_t class_id, int32_t priority) {
    outcome of, best = {0};
    int32_t node = KS_NONE, ties = 0, candidates = 0;
    for (int32_t row = 0; row < NODES; row++) {
        if (!judge(row, class_id, priority, &of))
            continue;
        candidates++;
        bool better = node == KS_NONE || is_better(&of, &best);
        ties = better ? 1 : ties + !is_better(&best, &of);
        node = better ? row : node;
        best = better ? of : best;
    }
    ks_preemption got = ask(class_id, priority);
    CHECK_EQ(got.node, node);
    CHECK_EQ(got.ties, ties);
    CHECK_EQ(got.n_candidates, candidates);
    CHECK_EQ(got.n_victims, best.n);
    for (int32_t i = 0; i < best.n && i < got.n_victims; i++)
        CHECK_EQ(got.victim[i], best.handle[i]);
}

static int32_t draw(uint32_t below) { return (int32_t)ks_random_below(&rng, below); }

/* Pods come and go between questions of few classes and priorities, so that outcomes are kept and judged again. */
static void live_random(void) {
    rng = 7;
    for (int32_t round = 0; round < 100; round++) {
        set_up();
        if (domains > 0)
            keep_apart();
        for (int32_t step = 0; step < MOST; step++) {
            run(draw(3), draw(NODES), draw(4), draw(3), draw(4));
            if (draw(3) == 0 && pods[step / 2].runs)
                end(&pods[step / 2]);
            if (step > 20)
                check_against_slow(draw(CLASSES), 1 + draw(4));
        }
        ks_engine_free(e);
    }
}

static void test_random(void) { live_random(); }

static void test_random_with_anti_affinity(void) {
    domains = NODES; /* looks at the node alone */
    live_random();
    domains = 3;
    live_random();
    domains = 0;
}

/* ---- by hand ---- */

/* Not the first node, whose victim is more important, and on the second the younger of two. */
static void test_least_important_victim(void) {
    set_up();
    for (int32_t node = 2; node < NODES; node++)
        run(3, node, 9, 0, 0);
    run(3, 0, 2, 5, 0);
    run(2, 1, 1, 5, 0);
    run(2, 1, 1, 6, 0);
    ks_preemption got = ask(2, 5);
    CHECK_EQ(got.node, 1);
    CHECK_EQ(got.n_victims, 1);
    CHECK_EQ(got.victim[0], pods[n_pods - 1].handle);
    CHECK_EQ(got.n_candidates, 2);
    CHECK_EQ(got.n_tried, NODES);
    CHECK_EQ(got.n_without_victims, NODES - 2);
    CHECK_EQ(ask(2, 1).node, KS_NONE); /* equals are not evicted */
    ks_engine_free(e);
}

static void test_reasons_and_candidates_are_listed(void) {
    int64_t rejected[KS_N_FILTERS * KS_N_DETAILS], missing[4];
    set_up();
    for (int32_t node = 0; node < NODES; node++) {
        run(2, node, 9, 0, 0);
        run(2, node, node == 3 ? 9 : 1, node, node == 4 ? 2 : 0);
    }
    ks_preemption io = {.profile = profile,
                        .class_id = class_of[2],
                        .priority = 5,
                        .list_all = 1,
                        .rejected = rejected,
                        .insufficient = missing};
    CHECK_EQ(ks_preempt(e, &io), KS_OK);
    CHECK_EQ(io.n_candidates, NODES - 1);
    CHECK_EQ(io.node, NODES - 1); /* started last */
    CHECK_EQ(io.candidate_broken[3], 1);
    CHECK_EQ(io.candidate_row[3], 4);
    CHECK_EQ(io.candidate_ties[NODES - 2], 1);
    CHECK_EQ(io.candidate_ties[0], 0);
    for (int32_t i = 0; i < io.n_candidates; i++) {
        CHECK_EQ(io.candidate_start[i + 1] - io.candidate_start[i], 1);
        CHECK_EQ(io.candidate_victim[io.candidate_start[i]], pods[2 * io.candidate_row[i] + 1].handle);
    }
    io.class_id = class_of[3]; /* too large beside the others of high priority */
    CHECK_EQ(ks_preempt(e, &io), KS_OK);
    CHECK_EQ(io.n_candidates, 0);
    CHECK_EQ(io.n_without_victims, 1);
    CHECK_EQ(missing[KS_CPU], NODES - 1);
    ks_engine_free(e);
}

/* Victims make room at once; a pod that evicted can be evicted itself; one that may not evict stays without a node. */
static void test_a_batch_evicts(int32_t driver) {
    int32_t node[4], ties[4], feasible[4], handle[4], start[5];
    int64_t score[4];
    uint64_t devices[4];
    ks_decisions out = {node, score, ties, feasible, devices};
    set_up();
    for (int32_t i = 0; i < NODES; i++)
        run(3, i, i == 2 ? 0 : 9, 0, 0);
    ks_evicting v = {.priority = (int32_t[]){1, 2, 1, 3},
                     .may_evict = (uint8_t[]){1, 0, 1, 1},
                     .handle = handle,
                     .victim_start = start};
    ks_options o = {.profile = profile, .driver = driver, .commit = 1};
    int32_t classes[] = {class_of[3], class_of[3], class_of[3], class_of[2]};
    CHECK_EQ(ks_place_evicting(e, &o, &v, 4, classes, &out, &done), KS_OK);
    CHECK_EQ(done, 4);
    CHECK_EQ(node[0], 2);
    CHECK_EQ(score[0], -1);
    CHECK_EQ(node[1], KS_NONE);
    CHECK_EQ(node[2], KS_NONE); /* equals are not evicted */
    CHECK_EQ(node[3], 2);
    CHECK_EQ(start[1] - start[0], 1);
    CHECK_EQ(start[3] - start[1], 0);
    CHECK_EQ(v.victim[start[0]], pods[2].handle);
    CHECK_EQ(v.victim[start[3]], handle[0]);
    CHECK_EQ(handle[1], KS_NONE);
    CHECK_EQ(e->used[KS_CPU][2], cpu_of[2]);
    CHECK_EQ(e->known.on.at[2].n, 1);
    ks_engine_free(e);
}

/* Every pod evicts the one before it: each step writes more into the log than it made room for in the beginning. */
static void test_a_long_chain_of_evictions(void) {
    enum { STEPS = 60 };
    int32_t node[STEPS], ties[STEPS], feasible[STEPS], handle[STEPS], start[STEPS + 1], classes[STEPS], priority[STEPS];
    int64_t score[STEPS];
    uint64_t devices[STEPS];
    uint8_t may_evict[STEPS];
    ks_decisions out = {node, score, ties, feasible, devices};
    set_up();
    for (int32_t i = 0; i < NODES; i++)
        run(3, i, i == 2 ? 0 : 99, 0, 0);
    for (int32_t i = 0; i < STEPS; i++) {
        classes[i] = class_of[3];
        priority[i] = 1 + i;
        may_evict[i] = 1;
    }
    ks_evicting v = {.priority = priority, .may_evict = may_evict, .handle = handle, .victim_start = start};
    ks_options o = {.profile = profile, .commit = 1};
    CHECK_EQ(ks_place_evicting(e, &o, &v, STEPS, classes, &out, &done), KS_OK);
    CHECK_EQ(start[STEPS], STEPS);
    CHECK_EQ(e->known.on.at[2].n, 1);
    v.stop = 1;
    priority[0] = 0;
    CHECK_EQ(ks_place_evicting(e, &o, &v, STEPS, classes, &out, &done), KS_OK);
    CHECK_EQ(done, 1);
    CHECK_EQ(node[0], KS_NONE);
    ks_engine_free(e);
}

static void test_both_drivers_evict(void) {
    test_a_batch_evicts(KS_DRIVER_DENSE);
    test_a_batch_evicts(KS_DRIVER_INDEXED);
}

/* A pod that waits for the node counts in trials, too, and what was kept without it no more. */
static void test_nominated_pods_count_in_trials(void) {
    int32_t handle;
    set_up();
    for (int32_t node = 0; node < NODES; node++)
        run(3, node, node < 2 ? 1 : 9, node, 0);
    CHECK_EQ(ks_asking(e, 5, KS_NONE), KS_OK);
    CHECK_EQ(ask(2, 5).node, 1);
    CHECK_EQ(ks_nominate(e, 1, &class_of[3], (int32_t[]){1}, (int32_t[]){5}, &handle), KS_OK);
    ks_preemption got = {.profile = profile, .class_id = class_of[2], .priority = 5};
    CHECK_EQ(ks_preempt(e, &got), KS_OK);
    CHECK_EQ(got.node, 0);
    CHECK_EQ(ks_asking(e, 6, KS_NONE), KS_OK);
    got.priority = 6;
    CHECK_EQ(ks_preempt(e, &got), KS_OK);
    CHECK_EQ(got.node, 1);
    ks_engine_free(e);
}

static void test_wrong_questions_are_refused(void) {
    int64_t column[4];
    set_up();
    ks_preemption io = {.profile = 9, .class_id = class_of[0]};
    CHECK_EQ(ks_preempt(e, &io), KS_ERANGE);
    io = (ks_preemption){.profile = profile, .class_id = 99};
    CHECK_EQ(ks_preempt(e, &io), KS_ERANGE);
    io = (ks_preemption){.profile = profile, .class_id = class_of[0], .insufficient = column};
    CHECK_EQ(ks_preempt(e, &io), KS_EINVAL);
    CHECK_EQ(ks_preempt(NULL, &io), KS_EINVAL);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_random);
    RUN(test_random_with_anti_affinity);
    RUN(test_least_important_victim);
    RUN(test_reasons_and_candidates_are_listed);
    RUN(test_both_drivers_evict);
    RUN(test_a_long_chain_of_evictions);
    RUN(test_nominated_pods_count_in_trials);
    RUN(test_wrong_questions_are_refused);
    return REPORT();
}
