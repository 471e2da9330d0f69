#include "rl/ppo_roles.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "models/device.h"
#include "models/errors.h"
#include "models/io/peft_adapter.h"
#include "models/quant/load_weight.h"
#include "rl/second_models.h"
#include "rl/start_adapter.h"

namespace leash {
namespace {

// A model whose every weight trains: copies of all modules that belong to the adapter.
Adapter full_copy(const Decoder& decoder) {
  Adapter adapter({}, decoder.modules());
  for (int64_t module = 0; module < static_cast<int64_t>(decoder.modules().size()); ++module) {
    const ModuleInfo& info = decoder.modules()[module];
    if (info.path == "lm_head") continue;  // a critic has no use for it
    adapter.set_weight_copy(module, trainable_leaf(decoder.base_value(module, /*bias=*/false)));
    if (info.has_bias)
      adapter.set_bias_copy(module, trainable_leaf(decoder.base_value(module, /*bias=*/true)));
  }
  return adapter;
}

// A second model reads the policy's ids, so they have to mean the same to it. A folder may come
// without a tokenizer; then only the number of ids can be compared.
void check_second_model(const Checkpoint& second, const PpoRoles& roles, const std::string& key) {
  const DecoderConfig& policy = roles.decoder->config();
  if (second.config.vocab_size != policy.vocab_size) {
    throw ConfigError(fmt::format("{}: its vocabulary has {} ids, the policy's {}", key,
                                  second.config.vocab_size, policy.vocab_size));
  }
  const bool folder = std::filesystem::is_directory(second.path);
  if (folder && !std::filesystem::exists(second.path / "tokenizer.json")) return;
  if (!same_vocabulary(Tokenizer::load(second.path), roles.tokenizer)) {
    throw ConfigError(fmt::format("{}: its tokenizer differs from the policy's", key));
  }
}

// A second model is quantised like the base; `keep` where its file has anything to keep.
std::shared_ptr<const Decoder> load_second_model(const std::string& path, const ModelConfig& model,
                                                 const std::shared_ptr<GatherQueue>& gathers,
                                                 const PpoRoles& roles, const std::string& key) {
  const at::ScalarType dtype = scalar_type(model.dtype);
  const Checkpoint checkpoint = open_checkpoint(resolve_model(path));
  check_second_model(checkpoint, roles, key);
  const bool nothing_to_keep = model.quantize == Quantize::keep && keep_problem(checkpoint);
  return Decoder::load(checkpoint, dtype, nothing_to_keep ? Quantize::none : model.quantize,
                       gathers);
}

Critic make_critic(const PpoSetup& setup, const std::shared_ptr<GatherQueue>& gathers,
                   const PpoRoles& roles) {
  const CriticConfig& config = setup.critic;
  const std::shared_ptr<const Decoder>& base = roles.decoder;
  // The policy's: with lora.path, rank, alpha and targets are those of that adapter.
  const LoraConfig& lora = roles.policy.config();
  Critic critic{
      .kind = config.kind, .decoder = base, .backprop_to_policy = config.backprop_to_policy};
  const uint64_t seed =
      static_cast<uint64_t>(setup.run.seed) + 1;  // other numbers than the policy's
  switch (config.kind) {
    case CriticKind::shared:
      break;
    case CriticKind::adapter:
      critic.adapter = fresh_adapter(lora, *base, seed);
      break;
    case CriticKind::separate:
      critic.decoder = load_second_model(config.path.value_or(setup.model.path), setup.model,
                                         gathers, roles, "critic.path");
      if (config.train == CriticTrain::lora)
        critic.adapter = fresh_adapter(lora, *critic.decoder, seed);
      if (config.train == CriticTrain::all) critic.adapter = full_copy(*critic.decoder);
      break;
  }
  critic.head = LinearHead::zeros(critic.decoder->config().hidden_size);
  critic.head.weight = trainable_leaf(critic.head.weight);
  return critic;
}

void set_reference(const PpoSetup& setup, const std::shared_ptr<GatherQueue>& gathers,
                   PpoRoles& roles) {
  roles.reference_decoder = roles.decoder;
  switch (reference_kind(setup)) {
    case ReferenceKind::adapter_off:
      return;
    case ReferenceKind::adapter:
      roles.reference_adapter =
          setup.reference.path ? load_adapter(setup.reference.path->name, roles.decoder->modules())
                               : roles.policy.clone();
      roles.reference_adapter->set_trainable(false);
      return;
    case ReferenceKind::model:
      roles.reference_decoder =
          load_second_model(*setup.reference.path, setup.model, gathers, roles, "reference.path");
      return;
  }
}

}  // namespace

std::vector<at::Tensor> Critic::parameters() const {
  std::vector<at::Tensor> parameters = adapter ? adapter->parameters() : std::vector<at::Tensor>{};
  parameters.push_back(head.weight);
  return parameters;
}

std::vector<int64_t> eos_token_ids(const DecoderConfig& config, const Tokenizer& tokenizer) {
  std::vector<int64_t> ids = config.eos_token_ids;
  const auto named = tokenizer.eos_token_id();
  if (named && std::ranges::find(ids, *named) == ids.end()) ids.push_back(*named);
  return ids;
}

std::vector<int64_t> PpoRoles::eos_token_ids() const {
  return leash::eos_token_ids(decoder->config(), tokenizer);
}

ReferenceKind reference_kind(const PpoSetup& setup) {
  return setup.reference.kind.value_or(setup.lora.path ? ReferenceKind::adapter
                                                       : ReferenceKind::adapter_off);
}

PpoRoles load_ppo_roles(const PpoSetup& setup, const std::shared_ptr<GatherQueue>& gathers) {
  const at::ScalarType dtype = scalar_type(setup.model.dtype);
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  const auto decoder = Decoder::load(checkpoint, dtype, setup.model.quantize, gathers);
  Tokenizer tokenizer = Tokenizer::load(checkpoint.path);
  Adapter policy = start_adapter(setup.lora, *decoder, static_cast<uint64_t>(setup.run.seed));
  PpoRoles roles{.checkpoint = checkpoint,
                 .decoder = decoder,
                 .tokenizer = tokenizer,
                 .policy = std::move(policy)};
  set_reference(setup, gathers, roles);
  roles.critic = make_critic(setup, gathers, roles);
  roles.reward = make_reward(setup.reward, {.tokenizer = tokenizer,
                                            .decoder = decoder,
                                            .dtype = dtype,
                                            .micro_batch_tokens = setup.ppo.micro_batch_tokens,
                                            .gathers = gathers});
  roles.environment =
      NumericEnvironment::current(checkpoint, setup.model, setup.lanes.threads_per_lane);
  roles.environment.others = second_models(setup);
  return roles;
}

PromptLimits prompt_limits(const PpoSetup& setup, const PpoRoles& roles) {
  const int64_t policy = roles.decoder->config().max_positions;
  return {.max_prompt_length = setup.data.max_prompt_length,
          .context = std::min({policy, roles.reference_decoder->config().max_positions,
                               roles.critic.decoder->config().max_positions,
                               roles.reward->context().value_or(policy)}),
          .min_answer_tokens = setup.rollout.response_length};
}

GenerationConfig generation_config(const PpoSetup& setup, const PpoRoles& roles, int64_t step) {
  const RolloutConfig& rollout = setup.rollout;
  GenerationConfig config;
  config.sampling = {.temperature = rollout.temperature,
                     .top_k = rollout.top_k,
                     .top_p = rollout.top_p,
                     .min_p = rollout.min_p,
                     .repetition_penalty = rollout.repetition_penalty};
  config.max_new_tokens = rollout.response_length;
  config.min_new_tokens = rollout.min_new_tokens;
  config.stop_texts = rollout.stop_texts;
  config.max_batch = rollout.max_batch;
  config.seed = static_cast<uint64_t>(setup.run.seed);
  config.step = static_cast<uint64_t>(step);
  if (rollout.stop_token == "eos") {
    config.eos_token_ids = roles.eos_token_ids();
    if (config.eos_token_ids.empty()) {
      throw ConfigError(
          "rollout.stop_token: neither the checkpoint nor its tokenizer names an EOS token; name "
          "one, or null for answers that always have response_length tokens");
    }
  } else if (rollout.stop_token) {
    const auto ids = roles.tokenizer.encode(*rollout.stop_token);
    if (ids.size() != 1) {
      throw ConfigError(fmt::format(
          "rollout.stop_token: '{}' is {} tokens, not one; use rollout.stop_texts for it",
          *rollout.stop_token, ids.size()));
    }
    config.stop_token_ids = ids;
  }
  return config;
}

}  // namespace leash
