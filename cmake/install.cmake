# `cmake --install` yields a tree that runs from wherever it is put: bin/mlxd finds lib/libmlx by a
# run path relative to itself.
include(GNUInstallDirs)
if(TARGET mlxd)
  if(APPLE)
    set(origin "@loader_path")
  else()
    set(origin "$ORIGIN")
  endif()
  set_target_properties(mlxd PROPERTIES INSTALL_RPATH "${origin}/../${CMAKE_INSTALL_LIBDIR}/mlxd")
  install(TARGETS mlxd RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  if(MLXD_HAVE_MLX)
    # libmlx looks for its BLAS in ../../mlx_cpu.libs, so the wheel's folders stay as they are.
    get_filename_component(mlx_wheel "${MLX_LIBRARY_DIRS}/../.." ABSOLUTE)
    set_target_properties(
      mlxd PROPERTIES INSTALL_RPATH "${origin}/../${CMAKE_INSTALL_LIBDIR}/mlxd/mlx/lib")
    install(DIRECTORY ${mlx_wheel}/mlx/lib DESTINATION ${CMAKE_INSTALL_LIBDIR}/mlxd/mlx
            USE_SOURCE_PERMISSIONS)
    if(EXISTS ${mlx_wheel}/mlx_cpu.libs)
      install(DIRECTORY ${mlx_wheel}/mlx_cpu.libs DESTINATION ${CMAKE_INSTALL_LIBDIR}/mlxd
              USE_SOURCE_PERMISSIONS)
    endif()
    file(GLOB mlx_licenses ${mlx_wheel}/mlx_*.dist-info/licenses/LICENSE)
    foreach(license ${mlx_licenses})
      install(FILES ${license} DESTINATION ${CMAKE_INSTALL_DOCDIR}/licenses RENAME mlx.txt)
    endforeach()
  endif()
  install(
    CODE "execute_process(COMMAND \${CMAKE_COMMAND} -DCARGO=${CARGO}
      -DMANIFEST=${CMAKE_SOURCE_DIR}/rust/textkit/Cargo.toml
      -DOUT=\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DOCDIR}/licenses/rust
      -P ${CMAKE_SOURCE_DIR}/cmake/rust_licenses.cmake)")
  install(FILES LICENSE NOTICE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
  install(FILES web/dist/LICENSES.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/licenses RENAME page.md)
  foreach(package libboost1.81-dev libcurl4 libssl3 libcli11-dev libtomlplusplus-dev libfmt-dev libspdlog-dev
                  prometheus-cpp-dev)
    if(EXISTS /usr/share/doc/${package}/copyright)
      install(FILES /usr/share/doc/${package}/copyright
              DESTINATION ${CMAKE_INSTALL_DOCDIR}/licenses RENAME ${package}.txt)
    endif()
  endforeach()
endif()
