/* SPDX-License-Identifier: Apache-2.0
 * nodes.c: node columns, one row a node.
 *
 * A removed row stays (live = 0) until a caller writes it again, so that row numbers keep their meaning. */
#include "internal.h"

#include <string.h> /* memset, memmove */

/* ---- checks ---- */

static bool ids_below(const int32_t *id, int32_t n, int32_t lowest, int64_t end) {
    for (int32_t i = 0; id != NULL && i < n; i++)
        if (id[i] < lowest || id[i] >= end)
            return false;
    return true;
}

static ks_status check_rows(const ks_engine *e, const ks_node_rows *in) {
    if (in == NULL || in->n < 0 || (in->n > 0 && in->allocatable == NULL))
        return KS_EINVAL;
    int64_t extended = (int64_t)KS_FIRST_EXTENDED * in->n;
    for (int64_t i = 0; i < (int64_t)e->n_resources * in->n; i++)
        if (in->allocatable[i] < 0 || in->allocatable[i] > (i < extended ? KS_MAX_QUANTITY : KS_UNLIMITED))
            return in->allocatable[i] < 0 ? KS_EINVAL : KS_EOVERFLOW;
    if (!ids_below(in->label_set, in->n, 0, KS_N_LABEL_SETS(e)) ||
        !ids_below(in->taint_set, in->n, 0, KS_N_TAINT_SETS(e)) ||
        !ids_below(in->image_set, in->n, 0, KS_N_IMAGE_SETS(e)))
        return KS_ERANGE;
    if (!ids_below(in->device_count, in->n, 0, (int64_t)KS_MAX_DEVICES + 1) ||
        !ids_below(in->device_model, in->n, KS_NONE, KS_MAX_MODELS) ||
        !ids_below(in->name_id, in->n, KS_NONE, INT32_MAX) || !ids_below(in->hostname_value, in->n, KS_NONE, INT32_MAX))
        return KS_EINVAL;
    return KS_OK;
}

static ks_status check_existing(const ks_engine *e, const int32_t *row, int32_t n) {
    if (n > 0 && row == NULL)
        return KS_EINVAL;
    return ids_below(row, n, 0, e->n_rows) ? KS_OK : KS_ERANGE;
}

/* ---- room ---- */

static ks_status reserve_rows(ks_engine *e, int64_t rows) {
    for (int32_t r = 0; r < e->n_resources; r++) {
        KS_TRY(ks_reserve(&e->mem, (void **)&e->allocatable[r], &e->column_cap[2 * r], rows, sizeof(int64_t)));
        KS_TRY(ks_reserve(&e->mem, (void **)&e->used[r], &e->column_cap[2 * r + 1], rows, sizeof(int64_t)));
    }
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->nonzero_cpu, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->nonzero_memory, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->name_id, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->hostname_value, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->label_set, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->taint_set, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->image_set, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->unschedulable, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->live, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->device_count, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->device_model, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->ports, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->fragmented, rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->fragmented_valid, rows));
    KS_TRY(ks_columns_reserve(e, rows, e->n_columns));
    return KS_VEC_RESERVE(&e->mem, &e->last_log, rows);
}

/* Spreads the device columns over a wider stride, last row first so that nothing is overwritten unread. */
static void widen(int32_t *at, int64_t rows, int32_t from, int32_t to) {
    for (int64_t row = rows - 1; row >= 0; row--) {
        memmove(&at[row * to], &at[row * from], (size_t)from * sizeof *at);
        memset(&at[row * to + from], 0, (size_t)(to - from) * sizeof *at);
    }
}

static ks_status reserve_devices(ks_engine *e, int64_t rows, int32_t stride) {
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->device_free, rows * stride));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->device_kinds, rows * (stride + 1)));
    if (stride > e->device_stride) {
        widen(e->device_free.at, e->n_rows, e->device_stride, stride);
        widen(e->device_kinds.at, e->n_rows, e->device_stride + 1, stride + 1);
        e->device_stride = stride;
    }
    return KS_OK;
}

static int32_t widest(const ks_engine *e, const ks_node_rows *in) {
    int32_t stride = e->device_stride;
    for (int32_t i = 0; in->device_count != NULL && i < in->n; i++)
        if (in->device_count[i] > stride)
            stride = in->device_count[i];
    return stride;
}

/* ---- writing ---- */

static int32_t or_default(const int32_t *column, int32_t i, int32_t fallback) {
    return column == NULL ? fallback : column[i];
}

/* Everything of a row that the caller describes; usage and devices are left alone. */
static void describe(ks_engine *e, int32_t row, const ks_node_rows *in, int32_t i) {
    for (int32_t r = 0; r < e->n_resources; r++)
        e->allocatable[r][row] = in->allocatable[(int64_t)r * in->n + i];
    e->name_id.at[row] = or_default(in->name_id, i, KS_NONE);
    e->hostname_value.at[row] = or_default(in->hostname_value, i, KS_NONE);
    e->label_set.at[row] = or_default(in->label_set, i, 0);
    e->taint_set.at[row] = or_default(in->taint_set, i, 0);
    e->unschedulable.at[row] = in->unschedulable != NULL && in->unschedulable[i] != 0;
    e->device_model.at[row] = or_default(in->device_model, i, KS_NONE);
    int32_t image_set = or_default(in->image_set, i, 0);
    if (e->live.at[row])
        ks_images_count(e, e->image_set.at[row], -1);
    else
        e->n_live++;
    e->live.at[row] = 1;
    e->image_set.at[row] = image_set;
    ks_images_count(e, image_set, 1);
    e->beyond_scale |= ks_is_beyond_scale(e, row);
}

static void set_devices(ks_engine *e, int32_t row, int32_t count) {
    int32_t stride = e->device_stride;
    e->device_count.at[row] = count;
    for (int32_t d = 0; d < stride; d++)
        e->device_free.at[(int64_t)row * stride + d] = d < count ? KS_DEVICE_WHOLE : 0;
    memset(&e->device_kinds.at[(int64_t)row * KS_KINDS(e)], 0, (size_t)KS_KINDS(e) * sizeof(int32_t));
}

static void clear_usage(ks_engine *e, int32_t row) {
    for (int32_t r = 0; r < e->n_resources; r++)
        e->used[r][row] = 0;
    e->nonzero_cpu.at[row] = 0;
    e->nonzero_memory.at[row] = 0;
    e->ports.at[row].n = 0;
    ks_pods_clear(e, row);
    ks_known_clear(e, row);
    ks_columns_clear(e, row);
}

/* ---- calls ---- */

ks_status ks_nodes_add(ks_engine *e, const ks_node_rows *in, int32_t *first_row) {
    if (e == NULL || first_row == NULL)
        return KS_EINVAL;
    KS_TRY(check_rows(e, in));
    if (e->n_marks > 0)
        return KS_ESTATE;
    if ((int64_t)e->n_rows + in->n >= INT32_MAX)
        return KS_EOVERFLOW;
    int64_t rows = (int64_t)e->n_rows + in->n;
    bool few = in->n <= 64 || in->n <= e->n_rows / 4;
    KS_TRY(reserve_rows(e, rows));
    KS_TRY(ks_domains_reserve(e, rows, in));
    KS_TRY(reserve_devices(e, rows, widest(e, in)));
    KS_TRY(ks_log_reserve(e, few ? in->n : 1));
    *first_row = e->n_rows;
    e->n_rows = (int32_t)rows;
    e->order.n = 0;
    for (int32_t i = 0; i < in->n; i++) {
        int32_t row = *first_row + i;
        e->live.at[row] = 0;
        e->image_set.at[row] = 0;
        e->last_log.at[row] = -1;
        clear_usage(e, row);
        set_devices(e, row, or_default(in->device_count, i, 0));
        describe(e, row, in, i);
        ks_domains_set(e, row);
        if (few)
            ks_log_row(e, row, true);
    }
    if (!few)
        ks_log_all(e);
    return KS_OK;
}

static bool devices_are_free(const ks_engine *e, int32_t row) {
    for (int32_t d = 0; d < e->device_count.at[row]; d++)
        if (e->device_free.at[(int64_t)row * e->device_stride + d] != KS_DEVICE_WHOLE)
            return false;
    return true;
}

ks_status ks_nodes_update(ks_engine *e, const int32_t *row, const ks_node_rows *in) {
    if (e == NULL)
        return KS_EINVAL;
    KS_TRY(check_rows(e, in));
    KS_TRY(check_existing(e, row, in->n));
    if (e->n_marks > 0)
        return KS_ESTATE;
    for (int32_t i = 0; i < in->n; i++)
        if (e->live.at[row[i]] && or_default(in->device_count, i, 0) != e->device_count.at[row[i]] &&
            !devices_are_free(e, row[i]))
            return KS_ESTATE;
    KS_TRY(reserve_devices(e, e->n_rows, widest(e, in)));
    KS_TRY(ks_domains_reserve(e, e->n_rows, in));
    KS_TRY(ks_log_reserve(e, in->n));
    for (int32_t i = 0; i < in->n; i++) {
        int32_t count = or_default(in->device_count, i, 0);
        if (!e->live.at[row[i]]) {
            clear_usage(e, row[i]);
            e->order.n = 0;
        }
        if (!e->live.at[row[i]] || count != e->device_count.at[row[i]])
            set_devices(e, row[i], count);
        describe(e, row[i], in, i);
        ks_domains_set(e, row[i]);
        ks_log_row(e, row[i], true);
    }
    return KS_OK;
}

ks_status ks_nodes_remove(ks_engine *e, int32_t n, const int32_t *row) {
    if (e == NULL || n < 0)
        return KS_EINVAL;
    KS_TRY(check_existing(e, row, n));
    if (e->n_marks > 0)
        return KS_ESTATE;
    for (int32_t i = 0; i < n; i++)
        if (!e->live.at[row[i]])
            return KS_ERANGE;
    KS_TRY(ks_log_reserve(e, n));
    for (int32_t i = 0; i < n; i++) {
        if (!e->live.at[row[i]])
            continue; /* listed twice */
        ks_images_count(e, e->image_set.at[row[i]], -1);
        e->live.at[row[i]] = 0;
        e->n_live--;
        e->order.n = 0;
        clear_usage(e, row[i]);
        set_devices(e, row[i], 0);
        ks_domains_set(e, row[i]);
        ks_log_row(e, row[i], true);
    }
    return KS_OK;
}

bool ks_ports_in_use(const ks_engine *e, const ks_class *c, int32_t row) {
    const ks_row_list *list = &e->ports.at[row];
    for (int64_t i = 0; i < list->n; i++)
        for (int32_t j = 0; j < c->n_ports; j++)
            if (ks_ports_conflict(e, list->at[i], c->port[j]))
                return true;
    return false;
}

void ks_nodes_free(ks_engine *e) {
    for (int64_t i = 0; i < e->resource_cap_a && i < e->resource_cap_u && 2 * i + 1 < e->column_cap_cap; i++) {
        ks_discard(&e->mem, (void **)&e->allocatable[i], &e->column_cap[2 * i], sizeof(int64_t));
        ks_discard(&e->mem, (void **)&e->used[i], &e->column_cap[2 * i + 1], sizeof(int64_t));
    }
    ks_discard(&e->mem, (void **)&e->allocatable, &e->resource_cap_a, sizeof(int64_t *));
    ks_discard(&e->mem, (void **)&e->used, &e->resource_cap_u, sizeof(int64_t *));
    ks_discard(&e->mem, (void **)&e->column_cap, &e->column_cap_cap, sizeof(int64_t));
    for (int64_t i = 0; i < e->ports.cap; i++)
        ks_row_list_discard(&e->mem, &e->ports.at[i]);
    KS_VEC_DISCARD(&e->mem, &e->nonzero_cpu);
    KS_VEC_DISCARD(&e->mem, &e->nonzero_memory);
    KS_VEC_DISCARD(&e->mem, &e->name_id);
    KS_VEC_DISCARD(&e->mem, &e->hostname_value);
    KS_VEC_DISCARD(&e->mem, &e->label_set);
    KS_VEC_DISCARD(&e->mem, &e->taint_set);
    KS_VEC_DISCARD(&e->mem, &e->image_set);
    KS_VEC_DISCARD(&e->mem, &e->unschedulable);
    KS_VEC_DISCARD(&e->mem, &e->live);
    KS_VEC_DISCARD(&e->mem, &e->device_count);
    KS_VEC_DISCARD(&e->mem, &e->device_model);
    KS_VEC_DISCARD(&e->mem, &e->device_free);
    KS_VEC_DISCARD(&e->mem, &e->device_kinds);
    KS_VEC_DISCARD(&e->mem, &e->ports);
    KS_VEC_DISCARD(&e->mem, &e->fragmented);
    KS_VEC_DISCARD(&e->mem, &e->fragmented_valid);
}
