# cmake -P, at install: copies the licences of the Rust crates that MANIFEST links, as their packages
# ship them, to OUT/<crate>-<version>/. Only of crates that were downloaded for this machine.
execute_process(COMMAND ${CARGO} --version --verbose OUTPUT_VARIABLE about)
string(REGEX MATCH "host: ([^\n]+)" found "${about}")
execute_process(
  COMMAND ${CARGO} metadata --format-version 1 --locked --offline --filter-platform
          ${CMAKE_MATCH_1} --manifest-path ${MANIFEST}
  OUTPUT_VARIABLE metadata RESULT_VARIABLE failed)
if(failed)
  message(WARNING "the licences of the Rust crates were not installed: cargo metadata failed")
  return()
endif()
string(JSON packages GET "${metadata}" packages)
string(JSON count LENGTH "${packages}")
math(EXPR last "${count} - 1")
foreach(i RANGE ${last})
  string(JSON package GET "${packages}" ${i})
  string(JSON name GET "${package}" name)
  string(JSON version GET "${package}" version)
  string(JSON manifest GET "${package}" manifest_path)
  get_filename_component(folder "${manifest}" DIRECTORY)
  file(GLOB licenses "${folder}/LICEN[CS]E*" "${folder}/COPYING*" "${folder}/UNLICENSE*")
  if(licenses)
    file(COPY ${licenses} DESTINATION "${OUT}/${name}-${version}")
  endif()
endforeach()
