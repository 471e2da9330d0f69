#include "rl/policy/judging.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "models/decoder/exact_rows.h"
#include "rollout/scoring.h"

namespace leash {

// What the critic says, per answer; nothing where the sampler read its head on the way.
struct CriticSays {
  std::vector<std::vector<double>> values;
  std::vector<at::Tensor> states;  // only of a frozen trunk
};
void uses(TaskEnd& end, const CriticSays& said) { uses(end, said.states); }

namespace {

std::vector<ScoredText> texts_of(const std::vector<Completion>& answers) {
  std::vector<ScoredText> texts;
  for (const Completion& answer : answers) {
    ScoredText text{.ids = answer.prompt_ids,
                    .answer_begin = static_cast<int64_t>(answer.prompt_ids.size())};
    text.ids.insert(text.ids.end(), answer.token_ids.begin(), answer.token_ids.end());
    texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace

bool recomputes_logprobs(const PolicyConfig& config, const DecoderConfig& model,
                         at::ScalarType weights, at::Device device) {
  const bool narrow = weights != at::kFloat && weights != at::kDouble;
  return config.recompute_logprobs.value_or(config.importance_sampling_correction ||
                                            (narrow && !rows_are_exact(model, weights, device)));
}

// Some answers, on their way through the lanes.
class Judging::Group {
 public:
  Group(std::vector<Completion> answers, const std::vector<const PromptRecord*>& prompts,
        const PolicySetup& setup, const PolicyConfig& config, const JudgingOptions& options)
      : answers_(std::move(answers)),
        texts_(texts_of(answers_)),
        samples_(reward_samples(answers_, prompts, options.step)),
        scoring_{.temperature = setup.rollout.temperature,
                 .micro_batch_tokens = config.micro_batch_tokens,
                 .by_prompt = options.by_prompt},
        asks_reference_(options.reference),
        asks_exact_kl_(options.exact_kl) {}

  // Not in the constructor: a lane that takes no more work throws, and only a whole group waits for
  // the lanes that have begun.
  void begin(const PolicyConfig& config, const PolicyRoles& roles, Lanes& lanes) {
    if (asks_reference_) {
      reference_ = lanes[Role::reference].run("reference log-probs", [this, &roles] {
        return score_texts(*roles.reference.decoder, roles.reference.adapter_or_none(), texts_,
                           scoring_);
      });
    }
    if (asks_exact_kl_) {
      exact_kl_ = lanes[Role::actor].run("exact KL", [this, &roles] {
        return exact_kl_texts(*roles.decoder, &roles.policy, *roles.reference.decoder,
                              roles.reference.adapter_or_none(), texts_, scoring_);
      });
    }
    critic_ =
        lanes[Role::critic].run("values", [this, &roles]() -> CriticSays { return values(roles); });
    reward_ = lanes[Role::reward].run(
        "scores", [this, &roles] { return roles.reward->score_parts(samples_); });
    const Decoder& decoder = *roles.decoder;
    recomputes_ =
        recomputes_logprobs(config, decoder.config(), decoder.weight_dtype(), decoder.device());
    if (!recomputes_ && !lacks_values(roles)) return;
    policy_ = lanes[Role::actor].run("policy log-probs", [this, &roles] {
      ScoringOptions again = scoring_;
      again.value_head = roles.value_head();
      return score_texts(*roles.decoder, &roles.policy, texts_, again);
    });
  }

  ~Group() { wait(); }

  void wait() const {
    if (reference_) reference_->wait();
    if (exact_kl_) exact_kl_->wait();
    if (critic_) critic_->wait();
    if (reward_) reward_->wait();
    if (policy_) policy_->wait();
  }

  void move_into(std::vector<JudgedAnswer>& judged) {
    std::vector<TextScores> references;
    if (reference_) references = reference_->get();
    std::vector<std::vector<double>> exact_kl;
    if (exact_kl_) exact_kl = exact_kl_->get();
    auto [values, states] = critic_.value().get();
    const auto scores = reward_.value().get();
    std::vector<TextScores> policies;
    if (policy_) policies = policy_->get();
    for (size_t i = 0; i < answers_.size(); ++i) {
      JudgedAnswer& one = judged.emplace_back();
      one.answer = std::move(answers_[i]);
      if (!references.empty()) one.reference_logprobs = std::move(references[i].logprobs);
      if (!exact_kl.empty()) one.exact_kl = std::move(exact_kl[i]);
      if (recomputes_) one.policy_logprobs = std::move(policies[i].logprobs);
      // A shared critic's values are those of the states that the update will see.
      if (!policies.empty() && !policies[i].values.empty()) {
        one.values = std::move(policies[i].values);
      } else {
        one.values = values.empty() ? one.answer.values : std::move(values[i]);
      }
      if (!states.empty()) one.critic_states = std::move(states[i]);
      one.score = scores.total[i];
      for (const std::vector<double>& part : scores.parts) one.parts.push_back(part[i]);
    }
  }

 private:
  // A shared critic that nobody asked while the answers were sampled.
  bool lacks_values(const PolicyRoles& roles) const {
    return roles.value_head() != nullptr && !answers_.empty() && answers_.front().values.empty();
  }

  CriticSays values(const PolicyRoles& roles) const {
    if (!roles.critic || roles.value_head() != nullptr) return {};
    const Critic& critic = *roles.critic;
    const Adapter* adapter = critic.adapter ? &*critic.adapter : nullptr;
    CriticSays says;
    says.values =
        value_texts(*critic.decoder, adapter, critic.head, texts_, scoring_.micro_batch_tokens,
                    critic.has_frozen_trunk() ? &says.states : nullptr);
    return says;
  }

  std::vector<Completion> answers_;
  std::vector<ScoredText> texts_;
  std::vector<RewardSample> samples_;
  ScoringOptions scoring_;
  bool asks_reference_, asks_exact_kl_;
  bool recomputes_ = false;
  // Their tasks read the others.
  std::optional<LaneResult<std::vector<TextScores>>> reference_;
  std::optional<LaneResult<std::vector<std::vector<double>>>> exact_kl_;
  std::optional<LaneResult<CriticSays>> critic_;
  std::optional<LaneResult<RewardScores>> reward_;
  std::optional<LaneResult<std::vector<TextScores>>> policy_;
};

Judging::Judging(const std::vector<PromptRecord>& prompts, const std::vector<int64_t>& rows,
                 const PolicySetup& setup, const PolicyConfig& config, const PolicyRoles& roles,
                 Lanes& lanes, const JudgingOptions& options)
    : prompts_(prompts),
      rows_(rows),
      setup_(setup),
      config_(config),
      roles_(roles),
      lanes_(lanes),
      options_(options) {}

Judging::~Judging() = default;

void Judging::add(Completion answer) {
  waiting_.push_back(std::move(answer));
  if (std::ssize(waiting_) == setup_.lanes.scoring_group) begin_group();
}

void Judging::begin_group() {
  if (options_.by_prompt) std::ranges::sort(waiting_, {}, &Completion::sample);
  std::vector<const PromptRecord*> asked;
  for (const Completion& answer : waiting_) asked.push_back(&prompts_[rows_[answer.sample]]);
  groups_.push_back(
      std::make_unique<Group>(std::exchange(waiting_, {}), asked, setup_, config_, options_));
  groups_.back()->begin(config_, roles_, lanes_);
}

std::vector<JudgedAnswer> Judging::finish() {
  if (!waiting_.empty()) begin_group();
  // Every lane is waited for before anything is thrown.
  for (const auto& group : groups_) group->wait();
  std::vector<JudgedAnswer> judged;
  for (const auto& group : groups_) group->move_into(judged);
  groups_.clear();
  std::ranges::sort(judged, {}, [](const JudgedAnswer& one) { return one.answer.sample; });
  return judged;
}

std::vector<JudgedAnswer> judge(const std::vector<Completion>& answers,
                                const std::vector<PromptRecord>& prompts,
                                const std::vector<int64_t>& rows, const PolicySetup& setup,
                                const PolicyConfig& config, const PolicyRoles& roles,
                                Lanes& lanes) {
  Judging judging(prompts, rows, setup, config, roles, lanes);
  for (const Completion& answer : answers) judging.add(answer);
  return judging.finish();
}

std::vector<RewardSample> reward_samples(const std::vector<Completion>& answers,
                                         const std::vector<const PromptRecord*>& prompts,
                                         int64_t step) {
  std::vector<RewardSample> samples;
  for (size_t i = 0; i < answers.size(); ++i) {
    samples.push_back({.prompt = prompts[i]->text,
                       .answer = answers[i].text,
                       .prompt_ids = answers[i].prompt_ids,
                       .token_ids = answers[i].token_ids,
                       .ended = ended_by_itself(answers[i]),
                       .messages = prompts[i]->messages,
                       .options = prompts[i]->options,
                       .row = prompts[i]->row,
                       .step = step});
  }
  return samples;
}

bool ended_by_itself(const Completion& answer) {
  return answer.stop == StopReason::eos || answer.stop == StopReason::stop_token ||
         answer.stop == StopReason::stop_text;
}

}  // namespace leash
