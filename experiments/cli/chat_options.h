// --chat-template and --chat-template-kwargs of the commands that render conversations.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>

#include "rl/data/chat_config.h"

namespace leash::cli {

void add_chat_options(boost::program_options::options_description& options);
// What they say; defaults where the command has none of them. ConfigError.
ChatConfig chat_config_of(const boost::program_options::variables_map& values);

}  // namespace leash::cli
