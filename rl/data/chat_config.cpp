#include "rl/data/chat_config.h"

#include <fmt/format.h>

#include <memory>

#include "models/errors.h"
#include "models/io/json_file.h"
#include "models/io/mapped_file.h"

namespace leash {
namespace {

constexpr size_t kLargestTemplate = size_t{1} << 20;

std::string read_template_file(const std::filesystem::path& file) {
  const auto mapped = MappedFile::open(file);
  const auto bytes = mapped->bytes();
  if (bytes.empty()) throw FormatError(file.string() + ": is empty");
  if (bytes.size() > kLargestTemplate) {
    throw FormatError(fmt::format("{}: has {} bytes; a chat template has at most {}", file.string(),
                                  bytes.size(), kLargestTemplate));
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void set_chat_format(Tokenizer& tokenizer, const ChatConfig& config) {
  std::optional<std::string> chat_template;
  if (config.chat_template) chat_template = read_template_file(*config.chat_template);
  nlohmann::ordered_json kwargs;
  if (!config.chat_template_kwargs.text.empty()) {
    kwargs = parse_ordered_json(config.chat_template_kwargs.text, "chat_template_kwargs");
  }
  auto format = std::make_shared<const ChatFormat>(
      tokenizer.chat().with(chat_template, kwargs, config.special_tokens_in_text));
  if (config.chat_template) {
    try {
      format->check();
    } catch (const FormatError& error) {
      throw FormatError(fmt::format("{}: {}", config.chat_template->string(), error.what()));
    }
  }
  tokenizer.set_chat(std::move(format));
}

ChatFormat read_chat_format(const ChatConfig& config, ChatFormat::NamedTokens tokens) {
  return {read_template_file(config.chat_template.value()),
          std::move(tokens),
          {},
          config.special_tokens_in_text};
}

Tokenizer load_chat_tokenizer(const std::filesystem::path& model, const ChatConfig& config) {
  Tokenizer tokenizer = Tokenizer::load(model);
  set_chat_format(tokenizer, config);
  return tokenizer;
}

}  // namespace leash
