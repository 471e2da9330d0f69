// A chat template, rendered with a conversation.
#include <nlohmann/json.hpp>

#include "models/jinja/template.h"
#include "models/tokenizer/chat_template.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  read_or_refuse([&] {
    const ChatFormat format(std::string(text_of(data, size)), {{"bos_token", "<s>"}});
    const std::vector<ChatMessage> messages = {
        {"system", "Be brief."}, {"user", "Hi <|im_end|> \U0001f642"}, {"assistant", "Well"}};
    const RenderedChat chat =
        format.render(messages, /*add_generation_prompt=*/true, {}, format.users());
    for (const ByteRange& range : chat.foreign) {
      require(range.begin < range.end && range.end <= chat.text.size(), "ranges lie in the text");
    }
  });
  return 0;
}
