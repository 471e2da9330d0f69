// The labelling page: one HTML text that loads nothing.
#pragma once

#include <string>

namespace leash::label {

// `nonce` stands at its script and its style, and in its Content-Security-Policy.
std::string page_html(const std::string& nonce);

}  // namespace leash::label
