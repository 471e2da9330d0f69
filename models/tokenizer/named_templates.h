// Checkpoints with several chat templates, of which transformers takes `tool_use` where tools are
// given and `default` otherwise.
#pragma once

#include <map>
#include <string>

namespace leash {

// Both as one template that chooses by `tools`; the one alone where there is no other. Without a
// default, a conversation without tools raises. Empty where neither is there.
std::string joined_templates(const std::map<std::string, std::string>& by_name);

}  // namespace leash
