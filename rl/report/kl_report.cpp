#include "rl/report/kl_report.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "models/io/atomic_file.h"
#include "rollout/scoring.h"

namespace leash {
namespace {

KlReportText as_it_is(const KlInput& input) {
  KlReportText text;
  text.line = input.line;
  text.ids = input.ids;
  text.answer_begin = input.answer_begin;
  return text;
}

// Every policy answers with the same draws, so that differences between policies are their own.
std::vector<KlReportText> sample_answers(const KlReportRequest& request, const Adapter& policy) {
  std::vector<Prompt> prompts;
  std::vector<KlReportText> texts;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const KlInput& input = request.inputs[i];
    for (int64_t sample = 0; input.sampled && sample < request.samples; ++sample) {
      const auto id = i * static_cast<uint64_t>(request.samples) + static_cast<uint64_t>(sample);
      prompts.push_back({input.ids, id});
      KlReportText text = as_it_is(input);
      text.sample = sample;
      text.sampled = true;
      text.answer_begin = static_cast<int64_t>(input.ids.size());
      texts.push_back(std::move(text));
    }
  }
  if (prompts.empty()) return texts;
  const RolloutEngine engine(request.decoder, request.tokenizer);
  const auto answers = engine.generate(prompts, &policy, request.generation);
  for (size_t i = 0; i < answers.size(); ++i) {
    texts[i].ids.insert(texts[i].ids.end(), answers[i].token_ids.begin(),
                        answers[i].token_ids.end());
  }
  return texts;
}

// The texts of one policy in the order of the input.
std::vector<KlReportText> collect_texts(const KlReportRequest& request, const Adapter& policy) {
  std::vector<KlReportText> answers = sample_answers(request, policy);
  std::vector<KlReportText> texts;
  auto next = answers.begin();
  for (const KlInput& input : request.inputs) {
    if (!input.sampled) texts.push_back(as_it_is(input));
    for (; next != answers.end() && next->line == input.line; ++next) {
      texts.push_back(std::move(*next));
    }
  }
  return texts;
}

void score_all(const KlReportRequest& request, const Adapter& policy,
               std::vector<KlReportText>& texts) {
  const Adapter* reference = request.reference_adapter ? &*request.reference_adapter : nullptr;
  std::vector<ScoredText> scored;
  std::vector<KlReportText*> owners;
  for (KlReportText& text : texts) {
    if (static_cast<int64_t>(text.ids.size()) <= text.answer_begin) continue;  // nothing to score
    scored.push_back({text.ids, text.answer_begin});
    owners.push_back(&text);
  }
  if (scored.empty()) return;
  auto kl = exact_kl_texts(*request.decoder, &policy, reference, scored);
  auto ours = score_texts(*request.decoder, &policy, scored);
  auto theirs = score_texts(*request.decoder, reference, scored);
  for (size_t i = 0; i < owners.size(); ++i) {
    owners[i]->values = {.kl = std::move(kl[i]),
                         .logprobs = std::move(ours[i].logprobs),
                         .reference_logprobs = std::move(theirs[i].logprobs)};
  }
}

void spell_out(const Tokenizer& tokenizer, KlReportText& text) {
  const std::span<const int64_t> ids(text.ids);
  const auto begin = std::min(ids.size(), static_cast<size_t>(text.answer_begin));
  text.text = tokenizer.decode(ids);
  text.context = tokenizer.decode(ids.first(begin));
  for (const int64_t id : ids.subspan(begin)) text.tokens.push_back(tokenizer.decode({&id, 1}));
}

}  // namespace

bool any_sampled(const KlReport& report) {
  return std::ranges::any_of(report.policies.front().texts, &KlReportText::sampled);
}

bool biased_estimates(const KlReport& report) {
  return any_sampled(report) && report.generation.sampling.temperature != 1.0;
}

KlReport make_kl_report(const KlReportRequest& request) {
  TORCH_CHECK(request.policies.size() == request.policy_adapters.size(),
              "one name for each policy");
  KlReport report{request.model, request.reference, request.generation, request.samples,
                  /*policies=*/{}};
  for (size_t i = 0; i < request.policies.size(); ++i) {
    KlPolicyReport policy;
    policy.policy = request.policies[i];
    policy.texts = collect_texts(request, request.policy_adapters[i]);
    score_all(request, request.policy_adapters[i], policy.texts);
    std::vector<KlText> values;
    for (KlReportText& text : policy.texts) {
      spell_out(request.tokenizer, text);
      text.values.prompt = text.line;
      values.push_back(text.values);
    }
    policy.summary = summarize_kl(values);
    report.policies.push_back(std::move(policy));
  }
  return report;
}

void write_kl_report(const KlReport& report, const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  write_text_file(folder / "report.json", kl_report_json(report) + "\n");
  write_text_file(folder / "report.html", kl_report_page(report));
}

}  // namespace leash
