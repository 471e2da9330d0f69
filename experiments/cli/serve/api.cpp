#include "experiments/cli/serve/api.h"

#include <fmt/format.h>

#include <ctime>
#include <memory>
#include <random>

#include "models/errors.h"
#include "models/printable.h"
#include "rl/data/chat_prompt.h"

namespace leash::cli {
namespace {

constexpr int64_t kCompletionTokens = 16;  // OpenAI's default of /v1/completions

uint64_t fresh_seed() {
  std::random_device random;
  return (static_cast<uint64_t>(random()) << 32) | random();
}

}  // namespace

ServingApi::ServingApi(const LoadedModel& base, const ServedModels& models, ServingEngine& engine,
                       const SamplingConfig& defaults, std::chrono::seconds answering_time)
    : base_(base),
      models_(models),
      engine_(engine),
      defaults_(defaults),
      answering_time_(answering_time),
      bound_(base.tokenizer, engine.config().context),
      started_(std::time(nullptr)) {}

std::vector<HttpRoute> ServingApi::routes(std::function<size_t()> connections) {
  const auto route = [this](std::string method, std::string path, bool open, auto answer) {
    return HttpRoute{.method = std::move(method),
                     .path = path,
                     .open = open,
                     .answer = [this, path, answer](const std::string& body, const Caller& caller) {
                       return counted(path, [&] { return answer(body, caller); });
                     }};
  };
  using Body = const std::string&;
  using By = const Caller&;
  return {
      route("GET", "/health", true, [this](Body, By) { return health(); }),
      route("GET", "/metrics", false,
            [this, connections](Body, By) { return metrics(connections()); }),
      route("GET", "/v1/models", false, [this](Body, By) { return models(); }),
      route("POST", "/v1/completions", false,
            [this](Body body, By by) { return completions(body, by); }),
      route("POST", "/v1/chat/completions", false,
            [this](Body body, By by) { return chat(body, by); }),
  };
}

HttpReply ServingApi::counted(const std::string& path, const std::function<HttpReply()>& answer) {
  const auto begin = std::chrono::steady_clock::now();
  HttpReply reply;
  try {
    reply = answer();
  } catch (...) {
    reply = failure_of(std::current_exception());
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const std::lock_guard lock(mutex_);
  ++replies_[{path, reply.status}];
  seconds_ += took.count();
  return reply;
}

HttpReply ServingApi::health() const { return {.body = R"({"status":"ok"})"}; }

HttpReply ServingApi::models() const {
  OrderedJson list = OrderedJson::array();
  for (const ServedModel& model : models_.all()) {
    list.push_back({{"id", model.name},
                    {"object", "model"},
                    {"created", started_},
                    {"owned_by", "leash"},
                    {"max_model_len", engine_.config().context}});
    if (model.adapter != nullptr) list.back()["parent"] = models_.all().front().name;
  }
  return {.body = json_text({{"object", "list"}, {"data", list}})};
}

HttpReply ServingApi::metrics(size_t connections) const {
  std::string text;
  const auto add = [&](const char* name, const char* type, const char* help, const auto& value) {
    text += fmt::format("# HELP leash_{0} {2}\n# TYPE leash_{0} {1}\nleash_{0} {3}\n", name, type,
                        help, value);
  };
  const ServingCounts& counts = engine_.counts();
  add("answers_waiting", "gauge", "Answers that wait for a slot.", counts.waiting.load());
  add("answers_active", "gauge", "Answers that have a slot.", counts.active.load());
  add("slots", "gauge", "Answers that can decode together.", engine_.config().max_batch);
  add("connections", "gauge", "Open connections.", connections);
  add("prompt_tokens_total", "counter", "Tokens of prompts that were read.",
      counts.prompt_tokens.load());
  add("reused_tokens_total", "counter", "Tokens of prompts whose rows another answer had.",
      counts.reused_tokens.load());
  add("generated_tokens_total", "counter", "Tokens that were drawn.",
      counts.generated_tokens.load());
  add("steps_total", "counter", "Steps of the engine.", counts.steps.load());
  const std::lock_guard lock(mutex_);
  add("reply_seconds_total", "counter", "Time until replies were complete, or their streams began.",
      seconds_);
  text +=
      "# HELP leash_replies_total Replies by path and status.\n"
      "# TYPE leash_replies_total counter\n";
  for (const auto& [key, count] : replies_) {
    text += fmt::format("leash_replies_total{{path=\"{}\",status=\"{}\"}} {}\n", key.first,
                        key.second, count);
  }
  return {.type = "text/plain; version=0.0.4", .body = text};
}

GenerationConfig ServingApi::generation_of(const AnswerOptions& options) const {
  GenerationConfig config;
  config.sampling = options.sampling;
  config.stop_texts = options.stop_texts;
  if (!options.ignore_eos) config.eos_token_ids = base_.eos_token_ids();
  return config;
}

ServingApi::Prompt ServingApi::prompt_of(const AskedPrompt& asked, bool echo) const {
  Prompt prompt;
  if (asked.text) bound_.check(*asked.text);
  prompt.ids = asked.text ? encode_text(base_.tokenizer, *asked.text) : asked.ids;
  // Checked by the engine as well; here before they are decoded.
  for (const int64_t id : prompt.ids) {
    if (id >= 0 && id < base_.config().vocab_size) continue;
    throw RequestError(fmt::format("token {} is not in the model's vocabulary of {}", id,
                                   base_.config().vocab_size),
                       "prompt");
  }
  if (echo) prompt.echo = asked.text ? *asked.text : base_.tokenizer.decode(prompt.ids);
  return prompt;
}

HttpReply ServingApi::completions(const std::string& text, const Caller& caller) {
  CompletionBody body = parse_completion(text, defaults_);
  if (!body.options.max_tokens) body.options.max_tokens = kCompletionTokens;
  std::vector<Prompt> prompts;
  for (const AskedPrompt& asked : body.prompts) prompts.push_back(prompt_of(asked, body.echo));
  return answer(body.options, std::move(prompts), /*chat=*/false, caller);
}

HttpReply ServingApi::chat(const std::string& text, const Caller& caller) {
  ChatBody body = parse_chat(text, defaults_);
  bound_.check(body.messages);
  const RenderedChat rendered =
      render_prompt(base_.tokenizer, body.messages, /*continue_final_message=*/false, body.chat);
  bound_.check(rendered.text);
  Prompt prompt{.ids = encode_rendered(base_.tokenizer, rendered), .echo = std::nullopt};
  if (!body.options.max_tokens) body.options.max_tokens = engine_.config().context;
  return answer(body.options, {std::move(prompt)}, /*chat=*/true, caller);
}

HttpReply ServingApi::answer(const AnswerOptions& options, std::vector<Prompt> prompts, bool chat,
                             const Caller& caller) {
  const ServedModel* model = models_.find(options.model);
  if (model == nullptr) {
    throw RequestError(
        fmt::format("there is no model `{}` here (GET /v1/models)", printable(options.model)),
        "model", 404);
  }
  Exchange::Asked asked{.chat = chat,
                        .model = model->name,
                        .logprobs = options.logprobs,
                        .include_usage = options.include_usage};
  std::vector<ServingRequest> requests;
  for (const Prompt& prompt : prompts) {
    ServingRequest request{
        .ids = prompt.ids, .adapter = model->adapter, .generation = generation_of(options)};
    request.generation.max_new_tokens = *options.max_tokens;
    request.generation.seed = options.seed ? *options.seed : fresh_seed();
    request.token_scores = options.logprobs.has_value();
    request.prompt_scores = request.token_scores && prompt.echo;
    request.num_top = options.logprobs.value_or(0);
    asked.prompt_tokens += std::ssize(prompt.ids);
    std::optional<int64_t> first;
    if (request.prompt_scores && !prompt.ids.empty()) first = prompt.ids.front();
    for (int64_t i = 0; i < options.n; ++i) {
      request.sample = static_cast<uint64_t>(i);
      asked.answers.emplace_back(base_.tokenizer, request.generation, prompt.echo, first);
      requests.push_back(request);
    }
  }
  const auto ticket = engine_.submit(std::move(requests));
  if (ticket == nullptr) {
    HttpReply full = http_error(429, "the queue is full: try again");
    full.headers.emplace_back("Retry-After", "1");
    return full;
  }
  const auto exchange =
      std::make_shared<Exchange>(base_.tokenizer, std::move(asked), ticket, answering_time_);
  if (!options.stream) return exchange->whole(caller);
  return {.type = "text/event-stream",
          .headers = {{"Cache-Control", "no-cache"}},
          .next_piece = [exchange] { return exchange->next_event(); }};
}

}  // namespace leash::cli
