# What cmake/dependencies.cmake finds on a system, made for another one: OpenSSL and curl are built
# before by scripts/package and lie in the prefixes MLXD_LIBRARIES; the others are headers in MLXD_HEADERS, and a
# few sources. All of them become part of the program.
find_package(Threads REQUIRED)
if(APPLE AND NOT CMAKE_HOST_APPLE)  # CMake knows it by the version of the macOS that it runs on
  set(CMAKE_SHARED_LIBRARY_RUNTIME_C_FLAG "-Wl,-rpath,")
endif()

function(mlxd_headers target)
  add_library(${target} INTERFACE IMPORTED)
  target_include_directories(${target} SYSTEM INTERFACE ${MLXD_HEADERS}/usr/include)
  target_compile_definitions(${target} INTERFACE ${ARGN})
endfunction()
mlxd_headers(Boost::headers)
mlxd_headers(CLI11::CLI11)
mlxd_headers(tomlplusplus::tomlplusplus)

add_library(mlxd_boost_json STATIC ${CMAKE_SOURCE_DIR}/packaging/boost_json.cc)
target_link_libraries(mlxd_boost_json PUBLIC Boost::headers)
add_library(Boost::json ALIAS mlxd_boost_json)

# mlxd_sources(TARGET FOLDER FILES...) compiles files of a folder of MLXD_HEADERS as they are.
function(mlxd_sources target folder)
  list(TRANSFORM ARGN PREPEND ${MLXD_HEADERS}/${folder}/)
  add_library(${target} STATIC ${ARGN})
  target_include_directories(${target} SYSTEM PUBLIC ${MLXD_HEADERS}/usr/include)
endfunction()
mlxd_sources(mlxd_fmt fmtlib-9.1.0+ds1/src format.cc os.cc)
# fmt 9 asks more of its consteval functions than Clang 22 allows.
target_compile_definitions(mlxd_fmt PUBLIC "FMT_CONSTEVAL=")
add_library(fmt::fmt ALIAS mlxd_fmt)

mlxd_sources(mlxd_spdlog spdlog-1.10.0/src async.cpp cfg.cpp color_sinks.cpp file_sinks.cpp spdlog.cpp
             stdout_sinks.cpp)
target_compile_definitions(mlxd_spdlog PUBLIC SPDLOG_COMPILED_LIB SPDLOG_FMT_EXTERNAL)
target_link_libraries(mlxd_spdlog PUBLIC mlxd_fmt)
add_library(spdlog::spdlog ALIAS mlxd_spdlog)

set(prometheus prometheus-cpp-1.0.1/core/src)
file(GLOB sources RELATIVE ${MLXD_HEADERS}/${prometheus} ${MLXD_HEADERS}/${prometheus}/*.cc
     ${MLXD_HEADERS}/${prometheus}/detail/*.cc)
list(SORT sources)
mlxd_sources(mlxd_prometheus ${prometheus} ${sources})
target_compile_definitions(mlxd_prometheus PUBLIC PROMETHEUS_CPP_CORE_STATIC_DEFINE)
target_include_directories(mlxd_prometheus PRIVATE ${MLXD_HEADERS}/${prometheus})
add_library(prometheus-cpp::core ALIAS mlxd_prometheus)

find_package(OpenSSL REQUIRED)
find_package(CURL REQUIRED)
