/* SPDX-License-Identifier: Apache-2.0
 * match.c: selectors against label sets, tolerations against taint sets, images against image sets.
 *
 * Everything here is asked once per (class, distinct set) and cached by classes.c; only selectors that look at a
 * node's own name or hostname are asked per node. */
#include "internal.h"

static const ks_label *find_label(const ks_engine *e, int32_t label_set, int32_t key) {
    int32_t low = e->sets.label_start.at[label_set], high = e->sets.label_start.at[label_set + 1];
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (e->sets.label.at[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < e->sets.label_start.at[label_set + 1] && e->sets.label.at[low].key == key)
        return &e->sets.label.at[low];
    return NULL;
}

static bool is_listed(const ks_terms *t, int32_t q, int32_t value) {
    for (int32_t i = t->value_start[q]; i < t->value_start[q + 1]; i++)
        if (t->value[i] == value)
            return true;
    return false;
}

/* Gt and Lt compare integers; a label or operand that is not one never matches.
 * Source: labels.Requirement.Matches, v1.36. */
static bool requirement_matches(const ks_engine *e, const ks_terms *t, int32_t q, int32_t label_set, int32_t hostname,
                                int32_t name) {
    int32_t value;
    const ks_label *label = NULL;
    if (t->key[q] == KS_KEY_NODE_NAME)
        value = name;
    else if (t->key[q] == KS_KEY_HOSTNAME)
        value = hostname;
    else {
        label = find_label(e, label_set, t->key[q]);
        value = label == NULL ? KS_NONE : label->value;
    }
    switch (t->op[q]) {
    case KS_OP_IN:
        return value != KS_NONE && is_listed(t, q, value);
    case KS_OP_NOT_IN:
        return value == KS_NONE || !is_listed(t, q, value);
    case KS_OP_EXISTS:
        return value != KS_NONE;
    case KS_OP_DOES_NOT_EXIST:
        return value == KS_NONE;
    case KS_OP_GT:
        return label != NULL && label->is_number && t->is_number[q] && label->number > t->number[q];
    case KS_OP_LT:
        return label != NULL && label->is_number && t->is_number[q] && label->number < t->number[q];
    default:
        return false;
    }
}

static bool term_matches(const ks_engine *e, const ks_terms *t, int32_t term, int32_t label_set, int32_t hostname,
                         int32_t name) {
    if (t->term_start[term] == t->term_start[term + 1])
        return false; /* an empty term matches nothing */
    for (int32_t q = t->term_start[term]; q < t->term_start[term + 1]; q++)
        if (!requirement_matches(e, t, q, label_set, hostname, name))
            return false;
    return true;
}

bool ks_terms_match_any(const ks_engine *e, const ks_terms *t, int32_t label_set, int32_t hostname, int32_t name) {
    for (int32_t i = 0; i < t->n_terms; i++)
        if (term_matches(e, t, i, label_set, hostname, name))
            return true;
    return false;
}

int32_t ks_terms_weight(const ks_engine *e, const ks_terms *t, int32_t label_set, int32_t hostname, int32_t name) {
    int32_t sum = 0;
    for (int32_t i = 0; i < t->n_terms; i++)
        if (term_matches(e, t, i, label_set, hostname, name))
            sum += t->weight[i];
    return sum;
}

bool ks_affinity_passes(const ks_engine *e, const ks_class *c, int32_t label_set, int32_t hostname, int32_t name) {
    if (c->selector.n_terms > 0 && !ks_terms_match_any(e, &c->selector, label_set, hostname, name))
        return false;
    return !c->has_required || ks_terms_match_any(e, &c->required, label_set, hostname, name);
}

bool ks_enforced_passes(const ks_engine *e, const ks_class *c, int32_t label_set, int32_t hostname, int32_t name) {
    return !c->has_enforced || ks_terms_match_any(e, &c->enforced, label_set, hostname, name);
}

/* Source: v1.Toleration.ToleratesTaint, v1.36 (comparison operators off). */
static bool tolerates(const int32_t *toleration, const ks_taint *taint) {
    if (toleration[3] != KS_EFFECT_ANY && toleration[3] != taint->effect)
        return false;
    if (toleration[0] != KS_NONE && toleration[0] != taint->key)
        return false;
    if (toleration[1] == KS_TOLERATE_EXISTS)
        return true;
    return toleration[1] == KS_TOLERATE_EQUAL && toleration[2] == taint->value;
}

static bool is_tolerated(const ks_class *c, const ks_taint *taint) {
    bool preferred = taint->effect == KS_EFFECT_PREFER_NO_SCHEDULE;
    for (int32_t i = 0; i < c->n_tolerations; i++) {
        const int32_t *toleration = &c->toleration[4 * i];
        /* Scoring looks only at tolerations that can speak of PreferNoSchedule. */
        if (preferred && toleration[3] != KS_EFFECT_ANY && toleration[3] != KS_EFFECT_PREFER_NO_SCHEDULE)
            continue;
        if (tolerates(toleration, taint))
            return true;
    }
    return false;
}

/* passes: no NoSchedule or NoExecute taint is left untolerated; preferred: untolerated PreferNoSchedule taints. */
void ks_taints_judge(const ks_engine *e, const ks_class *c, int32_t taint_set, bool *passes, int32_t *preferred) {
    *passes = true;
    *preferred = 0;
    for (int32_t i = e->sets.taint_start.at[taint_set]; i < e->sets.taint_start.at[taint_set + 1]; i++) {
        const ks_taint *taint = &e->sets.taint.at[i];
        if (is_tolerated(c, taint))
            continue;
        if (taint->effect == KS_EFFECT_PREFER_NO_SCHEDULE)
            (*preferred)++;
        else
            *passes = false;
    }
}

/* Size of an image on a node, scaled by how widely it is spread; 0 if the node's set does not hold it. */
static int64_t scaled_size(const ks_engine *e, int32_t image, int32_t image_set) {
    for (int32_t i = e->sets.image_start.at[image_set]; i < e->sets.image_start.at[image_set + 1]; i++) {
        if (e->sets.image.at[i].image != image)
            continue;
        double spread = (double)e->sets.images.at[image].n_nodes / (double)e->n_live;
        return (int64_t)((double)e->sets.images.at[image].size * spread);
    }
    return 0;
}

/* ImageLocality's score 0..100. The thresholds are upstream's: 23 MiB, and 1000 MiB a container.
 * Source: imagelocality/image_locality.go, v1.36. */
int32_t ks_image_priority(const ks_engine *e, const ks_class *c, int32_t image_set) {
    const int64_t mib = 1024 * 1024;
    int64_t low = 23 * mib, high = 1000 * mib * c->n_image_containers, sum = 0;
    if (c->n_image_containers == 0 || e->n_live == 0)
        return 0;
    for (int32_t i = 0; i < c->n_images; i++)
        sum += scaled_size(e, c->image[i], image_set);
    sum = sum < low ? low : sum > high ? high : sum;
    return (int32_t)(100 * (sum - low) / (high - low));
}
