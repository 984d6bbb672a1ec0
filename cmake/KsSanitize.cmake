# SPDX-License-Identifier: Apache-2.0
# Sanitizers for the library and everything that links it; the first finding ends the test.
include(CheckCSourceCompiles)

# Some distributions ship a compiler without the sanitizers' runtime. There the C tests still run, and say what is
# missing; with KS_WERROR (CI) it is an error, so that the check cannot vanish unnoticed.
if(KS_SANITIZE)
  set(CMAKE_REQUIRED_FLAGS "-fsanitize=address,undefined")
  check_c_source_compiles("int main(void) { return 0; }" KS_HAVE_SANITIZERS)
  unset(CMAKE_REQUIRED_FLAGS)
  if(NOT KS_HAVE_SANITIZERS AND KS_WERROR)
    message(FATAL_ERROR "this compiler cannot link -fsanitize=address,undefined: install its sanitizer libraries")
  elseif(NOT KS_HAVE_SANITIZERS)
    message(WARNING "no sanitizer libraries: the C tests run without AddressSanitizer and UBSan")
  endif()
endif()

function(ks_sanitize target)
  if(KS_SANITIZE AND KS_HAVE_SANITIZERS)
    target_compile_options(${target} PUBLIC -fsanitize=address,undefined -fno-sanitize-recover=all
                                            -fno-omit-frame-pointer -g)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()
