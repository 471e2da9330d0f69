// Style and script of the labelling page.
#pragma once

#include <string_view>

namespace leash::label {

extern const std::string_view kPageStyle;
extern const std::string_view kPageScript;

}  // namespace leash::label
