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
#include "rl/data/line_reader.h"
#include "rl/data/unknown_keys.h"

namespace leash {

// What is wrong with a whole file and not with one line: reading stops at it.
class WholeFileError : public FormatError {
  using FormatError::FormatError;
};

enum class EmptyLines {
  skipped,
  refused,  // but for those at the end: a command answers line by line
};

// Gets an object and its line's number, from 1 on.
using TakeRecord = std::function<void(const nlohmann::ordered_json&, int64_t)>;

// Calls `take` for each line. Lines of white space are empty, a byte-order mark is dropped. Read
// strictly: a key given twice, a zero byte or a second record on a line are errors. FormatErrors of
// `take`, and lines that are no JSON object, are collected (at most 20) and thrown together as
// `file:line: …`; a WholeFileError at once, and so is a file of another format. Keys that are not
// `known` are named in one warning.
void for_each_json_line(LineReader& lines, KnownKeys known, EmptyLines empty,
                        const TakeRecord& take);
// Of a file; empty lines are skipped.
void for_each_json_line(const std::filesystem::path& file, KnownKeys known, const TakeRecord& take);

// Runs both readings and throws what is wrong with either together, so that the user sees the bad
// lines of both files at once.
void read_both(const std::function<void()>& train, const std::function<void()>& held_out);

// A list of messages with at least one: each has a `role`, a `content` (or tool_calls), and
// whatever else the chat template reads; `name` is its key, for messages of errors.
std::vector<ChatMessage> messages_of(const nlohmann::ordered_json& list, std::string_view name);

// A record's `tools` and `chat_template_kwargs`. FormatError.
ChatOptions chat_options_of(const nlohmann::ordered_json& record);

// WholeFileError where there is no chat template, or one that cannot be parsed.
void check_chat_template(const Tokenizer& tokenizer);

}  // namespace leash
