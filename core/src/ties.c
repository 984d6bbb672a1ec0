/* SPDX-License-Identifier: Apache-2.0
 *
 * ties.c: the k-th of the rows that tie, in row order, without looking at all rows before it.
 *
 * The best score of an empty cluster may be that of a hundred thousand rows, and seeded placement draws one of them for
 * every pod. Indexes know how many they are; for sets of rows that were drawn from, they also count them by block:
 *
 *     area    rows      0 .. 16,383                      16,384 ..              a sum of blocks
 *     block   rows 0 .. 255   256 .. 511   ...                                  rows of the set
 *
 * Drawing looks at the areas, the blocks of one area, and the rows of one block. */
#include "internal.h"

#include <string.h> /* memset */

ks_status ks_ties_open(ks_memory *mem, ks_ties *t, int64_t n_rows) {
    int64_t blocks = n_rows / KS_TIE_BLOCK + 1, areas = n_rows / KS_TIE_AREA + 1;
    KS_TRY(KS_VEC_RESERVE(mem, &t->block, blocks));
    KS_TRY(KS_VEC_RESERVE(mem, &t->area, areas));
    memset(t->block.at, 0, (size_t)t->block.cap * sizeof *t->block.at);
    memset(t->area.at, 0, (size_t)t->area.cap * sizeof *t->area.at);
    t->is_on = true;
    return KS_OK;
}

void ks_ties_discard(ks_memory *mem, ks_ties *t) {
    KS_VEC_DISCARD(mem, &t->block);
    KS_VEC_DISCARD(mem, &t->area);
    t->is_on = false;
}

int32_t ks_ties_find(const ks_ties *const *sets, int32_t n, uint32_t *wanted) {
    int32_t area = 0, block;
    for (;; area++) {
        uint32_t there = 0;
        for (int32_t i = 0; i < n; i++)
            there += (uint32_t)sets[i]->area.at[area];
        if (*wanted < there)
            break;
        *wanted -= there;
    }
    for (block = area * (KS_TIE_AREA / KS_TIE_BLOCK);; block++) {
        uint32_t there = 0;
        for (int32_t i = 0; i < n; i++)
            there += (uint32_t)sets[i]->block.at[block];
        if (*wanted < there)
            break;
        *wanted -= there;
    }
    return block * KS_TIE_BLOCK;
}
