#include "experiments/cli/app.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string_view>

#include "configs/suggest.h"
#include "experiments/cli/command_table.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/version.h"
#include "models/device/out_of_memory.h"
#include "models/errors.h"
#include "models/printable.h"

namespace leash::cli {
namespace {

constexpr Command kCommands[] = {
    {"init", init, "a recipe of your own, with data and a reward program, to start from"},
    {"train", train, "train from one YAML recipe"},
    {"sweep", sweep, "train many runs of one recipe on one base"},
    {"generate", generate, "complete prompts, with the log-prob of every token"},
    {"chat", chat, "talk with a model on the terminal"},
    {"serve", serve, "answer OpenAI's clients over HTTP, base and adapters by name"},
    {"score", score, "log-probs and entropies of given texts"},
    {"evaluate", evaluate, "held-out reward, KL and perplexity of a run"},
    {"reward-test", reward_test, "what a recipe's sources of reward say of given answers"},
    {"kl-report", kl_report, "exact KL(policy || reference) per position and per text"},
    {"label", label_command, "people judge pairs of answers, in a browser or on a terminal"},
    {"export", export_command, "a model or adapter for transformers, llama.cpp, Ollama or PEFT"},
    {"tokenize", tokenize, "token ids of lines on standard input"},
    {"render", render, "conversations through a chat template"},
    {"config", config, "show or check a recipe; print the table of all settings"},
    {"plan", plan, "memory and communication of a recipe, before anything is allocated"},
    {"doctor", doctor, "what this machine is, and what is missing"},
    {"completion", completion, "completions for bash or zsh"},
    {"man", man, "this manual, for man(1)"},
};

std::string overview() {
  std::string text =
      "leash: RLHF with LoRA and PPO for causal language models, in one binary\n\n"
      "Usage: leash COMMAND [options]\n\nCommands:\n";
  for (const Command& command : kCommands) {
    text += fmt::format("  {:<11} {}\n", command.name, command.summary);
  }
  return text +
         "\n  leash COMMAND --help   options and examples of a command\n"
         "  leash --version        version and build facts\n\n"
         "MODEL is a GGUF file, a Hugging Face folder, `org/name` in Hugging Face's cache, or "
         "`smollm2`\n"
         "(installed by set-up).\n"
         "With --json, standard output carries JSON lines and nothing else.\n"
         "Exit codes: 0 done, 1 run failed, 2 bad option or configuration, 3 bad model or data "
         "file, 130 interrupted.\n\n"
         "Examples:\n"
         "  leash chat --model smollm2\n"
         "  leash train configs/recipes/demo.yaml --set run.seed=2\n"
         "  leash generate --model smollm2 --adapter runs/a/adapter --chat "
         "--prompt \"How was your day?\"\n";
}

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (command.name == name) return command;
    names.emplace_back(command.name);
  }
  const std::string kind = name.starts_with("-") ? "option" : "command";
  throw ConfigError(
      fmt::format("unknown {} `{}`{} (see `leash --help`)", kind, name, did_you_mean(name, names)));
}

int dispatch(std::vector<std::string> args) {
  if (args.empty()) {
    std::cerr << overview();
    return kBadConfiguration;
  }
  // `leash help generate` is `leash generate --help`.
  if (args[0] == "help")
    args = args.size() > 1 ? Arguments{args[1], "--help"} : Arguments{"--help"};
  if (args[0] == "--help" || args[0] == "-h") {
    std::cout << overview();
    return kDone;
  }
  if (args[0] == "--version") {
    std::cout << version_text();
    return kDone;
  }
  return find_command(args[0]).run(Arguments(args.begin() + 1, args.end()));
}

// The first problem stands behind "leash: error:", each further one on an indented line of its own.
int report(std::string_view message, ExitCode code) {
  while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
  std::string text = "leash: error: ";
  for (const char c : printable_lines(message)) {
    text += c;
    if (c == '\n') text += "  ";
  }
  std::cout.flush();
  std::cerr << text << std::endl;
  return code;
}

// Commands without a state worth saving end at once; training installs handlers of its own.
void end_on_interrupt() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const auto before = std::signal(signal, [](int) { _exit(kInterrupted); });
    if (signal == SIGHUP && before == SIG_IGN) std::signal(signal, SIG_IGN);  // nohup
  }
}

}  // namespace

std::span<const Command> all_commands() { return kCommands; }

std::string failure_text(const std::exception& error) {
  if (const auto said = shortage(error)) return shortage_text(*said);
  const auto* torch = dynamic_cast<const c10::Error*>(&error);  // what() would add a stack trace
  return torch != nullptr ? torch->what_without_backtrace() : error.what();
}

int run_app(const std::vector<std::string>& args) {
  std::ios::sync_with_stdio(false);
  end_on_interrupt();
  std::signal(SIGCHLD, SIG_DFL);  // a parent that ignores it would hide how reward programs end
  std::signal(SIGXFSZ, SIG_IGN);  // writing beyond a limit is an error that is reported
  try {
    const int code = dispatch(args);
    // A full disk or a closed pipe behind standard output must not look like success.
    if (!std::cout.flush()) return report("cannot write to standard output", kRunFailed);
    return code;
  } catch (const ConfigError& error) {
    return report(error.what(), kBadConfiguration);
  } catch (const FormatError& error) {
    return report(error.what(), kBadFile);
  } catch (const std::exception& error) {
    return report(failure_text(error), kRunFailed);
  }
}

}  // namespace leash::cli
