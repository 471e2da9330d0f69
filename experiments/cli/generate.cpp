// leash generate: complete prompts, with the log-prob of every token.
#include <fmt/format.h>

#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "experiments/cli/chat_options.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/input.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "experiments/cli/sampling_options.h"
#include "rollout/engine.h"
#include "rollout/scoring.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

constexpr CommandHelp kGenerateHelp{
    "generate", "--model MODEL (--prompt TEXT | --input F.jsonl) [options]",
    "Completes prompts. The input has one object a line: {\"prompt\": \"…\"}, {\"messages\": "
    "[{\"role\",\n"
    "\"content\"}, …]} or {\"token_ids\": […]}. With --json a line for each, in order:\n"
    "{\"prompt_ids\", \"token_ids\", \"text\", \"logprobs\", \"stop\"}; log-probs are nats at "
    "temperature 1,\n"
    "and token_ids include the token that ended the answer. Where no option says how to draw, the\n"
    "checkpoint's generation_config.json does, else temperature 1.",
    "  leash generate --model smollm2 --prompt \"The capital of France is\" --greedy\n"
    "  leash generate --model smollm2 --chat --prompt \"Tell me a joke.\" --temperature 0.7 --seed "
    "3\n"
    "  leash generate --model smollm2 --adapter runs/a/adapter --input prompts.jsonl --json"};

po::options_description generate_options() {
  po::options_description options("Options");
  add_model_options(options);
  add_chat_options(options);
  add_fast_option(options);
  add_adapter_option(options);
  auto add = options.add_options();
  add("prompt", po::value<std::string>()->value_name("TEXT"), "one prompt");
  add("input", po::value<std::string>()->value_name("FILE"),
      "prompts as JSONL (-: standard input)");
  add("chat", po::bool_switch(), "a prompt is one user message of the chat template");
  add("continue-final-message", po::bool_switch(),
      "go on with the last message of conversations that end with the assistant");
  add("json", po::bool_switch(), "print JSON lines");
  add_sampling_options(options, /*max_new_tokens=*/64);
  return options;
}

std::vector<Input> read_prompts(const po::variables_map& values, const LoadedModel& model) {
  const InputRules rules{.kinds = {InputKind::prompt, InputKind::messages, InputKind::token_ids},
                         .chat = values["chat"].as<bool>(),
                         .continued = true,
                         .continue_final_message = values["continue-final-message"].as<bool>(),
                         .vocab_size = model.config().vocab_size,
                         .max_positions = model.config().max_positions};
  if (const auto file = given<std::string>(values, "input")) {
    return read_inputs(*file, rules, model.tokenizer);
  }
  return {prompt_input(*given<std::string>(values, "prompt"), rules, model.tokenizer)};
}

// Log-probs are promised at temperature 1; the engine reports them at the sampling temperature.
std::vector<double> plain_logprobs(const Completion& completion, const LoadedModel& model,
                                   const Adapter* adapter, double temperature) {
  if (temperature == 0.0 || temperature == 1.0 || completion.token_ids.empty()) {
    return completion.logprobs;
  }
  ScoredText text{completion.prompt_ids, static_cast<int64_t>(completion.prompt_ids.size())};
  text.ids.insert(text.ids.end(), completion.token_ids.begin(), completion.token_ids.end());
  return score_texts(*model.decoder, adapter, {&text, 1}).front().logprobs;
}

// Answers finish in any order and are printed in the order of the input.
class InOrder {
 public:
  InOrder(const LoadedModel& model, const Adapter* adapter, double temperature, bool json)
      : model_(model), adapter_(adapter), temperature_(temperature), json_(json) {}

  void finished(const Completion& completion) {
    waiting_.emplace(completion.sample, completion);
    for (auto next = waiting_.begin(); next != waiting_.end() && next->first == printed_;
         next = waiting_.erase(next), ++printed_) {
      json_ ? print_json(next->second) : print_text(next->second);
    }
  }

 private:
  void print_json(const Completion& c) const {
    print_json_line({{"prompt_ids", c.prompt_ids},
                     {"token_ids", c.token_ids},
                     {"text", c.text},
                     {"logprobs", plain_logprobs(c, model_, adapter_, temperature_)},
                     {"stop", enum_name(c.stop)}});
  }
  void print_text(const Completion& c) const {
    std::cout << fmt::format("--- {} ({} tokens, {})\n{}\n", printed_ + 1, c.token_ids.size(),
                             enum_name(c.stop), for_output(c.text))
              << std::flush;
  }

  const LoadedModel& model_;
  const Adapter* adapter_;
  double temperature_;
  bool json_;
  uint64_t printed_ = 0;
  std::map<uint64_t, Completion> waiting_;
};

void stream_answer(const RolloutEngine& engine, const Prompt& prompt, const Adapter* adapter,
                   const GenerationConfig& config, const Tokenizer& tokenizer) {
  AnswerStream stream(tokenizer, config.eos_token_ids, config.stop_texts);
  RolloutEngine::Callbacks callbacks;
  callbacks.on_token = [&stream](int64_t, int64_t token) {
    stream.push(token);
    return true;
  };
  const auto answers = engine.generate({prompt}, adapter, config, nullptr, callbacks);
  stream.finish(answers.front().text);
}

}  // namespace

int generate(const Arguments& args) {
  const auto values = parse_options(kGenerateHelp, generate_options(), {}, args);
  if (!values) return 0;
  OptionProblems problems;
  GenerationConfig config = read_sampling_options(*values, problems);
  problems.require(values->count("prompt") + values->count("input") == 1,
                   "exactly one of --prompt and --input is needed");
  problems.check();

  const LoadedModel model = load_model(*values);
  const std::optional<Adapter> adapter = load_adapter_option(*values, model);
  const Adapter* adapter_or_none = adapter ? &*adapter : nullptr;
  settle_sampling(*values, model.checkpoint, SamplingConfig{}, config.sampling);
  config.eos_token_ids = model.eos_token_ids();
  std::vector<Prompt> prompts;
  for (Input& input : read_prompts(*values, model)) {
    prompts.push_back({std::move(input.ids), static_cast<uint64_t>(input.index)});
  }

  const RolloutEngine engine(model.decoder, model.tokenizer);
  const bool json = (*values)["json"].as<bool>();
  if (!json && values->count("prompt") != 0) {
    stream_answer(engine, prompts.front(), adapter_or_none, config, model.tokenizer);
    return 0;
  }
  InOrder printer(model, adapter_or_none, config.sampling.temperature, json);
  RolloutEngine::Callbacks callbacks;
  callbacks.on_finished = [&printer](const Completion& c) { printer.finished(c); };
  engine.generate(prompts, adapter_or_none, config, nullptr, callbacks);
  return 0;
}

}  // namespace leash::cli
