#include "rl/data/labelled_texts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <variant>

#include "models/errors.h"
#include "models/grouped_digits.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/cut_text.h"
#include "rl/data/encode.h"
#include "rl/data/held_out.h"
#include "rl/data/jsonl.h"

namespace leash {
namespace {

using Json = nlohmann::ordered_json;
using Label = std::variant<int64_t, std::string>;  // as the file has it

constexpr int64_t kMostClasses = 10000;

Label label_of(const Json& json) {
  const auto found = json.find("label");
  if (found == json.end()) throw FormatError("needs a `label`");
  if (found->is_string()) return found->get<std::string>();
  // A number above int64's range is unsigned for the parser and must not wrap.
  const bool number = found->is_number_integer() &&
                      !(found->is_number_unsigned() && found->get<uint64_t>() > INT64_MAX);
  if (!number || found->get<int64_t>() < 0 || found->get<int64_t>() >= kMostClasses) {
    throw FormatError(
        fmt::format("`label` has to be a name, or a whole number from 0 to {}", kMostClasses - 1));
  }
  return found->get<int64_t>();
}

std::string quoted(const Label& label) {
  if (const auto* number = std::get_if<int64_t>(&label)) return fmt::format("{}", *number);
  return fmt::format("`{}`", std::get<std::string>(label));
}

// The classes that labels may say, and how.
struct Classes {
  ClassNames names;
  std::string origin;         // as in KnownClasses
  bool have_numbers = false;  // the order is known, so that a number says a name
};

std::string shown(const Classes& classes) {
  const auto count = std::min<size_t>(classes.names.size(), 20);
  return fmt::format("none of the classes{}{} (0 to {}: {})", classes.origin.empty() ? "" : " of ",
                     classes.origin, classes.names.size() - 1,
                     fmt::join(std::span(classes.names).first(count), ", "));
}

int64_t index_of(const Label& label, const Classes& classes) {
  if (const auto* number = std::get_if<int64_t>(&label)) {
    if (!classes.have_numbers) {
      throw FormatError(
          fmt::format("label {} is a number, but data.train names the classes, and nothing gives "
                      "their order (data.labels does)",
                      *number));
    }
    if (*number < static_cast<int64_t>(classes.names.size())) return *number;
  } else {
    const auto found = std::ranges::find(classes.names, std::get<std::string>(label));
    if (found != classes.names.end()) return found - classes.names.begin();
  }
  throw FormatError(fmt::format("label {} is {}", quoted(label), shown(classes)));
}

// Reads one line after the other. Without classes the labels are kept as they are, and numbered
// when all are known.
class TextReader {
 public:
  TextReader(const Tokenizer& tokenizer, const LabelledDataConfig& config, int64_t context)
      : tokenizer_(tokenizer),
        config_(config),
        limit_{.max_length = std::min(config.max_length.value_or(context), context),
               .mode = config.truncation_mode} {}

  void read(const Json& json, int64_t line, const Classes* classes) {
    LabelledText text = text_of(json);
    const Label label = label_of(json);
    if (classes != nullptr) {
      text.label = index_of(label, *classes);
    } else {
      if (!labels_.empty() && labels_[0].index() != label.index()) {
        throw FormatError("`label` is a name on some lines and a number on others");
      }
      labels_.push_back(label);
    }
    text.line = line;
    text.id = static_cast<uint64_t>(data_.counts.texts);
    data_.counts.add(text);
    data_.texts.push_back(std::move(text));
  }

  // The classes of the labels that were kept; the labels become their indices.
  Classes number_labels(const KnownClasses& known) {
    const std::set<Label> different(labels_.begin(), labels_.end());
    const bool numbers = !different.empty() && std::holds_alternative<int64_t>(*different.begin());
    Classes classes{.names = {}, .origin = {}, .have_numbers = numbers};
    if (!numbers) {
      for (const Label& label : different) classes.names.push_back(std::get<std::string>(label));
    } else if (known.numbered > 0) {
      classes.names = numbered_classes(known.numbered);
      classes.origin = known.origin;
    } else {
      classes.names = numbered_classes(std::get<int64_t>(*different.rbegin()) + 1);
      require_all(different, classes);
    }
    for (size_t i = 0; i < data_.texts.size(); ++i) {
      try {
        data_.texts[i].label = index_of(labels_[i], classes);
      } catch (const FormatError& error) {
        throw FormatError(
            fmt::format("{}:{}: {}", config_.train.string(), data_.texts[i].line, error.what()));
      }
    }
    return classes;
  }
  LabelledData take() { return std::move(data_); }
  const TextLimit& limit() const { return limit_; }

 private:
  void require_all(const std::set<Label>& numbers, const Classes& classes) const {
    for (int64_t number = 0; number < static_cast<int64_t>(classes.names.size()); ++number) {
      if (numbers.contains(number)) continue;
      throw FormatError(fmt::format(
          "{}: labels go up to {}, but no line has {}; data.labels names classes that have no "
          "text to learn from",
          config_.train.string(), classes.names.size() - 1, number));
    }
  }

  LabelledText text_of(const Json& json) const {
    const auto text = json.find("text"), messages = json.find("messages");
    if ((text == json.end()) == (messages == json.end())) {
      throw FormatError("needs either `text` or `messages`");
    }
    LabelledText result;
    CutText tokens;
    if (messages != json.end()) {
      check_chat_template(tokenizer_);
      const std::vector<ChatMessage> chat = messages_of(*messages, "messages");
      for (const ChatMessage& message : chat) {
        result.text += (result.text.empty() ? "" : "\n") + message.content;
      }
      tokens = cut_conversation(tokenizer_, chat, limit_, chat_options_of(json));
    } else {
      if (!text->is_string()) throw FormatError("`text` has to be a text");
      result.text = text->get<std::string>();
      tokens = cut_text(tokenizer_, result.text, limit_);
    }
    if (tokens.ids.empty()) throw FormatError("a text without a token has no class");
    result.ids = std::move(tokens.ids);
    result.cut = tokens.cut;
    return result;
  }

  const Tokenizer& tokenizer_;
  const LabelledDataConfig& config_;
  TextLimit limit_;
  LabelledData data_;
  std::vector<Label> labels_;
};

// With classes of no names, those that the file names become the classes; but not those of held-out
// texts, which are read without any only where the training data could not be.
LabelledData read_file(const std::filesystem::path& file, TextReader& reader, Classes& classes,
                       bool held_out, const KnownClasses& known_before = {}) {
  const Classes* known = classes.names.empty() ? nullptr : &classes;
  for_each_json_line(file, {{"text", "messages", "label", "tools", "chat_template_kwargs"}},
                     [&](const Json& json, int64_t line) { reader.read(json, line, known); });
  if (known == nullptr && !held_out) classes = reader.number_labels(known_before);
  LabelledData data = reader.take();
  if (data.texts.empty()) throw FormatError(file.string() + ": holds no texts");
  return data;
}

// Takes a part of the training texts away, in the file's order.
LabelledData hold_out(LabelledData& train, double part, uint64_t seed) {
  LabelledData eval;
  eval.texts = take_held_out(train.texts, draw_held_out(train.counts.texts, part, seed, "texts"));
  for (const LabelledText& text : eval.texts) eval.counts.add(text);
  train.counts = {};
  for (const LabelledText& text : train.texts) train.counts.add(text);
  return eval;
}

}  // namespace

ClassNames numbered_classes(int64_t count) {
  ClassNames names;
  for (int64_t i = 0; i < count; ++i) names.push_back(fmt::format("LABEL_{}", i));
  return names;
}

void LabelledCounts::add(const LabelledText& text) {
  ++texts;
  tokens += std::ssize(text.ids);
  cut_tokens += text.cut;
  if (text.cut > 0) ++truncated;
}

std::string LabelledData::summary(const ClassNames& classes) const {
  std::vector<int64_t> sizes(classes.size(), 0);
  for (const LabelledText& text : texts) ++sizes[static_cast<size_t>(text.label)];
  std::vector<std::string> parts;
  for (size_t i = 0; i < classes.size() && i < 20; ++i) {
    parts.push_back(fmt::format("{} {}", classes[i], grouped_digits(sizes[i])));
  }
  if (classes.size() > parts.size()) parts.emplace_back("…");
  std::string line = fmt::format("{} texts, {} tokens: {}", grouped_digits(counts.texts),
                                 grouped_digits(counts.tokens), fmt::join(parts, ", "));
  if (counts.truncated > 0) {
    line += fmt::format("; {} truncated by {} tokens in all", grouped_digits(counts.truncated),
                        grouped_digits(counts.cut_tokens));
  }
  return line;
}

LabelledDataSets read_labelled_data_sets(const LabelledDataConfig& config,
                                         const Tokenizer& tokenizer, int64_t context, uint64_t seed,
                                         const KnownClasses& known) {
  Classes classes{.names = config.labels, .origin = {}, .have_numbers = true};
  if (classes.names.empty()) {
    classes.names = known.names;
    classes.origin = known.origin;
  }
  LabelledDataSets sets;
  TextReader reader(tokenizer, config, context), held_out(tokenizer, config, context);
  sets.limit = reader.limit();
  read_both([&] { sets.train = read_file(config.train, reader, classes, false, known); },
            [&] {
              if (config.eval) sets.eval = read_file(*config.eval, held_out, classes, true);
            });
  if (classes.names.size() < 2) {
    throw FormatError(
        fmt::format("{}: all texts have the same label; there is nothing to tell "
                    "apart (data.labels names the classes)",
                    config.train.string()));
  }
  if (!config.eval && config.eval_split > 0) {
    sets.eval = hold_out(sets.train, config.eval_split, seed);
  }
  sets.classes = std::move(classes.names);
  return sets;
}

}  // namespace leash
