#include "rl/data/pair_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <tuple>

#include "models/errors.h"
#include "rl/data/encode.h"
#include "rl/data/jsonl.h"

namespace leash {
namespace {

int64_t size_of(const std::vector<int64_t>& ids) { return static_cast<int64_t>(ids.size()); }

double margin_of(const nlohmann::ordered_json& json) {
  const auto found = json.find("margin");
  if (found == json.end() || found->is_null()) return 0;
  if (!found->is_number() || !std::isfinite(found->get<double>())) {
    throw FormatError("`margin` has to be a finite number");
  }
  return found->get<double>();
}

// The prefix of both texts, so far that answers which begin alike still have the same prompt.
std::string shared_text(const std::string& a, const std::string& b) {
  const auto [end, ignored] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  const std::string common(a.begin(), end);
  const size_t line = common.rfind('\n');
  const size_t cut = line != std::string::npos ? line : common.rfind(' ');
  return common.substr(0, cut + 1);  // npos + 1 is 0
}

void require_scored(const PreferencePair& pair) {
  for (const auto& [ids, begin, name] :
       {std::tuple(&pair.chosen, pair.chosen_begin, "chosen"),
        std::tuple(&pair.rejected, pair.rejected_begin, "rejected")}) {
    if (size_of(*ids) > std::max<int64_t>(begin, 1)) continue;
    throw FormatError(fmt::format("`{}` has no token that follows another one", name));
  }
}

}  // namespace

size_t shared_characters(const std::string& a, const std::string& b) {
  const auto inside = [](const std::string& text, size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
  };
  auto end = static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  const bool begins_the_other = end == std::min(a.size(), b.size());
  if (begins_the_other && end > 0) --end;
  while (end > 0 && (inside(a, end) || inside(b, end))) --end;
  const bool space = !begins_the_other && end > 0 && a[end - 1] == ' ';
  return space ? end - 1 : end;
}

PairReader::PairReader(const Tokenizer& tokenizer, const PreferenceDataConfig& config,
                       int64_t context, PairUse use)
    : tokenizer_(tokenizer),
      config_(config),
      encoder_(tokenizer, ending_of(config)),
      use_(use),
      max_length_(std::min(config.max_length.value_or(context), context)) {}

void PairReader::read(const nlohmann::ordered_json& json, int64_t line) {
  PreferencePair pair = pair_of(json);
  pair.tie = flag_of(json, "tie");
  if (!pair.tie && use_ == PairUse::scores) pair.margin = margin_of(json);
  pair.line = line;
  pair.id = static_cast<uint64_t>(data_.counts.lines++);
  if (flag_of(json, "both_bad")) {
    ++data_.counts.dropped_bad;
  } else if (pair.tie && (config_.ties == Ties::drop || pair.chosen == pair.rejected)) {
    ++data_.counts.dropped_ties;
  } else {
    take(std::move(pair));
  }
}

void PairReader::take(PreferencePair pair) {
  if (pair.chosen == pair.rejected) throw FormatError("chosen and rejected are the same");
  if (!fit(pair)) return;
  if (use_ == PairUse::answers) require_scored(pair);
  // Both keep a token of their own, whose row has the score.
  pair.common = std::min(common_prefix(pair.chosen, pair.rejected),
                         std::min(size_of(pair.chosen), size_of(pair.rejected)) - 1);
  data_.pairs.push_back(std::move(pair));
}

PreferencePair PairReader::pair_of(const Json& json) {
  const auto find = [&](const char* key) {
    const auto found = json.find(key);
    return found == json.end() ? nullptr : &*found;
  };
  const Json *prompt = find("prompt"), *chosen = find("chosen"), *rejected = find("rejected");
  if (chosen == nullptr || rejected == nullptr) {
    throw FormatError("needs `chosen` and `rejected` (and a `prompt` where they do not have it)");
  }
  const auto all = [&](auto is) {
    return is(*chosen) && is(*rejected) && (prompt == nullptr || is(*prompt));
  };
  if (all([](const Json& value) { return value.is_string(); })) {
    return texts(prompt, *chosen, *rejected);
  }
  if (all([](const Json& value) { return value.is_array(); })) {
    return chats(prompt, messages_of(*chosen, "chosen"), messages_of(*rejected, "rejected"),
                 chat_options_of(json));
  }
  throw FormatError(
      fmt::format("{}`chosen` and `rejected` have to be all texts, or all lists of "
                  "messages",
                  prompt != nullptr ? "`prompt`, " : ""));
}

PreferencePair PairReader::texts(const Json* prompt, const std::string& chosen,
                                 const std::string& rejected) {
  PreferencePair pair;
  pair.prompt_text = prompt != nullptr ? prompt->get<std::string>() : shared_text(chosen, rejected);
  pair.prompt_key = pair.prompt_text;
  const size_t inside = prompt != nullptr ? 0 : pair.prompt_text.size();
  pair.chosen_text = chosen.substr(inside);
  pair.rejected_text = rejected.substr(inside);
  pair.chosen = encoder_.whole(pair.prompt_text + pair.chosen_text);
  pair.rejected = encoder_.whole(pair.prompt_text + pair.rejected_text);
  if (use_ == PairUse::answers) {
    find_answers(
        pair,
        encoder_.prompt(prompt != nullptr ? pair.prompt_text
                                          : chosen.substr(0, shared_characters(chosen, rejected))));
  }
  return pair;
}

PreferencePair PairReader::chats(const Json* prompt, std::vector<ChatMessage> chosen,
                                 std::vector<ChatMessage> rejected, const ChatOptions& options) {
  check_chat_template(tokenizer_);
  size_t shared = 0;
  if (prompt != nullptr) {
    const std::vector<ChatMessage> asked = messages_of(*prompt, "prompt");
    shared = asked.size();
    chosen.insert(chosen.begin(), asked.begin(), asked.end());
    rejected.insert(rejected.begin(), asked.begin(), asked.end());
  } else {
    const auto equal = [](const ChatMessage& a, const ChatMessage& b) { return a == b; };
    const auto [end, ignored] =
        std::mismatch(chosen.begin(), chosen.end(), rejected.begin(), rejected.end(), equal);
    shared = static_cast<size_t>(end - chosen.begin());
  }
  const auto asked = std::span(chosen).first(shared);
  PreferencePair pair;
  pair.prompt_key = conversation_key(asked, pair.prompt_text);
  pair.chosen = encoder_.whole(chosen, shared, "chosen", options, pair.chosen_text);
  pair.rejected = encoder_.whole(rejected, shared, "rejected", options, pair.rejected_text);
  if (use_ == PairUse::answers) find_answers(pair, encoder_.prompt(asked, options));
  return pair;
}

void PairReader::find_answers(PreferencePair& pair, const std::vector<int64_t>& prompt) {
  pair.chosen_begin = pair.rejected_begin =
      std::min(common_prefix(prompt, pair.chosen), common_prefix(prompt, pair.rejected));
  if (pair.chosen_begin < size_of(prompt)) ++data_.counts.merged_borders;
}

bool PairReader::fit(PreferencePair& pair) {
  const int64_t longest = std::max(size_of(pair.chosen), size_of(pair.rejected));
  if (longest <= max_length_) return true;
  const bool no_answer = use_ == PairUse::answers && pair.chosen_begin >= max_length_ &&
                         config_.truncation_mode == PairTruncation::keep_start;
  if (config_.truncation_mode == PairTruncation::drop || no_answer) {
    ++data_.counts.dropped_long;
    return false;
  }
  ++data_.counts.truncated;
  cut(pair.chosen, pair.chosen_begin);
  cut(pair.rejected, pair.rejected_begin);
  if (pair.chosen != pair.rejected) return true;
  ++data_.counts.dropped_equal;
  return false;
}

void PairReader::cut(std::vector<int64_t>& ids, int64_t& answer_begin) {
  const int64_t excess = std::max<int64_t>(size_of(ids) - max_length_, 0);
  data_.counts.cut_tokens += excess;
  if (config_.truncation_mode == PairTruncation::keep_start) {
    ids.resize(ids.size() - static_cast<size_t>(excess));
  } else {
    ids.erase(ids.begin(), ids.begin() + excess);
    answer_begin = std::max<int64_t>(answer_begin - excess, 0);
  }
}

}  // namespace leash
