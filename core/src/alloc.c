/* SPDX-License-Identifier: Apache-2.0
 * alloc.c: growable arrays over an allocator that a test can make fail. */
#include "internal.h"

#include <stdlib.h> /* realloc, free */
#include <string.h> /* memset */

static void *system_resize(void *context, void *block, size_t old_size, size_t new_size) {
    (void)context;
    (void)old_size;
    if (new_size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, new_size);
}

void ks_memory_default(ks_memory *mem) {
    mem->allocator.resize = system_resize;
    mem->allocator.context = NULL;
    mem->bytes = 0;
}

ks_status ks_reserve(ks_memory *mem, void **block, int64_t *cap, int64_t need, size_t element) {
    if (need <= *cap)
        return KS_OK;
    /* Growing by half again keeps appends O(1) amortised; large columns should not double. */
    int64_t grown = *cap + *cap / 2;
    int64_t next = need > grown ? need : grown;
    if (next < 8)
        next = 8;
    if ((uint64_t)next > (uint64_t)(INT64_MAX / 2) / element)
        return KS_EOVERFLOW;
    size_t old_size = (size_t)*cap * element;
    size_t new_size = (size_t)next * element;
    void *moved = mem->allocator.resize(mem->allocator.context, *block, old_size, new_size);
    if (moved == NULL)
        return KS_ENOMEM;
    memset((char *)moved + old_size, 0, new_size - old_size);
    *block = moved;
    *cap = next;
    mem->bytes += (int64_t)(new_size - old_size);
    return KS_OK;
}

ks_status ks_row_list_reserve(ks_memory *mem, ks_row_list *list, int64_t need) {
    int64_t cap = list->cap;
    if (need > INT32_MAX / 2)
        return KS_EOVERFLOW;
    KS_TRY(ks_reserve(mem, (void **)&list->at, &cap, need, sizeof *list->at));
    list->cap = (int32_t)cap;
    return KS_OK;
}

void ks_row_list_discard(ks_memory *mem, ks_row_list *list) {
    int64_t cap = list->cap;
    ks_discard(mem, (void **)&list->at, &cap, sizeof *list->at);
    list->cap = 0;
}

void ks_discard(ks_memory *mem, void **block, int64_t *cap, size_t element) {
    if (*block != NULL) {
        mem->allocator.resize(mem->allocator.context, *block, (size_t)*cap * element, 0);
        mem->bytes -= *cap * (int64_t)element;
    }
    *block = NULL;
    *cap = 0;
}
