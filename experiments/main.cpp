// The one binary: every command of leash.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "experiments/cli/app.h"
#include "models/device/host_memory.h"

namespace {

// Where standard input, output or error is closed, the next file to be opened would take its
// number, and what is said there would land in it.
void reserve_standard_descriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    const bool closed = ::fcntl(descriptor, F_GETFD) < 0 && errno == EBADF;
    if (closed && ::open("/dev/null", O_RDWR) != descriptor) ::_exit(leash::cli::kRunFailed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  reserve_standard_descriptors();
  leash::keep_host_memory();
  return leash::cli::run_app(std::vector<std::string>(argv + 1, argv + argc));
}
