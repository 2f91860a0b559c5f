# cmake -P: writes OUT from IN with VERSION and, in a git checkout, the commit that is built. Run by
# every build, since a commit changes no file that a build would notice.
execute_process(COMMAND git describe --always --dirty --abbrev=9 --exclude=*
                WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit ERROR_QUIET
                OUTPUT_STRIP_TRAILING_WHITESPACE)
if(commit)
  string(APPEND VERSION "+${commit}")
endif()
configure_file(${IN} ${OUT} @ONLY)
