/* SPDX-License-Identifier: Apache-2.0
 * account.c: pods on nodes: what a bind adds and a release takes back. Checked first, changed afterwards. */
#include "internal.h"

#include <string.h> /* memmove */

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
    ks_row_list *list = &e->ports.at[row]; /* ascending: the same pods make the same list, whatever came between */
    for (int32_t i = 0; i < c->n_ports; i++) {
        int64_t at = 0;
        while (at < list->n && list->at[at] < c->port[i])
            at++;
        size_t rest = (size_t)(list->n - at) * sizeof *list->at;
        if (bind) {
            memmove(&list->at[at + 1], &list->at[at], rest);
            list->at[at] = c->port[i];
            list->n++;
        } else if (at < list->n && list->at[at] == c->port[i]) {
            memmove(&list->at[at], &list->at[at + 1], rest - sizeof *list->at);
            list->n--;
        }
    }
}

static void account_devices(ks_engine *e, const ks_class *c, int32_t row, uint64_t devices, int32_t sign) {
    int32_t *left = &e->device_free.at[(int64_t)row * e->device_stride];
    for (int32_t d = 0; d < e->device_count.at[row]; d++)
        if ((devices >> d & 1u) != 0)
            left[d] -= sign * c->device_milli;
    e->device_kinds.at[(int64_t)row * KS_KINDS(e) + ks_device_kind(c)] += sign;
}

/* While a speculation is open, remembers how to take a change back (undo.c). */
static ks_status remember(ks_engine *e, ks_undo_entry entry) {
    if (e->n_marks == 0)
        return KS_OK;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->undo, e->undo.n + 1));
    e->undo.at[e->undo.n++] = entry;
    return KS_OK;
}

/* Everything is checked and there is room for it. */
static void change(ks_engine *e, int32_t class_id, int32_t row, uint64_t devices, int64_t at, bool bind) {
    const ks_class *c = &e->classes.at[class_id];
    int64_t sign = bind ? 1 : -1;
    for (int32_t i = 0; i < c->n_request; i++)
        e->used[c->request[i].resource][row] += sign * c->request[i].amount;
    e->used[KS_PODS][row] += sign;
    ks_pods_count(e, class_id, row, (int32_t)sign, at);
    e->nonzero_cpu.at[row] += sign * c->nonzero_cpu;
    e->nonzero_memory.at[row] += sign * c->nonzero_memory;
    if (c->n_ports > 0)
        account_ports(e, c, row, bind);
    if (c->device_count > 0)
        account_devices(e, c, row, devices, (int32_t)sign);
}

ks_status ks_account(ks_engine *e, int32_t class_id, int32_t row, uint64_t devices, bool bind) {
    const ks_class *c = &e->classes.at[class_id];
    if (!e->live.at[row])
        return KS_ERANGE;
    KS_TRY(check_amounts(e, c, row, bind));
    KS_TRY(check_devices(e, c, row, devices, bind));
    if (!e->quiet)
        KS_TRY(ks_log_reserve(e, 1));
    if (bind && c->n_ports > 0)
        KS_TRY(ks_row_list_reserve(&e->mem, &e->ports.at[row], e->ports.at[row].n + c->n_ports));
    if (bind)
        KS_TRY(ks_row_list_reserve(&e->mem, &e->pods.at[row], (int64_t)e->pods.at[row].n + 1));
    int64_t at = bind ? e->pods.at[row].n : ks_pods_find(e, class_id, row);
    if (!bind && at == e->pods.at[row].n)
        return KS_ESTATE;
    KS_TRY(remember(e, (ks_undo_entry){.devices = devices,
                                       .class_id = class_id,
                                       .node = row,
                                       .at = (int32_t)at,
                                       .what = bind ? KS_WAS_BIND : KS_WAS_RELEASE}));
    change(e, class_id, row, devices, at, bind);
    if (!e->quiet)
        ks_log_row(e, row, false);
    return KS_OK;
}

/* What was taken off comes back into memory that was never given away: lists do not shrink. */
void ks_account_undo(ks_engine *e, const ks_undo_entry *last) {
    if (last->what == KS_WAS_RECLASS)
        ks_pods_reclass(e, last->now, last->class_id, last->node, last->at);
    else
        change(e, last->class_id, last->node, last->devices, last->at, last->what == KS_WAS_RELEASE);
    if (e->quiet)
        return;
    ks_log_surely(e, last->node);
}

static ks_status check_pair(const ks_engine *e, int32_t class_id, int32_t row) {
    return !ks_has_class(e, class_id) || row < 0 || row >= e->n_rows ? KS_ERANGE : KS_OK;
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

static bool same_amounts(const ks_amount *a, int32_t n_a, const ks_amount *b, int32_t n_b) {
    for (int32_t i = 0; i < n_a; i++)
        if (ks_amount_of(b, n_b, a[i].resource) != a[i].amount)
            return false;
    return n_a == n_b;
}

/* Whether a pod of either class takes the same from its node. */
static bool takes_the_same(const ks_class *a, const ks_class *b) {
    return same_amounts(a->request, a->n_request, b->request, b->n_request) && a->nonzero_cpu == b->nonzero_cpu &&
           a->nonzero_memory == b->nonzero_memory && a->n_ports == b->n_ports &&
           (a->n_ports == 0 || memcmp(a->port, b->port, (size_t)a->n_ports * sizeof *a->port) == 0) &&
           a->device_count == b->device_count && a->device_milli == b->device_milli;
}

static ks_status check_reclass(const ks_engine *e, const ks_reclass_spec *s, int32_t i) {
    if (check_pair(e, s->from[i], s->node[i]) != KS_OK || !ks_has_class(e, s->to[i]))
        return KS_ERANGE;
    if (!takes_the_same(&e->classes.at[s->from[i]], &e->classes.at[s->to[i]]))
        return KS_EINVAL;
    int32_t handle = s->handle == NULL ? KS_NONE : s->handle[i];
    if (handle != KS_NONE &&
        (handle < 0 || handle >= e->known.pods.n || e->known.pods.at[handle].class_id != s->from[i]))
        return KS_ERANGE;
    return KS_OK;
}

ks_status ks_reclass(ks_engine *e, const ks_reclass_spec *s) {
    if (e == NULL || s == NULL || s->n < 0 || (s->n > 0 && (!s->from || !s->to || !s->node)))
        return KS_EINVAL;
    for (int32_t i = 0; i < s->n; i++)
        KS_TRY(check_reclass(e, s, i));
    KS_TRY(ks_log_reserve(e, s->n));
    for (int32_t i = 0; i < s->n; i++) {
        int64_t at = ks_pods_find(e, s->from[i], s->node[i]);
        if (at == e->pods.at[s->node[i]].n)
            return KS_ESTATE;
        KS_TRY(remember(e, (ks_undo_entry){.class_id = s->from[i],
                                           .node = s->node[i],
                                           .at = (int32_t)at,
                                           .now = s->to[i],
                                           .what = KS_WAS_RECLASS}));
        ks_pods_reclass(e, s->from[i], s->to[i], s->node[i], at);
        if (s->handle != NULL && s->handle[i] != KS_NONE)
            e->known.pods.at[s->handle[i]].class_id = s->to[i];
        ks_log_row(e, s->node[i], false);
    }
    return KS_OK;
}
