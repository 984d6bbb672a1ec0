/* SPDX-License-Identifier: Apache-2.0
 * fit.c: the filters, in kube-scheduler's order.
 *
 * Static filters look at what placing pods never changes (names, taints, labels): indexes keep their verdict.
 * Dynamic ones (ports, resources, devices) are asked again whenever a row changes. What a filter returns says how it
 * failed; filters that fail in one way return 1. */
#include "internal.h"

static uint8_t affinity_fails(const ks_engine *e, const ks_class *c, int32_t row) {
    int32_t label_set = e->label_set.at[row], hostname = e->hostname_value.at[row], name = e->name_id.at[row];
    if (!c->by_node && c->label_pass[label_set])
        return KS_DETAIL_NONE;
    if (!ks_enforced_passes(e, c, label_set, hostname, name))
        return KS_DETAIL_ENFORCED;
    return !ks_affinity_passes(e, c, label_set, hostname, name);
}

/* A request of 0 passes even where a node is over-committed. Source: noderesources/fit.go fitsRequest, v1.36. */
bool ks_fit_passes(const ks_engine *e, const ks_class *c, int32_t row) {
    if (e->used[KS_PODS][row] + 1 > e->allocatable[KS_PODS][row])
        return false;
    for (int32_t i = 0; i < c->n_checked; i++) {
        int32_t r = c->request[i].resource;
        if (c->request[i].amount > e->allocatable[r][row] - e->used[r][row])
            return false;
    }
    return true;
}

uint8_t ks_filter_fails(const ks_engine *e, const ks_class *c, int32_t row, int32_t filter) {
    switch (filter) {
    case KS_FILTER_NODE_UNSCHEDULABLE:
        return e->unschedulable.at[row] && !c->tolerates_unschedulable;
    case KS_FILTER_NODE_NAME:
        return c->node_name != KS_NONE && c->node_name != e->name_id.at[row];
    case KS_FILTER_TAINT_TOLERATION:
        return !c->taint_pass[e->taint_set.at[row]];
    case KS_FILTER_NODE_AFFINITY:
        return affinity_fails(e, c, row);
    case KS_FILTER_NODE_PORTS:
        return c->n_ports > 0 && ks_ports_in_use(e, c, row);
    case KS_FILTER_NODE_RESOURCES_FIT:
        return !ks_fit_passes(e, c, row);
    case KS_FILTER_POD_TOPOLOGY_SPREAD:
        return ks_spread_filter(e, c, row);
    case KS_FILTER_INTER_POD_AFFINITY:
        return ks_pods_filter(e, c, row);
    case KS_FILTER_GPU_SHARE:
        return c->device_count > 0 && !ks_devices_fit(e, c, row);
    default:
        return ks_verdict_of(c, filter, row);
    }
}

bool ks_passes_static(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row) {
    static const int32_t filters[] = {KS_FILTER_NODE_UNSCHEDULABLE, KS_FILTER_NODE_NAME, KS_FILTER_TAINT_TOLERATION,
                                      KS_FILTER_NODE_AFFINITY};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (ks_filter_is_on(p, filters[i]) && ks_filter_fails(e, c, row, filters[i]) != KS_DETAIL_NONE)
            return false;
    return true;
}

int32_t ks_filter(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row, uint8_t *detail) {
    for (int32_t i = 0; i < p->n_filters; i++) {
        *detail = ks_filter_fails(e, c, row, p->filter[i]);
        if (*detail != KS_DETAIL_NONE)
            return p->filter[i];
    }
    return KS_NONE;
}

bool ks_passes_pairwise(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row) {
    return (!ks_filter_is_on(p, KS_FILTER_POD_TOPOLOGY_SPREAD) || ks_spread_filter(e, c, row) == KS_DETAIL_NONE) &&
           (!ks_filter_is_on(p, KS_FILTER_INTER_POD_AFFINITY) || ks_pods_filter(e, c, row) == KS_DETAIL_NONE);
}

bool ks_passes_local(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row) {
    for (int32_t i = 0; i < p->n_filters; i++)
        if (p->filter[i] != KS_FILTER_POD_TOPOLOGY_SPREAD && p->filter[i] != KS_FILTER_INTER_POD_AFFINITY &&
            ks_filter_fails(e, c, row, p->filter[i]) != KS_DETAIL_NONE)
            return false;
    return true;
}

static void set_bit(uint64_t *bits, int32_t r) { bits[r / 64] |= (uint64_t)1 << (r % 64); }

void ks_fit_explain(const ks_engine *e, const ks_class *c, int32_t row, uint64_t *bits) {
    for (int32_t w = 0; w < (e->n_resources + 63) / 64; w++)
        bits[w] = 0;
    if (e->used[KS_PODS][row] + 1 > e->allocatable[KS_PODS][row])
        set_bit(bits, KS_PODS);
    for (int32_t i = 0; i < c->n_checked; i++) {
        int32_t r = c->request[i].resource;
        if (c->request[i].amount > e->allocatable[r][row] - e->used[r][row])
            set_bit(bits, r);
    }
}

/* One request alone exceeds what the empty node has; too many pods can always be cured. */
static bool exceeds_empty_node(const ks_engine *e, const ks_class *c, int32_t row) {
    for (int32_t i = 0; i < c->n_checked; i++)
        if (c->request[i].amount > e->allocatable[c->request[i].resource][row])
            return true;
    return false;
}

/* Source of what preemption can cure: the status codes of each plugin's Filter, v1.36. */
bool ks_is_unresolvable(const ks_engine *e, const ks_class *c, int32_t row, int32_t filter, uint8_t detail) {
    switch (filter) {
    case KS_FILTER_NODE_RESOURCES_FIT:
        return exceeds_empty_node(e, c, row);
    case KS_FILTER_POD_TOPOLOGY_SPREAD:
    case KS_FILTER_INTER_POD_AFFINITY:
        return detail == KS_DETAIL_NO_TOPOLOGY || detail == KS_DETAIL_AFFINITY;
    case KS_FILTER_NODE_PORTS:
    case KS_FILTER_GPU_SHARE:
        return false;
    case KS_FILTER_NODE_UNSCHEDULABLE:
    case KS_FILTER_NODE_NAME:
    case KS_FILTER_TAINT_TOLERATION:
    case KS_FILTER_NODE_AFFINITY:
        return true;
    default: /* what the caller says; passing rows have no detail */
        return (detail & KS_VERDICT_UNRESOLVABLE) != 0;
    }
}
