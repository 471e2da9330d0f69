// JSON lines as people write them, with every bad line named.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "models/errors.h"
#include "models/tokenizer/chat_template.h"

namespace leash {

// What is wrong with a whole file and not with one line: reading stops at it.
class WholeFileError : public FormatError {
  using FormatError::FormatError;
};

// Calls take(object, line number from 1) for each line. Lines of white space are skipped, a
// byte-order mark is dropped. FormatErrors of `take`, and lines that are no JSON object, are
// collected (at most 20) and thrown together as `file:line: …`; a WholeFileError at once.
void for_each_json_line(const std::filesystem::path& file,
                        const std::function<void(const nlohmann::json&, int64_t)>& take);

// Runs both readings and throws what is wrong with either together, so that the user sees the bad
// lines of both files at once.
void read_both(const std::function<void()>& train, const std::function<void()>& held_out);

// A list of {role, content} with at least one message; `name` is its key, for messages.
std::vector<ChatMessage> messages_of(const nlohmann::json& list, std::string_view name);

// WholeFileError where the checkpoint's chat template cannot be rendered.
void check_chat_template(const Tokenizer& tokenizer);

}  // namespace leash
