/* SPDX-License-Identifier: Apache-2.0
 * undo.c: speculation. Binds and releases after a mark are remembered and taken back in reverse order.
 *
 * A mark is the length of the undo log when it was made. While any mark is open, rows cannot be added, rewritten or
 * removed: what-if questions are about pods. */
#include "internal.h"

ks_status ks_speculate(ks_engine *e, int64_t *out_mark) {
    if (e == NULL || out_mark == NULL)
        return KS_EINVAL;
    *out_mark = e->undo.n;
    e->n_marks++;
    return KS_OK;
}

static ks_status check_mark(const ks_engine *e, int64_t mark) {
    if (e == NULL || mark < 0)
        return KS_EINVAL;
    return e->n_marks == 0 || mark > e->undo.n ? KS_ESTATE : KS_OK;
}

/* Each entry is undone on the state that its change left, so that every list and sum is what it was, in its order. */
ks_status ks_rollback(ks_engine *e, int64_t mark) {
    KS_TRY(check_mark(e, mark));
    while (e->undo.n > mark)
        ks_account_undo(e, &e->undo.at[--e->undo.n]);
    e->n_marks--;
    return KS_OK;
}

ks_status ks_keep(ks_engine *e, int64_t mark) {
    KS_TRY(check_mark(e, mark));
    e->n_marks--;
    if (e->n_marks == 0)
        e->undo.n = 0;
    return KS_OK;
}
