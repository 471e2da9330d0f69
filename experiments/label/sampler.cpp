#include "experiments/label/sampler.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/device/device.h"
#include "models/errors.h"
#include "models/io/checkpoint.h"
#include "models/io/fingerprint.h"
#include "models/lora/base_identity.h"
#include "models/lora/peft_adapter.h"
#include "rl/policy/roles.h"
#include "rl/run/devices_config.h"
#include "rollout/stopping.h"

namespace leash::label {
namespace {

constexpr int64_t kMostPromptsAtOnce = 8;

std::optional<Adapter> load_voice(const AnswerSource& source, const Decoder& decoder) {
  if (!source.path) return std::nullopt;
  require_same_base(*source.path, decoder.identity());
  Adapter adapter = load_adapter(*source.path, decoder.modules()).to(decoder.device());
  adapter.set_trainable(false);
  return adapter;
}

// Greedy answers of one source are all the same.
void check_sources(const SamplerOptions& options) {
  if (options.answers < std::ssize(options.sources)) {
    throw ConfigError(fmt::format("--answers: {} answers do not reach {} sources", options.answers,
                                  options.sources.size()));
  }
  for (size_t i = 0; i < options.sources.size(); ++i) {
    const auto uses = (options.answers - static_cast<int64_t>(i) - 1) /
                          static_cast<int64_t>(options.sources.size()) +
                      1;
    if (options.sources[i].temperature == 0 && uses > 1) {
      throw ConfigError(fmt::format("--temperature 0 gives {} equal answers of {} to each prompt",
                                    uses, options.sources[i].name));
    }
  }
}

}  // namespace

AnswerSampler::AnswerSampler(const LabelRecipe& recipe, const std::filesystem::path& prompts,
                             SamplerOptions options)
    : recipe_(recipe),
      options_(std::move(options)),
      tokenizer_(load_chat_tokenizer(resolve_model(recipe.model.path), recipe.chat)) {
  check_sources(options_);
  const at::Device device = usable_device(recipe.device, "devices.policy");
  const Checkpoint checkpoint = open_checkpoint(resolve_model(recipe.model.path));
  base_ = fingerprint(checkpoint.path);
  // A conversation that ends with the assistant would become an answer in two messages.
  prompts_ = read_prompts(prompts, tokenizer_,
                          {.max_prompt_length = recipe.max_prompt_length,
                           .context = checkpoint.config.max_positions,
                           .min_answer_tokens = recipe.rollout.response_length,
                           .continue_final_message = false});
  decoder_ = Decoder::load(checkpoint, {.dtype = scalar_type(recipe.model.dtype, device),
                                        .quantize = recipe.model.quantize,
                                        .device = device});
  for (const AnswerSource& source : options_.sources) {
    voices_.push_back({source, load_voice(source, *decoder_)});
  }
  const auto count = static_cast<int64_t>(prompts_.size());
  order_ = PromptOrder(count, recipe.shuffle, options_.seed).next(0, count);
  engine_ = std::make_unique<const RolloutEngine>(decoder_, tokenizer_);
}

Json AnswerSampler::settings() const {
  uint64_t hash = text_hash("");
  for (const PromptRecord& prompt : prompts_) hash = text_hash(prompt.text + "\n", hash);
  Json sources = Json::array();
  for (const Voice& voice : voices_) {
    Json entry = {{"adapter", voice.source.name}, {"temperature", voice.source.temperature}};
    if (voice.source.path) entry["fingerprint"] = adapter_fingerprint(*voice.source.path);
    sources.push_back(std::move(entry));
  }
  const RolloutConfig& rollout = recipe_.rollout;
  return {{"answers", "sampled"},
          {"model", base_},
          {"prompts", fmt::format("{} prompts, {:016x}", prompts_.size(), hash)},
          {"shuffle", recipe_.shuffle},
          {"answers_per_prompt", options_.answers},
          {"sources", std::move(sources)},
          {"seed", options_.seed},
          {"rollout",
           {{"top_k", rollout.top_k},
            {"top_p", rollout.top_p},
            {"min_p", rollout.min_p},
            {"repetition_penalty", rollout.repetition_penalty},
            {"response_length", rollout.response_length},
            {"min_new_tokens", rollout.min_new_tokens},
            {"stop_token", rollout.stop_token ? Json(*rollout.stop_token) : Json()},
            {"stop_texts", rollout.stop_texts}}}};
}

int64_t AnswerSampler::remaining() const {
  const int64_t prompts = static_cast<int64_t>(order_.size()) - next_;
  return std::max<int64_t>(std::min(prompts * pairs_per_prompt(), options_.most - there_), 0);
}

void AnswerSampler::begin(const std::vector<LabelPair>& there, LabelSession& session) {
  next_ = 0;
  for (const LabelPair& pair : there) next_ = std::max(next_, pair.sample + 1);
  there_ = static_cast<int64_t>(there.size());
  session.expect(remaining());
}

const PromptRecord& AnswerSampler::prompt_at(int64_t position) const {
  return prompts_[static_cast<size_t>(order_[static_cast<size_t>(position)])];
}

GenerationConfig AnswerSampler::generation(const Voice& voice) const {
  GenerationConfig config = sampling_of(recipe_.rollout, *decoder_, tokenizer_);
  config.sampling.temperature = voice.source.temperature;
  config.seed = options_.seed;
  return config;
}

LabelAnswer AnswerSampler::answer_of(const Voice& voice, const PromptRecord& prompt,
                                     const Completion& completion) const {
  LabelAnswer answer;
  answer.content = completion.text;
  if (!prompt.messages.empty()) {
    answer.content = Json::array({{{"role", "assistant"}, {"content", completion.text}}});
  }
  answer.source = {{"adapter", voice.source.name}};
  if (voice.source.path) {
    answer.source["path"] = std::filesystem::absolute(*voice.source.path).lexically_normal();
  }
  answer.source["temperature"] = voice.source.temperature;
  answer.source["seed"] = options_.seed;
  answer.source["sample"] = completion.sample;
  answer.source["stop"] = enum_name(completion.stop);
  return answer;
}

std::optional<std::vector<std::vector<LabelAnswer>>> AnswerSampler::sample(
    int64_t count, const LabelSession& session) const {
  std::vector<std::vector<LabelAnswer>> answers(
      static_cast<size_t>(count), std::vector<LabelAnswer>(static_cast<size_t>(options_.answers)));
  const auto num_voices = static_cast<int64_t>(voices_.size());
  for (int64_t v = 0; v < num_voices; ++v) {
    const Voice& voice = voices_[static_cast<size_t>(v)];
    std::vector<Prompt> prompts;
    for (int64_t p = 0; p < count; ++p) {
      for (int64_t i = v; i < options_.answers; i += num_voices) {
        prompts.push_back(
            {prompt_at(next_ + p).ids, static_cast<uint64_t>((next_ + p) * options_.answers + i)});
      }
    }
    RolloutEngine::Callbacks callbacks;
    callbacks.on_token = [&session](int64_t, int64_t) { return !session.stopped(); };
    const auto completions = engine_->generate(prompts, voice.adapter ? &*voice.adapter : nullptr,
                                               generation(voice), nullptr, callbacks);
    if (session.stopped()) return std::nullopt;
    for (const Completion& completion : completions) {
      const auto number = static_cast<int64_t>(completion.sample) - next_ * options_.answers;
      const int64_t p = number / options_.answers, i = number % options_.answers;
      answers[static_cast<size_t>(p)][static_cast<size_t>(i)] =
          answer_of(voice, prompt_at(next_ + p), completion);
    }
  }
  return answers;
}

std::vector<LabelPair> AnswerSampler::pairs_of(int64_t position,
                                               const std::vector<LabelAnswer>& answers) const {
  const PromptRecord& record = prompt_at(position);
  Json prompt = record.text, options;
  if (!record.messages.empty()) {
    prompt = Json::array();
    for (const ChatMessage& message : record.messages) prompt.push_back(message.json());
  }
  if (!record.options.tools.is_null()) options["tools"] = record.options.tools;
  if (!record.options.kwargs.is_null()) options["chat_template_kwargs"] = record.options.kwargs;
  std::vector<LabelPair> pairs;
  for (size_t i = 0; i < answers.size(); ++i) {
    for (size_t j = i + 1; j < answers.size(); ++j) {
      if (answers[i].content == answers[j].content) continue;  // nothing to choose between
      pairs.push_back(label_pair(prompt, answers[i], answers[j], options, position));
    }
  }
  return pairs;
}

void AnswerSampler::run(LabelSession& session) {
  try {
    bool first = true;  // one prompt alone, so that the first pair is there soon
    while (remaining() > 0) {
      const int64_t wanted = session.wait_until_wanted(options_.ahead);
      if (wanted == 0) return;
      const int64_t prompts = static_cast<int64_t>(order_.size()) - next_;
      const int64_t missing = (wanted + pairs_per_prompt() - 1) / pairs_per_prompt();
      const int64_t count = first ? 1 : std::min({missing, prompts, kMostPromptsAtOnce});
      const auto answers = sample(count, session);
      if (!answers) return;
      std::vector<LabelPair> pairs;
      for (int64_t p = 0; p < count; ++p) {
        for (LabelPair& pair : pairs_of(next_ + p, (*answers)[static_cast<size_t>(p)])) {
          if (there_ + std::ssize(pairs) < options_.most) pairs.push_back(std::move(pair));
        }
      }
      next_ += count;
      there_ += std::ssize(pairs);
      session.add(pairs, remaining());
      first = false;
    }
  } catch (const std::exception& error) {
    session.fail(error.what());
  }
}

}  // namespace leash::label
