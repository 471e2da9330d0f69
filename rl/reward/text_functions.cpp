#include "rl/reward/text_functions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/printable.h"
#include "models/text/utf8.h"
#include "rl/answers/column.h"
#include "rl/answers/pattern.h"
#include "rl/answers/shape.h"
#include "rl/statistics/words.h"

namespace leash {
namespace {

using Row = nlohmann::ordered_json;

double parameter_of(const RewardConfig& config, const char* name, double otherwise) {
  const auto found = config.parameters.find(name);
  return found == config.parameters.end() ? otherwise : found->second;
}

// A scorer whose rule is the recipe's, or is made of the column of each record by `read`, which
// throws FormatError or ConfigError for one that is not understood.
template <class Rule, class Read, class Score>
Scorer scorer_of(const std::optional<std::string>& column, std::shared_ptr<const Rule> rule,
                 Read read, Score score) {
  const auto of_row = [column, read](const Row* row) {
    try {
      return read(column_of(row, *column), *column);
    } catch (const ConfigError& error) {
      throw FormatError(fmt::format("the column `{}`: {}", printable(*column), error.what()));
    }
  };
  if (!column) {
    return {.score = [rule, score](const RewardSample& sample) { return score(*rule, sample); },
            .check_row = {}};
  }
  return {
      .score = [of_row, score](
                   const RewardSample& sample) { return score(of_row(sample.row.get()), sample); },
      .check_row = [of_row](const Row* row) { (void)of_row(row); }};
}

// What n-grams are made of: equal units have equal numbers.
std::vector<int64_t> text_units(const RewardSample& sample, TextUnit unit) {
  std::vector<int64_t> units;
  if (unit == TextUnit::tokens) return sample.token_ids;
  if (unit == TextUnit::words) {
    std::map<std::string, int64_t> numbers;
    for (const std::string& word : words_of(sample.answer)) {
      units.push_back(numbers.emplace(word, std::ssize(numbers)).first->second);
    }
    return units;
  }
  std::string storage;
  for_each_char(replace_invalid(sample.answer, storage),
                [&](char32_t c, std::string_view) { units.push_back(c); });
  return units;
}

using Lexicon = std::map<std::string, double>;

// Under the folded form of a text that is one word.
void add_word(Lexicon& lexicon, const std::string& text, double value) {
  const auto words = words_of(text);
  if (words.size() != 1) throw FormatError(fmt::format("\"{}\" is not one word", printable(text)));
  lexicon[words.front()] = value;
}

Lexicon lexicon_of(const Row& value, const std::string& column) {
  Lexicon lexicon;
  if (value.is_object()) {
    for (const auto& [word, worth] : value.items()) {
      add_word(lexicon, word, column_number(worth, column + "." + word));
    }
  } else {
    for (const std::string& word : column_texts(value, column)) add_word(lexicon, word, 1);
  }
  return lexicon;
}

// A letter of one of the scripts.
Pattern letters_of(const std::vector<std::string>& scripts) {
  std::string classes;
  for (const std::string& script : scripts) {
    const bool plain = !script.empty() && std::ranges::all_of(script, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    });
    if (!plain) throw ConfigError(fmt::format("\"{}\" is no script's name", printable(script)));
    classes += fmt::format("\\p{{scx:{}}}", script);
    try {
      Pattern(fmt::format("\\p{{scx:{}}}", script));
    } catch (const ConfigError&) {
      throw ConfigError(
          fmt::format("Unicode has no script \"{}\" (as Latin, Cyrillic, Han, Arabic)", script));
    }
  }
  return Pattern(fmt::format("(?=[{}])\\p{{L}}", classes));
}

template <class T>
std::shared_ptr<const T> held(T value) {
  return std::make_shared<const T>(std::move(value));
}

}  // namespace

Scorer regex_reward(const RewardConfig& config) {
  std::shared_ptr<const Pattern> pattern;
  if (config.pattern) pattern = held(Pattern(*config.pattern));
  return scorer_of(
      config.column, pattern,
      [](const Row& value, const std::string& name) { return Pattern(column_text(value, name)); },
      [](const Pattern& rule, const RewardSample& sample) {
        return rule.found_in(sample.answer) ? 1.0 : 0.0;
      });
}

Scorer json_schema_reward(const RewardConfig& config) {
  std::shared_ptr<const JsonShape> shape;
  if (!config.schema.text.empty()) {
    shape = held(JsonShape(parse_ordered_json(config.schema.text, "schema")));
  }
  return scorer_of(
      config.column, shape,
      [](const Row& value, const std::string& name) {
        return JsonShape(value.is_string() ? parse_ordered_json(value.get<std::string>(), name)
                                           : value);
      },
      [](const JsonShape& rule, const RewardSample& sample) {
        const auto json = json_answer(sample.answer);
        return json && rule.fits(*json) ? 1.0 : 0.0;
      });
}

Scorer length_reward(const RewardConfig& config) {
  const double tolerance = parameter_of(config, "tolerance", 0);
  const TextUnit unit = config.unit.value_or(TextUnit::words);
  return scorer_of(
      config.column, held(parameter_of(config, "target", 0)),
      [](const Row& value, const std::string& name) { return column_number(value, name); },
      [unit, tolerance](double target, const RewardSample& sample) {
        const auto length = static_cast<double>(text_units(sample, unit).size());
        return -std::max(0.0, std::abs(length - target) - tolerance);
      });
}

Scorer repetition_reward(const RewardConfig& config) {
  const auto n = static_cast<size_t>(parameter_of(config, "n", 3));
  const TextUnit unit = config.unit.value_or(TextUnit::words);
  return {.score =
              [n, unit](const RewardSample& sample) {
                const std::vector<int64_t> units = text_units(sample, unit);
                if (units.size() < n) return 0.0;
                std::set<std::vector<int64_t>> different;
                const size_t all = units.size() - n + 1;
                for (size_t i = 0; i < all; ++i) {
                  const auto begin = units.begin() + static_cast<int64_t>(i);
                  different.emplace(begin, begin + static_cast<int64_t>(n));
                }
                return -static_cast<double>(all - different.size()) / static_cast<double>(all);
              },
          .check_row = {}};
}

Scorer lexicon_reward(const RewardConfig& config) {
  Lexicon lexicon;
  for (const std::string& word : config.words) add_word(lexicon, word, 1);
  for (const auto& [word, value] : config.lexicon) add_word(lexicon, word, value);
  return scorer_of(config.column, held(lexicon), lexicon_of,
                   [](const Lexicon& rule, const RewardSample& sample) {
                     const auto words = words_of(sample.answer);
                     double sum = 0;
                     for (const std::string& word : words) {
                       const auto found = rule.find(word);
                       if (found != rule.end()) sum += found->second;
                     }
                     return words.empty() ? 0.0 : sum / static_cast<double>(words.size());
                   });
}

Scorer language_reward(const RewardConfig& config) {
  const Pattern letter("\\p{L}");
  std::shared_ptr<const Pattern> scripts;
  if (!config.scripts.empty()) scripts = held(letters_of(config.scripts));
  return scorer_of(
      config.column, scripts,
      [](const Row& value, const std::string& name) {
        return letters_of(column_texts(value, name));
      },
      [letter](const Pattern& rule, const RewardSample& sample) {
        const int64_t letters = letter.count_in(sample.answer);
        if (letters == 0) return 0.0;
        return static_cast<double>(rule.count_in(sample.answer)) / static_cast<double>(letters);
      });
}

Scorer distinct_words_reward(const RewardConfig& config) {
  std::set<std::string> words;
  for (const std::string& word : config.words) words.insert(words_of(word).front());
  const double cap = parameter_of(config, "cap", std::numeric_limits<double>::infinity());
  return {.score =
              [words, cap](const RewardSample& sample) {
                std::set<std::string> found;
                for (const std::string& word : words_of(sample.answer)) {
                  if (words.contains(word)) found.insert(word);
                }
                return std::min(cap, static_cast<double>(found.size()));
              },
          .check_row = {}};
}

Scorer distinct_bigrams_reward() {
  return {
      .score =
          [](const RewardSample& sample) { return distinct_bigram_share(words_of(sample.answer)); },
      .check_row = {}};
}

}  // namespace leash
