# What cmake/dependencies.cmake finds on a system, made for another one: OpenSSL and curl are built
# before by scripts/package and lie in the prefixes MLXD_LIBRARIES; the others are headers in MLXD_HEADERS, and a
# few sources. All of them become part of the program.
find_package(Threads REQUIRED)

function(mlxd_headers target)
  add_library(${target} INTERFACE IMPORTED)
  target_include_directories(${target} SYSTEM INTERFACE ${MLXD_HEADERS}/usr/include)
  target_compile_definitions(${target} INTERFACE ${ARGN})
endfunction()
mlxd_headers(Boost::headers)
mlxd_headers(CLI11::CLI11)
mlxd_headers(tomlplusplus::tomlplusplus)
# fmt 9 asks more of its consteval functions than Clang 22 allows.
mlxd_headers(fmt::fmt FMT_HEADER_ONLY "FMT_CONSTEVAL=")
mlxd_headers(spdlog::spdlog SPDLOG_FMT_EXTERNAL FMT_HEADER_ONLY "FMT_CONSTEVAL=")

add_library(mlxd_boost_json STATIC ${CMAKE_SOURCE_DIR}/packaging/boost_json.cc)
target_link_libraries(mlxd_boost_json PUBLIC Boost::headers)
add_library(Boost::json ALIAS mlxd_boost_json)

set(prometheus ${MLXD_HEADERS}/prometheus-cpp-1.0.1/core/src)
file(GLOB prometheus_sources ${prometheus}/*.cc ${prometheus}/detail/*.cc)
add_library(mlxd_prometheus STATIC ${prometheus_sources})
target_compile_definitions(mlxd_prometheus PUBLIC PROMETHEUS_CPP_CORE_STATIC_DEFINE)
target_include_directories(mlxd_prometheus SYSTEM PUBLIC ${MLXD_HEADERS}/usr/include)
target_include_directories(mlxd_prometheus PRIVATE ${prometheus})
add_library(prometheus-cpp::core ALIAS mlxd_prometheus)

find_package(OpenSSL REQUIRED)
find_package(CURL REQUIRED)
