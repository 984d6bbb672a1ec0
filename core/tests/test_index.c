/* SPDX-License-Identifier: Apache-2.0
 * The indexed driver gives the dense driver's answer while nodes and pods come, change and go. */
#include "ks_test.h"

static uint64_t seed;

static int64_t draw(int64_t n) { return (int64_t)ks_random_below(&seed, (uint32_t)n); }

static void add_random_node(ks_engine *e, const int32_t *taints, const int32_t *labels, const int32_t *images,
                            int32_t row) {
    int64_t amount[5] = {draw(5) == 0 ? 0 : 1000 * (1 + draw(16)), GIB * draw(32) + draw(1000), 0, draw(20), draw(3)};
    if (draw(20) == 0)
        amount[KS_MEMORY] = (int64_t)1 << 50; /* beyond the bounds of the double path */
    int32_t taint = taints[draw(4)], label = labels[draw(3)], image = images[draw(3)], name = (int32_t)draw(50);
    int32_t host = (int32_t)draw(10), devices = (int32_t)draw(5), model = (int32_t)draw(3), first;
    uint8_t unschedulable = draw(12) == 0;
    ks_node_rows rows = {.n = 1,
                         .allocatable = amount,
                         .name_id = &name,
                         .hostname_value = &host,
                         .label_set = &label,
                         .taint_set = &taint,
                         .image_set = &image,
                         .unschedulable = &unschedulable,
                         .device_count = &devices,
                         .device_model = &model};
    if (row == KS_NONE)
        CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_OK);
    else {
        ks_status status = ks_nodes_update(e, &row, &rows);
        CHECK(status == KS_OK || status == KS_ESTATE); /* devices in use */
    }
}

static void add_sets(ks_engine *e, int32_t *taints, int32_t *labels, int32_t *images) {
    taints[0] = labels[0] = images[0] = 0;
    for (int32_t i = 1; i < 4; i++) {
        int32_t key[] = {1, 2}, value[] = {i, 1},
                effect[] = {KS_EFFECT_PREFER_NO_SCHEDULE,
                            i == 3 ? KS_EFFECT_NO_SCHEDULE : KS_EFFECT_PREFER_NO_SCHEDULE};
        CHECK_EQ(ks_taint_set_add(e, i == 1 ? 1 : 2, key, value, effect, &taints[i]), KS_OK);
    }
    for (int32_t i = 1; i < 3; i++) {
        int32_t key[] = {1, 2}, value[] = {i, 7};
        int64_t number[] = {i, 0}, size[] = {300 * i * ((int64_t)1 << 20), GIB};
        uint8_t is_number[] = {1, 0};
        CHECK_EQ(ks_label_set_add(e, 2, key, value, number, is_number, &labels[i]), KS_OK);
        CHECK_EQ(ks_image_set_add(e, i, key, size, &images[i]), KS_OK);
    }
}

static int32_t add_random_class(ks_engine *e, int32_t port) {
    plain_class p;
    one_requirement required, preferred;
    int32_t values[] = {1, 2, 3, 4, 5}, id, image[] = {1, 2}, t_key[] = {1}, t_op[] = {KS_TOLERATE_EXISTS},
            t_value[] = {0}, t_effect[] = {0};
    make_plain_class(&p, 100 * draw(20), GIB * draw(4));
    ask_extended(&p, draw(6) == 0);
    if (draw(3) == 0) {
        p.spec.has_required = 1;
        p.spec.required =
            require(&required, draw(3) == 0 ? KS_KEY_HOSTNAME : 1, (int32_t)draw(2), (int32_t)(1 + draw(4)), values);
    }
    if (draw(3) == 0) {
        p.spec.preferred = require(&preferred, 1, KS_OP_IN, 1, values);
        p.spec.preferred.weight = preferred.weight;
    }
    if (draw(4) == 0) {
        p.spec.n_tolerations = 1;
        p.spec.toleration_key = t_key;
        p.spec.toleration_op = t_op;
        p.spec.toleration_value = t_value;
        p.spec.toleration_effect = t_effect;
    }
    if (draw(5) == 0) {
        p.spec.n_ports = 1;
        p.spec.port = &port;
    }
    if (draw(3) == 0) {
        p.spec.n_images = 2;
        p.spec.image = image;
        p.spec.n_image_containers = 2;
    }
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    return id;
}

/* The way of classes that come once, too; counts draws from the same place. */
static void check_sweep(ks_engine *e, int32_t profile, int32_t class_id, int32_t tie, const ks_choice *wanted) {
    ks_choice swept;
    uint64_t rng = seed;
    CHECK_EQ(ks_sweep_decide(e, profile, &e->classes.at[class_id], tie, &rng, &swept), KS_OK);
    CHECK_EQ(swept.node, wanted->node);
    CHECK_EQ(swept.score, wanted->score);
    CHECK_EQ(swept.ties, wanted->ties);
    CHECK_EQ(swept.feasible, wanted->feasible);
}

/* Both drivers, same options; returns the row. */
static int32_t decide_both(ks_engine *e, int32_t profile, int32_t class_id) {
    int32_t tie = (int32_t)draw(2), done, node[2], ties[2], feasible[2];
    int64_t score[2];
    uint64_t rng = seed;
    for (int32_t i = 0; i < 2; i++) {
        ks_options o = {
            .profile = profile, .driver = i == 0 ? KS_DRIVER_DENSE : KS_DRIVER_INDEXED, .tie = tie, .rng = rng};
        ks_decisions out = {.node = &node[i], .score = &score[i], .ties = &ties[i], .feasible = &feasible[i]};
        CHECK_EQ(ks_place(e, &o, 1, &class_id, &out, &done), KS_OK);
    }
    CHECK_EQ(node[1], node[0]);
    CHECK_EQ(score[1], score[0]);
    CHECK_EQ(ties[1], ties[0]);
    CHECK_EQ(feasible[1], feasible[0]);
    check_sweep(e, profile, class_id, tie, &(ks_choice){score[0], node[0], ties[0], feasible[0]});
    return node[0];
}

static void churn(uint64_t start, int32_t steps) {
    ks_engine *e;
    int32_t profile, taints[4], labels[3], images[3], port, done, held_class[512], held_row[512], n_held = 0;
    seed = start;
    CHECK_EQ(ks_engine_new(5, &e), KS_OK);
    add_sets(e, taints, labels, images);
    CHECK_EQ(ks_port_add(e, 0, 0, 80, &port), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    for (int32_t i = 0; i < 40; i++)
        add_random_node(e, taints, labels, images, KS_NONE);
    for (int32_t i = 0; i < 20; i++)
        add_random_class(e, port);
    for (int32_t i = 0; i < steps && checks_failed == 0; i++) {
        int64_t what = draw(20);
        int32_t class_id = (int32_t)draw(e->classes.n), row = (int32_t)draw(e->n_rows);
        if (what == 0)
            add_random_node(e, taints, labels, images, KS_NONE);
        else if (what == 1)
            add_random_node(e, taints, labels, images, row);
        else if (what == 2 && e->classes.n < 90)
            add_random_class(e, port);
        else if (what == 3 && e->live.at[row]) {
            CHECK_EQ(ks_nodes_remove(e, 1, &row), KS_OK);
            for (int32_t h = n_held - 1; h >= 0; h--)
                if (held_row[h] == row) {
                    held_row[h] = held_row[--n_held];
                    held_class[h] = held_class[n_held];
                }
        } else if (what < 8 && n_held > 0) {
            int32_t h = (int32_t)draw(n_held);
            CHECK_EQ(ks_release(e, 1, &held_class[h], &held_row[h], NULL, &done), KS_OK);
            held_row[h] = held_row[--n_held];
            held_class[h] = held_class[n_held];
        } else {
            int32_t chosen = decide_both(e, profile, class_id);
            if (chosen != KS_NONE && n_held < 512) {
                CHECK_EQ(ks_bind(e, 1, &class_id, &chosen, NULL, &done), KS_OK);
                held_class[n_held] = class_id;
                held_row[n_held++] = chosen;
            }
        }
    }
    ks_engine_free(e);
}

static void test_same_answer_as_dense(void) {
    for (uint64_t start = 1; start <= 8; start++)
        churn(start, 1500);
}

static void test_many_groups_are_left_to_cells(void) {
    ks_engine *e;
    int32_t profile, id, done, node;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    for (int32_t i = 1; i < 40; i++) { /* 39 taint sets with 1..39 taints: as many groups */
        int32_t key[40], value[40] = {0}, effect[40], set, first;
        int64_t amount[4] = {1000, GIB, 0, 10};
        for (int32_t t = 0; t < i; t++) {
            key[t] = t;
            effect[t] = KS_EFFECT_PREFER_NO_SCHEDULE;
        }
        CHECK_EQ(ks_taint_set_add(e, i, key, value, effect, &set), KS_OK);
        ks_node_rows rows = {.n = 1, .allocatable = amount, .taint_set = &set};
        CHECK_EQ(ks_nodes_add(e, &rows, &first), KS_OK);
    }
    CHECK_EQ(add_plain_class(e, 10, 10, &id), KS_OK);
    ks_options o = {.profile = profile, .driver = KS_DRIVER_INDEXED};
    ks_decisions out = {.node = &node};
    CHECK_EQ(ks_place(e, &o, 1, &id, &out, &done), KS_OK);
    CHECK_EQ(node, 0);
    CHECK_EQ(o.n_dense, 0);
    CHECK_EQ(o.n_indexed, 1);
    ks_engine_free(e);
}

static void test_many_classes_share_the_tree(void) {
    ks_engine *e;
    int32_t profile, classes[200], node[200], ties[200], node2[200], done;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 300), KS_OK);
    CHECK_EQ(add_default_profile(e, &profile), KS_OK);
    for (int32_t i = 0; i < 200; i++)
        CHECK_EQ(add_plain_class(e, 10 + i, (200 - i) * ((int64_t)1 << 20), &classes[i]), KS_OK);
    int64_t mark;
    CHECK_EQ(ks_speculate(e, &mark), KS_OK);
    ks_options dense = {.profile = profile, .driver = KS_DRIVER_DENSE, .commit = 1};
    ks_decisions out = {.node = node2};
    CHECK_EQ(ks_place(e, &dense, 200, classes, &out, &done), KS_OK);
    CHECK_EQ(ks_rollback(e, mark), KS_OK);
    ks_options indexed = {.profile = profile, .driver = KS_DRIVER_INDEXED, .commit = 1};
    out = (ks_decisions){.node = node, .ties = ties};
    CHECK_EQ(ks_place(e, &indexed, 200, classes, &out, &done), KS_OK);
    CHECK_EQ(indexed.n_indexed, 200);
    CHECK(memcmp(node, node2, sizeof node) == 0);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_same_answer_as_dense);
    RUN(test_many_groups_are_left_to_cells);
    RUN(test_many_classes_share_the_tree);
    return REPORT();
}
