# The two things that are installed: the server and the Python extension.
execute_process(COMMAND "${Python_EXECUTABLE}" -m nanobind --cmake_dir
  OUTPUT_VARIABLE nanobind_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
find_package(nanobind CONFIG REQUIRED)

if(EXISTS ${PROJECT_SOURCE_DIR}/core/main.cpp)
  file(GLOB program_sources CONFIGURE_DEPENDS core/*.cpp)
  add_executable(fused-server ${program_sources})
  target_link_libraries(fused-server PRIVATE fused_http CLI11::CLI11)
  target_compile_definitions(fused-server PRIVATE FUSED_VERSION="${PROJECT_VERSION}")
  install(TARGETS fused-server RUNTIME DESTINATION fused/bin)
endif()

# Reads tables for the server, in a sandbox; found beside it.
add_executable(fused-table core/reader/main.cpp)
target_link_libraries(fused-table PRIVATE fused_reader ${CMAKE_DL_LIBS})
set_target_properties(fused-table PROPERTIES INSTALL_RPATH "$ORIGIN/../../pyarrow" BUILD_RPATH "${ARROW_WHEEL_DIR}")
install(TARGETS fused-table RUNTIME DESTINATION fused/bin)

file(GLOB native_sources CONFIGURE_DEPENDS core/native/*.cpp)
if(native_sources)
  nanobind_add_module(_native NB_STATIC NOMINSIZE ${native_sources})
  target_link_libraries(_native PRIVATE fused_cache fused_result fused_table fused_ingest fused_sandbox)
  target_include_directories(_native PRIVATE core)
  target_compile_options(_native PRIVATE -Wno-pedantic)
  set_target_properties(_native PROPERTIES INSTALL_RPATH "$ORIGIN/../pyarrow" BUILD_RPATH "${ARROW_WHEEL_DIR}")
  install(TARGETS _native LIBRARY DESTINATION fused)
endif()

if(FUSED_IN_TREE)
  if(TARGET _native)
    set_target_properties(_native PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${PROJECT_SOURCE_DIR}/python/fused)
  endif()
  set_target_properties(fused-table PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_SOURCE_DIR}/python/fused/bin)
  if(TARGET fused-server)
    set_target_properties(fused-server PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_SOURCE_DIR}/python/fused/bin)
  endif()
endif()
if(FUSED_FUZZ)
  add_subdirectory(fuzz)
endif()

# Benchmarks in C++, built when asked for: tools/dev log_folders
add_executable(log_folders EXCLUDE_FROM_ALL bench/log_folders.cpp)
target_link_libraries(log_folders PRIVATE fused_logs)
add_executable(cache_index EXCLUDE_FROM_ALL bench/cache_index.cpp)
target_link_libraries(cache_index PRIVATE fused_cache)
add_executable(job_queue EXCLUDE_FROM_ALL bench/job_queue.cpp)
target_link_libraries(job_queue PRIVATE fused_jobs)
