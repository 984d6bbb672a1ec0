/* SPDX-License-Identifier: Apache-2.0
 * Every status has a text of its own. */
#include "ks_test.h"

static void test_texts_are_distinct(void) {
    for (ks_status a = KS_OK; a <= KS_EUNSUPPORTED + 1; a++)
        for (ks_status b = KS_OK; b < a; b++)
            CHECK(strcmp(ks_status_text(a), ks_status_text(b)) != 0);
    CHECK(strcmp(ks_status_text(-5), "unknown status") == 0);
}

int main(void) {
    RUN(test_texts_are_distinct);
    return REPORT();
}
