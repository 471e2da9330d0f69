// Options of a command: parsing, --help with examples, and errors that say what was meant.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/value_semantic.hpp>
#include <boost/program_options/variables_map.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "experiments/cli/commands.h"

namespace leash::cli {

struct CommandHelp {
  std::string_view name;
  std::string_view usage;     // what stands behind "leash NAME"
  std::string_view summary;   // a paragraph
  std::string_view examples;  // one command a line
};

// Parsed values. Adds --help; when that was asked for, prints the help and returns nothing.
// `positional` names the options that plain words fill, one each, in order. Throws ConfigError.
std::optional<boost::program_options::variables_map> parse_options(
    const CommandHelp& help, boost::program_options::options_description options,
    const std::vector<std::string>& positional, const Arguments& args);

template <class T>
std::optional<T> given(const boost::program_options::variables_map& values, const char* name) {
  if (values.count(name) == 0) return std::nullopt;
  return values[name].as<T>();
}

// All problems of a command's options, thrown together.
class OptionProblems {
 public:
  void add(std::string problem) { problems_.push_back(std::move(problem)); }
  void require(bool fine, std::string problem) {
    if (!fine) add(std::move(problem));
  }
  // Throws ConfigError when there is any.
  void check() const;

 private:
  std::vector<std::string> problems_;
};

}  // namespace leash::cli
