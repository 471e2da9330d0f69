// Exact KL(policy ‖ reference) of one or several adapters on given texts or on answers that each
// policy samples itself; written as report.json and as one offline page, report.html.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/lora/lora.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/report/answer_style.h"
#include "rl/report/drift.h"
#include "rl/report/kl_summary.h"
#include "rl/report/moved_tokens.h"
#include "rl/report/weight_drift.h"
#include "rollout/engine.h"

namespace leash {

struct KlInput {
  int64_t line = 0;  // from 1 on
  bool sampled =
      false;  // `ids` are a prompt that the policy answers; else a text to score as it is
  std::vector<int64_t> ids;
  int64_t answer_begin = 1;  // of a text: its first scored token
  std::string group{};       // of its prompt, by which figures are also given; "": none
};

struct KlReportRequest {
  std::shared_ptr<const Decoder> decoder;
  Tokenizer tokenizer;
  std::string model;  // names, as the user wrote them
  std::string reference = "base";
  std::vector<std::string> policies{};
  std::vector<Adapter> policy_adapters{};      // one for each name
  std::optional<Adapter> reference_adapter{};  // none: the base
  std::vector<KlInput> inputs{};
  GenerationConfig generation{};  // of sampled answers; the KL itself is always at temperature 1
  int64_t samples = 1;            // answers per prompt
  std::vector<std::optional<int64_t>> steps{};  // of training, one for each policy; may be empty
  std::vector<std::string> patterns{};          // what is looked for in answers (PCRE2)
  bool ablate = false;                          // measure KL with each layer's adapter off
  std::function<void(const std::string&)> progress{};  // hears what goes on
};

// One text under one policy.
struct KlReportText {
  int64_t line = 0;
  int64_t sample = 0;  // which of the answers to this line
  bool sampled = false;
  std::vector<int64_t> ids;
  int64_t answer_begin = 1;
  std::string text;                 // all of it
  std::string context;              // what stands before the scored tokens
  std::vector<std::string> tokens;  // the scored ones
  KlText values;
  std::string group{};
  TextDivergence divergence{};
};

// KL(policy without one layer's adapter ‖ reference), per token, over the first texts of at most
// kAblationTokens scored tokens in all.
struct LayerAblation {
  int64_t layer = 0;
  double kl = 0;
};
inline constexpr int64_t kAblationTokens = 2000;

struct KlPolicyReport {
  std::string policy;
  KlSummary summary;
  std::vector<KlReportText> texts;
  std::optional<int64_t> step{};  // of training
  DriftSummary drift{};
  std::map<std::string, DriftSummary> groups{};
  MovedTokens moved{};
  std::vector<std::string> gained_tokens{}, lost_tokens{};              // the text of `moved`'s
  std::vector<std::pair<std::string, MovedNgram>> liked{}, disliked{};  // bigrams and trigrams
  AnswerStyle style{};  // of its own answers, or of the given texts' scored tokens
  std::vector<WeightDrift> weights{};
  double ablation_kl = 0;  // of the whole policy on the texts of `ablations`
  std::vector<LayerAblation> ablations{};
};

struct KlReport {
  std::string model;
  std::string reference;
  GenerationConfig generation;
  int64_t samples = 1;
  std::vector<KlPolicyReport> policies;
  std::optional<AnswerStyle> reference_style{};  // of the reference's answers to the same prompts
};

// A figure by which a policy can be refused (`--fail-above`): kl (per text), kl_token, reverse_kl,
// js, k1, disagreement (share of states whose likeliest token changed), length_ratio and
// repetition_ratio (of its answers to the reference's). nullopt: there is none of that name, or
// nothing was sampled.
std::optional<double> drift_figure(const KlReport& report, const KlPolicyReport& policy,
                                   const std::string& name);
std::vector<std::string> drift_figure_names();

// Whether any text is the policies' own answer to a prompt.
bool any_sampled(const KlReport& report);
// Whether such answers come from another distribution than the one whose KL is reported, that at
// temperature 1: k1 and k3 do not estimate it then.
bool biased_estimates(const KlReport& report);

KlReport make_kl_report(const KlReportRequest& request);

// {"policy", "kl": {"mean_token", "mean_sequence", "ci95"}, "k1", "k3", "positions", "prompts"}
std::string kl_policy_json(const KlPolicyReport& policy);
std::string kl_report_json(const KlReport& report);
// A page that opens offline: curves per position, the texts with tokens coloured by log p/q.
std::string kl_report_page(const KlReport& report);
std::string kl_report_table(const KlReport& report);

// By position, by prompt and by group, as CSV with a header; texts in quotes.
std::string kl_positions_csv(const KlReport& report);
std::string kl_prompts_csv(const KlReport& report);
std::string kl_summary_csv(const KlReport& report);

// Writes report.json and report.html into `folder` (created when missing).
void write_kl_report(const KlReport& report, const std::filesystem::path& folder);

}  // namespace leash
