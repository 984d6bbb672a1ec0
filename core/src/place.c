/* SPDX-License-Identifier: Apache-2.0
 * place.c: decisions in batches, and the accounting of pods on nodes. */
#include "internal.h"

/* ---- accounting ---- */

static int32_t popcount(uint64_t mask) {
    int32_t n = 0;
    for (; mask != 0; mask &= mask - 1)
        n++;
    return n;
}

/* The devices must exist, be as many as the class takes, and be able to give (or take back) its share. */
static ks_status check_devices(const ks_engine *e, const ks_class *c, int32_t row, uint64_t devices, bool bind) {
    if (popcount(devices) != c->device_count)
        return KS_EINVAL;
    if (c->device_count == 0)
        return KS_OK;
    int32_t n = e->device_count.at[row];
    if (n < 64 && devices >> n != 0)
        return KS_ERANGE;
    const int32_t *left = &e->device_free.at[(int64_t)row * e->device_stride];
    for (int32_t d = 0; d < n; d++)
        if ((devices >> d & 1u) != 0 &&
            (bind ? left[d] < c->device_milli : left[d] + c->device_milli > KS_DEVICE_WHOLE))
            return KS_ESTATE;
    return KS_OK;
}

static ks_status check_amounts(const ks_engine *e, const ks_class *c, int32_t row, bool bind) {
    int64_t sum;
    for (int32_t i = 0; i < c->n_request; i++) {
        int64_t used = e->used[c->request[i].resource][row];
        if (bind ? __builtin_add_overflow(used, c->request[i].amount, &sum) : used < c->request[i].amount)
            return bind ? KS_EOVERFLOW : KS_ESTATE;
    }
    if (!bind)
        return e->used[KS_PODS][row] < 1 || e->nonzero_cpu.at[row] < c->nonzero_cpu ||
                       e->nonzero_memory.at[row] < c->nonzero_memory
                   ? KS_ESTATE
                   : KS_OK;
    return __builtin_add_overflow(e->nonzero_cpu.at[row], c->nonzero_cpu, &sum) ||
                   __builtin_add_overflow(e->nonzero_memory.at[row], c->nonzero_memory, &sum)
               ? KS_EOVERFLOW
               : KS_OK;
}

/* Counted: a port that two pods were forced to share is in use until both are gone. (Upstream keeps a set, so that
 * the first to go frees it for a third; no scheduler puts two pods there, and taking a bind back must be exact.) */
static void account_ports(ks_engine *e, const ks_class *c, int32_t row, bool bind) {
    ks_port_list *list = &e->ports.at[row];
    for (int32_t i = 0; i < c->n_ports; i++) {
        int64_t at = 0;
        while (!bind && at < list->n && list->at[at] != c->port[i])
            at++;
        if (bind)
            list->at[list->n++] = c->port[i];
        else if (at < list->n)
            list->at[at] = list->at[--list->n];
    }
}

static void account_devices(ks_engine *e, const ks_class *c, int32_t row, uint64_t devices, int32_t sign) {
    int32_t *left = &e->device_free.at[(int64_t)row * e->device_stride];
    for (int32_t d = 0; d < e->device_count.at[row]; d++)
        if ((devices >> d & 1u) != 0)
            left[d] -= sign * c->device_milli;
    e->device_kinds.at[(int64_t)row * KS_KINDS(e) + ks_device_kind(c)] += sign;
}

ks_status ks_account(ks_engine *e, int32_t class_id, int32_t row, uint64_t devices, bool bind) {
    const ks_class *c = &e->classes.at[class_id];
    if (!e->live.at[row])
        return KS_ERANGE;
    KS_TRY(check_amounts(e, c, row, bind));
    KS_TRY(check_devices(e, c, row, devices, bind));
    KS_TRY(ks_log_reserve(e, 1));
    if (bind && c->n_ports > 0)
        KS_TRY(KS_VEC_RESERVE(&e->mem, &e->ports.at[row], e->ports.at[row].n + c->n_ports));
    KS_TRY(ks_undo_push(e, class_id, row, devices, bind));
    int64_t sign = bind ? 1 : -1;
    for (int32_t i = 0; i < c->n_request; i++)
        e->used[c->request[i].resource][row] += sign * c->request[i].amount;
    e->used[KS_PODS][row] += sign;
    e->nonzero_cpu.at[row] += sign * c->nonzero_cpu;
    e->nonzero_memory.at[row] += sign * c->nonzero_memory;
    if (c->n_ports > 0)
        account_ports(e, c, row, bind);
    if (c->device_count > 0)
        account_devices(e, c, row, devices, (int32_t)sign);
    ks_log_row(e, row, false);
    return KS_OK;
}

static ks_status check_pair(const ks_engine *e, int32_t class_id, int32_t row) {
    return class_id < 0 || class_id >= e->classes.n || row < 0 || row >= e->n_rows ? KS_ERANGE : KS_OK;
}

static ks_status account_all(ks_engine *e, int32_t n, const int32_t *class_id, const int32_t *row,
                             const uint64_t *devices, int32_t *n_done, bool bind) {
    if (e == NULL || n < 0 || n_done == NULL || (n > 0 && (!class_id || !row)))
        return KS_EINVAL;
    uint64_t unused = 0;
    for (*n_done = 0; *n_done < n; (*n_done)++) {
        int32_t i = *n_done;
        KS_TRY(check_pair(e, class_id[i], row[i]));
        const ks_class *c = &e->classes.at[class_id[i]];
        uint64_t mask = devices == NULL ? 0 : devices[i];
        if (c->device_count > 0 && devices == NULL) {
            if (!bind)
                return KS_EINVAL; /* which devices come back cannot be guessed */
            mask = ks_devices_choose(e, KS_DEVICE_BEST_FIT, c, row[i], &unused);
            if (mask == 0)
                return KS_ESTATE;
        }
        KS_TRY(ks_account(e, class_id[i], row[i], mask, bind));
    }
    return KS_OK;
}

ks_status ks_bind(ks_engine *e, int32_t n, const int32_t *class_id, const int32_t *node, const uint64_t *devices,
                  int32_t *n_done) {
    return account_all(e, n, class_id, node, devices, n_done, true);
}

ks_status ks_release(ks_engine *e, int32_t n, const int32_t *class_id, const int32_t *node, const uint64_t *devices,
                     int32_t *n_done) {
    return account_all(e, n, class_id, node, devices, n_done, false);
}

/* ---- decisions ---- */

static ks_status check_options(const ks_engine *e, const ks_options *o) {
    if (o == NULL || o->driver < KS_DRIVER_AUTO || o->driver > KS_DRIVER_INDEXED || o->tie < KS_TIE_LOWEST ||
        o->tie > KS_TIE_UNIFORM)
        return KS_EINVAL;
    return o->profile < 0 || o->profile >= e->profiles.n ? KS_ERANGE : KS_OK;
}

static ks_status check_classes(const ks_engine *e, int32_t n, const int32_t *class_id) {
    for (int32_t i = 0; i < n; i++)
        if (class_id[i] < 0 || class_id[i] >= e->classes.n)
            return KS_ERANGE;
    return KS_OK;
}

static ks_status decide(ks_engine *e, ks_options *o, int32_t class_id, ks_choice *out) {
    const ks_profile *p = &e->profiles.at[o->profile];
    if (o->driver != KS_DRIVER_DENSE) {
        ks_status status = ks_index_decide(e, o->profile, class_id, o->tie, &o->rng, out);
        if (status == KS_OK)
            o->n_indexed++;
        if (status != KS_EUNSUPPORTED)
            return status;
    }
    o->n_dense++;
    ks_class *c = &e->classes.at[class_id];
    KS_TRY(ks_class_prepare(e, c));
    return ks_dense_decide(e, p, c, o->tie, &o->rng, out);
}

static ks_status place_one(ks_engine *e, ks_options *o, int32_t class_id, bool commit, const ks_decisions *out,
                           int32_t at) {
    ks_choice choice;
    uint64_t devices = 0;
    KS_TRY(decide(e, o, class_id, &choice));
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
    KS_TRY(check_options(e, o));
    KS_TRY(check_classes(e, n, class_id));
    if (o->driver != KS_DRIVER_DENSE)
        KS_TRY(ks_index_expect(e, o->profile, o->driver, n, class_id));
    for (; *n_done < n; (*n_done)++)
        KS_TRY(place_one(e, o, class_id[*n_done], o->commit != 0, out, *n_done));
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
    return out->node[pod] != KS_NONE ? KS_ESTATE : place_one(e, o, pod_class[pod], true, out, pod);
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
