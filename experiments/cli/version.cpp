#include "experiments/cli/version.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <torch/version.h>

#include "git_version.h"  // generated: LEASH_GIT

namespace leash::cli {

std::string version_text() {
  return fmt::format(
      "leash {} (git {}, {})\n"
      "LibTorch {}, CPU capability {}, {} threads\n",
      LEASH_VERSION, LEASH_GIT, LEASH_BUILD_TYPE, TORCH_VERSION, at::get_cpu_capability(),
      at::get_num_threads());
}

}  // namespace leash::cli
