/* SPDX-License-Identifier: Apache-2.0
 * fit.c: the filters, in kube-scheduler's order.
 *
 * Static filters look at what placing pods never changes (names, taints, labels): indexes keep their verdict.
 * Dynamic ones (ports, resources, devices) are asked again whenever a row changes. */
#include "internal.h"

static bool is_on(const ks_profile *p, int32_t filter) { return (p->filters >> filter & 1u) != 0; }

static bool affinity_passes(const ks_engine *e, const ks_class *c, int32_t row) {
    if (!c->by_node)
        return c->label_pass[e->label_set.at[row]] != 0;
    return ks_affinity_passes(e, c, e->label_set.at[row], e->hostname_value.at[row], e->name_id.at[row]);
}

int32_t ks_filter_static(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row) {
    if (e->unschedulable.at[row] && !c->tolerates_unschedulable && is_on(p, KS_FILTER_NODE_UNSCHEDULABLE))
        return KS_FILTER_NODE_UNSCHEDULABLE;
    if (c->node_name != KS_NONE && c->node_name != e->name_id.at[row] && is_on(p, KS_FILTER_NODE_NAME))
        return KS_FILTER_NODE_NAME;
    if (!c->taint_pass[e->taint_set.at[row]] && is_on(p, KS_FILTER_TAINT_TOLERATION))
        return KS_FILTER_TAINT_TOLERATION;
    if (is_on(p, KS_FILTER_NODE_AFFINITY) && !affinity_passes(e, c, row))
        return KS_FILTER_NODE_AFFINITY;
    return KS_NONE;
}

/* A request of 0 passes even where a node is over-committed. Source: noderesources/fit.go fitsRequest, v1.36. */
bool ks_fit_passes(const ks_engine *e, const ks_class *c, int32_t row) {
    if (e->used[KS_PODS][row] + 1 > e->allocatable[KS_PODS][row])
        return false;
    for (int32_t i = 0; i < c->n_request; i++) {
        int32_t r = c->request[i].resource;
        if (c->request[i].amount > e->allocatable[r][row] - e->used[r][row])
            return false;
    }
    return true;
}

int32_t ks_filter(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row) {
    int32_t failed = ks_filter_static(e, p, c, row);
    if (failed != KS_NONE)
        return failed;
    if (c->n_ports > 0 && is_on(p, KS_FILTER_NODE_PORTS) && ks_ports_in_use(e, c, row))
        return KS_FILTER_NODE_PORTS;
    if (is_on(p, KS_FILTER_NODE_RESOURCES_FIT) && !ks_fit_passes(e, c, row))
        return KS_FILTER_NODE_RESOURCES_FIT;
    if (c->device_count > 0 && is_on(p, KS_FILTER_GPU_SHARE) && !ks_devices_fit(e, c, row))
        return KS_FILTER_GPU_SHARE;
    if (ks_has_pairwise(c) && ks_pairwise_filter(e, p, c, row, &failed) != KS_DETAIL_NONE)
        return failed;
    return KS_NONE;
}

static void set_bit(uint64_t *bits, int32_t r) { bits[r / 64] |= (uint64_t)1 << (r % 64); }

/* Preemption cannot help once one request alone exceeds what the empty node has; too many pods it can always cure. */
bool ks_fit_explain(const ks_engine *e, const ks_class *c, int32_t row, uint64_t *bits) {
    bool unresolvable = false;
    for (int32_t w = 0; w < (e->n_resources + 63) / 64; w++)
        bits[w] = 0;
    if (e->used[KS_PODS][row] + 1 > e->allocatable[KS_PODS][row])
        set_bit(bits, KS_PODS);
    for (int32_t i = 0; i < c->n_request; i++) {
        int32_t r = c->request[i].resource;
        if (c->request[i].amount <= e->allocatable[r][row] - e->used[r][row])
            continue;
        set_bit(bits, r);
        unresolvable |= c->request[i].amount > e->allocatable[r][row];
    }
    return unresolvable;
}
