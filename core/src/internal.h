/* SPDX-License-Identifier: Apache-2.0
 *
 * internal.h: the data of an engine, shared by its sources.
 *
 *   ks_engine
 *   ├── mem          allocator and byte count
 *   ├── sets         interned label, taint and image sets, ports          sets.c
 *   ├── nodes        columns [row], structure of arrays                   nodes.c
 *   ├── pairwise     counters of running pods, topologies, sums over domains      pairwise.c rules.c
 *   ├── classes      pod classes with verdicts cached per interned set    classes.c match.c
 *   ├── profiles     which filters and scores, with arguments             profile.c
 *   ├── users        users' plugins, and columns that users add to nodes  user.c
 *   ├── order        of the nodes, for searches that end early            search.c
 *   ├── within       the placement that decisions keep to                 placements.c groups.c
 *   ├── log          rows that changed, read by every index               log.c
 *   ├── undo         what to take back when a speculation ends            undo.c
 *   ├── known        running pods that can be evicted, nominated ones     known.c nominated.c preempt.c
 *   └── indexes      one per profile                                      index.c
 *
 * A decision reads nodes × one class through fit.c, score.c, rules.c and gpu.c. There are two drivers: dense.c looks at
 * every row; index.c keeps the best of each class, with cells.c for classes that look at other pods and sweep.c for
 * those that are asked for once or twice.
 */
#ifndef KS_INTERNAL_H
#define KS_INTERNAL_H

#include "ks.h"

#include <stdbool.h>

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__) &&                           \
    !defined(__SANITIZE_ADDRESS__)
/* One wheel for every x86-64: the hot loops are compiled three times and the processor picks. */
#if __GNUC__ >= 12
#define KS_WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define KS_WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#else
#define KS_WIDE
#endif

#define KS_TRY(call)                                                                                                   \
    do {                                                                                                               \
        ks_status try_status_ = (call);                                                                                \
        if (try_status_ != KS_OK)                                                                                      \
            return try_status_;                                                                                        \
    } while (0)

/* ---- memory ---- */

typedef struct ks_memory {
    ks_allocator allocator;
    int64_t bytes;
} ks_memory;

/* Growable array: `at` holds n used of cap allocated elements. */
#define KS_VEC(type)                                                                                                   \
    struct {                                                                                                           \
        type *at;                                                                                                      \
        int64_t n;                                                                                                     \
        int64_t cap;                                                                                                   \
    }

void ks_memory_default(ks_memory *mem);
/* Grows *block to hold `need` elements (never shrinks); new elements are zero. */
ks_status ks_reserve(ks_memory *mem, void **block, int64_t *cap, int64_t need, size_t element);
void ks_discard(ks_memory *mem, void **block, int64_t *cap, size_t element);

#define KS_VEC_RESERVE(mem, vec, need) ks_reserve((mem), (void **)&(vec)->at, &(vec)->cap, (need), sizeof *(vec)->at)
#define KS_VEC_DISCARD(mem, vec) ks_discard((mem), (void **)&(vec)->at, &(vec)->cap, sizeof *(vec)->at)

/* ---- interned sets ---- */

typedef struct ks_label {
    int64_t number;
    int32_t key;
    int32_t value;
    bool is_number;
} ks_label;

typedef struct ks_taint {
    int32_t key, value, effect;
} ks_taint;

typedef struct ks_image_size {
    int64_t size;
    int32_t image;
} ks_image_size;

typedef struct ks_port {
    int32_t ip, protocol, port;
} ks_port;

/* What the cluster knows of an image: the size its first node reported, and on how many nodes it is. */
typedef struct ks_image {
    int64_t size;
    int32_t n_nodes;
} ks_image;

/* start[id] .. start[id + 1] of a pool belong to set id; start has n_sets + 1 entries. */
typedef KS_VEC(int32_t) ks_starts;

typedef struct ks_sets {
    KS_VEC(ks_label) label;
    ks_starts label_start;
    KS_VEC(ks_taint) taint;
    ks_starts taint_start;
    KS_VEC(ks_image_size) image;
    ks_starts image_start;
    KS_VEC(ks_port) port;
    KS_VEC(ks_image) images; /* by image id */
    int64_t version;         /* changes with every new set and with image_version */
    int64_t image_version;   /* changes when any image score may have changed */
    int32_t n_images_present;
} ks_sets;

#define KS_N_LABEL_SETS(e) ((int32_t)((e)->sets.label_start.n - 1))
#define KS_N_TAINT_SETS(e) ((int32_t)((e)->sets.taint_start.n - 1))
#define KS_N_IMAGE_SETS(e) ((int32_t)((e)->sets.image_start.n - 1))

/* ---- nodes ---- */

/* A short list of numbers that each row has of its own. */
typedef struct ks_row_list {
    int32_t *at;
    int32_t n, cap; /* 16 bytes, not 24: there are two for every row */
} ks_row_list;

ks_status ks_row_list_reserve(ks_memory *mem, ks_row_list *list, int64_t need);
void ks_row_list_discard(ks_memory *mem, ks_row_list *list);

/* Kinds of device pods on a node: 0 shares a device, k holds k whole ones (GpuClustering tells them apart). */
#define KS_KINDS(e) ((e)->device_stride + 1)

typedef struct ks_amount {
    int32_t resource;
    int64_t amount;
} ks_amount;

/* ---- pairwise ---- */

/* Domains of a topology key, numbered as their values appear; domain 0 is the value "", which also stands for a
 * missing label where upstream lets it (KS_TALLY_MISSING). */
typedef struct ks_topology {
    int32_t label_key, n_domains;
    int32_t n_shared;         /* domains with more than one row */
    KS_VEC(int32_t) domain;   /* [row] KS_NONE: the row has no such label, or was removed */
    KS_VEC(int32_t) of_value; /* [value id] domain + 1, 0: not seen */
    KS_VEC(int32_t) rows;     /* [domain] */
    int64_t cut_version;      /* ks_engine.rows_version + 1 of what follows; 0: not there yet */
    KS_VEC(int32_t) first;    /* first row of each domain that has one, ascending */
    KS_VEC(int32_t) begin;    /* [domain + 1] into members */
    KS_VEC(int32_t) members;  /* rows by domain, ascending */
} ks_topology;

/* Running pods of the classes that joined. */
typedef struct ks_counter {
    KS_VEC(int32_t) pods;    /* [row] */
    KS_VEC(int32_t) tallies; /* that add it up */
    bool is_gone;            /* given up: its id is free */
} ks_counter;

/* Which rows a tally takes in, beside the KS_SPREAD_HONOR_* flags. */
enum {
    KS_TALLY_HARD_KEYS = 16, /* rows with every key of the class's hard constraints */
    KS_TALLY_SOFT_KEYS = 32, /* ... of its soft constraints */
    KS_TALLY_MISSING = 64    /* rows without the key count as domain 0 */
};

/* Pods of a counter by domain, over the rows that a class admits; added up when it is first asked for after rows
 * changed, and kept up to date as pods come and go. */
typedef struct ks_tally {
    int32_t counter, topology;
    int32_t class_id, flags; /* class_id KS_NONE: all rows with the key */
    int64_t version;         /* ks_engine.rows_version that it was added up for */
    int64_t total, fewest;
    int32_t n_fewest;       /* domains with an admitted row that have the fewest pods; 0: not known */
    int32_t n_domains;      /* that have an admitted row */
    KS_VEC(int32_t) pods;   /* [domain] */
    KS_VEC(int32_t) rows;   /* [domain] admitted rows */
    KS_VEC(int32_t) domain; /* [row] KS_NONE: not admitted */
} ks_tally;

/* A rule of inter-pod affinity. */
typedef struct ks_pair {
    int32_t tally, topology, kind;
    int64_t weight;
} ks_pair;

typedef struct ks_spread {
    int32_t counter, topology, tally, max_skew, min_domains;
    bool self, by_host;
    int64_t fewest; /* hard: pods in the emptiest domain; of the decision at hand */
    double weight;  /* soft: of one pod; of the decision at hand */
} ks_spread;

typedef struct ks_pairwise {
    int32_t n_hard, n_soft, n_affinity, n_anti, n_existing, n_scored;
    bool needs_all, affinity_self, affinity_any; /* any: some running pod matches the required affinity */
    bool has_own;                                /* scored terms of its own */
    ks_spread *hard, *soft;
    ks_pair *affinity, *anti, *existing, *scored;
    void *block;
    int64_t block_bytes;
} ks_pairwise;

/* Verdicts or raw scores of one plugin that the caller computed for a class; rows beyond the end have 0. */
typedef struct ks_verdicts {
    int32_t filter;
    KS_VEC(uint8_t) code;
} ks_verdicts;

/* ---- classes ---- */

typedef struct ks_terms {
    int32_t n_terms;
    int32_t *term_start;
    int32_t *weight;
    int32_t *key;
    int32_t *op;
    int64_t *number;
    uint8_t *is_number;
    int32_t *value_start;
    int32_t *value;
} ks_terms;

typedef struct ks_class {
    int32_t n_request, n_checked, n_fit_request;
    ks_amount *request;     /* > 0 only, without pods; the first n_checked must fit */
    ks_amount *fit_request; /* > 0 only */
    int64_t nonzero_cpu, nonzero_memory;
    int32_t node_name;
    bool tolerates_unschedulable;
    int32_t n_tolerations;
    int32_t *toleration; /* [n][4]: key, op, value, effect */
    bool has_required, has_enforced;
    bool by_node; /* a selector looks at the node's name or hostname: verdicts cannot be cached per label set */
    ks_terms selector, required, preferred, enforced;
    int32_t n_ports, n_images, n_image_containers;
    int32_t *port, *image;
    int32_t device_count, device_milli;
    uint64_t device_models;
    /* caches, filled by ks_class_prepare */
    int64_t n_label, label_cap, label_own_cap, label_pref_cap;
    uint8_t *label_pass; /* selector, required and enforced */
    uint8_t *label_own;  /* selector and required: what rules about other pods honour */
    int32_t *label_pref;
    int64_t n_taint, taint_cap, taint_pref_cap;
    uint8_t *taint_pass;
    int32_t *taint_pref;
    int64_t n_image_score, image_cap;
    int64_t image_version;
    int32_t *image_score;
    void *block; /* one allocation for all arrays of the specification */
    int64_t block_bytes;
    ks_pairwise pairwise;
    struct ks_cells *cells; /* NULL until it is asked for with the indexed driver */
    int64_t cells_bytes;
    struct ks_evictions *evictions; /* what evicting pods for it would mean, by row; NULL until it asks */
    int64_t evictions_bytes;
    KS_VEC(ks_verdicts) verdicts;
    KS_VEC(int64_t) raw;      /* of KS_SCORE_DYNAMIC_RESOURCES */
    KS_VEC(int32_t) counters; /* that the class joined */
    KS_VEC(int32_t) moved;    /* counters that only count its pods in thought */
    int64_t n_pods;           /* running */
    bool is_gone;             /* given up: its id is free */
} ks_class;

/* ---- users' plugins ---- */

enum { KS_LANES = 64 }; /* of a lane group: one cache line of bytes */

typedef struct ks_user {
    ks_user_function function;
    void *context;
    bool is_filter;
    int32_t normalize, n_node, n_pod;
    int32_t *input, *which;
    void *block;
    int64_t block_bytes;
} ks_user;

/* ---- profiles ---- */

typedef struct ks_score {
    int32_t plugin, variant;
    int64_t weight;
    int32_t n_resources, n_points;
    int32_t *resource;
    int64_t *resource_weight;
    int64_t *utilization;
    int64_t *shape_score;
} ks_score;

typedef struct ks_profile {
    uint32_t filters;
    int32_t n_filters, filter[KS_N_FILTERS]; /* in order */
    int32_t n_scores;
    int32_t device_select;
    ks_score *scores;
    int64_t taint_weight, affinity_weight, image_weight; /* of the plugins that see nodes in groups; 0: absent */
    int64_t claim_weight;                                /* of DynamicResources */
    int64_t spread_weight, pods_weight;                  /* of PodTopologySpread and InterPodAffinity; 0: absent */
    int64_t required_weight;
    bool ignore_existing;
    int32_t node_percentage; /* as in ks_profile_spec */
    ks_score *placement_fit; /* NULL: absent */
    int64_t placement_pods_weight;
    int32_t candidate_percentage, candidate_least;
    int32_t n_user_filters, n_user_scores;
    int32_t *user_filter;
    bool user_normalized; /* a user's score needs all feasible rows */
    int64_t local_bound;  /* greatest weighted sum of the other plugins */
    int64_t base_bound;   /* what it is less at least by leaving ks_local_base out */
    bool has_scale;       /* scores by the size of the policies' largest machine: below 0 beyond it */
    void *block;
    int64_t block_bytes;
} ks_profile;

typedef struct ks_typical {
    int32_t n, n_millis;
    int64_t *cpu;
    int32_t *count;
    int32_t *milli;
    int32_t *milli_slot; /* index into millis */
    int32_t *millis;     /* distinct values */
    uint64_t *models;
    double *frequency;
    void *block;
    int64_t block_bytes;
} ks_typical;

/* ---- speculation ---- */

typedef enum ks_change { KS_WAS_RELEASE, KS_WAS_BIND, KS_WAS_RECLASS } ks_change;

typedef struct ks_undo_entry {
    uint64_t devices;
    int32_t class_id, node;
    int32_t at;  /* position in the row's list of pods */
    int32_t now; /* the new class of a pod that changed it */
    ks_change what;
} ks_undo_entry;

/* ---- eviction ---- */

typedef KS_VEC(ks_row_list) ks_row_lists;

/* What pods hold of volumes, see ks_holds_set; lists of pairs. */
typedef struct ks_holds {
    ks_row_lists of[KS_N_HOLDS]; /* [handle] or [row]; beyond the end there is nothing */
    ks_row_list asker;
    int32_t in_use; /* claims for one pod that the asker wants */
    bool are_new;   /* nobody holds what the asker does: the answer is its class's */
    uint8_t disk_code, in_use_code, too_many_code;
    KS_VEC(int32_t) stamp; /* [item] clock of the count that saw it last */
    int32_t clock;
} ks_holds;

enum { KS_FREE_HANDLE = -2 }; /* row of a handle that is not in use; KS_NONE: the pod's node is gone */

typedef struct ks_known {
    int64_t started;
    uint64_t devices;
    int32_t class_id, row, priority, budgets;
} ks_known;

typedef struct ks_known_table {
    KS_VEC(ks_known) pods;         /* [handle] */
    KS_VEC(int32_t) free;          /* handles */
    ks_row_lists on;               /* [row] handles */
    KS_VEC(int32_t) allowed, left; /* [budget] */
    ks_starts budget_start;
    KS_VEC(int32_t) budget;
    int64_t version; /* changes when a budget lets more or fewer pods go */
} ks_known_table;

typedef struct ks_nominated {
    int32_t class_id, row, priority; /* row KS_NONE: handle not in use */
} ks_nominated;

typedef struct ks_asker {
    bool is_on;
    int32_t priority, nominated;
} ks_asker;

/* A row on which the asking pod fails together with nominated ones. */
typedef struct ks_veto {
    int32_t row, filter;
    uint8_t detail;
    bool unresolvable;
} ks_veto;

typedef struct ks_verdict {
    int32_t filter; /* KS_NONE: passes */
    uint8_t detail;
    bool unresolvable;
    uint64_t *insufficient; /* [W] of NodeResourcesFit */
} ks_verdict;

/* Pods that are thought away from a row (known) or onto it (nominated). */
typedef struct ks_moved {
    int32_t n_gone;
    const int32_t *gone;
    int32_t n_come;
    const int32_t *come;
} ks_moved;

typedef struct ks_index ks_index;

enum { KS_MOST_PLAIN = 4 }; /* resources of a plain fit score: the core ones */

/* What the last column of plain scores that was swept belongs to. */
typedef struct ks_kept {
    int32_t profile, n_rows;
    int64_t position;                                    /* in the log */
    int64_t fit[KS_MOST_PLAIN], balanced[KS_MOST_PLAIN]; /* amounts of the scored resources */
} ks_kept;

/* ---- placements of groups ---- */

/* Rows that can be chosen. */
typedef struct ks_placement {
    bool is_on; /* false: all rows */
    int32_t topology, domain;
    int32_t n;
    const int32_t *row; /* ascending; of the topology */
} ks_placement;

/* A placement in which a group found its place, and where to begin to find it again. */
typedef struct ks_trial {
    uint64_t rng;
    int64_t fit;
    int32_t row, next_node, pods;
} ks_trial;

/* Columns of the dense driver, one entry a row. */
typedef struct ks_scratch {
    KS_VEC(uint8_t) feasible, shut;
    KS_VEC(int64_t) local;
    KS_VEC(int64_t) kept; /* of ks_kept */
    KS_VEC(int64_t) user; /* scores of a user's plugin */
    KS_VEC(int32_t) taint;
    KS_VEC(int32_t) affinity;
    KS_VEC(int32_t) image;
    KS_VEC(int64_t) spread, pods;      /* raw scores of the pairwise plugins */
    KS_VEC(uint8_t) seen;              /* [domain] */
    KS_VEC(int32_t) near;              /* [rule] */
    KS_VEC(int32_t) listed;            /* rows that a search may look at */
    KS_VEC(int32_t) lower, gone, come; /* handles of the row at hand */
    KS_VEC(int32_t) some;              /* rows */
    KS_VEC(uint8_t) breaks;
    KS_VEC(uint64_t) bits; /* [W] */
} ks_scratch;

/* Devices that stand in for an extended resource; [row]. */
typedef struct ks_stand_in {
    int32_t resource;
    KS_VEC(int64_t) total;
    KS_VEC(int64_t) taken;
} ks_stand_in;

struct ks_engine {
    ks_memory mem;
    ks_kept kept;
    ks_sets sets;

    int32_t n_resources;
    int32_t n_rows, n_live;
    int64_t **allocatable, **used;
    int64_t resource_cap_a, resource_cap_u; /* of the pointer arrays */
    int64_t *column_cap;                    /* [2 R] capacity of each resource column */
    int64_t column_cap_cap;
    KS_VEC(int64_t) nonzero_cpu;
    KS_VEC(int64_t) nonzero_memory;
    KS_VEC(int32_t) name_id;
    KS_VEC(int32_t) hostname_value;
    KS_VEC(int32_t) label_set;
    KS_VEC(int32_t) taint_set;
    KS_VEC(int32_t) image_set;
    KS_VEC(uint8_t) unschedulable;
    KS_VEC(uint8_t) live;
    KS_VEC(int32_t) device_count;
    KS_VEC(int32_t) device_model;
    bool beyond_scale; /* some row is, or was, larger than that machine */
    int32_t device_stride;
    KS_VEC(int32_t) device_free;  /* [row][device_stride] */
    KS_VEC(int32_t) device_kinds; /* [row][device_stride + 1] pods per kind */
    KS_VEC(ks_row_list) ports;    /* in use, once for each pod that uses it */
    KS_VEC(ks_row_list) pods;     /* class of each pod */
    KS_VEC(double) fragmented;    /* valid where fragmented_valid */
    KS_VEC(uint8_t) fragmented_valid;

    KS_VEC(ks_topology) topologies;
    KS_VEC(ks_counter) counters;
    KS_VEC(ks_tally) tallies;
    KS_VEC(int32_t) free_counters, free_tallies; /* ids to be given out again */
    int64_t rows_version;                        /* changes whenever a row is added, rewritten or removed */
    int64_t joins; /* changes whenever counters changed on rows that the log does not tell of */

    KS_VEC(ks_class) classes;
    KS_VEC(int32_t) free_classes; /* ids to be given out again */
    KS_VEC(ks_profile) profiles;
    KS_VEC(ks_stand_in) stand_ins;
    ks_typical typical;

    KS_VEC(ks_user) users;
    KS_VEC(ks_user_failure) failure;              /* one; row KS_NONE: none yet */
    KS_VEC(double) user_node, user_pod, user_out; /* of the call at hand */
    KS_VEC(double) failed_node, failed_pod;       /* what the failure had read */
    KS_VEC(double) column;                        /* [row][n_columns] that users added */
    int32_t n_columns;

    KS_VEC(int32_t) order; /* rows as they are looked at; n 0: not known */
    ks_placement within;
    KS_VEC(ks_trial) trials;    /* of the group at hand */
    KS_VEC(int32_t) trial_pods; /* [trial], as ks_placement_choose takes them */
    KS_VEC(int64_t) trial_fit;

    KS_VEC(int32_t) log;      /* row, or ~row when its static side changed */
    KS_VEC(int64_t) last_log; /* [row] absolute position of its last entry */
    int64_t log_base;         /* absolute position of log.at[0] */

    KS_VEC(ks_undo_entry) undo;
    int32_t n_marks;
    bool quiet; /* what happens now is taken back before anybody asks: the log need not tell */

    ks_known_table known;
    KS_VEC(ks_nominated) nominated;
    ks_asker asking;
    bool skips_pods;                              /* InterPodAffinity has no say in the question at hand */
    KS_VEC(ks_veto) vetoes;                       /* of the question at hand */
    KS_VEC(uint64_t) veto_bits;                   /* [veto][W] */
    KS_VEC(int32_t) victims, candidates, evicted; /* results of the last call */
    ks_holds holds;

    int64_t cell_clock;     /* decisions by cells.c */
    int64_t n_cell_entries; /* rows of all classes that have cells */

    KS_VEC(ks_index *) indexes; /* by profile, NULL until used */
    ks_scratch scratch;
};

/* A decision for one pod. */
typedef struct ks_choice {
    int64_t score;
    int32_t node, ties, feasible;
} ks_choice;

/* ---- log.c ---- */
ks_status ks_log_reserve(ks_engine *e, int64_t extra);
void ks_log_row(ks_engine *e, int32_t row, bool is_static); /* after ks_log_reserve */
void ks_log_all(ks_engine *e);                              /* every index rebuilds itself at its next use */
void ks_log_surely(ks_engine *e, int32_t row);              /* cannot fail: without memory all is logged */
static inline int64_t ks_log_end(const ks_engine *e) { return e->log_base + e->log.n; }
/* The next row that changed from position *at on, which moves behind its entry; KS_NONE: no more. A row is told once,
 * with its last entry; *is_static says whether its static side changed. */
static inline int32_t ks_log_next(const ks_engine *e, int64_t *at, bool *is_static) {
    while (*at < ks_log_end(e)) {
        int64_t here = (*at)++;
        int32_t entry = e->log.at[here - e->log_base], row = entry < 0 ? ~entry : entry;
        *is_static = entry < 0;
        if (e->last_log.at[row] == here)
            return row;
    }
    return KS_NONE;
}

/* ---- sets.c ---- */
ks_status ks_sets_init(ks_engine *e);
void ks_sets_free(ks_engine *e);
bool ks_ports_conflict(const ks_engine *e, int32_t a, int32_t b);
void ks_images_count(ks_engine *e, int32_t image_set, int32_t sign);

/* ---- match.c ---- */
bool ks_terms_match_any(const ks_engine *e, const ks_terms *terms, int32_t label_set, int32_t hostname, int32_t name);
int32_t ks_terms_weight(const ks_engine *e, const ks_terms *terms, int32_t label_set, int32_t hostname, int32_t name);
bool ks_affinity_passes(const ks_engine *e, const ks_class *c, int32_t label_set, int32_t hostname, int32_t name);
bool ks_enforced_passes(const ks_engine *e, const ks_class *c, int32_t label_set, int32_t hostname, int32_t name);
void ks_taints_judge(const ks_engine *e, const ks_class *c, int32_t taint_set, bool *passes, int32_t *preferred);
int32_t ks_image_priority(const ks_engine *e, const ks_class *c, int32_t image_set);

/* ---- nodes.c ---- */
void ks_nodes_free(ks_engine *e);
bool ks_ports_in_use(const ks_engine *e, const ks_class *c, int32_t row);

/* ---- classes.c ---- */
void ks_classes_free(ks_engine *e);
/* Brings the class's caches up to date with the interned sets. O(new sets). */
ks_status ks_class_prepare(ks_engine *e, ks_class *c);
static inline int64_t ks_amount_of(const ks_amount *list, int32_t n, int32_t resource) {
    for (int32_t i = 0; i < n; i++)
        if (list[i].resource == resource)
            return list[i].amount;
    return 0;
}

static inline bool ks_has_class(const ks_engine *e, int32_t class_id) {
    return class_id >= 0 && class_id < e->classes.n && !e->classes.at[class_id].is_gone;
}

/* ---- verdicts.c ---- */
void ks_class_verdicts_free(ks_engine *e, ks_class *c);
/* Devices in place of a resource on a row; 0 and 0: there are none. */
void ks_stand_in_of(const ks_engine *e, int32_t resource, int32_t row, int64_t *total, int64_t *taken);
void ks_stand_ins_free(ks_engine *e);
/* What the caller said of a filter on a row; 0 passes. */
static inline uint8_t ks_verdict_of(const ks_class *c, int32_t filter, int32_t row) {
    for (int64_t i = 0; i < c->verdicts.n; i++)
        if (c->verdicts.at[i].filter == filter)
            return row < c->verdicts.at[i].code.n ? c->verdicts.at[i].code.at[row] : 0;
    return 0;
}
static inline int64_t ks_raw_of(const ks_class *c, int32_t row) { return row < c->raw.n ? c->raw.at[row] : 0; }

/* ---- pairwise.c ---- */
#define KS_IGNORED INT64_MIN /* raw spread score of a row that is not scored */

/* Filters or scores of other pods' making: such a class is decided by looking at every row. */
static inline bool ks_has_pairwise(const ks_class *c) {
    const ks_pairwise *w = &c->pairwise;
    return w->n_hard + w->n_soft + w->n_affinity + w->n_anti + w->n_existing + w->n_scored > 0;
}
void ks_pairwise_free(ks_engine *e);
void ks_class_pairwise_free(ks_engine *e, ks_class *c);
/* Room for `rows` rows in all, and for the values that n rows about to be written bring. */
ks_status ks_domains_reserve(ks_engine *e, int64_t rows, const ks_node_rows *in);
void ks_domains_set(ks_engine *e, int32_t row); /* after a row was written or removed */
/* Position of a pod of the class in the row's list; of the end, if there is none. */
int64_t ks_pods_find(const ks_engine *e, int32_t class_id, int32_t row);
/* Puts a pod into its row's list at a position, or takes it out: the exact inverse. */
void ks_pods_count(ks_engine *e, int32_t class_id, int32_t row, int32_t sign, int64_t at);
/* The pod at the place `at` of the row's list belongs to another class. */
void ks_pods_reclass(ks_engine *e, int32_t from, int32_t to, int32_t row, int64_t at);
void ks_pods_clear(ks_engine *e, int32_t row);
void ks_tallies_drop_gone(ks_engine *e);
/* Brings the tallies of the class up to date and finds what its filters compare with. The class is prepared. */
ks_status ks_pairwise_prepare(ks_engine *e, ks_class *c);

/* ---- rules.c ---- */
typedef struct ks_range {
    int64_t min, max;
} ks_range;

static inline int32_t ks_n_rules(const ks_pairwise *w) {
    return w->n_hard + w->n_soft + w->n_affinity + w->n_anti + w->n_existing + w->n_scored;
}
/* Tally of a rule by its number; the constraints lie one after another, and so do the pairs. */
static inline int32_t ks_rule_tally(const ks_pairwise *w, int32_t rule) {
    int32_t n = w->n_hard + w->n_soft;
    return rule < n ? w->hard[rule].tally : w->affinity[rule - n].tally;
}
/* How PodTopologySpread and InterPodAffinity turn a place or a row down. The class's tallies are up to date. */
uint8_t ks_spread_verdict(const ks_pairwise *w, const int32_t *near);
uint8_t ks_pods_verdict(const ks_pairwise *w, const int32_t *near);
uint8_t ks_spread_filter(const ks_engine *e, const ks_class *c, int32_t row);
uint8_t ks_pods_filter(const ks_engine *e, const ks_class *c, int32_t row);
/* Raw scores of a place; of the spread score's weights, which depend on the feasible rows, ks_spread_weight is one. */
int64_t ks_spread_raw(const ks_pairwise *w, const int32_t *near);
int64_t ks_pods_raw(const ks_profile *p, const ks_pairwise *w, const int32_t *near);
double ks_spread_weight(int32_t n_domains);
int64_t ks_normalize_spread(int64_t raw, int64_t min, int64_t max);
int64_t ks_normalize_pods(int64_t raw, int64_t min, int64_t max);
/* Raw scores of the feasible rows into scratch.spread and scratch.pods. */
ks_status ks_spread_score(ks_engine *e, ks_class *c, const uint8_t *feasible);
ks_status ks_pods_score(ks_engine *e, const ks_profile *p, const ks_class *c, const uint8_t *feasible);
/* True if no term that the profile looks at has a pod on a node with its key. */
bool ks_pods_score_skips(const ks_engine *e, const ks_profile *p, const ks_class *c);
/* Replaces raw scores of the feasible rows by normalised ones. */
void ks_normalize_spread_column(const uint8_t *feasible, int64_t *raw, int32_t n);
void ks_normalize_pods_column(const uint8_t *feasible, int64_t *raw, int32_t n);

/* ---- profile.c ---- */
void ks_profiles_free(ks_engine *e);
static inline bool ks_is_pairwise(int32_t plugin) {
    return plugin == KS_SCORE_POD_TOPOLOGY_SPREAD || plugin == KS_SCORE_INTER_POD_AFFINITY;
}
static inline bool ks_is_grouped(int32_t plugin) {
    return plugin == KS_SCORE_TAINT_TOLERATION || plugin == KS_SCORE_NODE_AFFINITY || plugin == KS_SCORE_IMAGE_LOCALITY;
}
/* What the node-local plugins give a class at least, on every node. */
int64_t ks_local_base(const ks_engine *e, const ks_profile *p, const ks_class *c);
/* True if the plugin leaves this class out of scoring (upstream's PreScore Skip). The class is prepared. */
bool ks_score_skips(const ks_engine *e, const ks_profile *p, const ks_score *s, const ks_class *c);

/* ---- fit.c: filters; the class must be prepared ---- */
static inline bool ks_filter_is_on(const ks_profile *p, int32_t filter) { return (p->filters >> filter & 1u) != 0; }
/* Whether the filters pass that placing pods cannot change. */
bool ks_passes_static(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row);
bool ks_fit_passes(const ks_engine *e, const ks_class *c, int32_t row);
/* First failing built-in filter, or KS_NONE; *detail says how it failed. */
int32_t ks_filter(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row, uint8_t *detail);
/* Whether the built-in filters pass that look at other pods, or those that do not. */
bool ks_passes_pairwise(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row);
bool ks_passes_local(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row);
/* Which resources are short. bits [W] is written. */
void ks_fit_explain(const ks_engine *e, const ks_class *c, int32_t row, uint64_t *bits);
/* Why a filter turns the row down: a KS_DETAIL_* or the caller's code; KS_DETAIL_NONE if it passes. Filters that fail
 * in one way say 1. */
uint8_t ks_filter_fails(const ks_engine *e, const ks_class *c, int32_t row, int32_t filter);
/* Whether evicting pods cannot help a row that the filter turned down for this reason. */
bool ks_is_unresolvable(const ks_engine *e, const ks_class *c, int32_t row, int32_t filter, uint8_t detail);
static inline int32_t ks_affinity_weight(const ks_engine *e, const ks_class *c, int32_t row) {
    return c->by_node
               ? ks_terms_weight(e, &c->preferred, e->label_set.at[row], e->hostname_value.at[row], e->name_id.at[row])
               : c->label_pref[e->label_set.at[row]];
}

/* ---- score.c ---- */
enum { KS_MOST_BALANCED = 64 }; /* resources that balanced allocation can weigh; arbitrary, checked in profile.c */
#define KS_NARROW_ALLOC ((int64_t)1 << 46)
#define KS_NARROW_USED ((int64_t)1 << 52)

/* LeastAllocated or MostAllocated and balanced allocation of at most two core resources, NULL where absent: beside them
 * and what depends on more than the row the profile scores nothing. */
typedef struct ks_plain {
    const ks_score *fit, *balanced;
} ks_plain;
bool ks_scores_are_plain(const ks_profile *p, ks_plain *out);
/* Whether doubles hold all that comes of the class's requests. */
bool ks_is_narrow(const ks_class *c);
/* Raw score of one node-local plugin. */
int64_t ks_score_one(ks_engine *e, const ks_score *s, const ks_class *c, int32_t row);
/* Weighted sum of the built-in node-local plugins (all but the grouped ones). */
int64_t ks_score_local(ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row);
int64_t ks_normalize_taint(int64_t raw, int64_t max);
int64_t ks_normalize_up(int64_t raw, int64_t max);

/* ---- user.c ---- */
static inline bool ks_is_user_score(int32_t plugin) { return plugin >= KS_N_SCORES; }
enum { KS_DETAIL_USER = 1 }; /* detail of a user's filter that refuses */
/* Takes rows that a user's filter refuses out of `feasible`; failed [N] gets the filter, and rejected, as in
 * ks_summary, is added to: both may be NULL. */
ks_status ks_user_filter_rows(const ks_engine *e, const ks_profile *p, const ks_class *c, uint8_t *feasible,
                              int32_t *failed, int64_t *rejected);
/* The same for one row; *filter is KS_NONE if all pass. */
ks_status ks_user_filter(const ks_engine *e, const ks_profile *p, const ks_class *c, int32_t row, int32_t *filter);
static inline int64_t ks_n_rejected(const ks_engine *e) { return (KS_N_FILTERS + e->users.n) * KS_N_DETAILS; }
/* Raw scores of the feasible rows; then normalised ones in their place. */
ks_status ks_user_score_rows(const ks_engine *e, int32_t plugin, const ks_class *c, const uint8_t *feasible,
                             int64_t *raw);
void ks_user_normalize(const ks_engine *e, int32_t plugin, const uint8_t *feasible, int64_t *raw);
/* Adds the weighted, normalised scores of all users' plugins on the feasible rows. */
ks_status ks_user_add_scores(ks_engine *e, const ks_profile *p, const ks_class *c, const uint8_t *feasible,
                             int64_t *total);
static inline bool ks_has_users(const ks_profile *p) { return p->n_user_filters + p->n_user_scores > 0; }
/* One row, n lanes: closes lanes that a user's filter refuses and adds users' weighted scores to the others' bytes.
 * `pod` is made by ks_user_lanes_fill, of ks_user_lanes_size doubles. */
int64_t ks_user_lanes_size(const ks_engine *e, const ks_profile *p, int32_t n);
void ks_user_lanes_fill(const ks_engine *e, const ks_profile *p, int32_t n, const int32_t *lane_class, double *out);
ks_status ks_user_lanes(const ks_engine *e, const ks_profile *p, int32_t row, int32_t n, const int32_t *lane_class,
                        const double *pod, uint8_t *bytes);
/* What a user's plugin reads of a row and of a class; node [n_node], pod [n_pod]. */
ks_status ks_user_inputs(const ks_engine *e, int32_t user, int32_t row, int32_t class_id, double *node, double *pod);
bool ks_is_user(const ks_engine *e, int32_t user, bool is_filter);
ks_status ks_columns_reserve(ks_engine *e, int64_t rows, int32_t n_columns);
void ks_columns_clear(ks_engine *e, int32_t row);
void ks_users_free(ks_engine *e);

/* ---- gpu.c ---- */
bool ks_devices_fit(const ks_engine *e, const ks_class *c, int32_t row);
bool ks_policy_has_scale(int32_t plugin);
bool ks_is_beyond_scale(const ks_engine *e, int32_t row);
int64_t ks_policy_score(ks_engine *e, int32_t plugin, const ks_class *c, int32_t row);
/* Devices for a pod of class c on row, or 0 if none fit. Draws from *rng only for KS_DEVICE_RANDOM. */
uint64_t ks_devices_choose(ks_engine *e, int32_t select, const ks_class *c, int32_t row, uint64_t *rng);
double ks_fragmented_of(ks_engine *e, int32_t row);
void ks_typical_free(ks_engine *e);
static inline int32_t ks_device_kind(const ks_class *c) {
    return c->device_milli < KS_DEVICE_WHOLE ? 0 : c->device_count;
}

/* ---- account.c ---- */
/* Adds or takes off one pod; checks before it changes anything. */
ks_status ks_account(ks_engine *e, int32_t class_id, int32_t node, uint64_t devices, bool bind);
/* Takes the last change back to the bit. Needs no memory. */
void ks_account_undo(ks_engine *e, const ks_undo_entry *last);

/* ---- known.c ---- */
void ks_known_free(ks_engine *e);
/* Room for one more known pod on the row; then adding cannot fail. */
ks_status ks_known_reserve(ks_engine *e, int32_t row);
int32_t ks_known_add(ks_engine *e, ks_known pod);
void ks_known_drop(ks_engine *e, int32_t handle);
void ks_known_clear(ks_engine *e, int32_t row); /* the row goes */
/* Takes a pod of this set off the budgets that are left; true if one is overdrawn. */
bool ks_budgets_take(ks_engine *e, int32_t set);

/* ---- holds.c ---- */
ks_status ks_holds_check(const ks_holds_spec *s, int32_t n);
/* The asking pod holds entry i of the specification; NULL: nothing. */
ks_status ks_holds_ask(ks_engine *e, const ks_holds_spec *s, int32_t i, int32_t in_use, bool are_new);
/* What the asker holds is the known pod's from now on; there is room for its list. */
void ks_holds_move_to(ks_engine *e, int32_t handle);
void ks_holds_drop(ks_engine *e, int32_t of, int32_t at);
/* Code of VolumeRestrictions or NodeVolumeLimits for the asker on a row where pods moved; 0: it passes. */
uint8_t ks_holds_fail(ks_engine *e, int32_t filter, int32_t row, const ks_moved *moved);
/* Whether a pod with so many attachments might be one too many on the row. */
bool ks_holds_are_near(ks_engine *e, int32_t row, int32_t most);
void ks_holds_free(ks_engine *e);

/* ---- nominated.c ---- */
void ks_nominated_free(ks_engine *e);
bool ks_has_nominated(const ks_engine *e, int32_t row);
/* Brings the class up to date; before ks_judge_row, and before anything is moved for it. */
ks_status ks_start_judging(ks_engine *e, ks_class *c);
/* The filters on one row, with the nominated pods that the asker yields to and without. moved NULL: nothing is. */
ks_status ks_judge_row(ks_engine *e, const ks_profile *p, ks_class *c, int32_t row, const ks_moved *moved,
                       ks_verdict *out);
/* Rows that nominated pods shut, into e->vetoes. */
ks_status ks_find_vetoes(ks_engine *e, const ks_profile *p, ks_class *c);
const ks_veto *ks_veto_of(const ks_engine *e, int32_t row);
const uint64_t *ks_veto_insufficient(const ks_engine *e, const ks_veto *veto);
ks_status ks_own_node(ks_engine *e, const ks_profile *p, ks_class *c, int32_t *out);

/* ---- preempt.c ---- */
void ks_preempt_free(ks_engine *e);
void ks_class_evictions_forget(ks_class *c); /* its rules changed */
void ks_class_evictions_free(ks_engine *e, ks_class *c);

/* ---- place.c ---- */
ks_status ks_check_batch(const ks_engine *e, const ks_options *o, int32_t n, const int32_t *class_id);
/* Decides one pod and writes entry `at` of the columns. */
ks_status ks_place_one(ks_engine *e, ks_options *o, int32_t class_id, bool commit, const ks_decisions *out, int32_t at);

/* ---- placements.c ---- */
static inline bool ks_is_within(const ks_engine *e, int32_t row) {
    return !e->within.is_on || e->topologies.at[e->within.topology].domain.at[row] == e->within.domain;
}
/* Rows that can be chosen; removed ones are among all rows, not in a placement. */
static inline int32_t ks_n_within(const ks_engine *e) { return e->within.is_on ? e->within.n : e->n_rows; }
static inline int32_t ks_row_within(const ks_engine *e, int32_t at) { return e->within.is_on ? e->within.row[at] : at; }
/* Nodes that can be chosen. */
static inline int32_t ks_n_nodes_within(const ks_engine *e) { return e->within.is_on ? e->within.n : e->n_live; }
void ks_trials_free(ks_engine *e);

/* ---- search.c ---- */
/* Feasible nodes at which the search ends, of n that may be looked at. */
int32_t ks_search_quota(const ks_profile *p, int32_t n);
/* Whether the place where a search ended can make a difference to later ones. */
bool ks_search_matters(const ks_engine *e, const ks_profile *p);
/* KS_EUNSUPPORTED: every node is looked at; the other drivers must answer. Moves o->next_node either way. */
ks_status ks_search_decide(ks_engine *e, ks_options *o, ks_class *c, ks_choice *out);

/* ---- dense.c ---- */
/* Scores the rows that are marked in scratch.feasible and chooses; the class is prepared. */
ks_status ks_dense_choose(ks_engine *e, const ks_profile *p, ks_class *c, int32_t tie, uint64_t *rng, ks_choice *out);
/* Room for a column of every kind. */
ks_status ks_dense_reserve(ks_engine *e);
ks_status ks_dense_decide(ks_engine *e, int32_t profile, ks_class *c, int32_t tie, uint64_t *rng, ks_choice *out);

/* ---- sweep.c ---- */
/* KS_EUNSUPPORTED: the dense driver must answer. */
ks_status ks_sweep_decide(ks_engine *e, int32_t profile, ks_class *c, int32_t tie, uint64_t *rng, ks_choice *out);

/* ---- cells.c ---- */
/* KS_EUNSUPPORTED: the dense driver must answer. */
ks_status ks_cells_decide(ks_engine *e, int32_t profile, int32_t driver, int32_t class_id, int32_t tie, uint64_t *rng,
                          ks_choice *out);
/* After a change that the log does not tell. */
void ks_cells_forget(ks_class *c);
void ks_cells_free(ks_engine *e, ks_class *c);

/* ---- ties.c ---- */
enum { KS_TIE_BLOCK = 256, KS_TIE_AREA = 64 * 256 }; /* rows */

/* A set of rows, counted by block and by area. */
typedef struct ks_ties {
    bool is_on;
    KS_VEC(int32_t) block, area;
} ks_ties;

ks_status ks_ties_open(ks_memory *mem, ks_ties *t, int64_t n_rows); /* empty, for as many rows */
void ks_ties_discard(ks_memory *mem, ks_ties *t);
static inline void ks_ties_count(ks_ties *t, int32_t row, int32_t sign) {
    t->block.at[row / KS_TIE_BLOCK] += sign;
    t->area.at[row / KS_TIE_AREA] += sign;
}
/* First row of the block with the wanted-th row of sets that do not overlap; *wanted: which it is there. */
int32_t ks_ties_find(const ks_ties *const *sets, int32_t n, uint32_t *wanted);

/* ---- index.c ---- */
/* KS_EUNSUPPORTED: this class or profile cannot be indexed; the dense driver must answer. */
ks_status ks_index_decide(ks_engine *e, int32_t profile, int32_t class_id, int32_t tie, uint64_t *rng, ks_choice *out);
/* Tells the index which classes a batch is about to ask for, so that it builds them together. */
/* Takes the class out of all indexes: its static side changed. */
void ks_indexes_forget(ks_engine *e, int32_t class_id);
void ks_indexes_lose(ks_engine *e, int32_t class_id); /* its id will be another class's */
ks_status ks_index_expect(ks_engine *e, int32_t profile, int32_t driver, int32_t n, const int32_t *class_id);
void ks_indexes_free(ks_engine *e);

/* ---- seeded generator: SplitMix64, and an unbiased draw below n ---- */
static inline uint64_t ks_random(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}
static inline uint32_t ks_random_below(uint64_t *state, uint32_t n) {
    uint32_t reject = (uint32_t)(-n) % n;
    for (;;) {
        uint64_t product = (ks_random(state) >> 32) * (uint64_t)n;
        if ((uint32_t)product >= reject)
            return (uint32_t)(product >> 32);
    }
}

#endif
