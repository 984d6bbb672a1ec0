/* SPDX-License-Identifier: Apache-2.0
 * groups.c: gangs. The pods of a group are decided one after another, each on a state in which those before it run;
 * if too few find a node, the undo log takes all of them back.
 *
 * A group that cannot reach its minimum any more is given up at once. That changes no outcome: what its other pods
 * would have decided is taken back anyway, and so are the numbers that they would have drawn. Only where searches end
 * early do they go on: the next search begins where the last one ended, whatever became of the group.
 * Sources: schedule_one_podgroup.go, plugins/gangscheduling, v1.36. */
#include "internal.h"

static ks_status check_groups(const ks_groups *g) {
    if (g == NULL || g->n < 0 || g->start == NULL || g->start[0] != 0)
        return KS_EINVAL;
    if (g->n > 0 && (!g->minimum || !g->placed || !g->fitted || !g->first_failed || !g->n_decided))
        return KS_EINVAL;
    for (int32_t i = 0; i < g->n; i++)
        if (g->start[i + 1] < g->start[i] || g->minimum[i] < 0)
            return KS_EINVAL;
    return KS_OK;
}

/* Decides the pods of group i until it is plain how the group ends. */
static ks_status decide_pods(ks_engine *e, ks_options *o, const ks_groups *g, int32_t i, const int32_t *class_id,
                             const ks_decisions *out) {
    bool commit = o->commit != 0 || g->minimum[i] > 0, to_the_end = ks_search_matters(e, &e->profiles.at[o->profile]);
    g->fitted[i] = g->n_decided[i] = 0;
    g->first_failed[i] = KS_NONE;
    for (int32_t pod = g->start[i]; pod < g->start[i + 1]; pod++) {
        if (!to_the_end && g->fitted[i] + (g->start[i + 1] - pod) < g->minimum[i])
            break;
        KS_TRY(ks_place_one(e, o, class_id[pod], commit, out, pod));
        g->n_decided[i]++;
        if (out->node[pod] != KS_NONE)
            g->fitted[i]++;
        else if (g->first_failed[i] == KS_NONE)
            g->first_failed[i] = pod;
    }
    g->placed[i] = g->fitted[i] >= g->minimum[i];
    return KS_OK;
}

static ks_status place_group(ks_engine *e, ks_options *o, const ks_groups *g, int32_t i, const int32_t *class_id,
                             const ks_decisions *out) {
    if (g->minimum[i] == 0)
        return decide_pods(e, o, g, i, class_id, out);
    uint64_t rng = o->rng;
    int32_t next = o->next_node;
    int64_t mark;
    KS_TRY(ks_speculate(e, &mark));
    ks_status status = decide_pods(e, o, g, i, class_id, out);
    if (status == KS_OK && g->placed[i] && o->commit != 0)
        return ks_keep(e, mark);
    if (status != KS_OK || !g->placed[i])
        o->rng = rng;
    if (status != KS_OK || o->commit == 0)
        o->next_node = next;
    KS_TRY(ks_rollback(e, mark));
    return status;
}

ks_status ks_place_groups(ks_engine *e, ks_options *o, const ks_groups *g, const int32_t *class_id,
                          const ks_decisions *out, int32_t *n_done) {
    if (e == NULL || out == NULL || out->node == NULL || n_done == NULL)
        return KS_EINVAL;
    *n_done = 0;
    KS_TRY(check_groups(g));
    int32_t n_pods = g->start[g->n];
    if (n_pods > 0 && class_id == NULL)
        return KS_EINVAL;
    KS_TRY(ks_check_batch(e, o, n_pods, class_id));
    if (o->driver != KS_DRIVER_DENSE)
        KS_TRY(ks_index_expect(e, o->profile, o->driver, n_pods, class_id));
    for (; *n_done < g->n; (*n_done)++)
        KS_TRY(place_group(e, o, g, *n_done, class_id, out));
    return KS_OK;
}
