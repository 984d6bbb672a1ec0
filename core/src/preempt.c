/* SPDX-License-Identifier: Apache-2.0
 *
 * preempt.c: DefaultPreemption: on which node evicting pods makes room, whom to evict there, and which node to take.
 *
 * On a row that may be cured, all pods of lower priority leave; if the pod fits now, they come back one by one, those
 * whose budget would be broken first, each group by importance, and who no longer fits is a victim. The rows are
 * compared by budgets broken, highest victim, sum and number of victims, start of the most important ones.
 *
 * A row's outcome depends on the row alone unless rules about other pods have a say or the pod shares volumes with
 * others: then it is kept with the class and judged again only when the change log names the row. What a trial does is
 * taken back to the bit, without a word in the log.
 *
 * A profile may want some candidates only (minCandidateNodes*): then the rows that may be cured are gone through in a
 * circle, from one that is drawn, until enough of them helped and one of these broke no budget. Sources:
 * framework/preemption, plugins/defaultpreemption, v1.36. */
#include "internal.h"

#include <string.h> /* memset, memcpy, memmove */

enum { NOT_TRIED = -3, NO_VICTIMS = -2, STAYS_SHUT = -1 }; /* instead of a number of broken budgets */
enum { MOST_KEPT = 4 };                                    /* priorities of a class (arbitrary: 48 bytes a row each) */

/* What eviction would mean on a row; `broken` < 0: it does not help. */
typedef struct outcome {
    int32_t broken, n_victims, top;
    int64_t sum, earliest; /* of the priorities + 2^31; first start among the victims of the highest priority */
} outcome;

/* The best of some rows, and how many are as good. */
typedef struct lead {
    int32_t row, ties;
} lead;

/* Outcomes of all rows for one priority, and a knockout between them: of each pair of neighbours the better one goes
 * on, so that a changed row costs O(log N). */
typedef struct kept {
    int32_t profile, priority, n_rows, n_leaves;
    int32_t n_tried, n_without_victims, n_candidates;
    int64_t position, version, clock;
    bool scans;              /* outcomes are those without the rules that look beyond the row */
    KS_VEC(outcome) at;      /* [row] */
    KS_VEC(lead) best;       /* [2 leaves], 1 is the final */
    KS_VEC(uint8_t) is_seen; /* [row] 1: the class's rules count a pod that may be evicted there */
} kept;

struct ks_evictions {
    int64_t clock;
    kept of[MOST_KEPT];
};

typedef struct ks_evictions ks_evictions;

/* One pod that looks for room. */
typedef struct task {
    ks_engine *e;
    const ks_profile *p;
    ks_profile without; /* the same without the filters that look at other pods */
    ks_class *c;
    int32_t priority;
    ks_preemption *io;
    ks_verdict verdict;
    int32_t *gone; /* known pods that are off the row at the moment */
    int32_t n_gone;
} task;

/* ---- one row ---- */

static bool is_more_important(const ks_engine *e, int32_t a, int32_t b) {
    const ks_known *x = &e->known.pods.at[a], *y = &e->known.pods.at[b];
    return x->priority != y->priority ? x->priority > y->priority : x->started < y->started;
}

/* Insertion: stable, and a row has a hundred pods at most. */
static void sort_by_importance(const ks_engine *e, int32_t *list, int32_t n) {
    for (int32_t i = 1; i < n; i++) {
        int32_t pod = list[i], at = i;
        for (; at > 0 && is_more_important(e, pod, list[at - 1]); at--)
            list[at] = list[at - 1];
        list[at] = pod;
    }
}

static ks_status move(task *t, int32_t handle, bool back) {
    const ks_known *pod = &t->e->known.pods.at[handle];
    KS_TRY(ks_account(t->e, pod->class_id, pod->row, pod->devices, back));
    if (!back) {
        t->gone[t->n_gone++] = handle;
        return KS_OK;
    }
    int32_t at = 0;
    while (t->gone[at] != handle)
        at++;
    t->n_gone--;
    memmove(&t->gone[at], &t->gone[at + 1], (size_t)(t->n_gone - at) * sizeof *t->gone);
    return KS_OK;
}

static ks_status judge(task *t, int32_t row) {
    ks_moved moved = {t->n_gone, t->gone, 0, NULL};
    return ks_judge_row(t->e, t->p, t->c, row, &moved, &t->verdict);
}

/* Pods of lower priority on the row into scratch.lower, with room for as many in the other lists. */
static ks_status list_lower(task *t, int32_t row, int32_t *out) {
    ks_engine *e = t->e;
    *out = 0;
    if (row >= e->known.on.cap)
        return KS_OK;
    const ks_row_list *on = &e->known.on.at[row];
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.lower, on->n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.gone, on->n));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->scratch.breaks, on->n));
    for (int32_t i = 0; i < on->n; i++)
        if (e->known.pods.at[on->at[i]].priority < t->priority)
            e->scratch.lower.at[(*out)++] = on->at[i];
    t->gone = e->scratch.gone.at;
    t->n_gone = 0;
    return KS_OK;
}

static void find_broken_budgets(ks_engine *e, int32_t n) {
    ks_known_table *k = &e->known;
    if (k->allowed.n > 0)
        memcpy(k->left.at, k->allowed.at, (size_t)k->allowed.n * sizeof *k->left.at);
    for (int32_t i = 0; i < n; i++)
        e->scratch.breaks.at[i] = ks_budgets_take(e, k->pods.at[e->scratch.lower.at[i]].budgets);
}

/* Puts back who may stay. What is left in `gone` are the victims. */
static ks_status reprieve(task *t, int32_t row, int32_t n, int32_t *broken) {
    *broken = 0;
    for (int32_t breaks = 1; breaks >= 0; breaks--)
        for (int32_t i = 0; i < n; i++) {
            int32_t handle = t->e->scratch.lower.at[i];
            if (t->e->scratch.breaks.at[i] != breaks)
                continue;
            KS_TRY(move(t, handle, true));
            KS_TRY(judge(t, row));
            if (t->verdict.filter == KS_NONE)
                continue;
            KS_TRY(move(t, handle, false));
            *broken += breaks;
        }
    return KS_OK;
}

static outcome weigh(const task *t, int32_t broken) {
    outcome out = {broken, t->n_gone, INT32_MIN, 0, INT64_MAX};
    for (int32_t i = 0; i < t->n_gone; i++) {
        const ks_known *pod = &t->e->known.pods.at[t->gone[i]];
        out.sum += (int64_t)pod->priority + ((int64_t)1 << 31);
        if (pod->priority > out.top) {
            out.top = pod->priority;
            out.earliest = pod->started;
        } else if (pod->priority == out.top && pod->started < out.earliest) {
            out.earliest = pod->started;
        }
    }
    return out;
}

/* Why the row stays shut when all leave, for the message. */
static void count_shut(const task *t) {
    const ks_preemption *io = t->io;
    if (io->rejected == NULL)
        return;
    uint8_t hard = t->verdict.unresolvable ? KS_VERDICT_UNRESOLVABLE : 0;
    io->rejected[t->verdict.filter * KS_N_DETAILS + ((t->verdict.detail & ~KS_VERDICT_UNRESOLVABLE) | hard)]++;
    for (int32_t r = 0; t->verdict.filter == KS_FILTER_NODE_RESOURCES_FIT && r < t->e->n_resources; r++)
        io->insufficient[r] += (int64_t)(t->verdict.insufficient[r / 64] >> (r % 64) & 1u);
}

static ks_status try_evicting(task *t, int32_t row, int32_t n, outcome *out) {
    for (int32_t i = 0; i < n; i++)
        KS_TRY(move(t, t->e->scratch.lower.at[i], false));
    KS_TRY(judge(t, row));
    *out = (outcome){.broken = STAYS_SHUT};
    if (t->verdict.filter != KS_NONE) {
        count_shut(t);
        return KS_OK;
    }
    int32_t broken;
    sort_by_importance(t->e, t->e->scratch.lower.at, n);
    find_broken_budgets(t->e, n);
    KS_TRY(reprieve(t, row, n, &broken));
    sort_by_importance(t->e, t->gone, t->n_gone);
    *out = weigh(t, broken);
    return KS_OK;
}

/* The victims stay in scratch.gone. */
static ks_status try_row(task *t, int32_t row, outcome *out) {
    ks_engine *e = t->e;
    int32_t n;
    int64_t mark;
    *out = (outcome){.broken = NOT_TRIED};
    t->n_gone = 0;
    if (!e->live.at[row] || (t->io->open != NULL && !t->io->open[row]))
        return KS_OK;
    KS_TRY(judge(t, row));
    if (t->verdict.filter == KS_NONE || t->verdict.unresolvable)
        return KS_OK;
    KS_TRY(list_lower(t, row, &n));
    out->broken = NO_VICTIMS;
    if (n == 0)
        return KS_OK;
    KS_TRY(ks_speculate(e, &mark));
    e->quiet = true;
    ks_status status = try_evicting(t, row, n, out);
    ks_status back = ks_rollback(e, mark);
    e->quiet = false;
    return status == KS_OK ? back : status;
}

/* ---- all rows ---- */

static bool is_better(const outcome *a, const outcome *b) {
    if (a->broken != b->broken)
        return a->broken < b->broken;
    if (a->top != b->top)
        return a->top < b->top;
    if (a->sum != b->sum)
        return a->sum < b->sum;
    return a->n_victims != b->n_victims ? a->n_victims < b->n_victims : a->earliest > b->earliest;
}

static lead better_of(const kept *k, lead a, lead b) {
    if (a.row == KS_NONE || b.row == KS_NONE)
        return a.row == KS_NONE ? b : a;
    const outcome *x = &k->at.at[a.row], *y = &k->at.at[b.row];
    if (is_better(x, y))
        return a;
    return is_better(y, x) ? b : (lead){a.row, a.ties + b.ties};
}

static void play(kept *k, int32_t node) {
    k->best.at[node] = better_of(k, k->best.at[2 * node], k->best.at[2 * node + 1]);
}

static void count(kept *k, const outcome *of, int32_t sign) {
    k->n_tried += of->broken != NOT_TRIED ? sign : 0;
    k->n_without_victims += of->broken == NO_VICTIMS ? sign : 0;
    k->n_candidates += of->broken >= 0 ? sign : 0;
}

/* ---- rules that look beyond the row ----
 *
 * What they say of a row stays as it is while pods leave and come that they do not count. So the outcome without these
 * filters is kept, and holds wherever they let the pod in now; only rows with a pod that they count are tried again. */

static bool counts(const ks_engine *e, const ks_class *c, int32_t counter) {
    const ks_pairwise *w = &c->pairwise;
    for (int32_t i = 0; i < w->n_hard; i++)
        if (w->hard[i].counter == counter)
            return true;
    for (int32_t i = 0; i < w->n_affinity + w->n_anti + w->n_existing; i++)
        if (e->tallies.at[w->affinity[i].tally].counter == counter)
            return true;
    return false;
}

static bool counts_any(const ks_engine *e, const ks_class *c, const int32_t *counter, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (counts(e, c, counter[i]))
            return true;
    return false;
}

static bool is_seen(const task *t, int32_t row) {
    const ks_engine *e = t->e;
    for (int32_t i = 0; row < e->known.on.cap && i < e->known.on.at[row].n; i++) {
        const ks_known *pod = &e->known.pods.at[e->known.on.at[row].at[i]];
        const ks_class *of = &e->classes.at[pod->class_id];
        if (pod->priority < t->priority &&
            (counts_any(e, t->c, of->counters.at, of->counters.n) || counts_any(e, t->c, of->moved.at, of->moved.n)))
            return true;
    }
    return false;
}

/* Judges a row anew; the knockout above it is the caller's. */
static ks_status renew(task *t, kept *k, int32_t row) {
    outcome now;
    KS_TRY(try_row(t, row, &now));
    count(k, &k->at.at[row], -1);
    count(k, &now, 1);
    k->at.at[row] = now;
    if (k->scans)
        k->is_seen.at[row] = is_seen(t, row);
    k->best.at[k->n_leaves + row] = now.broken >= 0 ? (lead){row, 1} : (lead){KS_NONE, 0};
    return KS_OK;
}

/* Anti-affinity by a key that no two rows share looks at the row itself. */
static bool looks_beyond_row(const ks_engine *e, const ks_class *c) {
    const ks_pairwise *w = &c->pairwise;
    const ks_pair *pair = w->anti; /* the existing ones stand behind them */
    for (int32_t i = 0; i < w->n_anti + w->n_existing; i++)
        if (e->topologies.at[pair[i].topology].n_shared > 0)
            return true;
    return w->n_hard + w->n_affinity > 0;
}

/* Whether the question is the class's alone: no volumes that others hold, too, no pod that waits for a node. */
static bool can_keep(const ks_engine *e, const ks_class *c, const ks_preemption *io) {
    return (e->holds.asker.n == 0 || e->holds.are_new) && io->open == NULL && io->rejected == NULL &&
           !(e->asking.is_on && e->nominated.n > 0) && !(io->list_all && looks_beyond_row(e, c));
}

/* What the log does not tell: other budgets, and rules or counters that changed. */
static int64_t version_of(const ks_engine *e) { return e->known.version + e->joins; }

static ks_status renew_all(task *t, kept *k) {
    ks_engine *e = t->e;
    k->n_rows = e->n_rows;
    for (k->n_leaves = 1; k->n_leaves < e->n_rows;)
        k->n_leaves *= 2;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->at, e->n_rows));
    KS_TRY(KS_VEC_RESERVE(&e->mem, &k->best, 2 * (int64_t)k->n_leaves));
    k->n_tried = k->n_without_victims = k->n_candidates = 0;
    for (int32_t row = 0; row < e->n_rows; row++)
        k->at.at[row].broken = NOT_TRIED;
    for (int32_t leaf = 0; leaf < k->n_leaves; leaf++)
        k->best.at[k->n_leaves + leaf] = (lead){KS_NONE, 0};
    for (int32_t row = 0; row < e->n_rows; row++)
        KS_TRY(renew(t, k, row));
    for (int32_t node = k->n_leaves - 1; node > 0; node--)
        play(k, node);
    return KS_OK;
}

static ks_status renew_changed(task *t, kept *k, int64_t from) {
    const ks_engine *e = t->e;
    bool is_static;
    for (int32_t row; (row = ks_log_next(e, &from, &is_static)) != KS_NONE;) {
        KS_TRY(renew(t, k, row));
        for (int32_t node = (k->n_leaves + row) / 2; node > 0; node /= 2)
            play(k, node);
    }
    return KS_OK;
}

/* The outcomes of this profile and priority, or room for them: what was not asked for the longest time goes. */
static kept *find_kept(task *t) {
    ks_evictions *all = t->c->evictions;
    int32_t profile = t->io->profile;
    kept *found = &all->of[0];
    for (int32_t i = 0; i < MOST_KEPT; i++) {
        kept *k = &all->of[i];
        if (k->clock > 0 && k->profile == profile && k->priority == t->priority) {
            k->clock = ++all->clock;
            return k;
        }
        found = k->clock < found->clock ? k : found;
    }
    found->profile = profile;
    found->priority = t->priority;
    found->position = -1;
    found->clock = ++all->clock;
    return found;
}

static ks_status follow(task *t, kept *k, bool is_kept) {
    const ks_engine *e = t->e;
    int64_t from = k->position;
    k->position = -1; /* until all went well */
    if (is_kept && from >= e->log_base && k->n_rows == e->n_rows && k->version == version_of(e))
        KS_TRY(renew_changed(t, k, from));
    else
        KS_TRY(renew_all(t, k));
    k->version = version_of(e);
    k->position = is_kept ? ks_log_end(e) : -1;
    return KS_OK;
}

/* The best of all rows, each with the rules as they stand. */
static ks_status scan(task *t, kept *k) {
    ks_engine *e = t->e;
    outcome best = {0}, now;
    lead found = {KS_NONE, 0};
    bool is_prepared = false; /* trials compare with other numbers */
    k->n_candidates = 0;
    for (int32_t row = 0; row < k->n_rows; row++) {
        now = k->at.at[row];
        if (k->is_seen.at[row]) {
            KS_TRY(try_row(t, row, &now));
            is_prepared = false;
        } else if (now.broken >= 0) {
            if (!is_prepared)
                KS_TRY(ks_pairwise_prepare(e, t->c));
            is_prepared = true;
            if (!ks_passes_pairwise(e, t->p, t->c, row))
                continue;
        }
        if (now.broken < 0)
            continue;
        k->n_candidates++;
        if (found.row == KS_NONE || is_better(&now, &best)) {
            best = now;
            found = (lead){row, 1};
        } else {
            found.ties += !is_better(&best, &now);
        }
    }
    k->best.at[1] = found;
    return KS_OK;
}

static ks_status follow_and_scan(task *t, kept *k) {
    const ks_profile *p = t->p;
    KS_TRY(KS_VEC_RESERVE(&t->e->mem, &k->is_seen, t->e->n_rows));
    t->p = &t->without;
    ks_status status = follow(t, k, true);
    t->p = p;
    KS_TRY(status);
    return k->n_rows > 0 ? scan(t, k) : KS_OK;
}

static ks_status list_victims(task *t, int32_t row, bool append) {
    ks_engine *e = t->e;
    outcome again;
    KS_TRY(try_row(t, row, &again));
    int64_t from = append ? e->victims.n : 0;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->victims, from + t->n_gone));
    if (t->n_gone > 0)
        memcpy(&e->victims.at[from], t->gone, (size_t)t->n_gone * sizeof *t->gone);
    e->victims.n = from + t->n_gone;
    return KS_OK;
}

/* ---- some candidates only ---- */

/* How many candidates are enough where n rows may be cured. */
static int32_t n_enough(const ks_profile *p, int32_t n) {
    if (p->candidate_percentage == 0 && p->candidate_least == 0)
        return n;
    int32_t share = (int32_t)((int64_t)n * p->candidate_percentage / 100);
    share = share < p->candidate_least ? p->candidate_least : share;
    return share < n ? share : n;
}

/* Whether the arguments can matter on as many rows as there are. */
static bool is_limited(const ks_engine *e, const ks_profile *p) { return n_enough(p, e->n_rows) < e->n_rows; }

/* The candidates of a search that ends early. */
typedef struct search {
    const kept *k;
    int32_t enough, n_free, n_broken; /* candidates so far: those that break no budget, and the others */
    lead best;
} search;

static bool has_enough(const search *s) { return s->n_free > 0 && s->n_free + s->n_broken >= s->enough; }

/* Of those that break budgets no more than enough are kept; whether this one was. */
static bool take(search *s, int32_t row) {
    const outcome *of = &s->k->at.at[row];
    if (of->broken < 0 || (of->broken > 0 && s->n_broken == s->enough))
        return false;
    s->n_free += of->broken == 0;
    s->n_broken += of->broken > 0;
    lead one = {row, 1};
    s->best = row < s->best.row ? better_of(s->k, one, s->best) : better_of(s->k, s->best, one);
    return true;
}

/* Goes twice through the rows, and counts those that may be cured: a circle from `offset` on. */
static ks_status look_at_some(task *t, const kept *k, int32_t enough) {
    ks_preemption *io = t->io;
    int32_t offset = io->rng == NULL ? 0 : (int32_t)ks_random_below(io->rng, (uint32_t)k->n_tried), at = 0;
    search s = {.k = k, .enough = enough, .best = {KS_NONE, 0}};
    t->e->scratch.some.n = 0;
    for (int32_t i = 0; i < 2 * (int64_t)k->n_rows && at < offset + k->n_tried && !has_enough(&s); i++) {
        int32_t row = i < k->n_rows ? i : i - k->n_rows;
        if (k->at.at[row].broken == NOT_TRIED || at++ < offset || !take(&s, row))
            continue;
        KS_TRY(KS_VEC_RESERVE(&t->e->mem, &t->e->scratch.some, t->e->scratch.some.n + 1));
        t->e->scratch.some.at[t->e->scratch.some.n++] = row;
    }
    io->node = s.best.row;
    io->ties = s.best.ties;
    io->n_candidates = s.n_free + s.n_broken;
    return KS_OK;
}

/* All of them, for a list. */
static ks_status note_all(task *t, const kept *k) {
    KS_TRY(KS_VEC_RESERVE(&t->e->mem, &t->e->scratch.some, k->n_candidates));
    t->e->scratch.some.n = 0;
    for (int32_t row = 0; row < k->n_rows; row++)
        if (k->at.at[row].broken >= 0)
            t->e->scratch.some.at[t->e->scratch.some.n++] = row;
    return KS_OK;
}

static ks_status list_candidates(task *t, const kept *k) {
    ks_engine *e = t->e;
    int32_t n = 0;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->candidates, 4 * (int64_t)t->io->n_candidates + 1));
    int32_t *row_of = e->candidates.at, *broken = row_of + t->io->n_candidates;
    int32_t *ties = broken + t->io->n_candidates, *start = ties + t->io->n_candidates;
    ks_preemption quiet = *t->io; /* asking again must not count again */
    quiet.rejected = NULL;
    ks_preemption *io = t->io;
    t->io = &quiet;
    for (int32_t i = 0; i < e->scratch.some.n; i++) {
        int32_t row = e->scratch.some.at[i];
        row_of[n] = row;
        broken[n] = k->at.at[row].broken;
        ties[n] = !is_better(&k->at.at[io->node], &k->at.at[row]);
        start[n++] = (int32_t)e->victims.n;
        KS_TRY(list_victims(t, row, true));
    }
    start[n] = (int32_t)e->victims.n;
    t->io = io;
    io->candidate_row = row_of;
    io->candidate_broken = broken;
    io->candidate_ties = ties;
    io->candidate_start = start;
    io->candidate_victim = e->victims.at;
    return KS_OK;
}

static ks_status look_at_rows(task *t, kept *k) {
    bool is_kept = can_keep(t->e, t->c, t->io), scans = is_kept && looks_beyond_row(t->e, t->c);
    if (scans && is_limited(t->e, t->p))
        is_kept = scans = false; /* which rows may be cured is not kept */
    if (k->scans != scans)
        k->position = -1;
    k->scans = scans;
    return scans ? follow_and_scan(t, k) : follow(t, k, is_kept);
}

static void tell(const kept *k, ks_preemption *io) {
    io->n_tried = k->n_tried;
    io->n_without_victims = k->n_without_victims;
    io->n_candidates = k->n_candidates;
    io->node = k->n_rows > 0 ? k->best.at[1].row : KS_NONE;
    io->ties = k->n_rows > 0 ? k->best.at[1].ties : 0;
}

static ks_status open_task(ks_engine *e, ks_preemption *io, task *t) {
    *t = (task){.e = e,
                .p = &e->profiles.at[io->profile],
                .c = &e->classes.at[io->class_id],
                .priority = io->priority,
                .io = io};
    t->without = *t->p;
    t->without.n_filters = 0;
    for (int32_t i = 0; i < t->p->n_filters; i++)
        if (t->p->filter[i] != KS_FILTER_POD_TOPOLOGY_SPREAD && t->p->filter[i] != KS_FILTER_INTER_POD_AFFINITY)
            t->without.filter[t->without.n_filters++] = t->p->filter[i];
    KS_TRY(ks_start_judging(e, t->c));
    t->verdict.insufficient = e->scratch.bits.at;
    KS_TRY(ks_log_reserve(e, 1)); /* so that trials do not drop the log on their way */
    if (t->c->evictions == NULL) {
        KS_TRY(
            ks_reserve(&e->mem, (void **)&t->c->evictions, &t->c->evictions_bytes, (int64_t)sizeof(ks_evictions), 1));
    }
    return KS_OK;
}

ks_status ks_preempt(ks_engine *e, ks_preemption *io) {
    if (e == NULL || io == NULL || (io->rejected == NULL) != (io->insufficient == NULL))
        return KS_EINVAL;
    if (io->profile < 0 || io->profile >= e->profiles.n || !ks_has_class(e, io->class_id))
        return KS_ERANGE;
    task t;
    KS_TRY(open_task(e, io, &t));
    if (io->rejected != NULL) {
        memset(io->rejected, 0, (size_t)ks_n_rejected(e) * sizeof *io->rejected);
        memset(io->insufficient, 0, (size_t)e->n_resources * sizeof *io->insufficient);
    }
    kept *k = find_kept(&t);
    KS_TRY(look_at_rows(&t, k));
    tell(k, io);
    e->victims.n = 0;
    int32_t enough = n_enough(t.p, k->n_tried);
    if (enough < k->n_tried && k->n_candidates > 0)
        KS_TRY(look_at_some(&t, k, enough));
    else if (io->list_all)
        KS_TRY(note_all(&t, k));
    if (io->list_all && io->n_candidates > 0)
        KS_TRY(list_candidates(&t, k));
    io->n_victims = 0;
    if (io->node == KS_NONE)
        return KS_OK;
    int64_t from = e->victims.n;
    KS_TRY(list_victims(&t, io->node, true));
    io->candidate_victim = e->victims.at; /* may have moved */
    io->victim = e->victims.at + from;
    io->n_victims = (int32_t)(e->victims.n - from);
    return KS_OK;
}

void ks_class_evictions_forget(ks_class *c) {
    for (int32_t i = 0; c->evictions != NULL && i < MOST_KEPT; i++)
        c->evictions->of[i].position = -1;
}

void ks_class_evictions_free(ks_engine *e, ks_class *c) {
    if (c->evictions == NULL)
        return;
    for (int32_t i = 0; i < MOST_KEPT; i++) {
        KS_VEC_DISCARD(&e->mem, &c->evictions->of[i].at);
        KS_VEC_DISCARD(&e->mem, &c->evictions->of[i].best);
        KS_VEC_DISCARD(&e->mem, &c->evictions->of[i].is_seen);
    }
    ks_discard(&e->mem, (void **)&c->evictions, &c->evictions_bytes, 1);
}

void ks_preempt_free(ks_engine *e) {
    KS_VEC_DISCARD(&e->mem, &e->victims);
    KS_VEC_DISCARD(&e->mem, &e->candidates);
    KS_VEC_DISCARD(&e->mem, &e->evicted);
    KS_VEC_DISCARD(&e->mem, &e->scratch.lower);
    KS_VEC_DISCARD(&e->mem, &e->scratch.gone);
    KS_VEC_DISCARD(&e->mem, &e->scratch.come);
    KS_VEC_DISCARD(&e->mem, &e->scratch.breaks);
    KS_VEC_DISCARD(&e->mem, &e->scratch.bits);
    KS_VEC_DISCARD(&e->mem, &e->scratch.some);
}

/* ---- pods that evict while others are placed ---- */

static ks_status check_evicting(const ks_engine *e, const ks_evicting *v, int32_t n) {
    if (v == NULL || n < 0 || !v->victim_start || (n > 0 && (!v->priority || !v->may_evict || !v->handle)))
        return KS_EINVAL;
    int64_t sets = e->known.budget_start.n == 0 ? 1 : e->known.budget_start.n;
    for (int32_t i = 0; v->budgets != NULL && i < n; i++)
        if (v->budgets[i] < 0 || v->budgets[i] >= sets)
            return KS_ERANGE;
    return v->holds == NULL ? KS_OK : ks_holds_check(v->holds, n);
}

/* Most attachments that a pod of the batch asks for. */
static int32_t most_held(const ks_evicting *v, int32_t n) {
    int32_t most = 0;
    for (int32_t i = 0; v->holds != NULL && i < n; i++)
        if (v->holds->start[i + 1] - v->holds->start[i] > most)
            most = v->holds->start[i + 1] - v->holds->start[i];
    return most;
}

static ks_status swap(ks_engine *e, ks_options *o, const ks_preemption *found, uint64_t *devices) {
    const ks_class *c = &e->classes.at[found->class_id];
    *devices = 0;
    for (int32_t v = 0; v < found->n_victims; v++) {
        const ks_known *pod = &e->known.pods.at[found->victim[v]];
        KS_TRY(ks_account(e, pod->class_id, pod->row, pod->devices, false));
    }
    if (c->device_count > 0)
        *devices = ks_devices_choose(e, e->profiles.at[o->profile].device_select, c, found->node, &o->rng);
    return ks_account(e, found->class_id, found->node, *devices, true);
}

/* The victims leave at once, and the pod takes their place; on an error nobody moves. */
static ks_status take_place(ks_engine *e, ks_options *o, const ks_preemption *found, const ks_decisions *out,
                            int32_t i) {
    int64_t mark;
    uint64_t devices;
    KS_TRY(KS_VEC_RESERVE(&e->mem, &e->evicted, e->evicted.n + found->n_victims));
    KS_TRY(ks_known_reserve(e, found->node));
    KS_TRY(ks_speculate(e, &mark));
    ks_status status = swap(e, o, found, &devices);
    if (status != KS_OK) {
        KS_TRY(ks_rollback(e, mark));
        return status;
    }
    for (int32_t v = 0; v < found->n_victims; v++) {
        ks_known_drop(e, found->victim[v]);
        e->evicted.at[e->evicted.n++] = found->victim[v];
    }
    out->node[i] = found->node;
    out->score[i] = -1;
    out->ties[i] = out->feasible[i] = 1;
    out->devices[i] = devices;
    return ks_keep(e, mark);
}

/* Room to know the pod that was just placed, or it is taken off again. */
static ks_status reserve_or_release(ks_engine *e, int32_t class_id, int32_t row, uint64_t devices) {
    ks_status status = ks_known_reserve(e, row);
    if (status != KS_OK)
        KS_TRY(ks_account(e, class_id, row, devices, false));
    return status;
}

/* Pods to place: the most attachments that one asks for, and whether limits still say to all what they said before. */
typedef struct batch {
    const ks_evicting *v;
    int32_t most;
    bool is_settled;
} batch;

static ks_status place_or_evict(ks_engine *e, ks_options *o, batch *b, int32_t i, int32_t class_id,
                                const ks_decisions *out) {
    KS_TRY(ks_place_one(e, o, class_id, true, out, i));
    if (out->node[i] != KS_NONE)
        return reserve_or_release(e, class_id, out->node[i], out->devices[i]);
    if (!b->v->may_evict[i])
        return KS_OK;
    ks_preemption found = {.profile = o->profile, .class_id = class_id, .priority = b->v->priority[i]};
    found.rng = o->tie == KS_TIE_UNIFORM ? &o->rng : NULL;
    KS_TRY(ks_preempt(e, &found));
    if (found.node == KS_NONE)
        return KS_OK;
    b->is_settled = b->most == 0 || !ks_holds_are_near(e, found.node, b->most);
    return take_place(e, o, &found, out, i);
}

static ks_status place_one(ks_engine *e, ks_options *o, batch *b, int32_t i, int32_t class_id,
                           const ks_decisions *out) {
    const ks_evicting *v = b->v;
    v->handle[i] = KS_NONE;
    b->is_settled = true;
    if (b->most > 0)
        KS_TRY(ks_holds_ask(e, v->holds, i, 0, true));
    KS_TRY(place_or_evict(e, o, b, i, class_id, out));
    if (out->node[i] == KS_NONE)
        return KS_OK;
    v->handle[i] = ks_known_add(e, (ks_known){.started = v->started == NULL ? INT64_MAX : v->started[i],
                                              .devices = out->devices[i],
                                              .class_id = class_id,
                                              .row = out->node[i],
                                              .priority = v->priority[i],
                                              .budgets = v->budgets == NULL ? 0 : v->budgets[i]});
    if (b->most > 0) {
        ks_holds_move_to(e, v->handle[i]);
        b->is_settled &= !ks_holds_are_near(e, out->node[i], b->most);
    }
    return KS_OK;
}

ks_status ks_place_evicting(ks_engine *e, ks_options *o, ks_evicting *v, int32_t n, const int32_t *class_id,
                            const ks_decisions *out, int32_t *n_done) {
    if (e == NULL || out == NULL || n_done == NULL || (n > 0 && class_id == NULL) || !out->node || !out->score ||
        !out->ties || !out->feasible || !out->devices)
        return KS_EINVAL;
    *n_done = 0;
    KS_TRY(ks_check_batch(e, o, n, class_id));
    KS_TRY(check_evicting(e, v, n));
    if (e->n_marks > 0)
        return KS_ESTATE; /* known pods do not come back by themselves */
    if (o->driver != KS_DRIVER_DENSE)
        KS_TRY(ks_index_expect(e, o->profile, o->driver, n, class_id));
    e->evicted.n = 0;
    v->victim_start[0] = 0;
    batch b = {v, most_held(v, n), true};
    ks_status status = KS_OK;
    bool all = true;
    while (*n_done < n && status == KS_OK && b.is_settled && (all || v->stop == 0)) {
        status = place_one(e, o, &b, *n_done, class_id[*n_done], out);
        v->victim_start[*n_done + 1] = (int32_t)e->evicted.n;
        all &= v->handle[*n_done] != KS_NONE;
        *n_done += status == KS_OK;
    }
    v->victim = e->evicted.at;
    ks_status silence = ks_holds_ask(e, NULL, 0, 0, false);
    return status == KS_OK ? silence : status;
}
