# Installing and packaging: the binary, the libraries that it needs beside it, recipes with their data, licences, man page and
# completions, so that it runs where nothing of ours is: cmake --install, or `make package` (a .deb and a tar.zst).
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # installing builds no tests
# RPATH in place of RUNPATH, which would not hold for the libraries' own libraries.
target_link_options(leash PRIVATE -Wl,--disable-new-dtags)

install(DIRECTORY configs/recipes/ DESTINATION share/leash/recipes FILES_MATCHING PATTERN "*.yaml" PATTERN "*.jsonl"
  PATTERN "*.py" PATTERN make_preferences.py EXCLUDE)
install(FILES LICENSE DESTINATION share/doc/leash)
install(DIRECTORY docs/ DESTINATION share/doc/leash FILES_MATCHING PATTERN "*.md")
install(CODE "set(leash_built \"$<TARGET_FILE:leash>\")\nset(leash_wheels \"${LEASH_CACHE}/libtorch-2.11.0\")")
install(SCRIPT "${CMAKE_CURRENT_LIST_DIR}/install_leash.cmake")

set(CPACK_GENERATOR TZST DEB)
set(CPACK_PACKAGE_NAME leash)
set(CPACK_PACKAGE_VENDOR leash)
set(CPACK_PACKAGE_CONTACT "leash maintainers")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "RLHF with LoRA and PPO for causal language models, in one binary")
set(CPACK_PACKAGE_FILE_NAME "leash-${PROJECT_VERSION}-linux-x86_64")
set(CPACK_PACKAGE_DIRECTORY "${CMAKE_BINARY_DIR}/package")
set(CPACK_THREADS 0)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE amd64)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "libc6 (>= 2.36), libstdc++6 (>= 12), libgcc-s1 (>= 12)")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS python3)
include(CPack)
