# Debian's cross compiler for 64-bit Arm, and its libraries for that in MLXD_ARM_ROOT, where
# scripts/test-arm unpacks them. Programs run under qemu, on the processor that $QEMU_CPU names.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MLXD_ARM_ROOT)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# Headers that differ from one architecture to another.
set(CMAKE_CXX_FLAGS_INIT "-isystem ${MLXD_ARM_ROOT}/usr/include/aarch64-linux-gnu")
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static -L ${MLXD_ARM_ROOT})
set(CMAKE_FIND_ROOT_PATH ${MLXD_ARM_ROOT} /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
