# Imported targets for the Arrow C++ that the pyarrow wheel carries (it ships headers and lib*.so.N, no ArrowConfig.cmake).
# In:  Python_EXECUTABLE (find_package(Python)).
# Out: ArrowWheel::arrow, ArrowWheel::parquet and the other libraries found; ARROW_WHEEL_DIR.
if(NOT ARROW_WHEEL_DIR)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import importlib.util,os; print(os.path.dirname(importlib.util.find_spec('pyarrow').origin))"
    OUTPUT_VARIABLE ARROW_WHEEL_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
endif()
file(STRINGS "${ARROW_WHEEL_DIR}/include/arrow/util/config.h" arrow_so_line REGEX "define ARROW_SO_VERSION ")
string(REGEX MATCH "[0-9]+" ARROW_WHEEL_SOVERSION "${arrow_so_line}")

foreach(library arrow arrow_compute parquet)
  set(file "${ARROW_WHEEL_DIR}/lib${library}.so.${ARROW_WHEEL_SOVERSION}")
  if(NOT EXISTS "${file}")
    message(FATAL_ERROR "FindArrowWheel: ${file} is missing; reinstall pyarrow in ${Python_EXECUTABLE}'s environment")
  endif()
  add_library(ArrowWheel::${library} SHARED IMPORTED GLOBAL)
  set_target_properties(ArrowWheel::${library} PROPERTIES
    IMPORTED_LOCATION "${file}"
    IMPORTED_SONAME "lib${library}.so.${ARROW_WHEEL_SOVERSION}"
    INTERFACE_INCLUDE_DIRECTORIES "${ARROW_WHEEL_DIR}/include")
  target_link_options(ArrowWheel::${library} INTERFACE "LINKER:-rpath-link,${ARROW_WHEEL_DIR}")
  if(NOT library STREQUAL "arrow")
    target_link_libraries(ArrowWheel::${library} INTERFACE ArrowWheel::arrow)
  endif()
endforeach()
