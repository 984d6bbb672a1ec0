/* SPDX-License-Identifier: Apache-2.0
 * classes.c: pod classes, copied in, with a verdict cached for each interned set.
 *
 * All arrays of a class lie in one block: they are measured first, allocated once, then filled, so that a failed
 * allocation leaves nothing behind. */
#include "internal.h"

#include <string.h> /* memcpy */

/* ---- checks ---- */

static bool check_selector(const ks_selector *s, bool weighted) {
    if (s->n_terms < 0 || s->n_requirements < 0)
        return false;
    if (s->n_terms == 0)
        return true;
    if (s->term_start == NULL || (weighted && s->weight == NULL))
        return false;
    if (s->n_requirements > 0 && (!s->key || !s->op || !s->number || !s->is_number || !s->value_start))
        return false;
    if (s->term_start[0] != 0 || s->term_start[s->n_terms] != s->n_requirements)
        return false;
    for (int32_t t = 0; t < s->n_terms; t++)
        if (s->term_start[t + 1] < s->term_start[t])
            return false;
    for (int32_t q = 0; q < s->n_requirements; q++) {
        if (s->key[q] < KS_KEY_HOSTNAME || s->key[q] == KS_NONE || s->op[q] < KS_OP_IN || s->op[q] > KS_OP_LT)
            return false;
        if (s->value_start[q] < 0 || s->value_start[q + 1] < s->value_start[q])
            return false;
    }
    return s->n_requirements == 0 || s->value_start[0] == 0;
}

/* Names and hostnames have no number column: comparing them as integers is refused, not guessed. */
static bool compares_names(const ks_selector *s) {
    for (int32_t q = 0; q < s->n_requirements; q++)
        if (s->key[q] < 0 && (s->op[q] == KS_OP_GT || s->op[q] == KS_OP_LT))
            return true;
    return false;
}

static bool looks_at_node(const ks_selector *s) {
    for (int32_t q = 0; s->n_terms > 0 && q < s->n_requirements; q++)
        if (s->key[q] < 0)
            return true;
    return false;
}

static ks_status check_amounts(const ks_engine *e, const ks_amounts *a) {
    if (a->n < 0 || (a->n > 0 && (!a->resource || !a->amount)))
        return KS_EINVAL;
    for (int32_t i = 0; i < a->n; i++) {
        if (a->resource[i] < 0 || a->resource[i] >= e->n_resources)
            return KS_ERANGE;
        if (a->amount[i] < 0 || a->resource[i] == KS_PODS || (i > 0 && a->resource[i] <= a->resource[i - 1]))
            return KS_EINVAL;
        if (a->amount[i] > KS_MAX_QUANTITY)
            return KS_EOVERFLOW;
    }
    return KS_OK;
}

static ks_status check_quantities(const ks_engine *e, const ks_class_spec *s) {
    KS_TRY(check_amounts(e, &s->request));
    KS_TRY(check_amounts(e, &s->fit_request));
    if (s->nonzero_cpu < 0 || s->nonzero_memory < 0)
        return KS_EINVAL;
    if (s->nonzero_cpu > KS_MAX_QUANTITY || s->nonzero_memory > KS_MAX_QUANTITY)
        return KS_EOVERFLOW;
    return KS_OK;
}

static bool check_lists(const ks_class_spec *s) {
    if (s->n_tolerations < 0 || s->n_ports < 0 || s->n_images < 0 || s->n_image_containers < 0)
        return false;
    if (s->n_tolerations > 0 &&
        (!s->toleration_key || !s->toleration_op || !s->toleration_value || !s->toleration_effect))
        return false;
    for (int32_t i = 0; i < s->n_tolerations; i++)
        if (s->toleration_op[i] < KS_TOLERATE_EQUAL || s->toleration_op[i] > KS_TOLERATE_NEVER ||
            s->toleration_effect[i] < KS_EFFECT_ANY || s->toleration_effect[i] > KS_EFFECT_NO_EXECUTE ||
            s->toleration_key[i] < KS_NONE)
            return false;
    if ((s->n_ports > 0 && !s->port) || (s->n_images > 0 && !s->image))
        return false;
    if (s->device_count < 0 || s->device_count > KS_MAX_DEVICES)
        return false;
    if (s->device_count == 0)
        return s->device_milli == 0;
    return s->device_milli >= 1 && s->device_milli <= KS_DEVICE_WHOLE &&
           (s->device_milli == KS_DEVICE_WHOLE || s->device_count == 1);
}

static ks_status check_class(const ks_engine *e, const ks_class_spec *s) {
    KS_TRY(check_quantities(e, s));
    if (!check_lists(s) || s->node_name < KS_NONE)
        return KS_EINVAL;
    if (!check_selector(&s->node_selector, false) || !check_selector(&s->required, false) ||
        !check_selector(&s->preferred, true) || !check_selector(&s->enforced, false))
        return KS_EINVAL;
    if (compares_names(&s->node_selector) || compares_names(&s->required) || compares_names(&s->preferred) ||
        compares_names(&s->enforced))
        return KS_EUNSUPPORTED;
    for (int32_t i = 0; i < s->n_ports; i++)
        if (s->port[i] < 0 || s->port[i] >= e->sets.port.n)
            return KS_ERANGE;
    for (int32_t i = 0; i < s->n_images; i++)
        if (s->image[i] < 0 || s->image[i] >= e->sets.images.n)
            return KS_ERANGE;
    return KS_OK;
}

/* ---- the block ---- */

/* Hands out parts of a block; with base NULL it only measures. Parts are 8-byte aligned. */
typedef struct cutter {
    char *base;
    size_t used;
} cutter;

static void *cut(cutter *c, const void *from, size_t bytes) {
    void *at = c->base == NULL ? NULL : c->base + c->used;
    if (at != NULL && from != NULL && bytes > 0)
        memcpy(at, from, bytes);
    c->used += (bytes + 7) & ~(size_t)7;
    return at;
}

static void cut_selector(cutter *c, const ks_selector *s, ks_terms *t) {
    size_t q = (size_t)s->n_requirements;
    if (s->n_terms == 0)
        return;
    t->n_terms = s->n_terms;
    t->term_start = cut(c, s->term_start, ((size_t)s->n_terms + 1) * sizeof(int32_t));
    if (s->weight != NULL)
        t->weight = cut(c, s->weight, (size_t)s->n_terms * sizeof(int32_t));
    if (q == 0)
        return;
    t->key = cut(c, s->key, q * sizeof(int32_t));
    t->op = cut(c, s->op, q * sizeof(int32_t));
    t->number = cut(c, s->number, q * sizeof(int64_t));
    t->is_number = cut(c, s->is_number, q);
    t->value_start = cut(c, s->value_start, (q + 1) * sizeof(int32_t));
    t->value = cut(c, s->value, (size_t)s->value_start[q] * sizeof(int32_t));
}

static int32_t count_amounts(const ks_amounts *a) {
    int32_t n = 0;
    for (int32_t i = 0; i < a->n; i++)
        n += a->amount[i] > 0;
    return n;
}

/* Those above 0, in two parts, each in the order of resources: first those that must fit. Says how many these are. */
static int32_t fill_amounts(ks_amount *out, const ks_amounts *a, const uint8_t *unchecked) {
    int32_t n = 0, n_checked = 0;
    for (int32_t part = 0; part < 2; part++) {
        for (int32_t i = 0; i < a->n; i++)
            if (a->amount[i] > 0 && (unchecked != NULL && unchecked[i] != 0) == (part == 1))
                out[n++] = (ks_amount){a->resource[i], a->amount[i]};
        n_checked = part == 0 ? n : n_checked;
    }
    return n_checked;
}

static void cut_class(cutter *c, const ks_class_spec *s, ks_class *out) {
    out->n_request = count_amounts(&s->request);
    out->request = cut(c, NULL, (size_t)out->n_request * sizeof(ks_amount));
    if (out->request != NULL)
        out->n_checked = fill_amounts(out->request, &s->request, s->unchecked);
    out->n_fit_request = count_amounts(&s->fit_request);
    out->fit_request = cut(c, NULL, (size_t)out->n_fit_request * sizeof(ks_amount));
    if (out->fit_request != NULL)
        fill_amounts(out->fit_request, &s->fit_request, NULL);
    out->n_tolerations = s->n_tolerations;
    out->toleration = cut(c, NULL, (size_t)s->n_tolerations * 4 * sizeof(int32_t));
    for (int32_t i = 0; out->toleration != NULL && i < s->n_tolerations; i++) {
        out->toleration[4 * i] = s->toleration_key[i];
        out->toleration[4 * i + 1] = s->toleration_op[i];
        out->toleration[4 * i + 2] = s->toleration_value[i];
        out->toleration[4 * i + 3] = s->toleration_effect[i];
    }
    cut_selector(c, &s->node_selector, &out->selector);
    cut_selector(c, &s->required, &out->required);
    cut_selector(c, &s->preferred, &out->preferred);
    cut_selector(c, &s->enforced, &out->enforced);
    out->n_ports = s->n_ports;
    out->port = cut(c, s->port, (size_t)s->n_ports * sizeof(int32_t));
    out->n_images = s->n_images;
    out->image = cut(c, s->image, (size_t)s->n_images * sizeof(int32_t));
}

ks_status ks_class_add(ks_engine *e, const ks_class_spec *spec, int32_t *out_id) {
    if (e == NULL || spec == NULL || out_id == NULL)
        return KS_EINVAL;
    KS_TRY(check_class(e, spec));
    if (e->classes.n >= INT32_MAX)
        return KS_EOVERFLOW;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->classes, e->classes.n + 1));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->free_classes, e->classes.n + 1)); /* giving up needs no memory */
    ks_class made = {0};
    cutter measure = {NULL, 0};
    cut_class(&measure, spec, &made);
    made = (ks_class){0};
    KS_TRY(ks_reserve(&e->mem, &made.block, &made.block_bytes, (int64_t)measure.used, 1));
    cutter fill = {made.block, 0};
    cut_class(&fill, spec, &made);
    made.nonzero_cpu = spec->nonzero_cpu;
    made.nonzero_memory = spec->nonzero_memory;
    made.node_name = spec->node_name;
    made.tolerates_unschedulable = spec->tolerates_unschedulable != 0;
    made.has_required = spec->has_required != 0;
    made.has_enforced = spec->has_enforced != 0;
    made.by_node = looks_at_node(&spec->node_selector) || looks_at_node(&spec->required) ||
                   looks_at_node(&spec->preferred) || looks_at_node(&spec->enforced);
    made.n_image_containers = spec->n_image_containers;
    made.device_count = spec->device_count;
    made.device_milli = spec->device_milli;
    made.device_models = spec->device_models;
    made.image_version = -1;
    *out_id = e->free_classes.n > 0 ? e->free_classes.at[--e->free_classes.n] : (int32_t)e->classes.n++;
    e->classes.at[*out_id] = made;
    return KS_OK;
}

/* ---- caches ---- */

static ks_status prepare_labels(ks_engine *e, ks_class *c) {
    int32_t n = KS_N_LABEL_SETS(e);
    if (c->by_node || c->n_label == n)
        return KS_OK;
    KS_TRY(ks_reserve(&e->mem, (void **)&c->label_pass, &c->label_cap, n, sizeof(uint8_t)));
    KS_TRY(ks_reserve(&e->mem, (void **)&c->label_own, &c->label_own_cap, n, sizeof(uint8_t)));
    KS_TRY(ks_reserve(&e->mem, (void **)&c->label_pref, &c->label_pref_cap, n, sizeof(int32_t)));
    for (int32_t i = (int32_t)c->n_label; i < n; i++) {
        c->label_own[i] = ks_affinity_passes(e, c, i, KS_NONE, KS_NONE);
        c->label_pass[i] = c->label_own[i] && ks_enforced_passes(e, c, i, KS_NONE, KS_NONE);
        c->label_pref[i] = ks_terms_weight(e, &c->preferred, i, KS_NONE, KS_NONE);
    }
    c->n_label = n;
    return KS_OK;
}

static ks_status prepare_taints(ks_engine *e, ks_class *c) {
    int32_t n = KS_N_TAINT_SETS(e);
    if (c->n_taint == n)
        return KS_OK;
    KS_TRY(ks_reserve(&e->mem, (void **)&c->taint_pass, &c->taint_cap, n, sizeof(uint8_t)));
    KS_TRY(ks_reserve(&e->mem, (void **)&c->taint_pref, &c->taint_pref_cap, n, sizeof(int32_t)));
    for (int32_t i = (int32_t)c->n_taint; i < n; i++) {
        bool passes;
        ks_taints_judge(e, c, i, &passes, &c->taint_pref[i]);
        c->taint_pass[i] = passes;
    }
    c->n_taint = n;
    return KS_OK;
}

static ks_status prepare_images(ks_engine *e, ks_class *c) {
    int32_t n = KS_N_IMAGE_SETS(e);
    if (c->n_image_score == n && c->image_version == e->sets.image_version)
        return KS_OK;
    KS_TRY(ks_reserve(&e->mem, (void **)&c->image_score, &c->image_cap, n, sizeof(int32_t)));
    for (int32_t i = 0; i < n; i++)
        c->image_score[i] = c->n_images == 0 ? 0 : ks_image_priority(e, c, i);
    c->n_image_score = n;
    c->image_version = e->sets.image_version;
    return KS_OK;
}

ks_status ks_class_prepare(ks_engine *e, ks_class *c) {
    KS_TRY(prepare_labels(e, c));
    KS_TRY(prepare_taints(e, c));
    return prepare_images(e, c);
}

static void discard(ks_engine *e, ks_class *c) {
    ks_discard(&e->mem, (void **)&c->label_pass, &c->label_cap, sizeof(uint8_t));
    ks_discard(&e->mem, (void **)&c->label_own, &c->label_own_cap, sizeof(uint8_t));
    ks_discard(&e->mem, (void **)&c->label_pref, &c->label_pref_cap, sizeof(int32_t));
    ks_discard(&e->mem, (void **)&c->taint_pass, &c->taint_cap, sizeof(uint8_t));
    ks_discard(&e->mem, (void **)&c->taint_pref, &c->taint_pref_cap, sizeof(int32_t));
    ks_discard(&e->mem, (void **)&c->image_score, &c->image_cap, sizeof(int32_t));
    ks_discard(&e->mem, &c->block, &c->block_bytes, 1);
    ks_class_pairwise_free(e, c);
    ks_class_verdicts_free(e, c);
    ks_cells_free(e, c);
    ks_class_evictions_free(e, c);
}

/* ---- giving up ---- */

static bool is_nominated(const ks_engine *e, int32_t class_id) {
    for (int64_t i = 0; i < e->nominated.n; i++)
        if (e->nominated.at[i].row != KS_NONE && e->nominated.at[i].class_id == class_id)
            return true;
    return false;
}

static ks_status check_unused(ks_engine *e, int32_t n, const int32_t *class_id) {
    for (int32_t i = 0; i < n; i++)
        if (!ks_has_class(e, class_id[i]))
            return KS_ERANGE;
    for (int32_t i = 0; i < n; i++)
        if (e->classes.at[class_id[i]].n_pods > 0 || is_nominated(e, class_id[i]))
            return KS_ESTATE;
    return e->n_marks > 0 ? KS_ESTATE : KS_OK;
}

ks_status ks_classes_remove(ks_engine *e, int32_t n, const int32_t *class_id) {
    if (e == NULL || n < 0 || (n > 0 && class_id == NULL))
        return KS_EINVAL;
    KS_TRY(check_unused(e, n, class_id));
    for (int32_t i = 0; i < n; i++) {
        ks_class *c = &e->classes.at[class_id[i]];
        if (c->is_gone)
            continue; /* it stands in the list twice */
        ks_indexes_lose(e, class_id[i]);
        discard(e, c);
        *c = (ks_class){.is_gone = true};
        e->free_classes.at[e->free_classes.n++] = class_id[i];
    }
    ks_tallies_drop_gone(e);
    return KS_OK;
}

void ks_classes_free(ks_engine *e) {
    for (int64_t i = 0; i < e->classes.n; i++)
        discard(e, &e->classes.at[i]);
    KS_VEC_DISCARD(&e->mem, &e->classes);
    KS_VEC_DISCARD(&e->mem, &e->free_classes);
}
