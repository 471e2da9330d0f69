#include "rl/reward/score_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/printable.h"

namespace leash {
namespace {

constexpr size_t kParts = 10;
constexpr size_t kMostShown = 3;
constexpr double kFarApart = 0.5;

double plain_mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::vector<double> scores_of_source(const ScoreTable& table, size_t source) {
  std::vector<double> scores;
  for (const ScoredAnswer& answer : table.answers) scores.push_back(answer.scores[source]);
  return scores;
}

std::vector<double> totals_of(const ScoreTable& table) {
  std::vector<double> totals;
  for (const ScoredAnswer& answer : table.answers) totals.push_back(answer.total);
  return totals;
}

std::vector<double> answer_lengths(const ScoreTable& table) {
  std::vector<double> lengths;
  for (const ScoredAnswer& answer : table.answers) {
    lengths.push_back(static_cast<double>(answer.tokens));
  }
  return lengths;
}

// Of each value among all, from 0 to 1; equal ones share the middle of theirs.
std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<double> sorted = values;
  std::ranges::sort(sorted);
  const double most = std::max<double>(1, static_cast<double>(values.size()) - 1);
  std::vector<double> ranks;
  for (const double value : values) {
    const auto [begin, end] = std::ranges::equal_range(sorted, value);
    const double first = static_cast<double>(begin - sorted.begin());
    const double last = static_cast<double>(end - sorted.begin()) - 1;
    ranks.push_back((first + last) / 2 / most);
  }
  return ranks;
}

std::string histogram_bars(const std::vector<int64_t>& histogram) {
  constexpr std::string_view kBars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const int64_t most = std::max<int64_t>(1, std::ranges::max(histogram));
  std::string text;
  for (const int64_t count : histogram) {
    text += kBars[static_cast<size_t>((count * 8 + most - 1) / most)];
  }
  return text;
}

std::string source_row(const std::string& name, const std::vector<double>& values,
                       const std::vector<double>& lengths, std::optional<double> seconds) {
  const Distribution all = distribution_of(values);
  const auto with_length = correlation(values, lengths);
  return fmt::format("{:<20} {:>10.4g} {:>10.4g} {:>10.4g} {:>10.4g} {:>10.4g} {:>9} {:>8}  {}\n",
                     printable(name, 20), all.mean, all.deviation, all.least, all.median, all.most,
                     with_length ? fmt::format("{:.2f}", *with_length) : "-",
                     seconds ? fmt::format("{:.2f} s", *seconds) : "",
                     histogram_bars(all.histogram));
}

std::string answer_rows(const ScoreTable& table, size_t shown) {
  std::string text = fmt::format("\n{:>6}", "answer");
  for (const std::string& label : table.labels)
    text += fmt::format(" {:>12}", printable(label, 12));
  text += fmt::format(" {:>12}  text\n", "total");
  const size_t count = std::min(shown, table.answers.size());
  for (size_t i = 0; i < count; ++i) {
    const ScoredAnswer& one = table.answers[i];
    text += fmt::format("{:>6}", i + 1);
    for (const double score : one.scores) text += fmt::format(" {:>12.5g}", score);
    text += fmt::format(" {:>12.5g}  {}\n", one.total, printable(one.answer, 60));
  }
  if (count < table.answers.size()) {
    text += fmt::format("   … {} more (--show {}, or --json)\n", table.answers.size() - count,
                        table.answers.size());
  }
  return text;
}

std::string disagreement_text(const ScoreTable& table, const Disagreement& one) {
  const std::string& first = table.labels[one.first];
  const std::string& second = table.labels[one.second];
  std::string text =
      fmt::format("\n{} and {}: correlation {}\n", printable(first), printable(second),
                  one.correlation ? fmt::format("{:.2f}", *one.correlation)
                                  : "unknown (one of both "
                                    "says the same of all)");
  for (const size_t index : one.answers) {
    const ScoredAnswer& answer = table.answers[index];
    text +=
        fmt::format("  answer {}: {:.5g} against {:.5g}: {}\n", index + 1, answer.scores[one.first],
                    answer.scores[one.second], printable(answer.answer, 100));
  }
  return text;
}

nlohmann::ordered_json distribution_json(const std::vector<double>& values) {
  const Distribution all = distribution_of(values);
  return {{"mean", all.mean},          {"std", all.deviation}, {"min", all.least},
          {"median", all.median},      {"max", all.most},      {"different", all.different},
          {"histogram", all.histogram}};
}

nlohmann::ordered_json value_or_null(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

nlohmann::ordered_json summary_json(const ScoreTable& table) {
  nlohmann::ordered_json sources = nlohmann::ordered_json::array();
  for (size_t i = 0; i < table.labels.size(); ++i) {
    const std::vector<double> scores = scores_of_source(table, i);
    nlohmann::ordered_json source = {{"label", table.labels[i]}};
    source.update(distribution_json(scores));
    source["corr_length"] = value_or_null(correlation(scores, answer_lengths(table)));
    source["seconds"] = table.seconds[i];
    sources.push_back(std::move(source));
  }
  nlohmann::ordered_json pairs = nlohmann::ordered_json::array();
  for (const Disagreement& one : disagreements(table)) {
    pairs.push_back({{"sources", {table.labels[one.first], table.labels[one.second]}},
                     {"correlation", value_or_null(one.correlation)},
                     {"answers", one.answers}});
  }
  return {{"answers", table.answers.size()},
          {"sources", sources},
          {"total", distribution_json(totals_of(table))},
          {"normalizes", table.normalizes},
          {"disagreements", pairs}};
}

}  // namespace

Distribution distribution_of(std::vector<double> values) {
  Distribution all;
  if (values.empty()) return all;
  std::ranges::sort(values);
  all.mean = plain_mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - all.mean) * (value - all.mean);
  if (values.size() > 1)
    all.deviation = std::sqrt(squares / static_cast<double>(values.size() - 1));
  all.least = values.front();
  all.most = values.back();
  const size_t half = values.size() / 2;
  all.median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  const double width = all.most - all.least;
  all.histogram.assign(width > 0 ? kParts : 1, 0);
  for (size_t i = 0; i < values.size(); ++i) {
    all.different += i == 0 || values[i] != values[i - 1] ? 1 : 0;
    const auto part =
        width > 0 ? static_cast<size_t>((values[i] - all.least) / width * kParts) : size_t{0};
    ++all.histogram[std::min(part, all.histogram.size() - 1)];
  }
  return all;
}

std::optional<double> correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto constant = [](const std::vector<double>& values) {
    return values.empty() || std::ranges::all_of(values, [&](double v) { return v == values[0]; });
  };
  if (constant(a) || constant(b)) return std::nullopt;
  const double mean_a = plain_mean(a), mean_b = plain_mean(b);
  double both = 0, of_a = 0, of_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    both += (a[i] - mean_a) * (b[i] - mean_b);
    of_a += (a[i] - mean_a) * (a[i] - mean_a);
    of_b += (b[i] - mean_b) * (b[i] - mean_b);
  }
  const double norm = std::sqrt(of_a) * std::sqrt(of_b);
  if (!(norm > 0)) return std::nullopt;
  return std::clamp(both / norm, -1.0, 1.0);
}

std::vector<Disagreement> disagreements(const ScoreTable& table) {
  std::vector<std::vector<double>> scores, ranks;
  for (size_t i = 0; i < table.labels.size(); ++i) {
    scores.push_back(scores_of_source(table, i));
    ranks.push_back(ranks_of(scores.back()));
  }
  std::vector<Disagreement> all;
  for (size_t a = 0; a < scores.size(); ++a) {
    for (size_t b = a + 1; b < scores.size(); ++b) {
      Disagreement one{.first = a, .second = b, .correlation = correlation(scores[a], scores[b])};
      const auto apart = [&](size_t i) { return std::abs(ranks[a][i] - ranks[b][i]); };
      for (size_t i = 0; i < table.answers.size(); ++i) {
        if (apart(i) > kFarApart) one.answers.push_back(i);
      }
      std::ranges::stable_sort(one.answers, std::greater(), apart);
      one.answers.resize(std::min(one.answers.size(), kMostShown));
      all.push_back(std::move(one));
    }
  }
  return all;
}

std::string score_table_text(const ScoreTable& table, size_t shown) {
  const std::vector<double> lengths = answer_lengths(table);
  std::string text = fmt::format("{:<20} {:>10} {:>10} {:>10} {:>10} {:>10} {:>9} {:>8}  {}\n",
                                 fmt::format("{} answers", table.answers.size()), "mean", "std",
                                 "min", "median", "max", "~ length", "time", "min … max");
  for (size_t i = 0; i < table.labels.size(); ++i) {
    text += source_row(table.labels[i], scores_of_source(table, i), lengths, table.seconds[i]);
  }
  text += source_row("total", totals_of(table), lengths, std::nullopt);
  if (table.normalizes) {
    text += "(a run normalises some of them; totals here are of the scores themselves)\n";
  }
  text += answer_rows(table, shown);
  for (const Disagreement& one : disagreements(table)) text += disagreement_text(table, one);
  return text;
}

std::vector<nlohmann::ordered_json> score_table_lines(const ScoreTable& table) {
  std::vector<nlohmann::ordered_json> lines;
  for (size_t i = 0; i < table.answers.size(); ++i) {
    const ScoredAnswer& one = table.answers[i];
    nlohmann::ordered_json scores;
    for (size_t source = 0; source < table.labels.size(); ++source) {
      scores[table.labels[source]] = one.scores[source];
    }
    lines.push_back({{"index", i},
                     {"prompt", one.prompt},
                     {"answer", one.answer},
                     {"ended", one.ended},
                     {"tokens", one.tokens},
                     {"scores", scores},
                     {"total", one.total}});
  }
  lines.push_back({{"summary", summary_json(table)}});
  return lines;
}

}  // namespace leash
