/* SPDX-License-Identifier: Apache-2.0
 * sets.c: interned label, taint and image sets, and host ports.
 *
 * A set is a run of a pool: start[id] .. start[id + 1]. Set 0 is empty. Sets are append-only: a fleet has few
 * distinct ones, and ids stay valid for the engine's life. */
#include "internal.h"

static ks_status first_set(ks_engine *e, ks_starts *starts) {
    KS_TRY(KS_VEC_RESERVE(&e->mem, starts, 2));
    starts->n = 2; /* both 0: set 0 is empty */
    return KS_OK;
}

ks_status ks_sets_init(ks_engine *e) {
    KS_TRY(first_set(e, &e->sets.label_start));
    KS_TRY(first_set(e, &e->sets.taint_start));
    return first_set(e, &e->sets.image_start);
}

void ks_sets_free(ks_engine *e) {
    KS_VEC_DISCARD(&e->mem, &e->sets.label);
    KS_VEC_DISCARD(&e->mem, &e->sets.label_start);
    KS_VEC_DISCARD(&e->mem, &e->sets.taint);
    KS_VEC_DISCARD(&e->mem, &e->sets.taint_start);
    KS_VEC_DISCARD(&e->mem, &e->sets.image);
    KS_VEC_DISCARD(&e->mem, &e->sets.image_start);
    KS_VEC_DISCARD(&e->mem, &e->sets.port);
    KS_VEC_DISCARD(&e->mem, &e->sets.images);
}

/* Closes the run that was just appended and names it. */
static void close_set(ks_sets *s, ks_starts *starts, int64_t pool_end, int32_t *out_id) {
    *out_id = (int32_t)(starts->n - 1);
    s->version++;
    starts->at[starts->n++] = (int32_t)pool_end;
}

static ks_status check_room(int64_t pool, int64_t starts, int32_t n) {
    return pool + n > INT32_MAX || starts >= INT32_MAX ? KS_EOVERFLOW : KS_OK;
}

ks_status ks_label_set_add(ks_engine *e, int32_t n, const int32_t *key, const int32_t *value, const int64_t *number,
                           const uint8_t *is_number, int32_t *out_id) {
    if (e == NULL || out_id == NULL || n < 0 || (n > 0 && (!key || !value || !number || !is_number)))
        return KS_EINVAL;
    for (int32_t i = 0; i < n; i++)
        if (key[i] < 0 || value[i] < 0 || (i > 0 && key[i] <= key[i - 1]))
            return KS_EINVAL;
    ks_sets *s = &e->sets;
    KS_TRY(check_room(s->label.n, s->label_start.n, n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->label, s->label.n + n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->label_start, s->label_start.n + 1));
    for (int32_t i = 0; i < n; i++)
        s->label.at[s->label.n++] = (ks_label){number[i], key[i], value[i], is_number[i] != 0};
    close_set(s, &s->label_start, s->label.n, out_id);
    return KS_OK;
}

ks_status ks_taint_set_add(ks_engine *e, int32_t n, const int32_t *key, const int32_t *value, const int32_t *effect,
                           int32_t *out_id) {
    if (e == NULL || out_id == NULL || n < 0 || (n > 0 && (!key || !value || !effect)))
        return KS_EINVAL;
    for (int32_t i = 0; i < n; i++)
        if (key[i] < 0 || value[i] < 0 || effect[i] < KS_EFFECT_NO_SCHEDULE || effect[i] > KS_EFFECT_NO_EXECUTE)
            return KS_EINVAL;
    ks_sets *s = &e->sets;
    KS_TRY(check_room(s->taint.n, s->taint_start.n, n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->taint, s->taint.n + n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->taint_start, s->taint_start.n + 1));
    for (int32_t i = 0; i < n; i++)
        s->taint.at[s->taint.n++] = (ks_taint){key[i], value[i], effect[i]};
    close_set(s, &s->taint_start, s->taint.n, out_id);
    return KS_OK;
}

ks_status ks_image_set_add(ks_engine *e, int32_t n, const int32_t *image, const int64_t *size, int32_t *out_id) {
    if (e == NULL || out_id == NULL || n < 0 || (n > 0 && (!image || !size)))
        return KS_EINVAL;
    ks_sets *s = &e->sets;
    int64_t n_images = s->images.n;
    for (int32_t i = 0; i < n; i++) {
        if (image[i] < 0)
            return KS_EINVAL;
        if (size[i] < 0 || size[i] > KS_MAX_QUANTITY)
            return KS_EOVERFLOW;
        if (image[i] >= n_images)
            n_images = (int64_t)image[i] + 1;
    }
    KS_TRY(check_room(s->image.n, s->image_start.n, n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->images, n_images));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->image, s->image.n + n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &s->image_start, s->image_start.n + 1));
    s->images.n = n_images;
    for (int32_t i = 0; i < n; i++)
        s->image.at[s->image.n++] = (ks_image_size){size[i], image[i]};
    close_set(s, &s->image_start, s->image.n, out_id);
    return KS_OK;
}

ks_status ks_port_add(ks_engine *e, int32_t ip, int32_t protocol, int32_t port, int32_t *out_id) {
    if (e == NULL || out_id == NULL || ip < 0 || protocol < 0 || port < 1 || port > 65535)
        return KS_EINVAL;
    if (e->sets.port.n >= INT32_MAX)
        return KS_EOVERFLOW;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->sets.port, e->sets.port.n + 1));
    *out_id = (int32_t)e->sets.port.n;
    e->sets.port.at[e->sets.port.n++] = (ks_port){ip, protocol, port};
    return KS_OK;
}

/* The wildcard address meets every address; otherwise addresses must be equal. Source: HostPortInfo, v1.36. */
bool ks_ports_conflict(const ks_engine *e, int32_t a, int32_t b) {
    const ks_port *p = &e->sets.port.at[a], *q = &e->sets.port.at[b];
    return p->port == q->port && p->protocol == q->protocol && (p->ip == q->ip || p->ip == 0 || q->ip == 0);
}

/* A node with this image set came (sign 1) or went (-1). The first node that has an image fixes its size, the last
 * one to leave takes it away. Source: cache.addNodeImageStates, v1.36. */
void ks_images_count(ks_engine *e, int32_t image_set, int32_t sign) {
    ks_sets *s = &e->sets;
    bool scores_change = s->n_images_present > 0; /* the number of nodes is a divisor of every image score */
    for (int32_t i = s->image_start.at[image_set]; i < s->image_start.at[image_set + 1]; i++) {
        ks_image *image = &s->images.at[s->image.at[i].image];
        if (sign > 0 && image->n_nodes == 0) {
            image->size = s->image.at[i].size;
            s->n_images_present++;
        }
        image->n_nodes += sign;
        if (image->n_nodes == 0)
            s->n_images_present--;
    }
    if (scores_change || s->n_images_present > 0) {
        s->image_version++;
        s->version++;
    }
}
