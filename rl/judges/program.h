// A program of the user's, run once: text in, text out, within bounds.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "rl/judges/process_group.h"

namespace leash {

struct ProgramLimits {
  double seconds = 600;           // from its start to its end
  size_t output_bytes = 1 << 20;  // on its standard output
};

// Runs `command` in a shell at its place, writes `input` to its standard input and returns what it
// printed until it ended. It has no descriptor of ours but standard error, unless that goes to a
// log. It runs in a process group of its own, which is killed when this returns or throws, and by a
// guard when this process ends in any other way, by SIGKILL for one. std::runtime_error when it
// ends with another code than 0 or by a signal, is stopped, or goes beyond the limits;
// std::system_error when it cannot be started.
std::string run_program(const std::string& command, std::string_view input,
                        const ProgramLimits& limits, const ProgramPlace& place = {});

}  // namespace leash
