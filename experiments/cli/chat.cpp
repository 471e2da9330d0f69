// leash chat: talk with a model on the terminal.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "experiments/cli/chat_options.h"
#include "experiments/cli/commands.h"
#include "experiments/cli/load_model.h"
#include "experiments/cli/options.h"
#include "experiments/cli/output.h"
#include "experiments/cli/sampling_options.h"
#include "models/errors.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/line_reader.h"
#include "rollout/engine.h"

namespace leash::cli {
namespace {

namespace po = boost::program_options;

// What people expect of a chat.
constexpr SamplingConfig kChatSampling{.temperature = 0.7, .top_p = 0.9};

constexpr CommandHelp kChatHelp{
    "chat", "--model MODEL [--adapter DIR] [options]",
    "Talk with a model. /reset forgets the conversation, /exit (or Ctrl-D) ends. When the\n"
    "conversation outgrows the model's context, its oldest turns are left out. Where no option "
    "says\n"
    "how to draw, the checkpoint's generation_config.json does, else temperature 0.7 and top-p "
    "0.9.",
    "  leash chat --model smollm2\n"
    "  leash chat --model smollm2 --adapter runs/a/adapter --system \"Answer in one word.\""};

po::options_description chat_options() {
  po::options_description options("Options");
  add_model_options(options);
  add_chat_options(options);
  add_fast_option(options);
  add_adapter_option(options);
  options.add_options()("system", po::value<std::string>()->value_name("TEXT"),
                        "system message (default: the template's own)");
  add_sampling_options(options, /*max_new_tokens=*/512);
  return options;
}

class Conversation {
 public:
  Conversation(const LoadedModel& model, const Adapter* adapter, GenerationConfig config,
               std::optional<std::string> system)
      : model_(model),
        engine_(model.decoder, model.tokenizer),
        adapter_(adapter),
        config_(std::move(config)) {
    if (system) start_.push_back({"system", *system});
    reset();
  }

  void reset() { messages_ = start_; }

  void say(const std::string& text) {
    messages_.push_back({"user", text});
    const std::vector<int64_t> ids = prompt();
    if (ids.empty()) {
      messages_.pop_back();
      std::cerr << "That message alone does not fit the model's context.\n";
      return;
    }
    AnswerStream stream(model_.tokenizer, config_.eos_token_ids, config_.stop_texts);
    RolloutEngine::Callbacks callbacks;
    callbacks.on_token = [&stream](int64_t, int64_t token) {
      stream.push(token);
      return true;
    };
    // Each turn draws its own numbers.
    const auto answers = engine_.generate({{ids, turn_++}}, adapter_, config_, nullptr, callbacks);
    stream.finish(answers.front().text);
    messages_.push_back({"assistant", answers.front().text});
  }

 private:
  // The rendered conversation, without its oldest turns where it would leave no room for an answer;
  // empty when even the last message is too long.
  std::vector<int64_t> prompt() {
    const int64_t context = model_.config().max_positions;
    const int64_t room = std::min<int64_t>(config_.max_new_tokens, context / 4);
    while (true) {
      auto ids = encode_chat(model_.tokenizer, messages_, /*add_generation_prompt=*/true);
      const auto length = static_cast<int64_t>(ids.size());
      if (length + room <= context) return ids;
      // A turn is a question and its answer.
      const bool single = messages_.size() < start_.size() + 3;
      if (single) return length < context ? ids : std::vector<int64_t>{};
      const auto first = messages_.begin() + static_cast<int64_t>(start_.size());
      messages_.erase(first, first + 2);
    }
  }

  const LoadedModel& model_;
  RolloutEngine engine_;
  const Adapter* adapter_;
  GenerationConfig config_;
  std::vector<ChatMessage> start_;
  std::vector<ChatMessage> messages_;
  uint64_t turn_ = 0;
};

}  // namespace

int chat(const Arguments& args) {
  const auto values = parse_options(kChatHelp, chat_options(), {}, args);
  if (!values) return 0;
  OptionProblems problems;
  GenerationConfig config = read_sampling_options(*values, problems);
  problems.check();
  const LoadedModel model = load_model(*values);
  const std::optional<Adapter> adapter = load_adapter_option(*values, model);
  settle_sampling(*values, model.checkpoint, kChatSampling, config.sampling);
  config.eos_token_ids = model.eos_token_ids();

  Conversation conversation(model, adapter ? &*adapter : nullptr, config,
                            given<std::string>(*values, "system"));
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (terminal) std::cerr << "/reset forgets the conversation, /exit or Ctrl-D ends.\n";
  LineReader lines = LineReader::standard_input();
  std::string line;
  while (true) {
    if (terminal) std::cerr << "\n> " << std::flush;
    if (!lines.next(line) || line == "/exit") return 0;
    if (line == "/reset") {
      conversation.reset();
    } else if (line.find_first_not_of(" \t\r") != std::string::npos) {
      conversation.say(line);
    }
  }
}

}  // namespace leash::cli
