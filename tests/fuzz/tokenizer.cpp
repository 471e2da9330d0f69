// tokenizer.json, tokenizer_config.json and special_tokens_map.json: loaded, and used on a text.
#include "models/tokenizer/tokenizer.h"

#include <array>

#include "models/tokenizer/chat_template.h"
#include "tests/fuzz/fuzz.h"

using namespace leash;
using namespace leash::fuzzing;

namespace {

constexpr std::string_view kText =
    "It's 12345 o'clock;  Gr\u00fc\u00dfe,\te\u0301 \u4f60\u597d \U0001f600\r\n\n <|im_start|>you "
    "<|im_end|> \xff\xc3 ___ don't WE'LL";

void use(const Tokenizer& tokenizer) {
  const std::vector<int64_t> ids = tokenizer.encode(kText);
  for (const int64_t id : ids) tokenizer.token_bytes(id);
  tokenizer.decode(tokenizer.encode_with_special(kText), /*skip_special=*/true);
  StreamDecoder stream(tokenizer, /*skip_special=*/false);
  std::string streamed;
  for (const int64_t id : ids) streamed += stream.push(id);
  streamed += stream.finish();
  require(streamed == tokenizer.decode(ids), "a stream of ids is the text of all of them");
  const std::array<ChatMessage, 2> chat = {ChatMessage{"system", "Be brief."},
                                           ChatMessage{"user", "Hi"}};
  encode_chat(tokenizer, chat, /*add_generation_prompt=*/true);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const InputFolder folder;
  const auto files = files_of(text_of(data, size), 3);
  folder.put("tokenizer.json", files[0]);
  folder.put("tokenizer_config.json", files[1]);
  folder.put("special_tokens_map.json", files[2]);
  read_or_refuse([&] { use(Tokenizer::load(folder.path())); });
  return 0;
}
