/* SPDX-License-Identifier: Apache-2.0
 * dra.c: the search for devices of claims, over pools that the caller describes once.
 *
 * Claims in order, requests in order, devices in the order of the pools; the first solution is taken, and which one
 * that is decides where later pods fit. So this follows upstream's search step by step, with what it leaves behind
 * where a candidate fails late: counters stay counted, constraints and claims stay noted, for the rest of the search.
 * Source: dynamic-resource-allocation/structured/internal/incubating (allocator, constraint), v1.36.
 */
#include "internal.h"

#include <string.h> /* memcpy, memset */

/* Billionths of anything: 80Gi of them do not fit 64 bits. */
__extension__ typedef __int128 wide;

typedef struct entry {
    wide amount;
    int32_t name;
} entry;
typedef KS_VEC(entry) entries;

/* A run of amounts that many contents share: they mostly differ in attributes alone, and the search reads them all. */
typedef struct run {
    int32_t start, n;
} run;

typedef struct content {
    run uses;     /* counters that a device consumes */
    run capacity; /* by name of the capacity */
    bool is_shared;
} content;

typedef struct device {
    entries consumed; /* capacity that shares of all claims consume; zeros stay */
    int32_t whole;    /* claims that hold it */
    int32_t shares;
    int32_t family; /* the pool that it belongs to, whoever sees it; KS_NONE: no pool does */
    /* of the search that goes on */
    uint64_t taking; /* claims that take it as a whole, one bit each */
    int32_t part;    /* first of what shares take, in search->parts */
    bool in_part;    /* a share was taken */
} device;

typedef struct member {
    int32_t device;
    int32_t content;
    bool is_here; /* the device reaches the node */
} member;
typedef KS_VEC(member) members;

typedef struct pool {
    members members;
    members elsewhere; /* devices that other nodes see and that consume its counters */
    entries counters;
    entries left;      /* counters that held devices leave, valid at `stamp` of the family; may be negative */
    KS_VEC(wide) used; /* counters that the search counts, valid while the pool owns the space of its name */
    int64_t stamp;
    int32_t n_over; /* counters of which less than nothing is left */
    int32_t family;
    int32_t name; /* counters are counted by the name of the pool alone */
    bool is_usable;
} pool;

/* A capacity of a device that shares take during a search. */
typedef struct part {
    wide used;
    int32_t name;
    int32_t next;
} part;

/* Counters of pools of one name, during a search: those of the pool that was counted first are the ones that count. */
typedef struct space {
    int64_t epoch; /* search in which the owner was set */
    int32_t owner;
} space;

typedef struct pick {
    int32_t plan, pool, device;
} pick;

typedef struct constraint {
    int32_t n;
    int32_t value;
} constraint;

struct ks_dra {
    ks_memory mem;
    KS_VEC(content) contents;
    entries amounts;  /* of contents */
    KS_VEC(run) runs; /* in it, distinct, oldest first */
    KS_VEC(device) devices;
    KS_VEC(pool) pools;
    KS_VEC(int64_t) stamps; /* by family: changes of its devices */
    KS_VEC(space) spaces;   /* by name of a pool */
    int64_t epoch;
    /* of the search that goes on */
    KS_VEC(part) parts;
    KS_VEC(int32_t) touched; /* devices whose fields of the search are set */
    KS_VEC(pick) picks;      /* [claims][KS_DRA_MAX_RESULTS] */
    KS_VEC(int32_t) n_picks;
    KS_VEC(constraint) constraints;
    KS_VEC(int32_t) by_request; /* [constraints][requests]: value that a request has under a distinct constraint */
    KS_VEC(pick) everything;    /* devices of requests for all, one run a plan */
    KS_VEC(int32_t) first_of;   /* [plans + 1] */
    KS_VEC(int32_t) n_of;       /* [plans] devices wanted */
};

/* ---- life ---- */

ks_status ks_dra_new(ks_dra **out) {
    ks_memory mem;
    ks_memory_default(&mem);
    return ks_dra_new_with(&mem.allocator, out);
}

ks_status ks_dra_new_with(const ks_allocator *allocator, ks_dra **out) {
    if (allocator == NULL || out == NULL)
        return KS_EINVAL;
    ks_dra *d = allocator->resize(allocator->context, NULL, 0, sizeof *d);
    if (d == NULL)
        return KS_ENOMEM;
    memset(d, 0, sizeof *d);
    d->mem.allocator = *allocator;
    *out = d;
    return KS_OK;
}

void ks_dra_free(ks_dra *d) {
    if (d == NULL)
        return;
    for (int64_t i = 0; i < d->devices.cap; i++)
        KS_VEC_DISCARD(&d->mem, &d->devices.at[i].consumed);
    for (int64_t i = 0; i < d->pools.cap; i++) {
        KS_VEC_DISCARD(&d->mem, &d->pools.at[i].members);
        KS_VEC_DISCARD(&d->mem, &d->pools.at[i].elsewhere);
        KS_VEC_DISCARD(&d->mem, &d->pools.at[i].counters);
        KS_VEC_DISCARD(&d->mem, &d->pools.at[i].left);
        KS_VEC_DISCARD(&d->mem, &d->pools.at[i].used);
    }
    KS_VEC_DISCARD(&d->mem, &d->contents);
    KS_VEC_DISCARD(&d->mem, &d->amounts);
    KS_VEC_DISCARD(&d->mem, &d->runs);
    KS_VEC_DISCARD(&d->mem, &d->devices);
    KS_VEC_DISCARD(&d->mem, &d->pools);
    KS_VEC_DISCARD(&d->mem, &d->stamps);
    KS_VEC_DISCARD(&d->mem, &d->spaces);
    KS_VEC_DISCARD(&d->mem, &d->parts);
    KS_VEC_DISCARD(&d->mem, &d->touched);
    KS_VEC_DISCARD(&d->mem, &d->picks);
    KS_VEC_DISCARD(&d->mem, &d->n_picks);
    KS_VEC_DISCARD(&d->mem, &d->constraints);
    KS_VEC_DISCARD(&d->mem, &d->by_request);
    KS_VEC_DISCARD(&d->mem, &d->everything);
    KS_VEC_DISCARD(&d->mem, &d->first_of);
    KS_VEC_DISCARD(&d->mem, &d->n_of);
    ks_allocator allocator = d->mem.allocator;
    allocator.resize(allocator.context, d, sizeof *d, 0);
}

/* ---- what there is ---- */

static wide read_wide(const uint64_t *pair) {
    __extension__ typedef unsigned __int128 unsigned_wide;
    return (wide)((unsigned_wide)pair[1] << 64 | pair[0]);
}

static ks_status read_entries(ks_memory *mem, entries *to, int32_t n, const int32_t *name, const uint64_t *amount) {
    if (n < 0 || (n > 0 && (name == NULL || amount == NULL)))
        return KS_EINVAL;
    KS_TRY(KS_VEC_RESERVE(mem, to, n));
    for (int32_t i = 0; i < n; i++)
        to->at[i] = (entry){read_wide(amount + (size_t)i * 2), name[i]};
    to->n = n;
    return KS_OK;
}

enum { RECENT = 64 }; /* arbitrary: runs that a new one is compared with */

static bool is_run(const ks_dra *d, run r, int32_t n, const int32_t *name, const uint64_t *amount) {
    if (r.n != n)
        return false;
    for (int32_t i = 0; i < n; i++) {
        const entry *one = &d->amounts.at[r.start + i];
        if (one->name != name[i] || one->amount != read_wide(amount + (size_t)i * 2))
            return false;
    }
    return true;
}

static ks_status read_run(ks_dra *d, run *to, int32_t n, const int32_t *name, const uint64_t *amount) {
    if (n < 0 || (n > 0 && (name == NULL || amount == NULL)))
        return KS_EINVAL;
    for (int64_t i = d->runs.n - 1; i >= 0 && i >= d->runs.n - RECENT; i--) {
        *to = d->runs.at[i];
        if (is_run(d, *to, n, name, amount))
            return KS_OK;
    }
    if (d->amounts.n + n > INT32_MAX / 2)
        return KS_EOVERFLOW;
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->amounts, d->amounts.n + n));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->runs, d->runs.n + 1));
    *to = (run){(int32_t)d->amounts.n, n};
    for (int32_t i = 0; i < n; i++)
        d->amounts.at[d->amounts.n++] = (entry){read_wide(amount + (size_t)i * 2), name[i]};
    d->runs.at[d->runs.n++] = *to;
    return KS_OK;
}

ks_status ks_dra_content_add(ks_dra *d, const ks_dra_content *in) {
    if (d == NULL || in == NULL)
        return KS_EINVAL;
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->contents, d->contents.n + 1));
    content *c = &d->contents.at[d->contents.n];
    KS_TRY(read_run(d, &c->uses, in->n_uses, in->use, in->use_amount));
    KS_TRY(read_run(d, &c->capacity, in->n_capacity, in->capacity, in->capacity_amount));
    c->is_shared = in->is_shared != 0;
    d->contents.n++;
    return KS_OK;
}

static ks_status reserve_device(ks_dra *d, int32_t number) {
    if (number < 0)
        return KS_EINVAL;
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->devices, (int64_t)number + 1));
    for (; d->devices.n <= number; d->devices.n++) {
        d->devices.at[d->devices.n].family = KS_NONE;
        d->devices.at[d->devices.n].part = KS_NONE;
    }
    return KS_OK;
}

static ks_status read_members(ks_dra *d, members *to, int32_t n, const int32_t *device_, const int32_t *content_,
                              const uint8_t *is_here, int32_t family) {
    if (n < 0 || (n > 0 && (device_ == NULL || content_ == NULL)))
        return KS_EINVAL;
    KS_TRY(KS_VEC_RESERVE(&d->mem, to, n));
    for (int32_t i = 0; i < n; i++) {
        if (content_[i] < 0 || content_[i] >= d->contents.n)
            return KS_ERANGE;
        KS_TRY(reserve_device(d, device_[i]));
        d->devices.at[device_[i]].family = family;
        to->at[i] = (member){device_[i], content_[i], is_here == NULL || is_here[i] != 0};
    }
    to->n = n;
    return KS_OK;
}

ks_status ks_dra_pool_add(ks_dra *d, const ks_dra_pool *in) {
    if (d == NULL || in == NULL || in->name < 0 || in->family < 0)
        return KS_EINVAL;
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->spaces, (int64_t)in->name + 1));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->stamps, (int64_t)in->family + 1));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->pools, d->pools.n + 1));
    pool *p = &d->pools.at[d->pools.n];
    KS_TRY(read_members(d, &p->members, in->n_devices, in->device, in->content, in->is_here, in->family));
    KS_TRY(
        read_members(d, &p->elsewhere, in->n_elsewhere, in->elsewhere_device, in->elsewhere_content, NULL, in->family));
    KS_TRY(read_entries(&d->mem, &p->counters, in->n_counters, in->counter, in->counter_amount));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &p->left, in->n_counters));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &p->used, in->n_counters));
    p->left.n = in->n_counters;
    p->stamp = -1;
    p->family = in->family;
    p->name = in->name;
    p->is_usable = in->is_usable != 0;
    d->pools.n++;
    return KS_OK;
}

/* ---- what is held ---- */

static entry *entry_of(entry *at, int64_t n, int32_t name) {
    for (int64_t i = 0; i < n; i++)
        if (at[i].name == name)
            return &at[i];
    return NULL;
}

ks_status ks_dra_hold(ks_dra *d, int32_t number, int32_t whole, int32_t shares, int32_t n, const int32_t *name,
                      const uint64_t *amount) {
    if (d == NULL || n < 0 || (n > 0 && (name == NULL || amount == NULL)))
        return KS_EINVAL;
    KS_TRY(reserve_device(d, number));
    device *one = &d->devices.at[number];
    KS_TRY(KS_VEC_RESERVE(&d->mem, &one->consumed, one->consumed.n + n));
    one->whole += whole;
    one->shares += shares;
    for (int32_t i = 0; i < n; i++) {
        entry *found = entry_of(one->consumed.at, one->consumed.n, name[i]);
        if (found == NULL) {
            found = &one->consumed.at[one->consumed.n++];
            *found = (entry){0, name[i]};
        }
        found->amount += read_wide(amount + (size_t)i * 2);
    }
    if (one->family != KS_NONE)
        d->stamps.at[one->family]++;
    return KS_OK;
}

static bool consumes(const device *one) {
    for (int64_t i = 0; i < one->consumed.n; i++)
        if (one->consumed.at[i].amount != 0)
            return true;
    return false;
}

static void leave(const ks_dra *d, const pool *p, const member *m) {
    const device *one = &d->devices.at[m->device];
    const content *c = &d->contents.at[m->content];
    if (c->uses.n == 0 || !(one->whole > 0 || one->shares > 0 || consumes(one)))
        return;
    for (int32_t i = 0; i < c->uses.n; i++) {
        entry *found = entry_of(p->left.at, p->left.n, d->amounts.at[c->uses.start + i].name);
        if (found != NULL)
            found->amount -= d->amounts.at[c->uses.start + i].amount;
    }
}

/* Counters of a pool that held devices leave; may be negative. Kept until one of its devices changes. */
static void count_left(const ks_dra *d, pool *p) {
    if (p->stamp == d->stamps.at[p->family])
        return;
    p->stamp = d->stamps.at[p->family];
    for (int64_t i = 0; i < p->counters.n; i++)
        p->left.at[i] = p->counters.at[i];
    for (int64_t i = 0; i < p->members.n; i++)
        leave(d, p, &p->members.at[i]);
    for (int64_t i = 0; i < p->elsewhere.n; i++)
        leave(d, p, &p->elsewhere.at[i]);
    p->n_over = 0;
    for (int64_t i = 0; i < p->left.n; i++)
        p->n_over += p->left.at[i].amount < 0;
}

/* Appends bytes while there is room; counts them always. */
typedef struct writer {
    uint8_t *out;
    int64_t cap, n;
} writer;

static void put(writer *w, const void *from, size_t size) {
    if (w->n + (int64_t)size <= w->cap)
        memcpy(w->out + w->n, from, size);
    w->n += (int64_t)size;
}

static void put_device(writer *w, const device *one) {
    uint8_t flags = (uint8_t)((one->whole > 0) | (one->shares > 0) << 1 | consumes(one) << 2);
    put(w, &flags, sizeof flags);
    if ((flags & 4) == 0)
        return;
    int32_t written = 0;
    for (int64_t i = 0; i < one->consumed.n; i++) {
        if (one->consumed.at[i].amount == 0)
            continue;
        put(w, &one->consumed.at[i].name, sizeof(int32_t));
        put(w, &one->consumed.at[i].amount, sizeof(wide));
        written++;
    }
    put(w, &written, sizeof written);
}

ks_status ks_dra_state(ks_dra *d, int32_t number, int64_t cap, uint8_t *out, int64_t *size) {
    if (d == NULL || size == NULL || cap < 0 || (cap > 0 && out == NULL))
        return KS_EINVAL;
    if (number < 0 || number >= d->pools.n)
        return KS_ERANGE;
    pool *p = &d->pools.at[number];
    writer w = {out, cap, 0};
    for (int64_t i = 0; i < p->members.n; i++)
        put_device(&w, &d->devices.at[p->members.at[i].device]);
    count_left(d, p);
    for (int64_t i = 0; i < p->left.n; i++)
        put(&w, &p->left.at[i].amount, sizeof(wide));
    *size = w.n;
    return KS_OK;
}

/* ---- the search ---- */

enum { NOT_FOUND, FOUND, TOO_MANY, STOPPED };

typedef struct search {
    ks_dra *d;
    const ks_dra_question *q;
    const int32_t *pool; /* [n_pools] */
    int32_t n_pools;
    ks_dra_answer *out;
    int64_t n_steps;
    int32_t n_requests;
} search;

/* Where the search is: claim, request (of all claims), plan (of all requests), devices of it that are taken. */
typedef struct place {
    int32_t c, r, s, n;
} place;

static int stop(search *x, int32_t status, int32_t claim, int32_t plan, int32_t p, int32_t m) {
    x->out->status = status;
    x->out->claim = claim;
    x->out->plan = plan;
    x->out->pool = p;
    x->out->device = m;
    return STOPPED;
}

static const uint8_t *fits_at(const search *x, int32_t content_, int32_t plan) {
    return &x->q->fits[(size_t)content_ * (size_t)x->q->n_plans + (size_t)plan];
}

static void touch(search *x, int32_t number) {
    device *one = &x->d->devices.at[number];
    if (one->taking == 0 && one->part == KS_NONE && !one->in_part)
        x->d->touched.at[x->d->touched.n++] = number; /* room for it was made before: see take */
}

/* A capacity in a chain, added if it is not there. */
static part *part_in(ks_dra *d, int32_t *head, int32_t name) {
    for (int32_t i = *head; i != KS_NONE; i = d->parts.at[i].next)
        if (d->parts.at[i].name == name)
            return &d->parts.at[i];
    part *made = &d->parts.at[d->parts.n];
    *made = (part){0, name, *head};
    *head = (int32_t)d->parts.n++;
    return made;
}

static const uint64_t *amounts_of(const search *x, int32_t content_, int32_t plan) {
    return x->q->amount + (size_t)x->q->amount_start[(size_t)content_ * (size_t)x->q->n_plans + (size_t)plan] * 2;
}

/* Whether the request fits into what is left of the device's capacity. */
static bool has_room(const search *x, const member *m, int32_t plan) {
    const device *one = &x->d->devices.at[m->device];
    const content *c = &x->d->contents.at[m->content];
    if (*fits_at(x, m->content, plan) & KS_DRA_NO_ROOM)
        return false;
    if (c->capacity.n == 0 || (one->consumed.n == 0 && one->part == KS_NONE))
        return true; /* fits an unused device: the caller said so */
    const uint64_t *asked = amounts_of(x, m->content, plan);
    for (int32_t i = 0; i < c->capacity.n; i++) {
        int32_t name = x->d->amounts.at[c->capacity.start + i].name;
        wide total = read_wide(asked + (size_t)i * 2);
        const entry *taken = entry_of(one->consumed.at, one->consumed.n, name);
        total += taken == NULL ? 0 : taken->amount;
        for (int32_t k = one->part; k != KS_NONE; k = x->d->parts.at[k].next)
            if (x->d->parts.at[k].name == name)
                total += x->d->parts.at[k].used;
        if (total > x->d->amounts.at[c->capacity.start + i].amount)
            return false;
    }
    return true;
}

static bool is_in_use(const search *x, int32_t claim, int32_t plan, const device *one) {
    if (x->q->is_admin[plan])
        return (one->taking >> claim & 1) != 0;
    return one->whole > 0 || one->taking != 0;
}

/* NOT_FOUND, FOUND or STOPPED: whether selectors take the device. */
static int is_selected(search *x, int32_t claim, int32_t plan, const member *m, int32_t p, int32_t at) {
    if (!x->q->known[m->content])
        return stop(x, KS_DRA_NEEDS_CONTENT, claim, plan, p, at);
    uint8_t fits = *fits_at(x, m->content, plan);
    if (fits & KS_DRA_FAILS)
        return stop(x, KS_DRA_SELECTOR_FAILED, claim, plan, p, at);
    return (fits & KS_DRA_SELECTED) && m->is_here ? FOUND : NOT_FOUND;
}

/* ---- counters ---- */

static void uncount(const search *x, const pool *p, const content *c, int32_t n) {
    pool *owner = &x->d->pools.at[x->d->spaces.at[p->name].owner];
    for (int32_t i = 0; i < n; i++) {
        const entry *left = entry_of(owner->left.at, owner->left.n, x->d->amounts.at[c->uses.start + i].name);
        if (left != NULL)
            owner->used.at[left - owner->left.at] -= x->d->amounts.at[c->uses.start + i].amount;
    }
}

/* Counts what a device consumes, if enough is left. */
static bool count(const search *x, int32_t number, const content *c) {
    ks_dra *d = x->d;
    pool *owner = &d->pools.at[number];
    const pool *p = owner;
    space *of = &d->spaces.at[p->name];
    if (of->epoch != d->epoch) {
        count_left(d, owner);
        memset(owner->used.at, 0, (size_t)owner->left.n * sizeof(wide));
        *of = (space){d->epoch, number};
    }
    owner = &d->pools.at[of->owner];
    if (owner->n_over > 0)
        return false;
    for (int32_t i = 0; i < c->uses.n; i++) {
        const entry *left = entry_of(owner->left.at, owner->left.n, d->amounts.at[c->uses.start + i].name);
        if (left == NULL)
            continue; /* counters that the owner does not have bind nobody */
        wide *used = &owner->used.at[left - owner->left.at];
        *used += d->amounts.at[c->uses.start + i].amount;
        if (*used > left->amount) {
            uncount(x, p, c, i + 1);
            return false;
        }
    }
    return true;
}

/* ---- constraints ---- */

static bool concerns(const search *x, int32_t k, int32_t plan) {
    return x->q->concerns[(size_t)k * (size_t)x->q->n_plans + (size_t)plan] != 0;
}

static int32_t *value_of_request(const search *x, int32_t k, int32_t r) {
    return &x->d->by_request.at[(int64_t)k * x->n_requests + r];
}

static bool is_repeated(const search *x, int32_t k, int32_t value, bool *is_any) {
    bool found = false;
    *is_any = false;
    for (int32_t r = 0; r < x->n_requests; r++) {
        int32_t other = *value_of_request(x, k, r);
        *is_any = *is_any || other != KS_DRA_ABSENT;
        found = found || (other != KS_DRA_ABSENT && other == value);
    }
    return found;
}

static bool constraint_add(const search *x, int32_t k, int32_t plan, const member *m) {
    constraint *one = &x->d->constraints.at[k];
    if (!concerns(x, k, plan))
        return true;
    int32_t value = x->q->value[(size_t)m->content * (size_t)x->q->n_constraints + (size_t)k];
    if (value == KS_DRA_ABSENT)
        return false;
    if (x->q->is_distinct[k]) {
        bool is_any, is_there = is_repeated(x, k, value, &is_any);
        if (one->n != 0 && is_any && (value == KS_DRA_UNKNOWN || is_there))
            return false;
        *value_of_request(x, k, x->q->base[plan]) = value;
    } else if (one->n == 0) {
        one->value = value;
    } else if (value == KS_DRA_UNKNOWN || value != one->value) {
        return false;
    }
    one->n++;
    return true;
}

static void constraint_remove(const search *x, int32_t k, int32_t plan) {
    if (!concerns(x, k, plan))
        return;
    if (x->q->is_distinct[k])
        *value_of_request(x, k, x->q->base[plan]) = KS_DRA_ABSENT;
    x->d->constraints.at[k].n--;
}

static bool constrain(const search *x, int32_t claim, int32_t plan, const member *m) {
    for (int32_t k = x->q->constraint_start[claim]; k < x->q->constraint_start[claim + 1]; k++) {
        if (constraint_add(x, k, plan, m))
            continue;
        for (int32_t earlier = x->q->constraint_start[claim]; earlier < k; earlier++)
            constraint_remove(x, earlier, plan);
        return false;
    }
    return true;
}

/* ---- shares ---- */

static void share(search *x, const member *m, int32_t plan, int sign) {
    device *one = &x->d->devices.at[m->device];
    const content *c = &x->d->contents.at[m->content];
    const uint64_t *asked = amounts_of(x, m->content, plan);
    for (int32_t i = 0; i < c->capacity.n; i++)
        part_in(x->d, &one->part, x->d->amounts.at[c->capacity.start + i].name)->used +=
            sign * read_wide(asked + (size_t)i * 2);
    if (sign > 0) {
        one->in_part = true;
        return;
    }
    if (c->capacity.n == 0)
        return;
    for (int32_t k = one->part; k != KS_NONE; k = x->d->parts.at[k].next)
        if (x->d->parts.at[k].used != 0)
            return;
    one->in_part = false;
}

/* ---- one step ---- */

/* Makes room for what a step may note, so that the step itself cannot fail. */
static ks_status reserve_step(ks_dra *d, const content *c) {
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->touched, d->touched.n + 1));
    if (d->parts.n + c->capacity.n > INT32_MAX / 2)
        return KS_EOVERFLOW;
    return KS_VEC_RESERVE(&d->mem, &d->parts, d->parts.n + c->capacity.n);
}

/* Takes a device if counters, taints, constraints and capacity allow it. */
static int take(search *x, place at, int32_t p, int32_t i, bool must) {
    ks_dra *d = x->d;
    const member *m = &d->pools.at[x->pool[p]].members.at[i];
    const content *c = &d->contents.at[m->content];
    device *one = &d->devices.at[m->device];
    if (is_in_use(x, at.c, at.s, one) && !(c->is_shared && x->q->is_admin[at.s]))
        return NOT_FOUND;
    if (reserve_step(d, c) != KS_OK)
        return stop(x, KS_DRA_OUT_OF_MEMORY, at.c, at.s, p, i);
    bool in_part = c->is_shared && (consumes(one) || one->in_part);
    if (c->uses.n != 0 && !in_part && !count(x, x->pool[p], c))
        return NOT_FOUND;
    if (*fits_at(x, m->content, at.s) & KS_DRA_KEPT_OFF)
        return NOT_FOUND;
    if (!constrain(x, at.c, at.s, m))
        return must ? stop(x, KS_DRA_CONSTRAINT_BROKEN, at.c, at.s, p, i) : NOT_FOUND;
    touch(x, m->device);
    if (!c->is_shared)
        one->taking |= (uint64_t)1 << at.c;
    if (!has_room(x, m, at.s))
        return NOT_FOUND;
    if (c->is_shared)
        share(x, m, at.s, 1);
    d->picks.at[(int64_t)at.c * KS_DRA_MAX_RESULTS + d->n_picks.at[at.c]++] = (pick){at.s, p, i};
    return FOUND;
}

static void give_back(search *x, place at, int32_t p, int32_t i) {
    ks_dra *d = x->d;
    const pool *of = &d->pools.at[x->pool[p]];
    const member *m = &of->members.at[i];
    const content *c = &d->contents.at[m->content];
    for (int32_t k = x->q->constraint_start[at.c]; k < x->q->constraint_start[at.c + 1]; k++)
        constraint_remove(x, k, at.s);
    d->devices.at[m->device].taking &= ~((uint64_t)1 << at.c);
    if (c->is_shared)
        share(x, m, at.s, -1);
    else if (c->uses.n != 0)
        uncount(x, of, c, c->uses.n);
    d->n_picks.at[at.c]--;
}

static int next(search *x, place at, bool in_alternative, int32_t p, int32_t i);

static int go_on(search *x, place at, bool in_alternative, int32_t p, int32_t i) {
    bool is_all = x->q->mode[at.s] == KS_DRA_ALL;
    place then = at;
    then.n++;
    int found = next(x, then, in_alternative, is_all ? 0 : p, is_all ? 0 : i + 1);
    if (found != FOUND)
        give_back(x, at, p, i);
    return found;
}

static int take_all(search *x, place at, bool in_alternative) {
    const pick *one = &x->d->everything.at[x->d->first_of.at[at.s] + at.n];
    int32_t p = one->pool, i = one->device;
    int taken = take(x, at, p, i, true);
    return taken == FOUND ? go_on(x, at, in_alternative, p, i) : taken;
}

static int take_one(search *x, place at, bool in_alternative, int32_t p, int32_t first) {
    for (; p < x->n_pools; p++, first = 0) {
        const pool *of = &x->d->pools.at[x->pool[p]];
        if (!of->is_usable)
            continue;
        for (int32_t i = first; i < of->members.n; i++) {
            const member *m = &of->members.at[i];
            if (is_in_use(x, at.c, at.s, &x->d->devices.at[m->device]))
                continue;
            int selected = is_selected(x, at.c, at.s, m, p, i);
            if (selected == STOPPED)
                return STOPPED;
            if (selected != FOUND || !has_room(x, m, at.s))
                continue;
            int taken = take(x, at, p, i, false);
            if (taken == FOUND)
                taken = go_on(x, at, in_alternative, p, i);
            if (taken != NOT_FOUND)
                return taken;
        }
    }
    return NOT_FOUND;
}

static int alternatives(search *x, place at) {
    bool all_too_many = true;
    for (int32_t s = x->q->plan_start[at.r]; s < x->q->plan_start[at.r + 1]; s++) {
        int found = next(x, (place){at.c, at.r, s, 0}, true, 0, 0);
        if (found == FOUND || found == STOPPED)
            return found;
        all_too_many = all_too_many && found == TOO_MANY;
    }
    return all_too_many ? TOO_MANY : NOT_FOUND;
}

static place first_of(const search *x, int32_t c, int32_t r) { return (place){c, r, x->q->plan_start[r], 0}; }

/* Finds devices from a place on; p, i: the first device to look at. */
static int next(search *x, place at, bool in_alternative, int32_t p, int32_t i) {
    const ks_dra_question *q = x->q;
    if (++x->n_steps > q->max_steps)
        return stop(x, KS_DRA_TIMED_OUT, at.c, KS_NONE, KS_NONE, KS_NONE);
    if (at.c >= q->n_claims)
        return FOUND;
    if (at.r >= q->request_start[at.c + 1]) {
        int found = next(x, first_of(x, at.c + 1, q->request_start[at.c + 1]), false, 0, 0);
        return found == TOO_MANY ? NOT_FOUND : found;
    }
    if (q->is_alternative[at.s] && !in_alternative)
        return alternatives(x, at);
    bool is_all = q->mode[at.s] == KS_DRA_ALL;
    int32_t wanted = x->d->n_of.at[at.s];
    if (is_all && wanted == 0)
        return NOT_FOUND;
    if (at.n >= wanted)
        return next(x, first_of(x, at.c, at.r + 1), false, 0, 0);
    if (x->d->n_picks.at[at.c] + wanted - at.n > KS_DRA_MAX_RESULTS)
        return TOO_MANY;
    return is_all ? take_all(x, at, in_alternative) : take_one(x, at, in_alternative, p, i);
}

/* ---- before the search ---- */

/* All devices of a request for all, as they are before anything is taken. */
static int find_everything(search *x, int32_t c, int32_t s) {
    ks_dra *d = x->d;
    for (int32_t p = 0; p < x->n_pools; p++) {
        const pool *of = &d->pools.at[x->pool[p]];
        if (!of->is_usable)
            return stop(x, KS_DRA_POOL_FLAWED, c, s, p, KS_NONE);
        for (int32_t i = 0; i < of->members.n; i++) {
            int selected = is_selected(x, c, s, &of->members.at[i], p, i);
            if (selected == STOPPED)
                return STOPPED;
            if (selected != FOUND || !has_room(x, &of->members.at[i], s))
                continue;
            if (KS_VEC_RESERVE(&d->mem, &d->everything, d->everything.n + 1) != KS_OK)
                return stop(x, KS_DRA_OUT_OF_MEMORY, c, s, p, i);
            d->everything.at[d->everything.n++] = (pick){s, p, i};
        }
    }
    return FOUND;
}

static int check_claim(search *x, int32_t c) {
    const ks_dra_question *q = x->q;
    ks_dra *d = x->d;
    int64_t least = 0;
    for (int32_t r = q->request_start[c]; r < q->request_start[c + 1]; r++) {
        int32_t fewest = INT32_MAX;
        for (int32_t s = q->plan_start[r]; s < q->plan_start[r + 1]; s++) {
            d->first_of.at[s] = (int32_t)d->everything.n;
            if (q->mode[s] == KS_DRA_BROKEN)
                return stop(x, KS_DRA_REQUEST_BROKEN, c, s, KS_NONE, KS_NONE);
            if (q->mode[s] == KS_DRA_ALL && find_everything(x, c, s) == STOPPED)
                return STOPPED;
            d->n_of.at[s] = q->mode[s] == KS_DRA_ALL ? (int32_t)d->everything.n - d->first_of.at[s] : q->count[s];
            fewest = d->n_of.at[s] < fewest ? d->n_of.at[s] : fewest;
        }
        least += fewest;
    }
    x->out->n_least = least;
    if (least > KS_DRA_MAX_RESULTS)
        return stop(x, KS_DRA_ASKS_TOO_MANY, c, KS_NONE, KS_NONE, KS_NONE);
    return q->is_broken[c] ? stop(x, KS_DRA_CLAIM_BROKEN, c, KS_NONE, KS_NONE, KS_NONE) : FOUND;
}

static ks_status reserve_search(search *x) {
    ks_dra *d = x->d;
    const ks_dra_question *q = x->q;
    x->n_requests = q->request_start[q->n_claims];
    int64_t n_values = (int64_t)q->n_constraints * x->n_requests;
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->picks, (int64_t)q->n_claims * KS_DRA_MAX_RESULTS));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->n_picks, q->n_claims));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->constraints, q->n_constraints));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->by_request, n_values));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->first_of, q->n_plans));
    KS_TRY(KS_VEC_RESERVE(&d->mem, &d->n_of, q->n_plans));
    for (int32_t c = 0; c < q->n_claims; c++)
        d->n_picks.at[c] = 0;
    for (int32_t k = 0; k < q->n_constraints; k++)
        d->constraints.at[k] = (constraint){0, KS_DRA_ABSENT};
    for (int64_t i = 0; i < n_values; i++)
        d->by_request.at[i] = KS_DRA_ABSENT;
    d->parts.n = d->touched.n = d->everything.n = 0;
    d->epoch++;
    return KS_OK;
}

static void forget_search(ks_dra *d) {
    for (int64_t i = 0; i < d->touched.n; i++) {
        device *one = &d->devices.at[d->touched.at[i]];
        one->taking = 0;
        one->part = KS_NONE;
        one->in_part = false;
    }
}

static ks_status check_question(const ks_dra *d, const ks_dra_question *q, int32_t n_pools, const int32_t *pools) {
    if (d == NULL || q == NULL || n_pools < 0 || (n_pools > 0 && pools == NULL) || q->n_claims < 0 || q->n_plans < 0 ||
        q->n_constraints < 0 || q->request_start == NULL || q->plan_start == NULL || q->constraint_start == NULL)
        return KS_EINVAL;
    if (q->n_claims > KS_DRA_MAX_CLAIMS)
        return KS_EUNSUPPORTED;
    if (q->n_contents < d->contents.n || q->plan_start[q->request_start[q->n_claims]] != q->n_plans ||
        q->constraint_start[q->n_claims] != q->n_constraints)
        return KS_EINVAL;
    for (int32_t p = 0; p < n_pools; p++)
        if (pools[p] < 0 || pools[p] >= d->pools.n)
            return KS_ERANGE;
    return KS_OK;
}

static void write_picks(const search *x) {
    int32_t n = 0;
    for (int32_t c = 0; c < x->q->n_claims; c++) {
        for (int32_t i = 0; i < x->d->n_picks.at[c]; i++, n++) {
            const pick *one = &x->d->picks.at[(int64_t)c * KS_DRA_MAX_RESULTS + i];
            int32_t *to = x->out->picks + (size_t)n * 4;
            to[0] = c, to[1] = one->plan, to[2] = one->pool, to[3] = one->device;
        }
    }
    x->out->n_picks = n;
}

ks_status ks_dra_search(ks_dra *d, const ks_dra_question *q, int32_t n_pools, const int32_t *pools,
                        ks_dra_answer *out) {
    if (out == NULL || out->picks == NULL)
        return KS_EINVAL;
    KS_TRY(check_question(d, q, n_pools, pools));
    search x = {d, q, pools, n_pools, out, 0, 0};
    KS_TRY(reserve_search(&x));
    int found = FOUND;
    for (int32_t c = 0; c < q->n_claims && found == FOUND; c++)
        found = check_claim(&x, c);
    if (found == FOUND)
        found = next(&x, first_of(&x, 0, 0), false, 0, 0);
    forget_search(d);
    if (found == FOUND)
        write_picks(&x);
    if (found != STOPPED)
        out->status = found == FOUND ? KS_DRA_FOUND : KS_DRA_NONE;
    return out->status == KS_DRA_OUT_OF_MEMORY ? KS_ENOMEM : KS_OK;
}
