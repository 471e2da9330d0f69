// What this binary was built from, and what it runs on.
#pragma once

#include <string>

namespace leash::cli {

// "leash 0.1.0 (git abc1234, Release)" and a line each for LibTorch, CPU capability and threads.
std::string version_text();

// "0.1.0"
std::string semantic_version();

}  // namespace leash::cli
