/* SPDX-License-Identifier: Apache-2.0
 * log.c: how indexes learn what changed.
 *
 * Each placement, release or node update appends its row, and an index that was last current at position p re-reads the
 * rows from p on. Only the last entry of a row counts (last_log). When the log is longer than twice the rows it is
 * dropped; indexes that had not read it rebuild themselves, which costs no more than reading it would have. */
#include "internal.h"

#include <string.h> /* memset */

ks_status ks_log_reserve(ks_engine *e, int64_t extra) {
    if (e->log.n + extra > 2 * (int64_t)e->n_rows + 4096) {
        e->log_base += e->log.n;
        e->log.n = 0;
    }
    return KS_VEC_RESERVE(&e->mem, &e->log, e->log.n + extra);
}

void ks_log_row(ks_engine *e, int32_t row, bool is_static) {
    int64_t position = ks_log_end(e);
    int64_t last = e->last_log.at[row];
    /* A later dynamic change must not hide an unread static one. */
    bool pending_static = last >= e->log_base && last < position && e->log.at[last - e->log_base] < 0;
    e->last_log.at[row] = position;
    e->log.at[e->log.n++] = is_static || pending_static ? ~row : row;
    e->fragmented_valid.at[row] = 0;
}

void ks_log_surely(ks_engine *e, int32_t row) {
    if (ks_log_reserve(e, 1) == KS_OK)
        ks_log_row(e, row, false);
    else
        ks_log_all(e);
}

void ks_log_all(ks_engine *e) {
    e->log_base += e->log.n + 1;
    e->log.n = 0;
    if (e->n_rows > 0)
        memset(e->fragmented_valid.at, 0, (size_t)e->n_rows);
}
