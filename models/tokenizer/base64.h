// Text in base 64 (RFC 4648), as tokenizer.json has binary tables.
#pragma once

#include <string>
#include <string_view>

namespace leash {

// FormatError where `text` is none.
std::string bytes_of_base64(std::string_view text);

}  // namespace leash
