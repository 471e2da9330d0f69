// "Did you mean …?" for settings, commands and options.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace leash {

// The known word that is nearest to `word`, when it is near enough to be a slip of the keyboard.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> known);

// " (did you mean `x`?)", or nothing.
std::string did_you_mean(std::string_view word, std::span<const std::string> known);

// For a setting that does not exist at `path`: where TRL's, PEFT's or transformers' setting of that
// name is here, as "; it is `rollout.response_length` here", or why there is none; else
// did_you_mean of its last part.
std::string setting_hint(std::string_view path, std::span<const std::string> known);

}  // namespace leash
