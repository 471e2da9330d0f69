// The one binary: every command of leash.
#include <string>
#include <vector>

#include "experiments/cli/app.h"
#include "models/device/host_memory.h"

int main(int argc, char** argv) {
  leash::keep_host_memory();
  return leash::cli::run_app(std::vector<std::string>(argv + 1, argv + argc));
}
