/* SPDX-License-Identifier: Apache-2.0
 * place.c: decisions in batches and in event runs. */
#include "internal.h"

static ks_status check_options(const ks_engine *e, const ks_options *o) {
    if (o == NULL || o->driver < KS_DRIVER_AUTO || o->driver > KS_DRIVER_INDEXED || o->tie < KS_TIE_LOWEST ||
        o->tie > KS_TIE_UNIFORM || o->next_node < 0)
        return KS_EINVAL;
    return o->profile < 0 || o->profile >= e->profiles.n ? KS_ERANGE : KS_OK;
}

static ks_status check_classes(const ks_engine *e, int32_t n, const int32_t *class_id) {
    for (int32_t i = 0; i < n; i++)
        if (!ks_has_class(e, class_id[i]))
            return KS_ERANGE;
    return KS_OK;
}

ks_status ks_check_batch(const ks_engine *e, const ks_options *o, int32_t n, const int32_t *class_id) {
    KS_TRY(check_options(e, o));
    return check_classes(e, n, class_id);
}

static ks_status decide(ks_engine *e, ks_options *o, int32_t class_id, ks_choice *out) {
    ks_class *c = &e->classes.at[class_id];
    const ks_profile *p = &e->profiles.at[o->profile];
    KS_TRY(ks_own_node(e, p, c, &out->node));
    if (out->node != KS_NONE) { /* taken without looking further */
        *out = (ks_choice){-1, out->node, 1, 1};
        o->n_indexed++;
        return KS_OK;
    }
    KS_TRY(ks_find_vetoes(e, p, c));
    if (p->node_percentage != 0) {
        ks_status status = ks_search_decide(e, o, c, out);
        if (status != KS_EUNSUPPORTED)
            return status;
    }
    if (o->driver != KS_DRIVER_DENSE) {
        ks_status status = KS_EUNSUPPORTED;
        if (e->vetoes.n == 0 && !e->within.is_on)
            status = ks_index_decide(e, o->profile, class_id, o->tie, &o->rng, out);
        if (status == KS_EUNSUPPORTED && e->vetoes.n == 0)
            status = ks_cells_decide(e, o->profile, o->driver, class_id, o->tie, &o->rng, out);
        if (status == KS_OK)
            o->n_indexed++;
        if (status == KS_EUNSUPPORTED) {
            status = ks_sweep_decide(e, o->profile, c, o->tie, &o->rng, out);
            o->n_dense += status == KS_OK;
        }
        if (status != KS_EUNSUPPORTED)
            return status;
    }
    o->n_dense++;
    KS_TRY(ks_class_prepare(e, c));
    return ks_dense_decide(e, o->profile, c, o->tie, &o->rng, out);
}

ks_status ks_place_one(ks_engine *e, ks_options *o, int32_t class_id, bool commit, const ks_decisions *out,
                       int32_t at) {
    ks_choice choice;
    uint64_t devices = 0;
    int32_t next = o->next_node;
    KS_TRY(decide(e, o, class_id, &choice));
    if (!commit)
        o->next_node = next; /* each pod comes alone */
    const ks_class *c = &e->classes.at[class_id];
    if (choice.node != KS_NONE && c->device_count > 0) {
        devices = ks_devices_choose(e, e->profiles.at[o->profile].device_select, c, choice.node, &o->rng);
        if (devices == 0)
            return KS_ESTATE; /* the profile does not filter by devices and chose a node without room */
    }
    if (choice.node != KS_NONE && commit)
        KS_TRY(ks_account(e, class_id, choice.node, devices, true));
    if (out->node != NULL)
        out->node[at] = choice.node;
    if (out->score != NULL)
        out->score[at] = choice.score;
    if (out->ties != NULL)
        out->ties[at] = choice.ties;
    if (out->feasible != NULL)
        out->feasible[at] = choice.feasible;
    if (out->devices != NULL)
        out->devices[at] = devices;
    return KS_OK;
}

ks_status ks_place(ks_engine *e, ks_options *o, int32_t n, const int32_t *class_id, const ks_decisions *out,
                   int32_t *n_done) {
    if (e == NULL || out == NULL || n < 0 || n_done == NULL || (n > 0 && class_id == NULL))
        return KS_EINVAL;
    *n_done = 0;
    KS_TRY(ks_check_batch(e, o, n, class_id));
    if (o->driver != KS_DRIVER_DENSE)
        KS_TRY(ks_index_expect(e, o->profile, o->driver, n, class_id));
    for (; *n_done < n; (*n_done)++)
        KS_TRY(ks_place_one(e, o, class_id[*n_done], o->commit != 0, out, *n_done));
    return KS_OK;
}

/* ---- event runs ---- */

typedef struct run_totals {
    int64_t used_milli;
    double fragmented;
} run_totals;

static int64_t used_milli(const ks_engine *e, int32_t row) {
    int64_t used = (int64_t)e->device_count.at[row] * KS_DEVICE_WHOLE;
    for (int32_t d = 0; d < e->device_count.at[row]; d++)
        used -= e->device_free.at[(int64_t)row * e->device_stride + d];
    return used;
}

static run_totals sum_totals(ks_engine *e, bool fragmentation) {
    run_totals t = {0, 0.0};
    for (int32_t row = 0; row < e->n_rows; row++) {
        t.used_milli += used_milli(e, row);
        if (fragmentation)
            t.fragmented += ks_fragmented_of(e, row);
    }
    return t;
}

static uint64_t devices_of(const ks_decisions *out, int32_t pod) {
    return out->devices == NULL ? 0 : out->devices[pod];
}

static ks_status leave(ks_engine *e, const ks_tape *t, int32_t pod, const ks_decisions *out) {
    if (out->node[pod] == KS_NONE)
        return KS_OK;
    return ks_account(e, t->pod_class[pod], out->node[pod], devices_of(out, pod), false);
}

/* The pod is what another became: that one makes room first, and is put back if this one cannot be counted. */
static ks_status take_over(ks_engine *e, const ks_tape *t, int32_t pod, const ks_decisions *out) {
    int32_t old = t->instead[pod], row = out->node[old];
    if (row == KS_NONE)
        return KS_OK;
    uint64_t devices = devices_of(out, old);
    KS_TRY(ks_account(e, t->pod_class[old], row, devices, false));
    ks_status status = ks_account(e, t->pod_class[pod], row, devices, true);
    if (status != KS_OK) {
        KS_TRY(ks_account(e, t->pod_class[old], row, devices, true));
        return status;
    }
    out->node[pod] = row;
    if (out->devices != NULL)
        out->devices[pod] = devices;
    return KS_OK;
}

static bool is_change(const ks_tape *t, int32_t pod) { return t->instead != NULL && t->instead[pod] != KS_NONE; }

static ks_status arrive(ks_engine *e, ks_options *o, const ks_tape *t, int32_t pod, const ks_decisions *out) {
    if (out->node[pod] != KS_NONE)
        return KS_ESTATE;
    return is_change(t, pod) ? take_over(e, t, pod, out) : ks_place_one(e, o, t->pod_class[pod], true, out, pod);
}

static ks_status check_tape(const ks_engine *e, const ks_tape *t, const ks_decisions *out) {
    if (t->n_events < 0 || t->n_pods < 0 || (t->n_events > 0 && !t->event) || (t->n_pods > 0 && !t->pod_class))
        return KS_EINVAL;
    for (int32_t i = 0; i < t->n_events; i++)
        if (t->event[i] == 0 || t->event[i] > t->n_pods || t->event[i] < -t->n_pods)
            return KS_ERANGE;
    for (int32_t i = 0; i < t->n_pods; i++)
        if (out->node[i] < KS_NONE || out->node[i] >= e->n_rows)
            return KS_ERANGE;
    for (int32_t i = 0; t->instead != NULL && i < t->n_pods; i++)
        if (t->instead[i] < KS_NONE || t->instead[i] >= t->n_pods || t->instead[i] == i)
            return KS_ERANGE;
    return check_classes(e, t->n_pods, t->pod_class);
}

/* Adds what the event changed on its row. The cached fragmentation still holds the row's value from before the
 * event: accounting marks it stale, and nothing has asked for it since. */
static void record(ks_engine *e, const ks_series *series, int32_t at, int32_t row, int64_t milli, run_totals *t) {
    if (row != KS_NONE) {
        t->used_milli += milli;
        if (series->fragmented_milli != NULL) {
            double before = e->fragmented.at[row];
            t->fragmented += ks_fragmented_of(e, row) - before;
        }
    }
    if (series->used_device_milli != NULL)
        series->used_device_milli[at] = t->used_milli;
    if (series->fragmented_milli != NULL)
        series->fragmented_milli[at] = t->fragmented;
}

static int64_t milli_of(const ks_engine *e, const ks_tape *t, int32_t pod) {
    const ks_class *c = &e->classes.at[t->pod_class[pod]];
    return (int64_t)c->device_milli * c->device_count;
}

/* One event; `row` and `milli`: where, and by how much the devices in use there changed. */
static ks_status happen(ks_engine *e, ks_options *o, const ks_tape *t, int32_t at, const ks_decisions *out,
                        int32_t *row, int64_t *milli) {
    bool comes = t->event[at] > 0;
    int32_t pod = (comes ? t->event[at] : -t->event[at]) - 1;
    KS_TRY(comes ? arrive(e, o, t, pod, out) : leave(e, t, pod, out));
    *row = out->node[pod];
    *milli = comes ? milli_of(e, t, pod) : -milli_of(e, t, pod);
    if (comes && is_change(t, pod))
        *milli -= milli_of(e, t, t->instead[pod]);
    return KS_OK;
}

ks_status ks_run(ks_engine *e, ks_options *o, const ks_tape *t, const ks_decisions *out, const ks_series *series,
                 int32_t *n_done) {
    if (e == NULL || t == NULL || out == NULL || out->node == NULL || n_done == NULL)
        return KS_EINVAL;
    *n_done = 0;
    KS_TRY(check_tape(e, t, out));
    KS_TRY(check_options(e, o));
    run_totals totals = {0, 0.0};
    if (series != NULL)
        totals = sum_totals(e, series->fragmented_milli != NULL);
    if (o->driver != KS_DRIVER_DENSE)
        KS_TRY(ks_index_expect(e, o->profile, o->driver, t->n_pods, t->pod_class));
    bool ends = false;
    for (; *n_done < t->n_events && !ends; (*n_done)++) {
        int32_t row = KS_NONE;
        int64_t milli = 0;
        KS_TRY(happen(e, o, t, *n_done, out, &row, &milli));
        if (series != NULL)
            record(e, series, *n_done, row, milli, &totals);
        ends = t->stop != 0 && t->event[*n_done] > 0 && row == KS_NONE && !is_change(t, t->event[*n_done] - 1);
    }
    return KS_OK;
}
