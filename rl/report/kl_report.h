// Exact KL(policy ‖ reference) of one or several adapters on given texts or on answers that each
// policy samples itself; written as report.json and as one offline page, report.html.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/lora/lora.h"
#include "models/tokenizer/tokenizer.h"
#include "rl/report/kl_summary.h"
#include "rollout/engine.h"

namespace leash {

struct KlInput {
  int64_t line = 0;  // from 1 on
  bool sampled =
      false;  // `ids` are a prompt that the policy answers; else a text to score as it is
  std::vector<int64_t> ids;
  int64_t answer_begin = 1;  // of a text: its first scored token
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
};

struct KlPolicyReport {
  std::string policy;
  KlSummary summary;
  std::vector<KlReportText> texts;
};

struct KlReport {
  std::string model;
  std::string reference;
  GenerationConfig generation;
  int64_t samples = 1;
  std::vector<KlPolicyReport> policies;
};

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

// Writes report.json and report.html into `folder` (created when missing).
void write_kl_report(const KlReport& report, const std::filesystem::path& folder);

}  // namespace leash
