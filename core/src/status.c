/* SPDX-License-Identifier: Apache-2.0
 * status.c: one line for each status code. */
#include "ks.h"

const char *ks_status_text(ks_status status) {
    switch (status) {
    case KS_OK:
        return "ok";
    case KS_ENOMEM:
        return "out of memory";
    case KS_EINVAL:
        return "an argument is NULL, negative or inconsistent";
    case KS_ERANGE:
        return "an id or row does not exist";
    case KS_ESTATE:
        return "the call does not fit the current state";
    case KS_EOVERFLOW:
        return "a quantity or a sum of quantities is too large";
    case KS_EUNSUPPORTED:
        return "a plugin or combination is not implemented";
    case KS_EPLUGIN:
        return "a user's plugin failed";
    default:
        return "unknown status";
    }
}
