#include "rl/ppo_roles.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

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
                                                 at::Device device, const PpoRoles& roles,
                                                 const std::string& key) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model(path));
  check_second_model(checkpoint, roles, key);
  const bool nothing_to_keep = model.quantize == Quantize::keep && keep_problem(checkpoint);
  return Decoder::load(checkpoint, {.dtype = roles.decoder->dtype(),
                                    .quantize = nothing_to_keep ? Quantize::none : model.quantize,
                                    .device = device,
                                    .gathers = gathers});
}

// The base of the policy on each device where a role needs it, in the policy's type.
class Bases {
 public:
  Bases(const PpoSetup& setup, const PpoRoles& roles) : setup_(setup), roles_(roles) {}

  std::shared_ptr<const Decoder> on(at::Device device) {
    if (device == roles_.decoder->device()) return roles_.decoder;
    auto& copy = copies_[device.str()];
    if (copy == nullptr) {
      copy = Decoder::load(
          roles_.checkpoint,
          {.dtype = roles_.decoder->dtype(), .quantize = setup_.model.quantize, .device = device});
    }
    return copy;
  }

 private:
  const PpoSetup& setup_;
  const PpoRoles& roles_;
  std::map<std::string, std::shared_ptr<const Decoder>> copies_;
};

// LoRA of the critic's own, in the policy's configuration.
Adapter critic_adapter(const LoraConfig& lora, const Decoder& decoder, uint64_t seed) {
  try {
    return fresh_adapter(lora, decoder, seed);
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format(
        "the critic's LoRA is configured as the policy's, which does not fit its model: {}; "
        "critic.kind: shared, or critic.train: head or all, need none",
        error.what()));
  }
}

Critic make_critic(const PpoSetup& setup, const std::shared_ptr<GatherQueue>& gathers,
                   const PpoRoles& roles, Bases& bases) {
  const CriticConfig& config = setup.critic;
  const bool shared = config.kind == CriticKind::shared;
  const at::Device device = shared ? roles.decoder->device() : setup.devices.of(Role::critic);
  // The policy's: with lora.path, rank, alpha and targets are those of that adapter.
  const LoraConfig& lora = roles.policy.config();
  Critic critic{.kind = config.kind,
                .decoder = roles.decoder,
                .backprop_to_policy = config.backprop_to_policy};
  const uint64_t seed =
      static_cast<uint64_t>(setup.run.seed) + 1;  // other numbers than the policy's
  switch (config.kind) {
    case CriticKind::shared:
      break;
    case CriticKind::adapter:
      critic.decoder = bases.on(device);
      critic.adapter = critic_adapter(lora, *critic.decoder, seed);
      break;
    case CriticKind::separate:
      critic.decoder = load_second_model(config.path.value_or(setup.model.path), setup.model,
                                         gathers, device, roles, "critic.path");
      if (config.train == CriticTrain::lora)
        critic.adapter = critic_adapter(lora, *critic.decoder, seed);
      if (config.train == CriticTrain::all) critic.adapter = full_copy(*critic.decoder);
      break;
  }
  critic.head =
      LinearHead::zeros(critic.decoder->config().hidden_size).to(critic.decoder->device());
  critic.head.weight = trainable_leaf(critic.head.weight);
  return critic;
}

void set_reference(const PpoSetup& setup, const std::shared_ptr<GatherQueue>& gathers,
                   PpoRoles& roles, Bases& bases) {
  const at::Device device = setup.devices.of(Role::reference);
  switch (reference_kind(setup)) {
    case ReferenceKind::adapter_off:
      roles.reference_decoder = bases.on(device);
      return;
    case ReferenceKind::adapter: {
      roles.reference_decoder = bases.on(device);
      const Adapter adapter =
          setup.reference.path ? load_adapter(setup.reference.path->name, roles.decoder->modules())
                               : roles.policy.clone();
      roles.reference_adapter = adapter.to(device);
      roles.reference_adapter->set_trainable(false);
      return;
    }
    case ReferenceKind::model:
      roles.reference_decoder = load_second_model(*setup.reference.path, setup.model, gathers,
                                                  device, roles, "reference.path");
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
  const at::Device device = setup.devices.of(Role::actor);
  const at::ScalarType dtype = scalar_type(setup.model.dtype, device);
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  const auto decoder = Decoder::load(
      checkpoint,
      {.dtype = dtype, .quantize = setup.model.quantize, .device = device, .gathers = gathers});
  Tokenizer tokenizer = Tokenizer::load(checkpoint.path);
  Adapter policy = start_adapter(setup.lora, *decoder, static_cast<uint64_t>(setup.run.seed));
  PpoRoles roles{.checkpoint = checkpoint,
                 .decoder = decoder,
                 .tokenizer = tokenizer,
                 .policy = std::move(policy)};
  Bases bases(setup, roles);
  set_reference(setup, gathers, roles, bases);
  roles.critic = make_critic(setup, gathers, roles, bases);
  const at::Device reward_device = setup.devices.of(Role::reward);
  const bool judges_on_base = std::ranges::find(setup.reward, RewardKind::adapter,
                                                &RewardConfig::kind) != setup.reward.end();
  roles.reward =
      make_reward(setup.reward, {.tokenizer = tokenizer,
                                 .decoder = judges_on_base ? bases.on(reward_device) : decoder,
                                 .dtype = dtype,
                                 .device = reward_device,
                                 .micro_batch_tokens = setup.ppo.micro_batch_tokens,
                                 .gathers = gathers});
  roles.environment = NumericEnvironment::current(checkpoint, setup.model, device,
                                                  {setup.data.train, setup.data.eval},
                                                  setup.lanes.threads_per_lane);
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
