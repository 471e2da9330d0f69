// leash completion: what a shell completes, from the options' own descriptions.
#include <fmt/format.h>

#include <iostream>

#include "experiments/cli/command_table.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/options.h"
#include "models/errors.h"

namespace leash::cli {
namespace {

constexpr CommandHelp kCompletionHelp{"completion", "bash | zsh",
                                      "Prints the completions of commands and options for a shell.",
                                      "  leash completion bash > /etc/bash_completion.d/leash\n"
                                      "  leash completion zsh > ~/.zfunc/_leash"};

std::string bash_completion() {
  std::string commands, cases;
  for (const Command& command : all_commands()) {
    commands += fmt::format("{}{}", commands.empty() ? "" : " ", command.name);
    std::string options;
    for (const OptionText& option : describe(command).options) {
      options += fmt::format("{}{}", options.empty() ? "" : " ", option.name);
    }
    cases += fmt::format("    {}) words=\"{}\" ;;\n", command.name, options);
  }
  return fmt::format(
      "# bash completion of leash (leash completion bash)\n"
      "_leash() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} words=\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    COMPREPLY=($(compgen -W \"{} help --help --version\" -- \"$current\"))\n"
      "    return\n"
      "  fi\n"
      "  case ${{COMP_WORDS[1]}} in\n{}  esac\n"
      "  case $current in\n"
      "    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
      "  esac\n"
      "}}\n"
      "complete -o default -F _leash leash\n",
      commands, cases);
}

// In single quotes, where brackets and colons mean something to _arguments.
std::string zsh_text(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\'') {
      result += "'\\''";
    } else if (c == '[' || c == ']' || c == ':' || c == '\\') {
      result += std::string("\\") + c;
    } else {
      result += c;
    }
  }
  return result;
}

std::string zsh_completion() {
  std::string commands, cases;
  for (const Command& command : all_commands()) {
    commands += fmt::format("    '{}:{}'\n", command.name, zsh_text(command.summary));
    cases += fmt::format("    {}) _arguments", command.name);
    for (const OptionText& option : describe(command).options) {
      const std::string argument =
          option.argument.empty() ? "" : fmt::format(":{}:_files", zsh_text(option.argument));
      cases += fmt::format(" \\\n      '*{}[{}]{}'", option.name, zsh_text(option.help), argument);
    }
    cases += " \\\n      '*:file:_files' ;;\n";
  }
  return fmt::format(
      "#compdef leash\n"
      "# zsh completion of leash (leash completion zsh)\n"
      "_leash() {{\n"
      "  local -a commands\n"
      "  commands=(\n{}  )\n"
      "  if (( CURRENT == 2 )); then\n"
      "    _describe command commands\n"
      "    return\n"
      "  fi\n"
      "  local command=$words[2]\n"
      "  shift words\n"
      "  (( CURRENT-- ))\n"
      "  case $command in\n{}  esac\n"
      "}}\n"
      "_leash \"$@\"\n",
      commands, cases);
}

}  // namespace

int completion(const Arguments& args) {
  const auto values = parse_options(
      kCompletionHelp, boost::program_options::options_description("Options"), {"shell"}, args);
  if (!values) return 0;
  const auto shell = given<std::string>(*values, "shell");
  if (shell != "bash" && shell != "zsh") {
    throw ConfigError(fmt::format("completions are there for bash and zsh{}",
                                  shell ? ", not for `" + *shell + "`" : ""));
  }
  std::cout << (shell == "bash" ? bash_completion() : zsh_completion());
  return 0;
}

}  // namespace leash::cli
