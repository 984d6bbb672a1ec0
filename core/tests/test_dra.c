/* SPDX-License-Identifier: Apache-2.0
 * The search for devices: counters that force it to go back, shares, constraints, and allocations that fail in turn. */
#include "ks_test.h"

/* Amounts in 128 bits: the low half, then the high one. */
#define N(amount) (uint64_t)(amount), 0
enum { CORES = 0, MEMORY = 8, SHARED = 0, N_DEVICES = 8, PICKS = KS_DRA_MAX_RESULTS };

/* Eight devices: each needs a core of its own and 10 of 70 memory, the first needs 20. */
static ks_status add_tight(ks_dra *d) {
    int32_t counter[9], device[N_DEVICES], content[N_DEVICES];
    uint64_t amount[18] = {0};
    for (int32_t i = 0; i < N_DEVICES; i++) {
        int32_t use[] = {CORES + i, MEMORY};
        uint64_t used[] = {N(1), N(i == 0 ? 20 : 10)};
        ks_dra_content one = {.n_uses = 2, .use = use, .use_amount = used};
        KS_TRY(ks_dra_content_add(d, &one));
        counter[i] = CORES + i, amount[2 * i] = 1;
        device[i] = content[i] = i;
    }
    counter[8] = MEMORY, amount[16] = 70;
    ks_dra_pool pool = {.is_usable = 1,
                        .n_devices = N_DEVICES,
                        .device = device,
                        .content = content,
                        .n_counters = 9,
                        .counter = counter,
                        .counter_amount = amount};
    return ks_dra_pool_add(d, &pool);
}

typedef struct asked {
    ks_dra_question q;
    int32_t request_start[2], plan_start[2], constraint_start[2], count[1], base[1], value[N_DEVICES];
    int32_t amount_start[N_DEVICES];
    uint8_t zero[N_DEVICES], known[N_DEVICES], fits[N_DEVICES];
    uint64_t amount[2];
    uint8_t one[1];
} asked;

/* One claim for `count` devices; with `constrained` all have one value. */
static void ask(asked *a, int32_t count, bool constrained) {
    memset(a, 0, sizeof *a);
    a->request_start[1] = a->plan_start[1] = 1;
    a->constraint_start[1] = constrained;
    a->count[0] = count;
    a->one[0] = 1;
    a->amount[0] = 40;
    memset(a->known, 1, sizeof a->known);
    memset(a->fits, KS_DRA_SELECTED, sizeof a->fits);
    a->q = (ks_dra_question){.n_claims = 1,
                             .n_plans = 1,
                             .n_constraints = constrained,
                             .n_contents = N_DEVICES,
                             .max_steps = 1000,
                             .request_start = a->request_start,
                             .plan_start = a->plan_start,
                             .constraint_start = a->constraint_start,
                             .is_broken = a->zero,
                             .mode = a->zero,
                             .count = a->count,
                             .is_admin = a->zero,
                             .is_alternative = a->zero,
                             .base = a->base,
                             .is_distinct = a->zero,
                             .concerns = a->one,
                             .known = a->known,
                             .fits = a->fits,
                             .value = a->value,
                             .amount_start = a->amount_start,
                             .amount = a->amount};
}

static int32_t search(ks_dra *d, const asked *a, int32_t *picks, int32_t *n) {
    ks_dra_answer out = {.picks = picks};
    int32_t pool = 0;
    CHECK_EQ(ks_dra_search(d, &a->q, 1, &pool, &out), KS_OK);
    *n = out.n_picks;
    return out.status;
}

static void test_it_goes_back_to_the_first_device(void) {
    ks_dra *d;
    asked a;
    int32_t picks[PICKS * 4], n;
    CHECK_EQ(ks_dra_new(&d), KS_OK);
    CHECK_EQ(add_tight(d), KS_OK);
    ask(&a, 7, false);
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_FOUND);
    CHECK_EQ(n, 7);
    for (int32_t i = 0; i < n; i++)
        CHECK_EQ(picks[4 * i + 3], i + 1);
    ask(&a, 8, false);
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_NONE);
    CHECK_EQ(ks_dra_hold(d, 3, 1, 0, 0, NULL, NULL), KS_OK);
    ask(&a, 6, false);
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_FOUND);
    CHECK_EQ(picks[3], 1);
    CHECK_EQ(ks_dra_hold(d, 3, -1, 0, 0, NULL, NULL), KS_OK);
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_FOUND);
    CHECK_EQ(picks[3], 0);
    ks_dra_free(d);
}

static void test_constraints_and_limits(void) {
    ks_dra *d;
    asked a;
    int32_t picks[PICKS * 4], n;
    CHECK_EQ(ks_dra_new(&d), KS_OK);
    CHECK_EQ(add_tight(d), KS_OK);
    ask(&a, 2, true);
    for (int32_t i = 0; i < N_DEVICES; i++)
        a.value[i] = i / 5;
    a.value[1] = KS_DRA_ABSENT;
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_FOUND);
    CHECK(picks[3] == 0 && picks[7] == 2);
    a.q.max_steps = 1;
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_TIMED_OUT);
    ask(&a, 33, false);
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_ASKS_TOO_MANY);
    a.known[0] = 0, a.count[0] = 1;
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_NEEDS_CONTENT);
    ks_dra_free(d);
}

/* A device of 100 that claims share; each asks for 40. */
static void test_shares(void) {
    ks_dra *d;
    asked a;
    int32_t name[] = {5}, device = 0, content = 0, picks[PICKS * 4], n;
    uint64_t whole[] = {N(100)}, forty[] = {N(40)};
    uint8_t state[64];
    int64_t size, before;
    ks_dra_content one = {.n_capacity = 1, .is_shared = 1, .capacity = name, .capacity_amount = whole};
    ks_dra_pool pool = {.is_usable = 1, .n_devices = 1, .device = &device, .content = &content};
    CHECK_EQ(ks_dra_new(&d), KS_OK);
    CHECK_EQ(ks_dra_content_add(d, &one), KS_OK);
    CHECK_EQ(ks_dra_pool_add(d, &pool), KS_OK);
    CHECK_EQ(ks_dra_state(d, 0, sizeof state, state, &before), KS_OK);
    ask(&a, 1, false);
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_FOUND);
    CHECK_EQ(ks_dra_hold(d, 0, 0, 1, 1, name, forty), KS_OK);
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_FOUND);
    CHECK_EQ(ks_dra_hold(d, 0, 0, 1, 1, name, forty), KS_OK);
    CHECK_EQ(search(d, &a, picks, &n), KS_DRA_NONE);
    CHECK_EQ(ks_dra_state(d, 0, sizeof state, state, &size), KS_OK);
    CHECK(size > before);
    ks_dra_free(d);
}

static void test_arguments_are_checked(void) {
    ks_dra *d;
    asked a;
    int32_t picks[PICKS * 4], pool = 1;
    int64_t size;
    ks_dra_answer out = {.picks = picks};
    CHECK_EQ(ks_dra_new(NULL), KS_EINVAL);
    CHECK_EQ(ks_dra_new(&d), KS_OK);
    ask(&a, 1, false);
    CHECK_EQ(ks_dra_search(d, &a.q, 1, &pool, &out), KS_ERANGE);
    CHECK_EQ(ks_dra_state(d, 0, 0, NULL, &size), KS_ERANGE);
    a.q.n_claims = KS_DRA_MAX_CLAIMS + 1;
    CHECK_EQ(ks_dra_search(d, &a.q, 0, NULL, &out), KS_EUNSUPPORTED);
    ks_dra_free(d);
}

static void *rationed(void *context, void *block, size_t old_size, size_t new_size) {
    int64_t *left = context;
    (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return (*left)-- > 0 ? realloc(block, new_size) : NULL;
}

static void test_every_allocation_may_fail(void) {
    ks_status status = KS_ENOMEM;
    for (int64_t n = 0; status != KS_OK; n++) {
        int64_t left = n;
        ks_allocator allocator = {rationed, &left};
        asked a;
        int32_t picks[PICKS * 4], pool = 0;
        ks_dra_answer out = {.picks = picks};
        ks_dra *d = NULL;
        ask(&a, 7, false);
        status = ks_dra_new_with(&allocator, &d);
        status = status == KS_OK ? add_tight(d) : status;
        status = status == KS_OK ? ks_dra_search(d, &a.q, 1, &pool, &out) : status;
        CHECK(status == KS_OK || status == KS_ENOMEM);
        CHECK(status != KS_OK || out.n_picks == 7);
        ks_dra_free(d);
    }
}

int main(void) {
    RUN(test_it_goes_back_to_the_first_device);
    RUN(test_constraints_and_limits);
    RUN(test_shares);
    RUN(test_arguments_are_checked);
    RUN(test_every_allocation_may_fail);
    return REPORT();
}
