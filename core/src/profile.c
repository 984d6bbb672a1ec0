/* SPDX-License-Identifier: Apache-2.0
 * profile.c: which filters and score plugins decide, with which arguments. */
#include "internal.h"

#include <string.h> /* memcpy */

static const int64_t MAX_WEIGHT = 1000000; /* arbitrary; keeps every weighted sum far inside int64 */

static bool takes_resources(int32_t plugin) {
    return plugin == KS_SCORE_NODE_RESOURCES_FIT || plugin == KS_SCORE_BALANCED_ALLOCATION;
}

static ks_status check_resources(const ks_engine *e, const ks_score_spec *s) {
    bool is_fit = s->plugin == KS_SCORE_NODE_RESOURCES_FIT;
    if (!takes_resources(s->plugin))
        return s->n_resources == 0 ? KS_OK : KS_EINVAL;
    if (s->n_resources < 1 || s->resource == NULL || (is_fit && s->resource_weight == NULL))
        return KS_EINVAL;
    if (!is_fit && s->n_resources > KS_MOST_BALANCED)
        return KS_EUNSUPPORTED;
    for (int32_t i = 0; i < s->n_resources; i++) {
        if (s->resource[i] < 0 || s->resource[i] >= e->n_resources || s->resource[i] == KS_PODS)
            return KS_ERANGE;
        if (is_fit && (s->resource_weight[i] < 1 || s->resource_weight[i] > 100))
            return KS_EINVAL;
    }
    return KS_OK;
}

static ks_status check_shape(const ks_score_spec *s) {
    bool shaped = s->plugin == KS_SCORE_NODE_RESOURCES_FIT && s->variant == KS_FIT_REQUESTED_TO_CAPACITY_RATIO;
    if (!shaped)
        return s->n_points == 0 ? KS_OK : KS_EINVAL;
    if (s->n_points < 1 || s->utilization == NULL || s->shape_score == NULL)
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n_points; i++) {
        if (s->utilization[i] < 0 || s->utilization[i] > 100 || s->shape_score[i] < 0 || s->shape_score[i] > 100)
            return KS_EINVAL;
        if (i > 0 && s->utilization[i] <= s->utilization[i - 1])
            return KS_EINVAL;
    }
    return KS_OK;
}

static ks_status check_score(const ks_engine *e, const ks_score_spec *s) {
    if (s->plugin < 0 || s->weight < 1 || s->weight > MAX_WEIGHT)
        return KS_EINVAL;
    if (s->plugin >= KS_N_SCORES && !ks_is_user(e, s->plugin - KS_N_SCORES, false))
        return KS_EINVAL;
    int32_t last_variant = s->plugin == KS_SCORE_NODE_RESOURCES_FIT    ? KS_FIT_REQUESTED_TO_CAPACITY_RATIO
                           : s->plugin == KS_SCORE_BALANCED_ALLOCATION ? KS_BALANCED_V135
                                                                       : 0;
    if (s->variant < 0 || s->variant > last_variant)
        return KS_EINVAL;
    KS_TRY(check_resources(e, s));
    return check_shape(s);
}

/* filter_order must name each filter that is on, once. */
static bool check_order(const ks_profile_spec *s) {
    uint32_t rest = s->filters;
    for (int32_t i = 0; s->filter_order != NULL && rest != 0; i++) {
        int32_t filter = s->filter_order[i];
        if (filter < 0 || filter >= KS_N_FILTERS || (rest >> filter & 1u) == 0)
            return false;
        rest &= ~(1u << filter);
    }
    return true;
}

static void set_order(ks_profile *p, const ks_profile_spec *s) {
    for (int32_t i = 0; i < KS_N_FILTERS; i++)
        if ((s->filters >> i & 1u) != 0)
            p->filter[p->n_filters++] = i;
    for (int32_t i = 0; s->filter_order != NULL && i < p->n_filters; i++)
        p->filter[i] = s->filter_order[i];
}

static ks_status check_user_filters(const ks_engine *e, const ks_profile_spec *s) {
    if (s->n_user_filters < 0 || (s->n_user_filters > 0 && s->user_filter == NULL))
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n_user_filters; i++)
        if (!ks_is_user(e, s->user_filter[i] - KS_N_FILTERS, true))
            return KS_EINVAL;
    return KS_OK;
}

static ks_status check_placement(const ks_engine *e, const ks_profile_spec *s) {
    if (s->placement_pods_weight < 0 || s->placement_pods_weight > MAX_WEIGHT)
        return KS_EINVAL;
    const ks_score_spec *fit = s->placement_fit;
    if (fit != NULL && (fit->plugin != KS_SCORE_NODE_RESOURCES_FIT || fit->variant != KS_FIT_MOST_ALLOCATED))
        return KS_EINVAL;
    return fit == NULL ? KS_OK : check_score(e, fit);
}

static ks_status check_profile(const ks_engine *e, const ks_profile_spec *s) {
    if (s->n_scores < 0 || (s->n_scores > 0 && s->scores == NULL) || s->filters >> KS_N_FILTERS != 0)
        return KS_EINVAL;
    if (!check_order(s))
        return KS_EINVAL;
    if (s->device_select < KS_DEVICE_BEST_FIT || s->device_select > KS_DEVICE_FGD)
        return KS_EINVAL;
    if (s->required_weight < 0 || s->required_weight > 100)
        return KS_EINVAL;
    if (s->node_percentage < KS_ADAPTIVE || s->node_percentage > 100)
        return KS_EINVAL;
    KS_TRY(check_placement(e, s));
    if (s->candidate_percentage < 0 || s->candidate_percentage > 100 || s->candidate_least < 0)
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n_scores; i++) {
        KS_TRY(check_score(e, &s->scores[i]));
        for (int32_t k = 0; k < i; k++)
            if (s->scores[k].plugin == s->scores[i].plugin)
                return KS_EINVAL;
    }
    return check_user_filters(e, s);
}

static size_t score_bytes(const ks_score_spec *s) {
    return (size_t)s->n_resources * 2 * sizeof(int64_t) + (size_t)s->n_points * 2 * sizeof(int64_t);
}

static void *take(char **at, const void *from, size_t bytes) {
    void *to = *at;
    if (bytes > 0)
        memcpy(to, from, bytes);
    *at += (bytes + 7) & ~(size_t)7;
    return to;
}

static void copy_score(ks_score *to, const ks_score_spec *s, char **at) {
    size_t n = (size_t)s->n_resources, points = (size_t)s->n_points;
    *to = (ks_score){.plugin = s->plugin, .variant = s->variant, .weight = s->weight};
    to->n_resources = s->n_resources;
    to->n_points = s->n_points;
    to->resource = take(at, s->resource, n * sizeof(int32_t));
    if (s->resource_weight != NULL)
        to->resource_weight = take(at, s->resource_weight, n * sizeof(int64_t));
    to->utilization = take(at, s->utilization, points * sizeof(int64_t));
    to->shape_score = take(at, s->shape_score, points * sizeof(int64_t));
}

static void note_user(const ks_engine *e, ks_profile *p, int32_t plugin) {
    int32_t how = e->users.at[plugin - KS_N_SCORES].normalize;
    p->n_user_scores++;
    p->user_normalized |= how >= KS_NORMALIZE_MAX;
}

/* Balanced allocation of one or two resources is 50..100: a deviation is at most 0.5. Three or more may round below. */
static bool is_upper_half(const ks_score *s) {
    return s->plugin == KS_SCORE_BALANCED_ALLOCATION && s->n_resources <= 2;
}

int64_t ks_local_base(const ks_engine *e, const ks_profile *p, const ks_class *c) {
    int64_t base = 0;
    for (int32_t i = 0; i < p->n_scores; i++)
        if (is_upper_half(&p->scores[i]) && !ks_score_skips(e, p, &p->scores[i], c))
            base += 50 * p->scores[i].weight;
    return base;
}

/* Weights of the grouped plugins by name; the rest adds up to the bound of the node-local part. */
static void sum_weights(const ks_engine *e, ks_profile *p) {
    for (int32_t i = 0; i < p->n_scores; i++) {
        const ks_score *s = &p->scores[i];
        if (s->plugin == KS_SCORE_TAINT_TOLERATION)
            p->taint_weight = s->weight;
        else if (s->plugin == KS_SCORE_NODE_AFFINITY)
            p->affinity_weight = s->weight;
        else if (s->plugin == KS_SCORE_IMAGE_LOCALITY)
            p->image_weight = s->weight;
        else if (s->plugin == KS_SCORE_POD_TOPOLOGY_SPREAD)
            p->spread_weight = s->weight;
        else if (s->plugin == KS_SCORE_INTER_POD_AFFINITY)
            p->pods_weight = s->weight;
        else if (s->plugin == KS_SCORE_DYNAMIC_RESOURCES)
            p->claim_weight = s->weight;
        else if (s->plugin != KS_SCORE_RANDOM)
            p->local_bound += 100 * s->weight;
        p->base_bound += is_upper_half(s) ? 50 * s->weight : 0;
        p->has_scale |= ks_policy_has_scale(s->plugin);
        if (ks_is_user_score(s->plugin))
            note_user(e, p, s->plugin);
    }
}

ks_status ks_profile_add(ks_engine *e, const ks_profile_spec *spec, int32_t *out_id) {
    if (e == NULL || spec == NULL || out_id == NULL)
        return KS_EINVAL;
    KS_TRY(check_profile(e, spec));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->profiles, e->profiles.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->indexes, e->profiles.n + 1));
    size_t n_scores = (size_t)spec->n_scores + (spec->placement_fit != NULL), bytes = n_scores * sizeof(ks_score);
    for (int32_t i = 0; i < spec->n_scores; i++)
        bytes += score_bytes(&spec->scores[i]);
    bytes += spec->placement_fit == NULL ? 0 : score_bytes(spec->placement_fit);
    size_t filter_bytes = (size_t)spec->n_user_filters * sizeof(int32_t);
    bytes += filter_bytes + sizeof(int64_t); /* and its padding */
    ks_profile made = {.filters = spec->filters,
                       .n_scores = spec->n_scores,
                       .device_select = spec->device_select,
                       .required_weight = spec->required_weight,
                       .node_percentage = spec->node_percentage,
                       .placement_pods_weight = spec->placement_pods_weight,
                       .candidate_percentage = spec->candidate_percentage,
                       .candidate_least = spec->candidate_least,
                       .ignore_existing = spec->ignore_existing != 0};
    KS_TRY(ks_reserve(&e->mem, &made.block, &made.block_bytes, (int64_t)bytes, 1));
    char *at = (char *)made.block + n_scores * sizeof(ks_score);
    made.scores = made.block;
    if (spec->placement_fit != NULL) { /* behind those of nodes */
        made.placement_fit = made.scores + spec->n_scores;
        copy_score(made.placement_fit, spec->placement_fit, &at);
    }
    for (int32_t i = 0; i < spec->n_scores; i++)
        copy_score(&made.scores[i], &spec->scores[i], &at);
    made.n_user_filters = spec->n_user_filters;
    made.user_filter = take(&at, spec->user_filter, filter_bytes);
    sum_weights(e, &made);
    set_order(&made, spec);
    *out_id = (int32_t)e->profiles.n;
    e->indexes.at[e->profiles.n] = NULL;
    e->profiles.at[e->profiles.n++] = made;
    e->indexes.n = e->profiles.n;
    return KS_OK;
}

/* Sources, v1.36: PreScore of nodeaffinity (no preferred terms), podtopologyspread (no soft constraints),
 * interpodaffinity (no term touches a node), noderesources/balanced_allocation.go (best-effort pods). */
bool ks_score_skips(const ks_engine *e, const ks_profile *p, const ks_score *s, const ks_class *c) {
    if (s->plugin == KS_SCORE_POD_TOPOLOGY_SPREAD)
        return c->pairwise.n_soft == 0;
    if (s->plugin == KS_SCORE_INTER_POD_AFFINITY)
        return ks_pods_score_skips(e, p, c);
    if (s->plugin == KS_SCORE_NODE_AFFINITY)
        return c->preferred.n_terms == 0;
    if (s->plugin != KS_SCORE_BALANCED_ALLOCATION)
        return false;
    for (int32_t i = 0; i < s->n_resources; i++)
        if (ks_amount_of(c->request, c->n_request, s->resource[i]) > 0)
            return false;
    return true;
}

void ks_profiles_free(ks_engine *e) {
    for (int64_t i = 0; i < e->profiles.n; i++)
        ks_discard(&e->mem, &e->profiles.at[i].block, &e->profiles.at[i].block_bytes, 1);
    KS_VEC_DISCARD(&e->mem, &e->profiles);
}
