/* SPDX-License-Identifier: Apache-2.0
 * gpu.c: devices that pods share: the filter, the choice of devices, six placement policies, fragmentation.
 *
 * A device has 1000 thousandths. A pod takes a share of one device, or one or more whole devices.
 * Source: Weng et al., "Beware of Fragmentation", USENIX ATC 2023, and the behaviour of its published simulator
 * (hkust-adsl/kubernetes-scheduler-simulator): which devices are taken, how scores round, the order of sums. */
#include "internal.h"

#include <math.h>   /* exp */
#include <string.h> /* memcpy */

/* Sizes of the largest machine, by which the policies normalise (the simulator's constants). */
static const double MAX_CPU = 128000.0, MAX_GPU = 8000.0;
static const int64_t MAX_GPU_MILLI = 8000;

static const int32_t *free_of(const ks_engine *e, int32_t row) {
    return &e->device_free.at[(int64_t)row * e->device_stride];
}

static int64_t cpu_left(const ks_engine *e, int32_t row) { return e->allocatable[KS_CPU][row] - e->used[KS_CPU][row]; }

static int64_t total_free(const int32_t *left, int32_t n) {
    int64_t sum = 0;
    for (int32_t d = 0; d < n; d++)
        sum += left[d];
    return sum;
}

static int32_t count_whole(const int32_t *left, int32_t n) {
    int32_t count = 0;
    for (int32_t d = 0; d < n; d++)
        count += left[d] == KS_DEVICE_WHOLE;
    return count;
}

static bool model_allowed(uint64_t models, int32_t model) {
    return models == 0 || (model != KS_NONE && (models >> model & 1u) != 0);
}

/* ---- filter and choice ---- */

bool ks_devices_fit(const ks_engine *e, const ks_class *c, int32_t row) {
    if (!model_allowed(c->device_models, e->device_model.at[row]))
        return false;
    const int32_t *left = free_of(e, row);
    int32_t found = 0;
    for (int32_t d = 0; d < e->device_count.at[row]; d++)
        found += left[d] >= c->device_milli;
    return found >= c->device_count;
}

static uint64_t lowest_whole(const int32_t *left, int32_t n, int32_t count) {
    uint64_t mask = 0;
    for (int32_t d = 0; d < n && count > 0; d++)
        if (left[d] == KS_DEVICE_WHOLE) {
            mask |= (uint64_t)1 << d;
            count--;
        }
    return count == 0 ? mask : 0;
}

static int32_t tightest(const int32_t *left, int32_t n, int32_t milli) {
    int32_t best = KS_NONE;
    for (int32_t d = 0; d < n; d++)
        if (left[d] >= milli && (best == KS_NONE || left[d] < left[best]))
            best = d;
    return best;
}

static int32_t random_fitting(const int32_t *left, int32_t n, int32_t milli, uint64_t *rng) {
    uint32_t fitting = 0;
    for (int32_t d = 0; d < n; d++)
        fitting += left[d] >= milli;
    if (fitting == 0)
        return KS_NONE;
    uint32_t wanted = fitting == 1 ? 0 : ks_random_below(rng, fitting);
    for (int32_t d = 0; d < n; d++)
        if (left[d] >= milli && wanted-- == 0)
            return d;
    return KS_NONE;
}

/* ---- fragmentation ---- */

/* Thousandths that a node's typical demand cannot use: for each typical pod, everything that is free if the pod does
 * not fit there (or asks for no device), otherwise the devices that are too full for it; weighted by frequency.
 * The seven kinds are summed apart and then together because the sum's rounding decides scores at the margin. */
enum { LACKS_BOTH, LACKS_GPU, SATISFIED, LACKS_CPU, NO_GPU_FITS, NO_GPU_LACKS_CPU, NO_ACCESS, N_KINDS };

static int32_t kind_of(const ks_typical *t, int32_t i, int64_t cpu, int32_t model, int32_t fitting) {
    bool cpu_fits = cpu >= t->cpu[i];
    if (t->milli[i] == 0)
        return cpu_fits ? NO_GPU_FITS : NO_GPU_LACKS_CPU;
    if (!model_allowed(t->models[i], model))
        return NO_ACCESS;
    if (fitting >= t->count[i])
        return cpu_fits ? SATISFIED : LACKS_CPU;
    return cpu_fits ? LACKS_GPU : LACKS_BOTH;
}

static double fragmented(const ks_typical *t, int64_t cpu, int32_t model, const int32_t *left, int32_t n) {
    int64_t total = total_free(left, n);
    if (total == 0)
        return 0.0;
    int32_t fitting[KS_DEVICE_WHOLE + 1];
    int64_t below[KS_DEVICE_WHOLE + 1];
    for (int32_t m = 0; m < t->n_millis; m++) {
        fitting[m] = 0;
        below[m] = 0;
        for (int32_t d = 0; d < n; d++)
            if (left[d] >= t->millis[m])
                fitting[m]++;
            else
                below[m] += left[d];
    }
    double sum[N_KINDS] = {0};
    for (int32_t i = 0; i < t->n; i++) {
        int32_t slot = t->milli_slot[i];
        int32_t kind = kind_of(t, i, cpu, model, fitting[slot]);
        if (kind == SATISFIED)
            sum[LACKS_GPU] += t->frequency[i] * (double)below[slot];
        else
            sum[kind] += t->frequency[i] * (double)total;
    }
    double all = 0.0;
    for (int32_t k = 0; k < N_KINDS; k++)
        if (k != SATISFIED)
            all += sum[k];
    return all;
}

double ks_fragmented_of(ks_engine *e, int32_t row) {
    if (!e->fragmented_valid.at[row]) {
        e->fragmented.at[row] = fragmented(&e->typical, cpu_left(e, row), e->device_model.at[row], free_of(e, row),
                                           e->device_count.at[row]);
        e->fragmented_valid.at[row] = 1;
    }
    return e->fragmented.at[row];
}

static int64_t fgd_step(double before, double after) {
    double x = (before - after) / 1000;
    return (int64_t)(1.0 / (1.0 + exp(-x)) * 100.0);
}

/* Best score over the devices that a share could go to; *device is the first one that reaches it. */
static int64_t fgd_share(ks_engine *e, const ks_class *c, int32_t row, int32_t *device) {
    const int32_t *now = free_of(e, row);
    int32_t n = e->device_count.at[row], left[KS_MAX_DEVICES];
    double before = ks_fragmented_of(e, row);
    int64_t best = 0;
    *device = KS_NONE;
    memcpy(left, now, (size_t)n * sizeof *left);
    for (int32_t d = 0; d < n; d++) {
        bool seen = false; /* equal devices score equally */
        for (int32_t k = 0; k < d && !seen; k++)
            seen = now[k] == now[d];
        if (seen || now[d] < c->device_milli)
            continue;
        left[d] -= c->device_milli;
        double after = fragmented(&e->typical, cpu_left(e, row) - c->nonzero_cpu, e->device_model.at[row], left, n);
        left[d] = now[d];
        int64_t score = fgd_step(before, after);
        if (*device == KS_NONE || score > best) {
            best = score;
            *device = d;
        }
    }
    return best;
}

/* Whole devices, or none: they are taken from the fullest that still fit, which are the free ones. */
static int64_t fgd_whole(ks_engine *e, const ks_class *c, int32_t row) {
    int32_t n = e->device_count.at[row], left[KS_MAX_DEVICES], wanted = c->device_count;
    int64_t cpu = cpu_left(e, row);
    double before = ks_fragmented_of(e, row);
    memcpy(left, free_of(e, row), (size_t)n * sizeof *left);
    if (cpu >= c->nonzero_cpu && n >= wanted) {
        cpu -= c->nonzero_cpu;
        for (int32_t d = 0; d < n && wanted > 0; d++)
            if (left[d] == KS_DEVICE_WHOLE) {
                left[d] = 0;
                wanted--;
            }
    }
    return fgd_step(before, fragmented(&e->typical, cpu, e->device_model.at[row], left, n));
}

uint64_t ks_devices_choose(ks_engine *e, int32_t select, const ks_class *c, int32_t row, uint64_t *rng) {
    const int32_t *left = free_of(e, row);
    int32_t n = e->device_count.at[row], device;
    if (c->device_milli == KS_DEVICE_WHOLE)
        return lowest_whole(left, n, c->device_count);
    if (select == KS_DEVICE_RANDOM)
        device = random_fitting(left, n, c->device_milli, rng);
    else if (select == KS_DEVICE_FGD)
        fgd_share(e, c, row, &device);
    else
        device = tightest(left, n, c->device_milli);
    return device == KS_NONE ? 0 : (uint64_t)1 << device;
}

/* ---- scores of the policies, 0..100; below 0 on machines beyond the scale ---- */

static int64_t pod_gpu(const ks_class *c) { return (int64_t)c->device_milli * c->device_count; }

/* 1 - the mean product of free and asked, both as parts of the largest machine: alignment, Tetris reversed. */
static int64_t dot_product(const ks_engine *e, const ks_class *c, int32_t row) {
    if (cpu_left(e, row) < c->nonzero_cpu)
        return 0;
    double gpu = (double)total_free(free_of(e, row), e->device_count.at[row]);
    double product = 0.0;
    product += ((double)cpu_left(e, row) / MAX_CPU) * ((double)c->nonzero_cpu / MAX_CPU);
    product += (gpu / MAX_GPU) * ((double)pod_gpu(c) / MAX_GPU);
    return (int64_t)(100.0 * (1 - product / 2));
}

/* What is left over after the pod, as a part of the largest machine, reversed. The simulator then stretches the
 * scores to 0..100 over the feasible nodes; that map is strictly increasing, so the best nodes are the same. */
static int64_t best_fit(const ks_engine *e, const ks_class *c, int32_t row) {
    int64_t cpu = cpu_left(e, row) - c->nonzero_cpu;
    int64_t gpu = total_free(free_of(e, row), e->device_count.at[row]) - pod_gpu(c);
    if (cpu < 0 || gpu < 0)
        return 0;
    double score = 0.0;
    score += (double)cpu / MAX_CPU * 0.5;
    score += (double)gpu / MAX_GPU * 0.5;
    return (int64_t)((1.0 - score) * 100.0);
}

/* Nodes that hold only pods of the same kind first, then mixed ones with it, then idle ones, then the others. */
static int64_t clustering(const ks_engine *e, const ks_class *c, int32_t row) {
    if (c->device_count == 0)
        return 0;
    const int32_t *pods = &e->device_kinds.at[(int64_t)row * KS_KINDS(e)];
    int32_t kinds = 0, kind = ks_device_kind(c);
    for (int32_t k = 0; k < KS_KINDS(e); k++)
        kinds += pods[k] > 0;
    bool same = kind < KS_KINDS(e) && pods[kind] > 0;
    int64_t quarter = same ? (kinds == 1 ? 75 : 50) : (kinds == 0 ? 25 : 0);
    int64_t left = total_free(free_of(e, row), e->device_count.at[row]);
    return 25 * (MAX_GPU_MILLI - left) / MAX_GPU_MILLI + quarter;
}

/* Shared devices first (fullest best), then free devices of used nodes, then free nodes. */
static int64_t packing(const ks_engine *e, const ks_class *c, int32_t row) {
    if (c->device_count == 0)
        return 0;
    const int32_t *left = free_of(e, row);
    int32_t n = e->device_count.at[row], whole = count_whole(left, n);
    if (whole == n)
        return 33 - whole > whole ? 33 - whole : whole;
    if (c->device_milli < KS_DEVICE_WHOLE) {
        int32_t device = tightest(left, n, c->device_milli);
        if (device == KS_NONE)
            return 0;
        if (left[device] < KS_DEVICE_WHOLE)
            return 100 - (int64_t)left[device] * 100 / KS_DEVICE_WHOLE / 10;
    }
    int64_t score = 50 - (c->device_milli < KS_DEVICE_WHOLE ? 1 : c->device_count);
    return score > 33 ? score : 33;
}

bool ks_policy_has_scale(int32_t plugin) {
    return plugin == KS_SCORE_DOT_PRODUCT || plugin == KS_SCORE_BEST_FIT || plugin == KS_SCORE_GPU_CLUSTERING;
}

bool ks_is_beyond_scale(const ks_engine *e, int32_t row) {
    return (double)e->allocatable[KS_CPU][row] > MAX_CPU || e->device_count.at[row] * KS_DEVICE_WHOLE > MAX_GPU_MILLI;
}

int64_t ks_policy_score(ks_engine *e, int32_t plugin, const ks_class *c, int32_t row) {
    int32_t device;
    switch (plugin) {
    case KS_SCORE_DOT_PRODUCT:
        return dot_product(e, c, row);
    case KS_SCORE_GPU_CLUSTERING:
        return clustering(e, c, row);
    case KS_SCORE_GPU_PACKING:
        return packing(e, c, row);
    case KS_SCORE_BEST_FIT:
        return best_fit(e, c, row);
    case KS_SCORE_FGD:
        if (c->device_count == 1 && c->device_milli < KS_DEVICE_WHOLE)
            return fgd_share(e, c, row, &device);
        return fgd_whole(e, c, row);
    default:
        return 0;
    }
}

/* ---- typical pods ---- */

static bool check_typical(const ks_typical_pods *in) {
    if (in == NULL || in->n < 0 ||
        (in->n > 0 && (!in->cpu || !in->count || !in->milli || !in->models || !in->frequency)))
        return false;
    for (int32_t i = 0; i < in->n; i++)
        if (in->cpu[i] < 0 || in->count[i] < 0 || in->count[i] > KS_MAX_DEVICES || in->milli[i] < 0 ||
            in->milli[i] > KS_DEVICE_WHOLE || !(in->frequency[i] >= 0.0 && in->frequency[i] <= 1.0))
            return false;
    return true;
}

static int32_t slot_of(ks_typical *t, int32_t milli) {
    for (int32_t m = 0; m < t->n_millis; m++)
        if (t->millis[m] == milli)
            return m;
    t->millis[t->n_millis] = milli;
    return t->n_millis++;
}

ks_status ks_fragmentation_set(ks_engine *e, const ks_typical_pods *in) {
    if (e == NULL || !check_typical(in))
        return KS_EINVAL;
    size_t n = (size_t)in->n;
    ks_typical made = {.n = in->n};
    KS_TRY(ks_reserve(&e->mem, &made.block, &made.block_bytes, (int64_t)(n * 40), 1));
    made.cpu = made.block;
    made.models = (uint64_t *)(made.cpu + n);
    made.frequency = (double *)(made.models + n);
    made.count = (int32_t *)(made.frequency + n);
    made.milli = made.count + n;
    made.milli_slot = made.milli + n;
    made.millis = made.milli_slot + n;
    for (size_t i = 0; i < n; i++) {
        made.cpu[i] = in->cpu[i];
        made.models[i] = in->models[i];
        made.frequency[i] = in->frequency[i];
        made.count[i] = in->count[i];
        made.milli[i] = in->milli[i];
        made.milli_slot[i] = slot_of(&made, in->milli[i]);
    }
    ks_typical_free(e);
    e->typical = made;
    ks_log_all(e); /* every score that looks at fragmentation changes */
    return KS_OK;
}

void ks_typical_free(ks_engine *e) { ks_discard(&e->mem, &e->typical.block, &e->typical.block_bytes, 1); }

ks_status ks_fragmentation(const ks_engine *e, double *out) {
    if (e == NULL || (out == NULL && e->n_rows > 0))
        return KS_EINVAL;
    for (int32_t row = 0; row < e->n_rows; row++)
        out[row] = fragmented(&e->typical, cpu_left(e, row), e->device_model.at[row], free_of(e, row),
                              e->device_count.at[row]);
    return KS_OK;
}
