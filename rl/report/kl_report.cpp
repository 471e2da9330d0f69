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
  text.group = input.group;
  return text;
}

// Every policy answers with the same draws, so that differences between policies are their own.
std::vector<KlReportText> sample_answers(const KlReportRequest& request, const Adapter* policy) {
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
  const auto answers = engine.generate(prompts, policy, request.generation);
  for (size_t i = 0; i < answers.size(); ++i) {
    texts[i].ids.insert(texts[i].ids.end(), answers[i].token_ids.begin(),
                        answers[i].token_ids.end());
  }
  return texts;
}

// The texts of one policy in the order of the input.
std::vector<KlReportText> collect_texts(const KlReportRequest& request, const Adapter& policy) {
  std::vector<KlReportText> answers = sample_answers(request, &policy);
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

const Adapter* reference_of(const KlReportRequest& request) {
  return request.reference_adapter ? &*request.reference_adapter : nullptr;
}

void tell(const KlReportRequest& request, const std::string& what) {
  if (request.progress) request.progress(what);
}

std::vector<ScoredText> scored_texts(const std::vector<KlReportText>& texts) {
  std::vector<ScoredText> scored;
  for (const KlReportText& text : texts) scored.push_back({text.ids, text.answer_begin});
  return scored;
}

Divergences score_all(const KlReportRequest& request, const Adapter& policy,
                      const std::string& name, std::vector<KlReportText>& texts) {
  Divergences found = divergence_texts(
      *request.decoder, &policy, reference_of(request), scored_texts(texts), {}, [&](int64_t done) {
        tell(request, fmt::format("{}: scored {}/{} texts", name, done, texts.size()));
      });
  for (size_t i = 0; i < texts.size(); ++i) {
    const TextDivergence& values = found.texts[i];
    texts[i].divergence = values;
    texts[i].values = {.kl = values.kl,
                       .logprobs = values.logprobs,
                       .reference_logprobs = values.reference_logprobs};
  }
  return found;
}

std::vector<int64_t> scored_ids(const KlReportText& text) {
  const auto begin = std::min(std::ssize(text.ids), text.answer_begin);  // nothing scored: nothing
  return {text.ids.begin() + begin, text.ids.end()};
}

AnswerStyle style_of(const KlReportRequest& request, const std::vector<KlReportText>& texts,
                     bool sampled) {
  std::vector<StyledAnswer> answers;
  for (const KlReportText& text : texts) {
    if (text.sampled != sampled) continue;
    const std::vector<int64_t> ids = scored_ids(text);
    answers.push_back({.ids = ids, .text = request.tokenizer.decode(ids)});
  }
  return answer_style(answers, request.patterns);
}

// Bigrams and trigrams together, spelt out.
void add_ngrams(const Tokenizer& tokenizer, const Divergences& divergences,
                KlPolicyReport& policy) {
  constexpr size_t kNgrams = 12;
  std::vector<std::vector<int64_t>> ids;
  for (const KlReportText& text : policy.texts) ids.push_back(scored_ids(text));
  for (const size_t n : {2u, 3u}) {
    const MovedNgrams moved = moved_ngrams(ids, divergences.texts, n, kNgrams);
    for (const MovedNgram& ngram : moved.liked) {
      policy.liked.emplace_back(tokenizer.decode(ngram.ids), ngram);
    }
    for (const MovedNgram& ngram : moved.disliked) {
      policy.disliked.emplace_back(tokenizer.decode(ngram.ids), ngram);
    }
  }
}

void add_drift(const KlReportRequest& request, const Divergences& divergences,
               KlPolicyReport& policy) {
  constexpr size_t kTokens = 20;
  std::vector<DriftText> texts;
  for (const KlReportText& text : policy.texts) {
    texts.push_back({.prompt = text.line, .group = text.group, .values = &text.divergence});
  }
  policy.drift = summarize_drift(texts);
  policy.groups = drift_by_group(texts);
  policy.moved = moved_tokens(divergences, kTokens);
  for (const MovedToken& token : policy.moved.gained) {
    policy.gained_tokens.push_back(request.tokenizer.decode({&token.id, 1}));
  }
  for (const MovedToken& token : policy.moved.lost) {
    policy.lost_tokens.push_back(request.tokenizer.decode({&token.id, 1}));
  }
  add_ngrams(request.tokenizer, divergences, policy);
  policy.style =
      style_of(request, policy.texts, std::ranges::any_of(policy.texts, &KlReportText::sampled));
}

double mean_token_kl(const std::vector<std::vector<double>>& kls) {
  double total = 0, tokens = 0;
  for (const auto& kl : kls) {
    total += sum(kl);
    tokens += static_cast<double>(kl.size());
  }
  return tokens == 0 ? 0 : total / tokens;
}

void add_ablations(const KlReportRequest& request, const Adapter& adapter, KlPolicyReport& policy) {
  std::vector<ScoredText> texts;
  int64_t tokens = 0;
  for (const KlReportText& text : policy.texts) {
    tokens += std::ssize(text.values.kl);
    if (!texts.empty() && tokens > kAblationTokens) break;
    texts.push_back({text.ids, text.answer_begin});
  }
  const auto kl_of = [&](const Adapter& each) {
    return mean_token_kl(exact_kl_texts(*request.decoder, &each, reference_of(request), texts));
  };
  policy.ablation_kl = kl_of(adapter);
  const auto layers = adapted_layers(adapter);
  for (const int64_t layer : layers) {
    tell(request, fmt::format("{}: without layer {}", policy.policy, layer));
    policy.ablations.push_back(
        {.layer = layer, .kl = kl_of(without_layer(*request.decoder, adapter, layer))});
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
  if (std::ranges::any_of(request.inputs, &KlInput::sampled)) {
    tell(request, "the reference answers");
    report.reference_style =
        style_of(request, sample_answers(request, reference_of(request)), /*sampled=*/true);
  }
  for (size_t i = 0; i < request.policies.size(); ++i) {
    KlPolicyReport policy;
    policy.policy = request.policies[i];
    if (i < request.steps.size()) policy.step = request.steps[i];
    tell(request, policy.policy + " answers");
    policy.texts = collect_texts(request, request.policy_adapters[i]);
    const Divergences divergences =
        score_all(request, request.policy_adapters[i], policy.policy, policy.texts);
    std::vector<KlText> values;
    for (KlReportText& text : policy.texts) {
      spell_out(request.tokenizer, text);
      text.values.prompt = text.line;
      values.push_back(text.values);
    }
    policy.summary = summarize_kl(values);
    add_drift(request, divergences, policy);
    policy.weights = weight_drift(*request.decoder, request.policy_adapters[i]);
    if (request.ablate) add_ablations(request, request.policy_adapters[i], policy);
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
