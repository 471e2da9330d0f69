#include "rl/data/text_ending.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "models/errors.h"
#include "models/io/crc32c.h"
#include "models/io/safetensors.h"
#include "models/tokenizer/chat_template.h"
#include "rl/data/encode.h"

namespace leash {
namespace {

constexpr std::string_view kWords = "words that no template has";

struct StoredEnding {
  TextEnding ending;
  std::string chat;
};

StoredEnding parse_ending(const std::string& text, const std::string& origin) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    StoredEnding stored{.ending = {.append_eos = json.at("append_eos").get<bool>(),
                                   .end_at_eos = json.at("end_at_eos").get<bool>()},
                        .chat = json.at("chat").get<std::string>()};
    if (json.size() == 3) return stored;
  } catch (const nlohmann::json::exception&) {
  }
  throw FormatError(fmt::format(
      "{}: {} in its metadata is no rule that is known here; was it written by a newer leash?",
      origin, kEndingKey));
}

}  // namespace

void end_text(const TextEnding& ending, const Tokenizer& tokenizer, std::vector<int64_t>& ids) {
  if (ending.append_eos) append_eos(tokenizer, ids);
}

void end_conversation(const TextEnding& ending, const Tokenizer& tokenizer,
                      std::vector<int64_t>& ids) {
  const auto eos = tokenizer.eos_token_id();
  if (!ending.end_at_eos || !eos) return;
  const auto last = std::find(ids.rbegin(), ids.rend(), *eos);
  if (last != ids.rend()) ids.erase(last.base(), ids.end());
}

std::vector<int64_t> answer_ending(const TextEnding& ending, const Tokenizer& tokenizer,
                                   bool chat) {
  std::vector<int64_t> ids;
  if (!chat) {
    end_text(ending, tokenizer, ids);
    return ids;
  }
  const std::vector<ChatMessage> messages = {{"user", "a"}, {"assistant", std::string(kWords)}};
  const std::string text = render_chat(tokenizer, messages, /*add_generation_prompt=*/false).text;
  ids = tokenizer.encode(text.substr(text.rfind(kWords) + kWords.size()));
  end_conversation(ending, tokenizer, ids);
  return ids;
}

void leave_out_padding(std::optional<int64_t> pad_token_id, std::vector<int64_t>& ids) {
  if (!pad_token_id || ids.empty()) return;
  const auto last =
      std::find_if(ids.rbegin(), ids.rend() - 1, [&](int64_t id) { return id != *pad_token_id; });
  ids.erase(last.base(), ids.end());
}

std::string chat_fingerprint(const Tokenizer& tokenizer) {
  std::string text;
  try {
    for (const bool prompts : {false, true}) {
      for (const bool system : {false, true}) {
        std::vector<ChatMessage> messages = {
            {"user", "a"}, {"assistant", "b"}, {"user", "c"}, {"assistant", "d"}};
        if (system) messages.insert(messages.begin(), {"system", "s"});
        if (prompts) messages.pop_back();
        text += render_chat(tokenizer, messages, prompts).text;
      }
    }
  } catch (const FormatError&) {
    return "";
  }
  return fmt::format("{:08x}", crc32c(text));
}

std::string ending_text(const TextEnding& ending, const Tokenizer& tokenizer) {
  return nlohmann::ordered_json{{"append_eos", ending.append_eos},
                                {"end_at_eos", ending.end_at_eos},
                                {"chat", chat_fingerprint(tokenizer)}}
      .dump();
}

AdapterEnding read_ending(const std::filesystem::path& folder, const Tokenizer& tokenizer) {
  const auto file = folder / "adapter_model.safetensors";
  const bool has_eos = tokenizer.eos_token_id().has_value();
  const auto metadata = read_safetensors_metadata(file);
  const auto found = metadata.find(kEndingKey);
  if (found == metadata.end()) {
    return {.ending = {.append_eos = has_eos},
            .warnings = {fmt::format(
                "{}: does not say what texts ended with when it was trained; scores are read at "
                "EOS, as task: reward trains by default",
                folder.string())}};
  }
  const StoredEnding stored = parse_ending(found->second, file.string());
  if (stored.ending.append_eos && !has_eos) {
    throw FormatError(folder.string() +
                      ": was trained with an EOS behind texts, and the tokenizer names none");
  }
  AdapterEnding result{.ending = stored.ending, .said = true};
  if (stored.chat != chat_fingerprint(tokenizer)) {
    result.warnings.push_back(
        folder.string() +
        ": was trained with another chat template; its scores of conversations are not what was "
        "trained");
  }
  return result;
}

}  // namespace leash
