// leash init: a recipe of one's own, with its data and a reward program, that trains as it is.
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <span>
#include <string_view>

#include "experiments/cli/commands.h"
#include "experiments/cli/options.h"
#include "models/errors.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

constexpr CommandHelp kInitHelp{
    "init", "DIR [--model MODEL]",
    "Writes a recipe of your own into DIR (which is made, or has to be empty), with the prompts "
    "that\n"
    "it trains on and a program that rewards answers. It trains as it is; change one thing after "
    "the\n"
    "other.",
    "  leash init mine\n"
    "  leash train mine/recipe.yaml\n"
    "  leash init mine --model org/name"};

constexpr std::string_view kRecipe =
    R"(# A recipe of your own: PPO with LoRA against the program reward.py. It trains as it is:
#
#   leash train {folder}/recipe.yaml --run-dir {folder}/run
#
# and an interrupted run goes on with --resume. Paths belong to the folder of this file. Every other setting has a default:
# `leash config show {folder}/recipe.yaml` prints those in effect; a slip of the pen is an error that says what was meant.
task: ppo

# The model that learns: smollm2, a GGUF file, a Hugging Face folder, or org/name from Hugging Face's cache.
model: {{path: {model}}}

# What is trained: low-rank adapters beside every linear layer. Less: target_modules: [q_proj, v_proj].
lora: {{r: 16, lora_alpha: 32, target_modules: all-linear}}

# What is wanted. reward.py gives each answer a number. Rewards that leash brings along need no program:
#   reward: [{{kind: function, name: length, parameters: {{target: 25}}}}]      # answers of 25 words
reward:
  - {{kind: command, command: "python3 {program}"}}

# What it is asked: prompts.jsonl while it trains, held_out.jsonl before and after, to see what it gained on others.
data: {{train: prompts.jsonl, eval: held_out.jsonl}}

# How it answers while it learns: at most 32 tokens, drawn at temperature 0.7.
rollout: {{temperature: 0.7, response_length: 32, stop_token: eos}}

# How it learns. kl_coef holds it close to what it was: if answers get strange, raise it; if nothing changes, lower it or
# raise learning_rate. total_episodes is how many answers it learns from: 96 show that everything works, in a minute or two;
# 500 and more teach something.
ppo: {{total_episodes: 96, batch_size: 32, num_mini_batches: 2, num_ppo_epochs: 2, learning_rate: 3.0e-4, kl_coef: 0.05,
      missing_eos_penalty: 0.5}}

run: {{seed: 1, save_steps: 1, save_total_limit: 2}}
)";

constexpr std::string_view kReward =
    R"("""The reward of recipe.yaml: change `score` into what you want.

leash starts this program for every batch of answers and writes one JSON object a line to it:

    {"prompt": "...", "answer": "...", "ended": true}

`prompt` is the text that the model was given (with its chat template's marks), `answer` what it said, and `ended` whether it
came to an end by itself. The program prints one number for each line, in order, and nothing else. Higher is better; only
differences matter. What it prints to standard error appears beside the run.

Try it without a model:

    echo '{"prompt": "?", "answer": "Yes, gladly!", "ended": true}' | python3 reward.py
"""
import json
import sys


def score(prompt, answer, ended):
    words = answer.split()
    short = 1.0 - min(abs(len(words) - 15), 15) / 15  # 1 at 15 words, 0 at none or at 30 and more
    asks_back = 0.5 if answer.strip().endswith("?") else 0.0
    return short + asks_back


for line in sys.stdin:
    sample = json.loads(line)
    print(score(sample["prompt"], sample["answer"], sample["ended"]))
)";

constexpr const char* kPrompts[] = {"Recommend a board game for four friends.",
                                    "What should I cook with leeks and potatoes?",
                                    "Suggest a name for a small grey cat.",
                                    "How do I get a red wine stain out of a shirt?",
                                    "Plan a free afternoon in a town by the sea.",
                                    "What is a good first instrument for a child?",
                                    "Help me word a birthday card for my aunt.",
                                    "Which herbs grow well on a windowsill?",
                                    "How can I fall asleep more easily?",
                                    "Suggest a walk for a rainy Sunday.",
                                    "What should I take along on a night train?",
                                    "Give me an idea for a present for a gardener.",
                                    "How do I start learning to draw?",
                                    "What goes well with a tomato soup?",
                                    "Suggest a quiet hobby for the evenings.",
                                    "How do I keep a sourdough starter alive?",
                                    "What should I look at when I buy a used bicycle?",
                                    "Suggest a short stretch after a day at the desk.",
                                    "How do I make a rented room feel like home?",
                                    "What is a friendly way to decline an invitation?",
                                    "Recommend a way to remember people's names.",
                                    "What can I do with stale bread?",
                                    "How do I clean a cast-iron pan?",
                                    "Suggest a theme for a children's party."};

constexpr const char* kHeldOut[] = {"What can I bake for a neighbour who likes apples?",
                                    "How do I choose a good watermelon?",
                                    "Suggest a game for a long drive.",
                                    "What helps against a squeaking door?",
                                    "Recommend a warm drink for a cold evening.",
                                    "How do I begin a diary?",
                                    "Suggest a name for a sailing boat.",
                                    "What should I plant next to tomatoes?"};

std::string json_lines(std::span<const char* const> prompts) {
  std::string text;
  for (const char* prompt : prompts) {
    text +=
        fmt::format("{{\"messages\": [{{\"role\": \"user\", \"content\": \"{}\"}}]}}\n", prompt);
  }
  return text;
}

void write(const fs::path& file, std::string_view text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  if (!out.flush()) {
    throw std::runtime_error(
        fmt::format("cannot write {}: {}", file.string(), std::strerror(errno)));
  }
}

void make_empty(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder, error) &&
      (!fs::is_directory(folder, error) || !fs::is_empty(folder, error))) {
    throw ConfigError(
        fmt::format("{} is there and not an empty folder: choose another name", folder.string()));
  }
  fs::create_directories(folder, error);
  if (error) {
    throw ConfigError(fmt::format("cannot make {}: {}", folder.string(), error.message()));
  }
}

// As YAML takes any text.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("''") : std::string(1, c);
  return result + "'";
}

// A path stays what it is, wherever the recipe lies.
std::string recipe_model(const std::string& model) {
  std::error_code error;
  const bool path = model != "smollm2" && fs::exists(model, error);
  return path ? quoted(fs::absolute(model).lexically_normal().string())
              : (model == "smollm2" ? model : quoted(model));
}

}  // namespace

int init(const Arguments& args) {
  po::options_description options("Options");
  options.add_options()("model",
                        po::value<std::string>()->value_name("MODEL")->default_value("smollm2"),
                        "the model that the recipe trains");
  const auto values = parse_options(kInitHelp, std::move(options), {"folder"}, args);
  if (!values) return 0;
  const auto folder = given<std::string>(*values, "folder");
  if (!folder || folder->empty()) throw ConfigError("a folder is missing: leash init DIR");
  const fs::path path = *folder;
  make_empty(path);
  write(path / "recipe.yaml",
        fmt::format(kRecipe, fmt::arg("folder", *folder), fmt::arg("program", "reward.py"),
                    fmt::arg("model", recipe_model((*values)["model"].as<std::string>()))));
  write(path / "reward.py", kReward);
  write(path / "prompts.jsonl", json_lines(kPrompts));
  write(path / "held_out.jsonl", json_lines(kHeldOut));
  std::cout << fmt::format(
      "{0}/recipe.yaml      what is trained, and how: every line says what it does\n"
      "{0}/reward.py        gives each answer a number: change it\n"
      "{0}/prompts.jsonl    what the model is asked while it trains\n"
      "{0}/held_out.jsonl   what it is asked before and after\n\n"
      "Next:\n  leash train {0}/recipe.yaml --run-dir {0}/run\n",
      *folder);
  return 0;
}

}  // namespace leash::cli
