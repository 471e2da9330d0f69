# Read by CTest: lists the tests of BINARY and adds each suite as one test. A process per test would spend half of the suite's
# time on loading LibTorch; a listing at build time would start binaries that may not start there (CUDA).
execute_process(COMMAND "${BINARY}" --gtest_list_tests OUTPUT_VARIABLE listing RESULT_VARIABLE failed)
if(NOT failed EQUAL 0)
  add_test("${TARGET}_cannot_list_its_tests" "${BINARY}" --gtest_list_tests)
endif()
# A suite and its first test; suites whose first test is disabled hold parts of tests that start processes.
string(REGEX MATCHALL "\n[A-Za-z][A-Za-z0-9_/]*\\.[^\n]*\n  [A-Z][a-z]" suites "${listing}")
foreach(suite ${suites})
  string(REGEX MATCH "[A-Za-z][A-Za-z0-9_/]*\\." suite "${suite}")
  set(label "${LABEL}")
  if(suite MATCHES "SmolLM2")  # the real model
    set(label slow)
  elseif(LABEL STREQUAL "unit" AND suite MATCHES "(^|/)(Golden|Threads)")
    string(TOLOWER "${CMAKE_MATCH_2}" label)
  endif()
  add_test("${suite}*" "${BINARY}" "--gtest_filter=${suite}*")
  # Skipped: the last line names a skipped test, so none failed.
  set_tests_properties("${suite}*" PROPERTIES LABELS "${label}" TIMEOUT 900 WORKING_DIRECTORY "${SOURCE_DIR}"
    ENVIRONMENT "LEASH_CACHE=${MODELS}" SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\] [A-Za-z0-9_./]+\n*$")
endforeach()
