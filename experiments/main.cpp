// The one binary: every command of leash.
#include <string>
#include <vector>

#include "experiments/cli/app.h"

int main(int argc, char** argv) {
  return leash::cli::run_app(std::vector<std::string>(argv + 1, argv + argc));
}
