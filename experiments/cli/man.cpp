// leash man: the manual page, from the options' own descriptions.
#include <fmt/format.h>

#include <iostream>

#include "experiments/cli/command_table.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/options.h"
#include "experiments/cli/version.h"

namespace leash::cli {
namespace {

constexpr CommandHelp kManHelp{"man", "", "Prints the manual page, for man(1).",
                               "  leash man > leash.1 && man ./leash.1"};

constexpr std::string_view kEnd =
    ".SH ENVIRONMENT\n"
    ".TP\n.B LEASH_CACHE\nwhere set-up put the model smollm2 (~/.cache/leash)\n"
    ".TP\n.B LEASH_API_KEY\nthe key that clients of leash serve have to show\n"
    ".TP\n.B HF_HUB_CACHE, HF_HOME\nwhere models called org/name are\n"
    ".TP\n.B OMP_NUM_THREADS\nthreads of one operation (all cores)\n"
    ".SH EXIT STATUS\n"
    "0 done, 1 run failed, 2 bad option or configuration, 3 bad model or data file, 130 "
    "interrupted\n";

// Text that roff takes as it is.
std::string roff(std::string_view text) {
  std::string result;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) result += "\\&";
    if (c == '\\') {
      result += "\\e";
    } else if (c == '-') {
      result += "\\-";
    } else {
      result += c;
    }
    line_begins = c == '\n';
  }
  return result;
}

std::string section(const Command& command) {
  const CommandText text = describe(command);
  std::string page = fmt::format(".SS leash {} {}\n{}\n", roff(command.name), roff(text.usage),
                                 roff(text.summary));
  for (const OptionText& option : text.options) {
    page += fmt::format(".TP\n\\fB{}\\fR {}\n{}\n", roff(option.name), roff(option.argument),
                        roff(option.help));
  }
  if (!text.examples.empty()) page += fmt::format(".PP\n.nf\n{}\n.fi\n", roff(text.examples));
  return page;
}

}  // namespace

int man(const Arguments& args) {
  const auto values =
      parse_options(kManHelp, boost::program_options::options_description("Options"), {}, args);
  if (!values) return 0;
  std::string page = fmt::format(
      ".TH LEASH 1 \"\" \"leash {}\"\n"
      ".SH NAME\nleash \\- RLHF with LoRA and PPO for causal language models, in one binary\n"
      ".SH SYNOPSIS\n.B leash\n.I COMMAND\n[options]\n"
      ".SH COMMANDS\n"
      "MODEL is a GGUF file, a Hugging Face folder, org/name in Hugging Face's cache, or "
      "smollm2.\n",
      semantic_version());
  for (const Command& command : all_commands()) page += section(command);
  std::cout << page << kEnd;
  return 0;
}

}  // namespace leash::cli
