/* SPDX-License-Identifier: Apache-2.0
 *
 * ks.h: the whole contract of the placement engine.
 *
 * The engine knows ids, int64 columns and bit masks; strings are interned by the caller.
 * Axes in comments: N node rows, C classes, R resources, P pods, S score plugins, D devices of a node.
 *
 * Memory   An engine owns everything that was given to it (inputs are copied); outputs are written to
 *          the caller's buffers. Views from ks_engine_columns are borrowed until the next call that
 *          adds nodes or resources.
 * Errors   Every function returns a ks_status. On an error the engine is unchanged, except for
 *          batches, which say how many items were done before it.
 * Threads  One engine, one thread at a time. Different engines are independent: there are no globals.
 * Units    cpu in thousandths of a core, memory and storage in bytes, everything else in counts,
 *          device shares in thousandths of a device.
 */
#ifndef KS_H
#define KS_H

#include <stddef.h> /* size_t */
#include <stdint.h> /* fixed widths: the binding checks dtypes against them */

/* ffi:begin */
typedef int32_t ks_status;
enum {
    KS_OK = 0,
    KS_ENOMEM = 1,       /* an allocation failed; nothing changed */
    KS_EINVAL = 2,       /* NULL, negative or inconsistent argument */
    KS_ERANGE = 3,       /* an id or row that does not exist */
    KS_ESTATE = 4,       /* not in this state (e.g. releasing what is not there, rows changed inside a speculation) */
    KS_EOVERFLOW = 5,    /* a sum would leave int64 or a quantity is above KS_MAX_QUANTITY */
    KS_EUNSUPPORTED = 6, /* a plugin or combination that this engine does not implement */
    KS_EPLUGIN = 7       /* a user's plugin failed: see ks_user_failed */
};

enum {
    KS_NONE = -1,         /* "no node", "no id" */
    KS_MAX_RESOURCES = 16384,
    KS_MAX_DEVICES = 64,  /* devices of one node: one bit each in a device mask */
    KS_MAX_MODELS = 64,   /* device models: one bit each in a model mask */
    KS_DEVICE_WHOLE = 1000
};

/* Resource slots that the default profile names; others follow in the caller's order. */
enum { KS_CPU = 0, KS_MEMORY = 1, KS_EPHEMERAL_STORAGE = 2, KS_PODS = 3, KS_FIRST_EXTENDED = 4 };

/* Filter plugins, in kube-scheduler's order: the first that fails is the one reported. */
enum {
    KS_FILTER_NODE_UNSCHEDULABLE = 0,
    KS_FILTER_NODE_NAME = 1,
    KS_FILTER_TAINT_TOLERATION = 2,
    KS_FILTER_NODE_AFFINITY = 3,
    KS_FILTER_NODE_PORTS = 4,
    KS_FILTER_NODE_RESOURCES_FIT = 5,
    KS_FILTER_VOLUME_RESTRICTIONS = 6,
    KS_FILTER_NODE_VOLUME_LIMITS = 7,
    KS_FILTER_VOLUME_BINDING = 8,
    KS_FILTER_VOLUME_ZONE = 9,
    KS_FILTER_POD_TOPOLOGY_SPREAD = 10, /* pairwise: see ks_pairwise_spec */
    KS_FILTER_INTER_POD_AFFINITY = 11,
    KS_FILTER_DYNAMIC_RESOURCES = 12,
    KS_FILTER_NODE_DECLARED_FEATURES = 13,
    KS_FILTER_GPU_SHARE = 14,
    KS_N_FILTERS = 15,
    KS_N_DETAILS = 256 /* how a filter fails: a KS_DETAIL_*, 1 where there is one way, or the caller's code; with
                        * KS_VERDICT_UNRESOLVABLE where evicting pods cannot help */
};

/* Codes of ks_class_verdicts: 0 passes, else the caller's number 1..127, and this bit if evicting cannot help. */
enum { KS_VERDICT_UNRESOLVABLE = 128 };

enum {
    KS_SCORE_TAINT_TOLERATION = 0,
    KS_SCORE_NODE_AFFINITY = 1,
    KS_SCORE_NODE_RESOURCES_FIT = 2, /* strategy: KS_FIT_* */
    KS_SCORE_POD_TOPOLOGY_SPREAD = 3,
    KS_SCORE_INTER_POD_AFFINITY = 4,
    KS_SCORE_DYNAMIC_RESOURCES = 5,  /* raw scores of ks_class_raw, normalised to 100 * raw / max; else 0 */
    KS_SCORE_BALANCED_ALLOCATION = 6,
    KS_SCORE_IMAGE_LOCALITY = 7,
    /* GPU-sharing policies (Weng et al., ATC 2023), raw scores 0..100 */
    KS_SCORE_DOT_PRODUCT = 8,
    KS_SCORE_GPU_CLUSTERING = 9,
    KS_SCORE_GPU_PACKING = 10,
    KS_SCORE_BEST_FIT = 11,
    KS_SCORE_FGD = 12,
    KS_SCORE_RANDOM = 13, /* 0 everywhere: combine with KS_TIE_UNIFORM */
    KS_N_SCORES = 14
};

enum { KS_FIT_LEAST_ALLOCATED = 0, KS_FIT_MOST_ALLOCATED = 1, KS_FIT_REQUESTED_TO_CAPACITY_RATIO = 2 };
enum { KS_BALANCED_V136 = 0, KS_BALANCED_V135 = 1 }; /* the formula changed after 1.35 */
enum { KS_DEVICE_BEST_FIT = 0, KS_DEVICE_RANDOM = 1, KS_DEVICE_FGD = 2 };
enum { KS_OP_IN = 0, KS_OP_NOT_IN = 1, KS_OP_EXISTS = 2, KS_OP_DOES_NOT_EXIST = 3, KS_OP_GT = 4, KS_OP_LT = 5 };
enum { KS_EFFECT_ANY = 0, KS_EFFECT_NO_SCHEDULE = 1, KS_EFFECT_PREFER_NO_SCHEDULE = 2, KS_EFFECT_NO_EXECUTE = 3 };
enum { KS_TOLERATE_EQUAL = 0, KS_TOLERATE_EXISTS = 1, KS_TOLERATE_NEVER = 2 };
enum { KS_DRIVER_AUTO = 0, KS_DRIVER_DENSE = 1, KS_DRIVER_INDEXED = 2 };
enum { KS_TIE_LOWEST = 0, KS_TIE_UNIFORM = 1 };
enum { KS_ADAPTIVE = -1 }; /* percentage of nodes that falls as they become more */

/* Keys of requirements that are not labels of the interned set. */
enum {
    KS_KEY_NODE_NAME = -2, /* matchFields metadata.name: compared with the node's name_id */
    KS_KEY_HOSTNAME = -3   /* the label kubernetes.io/hostname, kept out of label sets so that sets stay few */
};

typedef struct ks_engine ks_engine;

/* Nodes to write; every array is [n] unless said otherwise. NULL is allowed where a default is given. */
typedef struct ks_node_rows {
    int32_t n;
    const int64_t *allocatable;    /* [R][n], canonical units, 0..KS_MAX_QUANTITY; extended ones also KS_UNLIMITED */
    const int32_t *name_id;        /* id of the name; NULL: none */
    const int32_t *hostname_value; /* value id of kubernetes.io/hostname, KS_NONE without; NULL: none */
    const int32_t *label_set;      /* from ks_label_set_add; NULL: the empty set 0 */
    const int32_t *taint_set;      /* from ks_taint_set_add; NULL: the empty set 0 */
    const int32_t *image_set;      /* from ks_image_set_add; NULL: the empty set 0 */
    const uint8_t *unschedulable;  /* 0 or 1; NULL: 0 */
    const int32_t *device_count;   /* 0..KS_MAX_DEVICES; NULL: 0 */
    const int32_t *device_model;   /* 0..KS_MAX_MODELS-1, KS_NONE unknown; NULL: KS_NONE */
} ks_node_rows;

/* Selector terms in one flat program: term t owns requirements term_start[t] .. term_start[t+1]-1,
 * requirement q owns values value_start[q] .. value_start[q+1]-1. A term without requirements matches nothing. */
typedef struct ks_selector {
    int32_t n_terms;
    const int32_t *term_start;  /* [n_terms + 1] */
    const int32_t *weight;      /* [n_terms] for preferred terms, else NULL */
    int32_t n_requirements;
    const int32_t *key;         /* [n_requirements] label key id, or KS_KEY_* */
    const int32_t *op;          /* [n_requirements] KS_OP_* */
    const int64_t *number;      /* [n_requirements] operand of KS_OP_GT and KS_OP_LT */
    const uint8_t *is_number;   /* [n_requirements] 0: the operand is not an integer, nothing matches */
    const int32_t *value_start; /* [n_requirements + 1] */
    const int32_t *value;       /* [value_start[n_requirements]] value ids; name ids for KS_KEY_NODE_NAME */
} ks_selector;

/* Amounts of some resources, ascending; KS_PODS is not among them: every pod takes one. */
typedef struct ks_amounts {
    int32_t n;
    const int32_t *resource; /* [n] */
    const int64_t *amount;   /* [n] 0..KS_MAX_QUANTITY */
} ks_amounts;

typedef struct ks_class_spec {
    ks_amounts request;     /* what is filtered by and accounted */
    ks_amounts fit_request; /* what NodeResourcesFit scores with: non-zero defaults in, pod-level requests out */
    int64_t nonzero_cpu;        /* added to the node's non-zero usage when placed */
    int64_t nonzero_memory;
    int32_t node_name;          /* spec.nodeName as name id, KS_NONE without */
    int32_t tolerates_unschedulable; /* 0 or 1: tolerates node.kubernetes.io/unschedulable:NoSchedule */
    int32_t n_tolerations;
    const int32_t *toleration_key;    /* label key id, KS_NONE: every key */
    const int32_t *toleration_op;     /* KS_TOLERATE_* */
    const int32_t *toleration_value;  /* value id */
    const int32_t *toleration_effect; /* KS_EFFECT_* */
    int32_t has_required;       /* 1: `required` must match, even when it has no terms (then nothing does) */
    ks_selector node_selector;  /* spec.nodeSelector as at most one term; no terms: passes */
    ks_selector required;       /* terms or-ed */
    ks_selector preferred;      /* weights of matching terms are added */
    int32_t has_enforced;       /* 1: `enforced` must match, too; rules about other pods do not look at it */
    ks_selector enforced;       /* terms or-ed: node affinity that the profile adds */
    const uint8_t *unchecked;   /* [request.n] 1: accounted and scored, but need not fit; NULL: none */
    int32_t n_ports;
    const int32_t *port;        /* from ks_port_add */
    int32_t n_images;
    const int32_t *image;       /* image id per container, init container and image volume that names a known one; repeats count */
    int32_t n_image_containers; /* containers + init containers: scales the upper clamp */
    int32_t device_count;       /* 0: needs no device */
    int32_t device_milli;       /* per device, 1..1000; below 1000 only with device_count 1 */
    uint64_t device_models;     /* allowed models, one bit each; 0: any */
} ks_class_spec;

/* Which part of a pairwise filter failed. */
enum {
    KS_DETAIL_NONE = 0,
    KS_DETAIL_NO_TOPOLOGY = 1,   /* spread: the node lacks a topology key; evicting cannot help */
    KS_DETAIL_SKEW = 2,          /* spread: too many matching pods in the node's domain */
    KS_DETAIL_AFFINITY = 3,      /* required affinity is not met; evicting cannot help */
    KS_DETAIL_ANTI_AFFINITY = 4, /* the pod's own anti-affinity */
    KS_DETAIL_EXISTING = 5,      /* anti-affinity of a running pod */
    KS_DETAIL_ENFORCED = 6       /* node affinity: the terms that the profile adds */
};

/* Flags of a spread constraint. */
enum {
    KS_SPREAD_HARD = 1,           /* DoNotSchedule, else ScheduleAnyway */
    KS_SPREAD_HONOR_AFFINITY = 2, /* count only nodes that the pod's node affinity admits */
    KS_SPREAD_HONOR_TAINTS = 4,   /* count only nodes whose taints the pod tolerates */
    KS_SPREAD_SELF = 8            /* the pod matches the constraint's selector itself */
};

/* Whose term a scored pair is: profiles weigh and ignore them differently. */
enum {
    KS_TERM_OWN = 0,      /* a preferred term of the pod; the counter counts the pods that match it */
    KS_TERM_EXISTING = 1, /* a preferred term of running pods that match; the counter counts its owners */
    KS_TERM_REQUIRED = 2  /* a required affinity term of running pods that the pod matches */
};

/* Pairwise rules of a class. A counter counts, per node, the running pods of the classes that joined it; a rule looks
 * at the sum of a counter over the nodes that share a value of a topology key. Selectors are the caller's: it decides
 * which class joins which counter. */
typedef struct ks_pairwise_spec {
    int32_t n_spread;
    const int32_t *spread_counter;     /* [n_spread] */
    const int32_t *spread_topology;    /* [n_spread] */
    const int32_t *spread_max_skew;    /* [n_spread] >= 1 */
    const int32_t *spread_min_domains; /* [n_spread] >= 1 */
    const int32_t *spread_flags;       /* [n_spread] KS_SPREAD_* */
    int32_t spread_needs_all;          /* 1: score only nodes that have every soft key (own constraints) */
    int32_t n_affinity;                /* required affinity: the pods that match all terms are one counter */
    int32_t affinity_counter;
    const int32_t *affinity_topology;  /* [n_affinity] */
    int32_t affinity_self;             /* 1: the pod matches all its own terms */
    int32_t n_anti;                    /* required anti-affinity of the pod */
    const int32_t *anti_counter;
    const int32_t *anti_topology;
    int32_t n_existing;                /* required anti-affinity of running pods that the pod matches */
    const int32_t *existing_counter;
    const int32_t *existing_topology;
    int32_t n_scored;
    const int32_t *scored_counter;
    const int32_t *scored_topology;
    const int32_t *scored_kind;        /* KS_TERM_* */
    const int64_t *scored_weight;      /* -1000000..1000000, negative for anti-affinity */
} ks_pairwise_spec;

typedef struct ks_score_spec {
    int32_t plugin;            /* KS_SCORE_*, or from ks_user_score_add */
    int64_t weight;            /* 1..1000000 */
    int32_t variant;           /* KS_FIT_* for NodeResourcesFit, KS_BALANCED_* for balanced allocation, else 0 */
    int32_t n_resources;            /* at most 64 for balanced allocation, or KS_EUNSUPPORTED */
    const int32_t *resource;        /* [n_resources] */
    const int64_t *resource_weight; /* [n_resources], NULL for balanced allocation */
    int32_t n_points;
    const int64_t *utilization; /* [n_points] RequestedToCapacityRatio shape, ascending 0..100 */
    const int64_t *shape_score; /* [n_points] 0..100, already scaled by 10 from the 0..10 of the configuration */
} ks_score_spec;

/* The typical pods of a workload: what fragmentation is measured against. Frequencies add up to 1. */
typedef struct ks_typical_pods {
    int32_t n;
    const int64_t *cpu;       /* [n] */
    const int32_t *count;     /* [n] devices */
    const int32_t *milli;     /* [n] per device */
    const uint64_t *models;   /* [n] allowed models, 0 any */
    const double *frequency;  /* [n] */
} ks_typical_pods;

/* What a user's plugin reads. Every value is a double: quantities are exact below 2^53. */
enum {
    /* of the node */
    KS_INPUT_ALLOCATABLE = 0,  /* of a resource */
    KS_INPUT_USED = 1,         /* of a resource; of KS_PODS: running pods */
    KS_INPUT_NONZERO_USED = 2, /* of KS_CPU or KS_MEMORY, with the defaults of containers that ask for none */
    KS_INPUT_COLUMN = 3,       /* of ks_node_column_add */
    KS_INPUT_LABEL = 4,        /* value of a label key as an integer; NaN where it is absent or none */
    KS_INPUT_DEVICES = 5,      /* devices of the node */
    KS_INPUT_FREE_MILLI = 6,   /* thousandths left, over all devices */
    /* of the pod class */
    KS_INPUT_REQUEST = 7,         /* of a resource */
    KS_INPUT_NONZERO_REQUEST = 8, /* of KS_CPU or KS_MEMORY */
    KS_INPUT_ASKED_DEVICES = 9,
    KS_INPUT_ASKED_MILLI = 10,    /* per device */
    KS_N_INPUTS = 11
};

/* How scores of a user's plugin come into 0..100. Scores are integers: a fraction is cut off. */
enum {
    KS_NORMALIZE_NONE = 0,   /* they are there; anything else is a failure */
    KS_NORMALIZE_CLAMP = 1,
    KS_NORMALIZE_MAX = 2,    /* 100 s / greatest over the feasible nodes; s >= 0 */
    KS_NORMALIZE_MAX_REVERSE = 3, /* 100 less that; 100 where the greatest is 0 */
    KS_NORMALIZE_MIN_MAX = 4 /* 100 (s - least) / (greatest - least); 0 where all are equal */
};

/* Judges n_rows nodes with n_classes pod classes; one of the two is 1. node [n_node][n_rows] and pod [n_pod][n_classes]
 * in the order of ks_user_spec.input; out [max(n_rows, n_classes)]: the score, or non-zero where the filter passes. It
 * is only asked about pairs that pass every filter before it, must depend on its inputs alone, and must not call the
 * engine. Returns 0, or 1 + the position at which it failed. */
typedef int32_t (*ks_user_function)(void *context, int32_t n_rows, int32_t n_classes, const double *node,
                                    const double *pod, double *out);

typedef struct ks_user_spec {
    ks_user_function function;
    void *context;        /* handed through */
    int32_t n_node;
    int32_t n_pod;
    const int32_t *input; /* [n_node + n_pod] KS_INPUT_*, those of the node first */
    const int32_t *which; /* [n_node + n_pod] resource, column or label key id; 0 where the input needs none */
    int32_t normalize;    /* KS_NORMALIZE_*; a filter: KS_NORMALIZE_NONE */
} ks_user_spec;

/* The failure behind the last KS_EPLUGIN. */
typedef struct ks_user_failure {
    int32_t user;     /* id less KS_N_FILTERS or KS_N_SCORES */
    int32_t row;
    int32_t class_id;
    int32_t raised;   /* 1: the function says it failed; 0: its answer is not allowed */
    double value;     /* the answer */
    const double *node, *pod; /* [n_node], [n_pod] what it had read; borrowed until the next failure */
} ks_user_failure;

typedef struct ks_profile_spec {
    uint32_t filters;            /* bit f: filter KS_FILTER_f is on */
    const int32_t *filter_order; /* those filters, first to last; NULL: by number */
    int32_t n_scores;
    const ks_score_spec *scores; /* in profile order */
    int32_t device_select;       /* KS_DEVICE_* */
    int64_t required_weight;     /* InterPodAffinity's hardPodAffinityWeight, 0..100 */
    int32_t ignore_existing;     /* 1: its ignorePreferredTermsOfExistingPods */
    int32_t n_user_filters;      /* asked after all others, in order */
    const int32_t *user_filter;  /* [n_user_filters] from ks_user_filter_add */
    int32_t node_percentage;     /* percentageOfNodesToScore: 1..100 or KS_ADAPTIVE; 0: every node is looked at */
    /* how placements of groups compare: KS_SCORE_NODE_RESOURCES_FIT, KS_FIT_MOST_ALLOCATED; NULL: absent */
    const ks_score_spec *placement_fit;
    int64_t placement_pods_weight; /* of PodGroupPodsCount; 0: absent */
    /* minCandidateNodesPercentage 0..100 and minCandidateNodesAbsolute of DefaultPreemption; both 0: every candidate */
    int32_t candidate_percentage, candidate_least;
} ks_profile_spec;

typedef struct ks_options {
    int32_t profile;
    int32_t driver; /* KS_DRIVER_*; AUTO: indexed where it can answer, dense elsewhere */
    int32_t tie;    /* KS_TIE_* */
    int32_t commit; /* 0: decide each pod on the same state, change nothing; 1: one after another */
    uint64_t rng;   /* state of the seeded generator, read and written back */
    int64_t n_dense;   /* out, added to: decisions taken by the dense driver */
    int64_t n_indexed; /* out, added to: by the indexed driver */
    int64_t n_partial; /* out, added to: of n_dense, those that looked at some of the nodes only */
    int32_t next_node; /* place in the order of ks_node_order_set where the next search begins, written back */
} ks_options;

/* Columns of a batch of decisions, one entry a pod. Any may be NULL. */
typedef struct ks_decisions {
    int32_t *node;     /* chosen row, KS_NONE: nothing feasible */
    int64_t *score;    /* best total, -1: nothing feasible */
    int32_t *ties;     /* nodes with the best total, 0: nothing feasible */
    int32_t *feasible; /* feasible nodes */
    uint64_t *devices; /* chosen devices, one bit each */
} ks_decisions;

/* Pods of a batch that are placed together or not at all. Group g owns pods start[g] .. start[g + 1] - 1. */
typedef struct ks_groups {
    int32_t n;
    const int32_t *start;   /* [n + 1] ascending from 0 */
    const int32_t *minimum; /* [n] pods that must find a node, or none is placed; 0: each stands for itself */
    uint8_t *placed;        /* [n] out: 0: the group was taken back; its decisions tell what was tried */
    int32_t *fitted;        /* [n] out: pods that found a node */
    int32_t *first_failed;  /* [n] out: first pod of the batch that found none, KS_NONE: all did */
    int32_t *n_decided;     /* [n] out: pods decided before the group was given up; the others have no decision */
    const int32_t *topology; /* [n] whose domains are its placements (minimum >= 1), KS_NONE: anywhere; NULL: all */
    const int32_t *anchor;   /* [n] a row in whose domain it must be, KS_NONE: any; NULL: all */
    const int32_t *running;  /* [n] pods of it that run already: they count for its placements; NULL: none */
    int32_t *placement;      /* [n] out: a row of the placement whose decisions are told: the best one, or if none
                              * will do the first; KS_NONE: no topology, or no domain */
    int32_t *n_placements;   /* [n] out: placements that were tried */
    int32_t *placement_ties; /* [n] out: how many are best, 0: none will do */
} ks_groups;

/* All nodes against one pod, in numbers. */
typedef struct ks_summary {
    int64_t *rejected;     /* [KS_N_FILTERS + users' plugins][KS_N_DETAILS] nodes by their first failing filter */
    int64_t *insufficient; /* [R] nodes that NodeResourcesFit turned down and that lack the resource */
    int64_t score;         /* best total, -1 without a feasible node */
    int32_t node;          /* lowest row that has it */
    int32_t feasible, ties;
} ks_summary;

/* Running pods to be told apart. */
typedef struct ks_known_spec {
    int32_t n;
    const int32_t *class_id, *node, *priority;
    const int64_t *started;  /* any unit; a pod that has not started: INT64_MAX */
    const int32_t *budgets;  /* sets of ks_budget_set_add, 0: none; NULL: none */
    const uint64_t *devices; /* NULL: none */
} ks_known_spec;

/* What pods hold of volumes, as items with numbers >= 0 of the caller's. A kind >= 0 is a driver that attaches the item:
 * one attachment a node, however many pods hold it. */
enum {
    KS_HOLD_DISK_WRITTEN = -1, /* nobody else may have the disk on the node */
    KS_HOLD_DISK_READ = -2,    /* nobody else may write it there */
    KS_HOLD_ONE_POD = -3       /* a claim that one pod may use, wherever; once for each use */
};

/* Whose items: known pods and nominated ones by handle; rows, for what is attached there for nobody's sake; and the
 * limits of rows, where `item` is a driver and `kind` the most items that it attaches. */
enum { KS_HOLDS_POD = 0, KS_HOLDS_NOMINATED = 1, KS_HOLDS_ATTACHED = 2, KS_HOLDS_LIMIT = 3, KS_N_HOLDS = 4 };

/* Entry i owns start[i] .. start[i + 1] - 1. */
typedef struct ks_holds_spec {
    const int32_t *start; /* [n + 1] ascending from 0 */
    const int32_t *item, *kind;
} ks_holds_spec;

/* Which pods could be evicted for a pod that fits nowhere. Results are borrowed until the next call. */
typedef struct ks_preemption {
    int32_t profile, class_id, priority;
    int32_t list_all;    /* 1: list every candidate, not only the best */
    const uint8_t *open; /* [N] rows that PreFilter leaves; NULL: all */
    uint64_t *rng;       /* where the search begins if the profile wants some candidates only; NULL: at the first row */
    /* out, both or neither: of the tried rows with victims that stay shut, as in ks_summary */
    int64_t *rejected, *insufficient;
    /* out */
    int32_t n_candidates;
    int32_t n_tried, n_without_victims; /* where `rejected` is given */
    int32_t node, ties;    /* lowest of the best rows, KS_NONE: eviction helps nowhere */
    int32_t n_victims;
    const int32_t *victim; /* handles, the most important first */
    /* with list_all: rows, broken budgets, 1 for the best, and the victims of candidate i: start[i] .. start[i + 1] - 1 */
    const int32_t *candidate_row, *candidate_broken, *candidate_ties, *candidate_start, *candidate_victim;
} ks_preemption;

/* Pods of a batch that may evict others, one entry each. */
typedef struct ks_evicting {
    const int32_t *priority, *budgets; /* budgets NULL: none */
    const int64_t *started;            /* of the pod once it is placed, as in ks_known_spec; NULL: not yet */
    const uint8_t *may_evict;          /* 0: preemptionPolicy Never */
    /* What each pod holds: attachments that no pod holds yet, and no two of the batch; NULL: nothing. With it the call
     * ends behind a pod that changed what limits say to one of the batch, so that verdict columns can follow. */
    const ks_holds_spec *holds;
    int32_t stop;                      /* 1: end behind the first pod that finds no place, so that it can be explained */
    int32_t *handle;                   /* out: of the placed pod, which is known from now on; KS_NONE: not placed */
    int32_t *victim_start;             /* [n + 1] out */
    const int32_t *victim;             /* out: handles, given up; borrowed until the next call */
} ks_evicting;

/* What happens in an event run. event[i] = p + 1: pod p arrives, -(p + 1): pod p leaves (ignored if it has no node). */
typedef struct ks_tape {
    int32_t n_events;
    const int32_t *event; /* [n_events] */
    int32_t n_pods;
    const int32_t *pod_class; /* [n_pods] */
    const int32_t *instead;   /* [n_pods] pod that p ends and whose node and devices it takes when it arrives, KS_NONE:
                                 p is decided; NULL: all are */
    int32_t stop;             /* 1: end behind the first pod that finds no node */
} ks_tape;

/* Running pods that change their class, [n] each. */
typedef struct ks_reclass_spec {
    int32_t n;
    const int32_t *from, *to; /* classes of the same requests, host ports and devices: KS_EINVAL else */
    const int32_t *node;
    const int32_t *handle;    /* of those that are known, KS_NONE; NULL: none is */
} ks_reclass_spec;

/* Columns of an event run, one entry an event, state after the event. Any may be NULL. */
typedef struct ks_series {
    int64_t *used_device_milli;  /* over all nodes */
    double *fragmented_milli;    /* by the typical pods of ks_fragmentation_set, 0 without */
} ks_series;

/* Zero-copy views of the node columns; borrowed (see the top of the file). */
typedef struct ks_columns {
    int32_t n_rows;             /* N, removed rows included */
    int32_t n_resources;        /* R */
    int32_t device_stride;      /* entries a node in device_free */
    const int64_t *const *allocatable; /* [R] -> [N] */
    const int64_t *const *used;        /* [R] -> [N] */
    const int64_t *nonzero_cpu_used;   /* [N] */
    const int64_t *nonzero_memory_used;/* [N] */
    const int32_t *name_id;     /* [N] */
    const int32_t *label_set;   /* [N] */
    const int32_t *taint_set;   /* [N] */
    const int32_t *image_set;   /* [N] */
    const uint8_t *unschedulable; /* [N] */
    const uint8_t *live;        /* [N] 0: removed */
    const int32_t *device_count;/* [N] */
    const int32_t *device_model;/* [N] */
    const int32_t *device_free; /* [N][device_stride] thousandths left, 0 beyond device_count */
    int32_t n_columns;          /* that users added */
    const double *column;       /* [N][n_columns] */
} ks_columns;

/* One line, static text, never NULL. */
const char *ks_status_text(ks_status status);

/* n_resources >= KS_FIRST_EXTENDED. *out is NULL on an error. */
ks_status ks_engine_new(int32_t n_resources, ks_engine **out);
void ks_engine_free(ks_engine *engine); /* NULL is allowed */
/* Appends resources: allocatable and used are 0 on every node, requests 0 in every class. Never shrinks. */
ks_status ks_engine_grow_resources(ks_engine *engine, int32_t n_resources);
ks_status ks_engine_columns(const ks_engine *engine, ks_columns *out);
/* Bytes held by the engine, indexes included. */
int64_t ks_engine_bytes(const ks_engine *engine);

/* Interned sets. Set 0 of each kind exists and is empty. Ids count up from 1; equal sets may be added
 * twice (the caller interns). keys/values: ids >= 0; keys of a label set ascending and distinct. */
ks_status ks_label_set_add(ks_engine *engine, int32_t n, const int32_t *key, const int32_t *value,
                           const int64_t *number, const uint8_t *is_number, int32_t *out_id);
ks_status ks_taint_set_add(ks_engine *engine, int32_t n, const int32_t *key, const int32_t *value,
                           const int32_t *effect, int32_t *out_id);
/* size: bytes of each image as the node reports it; an image keeps the size of the first node that had it. */
ks_status ks_image_set_add(ks_engine *engine, int32_t n, const int32_t *image, const int64_t *size, int32_t *out_id);
/* ip 0 is the wildcard address; protocol and ip are the caller's ids; port 1..65535. */
ks_status ks_port_add(ks_engine *engine, int32_t ip, int32_t protocol, int32_t port, int32_t *out_id);

/* Appends n rows; *first_row is the row of the first. O(n R). */
ks_status ks_nodes_add(ks_engine *engine, const ks_node_rows *rows, int32_t *first_row);
/* Rewrites rows in place; usage stays. A removed row comes to life again, empty. device_count may only
 * change on a node whose devices are all free. */
ks_status ks_nodes_update(ks_engine *engine, const int32_t *row, const ks_node_rows *rows);
/* Removes rows; what ran on them is forgotten. */
ks_status ks_nodes_remove(ks_engine *engine, int32_t n, const int32_t *row);

/* The order in which nodes are looked at by profiles that end the search early; row [n]: all nodes, each once. Such a
 * profile needs it again whenever nodes were added or removed: KS_ESTATE. O(N). */
ks_status ks_node_order_set(ks_engine *engine, int32_t n, const int32_t *row);

ks_status ks_class_add(ks_engine *engine, const ks_class_spec *spec, int32_t *out_id);
/* Gives classes up, all or none; their ids are given out again. KS_ESTATE: pods of one run or are nominated, or a
 * speculation is open. The caller sees to it that no known pod, whose node is gone, has one. O(tallies). */
ks_status ks_classes_remove(ks_engine *engine, int32_t n, const int32_t *class_id);
/* A label key (or KS_KEY_HOSTNAME) by whose values nodes form domains; empty_value is the id of the value "". O(N). */
ks_status ks_topology_add(ks_engine *engine, int32_t label_key, int32_t empty_value, int32_t *out_id);
/* A new counter that no class has joined; joining: the running pods of the class count from now on. O(N). */
ks_status ks_counter_add(ks_engine *engine, int32_t *out_id);
ks_status ks_counter_join(ks_engine *engine, int32_t counter, int32_t class_id);
/* The class's pods do not count, but those that are thought away from a node or onto it do (evictions, nominated pods):
 * upstream's spreading overlooks terminating pods only where it counts all of them. */
ks_status ks_counter_join_moved(ks_engine *engine, int32_t counter, int32_t class_id);
/* Gives counters up, all or none; their ids are given out again. KS_ESTATE: a class has a rule about one, or a
 * speculation is open. O(classes). */
ks_status ks_counters_remove(ks_engine *engine, int32_t n, const int32_t *counter);
/* Replaces the pairwise rules of a class. */
ks_status ks_class_pairwise(ks_engine *engine, int32_t class_id, const ks_pairwise_spec *spec);
/* Verdicts of a filter that the caller computes: VOLUME_RESTRICTIONS to VOLUME_ZONE, DYNAMIC_RESOURCES or
 * NODE_DECLARED_FEATURES. Rows that were never given pass. row NULL: code [N], all rows. O(n). */
ks_status ks_class_verdicts(ks_engine *engine, int32_t class_id, int32_t filter, int32_t n, const int32_t *row,
                            const uint8_t *code);
/* Raw scores 0..1000000 that the caller computes for KS_SCORE_DYNAMIC_RESOURCES; rows never given have 0.
 * row NULL: raw [N], all rows. O(n). */
ks_status ks_class_raw(ks_engine *engine, int32_t class_id, int32_t score, int32_t n, const int32_t *row,
                       const int64_t *raw);
/* What scores see of an extended resource on rows whose allocatable is KS_UNLIMITED, because devices stand in for it:
 * how many there are and how many are taken, each [n] 0..KS_MAX_QUANTITY. Rows never given have none. O(n). */
ks_status ks_stand_in_set(ks_engine *engine, int32_t resource, int32_t n, const int32_t *row, const int64_t *total,
                          const int64_t *taken);
/* Users' plugins. Their ids lie above the built-in ones; ids of filters and of scores count together. */
ks_status ks_user_filter_add(ks_engine *engine, const ks_user_spec *spec, int32_t *out_filter);
ks_status ks_user_score_add(ks_engine *engine, const ks_user_spec *spec, int32_t *out_score);
/* KS_ESTATE: none has failed yet. */
ks_status ks_user_failed(const ks_engine *engine, ks_user_failure *out);
/* A column that users add to the nodes; NaN where it was not set, and on rows that were written anew. */
ks_status ks_node_column_add(ks_engine *engine, int32_t *out_column);
ks_status ks_node_column_set(ks_engine *engine, int32_t column, int32_t n, const int32_t *row, const double *value);
ks_status ks_profile_add(ks_engine *engine, const ks_profile_spec *spec, int32_t *out_id);
/* The typical pods for KS_SCORE_FGD, KS_DEVICE_FGD and the fragmentation series. */
ks_status ks_fragmentation_set(ks_engine *engine, const ks_typical_pods *typical);
/* Fragmented thousandths per node, 0 on removed rows. out [N]. Source: Weng et al., ATC 2023, section 3. */
ks_status ks_fragmentation(const ks_engine *engine, double *out);

/* Puts pods on nodes unconditionally (they run there already) or takes them off. devices: NULL, or the mask
 * per pod; with NULL a class that needs devices gets the best-fitting ones. *n_done counts finished items. */
ks_status ks_bind(ks_engine *engine, int32_t n, const int32_t *class_id, const int32_t *node,
                  const uint64_t *devices, int32_t *n_done);
ks_status ks_release(ks_engine *engine, int32_t n, const int32_t *class_id, const int32_t *node,
                     const uint64_t *devices, int32_t *n_done);

/* Running pods belong to other classes from now on, which take the same of a node: what rules about other pods count
 * changes, usage does not. KS_ESTATE: one does not run there; those before it stay changed. O(n). */
ks_status ks_reclass(ks_engine *engine, const ks_reclass_spec *spec);

/* Decides n pods, one after another (see ks_options.commit). O(n log N) indexed, O(n N) dense. */
ks_status ks_place(ks_engine *engine, ks_options *options, int32_t n, const int32_t *class_id,
                   const ks_decisions *out, int32_t *n_done);
/* Decides groups in order, all in one call: a group that finds nodes for fewer than its minimum is taken back, to the
 * bit, and is given up as soon as too few of its pods are left. On an error the group at hand is taken back;
 * *n_done counts finished groups. Without options.commit nothing stays, and each group meets the same state. */
ks_status ks_place_groups(ks_engine *engine, ks_options *options, const ks_groups *groups, const int32_t *class_id,
                          const ks_decisions *out, int32_t *n_done);
/* Placements of a topology: the sets of rows that share a domain, by their first rows, ascending; borrowed until rows
 * change. O(N) after a change. */
ks_status ks_placements(ks_engine *engine, int32_t topology, int32_t *n, const int32_t **row);
/* From now on only the rows in the domain of `row` are nodes that can be chosen, counted or explained; what rules about
 * other pods count stays as it is. topology KS_NONE: all rows again, as after any change of rows. *out_n: how many nodes those
 * are; NULL: nobody asks. */
ks_status ks_within(ks_engine *engine, int32_t topology, int32_t row, int32_t *out_n);
/* NodeResourcesFit's score of the placement at hand (ks_within), 0..100, with pods on it that do not run there yet;
 * node KS_NONE: the pod counts nothing. 0 where the profile does not score it. O(rows of the placement). */
ks_status ks_placement_fit(const ks_engine *engine, int32_t profile, int32_t n, const int32_t *class_id,
                           const int32_t *node, int64_t *out);
/* The best of n placements, by the pods of the group on each (at least one on some) and the score of
 * ks_placement_fit; ties as options say. */
ks_status ks_placement_choose(const ks_engine *engine, ks_options *options, int32_t n, const int32_t *pods,
                              const int64_t *fit, int32_t *out, int32_t *out_ties);
/* Discrete-event run. `out` columns are [n_pods], in and out: node is KS_NONE for pods that have not arrived, others run
 * there already. *n_done counts events. */
ks_status ks_run(ks_engine *engine, ks_options *options, const ks_tape *tape, const ks_decisions *out,
                 const ks_series *series, int32_t *n_done);

/* Makes running pods known, newest last on their row, so that they can be evicted; bind them first. All or none. */
ks_status ks_pods_know(ks_engine *engine, const ks_known_spec *spec, int32_t *handle);
/* Before or after their release. Handles are given out again. */
ks_status ks_pods_forget(ks_engine *engine, int32_t n, const int32_t *handle);
/* How many pods each disruption budget lets go; budgets are added, never removed. */
ks_status ks_budgets_set(ks_engine *engine, int32_t n, const int32_t *allowed);
/* The budgets that a pod counts for. */
ks_status ks_budget_set_add(ks_engine *engine, int32_t n, const int32_t *budget, int32_t *out_id);
/* Pods that wait for a node; those of the asker's priority or a higher one count as running there. */
ks_status ks_nominate(ks_engine *engine, int32_t n, const int32_t *class_id, const int32_t *node,
                      const int32_t *priority, int32_t *handle);
ks_status ks_unnominate(ks_engine *engine, int32_t n, const int32_t *handle);
/* Who the next questions are for, until ks_asked: nobody yields to nominated pods otherwise. nominated: the handle of the
 * pod itself, which then gets its own node if it passes there; KS_NONE: it has none. */
ks_status ks_asking(ks_engine *engine, int32_t priority, int32_t nominated);
ks_status ks_asked(ks_engine *engine);
/* The node that the asking pod is nominated for, if it passes there; else KS_NONE. */
ks_status ks_own_node_of(ks_engine *engine, int32_t profile, int32_t class_id, int32_t *node);
/* Replaces lists of items; at [n]: handles or rows. Whoever asks about eviction or nominated pods keeps them right. */
ks_status ks_holds_set(ks_engine *engine, int32_t of, int32_t n, const int32_t *at, const ks_holds_spec *holds);
/* Codes of the verdict columns where a disk clashes, a claim is in use, attachments are too many. */
ks_status ks_holds_codes(ks_engine *engine, uint8_t disk, uint8_t in_use, uint8_t too_many);
/* What the asking pod holds (one entry; NULL: nothing), until ks_asking or ks_asked. in_use: how many of its claims for
 * one pod are. are_new 1: attachments only, that no pod holds, as many of each driver as all pods of the class. */
ks_status ks_asking_holds(ks_engine *engine, const ks_holds_spec *holds, int32_t in_use, int32_t are_new);
/* DefaultPreemption for one pod that fits nowhere; changes nothing. O(N) the first time a class asks, then O(changed rows)
 * and one look at each row, unless rules about other pods have a say or the pod shares volumes. */
ks_status ks_preempt(ks_engine *engine, ks_preemption *io);
/* As ks_place, but a pod that fits nowhere evicts: its victims are released and forgotten, and it takes their place.
 * All running pods must be known. Every column of out is needed. */
ks_status ks_place_evicting(ks_engine *engine, ks_options *options, ks_evicting *evicting, int32_t n,
                            const int32_t *class_id, const ks_decisions *out, int32_t *n_done);

/* Speculation: everything bound, released or placed after ks_speculate can be undone. Marks nest. */
ks_status ks_speculate(ks_engine *engine, int64_t *out_mark);
ks_status ks_rollback(ks_engine *engine, int64_t mark);
ks_status ks_keep(ks_engine *engine, int64_t mark);

/* Why: for one class and every row.
 * filter        [N] KS_FILTER_* of the first failing filter, KS_NONE feasible, -2 removed row
 * unresolvable  [N] 1: evicting pods cannot help
 * detail        [N] KS_DETAIL_* of a failing pairwise filter; the code of ks_class_verdicts, without its bit 7
 * insufficient  [N][W] bit r: resource r is short (NodeResourcesFit only); W = (R + 63) / 64
 * raw, score    [S][N] before and after normalisation, 0 where infeasible
 * skipped       [S] 1: the plugin skips this class
 * total         [N] weighted sum, -1 where infeasible. Any output may be NULL. Always the dense driver. O(N (R + S)) */
ks_status ks_explain(ks_engine *engine, int32_t profile, int32_t class_id, int32_t *filter, uint8_t *unresolvable,
                     uint8_t *detail, uint64_t *insufficient, int64_t *raw, int64_t *score, uint8_t *skipped,
                     int64_t *total);
/* The same in numbers, without a column of any row: the outputs of the caller's arrays, then the fields. O(N), several
 * times faster than ks_explain where the profile scores resources, other pods and groups only. */
ks_status ks_summarize(ks_engine *engine, int32_t profile, int32_t class_id, ks_summary *out);

/* ---- devices of claims (dynamic resource allocation), apart from any engine ----
 *
 * Amounts are billionths in 128 bits, two's complement: [n][2], the low half first. All numbers but those of pools and
 * contents, which count up, are the caller's. */
typedef struct ks_dra ks_dra;

enum {
    KS_DRA_MAX_RESULTS = 32, /* most devices of a claim */
    KS_DRA_MAX_CLAIMS = 64,  /* most claims of a search */
    KS_DRA_ABSENT = -1,      /* value of an attribute that a device does not have */
    KS_DRA_UNKNOWN = -2      /* value that equals none, not even itself */
};
enum { KS_DRA_EXACT_COUNT = 0, KS_DRA_ALL = 1, KS_DRA_BROKEN = 2 }; /* modes of a plan */
enum {
    KS_DRA_SELECTED = 1,  /* its selectors take the content */
    KS_DRA_FAILS = 2,     /* a selector cannot be evaluated */
    KS_DRA_KEPT_OFF = 4,  /* a taint is not tolerated */
    KS_DRA_NO_ROOM = 8    /* not even a device that nobody uses has what it asks for */
};
enum {
    KS_DRA_FOUND = 0,
    KS_DRA_NONE = 1,
    KS_DRA_NEEDS_CONTENT = 2,    /* the question does not know a content yet: complete it and search again */
    KS_DRA_SELECTOR_FAILED = 3,
    KS_DRA_CONSTRAINT_BROKEN = 4, /* by a device of a plan for all */
    KS_DRA_POOL_FLAWED = 5,       /* a plan for all meets a pool that is not usable */
    KS_DRA_ASKS_TOO_MANY = 6,
    KS_DRA_REQUEST_BROKEN = 7,    /* a plan with mode KS_DRA_BROKEN */
    KS_DRA_CLAIM_BROKEN = 8,
    KS_DRA_TIMED_OUT = 9,
    KS_DRA_OUT_OF_MEMORY = 10
};

/* What devices of equal content have. */
typedef struct ks_dra_content {
    int32_t n_uses, n_capacity;
    uint8_t is_shared;
    const int32_t *use;              /* [n_uses] counters that it consumes */
    const uint64_t *use_amount;
    const int32_t *capacity;         /* [n_capacity] names */
    const uint64_t *capacity_amount;
} ks_dra_content;

/* A pool as some nodes see it. */
typedef struct ks_dra_pool {
    int32_t name;   /* pools of one name count their counters together */
    int32_t family; /* equal for all views of one pool */
    uint8_t is_usable;
    int32_t n_devices, n_counters, n_elsewhere;
    const int32_t *device;           /* [n_devices] in the order of the search */
    const int32_t *content;
    const uint8_t *is_here;          /* 0: its slice reaches the node, the device does not; NULL: all 1 */
    const int32_t *counter;          /* [n_counters] */
    const uint64_t *counter_amount;
    const int32_t *elsewhere_device; /* [n_elsewhere] devices that other nodes see and that consume its counters */
    const int32_t *elsewhere_content;
} ks_dra_pool;

/* What claims ask for. A plan is a request or one of its alternatives; n_contents may exceed what there is. */
typedef struct ks_dra_question {
    int32_t n_claims, n_plans, n_constraints, n_contents;
    int64_t max_steps;
    const int32_t *request_start;    /* [n_claims + 1] requests, through all claims */
    const int32_t *plan_start;       /* [requests + 1] */
    const int32_t *constraint_start; /* [n_claims + 1] */
    const uint8_t *is_broken;        /* [n_claims] a constraint is of no known kind */
    const uint8_t *mode;             /* [n_plans] */
    const int32_t *count;            /* [n_plans] of KS_DRA_EXACT_COUNT */
    const uint8_t *is_admin;         /* [n_plans] looks at devices without taking them */
    const uint8_t *is_alternative;   /* [n_plans] */
    const int32_t *base;             /* [n_plans] first request of the claim with the name of the plan's request */
    const uint8_t *is_distinct;      /* [n_constraints] no value twice; else: one value */
    const uint8_t *concerns;         /* [n_constraints][n_plans] */
    const uint8_t *known;            /* [n_contents] 1: the rows of the content below are filled */
    const uint8_t *fits;             /* [n_contents][n_plans] bits KS_DRA_SELECTED … KS_DRA_NO_ROOM */
    const int32_t *value;            /* [n_contents][n_constraints] of the constraint's attribute */
    const int32_t *amount_start;     /* [n_contents][n_plans] in amounts: one for each capacity of the content */
    const uint64_t *amount;          /* what the plan consumes of each capacity */
} ks_dra_question;

typedef struct ks_dra_answer {
    int32_t status; /* KS_DRA_* */
    int32_t claim, plan, pool, device; /* what the status is about; pool and device: positions */
    int64_t n_least; /* of KS_DRA_ASKS_TOO_MANY: devices asked for at least */
    int32_t n_picks;
    int32_t *picks; /* [n_claims * KS_DRA_MAX_RESULTS][4] claim, plan, pool, device: positions, in order of claims */
} ks_dra_answer;

ks_status ks_dra_new(ks_dra **out);
void ks_dra_free(ks_dra *dra);
ks_status ks_dra_content_add(ks_dra *dra, const ks_dra_content *in);
ks_status ks_dra_pool_add(ks_dra *dra, const ks_dra_pool *in);
/* Claims come to hold a device as a whole or in shares, and what shares consume of it; negative: they give it back. */
ks_status ks_dra_hold(ks_dra *dra, int32_t device, int32_t whole, int32_t shares, int32_t n, const int32_t *name,
                      const uint64_t *amount);
/* Bytes that are equal for two pools of equal content exactly if the same is held of both; size: how many there are, of
 * which the first cap are written. O(devices of the pool). */
ks_status ks_dra_state(ks_dra *dra, int32_t pool, int64_t cap, uint8_t *out, int64_t *size);
/* The first devices, in the order of the pools, that all claims can have at once. Changes nothing. */
ks_status ks_dra_search(ks_dra *dra, const ks_dra_question *question, int32_t n_pools, const int32_t *pools,
                        ks_dra_answer *out);
/* ffi:end */

/* Quantities are refused above this, so that a product with 100 stays inside int64; sums are checked. */
#define KS_MAX_QUANTITY ((int64_t)1 << 56)
/* Allocatable of an extended resource that the node does not have, but devices stand in for. */
#define KS_UNLIMITED (KS_MAX_QUANTITY + 1)

/* C callers only: an engine over another allocator, so that a test can make any allocation fail. */
typedef struct ks_allocator {
    void *(*resize)(void *context, void *block, size_t old_size, size_t new_size); /* new_size 0 frees */
    void *context;
} ks_allocator;
ks_status ks_engine_new_with(const ks_allocator *allocator, int32_t n_resources, ks_engine **out);
ks_status ks_dra_new_with(const ks_allocator *allocator, ks_dra **out);

#endif
