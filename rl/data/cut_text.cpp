#include "rl/data/cut_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "models/errors.h"
#include "models/io/atomic_file.h"
#include "models/io/json_file.h"
#include "rl/data/encode.h"
#include "rl/data/jsonl.h"

namespace leash {
namespace {

constexpr const char* kTruncationFile = "truncation.json";

// How many special tokens the tokenizer puts before and behind a text, seen around a letter (which
// is none of them).
struct AddedTokens {
  int64_t before = 0;
  int64_t behind = 0;
};

AddedTokens added_tokens(const Tokenizer& tokenizer) {
  const std::vector<int64_t> letter = tokenizer.encode("a");
  const std::vector<int64_t> whole = tokenizer.encode_with_special("a");
  const auto found = std::ranges::search(whole, letter);
  return {.before = found.begin() - whole.begin(), .behind = whole.end() - found.end()};
}

// Cuts what stands between the first `before` and the last `after` tokens.
CutText cut_between(std::vector<int64_t> ids, int64_t before, int64_t after,
                    const TextLimit& limit) {
  const int64_t excess = std::ssize(ids) - limit.max_length;
  if (excess <= 0) return {.ids = std::move(ids)};
  if (limit.max_length <= before + after) {
    throw WholeFileError(
        fmt::format("max_length: {} leaves no room beside the {} special tokens that the tokenizer "
                    "adds",
                    limit.max_length, before + after));
  }
  const auto end =
      limit.mode == TruncationMode::keep_start ? ids.end() - after : ids.begin() + before + excess;
  ids.erase(end - excess, end);
  return {.ids = std::move(ids), .cut = excess};
}

}  // namespace

CutText cut_text(const Tokenizer& tokenizer, std::string_view text, const TextLimit& limit) {
  std::vector<int64_t> ids = encode_text(tokenizer, text);
  if (std::ssize(ids) <= limit.max_length) return {.ids = std::move(ids)};
  const AddedTokens added = added_tokens(tokenizer);
  return cut_between(std::move(ids), added.before, added.behind, limit);
}

CutText cut_conversation(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                         const TextLimit& limit, const ChatOptions& options) {
  return cut_between(encode_chat(tokenizer, messages, /*add_generation_prompt=*/false, options), 0,
                     0, limit);
}

void write_text_limit(const std::filesystem::path& folder, const TextLimit& limit) {
  const nlohmann::ordered_json json = {{"max_length", limit.max_length},
                                       {"truncation_mode", std::string(enum_name(limit.mode))}};
  write_text_file(folder / kTruncationFile, json.dump() + "\n");
}

std::optional<TextLimit> read_text_limit(const std::filesystem::path& folder) {
  const auto file = folder / kTruncationFile;
  if (!std::filesystem::exists(file)) return std::nullopt;
  try {
    const nlohmann::json json = read_json_file(file);
    TextLimit limit{.max_length = json.at("max_length").get<int64_t>()};
    const auto mode = json.at("truncation_mode").get<std::string>();
    for (const auto& [known, name] : EnumNames<TruncationMode>::values) {
      if (name != mode) continue;
      limit.mode = known;
      if (limit.max_length > 0) return limit;
    }
    throw FormatError(file.string() + ": has no max_length and truncation_mode of a recipe");
  } catch (const nlohmann::json::exception& error) {
    throw FormatError(fmt::format("{}: {}", file.string(), error.what()));
  }
}

}  // namespace leash
