// Unicode's normalisation forms and lower case, of valid UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace leash {

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

std::string to_form(std::string_view text, UnicodeForm form);
inline std::string normalize_nfc(std::string_view text) { return to_form(text, UnicodeForm::nfc); }

// Character by character (no final sigma).
std::string to_lower(std::string_view text);

}  // namespace leash
