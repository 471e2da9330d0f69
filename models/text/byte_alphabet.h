// GPT-2's alphabet: every byte has one printable character, in which vocabularies are written.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace leash {

const std::array<std::string, 256>& byte_characters();

// The bytes that a vocabulary's spelling stands for; nullopt when a character is not in the
// alphabet.
std::optional<std::string> spelled_bytes(std::string_view spelling);
// The characters that bytes are spelled with.
std::string spelling_of_bytes(std::string_view bytes);

// The byte of "<0x0A>", as vocabularies with byte fallback spell it (two digits of either case).
std::optional<unsigned char> fallback_byte(std::string_view spelling);
std::string fallback_spelling(unsigned char byte);

}  // namespace leash
