#include "experiments/label/rule_judge.h"

#include <stdexcept>

#include "models/errors.h"
#include "models/random/random.h"
#include "rl/reward/functions.h"

namespace leash::label {
namespace {

class Rule {
 public:
  explicit Rule(const std::vector<RewardConfig>& configs) {
    for (const RewardConfig& config : configs) {
      functions_.emplace_back(config);
      weights_.push_back(config.weight);
    }
  }
  double points(const Json& answer) const {
    const std::string text = shown_text(answer);
    double sum = 0;
    for (size_t i = 0; i < functions_.size(); ++i) sum += weights_[i] * functions_[i](text);
    return sum;
  }

 private:
  std::vector<RewardFunction> functions_;
  std::vector<double> weights_;
};

}  // namespace

void check_rule(const RuleJudge& judge) {
  if (judge.rule.empty()) {
    throw ConfigError("--judge rule: the recipe has no `reward:` list to judge by");
  }
  for (const RewardConfig& config : judge.rule) {
    if (config.kind != RewardKind::function) {
      throw ConfigError("--judge rule: the recipe's rewards have to be of kind: function");
    }
  }
}

void judge_by_rule(LabelSession& session, const std::string& user, const RuleJudge& judge) {
  const Rule rule(judge.rule);
  View view = session.view(user);
  while (true) {
    if (view.offer == Offer::failed) throw std::runtime_error("sampling failed: " + view.failure);
    if (view.offer == Offer::done || session.stopped()) return;
    if (view.offer == Offer::waiting) {
      view = session.view_or_wait(user, 200);
      continue;
    }
    const double left = rule.points(view.left), right = rule.points(view.right);
    Verdict verdict = left == right ? Verdict::tie : left > right ? Verdict::left : Verdict::right;
    const DrawKey key{.seed = judge.seed, .purpose = Purpose::noise, .a = text_hash(view.pair)};
    if (verdict != Verdict::tie && draw_uniform(key) < judge.noise) {
      verdict = verdict == Verdict::left ? Verdict::right : Verdict::left;
    }
    view = session.judge(user, view.pair, verdict, "");
  }
}

}  // namespace leash::label
