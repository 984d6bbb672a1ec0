# SPDX-License-Identifier: Apache-2.0
# Warnings for our own sources; errors only where KS_WERROR asks for them, so that a newer compiler breaks nobody.
function(ks_warn target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes
                                           -Wmissing-prototypes)
  if(KS_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
