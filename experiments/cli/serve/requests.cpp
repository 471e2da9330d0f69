#include "experiments/cli/serve/requests.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <utility>

#include "models/io/json_file.h"
#include "models/json_fields.h"
#include "models/limits.h"
#include "rl/data/jsonl.h"

namespace leash::cli {
namespace {

using BodyJson = nlohmann::json;

constexpr const char* kBody = "the request";
constexpr size_t kMostStops = 16, kMostStopBytes = 1024;
constexpr double kLeastTemperature = 1e-3, kMostTemperature = 100;

// They say who asks or how he pays, and change no answer.
constexpr const char* kHarmless[] = {"user",
                                     "metadata",
                                     "store",
                                     "service_tier",
                                     "safety_identifier",
                                     "prompt_cache_key",
                                     "prompt_cache_retention"};

void require(bool fine, const char* parameter, const std::string& wanted) {
  if (!fine) throw RequestError(fmt::format("`{}` {}", parameter, wanted), parameter);
}

// Parameters of OpenAI's that are taken where they change nothing.
void take_neutral(const JsonFields& fields, const char* name, const std::vector<BodyJson>& values) {
  const BodyJson* given = fields.find(name);
  if (given == nullptr || std::ranges::find(values, *given) != values.end()) return;
  throw RequestError(fmt::format("`{}` would change the answer and is not supported", name), name);
}

void read_sampling(const JsonFields& fields, SamplingConfig& sampling) {
  sampling.temperature = fields.number("temperature").value_or(sampling.temperature);
  sampling.top_p = fields.number("top_p").value_or(sampling.top_p);
  sampling.top_k = fields.integer("top_k").value_or(sampling.top_k);
  sampling.min_p = fields.number("min_p").value_or(sampling.min_p);
  sampling.repetition_penalty =
      fields.number("repetition_penalty").value_or(sampling.repetition_penalty);
  const double t = sampling.temperature;
  require(t == 0 || (t >= kLeastTemperature && t <= kMostTemperature), "temperature",
          fmt::format("has to be 0 (greedy) or {} to {}", kLeastTemperature, kMostTemperature));
  require(sampling.top_p > 0 && sampling.top_p <= 1, "top_p", "has to be above 0 and at most 1");
  if (sampling.top_k == -1) sampling.top_k = 0;  // vLLM's word for off
  require(sampling.top_k >= 0 && sampling.top_k <= kMostOfAnything, "top_k",
          "has to be 0 (off) or more");
  require(sampling.min_p >= 0 && sampling.min_p <= 1, "min_p", "has to be 0 (off) to 1");
  require(sampling.repetition_penalty >= 0.01 && sampling.repetition_penalty <= 100,
          "repetition_penalty", "has to be 0.01 to 100 (1: off)");
}

std::vector<std::string> read_stops(const JsonFields& fields) {
  const BodyJson* given = fields.find("stop");
  if (given == nullptr) return {};
  std::vector<std::string> stops;
  if (given->is_string()) {
    stops.push_back(given->get<std::string>());
  } else {
    stops = fields.strings("stop").value();
  }
  require(stops.size() <= kMostStops, "stop", fmt::format("has at most {} texts", kMostStops));
  for (const std::string& text : stops) {
    require(!text.empty() && text.size() <= kMostStopBytes, "stop",
            fmt::format("has texts of 1 to {} bytes", kMostStopBytes));
  }
  return stops;
}

AnswerOptions read_options(const JsonFields& fields, const SamplingConfig& defaults) {
  AnswerOptions options;
  options.model = fields.string("model").value_or("");
  options.sampling = defaults;
  read_sampling(fields, options.sampling);
  options.stop_texts = read_stops(fields);
  if (const auto seed = fields.integer("seed")) options.seed = static_cast<uint64_t>(*seed);
  options.n = fields.integer("n").value_or(1);
  require(options.n >= 1 && options.n <= kMostAnswers, "n",
          fmt::format("has to be 1 to {}", kMostAnswers));
  options.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  options.stream = fields.boolean("stream").value_or(false);
  if (const auto stream = fields.object("stream_options")) {
    require(options.stream, "stream_options", "goes with stream: true");
    options.include_usage = stream->boolean("include_usage").value_or(false);
  }
  take_neutral(fields, "frequency_penalty", {0});
  take_neutral(fields, "presence_penalty", {0});
  take_neutral(fields, "logit_bias", {BodyJson::object()});
  for (const char* name : kHarmless) (void)fields.find(name);
  return options;
}

std::optional<int64_t> read_limit(const JsonFields& fields, const char* name, int64_t least) {
  const auto limit = fields.integer(name);
  require(!limit || (*limit >= least && *limit <= kMostOfAnything), name,
          fmt::format("has to be {} to {}", least, kMostOfAnything));
  return limit;
}

// What nobody asked for would have changed the answer, or the client thinks so.
void refuse_unknown(const JsonFields& fields) {
  const std::vector<std::string> names = fields.unasked();
  if (names.empty()) return;
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min<size_t>(names.size(), 10); ++i) shown.push_back(brief(names[i]));
  throw RequestError(
      fmt::format("{} not supported here: {}",
                  names.size() == 1 ? "a parameter is" : "parameters are", fmt::join(shown, ", ")),
      shown.front());
}

AskedPrompt ids_prompt(const BodyJson& list) {
  AskedPrompt prompt;
  for (const BodyJson& id : list) {
    require(id.is_number_integer() && (!id.is_number_unsigned() || id.get<uint64_t>() < INT64_MAX),
            "prompt", "has to be a text, a list of token ids, or a list of either");
    prompt.ids.push_back(id.get<int64_t>());
  }
  return prompt;
}

std::vector<AskedPrompt> read_prompts(const JsonFields& fields) {
  const BodyJson* given = fields.find("prompt");
  require(given != nullptr, "prompt", "is missing");
  std::vector<AskedPrompt> prompts;
  if (given->is_string()) return {{.text = given->get<std::string>(), .ids = {}}};
  require(given->is_array() && !given->empty(), "prompt",
          "has to be a text, a list of token ids, or a list of either");
  if (given->front().is_number()) return {ids_prompt(*given)};
  require(std::ssize(*given) <= kMostAnswers, "prompt",
          fmt::format("has at most {} prompts", kMostAnswers));
  for (const BodyJson& item : *given) {
    if (item.is_string()) {
      prompts.push_back({.text = item.get<std::string>(), .ids = {}});
    } else {
      require(item.is_array(), "prompt",
              "has to be a text, a list of token ids, or a list of either");
      prompts.push_back(ids_prompt(item));
    }
  }
  return prompts;
}

}  // namespace

CompletionBody parse_completion(std::string_view text, const SamplingConfig& defaults) {
  const BodyJson json = parse_json(text, kBody);
  const JsonFields fields(json, kBody);
  CompletionBody body;
  body.options = read_options(fields, defaults);
  body.options.max_tokens = read_limit(fields, "max_tokens", 0);
  body.options.logprobs = fields.integer("logprobs");
  require(
      !body.options.logprobs || (*body.options.logprobs >= 0 && *body.options.logprobs <= kMostTop),
      "logprobs", fmt::format("has to be 0 to {}", kMostTop));
  body.echo = fields.boolean("echo").value_or(false);
  body.prompts = read_prompts(fields);
  require(std::ssize(body.prompts) * body.options.n <= kMostAnswers, "n",
          fmt::format("times the number of prompts has to be at most {}", kMostAnswers));
  take_neutral(fields, "best_of", {body.options.n});
  take_neutral(fields, "suffix", {""});
  refuse_unknown(fields);
  return body;
}

ChatBody parse_chat(std::string_view text, const SamplingConfig& defaults) {
  const BodyJson json = parse_json(text, kBody);
  const JsonFields fields(json, kBody);
  ChatBody body;
  body.options = read_options(fields, defaults);
  const auto limit = read_limit(fields, "max_tokens", 1);
  body.options.max_tokens = read_limit(fields, "max_completion_tokens", 1);
  require(!limit || !body.options.max_tokens || *limit == *body.options.max_tokens, "max_tokens",
          "and `max_completion_tokens` contradict each other");
  if (limit) body.options.max_tokens = limit;
  const auto top = fields.integer("top_logprobs");
  if (fields.boolean("logprobs").value_or(false)) {
    body.options.logprobs = top.value_or(0);
    require(*body.options.logprobs >= 0 && *body.options.logprobs <= kMostTop, "top_logprobs",
            fmt::format("has to be 0 to {}", kMostTop));
  } else {
    require(!top || *top == 0, "top_logprobs", "goes with logprobs: true");
  }
  take_neutral(fields, "response_format", {BodyJson{{"type", "text"}}});
  take_neutral(fields, "tool_choice", {"auto", "none"});
  take_neutral(fields, "parallel_tool_calls", {true});
  take_neutral(fields, "modalities", {BodyJson::array({"text"})});
  const nlohmann::ordered_json ordered = parse_ordered_json(text, kBody);  // as templates see it
  for (const char* name : {"messages", "tools", "chat_template_kwargs"}) (void)fields.find(name);
  require(fields.has("messages"), "messages", "is missing");
  body.messages = messages_of(ordered["messages"], "messages");
  body.chat = chat_options_of(ordered);
  if (fields.has("tool_choice") && *fields.find("tool_choice") == "none") body.chat.tools = {};
  refuse_unknown(fields);
  return body;
}

}  // namespace leash::cli
