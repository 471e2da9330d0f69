#include "rl/policy/roles.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/decoder/start_adapter.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "rl/policy/second_models.h"
#include "rollout/stopping.h"

namespace leash {
namespace {

bool judges_on_base(const std::vector<RewardConfig>& rewards) {
  return std::ranges::find(rewards, RewardKind::adapter, &RewardConfig::kind) != rewards.end();
}

}  // namespace

std::vector<int64_t> PolicyRoles::eos_token_ids() const {
  return leash::eos_token_ids(decoder->config(), tokenizer);
}

PolicyRoles load_policy_roles(const PolicySetup& setup, const PolicyConfig& config,
                              const std::shared_ptr<GatherQueue>& gathers,
                              const MakeCritic& make_critic) {
  const at::Device device = setup.devices.of(Role::actor);
  const at::ScalarType dtype = scalar_type(setup.model.dtype, device);
  const Checkpoint checkpoint = open_checkpoint(resolve_model(setup.model.path));
  const auto decoder = Decoder::load(
      checkpoint,
      {.dtype = dtype, .quantize = setup.model.quantize, .device = device, .gathers = gathers});
  PolicyRoles roles{
      .checkpoint = checkpoint,
      .decoder = decoder,
      .tokenizer = load_chat_tokenizer(checkpoint.path, setup.data.chat),
      .policy = start_adapter(setup.lora, *decoder, static_cast<uint64_t>(setup.run.seed)),
      .reference = {},
      .critic = {},
      .reward = {}};
  Bases bases(checkpoint, decoder, setup.model.quantize);
  roles.reference = load_reference(setup.reference,
                                   {.model = {*decoder, roles.tokenizer},
                                    .adapter = roles.policy,
                                    .lora = setup.lora,
                                    .quantize = setup.model.quantize,
                                    .can_be_followed = true},
                                   setup.devices.of(Role::reference), bases, gathers);
  roles.critic = make_critic(roles, bases);
  const at::Device reward_device = setup.devices.of(Role::reward);
  roles.reward = make_reward(
      setup.reward, {.tokenizer = roles.tokenizer,
                     .decoder = judges_on_base(setup.reward) ? bases.on(reward_device) : decoder,
                     .dtype = dtype,
                     .device = reward_device,
                     .micro_batch_tokens = config.micro_batch_tokens,
                     .gathers = gathers});
  roles.environment = NumericEnvironment::current(checkpoint, setup.model, device,
                                                  {setup.data.train, setup.data.eval},
                                                  setup.lanes.threads_per_lane);
  roles.environment.others = second_models(setup);
  return roles;
}

PromptLimits prompt_limits(const PolicySetup& setup, const PolicyRoles& roles) {
  const RewardColumns columns = reward_columns(setup.reward);
  const int64_t policy = roles.decoder->config().max_positions;
  const int64_t critic = roles.critic ? roles.critic->decoder->config().max_positions : policy;
  return {.max_prompt_length = setup.data.max_prompt_length,
          .context = std::min({policy, roles.reference.decoder->config().max_positions, critic,
                               roles.reward->context().value_or(policy)}),
          .min_answer_tokens = setup.rollout.response_length,
          .continue_final_message = setup.data.continue_final_message,
          .truncation = setup.data.truncation_mode,
          .columns = columns.names,
          .any_column = columns.all};
}

std::vector<PromptRecord> read_policy_prompts(const std::filesystem::path& file,
                                              const PolicySetup& setup, const PolicyRoles& roles) {
  auto prompts = read_prompts(file, roles.tokenizer, prompt_limits(setup, roles));
  for (const PromptRecord& prompt : prompts) {
    try {
      roles.reward->check_prompt(prompt);
    } catch (const FormatError& error) {
      throw FormatError(fmt::format("{}:{}: {}", file.string(), prompt.line, error.what()));
    }
  }
  return prompts;
}

GenerationConfig sampling_of(const RolloutConfig& rollout, const Decoder& decoder,
                             const Tokenizer& tokenizer) {
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
  if (rollout.stop_token == "eos") {
    config.eos_token_ids = eos_token_ids(decoder.config(), tokenizer);
    if (config.eos_token_ids.empty()) {
      throw ConfigError(
          "rollout.stop_token: neither the checkpoint nor its tokenizer names an EOS token; name "
          "one, or null for answers that always have response_length tokens");
    }
  } else if (rollout.stop_token) {
    const auto ids = tokenizer.encode(*rollout.stop_token);
    if (ids.size() != 1) {
      throw ConfigError(fmt::format(
          "rollout.stop_token: '{}' is {} tokens, not one; use rollout.stop_texts for it",
          *rollout.stop_token, ids.size()));
    }
    config.stop_token_ids = ids;
  }
  return config;
}

GenerationConfig generation_config(const PolicySetup& setup, const PolicyRoles& roles,
                                   int64_t step) {
  GenerationConfig config = sampling_of(setup.rollout, *roles.decoder, roles.tokenizer);
  config.seed = static_cast<uint64_t>(setup.run.seed);
  config.step = static_cast<uint64_t>(step);
  return config;
}

}  // namespace leash
