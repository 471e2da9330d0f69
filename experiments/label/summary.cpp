#include "experiments/label/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "rl/statistics/clustered_statistics.h"
#include "rl/statistics/interval_json.h"

namespace leash::label {
namespace {

// Characters, not bytes: those that begin one.
int64_t characters_of(const Json& content) {
  const std::string text = shown_text(content);
  return std::ranges::count_if(text,
                               [](char c) { return (static_cast<uint8_t>(c) & 0xC0) != 0x80; });
}

// What is agreed on, whatever side it stood on.
int category_of(const Judgement& judgement) {
  if (const auto preferred = judgement.preferred()) return *preferred;
  return judgement.verdict == Verdict::tie ? 2 : 3;
}

// Shares over judgements, with a group per prompt.
struct Shares {
  std::vector<double> left, longer;
  std::vector<int64_t> left_prompts, longer_prompts;

  void add(const Judged& judged, int64_t prompt) {
    const auto preferred = judged.judgement->preferred();
    if (!preferred) return;
    left.push_back(judged.judgement->verdict == Verdict::left ? 1 : 0);
    left_prompts.push_back(prompt);
    const int64_t first = characters_of(judged.pair->answers[0].content);
    const int64_t second = characters_of(judged.pair->answers[1].content);
    if (first == second) return;
    longer.push_back((*preferred == 0) == (first > second) ? 1 : 0);
    longer_prompts.push_back(prompt);
  }
};

PersonSummary person_of(const std::string& user, const std::vector<Judged>& judged,
                        const std::map<std::string, int64_t>& prompts) {
  PersonSummary person{.user = user};
  Shares shares;
  for (const Judged& one : judged) {
    if (!user.empty() && one.judgement->user != user) continue;
    ++person.counts[one.judgement->verdict];
    person.comments += one.judgement->comment.empty() ? 0 : 1;
    const std::string& time = one.judgement->time;
    if (person.first_time.empty() || time < person.first_time) person.first_time = time;
    if (time > person.last_time) person.last_time = time;
    shares.add(one, prompts.at(one.pair->prompt.dump()));
  }
  person.left = clustered_share(shares.left, shares.left_prompts);
  person.longer = clustered_share(shares.longer, shares.longer_prompts);
  return person;
}

std::string agreement_text(const Agreement& agreement) {
  const auto things = [&] {
    return fmt::format("{} {}, {:.0f} % equal", agreement.items,
                       agreement.items == 1 ? "pair" : "pairs", 100 * agreement.observed);
  };
  if (agreement.items == 0) return "no pair was judged by two";
  if (!agreement.chance_corrected)
    return fmt::format("not defined: all say the same ({})", things());
  if (!agreement.ci95) return fmt::format("{:.2f} ({})", *agreement.chance_corrected, things());
  return fmt::format("{:.2f} [{:.2f}, {:.2f}] ({})", *agreement.chance_corrected,
                     agreement.ci95->low, agreement.ci95->high, things());
}

Json agreement_json(const Agreement& agreement) {
  Json json = {{"value", nullptr},
               {"ci95", nullptr},
               {"pairs", agreement.items},
               {"judgements", agreement.values},
               {"equal", agreement.observed}};
  if (agreement.chance_corrected) json["value"] = *agreement.chance_corrected;
  if (agreement.ci95) json["ci95"] = {agreement.ci95->low, agreement.ci95->high};
  return json;
}

std::string share_text(const MeanInterval& share) {
  if (share.n == 0) return "–";
  if (!share.ci95) return fmt::format("{:.2f} of {}", share.mean, share.n);
  return fmt::format("{:.2f} [{:.2f}, {:.2f}] of {}", share.mean, share.ci95->low, share.ci95->high,
                     share.n);
}

std::string person_text(const PersonSummary& person, const std::string& name) {
  std::string counts;
  for (const auto& [verdict, word] : EnumNames<Verdict>::values) {
    const auto found = person.counts.find(verdict);
    if (found != person.counts.end()) counts += fmt::format(", {} {}", found->second, word);
  }
  return fmt::format("{}: {}\n  left preferred {}; longer preferred {}\n", name,
                     counts.empty() ? "nothing judged" : counts.substr(2), share_text(person.left),
                     share_text(person.longer));
}

Json person_json(const PersonSummary& person) {
  Json json = {{"user", person.user}};
  for (const auto& [verdict, word] : EnumNames<Verdict>::values) {
    const auto found = person.counts.find(verdict);
    json[std::string(word)] = found == person.counts.end() ? 0 : found->second;
  }
  json["comments"] = person.comments;
  json["first_time"] = person.first_time;
  json["last_time"] = person.last_time;
  json["left_preferred"] = interval_json(person.left);
  json["left_preferred"]["judgements"] = person.left.n;
  json["longer_preferred"] = interval_json(person.longer);
  json["longer_preferred"]["judgements"] = person.longer.n;
  return json;
}

// What each person said of each pair that they judged.
using Said = std::map<std::string, std::map<std::string, int>>;  // user, pair

void add_cohen(const Said& said, uint64_t seed, LabelSummary& summary) {
  for (auto a = said.begin(); a != said.end(); ++a) {
    for (auto b = std::next(a); b != said.end(); ++b) {
      std::vector<int> of_a, of_b;
      for (const auto& [pair, category] : a->second) {
        const auto other = b->second.find(pair);
        if (other == b->second.end()) continue;
        of_a.push_back(category);
        of_b.push_back(other->second);
      }
      if (of_a.empty()) continue;
      summary.cohen.push_back({a->first, b->first, cohen_kappa(of_a, of_b, seed)});
    }
  }
}

}  // namespace

LabelSummary summarise(const std::vector<Judged>& judged, uint64_t seed) {
  std::map<std::string, int64_t> prompts;
  std::map<std::string, std::vector<int>> by_pair;
  std::set<std::string> users;
  Said said;
  for (const Judged& one : judged) {
    prompts.emplace(one.pair->prompt.dump(), static_cast<int64_t>(prompts.size()));
    users.insert(one.judgement->user);
    if (one.judgement->verdict == Verdict::skip) continue;
    by_pair[one.pair->id].push_back(category_of(*one.judgement));
    said[one.judgement->user][one.pair->id] = category_of(*one.judgement);
  }
  LabelSummary summary{.pairs = static_cast<int64_t>(by_pair.size())};
  std::vector<std::vector<int>> things;
  for (const auto& [pair, categories] : by_pair) {
    summary.shared += categories.size() > 1 ? 1 : 0;
    things.push_back(categories);
  }
  for (const std::string& user : users) summary.people.push_back(person_of(user, judged, prompts));
  summary.everybody = person_of("", judged, prompts);
  summary.krippendorff = krippendorff_alpha(things, seed);
  add_cohen(said, seed, summary);
  return summary;
}

LabelSummary summarise_state(const LabelSession::State& state, uint64_t seed) {
  std::map<std::string, const LabelPair*> pairs;
  for (const LabelPair& pair : state.pairs) pairs.emplace(pair.id, &pair);
  std::vector<Judged> judged;
  for (const Judgement& judgement : state.judgements) {
    judged.push_back({pairs.at(judgement.pair), &judgement});
  }
  return summarise(judged, seed);
}

std::string summary_text(const LabelSummary& summary) {
  std::string text = fmt::format("{} pairs judged, {} of them by more than one person\n",
                                 summary.pairs, summary.shared);
  for (const PersonSummary& person : summary.people) text += person_text(person, person.user);
  if (summary.people.size() < 2) return text;
  text += person_text(summary.everybody, "everybody");
  text +=
      fmt::format("agreement, Krippendorff's alpha: {}\n", agreement_text(summary.krippendorff));
  for (const auto& two : summary.cohen) {
    text += fmt::format("agreement of {} and {}, Cohen's kappa: {}\n", two.a, two.b,
                        agreement_text(two.cohen));
  }
  return text;
}

Json summary_json(const LabelSummary& summary) {
  Json json = {{"pairs", summary.pairs},
               {"shared", summary.shared},
               {"people", Json::array()},
               {"everybody", person_json(summary.everybody)},
               {"krippendorff_alpha", agreement_json(summary.krippendorff)},
               {"cohen_kappa", Json::array()}};
  json["everybody"].erase("user");
  for (const PersonSummary& person : summary.people) json["people"].push_back(person_json(person));
  for (const auto& two : summary.cohen) {
    Json entry = {{"users", {two.a, two.b}}};
    entry.update(agreement_json(two.cohen));
    json["cohen_kappa"].push_back(std::move(entry));
  }
  return json;
}

}  // namespace leash::label
