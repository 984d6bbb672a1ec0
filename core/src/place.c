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
        if (e->vetoes.n == 0)
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

static ks_status arrive(ks_engine *e, ks_options *o, int32_t pod, const int32_t *pod_class, const ks_decisions *out) {
    return out->node[pod] != KS_NONE ? KS_ESTATE : ks_place_one(e, o, pod_class[pod], true, out, pod);
}

static ks_status leave(ks_engine *e, int32_t pod, const int32_t *pod_class, const ks_decisions *out) {
    if (out->node[pod] == KS_NONE)
        return KS_OK;
    return ks_account(e, pod_class[pod], out->node[pod], out->devices == NULL ? 0 : out->devices[pod], false);
}

static ks_status check_run(const ks_engine *e, int32_t n_events, const int32_t *event, int32_t n_pods,
                           const int32_t *pod_class, const ks_decisions *out, const int32_t *n_done) {
    if (e == NULL || out == NULL || out->node == NULL || n_done == NULL || n_events < 0 || n_pods < 0)
        return KS_EINVAL;
    if ((n_events > 0 && event == NULL) || (n_pods > 0 && pod_class == NULL))
        return KS_EINVAL;
    for (int32_t i = 0; i < n_events; i++)
        if (event[i] == 0 || event[i] > n_pods || event[i] < -n_pods)
            return KS_ERANGE;
    for (int32_t i = 0; i < n_pods; i++)
        if (out->node[i] < KS_NONE || out->node[i] >= e->n_rows)
            return KS_ERANGE;
    return check_classes(e, n_pods, pod_class);
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

ks_status ks_run(ks_engine *e, ks_options *o, int32_t n_events, const int32_t *event, int32_t n_pods,
                 const int32_t *pod_class, const ks_decisions *out, const ks_series *series, int32_t *n_done) {
    KS_TRY(check_run(e, n_events, event, n_pods, pod_class, out, n_done));
    *n_done = 0;
    KS_TRY(check_options(e, o));
    run_totals totals = {0, 0.0};
    if (series != NULL)
        totals = sum_totals(e, series->fragmented_milli != NULL);
    if (o->driver != KS_DRIVER_DENSE)
        KS_TRY(ks_index_expect(e, o->profile, o->driver, n_pods, pod_class));
    for (; *n_done < n_events; (*n_done)++) {
        int32_t i = *n_done, pod = (event[i] > 0 ? event[i] : -event[i]) - 1;
        int32_t row = out->node[pod];
        if (event[i] > 0) {
            KS_TRY(arrive(e, o, pod, pod_class, out));
            row = out->node[pod];
        } else {
            KS_TRY(leave(e, pod, pod_class, out));
        }
        const ks_class *c = &e->classes.at[pod_class[pod]];
        int64_t milli = (int64_t)c->device_milli * c->device_count;
        if (series != NULL)
            record(e, series, i, row, event[i] > 0 ? milli : -milli, &totals);
    }
    return KS_OK;
}
