// leash score: log-probs and entropies of given texts.
#include <fmt/format.h>

#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <utility>

#include "experiments/cli/chat_options.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/input.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "experiments/cli/score_classes.h"
#include "rollout/scoring.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr CommandHelp kScoreHelp{
    "score", "--model MODEL --input F.jsonl [options]",
    "Log-probs and entropies (nats, temperature 1) of each token after the first. The input has "
    "one\n"
    "object a line: {\"text\": \"…\"}, {\"token_ids\": […]} or {\"prompt\": …, \"completion\": …} "
    "(both texts,\n"
    "or both lists of messages), of which the completion's tokens are scored. With --json a line "
    "for each,\n"
    "in order: {\"token_ids\", \"logprobs\", \"entropies\"}, of the last tokens as many as are "
    "scored.\n"
    "With an adapter that has a score head (task: classification), or a sequence-classification "
    "checkpoint\n"
    "as MODEL: the class of each text, of {\"text\"}, {\"messages\"} or {\"token_ids\"}; with "
    "--json\n"
    "{\"token_ids\", \"label\", \"probabilities\"}, or for a reward model {\"token_ids\", "
    "\"score\"}.",
    "  leash score --model smollm2 --input texts.jsonl\n"
    "  echo '{\"text\": \"Paris is in France.\"}' | leash score --model smollm2 --input - --json"};

po::options_description score_options() {
  po::options_description options("Options");
  add_model_options(options);
  add_chat_options(options);
  add_adapter_option(options);
  auto add = options.add_options();
  add("input", po::value<std::string>()->value_name("FILE"), "texts as JSONL (-: standard input)");
  add("json", po::bool_switch(), "print JSON lines");
  return options;
}

void print_row(int64_t index, const TextScores& scores) {
  if (scores.logprobs.empty()) {
    std::cout << fmt::format("{:>6} {:>7} {:>12} {:>10} {:>10} {:>11}\n", index + 1, 0, "-", "-",
                             "-", "-");
    return;
  }
  const double n = static_cast<double>(scores.logprobs.size());
  const double sum = std::accumulate(scores.logprobs.begin(), scores.logprobs.end(), 0.0);
  const double entropy = std::accumulate(scores.entropies.begin(), scores.entropies.end(), 0.0);
  std::cout << fmt::format("{:>6} {:>7} {:>12.4f} {:>10.4f} {:>10.4f} {:>11.3f}\n", index + 1,
                           scores.logprobs.size(), sum, sum / n, entropy / n, std::exp(-sum / n));
}

void print_scores(const Input& input, const TextScores& scores, bool json) {
  if (!json) return print_row(input.index, scores);
  print_json_line(
      {{"token_ids", input.ids}, {"logprobs", scores.logprobs}, {"entropies", scores.entropies}});
}

// Scores inputs first … last, passing over those that have no second token.
void score_group(const LoadedModel& model, const Adapter* adapter, std::span<const Input> inputs,
                 bool json) {
  std::vector<ScoredText> texts;
  for (const Input& input : inputs) {
    if (input.ids.size() > 1) texts.push_back({input.ids, input.answer_begin});
  }
  std::vector<TextScores> scores;
  if (!texts.empty()) scores = score_texts(*model.decoder, adapter, texts);
  size_t next = 0;
  for (const Input& input : inputs) {
    print_scores(input, input.ids.size() > 1 ? scores.at(next++) : TextScores{}, json);
  }
}

}  // namespace

int score(const Arguments& args) {
  const auto values = parse_options(kScoreHelp, score_options(), {}, args);
  if (!values) return 0;
  OptionProblems problems;
  const auto file = given<std::string>(*values, "input");
  problems.require(file.has_value(), "--input is missing");
  problems.check();

  const LoadedModel model = load_model(*values);
  const bool json = (*values)["json"].as<bool>();
  const auto folder = given<std::string>(*values, "adapter");
  if (scores_whole_texts(model, folder)) {
    score_classes(model, folder, *file, json);
    return 0;
  }
  const std::optional<Adapter> adapter = load_adapter_option(*values, model);
  const InputRules rules{.kinds = {InputKind::text, InputKind::token_ids, InputKind::completion},
                         .vocab_size = model.config().vocab_size,
                         .max_positions = model.config().max_positions};
  const std::vector<Input> inputs = read_inputs(*file, rules, model.tokenizer);

  if (!json) {
    std::cout << fmt::format("{:>6} {:>7} {:>12} {:>10} {:>10} {:>11}\n", "line", "scored",
                             "logprob", "per token", "entropy", "perplexity");
  }
  // Group by group, so that results appear (and are kept by whoever reads them) as they come.
  std::vector<int64_t> lengths;
  for (const Input& input : inputs) lengths.push_back(static_cast<int64_t>(input.ids.size()));
  for (const auto& [begin, end] : micro_batches(lengths, ScoringOptions{}.micro_batch_tokens)) {
    score_group(model, adapter ? &*adapter : nullptr, std::span(inputs).subspan(begin, end - begin),
                json);
  }
  return 0;
}

}  // namespace leash::cli
