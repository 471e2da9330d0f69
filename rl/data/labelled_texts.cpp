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
#include "models/tokenizer/chat_template.h"
#include "rl/data/encode.h"
#include "rl/data/held_out.h"
#include "rl/data/jsonl.h"

namespace leash {
namespace {

using Json = nlohmann::json;
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

// Reads one line after the other. Without classes the labels are kept as they are, and numbered
// when all are known.
class TextReader {
 public:
  TextReader(const Tokenizer& tokenizer, const LabelledDataConfig& config, int64_t context)
      : tokenizer_(tokenizer),
        config_(config),
        max_length_(std::min(config.max_length.value_or(context), context)) {}

  void read(const Json& json, int64_t line, const ClassNames* classes) {
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
    text.id = static_cast<uint64_t>(data_.counts.texts++);
    truncate(text.ids);
    data_.counts.tokens += static_cast<int64_t>(text.ids.size());
    data_.texts.push_back(std::move(text));
  }

  // Of the labels that were kept, which become their indices.
  ClassNames number_labels() {
    const std::set<Label> different(labels_.begin(), labels_.end());
    ClassNames classes;
    for (const Label& label : different) {
      if (const auto* name = std::get_if<std::string>(&label)) classes.push_back(*name);
    }
    if (classes.empty() && !different.empty()) {
      classes = numbered_classes(std::get<int64_t>(*different.rbegin()) + 1);
      for (int64_t number = 0; number < static_cast<int64_t>(classes.size()); ++number) {
        if (different.contains(number)) continue;
        throw FormatError(fmt::format(
            "{}: labels go up to {}, but no line has {}; data.labels names classes that have no "
            "text to learn from",
            config_.train.string(), classes.size() - 1, number));
      }
    }
    for (size_t i = 0; i < data_.texts.size(); ++i) {
      data_.texts[i].label = index_of(labels_[i], classes);
    }
    return classes;
  }
  LabelledData take() { return std::move(data_); }

 private:
  static int64_t index_of(const Label& label, const ClassNames& classes) {
    const auto count = static_cast<int64_t>(classes.size());
    if (const auto* number = std::get_if<int64_t>(&label)) {
      if (*number < count) return *number;
    } else {
      const auto found = std::ranges::find(classes, std::get<std::string>(label));
      if (found != classes.end()) return found - classes.begin();
    }
    throw FormatError(fmt::format(
        "label {} is none of the classes (0 to {}: {})", quoted(label), count - 1,
        fmt::join(std::span(classes).first(std::min<size_t>(classes.size(), 20)), ", ")));
  }

  LabelledText text_of(const Json& json) const {
    const auto text = json.find("text"), messages = json.find("messages");
    if ((text == json.end()) == (messages == json.end())) {
      throw FormatError("needs either `text` or `messages`");
    }
    LabelledText result;
    if (messages != json.end()) {
      check_chat_template(tokenizer_);
      const std::vector<ChatMessage> chat = messages_of(*messages, "messages");
      for (const ChatMessage& message : chat) {
        result.text += (result.text.empty() ? "" : "\n") + message.content;
      }
      result.ids = encode_chat(tokenizer_, chat, /*add_generation_prompt=*/false);
    } else {
      if (!text->is_string()) throw FormatError("`text` has to be a text");
      result.text = text->get<std::string>();
      result.ids = tokenizer_.encode_with_special(result.text);
    }
    if (result.ids.empty()) throw FormatError("a text without a token has no class");
    return result;
  }

  void truncate(std::vector<int64_t>& ids) {
    const int64_t excess = static_cast<int64_t>(ids.size()) - max_length_;
    if (excess <= 0) return;
    ++data_.counts.truncated;
    data_.counts.cut_tokens += excess;
    if (config_.truncation_mode == TruncationMode::keep_start) {
      ids.resize(static_cast<size_t>(max_length_));
    } else {
      ids.erase(ids.begin(), ids.begin() + excess);
    }
  }

  const Tokenizer& tokenizer_;
  const LabelledDataConfig& config_;
  int64_t max_length_;
  LabelledData data_;
  std::vector<Label> labels_;
};

// Without classes, those of the file become them; but not those of held-out texts, which are read
// without any only where the training data could not be.
LabelledData read_file(const std::filesystem::path& file, TextReader& reader, ClassNames& classes,
                       bool held_out) {
  const ClassNames* known = classes.empty() ? nullptr : &classes;
  for_each_json_line(file, [&](const Json& json, int64_t line) { reader.read(json, line, known); });
  if (known == nullptr && !held_out) classes = reader.number_labels();
  LabelledData data = reader.take();
  if (data.texts.empty()) throw FormatError(file.string() + ": holds no texts");
  return data;
}

// Takes a part of the training texts away, in the file's order.
LabelledData hold_out(LabelledData& train, double part, uint64_t seed) {
  LabelledData eval;
  eval.texts = take_held_out(train.texts, draw_held_out(train.counts.texts, part, seed, "texts"));
  for (const LabelledText& text : eval.texts) {
    ++eval.counts.texts;
    eval.counts.tokens += static_cast<int64_t>(text.ids.size());
  }
  train.counts.texts -= eval.counts.texts;
  train.counts.tokens -= eval.counts.tokens;
  return eval;
}

}  // namespace

ClassNames numbered_classes(int64_t count) {
  ClassNames names;
  for (int64_t i = 0; i < count; ++i) names.push_back(fmt::format("LABEL_{}", i));
  return names;
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
                                         const Tokenizer& tokenizer, int64_t context,
                                         uint64_t seed) {
  LabelledDataSets sets{.classes = config.labels, .train = {}, .eval = {}};
  TextReader reader(tokenizer, config, context), held_out(tokenizer, config, context);
  read_both([&] { sets.train = read_file(config.train, reader, sets.classes, false); },
            [&] {
              if (config.eval) sets.eval = read_file(*config.eval, held_out, sets.classes, true);
            });
  if (sets.classes.size() < 2) {
    throw FormatError(
        fmt::format("{}: all texts have the same label; there is nothing to tell "
                    "apart (data.labels names the classes)",
                    config.train.string()));
  }
  if (!config.eval && config.eval_split > 0) {
    sets.eval = hold_out(sets.train, config.eval_split, seed);
  }
  return sets;
}

}  // namespace leash
