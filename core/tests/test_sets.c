/* SPDX-License-Identifier: Apache-2.0
 * Interned sets and ports. */
#include "ks_test.h"

static void test_label_sets_must_be_sorted(void) {
    ks_engine *e;
    int32_t sorted[] = {1, 4}, same[] = {4, 4}, value[] = {0, 0}, id;
    int64_t number[] = {0, 0};
    uint8_t is_number[] = {0, 0};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(ks_label_set_add(e, 2, sorted, value, number, is_number, &id), KS_OK);
    CHECK_EQ(id, 1); /* 0 is the empty set */
    CHECK_EQ(ks_label_set_add(e, 2, same, value, number, is_number, &id), KS_EINVAL);
    CHECK_EQ(ks_label_set_add(e, -1, sorted, value, number, is_number, &id), KS_EINVAL);
    CHECK_EQ(ks_label_set_add(e, 2, NULL, value, number, is_number, &id), KS_EINVAL);
    CHECK_EQ(KS_N_LABEL_SETS(e), 2);
    ks_engine_free(e);
}

static void test_taints_need_a_known_effect(void) {
    ks_engine *e;
    int32_t key[] = {1}, value[] = {1}, bad[] = {KS_EFFECT_ANY}, good[] = {KS_EFFECT_NO_EXECUTE}, id;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(ks_taint_set_add(e, 1, key, value, bad, &id), KS_EINVAL);
    CHECK_EQ(ks_taint_set_add(e, 1, key, value, good, &id), KS_OK);
    ks_engine_free(e);
}

static void test_the_first_node_fixes_an_image_size(void) {
    ks_engine *e;
    int32_t image[] = {5}, first, second;
    int64_t small[] = {100}, large[] = {900}, negative[] = {-1};
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(ks_image_set_add(e, 1, image, negative, &first), KS_EOVERFLOW);
    CHECK_EQ(ks_image_set_add(e, 1, image, small, &first), KS_OK);
    CHECK_EQ(ks_image_set_add(e, 1, image, large, &second), KS_OK);
    ks_images_count(e, second, 1);
    ks_images_count(e, first, 1);
    CHECK_EQ(e->sets.images.at[5].size, 900);
    CHECK_EQ(e->sets.images.at[5].n_nodes, 2);
    ks_images_count(e, second, -1);
    ks_images_count(e, first, -1);
    ks_images_count(e, first, 1); /* the last one left: the next fixes it anew */
    CHECK_EQ(e->sets.images.at[5].size, 100);
    ks_engine_free(e);
}

static void test_ports_conflict_by_address(void) {
    ks_engine *e;
    int32_t any, one, other, udp;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(ks_port_add(e, 0, 0, 80, &any), KS_OK);
    CHECK_EQ(ks_port_add(e, 1, 0, 80, &one), KS_OK);
    CHECK_EQ(ks_port_add(e, 2, 0, 80, &other), KS_OK);
    CHECK_EQ(ks_port_add(e, 0, 1, 80, &udp), KS_OK);
    CHECK_EQ(ks_port_add(e, 0, 0, 65536, &any), KS_EINVAL);
    CHECK(ks_ports_conflict(e, 0, one));
    CHECK(!ks_ports_conflict(e, one, other));
    CHECK(ks_ports_conflict(e, one, one));
    CHECK(!ks_ports_conflict(e, 0, udp));
    ks_engine_free(e);
}

int main(void) {
    RUN(test_label_sets_must_be_sorted);
    RUN(test_taints_need_a_known_effect);
    RUN(test_the_first_node_fixes_an_image_size);
    RUN(test_ports_conflict_by_address);
    return REPORT();
}
