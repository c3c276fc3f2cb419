# Compiler flags and build accelerators: ccache and mold are used where they are present.
add_compile_options(-Wall -Wextra -Wpedantic -Wno-gnu-statement-expression -Wno-psabi -Wno-missing-field-initializers)
if(FUSED_WERROR)
  add_compile_options(-Werror)
endif()
# g++ 12 reports false positives of these in coroutine frames and inlined std::string code.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-mismatched-new-delete -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds -Wno-stringop-overread -Wno-dangling-pointer)
endif()
# Asio's fences are beyond ThreadSanitizer, which sees the locks beside them.
if(CMAKE_CXX_FLAGS MATCHES "sanitize=thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-tsan)
endif()
add_compile_definitions(_GNU_SOURCE BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_DISABLE_BOOST_REGEX)

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD AND NOT CMAKE_CXX_FLAGS MATCHES "sanitize")
  add_link_options(-fuse-ld=mold)
endif()
