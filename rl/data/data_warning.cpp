#include "rl/data/data_warning.h"

#include <fmt/format.h>

#include <iostream>

#include "models/errors.h"
#include "models/printable.h"
#include "rl/distributed/launch.h"

namespace leash {
namespace {

// Commands of one process run where the environment is half a launcher's, too.
bool leads() {
  try {
    return read_launch(process_environment()).rank == 0;
  } catch (const ConfigError&) {
    return true;
  }
}

}  // namespace

void data_warning(std::string_view text) {
  if (leads())
    std::cerr << fmt::format("leash: warning: {}\n", printable_lines(text)) << std::flush;
}

}  // namespace leash
