/* SPDX-License-Identifier: Apache-2.0
 *
 * holds.c: what single pods hold of volumes: attachments, disks, and claims that one pod alone may use.
 *
 * Deciding needs none of it: the caller's verdict columns say where volumes let a class in. In a trial pods leave a row
 * or come to it, and then VolumeRestrictions and NodeVolumeLimits may say something else there. What they say follows
 * from what the row's pods hold, a few items each, so it is counted when it is asked, on this row only. VolumeBinding
 * and VolumeZone do not depend on who runs on a node; their columns stay right. Sources:
 * plugins/{volumerestrictions,nodevolumelimits}, v1.36. */
#include "internal.h"

#include <string.h> /* memcpy */

/* Lists are pairs: at[i] is an item (or a driver), at[i + 1] its kind (or a limit). */

static const ks_row_list NOTHING;

static const ks_row_list *list_of(const ks_row_lists *table, int64_t at) {
    return at < table->cap ? &table->at[at] : &NOTHING;
}

static ks_status check(const ks_holds_spec *s, int32_t n, bool are_limits) {
    if (s == NULL || n < 0 || s->start == NULL || s->start[0] != 0)
        return KS_EINVAL;
    for (int32_t i = 0; i < n; i++)
        if (s->start[i + 1] < s->start[i])
            return KS_EINVAL;
    if (s->start[n] > 0 && (s->item == NULL || s->kind == NULL))
        return KS_EINVAL;
    for (int32_t i = 0; i < s->start[n]; i++)
        if (s->item[i] < 0 || (!are_limits && s->kind[i] < KS_HOLD_ONE_POD))
            return KS_ERANGE;
    return KS_OK;
}

static ks_status fill(ks_engine *e, ks_row_list *list, const ks_holds_spec *s, int32_t i, bool are_limits) {
    int32_t n = s->start[i + 1] - s->start[i];
    KS_TRY(ks_row_list_reserve(&e->mem, list, 2 * (int64_t)n));
    for (int32_t k = 0; k < n; k++) {
        list->at[2 * k] = s->item[s->start[i] + k];
        list->at[2 * k + 1] = s->kind[s->start[i] + k];
        if (!are_limits)
            KS_TRY(KS_VEC_RESERVE(&e->mem, &e->holds.stamp, (int64_t)list->at[2 * k] + 1));
    }
    list->n = 2 * n;
    return KS_OK;
}

/* Row that the list is about; KS_NONE: none at the moment. */
static int32_t row_of(const ks_engine *e, int32_t of, int32_t at) {
    if (of == KS_HOLDS_POD)
        return e->known.pods.at[at].row;
    return of == KS_HOLDS_NOMINATED ? e->nominated.at[at].row : at;
}

ks_status ks_holds_set(ks_engine *e, int32_t of, int32_t n, const int32_t *at, const ks_holds_spec *s) {
    if (e == NULL || of < 0 || of >= KS_N_HOLDS || (n > 0 && at == NULL))
        return KS_EINVAL;
    KS_TRY(check(s, n, of == KS_HOLDS_LIMIT));
    int64_t size = of == KS_HOLDS_POD ? e->known.pods.n : of == KS_HOLDS_NOMINATED ? e->nominated.n : e->n_rows;
    for (int32_t i = 0; i < n; i++)
        if (at[i] < 0 || at[i] >= size)
            return KS_ERANGE;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->holds.of[of], size));
    KS_TRY(ks_log_reserve(e, n));
    for (int32_t i = 0; i < n; i++) {
        KS_TRY(fill(e, &e->holds.of[of].at[at[i]], s, i, of == KS_HOLDS_LIMIT));
        if (row_of(e, of, at[i]) >= 0)
            ks_log_row(e, row_of(e, of, at[i]), false);
    }
    return KS_OK;
}

ks_status ks_holds_codes(ks_engine *e, uint8_t disk, uint8_t in_use, uint8_t too_many) {
    if (e == NULL || disk == 0 || in_use == 0 || too_many == 0)
        return KS_EINVAL;
    e->holds.disk_code = disk;
    e->holds.in_use_code = in_use;
    e->holds.too_many_code = too_many;
    return KS_OK;
}

ks_status ks_holds_check(const ks_holds_spec *s, int32_t n) { return check(s, n, false); }

ks_status ks_holds_ask(ks_engine *e, const ks_holds_spec *s, int32_t i, int32_t in_use, bool are_new) {
    e->holds.in_use = in_use;
    e->holds.are_new = are_new;
    e->holds.asker.n = 0;
    return s == NULL ? KS_OK : fill(e, &e->holds.asker, s, i, false);
}

ks_status ks_asking_holds(ks_engine *e, const ks_holds_spec *s, int32_t in_use, int32_t are_new) {
    if (e == NULL || in_use < 0)
        return KS_EINVAL;
    if (s != NULL)
        KS_TRY(check(s, 1, false));
    return ks_holds_ask(e, s, 0, in_use, are_new != 0);
}

void ks_holds_move_to(ks_engine *e, int32_t handle) {
    if (e->holds.asker.n == 0)
        return; /* perhaps there is no room, and a new handle holds nothing anyway */
    ks_row_list *to = &e->holds.of[KS_HOLDS_POD].at[handle], before = *to;
    *to = e->holds.asker;
    e->holds.asker = before;
    e->holds.asker.n = 0;
}

void ks_holds_drop(ks_engine *e, int32_t of, int32_t at) {
    if (at < e->holds.of[of].cap)
        e->holds.of[of].at[at].n = 0;
}

/* ---- one row ---- */

static bool is_listed(int32_t what, int32_t n, const int32_t *list) {
    for (int32_t i = 0; i < n; i++)
        if (list[i] == what)
            return true;
    return false;
}

/* Walks what the pods hold that are on the row after the move: `*at` counts pods, first the known ones. NULL: no more.
 */
static const ks_row_list *next_list(const ks_engine *e, int32_t row, const ks_moved *moved, int32_t *at) {
    const ks_row_list *on = list_of(&e->known.on, row), *held;
    while (*at < on->n) {
        int32_t handle = on->at[(*at)++];
        held = list_of(&e->holds.of[KS_HOLDS_POD], handle);
        if (held->n > 0 && !is_listed(handle, moved->n_gone, moved->gone))
            return held;
    }
    if (*at - on->n < moved->n_come)
        return list_of(&e->holds.of[KS_HOLDS_NOMINATED], moved->come[(*at)++ - on->n]);
    return NULL;
}

static int32_t count_new(ks_engine *e, const ks_row_list *held, int32_t driver) {
    int32_t n = 0;
    for (int32_t i = 0; i < held->n; i += 2) {
        int32_t *stamp = &e->holds.stamp.at[held->at[i]];
        if (held->at[i + 1] != driver || *stamp == e->holds.clock)
            continue;
        *stamp = e->holds.clock;
        n++;
    }
    return n;
}

/* Distinct volumes of the driver on the row; *more: those of the asker that no pod there holds. What holds a volume
 * without being a pod does not save the asker from counting it again. */
static int32_t count_used(ks_engine *e, int32_t row, const ks_moved *moved, int32_t driver, int32_t *more) {
    int32_t used = 0, at = 0;
    const ks_row_list *held, *asker = &e->holds.asker;
    if (++e->holds.clock == INT32_MAX) {
        memset(e->holds.stamp.at, 0, (size_t)e->holds.stamp.cap * sizeof(int32_t));
        e->holds.clock = 1;
    }
    while ((held = next_list(e, row, moved, &at)) != NULL)
        used += count_new(e, held, driver);
    *more = 0;
    for (int32_t i = 0; i < asker->n; i += 2)
        *more += asker->at[i + 1] == driver && e->holds.stamp.at[asker->at[i]] != e->holds.clock;
    return used + count_new(e, list_of(&e->holds.of[KS_HOLDS_ATTACHED], row), driver);
}

static bool asks_for(const ks_row_list *asker, int32_t driver) {
    for (int32_t i = 0; i < asker->n; i += 2)
        if (asker->at[i + 1] == driver)
            return true;
    return false;
}

static bool are_too_many(ks_engine *e, int32_t row, const ks_moved *moved) {
    const ks_row_list *limit = list_of(&e->holds.of[KS_HOLDS_LIMIT], row);
    for (int32_t i = 0; i < limit->n; i += 2) {
        int32_t more = 0, used = 0;
        if (asks_for(&e->holds.asker, limit->at[i]))
            used = count_used(e, row, moved, limit->at[i], &more);
        if (more > 0 && (int64_t)used + more > limit->at[i + 1])
            return true;
    }
    return false;
}

static bool clash(const ks_row_list *asker, const ks_row_list *held) {
    for (int32_t i = 0; i < asker->n; i += 2)
        for (int32_t k = 0; asker->at[i + 1] < 0 && k < held->n; k += 2)
            if (asker->at[i] == held->at[k] &&
                (asker->at[i + 1] == KS_HOLD_DISK_WRITTEN || held->at[k + 1] == KS_HOLD_DISK_WRITTEN))
                return true;
    return false;
}

static int32_t uses_of(const ks_row_list *asker, const ks_row_list *held) {
    int32_t n = 0;
    for (int32_t k = 0; k < held->n; k += 2) {
        bool is_use = false;
        for (int32_t i = 0; held->at[k + 1] == KS_HOLD_ONE_POD && i < asker->n; i += 2)
            is_use |= asker->at[i] == held->at[k] && asker->at[i + 1] == KS_HOLD_ONE_POD;
        n += is_use;
    }
    return n;
}

/* A claim that is in use counts once, and every use that goes or comes counts for itself, as upstream has it. */
static uint8_t is_restricted(const ks_engine *e, int32_t row, const ks_moved *moved) {
    const ks_row_list *held, *asker = &e->holds.asker;
    int32_t at = 0, in_use = e->holds.in_use;
    while ((held = next_list(e, row, moved, &at)) != NULL)
        if (clash(asker, held))
            return e->holds.disk_code;
    for (int32_t i = 0; i < moved->n_gone; i++)
        in_use -= uses_of(asker, list_of(&e->holds.of[KS_HOLDS_POD], moved->gone[i]));
    for (int32_t i = 0; i < moved->n_come; i++)
        in_use += uses_of(asker, list_of(&e->holds.of[KS_HOLDS_NOMINATED], moved->come[i]));
    return in_use > 0 ? e->holds.in_use_code : 0;
}

uint8_t ks_holds_fail(ks_engine *e, int32_t filter, int32_t row, const ks_moved *moved) {
    if (filter == KS_FILTER_VOLUME_RESTRICTIONS)
        return is_restricted(e, row, moved);
    return are_too_many(e, row, moved) ? e->holds.too_many_code : 0;
}

bool ks_holds_are_near(ks_engine *e, int32_t row, int32_t most) {
    const ks_row_list *limit = list_of(&e->holds.of[KS_HOLDS_LIMIT], row);
    ks_moved nothing = {0, NULL, 0, NULL};
    int32_t more;
    for (int32_t i = 0; i < limit->n; i += 2)
        if (limit->at[i + 1] - (int64_t)count_used(e, row, &nothing, limit->at[i], &more) < most)
            return true;
    return false;
}

void ks_holds_free(ks_engine *e) {
    for (int32_t of = 0; of < KS_N_HOLDS; of++) {
        for (int64_t i = 0; i < e->holds.of[of].cap; i++)
            ks_row_list_discard(&e->mem, &e->holds.of[of].at[i]);
        KS_VEC_DISCARD(&e->mem, &e->holds.of[of]);
    }
    KS_VEC_DISCARD(&e->mem, &e->holds.stamp);
    ks_row_list_discard(&e->mem, &e->holds.asker);
}
