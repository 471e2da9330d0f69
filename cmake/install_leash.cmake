# The built binary with its libraries beside it, what it says about itself (man page, completions), and the licences of all.
set(to "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")  # file(INSTALL) puts DESTDIR in front by itself

file(INSTALL "${leash_built}" DESTINATION "${CMAKE_INSTALL_PREFIX}/bin" USE_SOURCE_PERMISSIONS)
get_filename_component(name "${leash_built}" NAME)
file(RPATH_SET FILE "${to}/bin/${name}" NEW_RPATH "$ORIGIN/../lib/leash")
# What every system has stays its own.
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES "${leash_built}" RESOLVED_DEPENDENCIES_VAR needed
  UNRESOLVED_DEPENDENCIES_VAR missing
  PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread|util|resolv|gcc_s|stdc\\+\\+)\\.so")
if(missing)
  message(FATAL_ERROR "not found, though the binary needs them: ${missing}")
endif()
foreach(library ${needed})
  file(INSTALL "${library}" DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/leash" FOLLOW_SYMLINK_CHAIN)
endforeach()

function(leash_says file)
  get_filename_component(folder "${file}" DIRECTORY)
  file(MAKE_DIRECTORY "${folder}")
  execute_process(COMMAND "${leash_built}" ${ARGN} OUTPUT_FILE "${file}" RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${leash_built} ${ARGN} failed")
  endif()
endfunction()
leash_says("${to}/share/man/man1/leash.1" man)
leash_says("${to}/share/bash-completion/completions/leash" completion bash)
leash_says("${to}/share/zsh/vendor-completions/_leash" completion zsh)

# Of a Debian library its package's copyright; of the wheels their own texts.
set(licences "${to}/share/doc/leash/licences")
file(MAKE_DIRECTORY "${licences}")
file(GLOB texts LIST_DIRECTORIES false "${leash_wheels}/*.dist-info/*LICENSE*" "${leash_wheels}/*.dist-info/*License*"
  "${leash_wheels}/*.dist-info/NOTICE*" "${leash_wheels}/*.dist-info/licenses/*")
foreach(text ${texts})
  string(REGEX REPLACE ".*/([a-zA-Z0-9_]+)-[^/]*dist-info/(licenses/)?" "\\1." name "${text}")
  configure_file("${text}" "${licences}/${name}" COPYONLY)
endforeach()
file(GLOB libraries "${to}/lib/leash/*.so*")
foreach(library ${libraries})
  get_filename_component(name "${library}" NAME)
  if(name MATCHES "^lib(torch|c10|cud|cup|gomp)")
    continue()  # of the wheels
  endif()
  execute_process(COMMAND dpkg-query -S "*/${name}" OUTPUT_VARIABLE package ERROR_QUIET)
  string(REGEX MATCH "^[^:\n]+" package "${package}")
  if(NOT package OR NOT EXISTS "/usr/share/doc/${package}/copyright")
    message(FATAL_ERROR "${name}: no licence is known, so it cannot be packed")
  endif()
  configure_file("/usr/share/doc/${package}/copyright" "${licences}/${package}" COPYONLY)
endforeach()
foreach(header fmt nlohmann-json3)  # compiled in
  if(EXISTS "/usr/share/doc/lib${header}-dev/copyright")
    configure_file("/usr/share/doc/lib${header}-dev/copyright" "${licences}/lib${header}-dev" COPYONLY)
  elseif(EXISTS "/usr/share/doc/${header}-dev/copyright")
    configure_file("/usr/share/doc/${header}-dev/copyright" "${licences}/${header}-dev" COPYONLY)
  endif()
endforeach()
