# Installing and packaging: the binary, the libraries that it needs beside it, recipes with their data, licences, man page and
# completions, so that it runs where nothing of ours is: cmake --install, or `make package` (a .deb and a tar.zst).
include(GNUInstallDirs)
set(leash_libraries "${CMAKE_INSTALL_LIBDIR}")
if(NOT leash_libraries STREQUAL lib)  # of Debian's own architecture folders none: the archive looks the same everywhere
  set(leash_libraries lib)
endif()
# Its own libraries, and theirs: RUNPATH would hold for the first only.
set_target_properties(leash PROPERTIES INSTALL_RPATH "$ORIGIN/../${leash_libraries}/leash")
target_link_options(leash PRIVATE -Wl,--disable-new-dtags)

# What every system has stays its own.
install(TARGETS leash RUNTIME_DEPENDENCY_SET leash_needs RUNTIME DESTINATION bin)
install(RUNTIME_DEPENDENCY_SET leash_needs
  PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread|util|resolv|gcc_s|stdc\\+\\+)\\.so"
  POST_EXCLUDE_REGEXES "/libc10_cuda" LIBRARY DESTINATION ${leash_libraries}/leash)

install(DIRECTORY configs/recipes/ DESTINATION share/leash/recipes FILES_MATCHING PATTERN "*.yaml" PATTERN "*.jsonl" PATTERN "*.py"
  PATTERN make_preferences.py EXCLUDE)
install(FILES LICENSE DESTINATION share/doc/leash)
install(DIRECTORY docs/ DESTINATION share/doc/leash FILES_MATCHING PATTERN "*.md")
install(CODE "set(leash_built \"$<TARGET_FILE:leash>\")")
install(CODE "set(leash_wheels \"${LEASH_CACHE}/libtorch-2.11.0\")")
install(SCRIPT "${CMAKE_CURRENT_LIST_DIR}/install_texts.cmake")

set(CPACK_GENERATOR TZST DEB)
set(CPACK_PACKAGE_NAME leash)
set(CPACK_PACKAGE_VENDOR "leash")
set(CPACK_PACKAGE_CONTACT "leash maintainers")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "RLHF with LoRA and PPO for causal language models, in one binary")
set(CPACK_PACKAGE_FILE_NAME "leash-${PROJECT_VERSION}-linux-x86_64")
set(CPACK_PACKAGE_DIRECTORY "${CMAKE_BINARY_DIR}/package")
set(CPACK_STRIP_FILES OFF)  # LibTorch is stripped; our own names make stack traces readable
set(CPACK_THREADS 0)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE amd64)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.36), libstdc++6 (>= 12), libgcc-s1 (>= 12)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "python3")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
include(CPack)
