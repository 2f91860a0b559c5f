# A room is a folder of src/ with one purpose, built as one static library. mlxd_room(NAME SOURCES
# ... LINKS ...) makes the target mlxd_NAME, and gives it an include folder that holds this room
# alone: "engine/engine.h" resolves only in a target that links mlxd_engine. So the build itself
# refuses an include that points the wrong way.
add_library(mlxd_options INTERFACE)
target_compile_options(mlxd_options INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(mlxd_options INTERFACE -Wno-restrict)  # false in std::string (PR105329)
endif()
if(MLXD_WERROR)
  target_compile_options(mlxd_options INTERFACE -Werror)
endif()
if(MLXD_SANITIZE)
  target_compile_options(mlxd_options INTERFACE -fsanitize=${MLXD_SANITIZE} -fno-omit-frame-pointer
                                                -fno-sanitize-recover=all)
  target_link_options(mlxd_options INTERFACE -fsanitize=${MLXD_SANITIZE})
endif()

# A package's rooms are built from nothing, so that half the time went to reading these again and again.
# Elsewhere each file stands by what it includes itself.
function(mlxd_precompile target)
  target_precompile_headers(
    ${target} PRIVATE <cfloat> <algorithm> <array> <charconv> <chrono> <cmath> <cstdint> <cstring> <exception> <filesystem>
    <functional> <map> <memory> <optional> <set> <span> <string> <string_view> <unordered_map> <utility> <variant>
    <vector> <fmt/format.h> <fmt/ranges.h> <spdlog/spdlog.h>)
  if("Boost::json" IN_LIST ARGN)
    target_precompile_headers(${target} PRIVATE <boost/json.hpp>)
  endif()
  if("mlx" IN_LIST ARGN)
    target_precompile_headers(${target} PRIVATE <mlx/mlx.h>)
  endif()
endfunction()

function(mlxd_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;LINKS;PRIVATE" ${ARGN})
  string(REPLACE "/" "_" target "mlxd_${name}")
  set(include_root ${CMAKE_BINARY_DIR}/rooms/${target})
  get_filename_component(parent ${name} DIRECTORY)
  file(MAKE_DIRECTORY ${include_root}/${parent})
  if(NOT EXISTS ${include_root}/${name})
    file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/${name} ${include_root}/${name} SYMBOLIC)
  endif()
  add_library(${target} STATIC ${ROOM_SOURCES})
  target_include_directories(${target} PUBLIC ${include_root})
  target_link_libraries(${target} PUBLIC mlxd_options ${ROOM_LINKS} PRIVATE ${ROOM_PRIVATE})
  if(MLXD_TARGET)
    mlxd_precompile(${target} ${ROOM_LINKS} ${ROOM_PRIVATE})
    # Kernels are compiled for instruction sets that these headers are not.
    set(kernels ${ROOM_SOURCES})
    list(FILTER kernels INCLUDE REGEX "(kernels|vector_ops)")
    set_source_files_properties(${kernels} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  endif()
endfunction()
