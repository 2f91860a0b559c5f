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
endfunction()
