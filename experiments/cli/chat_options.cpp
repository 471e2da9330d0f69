#include "experiments/cli/chat_options.h"

#include <fmt/format.h>

#include "experiments/cli/options.h"
#include "models/errors.h"
#include "models/io/json_file.h"

namespace leash::cli {

namespace po = boost::program_options;

void add_chat_options(po::options_description& options) {
  auto add = options.add_options();
  add("chat-template", po::value<std::string>()->value_name("FILE"),
      "a Jinja file in the place of the checkpoint's chat template");
  add("chat-template-kwargs", po::value<std::string>()->value_name("JSON"),
      "what the template is given: '{\"enable_thinking\": false}'");
  add("special-tokens-in-text", po::value<std::string>()->value_name("RULE"),
      "in messages of users and tools: keep (the default; they are text) or recognise");
}

ChatConfig chat_config_of(const po::variables_map& values) {
  ChatConfig config;
  if (const auto file = given<std::string>(values, "chat-template")) config.chat_template = *file;
  if (const auto text = given<std::string>(values, "chat-template-kwargs")) {
    try {
      const auto json = parse_ordered_json(*text, "--chat-template-kwargs");
      if (!json.is_object()) throw FormatError("--chat-template-kwargs: has to be a JSON object");
      config.chat_template_kwargs.text = json.dump();
    } catch (const FormatError& error) {
      throw ConfigError(error.what());
    }
  }
  if (const auto rule = given<std::string>(values, "special-tokens-in-text")) {
    if (*rule != "keep" && *rule != "recognise") {
      throw ConfigError(
          fmt::format("--special-tokens-in-text must be keep or recognise, not `{}`", *rule));
    }
    if (*rule == "recognise") config.special_tokens_in_text = SpecialTokensInText::recognise;
  }
  return config;
}

}  // namespace leash::cli
