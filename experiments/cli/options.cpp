#include "experiments/cli/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/program_options/errors.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/positional_options.hpp>
#include <iostream>
#include <sstream>

#include "configs/suggest.h"
#include "experiments/cli/command_table.h"
#include "models/errors.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

void print_help(const CommandHelp& help, const po::options_description& options) {
  std::ostringstream table;
  table << options;
  std::cout << fmt::format("Usage: leash {} {}\n\n{}\n\n{}", help.name, help.usage, help.summary,
                           table.str());
  if (!help.examples.empty()) std::cout << "\nExamples:\n" << help.examples << "\n";
}

// Positional names are options for Boost, but nobody is meant to write them with dashes.
po::options_description with_positional(const po::options_description& options,
                                        const std::vector<std::string>& positional) {
  po::options_description all;
  all.add(options);
  for (const std::string& name : positional) {
    all.add_options()(name.c_str(), po::value<std::string>());
  }
  return all;
}

std::vector<std::string> option_names(const po::options_description& options) {
  std::vector<std::string> names;
  for (const auto& option : options.options()) names.push_back("--" + option->long_name());
  return names;
}

CommandText* described = nullptr;  // what parse_options fills in the place of parsing

void fill(CommandText& text, const CommandHelp& help, const po::options_description& options) {
  text = {.usage = std::string(help.usage),
          .summary = std::string(help.summary),
          .examples = std::string(help.examples)};
  for (const auto& option : options.options()) {
    const bool takes = option->semantic()->max_tokens() > 0;
    text.options.push_back({.name = "--" + option->long_name(),
                            .argument = takes ? option->format_parameter() : "",
                            .help = option->description()});
  }
}

[[noreturn]] void fail(const CommandHelp& help, const std::string& problem) {
  throw ConfigError(fmt::format("{} (see `leash {} --help`)", problem, help.name));
}

}  // namespace

std::optional<po::variables_map> parse_options(const CommandHelp& help,
                                               po::options_description options,
                                               const std::vector<std::string>& positional,
                                               const Arguments& args) {
  namespace style = po::command_line_style;
  options.add_options()("help,h", "this text");
  if (described != nullptr) {
    fill(*described, help, options);
    return std::nullopt;
  }
  const po::options_description all = with_positional(options, positional);
  po::positional_options_description places;
  for (const std::string& name : positional) places.add(name.c_str(), 1);
  po::variables_map values;
  try {
    po::store(po::command_line_parser(args)
                  .options(all)
                  .positional(places)
                  .style(style::unix_style & ~style::allow_guessing)
                  .run(),
              values);
    po::notify(values);
  } catch (const po::unknown_option& error) {
    const std::string name = error.get_option_name();
    const std::vector<std::string> known = option_names(options);
    fail(help, fmt::format("unknown option {}{}", name, did_you_mean(name, known)));
  } catch (const po::too_many_positional_options_error&) {
    fail(help, fmt::format("too many words: `leash {}` takes {}", help.name, help.usage));
  } catch (const po::error& error) {
    fail(help, error.what());
  }
  if (values.count("help") != 0) {
    print_help(help, options);
    return std::nullopt;
  }
  return values;
}

CommandText describe(const Command& command) {
  CommandText text;
  described = &text;
  command.run({});  // every command begins with parse_options
  described = nullptr;
  return text;
}

void OptionProblems::check() const {
  if (!problems_.empty()) throw ConfigError(fmt::format("{}", fmt::join(problems_, "\n")));
}

}  // namespace leash::cli
