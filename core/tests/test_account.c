/* SPDX-License-Identifier: Apache-2.0
 * Binding and releasing: what is refused, and what is counted. */
#include "ks_test.h"

static ks_engine *e;
static int32_t plain, device, done;

static void set_up(void) {
    plain_class p;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    CHECK_EQ(add_plain_class(e, 3000, GIB, &plain), KS_OK);
    make_plain_class(&p, 0, 0);
    p.spec.device_count = 1;
    p.spec.device_milli = 600;
    CHECK_EQ(ks_class_add(e, &p.spec, &device), KS_OK);
}

static void test_accounting_is_checked(void) {
    set_up();
    int32_t row[] = {1};
    uint64_t two = 3, first = 1, absent = 1u << 10;
    CHECK_EQ(ks_release(e, 1, &plain, row, NULL, &done), KS_ESTATE); /* nothing runs there */
    CHECK_EQ(ks_bind(e, 1, &device, row, &two, &done), KS_EINVAL);   /* two devices for one */
    CHECK_EQ(ks_bind(e, 1, &device, row, &absent, &done), KS_ERANGE);
    CHECK_EQ(ks_bind(e, 1, &device, row, &first, &done), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &device, row, &first, &done), KS_ESTATE);  /* 400 are left */
    CHECK_EQ(ks_release(e, 1, &device, row, NULL, &done), KS_EINVAL); /* which device? */
    CHECK_EQ(ks_release(e, 1, &device, row, &first, &done), KS_OK);
    CHECK_EQ(e->device_free.at[1 * e->device_stride], KS_DEVICE_WHOLE);
    row[0] = 5;
    CHECK_EQ(ks_bind(e, 1, &plain, row, NULL, &done), KS_ERANGE);
    ks_engine_free(e);
}

static void test_shared_ports_stay_until_both_are_gone(void) {
    int32_t port, id, row[] = {0};
    plain_class p;
    set_up();
    CHECK_EQ(ks_port_add(e, 0, 0, 80, &port), KS_OK);
    make_plain_class(&p, 1, 1);
    p.spec.n_ports = 1;
    p.spec.port = &port;
    CHECK_EQ(ks_class_add(e, &p.spec, &id), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &id, row, NULL, &done), KS_OK);
    CHECK_EQ(ks_bind(e, 1, &id, row, NULL, &done), KS_OK);
    CHECK_EQ(ks_release(e, 1, &id, row, NULL, &done), KS_OK);
    CHECK(ks_ports_in_use(e, &e->classes.at[id], 0));
    CHECK_EQ(ks_release(e, 1, &id, row, NULL, &done), KS_OK);
    CHECK(!ks_ports_in_use(e, &e->classes.at[id], 0));
    ks_engine_free(e);
}

static void test_sums_that_overflow_are_refused(void) {
    int32_t huge, row[] = {0}, bound = 0;
    set_up();
    CHECK_EQ(add_plain_class(e, KS_MAX_QUANTITY, 0, &huge), KS_OK);
    while (bound < 200 && ks_bind(e, 1, &huge, row, NULL, &done) == KS_OK)
        bound++;
    CHECK_EQ(bound, 127); /* 2^63 / 2^56, less one */
    CHECK_EQ(ks_bind(e, 1, &huge, row, NULL, &done), KS_EOVERFLOW);
    CHECK_EQ(e->used[KS_PODS][0], 127);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_accounting_is_checked);
    RUN(test_shared_ports_stay_until_both_are_gone);
    RUN(test_sums_that_overflow_are_refused);
    return REPORT();
}
