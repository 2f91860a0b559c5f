# Every C++ library from outside, but those that only tests/ and bench/ use, which find theirs.
# Versions are those of Debian 12; MLX is the pinned wheel that scripts/setup unpacked.
# Those of a package for other systems are made from source (scripts/package).
if(MLXD_TARGET)
  include(portable_libraries)
else()
  find_package(Threads REQUIRED)
  find_package(OpenSSL REQUIRED)                      # hashes and random bytes
  find_package(CURL 7.85 REQUIRED)                    # transfers from the hub, traces
  find_package(Boost 1.81 REQUIRED COMPONENTS json)   # Asio's sockets and timers, and JSON
  find_package(CLI11 REQUIRED)                        # the command line
  find_package(tomlplusplus REQUIRED)                 # its file of settings
  find_package(fmt REQUIRED)
  find_package(spdlog REQUIRED)                       # the log
  find_package(prometheus-cpp CONFIG REQUIRED)        # /metrics
endif()

if(MLXD_MLX)
  list(PREPEND CMAKE_PREFIX_PATH ${CMAKE_SOURCE_DIR}/.cache/mlx/mlx)
  find_package(MLX 0.32.4 CONFIG QUIET)
endif()
if(MLX_FOUND)
  set(MLXD_HAVE_MLX ON)
  if(APPLE)  # Frameworks are named where they lay on the machine that built MLX; only libmlx uses them.
    set_target_properties(mlx PROPERTIES INTERFACE_LINK_LIBRARIES "")
  endif()
elseif(MLXD_MLX AND MLXD_TARGET)
  message(FATAL_ERROR "MLX 0.32.4 is not in MLXD_LIBRARIES")
else()
  set(MLXD_HAVE_MLX OFF)
endif()
message(STATUS "mlx backend: ${MLXD_HAVE_MLX}")

# nvcc of the system, or the pinned one that scripts/setup --cuda unpacked.
set(MLXD_HAVE_CUDA OFF)
if(MLXD_CUDA)
  find_program(MLXD_NVCC nvcc HINTS ${CMAKE_SOURCE_DIR}/.cache/cuda/nvidia/cu13/bin /usr/local/cuda/bin)
  set(nvcc_version 0)
  if(MLXD_NVCC)
    execute_process(COMMAND ${MLXD_NVCC} --version OUTPUT_VARIABLE nvcc_says ERROR_QUIET)
    string(REGEX MATCH "release ([0-9.]+)" nvcc_release "${nvcc_says}")
    if(nvcc_release)
      set(nvcc_version ${CMAKE_MATCH_1})
    endif()
  endif()
  if(MLXD_NVCC AND nvcc_version VERSION_LESS 12.8)
    message(STATUS "${MLXD_NVCC} is of CUDA ${nvcc_version}; the cuda backend wants 12.8 or newer")
  elseif(MLXD_NVCC)
    set(CMAKE_CUDA_COMPILER ${MLXD_NVCC} CACHE FILEPATH "The CUDA compiler")
    set(CMAKE_CUDA_ARCHITECTURES 90a-real)
    set(MLXD_HAVE_CUDA ON)
  endif()
endif()
message(STATUS "cuda backend: ${MLXD_HAVE_CUDA}")
