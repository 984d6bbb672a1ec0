/* SPDX-License-Identifier: Apache-2.0
 * groups.c: gangs. The pods of a group are decided one after another, each on a state in which those before it run;
 * if too few find a node, the undo log takes all of them back.
 *
 * A group that cannot reach its minimum any more is given up at once. That changes no outcome: what its other pods
 * would have decided is taken back anyway, and so are the numbers that they would have drawn. Only where searches end
 * early do they go on: the next search begins where the last one ended, whatever became of the group.
 *
 * A group with a topology is tried in each of its placements (placements.c), always from the same state. The one that
 * it gets is decided a second time, from the numbers that it had the first time; the others leave no trace but those
 * that were drawn for them. Upstream has no order of placements; here it is that of their first rows.
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

static int32_t topology_of(const ks_groups *g, int32_t i) { return g->topology == NULL ? KS_NONE : g->topology[i]; }

static ks_status check_topologies(const ks_engine *e, const ks_groups *g) {
    if (g->topology != NULL && g->n > 0 && (!g->placement || !g->n_placements || !g->placement_ties))
        return KS_EINVAL;
    for (int32_t i = 0; g->topology != NULL && i < g->n; i++) {
        int32_t anchor = g->anchor == NULL ? KS_NONE : g->anchor[i];
        if (g->topology[i] == KS_NONE)
            continue;
        if (g->minimum[i] < 1 || (g->running != NULL && g->running[i] < 0))
            return KS_EINVAL;
        if (g->topology[i] < 0 || g->topology[i] >= e->topologies.n || anchor < KS_NONE || anchor >= e->n_rows)
            return KS_ERANGE;
    }
    return KS_OK;
}

/* What a batch of groups is decided with. */
typedef struct batch {
    ks_engine *e;
    ks_options *o;
    const ks_groups *g;
    const int32_t *class_id;
    const ks_decisions *out;
} batch;

/* Decides the pods of group i until it is plain how the group ends. */
static ks_status decide_pods(const batch *b, int32_t i) {
    const ks_groups *g = b->g;
    bool commit = b->o->commit != 0 || g->minimum[i] > 0;
    bool to_the_end = ks_search_matters(b->e, &b->e->profiles.at[b->o->profile]);
    g->fitted[i] = g->n_decided[i] = 0;
    g->first_failed[i] = KS_NONE;
    for (int32_t pod = g->start[i]; pod < g->start[i + 1]; pod++) {
        if (!to_the_end && g->fitted[i] + (g->start[i + 1] - pod) < g->minimum[i])
            break;
        KS_TRY(ks_place_one(b->e, b->o, b->class_id[pod], commit, b->out, pod));
        g->n_decided[i]++;
        if (b->out->node[pod] != KS_NONE)
            g->fitted[i]++;
        else if (g->first_failed[i] == KS_NONE)
            g->first_failed[i] = pod;
    }
    g->placed[i] = g->fitted[i] >= g->minimum[i];
    return KS_OK;
}

/* Decides the group and takes it back, unless it fits and is to be kept. If it does not fit, no number was drawn. */
static ks_status try_group(const batch *b, int32_t i, bool keep) {
    uint64_t rng = b->o->rng;
    int64_t mark;
    KS_TRY(ks_speculate(b->e, &mark));
    ks_status status = decide_pods(b, i);
    if (status == KS_OK && b->g->placed[i] && keep)
        return ks_keep(b->e, mark);
    if (status != KS_OK || !b->g->placed[i])
        b->o->rng = rng;
    KS_TRY(ks_rollback(b->e, mark));
    return status;
}

/* ---- groups with a topology ---- */

static ks_status note_trial(const batch *b, int32_t i, ks_trial trial) {
    ks_engine *e = b->e;
    int32_t from = b->g->start[i], n = b->g->n_decided[i];
    trial.pods = b->g->fitted[i] + (b->g->running == NULL ? 0 : b->g->running[i]);
    KS_TRY(ks_placement_fit(e, b->o->profile, n, b->class_id + from, b->out->node + from, &trial.fit));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->trials, e->trials.n + 1));
    e->trials.at[e->trials.n++] = trial;
    return KS_OK;
}

/* A row of each placement: of all, or of the one that the group has an anchor in. */
static ks_status list_placements(const batch *b, int32_t i, int32_t *n, const int32_t **row) {
    int32_t topology = b->g->topology[i], anchor = b->g->anchor == NULL ? KS_NONE : b->g->anchor[i];
    if (anchor == KS_NONE)
        return ks_placements(b->e, topology, n, row);
    *row = &b->g->anchor[i];
    *n = b->e->topologies.at[topology].domain.at[anchor] != KS_NONE;
    return KS_OK;
}

/* Tries every placement; those that will do are noted. *first: the first one, as it was before it was tried. */
static ks_status try_placements(const batch *b, int32_t i, ks_trial *first) {
    const int32_t *row;
    int32_t n;
    b->e->trials.n = 0;
    KS_TRY(list_placements(b, i, &n, &row));
    for (int32_t k = 0; k < n; k++) {
        ks_trial trial = {.rng = b->o->rng, .row = row[k], .next_node = b->o->next_node};
        if (b->g->n_placements[i]++ == 0)
            *first = trial;
        KS_TRY(ks_within(b->e, b->g->topology[i], row[k], NULL));
        KS_TRY(try_group(b, i, false));
        if (b->g->placed[i])
            KS_TRY(note_trial(b, i, trial));
    }
    return KS_OK;
}

static ks_status choose(const batch *b, int32_t i, ks_trial *out) {
    ks_engine *e = b->e;
    int32_t n = (int32_t)e->trials.n, at = 0;
    b->g->placement_ties[i] = 1;
    if (n > 1) {
        KS_TRY(KS_VEC_RESERVE(&e->mem, &e->trial_pods, n));
        KS_TRY(KS_VEC_RESERVE(&e->mem, &e->trial_fit, n));
        for (int32_t k = 0; k < n; k++) {
            e->trial_pods.at[k] = e->trials.at[k].pods;
            e->trial_fit.at[k] = e->trials.at[k].fit;
        }
        KS_TRY(ks_placement_choose(e, b->o, n, e->trial_pods.at, e->trial_fit.at, &at, &b->g->placement_ties[i]));
    }
    *out = e->trials.at[at];
    return KS_OK;
}

/* Decides the group once more in a placement, from the numbers that it had there; the options stay as they are. */
static ks_status decide_again(const batch *b, int32_t i, const ks_trial *trial) {
    uint64_t rng = b->o->rng;
    int32_t next = b->o->next_node;
    b->o->rng = trial->rng;
    b->o->next_node = trial->next_node;
    b->g->placement[i] = trial->row;
    KS_TRY(ks_within(b->e, b->g->topology[i], trial->row, NULL));
    ks_status status = try_group(b, i, b->o->commit != 0);
    b->o->rng = rng;
    b->o->next_node = next;
    return status;
}

static void decide_nothing(const batch *b, int32_t i) {
    b->g->placement[i] = b->g->first_failed[i] = KS_NONE;
    b->g->n_placements[i] = b->g->placement_ties[i] = b->g->fitted[i] = b->g->n_decided[i] = 0;
    b->g->placed[i] = 0;
}

static ks_status place_in_best(const batch *b, int32_t i) {
    ks_trial chosen;
    decide_nothing(b, i);
    KS_TRY(try_placements(b, i, &chosen));
    if (b->g->n_placements[i] == 0)
        return KS_OK;
    if (b->e->trials.n > 0)
        KS_TRY(choose(b, i, &chosen));
    return decide_again(b, i, &chosen);
}

/* ---- all groups ---- */

static ks_status place_group(const batch *b, int32_t i) {
    ks_options *o = b->o;
    uint64_t rng = o->rng;
    int32_t next = o->next_node;
    ks_status status;
    if (topology_of(b->g, i) != KS_NONE) {
        status = place_in_best(b, i);
        b->e->within.is_on = false;
    } else if (b->g->minimum[i] == 0) {
        return decide_pods(b, i);
    } else {
        status = try_group(b, i, o->commit != 0);
    }
    if (status != KS_OK || !b->g->placed[i])
        o->rng = rng;
    if (status != KS_OK || o->commit == 0)
        o->next_node = next;
    return status;
}

/* Lanes are no use to a group that keeps to a placement. */
static ks_status expect(const batch *b) {
    if (b->o->driver == KS_DRIVER_DENSE)
        return KS_OK;
    for (int32_t i = 0; i < b->g->n; i++)
        if (topology_of(b->g, i) == KS_NONE)
            return ks_index_expect(b->e, b->o->profile, b->o->driver, b->g->start[b->g->n], b->class_id);
    return KS_OK;
}

ks_status ks_place_groups(ks_engine *e, ks_options *o, const ks_groups *g, const int32_t *class_id,
                          const ks_decisions *out, int32_t *n_done) {
    if (e == NULL || out == NULL || out->node == NULL || n_done == NULL)
        return KS_EINVAL;
    *n_done = 0;
    KS_TRY(check_groups(g));
    KS_TRY(check_topologies(e, g));
    int32_t n_pods = g->start[g->n];
    if (n_pods > 0 && class_id == NULL)
        return KS_EINVAL;
    KS_TRY(ks_check_batch(e, o, n_pods, class_id));
    batch b = {e, o, g, class_id, out};
    KS_TRY(expect(&b));
    for (; *n_done < g->n; (*n_done)++)
        KS_TRY(place_group(&b, *n_done));
    return KS_OK;
}
