// All commands of the binary, and what their options say about themselves: help, man page and
// completions are made from it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/cli/commands.h"

namespace leash::cli {

struct Command {
  std::string_view name;
  int (*run)(const Arguments&);
  std::string_view summary;
};
std::span<const Command> all_commands();

struct OptionText {
  std::string name;      // "--model"
  std::string argument;  // "MODEL"; empty: a switch
  std::string help;
};
struct CommandText {
  std::string usage, summary, examples;
  std::vector<OptionText> options;
};
// Without running it.
CommandText describe(const Command& command);

}  // namespace leash::cli
