# SPDX-License-Identifier: Apache-2.0
# The extension kubesched.kernel._native: cffi in API mode over core/include/ks.h.
function(ks_add_python_extension)
  find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
  set(generator ${PROJECT_SOURCE_DIR}/kubesched/kernel/ffi_build.py)
  set(header ${PROJECT_SOURCE_DIR}/core/include/ks.h)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/_native.c)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${Python_EXECUTABLE} ${generator} ${header} ${source}
    DEPENDS ${generator} ${header}
    COMMENT "Generating the binding from ks.h"
    VERBATIM)
  Python_add_library(_native MODULE WITH_SOABI ${source})
  target_link_libraries(_native PRIVATE ks)
  install(TARGETS _native LIBRARY DESTINATION kubesched/kernel COMPONENT python)
endfunction()
