/* SPDX-License-Identifier: Apache-2.0
 * The change log: nothing is hidden, nothing grows for ever. */
#include "ks_test.h"

static void test_log_keeps_static_changes(void) {
    ks_engine *e;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    ks_log_all(e);
    CHECK_EQ(ks_log_reserve(e, 3), KS_OK);
    ks_log_row(e, 1, true);
    ks_log_row(e, 1, false); /* must not hide that the static side changed */
    CHECK_EQ(e->log.at[e->log.n - 1], ~1);
    ks_log_row(e, 0, false);
    CHECK_EQ(e->log.at[e->log.n - 1], 0);
    ks_engine_free(e);
}

static void test_log_is_dropped_when_long(void) {
    ks_engine *e;
    CHECK_EQ(ks_engine_new(4, &e), KS_OK);
    CHECK_EQ(add_plain_nodes(e, 2), KS_OK);
    int64_t end = ks_log_end(e);
    for (int32_t i = 0; i < 10000; i++) {
        CHECK_EQ(ks_log_reserve(e, 1), KS_OK);
        ks_log_row(e, i % 2, false);
    }
    CHECK_EQ(ks_log_end(e), end + 10000); /* positions never go back */
    CHECK(e->log.n < 5000);
    ks_engine_free(e);
}

int main(void) {
    RUN(test_log_keeps_static_changes);
    RUN(test_log_is_dropped_when_long);
    return REPORT();
}
