// The plan of PPO: roles first, then the phases of an iteration.
#include <fmt/format.h>

#include <algorithm>

#include "models/decoder/load_weight.h"
#include "models/device/device.h"
#include "models/errors.h"
#include "rl/plan/plan.h"
#include "rl/plan/plan_parts.h"
#include "rl/policy/judging.h"
#include "rl/ppo/task.h"
#include "rl/ppo/update.h"

namespace leash {
namespace {

constexpr int64_t kPrefillTokens = 2048;  // rollout/engine.cpp: rows of one prefill

// Who takes part, and with which trained tensors.
struct Roles {
  ModelFacts base;
  AdapterFacts policy;
  std::optional<ModelFacts> reference_model, critic_model;  // with weights of their own
  std::optional<AdapterFacts> critic;               // what the critic trains besides its head
  std::vector<std::vector<int64_t>> critic_shapes;  // the head included
  std::vector<ModelFacts> reward_models;            // what a reward's forward passes run through
};

at::ScalarType dtype_of(const PpoSetup& setup) {
  return scalar_type(setup.model.dtype, parse_device(setup.devices.policy, "devices.policy"));
}
// Of hidden states.
at::ScalarType states_dtype_of(const PpoSetup& setup) {
  return activation_type(dtype_of(setup), parse_device(setup.devices.policy, "devices.policy"));
}

bool recomputes(const PpoSetup& setup, const ModelFacts& base) {
  const at::Device device = parse_device(setup.devices.policy, "devices.policy");
  return recomputes_logprobs(setup.ppo, base.config, dtype_of(setup), device);
}

// Lengths of an iteration.
struct Sizes {
  int64_t prompt = 0, answer = 0;
  int64_t text = 0;         // rows of prompt and answer that go through the model
  int64_t own_answers = 0;  // of this rank
  int64_t slots = 0;
  int64_t scored_rows = 0, trained_rows = 0;  // of one pass

  int64_t answer_part(int64_t rows) const { return ceil_divide(rows * answer, text); }
};

ModelFacts second_model(const std::string& path) {
  return facts_of(open_checkpoint(resolve_model(path)));
}

// `keep` where its file has anything to keep, as load_second_model.
Quantize second_quantize(const ModelFacts& model, Quantize quantize) {
  if (quantize != Quantize::keep || model.tensors == nullptr) return quantize;
  const bool nothing = keep_problem({model.name, model.config, model.tensors}).has_value();
  return nothing ? Quantize::none : quantize;
}

Sizes sizes_of(const PpoSetup& setup, const ModelFacts& model, const PlanOptions& options) {
  const int64_t context = model.config.max_positions;
  Sizes sizes{.answer = setup.rollout.response_length};
  if (sizes.answer >= context) {
    throw ConfigError(fmt::format(
        "rollout.response_length: {} tokens leave no room for a prompt in the context of {}",
        sizes.answer, context));
  }
  sizes.prompt =
      std::min(options.longest.value_or(setup.data.max_prompt_length), context - sizes.answer);
  sizes.text = sizes.prompt + sizes.answer - 1;  // the last token is only ever predicted
  sizes.own_answers = ceil_divide(setup.ppo.batch_size, options.ranks);
  sizes.slots = std::min(setup.rollout.max_batch, sizes.own_answers);
  const int64_t minibatch = setup.ppo.batch_size / setup.ppo.num_mini_batches;
  sizes.scored_rows = pass_rows(setup.ppo.micro_batch_tokens, sizes.text, sizes.own_answers);
  sizes.trained_rows =
      pass_rows(setup.ppo.micro_batch_tokens, sizes.text, ceil_divide(minibatch, options.ranks));
  return sizes;
}

bool gathers_for_every_token(const PpoSetup& setup) {
  return setup.run.fsdp == Fsdp::full_shard && !setup.run.gather_for_generation;
}

// A model's weights, or this rank's part of them.
PlanItem model_item(const std::string& role, const ModelFacts& model, Quantize quantize,
                    const PpoSetup& setup, const PlanOptions& options) {
  const at::ScalarType dtype = dtype_of(setup);
  const bool sharded = setup.run.fsdp == Fsdp::full_shard && quantize == Quantize::none;
  return sharded ? sharded_item(role, model, dtype, options.ranks)
                 : weights_item(role, model, dtype, quantize);
}

void add_reference(const PpoSetup& setup, const PlanOptions& options, Roles& roles,
                   std::vector<PlanItem>& resident) {
  const at::ScalarType dtype = dtype_of(setup);
  const ReferenceKind kind = setup.reference.kind.value_or(
      setup.lora.path ? ReferenceKind::adapter : ReferenceKind::adapter_off);
  if (kind == ReferenceKind::adapter_off) {
    resident.push_back({"reference", 0, "the base with the adapter off"});
  } else if (kind == ReferenceKind::adapter || kind == ReferenceKind::follow) {
    const int64_t numbers = setup.reference.path ? parameters_of_file(setup.reference.path->name)
                                                 : roles.policy.num_parameters();
    resident.push_back({"reference: adapter", numbers * wide_bytes(dtype),
                        kind == ReferenceKind::follow ? "follows the policy" : "frozen"});
  } else {
    roles.reference_model = second_model(*setup.reference.path);
    resident.push_back(model_item("reference: model", *roles.reference_model,
                                  second_quantize(*roles.reference_model, setup.model.quantize),
                                  setup, options));
  }
}

void add_critic(const PpoSetup& setup, const PlanOptions& options, Roles& roles,
                std::vector<PlanItem>& resident) {
  const at::ScalarType dtype = dtype_of(setup);
  const CriticConfig& config = setup.critic;
  if (config.kind == CriticKind::none) return;
  const ModelFacts* trunk = &roles.base;
  if (config.kind == CriticKind::separate) {
    roles.critic_model = config.path ? second_model(*config.path) : roles.base;
    trunk = &*roles.critic_model;
    resident.push_back(model_item("critic: model", *trunk,
                                  second_quantize(*trunk, setup.model.quantize), setup, options));
  }
  const bool lora = config.kind == CriticKind::adapter ||
                    (config.kind == CriticKind::separate && config.train == CriticTrain::lora);
  const bool all = config.kind == CriticKind::separate && config.train == CriticTrain::all;
  if (lora) roles.critic = adapter_facts(setup.lora, trunk->modules);
  if (all) roles.critic = full_copy_facts(trunk->modules);
  if (roles.critic) roles.critic_shapes = roles.critic->shapes;
  roles.critic_shapes.push_back({1, trunk->config.hidden_size});
  add_trained(resident, "critic", all ? "copy of all weights, head" : "head and adapter",
              roles.critic_shapes, config.optim, wide_bytes(dtype));
}

void add_rewards(const PpoSetup& setup, const PlanOptions& options, Roles& roles,
                 std::vector<PlanItem>& resident) {
  const at::ScalarType dtype = dtype_of(setup);
  for (size_t i = 0; i < setup.reward.size(); ++i) {
    const RewardConfig& config = setup.reward[i];
    const std::string name = fmt::format("reward[{}]: {}", i, enum_name(config.kind));
    if (config.kind == RewardKind::model) {
      roles.reward_models.push_back(second_model(*config.path));
      resident.push_back(
          model_item(name, roles.reward_models.back(), config.quantize, setup, options));
    } else if (config.kind == RewardKind::adapter) {
      roles.reward_models.push_back(roles.base);
      resident.push_back(
          {name, parameters_of_file(config.path->name) * wide_bytes(dtype), "on the base"});
    } else {
      resident.push_back({name, 0, "no model"});
    }
  }
}

// Prefill and decoding with a cache of `slots` sequences.
PlanPhase rollout_phase(const std::string& name, const PpoSetup& setup, const Roles& roles,
                        const Sizes& sizes, int64_t slots) {
  const at::ScalarType dtype = states_dtype_of(setup);
  const ModelFacts& base = roles.base;
  const int64_t prefill = std::min(std::max(kPrefillTokens, sizes.prompt), slots * sizes.prompt);
  const int64_t logits = slots * base.config.vocab_size * wide_bytes(dtype);
  const int64_t decoding = forward_scratch_bytes(base, dtype, slots) + logits;
  return {.name = name,
          .items = {{"cache of keys and values", cache_bytes(base, dtype, slots, sizes.text),
                     fmt::format("{} sequences of {} tokens", slots, sizes.text)},
                    {"prefill or decoding, whichever needs more",
                     std::max(forward_scratch_bytes(base, dtype, prefill), decoding)}}};
}

// What the head of a critic with a frozen trunk reads: computed once, kept for all epochs. A rank
// may come to hold that of all answers.
void add_critic_states(const PpoSetup& setup, const Roles& roles, const Sizes& sizes,
                       PlanPhase& phase) {
  if (!has_own_trunk(setup.critic.kind) || roles.critic) return;
  const int64_t tokens = setup.ppo.batch_size * sizes.answer;
  phase.items.push_back(
      {"states that the critic's head reads",
       tokens * roles.critic_model->config.hidden_size * element_bytes(states_dtype_of(setup)),
       fmt::format("{} answer tokens", tokens)});
}

// Reference, critic and rewards, and the policy where its log-probs are computed again, each on its
// lane: at the same time, or one after the other.
PlanPhase scoring_phase(const PpoSetup& setup, const Roles& roles, const Sizes& sizes) {
  const at::ScalarType dtype = states_dtype_of(setup);
  const int64_t rows = sizes.scored_rows;
  const ModelFacts& reference = roles.reference_model ? *roles.reference_model : roles.base;
  const auto pass = [&](const ModelFacts& model) {
    return forward_scratch_bytes(model, dtype, rows);
  };
  std::vector<PlanItem> lanes = {
      {"reference lane",
       std::max(pass(reference), head_scratch_bytes(reference, dtype, rows, sizes.answer_part(rows),
                                                    /*gradients=*/false))}};
  const bool exact = setup.ppo.kl_estimator == KlEstimator::exact;
  if (recomputes(setup, roles.base) || exact) {
    lanes.push_back(
        {"actor lane", std::max(pass(roles.base),
                                head_scratch_bytes(roles.base, dtype, rows, sizes.answer_part(rows),
                                                   /*gradients=*/false))});
  }
  if (has_own_trunk(setup.critic.kind)) {
    lanes.push_back({"critic lane", pass(roles.critic_model ? *roles.critic_model : roles.base)});
  }
  int64_t reward = 0;
  for (const ModelFacts& model : roles.reward_models) reward = std::max(reward, pass(model));
  if (reward > 0) lanes.push_back({"reward lane", reward});
  const bool side_by_side = setup.lanes.concurrent && !gathers_for_every_token(setup);
  if (!side_by_side)
    lanes = {*std::ranges::max_element(lanes, {}, [](const auto& i) { return i.bytes; })};
  PlanPhase phase{.name = "scoring", .items = lanes};
  add_critic_states(setup, roles, sizes, phase);
  return phase;
}

PlanPhase update_phase(const PpoSetup& setup, const Roles& roles, const Sizes& sizes) {
  const at::ScalarType dtype = states_dtype_of(setup);
  const PassShape pass{.rows = sizes.trained_rows, .recompute = setup.model.gradient_checkpointing};
  const ModelFacts& trunk = roles.critic_model ? *roles.critic_model : roles.base;
  const AdapterFacts* critic = roles.critic ? &*roles.critic : nullptr;
  PlanPhase phase{.name = "update"};
  phase.items.push_back({"activations kept for the policy's backward pass",
                         kept_bytes(roles.base, dtype, &roles.policy, pass),
                         fmt::format("{} tokens", pass.rows)});
  if (critic != nullptr) {
    phase.items.push_back({"activations kept for the critic's backward pass",
                           kept_bytes(trunk, dtype, critic, pass),
                           fmt::format("{} tokens", pass.rows)});
  }
  const int64_t head = head_scratch_bytes(roles.base, dtype, pass.rows,
                                          sizes.answer_part(pass.rows), /*gradients=*/true);
  const int64_t backward = std::max(backward_scratch_bytes(roles.base, dtype, &roles.policy, pass),
                                    backward_scratch_bytes(trunk, dtype, critic, pass));
  phase.items.push_back(
      {"log-probs or backward pass, whichever needs more", std::max(head, backward)});
  add_critic_states(setup, roles, sizes, phase);
  return phase;
}

// CBOR of a judged answer (rl/policy/gather.cpp): an id takes 3 bytes, 5 where the vocabulary
// passes 65,536. Of each token of an answer: its id, three doubles of 9 bytes (log-prob, that of
// what was drawn from, entropy), float32s of 5 (reference, the policy's computed again, value, for
// a shared critic the value twice), and about 4 bytes of text. Of each source a double.
int64_t answer_bytes(const PpoSetup& setup, const Roles& roles, const Sizes& sizes) {
  const int64_t id = roles.base.config.vocab_size > 65536 ? 5 : 3;
  const int64_t values = setup.critic.kind == CriticKind::none     ? 0
                         : setup.critic.kind == CriticKind::shared ? 2
                                                                   : 1;
  const int64_t scored = recomputes(setup, roles.base) ? 2 : 1;
  return sizes.prompt * id + sizes.answer * (id + 3 * 9 + 5 * scored + 5 * values + 4) + 40 +
         9 * static_cast<int64_t>(setup.reward.size());
}

// Models whose weights are sharded, and which a phase runs through; the base first.
std::vector<ModelFacts> sharded_models(const PpoSetup& setup, const Roles& roles, bool rollout) {
  std::vector<ModelFacts> models = {roles.base};
  if (rollout) return models;
  if (roles.reference_model) models.push_back(*roles.reference_model);
  if (roles.critic_model) models.push_back(*roles.critic_model);
  for (size_t i = 0, next = 0; i < setup.reward.size(); ++i) {
    const RewardConfig& reward = setup.reward[i];
    if (reward.kind != RewardKind::model && reward.kind != RewardKind::adapter) continue;
    const ModelFacts& model = roles.reward_models[next++];
    if (reward.kind == RewardKind::model && reward.quantize == Quantize::none) {
      models.push_back(model);
    }
  }
  return models;
}

// What every phase holds of gathered weights, and what an iteration gathers.
void add_gathers(const PpoSetup& setup, const Roles& roles, const Sizes& sizes,
                 const PlanOptions& options, Plan& plan) {
  const at::ScalarType dtype = dtype_of(setup);
  const bool all = setup.run.gather_for_generation;
  const auto models = sharded_models(setup, roles, /*rollout=*/false);
  for (PlanPhase& phase : plan.phases) {
    const bool rollout = phase.name == "rollout";
    if (rollout || phase.name == "scoring" || phase.name == "held-out answers") {
      phase.items.push_back(gathered_item(rollout ? sharded_models(setup, roles, true) : models,
                                          dtype, all, options.ranks));
    } else if (phase.name == "update") {
      phase.items.push_back(gathered_item(models, dtype, /*all=*/false, options.ranks));
    }
  }
  const ShardedBytes base = sharded_bytes(roles.base, dtype, options.ranks);
  const int64_t forward = base.forward + base.head, forward_gathers = base.num_blocks + 2;
  if (all) {
    int64_t bytes = 0, gathers = 0;
    for (const ModelFacts& model : models) {
      bytes += sharded_bytes(model, dtype, options.ranks).all;
      gathers += model.config.num_layers + (model.own_head ? 2 : 1);
    }
    plan.transfers.push_back(
        weights_transfer("weights for sampling and scoring", gathers, bytes, options.ranks));
  } else {
    // Decoding passes, of which the first is the prompts', and scoring ones of each model.
    int64_t passes = sizes.answer;
    int64_t bytes = passes * forward, gathers = passes * forward_gathers;
    const int64_t scoring = ceil_divide(sizes.own_answers * sizes.text, sizes.scored_rows);
    std::vector<ModelFacts> scored = models;
    if (recomputes(setup, roles.base)) scored.push_back(roles.base);
    for (const ModelFacts& model : scored) {
      const ShardedBytes other = sharded_bytes(model, dtype, options.ranks);
      bytes += scoring * (other.forward + other.head);
      gathers += scoring * (other.num_blocks + 2);
    }
    plan.transfers.push_back(
        weights_transfer("weights for sampling and scoring", gathers, bytes, options.ranks));
  }
  const int64_t minibatch = setup.ppo.batch_size / setup.ppo.num_mini_batches;
  const int64_t passes =
      setup.ppo.num_ppo_epochs * setup.ppo.num_mini_batches *
      ceil_divide(ceil_divide(minibatch, options.ranks) * sizes.text, sizes.trained_rows);
  int64_t bytes = passes * (forward + base.backward);
  int64_t gathers = passes * (forward_gathers + base.num_blocks);
  if (has_own_trunk(setup.critic.kind)) {
    const ShardedBytes trunk =
        sharded_bytes(roles.critic_model ? *roles.critic_model : roles.base, dtype, options.ranks);
    // At most, of a frozen trunk: it is asked in passes with answers that the rank has not met yet.
    bytes += passes * (trunk.forward + (roles.critic ? trunk.backward : 0));
    gathers += passes * ((roles.critic ? 2 : 1) * trunk.num_blocks + 1);
  }
  plan.transfers.push_back(
      weights_transfer("blocks of the base for the update", gathers, bytes, options.ranks));
}

}  // namespace

Plan plan_of(const PpoSetup& setup, const ModelFacts& model, const PlanOptions& options) {
  const at::ScalarType dtype = dtype_of(setup);
  const int64_t wide = wide_bytes(dtype);
  Roles roles{.base = model, .policy = adapter_facts(setup.lora, model.modules)};
  const Sizes sizes = sizes_of(setup, model, options);
  Plan plan{.task = std::string(TaskTraits<PpoSetup>::name),
            .step = "iteration",
            .ranks = options.ranks,
            .base_parameters = num_parameters(model),
            .trainable_parameters = roles.policy.num_parameters(),
            .micro_batch_rows = sizes.trained_rows,
            .mapped_bytes = model.file_bytes};
  plan.all_parameters =
      plan.base_parameters + plan.trainable_parameters - roles.policy.counted_in_base;
  plan.resident = {{"process", kProcessBytes},
                   model_item("base", model, setup.model.quantize, setup, options)};
  add_trained(plan.resident, "policy", "adapter", roles.policy.shapes, OptimizerKind::adamw_torch,
              wide);
  add_reference(setup, options, roles, plan.resident);
  add_critic(setup, options, roles, plan.resident);
  add_rewards(setup, options, roles, plan.resident);

  auto trained = roles.policy.shapes;
  trained.insert(trained.end(), roles.critic_shapes.begin(), roles.critic_shapes.end());
  plan.phases = {setup.run.fsdp == Fsdp::full_shard
                     ? sharded_loading_phase(model, dtype, options.ranks, plan.resident)
                     : loading_phase(model, dtype, setup.model.quantize, plan.resident),
                 rollout_phase("rollout", setup, roles, sizes, sizes.slots),
                 scoring_phase(setup, roles, sizes), update_phase(setup, roles, sizes),
                 step_phase(trained, wide, options.ranks)};
  if (setup.data.eval) {
    plan.phases.push_back(
        rollout_phase("held-out answers", setup, roles, sizes, setup.rollout.max_batch));
  }
  const int64_t steps = setup.ppo.num_ppo_epochs * setup.ppo.num_mini_batches;
  plan.transfers = {
      gradient_transfer(trained, wide, sizeof(UpdateSums), steps, options.ranks),
      gather_transfer("judged answers", sizes.own_answers * answer_bytes(setup, roles, sizes),
                      options.ranks),
      stop_transfer(options.ranks)};
  if (setup.run.fsdp == Fsdp::full_shard) add_gathers(setup, roles, sizes, options, plan);
  return plan;
}

}  // namespace leash
